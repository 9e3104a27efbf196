//! What people write: what a message may be, and how text from others is shown.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::limits;

/// Why a message cannot be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageError {
    /// Nothing in it but white space.
    Empty,
    /// Longer than [`limits::MESSAGE_BYTES`].
    TooLong,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an empty message was not sent"),
            Self::TooLong => write!(
                f,
                "the message is longer than {} bytes; say it in several messages",
                limits::MESSAGE_BYTES
            ),
        }
    }
}

/// What its author does, where that is what a message tells: one that begins with `/me `.
pub fn action(text: &str) -> Option<&str> {
    text.strip_prefix("/me ").map(str::trim_start).filter(|action| !action.is_empty())
}

/// Why a text says nothing of what a room is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// Longer than [`limits::TOPIC_BYTES`].
    TooLong,
    /// It has more than one line.
    Lines,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "a topic has at most {} bytes; say it in fewer words", limits::TOPIC_BYTES)
            }
            Self::Lines => write!(f, "a topic has one line"),
        }
    }
}

/// Whether `text` may be what a room is about. An empty one says that it is about nothing.
pub fn check_topic(text: &str) -> Result<(), TopicError> {
    if text.len() > limits::TOPIC_BYTES {
        Err(TopicError::TooLong)
    } else if text.trim().contains(['\n', '\r']) {
        Err(TopicError::Lines)
    } else {
        Ok(())
    }
}

/// Checks that `text` may be a message.
pub fn check_message(text: &str) -> Result<(), MessageError> {
    if text.len() > limits::MESSAGE_BYTES {
        Err(MessageError::TooLong)
    } else if text.trim().is_empty() {
        Err(MessageError::Empty)
    } else {
        Ok(())
    }
}

/// True for characters that drive a terminal, reverse what is read, or cannot be seen: they are never shown raw.
///
/// Joiners and variation selectors, which emoji and several scripts are spelt with, count as visible in text.
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        // Most are, and to look them up in the tables takes long.
        return c.is_ascii_control();
    }
    let category = c.general_category();
    matches!(
        category,
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
    ) || (category == GeneralCategory::Format && !matches!(c, '\u{200c}' | '\u{200d}'))
}

/// True for characters that have no place in a name: all that [`escape`] would escape, and all that cannot be seen or
/// told apart from nothing.
pub(crate) fn is_unfit_for_names(c: char) -> bool {
    is_hidden(c)
        || matches!(
            c.general_category(),
            GeneralCategory::Format | GeneralCategory::PrivateUse | GeneralCategory::Unassigned
        )
        || (c != ' ' && c.general_category() == GeneralCategory::SpaceSeparator)
        // Letters and marks that render as nothing: grapheme joiner, Hangul fillers, Khmer inherent vowels, Mongolian
        // variation selectors, Braille blank, variation selectors.
        || matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

/// `text` as it may be shown on a terminal: control characters, line breaks and bidirectional overrides appear as
/// escapes (`\u{1b}`, `\n`, `\u{202e}`); a lone backslash stays as it is. Borrowed when there is nothing to escape.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            c if is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Words that are looked for, or parts of words, however they are written. For histories without an index.
pub(crate) struct Words(Vec<String>);

impl Words {
    pub(crate) fn new(words: &str) -> Self {
        let words = words.split_whitespace().take(limits::SEARCH_WORDS);
        Self(words.map(str::to_lowercase).collect())
    }

    /// True when `text` has all of them.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let text = text.to_lowercase();
        self.0.iter().all(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_shown_escaped() {
        for (text, shown) in [
            ("plain ünïcode 😀 👩\u{200d}🚀", "plain ünïcode 😀 👩\u{200d}🚀"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\nFoo: b", "a\\nFoo: b"),
            ("\r\t\0", "\\r\\t\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}def", "abc\\u{202e}def"),
            ("\u{2028}\u{2029}\u{feff}\u{e0041}", "\\u{2028}\\u{2029}\\u{feff}\\u{e0041}"),
            ("back\\slash", "back\\slash"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }

    #[test]
    fn words_are_found_in_any_order_and_case() {
        for (words, is_found) in
            [("", true), ("grün FEE", true), ("fee  GRÜN ", true), ("Kaff", true), ("grün tee", false)]
        {
            assert_eq!(Words::new(words).are_in("Die Grüne Fee trinkt Kaffee"), is_found, "{words:?}");
        }
    }

    #[test]
    fn a_message_has_something_in_it_and_is_not_too_long() {
        assert_eq!(check_message(" \n\t "), Err(MessageError::Empty));
        assert_eq!(check_message(""), Err(MessageError::Empty));
        assert_eq!(check_message("."), Ok(()));
        assert_eq!(check_message(&"x".repeat(limits::MESSAGE_BYTES)), Ok(()));
        assert_eq!(check_message(&"x".repeat(limits::MESSAGE_BYTES + 1)), Err(MessageError::TooLong));
    }
}
