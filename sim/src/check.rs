//! What must hold, whatever the network does. The first thing that does not ends the run.
//!
//! - Every room has one order: the same sequence number is the same message for everybody.
//! - Every member sees growing sequence numbers, and each sender's messages once and in the order they were said.
//! - When the world has come to rest, a member has every message since it joined; what is acknowledged is among them.
//! - Nobody hears themselves, another room, what nobody sent, or a copy more by one way than was sent.
//! - No connection is lost that was not cut. Sessions outlive lost connections, nobody is refused, nobody ends who did not quit.

use std::collections::BTreeMap;

use chinwag_proto::{
    SessionId,
    client::{ClientEvent, EndReason},
    server::VoicePath,
    wire::voice::Frames,
};

use crate::{
    heard::{Arrival, Heard, Way},
    net::Net,
    person::{Message, parse_speech},
    trace::{Mark, Node, hash},
};

/// Sent frames that are remembered for each talker.
const REMEMBERED_FRAMES: usize = 2048;

/// What one client was told so far.
#[derive(Debug)]
struct Member {
    room: usize,
    is_in: bool,
    has_quit: bool,
    /// The room's last number when it was let in, as the server has it.
    since: Option<u64>,
    last_seq: u64,
    texts: u64,
    missed: u64,
    /// The last message seen of each client.
    last_of: Vec<u64>,
    said: u64,
    acknowledged: u64,
    /// Frames by number: how often each of the last ones was sent, copies and both ways counted.
    spoken: Vec<u8>,
    frames: u64,
    heard: Vec<Heard>,
}

#[derive(Debug)]
pub(crate) struct Checker {
    rooms: Vec<BTreeMap<u64, Message>>,
    members: Vec<Member>,
    sessions: BTreeMap<SessionId, u32>,
    /// The network breaks connections; if it does not, nobody may lose one.
    may_break: bool,
    failure: Option<String>,
}

/// The name of a client's user.
pub(crate) fn name_of(client: u32) -> String {
    format!("Person {client}")
}

/// The name of the room of a client.
pub(crate) fn room_of(client: u32, rooms: u32) -> String {
    format!("room {}", client % rooms)
}

fn client_of(name: &str) -> Option<u32> {
    name.strip_prefix("Person ")?.parse().ok()
}

impl Checker {
    pub(crate) fn new(clients: u32, rooms: u32, may_break: bool) -> Self {
        let member = |client: u32| Member {
            room: (client % rooms) as usize,
            is_in: false,
            has_quit: false,
            since: None,
            last_seq: 0,
            texts: 0,
            missed: 0,
            last_of: vec![0; clients as usize],
            said: 0,
            acknowledged: 0,
            spoken: Vec::new(),
            frames: 0,
            heard: (0..clients).map(|_| Heard::default()).collect(),
        };
        Self {
            rooms: (0..rooms).map(|_| BTreeMap::new()).collect(),
            members: (0..clients).map(member).collect(),
            sessions: BTreeMap::new(),
            may_break,
            failure: None,
        }
    }

    /// Notes what does not hold. The first one counts.
    pub(crate) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// The server let a client in for the first time, after event `seq` of its room.
    pub(crate) fn admitted(&mut self, name: &str, seq: u64) {
        let Some(member) = client_of(name).and_then(|client| self.members.get_mut(client as usize)) else {
            return self.fail(format!("the server let in {name}, whom there is not"));
        };
        member.since.get_or_insert(seq);
    }

    /// A client's machine took a message.
    pub(crate) fn said(&mut self, message: Message) {
        self.members[message.client as usize].said = message.number;
    }

    /// A client's user wants to leave.
    pub(crate) fn quits(&mut self, client: u32) {
        let member = &mut self.members[client as usize];
        (member.has_quit, member.is_in) = (true, false);
    }

