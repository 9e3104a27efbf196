//! What a fuzzer's bytes mean to a client: a list of things that a hostile server, the network and the user do.

use arbitrary::{Arbitrary, Result, Unstructured};
use chinwag_proto::{
    limits::{MEMBERS, MESSAGE_BYTES, NAME_BYTES, RESUME_TOKEN_BYTES},
    wire::{
        chinwag1 as pb,
        control::{write_to_client, write_voice},
    },
};

use crate::ops::voice;

/// Names that a server gives: proper ones, none, and one that is too long.
const NAMES: [&str; 6] = ["Foo", "Bar", "", "Foo 2", "\u{202e}evil: ", "\n"];
const TEXTS: [&str; 4] = ["hello", "", "\u{1b}[2J", "you cannot"];

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Op {
    /// The driver got through.
    Connected,
    /// It did not, or what it had ended.
    Disconnected,
    /// Any bytes on the stream.
    Bytes(Vec<u8>),
    /// A message in its proper form.
    Frame {
        kind: Frame,
        how: How,
    },
    /// An authentic datagram with any payload.
    Datagram {
        kind: u8,
        payload: Vec<u8>,
    },
    /// An authentic datagram with proper voice.
    Voice {
        talker: u8,
        sequence: u32,
    },
    /// The echo of the last probe.
    Echo,
    /// Time passes, in milliseconds.
    Wait(u16),
    /// The user says this so many times.
    Say {
        text: String,
        times: u8,
    },
    /// The user's voice: so many frames of so many bytes.
    SendVoice {
        frames: u8,
        bytes: u16,
    },
    /// The user asks for a part of the history.
    Ask {
        before: u8,
        limit: u8,
        words: String,
    },
    /// The user goes into a room or is alone with somebody, and says what he says there from now on.
    Join {
        name: u8,
        is_private: bool,
    },
    /// The user leaves one of his rooms.
    Part(u8),
    /// In which of his rooms the user says something from now on, and talks in some cases.
    Turn {
        which: u8,
        with_voice: bool,
    },
    /// What the room is about; the user's name; whether he is heard; which rooms there are.
    Topic(u8),
    Name(u8),
    Mute(bool),
    AskRooms,
    /// How somebody's voice arrives.
    Report {
        talker: u8,
        lost: u16,
    },
    /// The user wants another connection.
    Reconnect,
    /// The user leaves.
    Quit,
}

/// How a frame's bytes reach the client.
#[derive(Debug)]
pub(crate) enum How {
    Whole,
    /// In portions of so many bytes.
    Portions(u8),
    /// Only so many bytes of it.
    Cut(u8),
    /// Together with what comes next.
    Held,
}

/// Messages; what only the driver knows is filled in by it.
#[derive(Debug)]
pub(crate) enum Frame {
    Kind(pb::to_client::Kind),
    /// Let in, and in the first of the rooms, or so it says.
    Welcome(pb::Welcome, pb::Entered),
    /// To the last ping, or to none.
    Pong {
        is_honest: bool,
    },
    /// A message of one's own, told again.
    OwnSaid {
        id: u64,
        seq: u64,
    },
    Voice(Vec<u8>),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Beside the others, so that what is in the corpus keeps its meaning.
        let what = match u.arbitrary::<u8>()? {
            255 => return Ok(Self::Reconnect),
            240.. => {
                let (before, limit) = (u.arbitrary()?, u.arbitrary()?);
                return Ok(Self::Ask { before, limit, words: text(u)? });
            }
            232..=239 => return Self::of_rooms(u),
            byte => byte % 24,
        };
        Ok(match what {
            0 | 1 => Self::Connected,
            2 => Self::Disconnected,
            3 => Self::Bytes(bytes(u)?),
            4..=11 => Self::Frame { kind: u.arbitrary()?, how: u.arbitrary()? },
            12 => Self::Datagram { kind: u.arbitrary()?, payload: bytes(u)? },
            13 => Self::Voice { talker: u.arbitrary()?, sequence: u.arbitrary()? },
            14 => Self::Echo,
            15..=17 => Self::Wait(u.arbitrary()?),
            18 | 19 => {
                let text = match u.arbitrary::<u8>()? {
                    255 => "x".repeat(MESSAGE_BYTES + 1),
                    254 => "x".repeat(MESSAGE_BYTES),
                    byte => TEXTS[usize::from(byte) % TEXTS.len()].to_owned(),
                };
                Self::Say { text, times: u.arbitrary()? }
            }
            20 | 21 => Self::SendVoice { frames: u.arbitrary()?, bytes: u.arbitrary()? },
            22 => Self::Report { talker: u.arbitrary()?, lost: u.arbitrary()? },
            _ if u.ratio(1u8, 4u8)? => Self::Quit,
            _ => Self::Wait(1),
        })
    }
}

impl Op {
    fn of_rooms(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 16 {
            0..=3 => Self::Join { name: u.arbitrary()?, is_private: u.arbitrary()? },
            4..=6 => Self::Part(u.arbitrary()?),
            7..=9 => Self::Turn { which: u.arbitrary()?, with_voice: u.arbitrary()? },
            10 | 11 => Self::Topic(u.arbitrary()?),
            12 | 13 => Self::Name(u.arbitrary()?),
            14 => Self::Mute(u.arbitrary()?),
            _ => Self::AskRooms,
        })
    }
}

