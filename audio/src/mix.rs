//! All talkers in one sound: a strip for each (automatic level, volume, mute, place), their sum, and a soft limiter
//! (`limiter`).
//!
//! Only what is mixed costs: a strip that is not given to [`Mixer::mix`] is not looked at. Every change of a gain is
//! spread over a block, so that none clicks.
//!
//! Stereo is a panorama by level differences, with constant power (a place moves nobody nearer or farther):
//! left² + right² = 2 for a talker's two gains, so that the middle is as loud as in mono.

use core::f32::consts::FRAC_PI_4;

use crate::level::{AutoLevel, SpeechLevel};
pub use crate::limiter::KNEE;
use crate::limiter::Limiter;
use crate::limits::{MAX_TALKERS, MAX_VOLUME};
use crate::{BLOCK, Block, SILENCE};

/// Where talkers are heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placing {
    /// All in the middle; the sum is one channel.
    #[default]
    Mono,
    /// Beside each other, in two channels. Each has a place by its seat, taken in order of arrival and kept; one alone
    /// is in the middle.
    Spread,
}

/// The outermost places, where 1 is one channel alone: nobody is only in one ear.
const WIDEST: f32 = 0.8;
/// Share of the way from the middle to the places that is gone in a block, when a second talker comes or the last but one
/// goes: 1 s for all of it.
const WIDTH_STEP: f32 = 0.01;

/// What belongs to one talker.
#[derive(Debug)]
pub struct Strip {
    level: AutoLevel,
    volume: f32,
    is_muted: bool,
    /// Its bit in [`Mixer::seats`], if there was one left.
    seat: Option<u32>,
    /// Left and right at the end of its last block; none before the first.
    gains: Option<[f32; 2]>,
}

impl Strip {
    /// Takes a block as it was decoded from a frame that arrived; see [`AutoLevel::observe`].
    pub fn observe(&mut self, block: &Block) {
        self.level.observe(block);
    }

    /// Sets the volume: 1 as it came, at most [`MAX_VOLUME`]. A NaN changes nothing.
    pub fn set_volume(&mut self, volume: f32) {
        if !volume.is_nan() {
            self.volume = volume.clamp(0.0, MAX_VOLUME);
        }
    }

    /// Muted, nothing is heard; the volume stays as it is.
    pub fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    /// Whether the level is set automatically (it is, at first).
    pub fn set_auto_level(&mut self, is_on: bool) {
        self.level.set_on(is_on);
    }

    /// What to give to [`Mixer::strip`] when the talker comes back; `None` if it never spoke.
    pub fn remember(&self) -> Option<SpeechLevel> {
        self.level.remember()
    }

    /// The gains to be reached now.
    fn wanted(&self, width: f32) -> [f32; 2] {
        if self.is_muted || self.volume == 0.0 {
            return [0.0; 2];
        }
        let gain = self.level.gain() * self.volume;
        let place = self.seat.map_or(0.0, place) * width;
        if place == 0.0 {
            return [gain; 2];
        }
        let (right, left) = ((place + 1.0) * FRAC_PI_4).sin_cos();
        let gain = gain * core::f32::consts::SQRT_2;
        [gain * left, gain * right]
    }
}

/// Adds up blocks and limits the sum.
#[derive(Debug)]
pub struct Mixer {
    /// The first one alone in mono, else left and right.
    sums: [Block; 2],
    limiter: Limiter,
    placing: Placing,
    /// Which are taken, bit by bit.
    seats: u64,
    /// 0 all in the middle, 1 all at their places.
    width: f32,
}

// A seat is a bit.
const _: () = assert!(MAX_TALKERS <= u64::BITS as usize);

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

impl Mixer {
    /// Nobody there, in mono.
    pub fn new() -> Self {
        let placing = Placing::default();
        Self { sums: [SILENCE; 2], limiter: Limiter::new(), placing, seats: 0, width: 0.0 }
    }

    /// Where talkers are heard from the next block on. To be called between a [`Self::finish`] and the next block.
    pub fn set_placing(&mut self, placing: Placing) {
        self.placing = placing;
    }

    /// Where talkers are heard.
    pub fn placing(&self) -> Placing {
        self.placing
    }

