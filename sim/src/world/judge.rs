//! Whether everything is as it should be: now and then while things fail, and strictly when they do not any more.

use chinwag_proto::limits::PROBE_INTERVAL_IDLE;

use super::{Phase, SECOND_US, Verdict, World};
use crate::{
    check::Rule,
    net::{Event, USER_TIMEOUT_US},
    sometimes::Sometimes,
    tcp::Tcp,
    trace::{Mark, Node},
};

/// Nobody is taken to be at rest before so long: who slept until just now may be about to be given up for silence, and what shows
/// that he lives is still on its way.
const REST_AFTER_US: u64 = 2 * SECOND_US;
/// After the faults heal, everybody must be back and at rest within so long: a silence is noticed after 15 s, the
/// longest pause between tries is 15 s, a try takes up to 10 s; what a parted link held back comes up to 20 s later.
const REST_WITHIN_US: u64 = 90 * SECOND_US;
/// After everybody has quit, nothing may be left after so long.
const QUIT_WITHIN_US: u64 = 20 * SECOND_US;
/// How often it is looked whether all is at rest.
const CHECK_EVERY_US: u64 = SECOND_US / 10;
/// Voice of a talker goes another way this long after he began to talk without that datagrams got through, and six round trips.
const TALKING_FALLBACK_US: u64 = 6 * SECOND_US;
/// The same of whoever is silent, after datagrams got through last: an idle path is not asked sooner.
const FALLBACK_US: u64 = PROBE_INTERVAL_IDLE.as_micros() as u64 + 7 * SECOND_US;

