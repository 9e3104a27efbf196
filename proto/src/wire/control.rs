//! Control messages as bytes: typed views over the generated messages, for both ends.
//!
//! Says nothing about when a message may come; that is for the machines.

use alloc::vec::Vec;

use prost::{
    Message as _,
    encoding::{self, WireType},
};

use super::{
    chinwag1::{Entered, Members, ToClient, ToServer, VoiceReport, to_client, to_server},
    frame,
};
use crate::{
    hub::Person,
    ids::{RoomId, SessionId},
    report::ReceiverReport,
};

/// The only version of the protocol so far.
pub const VERSION: u32 = 1;
/// The name of the protocol in the TLS handshake (ALPN).
pub const ALPN: &[u8] = b"chinwag/1";
/// The label of the TLS exporter (RFC 8446, section 7.5) from which the keys of the voice path come.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-chinwag/1 voice";

/// The key of field 15 with a length behind it: how a `voice` message begins.
const VOICE_KEY: u8 = (15 << 3) | 2;

/// A body that is no message of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undecodable;

/// One frame's body, as either end reads it.
#[derive(Clone, PartialEq, Debug)]
pub enum Body<'a, M> {
    /// Voice, lent from the body: the one kind that comes often enough to be worth no copy.
    Voice(&'a [u8]),
    /// Any other message.
    Message(M),
    /// A kind of message that this version does not know.
    Unknown,
}

/// Reads what a client sent.
pub fn decode_to_server(body: &[u8]) -> Result<Body<'_, to_server::Kind>, Undecodable> {
    if let Some(payload) = as_voice(body) {
        return Ok(Body::Voice(payload));
    }
    let message = ToServer::decode(body).map_err(|_| Undecodable)?;
    Ok(message.kind.map_or(Body::Unknown, Body::Message))
}

/// Reads what a server sent.
pub fn decode_to_client(body: &[u8]) -> Result<Body<'_, to_client::Kind>, Undecodable> {
    if let Some(payload) = as_voice(body) {
        return Ok(Body::Voice(payload));
    }
    let message = ToClient::decode(body).map_err(|_| Undecodable)?;
    Ok(message.kind.map_or(Body::Unknown, Body::Message))
}

/// Appends a whole frame with a message for the server.
pub fn write_to_server(out: &mut Vec<u8>, kind: to_server::Kind) {
    let message = ToServer { kind: Some(kind) };
    frame::write(out, |out| message.encode_raw(out));
}

/// Appends a whole frame with a message for a client.
pub fn write_to_client(out: &mut Vec<u8>, kind: to_client::Kind) {
    let message = ToClient { kind: Some(kind) };
    frame::write(out, |out| message.encode_raw(out));
}

/// Appends a whole frame with a voice payload; it is the same in both directions.
pub fn write_voice(out: &mut Vec<u8>, payload: &[u8]) {
    frame::write(out, |out| {
        out.push(VOICE_KEY);
        encoding::encode_varint(payload.len() as u64, out);
        out.extend_from_slice(payload);
    });
}

/// Appends a whole frame with a room that has these members (and none of its own). They are written as they come: a list
/// of them, with a copy of each name, would be most of the work of a join in a large room.
pub fn write_entered<'a>(
    out: &mut Vec<u8>,
    mut entered: Entered,
    members: impl Iterator<Item = Person<'a>> + Clone,
) {
    // The fields behind the members.
    let rest = Entered {
        member_count: core::mem::take(&mut entered.member_count),
        with: core::mem::take(&mut entered.with),
        topic: entered.topic.take(),
        ..Entered::default()
    };
    let bytes = entered.encoded_len() + members_bytes(ENTERED_MEMBERS, members.clone());
    frame::write(out, |out| {
        write_length(out, TO_CLIENT_ENTERED, bytes + rest.encoded_len());
        entered.encode_raw(out);
        write_members_fields(out, ENTERED_MEMBERS, members);
        rest.encode_raw(out);
    });
}

/// Appends a whole frame with more members of a room.
pub fn write_members<'a>(out: &mut Vec<u8>, room: RoomId, members: impl Iterator<Item = Person<'a>> + Clone) {
    let message = Members { room: room.to_wire(), members: Vec::new() };
    frame::write(out, |out| {
        let bytes = message.encoded_len() + members_bytes(MEMBERS_MEMBERS, members.clone());
        write_length(out, TO_CLIENT_MEMBERS, bytes);
        message.encode_raw(out);
        write_members_fields(out, MEMBERS_MEMBERS, members);
    });
}

