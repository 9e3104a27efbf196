//! What listeners tell one talker, put together: the worst of it, not too often.

use crate::{limits::REPORT_INTERVAL, report::ReceiverReport, time::Instant};

/// Reports about one talker that wait for the next one to go with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reports {
    sent: Option<Instant>,
    /// The worst since then, and the time of the first of it.
    waiting: Option<(Instant, ReceiverReport)>,
}

impl Reports {
    /// Takes a listener's report; what the talker is to be told now, if anything. What has to wait goes with a later report:
    /// listeners repeat themselves while there is trouble, and what none of them repeats is stale.
    pub(super) fn merge(&mut self, now: Instant, report: ReceiverReport) -> Option<ReceiverReport> {
        let waiting = self.waiting.take().filter(|(since, _)| now.since(*since) < 2 * REPORT_INTERVAL);
        let (since, report) = match waiting {
            Some((since, worst)) => (since, worst.worst(report.sane())),
            None => (now, report.sane()),
        };
        if self.sent.is_some_and(|sent| now.since(sent) < REPORT_INTERVAL) {
            self.waiting = Some((since, report));
            return None;
        }
        self.sent = Some(now);
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_at_once_and_then_at_intervals() {
        let report = |lost_per_mille, queue_ms| ReceiverReport {
            lost_per_mille,
            queue_ms,
            ..ReceiverReport::default()
        };
        let mut reports = Reports::default();
        let interval = REPORT_INTERVAL.as_micros() as u64;
        let mut at = |us, lost, queue| reports.merge(Instant::from_micros(us), report(lost, queue));
        assert_eq!(at(1_000, 50, 0), Some(report(50, 0)));
        assert_eq!(at(2_000, 20, 7), None);
        assert_eq!(at(3_000, 10, 9), None);
        assert_eq!(at(1_000 + interval, 5, 0), Some(report(20, 9)), "what waited is in it");
        assert_eq!(at(2_000 + interval, 99, 0), None);
        assert_eq!(at(2_000 + 3 * interval, 5000, 0), Some(report(1000, 0)), "what is stale is not");
    }
}
