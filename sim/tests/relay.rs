//! The relay as a program: real sockets on both sides of it, and orders in the middle.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Nothing in here is simulated.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Lines, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Far more than anything takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);

struct Relay {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Relay {
    fn start(to: SocketAddr, net: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chinwag-sim"))
            .args(["relay", "--listen", "127.0.0.1:0", "--to", &to.to_string(), "--net", net])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let rest = first.strip_prefix("listening on ").unwrap();
        let (address, rest) = rest.split_once(',').unwrap();
        assert_eq!(rest, format!(" passing on to {to}"));
        Self { child, lines, address: address.parse().unwrap() }
    }

    /// Gives an order; what is said when it is done.
    fn order(&mut self, order: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
        self.lines.next().unwrap().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server by TCP, and a relay in front of it.
fn rig(net: &str) -> (TcpListener, Relay) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::start(server.local_addr().unwrap(), net);
    (server, relay)
}

fn accept(server: &TcpListener) -> TcpStream {
    let (socket, _) = server.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn is_reset(mut socket: &TcpStream) -> bool {
    socket.read_to_end(&mut vec![]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn a_stream_arrives_whole_both_ways_however_it_is_cut_up_and_held_up() {
    let (server, mut relay) = rig("delay=1,jitter=5,stall=2,short=50,window=2");
    let mut client = relay.connect();
    let mut served = accept(&server);
    let said: Vec<u8> = (0..30_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    let (up, down) = (said.clone(), said.iter().rev().copied().collect::<Vec<_>>());
    let answer = down.clone();
    let thread = std::thread::spawn(move || {
        served.write_all(&answer).unwrap();
        let mut heard = vec![];
        // Until the client's end, which does not end the answer.
        served.read_to_end(&mut heard).unwrap();
        served.write_all(b"the last word").unwrap();
        heard
    });
    client.write_all(&up).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = vec![];
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(thread.join().unwrap(), said);
    assert_eq!(heard, [&down[..], b"the last word"].concat());
    let counts = relay.order("quit");
    assert!(counts.starts_with("datagrams=0 "), "{counts}");
    let counts = relay.lines.next().unwrap().unwrap();
    assert!(counts.starts_with("connections=1 bytes_up=30000 bytes_down=30013 cuts=0"), "{counts}");
    assert!(relay.child.wait().unwrap().success());
}

#[test]
fn a_reset_and_a_cut_are_felt_at_both_ends() {
    let (server, mut relay) = rig("delay=0");
    for order in ["reset", "cut"] {
        let mut client = relay.connect();
        let mut served = accept(&server);
        client.write_all(b"x").unwrap();
        served.read_exact(&mut [0]).unwrap();
        let done = relay.order(order);
        assert!(done.starts_with(&format!("{order}: 1 connections")), "{done}");
        assert!(is_reset(&client) && is_reset(&served), "{order}");
    }
}

#[test]
fn while_a_link_is_down_some_are_refused_and_the_others_answered_when_it_is_up() {
    const CLIENTS: usize = 12;
    let (server, mut relay) = rig("delay=0");
    std::thread::spawn(move || {
        for mut socket in server.incoming().map_while(Result::ok) {
            // Whoever is gone needs no greeting.
            let _ = socket.write_all(b"x");
        }
    });
    // For how long is chance; until it is long enough for what follows.
    let down_ms = |done: &str| done.split(' ').rev().nth(1)?.parse::<u32>().ok();
    while down_ms(&relay.order("cut")).unwrap() < 1_500 {}
    let clients: Vec<_> = (0..CLIENTS).map(|_| relay.connect()).collect();
    assert_eq!(relay.order("heal"), "heal: up and whole");
    let ends = clients.iter().map(|client| client.peek(&mut [0]).map_err(|error| error.kind()));
    let (served, refused): (Vec<_>, Vec<_>) = ends.partition(|end| *end == Ok(1));
    assert!(!served.is_empty() && !refused.is_empty(), "{served:?}, {refused:?}");
    assert!(refused.iter().all(|end| *end == Err(ErrorKind::ConnectionReset)), "{refused:?}");
}

#[test]
fn a_parted_stream_goes_on_where_it_stood() {
    let (server, mut relay) = rig("delay=0");
    let mut client = relay.connect();
    let mut served = accept(&server);
    assert_eq!(relay.order("part 600000 down"), "part: down, for 600000 ms");
    served.write_all(b"down").unwrap();
    client.write_all(b"up").unwrap();
    served.read_exact(&mut [0; 2]).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    assert_eq!(relay.order("heal"), "heal: up and whole");
    client.read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn datagrams_go_both_ways_and_orders_change_what_becomes_of_them() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut relay = Relay::start(server.local_addr().unwrap(), "delay=0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(relay.address).unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut buffer = [0; 100];
    client.send(b"up").unwrap();
    let (count, former) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"up");
    server.send_to(b"down", former).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    assert_eq!(relay.order("rebind"), "rebind: 1 addresses");
    client.send(b"up").unwrap();
    let (_, now) = server.recv_from(&mut buffer).unwrap();
    assert_ne!(former, now);
    assert_eq!(relay.order("net delay=0,noudp=100"), "net: delay=0,noudp=100");
    client.send(b"never").unwrap();
    // Both sockets may be ready at once, and orders are read first; wait for the datagram to be counted.
    assert!(relay.order("dance").contains("there is no order `dance`"));
    assert!(relay.order("net crash=3").contains("`crash` is nothing that a relay could do"));
    assert_eq!(relay.order("net delay=0,dup=100"), "net: delay=0,dup=100");
    client.send(b"twice").unwrap();
    for _ in 0..2 {
        let (count, _) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"twice");
    }
    let counts = relay.order("quit");
    assert!(counts.starts_with("datagrams=5 passed=5 lost=0"), "{counts}");
    assert!(counts.contains(" doubled=1 ") && counts.contains(" barred=1 "), "{counts}");
}
