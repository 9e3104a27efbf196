//! A line while it is typed: its text and cursor, what was cut out of it, the lines before it. Nothing of how it is drawn.
//!
//! It moves and deletes by graphemes, which is what people see as one character.

use std::collections::VecDeque;

use chinwag_proto::limits;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::key::Key;

/// Lines that can be called back; the oldest is forgotten.
const HISTORY_LINES: usize = 100;

/// What came of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing.
    Unchanged,
    /// The text, the cursor.
    Changed,
    /// There was no room, or nothing to go to.
    Refused,
    /// The screen is to be cleared.
    Clear,
    /// The line is finished, and the next begins.
    Entered(Entered),
    /// No more will be typed.
    Ended,
}

/// A finished line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entered {
    /// What was typed.
    pub text: String,
    /// More was typed than there was room for.
    pub is_cut: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Editor {
    text: String,
    /// A byte of `text`, between two characters.
    cursor: usize,
    is_cut: bool,
    /// What was cut out last.
    removed: String,
    history: VecDeque<Entered>,
    /// Which line of the history is shown.
    recalled: Option<usize>,
    /// What stood here before one was.
    draft: Entered,
}

impl Editor {
    /// What stands in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor is: a byte of the text.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Begins an empty line; what the old one was.
    pub fn take(&mut self) -> Entered {
        self.cursor = 0;
        self.recalled = None;
        self.draft = Entered::default();
        Entered { text: std::mem::take(&mut self.text), is_cut: std::mem::take(&mut self.is_cut) }
    }

    /// Goes on with a line that was begun.
    pub fn put(&mut self, line: Entered) {
        self.take();
        self.show(line);
    }

    /// From now on the line can be called back.
    pub fn remember(&mut self, line: &Entered) {
        if line.text.trim().is_empty() || self.history.back().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() == HISTORY_LINES {
            self.history.pop_front();
        }
        self.history.push_back(line.to_owned());
    }

