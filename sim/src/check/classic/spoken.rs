//! What a classic peer sent, and what became messages of it. The wire has no framing, and the network cuts it anywhere: so a
//! message may be several, or several one, but nothing is lost, doubled or moved, and nothing that need not be is cut.

use chinwag_proto::{
    Instant,
    limits::{CLASSIC_BYTES, CLASSIC_HOLD},
};

use super::{Judgement, QUIT, Rule};
use crate::sometimes::Sometimes;

/// What stands for bytes that are no character.
const BROKEN: char = '\u{fffd}';
/// The longest character, but for one byte.
const PART_OF_CHARACTER: usize = 3;

#[derive(Debug)]
pub(super) struct Spoken {
    bytes: Vec<u8>,
    /// Where its first line ends, if it ends any.
    first_line: Option<usize>,
    /// A read ended with the end of a line.
    is_known_to_end_lines: bool,
    /// How much the server had read after each read, and when that was, by its clock.
    reads: Vec<(usize, Instant)>,
    /// Where what became names and messages may end; most often one place.
    handled: Vec<usize>,
    /// What it is called.
    name: Option<String>,
}

impl Default for Spoken {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            first_line: None,
            is_known_to_end_lines: false,
            reads: Vec::new(),
            handled: vec![0],
            name: None,
        }
    }
}

