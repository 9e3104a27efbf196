//! The network and the clock: moves bytes and datagrams between nodes, late, out of order, twice or never, and plans
//! every event. Knows no machine.

mod nat;
mod streams;
mod udp;
pub(crate) mod way;

use std::collections::{BTreeMap, VecDeque};

use chinwag_proto::{
    Instant, Rng,
    limits::{CLASSIC_QUIET, CLASSIC_STUCK, CLOSE_LINGER},
    pacer::Pacer,
};

use self::{nat::Nat, udp::Datagram, way::Way};
use crate::{
    clock::Clock,
    queue::EventQueue,
    random::{Domain, MILLION, between, chance, pause_us, stream},
    scenario::Counts,
    sometimes::{Sometimes, Tally},
    spec::{Key, Spec},
    tcp::{ConnId, End, EndState, Side, Tcp},
    trace::{Mark, Node, Trace},
};

/// What came last over a parted link was sent again and again, with growing pauses.
const RETRANSMIT_US: u64 = 200_000;
/// One try to connect over a link that is down is never answered, the other is refused.
const UNANSWERED_PPM: u32 = MILLION / 2;
/// A cut link stays down for up to so long.
const DOWN_US: u64 = 3_000_000;
/// An end that learns of a cut learns of it within so long.
const NOTICE_US: u64 = 5_000_000;
/// Links that let no datagram through begin with it within so long.
const NO_UDP_WITHIN_US: u64 = 20_000_000;
/// Ends that never learn of a cut: they must find out by silence.
const HALF_OPEN_PPM: u32 = 250_000;
/// The server's system asks a silent classic peer whether it is there after so long: a machine that knows nothing of the connection
/// says so then. One that does not answer is given up after the user time-out, however often it was asked (as Linux has it).
const KEEPALIVE_US: u64 = CLASSIC_QUIET.as_micros() as u64;
pub(crate) const USER_TIMEOUT_US: u64 = CLASSIC_STUCK.as_micros() as u64;

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A person starts the client program.
    Join(u32),
    Quit(u32),
    Say(u32),
    Talk(u32),
    /// A person does something else.
    Wander(u32),
    /// A classic peer does something.
    Turn(u32),
    Listen(u32),
    Sound(u32),
    /// Something goes wrong.
    Fault(Fault),
    /// A node that was paused goes on, if it is time.
    Awake(Node),
    /// The server is started again.
    Restart,
    /// The next step of the script.
    Script,
    /// Something reaches a node.
    Brought(Brought),
    /// Tables are looked at.
    Audit,
    /// It is looked whether the phase is over.
    Check,
}

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A peer that means harm does something.
    Harm(u32),
    Cut(u32),
    Reset(u32),
    Rebind(u32),
    Partition,
    Crash,
    Fall(u32),
    Pause(Node),
    Jump(Node),
}

/// What the network or a clock brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Brought {
    Wake {
        node: Node,
        generation: u32,
    },
    Accepted(ConnId),
    Connected(ConnId),
    Segment {
        conn: ConnId,
        from: Side,
        bytes: u32,
    },
    Fin {
        conn: ConnId,
        from: Side,
    },
    Writable {
        conn: ConnId,
        from: Side,
    },
    /// It is time for the next write to a classic peer.
    Paced(ConnId),
    /// A link lets something through again from this side.
    Whole {
        link: u32,
        from: Side,
    },
    Broken {
        conn: ConnId,
        side: Side,
    },
    Linger {
        conn: ConnId,
        side: Side,
    },
    Datagram {
        slot: u32,
    },
}

impl From<Fault> for Event {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Brought> for Event {
    fn from(brought: Brought) -> Self {
        Self::Brought(brought)
    }
}

/// What an end has to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// So many bytes were put into the buffer.
    Bytes,
    /// The stream has ended.
    End,
    /// Nothing.
    Nothing,
}

/// The link between one client and the server.
#[derive(Debug)]
struct Link {
    ways: [Way; 2],
    faults: Rng,
    nat: Nat,
    down_until_us: u64,
    /// Nothing passes from this side until then.
    parted_until_us: [u64; 2],
    /// From when on no datagram passes, if it is one of those links.
    no_udp_from_us: u64,
}

