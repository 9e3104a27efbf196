//! WAV files: any of them read as 48 kHz mono blocks, 16-bit mono or stereo written so that the file is valid at every moment.
//!
//! Files are decoded as they are read, never held whole. There is no clock here; see [`crate::wav_io`].

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::limits::{MAX_WAV_BLOCKS, SAMPLE_RATES_HZ};
use crate::resample::Resampler;
use crate::{BLOCK, Block, SAMPLE_RATE_HZ};

/// What is wrong with a file: one line that names it and says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WavError(String);

impl std::fmt::Display for WavError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WavError {}

fn wrong(path: &Path, what: impl std::fmt::Display) -> WavError {
    WavError(format!("{}: {what}", path.display()))
}

fn unreadable(path: &Path, error: hound::Error) -> WavError {
    match error {
        hound::Error::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            wrong(path, "not a WAV file, or cut short in its header")
        }
        // hound's own word for the end of the file.
        hound::Error::IoError(e) if e.kind() == std::io::ErrorKind::Other => {
            wrong(path, "not a WAV file, or cut short in its header")
        }
        hound::Error::IoError(e) => wrong(path, format_args!("can't be read: {e}")),
        hound::Error::FormatError(what) => wrong(path, format_args!("not a usable WAV file ({what})")),
        hound::Error::Unsupported | hound::Error::TooWide => wrong(
            path,
            "a WAV format that is not supported (8, 16, 24, 32-bit integer and 32-bit float PCM are)",
        ),
        hound::Error::UnfinishedSample | hound::Error::InvalidSampleFormat => {
            wrong(path, "not a usable WAV file")
        }
    }
}

/// A WAV file as a stream of 48 kHz mono blocks: all channels averaged, the rate converted. Most often it is on a disk; `R` may be
/// anything that can be read again from its beginning.
pub struct WavSource<R = BufReader<File>> {
    path: PathBuf,
    reader: WavReader<R>,
    spec: WavSpec,
    resampler: Resampler,
    input: Vec<f32>,
    ready: Vec<f32>,
    read_ended: bool,
    fault: Option<WavError>,
}

impl WavSource {
    /// Opens a file and checks its header against its length.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WavError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| wrong(path, format_args!("can't be opened: {e}")))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(wrong(path, "is a folder, not a WAV file"));
        }
        Self::new(path, BufReader::new(file))
    }
}

impl<R: Read + Seek> WavSource<R> {
    /// As [`Self::open`], from whatever `from` gives; `name` is what errors call it.
    pub fn new(name: impl AsRef<Path>, mut from: R) -> Result<Self, WavError> {
        let path = name.as_ref();
        let unread = |e| wrong(path, format_args!("can't be read: {e}"));
        if from.seek(SeekFrom::End(0)).map_err(unread)? == 0 {
            return Err(wrong(path, "is empty, not a WAV file"));
        }
        from.rewind().map_err(unread)?;
        // Read twice: the first time to learn where the samples begin, which the reader does not tell.
        let (spec, samples) = {
            let reader = WavReader::new(&mut from).map_err(|e| unreadable(path, e))?;
            (reader.spec(), reader.len())
        };
        let bytes = u64::from(samples) * u64::from(spec.bits_per_sample.div_ceil(8));
        let begin = from.stream_position().map_err(unread)?;
        // Looked at after the header: a file that is being written may grow meanwhile.
        let there = from.seek(SeekFrom::End(0)).map_err(unread)?.saturating_sub(begin);
        if !SAMPLE_RATES_HZ.contains(&spec.sample_rate) {
            return Err(wrong(path, crate::resample::UnsupportedRate(spec.sample_rate)));
        }
        match (spec.sample_format, spec.bits_per_sample) {
            (SampleFormat::Int, 8 | 16 | 24 | 32) | (SampleFormat::Float, 32) => {}
            (SampleFormat::Int | SampleFormat::Float, _) => {
                return Err(unreadable(path, hound::Error::Unsupported));
            }
        }
        if samples == 0 {
            return Err(wrong(path, "holds no sound"));
        }
        if there < bytes {
            return Err(wrong(
                path,
                format_args!("is cut short: its header promises {bytes} bytes of sound, {there} are there"),
            ));
        }
        from.rewind().map_err(unread)?;
        let reader = WavReader::new(from).map_err(|e| unreadable(path, e))?;
        let chunk = (spec.sample_rate / 100) as usize;
        let resampler =
            Resampler::new(spec.sample_rate, SAMPLE_RATE_HZ, chunk).map_err(|e| wrong(path, e))?;
        let (input, ready) = (Vec::with_capacity(chunk), Vec::with_capacity(16 * BLOCK));
        Ok(Self {
            path: path.to_owned(),
            reader,
            spec,
            resampler,
            input,
            ready,
            read_ended: false,
            fault: None,
        })
    }

    /// The next block; false once there is none left. The last one is filled up with silence.
    pub fn read(&mut self, block: &mut Block) -> bool {
        while self.ready.len() < BLOCK && !self.read_ended {
            self.fill();
        }
        let length = self.ready.len().min(BLOCK);
        // Where a loud sound has edges, the converter goes beyond what it was given.
        for (sample, ready) in block.iter_mut().zip(self.ready.drain(..length)) {
            *sample = ready.clamp(-1.0, 1.0);
        }
        block[length..].fill(0.0);
        length > 0
    }

