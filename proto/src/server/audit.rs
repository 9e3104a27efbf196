//! What must hold of a server once its outputs were polled: every table within its limit, and all of them of one mind.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};

use super::{
    Dialect, Server,
    classic::Lines,
    conn::{Conn, State},
};
use crate::{
    audit::{at_most, ensure, same},
    hooks::Limit,
    ids::{Peer, SessionId},
    limits,
};

impl Server {
    /// Checks that every table is within its limit and that the tables agree with each other; says what does not hold.
    /// To be called when every output was polled.
    ///
    /// For tests and simulators: costs time proportional to everything held.
    pub fn audit(&self) -> Result<(), String> {
        self.out.audit().map_err(|wrong| format!("outputs: {wrong}"))?;
        self.hub.audit().map_err(|wrong| format!("hub: {wrong}"))?;
        for (peer, conn) in self.conns() {
            conn.audit().map_err(|wrong| format!("{peer:?}: {wrong}"))?;
        }
        for (dialect, most) in
            [(Dialect::Native, Limit::PendingHellos.value()), (Dialect::Classic, limits::PENDING_NAMES)]
        {
            let is_waiting = |conn: &Conn| matches!(conn.state, State::WaitsForHello { .. });
            let waiting = self.conns().filter(|(_, c)| c.dialect() == dialect && is_waiting(c)).count();
            let counted = self.newcomers[dialect as usize];
            ensure!(waiting == counted, "{waiting} {dialect:?} connections are new, {counted} were counted");
            at_most("newcomers", waiting, most)?;
        }
        let timers = self.conns().filter_map(|(peer, conn)| Some((conn.timer?, peer)));
        same("timers", &self.timers, &timers.collect())?;
        let waiting = self.conns().filter(|(_, conn)| conn.waits_for_store).map(|(peer, _)| peer);
        let listed: BTreeSet<Peer> = self.waiting_for_store.iter().copied().collect();
        same("peers that wait for the store", &listed, &waiting.collect())?;
        let (entries, peers) = (self.waiting_for_store.len(), listed.len());
        ensure!(entries == peers, "{peers} peers wait for the store, {entries} are listed");
        self.reads.audit(|session| self.seats.peer_of(session).is_some())?;
        self.audit_members()
    }

    fn audit_members(&self) -> Result<(), String> {
        let members: BTreeMap<Peer, SessionId> =
            self.conns().filter_map(|(peer, conn)| Some((peer, conn.member()?))).collect();
        for (&peer, &session) in &members {
            let seated = self.seats.peer_of(session);
            ensure!(seated == Some(peer), "{peer:?} is {session:?}, whose seat has {seated:?}");
        }
        at_most("seats", self.seats.places(), self.hub.most_sessions())?;
        let (counted, classics) = self.seats.classics();
        ensure!(counted == classics, "{classics} seats are classic, {counted} were counted");
        for (index, session, peer) in self.seats.iter() {
            let member = members.get(&peer).copied();
            let is_right = member == Some(session) && session.index() == index;
            ensure!(is_right, "seat {index}: {session:?} sits at {peer:?}, where {member:?} is");
        }
        if self.is_stopping {
            // Everybody was sent away, and the hub need not know.
            let open = self.conns().count();
            ensure!(open == 0, "{open} connections are open though the server stops");
        } else {
            let (here, connected) = (self.hub.connected(), members.len());
            ensure!(here == connected, "the hub has {here} sessions connected, {connected} are");
        }
        Ok(())
    }

    fn conns(&self) -> impl Iterator<Item = (Peer, &Conn)> {
        let conns = self.conns.iter().zip(0..);
        conns.filter_map(|(conn, index)| Some((Peer::new(index), conn.as_ref()?)))
    }
}

impl Conn {
    fn member(&self) -> Option<SessionId> {
        match self.state {
            State::Member { session } => Some(session),
            State::WaitsForHello { .. } => None,
        }
    }

