//! What must hold, whatever the network and its peers do. The first thing that does not ends the run.
//!
//! The log of the server's rooms is watched as it grows ([`log`]); what every client is told is held against it ([`view`]);
//! voice is held against what was spoken ([`voice`]). The world itself looks whether anybody spins, and whether all comes to rest.

mod alone;
pub(crate) mod classic;
pub(crate) mod log;
mod names;
mod view;
mod voice;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_proto::{
    Instant, RoomId, SessionId,
    client::{ClientEvent, EndReason, Page, PlaceId},
    limits::REPLAY_BYTES,
    server::{Server, ServerEvent},
};

pub(crate) use self::log::To;
pub(crate) use self::names::{Rooms, name_of};
use self::{
    alone::{Alone, Conversations},
    classic::Classics,
    log::{About, LogId, Logs, Owner, Said, Spoken},
    names::is_name_of,
    view::View,
    voice::Voices,
};
use crate::{
    net::Net,
    person::Message,
    server::OnDisk,
    sometimes::Sometimes,
    spec::Key,
    tcp::ConnId,
    trace::{Mark, Node, hash},
};

macro_rules! rules {
    ($($rule:ident = $text:literal;)*) => {
        /// What must hold.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Rule { $(#[doc = $text] $rule,)* }

        impl Rule {
            /// All of them, in words.
            pub const ALL: &[(Self, &str)] = &[$((Self::$rule, $text),)*];
        }
    };
}

rules! {
    OneOrder = "a room has one order, and everybody sees a part of it without holes but for reported ones";
    NothingTwice = "nothing is delivered twice";
    NoForgery = "nobody is told what nobody said, or in another's name, or of another room";
    Acknowledged = "what is acknowledged is in the room's log, once, and nothing else is acknowledged";
    Private = "what is between two is told to nobody else, and never kept";
    Lasting = "what somebody was told is still there when the server is started again with its disk";
    History = "a page of a room's history is what was said there, right before what was asked for";
    Resume = "who comes back in time goes on with his own session and in his own name, and nobody else does";
    Connection = "nobody loses a connection, is refused, or ends without a cause";
    Limits = "every table is within its limits and agrees with the others";
    Pieces = "what a classic peer is sent comes in pieces that fit one read and cut no character";
    Portions = "what a classic peer says is cut only where it ends, or when the rest does not come";
    VoiceSource = "voice comes from who spoke it, in the same room, and not back to him";
    VoiceTwice = "voice does not come, or play, more often than it was sent";
    VoicePath = "voice does not go where nothing gets through";
    Playout = "where nothing fails, voice is played soon and without holes";
    InTime = "what is due is done in time";
    NoSpin = "no machine wakes up for nothing, and no world is busy without bound";
    Rest = "when the faults are over, everybody is back, and knows everything";
    Quit = "when everybody has quit, nothing is left";
    NoPanic = "nothing panics";
    Harness = "the simulator can do its work";
}

/// Who was let in over a connection, as the server has it.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) session: SessionId,
    /// In which start of the server.
    pub(crate) generation: u32,
    pub(crate) name: String,
    pub(crate) resumed: bool,
}

/// A room that somebody is told that he is in.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// The client's own number of it; 0 if it did not ask.
    pub(crate) key: u32,
    /// The room's name, or that of the one with whom he is alone there.
    pub(crate) name: String,
    /// With whom he is alone there.
    pub(crate) with: Option<SessionId>,
    pub(crate) session: SessionId,
    pub(crate) log: LogId,
    /// In which start of the server.
    pub(crate) generation: u32,
    /// Every message after this and up to `last` was sent with it.
    pub(crate) told: u64,
    pub(crate) last: u64,
    /// But for those before this one, which the server did not remember, or left out.
    pub(crate) first_kept: u64,
    pub(crate) first_remembered: u64,
    /// Among how many rooms what may be told again is shared.
    pub(crate) rooms: usize,
    /// What is told next is at this place of the journal.
    pub(crate) place: usize,
}

impl Entrance {
    /// After which message somebody must be told who knows all up to `seq`.
    fn told_up_to(&self, logs: &Logs, seq: u64) -> u64 {
        let share = REPLAY_BYTES / self.rooms.max(1);
        logs.log(self.log)
            .map_or(seq, |log| log.told_up_to(seq, self.last, self.first_remembered, share as u64))
    }
}

