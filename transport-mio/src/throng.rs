//! Many clients on one loop, in one thread, against one server: for whoever wants to know what a server carries.
//!
//! Each is a whole [`Client`] with a connection and a UDP socket of its own, as [`crate::client`] has one. What is missing
//! is what a person needs: known hosts, signals, notices. Datagrams are looked for at regular times rather than when
//! the system says that there are some: with thousands of sockets that is less work, here and, on the same machine, for
//! the server that sends them. When they came is told by the system, so that nothing of that is seen in the times.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use chinwag_proto::{
    Instant, Rng,
    client::{Client, ClientConfig, ClientEvent, ClientInput, ClientOutput},
    link::Fingerprint,
};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};

pub use crate::client::DatagramStats;
use crate::{
    client::connection::{Connection, Progress},
    clock,
    identity::fingerprint_of,
    mmsg::{self, Inbox},
    stream::ReadEnd,
    trust::PinVerifier,
};

/// Bytes read from one connection before others have their turn.
const READ_BUDGET: usize = 128 * 1024;
/// What a read costs of that at least.
const READ_COST: usize = 2 * 1024;
/// Datagrams received at once.
const INBOX: usize = 64;
/// So often at most one socket is received from before others have their turn.
const RECEIVE_ROUNDS: usize = 16;
/// Sockets that are looked at before the caller, who may have something to send, has his turn.
const LOOKS: usize = 16;
/// What is asked of the system for each socket's datagrams; it gives what it may.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Between two looks at everybody's timers: five milliseconds, and more with thousands, whose timers are seconds.
const TIMERS_NS: u64 = 5_000_000;
const TIMERS_NS_EACH: u64 = 5_000;

/// Where the throng goes, and how it listens.
#[derive(Clone, Debug)]
pub struct ThrongOptions {
    /// The server's address.
    pub server: SocketAddr,
    /// Its name, for TLS.
    pub host: String,
    /// Who it must be; without one, it must stay who it was when the first client saw it.
    pub fingerprint: Option<Fingerprint>,
    /// How often each socket is looked at for datagrams; zero: when the system says that there are some.
    pub look_every: Duration,
}

/// What the program around the loop is told. Members are numbered in the order in which they were added, from 0.
pub trait Handler {
    /// What a client's user would be told.
    fn event(&mut self, member: usize, event: ClientEvent);

    /// Voice of others, whole frames, and when the system received it, in nanoseconds of `CLOCK_REALTIME`.
    fn voice(&mut self, member: usize, payload: &[u8], received_ns: u64);

    /// A connection ended, or did not come about: why. The server closes that of a member who quit, too.
    fn lost(&mut self, member: usize, why: &str);
}

#[derive(Debug)]
struct Member {
    client: Client,
    connection: Option<Connection>,
}

/// Many clients. See the module's documentation.
#[derive(Debug)]
pub struct Throng {
    poll: Poll,
    events: Option<Events>,
    members: Vec<Member>,
    shared: Shared,
    inbox: Inbox,
    buffer: Vec<u8>,
    look_every_ns: u64,
    /// Members before this one were looked at in this round; all of them when it is over.
    looked: usize,
    next_look_ns: u64,
    next_timers_ns: u64,
    /// Members with more to read than one turn took.
    unread: Vec<usize>,
    /// The same for datagrams.
    unreceived: Vec<usize>,
}

/// What all members need.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    options: ThrongOptions,
    verifier: Arc<PinVerifier>,
    tls: Arc<rustls::ClientConfig>,
    stats: DatagramStats,
}

