//! What waits to be kept: a message has its place when it is taken, and is told when the store has it.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use super::{Audience, Hub, Message, Notice, Refusal, Rejection, Room, is_unused};
use crate::{
    audit::ensure,
    history::{AuthorKey, KeepError, KeptMessage, RestoredRoom, Topic, Write},
    hooks::{Limit, Mistake, is_made},
    ids::{RoomId, Seq, SessionId},
    limits,
};

/// What was given out to be kept and is not answered yet, in that order.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Since what was asked for before a failure must not be kept after it, each failure begins another run.
    run: u32,
    waiting: VecDeque<Waiting>,
    /// Bytes that it takes.
    bytes: usize,
    /// What was not given out yet.
    new: VecDeque<Write>,
    /// Rooms of which the store could not be told that they are gone. It is told again before the next that is to be kept, lest it
    /// has two rooms of one name.
    still_there: Vec<RoomId>,
}

#[derive(Debug)]
enum Waiting {
    Room(RoomId),
    Message {
        member: SessionId,
        kept: KeptMessage,
    },
    Topic {
        member: SessionId,
        room: RoomId,
        topic: Topic,
    },
    Gone(RoomId),
    /// For [`Mistake::ToldBeforeKept`].
    Told,
}

impl Waiting {
    fn is_topic_of(&self, id: RoomId) -> bool {
        matches!(self, Self::Topic { room, .. } if *room == id)
    }
}

impl Keeping {
    fn write(&mut self, waiting: Waiting, write: Write) {
        for room in core::mem::take(&mut self.still_there) {
            self.waiting.push_back(Waiting::Gone(room));
            self.new.push_back(Write::Gone(room));
        }
        self.waiting.push_back(waiting);
        self.new.push_back(write);
    }
}

impl Hub {
    /// From now on everything is kept before it is told. These are the rooms that a store had.
    pub fn restore(&mut self, rooms: impl IntoIterator<Item = RestoredRoom>) {
        self.keeping = Some(Keeping::default());
        for RestoredRoom { room, topic, mut last, mut messages, accepted } in rooms {
            if is_made(Mistake::LastForgotten) && messages.pop().is_some() {
                last = Seq::from_wire(last.to_wire() - 1);
            }
            let last_said = messages.iter().map(|kept| (kept.author, kept.id, kept.seq));
            for (author, id, seq) in accepted.into_iter().chain(last_said) {
                self.authors.restore(author, id, room.id, seq);
            }
            self.next_room = self.next_room.max(room.id.to_wire() % limits::LAST_ROOM + 1);
            let id = room.id;
            let mut room = Room::restored(room, last, messages);
            room.topic = topic.filter(|_| !is_made(Mistake::TopicForgotten));
            self.log_bytes.note(id, 0, room.bytes());
            self.rooms.insert(id, room);
            self.remove_unused(id);
        }
    }

    /// True when what is said is kept by a store.
    pub fn is_lasting(&self) -> bool {
        self.keeping.is_some()
    }

    /// True when what is said in `room` is kept by a store.
    pub(crate) fn is_lasting_in(&self, room: RoomId) -> bool {
        self.is_lasting() && !room.is_private()
    }

    /// Something to be kept, of which run: to be given to the store in this order. Each is answered by [`Hub::kept`], or all of the run by
    /// [`Hub::not_kept`].
    pub(crate) fn next_write(&mut self) -> Option<(u32, Write)> {
        let keeping = self.keeping.as_mut()?;
        Some((keeping.run, keeping.new.pop_front()?))
    }

    /// The next `count` of what was given out are kept.
    pub(crate) fn kept(&mut self, run: u32, count: usize, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        for _ in 0..count {
            let Some(keeping) = self.keeping.as_mut().filter(|keeping| keeping.run == run) else { return };
            match keeping.waiting.pop_front() {
                Some(Waiting::Message { member, kept }) => {
                    keeping.bytes -= kept.cost();
                    if let Some(room) = self.rooms.get_mut(&kept.room) {
                        room.waiting -= 1;
                    }
                    if let Some(session) = self.sessions.get_mut(member) {
                        session.waiting = session.waiting.saturating_sub(1);
                    }
                    self.settle(Message { member, kept }, tell);
                }
                Some(Waiting::Topic { room, topic, .. }) => {
                    keeping.bytes -= topic_cost(&topic);
                    if let Some(room) = self.rooms.get_mut(&room) {
                        room.topics_waiting -= 1;
                    }
                    self.settle_topic(room, topic, tell);
                }
                Some(Waiting::Room(_) | Waiting::Gone(_) | Waiting::Told) => {}
                None => return,
            }
        }
    }

