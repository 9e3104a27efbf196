//! The server: the machine and a driver between it and the network, which does what the driver of real sockets does.

mod disk;
mod relay;
mod watch;

use std::{collections::BTreeMap, net::SocketAddr};

use chinwag_proto::{
    Duration, Instant, Peer, Rng, RoomId,
    history::{KeepError, Write},
    hooks::Limit,
    hub::LeaveReason,
    limits::{CLASSIC_NAME_TIMEOUT, HELLO_TIMEOUT},
    relay::Relay,
    server::{Dialect, Input, Output, Server, ServerEvent},
    wire::path::{Header, OpenError},
};

use self::{
    disk::{Answer, Disk},
    relay::{RelayNode, Relayed},
    watch::{admit, begins_with_entry, private_room_in, worth_of},
};
pub(crate) use self::{
    disk::{OnDisk, can_be_full},
    relay::Manner,
};
use crate::{
    alarm::Alarm,
    check::{Checker, Rule},
    net::{Net, Read},
    seal::ToySeal,
    sometimes::Sometimes,
    spec::Spec,
    tcp::{ConnId, Side},
    trace::{Mark, Node},
};

/// What is later than this is too late.
const LATE: Duration = Duration::from_secs(1);

/// See [`ServerNode::work`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Overflow(Peer),
    Read(ConnId),
}

/// What is to be kept concerns this room.
fn room_of(write: &Write) -> RoomId {
    match write {
        Write::Room(room) => room.id,
        Write::Message(message) => message.room,
        Write::Topic(room, _) | Write::Gone(room) => *room,
    }
}

pub(crate) struct ServerNode {
    pub(crate) machine: Server,
    /// Which on real sockets has a thread of its own.
    voice: RelayNode,
    disk: Disk,
    /// The connection behind each handle; a handle is used again as soon as it is free.
    conns: Vec<Option<ConnId>>,
    peers: BTreeMap<ConnId, Peer>,
    /// Which of the handles are classic peers'.
    classic: Vec<bool>,
    /// When connections must have said their Hello, or a name.
    strange: BTreeMap<ConnId, Instant>,
    alarm: Alarm,
    is_up: bool,
    /// When its clock jumped last, in the world's time.
    jumped_us: Option<u64>,
    /// It acts since its time has come.
    is_woken: bool,
    /// It has lost a classic peer, who is announced at once.
    has_lost_classic: bool,
    /// Something happened that may have changed the rooms.
    has_news: bool,
    /// Sessions that were held, and rooms, when it was looked last.
    gone: usize,
    rooms: usize,
    store_pauses: u64,
    /// What is to be told to the machine once its outputs are drained.
    work: Vec<Work>,
    buffer: Vec<u8>,
    /// Sessions that it lets in.
    places: u32,
}

impl ServerNode {
    /// A server for so many sessions, with a disk or without one.
    pub(crate) fn new(places: u32, manner: Manner, seed: Rng, (spec, disk): (&Spec, Rng)) -> Self {
        Self::on(Disk::new(spec, disk), places, manner, seed)
    }

    fn on(disk: Disk, places: u32, manner: Manner, seed: Rng) -> Self {
        let mut machine = Server::new(places as usize, seed);
        // What is said is told to the checker as to an operator.
        machine.seat_operator();
        if disk.is_there() {
            machine.restore(disk.restore());
        }
        Self {
            machine,
            voice: RelayNode::new(manner),
            disk,
            conns: Vec::new(),
            classic: Vec::new(),
            peers: BTreeMap::new(),
            strange: BTreeMap::new(),
            alarm: Alarm::default(),
            is_up: true,
            is_woken: false,
            has_lost_classic: false,
            jumped_us: None,
            has_news: false,
            gone: 0,
            rooms: 0,
            store_pauses: 0,
            work: Vec::new(),
            buffer: Vec::new(),
            places,
        }
    }

    /// True when there is no connection.
    pub(crate) fn is_alone(&self) -> bool {
        self.peers.is_empty()
    }

