//! Peers that are not read from for a while: those who are ahead of their rate, and those of whom more waits to be kept than may.

use super::{Dialect, Queued, Server, conn::State};
use crate::{
    hooks::{Mistake, is_made},
    ids::Peer,
    limits,
    time::Instant,
};

impl Server {
    /// Nothing is read from a peer until it is no more ahead of its rate.
    pub(super) fn pause(&mut self, peer: Peer) {
        let Some(conn) = self.conn_mut(peer) else { return };
        if !core::mem::replace(&mut conn.paused, true) {
            self.stats.pauses += 1;
            self.out.push(Queued::Pause { peer }, |_, _| {});
        }
        self.schedule(peer);
    }

    /// True for a peer that has said more than is kept yet, or that leaves when all of it is.
    pub(super) fn must_wait_for_store(&self, peer: Peer) -> bool {
        let Some(Some(conn)) = self.conns.get(peer.index()) else { return false };
        let State::Member { session, .. } = conn.state else { return false };
        self.hub.must_wait(session) || conn.is_quitting && self.hub.waiting_of(session) > 0
    }

    /// Nothing is read from a peer until more of what it said is kept.
    pub(super) fn wait_for_store(&mut self, peer: Peer) {
        let Some(conn) = self.conn_mut(peer) else { return };
        if !core::mem::replace(&mut conn.waits_for_store, true) {
            self.waiting_for_store.push(peer);
        }
        if let Some(conn) = self.conn_mut(peer)
            && !core::mem::replace(&mut conn.paused, true)
        {
            self.stats.store_pauses += 1;
            self.out.push(Queued::Pause { peer }, |_, _| {});
        }
        self.schedule(peer);
    }

    /// The store has answered: whoever waited for that is read again.
    pub(super) fn read_again_who_waited(&mut self, now: Instant) {
        for peer in core::mem::take(&mut self.waiting_for_store) {
            if self.conn_mut(peer).is_none() {
                // It was closed by one before it.
                continue;
            }
            if self.must_wait_for_store(peer) {
                self.waiting_for_store.push(peer);
                continue;
            }
            if let Some(conn) = self.conn_mut(peer) {
                conn.waits_for_store = false;
            }
            self.read_again(now, peer);
            self.schedule(peer);
        }
    }

    /// Reads a paused peer again, unless there is still a reason not to.
    pub(super) fn read_again(&mut self, now: Instant, peer: Peer) {
        let Some(conn) = self.conn_mut(peer) else { return };
        if !conn.paused || conn.waits_for_store || conn.rate.falls_to(limits::CONTROL_BURST / 2) > now {
            return;
        }
        conn.paused = false;
        conn.last_heard = now;
        let (is_quitting, state) = (conn.is_quitting, conn.state.clone());
        if let State::Member { session, .. } = state
            && is_quitting
        {
            return self.quit(peer, session);
        }
        if let Some(lines) = self.conn_mut(peer).and_then(|conn| conn.lines.as_mut()) {
            lines.hold_anew();
        }
        if !is_made(Mistake::PauseForever) {
            self.out.push(Queued::Unpause { peer }, |_, _| {});
        }
        match self.conn_mut(peer).map(|conn| conn.dialect()) {
            Some(Dialect::Native) => self.read_frames(now, peer),
            Some(Dialect::Classic) => self.read_lines(now, peer),
            None => {}
        }
    }
}
