//! `chinwag-server`: what the operator sees, and nothing of the protocol.

mod console;
mod duo;
mod gateway;
mod history;
mod operator;
mod printer;
mod settings;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use chinwag_audio::gateway::PcmFormat;
use chinwag_proto::limits;
use chinwag_settings::{Problems, Refusal, Settled};
use chinwag_terminal::Terminal;
use chinwag_transport_mio::{
    descriptors,
    identity::{Identity, IdentityError},
    server::{ServerLoop, ServerOptions, Service},
};
use etcetera::BaseStrategy as _;

use crate::{
    console::Console,
    gateway::RoomVoice,
    printer::{Kind, Printer},
    settings::{Command, Settings, default_address},
};

/// Threads that pass voice on, unless told otherwise: a guess at what is more than any server's network carries.
const MAX_VOICE_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Open files that are no clients: newcomers, listeners, the rest.
const OTHER_FILES: u64 = limits::PENDING_HELLOS as u64 + 32;

fn main() -> ExitCode {
    let (arguments, settled) = settings::read().unwrap_or_else(|refusal| refusal.exit());
    let terminal = Terminal::new();
    match arguments.command {
        Some(Command::CheckConfig { example: true, .. }) => told(print(&settings::example())),
        Some(Command::CheckConfig { settings, .. }) => match listing(&settings, settled) {
            Ok(text) => told(print(&text)),
            Err(refusal) => refusal.exit(),
        },
        Some(Command::Duo { host, port }) => {
            let result = duo::serve(&terminal, &host, port);
            terminal.close();
            told(result)
        }
        Some(Command::Backup { file, place }) => told(history::backup(place.data.as_deref(), &file)),
        Some(Command::Restore { file, place, .. }) => {
            told(history::restore(place.data.as_deref(), file.as_deref()))
        }
        Some(Command::Rooms { place }) => told(history::rooms(place.data.as_deref())),
        Some(Command::RemoveRoom { name, place }) => told(history::remove_room(place.data.as_deref(), &name)),
        Some(Command::Export { place, .. }) => told(history::export(place.data.as_deref())),
        None => run(&arguments.settings, &settled, &terminal),
    }
}

/// Tells on standard error why it failed.
fn told(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is no reason to die differently.
            let _ = writeln!(io::stderr(), "chinwag-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// The settings, if a server can start with them.
fn listing(settings: &Settings, mut settled: Settled) -> Result<String, Refusal> {
    if let Some(Err(error)) = own_identity(settings) {
        return Err(Refusal::from(Problems::one(error.to_string())).with(settings::strangers()));
    }
    if let Ok(folder) = data_folder(None) {
        settled.suppose("data", folder.display().to_string());
    }
    let file = match settled.file() {
        Some(file) => format!("the file is {}", file.display()),
        None => "there is no file".to_owned(),
    };
    let strangers = settings::strangers().into_iter().map(|remark| format!("# {remark}\n"));
    Ok(format!("# Nothing is wrong with the settings; {file}.\n{settled}{}", strangers.collect::<String>()))
}

fn run(settings: &Settings, settled: &Settled, terminal: &Terminal) -> ExitCode {
    let is_well = match (Printer::new(terminal.stdout()), Printer::new(terminal.stderr())) {
        (Ok(out), Ok(log)) => {
            tracing_subscriber::fmt()
                .with_max_level(settings.log)
                .with_writer(log.clone())
                .with_ansi(io::stderr().is_terminal())
                .with_target(false)
                .log_internal_errors(false)
                .init();
            if let Some(file) = settled.file() {
                tracing::info!("settings are from {}", file.display());
            }
            let result = serve(settings, terminal, &Console::new(out.clone()));
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

fn serve(settings: &Settings, terminal: &Terminal, console: &Console) -> Result<()> {
    let identity = identity(settings)?;
    let fingerprint = identity.fingerprint();
    let max_clients = usize::try_from(settings.max_clients)?;
    if let Some(limit) = descriptors::raise_limit()
        && limit < u64::from(settings.max_clients) + OTHER_FILES
    {
        tracing::warn!(
            "this process may open {limit} files only (ulimit -n): fewer than --max-clients may come in"
        );
    }
    let processors = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MAX_VOICE_THREADS);
    let voice_threads = settings
        .voice_threads
        .and_then(|threads| NonZeroUsize::new(threads.into()))
        .unwrap_or_else(processors);
    let bind = |listen: Vec<SocketAddr>| {
        let (classic_text, classic_voice) = (settings.classic_text.clone(), settings.classic_voice.clone());
        ServerLoop::bind(ServerOptions {
            listen,
            classic_text,
            classic_voice,
            identity: identity.clone(),
            max_clients,
            voice_hold: Duration::from_millis(settings.voice_hold_ms),
            voice_threads,
        })
    };
    let mut server = match bind(settings.listen.clone()) {
        // A machine without IPv6 is served all the same, unless IPv6 was asked for.
        Err(_) if settings.listen == [default_address()] && !has_ipv6() => {
            bind(vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), limits::DEFAULT_PORT)])
        }
        result => result,
    }?;
    if let Some(opened) = history::open(settings)? {
        opened.remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
        console.line(&history::summary(&opened));
        server.keep_history(opened)?;
    }
    let format = PcmFormat { rate_hz: settings.classic_rate, channels: settings.classic_channels };
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
    let sees_own_lines = settings.console && terminal.is_interactive() && !terminal.is_edited();
    if settings.console {
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

fn identity(settings: &Settings) -> Result<Identity> {
    match own_identity(settings) {
        Some(own) => Ok(own?),
        None => Ok(Identity::load_or_make(&data_folder(settings.data.as_deref())?)?),
    }
}

/// That of the operator's own files, if these were named.
fn own_identity(settings: &Settings) -> Option<Result<Identity, IdentityError>> {
    let (certificate, key) = (settings.cert.as_ref()?, settings.key.as_ref()?);
    Some(Identity::from_pem_files(certificate, key))
}

/// The folder that was named, or the usual one.
fn data_folder(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let strategy = etcetera::choose_base_strategy()
        .context("no home folder is known; name a data folder with --data DIR")?;
    Ok(strategy.data_dir().join("chinwag"))
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), 0)).is_ok()
}