/// One client, as its user sees it.
#[derive(Debug, Default)]
struct Member {
    life: u32,
    is_in: bool,
    has_quit: bool,
    /// Places that became one with another.
    merged: BTreeSet<PlaceId>,
    name: String,
    /// Its session, and in which start of the server.
    session: Option<(u32, SessionId)>,
    /// The rooms that it is in or wants to be in.
    places: BTreeMap<PlaceId, Place>,
    /// Its messages in this life of which it does not know yet what became of them, each with where it said it.
    pending: BTreeMap<u64, PlaceId>,
    has_missed: bool,
    /// Questions for pages of history, those counted that its machine asks by itself.
    asked: u32,
    /// What it asked for, by the numbers of the questions: what is before this message of a room.
    questions: BTreeMap<u32, (LogId, u64)>,
}

/// A room that a client is in or wants to be in.
#[derive(Debug)]
struct Place {
    to: To,
    /// None before it was entered, or where it is alone with somebody.
    view: Option<View>,
    /// How far it got in what is between it and somebody else.
    alone: Option<Alone>,
    /// It was asked for and not answered yet: with whoever has that name now.
    is_new: bool,
    /// It was begun anew since the client was told that it is there: it is told again.
    is_out: bool,
    /// The last of its messages there that was acknowledged.
    last_acknowledged: u64,
}

impl Place {
    fn new(to: To) -> Self {
        Self { to, view: None, alone: None, is_new: true, is_out: false, last_acknowledged: 0 }
    }

    /// It is asked for, with whoever has the name now if it is begun anew.
    fn begin(&mut self, is_anew: bool) {
        self.is_new |= is_anew;
        self.is_out |= is_anew;
    }
}

/// True for what says that somebody cannot be told something alone.
fn is_no_whisper(why: &str) -> bool {
    ["one of you left for good", "nobody of that name", "too many private", "your own name", "no private"]
        .iter()
        .any(|part| why.contains(part))
}

#[derive(Debug)]
pub(crate) struct Checker {
    rooms: Rooms,
    /// Connections may break; if not, nobody may lose one.
    may_break: bool,
    /// The disk may be full, so that messages are refused.
    may_refuse: bool,
    members: Vec<Member>,
    said: Vec<Said>,
    pub(crate) logs: Logs,
    /// In which of its lives a client began a connection.
    lives: BTreeMap<ConnId, u32>,
    admissions: BTreeMap<ConnId, Admission>,
    /// Into which rooms somebody was let over a connection, until he knows of it; and whose session it is.
    entrances: BTreeMap<ConnId, VecDeque<Entrance>>,
    sessions: BTreeMap<ConnId, SessionId>,
    conversations: Conversations,
    voices: Voices,
    pub(crate) classics: Classics,
    failure: Option<(Rule, String)>,
}

impl Checker {
    pub(crate) fn new(clients: u32, rooms: Rooms, may_break: bool, may_refuse: bool) -> Self {
        let member = |client| Member { name: name_of(client), ..Member::default() };
        Self {
            rooms,
            may_break,
            may_refuse,
            members: (0..clients).map(member).collect(),
            said: vec![Vec::new(); clients as usize],
            logs: Logs::new(rooms.has_classics),
            lives: BTreeMap::new(),
            admissions: BTreeMap::new(),
            entrances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            conversations: Conversations::default(),
            voices: Voices::new(clients),
            classics: Classics::default(),
            failure: None,
        }
    }

    /// Notes what does not hold. The first one counts.
    pub(crate) fn fail(&mut self, rule: Rule, what: String) {
        self.failure.get_or_insert((rule, what));
    }

    pub(crate) fn take_failure(&mut self) -> Option<(Rule, String)> {
        self.failure.take()
    }

    // The server.

    /// The server was started again, with what its disk had, if it has one.
    pub(crate) fn restarted(
        &mut self,
        net: &mut Net<'_>,
        server: &Server,
        kept: &BTreeMap<RoomId, OnDisk<'_>>,
    ) {
        self.forget_voices();
        let Self { logs, said, failure, .. } = self;
        let untold = logs.restarted(server, kept, said, &mut |rule, what| {
            failure.get_or_insert((rule, what));
        });
        if untold > 0 {
            net.sometimes(Sometimes::KeptUntold);
        }
    }

    /// The server tells the members of a room of something.
    pub(crate) fn happened(&mut self, event: &ServerEvent, now: Instant) {
        let Self { logs, said, classics, failure, .. } = self;
        logs.happened(event, now, said, classics, &mut |rule, what| {
            failure.get_or_insert((rule, what));
        });
    }

