//! What the server did: the journal of every room, in the order in which its members were told, and who was let in as whom.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    Instant, RoomId, SessionId,
    client::PlaceId,
    history::Topic,
    hub::LeaveReason,
    limits::{DEFAULT_ROOM, MESSAGE_COST},
    server::{Server, ServerEvent},
    text::escape,
};

use super::{Rule, classic::Classics};
use crate::{person::Message, server::OnDisk, tcp::ConnId, trace::hash};

/// A numbering of a room: in which start of the server it began, and which room of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LogId {
    pub(crate) generation: u32,
    pub(crate) room: RoomId,
}

/// Whose connection something came by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    /// A client, in its `life`-th life.
    Client { client: u32, life: u32 },
    /// A peer that means harm.
    Stranger(u32),
    /// A classic peer, by a connection.
    Classic(ConnId),
}

/// Something that happened in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    Joined {
        session: SessionId,
        name: String,
    },
    Left {
        session: SessionId,
        name: String,
        reason: LeaveReason,
    },
    Said {
        seq: u64,
        /// Nobody known, if the server had it from before it was started again and nobody was told then.
        owner: Option<Owner>,
        name: String,
        text: u64,
    },
    /// Somebody took another name.
    Renamed {
        session: SessionId,
        former: String,
        name: String,
    },
    /// This is what the room is about.
    Topic(About),
    /// The server was started again, and has found this room.
    Restarted,
}

/// What a room is about, by whom and since when; without a text nothing any more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct About {
    pub(crate) text: String,
    pub(crate) by: String,
    pub(crate) at_ms: u64,
}

impl About {
    pub(crate) fn of(topic: &Topic) -> Self {
        Self { text: topic.text.to_string(), by: topic.by.as_str().to_owned(), at_ms: topic.at.0 }
    }

    /// What is known of a room after it was told so.
    pub(crate) fn kept(self) -> Option<Self> {
        Some(self).filter(|about| !about.text.is_empty())
    }
}

/// One room's journal.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    /// In which start of the server each happened.
    generations: Vec<u32>,
    /// The same as lines, if classic peers are in that room.
    lines: Vec<Box<str>>,
    /// Where the messages are among the entries, by their numbers.
    messages: Vec<usize>,
    /// How many bytes all messages up to each have together.
    bytes: Vec<u64>,
    /// How the room is called; not known before the first look at the server.
    pub(crate) name: Option<String>,
    /// What it is about.
    topic: Option<About>,
    /// Who is in the room.
    members: BTreeMap<SessionId, String>,
    /// Messages of clients in it, by client and number.
    numbers: BTreeSet<(u32, u64)>,
    /// Those that were kept before the server crashed, and told to nobody then.
    pub(crate) untold: BTreeSet<u64>,
    /// The last message of each session.
    last_of: BTreeMap<(u32, SessionId), u64>,
}

