//! What the tests of the client have to say to it, and what it says most often.

use chinwag_proto::{
    client::ClientOutput,
    wire::{
        chinwag1::{self as pb, to_client::Kind},
        control, frame,
        voice::VoiceFrame,
    },
};

use super::{ClientRig, session};

pub(crate) const NOTHING: [&str; 0] = [];
pub(crate) const WELCOME: &str =
    r#"event Welcome { session: s1.0, name: "Foo", resumed: false, again: false }"#;
pub(crate) const ENTERED: &str =
    r#"event Entered { place: 1, name: "lobby", is_private: false, again: false, continues: false }"#;
pub(crate) const UNREACHABLE: &str = "event Ended(Unreachable)";

pub(crate) fn ack(seq: u64, id: u64) -> Kind {
    Kind::Ack(pb::Ack { room: 1, seq, id, at_ms: seq })
}

pub(crate) fn member(session: u32, name: &str) -> pb::Member {
    pb::Member { session, name: name.into(), ..Default::default() }
}

pub(crate) fn joined(session: u32, name: &str) -> Kind {
    Kind::Joined(pb::Joined { room: 1, member: Some(member(session, name)) })
}

pub(crate) fn left(session: u32, name: &str) -> Kind {
    let reason = pb::left::Reason::Lost.into();
    Kind::Left(pb::Left { room: 1, member: Some(member(session, name)), reason })
}

/// Waits out the pause before the next try.
pub(crate) fn pause(rig: &mut ClientRig) -> Vec<String> {
    let due = rig.client.poll_timeout().unwrap();
    rig.wait(due.since(rig.now))
}

pub(crate) fn frame_of(opus: &[u8]) -> VoiceFrame<'_> {
    VoiceFrame { talker: session(0, 0), sequence: 5, end: false, level: 9, opus }
}

/// The tokens of the pings among what it sends now.
pub(crate) fn pinged(rig: &mut ClientRig) -> Vec<u64> {
    let mut tokens = vec![];
    while let Some(output) = rig.client.poll_output() {
        if let ClientOutput::Send { bytes, .. } = output
            && let Ok(control::Body::Message(pb::to_server::Kind::Ping(ping))) =
                control::decode_to_server(&bytes[frame::HEADER_BYTES..])
        {
            tokens.push(ping.token);
        }
    }
    tokens
}
