//! The rooms that a client is in, or wants to be in, over all of its connections.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::{String, ToString as _},
    vec::Vec,
};

use super::{Client, ClientEvent, JoinError, Member, Outgoing, PlaceId, RoomTopic, State};
use crate::{
    hooks::{Limit, Mistake, is_made},
    hub::{Marks, Refusal},
    ids::{RoomId, Seq, SessionId},
    limits,
    name::Name,
    wire::chinwag1::{self as pb, to_server::Kind},
};

/// What the server said of a place when it was entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    pub(super) room: RoomId,
    pub(super) epoch: u64,
    pub(super) last_seq: Seq,
}

/// What a place was before it was entered.
pub(super) struct Before {
    /// It had numbers.
    pub(super) was_numbered: bool,
    /// It was entered on this connection: both wanted to be alone with each other, or the other is back.
    pub(super) is_known: bool,
    /// It was entered on an earlier connection.
    pub(super) again: bool,
    /// It was the same room.
    pub(super) continues: bool,
    /// Messages that are not told.
    pub(super) missed: u64,
    /// It was another room on this connection: both began it at the same time, or it was begun anew.
    pub(super) was_elsewhere: bool,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: PlaceId,
    /// The room's name, as typed until the server calls it something; or that of the one whom this client is alone with.
    pub(super) name: String,
    pub(super) is_private: bool,
    /// With whom, once that is known.
    pub(super) with: Option<SessionId>,
    /// None before it was entered for the first time.
    pub(super) numbering: Option<Numbering>,
    pub(super) topic: Option<RoomTopic>,
    pub(super) members: BTreeMap<SessionId, Member>,
    /// How many members the server lists, of whom some may be yet to be told.
    pub(super) listed: usize,
    /// Those who were here when the connection was lost, until it is known who still is.
    pub(super) former_members: Option<BTreeSet<String>>,
    /// The user wanted what is between him and somebody, or said something there.
    pub(super) is_answered: bool,
    /// It is to be with whoever has the name now, who may be another one than before.
    pub(super) is_anew: bool,
    /// It was asked for on this connection.
    pub(super) is_claimed: bool,
    /// The server said on this connection that the client is in it.
    pub(super) is_entered: bool,
    /// The user left it; it goes when all that he said there is acknowledged.
    pub(super) is_leaving: bool,
}

impl Place {
    pub(super) fn new(id: PlaceId, name: &str, is_private: bool) -> Self {
        Self {
            id,
            name: name.to_owned(),
            is_private,
            with: None,
            numbering: None,
            topic: None,
            members: BTreeMap::new(),
            listed: 0,
            former_members: None,
            is_answered: false,
            is_anew: false,
            is_claimed: false,
            is_entered: false,
            is_leaving: false,
        }
    }

    pub(super) fn is_room(&self, room: RoomId) -> bool {
        self.is_entered && self.numbering.is_some_and(|numbering| numbering.room == room)
    }

    /// Takes the numbers that it has from now on; what it was before.
    pub(super) fn renumber(&mut self, numbering: Numbering) -> Before {
        let is_known = self.is_room(numbering.room)
            && self.numbering.is_some_and(|former| former.epoch == numbering.epoch);
        let was_elsewhere = self.is_entered && !self.is_room(numbering.room);
        let former = self.numbering.replace(numbering);
        let is_anew = core::mem::take(&mut self.is_anew);
        let same = former.filter(|former| former.epoch == numbering.epoch);
        if let Some(same) = same {
            // What is told again and is known is not told to the user.
            let last_seq = numbering.last_seq.max(same.last_seq);
            self.numbering = Some(Numbering { last_seq, ..numbering });
        }
        Before {
            was_numbered: former.is_some(),
            is_known,
            again: former.is_some() && !is_anew,
            continues: same.is_some(),
            missed: same
                .map_or(0, |same| numbering.last_seq.to_wire().saturating_sub(same.last_seq.to_wire())),
            was_elsewhere,
        }
    }

