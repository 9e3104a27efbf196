//! Copies of older frames behind a new one, so that a lost datagram takes nothing with it for good.
//!
//! The idea is that of RFC 2198 (RTP payload for redundant audio data), with the unchanged packet as redundancy: what is
//! recovered is what was sent, bit by bit, and the decoder's state stays that of the encoder. How far back the copies
//! reach decides how long a burst of loss they bridge, and how long a listener must wait for them; whoever sets them
//! ([`crate::adapt`]) knows both.
//!
//! A talk spurt's last frames have no newer ones to ride on. They are the gate's hang-over, which is silence, and no
//! datagrams are made for them. Frames of an earlier spurt are not sent again.

use crate::EncodedFrame;
use crate::limits::{MAX_COPIES, MAX_DATAGRAM_OPUS_BYTES, MAX_OPUS_BYTES, MAX_REACH_FRAMES};

/// The last frames, and which of them go with the next one.
pub struct Redundancy {
    /// Frame `n` of the spurt is in slot `n % MAX_REACH_FRAMES`.
    ring: Box<[Kept; MAX_REACH_FRAMES]>,
    /// Frames of the spurt so far, and how many of the last of them wait to go with the next one.
    sent: usize,
    held: usize,
    offsets: [u8; MAX_COPIES],
}

#[derive(Clone, Copy)]
struct Kept {
    sequence: u32,
    level: u8,
    length: usize,
    opus: [u8; MAX_OPUS_BYTES],
}

impl Kept {
    fn frame(&self) -> EncodedFrame<'_> {
        let Self { sequence, level, length, .. } = *self;
        // The spurt's last frame is never copied.
        EncodedFrame { sequence, end: false, level, opus: &self.opus[..length] }
    }
}

impl Default for Redundancy {
    fn default() -> Self {
        Self::new()
    }
}

impl Redundancy {
    /// Without copies until they are set.
    pub fn new() -> Self {
        let kept = Kept { sequence: 0, level: 0, length: 0, opus: [0; MAX_OPUS_BYTES] };
        Self { ring: Box::new([kept; MAX_REACH_FRAMES]), sent: 0, held: 0, offsets: [0; MAX_COPIES] }
    }

    /// Which copies go with each frame from now on: distances back in frames, growing, each 1 to [`MAX_REACH_FRAMES`], at most
    /// [`MAX_COPIES`]; what is beyond that, and 0, stands for no copy.
    pub fn set(&mut self, offsets: &[u8]) {
        self.offsets = [0; MAX_COPIES];
        for (slot, &offset) in self.offsets.iter_mut().zip(offsets) {
            *slot = if usize::from(offset) <= MAX_REACH_FRAMES { offset } else { 0 };
        }
    }

    /// Nothing sent so far is copied: frames have another length now, and distances another meaning.
    pub fn forget(&mut self) {
        (self.sent, self.held) = (0, 0);
    }

