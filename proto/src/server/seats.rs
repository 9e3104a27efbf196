//! Which connection each session has, by the session's index.

use alloc::vec::Vec;

use super::Dialect;
use crate::ids::{Peer, SessionId};

/// Which connection each session has.
#[derive(Debug, Default)]
pub(super) struct Seats {
    places: Vec<Option<(SessionId, Peer, Dialect)>>,
    /// How many of them are classic ones.
    classics: usize,
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
            let former = seat.replace((session, peer, dialect));
            self.classics += usize::from(dialect == Dialect::Classic);
            self.classics -= usize::from(is_classic(former));
        }
    }

    /// True when anybody has a classic program.
    pub(super) fn have_classics(&self) -> bool {
        self.classics > 0
    }

    pub(super) fn unseat(&mut self, session: SessionId, peer: Peer) {
        if self.peer_of(session) == Some(peer)
            && let Some(seat) = self.places.get_mut(session.index())
        {
            self.classics -= usize::from(is_classic(seat.take()));
        }
    }

    /// Every session that has a connection, by the index of its seat.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, SessionId, Peer)> {
        let seats = self.places.iter().enumerate();
        seats.filter_map(|(index, seat)| seat.map(|(session, peer, _)| (index, session, peer)))
    }

    /// Classic ones that are taken, as counted, and as they are.
    pub(super) fn classics(&self) -> (usize, usize) {
        (self.classics, self.places.iter().filter(|seat| is_classic(**seat)).count())
    }

    /// Seats, taken or free.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
}

fn is_classic(seat: Option<(SessionId, Peer, Dialect)>) -> bool {
    matches!(seat, Some((_, _, Dialect::Classic)))
}
