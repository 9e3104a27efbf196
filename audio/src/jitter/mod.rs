//! The jitter buffer of one talker: encoded frames in, in whatever order they arrive; every 10 ms a word on what to
//! play.
//!
//! Three ideas. The *target* is what most recent frames needed over the quickest one (a quantile with forgetting),
//! never less than one block; it starts there, not at a safe guess. A *dry* buffer conceals without moving on: if the
//! awaited frame then comes, the path is slower than thought and the delay has grown by just that; if a later one
//! comes, the frame was lost and the time is taken off the gap, so that loss never adds delay. A *gap* is filled from
//! the in-band FEC of the frame behind it, else concealed, and fades to silence.
//!
//! A talk spurt begins anew at the target; within one, delay shrinks a block at a time (the caller cross-fades, see
//! [`JitterBuffer::wants_shorter`]) and grows in quiet blocks and gaps. It does not decode, resample or stretch, and
//! it does not follow a drifting clock other than by these steps.

mod arrivals;
mod store;

use arrivals::Arrivals;
use store::{Store, Stored, ahead};

use crate::codec::packet_blocks;
use crate::limits::{MAX_EXCESS_US, MAX_TARGET_US};
use crate::{BLOCK_US, Instant};

const BLOCK: i64 = BLOCK_US as i64;
/// The least target, and the first one: one block.
const LEAST_TARGET_US: i64 = BLOCK;
/// Kept over what the distribution asks for.
const MARGIN_US: i64 = 1_000;
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
/// From this RFC 6464 level on a block is quiet: a change of delay is not heard there.
const QUIET_LEVEL: u8 = 50;
/// Excess delay is cut in a quiet block after this many blocks, in any block after that many …
const SHORTEN_QUIET_AFTER: u32 = 20;
const SHORTEN_ANY_AFTER: u32 = 100;
/// … and sooner if it is large.
const LARGE_EXCESS_US: i64 = 50_000;
const SHORTEN_LARGE_AFTER: u32 = 8;
/// Loss above this (2 %, in [`WHOLE`]ths) makes the buffer deep enough for in-band FEC.
const FEC_WORTHWHILE: u32 = WHOLE / 50;
const WHOLE: u32 = 1 << 16;

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

