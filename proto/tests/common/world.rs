//! A server and several clients, wired together in memory with virtual time: connections deliver bytes in order, after
//! a delay, in any portions, until they are cut; datagrams may be lost. Nothing is sealed here.

use std::collections::{BTreeMap, VecDeque};

use chinwag_proto::{
    Duration, Instant, Peer, Rng, Seq, SessionId,
    client::{Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, PlaceId},
    history::{KeepError, Write},
    limits,
    outbox::Class,
    server::{Dialect, Input, Output, ReadRequest, Server, ServerEvent},
    wire::{path::DatagramKind, voice::Frames},
};

use super::{Relayed, Shelf, VoiceRig, millis};

pub(crate) struct WorldConfig {
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    /// The longest way of a byte; the shortest is a millisecond.
    pub(crate) delay_ms: u64,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) voice: VoiceRig,
    pub(crate) nodes: Vec<Node>,
    pub(crate) server_events: Vec<(Instant, ServerEvent)>,
    /// What keeps the messages; without it they are in memory.
    pub(crate) store: Option<Store>,
    /// Datagrams get through.
    pub(crate) udp: bool,
    /// Connections can be made.
    pub(crate) reachable: bool,
    delay_ms: u64,
    rng: Rng,
    conns: Vec<Conn>,
    events: BTreeMap<(Instant, u64), Event>,
    ties: u64,
    /// Calls of `handle_timeout`, of all machines.
    pub(crate) timeouts: u64,
}

/// The driver's side of a store, which takes its time.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) shelf: Shelf,
    /// What was given to it and is not kept yet; of which run.
    waiting: VecDeque<Write>,
    run: u32,
    /// It refuses all that it is given.
    pub(crate) is_broken: bool,
}

pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) events: Vec<ClientEvent>,
    /// Everything that was said in its first room, as this client saw it: place, who, what.
    pub(crate) said: Vec<(Seq, String, String)>,
    /// Everything that was said anywhere, as this client saw it.
    pub(crate) told: Vec<Told>,
    /// Voice frames heard: their sequences.
    pub(crate) heard: Vec<u32>,
    conn: Option<usize>,
}

/// Something that was said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) place: PlaceId,
    /// The room's name, or that of the one with whom the client was alone.
    pub(crate) room: String,
    pub(crate) is_private: bool,
    pub(crate) text: String,
    /// The client said it itself.
    pub(crate) is_own: bool,
}

struct Conn {
    node: usize,
    client_open: bool,
    server_open: bool,
    /// Bytes on their way arrive.
    whole: bool,
    paused: bool,
    /// Who was let in by it.
    session: Option<SessionId>,
    /// What arrived while it was paused.
    held: Vec<u8>,
    last_to_server: Instant,
    last_to_client: Instant,
}

enum Event {
    Connects(usize),
    ToServer(usize, Vec<u8>),
    ToClient(usize, Vec<u8>),
    ServerSeesEnd(usize),
    ClientSeesEnd(usize),
    DatagramToServer(usize, DatagramKind, Vec<u8>),
    DatagramToClient(usize, DatagramKind, Vec<u8>),
    Keeps,
    Reads(u32, ReadRequest),
}

