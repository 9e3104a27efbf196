//! The ordered output queue of a machine: what is queued lives in recycled buffers and is lent to whoever polls it.

use alloc::{collections::VecDeque, string::String, vec::Vec};
use core::ops::Range;

use crate::{
    audit::{at_most, ensure},
    ids::Peer,
};

/// Buffers that grew past this are given back when the queue is empty.
const KEPT_BYTES: usize = 256 * 1024;
const KEPT_PEERS: usize = 32 * 1024;
const KEPT_ITEMS: usize = 4 * 1024;

/// Queued outputs of type `T`, each with bytes and recipients of its own. Steady use allocates nothing.
#[derive(Debug)]
pub(crate) struct OutQueue<T> {
    items: VecDeque<(T, Range<usize>, Range<usize>)>,
    bytes: Vec<u8>,
    peers: Vec<Peer>,
}

impl<T> Default for OutQueue<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: Vec::new(), peers: Vec::new() }
    }
}

impl<T> OutQueue<T> {
    /// Queues `item`, with the bytes and recipients that `fill` appends.
    pub(crate) fn push(&mut self, item: T, fill: impl FnOnce(&mut Vec<u8>, &mut Vec<Peer>)) {
        self.recycle();
        let (bytes, peers) = (self.bytes.len(), self.peers.len());
        fill(&mut self.bytes, &mut self.peers);
        self.items.push_back((item, bytes..self.bytes.len(), peers..self.peers.len()));
    }

    /// The oldest output with its bytes and recipients.
    pub(crate) fn pop(&mut self) -> Option<(T, &[u8], &[Peer])> {
        let Some((item, bytes, peers)) = self.items.pop_front() else {
            self.recycle();
            return None;
        };
        let bytes = self.bytes.get(bytes).unwrap_or_default();
        let peers = self.peers.get(peers).unwrap_or_default();
        Some((item, bytes, peers))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What must hold once everything was polled.
    pub(crate) fn audit(&self) -> Result<(), String> {
        ensure!(self.items.is_empty(), "{} were not polled", self.items.len());
        at_most("bytes kept", self.bytes.capacity(), KEPT_BYTES)?;
        at_most("recipients kept", self.peers.capacity(), KEPT_PEERS)?;
        at_most("places kept", self.items.capacity(), KEPT_ITEMS)
    }

    fn recycle(&mut self) {
        if self.items.is_empty() {
            self.bytes.clear();
            self.peers.clear();
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
            if self.peers.capacity() > KEPT_PEERS {
                self.peers = Vec::new();
            }
            if self.items.capacity() > KEPT_ITEMS {
                self.items = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::assert_told;

    #[test]
    fn what_was_queued_comes_out_in_order_and_large_buffers_go_away() {
        let mut queue = OutQueue::default();
        let count = 2 * KEPT_ITEMS as u32;
        for n in 0..count {
            queue.push(n, |bytes, peers| {
                bytes.extend_from_slice(&[n as u8; 100]);
                peers.extend([Peer::new(n); 10]);
            });
        }
        for n in 0..count {
            assert_eq!(queue.pop(), Some((n, &[n as u8; 100][..], &[Peer::new(n); 10][..])));
        }
        assert_eq!(queue.pop(), None);
        assert_eq!((queue.bytes.capacity(), queue.peers.capacity(), queue.items.capacity()), (0, 0, 0));
    }

    #[test]
    fn an_audit_tells_what_is_left_behind() {
        assert_told(
            OutQueue::<u32>::default,
            OutQueue::audit,
            &[
                ("1 were not polled", |queue| queue.push(1, |_, _| {})),
                ("bytes kept: 262145", |queue| queue.bytes = Vec::with_capacity(KEPT_BYTES + 1)),
                ("recipients kept: 32769", |queue| queue.peers = Vec::with_capacity(KEPT_PEERS + 1)),
                ("places kept: 4097", |queue| queue.items = VecDeque::with_capacity(KEPT_ITEMS + 1)),
            ],
        );
    }
}
