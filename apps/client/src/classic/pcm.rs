//! Voice as the old programs have it: interleaved samples of 16 bits, little-endian, as they fall out of a TCP connection.

use std::collections::VecDeque;

use chinwag_audio::{BLOCK, Block, SAMPLE_RATE_HZ};

/// Frames in what is sent at once.
pub(crate) const CHUNK_FRAMES: usize = 1024;
const SAMPLE_BYTES: usize = 2;

/// Bytes to samples, all channels averaged.
#[derive(Debug)]
pub(crate) struct Unpacker {
    frame_bytes: usize,
    /// The beginning of a frame that was cut in two; never a whole one.
    rest: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new(channels: u16) -> Self {
        Self { frame_bytes: usize::from(channels.max(1)) * SAMPLE_BYTES, rest: Vec::new() }
    }

    /// Appends the frames that are whole now.
    pub(crate) fn push(&mut self, bytes: &[u8], samples: &mut Vec<f32>) {
        self.rest.extend_from_slice(bytes);
        let frames = self.rest.chunks_exact(self.frame_bytes);
        let cut = frames.remainder().len();
        samples.extend(frames.map(mean));
        self.rest.drain(..self.rest.len() - cut);
    }
}

fn mean(frame: &[u8]) -> f32 {
    let (samples, _) = frame.as_chunks::<SAMPLE_BYTES>();
    let sum: f32 = samples.iter().map(|&sample| f32::from(i16::from_le_bytes(sample))).sum();
    sum / (samples.len() as f32 * 32_768.0)
}

/// Samples to chunks of bytes, the same in all channels.
#[derive(Debug)]
pub(crate) struct Packer {
    channels: usize,
    chunk: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(channels: u16) -> Self {
        Self { channels: usize::from(channels.max(1)), chunk: Vec::new() }
    }

    /// Hands out the chunks that are full now.
    pub(crate) fn push(&mut self, samples: &[f32], send: &mut dyn FnMut(Vec<u8>)) {
        for sample in samples {
            let sample = (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16;
            for _ in 0..self.channels {
                self.chunk.extend_from_slice(&sample.to_le_bytes());
            }
            if self.chunk.len() == self.chunk_bytes() {
                send(std::mem::take(&mut self.chunk));
            }
        }
    }

    /// Hands out what there is, filled up with silence.
    pub(crate) fn finish(&mut self, send: &mut dyn FnMut(Vec<u8>)) {
        if !self.chunk.is_empty() {
            self.chunk.resize(self.chunk_bytes(), 0);
            send(std::mem::take(&mut self.chunk));
        }
    }

    fn chunk_bytes(&self) -> usize {
        CHUNK_FRAMES * self.channels * SAMPLE_BYTES
    }
}

/// Beside a whole chunk, what is held at first: as much as a machine may be late.
const SLACK_MS: u32 = 40;
/// By how much more is held once a chunk came too late.
const STEP_MS: u32 = 20;
/// The most that may be added to what is held at first.
const MOST_ADDED_MS: u32 = 200;
/// More than this beyond what is to be held is dropped, the oldest first.
const EXCESS_MS: u32 = 300;
/// Voice that pauses for longer than this did not come late: nobody spoke.
const LATE_BLOCKS: u32 = 50;

/// Received voice on its way to the speaker (48 kHz mono): so much of it waits that the next chunk comes in time, and no more.
/// Where the network needs longer than was thought, more is held from then on.
#[derive(Debug)]
pub(crate) struct Waiting {
    samples: VecDeque<f32>,
    is_playing: bool,
    /// What is gathered before it is played.
    held: usize,
    most_held: usize,
    /// Blocks of silence since it ran dry.
    dry_blocks: u32,
    dropped: u64,
    gaps: u64,
}

impl Waiting {
    pub(crate) fn new(rate_hz: u32) -> Self {
        let chunk = CHUNK_FRAMES * SAMPLE_RATE_HZ as usize / rate_hz.max(1) as usize;
        let held = chunk + samples(SLACK_MS);
        Self {
            samples: VecDeque::new(),
            is_playing: false,
            held,
            most_held: held + samples(MOST_ADDED_MS),
            dry_blocks: LATE_BLOCKS,
            dropped: 0,
            gaps: 0,
        }
    }

    /// Voice has come. Of too much the oldest is dropped, and so much that nothing more need be dropped for a while.
    pub(crate) fn push(&mut self, voice: &[f32]) {
        self.samples.extend(voice);
        if self.samples.len() > self.held + samples(EXCESS_MS) {
            let excess = self.samples.len() - self.held;
            self.samples.drain(..excess);
            self.dropped += excess as u64;
        }
    }

