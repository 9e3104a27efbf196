//! What was said in a room, as far back as it is kept, and which part of it is looked at.
//!
//! The part is known by its last row, not by a distance: so it stays where it is while more comes, and to draw it only what is seen
//! must be looked at.

use std::collections::{BTreeSet, VecDeque};

use crate::line::{Kind, Line};

/// Lines that are kept of a room; the oldest is forgotten.
pub const SCROLLBACK_LINES: usize = 10_000;
/// Bytes that they may take; the oldest is forgotten.
pub const SCROLLBACK_BYTES: usize = 8 * 1024 * 1024;

/// A row of the conversation: of which line, and which of its rows. Those before the line's text are rules: see [`Talk::rules`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// Lines are counted from the first that ever was.
    pub(crate) line: u64,
    pub(crate) row: usize,
}

/// A line across the conversation, above one of its lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// What is below came while the user was not there.
    Unread,
    /// Another day begins.
    Day,
}

/// The number of the first line that comes: earlier ones may be put before it.
const FIRST: u64 = 1 << 40;

/// See the module.
#[derive(Debug)]
pub(crate) struct Talk {
    lines: VecDeque<Line>,
    /// The number of the first that is kept.
    first: u64,
    /// There may be earlier ones than that, which nobody asked for yet.
    has_earlier: bool,
    bytes: usize,
    /// The last row that is seen, while the user looks at what was before.
    bottom: Option<Place>,
    /// The first line that the user has not seen.
    marker: Option<u64>,
    /// The user came back since, so that it goes when he leaves again.
    is_marker_seen: bool,
    /// The place of the last message that he read the last time, until it is known which line is the first behind it.
    read: Option<u64>,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Days since 1970.
pub(crate) fn day(at: i64) -> i64 {
    at.div_euclid(DAY_MS)
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            first: FIRST,
            has_earlier: false,
            bytes: 0,
            bottom: None,
            marker: None,
            is_marker_seen: false,
            read: None,
        }
    }
}

impl Talk {
    /// Puts earlier lines before all others, as many of the latest as there is room for; whether there are more still.
    pub(crate) fn put_before(&mut self, lines: Vec<Line>, has_more: bool) {
        self.has_earlier = has_more;
        for line in lines.into_iter().rev() {
            if self.lines.len() == SCROLLBACK_LINES || self.bytes + line.bytes() > SCROLLBACK_BYTES {
                self.has_earlier = false;
                break;
            }
            self.bytes += line.bytes();
            self.lines.push_front(line);
            self.first -= 1;
        }
        self.mark_read();
    }

    /// Puts lines where they were missed: behind the line that says so of this place, which says something else from now on. What is here
    /// already is left out. How many there were, and how many of them mean the user.
    pub(crate) fn fill(&mut self, place: u64, lines: Vec<Line>, text: &str) -> (usize, usize) {
        let is_gap = |line: &Line| line.kind == Kind::Missed && line.place == place;
        let Some(at) = self.lines.iter().rposition(is_gap) else { return (0, 0) };
        let known: BTreeSet<u64> =
            self.lines.iter().filter(|line| !is_gap(line)).map(|line| line.place).collect();
        let new: Vec<_> = lines.into_iter().filter(|line| !known.contains(&line.place)).collect();
        let counts = (new.len(), new.iter().filter(|line| line.is_mention).count());
        let behind = self.lines.split_off(at + 1);
        if let Some(gap) = self.lines.back_mut() {
            self.bytes -= gap.bytes();
            let mut told = Line::new(gap.at, Kind::Missed, "", text);
            told.place = place;
            *gap = told;
            self.bytes += gap.bytes();
        }
        // What is above moves up.
        let (last, moved) = (self.next(), new.len() as u64);
        for line in [self.bottom.as_mut().map(|bottom| &mut bottom.line), self.marker.as_mut()] {
            line.into_iter().filter(|line| **line < last).for_each(|line| *line -= moved);
        }
        self.first -= moved;
        self.bytes += new.iter().map(Line::bytes).sum::<usize>();
        self.lines.extend(new.into_iter().chain(behind));
        self.trim();
        counts
    }

