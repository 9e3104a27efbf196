//! How deep the buffer is, should be, and how it gets there.

use chinwag_proto::hooks::{Mistake, is_made};

use super::{BLOCK, JitterBuffer, Phase, Stored, ahead, micros};
use crate::limits::{MAX_EXCESS_US, MAX_PRIOR_US, MAX_TARGET_US};
use crate::{Duration, Instant};

/// The least target, and the first one. Blocks are rendered every 10 ms, so that a spurt begins 4 to 14 ms behind its
/// first frame: about 31 to 41 ms from mouth to ear, as the two clocks stand to each other.
const LEAST_TARGET_US: i64 = 4_000;
/// Kept over what the distribution asks for.
const MARGIN_US: i64 = 1_000;
/// The target rises at once to what most frames needed, and within a second by so much to what is expected of the rest …
const RISE_US: i64 = 30_000;
/// … and falls by at most so much, or half of what it is too great.
const FALL_US: i64 = 4_000;
/// At the start, when it was a guess, by this.
const FALL_EARLY_US: i64 = 30_000;

/// Frames from which on the distribution is believed, and trusted.
const START_FRAMES: usize = 50;
const TRUSTED_FRAMES: usize = 200;

/// The share of the target by which the delay may be too great; half of it by which it may be too small.
const BAND: i64 = 8;

/// Copies that came within this time are sent still.
const COPIES_FRESH: Duration = Duration::from_millis(500);

/// For [`Mistake::BufferDeep`].
const DEEP_US: i64 = 100_000;
/// A jump of less than this is not worth it (and shorter than any period of a voice).
const LEAST_JUMP_US: i64 = 2_500;

/// A change of delay within a word is heard (and a word that is cut short by it costs more than the delay), in a pause it is not. How a delay that is too deep
/// is corrected in sound that has no pause: from this excess on, after so many blocks in a row, by jumps that find sound
/// at least so like. The deepest that fits holds.
const SHORTEN: [(i64, u32, f32); 3] = [(60_000, 100, 0.7), (20_000, 300, 0.8), (LEAST_JUMP_US, 1_000, 0.9)];
/// The same where it is too shallow.
const LENGTHEN: [(i64, u32, f32); 2] = [(40_000, 10, 0.7), (LEAST_JUMP_US, 100, 0.85)];
/// In a pause it is corrected after so many blocks, and at the onset of a spurt, where sound from before it waits, at once.
const QUIET_AFTER: u32 = 5;
const ONSET_BLOCKS: u32 = 10;
/// For so many blocks a pause is looked for that takes most of the correction, two pauses made shorter costing more than one, …
const PATIENCE: u32 = 150;
/// … and that is so long, less what is corrected: a little more delay is borne until a pause comes in which nobody can tell.
const PAUSE_US: i64 = 220_000;
/// A pause is so much quiet: a word's end is not one yet.
const PAUSE_BEGINS_US: i64 = 30_000;
/// So much is left of a pause that is made shorter, or half as much as it becomes shorter.
const PAUSE_LEFT_US: i64 = 20_000;
/// Blocks between two jumps.
pub(super) const BETWEEN_JUMPS: u32 = 1;

/// What to do about the delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Correction {
    /// Nothing.
    Keep,
    /// Lose up to so many microseconds, where the sound is at least so like itself that much later (−1..=1).
    Shorten(i64, f32),
    /// Win as many.
    Lengthen(i64, f32),
    /// Lose some of a pause, if there is enough of it.
    Skip {
        /// At most, in microseconds.
        most_us: i64,
        /// Only if there is at least so much quiet from here on …
        quiet_us: i64,
        /// … and so much of that is to be left.
        left_us: i64,
    },
}

/// Blocks in a row for which the delay was wrong, and by how much at least: a thread that wakes late now and then is not
/// answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// Since the last correction; and in all.
    blocks: u32,
    all_blocks: u32,
    least_us: i64,
    /// By how much in the last blocks, the newest first.
    recent_us: [i64; QUIET_AFTER as usize],
}

impl Run {
    fn after(self, is_beyond: bool, size_us: i64) -> Self {
        if !is_beyond {
            return Self::default();
        }
        // What is far more than before is another matter.
        if self.all_blocks == 0 || size_us > 2 * self.recent_us() + BLOCK {
            let recent_us = [size_us; QUIET_AFTER as usize];
            return Self { blocks: 1, all_blocks: 1, least_us: size_us, recent_us };
        }
        let mut recent_us = self.recent_us;
        recent_us.rotate_right(1);
        recent_us[0] = size_us;
        Self {
            blocks: self.blocks.saturating_add(1),
            all_blocks: self.all_blocks.saturating_add(1),
            least_us: self.least_us.min(size_us),
            recent_us,
        }
    }

