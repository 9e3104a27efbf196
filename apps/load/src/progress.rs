//! The line that tells, on a terminal, how far the work is.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

const OFTEN_ENOUGH: Duration = Duration::from_millis(100);

/// A line on standard error that is written over and over, where that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_shown: stderr().is_terminal(), last: None }
    }

    /// Shows what `line` says, now and then.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        if self.is_shown && self.last.is_none_or(|last| last.elapsed() >= OFTEN_ENOUGH) {
            self.last = Some(Instant::now());
            // Whether anybody sees it does not matter.
            let _ = write!(stderr(), "\r\x1b[K{}", line());
        }
    }

    /// A line that stays, on a terminal or not.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear();
        let _ = writeln!(stderr(), "{line}");
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        if self.is_shown && self.last.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