    /// A client sent a voice frame on `path`, and so many of those before it once more; or could not.
    pub(crate) fn spoke(&mut self, net: &mut Net<'_>, client: u32, path: Option<VoicePath>, copies: usize) {
        let room = self.members[client as usize].room;
        let others = self.members.iter().enumerate();
        let listeners =
            others.filter(|(other, m)| *other != client as usize && m.is_in && m.room == room).count();
        let talker = &mut self.members[client as usize];
        talker.frames += 1;
        let slot = |number: u64| (number % REMEMBERED_FRAMES as u64) as usize;
        let newest = slot(talker.frames);
        if talker.spoken.len() <= newest {
            talker.spoken.resize(newest + 1, 0);
        }
        talker.spoken[newest] = 0;
        if let Some(path) = path {
            for number in (0..=talker.frames).rev().take(1 + copies) {
                talker.spoken[slot(number)] += u8::from(path.uses_udp()) + u8::from(path.uses_tcp());
            }
            net.counts.voice_sent += 1;
            net.counts.voice_expected += listeners as u64;
        } else {
            net.counts.voice_unsent += 1;
        }
    }

    /// A client's machine told its user something.
    pub(crate) fn event(&mut self, net: &mut Net<'_>, client: u32, event: &ClientEvent) {
        let node = Node::Client(client);
        match event {
            ClientEvent::Welcome { session, name, room: _, resumed, again } => {
                net.record(node, Mark::Welcome, u64::from(session.to_wire()), u64::from(*resumed));
                if *name != name_of(client) {
                    self.fail(format!("client {client} was welcomed as {name}"));
                }
                if *again && !resumed {
                    self.fail(format!("client {client} came back in time and was not resumed"));
                }
                if *self.sessions.entry(*session).or_insert(client) != client {
                    self.fail(format!("client {client} was given somebody else's session"));
                }
                self.members[client as usize].is_in = true;
                net.counts.reconnects += u64::from(*again);
            }
            ClientEvent::Joined { session, name } => {
                net.record(node, Mark::Joined, u64::from(session.to_wire()), 0);
                self.must_share_a_room(client, name);
            }
            ClientEvent::Left { session, name, reason: _ } => {
                net.record(node, Mark::Left, u64::from(session.to_wire()), 0);
                self.must_share_a_room(client, name);
            }
            ClientEvent::Said { seq, name, text, own } => {
                net.record(node, Mark::Said, seq.to_wire(), hash(text.as_bytes()));
                self.text(net, client, seq.to_wire(), name, text, own.is_some());
            }
            ClientEvent::NotSaid { text, why, .. } => {
                self.fail(format!("a message of client {client} was not accepted ({why}): {text}"));
            }
            ClientEvent::Missed { events } => {
                net.record(node, Mark::Missed, *events, 0);
                self.members[client as usize].missed += events;
                net.counts.missed += events;
            }
            ClientEvent::Refused { why, .. } => {
                self.fail(format!("client {client} was refused: {why}"));
            }
            ClientEvent::Reconnecting { why, pause } => {
                if !self.may_break {
                    self.fail(format!("client {client} lost a connection that was never cut: {why:?}"));
                }
                let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                net.record(node, Mark::Reconnecting, pause_us, 0);
                self.members[client as usize].is_in = false;
            }
            ClientEvent::Path(path) => {
                let way = u64::from(path.uses_udp()) | u64::from(path.uses_tcp()) << 1;
                net.record(node, Mark::Path, way, 0);
                net.counts.path_changes += 1;
            }
            ClientEvent::Reported(_) => net.counts.reports += 1,
            ClientEvent::Ended(reason) => {
                net.record(node, Mark::Ended, 0, 0);
                let member = &mut self.members[client as usize];
                member.is_in = false;
                if !member.has_quit || *reason != EndReason::Quit {
                    self.fail(format!("client {client} ended: {reason:?}"));
                }
            }
        }
    }

    fn must_share_a_room(&mut self, client: u32, name: &str) {
        let room = self.members[client as usize].room;
        let other = client_of(name).and_then(|other| self.members.get(other as usize));
        if other.is_none_or(|other| other.room != room) {
            self.fail(format!("client {client} was told of {name}, who is not in its room"));
        }
    }

