//! What happens to a server's driver, what it must do, what its operator is told.

use alloc::sync::Arc;
use core::fmt;

use crate::{
    history::{KeepError, KeptMessage, PageRequest, SearchRequest, Topic, Write},
    hub::{LeaveReason, Refusal},
    ids::{Peer, RoomId, Seq, SessionId},
    limits,
    name::Name,
    outbox::Class,
    relay::Order,
    report::ReceiverReport,
    time::Instant,
    wire::{control, frame::Oversized},
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
    /// The relay has voice for sessions that do not get it by datagram ([`crate::relay::Egress::tunnel`]).
    Voice {
        /// Whole voice frames.
        payload: &'a [u8],
        /// Whose connections it goes over.
        to: &'a [SessionId],
    },
    /// A datagram showed that the session's peer was alive ([`crate::relay::Egress::alive`]).
    Alive {
        /// Whose.
        session: SessionId,
        /// When.
        at: Instant,
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
    /// The next `count` of what was to be kept ([`Output::Keep`]) are kept: no crash takes them away.
    Kept {
        /// Of which run.
        run: u32,
        /// How many.
        count: usize,
    },
    /// What was to be kept in this run and is not yet, is not kept, nor will be. There is another run from here on.
    NotKept {
        /// Which.
        run: u32,
        /// Why.
        why: KeepError,
    },
    /// The store has forgotten messages that it is not to keep for longer.
    Expired {
        /// Of which room.
        room: RoomId,
        /// All before this place.
        before: Seq,
    },
    /// What was asked for by [`Output::Read`].
    Read {
        /// Of which question.
        ticket: u32,
        /// Messages, oldest first; nothing when the store could not say.
        found: Option<&'a [KeptMessage]>,
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
    /// Tell the relay, after all that it was told before.
    Relay(Order<'a>),
    /// This peer is let in: [`crate::relay::Relay::open`] is to be told, with its connection's keys; a classic peer has none. The
    /// relay must know before the peer is sent what follows.
    OpenPath {
        /// Whose.
        peer: Peer,
        /// The number in its datagrams' headers.
        session: SessionId,
        /// Where it talks and listens, if anywhere.
        room: Option<RoomId>,
    },
    /// Voice for classic members: for the voice gateway, if there is one.
    Overheard {
        /// Whole voice frames of one talker.
        payload: &'a [u8],
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
    /// Have the store keep this, after all of the same run that it was given before; the answer is [`Input::Kept`] or
    /// [`Input::NotKept`]. What is of an earlier run than one that failed must not be kept. Only after
    /// [`crate::server::Server::restore`].
    Keep {
        /// Of which run.
        run: u32,
        /// What.
        write: Write,
    },
    /// Have the store read this; the answer is [`Input::Read`]. It must know all that was kept before.
    Read {
        /// For the answer.
        ticket: u32,
        /// What.
        what: ReadRequest,
    },
    /// Nobody waits for this any more, which was to be read: if that has not begun, it need not be. There is an answer to it all the same,
    /// with nothing in it and at once where it is not read, whose place in the store's queue is then another's.
    Unread {
        /// Of which question.
        ticket: u32,
    },
    /// Something worth a line for the operator.
    Event(ServerEvent),
}

/// What a store is to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadRequest {
    /// A part of a room's history.
    Page(PageRequest),
    /// What in it has some words.
    Search(SearchRequest),
}

/// What an operator is told, each where the members of that room are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerEvent {
    /// Somebody joined.
    Joined {
        /// Where.
        room: RoomId,
        /// What that is called; it may be gone when this is read.
        room_name: Name,
        /// Whose session.
        member: SessionId,
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
        /// Where.
        room: RoomId,
        /// What that is called; it may be gone when this is read.
        room_name: Name,
        /// At which place.
        seq: Seq,
        /// Whose session.
        member: SessionId,
        /// Who.
        name: Name,
        /// What.
        text: Arc<str>,
    },
    /// Somebody took another name.
    Renamed {
        /// Whose session.
        member: SessionId,
        /// How he was called.
        former: Name,
        /// How he is called now.
        name: Name,
    },
    /// Somebody said what a room is about.
    Topic {
        /// Where.
        room: RoomId,
        /// What that is called; it may be gone when this is read.
        room_name: Name,
        /// What, and who.
        topic: Topic,
    },
    /// Somebody left.
    Left {
        /// Where.
        room: RoomId,
        /// What that is called; it may be gone when this is read.
        room_name: Name,
        /// Whose session.
        member: SessionId,
        /// Who.
        name: Name,
        /// Why.
        reason: LeaveReason,
    },
}

impl ServerEvent {
    /// Where it happened.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            Self::Joined { room, .. }
            | Self::Said { room, .. }
            | Self::Topic { room, .. }
            | Self::Left { room, .. } => Some(*room),
            Self::Resumed { .. } | Self::Renamed { .. } => None,
        }
    }

    /// What the room is called where it happened.
    pub fn room_name(&self) -> Option<&Name> {
        match self {
            Self::Joined { room_name, .. }
            | Self::Said { room_name, .. }
            | Self::Topic { room_name, .. }
            | Self::Left { room_name, .. } => Some(room_name),
            Self::Resumed { .. } | Self::Renamed { .. } => None,
        }
    }
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
    /// Voice payloads from connections that nobody was let in by.
    pub voice_homeless: u64,
    /// Reports on talkers taken from listeners and from a voice gateway.
    pub reports_in: u64,
    /// Reports for talkers, those of several listeners put together.
    pub reports_out: u64,
    /// Reports beyond a listener's rate, or on nobody who talks in the listener's room.
    pub reports_dropped: u64,
    /// Connections paused for sending faster than allowed.
    pub pauses: u64,
    /// Connections paused until more of what they said was kept.
    pub store_pauses: u64,
    /// Messages that could not be kept, which those who said them were told.
    pub not_kept: u64,
    /// Pages and searches of the history that were answered.
    pub pages: u64,
    /// Pages and searches that were refused, or that the store could not answer.
    pub pages_refused: u64,
    /// Messages of unknown kinds that were skipped.
    pub unknown_messages: u64,
}
