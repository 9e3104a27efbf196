//! A node's own clock: it starts with the world's, may run fast or slow, and may jump ahead.

use chinwag_proto::Instant;

use crate::random::MILLION;

/// How a node's time stands to the world's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    ahead_us: u64,
    /// Faster by so many millionths; slower where negative.
    drift_ppm: i32,
}

impl Clock {
    pub(crate) fn new(drift_ppm: i32) -> Self {
        Self { ahead_us: 0, drift_ppm }
    }

    /// What the clock shows at a time of the world.
    pub(crate) fn at(&self, world_us: u64) -> Instant {
        let drifted = i128::from(world_us) * i128::from(self.drift_ppm) / i128::from(MILLION);
        let shown = i128::from(world_us) + drifted + i128::from(self.ahead_us);
        Instant::from_micros(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The first time of the world at which the clock shows `due` or more.
    pub(crate) fn when(&self, due: Instant) -> u64 {
        let left = u128::from(due.as_micros().saturating_sub(self.ahead_us));
        let pace = u128::try_from(i64::from(MILLION) + i64::from(self.drift_ppm)).unwrap_or(1).max(1);
        let guess = u64::try_from(left * u128::from(MILLION) / pace).unwrap_or(u64::MAX);
        let mut when = guess.saturating_sub(2);
        while when < u64::MAX && self.at(when) < due {
            when += 1;
        }
        when
    }

    /// Jumps ahead.
    pub(crate) fn jump(&mut self, by_us: u64) {
        self.ahead_us += by_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_woken_at_the_first_moment_at_which_its_own_clock_says_so() {
        for drift_ppm in [0, 1, -1, 100_000, -100_000, 333] {
            let mut clock = Clock::new(drift_ppm);
            clock.jump(12_345);
            for due in [0, 1, 12_345, 12_346, 20_000_000, 86_400_000_001] {
                let due = Instant::from_micros(due);
                let when = clock.when(due);
                assert!(clock.at(when) >= due, "{drift_ppm}: {due:?}");
                assert!(when == 0 || clock.at(when - 1) < due, "{drift_ppm}: {due:?}");
            }
        }
    }
}