    /// True when it is called so, however that is written.
    pub(super) fn is_called(&self, name: &Name) -> bool {
        Name::new(&self.name).is_ok_and(|own| own.folded() == name.folded())
    }

    /// True when the one whom this client is alone with is there.
    pub(super) fn has_other(&self) -> bool {
        self.with.is_some_and(|with| self.members.contains_key(&with))
    }

    pub(super) fn claim(&mut self) -> pb::Claim {
        self.is_claimed = true;
        let (name, with) = match self.is_private {
            true => (String::new(), self.name.clone()),
            false => (self.name.clone(), String::new()),
        };
        let numbering = self.numbering.filter(|_| !self.is_anew);
        pb::Claim {
            key: self.id.number(),
            name,
            with,
            epoch: numbering.map_or(0, |numbering| numbering.epoch),
            last_seq: numbering.map_or(0, |numbering| numbering.last_seq.to_wire()),
            room: numbering.map_or(0, |numbering| numbering.room.to_wire()),
        }
    }

    /// Notes who is here; false when that is no list of members any more: a server cannot make a client's memory grow.
    pub(super) fn note_member(&mut self, member: pb::Member) -> bool {
        let (session, member) = read_member(member);
        let has_place = self.members.len() < limits::MEMBERS || self.members.contains_key(&session);
        if member.name.len() > limits::NAME_BYTES || !has_place {
            return false;
        }
        self.members.insert(session, member);
        true
    }
}

/// A member as the wire has him.
pub(super) fn read_member(member: pb::Member) -> (SessionId, Member) {
    let marks = Marks { muted: member.muted, deafened: member.deafened };
    let voice = Some(member.voice).filter(|room| *room != 0).map(RoomId::from_wire);
    (SessionId::from_wire(member.session), Member { name: member.name, marks, voice })
}

impl Client {
    // Getters.

