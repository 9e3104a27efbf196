//! `chinwag-load`: many clients against one server, to see what it delivers.
//!
//! First form: a thread for each client, so a few hundred clients at most. Its own work is part of what it measures on a
//! small machine; compare runs with each other, not with anything else.

mod member;

use std::{
    io::Write as _,
    process::ExitCode,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chinwag_proto::link::{Fingerprint, Link};
use clap::Parser;

use crate::member::{Measured, Plan};

/// Drives many clients against a chinwag server and tells how much of what was sent arrived, and how late.
#[derive(Debug, Parser)]
#[command(name = "chinwag-load", version)]
struct Arguments {
    /// The server: HOST, HOST:PORT or a chinwag:// link
    #[arg(value_name = "SERVER")]
    server: String,

    /// How many clients join
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=500))]
    clients: u32,

    /// How many of them talk all the time
    #[arg(long, value_name = "K", default_value_t = 1)]
    talkers: u32,

    /// Milliseconds between two frames of a talker
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=1000))]
    frame_ms: u64,

    /// Bytes of voice in a frame
    #[arg(long, value_name = "BYTES", default_value_t = 80, value_parser = clap::value_parser!(u64).range(8..=1000))]
    payload: u64,

    /// For how long they talk
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// The server's fingerprint (64 hexadecimal digits)
    #[arg(long, value_name = "HEX", value_parser = Fingerprint::parse)]
    fingerprint: Option<Fingerprint>,

    /// Exit with 1 when more than this share of the frames is lost, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0)]
    max_loss: f64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A closed standard error is no reason to die differently.
            let _ = writeln!(std::io::stderr(), "chinwag-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when the loss is within its bound.
fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.talkers <= arguments.clients, "--talkers is more than --clients");
    let mut link = Link::parse(&arguments.server).context("SERVER")?;
    link.fingerprint = arguments.fingerprint.or(link.fingerprint);
    // What is trusted in a test is not to be trusted by this user ever after.
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let everybody_is_in = Arc::new(Barrier::new(arguments.clients as usize + 1));
    let is_over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..arguments.clients)
        .map(|number| {
            let plan = Plan {
                link: link.clone(),
                known_hosts: folder.path().join("known_hosts"),
                name: format!("load{number}"),
                frame_every: (number < arguments.talkers).then(|| Duration::from_millis(arguments.frame_ms)),
                payload: usize::try_from(arguments.payload).unwrap_or(80),
                everybody_is_in: Arc::clone(&everybody_is_in),
                is_over: Arc::clone(&is_over),
            };
            thread::spawn(move || member::run(plan))
        })
        .collect();
    everybody_is_in.wait();
    thread::sleep(Duration::from_secs(arguments.seconds));
    is_over.store(true, Ordering::Relaxed);
    let mut total = Measured::default();
    for thread in threads {
        match thread.join() {
            Ok(measured) => total.add(measured?),
            Err(_) => anyhow::bail!("a client's thread failed"),
        }
    }
    let expected = total.sent * u64::from(arguments.clients - 1);
    let lost = expected.saturating_sub(total.received);
    let loss = lost as f64 * 100.0 / (expected.max(1)) as f64;
    total.delays_us.sort_unstable();
    println!("clients={} talkers={} seconds={}", arguments.clients, arguments.talkers, arguments.seconds);
    println!("frames sent={} delivered={} lost={lost} ({loss:.3} %)", total.sent, total.received);
    println!("delivered per second={:.0}", total.received as f64 / arguments.seconds as f64);
    println!(
        "delay ms p50={:.2} p99={:.2} max={:.2}",
        total.delay_ms(0.5),
        total.delay_ms(0.99),
        total.delay_ms(1.0)
    );
    Ok(loss <= arguments.max_loss)
}
