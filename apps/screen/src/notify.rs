//! What a terminal is told so that the desktop shows a notification: OSC 9, or OSC 777 where that is known instead.

use chinwag_proto::text::escape;

/// Characters of a notification; the rest is cut off.
pub const NOTIFICATION_CHARS: usize = 120;
/// Between two of them, in milliseconds. What comes meanwhile is not notified; it is seen in the conversation.
pub const NOTIFICATION_PAUSE_MS: u64 = 5000;

/// How the terminal wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notifier {
    /// iTerm2's way, which most have.
    Osc9,
    /// That of rxvt-unicode.
    Osc777,
}

impl Notifier {
    /// That of a terminal that calls itself so (`TERM`).
    pub fn of(term: &str) -> Self {
        if term.starts_with("rxvt") { Self::Osc777 } else { Self::Osc9 }
    }

    /// What is to be written.
    pub fn write(self, who: &str, text: &str) -> String {
        // Nothing is left in it that could end it. Semicolons part what it consists of.
        let words = escape(&format!("{who}: {text}")).replace(';', ",");
        let mut chars = words.chars();
        let mut shown: String = chars.by_ref().take(NOTIFICATION_CHARS).collect();
        if chars.next().is_some() {
            shown.push('…');
        }
        match self {
            // It must not begin with a number, which would be another command of some terminals.
            Self::Osc9 => format!("\x1b]9;chinwag: {shown}\x1b\\"),
            Self::Osc777 => format!("\x1b]777;notify;chinwag;{shown}\x1b\\"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_write_ends_it_or_is_more_than_words() {
        let hostile = "4;1;50\x1b\\\x1b[2J\x07\u{9c}\u{9b}31m\u{202e}\n\r\0";
        for (notifier, begin) in [
            (Notifier::of("rxvt-unicode-256color"), "777;notify;chinwag;"),
            (Notifier::of("xterm"), "9;chinwag: "),
        ] {
            for text in [hostile, &hostile.repeat(100), "", &"é".repeat(500), &";".repeat(500)] {
                let written = notifier.write(text, text);
                let words =
                    written.strip_prefix("\x1b]").and_then(|rest| rest.strip_suffix("\x1b\\")).unwrap();
                let words = words.strip_prefix(begin).unwrap();
                assert!(!words.chars().any(|c| c.is_control() || c == ';' || c == '\u{202e}'), "{words:?}");
                assert!(words.chars().count() <= NOTIFICATION_CHARS + 1, "{words:?}");
            }
        }
        assert_eq!(Notifier::Osc9.write("Bar", "hello, Foo"), "\x1b]9;chinwag: Bar: hello, Foo\x1b\\");
    }
}
