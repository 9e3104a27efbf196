//! The jitter buffer of one talker: encoded frames in, in whatever order they arrive; every 10 ms a word on what to
//! play.
//!
//! Three ideas. The *target* is what most recent frames needed over the quickest one (a quantile with forgetting),
//! never less than 8 ms; it starts there, not at a safe guess. A *dry* buffer conceals without moving on: if the
//! awaited frame then comes, the path is slower than thought and the delay has grown by just that; if a later one
//! comes, the frame was lost and the time is taken off the gap, so that loss never adds delay. A *gap* is filled from
//! the in-band FEC of the frame behind it, else concealed, and fades to silence.
//!
//! A talk spurt begins anew at the target; within one, delay shrinks a block at a time (the caller cross-fades, see
//! [`JitterBuffer::wants_shorter`]) and grows in quiet blocks and gaps. It does not decode, resample or stretch, and
//! it does not follow a drifting clock other than by these steps.

mod arrivals;
mod depth;
mod loss;
mod stats;
mod store;

use arrivals::Arrivals;
use depth::QUIET_LEVEL;
use loss::Loss;
use store::{Store, Stored, ahead};

pub use stats::JitterStats;

use crate::codec::{has_fec, packet_blocks};
use crate::{BLOCK_US, Instant};

const BLOCK: i64 = BLOCK_US as i64;
/// A dry buffer waits for this many blocks before it takes the spurt for ended (its last frame was lost).
const MAX_HELD_BLOCKS: u32 = 20;
/// Concealment is over after this many blocks: silence from then on.
pub const MAX_CONCEALED_BLOCKS: u32 = 15;
/// A frame this far behind is a jump of the talker's sequence, not a late frame.
const JUMP_BACK_BLOCKS: i32 = 200;
/// A frame that comes this much earlier than the quickest one before it is a jump, too.
const JUMP_EARLY_US: i64 = 1_000_000;
/// The second frame of a jump must follow the first one within this many blocks.
const JUMP_CONFIRM_BLOCKS: i32 = 50;
/// Frames whose sequence is remembered to tell duplicates.
const REMEMBERED: usize = 128;
/// What to play for the next 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play<'a> {
    /// Decode this packet: of its `blocks` blocks drop the first `skip`, play the next; the others follow as [`Play::Rest`].
    Frame {
        /// The packet.
        opus: &'a [u8],
        /// Its length.
        blocks: u32,
        /// Blocks whose time is over.
        skip: u32,
    },
    /// Recover the lost frame before this packet from the packet's FEC, then as for [`Play::Frame`].
    Fec {
        /// The packet *after* the lost one.
        opus: &'a [u8],
        /// Length of either.
        blocks: u32,
        /// Blocks that were concealed already.
        skip: u32,
    },
    /// The next block of what was decoded before.
    Rest,
    /// Conceal a block.
    Conceal,
    /// Nothing: between spurts, or after long loss.
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between spurts.
    Idle,
    Playing,
}

/// Media time without wrap-around, in blocks since the first frame.
#[derive(Clone, Copy, Debug)]
struct MediaClock {
    sequence: u32,
    media: i64,
}

impl MediaClock {
    fn of(&self, sequence: u32) -> i64 {
        self.media + i64::from(ahead(sequence, self.sequence))
    }
}

