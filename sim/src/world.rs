//! The world: plans the events of a scenario, hands each to the node that it concerns, and judges.
//!
//! Phases: people talk while all kinds of things fail; everything heals, perhaps but for a few who stay cut off, and must come to
//! rest; those few are back, and all must come to rest; everybody quits and nothing may be left.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use chinwag_proto::hooks::{self, Limit};

use crate::{
    alarm::Alarm,
    check::{Checker, Rooms, Rule},
    classic::ClassicNode,
    client::ClientNode,
    net::{Brought, Event, Net},
    person::Person,
    random::{Domain, chance, stream},
    scenario::{Failure, Report, Scenario},
    server::{Manner, ServerNode, can_be_full},
    sometimes::Sometimes,
    sound::{Sound, Voice, VoiceReport},
    spec::Key,
    stranger::Stranger,
    tcp::{ConnId, EndState, Side},
    trace::{Node, Trace},
};

mod classics;
mod faults;
mod judge;

use self::faults::Chances;

const SECOND_US: u64 = 1_000_000;
/// Everybody joins within so long, or within a quarter of the run.
const JOIN_SPREAD_US: u64 = 5 * SECOND_US;
/// Events in one second, and for each pair of clients: 100 frames a second, by two ways on either side, some doubled.
const EVENTS_PER_SECOND: u64 = 8_000;
const EVENTS_PER_PAIR: u64 = 2_000;
/// Who could not say something tries again after this.
const UNSAID_US: u64 = SECOND_US / 10;
/// Datagrams that wait for a node that does nothing; more are lost, as in a socket's buffer.
const WAITING_DATAGRAMS: u32 = 256;
/// Voice in a world where nothing fails takes so long beyond the network's two ways.
const CALM_US: u64 = 60_000;

/// Rooms in which nobody begins, but people come into who wander.
const OTHER_ROOMS: u32 = 2;

/// The core's hooks belong to the whole process: one world at a time.
static WORLD: Mutex<()> = Mutex::new(());

/// Runs a scenario to its end, with the lines of its trace into `file`: microseconds, node, what, the names of two
/// numbers, the numbers. Numbers of the scenario that are out of range are taken as the nearest that is not.
///
/// # Errors
///
/// What did not hold, or that the trace could not be written.
pub fn run(scenario: &Scenario, file: Option<&mut dyn io::Write>) -> Result<Report, Box<Failure>> {
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
) -> Result<(Report, Vec<VoiceReport>), Box<Failure>> {
    let clients = u32::try_from(voices.len()).unwrap_or(u32::MAX);
    let scenario = Scenario { clients, spec: scenario.spec.with(Key::Restless, 0), ..scenario.clone() };
    let sounds: Result<Vec<_>, _> = voices.iter().map(Sound::open).collect();
    let failure =
        |what| Box::new(Failure { scenario: scenario.clone(), at_us: 0, rule: Rule::Harness, what });
    simulate(&scenario, sounds.map_err(failure)?, file)
}

fn simulate(
    scenario: &Scenario,
    sounds: Vec<Sound>,
    file: Option<&mut dyn io::Write>,
) -> Result<(Report, Vec<VoiceReport>), Box<Failure>> {
    let scenario = scenario.sane();
    let failed = |at_us, (rule, what)| Box::new(Failure { scenario: scenario.clone(), at_us, rule, what });
    let _lock = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    set_hooks(&scenario).map_err(|what| failed(0, (Rule::Harness, what)))?;
    let mut world = World::new(&scenario, sounds, Trace::new(file));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let outcome = outcome.unwrap_or_else(|panic| Err((Rule::NoPanic, message_of(&*panic))));
    let nodes = world.seats.iter_mut().filter_map(|seat| seat.node.as_mut());
    let voices = nodes.filter_map(|node| Some(node.sound.as_mut()?.report())).collect();
    let Net { now_us, counts, tally, trace, .. } = world.net;
    // The lines that lead to a failure are wanted most of all.
    let trace = trace.finish();
    outcome.map_err(|failure| failed(now_us, failure))?;
    let unwritten = |error| (Rule::Harness, format!("the trace could not be written: {error}"));
    let trace = trace.map_err(|error| failed(now_us, unwritten(error)))?;
    Ok((Report { trace, events: world.events, simulated_us: now_us, counts, tally }, voices))
}

