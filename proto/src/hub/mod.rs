//! The hub: who is in which room, what was said there in which order, and who is told of it.
//!
//! Knows sessions, names, rooms and rights. Knows no bytes, no connections and no voice codec: dialects turn bytes into
//! calls, and its notices into bytes. Every change is told through a `tell` function, in order.

mod audit;
mod authors;
mod keeping;
mod people;
mod places;
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
    room::{LogBytes, Room},
    session::{Presence, Session, Sessions},
};
pub use self::{
    people::{Marks, Person},
    places::{Claim, Entrance},
    room::{LeaveReason, Message},
    session::ResumeToken,
};
use crate::{
    history::{AuthorKey, KeepError, KeptMessage, Topic, UnixMillis},
    hooks::{self, Limit, Mistake, is_made},
    ids::{MessageId, RoomId, Seq, SessionId},
    limits,
    name::{FoldedName, Name, NameError},
    rng::Rng,
    text::{self, MessageError, TopicError},
    time::Instant,
};

/// Something that sessions are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice<'a> {
    /// Somebody came into a room of theirs.
    Joined {
        /// Where.
        room: RoomId,
        /// What that is called.
        room_name: &'a Name,
        /// Who.
        member: Person<'a>,
    },
    /// Somebody began what is between him and them alone, or is back there.
    Opened {
        /// Where.
        room: RoomId,
        /// The name of its numbering.
        epoch: u64,
        /// The last message there that they were told.
        last_seq: Seq,
        /// Who.
        by: Person<'a>,
        /// They themselves.
        to: Person<'a>,
    },
    /// Somebody with whom they share a room, or they themselves, is like this now.
    Changed {
        /// Who, as he is now.
        member: Person<'a>,
        /// How he was called before, if that was another name.
        former: Option<&'a Name>,
        /// Where he talks and listens in truth.
        voice: Option<RoomId>,
        /// If that is with somebody alone, these two, who may know it.
        pair: Option<[SessionId; 2]>,
    },
    /// This is what a room of theirs is about now.
    Topic {
        /// Which room.
        room: RoomId,
        /// What that is called.
        room_name: &'a Name,
        /// What it is about.
        topic: &'a Topic,
    },
    /// Somebody left a room of theirs.
    Left {
        /// Where.
        room: RoomId,
        /// What that is called.
        room_name: &'a Name,
        /// Who.
        member: SessionId,
        /// As whom.
        name: &'a Name,
        /// Why.
        reason: LeaveReason,
    },
    /// A message in a room of theirs. Its sender is told [`Notice::Accepted`] instead.
    Said {
        /// What the room is called.
        room_name: &'a Name,
        /// What was said, and where.
        message: &'a Message,
    },
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
    /// What they asked for is not done.
    NotDone {
        /// The name that they asked for, as they wrote it, if it was one.
        name: &'a str,
        /// Why.
        why: Refusal,
    },
}

impl Notice<'_> {
    /// Which room it is about, if it is about one.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            Self::Joined { room, .. }
            | Self::Opened { room, .. }
            | Self::Topic { room, .. }
            | Self::Left { room, .. }
            | Self::Accepted { room, .. } => Some(*room),
            Self::Said { message, .. } => Some(message.kept.room),
            Self::Changed { .. } | Self::Rejected { .. } | Self::NotDone { .. } => None,
        }
    }
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
    /// The one to whom alone it was said is not here.
    NotHere,
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
            Self::NotHere => Refusal::NotHere.fmt(f),
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinRequest<'a> {
    /// The name as it was typed.
    pub name: &'a str,
    /// The rooms that he is in from now on; those past [`limits::CLAIMS`] do not count.
    pub claims: &'a [Claim<'a>],
    /// The key of the one of them in which he talks and listens; 0 for none.
    pub voice: u32,
    /// Whether he can be heard and hears.
    pub marks: Marks,
    /// He can be alone with somebody.
    pub has_private: bool,
    /// By what the client is known again; `None` for one that says nothing twice.
    pub author: Option<AuthorKey>,
    /// A former session to go on with.
    pub resume: Option<ResumeRequest<'a>>,
}

