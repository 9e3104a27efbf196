//! What lies over the conversation until it is put away: the help, or the question about a paste.

use crate::commands::{Mode, help};

/// Lines of a paste that are shown with the question, at most.
pub(crate) const PASTE_SHOWN: usize = 5;
/// Bytes of a paste that are kept; the rest is not said, and the question tells so.
pub const PASTE_BYTES: usize = 256 * 1024;

/// Columns from which on the help has two of its own.
const TWO_COLUMNS: u16 = 80;

const KEYS: [(&str, &str); 9] = [
    ("Tab", "complete a word"),
    ("↑ ↓", "what you typed before"),
    ("PgUp PgDn, wheel", "earlier; Esc: the end"),
    ("Alt-1 … 9, ^N ^P", "another room"),
    ("Ctrl-W U K Y", "cut; put it back"),
    ("Shift-mouse", "select text"),
    ("Ctrl-L", "draw all anew"),
    ("m d", "muted; hears nobody"),
    ("~ -", "is lossy; is elsewhere"),
];

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Overlay {
    /// So many of its rows are above what is seen.
    Help { scrolled: usize },
    /// Lines that were pasted, and whether there were more.
    Paste { lines: Vec<String>, is_cut: bool },
}

impl Overlay {
    pub(crate) fn help() -> Self {
        Self::Help { scrolled: 0 }
    }

    /// What it says at its head.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Help { .. } => "Help: Esc puts it away".to_owned(),
            Self::Paste { lines, .. } => format!("Say these {} lines?", lines.len()),
        }
    }

    /// What is said about what stands first begins in this column.
    pub(crate) fn tab(&self) -> usize {
        match self {
            Self::Help { .. } => 18,
            Self::Paste { .. } => 7,
        }
    }

    /// Its rows on a screen of so many columns, where there is room for so many: what stands first, and what is said about it, once or
    /// twice in each. Not escaped.
    pub(crate) fn rows(&self, columns: u16, room: usize) -> Vec<Vec<(String, String)>> {
        let all = self.entries(room);
        let is_wide = matches!(self, Self::Help { .. }) && columns >= TWO_COLUMNS;
        let height = if is_wide { all.len().div_ceil(2) } else { all.len() };
        let (left, right) = all.split_at(height);
        let right = right.iter().map(Some).chain(std::iter::repeat(None));
        left.iter()
            .zip(right)
            .map(|(left, right)| std::iter::once(left).chain(right).cloned().collect())
            .collect()
    }

    fn entries(&self, room: usize) -> Vec<(String, String)> {
        match self {
            Self::Help { .. } => {
                let keys = KEYS.iter().map(|&(key, what)| (key.to_owned(), what.to_owned()));
                let commands = help(Mode::Full).map(|(way, what)| (way, what.to_owned()));
                commands.chain(keys).collect()
            }
            Self::Paste { lines, is_cut } => {
                let keys = [("Enter", "says each line as a message"), ("Esc", "says nothing")];
                let keys = keys.map(|(key, what)| (key.to_owned(), what.to_owned()));
                let cut = "That was too much: the rest is lost.";
                let cut = is_cut.then(|| (String::new(), cut.to_owned()));
                // The first lines rather than the last, and the keys in any case.
                let room = room.saturating_sub(keys.len() + usize::from(*is_cut));
                let all = lines.len();
                let shown =
                    if all <= room.min(PASTE_SHOWN) { all } else { PASTE_SHOWN.min(room.saturating_sub(1)) };
                let more = (shown < all).then(|| (String::new(), format!("… and {} more", all - shown)));
                let shown = lines.iter().take(shown).map(|line| (String::new(), line.clone()));
                shown.chain(more).chain(cut).chain(keys).collect()
            }
        }
    }

    /// Moves what is seen of it by so many rows; `height` of them are seen.
    pub(crate) fn scroll(&mut self, by: isize, height: usize, columns: u16) {
        let most = self.rows(columns, height).len().saturating_sub(height);
        if let Self::Help { scrolled } = self {
            *scrolled = scrolled.saturating_add_signed(by).min(most);
        }
    }
}
