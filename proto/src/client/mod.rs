//! The client machine: one person's side of the conversation with a server, over as many connections as that takes.
//!
//! It says when to connect, keeps what was said until it is acknowledged, resumes after a lost connection, and chooses
//! between datagrams and the control connection for voice. It opens no socket, draws no screen, knows no sound.

mod api;
mod audit;
mod path;
mod places;
mod receive;

use alloc::{borrow::ToOwned as _, boxed::Box, collections::VecDeque, string::String, vec::Vec};

pub use self::api::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientStats, EndReason, JoinError, ListedRoom,
    Member, Page, PageLine, PlaceId, RoomTopic, SayError,
};
use self::path::PathProber;
pub use self::path::spread_of;
use self::places::Place;
use crate::{
    hooks::{Limit, Mistake, is_made},
    hub::Marks,
    ids::{MessageId, Seq, SessionId},
    limits,
    outbox::Class,
    outqueue::OutQueue,
    relay::VoicePath,
    report::ReceiverReport,
    rng::Rng,
    text::{self},
    time::{Duration, Instant},
    wire::{
        chinwag1 as pb,
        control::{self},
        frame::FrameReader,
        path::{DatagramKind, PAYLOAD_BYTES},
        voice::VoiceFrame,
    },
};

#[derive(Debug)]
enum Queued {
    Connect,
    Disconnect,
    Send(Class),
    OpenPath(SessionId),
    Datagram(DatagramKind),
    Voice,
    Event(ClientEvent),
}

#[derive(Debug)]
enum State {
    /// Waits for the driver to connect.
    Connecting { deadline: Instant },
    /// Waits for the welcome.
    Greeting { deadline: Instant },
    /// Let in.
    In(Link),
    /// Waits before the next try.
    Pausing { until: Instant },
    /// Said goodbye, waits for the server's: let in, or without having been welcomed.
    Quitting { deadline: Instant, is_in: bool },
    /// Done.
    Ended,
}

/// What belongs to one connection, once welcomed.
#[derive(Debug)]
struct Link {
    /// Elsewhere: there is none in other states.
    prober: Box<PathProber>,
    since: Instant,
    last_heard: Instant,
    next_ping: Instant,
    ping: Option<(u64, Instant)>,
    /// When a server that says nothing before then is late with its answer to a ping; and it is.
    late_at: Option<Instant>,
    is_late: bool,
    /// Messages up to this one were sent on this connection.
    sent_up_to: MessageId,
}

/// What outlives connections.
#[derive(Debug)]
struct Session {
    id: SessionId,
    token: Vec<u8>,
    name: String,
}

/// What was said and is not acknowledged.
#[derive(Debug)]
struct Outgoing {
    id: MessageId,
    place: PlaceId,
    text: String,
}

/// See the module's documentation. Getters look, `handle_*` take what happened, mutators do what the user wants,
/// `poll_*` say what to do and when to come back.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    state: State,
    session: Option<Session>,
    places: Vec<Place>,
    next_place: PlaceId,
    /// Where the user talks and listens, and what the server was told of that on this connection, unless it is to be told again.
    voice: Option<PlaceId>,
    voice_told: Option<Option<PlaceId>>,
    /// The ping that was sent behind the last word on that; until it is answered, the server may have him elsewhere.
    voice_asked: Option<u64>,
    /// Where he talked last, and the first frame that he spoke there.
    talks_since: (Option<PlaceId>, u32),
    marks: Marks,
    /// What the server was told of that on this connection.
    marks_told: Marks,
    /// The name that the user wants and the server did not confirm yet; and which of those it was told last on this connection.
    wanted_name: Option<String>,
    name_told: String,
    /// Rooms of the server that were told so far.
    listed_rooms: Vec<ListedRoom>,
    /// The session before this one, and its name: the server may not know yet that it is over.
    former_self: Option<(SessionId, String)>,
    /// By which the server knows what is said again.
    author: [u8; 16],
    last_question: u32,
    reader: FrameReader,
    outgoing: VecDeque<Outgoing>,
    last_id: MessageId,
    /// Connections tried since the last good one.
    attempts: u32,
    /// Connections tried at all.
    attempts_made: u64,
    goodbye: Option<String>,
    out: OutQueue<Queued>,
    /// The voice payload in the making.
    payload: Vec<u8>,
    stats: ClientStats,
}

