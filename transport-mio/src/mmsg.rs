//! Datagrams received and sent many at a time: on Linux with one system call for many (`recvmmsg`, `sendmmsg`), on other
//! systems one after the other behind the same interface.
//!
//! After construction nothing is allocated. Nothing here waits: what a socket does not take at once is counted and not
//! sent. What a datagram means, and who may send it, is not this module's matter.

#[cfg(target_os = "linux")]
#[path = "mmsg/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "mmsg/portable.rs"]
mod system;

// Where it is not used it is at least compiled and tested.
#[cfg(all(test, target_os = "linux"))]
#[path = "mmsg/portable.rs"]
mod portable;

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
};

use chinwag_proto::limits::DATAGRAM_BYTES;

/// Bytes kept of a datagram: one more than any of ours has, so that one that is too large is seen to be.
pub const RECEIVED_BYTES: usize = DATAGRAM_BYTES + 1;

/// Datagrams that are handed to the system in one call.
const CHUNK: usize = 64;

/// A received datagram.
#[derive(Debug)]
pub struct Received<'a> {
    /// Where it came from, in the socket's own family: an IPv6 socket that is open to IPv4 has mapped addresses.
    pub from: SocketAddr,
    /// Its bytes; of one longer than [`RECEIVED_BYTES`] only the first so many.
    pub bytes: &'a mut [u8],
    /// When the system received it, in nanoseconds of `CLOCK_REALTIME`; `None` unless [`enable_times`] was called.
    pub time_ns: Option<u64>,
}

/// Buffers for datagrams that are received together.
#[derive(Debug)]
pub struct Inbox(system::Inbox);

impl Inbox {
    /// Room for `batch` datagrams, one at least.
    pub fn new(batch: usize) -> Self {
        Self(system::Inbox::new(batch.max(1)))
    }

    /// Receives what waits at `socket`, as much as fits, in place of what was received before; does not wait. Returns how many.
    /// Fewer than fit mean that no more was there; of a connected socket, that either no more was there or an error
    /// (ICMP) waits to be told by the next call.
    ///
    /// # Errors
    /// `WouldBlock` when there was nothing. `ConnectionRefused` and its like, of a connected socket: an earlier datagram
    /// could not be delivered; there may still be something to receive.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        loop {
            match self.0.receive(socket.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// What the last call received, in order.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Received<'_>> {
        self.0.datagrams()
    }
}

/// What became of datagrams that were to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Taken by the system.
    pub sent: u64,
    /// Not taken: no room, no way to that address, or not an address for this socket.
    pub unsent: u64,
}

/// Recycled room for what the system wants to know of datagrams that are sent together.
#[derive(Debug)]
pub struct Outgoing {
    system: system::Outgoing,
    chunk: Vec<(Range<usize>, SocketAddr)>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { system: system::Outgoing::new(CHUNK), chunk: Vec::with_capacity(CHUNK) }
    }
}

impl Outgoing {
    /// Sends datagrams, each a part of `bytes` and where it goes, with as few calls as possible. One that fails does not keep the
    /// others back; nothing is tried for longer than once more. A part that is not within `bytes` is not sent.
    pub fn send(
        &mut self,
        socket: impl AsFd,
        bytes: &[u8],
        datagrams: impl IntoIterator<Item = (Range<usize>, SocketAddr)>,
    ) -> Sent {
        let (socket, mut sent) = (socket.as_fd(), Sent::default());
        for (range, to) in datagrams {
            if bytes.get(range.clone()).is_none() {
                sent.unsent += 1;
                continue;
            }
            self.chunk.push((range, to));
            if self.chunk.len() == CHUNK {
                self.send_chunk(socket, bytes, &mut sent);
            }
        }
        self.send_chunk(socket, bytes, &mut sent);
        sent
    }

    fn send_chunk(&mut self, socket: BorrowedFd<'_>, bytes: &[u8], sent: &mut Sent) {
        let (mut first, mut is_second_try) = (0, false);
        self.system.prepare(bytes, &self.chunk);
        while first < self.chunk.len() {
            match self.system.send(socket, bytes, self.chunk.get(first..).unwrap_or_default(), first) {
                Ok(count @ 1..) => {
                    sent.sent += count as u64;
                    first += count;
                    is_second_try = false;
                }
                // What an earlier datagram met (ICMP) is told by the next call, once; a signal came in between.
                Err(error)
                    if !is_second_try
                        && matches!(
                            error.kind(),
                            io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
                        ) =>
                {
                    is_second_try = true;
                }
                Ok(0) | Err(_) => {
                    sent.unsent += 1;
                    first += 1;
                    is_second_try = false;
                }
            }
        }
        self.chunk.clear();
    }
}

