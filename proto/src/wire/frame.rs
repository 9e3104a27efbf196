//! Frames on the control connection: a length (4 bytes, big-endian) and that many bytes of body.
//!
//! Knows no message: what a body means is a dialect's matter.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::audit::ensure;

/// Bytes of the length before each body.
pub const HEADER_BYTES: usize = 4;

/// Puts the header of a frame into `out` and lets `body` write its body behind it.
pub fn write(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    body(out);
    let length = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + HEADER_BYTES) {
        header.copy_from_slice(&length.to_be_bytes());
    }
}

/// The peer announced a frame larger than it may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oversized {
    /// What it announced, in bytes.
    pub announced: usize,
    /// What it may send.
    pub limit: usize,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes was announced, at most {} are allowed", self.announced, self.limit)
    }
}

/// Cuts a byte stream, however it arrives, into frames. Holds at most one chunk and one frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were already handed out.
    taken: usize,
}

impl FrameReader {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The body of the next whole frame, if one is there; `limit` bytes at most. After an error the stream has no
    /// meaning any more; the error is repeated.
    pub fn next_frame(&mut self, limit: usize) -> Result<Option<&[u8]>, Oversized> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            self.release();
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*header) as usize;
        if announced > limit {
            return Err(Oversized { announced, limit });
        }
        if rest.len() < announced {
            return Ok(None);
        }
        let start = self.taken + HEADER_BYTES;
        self.taken = start + announced;
        Ok(self.buffer.get(start..self.taken))
    }

    /// Bytes that wait to become whole frames.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// What must hold when [`FrameReader::next_frame`] had no more: less than one frame of at most `limit` bytes waits.
    pub(crate) fn audit(&self, limit: usize) -> Result<(), String> {
        ensure!(self.taken <= self.buffer.len(), "{} bytes were taken of {}", self.taken, self.buffer.len());
        let waiting = self.buffer.get(self.taken..).unwrap_or_default();
        if waiting.is_empty() {
            let kept = self.buffer.capacity();
            ensure!(kept == 0, "{kept} bytes are kept for nothing");
        }
        if let Some((header, body)) = waiting.split_first_chunk::<HEADER_BYTES>() {
            let announced = u32::from_be_bytes(*header) as usize;
            ensure!(announced <= limit, "a frame of {announced} bytes waits, the limit is {limit}");
            ensure!(body.len() < announced, "a whole frame of {announced} bytes waits in {}", body.len());
        }
        Ok(())
    }

    /// An idle connection keeps no buffer.
    fn release(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::audit::assert_told;

    #[test]
    fn a_frame_larger_than_allowed_is_refused_before_it_is_read() {
        let mut reader = FrameReader::default();
        reader.push(&[0, 0, 0, 9, 1, 2]);
        assert_eq!(reader.next_frame(8), Err(Oversized { announced: 9, limit: 8 }));
        assert_eq!(reader.next_frame(9), Ok(None));
    }

    #[test]
    fn frames_come_out_as_they_went_in_and_the_buffer_goes_away() {
        let mut stream = Vec::new();
        write(&mut stream, |out| out.extend_from_slice(b"one"));
        write(&mut stream, |_| {});
        write(&mut stream, |out| out.extend_from_slice(b"three"));
        let mut reader = FrameReader::default();
        reader.push(&stream);
        let mut bodies = vec![];
        while let Some(body) = reader.next_frame(100).unwrap() {
            bodies.push(body.to_vec());
        }
        assert_eq!(bodies, [b"one".to_vec(), vec![], b"three".to_vec()]);
        assert_eq!((reader.buffered(), reader.buffer.capacity()), (0, 0));
    }

    #[test]
    fn an_audit_tells_what_should_not_wait() {
        let sound = || {
            let mut reader = FrameReader::default();
            reader.push(&[0, 0, 0, 1, 7, 0, 0, 0, 3, 1, 2]);
            while reader.next_frame(3).unwrap().is_some() {}
            reader
        };
        assert_told(
            sound,
            |reader| reader.audit(3),
            &[
                ("a whole frame of 3 bytes waits in 3", |reader| reader.push(&[3])),
                ("a frame of 4 bytes waits, the limit is 3", |reader| reader.buffer[8] = 4),
                ("16 bytes are kept for nothing", |reader| {
                    (reader.buffer, reader.taken) = (Vec::with_capacity(16), 0);
                }),
                ("12 bytes were taken of 11", |reader| reader.taken = 12),
            ],
        );
    }
}
