//! The client machine: one person's side of the conversation with a server, over as many connections as that takes.
//!
//! It says when to connect, keeps what was said until it is acknowledged, resumes after a lost connection, and chooses
//! between datagrams and the control connection for voice. It opens no socket, draws no screen, knows no sound.

mod path;

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::fmt;

use self::path::PathProber;
use crate::{
    hub::LeaveReason,
    ids::{MessageId, RoomId, Seq, SessionId},
    limits,
    name::Name,
    outbox::Class,
    outqueue::OutQueue,
    rng::Rng,
    server::VoicePath,
    text::{self, MessageError},
    time::{Duration, Instant},
    wire::{
        chinwag1 as pb,
        control::{self, Body},
        frame::{FrameReader, Oversized},
        path::DatagramKind,
        voice::{Frames, VoiceFrame},
    },
};

/// What a client is told at the start.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The name to join by, as typed.
    pub name: String,
    /// The room; empty for the server's default.
    pub room: String,
    /// The program and its version, for the server's log.
    pub software: String,
}

/// Something that happened to the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientInput<'a> {
    /// The connection asked for by [`ClientOutput::Connect`] stands, its TLS handshake done.
    Connected,
    /// It could not be made, or it ended.
    Disconnected,
    /// Bytes of its stream.
    Received {
        /// What TLS decrypted, in any portions.
        bytes: &'a [u8],
    },
    /// A datagram that proved authentic and new.
    Datagram {
        /// What it is for.
        kind: DatagramKind,
        /// What was sealed in it.
        payload: &'a [u8],
    },
}

/// Something that the driver must do.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientOutput<'a> {
    /// Connect to the server.
    Connect,
    /// Write what is queued, then close the connection, if there is one.
    Disconnect,
    /// Write these bytes to the connection.
    Send {
        /// Whole frames.
        bytes: &'a [u8],
        /// Whether they may be dropped.
        class: Class,
    },
    /// From now on datagrams belong to this session, under this connection's keys, with fresh counters.
    OpenPath {
        /// The number in their headers.
        session: SessionId,
    },
    /// Seal and send this.
    Datagram {
        /// What it is.
        kind: DatagramKind,
        /// What to seal.
        payload: &'a [u8],
    },
    /// Voice of others: one or more frames, each to be played. It may come twice.
    Voice {
        /// Whole frames ([`Frames::parse`] succeeds).
        payload: &'a [u8],
    },
    /// Something that the user should know.
    Event(ClientEvent),
}

/// What a user is told. Names and texts are as others sent them: not safe to print raw ([`text::escape`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// In the room.
    Welcome {
        /// This client's session.
        session: SessionId,
        /// One's own name as the server has it.
        name: String,
        /// The room's name.
        room: String,
        /// True after a lost connection, when the server still knew the session and nothing was missed.
        resumed: bool,
        /// True for all but the first welcome.
        again: bool,
    },
    /// Somebody came.
    Joined {
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
    },
    /// Somebody is gone.
    Left {
        /// Whose session.
        session: SessionId,
        /// Who.
        name: String,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody said something.
    Said {
        /// Its place in the room.
        seq: Seq,
        /// Who.
        name: String,
        /// What.
        text: String,
        /// One's own message, for which this is the acknowledgement.
        own: Option<MessageId>,
    },
    /// The server did not accept a message.
    NotSaid {
        /// Which.
        id: MessageId,
        /// Its text.
        text: String,
        /// Why.
        why: String,
    },
    /// So many events of the room were missed: the server did not remember them.
    Missed {
        /// How many.
        events: u64,
    },
    /// The server does not let this client in.
    Refused {
        /// Why, and what to do.
        why: String,
        /// A name that would be free.
        suggestion: Option<String>,
        /// True when the client tries again with that name by itself, since it was here before.
        will_retry: bool,
    },
    /// The connection is lost or could not be made; the client tries again after a pause.
    Reconnecting {
        /// What the server said when it closed, or nothing.
        why: Option<String>,
        /// The pause.
        pause: Duration,
    },
    /// Voice goes another way now.
    Path(VoicePath),
    /// The client is done; nothing more will come.
    Ended(EndReason),
}

