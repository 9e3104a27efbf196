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
        let drifted = world_us.saturating_mul(self.drift_ppm.unsigned_abs().into()) / u64::from(MILLION);
        let world_us = if self.drift_ppm < 0 { world_us - drifted } else { world_us.saturating_add(drifted) };
        Instant::from_micros(world_us.saturating_add(self.ahead_us))
    }

    /// The first time of the world at which the clock shows `due` or more; the end of all time for what is so far away that it
    /// makes no difference.
    pub(crate) fn when(&self, due: Instant) -> u64 {
        let left = due.as_micros().saturating_sub(self.ahead_us);
        let pace = u64::from(MILLION.saturating_add_signed(self.drift_ppm).max(1));
        let Some(guess) = left.checked_mul(MILLION.into()).map(|left| left / pace) else { return u64::MAX };
        let mut when = guess.saturating_sub(2);
        while self.at(when) < due {
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
