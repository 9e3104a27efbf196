//! The server machine: connections that speak a dialect on one side, the hub on the other.
//!
//! It is driven by bytes and time and answers with outputs in one order. It opens no socket, seals no datagram, reads no
//! clock. A peer's fault is an output ([`Output::Close`]), never an error of the machine.

mod api;
mod audit;
mod classic;
mod conn;
mod deliver;
mod history;
mod native;
mod pauses;
mod reports;
mod seats;

use alloc::{collections::BTreeSet, string::ToString as _, vec::Vec};

pub use self::api::{CloseCause, Dialect, Input, Output, ReadRequest, ServerEvent, ServerStats};
use self::{
    classic::Lines,
    conn::{Conn, State},
    deliver::{deliver, write_line},
    history::Reads,
    seats::Seats,
};
use crate::{
    history::{AuthorKey, RestoredRoom, UnixMillis, Write},
    hooks::{Limit, Mistake, is_made},
    hub::{Admission, Audience, Claim, Entry, Hub, JoinRequest, LeaveReason, Notice, Refusal, ResumeRequest},
    ids::{MessageId, Peer, RoomId, SessionId},
    limits,
    outbox::Class,
    outqueue::OutQueue,
    relay::{Order, VoicePath},
    report::ReceiverReport,
    rng::Rng,
    time::{Duration, Instant},
    wire::{
        chinwag1 as pb,
        control::{self, Body},
    },
};

/// For [`Mistake::PingEarly`].
const EARLY: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Queued {
    Send(Class),
    OpenPath { peer: Peer, session: SessionId, room: Option<RoomId> },
    Move { session: SessionId, room: Option<RoomId> },
    Listen { session: SessionId, path: VoicePath },
    Leave { session: SessionId },
    Talk { session: SessionId, room: Option<RoomId> },
    Overheard,
    Pause { peer: Peer },
    Unpause { peer: Peer },
    Close { peer: Peer, cause: CloseCause },
    Report { talker: SessionId, report: ReceiverReport },
    Keep { run: u32, write: Write },
    Read { ticket: u32, what: ReadRequest },
    Unread { ticket: u32 },
    Event(ServerEvent),
}

/// See the module's documentation.
///
/// - Getters look and change nothing.
/// - `handle_*` take what happened.
/// - `poll_*` say what to do, and when to come back. After each `handle_*` poll until there is `None`; whoever does
///   not loses nothing.
#[derive(Debug)]
pub struct Server {
    hub: Hub,
    conns: Vec<Option<Conn>>,
    /// The connection of each session that has one, by the session's index.
    seats: Seats,
    out: OutQueue<Queued>,
    timers: BTreeSet<(Instant, Peer)>,
    /// Connections that have not said who they are, by dialect.
    newcomers: [usize; 2],
    /// Connections that are not read from until more of what they said is kept.
    waiting_for_store: Vec<Peer>,
    reads: Reads,
    /// What the calendar said at some instant.
    calendar: (Instant, UnixMillis),
    is_stopping: bool,
    stats: ServerStats,
}

impl Server {
    /// A server that lets in up to `max_sessions` ([`limits::SESSIONS`] at most). `seed` makes tokens: whoever can
    /// guess it can take sessions over.
    pub fn new(max_sessions: usize, seed: Rng) -> Self {
        Self {
            hub: Hub::new(max_sessions, seed),
            conns: Vec::new(),
            seats: Seats::default(),
            out: OutQueue::default(),
            timers: BTreeSet::new(),
            newcomers: [0; 2],
            waiting_for_store: Vec::new(),
            reads: Reads::default(),
            calendar: (Instant::ZERO, UnixMillis::default()),
            is_stopping: false,
            stats: ServerStats::default(),
        }
    }

    /// From now on everything that is said is kept by a store before anybody is told ([`Output::Keep`]); `rooms` are what it had. To
    /// be called before anybody is let in. Without it the history is in memory, and rooms end with their last member.
    pub fn restore(&mut self, rooms: impl IntoIterator<Item = RestoredRoom>) {
        self.hub.restore(rooms);
        self.give_out_writes();
    }

