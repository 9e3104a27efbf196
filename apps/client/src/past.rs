//! What was said before: how far back the user has seen it, what he asked for, and how it is shown in plain lines.

use std::collections::{BTreeMap, VecDeque};

use chinwag_proto::{
    Seq,
    client::{Client, Page, PageLine, PlaceId},
    history::UnixMillis,
    text::escape,
};
use jiff::{Timestamp, tz::TimeZone};

use crate::rooms::spoken;

/// Messages that are asked for at once: shown to whoever comes in, and what `/history` alone gives.
pub(crate) const PAGE: usize = 20;
/// The same where somebody looks farther and farther up.
pub(crate) const LONG_PAGE: usize = 100;
/// What a search gives at most.
const FOUND: usize = 20;
/// Questions that wait for their answers; more than the server takes at once are refused by it.
const QUESTIONS: usize = 8;

/// Gaps that wait to be asked for; of more the oldest are not.
const GAPS: usize = 32;
/// Messages of a gap that are asked for.
pub(crate) const MISSED: usize = 500;

/// What a page is the answer to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// What was said before the user came.
    Arrival,
    /// What was said before that, for which the user asked in words.
    Earlier,
    /// The same, for which he looked up.
    Above,
    /// What has some words.
    Search(String),
    /// What was missed.
    Missed(Gap),
}

/// Messages that were missed, and may be in the history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) place: PlaceId,
    /// The first message that was not missed.
    pub(crate) end: Seq,
    /// The first that is known.
    before: Seq,
    /// So many are not known yet.
    pub(crate) missing: u64,
    /// So many more are asked for.
    wanted: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Past {
    zone: TimeZone,
    /// The first message that the user has seen of each room, and the last that there is.
    seen: BTreeMap<PlaceId, (Seq, Seq)>,
    questions: BTreeMap<u32, Question>,
    /// What was missed and is yet to be asked for.
    gaps: VecDeque<Gap>,
}

impl Past {
    pub(crate) fn new() -> Self {
        Self {
            zone: TimeZone::system(),
            seen: BTreeMap::new(),
            questions: BTreeMap::new(),
            gaps: VecDeque::new(),
        }
    }

    /// A message was told.
    pub(crate) fn told(&mut self, place: PlaceId, seq: Seq) {
        if seq != Seq::ZERO {
            let (oldest, newest) = self.seen.entry(place).or_insert((seq, seq));
            (*oldest, *newest) = (seq.min(*oldest), seq.max(*newest));
        }
    }

    /// The last message of a room that was told.
    pub(crate) fn newest(&self, place: PlaceId) -> Seq {
        self.seen.get(&place).map_or(Seq::ZERO, |(_, newest)| *newest)
    }

    fn oldest(&self, place: PlaceId) -> Option<Seq> {
        self.seen.get(&place).map(|(oldest, _)| *oldest)
    }

    /// The room has other numbers now, or the user left it.
    pub(crate) fn begin_anew(&mut self, place: PlaceId) {
        self.seen.remove(&place);
        self.gaps.retain(|gap| gap.place != place);
    }

    /// The user does not see any of it any more: what he asks for next begins with its end.
    pub(crate) fn clear(&mut self, place: PlaceId) {
        if let Some((oldest, newest)) = self.seen.get_mut(&place) {
            *oldest = Seq::from_wire(newest.to_wire().saturating_add(1));
        }
    }

    /// Asks for what was said before all that the user has seen of a room. False without a connection.
    pub(crate) fn ask_earlier(
        &mut self,
        client: &mut Client,
        place: PlaceId,
        count: usize,
        question: Question,
    ) -> bool {
        let token = client.ask_history(place, self.oldest(place), count, "");
        self.note(token, question)
    }

    /// So many messages were missed before this one, of which the last `wanted` are to be asked for.
    pub(crate) fn missed(&mut self, place: PlaceId, missing: u64, end: Seq, wanted: usize) {
        if self.gaps.len() == GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(Gap { place, end, before: end, missing, wanted });
    }

