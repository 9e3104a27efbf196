//! The world: plans the events of a scenario, hands each to the node that it concerns, and judges.
//!
//! Three phases: people talk while the network fails; everything heals and must come to rest; everybody quits and nothing
//! may be left.

use std::io;

use chinwag_proto::Instant;

use crate::{
    check::Checker,
    client::ClientNode,
    net::{Event, Net, node},
    person::Person,
    random::{Domain, stream},
    scenario::{Failure, Report, Scenario},
    server::ServerNode,
    sound::{Sound, Voice, VoiceReport},
    tcp::{ConnId, EndState, Side, Tcp},
    trace::{Mark, Node, Trace},
};

const SECOND_US: u64 = 1_000_000;
/// Everybody joins within so long, or within a quarter of the run.
const JOIN_SPREAD_US: u64 = 5 * SECOND_US;
/// After the faults heal, everybody must be back and at rest within so long: a silence is noticed after 15 s, the
/// longest pause between tries is 15 s, a try takes up to 10 s.
const REST_WITHIN_US: u64 = 60 * SECOND_US;
/// After everybody has quit, nothing may be left after so long.
const QUIT_WITHIN_US: u64 = 20 * SECOND_US;
/// How often it is looked whether all is at rest.
const CHECK_EVERY_US: u64 = SECOND_US / 10;
/// Timeouts of one node in one second, for itself and for each client: a machine that wants more spins.
const WAKES_PER_SECOND: u32 = 60;
/// Events in one second, and for each pair of clients: 100 frames a second, by two ways on either side, some doubled.
const EVENTS_PER_SECOND: u64 = 5_000;
const EVENTS_PER_PAIR: u64 = 1_600;

/// Runs a scenario to its end, with the lines of its trace into `file`: microseconds, node, what, the names of two
/// numbers, the numbers. Numbers of the scenario that are out of range are taken as the nearest that is not.
///
/// # Errors
///
/// What did not hold, or that the trace could not be written.
pub fn run(scenario: &Scenario, file: Option<&mut dyn io::Write>) -> Result<Report, Failure> {
    simulate(scenario, Vec::new(), file).map(|(report, _)| report)
}

/// As [`run`], with a voice for each client: they speak from WAV files, and what they hear goes into WAV files. There are
/// as many clients as voices, and nobody leaves before the end.
///
/// # Errors
///
/// As [`run`], or that a file could not be opened.
pub fn run_with_voices(
    scenario: &Scenario,
    voices: &[Voice],
    file: Option<&mut dyn io::Write>,
) -> Result<(Report, Vec<VoiceReport>), Failure> {
    let clients = u32::try_from(voices.len()).unwrap_or(u32::MAX);
    let scenario = Scenario { clients, ..scenario.clone() };
    let sounds: Result<Vec<_>, _> = voices.iter().map(Sound::open).collect();
    let failure = |what| Failure { scenario: scenario.clone(), at_us: 0, what };
    simulate(&scenario, sounds.map_err(failure)?, file)
}

fn simulate(
    scenario: &Scenario,
    sounds: Vec<Sound>,
    file: Option<&mut dyn io::Write>,
) -> Result<(Report, Vec<VoiceReport>), Failure> {
    let scenario = Scenario {
        clients: scenario.clients.clamp(1, crate::MAX_CLIENTS),
        rooms: scenario.rooms.clamp(1, crate::MAX_ROOMS),
        seconds: scenario.seconds.clamp(1, crate::MAX_SECONDS),
        ..scenario.clone()
    };
    let mut world = World::new(&scenario, sounds, Trace::new(file));
    let outcome = world.run();
    let nodes = world.clients.iter_mut().flatten();
    let voices = nodes.filter_map(|node| Some(node.sound.as_mut()?.report())).collect();
    let Net { now_us, counts, trace, .. } = world.net;
    let failure = |what| Failure { scenario: scenario.clone(), at_us: now_us, what };
    // The lines that lead to a failure are wanted most of all.
    let trace = trace.finish();
    outcome.map_err(failure)?;
    let trace = trace.map_err(|error| failure(format!("the trace could not be written: {error}")))?;
    Ok((Report { trace, events: world.events, simulated_us: now_us, counts }, voices))
}

/// When a node is to be woken: at exactly the time that its machine names.
#[derive(Debug)]
pub(crate) struct Alarm {
    at_us: u64,
    generation: u32,
    second: u64,
    wakes: u32,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { at_us: u64::MAX, generation: 0, second: 0, wakes: 0 }
    }
}