    /// Looks at what is new on the server.
    pub(crate) fn observe(&mut self, server: &Server) {
        let Self { logs, said, failure, .. } = self;
        logs.observe(server, said, &mut |rule, what| {
            failure.get_or_insert((rule, what));
        });
        self.judge_classics();
    }

    /// The server let somebody in over a connection.
    pub(crate) fn admitted(
        &mut self,
        net: &mut Net<'_>,
        server: &Server,
        conn: ConnId,
        admission: Admission,
    ) {
        let clients = self.members.len();
        let Some(link) = net.conn(conn).map(|tcp| tcp.client) else { return };
        let owner = match self.members.get(link as usize) {
            // Of an earlier life, if its Hello comes late.
            Some(_) => Owner::Client { client: link, life: self.lives.remove(&conn).unwrap_or(0) },
            None => Owner::Stranger(link - u32::try_from(clients).unwrap_or(0)),
        };
        let session = admission.session;
        if !self.logs.assign(session, owner) {
            self.fail(Rule::Resume, format!("{owner:?} was given {session:?}, which is another's"));
        }
        if let Some((generation, former)) = self.members.get(link as usize).and_then(|member| member.session)
            && !admission.resumed
            && generation == self.logs.generation
            && former != session
            && server.hub().name_of(former).is_some()
        {
            self.fail(Rule::Resume, format!("client {link} came back in time and was not resumed"));
        }
        self.sessions.insert(conn, session);
        self.admissions.insert(conn, admission);
    }

    /// The session that was let in over a connection.
    pub(crate) fn session_at(&self, conn: ConnId) -> Option<SessionId> {
        self.sessions.get(&conn).copied()
    }

    /// The server tells somebody over a connection that he is in a room.
    pub(crate) fn enters(&mut self, conn: ConnId, entrance: Entrance) {
        if entrance.key == 0 && entrance.with.is_none() {
            let Entrance { session, name, .. } = &entrance;
            self.fail(
                Rule::Resume,
                format!("{session:?} is told that he is in {name}, which he did not ask for"),
            );
        }
        self.entrances.entry(conn).or_default().push_back(entrance);
    }

    // What users do.

    /// A client was started, for the first time or again.
    pub(crate) fn born(&mut self, client: u32) {
        let to = To::Room(self.rooms.name_for(client));
        let places = BTreeMap::from([(PlaceId::FIRST, Place::new(to))]);
        let member = &mut self.members[client as usize];
        *member = Member { life: member.life + 1, name: name_of(client), places, ..Member::default() };
        self.new_ear(client);
    }

    /// A client begins a connection.
    pub(crate) fn connects(&mut self, client: u32, conn: ConnId) {
        self.lives.insert(conn, self.members[client as usize].life);
    }

    /// A client's machine took a message.
    pub(crate) fn said(&mut self, message: Message, place: PlaceId, text: &str) {
        let said = &mut self.said[message.client as usize];
        said.resize(usize::try_from(message.number).unwrap_or(0).saturating_sub(1), Spoken::default());
        let member = &mut self.members[message.client as usize];
        let to = member.places.get(&place).map_or(To::Nobody, |place| place.to.clone());
        said.push(Spoken { text: hash(text.as_bytes()), life: member.life, to });
        member.pending.insert(message.number, place);
    }

    /// A client's user wants to be in one more room, or is in it.
    pub(crate) fn wants(&mut self, client: u32, place: PlaceId, to: To) {
        self.members[client as usize].places.entry(place).or_insert_with(|| Place::new(to));
    }

    /// A client's user wants to be alone with somebody; anew, if he is not yet or not any more.
    pub(crate) fn whispers(&mut self, client: u32, id: PlaceId, is_anew: bool) {
        let places = &mut self.members[client as usize].places;
        places.entry(id).or_insert_with(|| Place::new(To::Alone(id))).begin(is_anew);
    }

    /// A client's user leaves a room: from now on he is told nothing of it.
    pub(crate) fn parts(&mut self, client: u32, place: PlaceId) {
        self.members[client as usize].places.remove(&place);
    }

    /// A client's user wants to leave.
    pub(crate) fn quits(&mut self, client: u32) {
        let member = &mut self.members[client as usize];
        (member.has_quit, member.is_in) = (true, false);
    }

    // What users are told.

