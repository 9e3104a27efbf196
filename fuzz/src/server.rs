//! The server machine under anything that several peers may do: it asks only for what a driver can do, tells only
//! whom there is, says only what decodes, wants no timeout that does nothing, stays within its limits and of one mind.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{Ipv4Addr, SocketAddr},
};

use arbitrary::Unstructured;
use chinwag_bench::Open;
use chinwag_proto::{
    Duration, Instant, Peer, Rng, RoomId, SessionId,
    history::{KeepError, Write},
    limits::{CLASSIC_BYTES, HELD_SESSIONS, PAGE_MESSAGES, READS, ROOMS},
    relay::{Arrival, Egress, Relay},
    server::{Dialect, Input, Output, ReadRequest, Server},
    wire::{
        chinwag1::{self as pb, to_client::Kind},
        control::{self, Body},
        frame::FrameReader,
        path::{DatagramKind, Draft, HEADER_BYTES, Header, Seal, SealedPath, TAG_BYTES},
        voice::Frames,
    },
};

use crate::{
    ops::{Known, Op, PEERS, Store, voice},
    shelf::Shelf,
};

/// Sessions that the server lets in: fewer than there are peers, so that it can be full.
const MAX_SESSIONS: usize = 4;
/// Peers that are native; the others are classic.
const NATIVES: usize = 4;
/// Timeouts at one moment; more is spinning.
const TIMEOUTS_AT_ONCE: u32 = 8;

/// Input: a list of (peer, [`Op`]). What a store does is nobody's, whichever peer stands before it.
pub fn server(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut driver = Driver::new();
    while !u.is_empty() {
        let (Ok(peer), Ok(op)) = (u.arbitrary::<u8>(), u.arbitrary::<Op>()) else { break };
        driver.play(u32::from(peer) % PEERS, op);
    }
    driver.empty();
}

/// What the relay wants done.
enum Relayed {
    Datagram(SessionId, DatagramKind, Vec<u8>),
    Tunnel(Vec<u8>, Vec<SessionId>),
    Alive(SessionId),
}

/// The relay's output.
#[derive(Default)]
struct Sink(Vec<Relayed>);

impl<S: Seal> Egress<S> for Sink {
    fn datagram(&mut self, _socket: usize, to: SocketAddr, draft: Draft<'_, S>) {
        let mut bytes = Vec::new();
        draft.write_sealed(&mut bytes);
        let header = Header::parse(&bytes).expect("a datagram");
        assert_eq!(to, address(header.session), "sealed for somebody else");
        let payload = bytes[HEADER_BYTES..bytes.len() - TAG_BYTES].to_vec();
        self.0.push(Relayed::Datagram(header.session, header.kind, payload));
    }

    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        self.0.push(Relayed::Tunnel(payload.to_vec(), to.collect()));
        true
    }

    fn alive(&mut self, _now: Instant, session: SessionId) {
        self.0.push(Relayed::Alive(session));
    }
}

/// Where a session's datagrams come from.
fn address(session: SessionId) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(session.to_wire()), 1))
}

struct Driver {
    server: Server,
    relay: Relay<Open>,
    relayed: Sink,
    now: Instant,
    /// Handles in use.
    open: BTreeSet<Peer>,
    paused: BTreeSet<Peer>,
    /// Whom natives were let in as, with their ends of the voice paths.
    paths: BTreeMap<Peer, SealedPath<Open>>,
    known: Vec<Known>,
    is_stopping: bool,
    /// The store, once there is one.
    shelf: Option<Shelf>,
    /// What it was given in this run and has not answered.
    writes: VecDeque<Write>,
    run: u32,
    reads: Vec<(u32, ReadRequest)>,
}

impl Driver {
    fn new() -> Self {
        Self {
            server: Server::new(MAX_SESSIONS, Rng::from_number(1)),
            relay: Relay::default(),
            relayed: Sink::default(),
            now: Instant::from_micros(1),
            open: BTreeSet::new(),
            paused: BTreeSet::new(),
            paths: BTreeMap::new(),
            known: (1..=PEERS as u8).map(|n| Known { author: vec![n; 16], ..Known::default() }).collect(),
            is_stopping: false,
            shelf: None,
            writes: VecDeque::new(),
            run: 0,
            reads: Vec::new(),
        }
    }

