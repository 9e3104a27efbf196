//! What must hold of a client once its outputs were polled: whatever a server sends and a user says is kept within limits.

use alloc::{format, string::String};

use super::{Client, Link, Outgoing, Session, State};
use crate::{
    audit::{at_most, ensure},
    hooks::Limit,
    ids::MessageId,
    limits,
    wire::path::PAYLOAD_BYTES,
};

impl Client {
    /// Checks that everything kept is within its limit and that the parts agree with each other; says what does not hold.
    /// To be called when every output was polled.
    ///
    /// For tests and simulators: costs time proportional to everything held.
    pub fn audit(&self) -> Result<(), String> {
        self.out.audit().map_err(|wrong| format!("outputs: {wrong}"))?;
        self.reader.audit(limits::FRAME_BYTES).map_err(|wrong| format!("reader: {wrong}"))?;
        self.audit_state()?;
        self.audit_outgoing()?;
        self.session.as_ref().map_or(Ok(()), Session::audit)?;
        self.audit_places()?;
        at_most("rooms that were told", self.listed_rooms.len(), limits::ROOMS)?;
        // It came in a frame.
        let goodbye = self.goodbye.as_ref().map_or(0, String::len);
        at_most("bytes of a goodbye", goodbye, limits::FRAME_BYTES)?;
        at_most("bytes of a voice payload", self.payload.len(), PAYLOAD_BYTES)
    }

    fn audit_state(&self) -> Result<(), String> {
        let was_in = match &self.state {
            State::In(link) => {
                self.audit_link(link)?;
                true
            }
            State::Pausing { .. } => true,
            State::Connecting { .. } | State::Greeting { .. } | State::Quitting { .. } | State::Ended => {
                false
            }
        };
        ensure!(!was_in || self.session.is_some(), "there is no session in {:?}", self.state);
        Ok(())
    }

    fn audit_link(&self, link: &Link) -> Result<(), String> {
        link.prober.audit().map_err(|wrong| format!("path: {wrong}"))?;
        ensure!(
            link.sent_up_to <= self.last_id,
            "{:?} was sent, {:?} is the last",
            link.sent_up_to,
            self.last_id
        );
        // What the server would not recognise is not sent.
        let sent = self.outgoing.iter().filter(|message| message.id <= link.sent_up_to).count();
        at_most("messages sent and not acknowledged", sent, Limit::UnackedMessages.value())
    }

    fn audit_places(&self) -> Result<(), String> {
        let private = self.places.iter().filter(|place| place.is_private).count();
        // One more while the server makes place for it.
        at_most("private places", private, limits::PRIVATE_EACH + 1)?;
        at_most("places", self.places.len() - private, limits::ROOMS_EACH)?;
        ensure!(
            self.voice.is_none_or(|voice| self.place(voice).is_some()),
            "the voice is in {:?}, which is no place",
            self.voice
        );
        for place in &self.places {
            at_most("members", place.members.len(), limits::MEMBERS)?;
            let names = place.members.values().map(|member| member.name.len());
            at_most("bytes of a member's name", names.max().unwrap_or_default(), limits::NAME_BYTES)?;
            at_most("bytes of a room's name", place.name.len(), limits::NAME_BYTES)?;
            let topic = place.topic.as_ref().map_or(0, |topic| topic.text.len());
            at_most("bytes of a topic", topic, limits::FRAME_BYTES)?;
            ensure!(!place.is_entered || place.numbering.is_some(), "{:?} has no numbers", place.id);
        }
        Ok(())
    }

    fn audit_outgoing(&self) -> Result<(), String> {
        at_most("messages kept", self.outgoing.len(), Limit::OutgoingMessages.value())?;
        let mut last = MessageId::default();
        for Outgoing { id, place, text } in &self.outgoing {
            ensure!(self.place(*place).is_some(), "{id:?} is said in {place:?}, which is no place");
            ensure!(*id > last, "{id:?} is kept behind {last:?}");
            at_most("bytes of a message", text.len(), limits::MESSAGE_BYTES)?;
            last = *id;
        }
        ensure!(last <= self.last_id, "{last:?} is kept, {:?} is the last", self.last_id);
        Ok(())
    }
}

