//! What a user does beside talking, where people wander: comes into rooms and leaves them, talks now here and now there, whispers, takes
//! other names.

use chinwag_proto::{Rng, client::PlaceId, hub::Marks};

use super::ClientNode;
use crate::{
    check::{Checker, Rooms, To, name_of},
    heard::Way,
    net::Net,
    random::chance,
    sometimes::Sometimes,
    trace::Mark,
};

/// Of those who leave their only room, so many do.
const LEAVES_LAST_PPM: u32 = 100_000;
/// Of those who move their voice, so many take it out of all rooms.
const SILENT_PPM: u32 = 150_000;
const TOPICS: [&str; 4] = ["", "Tea", "Katzen und {quit}", "日本語 \u{1f431}"];
const NICKS: [&str; 4] = ["", " the Elder", " II", " with a longer name"];

impl ClientNode {
    /// Follows a whim.
    pub(crate) fn wander(&mut self, net: &mut Net<'_>, check: &mut Checker, rooms: Rooms) {
        let Some(mut rng) = self.person.wander.take() else { return };
        let whim = rng.below(20);
        net.record(self.node(), Mark::Whim, whim, 0);
        match whim {
            0..=3 => self.join_some_room(&mut rng, check, rooms),
            4..=6 => self.part_some_room(&mut rng, net, check),
            7..=9 => self.move_voice(&mut rng),
            10 => {
                let nick = NICKS[rng.below(NICKS.len() as u64) as usize];
                // A name that is one; whether it is free, the server says.
                let _ = self.machine.set_name(&format!("{}{nick}", name_of(self.number)));
            }
            11 => {
                let marks = rng.below(4);
                self.machine.set_marks(Marks { muted: marks & 1 > 0, deafened: marks & 2 > 0 });
            }
            12..=13 => {
                if let Some(place) = self.some_place(&mut rng, |machine, place| !machine.is_private(place)) {
                    let topic = TOPICS[rng.below(TOPICS.len() as u64) as usize];
                    self.machine.set_topic(place, topic);
                }
            }
            14..=18 => self.whisper(&mut rng, net, check),
            _ => {
                self.machine.ask_rooms();
            }
        }
        self.person.wander = Some(rng);
        self.drain(net, check, Way::Tcp);
    }

    /// Where the user says something next.
    pub(super) fn place_to_say(&mut self) -> Option<PlaceId> {
        let Some(mut rng) = self.person.wander.take() else { return Some(PlaceId::FIRST) };
        let place = self.some_place(&mut rng, |_, _| true);
        self.person.wander = Some(rng);
        place
    }

    fn some_place(
        &self,
        rng: &mut Rng,
        is_meant: impl Fn(&chinwag_proto::client::Client, PlaceId) -> bool,
    ) -> Option<PlaceId> {
        let places: Vec<_> = self.machine.places().filter(|place| is_meant(&self.machine, *place)).collect();
        let count = places.len() as u64;
        (count > 0).then(|| places[rng.below(count) as usize])
    }

    fn join_some_room(&mut self, rng: &mut Rng, check: &mut Checker, rooms: Rooms) {
        let name = rooms.name_of(rng.below(u64::from(rooms.count + rooms.others)) as u32);
        // As many rooms as one may be in.
        if let Ok(place) = self.machine.join(&name) {
            check.wants(self.number, place, To::Room(name));
        }
    }

    fn part_some_room(&mut self, rng: &mut Rng, net: &mut Net<'_>, check: &mut Checker) {
        let rooms = self.machine.places().filter(|place| !self.machine.is_private(*place)).count();
        if rooms < 2 && !chance(rng, LEAVES_LAST_PPM) {
            return;
        }
        if let Some(place) = self.some_place(rng, |machine, place| !machine.is_private(place)) {
            let waits = self.machine.unacknowledged_texts().any(|(of, _)| of == place);
            net.sometimes(if waits { Sometimes::PartedWaiting } else { Sometimes::Parted });
            if !self.machine.is_in() {
                net.sometimes(Sometimes::PartedAway);
            }
            check.parts(self.number, place);
            self.machine.part(place);
        }
    }

    fn move_voice(&mut self, rng: &mut Rng) {
        let place = self.some_place(rng, |_, _| true).filter(|_| !chance(rng, SILENT_PPM));
        self.machine.set_voice_place(place);
    }

    /// Wants to be alone with somebody whom it knows.
    fn whisper(&mut self, rng: &mut Rng, net: &mut Net<'_>, check: &mut Checker) {
        let Some(place) = self.some_place(rng, |_, _| true) else { return };
        let members: Vec<_> = self.machine.members(place).map(|(_, member)| member.name.clone()).collect();
        let count = members.len() as u64;
        if count == 0 {
            return;
        }
        // Some are more liked than others, so that two often begin at the same time.
        let liked = rng.below(count).min(rng.below(count));
        let name = &members[liked as usize];
        if Some(name.as_str()) != self.machine.name()
            && let Ok(place) = self.machine.whisper(name)
        {
            let is_anew = !self.machine.is_entered(place);
            check.whispers(self.number, place, is_anew);
            self.say_in(net, check, place);
        }
    }
}
