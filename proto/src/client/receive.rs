//! What the server says, and what a client makes of it.

use alloc::{borrow::ToOwned as _, collections::BTreeSet, string::String, vec::Vec};

use super::{Client, ClientEvent, EndReason, Link, Page, PageLine, PathProber, Queued, Session, State};
use crate::{
    history::UnixMillis,
    hooks::{Limit, Mistake, is_made},
    hub::LeaveReason,
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
            // What happens in the room means nothing before the welcome to it.
            Kind::Members(_)
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
            Kind::Members(members) => {
                for (session, name) in members.members.into_iter().map(member) {
                    if !self.note_member(session, &name) {
                        return self.protocol_error(now);
                    }
                }
                self.compare_members();
            }
            Kind::Ack(ack) => {
                let (id, seq) = (MessageId::from_wire(ack.id), Seq::from_wire(ack.seq));
                self.acknowledged(RoomId::from_wire(ack.room), id, seq, UnixMillis(ack.at_ms));
            }
            Kind::Nack(nack) => {
                let id = MessageId::from_wire(nack.id);
                if let Some(text) = self.take_outgoing(id) {
                    self.event(ClientEvent::NotSaid { id, text, why: nack.text });
                    self.send_outgoing(Limit::UnackedMessages.value());
                }
            }
            Kind::Said(said) => self.said(said),
            Kind::Joined(joined) => {
                if let Some((session, name)) = joined.member.map(member) {
                    if !self.note_member(session, &name) {
                        return self.protocol_error(now);
                    }
                    if Some(session) != self.session() {
                        self.event(ClientEvent::Joined { session, name });
                    }
                }
            }
            Kind::Left(left) => {
                let reason = match left.reason() {
                    pb::left::Reason::Quit | pb::left::Reason::Unknown => LeaveReason::Quit,
                    pb::left::Reason::Lost => LeaveReason::Lost,
                    pb::left::Reason::Removed => LeaveReason::Removed,
                };
                if let Some((session, name)) = left.member.map(member)
                    && Some(session) != self.session()
                {
                    if !is_made(Mistake::MembersStay) {
                        self.members.remove(&session);
                    }
                    self.event(ClientEvent::Left { session, name, reason });
                }
            }
            Kind::Pong(pong) => {
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
                let page = Page { token: page.token, lines: lines.collect(), more: page.more, error };
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
        let Some(room) = welcome.room else { return self.protocol_error(now) };
        let mut former = core::mem::take(&mut self.members);
        if let Some(session) = &self.session {
            former.remove(&session.id);
            if let Some((id, _)) = self.former_self.take_if(|(id, name)| former.get(id) == Some(name)) {
                former.remove(&id);
            }
            self.former_self = Some((session.id, session.name.clone()));
            // If it is lost again before it is known who is here, those who were told of last count.
            self.former_members.get_or_insert_with(|| former.into_values().collect());
        }
        let is_bounded =
            welcome.members.into_iter().map(member).all(|(id, name)| self.note_member(id, &name))
                && [&welcome.name, &room.name].iter().all(|name| name.len() <= limits::NAME_BYTES)
                && welcome.resume_token.len() <= limits::RESUME_TOKEN_BYTES;
        if !is_bounded {
            return self.protocol_error(now);
        }
        let id = SessionId::from_wire(welcome.session);
        let again = self.session.is_some();
        self.stats.reconnects += u64::from(again);
        self.stats.voice_path = VoicePath::default();
        self.state = State::In(Link {
            prober: PathProber::new(now),
            since: now,
            last_heard: now,
            next_ping: now,
            ping: None,
            sent_up_to: if is_made(Mistake::OutgoingUnsent) { self.last_id } else { MessageId::default() },
        });
        self.listed = usize::try_from(welcome.member_count).unwrap_or(usize::MAX);
        let (last_seq, mut missed) = (Seq::from_wire(room.last_seq), 0);
        // A server that has forgotten the session may still have the same room.
        let former = self.session.as_ref().filter(|former| former.epoch == room.epoch);
        let continues = former.is_some();
        if let Some(session) = former {
            missed = last_seq.to_wire().saturating_sub(session.last_seq.to_wire());
        }
        self.session = Some(Session {
            id,
            token: welcome.resume_token,
            name: welcome.name.clone(),
            room: RoomId::from_wire(room.id),
            room_name: room.name.clone(),
            epoch: room.epoch,
            last_seq,
        });
        self.out.push(Queued::OpenPath(id), |_, _| {});
        let (name, resumed) = (welcome.name, welcome.resumed);
        self.event(ClientEvent::Welcome { session: id, name, room: room.name, resumed, again, continues });
        self.compare_members();
        if missed > 0 && !is_made(Mistake::GapHidden) {
            self.event(ClientEvent::Missed { messages: missed });
        }
        if !again && self.config.history > 0 {
            self.ask_history(Some(last_seq.next()), self.config.history, "");
        }
        self.send_outgoing(Limit::UnackedMessages.value());
    }

    /// Tells who came and left meanwhile, once it is known who is here.
    fn compare_members(&mut self) {
        if self.members.len() < self.listed {
            return;
        }
        let Some(former) = self.former_members.take() else { return };
        let is_self = |id: SessionId, name: &String| {
            Some(id) == self.session()
                || self.former_self.as_ref().is_some_and(|(former, known)| (*former, known) == (id, name))
        };
        let others = self.members.iter().filter(|&(&id, name)| !is_self(id, name));
        let now: BTreeSet<&String> = others.map(|(_, name)| name).collect();
        let joined = now.iter().copied().filter(|name| !former.contains(*name)).cloned();
        let left = former.iter().filter(|name| !now.contains(name)).cloned();
        let (joined, left): (Vec<_>, Vec<_>) = (joined.collect(), left.collect());
        if !joined.is_empty() || !left.is_empty() {
            self.event(ClientEvent::Meanwhile { joined, left });
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
        if Some(SessionId::from_wire(said.session)) == self.session()
            && self.outgoing.iter().any(|(outgoing, _)| *outgoing == id)
        {
            // Told again after a lost connection: the acknowledgement that did not arrive.
            return self.acknowledged(RoomId::from_wire(said.room), id, seq, UnixMillis(said.at_ms));
        }
        if self.is_next(said.seq) {
            let (name, text, at) = (said.name, said.text, UnixMillis(said.at_ms));
            self.event(ClientEvent::Said { seq, name, text, at, own: None });
        }
    }

    fn acknowledged(&mut self, room: RoomId, id: MessageId, seq: Seq, at: UnixMillis) {
        // What was said again may have its place in a room that is gone; in this one it has none.
        let is_here = self.session.as_ref().is_some_and(|session| session.room == room);
        let seq = if is_here { seq } else { Seq::ZERO };
        self.is_next(seq.to_wire());
        let Some(text) = self.take_outgoing(id) else { return };
        let name = self.session.as_ref().map(|session| session.name.clone()).unwrap_or_default();
        self.event(ClientEvent::Said { seq, name, text, at, own: Some(id) });
        self.send_outgoing(Limit::UnackedMessages.value());
    }

    /// Notes the place of an event. False when it was seen before; a gap is reported.
    fn is_next(&mut self, seq: u64) -> bool {
        let Some(session) = &mut self.session else { return false };
        let last = session.last_seq;
        if seq <= last.to_wire() {
            return false;
        }
        session.last_seq = Seq::from_wire(seq);
        let missed = seq - last.next().to_wire();
        if missed > 0 && !is_made(Mistake::GapHidden) {
            self.event(ClientEvent::Missed { messages: missed });
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

fn member(member: pb::Member) -> (SessionId, String) {
    (SessionId::from_wire(member.session), member.name)
}