/// A report as it is on the wire.
pub fn report_to_wire(talker: SessionId, report: ReceiverReport) -> VoiceReport {
    let ReceiverReport { lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms } = report;
    VoiceReport {
        talker: talker.to_wire(),
        lost_per_mille: lost_per_mille.into(),
        unrecovered_per_mille: unrecovered_per_mille.into(),
        burst_ms: burst_ms.into(),
        queue_ms: queue_ms.into(),
    }
}

/// A report from the wire, and whom it is about; what is too large becomes as large as can be.
pub fn report_from_wire(report: &VoiceReport) -> (SessionId, ReceiverReport) {
    let bounded = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let sane = ReceiverReport {
        lost_per_mille: bounded(report.lost_per_mille),
        unrecovered_per_mille: bounded(report.unrecovered_per_mille),
        burst_ms: bounded(report.burst_ms),
        queue_ms: bounded(report.queue_ms),
    }
    .sane();
    (SessionId::from_wire(report.talker), sane)
}

/// The numbers of fields in the schema, for what is written without a message of its own.
const TO_CLIENT_ENTERED: u32 = 14;
const TO_CLIENT_MEMBERS: u32 = 10;
const ENTERED_MEMBERS: u32 = 3;
const MEMBERS_MEMBERS: u32 = 2;
const MEMBER_SESSION: u32 = 1;
const MEMBER_NAME: u32 = 2;
const MEMBER_MUTED: u32 = 3;
const MEMBER_DEAFENED: u32 = 4;
const MEMBER_VOICE: u32 = 5;

/// Appends the key of a field and its length.
fn write_length(out: &mut Vec<u8>, field: u32, bytes: usize) {
    write_key(out, field, WireType::LengthDelimited);
    write_varint(out, bytes as u64);
}

/// Appends a field that is a number.
fn write_number(out: &mut Vec<u8>, field: u32, number: u32) {
    write_key(out, field, WireType::Varint);
    write_varint(out, number.into());
}

fn write_key(out: &mut Vec<u8>, field: u32, kind: WireType) {
    write_varint(out, (field << 3 | kind as u32).into());
}

/// Most are one byte, and a large room has thousands of them.
fn write_varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte @ ..0x80) => out.push(byte),
        Ok(_) | Err(_) => encoding::encode_varint(value, out),
    }
}

/// Bytes of a `Member`. A session is never 0 and a name never empty, so that both fields are there; a mark takes two where it is set.
fn member_bytes(person: Person<'_>) -> usize {
    let (name, marks) = (person.name.as_str().len(), person.marks);
    let name = encoding::key_len(MEMBER_NAME) + encoding::encoded_len_varint(name as u64) + name;
    let marks = 2 * (usize::from(marks.muted) + usize::from(marks.deafened));
    let voice = person.voice.map_or(0, |room| encoding::uint32::encoded_len(MEMBER_VOICE, &room.to_wire()));
    encoding::uint32::encoded_len(MEMBER_SESSION, &person.session.to_wire()) + name + marks + voice
}

/// Bytes of all these members as fields with this number.
fn members_bytes<'a>(field: u32, members: impl Iterator<Item = Person<'a>>) -> usize {
    let of_each = members.map(|person| {
        let bytes = member_bytes(person);
        encoding::key_len(field) + encoding::encoded_len_varint(bytes as u64) + bytes
    });
    of_each.sum()
}

fn write_members_fields<'a>(out: &mut Vec<u8>, field: u32, members: impl Iterator<Item = Person<'a>>) {
    for person in members {
        write_length(out, field, member_bytes(person));
        write_number(out, MEMBER_SESSION, person.session.to_wire());
        write_length(out, MEMBER_NAME, person.name.as_str().len());
        out.extend_from_slice(person.name.as_str().as_bytes());
        for (mark, is_set) in [(MEMBER_MUTED, person.marks.muted), (MEMBER_DEAFENED, person.marks.deafened)] {
            if is_set {
                write_number(out, mark, 1);
            }
        }
        if let Some(room) = person.voice {
            write_number(out, MEMBER_VOICE, room.to_wire());
        }
    }
}