    /// The distances set.
    pub fn offsets(&self) -> impl Iterator<Item = u8> + '_ {
        self.offsets.iter().copied().filter(|&offset| offset > 0)
    }

    /// Keeps a frame that goes with the next one, in the same datagram: the sound before a spurt, whose time is over.
    pub fn hold(&mut self, frame: EncodedFrame<'_>) {
        self.keep(frame);
        self.held = (self.held + 1).min(self.sent).min(MAX_REACH_FRAMES);
    }

    /// Hands out `frame` with what was held and its copies, newest first, as many as [`MAX_DATAGRAM_OPUS_BYTES`] have room for, and
    /// remembers it. Returns the number of copies. Allocates nothing.
    pub fn send(&mut self, frame: EncodedFrame<'_>, send: &mut dyn FnMut(&[EncodedFrame<'_>])) -> usize {
        let mut datagram = [frame; 1 + MAX_REACH_FRAMES];
        let (mut frames, mut bytes) = (1, frame.opus.len());
        let held = std::mem::take(&mut self.held);
        let copies = self.offsets().map(usize::from).filter(|&offset| held < offset && offset <= self.sent);
        for offset in (1..=held).chain(copies) {
            let copy = self.ring[(self.sent - offset) % MAX_REACH_FRAMES].frame();
            bytes += copy.opus.len();
            if bytes > MAX_DATAGRAM_OPUS_BYTES {
                break;
            }
            datagram[frames] = copy;
            frames += 1;
        }
        send(&datagram[..frames]);
        self.keep(frame);
        (frames - 1).saturating_sub(held)
    }

    fn keep(&mut self, frame: EncodedFrame<'_>) {
        if frame.end {
            (self.sent, self.held) = (0, 0);
            return;
        }
        let EncodedFrame { sequence, level, opus, .. } = frame;
        let kept = &mut self.ring[self.sent % MAX_REACH_FRAMES];
        (kept.sequence, kept.level, kept.length) = (sequence, level, opus.len().min(MAX_OPUS_BYTES));
        kept.opus[..kept.length].copy_from_slice(&opus[..kept.length]);
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends frames `from..to` of `bytes` bytes each, which hold their number; the sequences of each datagram.
    fn sent(redundancy: &mut Redundancy, from: u32, to: u32, bytes: usize) -> Vec<Vec<u32>> {
        let mut datagrams = Vec::new();
        for n in from..to {
            let opus = vec![n as u8; bytes];
            let frame = EncodedFrame { sequence: n, end: n + 1 == to, level: n as u8, opus: &opus };
            let copies = redundancy.send(frame, &mut |datagram| {
                for (index, f) in datagram.iter().enumerate() {
                    assert_eq!((f.opus, f.level), (&vec![f.sequence as u8; bytes][..], f.sequence as u8));
                    assert_eq!(f.end, index == 0 && n + 1 == to);
                }
                datagrams.push(datagram.iter().map(|f| f.sequence).collect());
            });
            assert_eq!(datagrams.last().map(Vec::len), Some(copies + 1));
        }
        datagrams
    }

    #[test]
    fn copies_are_what_was_sent_so_many_frames_before_in_the_same_spurt() {
        let mut redundancy = Redundancy::new();
        assert_eq!(sent(&mut redundancy, 0, 2, 80), [[0], [1]]);
        redundancy.set(&[1, 3]);
        let datagrams = sent(&mut redundancy, 10, 15, 80);
        assert_eq!(datagrams, [vec![10], vec![11, 10], vec![12, 11], vec![13, 12, 10], vec![14, 13, 11]]);
        assert_eq!(
            sent(&mut redundancy, 20, 22, 80),
            [vec![20], vec![21, 20]],
            "nothing of an earlier spurt"
        );
        redundancy.set(&[]);
        assert_eq!(sent(&mut redundancy, 30, 32, 80), [[30], [31]]);
    }

    #[test]
    fn what_was_held_goes_with_the_next_frame_once() {
        let mut redundancy = Redundancy::new();
        redundancy.set(&[1, 4]);
        let frame = |sequence| EncodedFrame { sequence, end: false, level: 0, opus: &[1, 2] };
        redundancy.hold(frame(0));
        redundancy.hold(frame(1));
        let mut datagrams = Vec::new();
        let copies: Vec<usize> = (2..6)
            .map(|n| {
                redundancy.send(frame(n), &mut |datagram| {
                    datagrams.push(datagram.iter().map(|f| f.sequence).collect::<Vec<_>>());
                })
            })
            .collect();
        assert_eq!(datagrams, [vec![2, 1, 0], vec![3, 2], vec![4, 3, 0], vec![5, 4, 1]]);
        assert_eq!(copies, [0, 1, 2, 2], "what was held is no copy");
    }

    #[test]
    fn the_farthest_copy_is_in_reach_and_one_farther_is_none() {
        let mut redundancy = Redundancy::new();
        let farthest = MAX_REACH_FRAMES as u8;
        redundancy.set(&[0, farthest, farthest + 1, 1]);
        assert_eq!(redundancy.offsets().collect::<Vec<_>>(), [farthest]);
        let datagrams = sent(&mut redundancy, 0, 100, 80);
        assert_eq!(datagrams[MAX_REACH_FRAMES - 1].len(), 1);
        assert!((MAX_REACH_FRAMES..100).all(|n| datagrams[n] == [n as u32, n as u32 - u32::from(farthest)]));
    }

    #[test]
    fn the_oldest_copies_give_way_when_a_datagram_is_full() {
        let mut redundancy = Redundancy::new();
        redundancy.set(&[1, 2, 3]);
        let longest = |bytes| {
            let mut redundancy = Redundancy::new();
            redundancy.set(&[1, 2, 3]);
            sent(&mut redundancy, 0, 20, bytes).last().map(Vec::len)
        };
        let cases = [(80, 4), (MAX_DATAGRAM_OPUS_BYTES / 3, 3), (MAX_DATAGRAM_OPUS_BYTES / 2 + 1, 1)];
        for (bytes, frames) in cases.into_iter().chain([(MAX_OPUS_BYTES, 1)]) {
            assert_eq!(longest(bytes), Some(frames), "{bytes} bytes");
        }
        assert_eq!(sent(&mut redundancy, 0, 3, 500)[2], [2, 1]);
    }
}
