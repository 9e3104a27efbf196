//! A client's loop: one connection at a time on one side, [`chinwag_proto::client::Client`] on the other.

pub(crate) mod connection;
mod stats;

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read as _},
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
};

use chinwag_proto::{
    Instant, Rng,
    client::{Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, EndReason},
    limits,
    link::{Fingerprint, Link},
};
use mio::{Events, Interest, Poll, Token, Waker};

use self::connection::{Connection, Progress};
pub use self::stats::DatagramStats;
use crate::{
    clock, signals,
    stream::ReadEnd,
    trust::{KnownHosts, PinVerifier},
};

const SIGNAL: Token = Token(0);
const WAKER: Token = Token(1);
const TCP: Token = Token(2);
const UDP: Token = Token(3);

/// Bytes read from the connection before other work has its turn: a server that never stops sending is not to keep the
/// user from being heard, or from leaving.
const READ_BUDGET: usize = 128 * 1024;
/// What a read costs of that at least: many small TLS records are more work than few large ones.
const READ_COST: usize = 2 * 1024;
/// Datagrams taken before other work has its turn.
const DATAGRAM_BUDGET: usize = 1024;
/// Addresses of one host name that are tried.
const ADDRESSES: usize = 8;

/// What a client is told at the start.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where the server is; a fingerprint in it is the proof of who it is.
    pub link: Link,
    /// The servers that were seen before.
    pub known_hosts: KnownHosts,
    /// Who joins.
    pub config: ClientConfig,
}

/// What the program around the loop does.
pub trait Handler {
    /// The user is told something.
    fn event(&mut self, now: Instant, event: ClientEvent);

    /// Voice of others: whole frames.
    fn voice(&mut self, now: Instant, payload: &[u8]);

    /// Something about the connection itself: a line for the user.
    fn notice(&mut self, text: &str);

    /// Called in every turn, also after [`Waker::wake`]: the place to say, talk and quit.
    fn tend(&mut self, now: Instant, client: &mut Client);

    /// When the next turn is to be, also if nothing happens.
    fn due(&self) -> Option<Instant> {
        None
    }
}

