//! What a server's loop is told at the start, and what it tells its operator.

use std::{
    fmt, io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, mpsc::SyncSender},
};

use chinwag_proto::{
    Duration, Instant, ReceiverReport,
    server::{CloseCause, ServerEvent},
};
use mio::Waker;

use super::losses::Losses;
use crate::{history::StoreError, identity::Identity};

/// What a listening socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// Native clients, TCP and UDP.
    Native,
    /// The text of classic programs.
    ClassicText,
    /// Their voice.
    ClassicVoice,
}

impl Service {
    fn option(self) -> &'static str {
        match self {
            Self::Native => "--listen",
            Self::ClassicText => "--classic-text",
            Self::ClassicVoice => "--classic-voice",
        }
    }
}

/// What a server is told at the start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen, TCP and UDP; port 0 picks a free one. `[::]` stands for IPv4 too.
    pub listen: Vec<SocketAddr>,
    /// Where to listen for classic programs, TCP; none unless they are wanted: they know no encryption.
    pub classic_text: Vec<SocketAddr>,
    /// Where to listen for their voice, TCP.
    pub classic_voice: Vec<SocketAddr>,
    /// Who the server is.
    pub identity: Identity,
    /// How many may be in.
    pub max_clients: usize,
    /// How long the relay may let voice wait for more of it, so that more shares a datagram; none as a rule.
    pub voice_hold: Duration,
    /// How many threads seal and send voice; more than there are processors are no use.
    pub voice_threads: NonZeroUsize,
}

/// How the PCM of classic programs is to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PcmPace {
    /// Frames a second.
    pub rate_hz: u32,
    /// Bytes of a frame: two for each channel.
    pub frame_bytes: usize,
}

impl PcmPace {
    /// How long so many bytes are; parts of a frame count.
    pub fn time_of(self, bytes: usize) -> Duration {
        let each_second = u64::from(self.rate_hz.max(1)) * self.frame_bytes.max(1) as u64;
        Duration::from_nanos(bytes as u64 * 1_000_000_000 / each_second)
    }

    /// Bytes of so much time, in whole frames.
    pub fn bytes_of(self, time: Duration) -> usize {
        let frames = time.as_micros() * u128::from(self.rate_hz) / 1_000_000;
        usize::try_from(frames).unwrap_or(usize::MAX).saturating_mul(self.frame_bytes)
    }
}

/// Makes the voice of classic members, which is PCM, what natives speak, and the other way round.
pub trait VoiceGateway: fmt::Debug + Send {
    /// A classic member's voice is there. False when it cannot be taken.
    fn open(&mut self, now: Instant, session: u32) -> bool;
    /// It is gone.
    fn close(&mut self, session: u32);
    /// A voice payload that somebody sent to those who hear it through the gateway.
    fn hear(&mut self, now: Instant, payload: &[u8]);
    /// How a classic member's voice arrives at the natives.
    fn reported(&mut self, now: Instant, session: u32, report: ReceiverReport);
    /// PCM of a classic member, in any portions.
    fn pcm(&mut self, now: Instant, session: u32, bytes: &[u8]);
    /// When to call [`VoiceGateway::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant, out: &mut dyn VoiceOut);
}

/// Where a gateway's voice goes.
pub trait VoiceOut {
    /// A voice payload of a classic member, for the natives.
    fn send(&mut self, session: u32, payload: &[u8]);
    /// PCM for a classic member.
    fn play(&mut self, session: u32, pcm: &[u8]);
    /// How a native talker's voice arrives at the classic members.
    fn report(&mut self, talker: u32, report: ReceiverReport);
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
    /// Who is there, as the operator asked: rooms by name, and the names of those who are in them.
    Members(&'a [(String, Vec<String>)]),
    /// Nobody has the name of whom the operator wanted to remove.
    NobodyNamed(&'a str),
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
    /// The history's store failed. What it was to keep is refused; said again once a minute at most while that goes on.
    StoreFailed(&'a StoreError),
    /// It keeps again.
    StoreWorks,
    /// Something of the history could not be read, or not forgotten; messages are kept all the same. Said once a minute at most.
    HistoryTrouble(&'a StoreError),
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
    pub(super) service: Service,
    pub(super) error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, service, error } = self;
        write!(f, "cannot listen on {address}: {error}")?;
        if error.kind() == io::ErrorKind::AddrInUse {
            write!(
                f,
                "; is another server running? choose another address with {} ADDR:PORT",
                service.option()
            )
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            write!(f, "; ports below 1024 need rights, choose a higher one")
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for ListenError {}

/// What the operator wants of a running server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Say something to everybody, in every room.
    Say(String),
    /// Remove whoever has that name; [`Observation::NobodyNamed`] if there is none.
    Remove(String),
    /// Tell who is there: [`Observation::Members`].
    Who,
    /// Stop, as a signal would have it.
    Stop,
}

/// Orders that wait; whoever gives more waits.
pub(super) const WAITING_ORDERS: usize = 64;

/// Gives orders to a running server, from any thread.
#[derive(Clone, Debug)]
pub struct OperatorHandle {
    pub(super) waker: Arc<Waker>,
    pub(super) orders: SyncSender<Order>,
}

impl OperatorHandle {
    /// Gives an order.
    ///
    /// # Errors
    /// When the server is gone, or the system refuses to wake it.
    pub fn give(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| io::ErrorKind::NotConnected)?;
        self.waker.wake()
    }
}
