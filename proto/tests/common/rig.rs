//! One machine, driven by hand in virtual time; each step returns everything that the machine wants done, as lines.

use std::collections::VecDeque;

use chinwag_proto::{
    Duration, Instant, Peer, Rng, RoomId, Seq, SessionId,
    client::{Client, ClientConfig, ClientInput, PlaceId},
    history::{KeepError, Write},
    limits,
    server::{Dialect, Input, Output, ReadRequest, Server},
    wire::{
        chinwag1::{self as pb, to_client, to_server},
        control::{self, Body},
        frame::FrameReader,
        path::DatagramKind,
    },
};

use super::{Relayed, Shelf, VoiceRig, client_output, hello, hello_in, server_output, to_client, to_server};

/// A server alone.
pub(crate) struct ServerRig {
    pub(crate) server: Server,
    pub(crate) voice: VoiceRig,
    pub(crate) now: Instant,
    /// The session that each peer was let in as, the latest last.
    sessions: Vec<(Peer, SessionId)>,
    /// The latest welcome of each peer.
    welcomes: Vec<(u32, pb::Welcome)>,
    /// The rooms that each peer was told to be in, the latest last.
    entered: Vec<(u32, pb::Entered)>,
    /// What the store has.
    pub(crate) shelf: Shelf,
    /// What it was given and has not answered, and of which run.
    pub(crate) unkept: VecDeque<(u32, Write)>,
    /// What it was asked for and has not answered.
    pub(crate) questions: VecDeque<(u32, ReadRequest)>,
}

impl ServerRig {
    pub(crate) fn new() -> Self {
        Self::with_sessions(limits::SESSIONS)
    }

    pub(crate) fn with_sessions(max: usize) -> Self {
        let now = Instant::from_micros(1_000_000);
        let server = Server::new(max, Rng::from_number(1));
        Self {
            server,
            voice: VoiceRig::default(),
            now,
            sessions: vec![],
            welcomes: vec![],
            entered: vec![],
            shelf: Shelf::default(),
            unkept: VecDeque::new(),
            questions: VecDeque::new(),
        }
    }

    /// A server beside a store, which answers when it is told to.
    pub(crate) fn lasting() -> Self {
        let mut rig = Self::new();
        rig.server.restore([]);
        rig
    }

    /// The server is killed and started again, with so many messages of each room in its memory.
    pub(crate) fn restart(self, most: usize) -> Self {
        let Self { now, sessions, welcomes, entered, shelf, .. } = self;
        let mut server = Server::new(limits::SESSIONS, Rng::from_number(2));
        server.restore(shelf.restored(most));
        Self { server, now, sessions, welcomes, entered, shelf, ..Self::new() }
    }

    /// The store keeps the next of what it was given.
    pub(crate) fn keep(&mut self, count: usize) -> Vec<String> {
        let (run, _) = *self.unkept.front().expect("something is to be kept");
        for (of, write) in self.unkept.drain(..count) {
            assert_eq!(of, run, "what is of an earlier run must not be kept");
            self.shelf.write(&write);
        }
        self.input(Input::Kept { run, count })
    }

    /// The store keeps all that it was given.
    pub(crate) fn keep_all(&mut self) -> Vec<String> {
        self.keep(self.unkept.len())
    }

    /// The store can keep nothing of what it was given.
    pub(crate) fn refuse(&mut self, why: KeepError) -> Vec<String> {
        let (run, _) = *self.unkept.front().expect("something is to be kept");
        self.unkept.clear();
        self.input(Input::NotKept { run, why })
    }

    /// The store answers the first question.
    pub(crate) fn answer(&mut self) -> Vec<String> {
        let (ticket, what) = self.questions.pop_front().expect("something was asked");
        let found = self.shelf.read(&what);
        self.input(Input::Read { ticket, found: Some(&found) })
    }

    /// The store forgets what came before a place.
    pub(crate) fn expire(&mut self, room: u32, before: u64) -> Vec<String> {
        let (room, before) = (RoomId::from_wire(room), Seq::from_wire(before));
        self.shelf.expire(room, before);
        self.input(Input::Expired { room, before })
    }

