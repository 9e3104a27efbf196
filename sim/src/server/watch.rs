//! What is seen of a server's outputs: who was let in, and why connections were closed.

use chinwag_proto::{
    RoomId, Seq, SessionId,
    hub::What,
    server::{CloseCause, Server},
    wire::{
        chinwag1::{Welcome, to_client::Kind},
        control::{self, Body},
        frame::FrameReader,
    },
};

use crate::{
    check::{Admission, Checker, log::LogId},
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

/// Tells the checker who was let in, and what goes with the welcome.
pub(super) fn admit(
    net: &mut Net<'_>,
    check: &mut Checker,
    server: &Server,
    conn: ConnId,
    welcome: &Welcome,
) {
    let Some(room) = &welcome.room else { return };
    let (session, room, told) =
        (SessionId::from_wire(welcome.session), RoomId::from_wire(room.id), room.last_seq);
    let hub = server.hub();
    let mut after = hub.events_after(room, Seq::from_wire(told)).peekable();
    let last = hub.numberings().find(|(id, ..)| *id == room).map_or(0, |(_, _, last)| last.to_wire());
    let first_kept = after.peek().map_or(last + 1, |(seq, _)| seq.to_wire());
    if welcome.resumed && after.any(|(_, event)| event.member == session && event.what == What::Joined) {
        net.sometimes(Sometimes::ResumedAfterGone);
    }
    let log = LogId { generation: check.logs.generation, room };
    let admission =
        Admission { session, name: welcome.name.clone(), resumed: welcome.resumed, log, told, first_kept };
    check.admitted(net, server, conn, admission);
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
