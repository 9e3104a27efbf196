//! Writes the first corpus of every target: what clients and servers really send, cut short, and nonsense.

use std::{fs, io, path::Path};

use chinwag_fuzz::Toy;
use chinwag_proto::{
    SessionId,
    wire::{
        chinwag1 as pb,
        control::{VERSION, write_to_client, write_to_server, write_voice},
        path::{DatagramKind, SealedPath},
        voice::VoiceFrame,
    },
};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    write(&corpus.join("frame"), &with_cuts(frames()))?;
    write(&corpus.join("datagram"), &with_cuts(datagrams()))?;
    write(&corpus.join("server"), &with_cuts(histories()))?;
    write(&corpus.join("client"), &with_cuts(conversations()))?;
    write(&corpus.join("wav"), &with_cuts(files()))?;
    write(&corpus.join("jitter"), &with_cuts(talks()))?;
    write(&corpus.join("screen"), &with_cuts(evenings()))?;
    write(&corpus.join("world"), &with_cuts(worlds()))
}

fn write(folder: &Path, inputs: &[(String, Vec<u8>)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    inputs.iter().try_for_each(|(name, bytes)| fs::write(folder.join(format!("seed-{name}")), bytes))
}

/// Each input whole, and once more without its last third; and some that are nothing at all.
fn with_cuts(inputs: Vec<(&str, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let cut =
        inputs.iter().map(|(name, bytes)| (format!("{name}-cut"), bytes[..bytes.len() * 2 / 3].to_vec()));
    let garbage: Vec<u8> = (0..200u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let nothing = [("empty", vec![]), ("zeros", vec![0; 64]), ("ones", vec![255; 64]), ("garbage", garbage)];
    let nothing = nothing.map(|(name, bytes)| (name.to_owned(), bytes));
    cut.chain(nothing).chain(inputs.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone()))).collect()
}

fn voice_payload(frames: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    for sequence in 0..frames {
        let talker = SessionId::from_wire(77);
        VoiceFrame { talker, sequence, end: sequence == 3, level: 30, opus: &[9; 60] }.write(&mut payload);
    }
    payload
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    use pb::{to_client::Kind as C, to_server::Kind as S};
    let member = || Some(pb::Member { session: 77, name: "Foo".to_owned(), voice: 1, ..Default::default() });
    let claim = || pb::Claim {
        key: 1,
        name: "lobby".to_owned(),
        epoch: 9,
        last_seq: 3,
        room: 1,
        ..Default::default()
    };
    let hello = |resume| {
        let (versions, name) = (vec![VERSION], "Foo".to_owned());
        let author = vec![6; 16];
        S::Hello(pb::Hello {
            versions,
            software: "test 1".to_owned(),
            name,
            rooms: vec![claim(), pb::Claim { key: 2, with: "Bar".to_owned(), ..Default::default() }],
            voice: 1,
            marks: Some(pb::Marks { muted: true, deafened: false }),
            resume,
            author,
            ..Default::default()
        })
    };
    let resume = pb::Resume { session: 77, token: vec![5; 16], attempt: 1 };
    let say = pb::Say { room: 1, id: 2, text: "Hello, I am Foo!".to_owned() };
    let text = "x".to_owned();
    let (name, at_ms) = ("Foo".to_owned(), 1_700_000_000_000);
    let said =
        pb::Said { room: 1, seq: 4, session: 77, name: name.clone(), id: 2, text: text.clone(), at_ms };
    let ask = pb::HistoryRequest { room: 1, before: 4, limit: 20, words: "Foo".to_owned(), token: 3 };
    let room = Some(pb::Room { id: 1, name: "lobby".to_owned(), epoch: 9, last_seq: 3 });
    let members = member().into_iter().collect::<Vec<_>>();
    let welcome = pb::Welcome {
        version: VERSION,
        session: 77,
        name: "Foo".to_owned(),
        resume_token: vec![5; 16],
        ..Default::default()
    };
    let topic = pb::Topic { room: 1, text: text.clone(), by: name.clone(), at_ms };
    let entered = pb::Entered {
        key: 1,
        room,
        members: members.clone(),
        member_count: 1,
        topic: Some(topic.clone()),
        ..Default::default()
    };
    let listed = pb::ListedRoom { name: "lobby".to_owned(), members: 1, topic: text.clone() };
    let to_server = [
        hello(None),
        hello(Some(resume)),
        S::Say(say),
        S::Ping(pb::Ping { token: 8 }),
        S::Pong(pb::Ping { token: 8 }),
        S::VoicePath(pb::SetVoicePath { path: 1 }),
        S::History(ask),
        S::Join(claim()),
        S::Part(pb::Part { room: 1 }),
        S::VoiceRoom(pb::VoiceRoom { room: 1 }),
        S::Topic(pb::SetTopic { room: 1, text: text.clone() }),
        S::Name(pb::SetName { name: "Bar".to_owned() }),
        S::Marks(pb::Marks { muted: true, deafened: true }),
        S::ListRooms(pb::ListRooms {}),
        S::Quit(pb::Quit {}),
    ];
    let to_client = [
        C::Welcome(welcome),
        C::Entered(entered),
        C::NotEntered(pb::NotEntered { key: 2, text: text.clone() }),
        C::Changed(member().unwrap_or_default()),
        C::Topic(topic),
        C::Rooms(pb::RoomList { rooms: vec![listed], more: true }),
        C::NotDone(pb::NotDone { text: text.clone() }),
        C::Members(pb::Members { room: 1, members }),
        C::Joined(pb::Joined { room: 1, member: member() }),
        C::Left(pb::Left { room: 1, member: member(), reason: 2 }),
        C::History(pb::HistoryPage {
            room: 1,
            token: 3,
            messages: vec![said.clone()],
            more: true,
            ..Default::default()
        }),
        C::Said(said),
        C::Ack(pb::Ack { room: 1, seq: 4, id: 2, at_ms: 1_700_000_000_000 }),
        C::Nack(pb::Nack { id: 2, text: text.clone() }),
        C::Refused(pb::Refused { reason: 3, text: text.clone(), suggestion: "Foo 2".to_owned() }),
        C::Closing(pb::Closing { reason: 1, text }),
    ];
    let (mut client, mut server, mut voice) = (Vec::new(), Vec::new(), Vec::new());
    to_server.into_iter().for_each(|kind| write_to_server(&mut client, kind));
    to_client.into_iter().for_each(|kind| write_to_client(&mut server, kind));
    write_voice(&mut voice, &voice_payload(2));
    write_voice(&mut voice, &[]);
    vec![("client", client), ("server", server), ("voice", voice), ("oversized", vec![0, 1, 0, 0, 1, 2])]
}

fn datagrams() -> Vec<(&'static str, Vec<u8>)> {
    let mut path = SealedPath::new(SessionId::from_wire(77), Toy);
    let mut sealed = |kind, payload: &[u8]| {
        let mut out = Vec::new();
        path.seal(kind, payload, &mut out);
        out
    };
    vec![
        ("payload", voice_payload(1)),
        ("full-payload", voice_payload(16)),
        ("too-many-frames", voice_payload(17)),
        ("voice", sealed(DatagramKind::Voice, &voice_payload(2))),
        ("probe", sealed(DatagramKind::Probe, &[0, 0, 0, 0, 0, 0, 0, 1])),
        ("largest", sealed(DatagramKind::Voice, &[3; 1171])),
    ]
}

/// Histories in the bytes that the server target reads: (peer, op, ...).
fn histories() -> Vec<(&'static str, Vec<u8>)> {
    // See `Op` and `Frame`: 0 accepts, 3 sends a frame, 13 waits.
    let join = |peer: u8, name: u8| [peer, 0, peer, 3, 0, name, 0];
    let say = |peer: u8, id: u8| [peer, 3, 6, 0, 0, id];
    let two = [join(0, 0), join(1, 2)].concat();
    let talk =
        [two.clone(), vec![0, 3, 12, 1, 1, 3, 12, 2], vec![0, 11, 9, 1, 0, 0, 0, 1, 11, 9, 2, 0, 0, 0]]
            .concat();
    let text = [two.clone(), [say(0, 1), say(1, 1), say(0, 2), say(0, 1)].concat()].concat();
    let resume =
        [text.clone(), vec![0, 12, 1, 3, 6, 0, 0, 9, 0, 0, 0, 3, 4, 0, 0, 0, 0, 2, 9, 0, 0]].concat();
    let gone = [text.clone(), vec![0, 12, 0, 13, 255, 255, 0, 0, 0, 3, 4, 0, 0, 0, 0, 2, 9, 0, 0]].concat();
    let quit = [text.clone(), vec![0, 3, 11, 1, 15, 0]].concat();
    let garbage = [two.clone(), vec![0, 2, 8, 0, 0, 0, 4, 1, 2, 3, 4, 1, 10, 0, 4, 1, 2, 3, 4]].concat();
    // Peers 4 and 5 are classic: 2 is what one read gives.
    let line = |peer: u8, text: &str| [&[peer, 2, text.len() as u8], text.as_bytes()].concat();
    let classic = [
        vec![4, 0, 5, 0],
        line(4, "Foo"),
        line(5, "Bar\n"),
        line(4, "{qu"),
        line(5, "one\ntwo\n\u{fc}"),
        line(4, "it}"),
        vec![5, 13, 255, 0, 5, 12],
    ];
    // 254 is a server that is started again beside a store, 240 keeps, 246 refuses, 248 answers a question, 251 forgets; 240 is also
    // a frame that asks.
    let (again, keep, refuse) = (vec![0, 254], vec![0, 240, 7], vec![0, 246, 1]);
    let (ask, answer) = (vec![0, 3, 240, 0, 9, 5, 0], vec![0, 248, 0, 7]);
    let kept = [again.clone(), text.clone(), keep.clone(), ask.clone()].concat();
    let back = [vec![0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 7, 0, 0], say(0, 1).to_vec(), ask.clone(), answer.clone()];
    let restored = [kept.clone(), again.clone(), back.concat(), say(0, 9).to_vec(), keep.clone()].concat();
    let not_kept = [again.clone(), text.clone(), refuse, text.clone(), keep.clone()].concat();
    let last_words = [again.clone(), text.clone(), vec![0, 3, 11], keep.clone()].concat();
    let expired = [restored.clone(), vec![0, 251, 0, 0], ask, answer, vec![0, 3, 11, 0, 253, 1]].concat();
    let mixed = [two.clone(), classic.concat(), say(0, 1).to_vec()].concat();
    // 232 is a frame about rooms: see `Frame::of_rooms`, `wanted`.
    let rooms = |peer: u8, bytes: &[u8]| [&[peer, 3, 232][..], bytes].concat();
    let den = |peer: u8| rooms(peer, &[0, 1, 2]);
    let said_there = |peer: u8, id: u8, which: u8| vec![peer, 3, 6, 0, which, id];
    let several = [
        two.clone(),
        den(0),
        den(1),
        said_there(0, 1, 1),
        said_there(1, 1, 0),
        rooms(1, &[6, 1]),
        vec![1, 11, 9, 1, 0, 0, 0],
        rooms(0, &[7, 1, 0]),
        rooms(0, &[9, 0]),
        rooms(1, &[9, 0]),
        rooms(1, &[11, 3]),
        rooms(1, &[12]),
        rooms(0, &[4, 1]),
        vec![1, 12],
        vec![1, 0],
        rooms(1, &[13, 1, 0, 0, 0, 0, 2]),
    ];
    // 0 of the bytes of what is wanted is somebody, then which name.
    let whisper = |peer: u8, with: u8| rooms(peer, &[0, 0, with]);
    let private = [
        two.clone(),
        whisper(0, 2),
        whisper(1, 0),
        said_there(0, 1, 1),
        said_there(1, 1, 1),
        rooms(0, &[6, 1]),
        vec![1, 12, 0, 13, 255, 255],
        said_there(0, 2, 1),
        whisper(0, 2),
        vec![1, 0],
        rooms(1, &[13, 1, 0, 0, 0, 0, 2]),
        vec![0, 3, 240, 1, 9, 5, 0],
        vec![1, 3, 11],
    ];
    let topics =
        [again.clone(), several.concat(), keep.clone(), again.clone(), den(0), vec![0, 246, 1]].concat();
    vec![
        ("classic", classic.concat()),
        ("mixed", mixed),
        ("two", two),
        ("talk", talk),
        ("text", text),
        ("resume", resume),
        ("gone", gone),
        ("quit", quit),
        ("garbage-from-members", garbage),
        ("kept", kept),
        ("restored", restored),
        ("not-kept", not_kept),
        ("last-words", last_words),
        ("expired", expired),
        ("rooms", several.concat()),
        ("private", private.concat()),
        ("topics", topics),
    ]
}

/// Conversations in the bytes that the client target reads: (whether what comes of it waits, op, ...).
fn conversations() -> Vec<(&'static str, Vec<u8>)> {
    // See `Op` and `Frame` of the client: 0 connects, 2 loses the connection, 4 is a frame, 15 waits. The last byte of a
    // frame says that it comes whole.
    let welcome = |resumed: u8| vec![1, 0, 1, 4, 0, 1, 0, 1, 3, 16, 1, 77, 0, 2, 77, 0, 8, 1, resumed, 3];
    let wait = |ms: u16| [&[1, 15][..], &ms.to_le_bytes()].concat();
    let say = |times: u8| vec![1, 18, 0, times];
    let ack = |seq: u8, id: u8| vec![1, 4, 7, 1, seq, id, 3];
    let lost = vec![1, 2];
    let quit = vec![1, 23, 0];
    let text = [welcome(0), say(2), ack(4, 1), ack(5, 2), vec![1, 4, 10, 3, 3, 3]].concat();
    let room = vec![1, 4, 12, 9, 1, 3, 1, 4, 13, 1, 9, 1, 3, 1, 4, 11, 1, 6, 9, 1, 1, 0, 3];
    // 240 asks for a part of the history, and is a frame with one.
    let pages = vec![1, 240, 0, 5, 0, 1, 4, 240, 1, 3, 1, 0, 2, 1, 1, 3, 1, 4, 240, 0, 2, 0, 3, 3];
    let resume =
        [text.clone(), say(1), lost.clone(), wait(1000), welcome(1), vec![1, 4, 17, 4, 6, 3]].concat();
    let echoed = [wait(30), vec![1, 14]].concat().repeat(8);
    let voice = vec![1, 20, 3, 60, 0, 1, 13, 9, 1, 0, 0, 0, 1, 22, 9, 5, 0, 1, 4, 18, 9, 2, 0, 0, 0, 3];
    let refused = |reason: u8, name: u8| vec![1, 0, 1, 4, 4, reason, name, 3, 3];
    // 232 is something about rooms, of the user and of the server: see `Op::of_rooms` and `of_rooms`.
    let join = |name: u8, is_private: u8| vec![1, 232, 0, name, is_private];
    let entered =
        |key: u8, with: u8, room: u8, name: u8| vec![1, 4, 232, 0, key, with, room, name, 1, 0, 0, 2, 3];
    let not_entered = |key: u8| vec![1, 4, 232, 7, key, 3, 3];
    let several = [
        welcome(0),
        join(7, 0),
        say(1),
        entered(2, 0, 5, 3),
        vec![1, 232, 7, 1, 1],
        say(0),
        join(8, 0),
        say(0),
        not_entered(3),
        vec![1, 232, 10, 3, 1, 232, 12, 1, 1, 232, 14, 1, 1, 232, 15],
        vec![1, 4, 232, 9, 77, 1, 3, 1, 4, 232, 11, 1, 3, 1, 3, 1, 4, 232, 12, 1, 9, 0, 3],
        vec![1, 232, 4, 1],
        lost.clone(),
        wait(1000),
        welcome(1),
        entered(2, 0, 5, 3),
    ];
    let private = [
        welcome(0),
        join(1, 1),
        say(0),
        entered(2, 5, 130, 1),
        entered(0, 6, 131, 3),
        vec![1, 4, 232, 15, 130, 5, 1, 3],
        join(1, 1),
        not_entered(2),
        entered(0, 5, 130, 1),
        lost.clone(),
        wait(1000),
        welcome(1),
        entered(0, 6, 131, 3),
    ];
    vec![
        ("text", [text.clone(), room, quit.clone()].concat()),
        ("history", [welcome(0), pages].concat()),
        ("resume", [resume.clone(), quit].concat()),
        ("voice", [welcome(0), echoed, voice, wait(60_000)].concat()),
        ("rooms", several.concat()),
        ("private", private.concat()),
        ("refused", refused(4, 3)),
        (
            "name-taken-meanwhile",
            [resume, lost.clone(), wait(1000), refused(3, 3), wait(2000), welcome(0)].concat(),
        ),
        ("closing", [welcome(0), vec![1, 4, 5, 2, 3, 3, 1, 2], wait(500), welcome(1)].concat()),
        // 255 wants another connection: in the room, while it is made, and in a pause.
        (
            "reconnect",
            [welcome(0), say(2), vec![1, 255, 1, 255], welcome(1), say(0), vec![1, 2, 1, 255], welcome(1)]
                .concat(),
        ),
        ("replaced", [welcome(0), vec![1, 4, 5, 6, 0, 3]].concat()),
        ("full", [welcome(0), say(255).repeat(5), ack(4, 1), lost].concat()),
        ("too-many-members", [welcome(0), vec![1, 4, 6, 1, 254, 3, 1, 4, 6, 1, 253, 3]].concat()),
        ("last-place", [welcome(0), ack(255, 1), ack(255, 1), ack(1, 1)].concat()),
    ]
}

/// Small WAV files of several formats.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let wav = |tag: u16, channels: u16, rate: u32, bits: u16, samples: &[u8]| {
        let align = channels * bits / 8;
        let format = [
            &tag.to_le_bytes()[..],
            &channels.to_le_bytes(),
            &rate.to_le_bytes(),
            &(rate * u32::from(align)).to_le_bytes(),
            &align.to_le_bytes(),
            &bits.to_le_bytes(),
        ]
        .concat();
        let chunk = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
        let body =
            [b"WAVE".to_vec(), chunk(b"fmt ", &format), chunk(b"LIST", b"INFO"), chunk(b"data", samples)];
        chunk(b"RIFF", &body.concat())
    };
    let noise: Vec<u8> = (0..2400u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let square: Vec<u8> =
        (0..400).flat_map(|n| if n / 20 % 2 == 0 { [0xff, 0x7f] } else { [0, 0x80] }).collect();
    let odd: Vec<u8> = [f32::NAN, f32::INFINITY, -9.0, 0.5].iter().flat_map(|s| s.to_le_bytes()).collect();
    vec![
        ("own", wav(1, 1, 48_000, 16, &noise)),
        ("lowest-rate", wav(1, 1, 4_000, 8, &noise[..300])),
        ("highest-rate", wav(1, 1, 384_000, 16, &noise)),
        ("odd-rate", wav(1, 2, 44_100, 16, &noise)),
        ("surround", wav(1, 6, 48_000, 24, &noise[..1800])),
        ("loud", wav(1, 1, 44_100, 16, &square)),
        ("not-a-number", wav(3, 1, 8_000, 32, &odd)),
        ("one-hertz", wav(1, 1, 1, 8, &noise[..40])),
    ]
}

