//! A connection of the classic dialect: no TLS, no framing. A [`Pacer`] says what each write is, and when.

use std::io::{self, Read as _, Write as _};

use chinwag_proto::{
    Duration, Instant,
    limits::{CLASSIC_QUIET, CLASSIC_STUCK},
    outbox::{Class, Outbox, Overflow},
    pacer::{Next, Pacer},
};
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use crate::stream::ReadEnd;

/// A quiet peer is asked again after so long, until it counts as stuck.
const ASK_EVERY: Duration = Duration::from_secs(5);

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
    pacer: Pacer,
}

impl ClassicStream {
    pub(super) fn new(socket: TcpStream) -> Self {
        // What the system cannot do is no reason to fail.
        let _ = socket.set_nodelay(true);
        let ask = TcpKeepalive::new().with_time(CLASSIC_QUIET).with_interval(ASK_EVERY);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&ask);
        // On Linux this counts in the place of a number of questions.
        let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(CLASSIC_STUCK));
        Self { socket, outbox: Outbox::default(), pacer: Pacer::default() }
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn queue(&mut self, class: Class, bytes: &[u8]) -> Result<(), Overflow> {
        self.outbox.push(class, bytes)
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.outbox.len() + self.pacer.piece().len()
    }

    /// As [`crate::stream::TlsStream::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadEnd> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err(ReadEnd::Eof),
                Ok(count) => {
                    self.pacer.heard(buffer.get(..count).unwrap_or_default());
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
        match self.pacer.next(now, &mut self.outbox) {
            Next::Nothing => return Ok(Flushed::All),
            Next::At(due) => return Ok(Flushed::Paced(due)),
            Next::Piece => {}
        }
        while !self.pacer.piece().is_empty() {
            match self.socket.write(self.pacer.piece()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.pacer.wrote(now, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) => return Err(error),
            }
        }
        // A closing connection, too, is closed only when its last words had their time.
        Ok(match self.pacer.next(now, &mut self.outbox) {
            Next::At(due) => Flushed::Paced(due),
            Next::Nothing | Next::Piece => Flushed::All,
        })
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use chinwag_proto::{limits::CLASSIC_BYTES, pacer::PACE};

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