impl Spoken {
    pub(super) fn say(&mut self, bytes: &[u8]) {
        if self.first_line.is_none() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            self.first_line = end.map(|end| self.bytes.len() + end);
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the server knows that the peer ends its lines, so that those for it must end, too.
    pub(super) fn is_known_to_end_lines(&self) -> bool {
        self.is_known_to_end_lines
    }

    fn read(&self) -> usize {
        self.reads.last().map_or(0, |&(read, _)| read)
    }

    /// The server has read so many bytes more; what is worth to be looked for in that.
    pub(super) fn was_read(&mut self, bytes: usize, now: Instant) -> Option<Sometimes> {
        let read = self.read() + bytes;
        self.reads.push((read, now));
        self.is_known_to_end_lines |=
            read.checked_sub(1).and_then(|last| self.bytes.get(last)) == Some(&b'\n');
        let is_within = self.bytes.get(read).is_some_and(|byte| is_inside(*byte));
        is_within.then_some(Sometimes::ClassicCutCharacter)
    }

    /// The server took something for a name. What came before it were others.
    pub(super) fn take_name(&mut self, name: &str) -> Judgement {
        let ends: Vec<usize> = (0..self.read()).flat_map(|at| self.ends(at, name)).collect();
        if ends.is_empty() {
            return Err((Rule::NoForgery, format!("was let in as {name}, which it did not say")));
        }
        (self.handled, self.name) = (ends, Some(name.to_owned()));
        Ok(())
    }

    /// The server took something for a message.
    pub(super) fn take_text(&mut self, text: &str, now: Instant) -> Judgement {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for &from in &self.handled {
            // What is nothing but white space is no message.
            let blank = self.bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            found.extend(
                (from..=from + blank)
                    .flat_map(|at| self.ends(at, text).into_iter().map(move |end| (at, end))),
            );
        }
        if found.is_empty() {
            return Err((Rule::NoForgery, format!("is said to have said: {text}")));
        }
        found.retain(|&(at, end)| self.had_to_be_cut(at, end, now));
        if found.is_empty() {
            return Err((Rule::Portions, format!("had not said all of this yet: {text:?}")));
        }
        self.handled = found.into_iter().map(|(_, end)| end).collect();
        self.handled.sort_unstable();
        self.handled.dedup();
        Ok(())
    }

    /// The server took something for a goodbye; what is worth to be looked for in that.
    pub(super) fn quits(&self) -> Result<Option<Sometimes>, (Rule, String)> {
        let goodbyes = self.handled.iter().filter_map(|&from| {
            let blank = self.bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.bytes[from + blank..].starts_with(QUIT.as_bytes()).then_some(from + blank)
        });
        // Before there is a name, what came before were names.
        let first = goodbyes.max().or_else(|| {
            let at = self.bytes.windows(QUIT.len()).position(|part| part == QUIT.as_bytes());
            at.filter(|_| self.name.is_none())
        });
        let Some(at) = first else {
            return Err((Rule::Connection, "was taken to have quit".to_owned()));
        };
        let is_cut = self.reads.iter().any(|&(read, _)| read > at && read < at + QUIT.len());
        Ok(is_cut.then_some(Sometimes::ClassicCutQuit))
    }

    /// What was said and is no message yet.
    pub(super) fn lack(&self) -> Option<String> {
        let is_all = |&from: &usize| self.bytes[from..].iter().all(u8::is_ascii_whitespace);
        let from = self.handled.last().copied().unwrap_or(0);
        (!self.handled.iter().any(is_all))
            .then(|| format!("it was not heard to say: {}", String::from_utf8_lossy(&self.bytes[from..])))
    }

    /// Where `text` may end if it begins there: it is the same bytes, but where a character was cut.
    fn ends(&self, at: usize, text: &str) -> Vec<usize> {
        let mut ends = vec![at];
        let mut rest = text;
        while let Some(broken) = rest.find(BROKEN) {
            let whole = &rest.as_bytes()[..broken];
            ends.retain(|&end| self.bytes[end..].starts_with(whole));
            ends = ends.iter().flat_map(|&end| self.parts(end + broken)).collect();
            rest = &rest[broken + BROKEN.len_utf8()..];
        }
        ends.retain(|&end| self.bytes[end..].starts_with(rest.as_bytes()));
        ends.iter_mut().for_each(|end| *end += rest.len());
        let read = self.read();
        ends.retain(|&end| end <= read);
        ends
    }

    /// Where a part of a character may end that begins there: its first bytes, or one of the others.
    fn parts(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.bytes.get(at).copied().unwrap_or(0);
        let inside = self.bytes.get(at + 1..).unwrap_or_default();
        let inside = inside.iter().take(PART_OF_CHARACTER).take_while(|byte| is_inside(**byte)).count();
        let most = match first {
            _ if is_inside(first) => 1,
            0xc0.. => inside,
            _ => 0,
        };
        (1..=most).map(move |bytes| at + bytes)
    }

    /// Whether it was right to take this for a whole message now: what may be half of something is waited for.
    fn had_to_be_cut(&self, at: usize, end: usize, now: Instant) -> bool {
        let text = &self.bytes[at..end];
        let next = self.bytes.get(end).copied();
        let is_line = matches!(next, Some(b'\n' | b'\r'));
        let is_half_goodbye = text.len() < QUIT.len() && QUIT.as_bytes().starts_with(text) && !is_line;
        // What has lost its first byte shows no more that something is missing.
        let is_half_character = next.is_some_and(is_inside) && !text.iter().all(|byte| is_inside(*byte));
        let ends_lines = self.first_line.is_some_and(|end| end < at);
        let is_half_line = ends_lines && !is_line && text.len() < CLASSIC_BYTES - PART_OF_CHARACTER;
        if !(is_half_goodbye || is_half_character || is_half_line) {
            return true;
        }
        let began = self.reads.get(self.reads.partition_point(|(read, _)| *read <= at));
        began.is_some_and(|&(_, began)| now.since(began) >= CLASSIC_HOLD)
    }
}

fn is_inside(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_proto::Duration;

    const NOW: Instant = Instant::from_micros(1);

    /// What was sent in such reads, all at one time.
    fn spoken(reads: &[&[u8]]) -> Spoken {
        let mut spoken = Spoken::default();
        for read in reads {
            spoken.say(read);
            spoken.was_read(read.len(), NOW);
        }
        spoken
    }

    /// The rule that is broken when these become messages, if any; and whether something is left.
    fn judged(reads: &[&[u8]], texts: &[&str], after: Duration) -> Result<bool, Rule> {
        let mut spoken = spoken(reads);
        for text in texts {
            spoken.take_text(text, NOW + after).map_err(|(rule, _)| rule)?;
        }
        Ok(spoken.lack().is_some())
    }

    #[test]
    fn what_was_said_is_said_in_order_whole_and_once() {
        let at_once = Duration::from_millis(0);
        for (reads, texts, verdict) in [
            (&[&b"one"[..], b"two"][..], &["one", "two"][..], Ok(false)),
            (&[b"onetwo"], &["onetwo"], Ok(false)),
            (&[b"one\ntwo\r\n \nthree\n"], &["one", "two", "three"], Ok(false)),
            (&[b"one", b"two"], &["one"], Ok(true)),
            (&[b"one", b"two"], &["two"], Err(Rule::NoForgery)),
            (&[b"one", b"two"], &["one", "one"], Err(Rule::NoForgery)),
            (&[b"one"], &["ones"], Err(Rule::NoForgery)),
            (&[b"one", b" ", b" two"], &["one", " two"], Ok(false)),
        ] {
            assert_eq!(judged(reads, texts, at_once), verdict, "{texts:?}");
        }
    }

    #[test]
    fn half_of_something_is_only_taken_for_whole_after_a_while() {
        for (reads, texts) in [
            (&[&b"{qu"[..], b"it}"][..], &["{qu", "it}"][..]),
            (&[b"a\xe2", b"\x82\xacb"], &["a\u{fffd}", "\u{fffd}\u{fffd}b"]),
            (&[b"one\ntw", b"o\n"], &["one", "tw", "o"]),
            (&[b"\xf0\x9f", b"\x91", b"\xa9"], &["\u{fffd}", "\u{fffd}", "\u{fffd}"]),
        ] {
            let just_before = CLASSIC_HOLD - Duration::from_micros(1);
            assert_eq!(judged(reads, texts, just_before), Err(Rule::Portions), "{texts:?}");
            assert_eq!(judged(reads, texts, CLASSIC_HOLD), Ok(false), "{texts:?}");
        }
    }

    #[test]
    fn a_name_is_something_that_was_said() {
        let mut spoken = spoken(&[b"a:b", b"Fo", b"o", b"hi"]);
        assert!(spoken.take_name("Bar").is_err());
        spoken.take_name("Fo").unwrap();
        spoken.take_text("o", NOW).unwrap();
        assert!(spoken.quits().is_err());
        spoken.take_text("hi", NOW).unwrap();
        assert_eq!(spoken.lack(), None);
    }

    #[test]
    fn a_goodbye_comes_where_it_was_said() {
        let mut spoken = spoken(&[b"Foo", b"{quit} is how to leave", b"{qu", b"it}"]);
        spoken.take_name("Foo").unwrap();
        spoken.take_text("{quit} is how to leave", NOW).unwrap();
        assert_eq!(spoken.quits(), Ok(Some(Sometimes::ClassicCutQuit)));
    }
}