    /// Does what the key is for.
    pub fn press(&mut self, key: Key) -> Outcome {
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Tab => self.insert(" "),
            Key::Enter => Outcome::Entered(self.take()),
            Key::Control('d') if self.text.is_empty() => Outcome::Ended,
            Key::Control('l') => Outcome::Clear,
            Key::Left | Key::Control('b') => self.go(self.before()),
            Key::Right | Key::Control('f') => self.go(self.after()),
            Key::WordLeft | Key::Alt('b') => self.go(self.word_before(is_of_word)),
            Key::WordRight | Key::Alt('f') => self.go(self.word_after()),
            Key::Home | Key::Control('a') => self.go(0),
            Key::End | Key::Control('e') => self.go(self.text.len()),
            Key::Up | Key::Control('p') => self.recall_earlier(),
            Key::Down | Key::Control('n') => self.recall_later(),
            Key::Backspace => self.delete(self.before()),
            Key::Delete | Key::Control('d') => self.delete(self.after()),
            Key::Control('u') => self.cut(0),
            Key::Control('k') => self.cut(self.text.len()),
            Key::Control('w') => self.cut(self.word_before(|grapheme| !grapheme.trim().is_empty())),
            Key::AltBackspace => self.cut(self.word_before(is_of_word)),
            Key::Alt('d') => self.cut(self.word_after()),
            Key::Control('y') => {
                let removed = std::mem::take(&mut self.removed);
                let outcome = self.insert(&removed);
                self.removed = removed;
                outcome
            }
            Key::Control(_)
            | Key::Alt(_)
            | Key::Escape
            | Key::PageUp
            | Key::PageDown
            | Key::WheelUp
            | Key::WheelDown
            | Key::PasteBegin
            | Key::PasteEnd
            | Key::FocusIn
            | Key::FocusOut
            | Key::Function(_)
            | Key::Released(_) => Outcome::Unchanged,
        }
    }

    /// Puts `with` in the place of what is between `from` and the cursor.
    pub fn replace(&mut self, from: usize, with: &str) -> Outcome {
        if !self.text.is_char_boundary(from) || from > self.cursor {
            return Outcome::Unchanged;
        }
        if self.text.len() - (self.cursor - from) + with.len() > limits::MESSAGE_BYTES {
            return Outcome::Refused;
        }
        self.text.replace_range(from..self.cursor, with);
        self.cursor = from + with.len();
        Outcome::Changed
    }

    /// Puts text in where the cursor is: all of it, or nothing where there is no room.
    pub fn insert(&mut self, text: &str) -> Outcome {
        if self.text.len() + text.len() > limits::MESSAGE_BYTES {
            self.is_cut = true;
            return Outcome::Refused;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        Outcome::Changed
    }

    fn go(&mut self, to: usize) -> Outcome {
        let has_moved = to != self.cursor;
        self.cursor = to;
        if has_moved { Outcome::Changed } else { Outcome::Unchanged }
    }

    /// Deletes what is between the cursor and `to`; what it was.
    fn take_out(&mut self, to: usize) -> Option<String> {
        let (from, to) = (self.cursor.min(to), self.cursor.max(to));
        if from == to {
            return None;
        }
        let removed = self.text.drain(from..to).collect();
        self.cursor = from;
        // Whoever shortens a line has seen how long it was.
        self.is_cut = false;
        Some(removed)
    }

    fn delete(&mut self, to: usize) -> Outcome {
        self.take_out(to).map_or(Outcome::Unchanged, |_| Outcome::Changed)
    }

    fn cut(&mut self, to: usize) -> Outcome {
        let Some(removed) = self.take_out(to) else { return Outcome::Unchanged };
        self.removed = removed;
        Outcome::Changed
    }

    fn show(&mut self, line: Entered) -> Outcome {
        (self.text, self.is_cut) = (line.text, line.is_cut);
        self.cursor = self.text.len();
        Outcome::Changed
    }

    fn recall_earlier(&mut self) -> Outcome {
        let place = self.recalled.unwrap_or(self.history.len()).checked_sub(1);
        let Some((place, line)) = place.and_then(|place| Some((place, self.history.get(place)?.clone())))
        else {
            return Outcome::Refused;
        };
        let shown = Entered { text: std::mem::take(&mut self.text), is_cut: self.is_cut };
        if self.recalled.is_none() {
            self.draft = shown;
        }
        self.recalled = Some(place);
        self.show(line)
    }

    fn recall_later(&mut self) -> Outcome {
        let Some(place) = self.recalled else { return Outcome::Refused };
        let line = self.history.get(place + 1).cloned();
        self.recalled = line.is_some().then_some(place + 1);
        let line = line.unwrap_or_else(|| std::mem::take(&mut self.draft));
        self.show(line)
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    /// Where the word in which the cursor is, or else the one before it, begins.
    fn word_before(&self, is_of_word: impl Fn(&str) -> bool) -> usize {
        let mut graphemes = self.text[..self.cursor].grapheme_indices(true).rev();
        let Some((mut begin, _)) = graphemes.find(|(_, grapheme)| is_of_word(grapheme)) else { return 0 };
        for (at, _) in graphemes.take_while(|(_, grapheme)| is_of_word(grapheme)) {
            begin = at;
        }
        begin
    }

    /// Where the word in which the cursor is, or else the one behind it, ends.
    fn word_after(&self) -> usize {
        let tail = &self.text[self.cursor..];
        let mut graphemes = tail.grapheme_indices(true).skip_while(|(_, grapheme)| !is_of_word(grapheme));
        let end = graphemes.find(|(_, grapheme)| !is_of_word(grapheme)).map_or(tail.len(), |(at, _)| at);
        self.cursor + end
    }
}

fn is_of_word(grapheme: &str) -> bool {
    grapheme.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presses one key after the other; a cursor is shown as `|`.
    fn after(editor: &mut Editor, keys: &[Key]) -> String {
        for key in keys {
            editor.press(*key);
        }
        let (before, behind) = editor.text.split_at(editor.cursor);
        format!("{before}|{behind}")
    }

    fn with(text: &str) -> Editor {
        Editor { text: text.to_owned(), cursor: text.len(), ..Editor::default() }
    }

    #[test]
    fn keys_do_what_they_do_everywhere() {
        let control = Key::Control;
        for (text, keys, expected) in [
            ("ab", &[Key::Left, Key::Char('x')][..], "ax|b"),
            ("ab", &[Key::Home, Key::Right, Key::Right, Key::Right], "ab|"),
            ("ab", &[control('a'), control('f'), control('b'), control('e')], "ab|"),
            ("ab", &[Key::Left, Key::Backspace, Key::Delete, Key::Delete], "|"),
            ("ab", &[control('a'), control('d')], "|b"),
            ("ab", &[Key::Backspace, Key::Tab], "a |"),
            ("one two, three", &[Key::WordLeft], "one two, |three"),
            ("one two, three", &[Key::Alt('b'), Key::Alt('b')], "one |two, three"),
            ("one two, three", &[Key::Home, Key::Alt('f'), Key::WordRight], "one two|, three"),
            ("one two/three ", &[control('w')], "one |"),
            ("one two/three ", &[Key::AltBackspace], "one two/|"),
            ("one two", &[Key::Home, Key::Alt('d')], "| two"),
            ("one two", &[Key::WordLeft, control('u')], "|two"),
            ("one two", &[Key::WordLeft, control('k'), control('a'), control('y')], "two|one "),
            ("one", &[control('w'), control('y'), control('y')], "oneone|"),
            // As people see them: a letter with its accent, a family, a flag.
            ("e\u{301}", &[Key::Backspace], "|"),
            ("👩\u{200d}👧", &[Key::Left, Key::Delete], "|"),
            ("🇦🇹🇩🇪", &[Key::Left], "🇦🇹|🇩🇪"),
            ("x", &[control('x'), Key::Alt('x'), Key::Down, Key::Up], "x|"),
        ] {
            assert_eq!(after(&mut with(text), keys), expected, "{text:?} {keys:?}");
        }
    }

    #[test]
    fn what_is_before_the_cursor_is_replaced_if_there_is_room() {
        let mut editor = with("hi fo there");
        after(&mut editor, &[Key::WordLeft, Key::Left]);
        assert_eq!(editor.replace(3, "Foo"), Outcome::Changed);
        assert_eq!(after(&mut editor, &[]), "hi Foo| there");
        assert_eq!(editor.replace(7, "x"), Outcome::Unchanged);
        assert_eq!(editor.replace(0, &"x".repeat(limits::MESSAGE_BYTES)), Outcome::Refused);
        assert_eq!(after(&mut editor, &[]), "hi Foo| there");
    }

    fn line_of(text: &str) -> Entered {
        Entered { text: text.to_owned(), is_cut: false }
    }

    #[test]
    fn a_line_is_finished_and_the_next_begins() {
        let mut editor = with("hello");
        let entered = Outcome::Entered(line_of("hello"));
        assert_eq!(editor.press(Key::Enter), entered);
        assert_eq!(after(&mut editor, &[]), "|");
        assert_eq!(editor.press(Key::Control('d')), Outcome::Ended);
        editor.press(Key::Char('x'));
        assert_eq!(editor.press(Key::Control('d')), Outcome::Unchanged);
    }

    #[test]
    fn lines_come_back_and_what_was_begun_does_too() {
        let mut editor = Editor::default();
        for line in ["one", "two", "two", " ", "three"] {
            editor.remember(&line_of(line));
        }
        after(&mut editor, &[Key::Char('x')]);
        for (key, expected) in [
            (Key::Up, "three|"),
            (Key::Control('p'), "two|"),
            (Key::Up, "one|"),
            (Key::Up, "one|"),
            (Key::Down, "two|"),
            (Key::Control('n'), "three|"),
            (Key::Down, "x|"),
            (Key::Down, "x|"),
        ] {
            assert_eq!(after(&mut editor, &[key]), expected);
        }
        for n in 0..1000 {
            editor.remember(&line_of(&n.to_string()));
        }
        assert_eq!(editor.history.len(), HISTORY_LINES);
    }

    #[test]
    fn what_has_no_room_is_refused_and_the_line_known_to_be_cut() {
        let mut editor = with(&"x".repeat(limits::MESSAGE_BYTES - 1));
        assert_eq!(editor.press(Key::Char('é')), Outcome::Refused);
        assert_eq!(editor.text.len(), limits::MESSAGE_BYTES - 1);
        assert!(matches!(editor.press(Key::Enter), Outcome::Entered(line) if line.is_cut));
        // Nor is it whole when it comes back, from before or after another one.
        editor.remember(&Entered { is_cut: true, ..line_of("x") });
        editor.press(Key::Up);
        assert!(matches!(editor.press(Key::Enter), Outcome::Entered(line) if line.is_cut));
        let mut editor = with(&"x".repeat(limits::MESSAGE_BYTES));
        editor.press(Key::Char('y'));
        editor.remember(&line_of("another"));
        after(&mut editor, &[Key::Up, Key::Down]);
        assert!(matches!(editor.press(Key::Enter), Outcome::Entered(line) if line.is_cut));
        // Not if it was made shorter since.
        let mut editor = with(&"x".repeat(limits::MESSAGE_BYTES));
        assert_eq!(editor.press(Key::Char('y')), Outcome::Refused);
        editor.press(Key::Backspace);
        assert!(matches!(editor.press(Key::Enter), Outcome::Entered(line) if !line.is_cut));
    }
}