pub(crate) struct Net<'a> {
    pub(crate) now_us: u64,
    pub(crate) queue: EventQueue<Event>,
    pub(crate) trace: Trace<'a>,
    pub(crate) counts: Counts,
    pub(crate) tally: Tally,
    pub(crate) spec: Spec,
    /// The server's, then each client's.
    clocks: Vec<Clock>,
    links: Vec<Link>,
    conns: BTreeMap<ConnId, Tcp>,
    next_conn: u32,
    dirty: Vec<(ConnId, Side)>,
    datagrams: Vec<Datagram>,
    free_slots: Vec<u32>,
    /// What whoever listens to the network caught last.
    caught: VecDeque<Vec<u8>>,
}

impl<'a> Net<'a> {
    /// A network of so many links: the clients', then the strangers'.
    pub(crate) fn new(seed: u64, spec: Spec, links: u32, trace: Trace<'a>) -> Self {
        let way = |udp, tcp, client| Way::new(stream(seed, udp, client), stream(seed, tcp, client));
        let link = |client| {
            let mut faults = stream(seed, Domain::Cuts, client);
            let has_no_udp = chance(&mut faults, spec.ppm(Key::NoUdp));
            let from_us = between(&mut faults, 0, NO_UDP_WITHIN_US);
            Link {
                ways: [
                    way(Domain::UdpUp, Domain::TcpUp, client),
                    way(Domain::UdpDown, Domain::TcpDown, client),
                ],
                faults,
                nat: Nat::new(client, stream(seed, Domain::Nat, client)),
                down_until_us: 0,
                parted_until_us: [0; 2],
                no_udp_from_us: if has_no_udp { from_us } else { u64::MAX },
            }
        };
        let clock = |index| {
            let most = i32::try_from(spec.get(Key::Drift)).unwrap_or(0);
            let drift = between(&mut stream(seed, Domain::Node, index), 0, 2 * spec.get(Key::Drift));
            Clock::new(i32::try_from(drift).unwrap_or(0) - most)
        };
        Self {
            now_us: 0,
            queue: EventQueue::default(),
            trace,
            counts: Counts::default(),
            tally: Tally::default(),
            spec,
            clocks: (0..=links).map(clock).collect(),
            links: (0..links).map(link).collect(),
            conns: BTreeMap::new(),
            next_conn: 0,
            dirty: Vec::new(),
            datagrams: Vec::new(),
            free_slots: Vec::new(),
            caught: VecDeque::new(),
        }
    }

    fn clock(&mut self, node: Node) -> &mut Clock {
        let index = match node {
            Node::Client(client) => client as usize + 1,
            Node::Server | Node::World => 0,
        };
        &mut self.clocks[index]
    }

    /// What a node's clock shows.
    pub(crate) fn now(&mut self, node: Node) -> Instant {
        let now_us = self.now_us;
        self.clock(node).at(now_us)
    }

    /// When a node's clock will show that, in the world's time.
    pub(crate) fn when(&mut self, node: Node, due: Instant) -> u64 {
        self.clock(node).when(due).max(self.now_us)
    }

    /// A node's clock jumps.
    pub(crate) fn jump(&mut self, node: Node, by_us: u64) {
        self.clock(node).jump(by_us);
        self.record(node, Mark::Jump, by_us, 0);
    }

    pub(crate) fn sometimes(&mut self, what: Sometimes) {
        self.tally.note(what);
    }

    /// Plans an event.
    pub(crate) fn at(&mut self, at_us: u64, event: impl Into<Event>) {
        self.queue.push(at_us, event.into());
    }

    /// Plans an event so long from now.
    pub(crate) fn after(&mut self, delay_us: u64, event: impl Into<Event>) {
        self.at(self.now_us + delay_us, event);
    }

    pub(crate) fn record(&mut self, node: Node, mark: Mark, a: u64, b: u64) {
        self.trace.record(self.now_us, node, mark, a, b);
    }

    pub(crate) fn conn(&mut self, conn: ConnId) -> Option<&mut Tcp> {
        self.conns.get_mut(&conn)
    }

    /// How many links there are.
    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    /// What is left of connections, for the check that everything came to rest.
    pub(crate) fn conns(&self) -> impl Iterator<Item = &Tcp> {
        self.conns.values()
    }

    pub(crate) fn state(&self, conn: ConnId, side: Side) -> EndState {
        self.conns.get(&conn).map_or(EndState::Closed, |tcp| tcp.end(side).state)
    }

    // Connections.

