//! What must hold of a hub between two calls: every table within its limit, and all of them of one mind.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::{Hub, Presence, session::Session};
use crate::{
    audit::{at_most, ensure, same},
    hooks::Limit,
    ids::{RoomId, SessionId},
    limits,
};

impl Hub {
    /// Checks that every table is within its limit and that the tables agree with each other; says what does not hold.
    ///
    /// For tests and simulators: costs time proportional to everything held.
    pub fn audit(&self) -> Result<(), String> {
        self.sessions.audit().map_err(|wrong| format!("sessions: {wrong}"))?;
        at_most("places for sessions", self.sessions.places(), self.most_sessions())?;
        self.authors.audit(self.sessions.iter().map(|(_, session)| session.author))?;
        self.audit_keeping()?;
        self.audit_names()?;
        self.audit_rooms()?;
        let deadlines =
            self.sessions.iter().filter_map(|(id, session)| Some((session.presence.deadline()?, id)));
        same("deadlines", &self.deadlines, &deadlines.collect())?;
        let gone = self.sessions.iter().count() - self.present();
        ensure!(gone == self.gone, "{gone} sessions are gone, {} were counted", self.gone);
        at_most("sessions that are gone", gone, Limit::HeldSessions.value())
    }

    /// Sessions that there may be, attached or not.
    pub(crate) fn most_sessions(&self) -> usize {
        self.max_sessions + Limit::HeldSessions.value()
    }

    /// Sessions that have a connection.
    pub fn connected(&self) -> usize {
        self.sessions.iter().filter(|(_, session)| session.presence == Presence::Here).count()
    }

    /// Sessions that the others see.
    fn present(&self) -> usize {
        self.sessions.iter().filter(|(_, session)| session.presence.is_in_room()).count()
    }

    fn audit_names(&self) -> Result<(), String> {
        at_most("names", self.names.len(), self.max_sessions)?;
        for (name, &id) in &self.names {
            let Some(session) = self.sessions.get(id) else {
                return Err(format!("the name {name:?} belongs to {id:?}, which is no session"));
            };
            ensure!(session.presence.is_in_room(), "the name {name:?} belongs to {id:?}, which is gone");
            ensure!(
                session.name.folded() == *name,
                "the name {name:?} belongs to {id:?}, whose name is {:?}",
                session.name
            );
        }
        // Each name is of another session, so that equal numbers leave nobody without.
        let (present, taken) = (self.present(), self.names.len());
        ensure!(present == taken, "{present} sessions are in a room, {taken} names are taken");
        Ok(())
    }

    fn audit_rooms(&self) -> Result<(), String> {
        // A place is kept for the default room until there is one.
        let has_default = self.rooms_with_names().any(|(_, room)| room.is_default());
        at_most("rooms", self.rooms() + usize::from(!has_default), Limit::Rooms.value())?;
        at_most("private rooms", self.rooms.len() - self.rooms(), limits::PRIVATE_ROOMS)?;
        let mut names = BTreeSet::new();
        for (&id, room) in &self.rooms {
            room.audit().map_err(|wrong| format!("{id:?}: {wrong}"))?;
            let is_alone = id.is_private() || names.insert(room.folded.clone());
            ensure!(is_alone, "{id:?}: another room is called {:?}, too", room.name);
            let mut listed = BTreeSet::new();
            for &member in &room.members {
                let is_present = |session: &Session| session.presence.is_in_room();
                let is_member = self.sessions.get(member).is_some_and(is_present) && self.is_in(member, id);
                ensure!(is_member, "{id:?}: {member:?} is listed and is not in that room");
                ensure!(listed.insert(member), "{id:?}: {member:?} is listed twice");
            }
            let holders = self.sessions.iter().filter(|(_, session)| session.rooms.contains(&id)).count();
            ensure!(holders == room.holders, "{id:?}: {holders} sessions hold it, not {}", room.holders);
            // Nobody else could resume in it, so that nothing would ever remove it.
            let is_kept = room.is_kept && !room.has_nothing() || holders > 0 || room.is_default();
            ensure!(is_kept, "{id:?}: no session belongs to it, with {} members", room.members.len());
        }
        self.sessions.iter().try_for_each(|(id, session)| self.audit_rooms_of(id, session))
    }

