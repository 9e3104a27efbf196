//! Writes text into the cells of a picture: never beyond its place, and so that what reads from right to left stays there, too.

use ratatui_core::{buffer::Buffer, layout::Rect, style::Style};

use crate::glyph::{Glyph, LEFT_TO_RIGHT, glyphs};

/// One row of a pane, written from left to right. What has no room is left out.
pub(crate) struct Pen<'a> {
    buffer: &'a mut Buffer,
    x: u16,
    y: u16,
    end: u16,
}

impl<'a> Pen<'a> {
    /// Row `row` of a pane, or nothing if that has no such row.
    pub(crate) fn at(buffer: &'a mut Buffer, pane: Rect, row: u16) -> Self {
        let pane = pane.intersection(buffer.area);
        let end = if row < pane.height { pane.right() } else { pane.x };
        Self { buffer, x: pane.x, y: pane.y.saturating_add(row), end }
    }

    /// Columns that are left.
    pub(crate) fn room(&self) -> u16 {
        self.end - self.x
    }

    pub(crate) fn x(&self) -> u16 {
        self.x
    }

    /// Leaves out so many columns.
    pub(crate) fn skip(&mut self, columns: u16) -> &mut Self {
        self.x += columns.min(self.room());
        self
    }

    /// So many columns fewer are written.
    pub(crate) fn narrow(&mut self, columns: u16) {
        self.end -= columns.min(self.room());
    }

    /// Leaves out all but so many columns.
    pub(crate) fn keep(&mut self, columns: u16) -> &mut Self {
        self.skip(self.room().saturating_sub(columns))
    }

    /// A text that is escaped.
    pub(crate) fn text(&mut self, text: &str, style: Style) -> &mut Self {
        self.glyphs(glyphs(text), |_| style)
    }

    /// The rest of the row in one style.
    pub(crate) fn fill(&mut self, symbol: &str, style: Style) -> &mut Self {
        while self.room() > 0 {
            self.cell(symbol, style);
            self.x += 1;
        }
        self
    }

    /// Glyphs, each in its style. They are one piece: terminals that put right-to-left text into its order by themselves do not
    /// take what stands behind into it.
    pub(crate) fn glyphs<'g>(
        &mut self,
        glyphs: impl Iterator<Item = Glyph<'g>>,
        style: impl Fn(&Glyph<'g>) -> Style,
    ) -> &mut Self {
        let mut symbol = String::new();
        let (mut is_right_to_left, mut last) = (false, None);
        for glyph in glyphs {
            let width = u16::try_from(glyph.width).unwrap_or(u16::MAX);
            if width > self.room() {
                break;
            }
            symbol.clear();
            glyph.push_to(&mut symbol);
            let style = style(&glyph);
            last = Some(self.x);
            is_right_to_left |= glyph.is_right_to_left();
            self.cell(&symbol, style);
            for _ in 1..width {
                self.x += 1;
                self.cell(" ", style);
            }
            self.x += 1;
        }
        if let Some(x) = last.filter(|_| is_right_to_left)
            && let Some(cell) = self.buffer.cell_mut((x, self.y))
        {
            let symbol = format!("{}{LEFT_TO_RIGHT}", cell.symbol());
            cell.set_symbol(&symbol);
        }
        self
    }

    fn cell(&mut self, symbol: &str, style: Style) {
        if let Some(cell) = self.buffer.cell_mut((self.x, self.y)) {
            cell.reset();
            cell.set_symbol(symbol).set_style(style);
        }
    }
}