    /// What went wrong in the middle of the file (it ends there), once.
    pub fn take_fault(&mut self) -> Option<WavError> {
        self.fault.take()
    }

    /// Reads 10 ms of the file.
    fn fill(&mut self) {
        let channels = usize::from(self.spec.channels);
        self.input.clear();
        for _ in 0..self.spec.sample_rate / 100 {
            match next_frame(&mut self.reader, self.spec, channels) {
                Ok(Some(sample)) => self.input.push(sample),
                Ok(None) => self.read_ended = true,
                Err(e) => {
                    self.fault = Some(wrong(&self.path, format_args!("can't be read to its end: {e}")));
                    self.read_ended = true;
                }
            }
            if self.read_ended {
                break;
            }
        }
        self.resampler.push(&self.input, &mut self.ready);
        if self.read_ended {
            self.resampler.finish(&mut self.ready);
        }
    }
}

/// One sample of each channel, averaged.
fn next_frame<R: Read>(
    reader: &mut WavReader<R>,
    spec: WavSpec,
    channels: usize,
) -> Result<Option<f32>, hound::Error> {
    let mut sum = 0.0_f64;
    for channel in 0..channels {
        let sample = match spec.sample_format {
            SampleFormat::Float => reader.samples::<f32>().next().map(|s| s.map(f64::from)),
            SampleFormat::Int => {
                let full = f64::from(1_u32 << (spec.bits_per_sample - 1));
                reader.samples::<i32>().next().map(|s| s.map(|s| f64::from(s) / full))
            }
        };
        match sample {
            Some(sample) => sum += sample?,
            None if channel == 0 => return Ok(None),
            None => break,
        }
    }
    let mean = (sum / channels as f64) as f32;
    Ok(Some(if mean.is_nan() { 0.0 } else { mean.clamp(-1.0, 1.0) }))
}

/// Blocks between two updates of the header: what a killed process may lose of its file.
const FLUSH_EVERY_BLOCKS: u64 = 5;

/// Writes 48 kHz 16-bit, mono or stereo. The file is a valid WAV at every moment, even if the process is killed: the header is
/// brought up to date every 50 ms of sound.
pub struct WavSink {
    path: PathBuf,
    writer: WavWriter<BufWriter<File>>,
    blocks: u64,
    fault: Option<WavError>,
    failed: bool,
}

impl WavSink {
    /// Creates (or empties) a mono file.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, WavError> {
        Self::with_channels(path.as_ref(), 1)
    }

    /// Creates (or empties) a stereo file.
    pub fn create_stereo(path: impl AsRef<Path>) -> Result<Self, WavError> {
        Self::with_channels(path.as_ref(), 2)
    }

    fn with_channels(path: &Path, channels: u16) -> Result<Self, WavError> {
        let spec = WavSpec {
            channels,
            sample_rate: SAMPLE_RATE_HZ,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let create = || {
            let mut writer = WavWriter::create(path, spec)?;
            writer.flush()?;
            Ok(writer)
        };
        let writer =
            create().map_err(|e: hound::Error| wrong(path, format_args!("can't be written: {e}")))?;
        Ok(Self { path: path.to_owned(), writer, blocks: 0, fault: None, failed: false })
    }

    /// Appends a block, clamped to −1..=1. An error (a full disk, the longest file reached) is kept for
    /// [`Self::take_fault`], and nothing is written from then on. In a stereo file it goes into both channels.
    pub fn write(&mut self, block: &Block) {
        self.write_stereo(block, block);
    }

    /// Appends a block of each channel, as [`Self::write`]; in a mono file it is their mean.
    pub fn write_stereo(&mut self, left: &Block, right: &Block) {
        if self.failed {
            return;
        }
        let channels = usize::from(self.writer.spec().channels);
        if self.blocks * channels as u64 >= MAX_WAV_BLOCKS {
            self.fail("is as long as a WAV file may be; the rest is not written");
            return;
        }
        for (&left, &right) in left.iter().zip(right) {
            let frame = if channels == 1 { [(left + right) * 0.5; 2] } else { [left, right] };
            for sample in &frame[..channels] {
                let clamped = if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) };
                if let Err(e) = self.writer.write_sample((clamped * f32::from(i16::MAX)).round() as i16) {
                    self.fail(format_args!("can't be written: {e}"));
                    return;
                }
            }
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(FLUSH_EVERY_BLOCKS) {
            self.flush();
        }
    }

    /// Blocks written so far.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Brings the file up to date.
    pub fn flush(&mut self) {
        if let Err(e) = self.writer.flush() {
            self.fail(format_args!("can't be written: {e}"));
        }
    }

    /// What went wrong, once.
    pub fn take_fault(&mut self) -> Option<WavError> {
        self.fault.take()
    }

    fn fail(&mut self, what: impl std::fmt::Display) {
        if !self.failed {
            self.fault = Some(wrong(&self.path, what));
        }
        self.failed = true;
    }
}

#[cfg(test)]
mod tests;
