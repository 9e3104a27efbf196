//! The link that a relay is: its conditions, its two ways, and what goes wrong with it when.

use chinwag_proto::Rng;
use chinwag_sim::{Fate, Key, Spec, Way};

use super::orders::Order;

/// A cut link stays down for up to so long.
const DOWN_US: u64 = 3_000_000;
/// How long a partition lasts that comes by chance.
const PARTED_US: (u64, u64) = (100_000, 20_000_000);
/// What TCP has to say over a parted link is sent again and again, with growing pauses: it comes so late at least.
const RETRANSMIT_US: u64 = 200_000;

/// Which way things go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Direction {
    /// From clients to the server.
    Up,
    /// From the server to clients.
    Down,
}

/// What happens by chance, now and then.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Cut,
    Reset,
    Rebind,
    Partition,
}

/// Each with the key that says how often.
const TROUBLES: [(Trouble, Key); 4] = [
    (Trouble::Cut, Key::Cut),
    (Trouble::Reset, Key::Reset),
    (Trouble::Rebind, Key::Rebind),
    (Trouble::Partition, Key::Partition),
];

#[derive(Debug)]
pub(super) struct Link {
    spec: Spec,
    ways: [Way; 2],
    chances: Rng,
    /// When each of the [`TROUBLES`] is next.
    due_us: [Option<u64>; TROUBLES.len()],
    down_until_us: u64,
    parted_until_us: [u64; 2],
    /// The same for what TCP carries, which is sent again.
    held_until_us: [u64; 2],
    has_no_udp: bool,
}

