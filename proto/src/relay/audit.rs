//! What must hold of a relay: rooms and seats are of one mind, and no more waits than fits into a datagram.

use alloc::{collections::BTreeSet, format, string::String};

use super::{Relay, room::Room};
use crate::{
    audit::{at_most, ensure, same},
    limits::{FRAMES_PER_DATAGRAM, VOICE_BURST, VOICE_DATAGRAM_COST},
    wire::{path::PAYLOAD_BYTES, voice::Frames},
};

impl<S> Relay<S> {
    /// Checks that the tables agree with each other, and that no room holds more than it may; says what does not hold.
    ///
    /// For tests and simulators: costs time proportional to everything held.
    pub fn audit(&self) -> Result<(), String> {
        let mut listed = BTreeSet::new();
        for (id, room) in &self.rooms {
            ensure!(!room.is_empty(), "{id:?} is kept though nobody listens there");
            for (way, sessions) in [("UDP", &room.udp), ("TCP", &room.tcp)] {
                let mut once = BTreeSet::new();
                for &session in sessions {
                    ensure!(once.insert(session), "{id:?}: {session:?} is listed twice for {way}");
                    listed.insert((session, *id));
                }
            }
            room.audit().map_err(|wrong| format!("{id:?}: {wrong}"))?;
            let (is_due, waits) = (room.due().is_some(), self.waiting.contains(id));
            ensure!(is_due == waits, "{id:?}: voice waits: {is_due}, it is listed as waiting: {waits}");
        }
        let seated = self.seats.iter().flatten().filter_map(|seat| Some((seat.session, seat.room?)));
        same("listeners", &listed, &seated.collect())?;
        at_most("waiting rooms", self.waiting.len(), self.rooms.len())?;
        for (index, seat) in self.seats.iter().enumerate() {
            let Some(seat) = seat else { continue };
            ensure!(seat.session.index() == index, "{:?} sits at {index}", seat.session);
            let (ahead, most) = (seat.rate.ahead(seat.charged), VOICE_BURST + VOICE_DATAGRAM_COST);
            ensure!(ahead <= most, "{:?} is ahead by {ahead:?}, at most {most:?} are possible", seat.session);
        }
        Ok(())
    }
}

impl Room {
    fn audit(&self) -> Result<(), String> {
        at_most("bytes that wait", self.bytes.len(), PAYLOAD_BYTES)?;
        at_most("frames that wait", self.frames, FRAMES_PER_DATAGRAM)?;
        let talkers: BTreeSet<_> = self.parts.iter().map(|(talker, _)| *talker).collect();
        ensure!(talkers.len() == self.parts.len(), "two payloads of one talker wait for one datagram");
        ensure!(self.parts.is_empty() == self.due().is_none(), "{} payloads wait", self.parts.len());
        if !self.bytes.is_empty() {
            let count = Frames::parse(&self.bytes).map_or(0, Iterator::count);
            ensure!(count == self.frames, "{count} frames wait, {} were counted", self.frames);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    use super::*;
    use crate::{
        audit::assert_told,
        ids::{RoomId, SessionId},
        relay::{Egress, Order, VoicePath},
        time::{Duration, Instant},
        wire::{
            path::{Draft, Seal, TAG_BYTES},
            voice::VoiceFrame,
        },
    };

    const NOW: Instant = Instant::from_micros(1_000_000);
    const LOBBY: RoomId = RoomId::new(1);
    const DEN: RoomId = RoomId::new(2);

    struct Open;

    impl Seal for Open {
        fn seal(&self, _counter: u64, _header: &[u8], _payload: &mut [u8]) -> [u8; TAG_BYTES] {
            [0; TAG_BYTES]
        }

        fn open(&self, _counter: u64, _header: &[u8], _sealed: &mut [u8]) -> bool {
            true
        }
    }

    struct Nowhere;

    impl<S> Egress<S> for Nowhere {
        fn datagram(&mut self, _socket: usize, _to: SocketAddr, _draft: Draft<'_, S>) {}
        fn tunnel(&mut self, _payload: &[u8], _to: impl Iterator<Item = SessionId>) -> bool {
            true
        }
        fn alive(&mut self, _now: Instant, _session: SessionId) {}
    }

    fn session(index: usize) -> SessionId {
        SessionId::from_parts(index, 1)
    }

    /// Three in the lobby, listening in all ways, one in the den; what the first said waits.
    fn relay() -> Relay<Open> {
        let mut relay = Relay::default();
        for (index, room) in [LOBBY, LOBBY, LOBBY, DEN].into_iter().enumerate() {
            relay.open(session(index), Some(room), Some(Open));
        }
        for (index, path) in [VoicePath::Both, VoicePath::Udp].into_iter().enumerate() {
            relay.obey(NOW, Order::Listen { session: session(index), path }, &mut Nowhere);
        }
        let mut payload = Vec::new();
        let frame = VoiceFrame { talker: session(0), sequence: 1, end: false, level: 30, opus: &[1, 2] };
        assert!(frame.write(&mut payload));
        let talk = Order::Talk { session: session(0), room: Some(LOBBY), payload: &payload };
        relay.obey(NOW, talk, &mut Nowhere);
        relay
    }

    fn lobby(relay: &mut Relay<Open>) -> &mut Room {
        relay.rooms.get_mut(&LOBBY).unwrap()
    }

    #[test]
    fn rooms_and_seats_must_agree_and_little_may_wait() {
        assert_told(
            relay,
            Relay::audit,
            &[
                ("SessionId(1048577) is listed twice for UDP", |r| lobby(r).udp.push(session(1))),
                ("SessionId(1048578) is listed twice for TCP", |r| lobby(r).tcp.push(session(2))),
                ("RoomId(7) is kept though nobody listens there", |r| {
                    r.rooms.insert(RoomId::new(7), Room::default());
                }),
                ("listeners: ", |r| lobby(r).leave(session(2))),
                ("listeners: ", |r| lobby(r).listen(session(3), VoicePath::Udp)),
                ("listeners: ", |r| r.seats[3] = None),
                ("SessionId(1048576) sits at 1", |r| r.seats.insert(0, None)),
                ("voice waits: true, it is listed as waiting: false", |r| r.waiting.clear()),
                ("waiting rooms: 3, the limit is 2", |r| r.waiting.resize(3, LOBBY)),
                ("two payloads of one talker", |r| {
                    let part = lobby(r).parts[0].clone();
                    lobby(r).parts.push(part);
                }),
                ("1 frames wait, 2 were counted", |r| lobby(r).frames = 2),
                ("frames that wait: 17, the limit is 16", |r| lobby(r).frames = 17),
                ("bytes that wait: 1172, the limit is 1171", |r| lobby(r).bytes.resize(1172, 0)),
                ("0 payloads wait", |r| lobby(r).parts.clear()),
                ("is ahead by 405ms", |r| {
                    let seat = r.seats[3].as_mut().unwrap();
                    (seat.rate, seat.charged) = (Default::default(), NOW);
                    seat.rate.charge(NOW, Duration::from_millis(405));
                }),
            ],
        );
    }
}
