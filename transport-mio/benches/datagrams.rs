//! What the system takes for datagrams, over the loopback, whose whole way is in the sender's call.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

use chinwag_transport_mio::mmsg::{Inbox, Outgoing};
use divan::{Bencher, black_box};

/// A voice datagram with 80 bytes of Opus.
const BYTES: usize = 121;
const COUNT: usize = 100;

fn main() {
    divan::main();
}

/// To 100 listeners. One at a time is measured, and taken before the next, so that the queue has room.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn send_100(bencher: Bencher<'_, '_>) {
    let (from, to, mut outgoing, mut inbox) = rig();
    let address = to.local_addr().expect("an address");
    let bytes = vec![7; BYTES * COUNT];
    bencher.with_inputs(|| drain(&to, &mut inbox)).bench_local_values(|_| {
        let datagrams = (0..COUNT).map(|at| (at * BYTES..(at + 1) * BYTES, address));
        assert_eq!(outgoing.send(&from, &bytes, datagrams).sent, COUNT as u64);
    });
}

/// What 100 talkers sent meanwhile.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn receive_100(bencher: Bencher<'_, '_>) {
    let (from, to, mut outgoing, mut inbox) = rig();
    let address = to.local_addr().expect("an address");
    let bytes = vec![7; BYTES * COUNT];
    let mut send = || {
        let datagrams = (0..COUNT).map(|at| (at * BYTES..(at + 1) * BYTES, address));
        outgoing.send(&from, &bytes, datagrams)
    };
    bencher.with_inputs(&mut send).bench_local_values(|_| assert_eq!(drain(&to, &mut inbox), COUNT));
}

fn rig() -> (UdpSocket, UdpSocket, Outgoing, Inbox) {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let (from, to) = (bind(), bind());
    to.set_nonblocking(true).expect("a socket that does not block");
    (from, to, Outgoing::default(), Inbox::new(64))
}

/// Takes all that is there; how many.
fn drain(socket: &UdpSocket, inbox: &mut Inbox) -> usize {
    let mut count = 0;
    loop {
        match inbox.receive(socket) {
            Ok(some) => {
                count += some;
                inbox.datagrams().for_each(|datagram| {
                    black_box(datagram);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count,
            Err(error) => panic!("{error}"),
        }
    }
}