fn as_voice(body: &[u8]) -> Option<&[u8]> {
    let (&VOICE_KEY, mut rest) = body.split_first()? else { return None };
    let length = encoding::decode_varint(&mut rest).ok()?;
    (length == rest.len() as u64).then_some(rest)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec};

    use super::*;
    use crate::{
        hub::Marks,
        name::Name,
        wire::chinwag1::{Member, Ping, Room, Say, Topic},
    };

    fn body(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![];
        write(&mut out);
        out.split_off(frame::HEADER_BYTES)
    }

    #[test]
    fn voice_is_read_without_a_copy_and_is_still_an_ordinary_message() {
        let bytes = body(|out| write_voice(out, &[9; 200]));
        assert_eq!(decode_to_server(&bytes), Ok(Body::Voice(&[9; 200][..])));
        assert_eq!(decode_to_client(&bytes), Ok(Body::Voice(&[9; 200][..])));
        let slow = ToServer::decode(&bytes[..]).unwrap().kind;
        assert_eq!(slow, Some(to_server::Kind::Voice(vec![9; 200])));
    }

    #[test]
    fn members_that_are_written_as_they_come_are_an_ordinary_message() {
        let names: Vec<_> = (1..=300).map(|n| Name::new(&"ö".repeat(1 + n % 32)).unwrap()).collect();
        let people: Vec<_> = names
            .iter()
            .zip(1u32..)
            .map(|(name, n)| Person {
                session: SessionId::from_wire(n * 0x7_0001),
                name,
                marks: Marks { muted: n % 2 == 0, deafened: n % 3 == 0 },
                voice: (n % 5 != 0).then(|| RoomId::from_wire(n * 99)),
            })
            .collect();
        let list = |count| -> Vec<Member> {
            let some = people.iter().take(count);
            some.map(|person| Member {
                session: person.session.to_wire(),
                name: person.name.as_str().to_string(),
                muted: person.marks.muted,
                deafened: person.marks.deafened,
                voice: person.voice.map_or(0, RoomId::to_wire),
            })
            .collect()
        };
        for (count, with) in [(0, 0), (1, 1), (2, 0), (3, 1), (300, 1)] {
            let some = people.iter().take(count).copied();
            let room = Room { id: 7, name: "lobby".to_string(), epoch: 1 << 60, last_seq: 5 };
            let topic = Topic { room: 7, text: "tea".to_string(), ..Topic::default() };
            let entered = Entered {
                key: 9,
                room: Some(room),
                member_count: count as u32,
                with,
                topic: (with == 1).then_some(topic),
                members: vec![],
            };
            let (mut quick, mut plain) = (vec![], vec![]);
            write_entered(&mut quick, entered.clone(), some.clone());
            let members = list(count);
            write_to_client(&mut plain, to_client::Kind::Entered(Entered { members, ..entered }));
            assert_eq!(quick, plain, "a room with {count}");
            write_members(&mut quick, RoomId::from_wire(7), some);
            write_to_client(&mut plain, to_client::Kind::Members(Members { room: 7, members: list(count) }));
            assert_eq!(quick, plain, "{count} more");
        }
    }

    #[test]
    fn unknown_kinds_and_fields_are_skipped() {
        // Field 100, which no version has, and a Ping with an unknown field 9.
        assert_eq!(decode_to_server(&[0xa2, 6, 1, 0]), Ok(Body::Unknown));
        assert_eq!(decode_to_server(&[]), Ok(Body::Unknown));
        let mut bytes = body(|out| write_to_server(out, to_server::Kind::Ping(Ping { token: 5 })));
        bytes.extend([0xa2, 6, 0]);
        bytes[1] += 2;
        bytes.splice(11.., [0x48, 7]);
        let ping = to_server::Kind::Ping(Ping { token: 5 });
        assert_eq!(decode_to_server(&bytes), Ok(Body::Message(ping)));
    }

    #[test]
    fn invalid_utf8_is_no_message() {
        let say = Say { room: 1, id: 1, text: "abc".to_string() };
        let mut bytes = body(|out| write_to_server(out, to_server::Kind::Say(say)));
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(decode_to_server(&bytes), Err(Undecodable));
    }
}
