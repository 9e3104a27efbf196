//! A store of messages in memory: what a driver's store must do, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chinwag_proto::{
    RoomId, Seq,
    history::{KeptMessage, KeptRoom, PageRequest, RestoredRoom, SearchRequest, Topic, Write},
    limits::HISTORY_MESSAGES,
    server::ReadRequest,
};

/// What is kept. Checks that no more is asked of a store than it promised.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    rooms: BTreeMap<RoomId, Kept>,
    /// Those that are gone.
    former: BTreeSet<RoomId>,
}

#[derive(Clone)]
struct Kept {
    room: KeptRoom,
    topic: Option<Topic>,
    /// All that it was ever about.
    topics: BTreeSet<String>,
    last: Seq,
    messages: VecDeque<KeptMessage>,
}

impl Shelf {
    pub(crate) fn write(&mut self, write: &Write) {
        match write {
            Write::Room(room) => {
                let is_new = self.rooms.values().all(|kept| kept.room.name.folded() != room.name.folded());
                assert!(is_new, "{room:?} is there already");
                assert!(!room.id.is_private(), "{room:?} is nobody else's");
                let kept = Kept {
                    room: room.clone(),
                    topic: None,
                    topics: BTreeSet::new(),
                    last: Seq::ZERO,
                    messages: VecDeque::new(),
                };
                assert!(self.rooms.insert(room.id, kept).is_none(), "{room:?} has another's number");
            }
            Write::Message(message) => {
                let kept = self.rooms.get_mut(&message.room).expect("its room is kept before it");
                assert_eq!(message.seq.to_wire(), kept.last.to_wire() + 1, "no place is left out");
                kept.last = message.seq;
                kept.messages.push_back(message.clone());
            }
            Write::Topic(room, topic) => {
                let kept = self.rooms.get_mut(room).expect("its room is kept before it");
                kept.topics.insert(String::from(&*topic.text));
                kept.topic = Some(topic.clone()).filter(|topic| !topic.text.is_empty());
            }
            Write::Gone(room) => {
                let kept = self.rooms.remove(room).expect("it was kept");
                assert_eq!(kept.topic, None, "{room:?} is about something");
                assert!(kept.messages.is_empty(), "{room:?} still has something in it");
                self.former.insert(*room);
            }
        }
    }

    /// Forgets what came before a place.
    pub(crate) fn expire(&mut self, room: RoomId, before: Seq) {
        if let Some(kept) = self.rooms.get_mut(&room) {
            kept.messages.retain(|message| message.seq >= before);
        }
    }

    /// What a server that starts is given, with so many messages of each room.
    pub(crate) fn restored(&self, most: usize) -> Vec<RestoredRoom> {
        let restored = |kept: &Kept| RestoredRoom {
            room: kept.room.clone(),
            topic: kept.topic.clone(),
            last: kept.last,
            messages: latest(kept.messages.iter(), most.min(HISTORY_MESSAGES)),
            accepted: kept.messages.iter().map(|kept| (kept.author, kept.id, kept.seq)).collect(),
        };
        self.rooms.values().map(restored).collect()
    }

    pub(crate) fn read(&self, what: &ReadRequest) -> Vec<KeptMessage> {
        let (ReadRequest::Page(PageRequest { room, before, limit })
        | ReadRequest::Search(SearchRequest { room, before, limit, .. })) = what;
        let words = match what {
            ReadRequest::Page(_) => "",
            ReadRequest::Search(search) => &search.words,
        };
        let messages = self.rooms.get(room).into_iter().flat_map(|kept| &kept.messages);
        let has_all = |text: &str| words.split_whitespace().all(|word| text.contains(word));
        latest(messages.filter(|kept| kept.seq < *before && has_all(&kept.text)), *limit)
    }

    /// The last place that is kept in a room; of one that is gone nobody knows any more.
    pub(crate) fn last_of(&self, room: RoomId) -> Option<Seq> {
        let last = self.rooms.get(&room).map_or(Seq::ZERO, |kept| kept.last);
        (!self.former.contains(&room)).then_some(last)
    }

    /// Whether it was kept that a room is about this; of one that is gone nobody knows any more.
    pub(crate) fn was_about(&self, room: RoomId, text: &str) -> bool {
        let topics = self.rooms.get(&room).map(|kept| &kept.topics);
        self.former.contains(&room) || topics.is_some_and(|topics| topics.contains(text))
    }

    /// All that is kept of a room.
    pub(crate) fn messages(&self, room: RoomId) -> Vec<&KeptMessage> {
        self.rooms.get(&room).into_iter().flat_map(|kept| &kept.messages).collect()
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.keys().copied()
    }
}

fn latest<'a>(messages: impl DoubleEndedIterator<Item = &'a KeptMessage>, most: usize) -> Vec<KeptMessage> {
    let mut latest: Vec<_> = messages.rev().take(most).cloned().collect();
    latest.reverse();
    latest
}
