//! The recent distribution of arrival delays: a sliding window with its least value and a quantile.
//!
//! The delay of a frame is its arrival time minus its media time; only differences mean something. The window is the
//! forgetting: NetEQ's histogram (Lundin, "WebRTC NetEq") decays exponentially instead.

use std::collections::VecDeque;

use crate::{Duration, Instant};

/// Frames remembered.
const WINDOW_FRAMES: usize = 300;
/// Frames older than this are forgotten …
const WINDOW: Duration = Duration::from_secs(3);
/// … but for the last few.
const KEEP: usize = 20;
/// How many of a thousand frames shall be in time; the rest is left to in-band FEC and concealment.
const QUANTILE_PER_MILLE: usize = 960;

/// Delays in microseconds, in order of arrival and sorted.
#[derive(Debug)]
pub(super) struct Arrivals {
    recent: VecDeque<(Instant, i64)>,
    sorted: Vec<i64>,
}

impl Default for Arrivals {
    fn default() -> Self {
        // All at once: nothing is allocated while voice flows.
        Self { recent: VecDeque::with_capacity(WINDOW_FRAMES), sorted: Vec::with_capacity(WINDOW_FRAMES) }
    }
}

impl Arrivals {
    pub(super) fn push(&mut self, now: Instant, delay_us: i64) {
        while self.recent.len() >= WINDOW_FRAMES
            || (self.recent.len() > KEEP
                && self.recent.front().is_some_and(|(at, _)| now.since(*at) > WINDOW))
        {
            if let Some((_, old)) = self.recent.pop_front() {
                let at = self.sorted.partition_point(|d| *d < old);
                self.sorted.remove(at);
            }
        }
        self.recent.push_back((now, delay_us));
        let at = self.sorted.partition_point(|d| *d < delay_us);
        self.sorted.insert(at, delay_us);
    }

    /// The least delay: what the path takes at best. 0 if nothing arrived.
    pub(super) fn base_us(&self) -> i64 {
        self.sorted.first().copied().unwrap_or(0)
    }

    /// How much more than the least delay most frames need.
    pub(super) fn spread_us(&self) -> i64 {
        let rank = (self.sorted.len() * QUANTILE_PER_MILLE).div_ceil(1000).max(1);
        self.sorted.get(rank - 1).map_or(0, |d| d - self.base_us())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.recent.clear();
        self.sorted.clear();
    }

    /// Forgets all but the last frame: the path has changed.
    pub(super) fn keep_last(&mut self) {
        let last = self.recent.pop_back();
        self.clear();
        if let Some((at, delay)) = last {
            self.push(at, delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_least_and_the_quantile_and_forgets() {
        let mut arrivals = Arrivals::default();
        for i in 0..100_i64 {
            arrivals.push(Instant::from_micros(10_000 * i as u64), 5_000 + 1_000 * (i % 10));
        }
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (5_000, 9_000));
        for i in 0..400_u64 {
            arrivals.push(Instant::from_micros(1_000_000 + 10_000 * i), 50_000);
        }
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (50_000, 0));
        assert!(arrivals.recent.len() <= WINDOW_FRAMES);
        assert_eq!(arrivals.recent.len(), arrivals.sorted.len());
    }
}
