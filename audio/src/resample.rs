//! Sample rate conversion of a mono stream to or from 48 kHz, by rubato's windowed sinc (Smith, "Digital Audio
//! Resampling"): any rate, any amount at a time, the filter's delay taken out so that the first sample stays first.
//!
//! It does not follow a drifting clock (rubato's `Async` could: the ratio is adjustable).

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use crate::limits::SAMPLE_RATES_HZ;

/// Taps of the filter at the lower of both rates.
const TAPS: usize = 128;
/// The same where many streams are converted at once; for voice it is as good.
const LIGHT_TAPS: usize = 64;
/// Where so few places between two input samples are all that outputs fall on, there is a filter for each, and nothing is interpolated.
const MAX_PHASES: u32 = 512;
/// At least so many filters are made.
const LEAST_FILTERS: u32 = 128;

/// A rate that no converter can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedRate(pub u32);

impl std::fmt::Display for UnsupportedRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = (SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end());
        write!(f, "a sample rate of {} Hz is not supported ({low} to {high} Hz are)", self.0)
    }
}

impl std::error::Error for UnsupportedRate {}

/// Converts a mono stream from one rate to another.
pub struct Resampler {
    /// None where both rates are the same.
    inner: Option<Box<Async<f32>>>,
    pending: Vec<f32>,
    scratch: Vec<f32>,
    /// The filter's delay in output samples, and those of it still to be dropped.
    delay: usize,
    to_trim: usize,
    /// Samples taken and given, for the exact length of the end.
    taken: u64,
    given: u64,
    rates: (u32, u32),
}

impl Resampler {
    /// From `from_hz` to `to_hz`, working in chunks of `chunk` input samples (the delay of a live stream: what is short
    /// of a chunk waits).
    pub fn new(from_hz: u32, to_hz: u32, chunk: usize) -> Result<Self, UnsupportedRate> {
        Self::with_taps(from_hz, to_hz, chunk, TAPS)
    }

    /// As [`Self::new`], at half the cost: what is near half of the lower rate is weaker.
    pub fn light(from_hz: u32, to_hz: u32, chunk: usize) -> Result<Self, UnsupportedRate> {
        Self::with_taps(from_hz, to_hz, chunk, LIGHT_TAPS)
    }

    fn with_taps(from_hz: u32, to_hz: u32, chunk: usize, taps: usize) -> Result<Self, UnsupportedRate> {
        for rate in [from_hz, to_hz] {
            if !SAMPLE_RATES_HZ.contains(&rate) {
                return Err(UnsupportedRate(rate));
            }
        }
        let mut made = Self {
            inner: None,
            pending: Vec::new(),
            scratch: Vec::new(),
            delay: 0,
            to_trim: 0,
            taken: 0,
            given: 0,
            rates: (from_hz, to_hz),
        };
        if from_hz != to_hz {
            // Going down, the filter's cut-off falls with the output rate and its length must grow to stay as steep.
            let taps = taps * from_hz.div_ceil(to_hz).max(1) as usize;
            let mut parameters = SincInterpolationParameters::new(taps, WindowFunction::BlackmanHarris2);
            let phases = to_hz / common_divisor(from_hz, to_hz);
            if phases <= MAX_PHASES {
                // Rubato's filters are off by one of them: so many that this is nothing.
                let factor = phases * LEAST_FILTERS.div_ceil(phases);
                parameters = parameters
                    .oversampling_factor(factor as usize)
                    .interpolation(SincInterpolationType::Nearest);
            }
            let ratio = f64::from(to_hz) / f64::from(from_hz);
            let inner = Async::new_sinc(ratio, 1.0, &parameters, chunk.max(1), 1, FixedAsync::Input)
                .map_err(|_| UnsupportedRate(from_hz))?;
            // Its first output lies one step behind the first input: the delay that it tells is one sample long.
            made.delay = inner.output_delay().saturating_sub(1);
            made.to_trim = made.delay;
            made.scratch = vec![0.0; inner.output_frames_max()];
            made.pending = Vec::with_capacity(2 * inner.input_frames_max());
            made.inner = Some(Box::new(inner));
        }
        Ok(made)
    }

