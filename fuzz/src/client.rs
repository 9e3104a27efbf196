//! The client machine in the hands of a hostile server: it asks only for what a driver can do, says only what decodes, loses
//! no message and acknowledges none twice, wants no timeout that does nothing, and stays within its limits.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Unstructured;
use chinwag_proto::{
    Duration, Instant, ReceiverReport, Rng, Seq, SessionId,
    client::{Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, PlaceId, SayError},
    hub::Marks,
    limits::{
        FRAME_BYTES, HELLO_BYTES, MEMBERS, NAME_BYTES, OUTGOING_MESSAGES, QUIT_TIMEOUT, RESUME_TOKEN_BYTES,
        ROOMS, UNACKED_MESSAGES,
    },
    outbox::Class,
    wire::{
        chinwag1::to_server::Kind,
        control::{self, Body},
        frame::{FrameReader, HEADER_BYTES},
        path::DatagramKind,
        voice::{Frames, VoiceFrame},
    },
};

use crate::{
    client_ops::{Frame, How, Op, name_of},
    ops::voice,
};

/// Timeouts in any wait, and in each second of it: a new path is probed every 50 ms.
const TIMEOUTS: u64 = 16;
const TIMEOUTS_A_SECOND: u64 = 40;

/// Input: a list of (whether what comes of it waits, [`Op`]).
pub fn client(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut driver = Driver::new();
    while !u.is_empty() {
        let (Ok(held), Ok(op)) = (u.ratio(1u8, 8u8), u.arbitrary::<Op>()) else { break };
        driver.play(op);
        if !held {
            driver.drain();
        }
    }
    driver.leave();
}

/// What a driver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Down,
    Dialling,
    Up,
}

struct Driver {
    client: Client,
    now: Instant,
    line: Line,
    /// The connection ended while there were outputs for it.
    is_stale: bool,
    /// Frames that wait for the next ones.
    held: Vec<u8>,
    /// What was said, and not told what became of it.
    said: BTreeMap<u64, String>,
    /// The last message on this connection.
    last_sent: u64,
    /// The place of the last message of somebody else in each room, since it was entered.
    told: BTreeMap<PlaceId, Seq>,
    /// Rooms that the user left: he is not told what became of what he said there.
    left: BTreeSet<PlaceId>,
    /// In which of his rooms the user says something.
    turn: usize,
    session: u32,
    ping: u64,
    probe: Vec<u8>,
    has_quit: bool,
    has_ended: bool,
}

