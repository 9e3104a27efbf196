//! The terminal: what is printed on it, and the row at its bottom in which a line is typed, under one lock.
//!
//! Lines are edited here only where a person sits at a terminal that knows how to erase; otherwise what is printed is passed on as
//! it is, and the system edits. It begins when something is first asked for, and ends with [`Terminal::close`], however the program
//! ends: by a panic and by a signal that nobody else attends to, too. Whoever fills the screen ([`Terminal::fill`]) has it in the
//! same way: what is printed then goes to him.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write},
    panic,
    sync::{
        Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chinwag_screen::{ENTER, Key, LEAVE};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::tcgetwinsize,
};

use crate::{
    crash,
    full::{Full, Painter},
    keyboard::Typed,
    modes::Modes,
    row::{ERASE, Manner, Row, end_of},
    signals,
};

const BRACKETED_PASTE: &str = "\x1b[?2004h";
const NO_BRACKETED_PASTE: &str = "\x1b[?2004l";
/// How long the end waits for somebody who writes to a terminal that takes nothing.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
const CLOSE_PAUSE: Duration = Duration::from_millis(5);
/// A terminal that does not know its size is taken to be as large.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// The screen and the keyboard, when both are one terminal; otherwise it only passes on what is written. Closes when it goes.
#[derive(Debug)]
pub struct Terminal(Arc<Shared>);

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// That of standard input and output, if there is one.
    pub fn new() -> Self {
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let is_capable = std::env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb");
        Self(Arc::new(Shared {
            is_interactive,
            is_edited: is_interactive && is_capable,
            modes: Modes::default(),
            row: Mutex::default(),
            opened: Once::new(),
            full: OnceLock::new(),
            is_entered: AtomicBool::new(false),
            owes_picture: AtomicBool::new(false),
        }))
    }

    /// True when a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.0.is_interactive
    }

    /// True when lines are edited by this program, so that nothing breaks into what is typed.
    pub fn is_edited(&self) -> bool {
        self.0.is_edited
    }

    /// Whether what is said now comes back soon. While it does not, typed lines stay where they are.
    pub fn set_in(&self, is_in: bool) {
        self.0.lock().set_in(is_in);
    }

    /// Standard output, past the row in which something is typed.
    pub fn stdout(&self) -> Output {
        Output { shared: self.shared(), stream: Stream::Out }
    }

    /// The same of standard error.
    pub fn stderr(&self) -> Output {
        Output { shared: self.shared(), stream: Stream::Error }
    }

    /// From now on `full` has the whole screen, if lines would be edited there; once only. What is printed goes to it.
    pub fn fill(&self, full: Arc<dyn Full>) -> Painter {
        self.0.fill(full);
        self.painter()
    }

    /// For whoever changes what fills the screen.
    pub fn painter(&self) -> Painter {
        Painter(self.shared())
    }

    /// Leaves an ordinary terminal behind. What was begun stays on the screen as it is; what is printed from now on is passed on.
    pub fn close(&self) {
        self.0.close();
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    Out,
    Error,
}

/// A stream that is shown on a terminal. Each write is whole lines; one without a line feed at its end gets it while something may
/// be typed below.
#[derive(Clone, Debug)]
pub struct Output {
    shared: Arc<Shared>,
    stream: Stream,
}

impl Write for Output {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.shared.print(self.stream, text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all threads share of it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) is_interactive: bool,
    pub(crate) is_edited: bool,
    modes: Modes,
    /// Whoever holds it may write, and nobody else.
    row: Mutex<Row>,
    opened: Once,
    /// What has the whole screen, in the place of the row.
    full: OnceLock<Arc<dyn Full>>,
    /// That has the other screen: [`ENTER`] was written, and [`LEAVE`] was not.
    is_entered: AtomicBool,
    /// Its first picture is yet to be painted: whoever fills the screen has other things to do than to wait for a terminal that takes
    /// nothing.
    owes_picture: AtomicBool,
}

