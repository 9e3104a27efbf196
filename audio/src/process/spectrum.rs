//! The Fourier transform that echo cancellation and noise suppression share: 960 real samples, 481 bins of 50 Hz.

use std::sync::Arc;

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex32};

use crate::BLOCK;

/// Samples of a transform: two blocks.
pub(super) const LENGTH: usize = 2 * BLOCK;
/// Bins of a spectrum, from 0 Hz to 24 kHz.
pub(super) const BINS: usize = LENGTH / 2 + 1;

/// `LENGTH` real samples.
pub(super) type Samples = [f32; LENGTH];
/// Their spectrum.
pub(super) type Spectrum = [Complex32; BINS];

/// Nothing at any frequency.
pub(super) const NOTHING: Spectrum = [Complex32::ZERO; BINS];

/// A transform with room to work in: it allocates only when it is made.
pub(super) struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    scratch: Vec<Complex32>,
}

impl Transform {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, backward) = (planner.plan_fft_forward(LENGTH), planner.plan_fft_inverse(LENGTH));
        let scratch = forward.get_scratch_len().max(backward.get_scratch_len());
        Self { forward, backward, scratch: vec![Complex32::ZERO; scratch] }
    }

    /// The spectrum of `samples`, which are used up.
    pub(super) fn forward(&mut self, samples: &mut Samples, spectrum: &mut Spectrum) {
        let done = self.forward.process_with_scratch(samples, spectrum, &mut self.scratch);
        debug_assert!(done.is_ok(), "lengths are right");
    }

    /// The samples of `spectrum`, which is used up.
    pub(super) fn backward(&mut self, spectrum: &mut Spectrum, samples: &mut Samples) {
        // Of real samples these two are real; rounding need not know.
        spectrum[0].im = 0.0;
        spectrum[BINS - 1].im = 0.0;
        let done = self.backward.process_with_scratch(spectrum, samples, &mut self.scratch);
        debug_assert!(done.is_ok(), "lengths are right");
        samples.iter_mut().for_each(|s| *s /= LENGTH as f32);
    }
}
