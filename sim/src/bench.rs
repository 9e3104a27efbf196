//! How fast the simulator is: three figures, each the best of some tries, since whatever else the machine does only makes it slower.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Instant,
};

use anyhow::Context as _;
use chinwag_sim::{Report, Scenario};
use clap::Args;

/// Tries for each figure.
const TRIES: u32 = 3;
/// Worlds of a swarm.
const SWARM_SEEDS: u64 = 500;
/// Simulated seconds of a room.
const ROOM_SECONDS: u32 = 3600;

#[derive(Debug, Args)]
pub(crate) struct Bench {}

/// What a try came to.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    events: u64,
    simulated_us: u64,
    wall_s: f64,
}

impl Bench {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let swarm = best(&(0..SWARM_SEEDS).map(Scenario::from_seed).collect::<Vec<_>>())?;
        // Eight people, each of whom writes something every three seconds on the mean, floods included.
        let text = best(&[room(8, "talk=0,text=20,restless=0")?])?;
        // The voices are made up: the codec has no part in it, the jitter buffers do.
        let talk = best(&[room(2, "talk=100,text=0,restless=0")?])?;
        let mut lines = String::new();
        if !cfg!(debug_assertions) {
            writeln!(lines, "without assertions: build with --profile sim for the figures that count")?;
        }
        let million_events = swarm.events as f64 / swarm.wall_s / 1e6;
        writeln!(lines, "{SWARM_SEEDS} worlds of a swarm: {million_events:.2} million events a second")?;
        let hours = |work: Work| work.simulated_us as f64 / 3.6e9 / work.wall_s;
        writeln!(lines, "text of 8 clients: {:.2} simulated hours a second", hours(text))?;
        writeln!(lines, "two talkers without codec: {:.2} simulated hours a second", hours(talk))?;
        match io::stdout().lock().write_all(lines.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.context("cannot write the figures"),
        }
    }
}

/// People in one room, over a network without faults.
fn room(clients: u32, net: &str) -> anyhow::Result<Scenario> {
    Ok(Scenario { clients, rooms: 1, seconds: ROOM_SECONDS, spec: net.parse()?, ..Scenario::from_seed(1) })
}

/// Simulates all scenarios some times over; the quickest try.
#[expect(clippy::disallowed_methods, reason = "how long it takes is the question")]
fn best(scenarios: &[Scenario]) -> anyhow::Result<Work> {
    let mut best = Work { wall_s: f64::INFINITY, ..Work::default() };
    for _ in 0..TRIES {
        let started = Instant::now();
        let mut work = Work::default();
        for scenario in scenarios {
            let Report { events, simulated_us, .. } = chinwag_sim::run(scenario, None)?;
            work.events += events;
            work.simulated_us += simulated_us;
        }
        work.wall_s = started.elapsed().as_secs_f64();
        if work.wall_s < best.wall_s {
            best = work;
        }
    }
    Ok(best)
}
