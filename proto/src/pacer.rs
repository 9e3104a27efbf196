//! In what portions, and how fast, a classic connection is written to: its wire has no framing, so that what one write sends is
//! to be what one read of the peer gives. Each message is a write of its own, and there is a pause before the next.
//!
//! Messages wait in an [`Outbox`], whose limits hold. Knows no socket: the driver writes what there is of the piece.

use alloc::vec::Vec;

use crate::{
    hooks::{Mistake, is_made},
    limits::CLASSIC_BYTES,
    outbox::Outbox,
    time::{Duration, Instant},
};

/// Between two writes: time for the peer to read what came with the first.
pub const PACE: Duration = Duration::from_millis(5);
/// When more than so many messages wait, those that fit one read go as lines of one write: an original peer shows them alike,
/// and nobody who talks much is ever behind.
pub const BACKLOG: usize = 8;

/// What there is to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Something, but not before then.
    At(Instant),
    /// [`Pacer::piece`].
    Piece,
}

/// What is being written to one classic connection.
#[derive(Debug, Default)]
pub struct Pacer {
    /// What is left of it.
    piece: Vec<u8>,
    /// The peer ends its lines, as `nc` does: it shows what it reads as it comes, so that its lines are ended, too.
    ends_lines: bool,
    next_write: Instant,
}

impl Pacer {
    /// Notes what one read of the peer's gave.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.ends_lines |= bytes.last() == Some(&b'\n');
    }

    /// Looks what is to be written now, and takes the next piece from the outbox when it is time for one.
    pub fn next(&mut self, now: Instant, outbox: &mut Outbox) -> Next {
        if self.piece.is_empty() {
            if outbox.is_empty() {
                return Next::Nothing;
            }
            if now < self.next_write {
                return Next::At(self.next_write);
            }
            self.take_piece(outbox);
        }
        Next::Piece
    }

    /// What is to be written at once, if the socket takes so much.
    pub fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// The first `count` bytes of the piece were written.
    pub fn wrote(&mut self, now: Instant, count: usize) {
        self.piece.drain(..count.min(self.piece.len()));
        if self.piece.is_empty() {
            self.next_write = now + PACE;
        }
    }

    fn take_piece(&mut self, outbox: &mut Outbox) {
        let is_behind = outbox.frames() > BACKLOG;
        if is_behind && is_made(Mistake::ClassicLineSkipped) {
            outbox.consume(outbox.front().map_or(0, <[u8]>::len));
        }
        while let Some(message) = outbox.front() {
            let room = CLASSIC_BYTES.saturating_sub(self.piece.len() + 1);
            if !self.piece.is_empty() && (!is_behind || message.len() > room) {
                break;
            }
            if !self.piece.is_empty() {
                self.piece.push(b'\n');
            }
            self.piece.extend_from_slice(message);
            let bytes = message.len();
            outbox.consume(bytes);
        }
        if self.ends_lines && !is_made(Mistake::ClassicLineOpen) {
            self.piece.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec};

    use super::*;
    use crate::outbox::Class;

    const NOW: Instant = Instant::from_micros(1);

    fn outbox(messages: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for message in messages {
            outbox.push(Class::Control, message.as_bytes()).unwrap();
        }
        outbox
    }

    /// The pieces, each written when it is time.
    fn pieces(pacer: &mut Pacer, outbox: &mut Outbox) -> Vec<String> {
        let (mut now, mut pieces) = (NOW, vec![]);
        loop {
            match pacer.next(now, outbox) {
                Next::Nothing => return pieces,
                Next::At(due) => now = due,
                Next::Piece => {
                    pieces.push(String::from_utf8(pacer.piece().to_vec()).unwrap());
                    pacer.wrote(now, pacer.piece().len());
                }
            }
        }
    }

    #[test]
    fn each_message_has_its_time() {
        let (mut pacer, mut outbox) = (Pacer::default(), outbox(&["one", "two"]));
        assert_eq!(pacer.next(NOW, &mut outbox), Next::Piece);
        pacer.wrote(NOW, 2);
        // What is left of it goes as soon as it can.
        assert_eq!((pacer.next(NOW, &mut outbox), pacer.piece()), (Next::Piece, &b"e"[..]));
        pacer.wrote(NOW, 1);
        assert_eq!(pacer.next(NOW, &mut outbox), Next::At(NOW + PACE));
        assert_eq!((pacer.next(NOW + PACE, &mut outbox), pacer.piece()), (Next::Piece, &b"two"[..]));
        pacer.wrote(NOW + PACE, 3);
        assert_eq!(pacer.next(NOW + PACE, &mut outbox), Next::Nothing);
    }

    #[test]
    fn who_ends_lines_gets_lines() {
        let mut pacer = Pacer::default();
        pacer.heard(b"Fo");
        pacer.heard(b"o\n");
        assert_eq!(pieces(&mut pacer, &mut outbox(&["one", "two"])), ["one\n", "two\n"]);
    }

    #[test]
    fn who_is_far_behind_gets_lines_as_many_as_fit_one_read() {
        let message = "m".repeat(100);
        let mut outbox = outbox(&[message.as_str(); BACKLOG + 3]);
        let expected = [[message.as_str(); 10].join("\n"), message];
        assert_eq!(pieces(&mut Pacer::default(), &mut outbox), expected);
    }
}
