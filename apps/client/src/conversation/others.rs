//! What the user does about one of the others: hears him louder or not at all, or sees nothing of him.

use chinwag_proto::{
    SessionId,
    client::{Client, Member, PlaceId},
    text::escape,
};

use super::Conversation;
use crate::{ignored::Toggled, rooms::members, visit::Visit, voice::Voice};

/// Limits of `/volume`; the louder one is the most that playout does.
const QUIETEST_DB: f32 = -60.0;
const LOUDEST_DB: f32 = 12.0;

impl Conversation {
    /// Hears somebody no more, or again.
    pub(super) fn mute_other(&mut self, client: &Client, at: PlaceId, name: &str) {
        self.other(client, at, name, |voice, _, session, name| {
            let (is_muted, name) = (voice.toggle_other(session), escape(name));
            match is_muted {
                true => format!("you do not hear {name} now; /mute {name} again ends that"),
                false => format!("you hear {name} again"),
            }
        });
    }

    /// Hears somebody so much louder, as far as that goes.
    pub(super) fn set_volume(&mut self, client: &Client, at: PlaceId, name: &str, db: f32) {
        self.other(client, at, name, |voice, visit, session, name| {
            let limit = match db {
                db if db > LOUDEST_DB => ", the loudest there is",
                db if db < QUIETEST_DB => ", the quietest there is; /mute lets you hear nothing",
                _ => "",
            };
            // Zero without a sign of its own.
            let db = db.clamp(QUIETEST_DB, LOUDEST_DB) + 0.0;
            voice.set_volume(session, db);
            let trouble = visit.set_volume(name, db).map(|why| format!("; {why}")).unwrap_or_default();
            format!("you hear {} at {db:+} dB now{limit}{trouble}", escape(name))
        });
    }

    /// Hides what somebody says, or no more.
    pub(super) fn ignore(&mut self, client: &Client, name: &str) {
        let shown = escape(name);
        if name.to_lowercase() == self.me.to_lowercase() {
            return self.screen.notice("that is you");
        }
        let mut others = client.places().flat_map(|place| client.members(place));
        let is_here = others.any(|(_, other)| other.name.to_lowercase() == name.to_lowercase());
        let who = if is_here { "" } else { ", though nobody here is called so" };
        let (answer, trouble) = match self.ignored.toggle(name) {
            Toggled::Ignored => (
                format!("you do not see what {shown} says now{who}; /ignore {shown} again ends that"),
                self.visit.set_ignored(name, true),
            ),
            Toggled::Seen(first) => {
                (format!("you see what {shown} says again"), self.visit.set_ignored(&first, false))
            }
            Toggled::TooMany => {
                ("you ignore too many people; /ignore one of them again ends that".to_owned(), None)
            }
        };
        self.screen.notice(&answer);
        trouble.into_iter().for_each(|trouble| self.screen.notice(&trouble));
        client.places().for_each(|place| self.meet(client, place));
    }

    /// Of whom nothing is shown.
    pub(super) fn tell_ignored(&mut self) {
        let names: Vec<_> = self.ignored.names().map(escape).collect();
        self.screen.notice(&match names.is_empty() {
            true => "you see what everybody says".to_owned(),
            false => format!("you do not see what these say: {}", names.join(", ")),
        });
    }

    /// True when what somebody else says is not shown.
    pub(super) fn hides(&self, name: &str) -> bool {
        name != self.me && self.ignored.has(name)
    }

    /// Whoever is ignored is known by his session as long as he is here.
    pub(super) fn meet(&mut self, client: &Client, place: PlaceId) {
        let others = client.members(place).filter(|(session, _)| Some(*session) != client.session());
        others.for_each(|(session, member)| self.ignored.meet(session, &member.name));
    }

    /// Does something about one of the others, if he is here.
    fn other(
        &mut self,
        client: &Client,
        at: PlaceId,
        name: &str,
        act: impl FnOnce(&mut Voice, &mut Visit, SessionId, &str) -> String,
    ) {
        let places = std::iter::once(at).chain(client.places());
        let mut others = places.flat_map(|place| client.members(place));
        let is_meant = |(session, other): &(SessionId, &Member)| {
            Some(*session) != client.session() && other.name.to_lowercase() == name.to_lowercase()
        };
        let answer = match others.find(is_meant) {
            Some((session, member)) => act(&mut self.voice, &mut self.visit, session, &member.name),
            None => format!("there is no {} here besides you; {}", escape(name), members(client, at)),
        };
        self.screen.notice(&answer);
    }

    /// Makes somebody as loud as he was the last time.
    pub(super) fn restore_volume(&mut self, session: SessionId, name: &str) {
        if let Some(db) = self.visit.volume(name).filter(|_| self.as_loud.insert(session)) {
            // The file may have been written by another version, or by hand.
            let db = db.clamp(QUIETEST_DB, LOUDEST_DB);
            self.voice.set_volume(session, db);
            self.screen.notice(&format!("you hear {} at {db:+} dB, as before", escape(name)));
        }
    }
}
