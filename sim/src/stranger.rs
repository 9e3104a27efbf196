//! A peer that means harm: it says anything at any time, in anybody's name, reads or does not, and knows what passes over
//! the network.

use chinwag_proto::{
    Rng, SessionId,
    wire::{
        chinwag1 as pb,
        control::{self, Body, VERSION, write_to_server, write_voice},
        frame::FrameReader,
        path::{DatagramKind, Header, SealedPath},
        voice::VoiceFrame,
    },
};

use crate::{
    check::{Rooms, name_of},
    net::{Net, Read},
    random::{between, chance},
    seal::ToySeal,
    tcp::{ConnId, EndState, Side},
    trace::{Mark, Node},
};

/// Between two misdeeds.
const PAUSE_US: (u64, u64) = (1_000, 1_500_000);
/// Misdeeds while there is no connection that need none.
const DATAGRAM_PPM: u32 = 300_000;
/// Names of numberings that it remembers.
const EPOCHS: usize = 4;
/// Messages at once, and pings: whoever does not read the answers has them pile up.
const FLOOD: u64 = 40;
const PINGS: u64 = 50 * FLOOD;
/// Of its misdeeds, those that concern rooms, where people wander.
const PRIES_PPM: u32 = 250_000;
/// What is between two has numbers from here on.
const FIRST_PRIVATE: u32 = 1 << 24;
/// The misdeed that is pings.
const PING: u64 = 12;
/// The misdeed that is none any more.
const LEAVE: u64 = 16;
const TEXTS: [&str; 6] =
    ["0 1 0013 hello", "{quit}", "", "\u{1b}[2J", "\u{202e}", "a text of somebody who means harm"];
const NAMES: [&str; 5] = ["Stranger", "1 person", "", "\u{202e}evil", "０　ＰＥＲＳＯＮ"];

pub(crate) struct Stranger {
    link: u32,
    clients: u32,
    rooms: Rooms,
    rng: Rng,
    conn: Option<ConnId>,
    reader: FrameReader,
    /// Session and room, once it was let in.
    me: Option<(u32, u32)>,
    /// The names of the numberings that it has seen.
    epochs: Vec<u64>,
}

impl Stranger {
    /// The stranger at a link, who knows how many clients and rooms there are.
    pub(crate) fn new(link: u32, clients: u32, rooms: Rooms, rng: Rng) -> Self {
        Self {
            link,
            clients,
            rooms,
            rng,
            conn: None,
            reader: FrameReader::default(),
            me: None,
            epochs: Vec::new(),
        }
    }

    /// Does something; when to do the next thing.
    pub(crate) fn harm(&mut self, net: &mut Net<'_>) -> u64 {
        let mut what = self.rng.below(18);
        let is_deaf =
            self.conn.and_then(|conn| net.conn(conn)).is_some_and(|tcp| tcp.end(Side::Client).paused);
        if is_deaf {
            // Asks and asks, and does not read the answers.
            what = if chance(&mut self.rng, 950_000) { PING } else { LEAVE };
        }
        net.record(Node::Client(self.link), Mark::Harm, what, 0);
        let open = self.conn.filter(|&conn| net.state(conn, Side::Client) == EndState::Open);
        match (self.conn, open) {
            (Some(_), Some(conn)) if self.wanders() => self.pry(net, conn),
            (Some(_), Some(conn)) => self.misuse(net, conn, what),
            (Some(_), None) => {}
            (None, _) if chance(&mut self.rng, DATAGRAM_PPM) => self.throw(net),
            (None, _) => self.conn = Some(net.connect(self.link)),
        }
        net.flush();
        between(&mut self.rng, PAUSE_US.0, PAUSE_US.1)
    }

    /// The connection stands.
    pub(crate) fn connected(&mut self, net: &mut Net<'_>, conn: ConnId) {
        if self.conn == Some(conn) {
            net.establish(conn, Side::Client);
            (self.reader, self.me) = (FrameReader::default(), None);
        }
    }

    pub(crate) fn readable(&mut self, net: &mut Net<'_>, conn: ConnId) {
        let mut buffer = Vec::new();
        while self.conn == Some(conn) && net.state(conn, Side::Client) == EndState::Open {
            match net.read(conn, Side::Client, &mut buffer) {
                Read::Bytes => self.learn(net, conn, &buffer),
                Read::End => self.broken(net, conn),
                Read::Nothing => break,
            }
        }
    }

