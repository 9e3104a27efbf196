//! What was lost, for the counters and for the report to the talker.

use std::collections::VecDeque;

use crate::report::ReceiverReport;
use crate::{Duration, Instant};

/// The time over which a report is made.
const WINDOW: Duration = Duration::from_millis(500);
/// A report is made sooner when something was lost and there is as much to go by.
const SOON: Duration = Duration::from_millis(200);
/// The least delay of a window is remembered over so many windows: what the path takes with empty queues.
const WINDOWS: usize = 64;
/// At once when so many blocks were lost for good: before copies are asked for, every burst is heard.
const MANY_UNRECOVERED: u32 = 3;
/// But no more often than this, which is as often as the server passes reports on.
const AT_ONCE_AGAIN: Duration = Duration::from_millis(250);
/// So many frames lost in a row are a burst, and one is remembered for so many blocks.
const BURST_FRAMES: u32 = 3;
const BURST_MEMORY: u64 = 1_000;
/// No report of fewer blocks.
const LEAST_BLOCKS: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Blocks lost in all.
    blocks: u64,
    /// Blocks played or lost in all, and those when a burst was seen last.
    total: u64,
    burst_at: Option<u64>,
    /// Blocks lost in a row up to now.
    run: u32,
    frame_blocks: u32,
    at_once: Option<Instant>,
    since: Option<Instant>,
    all: u32,
    lost: u32,
    unrecovered: u32,
    runs: u32,
    /// The least delay in this window, and in those before.
    least_us: Option<i64>,
    leasts_us: VecDeque<i64>,
}

impl Loss {
    /// What it will ever keep is there: a report costs no allocation.
    pub(super) fn new() -> Self {
        Self { leasts_us: VecDeque::with_capacity(WINDOWS), ..Self::default() }
    }

    /// A frame of so many blocks arrived so long after its last sample: frames of another length are no other path.
    pub(super) fn arrived(&mut self, delay_us: i64, blocks: u32) {
        self.frame_blocks = blocks;
        self.least_us = Some(self.least_us.map_or(delay_us, |least| least.min(delay_us)));
    }

    /// So many blocks were played of a frame that arrived itself.
    pub(super) fn played(&mut self, blocks: u32) {
        self.all += blocks;
        self.total += u64::from(blocks);
        self.run = 0;
    }

    /// So many blocks were played that only redundancy brought, or (not `recovered`) were concealed.
    pub(super) fn missed(&mut self, blocks: u32, recovered: bool) {
        self.all += blocks;
        self.total += u64::from(blocks);
        self.lost += blocks;
        self.blocks += u64::from(blocks);
        self.unrecovered += if recovered { 0 } else { blocks };
        self.runs += u32::from(self.run == 0 && blocks > 0);
        self.run = self.run.saturating_add(blocks);
        if self.run >= BURST_FRAMES * self.frame_blocks.max(1) {
            self.burst_at = Some(self.total);
        }
    }

    /// So many blocks were concealed before their frame came after all.
    pub(super) fn waited(&mut self, blocks: u32) {
        let lost = self.blocks;
        self.missed(blocks, false);
        self.blocks = lost;
    }

    /// Whether frames are lost in bursts of late.
    pub(super) fn has_bursts(&self) -> bool {
        self.burst_at.is_some_and(|at| self.total - at < BURST_MEMORY)
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// A report, when one is due.
    pub(super) fn report(&mut self, now: Instant) -> Option<ReceiverReport> {
        let since = *self.since.get_or_insert(now);
        let is_urgent = self.unrecovered >= MANY_UNRECOVERED
            && self.at_once.is_none_or(|last| now.since(last) >= AT_ONCE_AGAIN);
        let after = match self.lost {
            _ if is_urgent => Duration::ZERO,
            2.. => SOON,
            _ => WINDOW,
        };
        if self.all < LEAST_BLOCKS || now.since(since) < after {
            return None;
        }
        if is_urgent {
            self.at_once = Some(now);
        }
        let mille = |part: u32| (part * 1000 / self.all).min(1000) as u16;
        let base = self.leasts_us.iter().copied().chain(self.least_us).min();
        let queue_us = self.least_us.zip(base).map_or(0, |(least, base)| least - base);
        let report = ReceiverReport {
            lost_per_mille: mille(self.lost),
            unrecovered_per_mille: mille(self.unrecovered),
            burst_ms: (self.lost * 10).checked_div(self.runs).unwrap_or(0).min(60_000) as u16,
            queue_ms: (queue_us / 1000).clamp(0, 60_000) as u16,
        };
        if self.leasts_us.len() >= WINDOWS {
            self.leasts_us.pop_front();
        }
        self.leasts_us.extend(self.least_us.take());
        self.since = Some(now);
        (self.all, self.lost, self.unrecovered, self.runs) = (0, 0, 0, 0);
        Some(report)
    }

    /// The media clock begins anew: delays are no longer comparable.
    pub(super) fn resync(&mut self) {
        self.leasts_us.clear();
        self.least_us = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(1000 * ms)
    }

    #[test]
    fn a_report_has_shares_runs_and_the_queue_and_begins_anew() {
        let mut loss = Loss::new();
        assert_eq!(loss.report(at(0)), None);
        loss.arrived(5_000, 1);
        loss.played(50);
        assert_eq!(loss.report(at(499)), None);
        assert_eq!(loss.report(at(500)), Some(ReceiverReport::default()));
        loss.arrived(45_000, 1);
        loss.arrived(25_000, 1);
        for _ in 0..2 {
            loss.played(6);
            loss.missed(2, true);
            loss.missed(1, false);
            loss.missed(1, true);
        }
        assert_eq!(loss.report(at(600)), None);
        let report =
            ReceiverReport { lost_per_mille: 400, unrecovered_per_mille: 100, burst_ms: 40, queue_ms: 20 };
        assert_eq!((loss.report(at(700)), loss.blocks()), (Some(report), 8));
        assert_eq!(loss.report(at(9_000)), None, "nothing was heard");
    }

    #[test]
    fn a_burst_that_was_heard_is_told_at_once_and_remembered_for_a_while() {
        let mut loss = Loss::new();
        assert_eq!(loss.report(at(0)), None);
        loss.arrived(0, 1);
        loss.played(8);
        loss.missed(2, false);
        assert_eq!((loss.report(at(100)), loss.has_bursts()), (None, false));
        loss.missed(1, false);
        assert_eq!(loss.report(at(110)).map(|report| report.burst_ms), Some(30));
        loss.missed(9, false);
        assert_eq!(loss.report(at(309)), None, "however bad it is");
        assert!(loss.report(at(310)).is_some());
        loss.played(BURST_MEMORY as u32 - 1);
        assert!(loss.has_bursts());
        loss.played(1);
        assert!(!loss.has_bursts());
        loss.missed(5, true);
        assert!(loss.has_bursts(), "also what only copies brought");
        loss.played(BURST_MEMORY as u32);
        // Frames of 20 ms.
        loss.arrived(0, 2);
        loss.missed(5, false);
        assert!(!loss.has_bursts());
        loss.missed(1, false);
        assert!(loss.has_bursts());
        loss.played(BURST_MEMORY as u32);
        (0..50).for_each(|_| {
            loss.played(1);
            loss.missed(2, true);
        });
        assert!(!loss.has_bursts(), "none of them is long enough");
    }
}
