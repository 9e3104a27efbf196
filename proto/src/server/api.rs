//! What happens to a server's driver, what it must do, what its operator is told.

use alloc::boxed::Box;
use core::fmt;

use crate::{
    hub::{LeaveReason, Refusal},
    ids::{Peer, SessionId},
    limits,
    name::Name,
    outbox::Class,
    report::ReceiverReport,
    wire::{control, frame::Oversized, path::DatagramKind},
};

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    /// `chinwag/1`.
    #[default]
    Native,
    /// What the classic group chat spoke: text without framing, so that every [`Output::Send`] is to be one write, and what one
    /// read gives is one [`Input::Received`].
    Classic,
}

/// Something that happened to the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// A connection, its TLS handshake done if its dialect has one.
    Accepted {
        /// The handle that the driver chose for it.
        peer: Peer,
        /// What it speaks.
        dialect: Dialect,
    },
    /// Bytes of its stream. None of them while it is paused ([`Output::Pause`]): they would be kept, however many. So what is
    /// kept of a peer is less than a frame, and until it is read again also the portion that made it pause, whose size is
    /// the driver's matter.
    Received {
        /// Whose.
        peer: Peer,
        /// What TLS decrypted, in any portions.
        bytes: &'a [u8],
    },
    /// A datagram that proved authentic and new ([`crate::wire::path::SealedPath::open`]).
    Datagram {
        /// Whose path it came on.
        peer: Peer,
        /// What it is for.
        kind: DatagramKind,
        /// What was sealed in it.
        payload: &'a [u8],
    },
    /// The connection ended, however. The handle is free once all outputs are polled.
    Closed {
        /// Which.
        peer: Peer,
    },
    /// The peer's queue is over its limit ([`crate::outbox::Overflow`]).
    Overflowed {
        /// Whose.
        peer: Peer,
    },
    /// A voice gateway tells how a native talker's voice arrives at the classic members of his room.
    Reported {
        /// Whose voice.
        talker: SessionId,
        /// How it arrives.
        report: ReceiverReport,
    },
    /// The operator says something to everybody, in every room. What is no message ([`crate::text::check_message`]) is not
    /// said.
    Announce {
        /// What.
        text: &'a str,
    },
    /// The operator removes a member.
    Remove {
        /// Whose session.
        session: SessionId,
    },
    /// The server stops: everybody is told and closed.
    Shutdown,
}

/// Something that the driver must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<'a> {
    /// Write these bytes to each of the connections.
    Send {
        /// Whole frames.
        bytes: &'a [u8],
        /// Whether they may be dropped.
        class: Class,
        /// To whom.
        to: &'a [Peer],
    },
    /// Seal this payload for each of the peers and send it as a datagram.
    Relay {
        /// What it is.
        kind: DatagramKind,
        /// What to seal.
        frame: &'a [u8],
        /// To whom.
        to: &'a [Peer],
    },
    /// This peer is let in. From now on datagrams of `session` belong to it, under its connection's keys, with fresh counters;
    /// a classic peer has neither.
    OpenPath {
        /// Whose.
        peer: Peer,
        /// The number in its datagrams' headers.
        session: SessionId,
    },
    /// Read no more from this connection until [`Output::Unpause`]: it sends faster than it may. Nothing is lost.
    Pause {
        /// Which.
        peer: Peer,
    },
    /// Read again from this connection.
    Unpause {
        /// Which.
        peer: Peer,
    },
    /// Write what is queued for this connection, then close it. The handle is free from here on.
    Close {
        /// Which.
        peer: Peer,
        /// Why, for the log.
        cause: CloseCause,
    },
    /// How a classic talker's voice arrives at the natives who hear it, the worst of it, for the voice gateway.
    Report {
        /// Whose voice.
        talker: SessionId,
        /// How it arrives.
        report: ReceiverReport,
    },
    /// Something worth a line for the operator.
    Event(ServerEvent),
}

/// What an operator is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerEvent {
    /// Somebody joined.
    Joined {
        /// Who.
        name: Name,
    },
    /// Somebody is back before the others noticed that the connection was lost.
    Resumed {
        /// Who.
        name: Name,
    },
    /// Somebody said something, in any room. Only when an operator has a seat ([`crate::server::Server::seat_operator`]).
    Said {
        /// Who.
        name: Name,
        /// What.
        text: Box<str>,
    },
    /// Somebody left.
    Left {
        /// Who.
        name: Name,
        /// Why.
        reason: LeaveReason,
    },
}

/// Why the server closes a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseCause {
    /// The peer quit.
    Quit,
    /// The server stops.
    Shutdown,
    /// The peer was not let in.
    Refused(Refusal),
    /// The peer speaks no version that this server does.
    Version,
    /// A frame larger than allowed.
    Oversized(Oversized),
    /// Bytes that are no message.
    Undecodable,
    /// A message that has no place where it came.
    OutOfOrder,
    /// No Hello in time.
    HelloTimeout,
    /// No sign of life for [`limits::SILENCE_TIMEOUT`].
    Silent,
    /// The peer does not read what it is sent.
    TooSlow,
    /// The same session came back on another connection.
    Replaced,
    /// Too many connections have not finished their Hello.
    Busy,
    /// The operator removed the member.
    Removed,
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => write!(f, "quit"),
            Self::Shutdown => write!(f, "the server is stopping"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Version => write!(
                f,
                "this server speaks version {} of the protocol and the client does not; update the older one",
                control::VERSION
            ),
            Self::Oversized(oversized) => oversized.fmt(f),
            Self::Undecodable => write!(f, "what was received is not chinwag/1"),
            Self::OutOfOrder => write!(f, "a message came where it has no place"),
            Self::HelloTimeout => {
                write!(f, "no hello within {} s", limits::HELLO_TIMEOUT.as_secs())
            }
            Self::Silent => write!(f, "silent for {} s", limits::SILENCE_TIMEOUT.as_secs()),
            Self::TooSlow => write!(f, "too much is waiting to be read"),
            Self::Replaced => write!(f, "the session goes on in another connection"),
            Self::Busy => write!(f, "too many connections at once; try again in a moment"),
            Self::Removed => write!(f, "the operator removed you"),
        }
    }
}

/// What the server counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerStats {
    /// Messages that got a place in a room.
    pub messages: u64,
    /// Voice payloads taken from talkers.
    pub voice_in: u64,
    /// Voice payloads handed to the driver, one for each listener.
    pub voice_out: u64,
    /// Voice payloads that were not whole frames.
    pub voice_malformed: u64,
    /// Voice payloads in somebody else's name.
    pub voice_forged: u64,
    /// Voice payloads beyond a talker's rate.
    pub voice_over_rate: u64,
    /// Voice payloads from those who are in no room.
    pub voice_homeless: u64,
    /// Reports on talkers taken from listeners and from a voice gateway.
    pub reports_in: u64,
    /// Reports for talkers, those of several listeners put together.
    pub reports_out: u64,
    /// Reports beyond a listener's rate, or on nobody who talks in the listener's room.
    pub reports_dropped: u64,
    /// Path probes beyond a talker's rate, or of another size than probes have.
    pub probes_dropped: u64,
    /// Connections paused for sending faster than allowed.
    pub pauses: u64,
    /// Messages of unknown kinds that were skipped.
    pub unknown_messages: u64,
}