    /// What the calendar says at `now`. It may be set anew whenever the driver likes; times of messages go on from it.
    pub fn set_calendar(&mut self, now: Instant, calendar: UnixMillis) {
        self.calendar = (now, calendar);
    }

    // Getters.

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What was counted so far.
    pub fn stats(&self) -> ServerStats {
        self.stats
    }

    /// From now on what is said is told to the operator as well ([`ServerEvent::Said`]).
    pub fn seat_operator(&mut self) {
        self.seats.has_operator = true;
    }

    /// The connection of `session`.
    pub fn peer_of(&self, session: SessionId) -> Option<Peer> {
        self.seats.peer_of(session)
    }

    // Inputs.

    /// Takes what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Accepted { peer, dialect } => self.accept(now, peer, dialect),
            Input::Received { peer, bytes } => self.receive(now, peer, bytes),
            Input::Voice { payload, to } => self.carry_voice(payload, to),
            Input::Alive { session, at } => {
                if let Some(conn) = self.seats.peer_of(session).and_then(|peer| self.conn_mut(peer)) {
                    conn.last_heard = conn.last_heard.max(at);
                }
            }
            Input::Closed { peer } => self.lose(now, peer, false),
            Input::Overflowed { peer } => self.drop_peer(now, peer, CloseCause::TooSlow),
            Input::Announce { text } => {
                let at = self.calendar_at(now);
                let Self { hub, out, seats, stats, .. } = self;
                // What is no message is not said.
                let _ = hub
                    .announce(at, text, &mut |audience, notice| deliver(out, seats, stats, audience, notice));
            }
            Input::Remove { session } => self.remove_member(session),
            Input::Reported { talker, report } => {
                // He may have gone meanwhile.
                let is_told = self.tell_report(now, talker, report);
                self.stats.reports_in += 1;
                self.stats.reports_dropped += u64::from(!is_told);
            }
            Input::Kept { run, count } => {
                let Self { hub, out, seats, stats, .. } = self;
                hub.kept(run, count, &mut |audience, notice| deliver(out, seats, stats, audience, notice));
                self.read_again_who_waited(now);
            }
            Input::NotKept { run, why } => {
                let Self { hub, out, seats, stats, .. } = self;
                hub.not_kept(run, why, &mut |audience, notice| deliver(out, seats, stats, audience, notice));
                self.read_again_who_waited(now);
            }
            Input::Expired { room, before } => self.hub.expired(room, before),
            Input::Read { ticket, found } => self.has_read(ticket, found),
            Input::Shutdown => self.shut_down(),
        }
        self.give_out_writes();
    }

    /// What the hub wants kept becomes outputs.
    fn give_out_writes(&mut self) {
        while let Some((run, write)) = self.hub.next_write() {
            self.out.push(Queued::Keep { run, write }, |_, _| {});
        }
    }

    fn calendar_at(&self, now: Instant) -> UnixMillis {
        let (then, UnixMillis(millis)) = self.calendar;
        let since = u64::try_from(now.since(then).as_millis()).unwrap_or_default();
        UnixMillis(millis.saturating_add(since))
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(due, peer)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.remove(&(due, peer));
            if let Some(conn) = self.conn_mut(peer) {
                conn.timer = None;
                self.on_timer(now, peer);
            }
        }
        let Self { hub, out, seats, stats, .. } = self;
        hub.handle_timeout(now, &mut |audience, notice| deliver(out, seats, stats, audience, notice));
        self.give_out_writes();
    }

    // Outputs.

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        let (queued, bytes, to) = self.out.pop()?;
        Some(match queued {
            Queued::Send(class) => Output::Send { bytes, class, to },
            Queued::OpenPath { peer, session, room } => Output::OpenPath { peer, session, room },
            Queued::Move { session, room } => Output::Relay(Order::Move { session, room }),
            Queued::Listen { session, path } => Output::Relay(Order::Listen { session, path }),
            Queued::Leave { session } => Output::Relay(Order::Leave { session }),
            Queued::Talk { session, room } => Output::Relay(Order::Talk { session, room, payload: bytes }),
            Queued::Overheard => Output::Overheard { payload: bytes },
            Queued::Pause { peer } => Output::Pause { peer },
            Queued::Unpause { peer } => Output::Unpause { peer },
            Queued::Close { peer, cause } => Output::Close { peer, cause },
            Queued::Report { talker, report } => Output::Report { talker, report },
            Queued::Keep { run, write } => Output::Keep { run, write },
            Queued::Read { ticket, what } => Output::Read { ticket, what },
            Queued::Unread { ticket } => Output::Unread { ticket },
            Queued::Event(event) => Output::Event(event),
        })
    }

    /// When to call [`Server::handle_timeout`]; the origin when outputs are waiting to be polled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.out.is_empty() {
            return Some(Instant::ZERO);
        }
        let timer = self.timers.first().map(|&(due, _)| due);
        let timer = timer.map(|due| if is_made(Mistake::PingEarly) { due - EARLY } else { due });
        let hub = self.hub.poll_timeout().filter(|_| !is_made(Mistake::DeadlineHidden));
        match (timer, hub) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    // Connections.

    fn accept(&mut self, now: Instant, peer: Peer, dialect: Dialect) {
        // A handle that is given out again says that its former connection is gone.
        self.lose(now, peer, false);
        if self.conns.len() <= peer.index() {
            self.conns.resize_with(peer.index() + 1, || None);
        }
        if let Some(slot) = self.conns.get_mut(peer.index()) {
            *slot = Some(Conn::new(now, dialect));
            self.newcomers[dialect as usize] += 1;
        }
        let most = match dialect {
            Dialect::Native => Limit::PendingHellos.value(),
            Dialect::Classic => limits::PENDING_NAMES,
        };
        if self.is_stopping {
            return self.close(peer, CloseCause::Shutdown);
        } else if self.newcomers[dialect as usize] > most {
            return self.close(peer, CloseCause::Busy);
        }
        if dialect == Dialect::Classic {
            write_line(&mut self.out, peer, classic::WHO);
        }
        self.schedule(peer);
    }

    fn receive(&mut self, now: Instant, peer: Peer, bytes: &[u8]) {
        let Some(conn) = self.conn_mut(peer) else { return };
        conn.last_heard = now;
        match &mut conn.lines {
            Some(lines) => {
                lines.push(bytes);
                // Whether there is a message in it or not.
                conn.charge(now, bytes.len());
                self.read_lines(now, peer);
            }
            None => {
                conn.reader.push(bytes);
                self.read_frames(now, peer);
            }
        }
    }

    /// Handles whole frames until there are none, or until the peer is too far ahead of its rate.
    fn read_frames(&mut self, now: Instant, peer: Peer) {
        let Some(conn) = self.conn_mut(peer) else { return };
        let mut reader = core::mem::take(&mut conn.reader);
        while !self.must_wait_for_store(peer)
            && let Some(conn) = self.conn_mut(peer)
        {
            if conn.rate.ahead(now) > limits::CONTROL_BURST {
                conn.reader = reader;
                return self.pause(peer);
            }
            let body = match reader.next_frame(conn.frame_limit()) {
                Ok(Some(body)) => body,
                Ok(None) => {
                    conn.reader = reader;
                    return;
                }
                Err(oversized) => return self.drop_peer(now, peer, CloseCause::Oversized(oversized)),
            };
            conn.charge(now, body.len());
            self.handle_body(now, peer, body);
        }
        if let Some(conn) = self.conn_mut(peer) {
            conn.reader = reader;
            self.wait_for_store(peer);
        }
    }

    fn handle_body(&mut self, now: Instant, peer: Peer, body: &[u8]) {
        use pb::to_server::Kind;
        let Some(state) = self.conn_mut(peer).map(|conn| conn.state.clone()) else { return };
        let message = match control::decode_to_server(body) {
            Ok(Body::Voice(payload)) => return self.talk(peer, payload),
            Ok(Body::Message(message)) => message,
            Ok(Body::Unknown) => {
                self.stats.unknown_messages += 1;
                return;
            }
            Err(control::Undecodable) => {
                assert!(!is_made(Mistake::PanicOnGarbage), "garbage");
                return self.drop_peer(now, peer, CloseCause::Undecodable);
            }
        };
        match (message, state) {
            (Kind::Hello(hello), State::WaitsForHello { .. }) => self.hello(now, peer, &hello),
            (Kind::Ping(ping), _) => self.out.push(Queued::Send(Class::Control), |bytes, to| {
                control::write_to_client(bytes, pb::to_client::Kind::Pong(ping));
                to.push(peer);
            }),
            (Kind::Pong(_), _) => {}
            (Kind::Say(say), State::Member { session }) => {
                let (room, id) = (RoomId::from_wire(say.room), MessageId::from_wire(say.id));
                let at = self.calendar_at(now);
                let Self { hub, out, seats, stats, .. } = self;
                hub.say(at, session, room, id, &say.text, &mut |audience, notice| {
                    deliver(out, seats, stats, audience, notice);
                });
            }
            (Kind::Join(claim), State::Member { session }) => self.join_room(now, peer, session, &claim),
            (Kind::Part(part), State::Member { session }) => {
                self.change(now, peer, "", |hub, mut tell| {
                    hub.part(session, RoomId::from_wire(part.room), &mut tell);
                    Ok(())
                });
            }
            (Kind::VoiceRoom(voice), State::Member { session }) => {
                let room = Some(RoomId::from_wire(voice.room));
                self.change(now, peer, "", |hub, mut tell| {
                    hub.set_voice_room(session, room, &mut tell);
                    Ok(())
                });
            }
            (Kind::Topic(topic), State::Member { session }) => {
                let (at, room) = (self.calendar_at(now), RoomId::from_wire(topic.room));
                self.change(now, peer, "", |hub, mut tell| {
                    hub.set_topic(at, session, room, &topic.text, &mut tell)
                });
            }
            (Kind::Name(name), State::Member { session }) => {
                self.change(now, peer, &name.name, |hub, mut tell| {
                    hub.rename(now, session, &name.name, &mut tell)
                });
            }
            (Kind::Marks(marks), State::Member { session }) => {
                self.change(now, peer, "", |hub, mut tell| {
                    hub.set_marks(session, native::marks(&marks), &mut tell);
                    Ok(())
                });
            }
            (Kind::ListRooms(_), State::Member { .. }) => self.list_rooms(now, peer),
            (Kind::VoicePath(path), State::Member { session }) => {
                use pb::set_voice_path::Path;
                let path = match path.path() {
                    Path::Tcp => VoicePath::Tcp,
                    Path::Udp => VoicePath::Udp,
                    Path::Both => VoicePath::Both,
                };
                if let Some(conn) = self.conn_mut(peer) {
                    conn.rate.charge(now, limits::VOICE_PATH_COST);
                }
                self.out.push(Queued::Listen { session, path }, |_, _| {});
            }
            (Kind::VoiceReport(report), State::Member { session }) => {
                self.report(now, peer, session, &report);
            }
            (Kind::History(request), State::Member { session }) => {
                self.read_history(now, peer, session, &request);
            }
            (Kind::Quit(_), State::Member { session }) => self.quit_when_kept(peer, session),
            (Kind::Quit(_), State::WaitsForHello { .. }) => self.close(peer, CloseCause::Quit),
            // Voice of other encodings than the usual one; its form is the same.
            (Kind::Voice(payload), _) => self.talk(peer, &payload),
            (Kind::Hello(_), State::Member { .. })
            | (
                Kind::Say(_)
                | Kind::VoicePath(_)
                | Kind::VoiceReport(_)
                | Kind::History(_)
                | Kind::Join(_)
                | Kind::Part(_)
                | Kind::VoiceRoom(_)
                | Kind::Topic(_)
                | Kind::Name(_)
                | Kind::Marks(_)
                | Kind::ListRooms(_),
                State::WaitsForHello { .. },
            ) => {
                self.drop_peer(now, peer, CloseCause::OutOfOrder);
            }
        }
    }

    // The classic dialect.

    /// Handles whole messages until there are none, or until the peer is too far ahead of its rate.
    fn read_lines(&mut self, now: Instant, peer: Peer) {
        while let Some(conn) = self.conn_mut(peer) {
            if conn.rate.ahead(now) > limits::CONTROL_BURST {
                return self.pause(peer);
            }
            if self.must_wait_for_store(peer) {
                return self.wait_for_store(peer);
            }
            let Some(conn) = self.conn_mut(peer) else { return };
            let Some(line) = conn.lines.as_mut().and_then(|lines| lines.next(now)) else {
                return self.schedule(peer);
            };
            conn.charge(now, 0);
            self.handle_line(now, peer, &line);
        }
    }

    fn handle_line(&mut self, now: Instant, peer: Peer, line: &str) {
        let Some(conn) = self.conn_mut(peer) else { return };
        match conn.state {
            State::WaitsForHello { .. } if line == classic::QUIT => self.close(peer, CloseCause::Quit),
            State::WaitsForHello { .. } => self.name_given(now, peer, line),
            State::Member { session } if line == classic::QUIT => self.quit_when_kept(peer, session),
            State::Member { session } => {
                let Some(id) = conn.lines.as_mut().map(Lines::next_id) else { return };
                let Some(&room) = self.hub.rooms_of(session).first() else { return };
                let at = self.calendar_at(now);
                let Self { hub, out, seats, stats, .. } = self;
                hub.say(at, session, room, id, line, &mut |audience, notice| {
                    deliver(out, seats, stats, audience, notice);
                });
            }
        }
    }

    /// A newcomer says a name; who cannot have it is asked again.
    fn name_given(&mut self, now: Instant, peer: Peer, name: &str) {
        let lobby = [Claim::new("")];
        let request = JoinRequest { has_private: false, ..JoinRequest::new(name.trim(), &lobby) };
        let Self { hub, out, seats, stats, .. } = self;
        let tell =
            &mut |audience: Audience<'_>, notice: Notice<'_>| deliver(out, seats, stats, audience, notice);
        match hub.join(now, &request, tell) {
            Ok(admission) => {
                let welcome = classic::welcome(admission.name.as_str());
                self.admit(peer, &admission);
                write_line(&mut self.out, peer, &welcome);
                if is_made(Mistake::ClassicJoinTold) {
                    write_line(&mut self.out, peer, &classic::joined(admission.name.as_str()));
                }
                self.schedule(peer);
            }
            Err(why @ (Refusal::Name(_) | Refusal::NameTaken { .. })) => {
                write_line(&mut self.out, peer, &classic::remark(&why.to_string()));
                write_line(&mut self.out, peer, classic::WHO);
            }
            Err(refusal) => self.close(peer, CloseCause::Refused(refusal)),
        }
    }

    // Members.

    fn hello(&mut self, now: Instant, peer: Peer, hello: &pb::Hello) {
        if !hello.versions.contains(&control::VERSION) {
            return self.close(peer, CloseCause::Version);
        }
        let resume = hello.resume.as_ref().map(|resume| ResumeRequest {
            session: SessionId::from_wire(resume.session),
            token: &resume.token,
            attempt: resume.attempt,
        });
        let claims: Vec<Claim<'_>> = hello.rooms.iter().take(limits::CLAIMS).map(native::claim).collect();
        let request = JoinRequest {
            name: &hello.name,
            claims: &claims,
            voice: hello.voice,
            marks: native::marks(&hello.marks.unwrap_or_default()),
            has_private: true,
            author: hello.author.as_slice().try_into().ok().map(AuthorKey),
            resume,
        };
        let Self { hub, out, seats, stats, .. } = self;
        let tell =
            &mut |audience: Audience<'_>, notice: Notice<'_>| deliver(out, seats, stats, audience, notice);
        let admission = match hub.join(now, &request, tell) {
            Ok(admission) => admission,
            Err(refusal) => return self.close(peer, CloseCause::Refused(refusal)),
        };
        if let Some(former) = self.seats.peer_of(admission.session) {
            self.close(former, CloseCause::Replaced);
        }
        self.admit(peer, &admission);
        let Self { hub, out, .. } = self;
        out.push(Queued::Send(Class::Control), |bytes, to| {
            native::write_welcome(bytes, &admission);
            for entry in &admission.entries {
                native::write_entry(bytes, hub, admission.session, admission.author, entry);
            }
            to.push(peer);
        });
        self.schedule(peer);
    }

    /// A member wants to be in one more room.
    fn join_room(&mut self, now: Instant, peer: Peer, session: SessionId, claim: &pb::Claim) {
        self.charge_change(now, peer);
        let Self { hub, out, seats, stats, .. } = self;
        let tell =
            &mut |audience: Audience<'_>, notice: Notice<'_>| deliver(out, seats, stats, audience, notice);
        let entered = hub.enter(now, session, &native::claim(claim), tell);
        let Some(author) = hub.author_of(session) else { return };
        let mut answered = 0;
        out.push(Queued::Send(Class::Control), |bytes, to| {
            let begin = bytes.len();
            native::write_entry(bytes, hub, session, author, &Entry { key: claim.key, entered });
            answered = bytes.len() - begin;
            to.push(peer);
        });
        self.charge_answer(now, peer, answered);
    }

    /// A member who asks for much with little waits as if he had said a good part of it himself.
    fn charge_answer(&mut self, now: Instant, peer: Peer, bytes: usize) {
        if let Some(conn) = self.conn_mut(peer) {
            let kilobytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
            conn.rate.charge(now, (limits::ANSWER_COST * kilobytes).min(limits::CONTROL_BURST));
        }
    }

    /// A member changes something that others are told of, his name to `name` if that is not empty; he is told if it is refused.
    fn change(
        &mut self,
        now: Instant,
        peer: Peer,
        name: &str,
        change: impl FnOnce(&mut Hub, &mut dyn FnMut(Audience<'_>, Notice<'_>)) -> Result<(), Refusal>,
    ) {
        self.charge_change(now, peer);
        let Self { hub, out, seats, stats, .. } = self;
        let tell =
            &mut |audience: Audience<'_>, notice: Notice<'_>| deliver(out, seats, stats, audience, notice);
        if let Err(why) = change(hub, tell) {
            out.push(Queued::Send(Class::Control), |bytes, to| {
                native::write_notice(bytes, &Notice::NotDone { name, why });
                to.push(peer);
            });
        }
    }

    fn charge_change(&mut self, now: Instant, peer: Peer) {
        if let Some(conn) = self.conn_mut(peer) {
            conn.rate.charge(now, limits::CHANGE_COST);
        }
    }

    fn list_rooms(&mut self, now: Instant, peer: Peer) {
        self.charge_change(now, peer);
        let Self { hub, out, .. } = self;
        let mut answered = 0;
        out.push(Queued::Send(Class::Control), |bytes, to| {
            let begin = bytes.len();
            native::write_rooms(bytes, hub);
            answered = bytes.len() - begin;
            to.push(peer);
        });
        self.charge_answer(now, peer, answered);
    }

    /// A newcomer is let in: it has a seat, and hears the room.
    fn admit(&mut self, peer: Peer, admission: &Admission) {
        let &Admission { session, resumed, entered, .. } = admission;
        let room = self.hub.voice_room(session);
        let Some(conn) = self.conn_mut(peer) else { return };
        let dialect = conn.dialect();
        conn.state = State::Member { session };
        self.newcomers[dialect as usize] -= 1;
        self.seats.seat(session, peer, dialect);
        if resumed && !entered {
            let name = admission.name.clone();
            self.out.push(Queued::Event(ServerEvent::Resumed { name }), |_, _| {});
        }
        self.out.push(Queued::OpenPath { peer, session, room }, |_, _| {});
    }

    /// The operator removes a member, whether connected or not.
    fn remove_member(&mut self, session: SessionId) {
        let peer = self.seats.peer_of(session);
        if let Some(peer) = peer {
            self.unseat(peer);
        }
        let Self { hub, out, seats, stats, .. } = self;
        hub.end(session, LeaveReason::Removed, &mut |audience, notice| {
            deliver(out, seats, stats, audience, notice);
        });
        if let Some(peer) = peer {
            self.close(peer, CloseCause::Removed);
        }
    }

    /// A member leaves, but not before what he said.
    fn quit_when_kept(&mut self, peer: Peer, session: SessionId) {
        if self.hub.waiting_of(session) == 0 {
            return self.quit(peer, session);
        }
        if let Some(conn) = self.conn_mut(peer) {
            conn.is_quitting = true;
        }
        self.wait_for_store(peer);
    }

    /// A member leaves.
    fn quit(&mut self, peer: Peer, session: SessionId) {
        self.unseat(peer);
        let Self { hub, out, seats, stats, .. } = self;
        hub.quit(session, &mut |audience, notice| deliver(out, seats, stats, audience, notice));
        self.close(peer, CloseCause::Quit);
    }

    /// Voice that came over a connection goes to the relay as what came by datagram does.
    fn talk(&mut self, peer: Peer, payload: &[u8]) {
        let Some(conn) = self.conn_mut(peer) else { return };
        let State::Member { session } = conn.state else {
            self.stats.voice_homeless += 1;
            return;
        };
        let room = self.hub.voice_room(session);
        self.out.push(Queued::Talk { session, room }, |bytes, _| bytes.extend_from_slice(payload));
    }

    /// Voice of the relay goes over connections; what classic members are to hear is the gateway's to play, once for all.
    fn carry_voice(&mut self, payload: &[u8], to: &[SessionId]) {
        let Self { seats, out, .. } = self;
        let peers = |dialect| {
            let seats = to.iter().filter_map(|&session| seats.find(session));
            seats.filter(move |(_, speaks)| *speaks == dialect).map(|(peer, _)| peer)
        };
        if peers(Dialect::Native).next().is_some() {
            out.push(Queued::Send(Class::Voice), |bytes, to| {
                control::write_voice(bytes, payload);
                to.extend(peers(Dialect::Native));
            });
        }
        if peers(Dialect::Classic).next().is_some() {
            out.push(Queued::Overheard, |bytes, _| bytes.extend_from_slice(payload));
        }
    }

    /// Tells a talker what one of its listeners reports, together with what others did.
    fn report(&mut self, now: Instant, peer: Peer, listener: SessionId, report: &pb::VoiceReport) {
        self.stats.reports_in += 1;
        let Some(conn) = self.conn_mut(peer) else { return };
        let is_allowed = conn.report_rate.ahead(now) <= limits::REPORT_BURST;
        if is_allowed {
            conn.report_rate.charge(now, limits::REPORT_COST);
        }
        let (talker, report) = control::report_from_wire(report);
        let room = self.hub.voice_room(talker);
        let is_heard = talker != listener && room.is_some() && room == self.hub.voice_room(listener);
        if !is_allowed || !is_heard || !self.tell_report(now, talker, report) {
            self.stats.reports_dropped += 1;
        }
    }

    /// Tells a talker how his voice arrives; a classic one's gateway in his place. False when he is not there.
    fn tell_report(&mut self, now: Instant, talker: SessionId, report: ReceiverReport) -> bool {
        let Some((at, dialect)) = self.seats.find(talker) else { return false };
        let Some(conn) = self.conn_mut(at) else { return false };
        let Some(report) = conn.reports.merge(now, report) else { return true };
        self.stats.reports_out += 1;
        match dialect {
            Dialect::Native => self.out.push(Queued::Send(Class::Voice), |bytes, to| {
                let report = control::report_to_wire(talker, report);
                control::write_to_client(bytes, pb::to_client::Kind::VoiceReport(report));
                to.push(at);
            }),
            Dialect::Classic => self.out.push(Queued::Report { talker, report }, |_, _| {}),
        }
        true
    }

    fn shut_down(&mut self) {
        self.is_stopping = true;
        for index in 0..self.conns.len() {
            let peer = Peer::new(u32::try_from(index).unwrap_or(u32::MAX));
            self.close(peer, CloseCause::Shutdown);
        }
    }

    fn on_timer(&mut self, now: Instant, peer: Peer) {
        let Some(conn) = self.conn_mut(peer) else { return };
        if let State::WaitsForHello { deadline } = conn.state
            && deadline <= now
        {
            return self.close(peer, CloseCause::HelloTimeout);
        }
        if now >= conn.silence_due() && !conn.paused {
            return self.drop_peer(now, peer, CloseCause::Silent);
        }
        if conn.wants_ping(now) {
            conn.last_ping = now;
            self.out.push(Queued::Send(Class::Control), |bytes, to| {
                let ping = pb::Ping { token: now.as_micros() };
                control::write_to_client(bytes, pb::to_client::Kind::Ping(ping));
                to.push(peer);
            });
        }
        self.read_again(now, peer);
        if let Some(conn) = self.conn_mut(peer).filter(|conn| conn.lines.is_some() && !conn.paused) {
            // What was held back as half of something counts as heard now: it is charged now.
            conn.last_heard = now;
            self.read_lines(now, peer);
        }
        self.schedule(peer);
    }

    /// Closes a connection whose session may be resumed.
    fn drop_peer(&mut self, now: Instant, peer: Peer, cause: CloseCause) {
        self.lose_session(now, peer, cause == CloseCause::Silent);
        self.close(peer, cause);
    }

    /// The connection is gone without a goodbye.
    fn lose(&mut self, now: Instant, peer: Peer, silent: bool) {
        self.lose_session(now, peer, silent);
        self.remove(peer);
    }

    fn lose_session(&mut self, now: Instant, peer: Peer, silent: bool) {
        let dialect = self.conn_mut(peer).map(|conn| conn.dialect());
        let is_quitting = self.conn_mut(peer).is_some_and(|conn| conn.is_quitting);
        if let Some(session) = self.unseat(peer) {
            let Self { hub, out, seats, stats, .. } = self;
            let tell = &mut |audience: Audience<'_>, notice: Notice<'_>| {
                deliver(out, seats, stats, audience, notice)
            };
            match dialect {
                Some(Dialect::Classic) if is_made(Mistake::ClassicLossUntold) => {}
                Some(_) if is_quitting => hub.quit(session, tell),
                // Nobody can come back to it.
                Some(Dialect::Classic) => hub.end(session, LeaveReason::Lost, tell),
                Some(Dialect::Native) | None => hub.lose(now, session, silent, tell),
            }
        }
    }

    /// Says goodbye and closes; what becomes of the session is the caller's matter.
    fn close(&mut self, peer: Peer, cause: CloseCause) {
        self.unseat(peer);
        let Some(dialect) = self.remove(peer) else { return };
        match dialect {
            Dialect::Native => self.out.push(Queued::Send(Class::Control), |bytes, to| {
                native::write_goodbye(bytes, &cause);
                to.push(peer);
            }),
            Dialect::Classic if is_made(Mistake::ClassicGoodbyeForgotten) => {}
            Dialect::Classic => write_line(&mut self.out, peer, &classic::goodbye(&cause)),
        }
        self.out.push(Queued::Close { peer, cause }, |_, _| {});
    }

    /// Takes the connection's session away from it: nothing is routed to it any more.
    fn unseat(&mut self, peer: Peer) -> Option<SessionId> {
        let State::Member { session } = self.conn_mut(peer)?.state else { return None };
        if self.peer_of(session) == Some(peer) {
            self.seats.unseat(session, peer);
            self.out.push(Queued::Leave { session }, |_, _| {});
            self.reads.give_up(session, |ticket| self.out.push(Queued::Unread { ticket }, |_, _| {}));
        }
        Some(session)
    }

    /// Forgets a connection; what it spoke, if there was one.
    fn remove(&mut self, peer: Peer) -> Option<Dialect> {
        let conn = self.conns.get_mut(peer.index())?.take()?;
        let has_waited = matches!(conn.state, State::WaitsForHello { .. });
        self.newcomers[conn.dialect() as usize] -= usize::from(has_waited && !is_made(Mistake::PendingLeak));
        if conn.waits_for_store {
            self.waiting_for_store.retain(|&other| other != peer);
        }
        if let Some(due) = conn.timer {
            self.timers.remove(&(due, peer));
        }
        Some(conn.dialect())
    }

    fn conn_mut(&mut self, peer: Peer) -> Option<&mut Conn> {
        self.conns.get_mut(peer.index())?.as_mut()
    }

    /// Sets the timer of a connection to the first thing that is due.
    fn schedule(&mut self, peer: Peer) {
        let Some(Some(conn)) = self.conns.get_mut(peer.index()) else { return };
        if let Some(old) = conn.timer.replace(conn.due()) {
            self.timers.remove(&(old, peer));
        }
        self.timers.insert((conn.due(), peer));
    }
}
