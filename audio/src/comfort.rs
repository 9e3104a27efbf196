//! Comfort noise: what a talker's background sounds like, made up where nothing has arrived for long, so that the line
//! does not seem dead.
//!
//! As RFC 3389 has it: the background is a level and the reflection coefficients of an all-pole filter of order
//! `ORDER`, and noise through that filter is played. There both come from the sender; here they are learned from the
//! quietest of what was heard (the autocorrelation method with Levinson's and Durbin's recursion, J. Makhoul, "Linear prediction: a
//! tutorial review", Proc. IEEE 63, 1975). A background that was silence stays silence.

use crate::floor::{Floor, dot, power};
use crate::{BLOCK, Block};

/// Poles of the filter; RFC 3389 §3.2 expects no more than 12.
const ORDER: usize = 10;
/// The noise is never louder than this: −45 dBFS.
const LOUDEST_POWER: f32 = 3.162e-5;
/// What is quieter is silence: −90 dBFS.
const LEAST_POWER: f32 = 1e-9;
/// A block up to so many times the least power is background.
const NEAR_FLOOR: f32 = 2.0;
/// How much of a new block goes into the spectrum, once there were some.
const LEARNING: f32 = 0.1;
/// White noise added to the spectrum, 40 dB down: it keeps the filter tame where the codec leaves nothing.
const WHITE: f64 = 1.000_1;
/// Poles stay this far inside the unit circle.
const MOST_REFLECTION: f64 = 0.995;

/// Learns one talker's background and plays it. Deterministic: the same blocks give the same noise.
#[derive(Clone, Debug)]
pub struct Comfort {
    floor: Floor,
    /// Mean autocorrelation of background blocks, each divided by its power.
    spectrum: [f32; ORDER + 1],
    learned: u32,
    /// The filter is older than the spectrum.
    is_stale: bool,
    predictor: [f32; ORDER],
    /// What of the noise's amplitude the filter lets through, inverted.
    drive: f32,
    /// The filter's last outputs, the newest first, for a noise of power 1.
    past: [f32; ORDER],
    seed: u32,
    gain: f32,
}

impl Default for Comfort {
    fn default() -> Self {
        Self::new()
    }
}

impl Comfort {
    /// Nothing heard: silence.
    pub fn new() -> Self {
        Self {
            floor: Floor::new(),
            spectrum: [0.0; ORDER + 1],
            learned: 0,
            is_stale: false,
            predictor: [0.0; ORDER],
            drive: 1.0,
            past: [0.0; ORDER],
            seed: 0x2545_f491,
            gain: 0.0,
        }
    }

    /// Takes a block as it was decoded from a frame that arrived.
    pub fn observe(&mut self, block: &Block) {
        let power = power(block);
        if !power.is_finite() {
            return;
        }
        self.floor.push(power);
        let Some(least) = self.floor.power() else { return };
        if power < LEAST_POWER || power > least * NEAR_FLOOR {
            return;
        }
        let share = LEARNING.max(1.0 / (self.learned + 1) as f32);
        for (lag, mean) in self.spectrum.iter_mut().enumerate() {
            let sum = dot(&block[lag..], &block[..BLOCK - lag]);
            *mean += share * (sum / (power * BLOCK as f32) - *mean);
        }
        self.learned = self.learned.saturating_add(1).min(1000);
        self.is_stale = true;
    }

    /// Adds noise to a block, from the gain of the last call to this one: 1 is the background as it was, 0 nothing (and costs
    /// nothing, if it was 0 before). So the gain may be what concealment or silence leaves to be filled, block by block.
    pub fn fill(&mut self, block: &mut Block, gain: f32) {
        let to = if gain.is_nan() { 0.0 } else { gain.clamp(0.0, 1.0) } * self.amplitude();
        let from = std::mem::replace(&mut self.gain, to);
        if from == 0.0 && to == 0.0 {
            return;
        }
        if std::mem::take(&mut self.is_stale) {
            self.make_filter();
        }
        let step = (to - from) / BLOCK as f32;
        for (i, sample) in block.iter_mut().enumerate() {
            *sample += self.next() * (from + step * (i + 1) as f32);
        }
    }

    /// Root mean square of the noise at gain 1, at the full scale of 1; 0 as long as no background was heard.
    pub fn amplitude(&self) -> f32 {
        let power = self.floor.power().unwrap_or(0.0).min(LOUDEST_POWER);
        if self.learned == 0 || power < LEAST_POWER { 0.0 } else { power.sqrt() }
    }

    /// A sample of noise of power 1 with the background's spectrum.
    fn next(&mut self) -> f32 {
        // Numerical Recipes' generator; its upper bits are good enough for noise.
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Between −√3 and √3: of power 1.
        let white = (self.seed >> 8) as f32 * (2.0 * 1.732_050_8 / (1 << 24) as f32) - 1.732_050_8;
        let predicted: f32 = self.predictor.iter().zip(&self.past).map(|(a, past)| a * past).sum();
        let sample = white * self.drive + predicted;
        self.past.rotate_right(1);
        self.past[0] = sample;
        sample
    }

