//! The voice of one room between *classic* members (raw PCM over TCP, from connect to close) and *native* ones (Opus frames in voice
//! payloads): a pure machine that a server's driver turns.
//!
//! Native talkers are decoded once for the room ([`Playout`], whose jitter buffers adapt to their way to the server), classic talkers are converted
//! and encoded once ([`Capture`]). A classic listener gets the sum of all but itself, at real time, silence included. Native listeners get each
//! classic talker's frames and mix for themselves.
//!
//! It does not know sockets, names, rooms or who may talk, and does nothing to the sound: no automatic level, no noise suppression.

mod inlet;
mod outlet;

use std::collections::BTreeMap;

use chinwag_proto::SessionId;
use chinwag_proto::wire::voice;

use self::inlet::{Inlet, InletStats, ramp};
use self::outlet::Outlet;
use crate::adapt::Adapter;
use crate::capture::{Capture, CaptureStats, Gate};
use crate::codec::EncoderConfig;
use crate::gate::{MAX_PRE_ROLL, OPEN_RMS};
use crate::limits::{MAX_CLASSIC, MAX_CLASSIC_TALKERS, MAX_LATE_TURNS, MAX_PCM_CHANNELS, PCM_RATES_HZ};
use crate::playout::{Playout, PlayoutStats};
use crate::report::{ReceiverReport, Told};
use crate::{BLOCK_MS, BLOCK_TIME, BLOCK_US, Block, EncodedFrame, Instant, SILENCE, VoiceFrame, rms};

/// How a classic program sends and plays: interleaved signed 16-bit samples, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmFormat {
    /// Frames a second, within [`PCM_RATES_HZ`].
    pub rate_hz: u32,
    /// Samples in a frame, 1 to [`MAX_PCM_CHANNELS`]. All of them play the same; of those sent the mean is taken.
    pub channels: u16,
}

impl Default for PcmFormat {
    /// What the classic programs have.
    fn default() -> Self {
        Self { rate_hz: 44_100, channels: 1 }
    }
}

impl PcmFormat {
    fn frame_bytes(self) -> usize {
        2 * usize::from(self.channels)
    }

    fn frames_of(self, ms: u32) -> usize {
        (u64::from(self.rate_hz) * u64::from(ms) / 1000) as usize
    }
}

/// Why a member was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A format that is not spoken here.
    Format,
    /// [`MAX_CLASSIC`] are there.
    Full,
    /// libopus did not give an encoder.
    Encoder,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format => write!(f, "PCM of this rate or number of channels is not supported"),
            Self::Full => write!(f, "there are {MAX_CLASSIC} classic members in the room's voice already"),
            Self::Encoder => write!(f, "no Opus encoder could be made"),
        }
    }
}

impl std::error::Error for Refused {}

/// Where sound goes.
pub trait GatewayOut {
    /// A voice payload of a classic talker, for all native members of the room.
    fn send(&mut self, session: u32, payload: &[u8]);
    /// PCM for a classic member's socket.
    fn play(&mut self, session: u32, pcm: &[u8]);
    /// What a native talker is to be told of how his voice arrives here.
    fn report(&mut self, talker: u32, report: ReceiverReport);
}

/// Counters of a gateway; members that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayStats {
    /// Classic members now.
    pub members: usize,
    /// Those of them who talk now.
    pub talking: usize,
    /// Frames of PCM that came, each at its member's rate.
    pub pcm_frames: u64,
    /// Frames of PCM dropped since they came faster than real time.
    pub pcm_dropped: u64,
    /// Blocks of 10 ms for which PCM was not there in time, or not enough of it; of one who stops, those of the first 200 ms.
    pub pcm_missing: u64,
    /// Samples at 48 kHz left out to lower the delay …
    pub cut: u64,
    /// … and put in, where something was missing or the reserve was low.
    pub stretched: u64,
    /// Blocks of sound dropped because [`MAX_CLASSIC_TALKERS`] talked already.
    pub crowded: u64,
    /// Talk spurts of classic members, the frames in them, and their Opus bytes.
    pub spurts: u64,
    /// See [`Self::spurts`].
    pub frames: u64,
    /// See [`Self::spurts`].
    pub bytes: u64,
    /// Frames that libopus refused to encode.
    pub failed: u64,
    /// Payloads that are none, dropped.
    pub malformed: u64,
    /// Frames in the name of a classic member, dropped: its own voice must not come back.
    pub echoed: u64,
    /// Turns of 10 ms.
    pub turns: u64,
    /// Turns left out, the gateway being too late for them.
    pub turns_left_out: u64,
    /// The native talkers.
    pub natives: PlayoutStats,
}

impl GatewayStats {
    fn add(&mut self, heard: &InletStats, sent: &CaptureStats) {
        self.pcm_frames += heard.taken;
        self.pcm_dropped += heard.dropped;
        self.pcm_missing += heard.missing;
        self.cut += heard.cut;
        self.stretched += heard.stretched;
        self.spurts += sent.spurts;
        self.frames += sent.frames;
        self.bytes += sent.bytes;
        self.failed += sent.failed;
    }
}

