//! What was said before: how far back the user has seen it, what he asked for, and how it is shown in plain lines.

use std::collections::BTreeMap;

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
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Past {
    zone: TimeZone,
    /// The first message that the user has seen of each room, and the last that there is.
    seen: BTreeMap<PlaceId, (Seq, Seq)>,
    questions: BTreeMap<u32, Question>,
}

impl Past {
    pub(crate) fn new() -> Self {
        Self { zone: TimeZone::system(), seen: BTreeMap::new(), questions: BTreeMap::new() }
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
        let question = self.questions.remove(&page.token).unwrap_or(Question::Arrival);
        if !matches!(question, Question::Search(_)) {
            // Two questions may have crossed, or a message that was told meanwhile.
            let oldest = self.oldest(page.place);
            page.lines.retain(|line| oldest.is_none_or(|oldest| line.seq < oldest));
            page.lines.iter().for_each(|line| self.told(page.place, line.seq));
        }
        question
    }

    /// A message of the past as a line. Safe to print.
    pub(crate) fn line(&self, line: &PageLine) -> String {
        format!("[{}] {}", self.time(line.at), spoken(&escape(&line.name), &line.text))
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
            assert_eq!(past.line(&line), shown);
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
}
