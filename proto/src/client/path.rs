//! Does UDP get through? Probes, their echoes, and which way voice goes meanwhile.
//!
//! Voice begins on TCP and moves to UDP with the first echo. A probe that is not answered promptly makes the path
//! doubtful: voice goes both ways at once (listeners drop what comes twice), so that little is lost whichever way it
//! turns out. No echo for [`limits::PROBE_TIMEOUT`] after that, and it is TCP again until a probe succeeds.

use alloc::{collections::VecDeque, string::String};

use crate::{
    audit::{at_most, ensure},
    hooks::{Mistake, is_made},
    limits,
    relay::VoicePath,
    time::{Duration, Instant},
};

/// How long ago voice may have been sent or heard for the path to count as active.
const ACTIVE_FOR: Duration = Duration::from_secs(2);

/// Probes whose echo may still come.
const PROBES_IN_FLIGHT: usize = 16;

/// Round-trip times that the spread is taken from, and with fewer than that there is none.
const SAMPLES: usize = 32;
const LEAST_SAMPLES: usize = 4;

/// The state of the path of one connection.
#[derive(Debug)]
pub(super) struct PathProber {
    path: VoicePath,
    /// Probes since the last echo, oldest first: number and time.
    waiting: VecDeque<(u64, Instant)>,
    last_token: u64,
    last_answered: u64,
    next_probe: Instant,
    /// Until then a path that was not proven yet is probed quickly.
    in_haste_until: Instant,
    /// When voice began to go both ways.
    doubted_at: Instant,
    last_voice: Option<Instant>,
    /// So many probes of a path that answered are still sent quickly.
    first_left: usize,
    rtt: Option<Duration>,
    /// The last round-trip times, oldest first.
    rtts: VecDeque<Duration>,
}

/// What [`PathProber::handle_timeout`] wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Todo {
    /// Send a probe with this token.
    pub(super) probe: Option<u64>,
    /// The path changed; tell the server.
    pub(super) switch: Option<VoicePath>,
}

