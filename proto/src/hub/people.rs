//! What others know of a member: his name, whether he can be heard or hears, and where.

use alloc::{vec, vec::Vec};

use super::{Audience, Hub, Notice, Refusal, Session, Sessions};
use crate::{
    hooks::{Mistake, is_made},
    ids::{RoomId, SessionId},
    name::Name,
    time::Instant,
};

/// What others may know about whether somebody can be heard or hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// Nobody hears him.
    pub muted: bool,
    /// He hears nobody.
    pub deafened: bool,
}

/// Somebody, as others see him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person<'a> {
    /// His session.
    pub session: SessionId,
    /// His name.
    pub name: &'a Name,
    /// What is to be known of his microphone and speaker.
    pub marks: Marks,
    /// Where he talks and listens. In which conversation, only the other one in it knows; for all others it is [`RoomId::SOMEWHERE_PRIVATE`].
    pub voice: Option<RoomId>,
}

impl Sessions {
    /// As everybody may know him.
    pub(super) fn person(&self, session: SessionId) -> Option<Person<'_>> {
        let found = self.get(session)?;
        Some(Person { session, name: &found.name, marks: found.marks, voice: found.shown_voice })
    }

    /// As those in this room may know him, of whom one may be alone with him there.
    pub(super) fn person_in(&self, session: SessionId, room: RoomId) -> Option<Person<'_>> {
        let voice = self.get(session)?.voice;
        let person = self.person(session)?;
        Some(Person { voice: if voice == Some(room) { voice } else { person.voice }, ..person })
    }
}

impl Hub {
    /// The member takes another name; all who share a room with him are told, he too.
    ///
    /// # Errors
    /// It is no name, or somebody has it.
    pub fn rename(
        &mut self,
        now: Instant,
        id: SessionId,
        name: &str,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<(), Refusal> {
        let name = Name::new(name).map_err(Refusal::Name)?;
        let former = self.name_of(id).cloned();
        self.take_name(now, id, name, tell)?;
        self.tell_change(id, former.as_ref(), tell);
        Ok(())
    }

    /// Gives a member another name, if nobody has it.
    pub(super) fn take_name(
        &mut self,
        now: Instant,
        id: SessionId,
        name: Name,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<(), Refusal> {
        let folded = name.folded();
        if self.names.get(&folded) != Some(&id) {
            self.free_name(now, &name, tell)?;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            if !is_made(Mistake::FormerNameKept) {
                self.names.remove(&session.name.folded());
            }
            self.names.insert(folded, id);
            session.name = name;
        }
        Ok(())
    }

    /// The member can be heard and hears, or not.
    pub fn set_marks(
        &mut self,
        id: SessionId,
        marks: Marks,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        if let Some(session) = self.sessions.get_mut(id).filter(|session| session.marks != marks) {
            session.marks = marks;
            if !is_made(Mistake::MarksUntold) {
                self.tell_change(id, None, tell);
            }
        }
    }

    /// The member talks and listens in this room from now on, if he is in it; in none without one.
    pub fn set_voice_room(
        &mut self,
        id: SessionId,
        room: Option<RoomId>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let room = room.filter(|room| session.rooms.contains(room));
        if session.voice != room {
            session.set_voice(room);
            if let Some(room) = room.and_then(|room| self.rooms.get_mut(&room)) {
                room.answer(id);
            }
            self.tell_change(id, None, tell);
        }
    }

    /// Tells all who share a room with a member, and himself, what he is like now.
    pub(super) fn tell_change(
        &self,
        id: SessionId,
        former: Option<&Name>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let is_present = |session: &&Session| session.presence.is_in_room();
        let Some(session) = self.sessions.get(id).filter(is_present) else { return };
        let rooms = session.rooms.iter().filter_map(|room| self.rooms.get(room));
        let members = rooms.flat_map(|room| room.members.iter().copied());
        // Everybody once; there may be many in many rooms.
        let mut is_listed = vec![false; self.sessions.places()];
        let is_new = |id: &SessionId| {
            is_listed.get_mut(id.index()).is_some_and(|listed| !core::mem::replace(listed, true))
        };
        let sharers: Vec<SessionId> = members.chain([id]).filter(is_new).collect();
        if let Some(member) = self.sessions.person(id) {
            let former = former.filter(|former| *former != member.name);
            let voice = session.voice;
            let pair = voice.and_then(|voice| self.rooms.get(&voice)?.pair);
            tell(
                Audience { members: &sharers, except: None },
                Notice::Changed { member, former, voice, pair },
            );
        }
    }
}
