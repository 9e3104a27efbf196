//! The way of one talker's packets: a narrow link with a finite queue, then loss, then delay.

use chinwag_proto::Rng;

use super::spec::LabNet;
use crate::random::{Domain, between, chance, stream};

/// What waits longer than this in front of the narrow link is dropped (the packet that comes last is).
const QUEUE_US: u64 = 200_000;
/// The longest that a reordered packet is held back, in frame times.
const MAX_REORDER_FRAMES: u64 = 3;

/// What became of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PathCounts {
    /// Packets sent.
    pub sent: u64,
    /// Their bytes, headers counted.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets dropped since the queue of the narrow link was full.
    pub dropped: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets held back behind others.
    pub reordered: u64,
}

impl PathCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { sent, bytes, lost, dropped, duplicated, reordered } = *other;
        self.sent += sent;
        self.bytes += bytes;
        self.lost += lost;
        self.dropped += dropped;
        self.duplicated += duplicated;
        self.reordered += reordered;
    }
}

/// One talker's way to the listener. Each kind of chance has its own stream, and draws once for each packet whatever
/// becomes of it, so that the same packets are lost whatever else is changed.
#[derive(Debug)]
pub(crate) struct Path {
    net: LabNet,
    frame_us: u64,
    loss: Rng,
    is_losing: bool,
    jitter: Rng,
    reorder: Rng,
    duplicate: Rng,
    /// When the narrow link has sent all that waits.
    free_us: u64,
    counts: PathCounts,
}

impl Path {
    /// The way of talker `index` in the run of `seed`; `frame_us` is the length of a frame.
    pub(crate) fn new(net: LabNet, seed: u64, index: u32, frame_us: u64) -> Self {
        let rng = |domain| stream(seed, domain, index);
        Self {
            net,
            frame_us,
            loss: rng(Domain::LabLoss),
            is_losing: false,
            jitter: rng(Domain::LabJitter),
            reorder: rng(Domain::LabReorder),
            duplicate: rng(Domain::LabDuplicate),
            free_us: 0,
            counts: PathCounts::default(),
        }
    }

    pub(crate) fn counts(&self) -> PathCounts {
        self.counts
    }

    /// When a packet of `bytes` (headers counted) arrives that is sent at `now_us`: never, once, or twice.
    pub(crate) fn send(&mut self, now_us: u64, bytes: u64) -> impl Iterator<Item = u64> + use<> {
        self.counts.sent += 1;
        self.counts.bytes += bytes;
        let is_lost = self.loses();
        let held_us = self.held_us();
        let is_doubled = chance(&mut self.duplicate, self.net.duplicate_ppm);
        let ways = [self.way_us(now_us), self.way_us(now_us)];
        let through = self.squeeze(now_us, bytes, QUEUE_US);
        if through.is_none() {
            self.counts.dropped += 1;
        } else if is_lost {
            self.counts.lost += 1;
        } else {
            self.counts.reordered += u64::from(held_us > 0);
            self.counts.duplicated += u64::from(is_doubled);
        }
        let copies = if is_lost { 0 } else { 1 + usize::from(is_doubled) };
        through.into_iter().flat_map(move |at_us| {
            let [first, second] = ways;
            [at_us + first + held_us, at_us + second].into_iter().take(copies)
        })
    }

    /// One try of a TCP segment, which waits in front of the narrow link for as long as it must: when it arrives; `None` if it
    /// is lost.
    pub(crate) fn attempt(&mut self, now_us: u64, bytes: u64) -> Option<u64> {
        self.counts.sent += 1;
        self.counts.bytes += bytes;
        let (is_lost, held_us) = (self.loses(), self.held_us());
        let through_us = self.squeeze(now_us, bytes, u64::MAX)?;
        if is_lost {
            self.counts.lost += 1;
            return None;
        }
        self.counts.reordered += u64::from(held_us > 0);
        Some(through_us + self.way_us(now_us) + held_us)
    }

    /// The sender had no room for it.
    pub(crate) fn drop_unsent(&mut self) {
        self.counts.dropped += 1;
    }

    /// When the narrow link has sent a packet on; `None` if more than `queue_us` waits before it.
    fn squeeze(&mut self, now_us: u64, bytes: u64, queue_us: u64) -> Option<u64> {
        if self.net.rate_bps == 0 {
            return Some(now_us);
        }
        let begin_us = self.free_us.max(now_us);
        if begin_us - now_us > queue_us {
            return None;
        }
        self.free_us = begin_us + (bytes * 8 * 1_000_000).div_ceil(self.net.rate_bps);
        Some(self.free_us)
    }

