//! The table of sessions: who has been let in, and what is remembered of each.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    hooks::{Limit, Mistake, is_made},
    ids::{MessageId, RoomId, Seq, SessionId},
    name::Name,
    time::Instant,
};

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
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Name,
    pub(super) room: RoomId,
    pub(super) token: ResumeToken,
    pub(super) presence: Presence,
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
        Self { name, room, token, presence: Presence::Here, last_id, accepted }
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
        is_made(Mistake::StolenSession) || token.len() == self.token.len()
            && self.token.iter().zip(token).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
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
        *generation = (*generation + 1) & 0xfff;
        self.free.push_back(id.index());
        session
    }

    pub(super) fn any_in(&self, room: RoomId) -> bool {
        self.slots.iter().any(|(_, session)| session.as_ref().is_some_and(|s| s.room == room))
    }
}