    /// What should have been done by now and was not.
    pub(crate) fn delay(&self, net: &mut Net<'_>) -> Option<String> {
        // Whose clock has jumped at this very moment is about to be woken.
        if !self.is_up || self.jumped_us == Some(net.now_us) {
            return None;
        }
        let now = net.now(Node::Server);
        let is_late = |due: Instant| now.since(due) > LATE;
        if let Some(due) = self.machine.hub().poll_timeout().filter(|&due| is_late(due)) {
            return Some(format!("the server was to look after its sessions {:?} ago", now.since(due)));
        }
        let oldest = self.strange.values().min().filter(|&&due| is_late(due))?;
        Some(format!("a connection was to have said its Hello {:?} ago", now.since(*oldest)))
    }

    /// What must hold of the relay, alone and beside the machine.
    pub(crate) fn audit_voice(&self) -> Result<(), String> {
        let relay = &self.voice.relay;
        relay.audit()?;
        for (session, room) in relay.seated() {
            let is_in = self.machine.hub().voice_room(session);
            if is_in != room {
                return Err(format!("{session:?} talks in {room:?}, the hub has it in {is_in:?}"));
            }
        }
        let (here, seated) = (self.machine.hub().connected(), relay.seated().count());
        if self.is_up && here != seated {
            return Err(format!("{here} sessions are connected, {seated} have a seat"));
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let voice_and_disk = self.voice.poll_timeout().into_iter().chain(self.disk.poll_timeout());
        self.machine.poll_timeout().into_iter().chain(voice_and_disk).min()
    }

    /// True unless it crashed.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// The server is gone with all that it knew. Its peers are told by their systems, or nobody is.
    pub(crate) fn crash(&mut self, net: &mut Net<'_>, is_silent: bool) {
        net.record(Node::Server, Mark::Crash, u64::from(is_silent), 0);
        if self.machine.hub().members() > 0 {
            net.sometimes(Sometimes::ServerCrashed);
        }
        self.is_up = false;
        for &conn in self.peers.keys() {
            if is_silent {
                net.vanish(conn, Side::Server);
            } else {
                net.drop_end(conn, Side::Server);
            }
        }
        self.peers.clear();
        self.strange.clear();
        self.conns.clear();
        self.classic.clear();
        self.work.clear();
        self.voice.crash();
        self.disk.crash();
    }

    /// Its disk is never full any more.
    pub(crate) fn heal(&mut self) {
        self.disk.heal();
    }

    /// Its clock jumped: what it waits for comes at another time.
    pub(crate) fn rearm(&mut self, net: &mut Net<'_>) {
        self.jumped_us = Some(net.now_us);
        if self.is_up {
            self.alarm = std::mem::take(&mut self.alarm).cancelled();
            self.alarm.set(net, Node::Server, self.poll_timeout());
        }
    }

    /// The server is started again.
    pub(crate) fn restart(&mut self, net: &mut Net<'_>, check: &mut Checker, seed: Rng) {
        let alarm = std::mem::take(&mut self.alarm).cancelled();
        let spare = Disk::new(&Spec::default(), Rng::from_number(0));
        let disk = std::mem::replace(&mut self.disk, spare);
        *self = Self { alarm, ..Self::on(disk, self.places, self.voice.manner, seed) };
        check.restarted(net, &self.machine, &self.disk.kept());
        if self
            .disk
            .kept()
            .values()
            .any(|kept| kept.topics.last().is_some_and(|topic| !topic.text.is_empty()))
        {
            net.sometimes(Sometimes::TopicRestored);
        }
        net.record(Node::Server, Mark::Restart, u64::from(check.logs.generation), 0);
        self.drain(net, check);
    }

    // What the network brings.

    pub(crate) fn accepted(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if !self.is_up {
            return net.drop_end(conn, Side::Server);
        }
        if !net.establish(conn, Side::Server) {
            return;
        }
        let free = self.conns.iter().position(Option::is_none).unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let peer = Peer::new(u32::try_from(free).unwrap_or(u32::MAX));
        self.conns[free] = Some(conn);
        self.peers.insert(conn, peer);
        let now = net.now(Node::Server);
        let is_classic = net.conn(conn).is_some_and(|tcp| tcp.end(Side::Server).pacer.is_some());
        self.classic.resize(self.conns.len(), false);
        self.classic[free] = is_classic;
        let (dialect, patience) = if is_classic {
            check.classic_accepted(conn);
            (Dialect::Classic, CLASSIC_NAME_TIMEOUT)
        } else {
            (Dialect::Native, HELLO_TIMEOUT)
        };
        self.strange.insert(conn, now + patience);
        net.record(Node::Server, Mark::Accepted, u64::from(conn.0), free as u64);
        self.machine.handle_input(now, Input::Accepted { peer, dialect });
        self.has_news = true;
        self.drain(net, check);
    }

    pub(crate) fn readable(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        self.work.push(Work::Read(conn));
        self.has_news = true;
        self.drain(net, check);
    }

    /// The connection is over.
    pub(crate) fn broken(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if net.conn(conn).is_some_and(|tcp| tcp.end(Side::Server).pacer.is_some() && !tcp.is_alive()) {
            net.sometimes(Sometimes::ClassicGivenUp);
        }
        self.lose(net, check, conn);
        self.has_news = true;
        self.drain(net, check);
    }

    pub(crate) fn datagram(
        &mut self,
        net: &mut Net<'_>,
        check: &mut Checker,
        from: SocketAddr,
        mut bytes: Vec<u8>,
    ) {
        if !self.is_up {
            return;
        }
        let session = Header::parse(&bytes).map(|header| header.session);
        let remote = |relay: &Relay<ToySeal>| session.and_then(|session| relay.remote(session));
        let (before, forged) = (remote(&self.voice.relay), self.voice.relay.stats().voice_forged);
        let opened = self.voice.datagram(net, from, &mut bytes);
        let after = remote(&self.voice.relay);
        let what = match &opened {
            Ok(()) if before.is_some() && before != after => Some(Sometimes::Rebound),
            Err(OpenError::Replayed) => Some(Sometimes::ReplayRefused),
            Err(OpenError::Forged) => Some(Sometimes::ForgeryRefused),
            Ok(()) if self.voice.relay.stats().voice_forged > forged => Some(Sometimes::ForgedTalker),
            Ok(()) | Err(OpenError::NotOurs) => None,
        };
        if let Some(what) = what {
            net.sometimes(what);
        }
        if let Err(error) = opened {
            net.counts.datagrams_refused += 1;
            if before != after {
                let what = format!("{from} moved the path of {session:?} by what is {error:?}");
                check.fail(Rule::NoForgery, what);
            }
        }
        self.drain(net, check);
    }

    pub(crate) fn wake(&mut self, net: &mut Net<'_>, check: &mut Checker, generation: u32) {
        if !self.alarm.rings(generation) || !self.is_up {
            return;
        }
        let now = net.now(Node::Server);
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            net.record(Node::Server, Mark::Wake, 0, 0);
            self.alarm.count(net, check, Node::Server, self.places);
            self.machine.handle_timeout(now);
            (self.has_news, self.is_woken) = (true, true);
        }
        for answer in self.disk.answers(now) {
            let input = match &answer {
                &Answer::Kept { run, count } => Input::Kept { run, count },
                &Answer::NotKept { run } => Input::NotKept { run, why: KeepError::Full },
                Answer::Read { ticket, found } => {
                    net.sometimes(Sometimes::PageRead);
                    Input::Read { ticket: *ticket, found: Some(found) }
                }
            };
            self.machine.handle_input(now, input);
            self.has_news = true;
        }
        self.drain(net, check);
    }