    /// Nothing of what waits in this run is kept, nor will be: whoever said it is told.
    pub(crate) fn not_kept(
        &mut self,
        run: u32,
        why: KeepError,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let Some(keeping) = self.keeping.as_mut().filter(|keeping| keeping.run == run) else { return };
        if is_made(Mistake::RefusedIsKept) {
            let count = keeping.waiting.len();
            return self.kept(run, count, tell);
        }
        keeping.run = keeping.run.wrapping_add(1);
        keeping.bytes = 0;
        keeping.new.clear();
        for waiting in core::mem::take(&mut keeping.waiting) {
            let id = match waiting {
                Waiting::Told => continue,
                Waiting::Gone(id) => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.still_there.push(id);
                    }
                    continue;
                }
                Waiting::Topic { member, room, .. } => {
                    if let Some(room) = self.rooms.get_mut(&room) {
                        room.topics_waiting -= 1;
                    }
                    let notice = Notice::NotDone { name: "", why: Refusal::NotKept(why) };
                    tell(Audience { members: &[member], except: None }, notice);
                    room
                }
                Waiting::Room(id) => {
                    if let Some(room) = self.rooms.get_mut(&id) {
                        room.is_kept = false;
                    }
                    id
                }
                Waiting::Message { member, kept } => {
                    self.authors.refuse(kept.author, kept.id, why);
                    if let Some(room) = self.rooms.get_mut(&kept.room) {
                        room.waiting -= 1;
                    }
                    if let Some(session) = self.sessions.get_mut(member) {
                        session.waiting = session.waiting.saturating_sub(1);
                    }
                    let to_sender = Audience { members: &[member], except: None };
                    tell(to_sender, Notice::Rejected { id: kept.id, why: Rejection::NotKept(why) });
                    kept.room
                }
            };
            self.remove_unused(id);
        }
    }

    /// The store has forgotten what came before `seq` in `room`. A room of which nothing is left goes with the last who belongs to it.
    pub(crate) fn expired(&mut self, id: RoomId, seq: Seq) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let before = room.bytes();
        room.forget_before(seq);
        self.log_bytes.note(id, before, room.bytes());
        self.remove_unused(id);
    }

    /// What an author said that waits is answered in his newest session: the one in which he said it may be forgotten by then, and he would be told his
    /// own words as somebody else's, and never that they are accepted.
    pub(super) fn adopt_waiting(&mut self, author: AuthorKey, newest: SessionId) {
        for waiting in self.keeping.iter_mut().flat_map(|keeping| &mut keeping.waiting) {
            if let Waiting::Message { member, kept } = waiting
                && kept.author == author
            {
                if let Some(former) = self.sessions.get_mut(*member) {
                    former.waiting = former.waiting.saturating_sub(1);
                }
                if let Some(session) = self.sessions.get_mut(newest) {
                    session.waiting += 1;
                }
                *member = newest;
            }
        }
    }

    /// Removes a room that nobody would find again, unless somebody may still resume there.
    pub(super) fn remove_unused(&mut self, id: RoomId) {
        if self.rooms.get(&id).is_some_and(|room| is_unused(room) && room.holders == 0) {
            self.remove_room(id);
        }
    }

    pub(super) fn remove_room(&mut self, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.log_bytes.note(id, room.bytes(), 0);
        if let Some(keeping) = self.keeping.as_mut().filter(|_| room.is_kept) {
            keeping.write(Waiting::Gone(id), Write::Gone(id));
        }
    }

    /// True while this member, or all together, have said more than the store has kept yet: nothing more of it is to be read.
    pub(crate) fn must_wait(&self, session: SessionId) -> bool {
        let bytes = self.keeping.as_ref().map_or(0, |keeping| keeping.bytes);
        let waiting = self.waiting_of(session);
        waiting >= Limit::UnackedMessages.value()
            || waiting > 0 && bytes > limits::KEEPING_BYTES
            // Those who said it may be gone.
            || bytes > 2 * limits::KEEPING_BYTES
    }

    /// Messages of a session that are not kept yet.
    pub fn waiting_of(&self, session: SessionId) -> usize {
        self.sessions.get(session).map_or(0, |session| session.waiting)
    }

    /// A topic is told, or waits to be kept.
    pub(super) fn take_topic(
        &mut self,
        member: SessionId,
        id: RoomId,
        topic: Topic,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let Some(keeping) = &mut self.keeping else { return self.settle_topic(id, topic, tell) };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if !core::mem::replace(&mut room.is_kept, true) {
            keeping.write(Waiting::Room(id), Write::Room(room.kept(id)));
        }
        let write = Write::Topic(id, topic.clone());
        if is_made(Mistake::TopicBeforeKept) {
            keeping.write(Waiting::Told, write);
            return self.settle_topic(id, topic, tell);
        }
        room.topics_waiting += 1;
        keeping.bytes += topic_cost(&topic);
        keeping.write(Waiting::Topic { member, room: id, topic }, write);
    }

    fn settle_topic(&mut self, id: RoomId, topic: Topic, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let audience = Audience { members: &room.members, except: None };
        tell(audience, Notice::Topic { room: id, room_name: &room.name, topic: &topic });
        room.topic = Some(topic).filter(|topic| !topic.text.is_empty());
        self.remove_unused(id);
    }

    /// A message has its place: it is told, or waits to be kept.
    pub(super) fn take(
        &mut self,
        member: SessionId,
        kept: KeptMessage,
        tell: &mut impl FnMut(Audience<'_>, Notice<'_>),
    ) {
        let is_to_be_kept = !kept.room.is_private() || is_made(Mistake::PrivateKept);
        let keeping = self.keeping.as_mut().filter(|_| is_to_be_kept);
        let Some(keeping) = keeping else { return self.settle(Message { member, kept }, tell) };
        let Some(room) = self.rooms.get_mut(&kept.room) else { return };
        if !core::mem::replace(&mut room.is_kept, true) {
            keeping.write(Waiting::Room(kept.room), Write::Room(room.kept(kept.room)));
        }
        let write = Write::Message(kept.clone());
        if is_made(Mistake::ToldBeforeKept) {
            keeping.write(Waiting::Told, write);
            return self.settle(Message { member, kept }, tell);
        }
        room.waiting += 1;
        if let Some(session) = self.sessions.get_mut(member) {
            session.waiting += 1;
        }
        keeping.bytes += kept.cost();
        keeping.write(Waiting::Message { member, kept }, write);
    }

    /// Tells a message: to its sender that it is accepted, to the others what was said.
    fn settle(&mut self, message: Message, tell: &mut impl FnMut(Audience<'_>, Notice<'_>)) {
        let member = message.member;
        let &KeptMessage { room: id, seq, at, id: number, .. } = &message.kept;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let before = room.bytes();
        room.append(message, self.log_bytes.most(id));
        self.log_bytes.note(id, before, room.bytes());
        if member != SessionId::NOBODY {
            let before = u64::from(is_made(Mistake::AckBeforeOrder));
            let seq = Seq::from_wire(seq.to_wire() - before);
            let to_sender = Audience { members: &[member], except: None };
            tell(to_sender, Notice::Accepted { room: id, seq, id: number, at: Some(at) });
        }
        if let Some(message) = room.messages_after(Seq::from_wire(seq.to_wire() - 1)).next() {
            let everybody: Vec<SessionId> = match is_made(Mistake::PrivateToAll) && id.is_private() {
                true => self.names.values().copied().collect(),
                false => Vec::new(),
            };
            let members = if everybody.is_empty() { &room.members } else { &everybody };
            let audience = Audience { members, except: Some(member) };
            tell(audience, Notice::Said { room_name: &room.name, message });
        }
    }

    /// What must hold of what waits.
    pub(super) fn audit_keeping(&self) -> Result<(), String> {
        let none = Keeping::default();
        let keeping = self.keeping.as_ref().unwrap_or(&none);
        let messages: Vec<(SessionId, &KeptMessage)> = keeping
            .waiting
            .iter()
            .filter_map(|waiting| match waiting {
                Waiting::Message { member, kept } => Some((*member, kept)),
                Waiting::Room(_) | Waiting::Topic { .. } | Waiting::Gone(_) | Waiting::Told => None,
            })
            .collect();
        let topics = keeping.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Topic { topic, .. } => Some(topic_cost(topic)),
            Waiting::Message { .. } | Waiting::Room(_) | Waiting::Gone(_) | Waiting::Told => None,
        });
        let bytes = topics.sum::<usize>() + messages.iter().map(|(_, kept)| kept.cost()).sum::<usize>();
        self.log_bytes.audit(self.rooms.iter().map(|(id, room)| (*id, room.bytes())))?;
        ensure!(bytes == keeping.bytes, "{bytes} bytes wait to be kept, {} were counted", keeping.bytes);
        for (id, room) in &self.rooms {
            let waiting = messages.iter().filter(|(_, kept)| kept.room == *id).count() as u64;
            ensure!(waiting == room.waiting, "{id:?}: {waiting} wait to be kept, not {}", room.waiting);
            let topics = keeping.waiting.iter().filter(|waiting| waiting.is_topic_of(*id)).count();
            ensure!(
                topics == room.topics_waiting,
                "{id:?}: {topics} topics wait, not {}",
                room.topics_waiting
            );
            let must_last = self.is_lasting_in(*id) && !room.is_blank();
            ensure!(!must_last || room.is_kept, "{id:?}: it has messages and is not kept");
        }
        for (id, session) in self.sessions.iter() {
            let waiting = messages.iter().filter(|(member, _)| *member == id).count();
            ensure!(waiting == session.waiting, "{id:?}: {waiting} wait to be kept, not {}", session.waiting);
        }
        Ok(())
    }
}