    fn play(&mut self, index: u32, op: Op) {
        let peer = Peer::new(index);
        let me = self.known[index as usize].clone();
        let is_open = self.open.contains(&peer);
        match op {
            Op::Accept => {
                if !is_open {
                    self.open.insert(peer);
                    self.input(Input::Accepted { peer, dialect: dialect_of(peer) });
                }
            }
            Op::Wait(ms) => self.wait(Duration::from_millis(ms.into())),
            Op::Store(what) => self.store(what),
            Op::Shutdown => {
                self.is_stopping = true;
                self.input(Input::Shutdown);
                assert!(self.open.is_empty(), "somebody was not closed");
            }
            // What a driver could not do without a connection.
            Op::Bytes(_)
            | Op::Frame { .. }
            | Op::Datagram { .. }
            | Op::Voice { .. }
            | Op::Close
            | Op::Overflow
                if !is_open => {}
            Op::Bytes(bytes) => self.receive(peer, &bytes),
            Op::Frame { kind, cut } => {
                let mut bytes = kind.bytes(&me, &self.known);
                bytes.truncate(cut.map_or(usize::MAX, usize::from));
                self.receive(peer, &bytes);
            }
            Op::Datagram { kind, payload } => {
                let kind = match kind % 3 {
                    0 => DatagramKind::Voice,
                    1 => DatagramKind::Probe,
                    _ => DatagramKind::Echo,
                };
                self.datagram(peer, kind, &payload);
            }
            Op::Voice { forged, sequence } => {
                let payload = voice(me.session ^ u32::from(forged), sequence);
                self.datagram(peer, DatagramKind::Voice, &payload);
            }
            Op::Close => {
                self.forget(peer);
                self.input(Input::Closed { peer });
            }
            Op::Overflow => {
                self.input(Input::Overflowed { peer });
                assert!(!self.open.contains(&peer), "who does not read must go");
            }
        }
        self.judge();
    }

    fn store(&mut self, what: Store) {
        let run = self.run;
        match what {
            Store::Restores if self.is_stopping => {}
            Store::Restores => {
                let shelf = self.shelf.take().unwrap_or_default();
                let (now, known) = (self.now, std::mem::take(&mut self.known));
                *self = Self { now, known, ..Self::new() };
                self.server = Server::new(MAX_SESSIONS, Rng::from_number(now.as_micros()));
                self.server.restore(shelf.restored());
                self.shelf = Some(shelf);
                self.drain();
            }
            _ if self.shelf.is_none() => {}
            Store::Keeps(count) => self.keep(count.into()),
            Store::Refuses { is_full } => {
                self.writes.clear();
                self.run += 1;
                let why = if is_full { KeepError::Full } else { KeepError::Failed };
                self.input(Input::NotKept { run, why });
            }
            Store::Answers { which, can } => {
                if usize::from(which) < self.reads.len() {
                    let (ticket, what) = self.reads.remove(which.into());
                    let found = self.shelf.as_ref().map(|shelf| shelf.read(&what)).filter(|_| can);
                    self.input(Input::Read { ticket, found: found.as_deref() });
                }
            }
            Store::Forgets { room, left } => {
                let forgotten = self.shelf.as_mut().and_then(|shelf| shelf.expire(room.into(), left.into()));
                if let Some((room, before)) = forgotten {
                    self.input(Input::Expired { room, before });
                }
            }
            Store::IsLate(by) => {
                let run = run.wrapping_sub(1 + u32::from(by));
                self.input(Input::Kept { run, count: by.into() });
                self.input(Input::NotKept { run, why: KeepError::Failed });
                self.input(Input::Read { ticket: u32::MAX - u32::from(by), found: Some(&[]) });
            }
        }
    }

    fn keep(&mut self, most: usize) {
        let (run, count) = (self.run, most.min(self.writes.len()));
        if let Some(shelf) = &mut self.shelf {
            self.writes.drain(..count).for_each(|write| shelf.write(write));
            self.input(Input::Kept { run, count });
        }
    }

    /// A driver reads nothing from whom it was told to pause.
    fn receive(&mut self, peer: Peer, bytes: &[u8]) {
        if !self.paused.contains(&peer) {
            self.input(Input::Received { peer, bytes });
        }
    }

