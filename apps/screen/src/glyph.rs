//! Text as it stands in the cells of a screen: what takes one cell or two, and very few letters three.
//!
//! Most graphemes are one glyph. What a font could not show in two cells, such as a chain of Hangul letters that never ends, is
//! shown letter by letter; marks beyond [`GLYPH_CHARS`] are left out; a mark without a letter gets a circle to stand on.

use unicode_segmentation::{GraphemeIndices, UnicodeSegmentation as _};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Characters of one glyph: as many as the longest emoji of families have. A letter with more marks than that is a prank.
const GLYPH_CHARS: usize = 10;
/// What a lone mark stands on.
const CIRCLE: char = '\u{25cc}';
/// Left to right, and nothing to see: what stands behind it is not drawn into a run of right-to-left text before it.
pub(crate) const LEFT_TO_RIGHT: char = '\u{200e}';

/// A glyph, and where in the text it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Glyph<'a> {
    /// The byte of the text where it begins.
    pub(crate) at: usize,
    /// What comes from there.
    pub(crate) shown: &'a str,
    /// At least 1.
    pub(crate) width: usize,
    /// It is a mark that stands on nothing.
    pub(crate) is_lone_mark: bool,
}

impl Glyph<'_> {
    /// What is written for it.
    pub(crate) fn push_to(&self, out: &mut String) {
        if self.is_lone_mark {
            out.push(CIRCLE);
        }
        out.push_str(self.shown);
    }

    pub(crate) fn is_right_to_left(&self) -> bool {
        self.shown.chars().any(is_right_to_left)
    }
}

/// The glyphs of a text, which is escaped already.
pub(crate) fn glyphs(text: &str) -> Glyphs<'_> {
    Glyphs { graphemes: text.grapheme_indices(true), letters: None }
}

/// See [`glyphs`].
pub(crate) struct Glyphs<'a> {
    graphemes: GraphemeIndices<'a>,
    /// What is left of a grapheme that is shown letter by letter.
    letters: Option<(usize, &'a str)>,
}

impl<'a> Iterator for Glyphs<'a> {
    type Item = Glyph<'a>;

    fn next(&mut self) -> Option<Glyph<'a>> {
        if let Some((at, rest)) = self.letters.take().filter(|(_, rest)| !rest.is_empty()) {
            return Some(self.letter(at, rest));
        }
        let (at, grapheme) = self.graphemes.next()?;
        // All that is ASCII is shown as it is; a line feed cannot come.
        if grapheme.len() == 1 {
            return Some(Glyph { at, shown: grapheme, width: 1, is_lone_mark: false });
        }
        match grapheme.width() {
            0..=2 => Some(glyph(at, grapheme)),
            _ => Some(self.letter(at, grapheme)),
        }
    }
}

impl<'a> Glyphs<'a> {
    /// The first letter of `text` and the marks on it.
    fn letter(&mut self, at: usize, text: &'a str) -> Glyph<'a> {
        let mut chars = text.char_indices();
        chars.next();
        let is_next = |c: char| c.width().unwrap_or_default() > 0;
        let end = chars.find(|&(_, c)| is_next(c)).map_or(text.len(), |(end, _)| end);
        self.letters = Some((at + end, &text[end..]));
        glyph(at, &text[..end])
    }
}

fn glyph(at: usize, text: &str) -> Glyph<'_> {
    let end = text.char_indices().nth(GLYPH_CHARS).map_or(text.len(), |(end, _)| end);
    let shown = &text[..end];
    let width = shown.width();
    Glyph { at, shown, width: width.max(1), is_lone_mark: width == 0 }
}

/// Columns of a text.
pub(crate) fn width(text: &str) -> usize {
    glyphs(text).map(|glyph| glyph.width).sum()
}

/// So many bytes of the beginning fit into so many columns.
pub(crate) fn fitting(text: &str, columns: usize) -> usize {
    let mut taken = 0;
    let beyond = glyphs(text).find(|glyph| {
        taken += glyph.width;
        taken > columns
    });
    beyond.map_or(text.len(), |glyph| glyph.at)
}

/// The blocks of Unicode that are written from right to left.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(String, usize)> {
        let written = |glyph: Glyph<'_>| {
            let mut out = String::new();
            glyph.push_to(&mut out);
            (out, glyph.width)
        };
        glyphs(text).map(written).collect()
    }

    #[test]
    fn a_glyph_takes_one_cell_or_two() {
        for (text, expected) in [
            ("ab", &[("a", 1), ("b", 1)][..]),
            ("好e\u{301}", &[("好", 2), ("e\u{301}", 1)]),
            ("👩\u{200d}👧!", &[("👩\u{200d}👧", 2), ("!", 1)]),
            ("🇦🇹", &[("🇦🇹", 2)]),
            ("\u{301}a", &[("\u{25cc}\u{301}", 1), ("a", 1)]),
            ("\u{200d}", &[("\u{25cc}\u{200d}", 1)]),
            ("\u{17d8}", &[("\u{17d8}", 3)]),
            ("\u{1100}\u{1100}\u{1100}", &[("\u{1100}", 2), ("\u{1100}", 2), ("\u{1100}", 2)]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&(text, width)| (text.to_owned(), width)).collect();
            assert_eq!(shown(text), expected, "{text:?}");
        }
        let flood = "e".to_owned() + &"\u{301}".repeat(1000);
        assert_eq!(shown(&flood), [("e".to_owned() + &"\u{301}".repeat(9), 1)]);
    }

    #[test]
    fn what_fits_is_cut_between_glyphs() {
        for (columns, bytes) in [(0, 0), (1, 1), (2, 1), (3, 4), (4, 4), (5, 7), (9, 7)] {
            assert_eq!(fitting("a好好", columns), bytes, "{columns}");
        }
        assert_eq!(width("a好好"), 5);
    }
}