impl PathProber {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            path: VoicePath::Tcp,
            waiting: VecDeque::new(),
            last_token: 0,
            last_answered: 0,
            next_probe: now,
            in_haste_until: now + limits::PROBE_TIMEOUT,
            doubted_at: now,
            last_voice: None,
            // One was answered.
            first_left: limits::FIRST_PROBES - 1,
            rtt: None,
            rtts: VecDeque::with_capacity(SAMPLES),
        }
    }

    pub(super) fn path(&self) -> VoicePath {
        self.path
    }

    /// Round-trip time of the last probe that was answered.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// See [`spread_of`]; none before there are enough round trips.
    pub(super) fn spread(&self) -> Option<Duration> {
        if self.rtts.len() >= LEAST_SAMPLES { spread_of(self.rtts.iter().copied()) } else { None }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.verdict_due().map_or(self.next_probe, |due| due.min(self.next_probe))
    }

    pub(super) fn note_voice(&mut self, now: Instant) {
        if !self.is_active(now) {
            self.next_probe = self.next_probe.min(now + limits::PROBE_INTERVAL_ACTIVE);
        }
        self.last_voice = Some(now);
    }

    /// A ping goes now: a probe that only keeps an idle path open goes with it, so that both are one wake-up, here and there.
    pub(super) fn join_ping(&mut self, now: Instant) {
        let is_due_before_next = self.next_probe < now + limits::PING_INTERVAL;
        if self.waiting.is_empty() && self.interval(now) == limits::PROBE_INTERVAL_IDLE && is_due_before_next
        {
            self.next_probe = self.next_probe.min(now);
        }
    }

    /// An echo of `token`. Returns the new path when it changes.
    pub(super) fn handle_echo(&mut self, now: Instant, token: u64) -> Option<VoicePath> {
        if token <= self.last_answered || token > self.last_token {
            return None;
        }
        self.last_answered = token;
        while let Some(&(waiting, sent)) = self.waiting.front().filter(|(waiting, _)| *waiting <= token) {
            self.waiting.pop_front();
            if waiting == token {
                let rtt = now.since(sent);
                self.rtt = Some(rtt);
                if self.rtts.len() == SAMPLES {
                    self.rtts.pop_front();
                }
                self.rtts.push_back(rtt);
            }
        }
        self.in_haste_until = now;
        let switch = self.switch_to(VoicePath::Udp);
        self.next_probe = now + self.interval(now);
        switch
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Todo {
        let mut todo = Todo::default();
        if self.verdict_due().is_some_and(|due| due <= now) {
            todo.switch = match self.path {
                VoicePath::Udp => {
                    self.doubted_at = now;
                    self.switch_to(VoicePath::Both)
                }
                VoicePath::Both => {
                    self.waiting.clear();
                    self.switch_to(if is_made(Mistake::NeverTcp) { VoicePath::Udp } else { VoicePath::Tcp })
                }
                VoicePath::Tcp => None,
            };
            // A doubtful path is probed at once, and again soon.
            self.next_probe = now;
        }
        if self.next_probe <= now {
            self.last_token += 1;
            if self.waiting.len() == PROBES_IN_FLIGHT {
                // The oldest one says since when there was no echo; it stays.
                self.waiting.remove(1);
            }
            self.waiting.push_back((self.last_token, now));
            let in_haste = self.path == VoicePath::Both || now < self.in_haste_until;
            if self.path == VoicePath::Udp {
                self.first_left = self.first_left.saturating_sub(1);
            }
            self.next_probe = now + if in_haste { limits::PROBE_RETRY } else { self.interval(now) };
            todo.probe = Some(self.last_token);
        }
        todo
    }

    /// What must hold: so many probes and round trips are remembered, and only of probes that were sent and not answered.
    pub(super) fn audit(&self) -> Result<(), String> {
        at_most("probes in flight", self.waiting.len(), PROBES_IN_FLIGHT)?;
        at_most("round trips", self.rtts.len(), SAMPLES)?;
        let mut last = self.last_answered;
        for &(token, _) in &self.waiting {
            ensure!(token > last, "probe {token} waits behind {last}");
            last = token;
        }
        ensure!(last <= self.last_token, "probe {last} is known, {} is the last", self.last_token);
        Ok(())
    }

    /// When the path is found doubtful, or dead, if no echo comes before.
    fn verdict_due(&self) -> Option<Instant> {
        let &(_, since) = self.waiting.front()?;
        let two_ways = self.rtt.unwrap_or_default() * 2;
        match self.path {
            VoicePath::Udp => Some(since + limits::PROBE_RETRY.max(two_ways)),
            // Whoever was held up for long (a machine that slept) still waits for the echo of a fresh probe.
            VoicePath::Both => {
                let fresh = self.doubted_at + limits::PROBE_RETRY.max(two_ways);
                Some(fresh.max(since + limits::PROBE_TIMEOUT.max(two_ways * 2)))
            }
            VoicePath::Tcp => None,
        }
    }

    fn interval(&self, now: Instant) -> Duration {
        if self.path == VoicePath::Udp && self.first_left > 0 {
            return limits::PROBE_INTERVAL_FIRST;
        }
        if self.is_active(now) { limits::PROBE_INTERVAL_ACTIVE } else { limits::PROBE_INTERVAL_IDLE }
    }

    fn is_active(&self, now: Instant) -> bool {
        self.last_voice.is_some_and(|last| now.since(last) < ACTIVE_FOR)
    }

    fn switch_to(&mut self, path: VoicePath) -> Option<VoicePath> {
        (core::mem::replace(&mut self.path, path) != path).then_some(path)
    }
}

