//! The clients: let in, asked to talk and write, measured, taken home.

use std::{io, time::Duration};

use anyhow::{Context as _, Result, bail};
use chinwag_proto::{
    SessionId,
    client::{ClientConfig, ClientEvent, EndReason, PlaceId},
    limits,
    relay::VoicePath,
    wire::voice::VoiceFrame,
};
use chinwag_transport_mio::{
    clock,
    throng::{Handler, Throng, ThrongOptions},
};
use rustix::io::Errno;

use crate::{
    process::{CpuTime, Process, own_cpu_ns},
    progress::Progress,
    report::{Connect, Run, ServerCpu, Text, Tool, Voice},
    schedule::Schedule,
    tally::{TIME_BYTES, Tally},
    texts::Texts,
};

/// How often sockets are looked at, at most and at least.
pub(crate) const POLL_LEAST: Duration = Duration::from_micros(300);
pub(crate) const POLL_MOST: Duration = Duration::from_millis(20);
/// So many datagrams at once make a look worth its cost, and fit the smallest usual queue many times.
const WORTH_A_LOOK: u64 = 8;

/// Clients that may be on their way in at the same time.
const KNOCKING: usize = 64;
/// After the last probe of those that follow a welcome, quiet begins.
const QUIET_NS: u64 =
    limits::PROBE_INTERVAL_FIRST.as_nanos() as u64 * limits::FIRST_PROBES as u64 + 500_000_000;
/// So long is waited at most for voice to go by datagrams.
const PATHS_NS: u64 = 5_000_000_000;
/// What was sent last has so long to arrive, and is lost then.
const SETTLING_NS: u64 = 2_000_000_000;
/// Text is never given up before this.
const TEXT_SETTLING_NS: u64 = 15_000_000_000;
/// From here on a late frame is not sent at all, as a talker's program would not.
const SKIPPED_NS: u64 = 200_000_000;
/// Turns taken of one schedule before what has arrived has its turn.
const TURNS: usize = 32;
/// Everybody has so long to say goodbye.
const GOODBYE_NS: u64 = 10_000_000_000;
/// The share of a core above which this program has no time to spare.
const BUSY_PERCENT: f64 = 90.0;
/// Of so many frames one may be late: other programs want to run, too.
const LATE_ONE_IN: u64 = 1000;
/// When nothing came for so long, nothing is on its way any more; and so long is waited for that.
const STILL_NS: u64 = 300_000_000;
const DRAINING_NS: u64 = 60_000_000_000;
/// Between two looks at the clock where nothing is due.
const GLANCE_NS: u64 = 50_000_000;

/// Who joins, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) rooms: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) server: Option<Process>,
    /// How often sockets are looked at, if it does not depend on what is to come.
    pub(crate) poll: Option<Duration>,
    /// Distinguishes this call from all others.
    pub(crate) run: u64,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) talkers: usize,
    pub(crate) frame_ms: u64,
    pub(crate) texts_per_second: f64,
    pub(crate) seconds: u64,
}

/// Clients that are in.
#[derive(Debug)]
pub(crate) struct Crowd {
    plan: Plan,
    throng: Throng,
    book: Book,
    /// The number of the last frame of any run before.
    last_number: u32,
    /// The last load was too much: the server may have some of it before itself yet.
    is_behind: bool,
}

/// What the clients tell.
#[derive(Debug)]
struct Book {
    members: Vec<Member>,
    welcomed: usize,
    by_udp: usize,
    ended: usize,
    broken: u64,
    /// Who did not get in or had to leave, and why a connection was lost: the first of each.
    missing: Option<String>,
    lost: Option<String>,
    /// Voice that came, whenever it was sent.
    payloads: u64,
    tally: Option<Tally>,
    texts: Option<Texts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    session: Option<SessionId>,
    is_by_udp: bool,
}

/// What is counted all the time, at one moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at_ns: u64,
    own_cpu_ns: u64,
    /// `None` where the system does not say.
    own: Option<CpuTime>,
    server: Option<CpuTime>,
    drops: Option<u64>,
    unsent: u64,
    by_udp: u64,
    by_tcp: u64,
    broken: u64,
}

impl Crowd {
    pub(crate) fn new(plan: Plan, options: ThrongOptions) -> Result<Self> {
        let book = Book {
            members: vec![Member::default(); plan.clients],
            welcomed: 0,
            by_udp: 0,
            ended: 0,
            broken: 0,
            missing: None,
            lost: None,
            payloads: 0,
            tally: None,
            texts: None,
        };
        let throng = Throng::new(options)?;
        Ok(Self { plan, throng, book, last_number: 0, is_behind: false })
    }

