//! The keys that are known.

use crate::button::Button;

/// A key, or a character of a paste.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// Never a control character.
    Char(char),
    /// Also a line break in a paste.
    Enter,
    /// Tab.
    Tab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// ←
    Left,
    /// →
    Right,
    /// ← with Control or Alt.
    WordLeft,
    /// → with Control or Alt.
    WordRight,
    /// Home.
    Home,
    /// End.
    End,
    /// ↑
    Up,
    /// ↓
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// The mouse's wheel, away from the hand.
    WheelUp,
    /// The mouse's wheel, towards the hand.
    WheelDown,
    /// Escape alone: from [`crate::Decoder::end_escape`], unless the terminal tells it from the beginning of a sequence.
    Escape,
    /// What comes now until [`Key::PasteEnd`] is pasted.
    PasteBegin,
    /// See [`Key::PasteBegin`].
    PasteEnd,
    /// The user came back to this terminal.
    FocusIn,
    /// The user went to another window.
    FocusOut,
    /// With Control: a small letter.
    Control(char),
    /// With Alt: a printable ASCII character.
    Alt(char),
    /// Backspace with Alt.
    AltBackspace,
    /// F1 to F12, with or without Shift and the like. Comes once, however long it is held, if the terminal tells that.
    Function(u8),
    /// Any key was let go: one that can be that of push-to-talk, or another. Few terminals tell it.
    Released(Option<Button>),
}
