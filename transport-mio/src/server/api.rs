//! What a server's loop is told at the start, and what it tells its operator.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use chinwag_proto::server::{CloseCause, Dialect, ServerEvent};
use mio::Waker;

use super::losses::Losses;
use crate::identity::Identity;

/// What a server is told at the start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen, TCP and UDP; port 0 picks a free one. `[::]` stands for IPv4 too.
    pub listen: Vec<SocketAddr>,
    /// Where to listen for classic programs, TCP; none unless they are wanted: they know no encryption.
    pub classic_text: Vec<SocketAddr>,
    /// Who the server is.
    pub identity: Identity,
    /// How many may be in.
    pub max_clients: usize,
}

/// What an operator may want to see.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A connection was accepted.
    Connected {
        /// From where.
        from: SocketAddr,
    },
    /// Something happened in the hub.
    Event(&'a ServerEvent),
    /// The server closed a connection.
    Closed {
        /// Whose.
        from: SocketAddr,
        /// Why.
        cause: &'a CloseCause,
    },
    /// A connection ended or failed by itself.
    Lost {
        /// Whose.
        from: SocketAddr,
        /// How.
        error: Option<&'a io::Error>,
    },
    /// Something was dropped or somebody turned away since this was said last; once a minute at most.
    Lossy(&'a Losses),
    /// The system has no more connections to give for the moment. Said again only after it went well for a while.
    CannotAccept(&'a io::Error),
    /// A connection could not be served.
    CannotServe {
        /// Whose.
        from: SocketAddr,
        /// Why.
        error: &'a io::Error,
    },
}

/// A server that cannot listen: where, and why.
#[derive(Debug)]
pub struct ListenError {
    pub(super) address: SocketAddr,
    pub(super) dialect: Dialect,
    pub(super) error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, dialect, error } = self;
        write!(f, "cannot listen on {address}: {error}")?;
        let option = match dialect {
            Dialect::Native => "--listen",
            Dialect::Classic => "--classic-text",
        };
        if error.kind() == io::ErrorKind::AddrInUse {
            write!(f, "; is another server running? choose another address with {option} ADDR:PORT")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            write!(f, "; ports below 1024 need rights, choose a higher one")
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for ListenError {}

/// Asks a running server to stop, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Arc<Waker>);

impl StopHandle {
    /// Stops it as a signal would.
    ///
    /// # Errors
    /// When the system refuses to wake the loop.
    pub fn stop(&self) -> io::Result<()> {
        self.0.wake()
    }
}
