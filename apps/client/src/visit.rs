//! What is remembered of the conversation that goes on: where it is, by what name, how loud others are to be heard in it, and what is
//! left in its rooms.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    Duration, Instant, Seq,
    client::{Client, PlaceId},
    link::Link,
};
use chinwag_screen::Button;

use crate::{
    face::Face,
    memory::{Memory, Open, Room},
    past::Past,
};

/// Between two looks at what is left: each may be a write to the disk.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Visit {
    memory: Memory,
    link: Link,
    /// The name that the user chose.
    name: String,
    /// Where he is, as it was looked at last.
    rooms: BTreeMap<PlaceId, Room>,
    open: Open,
    /// Rooms that he is in now, until it is known what he left there.
    arrivals: BTreeSet<PlaceId>,
    /// How far he had read there before.
    read_before: BTreeMap<PlaceId, Seq>,
    /// Where he was the last time, until he is there again.
    last: Option<Open>,
    next_look: Instant,
    /// Something had changed at the last look: it may still change.
    is_changing: bool,
}

impl Visit {
    /// Of a server, which need not let him in, where he was in the rooms of `last` before.
    pub(crate) fn new(memory: Memory, link: Link, name: String, last: Option<Open>) -> Self {
        Self {
            memory,
            link,
            name,
            rooms: BTreeMap::new(),
            open: Open::default(),
            arrivals: BTreeSet::new(),
            read_before: BTreeMap::new(),
            last,
            next_look: Instant::ZERO,
            is_changing: false,
        }
    }

    /// Where he talked and what he looked at the last time, told once.
    pub(crate) fn take_last(&mut self) -> Option<Open> {
        self.last.take()
    }

    /// He is called otherwise now. What the user should know is that it cannot be remembered.
    pub(crate) fn renamed(&mut self, name: &str) -> Option<String> {
        name.clone_into(&mut self.name);
        self.joined()
    }

    /// The server let him in. What the user should know is that it cannot be remembered.
    pub(crate) fn joined(&mut self) -> Option<String> {
        self.memory.joined(&self.link, &self.name)
    }

    /// The user talks by this key. What the user should know is that it cannot be remembered.
    pub(crate) fn set_button(&mut self, button: Button) -> Option<String> {
        self.memory.set_button(button)
    }

    /// How much louder somebody is to be heard, in dB, if that was ever said.
    pub(crate) fn volume(&self, name: &str) -> Option<f32> {
        self.memory.volume(&self.link, name)
    }

    /// Somebody is to be heard so much louder, in dB. What the user should know is that it cannot be remembered.
    pub(crate) fn set_volume(&mut self, name: &str, db: f32) -> Option<String> {
        self.memory.set_volume(&self.link, name, db)
    }

    /// Who is ignored.
    pub(crate) fn ignored(&self) -> Vec<String> {
        self.memory.ignored(&self.link)
    }

    /// Somebody is ignored, or no more. What the user should know is that it cannot be remembered.
    pub(crate) fn set_ignored(&mut self, name: &str, is_ignored: bool) -> Option<String> {
        self.memory.set_ignored(&self.link, name, is_ignored)
    }

    /// He is in a room whose places are not those of before.
    pub(crate) fn arrived(&mut self, place: PlaceId) {
        self.arrivals.insert(place);
    }

    /// He leaves a room, which is remembered as it is. What the user should know is that it cannot be.
    pub(crate) fn parted(
        &mut self,
        face: &Face,
        past: &Past,
        here: PlaceId,
        place: PlaceId,
    ) -> Option<String> {
        let trouble = self.leave(face, past, here);
        self.rooms.remove(&place);
        self.read_before.remove(&place);
        self.next_look = Instant::ZERO;
        trouble
    }