impl Shared {
    /// Lines are edited here from now on, if they are at all.
    pub(crate) fn open(self: &Arc<Self>) {
        if !self.is_edited {
            return;
        }
        self.opened.call_once(|| {
            self.attend_panics();
            // Before anything has to be put back. Without it, signals do what they always do.
            let _ = signals::attend_terminal(Arc::clone(self));
            crash::attend();
            self.resume();
        });
    }

    /// Takes over the terminal, at first and after a stop.
    pub(crate) fn resume(&self) {
        let row = self.lock_soon();
        if self.modes.set(self.last_words())
            && let Some(mut row) = row
            && takes_something()
        {
            // Whoever was stopped without a word still has the other screen.
            let is_entered = self.full.get().is_some() && self.is_entered.swap(true, Ordering::Relaxed);
            let leave = if is_entered { LEAVE } else { ERASE };
            match self.full.get() {
                Some(_) if self.owes_picture.load(Ordering::Relaxed) => {
                    // Whether anybody still looks, the keyboard finds out.
                    let _ = write(&mut io::stdout().lock(), [leave, ENTER].concat().as_bytes());
                }
                Some(full) => show(full, [leave, ENTER].concat(), true),
                None => self.draw(&mut row, [ERASE, BRACKETED_PASTE].concat()),
            }
        }
    }

    /// See [`Terminal::fill`].
    fn fill(self: &Arc<Self>, full: Arc<dyn Full>) {
        let was_open = self.opened.is_completed();
        if self.is_edited && self.full.set(full).is_ok() {
            self.owes_picture.store(true, Ordering::Relaxed);
            self.open();
            if was_open {
                self.resume();
            }
        }
    }

    /// See [`Painter::paint`].
    pub(crate) fn paint(&self, afresh: bool) -> bool {
        let Some(full) = self.full.get() else { return false };
        let _row = self.lock();
        let is_ours = self.modes.are_set();
        if is_ours {
            show(full, String::new(), self.owes_picture.swap(false, Ordering::Relaxed) || afresh);
        }
        is_ours
    }

    /// What gives the terminal back, where nothing is to be left of the row.
    fn goodbye(&self) -> String {
        match self.full.get() {
            Some(_) => LEAVE.to_owned(),
            None => [ERASE, NO_BRACKETED_PASTE].concat(),
        }
    }

    /// The same where nobody may wait for the row, so that it stays as it is.
    fn last_words(&self) -> String {
        ["\n", &self.goodbye()].concat()
    }

    /// Gives the terminal back for a while.
    pub(crate) fn suspend(&self) {
        let row = self.lock_soon();
        if self.modes.restore(false) && row.is_some() {
            self.is_entered.store(false, Ordering::Relaxed);
            farewell(&self.goodbye());
        }
    }

    /// See [`Terminal::close`].
    pub(crate) fn close(&self) {
        if !self.modes.are_set() {
            self.modes.restore(true);
            return;
        }
        let row = self.lock_soon();
        if self.modes.restore(true)
            && let Some(mut row) = row
        {
            let mut out = String::new();
            if self.full.get().is_some() {
                out = self.goodbye();
            } else {
                row.end(&mut out);
                out.push_str(NO_BRACKETED_PASTE);
            }
            farewell(&out);
        }
    }

    /// Draws the row again: the terminal is of another size. Whoever holds the lock draws it anyway.
    pub(crate) fn redraw(&self) {
        if let Some(full) = self.full.get() {
            let row = self.lock_soon();
            if self.modes.are_set() && row.is_some() && takes_something() {
                show(full, String::new(), true);
            }
            return;
        }
        if self.modes.are_set()
            && let Ok(mut row) = self.row.try_lock()
            && takes_something()
        {
            self.draw(&mut row, ERASE.to_owned());
        }
    }

    pub(crate) fn set_in(&self, is_in: bool) {
        self.lock().set_in(is_in);
    }

    /// What is typed and not finished, unless somebody writes to a terminal that takes nothing.
    pub(crate) fn draft(&self) -> Option<String> {
        self.row.try_lock().ok().map(|row| row.text().to_owned())
    }

