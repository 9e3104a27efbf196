//! Whatever a peer sends, withholds, repeats or delays: no panic, no spinning, no growth, and nobody else is harmed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeSet;

use chinwag_proto::{
    Duration, Instant, Peer, Rng, Seq, SessionId,
    client::{Client, ClientConfig, ClientInput, ClientOutput},
    limits,
    server::{Dialect, Input, Output, Server},
    wire::{
        chinwag1::{self as pb, to_client, to_server},
        path::DatagramKind,
    },
};
use common::{
    Relayed, VoiceRig, hello, millis, to_client as client_frames, to_server as server_frames, voice,
};
use proptest::prelude::*;

const PEERS: u32 = 5;

#[derive(Clone, Debug)]
enum Act {
    Accept(u32),
    Close(u32),
    Overflow(u32),
    Bytes(u32, Vec<u8>),
    /// Whole frames, cut short by so many bytes.
    Frames(u32, Vec<to_server::Kind>, usize),
    /// Resume the latest session of the first peer, on the second, with so much of the token right.
    Resume(u32, u32, bool, u64),
    Datagram(u32, DatagramKind, Vec<u8>),
    Talk(u32, Vec<u8>),
    Wait(u64),
    Late(u64),
    Shutdown,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-C]{1,2}",
        1 => Just(String::new()),
        1 => Just("x".repeat(limits::MESSAGE_BYTES + 1)),
        1 => any::<String>(),
    ]
}

fn kind_to_server() -> impl Strategy<Value = to_server::Kind> {
    use to_server::Kind;
    let session = prop_oneof![Just(1 << 20), any::<u32>()];
    let resume = prop::option::of((session, number(), number()).prop_map(|(session, epoch, last_seq)| {
        pb::Resume { session, token: vec![1; 16], epoch, last_seq, attempt: 0 }
    }));
    let hello =
        (text(), text(), resume, prop::bool::weighted(0.9)).prop_map(|(name, room, resume, speaks)| {
            pb::Hello { versions: vec![u32::from(speaks)], room, resume, ..hello(&name) }
        });
    prop_oneof![
        3 => hello.prop_map(Kind::Hello),
        4 => (0u32..3, number(), text()).prop_map(|(room, id, text)| Kind::Say(pb::Say { room, id, text })),
        1 => number().prop_map(|token| Kind::Ping(pb::Ping { token })),
        1 => number().prop_map(|token| Kind::Pong(pb::Ping { token })),
        1 => Just(Kind::Quit(pb::Quit {})),
        2 => (-1i32..5).prop_map(|path| Kind::VoicePath(pb::SetVoicePath { path })),
        1 => (0u32..4, any::<[u32; 4]>()).prop_map(|(index, report)| Kind::VoiceReport(voice_report(index, report))),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Kind::Voice),
    ]
}

fn voice_report(
    index: u32,
    [lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms]: [u32; 4],
) -> pb::VoiceReport {
    let talker = (1 << 20) | index;
    pb::VoiceReport { talker, lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms }
}

fn datagram_kind() -> impl Strategy<Value = DatagramKind> {
    prop_oneof![Just(DatagramKind::Voice), Just(DatagramKind::Probe), Just(DatagramKind::Echo)]
}

