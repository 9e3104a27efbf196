//! The table of connections, by the handles that the machine knows them by.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use chinwag_proto::{
    Instant, Peer, SessionId,
    outbox::{Class, Overflow},
};

use super::{
    api::Service,
    classic::Flushed,
    crowd::{Crowd, NAMELESS_PER_ADDRESS, PENDING_PER_ADDRESS},
    speech::Speech,
};

/// Bytes that may wait for all connections together: what each may let pile up (see
/// [`chinwag_proto::limits::CONTROL_QUEUE_BYTES`]), many times over, is more than a machine has. Past it, whoever has
/// most waiting is closed.
pub(super) const ALL_QUEUES_BYTES: usize = 256 * 1024 * 1024;

/// After so many comings and goings there is memory to give back.
const BURST: usize = 256;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Speech,
    pub(super) from: SocketAddr,
    /// Who was let in over it.
    pub(super) session: Option<SessionId>,
    /// The slot of its voice socket, of a classic connection.
    pub(super) voice: Option<usize>,
    /// Which connection it is, in the order in which they came.
    arrival: u64,
    /// Not let in yet.
    is_pending: bool,
    pub(super) is_paused: bool,
    /// The machine is done with it; what is queued is still written.
    pub(super) is_closing: bool,
    /// All was written and the end said.
    pub(super) is_finished: bool,
    /// In the list of those that are flushed when the wake-up ends.
    pub(super) will_be_flushed: bool,
    /// In the list of those that wait before they write again.
    is_paced: bool,
}

impl Connection {
    pub(super) fn new(stream: Speech, from: SocketAddr) -> Self {
        Self {
            stream,
            from,
            session: None,
            voice: None,
            arrival: 0,
            is_pending: true,
            is_paused: false,
            is_closing: false,
            is_finished: false,
            will_be_flushed: false,
            is_paced: false,
        }
    }

    pub(super) fn is_classic(&self) -> bool {
        matches!(self.stream, Speech::Classic(_))
    }

    /// Notes in `unflushed` that this connection, known as `peer`, has something to write.
    pub(super) fn flush_later(&mut self, peer: Peer, unflushed: &mut Vec<Peer>) {
        if !std::mem::replace(&mut self.will_be_flushed, true) {
            unflushed.push(peer);
        }
    }
}

/// Connections by handle; a handle is given out again only when its connection is gone.
#[derive(Debug)]
pub(super) struct Peers {
    slots: Vec<Option<Connection>>,
    /// How many came so far.
    arrivals: u64,
    free: Vec<u32>,
    most: usize,
    /// Bytes that wait for all of them, and how many may.
    queued: usize,
    most_queued: usize,
    crowd: Crowd,
    /// How many were let in, or went, since the last burst of them was over.
    turnover: usize,
    /// Closing connections, and when they are cut; in order, since the linger is the same for all.
    cuts: VecDeque<(Instant, Peer)>,
    /// Classic connections that have more to write, and when they may; in order, since the pace is the same for all.
    paced: VecDeque<(Instant, Peer)>,
}

