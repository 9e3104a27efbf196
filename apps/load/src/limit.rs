//! How much load just holds: doubling until it does not, then halving the gap.

/// The shortest frames that are tried, in milliseconds: a server lets a talker send 250 a second in the long run, and tries
/// should stay below that.
pub(crate) const SHORTEST_FRAME_MS: u64 = 5;
/// The gap between what held and what did not is halved until it is this part of what held, or one step.
const FINE: u64 = 16;

/// How many talk, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    pub(crate) talkers: usize,
    pub(crate) frame_ms: u64,
}

/// What there is to choose from, as steps of one ladder: first more talkers, up to all, then shorter frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    pub(crate) clients: usize,
    pub(crate) frame_ms: u64,
}

impl Ladder {
    fn top(self) -> u64 {
        self.clients as u64 + self.frame_ms.saturating_sub(SHORTEST_FRAME_MS)
    }

    /// The step with twice the load, as far as there is one.
    fn doubled(self, step: u64) -> u64 {
        let last = self.clients as u64;
        if step < last {
            return (step * 2).min(last);
        }
        let shorter = (self.load(step).frame_ms / 2).max(SHORTEST_FRAME_MS);
        (last + self.frame_ms.saturating_sub(shorter)).min(self.top())
    }

    fn load(self, step: u64) -> Load {
        let more = step.saturating_sub(self.clients as u64);
        Load {
            talkers: usize::try_from(step).unwrap_or(usize::MAX).min(self.clients),
            frame_ms: self.frame_ms - more,
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found<M> {
    /// The highest load that held, with what was measured; `None` when even the first did not.
    pub(crate) held: Option<(Load, M)>,
    /// The lowest that did not; `None` when all did.
    pub(crate) failed: Option<(Load, M)>,
}

/// Raises the load from `talkers` on, as `measure` says whether it held.
///
/// # Errors
/// What `measure` says.
pub(crate) fn search<M, E>(
    ladder: Ladder,
    talkers: usize,
    mut measure: impl FnMut(Load) -> Result<(bool, M), E>,
) -> Result<Found<M>, E> {
    let mut found = Found { held: None, failed: None };
    let (mut good, mut bad) = (0, ladder.top() + 1);
    let mut step = (talkers as u64).clamp(1, ladder.top());
    loop {
        let load = ladder.load(step);
        let (has_held, measured) = measure(load)?;
        if has_held {
            (good, found.held) = (step, Some((load, measured)));
        } else {
            (bad, found.failed) = (step, Some((load, measured)));
        }
        let is_fine = bad - good <= (good / FINE).max(1);
        if good == ladder.top() || is_fine && found.failed.is_some() {
            return Ok(found);
        }
        step = if found.failed.is_none() { ladder.doubled(good) } else { good + (bad - good) / 2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = (usize, u64);

    /// Searches where up to `most` frames a second hold; returns what was tried, and what was found.
    fn try_with(clients: usize, talkers: usize, most: u64) -> (Vec<Step>, Option<Step>) {
        let mut tried = vec![];
        let found = search(Ladder { clients, frame_ms: 20 }, talkers, |Load { talkers, frame_ms }| {
            tried.push((talkers, frame_ms));
            Ok::<_, ()>((talkers as u64 * 1000 / frame_ms <= most, ()))
        });
        let held = found.unwrap().held.map(|(load, ())| (load.talkers, load.frame_ms));
        (tried, held)
    }

    #[test]
    fn the_load_is_doubled_until_it_does_not_hold_and_then_refined() {
        let (tried, held) = try_with(100, 1, 50 * 11);
        assert_eq!(tried, [1, 2, 4, 8, 16, 12, 10, 11].map(|talkers| (talkers, 20)));
        assert_eq!(held, Some((11, 20)));
    }

    #[test]
    fn when_all_talk_frames_become_shorter() {
        let (tried, held) = try_with(4, 1, 4 * 1000 / 17);
        assert_eq!(tried, [(1, 20), (2, 20), (4, 20), (4, 10), (4, 15), (4, 18), (4, 17), (4, 16)]);
        assert_eq!(held, Some((4, 17)));
    }

    #[test]
    fn a_server_that_carries_all_is_left_in_peace_at_the_end() {
        let (tried, held) = try_with(4, 3, u64::MAX);
        assert_eq!(tried, [(3, 20), (4, 20), (4, 10), (4, 5)]);
        assert_eq!(held, Some((4, 5)));
    }

    #[test]
    fn a_start_that_is_too_high_is_lowered() {
        assert_eq!(try_with(100, 64, 50 * 3).1, Some((3, 20)));
        assert_eq!(try_with(100, 64, 0).1, None);
    }

    #[test]
    fn a_large_limit_is_not_looked_for_to_the_last_talker() {
        let (tried, held) = try_with(1000, 100, 50 * 777);
        assert!(tried.len() <= 10, "{tried:?}");
        let (talkers, _) = held.unwrap();
        assert!((777 - 777 / 16..=777).contains(&talkers), "{talkers}");
    }
}
