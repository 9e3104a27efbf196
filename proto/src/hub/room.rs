//! One room: who is in it and the numbered log of what was said there.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use crate::{
    audit::{at_most, ensure},
    history::{KeptMessage, KeptRoom, Topic},
    hooks::{Limit, Mistake, is_made},
    ids::{RoomId, Seq, SessionId},
    limits::{self, MESSAGE_BYTES},
    name::{FoldedName, Name},
};

/// A message with its place in a room; everybody there sees it at the same place in the same order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whose session said it: nobody's when the server did, or in an earlier start of the server.
    pub member: SessionId,
    /// What was said, when and where.
    pub kept: KeptMessage,
}

/// Why somebody left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaveReason {
    /// By choice.
    Quit,
    /// The connection was lost and did not come back in time.
    Lost,
    /// The server removed the session.
    Removed,
}

/// Members and log of a room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Name,
    /// Kept, since each name that is looked for is held against those of all rooms.
    pub(super) folded: FoldedName,
    /// Names this numbering; another one means that the numbers began anew.
    pub(super) epoch: u64,
    /// Everybody in the room, those with a lost connection too.
    pub(super) members: Vec<SessionId>,
    /// Sessions that have it among their rooms, those that are gone, too.
    pub(super) holders: usize,
    /// Whose it is alone: of the one who began it, and of the other.
    pub(super) pair: Option<[SessionId; 2]>,
    /// The other wanted it, too, or said something there.
    pub(super) is_answered: bool,
    /// Who is alone here with somebody who is away, and does not know it: he was not told what was said.
    pub(super) untold: Option<SessionId>,
    /// What it is about.
    pub(super) topic: Option<Topic>,
    /// The store was told of it.
    pub(super) is_kept: bool,
    /// Messages that have their place and are not kept yet.
    pub(super) waiting: u64,
    /// Topics that are not kept yet.
    pub(super) topics_waiting: usize,
    /// The store has forgotten all that was said.
    is_forgotten: bool,
    log: VecDeque<Message>,
    /// Bytes of the messages in the log.
    bytes: usize,
    last: Seq,
}

impl Room {
    pub(super) fn new(name: Name, epoch: u64) -> Self {
        let (members, log) = (Vec::new(), VecDeque::new());
        Self {
            folded: name.folded(),
            name,
            epoch,
            members,
            holders: 0,
            pair: None,
            is_answered: false,
            untold: None,
            topic: None,
            is_kept: false,
            waiting: 0,
            topics_waiting: 0,
            is_forgotten: false,
            log,
            bytes: 0,
            last: Seq::ZERO,
        }
    }

    /// What is between two alone.
    pub(super) fn private(pair: [SessionId; 2], epoch: u64) -> Self {
        Self { pair: Some(pair), ..Self::new(Name::of_the_server(), epoch) }
    }

    /// With whom `member` is alone here.
    pub(super) fn other(&self, member: SessionId) -> Option<SessionId> {
        match self.pair? {
            [other, own] | [own, other] if own == member => Some(other),
            _ => None,
        }
    }

    /// `member` wants to be alone here with the other.
    pub(super) fn answer(&mut self, member: SessionId) {
        self.is_answered |= self.pair.is_some_and(|[_, other]| other == member);
    }

    /// A room that a store had kept.
    pub(super) fn restored(room: KeptRoom, last: Seq, messages: Vec<KeptMessage>) -> Self {
        let mut restored = Self { is_kept: true, ..Self::new(room.name, room.epoch) };
        restored.is_forgotten = messages.is_empty();
        let before = last.to_wire().saturating_sub(messages.len() as u64);
        restored.last = Seq::from_wire(before);
        for kept in messages {
            restored.append(Message { member: SessionId::NOBODY, kept }, usize::MAX);
        }
        restored
    }

    /// As it is kept.
    pub(super) fn kept(&self, id: RoomId) -> KeptRoom {
        KeptRoom { id, name: self.name.clone(), epoch: self.epoch }
    }

