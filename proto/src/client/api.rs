//! What a client is told, what it asks of its driver, what it tells its user.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    history::UnixMillis,
    hub::{LeaveReason, Marks, Refusal, Rejection},
    ids::{MessageId, RoomId, Seq, SessionId},
    name::NameError,
    outbox::Class,
    relay::VoicePath,
    report::ReceiverReport,
    text::MessageError,
    time::Duration,
    wire::path::DatagramKind,
};

/// What a client is told at the start.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The name to join by, as typed.
    pub name: String,
    /// The rooms to be in, the first of them with voice; an empty name is the server's default room.
    pub rooms: Vec<String>,
    /// The program and its version, for the server's log.
    pub software: String,
    /// So many messages of a room's history are asked for when it is entered for the first time ([`ClientEvent::History`]).
    pub history: usize,
}

/// Something that happened to the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientInput<'a> {
    /// The connection asked for by [`ClientOutput::Connect`] stands, its TLS handshake done.
    Connected,
    /// It could not be made, or it ended.
    Disconnected,
    /// Bytes of its stream.
    Received {
        /// What TLS decrypted, in any portions.
        bytes: &'a [u8],
    },
    /// A datagram that proved authentic and new.
    Datagram {
        /// What it is for.
        kind: DatagramKind,
        /// What was sealed in it.
        payload: &'a [u8],
    },
}

/// Something that the driver must do.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientOutput<'a> {
    /// Connect to the server.
    Connect,
    /// Write what is queued, then close the connection, if there is one.
    Disconnect,
    /// Write these bytes to the connection.
    Send {
        /// Whole frames.
        bytes: &'a [u8],
        /// Whether they may be dropped.
        class: Class,
    },
    /// From now on datagrams belong to this session, under this connection's keys, with fresh counters.
    OpenPath {
        /// The number in their headers.
        session: SessionId,
    },
    /// Seal and send this.
    Datagram {
        /// What it is.
        kind: DatagramKind,
        /// What to seal.
        payload: &'a [u8],
    },
    /// Voice of others: one or more frames, each to be played. It may come twice.
    Voice {
        /// Whole frames ([`crate::wire::voice::Frames::parse`] succeeds).
        payload: &'a [u8],
    },
    /// Something that the user should know.
    Event(ClientEvent),
}

/// What a user is told. Names and texts are as others sent them: not safe to print raw ([`crate::text::escape`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// Let in; what becomes of the rooms follows at once.
    Welcome {
        /// This client's session.
        session: SessionId,
        /// One's own name as the server has it.
        name: String,
        /// True after a lost connection, when the server still knew the session.
        resumed: bool,
        /// True for all but the first welcome.
        again: bool,
    },
    /// In a room, or alone with somebody, which he may have begun.
    Entered {
        /// Where.
        place: PlaceId,
        /// The room's name, or that of the other.
        name: String,
        /// True when it is what is between the two.
        is_private: bool,
        /// True after a lost connection.
        again: bool,
        /// True when it is the room that it was before: what was said there meanwhile is told now, or is in its history.
        continues: bool,
    },
    /// Not in a room that was asked for, or no more alone with one who is gone, since others need the place; the place is gone.
    NotEntered {
        /// Which.
        place: PlaceId,
        /// Its name, or that of the other.
        name: String,
        /// True when it was to be between the two.
        is_private: bool,
        /// What happened and what to do.
        why: String,
    },
    /// Somebody is called otherwise, is heard or hears otherwise or elsewhere; oneself, too.
    Changed {
        /// Whose session.
        session: SessionId,
        /// How he was called, if he is called otherwise now.
        former: Option<String>,
        /// What he is like now.
        member: Member,
    },
    /// This is what a room is about now.
    Topic {
        /// Where.
        place: PlaceId,
        /// What; with an empty text nothing any more.
        topic: RoomTopic,
    },
    /// All rooms of the server that have a name.
    Rooms(Vec<ListedRoom>),
    /// What was asked for is not done.
    NotDone {
        /// What happened and what to do.
        why: String,
    },
    /// Who came and who left while the connection was lost, by their names, if anybody did.
    Meanwhile {
        /// Where.
        place: PlaceId,
        /// Who is here now.
        joined: Vec<String>,
        /// Who is not here any more.
        left: Vec<String>,
    },
    /// Somebody came.
    Joined {
        /// Where.
        place: PlaceId,
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
    },
    /// Somebody is gone.
    Left {
        /// From where.
        place: PlaceId,
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody said something.
    Said {
        /// Where.
        place: PlaceId,
        /// At which place there; 0 where that is not known.
        seq: Seq,
        /// Who.
        name: String,
        /// What.
        text: String,
        /// When the server took it.
        at: UnixMillis,
        /// One's own message, for which this is the acknowledgement.
        own: Option<MessageId>,
    },
    /// A part of the room's history that was asked for ([`crate::client::Client::ask_history`]).
    History(Page),
    /// The server did not accept a message.
    NotSaid {
        /// Where it was to be said.
        place: PlaceId,
        /// Which.
        id: MessageId,
        /// Its text.
        text: String,
        /// Why.
        why: String,
    },
    /// So many messages of a room were missed. They may be in its history.
    Missed {
        /// Where.
        place: PlaceId,
        /// How many.
        messages: u64,
        /// The place of the first that was not.
        before: Seq,
    },
    /// The server does not let this client in.
    Refused {
        /// Why, and what to do.
        why: String,
        /// A name that would be free.
        suggestion: Option<String>,
        /// True when the client tries again with that name by itself, since it was here before.
        will_retry: bool,
    },
    /// The connection is lost or could not be made; the client tries again after a pause.
    Reconnecting {
        /// What the server said when it closed, or nothing.
        why: Option<String>,
        /// The pause.
        pause: Duration,
    },
    /// Voice goes another way now.
    Path(VoicePath),
    /// How one's own voice arrives: the worst of what listeners report. For whoever sends it rather than for the user.
    Reported(ReceiverReport),
    /// The client is done; nothing more will come.
    Ended(EndReason),
}

