//! The key of push-to-talk: which one it is, and what pressing it and letting it go means.
//!
//! Most terminals never tell that a key is let go. So it is held only where that was seen, of any key; elsewhere it is pressed to
//! begin and pressed again to stop. There, a key that is held looks like one that is pressed again and again.

use std::{fmt, str::FromStr};

use crate::key::Key;

/// What comes so much later than the last press at most, in milliseconds, is the same press: keyboards wait up to 660 ms before
/// they repeat a key that is held.
pub(crate) const REPEAT_MS: u64 = 700;

/// Letters that do nothing else with Control.
const LETTERS: &str = "goqrstvx";

/// A key that can be that of push-to-talk.
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
            let ways = ["ctrl-", "ctrl+", "^"];
            let mut letters = ways.iter().find_map(|way| text.strip_prefix(way))?.chars();
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

/// What is to become of talking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Talk {
    /// The key is held from now on.
    Begin,
    /// It was let go.
    End,
    /// It was pressed, and it will not be told when it is let go.
    Toggle,
    /// Keys go elsewhere from now on.
    Away,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PushToTalk {
    pub(crate) button: Button,
    /// Of some key it was told that it was let go.
    is_release_told: bool,
    /// When the button, which was not let go since, was pressed or repeated last.
    pressed: Option<u64>,
}

impl PushToTalk {
    /// The button was pressed at that time.
    pub(crate) fn press(&mut self, now: u64) -> Option<Talk> {
        match self.pressed.replace(now) {
            Some(last) if now.saturating_sub(last) < REPEAT_MS => return None,
            // It was let go without a word: another terminal sits behind this one now, or that was lost.
            Some(_) => self.is_release_told = false,
            None => {}
        }
        Some(if self.is_release_told { Talk::Begin } else { Talk::Toggle })
    }

    /// Some key was let go.
    pub(crate) fn release(&mut self, button: Option<Button>) -> Option<Talk> {
        self.is_release_told = true;
        let is_it = button == Some(self.button) && self.pressed.take().is_some();
        is_it.then_some(Talk::End)
    }

    /// It is not told here any more what becomes of keys.
    pub(crate) fn leave(&mut self) -> Talk {
        self.pressed = None;
        Talk::Away
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
        for text in ["ctrl+t", "Ctrl+T", "^T", "^t"] {
            assert_eq!(text.parse(), Ok(Button::Control('t')), "{text}");
        }
        for text in ["ctrl+", "^", "^c", "^^t", "ctrl+-t"] {
            assert_eq!(text.parse::<Button>(), Err(Button::CHOICES), "{text}");
        }
    }

    #[test]
    fn where_no_key_is_ever_let_go_it_begins_and_stops_and_repeats_are_nothing() {
        let mut ptt = PushToTalk::default();
        assert_eq!(ptt.press(1000), Some(Talk::Toggle));
        // Held for a while.
        assert_eq!(ptt.press(1660), None);
        for n in 0..300 {
            assert_eq!(ptt.press(1700 + n * 30), None);
        }
        assert_eq!(ptt.press(1700 + 299 * 30 + REPEAT_MS), Some(Talk::Toggle));
    }

    #[test]
    fn once_any_key_was_let_go_it_is_held() {
        let mut ptt = PushToTalk::default();
        assert_eq!(ptt.release(None), None);
        for n in 0..3 {
            // However short that is.
            assert_eq!(ptt.press(n), Some(Talk::Begin));
            assert_eq!(ptt.press(n), None);
            assert_eq!(ptt.release(Some(Button::Control('t'))), None);
            assert_eq!(ptt.release(Some(F8)), Some(Talk::End));
            assert_eq!(ptt.release(Some(F8)), None);
        }
    }

    #[test]
    fn the_first_key_that_is_let_go_may_be_the_button_itself() {
        let mut ptt = PushToTalk::default();
        assert_eq!(ptt.press(0), Some(Talk::Toggle));
        assert_eq!(ptt.release(Some(F8)), Some(Talk::End));
        assert_eq!(ptt.press(1), Some(Talk::Begin));
    }

    #[test]
    fn where_nothing_is_let_go_any_more_a_second_press_stops() {
        let mut ptt = PushToTalk::default();
        ptt.release(None);
        assert_eq!(ptt.press(0), Some(Talk::Begin));
        assert_eq!(ptt.press(REPEAT_MS), Some(Talk::Toggle));
        // But not where it is known that keys went elsewhere.
        ptt.release(None);
        assert_eq!(ptt.leave(), Talk::Away);
        assert_eq!(ptt.press(2 * REPEAT_MS), Some(Talk::Begin));
    }
}
