//! One TLS connection over a non-blocking TCP socket, with the queue of what waits to be written.

use std::io::{self, Read, Write};

use chinwag_proto::outbox::{Class, Outbox, Overflow};
use mio::net::TcpStream;
use rustls::Connection;

/// Plaintext that TLS may hold; the rest waits in the [`Outbox`], where its class still counts.
const TLS_BUFFER_BYTES: usize = 32 * 1024;

/// Control frames wait in pieces of so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How a stream stands after reading.
#[derive(Debug)]
pub(crate) enum ReadEnd {
    /// Nothing more to read for now.
    Drained,
    /// There is more; the budget of this turn is spent.
    More,
    /// The peer closed, in whatever way.
    Eof,
    /// It failed.
    Failed(io::Error),
}

#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: Connection,
    outbox: Outbox,
    /// The peer said that nothing more will come.
    saw_eof: bool,
}

impl TlsStream {
    pub(crate) fn new(socket: TcpStream, mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        // Small frames are to leave at once; a system that cannot do that is no reason to fail.
        let _ = socket.set_nodelay(true);
        Self { socket, tls, outbox: Outbox::default(), saw_eof: false }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(crate) fn tls(&self) -> &Connection {
        &self.tls
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    pub(crate) fn queue(&mut self, class: Class, bytes: &[u8]) -> Result<(), Overflow> {
        match class {
            // In pieces, so that what was written of a long welcome is freed before all of it is.
            Class::Control => bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.outbox.push(class, piece)),
            Class::Voice => self.outbox.push(class, bytes),
        }
    }

    /// Voice frames that were dropped because this connection was too slow for them.
    pub(crate) fn voice_dropped(&self) -> u64 {
        self.outbox.voice_dropped()
    }

    /// Bytes that wait, without those that TLS holds already ([`TLS_BUFFER_BYTES`] at most, and its records).
    pub(crate) fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Reads plaintext into `buffer` once: how much, or how the stream stands when there is none.
    ///
    /// `Err(Drained)` is the usual end; call again after the next readiness.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadEnd> {
        loop {
            match self.tls.reader().read(buffer) {
                // A clean end (close_notify).
                Ok(0) => return Err(ReadEnd::Eof),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The socket ended without close_notify: cut, crashed, or killed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ReadEnd::Eof),
                Err(error) => return Err(ReadEnd::Failed(error)),
            }
            if self.saw_eof {
                return Err(ReadEnd::Eof);
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => self.saw_eof = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ReadEnd::Drained),
                Err(error) => return Err(ReadEnd::Failed(error)),
            }
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that says what was wrong is written if it can be.
                let _ = self.tls.write_tls(&mut self.socket);
                return Err(ReadEnd::Failed(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }

    /// Writes what waits until there is nothing left (true) or the socket takes no more (false).
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        loop {
            // What waits together goes into one record.
            while let Some(piece) = self.outbox.front_piece() {
                let taken = self.tls.writer().write(piece)?;
                if taken == 0 {
                    break;
                }
                self.outbox.consume(taken);
            }
            if !self.tls.wants_write() {
                // During the handshake TLS may hold plaintext back; it goes when the handshake is done.
                return Ok(self.outbox.is_empty());
            }
            match self.tls.write_tls(&mut One(&mut self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing more will be sent. Call once everything is flushed.
    pub(crate) fn finish(&mut self) {
        self.tls.send_close_notify();
        // Whether the peer still takes it makes no difference to us.
        let _ = self.tls.write_tls(&mut self.socket);
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

/// Writes to a socket. Most often there is one record: to `send` it costs the system less than a vector of one.
struct One<'a>(&'a mut TcpStream);

impl Write for One<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, all: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match all {
            [one] => self.0.write(one),
            _ => self.0.write_vectored(all),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads and throws away, `budget` bytes at most: a peer that never stops sending is not to be served forever.
pub(crate) fn discard(socket: &mut TcpStream, scratch: &mut [u8], mut budget: usize) -> ReadEnd {
    while budget > 0 {
        match socket.read(scratch) {
            Ok(0) => return ReadEnd::Eof,
            Ok(count) => budget = budget.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadEnd::Drained,
            Err(error) => return ReadEnd::Failed(error),
        }
    }
    ReadEnd::More
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        thread,
    };

    use super::*;

    #[test]
    fn throwing_away_what_never_ends_does() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // It blocks, so that each read waits for what is still on its way.
        let mut socket = TcpStream::from_std(listener.accept().unwrap().0);
        let writer = thread::spawn(move || sender.write_all(&[0; 10_000]));
        let mut scratch = [0; 100];
        for _ in 0..10 {
            assert!(matches!(discard(&mut socket, &mut scratch, 900), ReadEnd::More));
        }
        assert!(matches!(discard(&mut socket, &mut scratch, 2000), ReadEnd::Eof));
        writer.join().unwrap().unwrap();
    }
}
