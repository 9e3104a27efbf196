//! `chinwag-sim relay`: stands between real programs and does to their sockets, in real time, what the simulated network
//! does to the simulated ones. One relay is one link: all that pass through it are delayed, cut and parted together. Who
//! wants a link of its own for each client starts a relay for each.
//!
//! One thread and one `poll`; every queue is bounded. TCP is relayed as bytes, so that the ends' own TCP is never lossy:
//! what a lost segment would cost is a `stall`.

mod datagrams;
mod link;
mod orders;
mod pipe;
mod streams;

use std::{
    fmt::{self, Display},
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
};

use anyhow::Context as _;
use chinwag_sim::Spec;
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    datagrams::Datagrams,
    link::{Direction, Link},
    orders::{Order, Orders, conditions},
    streams::{End, Streams},
};

/// How often another free port is tried when the one that TCP got is taken for UDP.
const PORT_TRIES: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where clients find it, by TCP and UDP; port 0 is any that is free, and is told
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the server is
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,
    /// The network, as for `run`, without what happens to programs; `short` and `stall` are of the byte stream
    #[arg(long, value_name = "KEY=VALUE,...", default_value = "", value_parser = conditions)]
    net: Spec,
    /// What all chance comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl Relay {
    /// Relays until it is told to quit, on standard input.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let (tcp, udp) = bind(self.listen).with_context(|| format!("cannot listen on {}", self.listen))?;
        let address = tcp.local_addr()?;
        tell(&format_args!("listening on {address}, passing on to {}", self.to));
        let mut turns = Turns {
            clock: Clock::start(),
            link: Link::new(self.net, self.seed),
            datagrams: Datagrams::new(udp, self.to)?,
            streams: Streams::new(tcp, self.to)?,
            orders: Orders::default(),
            counts: Counts::default(),
        };
        turns.run().context("the relay cannot go on")?;
        tell(&turns.counts);
        Ok(())
    }
}

/// A TCP and a UDP socket with one port number.
fn bind(listen: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp = TcpListener::bind(listen)?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if tries == 0 || error.kind() != io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => {}
        }
    }
}

/// Writes a line to whoever watches; nobody has to.
fn tell(line: &dyn Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Real time, in microseconds since the start.
#[derive(Debug)]
struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "what is relayed is real, and so is its time")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Datagrams that came, and copies of them that were passed on.
    datagrams: u64,
    passed: u64,
    lost: u64,
    queue_full: u64,
    too_large: u64,
    doubled: u64,
    replayed: u64,
    corrupted: u64,
    truncated: u64,
    /// Those that came when none passed: `noudp`, a cut, a partition.
    barred: u64,
    /// Those to an address that a NAT has forgotten.
    homeless: u64,
    /// Those for which the relay itself had no room.
    crowded_out: u64,
    connections: u64,
    bytes: [u64; 2],
    cuts: u64,
    resets: u64,
    rebinds: u64,
    partitions: u64,
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datagrams, passed, lost, queue_full, too_large, doubled, replayed, .. } = self;
        let Self { corrupted, truncated, barred, homeless, crowded_out, .. } = self;
        let Self { connections, bytes: [up, down], cuts, resets, rebinds, partitions, .. } = self;
        writeln!(
            f,
            "datagrams={datagrams} passed={passed} lost={lost} queue_full={queue_full} too_large={too_large} \
             doubled={doubled} replayed={replayed} corrupted={corrupted} truncated={truncated} barred={barred} \
             homeless={homeless} crowded_out={crowded_out}"
        )?;
        write!(
            f,
            "connections={connections} bytes_up={up} bytes_down={down} cuts={cuts} resets={resets} \
             rebinds={rebinds} partitions={partitions}"
        )
    }
}

/// Whose readiness was asked for.
#[derive(Clone, Copy, Debug)]
enum Source {
    Orders,
    Newcomers,
    Clients,
    Server(SocketAddr),
    Stream(End),
}

struct Turns {
    clock: Clock,
    link: Link,
    datagrams: Datagrams,
    streams: Streams,
    orders: Orders,
    counts: Counts,
}