    /// A strip for a new talker; its level begins as it was remembered. More than [`MAX_TALKERS`] sit in the middle.
    pub fn strip(&mut self, known: Option<SpeechLevel>) -> Strip {
        let free = self.seats.trailing_ones();
        let seat = (free < MAX_TALKERS as u32).then_some(free);
        self.seats |= seat.map_or(0, |seat| 1 << seat);
        let level = known.map_or_else(AutoLevel::new, AutoLevel::remembering);
        Strip { level, volume: 1.0, is_muted: false, seat, gains: None }
    }

    /// Takes the seat of a talker back who is gone.
    pub fn remove(&mut self, strip: Strip) {
        self.seats &= !strip.seat.map_or(0, |seat| 1 << seat);
    }

    /// Adds a talker's block by its strip.
    pub fn mix(&mut self, strip: &mut Strip, block: &Block) {
        let to = strip.wanted(if self.placing == Placing::Spread { self.width } else { 0.0 });
        let from = strip.gains.replace(to).unwrap_or(to);
        match self.placing {
            Placing::Mono => add(&mut self.sums[0], block, from[0], to[0]),
            Placing::Spread => {
                for (channel, sum) in self.sums.iter_mut().enumerate() {
                    add(sum, block, from[channel], to[channel]);
                }
            }
        }
    }

    /// Adds a block as it is, times `volume`, in the middle.
    pub fn add(&mut self, block: &Block, volume: f32) {
        let channels = if self.placing == Placing::Mono { 1 } else { 2 };
        for sum in &mut self.sums[..channels] {
            add(sum, block, volume, volume);
        }
    }

    /// The limited sum in one channel; the mixer is empty again afterwards.
    pub fn finish(&mut self, out: &mut Block) {
        if self.placing == Placing::Spread {
            let [left, right] = &mut self.sums;
            for (left, right) in left.iter_mut().zip(right) {
                *left = (*left + *right) * 0.5;
                *right = 0.0;
            }
        }
        self.limiter.limit(&mut self.sums[..1]);
        *out = self.sums[0];
        self.sums[0] = SILENCE;
        self.settle();
    }

    /// The sum in one channel as it is, not limited, of a mixer in mono; the mixer is empty again afterwards.
    pub(crate) fn finish_unlimited(&mut self, out: &mut Block) {
        *out = self.sums[0];
        self.sums = [SILENCE; 2];
        self.settle();
    }

    /// The limited sum, left and right; the mixer is empty again afterwards. In mono both are the same.
    pub fn finish_stereo(&mut self, out: &mut [Block; 2]) {
        match self.placing {
            Placing::Mono => {
                self.limiter.limit(&mut self.sums[..1]);
                *out = [self.sums[0]; 2];
            }
            Placing::Spread => {
                self.limiter.limit(&mut self.sums);
                *out = self.sums;
            }
        }
        self.sums = [SILENCE; 2];
        self.settle();
    }

    /// One alone goes to the middle, several to their places.
    fn settle(&mut self) {
        let several = self.seats.count_ones() > 1;
        self.width =
            if several { (self.width + WIDTH_STEP).min(1.0) } else { (self.width - WIDTH_STEP).max(0.0) };
    }
}

/// Adds a block, its gain going from one to the other.
fn add(sum: &mut Block, block: &Block, from: f32, to: f32) {
    if from == to {
        if to != 0.0 {
            sum.iter_mut().zip(block).for_each(|(sum, sample)| *sum += sample * to);
        }
        return;
    }
    let step = (to - from) / BLOCK as f32;
    for (i, (sum, sample)) in sum.iter_mut().zip(block).enumerate() {
        *sum += sample * (from + step * (i + 1) as f32);
    }
}

/// From −[`WIDEST`] (left) to [`WIDEST`] (right): pairs of seats to both sides, each pair in the widest gap that the ones before left
/// (van der Corput's sequence).
fn place(seat: u32) -> f32 {
    let (mut pair, mut size, mut part) = (seat / 2 + 1, 0.0, 0.5);
    while pair > 0 {
        size += part * (pair % 2) as f32;
        part /= 2.0;
        pair /= 2;
    }
    WIDEST * if seat.is_multiple_of(2) { -size } else { size }
}

#[cfg(test)]
mod tests;
