//! New connections, as many as a turn's budget allows.

use std::{io, net::SocketAddr};

use chinwag_proto::{
    Duration, Instant, Peer,
    server::{Dialect, Input},
};
use mio::{Interest, Token};

use super::{
    FIRST_PEER, Observation, ServerLoop, Service, classic::ClassicStream, gateway, peers::Connection,
    speech::Speech,
};
use crate::stream::TlsStream;

/// Connections accepted at one listener before others have their turn.
const ACCEPT_BUDGET: usize = 64;
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
            if let Err(error) = self.admit(now, service, peer, socket, from) {
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
        service: Service,
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
        self.peers.insert(peer, Connection::new(stream, from));
        gateway::claim(&mut self.classic_voice, &mut self.peers, peer);
        self.server.handle_input(now, Input::Accepted { peer, dialect });
        Ok(())
    }
}