    /// Asks for what was missed, as much as the server takes.
    pub(crate) fn ask_missed(&mut self, client: &mut Client) {
        // One of a room that is gone would hold up all others.
        self.gaps.retain(|gap| client.place_name(gap.place).is_some());
        while self.questions.len() < QUESTIONS / 2
            && let Some(gap) = self.gaps.front()
        {
            let count = usize::try_from(gap.missing).unwrap_or(usize::MAX).min(gap.wanted).min(LONG_PAGE);
            let token = client.ask_history(gap.place, Some(gap.before), count, "");
            if token.is_none() {
                return;
            }
            let gap = self.gaps.pop_front().map(Question::Missed);
            gap.map(|question| self.note(token, question));
        }
    }

    /// A part of what was missed came; what is still missing of it, and whether that is asked for.
    fn found(&mut self, mut gap: Gap, page: &Page) -> Gap {
        gap.missing = gap.missing.saturating_sub(page.lines.len() as u64);
        gap.wanted = gap.wanted.saturating_sub(page.lines.len());
        if let Some(first) = page.lines.first().filter(|_| page.more && gap.missing > 0 && gap.wanted > 0) {
            self.gaps.push_front(Gap { before: first.seq, ..gap.clone() });
        }
        gap
    }

    /// There is another connection: what was asked for over the one before has no answer.
    pub(crate) fn ask_again(&mut self) {
        let lost = std::mem::take(&mut self.questions).into_values();
        self.gaps.extend(lost.filter_map(|question| match question {
            Question::Missed(gap) => Some(gap),
            Question::Arrival | Question::Earlier | Question::Above | Question::Search(_) => None,
        }));
    }

    /// Asks for what has these words. False without a connection.
    pub(crate) fn ask_search(&mut self, client: &mut Client, place: PlaceId, words: &str) -> bool {
        let token = client.ask_history(place, None, FOUND, words);
        self.note(token, Question::Search(words.to_owned()))
    }

    fn note(&mut self, token: Option<u32>, question: Question) -> bool {
        let Some(token) = token else { return false };
        if self.questions.len() == QUESTIONS {
            // Its answer was lost with a connection.
            self.questions.pop_first();
        }
        self.questions.insert(token, question);
        true
    }

    /// What an answer is to. Whoever comes in asks without knowing it.
    pub(crate) fn answered(&mut self, page: &mut Page) -> Question {
        let mut question = self.questions.remove(&page.token).unwrap_or(Question::Arrival);
        if let Question::Missed(gap) = &mut question {
            *gap = self.found(gap.clone(), page);
        }
        if !matches!(question, Question::Search(_) | Question::Missed(_)) {
            // Two questions may have crossed, or a message that was told meanwhile.
            let oldest = self.oldest(page.place);
            page.lines.retain(|line| oldest.is_none_or(|oldest| line.seq < oldest));
            let end = page.lines.last().map(|line| line.seq.to_wire() + 1);
            if oldest.zip(end).is_some_and(|(oldest, end)| end < oldest.to_wire()) {
                // All after it was cleared meanwhile, and would be missing between the two.
                page.lines.clear();
                page.more = true;
                return Question::Above;
            }
            page.lines.iter().for_each(|line| self.told(page.place, line.seq));
        }
        question
    }

    /// A message of the past as a line, with what tells of which room it is. Safe to print.
    pub(crate) fn line(&self, prefix: &str, line: &PageLine) -> String {
        format!("[{}] {prefix}{}", self.time(line.at), spoken(&escape(&line.name), &line.text))
    }

