//! What the server's loop asks of a store of messages. Stores block, so that each works in a thread of its own.

use std::{fmt, io};

use chinwag_proto::{
    RoomId, Seq,
    history::{KeptMessage, PageRequest, RestoredRoom, SearchRequest, UnixMillis, Write},
};

/// Why a store could not do what it was asked to.
#[derive(Debug)]
pub enum StoreError {
    /// There is no room on the disk.
    Full,
    /// Anything else, in words for the operator.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the disk is full"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StoreError {}

/// Keeps messages.
pub trait Store: Send + fmt::Debug {
    /// Keeps all of it: when this returns, no crash of the program or of the machine takes it away. On an error nothing of it is kept.
    ///
    /// # Errors
    /// See [`StoreError`]; a later call may go well again.
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError>;

    /// Forgets some of what is older, or more, than is to be kept: little enough not to keep a [`Store::write`] waiting for long. What
    /// is forgotten now: of each such room all messages before that place. Nothing is said when nothing is left to be forgotten.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn tidy(&mut self, now: UnixMillis) -> Result<Option<(RoomId, Seq)>, StoreError>;

    /// A reader, for another thread.
    ///
    /// # Errors
    /// When the store cannot be opened once more.
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError>;
}

/// Reads what a [`Store`] keeps, while that goes on writing.
pub trait StoreReader: Send + fmt::Debug {
    /// A page of a room, oldest first; empty when there is nothing earlier.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn page(&mut self, request: &PageRequest) -> Result<Vec<KeptMessage>, StoreError>;

    /// The latest messages that have these words, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn search(&mut self, request: &SearchRequest) -> Result<Vec<KeptMessage>, StoreError>;
}

/// A store that was opened, and what it holds.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: Box<dyn Store>,
    /// Its rooms.
    pub rooms: Vec<RestoredRoom>,
    /// What its operator should know, a line each.
    pub remarks: Vec<String>,
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
