//! The native dialect, `chinwag/1`: what the hub has to say, as frames.

use alloc::{
    borrow::ToOwned as _,
    string::{String, ToString as _},
    vec::Vec,
};

use super::CloseCause;
use crate::{
    history::{AuthorKey, KeptMessage, Topic},
    hooks::Limit,
    hub::{Admission, Claim, Entrance, Entry, Hub, LeaveReason, Marks, Message, Notice, Person, Refusal},
    ids::{RoomId, Seq, SessionId},
    limits,
    wire::{
        chinwag1 as pb,
        control::{self, write_to_client},
    },
};

/// The server's name and version, for clients' logs.
const SOFTWARE: &str = concat!("chinwag-server ", env!("CARGO_PKG_VERSION"));

/// What somebody claims.
pub(super) fn claim(claim: &pb::Claim) -> Claim<'_> {
    Claim {
        key: claim.key,
        name: &claim.name,
        with: &claim.with,
        epoch: claim.epoch,
        last_seq: Seq::from_wire(claim.last_seq),
        room: RoomId::from_wire(claim.room),
    }
}

pub(super) fn marks(marks: &pb::Marks) -> Marks {
    Marks { muted: marks.muted, deafened: marks.deafened }
}

pub(super) fn write_notice(out: &mut Vec<u8>, notice: &Notice<'_>) {
    use pb::to_client::Kind;
    match *notice {
        Notice::Joined { room, member, .. } => {
            let member = Some(person(member));
            write_to_client(out, Kind::Joined(pb::Joined { room: room.to_wire(), member }));
        }
        Notice::Opened { room, epoch, last_seq, by, to } => {
            let (id, last_seq) = (room.to_wire(), last_seq.to_wire());
            let name = by.name.as_str().to_owned();
            let room = pb::Room { id, name, epoch, last_seq };
            let with = by.session.to_wire();
            let entered = pb::Entered { room: Some(room), with, member_count: 2, ..pb::Entered::default() };
            control::write_entered(out, entered, [to, by].into_iter());
        }
        Notice::Changed { member, .. } => write_to_client(out, Kind::Changed(person(member))),
        Notice::Topic { room, topic: new, .. } => write_to_client(out, Kind::Topic(topic(room, new))),
        Notice::Left { room, member, name, reason, .. } => {
            let reason = match reason {
                LeaveReason::Quit => pb::left::Reason::Quit,
                LeaveReason::Lost => pb::left::Reason::Lost,
                LeaveReason::Removed => pb::left::Reason::Removed,
            };
            let (room, reason) = (room.to_wire(), reason.into());
            let member = pb::Member {
                session: member.to_wire(),
                name: name.as_str().to_owned(),
                ..pb::Member::default()
            };
            write_to_client(out, Kind::Left(pb::Left { room, member: Some(member), reason }));
        }
        Notice::Said { message: Message { member, kept }, .. } => write_said(out, *member, kept),
        Notice::Accepted { room, seq, id, at } => {
            let (room, seq, id) = (room.to_wire(), seq.to_wire(), id.to_wire());
            let at_ms = at.unwrap_or_default().0;
            write_to_client(out, Kind::Ack(pb::Ack { room, seq, id, at_ms }));
        }
        Notice::Rejected { id, why } => {
            write_to_client(out, Kind::Nack(pb::Nack { id: id.to_wire(), text: why.to_string() }));
        }
        Notice::NotDone { name, ref why } => {
            let not = pb::NotDone { text: why.to_string(), name: name.to_owned() };
            write_to_client(out, Kind::NotDone(not));
        }
    }
}

/// A message as it is told by `member`, under which number its author is known now.
pub(super) fn write_said(out: &mut Vec<u8>, member: SessionId, kept: &KeptMessage) {
    write_to_client(out, pb::to_client::Kind::Said(said(member, kept)));
}

/// A message as it is on the wire.
pub(super) fn said(member: SessionId, kept: &KeptMessage) -> pb::Said {
    pb::Said {
        room: kept.room.to_wire(),
        seq: kept.seq.to_wire(),
        session: member.to_wire(),
        name: kept.name.as_str().to_owned(),
        id: kept.id.to_wire(),
        text: String::from(&*kept.text),
        at_ms: kept.at.0,
    }
}

fn person(person: Person<'_>) -> pb::Member {
    pb::Member {
        session: person.session.to_wire(),
        name: person.name.as_str().to_owned(),
        muted: person.marks.muted,
        deafened: person.marks.deafened,
        voice: person.voice.map_or(0, RoomId::to_wire),
    }
}

fn topic(room: RoomId, topic: &Topic) -> pb::Topic {
    let (text, by) = (String::from(&*topic.text), topic.by.as_str().to_owned());
    pb::Topic { room: room.to_wire(), text, by, at_ms: topic.at.0 }
}

/// The welcome; what became of the claims follows.
pub(super) fn write_welcome(out: &mut Vec<u8>, admission: &Admission) {
    let welcome = pb::Welcome {
        version: control::VERSION,
        software: SOFTWARE.to_owned(),
        features: Vec::new(),
        session: admission.session.to_wire(),
        name: admission.name.as_str().to_owned(),
        resume_token: admission.token.to_vec(),
        resumed: admission.resumed,
    };
    write_to_client(out, pb::to_client::Kind::Welcome(welcome));
}

