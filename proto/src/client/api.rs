//! What a client is told, what it asks of its driver, what it tells its user.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    history::UnixMillis,
    hub::LeaveReason,
    ids::{MessageId, Seq, SessionId},
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
    /// The room; empty for the server's default.
    pub room: String,
    /// The program and its version, for the server's log.
    pub software: String,
    /// So many messages of the room's history are asked for at the first welcome ([`ClientEvent::History`]).
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
    /// In the room.
    Welcome {
        /// This client's session.
        session: SessionId,
        /// One's own name as the server has it.
        name: String,
        /// The room's name.
        room: String,
        /// True after a lost connection, when the server still knew the session.
        resumed: bool,
        /// True for all but the first welcome.
        again: bool,
        /// True when it is the room that it was before: what was said there meanwhile is told now, or is in its history.
        continues: bool,
    },
    /// Who came and who left while the connection was lost, by their names, if anybody did.
    Meanwhile {
        /// Who is here now.
        joined: Vec<String>,
        /// Who is not here any more.
        left: Vec<String>,
    },
    /// Somebody came.
    Joined {
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
    },
    /// Somebody is gone.
    Left {
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody said something.
    Said {
        /// Its place in the room.
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
        /// Which.
        id: MessageId,
        /// Its text.
        text: String,
        /// Why.
        why: String,
    },
    /// So many messages of the room were missed. They may be in its history.
    Missed {
        /// How many.
        messages: u64,
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
#[derive(Clone, PartialEq, Eq, Debug)]
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

/// Why [`crate::client::Client::say`] did not take a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SayError {
    /// It is no message.
    Message(MessageError),
    /// [`crate::limits::OUTGOING_MESSAGES`] messages wait to be acknowledged.
    Full,
    /// The client has quit or ended.
    Ended,
}

impl fmt::Display for SayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Full => write!(f, "too many messages wait for the server; try again when it has caught up"),
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
