//! What is written to a terminal so that it shows a picture: only what differs from the one before.
//!
//! Terminals do not agree on how wide some glyphs are. A row that has any but plain ones is written whole, the cells of a wide one are
//! made blank before it comes, and the cursor is set behind each of these, so that a terminal that thinks otherwise spoils that glyph
//! and nothing else. It must not wrap ([`ENTER`] says so).

use std::fmt::Write as _;

use ratatui_core::{
    buffer::{Buffer, Cell},
    layout::Position,
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr as _;

/// Takes a terminal over: another screen, no wrapping, pastes that are marked, wheel and focus told, everything erased. Keys that are
/// told apart, and when they are let go, by the kitty keyboard protocol: a terminal that does not know that takes no notice (the
/// flags: disambiguate, event types, alternate keys). It is a stack of the other screen, so that each of these needs its [`LEAVE`].
pub const ENTER: &str =
    "\x1b[?1049h\x1b[>7u\x1b[?7l\x1b[?2004h\x1b[?1000h\x1b[?1006h\x1b[?1004h\x1b[m\x1b[2J";
/// Gives it back as it was.
pub const LEAVE: &str =
    "\x1b[<u\x1b[?1004l\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?7h\x1b[m\x1b[?25h\x1b[?1049l";

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const BELL: char = '\x07';

/// What turns `before`, which the terminal shows, into `after`; without it, or where it has another size, all is written. The cursor
/// is left at `cursor`, if anywhere.
pub fn paint(before: Option<&Buffer>, after: &Buffer, cursor: Option<Position>, rings: bool) -> String {
    let mut out = String::new();
    if rings {
        out.push(BELL);
    }
    out.push_str(HIDE_CURSOR);
    let before = before.filter(|before| before.area == after.area);
    if before.is_none() {
        out.push_str("\x1b[m\x1b[2J");
    }
    let mut pen = Pen { out, at: None, style: None };
    let columns = usize::from(after.area.width);
    if columns > 0 {
        for (y, row) in (0..).zip(after.content.chunks_exact(columns)) {
            let old = before.and_then(|before| before.content.chunks_exact(columns).nth(usize::from(y)));
            pen.row(y, old, row);
        }
    }
    let mut out = pen.out;
    out.push_str("\x1b[m");
    if let Some(Position { x, y }) = cursor {
        let _ = write!(out, "\x1b[{};{}H{SHOW_CURSOR}", y + 1, x + 1);
    }
    out
}

/// Where the terminal's cursor is, as far as that is known, and in what style it writes.
struct Pen {
    out: String,
    at: Option<(u16, u16)>,
    style: Option<(Color, Color, Modifier)>,
}

impl Pen {
    fn row(&mut self, y: u16, old: Option<&[Cell]>, new: &[Cell]) {
        if old == Some(new) {
            return;
        }
        let is_plain = new.iter().chain(old.unwrap_or_default()).all(is_plain);
        let mut x = 0;
        while let Some(cell) = new.get(x) {
            let is_same = is_plain && old.and_then(|old| old.get(x)) == Some(cell);
            let width = cell.symbol().width().max(1);
            if !is_same {
                self.cell(u16::try_from(x).unwrap_or(u16::MAX), y, cell);
            }
            x += width;
        }
    }

    fn cell(&mut self, x: u16, y: u16, cell: &Cell) {
        self.go_to(x, y);
        let style = (cell.fg, cell.bg, cell.modifier);
        if self.style != Some(style) {
            self.set_style(cell);
            self.style = Some(style);
        }
        let width = cell.symbol().width();
        if width > 1 {
            // Where it is narrower for the terminal, what stood there would stay beside it.
            self.out.extend(std::iter::repeat_n(' ', width));
            self.at = None;
            self.go_to(x, y);
        }
        self.out.push_str(cell.symbol());
        self.at = is_plain(cell).then_some((x + 1, y));
    }

    fn go_to(&mut self, x: u16, y: u16) {
        if self.at != Some((x, y)) {
            // Writing to a String cannot fail.
            let _ = write!(self.out, "\x1b[{};{}H", y + 1, x + 1);
        }
    }

    fn set_style(&mut self, cell: &Cell) {
        self.out.push_str("\x1b[");
        for (modifier, code) in [
            (Modifier::BOLD, "1"),
            (Modifier::DIM, "2"),
            (Modifier::ITALIC, "3"),
            (Modifier::UNDERLINED, "4"),
            (Modifier::REVERSED, "7"),
        ] {
            if cell.modifier.contains(modifier) {
                self.out.push(';');
                self.out.push_str(code);
            }
        }
        for code in [colour(cell.fg), colour(cell.bg).map(|code| code + 10)].into_iter().flatten() {
            let _ = write!(self.out, ";{code}");
        }
        self.out.push('m');
    }
}

/// One that all terminals think one column wide. Nothing wider is put beside itself.
fn is_plain(cell: &Cell) -> bool {
    let symbol = cell.symbol();
    symbol.len() == 1 || (symbol.chars().nth(1).is_none() && symbol.width() == 1)
}

/// The number of a foreground colour; none for the terminal's own. Others than the sixteen of every terminal are not used.
fn colour(colour: Color) -> Option<u8> {
    Some(match colour {
        Color::Black => 30,
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::Gray => 37,
        Color::DarkGray => 90,
        Color::LightRed => 91,
        Color::LightGreen => 92,
        Color::LightYellow => 93,
        Color::LightBlue => 94,
        Color::LightMagenta => 95,
        Color::LightCyan => 96,
        Color::White => 97,
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => return None,
    })
}
