//! The jitter buffer of one talker: encoded frames in, in whatever order they arrive; as sound is needed, a word on what
//! to decode.
//!
//! Four ideas. The *target* is what most recent frames needed over the quickest one until they could be played (a quantile with
//! forgetting), by whatever brought them: themselves, a copy, or the in-band FEC of the frame behind; it starts at 4 ms, not at a safe guess. A *dry* buffer
//! conceals without moving on: if the awaited frame then comes, the path is slower than thought and the delay has grown by
//! just that; if a later one comes, the frame was lost and the time is taken off the gap, so that loss never adds delay. A *gap* is filled
//! from the in-band FEC of the frame behind it, else concealed, and fades out. A *correction* moves the delay to the target within a
//! spurt: the caller, who has the sound, jumps by periods of the voice ([`crate::timescale`]); a talker's drifting clock is followed by the same jumps.
//!
//! It does not decode and does not know samples.

mod arrivals;
mod depth;
mod loss;
mod seen;
mod stats;
mod store;

use arrivals::Arrivals;
use loss::Loss;
use seen::{Arrival, Seen};
use store::{Store, Stored, ahead};

use depth::{BETWEEN_JUMPS, Run};

pub use depth::Correction;
pub use stats::JitterStats;

use chinwag_proto::hooks::{Mistake, is_made};

use crate::codec::{has_fec, packet_blocks};
use crate::limits::MAX_PRIOR_US;
use crate::report::ReceiverReport;
use crate::{BLOCK_US, Duration, Instant, VoiceFrame};

