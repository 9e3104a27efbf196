//! Changes of delay that are not heard: sound is made shorter or longer by whole periods of the voice.
//!
//! Decoded sound waits in a line. To lose time, the line jumps ahead to where it goes on most like it does here; to win
//! time, it jumps back. A jump is cross-faded. That is waveform similarity overlap-add (WSOLA: Verhelst and Roelands, ICASSP
//! 1993) done where it is asked for, rather than all the time; the lags searched are those of the human voice's pitch, as in
//! NetEQ's accelerate and preemptive expand.

use crate::codec::MAX_FRAME_SAMPLES;
use crate::{BLOCK, Block, rms};

/// Shortest and longest jump: 2.5 ms and 15 ms, the periods of 400 Hz and 67 Hz.
const LEAST_LAG: usize = 120;
/// See `LEAST_LAG`.
pub const MOST_LAG: usize = 720;
/// Samples that are compared and cross-faded: 10 ms, less if there are not as many, never less than 5 ms.
const MOST_OVERLAP: usize = 480;
const LEAST_OVERLAP: usize = 240;
/// What was played is kept for so long, to jump back into.
const HISTORY: usize = MOST_LAG + MOST_OVERLAP;
/// Room for what waits: a frame, and what a jump or a look into a pause needs beyond it.
const AHEAD: usize = 3 * MAX_FRAME_SAMPLES;
/// Quiet is told of so many samples at a time: 5 ms.
const QUIET_STEP: usize = 240;
/// The search looks at every such sample first, then at all around the best.
const COARSE: usize = 4;
/// Below this (−50 dBFS) a jump is not heard wherever it goes.
pub const QUIET_RMS: f32 = 0.003_16;

/// Decoded sound on its way to be played.
#[derive(Debug)]
pub struct Line {
    samples: Vec<f32>,
    /// The next sample to be played.
    head: usize,
}

impl Default for Line {
    fn default() -> Self {
        let mut samples = Vec::with_capacity(HISTORY + AHEAD);
        samples.resize(HISTORY, 0.0);
        Self { samples, head: HISTORY }
    }
}

impl Line {
    /// Samples that wait.
    pub fn ahead(&self) -> usize {
        self.samples.len() - self.head
    }

    /// Whether `samples` more fit.
    pub fn has_room(&self, samples: usize) -> bool {
        self.ahead() + samples <= AHEAD
    }

    /// Adds sound at the end; what does not fit is not taken ([`Line::has_room`]).
    pub fn push(&mut self, sound: &[f32]) {
        if self.samples.len() + sound.len() > HISTORY + AHEAD {
            let gone = self.head.saturating_sub(HISTORY);
            self.samples.drain(..gone);
            self.head -= gone;
        }
        let room = (HISTORY + AHEAD).saturating_sub(self.samples.len());
        self.samples.extend_from_slice(&sound[..sound.len().min(room)]);
    }

    /// Takes the next block; what is missing is silence.
    pub fn take(&mut self, out: &mut Block) {
        let there = self.ahead().min(BLOCK);
        out[..there].copy_from_slice(&self.samples[self.head..self.head + there]);
        out[there..].fill(0.0);
        self.head += there;
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        self.samples.truncate(self.head);
    }

    /// Jumps ahead by at most `most` samples (at least 2.5 ms, else not at all) if what is there is at least so like what is here (−1..=1), or both are
    /// quiet. Gives the samples lost. Needs `LEAST_OVERLAP` more samples than it jumps.
    pub fn shorten(&mut self, most: usize, likeness: f32) -> usize {
        let most = most.min(MOST_LAG).min(self.ahead().saturating_sub(LEAST_OVERLAP));
        if most < LEAST_LAG {
            return 0;
        }
        let overlap = (self.ahead() - most).min(MOST_OVERLAP);
        let here = self.head;
        let Some(lag) = self.best_lag(most, overlap, likeness, |lag| here + lag) else { return 0 };
        self.join(here, here + lag, overlap);
        self.head = here + lag;
        lag
    }

    /// Samples from the next one on that are quieter than `below` (root mean square, of 5 ms each).
    pub fn quiet_ahead(&self, below: f32) -> usize {
        let steps = self.samples[self.head..].chunks_exact(QUIET_STEP);
        steps.take_while(|step| rms(step) < below).count() * QUIET_STEP
    }

