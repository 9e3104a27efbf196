//! The table of sessions: who has been let in, and what is remembered of each.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use crate::{
    audit::{at_most, ensure},
    hooks::{Limit, Mistake, is_made},
    ids::{MessageId, RoomId, Seq, SessionId},
    name::Name,
    time::Instant,
};

/// What a session's number has bits for beside the index.
const LAST_GENERATION: u32 = 0xfff;

/// Secret that lets a client take its session up again.
pub type ResumeToken = [u8; 16];

/// Whether a session has a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It has.
    Here,
    /// It lost it; the others were not told yet. Until `deadline`.
    Lost { deadline: Instant },
    /// The others were told that it is gone; it may still be resumed. Until `deadline`.
    Gone { deadline: Instant },
}

impl Presence {
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Here => None,
            Self::Lost { deadline } | Self::Gone { deadline } => Some(deadline),
        }
    }

    /// True as long as the others see it.
    pub(super) fn is_in_room(self) -> bool {
        match self {
            Self::Here | Self::Lost { .. } => true,
            Self::Gone { .. } => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Name,
    pub(super) room: RoomId,
    pub(super) token: ResumeToken,
    pub(super) presence: Presence,
    /// Which of the client's connections it is, or was, here by.
    pub(super) attempt: u64,
    /// The highest message number that was accepted.
    last_id: MessageId,
    /// The last accepted messages and their places, for repeats.
    accepted: VecDeque<(MessageId, Seq)>,
}

/// What a message number means to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    /// Not seen before.
    New,
    /// Accepted before, at this place.
    Accepted(Seq),
    /// Not newer than what was accepted, and not remembered.
    Stale,
}

impl Session {
    pub(super) fn new(name: Name, room: RoomId, token: ResumeToken) -> Self {
        let (last_id, accepted) = (MessageId::default(), VecDeque::new());
        Self { name, room, token, presence: Presence::Here, attempt: 0, last_id, accepted }
    }

    pub(super) fn repeat(&self, id: MessageId) -> Repeat {
        if id > self.last_id || is_made(Mistake::SaidTwice) {
            return Repeat::New;
        }
        match self.accepted.iter().find(|(accepted, _)| *accepted == id) {
            Some(&(_, seq)) => Repeat::Accepted(seq),
            None => Repeat::Stale,
        }
    }

    pub(super) fn accept(&mut self, id: MessageId, seq: Seq) {
        self.last_id = id;
        if self.accepted.len() == Limit::UnackedMessages.value() {
            self.accepted.pop_front();
        }
        self.accepted.push_back((id, seq));
    }

    /// Compares in a time that tells nothing about the token.
    pub(super) fn knows_token(&self, token: &[u8]) -> bool {
        is_made(Mistake::StolenSession)
            || token.len() == self.token.len()
                && self.token.iter().zip(token).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }

    /// What must hold of a session in a room whose last place is `last`, if that room still exists.
    pub(super) fn audit(&self, last: Option<Seq>) -> Result<(), String> {
        at_most("accepted messages", self.accepted.len(), Limit::UnackedMessages.value())?;
        for ((id, seq), (next_id, next_seq)) in self.accepted.iter().zip(self.accepted.iter().skip(1)) {
            ensure!(
                id < next_id && seq < next_seq,
                "{next_id:?} was accepted at {next_seq:?}, after {id:?} at {seq:?}"
            );
        }
        let (id, seq) = self.accepted.back().copied().unwrap_or_default();
        ensure!(id == self.last_id, "{id:?} was accepted last, {:?} is noted", self.last_id);
        if let Some(last) = last {
            ensure!(seq <= last, "{id:?} was accepted at {seq:?}, the room is at {}", last.to_wire());
        }
        Ok(())
    }
}

/// Sessions by their id; an id that was given back does not name its successor.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<(u32, Option<Session>)>,
    free: VecDeque<usize>,
}

