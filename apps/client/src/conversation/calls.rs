//! Who talks to the user alone, and waits for an answer as at a telephone.

use std::collections::BTreeSet;

use chinwag_proto::{
    client::{Client, PlaceId},
    text::escape,
};

use super::Conversation;

impl Conversation {
    /// Tells the user who begins to talk to him alone, and who does not any more.
    pub(super) fn note_calls(&mut self, client: &Client) {
        if !client.is_in() {
            return;
        }
        let talks = |place| match client.is_entered(place) {
            true => client.is_private(place) && has_voice_of_other(client, place),
            // It is not known yet whether he still does.
            false => self.calls.contains(&place),
        };
        let calls: BTreeSet<_> = client.places().filter(|place| talks(*place)).collect();
        let former = std::mem::replace(&mut self.calls, calls.clone());
        for place in calls.difference(&former) {
            self.called(client, *place);
        }
        for place in former.difference(&calls).filter(|place| client.is_entered(**place)) {
            if let Some(name) = client.place_name(*place).filter(|name| !self.hides(name)) {
                self.screen.notice(&format!("{} does not talk to you alone any more", escape(name)));
            }
        }
    }

    fn called(&mut self, client: &Client, place: PlaceId) {
        let Some(name) = client.place_name(place).filter(|name| !self.hides(name)) else { return };
        let shown = escape(name);
        if client.voice_place() == Some(place) {
            return self.screen.notice(&format!("{shown} hears you now, and talks to you alone"));
        }
        self.rooms.reveal(place);
        self.screen.reveal(place, name);
        self.screen.called(place, name);
        self.screen.notice(&format!("{shown} talks to you alone now; /voice {shown} answers"));
    }
}

/// True when the one with whom the user is alone there talks and listens there.
fn has_voice_of_other(client: &Client, place: PlaceId) -> bool {
    let mut others = client.members(place).filter(|(session, _)| Some(*session) != client.session());
    others.any(|(_, member)| member.voice.and_then(|room| client.place_of(room)) == Some(place))
}
