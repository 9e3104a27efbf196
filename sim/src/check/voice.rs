//! Voice: what was spoken, which of it arrived where and how often, and what of that was played.

use std::collections::BTreeMap;

use chinwag_proto::{
    RoomId, SessionId, limits::VOICE_HOLD, relay::VoicePath, server::Server, wire::voice::Frames,
};

use super::{Checker, Rule, log::Owner};
use crate::{
    heard::{Arrival, Heard, Way},
    net::Net,
    person::parse_speech,
    sometimes::Sometimes,
    trace::{Mark, Node},
};

/// Sent frames that are remembered for each talker.
const REMEMBERED_FRAMES: usize = 2048;

/// The longest that voice waits at the relay for more of it.
const HOLD_US: u64 = VOICE_HOLD.as_micros() as u64;

/// After so much silence a talker may begin anew.
const ANCIENT_US: u64 = 20_000_000;

/// How often a frame was sent, copies and both ways counted, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Spoken {
    times: u8,
    at_us: u64,
    /// For which room; what could not be sent may follow as a copy.
    room: Option<RoomId>,
}

#[derive(Debug, Default)]
struct Mouth {
    frames: u64,
    spoken: Vec<Spoken>,
}

/// What one listener heard.
#[derive(Debug, Default)]
struct Ear {
    /// By talker.
    heard: Vec<Heard>,
    /// The frame that was played last of each session.
    played: BTreeMap<u32, u64>,
    /// When its clock jumped last.
    jumped_us: u64,
}

impl Ear {
    fn new(talkers: usize) -> Self {
        Self {
            heard: (0..talkers).map(|_| Heard::default()).collect(),
            played: BTreeMap::new(),
            jumped_us: 0,
        }
    }
}

/// Where a session talked and listened, from when on.
type Stays = Vec<(u64, Option<RoomId>)>;

#[derive(Debug)]
pub(super) struct Voices {
    mouths: Vec<Mouth>,
    /// By listener.
    ears: Vec<Ear>,
    /// The longest from mouth to ear where nothing fails, and whether everything must be heard.
    calm_us: Option<u64>,
    /// Where people wander: where each session was, by start of the server; and where they are now.
    stays: Option<BTreeMap<(u32, SessionId), Stays>>,
    here: BTreeMap<SessionId, RoomId>,
}

impl Voices {
    /// True when two sessions talked and listened in the room for which this was spoken at any time since, or in one into which the talker
    /// came later: a datagram that the network held back finds him there.
    fn were_together(&self, generation: u32, pair: [SessionId; 2], spoken: &Spoken, to_us: u64) -> bool {
        let from_us = spoken.at_us;
        let is_meant = |room: RoomId| spoken.room.is_none_or(|meant| meant == room);
        let stays = |session| self.stays.as_ref().and_then(|stays| stays.get(&(generation, session)));
        let [Some(one), Some(other)] = pair.map(stays) else { return false };
        let spans = |stays: &Stays| -> Vec<(u64, u64, RoomId)> {
            let ends = stays.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
            let spans = stays.iter().zip(ends).filter_map(|(&(from, room), to)| Some((from, to, room?)));
            spans.filter(|&(from, to, _)| from <= to_us && to >= from_us).collect()
        };
        let others = spans(other);
        spans(one).iter().any(|&(from, to, room)| {
            others.iter().any(|&(since, until, there)| {
                // What waits in a room for more of it is passed on there when its talker has gone.
                let stays_until = to.saturating_add(HOLD_US);
                room == there && (is_meant(room) || from > from_us) && from <= until && since <= stays_until
            })
        })
    }

    /// A listener's talkers have other sessions from now on.
    pub(super) fn new_numbers(&mut self, client: u32) {
        self.ears[client as usize].played.clear();
    }

    pub(super) fn new(clients: u32) -> Self {
        Self {
            mouths: (0..clients).map(|_| Mouth::default()).collect(),
            ears: (0..clients).map(|_| Ear::new(clients as usize)).collect(),
            calm_us: None,
            stays: None,
            here: BTreeMap::new(),
        }
    }
}

fn slot(number: u64) -> usize {
    (number % REMEMBERED_FRAMES as u64) as usize
}