impl Log {
    /// The number given out last.
    pub(crate) fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The message with this number.
    pub(crate) fn message(&self, seq: u64) -> Option<&Entry> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.entries.get(*self.messages.get(index)?)
    }

    /// True when a message of a client is in it.
    pub(crate) fn has_message(&self, client: u32, number: u64) -> bool {
        self.numbers.contains(&(client, number))
    }

    /// After which message somebody is told, who knows all up to `seq`: what is told him again, up to `last`, has no more than so many bytes.
    pub(crate) fn told_up_to(&self, seq: u64, last: u64, first_remembered: u64, most_bytes: u64) -> u64 {
        let up_to = |seq: u64| seq.checked_sub(1).map_or(0, |at| self.bytes[at as usize]);
        let mut told = last;
        while told > seq && up_to(last) - up_to(told - 1) <= most_bytes {
            told -= 1;
        }
        // What is not remembered is not told, however small it is.
        if told < first_remembered { seq } else { told }
    }

    /// What the room was about before the entry at `place`.
    pub(crate) fn topic_at(&self, place: usize) -> Option<About> {
        let earlier = self.entries.get(..place).unwrap_or(&self.entries);
        let last = earlier.iter().rev().find_map(|entry| match entry {
            Entry::Topic(about) => Some(about.clone()),
            Entry::Joined { .. }
            | Entry::Left { .. }
            | Entry::Said { .. }
            | Entry::Renamed { .. }
            | Entry::Restarted => None,
        });
        last.and_then(About::kept)
    }

    /// True when somebody is in the room.
    pub(crate) fn has_member(&self, session: SessionId) -> bool {
        self.members.contains_key(&session)
    }

    /// What a classic peer reads at a place.
    pub(crate) fn line(&self, place: usize) -> Option<&str> {
        self.lines.get(place).map(|line| &**line)
    }

    /// In which start of the server an entry happened.
    pub(crate) fn generation(&self, place: usize) -> u32 {
        self.generations.get(place).copied().unwrap_or_default()
    }

    /// Who was in the room before the entry at `place`, and as whom.
    pub(crate) fn members_at(&self, place: usize) -> BTreeMap<SessionId, String> {
        let mut members = BTreeMap::new();
        for entry in self.entries.iter().take(place) {
            follow(&mut members, entry);
        }
        members
    }

    fn push(&mut self, generation: u32, entry: Entry, bytes: usize, line: Option<Box<str>>) {
        follow(&mut self.members, &entry);
        match &entry {
            Entry::Said { .. } => {
                self.messages.push(self.entries.len());
                self.bytes.push(self.bytes.last().unwrap_or(&0) + bytes as u64);
            }
            Entry::Topic(about) => self.topic = about.clone().kept(),
            Entry::Joined { .. } | Entry::Left { .. } | Entry::Renamed { .. } | Entry::Restarted => {}
        }
        self.entries.push(entry);
        self.generations.push(generation);
        self.lines.extend(line);
    }
}

fn follow(members: &mut BTreeMap<SessionId, String>, entry: &Entry) {
    match entry {
        Entry::Joined { session, name } => {
            members.insert(*session, name.clone());
        }
        Entry::Left { session, .. } => {
            members.remove(session);
        }
        Entry::Renamed { session, name, .. } => {
            if let Some(known) = members.get_mut(session) {
                known.clone_from(name);
            }
        }
        Entry::Restarted => members.clear(),
        Entry::Said { .. } | Entry::Topic(_) => {}
    }
}

/// What a client said: by its number the text's hash, in which of its lives it was, and where.
pub(crate) type Said = Vec<Spoken>;

/// A message of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) text: u64,
    pub(crate) life: u32,
    pub(crate) to: To,
}

/// Where something is said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum To {
    #[default]
    Nobody,
    /// In a room that is called so.
    Room(String),
    /// Alone to whom the client is alone with there.
    Alone(PlaceId),
}

/// The message of a client with this number.
pub(crate) fn spoken(said: &[Said], client: u32, number: u64) -> Option<&Spoken> {
    said.get(client as usize)?.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

/// All logs and sessions.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) generation: u32,
    logs: BTreeMap<LogId, Log>,
    /// The numberings of rooms that exist.
    open: BTreeMap<RoomId, LogId>,
    sessions: BTreeMap<(u32, SessionId), Owner>,
    /// Messages whose room is not known by its name yet: where they are, whose, and which.
    unnamed: Vec<(LogId, u32, u64)>,
    /// There are classic peers, and the log of the room in which all of them are.
    has_classics: bool,
    classic: Option<LogId>,
}

