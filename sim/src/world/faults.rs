//! What goes wrong, when, and for how long.

use chinwag_proto::Rng;

use super::{SECOND_US, Sleep, WAITING_DATAGRAMS, World, node_at};
use crate::{
    net::{Brought, Event, Fault, Net},
    random::{Domain, between, chance, pause_us, stream},
    script::Action,
    sometimes::Sometimes,
    spec::{Key, Spec},
    tcp::Side,
    trace::{Mark, Node},
};

/// For how long a crashed server, or client, is down.
const DOWN_US: (u64, u64) = (100_000, 10 * SECOND_US);
/// For how long the network is parted, or a node does nothing.
const PARTED_US: (u64, u64) = (100_000, 20 * SECOND_US);
const ASLEEP_US: (u64, u64) = (10_000, 20 * SECOND_US);
/// How far a clock jumps.
const JUMP_US: (u64, u64) = (1_000, 60 * SECOND_US);
/// Crashes of which nobody is told.
const SILENT_PPM: u32 = 300_000;

/// The chances of what concerns more than a link.
pub(super) struct Chances {
    partitions: Rng,
    crashes: Rng,
    falls: Vec<Rng>,
    /// The server's, then each client's.
    nodes: Vec<Rng>,
    outcasts: Rng,
}

impl Chances {
    pub(super) fn new(seed: u64, clients: u32) -> Self {
        Self {
            partitions: stream(seed, Domain::Partitions, 0),
            crashes: stream(seed, Domain::Crashes, 0),
            falls: (0..clients).map(|client| stream(seed, Domain::Falls, client)).collect(),
            nodes: (0..=clients).map(|node| stream(seed, Domain::Pauses, node)).collect(),
            outcasts: stream(seed, Domain::Outcasts, 0),
        }
    }
}

/// A node's place among those of all nodes.
fn index_of(node: Node) -> usize {
    match node {
        Node::Server | Node::World => 0,
        Node::Client(client) => client as usize + 1,
    }
}

