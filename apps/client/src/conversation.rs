//! What stands between the client machine and the person: lines in, lines out, voice handed on.

mod calls;
mod others;
mod places;

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
    client::{Client, ClientEvent, Page, PlaceId, SayError},
    hub::Marks,
    relay::VoicePath,
    text::escape,
};
use chinwag_screen::commands::{Line, Mode, nearest};
use chinwag_terminal::Typed;
use chinwag_transport_mio::{Waker, client::Handler};

use crate::{
    face::Face,
    ignored::Ignored,
    past::{LONG_PAGE, MISSED, PAGE, Past, Question},
    rooms::{self, Arrival, Rooms, leading, listed, members},
    switch::{Hand, Switch, To, WAITING_SWITCHES, What},
    visit::Visit,
    voice::{DeviceNews, Voice, VoiceReport},
};

/// What the user knows while the connection is lost: everything is told once, however often it is tried.
#[derive(Debug, Default)]
struct Away {
    told: BTreeSet<String>,
}

/// What is known of a connection that is back, until it is known of all rooms.
#[derive(Debug)]
struct Back {
    /// As whom.
    name: String,
    /// Those whom the user had muted are others for the server now.
    has_unmuted: bool,
    /// Rooms in which he is again, and those of them of which it is not known what was said meanwhile.
    rooms: usize,
    unknown: Vec<PlaceId>,
    /// Messages are missing, which is told by itself.
    has_gap: bool,
}

/// Troubles of one absence that are remembered as told.
const TOLD: usize = 16;

/// What the person wants.
#[derive(Debug)]
pub(crate) enum Input {
    /// In a room that he looks at; without one where the last line went.
    Typed(Option<PlaceId>, Typed),
    /// Lines that are said whatever they look like.
    Said(Option<PlaceId>, Vec<String>),
    /// What was said before all that is shown is wanted.
    Earlier(Option<PlaceId>),
}

/// Events arrive while the machine is busy; what is to be done with it waits for the next turn.
#[derive(Debug)]
pub(crate) struct Conversation {
    screen: Face,
    lines: Receiver<Input>,
    switches: Receiver<Switch>,
    /// What was pasted and is yet to be said.
    pasted: VecDeque<(PlaceId, String)>,
    voice: Voice,
    visit: Visit,
    past: Past,
    rooms: Rooms,
    ignored: Ignored,
    waker: Arc<Waker>,
    /// The user's own session, and his name there.
    own: Option<SessionId>,
    me: String,
    /// The first welcome came.
    is_welcomed: bool,
    input_has_ended: bool,
    wants_to_quit: bool,
    wants_to_reconnect: bool,
    /// It ends since the user wants it, not since it was broken off.
    has_quit: bool,
    /// Lines that were to be said and were not.
    unsaid: usize,
    /// What had to wait until the server caught up.
    held: Option<(PlaceId, String)>,
    /// The room of which it is yet to be told who is there.
    owes_members: Option<PlaceId>,
    /// Of those whom the user is alone with it is yet to be looked up what they are called.
    owes_names: bool,
    /// The rooms in which all are yet to be made as loud as they were.
    owes_volumes: BTreeSet<PlaceId>,
    /// Those who were made as loud as they were.
    as_loud: BTreeSet<SessionId>,
    /// He talked and listened somewhere when it was looked at last.
    had_voice: bool,
    /// Where somebody talks to him alone.
    calls: BTreeSet<PlaceId>,
    /// Those who left a room, and may be in none of the user's any more.
    gone: Vec<SessionId>,
    /// The connection is back, which is yet to be told.
    back: Option<Back>,
    away: Option<Away>,
    /// Voice had to leave UDP, and the user was told.
    goes_by_tcp: bool,
}

impl Conversation {
    pub(crate) fn new(
        screen: Face,
        (lines, switches): (Receiver<Input>, Receiver<Switch>),
        voice: Voice,
        visit: Visit,
        waker: Arc<Waker>,
    ) -> Self {
        let ignored = Ignored::new(visit.ignored());
        Self {
            screen,
            lines,
            switches,
            pasted: VecDeque::new(),
            voice,
            visit,
            past: Past::new(),
            rooms: Rooms::default(),
            ignored,
            waker,
            own: None,
            me: String::new(),
            is_welcomed: false,
            input_has_ended: false,
            wants_to_quit: false,
            wants_to_reconnect: false,
            has_quit: false,
            unsaid: 0,
            held: None,
            owes_members: None,
            owes_names: false,
            owes_volumes: BTreeSet::new(),
            as_loud: BTreeSet::new(),
            had_voice: false,
            calls: BTreeSet::new(),
            gone: Vec::new(),
            back: None,
            away: None,
            goes_by_tcp: false,
        }
    }

