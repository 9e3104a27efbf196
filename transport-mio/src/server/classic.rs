//! A connection of the classic dialect: no TLS, no framing. What one write sends is to be what one read of the peer gives, so
//! that each message is a write of its own, and there is a pause before the next.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration as Pause,
};

use chinwag_proto::{
    Duration, Instant,
    limits::CLASSIC_BYTES,
    outbox::{Class, Outbox, Overflow},
};
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use crate::stream::ReadEnd;

/// Between two writes: time for the peer to read what came with the first.
const PACE: Duration = Duration::from_millis(5);
/// When more than so many messages wait, those that fit one read go as lines of one write: the peer shows them alike, and
/// nobody who talks much is ever behind.
const BACKLOG: usize = 8;
/// A peer that says nothing is asked by the system whether it is there, first after so long and then again and again.
const QUIET: Pause = Pause::from_secs(30);
const ASK_EVERY: Pause = Pause::from_secs(5);
const ASK_TIMES: u32 = 3;
/// A peer that takes nothing for so long, dead or not, is given up by the system.
const STUCK: Pause = Pause::from_secs(120);

/// How far a stream was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    /// Nothing is left.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// There is more to write then.
    Paced(Instant),
}

#[derive(Debug)]
pub(super) struct ClassicStream {
    socket: TcpStream,
    outbox: Outbox,
    /// What is being written.
    piece: Vec<u8>,
    /// The peer ends its lines, as `nc` does: it shows what it reads as it comes, so that its lines are ended, too.
    ends_lines: bool,
    next_write: Instant,
}

impl ClassicStream {
    pub(super) fn new(socket: TcpStream) -> Self {
        // What the system cannot do is no reason to fail.
        let _ = socket.set_nodelay(true);
        let ask = TcpKeepalive::new().with_time(QUIET).with_interval(ASK_EVERY).with_retries(ASK_TIMES);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&ask);
        let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(STUCK));
        Self {
            socket,
            outbox: Outbox::default(),
            piece: Vec::new(),
            ends_lines: false,
            next_write: Instant::ZERO,
        }
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn queue(&mut self, class: Class, bytes: &[u8]) -> Result<(), Overflow> {
        self.outbox.push(class, bytes)
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.outbox.len() + self.piece.len()
    }

    /// As [`crate::stream::TlsStream::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadEnd> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err(ReadEnd::Eof),
                Ok(count) => {
                    self.ends_lines |= buffer.get(count - 1) == Some(&b'\n');
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ReadEnd::Drained),
                Err(error) => return Err(ReadEnd::Failed(error)),
            }
        }
    }

    /// Writes the next message, or what was left of it.
    pub(super) fn flush(&mut self, now: Instant) -> io::Result<Flushed> {
        if self.piece.is_empty() {
            if self.outbox.is_empty() {
                return Ok(Flushed::All);
            }
            if now < self.next_write {
                return Ok(Flushed::Paced(self.next_write));
            }
            self.take_piece();
        }
        while !self.piece.is_empty() {
            match self.socket.write(&self.piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.piece.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) => return Err(error),
            }
        }
        self.next_write = now + PACE;
        // A closing connection, too, is closed only when its last words had their time.
        Ok(if self.outbox.is_empty() { Flushed::All } else { Flushed::Paced(self.next_write) })
    }

    fn take_piece(&mut self) {
        let is_behind = self.outbox.frames() > BACKLOG;
        while let Some(message) = self.outbox.front() {
            let room = CLASSIC_BYTES.saturating_sub(self.piece.len() + 1);
            if !self.piece.is_empty() && (!is_behind || message.len() > room) {
                break;
            }
            if !self.piece.is_empty() {
                self.piece.push(b'\n');
            }
            self.piece.extend_from_slice(message);
            let bytes = message.len();
            self.outbox.consume(bytes);
        }
        if self.ends_lines {
            self.piece.push(b'\n');
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A stream and the peer's end of it, which reads what has arrived.
    fn pair() -> (ClassicStream, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (ClassicStream::new(TcpStream::from_std(socket)), peer)
    }

    fn read(peer: &mut std::net::TcpStream) -> String {
        let mut buffer = [0; CLASSIC_BYTES];
        let count = peer.read(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn each_message_is_a_write_and_has_its_time() {
        let (mut stream, mut peer) = pair();
        let mut now = Instant::from_micros(1);
        stream.queue(Class::Control, b"one").unwrap();
        stream.queue(Class::Control, b"two").unwrap();
        assert_eq!(stream.flush(now).unwrap(), Flushed::Paced(now + PACE));
        assert_eq!((stream.flush(now).unwrap(), read(&mut peer)), (Flushed::Paced(now + PACE), "one".into()));
        now = now + PACE;
        assert_eq!((stream.flush(now).unwrap(), read(&mut peer)), (Flushed::All, "two".into()));
        assert_eq!((stream.flush(now).unwrap(), stream.queued()), (Flushed::All, 0));
    }

    #[test]
    fn who_ends_lines_gets_lines() {
        let (mut stream, mut peer) = pair();
        peer.write_all(b"Foo\n").unwrap();
        let mut buffer = [0; 16];
        while stream.read(&mut buffer).is_err() {}
        stream.queue(Class::Control, b"one").unwrap();
        stream.queue(Class::Control, b"two").unwrap();
        let now = Instant::from_micros(1);
        stream.flush(now).unwrap();
        assert_eq!(read(&mut peer), "one\n");
        stream.flush(now + PACE).unwrap();
        assert_eq!(read(&mut peer), "two\n");
    }

    #[test]
    fn who_is_far_behind_gets_lines_as_many_as_fit_one_read() {
        let (mut stream, mut peer) = pair();
        let message = "m".repeat(100);
        for _ in 0..BACKLOG + 3 {
            stream.queue(Class::Control, message.as_bytes()).unwrap();
        }
        let now = Instant::from_micros(1);
        assert_eq!(stream.flush(now).unwrap(), Flushed::Paced(now + PACE));
        assert_eq!(read(&mut peer), [message.as_str(); 10].join("\n"));
        assert_eq!(stream.flush(now + PACE).unwrap(), Flushed::All);
        assert_eq!(read(&mut peer), message);
    }

    #[test]
    fn what_the_socket_does_not_take_is_written_later() {
        let (mut stream, mut peer) = pair();
        let message = "x".repeat(CLASSIC_BYTES);
        let mut now = Instant::from_micros(1);
        let mut written = 0;
        loop {
            stream.queue(Class::Control, message.as_bytes()).unwrap();
            now = now + PACE;
            written += CLASSIC_BYTES;
            if stream.flush(now).unwrap() == Flushed::Blocked {
                break;
            }
        }
        let mut taken = 0;
        while taken < written {
            taken += peer.read(&mut [0; 64 * 1024]).unwrap();
            now = now + PACE;
            // Whether there is room again is the system's to say; here it is asked.
            stream.flush(now).unwrap();
        }
        assert_eq!((taken, stream.queued()), (written, 0));
    }
}