    /// A driver has keys only for whom it was told to open a path.
    fn datagram(&mut self, peer: Peer, kind: DatagramKind, payload: &[u8]) {
        if let Some(end) = self.paths.get_mut(&peer) {
            let (from, mut bytes) = (address(end.session()), Vec::new());
            end.seal(kind, payload, &mut bytes);
            let arrival = Arrival { socket: 0, from, waited: Duration::ZERO, bytes: &mut bytes };
            // What did not fit into a datagram is none.
            let _ = self.relay.handle_datagram(self.now, arrival, &mut self.relayed);
            self.drain();
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass, with every timeout at its moment.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let (mut last, mut at_once) = (None, 0);
        while let Some(due) = self.server.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            at_once = if last == Some(self.now) { at_once + 1 } else { 1 };
            assert!(at_once <= TIMEOUTS_AT_ONCE, "it spins");
            last = Some(self.now);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { bytes, class: _, to } => {
                    assert!(!to.is_empty() && to.iter().all(|peer| self.open.contains(peer)));
                    if to.iter().any(|&peer| dialect_of(peer) == Dialect::Classic) {
                        assert!(to.iter().all(|&peer| dialect_of(peer) == Dialect::Classic));
                        let text = str::from_utf8(bytes).expect("half a character");
                        assert!(
                            (1..=CLASSIC_BYTES).contains(&text.len()) && !text.contains(char::is_control)
                        );
                        continue;
                    }
                    for kind in messages(bytes) {
                        if let Some((room, seq)) = told(&kind) {
                            let is_private = RoomId::from_wire(room).is_private();
                            assert!(!is_private || to.len() == 1, "what is between two is told to more");
                            let last = self.shelf.as_ref().and_then(|shelf| shelf.last_of(room));
                            assert!(last.is_none_or(|last| seq <= last), "what is not kept is told");
                        }
                        if let Kind::Welcome(welcome) = kind {
                            let &[peer] = to else { panic!("a welcome is for one") };
                            let known = &mut self.known[peer.index()];
                            (known.session, known.token) = (welcome.session, welcome.resume_token);
                            known.rooms.clear();
                        } else if let Kind::Entered(entered) = kind {
                            let &[peer] = to else { panic!("a room is entered by one") };
                            let room = entered.room.expect("a room");
                            let with = entered.members.iter().find(|member| member.session == entered.with);
                            let with = with.map_or(String::new(), |with| with.name.clone());
                            let rooms = &mut self.known[peer.index()].rooms;
                            rooms.retain(|known| known.room != room.id);
                            let key = rooms.len() as u32 + 1;
                            let pb::Room { id, name, epoch, last_seq } = room;
                            rooms.push(pb::Claim { key, name, with, epoch, last_seq, room: id });
                        }
                    }
                }
                Output::Relay(order) => self.relay.obey(self.now, order, &mut self.relayed),
                Output::OpenPath { peer, session, room } => {
                    assert!(self.open.contains(&peer));
                    let is_native = dialect_of(peer) == Dialect::Native;
                    self.relay.open(session, room, is_native.then_some(Open));
                    if is_native {
                        self.paths.insert(peer, SealedPath::new(session, Open));
                    }
                }
                Output::Overheard { payload } => assert!(Frames::parse(payload).is_ok()),
                Output::Pause { peer } => assert!(self.open.contains(&peer) && self.paused.insert(peer)),
                Output::Unpause { peer } => assert!(self.paused.remove(&peer)),
                Output::Close { peer, cause } => {
                    assert!(self.open.remove(&peer), "closed twice: {cause}");
                    self.paused.remove(&peer);
                    self.paths.remove(&peer);
                }
                Output::Keep { run, write } => {
                    assert!(self.shelf.is_some(), "nothing was said of a store");
                    if run == self.run {
                        self.writes.push_back(write);
                    }
                }
                Output::Read { ticket, what } => {
                    assert!(self.shelf.is_some() && self.reads.len() < READS);
                    self.reads.push((ticket, what));
                }
                Output::Unread { ticket } => {
                    assert!(self.reads.iter().any(|(waiting, _)| *waiting == ticket), "nobody reads it");
                }
                Output::Report { .. } | Output::Event(_) => {}
            }
        }
        self.server.audit().expect("a server that is not of one mind");
        self.carry_voice();
    }

    /// Does what the relay wants, and looks whether it knows who is there.
    fn carry_voice(&mut self) {
        self.relay.handle_timeout(self.now, &mut self.relayed);
        assert_eq!(self.relay.poll_timeout(), None);
        for what in std::mem::take(&mut self.relayed.0) {
            match what {
                Relayed::Datagram(to, kind, payload) => {
                    assert!(self.server.peer_of(to).is_some(), "somebody who has left");
                    match kind {
                        DatagramKind::Voice => assert!(Frames::parse(&payload).is_ok()),
                        DatagramKind::Echo => {}
                        DatagramKind::Probe => panic!("the server probes nobody"),
                    }
                }
                Relayed::Tunnel(payload, to) => self.input(Input::Voice { payload: &payload, to: &to }),
                Relayed::Alive(session) => self.input(Input::Alive { session, at: self.now }),
            }
        }
        self.relay.audit().expect("a relay that is not of one mind");
        let seated: Vec<_> = self.relay.seated().collect();
        assert!(seated.iter().all(|&(session, _)| self.server.peer_of(session).is_some()));
        let hub = self.server.hub();
        assert!(self.is_stopping || seated.iter().all(|&(session, room)| hub.voice_room(session) == room));
    }

    fn forget(&mut self, peer: Peer) {
        self.open.remove(&peer);
        self.paused.remove(&peer);
        self.paths.remove(&peer);
    }

    fn judge(&self) {
        let hub = self.server.hub();
        assert!(hub.members() <= MAX_SESSIONS && hub.rooms() <= ROOMS && hub.gone() <= HELD_SESSIONS);
        // Whoever has a connection is waited for: a silent one must not stay for ever.
        assert!(self.open.is_empty() || self.server.poll_timeout().is_some());
    }

    /// Everybody falls silent: everybody must go, and be forgotten in the end.
    fn empty(&mut self) {
        // But classic ones, of whom only the system can say that they are gone.
        for peer in self.open.clone().into_iter().filter(|&peer| dialect_of(peer) == Dialect::Classic) {
            self.forget(peer);
            self.input(Input::Closed { peer });
        }
        // A store answers in the end, and is given more when somebody is read again who had said more.
        while !self.writes.is_empty() {
            self.keep(usize::MAX);
            self.wait(Duration::from_secs(1));
        }
        self.wait(Duration::from_secs(60));
        assert!(self.open.is_empty(), "a silent peer stays");
        if self.is_stopping {
            // Nobody is told of members any more; their sessions end with the server.
            return;
        }
        assert_eq!(self.server.hub().members(), 0);
        self.wait(Duration::from_secs(2 * 60 * 60));
        assert_eq!(self.server.hub().gone(), 0);
        assert_eq!(self.server.poll_timeout(), None, "a timer is left");
    }
}

