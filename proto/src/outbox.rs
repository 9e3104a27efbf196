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

/// Whole frames in order, the first perhaps partly written.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<(Class, Vec<u8>)>,
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
        self.frames.push_back((class, bytes.to_vec()));
        Ok(())
    }

    /// What to write next; `None` when nothing waits.
    pub fn front(&self) -> Option<&[u8]> {
        let (_, frame) = self.frames.front()?;
        frame.get(self.written..)
    }

    /// Notes that the first `count` bytes of [`Self::front`] were written.
    pub fn consume(&mut self, count: usize) {
        self.written += count;
        let Some((class, frame)) = self.frames.front() else { return };
        if self.written >= frame.len() {
            match class {
                Class::Control => self.control_bytes -= frame.len(),
                Class::Voice => self.voice_bytes -= frame.len(),
            }
            self.frames.pop_front();
            self.written = 0;
            if self.frames.is_empty() {
                // An idle connection keeps no buffer.
                self.frames = VecDeque::new();
            }
        }
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
        let of = |class| self.frames.iter().filter(|(c, _)| *c == class).map(|(_, f)| f.len()).sum::<usize>();
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
        let oldest = (first..self.frames.len())
            .find(|&at| self.frames.get(at).is_some_and(|(class, _)| may_go(*class)));
        let Some((class, frame)) = oldest.and_then(|at| self.frames.remove(at)) else { return false };
        match class {
            Class::Control => self.control_bytes -= frame.len(),
            Class::Voice => self.voice_bytes -= frame.len(),
        }
        self.voice_dropped += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

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
        assert_eq!(outbox.push(Class::Control, &[0; 9]), Err(Overflow));
        outbox.consume(4096);
        assert_eq!(
            outbox.push(Class::Control, &[0]),
            Err(Overflow),
            "what comes behind a gap is not written"
        );
    }
}
