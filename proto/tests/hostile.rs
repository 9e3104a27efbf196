//! Whatever a peer sends, withholds, repeats or delays: no panic, no spinning, no growth, and nobody else is harmed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{BTreeSet, VecDeque};

use chinwag_proto::{
    Duration, Instant, Peer, Rng, RoomId, Seq, SessionId,
    client::{Client, ClientConfig, ClientInput, ClientOutput, PlaceId},
    history::{KeepError, Write},
    hub::Marks,
    limits,
    server::{Dialect, Input, Output, ReadRequest, Server},
    wire::{
        chinwag1::{self as pb, to_client, to_server},
        control::{self, Body},
        frame::FrameReader,
        path::DatagramKind,
    },
};
use common::{
    Relayed, Shelf, VoiceRig, hello_in, millis, to_client as client_frames, to_server as server_frames, voice,
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
    /// The store keeps so many of the next.
    Keep(usize),
    Refuse(KeepError),
    /// The store answers the question that waits there, or cannot.
    Answer(usize, bool),
    /// What a store says that nobody asked, or too late.
    Stray(u32),
    /// The store has forgotten all but so many messages of some room.
    Expire(usize, u64),
    /// The server is started again.
    Restart,
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

/// A room's number: of one with a name, of what is between two, or of none.
fn room() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..4, 2 => (1u32 << 24)..(1 << 24) + 3, 1 => any::<u32>()]
}

fn claim() -> impl Strategy<Value = pb::Claim> {
    let with = prop_oneof![2 => Just(String::new()), 1 => text()];
    let seen = prop_oneof![3 => Just((0, 0)), 1 => (number(), number())];
    (0u32..4, text(), with, seen, room()).prop_map(|(key, name, with, (epoch, last_seq), room)| pb::Claim {
        key,
        name,
        with,
        epoch,
        last_seq,
        room,
    })
}