    /// Goes on with what was typed before.
    pub(crate) fn begin(&self, text: &str) {
        let mut row = self.lock();
        row.begin(text);
        if self.modes.are_set() {
            self.draw(&mut row, String::new());
        }
    }

    /// What stands before what is typed.
    pub(crate) fn set_prompt(&self, prompt: &str) {
        let mut row = self.lock();
        row.set_prompt(prompt);
        if self.modes.are_set() {
            self.draw(&mut row, String::new());
        }
    }

    /// Takes keys until something was typed with them.
    pub(crate) fn press(&self, keys: &mut VecDeque<Key>, manner: &Manner<'_>) -> Option<Typed> {
        let mut row = self.lock();
        let mut out = String::new();
        let mut typed = None;
        while typed.is_none()
            && let Some(key) = keys.pop_front()
        {
            typed = row.press(key, manner, &mut out);
        }
        if self.modes.are_set() {
            self.draw(&mut row, out);
        }
        typed
    }

    /// Prints lines.
    pub(crate) fn print(&self, stream: Stream, text: &[u8]) -> io::Result<()> {
        if let Some(full) = self.full.get()
            && !self.modes.are_over()
            && (stream == Stream::Out || io::stderr().is_terminal())
        {
            full.print(&String::from_utf8_lossy(text));
            return Ok(());
        }
        let mut row = self.lock();
        let is_below = self.modes.are_set() && !text.is_empty();
        match stream {
            Stream::Out if is_below => write(&mut io::stdout().lock(), &row.below(text, columns())),
            Stream::Out => write(&mut io::stdout().lock(), text),
            // Most likely the same terminal, and by another way.
            Stream::Error if is_below && io::stderr().is_terminal() => {
                write(&mut io::stdout().lock(), ERASE.as_bytes())?;
                let written = write(&mut io::stderr().lock(), &[text, end_of(text)].concat());
                self.draw(&mut row, String::new());
                written
            }
            Stream::Error => write(&mut io::stderr().lock(), text),
        }
    }

    fn draw(&self, row: &mut Row, mut out: String) {
        row.draw(columns(), &mut out);
        // Whether anybody still looks, the next line finds out.
        let _ = write(&mut io::stdout().lock(), out.as_bytes());
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless somebody holds it who writes to a terminal that takes nothing.
    fn lock_soon(&self) -> Option<MutexGuard<'_, Row>> {
        let give_up = Instant::now() + CLOSE_PATIENCE;
        loop {
            match self.row.try_lock() {
                Ok(row) => return Some(row),
                Err(TryLockError::Poisoned(row)) => return Some(row.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(CLOSE_PAUSE),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }

    /// Whoever panics may hold the lock, so that the row stays as it is.
    fn attend_panics(self: &Arc<Self>) {
        let terminal = Arc::downgrade(self);
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if let Some(terminal) = terminal.upgrade()
                && terminal.modes.restore(true)
            {
                farewell(&terminal.last_words());
            }
            told(panic);
        }));
    }
}

/// Shows a full screen, after something else was written. Whoever calls it has the lock.
fn show(full: &Arc<dyn Full>, mut out: String, afresh: bool) {
    let size = tcgetwinsize(io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    let (columns, rows) = if size == (0, 0) { USUAL_SIZE } else { size };
    out.push_str(&full.paint(columns, rows, afresh));
    // Whether anybody still looks, the keyboard finds out.
    let _ = write(&mut io::stdout().lock(), out.as_bytes());
}

/// So many the terminal has now.
fn columns() -> usize {
    tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col))
}

fn write(stream: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).and_then(|()| stream.flush())
}

/// Writes, unless the terminal takes nothing: whoever ends is not to be kept.
fn farewell(text: &str) {
    if takes_something() {
        // It may have gone.
        let _ = write(&mut io::stdout().lock(), text.as_bytes());
    }
}

/// False while nobody reads what is written to the terminal, so that a write would wait.
pub(crate) fn takes_something() -> bool {
    let stdout = rustix::stdio::stdout();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
}