impl Peers {
    /// A table for `most` connections, for which `most_queued` bytes may wait together.
    pub(super) fn new(most: usize, most_queued: usize) -> Self {
        let (slots, free, cuts, paced) = (Vec::new(), Vec::new(), VecDeque::new(), VecDeque::new());
        let crowd = Crowd::default();
        Self { slots, arrivals: 0, free, most, queued: 0, most_queued, crowd, turnover: 0, cuts, paced }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// A free handle; `None` when the table is full. It stays free until [`Peers::insert`].
    pub(super) fn reserve(&mut self) -> Option<Peer> {
        if self.free.is_empty() && self.slots.len() < self.most {
            self.free.push(u32::try_from(self.slots.len()).ok()?);
            self.slots.push(None);
        }
        self.free.last().map(|&index| Peer::new(index))
    }

    /// True when too many from there are not let in yet.
    pub(super) fn is_crowded(&self, address: IpAddr, service: Service) -> bool {
        let most = if service == Service::Native { PENDING_PER_ADDRESS } else { NAMELESS_PER_ADDRESS };
        self.crowd.has(address, most)
    }

    pub(super) fn insert(&mut self, peer: Peer, mut connection: Connection) {
        self.arrivals += 1;
        connection.arrival = self.arrivals;
        self.crowd.enter(connection.from.ip());
        if let Some(slot) = self.slots.get_mut(peer.index()) {
            *slot = Some(connection);
            // It is the one that was reserved last.
            self.free.pop();
        }
    }

    pub(super) fn handle(&self, index: usize) -> Option<Peer> {
        self.slots.get(index)?.as_ref()?;
        u32::try_from(index).ok().map(Peer::new)
    }

    pub(super) fn get_mut(&mut self, peer: Peer) -> Option<&mut Connection> {
        self.slots.get_mut(peer.index())?.as_mut()
    }

    pub(super) fn remove(&mut self, peer: Peer) -> Option<Connection> {
        let connection = self.slots.get_mut(peer.index())?.take()?;
        self.free.push(u32::try_from(peer.index()).ok()?);
        self.queued -= connection.stream.queued();
        self.turnover += 1;
        if connection.is_pending {
            self.crowd.leave(connection.from.ip());
        }
        if connection.is_closing {
            self.cuts.retain(|&(_, other)| other != peer);
        }
        Some(connection)
    }

    /// The first classic connection from there that has no voice.
    pub(super) fn voiceless_from(&self, address: IpAddr) -> Option<Peer> {
        let wants =
            |c: &Connection| c.is_classic() && c.from.ip() == address && c.voice.is_none() && !c.is_closing;
        let all = self.slots.iter().zip(0..).filter_map(|(slot, index)| Some((slot.as_ref()?, index)));
        let first = all.filter(|(connection, _)| wants(connection)).min_by_key(|(c, _)| c.arrival)?;
        Some(Peer::new(first.1))
    }

    /// Notes that this one was let in.
    pub(super) fn settle(&mut self, peer: Peer, session: SessionId) {
        let Some(connection) = self.slots.get_mut(peer.index()).and_then(Option::as_mut) else { return };
        connection.session = Some(session);
        self.turnover += 1;
        if std::mem::replace(&mut connection.is_pending, false) {
            self.crowd.leave(connection.from.ip());
        }
    }

    /// True once when many came or went and nobody is on the way in any more.
    pub(super) fn is_burst_over(&mut self) -> bool {
        let is_over = self.turnover >= BURST && self.crowd.is_empty();
        if is_over {
            self.turnover = 0;
        }
        is_over
    }

    /// Queues bytes for a connection and returns how many voice frames gave way. Nothing for one that is not there.
    pub(super) fn queue(
        &mut self,
        peer: Peer,
        class: Class,
        bytes: &[u8],
        unflushed: &mut Vec<Peer>,
    ) -> Result<u64, Overflow> {
        let Some(connection) = self.slots.get_mut(peer.index()).and_then(Option::as_mut) else {
            return Ok(0);
        };
        let (waited, dropped) = (connection.stream.queued(), connection.stream.voice_dropped());
        let result = connection.stream.queue(class, bytes);
        // Part of what found no room was queued.
        self.queued = self.queued - waited + connection.stream.queued();
        result?;
        connection.flush_later(peer, unflushed);
        Ok(connection.stream.voice_dropped() - dropped)
    }

    /// Writes what waits for a connection, as far as it can be now; true when nothing is left.
    pub(super) fn flush(&mut self, now: Instant, peer: Peer) -> io::Result<bool> {
        let Some(connection) = self.slots.get_mut(peer.index()).and_then(Option::as_mut) else {
            return Ok(true);
        };
        let waited = connection.stream.queued();
        let result = connection.stream.flush(now);
        self.queued = self.queued - waited + connection.stream.queued();
        let flushed = result?;
        if let Flushed::Paced(due) = flushed
            && !std::mem::replace(&mut connection.is_paced, true)
        {
            self.paced.push_back((due, peer));
        }
        Ok(flushed == Flushed::All)
    }

    /// When the first classic connection may write again.
    pub(super) fn next_pace(&self) -> Option<Instant> {
        self.paced.front().map(|&(due, _)| due)
    }

    /// Notes in `unflushed` which classic connections may write again.
    pub(super) fn end_pauses(&mut self, now: Instant, unflushed: &mut Vec<Peer>) {
        while let Some(&(_, peer)) = self.paced.front().filter(|(due, _)| *due <= now) {
            self.paced.pop_front();
            // A handle that is another's by now is flushed for nothing.
            if let Some(connection) = self.get_mut(peer) {
                connection.is_paced = false;
                connection.flush_later(peer, unflushed);
            }
        }
    }

    /// When too much waits in all: the connection for which most does.
    pub(super) fn greediest(&self) -> Option<Peer> {
        if self.queued <= self.most_queued {
            return None;
        }
        let queued = |slot: &Option<Connection>| slot.as_ref().map_or(0, |c| c.stream.queued());
        let (index, _) = self.slots.iter().enumerate().max_by_key(|(_, slot)| queued(slot))?;
        self.handle(index)
    }

    pub(super) fn cut_later(&mut self, peer: Peer, deadline: Instant) {
        self.cuts.push_back((deadline, peer));
    }

    pub(super) fn next_cut(&self) -> Option<Instant> {
        self.cuts.front().map(|&(deadline, _)| deadline)
    }

    pub(super) fn pop_cut(&mut self, now: Instant) -> Option<Peer> {
        let &(_, peer) = self.cuts.front().filter(|(deadline, _)| *deadline <= now)?;
        self.cuts.pop_front();
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use mio::net::TcpStream;
    use rustls::ServerConnection;

    use super::*;
    use crate::{identity::Identity, stream::TlsStream};

    /// So many connections, and where they go.
    fn connected(peers: &mut Peers, count: usize) -> (Vec<Peer>, TcpListener) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_make(folder.path()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let connect = |_| {
            let peer = peers.reserve().unwrap();
            let tls = ServerConnection::new(identity.tls()).unwrap();
            let stream = TlsStream::new(TcpStream::connect(to).unwrap(), tls.into());
            peers.insert(peer, Connection::new(Speech::Native(stream.into()), to));
            peer
        };
        ((0..count).map(connect).collect(), listener)
    }

    #[test]
    fn a_burst_is_over_once_when_nobody_is_on_the_way_in() {
        let mut peers = Peers::new(BURST, 1000);
        let (all, _listener) = connected(&mut peers, BURST);
        let last = all.len() - 1;
        for (at, &peer) in all.iter().enumerate() {
            assert!(!peers.is_burst_over(), "{at}");
            peers.settle(peer, SessionId::NOBODY);
            assert_eq!(peers.is_burst_over(), at == last, "{at}");
        }
        for (at, peer) in all.into_iter().enumerate() {
            assert!(!peers.is_burst_over(), "{at}");
            peers.remove(peer).unwrap();
        }
        assert!(peers.is_burst_over() && !peers.is_burst_over());
    }

    #[test]
    fn whoever_has_most_waiting_goes_when_too_much_waits_in_all() {
        let (mut peers, mut unflushed) = (Peers::new(3, 1000), vec![]);
        let (three, listener) = connected(&mut peers, 3);
        let to = listener.local_addr().unwrap();
        assert!(peers.reserve().is_none());
        for (at, bytes) in [(0, 300), (1, 400), (2, 300)] {
            assert_eq!(peers.greediest(), None);
            peers.queue(three[at], Class::Control, &vec![0; bytes], &mut unflushed).unwrap();
        }
        assert_eq!(peers.greediest(), None);
        peers.queue(three[2], Class::Control, &[0; 50], &mut unflushed).unwrap();
        assert_eq!(peers.greediest(), Some(three[1]));
        peers.remove(three[1]).unwrap();
        assert_eq!((peers.greediest(), peers.queued), (None, 650));
        for peer in [three[0], three[2]] {
            peers.remove(peer).unwrap();
        }
        assert_eq!(
            (peers.queued, peers.is_empty(), peers.is_crowded(to.ip(), Service::Native)),
            (0, true, false)
        );
    }
}
