//! Voice on the wire: the payload that a datagram seals, or that a `voice` frame carries over TCP.
//!
//! A payload is one or more frames, each: talker (4 bytes), sequence (4), flags (1: bit 0 ends the talk spurt, others
//! are ignored), level (1), length (2), Opus bytes; numbers are big-endian. Parsing copies nothing.
//!
//! The frames of one talker stand together: the newest first, then copies of older ones, newest first, in case these
//! were lost (the idea of RFC 2198). A copy is the very frame that was sent before.

use alloc::vec::Vec;

use crate::{
    ids::SessionId,
    limits::{FRAMES_PER_DATAGRAM, OPUS_BYTES},
    wire::path::PAYLOAD_BYTES,
};

/// Bytes of a frame before its Opus bytes.
pub const FRAME_HEADER_BYTES: usize = 12;
const FLAG_END: u8 = 1;

/// One Opus packet of one talker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoiceFrame<'a> {
    /// Who talks.
    pub talker: SessionId,
    /// Where the frame begins in the talker's media time, in units of 10 ms; wraps. Silence advances it too.
    pub sequence: u32,
    /// The last frame of a talk spurt.
    pub end: bool,
    /// Audio level in -dBov as in RFC 6464: 0 is the loudest, 127 silence.
    pub level: u8,
    /// The packet, at most [`OPUS_BYTES`].
    pub opus: &'a [u8],
}

impl VoiceFrame<'_> {
    /// Appends the frame to `out`; false, and nothing is appended, when the Opus packet is too large.
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        let Some(length) = u16::try_from(self.opus.len()).ok().filter(|&n| usize::from(n) <= OPUS_BYTES)
        else {
            return false;
        };
        out.extend_from_slice(&self.talker.to_wire().to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&[if self.end { FLAG_END } else { 0 }, self.level.min(127)]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.opus);
        true
    }
}

/// The payload is no sequence of whole voice frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The frames of a payload that was checked as a whole.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Checks that `payload` is 1 to [`FRAMES_PER_DATAGRAM`] whole frames, and small enough for a datagram: what
    /// came over TCP may have to go on by UDP.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        if payload.len() > PAYLOAD_BYTES {
            return Err(Malformed);
        }
        let (mut rest, mut count) = (payload, 0);
        while !rest.is_empty() {
            (_, rest) = split_frame(rest).ok_or(Malformed)?;
            count += 1;
        }
        if (1..=FRAMES_PER_DATAGRAM).contains(&count) { Ok(Self { rest: payload }) } else { Err(Malformed) }
    }

    /// The frames, each with whether it is a copy: not the first one of its talker.
    pub fn with_copies(self) -> impl Iterator<Item = (VoiceFrame<'a>, bool)> {
        self.scan(None, |last, frame| {
            let copy = last.replace(frame.talker) == Some(frame.talker);
            Some((frame, copy))
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = VoiceFrame<'a>;

    fn next(&mut self) -> Option<VoiceFrame<'a>> {
        let (frame, rest) = split_frame(self.rest)?;
        self.rest = rest;
        Some(frame)
    }
}

fn split_frame(bytes: &[u8]) -> Option<(VoiceFrame<'_>, &[u8])> {
    let (&[t0, t1, t2, t3, s0, s1, s2, s3, flags, level, l0, l1], rest) =
        bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length > OPUS_BYTES || level > 127 {
        return None;
    }
    let (opus, rest) = rest.split_at_checked(length)?;
    let talker = SessionId::from_wire(u32::from_be_bytes([t0, t1, t2, t3]));
    let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
    Some((VoiceFrame { talker, sequence, end: flags & FLAG_END != 0, level, opus }, rest))
}
