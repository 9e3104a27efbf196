//! What the terminal shows of a line while it is typed, and how that goes away once the line is said: it comes back as
//! `Name: text` when the server has it.
//!
//! The terminal edits lines by itself here, so nobody knows whether one is half typed when something is written. Where
//! it is not certain what stands above the cursor, less is erased than was typed: rather a stray line than a lost one.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::termios::{LocalModes, tcgetattr, tcgetwinsize};
use unicode_width::UnicodeWidthStr as _;

/// Clears the row of the cursor, which goes to its beginning.
const ERASE_ROW: &str = "\r\x1b[2K";
/// Moves to the row above and clears it.
const ERASE_ROW_ABOVE: &str = "\x1b[1A\x1b[2K";

/// Who a line on the screen is due to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The user's last line: it comes at once, before the next one is begun.
    OwnLine,
    /// Anything else: it comes at any time, also in the middle of what is typed.
    Other,
}

#[derive(Clone, Copy, Default, Debug)]
struct Drawn {
    /// What is said now comes back soon.
    is_in: bool,
    /// What was written so far.
    writes: u64,
    others: u64,
    /// `others` when the last typed line was read.
    others_at_line: u64,
    /// More was typed ahead than was read at once: rows of it stand between those of the conversation.
    is_behind: bool,
}

/// The screen and the keyboard, when both are one terminal; otherwise it only passes on what is written.
#[derive(Debug)]
pub struct Terminal {
    is_interactive: bool,
    /// It knows how to erase.
    is_capable: bool,
    drawn: Mutex<Drawn>,
}

/// Lines that were typed at one go, since the last read.
#[derive(Debug)]
pub(crate) struct Burst {
    writes: u64,
    rows: usize,
    columns: usize,
    /// The first line began on a row of its own.
    is_first_whole: bool,
    is_erasable: bool,
    ends_in_row: bool,
}

impl Burst {
    /// Adds a line: its text, whether it is said (or nothing), whether a line break ended it.
    pub(crate) fn add(&mut self, text: &str, is_said: bool, is_ended: bool) {
        let is_first = self.rows == 0;
        self.rows += if is_first && !self.is_first_whole { 1 } else { rows(text, self.columns) };
        self.is_erasable &= is_said;
        self.ends_in_row = !is_ended;
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// That of standard input and output, if there is one.
    pub fn new() -> Self {
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let is_dumb = std::env::var("TERM").is_ok_and(|kind| kind == "dumb");
        Self { is_interactive, is_capable: is_interactive && !is_dumb, drawn: Mutex::default() }
    }

    /// True when a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Whether what is said now comes back soon. While it does not, typed lines stay where they are.
    pub fn set_in(&self, is_in: bool) {
        self.lock().is_in = is_in;
    }

    /// Writes, and notes that something was written.
    pub fn write(&self, cause: Cause, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut drawn = self.lock();
        drawn.writes += 1;
        drawn.others += u64::from(cause == Cause::Other);
        write()
    }

    /// True when another whole line has been typed already.
    pub(crate) fn has_more(&self) -> bool {
        self.is_capable && rustix::io::ioctl_fionread(io::stdin()).is_ok_and(|bytes| bytes > 0)
    }

    /// To be called when the first line has just been read.
    pub(crate) fn burst(&self) -> Burst {
        let drawn = self.lock();
        Burst {
            writes: drawn.writes,
            rows: 0,
            columns: tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col)),
            is_first_whole: drawn.others == drawn.others_at_line,
            is_erasable: self.is_capable && !drawn.is_behind,
            ends_in_row: false,
        }
    }

    /// The lines of `burst` go away, if they are what stands above the cursor.
    pub(crate) fn take_back(&self, burst: &Burst) {
        let has_more = self.has_more();
        let mut drawn = self.lock();
        drawn.others_at_line = drawn.others;
        drawn.is_behind = has_more;
        if burst.is_erasable && !has_more && drawn.is_in && drawn.writes == burst.writes && shows_typing() {
            let mut erase = String::new();
            let above = burst.rows - usize::from(burst.ends_in_row);
            if burst.ends_in_row {
                erase.push_str(ERASE_ROW);
            }
            erase.push_str(&ERASE_ROW_ABOVE.repeat(above));
            let mut stdout = io::stdout().lock();
            // Whether anybody still looks, the next line finds out.
            let _ = stdout.write_all(erase.as_bytes()).and_then(|()| stdout.flush());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True unless the terminal was told not to show what is typed, or to leave the editing to others.
fn shows_typing() -> bool {
    let wanted = LocalModes::ECHO | LocalModes::ICANON;
    tcgetattr(io::stdin()).is_ok_and(|modes| modes.local_modes.contains(wanted))
}

/// How many rows a line takes at least; terminals differ in how wide some emoji are. Of no known width: one.
fn rows(text: &str, columns: usize) -> usize {
    if columns == 0 { 1 } else { text.width().div_ceil(columns).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_width_and_never_too_many() {
        for (text, columns, expected) in [
            ("", 40, 1),
            ("short", 40, 1),
            (&"x".repeat(40), 40, 1),
            (&"x".repeat(41), 40, 2),
            (&"好".repeat(20), 40, 1),
            (&"好".repeat(21), 40, 2),
            (&"e\u{301}".repeat(40), 40, 1),
            (&"x".repeat(400), 0, 1),
        ] {
            assert_eq!(rows(text, columns), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_others_broke_into_counts_as_one_row() {
        let terminal =
            Terminal { is_interactive: true, is_capable: true, drawn: Mutex::new(Drawn::default()) };
        let long = "x".repeat(100);
        let rows_now = |terminal: &Terminal| {
            let mut burst = Burst { columns: 40, ..terminal.burst() };
            burst.add(&long, true, true);
            burst.rows
        };
        assert_eq!(rows_now(&terminal), 3);
        terminal.write(Cause::OwnLine, || Ok(())).unwrap();
        assert_eq!(rows_now(&terminal), 3);
        terminal.write(Cause::Other, || Ok(())).unwrap();
        assert_eq!(rows_now(&terminal), 1);
    }
}