fn kind_to_server() -> impl Strategy<Value = to_server::Kind> {
    use to_server::Kind;
    let session = prop_oneof![Just(1 << 20), any::<u32>()];
    let resume = prop::option::of((session, number()).prop_map(|(session, attempt)| pb::Resume {
        session,
        token: vec![1; 16],
        attempt,
    }));
    let author = prop_oneof![
        2 => (0u8..4).prop_map(|number| vec![number; 16]),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    let marks = || (any::<bool>(), any::<bool>()).prop_map(|(muted, deafened)| pb::Marks { muted, deafened });
    let claims = prop_oneof![
        8 => prop::collection::vec(claim(), 0..4),
        1 => prop::collection::vec(claim(), limits::CLAIMS + 1),
    ];
    let hello = (text(), claims, 0u32..4, marks(), resume, prop::bool::weighted(0.9), author).prop_map(
        |(name, rooms, voice, marks, resume, speaks, author)| pb::Hello {
            versions: vec![u32::from(speaks)],
            voice,
            marks: Some(marks),
            resume,
            author,
            ..hello_in(&name, rooms)
        },
    );
    let ask = (room(), number(), any::<u32>(), text(), any::<u32>());
    prop_oneof![
        3 => hello.prop_map(Kind::Hello),
        4 => (room(), number(), text()).prop_map(|(room, id, text)| Kind::Say(pb::Say { room, id, text })),
        1 => number().prop_map(|token| Kind::Ping(pb::Ping { token })),
        1 => number().prop_map(|token| Kind::Pong(pb::Ping { token })),
        1 => Just(Kind::Quit(pb::Quit {})),
        3 => claim().prop_map(Kind::Join),
        1 => room().prop_map(|room| Kind::Part(pb::Part { room })),
        1 => room().prop_map(|room| Kind::VoiceRoom(pb::VoiceRoom { room })),
        2 => (room(), text()).prop_map(|(room, text)| Kind::Topic(pb::SetTopic { room, text })),
        2 => text().prop_map(|name| Kind::Name(pb::SetName { name })),
        1 => marks().prop_map(Kind::Marks),
        1 => Just(Kind::ListRooms(pb::ListRooms {})),
        2 => (-1i32..5).prop_map(|path| Kind::VoicePath(pb::SetVoicePath { path })),
        1 => (0u32..4, any::<[u32; 4]>()).prop_map(|(index, report)| Kind::VoiceReport(voice_report(index, report))),
        2 => ask.prop_map(|(room, before, limit, words, token)| {
            Kind::History(pb::HistoryRequest { room, before, limit, words, token })
        }),
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
        3 => (0usize..4).prop_map(Act::Keep),
        1 => prop_oneof![Just(KeepError::Full), Just(KeepError::Failed)].prop_map(Act::Refuse),
        2 => (0usize..3, prop::bool::weighted(0.8)).prop_map(|(at, can)| Act::Answer(at, can)),
        1 => (0u32..3).prop_map(Act::Stray),
        1 => (0usize..3, 0u64..3).prop_map(|(room, left)| Act::Expire(room, left)),
        1 => prop::bool::weighted(0.3).prop_map(|again| if again { Act::Restart } else { Act::Keep(9) }),
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
    entered: Vec<(u32, pb::Entered)>,
    wakes: u64,
    is_stopped: bool,
    is_lasting: bool,
    shelf: Shelf,
    /// What the store was given in this run and has not answered.
    writes: VecDeque<Write>,
    run: u32,
    reads: Vec<(u32, ReadRequest)>,
}

impl Driver {
    fn new(is_lasting: bool) -> Self {
        let mut server = Server::new(3, Rng::from_number(5));
        if is_lasting {
            server.restore([]);
        }
        Self {
            server,
            voice: VoiceRig::default(),
            sessions: vec![],
            now: Instant::from_micros(77),
            open: BTreeSet::new(),
            paused: BTreeSet::new(),
            held: vec![],
            welcomes: vec![],
            entered: vec![],
            wakes: 0,
            is_stopped: false,
            is_lasting,
            shelf: Shelf::default(),
            writes: VecDeque::new(),
            run: 0,
            reads: vec![],
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
                    if self.is_lasting {
                        judge(&self.shelf, bytes);
                    }
                    if let [peer] = to {
                        let peer = peer.index() as u32;
                        for message in messages(bytes) {
                            if let to_client::Kind::Welcome(welcome) = message {
                                self.welcomes.push((peer, welcome));
                            } else if let to_client::Kind::Entered(entered) = message {
                                self.entered.push((peer, entered));
                            }
                        }
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
                Output::Keep { run, write } => {
                    assert!(self.is_lasting);
                    if *run == self.run {
                        self.writes.push_back(write.clone());
                    }
                    continue;
                }
                Output::Read { ticket, what } => {
                    assert!(self.is_lasting && self.reads.len() < limits::READS);
                    self.reads.push((*ticket, what.clone()));
                    continue;
                }
                Output::Unread { ticket } => {
                    assert!(self.reads.iter().any(|(waiting, _)| waiting == ticket), "nobody reads it");
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

    fn keep(&mut self, most: usize) {
        let count = most.min(self.writes.len());
        self.writes.drain(..count).for_each(|write| self.shelf.write(&write));
        self.feed(Input::Kept { run: self.run, count });
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
        for (session, room) in self.voice.relay.seated() {
            assert!(self.server.peer_of(session).is_some(), "the relay knows only who is there");
            assert_eq!(
                self.server.hub().voice_room(session),
                room,
                "the relay knows where {session:?} talks"
            );
        }
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
                let resume = Some(pb::Resume { session: welcome.session, token, attempt: 0 });
                let entered = self.entered.iter().filter(|(of, _)| *of == former).zip(1..);
                let rooms: Vec<_> = entered
                    .map(|((_, entered), key)| {
                        let pb::Room { id, name, epoch, .. } = entered.room.clone().unwrap();
                        let other = entered.members.iter().find(|member| member.session == entered.with);
                        let with = other.map(|other| other.name.clone()).unwrap_or_default();
                        pb::Claim { key, name, with, epoch, last_seq, room: id }
                    })
                    .collect();
                let hello = pb::Hello { resume, ..hello_in(&welcome.name, rooms) };
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
            Act::Keep(_)
            | Act::Refuse(_)
            | Act::Answer(..)
            | Act::Stray(_)
            | Act::Expire(..)
            | Act::Restart
                if !self.is_lasting => {}
            Act::Keep(most) => self.keep(most),
            Act::Refuse(why) => {
                let run = self.run;
                self.writes.clear();
                self.run += 1;
                self.feed(Input::NotKept { run, why });
            }
            Act::Answer(at, can) => {
                if at < self.reads.len() {
                    let (ticket, what) = self.reads.remove(at);
                    let found = self.shelf.read(&what);
                    self.feed(Input::Read { ticket, found: can.then_some(&found[..]) });
                }
            }
            Act::Stray(number) => {
                let run = self.run.wrapping_sub(1 + number);
                self.feed(Input::Kept { run, count: 3 });
                self.feed(Input::NotKept { run, why: KeepError::Failed });
                self.feed(Input::Read { ticket: u32::MAX - number, found: Some(&[]) });
            }
            Act::Expire(at, left) => {
                let room = self.shelf.rooms().nth(at);
                if let Some((room, last)) = room.and_then(|room| Some((room, self.shelf.last_of(room)?))) {
                    let before = Seq::from_wire((last.to_wire() + 1).saturating_sub(left));
                    self.shelf.expire(room, before);
                    self.feed(Input::Expired { room, before });
                }
            }
            Act::Restart if self.is_stopped => {}
            Act::Restart => {
                let shelf = std::mem::take(&mut self.shelf);
                let (wakes, now) = (self.wakes, self.now);
                let (welcomes, entered) =
                    (std::mem::take(&mut self.welcomes), std::mem::take(&mut self.entered));
                *self = Self { shelf, wakes, now, welcomes, entered, ..Self::new(true) };
                self.server = Server::new(3, Rng::from_number(now.as_micros()));
                self.server.restore(self.shelf.restored(4));
            }
            Act::Shutdown => {
                self.is_stopped = true;
                self.feed(Input::Shutdown);
                assert!(self.open.is_empty());
            }
        }
    }
}

/// What is in these frames; no part of a frame is left.
fn messages(bytes: &[u8]) -> Vec<to_client::Kind> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut messages = vec![];
    while let Some(body) = reader.next_frame(limits::FRAME_BYTES).unwrap() {
        if let Body::Message(message) = control::decode_to_client(body).unwrap() {
            messages.push(message);
        }
    }
    assert_eq!(reader.buffered(), 0);
    messages
}

/// Nothing is told that is not kept.
fn judge(shelf: &Shelf, bytes: &[u8]) {
    for message in messages(bytes) {
        let (room, seq) = if let to_client::Kind::Said(said) = message {
            (said.room, said.seq)
        } else if let to_client::Kind::Ack(ack) = message {
            (ack.room, ack.seq)
        } else if let to_client::Kind::History(page) = message {
            assert!(page.messages.len() <= limits::PAGE_MESSAGES);
            assert!(page.messages.is_sorted_by(|a, b| a.seq < b.seq));
            let Some(last) = page.messages.last() else { continue };
            (last.room, last.seq)
        } else if let to_client::Kind::Topic(topic) = message {
            let is_kept = shelf.was_about(RoomId::from_wire(topic.room), &topic.text);
            assert!(is_kept, "{topic:?} is not kept");
            continue;
        } else {
            continue;
        };
        let room = RoomId::from_wire(room);
        let last = shelf.last_of(room).filter(|_| !room.is_private());
        assert!(last.is_none_or(|last| Seq::from_wire(seq) <= last), "{seq} is not kept");
    }
}

fn kind_to_client() -> impl Strategy<Value = to_client::Kind> {
    use to_client::Kind;
    let session = || prop_oneof![Just(1 << 20), 0u32..9, any::<u32>()];
    let member = || {
        (session(), text(), room(), any::<bool>()).prop_map(|(session, name, voice, muted)| pb::Member {
            session,
            name,
            voice,
            muted,
            deafened: !muted,
        })
    };
    let members = || prop::collection::vec(member(), 0..4);
    let seen = || {
        (room(), text(), 0u64..2, number()).prop_map(|(id, name, epoch, last_seq)| pb::Room {
            id,
            name,
            epoch,
            last_seq,
        })
    };
    let topic =
        || (room(), text(), text()).prop_map(|(room, text, by)| pb::Topic { room, text, by, at_ms: 5 });
    let entered = (
        0u32..5,
        prop::option::weighted(0.95, seen()),
        members(),
        0u32..6,
        prop_oneof![2 => Just(0), 1 => session()],
        prop::option::of(topic()),
    );
    prop_oneof![
        4 => (session(), text(), any::<bool>()).prop_map(|(session, name, resumed)| {
            Kind::Welcome(pb::Welcome { version: 1, session, name, resumed, ..Default::default() })
        }),
        6 => entered.prop_map(|(key, room, members, member_count, with, topic)| {
            Kind::Entered(pb::Entered { key, room, members, member_count, with, topic })
        }),
        1 => (0u32..5, text()).prop_map(|(key, text)| Kind::NotEntered(pb::NotEntered { key, text })),
        2 => member().prop_map(Kind::Changed),
        1 => topic().prop_map(Kind::Topic),
        1 => (prop::collection::vec(text(), 0..3), any::<bool>()).prop_map(|(names, more)| {
            let room = |name| pb::ListedRoom { name, members: 3, topic: "tea".into() };
            Kind::Rooms(pb::RoomList { rooms: names.into_iter().map(room).collect(), more })
        }),
        1 => (text(), text()).prop_map(|(text, name)| Kind::NotDone(pb::NotDone { text, name })),
        1 => (0i32..8, text()).prop_map(|(reason, suggestion)| Kind::Refused(pb::Refused { reason, suggestion, text: String::new() })),
        4 => (room(), number(), session(), number(), text()).prop_map(|(room, seq, session, id, text)| Kind::Said(pb::Said { room, seq, session, name: text.clone(), id, text, at_ms: seq })),
        2 => (room(), prop::option::of(member())).prop_map(|(room, member)| Kind::Joined(pb::Joined { room, member })),
        2 => (room(), prop::option::of(member()), -1i32..5).prop_map(|(room, member, reason)| Kind::Left(pb::Left { room, member, reason })),
        3 => (room(), number(), number()).prop_map(|(room, seq, id)| Kind::Ack(pb::Ack { room, seq, id, at_ms: id })),
        1 => (room(), any::<u32>(), number(), text(), any::<bool>()).prop_map(|(room, token, seq, text, more)| {
            let said = pb::Said { room, seq, session: 1, name: text.clone(), id: seq, text: text.clone(), at_ms: seq };
            Kind::History(pb::HistoryPage { room, token, messages: vec![said; 2], more, error: text })
        }),
        1 => number().prop_map(|id| Kind::Nack(pb::Nack { id, text: String::new() })),
        1 => number().prop_map(|token| Kind::Ping(pb::Ping { token })),
        1 => number().prop_map(|token| Kind::Pong(pb::Ping { token })),
        1 => (room(), members()).prop_map(|(room, members)| Kind::Members(pb::Members { room, members })),
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
    /// In which of its places.
    Say(usize),
    Ask(usize, Option<u64>, usize, String),
    Join(String),
    Whisper(String),
    Part(usize),
    VoiceIn(usize),
    Topic(usize, String),
    Name(String),
    Mute(bool),
    AskRooms,
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
        4 => (0usize..4).prop_map(ClientAct::Say),
        1 => (0usize..4, prop::option::of(number()), any::<usize>(), text())
            .prop_map(|(at, before, limit, words)| ClientAct::Ask(at, before, limit, words)),
        2 => text().prop_map(ClientAct::Join),
        2 => text().prop_map(ClientAct::Whisper),
        2 => (0usize..4).prop_map(ClientAct::Part),
        1 => (0usize..4).prop_map(ClientAct::VoiceIn),
        1 => (0usize..4, text()).prop_map(|(at, text)| ClientAct::Topic(at, text)),
        1 => text().prop_map(ClientAct::Name),
        1 => any::<bool>().prop_map(ClientAct::Mute),
        1 => Just(ClientAct::AskRooms),
        2 => bytes().prop_map(ClientAct::Talk),
        4 => (0u64..3_000).prop_map(ClientAct::Wait),
        1 => (0u64..100_000).prop_map(ClientAct::Late),
        1 => prop::bool::weighted(0.1).prop_map(|quit| if quit { ClientAct::Quit } else { ClientAct::Wait(1) }),
    ]
}

fn place(client: &Client, at: usize) -> Option<PlaceId> {
    client.places().nth(at)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_peer_breaks_the_server(is_lasting in any::<bool>(), acts in prop::collection::vec(act(), 1..60)) {
        let mut driver = Driver::new(is_lasting);
        for act in acts {
            let (before, from) = (driver.wakes, driver.now);
            driver.act(act);
            let seconds = driver.now.since(from).as_secs() + 1;
            prop_assert!(driver.wakes - before <= (seconds + 10) * u64::from(PEERS) * 2);
        }
        // All of them fall silent: after a while nothing is left to do, once the store has answered.
        if driver.is_lasting {
            driver.keep(usize::MAX);
        }
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
        let rooms = vec![String::new(), "A".to_owned()];
        let config = ClientConfig { name: "A".into(), rooms, software: String::new(), history: 5 };
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
                ClientAct::Say(at) => {
                    if let Some(place) = place(&client, at) {
                        let _ = client.say(place, "hi");
                    }
                }
                ClientAct::Ask(at, before, limit, words) => {
                    if let Some(place) = place(&client, at) {
                        let is_asked = client.ask_history(place, before.map(Seq::from_wire), limit, &words).is_some();
                        prop_assert_eq!(is_asked, client.is_in() && client.is_entered(place));
                    }
                }
                ClientAct::Join(name) => {
                    let _ = client.join(&name);
                }
                ClientAct::Whisper(name) => {
                    let _ = client.whisper(&name);
                }
                ClientAct::Part(at) => place(&client, at).into_iter().for_each(|place| client.part(place)),
                ClientAct::VoiceIn(at) => client.set_voice_place(place(&client, at)),
                ClientAct::Topic(at, text) => {
                    if let Some(place) = place(&client, at) {
                        client.set_topic(place, &text);
                    }
                }
                ClientAct::Name(name) => {
                    let _ = client.set_name(&name);
                }
                ClientAct::Mute(muted) => client.set_marks(Marks { muted, deafened: false }),
                ClientAct::AskRooms => prop_assert_eq!(client.ask_rooms(), client.is_in()),
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
            prop_assert!(client.places().all(|place| client.members(place).count() <= 500));
        }
    }
}
