//! `chinwag-server duo`: a chat of two, for the old `client HOST PORT` programs and for `chinwag duo`. One client at a time;
//! another one is told that the line is busy.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use chinwag_proto::text::escape;
use chinwag_terminal::{
    Screen, Terminal, Typed, attend_person, next_event,
    plain::{self, Heard, MESSAGE_GAP},
};

/// What ends the server, typed; it is not sent.
const QUIT: &str = "quit";
/// What a second client gets.
const BUSY: &str = "The line is busy, please try again later.";
/// Events that wait for the conversation; whoever has more waits.
const WAITING_EVENTS: usize = 64;
/// How long the system is given when it cannot accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

enum Event {
    /// There are lines to be taken.
    Typed,
    Came(TcpStream, SocketAddr),
    /// What comes from the client with this number.
    Heard(u64, Heard),
    Interrupted,
}

/// Serves one client after the other until the operator ends it.
pub(crate) fn serve(terminal: &Terminal, host: &str, port: u16) -> Result<()> {
    let listener = TcpListener::bind((host, port)).map_err(|error| {
        anyhow!("cannot listen on {host}, port {port}: {error}; is it free, and {host} an address of this machine?")
    })?;
    let address = listener.local_addr()?;
    let mut screen = Screen::new(terminal);
    screen.line(&format!("Server open with {host}:{}", address.port()));

    let (tell, events) = sync_channel(WAITING_EVENTS);
    let told = tell.clone();
    thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, &told))?;
    let is_said = |line: &str| line.trim() != QUIT;
    let lines = attend_person(terminal, is_said, &tell, || Event::Typed, || Event::Interrupted)?;
    let next = Instant::now();
    Duo { screen, tell, events, lines, client: None, clients: 0, has_input: true, held: None, next }.talk()
}

fn accept(listener: &TcpListener, tell: &SyncSender<Event>) {
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                if tell.send(Event::Came(stream, from)).is_err() {
                    return;
                }
            }
            // Too many open files, or a client that went before it was served.
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }
    }
}

struct Client {
    number: u64,
    text: TcpStream,
    from: SocketAddr,
    /// Somebody was told that the line is busy, and the operator of it.
    is_wanted: bool,
}

impl Client {
    /// As the old server writes an address.
    fn shown(&self) -> String {
        format!("Client ('{}', {})", self.from.ip(), self.from.port())
    }
}

struct Duo {
    screen: Screen,
    tell: SyncSender<Event>,
    events: Receiver<Event>,
    lines: Receiver<Typed>,
    client: Option<Client>,
    /// How many there were.
    clients: u64,
    has_input: bool,
    /// What waits for somebody to come.
    held: Option<String>,
    /// When the next message may be sent.
    next: Instant,
}

impl Duo {
    fn talk(&mut self) -> Result<()> {
        while !self.speak() && !self.screen.is_gone() {
            match self.event() {
                None | Some(Event::Typed) => {}
                Some(Event::Came(stream, from)) => self.came(stream, from)?,
                Some(Event::Heard(number, heard)) => {
                    if self.client.as_ref().is_some_and(|client| client.number == number) {
                        self.heard(heard);
                    }
                }
                Some(Event::Interrupted) => {
                    self.screen.end_row();
                    break;
                }
            }
        }
        if let Some(client) = &self.client {
            plain::close(&client.text);
        }
        Ok(())
    }

    /// The next event; none when a message may be sent.
    fn event(&self) -> Option<Event> {
        next_event(&self.events, Some(self.next).filter(|&next| next > Instant::now()))
    }

    fn came(&mut self, stream: TcpStream, from: SocketAddr) -> Result<()> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if let Some(client) = &mut self.client {
            // Whoever does not stay to hear it knows already.
            let _ = plain::attend(&stream).and_then(|()| plain::say(&stream, BUSY));
            plain::close(&stream);
            if !std::mem::replace(&mut client.is_wanted, true) {
                self.screen.notice(&format!("{} was told that the line is busy", from.ip()));
            }
            return Ok(());
        }
        self.clients += 1;
        let (number, tell) = (self.clients, self.tell.clone());
        let told = move |heard| tell.send(Event::Heard(number, heard)).is_ok();
        // One that went already is none.
        let Ok(reader) = plain::attend(&stream).and_then(|()| stream.try_clone()) else { return Ok(()) };
        plain::hear(reader, told).context("no thread for a client could be started")?;
        let client = Client { number, text: stream, from, is_wanted: false };
        // From now on what is typed comes back as `I > text`.
        self.screen.set_in(true);
        self.screen.line(&client.shown());
        self.client = Some(client);
        Ok(())
    }

    fn heard(&mut self, heard: Heard) {
        let Some(client) = &self.client else { return };
        match heard {
            // The empty line ends the row in which something is typed.
            Heard::Text(text) => {
                let end = if self.screen.is_edited() { "" } else { "\n" };
                let line = format!("{end}<{}> : {}", client.from.ip(), escape(&text));
                self.screen.line(&line);
            }
            Heard::Closed => self.gone("has left"),
            Heard::Lost(error) => self.gone(&format!("is lost: {error}")),
        }
    }

    fn gone(&mut self, how: &str) {
        if let Some(client) = self.client.take() {
            plain::close(&client.text);
            self.screen.set_in(false);
            self.screen.end_row();
            self.screen.line(&format!("{} {how}", client.shown()));
        }
    }

    /// Sends what may be sent; true when the operator wants to end.
    fn speak(&mut self) -> bool {
        if let Some(line) = self.held.take_if(|_| self.client.is_some()) {
            self.say(line);
        }
        while self.held.is_none() && self.has_input && self.next <= Instant::now() {
            match self.lines.try_recv() {
                Ok(Typed::Line(line)) if line.trim() == QUIT => return true,
                Ok(Typed::Line(line)) => self.say(line),
                Ok(Typed::Unusable(why)) => self.screen.notice(why),
                Ok(Typed::End) | Err(TryRecvError::Disconnected) => {
                    self.has_input = false;
                    // Without an operator it goes on listening.
                    return self.screen.is_interactive();
                }
                Err(TryRecvError::Empty) => return false,
            }
        }
        false
    }

    fn say(&mut self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        let Some(client) = &self.client else {
            // What a script says is for the first who comes; a person is told that nobody is here.
            match self.screen.is_interactive() {
                true => self.screen.notice("nobody is here yet; that was not sent"),
                false => self.held = Some(line),
            }
            return;
        };
        match plain::say(&client.text, &line) {
            Ok(()) => {
                self.next = Instant::now() + MESSAGE_GAP;
                self.screen.line(&format!("I > {}", escape(&line)));
            }
            Err(error) => {
                self.gone(&format!("is lost: {error}"));
                self.screen.notice(&format!("not sent: {}", escape(&line)));
            }
        }
    }
}
