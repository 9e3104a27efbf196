//! What the server did: the log of every room as it grew, and who was let in as whom.

use std::collections::BTreeMap;

use chinwag_proto::{
    Instant, RoomId, Seq, SessionId,
    hub::{Event, LeaveReason, What},
    limits::DEFAULT_ROOM,
    server::Server,
    text::escape,
};

use super::{Rule, classic::Classics};
use crate::{person::Message, tcp::ConnId, trace::hash};

/// A numbering of a room: which start of the server, and which room of it.
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

/// A place of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// The server forgot it before anybody looked.
    Unknown,
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
        session: SessionId,
        name: String,
        text: u64,
    },
}

impl Entry {
    /// True for one's own coming and going, of which nobody is told.
    pub(crate) fn is_unseen_by(&self, is_own: impl Fn(SessionId) -> bool) -> bool {
        match self {
            Self::Joined { session, .. } | Self::Left { session, .. } => is_own(*session),
            Self::Said { .. } | Self::Unknown => false,
        }
    }
}

/// A place of a log as a classic peer reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'a> {
    /// There is nothing there yet.
    None,
    /// The server forgot it before anybody looked.
    Unknown,
    Known(&'a str),
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    /// The same as lines, if classic peers are in that room.
    lines: Vec<Option<Box<str>>>,
    /// The room is forgotten: what happened there last, nobody has seen.
    is_over: bool,
    /// The last message of each session.
    last_of: BTreeMap<SessionId, u64>,
}

impl Log {
    /// The number given out last.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What happened at a place.
    pub(crate) fn at(&self, seq: u64) -> Option<&Entry> {
        let entry = self.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?);
        entry.or(if self.is_over { Some(&Entry::Unknown) } else { None })
    }

    /// What a classic peer reads at a place.
    pub(crate) fn line(&self, seq: u64) -> Line<'_> {
        let index = seq.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.lines.get(index)) {
            Some(line) => line.as_ref().map_or(Line::Unknown, |line| Line::Known(line)),
            None if self.is_over => Line::Unknown,
            None => Line::None,
        }
    }
}

/// All logs and sessions.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) generation: u32,
    logs: BTreeMap<LogId, Log>,
    sessions: BTreeMap<(u32, SessionId), Owner>,
    /// The logs of rooms that exist.
    open: Vec<LogId>,
    /// There are classic peers, and the log of the room in which all of them are.
    has_classics: bool,
    classic: Option<LogId>,
}

/// What a client said, by its number: the text's hash.
pub(crate) type Said = Vec<u64>;

impl Logs {
    pub(crate) fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(&id)
    }

    /// No logs yet.
    pub(super) fn new(has_classics: bool) -> Self {
        Self { has_classics, ..Self::default() }
    }

    /// The log of the room in which classic peers are.
    pub(crate) fn classic(&self) -> Option<(LogId, &Log)> {
        let id = self.classic.filter(|id| id.generation == self.generation)?;
        Some((id, self.logs.get(&id)?))
    }

    /// Whose a session of the running server is.
    pub(crate) fn owner(&self, generation: u32, session: SessionId) -> Option<Owner> {
        self.sessions.get(&(generation, session)).copied()
    }

    /// A session is somebody's; false when it was somebody else's.
    pub(crate) fn assign(&mut self, session: SessionId, owner: Owner) -> bool {
        *self.sessions.entry((self.generation, session)).or_insert(owner) == owner
    }

    /// Takes what is new in the server's rooms, and judges it.
    pub(crate) fn observe(
        &mut self,
        server: &Server,
        now: Instant,
        said: &[Said],
        classics: &mut Classics,
        fail: &mut impl FnMut(Rule, String),
    ) {
        let Self { generation, logs, sessions, open, has_classics, classic } = self;
        let hub = server.hub();
        if *has_classics {
            let room = hub.room_names().find(|(_, name)| name.as_str() == DEFAULT_ROOM);
            *classic = room.map(|(room, _)| LogId { generation: *generation, room });
        }
        open.retain(|&id| {
            let exists = id.generation == *generation && hub.numberings().any(|(room, ..)| room == id.room);
            if let Some(log) = logs.get_mut(&id).filter(|_| !exists) {
                log.is_over = true;
            }
            exists
        });
        for (room, _, last) in hub.numberings() {
            let id = LogId { generation: *generation, room };
            let log = logs.entry(id).or_insert_with(|| {
                open.push(id);
                Log::default()
            });
            if last.to_wire() < log.last() {
                fail(Rule::OneOrder, format!("room {room:?} went back to {}", last.to_wire()));
            }
            if last.to_wire() <= log.last() {
                continue;
            }
            let mut next = log.last() + 1;
            for (seq, event) in hub.events_after(room, Seq::from_wire(log.last())) {
                while next < seq.to_wire() {
                    log.entries.push(Entry::Unknown);
                    if *classic == Some(id) {
                        log.lines.push(None);
                        classics.has_missed();
                    }
                    next += 1;
                }
                next += 1;
                if *classic == Some(id) {
                    log.lines.push(Some(line_of(event)));
                }
                let (session, name) = (event.member, event.name.as_str().to_owned());
                let entry = match &event.what {
                    What::Joined => Entry::Joined { session, name },
                    What::Left(reason) => Entry::Left { session, name, reason: *reason },
                    What::Said { id: _, text } => {
                        match sessions.get(&(*generation, session)).copied() {
                            Some(Owner::Classic(conn)) => {
                                if let Err((rule, what)) = classics.has_said(conn, &name, text, now) {
                                    fail(rule, format!("classic connection {} {what}", conn.0));
                                }
                            }
                            owner => judge_text(log, session, owner, text, said, fail),
                        }
                        Entry::Said { session, name, text: hash(text.as_bytes()) }
                    }
                };
                log.entries.push(entry);
            }
            if next != last.to_wire() + 1 {
                fail(Rule::OneOrder, format!("room {room:?} says {} and holds {next}", last.to_wire()));
            }
        }
    }
}

/// An event as a classic peer reads it.
fn line_of(event: &Event) -> Box<str> {
    let name = event.name.as_str();
    let line = match &event.what {
        What::Joined => format!("{name} has joined the chat!"),
        What::Left(_) => format!("{name} has left the chat."),
        What::Said { text, .. } => format!("{name}: {}", escape(text)),
    };
    line.into_boxed_str()
}

/// A message in the log is one that its session's owner said, and not twice.
fn judge_text(
    log: &mut Log,
    session: SessionId,
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
    let Some(number) = number.filter(|_| is_said == Some(&hash(text.as_bytes()))) else {
        return fail(Rule::NoForgery, format!("client {client} is said to have said: {text}"));
    };
    let last = log.last_of.insert(session, number).unwrap_or(0);
    if number <= last {
        fail(Rule::NothingTwice, format!("message {number} of client {client} came after its number {last}"));
    }
}
