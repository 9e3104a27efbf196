//! Where the relay's output goes: datagrams to those who seal and send them, what is for connections to the server's loop.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc::SyncSender},
};

use chinwag_proto::{Instant, SessionId, relay::Egress, wire::path::Draft};

use super::{
    fanout::{Batch, FanOut},
    relay::HandedBack,
};
use crate::{mmsg::kernel_drops, seal::AesSeal};

/// What is kept for a UDP socket.
#[derive(Debug)]
struct Outlet {
    /// What is to be sent by it.
    batch: Batch,
    /// What the system said last of the drops of its queue, and all of them.
    told_drops: u32,
    drops: u64,
}

/// All that the relay's output goes to.
#[derive(Debug)]
pub(super) struct Outlets {
    outlets: Vec<Outlet>,
    pub(super) fan_out: FanOut,
    back: SyncSender<HandedBack>,
    /// Something was handed back that the server's loop is to look at now.
    pub(super) is_urgent: bool,
    /// Voice for connections that found no room on its way to the server's loop, once for all of them.
    pub(super) tunnel_dropped: u64,
}

impl Outlets {
    pub(super) fn new(fan_out: FanOut, back: SyncSender<HandedBack>) -> Self {
        let outlet = |socket| Outlet { batch: Batch::new(socket), told_drops: 0, drops: 0 };
        let outlets = (0..fan_out.sockets().len()).map(outlet).collect();
        Self { outlets, fan_out, back, is_urgent: false, tunnel_dropped: 0 }
    }

    /// Sends all, or leaves it to those who have begun with it.
    pub(super) fn flush(&mut self) {
        for outlet in &mut self.outlets {
            if !outlet.batch.is_empty() {
                self.fan_out.give(&mut outlet.batch);
            }
        }
        self.fan_out.finish();
    }

    /// Datagrams that the system dropped before they were received. Its own counters wrap around, a flood of an hour suffices: it
    /// is to be asked more often.
    pub(super) fn drops(&mut self) -> u64 {
        for (outlet, socket) in self.outlets.iter_mut().zip(self.fan_out.sockets()) {
            if let Some(told) = kernel_drops(socket) {
                outlet.drops += u64::from(told.wrapping_sub(outlet.told_drops));
                outlet.told_drops = told;
            }
        }
        self.outlets.iter().map(|outlet| outlet.drops).sum()
    }
}

impl Egress<Arc<AesSeal>> for Outlets {
    fn datagram(&mut self, socket: usize, to: SocketAddr, draft: Draft<'_, Arc<AesSeal>>) {
        let Some(outlet) = self.outlets.get_mut(socket) else { return };
        outlet.batch.push(to, draft);
        if outlet.batch.is_full() {
            self.fan_out.give(&mut outlet.batch);
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
