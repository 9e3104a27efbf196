//! What the tests of the machines share: outputs as lines of text, and rigs that drive one machine in virtual time.
//! The lines leave out what is random (tokens, epochs); everything else of an output is in them.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub(crate) mod client;
mod rig;
mod shelf;
mod show;
mod voice;
mod world;

pub(crate) use rig::{ClientRig, ServerRig};
pub(crate) use shelf::Shelf;
pub(crate) use show::{client_output, relayed, server_output};
pub(crate) use voice::{Open, Relayed, VoiceRig};
pub(crate) use world::{Node, Told, World, WorldConfig};

use chinwag_proto::{
    Duration, SessionId,
    wire::{chinwag1 as pb, control, voice::VoiceFrame},
};

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Whole frames with these messages, as a client sends them.
pub(crate) fn to_server(kinds: impl IntoIterator<Item = pb::to_server::Kind>) -> Vec<u8> {
    let mut bytes = vec![];
    kinds.into_iter().for_each(|kind| control::write_to_server(&mut bytes, kind));
    bytes
}

/// Whole frames with these messages, as a server sends them.
pub(crate) fn to_client(kinds: impl IntoIterator<Item = pb::to_client::Kind>) -> Vec<u8> {
    let mut bytes = vec![];
    kinds.into_iter().for_each(|kind| control::write_to_client(&mut bytes, kind));
    bytes
}

/// Of somebody who wants to be in the default room alone, and to talk there.
pub(crate) fn hello(name: &str) -> pb::Hello {
    hello_in(name, [claim(1, "")])
}

/// Of somebody who wants to be in these rooms, and to talk in the first of them.
pub(crate) fn hello_in(name: &str, rooms: impl IntoIterator<Item = pb::Claim>) -> pb::Hello {
    let rooms: Vec<_> = rooms.into_iter().collect();
    let voice = rooms.first().map_or(0, |claim| claim.key);
    pb::Hello { versions: vec![1], name: name.to_owned(), rooms, voice, ..Default::default() }
}

/// Of a room in which one was not before.
pub(crate) fn claim(key: u32, name: &str) -> pb::Claim {
    pb::Claim { key, name: name.to_owned(), ..Default::default() }
}

/// Of what is between two, neither of whom has opened it.
pub(crate) fn whisper(key: u32, with: &str) -> pb::Claim {
    pb::Claim { key, with: with.to_owned(), ..Default::default() }
}

pub(crate) fn say(room: u32, id: u64, text: &str) -> pb::to_server::Kind {
    pb::to_server::Kind::Say(pb::Say { room, id, text: text.to_owned() })
}

/// One voice frame of `talker`.
pub(crate) fn voice(talker: SessionId, sequence: u32, opus: &[u8]) -> Vec<u8> {
    let mut payload = vec![];
    assert!(VoiceFrame { talker, sequence, end: false, level: 30, opus }.write(&mut payload));
    payload
}

/// The wire number of the session that is shown as `s<generation>.<index>`.
pub(crate) const fn session(generation: u32, index: u32) -> SessionId {
    SessionId::from_wire((generation << 20) | index)
}

#[track_caller]
pub(crate) fn assert_lines(actual: &[String], expected: &[&str]) {
    assert!(
        actual == expected,
        "outputs:\n  {}\nexpected:\n  {}",
        actual.join("\n  "),
        expected.join("\n  ")
    );
}
