//! A check of a microphone and a speaker: some seconds are recorded and played back, and then chirps are played and
//! looked for in what the microphone hears, which gives the delay of both devices together.
//!
//! Whoever drives it calls [`SoundCheck::turn`] when it is due, as with a [`crate::pump::Pump`].

use core::f32::consts::TAU;

use crate::{
    BLOCK, BLOCK_TIME, BLOCK_US, Block, Duration, Instant, SAMPLE_RATE_HZ, SILENCE,
    io::{MicRead, Microphone, Speaker},
    limits::MAX_BLOCKS_PER_TURN,
    rms,
};

/// Blocks of 10 ms that are recorded.
const RECORDED_BLOCKS: usize = 300;
/// Chirps that are played …
const CHIRPS: usize = 3;
/// … each so long …
const CHIRP_BLOCKS: usize = 20;
/// … one so long after the other: the longest delay that can be found is what is left of it.
const SLOT_BLOCKS: usize = 80;
const CHIRP_HZ: (f32, f32) = (500.0, 4_000.0);
const CHIRP_PEAK: f32 = 0.25;
/// Chirps are looked for at 12 kHz: a delay is found to 0.1 ms.
const STEP: usize = 4;
/// The correlation, of at most 1, that a heard chirp has at least. Noise reaches 0.11 somewhere in a slot: its correlation is
/// distributed by 1/√(2·bandwidth·length) = 0.027, of which the greatest of 6000 is four times as much.
const LEAST_CORRELATION: f32 = 0.15;
/// Two chirps that were heard have delays that are no further apart.
const AGREEMENT_MS: f64 = 3.0;
/// Blocks this much below the loudest one (20 dB) are pauses.
const PAUSE: f32 = 0.1;
/// Samples this large have lost their tops.
const CLIPPED: f32 = 0.999;

/// What is done just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The microphone is recorded.
    Recording,
    /// The recording is played.
    Playing,
    /// Chirps are played and recorded.
    Measuring,
    /// All is known.
    Done,
}

/// How loud a recording is. 1 is full scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Levels {
    /// The largest sample.
    pub peak: f32,
    /// Root mean square without the pauses.
    pub rms: f32,
    /// Samples at full scale.
    pub clipped: usize,
    /// Length of the recording.
    pub length: Duration,
}

impl Levels {
    fn of(samples: &[f32]) -> Self {
        let loudness: Vec<f32> = samples.chunks(BLOCK).map(rms).collect();
        let loudest = loudness.iter().copied().fold(0.0, f32::max);
        let speaking: Vec<f32> = loudness.into_iter().filter(|&block| block >= loudest * PAUSE).collect();
        Self {
            peak: samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs())),
            rms: rms(&speaking),
            clipped: samples.iter().filter(|sample| sample.abs() >= CLIPPED).count(),
            length: Duration::from_micros(samples.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ)),
        }
    }
}

/// The time of a stream's blocks: the mean over all of them, since single ones come by fits and starts.
#[derive(Clone, Copy, Debug, Default)]
struct Timeline {
    blocks: u64,
    /// The sum of what each block came later than the one before it should have.
    sum_us: i64,
    first: Instant,
}

impl Timeline {
    fn note(&mut self, now: Instant) {
        if self.blocks == 0 {
            self.first = now;
        }
        self.sum_us += now.since(self.first).as_micros() as i64 - (self.blocks * BLOCK_US) as i64;
        self.blocks += 1;
    }

    /// When block 0 came, by the mean of all blocks; in milliseconds.
    fn origin_ms(&self) -> f64 {
        let mean_us = self.sum_us as f64 / self.blocks.max(1) as f64;
        (self.first.as_micros() as f64 + mean_us) / 1000.0
    }
}

