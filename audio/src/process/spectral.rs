//! Weighs what is heard at each frequency: less of what is noise, and hardly anything of what is left of the echo.
//!
//! Spectra of 15 ms, every 10 ms, with windows that overlap by 5 ms, which is the delay. The power of noise is tracked by T. Gerkmann,
//! R. C. Hendriks (Unbiased MMSE-based noise power estimation with low complexity and low tracking delay, IEEE TASLP
//! 20, 2012), whose probability of speech also serves the gate. What is left of the echo is a share of the estimated
//! echo, by regression of their powers as in J.-M. Valin (On adjusting the learning rate in frequency domain echo
//! cancellation with double-talk, IEEE TASLP 15, 2007). The weight is Wiener's with the decision-directed signal-to-noise
//! ratio of Y. Ephraim, D. Malah (IEEE TASSP 32, 1984).

use core::f32::consts::FRAC_PI_2;

use super::spectrum::{BINS, LENGTH, NOTHING, Samples, Spectrum, Transform};
use crate::{BLOCK, Block};

/// Samples by which windows overlap: what the output is later than the input.
const OVERLAP: usize = 240;
/// Samples of a window.
const WINDOW: usize = BLOCK + OVERLAP;
/// Noise is kept at this part of its amplitude (−15 dB), so that it does not come and go with speech.
const NOISE_FLOOR: f32 = 0.178;
/// What is left of the echo is kept at this part of its amplitude: −40 dB.
const ECHO_FLOOR: f32 = 0.01;
/// Weight of the past in the decision-directed ratio: less than usual, since blocks are long and onsets matter.
const DIRECTED: f32 = 0.9;
/// Speech is not believed in where echo is left at this part of the power.
const SPEECH_MARGIN: f32 = 4.0;
/// Bins of one band, over which the share of the echo that is left is measured; above the last one there is no estimate.
const BAND: usize = 10;
const BANDS: usize = 16;
/// Bins beyond those bands are weighed as the bins from here to there are.
const HIGH: usize = BAND * BANDS;
const UPPER: core::ops::Range<usize> = HIGH / 2..HIGH;
/// Weight of the new in the averages of the regression.
const NEW: f32 = 0.02;
/// The least share of the echo that is assumed to be left (−30 dB).
const LEAST_LEFT: f32 = 0.001;
/// What is left of the echo falls by this in a block at most (a room in which 60 dB take 270 ms).
const DECAY: f32 = 0.6;
/// The signal-to-noise ratio that speech is expected to have: 15 dB.
const EXPECTED: f32 = 31.62;
/// No power is less than this: nothing divides by 0.
const LEAST: f32 = 1e-9;
/// Bins on either side from which the noise of a bin is first guessed.
const AROUND: usize = 8;
/// Where most of speech is: 200 Hz to 4 kHz.
const SPEECH: core::ops::Range<usize> = 4..80;

/// What one band says about how much of the echo is left.
#[derive(Clone, Copy, Default)]
struct Band {
    mean_echo: f32,
    mean_heard: f32,
    square: f32,
    product: f32,
}

impl Band {
    /// Powers of a block; gives the share that is left.
    fn left(&mut self, echo: f32, heard: f32) -> f32 {
        let (d_echo, d_heard) = (echo - self.mean_echo, heard - self.mean_heard);
        self.mean_echo += NEW * d_echo;
        self.mean_heard += NEW * d_heard;
        self.square += NEW * (d_echo * d_echo - self.square);
        self.product += NEW * (d_echo * d_heard - self.product);
        (self.product / (self.square + LEAST)).clamp(LEAST_LEFT, 1.0)
    }
}

/// See the module's words.
pub(super) struct Spectral {
    transform: Transform,
    window: [f32; OVERLAP],
    /// The end of the last block, and of the last estimate of the echo.
    before: [f32; OVERLAP],
    echo_before: [f32; OVERLAP],
    /// What of the last window is still to be added.
    tail: [f32; OVERLAP],
    noise: [f32; BINS],
    /// Probability of speech at each bin, smoothed.
    likely: [f32; BINS],
    /// Power of what is left of the echo.
    left: [f32; BINS],
    /// Power of what the last block's weights let through.
    passed: [f32; BINS],
    bands: [Band; BANDS],
    has_noise: bool,
    samples: Box<Samples>,
    spectrum: Box<Spectrum>,
    echo: Box<Spectrum>,
}

impl Spectral {
    pub(super) fn new() -> Self {
        Self {
            transform: Transform::new(),
            window: core::array::from_fn(|i| (FRAC_PI_2 * (i as f32 + 0.5) / OVERLAP as f32).sin()),
            before: [0.0; OVERLAP],
            echo_before: [0.0; OVERLAP],
            tail: [0.0; OVERLAP],
            noise: [LEAST; BINS],
            likely: [0.0; BINS],
            left: [0.0; BINS],
            passed: [0.0; BINS],
            bands: [Band::default(); BANDS],
            has_noise: false,
            samples: Box::new([0.0; LENGTH]),
            spectrum: Box::new(NOTHING),
            echo: Box::new(NOTHING),
        }
    }