    /// Whether the next packet is lost.
    fn loses(&mut self) -> bool {
        let turn = self.loss.below(u64::from(crate::random::MILLION));
        self.is_losing = if self.net.burst_milli <= 1000 {
            turn < u64::from(self.net.loss_ppm)
        } else if self.is_losing {
            turn >= self.net.leave_ppm()
        } else {
            turn < self.net.enter_ppm()
        };
        self.is_losing
    }

    /// The delay of a packet that is sent now: the path's, the step's, and an exponential one.
    fn way_us(&mut self, now_us: u64) -> u64 {
        // 0 < unit <= 1.
        let unit = ((self.jitter.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let jitter_us = -(self.net.jitter_us as f64) * unit.ln();
        self.net.least_us(now_us) + jitter_us as u64
    }

    fn held_us(&mut self) -> u64 {
        let is_held = chance(&mut self.reorder, self.net.reorder_ppm);
        let frames = between(&mut self.reorder, 1, MAX_REORDER_FRAMES);
        if is_held { frames * self.frame_us } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: u64 = 20_000;

    fn path(net: &str) -> Path {
        Path::new(net.parse().unwrap(), 1, 0, FRAME_US)
    }

    /// Which of so many packets are lost.
    fn losses(net: &str, packets: usize) -> Vec<bool> {
        let mut path = path(net);
        (0..packets as u64).map(|k| path.send(k * FRAME_US, 100).count() == 0).collect()
    }

    #[test]
    fn as_much_is_lost_as_is_asked_for_in_bursts_as_long_as_asked_for() {
        for (net, share, burst) in
            [("loss=5", 0.05, 1.0 / 0.95), ("loss=10,burst=3", 0.1, 3.0), ("loss=100", 1.0, 0.0)]
        {
            let lost = losses(net, 200_000);
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let bursts = lost.windows(2).filter(|pair| pair[0] && !pair[1]).count() as f64;
            assert!((count / 200_000.0 - share).abs() < 0.005, "{net}: {count}");
            assert!(burst == 0.0 || (count / bursts - burst).abs() < 0.1, "{net}: {}", count / bursts);
        }
    }

    #[test]
    fn jitter_is_exponential_and_lets_packets_overtake() {
        let mut path = path("delay=20,jitter=15");
        let arrivals: Vec<u64> = (0..100_000).flat_map(|k| path.send(k * 10_000, 100)).collect();
        let late: Vec<u64> = arrivals.iter().zip(0..).map(|(at, k)| at - k * 10_000 - 20_000).collect();
        let mean_ms = late.iter().sum::<u64>() as f64 / late.len() as f64 / 1000.0;
        assert!((mean_ms - 15.0).abs() < 0.2, "{mean_ms}");
        let beyond = late.iter().filter(|us| **us > 30_000).count() as f64 / late.len() as f64;
        assert!((beyond - (-2.0_f64).exp()).abs() < 0.005, "{beyond}");
        assert!(!arrivals.is_sorted());
    }

    #[test]
    fn a_narrow_link_lets_its_rate_through_and_drops_what_waits_too_long() {
        // 100 bytes each 10 ms are 80 kb/s.
        let mut path = path("rate=64");
        let arrivals: Vec<u64> = (0..1_000).flat_map(|k| path.send(k * 10_000, 100)).collect();
        let bits = arrivals.len() as u64 * 800;
        assert!(path.counts().dropped > 150, "{:?}", path.counts());
        assert!((630_000..=655_000).contains(&bits), "{bits} in ten seconds");
        assert!(arrivals.is_sorted());
        let mut wide = Path::new("rate=81".parse().unwrap(), 1, 0, FRAME_US);
        assert_eq!((0..1_000).flat_map(|k| wide.send(k * 10_000, 100)).count(), 1_000);
    }

    #[test]
    fn packets_are_doubled_held_back_and_stepped_as_often_as_asked_for() {
        let mut path = path("delay=1,dup=10,reorder=20,step=50@1-2");
        let (mut doubled, mut held, mut stepped) = (0, 0, 0);
        for k in 0..10_000 {
            let arrivals: Vec<u64> = path.send(k * 1_000, 100).collect();
            doubled += u64::from(arrivals.len() == 2);
            let way = arrivals[0] - k * 1_000;
            stepped += u64::from(way % FRAME_US == 11_000);
            held += u64::from(way % FRAME_US == 1_000 && way > 1_000);
        }
        assert_eq!((path.counts().duplicated, stepped), (doubled, 1_000));
        assert!((900..1_100).contains(&doubled) && (1_650..2_000).contains(&held), "{doubled} {held}");
        assert_eq!(path.counts().lost + path.counts().dropped, 0);
    }
}