/// How much later than the quickest datagram most may be expected, from how round-trip times vary: nearly twice the mean of what
/// they take beyond the least. A way there and a way back add up to less than the late ones of one way do. None of none.
pub fn spread_of(rtts: impl Iterator<Item = Duration> + Clone) -> Option<Duration> {
    let least = rtts.clone().min()?;
    let count = u32::try_from(rtts.clone().count()).ok()?;
    let beyond: Duration = rtts.map(|rtt| rtt - least).sum();
    Some(beyond * 9 / 5 / count)
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::audit::assert_told;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// Runs the prober from `from` to `to` against a network that answers after `rtt_ms` (or never); returns the
    /// switches with their times.
    fn run(prober: &mut PathProber, from: u64, to: u64, rtt_ms: Option<u64>) -> Vec<(u64, VoicePath)> {
        let mut switches = vec![];
        let mut echoes: Vec<(u64, u64)> = vec![];
        for ms in from..to {
            prober.note_voice(at(ms));
            while let Some(&(due, token)) = echoes.first().filter(|(due, _)| *due <= ms) {
                echoes.remove(0);
                switches.extend(prober.handle_echo(at(due), token).map(|path| (ms, path)));
            }
            if prober.poll_timeout() <= at(ms) {
                let todo = prober.handle_timeout(at(ms));
                assert!(prober.poll_timeout() > at(ms), "it would spin");
                switches.extend(todo.switch.map(|path| (ms, path)));
                echoes.extend(todo.probe.zip(rtt_ms).map(|(token, rtt)| (ms + rtt, token)));
            }
        }
        switches
    }

    #[test]
    fn voice_moves_to_udp_with_the_first_echo_and_back_when_echoes_stop() {
        let mut prober = PathProber::new(at(0));
        assert_eq!(run(&mut prober, 0, 5_000, Some(30)), [(30, VoicePath::Udp)]);
        assert_eq!(prober.rtt(), Some(Duration::from_millis(30)));
        let switches = run(&mut prober, 5_000, 10_000, None);
        assert!(matches!(switches[..], [(_, VoicePath::Both), (_, VoicePath::Tcp)]), "{switches:?}");
        let (doubted, given_up) = (switches[0].0, switches[1].0);
        assert!((5_200..6_300).contains(&doubted), "{doubted}");
        assert!((800..=1_200).contains(&(given_up - doubted)), "{given_up}");
        let switches = run(&mut prober, 10_000, 20_000, Some(30));
        assert!(matches!(switches[..], [(10_000..11_100, VoicePath::Udp)]), "{switches:?}");
    }

    #[test]
    fn a_long_way_is_no_lost_way() {
        let mut prober = PathProber::new(at(0));
        assert_eq!(
            run(&mut prober, 0, 30_000, Some(600)).last().map(|(_, path)| *path),
            Some(VoicePath::Udp)
        );
    }

    #[test]
    fn a_machine_that_slept_gives_a_fresh_probe_its_chance() {
        let mut prober = PathProber::new(at(0));
        run(&mut prober, 0, 2_000, Some(30));
        prober.handle_timeout(prober.poll_timeout());
        let todo = prober.handle_timeout(at(60_000));
        assert_eq!(todo.switch, Some(VoicePath::Both));
        assert!(prober.poll_timeout() > at(60_000), "it would spin");
        assert_eq!(prober.handle_echo(at(60_030), todo.probe.unwrap()), Some(VoicePath::Udp));
    }

    #[test]
    fn echoes_of_probes_never_sent_mean_nothing() {
        let mut prober = PathProber::new(at(0));
        assert_eq!(prober.handle_echo(at(1), 0), None);
        assert_eq!(prober.handle_echo(at(1), 5), None);
        assert_eq!(prober.path(), VoicePath::Tcp);
    }

    #[test]
    fn an_audit_tells_which_probes_there_cannot_be() {
        let sound = || {
            let mut prober = PathProber::new(at(0));
            run(&mut prober, 0, 5_000, Some(30));
            run(&mut prober, 5_000, 60_000, None);
            prober
        };
        assert_told(
            sound,
            PathProber::audit,
            &[
                ("probes in flight: 17, the limit is 16", |prober| prober.waiting.resize(17, (999, at(0)))),
                ("round trips: 33, the limit is 32", |prober| prober.rtts.resize(33, Duration::ZERO)),
                ("waits behind", |prober| prober.waiting[1] = prober.waiting[0]),
                ("waits behind", |prober| prober.last_answered = prober.waiting[0].0),
                ("is the last", |prober| prober.last_token = prober.waiting[0].0),
            ],
        );
    }

    #[test]
    fn an_idle_path_is_probed_seldom() {
        let mut prober = PathProber::new(at(0));
        let mut probes = 0;
        for ms in 0..60_000 {
            if let Some(token) = prober.handle_timeout(at(ms)).probe {
                probes += 1;
                prober.handle_echo(at(ms), token);
            }
        }
        // A few at first, to learn how steady the path is.
        assert_eq!(probes, 4 + limits::FIRST_PROBES);
    }

    #[test]
    fn a_path_that_answered_once_is_not_probed_quickly_for_ever() {
        let mut prober = PathProber::new(at(0));
        let token = prober.handle_timeout(at(0)).probe.unwrap();
        // So long that nobody doubts the path for a while.
        prober.handle_echo(at(5_000), token);
        let probes = (5_001..8_000).filter(|&ms| prober.handle_timeout(at(ms)).probe.is_some()).count();
        assert!((limits::FIRST_PROBES - 1..=limits::FIRST_PROBES).contains(&probes), "{probes}");
    }

    #[test]
    fn the_spread_comes_from_how_round_trips_vary() {
        let mut prober = PathProber::new(at(0));
        let mut now = 0;
        for extra_ms in [0, 10, 0, 30, 0, 0, 40, 0] {
            let token = loop {
                now += 1;
                if let Some(token) = prober.handle_timeout(at(now)).probe {
                    break token;
                }
            };
            now += 20 + extra_ms;
            prober.handle_echo(at(now), token);
        }
        assert_eq!(prober.rtts.len(), 8);
        assert_eq!(prober.spread(), Some(Duration::from_millis(18)), "nine fifths of the mean of 80 ms in 8");
        for _ in 0..100 {
            prober.rtts.pop_front();
            assert_eq!(prober.spread().is_some(), prober.rtts.len() >= LEAST_SAMPLES);
        }
    }
}