    /// Lets everybody in, a few at a time; the first one alone, whose server is everybody's.
    pub(crate) fn join(&mut self, progress: &mut Progress) -> Result<Connect> {
        let begun_ns = clock::now_ns();
        while self.book.welcomed < self.plan.clients {
            let most = if self.book.welcomed == 0 { 1 } else { self.book.welcomed + KNOCKING };
            while self.throng.len() < most.min(self.plan.clients) {
                let config = self.config(self.throng.len());
                self.throng.add(config, &mut self.book)?;
            }
            self.throng.turn(clock::now_ns() + GLANCE_NS, &mut self.book)?;
            self.book.check()?;
            progress.show(|| format!("connecting {}/{}", self.book.welcomed, self.plan.clients));
        }
        let seconds = seconds_since(begun_ns);
        self.settle(progress)?;
        // Those first probes are over then.
        self.pass(QUIET_NS, progress, "waiting for quiet")?;
        Ok(Connect {
            seconds,
            clients_per_second: self.plan.clients as f64 / seconds.max(1e-9),
            clients_by_udp: self.book.by_udp,
        })
    }

    fn config(&self, number: usize) -> ClientConfig {
        ClientConfig {
            name: format!("load-{:05x}-{number}", self.plan.run & 0xf_ffff),
            rooms: vec![format!("load-{}", number % self.plan.rooms)],
            software: concat!("chinwag-load/", env!("CARGO_PKG_VERSION")).to_owned(),
            history: 0,
        }
    }

    /// Waits until everybody's voice goes by datagrams, if it does within some time.
    fn settle(&mut self, progress: &mut Progress) -> Result<()> {
        let end = clock::now_ns() + PATHS_NS;
        while self.book.by_udp < self.plan.clients && clock::now_ns() < end {
            self.throng.turn(clock::now_ns() + GLANCE_NS, &mut self.book)?;
            self.book.check()?;
            progress.show(|| format!("finding voice paths {}/{}", self.book.by_udp, self.plan.clients));
        }
        Ok(())
    }

    /// Waits until a server that was given too much is done with it.
    fn drain(&mut self, progress: &mut Progress) -> Result<()> {
        let end = clock::now_ns() + DRAINING_NS;
        while self.is_behind && clock::now_ns() < end {
            let before = self.book.payloads;
            self.pass(STILL_NS, progress, "waiting for the server to catch up")?;
            self.is_behind = self.book.payloads > before;
        }
        Ok(())
    }

    /// Lets time pass.
    fn pass(&mut self, ns: u64, progress: &mut Progress, what: &str) -> Result<()> {
        let end = clock::now_ns() + ns;
        while clock::now_ns() < end {
            self.throng.turn(end, &mut self.book)?;
            self.book.check()?;
            progress.show(|| what.to_owned());
        }
        Ok(())
    }

    /// Puts this load on the server and tells what came of it.
    pub(crate) fn measure(&mut self, wish: Wish, progress: &mut Progress) -> Result<Run> {
        self.drain(progress)?;
        self.settle(progress)?;
        let sessions: Vec<_> =
            self.book.members.iter().take(wish.talkers).filter_map(|member| member.session).collect();
        let Plan { clients, rooms, run, .. } = self.plan;
        self.book.tally = Some(Tally::new(clients, rooms, &sessions, self.last_number));
        self.book.texts = (wish.texts_per_second > 0.0).then(|| Texts::new(run, clients, rooms));

        let poll = self.plan.poll.unwrap_or_else(|| poll(wish, rooms));
        self.throng.look_every(poll);

        let before = self.moment()?;
        let own = self.load(wish, progress)?;
        let after = self.moment()?;

        let Some(tally) = self.book.tally.take() else { bail!("nothing was counted") };
        let texts = self.book.texts.take();
        self.last_number = tally.last_number();
        let span = after.at_ns - before.at_ns;
        let share = |ns: u64| ns as f64 / span.max(1) as f64;
        let voice = (wish.talkers > 0).then(|| voice(&tally, clients, wish, before, after));
        self.is_behind = voice.is_some_and(|voice| voice.frames_lost > 0);
        let text = texts.map(|texts| text(&texts, own.texts_unsent, wish));
        let server = before.server.zip(after.server).map(|(from, to)| {
            let CpuTime { ran_ns, waited_ns } = to.since(from);
            let each = |count: u64| (count > 0).then(|| ran_ns as f64 / 1e3 / count as f64);
            ServerCpu {
                cpu_ms_per_second: share(ran_ns) * 1e3,
                waited_ms_per_second: share(waited_ns) * 1e3,
                // Of both at once nobody can say which took what.
                cpu_us_per_frame: voice
                    .filter(|_| text.is_none())
                    .and_then(|voice| each(voice.frames_delivered)),
                cpu_us_per_delivery: text.filter(|_| voice.is_none()).and_then(|text| each(text.deliveries)),
            }
        });
        let cpu_percent = share(after.own_cpu_ns - before.own_cpu_ns) * 100.0;
        let drops = before.drops.zip(after.drops).map(|(from, to)| to.saturating_sub(from));
        let waited = before.own.zip(after.own).map(|(from, to)| to.since(from).waited_ns);
        let mut tool = Tool {
            cpu_percent,
            waited_percent: waited.map(|ns| share(ns) * 100.0),
            socket_drops: drops,
            datagrams_unsent: after.unsent - before.unsent,
            frames_late: own.late,
            frames_skipped: own.skipped,
            is_bottleneck: false,
        };
        tool.is_bottleneck = cpu_percent > BUSY_PERCENT
            || drops.is_some_and(|drops| drops > 0)
            || tool.datagrams_unsent > 0
            || own.late > voice.map_or(0, |voice| voice.frames_sent / LATE_ONE_IN);
        Ok(Run {
            talkers: wish.talkers,
            frame_ms: wish.frame_ms,
            poll_us: u64::try_from(poll.as_micros()).unwrap_or(u64::MAX),
            seconds: wish.seconds as f64,
            voice,
            text,
            server,
            tool,
            connections_lost: after.broken - before.broken,
        })
    }

