//! What each client said last, so that what it says again counts once: in another session, and after the server was started again, too.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
};

use crate::{
    audit::{at_most, ensure},
    history::{AuthorKey, KeepError},
    hooks::{Limit, Mistake, is_made},
    ids::{MessageId, RoomId, Seq},
    limits,
};

/// What a message number means to its author.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    /// Not seen before.
    New,
    /// Accepted before, at this place.
    Accepted(RoomId, Seq),
    /// Refused before, since it could not be kept.
    Refused(KeepError),
    /// Not newer than what was accepted, and not remembered.
    Stale,
}

/// Where a message has its place, or why it has none.
type Answer = Result<(RoomId, Seq), KeepError>;

#[derive(Debug, Default)]
struct Author {
    /// The highest message number that was taken.
    last_id: MessageId,
    /// What became of the last messages, for repeats.
    answered: VecDeque<(MessageId, Answer)>,
    /// Sessions that it has; most often one.
    sessions: usize,
    /// Where it stands among those without a session.
    former: Option<u64>,
}

/// All authors: those who have a session, and [`limits::FORMER_AUTHORS`] who had one.
#[derive(Debug, Default)]
pub(super) struct Authors {
    authors: BTreeMap<AuthorKey, Author>,
    /// Those without a session, the oldest first.
    former: BTreeMap<u64, AuthorKey>,
    next_former: u64,
}

impl Authors {
    /// An author has one more session.
    pub(super) fn enter(&mut self, key: AuthorKey) {
        let author = self.authors.entry(key).or_default();
        author.sessions += 1;
        if let Some(place) = author.former.take() {
            self.former.remove(&place);
        }
    }

    /// An author has one session less.
    pub(super) fn leave(&mut self, key: AuthorKey) {
        let Some(author) = self.authors.get_mut(&key) else { return };
        author.sessions = author.sessions.saturating_sub(1);
        if author.sessions > 0 {
            return;
        }
        if author.answered.is_empty() {
            self.authors.remove(&key);
        } else {
            self.retire(key);
        }
    }

    /// An author without a session is remembered for a while.
    fn retire(&mut self, key: AuthorKey) {
        let Some(author) = self.authors.get_mut(&key) else { return };
        if let Some(place) = author.former.replace(self.next_former) {
            self.former.remove(&place);
        }
        self.former.insert(self.next_former, key);
        self.next_former += 1;
        if self.former.len() > limits::FORMER_AUTHORS
            && let Some((_, oldest)) = self.former.pop_first()
        {
            self.authors.remove(&oldest);
        }
    }

    /// A message that was accepted in an earlier start of the server. In the order in which they were said, for each room; it may be
    /// told more than once.
    pub(super) fn restore(&mut self, key: AuthorKey, id: MessageId, room: RoomId, seq: Seq) {
        if key == AuthorKey::default() || is_made(Mistake::AuthorsForgotten) {
            return;
        }
        let author = self.authors.entry(key).or_default();
        let at = author.answered.partition_point(|(other, _)| *other < id);
        match author.answered.get_mut(at) {
            // An author who was forgotten meanwhile may have used a number again: the later place counts.
            Some(same) if same.0 == id => *same = (id, Ok((room, seq))),
            Some(_) | None => author.answered.insert(at, (id, Ok((room, seq)))),
        }
        if author.answered.len() > Limit::UnackedMessages.value() {
            author.answered.pop_front();
        }
        author.last_id = author.last_id.max(id);
        self.retire(key);
    }

    pub(super) fn repeat(&self, key: AuthorKey, id: MessageId) -> Repeat {
        let Some(author) = self.authors.get(&key) else { return Repeat::New };
        if id > author.last_id || is_made(Mistake::SaidTwice) {
            return Repeat::New;
        }
        match author.answered.iter().find(|(answered, _)| *answered == id) {
            Some(&(_, Ok((room, seq)))) => Repeat::Accepted(room, seq),
            Some(&(_, Err(why))) => Repeat::Refused(why),
            None => Repeat::Stale,
        }
    }

    /// A new message of an author who has a session has its place.
    pub(super) fn accept(&mut self, key: AuthorKey, id: MessageId, room: RoomId, seq: Seq) {
        let Some(author) = self.authors.get_mut(&key) else { return };
        author.last_id = id;
        if author.answered.len() == Limit::UnackedMessages.value() {
            author.answered.pop_front();
        }
        author.answered.push_back((id, Ok((room, seq))));
    }

