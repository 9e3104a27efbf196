//! One line of a conversation, as it is shown: who, what, when, and where it breaks into rows.

use std::{
    cell::{Ref, RefCell},
    fmt::Write as _,
};

use chinwag_proto::text::{action, escape};

use crate::wrap;

/// Names that a line about who came and went has; of more it tells how many.
const FOLDED_NAMES: usize = 12;

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Somebody said it.
    Said,
    /// The user said it.
    Own,
    /// Who came and who went, put together as long as nothing else happens.
    Presence,
    /// From the program itself.
    Notice,
    /// What should stand here was missed.
    Missed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Line {
    /// Milliseconds of the wall clock where the user is.
    pub(crate) at: i64,
    pub(crate) kind: Kind,
    /// The user's name is in it.
    pub(crate) is_mention: bool,
    /// It was said before the user came.
    pub(crate) is_history: bool,
    /// Its place in the room's numbering; 0 without one.
    pub(crate) place: u64,
    /// As it is shown: escaped.
    text: String,
    /// So many bytes of it say who.
    head: usize,
    folded: Folded,
    /// For rows of so many columns, where the rows after the first begin.
    rows: RefCell<(usize, Vec<usize>)>,
}

/// Who came and who went.
#[derive(Debug, Default)]
struct Folded {
    came: Vec<String>,
    went: Vec<String>,
    /// Who found no room in these.
    more: usize,
}

impl Line {
    /// Something that `who` says, or nobody.
    pub(crate) fn new(at: i64, kind: Kind, who: &str, text: &str) -> Self {
        let is_said = matches!(kind, Kind::Said | Kind::Own);
        let (mut shown, text) = match action(text).filter(|_| is_said) {
            Some(action) => (format!("* {} ", escape(who)), action),
            None if who.is_empty() => (String::new(), text),
            None => (format!("{}: ", escape(who)), text),
        };
        let head = shown.len();
        shown.push_str(&escape(text));
        Self {
            at,
            kind,
            is_mention: false,
            is_history: false,
            place: 0,
            text: shown,
            head,
            folded: Folded::default(),
            rows: RefCell::default(),
        }
    }

    /// Somebody came or went.
    pub(crate) fn presence(at: i64, name: &str, has_come: bool) -> Self {
        let mut line = Self::new(at, Kind::Presence, "", "");
        line.fold(at, name, has_come);
        line
    }

    /// Adds somebody to a line about who came and went.
    pub(crate) fn fold(&mut self, at: i64, name: &str, has_come: bool) {
        let name = escape(name).into_owned();
        let Folded { came, went, more } = &mut self.folded;
        let (to, from) = if has_come { (&mut *came, &mut *went) } else { (&mut *went, &mut *came) };
        from.retain(|other| *other != name);
        to.retain(|other| *other != name);
        to.push(name);
        if came.len() + went.len() > FOLDED_NAMES {
            let longer = if came.len() >= went.len() { came } else { went };
            longer.remove(0);
            *more += 1;
        }
        let Folded { came, went, more } = &self.folded;
        let mut text = String::new();
        for (names, what) in [(came, "joined"), (went, "left")] {
            if !names.is_empty() {
                let gap = if text.is_empty() { "" } else { "; " };
                // Writing to a String cannot fail.
                let _ = write!(text, "{gap}{} {what}", names.join(", "));
            }
        }
        if *more > 0 {
            let _ = write!(text, "; {more} more came or went");
        }
        self.at = at;
        self.text = text;
        self.rows.take();
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of the text that say who.
    pub(crate) fn head(&self) -> usize {
        self.head
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }

    /// How many rows it takes.
    pub(crate) fn height(&self, columns: usize) -> usize {
        self.breaks(columns).len() + 1
    }

    /// Row `n` of it, and the byte of the text at which that begins.
    pub(crate) fn row(&self, columns: usize, n: usize) -> (&str, usize) {
        let breaks = self.breaks(columns);
        let begin = n.checked_sub(1).and_then(|n| breaks.get(n)).copied().unwrap_or_default();
        (wrap::row(&self.text, &breaks, n), begin)
    }

    fn breaks(&self, columns: usize) -> Ref<'_, Vec<usize>> {
        // Nothing of what the screen is cut into has no columns, so that the first look always counts.
        let columns = columns.max(1);
        if self.rows.borrow().0 != columns {
            self.rows.replace((columns, wrap::breaks(&self.text, columns)));
        }
        Ref::map(self.rows.borrow(), |rows| &rows.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_and_goes_is_put_together() {
        let mut line = Line::presence(1, "Foo", true);
        assert_eq!(line.text(), "Foo joined");
        assert_eq!(line.height(4), 3);
        for (name, has_come, text) in [
            ("Bar", true, "Foo, Bar joined"),
            ("Baz", false, "Foo, Bar joined; Baz left"),
            ("Foo", false, "Bar joined; Baz, Foo left"),
            ("Baz", true, "Bar, Baz joined; Foo left"),
        ] {
            line.fold(2, name, has_come);
            assert_eq!((line.text(), line.at), (text, 2));
        }
        assert_eq!(line.height(40), 1);
        assert_eq!(line.height(8), 3);
        for n in 0..100 {
            line.fold(3, &n.to_string(), true);
        }
        assert!(line.text().ends_with("98, 99 joined; Foo left; 91 more came or went"), "{}", line.text());
    }

    #[test]
    fn what_somebody_does_is_told_of_him() {
        for (text, shown) in [
            ("/me waves", "* Foo waves"),
            ("/me  \u{1b} ", "* Foo \\u{1b} "),
            ("/me ", "Foo: /me "),
            ("/me", "Foo: /me"),
            ("/mean", "Foo: /mean"),
        ] {
            assert_eq!(Line::new(0, Kind::Said, "Foo", text).text(), shown);
        }
        assert_eq!(Line::new(0, Kind::Notice, "", "/me waves").text(), "/me waves");
    }

    #[test]
    fn nothing_that_others_write_is_shown_raw() {
        let line = Line::new(0, Kind::Said, "a\u{1b}b", "c\u{202e}\n\u{9b}d");
        assert_eq!(line.text(), "a\\u{1b}b: c\\u{202e}\\n\\u{9b}d");
        assert_eq!(&line.text()[..line.head()], "a\\u{1b}b: ");
        assert_eq!(Line::presence(0, "\u{7}", true).text(), "\\u{7} joined");
    }
}
