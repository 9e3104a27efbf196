//! One connection of a client: TCP with TLS, and the UDP socket beside it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use chinwag_proto::{
    SessionId,
    wire::{
        control,
        path::{DatagramKind, SealedPath},
    },
};
use mio::net::{TcpStream, UdpSocket};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::{
    seal::{AesSeal, End},
    stream::TlsStream,
    trust::PinVerifier,
};

/// How far a connection got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Connecting,
    Handshaking,
    Standing,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TlsStream,
    pub(crate) udp: UdpSocket,
    pub(crate) remote: SocketAddr,
    pub(crate) verifier: Arc<PinVerifier>,
    pub(crate) path: Option<SealedPath<AesSeal>>,
    is_connected: bool,
    has_stood: bool,
    datagram: Vec<u8>,
}

impl Connection {
    /// Begins to connect; nothing has been proven yet.
    pub(crate) fn begin(remote: SocketAddr, host: &str, verifier: Arc<PinVerifier>) -> io::Result<Self> {
        let tls = verifier.tls().map_err(io::Error::other)?;
        Self::begin_with(remote, host, verifier, tls)
    }

    /// The same with what TLS is told made before, by `verifier`: many connections share it.
    pub(crate) fn begin_with(
        remote: SocketAddr,
        host: &str,
        verifier: Arc<PinVerifier>,
        tls: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| remote.ip().into());
        let tls = ClientConnection::new(tls, name);
        let socket = TcpStream::connect(remote)?;
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let udp = UdpSocket::bind(any)?;
        udp.connect(remote)?;
        Ok(Self {
            stream: TlsStream::new(socket, tls.map_err(io::Error::other)?.into()),
            udp,
            remote,
            verifier,
            path: None,
            is_connected: false,
            has_stood: false,
            datagram: Vec::new(),
        })
    }

    /// How far it is now.
    ///
    /// # Errors
    /// When connecting failed, or the server agreed to another protocol.
    pub(crate) fn progress(&mut self) -> io::Result<Progress> {
        if !self.is_connected {
            let socket = self.stream.socket_mut();
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Ok(_) => self.is_connected = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(Progress::Connecting),
                Err(error) => return Err(error),
            }
        }
        if self.stream.is_handshaking() {
            return Ok(Progress::Handshaking);
        }
        if self.stream.tls().alpn_protocol() != Some(control::ALPN) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another protocol"));
        }
        Ok(Progress::Standing)
    }

    /// True once: when the handshake is done.
    pub(crate) fn is_newly_standing(&mut self) -> bool {
        let stands = self.is_connected
            && !self.stream.is_handshaking()
            && self.stream.tls().alpn_protocol() == Some(control::ALPN);
        stands && !std::mem::replace(&mut self.has_stood, true)
    }

    pub(crate) fn has_stood(&self) -> bool {
        self.has_stood
    }

    pub(crate) fn open_path(&mut self, session: SessionId) {
        let seal = AesSeal::from_tls(self.stream.tls(), End::Client);
        self.path = seal.map(|seal| SealedPath::new(session, seal));
    }

    /// Seals and sends; false when it could not be.
    pub(crate) fn send_datagram(&mut self, kind: DatagramKind, payload: &[u8]) -> bool {
        let Some(path) = &mut self.path else { return false };
        self.datagram.clear();
        path.seal(kind, payload, &mut self.datagram)
            && self.udp.send(&self.datagram).or_else(|_| self.udp.send(&self.datagram)).is_ok()
    }
}
