//! The network and the clock: moves bytes and datagrams between nodes, late, out of order, twice or never, and plans
//! every event. Knows no machine.

mod udp;

use std::{collections::BTreeMap, net::SocketAddr};

use chinwag_proto::{
    Instant, Rng,
    limits::CLOSE_LINGER,
    outbox::{Class, Overflow},
};

use self::udp::Datagram;
use crate::{
    netspec::NetSpec,
    queue::EventQueue,
    random::{Domain, between, chance, stream},
    scenario::Counts,
    tcp::{ConnId, End, EndState, Side, Tcp, WINDOW_BYTES},
    trace::{Mark, Node, Trace, hash},
};

/// Bytes of the largest segment.
const SEGMENT_BYTES: u64 = 1460;
/// One segment in so many is tiny.
const TINY_SEGMENTS: u64 = 8;
/// What a lost segment costs on top of two ways.
const RETRANSMIT_US: u64 = 200_000;
/// A cut link stays down for up to so long.
const DOWN_US: u64 = 3_000_000;
/// An end that learns of a cut learns of it within so long.
const NOTICE_US: u64 = 5_000_000;
/// Ends that never learn of a cut: they must find out by silence.
const HALF_OPEN_PPM: u32 = 250_000;

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Join(u32),
    Quit(u32),
    Say(u32),
    Talk(u32),
    Sound(u32),
    Cut(u32),
    Wake { node: Node, generation: u32 },
    Accepted(ConnId),
    Connected(ConnId),
    Segment { conn: ConnId, from: Side, bytes: u32 },
    Fin { conn: ConnId, from: Side },
    Writable { conn: ConnId, from: Side },
    Broken { conn: ConnId, side: Side },
    Linger { conn: ConnId, side: Side },
    Datagram { slot: u32 },
    Check,
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
    udp: [Rng; 2],
    tcp: [Rng; 2],
    cuts: Rng,
    down_until_us: u64,
}

pub(crate) struct Net<'a> {
    pub(crate) now_us: u64,
    pub(crate) queue: EventQueue<Event>,
    pub(crate) trace: Trace<'a>,
    pub(crate) counts: Counts,
    spec: NetSpec,
    links: Vec<Link>,
    conns: BTreeMap<ConnId, Tcp>,
    next_conn: u32,
    dirty: Vec<(ConnId, Side)>,
    datagrams: Vec<Datagram>,
    free_slots: Vec<u32>,
}

impl<'a> Net<'a> {
    pub(crate) fn new(seed: u64, spec: NetSpec, clients: u32, trace: Trace<'a>) -> Self {
        let link = |client| Link {
            udp: [stream(seed, Domain::UdpUp, client), stream(seed, Domain::UdpDown, client)],
            tcp: [stream(seed, Domain::TcpUp, client), stream(seed, Domain::TcpDown, client)],
            cuts: stream(seed, Domain::Cuts, client),
            down_until_us: 0,
        };
        Self {
            now_us: 0,
            queue: EventQueue::default(),
            trace,
            counts: Counts::default(),
            spec,
            links: (0..clients).map(link).collect(),
            conns: BTreeMap::new(),
            next_conn: 0,
            dirty: Vec::new(),
            datagrams: Vec::new(),
            free_slots: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.queue.push(self.now_us + delay_us, event);
    }

    pub(crate) fn record(&mut self, node: Node, mark: Mark, a: u64, b: u64) {
        self.trace.record(self.now_us, node, mark, a, b);
    }

    /// Where datagrams of a client come from.
    pub(crate) fn address(client: u32) -> SocketAddr {
        let [_, high, middle, low] = client.to_be_bytes();
        SocketAddr::from(([10, high, middle, low], 40_000))
    }

    pub(crate) fn conn(&mut self, conn: ConnId) -> Option<&mut Tcp> {
        self.conns.get_mut(&conn)
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
        let rng = &mut self.links[client as usize].tcp[Side::Client as usize];
        let way = self.spec.delay_us + rng.below(self.spec.jitter_us + 1);
        if self.is_down(client) {
            tcp.cut = true;
            tcp.end_mut(Side::Server).state = EndState::Closed;
            self.after(2 * way, Event::Broken { conn, side: Side::Client });
        } else {
            self.after(3 * way, Event::Accepted(conn));
            self.after(4 * way, Event::Connected(conn));
        }
        self.record(Node::Client(client), Mark::Connect, u64::from(conn.0), 0);
        self.conns.insert(conn, tcp);
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

    /// Queues whole frames at an end.
    pub(crate) fn send(
        &mut self,
        conn: ConnId,
        side: Side,
        class: Class,
        bytes: &[u8],
    ) -> Result<(), Overflow> {
        let Some(tcp) = self.conns.get_mut(&conn) else { return Ok(()) };
        let end = tcp.end_mut(side);
        end.outbox.push(class, bytes)?;
        if !std::mem::replace(&mut end.dirty, true) {
            self.dirty.push((conn, side));
        }
        Ok(())
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
                self.after(linger, Event::Linger { conn, side });
            }
            EndState::Closing | EndState::Closed => {}
        }
    }