    /// A client's machine told its user something, by that connection if it has one.
    pub(crate) fn event(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        conn: Option<ConnId>,
        event: &ClientEvent,
    ) {
        let node = Node::Client(client);
        match event {
            ClientEvent::Welcome { session, name, resumed, again } => {
                net.record(node, Mark::Welcome, u64::from(session.to_wire()), u64::from(*resumed));
                net.counts.reconnects += u64::from(*again);
                let is_fixed = !self.may_break && !self.do_people_wander();
                if !is_name_of(name, client) || (is_fixed && *name != name_of(client)) {
                    self.fail(Rule::Resume, format!("client {client} was welcomed as {name}"));
                }
                self.welcomed(client, conn, *session, name, *resumed);
            }
            ClientEvent::Entered { place, name, is_private, .. } => {
                self.entered(net, client, conn, *place, name, *is_private);
            }
            ClientEvent::NotEntered { place, name, is_private, why } => {
                net.record(node, Mark::NotEntered, hash(why.as_bytes()), 0);
                let id = *place;
                let place = self.members[client as usize].places.remove(&id);
                let is_alone = place.is_some_and(|place| matches!(place.to, To::Alone(_)));
                net.sometimes(Sometimes::NotEntered);
                if is_alone && why.contains("in that room already") {
                    self.merged(client, conn, id);
                } else if !(*is_private && is_alone && is_no_whisper(why)) {
                    self.fail(Rule::Connection, format!("client {client} was not let into {name}: {why}"));
                }
            }
            ClientEvent::Changed { session, former, member } => {
                net.record(node, Mark::Changed, u64::from(session.to_wire()), hash(member.name.as_bytes()));
                if former.is_some() {
                    net.sometimes(Sometimes::Renamed);
                }
                self.changed(client, *session, former.as_ref(), &member.name);
            }
            ClientEvent::Topic { place, topic } => {
                net.record(node, Mark::Topic, hash(topic.text.as_bytes()), topic.at.0);
                net.sometimes(Sometimes::TopicTold);
                let (text, by) = (topic.text.clone(), topic.by.clone());
                self.told(client, *place, &log::Entry::Topic(About { text, by, at_ms: topic.at.0 }));
            }
            ClientEvent::Rooms(rooms) => net.record(node, Mark::Rooms, rooms.len() as u64, 0),
            ClientEvent::NotDone { why } => {
                net.record(node, Mark::NotDone, hash(why.as_bytes()), 0);
                net.sometimes(Sometimes::NotDone);
                let is_right = self.may_refuse && why.contains("cannot keep it")
                    || self.may_break && why.contains("in use");
                if !is_right {
                    self.fail(Rule::Connection, format!("client {client} was refused a change: {why}"));
                }
            }
            ClientEvent::Joined { place, session, name } => {
                net.record(node, Mark::Joined, u64::from(session.to_wire()), 0);
                let told = log::Entry::Joined { session: *session, name: name.clone() };
                self.told(client, *place, &told);
            }
            ClientEvent::Left { place, session, name, reason } => {
                net.record(node, Mark::Left, u64::from(session.to_wire()), 0);
                let told = log::Entry::Left { session: *session, name: name.clone(), reason: *reason };
                self.told(client, *place, &told);
            }
            ClientEvent::Meanwhile { place, joined, left } => {
                net.record(node, Mark::Meanwhile, joined.len() as u64, left.len() as u64);
                net.sometimes(Sometimes::Met);
                if self.is_alone(client, *place) {
                    return;
                }
                self.with_view(client, *place, |view, logs| view.meanwhile(logs, joined, left));
            }
            ClientEvent::History(page) => {
                net.record(node, Mark::History, page.lines.len() as u64, u64::from(page.more));
                self.page(net, client, page);
            }
            ClientEvent::Said { place, seq, name, text, own, .. } => {
                net.record(node, Mark::Said, seq.to_wire(), hash(text.as_bytes()));
                self.text(net, client, *place, (seq.to_wire(), name, text), own.is_some());
            }
            ClientEvent::NotSaid { text, why, .. } => {
                net.record(node, Mark::NotSaid, hash(text.as_bytes()), 0);
                self.not_said(net, client, text, why);
            }
            ClientEvent::Missed { place, messages, .. } => {
                net.record(node, Mark::Missed, *messages, 0);
                net.counts.missed += messages;
                self.members[client as usize].has_missed = true;
                let alone = self.members[client as usize].places.get_mut(place);
                match alone.and_then(|place| place.alone.as_mut()) {
                    Some(alone) => {
                        if let Err((rule, what)) = alone.missed(*messages) {
                            self.fail(rule, format!("client {client} {what}"));
                        }
                    }
                    None => self.with_view(client, *place, |view, _| {
                        view.missed(*messages).map_err(|what| (Rule::OneOrder, what))
                    }),
                }
            }
            ClientEvent::Refused { why, .. } => {
                net.record(node, Mark::Refused, hash(why.as_bytes()), 0);
                if why.contains("in use") {
                    net.sometimes(Sometimes::NameTaken);
                }
                if !self.may_break {
                    self.fail(Rule::Connection, format!("client {client} was refused: {why}"));
                }
            }
            ClientEvent::Reconnecting { why, pause } => {
                if !self.may_break {
                    let what = format!("client {client} lost a connection that was never cut: {why:?}");
                    self.fail(Rule::Connection, what);
                }
                let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                net.record(node, Mark::Reconnecting, pause_us, 0);
                self.members[client as usize].is_in = false;
            }
            ClientEvent::Path(path) => {
                let way = u64::from(path.uses_udp()) | u64::from(path.uses_tcp()) << 1;
                net.record(node, Mark::Path, way, 0);
                net.counts.path_changes += 1;
            }
            ClientEvent::Reported(_) => net.counts.reports += 1,
            ClientEvent::Ended(reason) => {
                net.record(node, Mark::Ended, *reason as u64, 0);
                let member = &mut self.members[client as usize];
                member.is_in = false;
                let is_expected = match reason {
                    EndReason::Quit => member.has_quit,
                    EndReason::Refused | EndReason::Unreachable => self.may_break,
                    EndReason::Replaced | EndReason::Removed | EndReason::Protocol => false,
                };
                if !is_expected {
                    self.fail(Rule::Connection, format!("client {client} ended: {reason:?}"));
                }
            }
        }
    }

