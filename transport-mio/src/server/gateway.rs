//! The voice of classic programs, between their sockets and the gateway that the program gave.

use std::{io, net::SocketAddr};

use chinwag_proto::{
    Instant, Peer, ReceiverReport, SessionId,
    relay::Order,
    server::{Input, Server},
};
use mio::{Interest, Token, net::TcpStream};

use super::{
    FIRST_VOICE, Observation, ServerLoop,
    api::{PcmPace, VoiceGateway, VoiceOut},
    peers::Peers,
    relay::RelayHandle,
    voices::{Heard, Voices},
};

/// Bytes read from one voice socket before the others have their turn.
const READ_BUDGET: usize = 64 * 1024;
/// What a read costs of that at least: many small ones are more work than few large ones.
const READ_COST: usize = 1024;

/// The gateway and the sockets.
#[derive(Debug)]
pub(super) struct ClassicVoice {
    gateway: Box<dyn VoiceGateway>,
    voices: Voices,
    /// Sockets with more to read than their budget allowed.
    unread: Vec<usize>,
}

impl ClassicVoice {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(Instant::ZERO);
        }
        self.gateway.poll_timeout().into_iter().chain(self.voices.poll_timeout()).min()
    }

    /// How a classic talker arrives.
    pub(super) fn reported(&mut self, now: Instant, talker: SessionId, report: ReceiverReport) {
        self.gateway.reported(now, talker.to_wire(), report);
    }

    /// A payload that somebody in a classic member's room sent.
    pub(super) fn hear(&mut self, now: Instant, payload: &[u8]) {
        self.gateway.hear(now, payload);
    }
}

impl ServerLoop {
    /// Gives classic programs a voice. Without it what connects to [`super::ServerOptions::classic_voice`] is closed at once.
    pub fn set_gateway(&mut self, gateway: Box<dyn VoiceGateway>, pace: PcmPace) {
        self.classic_voice = Some(ClassicVoice { gateway, voices: Voices::new(pace), unread: Vec::new() });
    }

    /// Bytes of PCM that classic programs were too slow to read.
    pub fn classic_voice_dropped(&self) -> u64 {
        self.classic_voice.as_ref().map_or(0, |voice| voice.voices.dropped())
    }

    pub(super) fn accept_voice(&mut self, now: Instant, mut socket: TcpStream, from: SocketAddr) {
        let Some(voice) = &mut self.classic_voice else { return };
        let Some(slot) = voice.voices.reserve(from) else {
            self.losses.beyond_table += 1;
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut socket, Token(FIRST_VOICE + slot), interest).is_err() {
            return;
        }
        voice.voices.insert(now, slot, socket, from);
        if let Some(peer) = self.peers.voiceless_from(from.ip()) {
            claim(&mut self.classic_voice, &mut self.peers, peer);
            open(&mut self.classic_voice, &mut self.peers, now, peer);
        }
    }

