//! Which rooms a session is in: claims, rooms with names, and what is between two members alone.

use alloc::vec::Vec;

use super::{Audience, Entry, Hub, JoinRequest, LeaveReason, Notice, Refusal, Room, Session, is_unused};
use crate::{
    hooks::{Limit, Mistake, is_made},
    ids::{RoomId, Seq, SessionId},
    limits,
    name::{Name, NameError},
    time::Instant,
};

/// A room that somebody wants to be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    /// The client's own number of it, for the answer.
    pub key: u32,
    /// The room's name as it was typed; empty for the default room.
    pub name: &'a str,
    /// Not empty: the name of the one with whom it is to be alone.
    pub with: &'a str,
    /// The numbering in which he was there before; 0 if he was not.
    pub epoch: u64,
    /// The last message that he saw in it.
    pub last_seq: Seq,
    /// By which number, for what is between two.
    pub room: RoomId,
}

impl<'a> Claim<'a> {
    /// Of a room where he was not before.
    pub fn new(name: &'a str) -> Self {
        Self { key: 1, name, with: "", epoch: 0, last_seq: Seq::ZERO, room: RoomId::new(0) }
    }

    /// The name of the room, for one that has a name.
    pub(super) fn room_name(&self) -> Result<Name, NameError> {
        Name::new(if self.name.is_empty() { limits::DEFAULT_ROOM } else { self.name })
    }
}

/// A room that somebody is in now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entrance {
    /// Which.
    pub room: RoomId,
    /// Everything after this is yet to be told ([`Hub::messages_after`]).
    pub told_up_to: Seq,
    /// Another claim of the same Hello is answered with it: who is there is not told twice.
    pub is_again: bool,
}

impl Hub {
    /// A member wants to be in one more room; the others there are told.
    ///
    /// # Errors
    /// There is no such room, or none for him.
    pub fn enter(
        &mut self,
        now: Instant,
        id: SessionId,
        claim: &Claim<'_>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<Entrance, Refusal> {
        let room = self.claim(now, id, claim, tell)?;
        self.appear(id, room, tell);
        let told_up_to = self.told_up_to(room, claim, limits::REPLAY_BYTES);
        Ok(Entrance { room, told_up_to, is_again: false })
    }

    /// A member leaves a room; the others there are told. What is between two stays.
    pub fn part(&mut self, id: SessionId, room: RoomId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        if room.is_private() || !self.is_in(id, room) {
            return;
        }
        let had_voice = self.sessions.get(id).is_some_and(|session| session.voice == Some(room));
        self.leave_room(id, room, tell);
        if had_voice {
            self.tell_change(id, None, tell);
        }
    }

    fn leave_room(&mut self, id: SessionId, room: RoomId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        self.disappear(id, room, LeaveReason::Quit, tell);
        self.release(id, room);
        self.remove_unused(room);
    }

    /// Puts a member into the rooms that he claims and takes him out of all others with a name. The rooms of his that he does not
    /// know of yet, what others opened, come after those that he claims, if the others are there.
    pub(super) fn enter_all(
        &mut self,
        now: Instant,
        id: SessionId,
        request: &JoinRequest<'_>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Vec<Entry> {
        let claims = request.claims.get(..limits::CLAIMS).unwrap_or(request.claims);
        self.leave_unclaimed(id, claims, tell);
        let mut claimed = Vec::with_capacity(claims.len());
        for claim in claims {
            claimed.push((claim, self.claim(now, id, claim, tell)));
        }
        for (_, found) in &mut claimed {
            // It ended so that there is a place for one that is claimed after it.
            if found.as_ref().is_ok_and(|room| !self.is_in(id, *room)) {
                *found = Err(Refusal::Over);
            }
        }
        let is_claimed = |room: RoomId| claimed.iter().any(|(_, found)| *found == Ok(room));
        let voice = claimed.iter().find(|(claim, _)| claim.key == request.voice);
        let voice = voice.and_then(|(_, found)| found.as_ref().ok().copied());
        let rooms = match self.sessions.get_mut(id) {
            Some(session) => {
                session.set_voice(voice);
                session.rooms.clone()
            }
            None => Vec::new(),
        };
        rooms.iter().for_each(|&room| self.appear(id, room, tell));
        let share = self.replay_share(&rooms);
        let mut entries = Vec::with_capacity(rooms.len());
        for (n, (claim, found)) in claimed.iter().enumerate() {
            // What is claimed twice is told once, or a few bytes would have a room's history written many times.
            let is_told = |room| claimed.iter().take(n).any(|(_, other)| *other == Ok(room));
            let entered = found.clone().map(|room| match is_told(room) {
                true => Entrance { room, told_up_to: self.last_of(room), is_again: true },
                false => Entrance { room, told_up_to: self.told_up_to(room, claim, share), is_again: false },
            });
            entries.push(Entry { key: claim.key, entered });
        }
        for &room in rooms.iter().filter(|&&room| !is_claimed(room)) {
            // Where nobody is but him, he is told when the other is back.
            if room.is_private() && !self.is_complete(room, id) {
                self.rooms.entry(room).and_modify(|room| room.untold = Some(id));
                continue;
            }
            let told_up_to = self.newest_within(room, Seq::ZERO, share);
            entries.push(Entry { key: 0, entered: Ok(Entrance { room, told_up_to, is_again: false }) });
        }
        entries
    }

