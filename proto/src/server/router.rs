//! Who hears whom: for each room the listeners, by the way on which voice reaches them, kept ready for every frame.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use crate::{
    audit::ensure,
    hooks::{Mistake, is_made},
    ids::{Peer, RoomId},
};

/// How voice reaches a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VoicePath {
    /// In frames of the control connection.
    #[default]
    Tcp,
    /// In sealed datagrams.
    Udp,
    /// Both ways at once, while it is doubtful whether datagrams get through.
    Both,
}

impl VoicePath {
    /// True when datagrams are sent.
    pub const fn uses_udp(self) -> bool {
        matches!(self, Self::Udp | Self::Both)
    }

    /// True when frames of the control connection are sent.
    pub const fn uses_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both)
    }
}

#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) udp: Vec<Peer>,
    pub(super) tcp: Vec<Peer>,
}

#[derive(Debug, Default)]
pub(super) struct Router {
    rooms: BTreeMap<RoomId, Listeners>,
}

impl Router {
    /// The listeners of `room`, its talkers among them.
    pub(super) fn listeners(&self, room: RoomId) -> Option<&Listeners> {
        if is_made(Mistake::VoiceAcrossRooms) {
            return self.rooms.values().next();
        }
        self.rooms.get(&room)
    }

    /// `peer` listens to `room` on `path`, whatever it did before.
    pub(super) fn listen(&mut self, room: RoomId, peer: Peer, path: VoicePath) {
        self.leave(room, peer);
        let listeners = self.rooms.entry(room).or_default();
        if path.uses_udp() {
            listeners.udp.push(peer);
        }
        if path.uses_tcp() {
            listeners.tcp.push(peer);
        }
    }

    /// `peer` listens to `room` no more.
    pub(super) fn leave(&mut self, room: RoomId, peer: Peer) {
        let Some(listeners) = self.rooms.get_mut(&room) else { return };
        listeners.udp.retain(|&other| other != peer);
        listeners.tcp.retain(|&other| other != peer);
        if listeners.udp.is_empty() && listeners.tcp.is_empty() {
            self.rooms.remove(&room);
        }
    }

    /// What must hold: whoever is listed is in that room and listed once for each way. Returns everybody who is.
    pub(super) fn audit(&self, room_of: impl Fn(Peer) -> Option<RoomId>) -> Result<BTreeSet<Peer>, String> {
        let mut heard = BTreeSet::new();
        for (&room, Listeners { udp, tcp }) in &self.rooms {
            ensure!(!udp.is_empty() || !tcp.is_empty(), "{room:?} is kept though nobody listens there");
            for (way, peers) in [("UDP", udp), ("TCP", tcp)] {
                let mut listed = BTreeSet::new();
                for &peer in peers {
                    let is_in = room_of(peer);
                    ensure!(is_in == Some(room), "{room:?}: {peer:?} listens, whose room is {is_in:?}");
                    ensure!(listed.insert(peer), "{room:?}: {peer:?} is listed twice for {way}");
                }
                heard.extend(listed);
            }
        }
        Ok(heard)
    }
}

/// Appends everybody in `listeners` but the talker.
pub(super) fn all_but(talker: Peer, listeners: &[Peer], to: &mut Vec<Peer>) {
    to.extend(
        listeners.iter().copied().filter(|&listener| listener != talker || is_made(Mistake::VoiceEcho)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::assert_told;

    #[test]
    fn an_audit_tells_who_is_listed_wrong() {
        let (room, one, two) = (RoomId::new(1), Peer::new(1), Peer::new(2));
        let sound = || {
            let mut router = Router::default();
            router.listen(room, one, VoicePath::Udp);
            router.listen(room, two, VoicePath::Both);
            router
        };
        let is_in = |peer| (peer == one || peer == two).then_some(room);
        assert_eq!(sound().audit(is_in), Ok([one, two].into()));
        assert_told(
            sound,
            |router| router.audit(is_in).map(drop),
            &[
                ("Peer(1) is listed twice for UDP", |router| {
                    router.rooms.values_mut().for_each(|listeners| listeners.udp.push(Peer::new(1)));
                }),
                ("Peer(2) is listed twice for TCP", |router| {
                    router.rooms.values_mut().for_each(|listeners| listeners.tcp.push(Peer::new(2)));
                }),
                ("Peer(3) listens, whose room is None", |router| {
                    router.rooms.values_mut().for_each(|listeners| listeners.tcp.push(Peer::new(3)));
                }),
                ("RoomId(7) is kept though nobody listens there", |router| {
                    router.rooms.insert(RoomId::new(7), Listeners::default());
                }),
            ],
        );
    }
}
