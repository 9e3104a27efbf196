//! Who has to send when: everybody once in each period, one after the other, evenly spread over it.

/// A schedule in nanoseconds of any clock.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start_ns: u64,
    period_ns: u64,
    senders: u64,
    /// How many turns were taken.
    turns: u64,
}

/// A turn that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// Whose it is.
    pub(crate) sender: usize,
    /// How much too late it is taken.
    pub(crate) late_ns: u64,
}

impl Schedule {
    /// Nobody has anything to send when there are no senders.
    pub(crate) fn new(start_ns: u64, period_ns: u64, senders: usize) -> Self {
        Self { start_ns, period_ns: period_ns.max(1), senders: senders as u64, turns: 0 }
    }

    /// When the next turn is; `None` when there is never one.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let periods = self.turns.checked_div(self.senders)?;
        let within =
            u128::from(self.turns % self.senders) * u128::from(self.period_ns) / u128::from(self.senders);
        Some(self.start_ns + periods * self.period_ns + u64::try_from(within).unwrap_or(u64::MAX))
    }

    /// Takes the next turn if it is due.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<Turn> {
        let late_ns = now_ns.checked_sub(self.due_ns()?)?;
        let sender = usize::try_from(self.turns % self.senders).unwrap_or(0);
        self.turns += 1;
        Some(Turn { sender, late_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly_over_the_period_and_drift_nowhere() {
        let mut schedule = Schedule::new(1_000, 20, 3);
        let mut due = vec![];
        for _ in 0..7 {
            due.push(schedule.due_ns().unwrap());
            assert_eq!(schedule.take(due[due.len() - 1] - 1), None);
            schedule.take(due[due.len() - 1]).unwrap();
        }
        assert_eq!(due, [1_000, 1_006, 1_013, 1_020, 1_026, 1_033, 1_040]);
    }

    #[test]
    fn a_turn_says_whose_it_is_and_how_late() {
        let mut schedule = Schedule::new(100, 20, 2);
        assert_eq!(schedule.take(99), None);
        let turns: Vec<_> =
            std::iter::from_fn(|| schedule.take(125)).map(|t| (t.sender, t.late_ns)).collect();
        assert_eq!(turns, [(0, 25), (1, 15), (0, 5)]);
    }

    #[test]
    fn nobody_never_has_a_turn() {
        let mut schedule = Schedule::new(100, 20, 0);
        assert_eq!((schedule.due_ns(), schedule.take(u64::MAX)), (None, None));
    }
}