const BLOCK: i64 = BLOCK_US as i64;
/// A dry buffer waits for this many blocks before it takes the spurt for ended (its last frame was lost).
const MAX_HELD_BLOCKS: u32 = 20;
/// What comes after a dry spell of up to so many blocks is cut short by as much …
const MAX_DROPPED_BLOCKS: u32 = 3;
/// … unless it ran dry within this time before: then the path has become longer.
const DRY_AGAIN: Duration = Duration::from_millis(300);
/// Concealment is over after this many blocks: silence from then on.
pub const MAX_CONCEALED_BLOCKS: u32 = 15;
/// A frame this far behind is a jump of the talker's sequence, not a late frame …
const JUMP_BACK_BLOCKS: i32 = 200;
/// … but only when nothing newer came for so long: what a stalled connection held back is old, and some of it was heard.
const JUMP_BACK_AFTER: Duration = Duration::from_secs(20);
/// What comes this far behind what is newer is of no use, and says nothing of the path as it is: more than any delay that
/// is aimed at, and less than what would make a prompt frame seem a jump.
const STALE_BLOCKS: i64 = 50;
/// Nothing is held back for so long: five minutes.
const JUMP_FAR_BLOCKS: i32 = 30_000;
/// A frame that comes this much earlier than the quickest one before it is a jump, too.
const JUMP_EARLY_US: i64 = 1_000_000;
/// The second frame of a jump must follow the first one within this many blocks, and within this time.
const JUMP_CONFIRM_BLOCKS: i32 = 50;
const JUMP_CONFIRM: Duration = Duration::from_secs(1);
/// What to decode next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull<'a> {
    /// This packet: of its `blocks` blocks the first `skip` are not wanted.
    Frame {
        /// Its first block.
        sequence: u32,
        /// The packet.
        opus: &'a [u8],
        /// Its length.
        blocks: u32,
        /// Blocks whose time is over.
        skip: u32,
    },
    /// The lost frame before this packet, from the packet's FEC; then as for [`Pull::Frame`].
    Fec {
        /// The packet *after* the lost one.
        opus: &'a [u8],
        /// Length of either.
        blocks: u32,
        /// Blocks that are not missing.
        skip: u32,
    },
    /// Nothing to be heard yet: this packet came, or got its turn, too late. A decoder that knows it decodes better what follows.
    Late {
        /// Its first block.
        sequence: u32,
        /// The packet.
        opus: &'a [u8],
    },
    /// Conceal a block.
    Conceal,
    /// A block of nothing: between spurts, or after long loss.
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
    /// Frames whose turn is over, for the decoder's sake.
    late: Store,
    arrivals: Arrivals,
    clock: Option<MediaClock>,
    /// How far the talker got, and when that came.
    newest: Option<(i64, Instant)>,
    seen: Seen,
    phase: Phase,
    /// The block whose turn is next; None before the first spurt.
    next: Option<u32>,
    /// When the first datagram of the last spurt arrived.
    began: Option<Instant>,
    /// The frame in play.
    current: Stored,
    /// Blocks concealed without moving on since the buffer ran dry.
    held: u32,
    /// When a dry spell ended last.
    ran_dry: Option<Instant>,
    /// Blocks concealed in a row.
    run: u32,
    prior_us: i64,
    target_us: i64,
    target_at: Instant,
    /// For how long the delay is too deep, and too shallow; blocks since it was corrected, and since the spurt began.
    deep: Run,
    shallow: Run,
    since_jump: u32,
    spurt_blocks: u32,
    loss: Loss,
    frame_blocks: u32,
    /// The last frame that was no copy; how far behind it the farthest copy in its datagram was, and when that came.
    own_media: i64,
    reach_us: i64,
    reached: Instant,
    /// Where a jumped sequence would go on.
    jump: Option<(u32, Instant)>,
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
            late: Store::default(),
            arrivals: Arrivals::default(),
            clock: None,
            newest: None,
            seen: Seen::default(),
            phase: Phase::Idle,
            next: None,
            began: None,
            current: Stored::default(),
            held: 0,
            ran_dry: None,
            run: 0,
            prior_us: 0,
            target_us: 0,
            target_at: Instant::ZERO,
            deep: Run::default(),
            shallow: Run::default(),
            since_jump: 0,
            spurt_blocks: 0,
            loss: Loss::new(),
            frame_blocks: 1,
            own_media: 0,
            reach_us: 0,
            reached: Instant::ZERO,
            jump: None,
            delay_us: 0,
            stats: JitterStats::default(),
        }
    }

    /// A frame arrived; anything may be wrong with it.
    pub fn push(&mut self, now: Instant, frame: &VoiceFrame<'_>) {
        let VoiceFrame { sequence, end, opus, copy, .. } = *frame;
        let Some(blocks) = packet_blocks(opus).map(|b| b as u32) else {
            self.stats.bad += 1;
            return;
        };
        self.stats.received += 1;
        if self.is_jump(now, sequence) {
            let follows = |(from, at): (u32, Instant)| {
                (0..=JUMP_CONFIRM_BLOCKS).contains(&ahead(sequence, from)) && now.since(at) <= JUMP_CONFIRM
            };
            if copy || !self.jump.is_some_and(follows) {
                self.jump = if copy { self.jump } else { Some((sequence.wrapping_add(blocks), now)) };
                self.stats.jumped += 1;
                return;
            }
            self.resync();
        }
        if !copy {
            self.jump = None;
        }
        let clock = self.clock.unwrap_or(MediaClock { sequence, media: 0 });
        let media = clock.of(sequence);
        if !copy && self.phase == Phase::Idle && self.frames.first().is_none() {
            self.began = Some(now);
        }
        // What a spurt's first datagram has besides its first frame was said before the gate opened, and is late by nobody's fault.
        let is_pre_roll = copy && self.began == Some(now);
        let copy = copy && !is_pre_roll;
        if copy {
            self.note_reach(now, media);
        } else if !is_pre_roll {
            self.own_media = media;
        }
        let (arrival, is_news) = self.seen.whole(media, copy);
        match arrival {
            Arrival::First => {}
            Arrival::Again if !copy => return self.stats.duplicate += 1,
            Arrival::Again | Arrival::AfterCopy => {
                self.stats.redundant += 1;
                if !copy {
                    self.loss.arrived(micros(now) - (media + i64::from(blocks)) * BLOCK, blocks);
                }
                return;
            }
            Arrival::Ancient => return self.stats.late += 1,
        }
        match self.newest {
            Some((newest, _)) if newest - media > STALE_BLOCKS => return self.stats.late += 1,
            Some((newest, _)) if newest >= media => {}
            Some(_) | None => self.newest = Some((media, now)),
        }
        self.clock = Some(MediaClock { sequence, media });
        let delay_us = micros(now) - media * BLOCK;
        if is_news && !is_pre_roll {
            self.learn(now, delay_us);
        }
        let before = i64::from(blocks);
        if !is_pre_roll && has_fec(opus) && self.seen.fec(media - before) && self.began != Some(now) {
            self.learn(now, delay_us + before * BLOCK);
        }
        self.update_target(now);
        if !copy && !is_pre_roll {
            self.loss.arrived(delay_us - i64::from(blocks) * BLOCK, blocks);
            self.frame_blocks = blocks;
        }
        if self.next.is_some_and(|next| ahead(sequence.wrapping_add(blocks), next) <= 0) {
            self.stats.late += 1;
            self.late.insert(sequence, blocks, end, opus);
            return;
        }
        if self.frames.insert(sequence, blocks, end, opus) {
            self.stats.overflow += 1;
        }
    }

    /// What to decode, for sound that is to be played at `now` or, if the next frame is [`Self::is_ready`], later.
    pub fn pull(&mut self, now: Instant) -> Pull<'_> {
        if self.late.first().is_some() {
            return self.hand_out_late();
        }
        let Some(next) = self.begin(now) else { return Pull::Silence };
        let next = self.cut_excess(now, next);
        if self.frames.first().is_none() {
            return self.dry();
        }
        let next = self.after_dry(now, next);
        if self.late.first().is_some() {
            return self.hand_out_late();
        }
        let Some(first) = self.frames.first() else { return self.dry() };
        let gap = ahead(first.sequence, next);
        if gap <= 0 {
            return self.play_first(gap.unsigned_abs());
        }
        // What was waited for in vain is part of the gap.
        let gap = gap.unsigned_abs();
        let waited = self.held.min(gap);
        self.held = 0;
        self.advance(waited);
        self.loss.missed(waited, false);
        let gap = gap - waited;
        let blocks = self.frames.first().map_or(1, |f| f.blocks);
        if gap == 0 {
            return self.play_first(0);
        }
        if self.is_shallow(now, next.wrapping_add(waited)) {
            return self.conceal_in_place();
        }
        if gap <= blocks && self.frames.first().is_some_and(|f| has_fec(&f.opus)) {
            self.loss.missed(gap, true);
            self.stats.fec_recovered += 1;
            self.run = 0;
            self.advance(gap);
            return match self.frames.first() {
                Some(first) => Pull::Fec { opus: &first.opus, blocks, skip: blocks - gap },
                None => Pull::Silence,
            };
        }
        self.loss.missed(1, false);
        self.advance(1);
        self.conceal()
    }

    /// Whether the next frame of a spurt under way is there.
    pub fn is_ready(&self) -> bool {
        let first = self.frames.first().zip(self.next);
        self.phase == Phase::Playing
            && self.held == 0
            && first.is_some_and(|(first, next)| ahead(first.sequence, next) <= 0)
    }

    /// A report for the talker, when one is due.
    pub fn report(&mut self, now: Instant) -> Option<ReceiverReport> {
        self.loss.report(now)
    }

    /// The block that is pulled next; `None` before the first spurt.
    pub fn next_sequence(&self) -> Option<u32> {
        self.next
    }

    /// Counts a frame that was taken but did not decode.
    pub fn note_bad(&mut self) {
        self.stats.bad += 1;
    }

    /// Counts a frame that came too late and was of use.
    pub fn note_mended(&mut self) {
        self.stats.mended += 1;
    }

    /// Whether the talker is between spurts with nothing waiting.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.frames.first().is_none()
    }

    /// Counters, and delay and target as they are.
    pub fn stats(&self) -> JitterStats {
        let mut stats = self.stats;
        stats.lost = self.loss.blocks().div_ceil(u64::from(self.frame_blocks.max(1)));
        stats.delay_ms = (self.delay_us.max(0) / 1000) as u32;
        stats.target_ms = if self.arrivals.is_empty() { 0 } else { (self.target_us / 1000) as u32 };
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
                (self.held, self.run) = (0, 0);
                (self.deep, self.shallow) = (Run::default(), Run::default());
                (self.since_jump, self.spurt_blocks) = (BETWEEN_JUMPS, 0);
                Some(sequence)
            }
        }
    }

    /// Nothing to play, though the spurt goes on.
    fn dry(&mut self) -> Pull<'_> {
        self.held += 1;
        if self.held > MAX_HELD_BLOCKS {
            self.phase = Phase::Idle;
            self.held = 0;
            return Pull::Silence;
        }
        self.conceal_in_place()
    }

    /// Something has come after a dry spell. If that was short and the first one for a while, its time is over: one late frame
    /// is no reason to move all that follows.
    fn after_dry(&mut self, now: Instant, next: u32) -> u32 {
        let held = self.held;
        if held == 0 {
            return next;
        }
        let is_first = self.ran_dry.is_none_or(|at| now.since(at) > DRY_AGAIN);
        self.ran_dry = Some(now);
        if held > MAX_DROPPED_BLOCKS || !is_first || self.is_shallow(now, next) {
            return next;
        }
        self.held = 0;
        self.loss.waited(held);
        self.advance(held);
        next.wrapping_add(held)
    }

    fn hand_out_late(&mut self) -> Pull<'_> {
        self.late.take_first(&mut self.current);
        Pull::Late { sequence: self.current.sequence, opus: &self.current.opus }
    }

    /// Plays the first frame from its block `skip` on.
    fn play_first(&mut self, skip: u32) -> Pull<'_> {
        if self.held > 0 {
            self.loss.waited(self.held.min(self.frame_blocks));
            self.stats.stretched_us += u64::from(self.held) * BLOCK_US;
        }
        (self.held, self.run) = (0, 0);
        self.frames.take_first(&mut self.current);
        self.stats.played += 1;
        let blocks = self.current.blocks;
        if is_made(Mistake::FrameTwice) && self.stats.played.is_multiple_of(64) {
            let Stored { sequence, end, ref opus, .. } = self.current;
            self.frames.insert(sequence.wrapping_add(blocks), blocks, end, opus);
        }
        let wanted = blocks.saturating_sub(skip);
        if self.clock.is_some_and(|clock| self.seen.own(clock.of(self.current.sequence))) {
            self.loss.played(wanted);
        } else {
            self.stats.copies_played += 1;
            self.loss.missed(wanted, true);
        }
        self.advance(wanted);
        if self.current.end {
            self.phase = Phase::Idle;
        }
        Pull::Frame { sequence: self.current.sequence, opus: &self.current.opus, blocks, skip }
    }

    fn conceal(&mut self) -> Pull<'_> {
        self.run = self.run.saturating_add(1);
        if self.run > MAX_CONCEALED_BLOCKS {
            return Pull::Silence;
        }
        self.stats.concealed += 1;
        Pull::Conceal
    }

    /// Conceals without moving on: the delay grows by a block.
    fn conceal_in_place(&mut self) -> Pull<'_> {
        if self.held == 0 {
            self.stats.stretched_us += BLOCK_US;
        }
        self.conceal()
    }

    fn advance(&mut self, blocks: u32) {
        let next = self.next.map(|n| n.wrapping_add(blocks));
        self.next = next;
        if let Some(next) = next {
            while let Some(first) = self.frames.first().filter(|f| ahead(f.past(), next) <= 0) {
                self.late.insert(first.sequence, first.blocks, first.end, &first.opus);
                self.frames.drop_first();
                self.stats.late += 1;
            }
        }
    }

    /// A copy has come of what was said at `media`.
    fn note_reach(&mut self, now: Instant, media: i64) {
        let reach_us = ((self.own_media - media) * BLOCK).clamp(0, MAX_PRIOR_US);
        self.reach_us = if now == self.reached { self.reach_us.max(reach_us) } else { reach_us };
        self.reached = now;
    }

    /// RFC 3550 appendix A.1: a frame out of any reasonable range is believed when a second one follows it.
    fn is_jump(&self, now: Instant, sequence: u32) -> bool {
        let Some(clock) = self.clock else { return false };
        // Before anything was played, what waits says where the talker is.
        let from = self.next.unwrap_or_else(|| self.frames.first().map_or(clock.sequence, |f| f.sequence));
        let lead = ahead(sequence, from);
        let delay = micros(now) - (clock.of(from) + i64::from(lead)) * BLOCK;
        let is_alone = self.newest.is_none_or(|(_, at)| now.since(at) >= JUMP_BACK_AFTER);
        lead < if is_alone { -JUMP_BACK_BLOCKS } else { -JUMP_FAR_BLOCKS }
            || delay < self.arrivals.base_us() - JUMP_EARLY_US
    }

    fn resync(&mut self) {
        self.stats.resyncs += 1;
        self.frames.clear();
        self.late.clear();
        self.arrivals.clear();
        self.seen.clear();
        self.loss.resync();
        (self.clock, self.newest, self.next, self.jump) = (None, None, None, None);
        (self.phase, self.held, self.target_us) = (Phase::Idle, 0, 0);
    }
}

fn micros(now: Instant) -> i64 {
    // Far from the ends of the range, so that no sum of a few of them overflows.
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
