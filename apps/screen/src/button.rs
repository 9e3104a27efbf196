//! Keys by which something can be done as long as they are held.

use std::{fmt, str::FromStr};

use crate::key::Key;

/// Letters that do nothing else with Control.
const LETTERS: &str = "goqrstvx";

/// A key that can be that of push-to-talk: it does nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Button {
    /// F1 to F12.
    Function(u8),
    /// With Control: a small letter.
    Control(char),
}

impl Button {
    /// What can be chosen.
    pub const CHOICES: &str =
        "it is F1 to F12, or Ctrl with one of G, O, Q, R, S, T, V and X, such as Ctrl-T";

    /// The button that this key is.
    pub(crate) fn of(key: Key) -> Option<Self> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other key can be one")]
        match key {
            Key::Function(number) => Some(Self::Function(number)),
            Key::Control(letter) if LETTERS.contains(letter) => Some(Self::Control(letter)),
            _ => None,
        }
    }
}

impl Default for Button {
    fn default() -> Self {
        Self::Function(8)
    }
}

impl FromStr for Button {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_lowercase();
        let function = || text.strip_prefix('f')?.parse().ok().filter(|number| (1..=12).contains(number));
        let letter = || {
            let mut letters = text.strip_prefix("ctrl-")?.chars();
            letters.next().filter(|_| letters.next().is_none())
        };
        let key = function().map(Key::Function).or_else(|| letter().map(Key::Control));
        key.and_then(Self::of).ok_or(Self::CHOICES)
    }
}

impl fmt::Display for Button {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(number) => write!(f, "F{number}"),
            Self::Control(letter) => write!(f, "Ctrl-{}", letter.to_ascii_uppercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F8: Button = Button::Function(8);

    #[test]
    fn a_button_is_written_as_people_write_it() {
        for (text, button) in [
            ("F8", Ok(F8)),
            ("f12", Ok(Button::Function(12))),
            ("Ctrl-T", Ok(Button::Control('t'))),
            ("ctrl-x", Ok(Button::Control('x'))),
            ("F0", Err(Button::CHOICES)),
            ("F13", Err(Button::CHOICES)),
            ("Ctrl-C", Err(Button::CHOICES)),
            ("Ctrl-A", Err(Button::CHOICES)),
            ("Ctrl-", Err(Button::CHOICES)),
            ("Ctrl-tt", Err(Button::CHOICES)),
            ("space", Err(Button::CHOICES)),
            ("", Err(Button::CHOICES)),
        ] {
            assert_eq!(text.parse(), button, "{text}");
            if let Ok(button) = button {
                assert_eq!(button.to_string().to_lowercase(), text.to_lowercase());
            }
        }
    }
}
