//! `chinwag`: the client in a terminal. Arguments, what the user sees, wiring; nothing of the protocol, nothing of sound.

mod arguments;
mod classic;
mod conversation;
mod ctl;
mod devices;
mod face;
mod full;
mod ignored;
mod memory;
mod meter;
mod past;
mod recent;
mod rooms;
mod settings;
mod stats;
mod switch;
mod test_audio;
mod visit;
mod voice;

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use chinwag_proto::{
    client::{ClientConfig, EndReason},
    limits::ROOMS_EACH,
    link::Link,
    name::Name,
    text::{check_message, escape},
};
use chinwag_screen::{
    Model,
    commands::{Line, Mode},
};
use chinwag_terminal::{Keyboard, Screen, Terminal, Typed, WAITING_LINES};
use chinwag_transport_mio::{
    Waker,
    client::{ClientLoop, ClientOptions},
    trust::KnownHosts,
};

use crate::{
    arguments::{Arguments, Command},
    conversation::{Conversation, Input},
    face::Face,
    full::FullScreen,
    memory::Memory,
    switch::WAITING_SWITCHES,
    visit::Visit,
    voice::{Voice, VoiceChoices},
};

/// The command line was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = settings::read().unwrap_or_else(|refusal| refusal.exit());
    let terminal = Terminal::new();
    let is_full = arguments.is_full(&terminal);
    let log = terminal.stderr();
    tracing_subscriber::fmt()
        .with_max_level(arguments.settings.log)
        .with_writer(move || log.clone())
        // A full screen has its own colours.
        .with_ansi(std::io::stderr().is_terminal() && !is_full)
        .with_target(false)
        .init();
    let result = match arguments.command {
        Some(Command::Devices { json }) => devices::list(json),
        Some(Command::TestAudio { mic, speaker }) => test_audio::run(&mic, &speaker),
        Some(Command::Ctl { pid, what, to }) => ctl::run(pid, what, to),
        Some(Command::Classic(arguments)) => classic::group::run(&terminal, arguments),
        Some(Command::Duo { host, port }) => classic::duo::run(&terminal, &host, port),
        None => chat(&terminal, arguments),
    };
    terminal.close();
    match result {
        Ok(code) => code,
        Err(error) => {
            // A closed standard error is no reason to die differently.
            let _ = writeln!(std::io::stderr(), "chinwag: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chat(terminal: &Terminal, arguments: Arguments) -> Result<ExitCode> {
    let is_full = arguments.is_full(terminal);
    let (mut model, button) = (Model::new(arguments.settings.theme()), arguments.settings.ptt_key);
    model.set_rings(arguments.settings.bell);
    model.set_notifier(arguments.settings.notifier());
    let choices = VoiceChoices::of(&arguments.settings);
    let mut screen = Screen::new(terminal);
    let mut keyboard = Keyboard::new(terminal);

    let (memory, trouble) = Memory::load();
    if let Some(trouble) = trouble {
        screen.notice(&trouble);
    }
    model.set_button(button.or_else(|| memory.button()).unwrap_or_default());
    // A script is asked what it always was.
    let recent = if screen.is_interactive() { memory.recent() } else { vec![] };

    let link = match arguments.server {
        Some(server) => match link(&server) {
            Ok(link) => Some(link),
            Err(error) => {
                screen.notice(&format!("chinwag: {error}"));
                return Ok(ExitCode::from(USAGE));
            }
        },
        None if recent.is_empty() => ask(&mut screen, &mut keyboard, "Enter host: ", None, link)?,
        None => {
            screen.notice(&recent::list(&recent, SystemTime::now()));
            let chosen = |answer: &str| recent::choose(&recent, answer, link);
            ask(&mut screen, &mut keyboard, "Enter host (or a number): ", Some("1"), chosen)?
        }
    };
    let Some(mut link) = link else { return Ok(ExitCode::SUCCESS) };
    if let Some(fingerprint) = arguments.fingerprint {
        link.fingerprint = Some(fingerprint);
    }
    let last = recent::name(&recent, &link);
    let name = match (arguments.settings.name, last) {
        (Some(given), _) => Some(given),
        (None, None) => ask(&mut screen, &mut keyboard, "Type your name and press enter!\n", None, name)?,
        (None, Some(last)) => {
            let question = format!("Type your name and press enter! [{}]\n", escape(last));
            ask(&mut screen, &mut keyboard, &question, Some(last), name)?
        }
    };
    let Some(name) = name else { return Ok(ExitCode::SUCCESS) };
    let (voice, mut notices) = Voice::open(if is_full { choices.metered() } else { choices })?;
    if !is_full {
        notices.drain(..).for_each(|notice| screen.notice(&notice));
    }

    // Who says where he wants to be is there alone; a script is where it always was.
    let last = memory.open(&link).filter(|_| link.room.is_none() && screen.is_interactive()).cloned();
    let last = last.filter(|last| !last.rooms.is_empty());
    let rooms = match &last {
        Some(last) => last.rooms.iter().take(ROOMS_EACH).cloned().collect(),
        None => vec![link.room.clone().unwrap_or_default()],
    };
    let config = ClientConfig {
        name: name.clone(),
        rooms,
        software: concat!("chinwag ", env!("CARGO_PKG_VERSION")).to_owned(),
        // A pipe is for what is said from now on.
        history: if screen.is_interactive() { past::PAGE } else { 0 },
    };
    if let Some(path) = &arguments.stats {
        // Better now than when the conversation that they are about is over.
        stats::check(path).with_context(|| unwritable(path))?;
    }
    let folder = settings::folder()
        .context("no home folder is known, where the servers you trust could be remembered; set HOME")?;
    if let Err(trouble) = settings::write_first(&folder) {
        screen.notice(&trouble);
    }
    let known_hosts = KnownHosts::new(folder.join("known_hosts"));
    let who = format!("{name} at {}", link.authority());
    let visit = Visit::new(memory, link.clone(), name, last);
    let mut client = ClientLoop::new(ClientOptions { link, known_hosts, config })?;
    let full = match is_full {
        true => Some(FullScreen::open(terminal, model)?),
        false => None,
    };
    let (switch, switches) = sync_channel(WAITING_SWITCHES);
    let (mut face, lines) = match &full {
        Some(full) => {
            (Face::Full(full.clone()), full.listen(terminal, keyboard, switch.clone(), client.waker()))
        }
        None => (Face::Lines(screen), listen(keyboard, client.waker())),
    };
    notices.iter().for_each(|notice| face.notice(notice));
    let listening = ctl::listen(&who, switch, client.waker());
    if let Err(error) = &listening {
        face.notice(&format!("`chinwag ctl` cannot be used: {error}"));
    }
    let mut conversation = Conversation::new(face, (lines, switches), voice, visit, client.waker());
    let result = client.run(&mut conversation);
    drop(listening);
    let unremembered = conversation.leave();
    if let Some(full) = full {
        // What is told now is told on the screen that was there before.
        terminal.close();
        if let Ok(EndReason::Refused | EndReason::Unreachable) = result {
            let mut screen = Screen::new(terminal);
            full.last_words().iter().for_each(|words| screen.notice(words));
        }
    }
    if !conversation.has_quit() && matches!(result, Ok(EndReason::Quit)) {
        // Ctrl-C is shown where the cursor was.
        Screen::new(terminal).end_row();
    }

    if let Some(trouble) = unremembered {
        Screen::new(terminal).notice(&trouble);
    }

    let unsaid = client.client().unacknowledged();
    let has_failed = conversation.has_failed(unsaid);
    if unsaid > 0 {
        let mut screen = Screen::new(terminal);
        screen.notice(&format!("{unsaid} of your lines may not have reached the server:"));
        client.client().unacknowledged_texts().for_each(|(_, text)| screen.notice(&escape(text)));
    }
    let voice = conversation.finish();
    if let Some(path) = arguments.stats {
        stats::write(&path, &voice, &client).with_context(|| unwritable(&path))?;
    }
    match result? {
        // A script reads no errors.
        EndReason::Quit if has_failed => Ok(ExitCode::FAILURE),
        EndReason::Quit => Ok(ExitCode::SUCCESS),
        // What happened was said when it happened.
        EndReason::Refused | EndReason::Unreachable => Ok(ExitCode::FAILURE),
        EndReason::Removed => bail!("the server's operator removed you"),
        EndReason::Replaced => bail!("this session was taken over by another connection"),
        EndReason::Protocol => bail!("the server does not speak chinwag/1; is it a newer or another one?"),
    }
}

/// What is typed, line by line; `waker` is told of each.
fn listen(keyboard: Keyboard, waker: Arc<Waker>) -> Receiver<Input> {
    let (lines, receiver) = sync_channel(WAITING_LINES);
    let is_said = |line: &str| {
        let meaning = Line::parse(line, Mode::Lines);
        meaning == Line::Nothing || matches!(meaning, Line::Say(text) if check_message(text).is_ok())
    };
    keyboard
        .listen(is_said, move |typed| lines.send(Input::Typed(None, typed)).is_ok() && waker.wake().is_ok());
    receiver
}

fn unwritable(path: &Path) -> String {
    format!("the statistics cannot be written to {}", path.display())
}

fn link(text: &str) -> Result<Link, String> {
    Link::parse(text).map_err(|error| format!("{text:?} is no server: {error}"))
}

fn name(text: &str) -> Result<String, String> {
    match Name::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} cannot be your name: {error}")),
    }
}

/// Asks until `read` is content, or only once where nobody sits who could answer better. An empty answer means `usual`.
/// `None`: he leaves.
fn ask<T>(
    screen: &mut Screen,
    keyboard: &mut Keyboard,
    question: &str,
    usual: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>> {
    loop {
        screen.prompt(question);
        let error = match keyboard.line()? {
            Typed::Line(line) => {
                let meaning = Line::parse(&line, Mode::Lines);
                if meaning == Line::Quit {
                    return Ok(None);
                }
                let answer = match usual {
                    _ if meaning != Line::Nothing => read(line.trim()),
                    Some(usual) => read(usual),
                    None => Err("nothing was typed; {quit} leaves".to_owned()),
                };
                match answer {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(error) => error,
                }
            }
            Typed::Unusable(why) => why.to_owned(),
            Typed::End => {
                screen.end_row();
                bail!("no answer to {:?}; see chinwag --help", question.trim());
            }
        };
        if !screen.is_interactive() {
            bail!(error);
        }
        screen.notice(&error);
    }
}
