//! The relay: takes each talker's voice and passes it on, untouched, to everybody else in the room.
//!
//! It is a machine of its own beside [`crate::server::Server`], so that a driver may run it in a thread of its own: who is where,
//! and how voice reaches him, it is told in order ([`Relay::open`], [`Relay::obey`]); what it cannot send itself, because
//! the listener has no datagrams, it hands back ([`Egress::tunnel`]). It owns the sealed paths, opens datagrams, and drafts those that
//! it makes: sealing and sending them, nearly all of the work, may be shared out among threads. It has no socket and no clock, and
//! decodes no voice.
//!
//! Frames of several talkers that are at hand at once share a datagram: what arrived waits until [`Relay::handle_timeout`],
//! which is due at once, or after the time that an operator allows ([`Relay::set_hold`]). A driver that takes all datagrams that are
//! there, then looks at the timeout, makes the fewest datagrams without waiting for any.

mod audit;
mod queue;
mod room;
mod seat;

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::SocketAddr;

use self::{queue::Queue, room::Room, seat::Seat};
use crate::{
    hooks::{Mistake, is_made},
    ids::{RoomId, SessionId},
    limits,
    time::{Duration, Instant},
    wire::{
        path::{DatagramKind, Draft, Header, OpenError, PROBE_BYTES, Seal},
        voice::Frames,
    },
};

/// How voice reaches a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VoicePath {
    /// In frames of the control connection.
    #[default]
    Tcp,
    /// In sealed datagrams.
    Udp,
    /// Both ways at once, while it is doubtful whether datagrams get through.
    Both,
}

impl VoicePath {
    /// True when datagrams are sent.
    pub const fn uses_udp(self) -> bool {
        matches!(self, Self::Udp | Self::Both)
    }

    /// True when frames of the control connection are sent.
    pub const fn uses_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both)
    }
}

/// What [`crate::server::Server`] has to tell the relay, after [`crate::server::Output::OpenPath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order<'a> {
    /// Voice reaches this session another way from now on.
    Listen {
        /// Whose.
        session: SessionId,
        /// Which way.
        path: VoicePath,
    },
    /// This session talks and listens in another room from now on, or in none. What waits of it in the room before is still passed on there.
    Move {
        /// Whose.
        session: SessionId,
        /// Where.
        room: Option<RoomId>,
    },
    /// This session neither talks nor listens any more.
    Leave {
        /// Whose.
        session: SessionId,
    },
    /// A voice payload that came over the talker's control connection, or from a voice gateway.
    Talk {
        /// Whose.
        session: SessionId,
        /// Where it talked when this was said, if anywhere: it is heard there, however late or early this comes beside [`Order::Move`].
        room: Option<RoomId>,
        /// Voice frames, not checked yet.
        payload: &'a [u8],
    },
}

/// A datagram as it was received.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// By which of the driver's sockets.
    pub socket: usize,
    /// From where.
    pub from: SocketAddr,
    /// How long it had waited in the system's queue.
    pub waited: Duration,
    /// What it is; opened in place.
    pub bytes: &'a mut [u8],
}

