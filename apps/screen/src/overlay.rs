//! What lies over the conversation until it is put away: the help, or the question about a paste.

use crate::commands::{Mode, help};

/// Lines of a paste that are shown with the question.
pub(crate) const PASTE_SHOWN: usize = 5;
/// Bytes of a paste that are kept; the rest is not said, and the question tells so.
pub const PASTE_BYTES: usize = 256 * 1024;

const KEYS: [(&str, &str); 5] = [
    ("Tab, ↑ ↓", "complete a name, command or room; what you typed before"),
    ("PgUp PgDn, wheel", "what was said before; Esc goes to the end"),
    ("Alt-1 … 9, Ctrl-N P", "another room"),
    ("Ctrl-W U K Y", "cut a word, to the left, right; put it back"),
    ("Shift-mouse, Ctrl-L", "select text; draw all anew"),
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

    /// Its rows: what stands first, and what is said about it. Not escaped.
    pub(crate) fn rows(&self) -> Vec<(String, String)> {
        match self {
            Self::Help { .. } => {
                let keys = KEYS.iter().map(|&(key, what)| (key.to_owned(), what.to_owned()));
                let marks = [("m d ~".to_owned(), "muted, hears nobody, arrives badly".to_owned())];
                let commands = help(Mode::Full).map(|(way, what)| (way, what.to_owned()));
                commands.chain(keys).chain(marks).collect()
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
    pub(crate) fn scroll(&mut self, by: isize, height: usize) {
        let most = self.rows().len().saturating_sub(height);
        if let Self::Help { scrolled } = self {
            *scrolled = scrolled.saturating_add_signed(by).min(most);
        }
    }
}
