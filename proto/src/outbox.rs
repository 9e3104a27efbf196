//! What waits to be written to one control connection, and the rule for when too much does.
//!
//! Voice may be dropped, oldest first; control frames never are: when too many pile up, the reader is not keeping up
//! and its connection ends (it can resume). Knows no socket: the driver takes bytes from the front as they can be written.

use alloc::{collections::VecDeque, format, string::String, vec::Vec};

use crate::hooks::{Limit, Mistake, is_made};
#[cfg(test)]
use crate::limits::{CONTROL_QUEUE_BYTES, VOICE_QUEUE_BYTES};

/// What may be done with queued bytes when their reader is slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Never dropped.
    Control,
    /// Dropped, oldest first, when more than [`crate::limits::VOICE_QUEUE_BYTES`] wait.
    Voice,
}

/// More than [`crate::limits::CONTROL_QUEUE_BYTES`] of control frames wait: close this connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

/// Frames are put together into pieces of so many bytes, and larger ones are pieces by themselves: a piece is what is
/// written at once, and given back at once. As much as one TLS record takes.
const PIECE_BYTES: usize = 16 * 1024;
/// What a piece begins with, so that it seldom has to grow.
const FIRST_BYTES: usize = 512;

/// Whole frames in order, the first perhaps partly written.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The bytes of all frames. No frame is in two pieces.
    pieces: VecDeque<Vec<u8>>,
    /// The length of each frame.
    frames: VecDeque<(Class, usize)>,
    /// Bytes of the first piece that were written.
    gone: usize,
    /// Bytes of the first frame that were written.
    written: usize,
    control_bytes: usize,
    voice_bytes: usize,
    voice_dropped: u64,
    /// A control frame found no room: a smaller one behind it is not to take its place.
    has_overflowed: bool,
}

impl Outbox {
    /// Queues whole frames of one class.
    ///
    /// # Errors
    ///
    /// There was no room for a control frame, now or once before.
    pub fn push(&mut self, class: Class, bytes: &[u8]) -> Result<(), Overflow> {
        match class {
            Class::Control => {
                let is_full = self.control_bytes + bytes.len() > Limit::ControlQueueBytes.value();
                self.has_overflowed |= is_full;
                if self.has_overflowed {
                    return Err(Overflow);
                }
                self.control_bytes += bytes.len();
            }
            Class::Voice => {
                let most = Limit::VoiceQueueBytes.value();
                let is_full = |voice_bytes: usize| {
                    voice_bytes + bytes.len() > most && !is_made(Mistake::VoiceQueueGrows)
                };
                while is_full(self.voice_bytes) && self.drop_oldest_voice() {}
                if is_full(self.voice_bytes) {
                    self.voice_dropped += 1;
                    return Ok(());
                }
                self.voice_bytes += bytes.len();
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.frames.push_back((class, bytes.len()));
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE_BYTES => last.extend_from_slice(bytes),
            Some(_) | None => {
                let mut piece = Vec::with_capacity(bytes.len().max(FIRST_BYTES));
                piece.extend_from_slice(bytes);
                self.pieces.push_back(piece);
            }
        }
        Ok(())
    }

    /// What to write next of the first frame; `None` when nothing waits.
    pub fn front(&self) -> Option<&[u8]> {
        let (_, length) = self.frames.front()?;
        self.front_piece()?.get(..length - self.written)
    }

    /// What to write next, of as many frames as lie together; `None` when nothing waits.
    pub fn front_piece(&self) -> Option<&[u8]> {
        self.pieces.front()?.get(self.gone..)
    }

    /// Notes that the first `count` bytes of [`Self::front`] or [`Self::front_piece`] were written.
    pub fn consume(&mut self, count: usize) {
        self.gone += count;
        self.written += count;
        while let Some(&(class, length)) = self.frames.front().filter(|(_, length)| *length <= self.written) {
            *self.bytes_of(class) -= length;
            self.written -= length;
            self.frames.pop_front();
        }
        if self.pieces.front().is_some_and(|piece| piece.len() <= self.gone) {
            self.pieces.pop_front();
            self.gone = 0;
        }
        self.release();
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many frames wait.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.control_bytes + self.voice_bytes - self.written
    }

    /// For tests and simulators: whether it is within its limits and its counts are right.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let of =
            |class| self.frames.iter().filter(|(c, _)| *c == class).map(|(_, length)| length).sum::<usize>();
        let kept = self.pieces.iter().map(Vec::len).sum::<usize>();
        let (gone, len) = (self.gone, self.len());
        if kept != gone + len || self.pieces.front().is_some_and(|piece| piece.len() <= gone) {
            let pieces = self.pieces.len();
            return Err(format!("{len} bytes wait, {kept} are kept in {pieces} pieces, {gone} are written"));
        }
        for (class, counted, limit) in [
            (Class::Control, self.control_bytes, Limit::ControlQueueBytes),
            (Class::Voice, self.voice_bytes, Limit::VoiceQueueBytes),
        ] {
            let bytes = of(class);
            if bytes != counted || bytes > limit.value() {
                let limit = limit.value();
                return Err(format!("{bytes} bytes of {class:?} wait, counted as {counted}, of {limit}"));
            }
        }
        Ok(())
    }

