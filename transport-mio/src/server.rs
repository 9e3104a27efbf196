//! The server's loop: sockets on one side, [`chinwag_proto::server::Server`] on the other.
//!
//! A wake-up drains every ready socket until it would block, then flushes once. Work for one connection in one wake-up
//! is bounded, so that nobody can keep the loop to himself.

mod peers;
mod sockets;

use std::{
    fmt,
    io::{self, Read as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::Arc,
};

use chinwag_proto::{
    Duration, Instant, Peer, Rng, limits,
    server::{CloseCause, Input, Output, Server, ServerEvent},
    wire::path::Header,
};
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    peers::{Connection, Peers},
    sockets::Listener,
};
pub use crate::batch::DatagramStats;
use crate::{
    batch::Batch,
    clock,
    identity::Identity,
    seal::{AesSeal, End},
    stream::ReadEnd,
};

const SIGNAL: Token = Token(0);
const WAKER: Token = Token(1);
/// Two tokens for each listener, then one for each connection.
const FIRST_LISTENER: usize = 2;
const FIRST_PEER: usize = 1 << 16;

/// Bytes read from one connection before the others have their turn.
const READ_BUDGET: usize = 128 * 1024;
/// Datagrams taken from one socket before connections have their turn.
const DATAGRAM_BUDGET: usize = 4096;
/// After the process ran out of file descriptors it waits so long before it accepts again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// When the server stops, peers have so long to read what was sent.
const STOP_LINGER: Duration = Duration::from_secs(2);

/// What a server is told at the start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen, TCP and UDP; port 0 picks a free one. `[::]` stands for IPv4 too.
    pub listen: Vec<SocketAddr>,
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
    /// Something that the operator should see to.
    Trouble(String),
}

