//! What was dropped or turned away, and when the operator is told of it.

use std::net::SocketAddr;

use chinwag_proto::{Duration, Instant, relay::RelayStats, server::ServerStats};

use super::relay::VoiceStats;

/// From the first loss to its report: what belongs together is told together.
const REPORT_DELAY: Duration = Duration::from_secs(1);
/// Between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What was dropped or turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Connections closed at once, since too many of their address had not finished their Hello.
    pub crowded: u64,
    /// The last of them.
    pub last_crowded: Option<SocketAddr>,
    /// Connections closed at once, since there were too many in all.
    pub beyond_table: u64,
    /// Times that the system had no connection to give, most often for want of file descriptors.
    pub accept_failures: u64,
    /// Connections closed because all queues together were too long.
    pub queues_full: u64,
    /// Received datagrams that meant nothing.
    pub not_ours: u64,
    /// Datagrams that came twice or too late.
    pub replayed: u64,
    /// Datagrams whose seal did not verify.
    pub forged: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Datagrams that the system dropped before they were received, since more came than could be taken.
    pub overflowed: u64,
    /// Voice that was shed, since more came than could be passed on in time.
    pub stale: u64,
    /// Voice that slow readers did not get.
    pub voice_dropped: u64,
    /// Voice beyond a talker's rate, and probes.
    pub over_rate: u64,
    /// Voice that was no voice, in another's name, or from nobody's room.
    pub voice_refused: u64,
    /// Messages that could not be kept, which those who said them were told.
    pub not_kept: u64,
    /// Pages and searches of the history that were refused, or that the store could not answer.
    pub pages_refused: u64,
}

impl Losses {
    /// Takes over what others count.
    pub(super) fn note(&mut self, voice: &VoiceStats, server: &ServerStats) {
        let VoiceStats { relay, unsent, overflowed, handed_late, voice_dropped, .. } = *voice;
        let RelayStats { not_ours, replayed, forged, stale, .. } = relay;
        let (unsent, stale) = (unsent + relay.voice_unsent, stale + handed_late);
        *self = Self { unsent, overflowed, stale, voice_dropped, not_ours, replayed, forged, ..*self };
        self.over_rate = relay.voice_over_rate + relay.probes_dropped;
        self.voice_refused = voice.refused() + server.voice_homeless;
        (self.not_kept, self.pages_refused) = (server.not_kept, server.pages_refused);
    }

    /// What came since `former`.
    fn since(&self, former: &Self) -> Self {
        Self {
            crowded: self.crowded - former.crowded,
            last_crowded: self.last_crowded,
            beyond_table: self.beyond_table - former.beyond_table,
            accept_failures: self.accept_failures - former.accept_failures,
            queues_full: self.queues_full - former.queues_full,
            not_ours: self.not_ours - former.not_ours,
            replayed: self.replayed - former.replayed,
            forged: self.forged - former.forged,
            unsent: self.unsent - former.unsent,
            overflowed: self.overflowed - former.overflowed,
            stale: self.stale - former.stale,
            voice_dropped: self.voice_dropped - former.voice_dropped,
            over_rate: self.over_rate - former.over_rate,
            voice_refused: self.voice_refused - former.voice_refused,
            not_kept: self.not_kept - former.not_kept,
            pages_refused: self.pages_refused - former.pages_refused,
        }
    }

    /// Connections that were turned away.
    pub fn connections(&self) -> u64 {
        self.crowded + self.beyond_table + self.accept_failures + self.queues_full
    }

    /// What the history could not do.
    pub fn history(&self) -> u64 {
        self.not_kept + self.pages_refused
    }

    /// Datagrams and voice that were dropped.
    pub fn datagrams(&self) -> u64 {
        let Self { not_ours, replayed, forged, unsent, voice_dropped, over_rate, voice_refused, .. } = self;
        let Self { overflowed, stale, .. } = self;
        let datagrams = not_ours + replayed + forged + unsent + overflowed;
        datagrams + stale + voice_dropped + over_rate + voice_refused
    }
}

/// Decides when losses are reported: soon after the first, then once a minute at most, never when there were none.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    reported: Losses,
    last_report: Option<Instant>,
    due: Option<Instant>,
}

impl Reporter {
    /// Looks at the counters; sets the timer when there is news.
    pub(super) fn look(&mut self, now: Instant, losses: &Losses) {
        if self.due.is_none() && *losses != self.reported {
            let soon = now + REPORT_DELAY;
            self.due = Some(self.last_report.map_or(soon, |last| soon.max(last + REPORT_INTERVAL)));
        }
    }

    /// When to call [`Reporter::report`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The report, when it is due.
    pub(super) fn report(&mut self, now: Instant, losses: &Losses) -> Option<Losses> {
        self.due.take_if(|due| *due <= now)?;
        self.last_report = Some(now);
        Some(losses.since(&std::mem::replace(&mut self.reported, *losses)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_history_could_not_do_is_a_loss_that_is_reported() {
        let (mut reporter, mut losses) = (Reporter::default(), Losses::default());
        let server = ServerStats { not_kept: 2, pages_refused: 3, ..ServerStats::default() };
        losses.note(&VoiceStats::default(), &server);
        reporter.look(Instant::ZERO, &losses);
        let due = reporter.due().unwrap();
        let report = reporter.report(due, &losses).unwrap();
        assert_eq!((report.not_kept, report.pages_refused, report.history()), (2, 3, 5));
        assert_eq!((report.connections(), report.datagrams()), (0, 0));
    }

    #[test]
    fn losses_are_reported_soon_and_then_once_a_minute() {
        let (mut reporter, mut losses) = (Reporter::default(), Losses::default());
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        reporter.look(at(0), &losses);
        assert_eq!(reporter.due(), None);
        // (time, lost until then, reported then, next report)
        for (ms, forged, reported, due) in [
            (100, 5, None, Some(1_100)),
            (600, 9, None, Some(1_100)),
            (1_100, 9, Some(9), None),
            (1_200, 9, None, None),
            (1_300, 10, None, Some(61_100)),
            (50_000, 15, None, Some(61_100)),
            (61_100, 15, Some(6), None),
            (500_000, 16, None, Some(501_000)),
        ] {
            losses.forged = forged;
            reporter.look(at(ms), &losses);
            let report = reporter.report(at(ms), &losses);
            assert_eq!((report.map(|losses| losses.forged), reporter.due()), (reported, due.map(at)), "{ms}");
        }
    }
}
