//! Members of a [`Server`], whose outputs are thrown away.

use std::hint::black_box;

use chinwag_proto::{
    Duration, Instant, Peer, Rng, limits,
    server::{Dialect, Input, Server, ServerStats},
    wire::{chinwag1 as pb, control},
};

/// Between what happens: 10 who speak in turn stay within their rate.
const STEP: Duration = Duration::from_millis(1);

/// All in one room. What they send is written beforehand, so that reading it is what is measured.
#[derive(Debug)]
pub struct ServerRig {
    server: Server,
    now: Instant,
    hellos: Vec<Vec<u8>>,
    quit: Vec<u8>,
}

impl ServerRig {
    /// Room for so many, none of whom has come.
    pub fn new(members: usize) -> Self {
        let hello = |index| {
            let (versions, name) = (vec![control::VERSION], format!("member {index}"));
            let rooms = vec![pb::Claim { key: 1, ..Default::default() }];
            let hello = pb::Hello { versions, name, rooms, voice: 1, ..Default::default() };
            framed([pb::to_server::Kind::Hello(hello)])
        };
        Self {
            server: Server::new(limits::SESSIONS, Rng::from_number(1)),
            now: Instant::from_micros(1_000_000),
            hellos: (0..members).map(hello).collect(),
            quit: framed([pb::to_server::Kind::Quit(pb::Quit {})]),
        }
    }

    /// All who are not there come.
    pub fn join_all(&mut self) {
        (0..self.hellos.len()).for_each(|index| self.join(index));
    }

    /// Somebody comes.
    pub fn join(&mut self, index: usize) {
        self.happen(Input::Accepted { peer: peer(index), dialect: Dialect::Native });
        let hello = std::mem::take(&mut self.hellos[index]);
        self.happen(Input::Received { peer: peer(index), bytes: &hello });
        self.hellos[index] = hello;
    }

    /// Somebody quits.
    pub fn quit(&mut self, index: usize) {
        let quit = std::mem::take(&mut self.quit);
        self.happen(Input::Received { peer: peer(index), bytes: &quit });
        self.happen(Input::Closed { peer: peer(index) });
        self.quit = quit;
    }

    /// So many texts, each for [`ServerRig::receive`].
    ///
    /// # Panics
    ///
    /// When nobody is there.
    pub fn texts(&self, count: usize) -> Vec<Vec<u8>> {
        let room = self.server.hub().room_names().next().expect("somebody is in a room").0.to_wire();
        let say = |number| {
            let text = format!("message {number}, of about the length that most of them have");
            framed([pb::to_server::Kind::Say(pb::Say { room, id: number as u64 + 1, text })])
        };
        (0..count).map(say).collect()
    }

    /// Bytes of a member arrive.
    pub fn receive(&mut self, index: usize, bytes: &[u8]) {
        self.happen(Input::Received { peer: peer(index), bytes });
    }

    /// How many are there.
    pub fn members(&self) -> usize {
        self.server.hub().members()
    }

    /// What the server counted.
    pub fn stats(&self) -> ServerStats {
        self.server.stats()
    }

    fn happen(&mut self, input: Input<'_>) {
        self.now = self.now + STEP;
        self.server.handle_input(self.now, input);
        self.drain();
        if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            black_box(output);
        }
    }
}

fn peer(index: usize) -> Peer {
    Peer::new(index as u32)
}

fn framed(kinds: impl IntoIterator<Item = pb::to_server::Kind>) -> Vec<u8> {
    let mut bytes = vec![];
    kinds.into_iter().for_each(|kind| control::write_to_server(&mut bytes, kind));
    bytes
}
