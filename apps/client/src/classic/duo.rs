//! `chinwag duo`: a chat of two, with whoever sits at the server.

use std::{
    net::TcpStream,
    process::ExitCode,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    time::Instant,
};

use anyhow::{Result, anyhow};
use chinwag_proto::text::escape;
use chinwag_terminal::{
    Screen, Terminal, Typed, attend_person, next_event,
    plain::{self, Heard, MESSAGE_GAP},
};

/// What leaves, typed; it is not sent.
const QUIT: &str = "quit";
/// Before what is typed.
const PROMPT: &str = "Send : ";
/// Events that wait for the conversation; whoever has more waits.
const WAITING_EVENTS: usize = 64;

enum Event {
    /// There are lines to be taken.
    Typed,
    Heard(Heard),
    Interrupted,
}

/// Talks until one of the two leaves.
pub(crate) fn run(terminal: &Terminal, host: &str, port: u16) -> Result<ExitCode> {
    let screen = Screen::new(terminal);
    let text = plain::connect(host, port)
        .map_err(|error| anyhow!("no server answers at {host}, port {port}: {error}; does it run there?"))?;
    let (tell, events) = sync_channel(WAITING_EVENTS);
    let told = tell.clone();
    plain::hear(text.try_clone()?, move |heard| told.send(Event::Heard(heard)).is_ok())?;
    let lines = attend_person(terminal, |_| false, &tell, || Event::Typed, || Event::Interrupted)?;
    let mut duo = Duo { screen, text, events, lines, next: Instant::now() };
    let result = duo.talk();
    plain::close(&duo.text);
    result.map(|()| ExitCode::SUCCESS)
}

struct Duo {
    screen: Screen,
    text: TcpStream,
    events: Receiver<Event>,
    lines: Receiver<Typed>,
    /// When the next message may be sent.
    next: Instant,
}

impl Duo {
    fn talk(&mut self) -> Result<()> {
        self.prompt();
        loop {
            if self.speak()? || self.screen.is_gone() {
                return Ok(());
            }
            match self.event() {
                None | Some(Event::Typed) => {}
                Some(Event::Heard(Heard::Text(text))) => {
                    // The empty line ends the row in which something is typed.
                    let end = if self.screen.is_edited() { "" } else { "\n" };
                    self.screen.line(&format!("{end}From server : {}", escape(&text)));
                    self.prompt();
                }
                Some(Event::Heard(Heard::Closed)) => {
                    self.screen.end_row();
                    self.screen.line("Server closed");
                    return Ok(());
                }
                Some(Event::Heard(Heard::Lost(error))) => return Err(self.lost(&error)),
                Some(Event::Interrupted) => {
                    self.screen.end_row();
                    return Ok(());
                }
            }
        }
    }

    /// The next event; none when a message may be sent.
    fn event(&self) -> Option<Event> {
        next_event(&self.events, Some(self.next).filter(|&next| next > Instant::now()))
    }

    /// Sends what may be sent; true when the user wants to leave.
    fn speak(&mut self) -> Result<bool> {
        while self.next <= Instant::now() {
            match self.lines.try_recv() {
                Ok(Typed::Line(line)) if line.trim() == QUIT => return Ok(true),
                Ok(Typed::Line(line)) => {
                    if !line.trim().is_empty() {
                        plain::say(&self.text, &line).map_err(|error| self.lost(&error))?;
                        self.next = Instant::now() + MESSAGE_GAP;
                    }
                    self.prompt();
                }
                Ok(Typed::Unusable(why)) => {
                    self.screen.notice(why);
                    self.prompt();
                }
                Ok(Typed::End) | Err(TryRecvError::Disconnected) => return Ok(true),
                Err(TryRecvError::Empty) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn prompt(&mut self) {
        if self.screen.is_interactive() {
            self.screen.prompt(PROMPT);
        }
    }

    fn lost(&mut self, error: &std::io::Error) -> anyhow::Error {
        self.screen.end_row();
        self.screen.line("Server closed");
        anyhow!("the connection to the server is lost: {error}")
    }
}
