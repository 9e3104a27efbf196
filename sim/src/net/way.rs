//! One direction of one link: what becomes of a datagram or a segment that is sent into it. Knows no clock and no bytes,
//! so that it serves the simulated network and a relay between real sockets alike.

use chinwag_proto::Rng;

use crate::{
    random::{between, chance},
    spec::{Key, Spec},
};

/// What a lost segment costs on top of two ways.
const RETRANSMIT_US: u64 = 200_000;
/// The longest that the tail of delays is, and how often it is that long: once in so many late packets.
const TAIL_US: u64 = 1_000_000;
const TAIL_RARITY: u64 = 1_000;
/// How long a datagram is held back behind others.
const HELD_US: (u64, u64) = (1_000, 150_000);
/// After how long a replayed datagram comes again.
const REPLAY_US: (u64, u64) = (10_000, 30_000_000);
/// Headers of IP and UDP.
const HEADER_BYTES: u64 = 28;

/// Why a datagram does not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// By chance.
    Chance,
    /// It found the queue of a narrow link full.
    Queue,
    /// It is larger than the link carries.
    TooLarge,
}

/// How a datagram arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// So many microseconds after it was sent.
    pub after_us: u64,
    /// With this bit flipped.
    pub flipped_bit: Option<u64>,
    /// With so many bytes only.
    pub cut_to: Option<usize>,
}

impl Arrival {
    /// The datagram as it arrives.
    pub fn damage(&self, bytes: &mut Vec<u8>) {
        if let Some(bit) = self.flipped_bit
            && let Some(byte) = bytes.get_mut((bit / 8) as usize)
        {
            *byte ^= 1 << (bit % 8);
        }
        if let Some(length) = self.cut_to {
            bytes.truncate(length);
        }
    }
}

/// What becomes of a datagram: lost, or up to three arrivals (itself, its double, its replay).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Why it is lost, if it is.
    pub lost: Option<Lost>,
    /// How it arrives otherwise.
    pub arrivals: [Option<Arrival>; 3],
}

/// One direction of a link.
#[derive(Debug)]
pub struct Way {
    datagrams: Rng,
    segments: Rng,
    /// In the bad state of the Gilbert–Elliott model.
    is_losing: bool,
    /// When a narrow link has sent all that waits.
    free_us: u64,
}

impl Way {
    /// A way with chances of its own.
    pub fn new(datagrams: Rng, segments: Rng) -> Self {
        Self { datagrams, segments, is_losing: false, free_us: 0 }
    }

    /// What becomes of a datagram of so many bytes that is sent now. All draws are made, whatever they decide, so that one
    /// kind of fault does not shift another.
    pub fn datagram(&mut self, spec: &Spec, now_us: u64, bytes: usize) -> Fate {
        let is_lost = self.loses(spec);
        let rng = &mut self.datagrams;
        let mut is = |key| chance(rng, spec.ppm(key));
        let (is_doubled, is_held, is_replayed) = (is(Key::Duplicate), is(Key::Reorder), is(Key::Replay));
        let (is_flipped, is_cut) = (is(Key::Corrupt), is(Key::Truncate));
        let ways = [delay_us(rng, spec), delay_us(rng, spec)];
        let held_us = between(rng, HELD_US.0, HELD_US.1) * u64::from(is_held);
        let replay_us = between(rng, REPLAY_US.0, REPLAY_US.1);
        let bit = rng.below(bytes as u64 * 8);
        let length = rng.below(bytes as u64 + 1) as usize;
        let wait = squeeze(&mut self.free_us, spec, now_us, bytes, spec.get(Key::Queue) * 1000);
        let mtu = spec.get(Key::Mtu);
        let lost = match wait {
            None => Some(Lost::Queue),
            Some(_) if mtu > 0 && bytes as u64 > mtu => Some(Lost::TooLarge),
            Some(_) if is_lost => Some(Lost::Chance),
            Some(_) => None,
        };
        let Some(wait_us) = wait.filter(|_| lost.is_none()) else {
            return Fate { lost, arrivals: [None; 3] };
        };
        let whole = |after_us| Arrival { after_us, flipped_bit: None, cut_to: None };
        let first = Arrival {
            after_us: wait_us + ways[0] + held_us,
            flipped_bit: is_flipped.then_some(bit),
            cut_to: is_cut.then_some(length),
        };
        let second = is_doubled.then(|| whole(wait_us + ways[1]));
        let third = is_replayed.then(|| whole(wait_us + ways[0] + replay_us));
        Fate { lost, arrivals: [Some(first), second, third] }
    }

    /// After how long a segment of so many bytes arrives that is sent now.
    pub fn segment_us(&mut self, spec: &Spec, now_us: u64, bytes: usize) -> u64 {
        let way_us = delay_us(&mut self.segments, spec);
        let stall_us = if chance(&mut self.segments, spec.ppm(Key::Stall)) {
            RETRANSMIT_US + 2 * spec.get(Key::Delay)
        } else {
            0
        };
        let wait_us = squeeze(&mut self.free_us, spec, now_us, bytes, u64::MAX).unwrap_or(0);
        wait_us + way_us + stall_us
    }

    /// How many of so many bytes go at once: some, where reads and writes are short, and always one at least.
    pub fn portion(&mut self, spec: &Spec, bytes: usize) -> usize {
        let most = 1 + self.segments.below(8) as usize;
        if chance(&mut self.segments, spec.ppm(Key::Short)) { bytes.min(most) } else { bytes }
    }

