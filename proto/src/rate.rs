//! How fast a peer may send: the generic cell rate algorithm (ITU-T I.371), one instant of state.

use crate::time::{Duration, Instant};

/// The theoretical arrival time: when everything taken so far would have been sent at exactly the allowed rate.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Rate(Instant);

impl Rate {
    /// How far the peer is ahead of its rate.
    pub(crate) fn ahead(self, now: Instant) -> Duration {
        self.0.since(now)
    }

    /// When the peer will be ahead by `burst` only.
    pub(crate) fn falls_to(self, burst: Duration) -> Instant {
        self.0 - burst
    }

    /// Charges what was taken.
    pub(crate) fn charge(&mut self, now: Instant, cost: Duration) {
        self.0 = self.0.max(now) + cost;
    }
}