fn act() -> impl Strategy<Value = Act> {
    let peer = || 0..PEERS;
    let bytes = || prop::collection::vec(any::<u8>(), 0..50);
    prop_oneof![
        8 => peer().prop_map(Act::Accept),
        2 => peer().prop_map(Act::Close),
        1 => peer().prop_map(Act::Overflow),
        2 => (peer(), bytes()).prop_map(|(peer, bytes)| Act::Bytes(peer, bytes)),
        12 => (peer(), prop::collection::vec(kind_to_server(), 1..4), prop_oneof![4 => Just(0usize), 1 => 0usize..9])
            .prop_map(|(peer, kinds, short)| Act::Frames(peer, kinds, short)),
        4 => (peer(), peer(), prop::bool::weighted(0.8), number())
            .prop_map(|(former, peer, right, seq)| Act::Resume(former, peer, right, seq)),
        2 => (peer(), datagram_kind(), bytes()).prop_map(|(peer, kind, bytes)| Act::Datagram(peer, kind, bytes)),
        3 => (peer(), bytes()).prop_map(|(peer, opus)| Act::Talk(peer, opus)),
        4 => (0u64..3_000).prop_map(Act::Wait),
        1 => (0u64..10_000_000).prop_map(Act::Wait),
        1 => (0u64..60_000).prop_map(Act::Late),
        1 => prop::bool::weighted(0.1).prop_map(|stop| if stop { Act::Shutdown } else { Act::Wait(1) }),
    ]
}

/// A driver that believes nothing: it checks that the server keeps the rules towards it.
struct Driver {
    server: Server,
    voice: VoiceRig,
    sessions: Vec<(u32, SessionId)>,
    now: Instant,
    open: BTreeSet<u32>,
    paused: BTreeSet<u32>,
    held: Vec<(u32, Vec<u8>)>,
    welcomes: Vec<(u32, pb::Welcome)>,
    wakes: u64,
    is_stopped: bool,
}

