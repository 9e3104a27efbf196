//! Connections: each has two sockets and a pipe each way.

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    Counts,
    link::{Direction, Link},
    pipe::{Finish, Given, Pipe},
};

/// Connections at one time; others wait until the system turns them away.
const MAX_CONNECTIONS: usize = 128;

/// One end of a connection: its number, and which way what is read there goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    number: u64,
    reads: Direction,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    /// None until the client's SYN has got through.
    server: Option<TcpStream>,
    pipes: [Pipe; 2],
    /// The ends that the system reports as dead: it would do so again and again.
    is_hung_up: [bool; 2],
}

#[derive(Debug)]
pub(super) struct Streams {
    listener: TcpListener,
    server: SocketAddr,
    connections: BTreeMap<u64, Connection>,
    number: u64,
}

impl Streams {
    pub(super) fn new(listener: TcpListener, server: SocketAddr) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, server, connections: BTreeMap::new(), number: 0 })
    }

    pub(super) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Whether one more connection may be accepted.
    pub(super) fn has_room(&self) -> bool {
        self.connections.len() < MAX_CONNECTIONS
    }

    /// The sockets, and what they are to be watched for.
    pub(super) fn sockets<'s>(
        &'s self,
        link: &'s Link,
    ) -> impl Iterator<Item = (End, &'s TcpStream, PollFlags)> {
        self.connections.iter().flat_map(|(number, connection)| {
            [Direction::Up, Direction::Down].into_iter().filter_map(|reads| {
                let socket = connection.socket(reads).filter(|_| connection.server.is_some())?;
                let [from, to] = connection.around(reads);
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, from.has_room(link));
                flags.set(PollFlags::OUT, to.is_blocked());
                let is_dead = connection.is_hung_up[reads as usize];
                (!is_dead).then_some((End { number: *number, reads }, socket, flags))
            })
        })
    }

    /// When to call [`Self::tend`].
    pub(super) fn next_due(&self, link: &Link) -> Option<u64> {
        let due = |connection: &Connection| match connection.server {
            Some(_) => connection.pipes.iter().filter_map(|pipe| pipe.next_due(link)).min(),
            None => Some(link.up_at()),
        };
        self.connections.values().filter_map(due).min()
    }

    /// Takes whoever wants to connect.
    ///
    /// # Errors
    /// When the system has no connection to give.
    pub(super) fn accept(&mut self, now_us: u64, link: &mut Link, counts: &mut Counts) -> io::Result<()> {
        while self.has_room() {
            let client = match self.listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            counts.connections += 1;
            if link.up_at() > now_us && link.refuses() {
                abort(&client);
                continue;
            }
            client.set_nonblocking(true)?;
            client.set_nodelay(true)?;
            let pipes = [Pipe::new(Direction::Up), Pipe::new(Direction::Down)];
            let connection = Connection { client, server: None, pipes, is_hung_up: [false; 2] };
            self.connections.insert(self.number, connection);
            self.number += 1;
        }
        Ok(())
    }

    /// An end can be read from or written to, or is gone.
    pub(super) fn ready(
        &mut self,
        now_us: u64,
        end: End,
        flags: PollFlags,
        link: &mut Link,
        counts: &mut Counts,
    ) {
        let Some(connection) = self.connections.get_mut(&end.number) else { return };
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            connection.is_hung_up[end.reads as usize] = true;
        }
        if flags.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR) {
            connection.pipes[other(end.reads) as usize].unblock();
        }
        connection.take(now_us, end.reads, link, counts);
    }

    /// Does what is due.
    pub(super) fn tend(&mut self, now_us: u64, link: &mut Link, counts: &mut Counts) {
        let server = self.server;
        self.connections.retain(|_, connection| connection.tend(now_us, server, link, counts));
    }

    /// Resets every connection, at both ends; how many there were.
    pub(super) fn reset(&mut self) -> usize {
        let connections = std::mem::take(&mut self.connections);
        connections.values().for_each(Connection::abort);
        connections.len()
    }
}

impl Connection {
    /// The socket that is read from in this direction.
    fn socket(&self, reads: Direction) -> Option<&TcpStream> {
        match reads {
            Direction::Up => Some(&self.client),
            Direction::Down => self.server.as_ref(),
        }
    }

    /// The pipes that an end fills and empties.
    fn around(&self, reads: Direction) -> [&Pipe; 2] {
        [&self.pipes[reads as usize], &self.pipes[other(reads) as usize]]
    }

    fn abort(&self) {
        abort(&self.client);
        if let Some(server) = &self.server {
            abort(server);
        }
    }

    fn take(&mut self, now_us: u64, reads: Direction, link: &mut Link, counts: &mut Counts) {
        let Self { client, server, pipes, .. } = self;
        let Some(server) = server else { return };
        let socket: &TcpStream = if reads == Direction::Up { client } else { server };
        counts.bytes[reads as usize] += pipes[reads as usize].take(now_us, socket, link) as u64;
    }

    /// Does what is due; false when it is over.
    fn tend(&mut self, now_us: u64, to: SocketAddr, link: &mut Link, counts: &mut Counts) -> bool {
        if self.server.is_none() {
            // While the link is down, the client sends its SYN again until somebody answers.
            if link.up_at() > now_us {
                return true;
            }
            let Ok(server) = connect(to) else {
                self.abort();
                return false;
            };
            self.server = Some(server);
        }
        for direction in [Direction::Up, Direction::Down] {
            let Self { client, server: Some(server), pipes, .. } = self else { return false };
            let socket: &TcpStream = if direction == Direction::Up { server } else { client };
            match pipes[direction as usize].give(now_us, socket, link) {
                Given::SoFar => {}
                Given::All(Finish::Fin) => {
                    // Whoever is gone needs no end.
                    let _ = socket.shutdown(Shutdown::Write);
                }
                Given::All(Finish::Reset) | Given::Nobody => {
                    self.abort();
                    return false;
                }
            }
            // No event says so again of a dead one, and now there may be room for what it said before.
            if self.is_hung_up[direction as usize] {
                self.take(now_us, direction, link, counts);
            }
        }
        !self.pipes.iter().all(Pipe::has_finished)
    }
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}

/// What is closed after this is reset: the other end is told so, and what it has not read is lost.
fn abort(socket: &TcpStream) {
    // A socket that the other end has reset already does not need it.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Begins to connect; whether that works, the first read or write says.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}