    fn welcomed(&mut self, client: u32, conn: Option<ConnId>, session: SessionId, name: &str, resumed: bool) {
        let admission = conn.and_then(|conn| self.admissions.remove(&conn));
        let Some(admission) =
            admission.filter(|a| (a.session, a.name.as_str(), a.resumed) == (session, name, resumed))
        else {
            let what = format!("client {client} was welcomed as {session:?}, but not let in as that");
            return self.fail(Rule::Resume, what);
        };
        let here = Some((admission.generation, session));
        let member = &mut self.members[client as usize];
        member.is_in = true;
        name.clone_into(&mut member.name);
        let former = std::mem::replace(&mut member.session, here);
        if !resumed {
            self.voices.new_numbers(client);
        } else if former != here {
            self.fail(Rule::Resume, format!("client {client} resumed {here:?} and had {former:?}"));
        }
    }

    /// A client is in a room, or in it again.
    fn entered(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        conn: Option<ConnId>,
        id: PlaceId,
        name: &str,
        is_private: bool,
    ) {
        let Some(entrance) = self.entrance(client, conn, id, (name, is_private)) else {
            let what = format!("client {client} is told that it is in {name}, where nobody let it in");
            return self.fail(Rule::NoForgery, what);
        };
        net.record(Node::Client(client), Mark::Entered, entrance.told, entrance.last);
        if is_private {
            return self.entered_alone(net, client, conn, id, &entrance);
        }
        let Self { members, logs, .. } = self;
        let member = &mut members[client as usize];
        let resumed = member.session == Some((entrance.generation, entrance.session));
        let Some(place) = member.places.get_mut(&id) else {
            let what = format!("client {client} is told that it is in {name}, where it does not want to be");
            return self.fail(Rule::NoForgery, what);
        };
        if std::mem::take(&mut place.is_new) && id != PlaceId::FIRST {
            net.sometimes(Sometimes::Wandered);
        }
        let former = place.view.take();
        let is_new = former.is_none();
        if let Some(former) = &former {
            let is_same_session =
                (former.generation, former.session) == (entrance.generation, entrance.session);
            match former.log == entrance.log {
                true if former.generation != entrance.generation => net.sometimes(Sometimes::FoundAgain),
                true if !is_same_session => net.sometimes(Sometimes::NotResumed),
                true => {}
                false => net.sometimes(Sometimes::NewNumbering),
            }
            if is_same_session {
                net.sometimes(Sometimes::Resumed);
                if entrance.first_kept > entrance.told + 1 {
                    net.sometimes(Sometimes::ResumedWithGap);
                }
            }
        }
        if !resumed {
            let what = format!("client {client} is let into {name} as {:?}", entrance.session);
            return self.fail(Rule::Resume, what);
        }
        if To::Room(name.to_owned()) != place.to {
            let what = format!("client {client} was let into {name} in place of {:?}", place.to);
            return self.fail(Rule::NoForgery, what);
        }
        match View::begin(former, logs, &entrance) {
            Ok(view) => {
                let last = view.last();
                place.view = Some(view);
                if is_new {
                    // The machine asks by itself.
                    member.asked += 1;
                    member.questions.insert(member.asked, (entrance.log, last + 1));
                }
            }
            Err((rule, what)) => self.fail(rule, format!("client {client} in {name} {what}")),
        }
    }

