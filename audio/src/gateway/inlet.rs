//! PCM of one classic member on its way in: bytes in any portions, a jitter buffer, blocks.
//!
//! TCP brings everything, but in bursts and late. What came waits in its own rate; a turn takes 10 ms of it by way of a
//! [`Line`]. When there is too little, time is put in, by periods of the voice or as silence, and the delay has grown by just what was
//! needed. The least that waits in some seconds is what could be done without: that is cut, in pauses if there are any. A sound card of another
//! pace is followed by the same cuts and stretches.

use std::collections::VecDeque;

use super::PcmFormat;
use crate::limits::MAX_PCM_MS;
use crate::resample::{Resampler, UnsupportedRate};
use crate::timescale::{Line, MOST_LAG, QUIET_RMS};
use crate::{BLOCK, Block, SAMPLE_RATE_HZ, rms};

/// So much must be there before it begins, and then it waits for another turn: the chunks of the classic client are 23 ms.
const BEGIN: usize = 2 * BLOCK;
/// Without anything for so many blocks it is over, and begins anew.
const OVER_BLOCKS: u32 = 20;
/// Blocks of what is missing that are filled with the voice's own periods, ever weaker.
const STRETCHED_BLOCKS: u32 = 5;
/// Less like itself than this, the voice is not stretched over what is missing.
const STRETCH_LIKENESS: f32 = 0.5;

/// At least this much should be left in reserve when a block was taken, in samples: 2 ms …
const LEAST_RESERVE: i64 = 96;
/// … at most this much, 14 ms …
const MOST_RESERVE: i64 = 672;
/// … and after a correction 8 ms.
const RESERVE: i64 = 384;
/// Corrections look so far ahead.
const LOOK: usize = 4 * BLOCK;
/// What is left of a pause that is made shorter.
const LEFT_OF_PAUSE: usize = BLOCK / 2;
/// A pause is one after so many quiet blocks.
const PAUSE_BLOCKS: u32 = 3;
/// Without a pause, speech itself is made shorter after so many turns, or at once when there is so much too much …
const PATIENCE: u32 = 600;
const MUCH: i64 = 60 * 48;
/// … where it is as like itself as this, and not again for so many turns.
const LIKENESS: f32 = 0.85;
const BETWEEN_CUTS: u32 = 10;

/// As for a native talker: 34 dB below the loudest of late is quiet.
const QUIET_SHARE: f32 = 0.02;
const LOUD_FADES: f32 = 0.995;

/// What became of one member's PCM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InletStats {
    /// Frames of PCM, at the member's rate.
    pub(super) taken: u64,
    pub(super) dropped: u64,
    /// Blocks of 10 ms that were not there, or not whole.
    pub(super) missing: u64,
    /// Samples at 48 kHz.
    pub(super) cut: u64,
    pub(super) stretched: u64,
}

/// See the module's words.
pub(super) struct Inlet {
    format: PcmFormat,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
    /// Mono, at the member's rate.
    waiting: VecDeque<f32>,
    /// Converted so many at a time: 2.5 ms.
    chunk: usize,
    scratch: Vec<f32>,
    fresh: Vec<f32>,
    resampler: Resampler,
    line: Line,
    reserve: Reserve,
    stage: Stage,
    /// Blocks missing in a row, and the gain at the end of the last block.
    missing_for: u32,
    gain: f32,
    quiet_for: u32,
    loud: f32,
    /// Turns for which there was too much.
    surplus_for: u32,
    since_cut: u32,
    stats: InletStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Empty,
    /// Enough is there since the last turn.
    Ready,
    Playing,
}

