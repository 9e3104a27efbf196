//! What was heard, compared with what was said: where the one begins in the other, how alike they are, and whether
//! there are holes. For demonstrations and tests; not in the path of voice.

use crate::SAMPLE_RATE_HZ;

/// Coarse to fine: the lag is searched at 2 kHz first, then around the best one at 8 kHz and at the full rate.
const COARSE: usize = 24;
const MEDIUM: usize = 6;
/// A block in which the reference is louder than this speaks …
const SPEAKING_RMS: f32 = 0.01;
/// … and one in which the heard signal is quieter than this is silent.
const SILENT_RMS: f32 = 1e-4;
/// How far a part may have moved against the whole, in samples.
const MOVED: i64 = SAMPLE_RATE_HZ as i64 / 5;
const HOLE_BLOCK: usize = SAMPLE_RATE_HZ as usize / 200;

/// How a heard signal relates to the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// Where the reference begins in the heard signal, in samples; negative when its beginning was not heard.
    pub offset_samples: i64,
    /// Normalised correlation at that place: 1 the same up to loudness, 0 unrelated.
    pub correlation: f32,
    /// The longest time in which the reference speaks and nothing at all is heard.
    pub longest_hole_ms: u32,
}

impl Alignment {
    /// The offset in milliseconds.
    pub fn offset_ms(&self) -> f64 {
        self.offset_samples as f64 * 1000.0 / f64::from(SAMPLE_RATE_HZ)
    }
}

/// Finds `reference` in `heard` (both 48 kHz). The cost grows with the product of their lengths: for seconds, not
/// for hours.
pub fn align(reference: &[f32], heard: &[f32]) -> Alignment {
    let mut lag = 0;
    let mut reach = None;
    for step in [COARSE, MEDIUM, 1] {
        let (r, h) = (decimated(reference, step), decimated(heard, step));
        let lags = match reach {
            None => -(r.len() as i64)..=h.len() as i64,
            Some(reach) => {
                let (around, reach): (i64, i64) = (lag / step as i64, reach / step as i64);
                around - reach..=around + reach
            }
        };
        let best = lags.map(|lag| (lag, overlap(&r, &h, lag))).max_by(|a, b| a.1.total_cmp(&b.1));
        lag = best.map_or(0, |(lag, _)| lag) * step as i64;
        reach = Some(2 * step as i64);
    }
    let energy = |samples: &[f32]| samples.iter().map(|s| f64::from(s * s)).sum::<f64>();
    let shifted: Vec<f32> = (0..reference.len() as i64).map(|n| at(heard, n + lag)).collect();
    let scale = (energy(reference) * energy(&shifted)).sqrt().max(1e-12);
    let correlation = (f64::from(overlap(reference, &shifted, 0)) / scale) as f32;
    Alignment { offset_samples: lag, correlation, longest_hole_ms: longest_hole_ms(reference, &shifted) }
}

/// As [`align`] for each whole part of `part` samples of the reference by itself, near the place where the whole was
/// found: a jitter buffer that moves its delay on the way changes nothing of what is heard, but the parts are no longer as
/// far apart as they were said. Offsets are of the whole, as [`align`] gives them. A part that is silent is left out.
pub fn align_parts(reference: &[f32], heard: &[f32], part: usize) -> Vec<Alignment> {
    let whole = align(reference, heard).offset_samples;
    let parts = reference.chunks_exact(part.max(1)).enumerate();
    let speaking = parts.filter(|(_, said)| crate::rms(said) > SPEAKING_RMS);
    let found = speaking.map(|(index, said)| {
        let begin = whole + (index * part) as i64;
        let around: Vec<f32> =
            (begin - MOVED..begin + part as i64 + MOVED).map(|index| at(heard, index)).collect();
        let near = align(said, &around);
        Alignment { offset_samples: whole + near.offset_samples - MOVED, ..near }
    });
    found.collect()
}

fn at(samples: &[f32], index: i64) -> f32 {
    usize::try_from(index).ok().and_then(|index| samples.get(index)).copied().unwrap_or(0.0)
}

/// The mean of every `step` samples.
fn decimated(samples: &[f32], step: usize) -> Vec<f32> {
    samples.chunks(step).map(|chunk| chunk.iter().sum::<f32>() / chunk.len() as f32).collect()
}

/// The inner product of `reference` and what `heard` has from `lag` on.
fn overlap(reference: &[f32], heard: &[f32], lag: i64) -> f32 {
    let (skip_reference, skip_heard) = ((-lag).max(0) as usize, lag.max(0) as usize);
    let reference = reference.get(skip_reference..).unwrap_or_default();
    let heard = heard.get(skip_heard..).unwrap_or_default();
    reference.iter().zip(heard).map(|(a, b)| a * b).sum()
}

fn longest_hole_ms(reference: &[f32], shifted: &[f32]) -> u32 {
    let (mut hole, mut longest) = (0, 0);
    for (said, heard) in reference.chunks_exact(HOLE_BLOCK).zip(shifted.chunks_exact(HOLE_BLOCK)) {
        let is_hole = crate::rms(said) > SPEAKING_RMS && crate::rms(heard) <= SILENT_RMS;
        hole = if is_hole { hole + 1 } else { 0 };
        longest = longest.max(hole);
    }
    longest * HOLE_BLOCK as u32 * 1000 / SAMPLE_RATE_HZ
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::voice;

    #[test]
    fn a_delayed_softer_copy_with_a_hole_is_found_exactly() {
        let said = voice(3, 2);
        let mut heard = vec![0.0; 12_345];
        heard.extend(said.iter().map(|s| s * 0.5));
        // 60 ms where the voice is loud.
        let loud =
            said.chunks(2880).map(crate::rms).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        heard[12_345 + loud * 2880..][..2880].fill(0.0);
        let found = align(&said, &heard);
        assert_eq!(found.offset_samples, 12_345);
        assert!(found.correlation > 0.9, "{found:?}");
        assert_eq!(found.longest_hole_ms, 60);
    }

    #[test]
    fn a_beginning_that_was_not_heard_is_a_negative_offset() {
        let said = voice(4, 2);
        assert_eq!(align(&said, &said[4_800..]).offset_samples, -4_800);
        assert_eq!(align(&said, &[]).correlation, 0.0);
        assert_eq!(align(&[], &said).correlation, 0.0);
    }

    #[test]
    fn parts_are_found_where_the_delay_moved_on_the_way() {
        const PART: usize = 24_000;
        let said = voice(3, 4);
        let mut heard = vec![0.0; 1_000];
        heard.extend(&said[..2 * PART]);
        heard.extend([0.0; 960]);
        heard.extend(&said[2 * PART..]);
        assert!(align(&said, &heard).correlation < 0.9);
        let parts = align_parts(&said, &heard, PART);
        assert!(parts.iter().all(|part| part.correlation > 0.99), "{parts:?}");
        let offsets: Vec<_> = parts.iter().map(|part| part.offset_samples).collect();
        assert_eq!((offsets[0], offsets[7]), (1_000, 1_960));
    }
}
