//! One room at the relay: who hears it, by the way on which voice reaches them, kept ready for every frame, and what waits
//! to be passed on together.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Egress, RelayStats, VoicePath, find, seat::Seat};
use crate::{
    hooks::{Mistake, is_made},
    ids::SessionId,
    limits::FRAMES_PER_DATAGRAM,
    time::Instant,
    wire::path::{DatagramKind, PAYLOAD_BYTES, Seal},
};

#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) udp: Vec<SessionId>,
    pub(super) tcp: Vec<SessionId>,
    /// Payloads that wait, one behind the other: at most a datagram's worth, each of another talker.
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<(SessionId, Range<usize>)>,
    pub(super) frames: usize,
    /// When they are passed on; none when there are none.
    due: Option<Instant>,
    /// What a talker gets of them: all but his own.
    others: Vec<u8>,
    /// Who is served first: each in turn, so that what comes too late or finds no room is not always the same one's.
    first: usize,
}

impl Room {
    /// `session` listens on `path`, whatever it did before.
    pub(super) fn listen(&mut self, session: SessionId, path: VoicePath) {
        self.leave(session);
        if path.uses_udp() {
            self.udp.push(session);
        }
        if path.uses_tcp() {
            self.tcp.push(session);
        }
    }

    /// `session` listens no more. What it said is still passed on.
    pub(super) fn leave(&mut self, session: SessionId) {
        self.udp.retain(|&other| other != session);
        self.tcp.retain(|&other| other != session);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.udp.is_empty() && self.tcp.is_empty()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// True when somebody else than the talker listens by datagram.
    pub(super) fn has_others(&self, talker: SessionId) -> bool {
        self.udp.iter().any(|&listener| is_for(listener, talker))
    }

    /// Hands a payload over for those who do not get it by datagram; returns how many they are, if it is taken.
    pub(super) fn tunnel<S>(&self, talker: SessionId, payload: &[u8], egress: &mut impl Egress<S>) -> u64 {
        let listeners = || self.tcp.iter().copied().filter(|&listener| is_for(listener, talker));
        let count = listeners().count();
        if count > 0 && egress.tunnel(payload, listeners()) { count as u64 } else { 0 }
    }

    /// True when a payload of so many frames may join those that wait. A talker's frames stand together in a datagram, the newest
    /// first: a second payload of his goes into the next.
    pub(super) fn fits(&self, talker: SessionId, payload: &[u8], frames: usize) -> bool {
        self.bytes.len() + payload.len() <= PAYLOAD_BYTES
            && self.frames + frames <= FRAMES_PER_DATAGRAM
            && self.parts.iter().all(|(other, _)| *other != talker)
    }

    /// Takes a payload that fits; true when it is the first that waits, until `due`.
    pub(super) fn take(&mut self, due: Instant, talker: SessionId, payload: &[u8], frames: usize) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.parts.push((talker, start..self.bytes.len()));
        self.frames += frames;
        let is_first = self.due.is_none();
        self.due.get_or_insert(due);
        is_first
    }

    /// Passes on what waits, to each listener what is not his own.
    pub(super) fn flush<S: Seal>(
        &mut self,
        seats: &mut [Option<Seat<S>>],
        stats: &mut RelayStats,
        egress: &mut impl Egress<S>,
    ) {
        self.first = (self.first + 1).checked_rem(self.udp.len()).unwrap_or(0);
        let (last, first) = self.udp.split_at(self.first);
        for &listener in first.iter().chain(last) {
            let Some(seat) = find(seats, listener) else { continue };
            let own = self.parts.iter().find(|(talker, _)| !is_for(listener, *talker));
            let (payload, count) = match own {
                None => (&self.bytes, self.parts.len()),
                Some((_, own)) => {
                    self.others.clear();
                    self.others.extend_from_slice(self.bytes.get(..own.start).unwrap_or_default());
                    self.others.extend_from_slice(self.bytes.get(own.end..).unwrap_or_default());
                    (&self.others, self.parts.len() - 1)
                }
            };
            if count == 0 {
                continue;
            }
            if seat.send(DatagramKind::Voice, payload, egress) {
                stats.voice_out += count as u64;
                stats.datagrams_out += 1;
            } else {
                stats.voice_unsent += count as u64;
            }
        }
        self.bytes.clear();
        self.parts.clear();
        self.frames = 0;
        self.due = None;
    }
}

/// Nobody is sent his own voice.
fn is_for(listener: SessionId, talker: SessionId) -> bool {
    listener != talker || is_made(Mistake::VoiceEcho)
}
