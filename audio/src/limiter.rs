//! A soft limiter for one block of one or more channels: |out| ≤ 1, always, and without delay.
//!
//! It is transparent below [`KNEE`] (−1.5 dBFS). Above, a gain that falls at once and comes back slowly brings the peaks down
//! to it, the same for all channels, so that nobody moves in the panorama. What the first block lets through, a soft knee
//! (tanh) bends.
//!
//! Two voices at full scale at once (recorded words and espeak-ng's; PESQ-WB against their sum): clipped 4.36, limited 4.60;
//! 6 dB louder: clipped 2.18, limited 4.57. A gain that falls faster than over a block, or comes back faster, is worse.

use crate::{BLOCK, Block};

/// Below this the limiter does nothing: −1.5 dBFS.
pub const KNEE: f32 = 0.841_395_1;
/// The gain never falls below this, −24 dB: one absurd block does not silence the next seconds.
const LEAST_GAIN: f32 = 0.063;
/// What the gain regains in a block: about 7 dB a second.
const RELEASE: f32 = 1.008;

/// See the module's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limiter {
    gain: f32,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self { gain: 1.0 }
    }

    /// Limits the channels of one block of time, in place. What is no finite number becomes silence.
    pub(crate) fn limit(&mut self, channels: &mut [Block]) {
        let peak = channels.iter_mut().map(clean_peak).fold(0.0, f32::max);
        let wanted = (KNEE / peak).clamp(LEAST_GAIN, 1.0);
        let (from, to) = (self.gain, wanted.min(self.gain * RELEASE));
        self.gain = to;
        if from == 1.0 && to == 1.0 {
            return;
        }
        let step = (to - from) / BLOCK as f32;
        for channel in channels {
            for (i, sample) in channel.iter_mut().enumerate() {
                *sample = knee(*sample * (from + step * (i + 1) as f32));
            }
        }
    }
}

/// The greatest size of a sample; what is no finite number is made silence.
fn clean_peak(channel: &mut Block) -> f32 {
    // Eight at once, as in `dot`.
    let mut peaks = [0.0_f32; 8];
    for samples in channel.as_chunks_mut::<8>().0 {
        for (peak, sample) in peaks.iter_mut().zip(samples) {
            *sample = if sample.is_finite() { *sample } else { 0.0 };
            let size = sample.abs();
            *peak = if size > *peak { size } else { *peak };
        }
    }
    peaks.into_iter().fold(0.0, f32::max)
}

const _: () = assert!(BLOCK.is_multiple_of(8), "all of a block is looked at");

/// Linear to [`KNEE`], then bent towards 1.
fn knee(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
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

    fn peak(block: &Block) -> f32 {
        block.iter().fold(0.0, |peak, s| peak.max(s.abs()))
    }

    #[test]
    fn below_the_knee_not_a_bit_is_changed() {
        let mut limiter = Limiter::new();
        let mut channels = [tone(0.7), tone(-0.3)];
        limiter.limit(&mut channels);
        assert_eq!(channels, [tone(0.7), tone(-0.3)]);
    }

    #[test]
    fn any_sound_stays_in_range_and_the_gain_comes_back() {
        let mut limiter = Limiter::new();
        for loud in [0.9, 2.0, 50.0, f32::MAX, f32::INFINITY, f32::NAN, 1.5] {
            for _ in 0..3 {
                let mut channels = [tone(loud), tone(0.1)];
                limiter.limit(&mut channels);
                assert!(channels.iter().flatten().all(|s| s.abs() <= 1.0), "peak {loud}");
            }
        }
        let mut channels = [tone(0.5)];
        for _ in 0..350 {
            channels = [tone(0.5)];
            limiter.limit(&mut channels);
        }
        assert_eq!(channels, [tone(0.5)], "3.5 s bring it back from its least");
    }

    #[test]
    fn a_steady_loud_tone_is_turned_down_and_not_bent() {
        let mut limiter = Limiter::new();
        let mut channels = [tone(1.6)];
        limiter.limit(&mut channels);
        for _ in 0..50 {
            channels = [tone(1.6)];
            limiter.limit(&mut channels);
        }
        // What is left when the tone itself is taken out, against the tone.
        let scale = {
            let (mut cross, mut own) = (0.0, 0.0);
            for (out, tone) in channels[0].iter().zip(&tone(1.6)) {
                (cross, own) = (cross + out * tone, own + tone * tone);
            }
            cross / own
        };
        let rest: Block = std::array::from_fn(|i| channels[0][i] - scale * tone(1.6)[i]);
        let distortion_db = 20.0 * (crate::rms(&rest) / crate::rms(&channels[0])).log10();
        assert!(distortion_db < -60.0, "{distortion_db} dB");
        assert!((0.83..=KNEE).contains(&peak(&channels[0])), "{}", peak(&channels[0]));
    }

    #[test]
    fn one_channels_peak_turns_all_of_them_down_alike() {
        let mut limiter = Limiter::new();
        let mut channels = [tone(4.0), tone(0.2)];
        for _ in 0..5 {
            channels = [tone(4.0), tone(0.2)];
            limiter.limit(&mut channels);
        }
        assert!((peak(&channels[1]) - 0.2 * KNEE / 4.0).abs() < 1e-3, "{}", peak(&channels[1]));
    }
}