    /// The rooms that the user is in or wants to be in, in the order in which he came; without those that he left.
    pub fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.places.iter().filter(|place| !place.is_leaving).map(|place| place.id)
    }

    /// Everybody in a room, this client too; nobody before it was entered.
    pub fn members(&self, place: PlaceId) -> impl Iterator<Item = (SessionId, &Member)> {
        let members = self.place(place).map(|place| &place.members);
        members.into_iter().flatten().map(|(&session, member)| (session, member))
    }

    /// Somebody in a room.
    pub fn member(&self, place: PlaceId, session: SessionId) -> Option<&Member> {
        self.place(place)?.members.get(&session)
    }

    /// The name of a room as the server has it, or of the one whom this client is alone with.
    pub fn place_name(&self, place: PlaceId) -> Option<&str> {
        self.place(place).map(|place| place.name.as_str())
    }

    /// True for what is between this client and somebody else alone.
    pub fn is_private(&self, place: PlaceId) -> bool {
        self.place(place).is_some_and(|place| place.is_private)
    }

    /// What a room is about.
    pub fn topic(&self, place: PlaceId) -> Option<&RoomTopic> {
        self.place(place)?.topic.as_ref()
    }

    /// The name of a room's numbering, and the last place there that was told.
    pub fn numbering(&self, place: PlaceId) -> Option<(u64, Seq)> {
        let numbering = self.place(place)?.numbering?;
        Some((numbering.epoch, numbering.last_seq))
    }

    /// True when the server said on this connection that the client is in it.
    pub fn is_entered(&self, place: PlaceId) -> bool {
        self.place(place).is_some_and(|place| place.is_entered)
    }

    /// Where the user talks and listens.
    pub fn voice_place(&self) -> Option<PlaceId> {
        self.voice
    }

    /// The server's number of the room in which the user is heard, once the server has said that it is the one where he wants to be.
    pub fn heard_in(&self) -> Option<RoomId> {
        let (own, place) = (self.session()?, self.voice?);
        let wanted = self.room_of(place).filter(|_| self.is_in())?;
        let told = self.member(place, own).and_then(|member| member.voice);
        // What was told before it took what it was asked for last says nothing.
        let is_told = told == Some(wanted) && self.voice_asked.is_none();
        Some(wanted).filter(|_| is_told || is_made(Mistake::VoiceUnconfirmed))
    }

    /// The place that has this number at the server, on this connection.
    pub fn place_of(&self, room: RoomId) -> Option<PlaceId> {
        self.places.iter().find(|place| place.is_room(room)).map(|place| place.id)
    }

    // What the user wants.

    /// Goes into one more room; [`ClientEvent::Entered`] or [`ClientEvent::NotEntered`] follows when there is a connection. Its place if
    /// the user is in it already.
    ///
    /// # Errors
    /// It is no name, or the user is in as many rooms as one may be.
    pub fn join(&mut self, name: &str) -> Result<PlaceId, JoinError> {
        let name = Name::new(name).map_err(JoinError::Name)?;
        self.find_or_add(&name, false)
    }

    /// Is alone with somebody; [`ClientEvent::Entered`] or [`ClientEvent::NotEntered`] follows when there is a connection. The place where
    /// the user is alone with him already; if he went away meanwhile, it is begun anew with whoever has that name now.
    ///
    /// # Errors
    /// It is no name, or there are too many such places.
    pub fn whisper(&mut self, name: &str) -> Result<PlaceId, JoinError> {
        let name = Name::new(name).map_err(JoinError::Name)?;
        let id = self.find_or_add(&name, true)?;
        if let Some(place) = self.place_mut(id)
            && place.is_entered
            && !place.has_other()
        {
            (place.is_anew, place.is_entered, place.is_claimed, place.is_answered) =
                (true, false, false, true);
            self.voice_told = self.voice_told.filter(|voice| *voice != Some(id));
            // What waits there was not meant for whoever has that name now.
            self.give_back(id, &Refusal::NotHere.to_string());
        }
        self.send_claims();
        Ok(id)
    }

    fn find_or_add(&mut self, name: &Name, is_private: bool) -> Result<PlaceId, JoinError> {
        // One that was left is another: its user was not told what was said there since.
        let found =
            |place: &&Place| place.is_private == is_private && !place.is_leaving && place.is_called(name);
        if let Some(place) = self.places.iter().find(found) {
            return Ok(place.id);
        }
        if is_private && !self.has_private_place() {
            return Err(JoinError::TooManyPrivate);
        }
        if !is_private && self.count_places(false) >= Limit::RoomsEach.value() {
            return Err(JoinError::TooManyRooms);
        }
        let id = self.add_place(name.as_str(), is_private);
        self.answered(id);
        self.send_claims();
        Ok(id)
    }

    pub(super) fn add_place(&mut self, name: &str, is_private: bool) -> PlaceId {
        let id = self.next_place;
        self.next_place = id.next();
        self.places.push(Place::new(id, name, is_private));
        id
    }

    /// Leaves a room, when all that was said there is acknowledged. What is between two stays as long as both are there.
    pub fn part(&mut self, place: PlaceId) {
        let Some(place) = self.place_mut(place).filter(|place| !place.is_private) else { return };
        place.is_leaving = true;
        let id = place.id;
        if is_made(Mistake::PartForgets) {
            self.outgoing.retain(|message| message.place != id);
        }
        self.voice = self.voice.filter(|voice| *voice != id);
        self.tell_voice();
        self.finish_parts();
    }

    /// Talks and listens there from now on, and nowhere else; nowhere at all without one.
    pub fn set_voice_place(&mut self, place: Option<PlaceId>) {
        self.voice = place.filter(|place| self.place(*place).is_some_and(|place| !place.is_leaving));
        if let Some(place) = self.voice {
            self.answered(place);
        }
        self.tell_voice();
    }

    /// Says what a room is about; [`ClientEvent::Topic`] or [`ClientEvent::NotDone`] follows, where that is not so already. False without
    /// a connection.
    pub fn set_topic(&mut self, place: PlaceId, text: &str) -> bool {
        let Some(room) = self.room_of(place).filter(|_| self.is_in()) else { return false };
        self.send(Kind::Topic(pb::SetTopic { room: room.to_wire(), text: text.to_owned() }));
        true
    }

    /// Takes another name, now or with the next connection. [`ClientEvent::Changed`] or [`ClientEvent::NotDone`] follows.
    ///
    /// # Errors
    /// It is no name.
    pub fn set_name(&mut self, name: &str) -> Result<(), JoinError> {
        let name = Name::new(name).map_err(JoinError::Name)?.as_str().to_owned();
        self.wanted_name = Some(name);
        // The same one may be asked for again, as when somebody had it.
        self.name_told.clear();
        self.tell_name();
        Ok(())
    }

    /// Whether the user can be heard and hears, for others to know.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
        self.tell_marks();
    }

    pub(super) fn wire_marks(&self) -> pb::Marks {
        pb::Marks { muted: self.marks.muted, deafened: self.marks.deafened }
    }

    /// Asks which rooms there are; [`ClientEvent::Rooms`] follows. False without a connection.
    pub fn ask_rooms(&mut self) -> bool {
        let is_in = self.is_in();
        if is_in {
            self.listed_rooms.clear();
            self.send(Kind::ListRooms(pb::ListRooms {}));
        }
        is_in
    }

    // Helpers.

    pub(super) fn count_places(&self, is_private: bool) -> usize {
        self.places.iter().filter(|place| place.is_private == is_private).count()
    }

    /// True if one more can be alone with the user: if there is a place, or one whose other is gone, or if the server will make place by ending
    /// what the user never answered.
    fn has_private_place(&mut self) -> bool {
        let (count, most) = (self.count_places(true), Limit::PrivateEach.value());
        let is_unanswered = |place: &Place| place.is_private && place.is_entered && !place.is_answered;
        count < most || count == most && (self.give_up_private() || self.places.iter().any(is_unanswered))
    }

    /// Gives up one of the places whose other is gone: the oldest that the user never answered, or else wanted. False if there is none.
    pub(super) fn give_up_private(&mut self) -> bool {
        let left =
            self.places.iter().filter(|place| place.is_private && place.is_entered && !place.has_other());
        let Some(left) = left.min_by_key(|place| place.is_answered).map(|place| place.id) else {
            return false;
        };
        self.not_entered(left, Refusal::NotHere.to_string());
        true
    }

    /// Of more private places than the server takes in one Hello the last that was asked for is given up.
    pub(super) fn give_up_surplus(&mut self) {
        while self.count_places(true) > Limit::PrivateEach.value() {
            let asked = self.places.iter().rfind(|place| place.is_private && place.numbering.is_none());
            let last = asked.or(self.places.iter().rfind(|place| place.is_private));
            let Some(last) = last.map(|place| place.id) else { return };
            self.not_entered(last, Refusal::TooManyPrivate.to_string());
        }
    }

    /// The user wants to be alone with somebody there.
    pub(super) fn answered(&mut self, id: PlaceId) {
        if let Some(place) = self.place_mut(id) {
            place.is_answered = true;
        }
    }

    /// Tells the server whether the user can be heard and hears, if that is otherwise than it knows.
    pub(super) fn tell_marks(&mut self) {
        if self.is_in() && self.marks_told != self.marks {
            self.marks_told = self.marks;
            self.send(Kind::Marks(self.wire_marks()));
        }
    }

    /// Asks the server for the name that the user wants, if it was not asked for it last.
    pub(super) fn tell_name(&mut self) {
        let wanted = self.wanted_name.clone().filter(|wanted| *wanted != self.name_told && self.is_in());
        if let Some(name) = wanted {
            self.name_told.clone_from(&name);
            self.send(Kind::Name(pb::SetName { name }));
        }
    }

    pub(super) fn place(&self, id: PlaceId) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id)
    }

    pub(super) fn place_mut(&mut self, id: PlaceId) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.id == id)
    }

    /// The place that has this number at the server, on this connection.
    pub(super) fn room_mut(&mut self, room: RoomId) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.is_room(room))
    }

    /// Its number at the server, on this connection.
    pub(super) fn room_of(&self, place: PlaceId) -> Option<RoomId> {
        let place = self.place(place).filter(|place| place.is_entered)?;
        place.numbering.map(|numbering| numbering.room)
    }

    /// Asks for the places that were not asked for on this connection.
    pub(super) fn send_claims(&mut self) {
        if !self.is_in() {
            return;
        }
        let claims = self.claims();
        claims.into_iter().for_each(|claim| self.send(Kind::Join(claim)));
    }

    /// The places that were not asked for on this connection. One of whose name another was left waits until that one is gone, or the server
    /// would take both for one.
    pub(super) fn claims(&mut self) -> Vec<pb::Claim> {
        let left = self.places.iter().filter(|place| place.is_leaving);
        let left: Vec<_> = left.filter_map(|place| Some((place.id, Name::new(&place.name).ok()?))).collect();
        // Of several that were left, the later ones wait, too.
        let must_wait = |place: &Place| {
            !place.is_private && left.iter().any(|(id, name)| *id < place.id && place.is_called(name))
        };
        let places = self.places.iter_mut().filter(|place| !place.is_claimed && !must_wait(place));
        places.map(Place::claim).collect()
    }

    /// Tells the server where the user talks and listens, if that is another place than it knows.
    pub(super) fn tell_voice(&mut self) {
        if !self.is_in() || self.voice_told == Some(self.voice) {
            return;
        }
        let room = match self.voice {
            // It is told when it is entered.
            Some(place) => match self.room_of(place) {
                Some(room) => room.to_wire(),
                None => return,
            },
            None => 0,
        };
        self.voice_told = Some(self.voice);
        self.send(Kind::VoiceRoom(pb::VoiceRoom { room }));
        let token = self.rng.next_u64();
        self.voice_asked = Some(token);
        self.send(Kind::Ping(pb::Ping { token }));
    }

    /// Leaves the rooms that the user left, where nothing waits any more to be acknowledged. One that is asked for and not answered yet counts
    /// for the server until it can be left.
    pub(super) fn finish_parts(&mut self) {
        let outgoing = &self.outgoing;
        let is_said = |id: PlaceId| outgoing.iter().all(|message| message.place != id);
        let is_done =
            |place: &Place| place.is_leaving && (place.is_entered || !place.is_claimed) && is_said(place.id);
        let done: Vec<PlaceId> =
            self.places.iter().filter(|place| is_done(place)).map(|place| place.id).collect();
        for id in done {
            if matches!(self.state, State::In(_))
                && let Some(room) = self.room_of(id)
            {
                self.send(Kind::Part(pb::Part { room: room.to_wire() }));
            }
            self.places.retain(|place| place.id != id);
        }
        self.send_claims();
    }

    /// What waits to be said in a place is not said.
    fn give_back(&mut self, place: PlaceId, why: &str) {
        let outgoing = core::mem::take(&mut self.outgoing);
        let (lost, kept): (VecDeque<_>, _) = outgoing.into_iter().partition(|message| message.place == place);
        self.outgoing = kept;
        for Outgoing { id, place, text } in lost {
            self.event(ClientEvent::NotSaid { place, id, text, why: why.to_owned() });
        }
    }

    /// The user is not in a place that he asked for; what he said there is not said.
    pub(super) fn not_entered(&mut self, id: PlaceId, why: String) {
        let Some(at) = self.places.iter().position(|place| place.id == id) else { return };
        let place = self.places.remove(at);
        // The voice stays where it is, if it is anywhere.
        self.voice_told = self.voice_told.filter(|voice| *voice != Some(id));
        if self.voice == Some(id) {
            let told = self.voice_told.flatten().and_then(|voice| self.place(voice));
            self.voice = told.filter(|place| !place.is_leaving).map(|place| place.id);
        }
        self.give_back(id, &why);
        if !place.is_leaving {
            self.event(ClientEvent::NotEntered {
                place: id,
                name: place.name,
                is_private: place.is_private,
                why,
            });
        }
        self.tell_voice();
        self.send_outgoing(Limit::UnackedMessages.value());
        // Another of its name may have waited for its end.
        self.finish_parts();
    }
}
