//! What a fuzzer's bytes mean to a server: a list of things that peers do.

use arbitrary::{Arbitrary, Result, Unstructured};
use chinwag_proto::{
    SessionId,
    wire::{
        chinwag1 as pb,
        control::{VERSION, write_to_server, write_voice},
        voice::VoiceFrame,
    },
};

/// Peers of one history. Several at a time come from one address; the server cannot tell.
pub(crate) const PEERS: u32 = 6;
/// Names from which they choose: some no names, some the same by another spelling.
const NAMES: [&str; 8] =
    ["Foo", "foo", "Bar", "", "\u{202e}evil", "Ａnna", " Anna ", "a-name-that-is-longer-than-32-characters"];
const ROOMS: [&str; 4] = ["", "lobby", "Den", "\n"];
const TEXTS: [&str; 5] = ["hello", "", "{quit}", "\u{1b}[2J", " "];

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Op {
    Accept,
    /// Any bytes on the stream.
    Bytes(Vec<u8>),
    /// A message in its proper form, cut after some bytes in some cases.
    Frame {
        kind: Frame,
        cut: Option<u8>,
    },
    /// An authentic datagram with any payload.
    Datagram {
        kind: u8,
        payload: Vec<u8>,
    },
    /// An authentic datagram with voice, in one's own name or another's.
    Voice {
        forged: bool,
        sequence: u32,
    },
    Close,
    Overflow,
    /// Time passes, in milliseconds.
    Wait(u16),
    /// The store does something, if there is one.
    Store(Store),
    Shutdown,
}

/// What a store does.
#[derive(Debug)]
pub(crate) enum Store {
    /// It keeps so many of the next that it was given.
    Keeps(u8),
    /// It can keep nothing of what it was given.
    Refuses { is_full: bool },
    /// It answers one of the questions, or cannot.
    Answers { which: u8, can: bool },
    /// It has forgotten all but so many messages of a room.
    Forgets { room: u8, left: u8 },
    /// It says of an earlier run what is of no use any more, and answers what nobody asked.
    IsLate(u8),
    /// The server is killed, and started again with what is kept. From here on there is a store.
    Restores,
}

/// Messages that need to know something of the server's answers are filled in by whoever plays them.
#[derive(Debug)]
pub(crate) enum Frame {
    /// With no rooms: in those that the former session was in.
    Hello {
        name: &'static str,
        rooms: Vec<Wanted>,
        resume: Option<Resume>,
    },
    Join(Wanted),
    Part(u8),
    VoiceIn(u8),
    Topic {
        room: u8,
        text: &'static str,
    },
    Name(&'static str),
    Marks(u8),
    ListRooms,
    Say {
        room: u8,
        id: u64,
        text: String,
    },
    Ping(u64),
    Pong(u64),
    Quit,
    Path(i32),
    Report {
        on: u32,
        lost: u32,
    },
    Voice {
        sequence: u32,
    },
    Version(u32),
    History {
        room: u8,
        before: u8,
        limit: u8,
        words: &'static str,
    },
}

/// A room that somebody wants to be in: by its name, or alone with somebody.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    pub(crate) with: &'static str,
}

/// How somebody resumes: whose session, and honestly or not.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The session that this peer's handle was given last.
    pub(crate) of: u32,
    pub(crate) last_seq: u8,
    pub(crate) is_honest: bool,
}

/// What a peer's handle was told in its last welcome, and of rooms since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) session: u32,
    pub(crate) token: Vec<u8>,
    /// The rooms that it is in, or was, with their epochs and with whom it is alone there.
    pub(crate) rooms: Vec<pb::Claim>,
    /// By what its client is known again.
    pub(crate) author: Vec<u8>,
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Beside the sixteenths that were there before there was a store: what is in the corpus keeps its meaning.
        let what = match u.arbitrary::<u8>()? {
            byte @ 240.. => return Ok(Self::Store(Store::arbitrary_of(byte - 240, u)?)),
            byte => byte % 16,
        };
        Ok(match what {
            0 | 1 => Self::Accept,
            2 => {
                let length = usize::from(u.arbitrary::<u8>()?).min(u.len());
                Self::Bytes(u.bytes(length)?.to_vec())
            }
            3..=8 => Self::Frame { kind: u.arbitrary()?, cut: None },
            9 => Self::Frame { kind: u.arbitrary()?, cut: Some(u.arbitrary()?) },
            10 => {
                let (kind, length) = (u.arbitrary()?, usize::from(u.arbitrary::<u8>()?).min(u.len()));
                Self::Datagram { kind, payload: u.bytes(length)?.to_vec() }
            }
            11 => Self::Voice { forged: u.ratio(1u8, 8u8)?, sequence: u.arbitrary()? },
            12 => Self::Close,
            13 | 14 => Self::Wait(u.arbitrary()?),
            _ if u.ratio(1u8, 8u8)? => Self::Shutdown,
            _ => Self::Overflow,
        })
    }
}

