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
    write(&corpus.join("server"), &with_cuts(histories()))
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
    let member = || Some(pb::Member { session: 77, name: "Foo".to_owned() });
    let hello = |resume| {
        let (versions, name) = (vec![VERSION], "Foo".to_owned());
        S::Hello(pb::Hello { versions, software: "test 1".to_owned(), name, resume, ..Default::default() })
    };
    let resume = pb::Resume { session: 77, token: vec![5; 16], epoch: 9, last_seq: 3, attempt: 1 };
    let say = pb::Say { room: 1, id: 2, text: "Hello, I am Foo!".to_owned() };
    let text = "x".to_owned();
    let said = pb::Said { room: 1, seq: 4, session: 77, name: "Foo".to_owned(), id: 2, text: text.clone() };
    let room = Some(pb::Room { id: 1, name: "lobby".to_owned(), epoch: 9, last_seq: 3 });
    let members = member().into_iter().collect::<Vec<_>>();
    let welcome = pb::Welcome {
        version: VERSION,
        session: 77,
        name: "Foo".to_owned(),
        resume_token: vec![5; 16],
        room,
        members: members.clone(),
        ..Default::default()
    };
    let to_server = [
        hello(None),
        hello(Some(resume)),
        S::Say(say),
        S::Ping(pb::Ping { token: 8 }),
        S::Pong(pb::Ping { token: 8 }),
        S::VoicePath(pb::SetVoicePath { path: 1 }),
        S::Quit(pb::Quit {}),
    ];
    let to_client = [
        C::Welcome(welcome),
        C::Members(pb::Members { room: 1, members }),
        C::Joined(pb::Joined { room: 1, seq: 4, member: member() }),
        C::Left(pb::Left { room: 1, seq: 5, member: member(), reason: 2 }),
        C::Said(said),
        C::Ack(pb::Ack { room: 1, seq: 4, id: 2 }),
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
    vec![
        ("two", two),
        ("talk", talk),
        ("text", text),
        ("resume", resume),
        ("gone", gone),
        ("quit", quit),
        ("garbage-from-members", garbage),
    ]
}
