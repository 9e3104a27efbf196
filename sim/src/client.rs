//! One client: the machine, its user, and a driver between them and the network, which does what the driver of real
//! sockets does.

mod wander;

use chinwag_audio::EncodedFrame;
use chinwag_proto::{
    Rng, RoomId, Seq,
    client::{Client, ClientConfig, ClientEvent, ClientInput, ClientOutput, EndReason, Member, PlaceId},
    hub::{self, Hub},
    name::Name,
    relay::VoicePath,
    wire::{path::SealedPath, voice::VoiceFrame},
};

use crate::{
    alarm::Alarm,
    check::{Checker, Rooms, Rule, name_of},
    ear::{BLOCK_US, Ear, Sound as Heard},
    heard::Way,
    net::{Event, Net, Read},
    person::{Person, Speech},
    seal::ToySeal,
    sometimes::Sometimes,
    sound::Sound,
    tcp::{ConnId, EndState, Side},
    trace::{Mark, Node},
};

/// Whoever will start the program.
pub(crate) type Idle = (Person, Option<Sound>);

/// So much of the history a client asks for when it comes.
const FIRST_PAGE: usize = 5;
/// Every so many messages its user wants to read what was said earlier.
const LOOK_BACK_EVERY: u64 = 5;

pub(crate) struct ClientNode {
    number: u32,
    pub(crate) machine: Client,
    pub(crate) person: Person,
    /// A real voice, in place of the person's made-up one.
    pub(crate) sound: Option<Sound>,
    /// What it hears, where there is no real voice.
    ear: Ear,
    conn: Option<ConnId>,
    alarm: Alarm,
    pub(crate) has_quit: bool,
    /// Voice goes by TCP that went by datagrams before.
    has_fallen_back: bool,
    /// When it talked first since datagrams got through last.
    pub(crate) talked_us: u64,
    /// The frames spoken last, newest first: as many as go with the next one once more.
    past: Vec<Speech>,
    buffer: Vec<u8>,
}

impl ClientNode {
    /// A client that begins to connect at once.
    pub(crate) fn join(
        net: &mut Net<'_>,
        check: &mut Checker,
        number: u32,
        rooms: Rooms,
        seed: Rng,
        alarm: Alarm,
        (person, sound): Idle,
    ) -> Self {
        check.born(number);
        let (name, rooms, software) = (name_of(number), vec![rooms.name_for(number)], "sim".to_owned());
        let config = ClientConfig { name, rooms, software, history: FIRST_PAGE };
        let mut client = Self {
            number,
            machine: Client::new(net.now(Node::Client(number)), config, seed),
            person,
            sound,
            ear: Ear::default(),
            conn: None,
            alarm,
            has_quit: false,
            has_fallen_back: false,
            talked_us: 0,
            past: Vec::new(),
            buffer: Vec::new(),
        };
        client.drain(net, check, Way::Tcp);
        client
    }

    // What the network brings.

    pub(crate) fn connected(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if self.conn == Some(conn) && net.establish(conn, Side::Client) {
            net.record(Node::Client(self.number), Mark::Connected, u64::from(conn.0), 0);
            self.input(net, check, Way::Tcp, ClientInput::Connected);
            self.readable(net, check, conn);
        }
    }

    pub(crate) fn readable(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while self.conn == Some(conn) && net.state(conn, Side::Client) == EndState::Open {
            match net.read(conn, Side::Client, &mut buffer) {
                Read::Bytes => {
                    self.input(net, check, Way::Tcp, ClientInput::Received { bytes: &buffer });
                }
                Read::End => self.broken(net, check, conn),
                Read::Nothing => break,
            }
        }
        self.buffer = buffer;
    }

    /// The connection is over.
    pub(crate) fn broken(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        net.record(Node::Client(self.number), Mark::Broken, u64::from(conn.0), 0);
        net.drop_end(conn, Side::Client);
        if self.conn == Some(conn) {
            self.conn = None;
            self.input(net, check, Way::Tcp, ClientInput::Disconnected);
        }
    }

