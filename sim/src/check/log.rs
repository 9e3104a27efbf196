//! What the server did: the journal of every room, in the order in which its members were told, and who was let in as whom.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    Instant, RoomId, SessionId,
    history::KeptMessage,
    hub::LeaveReason,
    limits::DEFAULT_ROOM,
    server::{Server, ServerEvent},
    text::escape,
};

use super::{Rule, classic::Classics};
use crate::{person::Message, tcp::ConnId, trace::hash};

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
    /// The server was started again, and has found this room.
    Restarted,
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

    fn push(&mut self, generation: u32, entry: Entry, line: Option<Box<str>>) {
        follow(&mut self.members, &entry);
        if let Entry::Said { .. } = entry {
            self.messages.push(self.entries.len());
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
        Entry::Restarted => members.clear(),
        Entry::Said { .. } => {}
    }
}

/// What a client said: by its number the text's hash, and in which of its lives it was.
pub(crate) type Said = Vec<(u64, u32)>;

/// All logs and sessions.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) generation: u32,
    logs: BTreeMap<LogId, Log>,
    /// The numberings of rooms that exist.
    open: BTreeMap<RoomId, LogId>,
    sessions: BTreeMap<(u32, SessionId), Owner>,
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
        kept: &BTreeMap<RoomId, &[KeptMessage]>,
        said: &[Said],
        fail: &mut impl FnMut(Rule, String),
    ) -> u64 {
        self.generation += 1;
        self.classic = None;
        let hub = server.hub();
        let mut untold = 0;
        if !hub.is_lasting() {
            self.open.clear();
            return untold;
        }
        for (room, id) in &self.open {
            let last = self.logs.get(id).map_or(0, Log::last);
            let found =
                hub.numberings().find(|(found, ..)| found == room).map_or(0, |(.., last)| last.to_wire());
            if found < last {
                fail(
                    Rule::Lasting,
                    format!("{last} messages of {room:?} were told, {found} are found again"),
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
            log.push(self.generation, Entry::Restarted, line(""));
            for kept in kept.get(&room).copied().unwrap_or_default() {
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
                    let (hash, life) =
                        *said.get(client as usize)?.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
                    (hash == text).then_some(Owner::Client { client, life })
                });
                if let (Some(Message { client, number }), Some(_)) = (number, owner)
                    && !log.numbers.insert((client, number))
                {
                    fail(Rule::NothingTwice, format!("message {number} of client {client} was kept twice"));
                }
                untold += 1;
                log.untold.insert(seq);
                let line = line(&format!("{name}: {}", escape(&kept.text)));
                log.push(self.generation, Entry::Said { seq, owner, name: name.to_owned(), text }, line);
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
        let (entry, room, line) = match event {
            ServerEvent::Resumed { .. } => return,
            ServerEvent::Joined { room, member, name } => {
                let name = name.as_str().to_owned();
                let line = format!("{name} has joined the chat!");
                (Entry::Joined { session: *member, name }, *room, line)
            }
            ServerEvent::Left { room, member, name, reason } => {
                let name = name.as_str().to_owned();
                let line = format!("{name} has left the chat.");
                (Entry::Left { session: *member, name, reason: *reason }, *room, line)
            }
            ServerEvent::Said { room, seq, member, name, text } => {
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
                    judge_text(log, (generation, *member), owner, text, said, fail);
                }
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
        log.push(generation, entry, is_classic.then(|| line.into_boxed_str()));
        self.open.insert(room, id);
    }

    /// Holds what the server has against what it told.
    pub(crate) fn observe(&mut self, server: &Server, fail: &mut impl FnMut(Rule, String)) {
        let Self { generation, logs, open, has_classics, classic, .. } = self;
        let hub = server.hub();
        if *has_classics {
            let room = hub.room_names().find(|(_, name)| name.as_str() == DEFAULT_ROOM);
            *classic = room.and_then(|(room, _)| open.get(&room).copied());
        }
        open.retain(|&id, _| hub.numberings().any(|(room, ..)| room == id));
        for (room, _, last) in hub.numberings() {
            let id = *open.entry(room).or_insert(LogId { generation: *generation, room });
            let log = logs.entry(id).or_default();
            if last.to_wire() != log.last() {
                let what = format!("room {room:?} is at {}, and told {}", last.to_wire(), log.last());
                fail(Rule::OneOrder, what);
            }
            let is_same = hub.members_of(room).count() == log.members.len()
                && hub
                    .members_of(room)
                    .all(|(id, name)| log.members.get(&id).is_some_and(|known| *known == name.as_str()));
            if !is_same {
                let members: Vec<_> = hub.members_of(room).collect();
                let what = format!("in {room:?} are {members:?}, and the others were told {:?}", log.members);
                fail(Rule::OneOrder, what);
            }
        }
    }
}

/// A message in the log is one that its session's owner said, and not twice.
fn judge_text(
    log: &mut Log,
    session: (u32, SessionId),
    owner: Option<Owner>,
    text: &str,
    said: &[Said],
    fail: &mut impl FnMut(Rule, String),
) {
    let client = match owner {
        Some(Owner::Client { client, .. }) => client,
        Some(Owner::Stranger(_) | Owner::Classic(_)) => return,
        None => return fail(Rule::NoForgery, format!("{session:?}, which is nobody's, said: {text}")),
    };
    let number = Message::parse(text).filter(|message| message.client == client).map(|m| m.number);
    let of_client = said.get(client as usize);
    let is_said = number.and_then(|number| of_client?.get(usize::try_from(number).ok()?.checked_sub(1)?));
    let Some(number) = number.filter(|_| is_said.is_some_and(|(known, _)| *known == hash(text.as_bytes())))
    else {
        return fail(Rule::NoForgery, format!("client {client} is said to have said: {text}"));
    };
    let last = log.last_of.insert(session, number).unwrap_or(0);
    if number <= last || !log.numbers.insert((client, number)) {
        fail(Rule::NothingTwice, format!("message {number} of client {client} came after its number {last}"));
    }
}
