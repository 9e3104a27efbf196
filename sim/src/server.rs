//! The server: the machine and a driver between it and the network, which does what the driver of real sockets does.

use std::{collections::BTreeMap, net::SocketAddr};

use chinwag_proto::{
    Peer, Rng, Seq,
    server::{Input, Output, Server, ServerEvent},
    wire::path::{Header, SealedPath},
};

use crate::{
    check::Checker,
    net::{Net, Read},
    seal::ToySeal,
    tcp::{ConnId, Side},
    trace::{Mark, Node},
    world::Alarm,
};

/// See [`ServerNode::work`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Overflow(Peer),
    Read(ConnId),
}

pub(crate) struct ServerNode {
    pub(crate) machine: Server,
    /// The connection behind each handle; a handle is used again as soon as it is free.
    conns: Vec<Option<ConnId>>,
    peers: BTreeMap<ConnId, Peer>,
    alarm: Alarm,
    /// Who just joined, until its path is opened: then it is known where.
    joined: Option<String>,
    /// What is to be told to the machine once its outputs are drained.
    work: Vec<Work>,
    buffer: Vec<u8>,
    clients: u32,
}

impl ServerNode {
    pub(crate) fn new(clients: u32, seed: Rng) -> Self {
        Self {
            machine: Server::new(clients as usize, seed),
            conns: Vec::new(),
            peers: BTreeMap::new(),
            alarm: Alarm::default(),
            joined: None,
            work: Vec::new(),
            buffer: Vec::new(),
            clients,
        }
    }

    /// True when there is no connection.
    pub(crate) fn is_alone(&self) -> bool {
        self.peers.is_empty()
    }

    // What the network brings.

    pub(crate) fn accepted(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if !net.establish(conn, Side::Server) {
            return;
        }
        let free = self.conns.iter().position(Option::is_none).unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let peer = Peer::new(u32::try_from(free).unwrap_or(u32::MAX));
        self.conns[free] = Some(conn);
        self.peers.insert(conn, peer);
        net.record(Node::Server, Mark::Accepted, u64::from(conn.0), free as u64);
        self.machine.handle_input(net.now(), Input::Accepted { peer });
        self.drain(net, check);
    }

    pub(crate) fn readable(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        self.work.push(Work::Read(conn));
        self.drain(net, check);
    }

    /// The connection is over.
    pub(crate) fn broken(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        self.lose(net, conn);
        self.drain(net, check);
    }

    pub(crate) fn datagram(
        &mut self,
        net: &mut Net<'_>,
        check: &mut Checker,
        from: SocketAddr,
        mut bytes: Vec<u8>,
    ) {
        let peer = Header::parse(&bytes).and_then(|header| self.machine.peer_of(header.session));
        let conn = peer.and_then(|peer| *self.conns.get(peer.index())?);
        let tcp = conn.and_then(|conn| net.conn(conn));
        let opened = tcp.and_then(|tcp| tcp.end_mut(Side::Server).path.as_mut()?.open(from, &mut bytes).ok());
        match (peer, opened) {
            (Some(peer), Some(opened)) => {
                let input = Input::Datagram { peer, kind: opened.kind, payload: opened.payload };
                self.machine.handle_input(net.now(), input);
                self.drain(net, check);
            }
            (_, _) => net.counts.datagrams_refused += 1,
        }
    }

    pub(crate) fn wake(&mut self, net: &mut Net<'_>, check: &mut Checker, generation: u32) {
        if !self.alarm.rings(generation) {
            return;
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= net.now()) {
            net.record(Node::Server, Mark::Wake, 0, 0);
            self.alarm.count(net, check, Node::Server, self.clients);
            self.machine.handle_timeout(net.now());
        }
        self.drain(net, check);
    }

    // The driver.

    /// Does all that the machine wants, then writes once.
    fn drain(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        loop {
            self.drain_outputs(net, check);
            match self.work.pop() {
                Some(Work::Overflow(peer)) => {
                    self.machine.handle_input(net.now(), Input::Overflowed { peer });
                }
                Some(Work::Read(conn)) => self.read(net, conn),
                None => break,
            }
        }
        net.flush();
        self.alarm.set(net, Node::Server, self.machine.poll_timeout());
    }

    fn drain_outputs(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        let Self { machine, conns, peers, work, joined, .. } = self;
        let conn_of = |conns: &[Option<ConnId>], peer: Peer| *conns.get(peer.index())?;
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Send { bytes, class, to } => {
                    for &peer in to {
                        if let Some(conn) = conn_of(conns, peer)
                            && net.send(conn, Side::Server, class, bytes).is_err()
                        {
                            net.record(Node::Server, Mark::Overflow, u64::from(conn.0), 0);
                            work.push(Work::Overflow(peer));
                        }
                    }
                }
                Output::Relay { kind, frame, to } => {
                    for &peer in to {
                        if let Some(conn) = conn_of(conns, peer) {
                            net.send_datagram(conn, Side::Server, kind, frame);
                        }
                    }
                }
                Output::OpenPath { peer, session } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    if let Some(tcp) = net.conn(conn) {
                        let path = SealedPath::new(session, ToySeal::server(conn.0));
                        tcp.end_mut(Side::Server).path = Some(path);
                    }
                    if let Some(name) = joined.take()
                        && let Some(room) = machine.hub().voice_room(session)
                    {
                        let last = machine.hub().events_after(room, Seq::ZERO).last();
                        check.admitted(&name, last.map_or(0, |(seq, _)| seq.to_wire()));
                    }
                }
                Output::Pause { peer } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    net.record(Node::Server, Mark::Pause, u64::from(conn.0), 0);
                    net.counts.pauses += 1;
                    if let Some(tcp) = net.conn(conn) {
                        tcp.end_mut(Side::Server).paused = true;
                    }
                }
                Output::Unpause { peer } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    net.record(Node::Server, Mark::Unpause, u64::from(conn.0), 0);
                    if let Some(tcp) = net.conn(conn) {
                        tcp.end_mut(Side::Server).paused = false;
                    }
                    work.push(Work::Read(conn));
                }
                Output::Close { peer, cause: _ } => {
                    if let Some(conn) = conns.get_mut(peer.index()).and_then(Option::take) {
                        peers.remove(&conn);
                        net.close(conn, Side::Server);
                    }
                }
                Output::Event(ServerEvent::Joined { name }) => *joined = Some(name.as_str().to_owned()),
                Output::Event(ServerEvent::Resumed { .. } | ServerEvent::Left { .. }) => {}
            }
        }
    }

    /// Reads one portion, and plans to read on.
    fn read(&mut self, net: &mut Net<'_>, conn: ConnId) {
        let Some(&peer) = self.peers.get(&conn) else { return };
        if net.conn(conn).is_none_or(|tcp| tcp.end(Side::Server).paused) {
            return;
        }
        match net.read(conn, Side::Server, &mut self.buffer) {
            Read::Bytes => {
                self.machine.handle_input(net.now(), Input::Received { peer, bytes: &self.buffer });
                self.work.push(Work::Read(conn));
            }
            Read::End => self.lose(net, conn),
            Read::Nothing => {}
        }
    }

    fn lose(&mut self, net: &mut Net<'_>, conn: ConnId) {
        net.record(Node::Server, Mark::Broken, u64::from(conn.0), 0);
        net.drop_end(conn, Side::Server);
        if let Some(peer) = self.peers.remove(&conn) {
            self.machine.handle_input(net.now(), Input::Closed { peer });
            if let Some(slot) = self.conns.get_mut(peer.index()) {
                *slot = None;
            }
        }
    }
}
