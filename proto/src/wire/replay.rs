//! The replay window of a voice path: each counter is accepted once, and only if it is not too old.
//!
//! The algorithm is that of RFC 6479 (a ring of bit blocks, cleared as the window moves), as WireGuard and IPsec use it.

use crate::{
    hooks::{Limit, Mistake, is_made},
    limits::REPLAY_WINDOW,
};

const BLOCK_BITS: u64 = 64;
/// One block more than the window, so that the newest block can be partly used.
const BLOCKS: u64 = REPLAY_WINDOW / BLOCK_BITS + 1;

/// Which counters were accepted, the last [`REPLAY_WINDOW`] of them.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    blocks: [u64; BLOCKS as usize],
    /// The lowest counter that is higher than all accepted ones.
    next: u64,
}

impl ReplayWindow {
    /// True when `counter` may still be accepted. Changes nothing: a forged datagram must not move the window.
    pub fn is_fresh(&self, counter: u64) -> bool {
        if counter >= self.next || (is_made(Mistake::NewestCounterTwice) && counter + 1 == self.next) {
            return counter != u64::MAX;
        }
        self.next - counter <= Limit::ReplayWindow.value() as u64 && self.block(counter) & bit(counter) == 0
    }

    /// Marks `counter`, which proved authentic, as used. True when it is higher than all before it.
    pub fn accept(&mut self, counter: u64) -> bool {
        let newest = counter >= self.next;
        if newest {
            let first = self.next.div_ceil(BLOCK_BITS);
            let last = counter / BLOCK_BITS;
            for block in first.max(last.saturating_sub(BLOCKS - 1))..=last {
                self.blocks[(block % BLOCKS) as usize] = 0;
            }
            self.next = counter.saturating_add(1);
        }
        self.blocks[(counter / BLOCK_BITS % BLOCKS) as usize] |= bit(counter);
        newest
    }

    fn block(&self, counter: u64) -> u64 {
        self.blocks[(counter / BLOCK_BITS % BLOCKS) as usize]
    }
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % BLOCK_BITS)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn take(window: &mut ReplayWindow, counter: u64) -> bool {
        let fresh = window.is_fresh(counter);
        if fresh {
            window.accept(counter);
        }
        fresh
    }

    #[test]
    fn the_edge_of_the_window_is_exact() {
        let mut window = ReplayWindow::default();
        assert!(take(&mut window, 5000));
        assert!(!take(&mut window, 5000));
        assert!(take(&mut window, 5000 - REPLAY_WINDOW + 1));
        assert!(!window.is_fresh(5000 - REPLAY_WINDOW));
        assert!(take(&mut window, 4999));
        assert!(!take(&mut window, 4999));
        assert!(!window.is_fresh(u64::MAX));
        assert!(take(&mut window, u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn no_counter_is_accepted_twice_and_none_in_the_window_is_refused(
            steps in prop::collection::vec((0u64..3000, 0u64..1500), 1..400)
        ) {
            let mut window = ReplayWindow::default();
            let (mut seen, mut highest) = (BTreeSet::new(), 0);
            for (ahead, back) in steps {
                let counter = (highest + ahead / 8).saturating_sub(back);
                let in_window = counter + REPLAY_WINDOW > highest;
                prop_assert_eq!(take(&mut window, counter), in_window && seen.insert(counter));
                highest = highest.max(counter);
            }
        }
    }
}