    // The driver.

    /// Does all that the machine wants, then writes once.
    fn drain(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        loop {
            self.drain_outputs(net, check);
            self.voice.pass_on(net);
            let now = net.now(Node::Server);
            while let Some(relayed) = self.voice.handed_back(now) {
                let input = match &relayed {
                    Relayed::Tunnel(payload, to) => Input::Voice { payload, to },
                    Relayed::Alive(session, at) => Input::Alive { session: *session, at: *at },
                };
                self.machine.handle_input(now, input);
                self.drain_outputs(net, check);
            }
            if std::mem::take(&mut self.has_news) {
                self.look(net, check);
            }
            match self.work.pop() {
                Some(Work::Overflow(peer)) => {
                    let now = net.now(Node::Server);
                    self.has_lost_classic = self.is_classic(peer);
                    self.machine.handle_input(now, Input::Overflowed { peer });
                    self.has_news = true;
                }
                Some(Work::Read(conn)) => {
                    self.read(net, check, conn);
                    self.has_news = true;
                }
                None => break,
            }
        }
        self.voice.send(net);
        net.flush();
        self.disk.begin(net.now(Node::Server));
        self.alarm.set(net, Node::Server, self.poll_timeout());
    }

    /// Looks at what is new in the rooms.
    fn look(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        check.observe(&self.machine);
        check.observe_voices(&self.machine, net.now_us);
        for what in check.classics.seen.drain(..) {
            net.sometimes(what);
        }
        let store_pauses = self.machine.stats().store_pauses;
        if store_pauses > std::mem::replace(&mut self.store_pauses, store_pauses) {
            net.sometimes(Sometimes::StorePaused);
        }
        let hub = self.machine.hub();
        if hub.rooms() < self.rooms {
            net.sometimes(Sometimes::RoomForgotten);
        }
        (self.rooms, self.gone) = (hub.rooms(), hub.gone());
    }