impl Sessions {
    pub(super) fn insert(&mut self, session: Session) -> SessionId {
        let index = self.free.pop_front().unwrap_or_else(|| {
            self.slots.push((1, None));
            self.slots.len() - 1
        });
        let generation = match self.slots.get_mut(index) {
            Some((generation, slot)) => {
                *slot = Some(session);
                *generation
            }
            None => 0,
        };
        SessionId::from_parts(index, generation)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        let (generation, session) = self.slots.get(id.index())?;
        session.as_ref().filter(|_| SessionId::from_parts(id.index(), *generation) == id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let (generation, session) = self.slots.get_mut(id.index())?;
        session.as_mut().filter(|_| SessionId::from_parts(id.index(), *generation) == id)
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.get(id)?;
        let (generation, slot) = self.slots.get_mut(id.index())?;
        let session = slot.take();
        *generation = (*generation + 1) & LAST_GENERATION;
        self.free.push_back(id.index());
        session
    }

    pub(super) fn any_in(&self, room: RoomId) -> bool {
        self.slots.iter().any(|(_, session)| session.as_ref().is_some_and(|s| s.room == room))
    }

    /// All sessions, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        let sessions = self.slots.iter().enumerate();
        sessions.filter_map(|(index, (generation, session))| {
            Some((SessionId::from_parts(index, *generation), session.as_ref()?))
        })
    }

    /// Places, taken or free.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// What must hold of the table; not of the sessions in it.
    pub(super) fn audit(&self) -> Result<(), String> {
        let mut is_free: Vec<bool> = self.slots.iter().map(|(_, session)| session.is_none()).collect();
        for &index in &self.free {
            // Each place that is free is given out once.
            let is_free = is_free.get_mut(index).is_some_and(core::mem::take);
            ensure!(is_free, "place {index} of {} is free twice, or taken", self.slots.len());
        }
        let lost = is_free.iter().position(|&is_free| is_free);
        ensure!(lost.is_none(), "place {lost:?} is empty and not among the {} free ones", self.free.len());
        for (index, (generation, _)) in self.slots.iter().enumerate() {
            let id = SessionId::from_parts(index, *generation);
            let is_whole = id.index() == index && *generation <= LAST_GENERATION;
            ensure!(is_whole, "place {index} in generation {generation} has no number");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::assert_told, limits::UNACKED_MESSAGES};

    fn session() -> Session {
        let mut session = Session::new(Name::new("Foo").unwrap(), RoomId::new(1), [0; 16]);
        for n in 1..=UNACKED_MESSAGES as u64 + 1 {
            session.accept(MessageId::from_wire(n), Seq::from_wire(10 + n));
        }
        session
    }

    #[test]
    fn what_was_accepted_is_in_order_and_bounded() {
        assert_told(
            session,
            |session| session.audit(Some(last_place())),
            &[
                ("accepted messages: 65, the limit is 64", |session| {
                    session.accepted.push_front(Default::default());
                }),
                ("after MessageId(3)", |session| session.accepted[2].0 = MessageId::from_wire(3)),
                ("after MessageId(3)", |session| session.accepted[2].1 = Seq::from_wire(13)),
                ("MessageId(64) was accepted last, MessageId(65) is noted", |session| {
                    session.accepted.pop_back();
                }),
                ("Seq(76), the room is at 75", |session| session.accepted[63].1 = last_place().next()),
            ],
        );
    }

    fn last_place() -> Seq {
        Seq::from_wire(11 + UNACKED_MESSAGES as u64)
    }

    #[test]
    fn a_place_is_taken_or_free_and_free_once() {
        let sound = || {
            let mut sessions = Sessions::default();
            let ids = [(); 3].map(|()| sessions.insert(session()));
            sessions.remove(ids[1]);
            sessions
        };
        assert_told(
            sound,
            Sessions::audit,
            &[
                ("place 0 of 3 is free twice, or taken", |sessions| sessions.free.push_back(0)),
                ("place 1 of 3 is free twice, or taken", |sessions| sessions.free.push_back(1)),
                ("place 9 of 3", |sessions| sessions.free.push_back(9)),
                ("place Some(1) is empty and not among the 0", |sessions| sessions.free.clear()),
                ("place 2 in generation 4096", |sessions| sessions.slots[2].0 = 4096),
            ],
        );
    }
}