    /// Weighs a block, `echo` being what the canceller took out of it; unless it may be
    /// delayed it is left as it is. Gives how likely speech is in it, 0 to 1.
    pub(super) fn process(
        &mut self,
        block: &mut Block,
        echo: Option<&Block>,
        suppress_noise: bool,
        delay: bool,
    ) -> f32 {
        analyse(
            &mut self.transform,
            &self.window,
            &mut self.before,
            block,
            &mut self.samples,
            &mut self.spectrum,
        );
        self.expect_echo(echo);
        let speech = self.expect_noise();
        if !delay {
            self.tail = [0.0; OVERLAP];
            self.passed = [0.0; BINS];
            return speech;
        }
        let keep_noise = if suppress_noise { NOISE_FLOOR } else { 1.0 };
        self.weigh(suppress_noise, keep_noise, echo.is_some());
        self.synthesise(block);
        speech
    }

    /// Updates `left`.
    fn expect_echo(&mut self, echo: Option<&Block>) {
        let Some(echo) = echo else {
            self.left.iter_mut().for_each(|left| *left *= DECAY);
            self.echo_before = [0.0; OVERLAP];
            return;
        };
        analyse(
            &mut self.transform,
            &self.window,
            &mut self.echo_before,
            echo,
            &mut self.samples,
            &mut self.echo,
        );
        for (b, band) in self.bands.iter_mut().enumerate() {
            let bins = 1 + b * BAND..1 + (b + 1) * BAND;
            let power =
                |spectrum: &Spectrum| spectrum[bins.clone()].iter().map(|bin| bin.norm_sqr()).sum::<f32>();
            let share = band.left(power(&self.echo), power(&self.spectrum));
            for i in bins {
                self.left[i] = (share * self.echo[i].norm_sqr()).max(DECAY * self.left[i]);
            }
        }
    }

    /// Updates `noise`; gives how likely speech is.
    fn expect_noise(&mut self) -> f32 {
        if !self.has_noise {
            self.has_noise = true;
            // A single spectrum has deep gaps in it: its mean over some bins.
            for (i, noise) in self.noise.iter_mut().enumerate() {
                let around = &self.spectrum[i.saturating_sub(AROUND)..(i + AROUND + 1).min(BINS)];
                *noise = around.iter().map(|bin| bin.norm_sqr()).sum::<f32>() / around.len() as f32 + LEAST;
            }
        }
        let mut speech = 0.0;
        for i in 0..BINS {
            let (power, noise) = (self.spectrum[i].norm_sqr(), self.noise[i]);
            let ratio = (power / noise * EXPECTED / (1.0 + EXPECTED)).min(50.0);
            let mut probable = 1.0 / (1.0 + (1.0 + EXPECTED) * (-ratio).exp());
            if SPEECH.contains(&i) {
                speech += probable * (1.0 - (SPEECH_MARGIN * self.left[i] / (power + LEAST)).min(1.0));
            }
            // Where speech seems to be all the time there is another noise.
            self.likely[i] += 0.1 * (probable - self.likely[i]);
            if self.likely[i] > 0.99 {
                probable = probable.min(0.99);
            }
            if self.left[i] < noise {
                let expected = probable * noise + (1.0 - probable) * power;
                self.noise[i] = (0.8 * noise + 0.2 * expected).max(LEAST);
            }
        }
        speech / SPEECH.len() as f32
    }

    /// Weighs `spectrum`.
    fn weigh(&mut self, suppress_noise: bool, keep_noise: f32, has_echo: bool) {
        let mut upper = 0.0;
        for i in 0..BINS {
            let power = self.spectrum[i].norm_sqr();
            let (noise, left) = (self.noise[i], self.left[i]);
            let disturbance = left + if suppress_noise { noise } else { 0.0 } + LEAST;
            let directed = self.passed[i] / disturbance;
            let ratio = DIRECTED * directed + (1.0 - DIRECTED) * (power / disturbance - 1.0).max(0.0);
            let floor = (keep_noise * keep_noise * noise + ECHO_FLOOR * ECHO_FLOOR * left) / (noise + left);
            let mut weight = (ratio / (1.0 + ratio)).max(floor.sqrt());
            if UPPER.contains(&i) {
                let by_echo = (power - left).max(ECHO_FLOOR * ECHO_FLOOR * power) / (power + LEAST);
                upper += by_echo / UPPER.len() as f32;
            } else if i > HIGH && has_echo {
                weight *= upper.sqrt();
            }
            self.passed[i] = weight * weight * power;
            self.spectrum[i] *= weight;
        }
    }

    /// `spectrum`, overlapped and added, into `block`.
    fn synthesise(&mut self, block: &mut Block) {
        self.transform.backward(&mut self.spectrum, &mut self.samples);
        block.copy_from_slice(&self.samples[..BLOCK]);
        for (i, (sample, tail)) in block.iter_mut().zip(&mut self.tail).enumerate() {
            *sample = *sample * self.window[i] + *tail;
            *tail = self.samples[BLOCK + i] * self.window[OVERLAP - 1 - i];
        }
    }
}

/// The spectrum of a window that ends with `block`.
fn analyse(
    transform: &mut Transform,
    window: &[f32; OVERLAP],
    before: &mut [f32; OVERLAP],
    block: &Block,
    samples: &mut Samples,
    spectrum: &mut Spectrum,
) {
    samples[..OVERLAP].copy_from_slice(before);
    samples[OVERLAP..WINDOW].copy_from_slice(block);
    samples[WINDOW..].fill(0.0);
    for (i, weight) in window.iter().enumerate() {
        samples[i] *= weight;
        samples[WINDOW - 1 - i] *= weight;
    }
    before.copy_from_slice(&block[BLOCK - OVERLAP..]);
    transform.forward(samples, spectrum);
}
