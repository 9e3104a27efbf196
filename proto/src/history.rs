//! What a lasting history keeps. The core asks for it by outputs and is answered by inputs; how it is kept is the driver's matter.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use crate::{
    ids::{MessageId, RoomId, Seq},
    limits,
    name::Name,
};

/// A point in calendar time: milliseconds since the beginning of 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub u64);

/// Which client a message is from, for as long as that client may say it again: random, known to it and to the server alone. It
/// outlives sessions and starts of the server, so that what was said twice counts once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AuthorKey(pub [u8; 16]);

/// A room that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptRoom {
    /// Its number, the same in every start of the server.
    pub id: RoomId,
    /// Its name; by [`Name::folded`] no two are the same.
    pub name: Name,
    /// Names its numbering.
    pub epoch: u64,
}

/// A message that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptMessage {
    /// Where it was said.
    pub room: RoomId,
    /// Its place there: each is one more than the one before, over all starts of the server.
    pub seq: Seq,
    /// When the server took it.
    pub at: UnixMillis,
    /// Who said it: all zero for the server itself.
    pub author: AuthorKey,
    /// That client's own number of it.
    pub id: MessageId,
    /// The name that its author had then.
    pub name: Name,
    /// Its text, as it was sent: not safe to print raw.
    pub text: Arc<str>,
}

impl KeptMessage {
    /// Bytes that it takes, in memory or on the wire, at most.
    pub fn cost(&self) -> usize {
        self.text.len() + limits::MESSAGE_COST
    }
}

/// What a room is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// As it was typed: not safe to print raw. Empty when the room has none any more.
    pub text: Arc<str>,
    /// Who said so.
    pub by: Name,
    /// When.
    pub at: UnixMillis,
}

/// Something to be kept. What was asked for earlier is to be kept earlier, or together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// A new room.
    Room(KeptRoom),
    /// A new message, in a room that was written before.
    Message(KeptMessage),
    /// What a room that was written before is about.
    Topic(RoomId, Topic),
    /// A room of which nothing is kept any more is gone.
    Gone(RoomId),
}

/// Why something could not be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepError {
    /// There is no room for it.
    Full,
    /// Something else, which the operator is told by whoever keeps.
    Failed,
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the server cannot keep it, its disk is full; try again later"),
            Self::Failed => write!(f, "the server cannot keep it, its disk does not work; try again later"),
        }
    }
}

/// A room as it is found again when the server starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoredRoom {
    /// The room.
    pub room: KeptRoom,
    /// What it is about.
    pub topic: Option<Topic>,
    /// The last place that was given out, also when that message is not kept any more.
    pub last: Seq,
    /// Its last messages, oldest first, without a gap, up to `last`.
    pub messages: Vec<KeptMessage>,
    /// What was said last, oldest first, as far back as somebody may say it again, which may be further than `messages` reaches: who
    /// said it, under which number, its place.
    pub accepted: Vec<(AuthorKey, MessageId, Seq)>,
}

/// A part of a room's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// Which room.
    pub room: RoomId,
    /// What came before this place.
    pub before: Seq,
    /// So many messages at most, the latest of those.
    pub limit: usize,
}

/// Messages of a room that have all of these words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchRequest {
    /// Which room.
    pub room: RoomId,
    /// Words as a person typed them; the last may be the beginning of one.
    pub words: Box<str>,
    /// What came before this place.
    pub before: Seq,
    /// So many messages at most, the latest of those.
    pub limit: usize,
}
