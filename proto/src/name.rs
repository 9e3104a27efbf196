//! Names of people and rooms: normalised, visible, and unique by what they look like when case is ignored.

use alloc::{format, string::String, sync::Arc};
use core::fmt;

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

use crate::{limits, text};

/// A name: NFC, 1 to [`limits::NAME_CHARS`] visible characters, no colon, no space at either end or doubled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(Arc<str>);

/// A name as it is compared: NFKC and case-folded, so that `Foo`, `foo` and `Ｆoo` are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FoldedName(String);

impl FoldedName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a string is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Nothing is left of it.
    Empty,
    /// More than [`limits::NAME_CHARS`] characters.
    TooLong,
    /// It has this character.
    BadCharacter(char),
    /// Kept for the server's own voice.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a name needs at least one visible character"),
            Self::TooLong => write!(f, "a name has at most {} characters", limits::NAME_CHARS),
            Self::BadCharacter(':') => write!(f, "a name cannot have a colon in it"),
            Self::BadCharacter(' ') => write!(f, "a name cannot have two spaces in a row"),
            Self::BadCharacter(c) => {
                write!(f, "a name cannot have the character U+{:04X} in it", u32::from(*c))
            }
            Self::Reserved => write!(f, "that name is kept for the server itself; choose another"),
        }
    }
}

/// How the server is called when it speaks itself.
const SERVER: &str = "server";

impl Name {
    /// The server's own, which [`Name::new`] gives nobody.
    pub(crate) fn of_the_server() -> Self {
        Self(SERVER.into())
    }

    /// A name as it was kept: also the server's own.
    ///
    /// # Errors
    ///
    /// It cannot have been one.
    pub fn kept(raw: &str) -> Result<Self, NameError> {
        if raw == SERVER { Ok(Self::of_the_server()) } else { Self::new(raw) }
    }

    /// True for the server's own.
    pub fn is_of_the_server(&self) -> bool {
        &*self.0 == SERVER
    }

    /// Normalises and checks `raw`. Surrounding white space is cut off.
    pub fn new(raw: &str) -> Result<Self, NameError> {
        if raw.len() > limits::NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let raw = raw.trim();
        let name: String = if raw.is_ascii() { raw.into() } else { raw.nfc().collect() };
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.chars().count() > limits::NAME_CHARS {
            return Err(NameError::TooLong);
        }
        // A colon ends the name in `Name: text`, so that one name cannot pretend to be another's message.
        // Nor may it look like one: there are wide and small colons too.
        let is_like_colon = |c: char| !c.is_ascii() && core::iter::once(c).nfkc().any(|c| c == ':');
        let is_colon = |c: char| c == ':' || is_like_colon(c);
        if let Some(bad) = name.chars().find(|&c| is_colon(c) || text::is_unfit_for_names(c)) {
            return Err(NameError::BadCharacter(bad));
        }
        if name.contains("  ") {
            return Err(NameError::BadCharacter(' '));
        }
        if name.chars().all(unicode_normalization::char::is_combining_mark) {
            return Err(NameError::Empty);
        }
        let name = Self(name.into());
        if name.folded().0 == SERVER {
            return Err(NameError::Reserved);
        }
        Ok(name)
    }

    /// The name as it is shown. Safe to print.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is compared.
    pub fn folded(&self) -> FoldedName {
        // Most names are, and the tables of Unicode say no more of them.
        if self.0.is_ascii() {
            return FoldedName(self.0.to_ascii_lowercase());
        }
        FoldedName(folded_by_unicode(&self.0))
    }

    /// This name with a number after it, cut where needed: what to suggest when it is taken.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        let tail = format!("{number}");
        let room = limits::NAME_CHARS - tail.len();
        let head: String = self.0.chars().take(room).collect();
        Self(format!("{}{tail}", head.trim_end()).into())
    }
}

fn folded_by_unicode(name: &str) -> String {
    let compatible: String = name.nfkc().collect();
    let folded: String = UniCase::unicode(compatible.as_str()).to_folded_case();
    folded.nfkc().collect()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_checked() {
        assert_eq!(Name::new("  Foo ").unwrap().as_str(), "Foo");
        assert_eq!(Name::new("Zoe\u{308}").unwrap().as_str(), "Zoë");
        assert_eq!(Name::new("Ann Marie").unwrap().as_str(), "Ann Marie");
        assert_eq!(Name::new(&"😀".repeat(32)).unwrap().as_str().chars().count(), 32);
        for (raw, error) in [
            ("", NameError::Empty),
            (" \t\n", NameError::Empty),
            ("\u{301}", NameError::Empty),
            (&"x".repeat(33), NameError::TooLong),
            (&"x".repeat(100_000), NameError::TooLong),
            ("a\nb", NameError::BadCharacter('\n')),
            ("a\u{1b}b", NameError::BadCharacter('\u{1b}')),
            ("a\u{202e}b", NameError::BadCharacter('\u{202e}')),
            ("a\u{200b}b", NameError::BadCharacter('\u{200b}')),
            ("\u{3164}", NameError::BadCharacter('\u{3164}')),
            ("Foo: hi", NameError::BadCharacter(':')),
            ("Foo\u{ff1a} hi", NameError::BadCharacter('\u{ff1a}')),
            ("Foo\u{fe55} hi", NameError::BadCharacter('\u{fe55}')),
            ("a  b", NameError::BadCharacter(' ')),
            ("a\u{a0}b", NameError::BadCharacter('\u{a0}')),
            ("Server", NameError::Reserved),
        ] {
            assert_eq!(Name::new(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn names_that_look_alike_but_for_case_are_one() {
        let folded = |raw| Name::new(raw).unwrap().folded();
        assert_eq!(folded("Foo"), folded("fOO"));
        assert_eq!(folded("Ｆoo"), folded("foo"));
        assert_eq!(folded("STRASSE"), folded("straße"));
        assert_eq!(folded("Σίσυφος"), folded("ΣΊΣΥΦΟΣ"));
        assert_ne!(folded("Foo"), folded("Foo2"));
    }

    #[test]
    fn what_is_quick_for_ascii_is_what_unicode_says() {
        let all: String = ('\0'..='\x7f').collect();
        assert_eq!(folded_by_unicode(&all), all.to_ascii_lowercase());
        assert!(all.nfc().eq(all.chars()));
        assert!(!all.chars().any(|c| c != ':' && core::iter::once(c).nfkc().any(|c| c == ':')));
    }

    #[test]
    fn a_numbered_name_still_fits() {
        assert_eq!(Name::new("Foo").unwrap().numbered(2).as_str(), "Foo2");
        let long = Name::new(&"y".repeat(32)).unwrap().numbered(12);
        assert_eq!(Name::new(long.as_str()).unwrap(), long);
    }
}