/// Why a client is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The user quit.
    Quit,
    /// The server did not let it in ([`ClientEvent::Refused`] told why).
    Refused,
    /// The first connection could not be made.
    Unreachable,
    /// The session was taken over by another connection.
    Replaced,
    /// The server does not speak this protocol.
    Protocol,
}

/// Why [`Client::say`] did not take a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SayError {
    /// It is no message.
    Message(MessageError),
    /// [`limits::OUTGOING_MESSAGES`] messages wait to be acknowledged.
    Full,
    /// The client has quit or ended.
    Ended,
}

impl fmt::Display for SayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Full => write!(f, "too many messages wait for the server; try again when it has caught up"),
            Self::Ended => write!(f, "the conversation has ended"),
        }
    }
}

/// What the client counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientStats {
    /// Voice frames sent, each counted once.
    pub frames_sent: u64,
    /// Voice frames that could not be sent, since there was no connection.
    pub frames_unsent: u64,
    /// Voice payloads received by datagram.
    pub udp_received: u64,
    /// Voice payloads received on the control connection.
    pub tcp_received: u64,
    /// Voice payloads that were not whole frames.
    pub malformed: u64,
    /// Which way voice goes, or went at last.
    pub voice_path: VoicePath,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Round-trip time of the control connection, of the last ping.
    pub control_rtt: Option<Duration>,
    /// Round-trip time of the voice path, of the last probe.
    pub voice_rtt: Option<Duration>,
}

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
    /// In the room.
    In(Link),
    /// Waits before the next try.
    Pausing { until: Instant },
    /// Said goodbye, waits for the server's.
    Quitting { deadline: Instant },
    /// Done.
    Ended,
}

/// What belongs to one connection, once welcomed.
#[derive(Debug)]
struct Link {
    prober: PathProber,
    since: Instant,
    last_heard: Instant,
    next_ping: Instant,
    ping: Option<(u64, Instant)>,
    /// Messages up to this one were sent on this connection.
    sent_up_to: MessageId,
}

/// What outlives connections.
#[derive(Debug)]
struct Session {
    id: SessionId,
    token: Vec<u8>,
    name: String,
    room: RoomId,
    room_name: String,
    epoch: u64,
    last_seq: Seq,
}

/// See the module's documentation. Getters look, `handle_*` take what happened, mutators do what the user wants,
/// `poll_*` say what to do and when to come back.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    state: State,
    session: Option<Session>,
    members: BTreeMap<SessionId, String>,
    reader: FrameReader,
    outgoing: VecDeque<(MessageId, String)>,
    last_id: MessageId,
    attempts: u32,
    goodbye: Option<String>,
    out: OutQueue<Queued>,
    /// The voice payload in the making.
    payload: Vec<u8>,
    stats: ClientStats,
}

impl Client {
    /// A client that wants to connect at once.
    pub fn new(now: Instant, config: ClientConfig, seed: Rng) -> Self {
        let mut client = Self {
            config,
            rng: seed,
            state: State::Ended,
            session: None,
            members: BTreeMap::new(),
            reader: FrameReader::default(),
            outgoing: VecDeque::new(),
            last_id: MessageId::default(),
            attempts: 0,
            goodbye: None,
            out: OutQueue::default(),
            payload: Vec::new(),
            stats: ClientStats::default(),
        };
        client.connect(now);
        client
    }

    // Getters.

    /// Messages that were said and not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// How many more messages [`Client::say`] takes.
    pub fn room_for_messages(&self) -> usize {
        limits::OUTGOING_MESSAGES - self.outgoing.len()
    }

