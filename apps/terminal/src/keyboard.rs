//! Lines of standard input, of bounded length, handed over one by one: as they come, or from keys where lines are edited here.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, Read as _, StdinLock},
    sync::Arc,
    thread,
};

use chinwag_proto::limits;
use chinwag_screen::{Decoder, Key};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, kill_current_process_group},
};

use crate::{
    row::Manner,
    terminal::{Shared, Terminal},
};

/// Lines that wait for the conversation; whoever pipes a book in waits with them.
pub const WAITING_LINES: usize = 64;
/// A line break may be two bytes.
const LINE_BYTES: u64 = limits::MESSAGE_BYTES as u64 + 2;
/// What is taken at once of what was typed; the rest waits at the terminal.
const KEY_BYTES: usize = 1024;
/// What belongs to an Escape comes with it, or this much later over a slow line; after that it is a key of its own.
const ESCAPE_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What comes from standard input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed {
    /// A line, without its end.
    Line(String),
    /// A line that cannot be said, and why.
    Unusable(&'static str),
    /// There is nothing more.
    End,
}

impl Typed {
    /// More than a message may have.
    pub const TOO_LONG: Self =
        Self::Unusable("a line longer than 4096 bytes was not sent; say it in several messages");
}

/// Standard input.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Arc<Shared>,
    has_ended: bool,
    decoder: Decoder,
    /// What was typed ahead.
    keys: VecDeque<Key>,
}

impl Keyboard {
    /// That of this terminal.
    pub fn new(terminal: &Terminal) -> Self {
        let (decoder, keys) = (Decoder::default(), VecDeque::new());
        Self { terminal: terminal.shared(), has_ended: false, decoder, keys }
    }

    /// What is typed next, waited for: an answer, which stays on the screen.
    pub fn line(&mut self) -> io::Result<Typed> {
        self.next(&Manner { is_said: &|_| false, is_remembered: false })
    }

    /// Reads on in a thread of its own, which ends with the process. `is_said` tells lines that give way to what comes back
    /// of them from others, as commands do not; `hand_over` takes what was typed, and false when nobody wants more.
    pub fn listen(
        mut self,
        is_said: impl Fn(&str) -> bool + Send + 'static,
        mut hand_over: impl FnMut(Typed) -> bool + Send + 'static,
    ) {
        self.terminal.open();
        thread::spawn(move || {
            let manner = Manner { is_said: &is_said, is_remembered: true };
            loop {
                // Input that fails is input that has ended.
                let typed = self.next(&manner).unwrap_or(Typed::End);
                let is_end = typed == Typed::End;
                if !hand_over(typed) || is_end {
                    return;
                }
            }
        });
    }

    /// Hands over keys as they come, in a thread of its own, which ends with the process; at the end of them nothing, once. False
    /// when nobody wants more.
    pub fn listen_to_keys(
        mut self,
        mut hand_over: impl FnMut(Option<VecDeque<Key>>) -> bool + Send + 'static,
    ) {
        thread::spawn(move || {
            loop {
                if !self.keys.is_empty() && !hand_over(Some(std::mem::take(&mut self.keys))) {
                    return;
                }
                if self.has_ended || !self.read_keys(true) {
                    hand_over(None);
                    return;
                }
            }
        });
    }

    fn next(&mut self, manner: &Manner<'_>) -> io::Result<Typed> {
        if self.has_ended {
            return Ok(Typed::End);
        }
        if self.terminal.is_edited { self.edited(manner) } else { self.read(&mut io::stdin().lock()) }
    }

    /// The next line, from keys.
    fn edited(&mut self, manner: &Manner<'_>) -> io::Result<Typed> {
        self.terminal.open();
        loop {
            match self.terminal.press(&mut self.keys, manner) {
                Some(Typed::End) => break,
                Some(typed) => return Ok(typed),
                None => {}
            }
            if !self.read_keys(false) {
                break;
            }
        }
        self.has_ended = true;
        self.terminal.close();
        Ok(Typed::End)
    }

    /// Waits for keys; false when there will be no more. An Escape behind which nothing comes is one if it `is_key`.
    fn read_keys(&mut self, is_key: bool) -> bool {
        if is_key
            && self.decoder.is_after_escape()
            && !comes_something()
            && let Some(key) = self.decoder.end_escape()
        {
            self.keys.push_back(key);
            return true;
        }
        let mut bytes = [0; KEY_BYTES];
        // Unlike that of a pipe, what waits at a terminal must not be held in another buffer.
        match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.decoder.push(&bytes[..count], &mut self.keys);
                self.keys.retain(|&key| !is_signal(key));
                true
            }
            Err(error) => error == Errno::INTR,
        }
    }

    /// The next line, as it comes.
    fn read(&mut self, stdin: &mut StdinLock<'_>) -> io::Result<Typed> {
        let mut line = Vec::new();
        stdin.take(LINE_BYTES).read_until(b'\n', &mut line)?;
        let is_ended = line.last() == Some(&b'\n');
        if !is_ended && line.len() as u64 == LINE_BYTES {
            skip_line(stdin)?;
            return Ok(Typed::TOO_LONG);
        }
        // A terminal tells its end only once.
        self.has_ended = !is_ended;
        if line.is_empty() {
            return Ok(Typed::End);
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        Ok(match String::from_utf8(line) {
            Ok(line) => Typed::Line(line),
            Err(_) => Typed::Unusable("a line that is not UTF-8 was not sent"),
        })
    }
}

/// True for a key that is a signal, which the terminal leaves to the program if it was asked to tell keys apart.
fn is_signal(key: Key) -> bool {
    let Key::Control(letter) = key else { return false };
    let signal = match letter {
        'c' => Signal::INT,
        'z' => Signal::TSTP,
        '\\' => Signal::QUIT,
        _ => return false,
    };
    // As the terminal would, to all that were started together. That cannot fail: this program is one of them.
    let _ = kill_current_process_group(signal);
    true
}

/// Whether something is typed soon.
fn comes_something() -> bool {
    let stdin = io::stdin();
    // An error is found again by whoever reads.
    !matches!(poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&ESCAPE_PATIENCE)), Ok(0))
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
