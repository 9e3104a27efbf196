//! The plain line mode: the conversation on standard output, all else on standard error.
//!
//! Nothing that others sent reaches the terminal raw.

use std::io::{self, Write as _};

use chinwag_proto::text::escape;

/// Moves to the line above and clears it.
const ERASE_LINE_ABOVE: &str = "\x1b[1A\x1b[2K";

#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    /// Nobody reads standard output any more.
    is_gone: bool,
}

impl Screen {
    /// `is_terminal`: both ends are one, so that a typed line is on the screen already.
    pub(crate) fn new(is_terminal: bool) -> Self {
        Self { is_terminal, is_gone: false }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub(crate) fn welcome(&mut self, name: &str) {
        self.line(&format!("Welcome {}! If you ever want to quit, type {{quit}} to exit.", escape(name)));
    }

    pub(crate) fn joined(&mut self, name: &str) {
        self.line(&format!("{} has joined the chat!", escape(name)));
    }

    pub(crate) fn left(&mut self, name: &str) {
        self.line(&format!("{} has left the chat.", escape(name)));
    }

    pub(crate) fn said(&mut self, name: &str, text: &str) {
        self.line(&format!("{}: {}", escape(name), escape(text)));
    }

    /// The line that was just typed goes away: it comes back as `Name: text` when the server has it.
    pub(crate) fn take_back_typed_line(&mut self) {
        if self.is_terminal {
            self.write(ERASE_LINE_ABOVE);
        }
    }

    /// Something about the program itself.
    pub(crate) fn notice(&mut self, text: &str) {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(crate) fn prompt(&mut self, question: &str) {
        let mut stderr = io::stderr();
        // As above.
        let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    }

    fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        self.is_gone |= stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err();
    }
}

/// A line on standard output, for what is no conversation. A reader that has gone away is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
