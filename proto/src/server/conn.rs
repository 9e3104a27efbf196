//! One connection of the server: how far its conversation got and when it needs attention.

use super::{rate::Rate, reports::Reports};
use crate::{
    hooks::{Mistake, is_made},
    ids::{RoomId, SessionId},
    limits,
    time::{Duration, Instant},
    wire::frame::FrameReader,
};

/// Clients ping every [`limits::PING_INTERVAL`]; the server asks only when it missed that.
const QUIET_BEFORE_PING: Duration = Duration::from_secs(7);

/// For [`Mistake::SilenceEarly`].
const EARLY: Duration = Duration::from_secs(12);

#[derive(Clone, Debug)]
pub(super) enum State {
    WaitsForHello { deadline: Instant },
    Member { session: SessionId, room: RoomId },
}

/// When a connection that is accepted now must have said its Hello.
fn hello_due(now: Instant) -> Instant {
    if is_made(Mistake::HelloForever) { Instant::from_micros(u64::MAX) } else { now + limits::HELLO_TIMEOUT }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) state: State,
    pub(super) reader: FrameReader,
    pub(super) rate: Rate,
    pub(super) voice_rate: Rate,
    pub(super) report_rate: Rate,
    /// What listeners say of this one's voice.
    pub(super) reports: Reports,
    pub(super) last_heard: Instant,
    pub(super) last_ping: Instant,
    /// Not read from at the moment.
    pub(super) paused: bool,
    /// The entry in the server's timers.
    pub(super) timer: Option<Instant>,
}

impl Conn {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::WaitsForHello { deadline: hello_due(now) },
            reader: FrameReader::default(),
            rate: Rate::default(),
            voice_rate: Rate::default(),
            report_rate: Rate::default(),
            reports: Reports::default(),
            last_heard: now,
            last_ping: now,
            paused: false,
            timer: None,
        }
    }

    pub(super) fn frame_limit(&self) -> usize {
        match self.state {
            State::WaitsForHello { .. } => limits::HELLO_BYTES,
            State::Member { .. } => limits::FRAME_BYTES,
        }
    }

    pub(super) fn wants_ping(&self, now: Instant) -> bool {
        matches!(self.state, State::Member { .. }) && now >= self.ping_due()
    }

    fn ping_due(&self) -> Instant {
        self.last_heard.max(self.last_ping) + QUIET_BEFORE_PING
    }

    /// When the peer will have been silent for too long.
    pub(super) fn silence_due(&self) -> Instant {
        if is_made(Mistake::SilenceIsLife) {
            return Instant::from_micros(u64::MAX);
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
        if self.paused {
            // A paused peer cannot show life on this connection; it is judged when it is read again.
            due.min(self.rate.falls_to(limits::CONTROL_BURST / 2))
        } else {
            due.min(self.silence_due())
        }
    }
}
