//! The sound thread's end of a device: where sound flows just now, if it does, and what the user should know.

use super::{
    Direction,
    keeper::{Kept, News, Open},
    stream::Meter,
};
use crate::{BLOCK_TIME, Duration, Instant, io::DeviceStats};

/// A device whose callback did not come for so long, and twice its own period, stands still: silence takes its place …
const STILL: Duration = Duration::from_millis(500);
/// … and after so long it counts as gone.
const DEAD: Duration = Duration::from_secs(3);
/// Silence that makes up for a device is of this length at most; what is further back is left out of media time.
const MOST_MADE_UP: Duration = Duration::from_secs(1);
/// Lines that wait to be told; there is a pair for each time that a device goes and comes.
const WAITING_LINES: usize = 4;

/// What both kinds of flow have.
pub(super) trait Metered {
    fn meter(&self) -> &Meter;
}

/// A device as the sound thread sees it.
pub(super) struct Link<F> {
    direction: Direction,
    kept: Kept<F>,
    open: Option<Open<F>>,
    /// Callbacks of this stream so far, and when the last one was noticed.
    callbacks: usize,
    alive: Instant,
    is_still: bool,
    /// The user knows that it is gone, and not that it is back.
    is_missed: bool,
    /// It is another device than the user knows.
    is_other: bool,
    lines: Vec<String>,
    /// The time up to which sound, or silence in its place, was taken.
    taken: Instant,
    pub(super) stats: DeviceStats,
}

impl<F: Metered> Link<F> {
    pub(super) fn new(direction: Direction, kept: Kept<F>) -> Self {
        Self {
            direction,
            kept,
            open: None,
            callbacks: 0,
            alive: Instant::ZERO,
            is_still: false,
            is_missed: false,
            is_other: false,
            lines: Vec::new(),
            taken: Instant::ZERO,
            stats: DeviceStats::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn bell(&self, stream: u64) -> super::keeper::Bell {
        self.kept.bell(stream)
    }

    /// From now on somebody listens.
    pub(super) fn start(&mut self, now: Instant) {
        self.poll(now);
        (self.alive, self.taken) = (now, now);
    }

    /// Takes what is new. True when another stream flows than before, or one that stood still: what waits in it is old.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let mut is_fresh = false;
        while let Some(news) = self.kept.news() {
            match news {
                News::Open(open) => self.take_up(now, open),
                News::Gone(why) => self.lose(&why),
            }
            is_fresh = true;
        }
        let Some(open) = &self.open else { return is_fresh };
        let meter = open.flow.meter();
        let callbacks = meter.callbacks();
        if callbacks != self.callbacks {
            (self.callbacks, self.alive) = (callbacks, now);
            // There is sound, not just a promise of it.
            let line = match (std::mem::take(&mut self.is_missed), std::mem::take(&mut self.is_other)) {
                (true, _) => Some(format!("the {} is back: {:?}", self.direction, open.name)),
                (false, true) => Some(format!("the {} is {:?} now", self.direction, open.name)),
                (false, false) => None,
            };
            line.into_iter().for_each(|line| self.tell(line));
            return is_fresh | std::mem::take(&mut self.is_still);
        }
        let still = now.since(self.alive);
        self.is_still |= still >= STILL.max(meter.period() * 2);
        if self.is_still && still >= DEAD.max(meter.period() * 4) {
            let why = "it gives no sign of life";
            open.bell.failed(why.to_owned());
            self.lose(why);
        }
        is_fresh
    }

    /// Where sound flows, unless the device is gone or stands still.
    pub(super) fn flow(&mut self) -> Option<&mut F> {
        self.open.as_mut().filter(|_| !self.is_still).map(|open| &mut open.flow)
    }

    /// The sound system's own name for the device that is open.
    pub(super) fn device(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.id.as_str())
    }

    /// Sound was taken from, or given to, the device.
    pub(super) fn took(&mut self, now: Instant) {
        self.taken = now;
    }

    /// How many blocks are to be made up, or swallowed, because nothing flows; [`Self::made_up`] says that one was.
    pub(super) fn blocks_missing(&mut self, now: Instant) -> usize {
        self.taken = self.taken.max(now - MOST_MADE_UP);
        (now.since(self.taken).as_micros() / BLOCK_TIME.as_micros()) as usize
    }

    pub(super) fn made_up(&mut self) {
        self.taken = self.taken + BLOCK_TIME;
        self.stats.made_up += 1;
    }

    pub(super) fn take_line(&mut self) -> Option<String> {
        if self.lines.is_empty() { None } else { Some(self.lines.remove(0)) }
    }

    /// Counters, those of the stream under way included.
    pub(super) fn stats(&self) -> DeviceStats {
        let gaps = self.open.as_ref().map_or(0, |open| open.flow.meter().gaps());
        DeviceStats { gaps: self.stats.gaps + gaps as u64, ..self.stats }
    }

    fn take_up(&mut self, now: Instant, open: Open<F>) {
        let before = self.put_down();
        self.stats.opened += 1;
        self.is_other |= before.is_some_and(|before| before != open.name);
        (self.open, self.callbacks, self.alive, self.is_still) = (Some(open), 0, now, false);
    }

    fn lose(&mut self, why: &str) {
        let name = self.put_down().map(|name| format!(" {name:?}")).unwrap_or_default();
        if !std::mem::replace(&mut self.is_missed, true) {
            self.tell(format!("the {}{name} is gone ({why}); trying again", self.direction));
        }
    }

    /// Lets go of what was open, and gives its name.
    fn put_down(&mut self) -> Option<String> {
        self.stats = self.stats();
        self.open.take().map(|open| open.name)
    }

    fn tell(&mut self, line: String) {
        if self.lines.len() < WAITING_LINES {
            self.lines.push(line);
        }
    }
}
