//! Lines of standard input, of bounded length, handed over one by one.

use std::{
    io::{self, BufRead as _, Read as _, StdinLock},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use chinwag_proto::limits;
use chinwag_transport_mio::Waker;

/// Lines that wait for the conversation; whoever pipes a book in waits with them.
const WAITING_LINES: usize = 64;
/// A line break may be two bytes.
const LINE_BYTES: u64 = limits::MESSAGE_BYTES as u64 + 2;

/// What comes from standard input.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    /// A line that cannot be said, and why.
    Unusable(&'static str),
    End,
}

/// Standard input.
#[derive(Debug)]
pub(crate) struct Keyboard;

impl Keyboard {
    pub(crate) fn new() -> Self {
        Self
    }

    /// The next line, waited for; `None` at the end of input.
    pub(crate) fn line(&mut self) -> io::Result<Option<String>> {
        match read_line(&mut io::stdin().lock())? {
            Typed::Line(line) => Ok(Some(line)),
            Typed::Unusable(why) => Err(io::Error::other(why)),
            Typed::End => Ok(None),
        }
    }

    /// Reads on in a thread of its own, which ends with the process; `waker` is told of every line.
    pub(crate) fn listen(self, waker: Arc<Waker>) -> Receiver<Typed> {
        let (lines, receiver) = sync_channel(WAITING_LINES);
        thread::spawn(move || read_all(&lines, &waker));
        receiver
    }
}

fn read_all(lines: &SyncSender<Typed>, waker: &Waker) {
    let mut stdin = io::stdin().lock();
    loop {
        // Input that fails is input that has ended.
        let typed = read_line(&mut stdin).unwrap_or(Typed::End);
        let is_end = matches!(typed, Typed::End);
        if lines.send(typed).is_err() || waker.wake().is_err() || is_end {
            return;
        }
    }
}

fn read_line(stdin: &mut StdinLock<'_>) -> io::Result<Typed> {
    let mut line = Vec::new();
    stdin.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(Typed::End);
    }
    if line.last() != Some(&b'\n') && line.len() as u64 == LINE_BYTES {
        skip_line(stdin)?;
        return Ok(Typed::Unusable("a line longer than 4096 bytes was not sent; say it in several messages"));
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(match String::from_utf8(line) {
        Ok(line) => Typed::Line(line),
        Err(_) => Typed::Unusable("a line that is not UTF-8 was not sent"),
    })
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