impl Throng {
    /// Nobody yet.
    ///
    /// # Errors
    /// When the system gives no readiness queue, or TLS cannot be had.
    pub fn new(options: ThrongOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let verifier = PinVerifier::new(options.fingerprint);
        let tls = verifier.tls().map_err(io::Error::other)?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Some(Events::with_capacity(1024)),
            members: Vec::new(),
            look_every_ns: u64::try_from(options.look_every.as_nanos()).unwrap_or(u64::MAX),
            shared: Shared { registry, options, verifier, tls, stats: DatagramStats::default() },
            inbox: Inbox::new(INBOX),
            buffer: vec![0; 16 * 1024],
            looked: 0,
            next_look_ns: 0,
            next_timers_ns: 0,
            unread: Vec::new(),
            unreceived: Vec::new(),
        })
    }

    /// One more, who begins to connect at once. Returns its number.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn add(&mut self, config: ClientConfig, handler: &mut impl Handler) -> io::Result<usize> {
        let (index, now) = (self.members.len(), clock::now());
        let client = Client::new(now, config, Rng::from_seed(clock::random_seed()?));
        // Looked at in the next round, so that a round that is over stays over.
        self.looked += usize::from(self.looked == index);
        self.members.push(Member { client, connection: None });
        self.shared.carry_out(index, self.members.last_mut(), now, None, handler);
        Ok(index)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True before the first.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The machine of a member.
    pub fn client(&self, member: usize) -> Option<&Client> {
        self.members.get(member).map(|member| &member.client)
    }

    /// Lets `act` do with a member's machine what its user might, then does what the machine wants done. `None` when there is
    /// no such member.
    pub fn act<R>(
        &mut self,
        member: usize,
        handler: &mut impl Handler,
        act: impl FnOnce(&mut Client, Instant) -> R,
    ) -> Option<R> {
        let now = clock::now();
        let result = act(&mut self.members.get_mut(member)?.client, now);
        self.shared.carry_out(member, self.members.get_mut(member), now, None, handler);
        Some(result)
    }

    /// From now on each socket is looked at so often. Nothing changes when sockets are received from as the system says.
    pub fn look_every(&mut self, pause: Duration) {
        if self.look_every_ns > 0 {
            self.look_every_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).max(1);
            self.next_look_ns = 0;
        }
    }

    /// What became of everybody's datagrams.
    pub fn datagram_stats(&self) -> DatagramStats {
        self.shared.stats
    }

    /// How many datagrams the system dropped because the queues of sockets that are open now were full; `None` where it does not say.
    pub fn kernel_drops(&self) -> Option<u64> {
        let connections = self.members.iter().filter_map(|member| member.connection.as_ref());
        connections.map(|connection| mmsg::kernel_drops(&connection.udp).map(u64::from)).sum()
    }

    /// One turn: what is due and what has come, as much as can be done without keeping the caller for long. With nothing to do
    /// it waits, but not longer than until `until_ns` of [`clock::now_ns`].
    ///
    /// # Errors
    /// When the system's readiness notification fails.
    pub fn turn(&mut self, until_ns: u64, handler: &mut impl Handler) -> io::Result<()> {
        let now_ns = clock::now_ns();
        if now_ns >= self.next_timers_ns {
            let pause = TIMERS_NS.max(TIMERS_NS_EACH * self.members.len() as u64);
            self.next_timers_ns = now_ns + pause;
            self.tend(handler);
        }
        if self.looked == self.members.len() && self.look_every_ns > 0 && now_ns >= self.next_look_ns {
            self.looked = 0;
            self.next_look_ns = now_ns + self.look_every_ns;
        }
        if self.look_every_ns > 0 && self.looked < self.members.len() {
            let end = self.members.len().min(self.looked + LOOKS);
            for index in self.looked..end {
                self.receive(index, handler);
            }
            self.looked = end;
        } else if self.unread.is_empty() && self.unreceived.is_empty() {
            let look_ns = if self.look_every_ns > 0 { self.next_look_ns } else { u64::MAX };
            self.wait(until_ns.min(look_ns).min(self.next_timers_ns))?;
        }
        self.take_events(handler)
    }

    /// Waits for connections to have something, to the nanosecond, which mio does not.
    fn wait(&self, until_ns: u64) -> io::Result<()> {
        let wait_ns = until_ns.saturating_sub(clock::now_ns());
        if wait_ns == 0 {
            return Ok(());
        }
        let timeout = Timespec {
            tv_sec: (wait_ns / 1_000_000_000).try_into().unwrap_or(1),
            tv_nsec: (wait_ns % 1_000_000_000).try_into().unwrap_or(0),
        };
        match rustix::event::poll(&mut [PollFd::new(self.poll.registry(), PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_events(&mut self, handler: &mut impl Handler) -> io::Result<()> {
        // Taken out, so that what they say can be done meanwhile.
        let Some(mut events) = self.events.take() else { return Ok(()) };
        let result = match self.poll.poll(&mut events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        };
        for index in std::mem::take(&mut self.unread) {
            self.read(index, handler);
        }
        for index in std::mem::take(&mut self.unreceived) {
            self.receive(index, handler);
        }
        if result.is_ok() {
            for event in &events {
                let Token(token) = event.token();
                match token % 2 {
                    0 => self.read(token / 2, handler),
                    _ => self.receive(token / 2, handler),
                }
            }
        }
        self.events = Some(events);
        result
    }

    /// Everybody's timers.
    fn tend(&mut self, handler: &mut impl Handler) {
        let now = clock::now();
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.client.poll_timeout().is_some_and(|due| due <= now) {
                member.client.handle_timeout(now);
                self.shared.carry_out(index, Some(member), now, None, handler);
            }
        }
    }

    fn read(&mut self, index: usize, handler: &mut impl Handler) {
        let (now, mut budget) = (clock::now(), READ_BUDGET);
        let Some(member) = self.members.get_mut(index) else { return };
        while budget > 0 {
            let Some(connection) = &mut member.connection else { return };
            match connection.progress() {
                Ok(Progress::Connecting) => return,
                Ok(Progress::Handshaking | Progress::Standing) => {}
                Err(error) => return self.shared.lose(index, member, now, Some(&error), handler),
            }
            let read = connection.stream.read(&mut self.buffer);
            if connection.is_newly_standing() {
                if let Err(error) = self.shared.trust(connection) {
                    return self.shared.lose(index, member, now, Some(&error), handler);
                }
                member.client.handle_input(now, ClientInput::Connected);
                self.shared.carry_out(index, Some(member), now, None, handler);
            }
            match read {
                Ok(count) => {
                    budget = budget.saturating_sub(count.max(READ_COST));
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    member.client.handle_input(now, ClientInput::Received { bytes });
                    self.shared.carry_out(index, Some(member), now, None, handler);
                }
                // What could not be written before may be written now.
                Err(ReadEnd::Drained | ReadEnd::More) => {
                    return self.shared.flush(index, member, now, handler);
                }
                Err(ReadEnd::Eof) => return self.shared.lose(index, member, now, None, handler),
                Err(ReadEnd::Failed(error)) => {
                    return self.shared.lose(index, member, now, Some(&error), handler);
                }
            }
        }
        self.unread.push(index);
    }

    fn receive(&mut self, index: usize, handler: &mut impl Handler) {
        let Some(member) = self.members.get_mut(index) else { return };
        let mut now = None;
        for _ in 0..RECEIVE_ROUNDS {
            let Some(connection) = &mut member.connection else { return };
            let count = match self.inbox.receive(&connection.udp) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody listens there (ICMP): the probes find that out by themselves.
                Err(_) => continue,
            };
            let now = *now.get_or_insert_with(clock::now);
            for datagram in self.inbox.datagrams() {
                let Some(connection) = &mut member.connection else { return };
                let Some(path) = &mut connection.path else {
                    self.shared.stats.not_ours += 1;
                    continue;
                };
                match path.open(connection.remote, datagram.bytes) {
                    Ok(opened) => {
                        self.shared.stats.received += 1;
                        let (kind, payload) = (opened.kind, opened.payload);
                        member.client.handle_input(now, ClientInput::Datagram { kind, payload });
                        self.shared.carry_out(index, Some(member), now, datagram.time_ns, handler);
                    }
                    Err(error) => self.shared.stats.count(error),
                }
            }
            if count < INBOX {
                return;
            }
        }
        self.unreceived.push(index);
    }
}

impl Shared {
    /// Does what a machine wants done. `received_ns` is when the system received what this is the answer to, if it said so.
    fn carry_out(
        &mut self,
        index: usize,
        member: Option<&mut Member>,
        now: Instant,
        received_ns: Option<u64>,
        handler: &mut impl Handler,
    ) {
        let Some(member) = member else { return };
        let (mut wants_connection, mut is_overflowed, mut has_written) = (false, false, false);
        let Member { client, connection } = &mut *member;
        while let Some(output) = client.poll_output() {
            match output {
                ClientOutput::Voice { payload } => {
                    handler.voice(index, payload, received_ns.unwrap_or_else(clock::real_ns));
                }
                ClientOutput::Connect => {
                    wants_connection = true;
                    *connection = None;
                }
                ClientOutput::Disconnect => {
                    if let Some(mut connection) = connection.take()
                        && connection.stream.flush().is_ok()
                    {
                        connection.stream.finish();
                    }
                }
                ClientOutput::Send { bytes, class } => {
                    if let Some(connection) = connection {
                        is_overflowed |= connection.stream.queue(class, bytes).is_err();
                        has_written = true;
                    }
                }
                ClientOutput::OpenPath { session } => {
                    if let Some(connection) = connection {
                        connection.open_path(session);
                    }
                }
                ClientOutput::Datagram { kind, payload } => {
                    let sent = connection.as_mut().is_some_and(|c| c.send_datagram(kind, payload));
                    self.stats.sent += u64::from(sent);
                    self.stats.unsent += u64::from(!sent);
                }
                ClientOutput::Event(event) => handler.event(index, event),
            }
        }
        if wants_connection {
            match self.begin(index) {
                Ok(begun) => *connection = Some(begun),
                Err(error) => self.lose(index, member, now, Some(&error), handler),
            }
        } else if is_overflowed {
            let error = io::Error::other("it takes nothing");
            self.lose(index, member, now, Some(&error), handler);
        } else if has_written {
            self.flush(index, member, now, handler);
        }
    }

    fn flush(&mut self, index: usize, member: &mut Member, now: Instant, handler: &mut impl Handler) {
        let Some(connection) = &mut member.connection else { return };
        let result = match connection.progress() {
            Ok(Progress::Connecting) => Ok(true),
            Ok(Progress::Handshaking | Progress::Standing) => connection.stream.flush(),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.lose(index, member, now, Some(&error), handler);
        }
    }

    fn begin(&self, index: usize) -> io::Result<Connection> {
        let (verifier, tls) = (Arc::clone(&self.verifier), Arc::clone(&self.tls));
        let mut connection = Connection::begin_with(self.options.server, &self.options.host, verifier, tls)?;
        // More room is better, and times are better than none; neither is a reason to fail.
        let udp = socket2::SockRef::from(&connection.udp);
        let _ = udp.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = mmsg::enable_times(&connection.udp);
        let readiness = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(connection.stream.socket_mut(), Token(2 * index), readiness)?;
        if self.options.look_every.is_zero() {
            self.registry.register(&mut connection.udp, Token(2 * index + 1), Interest::READABLE)?;
        }
        Ok(connection)
    }

    /// Whom the first one saw is whom all must see.
    fn trust(&mut self, connection: &Connection) -> io::Result<()> {
        let certificates = connection.stream.tls().peer_certificates();
        let seen = certificates.and_then(|all| all.first()).map(fingerprint_of);
        let seen = seen.ok_or_else(|| io::Error::other("it showed no certificate"))?;
        match self.options.fingerprint {
            None => {
                self.options.fingerprint = Some(seen);
                self.verifier = PinVerifier::new(Some(seen));
                self.tls = self.verifier.tls().map_err(io::Error::other)?;
                Ok(())
            }
            Some(expected) if expected == seen => Ok(()),
            Some(_) => Err(io::Error::other(format!("it shows another certificate: {seen}"))),
        }
    }

    /// A connection, or the attempt at one, is over.
    fn lose(
        &mut self,
        index: usize,
        member: &mut Member,
        now: Instant,
        error: Option<&io::Error>,
        handler: &mut impl Handler,
    ) {
        let (expected, seen) = (self.options.fingerprint, self.verifier.seen());
        let has_stood = member.connection.take().is_some_and(|connection| connection.has_stood());
        match (error, expected, seen) {
            (_, Some(expected), Some(seen)) if !has_stood && expected != seen => handler.lost(
                index,
                &format!("its certificate has another fingerprint: {seen}, and {expected} was expected"),
            ),
            (Some(error), ..) => handler.lost(index, &error.to_string()),
            (None, ..) => handler.lost(index, "the server closed the connection"),
        }
        member.client.handle_input(now, ClientInput::Disconnected);
        self.carry_out(index, Some(member), now, None, handler);
    }
}
