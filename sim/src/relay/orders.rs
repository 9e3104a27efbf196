//! What a relay is told while it runs, a line for each order on its standard input.

use std::collections::VecDeque;

use chinwag_sim::{Key, Spec};

use super::link::Direction;

/// The longest line.
const LINE_BYTES: usize = 4096;
/// The longest partition that is ordered, in milliseconds: a day.
const PARTED_MS: u64 = 86_400_000;
const KNOWN: &str = "cut, reset, rebind, part MS [up|down], heal, net KEY=VALUE,... and quit";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Every connection is reset, and the link is down for a while.
    Cut,
    /// Every connection is reset.
    Reset,
    /// Datagrams come to the server from other addresses from now on.
    Rebind,
    /// Nothing passes for a while.
    Part { directions: &'static [Direction], for_us: u64 },
    /// The link is up and whole again.
    Heal,
    /// The network is like this from now on.
    Net(Box<Spec>),
    /// An end.
    Quit,
}

/// Reads a network's conditions, and refuses what a relay cannot do: it has no hold on programs.
pub(super) fn conditions(text: &str) -> Result<Spec, String> {
    use Key::{
        Burst, Corrupt, Cut, Delay, Duplicate, Expire, Jitter, Loss, Mtu, NoUdp, Partition, Queue, Rate,
        Rebind, Reorder, Replay, Reset, Short, Stall, Tail, Truncate, Window,
    };
    let spec: Spec = text.parse().map_err(|error: chinwag_sim::SpecError| error.to_string())?;
    #[rustfmt::skip]
    let is_ours = |key: &Key| matches!(
        key,
        Delay | Jitter | Tail | Loss | Burst | Duplicate | Reorder | Replay | Corrupt | Truncate | Rate | Queue | Mtu
            | NoUdp | Stall | Short | Window | Cut | Reset | Partition | Rebind | Expire
    );
    match spec.unusual().find(|key| !is_ours(key)) {
        Some(key) => Err(format!("`{}` is nothing that a relay could do", key.name())),
        None => Ok(spec),
    }
}

/// Reads one line.
fn parse(line: &str) -> Result<Order, String> {
    let (verb, rest) = line.split_once(' ').map_or((line, ""), |(verb, rest)| (verb, rest.trim()));
    match (verb, rest) {
        ("cut", "") => Ok(Order::Cut),
        ("reset", "") => Ok(Order::Reset),
        ("rebind", "") => Ok(Order::Rebind),
        ("heal", "") => Ok(Order::Heal),
        ("quit", "") => Ok(Order::Quit),
        ("net", rest) => Ok(Order::Net(Box::new(conditions(rest)?))),
        ("part", rest) => {
            let (ms, way) = rest.split_once(' ').unwrap_or((rest, ""));
            let directions: &[_] = match way {
                "" => &[Direction::Up, Direction::Down],
                "up" => &[Direction::Up],
                "down" => &[Direction::Down],
                _ => return Err(format!("a link is parted `up` or `down`, or both ways, not `{way}`")),
            };
            let ms = ms.parse().ok().filter(|ms| (1..=PARTED_MS).contains(ms));
            let ms =
                ms.ok_or_else(|| format!("`part` takes milliseconds, 1 to {PARTED_MS}, not `{rest}`"))?;
            Ok(Order::Part { directions, for_us: ms * 1_000 })
        }
        _ => Err(format!("there is no order `{line}`; there are {KNOWN}")),
    }
}

/// Orders as they come.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// What is read and not yet a line; never longer than [`LINE_BYTES`] with what one read adds.
    bytes: VecDeque<u8>,
    has_ended: bool,
}

impl Orders {
    /// False when whoever gave them is gone. The relay goes on: what it does may be all in its conditions.
    pub(super) fn may_come(&self) -> bool {
        !self.has_ended
    }

    /// Reads once from standard input, which is ready; not through a buffer that `poll` would not see.
    pub(super) fn read(&mut self) {
        let mut buffer = [0; LINE_BYTES];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(_) => self.has_ended = true,
            Ok(count) => self.bytes.extend(&buffer[..count]),
        }
    }

    /// The next whole line, as an order or as what is wrong with it.
    pub(super) fn next(&mut self) -> Option<Result<Order, String>> {
        loop {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                if self.bytes.len() >= LINE_BYTES {
                    self.bytes.clear();
                    return Some(Err("this line is too long for an order".to_owned()));
                }
                return None;
            };
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                return Some(parse(line.trim()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_a_line_at_a_time() {
        let mut orders = Orders::default();
        orders.bytes.extend(b"cut\n\n  rebind \npart 30 down\npart 2\nnet loss=3\nqui");
        let net = conditions("loss=3").unwrap();
        for expected in [
            Order::Cut,
            Order::Rebind,
            Order::Part { directions: &[Direction::Down], for_us: 30_000 },
            Order::Part { directions: &[Direction::Up, Direction::Down], for_us: 2_000 },
            Order::Net(Box::new(net)),
        ] {
            assert_eq!(orders.next(), Some(Ok(expected)));
        }
        assert_eq!(orders.next(), None);
        orders.bytes.extend(b"t\n");
        assert_eq!(orders.next(), Some(Ok(Order::Quit)));
    }

    #[test]
    fn what_is_no_order_is_named() {
        for (line, part) in [
            ("dance", "there is no order `dance`; there are cut, reset"),
            ("cut 3", "there is no order `cut 3`"),
            ("part", "milliseconds, 1 to 86400000, not ``"),
            ("part 0", "not `0`"),
            ("part 10 sideways", "not `sideways`"),
            ("net loss=101", "`loss` is a percentage"),
            ("net crash=3", "`crash` is nothing that a relay could do"),
        ] {
            let complaint = parse(line).unwrap_err();
            assert!(complaint.contains(part), "{line}: {complaint}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_thrown_away() {
        let mut orders = Orders::default();
        orders.bytes.extend([b'x'; LINE_BYTES]);
        assert!(matches!(orders.next(), Some(Err(_))));
        assert!(orders.bytes.is_empty());
    }
}