/// A check under way.
pub struct SoundCheck {
    mic: Box<dyn Microphone>,
    speaker: Box<dyn Speaker>,
    phase: Phase,
    is_spent: bool,
    recorded: Vec<f32>,
    /// Blocks of this phase that the speaker took.
    played: usize,
    /// What the microphone heard while chirps were played.
    heard: Vec<f32>,
    heard_at: Timeline,
    played_at: Timeline,
    chirp: Vec<f32>,
    level: f32,
    round_trip: Option<Duration>,
}

impl SoundCheck {
    /// Nothing moves before [`SoundCheck::start`].
    pub fn new(mic: Box<dyn Microphone>, speaker: Box<dyn Speaker>) -> Self {
        Self {
            mic,
            speaker,
            phase: Phase::Recording,
            is_spent: false,
            recorded: Vec::with_capacity(RECORDED_BLOCKS * BLOCK),
            played: 0,
            heard: Vec::with_capacity((CHIRPS + 1) * SLOT_BLOCKS * BLOCK),
            heard_at: Timeline::default(),
            played_at: Timeline::default(),
            chirp: chirp(),
            level: 0.0,
            round_trip: None,
        }
    }

    /// Sound begins now.
    pub fn start(&mut self, now: Instant) {
        self.mic.start(now);
        self.speaker.start(now);
    }

    /// Does what is due at `now` and says when the next turn is.
    pub fn turn(&mut self, now: Instant) -> Instant {
        let mut block = SILENCE;
        for _ in 0..MAX_BLOCKS_PER_TURN {
            match self.mic.read(now, &mut block) {
                MicRead::Block => self.hear(now, &block),
                MicRead::NotYet => break,
                MicRead::Spent => {
                    self.is_spent = true;
                    break;
                }
            }
        }
        for _ in 0..self.speaker.ready(now).min(MAX_BLOCKS_PER_TURN) {
            let block = self.say(now);
            self.speaker.write(&block);
        }
        self.go_on(now);
        let due = [self.mic.due(now), self.speaker.due(now)].into_iter().flatten().min();
        due.unwrap_or(now + BLOCK_TIME)
    }

    /// What is done just now.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Root mean square of what the microphone heard last, for a meter.
    pub fn level(&self) -> f32 {
        self.level
    }

    /// The recording's levels, once it is there.
    pub fn levels(&self) -> Levels {
        Levels::of(&self.recorded)
    }