    /// What the server said when it let a client into this place. What it said before that and the client does not tell of were rooms that
    /// it had left by then.
    fn entrance(
        &mut self,
        client: u32,
        conn: Option<ConnId>,
        id: PlaceId,
        (name, is_private): (&str, bool),
    ) -> Option<Entrance> {
        let Self { members, entrances, .. } = self;
        let entrances = entrances.get_mut(&conn?)?;
        let conn = conn?;
        while let Some(entrance) = entrances.pop_front() {
            let places = &members[client as usize].places;
            // What it is in already it is not told again, but who came.
            let is_known = |place: &Place| {
                !place.is_out && place.alone.as_ref().is_some_and(|alone| alone.is_in(entrance.log, conn))
            };
            if places.values().any(is_known) {
                continue;
            }
            let asked = places.get_key_value(&PlaceId::from_number(entrance.key));
            let is_meant = match asked {
                Some((asked, _)) => *asked == id,
                // What another began, or what was asked for in a place that is gone.
                None => is_private && entrance.with.is_some() && entrance.name == name,
            };
            // Of one who is not there the server tells no name.
            let is_called = entrance.name == name || entrance.name.is_empty();
            if is_meant && is_called {
                return Some(entrance);
            }
            if asked.is_some() {
                return None;
            }
        }
        None
    }

    /// Somebody is called otherwise, or has changed in another way.
    fn changed(&mut self, client: u32, session: SessionId, former: Option<&String>, name: &str) {
        let is_other = self.is_alone_with(client, session);
        let Self { members, logs, .. } = self;
        let member = &mut members[client as usize];
        let owner = Owner::Client { client, life: member.life };
        let is_own = member.session.is_some_and(|(_, own)| own == session);
        if is_own {
            name.clone_into(&mut member.name);
        }
        let Some(former) = former else { return };
        let told = log::Entry::Renamed { session, former: former.clone(), name: name.to_owned() };
        let mut failure = None;
        let mut is_known = is_own || is_other;
        for view in member.places.values_mut().filter_map(|place| place.view.as_mut()) {
            if view.awaits(logs, owner, &told) {
                is_known = true;
                failure = failure.or(view.told(logs, owner, &told).err());
            }
        }
        if !is_known {
            let what = format!("was told {told:?}, which did not happen");
            failure = failure.or(Some((Rule::NoForgery, what)));
        }
        if let Some((rule, what)) = failure {
            self.fail(rule, format!("client {client} {what}"));
        }
    }