/// See the module's words.
pub struct Gateway {
    members: BTreeMap<u32, Member>,
    /// What all who do not talk hear, for each of their formats.
    common: Vec<Outlet>,
    natives: Playout,
    told: Told,
    /// When the next turn is due, while anybody classic is there or something is left to be said.
    due: Option<Instant>,
    /// Last payloads of members that went in mid-speech. Who talks took turns before, so there is one a member and turn at most.
    ends: Vec<(u32, Vec<u8>)>,
    payload: Vec<u8>,
    /// All but the members and the natives, with the members that are gone.
    stats: GatewayStats,
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    /// Of a room without classic members.
    pub fn new() -> Self {
        let mut natives = Playout::new();
        natives.set_auto_level(false);
        Self {
            members: BTreeMap::new(),
            common: Vec::new(),
            natives,
            told: Told::default(),
            due: None,
            ends: Vec::new(),
            payload: Vec::new(),
            stats: GatewayStats::default(),
        }
    }

    /// A classic member's voice is there. One of the same number that was there before is gone.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn open(&mut self, now: Instant, session: u32, format: PcmFormat) -> Result<(), Refused> {
        self.close(session);
        if self.members.len() >= MAX_CLASSIC {
            return Err(Refused::Full);
        }
        let member = Member::new(format)?;
        if !self.common.iter().any(|outlet| outlet.format() == format) {
            self.common.push(Outlet::new(format).map_err(|_| Refused::Format)?);
        }
        self.members.insert(session, member);
        self.natives.forget(session);
        self.due.get_or_insert(now + BLOCK_TIME);
        Ok(())
    }

    /// It is gone. If it was talking, the end of its spurt is sent in the next turn.
    pub fn close(&mut self, session: u32) {
        let Some(mut member) = self.members.remove(&session) else { return };
        let ends = &mut self.ends;
        member.capture.finish(&mut |frames| {
            let mut payload = Vec::new();
            write_payload(session, frames, &mut payload);
            ends.push((session, payload));
        });
        self.stats.add(&member.inlet.stats(), &member.capture.stats());
        let members = &self.members;
        self.common.retain(|outlet| members.values().any(|member| member.format() == outlet.format()));
        if self.members.is_empty() {
            self.due = self.due.filter(|_| !self.ends.is_empty());
            self.natives.forget_all();
        }
    }

    /// A voice payload that a native member of the room sent, as it is relayed.
    pub fn hear(&mut self, now: Instant, payload: &[u8]) {
        if self.members.is_empty() {
            return;
        }
        let Ok(frames) = voice::Frames::parse(payload) else {
            self.stats.malformed += 1;
            return;
        };
        for (frame, copy) in frames.with_copies() {
            let voice::VoiceFrame { talker, sequence, end, level, opus } = frame;
            let talker = talker.to_wire();
            if self.members.contains_key(&talker) {
                self.stats.echoed += 1;
                continue;
            }
            self.natives.receive(now, VoiceFrame { talker, sequence, end, copy, level, opus });
        }
    }

    /// What a classic member's socket gave, in any portions.
    pub fn pcm(&mut self, now: Instant, session: u32, bytes: &[u8]) {
        let Some(member) = self.members.get_mut(&session) else { return };
        let late = self.due.map_or(0, |due| now.since(due).as_micros() as u64 / BLOCK_US);
        member.inlet.take(bytes, late.min(MAX_LATE_TURNS) as u32 * BLOCK_MS);
    }

    /// Native listeners have told how a classic talker's voice arrives there, the worst of it.
    pub fn reported(&mut self, now: Instant, session: u32, report: ReceiverReport) {
        if let Some(member) = self.members.get_mut(&session) {
            member.adapter.report(now, report);
        }
    }

    /// When [`Self::handle_timeout`] has something to do; never while nobody classic is there and nothing is left to be said.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the turns that are due: 10 ms from everybody and for everybody each.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut dyn GatewayOut) {
        let Some(first) = self.due.filter(|due| *due <= now) else { return };
        let turns = now.since(first).as_micros() as u64 / BLOCK_US + 1;
        let left_out = turns.saturating_sub(MAX_LATE_TURNS);
        self.stats.turns_left_out += left_out;
        let mut due = Instant::from_micros(first.as_micros() + left_out * BLOCK_US);
        for _ in left_out..turns {
            self.turn(due, out);
            due = due + BLOCK_TIME;
        }
        self.due = Some(due).filter(|_| !self.members.is_empty());
    }

    /// Counters.
    pub fn stats(&self) -> GatewayStats {
        let mut stats = self.stats;
        for member in self.members.values() {
            stats.add(&member.inlet.stats(), &member.capture.stats());
        }
        stats.members = self.members.len();
        stats.talking = self.talking();
        stats.natives = self.natives.stats();
        stats
    }

    fn talking(&self) -> usize {
        self.members.values().filter(|member| member.capture.is_talking()).count()
    }

    fn turn(&mut self, at: Instant, out: &mut dyn GatewayOut) {
        self.ends.drain(..).for_each(|(session, payload)| out.send(session, &payload));
        let mut sum = SILENCE;
        self.natives.render_unlimited(at, &mut sum);
        let told = &mut self.told;
        self.natives.reports(at, &mut |talker, report| {
            if told.is_news(talker, &report) {
                out.report(talker, report);
            }
        });
        let mut talking = self.talking();
        for (session, member) in &mut self.members {
            let was_talking = member.capture.is_talking();
            let is_room = was_talking || talking < MAX_CLASSIC_TALKERS;
            let payload = &mut self.payload;
            let is_crowded = member.speak(at, is_room, &mut |frames| {
                write_payload(*session, frames, payload);
                out.send(*session, payload);
            });
            self.stats.crowded += u64::from(is_crowded);
            talking += usize::from(!was_talking && member.capture.is_talking());
            if member.is_heard {
                sum.iter_mut().zip(&member.said).for_each(|(sum, said)| *sum += said);
            }
        }
        let turn = self.stats.turns;
        self.members.values_mut().for_each(|member| member.choose_outlet(&self.common, turn));
        self.common.iter_mut().for_each(|outlet| outlet.turn(turn, sum));
        for (session, member) in &mut self.members {
            let common = self.common.iter().find(|outlet| outlet.format() == member.format());
            let pcm = match common {
                Some(common) if member.own_for == 0 => common.pcm(),
                Some(_) | None => member.own_pcm(turn, &sum),
            };
            out.play(*session, pcm);
        }
        self.stats.turns += 1;
    }
}

