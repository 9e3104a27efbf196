//! Rooms, messages and histories to test with.

#![allow(dead_code)] // Each test file uses a part of it.

use std::path::{Path, PathBuf};

use chinwag_history::{Retention, open};
use chinwag_proto::{
    MessageId, RoomId, Seq,
    history::{AuthorKey, KeptMessage, KeptRoom, PageRequest, SearchRequest, Topic, UnixMillis, Write},
    name::Name,
};
use chinwag_transport_mio::history::{OpenedStore, Store, StoreReader};

/// Keeps everything.
pub(crate) const ALL: Retention =
    Retention { max_age: None, max_messages: None, max_bytes: None, max_total: None };
/// Longer than any room of a test.
pub(crate) const END: u64 = u64::MAX;

pub(crate) fn id(room: u32) -> RoomId {
    RoomId::from_wire(room)
}

pub(crate) fn name(name: &str) -> Name {
    Name::kept(name).unwrap()
}

/// A room that is called after its number.
pub(crate) fn room(number: u32) -> Write {
    named_room(number, &format!("room {number}"))
}

pub(crate) fn named_room(number: u32, called: &str) -> Write {
    Write::Room(KeptRoom { id: id(number), name: name(called), epoch: u64::MAX - u64::from(number) })
}

/// A message of which everything follows from its place and text.
pub(crate) fn kept(room: u32, seq: u64, text: &str) -> KeptMessage {
    KeptMessage {
        room: id(room),
        seq: Seq::from_wire(seq),
        at: UnixMillis(1_000_000 + seq),
        author: AuthorKey([seq as u8; 16]),
        id: MessageId::from_wire(u64::MAX - seq),
        name: name("Foo"),
        text: text.into(),
    }
}

pub(crate) fn message(room: u32, seq: u64, text: &str) -> Write {
    Write::Message(kept(room, seq, text))
}

/// Messages at these places, with a text that says which.
pub(crate) fn messages(room: u32, places: std::ops::RangeInclusive<u64>) -> Vec<Write> {
    places.map(|seq| message(room, seq, &format!("message {seq}"))).collect()
}

/// What a room is about.
pub(crate) fn topic(room: u32, text: &str) -> Write {
    Write::Topic(id(room), Topic { text: text.into(), by: name("Foo"), at: UnixMillis(1_000_000) })
}

/// A history in a folder that ends with it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// In memory where the system has a folder there: disks take their time to sync, and their loss is not what is tested.
    pub(crate) fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        Self(memory.or_else(|_| tempfile::tempdir()).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("history.db")
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn open(&self) -> OpenedStore {
        open(&self.file(), ALL).unwrap()
    }

    /// A history with these messages in it, which nobody has open.
    pub(crate) fn with(writes: &[Write]) -> Self {
        let folder = Self::new();
        folder.open().store.write(writes).unwrap();
        folder
    }

    /// What is wrong with the file, as the operator reads it.
    pub(crate) fn refusal(&self) -> String {
        open(&self.file(), ALL).map(|_| ()).unwrap_err().to_string()
    }
}

/// What a reader finds.
pub(crate) trait Read {
    fn all(&mut self, room: u32) -> Vec<KeptMessage>;
    fn places(&mut self, room: u32) -> Vec<u64>;
    fn find(&mut self, room: u32, words: &str) -> Vec<u64>;
}

impl Read for dyn StoreReader {
    fn all(&mut self, room: u32) -> Vec<KeptMessage> {
        let request = PageRequest { room: id(room), before: Seq::from_wire(END), limit: usize::MAX };
        self.page(&request).unwrap()
    }

    fn places(&mut self, room: u32) -> Vec<u64> {
        seqs(&self.all(room))
    }

    fn find(&mut self, room: u32, words: &str) -> Vec<u64> {
        let words = words.into();
        let request = SearchRequest { room: id(room), words, before: Seq::from_wire(END), limit: usize::MAX };
        seqs(&self.search(&request).unwrap())
    }
}

pub(crate) fn seqs(messages: &[KeptMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.to_wire()).collect()
}

/// Tidies until nothing is left to be forgotten: what was said of it.
pub(crate) fn tidy(store: &mut dyn Store, now: u64) -> Vec<(u32, u64)> {
    std::iter::from_fn(|| store.tidy(UnixMillis(now)).unwrap())
        .map(|(room, seq)| (room.to_wire(), seq.to_wire()))
        .collect()
}

/// No place at all.
pub(crate) const NONE: [u64; 0] = [];
