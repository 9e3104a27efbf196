//! Frames that wait for their turn, in media order; bounded, and their memory is used again.

use std::collections::VecDeque;

use crate::limits::{MAX_BUFFERED_FRAMES, MAX_OPUS_BYTES};

/// `a − b` in serial number arithmetic (RFC 1982).
pub(super) fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// A frame as it waits.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) sequence: u32,
    pub(super) blocks: u32,
    pub(super) end: bool,
    pub(super) opus: Vec<u8>,
}

impl Stored {
    /// The block after the frame's last one.
    pub(super) fn past(&self) -> u32 {
        self.sequence.wrapping_add(self.blocks)
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    frames: VecDeque<Stored>,
    spare: Vec<Vec<u8>>,
}

impl Store {
    /// Puts a frame in its place. True if the oldest had to go for it.
    pub(super) fn insert(&mut self, sequence: u32, blocks: u32, end: bool, opus: &[u8]) -> bool {
        let over = self.frames.len() >= MAX_BUFFERED_FRAMES;
        if over {
            self.drop_first();
        }
        let mut bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(MAX_OPUS_BYTES / 4));
        bytes.extend_from_slice(opus);
        let after = self.frames.iter().rev().take_while(|f| ahead(f.sequence, sequence) > 0).count();
        let at = self.frames.len() - after;
        self.frames.insert(at, Stored { sequence, blocks, end, opus: bytes });
        over
    }

    pub(super) fn first(&self) -> Option<&Stored> {
        self.frames.front()
    }

    pub(super) fn last(&self) -> Option<&Stored> {
        self.frames.back()
    }

    /// Takes the first frame out, in exchange for one that is done with.
    pub(super) fn take_first(&mut self, done: &mut Stored) -> bool {
        let Some(first) = self.frames.pop_front() else { return false };
        self.recycle(std::mem::replace(done, first).opus);
        true
    }

    pub(super) fn drop_first(&mut self) -> bool {
        self.frames.pop_front().map(|f| self.recycle(f.opus)).is_some()
    }

    pub(super) fn clear(&mut self) {
        while self.drop_first() {}
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < MAX_BUFFERED_FRAMES && bytes.capacity() > 0 {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}