    /// From a block's being handed to the speaker to its sound's being captured by the microphone, the buffers of both
    /// and the way through the air included; `None` when the microphone did not hear the chirps.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What the user should know, once each.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.mic.take_trouble().or_else(|| self.speaker.take_trouble())
    }

    fn hear(&mut self, now: Instant, block: &Block) {
        self.level = rms(block);
        match self.phase {
            Phase::Recording if self.recorded.len() < RECORDED_BLOCKS * BLOCK => {
                self.recorded.extend_from_slice(block);
            }
            Phase::Measuring => {
                self.heard.extend_from_slice(block);
                self.heard_at.note(now);
            }
            Phase::Recording | Phase::Playing | Phase::Done => {}
        }
    }

    fn say(&mut self, now: Instant) -> Block {
        let at = self.played;
        self.played += 1;
        let (samples, at) = match self.phase {
            Phase::Playing => (&self.recorded, at),
            Phase::Measuring => {
                self.played_at.note(now);
                let is_over = at >= CHIRPS * SLOT_BLOCKS;
                (&self.chirp, if is_over { SLOT_BLOCKS } else { at % SLOT_BLOCKS })
            }
            Phase::Recording | Phase::Done => return SILENCE,
        };
        let mut block = SILENCE;
        let said = samples.get(at * BLOCK..).unwrap_or_default();
        for (to, &from) in block.iter_mut().zip(said) {
            *to = from;
        }
        block
    }

    fn go_on(&mut self, now: Instant) {
        let can_play = self.speaker.due(now).is_some();
        // A file hears nothing; but where nothing was recorded, the speaker shall be heard at least.
        let can_measure = can_play && (!self.is_spent || self.recorded.is_empty());
        let is_heard_out = match self.is_spent {
            // A delay of nearly a slot is heard a slot after the last chirp's beginning.
            false => self.heard_at.blocks >= ((CHIRPS + 1) * SLOT_BLOCKS) as u64,
            true => self.played >= CHIRPS * SLOT_BLOCKS,
        };
        let next = match self.phase {
            Phase::Recording if self.recorded.len() >= RECORDED_BLOCKS * BLOCK || self.is_spent => {
                Phase::Playing
            }
            Phase::Playing if can_play && self.played * BLOCK < self.recorded.len() => return,
            Phase::Playing if can_measure => Phase::Measuring,
            Phase::Playing => Phase::Done,
            Phase::Measuring if is_heard_out => Phase::Done,
            Phase::Recording | Phase::Measuring | Phase::Done => return,
        };
        self.phase = next;
        self.played = 0;
        if next == Phase::Done {
            self.round_trip = self.measure();
        }
    }

    fn measure(&self) -> Option<Duration> {
        let (chirp, heard) = (thinned(&self.chirp), thinned(&self.heard));
        let rate_per_ms = f64::from(SAMPLE_RATE_HZ) / STEP as f64 / 1000.0;
        // A block is heard when its last sample is captured.
        let heard_ms = self.heard_at.origin_ms() - BLOCK_TIME.as_secs_f64() * 1000.0;
        let shift_ms = self.played_at.origin_ms() - heard_ms;
        let found = |slot: usize| {
            let said_ms = shift_ms + (slot * SLOT_BLOCKS) as f64 * BLOCK_TIME.as_secs_f64() * 1000.0;
            let from = (said_ms * rate_per_ms).max(0.0) as usize;
            let until = from + (SLOT_BLOCKS - CHIRP_BLOCKS) * BLOCK / STEP;
            let (at, correlation) = best_match(&chirp, &heard, from..until)?;
            Some(at as f64 / rate_per_ms - said_ms).filter(|_| correlation >= LEAST_CORRELATION)
        };
        let mut delays: Vec<f64> = (0..CHIRPS).filter_map(found).collect();
        delays.sort_by(f64::total_cmp);
        let pair = delays.windows(2).find(|pair| pair[1] - pair[0] <= AGREEMENT_MS)?;
        Some(Duration::from_secs_f64((pair[0] + pair[1]).max(0.0) / 2000.0))
    }
}

/// A tone that rises, with soft ends: it is found in noise by its shape, and hurts no ear.
fn chirp() -> Vec<f32> {
    let length = CHIRP_BLOCKS * BLOCK;
    let seconds = length as f32 / SAMPLE_RATE_HZ as f32;
    let (low, high) = CHIRP_HZ;
    let sample = |n: usize| {
        let (part, t) = (n as f32 / length as f32, n as f32 / SAMPLE_RATE_HZ as f32);
        let phase = TAU * (low * t + (high - low) / (2.0 * seconds) * t * t);
        CHIRP_PEAK * (part.min(1.0 - part) * 10.0).min(1.0) * phase.sin()
    };
    (0..length).map(sample).collect()
}

fn thinned(samples: &[f32]) -> Vec<f32> {
    samples.chunks_exact(STEP).map(|chunk| chunk.iter().sum::<f32>() / STEP as f32).collect()
}

/// Where in `heard`, within `places`, `wanted` is found best, and the normalised correlation there.
fn best_match(wanted: &[f32], heard: &[f32], places: std::ops::Range<usize>) -> Option<(usize, f32)> {
    let energy = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>();
    let wanted_energy = energy(wanted);
    let at = |place: usize| {
        let part = heard.get(place..place + wanted.len())?;
        let product: f32 = wanted.iter().zip(part).map(|(a, b)| a * b).sum();
        // A way through a speaker may turn the wave over.
        Some((place, product.abs() / (wanted_energy * energy(part)).sqrt().max(1e-9)))
    };
    places.filter_map(at).max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests;
