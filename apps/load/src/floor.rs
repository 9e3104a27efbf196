//! What the system alone takes for the datagrams that a relay sends: the floor that no server that sends them one by one,
//! or many at a time, can be under.
//!
//! A thread sends one datagram to each of as many sockets as there are clients, again and again, while this one
//! receives them as it receives the server's. Only the processor time of the sending thread between the first
//! and the last datagram of a burst counts.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use chinwag_transport_mio::mmsg::{self, Inbox, Outgoing};
use serde::Serialize;

use crate::process;

/// For so long each way of sending is measured.
const MEASURED: Duration = Duration::from_millis(700);
/// Not more than a datagram in so many nanoseconds.
const PACE_NS: u64 = 5_000;
const INBOX: usize = 64;
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Nanoseconds of processor time for each datagram.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) datagram_bytes: usize,
    /// A system call for each.
    pub(crate) sendto_ns: f64,
    /// A system call for up to 64.
    pub(crate) sendmmsg_ns: f64,
}

/// Measures with datagrams of `bytes` to `receivers` sockets, each of which is looked at so often.
///
/// # Errors
/// When the system gives no sockets.
pub(crate) fn measure(
    receivers: usize,
    bytes: usize,
    is_v6: bool,
    look_every: Duration,
) -> io::Result<Floor> {
    let loopback: IpAddr = if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let sockets = (0..receivers).map(|_| {
        let socket = UdpSocket::bind((loopback, 0))?;
        socket.set_nonblocking(true)?;
        // As the clients' are.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = mmsg::enable_times(&socket);
        Ok(socket)
    });
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let targets = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
    let sender = UdpSocket::bind((loopback, 0))?;
    sender.set_nonblocking(true)?;
    let _ = socket2::SockRef::from(&sender).set_send_buffer_size(UDP_BUFFER_BYTES);

    let thread = thread::spawn(move || send(&sender, &targets, bytes));
    let mut inbox = Inbox::new(INBOX);
    let mut next = Instant::now();
    while !thread.is_finished() {
        for socket in &sockets {
            while inbox.receive(socket).is_ok_and(|count| count == INBOX) {}
        }
        next = (next + look_every).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let (sendto_ns, sendmmsg_ns) = thread.join().map_err(|_| io::Error::other("the sender failed"))?;
    Ok(Floor { datagram_bytes: bytes, sendto_ns, sendmmsg_ns })
}

fn send(socket: &UdpSocket, targets: &[SocketAddr], bytes: usize) -> (f64, f64) {
    let datagram = vec![0x5a; bytes];
    let mut outgoing = Outgoing::default();
    let one_by_one = bursts(targets.len(), || {
        targets.iter().for_each(|to| drop(socket.send_to(&datagram, to)));
    });
    let together = bursts(targets.len(), || {
        outgoing.send(socket, &datagram, targets.iter().map(|&to| (0..bytes, to)));
    });
    (one_by_one, together)
}

/// The processor time of each datagram of a burst.
fn bursts(size: usize, mut burst: impl FnMut()) -> f64 {
    let pause = Duration::from_nanos((size as u64 * PACE_NS).max(1_000_000));
    let (end, mut next) = (Instant::now() + MEASURED, Instant::now());
    let (mut spent_ns, mut count) = (0, 0);
    while next < end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + pause).max(Instant::now());
        let before = process::thread_cpu_ns();
        burst();
        spent_ns += process::thread_cpu_ns() - before;
        count += size;
    }
    spent_ns as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_a_time_and_not_nothing() {
        let floor = measure(20, 121, false, Duration::from_millis(1)).unwrap();
        assert!((100.0..1e6).contains(&floor.sendto_ns), "{floor:?}");
        assert!((100.0..1e6).contains(&floor.sendmmsg_ns), "{floor:?}");
    }
}