impl Driver {
    fn new() -> Self {
        let now = Instant::from_micros(1);
        let (name, software) = ("Foo".to_owned(), "fuzz".to_owned());
        let config = ClientConfig { name, rooms: vec![String::new()], software, history: 3 };
        let mut driver = Self {
            client: Client::new(now, config, Rng::from_number(1)),
            now,
            line: Line::Down,
            is_stale: false,
            held: Vec::new(),
            said: BTreeMap::new(),
            last_sent: 0,
            told: BTreeMap::new(),
            left: BTreeSet::new(),
            turn: 0,
            session: 0,
            ping: 0,
            probe: Vec::new(),
            has_quit: false,
            has_ended: false,
        };
        driver.drain();
        driver
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Connected if self.line == Line::Dialling => {
                (self.line, self.last_sent) = (Line::Up, 0);
                self.held.clear();
                self.input(ClientInput::Connected);
            }
            Op::Disconnected if self.line != Line::Down => {
                (self.line, self.is_stale) = (Line::Down, true);
                self.input(ClientInput::Disconnected);
            }
            Op::Wait(ms) => self.wait(Duration::from_millis(ms.into())),
            Op::Say { text, times } => (0..=times).for_each(|_| self.say(&text)),
            Op::SendVoice { frames, bytes } => {
                let opus = vec![9; usize::from(bytes) % 1100];
                let frame = |n| VoiceFrame {
                    talker: SessionId::from_wire(3),
                    sequence: u32::from(frames) - n,
                    end: n == 0,
                    level: 30,
                    opus: &opus,
                };
                self.client.send_voice(self.now, (0..u32::from(frames % 24)).map(frame));
            }
            Op::Ask { before, limit, words } => {
                let before = (before > 0).then(|| Seq::from_wire(before.into()));
                if let Some(place) = self.place(self.turn) {
                    let is_asked = self.client.ask_history(place, before, limit.into(), &words).is_some();
                    assert_eq!(is_asked, self.client.is_in() && self.client.is_entered(place));
                }
            }
            Op::Join { name, is_private } => {
                let name = name_of(name);
                let joined = if is_private { self.client.whisper(&name) } else { self.client.join(&name) };
                if let Ok(place) = joined {
                    self.turn = self.client.places().position(|other| other == place).expect("it is there");
                }
            }
            Op::Part(which) => {
                if let Some(place) = self.place(which.into()) {
                    self.left.extend(Some(place).filter(|place| !self.client.is_private(*place)));
                    self.client.part(place);
                }
            }
            Op::Turn { which, with_voice } => {
                self.turn = which.into();
                if with_voice {
                    self.client.set_voice_place(self.place(self.turn));
                }
            }
            Op::Topic(text) => {
                if let Some(place) = self.place(self.turn) {
                    let is_asked = self.client.set_topic(place, &name_of(text));
                    assert_eq!(is_asked, self.client.is_in() && self.client.is_entered(place));
                }
            }
            Op::Name(name) => {
                let _ = self.client.set_name(&name_of(name));
            }
            Op::Mute(muted) => self.client.set_marks(Marks { muted, deafened: !muted }),
            Op::AskRooms => assert_eq!(self.client.ask_rooms(), self.client.is_in()),
            Op::Report { talker, lost } => {
                let report = ReceiverReport { lost_per_mille: lost, ..ReceiverReport::default() };
                self.client.report_voice(SessionId::from_wire(talker.into()), report);
            }
            Op::Reconnect => {
                self.client.reconnect(self.now);
                // What happens to the connection before is no news of the next one.
                self.drain();
            }
            Op::Quit => {
                self.client.quit(self.now);
                self.has_quit = true;
            }
            // What a driver could not do without a connection.
            Op::Connected
            | Op::Disconnected
            | Op::Bytes(_)
            | Op::Frame { .. }
            | Op::Datagram { .. }
            | Op::Voice { .. }
            | Op::Echo
                if self.line != Line::Up => {}
            Op::Connected | Op::Disconnected => {}
            Op::Bytes(bytes) => self.receive(&bytes),
            Op::Frame { kind, how } => self.frame(kind, &how),
            Op::Datagram { kind, payload } => {
                let kind = match kind % 3 {
                    0 => DatagramKind::Voice,
                    1 => DatagramKind::Probe,
                    _ => DatagramKind::Echo,
                };
                self.input(ClientInput::Datagram { kind, payload: &payload });
            }
            Op::Voice { talker, sequence } => {
                let payload = voice(talker.into(), sequence);
                self.input(ClientInput::Datagram { kind: DatagramKind::Voice, payload: &payload });
            }
            Op::Echo => {
                let payload = self.probe.clone();
                self.input(ClientInput::Datagram { kind: DatagramKind::Echo, payload: &payload });
            }
        }
    }

    fn frame(&mut self, kind: Frame, how: &How) {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend(kind.bytes(self.session, self.ping));
        match *how {
            How::Whole => self.receive(&bytes),
            How::Portions(length) => {
                bytes.chunks(usize::from(length) + 1).for_each(|portion| self.receive(portion));
            }
            How::Cut(length) => self.receive(&bytes[..usize::from(length).min(bytes.len())]),
            How::Held => self.held = bytes,
        }
        let (mut members, mut longest) = (0, 0);
        for place in self.client.places() {
            members = self.client.members(place).count().max(members);
            let names = self.client.members(place).map(|(_, member)| member.name.len());
            longest = names.max().unwrap_or_default().max(longest);
        }
        assert!(members <= MEMBERS && longest <= NAME_BYTES, "{members} members, {longest} bytes");
    }

    /// One of the user's rooms, if he is in any.
    fn place(&self, which: usize) -> Option<PlaceId> {
        let count = self.client.places().count().max(1);
        self.client.places().nth(which % count)
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.input(ClientInput::Received { bytes });
        assert!(self.client.buffered() < FRAME_BYTES + HEADER_BYTES, "more than a frame is kept");
    }

    fn input(&mut self, input: ClientInput<'_>) {
        self.client.handle_input(self.now, input);
    }

    fn say(&mut self, text: &str) {
        let free = self.client.room_for_messages();
        let Some(place) = self.place(self.turn) else { return };
        match self.client.say(place, text) {
            Ok(id) => {
                assert!(!self.has_quit && !self.has_ended && free > 0);
                assert_eq!(self.said.insert(id.to_wire(), text.to_owned()), None, "a number is given twice");
            }
            Err(SayError::Ended) => assert!(self.has_quit || self.client.has_ended()),
            Err(SayError::Full) => assert_eq!(self.client.unacknowledged(), OUTGOING_MESSAGES),
            Err(SayError::Message(_)) => assert!(!self.has_quit),
            Err(SayError::NotInRoom) => panic!("a place that there is is none"),
        }
    }

    /// Lets time pass, with every timeout at its moment.
    fn wait(&mut self, time: Duration) {
        self.drain();
        let until = self.now + time;
        let mut left = TIMEOUTS + TIMEOUTS_A_SECOND * (time.as_secs() + 1);
        while let Some(due) = self.client.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
            self.drain();
            assert!(self.client.poll_timeout().is_none_or(|due| due > self.now), "it would spin");
            assert!(left > 0, "it spins");
            left -= 1;
        }
        self.now = until;
        // Whoever wakes too early does no harm.
        self.client.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut events = Vec::new();
        while let Some(output) = self.client.poll_output() {
            assert!(!self.has_ended, "something comes after the end: {output:?}");
            match output {
                ClientOutput::Connect => {
                    assert_eq!(self.line, Line::Down, "it has a connection already");
                    self.line = Line::Dialling;
                }
                ClientOutput::Disconnect => self.line = Line::Down,
                ClientOutput::Send { bytes, class } => {
                    assert!(self.line == Line::Up || self.is_stale, "there is no connection");
                    for kind in messages(bytes, class) {
                        match kind {
                            Kind::Hello(hello) => {
                                assert!(bytes.len() <= HELLO_BYTES + HEADER_BYTES);
                                let token = hello.resume.unwrap_or_default().token;
                                assert!(token.len() <= RESUME_TOKEN_BYTES);
                            }
                            Kind::Say(say) => {
                                assert!(say.id > self.last_sent || self.is_stale, "out of order");
                                self.last_sent = say.id;
                            }
                            Kind::Ping(ping) => self.ping = ping.token,
                            Kind::Pong(_)
                            | Kind::Join(_)
                            | Kind::Part(_)
                            | Kind::VoiceRoom(_)
                            | Kind::Topic(_)
                            | Kind::Name(_)
                            | Kind::Marks(_)
                            | Kind::ListRooms(_)
                            | Kind::Quit(_)
                            | Kind::VoicePath(_)
                            | Kind::VoiceReport(_)
                            | Kind::History(_)
                            | Kind::Voice(_) => {}
                        }
                    }
                }
                ClientOutput::OpenPath { session } => self.session = session.to_wire(),
                ClientOutput::Datagram { kind, payload } => match kind {
                    DatagramKind::Voice => assert!(Frames::parse(payload).is_ok()),
                    DatagramKind::Probe => self.probe = payload.to_vec(),
                    DatagramKind::Echo => panic!("a client echoes nothing"),
                },
                ClientOutput::Voice { payload } => assert!(Frames::parse(payload).is_ok()),
                ClientOutput::Event(event) => {
                    self.has_ended = matches!(event, ClientEvent::Ended(_));
                    events.push(event);
                }
            }
        }
        self.is_stale = false;
        events.into_iter().for_each(|event| self.hear(event));
        self.client.audit().expect("a client that is not of one mind");
        let waiting = self.client.unacknowledged();
        assert!(waiting <= self.said.len() && waiting <= OUTGOING_MESSAGES, "{waiting} are kept for nothing");
        if self.left.is_empty() {
            assert_eq!(waiting, self.said.len(), "a message is lost");
            let in_flight = self.said.range(..=self.last_sent).count();
            assert!(in_flight <= UNACKED_MESSAGES || self.has_quit, "{in_flight} messages are in flight");
        }
        assert_eq!(self.client.has_ended(), self.has_ended);
        // Whoever has not ended waits for something.
        assert_eq!(self.client.poll_timeout().is_none(), self.has_ended);
    }

    fn hear(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Said { own: Some(id), text, .. } => {
                let said = self.said.remove(&id.to_wire());
                assert_eq!(said, Some(text), "acknowledged twice, or never said");
            }
            ClientEvent::NotSaid { id, text, .. } => {
                let said = self.said.remove(&id.to_wire());
                assert_eq!(said, Some(text), "refused twice, or never said");
            }
            ClientEvent::Said { place, seq, own: None, .. } => {
                let last = self.told.insert(place, seq);
                let is_later = last.is_none_or(|last| seq > last) || self.left.contains(&place);
                assert!(is_later, "told out of order, or again");
            }
            ClientEvent::Welcome { name, .. } => {
                self.told.clear();
                assert!(name.len() <= NAME_BYTES);
            }
            ClientEvent::Entered { place, name, .. } => {
                self.told.remove(&place);
                assert!(name.len() <= NAME_BYTES);
            }
            ClientEvent::Missed { messages, .. } => assert!(messages > 0),
            ClientEvent::Rooms(rooms) => assert!(rooms.len() <= ROOMS),
            ClientEvent::Meanwhile { joined, left, .. } => {
                assert!(!joined.is_empty() || !left.is_empty());
                assert!(joined.iter().all(|name| !left.contains(name)), "somebody came and left");
            }
            ClientEvent::Reported(report) => assert_eq!(report, report.sane()),
            ClientEvent::Joined { .. }
            | ClientEvent::NotEntered { .. }
            | ClientEvent::Changed { .. }
            | ClientEvent::Topic { .. }
            | ClientEvent::NotDone { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::History(_)
            | ClientEvent::Refused { .. }
            | ClientEvent::Reconnecting { .. }
            | ClientEvent::Path(_)
            | ClientEvent::Ended(_) => {}
        }
    }

    /// Everybody falls silent, then the user leaves: it must end, and be done.
    fn leave(&mut self) {
        self.wait(Duration::from_secs(40));
        self.play(Op::Quit);
        self.wait(QUIT_TIMEOUT);
        assert!(self.has_ended, "it stays for ever");
        assert_eq!(self.client.say(PlaceId::FIRST, "anybody there?"), Err(SayError::Ended));
        let payload = voice(1, 1);
        let inputs = [
            ClientInput::Connected,
            ClientInput::Received { bytes: &[0, 0, 0, 0] },
            ClientInput::Datagram { kind: DatagramKind::Voice, payload: &payload },
            ClientInput::Disconnected,
        ];
        inputs.into_iter().for_each(|input| self.input(input));
        self.client.handle_timeout(self.now);
        self.client.quit(self.now);
        self.drain();
    }
}

/// The messages in bytes that must be whole frames.
fn messages(bytes: &[u8], class: Class) -> Vec<Kind> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut kinds = Vec::new();
    while let Some(body) = reader.next_frame(FRAME_BYTES).expect("a frame that is too large") {
        match control::decode_to_server(body).expect("a message that does not decode") {
            Body::Message(kind) => kinds.push(kind),
            Body::Voice(payload) => {
                assert_eq!(class, Class::Voice);
                assert!(Frames::parse(payload).is_ok());
            }
            Body::Unknown => panic!("a message that nobody knows"),
        }
    }
    assert_eq!(reader.buffered(), 0, "half a frame");
    kinds
}
