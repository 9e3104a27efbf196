//! `chinwag`: the client in a terminal. Arguments, what the user sees, wiring; nothing of the protocol, nothing of sound.

mod arguments;
mod conversation;
mod devices;
mod keyboard;
mod screen;
mod stats;
mod voice;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use chinwag_proto::{
    client::{ClientConfig, EndReason},
    link::Link,
    name::Name,
};
use chinwag_transport_mio::{
    client::{ClientLoop, ClientOptions},
    trust::KnownHosts,
};
use clap::Parser as _;
use etcetera::BaseStrategy as _;

use crate::{
    arguments::{Arguments, Command},
    conversation::Conversation,
    keyboard::Keyboard,
    screen::Screen,
    voice::Voice,
};

/// The command line was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(arguments.log)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let result = match arguments.command {
        Some(Command::Devices) => devices::list(),
        None => chat(arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // A closed standard error is no reason to die differently.
            let _ = writeln!(std::io::stderr(), "chinwag: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chat(arguments: Arguments) -> Result<ExitCode> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut screen = Screen::new(is_terminal);
    let mut keyboard = Keyboard::new();

    let host = match arguments.server {
        Some(server) => server,
        None => ask(&mut screen, &mut keyboard, "Enter host: ")?,
    };
    let mut link = match Link::parse(&host) {
        Ok(link) => link,
        Err(error) => {
            screen.notice(&format!("chinwag: {host:?} is no server: {error}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    if let Some(fingerprint) = arguments.fingerprint {
        link.fingerprint = Some(fingerprint);
    }
    let name = match arguments.name {
        Some(name) => name,
        None => ask(&mut screen, &mut keyboard, "Type your name and press enter!\n")?,
    };
    if let Err(error) = Name::new(&name) {
        bail!("{name:?} cannot be your name: {error}");
    }
    let voice = Voice::open(&arguments.mic, &arguments.speaker, arguments.frame_ms, &mut screen)?;

    let config = ClientConfig {
        name,
        room: link.room.clone().unwrap_or_default(),
        software: concat!("chinwag ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let folder = etcetera::choose_base_strategy()
        .context("no home folder is known, where the servers you trust could be remembered; set HOME")?
        .config_dir()
        .join("chinwag");
    let known_hosts = KnownHosts::new(folder.join("known_hosts"));
    let mut client = ClientLoop::new(ClientOptions { link, known_hosts, config })?;
    let lines = keyboard.listen(client.waker());
    let mut conversation = Conversation::new(screen, lines, voice, client.waker());
    let result = client.run(&mut conversation);

    let voice = conversation.finish();
    if let Some(path) = arguments.stats {
        stats::write(&path, &voice, &client)
            .with_context(|| format!("the statistics cannot be written to {}", path.display()))?;
    }
    match result? {
        EndReason::Quit => Ok(ExitCode::SUCCESS),
        // What happened was said when it happened.
        EndReason::Refused | EndReason::Unreachable => Ok(ExitCode::FAILURE),
        EndReason::Replaced => bail!("this session was taken over by another connection"),
        EndReason::Protocol => bail!("the server does not speak chinwag/1; is it a newer or another one?"),
    }
}

fn ask(screen: &mut Screen, keyboard: &mut Keyboard, question: &str) -> Result<String> {
    screen.prompt(question);
    match keyboard.line()? {
        Some(answer) if !answer.trim().is_empty() => Ok(answer.trim().to_owned()),
        Some(_) | None => bail!("no answer to {:?}; see chinwag --help", question.trim()),
    }
}