    /// An end is gone at once; the other one learns of it, unless the link is cut.
    pub(crate) fn drop_end(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let end = tcp.end_mut(side);
        self.counts.voice_dropped += end.outbox.voice_dropped();
        *end = End::closed();
        let (client, cut) = (tcp.client, tcp.cut);
        if tcp.is_over() {
            self.conns.remove(&conn);
        } else if !cut {
            self.reset(conn, client, side.other());
        }
    }

    fn reset(&mut self, conn: ConnId, client: u32, side: Side) {
        let way = self.way(client, side.other());
        self.after(way, Event::Broken { conn, side });
    }

    /// Writes what was queued since the last time. Called once for each wake-up of a node.
    pub(crate) fn flush(&mut self) {
        while let Some((conn, side)) = self.dirty.pop() {
            if let Some(tcp) = self.conns.get_mut(&conn) {
                tcp.end_mut(side).dirty = false;
            }
            self.pump(conn, side);
        }
    }

    /// Moves bytes from an outbox into the pipe, as many as fit, and cuts them into segments.
    pub(crate) fn pump(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let client = tcp.client;
        let (end, pipe) = tcp.writer(side);
        if matches!(end.state, EndState::Connecting | EndState::Closed) || end.fin_sent {
            return;
        }
        let before = pipe.bytes.len();
        while let Some(front) = end.outbox.front() {
            let count = front.len().min(WINDOW_BYTES - pipe.bytes.len());
            if count == 0 {
                break;
            }
            pipe.bytes.extend(&front[..count]);
            end.outbox.consume(count);
        }
        pipe.blocked = !end.outbox.is_empty();
        let is_done = end.state == EndState::Closing && !pipe.blocked;
        end.fin_sent = is_done;
        let (mut left, mut arrival) = ((pipe.bytes.len() - before) as u64, pipe.last_arrival_us);
        while left > 0 {
            let rng = &mut self.links[client as usize].tcp[side as usize];
            let longest = if rng.below(TINY_SEGMENTS) == 0 { 8 } else { SEGMENT_BYTES };
            let bytes = (1 + rng.below(longest)).min(left);
            left -= bytes;
            arrival = arrival.max(self.now_us + self.way(client, side));
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.queue.push(arrival, Event::Segment { conn, from: side, bytes });
        }
        if is_done {
            arrival = arrival.max(self.now_us + self.way(client, side));
            self.queue.push(arrival, Event::Fin { conn, from: side });
        }
        if let Some(tcp) = self.conns.get_mut(&conn) {
            tcp.pipe_mut(side).last_arrival_us = arrival;
        }
    }

    /// How long the next segment takes.
    fn way(&mut self, client: u32, from: Side) -> u64 {
        let NetSpec { delay_us, jitter_us, stall_ppm, .. } = self.spec;
        let rng = &mut self.links[client as usize].tcp[from as usize];
        let way = delay_us + rng.below(jitter_us + 1);
        if chance(rng, stall_ppm) { way + RETRANSMIT_US + 2 * delay_us } else { way }
    }