    /// A message that has its place could not be kept. That stays so when it is said again: its author may have been told, and have said
    /// it again before that.
    pub(super) fn refuse(&mut self, key: AuthorKey, id: MessageId, why: KeepError) {
        let Some(author) = self.authors.get_mut(&key) else { return };
        if let Some((_, answer)) = author.answered.iter_mut().find(|(answered, _)| *answered == id) {
            *answer = Err(why);
        }
    }

    /// What must hold; `sessions` are all that there are.
    pub(super) fn audit(&self, sessions: impl Iterator<Item = AuthorKey>) -> Result<(), String> {
        let mut counted: BTreeMap<AuthorKey, usize> = BTreeMap::new();
        for key in sessions {
            *counted.entry(key).or_default() += 1;
        }
        at_most("former authors", self.former.len(), limits::FORMER_AUTHORS)?;
        for (place, key) in &self.former {
            let is_there = self.authors.get(key).is_some_and(|author| author.former == Some(*place));
            ensure!(is_there, "the former author at {place} is not known as such");
        }
        let mut former = 0;
        for (key, author) in &self.authors {
            let sessions = counted.remove(key).unwrap_or_default();
            ensure!(author.sessions == sessions, "{} sessions of an author, not {sessions}", author.sessions);
            ensure!(
                (sessions == 0) == author.former.is_some(),
                "an author with {sessions} sessions is former"
            );
            former += usize::from(author.former.is_some());
            author.audit()?;
        }
        ensure!(counted.is_empty(), "{} authors with a session are not known", counted.len());
        ensure!(former == self.former.len(), "{former} authors are former, {} are listed", self.former.len());
        Ok(())
    }
}

