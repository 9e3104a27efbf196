//! Lines of standard input, of bounded length, handed over one by one.

use std::{
    io::{self, BufRead as _, Read as _, StdinLock},
    sync::Arc,
    thread,
};

use chinwag_proto::limits;

use crate::terminal::Terminal;

/// Lines that wait for the conversation; whoever pipes a book in waits with them.
pub const WAITING_LINES: usize = 64;
/// A line break may be two bytes.
const LINE_BYTES: u64 = limits::MESSAGE_BYTES as u64 + 2;

/// What comes from standard input.
#[derive(Debug)]
pub enum Typed {
    /// A line, without its end.
    Line(String),
    /// A line that cannot be said, and why.
    Unusable(&'static str),
    /// There is nothing more.
    End,
}

/// Standard input.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Arc<Terminal>,
    has_ended: bool,
}

impl Keyboard {
    /// That of this terminal.
    pub fn new(terminal: Arc<Terminal>) -> Self {
        Self { terminal, has_ended: false }
    }

    /// What is typed next, waited for.
    pub fn line(&mut self) -> io::Result<Typed> {
        self.read(&mut io::stdin().lock()).map(|(typed, _)| typed)
    }

    /// Reads on in a thread of its own, which ends with the process. `is_said` tells lines that give way to what comes back
    /// of them from others, such as commands; `hand_over` takes what was typed, and false when nobody wants more.
    pub fn listen(
        mut self,
        is_said: impl Fn(&str) -> bool + Send + 'static,
        mut hand_over: impl FnMut(Typed) -> bool + Send + 'static,
    ) {
        thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                for typed in self.burst(&mut stdin, &is_said) {
                    let is_end = matches!(typed, Typed::End);
                    if !hand_over(typed) || is_end {
                        return;
                    }
                }
            }
        });
    }

    /// The next lines, waited for: all that were typed at one go, since their echo can only be erased together. From
    /// what is no terminal, one line.
    fn burst(&mut self, stdin: &mut StdinLock<'_>, is_said: &dyn Fn(&str) -> bool) -> Vec<Typed> {
        // Input that fails is input that has ended.
        let (mut typed, mut is_ended) = self.read(stdin).unwrap_or((Typed::End, true));
        let mut burst = self.terminal.burst();
        let mut lines = Vec::new();
        loop {
            let is_end = match &typed {
                Typed::Line(line) => {
                    burst.add(line, is_said(line), is_ended);
                    false
                }
                Typed::Unusable(_) => {
                    burst.add("", false, is_ended);
                    false
                }
                Typed::End => {
                    burst.add("", false, true);
                    true
                }
            };
            lines.push(typed);
            if is_end || lines.len() == WAITING_LINES || !self.terminal.has_more() {
                self.terminal.take_back(&burst);
                return lines;
            }
            (typed, is_ended) = self.read(stdin).unwrap_or((Typed::End, true));
        }
    }

    /// The next line, and whether a line break ended it.
    fn read(&mut self, stdin: &mut StdinLock<'_>) -> io::Result<(Typed, bool)> {
        if self.has_ended {
            return Ok((Typed::End, true));
        }
        let mut line = Vec::new();
        stdin.take(LINE_BYTES).read_until(b'\n', &mut line)?;
        let is_ended = line.last() == Some(&b'\n');
        if !is_ended && line.len() as u64 == LINE_BYTES {
            skip_line(stdin)?;
            let why = "a line longer than 4096 bytes was not sent; say it in several messages";
            return Ok((Typed::Unusable(why), true));
        }
        // A terminal tells its end only once.
        self.has_ended = !is_ended;
        if line.is_empty() {
            return Ok((Typed::End, true));
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        let typed = match String::from_utf8(line) {
            Ok(line) => Typed::Line(line),
            Err(_) => Typed::Unusable("a line that is not UTF-8 was not sent"),
        };
        Ok((typed, is_ended))
    }
}

fn skip_line(stdin: &mut StdinLock<'_>) -> io::Result<()> {
    loop {
        let buffer = stdin.fill_buf()?;
        match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => {
                stdin.consume(at + 1);
                return Ok(());
            }
            None if buffer.is_empty() => return Ok(()),
            None => {
                let length = buffer.len();
                stdin.consume(length);
            }
        }
    }
}