    /// True if everybody knows already that it is about this, and nothing else waits to be kept.
    pub(super) fn is_about(&self, text: &str) -> bool {
        self.topics_waiting == 0 && self.topic.as_ref().map_or("", |topic| &topic.text) == text
    }

    /// True for the default room, however its name was typed by whoever came first.
    pub(super) fn is_default(&self) -> bool {
        self.folded.as_str() == limits::DEFAULT_ROOM
    }

    /// Bytes of the messages that it remembers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number given out last of those that were told.
    pub(super) fn last_seq(&self) -> Seq {
        self.last
    }

    /// The number of the next message.
    pub(super) fn next_seq(&self) -> Seq {
        Seq::from_wire(self.last.to_wire().saturating_add(self.waiting + 1))
    }

    /// True while nothing was said there.
    pub(super) fn is_blank(&self) -> bool {
        self.last == Seq::ZERO && self.waiting == 0
    }

    /// True while there is nothing for a store to keep: it is about nothing, and nothing was said, or all of it is forgotten.
    pub(super) fn has_nothing(&self) -> bool {
        let has_topic = self.topic.is_some() || self.topics_waiting > 0;
        !has_topic && (self.is_blank() || self.is_forgotten && self.waiting == 0)
    }

    /// Appends a message, which has the next place. The oldest ones are forgotten past [`crate::limits::HISTORY_MESSAGES`] or `most_bytes`
    /// are taken.
    pub(super) fn append(&mut self, message: Message, most_bytes: usize) {
        self.last = self.last.next();
        self.is_forgotten = false;
        self.bytes += message.kept.cost();
        self.log.push_back(message);
        let (messages, bytes) = (Limit::HistoryMessages.value(), Limit::HistoryBytes.value().min(most_bytes));
        while (self.log.len() > messages || self.bytes > bytes) && !is_made(Mistake::HistoryGrows) {
            self.forget_first();
        }
    }

    /// Forgets what came before `seq`, as the store has done.
    pub(super) fn forget_before(&mut self, seq: Seq) {
        self.is_forgotten |= seq > self.last;
        while !self.log.is_empty() && self.first_seq() < seq {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(forgotten) = self.log.pop_front() {
            self.bytes -= forgotten.kept.cost();
        }
    }

    /// The place of the first message that is remembered, or of the next one if none is.
    pub(super) fn first_seq(&self) -> Seq {
        Seq::from_wire(self.last.to_wire() + 1 - self.log.len() as u64)
    }

    /// The remembered messages after `seq`, oldest first.
    pub(super) fn messages_after(&self, seq: Seq) -> impl DoubleEndedIterator<Item = &Message> {
        let skip = seq.next().to_wire().saturating_sub(self.first_seq().to_wire());
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.log.len());
        // Not past each of them: most often all but the last are skipped.
        self.log.range(skip..)
    }

    /// False when he was not there.
    pub(super) fn remove(&mut self, member: SessionId) -> bool {
        let before = self.members.len();
        self.members.retain(|&other| other != member);
        self.members.len() < before
    }

    /// What must hold of the log; the members are the hub's matter.
    pub(super) fn audit(&self) -> Result<(), String> {
        let (messages, bytes) = (self.log.len(), Limit::HistoryBytes.value());
        at_most("messages in the log", messages, Limit::HistoryMessages.value())?;
        let sum: usize = self.log.iter().map(|message| message.kept.cost()).sum();
        ensure!(sum == self.bytes, "{sum} bytes are in the log, {} were counted", self.bytes);
        at_most("bytes in the log", sum, bytes)?;
        let last = self.last.to_wire();
        ensure!(last >= messages as u64, "the log has {messages} messages, {last} were numbered");
        for (message, seq) in self.log.iter().zip(self.first_seq().to_wire()..) {
            let place = message.kept.seq.to_wire();
            ensure!(place == seq, "the message at {seq} says that it is at {place}");
        }
        let longest = self.log.iter().map(|message| message.kept.text.len()).max();
        at_most("bytes of a message", longest.unwrap_or_default(), MESSAGE_BYTES)
    }
}