    fn audit(&self) -> Result<(), String> {
        let Some(timer) = self.timer else { return Err("nothing will wake it up".into()) };
        ensure!(timer <= self.due(), "its timer is set to {timer:?}, it is due at {:?}", self.due());
        // One that is paused also holds what had arrived with the frame that was too much. There is no number for that:
        // it is one portion of its driver's, who hands in nothing more until it is read again.
        if !self.paused {
            self.reader.audit(self.frame_limit())?;
            self.lines.as_ref().map_or(Ok(()), Lines::audit)?;
        }
        // Whatever is charged is charged when the peer is heard, so that none is ahead by more than a burst and what ends it.
        let frame = u32::try_from(limits::FRAME_BYTES).unwrap_or(u32::MAX);
        let frame = limits::CONTROL_FRAME_COST + limits::CONTROL_BYTE_COST * frame;
        let dearest = limits::VOICE_PATH_COST.max(limits::HISTORY_COST).max(limits::SEARCH_COST);
        // What a long answer costs comes with a change.
        let dearest = dearest.max(limits::CHANGE_COST + limits::CONTROL_BURST);
        for (what, rate, most) in [
            ("control", self.rate, limits::CONTROL_BURST + frame + dearest),
            ("report", self.report_rate, limits::REPORT_BURST + limits::REPORT_COST),
        ] {
            let ahead = rate.ahead(self.last_heard);
            ensure!(ahead <= most, "its {what} rate is ahead by {ahead:?}, at most {most:?} are possible");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::assert_told,
        hub::{Claim, JoinRequest},
        limits::HELLO_BYTES,
        outbox::Class,
        rng::Rng,
        server::{Input, Queued},
        time::{Duration, Instant},
        wire::{
            chinwag1::{self as pb, to_server::Kind},
            control,
        },
    };
    use alloc::vec::Vec;

    const NOW: Instant = Instant::from_micros(1_000_000);
    const FOO: Peer = Peer::new(0);
    const BAR: Peer = Peer::new(1);
    const NEW: Peer = Peer::new(4);

    fn send(server: &mut Server, peer: Peer, kind: Kind) {
        let mut bytes = Vec::new();
        control::write_to_server(&mut bytes, kind);
        server.handle_input(NOW, Input::Received { peer, bytes: &bytes });
        drain(server);
    }

    fn drain(server: &mut Server) {
        while server.poll_output().is_some() {}
    }

    /// Foo and Bar in the lobby, Baz in the den, Qux lost, one who said nothing yet.
    fn server() -> Server {
        let mut server = Server::new(8, Rng::from_number(1));
        for (index, (name, room)) in
            [("Foo", ""), ("Bar", ""), ("Baz", "den"), ("Qux", "")].into_iter().enumerate()
        {
            let peer = Peer::new(index as u32);
            server.handle_input(NOW, Input::Accepted { peer, dialect: Dialect::Native });
            let (name, room, versions) = (name.into(), room.into(), [control::VERSION].to_vec());
            let rooms = [pb::Claim { key: 1, name: room, ..Default::default() }].to_vec();
            let hello = pb::Hello { versions, name, rooms, voice: 1, ..Default::default() };
            send(&mut server, peer, Kind::Hello(hello));
        }
        server.handle_input(NOW, Input::Closed { peer: Peer::new(3) });
        server.handle_input(NOW, Input::Accepted { peer: NEW, dialect: Dialect::Native });
        drain(&mut server);
        server
    }

    fn conn(server: &mut Server, peer: Peer) -> &mut Conn {
        server.conn_mut(peer).unwrap()
    }

    fn session(server: &mut Server, peer: Peer) -> SessionId {
        conn(server, peer).member().unwrap()
    }

    #[test]
    fn connections_are_counted_timed_and_bounded() {
        assert_told(
            server,
            Server::audit,
            &[
                ("1 Native connections are new, 2 were counted", |s| s.newcomers[0] += 1),
                ("0 Classic connections are new, 1 were counted", |s| s.newcomers[1] += 1),
                ("newcomers: 1025, the limit is 1024", |s| {
                    for index in 0..limits::PENDING_HELLOS {
                        s.conns.push(Some(Conn::new(NOW, Dialect::Native)));
                        s.newcomers[0] += 1;
                        s.schedule(Peer::new(index as u32 + 5));
                    }
                }),
                ("timers: ", |s| {
                    s.timers.pop_first();
                }),
                ("is one too many of 5", |s| {
                    s.timers.insert((NOW, FOO));
                }),
                ("Peer(1): nothing will wake it up", |s| conn(s, BAR).timer = None),
                ("Peer(0): its timer is set to", |s| {
                    let late = NOW + Duration::from_secs(60);
                    let timer = conn(s, FOO).timer.replace(late).unwrap();
                    s.timers.remove(&(timer, FOO));
                    s.timers.insert((late, FOO));
                }),
                ("peers that wait for the store: Peer(0) is missing among 0", |s| {
                    conn(s, FOO).waits_for_store = true;
                }),
                ("peers that wait for the store: Peer(1) is one too many of 1", |s| {
                    s.waiting_for_store.push(BAR);
                }),
                ("1 peers wait for the store, 2 are listed", |s| {
                    conn(s, FOO).waits_for_store = true;
                    s.waiting_for_store.extend([FOO, FOO]);
                }),
                ("question 1 is of SessionId(7), who is not here", |s| {
                    s.reads.ask_for(1, SessionId::from_wire(7))
                }),
                ("reads: 257, the limit is 256", |s| {
                    let foo = session(s, FOO);
                    (0..=limits::READS as u32).for_each(|ticket| s.reads.ask_for(ticket, foo));
                }),
                ("outputs: 1 were not polled", |s| s.out.push(Queued::Send(Class::Control), |_, _| {})),
                ("hub: 4 sessions are in a room, 3 names are taken", |s| {
                    // A session that is gone has no connection to lose: that is its caller's matter.
                    let foo = session(s, FOO);
                    s.hub.lose(NOW, foo, true, &mut |_, _| {});
                    s.hub.lose(NOW, foo, false, &mut |_, _| {});
                }),
            ],
        );
    }

    #[test]
    fn a_peer_that_is_read_has_no_more_waiting_than_a_part_of_a_frame() {
        assert_told(
            server,
            Server::audit,
            &[
                ("Peer(0): a whole frame", |s| conn(s, FOO).reader.push(&[0, 0, 0, 1, 0])),
                ("Peer(4): a frame of 32769 bytes", |s| {
                    let announced = HELLO_BYTES as u32 + 1;
                    conn(s, NEW).reader.push(&announced.to_be_bytes());
                }),
                ("its control rate is ahead by", |s| {
                    conn(s, FOO).rate.charge(NOW, Duration::from_secs(5));
                }),
                ("its report rate is ahead by", |s| {
                    conn(s, FOO).report_rate.charge(NOW, Duration::from_millis(506));
                }),
            ],
        );
    }

    #[test]
    fn a_peer_that_is_paused_may_have_whole_frames_waiting() {
        let mut server = server();
        conn(&mut server, FOO).rate.charge(NOW, limits::CONTROL_BURST + Duration::from_millis(1));
        send(&mut server, FOO, Kind::Ping(pb::Ping { token: 1 }));
        assert!(conn(&mut server, FOO).paused && conn(&mut server, FOO).reader.buffered() > 0);
        assert_eq!(server.audit(), Ok(()));
    }

    #[test]
    fn members_and_seats_must_agree() {
        assert_told(
            server,
            Server::audit,
            &[
                ("Peer(0) is SessionId(1048576), whose seat has None", |s| {
                    let foo = session(s, FOO);
                    s.seats.unseat(foo, FOO);
                }),
                ("whose seat has Some(Peer(1))", |s| {
                    let foo = session(s, FOO);
                    s.seats.seat(foo, BAR, Dialect::Native);
                }),
                ("seat 9: SessionId(9) sits at Peer(4), where None is", |s| {
                    s.seats.seat(SessionId::from_wire(9), NEW, Dialect::Native);
                }),
                ("seats: 4105, the limit is 4104", |s| {
                    s.seats.seat(SessionId::from_parts(limits::HELD_SESSIONS + 8, 1), FOO, Dialect::Native);
                }),
                ("the hub has 2 sessions connected, 3 are", |s| {
                    let foo = session(s, FOO);
                    s.hub.lose(NOW, foo, false, &mut |_, _| {});
                }),
                ("Peer(0) is SessionId(9), whose seat has None", |s| {
                    conn(s, FOO).state = State::Member { session: SessionId::from_wire(9) };
                }),
                ("the hub has 4 sessions connected, 3 are", |s| {
                    let lobby = [Claim::new("")];
                    s.hub.join(NOW, &JoinRequest::new("Nobody", &lobby), &mut |_, _| {}).unwrap();
                }),
                ("4 connections are open though the server stops", |s| s.is_stopping = true),
            ],
        );
    }

    #[test]
    fn a_server_that_stops_passes_though_its_hub_was_not_told() {
        let mut server = server();
        server.handle_input(NOW, Input::Shutdown);
        drain(&mut server);
        assert_eq!((server.audit(), server.hub.connected()), (Ok(()), 3));
    }
}
