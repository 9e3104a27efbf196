//! What is done to the microphone's sound before it is sent: high-pass, echo cancellation, noise suppression, gain control. Each can
//! be switched off; with all of them off the sound stays as it is, sample by sample, and is not delayed.
//!
//! Echo cancellation and noise suppression together delay by 5 ms, the others not at all.
//!
//! Own code, since on the same sound it was better in double talk than `sonora` 0.2 (a port of WebRTC's AEC3 and noise suppression), which took
//! near speech away and delayed by 18 ms. Noise goes a little better than there; `nnnoiseless` 0.5 is better at it, for 5 ms more delay.
//! It takes less out of an echo alone than AEC3 does. `examples/processing.rs` prints what it is worth.

mod echo;
mod gain;
mod spectral;
mod spectrum;

use self::{echo::Echo, gain::Gain, spectral::Spectral};
use crate::{BLOCK, Block, SAMPLE_RATE_HZ, rms};

/// What is done to the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processing {
    /// Takes out what is below speech: direct current, rumble, hum.
    pub high_pass: bool,
    /// Takes out what the speaker plays.
    pub echo: bool,
    /// Takes out noise.
    pub noise: bool,
    /// Brings speech to one level, and keeps it from clipping.
    pub gain: bool,
}

impl Default for Processing {
    /// For a person with a laptop and no headset: all of it.
    fn default() -> Self {
        Self { high_pass: true, echo: true, noise: true, gain: true }
    }
}

impl Processing {
    /// For sound that is as it should be: nothing.
    pub const fn none() -> Self {
        Self { high_pass: false, echo: false, noise: false, gain: false }
    }
}

/// Loudness of a block, for a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// The largest sample, 0 to 1.
    pub peak: f32,
    /// Root mean square, 0 to 1.
    pub rms: f32,
}

/// The chain. Allocates nothing after it is made.
pub struct Processor {
    processing: Processing,
    high_pass: HighPass,
    echo: Echo,
    spectral: Spectral,
    gain: Gain,
    /// How loud the echo was lately.
    echo_rms: f32,
    /// The gain at the end of the last block, for what is only echo.
    echo_gain: f32,
    level: Level,
}

impl Processor {
    /// Does what `processing` says.
    pub fn new(processing: Processing) -> Self {
        Self {
            processing,
            high_pass: HighPass::default(),
            echo: Echo::new(),
            spectral: Spectral::new(),
            gain: Gain::new(),
            echo_rms: 0.0,
            echo_gain: 1.0,
            level: Level::default(),
        }
    }

    /// What is done.
    pub fn processing(&self) -> Processing {
        self.processing
    }

    /// Does something else from the next block on; a step in the sound may be heard there.
    pub fn set_processing(&mut self, processing: Processing) {
        self.processing = processing;
    }

    /// The speaker plays a block: one for each that it takes, when it takes it, before the microphone could hear it.
    /// Blocks that come late or not at all are no error; the echo canceller finds its way again.
    pub fn hear(&mut self, far: &Block) {
        if self.processing.echo {
            let mut far = *far;
            sanitise(&mut far);
            self.echo.hear(&far);
        }
    }

    /// Processes 10 ms of the microphone's sound. Gives how likely there is speech in it, 0 to 1, if that is wanted or known
    /// anyway. What is no number becomes silence, and what is beyond ±1 is clipped.
    pub fn process(&mut self, block: &mut Block, wants_speech: bool) -> Option<f32> {
        let Processing { high_pass, echo, noise, gain } = self.processing;
        sanitise(block);
        if high_pass {
            self.high_pass.process(block);
        }
        if echo {
            self.echo.cancel(block);
        }
        let delays = echo || noise;
        let mut speech = None;
        if delays || gain || wants_speech {
            let estimate = self.echo.estimate().filter(|_| echo);
            let echo_rms = estimate.map_or(0.0, |estimate| rms(estimate));
            let mut likely = self.spectral.process(block, estimate, noise, delays);
            self.echo_rms = echo_rms.max(ECHO_DECAY * self.echo_rms);
            if rms(block) < ECHO_LEFT * self.echo_rms {
                // So little beside so much echo is what is left of that.
                likely = 0.0;
                self.quiet(block, ONLY_ECHO);
            } else {
                self.quiet(block, 1.0);
            }
            speech = Some(likely);
            if gain {
                self.gain.process(block, likely);
            }
        }
        let peak = block.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        self.level = Level { peak, rms: rms(block) };
        speech
    }