impl Author {
    fn audit(&self) -> Result<(), String> {
        at_most("answered messages", self.answered.len(), Limit::UnackedMessages.value())?;
        for ((id, _), (next_id, _)) in self.answered.iter().zip(self.answered.iter().skip(1)) {
            ensure!(id < next_id, "{next_id:?} was answered after {id:?}");
        }
        let last = self.answered.back().map_or(self.last_id, |&(id, _)| id);
        ensure!(last == self.last_id, "{last:?} was answered last, {:?} is noted", self.last_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::assert_told,
        limits::{FORMER_AUTHORS, UNACKED_MESSAGES},
    };

    const FOO: AuthorKey = AuthorKey([1; 16]);
    const ROOM: RoomId = RoomId::from_wire(1);

    fn id(number: u64) -> MessageId {
        MessageId::from_wire(number)
    }

    fn seq(number: u64) -> Seq {
        Seq::from_wire(number)
    }

    /// Foo, who has said one more than is remembered, at the places from 11 on.
    fn authors() -> Authors {
        let mut authors = Authors::default();
        authors.enter(FOO);
        for n in 1..=UNACKED_MESSAGES as u64 + 1 {
            authors.accept(FOO, id(n), ROOM, seq(10 + n));
        }
        authors
    }

    #[test]
    fn what_was_accepted_is_known_over_sessions() {
        let mut authors = authors();
        authors.leave(FOO);
        authors.enter(FOO);
        let newest = UNACKED_MESSAGES as u64 + 1;
        assert_eq!(authors.repeat(FOO, id(1)), Repeat::Stale);
        assert_eq!(authors.repeat(FOO, id(2)), Repeat::Accepted(ROOM, seq(12)));
        assert_eq!(authors.repeat(FOO, id(newest + 1)), Repeat::New);
        assert_eq!(authors.repeat(AuthorKey([2; 16]), id(1)), Repeat::New);
        authors.audit([FOO].into_iter()).unwrap();
    }

    #[test]
    fn what_could_not_be_kept_stays_refused() {
        let mut authors = authors();
        authors.refuse(FOO, id(60), KeepError::Full);
        authors.refuse(FOO, id(1), KeepError::Full);
        assert_eq!(authors.repeat(FOO, id(59)), Repeat::Accepted(ROOM, seq(69)));
        assert_eq!(authors.repeat(FOO, id(60)), Repeat::Refused(KeepError::Full));
        assert_eq!(authors.repeat(FOO, id(61)), Repeat::Accepted(ROOM, seq(71)));
        assert_eq!(authors.repeat(FOO, id(1)), Repeat::Stale);
        authors.audit([FOO].into_iter()).unwrap();
    }

    #[test]
    fn the_oldest_who_are_gone_are_forgotten() {
        let mut authors = authors();
        authors.leave(FOO);
        for n in 0..FORMER_AUTHORS as u64 {
            let mut key = [9; 16];
            key[..8].copy_from_slice(&n.to_be_bytes());
            authors.restore(AuthorKey(key), id(n + 1), ROOM, seq(n + 1));
        }
        assert_eq!(authors.repeat(FOO, id(2)), Repeat::New);
        assert_eq!(authors.former.len(), FORMER_AUTHORS);
        authors.audit(core::iter::empty()).unwrap();
    }

    #[test]
    fn who_said_nothing_is_not_remembered() {
        let mut authors = Authors::default();
        authors.enter(FOO);
        authors.enter(FOO);
        authors.leave(FOO);
        authors.audit([FOO].into_iter()).unwrap();
        authors.leave(FOO);
        assert!(authors.authors.is_empty());
    }

    #[test]
    fn what_is_restored_of_several_rooms_is_put_in_order() {
        let mut authors = Authors::default();
        let other = RoomId::from_wire(2);
        for n in [1, 2, 5] {
            authors.restore(FOO, id(n), ROOM, seq(n));
        }
        for n in [3, 4, 6] {
            authors.restore(FOO, id(n), other, seq(n));
        }
        authors.audit(core::iter::empty()).unwrap();
        assert_eq!(authors.repeat(FOO, id(4)), Repeat::Accepted(other, seq(4)));
        assert_eq!(authors.repeat(FOO, id(5)), Repeat::Accepted(ROOM, seq(5)));
        assert_eq!(authors.repeat(FOO, id(7)), Repeat::New);
    }

    #[test]
    fn numbers_may_be_left_out() {
        let mut authors = Authors::default();
        authors.enter(FOO);
        for n in [3, 9] {
            authors.accept(FOO, id(n), ROOM, seq(n));
        }
        authors.refuse(FOO, id(9), KeepError::Failed);
        authors.audit([FOO].into_iter()).unwrap();
        assert_eq!(authors.repeat(FOO, id(5)), Repeat::Stale);
        assert_eq!(authors.repeat(FOO, id(9)), Repeat::Refused(KeepError::Failed));
        assert_eq!(authors.repeat(FOO, id(10)), Repeat::New);
    }

    #[test]
    fn what_is_restored_twice_counts_once_and_what_the_server_said_not_at_all() {
        let mut authors = Authors::default();
        for (n, place) in [(1, 1), (2, 2), (2, 2), (1, 7)] {
            authors.restore(FOO, id(n), ROOM, seq(place));
            authors.restore(AuthorKey::default(), id(0), ROOM, seq(place));
        }
        authors.audit(core::iter::empty()).unwrap();
        assert_eq!(authors.authors.len(), 1);
        assert_eq!(authors.repeat(FOO, id(1)), Repeat::Accepted(ROOM, seq(7)));
    }

    #[test]
    fn an_audit_tells_what_is_wrong() {
        assert_told(
            authors,
            |authors| authors.audit([FOO].into_iter()),
            &[
                ("answered messages: 65, the limit is 64", |authors| {
                    authors.authors.get_mut(&FOO).unwrap().answered.push_front((id(1), Ok((ROOM, seq(1)))));
                }),
                ("was answered after MessageId(3)", |authors| {
                    authors.authors.get_mut(&FOO).unwrap().answered[2].0 = id(3);
                }),
                ("MessageId(64) was answered last, MessageId(65) is noted", |authors| {
                    authors.authors.get_mut(&FOO).unwrap().answered.pop_back();
                }),
                ("2 sessions of an author, not 1", |authors| {
                    authors.authors.get_mut(&FOO).unwrap().sessions = 2;
                }),
                ("1 sessions is former", |authors| {
                    authors.authors.get_mut(&FOO).unwrap().former = Some(1);
                }),
                ("1 authors with a session are not known", |authors| authors.authors.clear()),
                ("is not known as such", |authors| {
                    authors.former.insert(3, FOO);
                }),
            ],
        );
    }
}