/// After its last sound a member hears by an outlet of its own for so long: until both limiters are at rest.
const OWN_TURNS: u32 = 350;

/// What belongs to a classic member.
struct Member {
    inlet: Inlet,
    capture: Capture,
    adapter: Adapter,
    /// What it hears while it talks, and for so many turns to come.
    own: Outlet,
    own_for: u32,
    /// The blocks before this one, oldest first: the gate opens a little late, and what came before is heard, too.
    before: [Block; MAX_PRE_ROLL],
    /// What others hear of it in this turn, if anything, and the gain at its end.
    said: Block,
    is_heard: bool,
    gain: f32,
}

impl Member {
    fn new(format: PcmFormat) -> Result<Self, Refused> {
        if !PCM_RATES_HZ.contains(&format.rate_hz) || !(1..=MAX_PCM_CHANNELS).contains(&format.channels) {
            return Err(Refused::Format);
        }
        let capture = Capture::new(EncoderConfig::default(), Gate::Voice).map_err(|_| Refused::Encoder)?;
        Ok(Self {
            inlet: Inlet::new(format).map_err(|_| Refused::Format)?,
            adapter: Adapter::new(capture.sending()),
            capture,
            own: Outlet::new(format).map_err(|_| Refused::Format)?,
            own_for: 0,
            before: [SILENCE; MAX_PRE_ROLL],
            said: SILENCE,
            is_heard: false,
            gain: 0.0,
        })
    }

    fn format(&self) -> PcmFormat {
        self.own.format()
    }

    /// To be called in each turn when it is known who is heard.
    fn choose_outlet(&mut self, common: &[Outlet], turn: u64) {
        let format = self.format();
        let begins = self.is_heard && self.own_for == 0;
        if let Some(common) = common.iter().find(|outlet| begins && outlet.format() == format) {
            self.own.follow(common, turn);
        }
        self.own_for = if self.is_heard { OWN_TURNS } else { self.own_for.saturating_sub(1) };
    }

    /// What it hears in this turn: all but itself.
    fn own_pcm(&mut self, turn: u64, sum: &Block) -> &[u8] {
        let mut heard = *sum;
        if self.is_heard {
            heard.iter_mut().zip(&self.said).for_each(|(heard, said)| *heard -= said);
        }
        self.own.turn(turn, heard);
        self.own.pcm()
    }

    /// The next 10 ms of what it says; true if there was sound and no room for it.
    fn speak(&mut self, at: Instant, is_room: bool, send: &mut dyn FnMut(&[EncodedFrame<'_>])) -> bool {
        let mut block = SILENCE;
        let is_there = self.inlet.turn(&mut block);
        self.adapter.update(at, self.capture.is_talking());
        self.capture.set_sending(self.adapter.sending());
        let is_sound = rms(&block) >= OPEN_RMS;
        let was_talking = self.capture.is_talking();
        if is_room && (is_sound || (is_there && was_talking)) {
            self.capture.push(&block, send);
        } else {
            self.capture.pass(send);
        }
        self.said = std::mem::replace(&mut self.before[0], block);
        self.before.rotate_left(1);
        let to = if self.capture.is_talking() { 1.0 } else { 0.0 };
        self.is_heard = self.gain > 0.0 || to > 0.0;
        if self.is_heard {
            ramp(&mut self.said, &mut self.gain, to);
        }
        !is_room && is_sound
    }
}

/// The frames of one datagram as a voice payload.
fn write_payload(session: u32, frames: &[EncodedFrame<'_>], payload: &mut Vec<u8>) {
    payload.clear();
    let talker = SessionId::from_wire(session);
    for &EncodedFrame { sequence, end, level, opus } in frames {
        voice::VoiceFrame { talker, sequence, end, level, opus }.write(payload);
    }
}
