//! The relay beside a server, and its peers' ends of the sealed paths, on which nothing is secret.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

pub(crate) use chinwag_bench::Open;
use chinwag_proto::{
    Duration, Instant, RoomId, SessionId,
    relay::{Arrival, Egress, Order, Relay},
    server::Output,
    wire::path::{DatagramKind, Draft, HEADER_BYTES, Header, Seal, SealedPath, TAG_BYTES},
};

/// What the relay wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Relayed {
    Datagram { kind: DatagramKind, payload: Vec<u8>, to: SessionId },
    Tunnel { payload: Vec<u8>, to: Vec<SessionId> },
    Alive(SessionId),
}

#[derive(Default)]
struct Sink(Vec<Relayed>);

impl<S: Seal> Egress<S> for Sink {
    fn datagram(&mut self, _socket: usize, to: SocketAddr, draft: Draft<'_, S>) {
        let mut bytes = vec![];
        draft.write_sealed(&mut bytes);
        let kind = Header::parse(&bytes).expect("a datagram of ours").kind;
        let SocketAddr::V4(to) = to else { panic!("only IPv4 is here") };
        let payload = bytes[HEADER_BYTES..bytes.len() - TAG_BYTES].to_vec();
        self.0.push(Relayed::Datagram { kind, payload, to: SessionId::from_wire(to.ip().to_bits()) });
    }

    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        self.0.push(Relayed::Tunnel { payload: payload.to_vec(), to: to.collect() });
        true
    }

    fn alive(&mut self, _now: Instant, session: SessionId) {
        self.0.push(Relayed::Alive(session));
    }
}

#[derive(Default)]
pub(crate) struct VoiceRig {
    pub(crate) relay: Relay<Open>,
    ends: BTreeMap<SessionId, SealedPath<Open>>,
    sink: Sink,
}

impl VoiceRig {
    /// Does what is the relay's of what the server wants done.
    pub(crate) fn obey(&mut self, now: Instant, output: &Output<'_>) {
        match *output {
            Output::OpenPath { session, room, .. } => self.open(now, session, room),
            Output::Relay(order) => {
                self.order(now, order);
                self.due(now);
            }
            Output::Send { .. }
            | Output::Overheard { .. }
            | Output::Pause { .. }
            | Output::Unpause { .. }
            | Output::Close { .. }
            | Output::Report { .. }
            | Output::Keep { .. }
            | Output::Read { .. }
            | Output::Unread { .. }
            | Output::Event(_) => {}
        }
    }

    /// A session is let in, and has shown the relay where it is.
    pub(crate) fn open(&mut self, now: Instant, session: SessionId, room: Option<RoomId>) {
        self.relay.open(session, room, Some(Open));
        self.ends.insert(session, SealedPath::new(session, Open));
        self.datagram(now, session, DatagramKind::Echo, &[]);
        self.sink.0.retain(|what| !matches!(what, Relayed::Alive(_)));
    }

    pub(crate) fn order(&mut self, now: Instant, order: Order<'_>) {
        self.relay.obey(now, order, &mut self.sink);
    }

    /// A session's peer sends a datagram, and all that is due is done.
    pub(crate) fn datagram(&mut self, now: Instant, session: SessionId, kind: DatagramKind, payload: &[u8]) {
        self.arrive(now, session, kind, payload, Duration::ZERO);
        self.due(now);
    }

    /// The same, after it waited for so long in the system's queue; what is due is not done yet.
    pub(crate) fn arrive(
        &mut self,
        now: Instant,
        session: SessionId,
        kind: DatagramKind,
        payload: &[u8],
        waited: Duration,
    ) {
        let Some(end) = self.ends.get_mut(&session) else { return };
        let mut bytes = vec![];
        end.seal(kind, payload, &mut bytes);
        let from = SocketAddr::from((Ipv4Addr::from_bits(session.to_wire()), 1));
        let arrival = Arrival { socket: 0, from, waited, bytes: &mut bytes };
        // It says no to those who have left.
        let _ = self.relay.handle_datagram(now, arrival, &mut self.sink);
    }

    pub(crate) fn due(&mut self, now: Instant) {
        if self.relay.poll_timeout().is_some_and(|due| due <= now) {
            self.relay.handle_timeout(now, &mut self.sink);
        }
        assert!(self.relay.poll_timeout().is_none_or(|due| due > now), "it would spin");
        self.relay.audit().unwrap();
    }

    /// What the relay wanted done since it was asked last.
    pub(crate) fn take(&mut self) -> Vec<Relayed> {
        std::mem::take(&mut self.sink.0)
    }
}
