//! The sum of all talkers, kept in range by a soft limiter.
//!
//! The limiter is transparent below [`KNEE`] (−3 dBFS). Above, a gain that falls at once and comes back slowly holds
//! the sum under the ceiling, and a soft knee (tanh) catches what one block's ramp lets through: |out| ≤ 1, always.

use crate::{BLOCK, Block, SILENCE};

/// Below this the limiter does nothing: −3 dBFS.
pub const KNEE: f32 = 0.707_945_8;
/// The gain aims at peaks of this size: halfway into the knee, −1.5 dBFS.
const CEILING: f32 = 0.84;
/// The gain never falls below this, −24 dB.
const LEAST_GAIN: f32 = 0.063;
/// What the gain regains in a block: about 12 dB a second.
const RELEASE: f32 = 1.014;

/// Adds up blocks and limits the sum.
pub struct Mixer {
    sum: Block,
    gain: f32,
}

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

impl Mixer {
    /// Nothing added yet.
    pub fn new() -> Self {
        Self { sum: SILENCE, gain: 1.0 }
    }

    /// Adds a talker's block at a volume (1 is as it came).
    pub fn add(&mut self, block: &Block, volume: f32) {
        for (sum, sample) in self.sum.iter_mut().zip(block) {
            *sum += sample * volume;
        }
    }

    /// The limited sum; the mixer is empty again afterwards.
    pub fn finish(&mut self, out: &mut Block) {
        let peak =
            self.sum.iter().fold(0.0_f32, |peak, s| if s.is_finite() { peak.max(s.abs()) } else { peak });
        // A floor, so that one absurd block does not silence the next seconds; the knee holds the range anyway.
        let wanted = if peak > KNEE { (CEILING / peak).clamp(LEAST_GAIN, 1.0) } else { 1.0 };
        let to = wanted.min(self.gain * RELEASE);
        for (i, (out, sum)) in out.iter_mut().zip(&self.sum).enumerate() {
            let gain = self.gain + (to - self.gain) * (i + 1) as f32 / BLOCK as f32;
            *out = knee(sum * gain);
        }
        self.gain = to;
        self.sum = SILENCE;
    }
}

/// Linear to [`KNEE`], then bent towards 1.
fn knee(sample: f32) -> f32 {
    let size = sample.abs();
    if sample.is_nan() {
        0.0
    } else if size <= KNEE {
        sample
    } else {
        (KNEE + (1.0 - KNEE) * ((size - KNEE) / (1.0 - KNEE)).tanh()).min(1.0).copysign(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(peak: f32) -> Block {
        std::array::from_fn(|i| peak * (std::f32::consts::TAU * 5.0 * i as f32 / BLOCK as f32).sin())
    }

    #[test]
    fn below_the_knee_nothing_is_changed() {
        let (mut mixer, mut out) = (Mixer::new(), SILENCE);
        mixer.add(&tone(0.3), 1.0);
        mixer.add(&tone(0.8), 0.5);
        mixer.finish(&mut out);
        for (out, want) in out.iter().zip(tone(0.7)) {
            assert!((out - want).abs() < 1e-6);
        }
    }

    #[test]
    fn any_sum_stays_in_range_and_the_gain_comes_back() {
        let (mut mixer, mut out) = (Mixer::new(), SILENCE);
        for peak in [0.9, 2.0, 50.0, f32::MAX, f32::INFINITY, f32::NAN, 1.5] {
            for _ in 0..3 {
                mixer.add(&tone(peak), 1.0);
                mixer.add(&tone(peak), 1.0);
                mixer.finish(&mut out);
                assert!(out.iter().all(|s| s.abs() <= 1.0), "peak {peak}");
            }
        }
        for _ in 0..400 {
            mixer.add(&tone(0.5), 1.0);
            mixer.finish(&mut out);
        }
        assert!((out.iter().fold(0.0_f32, |a, b| a.max(b.abs())) - 0.5).abs() < 1e-3);
    }
}