/// One talker's buffer. See the module's words.
#[derive(Debug)]
pub struct JitterBuffer {
    frames: Store,
    arrivals: Arrivals,
    clock: Option<MediaClock>,
    remembered: std::collections::VecDeque<u32>,
    phase: Phase,
    /// The block whose turn is next; None before the first spurt.
    next: Option<u32>,
    /// The frame in play, and its blocks still to come.
    current: Stored,
    rest: u32,
    /// Blocks concealed without moving on since the buffer ran dry.
    held: u32,
    /// Blocks concealed in a row.
    run: u32,
    /// Blocks for which the delay was a block too deep.
    deep_for: u32,
    loss: Loss,
    frame_blocks: u32,
    /// Where a jumped sequence would go on.
    jump: Option<u32>,
    delay_us: i64,
    stats: JitterStats,
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self {
            frames: Store::default(),
            arrivals: Arrivals::default(),
            clock: None,
            remembered: std::collections::VecDeque::with_capacity(REMEMBERED),
            phase: Phase::Idle,
            next: None,
            current: Stored::default(),
            rest: 0,
            held: 0,
            run: 0,
            deep_for: 0,
            loss: Loss::default(),
            frame_blocks: 1,
            jump: None,
            delay_us: 0,
            stats: JitterStats::default(),
        }
    }

    /// A frame arrived. Fields as in [`crate::VoiceFrame`]; anything may be wrong with them.
    pub fn push(&mut self, now: Instant, sequence: u32, end: bool, level: u8, opus: &[u8]) {
        let Some(blocks) = packet_blocks(opus).map(|b| b as u32) else {
            self.stats.bad += 1;
            return;
        };
        self.stats.received += 1;
        if self.remembered.contains(&sequence) {
            self.stats.duplicate += 1;
            return;
        }
        if self.is_jump(now, sequence) {
            let follows = |from: u32| (0..=JUMP_CONFIRM_BLOCKS).contains(&ahead(sequence, from));
            if !self.jump.is_some_and(follows) {
                self.jump = Some(sequence.wrapping_add(blocks));
                self.stats.jumped += 1;
                return;
            }
            self.resync();
        }
        self.jump = None;
        if self.remembered.len() >= REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(sequence);
        let clock = self.clock.unwrap_or(MediaClock { sequence, media: 0 });
        let media = clock.of(sequence);
        self.clock = Some(MediaClock { sequence, media });
        self.arrivals.push(now, micros(now) - media * BLOCK);
        if self.next.is_some_and(|next| ahead(sequence.wrapping_add(blocks), next) <= 0) {
            self.stats.late += 1;
            return;
        }
        self.frame_blocks = blocks;
        self.loss.arrived(has_fec(opus));
        if self.frames.insert(sequence, blocks, end, level, opus) {
            self.stats.overflow += 1;
        }
    }

    /// What to play for the 10 ms that begin at `now`. To be asked once for each 10 ms, with the time going on.
    pub fn step(&mut self, now: Instant) -> Play<'_> {
        if self.rest > 0 {
            self.rest -= 1;
            self.advance(1);
            self.finish_spurt();
            return Play::Rest;
        }
        let Some(next) = self.begin(now) else { return Play::Silence };
        let next = self.cut_excess(now, next);
        self.delay_us = self.offset_us(now, next) - self.arrivals.base_us();
        let Some(first) = self.frames.first() else { return self.dry() };
        let gap = ahead(first.sequence, next);
        if gap <= 0 {
            if gap == 0 && self.held == 0 && first.level >= QUIET_LEVEL && self.is_shallow(now, next) {
                return self.conceal_in_place();
            }
            return self.play_first(gap.unsigned_abs());
        }
        // What was waited for in vain is part of the gap.
        let gap = gap.unsigned_abs();
        let waited = self.held.min(gap);
        self.held = 0;
        self.advance(waited);
        self.note_lost(waited);
        let gap = gap - waited;
        let blocks = first_blocks(&self.frames);
        if gap == 0 {
            return self.play_first(0);
        }
        if self.is_shallow(now, next.wrapping_add(waited)) {
            return self.conceal_in_place();
        }
        if gap <= blocks && self.frames.first().is_some_and(|f| has_fec(&f.opus)) {
            self.note_lost(gap);
            self.stats.fec_recovered += 1;
            self.run = 0;
            self.rest = gap - 1;
            self.current.end = false;
            self.advance(1);
            return match self.frames.first() {
                Some(first) => Play::Fec { opus: &first.opus, blocks, skip: blocks - gap },
                None => Play::Silence,
            };
        }
        self.note_lost(1);
        self.advance(1);
        self.conceal()
    }

    /// Counts a frame that was taken but did not decode.
    pub fn note_bad(&mut self) {
        self.stats.bad += 1;
    }

    /// Whether the talker is between spurts with nothing waiting.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.frames.first().is_none() && self.rest == 0
    }

    /// Counters, and delay and target as they are.
    pub fn stats(&self) -> JitterStats {
        let mut stats = self.stats;
        stats.lost = self.loss.blocks().div_ceil(u64::from(self.frame_blocks.max(1)));
        stats.delay_ms = (self.delay_us.max(0) / 1000) as u32;
        stats.target_ms = if self.arrivals.is_empty() { 0 } else { (self.target_us() / 1000) as u32 };
        stats
    }

    /// Begins a spurt if one is due. The block whose turn it is, or None for silence.
    fn begin(&mut self, now: Instant) -> Option<u32> {
        match self.phase {
            Phase::Playing => self.next,
            Phase::Idle => {
                let sequence = self.frames.first()?.sequence;
                // Part of it may have been played, if the spurt before it was given up.
                let sequence = self.next.filter(|n| ahead(*n, sequence) > 0).unwrap_or(sequence);
                if self.offset_us(now, sequence) < self.wanted_us() {
                    return None;
                }
                self.phase = Phase::Playing;
                self.next = Some(sequence);
                (self.held, self.run, self.deep_for) = (0, 0, 0);
                Some(sequence)
            }
        }
    }

    /// Nothing to play, though the spurt goes on.
    fn dry(&mut self) -> Play<'_> {
        self.held += 1;
        if self.held > MAX_HELD_BLOCKS {
            self.phase = Phase::Idle;
            self.held = 0;
            return Play::Silence;
        }
        self.conceal_in_place()
    }

    /// Plays the first frame from its block `skip` on.
    fn play_first(&mut self, skip: u32) -> Play<'_> {
        if self.held > 0 {
            self.stats.stretched += u64::from(self.held);
        }
        (self.held, self.run) = (0, 0);
        self.frames.take_first(&mut self.current);
        self.stats.played += 1;
        self.loss.played();
        let blocks = self.current.blocks;
        self.rest = blocks.saturating_sub(skip + 1);
        // Overlapping frames (a sender's fault) must not wait behind what was played.
        self.advance(1);
        self.finish_spurt();
        Play::Frame { opus: &self.current.opus, blocks, skip }
    }

    fn finish_spurt(&mut self) {
        if self.rest == 0 && self.current.end {
            self.phase = Phase::Idle;
            self.current.end = false;
        }
    }

    fn conceal(&mut self) -> Play<'_> {
        self.run = self.run.saturating_add(1);
        if self.run > MAX_CONCEALED_BLOCKS {
            return Play::Silence;
        }
        self.stats.concealed += 1;
        Play::Conceal
    }

    /// Conceals without moving on: the delay grows by a block.
    fn conceal_in_place(&mut self) -> Play<'_> {
        if self.held == 0 {
            self.stats.stretched += 1;
        }
        self.conceal()
    }

    fn advance(&mut self, blocks: u32) {
        let next = self.next.map(|n| n.wrapping_add(blocks));
        self.next = next;
        if let Some(next) = next {
            while self.frames.first().is_some_and(|f| ahead(f.past(), next) <= 0) {
                self.frames.drop_first();
                self.stats.late += 1;
            }
        }
    }

    fn note_lost(&mut self, blocks: u32) {
        self.loss.lost(blocks, self.frame_blocks);
    }

    /// RFC 3550 appendix A.1: a frame out of any reasonable range is believed when a second one follows it.
    fn is_jump(&self, now: Instant, sequence: u32) -> bool {
        let Some(clock) = self.clock else { return false };
        // Before anything was played, what waits says where the talker is.
        let from = self.next.unwrap_or_else(|| self.frames.first().map_or(clock.sequence, |f| f.sequence));
        let lead = ahead(sequence, from);
        let delay = micros(now) - (clock.of(from) + i64::from(lead)) * BLOCK;
        lead < -JUMP_BACK_BLOCKS || delay < self.arrivals.base_us() - JUMP_EARLY_US
    }

    fn resync(&mut self) {
        self.stats.resyncs += 1;
        self.frames.clear();
        self.arrivals.clear();
        self.remembered.clear();
        (self.clock, self.next, self.jump) = (None, None, None);
        (self.phase, self.rest, self.held) = (Phase::Idle, 0, 0);
    }
}

fn first_blocks(frames: &Store) -> u32 {
    frames.first().map_or(1, |f| f.blocks)
}

fn micros(now: Instant) -> i64 {
    // Far from the ends of the range, so that no sum of a few of them overflows.
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
