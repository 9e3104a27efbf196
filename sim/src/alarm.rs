//! When a node is to be woken: at exactly the time that its machine names, by its own clock.

use chinwag_proto::Instant;

use crate::{
    check::{Checker, Rule},
    net::{Brought, Net},
    trace::Node,
};

/// Timeouts of one node in one second, for itself and for each client: a machine that wants more spins.
const WAKES_PER_SECOND: u32 = 60;
const SECOND_US: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Alarm {
    at_us: u64,
    generation: u32,
    second: u64,
    wakes: u32,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { at_us: u64::MAX, generation: 0, second: 0, wakes: 0 }
    }
}

impl Alarm {
    /// Sets the alarm, unless it rings earlier anyway.
    pub(crate) fn set(&mut self, net: &mut Net<'_>, node: Node, due: Option<Instant>) {
        let Some(due) = due else { return };
        let due_us = net.when(node, due);
        if due_us < self.at_us {
            self.at_us = due_us;
            self.generation = self.generation.wrapping_add(1);
            net.at(due_us, Brought::Wake { node, generation: self.generation });
        }
    }

    /// An alarm that does not ring, but for what is set anew.
    pub(crate) fn cancelled(self) -> Self {
        Self { at_us: u64::MAX, generation: self.generation.wrapping_add(1), ..self }
    }

    /// True when this is the alarm that was set last; then it is spent.
    pub(crate) fn rings(&mut self, generation: u32) -> bool {
        let is_current = generation == self.generation && self.at_us != u64::MAX;
        if is_current {
            self.at_us = u64::MAX;
        }
        is_current
    }

    /// Counts a timeout that was due; too many in one second are a failure.
    pub(crate) fn count(&mut self, net: &Net<'_>, check: &mut Checker, node: Node, share: u32) {
        let second = net.now_us / SECOND_US;
        if second != self.second {
            (self.second, self.wakes) = (second, 0);
        }
        self.wakes += 1;
        if self.wakes > WAKES_PER_SECOND * (share + 1) {
            let what = format!("{node} spins: {} timeouts within one second", self.wakes);
            check.fail(Rule::NoSpin, what);
        }
    }
}
