//! One direction of a relayed connection: bytes on their way, in order, each with the time of its arrival.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use super::link::{Direction, Link};

/// The longest segment.
const SEGMENT_BYTES: usize = 1460;
/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// How a direction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// Whoever sent has said all.
    Fin,
    /// Whoever sent is gone.
    Reset,
}

/// What a pipe's reader has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Given {
    /// Wait.
    SoFar,
    /// It is over, in this way; said once.
    All(Finish),
    /// Whoever was to read is gone.
    Nobody,
}

#[derive(Debug)]
pub(super) struct Pipe {
    direction: Direction,
    bytes: VecDeque<u8>,
    /// When how many of the bytes arrive.
    segments: VecDeque<(u64, usize)>,
    last_due_us: u64,
    /// What comes behind the bytes, and when.
    finish: Option<(u64, Finish)>,
    has_finished: bool,
    /// The system takes no more for the reader.
    is_blocked: bool,
}

impl Pipe {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            bytes: VecDeque::new(),
            segments: VecDeque::new(),
            last_due_us: 0,
            finish: None,
            has_finished: false,
            is_blocked: false,
        }
    }

    /// Whether it takes more. A window opens again when half of it is free: else every segment that is short made
    /// another one (RFC 813's silly window).
    pub(super) fn has_room(&self, link: &Link) -> bool {
        self.finish.is_none() && self.bytes.len() <= link.window() / 2
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    pub(super) fn unblock(&mut self) {
        self.is_blocked = false;
    }

    /// Its end has been handed over.
    pub(super) fn has_finished(&self) -> bool {
        self.has_finished
    }

    /// When to call [`Self::give`].
    pub(super) fn next_due(&self, link: &Link) -> Option<u64> {
        if self.is_blocked || self.has_finished {
            return None;
        }
        let next = self.segments.front().map(|(due_us, _)| *due_us);
        let due_us = next.or(self.finish.map(|(due_us, _)| due_us))?;
        Some(due_us.max(link.held_until(self.direction)))
    }

    /// Reads once, as much as there is room for. How much that was.
    pub(super) fn take(&mut self, now_us: u64, mut from: impl Read, link: &mut Link) -> usize {
        if !self.has_room(link) {
            return 0;
        }
        let mut buffer = [0; READ_BYTES];
        let room = (link.window() - self.bytes.len()).min(READ_BYTES);
        let count = match from.read(&mut buffer[..room]) {
            Ok(0) => return self.end(now_us, Finish::Fin, link),
            Ok(count) => count,
            Err(error) if is_passing(&error) => return 0,
            Err(_) => return self.end(now_us, Finish::Reset, link),
        };
        self.bytes.extend(&buffer[..count]);
        let mut left = count;
        while left > 0 {
            let (bytes, due_us) = link.segment(now_us, self.direction, left.min(SEGMENT_BYTES));
            self.last_due_us = self.last_due_us.max(due_us);
            self.segments.push_back((self.last_due_us, bytes));
            left -= bytes;
        }
        count
    }

    fn end(&mut self, now_us: u64, finish: Finish, link: &mut Link) -> usize {
        let (_, due_us) = link.segment(now_us, self.direction, 0);
        self.finish = Some((self.last_due_us.max(due_us), finish));
        0
    }

    /// Writes what has arrived, each segment by itself: a reader that is quick finds them one by one.
    pub(super) fn give(&mut self, now_us: u64, mut to: impl Write, link: &Link) -> Given {
        while self.next_due(link).is_some_and(|due_us| due_us <= now_us) {
            let Some((_, left)) = self.segments.front_mut() else {
                self.has_finished = true;
                return self.finish.map_or(Given::SoFar, |(_, finish)| Given::All(finish));
            };
            let front = self.bytes.as_slices().0;
            match to.write(&front[..front.len().min(*left)]) {
                Ok(count) => {
                    self.bytes.drain(..count);
                    *left -= count;
                    if *left == 0 {
                        self.segments.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => self.is_blocked = true,
                Err(_) => return Given::Nobody,
            }
        }
        Given::SoFar
    }
}

/// Nothing is wrong: it does not work yet. (Some systems say so of a socket that is still connecting.)
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::orders::conditions;

    fn link(spec: &str) -> Link {
        Link::new(conditions(spec).unwrap(), 1)
    }

    #[test]
    fn bytes_arrive_late_and_in_order_and_then_the_end() {
        let (mut link, mut pipe, mut out) = (link("delay=20,jitter=50"), Pipe::new(Direction::Up), vec![]);
        let said: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        let mut from = said.as_slice();
        assert_eq!(pipe.take(0, &mut from, &mut link), READ_BYTES);
        assert_eq!(pipe.give(19_999, &mut out, &link), Given::SoFar);
        assert!(out.is_empty());
        assert_eq!(pipe.take(10_000, &mut from, &mut link), said.len() - READ_BYTES);
        assert_eq!(pipe.take(10_000, &mut from, &mut link), 0);
        assert!(!pipe.has_room(&link));
        assert_eq!(pipe.give(80_000, &mut out, &link), Given::All(Finish::Fin));
        assert_eq!(out, said);
        assert_eq!((pipe.has_finished(), pipe.next_due(&link)), (true, None));
    }

    #[test]
    fn no_more_than_the_window_is_under_way() {
        let (mut link, mut pipe) = (link("delay=0,window=2"), Pipe::new(Direction::Down));
        let mut from = io::repeat(7);
        assert_eq!(pipe.take(0, &mut from, &mut link), 2048);
        assert!(!pipe.has_room(&link));
        assert_eq!(pipe.take(0, &mut from, &mut link), 0);
        for (taken, has_room) in [(1023, false), (1, true)] {
            // The reader takes so many bytes and is full.
            pipe.unblock();
            assert_eq!(pipe.give(0, &mut Narrow(&mut vec![0; taken]), &link), Given::SoFar);
            assert!(pipe.is_blocked() && pipe.next_due(&link).is_none());
            assert_eq!(pipe.has_room(&link), has_room);
        }
        assert_eq!(pipe.take(0, &mut from, &mut link), 1024);
    }

    /// A socket whose buffer is full when the slice is.
    struct Narrow<'a>(&'a mut [u8]);

    impl Write for Narrow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.write(bytes) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                result => result,
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_segments_are_written_one_by_one() {
        struct Counting(usize);
        impl Write for Counting {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut link, mut pipe) = (link("delay=0,short=100"), Pipe::new(Direction::Up));
        let mut writes = Counting(0);
        pipe.take(0, [1; 800].as_slice(), &mut link);
        pipe.give(0, &mut writes, &link);
        assert!((120..300).contains(&writes.0), "{}", writes.0);
    }

    #[test]
    fn what_is_held_comes_when_the_link_is_whole_again() {
        let (mut link, mut pipe, mut out) = (link("delay=10"), Pipe::new(Direction::Down), vec![]);
        pipe.take(0, b"now".as_slice(), &mut link);
        link.part(0, &[Direction::Down], 1_000_000);
        assert_eq!(pipe.give(999_999, &mut out, &link), Given::SoFar);
        assert!(out.is_empty());
        let due_us = pipe.next_due(&link).unwrap();
        assert!((1_000_000..1_700_000).contains(&due_us));
        pipe.give(due_us, &mut out, &link);
        assert_eq!(out, b"now");
    }
}