    pub(crate) fn broken(&mut self, net: &mut Net<'_>, conn: ConnId) {
        net.drop_end(conn, Side::Client);
        if self.conn == Some(conn) {
            (self.conn, self.me) = (None, None);
        }
    }

    /// Gives up and goes.
    pub(crate) fn leave(&mut self, net: &mut Net<'_>) {
        if let Some(conn) = self.conn.take() {
            net.drop_end(conn, Side::Client);
        }
    }

    /// Whether it was let in, and as whom.
    fn learn(&mut self, net: &mut Net<'_>, conn: ConnId, bytes: &[u8]) {
        self.reader.push(bytes);
        while let Ok(Some(body)) = self.reader.next_frame(chinwag_proto::limits::FRAME_BYTES) {
            let message = control::decode_to_client(body);
            if let Ok(Body::Message(pb::to_client::Kind::Entered(entered))) = &message {
                let room = entered.room.clone().unwrap_or_default();
                if self.epochs.len() < EPOCHS && !self.epochs.contains(&room.epoch) {
                    self.epochs.push(room.epoch);
                }
                self.me = self.me.map(|(session, _)| (session, room.id));
            }
            if let Ok(Body::Message(pb::to_client::Kind::Welcome(welcome))) = message {
                self.me = Some((welcome.session, 1));
                if let Some(tcp) = net.conn(conn) {
                    let session = SessionId::from_wire(welcome.session);
                    let path = SealedPath::new(session, ToySeal::client(conn.0));
                    tcp.path = Some(path);
                }
            }
        }
    }

    fn misuse(&mut self, net: &mut Net<'_>, conn: ConnId, what: u64) {
        use pb::to_server::Kind;
        let mut bytes = Vec::new();
        let times = if chance(&mut self.rng, 200_000) { FLOOD } else { 1 };
        match what {
            0 => {
                let length = self.rng.below(200);
                // Now and then as a frame.
                if chance(&mut self.rng, 500_000) {
                    bytes.extend((length as u32).to_be_bytes());
                }
                (0..length).for_each(|_| bytes.push(self.rng.next_u64() as u8));
            }
            1 => bytes.extend((self.rng.next_u64() as u32).to_be_bytes()),
            2 => bytes.push(0),
            3..=6 => write_to_server(&mut bytes, Kind::Hello(self.hello(net))),
            7..=9 => {
                let room = self.me.map_or(1, |(_, room)| room);
                for _ in 0..times {
                    let text = (*self.one_of(&TEXTS)).to_owned();
                    let id = self.rng.below(100);
                    write_to_server(&mut bytes, Kind::Say(pb::Say { room, id, text }));
                }
            }
            10 => {
                let payload = self.voice(net);
                write_voice(&mut bytes, &payload);
            }
            11 => {
                let talker = self.somebody(net);
                let report = pb::VoiceReport { talker, lost_per_mille: 999, ..Default::default() };
                write_to_server(&mut bytes, Kind::VoiceReport(report));
            }
            PING => {
                let is_deaf = net.conn(conn).is_some_and(|tcp| tcp.end(Side::Client).paused);
                for _ in 0..if is_deaf || times > 1 { PINGS } else { 1 } {
                    write_to_server(&mut bytes, Kind::Ping(pb::Ping { token: u64::MAX }));
                }
            }
            13 => {
                let path = i32::try_from(self.rng.below(4)).unwrap_or(0);
                write_to_server(&mut bytes, Kind::VoicePath(pb::SetVoicePath { path }));
            }
            14 => write_to_server(&mut bytes, Kind::Quit(pb::Quit {})),
            15 if times > 1 || self.me.is_some() => {
                // Reads nothing any more, whatever it is sent.
                if let Some(tcp) = net.conn(conn) {
                    tcp.end_mut(Side::Client).paused = true;
                }
            }
            LEAVE => self.leave(net),
            _ => {
                let payload = self.voice(net);
                net.send_datagram(conn, DatagramKind::Voice, &payload);
                self.throw(net);
            }
        }
        if !bytes.is_empty() {
            // What does not fit into its own queue was not said.
            let _ = net.send(conn, Side::Client, chinwag_proto::outbox::Class::Control, &bytes);
        }
    }

    /// True where it goes now from room to room, as others do.
    fn wanders(&mut self) -> bool {
        self.rooms.others > 0 && self.me.is_some() && chance(&mut self.rng, PRIES_PPM)
    }

