//! Identifiers and numbers that must not be mixed up.

/// A driver's handle of one connection. The driver chooses it when a connection is accepted; it may give the same
/// handle to another connection only after every output that was queued before the first one's end was polled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer(u32);

impl Peer {
    /// The handle with this number; small numbers keep tables small.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A member's session with the server; it outlives connections. On the wire it also names the talker of a voice frame
/// and, in a datagram's header, whose keys seal it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(u32);

impl SessionId {
    const INDEX_BITS: u32 = 20;

    /// Nobody's: the server speaks itself.
    pub const NOBODY: Self = Self(0);

    pub(crate) const fn from_parts(index: usize, generation: u32) -> Self {
        Self((generation << Self::INDEX_BITS) | index as u32)
    }

    pub(crate) const fn index(self) -> usize {
        (self.0 & ((1 << Self::INDEX_BITS) - 1)) as usize
    }

    /// From its number on the wire; any number is one, whether such a session exists or not.
    pub const fn from_wire(number: u32) -> Self {
        Self(number)
    }

    /// Its number on the wire.
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

/// A room of the server, or what is between two of its members alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoomId(u32);

impl RoomId {
    /// What is between two has numbers from this one on.
    pub(crate) const FIRST_PRIVATE: u32 = 1 << 24;

    /// Stands for what is between two where it is told to others that one of them talks there: which it is, is none of their business.
    pub const SOMEWHERE_PRIVATE: Self = Self(u32::MAX);

    /// True for what is between two members alone: it has no name, is not listed and never kept by a store.
    pub const fn is_private(self) -> bool {
        self.0 >= Self::FIRST_PRIVATE
    }

    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// From its number on the wire.
    pub const fn from_wire(number: u32) -> Self {
        Self(number)
    }

    /// Its number on the wire.
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

/// The place of an event in its room: 1, 2, 3, ... within one epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// From its number on the wire.
    pub const fn from_wire(number: u64) -> Self {
        Self(number)
    }

    /// Its number on the wire.
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    /// The place after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A sender's own number of a message: 1, 2, 3, ...
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MessageId(u64);

impl MessageId {
    /// From its number on the wire.
    pub const fn from_wire(number: u64) -> Self {
        Self(number)
    }

    /// Its number on the wire.
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
