//! What is typed about rooms, and what happens to the user in them.

use chinwag_proto::{
    client::{Client, PlaceId},
    text::escape,
};

use super::Conversation;
use crate::{
    memory::Open,
    rooms::{leading, members, split_name},
    voice::NOWHERE,
};

impl Conversation {
    pub(super) fn join(&mut self, client: &mut Client, name: &str) {
        match client.join(name) {
            Ok(place) if client.is_entered(place) => self.show(client, place),
            Ok(place) => {
                // What is typed next is meant for it, and waits until he is let in.
                self.rooms.go_ahead(place, name);
                self.screen.go_ahead(place, name);
                if !client.is_in() {
                    self.screen
                        .notice("you go there when the connection is back, and what you type until then");
                }
            }
            Err(error) => self.screen.notice(&error.to_string()),
        }
    }

    /// The user talks and looks where he did the last time, in rooms that are asked for already.
    pub(super) fn go_on(&mut self, client: &mut Client, last: &Open) {
        let named = |client: &Client, name: &str| {
            client.places().find(|place| client.place_name(*place) == Some(name)).filter(|_| !name.is_empty())
        };
        if let Some(place) = named(client, &last.voice) {
            client.set_voice_place(Some(place));
        }
        if let Some(place) = named(client, &last.looked_at) {
            self.rooms.want(place);
        }
    }

    /// The user looks at a room, and what he types goes there.
    pub(super) fn show(&mut self, client: &Client, place: PlaceId) {
        self.rooms.go(place);
        self.screen.show(place);
        let label = self.rooms.label(place);
        match self.rooms.is_private(place) {
            true => self.screen.remark(&format!("what you type is said to {label} alone now")),
            false => {
                self.screen
                    .remark(&format!("what you type is said in {label} now; {}", members(client, place)));
            }
        }
    }

    pub(super) fn part(&mut self, client: &mut Client, at: PlaceId, name: Option<&str>) {
        let Some(place) = self.place(at, name) else { return };
        let label = self.rooms.label(place);
        if self.rooms.is_private(place) {
            // What the other says next opens it again.
            self.rooms.hide(place);
            if client.voice_place() == Some(place) {
                client.set_voice_place(None);
            }
        } else if self.rooms.is_last(place) {
            return self.screen.notice("this is the only room that you are in; {quit} leaves the server");
        } else {
            let trouble = self.visit.parted(&self.screen, &self.past, self.rooms.here, place);
            trouble.into_iter().for_each(|trouble| self.screen.notice(&trouble));
            client.part(place);
            self.rooms.forget(place);
            self.past.begin_anew(place);
        }
        self.screen.leave(place);
        // In a room that he still sees.
        self.note_voice(client);
        let here = self.rooms.label(self.rooms.here);
        self.screen.remark(&format!("you left {label}; what you type is said in {here}"));
    }

    /// Tells the user when he talks and listens nowhere any more.
    pub(super) fn note_voice(&mut self, client: &Client) {
        let had_voice = std::mem::replace(&mut self.had_voice, client.voice_place().is_some());
        self.voice.set_room(self.had_voice);
        if had_voice && !self.had_voice {
            self.screen.notice(NOWHERE);
        }
    }

    pub(super) fn move_voice(&mut self, client: &mut Client, at: PlaceId, name: Option<&str>) {
        let Some(place) = self.place(at, name) else { return };
        client.set_voice_place(Some(place));
        let label = self.rooms.label(place);
        self.screen.notice(&match self.rooms.is_private(place) {
            true if self.calls.contains(&place) => {
                format!("you and {label} hear each other now, and nobody else")
            }
            true => format!("you talk to {label} alone now, who is told, and hear nobody else"),
            false => format!("you talk and listen in {label} now"),
        });
    }

    /// The room that is meant, where the user is.
    pub(super) fn place(&mut self, at: PlaceId, name: Option<&str>) -> Option<PlaceId> {
        let Some(name) = name else { return Some(at) };
        let place = self.rooms.named(name);
        if place.is_none() {
            self.screen.notice(&format!("you are in no room called {}", escape(name)));
        }
        place
    }

