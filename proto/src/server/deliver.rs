//! What the hub tells, for whom it is meant: frames for natives, lines for classic peers, events for the operator.

use alloc::{string::ToString as _, vec::Vec};

use super::{Dialect, Queued, ServerEvent, ServerStats, classic, native, seats::Seats};
use crate::{
    hooks::{Mistake, is_made},
    hub::{Audience, Notice, Person, Rejection},
    ids::{Peer, RoomId, SessionId},
    outbox::Class,
    outqueue::OutQueue,
};

/// Encodes a notice once for each dialect and queues it for everybody in the audience who has a connection.
pub(super) fn deliver(
    out: &mut OutQueue<Queued>,
    seats: &Seats,
    stats: &mut ServerStats,
    audience: Audience<'_>,
    notice: Notice<'_>,
) {
    count(stats, &notice);
    if let Notice::Changed { member, voice: room, .. } = notice
        && !is_made(Mistake::VoiceStays)
    {
        // He may only have been muted, or be away: the relay sees that nothing changes.
        let session = member.session;
        out.push(Queued::Move { session, room }, |_, _| {});
    }
    if let Some(event) = event_of(&notice, seats.has_operator) {
        out.push(Queued::Event(event), |_, _| {});
    }
    if let Notice::Changed { member, former, voice, pair: Some(pair) } = notice {
        let to_pair = Notice::Changed { member: Person { voice, ..member }, former, voice, pair: None };
        let is_told = |session: &SessionId| pair.contains(session) || is_made(Mistake::ConversationTold);
        send(out, seats, &notice, || audience.iter().filter(|session| !is_told(session)));
        send(out, seats, &to_pair, || audience.iter().filter(|session| is_told(session)));
    } else {
        send(out, seats, &notice, || audience.iter());
    }
    if !seats.have_classics() {
        return;
    }
    // Whoever says something there is told of it as everybody is.
    let with_author = matches!(notice, Notice::Said { .. }) && !is_made(Mistake::ClassicEchoForgotten);
    let audience = if with_author { audience.with_author() } else { audience };
    let classics = || {
        let seats = audience.iter().filter_map(|session| seats.find(session));
        seats.filter(|(_, speaks)| *speaks == Dialect::Classic).map(|(peer, _)| peer)
    };
    if classics().next().is_none() {
        return;
    }
    let line = match notice {
        Notice::Said { message, .. } => classic::said(message.kept.name.as_str(), &message.kept.text),
        Notice::Joined { member, .. } => classic::joined(member.name.as_str()),
        Notice::Left { name, .. } => classic::left(name.as_str()),
        Notice::Rejected { why, .. } => classic::remark(&why.to_string()),
        Notice::Changed { member, former: Some(former), .. } => {
            classic::renamed(former.as_str(), member.name.as_str())
        }
        Notice::Topic { topic, .. } => classic::topic(topic.by.as_str(), &topic.text),
        Notice::Accepted { .. }
        | Notice::Opened { .. }
        | Notice::Changed { former: None, .. }
        | Notice::NotDone { .. } => return,
    };
    write_pieces(out, &line, |to| to.extend(classics()));
}

/// Encodes a notice for those who speak the native dialect, if any do.
fn send<Sessions: Iterator<Item = SessionId>>(
    out: &mut OutQueue<Queued>,
    seats: &Seats,
    notice: &Notice<'_>,
    to_whom: impl Fn() -> Sessions,
) {
    let natives = || {
        let seats = to_whom().filter_map(|session| seats.find(session));
        seats.filter(|(_, speaks)| *speaks == Dialect::Native).map(|(peer, _)| peer)
    };
    if natives().next().is_some() {
        out.push(Queued::Send(Class::Control), |bytes, to| {
            native::write_notice(bytes, notice);
            to.extend(natives());
        });
    }
}

fn count(stats: &mut ServerStats, notice: &Notice<'_>) {
    match notice {
        Notice::Said { .. } => stats.messages += 1,
        Notice::Rejected { why: Rejection::NotKept(_), .. } => stats.not_kept += 1,
        Notice::Joined { .. }
        | Notice::Opened { .. }
        | Notice::Changed { .. }
        | Notice::Topic { .. }
        | Notice::Left { .. }
        | Notice::Accepted { .. }
        | Notice::Rejected { .. }
        | Notice::NotDone { .. } => {}
    }
}

/// What the operator is told of it. What is between two alone is none of his business.
fn event_of(notice: &Notice<'_>, has_seat: bool) -> Option<ServerEvent> {
    if notice.room().is_some_and(RoomId::is_private) && !is_made(Mistake::PrivateToOperator) {
        return None;
    }
    Some(match *notice {
        Notice::Said { room_name, message } if has_seat => {
            let (kept, member, room_name) = (&message.kept, message.member, room_name.clone());
            let (room, seq, name, text) = (kept.room, kept.seq, kept.name.clone(), kept.text.clone());
            ServerEvent::Said { room, room_name, seq, member, name, text }
        }
        Notice::Joined { room, room_name, member } => {
            let (member, name) = (member.session, member.name.clone());
            ServerEvent::Joined { room, room_name: room_name.clone(), member, name }
        }
        Notice::Left { room, room_name, member, name, reason } => {
            ServerEvent::Left { room, room_name: room_name.clone(), member, name: name.clone(), reason }
        }
        Notice::Changed { member, former: Some(former), .. } => {
            ServerEvent::Renamed { member: member.session, former: former.clone(), name: member.name.clone() }
        }
        Notice::Topic { room, room_name, topic } => {
            ServerEvent::Topic { room, room_name: room_name.clone(), topic: topic.clone() }
        }
        Notice::Said { .. }
        | Notice::Opened { .. }
        | Notice::Changed { .. }
        | Notice::Accepted { .. }
        | Notice::Rejected { .. }
        | Notice::NotDone { .. } => return None,
    })
}

/// Queues a line for one classic peer.
pub(super) fn write_line(out: &mut OutQueue<Queued>, peer: Peer, line: &str) {
    write_pieces(out, line, |to| to.push(peer));
}

/// Queues a line for classic peers: each piece is to be one write.
fn write_pieces(out: &mut OutQueue<Queued>, line: &str, to_whom: impl Fn(&mut Vec<Peer>)) {
    for piece in classic::pieces(line) {
        out.push(Queued::Send(Class::Control), |bytes, to| {
            bytes.extend_from_slice(piece);
            to_whom(to);
        });
    }
}