    pub(super) fn voice_ready(
        &mut self,
        now: Instant,
        slot: usize,
        observe: &mut dyn FnMut(Observation<'_>),
    ) {
        let Some(voice) = &mut self.classic_voice else { return };
        if !voice.voices.flush(slot) {
            return hang_up(&mut self.classic_voice, &mut self.peers, slot);
        }
        self.read_voice(now, slot, observe);
    }

    fn read_voice(&mut self, now: Instant, slot: usize, observe: &mut dyn FnMut(Observation<'_>)) {
        let Some(ClassicVoice { gateway, voices, unread }) = &mut self.classic_voice else { return };
        let mut budget = READ_BUDGET;
        while budget > 0 {
            match voices.read(now, slot, &mut self.buffer) {
                Heard::Bytes(count) => {
                    budget = budget.saturating_sub(count.max(READ_COST));
                    // Of who has no name yet nothing is heard.
                    if let Some(session) = voices.get(slot).and_then(|voice| voice.session) {
                        gateway.pcm(now, session, self.buffer.get(..count).unwrap_or_default());
                    }
                }
                Heard::Nothing => return,
                Heard::End => {
                    if let Some(from) = voices.get(slot).map(|voice| voice.from()) {
                        observe(Observation::Lost { from, error: None::<&io::Error> });
                    }
                    return hang_up(&mut self.classic_voice, &mut self.peers, slot);
                }
            }
        }
        unread.push(slot);
    }

    /// What is due of classic voice.
    pub(super) fn turn_voice(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        let Some(voice) = &mut self.classic_voice else { return };
        let mut ready = std::mem::take(&mut voice.unread);
        ready.extend(std::iter::from_fn(|| voice.voices.pop_paused(now)));
        for slot in ready {
            self.read_voice(now, slot, observe);
        }
        while let Some(slot) = self.classic_voice.as_ref().and_then(|voice| voice.voices.overdue(now)) {
            hang_up(&mut self.classic_voice, &mut self.peers, slot);
        }
        let Some(ClassicVoice { gateway, voices, .. }) = &mut self.classic_voice else { return };
        if gateway.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let mut failed = Vec::new();
        let (server, relay, peers) = (&mut self.server, &mut self.relay, &mut self.peers);
        gateway.handle_timeout(now, &mut Sink { now, server, relay, peers, voices, failed: &mut failed });
        for slot in failed {
            hang_up(&mut self.classic_voice, &mut self.peers, slot);
        }
        self.carry_out(now, observe);
    }
}

/// Where the gateway's voice goes.
struct Sink<'a> {
    now: Instant,
    server: &'a mut Server,
    relay: &'a mut RelayHandle,
    peers: &'a mut Peers,
    voices: &'a mut Voices,
    /// Sockets that are broken.
    failed: &'a mut Vec<usize>,
}

impl VoiceOut for Sink<'_> {
    fn send(&mut self, session: u32, payload: &[u8]) {
        let session = SessionId::from_wire(session);
        let room = self.server.hub().voice_room(session);
        self.relay.order(self.now, Order::Talk { session, room, payload });
    }

    fn report(&mut self, talker: u32, report: ReceiverReport) {
        let talker = SessionId::from_wire(talker);
        self.server.handle_input(self.now, Input::Reported { talker, report });
    }

    fn play(&mut self, session: u32, pcm: &[u8]) {
        let peer = self.server.peer_of(SessionId::from_wire(session));
        let slot = peer.and_then(|peer| self.peers.get_mut(peer)?.voice);
        if let Some(slot) = slot.filter(|&slot| !self.voices.play(slot, pcm)) {
            self.failed.push(slot);
        }
    }
}

/// A text connection looks for its voice socket.
pub(super) fn claim(voice: &mut Option<ClassicVoice>, peers: &mut Peers, peer: Peer) {
    let (Some(voice), Some(connection)) = (voice, peers.get_mut(peer)) else { return };
    if connection.is_classic()
        && let Some(slot) = voice.voices.unclaimed_from(connection.from)
    {
        voice.voices.claim(slot, peer);
        connection.voice = Some(slot);
    }
}

/// A classic member is heard, and hears, from now on: if he said who he is, and his voice socket is there.
pub(super) fn open(voice: &mut Option<ClassicVoice>, peers: &mut Peers, now: Instant, peer: Peer) {
    let (Some(voice), Some(connection)) = (voice, peers.get_mut(peer)) else { return };
    let (Some(session), Some(slot)) = (connection.session, connection.voice) else { return };
    if let Some(socket) = voice.voices.get_mut(slot)
        && voice.gateway.open(now, session.to_wire())
    {
        socket.session = Some(session.to_wire());
    }
}

/// A text connection is over, and so is its voice.
pub(super) fn close(voice: &mut Option<ClassicVoice>, peers: &mut Peers, peer: Peer) {
    if let Some(slot) = peers.get_mut(peer).and_then(|connection| connection.voice) {
        hang_up(voice, peers, slot);
    }
}

/// A voice socket is over; its text connection goes on.
fn hang_up(voice: &mut Option<ClassicVoice>, peers: &mut Peers, slot: usize) {
    let Some(ClassicVoice { gateway, voices, unread }) = voice else { return };
    // Dropping the socket closes it, and ends its registration.
    let Some(gone) = voices.remove(slot) else { return };
    unread.retain(|&other| other != slot);
    if let Some(connection) = gone.text.and_then(|peer| peers.get_mut(peer)) {
        connection.voice = None;
    }
    if let Some(session) = gone.session {
        gateway.close(session);
    }
}