    /// Jumps ahead by `samples`, at least 2.5 ms, wherever it lands. Gives the samples lost: all, or none if there are not `LEAST_OVERLAP` more.
    pub fn skip(&mut self, samples: usize) -> usize {
        if samples < LEAST_LAG || self.ahead() < samples + LEAST_OVERLAP {
            return 0;
        }
        let overlap = (self.ahead() - samples).min(MOST_OVERLAP);
        self.join(self.head, self.head + samples, overlap);
        self.head += samples;
        samples
    }

    /// Jumps back by at most `most` samples, as [`Line::shorten`] jumps ahead. Gives the samples won.
    pub fn lengthen(&mut self, most: usize, likeness: f32) -> usize {
        // No farther than what is remembered: one jump after another uses it up.
        let most = most.min(MOST_LAG).min(AHEAD.saturating_sub(self.ahead())).min(self.head);
        let overlap = self.ahead().min(MOST_OVERLAP);
        if most < LEAST_LAG || overlap < LEAST_OVERLAP {
            return 0;
        }
        let here = self.head;
        let Some(lag) = self.best_lag(most, overlap, likeness, |lag| here - lag) else { return 0 };
        self.join(here, here - lag, overlap);
        self.head = here - lag;
        lag
    }

    /// The lag at which the sound is most like that at the head, unless it is too unlike.
    fn best_lag(
        &self,
        most: usize,
        overlap: usize,
        likeness: f32,
        place: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let here = &self.samples[self.head..self.head + overlap];
        let there = |lag: usize| &self.samples[place(lag)..place(lag) + overlap];
        if rms(here) < QUIET_RMS && rms(there(most)) < QUIET_RMS {
            return Some(most);
        }
        let like = |lag: usize, step: usize| correlation(here, there(lag), step);
        let best = |lags: &mut dyn Iterator<Item = usize>, step: usize| {
            lags.map(|lag| (lag, like(lag, step))).max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let (coarse, _) = best(&mut (LEAST_LAG..=most).step_by(COARSE), COARSE)?;
        let around = coarse.saturating_sub(COARSE).max(LEAST_LAG)..=(coarse + COARSE).min(most);
        let (lag, found) = best(&mut around.into_iter(), 1)?;
        (found >= likeness).then_some(lag)
    }

    /// Fades from the sound at `from` to that at `to`, where the result is left.
    fn join(&mut self, from: usize, to: usize, overlap: usize) {
        // The two may overlap: a copy, so that nothing faded is faded again.
        let mut leaving = [0.0; MOST_OVERLAP];
        leaving[..overlap].copy_from_slice(&self.samples[from..from + overlap]);
        let coming = &mut self.samples[to..to + overlap];
        for (i, (coming, leaving)) in coming.iter_mut().zip(&leaving).enumerate() {
            let weight = (i as f32 + 0.5) / overlap as f32;
            *coming = leaving + (*coming - leaving) * weight;
        }
    }
}

/// Normalised cross-correlation of every `step`th sample.
fn correlation(a: &[f32], b: &[f32], step: usize) -> f32 {
    let (mut dot, mut aa, mut bb) = (0.0_f32, 1e-9_f32, 1e-9_f32);
    for (a, b) in a.iter().zip(b).step_by(step) {
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    dot / (aa * bb).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, count: usize) -> Vec<f32> {
        (0..count).map(|i| 0.5 * (std::f32::consts::TAU * hz * i as f32 / 48_000.0).sin()).collect()
    }

    /// Blocks from a line that is kept full of `sound`, with a jump tried before each.
    fn drain(sound: &[f32], mut jump: impl FnMut(&mut Line) -> usize) -> (Vec<f32>, usize) {
        let (mut line, mut out, mut block, mut jumped) = (Line::default(), vec![], [0.0; BLOCK], 0);
        let mut rest = sound.chunks_exact(BLOCK);
        loop {
            while line.ahead() < BLOCK + MOST_LAG + MOST_OVERLAP {
                let Some(next) = rest.next() else { return (out, jumped) };
                line.push(next);
            }
            if out.len() > 2 * BLOCK && out.len() % (3 * BLOCK) == 0 {
                jumped += jump(&mut line);
            }
            line.take(&mut block);
            out.extend_from_slice(&block);
        }
    }

    #[test]
    fn a_line_gives_what_it_was_given() {
        let sound = tone(100.0, 48_000);
        let (out, _) = drain(&sound, |_| 0);
        assert_eq!(out[..], sound[..out.len()]);
    }

    #[test]
    fn a_tone_stays_a_tone_however_often_the_line_jumps() {
        for hz in [80.0, 110.0, 200.0, 300.0] {
            for shorter in [true, false] {
                let sound = tone(hz, 48_000);
                let (out, jumped) =
                    drain(
                        &sound,
                        |line| {
                            if shorter { line.shorten(720, 0.9) } else { line.lengthen(720, 0.9) }
                        },
                    );
                assert!(jumped > 4_000, "{hz} {shorter}: {jumped}");
                let count = out.len();
                let expected = if shorter { sound.len() - jumped } else { sound.len() + jumped };
                assert!(expected.abs_diff(count) < 3_400, "{hz} {shorter}: {expected} {count}");
                // A second difference shows any kink.
                let most = out.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs()).fold(0.0, f32::max);
                let tones = 0.5 * (std::f32::consts::TAU * hz / 48_000.0).powi(2);
                assert!(most < tones * 3.0 + 1e-4, "{hz} {shorter}: {most} against {tones}");
                let level = rms(&out[4_800..]);
                assert!((level - 0.3535).abs() < 0.01, "{hz} {shorter}: {level}");
            }
        }
    }

