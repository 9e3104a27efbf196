//! The wire: what is written is read, however it is cut; and what the bytes are, once and for all.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::net::SocketAddr;

use chinwag_proto::{
    SessionId, limits,
    link::{Fingerprint, Link},
    name::Name,
    text,
    wire::{
        chinwag1::{self as pb, to_client, to_server},
        control::{self, Body},
        frame::{self, FrameReader},
        path::{DatagramKind, Header, Seal, SealedPath, TAG_BYTES},
        voice::{Frames, VoiceFrame},
    },
};
use common::{ServerRig, claim, hello_in, say, secs, session, to_client, to_server, voice, whisper};
use proptest::prelude::*;

fn bodies(reader: &mut FrameReader) -> Vec<Vec<u8>> {
    let mut bodies = vec![];
    while let Some(body) = reader.next_frame(limits::FRAME_BYTES).unwrap() {
        bodies.push(body.to_vec());
    }
    bodies
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_yields_the_same_frames_however_it_is_cut(
        sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        cuts in prop::collection::vec(1usize..400, 1..50),
    ) {
        let mut stream = vec![];
        sent.iter().for_each(|body| frame::write(&mut stream, |out| out.extend_from_slice(body)));
        let (mut reader, mut received, mut rest) = (FrameReader::default(), vec![], &stream[..]);
        for cut in cuts.iter().cycle() {
            let (portion, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            reader.push(portion);
            // Not always at once.
            if cut % 3 > 0 {
                received.extend(bodies(&mut reader));
            }
            if rest.is_empty() {
                break;
            }
        }
        received.extend(bodies(&mut reader));
        prop_assert_eq!(received, sent);
        prop_assert_eq!(reader.buffered(), 0);
    }

    #[test]
    fn messages_are_read_as_they_were_written(
        room in any::<u32>(), seq in any::<u64>(), id in any::<u64>(), text in any::<String>(), token in any::<u64>(),
    ) {
        let kinds = [
            to_server::Kind::Say(pb::Say { room, id, text: text.clone() }),
            to_server::Kind::Hello(pb::Hello { resume: Some(pb::Resume { session: room, token: vec![1; 16], attempt: seq }), author: vec![3; 16], ..hello_in(&text, [pb::Claim { key: room, name: text.clone(), with: text.clone(), epoch: token, last_seq: seq, room }]) }),
            to_server::Kind::Ping(pb::Ping { token }),
            to_server::Kind::History(pb::HistoryRequest { room, before: seq, limit: room, words: text.clone(), token: room }),
        ];
        for kind in kinds {
            let bytes = to_server([kind.clone()]);
            prop_assert_eq!(control::decode_to_server(&bytes[4..]), Ok(Body::Message(kind)));
        }
        let kinds = [
            to_client::Kind::Said(pb::Said { room, seq, session: room, name: text.clone(), id, text: text.clone(), at_ms: token }),
            to_client::Kind::Ack(pb::Ack { room, seq, id, at_ms: token }),
            to_client::Kind::History(pb::HistoryPage {
                room, token: room, more: seq > 0, error: text.clone(),
                messages: vec![pb::Said { room, seq, session: room, name: text.clone(), id, text, at_ms: token }],
            }),
        ];
        for kind in kinds {
            let bytes = to_client([kind.clone()]);
            prop_assert_eq!(control::decode_to_client(&bytes[4..]), Ok(Body::Message(kind)));
        }
    }

    #[test]
    fn voice_frames_are_read_as_they_were_written(
        frames in prop::collection::vec((0u32..3, any::<u32>(), any::<bool>(), 0u8..128, prop::collection::vec(any::<u8>(), 0..60)), 1..limits::FRAMES_PER_DATAGRAM),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = vec![];
        let frames: Vec<_> = frames.iter().map(|(talker, sequence, end, level, opus)| VoiceFrame {
            talker: SessionId::from_wire(*talker), sequence: *sequence, end: *end, level: *level, opus,
        }).collect();
        let mut ends = vec![0];
        for frame in &frames {
            prop_assert!(frame.write(&mut payload));
            ends.push(payload.len());
        }
        prop_assert_eq!(Frames::parse(&payload).unwrap().collect::<Vec<_>>(), frames);
        let mut last = None;
        for (frame, copy) in Frames::parse(&payload).unwrap().with_copies() {
            prop_assert_eq!(copy, last.replace(frame.talker) == Some(frame.talker));
        }
        // Cut anywhere but between frames, it is none.
        let cut = cut.index(payload.len());
        prop_assert_eq!(Frames::parse(&payload[..cut]).is_ok(), cut > 0 && ends.contains(&cut));
        let mut bytes = vec![];
        control::write_voice(&mut bytes, &payload);
        prop_assert_eq!(control::decode_to_client(&bytes[4..]), Ok(Body::Voice(&payload[..])));
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
        if let Ok(frames) = Frames::parse(&bytes) {
            let mut again = vec![];
            frames.for_each(|frame| assert!(frame.write(&mut again)));
            prop_assert_eq!(again.len(), bytes.len());
        }
        let _ = control::decode_to_server(&bytes);
        let _ = control::decode_to_client(&bytes);
        if let Some(header) = Header::parse(&bytes) {
            prop_assert!(bytes.len() <= limits::DATAGRAM_BYTES);
            prop_assert_eq!(&bytes[1..5], &header.session.to_wire().to_be_bytes()[..]);
        }
        let mut reader = FrameReader::default();
        reader.push(&bytes);
        while let Ok(Some(body)) = reader.next_frame(100) {
            assert!(body.len() <= 100);
        }
    }

    #[test]
    fn a_name_is_a_name_again_and_shown_as_it_is(raw in "\\PC{1,40}|.{1,40}|[ a-zA-Zé\u{308}\u{30a}ﬁΣς：ﷺ0-9]{1,34}") {
        if let Ok(name) = Name::new(&raw) {
            prop_assert_eq!(Name::new(name.as_str()), Ok(name.clone()));
            prop_assert_eq!(text::escape(name.as_str()), name.as_str());
            prop_assert!((1..=limits::NAME_CHARS).contains(&name.as_str().chars().count()));
            prop_assert!(name.as_str().len() <= 4 * limits::NAME_CHARS);
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_one(raw in "[a-zA-Zäöüßéñçåøж-яА-Я ]{1,20}") {
        if let (Ok(name), Ok(upper), Ok(lower)) = (Name::new(&raw), Name::new(&raw.to_uppercase()), Name::new(&raw.to_lowercase())) {
            prop_assert_eq!(name.folded(), upper.folded());
            prop_assert_eq!(name.folded(), lower.folded());
        }
    }

    #[test]
    fn escaped_text_has_nothing_that_drives_a_terminal(raw in any::<String>()) {
        let shown = text::escape(&raw).into_owned();
        prop_assert!(!shown.chars().any(char::is_control));
        prop_assert_eq!(text::escape(&shown), &shown[..]);
    }

    #[test]
    fn links_are_read_as_they_were_written(
        host in "[a-z0-9.-]{1,20}|[0-9a-f]{1,4}::[0-9a-f]{1,4}", port in 1u16.., room in prop::option::of("[^/]{1,20}|é / #?%41"), digest in prop::option::of(any::<[u8; 32]>()),
    ) {
        let link = Link { host, port, room, fingerprint: digest.map(Fingerprint::new) };
        prop_assert_eq!(Link::parse(&link.to_string()), Ok(link));
    }

    #[test]
    fn arbitrary_links_are_read_or_refused(raw in any::<String>(), tail in "[#/:%\\[\\]0-9a-f]{0,20}") {
        for raw in [format!("chinwag://{raw}{tail}"), format!("chinwag://h{tail}"), raw] {
            if let Ok(link) = Link::parse(&raw) {
                prop_assert_eq!(Link::parse(&link.to_string()), Ok(link));
            }
        }
    }
}

/// A seal that shows what it was given.
struct Clear;

impl Seal for Clear {
    fn seal(&self, counter: u64, _: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        payload.iter_mut().for_each(|byte| *byte ^= counter as u8);
        [0xee; TAG_BYTES]
    }

    fn open(&self, counter: u64, _: &[u8], sealed: &mut [u8]) -> bool {
        let payload = sealed.len() - TAG_BYTES;
        sealed[..payload].iter_mut().for_each(|byte| *byte ^= counter as u8);
        sealed.ends_with(&[0xee; TAG_BYTES])
    }
}

#[test]
fn the_counters_of_a_path_never_repeat_and_open_in_order() {
    let from = SocketAddr::from(([127, 0, 0, 1], 9));
    let (mut a, mut b) = (SealedPath::new(session(1, 4), Clear), SealedPath::new(session(1, 4), Clear));
    for counter in 0..3 {
        let mut datagram = vec![];
        assert!(a.seal(DatagramKind::Probe, &[5; 8], &mut datagram));
        assert_eq!(Header::parse(&datagram).unwrap().counter, counter);
        assert_eq!(b.open(from, &mut datagram).unwrap().payload, [5; 8]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

#[test]
fn the_bytes_on_the_wire_stay_as_they_are() {
    let resume = Some(pb::Resume { session: 1 << 20, token: vec![0xaa; 16], attempt: 2 });
    let (software, author) = ("chinwag 0.1.0".into(), vec![0xbb; 16]);
    let lobby = pb::Claim { epoch: 0x1122, last_seq: 7, room: 1, ..claim(1, "lobby") };
    let marks = Some(pb::Marks { muted: true, deafened: true });
    let rooms = [lobby, whisper(2, "Bar")];
    let hello = pb::Hello { software, author, resume, marks, ..hello_in("Foo", rooms) };
    let welcome = pb::Welcome { resumed: true, software: "s".into(), ..common::ClientRig::welcome() };
    let topic = pb::Topic { room: 1, text: "tea".into(), by: "Bar".into(), at_ms: 1_700_000_000_123 };
    let entered =
        pb::Entered { with: (1 << 20) + 1, topic: Some(topic.clone()), ..common::ClientRig::lobby() };
    let listed = pb::ListedRoom { name: "lobby".into(), members: 2, topic: "tea".into() };
    let at_ms = 1_700_000_000_123;
    let (name, text) = ("Foo".to_owned(), "héllo".to_owned());
    let said = pb::Said { room: 1, seq: 300, session: 1 << 20, name, id: 5, text, at_ms };
    let ask = pb::HistoryRequest { room: 1, before: 300, limit: 20, words: "hé".into(), token: 9 };
    let page =
        pb::HistoryPage { room: 1, token: 9, messages: vec![said.clone()], more: true, error: "e".into() };
    let member =
        || Some(pb::Member { session: 1 << 20, name: "Foo".into(), muted: true, deafened: true, voice: 1 });
    let left = pb::Left { room: 1, member: member(), reason: 2 };
    let mut voice_frame = vec![];
    control::write_voice(&mut voice_frame, &voice(session(1, 0), 0x0102_0304, b"opus"));
    let mut datagram = vec![];
    let mut path = SealedPath::new(session(1, 2), Clear);
    assert!(path.seal(DatagramKind::Voice, b"payload", &mut datagram));
    let rows = [
        ("hello", to_server([to_server::Kind::Hello(hello)])),
        ("say", to_server([say(1, 5, "héllo")])),
        ("welcome", to_client([to_client::Kind::Welcome(welcome)])),
        ("entered", to_client([to_client::Kind::Entered(entered)])),
        (
            "not entered",
            to_client([to_client::Kind::NotEntered(pb::NotEntered { key: 2, text: "no".into() })]),
        ),
        ("join", to_server([to_server::Kind::Join(claim(3, "den"))])),
        ("part", to_server([to_server::Kind::Part(pb::Part { room: 3 })])),
        ("voice room", to_server([to_server::Kind::VoiceRoom(pb::VoiceRoom { room: 3 })])),
        ("set topic", to_server([to_server::Kind::Topic(pb::SetTopic { room: 1, text: "tea".into() })])),
        ("topic", to_client([to_client::Kind::Topic(topic)])),
        ("set name", to_server([to_server::Kind::Name(pb::SetName { name: "Qux".into() })])),
        ("marks", to_server([to_server::Kind::Marks(pb::Marks { muted: true, deafened: false })])),
        ("changed", to_client([to_client::Kind::Changed(member().unwrap())])),
        ("list rooms", to_server([to_server::Kind::ListRooms(pb::ListRooms {})])),
        ("rooms", to_client([to_client::Kind::Rooms(pb::RoomList { rooms: vec![listed], more: true })])),
        (
            "not done",
            to_client([to_client::Kind::NotDone(pb::NotDone { text: "no".into(), name: "Foo".into() })]),
        ),
        ("ack", to_client([to_client::Kind::Ack(pb::Ack { room: 1, seq: 300, id: 5, at_ms })])),
        ("said", to_client([to_client::Kind::Said(said)])),
        ("joined", to_client([to_client::Kind::Joined(pb::Joined { room: 1, member: member() })])),
        ("left", to_client([to_client::Kind::Left(left)])),
        ("history request", to_server([to_server::Kind::History(ask)])),
        ("history page", to_client([to_client::Kind::History(page)])),
        ("voice frame", voice(session(1, 0), 0x0102_0304, b"opus")),
        ("voice over tcp", voice_frame),
        ("datagram: header, payload, tag", datagram),
    ];
    let shown: String = rows.iter().map(|(name, bytes)| format!("{name}\n{}\n", hex(bytes))).collect();
    insta::assert_snapshot!("wire_bytes", shown);
}

#[test]
fn the_trace_of_a_short_evening_stays_as_it_is() {
    let mut rig = ServerRig::new();
    let mut trace = vec![];
    let mut note = |what: &str, lines: Vec<String>| {
        trace.push(format!("> {what}"));
        trace.extend(lines.into_iter().map(|line| format!("  {line}")));
    };
    note("1 is Foo", rig.join(1, "Foo"));
    note("2 is Bar", rig.join(2, "Bar"));
    note("2 says", rig.send(2, say(1, 1, "Hello, I am Bar!")));
    note("1 listens by UDP", rig.send(1, to_server::Kind::VoicePath(pb::SetVoicePath { path: 1 })));
    let payload = voice(session(1, 1), 1, &[1, 2, 3]);
    note("2 talks", rig.datagram(2, DatagramKind::Voice, &payload));
    note("2 is cut off", rig.close(2));
    note("1 says", rig.send(1, say(1, 1, "Bar?")));
    note("2 is back", rig.resume(3, 2, 1));
    note("1 is silent", rig.wait(secs(8)));
    rig.send(3, to_server::Kind::Pong(pb::Ping { token: 0 }));
    note("1 still is", rig.wait(secs(7)));
    note("2 quits", rig.send(3, to_server::Kind::Quit(pb::Quit {})));
    insta::assert_snapshot!("evening", trace.join("\n"));
}