impl Alarm {
    /// Sets the alarm, unless it rings earlier anyway.
    pub(crate) fn set(&mut self, net: &mut Net<'_>, node: Node, due: Option<Instant>) {
        let Some(due_us) = due.map(|due| due.as_micros().max(net.now_us)) else { return };
        if due_us < self.at_us {
            self.at_us = due_us;
            self.generation = self.generation.wrapping_add(1);
            net.queue.push(due_us, Event::Wake { node, generation: self.generation });
        }
    }

    /// True when this is the alarm that was set last; then it is spent.
    pub(crate) fn rings(&mut self, generation: u32) -> bool {
        let is_current = generation == self.generation && self.at_us != u64::MAX;
        if is_current {
            self.at_us = u64::MAX;
        }
        is_current
    }

    /// Counts a timeout that was due; too many in one second are a failure.
    pub(crate) fn count(&mut self, net: &Net<'_>, check: &mut Checker, node: Node, share: u32) {
        let second = net.now_us / SECOND_US;
        if second != self.second {
            (self.second, self.wakes) = (second, 0);
        }
        self.wakes += 1;
        if self.wakes > WAKES_PER_SECOND * (share + 1) {
            check.fail(format!("{node} spins: {} timeouts within one second", self.wakes));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// People talk, the network fails.
    Faults,
    /// Nobody talks, nothing fails; all must come to rest.
    Heal,
    /// Everybody leaves.
    Quit,
}

fn at(clients: &mut [Option<ClientNode>], client: u32) -> Option<&mut ClientNode> {
    clients.get_mut(client as usize)?.as_mut()
}

struct World<'a> {
    scenario: Scenario,
    net: Net<'a>,
    check: Checker,
    server: ServerNode,
    clients: Vec<Option<ClientNode>>,
    people: Vec<Option<(Person, Option<Sound>)>>,
    phase: Phase,
    phase_since_us: u64,
    /// Sessions of those who had quit by the time of rest, but whose goodbye the server never got.
    lost_quits: usize,
    events: u64,
}

impl<'a> World<'a> {
    fn new(scenario: &Scenario, sounds: Vec<Sound>, trace: Trace<'a>) -> Self {
        let Scenario { seed, clients, rooms, seconds, net } = *scenario;
        let may_break = net.cut_every_us > 0;
        let mut net = Net::new(seed, net, clients, trace);
        let spread_us = JOIN_SPREAD_US.min(u64::from(seconds) * SECOND_US / 4);
        let mut people = Vec::new();
        let mut sounds = sounds.into_iter();
        for client in 0..clients {
            let mut person = Person::new(client, stream(seed, Domain::Person, client));
            let sound = sounds.next();
            // With voices, the first is there to hear the second from the beginning.
            let joins_us = person.joins_after(spread_us);
            let in_order_us = u64::from(client) * SECOND_US;
            net.after(if sound.is_some() { in_order_us } else { joins_us }, Event::Join(client));
            if let Some(leaves_us) = person.leaves_after(u64::from(seconds) * SECOND_US)
                && sound.is_none()
            {
                net.after(leaves_us, Event::Quit(client));
            }
            people.push(Some((person, sound)));
        }
        net.after(u64::from(seconds) * SECOND_US, Event::Check);
        Self {
            scenario: scenario.clone(),
            net,
            check: Checker::new(clients, rooms, may_break),
            server: ServerNode::new(clients, stream(seed, Domain::Server, 0)),
            clients: (0..clients).map(|_| None).collect(),
            people,
            phase: Phase::Faults,
            phase_since_us: 0,
            lost_quits: 0,
            events: 0,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let pairs = u64::from(self.scenario.clients).pow(2);
        let most = EVENTS_PER_SECOND + EVENTS_PER_PAIR * pairs;
        let (mut second, mut in_second) = (0, 0);
        while let Some((at_us, event)) = self.net.queue.pop() {
            self.net.now_us = at_us;
            self.events += 1;
            if at_us / SECOND_US != second {
                (second, in_second) = (at_us / SECOND_US, 0);
            }
            in_second += 1;
            if in_second > most {
                return Err(format!("more than {most} events within one second"));
            }
            let is_over = self.handle(event)?;
            if let Some(failure) = self.check.take_failure() {
                return Err(failure);
            }
            if is_over {
                return Ok(());
            }
        }
        Err("nothing is left to happen".to_owned())
    }

    /// Returns true when the history is over.
    fn handle(&mut self, event: Event) -> Result<bool, String> {
        let Self { net, check, server, clients, .. } = self;
        let client_of = |net: &mut Net<'_>, conn| net.conn(conn).map(|tcp| tcp.client);
        match event {
            Event::Join(client) => self.join(client),
            Event::Quit(client) => {
                if let Some(client) = at(clients, client).filter(|client| !client.has_quit) {
                    client.quit(net, check);
                }
            }
            Event::Say(client) => {
                if let Some(node) =
                    at(clients, client).filter(|node| self.phase == Phase::Faults && !node.has_quit)
                {
                    node.say(net, check);
                    net.after(node.person.say_pause(), event);
                }
            }
            Event::Talk(client) => {
                if let Some(node) =
                    at(clients, client).filter(|node| self.phase == Phase::Faults && !node.has_quit)
                {
                    let pause_us = node.talk(net, check);
                    net.after(pause_us, event);
                }
            }
            Event::Sound(client) => {
                if let Some(node) = at(clients, client).filter(|node| !node.has_quit)
                    && let Some(pause_us) = node.sound(net, check)
                {
                    net.after(pause_us, event);
                }
            }
            Event::Cut(client) => {
                if self.phase == Phase::Faults {
                    // Who was never in has nothing to come back to: a first try that fails is final.
                    if at(clients, client).is_some_and(|node| node.machine.session().is_some()) {
                        net.cut(client);
                    }
                    net.plan_cut(client);
                }
            }
            Event::Wake { node: Node::Server, generation } => server.wake(net, check, generation),
            Event::Wake { node: Node::Client(client), generation } => {
                if let Some(node) = at(clients, client) {
                    node.wake(net, check, generation);
                }
            }
            Event::Wake { node: Node::World, .. } => {}
            Event::Accepted(conn) => server.accepted(net, check, conn),
            Event::Connected(conn) => {
                if let Some(node) = client_of(net, conn).and_then(|client| at(clients, client)) {
                    node.connected(net, check, conn);
                }
            }
            Event::Segment { conn, from, bytes } => {
                if net.segment(conn, from, bytes) {
                    self.readable(conn, from.other());
                }
            }
            Event::Fin { conn, from } => {
                if net.fin(conn, from) {
                    self.readable(conn, from.other());
                }
            }
            Event::Writable { conn, from } => net.pump(conn, from),
            Event::Broken { conn, side } => match (net.state(conn, side), side) {
                (EndState::Closed, _) => {}
                (EndState::Closing, _) | (EndState::Connecting, Side::Server) => net.drop_end(conn, side),
                (EndState::Open, Side::Server) => server.broken(net, check, conn),
                (EndState::Open | EndState::Connecting, Side::Client) => {
                    if let Some(node) = client_of(net, conn).and_then(|client| at(clients, client)) {
                        node.broken(net, check, conn);
                    }
                }
            },
            Event::Linger { conn, side } => {
                if net.state(conn, side) == EndState::Closing {
                    net.drop_end(conn, side);
                }
            }
            Event::Datagram { slot } => {
                let Some(datagram) = net.take_datagram(slot) else { return Ok(false) };
                match datagram.to {
                    Side::Server => {
                        server.datagram(net, check, Net::address(datagram.client), datagram.bytes);
                    }
                    Side::Client => match at(clients, datagram.client) {
                        Some(node) => node.datagram(net, check, datagram.bytes),
                        None => net.record(node(datagram.client, Side::Client), Mark::Dropped, 0, 0),
                    },
                }
            }
            Event::Check => return self.judge(),
        }
        Ok(false)
    }

    fn join(&mut self, client: u32) {
        let Self { net, check, .. } = self;
        let Some((mut person, sound)) = self.people.get_mut(client as usize).and_then(Option::take) else {
            return;
        };
        net.after(person.say_pause(), Event::Say(client));
        if sound.is_none() {
            net.after(person.silence(), Event::Talk(client));
        }
        net.plan_cut(client);
        let seed = stream(self.scenario.seed, Domain::Client, client);
        let node = ClientNode::join(net, check, client, self.scenario.rooms, seed, (person, sound));
        if let Some(slot) = self.clients.get_mut(client as usize) {
            *slot = Some(node);
        }
    }

    fn readable(&mut self, conn: ConnId, side: Side) {
        let Self { net, check, server, clients, .. } = self;
        match side {
            Side::Server => server.readable(net, check, conn),
            Side::Client => {
                let client = net.conn(conn).map(|tcp| tcp.client);
                if let Some(node) = client.and_then(|client| at(clients, client)) {
                    node.readable(net, check, conn);
                }
            }
        }
    }

    /// Looks whether the phase is over, and whether it has lasted too long. True when all is over.
    fn judge(&mut self) -> Result<bool, String> {
        let lasted_us = self.net.now_us - self.phase_since_us;
        match self.phase {
            Phase::Faults => {
                self.net.heal();
                self.enter(Phase::Heal);
            }
            Phase::Heal => match self.unrest() {
                None => {
                    self.lost_quits = self.server.machine.hub().gone();
                    for client in 0..self.scenario.clients {
                        self.net.after(u64::from(client) * 10_000, Event::Quit(client));
                    }
                    self.enter(Phase::Quit);
                }
                Some(what) if lasted_us > REST_WITHIN_US => {
                    return Err(format!("no rest {} s after the faults: {what}", lasted_us / SECOND_US));
                }
                Some(_) => {}
            },
            Phase::Quit => match self.leftover() {
                None => return Ok(true),
                Some(what) if lasted_us > QUIT_WITHIN_US => {
                    return Err(format!("{} s after everybody quit: {what}", lasted_us / SECOND_US));
                }
                Some(_) => {}
            },
        }
        self.net.after(CHECK_EVERY_US, Event::Check);
        Ok(false)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_since_us = self.net.now_us;
        self.net.record(Node::World, Mark::Phase, phase as u64, 0);
    }

    /// What is not as it should be when nothing fails and nobody talks.
    fn unrest(&self) -> Option<String> {
        let hub = self.server.machine.hub();
        for (number, client) in self.clients.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let Some(client) = client else { return Some(format!("client {number} never joined")) };
            if let Some(what) = client.unrest() {
                return Some(format!("client {number}: {what}"));
            }
            if client.has_quit {
                continue;
            }
            if let Some(what) = self.check.lack_of(number) {
                return Some(format!("client {number}: {what}"));
            }
            let room = client.machine.session().and_then(|session| hub.voice_room(session));
            let Some(room) = room else { return Some(format!("the server does not know client {number}")) };
            let mut expected: Vec<_> = hub.members_of(room).map(|(id, name)| (id, name.as_str())).collect();
            expected.sort_unstable();
            if !client.machine.members().eq(expected) {
                return Some(format!("client {number} has a wrong list of members"));
            }
        }
        // Those who left over a dead connection too must be announced as gone by now.
        let leavers = self.leavers();
        if hub.members() != self.clients.len() - leavers {
            return Some(format!("the server has {} members", hub.members()));
        }
        let (accepted, told) = (self.server.machine.stats().messages, self.check.messages());
        // Nobody may know of the last words of one who left alone.
        if accepted < told || (accepted > told && leavers == 0) {
            return Some(format!("the server accepted {accepted} messages and people know of {told}"));
        }
        if self.net.conns().any(|tcp| tcp.cut) {
            return Some("nobody has noticed that a connection is dead".to_owned());
        }
        (!self.net.conns().all(Tcp::is_quiet)).then(|| "an outbox is not empty".to_owned())
    }

    /// How many have quit.
    fn leavers(&self) -> usize {
        self.clients.iter().flatten().filter(|client| client.has_quit).count()
    }

    /// What should be gone when everybody has quit.
    fn leftover(&self) -> Option<String> {
        let machine = &self.server.machine;
        for (number, client) in self.clients.iter().flatten().enumerate() {
            if !client.machine.has_ended() || client.poll_timeout().is_some() {
                return Some(format!("client {number} has not ended"));
            }
        }
        // Whoever quit over a dead connection may be waited for.
        if machine.hub().members() > 0 || machine.hub().gone() > self.lost_quits {
            return Some("the server still has members".to_owned());
        }
        if !self.server.is_alone() || self.net.conns().next().is_some() {
            return Some("a connection is left".to_owned());
        }
        machine
            .poll_timeout()
            .filter(|_| machine.hub().gone() == 0)
            .map(|due| format!("the server still waits for {} us", due.as_micros()))
    }
}
