//! How long push-to-talk lasts: a microphone that is forgotten, or whose key was let go without a word, must not stay open.

use chinwag_proto::{Duration, Instant};

/// A program that stood still for so long, be it that it was stopped (Ctrl-Z), does not go on talking.
const STANDSTILL: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    limit: Duration,
    /// Since when it is held, and when that was looked at last.
    since: Option<(Instant, Instant)>,
}

impl Held {
    /// It ends after so long.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    /// It is held from now on, or is not.
    pub(super) fn set(&mut self, now: Instant, is_held: bool) {
        self.since = is_held.then_some((now, now));
    }

    /// Looks at it, as is done all the time; why it is over now, if it is.
    pub(super) fn look(&mut self, now: Instant) -> Option<String> {
        let (since, looked) = self.since?;
        self.since = Some((since, now));
        let why = if now.since(looked) > STANDSTILL {
            "this program stood still".to_owned()
        } else if now.since(since) >= self.limit {
            format!("push-to-talk stops by itself after {} s", self.limit.as_secs())
        } else {
            return None;
        };
        self.since = None;
        Some(format!("you are no longer heard: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn it_is_over_after_so_long_and_can_begin_again() {
        let mut held = Held::new(Duration::from_secs(10));
        assert_eq!(held.look(at(100)), None);
        for begin in [100, 200] {
            held.set(at(begin), true);
            for second in 0..10 {
                assert_eq!(held.look(at(begin + second)), None);
            }
            assert!(held.look(at(begin + 10)).unwrap().ends_with("after 10 s"));
            assert_eq!(held.look(at(begin + 20)), None);
        }
        held.set(at(300), true);
        held.set(at(301), false);
        assert_eq!(held.look(at(400)), None);
    }

    #[test]
    fn whoever_stood_still_does_not_go_on() {
        let mut held = Held::new(Duration::from_secs(60));
        held.set(at(0), true);
        assert_eq!(held.look(at(3)), None);
        assert!(held.look(at(7)).unwrap().contains("stood still"));
        assert_eq!(held.look(at(8)), None);
    }
}