    /// A segment arrives: true when there is something to read at the other end.
    pub(crate) fn segment(&mut self, conn: ConnId, from: Side, bytes: u32) -> bool {
        let Some(tcp) = self.conns.get_mut(&conn) else { return false };
        if tcp.cut {
            return false;
        }
        let client = tcp.client;
        tcp.pipe_mut(from).arrived += bytes as usize;
        match tcp.end(from.other()).state {
            EndState::Open => !tcp.end(from.other()).paused,
            EndState::Connecting => false,
            EndState::Closing => {
                // Read and thrown away, so that a goodbye behind it still gets out.
                self.read(conn, from.other(), &mut Vec::new());
                false
            }
            EndState::Closed => {
                self.reset(conn, client, from);
                false
            }
        }
    }

    /// The end of a stream arrives: true when there is something to read at the other end.
    pub(crate) fn fin(&mut self, conn: ConnId, from: Side) -> bool {
        let Some(tcp) = self.conns.get_mut(&conn) else { return false };
        if tcp.cut {
            return false;
        }
        let node = node(tcp.client, from.other());
        tcp.pipe_mut(from).fin_arrived = true;
        let (state, paused) = (tcp.end(from.other()).state, tcp.end(from.other()).paused);
        self.record(node, Mark::Fin, u64::from(conn.0), 0);
        match state {
            EndState::Open => !paused,
            EndState::Connecting => false,
            EndState::Closing => {
                self.finish(conn, from.other());
                false
            }
            EndState::Closed => false,
        }
    }

    /// Both sides have said that they are done; what the end still has to write goes on its way first.
    fn finish(&mut self, conn: ConnId, side: Side) {
        self.pump(conn, side);
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        if tcp.end(side).fin_sent || tcp.end(side.other()).state == EndState::Closed {
            tcp.end_mut(side).state = EndState::Closed;
            if tcp.is_over() {
                self.conns.remove(&conn);
            }
        }
    }

    /// Takes what has arrived at an end.
    pub(crate) fn read(&mut self, conn: ConnId, side: Side, buffer: &mut Vec<u8>) -> Read {
        let Some(tcp) = self.conns.get_mut(&conn) else { return Read::Nothing };
        let client = tcp.client;
        let pipe = tcp.pipe_mut(side.other());
        if pipe.arrived == 0 {
            return if pipe.fin_arrived { Read::End } else { Read::Nothing };
        }
        buffer.clear();
        buffer.extend(pipe.bytes.drain(..pipe.arrived));
        pipe.arrived = 0;
        if std::mem::take(&mut pipe.blocked) {
            let way = self.way(client, side);
            self.after(way, Event::Writable { conn, from: side.other() });
        }
        self.record(node(client, side), Mark::Stream, buffer.len() as u64, hash(buffer));
        Read::Bytes
    }

    /// Breaks a client's link for a moment and every connection over it for good.
    pub(crate) fn cut(&mut self, client: u32) {
        let Some(link) = self.links.get_mut(client as usize) else { return };
        link.down_until_us = self.now_us + between(&mut link.cuts, 0, DOWN_US);
        for (&conn, tcp) in self.conns.iter_mut().filter(|(_, tcp)| tcp.client == client && !tcp.cut) {
            tcp.cut = true;
            for side in [Side::Client, Side::Server] {
                let notice_us = between(&mut link.cuts, 0, NOTICE_US);
                if !chance(&mut link.cuts, HALF_OPEN_PPM) {
                    self.queue.push(self.now_us + notice_us, Event::Broken { conn, side });
                }
            }
        }
        let until = link.down_until_us;
        self.counts.cuts += 1;
        self.record(Node::Client(client), Mark::Cut, until, 0);
    }

    /// Plans the next cut of a client's link.
    pub(crate) fn plan_cut(&mut self, client: u32) {
        if self.spec.cut_every_us > 0 {
            let pause = between(&mut self.links[client as usize].cuts, 1, 2 * self.spec.cut_every_us);
            self.after(pause, Event::Cut(client));
        }
    }

    /// Ends all faults; what they broke stays broken.
    pub(crate) fn heal(&mut self) {
        self.spec = self.spec.healed();
        for link in &mut self.links {
            link.down_until_us = self.now_us;
        }
    }

    fn is_down(&self, client: u32) -> bool {
        self.links.get(client as usize).is_some_and(|link| self.now_us < link.down_until_us)
    }
}

/// The node at one side of a client's link.
pub(crate) fn node(client: u32, side: Side) -> Node {
    match side {
        Side::Client => Node::Client(client),
        Side::Server => Node::Server,
    }
}
