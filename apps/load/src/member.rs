//! One client of the load: joins, perhaps talks, counts what it hears.

use std::{
    path::PathBuf,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use chinwag_proto::{
    Instant,
    client::{Client, ClientConfig, ClientEvent, EndReason},
    link::Link,
    wire::voice::{Frames, VoiceFrame},
};
use chinwag_transport_mio::{
    client::{ClientLoop, ClientOptions, Handler},
    clock,
    trust::KnownHosts,
};

/// Delays kept by one client; from then on a run is long enough for percentiles.
const DELAYS: usize = 200_000;
/// What was sent last has so long to arrive.
const SETTLING: Duration = Duration::from_millis(500);
/// How often a client that does not talk looks whether it is over.
const GLANCE: Duration = Duration::from_millis(100);

/// What one client does.
pub(crate) struct Plan {
    pub(crate) link: Link,
    pub(crate) known_hosts: PathBuf,
    pub(crate) name: String,
    pub(crate) frame_every: Option<Duration>,
    pub(crate) payload: usize,
    pub(crate) everybody_is_in: Arc<Barrier>,
    pub(crate) is_over: Arc<AtomicBool>,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) delays_us: Vec<u64>,
}

impl Measured {
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.delays_us.extend(other.delays_us);
    }

    /// The delay that this share of the frames stayed below; call with the delays sorted.
    pub(crate) fn delay_ms(&self, share: f64) -> f64 {
        let last = self.delays_us.len().saturating_sub(1);
        let delay_us = self.delays_us.get((last as f64 * share) as usize).copied().unwrap_or(0);
        delay_us as f64 / 1000.0
    }
}

pub(crate) fn run(plan: Plan) -> Result<Measured> {
    let config =
        ClientConfig { name: plan.name.clone(), room: String::new(), software: "chinwag-load".into() };
    let known_hosts = KnownHosts::new(&plan.known_hosts);
    let mut client = ClientLoop::new(ClientOptions { link: plan.link.clone(), known_hosts, config })?;
    let (waker, is_over) = (client.waker(), Arc::clone(&plan.is_over));
    let tick = plan.frame_every.unwrap_or(GLANCE);
    // Ends with the process, or when the loop that it wakes is gone.
    thread::spawn(move || {
        let mut next = std::time::Instant::now();
        loop {
            next += tick;
            thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
            if waker.wake().is_err() {
                return;
            }
        }
    });
    let mut member = Member {
        frame: vec![0; plan.payload],
        every: plan.frame_every,
        everybody_is_in: Some(plan.everybody_is_in),
        is_over,
        is_in: false,
        next: Instant::ZERO,
        ended: None,
        sequence: 0,
        trouble: String::new(),
        measured: Measured::default(),
    };
    let end = client.run(&mut member)?;
    ensure!(end == EndReason::Quit, "{} could not take part: {end:?} {}", plan.name, member.trouble);
    Ok(member.measured)
}

struct Member {
    frame: Vec<u8>,
    every: Option<Duration>,
    everybody_is_in: Option<Arc<Barrier>>,
    is_over: Arc<AtomicBool>,
    is_in: bool,
    next: Instant,
    ended: Option<Instant>,
    sequence: u32,
    trouble: String,
    measured: Measured,
}

impl Handler for Member {
    fn event(&mut self, _now: Instant, event: ClientEvent) {
        match event {
            ClientEvent::Path(_) => self.is_in = true,
            ClientEvent::Refused { why, .. } => self.trouble = why,
            ClientEvent::Ended(_) => self.meet(),
            ClientEvent::Welcome { .. }
            | ClientEvent::Joined { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::Said { .. }
            | ClientEvent::NotSaid { .. }
            | ClientEvent::Missed { .. }
            | ClientEvent::Reconnecting { .. }
            | ClientEvent::Reported(_) => {}
        }
    }

    fn voice(&mut self, _now: Instant, payload: &[u8]) {
        let now_ns = clock::now_ns();
        for frame in Frames::parse(payload).into_iter().flatten() {
            self.measured.received += 1;
            if let Some(sent_ns) = frame.opus.first_chunk().copied().map(u64::from_be_bytes)
                && self.measured.delays_us.len() < DELAYS
            {
                self.measured.delays_us.push(now_ns.saturating_sub(sent_ns) / 1000);
            }
        }
    }

    fn notice(&mut self, text: &str) {
        text.clone_into(&mut self.trouble);
    }

    fn tend(&mut self, now: Instant, client: &mut Client) {
        if self.is_in {
            self.meet();
        }
        if self.is_over.load(Ordering::Relaxed) {
            if now >= *self.ended.get_or_insert(now) + SETTLING {
                client.quit(now);
            }
            return;
        }
        let (Some(every), Some(talker)) = (self.every, client.session()) else { return };
        if self.everybody_is_in.is_none() && now >= self.next {
            self.next = self.next.max(now - every * 2) + every;
            if let Some(time) = self.frame.first_chunk_mut() {
                *time = clock::now_ns().to_be_bytes();
            }
            self.sequence = self.sequence.wrapping_add(1);
            let frame =
                VoiceFrame { talker, sequence: self.sequence, end: false, level: 30, opus: &self.frame };
            client.send_voice(now, [frame]);
            self.measured.sent += 1;
        }
    }
}

impl Member {
    /// Waits until everybody is in, or is known not to come in.
    fn meet(&mut self) {
        if let Some(everybody_is_in) = self.everybody_is_in.take() {
            everybody_is_in.wait();
        }
    }
}