impl Session {
    fn audit(&self) -> Result<(), String> {
        at_most("bytes of one's own name", self.name.len(), limits::NAME_BYTES)?;
        at_most("bytes of the token", self.token.len(), limits::RESUME_TOKEN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        audit::assert_told,
        client::{ClientConfig, ClientInput, ListedRoom, Member, PlaceId, Queued, RoomTopic},
        ids::SessionId,
        rng::Rng,
        time::Instant,
        wire::{
            chinwag1::{self as pb, to_client::Kind},
            control,
        },
    };

    const NOW: Instant = Instant::from_micros(1_000_000);

    /// One that is in the room and has said more than may be sent at once.
    fn client() -> Client {
        let config = ClientConfig {
            name: "Foo".into(),
            rooms: vec![String::new()],
            software: String::new(),
            history: 0,
        };
        let mut client = Client::new(NOW, config, Rng::from_number(1));
        client.handle_input(NOW, ClientInput::Connected);
        let welcome =
            pb::Welcome { session: 1, name: "Foo".into(), resume_token: vec![7; 16], ..Default::default() };
        let entered = pb::Entered {
            key: 1,
            room: Some(pb::Room { id: 1, name: "lobby".into(), epoch: 9, last_seq: 2 }),
            members: vec![pb::Member { session: 1, name: "Foo".into(), ..Default::default() }],
            member_count: 1,
            ..Default::default()
        };
        let mut bytes = vec![];
        control::write_to_client(&mut bytes, Kind::Welcome(welcome));
        control::write_to_client(&mut bytes, Kind::Entered(entered));
        client.handle_input(NOW, ClientInput::Received { bytes: &bytes });
        client.handle_timeout(NOW);
        for _ in 0..limits::UNACKED_MESSAGES + 2 {
            client.say(PlaceId::FIRST, "hi").unwrap();
        }
        while client.poll_output().is_some() {}
        client
    }

    fn link(client: &mut Client) -> &mut Link {
        let State::In(link) = &mut client.state else { panic!("it is in the room") };
        link
    }

    fn session(client: &mut Client) -> &mut Session {
        client.session.as_mut().unwrap()
    }

    fn long_name() -> String {
        "x".repeat(limits::NAME_BYTES + 1)
    }

    #[test]
    fn what_a_server_may_make_it_keep_is_bounded() {
        assert_told(
            client,
            Client::audit,
            &[
                ("members: 10001, the limit is 10000", |c| {
                    let many = (2..).map(|n| (SessionId::from_wire(n), Member::default()));
                    c.places[0].members.extend(many.take(10_000));
                }),
                ("bytes of a member's name: 257, the limit is 256", |c| {
                    let long = Member { name: long_name(), ..Member::default() };
                    c.places[0].members.insert(SessionId::from_wire(9), long);
                }),
                ("bytes of one's own name: 257", |c| session(c).name = long_name()),
                ("bytes of a room's name: 257", |c| c.places[0].name = long_name()),
                ("bytes of the token: 65, the limit is 64", |c| session(c).token = vec![0; 65]),
                ("bytes of a goodbye: 65537", |c| c.goodbye = Some("x".repeat(65_537))),
                ("reader: a frame of 65537 bytes waits", |c| c.reader.push(&65_537u32.to_be_bytes())),
                ("bytes of a topic: 65537", |c| {
                    c.places[0].topic = Some(RoomTopic { text: "x".repeat(65_537), ..Default::default() });
                }),
                ("places: 17, the limit is 16", |c| {
                    for _ in 0..limits::ROOMS_EACH {
                        c.add_place("den", false);
                    }
                }),
                ("private places: 50, the limit is 49", |c| {
                    for _ in 0..=1 + limits::PRIVATE_EACH {
                        c.add_place("Bar", true);
                    }
                }),
                ("rooms that were told: 257, the limit is 256", |c| {
                    let room = ListedRoom { name: "den".into(), members: 1, topic: String::new() };
                    c.listed_rooms = vec![room; limits::ROOMS + 1];
                }),
                ("bytes of a voice payload: ", |c| c.payload.resize(PAYLOAD_BYTES + 1, 0)),
                ("outputs: 1 were not polled", |c| c.out.push(Queued::Connect, |_, _| {})),
            ],
        );
    }

    #[test]
    fn what_was_said_is_kept_in_order_and_bounded() {
        assert_told(
            client,
            Client::audit,
            &[
                ("messages kept: 1025, the limit is 1024", |c| {
                    for _ in c.outgoing.len()..=limits::OUTGOING_MESSAGES {
                        c.last_id = c.last_id.next();
                        let (id, place) = (c.last_id, PlaceId::FIRST);
                        c.outgoing.push_back(Outgoing { id, place, text: "hi".into() });
                    }
                }),
                ("MessageId(1) is kept behind MessageId(1)", |c| c.outgoing[1].id = MessageId::from_wire(1)),
                ("MessageId(99) is kept, MessageId(66) is the last", |c| {
                    c.outgoing[65].id = MessageId::from_wire(99);
                }),
                ("bytes of a message: 4097, the limit is 4096", |c| c.outgoing[0].text = "x".repeat(4097)),
                ("MessageId(67) was sent, MessageId(66) is the last", |c| {
                    link(c).sent_up_to = MessageId::from_wire(67);
                }),
                ("messages sent and not acknowledged: 65, the limit is 64", |c| {
                    link(c).sent_up_to = MessageId::from_wire(65);
                }),
            ],
        );
    }

    #[test]
    fn places_and_what_is_said_and_heard_there_must_agree() {
        assert_told(
            client,
            Client::audit,
            &[
                ("the voice is in Some(PlaceId(7)), which is no place", |c| {
                    c.voice = Some(PlaceId::from_number(7));
                }),
                ("MessageId(3) is said in PlaceId(7), which is no place", |c| {
                    c.outgoing[2].place = PlaceId::from_number(7);
                }),
                ("PlaceId(1) has no numbers", |c| c.places[0].numbering = None),
            ],
        );
    }

    #[test]
    fn whoever_was_in_has_a_session() {
        assert_told(
            client,
            Client::audit,
            &[
                ("there is no session in In", |c| c.session = None),
                ("there is no session in Pausing", |c| {
                    (c.session, c.state) = (None, State::Pausing { until: NOW });
                }),
            ],
        );
    }
}