/// What arrives of several talkers, in the bytes that the jitter target reads: (talker or count, op, ...).
fn talks() -> Vec<(&'static str, Vec<u8>)> {
    // See `Op` of that target: 0 is a frame in step, 17 plays blocks. Kinds of packets are those of its table.
    let frame = |talker: u8, kind: u8, marks: u8| vec![talker, 0, 100, 1, kind, marks];
    let away = |talker: u8, blocks: u8, marks: u8| vec![talker, 0, blocks + 8, 1, 0, marks];
    let play = |blocks: u8| vec![blocks - 1, 17, 1];
    let talk = |kind: u8, blocks: u8| [frame(0, kind, 60), play(blocks)].concat().repeat(20);
    let lossy = [frame(0, 0, 60), play(1), play(1), frame(0, 0, 60), play(1), away(0, 2, 60), play(2)];
    let copies = [frame(1, 0, 60), vec![1, 0, 6, 1, 0, 0x18 | 60], play(2)];
    let spoilt = [vec![2, 0, 100, 0, 9, 255, 2, 60], play(2)];
    let raw = [vec![3, 12, 1, 0, 0, 0, 60, 3, 0x90, 1, 2], play(1)];
    let settings = [
        vec![0, 26, 0, 0, 0, 64],
        vec![0, 27, 1],
        vec![0, 28, 0],
        vec![200, 28, 1],
        vec![0, 30, 50, 0],
        vec![0, 31],
        vec![0, 29],
    ];
    vec![
        ("talk", [talk(0, 1), frame(0, 0, 7), play(20)].concat()),
        ("long-frames", [talk(2, 2), talk(4, 6)].concat()),
        ("loss", [talk(0, 1), lossy.concat().repeat(6), vec![0, 31], play(31)].concat()),
        ("copies", copies.concat().repeat(12)),
        ("spoilt", spoilt.concat().repeat(8)),
        ("raw", raw.concat().repeat(8)),
        ("settings", [talk(0, 1), settings.concat(), talk(0, 1)].concat()),
        ("stall", [talk(0, 1), vec![0, 25, 0, 2], talk(0, 1)].concat()),
        ("jump", [talk(0, 1), vec![0, 15, 0, 0, 0, 128], talk(0, 1)].concat()),
        (
            "crowd",
            [talk(0, 1), vec![0, 16, 255], play(3), vec![0, 25, 255, 255], play(2), talk(0, 1)].concat(),
        ),
    ]
}

