//! The classic dialect: the group chat of two small Python programs, and of whoever has nothing but `nc`.
//!
//! Its wire has no framing: one read is one message, in UTF-8. So what is said to such a peer goes out in pieces that fit
//! one read, each written by itself (the driver sees to that), and what it says is a message for each portion that is read, or
//! for each line where it sends lines.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::CloseCause;
use crate::{
    audit::at_most,
    hooks::{Mistake, is_made},
    ids::MessageId,
    limits::{CLASSIC_BYTES, CLASSIC_HOLD},
    text::escape,
    time::Instant,
};

/// Says that somebody leaves, in both directions.
pub(super) const QUIT: &str = "{quit}";
/// Asks for a name.
pub(super) const WHO: &str = "Type your name and press enter!";

/// What a classic peer sent and was not handled yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// How many of them were handled; they go all at once, since many lines may come together.
    handled: usize,
    /// What there is may be half of something: it is waited so long for the rest.
    held_until: Option<Instant>,
    /// It ends lines, as `nc` does and the original client does not.
    ends_lines: bool,
    last_id: u64,
}

impl Lines {
    /// Takes what one read gave.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// When what may be half of something is taken for all of it.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Nothing was read for a while: what may be half of something is waited for anew.
    pub(super) fn hold_anew(&mut self) {
        self.held_until = None;
    }

    /// A number for the next message: the dialect has none.
    pub(super) fn next_id(&mut self) -> MessageId {
        self.last_id += 1;
        MessageId::from_wire(self.last_id)
    }

    /// The next message that is not empty. A longer one than [`CLASSIC_BYTES`] is several, as it was for the original server; what
    /// is no UTF-8 is replaced.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        while self.handled < self.bytes.len() {
            let waiting = self.bytes.get(self.handled..).unwrap_or_default();
            let end = waiting.iter().take(CLASSIC_BYTES + 1).position(|&byte| byte == b'\n');
            let (line, all) = match end {
                Some(at) => (at, at + 1),
                None if waiting.len() > CLASSIC_BYTES => {
                    let cut = boundary(waiting, CLASSIC_BYTES);
                    (cut, cut)
                }
                None => {
                    let is_perhaps_half = self.ends_lines || is_perhaps_half(waiting);
                    if is_perhaps_half && now < *self.held_until.get_or_insert(now + CLASSIC_HOLD) {
                        self.forget_handled();
                        return None;
                    }
                    (waiting.len(), waiting.len())
                }
            };
            let text = String::from_utf8_lossy(waiting.get(..line).unwrap_or_default());
            let text = text.trim_end_matches('\r').to_string();
            self.held_until = None;
            self.ends_lines |= end.is_some();
            self.handled += all;
            if !text.trim().is_empty() {
                return Some(text);
            }
        }
        self.held_until = None;
        self.forget_handled();
        None
    }

    fn forget_handled(&mut self) {
        self.bytes.drain(..self.handled);
        self.handled = 0;
        if self.bytes.is_empty() {
            // An idle connection keeps no buffer.
            self.bytes = Vec::new();
        }
    }

    /// What must hold while the peer is read: what waits is a part of a message.
    pub(super) fn audit(&self) -> Result<(), String> {
        at_most("bytes that may be half a message", self.bytes.len(), CLASSIC_BYTES)
    }
}

/// A read may end in the middle of a character, or of `{quit}`.
fn is_perhaps_half(bytes: &[u8]) -> bool {
    // Whatever came before it: bytes that are no character do not make a half one whole.
    let begins = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80);
    let last = begins.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let is_half_character = core::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    let is_half_goodbye = bytes.len() < QUIT.len() && QUIT.as_bytes().starts_with(bytes);
    is_half_character || (is_half_goodbye && !is_made(Mistake::ClassicQuitCut))
}

/// Where to cut `bytes` so that at most `most` come before, and no character is cut in two.
fn boundary(bytes: &[u8], most: usize) -> usize {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (most.saturating_sub(3)..=most).rev().find(|&at| !is_inside(at)).unwrap_or(most).min(bytes.len())
}