impl World {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        let mut world = Self {
            now: Instant::from_micros(1_000_000),
            server: Server::new(limits::SESSIONS, Rng::from_number(config.seed)),
            voice: VoiceRig::default(),
            nodes: vec![],
            server_events: vec![],
            store: None,
            udp: true,
            reachable: true,
            delay_ms: config.delay_ms,
            rng: Rng::from_number(config.seed + 1),
            conns: vec![],
            events: BTreeMap::new(),
            ties: 0,
            timeouts: 0,
        };
        for _ in 0..config.clients {
            world.add();
        }
        world
    }

    /// One in which all that is said is kept.
    pub(crate) fn lasting(config: &WorldConfig) -> Self {
        let mut world = Self::new(&WorldConfig { clients: 0, ..*config });
        world.store = Some(Store::default());
        world.server.restore([]);
        for _ in 0..config.clients {
            world.add();
        }
        world
    }

    /// The server crashes, perhaps while the store is keeping something, and is started again: all connections are lost.
    pub(crate) fn restart(&mut self) {
        let store = self.store.as_mut().expect("what was said would be lost");
        let half = self.rng.below(store.waiting.len() as u64 + 1) as usize;
        store.waiting.drain(..half).for_each(|write| store.shelf.write(&write));
        (store.waiting, store.run) = Default::default();
        let rooms = store.shelf.restored(usize::MAX);
        self.server = Server::new(limits::SESSIONS, Rng::from_number(self.rng.next_u64()));
        self.server.restore(rooms);
        self.voice = VoiceRig::default();
        self.events.retain(|_, event| !matches!(event, Event::Keeps | Event::Reads(..)));
        for conn in 0..self.conns.len() {
            // Who is only calling reaches the new one.
            if std::mem::take(&mut self.conns[conn].server_open) {
                self.conns[conn].whole = false;
                let after = self.delay();
                self.at(self.now + after, Event::ClientSeesEnd(conn));
            }
        }
    }

    /// Starts another client; its name is its number.
    pub(crate) fn add(&mut self) -> usize {
        let at = self.nodes.len();
        let config = ClientConfig {
            name: format!("n{at}"),
            rooms: vec![String::new()],
            software: "test".into(),
            history: 0,
        };
        let client = Client::new(self.now, config, Rng::from_number(at as u64));
        self.nodes.push(Node {
            client,
            events: vec![],
            said: vec![],
            told: vec![],
            heard: vec![],
            conn: None,
        });
        self.drain_client(at);
        at
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.events.first_key_value().map(|(&(at, _), _)| at);
            let server = self.server.poll_timeout();
            let clients = self.nodes.iter().filter_map(|node| node.client.poll_timeout());
            let Some(due) = clients.chain(next).chain(server).min().filter(|&due| due <= end) else { break };
            self.now = self.now.max(due);
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn say(&mut self, node: usize, text: &str) {
        self.nodes[node].client.say(PlaceId::FIRST, text).unwrap();
        self.drain_client(node);
    }

    /// A user does something.
    pub(crate) fn with<T>(&mut self, node: usize, does: impl FnOnce(&mut Client) -> T) -> T {
        let done = does(&mut self.nodes[node].client);
        self.drain_client(node);
        done
    }

    pub(crate) fn quit(&mut self, node: usize) {
        self.nodes[node].client.quit(self.now);
        self.drain_client(node);
    }

    pub(crate) fn talk(&mut self, node: usize, sequence: u32) {
        let frame = chinwag_proto::wire::voice::VoiceFrame {
            talker: chinwag_proto::SessionId::from_wire(0),
            sequence,
            end: false,
            level: 20,
            opus: &[1; 80],
        };
        self.nodes[node].client.send_voice(self.now, [frame]);
        self.drain_client(node);
    }

    /// Breaks a client's connection: what is on its way is lost. Each end notices after a while, or never.
    pub(crate) fn cut(&mut self, node: usize, client_sees: Option<Duration>, server_sees: Option<Duration>) {
        let Some(conn) = self.nodes[node].conn else { return };
        self.conns[conn].whole = false;
        if let Some(after) = client_sees {
            self.at(self.now + after, Event::ClientSeesEnd(conn));
        }
        if let Some(after) = server_sees {
            self.at(self.now + after, Event::ServerSeesEnd(conn));
        }
    }

    fn step(&mut self) {
        if let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            return self.happen(event);
        }
        if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.timeouts += 1;
            self.server.handle_timeout(self.now);
            self.drain_server();
            assert!(self.server.poll_timeout().is_none_or(|due| due > self.now), "the server would spin");
            return;
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].client.poll_timeout().is_some_and(|due| due <= self.now) {
                self.timeouts += 1;
                self.nodes[at].client.handle_timeout(self.now);
                self.drain_client(at);
                let due = self.nodes[at].client.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "a client would spin");
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connects(conn) => {
                let node = self.conns[conn].node;
                if !self.conns[conn].client_open {
                    return;
                }
                if !self.reachable {
                    self.conns[conn].client_open = false;
                    return self.client_input(node, ClientInput::Disconnected);
                }
                self.conns[conn].server_open = true;
                self.server_input(Input::Accepted { peer: peer(conn), dialect: Dialect::Native });
                self.client_input(node, ClientInput::Connected);
            }
            Event::ToServer(conn, bytes) => {
                if !self.conns[conn].whole || !self.conns[conn].server_open {
                } else if self.conns[conn].paused {
                    self.conns[conn].held.extend(bytes);
                } else {
                    self.server_input(Input::Received { peer: peer(conn), bytes: &bytes });
                }
            }
            Event::ToClient(conn, bytes) => {
                if self.conns[conn].whole && self.conns[conn].client_open {
                    let node = self.conns[conn].node;
                    self.client_input(node, ClientInput::Received { bytes: &bytes });
                }
            }
            Event::ServerSeesEnd(conn) => {
                if std::mem::take(&mut self.conns[conn].server_open) {
                    self.server_input(Input::Closed { peer: peer(conn) });
                }
            }
            Event::ClientSeesEnd(conn) => {
                if std::mem::take(&mut self.conns[conn].client_open) {
                    let node = self.conns[conn].node;
                    self.nodes[node].conn = None;
                    self.client_input(node, ClientInput::Disconnected);
                }
            }
            Event::DatagramToServer(conn, kind, payload) => {
                if let Some(session) = self.conns[conn].session.filter(|_| self.conns[conn].server_open) {
                    self.voice.datagram(self.now, session, kind, &payload);
                    self.drain_server();
                }
            }
            Event::Keeps => {
                let Some(store) = &mut self.store else { return };
                let (run, count) = (store.run, store.waiting.len());
                let waiting = std::mem::take(&mut store.waiting);
                if store.is_broken && count > 0 {
                    store.run += 1;
                    return self.server_input(Input::NotKept { run, why: KeepError::Full });
                }
                waiting.iter().for_each(|write| store.shelf.write(write));
                self.server_input(Input::Kept { run, count });
            }
            Event::Reads(ticket, what) => {
                let found = self.store.as_ref().map(|store| store.shelf.read(&what));
                self.server_input(Input::Read { ticket, found: found.as_deref() });
            }
            Event::DatagramToClient(conn, kind, payload) => {
                if self.conns[conn].client_open {
                    let node = self.conns[conn].node;
                    self.client_input(node, ClientInput::Datagram { kind, payload: &payload });
                }
            }
        }
    }

    fn server_input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
        self.drain_server();
    }

    fn client_input(&mut self, node: usize, input: ClientInput<'_>) {
        self.nodes[node].client.handle_input(self.now, input);
        self.drain_client(node);
    }

    fn drain_server(&mut self) {
        let mut unpaused = vec![];
        let mut sends: Vec<(usize, Option<Vec<u8>>)> = vec![];
        let (mut kept, mut read) = (vec![], vec![]);
        while let Some(output) = self.server.poll_output() {
            self.voice.obey(self.now, &output);
            match output {
                Output::Send { bytes, to, .. } => {
                    sends.extend(to.iter().map(|peer| (peer.index(), Some(bytes.to_vec()))));
                }
                Output::Pause { peer } => self.conns[peer.index()].paused = true,
                Output::Unpause { peer } => {
                    self.conns[peer.index()].paused = false;
                    unpaused.push(peer.index());
                }
                Output::Close { peer, .. } => sends.push((peer.index(), None)),
                Output::Event(event) => self.server_events.push((self.now, event)),
                Output::Keep { run, write } => kept.push((run, write)),
                Output::Read { ticket, what } => read.push((ticket, what)),
                // It has begun already, and is answered to nobody.
                Output::Unread { .. } => {}
                Output::OpenPath { peer, session, .. } => self.conns[peer.index()].session = Some(session),
                Output::Relay(_) | Output::Overheard { .. } | Output::Report { .. } => {}
            }
        }
        self.server.audit().unwrap();
        for (run, write) in kept {
            let after = self.delay();
            let store = self.store.as_mut().expect("nothing is to be kept");
            // What was on its way when something could not be kept is of no use without that.
            if run == store.run {
                store.waiting.push_back(write);
                self.at(self.now + after, Event::Keeps);
            }
        }
        for (ticket, what) in read {
            let after = self.delay();
            self.at(self.now + after, Event::Reads(ticket, what));
        }
        for (conn, bytes) in sends {
            match bytes {
                Some(bytes) => {
                    assert!(self.conns[conn].server_open, "nothing is sent to those who are gone");
                    self.send_in_portions(conn, &bytes, Event::ToClient);
                }
                None => {
                    assert!(std::mem::take(&mut self.conns[conn].server_open), "closed once");
                    if self.conns[conn].whole {
                        let at = self.conns[conn].last_to_client;
                        self.at(at.max(self.now) + millis(1), Event::ClientSeesEnd(conn));
                    }
                }
            }
        }
        for what in self.voice.take() {
            match what {
                Relayed::Datagram { kind, payload, to } => {
                    let conn = self.server.peer_of(to).expect("a listener is there").index();
                    let delay = self.delay();
                    if self.udp && self.conns[conn].whole {
                        self.at(self.now + delay, Event::DatagramToClient(conn, kind, payload));
                    }
                }
                Relayed::Tunnel { payload, to } => {
                    self.server_input(Input::Voice { payload: &payload, to: &to });
                }
                Relayed::Alive(session) => self.server_input(Input::Alive { session, at: self.now }),
            }
        }
        // Whoever was paused again at once is not read from.
        unpaused.retain(|&conn| !self.conns[conn].paused);
        for conn in unpaused {
            let bytes = std::mem::take(&mut self.conns[conn].held);
            self.server_input(Input::Received { peer: peer(conn), bytes: &bytes });
        }
    }

    fn drain_client(&mut self, at: usize) {
        loop {
            let delay = self.delay();
            let node = &mut self.nodes[at];
            let Some(output) = node.client.poll_output() else { return node.client.audit().unwrap() };
            match output {
                ClientOutput::Connect => {
                    let (now, conn) = (self.now, self.conns.len());
                    node.conn = Some(conn);
                    let (last_to_server, last_to_client) = (now, now);
                    let (client_open, server_open, whole, paused) = (true, false, true, false);
                    let held = vec![];
                    self.conns.push(Conn {
                        node: at,
                        client_open,
                        server_open,
                        whole,
                        paused,
                        session: None,
                        held,
                        last_to_server,
                        last_to_client,
                    });
                    self.at(now + delay, Event::Connects(conn));
                }
                ClientOutput::Disconnect => {
                    if let Some(conn) = node.conn.take() {
                        let state = &mut self.conns[conn];
                        state.client_open = false;
                        if state.whole && state.server_open {
                            let when = state.last_to_server.max(self.now) + millis(1);
                            self.at(when, Event::ServerSeesEnd(conn));
                        }
                    }
                }
                ClientOutput::Send { bytes, class: Class::Control | Class::Voice } => {
                    let bytes = bytes.to_vec();
                    if let Some(conn) = node.conn {
                        self.send_in_portions(conn, &bytes, Event::ToServer);
                    }
                }
                ClientOutput::OpenPath { .. } => {}
                ClientOutput::Datagram { kind, payload } => {
                    let payload = payload.to_vec();
                    if let Some(conn) = node.conn.filter(|&conn| self.udp && self.conns[conn].whole) {
                        self.at(self.now + delay, Event::DatagramToServer(conn, kind, payload));
                    }
                }
                ClientOutput::Voice { payload } => {
                    node.heard.extend(Frames::parse(payload).unwrap().map(|frame| frame.sequence));
                }
                ClientOutput::Event(event) => {
                    if let ClientEvent::Said { place, seq, name, text, own, .. } = &event {
                        if *place == PlaceId::FIRST {
                            node.said.push((*seq, name.clone(), text.clone()));
                        }
                        node.told.push(Told {
                            place: *place,
                            room: node.client.place_name(*place).unwrap_or_default().to_owned(),
                            is_private: node.client.is_private(*place),
                            text: text.clone(),
                            is_own: own.is_some(),
                        });
                    }
                    node.events.push(event);
                }
            }
        }
    }

    fn send_in_portions(&mut self, conn: usize, mut bytes: &[u8], event: fn(usize, Vec<u8>) -> Event) {
        while !bytes.is_empty() {
            let cut = 1 + self.rng.below(bytes.len().min(5000) as u64) as usize;
            let (portion, rest) = bytes.split_at(cut);
            bytes = rest;
            let arrives = self.now + self.delay();
            let event = event(conn, portion.to_vec());
            let state = &mut self.conns[conn];
            let last = if matches!(event, Event::ToServer(..)) {
                &mut state.last_to_server
            } else {
                &mut state.last_to_client
            };
            *last = arrives.max(*last);
            let when = *last;
            self.at(when, event);
        }
    }

    fn delay(&mut self) -> Duration {
        millis(1 + self.rng.below(self.delay_ms))
    }

    fn at(&mut self, when: Instant, event: Event) {
        self.ties += 1;
        self.events.insert((when, self.ties), event);
    }
}

fn peer(conn: usize) -> Peer {
    Peer::new(conn as u32)
}