/// Bytes of the messages that all rooms remember. What is between two has an account of its own, so that many conversations do not take
/// anything from the rooms.
#[derive(Debug, Default)]
pub(super) struct LogBytes {
    pub(super) named: usize,
    pub(super) private: usize,
}

impl LogBytes {
    /// A room remembers so much now, and not what it did before.
    pub(super) fn note(&mut self, room: RoomId, before: usize, now: usize) {
        let bytes = if room.is_private() { &mut self.private } else { &mut self.named };
        *bytes = *bytes - before + now;
    }

    /// How much a room may remember that is spoken in now.
    pub(super) fn most(&self, room: RoomId) -> usize {
        let (bytes, most, share) = match room.is_private() {
            true => (self.private, limits::PRIVATE_HISTORIES_BYTES, limits::PRIVATE_SHARE_BYTES),
            false => (self.named, limits::HISTORIES_BYTES, limits::HISTORY_SHARE_BYTES),
        };
        if bytes > most { share } else { usize::MAX }
    }

    /// What must hold of it, if rooms remember so much.
    pub(super) fn audit(&self, rooms: impl Iterator<Item = (RoomId, usize)>) -> Result<(), String> {
        let mut found = Self::default();
        rooms.for_each(|(room, bytes)| found.note(room, 0, bytes));
        // Beyond what all may have together each may have its share.
        let named = limits::HISTORIES_BYTES + limits::ROOMS * limits::HISTORY_SHARE_BYTES;
        let private = limits::PRIVATE_HISTORIES_BYTES + limits::PRIVATE_ROOMS * limits::PRIVATE_SHARE_BYTES;
        for (what, found, counted, most) in [
            ("bytes of rooms", found.named, self.named, named),
            ("bytes of what is private", found.private, self.private, private),
        ] {
            ensure!(found == counted, "{what}: {found}, not {counted}");
            at_most(what, found, most)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::assert_told,
        history::{AuthorKey, UnixMillis},
        ids::MessageId,
        limits::{HISTORY_MESSAGES, HISTORY_SHARE_BYTES, MESSAGE_COST},
    };
    use alloc::{format, sync::Arc};

    fn said(seq: u64, text: &str) -> Message {
        let kept = KeptMessage {
            room: RoomId::from_wire(1),
            seq: Seq::from_wire(seq),
            at: UnixMillis(seq),
            author: AuthorKey::default(),
            id: MessageId::from_wire(seq),
            name: Name::new("Foo").unwrap(),
            text: Arc::from(text),
        };
        Message { member: SessionId::from_wire(1), kept }
    }

    fn den() -> Room {
        Room::new(Name::new("den").unwrap(), 1)
    }

    #[test]
    fn the_log_remembers_so_many_messages() {
        let mut room = den();
        let total = HISTORY_MESSAGES as u64 + 5;
        for seq in 1..=total {
            assert_eq!(room.next_seq(), Seq::from_wire(seq));
            room.append(said(seq, "x"), usize::MAX);
        }
        let kept: Vec<u64> =
            room.messages_after(Seq::ZERO).map(|message| message.kept.seq.to_wire()).collect();
        assert_eq!((kept.len(), kept[0]), (HISTORY_MESSAGES, 6));
        assert_eq!(room.messages_after(Seq::from_wire(total - 1)).count(), 1);
        assert_eq!(room.messages_after(Seq::from_wire(total)).count(), 0);
        assert_eq!(room.messages_after(Seq::from_wire(u64::MAX - 1)).count(), 0);
    }

    #[test]
    fn the_log_remembers_so_many_bytes() {
        let (mut room, text) = (den(), "x".repeat(MESSAGE_BYTES));
        let most = HISTORY_SHARE_BYTES;
        for seq in 1..=(most / (MESSAGE_BYTES + MESSAGE_COST)) as u64 + 3 {
            room.append(said(seq, &text), most);
        }
        room.audit().unwrap();
        assert_eq!(room.messages_after(Seq::ZERO).count(), most / (MESSAGE_BYTES + MESSAGE_COST));
        assert_eq!(room.first_seq(), Seq::from_wire(4));
    }

    #[test]
    fn what_is_between_two_has_an_account_of_its_own() {
        let (den, alone) = (RoomId::from_wire(1), RoomId::from_wire(1 << 24));
        let mut bytes = LogBytes::default();
        bytes.note(den, 0, limits::HISTORIES_BYTES);
        bytes.note(alone, 0, limits::PRIVATE_HISTORIES_BYTES);
        assert_eq!((bytes.most(den), bytes.most(alone)), (usize::MAX, usize::MAX));
        bytes.note(den, 0, 1);
        assert_eq!((bytes.most(den), bytes.most(alone)), (HISTORY_SHARE_BYTES, usize::MAX));
        bytes.note(den, 1, 0);
        bytes.note(alone, 0, 1);
        assert_eq!((bytes.most(den), bytes.most(alone)), (usize::MAX, limits::PRIVATE_SHARE_BYTES));
        let rooms = |named, private| bytes.audit([(den, named), (alone, private)].into_iter());
        assert_eq!(rooms(limits::HISTORIES_BYTES, limits::PRIVATE_HISTORIES_BYTES + 1), Ok(()));
        assert!(rooms(1, limits::PRIVATE_HISTORIES_BYTES + 1).is_err());
        assert!(rooms(limits::HISTORIES_BYTES, 1).is_err());
        let most = limits::PRIVATE_HISTORIES_BYTES + limits::PRIVATE_ROOMS * limits::PRIVATE_SHARE_BYTES;
        let grown = LogBytes { named: 0, private: most + 1 };
        let wrong = grown.audit([(alone, most + 1)].into_iter());
        assert_eq!(wrong, Err(format!("bytes of what is private: {}, the limit is {most}", most + 1)));
    }

    /// With one of any length, everybody in it is still told the last thing that was said.
    #[test]
    fn one_message_fits_the_smallest_share() {
        let mut room = den();
        for seq in 1..=2 {
            room.append(said(seq, &"x".repeat(MESSAGE_BYTES)), limits::PRIVATE_SHARE_BYTES);
            assert_eq!(room.messages_after(Seq::ZERO).count(), 1);
        }
    }

    #[test]
    fn what_is_restored_goes_on_with_its_numbers() {
        let kept = |seq| said(seq, "x").kept;
        let room = den().kept(RoomId::from_wire(1));
        let mut restored = Room::restored(room.clone(), Seq::from_wire(9), [kept(8), kept(9)].to_vec());
        assert_eq!((restored.first_seq(), restored.next_seq()), (Seq::from_wire(8), Seq::from_wire(10)));
        restored.forget_before(Seq::from_wire(9));
        assert_eq!(restored.messages_after(Seq::ZERO).count(), 1);
        restored.forget_before(Seq::from_wire(99));
        assert_eq!((restored.first_seq(), restored.next_seq()), (Seq::from_wire(10), Seq::from_wire(10)));
        restored.audit().unwrap();
        let empty = Room::restored(room, Seq::from_wire(9), Vec::new());
        assert_eq!((empty.first_seq(), empty.last_seq()), (Seq::from_wire(10), Seq::from_wire(9)));
    }

    #[test]
    fn an_audit_tells_what_is_wrong_with_the_log() {
        let full = || {
            let mut room = den();
            for seq in 1..=HISTORY_MESSAGES as u64 + 5 {
                room.append(said(seq, "x"), usize::MAX);
            }
            room.audit().unwrap();
            room
        };
        assert_told(
            full,
            Room::audit,
            &[
                ("messages in the log: 1025, the limit is 1024", |room| {
                    room.log.push_back(said(1030, "x"));
                }),
                ("263168 bytes are in the log, 263169 were counted", |room| room.bytes += 1),
                ("the log has 1024 messages, 7 were numbered", |room| room.last = Seq::from_wire(7)),
                ("the message at 5 says that it is at 6", |room| {
                    room.last = Seq::from_wire(1028);
                }),
                ("bytes of a message: 4097, the limit is 4096", |room| {
                    room.log[1023] = said(1029, &"x".repeat(MESSAGE_BYTES + 1));
                    room.bytes += MESSAGE_BYTES;
                }),
            ],
        );
    }
}
