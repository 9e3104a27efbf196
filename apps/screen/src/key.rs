//! The keys that are known.

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
    /// Escape alone; only from [`crate::Decoder::end_escape`].
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
}
