//! What stands between the client machine and the person: lines in, lines out, voice handed on.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use chinwag_audio::device::Direction;
use chinwag_proto::{
    Instant, SessionId,
    client::{Client, ClientEvent, Page, SayError},
    relay::VoicePath,
    text::escape,
};
use chinwag_screen::commands::{Line, Mode, nearest};
use chinwag_terminal::Typed;
use chinwag_transport_mio::{Waker, client::Handler};

use crate::{
    face::Face,
    past::{LONG_PAGE, PAGE, Past, Question},
    visit::Visit,
    voice::{DeviceNews, Voice, VoiceReport},
};

/// What the user knows while the connection is lost: everything is told once, however often it is tried.
#[derive(Debug, Default)]
struct Away {
    told: BTreeSet<String>,
}

/// Limits of `/volume`; the louder one is the most that playout does.
const QUIETEST_DB: f32 = -60.0;
const LOUDEST_DB: f32 = 12.0;

/// Troubles of one absence that are remembered as told.
const TOLD: usize = 16;

/// What the person wants.
#[derive(Debug)]
pub(crate) enum Input {
    Typed(Typed),
    /// Lines that are said whatever they look like.
    Said(Vec<String>),
    /// What was said before all that is shown is wanted.
    Earlier,
}

/// Events arrive while the machine is busy; what is to be done with it waits for the next turn.
#[derive(Debug)]
pub(crate) struct Conversation {
    screen: Face,
    lines: Receiver<Input>,
    /// What was pasted and is yet to be said.
    pasted: VecDeque<String>,
    voice: Voice,
    visit: Visit,
    past: Past,
    waker: Arc<Waker>,
    /// The first welcome came.
    is_welcomed: bool,
    input_has_ended: bool,
    wants_to_quit: bool,
    wants_to_reconnect: bool,
    /// It ends since the user wants it, not since it was broken off.
    has_quit: bool,
    /// What had to wait until the server caught up.
    held: Option<String>,
    /// Who is here is yet to be told.
    owes_members: bool,
    /// Those who are here are yet to be made as loud as they were.
    owes_volumes: bool,
    away: Option<Away>,
    /// Voice had to leave UDP, and the user was told.
    goes_by_tcp: bool,
}

