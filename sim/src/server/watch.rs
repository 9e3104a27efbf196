//! What is seen of a server's outputs: who was let in, and why connections were closed.

use chinwag_proto::{
    RoomId, Seq, SessionId,
    server::{CloseCause, Server},
    wire::{
        chinwag1::{Welcome, to_client::Kind},
        control::{self, Body},
        frame::FrameReader,
    },
};

use crate::{
    check::{Admission, Checker, Rule, log::Entry},
    net::Net,
    sometimes::Sometimes,
    tcp::ConnId,
};

/// The welcome at the beginning of what a newcomer is sent.
pub(super) fn welcome_in(bytes: &[u8]) -> Option<Welcome> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let body = reader.next_frame(bytes.len()).ok()??;
    match control::decode_to_client(body).ok()? {
        Body::Message(Kind::Welcome(welcome)) => Some(welcome),
        Body::Message(_) | Body::Voice(_) | Body::Unknown => None,
    }
}

/// Tells the checker who was let in, and what goes with the welcome, which begins `bytes`.
pub(super) fn admit(
    net: &mut Net<'_>,
    check: &mut Checker,
    server: &Server,
    conn: ConnId,
    (welcome, bytes): (&Welcome, &[u8]),
) {
    let Some(room) = &welcome.room else { return };
    let (session, id, told) =
        (SessionId::from_wire(welcome.session), RoomId::from_wire(room.id), room.last_seq);
    let log = check.logs.of_room(id);
    let (place, last) = check.logs.log(log).map_or((0, 0), |log| (log.entries.len(), log.last()));
    let newest = place.checked_sub(1).and_then(|at| check.logs.log(log)?.entries.get(at));
    if welcome.resumed && matches!(newest, Some(Entry::Joined { session: of, .. }) if *of == session) {
        net.sometimes(Sometimes::ResumedAfterGone);
    }
    let first_kept = first_message_in(bytes).unwrap_or(last + 1);
    let remembered = server.hub().first_remembered(id).map_or(0, Seq::to_wire);
    if first_kept > (told + 1).max(remembered) {
        let what = format!("{session:?} is told what comes after {told}, but not before {first_kept}");
        check.fail(Rule::Resume, what);
    }
    let (name, resumed) = (welcome.name.clone(), welcome.resumed);
    let generation = check.logs.generation;
    let admission = Admission { session, name, resumed, log, generation, told, last, first_kept, place };
    check.admitted(net, server, conn, admission);
}

/// The number of the first message in these frames.
fn first_message_in(bytes: &[u8]) -> Option<u64> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    while let Some(body) = reader.next_frame(bytes.len()).ok()? {
        if let Ok(Body::Message(Kind::Said(said))) = control::decode_to_client(body) {
            return Some(said.seq);
        }
    }
    None
}

/// Why a connection was closed, where that is worth to be looked for.
pub(super) fn worth_of(cause: &CloseCause) -> Option<Sometimes> {
    match cause {
        CloseCause::TooSlow => Some(Sometimes::TooSlow),
        CloseCause::Busy => Some(Sometimes::Busy),
        CloseCause::Silent => Some(Sometimes::Silent),
        CloseCause::HelloTimeout => Some(Sometimes::HelloTimeout),
        CloseCause::Undecodable | CloseCause::Oversized(_) | CloseCause::OutOfOrder => {
            Some(Sometimes::Undecodable)
        }
        CloseCause::Replaced => Some(Sometimes::Replaced),
        CloseCause::Quit
        | CloseCause::Shutdown
        | CloseCause::Removed
        | CloseCause::Refused(_)
        | CloseCause::Version => None,
    }
}
