//! What reading and writing the wire costs: a text, a member's voice by the control connection, a voice payload.

use chinwag_proto::{
    SessionId,
    limits::FRAME_BYTES,
    wire::{
        chinwag1::{Said, Say, to_client, to_server},
        control::{self, Body},
        frame::FrameReader,
        voice::{Frames, VoiceFrame},
    },
};
use divan::{Bencher, black_box};

const TEXT: &str = "a message of about the length that most of them have, not more";

fn main() {
    divan::main();
}

/// What the server writes once for all listeners.
#[divan::bench]
fn write_said(bencher: Bencher<'_, '_>) {
    let said = Said {
        room: 1,
        seq: 100_000,
        session: 1 << 20,
        name: "somebody".into(),
        id: 1000,
        text: TEXT.into(),
        at_ms: 1_700_000_000_000,
    };
    let mut out = vec![];
    bencher.with_inputs(|| said.clone()).bench_local_values(|said| {
        out.clear();
        control::write_to_client(&mut out, to_client::Kind::Said(said));
        black_box(&out);
    });
}

/// Bytes of a connection to a message.
#[divan::bench]
fn read_say(bencher: Bencher<'_, '_>) {
    let mut bytes = vec![];
    let say = Say { room: 1, id: 1000, text: TEXT.into() };
    control::write_to_server(&mut bytes, to_server::Kind::Say(say));
    let mut reader = FrameReader::default();
    bencher.bench_local(|| {
        reader.push(black_box(&bytes));
        let body = reader.next_frame(FRAME_BYTES).ok().flatten().expect("a whole frame");
        assert!(matches!(control::decode_to_server(body), Ok(Body::Message(to_server::Kind::Say(_)))));
    });
}

/// Bytes of a connection to a voice payload.
#[divan::bench]
fn read_tunnelled_voice(bencher: Bencher<'_, '_>) {
    let mut bytes = vec![];
    control::write_voice(&mut bytes, &payload(1));
    let mut reader = FrameReader::default();
    bencher.bench_local(|| {
        reader.push(black_box(&bytes));
        let body = reader.next_frame(FRAME_BYTES).ok().flatten().expect("a whole frame");
        assert!(matches!(control::decode_to_client(body), Ok(Body::Voice(_))));
    });
}

/// A payload to frames: one alone, and one with two copies of older ones.
#[divan::bench(args = [1, 3])]
fn parse_voice(bencher: Bencher<'_, '_>, frames: u32) {
    let payload = payload(frames);
    bencher.bench_local(|| {
        let frames = Frames::parse(black_box(&payload)).expect("whole frames");
        frames.with_copies().map(|(frame, _)| frame.opus.len()).sum::<usize>()
    });
}

fn payload(frames: u32) -> Vec<u8> {
    let mut payload = vec![];
    for age in 0..frames {
        let talker = SessionId::from_wire(1 << 20);
        VoiceFrame { talker, sequence: 1000 - age, end: false, level: 30, opus: &[9; 80] }
            .write(&mut payload);
    }
    payload
}
