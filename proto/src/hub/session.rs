//! The table of sessions: who has been let in, and what is remembered of each.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use super::Marks;
use crate::{
    audit::ensure,
    history::AuthorKey,
    hooks::{Mistake, is_made},
    ids::{RoomId, SessionId},
    name::Name,
    rate::Rate,
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
    /// Its rooms, in the order in which it came into them; also while it is gone, for when it is resumed.
    pub(super) rooms: Vec<RoomId>,
    /// That of them in which it talks and listens; and what all may know of that.
    pub(super) voice: Option<RoomId>,
    pub(super) shown_voice: Option<RoomId>,
    pub(super) marks: Marks,
    /// It can be alone with somebody.
    pub(super) has_private: bool,
    pub(super) token: ResumeToken,
    pub(super) presence: Presence,
    /// Which of the client's connections it is, or was, here by.
    pub(super) attempt: u64,
    /// Under which key what it says is remembered.
    pub(super) author: AuthorKey,
    /// Messages of it that are not kept yet.
    pub(super) waiting: usize,
    /// How many rooms it made lately.
    pub(super) making: Rate,
}

impl Session {
    pub(super) fn new(name: Name, token: ResumeToken, author: AuthorKey) -> Self {
        let (rooms, voice, shown_voice, marks, has_private) =
            (Vec::new(), None, None, Marks::default(), true);
        let (presence, attempt, waiting) = (Presence::Here, 0, 0);
        let making = Rate::default();
        Self {
            name,
            rooms,
            voice,
            shown_voice,
            marks,
            has_private,
            token,
            presence,
            attempt,
            author,
            waiting,
            making,
        }
    }

    /// It talks and listens there from now on.
    pub(super) fn set_voice(&mut self, room: Option<RoomId>) {
        self.voice = room;
        self.shown_voice = room.map(|room| if room.is_private() { RoomId::SOMEWHERE_PRIVATE } else { room });
    }

    /// The room is none of its any more.
    pub(super) fn release(&mut self, room: RoomId) {
        self.rooms.retain(|&other| other != room);
        self.set_voice(self.voice.filter(|&voice| voice != room));
    }

    /// Compares in a time that tells nothing about the token.
    pub(super) fn knows_token(&self, token: &[u8]) -> bool {
        is_made(Mistake::StolenSession)
            || token.len() == self.token.len()
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
        *generation = (*generation + 1) & LAST_GENERATION;
        self.free.push_back(id.index());
        session
    }

    /// The room is none of anybody's any more.
    pub(super) fn release_all(&mut self, room: RoomId) {
        for session in self.slots.iter_mut().filter_map(|(_, session)| session.as_mut()) {
            session.release(room);
        }
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
    use crate::audit::assert_told;

    fn session() -> Session {
        Session::new(Name::new("Foo").unwrap(), [0; 16], AuthorKey::default())
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
