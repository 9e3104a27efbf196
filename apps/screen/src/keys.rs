//! Keys, from the bytes that a terminal sends for them.
//!
//! Bytes may come cut anywhere: a sequence is waited for until it is whole, and a lone Escape until the next key, which then is
//! one with Alt. Between the marks of a bracketed paste nothing is a key but characters and line breaks.

use std::collections::VecDeque;

use crate::{button::Button, key::Key, kitty};

/// What is kept of a sequence; the keys that are known need less.
const PARAMETER_BYTES: usize = 32;

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Ground,
    /// After Escape.
    Escape,
    /// After `ESC [`, its parameters.
    Sequence,
    /// After `ESC [ [`: a function key of the Linux console, of which one byte is missing.
    Function,
    /// After `ESC O`.
    Shifted,
}

/// Makes keys of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    parameters: Vec<u8>,
    /// The beginning of a character.
    character: Vec<u8>,
    is_in_paste: bool,
}

impl Decoder {
    /// Appends to `keys` what these bytes complete.
    pub fn push(&mut self, bytes: &[u8], keys: &mut VecDeque<Key>) {
        for &byte in bytes {
            keys.extend(self.take(byte).into_iter().flatten());
        }
    }

    /// True when the last byte was an Escape: a key of its own, or the beginning of something.
    pub fn is_after_escape(&self) -> bool {
        self.state == State::Escape
    }

    /// Nothing came after the Escape for so long that it was a key of its own.
    pub fn end_escape(&mut self) -> Option<Key> {
        let is_key = self.is_after_escape() && !self.is_in_paste;
        if is_key {
            self.state = State::Ground;
        }
        is_key.then_some(Key::Escape)
    }

    /// What one byte completes: a character that was cut off, a key.
    fn take(&mut self, byte: u8) -> [Option<Key>; 2] {
        let key = match self.state {
            State::Ground => return self.ground(byte),
            State::Escape => return self.escape(byte),
            State::Sequence => match byte {
                b'[' if self.parameters.is_empty() => {
                    self.state = State::Function;
                    None
                }
                b' '..=b'?' => {
                    if self.parameters.len() < PARAMETER_BYTES {
                        self.parameters.push(byte);
                    }
                    None
                }
                b'@'..=b'~' => {
                    self.state = State::Ground;
                    self.sequence(byte)
                }
                // It is none.
                _ => return self.ground(byte),
            },
            // It goes on with none of that: what was to come of it never came.
            State::Function | State::Shifted if !matches!(byte, b' '..=b'~') => return self.ground(byte),
            State::Function => {
                self.state = State::Ground;
                let number = Some(byte).filter(u8::is_ascii_uppercase).map(|byte| byte - b'A' + 1);
                number.filter(|number| *number <= 5 && !self.is_in_paste).map(Key::Function)
            }
            State::Shifted => {
                self.state = State::Ground;
                shifted(byte).filter(|_| !self.is_in_paste)
            }
        };
        [None, key]
    }

    fn ground(&mut self, byte: u8) -> [Option<Key>; 2] {
        self.state = State::Ground;
        if byte.is_ascii() {
            return [self.cut_off(), self.ascii(byte)];
        }
        let begins_another = byte & 0b1100_0000 != 0b1000_0000;
        let cut_off = if begins_another { self.cut_off() } else { None };
        self.character.push(byte);
        let key = match std::str::from_utf8(&self.character) {
            Ok(text) => text.chars().next().filter(|c| !c.is_control()).map(Key::Char),
            Err(error) if error.error_len().is_none() => return [cut_off, None],
            // Whoever types sees that it is not what he typed.
            Err(_) => Some(Key::Char(char::REPLACEMENT_CHARACTER)),
        };
        self.character.clear();
        [cut_off, key]
    }

    /// What is left of a character that does not go on.
    fn cut_off(&mut self) -> Option<Key> {
        let is_cut = !self.character.is_empty();
        self.character.clear();
        is_cut.then_some(Key::Char(char::REPLACEMENT_CHARACTER))
    }

