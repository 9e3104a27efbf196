//! The relay beside the server's machine, and what on real sockets are threads: what it wants of the machine is seen when its hold
//! is over, and several threads seal and send what it drafts, in no common order.

use std::{collections::VecDeque, net::SocketAddr};

use chinwag_proto::{
    Duration, Instant, SessionId,
    limits::DATAGRAM_BYTES,
    relay::{Arrival, Egress, Order, Relay},
    wire::path::{Draft, OpenError, seal_in_place},
};

use crate::{
    net::Net,
    seal::ToySeal,
    sometimes::Sometimes,
    spec::{Key, Spec},
    trace::Node,
};

/// What the relay wants of the machine.
pub(super) enum Relayed {
    Tunnel(Vec<u8>, Vec<SessionId>),
    Alive(SessionId, Instant),
}

/// How the relay is run.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// How long voice waits for more of it, and as long until the machine sees what the relay wants of it: both are threads of their own.
    hold: Duration,
    /// How many seal and send.
    threads: usize,
}

impl Manner {
    pub(crate) fn of(spec: &Spec) -> Self {
        let threads = usize::try_from(spec.get(Key::Threads)).unwrap_or(usize::MAX);
        Self { hold: Duration::from_micros(spec.get(Key::Hold)), threads }
    }
}

pub(super) struct RelayNode {
    pub(super) relay: Relay<ToySeal>,
    pub(super) manner: Manner,
    /// What it wants of the machine, and when that sees it.
    back: VecDeque<(Instant, Relayed)>,
    drafts: Vec<(SocketAddr, Vec<u8>, ToySeal)>,
}

/// Where its output goes.
struct Sink<'a> {
    /// When what is handed back now is seen.
    seen: Instant,
    back: &'a mut VecDeque<(Instant, Relayed)>,
    drafts: &'a mut Vec<(SocketAddr, Vec<u8>, ToySeal)>,
}

impl Egress<ToySeal> for Sink<'_> {
    fn datagram(&mut self, _socket: usize, to: SocketAddr, draft: Draft<'_, ToySeal>) {
        let mut bytes = Vec::with_capacity(DATAGRAM_BYTES);
        let seal = *draft.write(&mut bytes);
        self.drafts.push((to, bytes, seal));
    }

    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        self.back.push_back((self.seen, Relayed::Tunnel(payload.to_vec(), to.collect())));
        true
    }

    fn alive(&mut self, now: Instant, session: SessionId) {
        self.back.push_back((self.seen, Relayed::Alive(session, now)));
    }
}

impl RelayNode {
    pub(super) fn new(manner: Manner) -> Self {
        let mut relay = Relay::default();
        relay.set_hold(manner.hold);
        Self { relay, manner, back: VecDeque::new(), drafts: Vec::new() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let seen = self.back.front().map(|(seen, _)| *seen);
        self.relay.poll_timeout().into_iter().chain(seen).min()
    }

    /// Nobody is left who would see anything.
    pub(super) fn crash(&mut self) {
        self.back.clear();
    }

    pub(super) fn obey(&mut self, net: &mut Net<'_>, order: Order<'_>) {
        self.with_sink(net, |relay, now, sink| relay.obey(now, order, sink));
    }

    pub(super) fn datagram(
        &mut self,
        net: &mut Net<'_>,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Result<(), OpenError> {
        let arrival = Arrival { socket: 0, from, waited: Duration::ZERO, bytes };
        self.with_sink(net, |relay, now, sink| relay.handle_datagram(now, arrival, sink))
    }

    /// Passes on what is due.
    pub(super) fn pass_on(&mut self, net: &mut Net<'_>) {
        let now = net.now(Node::Server);
        if self.relay.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let before = self.relay.stats();
        self.with_sink(net, |relay, now, sink| relay.handle_timeout(now, sink));
        let after = self.relay.stats();
        net.counts.datagrams_homeless += after.voice_unsent - before.voice_unsent;
        if after.voice_out - before.voice_out > after.datagrams_out - before.datagrams_out {
            net.sometimes(Sometimes::VoiceShared);
        }
    }

    /// What the machine sees by now.
    pub(super) fn handed_back(&mut self, now: Instant) -> Option<Relayed> {
        self.back.front().filter(|(seen, _)| *seen <= now)?;
        self.back.pop_front().map(|(_, relayed)| relayed)
    }

    /// Seals and sends: one thread in order, of several the last first, each its share.
    pub(super) fn send(&mut self, net: &mut Net<'_>) {
        let threads = self.manner.threads.max(1);
        if threads > 1 && self.drafts.len() > 1 {
            net.sometimes(Sometimes::SentByThreads);
        }
        for thread in (0..threads).rev() {
            for (to, bytes, seal) in self.drafts.iter_mut().skip(thread).step_by(threads) {
                seal_in_place(seal, bytes);
                net.send_sealed(*to, std::mem::take(bytes));
            }
        }
        self.drafts.clear();
    }

    /// What one thread makes is sent at once.
    fn with_sink<T>(
        &mut self,
        net: &mut Net<'_>,
        act: impl FnOnce(&mut Relay<ToySeal>, Instant, &mut Sink<'_>) -> T,
    ) -> T {
        let now = net.now(Node::Server);
        let Self { relay, manner, back, drafts } = self;
        let result = act(relay, now, &mut Sink { seen: now + manner.hold, back, drafts });
        if self.manner.threads <= 1 {
            self.send(net);
        }
        result
    }
}