impl World<'_> {
    /// Looks at what must hold at any time.
    pub(super) fn audit(&mut self) {
        let Self { net, check, server, seats, sleeps, .. } = self;
        if let Err(what) = server.machine.audit() {
            check.fail(Rule::Limits, format!("the server: {what}"));
        }
        if let Err(what) = server.audit_voice() {
            check.fail(Rule::Limits, format!("the relay: {what}"));
        }
        let is_awake = sleeps[0].until_us + SECOND_US < net.now_us || sleeps[0].until_us == 0;
        if let Some(what) = server.delay(net).filter(|_| is_awake) {
            check.fail(Rule::InTime, what);
        }
        for (client, seat) in (0..).zip(seats) {
            let Some(node) = &mut seat.node else { continue };
            if let Err(what) = node.machine.audit() {
                check.fail(Rule::Limits, format!("client {client}: {what}"));
            }
            let rtt_us = node.machine.stats().voice_rtt.map_or(0, |rtt| rtt.as_micros() as u64);
            let patience_us = FALLBACK_US + 6 * rtt_us;
            let was_asleep = sleeps[client as usize + 1].until_us + patience_us > net.now_us
                && sleeps[client as usize + 1].until_us > 0;
            let uses_udp_only = node.machine.voice_path().is_some_and(|path| !path.uses_tcp());
            let out_us = net.without_udp_us(client);
            let talks_us = net.now_us - node.talked_us;
            let has_talked = node.talked_us > net.now_us - out_us;
            let is_late = out_us > patience_us || has_talked && talks_us > TALKING_FALLBACK_US + 6 * rtt_us;
            if uses_udp_only && !was_asleep && is_late {
                let what =
                    format!("client {client} sends voice by datagrams, and none has got through for long");
                check.fail(Rule::VoicePath, what);
            }
        }
        for tcp in net.conns() {
            if let Err(what) = tcp.audit() {
                check.fail(Rule::Limits, what);
            }
        }
        net.after(SECOND_US, Event::Audit);
    }

    /// Looks whether the phase is over, and whether it has lasted too long. True when all is over.
    pub(super) fn judge(&mut self) -> Verdict<bool> {
        let lasted_us = self.net.now_us - self.phase_since_us;
        let too_long = |rule, after: &str, what| {
            Err((rule, format!("{} s after {after}: {what}", lasted_us / SECOND_US)))
        };
        match self.phase {
            Phase::Faults => {
                self.heal();
                self.check.end_calm();
                self.enter(Phase::Core);
            }
            Phase::Core | Phase::Whole if lasted_us < REST_AFTER_US => {}
            Phase::Core | Phase::Whole => match self.unrest() {
                None if self.phase == Phase::Core && self.seats.iter().any(|seat| seat.is_outcast) => {
                    self.net.sometimes(Sometimes::Outcast);
                    self.net.forgive();
                    self.seats.iter_mut().for_each(|seat| seat.is_outcast = false);
                    self.enter(Phase::Whole);
                }
                None => {
                    self.held = self.server.machine.hub().gone();
                    for client in 0..self.scenario.clients {
                        self.net.after(u64::from(client) * 10_000, Event::Quit(client));
                    }
                    self.enter(Phase::Quit);
                }
                Some(what) if lasted_us > self.rest_within_us() => {
                    return too_long(Rule::Rest, "the faults", what);
                }
                Some(_) => {}
            },
            Phase::Quit => match self.leftover() {
                None => return Ok(true),
                Some(what) if lasted_us > QUIT_WITHIN_US => {
                    return too_long(Rule::Quit, "everybody quit", what);
                }
                Some(_) => {}
            },
        }
        self.net.after(CHECK_EVERY_US, Event::Check);
        Ok(false)
    }

    fn rest_within_us(&self) -> u64 {
        REST_WITHIN_US + if self.classics.is_empty() { 0 } else { USER_TIMEOUT_US }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_since_us = self.net.now_us;
        self.net.record(Node::World, Mark::Phase, phase as u64, 0);
    }

    /// What is not as it should be when nothing fails and nobody talks.
    fn unrest(&self) -> Option<String> {
        let hub = self.server.machine.hub();
        let mut expected_members = 0;
        for (client, seat) in (0..).zip(&self.seats).filter(|(_, seat)| !seat.is_outcast) {
            let Some(node) = &seat.node else { return Some(format!("client {client} is not there")) };
            if let Some(what) = node.unrest() {
                return Some(format!("client {client}: {what}"));
            }
            if node.has_quit {
                continue;
            }
            expected_members += 1;
            if let Some(what) = self.check.lack_of(client) {
                return Some(format!("client {client}: {what}"));
            }
            if let Some(what) = node.differs_from(hub) {
                return Some(format!("client {client} {what}"));
            }
        }
        if let Some(what) = self.unrest_of_classics() {
            return Some(what);
        }
        expected_members += self.classics.len();
        // Those who left over a dead connection, fell or were strangers must be announced as gone by now, too.
        if hub.members() != expected_members {
            return Some(format!("the server has {} members and not {expected_members}", hub.members()));
        }
        if self.net.conns().any(|tcp| tcp.cut && !self.is_outcast(tcp)) {
            return Some("nobody has noticed that a connection is dead".to_owned());
        }
        if self.net.conns().any(|tcp| tcp.is_one_sided() && !self.is_outcast(tcp)) {
            return Some("a connection is being opened or closed".to_owned());
        }
        let soon_us = self.net.now_us + SECOND_US;
        (!self.net.conns().all(|tcp| tcp.is_quiet(soon_us) || self.is_outcast(tcp)))
            .then(|| "an outbox is not empty".to_owned())
    }

    fn is_outcast(&self, tcp: &Tcp) -> bool {
        self.seats.get(tcp.client as usize).is_some_and(|seat| seat.is_outcast)
    }

    /// What should be gone when everybody has quit.
    fn leftover(&self) -> Option<String> {
        let machine = &self.server.machine;
        for (client, seat) in self.seats.iter().enumerate() {
            let Some(node) = &seat.node else { continue };
            if !node.machine.has_ended() || node.machine.poll_timeout().is_some() {
                return Some(format!("client {client} has not ended"));
            }
        }
        if self.classics.iter().any(|classic| !classic.is_away()) {
            return Some("a classic peer has not left".to_owned());
        }
        // Whoever quit over a dead connection may be waited for.
        if machine.hub().members() > 0 || machine.hub().gone() > self.held {
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