/// Why the loop cannot go on; each says what to do.
#[derive(Debug)]
pub enum ClientError {
    /// The server is not the one that was expected.
    Untrusted {
        /// Which server.
        authority: String,
        /// What it should have shown.
        expected: Fingerprint,
        /// What it showed.
        seen: Fingerprint,
        /// Where the expectation came from, when it was not given by the user.
        known_hosts: Option<PathBuf>,
    },
    /// The system failed.
    Io(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted { authority, expected, seen, known_hosts: Some(file) } => write!(
                f,
                "THE SERVER {authority} IS NOT THE ONE YOU KNOW: its certificate has changed.\n\
                 known:  {expected}\nshown:  {seen}\n\
                 Somebody may be listening in between, or the server was set up anew. Ask whoever runs it; if the \
                 new fingerprint is right, join once with --fingerprint {seen}, or remove the line of {authority} \
                 from {}",
                file.display()
            ),
            Self::Untrusted { authority, expected, seen, known_hosts: None } => write!(
                f,
                "{authority} is not the server you asked for: its certificate has another fingerprint.\n\
                 asked for:  {expected}\nshown:      {seen}\n\
                 Check the link or fingerprint with whoever gave it to you"
            ),
            Self::Io(error) => write!(f, "the network cannot be used: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a turn's budget ended before what there was to read; no event says so again.
#[derive(Clone, Copy, Debug, Default)]
struct HasMore {
    bytes: bool,
    datagrams: bool,
}

/// A client with its sockets.
#[derive(Debug)]
pub struct ClientLoop {
    poll: Poll,
    waker: Arc<Waker>,
    signals: mio::net::UnixStream,
    options: ClientOptions,
    client: Client,
    /// Addresses that are yet to be tried.
    candidates: VecDeque<SocketAddr>,
    connection: Option<Connection>,
    /// What went wrong with the last candidate.
    last_error: Option<String>,
    stats: DatagramStats,
    buffer: Vec<u8>,
    /// There may be more to read than one turn took.
    has_more: HasMore,
    end: Option<EndReason>,
}

impl ClientLoop {
    /// A client that connects when it is run.
    ///
    /// # Errors
    /// When the system gives no readiness queue.
    pub fn new(options: ClientOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut signals = mio::net::UnixStream::from_std(signals::stream()?);
        poll.registry().register(&mut signals, SIGNAL, Interest::READABLE)?;
        let seed = Rng::from_seed(clock::random_seed()?);
        Ok(Self {
            poll,
            waker,
            signals,
            client: Client::new(clock::now(), options.config.clone(), seed),
            options,
            candidates: VecDeque::new(),
            connection: None,
            last_error: None,
            stats: DatagramStats::default(),
            buffer: vec![0; 16 * 1024],
            has_more: HasMore::default(),
            end: None,
        })
    }

    /// Wakes the loop from other threads, so that [`Handler::tend`] is called.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The machine, for its counters.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What became of datagrams.
    pub fn datagram_stats(&self) -> DatagramStats {
        self.stats
    }

    /// Runs until the conversation has ended.
    ///
    /// # Errors
    /// [`ClientError`]: an untrusted server, or a system that fails.
    pub fn run(&mut self, handler: &mut impl Handler) -> Result<EndReason, ClientError> {
        let mut events = Events::with_capacity(64);
        let mut is_interrupted = false;
        loop {
            let now = clock::now();
            handler.tend(now, &mut self.client);
            if self.client.poll_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
            self.carry_out(now, handler)?;
            self.flush(now, handler)?;
            if let Some(end) = self.end {
                return Ok(end);
            }
            match self.poll.poll(&mut events, self.patience(handler)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = clock::now();
            let HasMore { mut bytes, mut datagrams } = self.has_more;
            for event in &events {
                match event.token() {
                    SIGNAL => {
                        // What was written only had to wake us.
                        let _ = self.signals.read(&mut [0; 64]);
                        if std::mem::replace(&mut is_interrupted, true) {
                            return Ok(EndReason::Quit);
                        }
                        self.client.quit(now);
                    }
                    TCP => bytes = true,
                    UDP => datagrams = true,
                    _ => {}
                }
            }
            if bytes {
                self.read(now, handler)?;
            }
            if datagrams {
                self.receive(now, handler)?;
            }
        }
    }

    fn patience(&self, handler: &impl Handler) -> Option<std::time::Duration> {
        if self.has_more.bytes || self.has_more.datagrams {
            return Some(std::time::Duration::ZERO);
        }
        let due = self.client.poll_timeout().into_iter().chain(handler.due()).min()?;
        let millis = due.since(clock::now()).as_micros().div_ceil(1000);
        Some(std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    fn read(&mut self, now: Instant, handler: &mut impl Handler) -> Result<(), ClientError> {
        let mut budget = READ_BUDGET;
        self.has_more.bytes = false;
        while budget > 0 {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            match connection.progress() {
                Ok(Progress::Connecting) => return Ok(()),
                Ok(Progress::Handshaking | Progress::Standing) => {}
                Err(error) => return self.lose(now, Some(error), handler),
            }
            let read = connection.stream.read(&mut self.buffer);
            if connection.is_newly_standing() {
                self.trust(handler);
                self.client.handle_input(now, ClientInput::Connected);
                self.carry_out(now, handler)?;
            }
            match read {
                Ok(count) => {
                    budget = budget.saturating_sub(count.max(READ_COST));
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    self.client.handle_input(now, ClientInput::Received { bytes });
                    self.carry_out(now, handler)?;
                }
                Err(ReadEnd::Drained | ReadEnd::More) => return Ok(()),
                Err(ReadEnd::Eof) => return self.lose(now, None, handler),
                Err(ReadEnd::Failed(error)) => return self.lose(now, Some(error), handler),
            }
        }
        self.has_more.bytes = true;
        Ok(())
    }

    fn receive(&mut self, now: Instant, handler: &mut impl Handler) -> Result<(), ClientError> {
        self.has_more.datagrams = false;
        for _ in 0..DATAGRAM_BUDGET {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            let count = match connection.udp.recv(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Nobody listens there (ICMP): the probes find that out by themselves.
                Err(_) => continue,
            };
            let remote = connection.remote;
            let Some(path) = &mut connection.path else {
                self.stats.not_ours += 1;
                continue;
            };
            let datagram = self.buffer.get_mut(..count).unwrap_or_default();
            match path.open(remote, datagram) {
                Ok(opened) => {
                    self.stats.received += 1;
                    let (kind, payload) = (opened.kind, opened.payload);
                    self.client.handle_input(now, ClientInput::Datagram { kind, payload });
                }
                Err(error) => self.stats.count(error),
            }
            self.carry_out(now, handler)?;
        }
        self.has_more.datagrams = true;
        Ok(())
    }

    /// Does what the machine wants done.
    fn carry_out(&mut self, now: Instant, handler: &mut impl Handler) -> Result<(), ClientError> {
        loop {
            let mut wants_connection = false;
            let mut is_overflowed = false;
            while let Some(output) = self.client.poll_output() {
                match output {
                    ClientOutput::Connect => {
                        wants_connection = true;
                        self.connection = None;
                    }
                    ClientOutput::Disconnect => {
                        if let Some(mut connection) = self.connection.take() {
                            self.stats.voice_dropped += connection.stream.voice_dropped();
                            if connection.stream.flush().is_ok() {
                                connection.stream.finish();
                            }
                        }
                        self.candidates.clear();
                    }
                    ClientOutput::Send { bytes, class } => {
                        if let Some(connection) = &mut self.connection {
                            is_overflowed |= connection.stream.queue(class, bytes).is_err();
                        }
                    }
                    ClientOutput::OpenPath { session } => {
                        if let Some(connection) = &mut self.connection {
                            connection.open_path(session);
                        }
                    }
                    ClientOutput::Datagram { kind, payload } => {
                        let sent = self.connection.as_mut().is_some_and(|c| c.send_datagram(kind, payload));
                        self.stats.sent += u64::from(sent);
                        self.stats.unsent += u64::from(!sent);
                    }
                    ClientOutput::Voice { payload } => handler.voice(now, payload),
                    ClientOutput::Event(event) => {
                        if let ClientEvent::Ended(reason) = event {
                            self.end = Some(reason);
                        }
                        handler.event(now, event);
                    }
                }
            }
            if wants_connection {
                self.resolve();
                self.try_next(now, handler);
            } else if is_overflowed {
                self.connection = None;
                self.client.handle_input(now, ClientInput::Disconnected);
            } else {
                return Ok(());
            }
        }
    }

    fn flush(&mut self, now: Instant, handler: &mut impl Handler) -> Result<(), ClientError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match connection.progress() {
            Ok(Progress::Connecting) => Ok(()),
            Ok(Progress::Handshaking | Progress::Standing) => match connection.stream.flush() {
                Ok(_) => Ok(()),
                Err(error) => self.lose(now, Some(error), handler),
            },
            Err(error) => self.lose(now, Some(error), handler),
        }
    }

    /// Looks the host up. This may block for as long as the system's resolver does; there is no conversation
    /// meanwhile that it could disturb.
    fn resolve(&mut self) {
        let Link { host, port, .. } = &self.options.link;
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(addresses) => self.candidates = addresses.take(ADDRESSES).collect(),
            Err(error) => {
                self.candidates.clear();
                self.last_error = Some(format!("the address of {host} cannot be found: {error}"));
            }
        }
    }

    /// Begins to connect to the next candidate; without one the machine is told that there is no connection.
    fn try_next(&mut self, now: Instant, handler: &mut impl Handler) {
        while let Some(address) = self.candidates.pop_front() {
            match self.begin(address) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return;
                }
                Err(error) => self.last_error = Some(format!("{address} cannot be reached: {error}")),
            }
        }
        if let Some(error) = self.last_error.take() {
            handler.notice(&error);
        }
        self.client.handle_input(now, ClientInput::Disconnected);
    }

    fn begin(&mut self, address: SocketAddr) -> io::Result<Connection> {
        let expected = self.expected()?;
        let verifier = PinVerifier::new(expected);
        let mut connection = Connection::begin(address, &self.options.link.host, verifier)?;
        let registry = self.poll.registry();
        registry.register(connection.stream.socket_mut(), TCP, Interest::READABLE | Interest::WRITABLE)?;
        registry.register(&mut connection.udp, UDP, Interest::READABLE)?;
        Ok(connection)
    }

    fn expected(&self) -> io::Result<Option<Fingerprint>> {
        match self.options.link.fingerprint {
            Some(given) => Ok(Some(given)),
            None => self.options.known_hosts.get(&self.options.link.authority()).map_err(|error| {
                let file = self.options.known_hosts.path().display();
                io::Error::other(format!("{file} cannot be read: {error}"))
            }),
        }
    }

    /// The handshake is done, the server proved to be whom it should be: remember it.
    fn trust(&mut self, handler: &mut impl Handler) {
        let Some(seen) = self.connection.as_ref().and_then(|connection| connection.verifier.seen()) else {
            return;
        };
        let authority = self.options.link.authority();
        let ClientOptions { known_hosts, link, .. } = &self.options;
        let known = known_hosts.get(&authority).ok().flatten();
        if known == Some(seen) {
            return;
        }
        if link.fingerprint.is_none() {
            handler.notice(&format!(
                "first time at {authority}: its fingerprint is {seen}\n\
                 (to be sure that nobody sits in between, compare it with what the server printed)"
            ));
        }
        if let Err(error) = known_hosts.set(&authority, seen) {
            let file = known_hosts.path().display();
            handler.notice(&format!("the server cannot be remembered in {file}: {error}"));
        }
    }

    /// The connection, or the attempt at one, is over.
    fn lose(
        &mut self,
        now: Instant,
        error: Option<io::Error>,
        handler: &mut impl Handler,
    ) -> Result<(), ClientError> {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        let address = connection.remote;
        let (expected, seen) = (self.expected().ok().flatten(), connection.verifier.seen());
        if !connection.has_stood()
            && let (Some(expected), Some(seen)) = (expected, seen)
            && expected != seen
        {
            let file = self.options.known_hosts.path().to_owned();
            let known_hosts = self.options.link.fingerprint.is_none().then_some(file);
            let authority = self.options.link.authority();
            return Err(ClientError::Untrusted { authority, expected, seen, known_hosts });
        }
        if connection.has_stood() {
            self.client.handle_input(now, ClientInput::Disconnected);
        } else {
            self.last_error = Some(match error {
                Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => format!(
                    "{address}: connection refused: no server listens there; check the address, the port \
                     (chinwag's is {}) and that the server runs",
                    limits::DEFAULT_PORT
                ),
                Some(error) if error.kind() == io::ErrorKind::InvalidData => {
                    format!("{address} does not speak chinwag/1: {error}")
                }
                Some(error) => format!("{address} cannot be reached: {error}"),
                None => format!("{address} closed the connection before it stood; is it a chinwag server?"),
            });
            self.try_next(now, handler);
        }
        self.carry_out(now, handler)
    }
}