/// From now on the system notes when it receives each datagram of `socket`.
///
/// # Errors
/// When the system cannot do that.
pub fn enable_times(socket: impl AsFd) -> io::Result<()> {
    system::enable_times(socket.as_fd())
}

/// How many datagrams the system dropped because the queue of `socket` was full, a number that wraps around; `None` where it does
/// not say.
pub fn kernel_drops(socket: impl AsFd) -> Option<u32> {
    system::kernel_drops(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
        time::{SystemTime, UNIX_EPOCH},
    };

    use super::*;

    fn socket(ip: impl Into<IpAddr>) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((ip.into(), 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// Datagrams of `lengths`, each filled with its number, in one buffer.
    fn datagrams(lengths: &[usize]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut ranges) = (vec![], vec![]);
        for (number, &length) in lengths.iter().enumerate() {
            let start = bytes.len();
            bytes.resize(start + length, number as u8);
            ranges.push(start..bytes.len());
        }
        (bytes, ranges)
    }

    /// Everything that waits: loopback delivers before the sending call returns.
    fn drain(inbox: &mut Inbox, batch: usize, socket: &UdpSocket) -> Vec<(SocketAddr, Vec<u8>, Option<u64>)> {
        let mut all = vec![];
        loop {
            match inbox.receive(socket) {
                Ok(count) => {
                    assert!((1..=batch).contains(&count));
                    all.extend(inbox.datagrams().map(|d| (d.from, d.bytes.to_vec(), d.time_ns)));
                    if count < batch {
                        let end = inbox.receive(socket).unwrap_err();
                        assert_eq!(
                            end.kind(),
                            io::ErrorKind::WouldBlock,
                            "fewer than fit, so there is no more"
                        );
                        return all;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return all,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn now_ns() -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
    }

    #[test]
    fn what_is_sent_together_is_received_together_and_in_order() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            for (batch, count) in [(1, 3), (3, 1), (4, 4), (64, 63), (64, 130), (8, 65)] {
                let ((a, from), (b, to)) = (socket(ip), socket(ip));
                let lengths: Vec<_> = (0..count).map(|n| n * 7 % 200).collect();
                let (bytes, ranges) = datagrams(&lengths);
                let sent = Outgoing::default().send(&a, &bytes, ranges.iter().cloned().map(|r| (r, to)));
                assert_eq!(sent, Sent { sent: count as u64, unsent: 0 });
                let received = drain(&mut Inbox::new(batch), batch, &b);
                let expected: Vec<_> = ranges.into_iter().map(|r| (from, bytes[r].to_vec(), None)).collect();
                assert_eq!(received, expected, "{ip} {batch} {count}");
            }
        }
    }

    #[test]
    fn a_mapped_address_is_left_as_it_is() {
        let both = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        both.set_only_v6(false).unwrap();
        both.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
        let both = UdpSocket::from(both);
        let port = both.local_addr().unwrap().port();
        let (old, from) = socket(Ipv4Addr::LOCALHOST);
        let (bytes, ranges) = datagrams(&[5]);
        let to = (Ipv4Addr::LOCALHOST, port).into();
        Outgoing::default().send(&old, &bytes, ranges.iter().cloned().map(|r| (r, to)));
        let mut inbox = Inbox::new(4);
        let received = drain(&mut inbox, 4, &both);
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), from.port()));
        assert_eq!(received, [(mapped, vec![0; 5], None)]);
        // And is good for an answer.
        assert_eq!(Outgoing::default().send(&both, &bytes, [(0..5, mapped)]), Sent { sent: 1, unsent: 0 });
        assert_eq!(drain(&mut inbox, 4, &old), [((Ipv4Addr::LOCALHOST, port).into(), vec![0; 5], None)]);
    }

    #[test]
    fn one_that_is_too_large_is_seen_to_be() {
        let ((a, from), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let (bytes, ranges) = datagrams(&[9000, DATAGRAM_BYTES, DATAGRAM_BYTES + 1, 1]);
        Outgoing::default().send(&a, &bytes, ranges.into_iter().map(|r| (r, to)));
        let lengths: Vec<_> = drain(&mut Inbox::new(3), 3, &b)
            .into_iter()
            .map(|(source, bytes, _)| (source == from, bytes.len()))
            .collect();
        assert_eq!(lengths, [RECEIVED_BYTES, DATAGRAM_BYTES, RECEIVED_BYTES, 1].map(|n| (true, n)));
    }

    #[test]
    fn one_that_cannot_be_sent_does_not_keep_the_others_back() {
        let ((a, from), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let (mut bytes, mut ranges) = datagrams(&[1; 100]);
        // Larger than any datagram may be; of another family; to no port; outside of the buffer.
        let huge = bytes.len()..bytes.len() + 70_000;
        bytes.resize(huge.end, 0);
        ranges[50] = huge;
        ranges[99] = bytes.len() - 1..bytes.len() + 1;
        let other_family = (Ipv6Addr::LOCALHOST, to.port()).into();
        let no_port = (Ipv4Addr::LOCALHOST, 0).into();
        let bad = [0, 50, 63, 64, 99];
        let targets = (0..100).map(|n| match n {
            0 | 64 => other_family,
            63 => no_port,
            _ => to,
        });
        let sent = Outgoing::default().send(&a, &bytes, ranges.into_iter().zip(targets));
        assert_eq!(sent, Sent { sent: 95, unsent: 5 });
        let received = drain(&mut Inbox::new(16), 16, &b);
        let expected: Vec<_> =
            (0..100u8).filter(|n| !bad.contains(n)).map(|n| (from, vec![n], None)).collect();
        assert_eq!(received, expected);
    }

    #[test]
    fn what_an_earlier_datagram_met_does_not_cost_the_next_one() {
        let ((a, from), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let (gone, nowhere) = socket(Ipv4Addr::LOCALHOST);
        drop(gone);
        // A connected socket is told of refusals.
        a.connect(nowhere).unwrap();
        let (bytes, ranges) = datagrams(&[1; 3]);
        let targets = [nowhere, to, to];
        let sent = Outgoing::default().send(&a, &bytes, ranges.into_iter().zip(targets));
        assert_eq!(sent, Sent { sent: 3, unsent: 0 });
        let received = drain(&mut Inbox::new(4), 4, &b);
        assert_eq!(received, [(from, vec![1], None), (from, vec![2], None)]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn times_are_the_real_clocks() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let ((a, _), (b, to)) = (socket(ip), socket(ip));
            enable_times(&b).unwrap();
            let (bytes, ranges) = datagrams(&[10; 20]);
            let before = now_ns();
            Outgoing::default().send(&a, &bytes, ranges.into_iter().map(|r| (r, to)));
            let after = now_ns();
            let received = drain(&mut Inbox::new(7), 7, &b);
            let times: Vec<_> = received.into_iter().map(|(_, _, time)| time.unwrap()).collect();
            assert_eq!(times.len(), 20);
            assert!(times.is_sorted(), "{times:?}");
            // The system's stamp may come from a coarser clock.
            assert!(
                times[0] + 10_000_000 >= before && times[19] <= after + 10_000_000,
                "{before} {times:?} {after}"
            );
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_full_queue_dropped_is_counted() {
        let ((a, _), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        socket2::SockRef::from(&b).set_recv_buffer_size(8 * 1024).unwrap();
        assert_eq!(kernel_drops(&b), Some(0));
        let (bytes, ranges) = datagrams(&[500; 200]);
        let sent = Outgoing::default().send(&a, &bytes, ranges.into_iter().map(|r| (r, to)));
        assert_eq!(sent.sent, 200, "the sender is not told");
        let received = drain(&mut Inbox::new(32), 32, &b).len() as u64;
        assert!((1..200).contains(&received), "{received}");
        assert_eq!(kernel_drops(&b), Some((200 - received) as u32));
    }

    #[test]
    fn an_inbox_may_go_to_another_thread() {
        let ((a, _), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let (mut inbox, mut outgoing) = (Inbox::new(2), Outgoing::default());
        outgoing.send(&a, b"hello", [(0..5, to)]);
        let received = std::thread::spawn(move || {
            inbox.receive(&b).unwrap();
            outgoing.send(&a, b"hello", [(0..5, to)]);
            inbox.datagrams().next().unwrap().bytes.to_vec()
        });
        assert_eq!(received.join().unwrap(), b"hello");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_after_the_other_is_the_same() {
        let ((a, from), (b, to)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        b.set_nonblocking(true).unwrap();
        let chunk = [(0..2, to), (2..2000, to), (0..0, to)];
        let bytes = vec![7; 2000];
        let mut outgoing = portable::Outgoing::new(3);
        outgoing.prepare(&bytes, &chunk);
        for first in 0..3 {
            assert_eq!(outgoing.send(a.as_fd(), &bytes, &chunk[first..], first).unwrap(), 1);
        }
        let mut inbox = portable::Inbox::new(2);
        for lengths in [&[2, RECEIVED_BYTES][..], &[0][..]] {
            assert_eq!(inbox.receive(b.as_fd()).unwrap(), lengths.len());
            let seen: Vec<_> = inbox.datagrams().map(|d| (d.from, d.bytes.len(), d.time_ns)).collect();
            assert_eq!(seen, lengths.iter().map(|&n| (from, n, None)).collect::<Vec<_>>());
        }
        assert_eq!(inbox.receive(b.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(portable::kernel_drops(b.as_fd()), None);
        assert!(portable::enable_times(b.as_fd()).is_err());
    }
}