    /// Voice frames that were dropped here so far.
    pub fn voice_dropped(&self) -> u64 {
        self.voice_dropped
    }

    /// Drops the oldest voice that is not partly written; false when there is none.
    fn drop_oldest_voice(&mut self) -> bool {
        let first = usize::from(self.written > 0);
        let may_go = |class| class == Class::Voice || is_made(Mistake::TextDropped);
        // Where the frame is that is looked at: in which piece, and where in that.
        let (mut piece, mut start) = (0, self.gone - self.written);
        for at in 0..self.frames.len() {
            if self.pieces.get(piece).is_some_and(|bytes| bytes.len() <= start) {
                (piece, start) = (piece + 1, 0);
            }
            let Some(&(class, length)) = self.frames.get(at) else { return false };
            if at < first || !may_go(class) {
                start += length;
                continue;
            }
            self.frames.remove(at);
            *self.bytes_of(class) -= length;
            self.voice_dropped += 1;
            let gone = if piece == 0 { self.gone } else { 0 };
            if let Some(bytes) = self.pieces.get_mut(piece) {
                bytes.drain(start..start + length);
                if bytes.len() == gone {
                    self.pieces.remove(piece);
                    self.gone -= gone;
                }
            }
            self.release();
            return true;
        }
        false
    }

    /// An idle connection keeps no buffer.
    fn release(&mut self) {
        if self.frames.is_empty() {
            (self.pieces, self.frames) = (VecDeque::new(), VecDeque::new());
        }
    }

    fn bytes_of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Control => &mut self.control_bytes,
            Class::Voice => &mut self.voice_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// The rule, and nothing else: a frame is a frame.
    #[derive(Default)]
    struct Model {
        frames: Vec<(Class, Vec<u8>)>,
        written: usize,
        dropped: u64,
    }

    impl Model {
        fn push(&mut self, class: Class, bytes: Vec<u8>) {
            let waiting = |frames: &[(Class, Vec<u8>)]| {
                frames.iter().filter(|(class, _)| *class == Class::Voice).map(|(_, f)| f.len()).sum::<usize>()
            };
            while class == Class::Voice && waiting(&self.frames) + bytes.len() > VOICE_QUEUE_BYTES {
                self.dropped += 1;
                let first = usize::from(self.written > 0);
                let mut may_go = self.frames.iter().skip(first);
                match may_go.position(|(class, _)| *class == Class::Voice) {
                    Some(at) => drop(self.frames.remove(first + at)),
                    None => return,
                }
            }
            self.frames.push((class, bytes));
        }

        fn consume(&mut self, count: usize) {
            self.written += count;
            while self.frames.first().is_some_and(|(_, frame)| frame.len() <= self.written) {
                self.written -= self.frames.remove(0).1.len();
            }
        }

