//! The row in which a line is typed: always one, the last of all. A prompt stands in it, and as much of the text as there is room
//! for.
//!
//! To print something, the row is erased, the text written where it was, and the row drawn again below. So nobody has to know
//! where on the screen it is, and the terminal wraps what is printed by itself. Text is never written into the last column, and
//! while the row is drawn the terminal is told not to wrap: it may think some emoji wider than they are thought here.

use std::borrow::Cow;

use chinwag_proto::{limits, text::escape};
use chinwag_screen::{Editor, Entered, Key, Outcome};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::keyboard::Typed;

/// To the beginning of the row, and nothing in it and below.
pub(crate) const ERASE: &str = "\r\x1b[J";
const ERASE_REST: &str = "\x1b[K";
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";
const BELL: &str = "\x07";
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";
/// The terminal knows best where the cursor is.
const SAVE_CURSOR: &str = "\x1b7";
const RESTORE_CURSOR: &str = "\x1b8";
/// There is more of the text on this side.
const MORE_BEFORE: &str = "\x1b[7m<\x1b[m";
const MORE_BEHIND: &str = "\x1b[7m>\x1b[m";

/// A terminal that does not know its width is taken to have so many columns.
const USUAL_COLUMNS: usize = 80;
/// A prompt that leaves less than this for the text is not shown.
const LEAST_COLUMNS: usize = 8;

/// How lines that are typed are taken.
pub(crate) struct Manner<'a> {
    /// These give way to what comes back of them from others; all else stays on the screen.
    pub(crate) is_said: &'a dyn Fn(&str) -> bool,
    /// They can be called back.
    pub(crate) is_remembered: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Row {
    prompt: String,
    editor: Editor,
    /// The byte of the text that is the first to be seen.
    start: usize,
    /// What is said now comes back soon.
    is_in: bool,
}

impl Row {
    pub(crate) fn set_in(&mut self, is_in: bool) {
        self.is_in = is_in;
    }

    pub(crate) fn set_prompt(&mut self, prompt: &str) {
        prompt.clone_into(&mut self.prompt);
    }

    /// What is typed and not finished.
    pub(crate) fn text(&self) -> &str {
        self.editor.text()
    }

    /// Goes on with what was typed before. If something was typed meanwhile, that stays, and this can be called back.
    pub(crate) fn begin(&mut self, text: &str) {
        let text = text.chars().filter(|c| !c.is_control()).collect();
        let line = Entered { text, is_cut: false };
        if line.text.len() > limits::MESSAGE_BYTES {
            return;
        }
        match self.editor.text().is_empty() {
            true => self.editor.put(line),
            false => self.editor.remember(&line),
        }
    }

    /// Takes a key; what was typed with it. What is to be written before the row is drawn again goes to `out`.
    pub(crate) fn press(&mut self, key: Key, manner: &Manner<'_>, out: &mut String) -> Option<Typed> {
        match self.editor.press(key) {
            Outcome::Unchanged | Outcome::Changed => None,
            Outcome::Refused => {
                // Once is enough for a long paste.
                if !out.ends_with(BELL) {
                    out.push_str(BELL);
                }
                None
            }
            Outcome::Clear => {
                out.push_str(CLEAR_SCREEN);
                None
            }
            Outcome::Entered(entered) => {
                if manner.is_remembered {
                    self.editor.remember(&entered);
                }
                let Entered { text, is_cut } = entered;
                out.push_str(ERASE);
                let is_said = self.is_in && (manner.is_said)(&text);
                if is_cut || !(is_said || text.is_empty()) {
                    self.leave(&text, out);
                }
                Some(if is_cut { Typed::TOO_LONG } else { Typed::Line(text) })
            }
            Outcome::Ended => Some(Typed::End),
        }
    }

    /// Whatever was begun stays on the screen, above the cursor; nothing of the row does.
    pub(crate) fn end(&mut self, out: &mut String) {
        let Entered { text, .. } = self.editor.take();
        out.push_str(ERASE);
        if !text.is_empty() {
            self.leave(&text, out);
        }
    }

    fn leave(&self, text: &str, out: &mut String) {
        out.push_str(&self.prompt);
        out.push_str(&escape(text));
        out.push('\n');
    }

    /// Lines, and the row below them.
    pub(crate) fn below(&mut self, lines: &[u8], columns: usize) -> Vec<u8> {
        let mut row = String::new();
        self.draw(columns, &mut row);
        [ERASE.as_bytes(), lines, end_of(lines), row.as_bytes()].concat()
    }