    /// When to look again at what would be left.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.is_changing && !self.rooms.is_empty()).then_some(self.next_look)
    }

    /// How far he had read in a room when he came.
    pub(crate) fn read_before(&self, place: PlaceId) -> Option<Seq> {
        self.read_before.get(&place).copied()
    }

    /// Gives back what was left in rooms, and looks now and then at what would be left now; `here` is where his lines go. What the user
    /// should know is that it cannot be remembered.
    pub(crate) fn tend(
        &mut self,
        now: Instant,
        client: &Client,
        face: &Face,
        past: &Past,
        here: PlaceId,
    ) -> Option<String> {
        // What a script joins is no place where a person was.
        if !face.is_interactive() {
            return None;
        }
        for place in std::mem::take(&mut self.arrivals) {
            if let (Some(name), Some((epoch, _))) = (client.place_name(place), client.numbering(place)) {
                self.arrive(face, place, here, name.to_owned(), epoch);
                self.next_look = now;
            }
        }
        if now < self.next_look || self.rooms.is_empty() {
            return None;
        }
        self.next_look = now + LOOK;
        self.open = open(client, face.looks_at().unwrap_or(here), &self.open);
        self.look(face, past, here)
    }

    /// The same at once.
    fn leave(&mut self, face: &Face, past: &Past, here: PlaceId) -> Option<String> {
        if !face.is_interactive() {
            return None;
        }
        self.look(face, past, here)
    }

    /// The same at the end, from which on it is counted how long ago he was there.
    pub(crate) fn end(&mut self, face: &Face, past: &Past, here: PlaceId) -> Option<String> {
        let was_there = face.is_interactive() && !self.rooms.is_empty();
        self.leave(face, past, here).or_else(|| if was_there { self.joined() } else { None })
    }

    fn arrive(&mut self, face: &Face, place: PlaceId, here: PlaceId, name: String, epoch: u64) {
        let known = self.memory.room(&self.link, &name);
        let read = known.filter(|room| room.epoch == epoch).map(|room| Seq::from_wire(room.read));
        // Whoever was here all the time has it before him.
        let is_first = !self.rooms.contains_key(&place);
        let draft = known.filter(|_| is_first).map(|room| room.draft.clone()).unwrap_or_default();
        face.arrive(place, here, &draft, read);
        match read {
            Some(read) => self.read_before.insert(place, read),
            None => self.read_before.remove(&place),
        };
        let read = read.map_or(0, Seq::to_wire);
        // One of its name that he was not let into again would be remembered in turn with it, without end.
        self.rooms.retain(|known, room| *known == place || room.name != name);
        self.rooms.insert(place, Room { name, draft, epoch, read });
    }

    /// Remembers what has changed.
    fn look(&mut self, face: &Face, past: &Past, here: PlaceId) -> Option<String> {
        let Self { memory, link, rooms, open, .. } = self;
        if let Some(room) = rooms.get(&face.looks_at().unwrap_or(here)) {
            open.looked_at.clone_from(&room.name);
        }
        let mut changed = vec![];
        for (&place, room) in rooms {
            let (draft, read) = face.bookmark(place, here, past.newest(place));
            room.draft = draft.unwrap_or_else(|| room.draft.clone());
            room.read = read.to_wire().max(room.read);
            if memory.room(link, &room.name) != Some(room) {
                changed.push(room.clone());
            }
        }
        let is_same = changed.is_empty() && memory.open(link).is_some_and(|known| known == open);
        self.is_changing = !is_same;
        if is_same || open.rooms.is_empty() { None } else { memory.leave(link, &changed, open) }
    }
}

/// Where the user is: in rooms. What is between two cannot be gone on with another day; who looks at such looked at a room before.
fn open(client: &Client, looked_at: PlaceId, before: &Open) -> Open {
    let room = |place| client.place_name(place).filter(|_| !client.is_private(place)).map(str::to_owned);
    Open {
        rooms: client.places().filter_map(room).filter(|name| !name.is_empty()).collect(),
        looked_at: room(looked_at).unwrap_or_else(|| before.looked_at.clone()),
        voice: client.voice_place().and_then(room).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use chinwag_proto::{Rng, client::ClientConfig};

    use super::*;

    #[test]
    fn nobody_is_gone_back_to_as_if_he_were_a_room() {
        let rooms = ["lobby", "den"].map(str::to_owned).to_vec();
        let config = ClientConfig {
            name: "Foo".to_owned(),
            rooms: rooms.clone(),
            software: String::new(),
            history: 0,
        };
        let mut client = Client::new(Instant::ZERO, config, Rng::from_number(1));
        let den = client.places().nth(1).unwrap();
        client.set_voice_place(Some(den));
        let in_den = open(&client, den, &Open::default());
        assert_eq!(in_den, Open { rooms: rooms.clone(), looked_at: "den".into(), voice: "den".into() });
        let bar = client.whisper("Bar").unwrap();
        client.set_voice_place(Some(bar));
        let whispers = open(&client, bar, &in_den);
        assert_eq!(whispers, Open { rooms, looked_at: "den".into(), voice: String::new() });
    }
}
