//! Which connection each session has, by the session's index.

use alloc::vec::Vec;

use crate::ids::{Peer, SessionId};

/// Which connection each session has.
#[derive(Debug, Default)]
pub(super) struct Seats(Vec<Option<(SessionId, Peer)>>);

impl Seats {
    pub(super) fn peer_of(&self, session: SessionId) -> Option<Peer> {
        let (seated, peer) = (*self.0.get(session.index())?)?;
        (seated == session).then_some(peer)
    }

    pub(super) fn seat(&mut self, session: SessionId, peer: Peer) {
        if self.0.len() <= session.index() {
            self.0.resize(session.index() + 1, None);
        }
        if let Some(seat) = self.0.get_mut(session.index()) {
            *seat = Some((session, peer));
        }
    }

    pub(super) fn unseat(&mut self, session: SessionId, peer: Peer) {
        if self.peer_of(session) == Some(peer)
            && let Some(seat) = self.0.get_mut(session.index())
        {
            *seat = None;
        }
    }

    /// Every session that has a connection, by the index of its seat.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, SessionId, Peer)> {
        let seats = self.0.iter().enumerate();
        seats.filter_map(|(index, seat)| seat.map(|(session, peer)| (index, session, peer)))
    }

    /// Seats, taken or free.
    pub(super) fn places(&self) -> usize {
        self.0.len()
    }
}