impl Checker {
    /// A client begins anew, and its ear with it.
    pub(super) fn new_ear(&mut self, client: u32) {
        let talkers = self.voices.mouths.len();
        self.voices.ears[client as usize] = Ear::new(talkers);
    }

    /// Whether people go from room to room.
    pub(crate) fn people_wander(&mut self, wander: bool) {
        self.voices.stays = wander.then(BTreeMap::new);
    }

    /// Whether they do.
    pub(crate) fn do_people_wander(&self) -> bool {
        self.voices.stays.is_some()
    }

    /// Notes where everybody talks and listens.
    pub(crate) fn observe_voices(&mut self, server: &Server, now_us: u64) {
        let generation = self.logs.generation;
        let Voices { stays: Some(stays), here, .. } = &mut self.voices else { return };
        let hub = server.hub();
        let members = hub.numberings().flat_map(|(room, ..)| hub.members_of(room));
        let now = members.filter_map(|it| Some((it.session, hub.voice_of(it.session)?))).collect();
        let former = std::mem::replace(here, now);
        for (&session, _) in former.iter().filter(|(session, _)| !here.contains_key(session)) {
            stays.entry((generation, session)).or_default().push((now_us, None));
        }
        for (&session, &room) in here.iter().filter(|(session, room)| former.get(session) != Some(room)) {
            stays.entry((generation, session)).or_default().push((now_us, Some(room)));
        }
    }

    /// The server was started again: nobody is anywhere.
    pub(super) fn forget_voices(&mut self) {
        self.voices.here.clear();
    }

    /// A client's clock jumped: its ear may take that for a silence after which talkers begin anew, with what is old.
    pub(crate) fn clock_jumped(&mut self, client: u32, now_us: u64) {
        self.voices.ears[client as usize].jumped_us = now_us;
    }

    /// Nothing fails in this world: voice takes at most so long from mouth to ear, and all of it is heard.
    pub(crate) fn expect_calm(&mut self, longest_us: u64) {
        self.voices.calm_us = Some(longest_us);
    }

    /// From now on voice may fail as elsewhere.
    pub(crate) fn end_calm(&mut self) {
        self.voices.calm_us = None;
    }

    /// A client sent a voice frame on `path`, for `room`, and so many of those before it once more; or could not.
    pub(crate) fn spoke(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        path: Option<VoicePath>,
        copies: usize,
        room: Option<RoomId>,
    ) {
        let rooms = self.rooms;
        let others = self.members.iter().zip(0..);
        let listeners = others
            .filter(|(m, other)| *other != client && m.is_in && rooms.of(*other) == rooms.of(client))
            .count();
        let mouth = &mut self.voices.mouths[client as usize];
        mouth.frames += 1;
        let newest = slot(mouth.frames);
        if mouth.spoken.len() <= newest {
            mouth.spoken.resize(newest + 1, Spoken::default());
        }
        mouth.spoken[newest] = Spoken { times: 0, at_us: net.now_us, room };
        if let Some(path) = path {
            for number in (0..=mouth.frames).rev().take(1 + copies) {
                mouth.spoken[slot(number)].times += u8::from(path.uses_udp()) + u8::from(path.uses_tcp());
            }
            net.counts.voice_sent += 1;
            net.counts.voice_expected += listeners as u64;
        } else {
            net.counts.voice_unsent += 1;
        }
    }

