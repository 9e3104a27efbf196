//! The recent distribution of arrival delays: a sliding window with its least value and a quantile.
//!
//! The delay of a frame is the moment from which it can be played minus its media time; only differences mean something. A frame can
//! be played from the moment when it arrives, or a copy of it, or the packet behind it with in-band FEC in it: what
//! redundancy brings in time needs no deeper buffer. The window is the forgetting (NetEQ's histogram decays exponentially
//! instead: Lundin, "WebRTC NetEq"); a path that becomes shorter at a stroke is noticed and the window forgotten.

use std::collections::VecDeque;

use crate::{Duration, Instant};

/// Frames remembered.
const WINDOW_FRAMES: usize = 1000;
/// Frames older than this are forgotten …
const WINDOW: Duration = Duration::from_secs(10);
/// … but for the last few.
const KEEP: usize = 20;
/// So many of a thousand frames are waited for, in any case; what comes later is left to concealment.
const QUANTILE_PER_MILLE: usize = 990;
/// A tail of delays is exponential, near enough (the excess over a high threshold: Pickands, Annals of Statistics 3, 1975): from how
/// it falls between these two quantiles, where there are frames enough to tell, …
const TAIL_FROM: usize = 750;
const TAIL_TO: usize = 950;
/// … follows where only 5 of a thousand are left: ln(250 / 5) / ln(250 / 50) times as far.
const TAIL_REACH: f32 = 2.3;
/// That is no more than was seen, or a little more if it was seen of few frames: twice that of so many.
const FEW: i64 = 10;
/// So many frames in a row that are all quicker than three quarters …
const SHORTER_AFTER: usize = 16;
/// … of so many before them: the path has become shorter.
const SHORTER_THAN: usize = 48;
/// By less than this it is not worth forgetting.
const SHORTER_US: i64 = 5_000;
/// After a pause of this length the two clocks may have drifted apart: only the spread is kept.
const PAUSE: Duration = Duration::from_secs(10);

/// Delays in microseconds, in order of arrival and sorted.
#[derive(Debug)]
pub(super) struct Arrivals {
    recent: VecDeque<(Instant, i64)>,
    sorted: Vec<i64>,
    /// Frames in a row that were quicker than those before them, and what is quick among those.
    quicker: usize,
    quick_before: i64,
}

impl Default for Arrivals {
    fn default() -> Self {
        // All at once: nothing is allocated while voice flows.
        Self {
            recent: VecDeque::with_capacity(WINDOW_FRAMES),
            sorted: Vec::with_capacity(WINDOW_FRAMES),
            quicker: 0,
            quick_before: 0,
        }
    }
}

impl Arrivals {
    /// Takes a frame's delay. True if it showed that the path has become shorter.
    pub(super) fn push(&mut self, now: Instant, delay_us: i64) -> bool {
        if self.recent.back().is_some_and(|(at, _)| now.since(*at) > PAUSE) {
            self.shift(delay_us);
        }
        while self.recent.len() >= WINDOW_FRAMES
            || (self.recent.len() > KEEP
                && self.recent.front().is_some_and(|(at, _)| now.since(*at) > WINDOW))
        {
            self.forget_first();
        }
        if self.quicker == 0 {
            let mut before = [delay_us; SHORTER_THAN];
            let recent = self.recent.iter().rev();
            before.iter_mut().zip(recent).for_each(|(before, (_, delay))| *before = *delay);
            self.quick_before = *before.select_nth_unstable(SHORTER_THAN / 4).1;
        }
        self.quicker = if delay_us < self.quick_before - SHORTER_US { self.quicker + 1 } else { 0 };
        self.recent.push_back((now, delay_us));
        let at = self.sorted.partition_point(|d| *d < delay_us);
        self.sorted.insert(at, delay_us);
        let is_shorter = self.quicker >= SHORTER_AFTER;
        if is_shorter {
            self.keep_last(SHORTER_AFTER);
        }
        is_shorter
    }

