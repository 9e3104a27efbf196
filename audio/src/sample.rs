//! Made-up voices, for demonstrations and tests where nobody can be recorded.
//!
//! Not speech: a row of vowel-like sounds with changing pitch and pauses between them, different for each seed, which
//! a voice codec treats much like speech and which can be told apart by correlation.

use core::f32::consts::TAU;

use crate::SAMPLE_RATE_HZ;

/// Sounds per second, about those of speech.
const SYLLABLES_PER_SECOND: usize = 4;
const HARMONICS: usize = 24;

/// A generator of small quality (a linear congruential one) is enough to make voices differ.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.next()
    }
}

/// `seconds` of the voice with this seed, 48 kHz mono, peaks below 0.7.
pub fn voice(seed: u64, seconds: usize) -> Vec<f32> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d);
    chance.next();
    let length = SAMPLE_RATE_HZ as usize / SYLLABLES_PER_SECOND;
    let base_hz = chance.between(95.0, 220.0);
    let mut samples = Vec::with_capacity(seconds * SAMPLE_RATE_HZ as usize);
    let mut phase = 0.0_f32;
    for _ in 0..seconds * SYLLABLES_PER_SECOND {
        let (start_hz, end_hz) = (base_hz * chance.between(0.8, 1.3), base_hz * chance.between(0.8, 1.3));
        // Two resonances, as of a vowel.
        let formants = [chance.between(300.0, 850.0), chance.between(900.0, 2400.0)];
        let is_pause = chance.next() < 0.15;
        let loudness = if is_pause { 0.0 } else { chance.between(0.5, 1.0) };
        for n in 0..length {
            let t = n as f32 / length as f32;
            let pitch_hz = start_hz + (end_hz - start_hz) * t;
            phase = (phase + pitch_hz / SAMPLE_RATE_HZ as f32).fract();
            // Up within a fifth of the sound, down in the last two fifths.
            let envelope = (t / 0.2).min((1.0 - t) / 0.4).min(1.0);
            let sound: f32 = (1..=HARMONICS)
                .map(|harmonic| {
                    let hz = pitch_hz * harmonic as f32;
                    let gain: f32 = formants.iter().map(|f| 1.0 / (1.0 + ((hz - f) / 120.0).powi(2))).sum();
                    gain * (TAU * phase * harmonic as f32).sin()
                })
                .sum();
            samples.push(sound * envelope * loudness);
        }
    }
    let peak = samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs())).max(1e-6);
    samples.iter_mut().for_each(|s| *s *= 0.6 / peak);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::align;

    #[test]
    fn a_voice_is_itself_and_no_other() {
        let (a, again, b) = (voice(1, 3), voice(1, 3), voice(2, 3));
        assert_eq!(a, again);
        assert_eq!(a.len(), 3 * SAMPLE_RATE_HZ as usize);
        assert!(align(&a, &b).correlation < 0.4);
    }
}