impl Store {
    fn arbitrary_of(what: u8, u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match what {
            0..=5 => Self::Keeps(u.arbitrary::<u8>()? % 8),
            6 | 7 => Self::Refuses { is_full: u.arbitrary()? },
            8..=10 => Self::Answers { which: u.arbitrary()?, can: !u.ratio(1u8, 4u8)? },
            11 | 12 => Self::Forgets { room: u.arbitrary::<u8>()? % 4, left: u.arbitrary::<u8>()? % 4 },
            13 => Self::IsLate(u.arbitrary()?),
            _ => Self::Restores,
        })
    }
}

impl<'a> Arbitrary<'a> for Frame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let what = match u.arbitrary::<u8>()? {
            240.. => {
                let (room, before, limit) =
                    (u.arbitrary::<u8>()?, u.arbitrary::<u8>()?, u.arbitrary::<u8>()?);
                return Ok(Self::History { room, before, limit, words: u.choose(&TEXTS)? });
            }
            232..=239 => return Self::of_rooms(u),
            byte => byte % 16,
        };
        let named = |name| vec![Wanted { name, with: "" }];
        Ok(match what {
            0..=3 => Self::Hello { name: u.choose(&NAMES)?, rooms: named(u.choose(&ROOMS)?), resume: None },
            4 | 5 => {
                let resume = Resume {
                    of: u.arbitrary::<u32>()? % PEERS,
                    last_seq: u.arbitrary()?,
                    is_honest: !u.ratio(1u8, 4u8)?,
                };
                Self::Hello { name: u.choose(&NAMES)?, rooms: named(u.choose(&ROOMS)?), resume: Some(resume) }
            }
            6..=8 => {
                let text = match u.arbitrary::<u8>()? {
                    byte @ 0..=199 => TEXTS[usize::from(byte) % TEXTS.len()].to_owned(),
                    byte => "x".repeat(usize::from(byte - 199) * 80),
                };
                Self::Say { room: u.arbitrary()?, id: u.arbitrary::<u8>()?.into(), text }
            }
            9 => Self::Ping(u.arbitrary()?),
            10 => Self::Pong(u.arbitrary()?),
            11 => Self::Quit,
            12 => Self::Path(i32::from(u.arbitrary::<u8>()?) % 4),
            13 => Self::Report { on: u.arbitrary::<u32>()? % PEERS, lost: u.arbitrary()? },
            14 => Self::Voice { sequence: u.arbitrary()? },
            _ => Self::Version(u.arbitrary()?),
        })
    }
}