    fn load(&mut self, wish: Wish, progress: &mut Progress) -> Result<Own> {
        let start = clock::now_ns() + 10_000_000;
        let end = start + wish.seconds * 1_000_000_000;
        let frame_ns = wish.frame_ms * 1_000_000;
        let mut voice = Schedule::new(start, frame_ns, wish.talkers);
        let writers = if wish.texts_per_second > 0.0 { self.plan.clients } else { 0 };
        let round_ns = writers as f64 * 1e9 / wish.texts_per_second.max(1e-9);
        let mut text = Schedule::new(start, round_ns as u64, writers);
        let mut frame = vec![0; self.plan.payload_bytes];
        let mut own = Own::default();
        loop {
            let now_ns = clock::now_ns();
            if now_ns >= end {
                break;
            }
            for _ in 0..TURNS {
                let Some(turn) = voice.take(clock::now_ns()) else { break };
                own.late += u64::from(turn.late_ns > frame_ns);
                if turn.late_ns > SKIPPED_NS {
                    own.skipped += 1;
                } else {
                    self.talk(turn.sender, &mut frame);
                }
            }
            for _ in 0..TURNS {
                let Some(turn) = text.take(clock::now_ns()) else { break };
                if turn.late_ns > SKIPPED_NS || !self.say(turn.sender) {
                    own.texts_unsent += 1;
                }
            }
            let due = [voice.due_ns(), text.due_ns()].into_iter().flatten().fold(end, u64::min);
            self.throng.turn(due, &mut self.book)?;
            progress.show(|| {
                format!("second {}/{}", now_ns.saturating_sub(start) / 1_000_000_000 + 1, wish.seconds)
            });
        }
        let expected = self.book.tally.as_ref().map_or(0, |tally| tally.expected(self.plan.clients));
        loop {
            let now_ns = clock::now_ns();
            let is_heard = self.book.tally.as_ref().is_none_or(|tally| tally.counted.delivered >= expected)
                || now_ns >= end + SETTLING_NS;
            let is_told =
                self.book.texts.as_ref().is_none_or(Texts::is_complete) || now_ns >= end + TEXT_SETTLING_NS;
            if is_heard && is_told {
                return Ok(own);
            }
            self.throng.turn(now_ns + GLANCE_NS, &mut self.book)?;
            progress.show(|| "waiting for the last".to_owned());
        }
    }

    /// One frame of a talker, stamped at the last moment.
    fn talk(&mut self, member: usize, frame: &mut [u8]) {
        let (Some(talker), Some(tally)) =
            (self.book.members.get(member).and_then(|member| member.session), &mut self.book.tally)
        else {
            return;
        };
        let sequence = tally.next_number(member);
        self.throng.act(member, &mut self.book, |client, now| {
            if let Some(time) = frame.first_chunk_mut::<TIME_BYTES>() {
                *time = clock::real_ns().to_be_bytes();
            }
            client.send_voice(now, [VoiceFrame { talker, sequence, end: false, level: 30, opus: frame }]);
        });
    }