        fn waiting(&self) -> Vec<u8> {
            self.frames.iter().flat_map(|(_, frame)| frame).copied().skip(self.written).collect()
        }
    }

    proptest! {
        #[test]
        fn frames_that_lie_together_are_still_frames(
            steps in prop::collection::vec((0u8..6, prop_oneof![1usize..100, 1usize..3000, 10_000usize..40_000]), 1..200)
        ) {
            let (mut outbox, mut model) = (Outbox::default(), Model::default());
            for (n, (step, size)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        outbox.push(Class::Control, &vec![n as u8; size]).unwrap();
                        model.push(Class::Control, vec![n as u8; size]);
                    }
                    2 | 3 => {
                        outbox.push(Class::Voice, &vec![n as u8; size]).unwrap();
                        model.push(Class::Voice, vec![n as u8; size]);
                    }
                    _ => {
                        let piece = outbox.front_piece().map_or(0, <[u8]>::len);
                        outbox.consume(size.min(piece));
                        model.consume(size.min(piece));
                    }
                }
                prop_assert_eq!(outbox.audit(), Ok(()));
                let waiting = model.waiting();
                prop_assert_eq!(outbox.len(), waiting.len());
                prop_assert_eq!((outbox.frames(), outbox.voice_dropped()), (model.frames.len(), model.dropped));
                let front = model.frames.first().map(|(_, frame)| &frame[model.written..]);
                prop_assert_eq!(outbox.front(), front);
                let piece = outbox.front_piece().unwrap_or_default();
                prop_assert!(waiting.starts_with(piece) && piece.is_empty() == waiting.is_empty());
            }
            let mut rest = vec![];
            while let Some(piece) = outbox.front_piece() {
                let count = piece.len();
                rest.extend_from_slice(piece);
                outbox.consume(count);
            }
            prop_assert_eq!(rest, model.waiting());
            prop_assert_eq!((outbox.pieces.capacity(), outbox.frames.capacity()), (0, 0));
        }
    }

    fn drained(outbox: &mut Outbox) -> Vec<u8> {
        let mut all = vec![];
        while let Some(front) = outbox.front() {
            let chunk = front[..front.len().min(700)].to_vec();
            outbox.consume(chunk.len());
            all.extend(chunk);
        }
        all
    }

    #[test]
    fn old_voice_gives_way_and_text_never_does() {
        let mut outbox = Outbox::default();
        let voices = VOICE_QUEUE_BYTES / 1024;
        outbox.push(Class::Voice, &[0; 1024]).unwrap();
        outbox.consume(1); // Partly written: it must be finished.
        for n in 1..voices + 2 {
            outbox.push(Class::Control, &[200]).unwrap();
            outbox.push(Class::Voice, &[n as u8; 1024]).unwrap();
        }
        assert_eq!(outbox.voice_dropped(), 2);
        let all = drained(&mut outbox);
        assert_eq!(all.iter().filter(|&&b| b == 200).count(), voices + 1);
        assert_eq!(all.iter().filter(|&&b| b == 0).count(), 1023);
        assert!(!all.contains(&1) && !all.contains(&2) && all.contains(&3));
        assert_eq!((outbox.len(), outbox.frames(), outbox.is_empty()), (0, 0, true));
    }

    #[test]
    fn control_that_piles_up_overflows() {
        let mut outbox = Outbox::default();
        for _ in 0..CONTROL_QUEUE_BYTES / 4096 {
            outbox.push(Class::Control, &[0; 4096]).unwrap();
        }
        // They go into few pieces, each of which is freed when it is written.
        assert_eq!(outbox.pieces.len(), CONTROL_QUEUE_BYTES / PIECE_BYTES);
        assert_eq!(outbox.push(Class::Control, &[0; 9]), Err(Overflow));
        outbox.consume(4096);
        assert_eq!(
            outbox.push(Class::Control, &[0]),
            Err(Overflow),
            "what comes behind a gap is not written"
        );
    }
}