impl Inlet {
    pub(super) fn new(format: PcmFormat) -> Result<Self, UnsupportedRate> {
        let chunk = (format.rate_hz / 400) as usize;
        let resampler = Resampler::light(format.rate_hz, SAMPLE_RATE_HZ, chunk)?;
        Ok(Self {
            format,
            partial: Vec::with_capacity(format.frame_bytes()),
            waiting: VecDeque::with_capacity(format.frames_of(MAX_PCM_MS)),
            chunk,
            scratch: Vec::with_capacity(chunk),
            fresh: Vec::with_capacity(BLOCK),
            resampler,
            line: Line::default(),
            reserve: Reserve::default(),
            stage: Stage::Empty,
            missing_for: 0,
            gain: 1.0,
            quiet_for: 0,
            loud: 0.0,
            surplus_for: 0,
            since_cut: 0,
            stats: InletStats::default(),
        })
    }

    pub(super) fn stats(&self) -> InletStats {
        self.stats
    }

    /// Takes what the socket gave. `late_ms` is what the gateway itself is behind, which is not the member's fault.
    pub(super) fn take(&mut self, mut bytes: &[u8], late_ms: u32) {
        let size = self.format.frame_bytes();
        let most = self.format.frames_of(MAX_PCM_MS + late_ms);
        if !self.partial.is_empty() {
            let (rest, after) = bytes.split_at(bytes.len().min(size - self.partial.len()));
            self.partial.extend_from_slice(rest);
            bytes = after;
            if self.partial.len() < size {
                return;
            }
            self.waiting.push_back(mono(&self.partial));
            self.partial.clear();
            self.stats.taken += 1;
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % size);
        self.partial.extend_from_slice(rest);
        let frames = whole.len() / size;
        self.stats.taken += frames as u64;
        // What would be dropped at once is not even looked at.
        let skipped = frames.saturating_sub(most);
        self.waiting.extend(whole[skipped * size..].chunks_exact(size).map(mono));
        let over = self.waiting.len().saturating_sub(most);
        self.waiting.drain(..over);
        self.stats.dropped += (skipped + over) as u64;
    }

    /// The next block; false, and silence, while nothing comes.
    pub(super) fn turn(&mut self, block: &mut Block) -> bool {
        if !self.has_begun() {
            block.fill(0.0);
            return false;
        }
        self.reserve.note(self.there() - BLOCK as i64);
        self.correct();
        self.convert(BLOCK);
        if self.line.ahead() >= BLOCK {
            self.missing_for = 0;
            self.line.take(block);
            ramp(block, &mut self.gain, 1.0);
        } else {
            self.fill_in(block);
        }
        let level = rms(block);
        self.loud = (self.loud * LOUD_FADES).max(level);
        self.quiet_for = if level < self.quiet_rms() { self.quiet_for.saturating_add(1) } else { 0 };
        true
    }

    fn has_begun(&mut self) -> bool {
        let is_enough = self.there() >= BEGIN as i64;
        self.stage = match self.stage {
            Stage::Empty if is_enough => Stage::Ready,
            Stage::Ready | Stage::Playing => Stage::Playing,
            Stage::Empty => Stage::Empty,
        };
        self.stage == Stage::Playing
    }

    /// What could be played now, in samples at 48 kHz.
    fn there(&self) -> i64 {
        let whole = self.waiting.len() - self.waiting.len() % self.chunk;
        (whole * SAMPLE_RATE_HZ as usize / self.format.rate_hz as usize + self.line.ahead()) as i64
    }

    /// Brings so many samples into the line, if they are there.
    fn convert(&mut self, samples: usize) {
        while self.line.ahead() < samples && self.waiting.len() >= self.chunk {
            self.scratch.clear();
            self.scratch.extend(self.waiting.drain(..self.chunk));
            self.fresh.clear();
            self.resampler.push(&self.scratch, &mut self.fresh);
            self.line.push(&self.fresh);
        }
    }