    /// Goes to this gain within a block.
    fn quiet(&mut self, block: &mut Block, gain: f32) {
        let before = std::mem::replace(&mut self.echo_gain, gain);
        if before == 1.0 && gain == 1.0 {
            return;
        }
        for (i, sample) in block.iter_mut().enumerate() {
            *sample *= before + (gain - before) * (i + 1) as f32 / BLOCK as f32;
        }
    }

    /// Loudness of the last block as it was handed on.
    pub fn level(&self) -> Level {
        self.level
    }
}

/// What is this much quieter than the echo that was taken out (−13 dB) is not held to be speech, and
/// made quieter still …
const ECHO_LEFT: f32 = 0.22;
const ONLY_ECHO: f32 = 0.18;
/// … which goes for as long as a room rings: by this the echo is taken to fall from block to block.
const ECHO_DECAY: f32 = 0.8;

/// What is no number becomes silence, what is beyond ±1 is clipped.
fn sanitise(block: &mut Block) {
    for sample in block.iter_mut() {
        *sample = if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) };
    }
}

/// Below this there is no speech.
const HIGH_PASS_HZ: f64 = 60.0;

/// A Butterworth filter of second order (bilinear transform, direct form I; in f64, since the corner is very low).
#[derive(Default)]
struct HighPass {
    x: [f64; 2],
    y: [f64; 2],
}

impl HighPass {
    fn process(&mut self, block: &mut Block) {
        let w = (core::f64::consts::PI * HIGH_PASS_HZ / f64::from(SAMPLE_RATE_HZ)).tan();
        let b = 1.0 / (1.0 + core::f64::consts::SQRT_2 * w + w * w);
        let (a1, a2) = (2.0 * (w * w - 1.0) * b, (1.0 - core::f64::consts::SQRT_2 * w + w * w) * b);
        for sample in block.iter_mut() {
            let x = f64::from(*sample);
            let y = b * (x - 2.0 * self.x[0] + self.x[1]) - a1 * self.y[0] - a2 * self.y[1];
            (self.x, self.y) = ([x, self.x[0]], [y, self.y[0]]);
            *sample = y as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::voice;

    fn run(processor: &mut Processor, sound: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(sound.len());
        for chunk in sound.chunks_exact(BLOCK) {
            let mut block: Block = std::array::from_fn(|i| chunk[i]);
            processor.process(&mut block, true);
            out.extend_from_slice(&block);
        }
        out
    }

    #[test]
    fn with_nothing_to_do_sound_stays_as_it_is() {
        let said = voice(1, 2);
        assert_eq!(run(&mut Processor::new(Processing::none()), &said), said);
    }

    #[test]
    fn the_high_pass_takes_out_direct_current_and_leaves_speech() {
        let mut processor = Processor::new(Processing { high_pass: true, ..Processing::none() });
        let out = run(&mut processor, &vec![0.3; 48_000]);
        assert!(out[24_000..].iter().all(|s| s.abs() < 1e-4));
        let mut processor = Processor::new(Processing { high_pass: true, ..Processing::none() });
        let said = voice(1, 2);
        let found = crate::compare::align(&said, &run(&mut processor, &said));
        assert!(found.correlation > 0.95, "{found:?}");
    }

    #[test]
    fn echo_and_noise_delay_by_5_ms_and_nothing_else_does() {
        let said = voice(2, 2);
        for (processing, offset) in [
            (Processing { high_pass: false, echo: true, noise: false, gain: false }, 240),
            (Processing { high_pass: false, echo: false, noise: true, gain: false }, 240),
            (Processing { high_pass: false, echo: false, noise: false, gain: true }, 0),
        ] {
            let found = crate::compare::align(&said, &run(&mut Processor::new(processing), &said));
            assert!((found.offset_samples - offset).abs() <= 2, "{processing:?}: {found:?}");
            assert!(found.correlation > 0.98, "{processing:?}: {found:?}");
        }
    }
}
