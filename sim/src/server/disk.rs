//! The disk that keeps a server's history: it writes one batch after the other, as a store does, is full for a while, and holds after a
//! crash what was written, and of what was being written all, nothing, or the first part.

use std::collections::{BTreeMap, VecDeque};

use chinwag_proto::{
    Duration, Instant, Rng, RoomId, Seq,
    history::{KeptMessage, KeptRoom, RestoredRoom, Topic, Write},
    hooks::Limit,
    server::ReadRequest,
};

use crate::{
    random::{MILLION, between, chance},
    spec::{Key, Spec},
};

/// A batch that takes so many times as long as others: the disk has something else to do.
const STALL_PPM: u32 = 20_000;
const STALL: u64 = 40;
/// Between two times when it is full, and for how long it is, as a share of that.
const FULL_PPM: u64 = 300_000;
/// What a starting server looks through.
const ACCEPTED: usize = 2000;

/// What it answers.
#[derive(Debug)]
pub(super) enum Answer {
    Kept { run: u32, count: usize },
    NotKept { run: u32 },
    Read { ticket: u32, found: Vec<KeptMessage> },
}

#[derive(Debug)]
struct Room {
    room: KeptRoom,
    messages: Vec<KeptMessage>,
    /// What it was said to be about, the last one last.
    topics: Vec<Topic>,
}

/// What a disk has of a room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OnDisk<'a> {
    pub(crate) messages: &'a [KeptMessage],
    /// The last is what the room is about.
    pub(crate) topics: &'a [Topic],
}

