//! `chinwag classic`: a group chat on an old server.

use std::{
    net::{Shutdown, TcpStream},
    process::ExitCode,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use chinwag_proto::{name::Name, text::escape};
use chinwag_terminal::{
    Screen, Terminal, Typed, attend_person, next_event,
    plain::{self, Heard, MESSAGE_GAP},
};

use super::voice::{Format, Voice, VoiceEvent};
use crate::{arguments::ClassicArguments, voice::is_wav};

/// What leaves the chat, typed and sent.
const QUIT: &str = "{quit}";
/// The longest message that an old server reads at once.
const MESSAGE_BYTES: usize = 1024;
/// Events that wait for the conversation; whoever has more waits.
const WAITING_EVENTS: usize = 64;
/// How long the server's answer is waited for before the next message is sent.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long the server may take to close the connection of who leaves.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);
/// When voice and text end within this time, the server has gone, and that is told instead.
const LOSS_PATIENCE: Duration = Duration::from_secs(1);

enum Event {
    /// There are lines to be taken.
    Typed,
    Heard(Heard),
    Voice(VoiceEvent),
    Interrupted,
}

/// Joins, and stays until the user leaves.
pub(crate) fn run(terminal: &Terminal, arguments: ClassicArguments) -> Result<ExitCode> {
    let ClassicArguments { host, text_port, voice_port, rate, channels, name, mic, speaker } = arguments;
    let mut screen = Screen::new(terminal);
    let is_speaking_file = is_wav(&mic);
    let mut voice = Voice::open(Format { mic, speaker, rate_hz: rate, channels }, &mut screen)?;
    let text = plain::connect(&host, text_port).map_err(|error| {
        anyhow!("no old server answers at {host}, port {text_port}: {error}; does it run, and is --text-port right?")
    })?;

    let (tell, events) = sync_channel(WAITING_EVENTS);
    let told = tell.clone();
    plain::hear(text.try_clone()?, move |heard| told.send(Event::Heard(heard)).is_ok())?;
    let is_said = |line: &str| line.trim() != QUIT && line.len() <= MESSAGE_BYTES;
    let lines = attend_person(terminal, is_said, &tell, || Event::Typed, || Event::Interrupted)?;
    let started = plain::connect(&host, voice_port).and_then(|stream| {
        voice.start(stream, move |event| match event {
            // Sound waits for nobody; it tells this again.
            VoiceEvent::Trouble(_) => tell.try_send(Event::Voice(event)).is_ok(),
            VoiceEvent::Spent | VoiceEvent::Lost(_) => tell.send(Event::Voice(event)).is_ok(),
        })
    });
    let has_voice = started.is_ok();
    if let Err(error) = started {
        screen
            .notice(&format!("no voice, only text: port {voice_port} of {host}: {error} (see --voice-port)"));
    }

    let mut group = Group {
        screen,
        text,
        events,
        lines,
        stage: Stage::Greeting,
        given: name,
        name: None,
        // Whatever the server says first.
        pace: Pace::answer(String::new()),
        is_speaking_file: is_speaking_file && has_voice,
        has_voice,
        lost_voice: None,
    };
    let result = group.talk();
    if result.is_ok() {
        group.leave(&voice);
    }
    group.tell_unsent();
    voice.finish();
    result.map(|()| ExitCode::SUCCESS)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server is to ask for the name.
    Greeting,
    Naming,
    In,
}

/// When the next message may be sent: an old program takes two that come together for one.
enum Pace {
    Now,
    /// When this has come back, or then.
    Answer(String, Instant),
    /// Then: it has come back, and the others are given time to read it.
    At(Instant),
}

impl Pace {
    fn answer(text: String) -> Self {
        Self::Answer(text, Instant::now() + ANSWER_PATIENCE)
    }

    fn due(&self) -> Option<Instant> {
        match self {
            Self::Now => None,
            Self::Answer(_, due) | Self::At(due) => Some(*due),
        }
    }
}

struct Group {
    screen: Screen,
    text: TcpStream,
    events: Receiver<Event>,
    lines: Receiver<Typed>,
    stage: Stage,
    /// A name that is yet to be sent.
    given: Option<String>,
    /// The name that was sent.
    name: Option<String>,
    pace: Pace,
    /// The microphone is a file that has not come to its end.
    is_speaking_file: bool,
    has_voice: bool,
    /// Why voice has ended, and when that is to be told.
    lost_voice: Option<(String, Instant)>,
}

impl Group {
    /// Goes on until the user wants to leave; an error tells how it ended otherwise.
    fn talk(&mut self) -> Result<()> {
        loop {
            if self.speak()? || self.screen.is_gone() {
                return Ok(());
            }
            match self.event() {
                None | Some(Event::Typed) => {}
                Some(Event::Heard(Heard::Text(text))) => self.show(&text),
                Some(Event::Heard(Heard::Closed)) => {
                    self.screen.end_row();
                    bail!("the server has ended the conversation");
                }
                Some(Event::Heard(Heard::Lost(error))) => return Err(self.lost(&error)),
                Some(Event::Voice(VoiceEvent::Spent)) => self.is_speaking_file = false,
                Some(Event::Voice(VoiceEvent::Trouble(trouble))) => self.screen.notice(&trouble),
                Some(Event::Voice(VoiceEvent::Lost(why))) => {
                    self.is_speaking_file = false;
                    if std::mem::take(&mut self.has_voice) {
                        self.lost_voice = Some((why, Instant::now() + LOSS_PATIENCE));
                    }
                }
                Some(Event::Interrupted) => {
                    // Ctrl-C is shown where the cursor was.
                    self.screen.end_row();
                    return Ok(());
                }
            }
        }
    }

    /// The next event; none when something is due.
    fn event(&self) -> Option<Event> {
        let loss = self.lost_voice.as_ref().map(|(_, told)| *told);
        let due = self.pace.due().into_iter().chain(loss).min();
        next_event(&self.events, due)
    }

    /// Does what is due and sends what may be sent; true when the user wants to leave.
    fn speak(&mut self) -> Result<bool> {
        let now = Instant::now();
        if let Some((why, _)) = self.lost_voice.take_if(|(_, told)| *told <= now) {
            self.screen.notice(&format!("voice has ended ({why}); text goes on"));
        }
        if self.pace.due().is_some_and(|due| due <= now) {
            if let Pace::Answer(..) = self.pace {
                self.answered();
            }
            self.pace = Pace::Now;
        }
        if let Some(name) = self.given.take_if(|_| matches!(self.pace, Pace::Now)) {
            self.give_name(name)?;
        }
        while let Pace::Now = self.pace {
            match self.lines.try_recv() {
                Ok(Typed::Line(line)) => {
                    if line.trim() == QUIT {
                        return Ok(true);
                    }
                    self.typed(line)?;
                }
                Ok(Typed::Unusable(why)) => self.screen.notice(why),
                Ok(Typed::End) | Err(TryRecvError::Disconnected) => {
                    if self.name.is_none() && !self.screen.is_interactive() {
                        bail!("no name was typed; it can be given with --name");
                    }
                    return Ok(!self.is_speaking_file);
                }
                Err(TryRecvError::Empty) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn typed(&mut self, line: String) -> Result<()> {
        if line.trim().is_empty() {
            return Ok(());
        }
        if line.len() > MESSAGE_BYTES {
            self.screen.notice(&format!(
                "a message longer than {MESSAGE_BYTES} bytes was not sent; say it in several messages"
            ));
            return Ok(());
        }
        match self.stage {
            Stage::Greeting | Stage::Naming => match Name::new(line.trim()) {
                Ok(_) => self.give_name(line.trim().to_owned()),
                Err(error) => {
                    let error = format!("{} cannot be your name: {error}", escape(&line));
                    if !self.screen.is_interactive() {
                        bail!(error);
                    }
                    self.screen.notice(&error);
                    Ok(())
                }
            },
            Stage::In => {
                let name = self.name.as_deref().unwrap_or_default();
                let awaited = format!("{name}: {line}");
                self.send(&line, awaited)
            }
        }
    }

    fn give_name(&mut self, name: String) -> Result<()> {
        self.stage = Stage::Naming;
        self.name = Some(name.clone());
        self.send(&name, name.clone())
    }

    fn send(&mut self, text: &str, awaited: String) -> Result<()> {
        plain::say(&self.text, text).map_err(|error| self.lost(&error))?;
        self.pace = Pace::answer(awaited);
        Ok(())
    }

    /// Shows what the server sent.
    fn show(&mut self, text: &str) {
        // Before it is shown, since the next line may be typed at once.
        if self.is_answer(text) {
            self.answered();
        }
        // Our own server sends lines to who is far behind, and some people's programs end theirs.
        text.lines().filter(|line| !line.is_empty()).for_each(|line| self.screen.line(&escape(line)));
    }

    /// True if the server tells what was sent last.
    fn is_answer(&self, text: &str) -> bool {
        matches!(&self.pace, Pace::Answer(awaited, _) if text.contains(awaited))
    }

    /// The server has what was sent, or says nothing about it.
    fn answered(&mut self) {
        self.pace = Pace::At(Instant::now() + MESSAGE_GAP);
        self.stage = match self.stage {
            Stage::Greeting => Stage::Naming,
            Stage::Naming | Stage::In => Stage::In,
        };
        // From now on what is typed comes back.
        self.screen.set_in(self.stage == Stage::In);
    }

    fn lost(&mut self, error: &std::io::Error) -> anyhow::Error {
        self.screen.end_row();
        anyhow!("the connection to the server is lost: {error}")
    }

    /// Where typed lines give way to what comes back, those of which nothing came are shown again.
    fn tell_unsent(&mut self) {
        if !self.screen.is_edited() {
            return;
        }
        if let (Stage::In, Pace::Answer(awaited, _)) = (self.stage, &self.pace) {
            self.screen.notice(&format!("may not have reached the server: {}", escape(awaited)));
        }
        for typed in self.lines.try_iter() {
            if let Typed::Line(line) = typed {
                self.screen.notice(&format!("not sent: {}", escape(&line)));
            }
        }
    }

    /// Says so, and closes both connections at once, in the direction in which nothing more is to be said: what comes still is
    /// read, so that the server does not stumble over it.
    fn leave(&mut self, voice: &Voice) {
        if self.name.is_some() {
            if self.pace.due().is_some() {
                // So that the server does not read it together with what was said just now.
                thread::sleep(MESSAGE_GAP);
            }
            // The server may have gone in this moment.
            let _ = plain::say(&self.text, QUIT);
        }
        let _ = self.text.shutdown(Shutdown::Write);
        voice.end();
        let until = Instant::now() + QUIT_PATIENCE;
        while let Ok(event) = self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            match event {
                Event::Heard(Heard::Closed | Heard::Lost(_)) => return,
                // What was said last has arrived after all.
                Event::Heard(Heard::Text(text)) if self.is_answer(&text) => self.show(&text),
                Event::Heard(Heard::Text(_)) | Event::Typed | Event::Voice(_) | Event::Interrupted => {}
            }
        }
    }
}