    /// This client's session, once there is one.
    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Everybody in the room, this client too.
    pub fn members(&self) -> impl Iterator<Item = (SessionId, &str)> {
        self.members.iter().map(|(&session, name)| (session, name.as_str()))
    }

    /// True when in the room.
    pub fn is_in(&self) -> bool {
        matches!(self.state, State::In(_))
    }

    /// True when nothing more will come.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
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
            State::Quitting { deadline } if *deadline <= now => {
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

    /// Says `text`. It is kept until the server has acknowledged it, over lost connections too.
    pub fn say(&mut self, text: &str) -> Result<MessageId, SayError> {
        if matches!(self.state, State::Quitting { .. } | State::Ended) {
            return Err(SayError::Ended);
        }
        text::check_message(text).map_err(SayError::Message)?;
        if self.outgoing.len() >= limits::OUTGOING_MESSAGES {
            return Err(SayError::Full);
        }
        self.last_id = self.last_id.next();
        self.outgoing.push_back((self.last_id, text.to_owned()));
        self.send_outgoing(limits::UNACKED_MESSAGES);
        Ok(self.last_id)
    }

    /// Sends one voice frame of this client (its talker is filled in). Dropped, and counted, without a connection.
    pub fn send_voice(&mut self, now: Instant, frame: &VoiceFrame<'_>) {
        let (State::In(link), Some(session)) = (&mut self.state, &self.session) else {
            self.stats.frames_unsent += 1;
            return;
        };
        let frame = VoiceFrame { talker: session.id, ..*frame };
        link.prober.note_voice(now);
        let path = link.prober.path();
        self.payload.clear();
        if !frame.write(&mut self.payload) {
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
    }

    /// Leaves for good. What was said before is sent before; [`ClientEvent::Ended`] comes when the server has
    /// said goodbye, or after [`limits::QUIT_TIMEOUT`].
    pub fn quit(&mut self, now: Instant) {
        match self.state {
            State::In(_) => {
                // Nobody resumes after this, so the server need not remember what was acknowledged.
                self.send_outgoing(limits::OUTGOING_MESSAGES);
                self.send(pb::to_server::Kind::Quit(pb::Quit {}));
                self.state = State::Quitting { deadline: now + limits::QUIT_TIMEOUT };
            }
            State::Connecting { .. } | State::Greeting { .. } | State::Pausing { .. } => {
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
            State::Connecting { deadline }
            | State::Greeting { deadline }
            | State::Quitting { deadline }
            | State::Pausing { until: deadline } => Some(*deadline),
            State::In(link) => Some(
                link.next_ping.min(link.last_heard + limits::SILENCE_TIMEOUT).min(link.prober.poll_timeout()),
            ),
            State::Ended => None,
        }
    }

    // The connection.

    fn connect(&mut self, now: Instant) {
        self.reader = FrameReader::default();
        self.goodbye = None;
        self.state = State::Connecting { deadline: now + limits::CONNECT_TIMEOUT };
        self.out.push(Queued::Connect, |_, _| {});
    }

    fn greet(&mut self) {
        let State::Connecting { deadline } = self.state else { return };
        self.state = State::Greeting { deadline };
        let resume = self.session.as_ref().map(|session| pb::Resume {
            session: session.id.to_wire(),
            token: session.token.clone(),
            epoch: session.epoch,
            last_seq: session.last_seq.to_wire(),
        });
        let room = self.session.as_ref().map_or(&self.config.room, |session| &session.room_name);
        let hello = pb::Hello {
            versions: [control::VERSION].to_vec(),
            software: self.config.software.clone(),
            features: Vec::new(),
            name: self.config.name.clone(),
            room: room.clone(),
            resume,
        };
        self.send(pb::to_server::Kind::Hello(hello));
    }

    /// The connection is gone, or there never was one.
    fn lost(&mut self, now: Instant) {
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
        let todo = link.prober.handle_timeout(now);
        let ping = (now >= link.next_ping).then(|| {
            let token = self.rng.next_u64();
            link.next_ping = now + limits::PING_INTERVAL;
            link.ping = Some((token, now));
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

    // What the server says.

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if let State::In(link) = &mut self.state {
            link.last_heard = now;
        }
        self.reader.push(bytes);
        let mut reader = core::mem::take(&mut self.reader);
        while matches!(self.state, State::Greeting { .. } | State::In(_) | State::Quitting { .. }) {
            match reader.next_frame(limits::FRAME_BYTES) {
                Ok(Some(body)) => self.handle_body(now, body),
                Ok(None) => {
                    self.reader = reader;
                    return;
                }
                Err(Oversized { .. }) => return self.protocol_error(now),
            }
        }
    }

    /// The server talks nonsense: a fresh connection may help, unless it always did.
    fn protocol_error(&mut self, now: Instant) {
        self.out.push(Queued::Disconnect, |_, _| {});
        if self.session.is_none() {
            self.end(EndReason::Protocol);
        } else {
            self.goodbye = Some("the server sent what is not chinwag/1".to_owned());
            self.lost(now);
        }
    }

    fn handle_body(&mut self, now: Instant, body: &[u8]) {
        use pb::to_client::Kind;
        let message = match control::decode_to_client(body) {
            Ok(Body::Voice(payload)) => {
                self.stats.tcp_received += 1;
                return self.voice(now, payload);
            }
            Ok(Body::Message(message)) => message,
            Ok(Body::Unknown) => return,
            Err(control::Undecodable) => return self.protocol_error(now),
        };
        match message {
            Kind::Welcome(welcome) => self.welcome(now, welcome),
            Kind::Refused(refused) => self.refused(now, refused),
            Kind::Closing(closing) => self.closing(&closing),
            Kind::Ping(ping) => self.send(pb::to_server::Kind::Pong(ping)),
            // What happens in the room means nothing before the welcome to it.
            Kind::Members(_)
            | Kind::Ack(_)
            | Kind::Nack(_)
            | Kind::Said(_)
            | Kind::Joined(_)
            | Kind::Left(_)
            | Kind::Pong(_)
            | Kind::Voice(_)
                if matches!(self.state, State::Greeting { .. }) => {}
            Kind::Members(members) => {
                for (session, name) in members.members.into_iter().map(member) {
                    if !self.note_member(session, &name) {
                        return self.protocol_error(now);
                    }
                }
            }
            Kind::Ack(ack) => self.acknowledged(MessageId::from_wire(ack.id), Seq::from_wire(ack.seq)),
            Kind::Nack(nack) => {
                let id = MessageId::from_wire(nack.id);
                if let Some(text) = self.take_outgoing(id) {
                    self.event(ClientEvent::NotSaid { id, text, why: nack.text });
                    self.send_outgoing(limits::UNACKED_MESSAGES);
                }
            }
            Kind::Said(said) => self.said(said),
            Kind::Joined(joined) => {
                if let Some((session, name)) = joined.member.map(member).filter(|_| self.is_next(joined.seq))
                {
                    if !self.note_member(session, &name) {
                        return self.protocol_error(now);
                    }
                    if Some(session) != self.session() {
                        self.event(ClientEvent::Joined { session, name });
                    }
                }
            }
            Kind::Left(left) => {
                let reason = match left.reason() {
                    pb::left::Reason::Quit | pb::left::Reason::Unknown => LeaveReason::Quit,
                    pb::left::Reason::Lost => LeaveReason::Lost,
                    pb::left::Reason::Removed => LeaveReason::Removed,
                };
                if let Some((session, name)) = left.member.map(member).filter(|_| self.is_next(left.seq))
                    && Some(session) != self.session()
                {
                    self.members.remove(&session);
                    self.event(ClientEvent::Left { session, name, reason });
                }
            }
            Kind::Pong(pong) => {
                if let State::In(link) = &mut self.state
                    && let Some((_, sent)) = link.ping.take_if(|(token, _)| *token == pong.token)
                {
                    self.stats.control_rtt = Some(now.since(sent));
                }
            }
            Kind::Voice(payload) => {
                self.stats.tcp_received += 1;
                self.voice(now, &payload);
            }
        }
    }

    fn welcome(&mut self, now: Instant, welcome: pb::Welcome) {
        let State::Greeting { .. } = self.state else { return };
        let Some(room) = welcome.room else { return self.protocol_error(now) };
        self.members.clear();
        let is_bounded =
            welcome.members.into_iter().map(member).all(|(id, name)| self.note_member(id, &name))
                && [&welcome.name, &room.name].iter().all(|name| name.len() <= limits::NAME_BYTES)
                && welcome.resume_token.len() <= limits::RESUME_TOKEN_BYTES;
        if !is_bounded {
            return self.protocol_error(now);
        }
        let id = SessionId::from_wire(welcome.session);
        let again = self.session.is_some();
        self.stats.reconnects += u64::from(again);
        self.stats.voice_path = VoicePath::default();
        self.state = State::In(Link {
            prober: PathProber::new(now),
            since: now,
            last_heard: now,
            next_ping: now,
            ping: None,
            sent_up_to: MessageId::default(),
        });
        let (last_seq, mut missed) = (Seq::from_wire(room.last_seq), 0);
        // A server that has forgotten the session may still have the same room; one's own coming is not missed.
        if let Some(session) = self.session.as_ref().filter(|former| former.epoch == room.epoch) {
            let told = session.last_seq.to_wire().saturating_add(u64::from(!welcome.resumed));
            missed = last_seq.to_wire().saturating_sub(told);
        }
        self.session = Some(Session {
            id,
            token: welcome.resume_token,
            name: welcome.name.clone(),
            room: RoomId::from_wire(room.id),
            room_name: room.name.clone(),
            epoch: room.epoch,
            last_seq,
        });
        self.out.push(Queued::OpenPath(id), |_, _| {});
        let (name, resumed) = (welcome.name, welcome.resumed);
        self.event(ClientEvent::Welcome { session: id, name, room: room.name, resumed, again });
        if missed > 0 {
            self.event(ClientEvent::Missed { events: missed });
        }
        self.send_outgoing(limits::UNACKED_MESSAGES);
    }

    fn refused(&mut self, now: Instant, refused: pb::Refused) {
        let State::Greeting { .. } = self.state else { return };
        let is_name_taken = refused.reason() == pb::refused::Reason::NameTaken;
        let suggestion = Some(refused.suggestion).filter(|name| Name::new(name).is_ok());
        // Whoever was here before is not to lose what he said because somebody took his name meanwhile.
        let will_retry = is_name_taken && self.session.is_some() && suggestion.is_some();
        self.event(ClientEvent::Refused { why: refused.text, suggestion: suggestion.clone(), will_retry });
        self.out.push(Queued::Disconnect, |_, _| {});
        if let Some(name) = suggestion.filter(|_| will_retry) {
            self.config.name = name;
            self.lost(now);
        } else {
            self.end(EndReason::Refused);
        }
    }

    fn closing(&mut self, closing: &pb::Closing) {
        use pb::closing::Reason;
        match closing.reason() {
            Reason::Replaced => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.end(EndReason::Replaced);
            }
            Reason::Unknown
            | Reason::Quit
            | Reason::Shutdown
            | Reason::ProtocolError
            | Reason::Timeout
            | Reason::TooSlow => {
                // The connection ends by itself; then the client comes back, unless it quit.
                self.goodbye = Some(closing.text.clone());
            }
        }
    }

    fn said(&mut self, said: pb::Said) {
        let (id, seq) = (MessageId::from_wire(said.id), Seq::from_wire(said.seq));
        if Some(SessionId::from_wire(said.session)) == self.session()
            && self.outgoing.iter().any(|(outgoing, _)| *outgoing == id)
        {
            // Told again after a lost connection: the acknowledgement that did not arrive.
            return self.acknowledged(id, seq);
        }
        if self.is_next(said.seq) {
            self.event(ClientEvent::Said { seq, name: said.name, text: said.text, own: None });
        }
    }

    fn acknowledged(&mut self, id: MessageId, seq: Seq) {
        self.is_next(seq.to_wire());
        let Some(text) = self.take_outgoing(id) else { return };
        let name = self.session.as_ref().map(|session| session.name.clone()).unwrap_or_default();
        self.event(ClientEvent::Said { seq, name, text, own: Some(id) });
        self.send_outgoing(limits::UNACKED_MESSAGES);
    }

    /// Notes the place of an event. False when it was seen before; a gap is reported.
    fn is_next(&mut self, seq: u64) -> bool {
        let Some(session) = &mut self.session else { return false };
        let expected = session.last_seq.next().to_wire();
        if seq < expected {
            return false;
        }
        session.last_seq = Seq::from_wire(seq);
        if seq > expected {
            self.event(ClientEvent::Missed { events: seq - expected });
        }
        true
    }

    fn datagram(&mut self, now: Instant, kind: DatagramKind, payload: &[u8]) {
        let State::In(link) = &mut self.state else { return };
        match kind {
            DatagramKind::Voice => {
                self.stats.udp_received += 1;
                self.voice(now, payload);
            }
            DatagramKind::Echo => {
                let Ok(token) = payload.try_into().map(u64::from_be_bytes) else {
                    self.stats.malformed += 1;
                    return;
                };
                let switch = link.prober.handle_echo(now, token);
                self.stats.voice_rtt = link.prober.rtt();
                self.path_changed(switch);
            }
            // Clients are not probed.
            DatagramKind::Probe => {}
        }
    }

    fn voice(&mut self, now: Instant, payload: &[u8]) {
        let State::In(link) = &mut self.state else { return };
        if Frames::parse(payload).is_err() {
            self.stats.malformed += 1;
            return;
        }
        link.prober.note_voice(now);
        self.out.push(Queued::Voice, |bytes, _| bytes.extend_from_slice(payload));
    }

    // Helpers.

    /// Sends what was said and not sent on this connection, so that `most` messages wait to be acknowledged.
    fn send_outgoing(&mut self, most: usize) {
        let (State::In(link), Some(session)) = (&mut self.state, &self.session) else { return };
        for (id, text) in self.outgoing.iter().take(most) {
            if *id > link.sent_up_to {
                link.sent_up_to = *id;
                let say = pb::Say { room: session.room.to_wire(), id: id.to_wire(), text: text.clone() };
                self.out.push(Queued::Send(Class::Control), |bytes, _| {
                    control::write_to_server(bytes, pb::to_server::Kind::Say(say));
                });
            }
        }
    }

    /// Notes who is here; false when that is no list of members any more: a server cannot make a client's memory grow.
    fn note_member(&mut self, session: SessionId, name: &str) -> bool {
        if name.len() > limits::NAME_BYTES {
            return false;
        }
        self.members.insert(session, name.to_owned());
        self.members.len() <= limits::SESSIONS
    }

    fn take_outgoing(&mut self, id: MessageId) -> Option<String> {
        let at = self.outgoing.iter().position(|(outgoing, _)| *outgoing == id)?;
        self.outgoing.remove(at).map(|(_, text)| text)
    }

    fn send(&mut self, kind: pb::to_server::Kind) {
        self.out.push(Queued::Send(Class::Control), |bytes, _| control::write_to_server(bytes, kind));
    }

    fn event(&mut self, event: ClientEvent) {
        self.out.push(Queued::Event(event), |_, _| {});
    }
}

fn member(member: pb::Member) -> (SessionId, String) {
    (SessionId::from_wire(member.session), member.name)
}