/// Whether it is ever full: not where classic peers are, who cannot be told which of their words was refused.
pub(crate) fn can_be_full(spec: &Spec) -> bool {
    spec.get(Key::Disk) > 0 && spec.get(Key::Full) > 0 && spec.get(Key::Classic) == 0
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Disk {
    rng: Rng,
    /// How long a batch takes at most; without it nothing is kept.
    batch_us: u64,
    full_every_us: u64,
    rooms: BTreeMap<RoomId, Room>,
    waiting: VecDeque<(u32, Write)>,
    questions: VecDeque<(u32, ReadRequest)>,
    writing: Option<(Instant, u32, Vec<Write>)>,
    failed_run: Option<u32>,
    /// From when to when it is full.
    full: (Instant, Instant),
}

impl Disk {
    pub(super) fn new(spec: &Spec, mut rng: Rng) -> Self {
        let full_every_us = if can_be_full(spec) { spec.seconds_us(Key::Full) } else { 0 };
        let mut disk = Self {
            batch_us: spec.get(Key::Disk),
            full_every_us,
            rooms: BTreeMap::new(),
            waiting: VecDeque::new(),
            questions: VecDeque::new(),
            writing: None,
            failed_run: None,
            full: (Instant::from_micros(u64::MAX), Instant::from_micros(u64::MAX)),
            rng: Rng::from_number(rng.next_u64()),
        };
        disk.fill_later(Instant::ZERO);
        disk
    }

    /// True when there is one.
    pub(super) fn is_there(&self) -> bool {
        self.batch_us > 0
    }

    /// It is never full any more.
    pub(super) fn heal(&mut self) {
        self.full_every_us = 0;
        self.full.0 = Instant::from_micros(u64::MAX);
    }

    fn fill_later(&mut self, now: Instant) {
        if self.full_every_us > 0 {
            let from = now + Duration::from_micros(between(&mut self.rng, 1000, 2 * self.full_every_us));
            let most = self.full_every_us * FULL_PPM / u64::from(MILLION);
            self.full = (from, from + Duration::from_micros(between(&mut self.rng, 1000, most.max(1001))));
        }
    }

    pub(super) fn keep(&mut self, run: u32, write: Write) {
        self.waiting.push_back((run, write));
    }

    pub(super) fn read(&mut self, ticket: u32, what: ReadRequest) {
        self.questions.push_back((ticket, what));
    }

    /// Nobody waits for it any more; true when that was in time.
    pub(super) fn leaves_unread(&mut self, ticket: u32) -> bool {
        let before = self.questions.len();
        self.questions.retain(|(other, _)| *other != ticket);
        self.questions.len() < before
    }

    /// When it has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.writing.as_ref().map(|(done, ..)| *done)
    }

    /// Begins what there is to do. To be called when all was handed over.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.writing.is_some() || (self.waiting.is_empty() && self.questions.is_empty()) {
            return;
        }
        let run = self.waiting.front().map_or(0, |(run, _)| *run);
        let count = self.waiting.iter().take_while(|(of, _)| *of == run).count();
        let batch = self.waiting.drain(..count).map(|(_, write)| write).collect();
        let stalls = if chance(&mut self.rng, STALL_PPM) { STALL } else { 1 };
        let takes = between(&mut self.rng, self.batch_us / 10, self.batch_us) * stalls;
        self.writing = Some((now + Duration::from_micros(takes.max(1)), run, batch));
    }

    /// What is done by `now`.
    pub(super) fn answers(&mut self, now: Instant) -> Vec<Answer> {
        let Some((_, run, batch)) = self.writing.take_if(|(done, ..)| *done <= now) else {
            return Vec::new();
        };
        if now > self.full.1 {
            self.fill_later(now);
        }
        let mut answers = Vec::new();
        if self.failed_run == Some(run) || batch.is_empty() {
            // The server has given these up, or only wants to read.
        } else if now >= self.full.0 {
            self.failed_run = Some(run);
            answers.push(Answer::NotKept { run });
        } else {
            let count = batch.len();
            batch.into_iter().for_each(|write| self.write(write));
            answers.push(Answer::Kept { run, count });
        }
        for (ticket, what) in std::mem::take(&mut self.questions) {
            answers.push(Answer::Read { ticket, found: self.find(&what) });
        }
        answers
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Room(room) => {
                self.rooms.insert(room.id, Room { room, messages: Vec::new(), topics: Vec::new() });
            }
            Write::Message(message) => {
                if let Some(room) = self.rooms.get_mut(&message.room) {
                    room.messages.push(message);
                }
            }
            Write::Topic(room, topic) => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.topics.push(topic);
                }
            }
            Write::Gone(room) => {
                self.rooms.remove(&room);
            }
        }
    }

    fn find(&self, what: &ReadRequest) -> Vec<KeptMessage> {
        let (room, before, limit) = match what {
            ReadRequest::Page(page) => (page.room, page.before, page.limit),
            ReadRequest::Search(search) => (search.room, search.before, search.limit),
        };
        let messages = self.rooms.get(&room).map_or(&[][..], |room| &room.messages);
        let earlier = messages.iter().rev().filter(|message| message.seq < before);
        let matching = earlier.filter(|message| match what {
            ReadRequest::Page(_) => true,
            ReadRequest::Search(search) => message.text.contains(&*search.words),
        });
        let mut found: Vec<KeptMessage> = matching.take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// The server crashes. What was not begun is gone; what was is there or not.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
        self.questions.clear();
        if let Some((_, run, batch)) = self.writing.take()
            && self.failed_run != Some(run)
        {
            let some = between(&mut self.rng, 0, batch.len() as u64);
            let count = match between(&mut self.rng, 0, 2) {
                0 => 0,
                1 => batch.len(),
                _ => usize::try_from(some).unwrap_or(0),
            };
            batch.into_iter().take(count).for_each(|write| self.write(write));
        }
        self.failed_run = None;
    }

    /// True if it has the room and was never told that this is what it is about.
    pub(super) fn lacks_topic(&self, room: RoomId, topic: &Topic) -> bool {
        self.rooms.get(&room).is_some_and(|room| !room.topics.contains(topic))
    }

    /// All that it has.
    pub(super) fn kept(&self) -> BTreeMap<RoomId, OnDisk<'_>> {
        let rooms = self.rooms.iter();
        rooms.map(|(&id, Room { messages, topics, .. })| (id, OnDisk { messages, topics })).collect()
    }

    /// What a starting server finds.
    pub(super) fn restore(&self) -> Vec<RestoredRoom> {
        let restored = self.rooms.values().map(|Room { room, messages, topics }| {
            let mut bytes = 0;
            let last = messages.iter().rev().take(Limit::HistoryMessages.value()).take_while(|message| {
                bytes += message.cost();
                bytes <= Limit::HistoryBytes.value()
            });
            let first = messages.len() - last.count();
            let accepted = messages.iter().skip(messages.len().saturating_sub(ACCEPTED));
            RestoredRoom {
                room: room.clone(),
                topic: topics.last().filter(|topic| !topic.text.is_empty()).cloned(),
                last: messages.last().map_or(Seq::ZERO, |message| message.seq),
                messages: messages[first..].to_vec(),
                accepted: accepted.map(|message| (message.author, message.id, message.seq)).collect(),
            }
        });
        restored.collect()
    }
}
