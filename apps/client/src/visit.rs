//! What is remembered of the conversation that goes on: where it is, by what name, how loud others are to be heard in it, and what is
//! left in its room.

use chinwag_proto::{Duration, Instant, Seq, client::Client, link::Link};

use crate::{
    face::Face,
    memory::{Memory, Open, Room},
};

/// Between two looks at what is left: each may be a write to the disk.
const LOOK: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(crate) struct Visit {
    memory: Memory,
    link: Link,
    /// The name that the user chose.
    name: String,
    /// Where he is, as it was looked at last.
    room: Option<Room>,
    /// The room that he is in now, until it is known what he left there.
    arrival: Option<String>,
    /// How far he had read there before.
    read_before: Option<Seq>,
    next_look: Instant,
}

impl Visit {
    /// Of a server, which need not let him in.
    pub(crate) fn new(memory: Memory, link: Link, name: String) -> Self {
        let next_look = Instant::ZERO;
        Self { memory, link, name, room: None, arrival: None, read_before: None, next_look }
    }

    /// The server let him in. What the user should know is that it cannot be remembered.
    pub(crate) fn joined(&mut self) -> Option<String> {
        self.memory.joined(&self.link, &self.name)
    }

    /// How much louder somebody is to be heard, in dB, if that was ever said.
    pub(crate) fn volume(&self, name: &str) -> Option<f32> {
        self.memory.volume(&self.link, name)
    }

    /// Somebody is to be heard so much louder, in dB. What the user should know is that it cannot be remembered.
    pub(crate) fn set_volume(&mut self, name: &str, db: f32) -> Option<String> {
        self.memory.set_volume(&self.link, name, db)
    }

    /// He is in a room whose places are not those of before.
    pub(crate) fn arrived(&mut self, room: &str) {
        self.arrival = Some(room.to_owned());
    }

    /// How far he had read when he came.
    pub(crate) fn read_before(&self) -> Option<Seq> {
        self.read_before
    }

    /// Gives back what was left in a room, and looks now and then at what would be left now, of messages up to `told`. What the user
    /// should know is that it cannot be remembered.
    pub(crate) fn tend(&mut self, now: Instant, client: &Client, face: &Face, told: Seq) -> Option<String> {
        // What a script joins is no place where a person was.
        if !face.is_interactive() {
            return None;
        }
        if let (Some(name), Some(epoch)) = (self.arrival.take(), client.epoch()) {
            self.arrive(face, name, epoch);
            self.next_look = now;
        }
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK;
        self.look(face, told)
    }

    /// The same at the end.
    pub(crate) fn leave(&mut self, face: &Face, told: Seq) -> Option<String> {
        if face.is_interactive() { self.look(face, told) } else { None }
    }

    fn arrive(&mut self, face: &Face, name: String, epoch: u64) {
        let known = self.memory.room(&self.link, &name);
        let read = known.filter(|room| room.epoch == epoch).map(|room| Seq::from_wire(room.read));
        // Whoever was here all the time has it before him.
        let is_first = self.room.is_none();
        let draft = known.filter(|_| is_first).map(|room| room.draft.clone()).unwrap_or_default();
        face.arrive(&draft, read);
        self.read_before = read;
        let read = read.map_or(0, Seq::to_wire);
        self.room = Some(Room { name, draft, epoch, read });
    }

    /// Remembers what has changed.
    fn look(&mut self, face: &Face, told: Seq) -> Option<String> {
        let room = self.room.as_mut()?;
        let (draft, read) = face.bookmark(told);
        let before = room.clone();
        room.draft = draft.unwrap_or_else(|| before.draft.clone());
        room.read = read.to_wire().max(before.read);
        let known = self.memory.room(&self.link, &room.name);
        if known == Some(room) {
            return None;
        }
        let (rooms, looked_at, voice) = (vec![room.name.clone()], room.name.clone(), room.name.clone());
        self.memory.leave(&self.link, std::slice::from_ref(room), &Open { rooms, looked_at, voice })
    }
}