    /// Draws it on a terminal with so many columns (0: nobody knows).
    pub(crate) fn draw(&mut self, columns: usize, out: &mut String) {
        let columns = if columns == 0 { USUAL_COLUMNS } else { columns };
        let mut room = columns.saturating_sub(1);
        out.push('\r');
        out.push_str(WRAP_OFF);
        if room >= self.prompt.width() + LEAST_COLUMNS {
            room -= self.prompt.width();
            out.push_str(&self.prompt);
        }
        self.scroll(room);
        let (text, cursor) = (self.editor.text(), self.editor.cursor());
        if self.start > 0 {
            out.push_str(MORE_BEFORE);
            room = room.saturating_sub(1);
        }
        let before = &text[self.start..cursor];
        for (_, shown) in cells(before) {
            out.push_str(&shown);
        }
        room = room.saturating_sub(width(before));
        if cursor < text.len() {
            out.push_str(SAVE_CURSOR);
            let behind = &text[cursor..];
            let has_more = !fits(behind, room);
            let end = fitting(behind, room.saturating_sub(usize::from(has_more)));
            for (_, shown) in cells(&behind[..end]) {
                out.push_str(&shown);
            }
            if has_more {
                out.push_str(MORE_BEHIND);
            }
        }
        out.push_str(ERASE_REST);
        if cursor < text.len() {
            out.push_str(RESTORE_CURSOR);
        }
        out.push_str(WRAP_ON);
    }

    /// Moves the text so that the cursor is seen, by a third of the row at least, since a text that jumps at each key is hard to read.
    fn scroll(&mut self, room: usize) {
        let (text, cursor) = (self.editor.text(), self.editor.cursor());
        if fits(text, room) {
            self.start = 0;
            return;
        }
        // The mark before it, and the character under the cursor, or the mark behind.
        let room = room.saturating_sub(3).max(1);
        let is_seen = text.is_char_boundary(self.start)
            && (self.start < cursor || self.start == 0)
            && fits(&text[self.start..cursor], room)
            // A text that became shorter fills the row all the same.
            && (self.start == 0 || !fits(&text[self.start..], room / 3));
        if !is_seen {
            let part = if cursor <= self.start { room / 3 } else { room * 2 / 3 };
            self.start = cursor - fitting_at_end(&text[..cursor], part);
        }
    }
}

/// What is missing for these to be whole lines.
pub(crate) fn end_of(lines: &[u8]) -> &'static [u8] {
    if lines.ends_with(b"\n") { b"" } else { b"\n" }
}

/// The graphemes of `text`: where each begins, and how it is shown.
fn cells(text: &str) -> impl DoubleEndedIterator<Item = (usize, Cow<'_, str>)> {
    text.grapheme_indices(true).map(|(at, grapheme)| (at, escape(grapheme)))
}

/// How wide a terminal may take this to be: some take the characters of which an emoji is made one by one.
fn cell_width(shown: &str) -> usize {
    let one_by_one = shown.chars().map(|c| c.width().unwrap_or_default()).sum();
    shown.width().max(one_by_one)
}

fn width(text: &str) -> usize {
    cells(text).map(|(_, shown)| cell_width(&shown)).sum()
}

fn fits(text: &str, room: usize) -> bool {
    fitting(text, room) == text.len()
}

/// So many bytes of the beginning fit.
fn fitting(text: &str, room: usize) -> usize {
    let mut taken = 0;
    let beyond = cells(text).find(|(_, shown)| {
        taken += cell_width(shown);
        taken > room
    });
    beyond.map_or(text.len(), |(at, _)| at)
}