    /// By how much at least for the last few blocks.
    fn recent_us(&self) -> i64 {
        self.recent_us.into_iter().min().unwrap_or(0)
    }

    fn corrected(&mut self) {
        self.blocks = self.blocks.min(QUIET_AFTER);
        self.least_us = i64::MAX;
    }
}

impl JitterBuffer {
    /// To be asked before each block is taken, with the decoded sound that waits to be played, and for how long it has been quiet; whoever then jumps says so by [`Self::corrected`].
    pub fn correction(&mut self, now: Instant, queued_us: i64, quiet_us: i64) -> Correction {
        let is_quiet = quiet_us >= PAUSE_BEGINS_US;
        self.since_jump = self.since_jump.saturating_add(1);
        let mut excess = 0;
        if let Some(next) = self.next.filter(|_| self.phase == Phase::Playing) {
            self.delay_us = self.offset_us(now, next) + queued_us - self.arrivals.base_us();
            if self.run == 0 && self.held == 0 {
                excess = self.excess_us(now, next, queued_us);
            }
        }
        self.spurt_blocks = self.spurt_blocks.saturating_add(1);
        self.deep = self.deep.after(excess >= LEAST_JUMP_US, excess);
        self.shallow = self.shallow.after(excess <= -LEAST_JUMP_US, -excess);
        if self.since_jump < BETWEEN_JUMPS {
            return Correction::Keep;
        }
        let is_onset = self.spurt_blocks < ONSET_BLOCKS;
        let quiet_after = if is_onset { 1 } else { QUIET_AFTER };
        let due = |steps: &[(i64, u32, f32)], size: i64, blocks: u32| {
            steps.iter().find(|s| size >= s.0 && blocks >= s.1).map(|s| s.2)
        };
        if is_quiet && self.deep.blocks >= quiet_after {
            let most_us = self.deep.recent_us();
            let left_us = PAUSE_LEFT_US.min(most_us / 2);
            let is_patient = self.deep.all_blocks < PATIENCE;
            let quiet_us = match is_patient {
                true => (most_us * 3 / 4 + left_us).max(PAUSE_US - most_us - quiet_us),
                false => LEAST_JUMP_US + left_us,
            };
            Correction::Skip { most_us, quiet_us, left_us }
        } else if is_quiet && self.shallow.blocks >= quiet_after {
            Correction::Lengthen(self.shallow.recent_us(), -1.0)
        } else if let Some(likeness) = due(&SHORTEN, self.deep.least_us, self.deep.blocks) {
            Correction::Shorten(self.deep.least_us, likeness)
        } else if let Some(likeness) = due(&LENGTHEN, self.shallow.least_us, self.shallow.blocks) {
            Correction::Lengthen(self.shallow.least_us, likeness)
        } else {
            Correction::Keep
        }
    }

    /// So much was lost (negative) or won.
    pub fn corrected(&mut self, by_us: i64) {
        self.since_jump = 0;
        self.deep.corrected();
        self.shallow.corrected();
        let by = by_us.unsigned_abs();
        if by_us < 0 {
            self.stats.shortened_us += by;
        } else {
            self.stats.stretched_us += by;
        }
    }

    /// How much later the next sample is played than it could be, with frames played as they are needed: in blocks of 10 ms, by the
    /// deadline of the next frame, and what is decoded already beyond whole blocks.
    fn excess_us(&self, now: Instant, next: u32, queued_us: i64) -> i64 {
        let (whole, rest) = (queued_us / BLOCK * BLOCK, queued_us % BLOCK);
        let slack = self.offset_us(now, next) + whole - self.wanted_us();
        // The deeper, the less it matters where exactly: what is corrected is not corrected back soon.
        let band = self.target_us / BAND;
        let blocks =
            if slack < 0 { (slack + band / 2).min(0) } else { (slack - band).max(0) }.div_euclid(BLOCK);
        blocks * BLOCK + rest
    }