impl Driver {
    fn new() -> Self {
        Self {
            server: Server::new(3, Rng::from_number(5)),
            voice: VoiceRig::default(),
            sessions: vec![],
            now: Instant::from_micros(77),
            open: BTreeSet::new(),
            paused: BTreeSet::new(),
            held: vec![],
            welcomes: vec![],
            wakes: 0,
            is_stopped: false,
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
        self.drain();
    }

    fn receive(&mut self, peer: u32, bytes: &[u8]) {
        if self.paused.contains(&peer) {
            self.held.push((peer, bytes.to_vec()));
        } else {
            self.feed(Input::Received { peer: Peer::new(peer), bytes });
        }
    }

    fn drain(&mut self) {
        let mut again = vec![];
        while let Some(output) = self.server.poll_output() {
            self.voice.obey(self.now, &output);
            let to = match &output {
                Output::Send { to, bytes, .. } => {
                    assert!(!bytes.is_empty());
                    if let [peer] = to
                        && let Ok(chinwag_proto::wire::control::Body::Message(to_client::Kind::Welcome(
                            welcome,
                        ))) = {
                            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
                            assert!(length <= limits::FRAME_BYTES);
                            chinwag_proto::wire::control::decode_to_client(&bytes[4..4 + length])
                        }
                    {
                        self.welcomes.push((peer.index() as u32, welcome));
                    }
                    to.to_vec()
                }
                Output::Relay(_) => continue,
                Output::OpenPath { peer, session, .. } => {
                    self.sessions.push((peer.index() as u32, *session));
                    vec![*peer]
                }
                Output::Pause { peer } => {
                    assert!(self.paused.insert(peer.index() as u32));
                    vec![*peer]
                }
                Output::Overheard { .. } | Output::Report { .. } => unreachable!("nobody classic is here"),
                Output::Unpause { peer } => {
                    assert!(self.paused.remove(&(peer.index() as u32)));
                    again.push(peer.index() as u32);
                    vec![*peer]
                }
                Output::Close { peer, .. } => {
                    let index = peer.index() as u32;
                    assert!(self.open.remove(&index), "only what is open is closed");
                    self.paused.remove(&index);
                    self.held.retain(|(held, _)| *held != index);
                    continue;
                }
                Output::Event(_) => continue,
            };
            assert!(!to.is_empty() && to.iter().all(|peer| self.open.contains(&(peer.index() as u32))));
            assert_eq!(to.iter().collect::<BTreeSet<_>>().len(), to.len(), "nobody is told twice");
        }
        self.server.audit().unwrap();
        self.carry_voice();
        for peer in again {
            let (held, rest) =
                std::mem::take(&mut self.held).into_iter().partition(|(held, _)| *held == peer);
            self.held = rest;
            let held: Vec<(u32, Vec<u8>)> = held;
            held.iter().for_each(|(peer, bytes)| self.receive(*peer, bytes));
        }
        assert!(self.server.hub().members() <= 3 && self.server.hub().rooms() <= limits::ROOMS);
    }

    fn carry_voice(&mut self) {
        for what in self.voice.take() {
            match what {
                Relayed::Datagram { payload, to, .. } => {
                    assert!(payload.len() <= chinwag_proto::wire::path::PAYLOAD_BYTES);
                    assert!(self.server.peer_of(to).is_some(), "{to:?} has left");
                }
                Relayed::Tunnel { payload, to } => self.feed(Input::Voice { payload: &payload, to: &to }),
                Relayed::Alive(session) => self.feed(Input::Alive { session, at: self.now }),
            }
        }
        let mut seated: Vec<_> = self.voice.relay.seated().map(|(session, _)| session).collect();
        seated.retain(|&session| self.server.peer_of(session).is_none());
        assert_eq!(seated, [], "the relay knows only who is there");
    }

    fn timeout(&mut self) {
        self.wakes += 1;
        self.server.handle_timeout(self.now);
        self.drain();
        assert!(self.server.poll_timeout().is_none_or(|due| due > self.now), "it would spin");
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.server.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Accept(peer) => {
                if self.open.insert(peer) {
                    self.feed(Input::Accepted { peer: Peer::new(peer), dialect: Dialect::Native });
                }
            }
            Act::Close(peer) => {
                self.open.remove(&peer);
                self.paused.remove(&peer);
                self.held.retain(|(held, _)| *held != peer);
                self.feed(Input::Closed { peer: Peer::new(peer) });
            }
            Act::Overflow(peer) => self.feed(Input::Overflowed { peer: Peer::new(peer) }),
            Act::Bytes(peer, bytes) => self.receive(peer, &bytes),
            Act::Frames(peer, kinds, short) => {
                let bytes = server_frames(kinds);
                self.receive(peer, &bytes[..bytes.len() - short.min(bytes.len())]);
            }
            Act::Resume(former, peer, right, last_seq) => {
                let Some((_, welcome)) = self.welcomes.iter().rev().find(|(peer, _)| *peer == former) else {
                    return;
                };
                let mut token = welcome.resume_token.clone();
                token[3] ^= u8::from(!right);
                let epoch = welcome.room.as_ref().unwrap().epoch;
                let resume =
                    Some(pb::Resume { session: welcome.session, token, epoch, last_seq, attempt: 0 });
                let hello = pb::Hello { resume, ..hello(&welcome.name) };
                self.act(Act::Accept(peer));
                self.receive(peer, &server_frames([to_server::Kind::Hello(hello)]));
            }
            Act::Datagram(peer, kind, payload) => {
                if let Some(&(_, session)) = self.sessions.iter().rev().find(|(other, _)| *other == peer) {
                    self.voice.datagram(self.now, session, kind, &payload);
                    self.drain();
                }
            }
            Act::Talk(peer, opus) => {
                let Some((_, welcome)) = self.welcomes.iter().rev().find(|(welcomed, _)| *welcomed == peer)
                else {
                    return;
                };
                let payload = voice(SessionId::from_wire(welcome.session), 1, &opus);
                self.act(Act::Datagram(peer, DatagramKind::Voice, payload));
            }
            Act::Wait(ms) => self.wait(millis(ms)),
            Act::Late(ms) => {
                self.now = self.now + millis(ms);
                self.timeout();
            }
            Act::Shutdown => {
                self.is_stopped = true;
                self.feed(Input::Shutdown);
                assert!(self.open.is_empty());
            }
        }
    }
}