    fn text(&mut self, net: &mut Net<'_>, client: u32, seq: u64, name: &str, text: &str, own: bool) {
        let Some(message) = Message::parse(text).filter(|m| (m.client as usize) < self.members.len()) else {
            return self.fail(format!("client {client} was told what nobody said: {text}"));
        };
        let sender = &self.members[message.client as usize];
        let (sender_room, said) = (sender.room, sender.said);
        let member = &mut self.members[client as usize];
        let (room, last_seq) = (member.room, member.last_seq);
        let last = std::mem::replace(&mut member.last_of[message.client as usize], message.number);
        member.last_seq = seq;
        member.texts += 1;
        member.acknowledged += u64::from(own);
        if !own {
            net.counts.texts_delivered += 1;
        }
        let place = *self.rooms[room].entry(seq).or_insert(message);
        if name != name_of(message.client) || own != (message.client == client) {
            self.fail(format!("client {client} was told that {name} said what {} said", message.client));
        }
        if message.number > said {
            self.fail(format!("client {client} was told {message:?} before it was said"));
        }
        if sender_room != room {
            self.fail(format!("client {client} was told {message:?} of another room"));
        }
        if seq <= last_seq {
            self.fail(format!("client {client} was told place {seq} after {last_seq}"));
        }
        if message.number <= last {
            self.fail(format!("client {client} was told {message:?} after number {last} of the same sender"));
        }
        if place != message {
            self.fail(format!("place {seq} is {message:?} for client {client}, and {place:?} for another"));
        }
    }

    /// A client's machine handed voice to its user.
    pub(crate) fn voice(&mut self, net: &mut Net<'_>, client: u32, way: Way, payload: &[u8]) {
        let Ok(frames) = Frames::parse(payload) else {
            return self.fail(format!("client {client} was handed malformed voice"));
        };
        for (frame, copy) in frames.with_copies() {
            let Some((talker, number)) = parse_speech(frame.opus) else {
                return self.fail(format!("client {client} heard what nobody spoke"));
            };
            net.record(Node::Client(client), Mark::Voice, u64::from(talker), number);
            if self.sessions.get(&frame.talker) != Some(&talker) {
                self.fail(format!("client {client} heard client {talker} under another's session"));
            }
            let room = self.members[client as usize].room;
            let spoken = self
                .members
                .get(talker as usize)
                .filter(|member| talker != client && member.room == room && number <= member.frames)
                .and_then(|member| member.spoken.get((number % REMEMBERED_FRAMES as u64) as usize));
            let Some(&sent) = spoken else {
                return self.fail(format!("client {client} heard frame {number} of client {talker}"));
            };
            let heard = &mut self.members[client as usize].heard[talker as usize];
            match heard.note(number, way, sent) {
                Arrival::First => {
                    net.counts.voice_delivered += 1;
                    net.counts.voice_by_tcp += u64::from(way == Way::Tcp);
                }
                Arrival::Again => net.counts.voice_repeated += u64::from(!copy),
                Arrival::Ancient => net.counts.voice_ancient += 1,
                Arrival::TooOften => {
                    self.fail(format!(
                        "client {client} heard frame {number} of client {talker} by {way:?} too often"
                    ));
                }
            }
        }
    }

    /// What a client still lacks, when the world should be at rest.
    pub(crate) fn lack_of(&self, client: u32) -> Option<String> {
        let member = &self.members[client as usize];
        let Some(since) = member.since else { return Some("never admitted".to_owned()) };
        let all = self.rooms[member.room].range(since + 1..).count() as u64;
        if member.texts + member.missed < all {
            return Some(format!("it was told {} messages of {all}", member.texts));
        }
        let Member { said, acknowledged, .. } = member;
        (said != acknowledged).then(|| format!("{acknowledged} of {said} messages are acknowledged"))
    }

    /// Messages that somebody was told.
    pub(crate) fn messages(&self) -> u64 {
        self.rooms.iter().map(|room| room.len() as u64).sum()
    }
}
