//! One connection of the server: how far its conversation got and when it needs attention.

use super::{Dialect, classic::Lines, reports::Reports};
use crate::{
    hooks::{Mistake, is_made},
    ids::SessionId,
    limits,
    rate::Rate,
    time::{Duration, Instant},
    wire::frame::FrameReader,
};

/// Clients ping every [`limits::PING_INTERVAL`]; the server asks only when it missed that.
const QUIET_BEFORE_PING: Duration = Duration::from_secs(9);

/// For [`Mistake::SilenceEarly`].
const EARLY: Duration = Duration::from_secs(12);

#[derive(Clone, Debug)]
pub(super) enum State {
    WaitsForHello { deadline: Instant },
    Member { session: SessionId },
}

/// What never comes.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// When a connection that is accepted now must have said its Hello, or its name.
fn hello_due(now: Instant, dialect: Dialect) -> Instant {
    match dialect {
        _ if is_made(Mistake::HelloForever) => NEVER,
        Dialect::Native => now + limits::HELLO_TIMEOUT,
        Dialect::Classic => now + limits::CLASSIC_NAME_TIMEOUT,
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) state: State,
    pub(super) reader: FrameReader,
    /// What a classic peer sent; its dialect has no frames.
    pub(super) lines: Option<Lines>,
    pub(super) rate: Rate,
    pub(super) report_rate: Rate,
    /// What listeners say of this one's voice.
    pub(super) reports: Reports,
    pub(super) last_heard: Instant,
    pub(super) last_ping: Instant,
    /// Not read from at the moment.
    pub(super) paused: bool,
    /// That is, until more of what it said is kept.
    pub(super) waits_for_store: bool,
    /// It leaves when all that it said is kept.
    pub(super) is_quitting: bool,
    /// The entry in the server's timers.
    pub(super) timer: Option<Instant>,
}

impl Conn {
    pub(super) fn new(now: Instant, dialect: Dialect) -> Self {
        Self {
            state: State::WaitsForHello { deadline: hello_due(now, dialect) },
            reader: FrameReader::default(),
            lines: (dialect == Dialect::Classic).then(Lines::default),
            rate: Rate::default(),
            report_rate: Rate::default(),
            reports: Reports::default(),
            last_heard: now,
            last_ping: now,
            paused: false,
            waits_for_store: false,
            is_quitting: false,
            timer: None,
        }
    }

    /// Charges a message of so many bytes.
    pub(super) fn charge(&mut self, now: Instant, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.rate.charge(now, limits::CONTROL_FRAME_COST + limits::CONTROL_BYTE_COST * bytes);
    }

    pub(super) fn frame_limit(&self) -> usize {
        match self.state {
            State::WaitsForHello { .. } => limits::HELLO_BYTES,
            State::Member { .. } => limits::FRAME_BYTES,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        if self.lines.is_some() { Dialect::Classic } else { Dialect::Native }
    }

    pub(super) fn wants_ping(&self, now: Instant) -> bool {
        matches!(self.state, State::Member { .. }) && now >= self.ping_due()
    }

    fn ping_due(&self) -> Instant {
        if self.lines.is_some() {
            return NEVER;
        }
        self.last_heard.max(self.last_ping) + QUIET_BEFORE_PING
    }

    /// When the peer will have been silent for too long. A classic peer cannot be asked for a sign of life: whether it is there
    /// is its system's to say, and the driver's to ask.
    pub(super) fn silence_due(&self) -> Instant {
        if is_made(Mistake::SilenceIsLife) || self.lines.is_some() {
            return NEVER;
        }
        let early = if is_made(Mistake::SilenceEarly) {
            limits::SILENCE_TIMEOUT - EARLY
        } else {
            limits::SILENCE_TIMEOUT
        };
        self.last_heard + early
    }

    /// When something is to be done, as things stand now.
    pub(super) fn due(&self) -> Instant {
        let due = match self.state {
            State::WaitsForHello { deadline } => deadline,
            State::Member { .. } => self.ping_due(),
        };
        let held = self.lines.as_ref().and_then(Lines::held_until);
        if self.waits_for_store {
            due
        } else if self.paused {
            // A paused peer cannot show life on this connection; it is judged when it is read again.
            due.min(self.rate.falls_to(limits::CONTROL_BURST / 2))
        } else {
            due.min(self.silence_due()).min(held.unwrap_or(NEVER))
        }
    }
}