    /// The line that says what was missed up to this place is the first that the user has not seen, unless an earlier one is.
    pub(crate) fn mark_gap(&mut self, place: u64) {
        let is_gap = |line: &Line| line.kind == Kind::Missed && line.place == place;
        if let Some(at) = self.lines.iter().rposition(is_gap) {
            let gap = self.first + at as u64;
            let marker = self.marker.filter(|_| !self.is_marker_seen);
            (self.marker, self.is_marker_seen) = (Some(marker.map_or(gap, |marker| marker.min(gap))), false);
        }
    }

    /// What is behind this place is new; which line that is, earlier ones tell that are yet to come.
    pub(crate) fn set_read(&mut self, read: Option<u64>) {
        self.read = read;
    }

    /// Places of another numbering mean nothing.
    pub(crate) fn forget_places(&mut self) {
        self.read = None;
        self.lines.iter_mut().for_each(|line| line.place = 0);
    }

    /// Puts the marker where what was read the last time ends.
    fn mark_read(&mut self) {
        let Some(read) = self.read else { return };
        let first_new = self.lines.iter().position(|line| line.place > read);
        self.marker = first_new.map(|at| self.first + at as u64);
        self.is_marker_seen = false;
        if !self.has_earlier || self.lines.iter().any(|line| (1..=read).contains(&line.place)) {
            self.read = None;
        }
    }

    /// There are earlier lines than those that are here, or not.
    pub(crate) fn set_has_earlier(&mut self, has_earlier: bool) {
        self.has_earlier = has_earlier && self.lines.len() < SCROLLBACK_LINES;
    }

    /// True once when the first row is seen in a window of that size and there are earlier lines to be asked for.
    pub(crate) fn wants_earlier(&mut self, columns: usize, height: usize) -> bool {
        let all = std::iter::successors(self.bottom(columns), |&place| self.above(place, columns));
        let is_top_seen = all.take(height + 1).count() <= height;
        is_top_seen && std::mem::take(&mut self.has_earlier)
    }