    /// Takes a member out of the rooms with a name that he does not claim, which make place for those that he does.
    fn leave_unclaimed(
        &mut self,
        id: SessionId,
        claims: &[Claim<'_>],
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let rooms = self.rooms_of(id).iter().copied().filter(|room| !room.is_private());
        let rooms: Vec<RoomId> = rooms.collect();
        if rooms.is_empty() {
            return;
        }
        let names =
            claims.iter().filter(|claim| claim.with.is_empty()).filter_map(|claim| claim.room_name().ok());
        let names: Vec<_> = names.map(|name| name.folded()).collect();
        for room in rooms {
            let name = self.rooms.get(&room).map(|room| room.folded.clone());
            let is_left = !name.is_some_and(|name| names.contains(&name));
            if is_left && !is_made(Mistake::HelloLeavesNothing) {
                self.leave_room(id, room, tell);
            }
        }
    }

    // Finding rooms.

    /// Finds or makes the room; from now on it is one of the session's.
    fn claim(
        &mut self,
        now: Instant,
        id: SessionId,
        claim: &Claim<'_>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<RoomId, Refusal> {
        let room = match (claim.with, claim.epoch) {
            ("", _) => self.named_room(now, id, claim.room_name().map_err(Refusal::RoomName)?)?,
            (with, 0) => self.private_room(id, with, tell)?,
            (with, _) if is_made(Mistake::WhoeverHasName) => self.private_room(id, with, tell)?,
            // Another who has that name now is not the one with whom he was alone.
            _ => self.former_private_room(id, claim).ok_or(Refusal::Over)?,
        };
        self.hold(id, room);
        self.rooms.entry(room).and_modify(|room| room.untold = room.untold.filter(|untold| *untold != id));
        Ok(room)
    }

    fn named_room(&mut self, now: Instant, id: SessionId, name: Name) -> Result<RoomId, Refusal> {
        let folded = name.folded();
        let found = self.rooms_with_names().find(|(_, room)| room.folded == folded);
        match found.map(|(id, _)| id) {
            Some(room) if self.is_in(id, room) => Ok(room),
            _ if self.count_rooms(id, false) >= Limit::RoomsEach.value() => Err(Refusal::TooManyRooms),
            Some(room) => Ok(room),
            None => self.make_room(now, id, name),
        }
    }

    /// Makes a room for a session; not in place of one that it is about to enter.
    fn make_room(&mut self, now: Instant, id: SessionId, name: Name) -> Result<RoomId, Refusal> {
        let making = self.sessions.get(id).map(|session| session.making);
        if making.is_some_and(|making| making.ahead(now) > limits::ROOM_BURST) {
            return Err(Refusal::TooManyMade);
        }
        let is_default = name.folded().as_str() == limits::DEFAULT_ROOM;
        let has_default = is_default || self.rooms_with_names().any(|(_, room)| room.is_default());
        // One place is kept for the default room, so that nobody can shut out those who ask for none.
        let places = Limit::Rooms.value() - usize::from(!has_default);
        if self.rooms() >= places {
            // A room in which nobody is only waits for those who might resume, unless something of it is kept.
            let is_free = |(room_id, room): &(RoomId, &Room)| is_unused(room) && !self.is_in(id, *room_id);
            let empty = self.rooms_with_names().find(is_free);
            let (empty, _) = empty.ok_or(Refusal::RoomsFull)?;
            self.sessions.release_all(empty);
            self.remove_room(empty);
        }
        let room = loop {
            let room = RoomId::new(self.next_room);
            self.next_room = self.next_room % limits::LAST_ROOM + 1;
            if !self.rooms.contains_key(&room) {
                break room;
            }
        };
        let epoch = if is_made(Mistake::NumberingForgotten) { 1 } else { self.new_epoch() };
        self.rooms.insert(room, Room::new(name, epoch));
        if let Some(session) = self.sessions.get_mut(id) {
            session.making.charge(now, limits::ROOM_COST);
        }
        Ok(room)
    }

    fn private_room(
        &mut self,
        id: SessionId,
        with: &str,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<RoomId, Refusal> {
        let other = self.session_named(with).ok_or(Refusal::NotHere)?;
        if other == id {
            return Err(Refusal::Oneself);
        }
        let rooms = self.sessions.get(id).map_or(&[][..], |session| &session.rooms);
        let is_with = |room: &&RoomId| self.rooms.get(room).is_some_and(|room| room.other(id) == Some(other));
        if let Some(&found) = rooms.iter().find(is_with) {
            self.rooms.entry(found).and_modify(|room| room.answer(id));
            return Ok(found);
        }
        if self.sessions.get(other).is_none_or(|session| !session.has_private) {
            return Err(Refusal::NoPrivate);
        }
        for id in [id, other] {
            if self.count_rooms(id, true) >= Limit::PrivateEach.value() {
                let rooms = self.rooms_of(id).iter().copied().filter(|room| room.is_private());
                let least = self.least_private(rooms, Some(id)).ok_or(Refusal::TooManyPrivate)?;
                self.end_private(least, tell);
            }
        }
        if self.rooms.len() - self.rooms() >= limits::PRIVATE_ROOMS {
            let rooms = self.rooms.range(RoomId::new(RoomId::FIRST_PRIVATE)..).map(|(room, _)| *room);
            let least = self.least_private(rooms, None).ok_or(Refusal::TooManyPrivate)?;
            self.end_private(least, tell);
        }
        let room = loop {
            let room = RoomId::new(RoomId::FIRST_PRIVATE + self.next_private);
            self.next_private = (self.next_private + 1) % RoomId::FIRST_PRIVATE;
            if !self.rooms.contains_key(&room) {
                break room;
            }
        };
        let epoch = self.new_epoch();
        self.rooms.insert(room, Room::private([id, other], epoch));
        self.hold(other, room);
        Ok(room)
    }

    /// The conversation that is given up where there is no place for another: the oldest of those that the other never answered, one of whose
    /// two is gone if there is any, so that strangers take no place from others; then of those that both wanted and one has left. `of` is whose
    /// place it is.
    fn least_private(&self, rooms: impl Iterator<Item = RoomId>, of: Option<SessionId>) -> Option<RoomId> {
        let is_here = |id: &SessionId| self.sessions.get(*id).is_some_and(|it| it.presence.is_in_room());
        let ranked = rooms.filter_map(|id| {
            let room = self.rooms.get(&id)?;
            let pair = room.pair?;
            let is_call = pair.iter().any(|session| self.voice_of(*session) == Some(id));
            let is_wanted = room.is_answered || of == Some(pair[0]) || is_call;
            let rank = (is_wanted, pair.iter().all(is_here));
            Some((rank, id)).filter(|_| rank != (true, true))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, id)| id)
    }

    /// Ends what is between two. Whoever is there is told that the other left.
    fn end_private(&mut self, id: RoomId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some((room, pair)) = self.rooms.get(&id).and_then(|room| Some((room, room.pair?))) else {
            return;
        };
        let (room_name, members) = (&room.name, &room.members);
        let [one, other] = pair;
        if members.len() == pair.len() {
            for (left, told) in [(one, other), (other, one)] {
                let Some(name) = self.name_of(left) else { continue };
                let (audience, reason) = (Audience { members: &[told], except: None }, LeaveReason::Quit);
                tell(audience, Notice::Left { room: id, room_name, member: left, name, reason });
            }
        }
        let had_voice = |session: &SessionId| {
            self.sessions.get(*session).is_some_and(|session| session.voice == Some(id))
        };
        let silent: Vec<SessionId> = members.iter().copied().filter(had_voice).collect();
        pair.into_iter().for_each(|session| self.release(session, id));
        self.remove_room(id);
        silent.into_iter().for_each(|session| self.tell_change(session, None, tell));
    }

    fn former_private_room(&self, id: SessionId, claim: &Claim<'_>) -> Option<RoomId> {
        let room = self.rooms.get(&claim.room).filter(|room| room.epoch == claim.epoch)?;
        room.other(id).map(|_| claim.room)
    }

    /// Never 0, which says that there is none.
    fn new_epoch(&mut self) -> u64 {
        self.rng.next_u64().max(1)
    }

    /// All rooms that have a name.
    pub(super) fn rooms_with_names(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.rooms.range(..RoomId::new(RoomId::FIRST_PRIVATE)).map(|(&id, room)| (id, room))
    }

    fn count_rooms(&self, id: SessionId, private: bool) -> usize {
        let rooms = self.sessions.get(id).map_or(&[][..], |session| &session.rooms);
        rooms.iter().filter(|room| room.is_private() == private).count()
    }

    fn last_of(&self, room: RoomId) -> Seq {
        self.rooms.get(&room).map(Room::last_seq).unwrap_or_default()
    }

    /// After which message of `room` somebody is told, who claims it so.
    fn told_up_to(&self, room: RoomId, claim: &Claim<'_>, bytes: usize) -> Seq {
        let Some(place) = self.rooms.get(&room) else { return Seq::ZERO };
        let last = place.last_seq();
        let told = match claim.last_seq {
            // All that is between two is for both of them: he may have been away when the other opened it.
            _ if claim.epoch == 0 && room.is_private() && !is_made(Mistake::PrivateBeginningLost) => {
                Seq::ZERO
            }
            _ if claim.epoch == 0 => return last,
            // All of another numbering came since.
            _ if claim.epoch != place.epoch => Seq::ZERO,
            seq if is_made(Mistake::ReplayFromNext) => seq.next(),
            seq if is_made(Mistake::ReplayFromBefore) => Seq::from_wire(seq.to_wire().saturating_sub(1)),
            seq => seq,
        };
        self.newest_within(room, told.min(last), bytes)
    }

    /// How much of each of these rooms is told to one who comes back into all of them.
    fn replay_share(&self, rooms: &[RoomId]) -> usize {
        let count: usize = rooms.iter().map(|room| self.count_members(*room)).sum();
        let mut taken = count * limits::MEMBER_BYTES;
        // They are looked at only where they might not fit.
        if taken > limits::WELCOME_BYTES - limits::REPLAY_BYTES {
            let names = rooms.iter().flat_map(|room| self.members_of(*room)).map(|person| person.name);
            taken = names.map(|name| name.as_str().len() + limits::MEMBER_COST).sum();
        }
        limits::WELCOME_BYTES.saturating_sub(taken).min(limits::REPLAY_BYTES) / rooms.len().max(1)
    }

    /// The place after `seq` from which on the messages of `room` have no more than so many bytes.
    fn newest_within(&self, room: RoomId, seq: Seq, bytes: usize) -> Seq {
        let mut left = bytes;
        let too_much = self.messages_after(room, seq).rev().find(|message| {
            let fits = left >= message.kept.cost();
            left = left.saturating_sub(message.kept.cost());
            !fits
        });
        too_much.map_or(seq, |message| message.kept.seq)
    }

    // Coming and going.

    pub(super) fn is_in(&self, id: SessionId, room: RoomId) -> bool {
        self.sessions.get(id).is_some_and(|session| session.rooms.contains(&room))
    }

    /// The room is one of the session's, for as long as that may be resumed.
    fn hold(&mut self, id: SessionId, room: RoomId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if !session.rooms.contains(&room)
            && let Some(held) = self.rooms.get_mut(&room)
        {
            session.rooms.push(room);
            held.holders += 1;
        }
    }

    /// The room is not one of the session's any more.
    fn release(&mut self, id: SessionId, room: RoomId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.release(room);
        if let Some(held) = self.rooms.get_mut(&room) {
            held.holders -= 1;
        }
    }

    /// The others see a member in a room of his, and are told of it if they did not before.
    fn appear(&mut self, id: SessionId, at: RoomId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some(room) = self.rooms.get_mut(&at) else { return };
        if room.members.contains(&id) {
            return;
        }
        room.members.push(id);
        let Some(person) = self.sessions.person_in(id, at) else { return };
        if !at.is_private() {
            let audience = Audience { members: &room.members, except: Some(id) };
            return tell(audience, Notice::Joined { room: at, room_name: &room.name, member: person });
        }
        // He with whom this is private may not know it yet, or have forgotten it when the member was gone.
        let is_present = |session: &Session| session.presence.is_in_room();
        let other = room.other(id).filter(|&other| self.sessions.get(other).is_some_and(is_present));
        if let Some(to) = other.and_then(|other| self.sessions.person_in(other, at)) {
            if !room.members.contains(&to.session) {
                room.members.push(to.session);
            }
            let is_untold = room.untold.take_if(|untold| *untold == to.session).is_some();
            let (epoch, to_him) = (room.epoch, [to.session]);
            let audience = Audience { members: &to_him, except: None };
            // All of it: nothing would tell him that there was more.
            let last_seq = if is_untold {
                self.newest_within(at, Seq::ZERO, limits::REPLAY_BYTES)
            } else {
                room.last_seq()
            };
            tell(audience, Notice::Opened { room: at, epoch, last_seq, by: person, to });
            if is_untold && let Some(room) = self.rooms.get(&at) {
                let room_name = &room.name;
                let messages = room.messages_after(last_seq);
                messages.for_each(|message| tell(audience, Notice::Said { room_name, message }));
            }
        }
    }

    /// The others do not see a member in a room any more.
    pub(super) fn disappear(
        &mut self,
        id: SessionId,
        at: RoomId,
        reason: LeaveReason,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let (Some(room), Some(session)) = (self.rooms.get_mut(&at), self.sessions.get(id)) else { return };
        if room.remove(id) && !is_made(Mistake::LeaveUntold) {
            let audience = Audience { members: &room.members, except: None };
            tell(
                audience,
                Notice::Left { room: at, room_name: &room.name, member: id, name: &session.name, reason },
            );
        }
    }

    /// A session that is forgotten belongs to no room. What was between it and another ends.
    pub(super) fn release_rooms(&mut self, id: SessionId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let rooms = self.sessions.get(id).map(|session| session.rooms.clone()).unwrap_or_default();
        for room in rooms {
            if room.is_private() {
                self.end_private(room, tell);
            } else {
                self.release(id, room);
                // The log of an empty room stays for those who may resume; with the last of them it goes, unless it is kept.
                self.remove_unused(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn who_comes_back_into_crowded_rooms_is_told_less() {
        let mut hub = Hub::new(8, Rng::from_number(1));
        let claims = [Claim::new("den")];
        let admission = hub.join(Instant::ZERO, &JoinRequest::new("Foo", &claims), &mut |_, _| {}).unwrap();
        let room = admission.rooms().next().unwrap().room;
        let mut share = |members: usize, rooms: usize| {
            hub.rooms.entry(room).and_modify(|room| room.members = [admission.session].repeat(members));
            hub.replay_share(&[room].repeat(rooms))
        };
        assert_eq!(share(1, 1), limits::REPLAY_BYTES);
        assert_eq!(share(1, 16), limits::REPLAY_BYTES / 16);
        let each = "Foo".len() + limits::MEMBER_COST;
        assert_eq!(share(10_000, 16), (limits::WELCOME_BYTES - 160_000 * each) / 16);
        assert_eq!(share(100_000, 16), 0);
    }
}