    fn ascii(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            b' '..=b'~' => Some(Key::Char(char::from(byte))),
            ESCAPE => {
                self.state = State::Escape;
                None
            }
            _ if self.is_in_paste => None,
            DELETE | 0x08 => Some(Key::Backspace),
            1..=26 => Some(Key::Control(char::from(byte - 1 + b'a'))),
            _ => None,
        }
    }

    fn escape(&mut self, byte: u8) -> [Option<Key>; 2] {
        self.state = State::Ground;
        let key = match byte {
            b'[' => {
                self.state = State::Sequence;
                self.parameters.clear();
                None
            }
            b'O' => {
                self.state = State::Shifted;
                None
            }
            _ if self.is_in_paste => return self.ground(byte),
            DELETE | 0x08 => Some(Key::AltBackspace),
            b' '..=b'~' => Some(Key::Alt(char::from(byte))),
            _ => return self.ground(byte),
        };
        [None, key]
    }

    /// A sequence that ends with `end`.
    fn sequence(&mut self, end: u8) -> Option<Key> {
        let is_mouse = self.parameters.first() == Some(&b'<');
        let mut fields = self.parameters[usize::from(is_mouse)..].split(|&byte| byte == b';').map(numbers);
        let codes = fields.next().unwrap_or_default();
        let [modifiers, event, _] = fields.next().unwrap_or_default();
        let first = codes[0];
        if end == b'~' && matches!(first, Some(200 | 201)) {
            let begins = first == Some(200);
            let was_in_paste = std::mem::replace(&mut self.is_in_paste, begins);
            let key = if begins { Key::PasteBegin } else { Key::PasteEnd };
            return Some(key).filter(|_| was_in_paste != begins);
        }
        if self.is_in_paste {
            return None;
        }
        if is_mouse {
            return match (end, first) {
                (b'M', Some(64)) => Some(Key::WheelUp),
                (b'M', Some(65)) => Some(Key::WheelDown),
                _ => None,
            };
        }
        // One more than a sum.
        let modifiers = modifiers.unwrap_or(1).saturating_sub(1);
        match event.unwrap_or(PRESSED) {
            PRESSED => key(end, codes, modifiers),
            // A button is held as long as it is.
            REPEATED => key(end, codes, modifiers).filter(|&key| Button::of(key).is_none()),
            // Of a letter with Control, Control may be let go first.
            RELEASED if matches!(end, b'A'..=b'H' | b'P'..=b'S' | b'u' | b'~') => {
                Some(Key::Released(key(end, codes, modifiers | kitty::CONTROL).and_then(Button::of)))
            }
            _ => None,
        }
    }
}

/// What the kitty keyboard protocol tells of a key, with its modifiers.
const PRESSED: u32 = 1;
/// See [`PRESSED`].
const REPEATED: u32 = 2;
/// See [`PRESSED`].
const RELEASED: u32 = 3;

/// The key of a sequence that ends with `end`, with these modifiers.
fn key(end: u8, codes: [Option<u32>; 3], modifiers: u32) -> Option<Key> {
    let first = codes[0];
    let by_word = modifiers & (kitty::ALT | kitty::CONTROL) != 0;
    match (end, first) {
        (b'C', _) if by_word => Some(Key::WordRight),
        (b'D', _) if by_word => Some(Key::WordLeft),
        (b'A'..=b'D' | b'F' | b'H', _) | (b'P' | b'Q' | b'S', None | Some(1)) => shifted(end),
        (b'~', Some(1 | 7)) => Some(Key::Home),
        (b'~', Some(3)) => Some(Key::Delete),
        (b'~', Some(4 | 8)) => Some(Key::End),
        (b'~', Some(5)) => Some(Key::PageUp),
        (b'~', Some(6)) => Some(Key::PageDown),
        (b'~', Some(code)) => function(code),
        (b'I', None) => Some(Key::FocusIn),
        (b'O', None) => Some(Key::FocusOut),
        (b'u', _) => kitty::key(codes, modifiers),
        _ => None,
    }
}

/// The function key of a sequence that begins with this number and ends with `~`: there are gaps.
fn function(code: u32) -> Option<Key> {
    let number = match code {
        11..=15 => code - 10,
        17..=21 => code - 11,
        23 | 24 => code - 12,
        _ => return None,
    };
    u8::try_from(number).ok().map(Key::Function)
}

/// What `ESC O` and this byte are.
fn shifted(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'F' => Some(Key::End),
        b'H' => Some(Key::Home),
        b'P'..=b'S' => Some(Key::Function(byte - b'P' + 1)),
        // That of the keypad.
        b'M' => Some(Key::Enter),
        // With Control, from rxvt.
        b'c' => Some(Key::WordRight),
        b'd' => Some(Key::WordLeft),
        _ => None,
    }
}

