//! The line mode: the conversation on standard output, all else on standard error.
//!
//! Nothing that others sent reaches the terminal raw.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use chinwag_proto::text::escape;

use crate::terminal::{Shared, Stream, Terminal};

/// Where the program writes.
#[derive(Debug)]
pub struct Screen {
    terminal: Arc<Shared>,
    /// Nobody reads standard output any more.
    is_gone: bool,
}

impl Screen {
    /// On this terminal.
    pub fn new(terminal: &Terminal) -> Self {
        Self { terminal: terminal.shared(), is_gone: false }
    }

    /// True when nobody reads standard output any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// True when a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.terminal.is_interactive
    }

    /// True when what is printed never breaks into what is typed.
    pub fn is_edited(&self) -> bool {
        self.terminal.is_edited
    }

    /// See [`Terminal::set_in`].
    pub fn set_in(&self, is_in: bool) {
        self.terminal.set_in(is_in);
    }

    /// What is typed and not finished, where lines are edited by this program. Not while it cannot be known without waiting.
    pub fn draft(&self) -> Option<String> {
        self.terminal.draft().filter(|_| self.is_edited())
    }

    /// Goes on with what was typed before, where lines are edited by this program. If something was typed meanwhile, that stays, and
    /// this can be called back.
    pub fn begin(&self, text: &str) {
        if self.is_edited() {
            self.terminal.begin(text);
        }
    }

    /// The user is in.
    pub fn welcome(&mut self, name: &str) {
        let name = escape(name);
        self.line(&format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit."));
    }

    /// Somebody came.
    pub fn joined(&mut self, name: &str) {
        self.line(&format!("{} has joined the chat!", escape(name)));
    }

    /// Somebody went.
    pub fn left(&mut self, name: &str) {
        self.line(&format!("{} has left the chat.", escape(name)));
    }

    /// Somebody said something.
    pub fn said(&mut self, name: &str, text: &str) {
        self.line(&format!("{}: {}", escape(name), escape(text)));
    }

    /// Something that is no part of the conversation: about the program itself, or an answer to what was typed.
    pub fn notice(&mut self, text: &str) {
        self.on_stderr(&format!("{text}\n"));
    }

    /// A question; its answer is typed behind or below, as is every line until the next question.
    pub fn prompt(&mut self, question: &str) {
        self.terminal.open();
        if !self.is_edited() {
            self.on_stderr(question);
            return;
        }
        let (above, prompt) = question.rsplit_once('\n').unwrap_or(("", question));
        if !above.is_empty() {
            self.notice(above);
        }
        self.terminal.set_prompt(prompt);
    }

    /// Whatever comes next begins on a row of its own: the user broke off in the middle of one.
    pub fn end_row(&mut self) {
        if self.is_interactive() && !self.is_edited() {
            self.on_stderr("\n");
        }
    }

    fn on_stderr(&mut self, text: &str) {
        // Without a standard error there is nobody to tell.
        let _ = self.terminal.print(Stream::Error, text.as_bytes());
    }

    /// A line of the conversation. Whatever others sent in it must have been escaped.
    pub fn line(&mut self, text: &str) {
        let written = self.terminal.print(Stream::Out, format!("{text}\n").as_bytes());
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
