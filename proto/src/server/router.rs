//! Who hears whom: for each room the listeners, by the way on which voice reaches them, kept ready for every frame.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
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
        self.rooms.get(&place(room))
    }

    /// `peer` listens to `room` on `path`, whatever it did before.
    pub(super) fn listen(&mut self, room: RoomId, peer: Peer, path: VoicePath) {
        self.leave(room, peer);
        let listeners = self.rooms.entry(place(room)).or_default();
        if path.uses_udp() {
            listeners.udp.push(peer);
        }
        if path.uses_tcp() {
            listeners.tcp.push(peer);
        }
    }

    /// `peer` listens to `room` no more.
    pub(super) fn leave(&mut self, room: RoomId, peer: Peer) {
        let room = place(room);
        let Some(listeners) = self.rooms.get_mut(&room) else { return };
        listeners.udp.retain(|&other| other != peer);
        listeners.tcp.retain(|&other| other != peer);
        if listeners.udp.is_empty() && listeners.tcp.is_empty() {
            self.rooms.remove(&room);
        }
    }
}

fn place(room: RoomId) -> RoomId {
    if is_made(Mistake::VoiceAcrossRooms) { RoomId::from_wire(0) } else { room }
}

/// Appends everybody in `listeners` but the talker.
pub(super) fn all_but(talker: Peer, listeners: &[Peer], to: &mut Vec<Peer>) {
    to.extend(listeners.iter().copied().filter(|&listener| listener != talker || is_made(Mistake::VoiceEcho)));
}