    /// Feeds one input; nothing is drained.
    pub(crate) fn feed(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
    }

    pub(crate) fn input(&mut self, input: Input<'_>) -> Vec<String> {
        self.feed(input);
        self.drain()
    }

    /// A peer that was let in sends a datagram.
    pub(crate) fn datagram(&mut self, peer: u32, kind: DatagramKind, payload: &[u8]) -> Vec<String> {
        let peer = Peer::new(peer);
        if let Some(&(_, session)) = self.sessions.iter().rev().find(|(other, _)| *other == peer) {
            self.voice.datagram(self.now, session, kind, payload);
        }
        self.drain()
    }

    pub(crate) fn accept(&mut self, peer: u32) -> Vec<String> {
        self.input(Input::Accepted { peer: Peer::new(peer), dialect: Dialect::Native })
    }

    pub(crate) fn receive(&mut self, peer: u32, bytes: &[u8]) -> Vec<String> {
        self.input(Input::Received { peer: Peer::new(peer), bytes })
    }

    pub(crate) fn send(&mut self, peer: u32, kind: to_server::Kind) -> Vec<String> {
        self.receive(peer, &to_server([kind]))
    }

    pub(crate) fn close(&mut self, peer: u32) -> Vec<String> {
        self.input(Input::Closed { peer: Peer::new(peer) })
    }

    /// Accepts and greets.
    pub(crate) fn join(&mut self, peer: u32, name: &str) -> Vec<String> {
        assert_eq!(self.accept(peer), Vec::<String>::new());
        self.send(peer, to_server::Kind::Hello(hello(name)))
    }

    /// Accepts and greets with the session that `former` was welcomed to, and its last room.
    pub(crate) fn resume(&mut self, peer: u32, former: u32, last_seq: u64) -> Vec<String> {
        let name = self.welcome(former).name.clone();
        self.resume_as(peer, former, last_seq, &name)
    }

    pub(crate) fn resume_as(&mut self, peer: u32, former: u32, last_seq: u64, name: &str) -> Vec<String> {
        let hello = self.hello_again(former, last_seq, name);
        assert_eq!(self.accept(peer), Vec::<String>::new());
        self.send(peer, to_server::Kind::Hello(hello))
    }

    /// That of one who goes on where `former` was last.
    pub(crate) fn hello_again(&self, former: u32, last_seq: u64, name: &str) -> pb::Hello {
        let room = self.room(former);
        self.hello_again_in(former, name, [self.claim_again(former, 1, room.id, last_seq)])
    }

    /// The same, with these claims and no others.
    pub(crate) fn hello_again_in(
        &self,
        former: u32,
        name: &str,
        rooms: impl IntoIterator<Item = pb::Claim>,
    ) -> pb::Hello {
        pb::Hello { resume: Some(self.resume_of(former)), ..hello_in(name, rooms) }
    }

    /// Of a room that `former` was in.
    pub(crate) fn claim_again(&self, former: u32, key: u32, room: u32, last_seq: u64) -> pb::Claim {
        let entered = self.entered_in(former, room);
        let room = entered.room.as_ref().unwrap();
        let other = entered.members.iter().find(|member| member.session == entered.with);
        let with = other.map(|member| member.name.clone()).unwrap_or_default();
        pb::Claim { key, name: room.name.clone(), with, epoch: room.epoch, last_seq, room: room.id }
    }

    pub(crate) fn resume_of(&self, former: u32) -> pb::Resume {
        let welcome = self.welcome(former);
        let (session, token) = (welcome.session, welcome.resume_token.clone());
        pb::Resume { session, token, attempt: 0 }
    }

    /// What a peer was told of the room that it came into last.
    pub(crate) fn room(&self, peer: u32) -> &pb::Room {
        let entered = self.entered.iter().rev().find(|(entered, _)| *entered == peer);
        entered.unwrap().1.room.as_ref().unwrap()
    }

