//! The native dialect, `chinwag/1`: what the hub has to say, as frames.

use alloc::{
    borrow::ToOwned as _,
    string::{String, ToString as _},
    vec::Vec,
};

use super::CloseCause;
use crate::{
    history::KeptMessage,
    hooks::Limit,
    hub::{Admission, Hub, LeaveReason, Message, Notice, Refusal},
    ids::SessionId,
    name::Name,
    wire::{
        chinwag1 as pb,
        control::{self, write_to_client},
    },
};

/// The server's name and version, for clients' logs.
const SOFTWARE: &str = concat!("chinwag-server ", env!("CARGO_PKG_VERSION"));

pub(super) fn write_notice(out: &mut Vec<u8>, notice: Notice<'_>) {
    use pb::to_client::Kind;
    match notice {
        Notice::Joined { room, member, name } => {
            write_to_client(
                out,
                Kind::Joined(pb::Joined { room: room.to_wire(), member: found(member, name) }),
            );
        }
        Notice::Left { room, member, name, reason } => {
            let reason = match reason {
                LeaveReason::Quit => pb::left::Reason::Quit,
                LeaveReason::Lost => pb::left::Reason::Lost,
                LeaveReason::Removed => pb::left::Reason::Removed,
            };
            let (room, reason) = (room.to_wire(), reason.into());
            write_to_client(out, Kind::Left(pb::Left { room, member: found(member, name), reason }));
        }
        Notice::Said(Message { member, kept }) => write_said(out, *member, kept),
        Notice::Accepted { room, seq, id, at } => {
            let (room, seq, id) = (room.to_wire(), seq.to_wire(), id.to_wire());
            let at_ms = at.unwrap_or_default().0;
            write_to_client(out, Kind::Ack(pb::Ack { room, seq, id, at_ms }));
        }
        Notice::Rejected { id, why } => {
            write_to_client(out, Kind::Nack(pb::Nack { id: id.to_wire(), text: why.to_string() }));
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

fn found(member: SessionId, name: &Name) -> Option<pb::Member> {
    Some(pb::Member { session: member.to_wire(), name: name.as_str().to_owned() })
}

/// The welcome, and everybody in the room in as many frames as that takes.
pub(super) fn write_welcome(out: &mut Vec<u8>, hub: &Hub, admission: &Admission) {
    let per_frame = Limit::MembersPerFrame.value();
    let mut members = hub.members_of(admission.room).map(|(id, name)| (id, name.as_str()));
    let welcome = pb::Welcome {
        version: control::VERSION,
        software: SOFTWARE.to_owned(),
        features: Vec::new(),
        session: admission.session.to_wire(),
        name: admission.name.as_str().to_owned(),
        resume_token: admission.token.to_vec(),
        room: Some(pb::Room {
            id: admission.room.to_wire(),
            name: admission.room_name.as_str().to_owned(),
            epoch: admission.epoch,
            last_seq: admission.told_up_to.to_wire(),
        }),
        members: Vec::new(),
        resumed: admission.resumed,
        member_count: u32::try_from(members.clone().count()).unwrap_or(u32::MAX),
    };
    control::write_welcome(out, welcome, members.clone().take(per_frame));
    // Past those that were written.
    while members.nth(per_frame - 1).is_some() && members.clone().next().is_some() {
        control::write_members(out, admission.room, members.clone().take(per_frame));
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
        Refusal::Overtaken => (Reason::Unknown, None),
    };
    let suggestion = suggestion.unwrap_or_default();
    pb::Refused { reason: reason.into(), text: refusal.to_string(), suggestion }
}