impl Client {
    /// A client that wants to connect at once.
    pub fn new(now: Instant, config: ClientConfig, seed: Rng) -> Self {
        let mut seed = seed;
        let mut client = Self {
            config,
            author: seed.bytes(),
            rng: seed,
            state: State::Ended,
            session: None,
            places: Vec::new(),
            next_place: PlaceId::FIRST,
            voice: None,
            voice_told: None,
            voice_asked: None,
            talks_since: (None, 0),
            marks: Marks::default(),
            marks_told: Marks::default(),
            wanted_name: None,
            name_told: String::new(),
            listed_rooms: Vec::new(),
            former_self: None,
            last_question: 0,
            reader: FrameReader::default(),
            outgoing: VecDeque::new(),
            last_id: MessageId::default(),
            attempts: 0,
            attempts_made: 0,
            goodbye: None,
            out: OutQueue::default(),
            payload: Vec::new(),
            stats: ClientStats::default(),
        };
        for name in core::mem::take(&mut client.config.rooms) {
            client.add_place(&name, false);
        }
        client.voice = client.places.first().map(|place| place.id);
        client.connect(now);
        client
    }

    // Getters.

    /// Messages that were said and not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// Their texts, in order, and where they are said.
    pub fn unacknowledged_texts(&self) -> impl Iterator<Item = (PlaceId, &str)> {
        self.outgoing.iter().map(|message| (message.place, message.text.as_str()))
    }

    /// How many more messages [`Client::say`] takes.
    pub fn room_for_messages(&self) -> usize {
        Limit::OutgoingMessages.value() - self.outgoing.len()
    }

