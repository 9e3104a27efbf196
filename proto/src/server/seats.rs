//! Which connection each session has, by the session's index.

use alloc::vec::Vec;

use super::Dialect;
use crate::ids::{Peer, SessionId};

/// Which connection each session has.
#[derive(Debug, Default)]
pub(super) struct Seats {
    places: Vec<Option<(SessionId, Peer, Dialect)>>,
    /// The operator sits there too, and is told what is said.
    pub(super) has_operator: bool,
}

impl Seats {
    pub(super) fn peer_of(&self, session: SessionId) -> Option<Peer> {
        self.find(session).map(|(peer, _)| peer)
    }

    /// The connection of a session, and what it speaks.
    pub(super) fn find(&self, session: SessionId) -> Option<(Peer, Dialect)> {
        let (seated, peer, dialect) = (*self.places.get(session.index())?)?;
        (seated == session).then_some((peer, dialect))
    }

    pub(super) fn seat(&mut self, session: SessionId, peer: Peer, dialect: Dialect) {
        if self.places.len() <= session.index() {
            self.places.resize(session.index() + 1, None);
        }
        if let Some(seat) = self.places.get_mut(session.index()) {
            *seat = Some((session, peer, dialect));
        }
    }

    pub(super) fn unseat(&mut self, session: SessionId, peer: Peer) {
        if self.peer_of(session) == Some(peer)
            && let Some(seat) = self.places.get_mut(session.index())
        {
            *seat = None;
        }
    }

    /// Every session that has a connection, by the index of its seat.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, SessionId, Peer)> {
        let seats = self.places.iter().enumerate();
        seats.filter_map(|(index, seat)| seat.map(|(session, peer, _)| (index, session, peer)))
    }

    /// Seats, taken or free.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
}