    pub(crate) fn push(&mut self, line: Line) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        self.trim();
    }

    fn trim(&mut self) {
        while self.lines.len() > SCROLLBACK_LINES || self.bytes > SCROLLBACK_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// Somebody came or went; told in the last line if that is about such, too.
    pub(crate) fn push_presence(&mut self, at: i64, name: &str, has_come: bool) {
        match self.lines.back_mut().filter(|last| last.kind == Kind::Presence && day(last.at) == day(at)) {
            Some(last) => {
                let before = last.bytes();
                last.fold(at, name, has_come);
                self.bytes = self.bytes + last.bytes() - before;
            }
            None => self.push(Line::presence(at, name, has_come)),
        }
    }

    /// All of it is earlier from now on.
    pub(crate) fn clear(&mut self) {
        self.first = self.next();
        self.lines.clear();
        (self.bytes, self.bottom, self.marker, self.has_earlier) = (0, None, None, true);
        self.read = None;
    }

    /// The number of the line that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub(crate) fn line(&self, n: u64) -> Option<&Line> {
        self.lines.get(usize::try_from(n.checked_sub(self.first)?).ok()?)
    }

    /// From here on all is new.
    pub(crate) fn mark(&mut self) {
        if self.marker.is_none() || self.is_marker_seen {
            self.marker = Some(self.next());
            (self.is_marker_seen, self.read) = (false, None);
        }
    }

    /// The user sees what is new.
    pub(crate) fn see_marker(&mut self) {
        self.is_marker_seen = true;
    }

    /// What was new is not any more.
    pub(crate) fn forget_marker(&mut self) {
        if self.is_marker_seen {
            (self.marker, self.read) = (None, None);
        }
    }

    /// The rules above a line.
    pub(crate) fn rules(&self, n: u64) -> impl DoubleEndedIterator<Item = Rule> {
        let before = n.checked_sub(1).and_then(|before| self.line(before));
        let is_new_day =
            before.zip(self.line(n)).is_some_and(|(before, line)| day(before.at) != day(line.at));
        // Where what was read is farther up than what is known, there is something before it all the same.
        let is_unread = self.marker == Some(n) && (before.is_some() || self.read.is_some());
        [(is_new_day, Rule::Day), (is_unread, Rule::Unread)]
            .into_iter()
            .filter_map(|(is_there, rule)| is_there.then_some(rule))
    }

    fn height(&self, n: u64, columns: usize) -> usize {
        self.rules(n).count() + self.line(n).map_or(0, |line| line.height(columns))
    }

    /// True while what comes is seen.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bottom.is_none()
    }

    /// So many lines are below what is seen.
    pub(crate) fn lines_below(&self) -> u64 {
        self.bottom.map_or(0, |bottom| (self.next() - 1).saturating_sub(bottom.line.max(self.first)))
    }

    /// The last row that is seen, if there is any.
    pub(crate) fn bottom(&self, columns: usize) -> Option<Place> {
        let last = self.next().checked_sub(1).filter(|_| !self.lines.is_empty())?;
        let line = self.bottom.map_or(last, |bottom| bottom.line.clamp(self.first, last));
        let last_row = self.height(line, columns).saturating_sub(1);
        let row = match self.bottom {
            Some(bottom) if bottom.line == line => bottom.row.min(last_row),
            Some(bottom) if bottom.line < line => 0,
            _ => last_row,
        };
        Some(Place { line, row })
    }

    /// The row above.
    pub(crate) fn above(&self, place: Place, columns: usize) -> Option<Place> {
        if let Some(row) = place.row.checked_sub(1) {
            return Some(Place { row, ..place });
        }
        let line = place.line.checked_sub(1).filter(|&line| line >= self.first)?;
        Some(Place { line, row: self.height(line, columns).saturating_sub(1) })
    }

    fn below(&self, place: Place, columns: usize) -> Option<Place> {
        if place.row + 1 < self.height(place.line, columns) {
            return Some(Place { row: place.row + 1, ..place });
        }
        Some(Place { line: place.line + 1, row: 0 }).filter(|place| place.line < self.next())
    }

    /// Looks so many rows farther up, but not beyond the first, in a window of that size.
    pub(crate) fn scroll_up(&mut self, rows: usize, columns: usize, height: usize) {
        let Some(bottom) = self.bottom(columns) else { return };
        let all = std::iter::successors(Some(bottom), |&place| self.above(place, columns));
        let places: Vec<_> = all.take(rows + height).collect();
        let rows = rows.min(places.len().saturating_sub(height));
        if let Some(&place) = places.get(rows).filter(|_| rows > 0) {
            self.bottom = Some(place);
        }
    }

    /// Looks so many rows farther down.
    pub(crate) fn scroll_down(&mut self, rows: usize, columns: usize) {
        if self.is_at_end() {
            return;
        }
        let Some(bottom) = self.bottom(columns) else { return self.scroll_to_end() };
        let mut places = std::iter::successors(Some(bottom), |&place| self.below(place, columns));
        // One more is needed: at the last row, what comes is seen again.
        self.bottom = places.by_ref().nth(rows).filter(|_| places.next().is_some());
    }

    pub(crate) fn scroll_to_end(&mut self) {
        self.bottom = None;
    }

    /// Looks at a line, in the middle of a window of that size.
    pub(crate) fn show(&mut self, line: u64, columns: usize, height: usize) {
        self.bottom = Some(Place { line, row: self.height(line, columns).saturating_sub(1) });
        self.scroll_down(height / 2, columns);
    }

    /// The last line before line `before` in which somebody said this, which is in small letters. What the program itself told is
    /// none: the answer to a search has the words in it, too.
    pub(crate) fn find(&self, words: &str, before: u64) -> Option<u64> {
        let end = usize::try_from(before.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let kept = self.lines.range(..end.min(self.lines.len()));
        let is_said = |line: &Line| matches!(line.kind, Kind::Said | Kind::Own);
        let from_end =
            kept.rev().position(|line| is_said(line) && line.text().to_lowercase().contains(words))?;
        (end.min(self.lines.len()) - 1 - from_end).try_into().map(|n: u64| self.first + n).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(lines: usize) -> Talk {
        let mut talk = Talk::default();
        for n in 0..lines {
            talk.push(Line::new(0, Kind::Said, "Foo", &format!("line {n}")));
        }
        talk
    }

    /// What stands in a window, from above.
    fn seen(talk: &Talk, columns: usize, height: usize) -> Vec<String> {
        let bottom = talk.bottom(columns);
        let places = std::iter::successors(bottom, |&place| talk.above(place, columns)).take(height);
        let text = |place: Place| match place.row.checked_sub(talk.rules(place.line).count()) {
            Some(row) => talk.line(place.line).unwrap().row(columns, row).0.to_owned(),
            None => "---".to_owned(),
        };
        let mut rows: Vec<_> = places.map(text).collect();
        rows.reverse();
        rows
    }

    #[test]
    fn what_is_looked_at_stays_while_more_comes() {
        let mut talk = talk(20);
        assert_eq!(seen(&talk, 20, 2), ["Foo: line 18", "Foo: line 19"]);
        talk.scroll_up(3, 20, 2);
        assert_eq!(
            (seen(&talk, 20, 2).join(" "), talk.lines_below()),
            ("Foo: line 15 Foo: line 16".into(), 3)
        );
        talk.push(Line::new(0, Kind::Said, "Foo", "new"));
        assert_eq!(seen(&talk, 20, 2), ["Foo: line 15", "Foo: line 16"]);
        // As far as there is something, and not farther.
        talk.scroll_up(1000, 20, 2);
        assert_eq!(seen(&talk, 20, 2), ["Foo: line 0", "Foo: line 1"]);
        talk.scroll_down(2, 20);
        assert_eq!(seen(&talk, 20, 2), ["Foo: line 2", "Foo: line 3"]);
        talk.scroll_down(16, 20);
        assert!(!talk.is_at_end());
        talk.scroll_down(1, 20);
        assert!(talk.is_at_end());
        assert_eq!(seen(&talk, 20, 2), ["Foo: line 19", "Foo: new"]);
        // Where all has room, there is nothing to scroll.
        talk.scroll_up(5, 20, 100);
        assert!(talk.is_at_end());
    }

    #[test]
    fn rows_of_long_lines_are_scrolled_one_by_one_and_survive_another_width() {
        let mut talk = talk(2);
        talk.push(Line::new(0, Kind::Said, "Foo", "one two three four"));
        assert_eq!(seen(&talk, 9, 3), ["Foo: one", "two three", "four"]);
        talk.scroll_up(1, 9, 2);
        assert_eq!(seen(&talk, 9, 2), ["Foo: one", "two three"]);
        assert_eq!(seen(&talk, 40, 2), ["Foo: line 1", "Foo: one two three four"]);
        assert_eq!(seen(&talk, 5, 2), ["Foo:", "one"]);
    }

    #[test]
    fn the_oldest_lines_are_forgotten_and_places_stay_right() {
        let mut talk = talk(SCROLLBACK_LINES);
        talk.scroll_up(SCROLLBACK_LINES, 20, 3);
        assert_eq!(seen(&talk, 20, 3)[0], "Foo: line 0");
        for _ in 0..10 {
            talk.push(Line::new(0, Kind::Said, "Foo", "new"));
        }
        assert_eq!((talk.lines.len(), talk.first), (SCROLLBACK_LINES, FIRST + 10));
        assert_eq!(seen(&talk, 20, 3), ["Foo: line 10"]);
        assert_eq!(talk.line(FIRST + 10).unwrap().text(), "Foo: line 10");
        // A flood of long ones does not take all memory.
        for _ in 0..SCROLLBACK_LINES {
            talk.push(Line::new(0, Kind::Said, "Foo", &"\u{1b}".repeat(4096)));
        }
        let bytes: usize = talk.lines.iter().map(Line::bytes).sum();
        assert!(bytes == talk.bytes && bytes <= SCROLLBACK_BYTES && talk.lines.len() > 100, "{bytes}");
        talk.clear();
        assert_eq!((seen(&talk, 20, 3).len(), talk.bytes), (0, 0));
        talk.push(Line::new(0, Kind::Said, "Foo", "after"));
        assert_eq!(seen(&talk, 20, 3), ["Foo: after"]);
    }

    #[test]
    fn earlier_lines_come_before_all_others_and_what_is_looked_at_stays() {
        let lines = |from: u64, to: u64| -> Vec<Line> {
            (from..to).map(|n| Line::new(0, Kind::Said, "Foo", &format!("early {n}"))).collect()
        };
        let mut talk = talk(4);
        assert!(!talk.wants_earlier(20, 9), "nobody said that there is something");
        talk.set_has_earlier(true);
        assert!(!talk.wants_earlier(20, 3), "the first is not seen");
        talk.scroll_up(9, 20, 3);
        assert!(talk.wants_earlier(20, 3));
        assert!(!talk.wants_earlier(20, 3), "it is on its way");
        talk.put_before(lines(8, 10), true);
        assert_eq!(seen(&talk, 20, 3), ["Foo: line 0", "Foo: line 1", "Foo: line 2"]);
        talk.scroll_up(9, 20, 3);
        assert_eq!(seen(&talk, 20, 3), ["Foo: early 8", "Foo: early 9", "Foo: line 0"]);
        assert!(talk.wants_earlier(20, 3));
        // There is no room for all of it, and so for no more.
        talk.put_before(lines(0, SCROLLBACK_LINES as u64), true);
        assert_eq!(talk.lines.len(), SCROLLBACK_LINES);
        talk.scroll_up(SCROLLBACK_LINES, 20, 3);
        assert_eq!(seen(&talk, 20, 3)[0], "Foo: early 6");
        assert!(!talk.wants_earlier(20, 3));
        let bytes: usize = talk.lines.iter().map(Line::bytes).sum();
        assert_eq!(bytes, talk.bytes);
    }

    #[test]
    fn what_came_while_the_user_was_away_is_marked_until_he_leaves_again() {
        let mut talk = talk(2);
        talk.mark();
        talk.push(Line::new(0, Kind::Said, "Foo", "new"));
        talk.mark();
        talk.push(Line::new(0, Kind::Said, "Foo", "newer"));
        let marked = ["Foo: line 1", "---", "Foo: new", "Foo: newer"];
        assert_eq!(seen(&talk, 20, 4), marked);
        // Not before he has seen it.
        talk.forget_marker();
        talk.see_marker();
        assert_eq!(seen(&talk, 20, 4), marked);
        talk.forget_marker();
        assert_eq!(seen(&talk, 20, 3), ["Foo: line 1", "Foo: new", "Foo: newer"]);
        // Another day is marked, too.
        talk.push(Line::new(DAY_MS, Kind::Said, "Foo", "tomorrow"));
        assert_eq!(seen(&talk, 20, 3), ["Foo: newer", "---", "Foo: tomorrow"]);
    }

    #[test]
    fn words_are_found_from_the_end_on() {
        let mut talk = talk(30);
        assert_eq!(talk.find("line 2", u64::MAX), Some(FIRST + 29));
        assert_eq!(talk.find("line 2", FIRST + 20), Some(FIRST + 2));
        assert_eq!(talk.find("line 2", FIRST + 2), None);
        assert_eq!(talk.find("nothing", u64::MAX), None);
        talk.push(Line::new(0, Kind::Notice, "", "nobody said nothing"));
        talk.push_presence(0, "Nothing", true);
        assert_eq!(talk.find("nothing", u64::MAX), None);
        talk.show(FIRST + 10, 20, 5);
        assert_eq!(seen(&talk, 20, 5)[2], "Foo: line 10");
        talk.show(FIRST + 29, 20, 5);
        assert!(talk.is_at_end());
    }
}