/// One of the names that there are, or another.
pub(crate) fn name_of(byte: u8) -> String {
    match NAMES.get(usize::from(byte % 16)) {
        Some(name) => (*name).to_owned(),
        None => format!("room {byte}"),
    }
}

impl<'a> Arbitrary<'a> for How {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.arbitrary::<u8>()? % 8 {
            0 => Self::Portions(u.arbitrary()?),
            1 => Self::Cut(u.arbitrary()?),
            2 => Self::Held,
            _ => Self::Whole,
        })
    }
}

impl<'a> Arbitrary<'a> for Frame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        use pb::to_client::Kind;
        let what = match u.arbitrary::<u8>()? {
            240.. => return Ok(Self::Kind(Kind::History(page(u)?))),
            232..=239 => return Ok(Self::Kind(of_rooms(u)?)),
            byte => byte % 20,
        };
        let kind = match what {
            0..=3 => {
                let (welcome, entered) = welcome(u)?;
                return Ok(Self::Welcome(welcome, entered));
            }
            4 => {
                let (reason, suggestion) = (i32::from(u.arbitrary::<u8>()? % 9), name(u)?);
                Kind::Refused(pb::Refused { reason, text: text(u)?, suggestion })
            }
            5 => Kind::Closing(pb::Closing { reason: i32::from(u.arbitrary::<u8>()? % 9), text: text(u)? }),
            6 => Kind::Members(pb::Members { room: u.arbitrary::<u8>()?.into(), members: members(u)? }),
            7..=9 => {
                let (room, seq, id) = (u.arbitrary::<u8>()?.into(), number(u)?, number(u)?);
                Kind::Ack(pb::Ack { room, seq, id, at_ms: id })
            }
            10 => Kind::Nack(pb::Nack { id: number(u)?, text: text(u)? }),
            11 => Kind::Said(pb::Said {
                room: u.arbitrary::<u8>()?.into(),
                seq: number(u)?,
                session: u.arbitrary::<u8>()?.into(),
                name: name(u)?,
                id: number(u)?,
                text: text(u)?,
                at_ms: 7,
            }),
            12 => Kind::Joined(pb::Joined { room: 1, member: member(u)? }),
            13 => {
                let reason = i32::from(u.arbitrary::<u8>()? % 6);
                Kind::Left(pb::Left { room: 1, member: member(u)?, reason })
            }
            14 => Kind::Ping(pb::Ping { token: u.arbitrary()? }),
            15 => return Ok(Self::Pong { is_honest: !u.ratio(1u8, 4u8)? }),
            16 => Kind::VoiceReport(pb::VoiceReport {
                talker: u.arbitrary()?,
                lost_per_mille: u.arbitrary()?,
                unrecovered_per_mille: u.arbitrary()?,
                burst_ms: u.arbitrary()?,
                queue_ms: u.arbitrary()?,
            }),
            17 => return Ok(Self::OwnSaid { id: number(u)?, seq: number(u)? }),
            18 => return Ok(Self::Voice(voice(u.arbitrary::<u8>()?.into(), u.arbitrary()?))),
            _ => return Ok(Self::Voice(bytes(u)?)),
        };
        Ok(Self::Kind(kind))
    }
}

impl Frame {
    /// Its bytes, as a server sends it that knows the client's session and last ping.
    pub(crate) fn bytes(self, session: u32, ping: u64) -> Vec<u8> {
        use pb::to_client::Kind;
        let mut out = Vec::new();
        let kind = match self {
            Self::Kind(kind) => kind,
            Self::Welcome(welcome, entered) => {
                write_to_client(&mut out, Kind::Welcome(welcome));
                Kind::Entered(entered)
            }
            Self::Pong { is_honest } => Kind::Pong(pb::Ping { token: ping ^ u64::from(!is_honest) }),
            Self::OwnSaid { id, seq } => {
                let (name, text) = ("Foo".to_owned(), "hello".to_owned());
                Kind::Said(pb::Said { room: 1, seq, session, name, id, text, at_ms: 7 })
            }
            Self::Voice(payload) => {
                write_voice(&mut out, &payload);
                return out;
            }
        };
        write_to_client(&mut out, kind);
        out
    }
}

fn welcome(u: &mut Unstructured<'_>) -> Result<(pb::Welcome, pb::Entered)> {
    let room = match u.arbitrary::<u8>()? {
        255 => None,
        id => {
            let (name, epoch) = (name(u)?, u64::from(u.arbitrary::<u8>()? % 4));
            Some(pb::Room { id: id.into(), name, epoch, last_seq: number(u)? })
        }
    };
    let token = match u.arbitrary::<u8>()? {
        255 => RESUME_TOKEN_BYTES + 1,
        byte => usize::from(byte) % (RESUME_TOKEN_BYTES + 1),
    };
    let (version, session, name) = (u.arbitrary::<u8>()?.into(), u.arbitrary::<u8>()?.into(), name(u)?);
    // Told or not, rightly or not.
    let (members, member_count) = (members(u)?, token as u32 % 4);
    let (resume_token, resumed) = (vec![7; token], u.arbitrary()?);
    let welcome = pb::Welcome { version, session, name, resume_token, resumed, ..Default::default() };
    Ok((welcome, pb::Entered { key: 1, room, members, member_count, ..Default::default() }))
}