    /// A block for which too little is there.
    fn fill_in(&mut self, block: &mut Block) {
        self.stats.missing += 1;
        self.missing_for += 1;
        if self.missing_for >= OVER_BLOCKS {
            self.stage = Stage::Empty;
            self.reserve = Reserve::default();
        }
        let mut put_in = 0;
        if self.missing_for <= STRETCHED_BLOCKS {
            while self.line.ahead() < BLOCK {
                match self.line.lengthen(MOST_LAG, STRETCH_LIKENESS) {
                    0 => break,
                    won => put_in += won,
                }
            }
        }
        let there = self.line.ahead().min(BLOCK);
        self.line.take(block);
        if there == BLOCK {
            let left = 1.0 - self.missing_for as f32 / (STRETCHED_BLOCKS + 1) as f32;
            let to = left.min(self.gain);
            ramp(block, &mut self.gain, to);
        } else {
            ramp(&mut block[..there], &mut self.gain, 0.0);
            self.gain = 0.0;
        }
        put_in += BLOCK - there;
        self.stats.stretched += put_in as u64;
        self.reserve.moved(put_in as i64);
    }

    fn quiet_rms(&self) -> f32 {
        QUIET_RMS.max(self.loud * QUIET_SHARE)
    }

    /// Cuts what is too much in reserve, puts in what is too little.
    fn correct(&mut self) {
        self.since_cut = self.since_cut.saturating_add(1);
        let Some(reserve) = self.reserve.least() else { return };
        self.surplus_for = if reserve > MOST_RESERVE { self.surplus_for.saturating_add(1) } else { 0 };
        let is_pause = self.quiet_for >= PAUSE_BLOCKS;
        if reserve > MOST_RESERVE {
            self.convert(LOOK);
            let most = (reserve - RESERVE) as usize;
            let quiet = self.line.quiet_ahead(self.quiet_rms());
            let is_late = reserve > MUCH || self.surplus_for > PATIENCE;
            let cut = if is_pause && quiet > LEFT_OF_PAUSE {
                self.line.skip(most.min(quiet - LEFT_OF_PAUSE))
            } else if is_late && self.since_cut > BETWEEN_CUTS {
                self.line.shorten(most.min(MOST_LAG), LIKENESS)
            } else {
                0
            };
            if cut > 0 {
                self.since_cut = 0;
                self.stats.cut += cut as u64;
                self.reserve.moved(-(cut as i64));
            }
        } else if reserve < LEAST_RESERVE && is_pause && self.there() >= BLOCK as i64 {
            // Where nothing is there nothing is stretched: it may be over.
            self.convert(BLOCK);
            let won = self.line.lengthen((RESERVE - reserve) as usize, LIKENESS);
            self.stats.stretched += won as u64;
            self.reserve.moved(won as i64);
        }
    }
}

/// The least that was left when a block was taken, of the last 3 to 6 s.
#[derive(Clone, Copy, Debug, Default)]
struct Reserve {
    now: Option<i64>,
    before: Option<i64>,
    turns: u32,
}

const RESERVE_TURNS: u32 = 300;

impl Reserve {
    fn note(&mut self, left: i64) {
        self.now = Some(self.now.map_or(left, |now| now.min(left)));
        self.turns += 1;
        if self.turns >= RESERVE_TURNS {
            (self.before, self.now, self.turns) = (self.now, None, 0);
        }
    }

    /// None before it is known.
    fn least(&self) -> Option<i64> {
        self.before.map(|before| self.now.map_or(before, |now| now.min(before)))
    }

    /// Time was put in (or cut, if negative): all would have been so much more.
    fn moved(&mut self, by: i64) {
        for least in [&mut self.now, &mut self.before].into_iter().flatten() {
            *least += by;
        }
    }
}

/// The mean of a frame's channels.
fn mono(frame: &[u8]) -> f32 {
    let (samples, _) = frame.as_chunks::<2>();
    let sum: i32 = samples.iter().map(|&sample| i32::from(i16::from_le_bytes(sample))).sum();
    sum as f32 / (32_768 * samples.len().max(1)) as f32
}

/// From the gain as it was to `to`, so that nothing clicks.
pub(super) fn ramp(sound: &mut [f32], gain: &mut f32, to: f32) {
    if *gain != 1.0 || to != 1.0 {
        let step = (to - *gain) / sound.len().max(1) as f32;
        for (i, sample) in sound.iter_mut().enumerate() {
            *sample *= *gain + step * (i + 1) as f32;
        }
        *gain = to;
    }
}