    /// The next 10 ms for the speaker.
    pub(crate) fn pull(&mut self, block: &mut Block) {
        if !self.is_playing && self.samples.len() >= self.held {
            self.is_playing = true;
            if self.dry_blocks < LATE_BLOCKS {
                self.gaps += 1;
                self.held = (self.held + samples(STEP_MS)).min(self.most_held);
            }
        }
        let length = if self.is_playing { self.samples.len().min(BLOCK) } else { 0 };
        for (sample, came) in block.iter_mut().zip(self.samples.drain(..length)) {
            *sample = came;
        }
        block[length..].fill(0.0);
        if length == BLOCK {
            self.dry_blocks = 0;
        } else {
            self.is_playing = false;
            self.dry_blocks = self.dry_blocks.saturating_add(1);
        }
    }

    /// Milliseconds that were dropped, and times that voice came too late.
    pub(crate) fn faults(&self) -> (u64, u64) {
        (self.dropped * 1000 / u64::from(SAMPLE_RATE_HZ), self.gaps)
    }
}

const fn samples(ms: u32) -> usize {
    (SAMPLE_RATE_HZ / 1000 * ms) as usize
}

#[cfg(test)]
mod tests {
    use chinwag_audio::SILENCE;

    use super::*;

    #[test]
    fn frames_cut_anywhere_are_put_together_and_channels_averaged() {
        let bytes: Vec<u8> =
            [16_384_i16, 0, -32_768, -32_768, 8_192, -8_192].into_iter().flat_map(i16::to_le_bytes).collect();
        for step in 1..bytes.len() {
            let (mut unpacker, mut samples) = (Unpacker::new(2), vec![]);
            bytes.chunks(step).for_each(|part| unpacker.push(part, &mut samples));
            assert_eq!(samples, [0.25, -1.0, 0.0], "in steps of {step}");
        }
    }

    #[test]
    fn what_is_packed_is_what_is_unpacked_and_ends_with_a_whole_chunk() {
        let said: Vec<f32> = (0..3000).map(|n| (n as f32 * 0.01).sin()).collect();
        let (mut packer, mut unpacker, mut heard) = (Packer::new(2), Unpacker::new(2), vec![]);
        let mut send = |chunk: Vec<u8>| {
            assert_eq!(chunk.len(), CHUNK_FRAMES * 4);
            unpacker.push(&chunk, &mut heard);
        };
        said.chunks(441).for_each(|part| packer.push(part, &mut send));
        packer.finish(&mut send);
        packer.finish(&mut send);
        assert_eq!(heard.len(), 3 * CHUNK_FRAMES);
        assert!(said.iter().zip(&heard).all(|(a, b)| (a - b).abs() < 1e-3));
        assert!(heard[3000..].iter().all(|sample| *sample == 0.0));
    }

    fn is_silent(waiting: &mut Waiting) -> bool {
        let mut block = SILENCE;
        waiting.pull(&mut block);
        block == SILENCE
    }

    #[test]
    fn voice_waits_for_a_chunk_more_and_longer_once_one_was_late() {
        let mut waiting = Waiting::new(48_000);
        let first = CHUNK_FRAMES + samples(SLACK_MS);
        waiting.push(&vec![0.5; first - 1]);
        assert!(is_silent(&mut waiting));
        waiting.push(&[0.5]);
        let blocks = first.div_ceil(BLOCK);
        assert!((0..blocks).all(|_| !is_silent(&mut waiting)));
        // It ran dry for a moment.
        assert!(is_silent(&mut waiting));
        waiting.push(&vec![0.5; first]);
        assert!(!is_silent(&mut waiting));
        assert_eq!(waiting.faults(), (0, 1));
        while !is_silent(&mut waiting) {}
        waiting.push(&vec![0.5; first]);
        assert!(is_silent(&mut waiting), "now it waits for more");
        // After a pause nothing was late.
        (0..LATE_BLOCKS).for_each(|_| assert!(is_silent(&mut waiting)));
        waiting.push(&vec![0.5; samples(STEP_MS)]);
        assert!(!is_silent(&mut waiting));
        assert_eq!(waiting.faults(), (0, 1));
    }

    #[test]
    fn voice_that_comes_all_at_once_loses_its_oldest_part_and_is_counted() {
        let mut waiting = Waiting::new(44_100);
        for _ in 0..100 {
            waiting.push(&[0.25; 4800]);
            assert!(waiting.samples.len() <= waiting.held + samples(EXCESS_MS));
        }
        waiting.push(&[0.75; 480]);
        assert_eq!(waiting.samples.back(), Some(&0.75));
        assert!(waiting.faults().0 > 9_500, "{:?}", waiting.faults());
    }
}