/// A server that cannot listen: where, and why.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        write!(f, "cannot listen on {address}: {error}")?;
        if error.kind() == io::ErrorKind::AddrInUse {
            write!(f, "; is another server running? choose another address with --listen ADDR:PORT")
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
pub struct StopHandle(Arc<Waker>);

impl StopHandle {
    /// Stops it as a signal would.
    ///
    /// # Errors
    /// When the system refuses to wake the loop.
    pub fn stop(&self) -> io::Result<()> {
        self.0.wake()
    }
}

/// A server with its sockets.
#[derive(Debug)]
pub struct ServerLoop {
    poll: Poll,
    waker: Arc<Waker>,
    signals: mio::net::UnixStream,
    listeners: Vec<Listener>,
    identity: Identity,
    server: Server,
    peers: Peers,
    batch: Batch,
    stats: DatagramStats,
    /// Connections with more to read than their budget allowed.
    unread: Vec<Peer>,
    /// Connections with something to write.
    unflushed: Vec<Peer>,
    accept_again: Option<Instant>,
    stopping: Option<Instant>,
    buffer: Vec<u8>,
}

impl ServerLoop {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ListenError`] within [`io::Error`] for an address that cannot be had; else what the system said.
    pub fn bind(options: ServerOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let signals = signal_stream()?;
        let mut signals = mio::net::UnixStream::from_std(signals);
        poll.registry().register(&mut signals, SIGNAL, Interest::READABLE)?;
        let mut listeners = Vec::new();
        for address in options.listen {
            let mut listener =
                Listener::bind(address).map_err(|error| io::Error::other(ListenError { address, error }))?;
            let token = FIRST_LISTENER + 2 * listeners.len();
            poll.registry().register(&mut listener.tcp, Token(token), Interest::READABLE)?;
            poll.registry().register(&mut listener.udp, Token(token + 1), Interest::READABLE)?;
            listeners.push(listener);
        }
        let most = options.max_clients.min(limits::SESSIONS) + limits::PENDING_HELLOS;
        Ok(Self {
            poll,
            waker,
            signals,
            listeners,
            identity: options.identity,
            server: Server::new(options.max_clients, Rng::from_seed(clock::random_seed()?)),
            peers: Peers::new(most),
            batch: Batch::default(),
            stats: DatagramStats::default(),
            unread: Vec::new(),
            unflushed: Vec::new(),
            accept_again: None,
            stopping: None,
            buffer: vec![0; 16 * 1024],
        })
    }

    /// The addresses in use, in the order in which they were asked for.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// A handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.waker))
    }

    /// The machine, for its counters.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What became of datagrams.
    pub fn datagram_stats(&self) -> DatagramStats {
        self.stats
    }

    /// Serves until SIGTERM, SIGINT or [`StopHandle::stop`]; then everybody is told and the sockets close.
    ///
    /// # Errors
    /// When the system's readiness notification fails; never through the fault of a peer.
    pub fn run(&mut self, observe: &mut dyn FnMut(Observation<'_>)) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = clock::now();
            if self.stopping.is_some_and(|deadline| now >= deadline || self.peers.is_empty()) {
                return Ok(());
            }
            match self.poll.poll(&mut events, self.patience(now)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = clock::now();
            for event in &events {
                match event.token() {
                    SIGNAL | WAKER => self.stop(now, observe),
                    Token(token) if token >= FIRST_PEER => {
                        let Some(peer) = self.peers.handle(token - FIRST_PEER) else { continue };
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.read(now, peer, observe);
                        }
                        if event.is_writable()
                            && let Some(connection) = self.peers.get_mut(peer)
                        {
                            connection.flush_later(peer, &mut self.unflushed);
                        }
                    }
                    Token(token) => {
                        let index = (token - FIRST_LISTENER) / 2;
                        if (token - FIRST_LISTENER).is_multiple_of(2) {
                            self.accept(now, index, observe);
                        } else {
                            self.receive(now, index, observe);
                        }
                    }
                }
            }
            self.catch_up(now, observe);
            self.flush(now, observe);
        }
    }

    /// How long to sleep.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.unread.is_empty() || self.listeners.iter().any(|listener| listener.has_more) {
            return Some(Duration::ZERO);
        }
        let due = [self.server.poll_timeout(), self.peers.next_cut(), self.accept_again, self.stopping];
        let due = due.into_iter().flatten().min()?;
        // The system counts in milliseconds: rounding up avoids a turn that comes too early to do anything.
        let millis = due.since(now).as_micros().div_ceil(1000);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// What is due without an event: timers, what was left over, connections to cut.
    fn catch_up(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        for peer in std::mem::take(&mut self.unread) {
            self.read(now, peer, observe);
        }
        for index in 0..self.listeners.len() {
            if self.listeners.get(index).is_some_and(|listener| listener.has_more) {
                self.receive(now, index, observe);
            }
        }
        if self.accept_again.is_some_and(|due| due <= now) {
            self.accept_again = None;
            for index in 0..self.listeners.len() {
                self.accept(now, index, observe);
            }
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now) {
            self.server.handle_timeout(now);
            self.carry_out(now, observe);
        }
        while let Some(peer) = self.peers.pop_cut(now) {
            self.remove(peer);
        }
    }

    fn stop(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        // What was written only had to wake us.
        let _ = self.signals.read(&mut [0; 64]);
        if self.stopping.is_some() {
            // Asked twice: no more patience.
            self.stopping = Some(now);
        } else {
            self.stopping = Some(now + STOP_LINGER);
            for listener in &mut self.listeners {
                // Nobody else is to wait in a queue that is not served any more.
                let _ = self.poll.registry().deregister(&mut listener.tcp);
            }
            self.server.handle_input(now, Input::Shutdown);
            self.carry_out(now, observe);
        }
    }

    fn accept(&mut self, now: Instant, index: usize, observe: &mut dyn FnMut(Observation<'_>)) {
        while let Some(listener) = self.listeners.get(index).filter(|_| self.stopping.is_none()) {
            let (socket, from) = match listener.tcp.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
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
                    observe(Observation::Trouble(format!("cannot accept connections for a moment: {error}")));
                    self.accept_again = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            if let Err(error) = self.admit(now, index, socket, from) {
                observe(Observation::Trouble(format!("{from} cannot be served: {error}")));
                continue;
            }
            observe(Observation::Connected { from });
            self.carry_out(now, observe);
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        listener: usize,
        mut socket: mio::net::TcpStream,
        from: SocketAddr,
    ) -> io::Result<()> {
        let tls = rustls::ServerConnection::new(self.identity.tls()).map_err(io::Error::other)?;
        let peer = self.peers.reserve().ok_or_else(|| io::Error::other("too many connections"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(FIRST_PEER + peer.index()), interest)?;
        self.peers.insert(peer, Connection::new(socket, tls, from, listener));
        self.server.handle_input(now, Input::Accepted { peer });
        Ok(())
    }

    fn read(&mut self, now: Instant, peer: Peer, observe: &mut dyn FnMut(Observation<'_>)) {
        let mut budget = READ_BUDGET;
        loop {
            let Some(connection) = self.peers.get_mut(peer) else { return };
            if connection.is_closing {
                if connection.stream.discard() {
                    self.remove(peer);
                }
                return;
            }
            if connection.is_paused {
                return;
            }
            let end = match connection.stream.read(&mut self.buffer) {
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    self.server.handle_input(now, Input::Received { peer, bytes });
                    self.carry_out(now, observe);
                    if budget > 0 {
                        continue;
                    }
                    ReadEnd::More
                }
                Err(end) => end,
            };
            // The handshake has its own bytes to answer with.
            if let Some(connection) = self.peers.get_mut(peer) {
                connection.flush_later(peer, &mut self.unflushed);
            }
            let error = match end {
                ReadEnd::Drained => return,
                ReadEnd::More => return self.unread.push(peer),
                ReadEnd::Eof => None,
                ReadEnd::Failed(error) => Some(error),
            };
            return self.lose(now, peer, error.as_ref(), observe);
        }
    }

    fn lose(
        &mut self,
        now: Instant,
        peer: Peer,
        error: Option<&io::Error>,
        observe: &mut dyn FnMut(Observation<'_>),
    ) {
        let Some(connection) = self.peers.get_mut(peer) else { return };
        let (from, was_closing) = (connection.from, connection.is_closing);
        if !was_closing {
            observe(Observation::Lost { from, error });
            self.server.handle_input(now, Input::Closed { peer });
            self.carry_out(now, observe);
        }
        self.remove(peer);
    }

    fn receive(&mut self, now: Instant, index: usize, observe: &mut dyn FnMut(Observation<'_>)) {
        for _ in 0..DATAGRAM_BUDGET {
            let Some(listener) = self.listeners.get_mut(index) else { return };
            listener.has_more = true;
            let (count, from) = match listener.udp.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.has_more = false;
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

    /// Does what the machine wants done.
    fn carry_out(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        let mut overflowed = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { bytes, class, to } => {
                    for &peer in to {
                        let Some(connection) = self.peers.get_mut(peer) else { continue };
                        match connection.stream.queue(class, bytes) {
                            Ok(()) => connection.flush_later(peer, &mut self.unflushed),
                            Err(_) => overflowed.push(peer),
                        }
                    }
                }
                Output::Relay { kind, frame, to } => {
                    for &peer in to {
                        let path =
                            self.peers.get_mut(peer).and_then(|c| Some((c.path.as_mut()?, c.listener)));
                        let Some((path, listener)) = path else { continue };
                        let Some(remote) = path.remote() else {
                            self.stats.unsent += 1;
                            continue;
                        };
                        if !self.batch.add(listener, remote, |bytes| path.seal(kind, frame, bytes)) {
                            self.stats.unsent += 1;
                        }
                    }
                    if self.batch.is_full() {
                        let listeners = &self.listeners;
                        self.batch.flush(|index| Some(&listeners.get(index)?.udp), &mut self.stats);
                    }
                }
                Output::OpenPath { peer, session } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        let seal = AesSeal::from_tls(connection.stream.tls(), End::Server);
                        connection.open_path(session, seal);
                    }
                }
                Output::Pause { peer } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        connection.is_paused = true;
                    }
                }
                Output::Unpause { peer } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        connection.is_paused = false;
                        self.unread.push(peer);
                    }
                }
                Output::Close { peer, cause } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        observe(Observation::Closed { from: connection.from, cause: &cause });
                        connection.is_closing = true;
                        connection.flush_later(peer, &mut self.unflushed);
                        self.peers.cut_later(peer, now + limits::CLOSE_LINGER);
                    }
                }
                Output::Event(event) => observe(Observation::Event(&event)),
            }
        }
        for peer in overflowed {
            self.server.handle_input(now, Input::Overflowed { peer });
            // Its own outputs: a goodbye that no longer fits, and the close.
            self.carry_out(now, observe);
        }
    }

    /// Sends what this wake-up produced.
    fn flush(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        let listeners = &self.listeners;
        self.batch.flush(|index| Some(&listeners.get(index)?.udp), &mut self.stats);
        // Losing a connection tells others, who are then to be flushed too.
        while !self.unflushed.is_empty() {
            for peer in std::mem::take(&mut self.unflushed) {
                let Some(connection) = self.peers.get_mut(peer) else { continue };
                connection.will_be_flushed = false;
                match connection.stream.flush() {
                    Ok(true) if connection.is_closing && !connection.is_finished => {
                        connection.is_finished = true;
                        connection.stream.finish();
                    }
                    Ok(_) => {}
                    Err(error) => self.lose(now, peer, Some(&error), observe),
                }
            }
        }
    }

    fn remove(&mut self, peer: Peer) {
        if let Some(mut connection) = self.peers.remove(peer) {
            self.stats.voice_dropped += connection.stream.voice_dropped();
            // Dropping the socket closes it; the registration goes with it.
            let _ = self.poll.registry().deregister(connection.stream.socket_mut());
        }
    }
}

/// A stream that becomes readable with SIGTERM, SIGINT or SIGHUP (the terminal was closed). A program that was started
/// to outlive its terminal, as `nohup` does it, does.
pub(crate) fn signal_stream() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
    if !is_hangup_ignored() {
        signal_hook::low_level::pipe::register(SIGHUP, writer.try_clone()?)?;
    }
    signal_hook::low_level::pipe::register(SIGINT, writer)?;
    Ok(reader)
}

/// Whether this program was started with SIGHUP ignored; elsewhere than on Linux nobody tells without unsafe code.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
