//! Voice through a [`Relay`], whose datagrams go nowhere.

use std::{hint::black_box, net::SocketAddr};

use chinwag_proto::{
    Duration, Instant, RoomId, SessionId,
    limits::DATAGRAM_BYTES,
    relay::{Arrival, Egress, Order, Relay, RelayStats, VoicePath},
    wire::{
        path::{DatagramKind, Draft, Seal, SealedPath, TAG_BYTES},
        voice::VoiceFrame,
    },
};

/// Bytes of an Opus packet: 10 ms of speech at 64 kb/s.
const OPUS_BYTES: usize = 80;
const FRAME: Duration = Duration::from_millis(10);

/// Seals nothing and takes everything: costs next to nothing, so that the core itself is seen.
#[derive(Debug)]
pub struct Open;

impl Seal for Open {
    fn seal(&self, _counter: u64, _header: &[u8], _payload: &mut [u8]) -> [u8; TAG_BYTES] {
        [0; TAG_BYTES]
    }

    fn open(&self, _counter: u64, _header: &[u8], _sealed: &mut [u8]) -> bool {
        true
    }
}

/// One room, where everybody listens by datagram and some talk.
#[derive(Debug)]
pub struct VoiceRig<S> {
    relay: Relay<S>,
    talkers: Vec<Talker<S>>,
    now: Instant,
    sink: Sink,
}

#[derive(Debug)]
struct Talker<S> {
    /// The talker's end of the sealed path.
    end: SealedPath<S>,
    payload: Vec<u8>,
    /// What was said last, sealed.
    datagram: Vec<u8>,
}

impl<S: Seal> VoiceRig<S> {
    /// So many talkers, each of whom is heard by so many listeners, the other talkers among them. `seals` makes the ends of
    /// one path: the relay's, then the member's.
    ///
    /// # Panics
    ///
    /// When there are fewer listeners than other talkers.
    pub fn new(talkers: usize, listeners: usize, mut seals: impl FnMut() -> (S, S)) -> Self {
        assert!(talkers <= listeners + 1, "all talkers listen");
        let mut rig = Self {
            relay: Relay::default(),
            talkers: vec![],
            now: Instant::from_micros(1_000_000),
            sink: Sink::default(),
        };
        for index in 0..=listeners {
            let session = SessionId::from_wire((1 << 20) | index as u32);
            let (relays, members) = seals();
            rig.relay.open(session, Some(RoomId::from_wire(1)), Some(relays));
            let mut end = SealedPath::new(session, members);
            // What shows the relay where datagrams for it go.
            let mut datagram = vec![];
            end.seal(DatagramKind::Echo, &[], &mut datagram);
            rig.arrive(&mut datagram);
            rig.relay.obey(rig.now, Order::Listen { session, path: VoicePath::Udp }, &mut rig.sink);
            if index < talkers {
                rig.talkers.push(Talker { end, payload: spoken(session), datagram });
            }
        }
        rig
    }

    /// Each talker says 10 ms, so many times.
    pub fn talk(&mut self, times: usize) {
        let mut talkers = std::mem::take(&mut self.talkers);
        for _ in 0..times {
            self.now = self.now + FRAME;
            for Talker { end, payload, datagram } in &mut talkers {
                datagram.clear();
                end.seal(DatagramKind::Voice, payload, datagram);
                self.arrive(datagram);
            }
            self.relay.handle_timeout(self.now, &mut self.sink);
        }
        self.talkers = talkers;
    }

    /// What the relay counted.
    pub fn stats(&self) -> RelayStats {
        self.relay.stats()
    }

    fn arrive(&mut self, bytes: &mut [u8]) {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let arrival = Arrival { socket: 0, from, waited: Duration::ZERO, bytes };
        let taken = self.relay.handle_datagram(self.now, arrival, &mut self.sink);
        assert_eq!(taken, Ok(()));
    }
}

fn spoken(talker: SessionId) -> Vec<u8> {
    let mut payload = vec![];
    VoiceFrame { talker, sequence: 1, end: false, level: 30, opus: &[9; OPUS_BYTES] }.write(&mut payload);
    payload
}

/// Throws all away, from one buffer.
#[derive(Debug)]
struct Sink(Vec<u8>);

impl Default for Sink {
    fn default() -> Self {
        Self(Vec::with_capacity(DATAGRAM_BYTES))
    }
}

impl<S: Seal> Egress<S> for Sink {
    fn datagram(&mut self, socket: usize, to: SocketAddr, draft: Draft<'_, S>) {
        self.0.clear();
        draft.write_sealed(&mut self.0);
        black_box((socket, to, &self.0));
    }

    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        to.for_each(|session| {
            black_box((payload, session));
        });
        true
    }

    fn alive(&mut self, now: Instant, session: SessionId) {
        black_box((now, session));
    }
}
