//! Datagrams: each client's address has a socket of its own towards the server, as if a NAT stood in between.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use chinwag_sim::Lost;

use super::{
    Counts,
    link::{Direction, Link},
};

/// Addresses that have a socket; beyond that the one that was idle for longest is forgotten, as a NAT does it.
const MAX_FLOWS: usize = 256;
/// Datagrams on their way, those that come again in half a minute included; more are dropped and counted.
const MAX_UNDER_WAY: usize = 32 * 1024;
/// Taken from one socket before others have their turn.
const BUDGET: usize = 256;
/// The longest that UDP carries.
const LONGEST: usize = 65_536;

/// One client's address.
#[derive(Debug)]
struct Flow {
    /// What the server sees.
    socket: UdpSocket,
    /// When a datagram passed last.
    used_us: u64,
}

/// A datagram on its way. Ordered by its arrival, then as it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due_us: u64,
    number: u64,
    direction: Direction,
    client: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Datagrams {
    /// Where clients send to.
    inside: UdpSocket,
    server: SocketAddr,
    flows: BTreeMap<SocketAddr, Flow>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    number: u64,
    buffer: Vec<u8>,
}

impl Datagrams {
    pub(super) fn new(inside: UdpSocket, server: SocketAddr) -> io::Result<Self> {
        inside.set_nonblocking(true)?;
        let (flows, under_way) = (BTreeMap::new(), BinaryHeap::new());
        Ok(Self { inside, server, flows, under_way, number: 0, buffer: vec![0; LONGEST] })
    }

    pub(super) fn inside(&self) -> &UdpSocket {
        &self.inside
    }

    /// The sockets towards the server, each with its client.
    pub(super) fn outside(&self) -> impl Iterator<Item = (SocketAddr, &UdpSocket)> {
        self.flows.iter().map(|(client, flow)| (*client, &flow.socket))
    }