    /// One message; false when too many of this sender wait for the server.
    fn say(&mut self, member: usize) -> bool {
        let Some(texts) = &mut self.book.texts else { return false };
        let text = texts.next_text(member, clock::real_ns());
        // Before it is said: its acknowledgement may come at once.
        let is_taken = self.throng.client(member).is_some_and(|client| client.room_for_messages() > 0);
        if is_taken {
            texts.note_said(member);
            self.throng.act(member, &mut self.book, |client, _| client.say(PlaceId::FIRST, &text).is_ok());
        }
        is_taken
    }

    fn moment(&self) -> Result<Moment> {
        let (mut by_udp, mut by_tcp) = (0, 0);
        for member in 0..self.throng.len() {
            let stats = self.throng.client(member).map(|client| client.stats()).unwrap_or_default();
            by_udp += stats.udp_received;
            by_tcp += stats.tcp_received;
        }
        Ok(Moment {
            at_ns: clock::now_ns(),
            own_cpu_ns: own_cpu_ns(),
            own: Process::own().cpu().ok(),
            server: self
                .plan
                .server
                .map(Process::cpu)
                .transpose()
                .context("the server cannot be measured")?,
            drops: self.throng.kernel_drops(),
            unsent: self.throng.datagram_stats().unsent,
            by_udp,
            by_tcp,
            broken: self.book.broken,
        })
    }

    /// Why the first connection that broke did.
    pub(crate) fn why_lost(&self) -> Option<&str> {
        self.book.lost.as_deref()
    }

    /// Everybody leaves.
    pub(crate) fn leave(mut self, progress: &mut Progress) -> Result<()> {
        self.drain(progress)?;
        let end = clock::now_ns() + GOODBYE_NS;
        for member in 0..self.throng.len() {
            self.throng.act(member, &mut self.book, |client, now| client.quit(now));
            // What has arrived meanwhile is to find room.
            self.throng.turn(0, &mut self.book)?;
            progress.show(|| format!("leaving {member}/{}", self.plan.clients));
        }
        while self.book.ended < self.throng.len() && clock::now_ns() < end {
            self.throng.turn(clock::now_ns() + GLANCE_NS, &mut self.book)?;
            progress.show(|| format!("leaving {}/{}", self.book.ended, self.plan.clients));
        }
        Ok(())
    }
}

/// What the load itself did wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    late: u64,
    skipped: u64,
    texts_unsent: u64,
}

/// How often to look when a listener is sent as much as this, a datagram for each frame.
fn poll(wish: Wish, rooms: usize) -> Duration {
    let talkers = wish.talkers.div_ceil(rooms).max(1) as u64;
    Duration::from_micros(WORTH_A_LOOK * wish.frame_ms * 1000 / talkers).clamp(POLL_LEAST, POLL_MOST)
}

fn seconds_since(start_ns: u64) -> f64 {
    Duration::from_nanos(clock::now_ns() - start_ns).as_secs_f64()
}

fn voice(tally: &Tally, clients: usize, wish: Wish, before: Moment, after: Moment) -> Voice {
    let (expected, counted) = (tally.expected(clients), tally.counted);
    let lost = expected.saturating_sub(counted.delivered);
    let percent = |lost: u64, of: u64| lost as f64 * 100.0 / of.max(1) as f64;
    let worst = tally.each(clients).map(|(expected, delivered)| {
        percent(u64::from(expected.saturating_sub(delivered)), u64::from(expected))
    });
    let datagrams = after.by_udp - before.by_udp;
    Voice {
        frames_sent: tally.sent(),
        frames_expected: expected,
        frames_delivered: counted.delivered,
        frames_lost: lost,
        loss_percent: percent(lost, expected),
        worst_loss_percent: worst.fold(0.0, f64::max),
        frames_doubled: counted.doubled,
        frames_too_old: counted.too_old,
        frames_strange: counted.strange,
        frames_per_second: counted.delivered as f64 / wish.seconds as f64,
        datagrams_received: datagrams,
        datagrams_per_second: datagrams as f64 / wish.seconds as f64,
        tcp_received: after.by_tcp - before.by_tcp,
        delay: tally.delays.percentiles(),
    }
}

/// What befell a client without a connection that ended so.
fn unconnected(why: Option<&str>) -> String {
    let nobody_listens = io::Error::from(Errno::CONNREFUSED).to_string();
    match why {
        Some(why) if *why == nobody_listens => {
            format!("could not connect: {why}; is the server running?")
        }
        Some(why) => format!("could not connect: {why}"),
        None => "got no answer; is the server running, and is the address right?".to_owned(),
    }
}