/// What became of a claim: the room with everybody in it, in as many frames as that takes, and what was missed there.
pub(super) fn write_entry(
    out: &mut Vec<u8>,
    hub: &Hub,
    session: SessionId,
    author: AuthorKey,
    entry: &Entry,
) {
    let &Entrance { room, told_up_to, is_again } = match &entry.entered {
        Ok(entrance) => entrance,
        Err(refusal) => {
            let not = pb::NotEntered { key: entry.key, text: refusal.to_string() };
            return write_to_client(out, pb::to_client::Kind::NotEntered(not));
        }
    };
    let per_frame = Limit::MembersPerFrame.value();
    let members = hub.members_of(room);
    let mut members = members.take(if is_again { 0 } else { usize::MAX });
    // What is between two is called as the other is, who may not be there.
    let name = match hub.other_of(room, session) {
        Some(other) => hub.name_of(other),
        None => hub.name_of_room(room),
    };
    let entered = pb::Entered {
        key: entry.key,
        room: Some(pb::Room {
            id: room.to_wire(),
            name: name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            epoch: hub.epoch_of(room).unwrap_or_default(),
            last_seq: told_up_to.to_wire(),
        }),
        members: Vec::new(),
        member_count: if is_again { 0 } else { u32::try_from(hub.count_members(room)).unwrap_or(u32::MAX) },
        with: hub.other_of(room, session).map_or(0, SessionId::to_wire),
        topic: hub.topic_of(room).map(|about| topic(room, about)),
    };
    control::write_entered(out, entered, members.clone().take(per_frame));
    // Past those that were written.
    while members.nth(per_frame - 1).is_some() && members.clone().next().is_some() {
        control::write_members(out, room, members.clone().take(per_frame));
    }
    for Message { member, kept } in hub.messages_after(room, told_up_to) {
        // He is to know his own, also what he said in an earlier session.
        write_said(out, if kept.author == author { session } else { *member }, kept);
    }
}

/// All rooms that have a name, in as many frames as that takes.
pub(super) fn write_rooms(out: &mut Vec<u8>, hub: &Hub) {
    let mut rooms = hub.room_names().map(|(room, name)| pb::ListedRoom {
        name: name.as_str().to_owned(),
        members: u32::try_from(hub.count_members(room)).unwrap_or(u32::MAX),
        topic: hub.topic_of(room).map(|topic| String::from(&*topic.text)).unwrap_or_default(),
    });
    loop {
        let some: Vec<_> = rooms.by_ref().take(limits::ROOMS_PER_FRAME).collect();
        let more = some.len() == limits::ROOMS_PER_FRAME;
        write_to_client(out, pb::to_client::Kind::Rooms(pb::RoomList { rooms: some, more }));
        if !more {
            return;
        }
    }
}

/// The last words to a peer, where there are any.
pub(super) fn write_goodbye(out: &mut Vec<u8>, cause: &CloseCause) {
    use pb::{closing::Reason, to_client::Kind};
    let reason = match cause {
        CloseCause::Refused(refusal) => {
            return write_to_client(out, Kind::Refused(refused(refusal)));
        }
        CloseCause::Version => {
            let reason = pb::refused::Reason::Version.into();
            let (text, suggestion) = (cause.to_string(), Default::default());
            return write_to_client(out, Kind::Refused(pb::Refused { reason, text, suggestion }));
        }
        CloseCause::Quit => Reason::Quit,
        CloseCause::Shutdown => Reason::Shutdown,
        CloseCause::Oversized(_) | CloseCause::Undecodable | CloseCause::OutOfOrder => Reason::ProtocolError,
        CloseCause::HelloTimeout | CloseCause::Silent => Reason::Timeout,
        CloseCause::TooSlow => Reason::TooSlow,
        CloseCause::Replaced => Reason::Replaced,
        CloseCause::Removed => Reason::Removed,
        CloseCause::Busy => Reason::Unknown,
    };
    write_to_client(out, Kind::Closing(pb::Closing { reason: reason.into(), text: cause.to_string() }));
}

fn refused(refusal: &Refusal) -> pb::Refused {
    use pb::refused::Reason;
    let (reason, suggestion) = match refusal {
        Refusal::Name(_) => (Reason::NameInvalid, None),
        Refusal::NameTaken { suggestion } => (Reason::NameTaken, Some(suggestion.as_str().to_owned())),
        Refusal::RoomName(_) => (Reason::RoomInvalid, None),
        Refusal::Full => (Reason::Full, None),
        Refusal::RoomsFull => (Reason::RoomsFull, None),
        Refusal::Overtaken
        | Refusal::TooManyRooms
        | Refusal::TooManyMade
        | Refusal::TooManyPrivate
        | Refusal::NotHere
        | Refusal::Over
        | Refusal::Oneself
        | Refusal::NoPrivate
        | Refusal::NotInRoom
        | Refusal::Topic(_)
        | Refusal::NotKept(_) => (Reason::Unknown, None),
    };
    let suggestion = suggestion.unwrap_or_default();
    pb::Refused { reason: reason.into(), text: refusal.to_string(), suggestion }
}