/// Where the output of a [`Relay<S>`] goes.
pub trait Egress<S> {
    /// A datagram for `to`, by the socket that the listener reaches. To seal and send it is most of the work that there is, and may be
    /// done by anybody, after this and beside other datagrams.
    fn datagram(&mut self, socket: usize, to: SocketAddr, draft: Draft<'_, S>);

    /// A voice payload for sessions that do not get it by datagram: [`crate::server::Input::Voice`] says what becomes of it.
    /// False when it is dropped.
    fn tunnel(&mut self, payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool;

    /// A datagram showed that the session's peer was alive at `now`: [`crate::server::Input::Alive`], before the server's next
    /// timeout. Seldom.
    fn alive(&mut self, now: Instant, session: SessionId);
}

/// What the relay counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RelayStats {
    /// Datagrams received and opened.
    pub received: u64,
    /// Datagrams dropped: no header of ours, or no such session.
    pub not_ours: u64,
    /// Datagrams dropped: their counter was used before, or too old.
    pub replayed: u64,
    /// Datagrams dropped: their seal did not verify.
    pub forged: u64,
    /// Voice datagrams shed: they had waited too long, since more came than could be passed on.
    pub stale: u64,
    /// Voice payloads taken from talkers.
    pub voice_in: u64,
    /// Voice payloads passed on, one for each listener.
    pub voice_out: u64,
    /// Datagrams that carried them; one may carry several talkers' payloads.
    pub datagrams_out: u64,
    /// Voice payloads not passed on: where the listener's datagrams come from was not known yet.
    pub voice_unsent: u64,
    /// Voice payloads that were not whole frames.
    pub voice_malformed: u64,
    /// Voice payloads in somebody else's name.
    pub voice_forged: u64,
    /// Voice payloads beyond a talker's rate.
    pub voice_over_rate: u64,
    /// Voice payloads from those who are in no room.
    pub voice_homeless: u64,
    /// Path probes beyond a talker's rate, or of another size than probes have.
    pub probes_dropped: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Relay<S> {
    /// Who talks and listens, by the session's index.
    seats: Vec<Option<Seat<S>>>,
    rooms: BTreeMap<RoomId, Room>,
    /// Rooms in which voice waits for [`Relay::handle_timeout`].
    waiting: Vec<RoomId>,
    hold: Duration,
    /// What is known of the system's queues, by the driver's sockets.
    queues: Vec<Queue>,
    stats: RelayStats,
}

impl<S> Default for Relay<S> {
    fn default() -> Self {
        Self {
            seats: Vec::new(),
            rooms: BTreeMap::new(),
            waiting: Vec::new(),
            hold: Duration::ZERO,
            queues: Vec::new(),
            stats: RelayStats::default(),
        }
    }
}

impl<S: Seal> Relay<S> {
    // Getters.

    /// What was counted so far.
    pub fn stats(&self) -> RelayStats {
        self.stats
    }

    /// Who has a seat, with the room where he talks and listens.
    pub fn seated(&self) -> impl Iterator<Item = (SessionId, Option<RoomId>)> {
        self.seats.iter().flatten().map(|seat| (seat.session, seat.room))
    }

    /// Where datagrams for a session go.
    pub fn remote(&self, session: SessionId) -> Option<SocketAddr> {
        self.seats.get(session.index())?.as_ref().filter(|seat| seat.session == session)?.remote()
    }

    // What happens.

    /// Lets voice wait for so long ([`limits::VOICE_HOLD`] at most), so that more of it shares datagrams.
    pub fn set_hold(&mut self, hold: Duration) {
        self.hold = hold.min(limits::VOICE_HOLD);
    }

    /// A session is let in, and talks and listens in this room; it listens by its control connection until [`Order::Listen`]. `seal` has the keys of its
    /// connection, if that has any. Whoever had the seat before has left it.
    pub fn open(&mut self, session: SessionId, room: Option<RoomId>, seal: Option<S>) {
        let former = self.seats.get(session.index()).and_then(Option::as_ref).map(|seat| seat.session);
        if let Some(former) = former {
            self.leave(former);
        }
        if self.seats.len() <= session.index() {
            self.seats.resize_with(session.index() + 1, || None);
        }
        if let Some(place) = self.seats.get_mut(session.index()) {
            *place = Some(Seat::new(session, seal));
            self.enter(session, room);
        }
    }

    /// Does what the server says.
    pub fn obey(&mut self, now: Instant, order: Order<'_>, egress: &mut impl Egress<S>) {
        match order {
            Order::Listen { session, path } => {
                if let Some(seat) = find(&mut self.seats, session) {
                    seat.path = path;
                    let room = seat.room.and_then(|room| self.rooms.get_mut(&room));
                    room.into_iter().for_each(|room| room.listen(session, path));
                }
            }
            Order::Move { session, room } => {
                let Some(seat) = find(&mut self.seats, session).filter(|seat| seat.room != room) else {
                    return;
                };
                if let Some(former) = seat.room.take() {
                    self.depart(session, former);
                }
                self.enter(session, room);
            }
            Order::Leave { session } => self.leave(session),
            Order::Talk { session, room, payload } => self.voice(now, session, room, payload, egress),
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// Why it was dropped; it is counted.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        arrival: Arrival<'_>,
        egress: &mut impl Egress<S>,
    ) -> Result<(), OpenError> {
        let Arrival { socket, from, waited, bytes } = arrival;
        let Some(header) = Header::parse(bytes) else {
            self.stats.not_ours += 1;
            return Err(OpenError::NotOurs);
        };
        let session = header.session;
        let seat = find(&mut self.seats, session);
        if self.queues.len() <= socket {
            self.queues.resize(socket + 1, Queue::default());
        }
        // Before it is opened, so that it costs next to nothing; forged voice is shed as well.
        let sheds = self.queues.get_mut(socket).is_some_and(|queue| queue.sheds(now, waited));
        if sheds && seat.is_some() && header.kind == DatagramKind::Voice {
            self.stats.stale += 1;
            return Ok(());
        }
        let room = seat.as_ref().and_then(|seat| seat.room);
        let opened = match seat {
            Some(seat) => seat.open(now, socket, from, bytes),
            None => Err(OpenError::NotOurs),
        };
        let (opened, is_news) = opened.inspect_err(|error| match error {
            OpenError::NotOurs => self.stats.not_ours += 1,
            OpenError::Replayed => self.stats.replayed += 1,
            OpenError::Forged => self.stats.forged += 1,
        })?;
        self.stats.received += 1;
        if is_news {
            egress.alive(now, session);
        }
        match opened.kind {
            DatagramKind::Voice => self.voice(now, session, room, opened.payload, egress),
            DatagramKind::Probe => self.probe(now, session, opened.payload, egress),
            // The server probes nobody.
            DatagramKind::Echo => {}
        }
        Ok(())
    }

    /// Passes on what is due.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut impl Egress<S>) {
        let Self { seats, rooms, waiting, stats, .. } = self;
        waiting.retain(|id| {
            let Some(room) = rooms.get_mut(id) else { return false };
            if room.due().is_some_and(|due| due <= now) {
                room.flush(seats, stats, egress);
            }
            room.due().is_some()
        });
    }

    /// When to call [`Relay::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|room| self.rooms.get(room)?.due()).min()
    }

    // Voice.

    fn voice(
        &mut self,
        now: Instant,
        session: SessionId,
        room: Option<RoomId>,
        payload: &[u8],
        egress: &mut impl Egress<S>,
    ) {
        let Self { seats, rooms, waiting, hold, stats, .. } = self;
        stats.voice_in += 1;
        let Some(seat) = find(seats, session) else {
            stats.voice_homeless += 1;
            return;
        };
        if !seat.may_send(now) {
            stats.voice_over_rate += 1;
            return;
        }
        let Ok(frames) = Frames::parse(payload) else {
            stats.voice_malformed += 1;
            return;
        };
        let mut count = 0;
        let is_own = |frame| {
            count += 1;
            frame == session
        };
        if !frames.map(|frame| frame.talker).all(is_own) && !is_made(Mistake::VoiceForged) {
            stats.voice_forged += 1;
            return;
        }
        let id = match rooms.keys().next() {
            Some(&first) if is_made(Mistake::VoiceAcrossRooms) => first,
            _ => match room {
                Some(room) => room,
                None => {
                    stats.voice_homeless += 1;
                    return;
                }
            },
        };
        let Some(room) = rooms.get_mut(&id) else { return };
        stats.voice_out += room.tunnel(session, payload, egress);
        if !room.has_others(session) {
            return;
        }
        if !room.fits(session, payload, count) {
            room.flush(seats, stats, egress);
        }
        if room.take(now + *hold, session, payload, count) && !waiting.contains(&id) {
            waiting.push(id);
        }
    }

    fn probe(&mut self, now: Instant, session: SessionId, payload: &[u8], egress: &mut impl Egress<S>) {
        let Self { seats, stats, .. } = self;
        let Some(seat) = find(seats, session) else { return };
        if payload.len() != PROBE_BYTES || !seat.may_send(now) {
            stats.probes_dropped += 1;
            return;
        }
        seat.send(DatagramKind::Echo, payload, egress);
    }

    fn leave(&mut self, session: SessionId) {
        let Some(place) = self.seats.get_mut(session.index()) else { return };
        let Some(seat) = place.take_if(|seat| seat.session == session) else { return };
        if let Some(room) = seat.room {
            self.depart(session, room);
        }
    }

    /// A session that has a seat talks and listens in a room.
    fn enter(&mut self, session: SessionId, room: Option<RoomId>) {
        let (Some(seat), Some(id)) = (find(&mut self.seats, session), room) else { return };
        seat.room = room;
        self.rooms.entry(id).or_default().listen(session, seat.path);
    }

    /// A session does not talk and listen in a room any more.
    fn depart(&mut self, session: SessionId, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.leave(session);
        if room.is_empty() {
            self.rooms.remove(&id);
            self.waiting.retain(|&waiting| waiting != id);
        }
    }
}

/// The seat of a session, by its index.
fn find<S>(seats: &mut [Option<Seat<S>>], session: SessionId) -> Option<&mut Seat<S>> {
    seats.get_mut(session.index())?.as_mut().filter(|seat| seat.session == session)
}
