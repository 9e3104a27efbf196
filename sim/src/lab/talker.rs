//! One talker: WAV files in the place of a microphone, on a clock that may run fast or slow.

use std::path::PathBuf;

use chinwag_audio::{BLOCK_US, Block, wav::WavSource};

use super::{Lab, LabError, failed};

/// A file said block by block, once, or again and again.
pub(crate) struct Speech {
    path: PathBuf,
    source: WavSource,
    /// Blocks to be said; none: to the end of the file.
    length: Option<u64>,
    said: u64,
    drift_ppm: i32,
}

impl Speech {
    pub(crate) fn open(lab: &Lab, path: &PathBuf) -> Result<Self, LabError> {
        Ok(Self {
            path: path.clone(),
            source: WavSource::open(path).map_err(failed)?,
            length: lab.seconds.map(|s| u64::from(s) * (1_000_000 / BLOCK_US)),
            said: 0,
            drift_ppm: lab.drift_ppm,
        })
    }

    /// The next block; false at the end. A file's last block is filled up with silence.
    pub(crate) fn read(&mut self, block: &mut Block) -> Result<bool, LabError> {
        if self.length.is_some_and(|length| self.said >= length) {
            return Ok(false);
        }
        let mut is_there = self.source.read(block);
        if let Some(fault) = self.source.take_fault() {
            return Err(failed(fault));
        }
        if !is_there && self.length.is_some() {
            self.source = WavSource::open(&self.path).map_err(failed)?;
            is_there = self.source.read(block);
        }
        self.said += u64::from(is_there);
        Ok(is_there)
    }

    /// When the next block has been captured whole.
    pub(crate) fn due_us(&self) -> u64 {
        captured_us((self.said + 1) * BLOCK_US, self.drift_ppm)
    }
}

/// When a talker's clock, which runs `drift_ppm` fast, shows `media_us`.
pub(crate) fn captured_us(media_us: u64, drift_ppm: i32) -> u64 {
    const WHOLE: u64 = 1_000_000;
    let rate = WHOLE.saturating_add_signed(i64::from(drift_ppm)).max(1);
    (u128::from(media_us) * u128::from(WHOLE) / u128::from(rate)) as u64
}