fn kind_to_client() -> impl Strategy<Value = to_client::Kind> {
    use to_client::Kind;
    let session = || prop_oneof![Just(1 << 20), 0u32..9, any::<u32>()];
    let member = || (session(), text()).prop_map(|(session, name)| pb::Member { session, name });
    let members = || prop::collection::vec(member(), 0..4);
    let room = (0u32..2, text(), 0u64..2, number()).prop_map(|(id, name, epoch, last_seq)| pb::Room {
        id,
        name,
        epoch,
        last_seq,
    });
    prop_oneof![
        4 => (session(), text(), prop::option::weighted(0.9, room), members(), any::<bool>()).prop_map(|(session, name, room, members, resumed)| {
            Kind::Welcome(pb::Welcome { version: 1, session, name, room, members, resumed, ..Default::default() })
        }),
        1 => (0i32..8, text()).prop_map(|(reason, suggestion)| Kind::Refused(pb::Refused { reason, suggestion, text: String::new() })),
        4 => (number(), session(), number(), text()).prop_map(|(seq, session, id, text)| Kind::Said(pb::Said { room: 1, seq, session, name: text.clone(), id, text })),
        2 => (number(), prop::option::of(member())).prop_map(|(seq, member)| Kind::Joined(pb::Joined { room: 1, seq, member })),
        2 => (number(), prop::option::of(member()), -1i32..5).prop_map(|(seq, member, reason)| Kind::Left(pb::Left { room: 1, seq, member, reason })),
        3 => (number(), number()).prop_map(|(seq, id)| Kind::Ack(pb::Ack { room: 1, seq, id })),
        1 => number().prop_map(|id| Kind::Nack(pb::Nack { id, text: String::new() })),
        1 => number().prop_map(|token| Kind::Ping(pb::Ping { token })),
        1 => number().prop_map(|token| Kind::Pong(pb::Ping { token })),
        1 => members().prop_map(|members| Kind::Members(pb::Members { room: 1, members })),
        1 => (-1i32..9).prop_map(|reason| Kind::Closing(pb::Closing { reason, text: "x".into() })),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Kind::Voice),
    ]
}

#[derive(Clone, Debug)]
enum ClientAct {
    Connected,
    Disconnected,
    Bytes(Vec<u8>),
    Frames(Vec<to_client::Kind>),
    Datagram(DatagramKind, Vec<u8>),
    Echo(u64),
    Say,
    Talk(Vec<u8>),
    Wait(u64),
    Late(u64),
    Quit,
}