    pub(super) fn tell_topic(&mut self, client: &Client, at: PlaceId) {
        let label = self.rooms.label(at);
        self.screen.notice(&match client.topic(at) {
            Some(topic) => format!("{label} is about: {} ({})", escape(&topic.text), escape(&topic.by)),
            None => format!("nobody said what {label} is about; /topic TEXT does"),
        });
    }

    pub(super) fn message(&mut self, client: &mut Client, rest: &str) {
        let places: Vec<_> = client.places().collect();
        let known =
            places.iter().flat_map(|place| client.members(*place).map(|(_, member)| member.name.clone()));
        let (name, text) = split_name(rest, known);
        match client.whisper(name) {
            Ok(place) => {
                let name = client.place_name(place).unwrap_or(name).to_owned();
                self.rooms.open(place, &name);
                self.screen.open(place, &name);
                match text {
                    "" => self.show(client, place),
                    text => self.say(client, place, text),
                }
            }
            Err(error) => self.screen.notice(&error.to_string()),
        }
    }

    /// There is nothing to be read where one alone was to be who never was there.
    pub(super) fn leave_vain(&mut self, place: PlaceId) {
        if self.rooms.is_vain(place) {
            self.rooms.forget(place);
            self.screen.leave(place);
        }
    }

    pub(super) fn rename(&mut self, client: &mut Client, name: &str) {
        match client.set_name(name) {
            Ok(()) if client.is_in() => {}
            Ok(()) => self.screen.notice("you are called so when the connection is back"),
            Err(error) => self.screen.notice(&error.to_string()),
        }
    }

    /// The user is in a room, perhaps again.
    pub(super) fn entered(&mut self, place: PlaceId, again: bool, continues: bool) {
        if !again {
            return;
        }
        // What was asked for over the connection before has no answer.
        self.screen.may_have_earlier(place);
        if !continues {
            self.past.begin_anew(place);
        }
        match &mut self.back {
            Some(back) => {
                back.rooms += 1;
                back.unknown.extend(Some(place).filter(|_| !continues));
            }
            None if continues => {}
            None => {
                let label = self.rooms.label(place);
                self.screen.notice(&format!("in {label}, what was said meanwhile may have been missed"));
            }
        }
    }

    /// Tells that the connection is back, when the server has answered for each room.
    pub(super) fn tell_back(&mut self, client: &Client) {
        if !client.is_in() || client.places().any(|place| !client.is_entered(place)) {
            return;
        }
        let Some(back) = self.back.take() else { return };
        let rooms: Vec<_> = back.unknown.iter().map(|place| self.rooms.label(*place)).collect();
        let loss = match rooms.len() {
            0 if back.rooms == 0 || back.has_gap => String::new(),
            0 => "; nothing was missed but voice".to_owned(),
            all if all == back.rooms => "; what was said meanwhile may have been missed".to_owned(),
            _ => format!("; what was said meanwhile in {} may have been missed", rooms.join(", ")),
        };
        let unmuted = if back.has_unmuted { "; nobody whom you muted is muted now" } else { "" };
        self.screen.notice(&format!("back as {}{loss}{unmuted}", escape(&back.name)));
    }

    /// Somebody came into a room.
    pub(super) fn came(&mut self, place: PlaceId, name: &str) {
        let (prefix, name) = (self.rooms.prefix(place), escape(name));
        match self.rooms.is_private(place) {
            true if self.rooms.is_shown(place) => self.screen.remark(&format!("{name} is there again")),
            true => {}
            false => self.screen.told(&format!("{prefix}{} has joined the chat!", leading(&name))),
        }
    }

    /// Somebody left a room.
    pub(super) fn went(&mut self, place: PlaceId, name: &str) {
        let (prefix, name) = (self.rooms.prefix(place), escape(name));
        match self.rooms.is_private(place) {
            true if self.rooms.is_shown(place) => {
                self.screen.remark(&format!("{name} is not there any more"))
            }
            true => {}
            false => self.screen.told(&format!("{prefix}{} has left the chat.", leading(&name))),
        }
    }
}