    /// True when the user left, and was not interrupted.
    pub(crate) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// True when a script had something to say that was not said, beside what waits; whoever sits there has read why.
    pub(crate) fn has_failed(&self, waiting: usize) -> bool {
        !self.screen.is_interactive() && self.unsaid + waiting > 0
    }

    /// Remembers what is left.
    pub(crate) fn leave(&mut self) -> Option<String> {
        self.visit.end(&self.screen, &self.past, self.rooms.here)
    }

    /// Stops sound and tells what became of it.
    pub(crate) fn finish(self) -> VoiceReport {
        self.voice.finish()
    }

    fn typed(&mut self, client: &mut Client, at: PlaceId, line: &str) {
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
            Line::Who if client.is_entered(at) => self.screen.notice(&members(client, at)),
            Line::Who => self.unless_asked(client, false),
            Line::Join(name) => self.join(client, name),
            Line::Part(name) => self.part(client, at, name),
            Line::Rooms => {
                let is_asked = client.ask_rooms();
                self.unless_asked(client, is_asked);
            }
            Line::VoiceRoom(name) => self.move_voice(client, at, name),
            Line::Topic(Some(_)) if self.rooms.is_private(at) => {
                self.screen.notice("what is between two has no topic");
            }
            // The server does not answer where nothing would change.
            Line::Topic(topic) => match topic.filter(|topic| *topic != rooms::about(client, at)) {
                None => self.tell_topic(client, at),
                Some(topic) => {
                    let is_asked = client.set_topic(at, topic);
                    self.unless_asked(client, is_asked);
                }
            },
            Line::Message(rest) => self.message(client, rest),
            // Whoever reads it makes of it what its author does.
            Line::Act(text) => self.say(client, at, &format!("/me {text}")),
            Line::Nick(name) => self.rename(client, name),
            Line::Mute => self.toggle(What::Mute),
            Line::Deafen => self.toggle(What::Deafen),
            Line::Talk => self.toggle(What::Ptt),
            Line::TalkKey(button) => {
                self.voice.use_push_to_talk();
                self.screen.set_button(button);
                if let Some(trouble) = self.visit.set_button(button) {
                    self.screen.notice(&trouble);
                }
            }
            Line::VoiceActivity => self.screen.notice(self.voice.toggle_activity()),
            Line::Clear => {
                self.past.clear(at);
                self.screen.clear();
            }
            Line::Ignore(Some(name)) => self.ignore(client, name),
            Line::Ignore(None) => self.tell_ignored(),
            Line::Search(words) if self.screen.finds(words) => {}
            Line::Search("") => {
                self.screen.notice("there is nothing before that; /search WORDS looks for other words");
            }
            Line::Search(words) => {
                let is_asked = self.past.ask_search(client, at, words);
                self.unless_asked(client, is_asked);
            }
            Line::History(count) => {
                let count = count.unwrap_or(PAGE);
                let is_asked = self.past.ask_earlier(client, at, count, Question::Earlier);
                self.unless_asked(client, is_asked);
            }
            Line::Bell(rings) => self.screen.bell(rings),
            Line::Notify(shows) => self.screen.notify(shows),
            Line::MuteOther(name) => self.mute_other(client, at, name),
            Line::Volume(name, db) => self.set_volume(client, at, name, db),
            Line::Incomplete(form) => self.screen.notice(&format!("write {form}")),
            Line::TooMuch(command) => self.screen.notice(&format!("{command} takes nothing behind it")),
            Line::OnlyFull(command) => self.screen.notice(&format!("{command} is only on the full screen")),
            Line::Unknown(command) => {
                let mode = self.screen.mode();
                let near = nearest(command, mode).filter(|_| mode == Mode::Full);
                let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
                self.screen.notice(&format!("{} is no command{near}; /help lists them", escape(command)));
            }
            Line::Say(text) => self.say(client, at, text),
        }
    }

    fn toggle(&mut self, what: What) {
        let (Ok(told) | Err(told)) = self.voice.switch(what, To::Toggle, Hand::Seat);
        self.screen.notice(told);
    }

    /// Does what keys and other programs want.
    fn carry_out_switches(&mut self) {
        for switch in self.switches.try_iter().take(WAITING_SWITCHES) {
            switch.carry_out(&mut self.voice, &mut self.screen);
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

    fn unless_asked(&mut self, client: &Client, is_asked: bool) {
        if !is_asked {
            self.screen.notice(match client.is_in() {
                true => "the server has not let you in there, or not yet",
                false => "there is no connection at the moment",
            });
        }
    }

    /// A part of what was said before.
    fn page(&mut self, mut page: Page) {
        let question = self.past.answered(&mut page);
        let has_any = !page.lines.is_empty();
        page.lines.retain(|line| !self.hides(&line.name));
        let nothing = match (has_any, page.more) {
            (true, true) => "the last of that is of those whom you ignore; the same again goes farther back",
            (true, false) => "what was said before that is only of those whom you ignore",
            (false, _) => "nothing was said before that",
        };
        let page = &page;
        let prefix = self.rooms.prefix(page.place);
        if let Some(error) = &page.error {
            self.screen.may_have_earlier(page.place);
            self.screen.notice(&format!("nothing can be shown of what was said: {}", escape(error)));
            return;
        }
        match &question {
            Question::Arrival | Question::Earlier | Question::Above => {
                if self.screen.past(page) {
                    // Whoever typed it looks at the end, and would see nothing happen.
                    match (&question, page.lines.is_empty()) {
                        (Question::Earlier, true) => self.screen.notice(nothing),
                        (Question::Earlier, false) => {
                            self.screen.notice("what was said before that is above now; PgUp goes there");
                        }
                        _ => {}
                    }
                    return;
                }
                let read = self.visit.read_before(page.place).filter(|_| question == Question::Arrival);
                let first_new = read.and_then(|read| page.lines.iter().find(|line| line.seq > read));
                for line in &page.lines {
                    if first_new.is_some_and(|first| first.seq == line.seq) {
                        self.screen.notice(&format!("{prefix}new since you were here:"));
                    }
                    self.screen.line(&self.past.line(&prefix, line));
                }
                match (&question, page.lines.is_empty(), page.more) {
                    (Question::Earlier, true, _) => self.screen.notice(nothing),
                    // Of the room where it is typed.
                    (_, false, true) if prefix.is_empty() => {
                        self.screen.notice("/history shows what was said before that")
                    }
                    _ => {}
                }
            }
            Question::Missed(gap) => {
                if !self.screen.fill(page, gap.end, gap.missing) && !page.lines.is_empty() {
                    self.screen.notice(&format!("{prefix}the last {} of what was missed:", page.lines.len()));
                    page.lines.iter().for_each(|line| self.screen.line(&self.past.line(&prefix, line)));
                }
            }
            Question::Search(words) => {
                let words = escape(words);
                let found = match (page.lines.len(), page.more) {
                    (0, true) => {
                        format!(
                            "the last that has \"{words}\" is of those whom you ignore; more words find other messages"
                        )
                    }
                    (0, false) if has_any => format!("only those whom you ignore said \"{words}\""),
                    (0, false) => format!("nothing was found for \"{words}\""),
                    (count, true) => format!("the last {count} messages that have \"{words}\":"),
                    (_, false) => format!("all messages that have \"{words}\":"),
                };
                self.screen.notice(&found);
                page.lines.iter().for_each(|line| self.screen.notice(&self.past.line(&prefix, line)));
            }
        }
    }

    fn say(&mut self, client: &mut Client, place: PlaceId, text: &str) {
        match client.say(place, text) {
            Ok(_) if self.away.is_some() => {
                self.trouble("what you type now is said when the connection is back");
            }
            Ok(_) => {}
            Err(SayError::Full) => self.held = Some((place, text.to_owned())),
            Err(SayError::NotInRoom) if self.rooms.is_private(place) => {
                self.unsaid += 1;
                let label = self.rooms.label(place);
                self.screen
                    .notice(&format!("not said: {label} is not there any more; /msg {label} begins anew"));
            }
            Err(error @ (SayError::Message(_) | SayError::NotInRoom)) => {
                self.unsaid += 1;
                self.screen.notice(&error.to_string());
            }
            // Interrupted: what was typed ahead is no trouble of anybody's.
            Err(SayError::Ended) => self.wants_to_quit = true,
        }
    }

    fn read_lines(&mut self, client: &mut Client) {
        if let Some((place, text)) = self.held.take() {
            self.say(client, place, &text);
        }
        while self.held.is_none() && !self.wants_to_quit {
            if let Some((place, line)) = self.pasted.pop_front() {
                self.say(client, place, &line);
                continue;
            }
            let here = self.rooms.here;
            match self.lines.try_recv() {
                Ok(Input::Typed(at, Typed::Line(line))) => self.typed(client, at.unwrap_or(here), &line),
                Ok(Input::Typed(_, Typed::Unusable(why))) => {
                    self.unsaid += 1;
                    self.screen.notice(why);
                }
                Ok(Input::Said(at, lines)) => {
                    let place = at.unwrap_or(here);
                    self.pasted.extend(lines.into_iter().map(|line| (place, line)));
                }
                // Without a connection it is asked for again when somebody looks up again.
                Ok(Input::Earlier(at)) => {
                    let place = at.unwrap_or(here);
                    if !self.past.ask_earlier(client, place, LONG_PAGE, Question::Above) {
                        self.screen.may_have_earlier(place);
                    }
                }
                Ok(Input::Typed(_, Typed::End)) | Err(TryRecvError::Disconnected) => {
                    self.input_has_ended = true;
                    // A script has nothing but its end to end with.
                    if self.screen.is_interactive() {
                        self.voice.leave_seat();
                    }
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

impl Handler for Conversation {
    fn event(&mut self, now: Instant, event: ClientEvent) {
        if let ClientEvent::Said { place, seq, name, own, .. } = &event {
            if own.is_none() && self.hides(name) {
                return self.past.told(*place, *seq);
            }
            if let Some(other) = self.rooms.reveal(*place) {
                self.screen.reveal(*place, other);
            }
        }
        self.screen.event(now, &event);
        let arrival = self.rooms.learn(&event);
        if let ClientEvent::Welcome { session, name, .. } = &event {
            self.own = Some(*session);
            self.me.clone_from(name);
        }
        if let ClientEvent::Entered { place, is_private: false, continues: false, .. } = &event {
            self.visit.arrived(*place);
        }
        match event {
            ClientEvent::Welcome { name, again: false, .. } => {
                self.screen.welcome(&name);
                self.is_welcomed = true;
                self.voice.start(now, Arc::clone(&self.waker));
                // What a script joins is no place where a person was.
                if self.screen.is_interactive()
                    && let Some(trouble) = self.visit.joined()
                {
                    self.screen.notice(&trouble);
                }
            }
            ClientEvent::Welcome { name, resumed, .. } => {
                self.away = None;
                self.past.ask_again();
                // Those who were here are others, though nobody may be told so who is in no room any more.
                let had_muted = !resumed && self.voice.forget_all();
                if !resumed {
                    self.as_loud.clear();
                    self.ignored.settle(|_| false);
                }
                let has_unmuted = had_muted || self.back.take().is_some_and(|back| back.has_unmuted);
                self.back = Some(Back { name, has_unmuted, rooms: 0, unknown: vec![], has_gap: false });
            }
            ClientEvent::Entered { place, again, continues, .. } => {
                self.owes_volumes.insert(place);
                self.entered(place, again, continues);
                if arrival == Some(Arrival::Wanted) {
                    self.rooms.go(place);
                    self.screen.show(place);
                }
                if arrival.is_some() {
                    let label = self.rooms.label(place);
                    self.screen.remark(&format!("you are in {label} now, and what you type is said there"));
                }
                if arrival.is_some() || place == self.rooms.here {
                    self.owes_members = Some(place).filter(|_| self.screen.wants_members());
                }
            }
            ClientEvent::NotEntered { place, name, is_private, why } => {
                self.past.begin_anew(place);
                let looked_at = self.screen.looks_at().unwrap_or(self.rooms.here);
                if let Some(oldest) = self.rooms.forget_oldest(looked_at) {
                    self.screen.leave(oldest);
                }
                let (name, why) = (escape(&name), escape(&why));
                match is_private {
                    // Of one who never said anything the user did not know.
                    true if !self.rooms.is_shown(place) => {}
                    true => {
                        self.leave_vain(place);
                        self.screen.notice(&format!("there is no conversation with {name} now: {why}"));
                    }
                    false => self.screen.notice(&format!("you are not in {name}: {why}")),
                }
            }
            ClientEvent::Changed { session, former: Some(former), member } => {
                self.owes_names = true;
                let (former, name) = (escape(&former), escape(&member.name));
                self.screen.told(&format!("{} is called {name} now.", leading(&former)));
                if Some(session) == self.own {
                    self.me.clone_from(&member.name);
                    if self.screen.is_interactive()
                        && let Some(trouble) = self.visit.renamed(&member.name)
                    {
                        self.screen.notice(&trouble);
                    }
                } else {
                    self.ignored.meet(session, &member.name);
                    self.restore_volume(session, &member.name);
                }
            }
            ClientEvent::Changed { .. } => {}
            ClientEvent::Topic { place, topic } => {
                let (by, label) = (escape(&topic.by), self.rooms.label(place));
                self.screen.remark(&match topic.text.as_str() {
                    "" => format!("{by} says that {label} is about nothing any more"),
                    text => format!("{by} says that {label} is about: {}", escape(text)),
                });
            }
            ClientEvent::Rooms(rooms) => {
                self.screen.set_listed(&rooms);
                self.screen.notice(&listed(&rooms));
            }
            ClientEvent::NotDone { why } => self.screen.notice(&escape(&why)),
            ClientEvent::Joined { place, session, name } => {
                self.came(place, &name);
                self.ignored.meet(session, &name);
                self.restore_volume(session, &name);
            }
            // What is still to be heard of him is heard; sound forgets him by itself.
            ClientEvent::Left { place, session, name, .. } => {
                self.gone.push(session);
                self.went(place, &name);
            }
            ClientEvent::Said { place, seq, name, text, own, .. } => {
                self.past.told(place, seq);
                // Also what he said over a connection before this one, and is told again.
                let is_own = own.is_some() || name == self.me;
                let line = self.rooms.line(place, &name, &text, is_own);
                self.screen.told(&line);
            }
            ClientEvent::NotSaid { place, text, why, .. } => {
                self.unsaid += 1;
                self.leave_vain(place);
                self.screen.notice(&format!("not said: {}: {}", escape(&text), escape(&why)));
            }
            ClientEvent::Missed { place, messages, before } => {
                // Plain lines cannot be put between others.
                let wanted = if self.screen.mode() == Mode::Full { MISSED } else { LONG_PAGE };
                if self.screen.is_interactive() {
                    self.past.missed(place, messages, before, wanted);
                }
                if let Some(back) = &mut self.back {
                    back.has_gap = true;
                }
                let prefix = self.rooms.prefix(place);
                self.screen.remark(&format!(
                    "{prefix}{messages} messages were missed while the connection was lost"
                ));
            }
            ClientEvent::Meanwhile { place, joined, left } => {
                left.iter().for_each(|name| self.went(place, name));
                joined.iter().for_each(|name| self.came(place, name));
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

    fn due(&self) -> Option<Instant> {
        self.visit.due()
    }

    fn tend(&mut self, now: Instant, client: &mut Client) {
        self.note_voice(client);
        self.note_calls(client);
        self.carry_out_switches();
        if std::mem::take(&mut self.owes_names) {
            let renamed = self.rooms.rename(|place| client.place_name(place));
            renamed.into_iter().for_each(|(place, name)| self.screen.rename(place, name));
        }
        if let Some(last) = self.visit.take_last() {
            self.go_on(client, &last);
        }
        if !self.has_quit {
            self.read_lines(client);
        }
        self.tell_back(client);
        self.past.ask_missed(client);
        if let Some(place) = self.owes_members.take() {
            self.screen.notice(&members(client, place));
        }
        for place in std::mem::take(&mut self.owes_volumes) {
            self.meet(client, place);
            let others = client.members(place).filter(|(session, _)| Some(*session) != client.session());
            others.for_each(|(session, member)| self.restore_volume(session, &member.name));
        }
        let is_here =
            |session: SessionId| client.places().any(|place| client.member(place, session).is_some());
        for session in std::mem::take(&mut self.gone).into_iter().filter(|session| !is_here(*session)) {
            self.voice.forget(session);
            self.as_loud.remove(&session);
        }
        // Who is in a room that is not entered again yet is not known.
        if client.places().all(|place| client.is_entered(place)) {
            self.ignored.settle(is_here);
        }
        client.set_marks(Marks { muted: self.voice.is_muted(), deafened: self.voice.is_deafened() });
        if std::mem::take(&mut self.wants_to_reconnect) {
            self.reconnect(now, client);
        }
        self.voice.talk(now, client);
        // After all that was typed: nothing may happen for long before the next turn.
        self.screen.tend(client, &mut self.voice);
        for trouble in self.voice.troubles() {
            self.screen.notice(&trouble);
        }
        for news in self.voice.device_news() {
            match news {
                DeviceNews::Notice(notice) => self.screen.notice(&notice),
                DeviceNews::Names(names) => self.screen.set_devices(names),
            }
        }
        let trouble = self.visit.tend(now, client, &self.screen, &self.past, self.rooms.here);
        if let Some(trouble) = trouble {
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
