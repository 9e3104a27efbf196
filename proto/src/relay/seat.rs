//! One session at the relay: its sealed path, and what it may send.

use core::net::SocketAddr;

use super::{Egress, VoicePath};
use crate::{
    ids::{RoomId, SessionId},
    limits,
    rate::Rate,
    time::Instant,
    wire::path::{DatagramKind, OpenError, Opened, Seal, SealedPath},
};

#[derive(Debug)]
pub(super) struct Seat<S> {
    pub(super) session: SessionId,
    /// Where it talks and listens.
    pub(super) room: Option<RoomId>,
    /// How voice reaches it.
    pub(super) path: VoicePath,
    sealed: Option<SealedPath<S>>,
    /// The driver's socket that the peer reaches.
    socket: usize,
    pub(super) rate: Rate,
    /// When it was charged last.
    pub(super) charged: Instant,
    /// When it was told last that the peer is alive.
    alive_told: Option<Instant>,
}

impl<S: Seal> Seat<S> {
    pub(super) fn new(session: SessionId, seal: Option<S>) -> Self {
        let sealed = seal.map(|seal| SealedPath::new(session, seal));
        Self {
            session,
            room: None,
            path: VoicePath::default(),
            sealed,
            socket: 0,
            rate: Rate::default(),
            charged: Instant::ZERO,
            alive_told: None,
        }
    }

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.sealed.as_ref()?.remote()
    }

    /// Opens a datagram; true with it when it is to be told that the peer is alive.
    pub(super) fn open<'a>(
        &mut self,
        now: Instant,
        socket: usize,
        from: SocketAddr,
        datagram: &'a mut [u8],
    ) -> Result<(Opened<'a>, bool), OpenError> {
        let sealed = self.sealed.as_mut().ok_or(OpenError::NotOurs)?;
        let opened = sealed.open(from, datagram)?;
        if sealed.remote() == Some(from) {
            // Answers go out by the socket that the peer reaches.
            self.socket = socket;
        }
        let is_news = self.alive_told.is_none_or(|told| now.since(told) >= limits::PING_INTERVAL);
        if is_news {
            self.alive_told = Some(now);
        }
        Ok((opened, is_news))
    }

    /// True when the session's rate allows one more payload or probe, which is charged.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        let may = self.rate.ahead(now) <= limits::VOICE_BURST;
        if may {
            self.rate.charge(now, limits::VOICE_DATAGRAM_COST);
            self.charged = now;
        }
        may
    }

    /// Sends a payload; false when it is not known where to.
    pub(super) fn send(&mut self, kind: DatagramKind, payload: &[u8], egress: &mut impl Egress<S>) -> bool {
        let Some(sealed) = &mut self.sealed else { return false };
        let Some(remote) = sealed.remote() else { return false };
        // What waits in a room fits, and so does an echo.
        let Some(draft) = sealed.draft(kind, payload) else { return false };
        egress.datagram(self.socket, remote, draft);
        true
    }
}
