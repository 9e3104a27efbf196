//! How deep the buffer is, should be, and how it gets there.

use super::{BLOCK, JitterBuffer, Phase, Stored, ahead, micros};
use crate::Instant;
use crate::limits::{MAX_EXCESS_US, MAX_TARGET_US};

/// The least target, and the first one. A block is rendered every 10 ms, so that a spurt begins 8 to 18 ms behind its
/// first frame: about 35 to 45 ms from mouth to ear, as the two clocks stand to each other.
const LEAST_TARGET_US: i64 = 8_000;
/// Kept over what the distribution asks for.
const MARGIN_US: i64 = 1_000;
/// From this RFC 6464 level on a block is quiet: a change of delay is not heard there.
pub(super) const QUIET_LEVEL: u8 = 50;
/// Excess delay is cut in a quiet block after this many blocks, in any block after that many …
const SHORTEN_QUIET_AFTER: u32 = 20;
const SHORTEN_ANY_AFTER: u32 = 100;
/// … and sooner if it is large.
const LARGE_EXCESS_US: i64 = 50_000;
const SHORTEN_LARGE_AFTER: u32 = 8;
impl JitterBuffer {
    /// Whether the delay is at least a block deeper than it must be, and now is the moment to leave a block out: the
    /// caller then asks [`Self::step`] twice and cross-fades both blocks into one.
    pub fn wants_shorter(&mut self, now: Instant) -> bool {
        let Some(next) = self.next.filter(|_| self.phase == Phase::Playing) else {
            self.deep_for = 0;
            return false;
        };
        let excess = self.offset_us(now, next) - self.wanted_us();
        if excess < BLOCK + MARGIN_US {
            self.deep_for = 0;
            return false;
        }
        self.deep_for += 1;
        if self.run > 0 {
            return false;
        }
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

    /// Far too deep (a stall that ended in a burst, a talker that sends too fast): goes on where the target is.
    pub(super) fn cut_excess(&mut self, now: Instant, next: u32) -> u32 {
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

    /// Whether the delay is a block or more below the target, or too small for the FEC that is needed.
    pub(super) fn is_shallow(&self, now: Instant, next: u32) -> bool {
        let offset = self.offset_us(now, next);
        offset < self.wanted_us() - BLOCK || offset < self.arrivals.base_us() + self.fec_us()
    }

    /// The delay that in-band FEC needs: the length of a frame; none if it is not worth it.
    fn fec_us(&self) -> i64 {
        if self.loss.waits_for_fec() { i64::from(self.frame_blocks) * BLOCK } else { 0 }
    }

    pub(super) fn target_us(&self) -> i64 {
        (self.arrivals.spread_us() + MARGIN_US).max(LEAST_TARGET_US).max(self.fec_us()).min(MAX_TARGET_US)
    }

    /// The offset between media time and play time that the target asks for.
    pub(super) fn wanted_us(&self) -> i64 {
        self.arrivals.base_us() + self.target_us()
    }

    /// The offset if block `next` is played now.
    pub(super) fn offset_us(&self, now: Instant, next: u32) -> i64 {
        micros(now) - self.clock.map_or(0, |c| c.of(next)) * BLOCK
    }
}
