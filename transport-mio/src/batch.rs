//! Sealed datagrams that wait for the end of a wake-up, in recycled buffers, and the counters of what was dropped.

use std::{io, net::SocketAddr, ops::Range};

use chinwag_proto::wire::path::OpenError;
use mio::net::UdpSocket;

/// Bytes after which a batch is sent before the wake-up ends.
const FULL_BYTES: usize = 256 * 1024;

/// What happened to datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramStats {
    /// Received and opened.
    pub received: u64,
    /// Handed to the system.
    pub sent: u64,
    /// Not sent: the system had no room, or no way to that address.
    pub unsent: u64,
    /// Voice that was to go by TCP and was dropped, since the connection was too slow for it.
    pub voice_dropped: u64,
    /// Dropped: no header of ours, or no such session.
    pub not_ours: u64,
    /// Dropped: their counter was used before, or too old.
    pub replayed: u64,
    /// Dropped: their seal did not verify.
    pub forged: u64,
}

impl DatagramStats {
    pub(crate) fn count(&mut self, error: OpenError) {
        match error {
            OpenError::NotOurs => self.not_ours += 1,
            OpenError::Replayed => self.replayed += 1,
            OpenError::Forged => self.forged += 1,
        }
    }

    /// Received datagrams that meant nothing.
    pub fn dropped(&self) -> u64 {
        self.not_ours + self.replayed + self.forged
    }
}

/// Datagrams to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    datagrams: Vec<(Range<usize>, usize, SocketAddr)>,
}

impl Batch {
    /// Adds a datagram for `to`, to be sent by the socket with this index; `seal` appends it.
    pub(crate) fn add(
        &mut self,
        socket: usize,
        to: SocketAddr,
        seal: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        let sealed = seal(&mut self.bytes);
        if sealed {
            self.datagrams.push((start..self.bytes.len(), socket, to));
        }
        sealed
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES
    }

    /// Sends all. What the system does not take is dropped and counted: voice does not wait.
    pub(crate) fn flush<'s>(
        &mut self,
        socket: impl Fn(usize) -> Option<&'s UdpSocket>,
        stats: &mut DatagramStats,
    ) {
        for (range, index, to) in self.datagrams.drain(..) {
            let datagram = self.bytes.get(range).unwrap_or_default();
            let result = match socket(index) {
                Some(socket) => send(socket, datagram, to),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            match result {
                Ok(_) => stats.sent += 1,
                Err(_) => stats.unsent += 1,
            }
        }
        self.bytes.clear();
    }
}

fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
    loop {
        match socket.send_to(datagram, to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An error that an earlier datagram met (ICMP) is reported on the next call, once.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return socket.send_to(datagram, to);
            }
            result => return result,
        }
    }
}
