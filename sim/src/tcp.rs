//! One TCP connection as two byte pipes with an end on each side. State only; [`crate::net`] moves the bytes.

use std::collections::VecDeque;

use chinwag_proto::{outbox::Outbox, pacer::Pacer, wire::path::SealedPath};

use crate::seal::ToySeal;

/// A connection's number; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ConnId(pub(crate) u32);

/// One side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How an end stands to its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndState {
    /// The handshake is not done.
    Connecting,
    /// It reads and writes.
    Open,
    /// It writes what is queued and reads nothing any more.
    Closing,
    /// It is gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) state: EndState,
    pub(crate) outbox: Outbox,
    /// What a classic peer is written, and when.
    pub(crate) pacer: Option<Pacer>,
    /// There is a time planned at which more is written.
    pub(crate) is_paced: bool,
    /// It does not want to read at the moment.
    pub(crate) paused: bool,
    pub(crate) fin_sent: bool,
    /// Its outbox got something since it was last written from.
    pub(crate) dirty: bool,
}

impl End {
    /// True when nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.pacer.as_ref().is_none_or(|pacer| pacer.piece().is_empty())
    }

    /// An end that is gone and keeps nothing.
    pub(crate) fn closed() -> Self {
        Self { state: EndState::Closed, ..Self::new() }
    }

    fn new() -> Self {
        Self {
            state: EndState::Connecting,
            outbox: Outbox::default(),
            pacer: None,
            is_paced: false,
            paused: false,
            fin_sent: false,
            dirty: false,
        }
    }
}

/// The bytes from one side to the other.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// On the way or not read yet, oldest first.
    pub(crate) bytes: VecDeque<u8>,
    /// How many of them, at the end, are not sent yet, since the link is parted.
    pub(crate) unsent: usize,
    /// How many of them have arrived.
    pub(crate) arrived: usize,
    /// When the newest of them arrives: none overtakes.
    pub(crate) last_arrival_us: u64,
    /// The writer has more than fits.
    pub(crate) blocked: bool,
    /// The end of the stream has arrived behind them.
    pub(crate) fin_arrived: bool,
}

impl Pipe {
    /// Moves the oldest `count` bytes, or as many as there are, behind what is in `buffer`.
    pub(crate) fn read(&mut self, count: usize, buffer: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let count = count.min(self.bytes.len());
        let of_front = count.min(front.len());
        buffer.extend_from_slice(&front[..of_front]);
        buffer.extend_from_slice(&back[..count - of_front]);
        self.bytes.drain(..count);
        self.arrived -= count;
    }
}

#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) client: u32,
    /// The client's end of the voice path; the server's is its relay's.
    pub(crate) path: Option<SealedPath<ToySeal>>,
    /// The link broke under it: nothing gets through any more.
    pub(crate) cut: bool,
    ends: [End; 2],
    pipes: [Pipe; 2],
}

impl Tcp {
    pub(crate) fn new(client: u32) -> Self {
        Self {
            client,
            path: None,
            cut: false,
            ends: [End::new(), End::new()],
            pipes: [Pipe::default(), Pipe::default()],
        }
    }

    pub(crate) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// The pipe that `from` writes to.
    pub(crate) fn pipe_mut(&mut self, from: Side) -> &mut Pipe {
        &mut self.pipes[from as usize]
    }

    /// An end and the pipe that it writes to.
    pub(crate) fn writer(&mut self, side: Side) -> (&mut End, &mut Pipe) {
        (&mut self.ends[side as usize], &mut self.pipes[side as usize])
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.state == EndState::Closed)
    }

    /// Whether its queues are within their limits.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.ends.iter().try_for_each(|end| end.outbox.audit())
    }

    /// True unless no peer can be reached by it any more.
    pub(crate) fn is_alive(&self) -> bool {
        !self.cut && self.ends.iter().all(|end| end.state != EndState::Closed)
    }

    /// True when one end is not as open as the other.
    pub(crate) fn is_one_sided(&self) -> bool {
        self.ends[0].state != self.ends[1].state
    }

    /// True when nothing waits to be written, and nothing is on its way that comes after so long only. (On the way there is
    /// always a ping now and then.)
    pub(crate) fn is_quiet(&self, until_us: u64) -> bool {
        self.ends.iter().all(End::is_idle) && self.pipes.iter().all(|pipe| pipe.last_arrival_us < until_us)
    }
}