impl Frame {
    /// What is about several rooms, about names and marks.
    fn of_rooms(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 16 {
            0..=3 => Self::Join(wanted(u)?),
            4 | 5 => Self::Part(u.arbitrary()?),
            6 => Self::VoiceIn(u.arbitrary()?),
            7 | 8 => Self::Topic { room: u.arbitrary()?, text: u.choose(&TEXTS)? },
            9 | 10 => Self::Name(u.choose(&NAMES)?),
            11 => Self::Marks(u.arbitrary()?),
            12 => Self::ListRooms,
            // As it was, as far as it is known, and with some rooms more.
            13 => {
                let (of, last_seq) = (u.arbitrary::<u32>()? % PEERS, u.arbitrary()?);
                let resume = Some(Resume { of, last_seq, is_honest: true });
                Self::Hello { name: u.choose(&NAMES)?, rooms: Vec::new(), resume }
            }
            _ => {
                let count = u.arbitrary::<u8>()? % 4;
                let rooms = (0..count).map(|_| wanted(u)).collect::<Result<_>>()?;
                Self::Hello { name: u.choose(&NAMES)?, rooms, resume: None }
            }
        })
    }

    /// Its bytes, as the peer that knows `known` sends it.
    pub(crate) fn bytes(self, me: &Known, all: &[Known]) -> Vec<u8> {
        use pb::to_server::Kind;
        let mut out = Vec::new();
        let hello = |versions: Vec<u32>, name: &str, rooms: Vec<pb::Claim>, resume, author| {
            let (name, voice) = (name.to_owned(), rooms.first().map_or(0, |claim| claim.key));
            Kind::Hello(pb::Hello { versions, name, rooms, voice, resume, author, ..Default::default() })
        };
        // Most often a room that one is in.
        let mine = |room: u8| match usize::from(room) {
            at @ ..200 if !me.rooms.is_empty() => me.rooms[at % me.rooms.len()].room,
            at @ 200..220 => (1 << 24) + at as u32 - 200,
            at => at as u32,
        };
        let kind = match self {
            Self::Hello { name, rooms, resume } => {
                // Whose session it is, is the same client.
                let whose = resume.as_ref().and_then(|resume| all.get(resume.of as usize)).unwrap_or(me);
                let author = whose.author.clone();
                let mut claims: Vec<_> = rooms.iter().zip(1..).map(|(room, key)| room.claim(key)).collect();
                if let Some(resume) = &resume {
                    let seen =
                        |claim: &pb::Claim| pb::Claim { last_seq: resume.last_seq.into(), ..claim.clone() };
                    // Of one room by its name the epoch is that of the first.
                    match &mut claims[..] {
                        [] => claims = whose.rooms.iter().map(seen).collect(),
                        [first, ..] => {
                            first.epoch = whose.rooms.first().map_or(0, |room| room.epoch);
                            first.last_seq = resume.last_seq.into();
                        }
                    }
                }
                let resume = resume.map(|resume| {
                    let Known { session, mut token, .. } = whose.clone();
                    if !resume.is_honest {
                        token.pop();
                    }
                    pb::Resume { session, token, attempt: 0 }
                });
                hello(vec![VERSION], name, claims, resume, author)
            }
            Self::Version(version) => hello(vec![version], "Foo", Vec::new(), None, Vec::new()),
            Self::Join(wanted) => Kind::Join(wanted.claim(me.rooms.len() as u32 + 1)),
            Self::Part(room) => Kind::Part(pb::Part { room: mine(room) }),
            Self::VoiceIn(room) => Kind::VoiceRoom(pb::VoiceRoom { room: mine(room) }),
            Self::Topic { room, text } => {
                Kind::Topic(pb::SetTopic { room: mine(room), text: text.to_owned() })
            }
            Self::Name(name) => Kind::Name(pb::SetName { name: name.to_owned() }),
            Self::Marks(bits) => Kind::Marks(pb::Marks { muted: bits & 1 > 0, deafened: bits & 2 > 0 }),
            Self::ListRooms => Kind::ListRooms(pb::ListRooms {}),
            Self::Say { room, id, text } => Kind::Say(pb::Say { room: mine(room), id, text }),
            Self::History { room, before, limit, words } => {
                let room = mine(room);
                let (before, limit, words) = (before.into(), limit.into(), words.to_owned());
                Kind::History(pb::HistoryRequest { room, before, limit, words, token: limit })
            }
            Self::Ping(token) => Kind::Ping(pb::Ping { token }),
            Self::Pong(token) => Kind::Pong(pb::Ping { token }),
            Self::Quit => Kind::Quit(pb::Quit {}),
            Self::Path(path) => Kind::VoicePath(pb::SetVoicePath { path }),
            Self::Report { on, lost } => {
                let talker = all.get(on as usize).map_or(0, |known| known.session);
                let (lost_per_mille, queue_ms) = (lost & 0x3ff, lost >> 16);
                Kind::VoiceReport(pb::VoiceReport { talker, lost_per_mille, queue_ms, ..Default::default() })
            }
            Self::Voice { sequence } => {
                write_voice(&mut out, &voice(me.session, sequence));
                return out;
            }
        };
        write_to_server(&mut out, kind);
        out
    }
}

impl Wanted {
    fn claim(&self, key: u32) -> pb::Claim {
        pb::Claim { key, name: self.name.to_owned(), with: self.with.to_owned(), ..Default::default() }
    }
}

fn wanted(u: &mut Unstructured<'_>) -> Result<Wanted> {
    let (mut name, mut with) = ("", "");
    if u.arbitrary::<u8>()? % 3 == 0 {
        with = *u.choose(&NAMES)?;
    } else {
        name = *u.choose(&ROOMS)?;
    }
    Ok(Wanted { name, with })
}

/// A payload of one small voice frame.
pub(crate) fn voice(talker: u32, sequence: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    let talker = SessionId::from_wire(talker);
    VoiceFrame { talker, sequence, end: false, level: 30, opus: b"opus" }.write(&mut payload);
    payload
}