impl Logs {
    pub(crate) fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(&id)
    }

    /// No logs yet.
    pub(super) fn new(has_classics: bool) -> Self {
        Self { has_classics, ..Self::default() }
    }

    /// The numbering of a room of the running server.
    pub(crate) fn of_room(&self, room: RoomId) -> LogId {
        self.open.get(&room).copied().unwrap_or(LogId { generation: self.generation, room })
    }

    /// The log of the room in which classic peers are.
    pub(crate) fn classic(&self) -> Option<(LogId, &Log)> {
        let id = self.classic?;
        Some((id, self.logs.get(&id)?))
    }

    /// Whose a session of a start of the server is.
    pub(crate) fn owner(&self, generation: u32, session: SessionId) -> Option<Owner> {
        self.sessions.get(&(generation, session)).copied()
    }

    /// A session is somebody's; false when it was somebody else's.
    pub(crate) fn assign(&mut self, session: SessionId, owner: Owner) -> bool {
        *self.sessions.entry((self.generation, session)).or_insert(owner) == owner
    }

    /// True when a message of a client is in any room's log.
    pub(crate) fn has_message(&self, client: u32, number: u64) -> bool {
        self.logs.values().any(|log| log.has_message(client, number))
    }

    /// The server was started again, with what it had kept: all that anybody was told is there. How many messages it kept and told nobody.
    pub(crate) fn restarted(
        &mut self,
        server: &Server,
        kept: &BTreeMap<RoomId, OnDisk<'_>>,
        said: &[Said],
        fail: &mut impl FnMut(Rule, String),
    ) -> u64 {
        self.generation += 1;
        self.classic = None;
        self.unnamed.clear();
        let hub = server.hub();
        let mut untold = 0;
        if !hub.is_lasting() {
            self.open.clear();
            return untold;
        }
        for (room, id) in &self.open {
            let log = self.logs.get(id);
            let last = log.map_or(0, Log::last);
            let found =
                hub.numberings().find(|(found, ..)| found == room).map_or(0, |(.., last)| last.to_wire());
            if found < last {
                fail(
                    Rule::Lasting,
                    format!("{last} messages of {room:?} were told, {found} are found again"),
                );
            }
            let topics = kept.get(room).map_or(&[][..], |kept| kept.topics);
            if let Some(told) = log.and_then(|log| log.entries.iter().rev().find_map(topic_in))
                && !topics.iter().any(|kept| About::of(kept) == *told)
            {
                fail(
                    Rule::Lasting,
                    format!("{room:?} was told to be about {told:?}, and {topics:?} was kept"),
                );
            }
        }
        self.open.retain(|room, _| hub.numberings().any(|(found, ..)| found == *room));
        for (room, _, last) in hub.numberings() {
            let id = self.of_room(room);
            self.open.insert(room, id);
            let log = self.logs.entry(id).or_default();
            let is_classic = self.has_classics
                && hub.room_names().any(|(other, name)| other == room && name.as_str() == DEFAULT_ROOM);
            let line = |text: &str| is_classic.then(|| text.into());
            log.push(self.generation, Entry::Restarted, 0, line(""));
            let OnDisk { messages, topics } = kept.get(&room).copied().unwrap_or_default();
            // It may have been kept and told to nobody.
            let topic = topics.last().map(About::of);
            if topic.as_ref() != log.entries.iter().rev().find_map(topic_in)
                && let Some(topic) = topic
            {
                log.push(self.generation, Entry::Topic(topic), 0, line(""));
            }
            if hub.topic_of(room).map(About::of) != log.topic {
                fail(
                    Rule::Lasting,
                    format!("{room:?} is about {:?}, not {:?}", hub.topic_of(room), log.topic),
                );
            }
            for kept in messages {
                let (seq, name, text) = (kept.seq.to_wire(), kept.name.as_str(), hash(kept.text.as_bytes()));
                if seq <= log.last() {
                    let is_same = matches!(log.message(seq), Some(Entry::Said { name: n, text: t, .. })
                        if n == name && *t == text);
                    if !is_same {
                        let what =
                            format!("at {seq} of {room:?} there was another message than {}", kept.text);
                        fail(Rule::Lasting, what);
                    }
                    continue;
                }
                let number = Message::parse(&kept.text);
                let owner = number.and_then(|Message { client, number }| {
                    let spoken = spoken(said, client, number).filter(|spoken| spoken.text == text)?;
                    Some(Owner::Client { client, life: spoken.life })
                });
                if let (Some(Message { client, number }), Some(_)) = (number, owner)
                    && !log.numbers.insert((client, number))
                {
                    fail(Rule::NothingTwice, format!("message {number} of client {client} was kept twice"));
                }
                untold += 1;
                log.untold.insert(seq);
                let line = line(&format!("{name}: {}", escape(&kept.text)));
                let said = Entry::Said { seq, owner, name: name.to_owned(), text };
                log.push(self.generation, said, kept.cost(), line);
            }
            if log.last() != last.to_wire() {
                let what = format!("{room:?} goes on after {}, {} are known", last.to_wire(), log.last());
                fail(Rule::Lasting, what);
            }
        }
        untold
    }

    /// The server tells the members of a room of something.
    pub(crate) fn happened(
        &mut self,
        event: &ServerEvent,
        now: Instant,
        said: &[Said],
        classics: &mut Classics,
        fail: &mut impl FnMut(Rule, String),
    ) {
        let generation = self.generation;
        if event.room().is_some_and(RoomId::is_private) {
            return fail(Rule::Private, format!("the operator was told: {event:?}"));
        }
        let mut bytes = 0;
        let (entry, room, line) = match event {
            ServerEvent::Resumed { .. } => return,
            ServerEvent::Renamed { member, former, name } => {
                return self.renamed(*member, former.as_str(), name.as_str());
            }
            ServerEvent::Topic { room, topic, .. } => {
                let (by, text) = (topic.by.as_str(), escape(&topic.text));
                let line = match &*topic.text {
                    "" => format!("{by} removed the topic."),
                    _ => format!("{by} set the topic: {text}"),
                };
                (Entry::Topic(About::of(topic)), *room, line)
            }
            ServerEvent::Joined { room, member, name, .. } => {
                let name = name.as_str().to_owned();
                let line = format!("{name} has joined the chat!");
                (Entry::Joined { session: *member, name }, *room, line)
            }
            ServerEvent::Left { room, member, name, reason, .. } => {
                let name = name.as_str().to_owned();
                let line = format!("{name} has left the chat.");
                (Entry::Left { session: *member, name, reason: *reason }, *room, line)
            }
            ServerEvent::Said { room, seq, member, name, text, .. } => {
                let owner = self.owner(generation, *member);
                let (seq, name) = (seq.to_wire(), name.as_str().to_owned());
                let line = format!("{name}: {}", escape(text));
                if let Some(Owner::Classic(conn)) = owner {
                    if let Err((rule, what)) = classics.has_said(conn, &name, text, now) {
                        fail(rule, format!("classic connection {} {what}", conn.0));
                    }
                } else {
                    let id = self.of_room(*room);
                    let log = self.logs.entry(id).or_default();
                    let number = judge_text(log, (generation, *member), owner, text, said, fail);
                    self.unnamed.extend(number.map(|(client, number)| (id, client, number)));
                }
                bytes = text.len() + MESSAGE_COST;
                (Entry::Said { seq, owner, name, text: hash(text.as_bytes()) }, *room, line)
            }
        };
        let id = self.of_room(room);
        let log = self.logs.entry(id).or_default();
        if let Entry::Said { seq, .. } = entry
            && seq != log.last() + 1
        {
            fail(Rule::OneOrder, format!("room {room:?} goes on at {seq} after {}", log.last()));
        }
        // Whoever opens the default room for classic peers joins it first.
        let is_classic = self.has_classics && log.lines.len() == log.entries.len();
        log.push(generation, entry, bytes, is_classic.then(|| line.into_boxed_str()));
        self.open.insert(room, id);
    }

    /// All who share a room with somebody are told that he has another name.
    fn renamed(&mut self, session: SessionId, former: &str, name: &str) {
        let generation = self.generation;
        for id in self.open.values() {
            let Some(log) = self.logs.get_mut(id).filter(|log| log.has_member(session)) else { continue };
            let line = format!("{former} is called {name} now.");
            let is_classic = self.has_classics && log.lines.len() == log.entries.len();
            let entry = Entry::Renamed { session, former: former.to_owned(), name: name.to_owned() };
            log.push(generation, entry, 0, is_classic.then(|| line.into_boxed_str()));
        }
    }

    /// Holds what the server has against what it told.
    pub(crate) fn observe(&mut self, server: &Server, said: &[Said], fail: &mut impl FnMut(Rule, String)) {
        let Self { generation, logs, open, has_classics, classic, unnamed, .. } = self;
        let hub = server.hub();
        if *has_classics {
            let room = hub.room_names().find(|(_, name)| name.as_str() == DEFAULT_ROOM);
            *classic = room.and_then(|(room, _)| open.get(&room).copied());
        }
        open.retain(|&id, _| hub.numberings().any(|(room, ..)| room == id));
        for (room, _, last) in hub.numberings().filter(|(room, ..)| !room.is_private()) {
            let id = *open.entry(room).or_insert(LogId { generation: *generation, room });
            let log = logs.entry(id).or_default();
            if log.name.is_none() {
                log.name = hub.name_of_room(room).map(|name| name.as_str().to_owned());
            }
            if hub.topic_of(room).map(About::of) != log.topic {
                let what = format!(
                    "{room:?} is about {:?}, the others were told {:?}",
                    hub.topic_of(room),
                    log.topic
                );
                fail(Rule::OneOrder, what);
            }
            if last.to_wire() != log.last() {
                let what = format!("room {room:?} is at {}, and told {}", last.to_wire(), log.last());
                fail(Rule::OneOrder, what);
            }
            let is_same = hub.members_of(room).count() == log.members.len()
                && hub.members_of(room).all(|member| {
                    log.members.get(&member.session).is_some_and(|known| *known == member.name.as_str())
                });
            if !is_same {
                let members: Vec<_> = hub.members_of(room).collect();
                let what = format!("in {room:?} are {members:?}, and the others were told {:?}", log.members);
                fail(Rule::OneOrder, what);
            }
        }
        for (id, client, number) in unnamed.drain(..) {
            let name = logs.get(&id).and_then(|log| log.name.clone()).map(To::Room);
            let to = spoken(said, client, number).map(|spoken| &spoken.to);
            // A room that was gone before anybody looked is called nothing.
            if name.is_some() && to != name.as_ref() {
                fail(
                    Rule::NoForgery,
                    format!("message {number} of client {client} was said {to:?}, not {name:?}"),
                );
            }
        }
    }
}