    /// Levinson's and Durbin's recursion.
    fn make_filter(&mut self) {
        let r = self.spectrum.map(f64::from);
        let mut predictor = [0.0_f64; ORDER];
        let mut error = r[0] * WHITE;
        let mut left = 1.0;
        for order in 0..ORDER {
            let predicted: f64 = (0..order).map(|i| predictor[i] * r[order - i]).sum();
            let reflection = (r[order + 1] - predicted) / error;
            if !reflection.is_finite() || reflection.abs() > MOST_REFLECTION {
                break;
            }
            let before = predictor;
            predictor[order] = reflection;
            for i in 0..order {
                predictor[i] = before[i] - reflection * before[order - 1 - i];
            }
            error *= 1.0 - reflection * reflection;
            left *= 1.0 - reflection * reflection;
        }
        self.predictor = predictor.map(|a| a as f32);
        self.drive = left.sqrt() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SILENCE, rms};

    /// Noise with most of its power in the low frequencies.
    fn background(seed: &mut u32, amplitude: f32) -> Block {
        let mut last = 0.0;
        std::array::from_fn(|_| {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            last = 0.9 * last + ((*seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.755;
            last * amplitude
        })
    }

    fn taught(amplitude: f32) -> Comfort {
        let (mut comfort, mut seed) = (Comfort::new(), 7);
        for k in 0..200 {
            // Syllables over a background.
            let block = background(&mut seed, if k % 40 < 25 { 0.2 } else { amplitude });
            comfort.observe(&block);
        }
        comfort
    }

    fn played(comfort: &mut Comfort, blocks: usize) -> Vec<f32> {
        let mut all = Vec::new();
        for _ in 0..blocks {
            let mut block = SILENCE;
            comfort.fill(&mut block, 1.0);
            all.extend_from_slice(&block);
        }
        all
    }

    /// Correlation of neighbouring samples: how dark a noise is.
    fn darkness(samples: &[f32]) -> f32 {
        let near: f32 = samples.windows(2).map(|pair| pair[0] * pair[1]).sum();
        near / samples.iter().map(|s| s * s).sum::<f32>()
    }

    #[test]
    fn it_is_as_loud_as_the_quietest_background_and_sounds_like_it() {
        let noise = played(&mut taught(0.002), 100);
        let (mut seed, mut real) = (7, Vec::new());
        (0..100).for_each(|_| real.extend_from_slice(&background(&mut seed, 0.002)));
        let (made, heard) = (rms(&noise), rms(&real));
        assert!(made <= heard && made > heard * 0.6, "{made} for {heard}");
        let (made, heard) = (darkness(&noise), darkness(&real));
        assert!((made - heard).abs() < 0.05, "{made} for {heard}");
    }

    #[test]
    fn a_loud_background_is_bounded_and_a_silent_one_stays_silent() {
        let loud = rms(&played(&mut taught(0.1), 100));
        assert!((LOUDEST_POWER.sqrt() * 0.8..=LOUDEST_POWER.sqrt() * 1.05).contains(&loud), "{loud}");
        for amplitude in [0.0, 1e-6] {
            assert!(played(&mut taught(amplitude), 10).iter().all(|s| *s == 0.0), "{amplitude}");
        }
        assert!(played(&mut Comfort::new(), 10).iter().all(|s| *s == 0.0));
    }

    #[test]
    fn its_gain_moves_without_steps_and_ends_at_nothing() {
        let mut comfort = taught(0.002);
        let mut block = SILENCE;
        comfort.fill(&mut block, 1.0);
        assert!(rms(&block[..48]) < rms(&block[432..]) * 0.4, "it begins at nothing");
        comfort.fill(&mut block, 0.0);
        let mut after = SILENCE;
        comfort.fill(&mut after, 0.0);
        assert!(after.iter().all(|s| *s == 0.0));
        assert!(block[BLOCK - 1] != 0.0, "it adds to what is there");
    }

    #[test]
    fn the_same_blocks_give_the_same_noise() {
        assert_eq!(played(&mut taught(0.002), 20), played(&mut taught(0.002), 20));
    }

    #[test]
    fn nothing_that_is_heard_makes_it_loud() {
        let tone = |hz: f32, size: f32| -> Block {
            std::array::from_fn(|i| size * (std::f32::consts::TAU * hz * i as f32 / 48_000.0).sin())
        };
        let odd = [
            [f32::NAN; BLOCK],
            [f32::MAX; BLOCK],
            [1.0; BLOCK],
            tone(20.0, 0.003),
            tone(23_900.0, 0.003),
            tone(1000.0, 2.0),
            [1e-30; BLOCK],
            std::array::from_fn(|i| if i == 0 { 0.1 } else { 0.0 }),
        ];
        for first in &odd {
            for second in &odd {
                let mut comfort = Comfort::new();
                (0..20).for_each(|_| comfort.observe(first));
                let mut heard = played(&mut comfort, 5);
                (0..20).for_each(|_| comfort.observe(second));
                heard.extend(played(&mut comfort, 100));
                let loudest = heard.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
                assert!(heard.iter().all(|s| s.is_finite()) && loudest < 0.05, "{loudest}");
            }
        }
    }
}