    /// What a peer was told last when it came into this room.
    pub(crate) fn entered_in(&self, peer: u32, room: u32) -> &pb::Entered {
        let is_it = |entered: &pb::Entered| entered.room.as_ref().unwrap().id == room;
        &self.entered.iter().rev().find(|(of, entered)| *of == peer && is_it(entered)).unwrap().1
    }

    pub(crate) fn welcome(&self, peer: u32) -> &pb::Welcome {
        &self.welcomes.iter().rev().find(|(welcomed, _)| *welcomed == peer).unwrap().1
    }

    /// Lets time pass, as a driver would; checks that the machine neither spins nor oversleeps.
    pub(crate) fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut lines = vec![];
        while let Some(due) = self.server.poll_timeout().filter(|&due| due <= end) {
            assert!(due > self.now, "nothing is due in the past: it would spin");
            self.now = due;
            lines.extend(self.timeout());
        }
        self.now = end;
        lines
    }

    /// One call of `handle_timeout`, now.
    pub(crate) fn timeout(&mut self) -> Vec<String> {
        self.server.handle_timeout(self.now);
        let lines = self.drain();
        assert!(self.server.poll_timeout().is_none_or(|due| due > self.now), "it would spin");
        lines
    }

    /// What the server wants done, and what the relay makes of it.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut lines = vec![];
        loop {
            lines.extend(self.drain_server());
            let relayed = self.voice.take();
            if relayed.is_empty() {
                return lines;
            }
            lines.extend(self.carry_out(relayed));
        }
    }

    fn carry_out(&mut self, relayed: Vec<Relayed>) -> Vec<String> {
        let mut lines = vec![];
        let mut datagrams: Vec<(DatagramKind, Vec<u8>, Vec<Peer>)> = vec![];
        for what in relayed {
            match what {
                Relayed::Datagram { kind, payload, to } => {
                    let peer = self.server.peer_of(to).expect("a listener is there");
                    match datagrams.last_mut() {
                        Some((last, same, to)) if *last == kind && *same == payload => to.push(peer),
                        _ => datagrams.push((kind, payload, vec![peer])),
                    }
                }
                Relayed::Tunnel { payload, to } => self.feed(Input::Voice { payload: &payload, to: &to }),
                Relayed::Alive(session) => self.feed(Input::Alive { session, at: self.now }),
            }
            lines.extend(self.drain_server());
        }
        // Whose turn it is to be first is no matter here.
        for (kind, payload, mut to) in datagrams {
            to.sort_unstable();
            lines.push(super::relayed(kind, &payload, &to));
        }
        lines
    }

    fn drain_server(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(output) = self.server.poll_output() {
            self.voice.obey(self.now, &output);
            if let Output::OpenPath { peer, session, .. } = output {
                self.sessions.push((peer, session));
            }
            if let Output::Keep { run, write } = &output {
                self.unkept.push_back((*run, write.clone()));
            }
            if let Output::Read { ticket, what } = &output {
                self.questions.push_back((*ticket, what.clone()));
            }
            if !matches!(output, Output::Relay(_)) {
                lines.push(server_output(&output));
            }
            if let Output::Send { bytes, to: [peer], .. } = output {
                let mut reader = FrameReader::default();
                reader.push(bytes);
                let peer = peer.index() as u32;
                while let Some(body) = reader.next_frame(usize::MAX).unwrap() {
                    match control::decode_to_client(body) {
                        Ok(Body::Message(to_client::Kind::Welcome(welcome))) => {
                            self.welcomes.push((peer, welcome));
                        }
                        Ok(Body::Message(to_client::Kind::Entered(entered))) => {
                            self.entered.push((peer, entered));
                        }
                        _ => {}
                    }
                }
            }
        }
        lines
    }
}

/// A client alone.
pub(crate) struct ClientRig {
    pub(crate) client: Client,
    pub(crate) now: Instant,
}

impl ClientRig {
    pub(crate) fn new() -> Self {
        Self::of(Rng::from_number(2))
    }

    /// One with these random numbers.
    pub(crate) fn of(rng: Rng) -> Self {
        Self::asking(rng, 0)
    }

