//! Text over TCP as the oldest programs have it: UTF-8 without framing, each read a message.
//!
//! Two messages that come in one read are one; nobody can tell. A character that is cut in two is put together.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream, ToSocketAddrs as _},
    thread,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};

/// The most that is read at once. A message that waits for its last character is held up to twice that.
const READ_BYTES: usize = 4096;
/// How long the rest of a character is waited for. Without it, what came is shown as it is.
const CHARACTER_PATIENCE: Duration = Duration::from_secs(1);
/// How long an address may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer may take nothing of what is written to it: an old server waits for its slowest reader.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A peer from which nothing comes for so long is asked by the system whether it is there; it is lost after
/// [`KEEPALIVE_PROBES`] times [`KEEPALIVE_PAUSE`] more.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// See [`KEEPALIVE_IDLE`].
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(5);
/// See [`KEEPALIVE_IDLE`].
const KEEPALIVE_PROBES: u32 = 4;

/// What lies between two messages at least, so that the peer's reads do not make one of them.
pub const MESSAGE_GAP: Duration = Duration::from_millis(50);

/// What comes of a connection.
#[derive(Debug)]
pub enum Heard {
    /// A message, not escaped.
    Text(String),
    /// The peer closed it. Nothing more comes.
    Closed,
    /// It broke. Nothing more comes.
    Lost(io::Error),
}

/// Connects to a host's first address that answers.
///
/// # Errors
/// When the host is unknown, or none of its addresses answers.
pub fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(stream) => {
                attend(&stream)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Has the system notice a peer that vanished, and send what is written at once.
///
/// # Errors
/// When the connection has gone already.
pub fn attend(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_PAUSE);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    // Keepalive does nothing while something waits for its acknowledgement.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_PAUSE * KEEPALIVE_PROBES))?;
    Ok(())
}

/// Reads in a thread of its own, until the connection ends or `told` returns false.
///
/// # Errors
/// When the system gives no thread.
pub fn hear(stream: TcpStream, told: impl FnMut(Heard) -> bool + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("text".to_owned()).spawn(move || read(stream, told))?;
    Ok(())
}

fn read(mut stream: TcpStream, mut told: impl FnMut(Heard) -> bool) {
    let mut buffer = [0; READ_BYTES];
    let mut joiner = Joiner::default();
    loop {
        let patience = joiner.is_waiting().then_some(CHARACTER_PATIENCE);
        let result = stream.set_read_timeout(patience).and_then(|()| stream.read(&mut buffer));
        let (text, end) = match result {
            Ok(0) => (joiner.take(), Some(Heard::Closed)),
            Ok(length) => (joiner.push(&buffer[..length]), None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => (joiner.take(), None),
            Err(error) => (joiner.take(), Some(Heard::Lost(error))),
        };
        if text.is_some_and(|text| !told(Heard::Text(text))) {
            return;
        }
        if let Some(end) = end {
            told(end);
            return;
        }
    }
}

/// Writes a message.
///
/// # Errors
/// When the peer has gone, or takes nothing any more.
pub fn say(mut stream: &TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).map_err(|error| {
        let is_stuck = error.kind() == ErrorKind::WouldBlock;
        if is_stuck { io::Error::new(ErrorKind::TimedOut, "it takes nothing any more") } else { error }
    })
}

/// Ends a connection at once, also for whoever reads from it.
pub fn close(stream: &TcpStream) {
    // It may have ended by itself.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Puts characters together that were cut in two.
#[derive(Debug, Default)]
struct Joiner(Vec<u8>);

impl Joiner {
    fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    /// What a read gave, unless the rest of its last character is still to come.
    fn push(&mut self, bytes: &[u8]) -> Option<String> {
        self.0.extend_from_slice(bytes);
        if ends_within_character(&self.0) && self.0.len() <= READ_BYTES {
            return None;
        }
        self.take()
    }

    /// What there is, whole or not.
    fn take(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.0);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn ends_within_character(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    // Its first byte is the last one that begins a character.
    let Some(begin) = tail.iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000) else { return false };
    std::str::from_utf8(&tail[begin..]).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_anywhere_is_put_together() {
        let text = "Foo: é好😀";
        for cut in 1..text.len() {
            let mut joiner = Joiner::default();
            let (head, tail) = text.as_bytes().split_at(cut);
            let got: Vec<_> =
                [joiner.push(head), joiner.push(tail), joiner.take()].into_iter().flatten().collect();
            assert_eq!(got.concat(), text);
            assert_eq!(got.len(), if text.is_char_boundary(cut) { 2 } else { 1 }, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_not_waited_for() {
        for (bytes, shown) in [
            (&b"\xff"[..], "\u{fffd}"),
            (b"a\x80", "a\u{fffd}"),
            (b"\x80\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc3(", "\u{fffd}("),
            (b"\xf5\x80", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(Joiner::default().push(bytes).as_deref(), Some(shown), "{bytes:?}");
        }
        // Nor is it held without end.
        let mut joiner = Joiner::default();
        assert_eq!(joiner.push(b"\xe5\xa5"), None);
        assert_eq!(joiner.take().as_deref(), Some("\u{fffd}"));
        let cut = [&[b'x'; READ_BYTES][..], b"\xe5"].concat();
        assert!(Joiner::default().push(&cut).is_some());
    }
}
