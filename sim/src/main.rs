//! `chinwag-sim`: simulates a server and its clients, or a call over a bad network, in virtual time; one seed is one
//! history, and a swarm is many.

mod batch;
mod bench;
#[expect(clippy::disallowed_types, reason = "it stands between real sockets")]
mod relay;
mod swarm;
mod voice_command;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use chinwag_proto::hooks::Mistake;
use chinwag_sim::{MAX_CLIENTS, MAX_ROOMS, MAX_SECONDS, Report, Scenario, Script, Spec};
use clap::{Args, Parser, Subcommand};

/// Simulates a chinwag server and its clients; the same numbers give the same history
#[derive(Debug, Parser)]
#[command(name = "chinwag-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate one history and check that all that must hold does
    Run(Box<Run>),
    /// Simulate many histories, each of another world, and make the first that fails as small as can be
    Swarm(swarm::Swarm),
    /// Make mistakes in the core on purpose, and see whether swarms find them
    Mistakes(swarm::Mistakes),
    /// Tell how fast the simulator is on one core
    Bench(bench::Bench),
    /// What a swarm starts for each core
    #[command(hide = true)]
    Batch(batch::Batch),
    /// Stand between real programs and do to their sockets what the simulated network does to simulated ones
    ///
    /// It takes orders, a line each, on its standard input: cut; reset; rebind; part MS, or part MS up or part MS down
    /// (one way only); heal, which ends a cut and a partition; net KEY=VALUE,...; quit, which tells the counts. It says
    /// what it did, a line each.
    Relay(Box<relay::Relay>),
    /// Hear what WAV files sound like over a bad network, through all that voice goes through
    Voice(Box<voice_command::Voice>),
}

#[derive(Debug, Args)]
struct Run {
    /// What all chance comes from; what is not given below comes from it, too, as in a swarm
    #[arg(long, value_name = "N")]
    seed: u64,
    /// How many clients join
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CLIENTS)))]
    clients: Option<u32>,
    /// Over how many rooms they are spread
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROOMS)))]
    rooms: Option<u32>,
    /// How many simulated seconds they talk and faults last
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
    seconds: Option<u32>,
    /// The network, and what goes wrong: delay and jitter in ms (one way); loss, dup, corrupt and the like in %; cut,
    /// crash, pause and the like, the mean seconds between two of them. A wrong key lists all
    #[arg(long, value_name = "KEY=VALUE,...")]
    net: Option<Spec>,
    /// What is done besides, step by step: what a test or a fuzzer printed
    #[arg(long, value_name = "HEX", default_value_t, hide_default_value = true)]
    script: Script,
    /// A mistake that the core makes on purpose (builds with debug assertions only)
    #[arg(long, value_name = "NAME", value_parser = mistake)]
    mistake: Option<Mistake>,
    /// Write what happens, a line for each thing, to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Reads the name of a mistake.
fn mistake(name: &str) -> Result<Mistake, String> {
    let mut all = Mistake::ALL.iter().map(|(mistake, _)| *mistake);
    all.find(|mistake| format!("{mistake:?}") == name).ok_or_else(|| {
        let names: Vec<_> = Mistake::ALL.iter().map(|(mistake, _)| format!("{mistake:?}")).collect();
        format!("there is no such mistake; there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => simulate(&run),
        Command::Swarm(swarm) => swarm.run(),
        Command::Mistakes(mistakes) => mistakes.run(),
        Command::Bench(bench) => bench.run(),
        Command::Batch(batch) => batch.run(),
        Command::Relay(relay) => relay.run(),
        Command::Voice(voice) => voice.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chinwag-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long it took is told to people only")]
fn simulate(run: &Run) -> anyhow::Result<()> {
    let Run { seed, clients, rooms, seconds, net, ref script, mistake, ref trace } = *run;
    let drawn = Scenario::from_seed(seed);
    let scenario = Scenario {
        seed,
        clients: clients.unwrap_or(drawn.clients),
        rooms: rooms.unwrap_or(drawn.rooms),
        seconds: seconds.unwrap_or(drawn.seconds),
        spec: net.unwrap_or(drawn.spec),
        script: script.clone(),
        mistake,
    };
    let open = |path: &PathBuf| {
        File::create(path).map(BufWriter::new).with_context(|| format!("cannot write {}", path.display()))
    };
    let mut file = trace.as_ref().map(open).transpose()?;
    let started = std::time::Instant::now();
    let report = chinwag_sim::run(&scenario, file.as_mut().map(|file| file as _))?;
    match print(&report, started.elapsed().as_secs_f64()) {
        // Whoever reads the first line only has what he wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write the report"),
    }
}

fn print(report: &Report, wall_s: f64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Report { trace, events, simulated_us, counts, tally } = report;
    let simulated_s = simulated_us / 1_000_000;
    writeln!(out, "trace={trace:016x} events={events} simulated_s={simulated_s} wall_s={wall_s:.3}")?;
    writeln!(
        out,
        "texts={} texts_delivered={} voice_sent={} voice_expected={} voice_delivered={} voice_by_tcp={} \
         voice_repeated={} voice_ancient={} voice_dropped={} voice_unsent={} frames_played={} frames_concealed={}",
        counts.texts,
        counts.texts_delivered,
        counts.voice_sent,
        counts.voice_expected,
        counts.voice_delivered,
        counts.voice_by_tcp,
        counts.voice_repeated,
        counts.voice_ancient,
        counts.voice_dropped,
        counts.voice_unsent,
        counts.frames_played,
        counts.frames_concealed
    )?;
    writeln!(
        out,
        "datagrams={} lost={} doubled={} replayed={} corrupted={} refused={} homeless={} astray={} too_large={}",
        counts.datagrams,
        counts.datagrams_lost,
        counts.datagrams_doubled,
        counts.datagrams_replayed,
        counts.datagrams_corrupted,
        counts.datagrams_refused,
        counts.datagrams_homeless,
        counts.datagrams_astray,
        counts.datagrams_too_large
    )?;
    writeln!(
        out,
        "cuts={} reconnects={} path_changes={} pauses={} missed={}",
        counts.cuts, counts.reconnects, counts.path_changes, counts.pauses, counts.missed
    )?;
    let happened = chinwag_sim::Sometimes::ALL.iter().filter(|(what, _)| tally.of(*what) > 0);
    let happened: Vec<_> = happened.map(|(what, _)| format!("{what:?}={}", tally.of(*what))).collect();
    writeln!(out, "{}", happened.join(" "))
}