    fn text(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        place: PlaceId,
        (seq, name, text): (u64, &str, &str),
        own: bool,
    ) {
        if self.is_alone(client, place) {
            let is_new = !own || self.acknowledge(client, place, seq, text).is_some();
            // What was accepted before the other went away has its place in what is over.
            if is_new && seq > 0 {
                self.text_alone(net, client, place, (seq, text), own);
            }
            return;
        }
        if own {
            let Some(number) = self.acknowledge(client, place, seq, text) else { return };
            let Some(view) = self.view(client, place) else { return };
            if seq == 0 {
                // It was accepted in a room that was forgotten since, before the client came into this one of the same name.
                let is_here = self.logs.log(view.log).is_some_and(|log| log.has_message(client, number));
                if is_here || !self.logs.has_message(client, number) {
                    let what =
                        format!("message {number} of client {client} is acknowledged for another room");
                    self.fail(Rule::Acknowledged, what);
                }
                return;
            }
        } else {
            net.counts.texts_delivered += 1;
        }
        let Some(view) = self.view(client, place) else {
            return self.fail(Rule::OneOrder, format!("client {client} was told where it is not: {text}"));
        };
        let log = self.logs.log(view.log);
        if own && log.is_some_and(|log| log.untold.contains(&seq)) {
            net.sometimes(Sometimes::ToldAfterCrash);
        }
        let entry = log.and_then(|log| log.message(seq));
        let Some(log::Entry::Said { owner, name: logged, .. }) = entry else {
            let rule = if own { Rule::Acknowledged } else { Rule::OneOrder };
            return self.fail(rule, format!("client {client} was told at {seq} what is not there: {text}"));
        };
        let (owner, member) = (*owner, &self.members[client as usize]);
        if matches!(owner, Some(Owner::Classic(_))) {
            net.sometimes(Sometimes::ClassicHeard);
        }
        let is_own =
            matches!(owner, Some(Owner::Client { client: of, life }) if of == client && life == member.life);
        if own != is_own {
            let rule = if own { Rule::Acknowledged } else { Rule::NoForgery };
            return self.fail(rule, format!("client {client} was told at {seq}, as its own or not: {text}"));
        }
        // Its own messages are told in the name that it has now.
        let name = if own && name == member.name { logged.clone() } else { name.to_owned() };
        let told = log::Entry::Said { seq, owner, name, text: hash(text.as_bytes()) };
        self.told(client, place, &told);
    }

    fn view(&self, client: u32, place: PlaceId) -> Option<&View> {
        self.members[client as usize].places.get(&place)?.view.as_ref()
    }

    /// Whether a place is where a client is alone with somebody.
    fn is_alone(&self, client: u32, place: PlaceId) -> bool {
        self.members[client as usize].places.get(&place).is_some_and(|place| place.alone.is_some())
    }

    /// A client's message is acknowledged: which, if that may be.
    fn acknowledge(&mut self, client: u32, id: PlaceId, seq: u64, text: &str) -> Option<u64> {
        let member = &mut self.members[client as usize];
        let message = Message::parse(text).filter(|message| message.client == client);
        let number = message.map_or(0, |message| message.number);
        let last = member.places.get_mut(&id).map(|place| &mut place.last_acknowledged);
        let is_last = last.is_some_and(|last| std::mem::replace(last, number.max(*last)) < number);
        // What was missed, or accepted in a room that is gone, is acknowledged when it is said again, after what was not.
        let is_in_turn = is_last || member.has_missed || seq == 0;
        let place = member.pending.remove(&number);
        let is_pending = place.is_some_and(|place| place == id || member.merged.contains(&place));
        if !is_pending || !is_in_turn {
            let what = format!("message {number} of client {client} was acknowledged out of turn");
            self.fail(Rule::Acknowledged, what);
            return None;
        }
        Some(number)
    }

    /// A client's message was refused.
    fn not_said(&mut self, net: &mut Net<'_>, client: u32, text: &str, why: &str) {
        let member = &mut self.members[client as usize];
        let message = Message::parse(text).filter(|message| message.client == client);
        let number = message.map_or(0, |message| message.number);
        let spoken = log::spoken(&self.said, client, number);
        let is_whisper = spoken.is_some_and(|spoken| matches!(spoken.to, To::Alone(_)));
        // Whoever did not hear of the refusal before the server crashed, and had said more by then, hears that it is too late.
        let is_unkept = why.contains("cannot keep it") || why.contains("came too late");
        // A refusal of what is said alone is not remembered.
        let is_late = why.contains("came too late");
        let is_right = self.may_refuse && is_unkept || is_whisper && (is_no_whisper(why) || is_late);
        if is_unkept {
            net.sometimes(Sometimes::NotKept);
        }
        let is_pending = member.pending.remove(&number).is_some();
        if !is_right {
            let what = format!("a message of client {client} was not accepted ({why}): {text}");
            self.fail(Rule::Acknowledged, what);
        } else if !is_pending {
            self.fail(Rule::Acknowledged, format!("client {client} was refused twice: {text}"));
        }
    }

    /// A client asks for a page of what was said before a message.
    pub(crate) fn asked(&mut self, client: u32, place: PlaceId, token: u32, before: u64) {
        let member = &mut self.members[client as usize];
        member.asked = token;
        if let Some(view) = member.places.get(&place).and_then(|place| place.view.as_ref()) {
            member.questions.insert(token, (view.log, before));
        }
    }

    /// The last message of a room that a client knows of.
    pub(crate) fn last_of(&self, client: u32, place: PlaceId) -> Option<u64> {
        self.members[client as usize].places.get(&place)?.view.as_ref().map(View::last)
    }