/// Worlds in the bytes that a scenario is made of: how large and how small, then steps (what, who, pause, value).
fn worlds() -> Vec<(&'static str, Vec<u8>)> {
    // See `Scenario::from_bytes` and `Step` of the simulator.
    let world = |clients: u8, hostile: u8, small: u8, steps: &[[u8; 4]]| {
        [&[7, clients - 1, 0, hostile, small, 0][..], steps.as_flattened()].concat()
    };
    let say = |who: u8| [2, who, 40, 0];
    let talk = |who: u8| [5, who, 0, 0];
    let set = |key: u8, value: u8| [17, key, 0, value];
    let chat = [say(0), say(1), say(2), say(0)].repeat(4);
    let lose = |kind: u8| [[kind, 1, 90, 0], say(0), say(1)].repeat(4);
    let bad_network = [set(1, 200), set(3, 150), set(4, 40), set(14, 100), set(15, 250)];
    vec![
        ("chat", world(3, 0, 0, &chat)),
        ("talk", world(2, 0, 0, &[talk(0), [5, 1, 30, 0]].repeat(30))),
        ("bad-network", world(3, 0, 0, &[&bad_network[..], &chat, &[talk(0); 9]].concat())),
        ("come-and-go", world(4, 0, 0, &[[1, 1, 90, 0], say(0), [0, 1, 90, 0], say(1)].repeat(5))),
        ("cuts", world(3, 0, 0, &lose(6))),
        ("resets", world(3, 0, 0, &lose(7))),
        ("rebinds", world(3, 0, 0, &[lose(8), vec![talk(1); 9]].concat())),
        ("partitions", world(3, 0, 0, &lose(9))),
        ("crashes", world(3, 0, 0, &lose(10))),
        ("falls", world(3, 0, 0, &lose(11))),
        ("pauses", world(3, 0, 0, &[lose(12), lose(13)].concat())),
        ("jumps", world(3, 0, 0, &[lose(14), lose(15)].concat())),
        ("strangers", world(3, 2, 0, &[[16, 0, 20, 0], say(1), [16, 1, 20, 0]].repeat(8))),
        // A third of that byte is how many of those there are who have a classic program; they come after the clients.
        ("classics", world(2, 6, 0, &[[5, 2, 60, 0], say(2), say(0), [5, 3, 20, 0], say(3)].repeat(8))),
        ("small", world(3, 0, 255, &[&chat[..], &lose(6)].concat())),
    ]
}

