//! What is written to a terminal makes it show the picture.

use std::num::NonZero;

use crate::common::{LOBBY, alone, busy, says, types};
use chinwag_screen::{Buffer, ENTER, LEAVE, Model, Rect, draw, paint};

/// A terminal, and what it shows.
struct Terminal {
    screen: vt100::Parser,
    before: Option<Buffer>,
    columns: u16,
    rows: u16,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        let size = |n| NonZero::new(n).unwrap();
        let mut screen = vt100::Parser::new(size(rows), size(columns), 0);
        screen.process(ENTER.as_bytes());
        Self { screen, before: None, columns, rows }
    }

    /// Shows a model; how many bytes that took.
    fn shows(&mut self, model: &mut Model) -> usize {
        model.set_size(self.columns, self.rows);
        let mut buffer = Buffer::empty(Rect::new(0, 0, self.columns, self.rows));
        let cursor = draw(model, &mut buffer);
        let written = paint(self.before.as_ref(), &buffer, cursor, model.take_bell());
        self.screen.process(written.as_bytes());
        let shown: Vec<_> =
            self.screen.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned()).collect();
        assert_eq!(shown, crate::common::rows(&buffer));
        if let Some(cursor) = cursor {
            assert_eq!(self.screen.screen().cursor_position(), (cursor.y, cursor.x));
            assert!(!self.screen.screen().hide_cursor());
        } else {
            assert!(self.screen.screen().hide_cursor());
        }
        self.before = Some(buffer);
        written.len()
    }
}

#[test]
fn a_terminal_shows_the_picture_and_only_what_differs_is_written() {
    let mut terminal = Terminal::new(80, 24);
    let mut model = alone();
    let all = terminal.shows(&mut model);
    let nothing = terminal.shows(&mut model);
    assert!(nothing < 30, "{nothing}");
    types(&mut model, "a");
    let letter = terminal.shows(&mut model);
    assert!(letter < 50 && letter < all, "{letter}");
    for n in 0..50 {
        model.said(LOBBY, says("Bar", &format!("line {n} 好 é")));
        terminal.shows(&mut model);
    }
    model.show_help();
    terminal.shows(&mut model);
    types(&mut model, "\x1b\x1b[5~");
    terminal.shows(&mut model);
    types(&mut model, "\x1b[200~a\rb\x1b[201~");
    terminal.shows(&mut model);
}

#[test]
fn glyphs_that_terminals_take_to_be_wider_spoil_nothing_else() {
    // This terminal takes a family to be as wide as its members are together.
    let mut model = busy();
    let mut terminal = Terminal::new(80, 24);
    model.set_size(80, 24);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    let cursor = draw(&model, &mut buffer);
    terminal.screen.process(paint(None, &buffer, cursor, false).as_bytes());
    let rows = crate::common::rows(&buffer);
    let at = rows.iter().position(|row| row.contains("👩\u{200d}👧")).unwrap();
    let shown = terminal.screen.screen().rows(0, 80).nth(at).unwrap();
    // Beside it, the border is where it belongs.
    assert!(shown.contains('│'), "{shown}");
    assert_eq!(terminal.screen.screen().cell(u16::try_from(at).unwrap(), 60).unwrap().contents(), "│");
}

#[test]
fn glyphs_that_terminals_take_to_be_narrower_leave_nothing_of_what_stood_there() {
    let mut model = alone();
    let mut terminal = Terminal::new(80, 24);
    for _ in 0..30 {
        model.said(LOBBY, says("Bar", &"X".repeat(400)));
    }
    terminal.shows(&mut model);
    model.said(LOBBY, says("Bar", "k 1\u{fe0f}\u{20e3} ❤\u{fe0f} ☀\u{fe0f} 好 done"));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    let cursor = draw(&model, &mut buffer);
    let written = paint(terminal.before.as_ref(), &buffer, cursor, false);
    // What asks for two columns means nothing to this terminal.
    terminal.screen.process(written.replace('\u{fe0f}', "").as_bytes());
    let rows: Vec<_> = terminal.screen.screen().rows(0, 59).collect();
    let row = rows.iter().find(|row| row.contains("done")).unwrap();
    assert_eq!(row.trim_end(), "20:00 Bar: k 1\u{20e3}  ❤  ☀  好 done");
}

#[test]
fn a_terminal_is_left_as_it_was() {
    let mut terminal = Terminal::new(40, 10);
    terminal.screen = vt100::Parser::new(NonZero::new(10).unwrap(), NonZero::new(40).unwrap(), 0);
    terminal.screen.process(b"before");
    let before = terminal.screen.screen().state_formatted();
    terminal.screen.process(ENTER.as_bytes());
    assert!(terminal.screen.screen().alternate_screen() && terminal.screen.screen().bracketed_paste());
    terminal.shows(&mut busy_without_wide());
    terminal.screen.process(LEAVE.as_bytes());
    let screen = terminal.screen.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    assert_eq!(screen.state_formatted(), before);
}

fn busy_without_wide() -> Model {
    let mut model = alone();
    model.said(LOBBY, says("Bar", "hello"));
    model
}

#[test]
fn a_bell_is_rung_once() {
    let buffer = Buffer::empty(Rect::new(0, 0, 2, 2));
    assert!(paint(None, &buffer, None, true).contains('\x07'));
    assert!(!paint(None, &buffer, None, false).contains('\x07'));
}
