//! `chinwag-sim`: simulates a server and its clients, or a call over a bad network, in virtual time; one seed is one
//! history.

mod voice_command;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use chinwag_sim::{MAX_CLIENTS, MAX_ROOMS, MAX_SECONDS, NetSpec, Report, Scenario};
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
    Run(Run),
    /// Hear what WAV files sound like over a bad network, through all that voice goes through
    Voice(Box<voice_command::Voice>),
}

#[derive(Debug, Args)]
struct Run {
    /// What all chance comes from
    #[arg(long, value_name = "N")]
    seed: u64,
    /// How many clients join
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CLIENTS)))]
    clients: u32,
    /// Over how many rooms they are spread
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROOMS)))]
    rooms: u32,
    /// How many simulated seconds they talk and faults last
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
    seconds: u32,
    /// The network: delay and jitter in ms (one way); loss, dup and corrupt in % of datagrams; stall in % of TCP
    /// segments; cut, the mean seconds between cuts of one link
    #[arg(long, value_name = "KEY=VALUE,...", default_value = "delay=20")]
    net: NetSpec,
    /// Write what happens, a line for each thing, to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => simulate(&run),
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
    let Run { seed, clients, rooms, seconds, net, ref trace } = *run;
    let scenario = Scenario { seed, clients, rooms, seconds, net };
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
    let Report { trace, events, simulated_us, counts } = report;
    let simulated_s = simulated_us / 1_000_000;
    writeln!(out, "trace={trace:016x} events={events} simulated_s={simulated_s} wall_s={wall_s:.3}")?;
    writeln!(
        out,
        "texts={} texts_delivered={} voice_sent={} voice_expected={} voice_delivered={} voice_by_tcp={} \
         voice_repeated={} voice_ancient={} voice_dropped={} voice_unsent={}",
        counts.texts,
        counts.texts_delivered,
        counts.voice_sent,
        counts.voice_expected,
        counts.voice_delivered,
        counts.voice_by_tcp,
        counts.voice_repeated,
        counts.voice_ancient,
        counts.voice_dropped,
        counts.voice_unsent
    )?;
    writeln!(
        out,
        "datagrams={} lost={} doubled={} corrupted={} refused={} homeless={} too_large={}",
        counts.datagrams,
        counts.datagrams_lost,
        counts.datagrams_doubled,
        counts.datagrams_corrupted,
        counts.datagrams_refused,
        counts.datagrams_homeless,
        counts.datagrams_too_large
    )?;
    writeln!(
        out,
        "cuts={} reconnects={} path_changes={} pauses={} missed={}",
        counts.cuts, counts.reconnects, counts.path_changes, counts.pauses, counts.missed
    )
}