    /// A client was given a page of its room's history.
    fn page(&mut self, net: &mut Net<'_>, client: u32, page: &Page) {
        // Whoever left the room meanwhile is given none of it.
        let wanders = self.do_people_wander();
        let Self { members, logs, .. } = self;
        let member = &mut members[client as usize];
        let Some((log, before)) = member.questions.remove(&page.token) else {
            return self
                .fail(Rule::History, format!("client {client} was given a page that it did not ask for"));
        };
        let Some(log) = logs.log(log) else { return };
        if page.error.as_ref().is_some_and(|error| error.contains("too much at once")) {
            // It asks again before it has its answers.
            return net.sometimes(Sometimes::PageRefused);
        }
        if page.error.as_ref().is_some_and(|error| error.contains("not in that room")) && wanders {
            return;
        }
        if let Some(error) = &page.error {
            return self.fail(Rule::History, format!("client {client} was given no page: {error}"));
        }
        let first = before.saturating_sub(page.lines.len() as u64);
        let are_said = page.lines.iter().zip(first..).all(|(line, seq)| {
            let is = |name: &str, text| name == line.name && text == hash(line.text.as_bytes());
            let truth = log.message(seq);
            line.seq.to_wire() == seq
                && matches!(truth, Some(log::Entry::Said { name, text, .. }) if is(name, *text))
        });
        if !are_said {
            let places: Vec<u64> = page.lines.iter().map(|line| line.seq.to_wire()).collect();
            let what = format!("client {client} was told wrongly of what is before {before}: {places:?}");
            return self.fail(Rule::History, what);
        }
        if !page.more && first > 1 && net.spec.get(Key::Disk) > 0 {
            let what = format!("client {client} was told that there is nothing before {first}");
            return self.fail(Rule::History, what);
        }
        if !page.lines.is_empty() {
            net.sometimes(Sometimes::PageGiven);
        }
    }

    /// A client was told of an event of a room.
    fn told(&mut self, client: u32, place: PlaceId, told: &log::Entry) {
        // The other goes and comes.
        if let log::Entry::Joined { session, .. } | log::Entry::Left { session, .. } = told
            && self.is_alone(client, place)
            && self.is_alone_with(client, *session)
        {
            return;
        }
        let owner = Owner::Client { client, life: self.members[client as usize].life };
        self.with_view(client, place, |view, logs| view.told(logs, owner, told));
    }

    /// Judges what a client is told of a room, in which it must be.
    fn with_view(
        &mut self,
        client: u32,
        place: PlaceId,
        judge: impl FnOnce(&mut View, &Logs) -> Result<(), (Rule, String)>,
    ) {
        let Self { members, logs, .. } = self;
        let place = members[client as usize].places.get_mut(&place);
        let verdict = match place.and_then(|place| place.view.as_mut()) {
            Some(view) => judge(view, logs),
            None => Err((Rule::OneOrder, "was told something of a room in which it is not".to_owned())),
        };
        if let Err((rule, what)) = verdict {
            self.fail(rule, format!("client {client} {what}"));
        }
    }

    /// Whether connections may break, and people be refused.
    pub(crate) fn may_break(&self) -> bool {
        self.may_break
    }

    /// Whether a client is in, and stays so if nothing fails.
    pub(crate) fn stays_in(&self, client: u32) -> bool {
        client == 0 && self.members.first().is_some_and(|member| member.is_in)
    }

    /// What a client still lacks, when the world should be at rest.
    pub(crate) fn lack_of(&self, client: u32) -> Option<String> {
        let member = &self.members[client as usize];
        let owner = Owner::Client { client, life: member.life };
        for place in member.places.values() {
            let lack = match &place.view {
                Some(view) => view.lack(&self.logs, owner),
                None if place.alone.is_some() => None,
                None => Some("it was never let in".to_owned()),
            };
            if let Some(what) = lack {
                return Some(format!("{:?}: {what}", place.to));
            }
        }
        if let Some(what) = self.lack_alone(client) {
            return Some(what);
        }
        member.pending.iter().find_map(|(number, place)| match member.places.contains_key(place) {
            true => Some(format!("its message {number} is not acknowledged")),
            // Whoever has left the room is not told.
            false if self.logs.has_message(client, *number) => None,
            false => Some(format!("its message {number} is not in the room that it left")),
        })
    }
}
