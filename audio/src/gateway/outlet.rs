//! PCM for classic members: a limited sum in their format, as many samples as the clock says.
//!
//! All who do not talk hear the same, which is made once for each format; who talks has an outlet of its own.

use super::PcmFormat;
use crate::limiter::Limiter;
use crate::resample::{Resampler, UnsupportedRate};
use crate::{BLOCK, Block, SAMPLE_RATE_HZ, SILENCE};

/// Samples in reserve, since the converter gives one more or less from block to block.
const RESERVE: usize = 2;
/// Blocks that the filter has not forgotten, and one more.
const PAST: usize = 2;

pub(super) struct Outlet {
    format: PcmFormat,
    limiter: Limiter,
    resampler: Resampler,
    /// The last blocks, limited.
    past: [Block; PAST],
    /// Mono, at the members' rate.
    ready: Vec<f32>,
    pcm: Vec<u8>,
}

impl Outlet {
    pub(super) fn new(format: PcmFormat) -> Result<Self, UnsupportedRate> {
        let frames = format.frames_of(30);
        Ok(Self {
            format,
            limiter: Limiter::new(),
            resampler: Resampler::light(SAMPLE_RATE_HZ, format.rate_hz, BLOCK)?,
            past: [SILENCE; PAST],
            ready: Vec::with_capacity(frames),
            pcm: Vec::with_capacity(frames * format.frame_bytes()),
        })
    }

    pub(super) fn format(&self) -> PcmFormat {
        self.format
    }

    /// The PCM of the last turn.
    pub(super) fn pcm(&self) -> &[u8] {
        &self.pcm
    }

    /// Goes on where `other`, of the same format, will be in this turn.
    pub(super) fn follow(&mut self, other: &Self, turn: u64) {
        self.limiter = other.limiter;
        self.resampler.reset();
        self.ready.clear();
        self.past = other.past;
        for (behind, block) in (1..=PAST as u64).rev().zip(&other.past) {
            let due = self.convert(turn.saturating_sub(behind), block);
            self.ready.drain(..due);
        }
    }

    /// Makes the PCM of a block. Turns are counted: all together give exactly their time in frames.
    pub(super) fn turn(&mut self, turn: u64, mut sound: Block) {
        self.limiter.limit(std::slice::from_mut(&mut sound));
        self.past.rotate_left(1);
        self.past[PAST - 1] = sound;
        let due = self.convert(turn, &sound);
        self.pcm.clear();
        for sample in self.ready.drain(..due) {
            let sample = ((sample * 32_767.0).round() as i16).to_le_bytes();
            for _ in 0..self.format.channels {
                self.pcm.extend_from_slice(&sample);
            }
        }
    }

    /// Makes ready what a block gives; at least as many samples as are due in this turn.
    fn convert(&mut self, turn: u64, sound: &Block) -> usize {
        self.resampler.push(sound, &mut self.ready);
        let until = |turns: u64| u128::from(turns) * u128::from(self.format.rate_hz) / 100;
        let due = (until(turn + 1) - until(turn)) as usize;
        if self.ready.len() < due {
            // The first of it, which the filter keeps back. Not in the midst of sound: that is what the reserve is for.
            let short = due - self.ready.len() + RESERVE;
            self.ready.splice(..0, std::iter::repeat_n(0.0, short));
        }
        due
    }
}
