//! Whether what waits in one of the system's queues is to be shed: only when it has been late for a while, and then until it is
//! fresh again (the idea of CoDel, RFC 8289: a standing queue is no use to anybody, a short one that passes is). So a server that
//! stood still for a moment loses nothing by that, and one that is asked too much sheds the oldest and is not late with the rest.

use crate::{
    limits::{VOICE_FRESH, VOICE_LATE, VOICE_LATE_FOR},
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    /// All that came since then was late.
    late_since: Option<Instant>,
    is_shedding: bool,
}

impl Queue {
    /// True when what waited for so long is to be shed.
    pub(super) fn sheds(&mut self, now: Instant, waited: Duration) -> bool {
        if waited <= VOICE_LATE {
            self.late_since = None;
            self.is_shedding &= waited > VOICE_FRESH;
        } else {
            let since = *self.late_since.get_or_insert(now);
            self.is_shedding |= now.since(since) >= VOICE_LATE_FOR;
        }
        self.is_shedding
    }
}
