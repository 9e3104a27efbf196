//! What the server says, and what a client makes of it.

use alloc::{
    borrow::ToOwned as _,
    boxed::Box,
    collections::BTreeSet,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{
    Client, ClientEvent, EndReason, Link, ListedRoom, Member, Outgoing, Page, PageLine, PathProber, PlaceId,
    Queued, RoomTopic, Session, State,
    places::{Before, Numbering, Place, read_member},
};
use crate::{
    history::UnixMillis,
    hooks::{Limit, Mistake, is_made},
    hub::{LeaveReason, Refusal},
    ids::{MessageId, RoomId, Seq, SessionId},
    limits,
    name::Name,
    relay::VoicePath,
    time::Instant,
    wire::{
        chinwag1 as pb,
        control::{self, Body},
        frame::Oversized,
        path::DatagramKind,
        voice::Frames,
    },
};

impl Client {
    pub(super) fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if let State::In(link) = &mut self.state {
            link.last_heard = now;
            (link.late_at, link.is_late) = (None, false);
        }
        self.reader.push(bytes);
        let mut reader = core::mem::take(&mut self.reader);
        while matches!(self.state, State::Greeting { .. } | State::In(_) | State::Quitting { .. }) {
            match reader.next_frame(limits::FRAME_BYTES) {
                Ok(Some(body)) => self.handle_body(now, body),
                Ok(None) => {
                    self.reader = reader;
                    return;
                }
                Err(Oversized { .. }) => return self.protocol_error(now),
            }
        }
    }

    /// The server talks nonsense: a fresh connection may help, unless it always did.
    fn protocol_error(&mut self, now: Instant) {
        self.out.push(Queued::Disconnect, |_, _| {});
        if self.session.is_none() {
            self.end(EndReason::Protocol);
        } else {
            self.goodbye = Some("the server sent what is not chinwag/1".to_owned());
            self.lost(now);
        }
    }

    fn handle_body(&mut self, now: Instant, body: &[u8]) {
        use pb::to_client::Kind;
        let message = match control::decode_to_client(body) {
            Ok(Body::Voice(payload)) => {
                self.stats.tcp_received += 1;
                return self.voice(now, payload);
            }
            Ok(Body::Message(message)) => message,
            Ok(Body::Unknown) => return,
            Err(control::Undecodable) => return self.protocol_error(now),
        };
        match message {
            Kind::Welcome(welcome) => self.welcome(now, welcome),
            Kind::Refused(refused) => self.refused(now, refused),
            Kind::Closing(closing) => self.closing(&closing),
            Kind::Ping(ping) => self.send(pb::to_server::Kind::Pong(ping)),
            // What happens in rooms means nothing before the welcome.
            Kind::Entered(_)
            | Kind::NotEntered(_)
            | Kind::Changed(_)
            | Kind::Topic(_)
            | Kind::Rooms(_)
            | Kind::NotDone(_)
            | Kind::Members(_)
            | Kind::Ack(_)
            | Kind::Nack(_)
            | Kind::Said(_)
            | Kind::Joined(_)
            | Kind::Left(_)
            | Kind::Pong(_)
            | Kind::VoiceReport(_)
            | Kind::History(_)
            | Kind::Voice(_)
                if matches!(self.state, State::Greeting { .. } | State::Quitting { is_in: false, .. }) => {}
            Kind::Entered(entered) => self.entered(now, entered),
            Kind::NotEntered(not) => {
                let id = PlaceId::from_number(not.key);
                // The other began it meanwhile, under a name that he has no more.
                if !self.is_entered(id) {
                    self.not_entered(id, not.text);
                }
            }
            Kind::Changed(member) => self.changed(now, member),
            Kind::Topic(topic) => self.topic_set(topic),
            Kind::Rooms(list) => self.rooms_told(list),
            Kind::NotDone(not) => {
                self.wanted_name = self.wanted_name.take().filter(|wanted| *wanted != not.name);
                self.event(ClientEvent::NotDone { why: not.text });
            }
            Kind::Members(members) => {
                let Some(place) = self.room_mut(RoomId::from_wire(members.room)) else { return };
                let id = place.id;
                if !members.members.into_iter().all(|member| place.note_member(member)) {
                    return self.protocol_error(now);
                }
                self.compare_members(id);
            }
            Kind::Ack(ack) => {
                let (id, seq) = (MessageId::from_wire(ack.id), Seq::from_wire(ack.seq));
                let name = self.session.as_ref().map(|session| session.name.clone()).unwrap_or_default();
                self.acknowledged(RoomId::from_wire(ack.room), id, seq, UnixMillis(ack.at_ms), name);
            }
            Kind::Nack(nack) => {
                let id = MessageId::from_wire(nack.id);
                if let Some(Outgoing { place, text, .. }) = self.take_outgoing(id) {
                    self.event(ClientEvent::NotSaid { place, id, text, why: nack.text });
                    self.send_outgoing(Limit::UnackedMessages.value());
                    self.finish_parts();
                }
            }
            Kind::Said(said) => self.said(said),
            Kind::Joined(joined) => self.joined(now, joined),
            Kind::Left(left) => self.left(left),
            Kind::Pong(pong) => {
                self.voice_asked.take_if(|token| *token == pong.token);
                if let State::In(link) = &mut self.state
                    && let Some((_, sent)) = link.ping.take_if(|(token, _)| *token == pong.token)
                {
                    self.stats.control_rtt = Some(now.since(sent));
                }
            }
            Kind::History(page) => {
                let error = Some(page.error).filter(|error| !error.is_empty());
                let lines = page.messages.into_iter().map(|said| PageLine {
                    seq: Seq::from_wire(said.seq),
                    at: UnixMillis(said.at_ms),
                    name: said.name,
                    text: said.text,
                });
                let Some(place) = self.place_of(RoomId::from_wire(page.room)) else { return };
                let page = Page { place, token: page.token, lines: lines.collect(), more: page.more, error };
                self.event(ClientEvent::History(page));
            }
            Kind::VoiceReport(report) => {
                self.stats.reports_received += 1;
                self.event(ClientEvent::Reported(control::report_from_wire(&report).1));
            }
            Kind::Voice(payload) => {
                self.stats.tcp_received += 1;
                self.voice(now, &payload);
            }
        }
    }

    fn welcome(&mut self, now: Instant, welcome: pb::Welcome) {
        let State::Greeting { .. } = self.state else { return };
        if welcome.name.len() > limits::NAME_BYTES || welcome.resume_token.len() > limits::RESUME_TOKEN_BYTES
        {
            return self.protocol_error(now);
        }
        if let Some(session) = &self.session {
            let older = self.former_self.take();
            // Of those in which it never was, there is nothing to compare.
            for place in self.places.iter_mut().filter(|place| place.numbering.is_some()) {
                let mut former = core::mem::take(&mut place.members);
                former.remove(&session.id);
                if let Some((id, name)) = &older
                    && former.get(id).is_some_and(|member| member.name == *name)
                {
                    former.remove(id);
                }
                // If it is lost again before it is known who is here, those who were told of last count.
                let names = former.into_values().map(|member| member.name);
                place.former_members.get_or_insert_with(|| names.collect());
            }
            self.former_self = Some((session.id, session.name.clone()));
        }
        let id = SessionId::from_wire(welcome.session);
        let again = self.session.is_some();
        self.stats.reconnects += u64::from(again);
        self.stats.voice_path = VoicePath::default();
        self.voice_asked = None;
        self.state = State::In(Link {
            prober: Box::new(PathProber::new(now)),
            since: now,
            last_heard: now,
            next_ping: now,
            ping: None,
            late_at: None,
            is_late: false,
            sent_up_to: if is_made(Mistake::OutgoingUnsent) { self.last_id } else { MessageId::default() },
        });
        let (name, resumed) = (welcome.name, welcome.resumed);
        self.session = Some(Session { id, token: welcome.resume_token, name: name.clone() });
        // Another than the one in the Hello is asked for below; that one the server has given or refused.
        self.wanted_name = self.wanted_name.take().filter(|wanted| *wanted != self.name_told);
        self.config.name.clone_from(&name);
        self.out.push(Queued::OpenPath(id), |_, _| {});
        self.event(ClientEvent::Welcome { session: id, name, resumed, again });
        // What the user wanted since the Hello.
        self.send_claims();
        self.tell_voice();
        self.tell_marks();
        self.tell_name();
    }

    /// The client is in a room now.
    fn entered(&mut self, now: Instant, entered: pb::Entered) {
        let Some(room) = entered.room else { return self.protocol_error(now) };
        let with = Some(entered.with).filter(|with| *with != 0).map(SessionId::from_wire);
        let mut members = entered.members.iter();
        let other = with.and_then(|with| members.find(|member| member.session == with.to_wire()));
        let other = other.map(|member| member.name.clone());
        // Of one who is not there only the name is told.
        let name = other.clone().unwrap_or(room.name);
        if name.len() > limits::NAME_BYTES || entered.members.len() > limits::MEMBERS {
            return self.protocol_error(now);
        }
        let Some(id) = self.place_entered(entered.key, &name, with.is_some(), RoomId::from_wire(room.id))
        else {
            return;
        };
        let Some(place) = self.place_mut(id) else { return self.protocol_error(now) };
        let numbering = Numbering {
            room: RoomId::from_wire(room.id),
            epoch: room.epoch,
            last_seq: Seq::from_wire(room.last_seq),
        };
        // Another who has that name now.
        let is_another = place.with.is_some_and(|former| Some(former) != with);
        let before = place.renumber(numbering);
        let known = core::mem::take(&mut place.members);
        if !entered.members.into_iter().all(|member| place.note_member(member)) {
            return self.protocol_error(now);
        }
        place.listed = usize::try_from(entered.member_count).unwrap_or(usize::MAX);
        (place.with, place.is_claimed, place.is_entered) = (with, true, true);
        // What another server does not tell stays.
        if !name.is_empty() {
            place.name = name;
        }
        let name = place.name.clone();
        let topic = entered.topic.map(read_topic);
        let is_new_topic = before.was_numbered && topic != place.topic;
        place.topic.clone_from(&topic);
        let (is_private, is_leaving) = (place.is_private, place.is_leaving);
        if !is_leaving {
            if before.is_known {
                let back = with.filter(|with| !known.contains_key(with)).zip(other);
                if let Some((session, name)) = back {
                    self.event(ClientEvent::Joined { place: id, session, name });
                }
            } else {
                let Before { again, continues, .. } = before;
                self.event(ClientEvent::Entered { place: id, name, is_private, again, continues });
            }
            self.compare_members(id);
            if before.missed > 0 && !is_made(Mistake::GapHidden) {
                let (messages, before) = (before.missed, numbering.last_seq.next());
                self.event(ClientEvent::Missed { place: id, messages, before });
            }
            if is_new_topic {
                self.event(ClientEvent::Topic { place: id, topic: topic.unwrap_or_default() });
            }
            if !before.again && !is_private && self.config.history > 0 {
                self.ask_history(id, Some(numbering.last_seq.next()), self.config.history, "");
            }
        }
        if is_another && self.voice == Some(id) {
            // Who talked to the one does not talk to the other, unless he wants that.
            self.voice = None;
            // Nor is he told once more what was said to the one.
            self.talks_since.0 = None;
        }
        if before.was_elsewhere {
            // The voice was told to be in the one before.
            self.voice_told = self.voice_told.filter(|voice| *voice != Some(id));
        }
        self.tell_voice();
        self.send_outgoing(Limit::UnackedMessages.value());
        self.finish_parts();
    }

    /// Which place the server means that says this of a room. None if the user does not want it any more.
    fn place_entered(&mut self, key: u32, name: &str, is_private: bool, room: RoomId) -> Option<PlaceId> {
        let id = PlaceId::from_number(key);
        if self.place(id).is_none_or(|place| place.is_private != is_private) {
            if is_private {
                return self.place_opened(name, room);
            }
            // Nobody asked for it, or not any more. If it was asked for again meanwhile, leaving it now would undo that.
            let is_wanted =
                |name: &Name| self.places.iter().any(|place| !place.is_private && place.is_called(name));
            if !Name::new(name).is_ok_and(|name| is_wanted(&name)) {
                self.send(pb::to_server::Kind::Part(pb::Part { room: room.to_wire() }));
            }
            return None;
        }
        if let Some(same) = self.place_of(room).filter(|same| *same != id) {
            // Asked for twice, by names that the server takes for one.
            for message in self.outgoing.iter_mut().filter(|message| message.place == id) {
                message.place = same;
            }
            let is_wanted = self.place(id).is_some_and(|place| !place.is_leaving);
            if let Some(same) = self.place_mut(same) {
                same.is_leaving &= !is_wanted;
            }
            for voice in [Some(&mut self.voice), self.voice_told.as_mut()].into_iter().flatten() {
                *voice = voice.map(|place| if place == id { same } else { place });
            }
            self.not_entered(id, "you are in that room already".to_owned());
            return None;
        }
        Some(id)
    }

    /// The place for what somebody began between him and the user. The user may have done so at the same time, or before the other went
    /// away.
    fn place_opened(&mut self, name: &str, room: RoomId) -> Option<PlaceId> {
        if let Some(same) = self.place_of(room) {
            return Some(same).filter(|same| self.is_private(*same));
        }
        let other = Name::new(name).ok();
        let is_with = |place: &Place| other.as_ref().is_some_and(|other| place.is_called(other));
        // What waits to be said there is not meant for whoever has that name now.
        let waits = |id: PlaceId| self.outgoing.iter().any(|message| message.place == id);
        let is_over = |place: &Place| !place.has_other() && !waits(place.id);
        let is_free = |place: &&Place| place.is_private && (!place.is_entered || is_over(place));
        if let Some(same) = self.places.iter().find(|place| is_free(place) && is_with(place)) {
            return Some(same.id);
        }
        if self.count_places(true) >= Limit::PrivateEach.value() && !self.give_up_private() {
            // Of those that the server has not answered yet, there is one for which it has no place any more.
            let is_asked = |place: &&Place| place.is_private && !place.is_entered;
            let asked = self.places.iter().find(is_asked).map(|place| place.id)?;
            self.not_entered(asked, Refusal::TooManyPrivate.to_string());
        }
        Some(self.add_place(name, true))
    }

    fn joined(&mut self, now: Instant, joined: pb::Joined) {
        let own = self.session();
        let room = RoomId::from_wire(joined.room);
        let Some(member) = joined.member else { return };
        let Some(place) = self.room_mut(room) else { return };
        let (id, session, name) = (place.id, SessionId::from_wire(member.session), member.name.clone());
        if !place.note_member(member) {
            return self.protocol_error(now);
        }
        if Some(session) != own {
            self.event_at(id, |place| ClientEvent::Joined { place, session, name });
        }
    }

    fn left(&mut self, left: pb::Left) {
        let reason = match left.reason() {
            pb::left::Reason::Quit | pb::left::Reason::Unknown => LeaveReason::Quit,
            pb::left::Reason::Lost => LeaveReason::Lost,
            pb::left::Reason::Removed => LeaveReason::Removed,
        };
        let own = self.session();
        let Some(place) = self.room_mut(RoomId::from_wire(left.room)) else { return };
        let Some((session, member)) = left.member.map(read_member) else { return };
        if Some(session) == own {
            return;
        }
        if !is_made(Mistake::MembersStay) {
            place.members.remove(&session);
        }
        let (id, name) = (place.id, member.name);
        self.event_at(id, |place| ClientEvent::Left { place, session, name, reason });
        if self.count_places(true) > Limit::PrivateEach.value() {
            // The server made place for one that it was asked for.
            self.give_up_private();
        }
    }

    /// Somebody is like this now.
    fn changed(&mut self, now: Instant, member: pb::Member) {
        let (session, member) = read_member(member);
        if member.name.len() > limits::NAME_BYTES {
            return self.protocol_error(now);
        }
        let mut former = None;
        // In a room that the user left he does not see anybody any more.
        let mut is_seen = self.session() == Some(session);
        for place in &mut self.places {
            if let Some(known) = place.members.get_mut(&session) {
                former = Some(core::mem::replace(known, member.clone()));
                is_seen |= !place.is_leaving;
            }
            if place.with == Some(session) {
                place.name.clone_from(&member.name);
            }
        }
        if let Some(own) = self.session.as_mut().filter(|own| own.id == session) {
            let before = core::mem::replace(&mut own.name, member.name.clone());
            former = former.or(Some(Member { name: before, ..member.clone() }));
            self.config.name.clone_from(&member.name);
            // Of another change than that of the name the server tells with the name that he still has.
            self.wanted_name = self.wanted_name.take().filter(|wanted| *wanted != member.name);
        }
        let former = former.map(|former| former.name).filter(|former| *former != member.name);
        if is_seen {
            self.event(ClientEvent::Changed { session, former, member });
        }
    }

    fn topic_set(&mut self, topic: pb::Topic) {
        let Some(place) = self.room_mut(RoomId::from_wire(topic.room)) else { return };
        let (id, topic) = (place.id, read_topic(topic));
        place.topic = Some(topic.clone()).filter(|topic| !topic.text.is_empty());
        self.event_at(id, |place| ClientEvent::Topic { place, topic });
    }

    /// Some of the server's rooms, or the last of them.
    fn rooms_told(&mut self, list: pb::RoomList) {
        let rooms = list.rooms.into_iter().map(|room| ListedRoom {
            name: room.name,
            members: room.members,
            topic: room.topic,
        });
        let space = limits::ROOMS.saturating_sub(self.listed_rooms.len());
        self.listed_rooms.extend(rooms.take(space));
        if !list.more {
            let rooms = core::mem::take(&mut self.listed_rooms);
            self.event(ClientEvent::Rooms(rooms));
        }
    }

    /// Tells who came and left meanwhile, once it is known who is there.
    fn compare_members(&mut self, id: PlaceId) {
        let (own, former_self) = (self.session(), self.former_self.clone());
        let Some(place) = self.place_mut(id) else { return };
        if place.members.len() < place.listed {
            return;
        }
        let Some(former) = place.former_members.take() else { return };
        let is_self = |id: SessionId, name: &String| {
            Some(id) == own
                || former_self.as_ref().is_some_and(|(former, known)| (*former, known) == (id, name))
        };
        let others = place.members.iter().filter(|&(&id, member)| !is_self(id, &member.name));
        let now: BTreeSet<&String> = others.map(|(_, member)| &member.name).collect();
        let joined = now.iter().copied().filter(|name| !former.contains(*name)).cloned();
        let left = former.iter().filter(|name| !now.contains(name)).cloned();
        let (joined, left): (Vec<_>, Vec<_>) = (joined.collect(), left.collect());
        if !joined.is_empty() || !left.is_empty() {
            self.event_at(id, |place| ClientEvent::Meanwhile { place, joined, left });
        }
    }

    /// Tells the user something of a room that he did not leave.
    fn event_at(&mut self, place: PlaceId, event: impl FnOnce(PlaceId) -> ClientEvent) {
        if self.place(place).is_some_and(|place| !place.is_leaving || is_made(Mistake::PartedTold)) {
            self.event(event(place));
        }
    }

    fn refused(&mut self, now: Instant, refused: pb::Refused) {
        let State::Greeting { .. } = self.state else { return };
        use pb::refused::Reason;
        let suggestion = Some(refused.suggestion.clone()).filter(|name| Name::new(name).is_ok());
        // Whoever was here before is not to lose what he said because somebody took his name or place meanwhile.
        let may_pass = match refused.reason() {
            Reason::NameTaken => suggestion.is_some(),
            Reason::Full | Reason::RoomsFull => true,
            Reason::Unknown | Reason::Version | Reason::NameInvalid | Reason::RoomInvalid => false,
        };
        let will_retry = may_pass && self.session.is_some();
        self.event(ClientEvent::Refused { why: refused.text, suggestion: suggestion.clone(), will_retry });
        self.out.push(Queued::Disconnect, |_, _| {});
        if !will_retry {
            return self.end(EndReason::Refused);
        }
        if let Some(name) = suggestion {
            self.config.name = name;
            self.wanted_name = None;
        }
        self.lost(now);
    }

    fn closing(&mut self, closing: &pb::Closing) {
        use pb::closing::Reason;
        match closing.reason() {
            Reason::Replaced => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.end(EndReason::Replaced);
            }
            Reason::Removed => {
                self.out.push(Queued::Disconnect, |_, _| {});
                self.end(EndReason::Removed);
            }
            Reason::Unknown
            | Reason::Quit
            | Reason::Shutdown
            | Reason::ProtocolError
            | Reason::Timeout
            | Reason::TooSlow => {
                // The connection ends by itself; then the client comes back, unless it quit.
                self.goodbye = Some(closing.text.clone());
            }
        }
    }

    fn said(&mut self, said: pb::Said) {
        let (id, seq) = (MessageId::from_wire(said.id), Seq::from_wire(said.seq));
        let room = RoomId::from_wire(said.room);
        if Some(SessionId::from_wire(said.session)) == self.session()
            && self.outgoing.iter().any(|outgoing| outgoing.id == id)
        {
            // Told again after a lost connection: the acknowledgement that did not arrive.
            return self.acknowledged(room, id, seq, UnixMillis(said.at_ms), said.name);
        }
        let Some(place) = self.place_of(room) else { return };
        if self.is_next(place, seq) {
            let (name, text, at) = (said.name, said.text, UnixMillis(said.at_ms));
            self.event_at(place, |place| ClientEvent::Said { place, seq, name, text, at, own: None });
        }
    }

    /// A message of the user has its place, under the name that he had then.
    fn acknowledged(&mut self, room: RoomId, id: MessageId, seq: Seq, at: UnixMillis, name: String) {
        // What was said again may have its place in a room that is gone; in those that there are it has none.
        let here = self.place_of(room);
        if let Some(place) = here {
            self.is_next(place, seq);
        }
        let Some(Outgoing { place, text, .. }) = self.take_outgoing(id) else { return };
        let seq = if here == Some(place) { seq } else { Seq::ZERO };
        self.event_at(place, |place| ClientEvent::Said { place, seq, name, text, at, own: Some(id) });
        self.send_outgoing(Limit::UnackedMessages.value());
        self.finish_parts();
    }

    /// Notes the place of a message in its room. False when it was seen before; a gap is reported.
    fn is_next(&mut self, place: PlaceId, seq: Seq) -> bool {
        let Some(numbering) = self.place_mut(place).and_then(|place| place.numbering.as_mut()) else {
            return false;
        };
        let last = numbering.last_seq;
        if seq <= last {
            return false;
        }
        numbering.last_seq = seq;
        let missed = seq.to_wire() - last.next().to_wire();
        if missed > 0 && !is_made(Mistake::GapHidden) {
            self.event_at(place, |place| ClientEvent::Missed { place, messages: missed, before: seq });
        }
        true
    }

    pub(super) fn datagram(&mut self, now: Instant, kind: DatagramKind, payload: &[u8]) {
        let State::In(link) = &mut self.state else { return };
        match kind {
            DatagramKind::Voice => {
                self.stats.udp_received += 1;
                self.voice(now, payload);
            }
            DatagramKind::Echo => {
                let Ok(token) = payload.try_into().map(u64::from_be_bytes) else {
                    self.stats.malformed += 1;
                    return;
                };
                let switch = link.prober.handle_echo(now, token);
                self.stats.voice_rtt = link.prober.rtt();
                self.stats.voice_spread = link.prober.spread();
                self.path_changed(switch);
            }
            // Clients are not probed.
            DatagramKind::Probe => {}
        }
    }

    fn voice(&mut self, now: Instant, payload: &[u8]) {
        let State::In(link) = &mut self.state else { return };
        if Frames::parse(payload).is_err() {
            self.stats.malformed += 1;
            return;
        }
        link.prober.note_voice(now);
        self.out.push(Queued::Voice, |bytes, _| bytes.extend_from_slice(payload));
    }
}

fn read_topic(topic: pb::Topic) -> RoomTopic {
    RoomTopic { text: topic.text, by: topic.by, at: UnixMillis(topic.at_ms) }
}
