//! The hub: who is in which room, what was said there in which order, and who is told of it.
//!
//! Knows sessions, names, rooms and rights. Knows no bytes, no connections and no voice codec: dialects turn bytes into
//! calls, and its notices into bytes. Every change is told through a `tell` function, in order.

mod audit;
mod authors;
mod keeping;
mod room;
mod session;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

use self::{
    authors::{Authors, Repeat},
    keeping::Keeping,
    room::Room,
    session::{Presence, Session, Sessions},
};
pub use self::{
    room::{LeaveReason, Message},
    session::ResumeToken,
};
use crate::{
    history::{AuthorKey, KeepError, KeptMessage, UnixMillis},
    hooks::{self, Limit, Mistake, is_made},
    ids::{MessageId, RoomId, Seq, SessionId},
    limits,
    name::{FoldedName, Name, NameError},
    rng::Rng,
    text::{self, MessageError},
    time::Instant,
};

/// Something that sessions are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice<'a> {
    /// Somebody came into their room.
    Joined {
        /// Where.
        room: RoomId,
        /// Who.
        member: SessionId,
        /// As whom.
        name: &'a Name,
    },
    /// Somebody left their room.
    Left {
        /// Where.
        room: RoomId,
        /// Who.
        member: SessionId,
        /// As whom.
        name: &'a Name,
        /// Why.
        reason: LeaveReason,
    },
    /// A message in their room. Its sender is told [`Notice::Accepted`] instead.
    Said(&'a Message),
    /// Their message got this place. A repeat of an accepted message is told its first place again.
    Accepted {
        /// Where.
        room: RoomId,
        /// Its place there.
        seq: Seq,
        /// Which message.
        id: MessageId,
        /// When, if that is remembered.
        at: Option<UnixMillis>,
    },
    /// Their message will not be delivered.
    Rejected {
        /// Which message.
        id: MessageId,
        /// Why.
        why: Rejection,
    },
}

/// Why a message is not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// It is no message.
    Message(MessageError),
    /// Its number is older than what the server remembers of this sender, or it was refused in an earlier start of the server.
    Stale,
    /// The sender is not in that room.
    NotInRoom,
    /// It could not be kept.
    NotKept(KeepError),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Stale => write!(
                f,
                "it came too late, a later one of yours is there already; say it again if it still matters"
            ),
            Self::NotInRoom => write!(f, "you are not in that room"),
            Self::NotKept(error) => error.fmt(f),
        }
    }
}

/// Who is told a [`Notice`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audience<'a> {
    members: &'a [SessionId],
    except: Option<SessionId>,
}

impl<'a> Audience<'a> {
    /// The same and whoever did what they are told of, if he is in the room.
    pub fn with_author(self) -> Self {
        Self { except: None, ..self }
    }

    /// The sessions.
    pub fn iter(self) -> impl Iterator<Item = SessionId> + 'a {
        self.members.iter().copied().filter(move |member| Some(*member) != self.except)
    }
}

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest<'a> {
    /// The name as it was typed.
    pub name: &'a str,
    /// The room as it was typed; empty for the default room.
    pub room: &'a str,
    /// By what the client is known again; `None` for one that says nothing twice.
    pub author: Option<AuthorKey>,
    /// A former session to go on with.
    pub resume: Option<ResumeRequest<'a>>,
}

/// A former session, and how far it got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResumeRequest<'a> {
    /// Which.
    pub session: SessionId,
    /// Its secret.
    pub token: &'a [u8],
    /// The numbering that `last_seq` belongs to.
    pub epoch: u64,
    /// The last message it saw.
    pub last_seq: Seq,
    /// Which of its connections this is; 0 if it does not count them.
    pub attempt: u64,
}

/// Somebody was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// The session.
    pub session: SessionId,
    /// The secret to resume it by.
    pub token: ResumeToken,
    /// Under which key what it says is remembered.
    pub author: AuthorKey,
    /// The name, normalised.
    pub name: Name,
    /// The room.
    pub room: RoomId,
    /// The room's name.
    pub room_name: Name,
    /// The room's numbering.
    pub epoch: u64,
    /// True when the former session goes on.
    pub resumed: bool,
    /// True when the others were told that he joined.
    pub entered: bool,
    /// Everything after this in the room is yet to be told ([`Hub::messages_after`]).
    pub told_up_to: Seq,
}