fn client_act() -> impl Strategy<Value = ClientAct> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..50);
    prop_oneof![
        6 => Just(ClientAct::Connected),
        2 => Just(ClientAct::Disconnected),
        1 => bytes().prop_map(ClientAct::Bytes),
        10 => prop::collection::vec(kind_to_client(), 1..4).prop_map(ClientAct::Frames),
        1 => (datagram_kind(), bytes()).prop_map(|(kind, bytes)| ClientAct::Datagram(kind, bytes)),
        2 => number().prop_map(ClientAct::Echo),
        3 => Just(ClientAct::Say),
        2 => bytes().prop_map(ClientAct::Talk),
        4 => (0u64..3_000).prop_map(ClientAct::Wait),
        1 => (0u64..100_000).prop_map(ClientAct::Late),
        1 => prop::bool::weighted(0.1).prop_map(|quit| if quit { ClientAct::Quit } else { ClientAct::Wait(1) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_peer_breaks_the_server(acts in prop::collection::vec(act(), 1..60)) {
        let mut driver = Driver::new();
        for act in acts {
            let (before, from) = (driver.wakes, driver.now);
            driver.act(act);
            let seconds = driver.now.since(from).as_secs() + 1;
            prop_assert!(driver.wakes - before <= (seconds + 10) * u64::from(PEERS) * 2);
        }
        // All of them fall silent: after a while nothing is left to do.
        driver.wait(limits::SILENCE_TIMEOUT * 3 + limits::RESUME_GRACE + limits::RESUME_HOLD);
        prop_assert!(driver.open.is_empty());
        if driver.is_stopped {
            // Sessions end with the process.
            return Ok(());
        }
        prop_assert_eq!((driver.server.hub().members(), driver.server.hub().gone(), driver.server.poll_timeout()), (0, 0, None));
    }

    #[test]
    fn no_server_breaks_the_client(acts in prop::collection::vec(client_act(), 1..60)) {
        let mut now = Instant::from_micros(99);
        let config = ClientConfig { name: "A".into(), room: String::new(), software: String::new() };
        let mut client = Client::new(now, config, Rng::from_number(3));
        let (mut ended, mut last_seq) = (false, Seq::ZERO);
        let mut drain = |client: &mut Client| {
            while let Some(output) = client.poll_output() {
                assert!(!ended, "nothing comes after the end: {output:?}");
                match output {
                    ClientOutput::Event(chinwag_proto::client::ClientEvent::Ended(_)) => ended = true,
                    ClientOutput::Event(chinwag_proto::client::ClientEvent::Said { seq, own: None, .. }) => last_seq = seq,
                    ClientOutput::Send { bytes, .. } => assert!(!bytes.is_empty()),
                    ClientOutput::Datagram { payload, .. } => assert!(payload.len() <= chinwag_proto::wire::path::PAYLOAD_BYTES),
                    ClientOutput::Connect | ClientOutput::Disconnect | ClientOutput::OpenPath { .. }
                    | ClientOutput::Voice { .. } | ClientOutput::Event(_) => {}
                }
            }
            client.audit().unwrap();
            ended
        };
        drain(&mut client);
        for act in acts {
            let mut wakes = 0;
            match act {
                ClientAct::Connected => client.handle_input(now, ClientInput::Connected),
                ClientAct::Disconnected => client.handle_input(now, ClientInput::Disconnected),
                ClientAct::Bytes(bytes) => client.handle_input(now, ClientInput::Received { bytes: &bytes }),
                ClientAct::Frames(kinds) => {
                    let bytes = client_frames(kinds);
                    client.handle_input(now, ClientInput::Received { bytes: &bytes });
                }
                ClientAct::Datagram(kind, payload) => client.handle_input(now, ClientInput::Datagram { kind, payload: &payload }),
                ClientAct::Echo(token) => {
                    client.handle_input(now, ClientInput::Datagram { kind: DatagramKind::Echo, payload: &token.to_be_bytes() });
                }
                ClientAct::Say => drop(client.say("hi")),
                ClientAct::Talk(opus) => {
                    let frame = chinwag_proto::wire::voice::VoiceFrame { talker: SessionId::from_wire(0), sequence: 0, end: true, level: 200, opus: &opus };
                    client.send_voice(now, [frame]);
                }
                ClientAct::Wait(ms) => {
                    drain(&mut client);
                    let end = now + millis(ms);
                    while let Some(due) = client.poll_timeout().filter(|&due| due <= end) {
                        wakes += 1;
                        now = now.max(due);
                        client.handle_timeout(now);
                        drain(&mut client);
                        prop_assert!(client.poll_timeout().is_none_or(|due| due > now), "it would spin");
                    }
                    now = end;
                }
                ClientAct::Late(ms) => {
                    now = now + millis(ms);
                    client.handle_timeout(now);
                    drain(&mut client);
                    prop_assert!(client.poll_timeout().is_none_or(|due| due > now), "it would spin");
                }
                ClientAct::Quit => client.quit(now),
            }
            // 24 of them may be the first probes of a path.
            prop_assert!(wakes <= 24 + 32, "{} wake-ups in 3 s", wakes);
            let ended = drain(&mut client);
            prop_assert_eq!(ended, client.has_ended());
            prop_assert!(client.members().count() <= 500);
        }
    }
}