/// What others say and what is typed on the full screen.
fn evenings() -> Vec<(&'static str, Vec<u8>)> {
    // See the steps of that target.
    let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let long = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    let said =
        |room: u8, name: &str, text: &str| [vec![room << 6], short(name), long(text), vec![0]].concat();
    let keys = |keys: &str| [vec![31], short(keys)].concat();
    let size = |columns: u16, rows: u16| [&[26][..], &columns.to_le_bytes(), &rows.to_le_bytes()].concat();
    let joined = |who: u8, name: &str| [vec![7, who], short(name)].concat();
    let me = [vec![13, 1], short("Foo")].concat();
    let talk = [
        me,
        joined(2, "Bar"),
        said(0, "Bar", "hello Foo, how are you? ".repeat(9).as_str()),
        vec![15, 2, 6],
        keys("Ba\tfine\r"),
        keys("\x1b[5~\x1b[6~\x1b[<64;1;1M"),
        [vec![20], long("how")].concat(),
    ];
    let rooms = [
        [vec![11 | 1 << 6], short("attic")].concat(),
        said(1, "Bar", "foo"),
        keys("\x1b2"),
        keys("\x0e\x10"),
        size(40, 10),
        said(0, "Qux", "bar"),
        vec![12 | 1 << 6],
    ];
    let hostile = [
        said(0, "\u{202e}x", "\u{1b}[2J\u{9b}31m\u{2028}"),
        said(0, "Bar", "👩\u{200d}👧🇦🇹1\u{fe0f}\u{20e3}".repeat(20).as_str()),
        said(0, "Bar", ("e".to_owned() + &"\u{301}".repeat(300)).as_str()),
        said(0, "Bar", "\u{1100}".repeat(100).as_str()),
        said(0, "Bar", "שלום مرحبا"),
        said(0, "Bar", "x".repeat(4000).as_str()),
        size(13, 5),
        size(1, 1),
        size(0, 0),
        size(200, 50),
    ];
    let pasted =
        [keys("\x1b[200~one\rtwo\x1b[2J\x1b[201~"), size(40, 10), keys("\r"), keys("\x1b[200~x\x1b[201~")];
    // The kitty keyboard protocol, push-to-talk, notifications.
    let held = [
        vec![13, 1],
        short("Foo"),
        vec![28, 0],
        keys("\x1b[19;1:1~\x1b[19;1:2~\x1b[19;1:3~\x1b[97;5u\x1b[1089::99;3:1u\x1b[57414u\x1b[O"),
        said(0, "Bar", "Foo;\u{9c}\x1b\\ are you there?"),
        vec![28, 3],
        keys("\x14\x1b[116;5:3u\x1bOP\x1b[[A\x1b[I"),
    ];
    let told = [vec![22], keys("\x1b[6~\x1b[B"), size(30, 7), keys("x"), vec![23, 27]];
    vec![
        ("talk", talk.concat()),
        ("rooms", rooms.concat()),
        ("hostile", hostile.concat()),
        ("paste", pasted.concat()),
        ("held", held.concat()),
        ("help", told.concat()),
    ]
}
