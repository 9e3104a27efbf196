//! What comes in from outside without having been asked: new connections and datagrams, each within a budget.

use std::{io, net::SocketAddr};

use chinwag_proto::{
    Duration, Instant, Peer,
    server::{Dialect, Input},
    wire::path::Header,
};
use mio::{Interest, Token};

use super::{
    FIRST_PEER, Observation, ServerLoop, Service, classic::ClassicStream, gateway, peers::Connection,
    speech::Speech,
};
use crate::stream::TlsStream;

/// Connections accepted at one listener before others have their turn.
const ACCEPT_BUDGET: usize = 64;
/// Datagrams taken from one socket before connections have their turn.
const DATAGRAM_BUDGET: usize = 4096;
/// After the process ran out of file descriptors it waits so long before it accepts again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// When accepting went well for so long, the next failure is told at once; else it is only counted.
const ACCEPT_CALM: Duration = Duration::from_secs(60);

impl ServerLoop {
    /// Accepts what waits, within its budget.
    pub(super) fn accept(&mut self, now: Instant, index: usize, observe: &mut dyn FnMut(Observation<'_>)) {
        for _ in 0..ACCEPT_BUDGET {
            let Some(listener) = self.listeners.get_mut(index) else { return };
            listener.has_connections = self.stopping.is_none();
            if !listener.has_connections {
                return;
            }
            let service = listener.service;
            let (socket, from) = match listener.tcp.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.has_connections = false;
                    return;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    // Most often out of file descriptors: no event will say when there are some again.
                    listener.has_connections = false;
                    self.accept_again = Some(now + ACCEPT_PAUSE);
                    self.losses.accept_failures += 1;
                    if self.accept_failed.is_none_or(|last| now >= last + ACCEPT_CALM) {
                        observe(Observation::CannotAccept(&error));
                    }
                    self.accept_failed = Some(now);
                    return;
                }
            };
            if service == Service::ClassicVoice {
                self.accept_voice(now, socket, from);
                continue;
            }
            if self.peers.is_crowded(from.ip(), service) {
                self.losses.crowded += 1;
                self.losses.last_crowded = Some(from);
                continue;
            }
            let Some(peer) = self.peers.reserve() else {
                self.losses.beyond_table += 1;
                continue;
            };
            if let Err(error) = self.admit(now, (index, service), peer, socket, from) {
                observe(Observation::CannotServe { from, error: &error });
                continue;
            }
            observe(Observation::Connected { from });
            self.carry_out(now, observe);
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        (listener, service): (usize, Service),
        peer: Peer,
        mut socket: mio::net::TcpStream,
        from: SocketAddr,
    ) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(FIRST_PEER + peer.index()), interest)?;
        let (dialect, stream) = match service {
            Service::Native => {
                let tls = rustls::ServerConnection::new(self.identity.tls()).map_err(io::Error::other)?;
                (Dialect::Native, Speech::Native(TlsStream::new(socket, tls.into()).into()))
            }
            Service::ClassicText | Service::ClassicVoice => {
                (Dialect::Classic, Speech::Classic(ClassicStream::new(socket)))
            }
        };
        self.peers.insert(peer, Connection::new(stream, from, listener));
        gateway::claim(&mut self.classic_voice, &mut self.peers, peer);
        self.server.handle_input(now, Input::Accepted { peer, dialect });
        Ok(())
    }

    /// Takes datagrams, within their budget.
    pub(super) fn receive(&mut self, now: Instant, index: usize, observe: &mut dyn FnMut(Observation<'_>)) {
        for _ in 0..DATAGRAM_BUDGET {
            let Some(listener) = self.listeners.get_mut(index) else { return };
            let Some(udp) = &listener.udp else { return };
            listener.has_datagrams = true;
            let (count, from) = match udp.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.has_datagrams = false;
                    return;
                }
                // What an earlier send met (ICMP) is reported here; it concerns no datagram of ours.
                Err(_) => continue,
            };
            let datagram = self.buffer.get_mut(..count).unwrap_or_default();
            let owner = Header::parse(datagram).and_then(|header| self.server.peer_of(header.session));
            let connection = owner.and_then(|peer| Some((peer, self.peers.get_mut(peer)?)));
            let Some((peer, Connection { path: Some(path), listener, .. })) = connection else {
                self.stats.not_ours += 1;
                continue;
            };
            match path.open(from, datagram) {
                Ok(opened) => {
                    self.stats.received += 1;
                    if path.remote() == Some(from) {
                        // Answers go out by the socket that the peer reaches.
                        *listener = index;
                    }
                    let (kind, payload) = (opened.kind, opened.payload);
                    self.server.handle_input(now, Input::Datagram { peer, kind, payload });
                    self.carry_out(now, observe);
                }
                Err(error) => self.stats.count(error),
            }
        }
    }
}