/// Why somebody is not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No name.
    Name(NameError),
    /// Somebody has that name; this one is free.
    NameTaken {
        /// A free name.
        suggestion: Name,
    },
    /// No name for a room.
    RoomName(NameError),
    /// No further session is possible.
    Full,
    /// No further room is possible.
    RoomsFull,
    /// The session went on in a later connection, which overtook this one.
    Overtaken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NameTaken { suggestion } => {
                write!(f, "that name is in use here; {suggestion} would be free")
            }
            Self::RoomName(error) => write!(f, "that room cannot be: {error}"),
            Self::Full => write!(f, "the server is full; try again later"),
            Self::RoomsFull => write!(f, "the server has no place for another room; join one that exists"),
            Self::Overtaken => write!(f, "the session goes on in a later connection"),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Hub {
    rng: Rng,
    max_sessions: usize,
    sessions: Sessions,
    /// The sessions that are in a room, by name.
    names: BTreeMap<FoldedName, SessionId>,
    rooms: BTreeMap<RoomId, Room>,
    next_room: u32,
    /// When a session without a connection changes its [`Presence`].
    deadlines: BTreeSet<(Instant, SessionId)>,
    gone: usize,
    authors: Authors,
    /// Bytes of the texts that all rooms remember.
    log_bytes: usize,
    /// What waits to be kept; nothing does when the history is in memory alone.
    keeping: Option<Keeping>,
}

impl Hub {
    /// A hub with nobody in it that lets in up to `max_sessions`.
    pub fn new(max_sessions: usize, rng: Rng) -> Self {
        Self {
            rng,
            max_sessions: max_sessions.min(limits::SESSIONS),
            sessions: Sessions::default(),
            names: BTreeMap::new(),
            rooms: BTreeMap::new(),
            next_room: 1,
            deadlines: BTreeSet::new(),
            gone: 0,
            authors: Authors::default(),
            log_bytes: 0,
            keeping: None,
        }
    }

    // Getters.

    /// Sessions that are in a room, those with a lost connection too.
    pub fn members(&self) -> usize {
        self.names.len()
    }

    /// Rooms that exist.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Sessions that nobody sees any more but that may be resumed.
    pub fn gone(&self) -> usize {
        self.gone
    }

    /// Everybody in `room`.
    pub fn members_of(&self, room: RoomId) -> impl Iterator<Item = (SessionId, &Name)> + Clone {
        let members = self.rooms.get(&room).map_or(&[][..], |room| &room.members);
        members.iter().filter_map(|&id| Some((id, &self.sessions.get(id)?.name)))
    }

    /// Every room by its name.
    pub fn room_names(&self) -> impl Iterator<Item = (RoomId, &Name)> {
        self.rooms.iter().map(|(&id, room)| (id, &room.name))
    }

    /// Who has that name, however it is written.
    pub fn session_named(&self, name: &str) -> Option<SessionId> {
        self.names.get(&Name::new(name).ok()?.folded()).copied()
    }

    /// What is remembered of `room` after `seq`, oldest first.
    pub fn messages_after(&self, room: RoomId, seq: Seq) -> impl DoubleEndedIterator<Item = &Message> {
        self.rooms.get(&room).into_iter().flat_map(move |room| room.messages_after(seq))
    }

    /// The place of the first message of `room` that is remembered, or of the next one.
    pub fn first_remembered(&self, room: RoomId) -> Option<Seq> {
        self.rooms.get(&room).map(Room::first_seq)
    }

    /// Every room: its number, the name of its numbering, and the last number given out there.
    pub fn numberings(&self) -> impl Iterator<Item = (RoomId, u64, Seq)> {
        self.rooms.iter().map(|(&id, room)| (id, room.epoch, room.last_seq()))
    }

    /// The room in which `session` may be heard.
    pub fn voice_room(&self, session: SessionId) -> Option<RoomId> {
        let session = self.sessions.get(session)?;
        (session.presence == Presence::Here).then_some(session.room)
    }

    /// The name of a session that is in a room.
    pub fn name_of(&self, session: SessionId) -> Option<&Name> {
        Some(&self.sessions.get(session)?.name)
    }

    /// When [`Hub::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    // Requests.