/// The place that a message tells of: no page is longer than it may be.
fn told(kind: &Kind) -> Option<(u32, u64)> {
    match kind {
        Kind::Said(said) => Some((said.room, said.seq)),
        Kind::Ack(ack) => Some((ack.room, ack.seq)),
        Kind::History(page) => {
            assert!(page.messages.len() <= PAGE_MESSAGES && page.messages.is_sorted_by(|a, b| a.seq < b.seq));
            page.messages.last().map(|said| (said.room, said.seq))
        }
        Kind::Welcome(_)
        | Kind::Entered(_)
        | Kind::NotEntered(_)
        | Kind::Changed(_)
        | Kind::Topic(_)
        | Kind::Rooms(_)
        | Kind::NotDone(_)
        | Kind::Refused(_)
        | Kind::Joined(_)
        | Kind::Left(_)
        | Kind::Nack(_)
        | Kind::Ping(_)
        | Kind::Pong(_)
        | Kind::Members(_)
        | Kind::Closing(_)
        | Kind::VoiceReport(_)
        | Kind::Voice(_) => None,
    }
}

/// The last peers are classic ones.
fn dialect_of(peer: Peer) -> Dialect {
    if peer.index() < NATIVES { Dialect::Native } else { Dialect::Classic }
}

/// The messages in bytes that must be whole frames.
fn messages(bytes: &[u8]) -> Vec<Kind> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut kinds = Vec::new();
    while let Some(body) =
        reader.next_frame(chinwag_proto::limits::FRAME_BYTES).expect("a frame that is too large")
    {
        match control::decode_to_client(body).expect("a message that does not decode") {
            Body::Message(kind) => kinds.push(kind),
            Body::Voice(payload) => assert!(Frames::parse(payload).is_ok()),
            Body::Unknown => panic!("a message that nobody knows"),
        }
    }
    assert_eq!(reader.buffered(), 0, "half a frame");
    kinds
}
