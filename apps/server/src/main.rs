//! `chinwag-server`: arguments, what the operator sees, and nothing of the protocol.

mod console;
mod duo;
mod gateway;
mod operator;
mod printer;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use chinwag_audio::{gateway::PcmFormat, limits::PCM_RATES_HZ};
use chinwag_proto::limits;
use chinwag_terminal::Terminal;
use chinwag_transport_mio::{
    descriptors,
    identity::Identity,
    server::{ServerLoop, ServerOptions, Service},
};
use clap::{Parser, Subcommand};
use etcetera::BaseStrategy as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    console::Console,
    gateway::RoomVoice,
    printer::{Kind, Printer},
};

/// Threads that pass voice on, unless told otherwise: a guess at what is more than any server's network carries.
const MAX_VOICE_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Text and voice chat on your own machine: the server.
///
/// Starts without any configuration. On the first start it makes itself a certificate; friends join with the
/// chinwag:// link that it prints, which also proves to them that they reached this server and no other.
#[derive(Debug, Parser)]
#[command(
    name = "chinwag-server",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where to listen, TCP and UDP; may be given several times. Port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_values_t = [default_address()], value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Where to let in the classic group chat's programs, and nc: plain TCP, which anybody on the way can read. Off unless given; its
    /// usual port is 1025
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    classic_text: Vec<SocketAddr>,

    /// Where to take their voice: as plain, TCP. Its usual port is 1026
    #[arg(long, value_name = "ADDR:PORT", value_parser = address, requires = "classic_text")]
    classic_voice: Vec<SocketAddr>,

    /// How many samples a second the classic programs send and play
    #[arg(long, value_name = "HZ", default_value_t = PcmFormat::default().rate_hz, requires = "classic_voice",
          value_parser = clap::value_parser!(u32).range(i64::from(*PCM_RATES_HZ.start())..=i64::from(*PCM_RATES_HZ.end())))]
    classic_rate: u32,

    /// How many channels
    #[arg(long, value_name = "1|2", default_value_t = PcmFormat::default().channels, requires = "classic_voice",
          value_parser = clap::value_parser!(u16).range(1..=2))]
    classic_channels: u16,

    /// Take a keyboard: what you type is said to everybody, what they say is shown here; /help tells more
    #[arg(long)]
    console: bool,

    /// The folder for the certificate and its key [default: the platform's data folder, ~/.local/share/chinwag on Linux]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// A certificate chain to use instead of the server's own
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key that belongs to --cert
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,

    /// How many may be in at the same time
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=limits::SESSIONS as i64))]
    max_clients: u32,

    /// Milliseconds that voice may wait for more of it, so that several talkers share a datagram: less work where very many
    /// talk at once, more delay for all
    #[arg(long, value_name = "MS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=limits::VOICE_HOLD.as_millis() as u64))]
    voice_hold_ms: u64,

    /// Threads that pass voice on; unless told otherwise one for each processor, at most 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    voice_threads: Option<u16>,

    /// How much is logged on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a one-to-one chat, for the old Python programs and for `chinwag duo`; nothing of it is encrypted
    ///
    /// One client at a time. Lines that you type go to it; quit ends the server.
    Duo {
        /// The address of this machine to listen on: 0.0.0.0 for all of IPv4, localhost for this machine alone
        host: String,
        /// The port to listen on; 0 picks a free one
        #[arg(value_parser = port)]
        port: u16,
    },
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535, such as 1025".to_owned())
}

/// Open files that are no clients: newcomers, listeners, the rest.
const OTHER_FILES: u64 = limits::PENDING_HELLOS as u64 + 32;

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = limits::DEFAULT_PORT;
        format!("an IP address and a port are needed, such as 0.0.0.0:{port} or [::]:{port}")
    })
}