    /// One that asks for so much of the history.
    pub(crate) fn with_history(history: usize) -> Self {
        Self::asking(Rng::from_number(2), history)
    }

    fn asking(rng: Rng, history: usize) -> Self {
        Self::in_rooms(rng, history, &[""])
    }

    /// One that wants to be in these rooms.
    pub(crate) fn in_rooms(rng: Rng, history: usize, rooms: &[&str]) -> Self {
        let now = Instant::from_micros(1_000_000);
        let rooms = rooms.iter().map(|&room| room.to_owned()).collect();
        let config = ClientConfig { name: "Foo".into(), rooms, software: "test".into(), history };
        Self { client: Client::new(now, config, rng), now }
    }

    /// One that is in the lobby with Bar, everybody's session and place as in `welcome` and `lobby`.
    pub(crate) fn welcomed() -> Self {
        let mut rig = Self::new();
        rig.input(ClientInput::Connected);
        rig.receive(Self::let_in());
        assert!(rig.client.is_in());
        rig.timeout();
        rig
    }

    /// What a server says to let it in.
    pub(crate) fn let_in() -> [to_client::Kind; 2] {
        [to_client::Kind::Welcome(Self::welcome()), to_client::Kind::Entered(Self::lobby())]
    }

    /// A welcome as session s1.0.
    pub(crate) fn welcome() -> pb::Welcome {
        pb::Welcome {
            version: 1,
            session: 1 << 20,
            name: "Foo".into(),
            resume_token: vec![7; 16],
            ..Default::default()
        }
    }

    /// Room 1 at place 2, Bar there as s1.1.
    pub(crate) fn lobby() -> pb::Entered {
        Self::entered(1, 1, "lobby", 2, &[(1 << 20, "Foo"), ((1 << 20) + 1, "Bar")])
    }

    /// The answer to a claim: a room at some place of the epoch 9, with these members.
    pub(crate) fn entered(
        key: u32,
        id: u32,
        name: &str,
        last_seq: u64,
        members: &[(u32, &str)],
    ) -> pb::Entered {
        let member = |&(session, name): &(u32, &str)| pb::Member {
            session,
            name: name.into(),
            voice: id,
            ..Default::default()
        };
        pb::Entered {
            key,
            room: Some(pb::Room { id, name: name.into(), epoch: 9, last_seq }),
            members: members.iter().map(member).collect(),
            member_count: members.len() as u32,
            ..Default::default()
        }
    }

    pub(crate) fn input(&mut self, input: ClientInput<'_>) -> Vec<String> {
        self.client.handle_input(self.now, input);
        self.drain()
    }

    pub(crate) fn receive(&mut self, kinds: impl IntoIterator<Item = to_client::Kind>) -> Vec<String> {
        let bytes = to_client(kinds);
        self.input(ClientInput::Received { bytes: &bytes })
    }

    pub(crate) fn say(&mut self, text: &str) -> Vec<String> {
        self.say_in(PlaceId::FIRST, text)
    }

    pub(crate) fn say_in(&mut self, place: PlaceId, text: &str) -> Vec<String> {
        self.client.say(place, text).unwrap();
        self.drain()
    }

    pub(crate) fn reconnect(&mut self) -> Vec<String> {
        let is_begun = self.client.reconnect(self.now);
        let lines = self.drain();
        assert_eq!(is_begun, !lines.is_empty());
        lines
    }

    pub(crate) fn quit(&mut self) -> Vec<String> {
        self.client.quit(self.now);
        self.drain()
    }

    pub(crate) fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut lines = vec![];
        while let Some(due) = self.client.poll_timeout().filter(|&due| due <= end) {
            // A client that begins, or was just welcomed, may want something at once.
            self.now = self.now.max(due);
            lines.extend(self.timeout());
        }
        self.now = end;
        lines
    }

    pub(crate) fn timeout(&mut self) -> Vec<String> {
        self.client.handle_timeout(self.now);
        let lines = self.drain();
        assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "it would spin");
        lines
    }

    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut lines = vec![];
        while let Some(output) = self.client.poll_output() {
            lines.push(client_output(&output));
        }
        lines
    }
}