#[cfg(debug_assertions)]
fn set_hooks(scenario: &Scenario) -> Result<(), String> {
    hooks::set(u32::try_from(scenario.spec.get(Key::Small)).unwrap_or(0), scenario.mistake);
    Ok(())
}

#[cfg(not(debug_assertions))]
fn set_hooks(scenario: &Scenario) -> Result<(), String> {
    if scenario.spec.get(Key::Small) == 0 && scenario.mistake.is_none() {
        return Ok(());
    }
    let limits = hooks::Limit::ALL.len();
    Err(format!(
        "this build can make none of its {limits} limits small and no mistakes; build with --profile sim, or without --release"
    ))
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("panicked: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
}

type Verdict<T> = Result<T, (Rule, String)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// People talk, the network fails.
    Faults,
    /// Nobody talks, nothing fails, but for those who are cast out; all others must come to rest.
    Core,
    /// Nobody talks, nothing fails; all must come to rest.
    Whole,
    /// Everybody leaves.
    Quit,
}

/// The place of one client: a running program, or the person who will start it.
struct Seat {
    node: Option<ClientNode>,
    idle: Option<(Person, Option<Sound>)>,
    alarm: Alarm,
    lives: u32,
    is_outcast: bool,
}

impl Seat {
    fn person(&mut self) -> Option<&mut Person> {
        match (&mut self.node, &mut self.idle) {
            (Some(node), _) => Some(&mut node.person),
            (None, Some((person, _))) => Some(person),
            (None, None) => None,
        }
    }
}

/// Who does nothing for how long.
#[derive(Clone, Default)]
struct Sleep {
    until_us: u64,
    /// What waits for it, in order; and how many datagrams are in that.
    parked: Vec<Event>,
    datagrams: u32,
}

struct World<'a> {
    scenario: Scenario,
    rooms: Rooms,
    net: Net<'a>,
    chances: Chances,
    check: Checker,
    server: ServerNode,
    seats: Vec<Seat>,
    strangers: Vec<Stranger>,
    classics: Vec<ClassicNode>,
    /// The server's, then each client's.
    sleeps: Vec<Sleep>,
    phase: Phase,
    phase_since_us: u64,
    /// Sessions that were held when everybody began to leave: of those whose goodbye the server never got, of those who fell.
    held: usize,
    /// The next step of the script.
    step: usize,
    events: u64,
}

fn node_at(seats: &mut [Seat], client: u32) -> Option<&mut ClientNode> {
    seats.get_mut(client as usize)?.node.as_mut()
}