fn text(texts: &Texts, unsent: u64, wish: Wish) -> Text {
    let (seconds, wrong) = (wish.seconds as f64, texts.verdict());
    Text {
        wanted_per_second: wish.texts_per_second,
        messages_sent: texts.said(),
        messages_per_second: texts.said() as f64 / seconds,
        messages_unsent: unsent,
        deliveries_expected: texts.expected(),
        deliveries: texts.delivered,
        deliveries_per_second: texts.delivered as f64 / seconds,
        lost: wrong.lost,
        doubled: wrong.doubled,
        reordered: wrong.reordered,
        delay: texts.delays.percentiles(),
        acknowledged: texts.acknowledgements.percentiles(),
    }
}

impl Book {
    /// # Errors
    /// When somebody did not get in, or had to leave.
    fn check(&self) -> Result<()> {
        let Some(what) = &self.missing else { return Ok(()) };
        bail!("{what}")
    }

    /// Notes what befell a client. One that never was in has the number after all who are.
    fn miss(&mut self, member: usize, what: &str) {
        let was_in = self.members.get(member).is_some_and(|member| member.session.is_some());
        let number = if was_in { member } else { self.welcomed } + 1;
        let clients = self.members.len();
        self.missing.get_or_insert_with(|| format!("client {number} of {clients} {what}"));
    }
}

impl Handler for Book {
    fn event(&mut self, member: usize, event: ClientEvent) {
        match event {
            ClientEvent::Said { text, own, .. } => {
                if let Some(texts) = &mut self.texts {
                    texts.take(member, &text, own.is_some(), clock::real_ns());
                }
            }
            ClientEvent::Welcome { session, again, .. } => {
                self.welcomed += usize::from(!again);
                if let Some(member) = self.members.get_mut(member) {
                    member.session = Some(session);
                }
            }
            ClientEvent::Path(path) => {
                if let Some(member) = self.members.get_mut(member) {
                    self.by_udp -= usize::from(member.is_by_udp);
                    member.is_by_udp = path == VoicePath::Udp;
                    self.by_udp += usize::from(member.is_by_udp);
                }
            }
            ClientEvent::Reconnecting { why, .. } => {
                self.broken += 1;
                if let Some(why) = why {
                    self.lost.get_or_insert(why);
                }
            }
            ClientEvent::Refused { why, .. } | ClientEvent::NotEntered { why, .. } => {
                self.miss(member, &format!("was not let in: {why}"));
            }
            ClientEvent::Ended(reason) => {
                self.ended += 1;
                match reason {
                    EndReason::Quit => {}
                    EndReason::Unreachable => self.miss(member, &unconnected(self.lost.as_deref())),
                    EndReason::Refused => self.miss(member, "was not let in"),
                    EndReason::Protocol => {
                        self.miss(member, "was not let in: the server does not speak chinwag/1");
                    }
                    EndReason::Replaced => {
                        self.miss(member, "had to leave: its session went on elsewhere");
                    }
                    EndReason::Removed => {
                        self.miss(member, "had to leave: the server's operator removed it");
                    }
                }
            }
            ClientEvent::Entered { .. }
            | ClientEvent::Changed { .. }
            | ClientEvent::Topic { .. }
            | ClientEvent::Rooms(_)
            | ClientEvent::NotDone { .. }
            | ClientEvent::Joined { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::NotSaid { .. }
            | ClientEvent::Missed { .. }
            | ClientEvent::Meanwhile { .. }
            | ClientEvent::History(_)
            | ClientEvent::Reported(_) => {}
        }
    }

    fn voice(&mut self, member: usize, payload: &[u8], received_ns: u64) {
        self.payloads += 1;
        if let Some(tally) = &mut self.tally {
            tally.take(member, payload, received_ns);
        }
    }

    fn lost(&mut self, _member: usize, why: &str) {
        self.lost.get_or_insert_with(|| why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_looked_at_as_often_as_it_pays() {
        for (talkers, frame_ms, rooms, us) in [
            (0, 20, 1, 20_000),
            (4, 20, 1, 20_000),
            (50, 20, 1, 3_200),
            (50, 20, 10, 20_000),
            (100, 10, 1, 800),
            (1000, 10, 1, 300),
        ] {
            let wish = Wish { talkers, frame_ms, texts_per_second: 0.0, seconds: 1 };
            assert_eq!(poll(wish, rooms), Duration::from_micros(us), "{talkers} {frame_ms} {rooms}");
        }
    }
}
