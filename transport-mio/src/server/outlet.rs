//! Where the relay's output goes: sealed datagrams wait in recycled buffers until there are enough for a system call, or the
//! turn ends; what is for connections waits for the server's loop.

use std::{net::SocketAddr, ops::Range, sync::mpsc::SyncSender};

use chinwag_proto::{Instant, SessionId, relay::Egress};
use mio::net::UdpSocket;

use super::relay::HandedBack;
use crate::mmsg::{Outgoing, Sent, kernel_drops};

/// Datagrams that are sent together. More in one call would cost no less, and come later.
const TOGETHER: usize = 16;

/// A UDP socket with what is to be sent by it.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) socket: UdpSocket,
    bytes: Vec<u8>,
    datagrams: Vec<(Range<usize>, SocketAddr)>,
    /// What the system said last of the drops of its queue, and all of them.
    told_drops: u32,
    drops: u64,
}

impl Outlet {
    pub(super) fn new(socket: UdpSocket) -> Self {
        Self { socket, bytes: Vec::new(), datagrams: Vec::new(), told_drops: 0, drops: 0 }
    }

    /// Datagrams that the system dropped before they were received. Its own counter wraps around, a flood of an hour suffices: it
    /// is to be asked more often.
    pub(super) fn drops(&mut self) -> u64 {
        if let Some(told) = kernel_drops(&self.socket) {
            self.drops += u64::from(told.wrapping_sub(self.told_drops));
            self.told_drops = told;
        }
        self.drops
    }

    /// Sends all. What the system does not take is dropped and counted: voice does not wait.
    fn flush(&mut self, outgoing: &mut Outgoing, total: &mut Sent) {
        if self.datagrams.is_empty() {
            return;
        }
        let Sent { sent, unsent } = outgoing.send(&self.socket, &self.bytes, self.datagrams.drain(..));
        total.sent += sent;
        total.unsent += unsent;
        self.bytes.clear();
    }
}

/// All that the relay's output goes to.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) sockets: Vec<Outlet>,
    outgoing: Outgoing,
    back: SyncSender<HandedBack>,
    /// Something was handed back that the server's loop is to look at now.
    pub(super) is_urgent: bool,
    pub(super) sent: Sent,
    /// Voice for connections that found no room on its way to the server's loop, once for all of them.
    pub(super) tunnel_dropped: u64,
}

impl Outlets {
    pub(super) fn new(sockets: impl Iterator<Item = UdpSocket>, back: SyncSender<HandedBack>) -> Self {
        let sockets = sockets.map(Outlet::new).collect();
        let (outgoing, sent) = (Outgoing::default(), Sent::default());
        Self { sockets, outgoing, back, is_urgent: false, sent, tunnel_dropped: 0 }
    }

    pub(super) fn flush(&mut self) {
        for outlet in &mut self.sockets {
            outlet.flush(&mut self.outgoing, &mut self.sent);
        }
    }
}

impl Egress for Outlets {
    fn datagram(&mut self, socket: usize, to: SocketAddr, seal: impl FnOnce(&mut Vec<u8>)) {
        let Some(outlet) = self.sockets.get_mut(socket) else { return };
        let start = outlet.bytes.len();
        seal(&mut outlet.bytes);
        outlet.datagrams.push((start..outlet.bytes.len(), to));
        if outlet.datagrams.len() >= TOGETHER {
            outlet.flush(&mut self.outgoing, &mut self.sent);
        }
    }

    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        let voice = HandedBack::Voice { payload: payload.into(), to: to.collect() };
        let is_taken = self.back.try_send(voice).is_ok();
        self.tunnel_dropped += u64::from(!is_taken);
        self.is_urgent = true;
        is_taken
    }

    fn alive(&mut self, now: Instant, session: SessionId) {
        // It is looked at before anybody is found silent. If there is no room for it, it is told again when a peer that says no more
        // than this has still more than half of its time.
        self.is_urgent |= self.back.try_send(HandedBack::Alive(session, now)).is_err();
    }
}
