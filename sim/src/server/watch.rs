//! What is seen of a server's outputs: who was let in, and why connections were closed.

use chinwag_proto::{
    RoomId, Seq, SessionId,
    server::{CloseCause, Server},
    wire::{
        chinwag1::{Entered, to_client::Kind},
        control::{self, Body},
        frame::FrameReader,
    },
};

use crate::{
    check::{Admission, Checker, Entrance, Rule, log::Entry},
    net::Net,
    sometimes::Sometimes,
    tcp::ConnId,
};

/// The first byte of a frame's body that has a `Welcome`, or an `Entered`: its field's number, and that it has a length.
const ENTRIES: [u8; 2] = [1 << 3 | 2, 14 << 3 | 2];
/// The same of one with a `Said`.
const SAID: u8 = 3 << 3 | 2;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// True when somebody is let in by these frames, or into a room.
pub(super) fn begins_with_entry(bytes: &[u8]) -> bool {
    bytes.get(LENGTH_BYTES).is_some_and(|first| ENTRIES.contains(first))
}

/// In which room what these frames begin with was said, if that is between two alone.
pub(super) fn private_room_in(bytes: &[u8]) -> Option<RoomId> {
    if bytes.get(LENGTH_BYTES) != Some(&SAID) {
        return None;
    }
    match control::decode_to_client(bytes.get(LENGTH_BYTES..)?) {
        Ok(Body::Message(Kind::Said(said))) => {
            Some(RoomId::from_wire(said.room)).filter(|room| room.is_private())
        }
        Ok(Body::Message(_) | Body::Voice(_) | Body::Unknown) | Err(_) => None,
    }
}

/// Tells the checker who is let in by these frames, into which rooms, and what goes with that.
pub(super) fn admit(net: &mut Net<'_>, check: &mut Checker, server: &Server, conn: ConnId, bytes: &[u8]) {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let (mut session, mut is_back) = (None, false);
    let mut entrances: Vec<Entrance> = Vec::new();
    while let Ok(Some(body)) = reader.next_frame(bytes.len()) {
        match control::decode_to_client(body) {
            Ok(Body::Message(Kind::Welcome(welcome))) => {
                let (name, resumed) = (welcome.name, welcome.resumed);
                let (of, generation) = (SessionId::from_wire(welcome.session), check.logs.generation);
                let admission = Admission { session: of, generation, name, resumed };
                (session, is_back) = (Some(admission.session), resumed);
                check.admitted(net, server, conn, admission);
            }
            Ok(Body::Message(Kind::Entered(entered))) => {
                let Some(session) = session.or_else(|| check.session_at(conn)) else { continue };
                let entrance = entrance(check, server, session, entered);
                let newest = entrance.as_ref().and_then(|new| check.logs.log(new.log)?.entries.last());
                if is_back && matches!(newest, Some(Entry::Joined { session: of, .. }) if *of == session) {
                    net.sometimes(Sometimes::ResumedAfterGone);
                }
                entrances.extend(entrance);
            }
            Ok(Body::Message(Kind::Said(said))) => {
                let entered = entrances.iter_mut().rfind(|entrance| entrance.log.room.to_wire() == said.room);
                if let Some(entrance) = entered {
                    entrance.first_kept = entrance.first_kept.min(said.seq);
                    entrance.last = entrance.last.max(said.seq);
                }
            }
            Ok(Body::Message(_) | Body::Voice(_) | Body::Unknown) | Err(_) => {}
        }
    }
    let is_let_in = session.is_some();
    for mut entrance in entrances {
        if entrance.first_kept == u64::MAX {
            entrance.first_kept = entrance.told + 1;
        }
        let Entrance { session, log, told, first_kept, .. } = entrance;
        let remembered = server.hub().first_remembered(log.room).map_or(0, Seq::to_wire);
        let is_opened = !is_let_in && entrance.key == 0;
        if is_opened {
            // What was said there meanwhile follows by itself.
            entrance.first_kept = (told + 1).max(remembered);
        }
        let first_kept = if is_opened { entrance.first_kept } else { first_kept };
        if first_kept > (told + 1).max(remembered) {
            let what = format!("{session:?} is told what comes after {told}, but not before {first_kept}");
            check.fail(Rule::Resume, what);
        }
        check.enters(conn, entrance);
    }
}

/// The room that somebody is told that he is in; until it is known otherwise, all that comes with that is what he knows.
fn entrance(check: &Checker, server: &Server, session: SessionId, entered: Entered) -> Option<Entrance> {
    let room = entered.room?;
    let (id, told) = (RoomId::from_wire(room.id), room.last_seq);
    let hub = server.hub();
    let log = check.logs.of_room(id);
    let (place, last) = check.logs.log(log).map_or((0, 0), |log| (log.entries.len(), log.last()));
    // What is between two is in no journal: the last that was told with it is known when that was seen.
    let last = if id.is_private() { told } else { last };
    let with = Some(entered.with).filter(|with| *with != 0).map(SessionId::from_wire);
    Some(Entrance {
        key: entered.key,
        name: room.name,
        with,
        session,
        log,
        generation: check.logs.generation,
        told,
        last,
        first_kept: if id.is_private() { u64::MAX } else { last + 1 },
        first_remembered: hub.first_remembered(id).map_or(0, Seq::to_wire),
        rooms: hub.rooms_of(session).len(),
        place,
    })
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