fn default_address() -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), limits::DEFAULT_PORT)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal::new();
    if let Some(Command::Duo { host, port }) = &arguments.command {
        let result = duo::serve(&terminal, host, *port);
        terminal.close();
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // A closed standard error is no reason to die differently.
                let _ = writeln!(io::stderr(), "chinwag-server: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let is_well = match (Printer::new(terminal.stdout()), Printer::new(terminal.stderr())) {
        (Ok(out), Ok(log)) => {
            tracing_subscriber::fmt()
                .with_max_level(arguments.log)
                .with_writer(log.clone())
                .with_ansi(io::stderr().is_terminal())
                .with_target(false)
                .log_internal_errors(false)
                .init();
            let result = serve(&arguments, &terminal, &Console::new(out.clone()));
            if let Err(error) = &result {
                log.line(Kind::Start, &format!("chinwag-server: {error:#}"));
            }
            out.close();
            log.close();
            result.is_ok()
        }
        (Err(error), _) | (_, Err(error)) => {
            // A closed standard error is no reason to die differently.
            let _ = writeln!(io::stderr(), "chinwag-server: no thread can be started: {error}");
            false
        }
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(arguments: &Arguments, terminal: &Terminal, console: &Console) -> Result<()> {
    let identity = identity(arguments)?;
    let fingerprint = identity.fingerprint();
    let max_clients = usize::try_from(arguments.max_clients)?;
    if let Some(limit) = descriptors::raise_limit()
        && limit < u64::from(arguments.max_clients) + OTHER_FILES
    {
        tracing::warn!(
            "this process may open {limit} files only (ulimit -n): fewer than --max-clients may come in"
        );
    }
    let processors = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MAX_VOICE_THREADS);
    let voice_threads = arguments
        .voice_threads
        .and_then(|threads| NonZeroUsize::new(threads.into()))
        .unwrap_or_else(processors);
    let bind = |listen: Vec<SocketAddr>| {
        let (classic_text, classic_voice) = (arguments.classic_text.clone(), arguments.classic_voice.clone());
        ServerLoop::bind(ServerOptions {
            listen,
            classic_text,
            classic_voice,
            identity: identity.clone(),
            max_clients,
            voice_hold: Duration::from_millis(arguments.voice_hold_ms),
            voice_threads,
        })
    };
    let mut server = match bind(arguments.listen.clone()) {
        // A machine without IPv6 is served all the same, unless IPv6 was asked for.
        Err(_) if arguments.listen == [default_address()] && !has_ipv6() => {
            bind(vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), limits::DEFAULT_PORT)])
        }
        result => result,
    }?;
    let format = PcmFormat { rate_hz: arguments.classic_rate, channels: arguments.classic_channels };
    server.set_gateway(Box::new(RoomVoice::new(format)), RoomVoice::pace(format));
    console.line("Waiting for connection...");
    for address in server.addresses(Service::Native) {
        console.line(&format!("listening on {address}, TCP and UDP"));
    }
    for address in server.addresses(Service::ClassicText) {
        console.line(&format!("listening on {address} for classic programs, unencrypted"));
    }
    for address in server.addresses(Service::ClassicVoice) {
        let PcmFormat { rate_hz, channels } = format;
        let channels = if channels == 1 { "mono" } else { "stereo" };
        console.line(&format!("listening on {address} for their voice, {rate_hz} Hz {channels}"));
    }
    console.line(&format!("fingerprint {fingerprint}"));
    for link in console::links(server.addresses(Service::Native), fingerprint) {
        console.line(&format!("friends join with: chinwag '{link}'"));
    }
    // As he typed them, where they are not edited here.
    let sees_own_lines = arguments.console && terminal.is_interactive() && !terminal.is_edited();
    if arguments.console {
        server.seat_operator();
        operator::listen(terminal, server.operator_handle(), console.clone());
        console.line("what you type is said to everybody; /help tells more");
    }
    let result = server
        .run(&mut |observation| console.observe(&observation, sees_own_lines))
        .context("the server stopped");
    console.summary(&server.server().stats(), &server.voice_stats());
    result
}

fn identity(arguments: &Arguments) -> Result<Identity> {
    if let (Some(certificate), Some(key)) = (&arguments.cert, &arguments.key) {
        return Ok(Identity::from_pem_files(certificate, key)?);
    }
    let folder = match &arguments.data {
        Some(folder) => folder.clone(),
        None => etcetera::choose_base_strategy()
            .context("no home folder is known; name a data folder with --data DIR")?
            .data_dir()
            .join("chinwag"),
    };
    Ok(Identity::load_or_make(&folder)?)
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), 0)).is_ok()
}
