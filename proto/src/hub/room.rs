//! One room: who is in it and the numbered log of what happened there.

use alloc::{boxed::Box, collections::VecDeque, string::String, vec::Vec};

use crate::{
    audit::{at_most, ensure},
    hooks::{Limit, Mistake, is_made},
    ids::{MessageId, Seq, SessionId},
    limits::MESSAGE_BYTES,
    name::Name,
};

/// Something that happened in a room; everybody in it sees it at the same place in the same order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Whose doing it was.
    pub member: SessionId,
    /// That member's name at the time.
    pub name: Name,
    /// What happened.
    pub what: What,
}

/// The kinds of [`Event`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A message.
    Said {
        /// The sender's own number of it.
        id: MessageId,
        /// Its text, as it was sent: not safe to print raw.
        text: Box<str>,
    },
    /// The member came.
    Joined,
    /// The member is gone.
    Left(LeaveReason),
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
    /// Names this numbering; another one means that the numbers began anew.
    pub(super) epoch: u64,
    /// Everybody in the room, those with a lost connection too.
    pub(super) members: Vec<SessionId>,
    log: VecDeque<Event>,
    messages: usize,
    last: Seq,
}

impl Room {
    pub(super) fn new(name: Name, epoch: u64) -> Self {
        Self { name, epoch, members: Vec::new(), log: VecDeque::new(), messages: 0, last: Seq::ZERO }
    }

    /// The number given out last.
    pub(super) fn last_seq(&self) -> Seq {
        self.last
    }

    /// Appends an event. The oldest ones are forgotten past [`crate::limits::HISTORY_MESSAGES`]
    /// messages or [`crate::limits::HISTORY_EVENTS`].
    pub(super) fn append(&mut self, event: Event) -> Seq {
        self.last = self.last.next();
        self.messages += usize::from(is_message(&event));
        self.log.push_back(event);
        let (messages, events) = (Limit::HistoryMessages.value(), Limit::HistoryEvents.value());
        while (self.messages > messages || self.log.len() > events) && !is_made(Mistake::HistoryGrows) {
            let forgotten = self.log.pop_front();
            self.messages -= usize::from(forgotten.as_ref().is_some_and(is_message));
        }
        self.last
    }

    /// The remembered events after `seq`, oldest first, with their numbers.
    pub(super) fn events_after(&self, seq: Seq) -> impl Iterator<Item = (Seq, &Event)> {
        let first = self.last.to_wire() - self.log.len() as u64 + 1;
        let skip = seq.next().to_wire().saturating_sub(first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.log.len());
        // Not past each of them: most often all but the last are skipped.
        let rest = self.log.range(skip..).zip(first + skip as u64..);
        rest.map(|(event, seq)| (Seq::from_wire(seq), event))
    }

    pub(super) fn remove(&mut self, member: SessionId) {
        self.members.retain(|&other| other != member);
    }

    /// What must hold of the log; the members are the hub's matter.
    pub(super) fn audit(&self) -> Result<(), String> {
        let (events, limit) = (self.log.len(), Limit::HistoryEvents.value());
        at_most("events in the log", events, limit)?;
        let messages = self.log.iter().filter(|event| is_message(event)).count();
        ensure!(
            messages == self.messages,
            "{messages} messages are in the log, {} were counted",
            self.messages
        );
        let most_messages = Limit::HistoryMessages.value();
        at_most("messages in the log", messages, most_messages)?;
        let last = self.last.to_wire();
        ensure!(last >= events as u64, "the log has {events} events, {last} were numbered");
        // Nothing is forgotten before there is too much.
        let is_full = events == limit || messages == most_messages;
        ensure!(
            is_full || last == events as u64,
            "of {last} events only {events} are in the log, which is not full"
        );
        let texts = self.log.iter().filter_map(|event| match &event.what {
            What::Said { text, .. } => Some(text.len()),
            What::Joined | What::Left(_) => None,
        });
        at_most("bytes of a message", texts.max().unwrap_or_default(), MESSAGE_BYTES)
    }
}

fn is_message(event: &Event) -> bool {
    matches!(event.what, What::Said { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::assert_told;
    use crate::limits::{HISTORY_EVENTS, HISTORY_MESSAGES};

    fn event(what: What) -> Event {
        Event { member: SessionId::from_wire(1), name: Name::new("Foo").unwrap(), what }
    }

    fn said(id: u64) -> Event {
        event(What::Said { id: MessageId::from_wire(id), text: "x".into() })
    }

    #[test]
    fn the_log_remembers_so_many_messages_and_what_came_between() {
        let mut room = Room::new(Name::new("den").unwrap(), 1);
        room.append(event(What::Joined));
        let total = HISTORY_MESSAGES as u64 + 5;
        for id in 1..=total {
            assert_eq!(room.append(said(id)), Seq::from_wire(id + 1));
        }
        let kept: Vec<u64> = room.events_after(Seq::ZERO).map(|(seq, _)| seq.to_wire()).collect();
        assert_eq!((kept.len(), kept[0]), (HISTORY_MESSAGES, 7));
        assert_eq!(room.events_after(Seq::from_wire(total)).count(), 1);
        assert_eq!(room.events_after(Seq::from_wire(total + 1)).count(), 0);
        assert_eq!(room.events_after(Seq::from_wire(u64::MAX - 1)).count(), 0);
    }

    #[test]
    fn joins_alone_do_not_fill_memory() {
        let mut room = Room::new(Name::new("den").unwrap(), 1);
        for _ in 0..HISTORY_EVENTS + 10 {
            room.append(event(What::Joined));
        }
        assert_eq!(room.events_after(Seq::ZERO).count(), HISTORY_EVENTS);
    }

    #[test]
    fn an_audit_tells_what_is_wrong_with_the_log() {
        let full = || {
            let mut room = Room::new(Name::new("den").unwrap(), 1);
            for id in 0..HISTORY_MESSAGES as u64 + 5 {
                room.append(event(What::Joined));
                room.append(said(id));
            }
            room.audit().unwrap();
            for _ in 0..HISTORY_EVENTS {
                room.audit().unwrap();
                room.append(event(What::Joined));
            }
            room.append(said(1));
            room
        };
        assert_told(
            full,
            Room::audit,
            &[
                ("events in the log: 4097, the limit is 4096", |room| {
                    room.log.push_back(event(What::Joined));
                }),
                ("messages in the log: 1025, the limit is 1024", |room| {
                    room.log.drain(..HISTORY_MESSAGES);
                    room.log.extend((0..HISTORY_MESSAGES as u64).map(said));
                    room.messages += HISTORY_MESSAGES;
                }),
                ("1 messages are in the log, 2 were counted", |room| room.messages += 1),
                ("the log has 4096 events, 7 were numbered", |room| room.last = Seq::from_wire(7)),
                ("only 4095 are in the log, which is not full", |room| {
                    room.log.pop_front();
                }),
                ("bytes of a message: 4097, the limit is 4096", |room| {
                    let (id, text) = (MessageId::from_wire(1), "x".repeat(MESSAGE_BYTES + 1).into());
                    room.log[4095].what = What::Said { id, text };
                }),
            ],
        );
    }
}