    #[test]
    fn what_is_unlike_is_left_alone_and_silence_is_cut_to_measure() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 - 0.5
        };
        let mut line = Line::default();
        line.push(&std::array::from_fn::<_, 2_400, _>(|_| noise()));
        assert_eq!((line.shorten(720, 0.9), line.lengthen(720, 0.9), line.ahead()), (0, 0, 2_400));
        let mut line = Line::default();
        line.push(&[0.0; 2_400]);
        assert_eq!((line.shorten(333, 0.9), line.ahead()), (333, 2_067));
        assert_eq!((line.lengthen(333, 0.9), line.ahead()), (333, 2_400));
        assert_eq!((line.shorten(119, 0.0), line.lengthen(119, 0.0)), (0, 0), "too short a jump");
        line.clear();
        assert_eq!((line.shorten(720, 0.0), line.lengthen(720, 0.0), line.ahead()), (0, 0, 0));
    }

    #[test]
    fn a_pause_is_skipped_as_far_as_it_is_quiet() {
        let mut line = Line::default();
        line.push(&[0.001; 2_400]);
        assert_eq!(line.quiet_ahead(QUIET_RMS), 2_400, "no end in sight");
        line.push(&tone(200.0, 960));
        assert_eq!(
            (line.quiet_ahead(QUIET_RMS), line.quiet_ahead(0.000_9), line.quiet_ahead(1.0)),
            (2_400, 0, 3_360)
        );
        assert_eq!((line.skip(1_800), line.ahead(), line.quiet_ahead(QUIET_RMS)), (1_800, 1_560, 480));
        assert_eq!(
            (line.skip(LEAST_LAG - 1), line.skip(1_560 - LEAST_OVERLAP + 1)),
            (0, 0),
            "too little, and too much"
        );
        assert_eq!((line.skip(1_560 - LEAST_OVERLAP), line.ahead()), (1_320, LEAST_OVERLAP));
    }

    #[test]
    fn jumps_back_end_where_the_memory_does() {
        for sound in [[0.0; 2 * BLOCK], std::array::from_fn(|i| (i as f32 / 40.0).sin())] {
            let (mut line, mut block) = (Line::default(), [0.0; BLOCK]);
            line.push(&sound);
            let mut won = 0;
            for k in 0..40 {
                won += line.lengthen(MOST_LAG, -1.0);
                if k % 2 == 0 {
                    line.take(&mut block);
                }
            }
            assert!(won >= HISTORY - LEAST_LAG, "{won}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut line = Line::default();
        assert!(line.has_room(AHEAD) && !line.has_room(AHEAD + 1));
        line.push(&[0.1; AHEAD + 100]);
        assert_eq!(line.ahead(), AHEAD);
        assert!(!line.has_room(1));
        assert_eq!(line.lengthen(720, -1.0), 0);
    }
}