/// Why a client is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The user quit.
    Quit,
    /// The server did not let it in ([`ClientEvent::Refused`] told why).
    Refused,
    /// The first connection could not be made.
    Unreachable,
    /// The session was taken over by another connection.
    Replaced,
    /// The server's operator removed the member.
    Removed,
    /// The server does not speak this protocol.
    Protocol,
}

/// A part of a room's history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Of which room.
    pub place: PlaceId,
    /// What it is the answer to.
    pub token: u32,
    /// Oldest first.
    pub lines: Vec<PageLine>,
    /// There are more, before the first of these.
    pub more: bool,
    /// Why there is nothing, if something went wrong.
    pub error: Option<String>,
}

/// A message in a room's history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PageLine {
    /// Its place in the room.
    pub seq: Seq,
    /// When it was said.
    pub at: UnixMillis,
    /// Who said it.
    pub name: String,
    /// What.
    pub text: String,
}

/// A room as a client knows it: the same number over all connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlaceId(u32);

impl PlaceId {
    /// That of the first room of [`ClientConfig::rooms`].
    pub const FIRST: Self = Self(1);

    /// The room of this number.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl Default for PlaceId {
    fn default() -> Self {
        Self::FIRST
    }
}

/// Somebody in a room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// As he is called.
    pub name: String,
    /// Whether he can be heard and hears.
    pub marks: Marks,
    /// The server's number of the room in which he talks and listens ([`crate::client::Client::place_of`]).
    pub voice: Option<RoomId>,
}

/// What a room is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoomTopic {
    /// What.
    pub text: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

/// A room of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedRoom {
    /// Its name.
    pub name: String,
    /// How many are in it.
    pub members: u32,
    /// What it is about; empty where nobody said so.
    pub topic: String,
}

/// Why a client does not go into a room, or take a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// It is no name.
    Name(NameError),
    /// The user is in [`crate::limits::ROOMS_EACH`] rooms.
    TooManyRooms,
    /// The user is alone with [`crate::limits::PRIVATE_EACH`] others.
    TooManyPrivate,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::TooManyRooms => Refusal::TooManyRooms.fmt(f),
            Self::TooManyPrivate => Refusal::TooManyPrivate.fmt(f),
        }
    }
}

/// Why [`crate::client::Client::say`] did not take a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SayError {
    /// It is no message.
    Message(MessageError),
    /// [`crate::limits::OUTGOING_MESSAGES`] messages wait to be acknowledged.
    Full,
    /// The user is not in that room.
    NotInRoom,
    /// The client has quit or ended.
    Ended,
}

impl fmt::Display for SayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Full => write!(f, "too many messages wait for the server; try again when it has caught up"),
            Self::NotInRoom => Rejection::NotInRoom.fmt(f),
            Self::Ended => write!(f, "the conversation has ended"),
        }
    }
}

/// What the client counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientStats {
    /// Voice frames sent, each counted once.
    pub frames_sent: u64,
    /// Copies of voice frames that were sent with newer ones.
    pub copies_sent: u64,
    /// Copies of voice frames that found no room in a datagram.
    pub copies_unsent: u64,
    /// Voice frames that could not be sent, since there was no connection.
    pub frames_unsent: u64,
    /// Reports sent to talkers.
    pub reports_sent: u64,
    /// Reports received on one's own voice.
    pub reports_received: u64,
    /// Voice payloads received by datagram.
    pub udp_received: u64,
    /// Voice payloads received on the control connection.
    pub tcp_received: u64,
    /// Voice payloads that were not whole frames.
    pub malformed: u64,
    /// Which way voice goes, or went at last.
    pub voice_path: VoicePath,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Round-trip time of the control connection, of the last ping.
    pub control_rtt: Option<Duration>,
    /// Round-trip time of the voice path, of the last probe.
    pub voice_rtt: Option<Duration>,
    /// How much later than the quickest datagram of the voice path most may be expected, from its probes.
    pub voice_spread: Option<Duration>,
}