impl Link {
    pub(super) fn new(spec: Spec, seed: u64) -> Self {
        // Streams of their own, so that a fault of one kind does not shift those of another.
        let stream = |index: u8| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[31] = index;
            Rng::from_seed(bytes)
        };
        let mut link = Self {
            spec,
            ways: [Way::new(stream(1), stream(2)), Way::new(stream(3), stream(4))],
            chances: stream(5),
            due_us: [None; TROUBLES.len()],
            down_until_us: 0,
            parted_until_us: [0; 2],
            held_until_us: [0; 2],
            has_no_udp: false,
        };
        link.set(0, spec);
        link
    }

    /// It is like this from now on.
    pub(super) fn set(&mut self, now_us: u64, spec: Spec) {
        self.spec = spec;
        self.has_no_udp = self.chances.below(1_000_000) < spec.get(Key::NoUdp);
        for index in 0..TROUBLES.len() {
            self.plan(now_us, index);
        }
    }

    /// Draws when a trouble is next: from a millisecond to twice the mean from now.
    fn plan(&mut self, now_us: u64, index: usize) {
        let mean_us = self.spec.get(TROUBLES[index].1) * 1_000_000;
        self.due_us[index] = (mean_us > 0).then(|| now_us + 1_000 + self.chances.below(2 * mean_us));
    }

    /// When to call [`Self::due`].
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due_us.into_iter().flatten().min()
    }

    /// What goes wrong now.
    pub(super) fn due(&mut self, now_us: u64) -> Option<Order> {
        let index = self.due_us.iter().position(|due| due.is_some_and(|due| due <= now_us))?;
        self.plan(now_us, index);
        Some(match TROUBLES[index].0 {
            Trouble::Cut => Order::Cut,
            Trouble::Reset => Order::Reset,
            Trouble::Rebind => Order::Rebind,
            Trouble::Partition => Order::Part {
                directions: [&[Direction::Up][..], &[Direction::Down], &[Direction::Up, Direction::Down]]
                    [self.chances.below(3) as usize],
                for_us: PARTED_US.0 + self.chances.below(PARTED_US.1 - PARTED_US.0),
            },
        })
    }

    /// It is down from now on; for how long.
    pub(super) fn cut(&mut self, now_us: u64) -> u64 {
        let down_us = self.chances.below(DOWN_US + 1);
        self.down_until_us = self.down_until_us.max(now_us + down_us);
        down_us
    }

    /// Nothing passes in these directions for so long; what TCP carries comes afterwards.
    pub(super) fn part(&mut self, now_us: u64, directions: &[Direction], for_us: u64) {
        for &direction in directions {
            let until_us = now_us + for_us;
            let tries_us = self.chances.below(RETRANSMIT_US + for_us / 2);
            let (parted, held) =
                (&mut self.parted_until_us[direction as usize], &mut self.held_until_us[direction as usize]);
            (*parted, *held) = ((*parted).max(until_us), (*held).max(until_us + tries_us));
        }
    }

    /// It is up and whole again at once.
    pub(super) fn heal(&mut self) {
        (self.down_until_us, self.parted_until_us, self.held_until_us) = (0, [0; 2], [0; 2]);
    }

    /// From when on it is up.
    pub(super) fn up_at(&self) -> u64 {
        self.down_until_us
    }

    /// Whether a try to connect while it is down is refused, or else left unanswered until it is up again.
    pub(super) fn refuses(&mut self) -> bool {
        self.chances.below(2) == 0
    }

    /// Whether no datagram passes now.
    pub(super) fn is_barred(&self, now_us: u64, direction: Direction) -> bool {
        self.has_no_udp || now_us < self.down_until_us.max(self.parted_until_us[direction as usize])
    }

    /// What becomes of a datagram.
    pub(super) fn datagram(&mut self, now_us: u64, direction: Direction, bytes: usize) -> Fate {
        self.ways[direction as usize].datagram(&self.spec, now_us, bytes)
    }

    /// After what silence a NAT forgets an address; `None` is never.
    pub(super) fn expire_us(&self) -> Option<u64> {
        Some(self.spec.get(Key::Expire) * 1_000_000).filter(|us| *us > 0)
    }

    /// Of so many bytes of a stream, those that go as one segment, and when they arrive.
    pub(super) fn segment(&mut self, now_us: u64, direction: Direction, bytes: usize) -> (usize, u64) {
        let way = &mut self.ways[direction as usize];
        let count = way.portion(&self.spec, bytes);
        (count, now_us + way.segment_us(&self.spec, now_us, count))
    }

    /// Until when nothing arrives that TCP carries.
    pub(super) fn held_until(&self, direction: Direction) -> u64 {
        self.held_until_us[direction as usize]
    }

    /// Bytes that may be under way in one direction of a connection.
    pub(super) fn window(&self) -> usize {
        self.spec.get(Key::Window) as usize * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::orders::conditions;

    fn link(spec: &str) -> Link {
        Link::new(conditions(spec).unwrap(), 1)
    }

    #[test]
    fn what_is_to_happen_now_and_then_does_and_is_planned_anew() {
        let mut link = link("cut=1,reset=2,rebind=1,partition=4");
        let mut happened = [0; 4];
        for now_us in (0..100_000_000).step_by(1_000) {
            while let Some(order) = link.due(now_us) {
                let kind = match order {
                    Order::Cut => 0,
                    Order::Reset => 1,
                    Order::Rebind => 2,
                    Order::Part { directions, for_us } => {
                        assert!((PARTED_US.0..PARTED_US.1).contains(&for_us) && !directions.is_empty());
                        3
                    }
                    Order::Heal | Order::Net(_) | Order::Quit => panic!("{order:?}"),
                };
                happened[kind] += 1;
            }
        }
        let expected = [70..130, 35..65, 70..130, 15..40];
        assert!(happened.iter().zip(expected).all(|(count, range)| range.contains(count)), "{happened:?}");
        link.set(0, conditions("").unwrap());
        assert_eq!(link.next_due(), None);
    }

    #[test]
    fn a_parted_link_bars_datagrams_one_way_and_holds_its_streams_a_little_longer() {
        let mut link = link("");
        link.part(5_000_000, &[Direction::Down], 2_000_000);
        assert!(!link.is_barred(5_000_000, Direction::Up));
        assert!(link.is_barred(6_999_999, Direction::Down));
        assert!(!link.is_barred(7_000_000, Direction::Down));
        assert!((7_000_000..8_200_000).contains(&link.held_until(Direction::Down)));
        assert_eq!(link.held_until(Direction::Up), 0);
        link.heal();
        assert!(!link.is_barred(6_000_000, Direction::Down));
        assert_eq!(link.held_until(Direction::Down), 0);
    }

    #[test]
    fn a_cut_link_is_down_for_a_while_and_one_without_udp_always() {
        let mut link = link("");
        let down_us = link.cut(1_000);
        assert!(down_us <= DOWN_US);
        assert_eq!(link.up_at(), 1_000 + down_us);
        assert!(link.is_barred(down_us + 999, Direction::Up) && link.is_barred(999, Direction::Down));
        assert!(!link.is_barred(1_000 + down_us, Direction::Up));
        link.set(0, conditions("noudp=100").unwrap());
        assert!(link.is_barred(u64::MAX, Direction::Up));
    }
}
