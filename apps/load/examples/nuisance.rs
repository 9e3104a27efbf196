//! What a server must bear: `nuisance half-open SERVER N FROM` opens connections from an address and says nothing, `nuisance forge SERVER` sends
//! forged datagrams as fast as it can, each in the name of a session that may be there. Both until they are ended. For
//! `script/bench-load`; only try your own server.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use chinwag_transport_mio::{
    descriptors,
    mmsg::{Outgoing, Sent},
};

/// Bytes of a sealed frame of voice.
const DATAGRAM_BYTES: usize = 121;
/// Sessions in whose names datagrams are forged: the first ones that a server gives.
const SESSIONS: u32 = 100;
/// Between two lines that tell how it goes.
const TELL_EVERY: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["half-open", server, count, from] => {
            half_open(resolve(server)?, count.parse().context("N")?, from.parse().context("FROM")?)
        }
        ["forge", server] => forge(resolve(server)?),
        _ => bail!("usage: nuisance half-open HOST:PORT N IP | nuisance forge HOST:PORT"),
    }
}

fn resolve(server: &str) -> Result<SocketAddr> {
    server.to_socket_addrs()?.next().context("no such host")
}

/// Opens so many connections at once, then some more each second, whatever the server does with them.
fn half_open(server: SocketAddr, count: usize, from: IpAddr) -> Result<()> {
    descriptors::raise_limit();
    let (mut open, mut begun, mut told) = (VecDeque::new(), 0_u64, Instant::now());
    loop {
        let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        // It is under way, or refused, which is the server's right.
        let _ = socket.connect(&server.into());
        begun += 1;
        open.push_back(socket);
        if open.len() > count {
            // Whether the server has closed it or not.
            open.pop_front();
            std::thread::sleep(Duration::from_millis(1));
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{} open, {begun} begun", open.len());
        }
    }
}

fn forge(server: SocketAddr) -> Result<()> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    let (mut outgoing, mut bytes, mut total) = (Outgoing::default(), Vec::new(), Sent::default());
    let (mut counter, mut told) = (1_u64 << 40, Instant::now());
    loop {
        bytes.clear();
        for session in 0..SESSIONS {
            counter += 1;
            let start = bytes.len();
            // Voice, of a session's first life, with a counter that is new.
            bytes.push(1);
            bytes.extend_from_slice(&((1 << 20) | session).to_be_bytes());
            bytes.extend_from_slice(&counter.to_be_bytes());
            bytes.resize(start + DATAGRAM_BYTES, 7);
        }
        let ranges = (0..SESSIONS as usize).map(|n| n * DATAGRAM_BYTES..(n + 1) * DATAGRAM_BYTES);
        let Sent { sent, unsent } = outgoing.send(&socket, &bytes, ranges.map(|range| (range, server)));
        total.sent += sent;
        total.unsent += unsent;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{} sent, {} not", total.sent, total.unsent);
        }
    }
}