impl<'a> World<'a> {
    fn new(scenario: &Scenario, sounds: Vec<Sound>, trace: Trace<'a>) -> Self {
        let Scenario { seed, clients, rooms, seconds, spec, ref script, .. } = *scenario;
        let strangers = u32::try_from(spec.get(Key::Hostile)).unwrap_or(0);
        let classics = u32::try_from(spec.get(Key::Classic)).unwrap_or(0);
        // Beside those in which they begin.
        let has_few = spec.get(Key::Small) & Limit::Rooms as u64 > 0;
        let others = if spec.get(Key::Wander) > 0 && !has_few { OTHER_ROOMS } else { 0 };
        let rooms = Rooms { count: rooms, others, has_classics: classics > 0 };
        let mut net = Net::new(seed, spec, clients + strangers + classics, trace);
        let run_us = u64::from(seconds) * SECOND_US;
        let spread_us = JOIN_SPREAD_US.min(run_us / 4);
        let mut sounds = sounds.into_iter();
        let mut seats = Vec::new();
        for client in 0..clients {
            let mut person = Person::new(client, &spec, stream(seed, Domain::Person, client));
            let sound = sounds.next();
            // With voices, the first is there to hear the second from the beginning.
            let joins_us = person.joins_after(spread_us);
            let in_order_us = u64::from(client) * SECOND_US;
            net.after(if sound.is_some() { in_order_us } else { joins_us }, Event::Join(client));
            if let Some(leaves_us) = person.leaves_after(run_us) {
                net.after(leaves_us, Event::Quit(client));
            }
            if spec.get(Key::Text) > 0 {
                net.after(spread_us + person.say_pause(), Event::Say(client));
            }
            if spec.get(Key::Wander) > 0 {
                let mut rng = stream(seed, Domain::Wander, client);
                person.wander = chance(&mut rng, spec.ppm(Key::Wander)).then_some(rng);
            }
            if person.wander.is_some() {
                net.after(spread_us + person.whim_pause(), Event::Wander(client));
            }
            if sound.is_none() && person.talks() {
                net.after(spread_us + person.silence(), Event::Talk(client));
            }
            let idle = Some((person, sound));
            seats.push(Seat { node: None, idle, alarm: Alarm::default(), lives: 0, is_outcast: false });
        }
        let may_break = spec.may_break() || !script.is_empty();
        let mut check = Checker::new(clients, rooms, may_break, can_be_full(&spec));
        check.people_wander(spec.get(Key::Wander) > 0);
        let is_calm = spec
            .unusual()
            .all(|key| matches!(key, Key::Delay | Key::Hold | Key::Threads | Key::Text | Key::Restless));
        if is_calm && spec.get(Key::Text) == 0 && spec.get(Key::Restless) == 0 && script.is_empty() {
            check.expect_calm(2 * spec.get(Key::Delay) + 2 * spec.get(Key::Hold) + CALM_US);
        }
        if spec.get(Key::Small) > 0 {
            net.sometimes(Sometimes::SmallLimit);
        }
        let mut world = Self {
            scenario: scenario.clone(),
            rooms,
            chances: Chances::new(seed, clients),
            check,
            server: ServerNode::new(
                clients + classics,
                Manner::of(&spec),
                stream(seed, Domain::Server, 0),
                (&spec, stream(seed, Domain::Disk, 0)),
            ),
            seats,
            strangers: (0..strangers)
                .map(|n| Stranger::new(clients + n, clients, rooms, stream(seed, Domain::Stranger, n)))
                .collect(),
            classics: (0..classics)
                .map(|n| clients + strangers + n)
                .map(|link| {
                    ClassicNode::new(link, clients, spec.ppm(Key::Text), stream(seed, Domain::Classic, link))
                })
                .collect(),
            sleeps: vec![Sleep::default(); clients as usize + 1],
            phase: Phase::Faults,
            phase_since_us: 0,
            held: 0,
            step: 0,
            events: 0,
            net,
        };
        world.plan_classics(spread_us);
        world.plan_faults();
        world.net.after(SECOND_US, Event::Audit);
        world.net.after(run_us, Event::Check);
        world
    }