    /// Lets somebody in, or takes a former session up again. The others are told of a newcomer, not of one who was
    /// back in time.
    pub fn join(
        &mut self,
        now: Instant,
        request: &JoinRequest<'_>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<Admission, Refusal> {
        if let Some(resume) = &request.resume
            && let Some(admission) = self.resume(now, request, resume, tell)
        {
            return admission;
        }
        let name = Name::new(request.name).map_err(Refusal::Name)?;
        let room = if request.room.is_empty() { limits::DEFAULT_ROOM } else { request.room };
        // Judged before anybody loses a name to this newcomer.
        let room = Name::new(room).map_err(Refusal::RoomName)?;
        self.free_name(now, &name, tell)?;
        if self.names.len() >= self.max_sessions {
            return Err(Refusal::Full);
        }
        let room = self.find_or_make_room(room)?;
        let token = self.rng.bytes();
        // The server's own is nobody's.
        let author = request.author.filter(|&author| author != AuthorKey::default());
        let author = author.unwrap_or_else(|| AuthorKey(self.rng.bytes()));
        self.authors.enter(author);
        let session = self.sessions.insert(Session::new(name.clone(), room, token, author));
        self.enter(session, tell);
        let last = self.rooms.get(&room).map(Room::last_seq).unwrap_or_default();
        let told_up_to = match &request.resume {
            None => last,
            // A session that is forgotten does not make the room another one.
            Some(former) if self.has_numbering(room, former.epoch) => former.last_seq.min(last),
            // All of another numbering came since.
            Some(_) => Seq::ZERO,
        };
        self.admission(session, told_up_to, (false, true)).ok_or(Refusal::Full)
    }

    /// Says `text` in `room`, at the time `at`. Exactly one notice goes to the sender: accepted, or rejected; at once, or when it was
    /// kept, or could not be.
    pub fn say(
        &mut self,
        at: UnixMillis,
        sender: SessionId,
        room: RoomId,
        id: MessageId,
        text: &str,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let to_sender = [sender];
        let to_sender = Audience { members: &to_sender, except: None };
        let Some(session) = self.sessions.get(sender) else { return };
        let author = session.author;
        let why = match self.authors.repeat(author, id) {
            Repeat::Accepted(room, seq) => {
                let place = self.rooms.get(&room);
                if place.is_some_and(|place| seq > place.last_seq()) {
                    // It waits to be kept.
                    return;
                }
                let before = Seq::from_wire(seq.to_wire().saturating_sub(1));
                let told = place.and_then(|place| place.messages_after(before).next());
                let at = told.filter(|told| told.kept.seq == seq).map(|told| told.kept.at);
                return tell(to_sender, Notice::Accepted { room, seq, id, at });
            }
            Repeat::Refused(why) => Some(Rejection::NotKept(why)),
            Repeat::Stale => Some(Rejection::Stale),
            Repeat::New if session.room != room => Some(Rejection::NotInRoom),
            Repeat::New => text::check_message(text).err().map(Rejection::Message),
        };
        if let Some(why) = why {
            return tell(to_sender, Notice::Rejected { id, why });
        }
        let Some(place) = self.rooms.get(&room) else { return };
        let (seq, name) = (place.next_seq(), session.name.clone());
        self.authors.accept(author, id, room, seq);
        self.take(sender, KeptMessage { room, seq, at, author, id, name, text: text.into() }, tell);
    }

    /// The server itself says something, in every room.
    ///
    /// # Errors
    ///
    /// It is no message.
    pub fn announce(
        &mut self,
        at: UnixMillis,
        text: &str,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<(), MessageError> {
        text::check_message(text)?;
        let rooms: Vec<(RoomId, Seq)> = self.rooms.iter().map(|(&id, room)| (id, room.next_seq())).collect();
        for (room, seq) in rooms {
            let (author, id, name) = (AuthorKey::default(), MessageId::default(), Name::of_the_server());
            let said = KeptMessage { room, seq, at, author, id, name, text: text.into() };
            self.take(SessionId::NOBODY, said, tell);
        }
        Ok(())
    }

    /// The member leaves for good.
    pub fn quit(&mut self, session: SessionId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        self.end(session, LeaveReason::Quit, tell);
    }

    /// The member is gone for good, for whatever reason: nobody will resume the session.
    pub fn end(
        &mut self,
        session: SessionId,
        reason: LeaveReason,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        self.leave(session, reason, tell);
        self.forget(session);
    }

    /// The member's connection is lost. It may resume; the others are told when it does not do so in time, or at
    /// once when it was `silent` for long enough already.
    pub fn lose(
        &mut self,
        now: Instant,
        session: SessionId,
        silent: bool,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        if silent {
            self.give_up(now, session, tell);
        } else if !is_made(Mistake::LostIsForever) {
            self.set_presence(session, Presence::Lost { deadline: now + limits::RESUME_GRACE });
        }
    }

    /// Announces and forgets those whose time is up.
    pub fn handle_timeout(&mut self, now: Instant, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            match self.sessions.get(id).map(|session| session.presence) {
                Some(Presence::Lost { .. }) => self.give_up(now, id, tell),
                Some(Presence::Gone { .. }) => self.forget(id),
                Some(Presence::Here) | None => {
                    self.deadlines.remove(&(deadline, id));
                }
            }
        }
    }

