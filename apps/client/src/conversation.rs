//! What stands between the client machine and the person: lines in, lines out, voice handed on.

use std::sync::{
    Arc,
    mpsc::{Receiver, TryRecvError},
};

use chinwag_proto::{
    Instant,
    client::{Client, ClientEvent, SayError},
    server::VoicePath,
    text::escape,
};
use chinwag_transport_mio::{Waker, client::Handler};

use crate::{
    keyboard::Typed,
    screen::Screen,
    voice::{Voice, VoiceReport},
};

const HELP: &str =
    "{quit} or /quit leaves, /who tells who is here, //TEXT says a line that begins with a slash";

/// Events arrive while the machine is busy; what is to be done with it waits for the next turn.
#[derive(Debug)]
pub(crate) struct Conversation {
    screen: Screen,
    lines: Receiver<Typed>,
    voice: Voice,
    waker: Arc<Waker>,
    /// The first welcome came.
    is_welcomed: bool,
    input_has_ended: bool,
    wants_to_quit: bool,
    /// A line that had to wait until the server caught up.
    held_line: Option<String>,
    /// Voice had to leave UDP, and the user was told.
    goes_by_tcp: bool,
}

impl Conversation {
    pub(crate) fn new(screen: Screen, lines: Receiver<Typed>, voice: Voice, waker: Arc<Waker>) -> Self {
        Self {
            screen,
            lines,
            voice,
            waker,
            is_welcomed: false,
            input_has_ended: false,
            wants_to_quit: false,
            held_line: None,
            goes_by_tcp: false,
        }
    }

    /// Stops sound and tells what became of it.
    pub(crate) fn finish(self) -> VoiceReport {
        self.voice.finish()
    }

    fn typed(&mut self, client: &mut Client, line: String) {
        let command = line.trim();
        let text = match command {
            "" => return,
            "{quit}" | "/quit" => {
                self.wants_to_quit = true;
                return;
            }
            "/help" => return self.screen.notice(HELP),
            "/who" => {
                let names: Vec<_> = client.members().map(|(_, name)| escape(name)).collect();
                return self.screen.notice(&format!("here: {}", names.join(", ")));
            }
            command if command.starts_with("//") => command.get(1..).unwrap_or_default().to_owned(),
            command if command.starts_with('/') => {
                let unknown = command.split_whitespace().next().unwrap_or_default();
                return self.screen.notice(&format!("{} is no command; {HELP}", escape(unknown)));
            }
            _ => line,
        };
        match client.say(&text) {
            Ok(_) => self.screen.take_back_typed_line(),
            Err(SayError::Full) => self.held_line = Some(text),
            Err(error) => self.screen.notice(&error.to_string()),
        }
    }

    fn read_lines(&mut self, client: &mut Client) {
        if let Some(line) = self.held_line.take() {
            self.typed(client, line);
        }
        while self.held_line.is_none() && !self.wants_to_quit && client.room_for_messages() > 0 {
            match self.lines.try_recv() {
                Ok(Typed::Line(line)) => self.typed(client, line),
                Ok(Typed::Unusable(why)) => self.screen.notice(why),
                Ok(Typed::End) | Err(TryRecvError::Disconnected) => {
                    self.input_has_ended = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }
}

impl Handler for Conversation {
    fn event(&mut self, now: Instant, event: ClientEvent) {
        match event {
            ClientEvent::Welcome { name, again: false, .. } => {
                self.screen.welcome(&name);
                self.is_welcomed = true;
                self.voice.start(now, Arc::clone(&self.waker));
            }
            ClientEvent::Welcome { name, resumed: true, .. } => {
                self.screen.notice(&format!("back as {}; nothing was missed but voice", escape(&name)));
            }
            ClientEvent::Welcome { name, .. } => {
                self.screen.notice(&format!(
                    "back as {}; the server does not remember what was said meanwhile",
                    escape(&name)
                ));
            }
            ClientEvent::Joined { name, .. } => self.screen.joined(&name),
            // What is still to be heard of him is heard; sound forgets him by itself.
            ClientEvent::Left { name, .. } => self.screen.left(&name),
            ClientEvent::Said { name, text, .. } => self.screen.said(&name, &text),
            ClientEvent::NotSaid { text, why, .. } => {
                self.screen.notice(&format!("not said: {}: {}", escape(&text), escape(&why)));
            }
            ClientEvent::Missed { events } => {
                self.screen.notice(&format!("{events} lines were missed while the connection was lost"));
            }
            ClientEvent::Refused { why, suggestion, will_retry } => {
                self.screen.notice(&format!("the server did not let you in: {}", escape(&why)));
                match suggestion {
                    Some(name) if will_retry => {
                        self.screen.notice(&format!("trying again as {}", escape(&name)));
                    }
                    Some(name) => {
                        self.screen
                            .notice(&format!("choose another name, such as: --name '{}'", escape(&name)));
                    }
                    None => {}
                }
            }
            ClientEvent::Reconnecting { why, pause } => {
                let why = why.map(|why| format!(" ({})", escape(&why))).unwrap_or_default();
                self.screen.notice(&format!(
                    "the connection is lost{why}; trying again in {:.1} s",
                    pause.as_secs_f32()
                ));
                self.goes_by_tcp = false;
            }
            ClientEvent::Path(VoicePath::Tcp) => {
                self.screen.notice("voice goes by TCP now: UDP does not get through");
                self.goes_by_tcp = true;
            }
            ClientEvent::Path(VoicePath::Udp) => {
                if std::mem::take(&mut self.goes_by_tcp) {
                    self.screen.notice("voice goes by UDP again");
                }
            }
            // Doubt is not worth a line.
            ClientEvent::Path(VoicePath::Both) | ClientEvent::Ended(_) => {}
        }
    }

    fn voice(&mut self, now: Instant, payload: &[u8]) {
        self.voice.hear(now, payload);
    }

    fn notice(&mut self, text: &str) {
        self.screen.notice(text);
    }

    fn tend(&mut self, now: Instant, client: &mut Client) {
        self.read_lines(client);
        self.voice.talk(now, client);
        for trouble in self.voice.troubles() {
            self.screen.notice(&trouble);
        }
        let is_done = self.input_has_ended
            && self.is_welcomed
            && self.held_line.is_none()
            && client.unacknowledged() == 0
            && self.voice.has_said_all();
        // Whoever quits has said all that he typed before; without a connection that would be to wait for nothing.
        let may_quit = client.unacknowledged() == 0 || !client.is_in();
        if (self.wants_to_quit && may_quit) || is_done || self.screen.is_gone() {
            client.quit(now);
        }
    }
}