    /// A client connects: TCP and TLS take four ways.
    pub(crate) fn connect(&mut self, client: u32) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let mut tcp = Tcp::new(client);
        let (spec, now_us) = (self.spec, self.now_us);
        let is_down = self.is_down(client);
        let link = &mut self.links[client as usize];
        let way = link.ways[Side::Client as usize].segment_us(&spec, now_us, 0);
        if is_down {
            tcp.cut = true;
            tcp.end_mut(Side::Server).state = EndState::Closed;
            if chance(link.ways[Side::Client as usize].chances(), UNANSWERED_PPM) {
                self.sometimes(Sometimes::ConnectTimeout);
            } else {
                self.after(2 * way, Brought::Broken { conn, side: Side::Client });
            }
        } else {
            let [up, down] = link.parted_until_us;
            let begin_us = now_us.max(up).max(down);
            self.at(begin_us + 3 * way, Brought::Accepted(conn));
            self.at(begin_us + 4 * way, Brought::Connected(conn));
        }
        self.record(Node::Client(client), Mark::Connect, u64::from(conn.0), 0);
        self.conns.insert(conn, tcp);
        conn
    }

    /// A classic peer connects.
    pub(crate) fn connect_classic(&mut self, link: u32) -> ConnId {
        let conn = self.connect(link);
        if let Some(tcp) = self.conns.get_mut(&conn) {
            tcp.end_mut(Side::Server).pacer = Some(Pacer::default());
        }
        conn
    }

    /// The handshake of an end is done. False when the connection is gone by now.
    pub(crate) fn establish(&mut self, conn: ConnId, side: Side) -> bool {
        let Some(tcp) = self.conns.get_mut(&conn) else { return false };
        let is_wanted = !tcp.cut
            && tcp.end(side).state == EndState::Connecting
            && tcp.end(side.other()).state != EndState::Closed;
        if is_wanted {
            tcp.end_mut(side).state = EndState::Open;
        } else if side == Side::Server && tcp.end(side).state == EndState::Connecting {
            self.drop_end(conn, side);
        }
        is_wanted
    }

    /// An end writes what is queued and then closes.
    pub(crate) fn close(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let node = node(tcp.client, side);
        match tcp.end(side).state {
            EndState::Connecting => self.drop_end(conn, side),
            EndState::Open => {
                tcp.end_mut(side).state = EndState::Closing;
                self.record(node, Mark::Close, u64::from(conn.0), 0);
                self.dirty.push((conn, side));
                let linger = u64::try_from(CLOSE_LINGER.as_micros()).unwrap_or(u64::MAX);
                self.after(linger, Brought::Linger { conn, side });
            }
            EndState::Closing | EndState::Closed => {}
        }
    }

    /// An end is gone at once; the other one learns of it, unless the link is cut.
    pub(crate) fn drop_end(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let end = tcp.end_mut(side);
        let dropped = end.outbox.voice_dropped();
        self.counts.voice_dropped += dropped;
        if dropped > 0 {
            self.tally.note(Sometimes::VoiceDropped);
        }
        *end = End::closed();
        let (client, cut) = (tcp.client, tcp.cut);
        if tcp.is_over() {
            self.conns.remove(&conn);
        } else if !cut {
            self.reset(conn, client, side.other());
        }
    }

    /// An end is gone at once and nobody is told: its machine is dead. Whoever writes to it later learns of it.
    pub(crate) fn vanish(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        self.counts.voice_dropped += tcp.end(side).outbox.voice_dropped();
        *tcp.end_mut(side) = End::closed();
        if tcp.end(side.other()).pacer.is_some() {
            self.queue.push(self.now_us + KEEPALIVE_US, Brought::Broken { conn, side: side.other() }.into());
        }
        if tcp.is_over() {
            self.conns.remove(&conn);
        }
        self.sometimes(Sometimes::HalfOpen);
    }

    fn reset(&mut self, conn: ConnId, client: u32, side: Side) {
        let at_us = self.arrival_us(client, side.other(), 0);
        self.at(at_us, Brought::Broken { conn, side });
    }

    /// Breaks a client's link for a moment and every connection over it for good.
    pub(crate) fn cut(&mut self, client: u32) {
        let Some(link) = self.links.get_mut(client as usize) else { return };
        let down_us = between(&mut link.faults, 0, DOWN_US);
        link.down_until_us = link.down_until_us.max(self.now_us + down_us);
        for (&conn, tcp) in self.conns.iter_mut().filter(|(_, tcp)| tcp.client == client && !tcp.cut) {
            tcp.cut = true;
            for side in [Side::Client, Side::Server] {
                let notice_us = between(&mut link.faults, 0, NOTICE_US);
                let has_keepalive = tcp.end(side).pacer.is_some();
                let after_us = match chance(&mut link.faults, HALF_OPEN_PPM) {
                    false => notice_us,
                    true if has_keepalive => USER_TIMEOUT_US,
                    true => continue,
                };
                self.queue.push(self.now_us + after_us, Brought::Broken { conn, side }.into());
            }
        }
        let until = link.down_until_us;
        self.counts.cuts += 1;
        self.record(Node::Client(client), Mark::Cut, until, 0);
    }

    /// Every connection over a client's link is reset; the link stays up.
    pub(crate) fn reset_link(&mut self, client: u32) {
        let over = self.conns.iter().filter(|(_, tcp)| tcp.client == client && !tcp.cut);
        let conns: Vec<ConnId> = over.map(|(&conn, _)| conn).collect();
        for conn in conns {
            for side in [Side::Client, Side::Server] {
                self.after(0, Brought::Broken { conn, side });
            }
        }
        self.record(Node::Client(client), Mark::Reset, 0, 0);
    }

    /// Nothing passes over a client's link from these sides for so long; what TCP carries comes afterwards.
    pub(crate) fn part(&mut self, client: u32, sides: &[Side], for_us: u64) {
        let Some(link) = self.links.get_mut(client as usize) else { return };
        for &side in sides {
            let until_us = &mut link.parted_until_us[side as usize];
            *until_us = (*until_us).max(self.now_us + for_us);
            // Tries to send again were ever farther apart.
            let again_us = *until_us + between(&mut link.faults, 0, RETRANSMIT_US + for_us / 2);
            self.queue.push(again_us, Brought::Whole { link: client, from: side }.into());
        }
        self.record(Node::Client(client), Mark::Parted, for_us, sides.len() as u64);
    }

    /// What waited on one side of a link that was parted is sent.
    pub(crate) fn whole(&mut self, client: u32, from: Side) {
        let over = self.conns.iter().filter(|(_, tcp)| tcp.client == client);
        let conns: Vec<ConnId> = over.map(|(&conn, _)| conn).collect();
        for conn in conns {
            self.pump(conn, from);
        }
    }

    /// A client's link is down from now on, every connection over it dead, until the last heal.
    pub(crate) fn cast_out(&mut self, client: u32) {
        self.cut(client);
        if let Some(link) = self.links.get_mut(client as usize) {
            link.down_until_us = u64::MAX;
        }
    }

    /// A client's NAT gives it another address.
    pub(crate) fn rebind(&mut self, client: u32) {
        if let Some(link) = self.links.get_mut(client as usize) {
            link.nat.rebind();
            self.record(Node::Client(client), Mark::Rebind, 0, 0);
        }
    }

    /// Plans what happens to a client's link again and again, on the mean every so many seconds as `key` says.
    pub(crate) fn plan(&mut self, client: u32, key: Key, event: impl Into<Event>) {
        let mean_us = self.spec.seconds_us(key);
        if let Some(link) = self.links.get_mut(client as usize).filter(|_| mean_us > 0) {
            let pause = pause_us(&mut link.faults, mean_us);
            self.after(pause, event);
        }
    }

    /// Ends all faults; what they broke stays broken, and who is cast out stays so.
    pub(crate) fn heal(&mut self) {
        self.spec = self.spec.healed();
        for link in &mut self.links {
            if link.down_until_us != u64::MAX {
                link.down_until_us = self.now_us;
            }
            link.parted_until_us = [self.now_us; 2];
            link.no_udp_from_us = u64::MAX;
        }
        for link in 0..u32::try_from(self.links.len()).unwrap_or(0) {
            for from in [Side::Client, Side::Server] {
                self.after(0, Brought::Whole { link, from });
            }
        }
    }

    /// Lets everybody in again who was cast out.
    pub(crate) fn forgive(&mut self) {
        for link in &mut self.links {
            link.down_until_us = link.down_until_us.min(self.now_us);
        }
    }

    /// True when nothing passes over a client's link.
    pub(crate) fn is_down(&self, client: u32) -> bool {
        self.links.get(client as usize).is_some_and(|link| self.now_us < link.down_until_us)
    }

    /// For how long no datagram has got through over a client's link by its nature.
    pub(crate) fn without_udp_us(&self, client: u32) -> u64 {
        let link = self.links.get(client as usize);
        link.map_or(0, |link| self.now_us.saturating_sub(link.no_udp_from_us))
    }
}

/// The node at one side of a client's link.
pub(crate) fn node(client: u32, side: Side) -> Node {
    match side {
        Side::Client => Node::Client(client),
        Side::Server => Node::Server,
    }
}