    fn drain_outputs(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        let Self {
            machine,
            voice,
            disk,
            conns,
            classic,
            peers,
            strange,
            work,
            is_woken,
            has_lost_classic,
            ..
        } = self;
        let now = net.now(Node::Server);
        let is_classic = |peer: Peer| classic.get(peer.index()) == Some(&true);
        let conn_of = |conns: &[Option<ConnId>], peer: Peer| *conns.get(peer.index())?;
        let mut opened = None;
        while let Some(output) = machine.poll_output() {
            let (mut entries, mut told_alone) = (None, Vec::new());
            match output {
                Output::Send { bytes, class, to } => {
                    if check.do_people_wander()
                        && let Some(room) = private_room_in(bytes)
                    {
                        let others = to.iter().filter_map(|&peer| check.session_at(conn_of(conns, peer)?));
                        told_alone.extend(others.map(|session| (room, session)));
                    }
                    // All of them speak one dialect.
                    let to_classics = to.first().is_some_and(|&peer| is_classic(peer));
                    if let &[peer] = to
                        && !to_classics
                        && begins_with_entry(bytes)
                    {
                        entries = conn_of(conns, peer).map(|conn| (conn, bytes.to_vec()));
                    }
                    if let Some(conn) = opened.take()
                        && entries.as_ref().is_none_or(|(to, _)| *to != conn)
                    {
                        check.fail(Rule::Resume, "somebody was let in without a welcome".to_owned());
                    }
                    for &peer in to {
                        let Some(conn) = conn_of(conns, peer) else { continue };
                        let sent = net.send(conn, Side::Server, class, bytes);
                        if to_classics {
                            check.classics.queued(conn, bytes, sent.is_ok());
                        }
                        if sent.is_err() {
                            net.record(Node::Server, Mark::Overflow, u64::from(conn.0), 0);
                            work.push(Work::Overflow(peer));
                        }
                    }
                }
                Output::Relay(order) => voice.obey(net, order),
                Output::OpenPath { peer, session, room } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    strange.remove(&conn);
                    voice.relay.open(session, room, (!is_classic(peer)).then(|| ToySeal::server(conn.0)));
                    if is_classic(peer) {
                        check.classic_admitted(conn, session);
                        continue;
                    }
                    opened = Some(conn);
                }
                Output::Pause { peer } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    net.record(Node::Server, Mark::Pause, u64::from(conn.0), 0);
                    net.counts.pauses += 1;
                    net.sometimes(Sometimes::Paused);
                    if let Some(tcp) = net.conn(conn) {
                        tcp.end_mut(Side::Server).paused = true;
                    }
                }
                Output::Unpause { peer } => {
                    let Some(conn) = conn_of(conns, peer) else { continue };
                    net.record(Node::Server, Mark::Unpause, u64::from(conn.0), 0);
                    if let Some(tcp) = net.conn(conn) {
                        tcp.end_mut(Side::Server).paused = false;
                    }
                    work.push(Work::Read(conn));
                }
                Output::Close { peer, cause } => {
                    if let Some(what) = worth_of(&cause) {
                        net.sometimes(what);
                    }
                    if let Some(conn) = conns.get_mut(peer.index()).and_then(Option::take) {
                        peers.remove(&conn);
                        strange.remove(&conn);
                        net.close(conn, Side::Server);
                        if is_classic(peer) {
                            check.classics.closed(conn, cause);
                        }
                    }
                }
                // There is no voice gateway here.
                Output::Overheard { .. } | Output::Report { .. } => {}
                Output::Keep { run, write } => {
                    if room_of(&write).is_private() {
                        check.fail(Rule::Private, format!("the store was to keep {write:?}"));
                    }
                    disk.keep(run, write);
                }
                Output::Read { ticket, what } => disk.read(ticket, what),
                Output::Unread { ticket } => {
                    if disk.leaves_unread(ticket) {
                        machine.handle_input(now, Input::Read { ticket, found: None });
                    }
                }
                Output::Event(event) => {
                    if let ServerEvent::Topic { room, topic, .. } = &event
                        && disk.lacks_topic(*room, topic)
                    {
                        check.fail(
                            Rule::Lasting,
                            format!("{room:?} is about {topic:?}, which is not kept yet"),
                        );
                    }
                    check.happened(&event, now);
                    let ServerEvent::Left { reason, .. } = event else { continue };
                    // Who is lost is announced when it is time, or since somebody took the name.
                    let is_held = reason == LeaveReason::Lost && !*has_lost_classic;
                    if is_held && !*is_woken {
                        net.sometimes(Sometimes::NameFreed);
                    }
                    if is_held && machine.hub().gone() >= Limit::HeldSessions.value() {
                        net.sometimes(Sometimes::HeldForgotten);
                    }
                }
            }
            for (room, session) in told_alone {
                let hub = machine.hub();
                if hub.epoch_of(room).is_some() && hub.other_of(room, session).is_none() {
                    check.fail(Rule::Private, format!("{session:?} is told what is said in {room:?}"));
                }
            }
            if let Some((conn, bytes)) = entries {
                admit(net, check, machine, conn, &bytes);
            }
        }
        (*is_woken, *has_lost_classic) = (false, false);
    }

    /// Reads one portion, and plans to read on.
    fn read(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        let Some(&peer) = self.peers.get(&conn) else { return };
        if net.conn(conn).is_none_or(|tcp| tcp.end(Side::Server).paused) {
            return;
        }
        match net.read(conn, Side::Server, &mut self.buffer) {
            Read::Bytes => {
                let now = net.now(Node::Server);
                if self.is_classic(peer) {
                    check.classics.was_read(conn, self.buffer.len(), now);
                    if let Some(pacer) =
                        net.conn(conn).and_then(|tcp| tcp.end_mut(Side::Server).pacer.as_mut())
                    {
                        pacer.heard(&self.buffer);
                    }
                }
                self.machine.handle_input(now, Input::Received { peer, bytes: &self.buffer });
                self.work.push(Work::Read(conn));
            }
            Read::End => self.lose(net, check, conn),
            Read::Nothing => {}
        }
    }

    fn is_classic(&self, peer: Peer) -> bool {
        self.classic.get(peer.index()) == Some(&true)
    }

    fn lose(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        net.record(Node::Server, Mark::Broken, u64::from(conn.0), 0);
        if net.conn(conn).is_some_and(|tcp| tcp.end(Side::Server).paused) {
            net.sometimes(Sometimes::PausedAndLost);
        }
        net.drop_end(conn, Side::Server);
        self.strange.remove(&conn);
        if let Some(peer) = self.peers.remove(&conn) {
            if self.is_classic(peer) {
                self.has_lost_classic = true;
                if check.classics.lost(conn) {
                    net.sometimes(Sometimes::ClassicVanished);
                }
            }
            let now = net.now(Node::Server);
            self.machine.handle_input(now, Input::Closed { peer });
            if let Some(slot) = self.conns.get_mut(peer.index()) {
                *slot = None;
            }
        }
    }
}