/// What a topic that waits takes.
fn topic_cost(topic: &Topic) -> usize {
    topic.text.len() + limits::MESSAGE_COST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::assert_told,
        history::{AuthorKey, UnixMillis},
        hub::{Claim, JoinRequest},
        ids::MessageId,
        rng::Rng,
        time::Instant,
    };

    /// Foo in the lobby, one of whose messages is kept and two of whose wait.
    fn hub() -> Hub {
        let mut hub = Hub::new(8, Rng::from_number(1));
        hub.restore([]);
        let lobby = [Claim::new("")];
        let request = JoinRequest { author: Some(AuthorKey([1; 16])), ..JoinRequest::new("Foo", &lobby) };
        let admission = hub.join(Instant::ZERO, &request, &mut |_, _| {}).unwrap();
        let (session, room) = (admission.session, admission.rooms().next().unwrap().room);
        for id in 1..=3 {
            hub.say(UnixMillis(1), session, room, MessageId::from_wire(id), "hi", &mut |_, _| {});
        }
        hub.kept(0, 2, &mut |_, _| {});
        while hub.next_write().is_some() {}
        hub
    }

    fn room(hub: &mut Hub) -> &mut Room {
        hub.rooms.values_mut().next().unwrap()
    }

    #[test]
    fn what_waits_is_counted_and_what_was_said_is_kept() {
        assert_told(
            hub,
            Hub::audit,
            &[
                ("bytes of rooms: 258, not 259", |hub| hub.log_bytes.named += 1),
                ("bytes of what is private: 0, not 1", |hub| hub.log_bytes.private += 1),
                ("516 bytes wait to be kept, 517 were counted", |hub| {
                    hub.keeping.as_mut().unwrap().bytes += 1
                }),
                ("RoomId(1): 2 wait to be kept, not 3", |hub| room(hub).waiting += 1),
                ("RoomId(1): 1 wait to be kept, not 2", |hub| {
                    let keeping = hub.keeping.as_mut().unwrap();
                    keeping.waiting.pop_back();
                    keeping.bytes -= 258;
                }),
                ("SessionId(1048576): 2 wait to be kept, not 1", |hub| {
                    let foo = hub.sessions.iter().next().unwrap().0;
                    hub.sessions.get_mut(foo).unwrap().waiting -= 1;
                }),
                ("RoomId(1): it has messages and is not kept", |hub| room(hub).is_kept = false),
                ("RoomId(1): 0 topics wait, not 1", |hub| room(hub).topics_waiting += 1),
                ("RoomId(1): 1 topics wait, not 0", |hub| {
                    let foo = hub.sessions.iter().next().unwrap().0;
                    hub.set_topic(UnixMillis(1), foo, RoomId::from_wire(1), "tea", &mut |_, _| {}).unwrap();
                    assert_eq!(hub.audit(), Ok(()));
                    room(hub).topics_waiting = 0;
                }),
            ],
        );
    }

    #[test]
    fn authors_and_sessions_must_agree() {
        assert_told(
            hub,
            Hub::audit,
            &[
                ("1 sessions of an author, not 0", |hub| {
                    let foo = hub.sessions.iter().next().unwrap().0;
                    hub.sessions.get_mut(foo).unwrap().author = AuthorKey([2; 16]);
                }),
                ("2 sessions of an author, not 1", |hub| hub.authors.enter(AuthorKey([1; 16]))),
                ("1 authors with a session are not known", |hub| hub.authors = Default::default()),
            ],
        );
    }
}
