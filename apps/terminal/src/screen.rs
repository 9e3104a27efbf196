//! The plain line mode: the conversation on standard output, all else on standard error.
//!
//! Nothing that others sent reaches the terminal raw.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use chinwag_proto::text::escape;

use crate::terminal::{Cause, Terminal};

/// Where the program writes.
#[derive(Debug)]
pub struct Screen {
    terminal: Arc<Terminal>,
    /// Nobody reads standard output any more.
    is_gone: bool,
}

impl Screen {
    /// On this terminal.
    pub fn new(terminal: Arc<Terminal>) -> Self {
        Self { terminal, is_gone: false }
    }

    /// True when nobody reads standard output any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// True when a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.terminal.is_interactive()
    }

    /// Whether what is typed now is said at once.
    pub fn set_in(&self, is_in: bool) {
        self.terminal.set_in(is_in);
    }

    /// The user is in.
    pub fn welcome(&mut self, name: &str) {
        let name = escape(name);
        self.line(Cause::Other, &format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit."));
    }

    /// Somebody came.
    pub fn joined(&mut self, name: &str) {
        self.line(Cause::Other, &format!("{} has joined the chat!", escape(name)));
    }

    /// Somebody went.
    pub fn left(&mut self, name: &str) {
        self.line(Cause::Other, &format!("{} has left the chat.", escape(name)));
    }

    /// `is_own`: it is what was just typed here.
    pub fn said(&mut self, name: &str, text: &str, is_own: bool) {
        let cause = if is_own { Cause::OwnLine } else { Cause::Other };
        self.line(cause, &format!("{}: {}", escape(name), escape(text)));
    }

    /// Something about the program itself.
    pub fn notice(&mut self, text: &str) {
        self.on_stderr(Cause::Other, &format!("{text}\n"));
    }

    /// An answer to what was just typed.
    pub fn answer(&mut self, text: &str) {
        self.on_stderr(Cause::OwnLine, &format!("{text}\n"));
    }

    /// A question; its answer is typed behind or below.
    pub fn prompt(&mut self, question: &str) {
        self.on_stderr(Cause::Other, question);
    }

    /// Whatever comes next begins on a row of its own: the user broke off in the middle of one.
    pub fn end_row(&mut self) {
        if self.is_interactive() {
            self.on_stderr(Cause::Other, "\n");
        }
    }

    fn on_stderr(&mut self, cause: Cause, text: &str) {
        // Without a standard error there is nobody to tell.
        let _ = self.terminal.write(cause, || {
            let mut stderr = io::stderr().lock();
            stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush())
        });
    }

    /// A line of the conversation. Whatever others sent in it must have been escaped.
    pub fn line(&mut self, cause: Cause, text: &str) {
        let written = self.terminal.write(cause, || {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{text}").and_then(|()| stdout.flush())
        });
        self.is_gone |= written.is_err();
    }
}

/// A line on standard output, for what is no conversation. A reader that has gone away is no error.
pub fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
