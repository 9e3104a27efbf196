//! Long text in rows: broken between words, and within what is longer than a row.

use crate::glyph::glyphs;

/// Where each row of `text` after the first begins, for rows of so many columns (at least 2).
///
/// The blank at which a row is broken is at the end of the row before it, where it may stand beyond the edge.
pub(crate) fn breaks(text: &str, columns: usize) -> Vec<usize> {
    let columns = columns.max(2);
    let (mut breaks, mut row, mut taken) = (Vec::new(), 0, 0);
    // Where the row could be broken best, and what it has behind that.
    let (mut best, mut behind_best) = (None, 0);
    let mut was_wide = false;
    for glyph in glyphs(text) {
        let is_blank = glyph.shown == " ";
        // Between ideographs, too.
        let is_wide = glyph.width > 1;
        if (is_wide || was_wide) && glyph.at > row {
            (best, behind_best) = (Some(glyph.at), 0);
        }
        was_wide = is_wide;
        if taken + glyph.width > columns && !is_blank {
            match best.take() {
                Some(best) => {
                    breaks.push(best);
                    (row, taken) = (best, behind_best);
                }
                // The word is longer than a row.
                None => {
                    breaks.push(glyph.at);
                    (row, taken) = (glyph.at, 0);
                }
            }
            // What was put on a row of its own is longer than that, too.
            if taken + glyph.width > columns {
                breaks.push(glyph.at);
                (row, taken) = (glyph.at, 0);
            }
            behind_best = 0;
        }
        taken += glyph.width;
        if is_blank {
            (best, behind_best) = (Some(glyph.at + 1), 0);
        } else {
            behind_best += glyph.width;
        }
    }
    // The text may be a blank that stands beyond the edge.
    breaks.retain(|&at| at < text.len());
    breaks
}

/// The rows of a text by its breaks, without blanks at their ends.
pub(crate) fn row<'a>(text: &'a str, breaks: &[usize], n: usize) -> &'a str {
    let begin = if n == 0 { 0 } else { breaks.get(n - 1).copied().unwrap_or(text.len()) };
    let end = breaks.get(n).copied().unwrap_or(text.len());
    text[begin..end].trim_end_matches(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glyph::width;

    fn rows(text: &str, columns: usize) -> Vec<&str> {
        let breaks = breaks(text, columns);
        (0..=breaks.len()).map(|n| row(text, &breaks, n)).collect()
    }

    #[test]
    fn text_is_broken_between_words() {
        for (text, columns, expected) in [
            ("", 10, &[""][..]),
            ("one two three", 20, &["one two three"]),
            ("one two three", 7, &["one two", "three"]),
            ("one two three", 8, &["one two", "three"]),
            ("one   two", 4, &["one", "two"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("a abcdefghij b", 4, &["a", "abcd", "efgh", "ij b"]),
            ("好好好", 4, &["好好", "好"]),
            ("好好好", 5, &["好好", "好"]),
            ("ab好好 c", 5, &["ab好", "好 c"]),
            ("trailing    ", 8, &["trailing"]),
            ("ab", 0, &["ab"]),
            ("abc", 1, &["ab", "c"]),
        ] {
            assert_eq!(rows(text, columns), expected, "{text:?} {columns}");
        }
    }

    #[test]
    fn no_row_is_wider_than_it_may_be_and_nothing_is_lost() {
        let text = "a好 bcd👩\u{200d}👧efghi  jkl好好好好m \u{301}nopqrs e\u{301} tu🇦🇹🇩🇪v ".repeat(20);
        for columns in 2..40 {
            let breaks = breaks(&text, columns);
            assert!(breaks.is_sorted(), "{breaks:?}");
            for n in 0..=breaks.len() {
                assert!(width(row(&text, &breaks, n)) <= columns, "{columns} {n}");
            }
            let whole: String = (0..=breaks.len()).map(|n| row(&text, &breaks, n)).collect();
            assert_eq!(whole.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