    /// Takes samples and appends what they give to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        if self.inner.is_none() {
            self.given += samples.len() as u64;
            out.extend_from_slice(samples);
            return;
        }
        self.pending.extend_from_slice(samples);
        self.run(out);
    }

    /// Begins another stream, without making the filter again.
    pub fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
        self.pending.clear();
        (self.to_trim, self.taken, self.given) = (self.delay, 0, 0);
    }

    /// Appends the rest of a stream that ended; together with what was given before it is as long as the input
    /// (to within a sample).
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let Some(inner) = &self.inner else { return };
        let chunk = inner.input_frames_next();
        let due = self.taken * u64::from(self.rates.1) / u64::from(self.rates.0);
        // Enough silence to push the filter's content out; bounded, for the case that it gives nothing.
        let mut rounds = 4 + self.rates.0.div_ceil(self.rates.1) as usize * TAPS / chunk.max(1);
        while self.given < due && rounds > 0 {
            let short = chunk - self.pending.len().min(chunk - 1);
            self.pending.resize(self.pending.len() + short, 0.0);
            self.run(out);
            rounds -= 1;
        }
        let over = self.given.saturating_sub(due).min(out.len() as u64);
        out.truncate(out.len() - over as usize);
        self.given -= over;
        self.pending.clear();
    }

    fn run(&mut self, out: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else { return };
        let mut used = 0;
        loop {
            let need = inner.input_frames_next();
            if self.pending.len() - used < need {
                break;
            }
            let capacity = self.scratch.len();
            let (Ok(input), Ok(mut output)) = (
                InterleavedSlice::new(&self.pending[used..], 1, need),
                InterleavedSlice::new_mut(&mut self.scratch, 1, capacity),
            ) else {
                break;
            };
            // Sizes are what the converter asked for, so that it has nothing to refuse; if it did, the input is skipped.
            let produced = match inner.process_into_buffer(&input, &mut output, None::<&Indexing>) {
                Ok((_, produced)) => produced,
                Err(_) => 0,
            };
            used += need;
            let skip = self.to_trim.min(produced);
            self.to_trim -= skip;
            self.given += (produced - skip) as u64;
            out.extend_from_slice(&self.scratch[skip..produced]);
        }
        self.pending.drain(..used);
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(from: u32, to: u32, input: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, 441).unwrap();
        let mut out = Vec::new();
        for part in input.chunks(777) {
            resampler.push(part, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn a_sine_keeps_its_place_its_size_and_its_length() {
        for rate in
            [4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 47_999, 48_000, 88_200, 96_000, 192_000, 384_000]
        {
            let input: Vec<f32> = (0..rate / 2)
                .map(|i| (std::f32::consts::TAU * 440.0 * i as f32 / rate as f32).sin())
                .collect();
            let out = convert(rate, 48_000, &input);
            let length = input.len() * 48_000 / rate as usize;
            assert!(out.len().abs_diff(length) <= 1, "{rate}: {} samples", out.len());
            let worst = (1_000..23_000)
                .map(|i| (out[i] - (std::f32::consts::TAU * 440.0 * i as f32 / 48_000.0).sin()).abs())
                .fold(0.0, f32::max);
            // One sample of this sine is 0.0576: the filter's delay is trimmed in whole samples.
            assert!(worst < 0.0576, "{rate}: off by {worst}");
        }
    }

    #[test]
    fn an_impulse_stays_where_it_was() {
        for rate in [8_000_u32, 44_100, 96_000] {
            let mut input = vec![0.0; rate as usize / 10];
            input[rate as usize / 20] = 1.0;
            let out = convert(rate, 48_000, &input);
            let peak = (0..out.len()).max_by(|&a, &b| out[a].abs().total_cmp(&out[b].abs())).unwrap();
            assert!(peak.abs_diff(2_400) <= 1, "{rate}: at {peak}");
        }
    }

    #[test]
    fn a_stream_after_a_reset_is_as_the_first_one() {
        let input: Vec<f32> = (0..4_410).map(|i| (i as f32 / 9.0).sin()).collect();
        let mut resampler = Resampler::light(44_100, 48_000, 441).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        resampler.push(&input[..4_000], &mut first);
        resampler.reset();
        resampler.push(&input[..4_000], &mut second);
        assert_eq!(first, second);
        assert!(first.len() > 3_900);
    }

    #[test]
    fn a_rate_out_of_range_is_refused() {
        assert_eq!(Resampler::new(3_999, 48_000, 480).err(), Some(UnsupportedRate(3_999)));
        assert_eq!(Resampler::new(48_000, 400_000, 480).err(), Some(UnsupportedRate(400_000)));
    }
}
