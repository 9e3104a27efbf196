//! Brings speech to one level, slowly, and keeps what is too loud from clipping.
//!
//! The level is that of speech alone (as in ITU-T P.56: pauses do not count), the gain is held in pauses, and noise is
//! never raised above [`NOISE`]. Listeners level talkers again; this is so that quiet microphones are not lost in the codec's noise,
//! nor under the gate's threshold, and that loud ones do not clip.

use crate::{BLOCK, Block, rms};

/// Where speech is brought to, root mean square: −21 dBFS.
const TARGET: f32 = 0.089;
/// The limits of the gain: −12 and +24 dB.
const GAINS: (f32, f32) = (0.25, 15.85);
/// Noise is not raised above this: −50 dBFS.
const NOISE: f32 = 0.003_16;
/// The gain rises by 4 dB a second and falls by 12, as factors for each block.
const RISE: f32 = 1.004_6;
const FALL: f32 = 0.986_3;
/// A block that is speech, and one that is none, by how likely that is.
const SPEECH: f32 = 0.35;
const PAUSE: f32 = 0.25;
/// Speech quieter than this (−55 dBFS) is nobody in front of the microphone.
const QUIET: f32 = 0.001_78;
/// Weight of the new in the powers of speech (a second of it) and of noise.
const NEW: f32 = 0.01;
/// Speech must have been heard for this many blocks before the gain follows it.
const SETTLED_BLOCKS: u32 = 20;
/// Below this a sample passes as it is; above it it is bent so that it stays below 1.
const KNEE: f32 = 0.8;

/// See the module's words.
pub(super) struct Gain {
    /// Powers of speech and of noise, and blocks of speech that the former is of.
    speech: f32,
    noise: f32,
    blocks: u32,
    /// At the end of the last block.
    gain: f32,
}

impl Gain {
    pub(super) fn new() -> Self {
        Self { speech: 0.0, noise: 0.0, blocks: 0, gain: 1.0 }
    }

    /// Amplifies a block in which there is speech as likely as that.
    pub(super) fn process(&mut self, block: &mut Block, likely: f32) {
        let loudness = rms(block);
        if likely < PAUSE {
            self.noise += NEW * (loudness * loudness - self.noise);
        }
        let before = self.gain;
        if likely >= SPEECH && loudness > QUIET {
            self.blocks = self.blocks.saturating_add(1);
            // The mean of all blocks until there are many.
            let new = (1.0 / self.blocks as f32).max(NEW);
            self.speech += new * (loudness * loudness - self.speech);
            if self.blocks >= SETTLED_BLOCKS {
                let least_noise = NOISE / self.noise.sqrt().max(1e-6);
                let wanted = (TARGET / self.speech.sqrt()).clamp(GAINS.0, GAINS.1).min(least_noise.max(1.0));
                self.gain = wanted.clamp(before * FALL, before * RISE);
            }
        }
        for (i, sample) in block.iter_mut().enumerate() {
            let share = (i + 1) as f32 / BLOCK as f32;
            *sample = bend(*sample * (before + (self.gain - before) * share));
        }
    }
}

/// Into −1..1, smoothly.
fn bend(sample: f32) -> f32 {
    let over = sample.abs() - KNEE;
    if over <= 0.0 {
        return sample;
    }
    (KNEE + (1.0 - KNEE) * (over / (1.0 - KNEE)).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of a tone of this amplitude; its root mean square at the end.
    fn level(gain: &mut Gain, amplitude: f32, likely: f32, seconds: usize) -> f32 {
        let mut block = [0.0; BLOCK];
        for _ in 0..seconds * 100 {
            for (i, sample) in block.iter_mut().enumerate() {
                *sample = amplitude * (i as f32 / 24.0 * core::f32::consts::PI).sin();
            }
            gain.process(&mut block, likely);
            assert!(block.iter().all(|s| s.abs() < 1.0));
        }
        rms(&block)
    }

    #[test]
    fn loud_and_quiet_speech_come_to_the_same_level() {
        for amplitude in [0.02, 0.1, 0.4] {
            let rms = level(&mut Gain::new(), amplitude, 0.9, 10);
            assert!((20.0 * (rms / TARGET).log10()).abs() < 1.0, "{amplitude}: {rms}");
        }
    }

    #[test]
    fn noise_is_never_raised_and_pauses_change_nothing() {
        let mut gain = Gain::new();
        let hiss = level(&mut gain, 0.01, 0.1, 10);
        assert!(hiss < 0.0072, "{hiss}");
        let quiet = level(&mut gain, 0.02, 0.9, 20);
        assert!(quiet < 0.0145, "noise at −43 dBFS is loud enough: {quiet}");
        let mut gain = Gain::new();
        level(&mut gain, 0.02, 0.9, 10);
        let before = gain.gain;
        level(&mut gain, 0.0, 0.0, 10);
        assert_eq!(gain.gain, before);
    }

    #[test]
    fn what_is_bent_stays_in_order_and_in_range() {
        let bent: Vec<f32> = (0..400).map(|i| bend(i as f32 / 100.0)).collect();
        assert!(bent.windows(2).all(|w| w[0] <= w[1]) && bent.iter().all(|s| *s <= 1.0));
        assert_eq!(bend(-0.5), -0.5);
        assert_eq!(bend(-3.0), -bend(3.0));
    }
}
