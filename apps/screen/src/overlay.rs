//! What lies over the conversation until it is put away: the help, or the question about a paste.

use crate::commands::{Mode, help};

/// Lines of a paste that are shown with the question.
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

    /// Its rows on a screen of so many columns: what stands first, and what is said about it, once or twice in each. Not escaped.
    pub(crate) fn rows(&self, columns: u16) -> Vec<Vec<(String, String)>> {
        let all = self.entries();
        let is_wide = matches!(self, Self::Help { .. }) && columns >= TWO_COLUMNS;
        let height = if is_wide { all.len().div_ceil(2) } else { all.len() };
        let (left, right) = all.split_at(height);
        let right = right.iter().map(Some).chain(std::iter::repeat(None));
        left.iter()
            .zip(right)
            .map(|(left, right)| std::iter::once(left).chain(right).cloned().collect())
            .collect()
    }

    fn entries(&self) -> Vec<(String, String)> {
        match self {
            Self::Help { .. } => {
                let keys = KEYS.iter().map(|&(key, what)| (key.to_owned(), what.to_owned()));
                let commands = help(Mode::Full).map(|(way, what)| (way, what.to_owned()));
                commands.chain(keys).collect()
            }
            Self::Paste { lines, is_cut } => {
                let shown = lines.iter().take(PASTE_SHOWN).map(|line| (String::new(), line.clone()));
                let more = lines.len().saturating_sub(PASTE_SHOWN);
                let more = (more > 0).then(|| (String::new(), format!("… and {more} more")));
                let cut = "There were more, which are lost: that was too much.";
                let cut = is_cut.then(|| (String::new(), cut.to_owned()));
                let keys = [("Enter", "says each line as a message"), ("Esc", "says nothing")];
                let keys = keys.map(|(key, what)| (key.to_owned(), what.to_owned()));
                shown.chain(more).chain(cut).chain(keys).collect()
            }
        }
    }

    /// Moves what is seen of it by so many rows; `height` of them are seen.
    pub(crate) fn scroll(&mut self, by: isize, height: usize, columns: u16) {
        let most = self.rows(columns).len().saturating_sub(height);
        if let Self::Help { scrolled } = self {
            *scrolled = scrolled.saturating_add_signed(by).min(most);
        }
    }
}
