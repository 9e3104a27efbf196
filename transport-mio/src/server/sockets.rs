//! A listening address: a TCP and, for natives, a UDP socket with one port number.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};

use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};

use super::api::Service;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// What is asked of the system for datagrams; it gives what it may.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How often another free port is tried when the one that TCP got is taken for UDP.
const PORT_TRIES: usize = 32;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    /// What it is for.
    pub(super) service: Service,
    /// None where nobody speaks by datagrams, and when the relay has it.
    pub(super) udp: Option<UdpSocket>,
    /// With the port in use.
    pub(super) address: SocketAddr,
    /// There may be more connections than one turn took.
    pub(super) has_connections: bool,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr, service: Service) -> io::Result<Self> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let tcp = open(address, Type::STREAM, Protocol::TCP)?;
            tcp.listen(BACKLOG)?;
            let tcp = TcpListener::from_std(tcp.into());
            let address = SocketAddr::new(address.ip(), tcp.local_addr()?.port());
            let listener = Self { tcp, service, udp: None, address, has_connections: false };
            if service != Service::Native {
                return Ok(listener);
            }
            match open(address, Type::DGRAM, Protocol::UDP) {
                Ok(udp) => {
                    make_room(&udp);
                    let udp = UdpSocket::from_std(udp.into());
                    return Ok(Self { udp: Some(udp), ..listener });
                }
                Err(error) if tries == 0 || error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// Lets the system keep more datagrams than usual: beyond its limit where we may, up to it otherwise.
fn make_room(udp: &Socket) {
    #[cfg(target_os = "linux")]
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(udp, UDP_BUFFER_BYTES).is_err() {
        let _ = udp.set_recv_buffer_size(UDP_BUFFER_BYTES);
    }
    // More room is better; less is no reason to fail.
    #[cfg(not(target_os = "linux"))]
    let _ = udp.set_recv_buffer_size(UDP_BUFFER_BYTES);
    let _ = udp.set_send_buffer_size(UDP_BUFFER_BYTES);
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    if kind == Type::STREAM {
        // A server that starts again is not to wait for connections of its former life.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