/// Counters of one talker; all but the last two only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Frames that arrived, good ones of any fate.
    pub received: u64,
    /// Frames played.
    pub played: u64,
    /// Frames that came after their turn.
    pub late: u64,
    /// Frames that came again.
    pub duplicate: u64,
    /// Frames that were not there at their turn (by the length of their neighbours); late ones among them.
    pub lost: u64,
    /// Lost frames recovered from in-band FEC, in whole or in part.
    pub fec_recovered: u64,
    /// Blocks of 10 ms concealed.
    pub concealed: u64,
    /// Frames that are no Opus of 10 to 60 ms, or did not decode.
    pub bad: u64,
    /// Frames dropped because too many waited, or waited too long.
    pub overflow: u64,
    /// Frames dropped as the first of a jump of the sequence.
    pub jumped: u64,
    /// Jumps followed.
    pub resyncs: u64,
    /// Blocks left out to lower the delay.
    pub shortened: u64,
    /// Blocks put in to raise the delay (in a gap, a quiet place, or when dry).
    pub stretched: u64,
    /// Delay of this buffer now, in ms over the quickest recent frame.
    pub delay_ms: u32,
    /// The delay that it aims at.
    pub target_ms: u32,
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
    /// Loss, in [`WHOLE`]ths, over about the last 64 frames.
    loss: u32,
    lost_blocks: u64,
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
            loss: 0,
            lost_blocks: 0,
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
        if gap <= blocks {
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

    /// Whether the delay is at least a block deeper than it must be, and now is the moment to leave a block out: the
    /// caller then asks [`Self::step`] twice and cross-fades both blocks into one.
    pub fn wants_shorter(&mut self, now: Instant) -> bool {
        let Some(next) = self.next.filter(|_| self.phase == Phase::Playing && self.run == 0) else {
            self.deep_for = 0;
            return false;
        };
        let excess = self.offset_us(now, next) - self.wanted_us();
        if excess < BLOCK + MARGIN_US {
            self.deep_for = 0;
            return false;
        }
        self.deep_for += 1;
        let quiet = if self.rest > 0 {
            self.current.level >= QUIET_LEVEL
        } else {
            self.frames.first().is_some_and(|f| f.level >= QUIET_LEVEL)
        };
        let after = if excess >= LARGE_EXCESS_US {
            SHORTEN_LARGE_AFTER
        } else if quiet {
            SHORTEN_QUIET_AFTER
        } else {
            SHORTEN_ANY_AFTER
        };
        let after_rest = next.wrapping_add(self.rest);
        let spurt_ends = self.rest > 0 && self.current.end;
        if self.deep_for < after || spurt_ends || self.rest + self.frames.contiguous(after_rest) < 2 {
            return false;
        }
        if self.rest == 0 && self.frames.first().is_some_and(|f| f.end && f.blocks == 1) {
            return false;
        }
        self.deep_for = 0;
        self.stats.shortened += 1;
        true
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
        stats.lost = self.lost_blocks.div_ceil(u64::from(self.frame_blocks.max(1)));
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

    /// Far too deep (a stall that ended in a burst, a talker that sends too fast): goes on where the target is.
    fn cut_excess(&mut self, now: Instant, next: u32) -> u32 {
        let Some(last) = self.frames.last().map(Stored::past) else { return next };
        if self.offset_us(now, next) - self.wanted_us() > MAX_EXCESS_US {
            let newest_us = self.offset_us(now, last) - self.wanted_us();
            if newest_us >= 0 {
                // Even the newest frame is past due: the path has changed for good.
                self.arrivals.keep_last();
            }
        }
        let excess = self.offset_us(now, next) - self.wanted_us();
        if excess <= MAX_EXCESS_US {
            return next;
        }
        let wanted = next.wrapping_add(u32::try_from(excess / BLOCK).unwrap_or(0));
        let to = if ahead(wanted, last) >= 0 { last.wrapping_sub(1) } else { wanted };
        let mut to = if ahead(to, next) > 0 { to } else { next };
        while self.frames.first().is_some_and(|f| ahead(f.past(), to) <= 0) {
            self.frames.drop_first();
            self.stats.overflow += 1;
        }
        // A frame that would be cut in two is played whole.
        if let Some(first) = self.frames.first().filter(|f| ahead(f.sequence, next) > 0) {
            to = first.sequence;
        }
        self.next = Some(to);
        self.held = 0;
        to
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
        self.loss -= self.loss / 64;
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
        self.lost_blocks += u64::from(blocks);
        for _ in 0..blocks.min(8) {
            self.loss += (WHOLE - self.loss.min(WHOLE)) / 64 / self.frame_blocks.max(1);
        }
    }

    /// Whether the delay is a block or more below the target.
    fn is_shallow(&self, now: Instant, next: u32) -> bool {
        self.offset_us(now, next) < self.wanted_us() - BLOCK
    }

    fn target_us(&self) -> i64 {
        let fec = if self.loss > FEC_WORTHWHILE { i64::from(self.frame_blocks) * BLOCK } else { 0 };
        (self.arrivals.spread_us() + MARGIN_US).max(LEAST_TARGET_US).max(fec).min(MAX_TARGET_US)
    }

    /// The offset between media time and play time that the target asks for.
    fn wanted_us(&self) -> i64 {
        self.arrivals.base_us() + self.target_us()
    }

    /// The offset if block `next` is played now.
    fn offset_us(&self, now: Instant, next: u32) -> i64 {
        micros(now) - self.clock.map_or(0, |c| c.of(next)) * BLOCK
    }

    /// RFC 3550 appendix A.1: a frame out of any reasonable range is believed when a second one follows it.
    fn is_jump(&self, now: Instant, sequence: u32) -> bool {
        let Some(clock) = self.clock else { return false };
        let delay = micros(now) - clock.of(sequence) * BLOCK;
        let far_behind = self.next.is_some_and(|next| ahead(sequence, next) < -JUMP_BACK_BLOCKS);
        far_behind || delay < self.arrivals.base_us() - JUMP_EARLY_US
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