impl<'a> JoinRequest<'a> {
    /// Of a newcomer, who talks in the first of these rooms.
    pub fn new(name: &'a str, claims: &'a [Claim<'a>]) -> Self {
        let voice = claims.first().map_or(0, |claim| claim.key);
        let (marks, author, resume) = (Marks::default(), None, None);
        Self { name, claims, voice, marks, has_private: true, author, resume }
    }
}

/// A former session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResumeRequest<'a> {
    /// Which.
    pub session: SessionId,
    /// Its secret.
    pub token: &'a [u8],
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
    /// True when the former session goes on.
    pub resumed: bool,
    /// True when the others were told that he joined.
    pub entered: bool,
    /// What became of his claims, and his rooms that he did not claim.
    pub entries: Vec<Entry>,
}

impl Admission {
    /// The rooms that he is in, in the order in which he claimed them.
    pub fn rooms(&self) -> impl Iterator<Item = Entrance> {
        self.entries.iter().filter_map(|entry| entry.entered.as_ref().ok().copied())
    }
}

/// What became of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// That of the claim; 0 without one.
    pub key: u32,
    /// The room, or why he is not in it.
    pub entered: Result<Entrance, Refusal>,
}

/// Why somebody is not let in, or what he asks for is not done.
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
    /// He is in as many rooms as one may be.
    TooManyRooms,
    /// He made as many rooms as one may in such a time.
    TooManyMade,
    /// He or the other has as many private conversations as one may have, or the server has.
    TooManyPrivate,
    /// Nobody of that name is here.
    NotHere,
    /// What was between him and somebody has ended.
    Over,
    /// It is his own name.
    Oneself,
    /// The other's program knows no private conversations.
    NoPrivate,
    /// He is not in that room.
    NotInRoom,
    /// No topic.
    Topic(TopicError),
    /// It could not be kept.
    NotKept(KeepError),
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
            Self::TooManyRooms => {
                write!(f, "you are in {} rooms already; leave one of them first", limits::ROOMS_EACH)
            }
            Self::TooManyMade => {
                write!(
                    f,
                    "you made many rooms in a short time; wait for half a minute, or join one that exists"
                )
            }
            Self::TooManyPrivate => write!(f, "there are too many private conversations; try again later"),
            Self::NotHere => write!(f, "nobody of that name is here; try again when he is back"),
            Self::Over => {
                write!(f, "one of you left for good, or the server was started again; you can begin anew")
            }
            Self::Oneself => write!(f, "that is your own name"),
            Self::NoPrivate => write!(f, "the program that he uses takes no private messages"),
            Self::NotInRoom => write!(f, "you are not in that room"),
            Self::Topic(error) => error.fmt(f),
            Self::NotKept(error) => error.fmt(f),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Hub {
    rng: Rng,
    max_sessions: usize,
    sessions: Sessions,
    /// The sessions that the others see, by name.
    names: BTreeMap<FoldedName, SessionId>,
    rooms: BTreeMap<RoomId, Room>,
    next_room: u32,
    next_private: u32,
    /// When a session without a connection changes its [`Presence`].
    deadlines: BTreeSet<(Instant, SessionId)>,
    gone: usize,
    authors: Authors,
    log_bytes: LogBytes,
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
            next_private: 0,
            deadlines: BTreeSet::new(),
            gone: 0,
            authors: Authors::default(),
            log_bytes: LogBytes::default(),
            keeping: None,
        }
    }

    // Getters.

    /// Sessions that the others see, those with a lost connection too.
    pub fn members(&self) -> usize {
        self.names.len()
    }

    /// Rooms with a name that exist.
    pub fn rooms(&self) -> usize {
        self.rooms_with_names().count()
    }

    /// Sessions that nobody sees any more but that may be resumed.
    pub fn gone(&self) -> usize {
        self.gone
    }

    /// Everybody in `room`.
    pub fn members_of(&self, room: RoomId) -> impl Iterator<Item = Person<'_>> + Clone {
        let members = self.rooms.get(&room).map_or(&[][..], |room| &room.members);
        members.iter().filter_map(move |&id| match room.is_private() {
            true => self.sessions.person_in(id, room),
            false => self.sessions.person(id),
        })
    }

    /// How many are in `room`.
    pub fn count_members(&self, room: RoomId) -> usize {
        self.rooms.get(&room).map_or(0, |room| room.members.len())
    }

    /// Every room that has a name.
    pub fn room_names(&self) -> impl Iterator<Item = (RoomId, &Name)> {
        self.rooms_with_names().map(|(id, room)| (id, &room.name))
    }

    /// The rooms of a session, in the order in which it came into them.
    pub fn rooms_of(&self, session: SessionId) -> &[RoomId] {
        self.sessions.get(session).map_or(&[], |session| &session.rooms)
    }

    /// What a room is about.
    pub fn topic_of(&self, room: RoomId) -> Option<&Topic> {
        self.rooms.get(&room)?.topic.as_ref()
    }

    /// The name of a room.
    pub fn name_of_room(&self, room: RoomId) -> Option<&Name> {
        self.rooms.get(&room).map(|room| &room.name)
    }

    /// By what the client of a session is known again.
    pub(crate) fn author_of(&self, session: SessionId) -> Option<AuthorKey> {
        self.sessions.get(session).map(|session| session.author)
    }

    /// With whom `session` is alone in `room`.
    pub fn other_of(&self, room: RoomId, session: SessionId) -> Option<SessionId> {
        self.rooms.get(&room)?.other(session)
    }

    /// The name of a room's numbering.
    pub fn epoch_of(&self, room: RoomId) -> Option<u64> {
        self.rooms.get(&room).map(|room| room.epoch)
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
        session.voice.filter(|_| session.presence == Presence::Here)
    }

    /// Where a session talks and listens, whether it has a connection or not.
    pub fn voice_of(&self, session: SessionId) -> Option<RoomId> {
        self.sessions.get(session)?.voice
    }

    /// The name of a session.
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
        // Judged before anybody loses a name to this newcomer.
        let judged = |claim: &Claim<'_>| match claim.with {
            "" => claim.room_name().map(|_| ()).map_err(Refusal::RoomName),
            with => self.session_named(with).map(|_| ()).ok_or(Refusal::NotHere),
        };
        if let Some(first) = request.claims.first()
            && request.claims.iter().all(|claim| judged(claim).is_err())
        {
            judged(first)?;
        }
        self.free_name(now, &name, tell)?;
        if self.names.len() >= self.max_sessions {
            return Err(Refusal::Full);
        }
        let token = self.rng.bytes();
        // The server's own is nobody's.
        let author = request.author.filter(|&author| author != AuthorKey::default());
        let author = author.unwrap_or_else(|| AuthorKey(self.rng.bytes()));
        self.authors.enter(author);
        let folded = name.folded();
        let session = Session { has_private: request.has_private, ..Session::new(name, token, author) };
        let session = self.sessions.insert(Session { marks: request.marks, ..session });
        self.names.insert(folded, session);
        self.adopt_waiting(author, session);
        let entries = self.enter_all(now, session, request, tell);
        if self.rooms_of(session).is_empty()
            && let Some(Err(refusal)) = entries.first().map(|entry| &entry.entered)
        {
            let refusal = refusal.clone();
            self.end(session, LeaveReason::Quit, tell);
            return Err(refusal);
        }
        self.admission(session, entries, (false, true)).ok_or(Refusal::Full)
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
            Repeat::New if room.is_private() && !self.is_complete(room, sender) => Some(Rejection::NotHere),
            Repeat::New if !session.rooms.contains(&room) => Some(Rejection::NotInRoom),
            Repeat::New => text::check_message(text).err().map(Rejection::Message),
        };
        if let Some(why) = why {
            return tell(to_sender, Notice::Rejected { id, why });
        }
        let Some(place) = self.rooms.get_mut(&room) else { return };
        place.answer(sender);
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
        let rooms: Vec<(RoomId, Seq)> =
            self.rooms_with_names().map(|(id, room)| (id, room.next_seq())).collect();
        for (room, seq) in rooms {
            let (author, id, name) = (AuthorKey::default(), MessageId::default(), Name::of_the_server());
            let said = KeptMessage { room, seq, at, author, id, name, text: text.into() };
            self.take(SessionId::NOBODY, said, tell);
        }
        Ok(())
    }

    /// The member says what a room of his is about; nothing any more where `text` is empty. All in it are told, when that is kept where it is
    /// to be kept. What all know already is neither kept nor told.
    ///
    /// # Errors
    /// He is not in it, or it is no topic.
    pub fn set_topic(
        &mut self,
        at: UnixMillis,
        member: SessionId,
        room: RoomId,
        text: &str,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) -> Result<(), Refusal> {
        let session = self.sessions.get(member).filter(|session| session.rooms.contains(&room));
        let session = session.filter(|_| !room.is_private()).ok_or(Refusal::NotInRoom)?;
        text::check_topic(text).map_err(Refusal::Topic)?;
        let topic = Topic { text: text.trim().into(), by: session.name.clone(), at };
        if !self.rooms.get(&room).is_some_and(|room| room.is_about(&topic.text)) {
            self.take_topic(member, room, topic, tell);
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
        self.forget(session, tell);
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
                Some(Presence::Gone { .. }) => self.forget(id, tell),
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
        let (id, presence) = (resume.session, session.presence);
        if resume.attempt != 0 && resume.attempt < session.attempt {
            return Some(Err(Refusal::Overtaken));
        }
        let former = (session.name.clone(), session.marks, session.voice);
        let name = Name::new(request.name).map_err(Refusal::Name);
        let entered = matches!(presence, Presence::Gone { .. });
        if entered {
            // Others may have its name by now; the client may have brought another one.
            let name = match name.and_then(|name| self.free_name(now, &name, tell).map(|()| name)) {
                Ok(name) => name,
                Err(refusal) => return Some(Err(refusal)),
            };
            if self.names.len() >= self.max_sessions {
                return Some(Err(Refusal::Full));
            }
            // If somebody gave up the name and so was one too many that are held, it may be this one that is forgotten.
            self.sessions.get_mut(id)?.name = name.clone();
            self.names.insert(name.folded(), id);
        } else if let Ok(name) = name {
            // What it asked for last may have been lost on its way. If somebody has that name, it keeps its own.
            let is_taken = self.take_name(now, id, name, tell).is_ok();
            if is_taken && self.name_of(id) != Some(&former.0) {
                // Before others see it by that name where it comes in anew.
                self.tell_change(id, Some(&former.0), tell);
            }
        }
        let session = self.sessions.get_mut(id)?;
        session.attempt = resume.attempt;
        session.marks = request.marks;
        self.set_presence(id, Presence::Here);
        let entries = self.enter_all(now, id, request, tell);
        let session = self.sessions.get(id)?;
        let (_, marks, voice) = former;
        if !entered && (marks, voice) != (session.marks, session.voice) {
            self.tell_change(id, None, tell);
        }
        self.admission(id, entries, (true, entered)).map(Ok)
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

    /// Takes a session out of its rooms and tells the others.
    fn leave(&mut self, id: SessionId, reason: LeaveReason, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some(session) = self.sessions.get(id) else { return };
        if matches!(session.presence, Presence::Gone { .. }) {
            return;
        }
        if !is_made(Mistake::NameKept) {
            self.names.remove(&session.name.folded());
        }
        for room in session.rooms.clone() {
            self.disappear(id, room, reason, tell);
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
                self.forget(oldest, tell);
            }
        }
    }

    fn forget(&mut self, id: SessionId, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        self.set_presence(id, Presence::Here);
        self.release_rooms(id, tell);
        if let Some(session) = self.sessions.remove(id) {
            self.authors.leave(session.author);
        }
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
        entries: Vec<Entry>,
        (resumed, entered): (bool, bool),
    ) -> Option<Admission> {
        let session = self.sessions.get(id)?;
        let (token, author, name) = (session.token, session.author, session.name.clone());
        Some(Admission { session: id, token, author, name, resumed, entered, entries })
    }

    /// True when the one with whom `id` is alone in `room` is there as well.
    fn is_complete(&self, room: RoomId, id: SessionId) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.other(id).is_some() && room.members.len() == 2)
    }
}

/// True for a room that nobody would find again: empty, without anything that is kept, and not the default one.
fn is_unused(room: &Room) -> bool {
    room.members.is_empty() && (!room.is_kept || room.has_nothing()) && !room.is_default()
}