    /// When to call [`Self::deliver`].
    pub(super) fn next_due(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(datagram)| datagram.due_us)
    }

    /// Takes what came: from clients, or from the server for one of them.
    pub(super) fn receive(
        &mut self,
        now_us: u64,
        from_server_to: Option<SocketAddr>,
        link: &mut Link,
        counts: &mut Counts,
    ) {
        for _ in 0..BUDGET {
            let received = match from_server_to {
                None => self.inside.recv_from(&mut self.buffer),
                Some(client) => match self.flows.get(&client) {
                    Some(flow) => flow.socket.recv(&mut self.buffer).map(|count| (count, client)),
                    // Another one took its place in this turn.
                    None => return,
                },
            };
            match received {
                Ok((count, client)) => {
                    let direction = from_server_to.map_or(Direction::Up, |_| Direction::Down);
                    self.send_off(now_us, direction, client, count, link, counts);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What an earlier one met (ICMP) is reported here; it concerns none that came.
                Err(_) => {}
            }
        }
    }

    /// What becomes of the datagram in the buffer.
    fn send_off(
        &mut self,
        now_us: u64,
        direction: Direction,
        client: SocketAddr,
        count: usize,
        link: &mut Link,
        counts: &mut Counts,
    ) {
        counts.datagrams += 1;
        if link.is_barred(now_us, direction) {
            counts.barred += 1;
            return;
        }
        let fate = link.datagram(now_us, direction, count);
        match fate.lost {
            Some(Lost::Chance) => counts.lost += 1,
            Some(Lost::Queue) => counts.queue_full += 1,
            Some(Lost::TooLarge) => counts.too_large += 1,
            None => {}
        }
        let [first, second, third] = fate.arrivals;
        counts.doubled += u64::from(second.is_some());
        counts.replayed += u64::from(third.is_some());
        counts.corrupted += u64::from(first.is_some_and(|arrival| arrival.flipped_bit.is_some()));
        counts.truncated += u64::from(first.is_some_and(|arrival| arrival.cut_to.is_some()));
        for arrival in fate.arrivals.into_iter().flatten() {
            if self.under_way.len() >= MAX_UNDER_WAY {
                counts.crowded_out += 1;
                continue;
            }
            let mut bytes = self.buffer[..count].to_vec();
            arrival.damage(&mut bytes);
            self.number += 1;
            let (due_us, number) = (now_us + arrival.after_us, self.number);
            self.under_way.push(Reverse(UnderWay { due_us, number, direction, client, bytes }));
        }
    }

    /// Hands over what arrives now.
    pub(super) fn deliver(&mut self, now_us: u64, link: &Link, counts: &mut Counts) -> io::Result<()> {
        while self.next_due().is_some_and(|due_us| due_us <= now_us) {
            let Some(Reverse(UnderWay { direction, client, bytes, .. })) = self.under_way.pop() else {
                break;
            };
            let expire_us = link.expire_us().unwrap_or(u64::MAX);
            let is_known =
                self.flows.get(&client).is_some_and(|flow| now_us.saturating_sub(flow.used_us) <= expire_us);
            if direction == Direction::Up && !is_known {
                self.open(client, now_us)?;
            }
            let Some(flow) = self.flows.get_mut(&client).filter(|_| direction == Direction::Up || is_known)
            else {
                counts.homeless += 1;
                continue;
            };
            flow.used_us = now_us;
            let sent = match direction {
                Direction::Up => flow.socket.send(&bytes),
                Direction::Down => self.inside.send_to(&bytes, client),
            };
            // Nobody may be there any more, or the system have no room: such is UDP.
            counts.passed += u64::from(sent.is_ok());
        }
        Ok(())
    }

    /// Gives a client's address a new socket.
    fn open(&mut self, client: SocketAddr, now_us: u64) -> io::Result<()> {
        if self.flows.len() >= MAX_FLOWS && !self.flows.contains_key(&client) {
            let idlest = self.flows.iter().min_by_key(|(_, flow)| flow.used_us);
            if let Some(idlest) = idlest.map(|(client, _)| *client) {
                self.flows.remove(&idlest);
            }
        }
        let socket = self.socket()?;
        self.flows.insert(client, Flow { socket, used_us: now_us });
        Ok(())
    }

    /// The server sees all clients at other addresses from now on; how many there are.
    pub(super) fn rebind(&mut self) -> io::Result<usize> {
        // All new ones are there before an old one goes, so that none gets the port of another.
        let sockets: Vec<_> = self.flows.iter().map(|_| self.socket()).collect::<Result<_, _>>()?;
        let count = sockets.len();
        let _former: Vec<_> = self
            .flows
            .values_mut()
            .zip(sockets)
            .map(|(flow, socket)| std::mem::replace(&mut flow.socket, socket))
            .collect();
        Ok(count)
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        let any: SocketAddr = match self.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::orders::conditions;

    /// A client and a server with a relay's datagrams in between, whose time the test tells.
    struct Rig {
        client: UdpSocket,
        server: UdpSocket,
        datagrams: Datagrams,
        link: Link,
        counts: Counts,
    }

    impl Rig {
        fn new(spec: &str) -> Self {
            let socket = || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
                socket
            };
            let (client, server, inside) = (socket(), socket(), socket());
            client.connect(inside.local_addr().unwrap()).unwrap();
            let datagrams = Datagrams::new(inside, server.local_addr().unwrap()).unwrap();
            let link = Link::new(conditions(spec).unwrap(), 1);
            Self { client, server, datagrams, link, counts: Counts::default() }
        }

        /// Sends up and delivers; on loopback what is sent is there at once.
        fn up(&mut self, now_us: u64, bytes: &[u8]) {
            self.client.send(bytes).unwrap();
            self.turn(now_us, None);
        }

        fn turn(&mut self, now_us: u64, from_server_to: Option<SocketAddr>) {
            self.datagrams.receive(now_us, from_server_to, &mut self.link, &mut self.counts);
            self.datagrams.deliver(now_us, &self.link, &mut self.counts).unwrap();
        }

        fn server_hears(&self) -> (Vec<u8>, SocketAddr) {
            let mut bytes = [0; 100];
            let (count, from) = self.server.recv_from(&mut bytes).unwrap();
            (bytes[..count].to_vec(), from)
        }
    }

    #[test]
    fn what_is_late_waits_and_comes_in_the_order_of_its_arrival() {
        let mut rig = Rig::new("delay=30");
        rig.up(0, b"one");
        rig.up(10_000, b"two");
        assert_eq!(rig.datagrams.next_due(), Some(30_000));
        rig.datagrams.deliver(29_999, &rig.link, &mut rig.counts).unwrap();
        assert_eq!(rig.counts.passed, 0);
        rig.datagrams.deliver(40_000, &rig.link, &mut rig.counts).unwrap();
        assert_eq!((rig.server_hears().0, rig.server_hears().0), (b"one".to_vec(), b"two".to_vec()));
        assert_eq!((rig.counts.datagrams, rig.counts.passed), (2, 2));
    }

    #[test]
    fn the_server_answers_whoever_sent_and_a_rebound_client_at_its_new_address_only() {
        let mut rig = Rig::new("delay=0");
        let client = Some(rig.client.local_addr().unwrap());
        rig.up(0, b"up");
        let (_, former) = rig.server_hears();
        assert_eq!(rig.datagrams.rebind().unwrap(), 1);
        rig.server.send_to(b"astray", former).unwrap();
        rig.up(0, b"up again");
        let (bytes, now) = rig.server_hears();
        assert_eq!(bytes, b"up again");
        assert_ne!(former, now);
        rig.server.send_to(b"down", now).unwrap();
        rig.turn(0, client);
        let mut bytes = [0; 10];
        assert_eq!(rig.client.recv(&mut bytes).unwrap(), 4);
        assert_eq!(&bytes[..4], b"down");
    }

    #[test]
    fn a_silent_client_is_forgotten_and_gets_another_address_when_it_speaks() {
        let mut rig = Rig::new("delay=0,expire=2");
        let client = Some(rig.client.local_addr().unwrap());
        rig.up(0, b"one");
        rig.up(2_000_000, b"two");
        let (former, still) = (rig.server_hears().1, rig.server_hears().1);
        assert_eq!(former, still);
        rig.server.send_to(b"too late", still).unwrap();
        rig.turn(4_000_001, client);
        assert_eq!(rig.counts.homeless, 1);
        rig.up(4_000_001, b"three");
        assert_ne!(rig.server_hears().1, still);
    }

    #[test]
    fn what_happens_to_datagrams_is_counted() {
        let mut rig = Rig::new("delay=0,dup=100,corrupt=100");
        rig.up(0, &[0; 4]);
        let (damaged, whole) = (rig.server_hears().0, rig.server_hears().0);
        assert_eq!(damaged.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(whole, [0; 4]);
        rig.link.set(0, conditions("noudp=100").unwrap());
        rig.up(0, b"barred");
        rig.link.set(0, conditions("loss=100").unwrap());
        rig.up(0, b"lost");
        let Counts { datagrams, passed, doubled, corrupted, barred, lost, .. } = rig.counts;
        assert_eq!([datagrams, passed, doubled, corrupted, barred, lost], [3, 2, 1, 1, 1, 1]);
    }
}