    /// Chances of a stream that are the caller's matter.
    pub(crate) fn chances(&mut self) -> &mut Rng {
        &mut self.segments
    }

    /// Whether the next datagram is lost.
    fn loses(&mut self, spec: &Spec) -> bool {
        let turn = self.datagrams.below(u64::from(crate::random::MILLION));
        self.is_losing = if spec.get(Key::Burst) <= 1000 {
            turn < spec.get(Key::Loss)
        } else if self.is_losing {
            turn >= spec.leave_ppm()
        } else {
            turn < spec.enter_ppm()
        };
        self.is_losing
    }
}

/// For how long so many bytes wait for a narrow link; `None` if that is more than `most_us`.
fn squeeze(free_us: &mut u64, spec: &Spec, now_us: u64, bytes: usize, most_us: u64) -> Option<u64> {
    let rate = spec.get(Key::Rate) * 1000;
    if rate == 0 {
        return Some(0);
    }
    let begin_us = now_us.max(*free_us);
    if begin_us - now_us > most_us {
        return None;
    }
    *free_us = begin_us + ((bytes as u64 + HEADER_BYTES) * 8_000_000).div_ceil(rate);
    Some(*free_us - now_us)
}

/// How long one packet takes.
fn delay_us(rng: &mut Rng, spec: &Spec) -> u64 {
    let jitter_us = rng.below(spec.get(Key::Jitter) + 1);
    let tail_us = TAIL_US / (1 + rng.below(TAIL_RARITY));
    let is_late = chance(rng, spec.ppm(Key::Tail));
    spec.get(Key::Delay) + jitter_us + if is_late { tail_us } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        Way::new(Rng::from_number(1), Rng::from_number(2))
    }

    fn fates(spec: &str, count: u64) -> Vec<Fate> {
        let (spec, mut way) = (spec.parse().unwrap(), way());
        (0..count).map(|k| way.datagram(&spec, k * 10_000, 100)).collect()
    }

    #[test]
    fn as_much_is_lost_as_is_asked_for_in_bursts_as_long_as_asked_for() {
        for (spec, share, burst) in
            [("loss=5", 0.05, 1.0 / 0.95), ("loss=10,burst=3", 0.1, 3.0), ("loss=100", 1.0, 0.0)]
        {
            let lost: Vec<bool> = fates(spec, 100_000).iter().map(|fate| fate.lost.is_some()).collect();
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let bursts = lost.windows(2).filter(|pair| pair[0] && !pair[1]).count() as f64;
            assert!((count / 100_000.0 - share).abs() < 0.008, "{spec}: {count}");
            assert!(burst == 0.0 || (count / bursts - burst).abs() < 0.15, "{spec}: {}", count / bursts);
        }
    }

    #[test]
    fn every_fault_happens_as_often_as_asked_for_and_none_uninvited() {
        let all = |fate: &Fate| fate.arrivals.into_iter().flatten().collect::<Vec<_>>();
        for fate in fates("delay=7", 100) {
            let plain = Arrival { after_us: 7_000, flipped_bit: None, cut_to: None };
            assert_eq!((fate.lost, all(&fate)), (None, vec![plain]));
        }
        let fates = fates("delay=1,dup=10,replay=5,corrupt=20,truncate=30,reorder=40", 10_000);
        let count = |is: &dyn Fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() / 100;
        assert!((9..=11).contains(&count(&|fate| fate.arrivals[1].is_some())));
        assert!((4..=6).contains(&count(&|fate| fate.arrivals[2].is_some_and(|a| a.after_us > 10_000))));
        assert!(
            (18..=22).contains(&count(&|fate| fate.arrivals[0].is_some_and(|a| a.flipped_bit.is_some())))
        );
        assert!((28..=32).contains(&count(&|fate| fate.arrivals[0].is_some_and(|a| a.cut_to.is_some()))));
        assert!((37..=43).contains(&count(&|fate| fate.arrivals[0].is_some_and(|a| a.after_us > 1_000))));
    }

    #[test]
    fn a_narrow_link_lets_its_rate_through_and_a_small_one_lets_nothing_large_through() {
        // 128 bytes with headers each 10 ms are 102 kb/s.
        let passed = fates("rate=64", 1_000).iter().filter(|fate| fate.lost.is_none()).count();
        assert!((625..=660).contains(&passed), "{passed}");
        assert!(fates("rate=103", 1_000).iter().all(|fate| fate.lost.is_none()));
        assert!(fates("mtu=99", 10).iter().all(|fate| fate.lost == Some(Lost::TooLarge)));
        assert!(fates("mtu=100", 10).iter().all(|fate| fate.lost.is_none()));
    }

    #[test]
    fn the_tail_is_long_and_thin() {
        let (spec, mut way) = ("delay=0,tail=100".parse().unwrap(), way());
        let late: Vec<u64> = (0..10_000).map(|_| way.segment_us(&spec, 0, 1)).collect();
        let beyond = |us| late.iter().filter(|&&late| late > us).count();
        assert!(beyond(10_000) > 800 && beyond(10_000) < 1_200, "{}", beyond(10_000));
        assert!(beyond(100_000) > 60 && beyond(100_000) < 140, "{}", beyond(100_000));
        assert!(late.iter().all(|&late| late <= TAIL_US));
    }

    #[test]
    fn a_damaged_datagram_has_one_bit_flipped_or_its_end_cut_off() {
        let mut bytes = vec![0; 4];
        Arrival { after_us: 0, flipped_bit: Some(9), cut_to: Some(3) }.damage(&mut bytes);
        assert_eq!(bytes, [0, 2, 0]);
    }
}