impl Conversation {
    pub(crate) fn new(
        screen: Face,
        lines: Receiver<Input>,
        voice: Voice,
        visit: Visit,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            screen,
            lines,
            pasted: VecDeque::new(),
            voice,
            visit,
            past: Past::new(),
            waker,
            is_welcomed: false,
            input_has_ended: false,
            wants_to_quit: false,
            wants_to_reconnect: false,
            has_quit: false,
            held: None,
            owes_members: false,
            owes_volumes: false,
            away: None,
            goes_by_tcp: false,
        }
    }

    /// True when the user left, and was not interrupted.
    pub(crate) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Remembers what is left.
    pub(crate) fn leave(&mut self) -> Option<String> {
        self.visit.leave(&self.screen, self.past.newest())
    }

    /// Stops sound and tells what became of it.
    pub(crate) fn finish(self) -> VoiceReport {
        self.voice.finish()
    }

    fn typed(&mut self, client: &mut Client, line: &str) {
        match Line::parse(line, self.screen.mode()) {
            Line::Nothing => {}
            Line::Quit => self.wants_to_quit = true,
            Line::Reconnect => self.wants_to_reconnect = true,
            Line::Devices => {
                let trouble = self.voice.list_devices(&self.waker);
                trouble.into_iter().for_each(|trouble| self.screen.notice(&trouble));
            }
            Line::Input(choice) => self.use_device(Direction::Input, choice),
            Line::Output(choice) => self.use_device(Direction::Output, choice),
            Line::Help => self.screen.help(),
            Line::Who if client.is_in() => self.screen.notice(&members(client)),
            Line::Who => self.screen.notice("there is no connection at the moment"),
            Line::Mute => self.screen.notice(self.voice.toggle_mute()),
            Line::Deafen => self.screen.notice(self.voice.toggle_deafen()),
            Line::Talk => self.screen.notice(self.voice.toggle_talk()),
            Line::VoiceActivity => self.screen.notice(self.voice.toggle_activity()),
            Line::Clear => self.screen.clear(),
            Line::Ignore(name) => self.screen.ignore(name),
            Line::Search(words) if self.screen.finds(words) => {}
            Line::Search("") => self.screen.notice("there is nothing before that"),
            Line::Search(words) => {
                let is_asked = self.past.ask_search(client, words);
                self.unless_asked(is_asked);
            }
            Line::History(count) => {
                let is_asked = self.past.ask_earlier(client, count.unwrap_or(PAGE), Question::Earlier);
                self.unless_asked(is_asked);
            }
            Line::Bell(rings) => self.screen.bell(rings),
            Line::MuteOther(name) => self.other(client, name, |voice, _, session, name| {
                let (is_muted, name) = (voice.toggle_other(session), escape(name));
                match is_muted {
                    true => format!("you do not hear {name} now; /mute {name} again ends that"),
                    false => format!("you hear {name} again"),
                }
            }),
            Line::Volume(name, db) => self.other(client, name, |voice, visit, session, name| {
                // Zero without a sign of its own.
                let db = db.clamp(QUIETEST_DB, LOUDEST_DB) + 0.0;
                voice.set_volume(session, db);
                let trouble = visit.set_volume(name, db).map(|why| format!("; {why}")).unwrap_or_default();
                format!("you hear {} at {db:+} dB now{trouble}", escape(name))
            }),
            Line::Incomplete(form) => self.screen.notice(&format!("write {form}")),
            Line::Unknown(command) => {
                let mode = self.screen.mode();
                let near = nearest(command, mode).filter(|_| mode == Mode::Full);
                let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
                self.screen.notice(&format!("{} is no command{near}; /help lists them", escape(command)));
            }
            Line::Say(text) => self.say(client, text),
        }
    }

    fn use_device(&mut self, direction: Direction, choice: &str) {
        if let Some(trouble) = self.voice.use_device(direction, choice, &self.waker) {
            self.screen.notice(&trouble);
        }
    }

    /// Makes the connection anew, since the user wants it.
    fn reconnect(&mut self, now: Instant, client: &mut Client) {
        let was_in = client.is_in();
        let answer = match (client.reconnect(now), was_in) {
            (true, true) => "the connection is made anew",
            (true, false) => "trying again now",
            (false, _) => "a connection is being made already",
        };
        self.screen.notice(answer);
        if !client.is_in() && self.is_welcomed {
            // That it is lost now is no news.
            self.away.get_or_insert_default();
        }
    }

    fn unless_asked(&mut self, is_asked: bool) {
        if !is_asked {
            self.screen.notice("there is no connection at the moment");
        }
    }

    /// A part of what was said before.
    fn page(&mut self, mut page: Page) {
        let question = self.past.answered(&mut page);
        let page = &page;
        if let Some(error) = &page.error {
            self.screen.may_have_earlier();
            self.screen.notice(&format!("nothing can be shown of what was said: {}", escape(error)));
            return;
        }
        match &question {
            Question::Arrival | Question::Earlier | Question::Above => {
                if self.screen.past(page) {
                    // Whoever typed it looks at the end, and would see nothing happen.
                    match (&question, page.lines.is_empty()) {
                        (Question::Earlier, true) => self.screen.notice("nothing was said before that"),
                        (Question::Earlier, false) => {
                            self.screen.notice("what was said before that is above now; PgUp goes there");
                        }
                        _ => {}
                    }
                    return;
                }
                let read = self.visit.read_before().filter(|_| question == Question::Arrival);
                let first_new = read.and_then(|read| page.lines.iter().find(|line| line.seq > read));
                for line in &page.lines {
                    if first_new.is_some_and(|first| first.seq == line.seq) {
                        self.screen.notice("new since you were here:");
                    }
                    self.screen.line(&self.past.line(line));
                }
                match (&question, page.lines.is_empty(), page.more) {
                    (Question::Earlier, true, _) => self.screen.notice("nothing was said before that"),
                    (_, false, true) => self.screen.notice("/history shows what was said before that"),
                    _ => {}
                }
            }
            Question::Search(words) => {
                let words = escape(words);
                let found = match (page.lines.len(), page.more) {
                    (0, _) => format!("nothing was found for \"{words}\""),
                    (count, true) => format!("the last {count} messages that have \"{words}\":"),
                    (_, false) => format!("all messages that have \"{words}\":"),
                };
                self.screen.notice(&found);
                page.lines.iter().for_each(|line| self.screen.notice(&self.past.line(line)));
            }
        }
    }

    /// Does something about one of the others, if he is here.
    fn other(
        &mut self,
        client: &Client,
        name: &str,
        act: impl FnOnce(&mut Voice, &mut Visit, SessionId, &str) -> String,
    ) {
        let mut others = client.members().filter(|(session, _)| Some(*session) != client.session());
        let answer = match others.find(|(_, other)| other.to_lowercase() == name.to_lowercase()) {
            Some((session, name)) => act(&mut self.voice, &mut self.visit, session, name),
            None => format!("there is no {} here besides you; {}", escape(name), members(client)),
        };
        self.screen.notice(&answer);
    }

    /// Makes somebody as loud as he was the last time.
    fn restore_volume(&mut self, session: SessionId, name: &str) {
        if let Some(db) = self.visit.volume(name) {
            // The file may have been written by another version, or by hand.
            let db = db.clamp(QUIETEST_DB, LOUDEST_DB);
            self.voice.set_volume(session, db);
            self.screen.notice(&format!("you hear {} at {db:+} dB, as before", escape(name)));
        }
    }

    fn say(&mut self, client: &mut Client, text: &str) {
        match client.say(text) {
            Ok(_) if self.away.is_some() => {
                self.trouble("what you type now is said when the connection is back");
            }
            Ok(_) => {}
            Err(SayError::Full) => self.held = Some(text.to_owned()),
            Err(SayError::Message(error)) => self.screen.notice(&error.to_string()),
            // Interrupted: what was typed ahead is no trouble of anybody's.
            Err(SayError::Ended) => self.wants_to_quit = true,
        }
    }

    fn read_lines(&mut self, client: &mut Client) {
        if let Some(text) = self.held.take() {
            self.say(client, &text);
        }
        while self.held.is_none() && !self.wants_to_quit {
            if let Some(line) = self.pasted.pop_front() {
                self.say(client, &line);
                continue;
            }
            match self.lines.try_recv() {
                Ok(Input::Typed(Typed::Line(line))) => self.typed(client, &line),
                Ok(Input::Typed(Typed::Unusable(why))) => self.screen.notice(why),
                Ok(Input::Said(lines)) => self.pasted.extend(lines),
                // Without a connection it is asked for again when somebody looks up again.
                Ok(Input::Earlier) => {
                    if !self.past.ask_earlier(client, LONG_PAGE, Question::Above) {
                        self.screen.may_have_earlier();
                    }
                }
                Ok(Input::Typed(Typed::End)) | Err(TryRecvError::Disconnected) => {
                    self.input_has_ended = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Tells what goes wrong, once while the connection is lost.
    fn trouble(&mut self, text: &str) {
        if let Some(away) = &mut self.away {
            if away.told.len() == TOLD {
                away.told.clear();
            }
            if !away.told.insert(text.to_owned()) {
                return;
            }
        }
        self.screen.notice(text);
    }
}

/// Who is here, this client too.
fn members(client: &Client) -> String {
    let names: Vec<_> = client.members().map(|(_, name)| escape(name)).collect();
    format!("here: {}", names.join(", "))
}

impl Handler for Conversation {
    fn event(&mut self, now: Instant, event: ClientEvent) {
        self.screen.event(now, &event);
        if let ClientEvent::Welcome { room, continues: false, .. } = &event {
            self.visit.arrived(room);
        }
        match event {
            ClientEvent::Welcome { name, again: false, .. } => {
                self.screen.welcome(&name);
                self.is_welcomed = true;
                self.owes_members = self.screen.wants_members();
                self.voice.start(now, Arc::clone(&self.waker));
                self.owes_volumes = true;
                // What a script joins is no place where a person was.
                if self.screen.is_interactive()
                    && let Some(trouble) = self.visit.joined()
                {
                    self.screen.notice(&trouble);
                }
            }
            ClientEvent::Welcome { name, resumed, continues, .. } => {
                self.away = None;
                // What was asked for over the connection before has no answer.
                self.screen.may_have_earlier();
                if !continues {
                    self.past.begin_anew();
                }
                self.owes_members = self.screen.wants_members();
                let had_muted = !resumed && self.voice.forget_all();
                self.owes_volumes |= !resumed;
                let loss = match resumed || continues {
                    true => "nothing was missed but voice",
                    false => "what was said meanwhile may have been missed",
                };
                let unmuted = if had_muted { "; nobody whom you muted is muted now" } else { "" };
                self.screen.notice(&format!("back as {}; {loss}{unmuted}", escape(&name)));
            }
            ClientEvent::Joined { session, name, .. } => {
                self.screen.joined(&name);
                self.restore_volume(session, &name);
            }
            // What is still to be heard of him is heard; sound forgets him by itself.
            ClientEvent::Left { session, name, .. } => {
                self.voice.forget(session);
                self.screen.left(&name);
            }
            ClientEvent::Said { seq, name, text, .. } => {
                self.past.told(seq);
                self.screen.said(&name, &text);
            }
            ClientEvent::NotSaid { text, why, .. } => {
                self.screen.notice(&format!("not said: {}: {}", escape(&text), escape(&why)));
            }
            ClientEvent::Missed { messages } => self.screen.missed(messages),
            ClientEvent::Meanwhile { joined, left } => {
                left.iter().for_each(|name| self.screen.left(name));
                joined.iter().for_each(|name| self.screen.joined(name));
            }
            ClientEvent::History(page) => self.page(page),
            ClientEvent::Refused { why, suggestion, will_retry } => {
                self.trouble(&format!("the server did not let you in: {}", escape(&why)));
                match suggestion {
                    Some(name) if will_retry => {
                        self.trouble(&format!("trying again as {}", escape(&name)));
                    }
                    Some(name) => {
                        self.screen
                            .notice(&format!("choose another name, such as: --name '{}'", escape(&name)));
                    }
                    None => {}
                }
            }
            ClientEvent::Reconnecting { why, .. } => {
                let why = why.map(|why| format!(" ({})", escape(&why))).unwrap_or_default();
                if self.away.is_none() {
                    self.away = Some(Away::default());
                    self.screen.notice(&format!(
                        "the connection is lost{why}; trying to get it back ({{quit}} leaves)"
                    ));
                }
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
            ClientEvent::Reported(report) => self.voice.reported(now, report),
            // Doubt is not worth a line.
            ClientEvent::Path(VoicePath::Both) | ClientEvent::Ended(_) => {}
        }
    }

    fn voice(&mut self, now: Instant, payload: &[u8]) {
        self.voice.hear(now, payload);
    }

    fn notice(&mut self, text: &str) {
        self.trouble(text);
    }

    fn tend(&mut self, now: Instant, client: &mut Client) {
        self.screen.tend(client, &mut self.voice);
        if !self.has_quit {
            self.read_lines(client);
        }
        if std::mem::take(&mut self.owes_members) {
            self.screen.notice(&members(client));
        }
        if std::mem::take(&mut self.owes_volumes) {
            let others = client.members().filter(|(session, _)| Some(*session) != client.session());
            others.for_each(|(session, name)| self.restore_volume(session, name));
        }
        if std::mem::take(&mut self.wants_to_reconnect) {
            self.reconnect(now, client);
        }
        self.voice.talk(now, client);
        for trouble in self.voice.troubles() {
            self.screen.notice(&trouble);
        }
        for news in self.voice.device_news() {
            match news {
                DeviceNews::Notice(notice) => self.screen.notice(&notice),
                DeviceNews::Names(names) => self.screen.set_devices(names),
            }
        }
        if let Some(trouble) = self.visit.tend(now, client, &self.screen, self.past.newest()) {
            self.screen.notice(&trouble);
        }
        let is_done = self.input_has_ended
            && self.is_welcomed
            && self.held.is_none()
            && client.unacknowledged() == 0
            && self.voice.has_said_all();
        // Whoever quits has said all that he typed before; without a connection that would be to wait for nothing.
        let may_quit = client.unacknowledged() == 0 || !client.is_in();
        if (self.wants_to_quit && may_quit) || is_done || self.screen.is_gone() {
            self.has_quit = true;
            client.quit(now);
        }
    }
}