    // Helpers.

    /// `None`: there is nothing to resume, a new session is needed.
    fn resume(
        &mut self,
        now: Instant,
        request: &JoinRequest<'_>,
        resume: &ResumeRequest<'_>,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Option<Result<Admission, Refusal>> {
        let session = self.sessions.get(resume.session).filter(|s| s.knows_token(resume.token))?;
        let (room, presence) = (session.room, session.presence);
        if !self.has_numbering(room, resume.epoch) {
            return None;
        }
        if resume.attempt != 0 && resume.attempt < session.attempt {
            return Some(Err(Refusal::Overtaken));
        }
        match presence {
            Presence::Here | Presence::Lost { .. } => {}
            Presence::Gone { .. } => {
                // Others may have its name by now; the client may have brought another one.
                let name = match Name::new(request.name).map_err(Refusal::Name) {
                    Ok(name) => name,
                    Err(refusal) => return Some(Err(refusal)),
                };
                if let Err(refusal) = self.free_name(now, &name, tell) {
                    return Some(Err(refusal));
                }
                if self.names.len() >= self.max_sessions {
                    return Some(Err(Refusal::Full));
                }
                self.sessions.get_mut(resume.session)?.name = name;
            }
        }
        self.sessions.get_mut(resume.session)?.attempt = resume.attempt;
        self.set_presence(resume.session, Presence::Here);
        let entered = matches!(presence, Presence::Gone { .. });
        if entered {
            self.enter(resume.session, tell);
        }
        let last = self.rooms.get(&room)?.last_seq();
        let told = match resume.last_seq {
            seq if is_made(Mistake::ReplayFromNext) => seq.next(),
            seq if is_made(Mistake::ReplayFromBefore) => Seq::from_wire(seq.to_wire().saturating_sub(1)),
            seq => seq,
        };
        self.admission(resume.session, told.min(last), (true, entered)).map(Ok)
    }