impl Turns {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            let now_us = self.clock.now_us();
            for (source, flags) in ready {
                self.serve(now_us, source, flags)?;
            }
            while let Some(order) = self.orders.next() {
                match order {
                    Ok(Order::Quit) => return Ok(()),
                    Ok(order) => self.obey(now_us, order)?,
                    Err(complaint) => tell(&complaint),
                }
            }
            while let Some(order) = self.link.due(now_us) {
                self.obey(now_us, order)?;
            }
            self.datagrams.deliver(now_us, &self.link, &mut self.counts)?;
            self.streams.tend(now_us, &mut self.link, &mut self.counts);
        }
    }

    /// Sleeps until something is due or ready; what is ready.
    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = Vec::new();
        let mut sockets = Vec::new();
        let stdin = rustix::stdio::stdin();
        if self.orders.may_come() {
            sources.push(Source::Orders);
            sockets.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        if self.streams.has_room() {
            sources.push(Source::Newcomers);
            sockets.push(PollFd::new(self.streams.listener(), PollFlags::IN));
        }
        sources.push(Source::Clients);
        sockets.push(PollFd::new(self.datagrams.inside(), PollFlags::IN));
        for (client, socket) in self.datagrams.outside() {
            sources.push(Source::Server(client));
            sockets.push(PollFd::new(socket, PollFlags::IN));
        }
        for (end, socket, flags) in self.streams.sockets(&self.link) {
            sources.push(Source::Stream(end));
            sockets.push(PollFd::new(socket, flags));
        }
        let due = [self.link.next_due(), self.datagrams.next_due(), self.streams.next_due(&self.link)];
        let left_us = due.into_iter().flatten().min().map(|due| due.saturating_sub(self.clock.now_us()));
        let timeout = left_us.map(|us| Timespec {
            tv_sec: i64::try_from(us / 1_000_000).unwrap_or(i64::MAX),
            // Less than a second always fits.
            tv_nsec: ((us % 1_000_000) * 1_000) as _,
        });
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let flags = sockets.iter().map(PollFd::revents);
        Ok(sources.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn serve(&mut self, now_us: u64, source: Source, flags: PollFlags) -> io::Result<()> {
        let Self { link, datagrams, streams, orders, counts, .. } = self;
        match source {
            Source::Orders => orders.read(),
            Source::Newcomers => streams.accept(now_us, link, counts)?,
            Source::Clients => datagrams.receive(now_us, None, link, counts),
            Source::Server(client) => datagrams.receive(now_us, Some(client), link, counts),
            Source::Stream(end) => streams.ready(now_us, end, flags, link, counts),
        }
        Ok(())
    }

    /// Does what it was told, or what was due by chance, and says so.
    fn obey(&mut self, now_us: u64, order: Order) -> io::Result<()> {
        let Self { link, datagrams, streams, counts, .. } = self;
        match order {
            Order::Cut => {
                counts.cuts += 1;
                let down_us = link.cut(now_us);
                let broken = streams.reset();
                tell(&format_args!("cut: {broken} connections, down for {} ms", down_us / 1_000));
            }
            Order::Reset => {
                counts.resets += 1;
                tell(&format_args!("reset: {} connections", streams.reset()));
            }
            Order::Rebind => {
                counts.rebinds += 1;
                tell(&format_args!("rebind: {} addresses", datagrams.rebind()?));
            }
            Order::Part { directions, for_us } => {
                counts.partitions += 1;
                link.part(now_us, directions, for_us);
                let ways = match directions {
                    [Direction::Up] => "up",
                    [Direction::Down] => "down",
                    _ => "both ways",
                };
                tell(&format_args!("part: {ways}, for {} ms", for_us / 1_000));
            }
            Order::Heal => {
                link.heal();
                tell(&"heal: up and whole");
            }
            Order::Net(spec) => {
                link.set(now_us, *spec);
                tell(&format_args!("net: {spec}"));
            }
            // Seen to where orders are read.
            Order::Quit => {}
        }
        Ok(())
    }
}
