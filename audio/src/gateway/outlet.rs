//! PCM for one classic member: the limited sum in the member's format, as many samples as the clock says.

use super::PcmFormat;
use crate::limiter::Limiter;
use crate::resample::{Resampler, UnsupportedRate};
use crate::{BLOCK, Block, SAMPLE_RATE_HZ};

/// Samples in reserve, since the converter gives one more or less from block to block.
const RESERVE: usize = 2;

pub(super) struct Outlet {
    format: PcmFormat,
    limiter: Limiter,
    resampler: Resampler,
    /// Mono, at the member's rate.
    ready: Vec<f32>,
    pcm: Vec<u8>,
    /// Blocks taken, and frames given.
    turns: u64,
    given: u64,
}

impl Outlet {
    pub(super) fn new(format: PcmFormat) -> Result<Self, UnsupportedRate> {
        let frames = format.frames_of(30);
        Ok(Self {
            format,
            limiter: Limiter::new(),
            resampler: Resampler::light(SAMPLE_RATE_HZ, format.rate_hz, BLOCK)?,
            ready: Vec::with_capacity(frames),
            pcm: Vec::with_capacity(frames * format.frame_bytes()),
            turns: 0,
            given: 0,
        })
    }

    /// The PCM of a block; all blocks together give exactly their time in frames.
    pub(super) fn turn(&mut self, mut sound: Block) -> &[u8] {
        self.limiter.limit(std::slice::from_mut(&mut sound));
        self.resampler.push(&sound, &mut self.ready);
        self.turns += 1;
        let due = (self.turns * u64::from(self.format.rate_hz) / 100 - self.given) as usize;
        if self.ready.len() < due {
            // The first of it, which the filter keeps back. Not in the midst of sound: that is what the reserve is for.
            let short = due - self.ready.len() + RESERVE;
            self.ready.splice(..0, std::iter::repeat_n(0.0, short));
        }
        self.given += due as u64;
        self.pcm.clear();
        for sample in self.ready.drain(..due) {
            let sample = ((sample * 32_767.0).round() as i16).to_le_bytes();
            for _ in 0..self.format.channels {
                self.pcm.extend_from_slice(&sample);
            }
        }
        &self.pcm
    }
}