/// So many bytes of the end fit.
fn fitting_at_end(text: &str, room: usize) -> usize {
    let (mut taken, mut begin) = (0, text.len());
    for (at, shown) in cells(text).rev() {
        taken += cell_width(&shown);
        if taken > room {
            break;
        }
        begin = at;
    }
    text.len() - begin
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, num::NonZero};

    use chinwag_screen::Decoder;

    use super::*;

    const ROWS: NonZero<u16> = NonZero::new(12).unwrap();

    /// A person before a screen.
    struct Person {
        row: Row,
        decoder: Decoder,
        screen: vt100::Parser,
        columns: u16,
        typed: Vec<Typed>,
    }

    impl Person {
        fn new(columns: u16, prompt: &str) -> Self {
            let mut row = Row::default();
            row.set_prompt(prompt);
            row.set_in(true);
            let screen = vt100::Parser::new(ROWS, NonZero::new(columns).unwrap(), 100);
            let mut person = Self { row, decoder: Decoder::default(), screen, columns, typed: vec![] };
            person.types("");
            person
        }

        fn write(&mut self, text: &str) {
            assert!(!text.contains(['\u{9b}', '\u{202e}']), "{text:?}");
            self.screen.process(text.replace('\n', "\r\n").as_bytes());
        }

        fn types(&mut self, text: &str) {
            let mut keys = VecDeque::new();
            self.decoder.push(text.as_bytes(), &mut keys);
            let manner = Manner { is_said: &|line| !line.starts_with('/'), is_remembered: true };
            let mut out = String::new();
            for key in keys {
                self.typed.extend(self.row.press(key, &manner, &mut out));
            }
            self.row.draw(self.columns.into(), &mut out);
            self.write(&out);
        }

        fn is_told(&mut self, line: &str) {
            let out = self.row.below(line.as_bytes(), self.columns.into());
            self.write(&String::from_utf8(out).unwrap());
        }

        fn is_resized(&mut self, columns: u16) {
            self.columns = columns;
            self.screen.screen_mut().set_size(ROWS, NonZero::new(columns).unwrap());
            self.types("");
        }

        /// What stands on the screen, without empty rows at its end.
        fn rows(&self) -> Vec<String> {
            let screen = self.screen.screen();
            let mut rows: Vec<_> = screen.rows(0, self.columns).collect();
            while rows.last().is_some_and(String::is_empty) {
                rows.pop();
            }
            rows
        }

        /// The row in which something is typed, with the cursor in it as `|`.
        fn typing(&self) -> String {
            let screen = self.screen.screen();
            let (row, column) = screen.cursor_position();
            assert!(self.rows().len() <= usize::from(row) + 1, "the last one: {:?}", self.rows());
            let part = |from, width| screen.rows(from, width).nth(row.into()).unwrap();
            let before = part(0, column);
            let blanks = usize::from(column).saturating_sub(before.width());
            before + &" ".repeat(blanks) + "|" + &part(column, self.columns - column)
        }
    }

    #[test]
    fn what_comes_in_never_stands_in_what_is_typed() {
        for columns in [20, 21, 40, 80, 132] {
            let mut foo = Person::new(columns, "");
            foo.types("half a");
            foo.is_told("Bar: hello");
            assert_eq!(
                (foo.rows(), foo.typing()),
                (vec!["Bar: hello".into(), "half a".into()], "half a|".into())
            );
            foo.types(" line");
            foo.is_told("Bar: again\n");
            foo.types("\r");
            assert_eq!(foo.rows(), ["Bar: hello", "Bar: again"]);
            foo.is_told("Foo: half a line");
            assert_eq!(foo.rows(), ["Bar: hello", "Bar: again", "Foo: half a line"]);
            assert_eq!(foo.typing(), "|");
            assert_eq!(foo.typed, [Typed::Line("half a line".to_owned())]);
        }
    }

    #[test]
    fn what_is_longer_than_a_row_wraps_where_it_is_printed_and_scrolls_where_it_is_typed() {
        for columns in [20, 33, 80] {
            let mut foo = Person::new(columns, "> ");
            let text: String = ('a'..='z').cycle().take(300).collect();
            foo.types(&text);
            let row = foo.typing();
            assert!(row.starts_with("> <") && row.ends_with(&(text[295..].to_owned() + "|")), "{row}");
            assert_eq!(foo.rows().len(), 1);
            let long = "y".repeat(usize::from(columns) * 2);
            foo.is_told(&long);
            let whole = "y".repeat(columns.into());
            assert_eq!(foo.rows()[..2], [whole.clone(), whole]);
            assert_eq!(foo.typing(), row);
            // There and back, the cursor is always to be seen, and what it is in.
            for key in ["\x1b[D", "\x1b[C"] {
                for n in 0..300 {
                    foo.types(key);
                    let at = if key == "\x1b[D" { 299 - n } else { n + 1 };
                    let row = foo.typing();
                    let (before, behind) = row.split_once('|').unwrap();
                    let before = before.strip_prefix("> ").unwrap().trim_start_matches('<');
                    let behind = behind.trim_end_matches('>');
                    assert!(text[..at].ends_with(before) && text[at..].starts_with(behind), "{at}: {row}");
                    assert!(at == 0 || !before.is_empty(), "{at}: {row}");
                    assert!(at == 300 || !behind.is_empty(), "{at}: {row}");
                    assert!(row.width() <= usize::from(columns), "{row}");
                }
            }
            foo.types("\x01");
            assert!(foo.typing().starts_with("> |abcdef") && foo.typing().ends_with('>'), "{}", foo.typing());
            foo.types("\x0b");
            assert_eq!(foo.typing(), "> |");
        }
    }

    #[test]
    fn a_text_that_fills_the_row_needs_no_second_one() {
        for typed in 15..25 {
            let mut foo = Person::new(20, "");
            foo.types(&"x".repeat(typed));
            assert_eq!(foo.rows().len(), 1);
            foo.types("\x01");
            assert_eq!(foo.rows().len(), 1);
            // It shows all that it has room for.
            assert_eq!(foo.typing().width(), 1 + typed.min(19), "{}", foo.typing());
        }
    }

    #[test]
    fn wide_characters_are_never_cut_and_the_cursor_is_where_it_belongs() {
        for columns in 20..28 {
            for (letter, width) in [("好", 2), ("😀", 2), ("e\u{301}", 1), ("👩\u{200d}👧", 4), ("🇦🇹", 2)]
            {
                let mut foo = Person::new(columns, "");
                foo.types(&letter.repeat(3));
                assert_eq!(foo.screen.screen().cursor_position().1, 3 * width, "{letter}");
                foo.types("\x1b[D");
                assert_eq!(foo.screen.screen().cursor_position().1, 2 * width, "{letter}");
                foo.types(&letter.repeat(40));
                for _ in 0..50 {
                    foo.types("\x1b[D");
                    let rest = foo.typing().replace(letter, "").replace(['|', '<', '>'], "");
                    assert_eq!((foo.rows().len(), rest.trim()), (1, ""), "{columns} {:?}", foo.rows());
                }
                foo.types("\r");
                assert_eq!(foo.typed, [Typed::Line(letter.repeat(43))]);
            }
        }
    }

    #[test]
    fn a_row_becomes_shorter_and_longer_with_its_screen() {
        let mut foo = Person::new(80, "Send : ");
        let text: String = ('a'..='z').cycle().take(60).collect();
        foo.types(&text);
        assert_eq!(foo.typing(), format!("Send : {text}|"));
        foo.is_resized(30);
        assert!(foo.typing().starts_with("Send : <") && foo.typing().ends_with("efgh|"), "{}", foo.typing());
        // No room for the prompt.
        foo.is_resized(14);
        assert!(foo.typing().starts_with('<') && foo.typing().ends_with("efgh|"), "{}", foo.typing());
        foo.is_resized(80);
        assert_eq!(foo.typing(), format!("Send : {text}|"));
        assert_eq!(foo.rows().len(), 1);
    }

    #[test]
    fn lines_that_do_not_come_back_stay_with_their_prompt() {
        let mut foo = Person::new(40, "Send : ");
        foo.types("/who\rhello\r\r");
        assert_eq!(foo.rows(), ["Send : /who", "Send : "]);
        foo.row.set_in(false);
        foo.types("meanwhile\r");
        assert_eq!(foo.rows(), ["Send : /who", "Send : meanwhile", "Send : "]);
        // And what was begun does when it is broken off.
        foo.types("unfinished");
        let mut out = String::new();
        foo.row.end(&mut out);
        foo.write(&out);
        assert_eq!(foo.rows(), ["Send : /who", "Send : meanwhile", "Send : unfinished"]);
        assert_eq!(foo.screen.screen().cursor_position(), (3, 0));
    }

    #[test]
    fn nothing_that_is_typed_or_pasted_drives_the_terminal() {
        let mut foo = Person::new(60, "");
        foo.is_told("Bar: hello");
        foo.types("\x1b[200~a\x1b[2Jb\x07\u{9b}31m\x1b]0;owned\x07\x1b[201~");
        foo.types("\u{202e}c");
        assert_eq!(foo.rows()[0], "Bar: hello");
        assert_eq!(foo.typing(), "ab31m]0;owned\\u{202e}c|");
        foo.row.set_in(false);
        foo.types("\r");
        assert_eq!(foo.rows(), ["Bar: hello", "ab31m]0;owned\\u{202e}c"]);
        assert_eq!(foo.typed, [Typed::Line("ab31m]0;owned\u{202e}c".to_owned())]);
    }

    #[test]
    fn lines_that_are_pasted_are_lines_as_typed() {
        let mut foo = Person::new(40, "");
        foo.types("\x1b[200~one\rtwo\n\tthree\x1b[201~");
        assert_eq!(foo.typed, ["one", "two"].map(|line| Typed::Line(line.to_owned())));
        assert_eq!(foo.typing(), " three|");
    }

    #[test]
    fn a_line_that_is_too_long_is_not_sent_in_part() {
        let mut foo = Person::new(40, "");
        foo.types(&("x".repeat(limits::MESSAGE_BYTES) + "yz\r"));
        assert_eq!(foo.typed, [Typed::TOO_LONG]);
        // It is still to be seen, and can be called back and made shorter.
        assert!(foo.rows().join("").contains(&"x".repeat(200)));
        foo.types("\x1b[A\x7f\r");
        assert_eq!(foo.typed[1], Typed::Line("x".repeat(limits::MESSAGE_BYTES - 1)));
    }

    #[test]
    fn a_cleared_screen_has_the_row_only() {
        let mut foo = Person::new(40, "");
        foo.is_told("Bar: hello");
        foo.types("half\x0c");
        assert_eq!((foo.rows(), foo.typing()), (vec!["half".to_owned()], "half|".to_owned()));
    }
}