    fn has_numbering(&self, room: RoomId, epoch: u64) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.epoch == epoch)
    }

    /// Makes sure that nobody who is here has `name`. Whoever lost their connection loses the name to a newcomer:
    /// most often that is the same person, with the program started again.
    fn free_name(
        &mut self,
        now: Instant,
        name: &Name,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<(), Refusal> {
        let Some(&holder) = self.names.get(&name.folded()) else { return Ok(()) };
        match self.sessions.get(holder).map(|session| session.presence) {
            Some(Presence::Lost { .. }) => {
                self.give_up(now, holder, tell);
                Ok(())
            }
            Some(Presence::Here) if is_made(Mistake::NameTwice) => Ok(()),
            Some(Presence::Here | Presence::Gone { .. }) | None => {
                Err(Refusal::NameTaken { suggestion: self.suggestion(name) })
            }
        }
    }

    /// A free name much like `name`. Small numbers are tried first; then chance, so that whoever takes all small
    /// ones does not make every refusal expensive.
    fn suggestion(&mut self, name: &Name) -> Name {
        let small = (2..10).map(|number| name.numbered(number));
        let is_free =
            |names: &BTreeMap<FoldedName, SessionId>, name: &Name| !names.contains_key(&name.folded());
        if let Some(free) = small.into_iter().find(|candidate| is_free(&self.names, candidate)) {
            return free;
        }
        loop {
            let number = u32::try_from(self.rng.below(1_000_000)).unwrap_or_default();
            let candidate = name.numbered(number);
            // At most one in a hundred is taken.
            if is_free(&self.names, &candidate) {
                return candidate;
            }
        }
    }

    fn find_or_make_room(&mut self, name: Name) -> Result<RoomId, Refusal> {
        let folded = name.folded();
        if let Some((&id, _)) = self.rooms.iter().find(|(_, room)| room.name.folded() == folded) {
            return Ok(id);
        }
        let has_default = is_default(&name) || self.rooms.values().any(|room| is_default(&room.name));
        // One place is kept for the default room, so that nobody can shut out those who ask for none.
        let places = Limit::Rooms.value() - usize::from(!has_default);
        if self.rooms.len() >= places {
            // A room in which nobody is only waits for those who might resume, unless something of it is kept.
            let empty = self.rooms.iter().find(|(_, room)| is_unused(room));
            let (&empty, _) = empty.ok_or(Refusal::RoomsFull)?;
            self.remove_room(empty);
        }
        let id = loop {
            let id = RoomId::new(self.next_room);
            self.next_room = self.next_room % limits::LAST_ROOM + 1;
            if !self.rooms.contains_key(&id) {
                break id;
            }
        };
        let epoch = if is_made(Mistake::NumberingForgotten) { 1 } else { self.rng.next_u64() };
        self.rooms.insert(id, Room::new(name, epoch));
        Ok(id)
    }

    fn enter(&mut self, id: SessionId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some(session) = self.sessions.get(id) else { return };
        let Some(room) = self.rooms.get_mut(&session.room) else { return };
        self.names.insert(session.name.folded(), id);
        room.members.push(id);
        let audience = Audience { members: &room.members, except: Some(id) };
        tell(audience, Notice::Joined { room: session.room, member: id, name: &session.name });
    }

    /// Takes a session out of its room and tells the others.
    fn leave(&mut self, id: SessionId, reason: LeaveReason, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some(session) = self.sessions.get(id) else { return };
        if matches!(session.presence, Presence::Gone { .. }) {
            return;
        }
        if !is_made(Mistake::NameKept) {
            self.names.remove(&session.name.folded());
        }
        let Some(room) = self.rooms.get_mut(&session.room) else { return };
        room.remove(id);
        if !is_made(Mistake::LeaveUntold) {
            let audience = Audience { members: &room.members, except: None };
            tell(audience, Notice::Left { room: session.room, member: id, name: &session.name, reason });
        }
    }

    /// Announces a lost session as gone; it may still be resumed for a while.
    fn give_up(&mut self, now: Instant, id: SessionId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        self.leave(id, LeaveReason::Lost, tell);
        self.set_presence(id, Presence::Gone { deadline: now + hooks::resume_hold() });
        if self.gone > Limit::HeldSessions.value() && !is_made(Mistake::HeldGrows) {
            let oldest = self.deadlines.iter().map(|&(_, id)| id).find(|&id| {
                self.sessions.get(id).is_some_and(|s| matches!(s.presence, Presence::Gone { .. }))
            });
            if let Some(oldest) = oldest {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, id: SessionId) {
        self.set_presence(id, Presence::Here);
        let Some(session) = self.sessions.remove(id) else { return };
        self.authors.leave(session.author);
        // The log of an empty room stays for those who may resume; with the last of them it goes, unless it is kept.
        self.remove_unused(session.room);
    }

    fn set_presence(&mut self, id: SessionId, presence: Presence) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let old = core::mem::replace(&mut session.presence, presence);
        if let Some(deadline) = old.deadline() {
            self.deadlines.remove(&(deadline, id));
        }
        if let Some(deadline) = presence.deadline() {
            self.deadlines.insert((deadline, id));
        }
        self.gone -= usize::from(matches!(old, Presence::Gone { .. }));
        self.gone += usize::from(matches!(presence, Presence::Gone { .. }));
    }

    fn admission(
        &self,
        id: SessionId,
        told_up_to: Seq,
        (resumed, entered): (bool, bool),
    ) -> Option<Admission> {
        let session = self.sessions.get(id)?;
        let room = self.rooms.get(&session.room)?;
        Some(Admission {
            session: id,
            token: session.token,
            author: session.author,
            name: session.name.clone(),
            room: session.room,
            room_name: room.name.clone(),
            epoch: room.epoch,
            resumed,
            entered,
            told_up_to,
        })
    }
}

/// True for a room that nobody would find again: empty, without anything that is kept, and not the default one.
fn is_unused(room: &Room) -> bool {
    room.members.is_empty() && (!room.is_kept || room.has_nothing()) && !is_default(&room.name)
}

/// True for the default room's name, however it was typed by whoever came first.
fn is_default(name: &Name) -> bool {
    name.folded().as_str() == limits::DEFAULT_ROOM
}