    /// A time where the user is.
    fn time(&self, at: UnixMillis) -> String {
        let at = i64::try_from(at.0).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        let Some(at) = at.map(|at| self.zone.to_datetime(at)) else { return "at an unknown time".to_owned() };
        let (year, month, day) = (at.year(), at.month(), at.day());
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", at.hour(), at.minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_cannot_drive_a_terminal_and_any_time_is_shown() {
        let past = Past { zone: TimeZone::UTC, ..Past::new() };
        let (seq, name, text) = (Seq::from_wire(1), "F\u{1b}oo".to_owned(), "a\nb".to_owned());
        for (at, shown) in [
            (0, "[1970-01-01 00:00] F\\u{1b}oo: a\\nb"),
            (1_795_910_400_000, "[2026-11-29 00:00] F\\u{1b}oo: a\\nb"),
            (u64::MAX, "[at an unknown time] F\\u{1b}oo: a\\nb"),
        ] {
            let line = PageLine { seq, at: UnixMillis(at), name: name.clone(), text: text.clone() };
            assert_eq!(past.line("", &line), shown);
            let elsewhere = shown.replace("] ", "] :[den] ");
            assert_eq!(past.line(":[den] ", &line), elsewhere);
        }
    }

    #[test]
    fn the_oldest_message_is_the_one_with_the_lowest_place() {
        let mut past = Past::new();
        for (seq, oldest) in [(0, None), (7, Some(7)), (9, Some(7)), (3, Some(3)), (0, Some(3))] {
            past.told(PlaceId::FIRST, Seq::from_wire(seq));
            past.told(PlaceId::from_number(2), Seq::from_wire(1));
            assert_eq!(past.oldest(PlaceId::FIRST), oldest.map(Seq::from_wire), "{seq}");
        }
        assert_eq!(past.newest(PlaceId::FIRST), Seq::from_wire(9));
        past.begin_anew(PlaceId::FIRST);
        assert_eq!((past.oldest(PlaceId::FIRST), past.newest(PlaceId::FIRST)), (None, Seq::ZERO));
        assert_eq!(past.newest(PlaceId::from_number(2)), Seq::from_wire(1));
    }

    #[test]
    fn a_page_that_comes_when_what_follows_it_was_cleared_is_asked_for_again() {
        let mut past = Past::new();
        let line = |seq| PageLine { seq: Seq::from_wire(seq), ..PageLine::default() };
        let page = |lines: std::ops::Range<u64>| Page {
            token: 1,
            lines: lines.map(line).collect(),
            ..Page::default()
        };
        (91..=100).for_each(|seq| past.told(PlaceId::FIRST, Seq::from_wire(seq)));
        let mut next = page(86..91);
        past.questions.insert(1, Question::Earlier);
        assert_eq!((past.answered(&mut next), next.lines.len()), (Question::Earlier, 5));
        past.questions.insert(1, Question::Earlier);
        past.clear(PlaceId::FIRST);
        let mut late = page(81..86);
        assert_eq!((past.answered(&mut late), late.lines.len(), late.more), (Question::Above, 0, true));
        let mut all = page(81..101);
        assert_eq!((past.answered(&mut all), all.lines.len()), (Question::Arrival, 20));
    }

    #[test]
    fn what_was_missed_is_asked_for_from_its_end() {
        let mut past = Past::new();
        let line = |seq| PageLine { seq: Seq::from_wire(seq), ..PageLine::default() };
        past.missed(PlaceId::FIRST, 900, Seq::from_wire(1001), 300);
        let gap = past.gaps.pop_front().unwrap();
        let page =
            |from: u64, more| Page { lines: (from..from + 100).map(line).collect(), more, ..Page::default() };
        let left = past.found(gap, &page(901, true));
        assert_eq!((left.missing, past.gaps[0].before), (800, Seq::from_wire(901)));
        let gap = past.gaps.pop_front().unwrap();
        past.questions.insert(5, Question::Missed(gap.clone()));
        // The connection is lost before the answer comes.
        past.ask_again();
        assert_eq!((past.gaps.pop_front(), past.questions.len()), (Some(gap.clone()), 0));
        // As much as was wanted, or as there is.
        let gap = Gap { wanted: 100, ..gap };
        assert_eq!(past.found(gap.clone(), &page(801, true)).missing, 700);
        assert_eq!(past.found(Gap { wanted: 300, ..gap }, &page(801, false)).missing, 700);
        assert!(past.gaps.is_empty());
    }
}