    /// The least delay: what the path takes at best. 0 if nothing arrived.
    pub(super) fn base_us(&self) -> i64 {
        self.sorted.first().copied().unwrap_or(0)
    }

    /// How much more than the least delay most frames needed.
    pub(super) fn spread_us(&self) -> i64 {
        self.quantile_us(QUANTILE_PER_MILLE)
    }

    /// How much more nearly all would need, if delays go on as they seem to.
    pub(super) fn tail_us(&self) -> i64 {
        let (from, to) = (self.quantile_us(TAIL_FROM), self.quantile_us(TAIL_TO));
        let most = self.quantile_us(1000);
        let most = most + most * FEW / self.sorted.len().max(1) as i64;
        if from * 2 < to - from {
            // Few are late and by a lot (what copies bring of lost frames): no such tail.
            return 0;
        }
        (from + ((to - from) as f32 * TAIL_REACH) as i64).min(most)
    }

    fn quantile_us(&self, per_mille: usize) -> i64 {
        let rank = (self.sorted.len() * per_mille / 1000).max(1);
        self.sorted.get(rank - 1).map_or(0, |delay| delay - self.base_us())
    }

    /// Frames remembered.
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.recent.clear();
        self.sorted.clear();
        self.quicker = 0;
    }

    /// Forgets all but the last `count` frames: the path has changed.
    pub(super) fn keep_last(&mut self, count: usize) {
        while self.recent.len() > count {
            self.forget_first();
        }
        self.quicker = 0;
    }

    /// Takes the next frame for a typical one.
    fn shift(&mut self, delay_us: i64) {
        let by = delay_us - self.sorted.get(self.sorted.len() / 2).copied().unwrap_or(delay_us);
        self.recent.iter_mut().for_each(|(_, delay)| *delay += by);
        self.sorted.iter_mut().for_each(|delay| *delay += by);
        self.quicker = 0;
    }

    fn forget_first(&mut self) {
        if let Some((_, old)) = self.recent.pop_front() {
            let at = self.sorted.partition_point(|d| *d < old);
            self.sorted.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(1000 * ms)
    }

    #[test]
    fn knows_the_least_and_the_quantile_and_forgets() {
        let mut arrivals = Arrivals::default();
        for i in 0..100 {
            arrivals.push(at(10 * i), 5_000 + 1_000 * (i as i64 % 10));
        }
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (5_000, 9_000));
        for i in 0..1_100 {
            arrivals.push(at(1_000 + 10 * i), 50_000);
        }
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (50_000, 0));
        assert!(arrivals.recent.len() <= WINDOW_FRAMES);
        assert_eq!(arrivals.recent.len(), arrivals.sorted.len());
    }

    #[test]
    fn a_path_that_becomes_shorter_is_noticed_and_one_quick_frame_is_not() {
        let mut arrivals = Arrivals::default();
        let mut ms = 0;
        let mut push = |arrivals: &mut Arrivals, delay_us: i64| {
            ms += 10;
            arrivals.push(at(ms), delay_us)
        };
        for i in 0..200 {
            push(&mut arrivals, 100_000 + 1_000 * (i % 3));
        }
        push(&mut arrivals, 85_000);
        push(&mut arrivals, 101_000);
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (85_000, 17_000));
        let shorter: Vec<bool> = (0..SHORTER_AFTER).map(|_| push(&mut arrivals, 2_000)).collect();
        assert_eq!(shorter.iter().position(|s| *s), Some(SHORTER_AFTER - 1));
        assert_eq!((arrivals.base_us(), arrivals.spread_us()), (2_000, 0));
    }

    #[test]
    fn a_long_pause_keeps_the_spread_and_takes_the_clock_anew() {
        let mut arrivals = Arrivals::default();
        for i in 0..100 {
            arrivals.push(at(10 * i), 1_000 * (i as i64 % 10));
        }
        arrivals.push(at(600_000), 300_000);
        assert!((293_000..=297_000).contains(&arrivals.base_us()), "{}", arrivals.base_us());
        assert!((8_000..=9_000).contains(&arrivals.spread_us()), "{}", arrivals.spread_us());
    }
}