/// The first numbers of a parameter, between colons.
fn numbers(parameter: &[u8]) -> [Option<u32>; 3] {
    let mut numbers = parameter.split(|&byte| byte == b':').map(number);
    std::array::from_fn(|_| numbers.next().flatten())
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Vec<Key> {
        let mut keys = VecDeque::new();
        Decoder::default().push(bytes, &mut keys);
        keys.into()
    }

    #[test]
    fn keys_are_what_terminals_send_for_them() {
        for (bytes, key) in [
            (&b"a"[..], Key::Char('a')),
            ("é".as_bytes(), Key::Char('é')),
            ("😀".as_bytes(), Key::Char('😀')),
            (b"\r", Key::Enter),
            (b"\n", Key::Enter),
            (b"\x1bOM", Key::Enter),
            (b"\t", Key::Tab),
            (b"\x7f", Key::Backspace),
            (b"\x08", Key::Backspace),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[D", Key::Left),
            (b"\x1bOC", Key::Right),
            (b"\x1b[1;5D", Key::WordLeft),
            (b"\x1b[1;3C", Key::WordRight),
            (b"\x1b[1;2C", Key::Right),
            (b"\x1bOd", Key::WordLeft),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[8~", Key::End),
            (b"\x1bOF", Key::End),
            (b"\x1b[A", Key::Up),
            (b"\x1b[B", Key::Down),
            (b"\x01", Key::Control('a')),
            (b"\x19", Key::Control('y')),
            (b"\x1bb", Key::Alt('b')),
            (b"\x1b\x7f", Key::AltBackspace),
            (b"\x1b\x1b[A", Key::Up),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[<64;10;10M", Key::WheelUp),
            (b"\x1b[<65;1234;1234M", Key::WheelDown),
            (b"\x1b[I", Key::FocusIn),
            (b"\x1b[O", Key::FocusOut),
            (b"\x1bOP", Key::Function(1)),
            (b"\x1b[P", Key::Function(1)),
            (b"\x1b[1;1:1S", Key::Function(4)),
            (b"\x1b[13~", Key::Function(3)),
            (b"\x1b[[E", Key::Function(5)),
            (b"\x1b[15~", Key::Function(5)),
            (b"\x1b[19;2~", Key::Function(8)),
            (b"\x1b[24~", Key::Function(12)),
        ] {
            assert_eq!(decode(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn keys_are_the_same_where_the_terminal_tells_them_apart() {
        for (bytes, key) in [
            ("27u", Key::Escape),
            ("27;1:2u", Key::Escape),
            ("91;5u", Key::Escape),
            ("13u", Key::Enter),
            ("13;2u", Key::Enter),
            ("109;5u", Key::Enter),
            ("57414u", Key::Enter),
            ("9u", Key::Tab),
            ("105;5u", Key::Tab),
            ("127u", Key::Backspace),
            ("127;5u", Key::Backspace),
            ("104;5u", Key::Backspace),
            ("127;3u", Key::AltBackspace),
            ("97;5u", Key::Control('a')),
            ("99;5u", Key::Control('c')),
            ("92;5u", Key::Control('\\')),
            ("119;5:2u", Key::Control('w')),
            // With caps lock and num lock on.
            ("99;197u", Key::Control('c')),
            // What is written is Cyrillic.
            ("1089::99;5u", Key::Control('c')),
            ("1089::99;3:1u", Key::Alt('c')),
            ("1092:1060:97;134:1u", Key::Control('a')),
            ("49;3u", Key::Alt('1')),
            ("98:66;4u", Key::Alt('B')),
            // French: the digit needs Shift.
            ("38:49:49;4u", Key::Alt('1')),
            ("32;2u", Key::Char(' ')),
            ("233;1u", Key::Char('é')),
            ("57407u", Key::Char('8')),
            ("57420u", Key::Down),
            ("57421;129u", Key::PageUp),
            ("1;1:2C", Key::Right),
            ("1;5:1C", Key::WordRight),
            ("1;133D", Key::WordLeft),
            ("3;1:2~", Key::Delete),
            ("119;5:3u", Key::Released(None)),
            ("97;1:3u", Key::Released(None)),
            ("1;1:3A", Key::Released(None)),
            ("5;1:3~", Key::Released(None)),
            ("1;1:3P", Key::Released(Some(Button::Function(1)))),
            ("19;1:3~", Key::Released(Some(Button::Function(8)))),
            ("116;5:3u", Key::Released(Some(Button::Control('t')))),
            // Control was let go before it.
            ("116;1:3u", Key::Released(Some(Button::Control('t')))),
            ("1077::116;1:3u", Key::Released(Some(Button::Control('t')))),
        ] {
            assert_eq!(decode(format!("\x1b[{bytes}").as_bytes()), [key], "{bytes}");
        }
        // Nothing of it is a key in a paste.
        assert_eq!(decode(b"\x1b[200~\x1b[97;5u\x1b[15~\x1b[[A\x1b[19;1:3~\x1b[201~").len(), 2);
    }

    #[test]
    fn what_is_no_known_key_is_nothing() {
        for bytes in [
            &b"\x1b[16~"[..],
            b"\x1b[[F",
            b"\x1b[<0;10;10M",
            b"\x1b[?1;2c",
            b"\x1bOT",
            b"\x00\x1c\x1f",
            b"\xc2\x9b",
            b"\x1b[1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1R",
            b"\x1b[<64;10;10m",
            b"\x1b[64~",
            b"\x1b[1;2R",
            b"\x1b[97;1:4u",
            b"\x1b[97;9u",
            b"\x1b[9;2u",
            b"\x1b[57441;2u",
            b"\x1b[1114112u",
            b"\x1b[99999999999u",
            b"\x1b[u",
            b"\x1b[0u",
            b"\x1b[15;1:2~",
            b"\x1b[116;5:2u",
            b"\x1b[?7u",
        ] {
            assert_eq!(decode(bytes), [], "{bytes:?}");
        }
        // It ends where something begins that cannot belong to it.
        assert_eq!(decode(b"\x1b[1;\rx"), [Key::Enter, Key::Char('x')]);
        assert_eq!(decode("\x1b[é".as_bytes()), [Key::Char('é')]);
    }

    #[test]
    fn keys_that_come_cut_anywhere_are_the_same() {
        let bytes = "aé😀\x1b[1;5D\x1bOA\x1b[200~b\x1b[201~\x1bf\r".as_bytes();
        let whole = decode(bytes);
        assert_eq!(whole.len(), 10);
        for cut in 1..bytes.len() {
            let (mut decoder, mut keys) = (Decoder::default(), VecDeque::new());
            decoder.push(&bytes[..cut], &mut keys);
            decoder.push(&bytes[cut..], &mut keys);
            assert_eq!(Vec::from(keys), whole, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_seen_as_such() {
        let odd = Key::Char(char::REPLACEMENT_CHARACTER);
        assert_eq!(decode(b"\xff"), [odd]);
        assert_eq!(decode(b"\xe9a"), [odd, Key::Char('a')]);
        assert_eq!(decode(b"\xc3\xc3\xa9"), [odd, Key::Char('é')]);
        assert_eq!(decode(b"\x80"), [odd]);
    }

    #[test]
    fn a_paste_is_text_and_line_breaks_and_nothing_that_does_something() {
        let keys = decode(b"\x1b[200~a\x1b[A\x04\x7f\x01\x1bb\x1b[2Jc\x1bOD\td\re\x1b[201~\x1b[A");
        let text = |c| Key::Char(c);
        let pasted = [text('a'), text('b'), text('c'), Key::Tab, text('d'), Key::Enter, text('e')];
        assert_eq!(keys[0], Key::PasteBegin);
        assert_eq!(keys[1..8], pasted);
        assert_eq!(keys[8..], [Key::PasteEnd, Key::Up]);
        // Whatever it ends in the middle of, the end of it is seen.
        for tail in ["\x1b", "\x1b[", "\x1b[1;", "\x1bO", "\x1b[["] {
            let keys = decode(format!("\x1b[200~x{tail}\x1b[201~\x7f").as_bytes());
            assert_eq!(keys, [Key::PasteBegin, text('x'), Key::PasteEnd, Key::Backspace], "{tail:?}");
        }
        // Nor does it begin twice.
        let keys = decode(b"\x1b[200~\x1b[200~x\x1b[201~\x1b[201~");
        assert_eq!(keys, [Key::PasteBegin, text('x'), Key::PasteEnd]);
        assert_eq!(decode(b"\x1bO\r"), [Key::Enter]);
    }

    #[test]
    fn an_escape_is_a_key_if_nothing_comes_behind_it() {
        let (mut decoder, mut keys) = (Decoder::default(), VecDeque::new());
        assert_eq!(decoder.end_escape(), None);
        decoder.push(b"a\x1b", &mut keys);
        assert!(decoder.is_after_escape());
        assert_eq!(decoder.end_escape(), Some(Key::Escape));
        decoder.push(b"b\x1b[200~c\x1b", &mut keys);
        assert_eq!(decoder.end_escape(), None);
        decoder.push(b"[201~", &mut keys);
        assert_eq!(
            keys,
            ['a', 'b']
                .map(Key::Char)
                .into_iter()
                .chain([Key::PasteBegin, Key::Char('c'), Key::PasteEnd])
                .collect::<Vec<_>>()
        );
    }
}