impl World<'_> {
    /// Plans the first of everything.
    pub(super) fn plan_faults(&mut self) {
        for event in [Fault::Partition, Fault::Crash, Fault::Pause(Node::Server), Fault::Jump(Node::Server)] {
            self.plan(event);
        }
        for client in 0..self.scenario.clients {
            for event in
                [Fault::Cut(client), Fault::Reset(client), Fault::Rebind(client), Fault::Fall(client)]
            {
                self.plan(event);
            }
            self.plan(Fault::Pause(Node::Client(client)));
            self.plan(Fault::Jump(Node::Client(client)));
        }
        for (stranger, after_us) in (0..self.scenario.spec.get(Key::Hostile)).zip((0..).step_by(1000)) {
            self.net.after(after_us, Fault::Harm(u32::try_from(stranger).unwrap_or(0)));
        }
        self.plan_step();
    }

    /// Plans the next of what happens again and again.
    pub(super) fn plan(&mut self, fault: Fault) {
        let Self { net, chances, .. } = self;
        let (key, rng) = match fault {
            Fault::Cut(client) => return net.plan(client, Key::Cut, fault),
            Fault::Reset(client) => return net.plan(client, Key::Reset, fault),
            Fault::Rebind(client) => return net.plan(client, Key::Rebind, fault),
            Fault::Partition => (Key::Partition, &mut chances.partitions),
            Fault::Crash => (Key::Crash, &mut chances.crashes),
            Fault::Fall(client) => (Key::Fall, &mut chances.falls[client as usize]),
            Fault::Pause(node) => (Key::Pause, &mut chances.nodes[index_of(node)]),
            Fault::Jump(node) => (Key::Jump, &mut chances.nodes[index_of(node)]),
            // Plans itself.
            Fault::Harm(_) => return,
        };
        let mean_us = net.spec.seconds_us(key);
        if mean_us > 0 {
            let after_us = pause_us(rng, mean_us);
            net.after(after_us, fault);
        }
    }

    /// Something goes wrong.
    pub(super) fn go_wrong(&mut self, fault: Fault) {
        let Self { net, chances, check, seats, strangers, .. } = self;
        match fault {
            Fault::Harm(number) => {
                if let Some(stranger) = strangers.get_mut(number as usize) {
                    let after_us = stranger.harm(net);
                    net.after(after_us, fault);
                }
            }
            Fault::Cut(client) => net.cut(client),
            Fault::Reset(client) => net.reset_link(client),
            Fault::Rebind(client) => net.rebind(client),
            Fault::Partition => {
                let classics = seats.len() + strangers.len()..net.links();
                let links = (0..seats.len()).chain(classics).filter_map(|link| u32::try_from(link).ok());
                let links: Vec<u32> = links.collect();
                part(net, &mut chances.partitions, &links);
            }
            Fault::Crash => self.crash(),
            Fault::Fall(client) => self.fall(client),
            Fault::Pause(node) => {
                let until_us =
                    net.now_us + between(&mut chances.nodes[index_of(node)], ASLEEP_US.0, ASLEEP_US.1);
                net.record(node, Mark::Asleep, until_us, 0);
                self.sleeps[index_of(node)].until_us = until_us;
                net.at(until_us, Event::Awake(node));
            }
            Fault::Jump(node) => {
                let by_us = between(&mut chances.nodes[index_of(node)], JUMP_US.0, JUMP_US.1);
                net.jump(node, by_us);
                match node {
                    Node::Server => self.server.rearm(net),
                    Node::Client(client) => {
                        check.clock_jumped(client, net.now_us);
                        if let Some(node) = node_at(seats, client) {
                            node.rearm(net);
                        }
                    }
                    Node::World => {}
                }
            }
        }
    }

    fn crash(&mut self) {
        let Self { net, chances, server, sleeps, .. } = self;
        if !server.is_up() {
            return;
        }
        let down_us = between(&mut chances.crashes, DOWN_US.0, DOWN_US.1);
        server.crash(net, chance(&mut chances.crashes, SILENT_PPM));
        net.flush();
        sleeps[0].wake(net);
        net.after(down_us, Event::Restart);
    }

    pub(super) fn restart(&mut self) {
        let Self { net, check, server, scenario, .. } = self;
        if !server.is_up() {
            let seed = stream(scenario.seed, Domain::Server, check.logs.generation + 1);
            server.restart(net, check, seed);
        }
    }

    fn fall(&mut self, client: u32) {
        let Self { net, chances, seats, sleeps, .. } = self;
        let Some(seat) = seats.get_mut(client as usize) else { return };
        // A voice of a file cannot begin anew.
        let Some(node) = seat.node.take_if(|node| node.is_alive() && node.sound.is_none()) else { return };
        let rng = &mut chances.falls[client as usize];
        let down_us = between(rng, DOWN_US.0, DOWN_US.1);
        let (idle, alarm) = node.fall(net, chance(rng, SILENT_PPM));
        net.flush();
        (seat.idle, seat.alarm) = (Some(idle), alarm);
        sleeps[client as usize + 1].wake(net);
        net.after(down_us, Event::Join(client));
    }

    /// Everything is well from now on, but for those who are cast out.
    pub(super) fn heal(&mut self) {
        let Self { net, chances, seats, strangers, sleeps, server, .. } = self;
        net.heal();
        server.heal();
        sleeps.iter_mut().for_each(|sleep| sleep.wake(net));
        for stranger in strangers {
            stranger.leave(net);
        }
        if !server.is_up() {
            net.after(0, Event::Restart);
        }
        let outcast_ppm = self.scenario.spec.ppm(Key::Outcast);
        // Somebody has to be left.
        for (client, seat) in (0..).zip(seats).skip(1) {
            seat.is_outcast = chance(&mut chances.outcasts, outcast_ppm);
            if seat.is_outcast {
                net.cast_out(client);
            }
        }
        net.flush();
    }

    /// Whether an event has to wait since its node does nothing.
    pub(super) fn is_put_off(&mut self, event: Event) -> bool {
        let Some(node) = self.node_of(event) else { return false };
        let Some(sleep) = self.sleeps.get_mut(index_of(node)) else { return false };
        if sleep.until_us <= self.net.now_us {
            return false;
        }
        if let Event::Brought(Brought::Datagram { slot }) = event {
            sleep.datagrams += 1;
            if sleep.datagrams > WAITING_DATAGRAMS {
                self.net.drop_datagram(slot);
                return true;
            }
        }
        sleep.parked.push(event);
        true
    }

    /// A node goes on with all that came meanwhile.
    pub(super) fn awake(&mut self, node: Node) {
        let Self { net, sleeps, .. } = self;
        if let Some(sleep) = sleeps.get_mut(index_of(node)).filter(|sleep| sleep.until_us <= net.now_us) {
            sleep.wake(net);
        }
    }

    /// Whose program would have to do something.
    fn node_of(&mut self, event: Event) -> Option<Node> {
        let mut at = |conn, side| match side {
            Side::Server => Some(Node::Server),
            Side::Client => self.net.conn(conn).map(|tcp| Node::Client(tcp.client)),
        };
        match event {
            Event::Say(client)
            | Event::Talk(client)
            | Event::Wander(client)
            | Event::Listen(client)
            | Event::Sound(client)
            | Event::Quit(client) => Some(Node::Client(client)),
            Event::Brought(brought) => match brought {
                Brought::Wake { node, .. } => Some(node),
                Brought::Accepted(_) | Brought::Paced(_) => Some(Node::Server),
                Brought::Connected(conn) => at(conn, Side::Client),
                Brought::Segment { conn, from, .. } | Brought::Fin { conn, from } => at(conn, from.other()),
                Brought::Broken { conn, side } => at(conn, side),
                Brought::Datagram { slot } => self.net.addressee(slot),
                // What systems do does not wait for programs.
                Brought::Writable { .. } | Brought::Whole { .. } | Brought::Linger { .. } => None,
            },
            Event::Join(_)
            | Event::Turn(_)
            | Event::Fault(_)
            | Event::Awake(_)
            | Event::Restart
            | Event::Script
            | Event::Audit
            | Event::Check => None,
        }
    }

    // The script.

    fn plan_step(&mut self) {
        if let Some(step) = self.scenario.script.step(self.step) {
            self.net.after(step.after_us, Event::Script);
        }
    }

    pub(super) fn next_step(&mut self) {
        let Some(step) = self.scenario.script.step(self.step) else { return };
        self.step += 1;
        self.plan_step();
        if !self.is_busy() {
            return;
        }
        let strangers = u32::try_from(self.strangers.len()).unwrap_or(0);
        let classics = u32::try_from(self.classics.len()).unwrap_or(0);
        if let Some(number) = step.action.classic(self.scenario.clients, classics) {
            return self.step_of_classic(number, step.action);
        }
        match (step.action, step.action.event(self.scenario.clients, strangers)) {
            (Action::Set(key, value), _) => self.net.spec = set(self.net.spec, key, value),
            (_, Some(Event::Join(client))) => self.join(client),
            (_, Some(Event::Quit(client))) => self.quit(client),
            (_, Some(Event::Say(client))) => {
                self.say(client);
            }
            (_, Some(Event::Talk(client))) => {
                self.talk(client);
            }
            // A stranger plans its own next misdeed: this one is done out of turn.
            (_, Some(Event::Fault(Fault::Harm(number)))) => {
                let Self { net, strangers, .. } = self;
                if let Some(stranger) = strangers.get_mut(number as usize) {
                    stranger.harm(net);
                }
            }
            (_, Some(Event::Fault(fault))) => self.go_wrong(fault),
            (_, Some(_) | None) => {}
        }
    }
}