    fn audit_rooms_of(&self, id: SessionId, session: &Session) -> Result<(), String> {
        let (private, named): (Vec<RoomId>, Vec<_>) =
            session.rooms.iter().partition(|room| room.is_private());
        at_most("rooms of a session", named.len(), Limit::RoomsEach.value())?;
        at_most("private rooms of a session", private.len(), Limit::PrivateEach.value())?;
        let voice = session.voice.is_none_or(|voice| session.rooms.contains(&voice));
        ensure!(voice, "{id:?} talks in {:?}, which is none of its rooms", session.voice);
        let shown = session.voice.filter(|voice| !voice.is_private());
        let shown = shown.or(session.voice.map(|_| RoomId::SOMEWHERE_PRIVATE));
        ensure!(shown == session.shown_voice, "{id:?} is shown to talk in {:?}", session.shown_voice);
        for room in &session.rooms {
            let Some(place) = self.rooms.get(room) else {
                return Err(format!("{id:?} is in {room:?}, which is no room"));
            };
            let is_listed = place.members.contains(&id);
            ensure!(is_listed == session.presence.is_in_room(), "{room:?}: {id:?} is listed: {is_listed}");
            let is_own = place.other(id).is_some() == room.is_private();
            ensure!(is_own, "{room:?}: what it is and whose does not agree, for {id:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::room::Room;
    use crate::{
        audit::assert_told,
        history::{AuthorKey, UnixMillis},
        hub::{Admission, Claim, JoinRequest, ResumeRequest},
        ids::{MessageId, SessionId},
        limits,
        name::Name,
        rng::Rng,
        time::{Duration, Instant},
    };
    use alloc::vec::Vec;

    const NOW: Instant = Instant::from_micros(1_000_000);

    fn join(hub: &mut Hub, name: &str, room: &str) -> SessionId {
        hub.join(NOW, &JoinRequest::new(name, &[Claim::new(room)]), &mut |_, _| {}).unwrap().session
    }

    /// Foo and Bar in the lobby, Baz lost there, Qux gone from the den, which is empty; one place among them is free.
    fn hub() -> Hub {
        let mut hub = Hub::new(8, Rng::from_number(1));
        let [foo, _, baz] = ["Foo", "Bar", "Baz"].map(|name| join(&mut hub, name, ""));
        let former = join(&mut hub, "Former", "");
        let qux = join(&mut hub, "Qux", "den");
        let room = hub.rooms_of(foo)[0];
        for id in 1..=3 {
            hub.say(UnixMillis(1), foo, room, MessageId::from_wire(id), "hi", &mut |_, _| {});
        }
        hub.quit(former, &mut |_, _| {});
        hub.lose(NOW, baz, false, &mut |_, _| {});
        hub.lose(NOW, qux, true, &mut |_, _| {});
        assert_eq!((hub.members(), hub.gone(), hub.rooms()), (3, 1, 2));
        hub
    }

    fn id_of(hub: &Hub, name: &str) -> SessionId {
        hub.sessions.iter().find(|(_, session)| session.name.as_str() == name).unwrap().0
    }

    fn session<'a>(hub: &'a mut Hub, name: &str) -> &'a mut Session {
        let id = id_of(hub, name);
        hub.sessions.get_mut(id).unwrap()
    }

    fn room<'a>(hub: &'a mut Hub, name: &str) -> &'a mut Room {
        hub.rooms.values_mut().find(|room| room.name.as_str() == name).unwrap()
    }

    #[test]
    fn names_and_sessions_must_agree() {
        assert_told(
            hub,
            Hub::audit,
            &[
                ("names: 3, the limit is 2", |hub| hub.max_sessions = 2),
                ("2 names are taken", |hub| {
                    hub.names.pop_first();
                }),
                ("which is no session", |hub| {
                    hub.names.insert(Name::new("x").unwrap().folded(), SessionId::from_wire(99));
                }),
                ("which is gone", |hub| {
                    hub.names.insert(Name::new("Qux").unwrap().folded(), id_of(hub, "Qux"));
                }),
                ("whose name is", |hub| session(hub, "Foo").name = Name::new("Other").unwrap()),
            ],
        );
    }

    #[test]
    fn rooms_and_sessions_must_agree() {
        assert_told(
            hub,
            Hub::audit,
            &[
                ("rooms: 257, the limit is 256", |hub| {
                    for n in 0..limits::ROOMS as u32 - 1 {
                        let name = Name::new(&format!("room {n}")).unwrap();
                        hub.rooms.insert(RoomId::new(100 + n), Room::new(name, 0));
                    }
                }),
                ("rooms: 257, the limit is 256", |hub| {
                    *hub = Hub::new(8, Rng::from_number(1));
                    for n in 0..limits::ROOMS as u32 {
                        let name = Name::new(&format!("room {n}")).unwrap();
                        hub.rooms.insert(RoomId::new(100 + n), Room::new(name, 0));
                    }
                }),
                ("another room is called", |hub| {
                    room(hub, "den").folded = Name::new("Lobby").unwrap().folded();
                }),
                ("is listed twice", |hub| {
                    let foo = id_of(hub, "Foo");
                    room(hub, "lobby").members.push(foo);
                }),
                ("is listed and is not in that room", |hub| {
                    let foo = id_of(hub, "Foo");
                    room(hub, "den").members.push(foo);
                }),
                ("is listed and is not in that room", |hub| {
                    let qux = id_of(hub, "Qux");
                    room(hub, "den").members.push(qux);
                }),
                ("SessionId(1048578) is listed: false", |hub| {
                    room(hub, "lobby").members.pop();
                }),
                ("RoomId(2): 1 sessions hold it, not 2", |hub| room(hub, "den").holders += 1),
                ("is in RoomId(9), which is no room", |hub| {
                    session(hub, "Qux").rooms.push(RoomId::new(9));
                }),
                ("which is none of its rooms", |hub| session(hub, "Foo").voice = Some(RoomId::new(2))),
                ("is shown to talk in None", |hub| session(hub, "Foo").shown_voice = None),
                ("rooms of a session: 17, the limit is 16", |hub| {
                    let foo = id_of(hub, "Foo");
                    for n in 0..limits::ROOMS_EACH as u32 {
                        let mut more = Room::new(Name::new(&format!("room {n}")).unwrap(), 0);
                        (more.holders, more.members) = (1, [foo].to_vec());
                        hub.rooms.insert(RoomId::new(100 + n), more);
                        session(hub, "Foo").rooms.push(RoomId::new(100 + n));
                    }
                }),
                ("private rooms of a session: 49, the limit is 48", |hub| {
                    let [foo, bar] = [id_of(hub, "Foo"), id_of(hub, "Bar")];
                    for n in 0..=limits::PRIVATE_EACH as u32 {
                        let mut more = Room::private([foo, bar], 1);
                        (more.holders, more.members) = (2, [foo, bar].to_vec());
                        let id = RoomId::new(RoomId::FIRST_PRIVATE + n);
                        hub.rooms.insert(id, more);
                        session(hub, "Foo").rooms.push(id);
                        session(hub, "Bar").rooms.push(id);
                    }
                }),
                ("what it is and whose does not agree", |hub| {
                    let [foo, bar, baz] = ["Foo", "Bar", "Baz"].map(|name| id_of(hub, name));
                    let mut others = Room::private([bar, baz], 1);
                    (others.holders, others.members) = (1, [foo].to_vec());
                    hub.rooms.insert(RoomId::new(RoomId::FIRST_PRIVATE), others);
                    session(hub, "Foo").rooms.push(RoomId::new(RoomId::FIRST_PRIVATE));
                }),
                ("what it is and whose does not agree", |hub| {
                    let [foo, qux] = ["Foo", "Qux"].map(|name| id_of(hub, name));
                    let den = room(hub, "den");
                    let (members, holders) = (den.members.clone(), den.holders);
                    *den = Room::private([foo, qux], 1);
                    den.name = Name::new("den").unwrap();
                    (den.members, den.holders) = (members, holders);
                }),
                ("no session belongs to it", |hub| {
                    hub.rooms.insert(RoomId::new(9), Room::new(Name::new("empty").unwrap(), 0));
                }),
                ("no session belongs to it", |hub| {
                    let mut nothing = Room::new(Name::new("nothing").unwrap(), 0);
                    nothing.is_kept = true;
                    hub.rooms.insert(RoomId::new(9), nothing);
                }),
            ],
        );
    }

    #[test]
    fn deadlines_and_presences_must_agree() {
        assert_told(
            hub,
            Hub::audit,
            &[
                ("is missing among 1", |hub| {
                    hub.deadlines.pop_first();
                }),
                ("is one too many of 3", |hub| {
                    hub.deadlines.insert((NOW, id_of(hub, "Foo")));
                }),
                ("1 sessions are gone, 2 were counted", |hub| hub.gone += 1),
                ("sessions that are gone: 4097, the limit is 4096", |hub| {
                    let presence = session(hub, "Qux").presence;
                    let author = AuthorKey::default();
                    for _ in 0..limits::HELD_SESSIONS {
                        hub.authors.enter(author);
                        let mut gone = Session::new(Name::new("Qux").unwrap(), [0; 16], author);
                        gone.presence = presence;
                        let id = hub.sessions.insert(gone);
                        hub.deadlines.extend(presence.deadline().map(|deadline| (deadline, id)));
                        hub.gone += 1;
                    }
                }),
                ("places for sessions: 4105, the limit is 4104", |hub| {
                    for _ in hub.sessions.places()..hub.most_sessions() + 2 {
                        let name = Name::new("x").unwrap();
                        hub.sessions.insert(Session::new(name, [0; 16], AuthorKey::default()));
                    }
                }),
            ],
        );
    }

    #[test]
    fn rooms_give_way_to_others_and_all_stays_sound() {
        let mut hub = Hub::new(limits::ROOMS, Rng::from_number(2));
        let mut rng = Rng::from_number(3);
        let mut now = NOW;
        let mut known: Vec<Admission> = Vec::new();
        let (mut resumed, mut refused, mut not_entered, mut parted, mut private) = (0, 0, 0, 0, 0);
        for _ in 0..4_000 {
            now = now + Duration::from_millis(rng.below(5_000));
            hub.handle_timeout(now, &mut |_, _| {});
            let name = format!("n{}", rng.below(400));
            let rooms: Vec<_> = (0..=rng.below(3)).map(|_| format!("r{}", rng.below(900))).collect();
            let mut claims: Vec<_> = rooms.iter().map(|room| Claim::new(room)).collect();
            let with = format!("n{}", rng.below(400));
            if rng.below(3) == 0 {
                claims.push(Claim { with: &with, ..Claim::new("") });
            }
            let at = usize::try_from(rng.below(known.len().max(1) as u64)).unwrap();
            let former: Option<&Admission> = known.get(at).filter(|_| rng.below(3) == 0);
            let resume = former.map(|former| ResumeRequest {
                session: former.session,
                token: &former.token,
                attempt: 0,
            });
            match hub.join(now, &JoinRequest { resume, ..JoinRequest::new(&name, &claims) }, &mut |_, _| {}) {
                Ok(admission) => {
                    resumed += u32::from(admission.resumed);
                    not_entered += admission.entries.iter().filter(|entry| entry.entered.is_err()).count();
                    private += admission.rooms().filter(|entrance| entrance.room.is_private()).count();
                    known.push(admission);
                }
                Err(_) => refused += 1,
            }
            let here = hub.sessions.iter().filter(|(_, session)| session.presence == Presence::Here);
            let here: Vec<SessionId> = here.map(|(id, _)| id).collect();
            let at = usize::try_from(rng.below(here.len() as u64 + 1)).unwrap();
            if let Some(&id) = here.get(at) {
                match rng.below(6) {
                    0 => hub.quit(id, &mut |_, _| {}),
                    1 | 2 => hub.lose(now, id, true, &mut |_, _| {}),
                    3 => hub.lose(now, id, false, &mut |_, _| {}),
                    4 => {
                        let room = hub.rooms_of(id).first().copied();
                        room.into_iter().for_each(|room| hub.part(id, room, &mut |_, _| {}));
                        parted += 1;
                    }
                    _ => {
                        let claim = Claim { with: &with, ..Claim::new("") };
                        private += usize::from(hub.enter(now, id, &claim, &mut |_, _| {}).is_ok());
                    }
                }
            }
            assert_eq!(hub.audit(), Ok(()));
        }
        let reached = [resumed > 0, refused > 0, not_entered > 0, parted > 0, private > 0];
        assert_eq!(reached, [true; 5], "{resumed} {refused} {not_entered} {parted} {private}");
    }
}