    /// Far too deep (a stall that ended in a burst, a talker that sends too fast): goes on where the target is.
    pub(super) fn cut_excess(&mut self, now: Instant, next: u32) -> u32 {
        let Some(last) = self.frames.last().map(Stored::past) else { return next };
        if self.offset_us(now, next) - self.wanted_us() > MAX_EXCESS_US {
            let newest_us = self.offset_us(now, last) - self.wanted_us();
            if newest_us >= 0 {
                // Even the newest frame is past due: the path has changed for good.
                self.arrivals.keep_last(1);
                self.target_us = 0;
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

    /// Whether the delay is a block or more below the target.
    pub(super) fn is_shallow(&self, now: Instant, next: u32) -> bool {
        self.offset_us(now, next) < self.wanted_us() - BLOCK
    }

    /// A frame can be played from `now` on, so long after its media time.
    pub(super) fn learn(&mut self, now: Instant, delay_us: i64) {
        if self.arrivals.push(now, delay_us) {
            // Nothing that was known of the path holds.
            self.target_us = 0;
        }
    }

    /// A frame has arrived: the target follows the distribution.
    pub(super) fn update_target(&mut self, now: Instant) {
        let passed = now.since(std::mem::replace(&mut self.target_at, now)).min(Duration::from_secs(1));
        let passed_us = i64::try_from(passed.as_micros()).unwrap_or(0);
        let sure = (self.arrivals.spread_us().max(self.copies_us(now)) + MARGIN_US).max(self.start_us());
        let wanted = sure.max(self.arrivals.tail_us() + MARGIN_US);
        let fall_us = if self.arrivals.count() < TRUSTED_FRAMES { FALL_EARLY_US } else { FALL_US };
        let fall_us = fall_us.max((self.target_us - wanted) / 2);
        let (most, least) = (
            self.target_us + RISE_US * passed_us / 1_000_000,
            self.target_us - fall_us * passed_us / 1_000_000,
        );
        self.target_us = wanted.clamp(least, most).max(sure).clamp(LEAST_TARGET_US, MAX_TARGET_US);
    }

    /// How long to wait for copies: where frames are lost in bursts, for the farthest, before the first burst that they bridge.
    fn copies_us(&self, now: Instant) -> i64 {
        let are_sent = now.since(self.reached) < COPIES_FRESH;
        if are_sent && self.loss.has_bursts() { self.reach_us } else { 0 }
    }

    /// What is known of the path before anything came by it: how much later than the quickest frame most may be.
    pub fn expect(&mut self, spread: Duration) {
        self.prior_us = i64::try_from(spread.as_micros()).unwrap_or(MAX_TARGET_US).min(MAX_PRIOR_US);
    }

    /// What is waited for while too few frames have come to tell: nearly a frame's length, so that FEC can mostly be used, or what is known of the path.
    fn start_us(&self) -> i64 {
        let known = self.arrivals.count();
        if known >= START_FRAMES {
            return 0;
        }
        let frame = i64::from(self.frame_blocks) * BLOCK;
        (frame * 4 / 5).max(self.prior_us)
    }

    /// The offset between media time and play time that the target asks for.
    pub(super) fn wanted_us(&self) -> i64 {
        let deep_us = if is_made(Mistake::BufferDeep) { DEEP_US } else { 0 };
        self.arrivals.base_us() + self.target_us.max(LEAST_TARGET_US).max(self.start_us()) + deep_us
    }

    /// The offset if block `next` is played now.
    pub(super) fn offset_us(&self, now: Instant, next: u32) -> i64 {
        micros(now) - self.clock.map_or(0, |c| c.of(next)) * BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoiceFrame;

    const MS: i64 = 1_000;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(10_000_000 + 1_000 * ms)
    }

    /// A talker whose path became 100 ms shorter half a second ago. What is to be done in each of so many blocks, when it has been quiet for so
    /// long.
    fn deep(quiet_us: i64, blocks: u64) -> Vec<Correction> {
        let (mut buffer, mut asked) = (JitterBuffer::new(), Vec::new());
        for block in 0..250 + blocks {
            let now = at(10 * block + 5);
            // What was sent before overtakes nothing, what is sent from then on overtakes that.
            let before = block.checked_sub(10).filter(|n| *n < 200);
            for sequence in before.into_iter().chain(Some(block).filter(|n| *n >= 200)) {
                let (sequence, opus) = (sequence as u32, &[0, 0]);
                let frame = VoiceFrame { talker: 1, sequence, end: false, copy: false, level: 30, opus };
                buffer.push(now, &frame);
            }
            let is_asked = block >= 250;
            let correction = buffer.correction(now, 0, if is_asked { quiet_us } else { 0 });
            asked.extend(is_asked.then_some(correction));
            buffer.pull(now);
        }
        asked
    }

    #[test]
    fn a_pause_that_takes_most_of_it_is_looked_for_and_after_a_while_any() {
        let asked = deep(0, 5);
        assert!(asked.iter().all(|c| !matches!(c, Correction::Skip { .. })), "in a word: {asked:?}");
        let asked = deep(PAUSE_BEGINS_US, 150);
        let Some(&Correction::Skip { most_us, quiet_us, left_us }) = asked.first() else {
            panic!("{asked:?}")
        };
        assert!((80 * MS..=110 * MS).contains(&most_us), "{most_us}");
        assert!(
            quiet_us >= most_us * 3 / 4 + left_us && quiet_us + PAUSE_BEGINS_US + most_us >= PAUSE_US,
            "{quiet_us}"
        );
        assert_eq!(left_us, PAUSE_LEFT_US);
        let Some(&Correction::Skip { quiet_us, .. }) = asked.last() else { panic!("{asked:?}") };
        assert_eq!(quiet_us, LEAST_JUMP_US + PAUSE_LEFT_US, "whatever fits");
    }
}