impl Sleep {
    fn wake(&mut self, net: &mut Net<'_>) {
        if self.datagrams > 0 {
            net.sometimes(Sometimes::PausedNode);
        }
        for event in self.parked.drain(..) {
            net.after(0, event);
        }
        // When it was, is kept: see the audit of voice paths.
        self.until_us = self.until_us.min(net.now_us);
        self.datagrams = 0;
    }
}

/// The world is different from now on; what is settled at its beginning stays.
fn set(spec: Spec, key: Key, value: u64) -> Spec {
    use Key::{Classic, Drift, Hold, Hostile, NoUdp, Small, Threads, Wander};
    let is_settled = matches!(key, Wander | Small | Hostile | Classic | Hold | Threads | NoUdp | Drift);
    // Times between things are looked at when these happen: what never happens is not begun by it.
    if is_settled { spec } else { spec.with(key, value) }
}

/// Nothing passes, one way or both, to one client, some, or all.
fn part(net: &mut Net<'_>, rng: &mut Rng, links: &[u32]) {
    let for_us = between(rng, PARTED_US.0, PARTED_US.1);
    let sides: &[Side] = match rng.below(3) {
        0 => &[Side::Client],
        1 => &[Side::Server],
        _ => &[Side::Client, Side::Server],
    };
    let kind = rng.below(3);
    let chosen = rng.below(links.len() as u64);
    for (number, &link) in (0..).zip(links) {
        let is_in_half = chance(rng, crate::random::MILLION / 2);
        let is_parted = match kind {
            0 => number == chosen,
            1 => is_in_half,
            _ => true,
        };
        if is_parted {
            net.part(link, sides, for_us);
        }
    }
}