    /// A client's machine handed voice to its user.
    pub(crate) fn voice(&mut self, net: &mut Net<'_>, client: u32, way: Way, payload: &[u8]) {
        let Ok(frames) = Frames::parse(payload) else {
            return self.fail(Rule::VoiceSource, format!("client {client} was handed malformed voice"));
        };
        let listener = &self.members[client as usize];
        let Some((generation, session)) = listener.session else {
            return self.fail(Rule::VoiceSource, format!("client {client} hears and is not in"));
        };
        let life = listener.life;
        let mut newest_for = None;
        for (frame, copy) in frames.with_copies() {
            let (talker, is_own) = match self.logs.owner(generation, frame.talker) {
                // What an earlier life of its own said last may be on its way still.
                Some(Owner::Client { client: of, life: its }) => (of, of == client && its == life),
                Some(Owner::Stranger(_)) => continue,
                Some(Owner::Classic(_)) | None => {
                    let what = format!("client {client} heard {:?}, which is nobody's", frame.talker);
                    return self.fail(Rule::VoiceSource, what);
                }
            };
            let number = parse_speech(frame.opus).filter(|(of, _)| *of == talker).map(|(_, number)| number);
            let Some(number) = number else {
                let what = format!("client {client} heard of client {talker} what he did not speak");
                return self.fail(Rule::VoiceSource, what);
            };
            net.record(Node::Client(client), Mark::Voice, u64::from(talker), number);
            let mouth = &self.voices.mouths[talker as usize];
            let spoken = mouth.spoken.get(slot(number));
            let is_near = match (&self.voices.stays, spoken) {
                (Some(stays), Some(spoken)) => {
                    let pair = [frame.talker, session];
                    if stays.get(&(generation, frame.talker)).is_some_and(|stays| stays.len() > 1) {
                        net.sometimes(Sometimes::VoiceMoved);
                    }
                    self.voices.were_together(generation, pair, spoken, net.now_us)
                }
                _ => self.rooms.of(talker) == self.rooms.of(client),
            };
            let room = spoken.and_then(|spoken| spoken.room);
            // What was said for another room does not go with what is said for this one.
            let is_with = !copy || room.is_none() || newest_for.is_none() || room == newest_for;
            newest_for = if copy { newest_for } else { room };
            let spoken = spoken.filter(|_| is_near && is_with && !is_own && number <= mouth.frames);
            let Some(&Spoken { times, .. }) = spoken else {
                let what = format!("client {client} heard frame {number} of client {talker}");
                return self.fail(Rule::VoiceSource, what);
            };
            match self.voices.ears[client as usize].heard[talker as usize].note(number, way, times) {
                Arrival::First => {
                    net.counts.voice_delivered += 1;
                    net.counts.voice_by_tcp += u64::from(way == Way::Tcp);
                }
                Arrival::Again => {
                    net.counts.voice_repeated += u64::from(!copy);
                    net.sometimes(Sometimes::VoiceBothWays);
                }
                Arrival::Ancient => net.counts.voice_ancient += 1,
                Arrival::TooOften => {
                    let what = format!(
                        "client {client} heard frame {number} of client {talker} by {way:?} too often"
                    );
                    self.fail(Rule::VoiceTwice, what);
                }
            }
        }
    }

    /// A client's jitter buffer gave a frame for playing.
    pub(crate) fn played(&mut self, net: &mut Net<'_>, client: u32, session: u32, opus: &[u8]) {
        // Strangers speak anything.
        let Some((talker, number)) = parse_speech(opus) else { return };
        let Some(mouth) = self.voices.mouths.get(talker as usize) else { return };
        net.counts.frames_played += 1;
        let spoken_us = mouth.spoken.get(slot(number)).map_or(0, |spoken| spoken.at_us);
        let ear = &mut self.voices.ears[client as usize];
        // Who holds a sealed datagram back for so long has it heard, once, where nothing newer was for as long.
        if net.now_us > spoken_us + ANCIENT_US {
            return;
        }
        if spoken_us <= ear.jumped_us {
            return;
        }
        let last = ear.played.insert(session, number).unwrap_or(0);
        if number <= last {
            let what = format!("client {client} played frame {number} of client {talker} after its {last}");
            return self.fail(Rule::VoiceTwice, what);
        }
        let took_us = net.now_us - spoken_us;
        if self.voices.calm_us.is_some_and(|most_us| took_us > most_us) {
            let what = format!("client {client} played frame {number} of client {talker} after {took_us} us");
            self.fail(Rule::Playout, what);
        }
    }

    /// A client's jitter buffer concealed a block.
    pub(crate) fn concealed(&mut self, net: &mut Net<'_>, client: u32) {
        net.counts.frames_concealed += 1;
        if self.voices.calm_us.is_some() {
            self.fail(Rule::Playout, format!("client {client} concealed where nothing is lost"));
        }
    }
}
