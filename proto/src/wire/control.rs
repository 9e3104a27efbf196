//! Control messages as bytes: typed views over the generated messages, for both ends.
//!
//! Says nothing about when a message may come; that is for the machines.

use alloc::vec::Vec;

use prost::Message as _;

use super::{
    chinwag1::{ToClient, ToServer, VoiceReport, to_client, to_server},
    frame,
};
use crate::{ids::SessionId, report::ReceiverReport};

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
        prost::encoding::encode_varint(payload.len() as u64, out);
        out.extend_from_slice(payload);
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

fn as_voice(body: &[u8]) -> Option<&[u8]> {
    let (&VOICE_KEY, mut rest) = body.split_first()? else { return None };
    let length = prost::encoding::decode_varint(&mut rest).ok()?;
    (length == rest.len() as u64).then_some(rest)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec};

    use super::*;
    use crate::wire::chinwag1::{Ping, Say};

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
    fn unknown_kinds_and_fields_are_skipped() {
        // Field 14, which no version has, and a Ping with an unknown field 9.
        assert_eq!(decode_to_server(&[0x72, 1, 0]), Ok(Body::Unknown));
        assert_eq!(decode_to_server(&[]), Ok(Body::Unknown));
        let mut bytes = body(|out| write_to_server(out, to_server::Kind::Ping(Ping { token: 5 })));
        bytes.extend([0x72, 0]);
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
