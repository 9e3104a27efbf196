//! One call for each datagram, where a system has nothing better. The socket must be non-blocking.

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    os::fd::BorrowedFd,
};

use socket2::SockRef;

use super::{RECEIVED_BYTES, Received};

#[derive(Debug)]
pub(super) struct Inbox {
    slots: Vec<Slot>,
    received: usize,
    /// What a datagram is received into: a buffer that the system may leave unwritten.
    buffer: Vec<MaybeUninit<u8>>,
}

#[derive(Clone, Debug)]
struct Slot {
    from: SocketAddr,
    bytes: Vec<u8>,
}

impl Inbox {
    pub(super) fn new(batch: usize) -> Self {
        let from = (Ipv4Addr::UNSPECIFIED, 0).into();
        let slots = (0..batch).map(|_| Slot { from, bytes: Vec::with_capacity(RECEIVED_BYTES) }).collect();
        Self { slots, received: 0, buffer: vec![MaybeUninit::uninit(); RECEIVED_BYTES] }
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        let socket = SockRef::from(&socket);
        for slot in &mut self.slots {
            let (count, from) = match socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if self.received == 0 => return Err(error),
                Err(_) => break,
            };
            slot.bytes.clear();
            let written = self.buffer.get(..count).unwrap_or_default();
            // SAFETY: `recv_from` promises that it wrote as many bytes as it says, at the front of the buffer.
            slot.bytes.extend(written.iter().map(|byte| unsafe { byte.assume_init() }));
            slot.from = from.as_socket().unwrap_or(slot.from);
            self.received += 1;
        }
        Ok(self.received)
    }

    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = Received<'_>> {
        let slots = self.slots.iter_mut().take(self.received);
        slots.map(|slot| Received { from: slot.from, bytes: &mut slot.bytes, time_ns: None })
    }
}

#[derive(Debug)]
pub(super) struct Outgoing;

impl Outgoing {
    pub(super) fn new(_chunk: usize) -> Self {
        Self
    }

    pub(super) fn prepare(&mut self, _bytes: &[u8], _chunk: &[(Range<usize>, SocketAddr)]) {}

    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        rest: &[(Range<usize>, SocketAddr)],
        _first: usize,
    ) -> io::Result<usize> {
        let Some((range, to)) = rest.first() else { return Ok(0) };
        let bytes = bytes.get(range.clone()).unwrap_or_default();
        SockRef::from(&socket).send_to(bytes, &(*to).into()).map(|_| 1)
    }
}

pub(super) fn enable_times(_socket: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn kernel_drops(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}