/// A line in such pieces as the originals read at once.
pub(super) fn pieces(line: &str) -> impl Iterator<Item = &[u8]> {
    let mut line = line.as_bytes();
    core::iter::from_fn(move || {
        let end = boundary(line, CLASSIC_BYTES);
        let end = if is_made(Mistake::ClassicCharacterCut) { line.len().min(CLASSIC_BYTES) } else { end };
        let (piece, rest) = line.split_at_checked(end)?;
        line = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

pub(super) fn welcome(name: &str) -> String {
    format!("Welcome {name}! If you ever want to quit, type {QUIT} to exit.")
}

pub(super) fn joined(name: &str) -> String {
    format!("{name} has joined the chat!")
}

/// What somebody said, as it is shown to everybody, the sender too. Terminals show it as it comes.
pub(super) fn said(name: &str, text: &str) -> String {
    format!("{name}: {}", escape(text))
}

pub(super) fn renamed(former: &str, name: &str) -> String {
    format!("{former} is called {name} now.")
}

pub(super) fn topic(by: &str, text: &str) -> String {
    match text {
        "" => format!("{by} removed the topic."),
        text => format!("{by} set the topic: {}", escape(text)),
    }
}

pub(super) fn left(name: &str) -> String {
    format!("{name} has left the chat.")
}

/// A word of the server's own. Nobody else can have that name.
pub(super) fn remark(what: &str) -> String {
    format!("server: {what}")
}

/// The last words to a peer.
pub(super) fn goodbye(cause: &CloseCause) -> Cow<'static, str> {
    match cause {
        CloseCause::Quit => QUIT.into(),
        CloseCause::Shutdown
        | CloseCause::Refused(_)
        | CloseCause::Version
        | CloseCause::Oversized(_)
        | CloseCause::Undecodable
        | CloseCause::OutOfOrder
        | CloseCause::HelloTimeout
        | CloseCause::Silent
        | CloseCause::TooSlow
        | CloseCause::Replaced
        | CloseCause::Busy
        | CloseCause::Removed => remark(&cause.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{audit::assert_told, time::Duration};

    const NOW: Instant = Instant::from_micros(1);

    /// The messages that portions are, each read when the one before was handled, and what comes when nothing follows.
    fn messages(portions: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), vec![]);
        for portion in portions {
            lines.push(portion);
            all.extend(core::iter::from_fn(|| lines.next(NOW)));
            lines.audit().unwrap();
        }
        all.extend(core::iter::from_fn(|| lines.next(NOW + CLASSIC_HOLD)));
        assert!(lines.bytes.is_empty() && lines.held_until().is_none());
        all
    }

    #[test]
    fn a_portion_is_a_message_and_so_is_a_line() {
        for (portions, expected) in [
            (&[&b"hello"[..], b"you"][..], &["hello", "you"][..]),
            (&[b"one\ntwo\r\n\nthree"], &["one", "two", "three"]),
            (&[b"one\ntw", b"o\n", b"three"], &["one", "two", "three"]),
            (&[b"", b" \n", b"\n"], &[]),
            (&["Gr\u{fc}".as_bytes(), b"\xc3", b"\xbcn"], &["Gr\u{fc}", "\u{fc}n"]),
            (&[b"Gr\xc3", b"\xbc\xc3\x9fe"], &["Gr\u{fc}\u{df}e"]),
            (&[b"{qu", b"it}"], &["{quit}"]),
            (&[b"{", b"}"], &["{}"]),
            (&[b"{"], &["{"]),
            (&[b"half \xf0\x9f"], &["half \u{fffd}"]),
            (&[b"\x82\xac \xe2", b"\x82\xac"], &["\u{fffd}\u{fffd} \u{20ac}"]),
            (&[b"\xff\xfe nonsense"], &["\u{fffd}\u{fffd} nonsense"]),
        ] {
            assert_eq!(messages(portions), expected, "{portions:?}");
        }
    }

    #[test]
    fn a_long_message_is_several_and_no_character_is_cut() {
        let text = "\u{1f600}".repeat(700);
        let parts = messages(&[text.as_bytes()]);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.len() <= CLASSIC_BYTES) && parts.len() == 3);
        assert!(pieces(&text).eq(parts.iter().map(String::as_bytes)));
        assert_eq!(pieces("").next(), None);
        // What could be no text at all.
        assert_eq!(messages(&[&[0x80; 3 * CLASSIC_BYTES]]).len(), 3);
    }

    #[test]
    fn what_may_be_half_is_waited_for_until_it_is_time() {
        let mut lines = Lines::default();
        lines.push(b"{quit");
        assert_eq!((lines.next(NOW), lines.held_until()), (None, Some(NOW + CLASSIC_HOLD)));
        lines.push(b"e");
        assert_eq!(lines.next(NOW + Duration::from_millis(1)).as_deref(), Some("{quite"));
        assert_eq!(lines.held_until(), None);
    }

    #[test]
    fn nothing_that_is_shown_drives_a_terminal() {
        assert_eq!(said("Foo", "\u{1b}[2J\nBar: hi"), "Foo: \\u{1b}[2J\\nBar: hi");
    }

    #[test]
    fn an_audit_tells_what_waits_too_long() {
        let too_long = |lines: &mut Lines| lines.push(&[b'x'; CLASSIC_BYTES + 1]);
        assert_told(Lines::default, Lines::audit, &[("1025, the limit is 1024", too_long)]);
    }
}