/// What is about rooms beside the first, about names, topics and lists.
fn of_rooms(u: &mut Unstructured<'_>) -> Result<pb::to_client::Kind> {
    use pb::to_client::Kind;
    Ok(match u.arbitrary::<u8>()? % 16 {
        0..=6 => {
            let (key, with) = (u.arbitrary::<u8>()? % 8, u.arbitrary::<u8>()? % 8);
            // Most often it is somebody with whom one may be alone.
            let id = room(u)?;
            let (name, epoch, last_seq) = (name(u)?, u64::from(u.arbitrary::<u8>()? % 4), number(u)?);
            let mut members = members(u)?;
            if with > 3 {
                members.push(pb::Member { session: with.into(), name: name.clone(), ..Default::default() });
            }
            Kind::Entered(pb::Entered {
                key: key.into(),
                room: Some(pb::Room { id, name, epoch, last_seq }),
                member_count: u.arbitrary::<u8>()?.into(),
                members,
                with: if with > 3 { with.into() } else { 0 },
                topic: None,
            })
        }
        7 | 8 => Kind::NotEntered(pb::NotEntered { key: (u.arbitrary::<u8>()? % 8).into(), text: text(u)? }),
        9 | 10 => Kind::Changed(member(u)?.unwrap_or_default()),
        11 => {
            let (room, text, by) = (room(u)?, text(u)?, name(u)?);
            Kind::Topic(pb::Topic { room, text, by, at_ms: 7 })
        }
        12 => {
            let (name, count, more) = (name(u)?, u.arbitrary::<u8>()?, u.arbitrary()?);
            let room = pb::ListedRoom { name, members: 3, topic: String::new() };
            Kind::Rooms(pb::RoomList { rooms: vec![room; count.into()], more })
        }
        13 => Kind::NotDone(pb::NotDone { text: text(u)?, name: text(u)? }),
        14 => Kind::Joined(pb::Joined { room: room(u)?, member: member(u)? }),
        _ => Kind::Left(pb::Left { room: room(u)?, member: member(u)?, reason: 2 }),
    })
}

/// The number of a room, or of what is between two.
fn room(u: &mut Unstructured<'_>) -> Result<u32> {
    let byte = u.arbitrary::<u8>()?;
    Ok(if byte < 128 { byte.into() } else { (1 << 24) + u32::from(byte - 128) })
}

fn page(u: &mut Unstructured<'_>) -> Result<pb::HistoryPage> {
    let count = u.arbitrary::<u8>()? % 4;
    let message = |u: &mut Unstructured<'_>| {
        let (seq, name, text) = (number(u)?, name(u)?, text(u)?);
        Ok(pb::Said { room: 1, seq, name, text, ..Default::default() })
    };
    let messages = (0..count).map(|_| message(u)).collect::<Result<_>>()?;
    let (token, more, error) = (u.arbitrary::<u8>()?.into(), u.arbitrary()?, text(u)?);
    Ok(pb::HistoryPage { room: 1, token, messages, more, error })
}

/// Most often a few; in some cases as many as fit into a frame, which two of a kind make too many.
fn members(u: &mut Unstructured<'_>) -> Result<Vec<pb::Member>> {
    let nameless = |session| pb::Member { session, ..Default::default() };
    Ok(match u.arbitrary::<u8>()? {
        255 => (0..=MEMBERS as u32).map(nameless).collect(),
        254 => (0..MEMBERS as u32).map(nameless).collect(),
        253 => (MEMBERS as u32 / 2..MEMBERS as u32 * 3 / 2).map(nameless).collect(),
        count => (0..count % 5).map(|_| Ok(member(u)?.unwrap_or_default())).collect::<Result<_>>()?,
    })
}

fn member(u: &mut Unstructured<'_>) -> Result<Option<pb::Member>> {
    let session = u.arbitrary::<u8>()?;
    Ok(if session == 255 {
        None
    } else {
        Some(pb::Member { session: session.into(), name: name(u)?, ..Default::default() })
    })
}

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.arbitrary::<u8>()? {
        255 => "n".repeat(NAME_BYTES + 1),
        254 => "n".repeat(NAME_BYTES),
        byte => NAMES[usize::from(byte) % NAMES.len()].to_owned(),
    })
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(TEXTS[usize::from(u.arbitrary::<u8>()?) % TEXTS.len()].to_owned())
}

/// The number of a place or a message: small ones, and the last there are.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.arbitrary::<u8>()? {
        byte @ 0..=239 => byte.into(),
        byte => u64::MAX - u64::from(255 - byte),
    })
}

fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = usize::from(u.arbitrary::<u8>()?).min(u.len());
    Ok(u.bytes(length)?.to_vec())
}