    pub(crate) fn datagram(&mut self, net: &mut Net<'_>, check: &mut Checker, mut bytes: Vec<u8>) {
        let from = std::net::SocketAddr::from(([10, 255, 255, 255], 24469));
        let tcp = self.conn.and_then(|conn| net.conn(conn));
        let opened = tcp.and_then(|tcp| tcp.path.as_mut()?.open(from, &mut bytes).ok());
        match opened {
            Some(opened) => {
                let input = ClientInput::Datagram { kind: opened.kind, payload: opened.payload };
                self.input(net, check, Way::Udp, input);
            }
            None => net.counts.datagrams_refused += 1,
        }
    }

    pub(crate) fn wake(&mut self, net: &mut Net<'_>, check: &mut Checker, generation: u32) {
        if !self.alarm.rings(generation) {
            return;
        }
        let now = net.now(self.node());
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            net.record(Node::Client(self.number), Mark::Wake, 0, 0);
            self.alarm.count(net, check, Node::Client(self.number), 1);
            self.machine.handle_timeout(now);
        }
        self.drain(net, check, Way::Tcp);
    }

    fn node(&self) -> Node {
        Node::Client(self.number)
    }

    /// True until its user leaves, or it ends for another reason.
    pub(crate) fn is_alive(&self) -> bool {
        !self.has_quit && !self.machine.has_ended()
    }

    /// Its clock jumped: what it waits for comes at another time.
    pub(crate) fn rearm(&mut self, net: &mut Net<'_>) {
        self.alarm = std::mem::take(&mut self.alarm).cancelled();
        self.alarm.set(net, Node::Client(self.number), self.machine.poll_timeout());
    }

    /// What is left when the program has ended: its person, its sound, its alarm.
    pub(crate) fn end(self) -> (Idle, Alarm) {
        ((self.person, self.sound), self.alarm.cancelled())
    }

    /// The program is gone with all that it knew. The server is told by the system, or is not.
    pub(crate) fn fall(mut self, net: &mut Net<'_>, is_silent: bool) -> (Idle, Alarm) {
        net.record(self.node(), Mark::Fall, u64::from(is_silent), 0);
        if self.machine.unacknowledged() > 0 {
            net.sometimes(Sometimes::ClientFell);
        }
        if let Some(conn) = self.conn.take() {
            if is_silent {
                net.vanish(conn, Side::Client);
            } else {
                net.drop_end(conn, Side::Client);
            }
        }
        self.end()
    }

    // What the user does.

    /// Says something, if the machine takes it.
    pub(crate) fn say(&mut self, net: &mut Net<'_>, check: &mut Checker) -> bool {
        let place = self.place_to_say();
        let is_said = place.is_some_and(|place| self.say_in(net, check, place));
        self.drain(net, check, Way::Tcp);
        is_said
    }

    /// Says something in a room, if the machine takes it.
    fn say_in(&mut self, net: &mut Net<'_>, check: &mut Checker, place: PlaceId) -> bool {
        let has_room = self.machine.room_for_messages() > 0;
        if has_room {
            let (message, text) = self.person.text();
            check.said(message, place, &text);
            net.counts.texts += 1;
            net.record(Node::Client(self.number), Mark::Say, message.number, text.len() as u64);
            if let Err(error) = self.machine.say(place, &text) {
                check.fail(Rule::Connection, format!("client {} could not speak: {error}", self.number));
            }
            self.look_back(check, place, message.number);
        }
        has_room
    }

    /// Now and then its user wants to read what was said earlier.
    fn look_back(&mut self, check: &mut Checker, place: PlaceId, number: u64) {
        if number.is_multiple_of(LOOK_BACK_EVERY)
            && let Some(last) = check.last_of(self.number, place)
        {
            let before = 1 + number * 7 % (last + 1);
            let limit = 1 + usize::try_from(number % 9).unwrap_or(0);
            if let Some(token) = self.machine.ask_history(place, Some(Seq::from_wire(before)), limit, "") {
                check.asked(self.number, place, token, before);
            }
        }
    }

    /// Sends one voice frame; returns when there is another one.
    pub(crate) fn talk(&mut self, net: &mut Net<'_>, check: &mut Checker) -> u64 {
        let now = net.now(self.node());
        let (speech, pause_us) = self.person.speech(now.as_micros());
        let room = self.machine.heard_in();
        let path = self.machine.voice_path().filter(|_| room.is_some());
        check.spoke(net, self.number, path, self.past.len(), room);
        let out_since_us = net.now_us - net.without_udp_us(self.number);
        if self.talked_us < out_since_us && path.is_some() {
            self.talked_us = net.now_us;
        }
        let talker = chinwag_proto::SessionId::from_wire(0);
        let frames = [&speech].into_iter().chain(&self.past).map(|speech| VoiceFrame {
            talker,
            sequence: speech.sequence,
            end: speech.end,
            level: speech.level,
            opus: &speech.opus,
        });
        self.machine.send_voice(now, frames);
        // Who has no way for a frame does not send it once more; nor does a new spurt carry what was said before a silence.
        let is_over = self.machine.voice_path().is_none() || speech.end;
        self.past.insert(0, speech);
        self.past.truncate(if is_over { 0 } else { self.person.copies() });
        self.report(net);
        self.drain(net, check, Way::Tcp);
        pause_us
    }

    /// A turn of the microphone and the speaker; returns when the next one is, in microseconds from now.
    pub(crate) fn sound(&mut self, net: &mut Net<'_>, check: &mut Checker) -> Option<u64> {
        let now = net.now(self.node());
        let Self { sound, machine, .. } = self;
        let sound = sound.as_mut()?;
        if let Some(spread) = machine.stats().voice_spread {
            sound.expect_spread(spread);
        }
        let next = sound.turn(now, &mut |frames| {
            let talker = chinwag_proto::SessionId::from_wire(0);
            let frames = frames.iter().map(|&EncodedFrame { sequence, end, level, opus }| VoiceFrame {
                talker,
                sequence,
                end,
                level,
                opus,
            });
            machine.send_voice(now, frames);
            net.counts.voice_sent += 1;
        });
        sound.reports(now, &mut |talker, report| {
            machine.report_voice(chinwag_proto::SessionId::from_wire(talker), report);
        });
        self.drain(net, check, Way::Tcp);
        // A pump that is late is due at once, but not twice in one instant.
        Some(next.as_micros().saturating_sub(now.as_micros()).max(1))
    }

    /// The ear plays 10 ms; when it is to play on.
    pub(crate) fn listen(&mut self, net: &mut Net<'_>, check: &mut Checker) -> Option<u64> {
        let (now, number) = (net.now(self.node()), self.number);
        let goes_on = self.ear.pull(net.now_us, now, &mut |sound| match sound {
            Heard::Frame(session, opus) => check.played(net, number, session, opus),
            Heard::Concealed => check.concealed(net, number),
        });
        goes_on.then_some(BLOCK_US)
    }

    /// Now and then a word on somebody, whether he talks or not.
    fn report(&mut self, net: &mut Net<'_>) {
        let Some(report) = self.person.report() else { return };
        let on =
            self.machine.members(PlaceId::FIRST).map(|(session, _)| session).nth(net.now_us as usize % 4);
        if let Some(talker) = on {
            self.machine.report_voice(talker, report);
        }
    }

    pub(crate) fn quit(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        self.has_quit = true;
        check.quits(self.number);
        if self.conn.and_then(|conn| net.conn(conn)).is_some_and(|tcp| tcp.cut) {
            net.sometimes(Sometimes::QuitDead);
        }
        let now = net.now(self.node());
        self.machine.quit(now);
        self.drain(net, check, Way::Tcp);
    }

    // The driver.

    fn input(&mut self, net: &mut Net<'_>, check: &mut Checker, way: Way, input: ClientInput<'_>) {
        let now = net.now(self.node());
        self.machine.handle_input(now, input);
        self.drain(net, check, way);
    }

    /// Does all that the machine wants, then writes once. Voice that it hands out came by `way`.
    fn drain(&mut self, net: &mut Net<'_>, check: &mut Checker, way: Way) {
        loop {
            let mut has_overflowed = false;
            while let Some(output) = self.machine.poll_output() {
                match output {
                    ClientOutput::Connect => {
                        let conn = net.connect(self.number);
                        check.connects(self.number, conn);
                        self.conn = Some(conn);
                    }
                    ClientOutput::Disconnect => {
                        if let Some(conn) = self.conn.take() {
                            net.close(conn, Side::Client);
                        }
                    }
                    ClientOutput::Send { bytes, class } => {
                        if let Some(conn) = self.conn {
                            has_overflowed |= net.send(conn, Side::Client, class, bytes).is_err();
                        }
                    }
                    ClientOutput::OpenPath { session } => {
                        if let Some(conn) = self.conn
                            && let Some(tcp) = net.conn(conn)
                        {
                            let path = SealedPath::new(session, ToySeal::client(conn.0));
                            tcp.path = Some(path);
                        }
                    }
                    ClientOutput::Datagram { kind, payload } => {
                        if let Some(conn) = self.conn {
                            net.send_datagram(conn, kind, payload);
                        }
                    }
                    ClientOutput::Voice { payload } => match &mut self.sound {
                        Some(sound) => {
                            let now = net.now(Node::Client(self.number));
                            sound.hear(now, payload);
                            net.counts.voice_delivered += 1;
                            net.record(Node::Client(self.number), Mark::Heard, payload.len() as u64, 0);
                        }
                        None => {
                            check.voice(net, self.number, way, payload);
                            let now = net.now(Node::Client(self.number));
                            if self.ear.hear(net.now_us, now, payload) {
                                net.after(0, Event::Listen(self.number));
                            }
                        }
                    },
                    ClientOutput::Event(event) => {
                        check.event(net, self.number, self.conn, &event);
                        let now = net.now(Node::Client(self.number));
                        if let ClientEvent::Welcome { resumed: false, .. } = event {
                            self.ear.forget_all();
                        }
                        if let ClientEvent::Path(path) = event {
                            match path {
                                VoicePath::Tcp if self.person.is_talking(now.as_micros()) => {
                                    self.has_fallen_back = true;
                                    net.sometimes(Sometimes::FallbackToTcp);
                                }
                                VoicePath::Udp if std::mem::take(&mut self.has_fallen_back) => {
                                    net.sometimes(Sometimes::BackToUdp);
                                }
                                VoicePath::Tcp | VoicePath::Udp | VoicePath::Both => {}
                            }
                        }
                        if let (ClientEvent::Reported(report), Some(sound)) = (&event, &mut self.sound) {
                            sound.reported(now, *report);
                        }
                        if let ClientEvent::Ended(reason) = event
                            && reason != EndReason::Quit
                        {
                            net.after(self.person.comes_back_after(), Event::Join(self.number));
                        }
                        if let (ClientEvent::Welcome { .. }, Some(sound)) = (&event, &mut self.sound)
                            && sound.start(now)
                        {
                            net.after(0, Event::Sound(self.number));
                        }
                    }
                }
            }
            let Some(conn) = self.conn.filter(|_| has_overflowed) else { break };
            // Nothing gets through any more: as good as gone.
            net.record(Node::Client(self.number), Mark::Overflow, u64::from(conn.0), 0);
            self.conn = None;
            net.drop_end(conn, Side::Client);
            let now = net.now(self.node());
            self.machine.handle_input(now, ClientInput::Disconnected);
        }
        net.flush();
        self.alarm.set(net, Node::Client(self.number), self.machine.poll_timeout());
    }

    /// How what this client knows differs from what the server has, when both are at rest.
    pub(crate) fn differs_from(&self, hub: &Hub) -> Option<String> {
        let machine = &self.machine;
        let Some(session) = machine.session().filter(|session| hub.name_of(*session).is_some()) else {
            return Some("is not known to the server".to_owned());
        };
        // What was between it and somebody who has gone may be over for its user, since another has that name now.
        let is_open = |room: &&RoomId| {
            !room.is_private() || machine.place_of(**room).is_some() || hub.members_of(**room).count() > 1
        };
        let rooms: Vec<RoomId> = hub.rooms_of(session).iter().filter(is_open).copied().collect();
        let known: Vec<_> = rooms.iter().map(|room| machine.place_of(*room)).collect();
        // What was between it and somebody who was forgotten is over, though its user may look at it still.
        let is_over = |place: &PlaceId| {
            machine.is_private(*place)
                && !known.contains(&Some(*place))
                && machine.members(*place).count() < 2
        };
        let places: Vec<PlaceId> = machine.places().filter(|place| !is_over(place)).collect();
        if places.len() != rooms.len() || known.contains(&None) {
            return Some(format!(
                "is in {rooms:?} for the server, which it knows as {known:?} of {places:?}"
            ));
        }
        if machine.voice_place().filter(|place| !is_over(place))
            != hub.voice_room(session).and_then(|room| machine.place_of(room))
        {
            return Some(format!("talks in {:?}, not {:?}", machine.voice_place(), hub.voice_room(session)));
        }
        if machine.name() != hub.name_of(session).map(Name::as_str) {
            return Some(format!("is called {:?}, not {:?}", machine.name(), hub.name_of(session)));
        }
        rooms.iter().zip(known.into_iter().flatten()).find_map(|(&room, place)| {
            let mut members: Vec<_> = hub.members_of(room).collect();
            members.sort_unstable_by_key(|member| member.session);
            // Which conversation it is, the two know who are in it.
            let is_own = |voice: Option<RoomId>| voice.is_some_and(|voice| rooms.contains(&voice));
            let is_same = |(known, truth): ((_, &Member), &hub::Person<'_>)| {
                let Member { name, marks, voice } = known.1;
                known.0 == truth.session
                    && *name == truth.name.as_str()
                    && *marks == truth.marks
                    && (*voice == truth.voice
                        || is_own(hub.voice_of(truth.session)) && *voice == hub.voice_of(truth.session))
            };
            let numbering = hub.numberings().find(|(other, ..)| *other == room);
            if machine.numbering(place) != numbering.map(|(_, epoch, last)| (epoch, last)) {
                return Some(format!("is at {:?} of {room:?}, not {numbering:?}", machine.numbering(place)));
            }
            let count = machine.members(place).count();
            if count != members.len() || !machine.members(place).zip(&members).all(is_same) {
                let known: Vec<_> = machine.members(place).collect();
                return Some(format!("has a wrong list of members of {room:?}: {known:?} for {members:?}"));
            }
            let (topic, truth) = (machine.topic(place), hub.topic_of(room));
            (topic.map(|topic| &*topic.text) != truth.map(|truth| &*truth.text))
                .then(|| format!("takes {room:?} to be about {topic:?}, not {truth:?}"))
        })
    }

    /// What keeps this client from being at rest.
    pub(crate) fn unrest(&self) -> Option<String> {
        if self.has_quit {
            return (!self.machine.has_ended()).then(|| "it has quit and does not end".to_owned());
        }
        if !self.machine.is_in() {
            return Some("it is not in".to_owned());
        }
        match self.machine.unacknowledged() {
            0 => None,
            waiting => Some(format!("{waiting} messages wait to be acknowledged")),
        }
    }
}