    fn run(&mut self) -> Verdict<()> {
        let pairs = (u64::from(self.scenario.clients) + self.classics.len() as u64).pow(2);
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
                return Err((Rule::NoSpin, format!("more than {most} events within one second")));
            }
            if self.is_put_off(event) {
                continue;
            }
            let is_over = self.handle(event)?;
            if let Some(failure) = self.check.take_failure() {
                return Err(failure);
            }
            if is_over {
                return Ok(());
            }
        }
        Err((Rule::Rest, "nothing is left to happen".to_owned()))
    }

    /// Returns true when the history is over.
    fn handle(&mut self, event: Event) -> Verdict<bool> {
        match event {
            Event::Join(client) => self.join(client),
            Event::Quit(client) => self.quit(client),
            Event::Say(client) if self.is_busy() => {
                let is_said = self.say(client);
                if let Some(person) = self.seats[client as usize].person() {
                    let pause_us = person.say_pause().max(if is_said { 0 } else { UNSAID_US });
                    self.net.after(pause_us, event);
                }
            }
            Event::Talk(client) if self.is_busy() => {
                let pause_us = self.talk(client);
                self.net.after(pause_us, event);
            }
            Event::Wander(client) if self.is_busy() => {
                let Self { net, check, seats, rooms, .. } = self;
                if let Some(node) = node_at(seats, client).filter(|node| node.is_alive()) {
                    node.wander(net, check, *rooms);
                }
                if let Some(person) = self.seats[client as usize].person() {
                    let pause_us = person.whim_pause();
                    self.net.after(pause_us, event);
                }
            }
            Event::Say(_) | Event::Talk(_) | Event::Wander(_) => {}
            Event::Turn(number) => self.turn(number),
            Event::Listen(client) => {
                let Self { net, check, seats, .. } = self;
                if let Some(pause_us) = node_at(seats, client).and_then(|node| node.listen(net, check)) {
                    net.after(pause_us, event);
                }
            }
            Event::Sound(client) => {
                let Self { net, check, seats, .. } = self;
                if let Some(node) = node_at(seats, client).filter(|node| !node.has_quit)
                    && let Some(pause_us) = node.sound(net, check)
                {
                    net.after(pause_us, event);
                }
            }
            Event::Script => self.next_step(),
            Event::Awake(node) => self.awake(node),
            Event::Restart => self.restart(),
            Event::Fault(fault) => {
                if self.is_busy() {
                    self.go_wrong(fault);
                    self.plan(fault);
                }
            }
            Event::Brought(brought) => self.deliver(brought),
            Event::Audit => self.audit(),
            Event::Check => return self.judge(),
        }
        Ok(false)
    }

    /// Hands what the network brings to whom it concerns.
    fn deliver(&mut self, brought: Brought) {
        let Self { net, check, server, seats, strangers, classics, .. } = self;
        let link_of = |net: &mut Net<'_>, conn| net.conn(conn).map(|tcp| tcp.client);
        let clients = seats.len();
        let guests = clients + strangers.len();
        match brought {
            Brought::Wake { node: Node::Server, generation } => server.wake(net, check, generation),
            Brought::Wake { node: Node::Client(client), generation } => {
                if let Some(node) = node_at(seats, client) {
                    node.wake(net, check, generation);
                }
            }
            Brought::Accepted(conn) => server.accepted(net, check, conn),
            Brought::Connected(conn) => {
                let Some(link) = link_of(net, conn) else { return };
                if let Some(stranger) = guest_at(strangers, clients, link) {
                    stranger.connected(net, conn);
                } else if let Some(classic) = guest_at(classics, guests, link) {
                    classic.connected(net, check, conn);
                } else if let Some(node) = node_at(seats, link) {
                    node.connected(net, check, conn);
                }
            }
            Brought::Segment { conn, from, bytes } => {
                if net.segment(conn, from, bytes) {
                    self.readable(conn, from.other());
                }
            }
            Brought::Fin { conn, from } => {
                if net.fin(conn, from) {
                    self.readable(conn, from.other());
                }
            }
            Brought::Writable { conn, from } => net.pump(conn, from),
            Brought::Paced(conn) => net.paced(conn),
            Brought::Whole { link, from } => net.whole(link, from),
            Brought::Broken { conn, side } => match (net.state(conn, side), side) {
                (EndState::Closed, _) => {}
                (EndState::Closing, _) | (EndState::Connecting, Side::Server) => net.drop_end(conn, side),
                (EndState::Open, Side::Server) => server.broken(net, check, conn),
                (EndState::Open | EndState::Connecting, Side::Client) => {
                    let Some(link) = link_of(net, conn) else { return };
                    if let Some(stranger) = guest_at(strangers, clients, link) {
                        stranger.broken(net, conn);
                    } else if let Some(classic) = guest_at(classics, guests, link) {
                        classic.broken(net, check, conn);
                    } else if let Some(node) = node_at(seats, link) {
                        node.broken(net, check, conn);
                    }
                }
            },
            Brought::Linger { conn, side } => {
                if net.state(conn, side) == EndState::Closing {
                    net.drop_end(conn, side);
                }
            }
            Brought::Datagram { slot } => match net.take_datagram(slot) {
                Some((Node::Server, datagram)) => {
                    server.datagram(net, check, datagram.from, datagram.bytes);
                }
                Some((Node::Client(client), datagram)) => {
                    if let Some(node) = node_at(seats, client) {
                        node.datagram(net, check, datagram.bytes);
                    }
                }
                Some((Node::World, _)) | None => {}
            },
            Brought::Wake { node: Node::World, .. } => {}
        }
    }

    fn readable(&mut self, conn: ConnId, side: Side) {
        let Self { net, check, server, seats, strangers, classics, .. } = self;
        match side {
            Side::Server => server.readable(net, check, conn),
            Side::Client => {
                let Some(link) = net.conn(conn).map(|tcp| tcp.client) else { return };
                if let Some(stranger) = guest_at(strangers, seats.len(), link) {
                    stranger.readable(net, conn);
                } else if let Some(classic) = guest_at(classics, seats.len() + strangers.len(), link) {
                    classic.readable(net, check, conn);
                } else if let Some(node) = node_at(seats, link) {
                    node.readable(net, check, conn);
                }
            }
        }
    }

    /// True as long as people talk and things fail.
    fn is_busy(&self) -> bool {
        self.phase == Phase::Faults
    }

    // What people do.

    /// Somebody starts the program, unless it runs.
    fn join(&mut self, client: u32) {
        let Self { net, check, seats, scenario, rooms, phase, .. } = self;
        let Some(seat) = seats.get_mut(client as usize).filter(|_| *phase != Phase::Quit) else { return };
        if let Some(node) = seat.node.take_if(|node| node.machine.has_ended()) {
            let (idle, alarm) = node.end();
            (seat.idle, seat.alarm) = (Some(idle), alarm);
        }
        let Some(idle) = seat.idle.take() else { return };
        // Every life has chances of its own.
        let seed = stream(scenario.seed, Domain::Client, client | seat.lives << 8);
        seat.lives += 1;
        let alarm = std::mem::take(&mut seat.alarm);
        seat.node = Some(ClientNode::join(net, check, client, *rooms, seed, alarm, idle));
    }

    fn quit(&mut self, client: u32) {
        let Self { net, check, seats, .. } = self;
        let Some(node) = node_at(seats, client).filter(|node| !node.has_quit) else { return };
        node.quit(net, check);
        if let Some(after_us) = node.person.returns_after().filter(|_| self.phase == Phase::Faults) {
            self.net.after(after_us, Event::Join(client));
        }
    }

    /// Says something, if the program runs and takes it.
    fn say(&mut self, client: u32) -> bool {
        let Self { net, check, seats, .. } = self;
        node_at(seats, client).filter(|node| node.is_alive()).is_some_and(|node| node.say(net, check))
    }

    /// Sends a voice frame; when there is another one.
    fn talk(&mut self, client: u32) -> u64 {
        let Self { net, check, seats, .. } = self;
        match node_at(seats, client).filter(|node| node.is_alive()) {
            Some(node) => node.talk(net, check),
            None => SECOND_US,
        }
    }
}

/// Who is at a link, of those whose links begin with `first`.
fn guest_at<T>(guests: &mut [T], first: usize, link: u32) -> Option<&mut T> {
    guests.get_mut((link as usize).checked_sub(first)?)
}
