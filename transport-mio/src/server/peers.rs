//! The table of connections, by the handles that the machine knows them by.

use std::{collections::VecDeque, net::SocketAddr};

use chinwag_proto::{Instant, Peer, SessionId, wire::path::SealedPath};
use mio::net::TcpStream;
use rustls::ServerConnection;

use crate::{seal::AesSeal, stream::TlsStream};

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TlsStream,
    pub(super) from: SocketAddr,
    /// The listener whose UDP socket reaches it.
    pub(super) listener: usize,
    pub(super) path: Option<SealedPath<AesSeal>>,
    pub(super) is_paused: bool,
    /// The machine is done with it; what is queued is still written.
    pub(super) is_closing: bool,
    /// All was written and the end said.
    pub(super) is_finished: bool,
    /// In the list of those that are flushed when the wake-up ends.
    pub(super) will_be_flushed: bool,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, tls: ServerConnection, from: SocketAddr, listener: usize) -> Self {
        Self {
            stream: TlsStream::new(socket, tls.into()),
            from,
            listener,
            path: None,
            is_paused: false,
            is_closing: false,
            is_finished: false,
            will_be_flushed: false,
        }
    }

    /// Notes in `unflushed` that this connection, known as `peer`, has something to write.
    pub(super) fn flush_later(&mut self, peer: Peer, unflushed: &mut Vec<Peer>) {
        if !std::mem::replace(&mut self.will_be_flushed, true) {
            unflushed.push(peer);
        }
    }

    pub(super) fn open_path(&mut self, session: SessionId, seal: Option<AesSeal>) {
        self.path = seal.map(|seal| SealedPath::new(session, seal));
    }
}

/// Connections by handle; a handle is given out again only when its connection is gone.
#[derive(Debug)]
pub(super) struct Peers {
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
    most: usize,
    /// Closing connections, and when they are cut; in order, since the linger is the same for all.
    cuts: VecDeque<(Instant, Peer)>,
}

impl Peers {
    /// A table for `most` connections.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), most, cuts: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// A free handle; `None` when the table is full. It stays free until [`Peers::insert`].
    pub(super) fn reserve(&mut self) -> Option<Peer> {
        if self.free.is_empty() && self.slots.len() < self.most {
            self.free.push(u32::try_from(self.slots.len()).ok()?);
            self.slots.push(None);
        }
        self.free.last().map(|&index| Peer::new(index))
    }

    pub(super) fn insert(&mut self, peer: Peer, connection: Connection) {
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
        if connection.is_closing {
            self.cuts.retain(|&(_, other)| other != peer);
        }
        Some(connection)
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