    /// This client's session, once there is one.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// This client's name, once it has one.
    pub fn name(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.name.as_str())
    }

    /// Bytes from the server that wait to become a whole frame: fewer than the longest one has.
    pub fn buffered(&self) -> usize {
        self.reader.buffered()
    }

    /// True when let in.
    pub fn is_in(&self) -> bool {
        matches!(self.state, State::In(_))
    }

    /// True when nothing more will come.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Since when a server has been silent that was to answer a ping by now. None while all is well, however little is said.
    pub fn silent_since(&self, now: Instant) -> Option<Instant> {
        let State::In(link) = &self.state else { return None };
        (link.is_late || link.late_at.is_some_and(|at| at <= now)).then_some(link.last_heard)
    }

    /// Which way voice goes.
    pub fn voice_path(&self) -> Option<VoicePath> {
        match &self.state {
            State::In(link) => Some(link.prober.path()),
            State::Connecting { .. }
            | State::Greeting { .. }
            | State::Pausing { .. }
            | State::Quitting { .. }
            | State::Ended => None,
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> ClientStats {
        self.stats
    }

    // Inputs.

    /// Takes what happened.
    pub fn handle_input(&mut self, now: Instant, input: ClientInput<'_>) {
        match input {
            ClientInput::Connected => self.greet(),
            ClientInput::Disconnected => self.lost(now),
            ClientInput::Received { bytes } => self.receive(now, bytes),
            ClientInput::Datagram { kind, payload } => self.datagram(now, kind, payload),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Connecting { deadline } | State::Greeting { deadline } if *deadline <= now => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.lost(now);
            }
            State::Quitting { deadline, .. } if *deadline <= now => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.end(EndReason::Quit);
            }
            State::Pausing { until } if *until <= now => self.connect(now),
            State::In(_) => self.tend_link(now),
            State::Connecting { .. }
            | State::Greeting { .. }
            | State::Quitting { .. }
            | State::Pausing { .. }
            | State::Ended => {}
        }
    }

    // What the user wants.

    /// Says `text` in a room. It is kept until the server has acknowledged it, over lost connections too.
    pub fn say(&mut self, place: PlaceId, text: &str) -> Result<MessageId, SayError> {
        if matches!(self.state, State::Quitting { .. } | State::Ended) {
            return Err(SayError::Ended);
        }
        text::check_message(text).map_err(SayError::Message)?;
        if self.outgoing.len() >= Limit::OutgoingMessages.value() {
            return Err(SayError::Full);
        }
        if self.place(place).is_none_or(|place| place.is_leaving) {
            return Err(SayError::NotInRoom);
        }
        self.answered(place);
        self.last_id = self.last_id.next();
        self.outgoing.push_back(Outgoing { id: self.last_id, place, text: text.to_owned() });
        self.send_outgoing(Limit::UnackedMessages.value());
        Ok(self.last_id)
    }

    /// Sends one voice payload of this client: a new frame, then copies of older ones, newest first (their talker is filled
    /// in). What does not fit is left out from the end. Dropped, and counted, without a connection or a room to talk in, and until the
    /// server has said that this is where it is heard: or it would be heard in the room before. Copies of what was said for
    /// another room are not sent.
    pub fn send_voice<'a>(&mut self, now: Instant, frames: impl IntoIterator<Item = VoiceFrame<'a>>) {
        let mut frames = frames.into_iter().peekable();
        if let Some(newest) = frames.peek() {
            let (place, first) = self.talks_since;
            // Numbers may begin anew.
            if place != self.voice || is_older(newest.sequence, first) {
                self.talks_since = (self.voice, newest.sequence);
            }
        }
        let (_, first) = self.talks_since;
        let room = self.heard_in();
        let (State::In(link), Some(session), Some(_)) = (&mut self.state, &self.session, room) else {
            self.stats.frames_unsent += 1;
            return;
        };
        link.prober.note_voice(now);
        let path = link.prober.path();
        self.payload.clear();
        let mut written = 0;
        for (index, frame) in frames.enumerate() {
            if is_older(frame.sequence, first) {
                break;
            }
            let length = self.payload.len();
            let fits = written == index
                && index < limits::FRAMES_PER_DATAGRAM
                && VoiceFrame { talker: session.id, ..frame }.write(&mut self.payload)
                && self.payload.len() <= PAYLOAD_BYTES;
            if fits {
                written += 1;
            } else {
                self.payload.truncate(length);
                self.stats.copies_unsent += u64::from(index > 0);
            }
        }
        if written == 0 {
            self.stats.frames_unsent += 1;
            return;
        }
        let payload = &self.payload;
        if path.uses_udp() {
            self.out.push(Queued::Datagram(DatagramKind::Voice), |bytes, _| bytes.extend_from_slice(payload));
        }
        if path.uses_tcp() {
            self.out.push(Queued::Send(Class::Voice), |bytes, _| control::write_voice(bytes, payload));
        }
        self.stats.frames_sent += 1;
        self.stats.copies_sent += written as u64 - 1;
    }

    /// Reports to a talker how its voice arrives here. May be dropped, as voice may; without a connection it is.
    pub fn report_voice(&mut self, talker: SessionId, report: ReceiverReport) {
        if self.is_in() {
            let report = control::report_to_wire(talker, report);
            self.out.push(Queued::Send(Class::Voice), |bytes, _| {
                control::write_to_server(bytes, pb::to_server::Kind::VoiceReport(report));
            });
            self.stats.reports_sent += 1;
        }
    }

    /// Asks for what was said in a room before `before` (or most recently), at most `limit` messages; only those that have all of
    /// `words`, if there are any. The answer is [`ClientEvent::History`] with the number that this returns; none without a connection.
    pub fn ask_history(
        &mut self,
        place: PlaceId,
        before: Option<Seq>,
        limit: usize,
        words: &str,
    ) -> Option<u32> {
        let room = self.room_of(place).filter(|_| self.is_in())?.to_wire();
        self.last_question = self.last_question.wrapping_add(1);
        let token = self.last_question;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let (before, words) = (before.unwrap_or_default().to_wire(), words.to_owned());
        self.send(pb::to_server::Kind::History(pb::HistoryRequest { room, before, limit, words, token }));
        Some(token)
    }

    /// Gives up the connection and makes another one at once, by which the session is resumed; in a pause between two tries, tries
    /// now. False while one is being made already, or at the end.
    pub fn reconnect(&mut self, now: Instant) -> bool {
        match self.state {
            State::In(_) => self.out.push(Queued::Disconnect, |_, _| {}),
            State::Pausing { .. } => {}
            State::Connecting { .. } | State::Greeting { .. } | State::Quitting { .. } | State::Ended => {
                return false;
            }
        }
        self.event(ClientEvent::Reconnecting { why: None, pause: Duration::ZERO });
        // Whoever wants it now knows that something has changed.
        self.attempts = 0;
        self.connect(now);
        true
    }

    /// Leaves for good. What was said before is sent before; [`ClientEvent::Ended`] comes when the server has
    /// said goodbye, or after [`limits::QUIT_TIMEOUT`].
    pub fn quit(&mut self, now: Instant) {
        match self.state {
            State::In(_) => {
                // Nobody resumes after this, so the server need not remember what was acknowledged.
                self.send_outgoing(limits::OUTGOING_MESSAGES);
                self.send(pb::to_server::Kind::Quit(pb::Quit {}));
                self.state = State::Quitting { deadline: now + limits::QUIT_TIMEOUT, is_in: true };
            }
            // The Hello is on its way: without a goodbye behind it the others would be told of one who is lost.
            State::Greeting { .. } => {
                self.send(pb::to_server::Kind::Quit(pb::Quit {}));
                self.state = State::Quitting { deadline: now + limits::QUIT_TIMEOUT, is_in: false };
            }
            State::Connecting { .. } | State::Pausing { .. } => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.end(EndReason::Quit);
            }
            State::Quitting { .. } | State::Ended => {}
        }
    }

    // Outputs.

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<ClientOutput<'_>> {
        let (queued, bytes, _) = self.out.pop()?;
        Some(match queued {
            Queued::Connect => ClientOutput::Connect,
            Queued::Disconnect => ClientOutput::Disconnect,
            Queued::Send(class) => ClientOutput::Send { bytes, class },
            Queued::OpenPath(session) => ClientOutput::OpenPath { session },
            Queued::Datagram(kind) => ClientOutput::Datagram { kind, payload: bytes },
            Queued::Voice => ClientOutput::Voice { payload: bytes },
            Queued::Event(event) => ClientOutput::Event(event),
        })
    }

    /// When to call [`Client::handle_timeout`]; the origin when outputs are waiting to be polled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.out.is_empty() {
            return Some(Instant::ZERO);
        }
        match &self.state {
            State::Connecting { .. } if is_made(Mistake::ConnectForever) => None,
            State::Quitting { .. } if is_made(Mistake::QuitForever) => None,
            State::Connecting { deadline }
            | State::Greeting { deadline }
            | State::Quitting { deadline, .. }
            | State::Pausing { until: deadline } => Some(*deadline),
            State::In(link) => {
                let due = link.next_ping.min(link.last_heard + limits::SILENCE_TIMEOUT);
                let due = due.min(link.prober.poll_timeout());
                // Whoever shows it is woken; an answer is there long before, most often.
                Some(link.late_at.map_or(due, |at| due.min(at)))
            }
            State::Ended => None,
        }
    }

    // The connection.

    fn connect(&mut self, now: Instant) {
        self.reader = FrameReader::default();
        for place in &mut self.places {
            (place.is_claimed, place.is_entered) = (false, false);
        }
        self.goodbye = None;
        self.attempts_made += 1;
        self.state = State::Connecting { deadline: now + limits::CONNECT_TIMEOUT };
        self.out.push(Queued::Connect, |_, _| {});
    }

    fn greet(&mut self) {
        let State::Connecting { deadline } = self.state else { return };
        self.state = State::Greeting { deadline };
        let resume = self.session.as_ref().map(|session| pb::Resume {
            session: session.id.to_wire(),
            token: session.token.clone(),
            attempt: self.attempts_made,
        });
        self.finish_parts();
        self.give_up_surplus();
        let rooms = self.claims();
        self.marks_told = self.marks;
        self.name_told.clone_from(self.wanted_name.as_ref().unwrap_or(&self.config.name));
        let is_claimed = |voice: &PlaceId| self.place(*voice).is_some_and(|place| place.is_claimed);
        self.voice_told = Some(self.voice.filter(is_claimed));
        let hello = pb::Hello {
            versions: [control::VERSION].to_vec(),
            software: self.config.software.clone(),
            features: Vec::new(),
            name: self.name_told.clone(),
            rooms,
            voice: self.voice.map_or(0, PlaceId::number),
            marks: Some(self.wire_marks()),
            resume,
            author: self.author.to_vec(),
        };
        self.send(pb::to_server::Kind::Hello(hello));
    }

    /// The connection is gone, or there never was one.
    fn lost(&mut self, now: Instant) {
        if is_made(Mistake::OutgoingForgotten) {
            self.outgoing.clear();
        }
        match self.state {
            State::Quitting { .. } => self.end(EndReason::Quit),
            State::Ended | State::Pausing { .. } => {}
            State::Connecting { .. } | State::Greeting { .. } if self.session.is_none() => {
                match self.goodbye.take() {
                    Some(why) => {
                        self.event(ClientEvent::Refused { why, suggestion: None, will_retry: false });
                        self.end(EndReason::Refused);
                    }
                    None => self.end(EndReason::Unreachable),
                }
            }
            State::Connecting { .. } | State::Greeting { .. } | State::In(_) => {
                if let State::In(link) = &self.state
                    && now >= link.since + limits::RECONNECT_STABLE
                {
                    self.attempts = 0;
                }
                let longest = limits::RECONNECT_MIN * 2u32.pow(self.attempts.min(8));
                let longest = longest.min(limits::RECONNECT_MAX);
                self.attempts = self.attempts.saturating_add(1);
                // Half of it at least, the rest by chance, so that not everybody comes back at one moment.
                let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
                let pause = Duration::from_micros(longest / 2 + self.rng.below(longest / 2 + 1));
                self.state = State::Pausing { until: now + pause };
                let why = self.goodbye.take();
                self.event(ClientEvent::Reconnecting { why, pause });
            }
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.state = State::Ended;
        self.event(ClientEvent::Ended(reason));
    }

    fn tend_link(&mut self, now: Instant) {
        let State::In(link) = &mut self.state else { return };
        if now >= link.last_heard + limits::SILENCE_TIMEOUT {
            self.out.push(Queued::Disconnect, |_, _| {});
            self.goodbye = Some("the server has been silent for too long".to_owned());
            return self.lost(now);
        }
        link.is_late |= link.late_at.take_if(|at| *at <= now).is_some();
        let is_ping_due = now >= link.next_ping;
        if is_ping_due {
            link.prober.join_ping(now);
        }
        let todo = link.prober.handle_timeout(now);
        let ping = is_ping_due.then(|| {
            let token = self.rng.next_u64();
            // Those who all came at once, as after a restart of the server, are not to ping all at once ever after: the first
            // pause is of any length.
            let is_first = link.next_ping == link.since;
            let earlier = if is_first { token % limits::PING_INTERVAL.as_micros() as u64 } else { 0 };
            if !is_made(Mistake::Runaway) {
                link.next_ping = now + (limits::PING_INTERVAL - Duration::from_micros(earlier));
            }
            link.ping = Some((token, now));
            if !link.is_late {
                let late_at = (now + limits::ANSWER_LATE).max(link.last_heard + limits::SILENCE_TOLD);
                link.late_at.get_or_insert(late_at);
            }
            token
        });
        if let Some(token) = ping {
            self.send(pb::to_server::Kind::Ping(pb::Ping { token }));
        }
        if let Some(token) = todo.probe {
            self.out.push(Queued::Datagram(DatagramKind::Probe), |bytes, _| {
                bytes.extend_from_slice(&token.to_be_bytes());
            });
        }
        self.path_changed(todo.switch);
    }

    fn path_changed(&mut self, switch: Option<VoicePath>) {
        use pb::set_voice_path::Path;
        let Some(switch) = switch else { return };
        self.stats.voice_path = switch;
        let path = match switch {
            VoicePath::Tcp => Path::Tcp,
            VoicePath::Udp => Path::Udp,
            VoicePath::Both => Path::Both,
        };
        self.send(pb::to_server::Kind::VoicePath(pb::SetVoicePath { path: path.into() }));
        self.event(ClientEvent::Path(switch));
    }

    // Helpers.

    /// Sends what was said and not sent on this connection, so that at most `most` messages wait to be acknowledged.
    fn send_outgoing(&mut self, most: usize) {
        let State::In(link) = &mut self.state else { return };
        let Some(oldest) = self.outgoing.front().map(|message| message.id) else { return };
        // Counted from the oldest one that waits: what is acknowledged out of turn makes no room, or the server would be
        // asked for a number that it no longer remembers.
        let is_near = |id: MessageId| id.to_wire() - oldest.to_wire() < most as u64;
        for Outgoing { id, place, text } in self.outgoing.iter().take_while(|message| is_near(message.id)) {
            if *id > link.sent_up_to {
                let place = self.places.iter().find(|other| other.id == *place && other.is_entered);
                // Numbers must grow: what is said later elsewhere waits for the answer, too.
                let Some(numbering) = place.and_then(|place| place.numbering) else {
                    if is_made(Mistake::UnenteredOvertaken) {
                        continue;
                    }
                    return;
                };
                link.sent_up_to = *id;
                let say = pb::Say { room: numbering.room.to_wire(), id: id.to_wire(), text: text.clone() };
                self.out.push(Queued::Send(Class::Control), |bytes, _| {
                    control::write_to_server(bytes, pb::to_server::Kind::Say(say));
                });
            }
        }
        if is_made(Mistake::AckBySending) {
            self.outgoing.clear();
        }
    }

    fn take_outgoing(&mut self, id: MessageId) -> Option<Outgoing> {
        let at = self.outgoing.iter().position(|outgoing| outgoing.id == id)?;
        self.outgoing.remove(at)
    }

    fn send(&mut self, kind: pb::to_server::Kind) {
        self.out.push(Queued::Send(Class::Control), |bytes, _| control::write_to_server(bytes, kind));
    }

    fn event(&mut self, event: ClientEvent) {
        self.out.push(Queued::Event(event), |_, _| {});
    }
}

/// Whether a frame was spoken before another.
fn is_older(sequence: u32, than: u32) -> bool {
    sequence.wrapping_sub(than).cast_signed() < 0
}