fn topic_in(entry: &Entry) -> Option<&About> {
    match entry {
        Entry::Topic(about) => Some(about),
        Entry::Joined { .. }
        | Entry::Left { .. }
        | Entry::Said { .. }
        | Entry::Renamed { .. }
        | Entry::Restarted => None,
    }
}

/// A message in the log is one that its session's owner said, and not twice: whose, and which.
fn judge_text(
    log: &mut Log,
    session: (u32, SessionId),
    owner: Option<Owner>,
    text: &str,
    said: &[Said],
    fail: &mut impl FnMut(Rule, String),
) -> Option<(u32, u64)> {
    let client = match owner {
        Some(Owner::Client { client, .. }) => client,
        Some(Owner::Stranger(_) | Owner::Classic(_)) => return None,
        None => {
            fail(Rule::NoForgery, format!("{session:?}, which is nobody's, said: {text}"));
            return None;
        }
    };
    let number = Message::parse(text).filter(|message| message.client == client).map(|m| m.number);
    let is_said = number.and_then(|number| spoken(said, client, number));
    let Some(number) = number.filter(|_| is_said.is_some_and(|known| known.text == hash(text.as_bytes())))
    else {
        fail(Rule::NoForgery, format!("client {client} is said to have said: {text}"));
        return None;
    };
    let last = log.last_of.insert(session, number).unwrap_or(0);
    if number <= last || !log.numbers.insert((client, number)) {
        fail(Rule::NothingTwice, format!("message {number} of client {client} came after its number {last}"));
    }
    Some((client, number))
}
