//! A store of messages in memory, which checks that it is asked for nothing that no store promised.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    RoomId, Seq,
    history::{KeptMessage, KeptRoom, RestoredRoom, Topic, Write},
    server::ReadRequest,
};

/// Messages of each room that a server which starts is given: few, so that there is more than it remembers.
const RESTORED: usize = 4;

#[derive(Default)]
pub(crate) struct Shelf {
    rooms: BTreeMap<RoomId, Kept>,
    /// Those that are gone.
    former: BTreeSet<RoomId>,
}

struct Kept {
    room: KeptRoom,
    topic: Option<Topic>,
    last: Seq,
    messages: Vec<KeptMessage>,
}

impl Shelf {
    pub(crate) fn write(&mut self, write: Write) {
        match write {
            Write::Room(room) => {
                let is_new = self.rooms.values().all(|kept| kept.room.name.folded() != room.name.folded());
                assert!(is_new, "there is a room of that name");
                assert!(!room.id.is_private(), "what is between two is kept");
                let kept = Kept { room, topic: None, last: Seq::ZERO, messages: Vec::new() };
                assert!(self.rooms.insert(kept.room.id, kept).is_none(), "there is a room of that number");
            }
            Write::Message(message) => {
                let kept = self.rooms.get_mut(&message.room).expect("a message before its room");
                assert_eq!(message.seq.to_wire(), kept.last.to_wire() + 1, "a place is left out");
                kept.last = message.seq;
                kept.messages.push(message);
            }
            Write::Topic(room, topic) => {
                let kept = self.rooms.get_mut(&room).expect("a topic before its room");
                kept.topic = Some(topic).filter(|topic| !topic.text.is_empty());
            }
            Write::Gone(room) => {
                let kept = self.rooms.remove(&room).expect("a room that is not there is gone");
                assert!(
                    kept.messages.is_empty() && kept.topic.is_none(),
                    "a room is gone of which something is kept"
                );
                self.former.insert(room);
            }
        }
    }

    /// Forgets all but so many messages of one of the rooms: of which, and before which place.
    pub(crate) fn expire(&mut self, room: usize, left: usize) -> Option<(RoomId, Seq)> {
        let (&id, kept) = self.rooms.iter_mut().nth(room)?;
        let old = kept.messages.len().saturating_sub(left);
        kept.messages.drain(..old);
        let before = kept.messages.first().map_or(kept.last.to_wire() + 1, |kept| kept.seq.to_wire());
        Some((id, Seq::from_wire(before)))
    }

    pub(crate) fn restored(&self) -> Vec<RestoredRoom> {
        let restored = |kept: &Kept| RestoredRoom {
            room: kept.room.clone(),
            topic: kept.topic.clone(),
            last: kept.last,
            messages: kept.messages[kept.messages.len().saturating_sub(RESTORED)..].to_vec(),
            accepted: kept.messages.iter().map(|kept| (kept.author, kept.id, kept.seq)).collect(),
        };
        self.rooms.values().map(restored).collect()
    }

    pub(crate) fn read(&self, what: &ReadRequest) -> Vec<KeptMessage> {
        let (room, before, limit, words) = match what {
            ReadRequest::Page(page) => (page.room, page.before, page.limit, ""),
            ReadRequest::Search(search) => (search.room, search.before, search.limit, &*search.words),
        };
        let messages = self.rooms.get(&room).map_or(&[][..], |kept| &kept.messages);
        let found = messages.iter().filter(|kept| kept.seq < before && kept.text.contains(words));
        let mut found: Vec<_> = found.rev().take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// The last place that is kept in a room; of one that is gone nobody knows any more.
    pub(crate) fn last_of(&self, room: u32) -> Option<u64> {
        let room = RoomId::from_wire(room);
        if room.is_private() {
            return None;
        }
        let last = self.rooms.get(&room).map_or(0, |kept| kept.last.to_wire());
        (!self.former.contains(&room)).then_some(last)
    }
}
