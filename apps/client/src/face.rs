//! Where the conversation is told: in plain lines, or on the full screen.

use chinwag_proto::{
    Instant, Seq,
    client::{Client, ClientEvent, ListedRoom, Page, PlaceId},
};
use chinwag_screen::{
    Button,
    commands::{Mode, help_lines},
};
use chinwag_terminal::Screen;

use crate::{arguments::notifier, full::FullScreen, voice::Voice};

/// See the module.
#[derive(Debug)]
pub(crate) enum Face {
    Lines(Screen),
    Full(FullScreen),
}

impl Face {
    /// Which commands there are.
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::Lines(_) => Mode::Lines,
            Self::Full(_) => Mode::Full,
        }
    }

    /// Something has happened; plain lines are told each thing by itself.
    pub(crate) fn event(&self, now: Instant, event: &ClientEvent) {
        if let Self::Full(full) = self {
            full.event(now, event);
        }
    }

    /// What no event tells.
    pub(crate) fn tend(&mut self, client: &Client, voice: &mut Voice) {
        match self {
            Self::Lines(screen) => screen.set_in(client.is_in()),
            Self::Full(full) => {
                full.tend(client);
                full.tend_voice(voice, client.heard_in().is_some());
            }
        }
    }

    /// Nobody reads it any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Lines(screen) if screen.is_gone())
    }

    /// True when a person sits there.
    pub(crate) fn is_interactive(&self) -> bool {
        match self {
            Self::Lines(screen) => screen.is_interactive(),
            Self::Full(_) => true,
        }
    }

    /// What was typed in a room and not entered, if that can be known now, and the last place that was read, of those up to `told`. `here`
    /// is where plain lines go.
    pub(crate) fn bookmark(&self, place: PlaceId, here: PlaceId, told: Seq) -> (Option<String>, Seq) {
        match self {
            Self::Lines(screen) if place == here => (screen.draft(), told),
            Self::Lines(_) => (None, told),
            Self::Full(full) => {
                let (draft, read) = full.bookmark(place);
                (Some(draft), read)
            }
        }
    }

    /// The user is in a room where he left this the last time.
    pub(crate) fn arrive(&self, place: PlaceId, here: PlaceId, draft: &str, read: Option<Seq>) {
        match self {
            Self::Lines(screen) if place == here => screen.begin(draft),
            Self::Lines(_) => {}
            Self::Full(full) => full.arrive(place, draft, read),
        }
    }

    /// The room that is looked at, where one is.
    pub(crate) fn looks_at(&self) -> Option<PlaceId> {
        match self {
            Self::Lines(_) => None,
            Self::Full(full) => full.looks_at(),
        }
    }

    /// Names of microphones and speakers, to complete what is typed.
    pub(crate) fn set_devices(&self, [inputs, outputs]: [Vec<String>; 2]) {
        if let Self::Full(full) = self {
            full.change(|model| model.set_devices(inputs, outputs));
        }
    }

    /// The rooms of the server, for the same.
    pub(crate) fn set_listed(&self, rooms: &[ListedRoom]) {
        if let Self::Full(full) = self {
            full.change(|model| model.set_listed(rooms.iter().map(|room| room.name.as_str())));
        }
    }

    /// Who is here is told in a line, since a person sits there who does not see it.
    pub(crate) fn wants_members(&self) -> bool {
        matches!(self, Self::Lines(screen) if screen.is_interactive())
    }

    /// The user is in.
    pub(crate) fn welcome(&mut self, name: &str) {
        match self {
            Self::Lines(screen) => {
                screen.welcome(name);
                if screen.is_interactive() {
                    screen.notice(&marked("/help tells what else you can type"));
                }
            }
            Self::Full(full) => {
                full.notice("Welcome! /help tells what you can type; {quit} leaves.");
            }
        }
    }

    /// What happened in the conversation, as a plain line; the full screen knows it already. What others wrote in it must be
    /// escaped.
    pub(crate) fn told(&mut self, line: &str) {
        if let Self::Lines(screen) = self {
            screen.line(line);
        }
    }

    /// The same about the conversation rather than in it.
    pub(crate) fn remark(&mut self, line: &str) {
        if let Self::Lines(screen) = self {
            screen.notice(&marked(line));
        }
    }

    /// The user looks at a room.
    pub(crate) fn show(&self, place: PlaceId) {
        if let Self::Full(full) = self {
            full.show(place);
        }
    }

    /// The user looks at a room before the server has let him in.
    pub(crate) fn go_ahead(&self, place: PlaceId, name: &str) {
        if let Self::Full(full) = self {
            full.go_ahead(place, name);
        }
    }

    /// Somebody said something to the user alone, for the first time.
    pub(crate) fn reveal(&self, place: PlaceId, name: &str) {
        if let Self::Full(full) = self {
            full.reveal(place, name);
        }
    }

    /// Somebody talks to the user alone, who may look elsewhere.
    pub(crate) fn called(&self, place: PlaceId, name: &str) {
        if let Self::Full(full) = self {
            full.called(place, name);
        }
    }

    /// The one whom the user is alone with is called so.
    pub(crate) fn rename(&self, place: PlaceId, name: &str) {
        if let Self::Full(full) = self {
            full.rename(place, name);
        }
    }

    /// The user is alone with somebody, and looks at it.
    pub(crate) fn open(&self, place: PlaceId, name: &str) {
        if let Self::Full(full) = self {
            full.open_private(place, name);
        }
    }

    /// The user is not in a room any more, or does not look at what is between him and somebody.
    pub(crate) fn leave(&self, place: PlaceId) {
        if let Self::Full(full) = self {
            full.leave(place);
        }
    }

    /// Something that is no part of the conversation. What others wrote in it must be escaped.
    pub(crate) fn notice(&mut self, text: &str) {
        match self {
            Self::Lines(screen) => screen.notice(&marked(text)),
            Self::Full(full) => full.notice(text),
        }
    }

    /// What can be typed.
    pub(crate) fn help(&mut self) {
        match self {
            Self::Lines(screen) => screen.notice(&marked(&help_lines(Mode::Lines))),
            Self::Full(full) => full.change(chinwag_screen::Model::show_help),
        }
    }

    /// Empties the conversation.
    pub(crate) fn clear(&mut self) {
        if let Self::Full(full) = self {
            full.change(chinwag_screen::Model::clear);
        }
    }

    /// Goes to where that was said, if that is looked at here.
    pub(crate) fn finds(&self, words: &str) -> bool {
        match self {
            Self::Lines(_) => false,
            Self::Full(full) => full.change(|model| model.find(words)),
        }
    }

    /// A part of what was said before, where it has a place of its own; false where it is told line by line.
    pub(crate) fn past(&self, page: &Page) -> bool {
        match self {
            Self::Lines(_) => false,
            Self::Full(full) => {
                full.past(page);
                true
            }
        }
    }

    /// A part of what was missed before a message; so many are still missing before that. False where it is told line by line.
    pub(crate) fn fill(&self, page: &Page, before: Seq, missing: u64) -> bool {
        match self {
            Self::Lines(_) => false,
            Self::Full(full) => {
                full.fill(page, before, missing);
                true
            }
        }
    }

    /// What was said before may be asked for again.
    pub(crate) fn may_have_earlier(&self, place: PlaceId) {
        if let Self::Full(full) = self {
            full.may_have_earlier(place);
        }
    }

    /// A line of the conversation. What others wrote in it must be escaped.
    pub(crate) fn line(&mut self, text: &str) {
        match self {
            Self::Lines(screen) => screen.line(text),
            Self::Full(full) => full.notice(text),
        }
    }

    /// The user talks by this key from now on.
    pub(crate) fn set_button(&mut self, button: Button) {
        if let Self::Full(full) = self {
            full.change(|model| model.set_button(button));
            full.notice(&format!(
                "you talk by {button} now: hold it, or press it to begin and again to stop where your terminal does not tell that it is held"
            ));
        }
    }

    /// Shows notifications of mentions, or does not.
    pub(crate) fn notify(&mut self, shows: Option<bool>) {
        let Self::Full(full) = self else { return };
        let shows = full.change(|model| {
            let shows = shows.unwrap_or(model.notifier().is_none());
            model.set_notifier(shows.then(notifier));
            shows
        });
        full.notice(match shows {
            true => "your desktop is told when your name is said and this window has not the focus, if your terminal does that",
            false => "your desktop is not told of anything",
        });
    }

    /// Rings for mentions, or does not.
    pub(crate) fn bell(&mut self, rings: Option<bool>) {
        let Self::Full(full) = self else { return };
        let rings = full.change(|model| {
            model.set_rings(rings.unwrap_or(!model.rings()));
            model.rings()
        });
        full.notice(if rings { "a bell rings when your name is said" } else { "no bell rings" });
    }
}

/// Something from the program itself, as plain lines that nobody can say: see [`crate::rooms::leading`].
fn marked(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("-- {line}")).collect();
    lines.join("\n")
}