    /// Goes where it likes, and tries what is none of its business.
    fn pry(&mut self, net: &mut Net<'_>, conn: ConnId) {
        use pb::to_server::Kind;
        let room = match self.rng.below(2) {
            // What is between two others, perhaps.
            0 => FIRST_PRIVATE + self.rng.below(4) as u32,
            _ => 1 + self.rng.below(5) as u32,
        };
        let victim = name_of(self.rng.below(u64::from(self.clients)) as u32);
        let kind = match self.rng.below(9) {
            0 => Kind::Part(pb::Part { room }),
            1 => Kind::VoiceRoom(pb::VoiceRoom { room }),
            2 => Kind::Topic(pb::SetTopic { room, text: (*self.one_of(&TEXTS)).to_owned() }),
            3 => Kind::Name(pb::SetName { name: (*self.one_of(&NAMES)).to_owned() }),
            4 => Kind::Marks(pb::Marks { muted: room % 2 == 0, deafened: room % 3 == 0 }),
            5 => Kind::ListRooms(pb::ListRooms {}),
            6 => {
                Kind::Say(pb::Say { room, id: self.rng.below(100), text: (*self.one_of(&TEXTS)).to_owned() })
            }
            private => {
                let epoch = *self.epochs.get(self.rng.below(2 * EPOCHS as u64) as usize).unwrap_or(&0);
                let key = 1 + self.rng.below(4) as u32;
                let (name, with) = match private {
                    7 => (String::new(), victim),
                    _ => (self.rooms.name_of(room % 4), String::new()),
                };
                Kind::Join(pb::Claim { key, name, with, epoch, last_seq: self.rng.below(9), room })
            }
        };
        let mut bytes = Vec::new();
        write_to_server(&mut bytes, kind);
        // What does not fit into its own queue was not said.
        let _ = net.send(conn, Side::Client, chinwag_proto::outbox::Class::Control, &bytes);
    }

    /// A datagram that it caught, perhaps changed, or one of its own making.
    fn throw(&mut self, net: &mut Net<'_>) {
        let index = self.rng.next_u64();
        let mut bytes = net.caught(index).map(<[u8]>::to_vec).unwrap_or_default();
        if bytes.is_empty() || chance(&mut self.rng, 200_000) {
            bytes = (0..between(&mut self.rng, 0, 100)).map(|_| self.rng.next_u64() as u8).collect();
        } else if chance(&mut self.rng, 400_000) {
            let at = self.rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.rng.below(8);
        }
        net.send_raw(self.link, bytes);
    }

    /// A Hello in its own name or somebody's, now and then to go on with somebody's session.
    fn hello(&mut self, net: &Net<'_>) -> pb::Hello {
        let victim = u32::try_from(self.rng.below(u64::from(self.clients))).unwrap_or(0);
        let name =
            if chance(&mut self.rng, 500_000) { name_of(victim) } else { (*self.one_of(&NAMES)).to_owned() };
        let mut epoch = 0;
        let resume = chance(&mut self.rng, 300_000).then(|| {
            let (session, token) = (self.somebody(net), self.rng.bytes::<16>().to_vec());
            epoch = *self.epochs.get(self.rng.below(EPOCHS as u64) as usize).unwrap_or(&0);
            pb::Resume { session, token, attempt: self.rng.below(2) * u64::MAX }
        });
        let claim = pb::Claim { key: 1, name: self.rooms.name_for(victim), epoch, ..Default::default() };
        pb::Hello {
            versions: vec![VERSION],
            name,
            rooms: vec![claim],
            voice: 1,
            resume,
            ..Default::default()
        }
    }

    /// Somebody's session, as it stands in the clear part of a datagram, or its own.
    fn somebody(&mut self, net: &Net<'_>) -> u32 {
        let caught = net.caught(self.rng.next_u64()).and_then(Header::parse);
        let own = self.me.map_or(0, |(session, _)| session);
        caught.map_or(own, |header| header.session.to_wire())
    }

    /// A voice payload in somebody's name.
    fn voice(&mut self, net: &Net<'_>) -> Vec<u8> {
        let talker = SessionId::from_wire(self.somebody(net));
        let sequence = self.rng.next_u64() as u32;
        let mut payload = Vec::new();
        VoiceFrame { talker, sequence, end: false, level: 0, opus: &[240, 1, 2, 3] }.write(&mut payload);
        payload
    }

    fn one_of<T>(&mut self, all: &'static [T]) -> &'static T {
        &all[self.rng.below(all.len() as u64) as usize]
    }
}
