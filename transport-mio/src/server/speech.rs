//! The stream of one connection, whatever it speaks.

use std::io;

use chinwag_proto::{
    Instant,
    outbox::{Class, Overflow},
    wire::control,
};
use mio::net::TcpStream;

use super::classic::{ClassicStream, Flushed};
use crate::{
    seal::{AesSeal, End},
    stream::{ReadEnd, TlsStream, discard},
};

#[derive(Debug)]
pub(super) enum Speech {
    /// What TLS needs is a good deal more, and only some are classic.
    Native(Box<TlsStream>),
    Classic(ClassicStream),
}

impl Speech {
    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Native(stream) => stream.socket_mut(),
            Self::Classic(stream) => stream.socket_mut(),
        }
    }

    /// Reads into `buffer` once, as [`TlsStream::read`] does.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadEnd> {
        match self {
            Self::Native(stream) => {
                let count = stream.read(buffer)?;
                if stream.tls().alpn_protocol() == Some(control::ALPN) {
                    return Ok(count);
                }
                // Bytes that some other program was made to send here are not to be taken for ours.
                let error = io::Error::new(io::ErrorKind::InvalidData, "it did not ask for chinwag/1");
                Err(ReadEnd::Failed(error))
            }
            Self::Classic(stream) => stream.read(buffer),
        }
    }

    /// Reads and throws away, `budget` bytes at most.
    pub(super) fn discard(&mut self, scratch: &mut [u8], budget: usize) -> ReadEnd {
        discard(self.socket_mut(), scratch, budget)
    }

    pub(super) fn queue(&mut self, class: Class, bytes: &[u8]) -> Result<(), Overflow> {
        match self {
            Self::Native(stream) => stream.queue(class, bytes),
            Self::Classic(stream) => stream.queue(class, bytes),
        }
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        match self {
            Self::Native(stream) => stream.queued(),
            Self::Classic(stream) => stream.queued(),
        }
    }

    /// Voice frames that gave way to others. A classic stream has none.
    pub(super) fn voice_dropped(&self) -> u64 {
        match self {
            Self::Native(stream) => stream.voice_dropped(),
            Self::Classic(_) => 0,
        }
    }

    /// Writes what waits, as far as it can be.
    pub(super) fn flush(&mut self, now: Instant) -> io::Result<Flushed> {
        match self {
            Self::Native(stream) => Ok(if stream.flush()? { Flushed::All } else { Flushed::Blocked }),
            Self::Classic(stream) => stream.flush(now),
        }
    }

    /// Says that nothing more will be sent. Call once everything is flushed.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Native(stream) => stream.finish(),
            Self::Classic(stream) => stream.finish(),
        }
    }

    /// What seals this connection's datagrams; a classic one has none.
    pub(super) fn seal(&self) -> Option<AesSeal> {
        match self {
            Self::Native(stream) => AesSeal::from_tls(stream.tls(), End::Server),
            Self::Classic(_) => None,
        }
    }
}
