//! Keys as the kitty keyboard protocol has them: `CSI code:shifted:base ; modifiers u`. Of the codes, the first is the key's
//! character without Shift, the second that with it, the third what it is on an American keyboard
//! (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>).
//!
//! What comes of them is what the terminal would have sent without that protocol, so that nobody has to know of it.

use crate::key::Key;

const SHIFT: u32 = 1;
/// See [`key`].
pub(crate) const ALT: u32 = 2;
/// See [`key`].
pub(crate) const CONTROL: u32 = 4;
/// Super, Hyper, Meta: what is pressed with them is no key here.
const FOREIGN: u32 = 8 | 16 | 32;

/// The key of these codes, with these modifiers.
pub(crate) fn key([code, shifted, base]: [Option<u32>; 3], modifiers: u32) -> Option<Key> {
    let code = code?;
    let has = |modifier| modifiers & modifier != 0;
    if has(FOREIGN) {
        return None;
    }
    if let Some(key) = keypad(code) {
        return Some(key);
    }
    let is_with_letter = has(ALT) || has(CONTROL);
    let code = match (shifted, base) {
        // Commands are Latin letters, whatever is written otherwise.
        (_, Some(base)) if is_with_letter && code > 0x7f => base,
        (Some(shifted), _) if has(SHIFT) && !has(CONTROL) => shifted,
        _ => code,
    };
    match char::from_u32(code)? {
        '\x1b' => Some(Key::Escape),
        '\r' => Some(Key::Enter),
        '\t' => Some(Key::Tab).filter(|_| !has(SHIFT)),
        '\x7f' => Some(if has(ALT) { Key::AltBackspace } else { Key::Backspace }),
        c if has(CONTROL) => control(c),
        c @ ' '..='~' if has(ALT) => Some(Key::Alt(c)),
        c if c.is_control() || ('\u{e000}'..='\u{f8ff}').contains(&c) => None,
        c => Some(Key::Char(c)),
    }
}

fn control(c: char) -> Option<Key> {
    match c.to_ascii_lowercase() {
        'h' => Some(Key::Backspace),
        'i' => Some(Key::Tab),
        'j' | 'm' => Some(Key::Enter),
        '[' => Some(Key::Escape),
        letter @ ('a'..='z' | '\\') => Some(Key::Control(letter)),
        _ => None,
    }
}

/// Keys of the keypad, which have codes of their own.
fn keypad(code: u32) -> Option<Key> {
    Some(match code {
        57399..=57416 => Key::Char(char::from(*b"0123456789./*-+\r=,".get(code as usize - 57399)?)),
        57417 => Key::Left,
        57418 => Key::Right,
        57419 => Key::Up,
        57420 => Key::Down,
        57421 => Key::PageUp,
        57422 => Key::PageDown,
        57423 => Key::Home,
        57424 => Key::End,
        57426 => Key::Delete,
        _ => return None,
    })
    .map(|key| if key == Key::Char('\r') { Key::Enter } else { key })
}
