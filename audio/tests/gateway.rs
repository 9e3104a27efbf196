//! Voice between classic members (raw PCM) and native ones (Opus frames), in virtual time.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use std::collections::BTreeMap;

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Duration, Instant, SAMPLE_RATE_HZ, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    compare::align,
    gateway::{Gateway, GatewayOut, GatewayStats, PcmFormat, Refused},
    limits::{MAX_CLASSIC, MAX_CLASSIC_TALKERS, MAX_LATE_TURNS, MAX_PCM_MS},
    playout::Playout,
    resample::Resampler,
    rms,
    sample::voice,
};
use chinwag_proto::{ReceiverReport, SessionId, wire::voice as wire};
use common::{Chance, at, likeness};
use proptest::prelude::*;

const CLASSIC: PcmFormat = PcmFormat { rate_hz: 44_100, channels: 1 };
const NATIVE: u32 = 1;
const FOO: u32 = 11;
const BAR: u32 = 12;

/// Everything that a gateway gave, and what a native listener of one talker heard.
#[derive(Default)]
struct Out {
    now_us: u64,
    payloads: Vec<(u64, u32, Vec<u8>)>,
    pcm: BTreeMap<u32, Vec<u8>>,
    reports: Vec<(u32, ReceiverReport)>,
}

impl GatewayOut for Out {
    fn send(&mut self, session: u32, payload: &[u8]) {
        self.payloads.push((self.now_us, session, payload.to_vec()));
    }

    fn play(&mut self, session: u32, pcm: &[u8]) {
        self.pcm.entry(session).or_default().extend_from_slice(pcm);
    }

    fn report(&mut self, talker: u32, report: ReceiverReport) {
        self.reports.push((talker, report));
    }
}

impl Out {
    /// What a native listener hears of a talker from time 0 on, rendered 5 ms beside the turns, without the block in flight.
    fn heard(&self, talker: u32, ms: u64) -> Vec<f32> {
        let mut playout = Playout::new();
        playout.set_auto_level(false);
        let mut heard = vec![0.0; BLOCK / 2];
        let mut payloads = self.payloads.iter().filter(|(_, session, _)| *session == talker).peekable();
        for k in 0..ms / 10 {
            let now_us = 5_000 + k * BLOCK_US;
            while let Some((at_us, _, payload)) = payloads.next_if(|(at_us, ..)| *at_us <= now_us) {
                for (frame, copy) in wire::Frames::parse(payload).unwrap().with_copies() {
                    let wire::VoiceFrame { talker, sequence, end, level, opus } = frame;
                    let talker = talker.to_wire();
                    let frame = VoiceFrame { talker, sequence, end, copy, level, opus };
                    playout.receive(at(*at_us), frame);
                }
            }
            let mut block = SILENCE;
            playout.render(at(now_us), &mut block);
            heard.extend_from_slice(&block);
        }
        heard
    }

    fn pcm(&self, session: u32) -> &[u8] {
        self.pcm.get(&session).map_or(&[], Vec::as_slice)
    }
}

/// A gateway with its driver, which is woken when it is due.
#[derive(Default)]
struct Room {
    gateway: Gateway,
    out: Out,
}

impl Room {
    fn with(members: &[(u32, PcmFormat)]) -> Self {
        let mut room = Self::default();
        for (session, format) in members {
            room.gateway.open(at(0), *session, *format).unwrap();
        }
        room
    }

    fn run_to(&mut self, us: u64) {
        while let Some(due) = self.gateway.poll_timeout().filter(|due| *due <= at(us)) {
            self.out.now_us = due.as_micros() - at(0).as_micros();
            self.gateway.handle_timeout(due, &mut self.out);
        }
        self.out.now_us = us;
    }

    /// PCM comes at `us`.
    fn pcm(&mut self, us: u64, session: u32, pcm: &[u8]) {
        self.run_to(us);
        self.gateway.pcm(at(us), session, pcm);
    }

    /// Says PCM in chunks of 1024 frames, from `from_us` on, each of them late by what `late_us` gives.
    fn say(
        &mut self,
        from_us: u64,
        session: u32,
        (pcm, format): (&[u8], PcmFormat),
        mut late_us: impl FnMut(usize) -> u64,
    ) {
        let mut before = 0;
        for (k, chunk) in pcm.chunks(1024 * 2 * usize::from(format.channels)).enumerate() {
            let us = from_us + (k as u64 + 1) * 1_024_000_000 / u64::from(format.rate_hz) + late_us(k);
            // One byte stream: nothing overtakes.
            before = us.max(before);
            self.pcm(before, session, chunk);
        }
    }
}

/// Says what a native talker says, and gives its payloads.
struct Native(Capture);

impl Native {
    fn new() -> Self {
        Self(Capture::new(EncoderConfig::default(), Gate::Open).unwrap())
    }

    fn payload(&mut self, block: &Block) -> Vec<u8> {
        let mut payload = Vec::new();
        self.0.push(block, &mut |frames| {
            for f in frames {
                let (talker, opus) = (SessionId::from_wire(NATIVE), f.opus);
                let (sequence, end, level) = (f.sequence, f.end, f.level);
                wire::VoiceFrame { talker, sequence, end, level, opus }.write(&mut payload);
            }
        });
        payload
    }
}

fn to_pcm(said: &[f32], format: PcmFormat) -> Vec<u8> {
    let mut converted = Vec::new();
    let mut resampler = Resampler::new(SAMPLE_RATE_HZ, format.rate_hz, BLOCK).unwrap();
    resampler.push(said, &mut converted);
    resampler.finish(&mut converted);
    let sample = |s: &f32| ((s * 32_767.0).round() as i16).to_le_bytes();
    converted
        .iter()
        .flat_map(|s| std::iter::repeat_n(sample(s), usize::from(format.channels)))
        .flatten()
        .collect()
}

/// The first channel.
fn from_pcm(pcm: &[u8], format: PcmFormat) -> Vec<f32> {
    let channels = usize::from(format.channels);
    let samples: Vec<f32> = pcm
        .as_chunks::<2>()
        .0
        .iter()
        .step_by(channels)
        .map(|&s| f32::from(i16::from_le_bytes(s)) / 32_768.0)
        .collect();
    let mut converted = Vec::new();
    let mut resampler = Resampler::new(format.rate_hz, SAMPLE_RATE_HZ, 441).unwrap();
    resampler.push(&samples, &mut converted);
    resampler.finish(&mut converted);
    converted
}

fn frames(pcm: &[u8], format: PcmFormat) -> u64 {
    (pcm.len() / 2 / usize::from(format.channels)) as u64
}

const FORMATS: [PcmFormat; 7] = [
    CLASSIC,
    PcmFormat { rate_hz: 44_100, channels: 2 },
    PcmFormat { rate_hz: 8_000, channels: 1 },
    PcmFormat { rate_hz: 48_000, channels: 1 },
    PcmFormat { rate_hz: 48_000, channels: 2 },
    PcmFormat { rate_hz: 11_025, channels: 1 },
    PcmFormat { rate_hz: 96_000, channels: 2 },
];

#[test]
fn a_classic_talker_is_heard_by_natives_soon_and_well_in_any_format() {
    let said = voice(1, 4);
    for format in FORMATS {
        let mut room = Room::with(&[(FOO, format)]);
        room.say(0, FOO, (&to_pcm(&said, format), format), |_| 0);
        room.run_to(4_500_000);
        let heard = room.out.heard(FOO, 4_500);
        let found = align(&said, &heard);
        // From 8 ksps there is but half of the voice.
        let alike = likeness(&said, &heard, found.offset_samples, 2);
        assert!(alike > if format.rate_hz == 8_000 { 0.85 } else { 0.95 }, "{format:?}: {alike}");
        let most_ms = if format.rate_hz < 12_000 { 200.0 } else { 100.0 };
        assert!(found.offset_ms() < most_ms && found.longest_hole_ms <= 10, "{format:?}: {found:?}");
        let stats = room.gateway.stats();
        assert_eq!((stats.pcm_dropped, stats.failed, stats.spurts), (0, 0, 1), "{format:?}: {stats:?}");
    }
}

#[test]
fn a_native_talker_is_heard_by_classic_members_soon_and_well_in_any_format() {
    let said = voice(2, 4);
    let members: Vec<_> = (FOO..).zip(FORMATS).collect();
    let mut room = Room::with(&members);
    let mut native = Native::new();
    for (k, block) in said.chunks_exact(BLOCK).enumerate() {
        let us = 5_000 + (k as u64 + 1) * BLOCK_US;
        room.run_to(us);
        room.gateway.hear(at(us), &native.payload(block.try_into().unwrap()));
    }
    room.run_to(4_500_000);
    for (session, format) in members {
        let pcm = room.out.pcm(session);
        if format.channels == 2 {
            assert!(pcm.as_chunks::<4>().0.iter().all(|&[a, b, c, d]| (a, b) == (c, d)), "{format:?}");
        }
        // The first turn is 10 ms after the beginning.
        let heard = [vec![0.0; BLOCK], from_pcm(pcm, format)].concat();
        let found = align(&said, &heard);
        let alike = likeness(&said, &heard, found.offset_samples, 2);
        assert!(alike > if format.rate_hz == 8_000 { 0.85 } else { 0.95 }, "{format:?}: {alike}");
        assert!(found.offset_ms() < 100.0 && found.longest_hole_ms <= 10, "{format:?}: {found:?}");
    }
    assert_eq!(room.out.payloads, []);
}

#[test]
fn two_who_talk_at_once_are_both_heard_by_everybody_and_neither_by_itself() {
    let (foo, bar) = (voice(1, 4), voice(2, 4));
    let (listener, format) = (20, CLASSIC);
    let mut room = Room::with(&[(FOO, format), (BAR, format), (listener, format)]);
    let (foo_pcm, bar_pcm) = (to_pcm(&foo, format), to_pcm(&bar, format));
    for (k, (a, b)) in foo_pcm.chunks(2048).zip(bar_pcm.chunks(2048)).enumerate() {
        let us = (k as u64 + 1) * 1_024_000_000 / 44_100;
        room.pcm(us, FOO, a);
        room.pcm(us + 7_000, BAR, b);
    }
    room.run_to(4_300_000);
    let alike = |said: &[f32], heard: &[f32]| align(said, heard).correlation;
    for (session, said, other) in [(FOO, &foo, &bar), (BAR, &bar, &foo)] {
        let native = alike(said, &room.out.heard(session, 4_300));
        assert!(native > 0.9, "{session}: {native}");
        let pcm = from_pcm(room.out.pcm(session), format);
        assert!(alike(other, &pcm) > 0.9, "{session} hears the other: {}", alike(other, &pcm));
        assert!(alike(said, &pcm) < 0.3, "{session} hears itself: {}", alike(said, &pcm));
    }
    let both = from_pcm(room.out.pcm(listener), format);
    assert!(alike(&foo, &both) > 0.5 && alike(&bar, &both) > 0.5);
}

#[test]
fn nobody_hears_itself_and_silence_is_played_all_the_time() {
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    let pcm = to_pcm(&voice(1, 2), CLASSIC);
    room.say(0, FOO, (&pcm, CLASSIC), |_| 0);
    // What a native relays in the name of a classic member is nobody's voice.
    let payloads: Vec<Vec<u8>> = room.out.payloads.iter().map(|(_, _, payload)| payload.clone()).collect();
    assert!(payloads.len() > 100);
    payloads.iter().for_each(|payload| room.gateway.hear(at(2_000_000), payload));
    room.run_to(3_000_000);
    assert_eq!(frames(room.out.pcm(FOO), CLASSIC), 3 * 44_100);
    assert!(room.out.pcm(FOO).iter().all(|&byte| byte == 0));
    let stats = room.gateway.stats();
    assert!(stats.echoed >= payloads.len() as u64 && stats.natives.talkers == 0, "{stats:?}");
}

#[test]
fn whoever_begins_to_talk_hears_the_others_without_a_seam() {
    let said: Vec<f32> = (0..48_000 * 3).map(|i| (i as f32 / 15.0).sin() * 0.3).collect();
    let heard = |talks: bool, format| {
        let mut room = Room::with(&[(FOO, format)]);
        let mut native = Native::new();
        let pcm = to_pcm(&voice(3, 1), format);
        for (k, block) in said.chunks_exact(BLOCK).enumerate() {
            let us = k as u64 * BLOCK_US;
            room.run_to(us);
            room.gateway.hear(at(us), &native.payload(block.try_into().unwrap()));
            if talks && (100..200).contains(&k) {
                let size = pcm.len() / 100;
                room.pcm(us, FOO, &pcm[(k - 100) * size..(k - 99) * size]);
            }
        }
        assert_eq!(room.gateway.stats().spurts > 0, talks);
        from_pcm(room.out.pcm(FOO), PcmFormat { rate_hz: 48_000, ..format })
    };
    for format in
        [CLASSIC, PcmFormat { rate_hz: 48_000, channels: 1 }, PcmFormat { rate_hz: 8_000, channels: 1 }]
    {
        let (alone, talking) = (heard(false, format), heard(true, format));
        assert_eq!(alone.len(), talking.len());
        let worst = alone.iter().zip(&talking).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2.5 / 32_768.0 && rms(&alone) > 0.1, "{format:?}: {worst}");
    }
}

#[test]
fn portions_do_not_matter_not_even_a_byte_at_a_time() {
    let said = to_pcm(&voice(1, 1), CLASSIC);
    for channels in [1, 2] {
        let format = PcmFormat { channels, ..CLASSIC };
        let run = |portion: usize| {
            let mut room = Room::with(&[(FOO, format), (BAR, format)]);
            for (k, chunk) in said.chunks(2048).enumerate() {
                for part in chunk.chunks(portion) {
                    room.pcm((k as u64 + 1) * 24_000, FOO, part);
                }
            }
            room.run_to(1_500_000);
            (room.out.payloads, room.out.pcm)
        };
        let whole = run(2048);
        assert!(whole.0.len() > 10);
        for portion in [1, 3, 7, 1021] {
            assert!(run(portion) == whole, "{portion} bytes, {channels} channels");
        }
    }
}

#[test]
fn pcm_faster_than_real_time_is_dropped_and_counted() {
    let pcm = to_pcm(&voice(1, 8), CLASSIC);
    let all = frames(&pcm, CLASSIC);
    // All at once: what is kept is the newest, and heard for as long as it is.
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    room.pcm(0, FOO, &pcm);
    room.run_to(3_000_000);
    let stats = room.gateway.stats();
    let kept = u64::from(MAX_PCM_MS) * 44_100 / 1000;
    assert_eq!((stats.pcm_frames, stats.pcm_dropped), (all, all - kept));
    assert!(room.out.payloads.len() < 100, "{}", room.out.payloads.len());
    // Twice as fast: half of it is lost, the delay stays bounded, and frames come at real time.
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    for (k, chunk) in pcm.chunks(2048).enumerate() {
        room.pcm(k as u64 * 1_024_000_000 / 88_200, FOO, chunk);
    }
    let stats = room.gateway.stats();
    assert!(stats.pcm_dropped + stats.cut * 147 / 160 > all * 4 / 10, "{stats:?}");
    let last = room.out.payloads.last().unwrap().0;
    assert!(room.out.payloads.len() as u64 <= last / BLOCK_US + 3);
    room.run_to(6_000_000);
    let tail = room.out.payloads.last().unwrap().0 - last;
    assert!(tail < 1_200_000, "{tail}: what waited, what was missing, and the gate's hang-over");
}

#[test]
fn a_talker_who_stops_in_mid_spurt_ends_it_and_can_begin_again() {
    let pcm = to_pcm(&voice(1, 3), CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC), (BAR, CLASSIC)]);
    let half = &pcm[..44_100 * 2];
    room.say(0, FOO, (half, CLASSIC), |_| 0);
    room.run_to(5_000_000);
    let stats = room.gateway.stats();
    assert_eq!((stats.talking, stats.spurts), (0, 1), "{stats:?}");
    assert!((1..=20).contains(&stats.pcm_missing), "{stats:?}");
    let sent = room.out.payloads.len();
    let (_, _, last) = room.out.payloads.last().unwrap();
    assert!(wire::Frames::parse(last).unwrap().next().unwrap().end);
    assert!(sent < 130, "{sent}");
    room.say(5_000_000, FOO, (half, CLASSIC), |_| 0);
    room.run_to(7_000_000);
    assert_eq!(room.gateway.stats().spurts, 2);
    // Media time went on in the silence.
    let first = wire::Frames::parse(&room.out.payloads[sent].2).unwrap().next().unwrap();
    assert!((490..530).contains(&first.sequence), "{}", first.sequence);
    // Gone in mid-spurt: its end comes, and nothing more.
    room.say(7_000_000, FOO, (half, CLASSIC), |_| 0);
    room.gateway.close(FOO);
    let sent = room.out.payloads.len();
    room.run_to(9_000_000);
    assert_eq!((room.out.payloads.len(), room.gateway.stats().members), (sent + 1, 1));
    let (_, _, last) = room.out.payloads.last().unwrap();
    assert!(wire::Frames::parse(last).unwrap().next().unwrap().end);
    assert_eq!(room.gateway.stats().spurts, 3, "the counters of those gone stay");
}

#[test]
fn a_listener_who_comes_while_others_talk_hears_them_from_then_on_at_real_time() {
    let said = voice(1, 4);
    let pcm = to_pcm(&said, CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    let (before, after) = pcm.split_at(2048 * 80);
    room.say(0, FOO, (before, CLASSIC), |_| 0);
    let opened = room.out.now_us;
    room.gateway.open(at(opened), BAR, CLASSIC).unwrap();
    room.say(opened, FOO, (after, CLASSIC), |_| 0);
    room.run_to(opened + 3_000_000);
    let given = frames(room.out.pcm(BAR), CLASSIC);
    assert!(given.abs_diff(3 * 44_100) <= 441, "{given}");
    let rest = &said[said.len() / 2..];
    let found = align(rest, &from_pcm(room.out.pcm(BAR), CLASSIC));
    assert!(found.correlation > 0.9, "{found:?}");
}

#[test]
fn pcm_goes_out_at_real_time_however_irregular_the_turns_are() {
    let members: Vec<_> = (FOO..).zip(FORMATS).collect();
    for seed in 1..4 {
        let mut room = Room::with(&members);
        let mut chance = Chance(seed);
        let mut us = 0;
        while us < 12_000_000 {
            let late_us = if chance.percent(20.0) { chance.bits() % 300_000 } else { chance.bits() % 15_000 };
            us = (room.gateway.poll_timeout().unwrap().as_micros() - at(0).as_micros()).max(us) + late_us;
            room.gateway.handle_timeout(at(us), &mut room.out);
            for (session, format) in &members {
                let given = frames(room.out.pcm(*session), *format);
                let due = us / BLOCK_US * u64::from(format.rate_hz) / 100;
                assert!(given.abs_diff(due) <= 1, "{format:?} at {us}: {given} of {due}");
            }
        }
        assert_eq!(room.gateway.stats().turns_left_out, 0);
    }
}

#[test]
fn what_the_gateway_itself_is_late_is_no_fault_of_the_talker() {
    let said = voice(1, 5);
    let pcm = to_pcm(&said, CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    for (k, chunk) in pcm.chunks(2048).enumerate() {
        let us = (k as u64 + 1) * 1_024_000_000 / 44_100;
        // In each second it is not turned for 300 ms.
        if us % 1_000_000 > 300_000 {
            room.gateway.handle_timeout(at(us), &mut room.out);
        }
        room.gateway.pcm(at(us), FOO, chunk);
    }
    let stats = room.gateway.stats();
    assert_eq!((stats.pcm_dropped, stats.turns_left_out), (0, 0), "{stats:?}");
}

#[test]
fn a_long_stall_is_left_out_and_counted() {
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    room.gateway.handle_timeout(at(60_000_000), &mut room.out);
    let stats = room.gateway.stats();
    assert_eq!((stats.turns, stats.turns_left_out), (MAX_LATE_TURNS, 6000 - MAX_LATE_TURNS));
    assert_eq!(room.gateway.poll_timeout(), Some(at(60_010_000)));
}

#[test]
fn late_chunks_do_not_break_the_voice_up() {
    let said = voice(4, 12);
    let pcm = to_pcm(&said, CLASSIC);
    let run = |late: &mut dyn FnMut(usize) -> u64| {
        let mut room = Room::with(&[(FOO, CLASSIC)]);
        room.say(0, FOO, (&pcm, CLASSIC), late);
        let stats = room.gateway.stats();
        room.run_to(12_500_000);
        (room.out.heard(FOO, 12_500), stats)
    };
    let mut chance = Chance(5);
    let (heard, stats) = run(&mut |_| chance.bits() % 40_000);
    let found = align(&said, &heard);
    let alike = likeness(&said, &heard, found.offset_samples, 60);
    assert!(stats.pcm_missing <= 6 && stats.pcm_dropped == 0, "{stats:?}");
    assert!(found.offset_ms() < 200.0 && alike > 0.95, "{found:?} {alike}");
    // Once a second a segment is lost and comes 120 ms late, with all that is behind it.
    let (heard, stats) = run(&mut |k| if k % 43 >= 38 { 120_000 - (k as u64 % 43 - 38) * 23_000 } else { 0 });
    let found = align(&said, &heard);
    let alike = likeness(&said, &heard, found.offset_samples, 60);
    assert!(stats.pcm_missing <= 15 && stats.pcm_dropped == 0, "{stats:?}");
    assert!(found.offset_ms() < 250.0 && alike > 0.9, "{found:?} {alike}");
    println!("120 ms late once a second: {:.0} ms, alike by {alike}, {stats:?}", found.offset_ms());
}

#[test]
fn a_burst_of_lateness_is_forgotten() {
    let said = voice(4, 20);
    let pcm = to_pcm(&said, CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    room.say(0, FOO, (&pcm, CLASSIC), |k| if (80..90).contains(&k) { 150_000 } else { 0 });
    room.run_to(20_500_000);
    let heard = room.out.heard(FOO, 20_500);
    let end = said.len() - 5 * 48_000;
    let found = align(&said[end..], &heard[end..]);
    let stats = room.gateway.stats();
    assert!(found.offset_ms() < 100.0 && found.correlation > 0.9, "{found:?} {stats:?}");
}

#[test]
fn a_drifting_sound_card_is_followed() {
    // 60 ms of drift within 60 s, as 300 ppm make in 200 s.
    let seconds = 60;
    for ppm in [1_000_i64, -1_000] {
        let said = voice(6, seconds);
        let pcm = to_pcm(&said, CLASSIC);
        let mut room = Room::with(&[(FOO, CLASSIC)]);
        let mut us = 0;
        for (k, chunk) in pcm.chunks(2048).enumerate() {
            us = ((k as i64 + 1) * 1_024_000_000 / 44_100 * (1_000_000 - ppm) / 1_000_000) as u64;
            room.pcm(us, FOO, chunk);
        }
        let stats = room.gateway.stats();
        let moved = stats.cut as i64 - stats.stretched as i64;
        let drift = ppm * seconds as i64 * 48 / 1000;
        assert!((moved - drift).abs() < 48 * 25, "{ppm} ppm: {moved} of {drift}; {stats:?}");
        assert!(stats.pcm_dropped == 0 && stats.pcm_missing <= 3, "{ppm} ppm: {stats:?}");
        // The last words come as soon as the first ones do.
        room.run_to(us + 500_000);
        let heard = room.out.heard(FOO, us / 1000 + 500);
        let begin = said.len() - 4 * 48_000;
        let found = align(&said[begin..], &heard[(begin as i64 - drift) as usize..]);
        assert!(found.offset_ms() < 120.0, "{ppm} ppm: {found:?}");
        println!("{ppm} ppm: {:.0} ms late at the end, {stats:?}", found.offset_ms());
    }
}

#[test]
fn silence_costs_natives_nothing_and_noise_next_to_nothing() {
    let mut chance = Chance(9);
    for (amplitude, most) in [(0.0, 0), (40.0, 100)] {
        let mut room = Room::with(&[(FOO, CLASSIC)]);
        let pcm: Vec<u8> = (0..441_000)
            .flat_map(|_| (((chance.unit() - 0.5) * 2.0 * amplitude) as i16).to_le_bytes())
            .collect();
        room.say(0, FOO, (&pcm, CLASSIC), |_| 0);
        let sent = room.out.payloads.len();
        assert!(sent <= most, "{amplitude}: {sent}");
    }
}

#[test]
fn a_crowd_that_talks_at_once_is_bounded_and_counted() {
    let count = MAX_CLASSIC_TALKERS as u32 + 4;
    let members: Vec<_> = (0..count).map(|n| (FOO + n, CLASSIC)).collect();
    let mut room = Room::with(&members);
    let pcm = to_pcm(&voice(1, 1), CLASSIC);
    for (k, chunk) in pcm.chunks(882).enumerate() {
        for (session, _) in &members {
            room.pcm(k as u64 * BLOCK_US, *session, chunk);
        }
        assert!(room.gateway.stats().talking <= MAX_CLASSIC_TALKERS);
    }
    let stats = room.gateway.stats();
    assert!(stats.talking == MAX_CLASSIC_TALKERS && stats.crowded > 100, "{stats:?}");
}

#[test]
fn who_cannot_be_served_is_refused() {
    let mut gateway = Gateway::new();
    for (rate_hz, channels) in
        [(7_999, 1), (96_001, 1), (44_100, 0), (44_100, 9), (0, 1), (u32::MAX, u16::MAX)]
    {
        let refused = gateway.open(at(0), FOO, PcmFormat { rate_hz, channels });
        assert_eq!(refused, Err(Refused::Format), "{rate_hz} {channels}");
        assert_eq!(gateway.poll_timeout(), None);
    }
    for n in 0..MAX_CLASSIC as u32 {
        gateway.open(at(0), n, CLASSIC).unwrap();
    }
    assert_eq!(gateway.open(at(0), MAX_CLASSIC as u32, CLASSIC), Err(Refused::Full));
    assert_eq!(gateway.open(at(0), 3, CLASSIC), Ok(()), "in its own place");
    (0..MAX_CLASSIC as u32).for_each(|n| gateway.close(n));
    assert_eq!((gateway.poll_timeout(), gateway.stats().members), (None, 0));
}

#[test]
fn reports_of_loss_bring_copies() {
    let pcm = to_pcm(&voice(1, 4), CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    let lossy = ReceiverReport {
        lost_per_mille: 100,
        unrecovered_per_mille: 50,
        burst_ms: 10,
        ..ReceiverReport::default()
    };
    for (k, chunk) in pcm.chunks(882).enumerate() {
        room.pcm(k as u64 * BLOCK_US, FOO, chunk);
        if k % 50 == 0 {
            room.gateway.reported(at(k as u64 * BLOCK_US), FOO, lossy);
        }
    }
    let (_, _, last) = room.out.payloads.last().unwrap();
    assert!(wire::Frames::parse(last).unwrap().count() > 1);
}

#[test]
fn natives_are_told_of_what_is_lost_on_the_way_here() {
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    let mut native = Native::new();
    let mut frame = 0;
    for (k, block) in (0..).zip(voice(2, 6).as_chunks::<BLOCK>().0) {
        let payload = native.payload(block);
        frame += u32::from(!payload.is_empty());
        room.run_to(k * BLOCK_US);
        if !payload.is_empty() && frame % 10 != 0 {
            room.gateway.hear(at(k * BLOCK_US), &payload);
        }
    }
    let (talker, report) = *room.out.reports.last().unwrap();
    assert!(talker == NATIVE && report.lost_per_mille > 50, "{:?}", room.out.reports);
}

#[test]
fn who_goes_while_he_talks_ends_what_he_says() {
    let pcm = to_pcm(&voice(1, 2), CLASSIC);
    let mut room = Room::with(&[(FOO, CLASSIC)]);
    let mut chunks = (0..).zip(pcm.chunks(882));
    for (k, chunk) in chunks.by_ref() {
        room.pcm(k * BLOCK_US, FOO, chunk);
        if room.gateway.stats().talking > 0 {
            break;
        }
    }
    let (k, _) = chunks.next().unwrap();
    room.gateway.close(FOO);
    room.gateway.handle_timeout(at((k + 2) * BLOCK_US), &mut room.out);
    let (_, talker, last) = room.out.payloads.last().unwrap();
    assert!(*talker == FOO && wire::Frames::parse(last).unwrap().next().unwrap().end);
    assert_eq!(room.gateway.poll_timeout(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32, PcmFormat),
    Close(u32),
    Hear(Vec<u8>),
    /// A payload with a good header, and any Opus bytes.
    Say(u32, u32, bool, Vec<u8>),
    Pcm(u32, Vec<u8>),
    /// So much of a loud tone.
    Tone(u32, usize),
    Pass(u64),
    Jump(u64),
    Report(u32, ReceiverReport),
}

fn any_format() -> impl Strategy<Value = PcmFormat> {
    let rates = prop_oneof![Just(44_100), Just(8_000), Just(48_000), 7_900_u32..20_000];
    (rates, 0_u16..4).prop_map(|(rate_hz, channels)| PcmFormat { rate_hz, channels })
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = || 0_u32..4;
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        2 => (who(), any_format()).prop_map(|(who, format)| Step::Open(who, format)),
        1 => who().prop_map(Step::Close),
        1 => bytes(100).prop_map(Step::Hear),
        4 => (0_u32..8, any::<u32>(), any::<bool>(), bytes(60))
            .prop_map(|(who, sequence, end, opus)| Step::Say(who, sequence, end, opus)),
        2 => (0_u32..8, 0_u32..50, any::<bool>(), bytes(60))
            .prop_map(|(who, sequence, end, opus)| Step::Say(who, sequence, end, opus)),
        4 => (who(), bytes(3_000)).prop_map(|(who, pcm)| Step::Pcm(who, pcm)),
        4 => (who(), 0_usize..5_000).prop_map(|(who, samples)| Step::Tone(who, samples)),
        6 => (0_u64..60_000).prop_map(Step::Pass),
        1 => prop_oneof![0_u64..2_000_000, 0_u64..1 << 44].prop_map(Step::Jump),
        1 => (who(), any::<[u16; 4]>()).prop_map(|(who, [lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms])| {
            Step::Report(who, ReceiverReport { lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms })
        }),
    ]
}

/// Whatever is given to natives can be parsed, and whoever is given PCM is there.
#[derive(Default)]
struct Judge {
    open: BTreeMap<u32, PcmFormat>,
    /// Who went since the last turn: the end of what he said may follow.
    gone: Vec<u32>,
    given: BTreeMap<u32, u64>,
}

impl GatewayOut for Judge {
    fn send(&mut self, session: u32, payload: &[u8]) {
        assert!(self.open.contains_key(&session) || self.gone.contains(&session));
        assert!(wire::Frames::parse(payload).unwrap().all(|frame| frame.talker.to_wire() == session));
    }

    fn play(&mut self, session: u32, pcm: &[u8]) {
        let format = self.open[&session];
        assert_eq!(pcm.len() % (2 * usize::from(format.channels)), 0);
        *self.given.entry(session).or_default() += frames(pcm, format);
    }

    fn report(&mut self, talker: u32, _report: ReceiverReport) {
        assert!(!self.open.contains_key(&talker));
    }
}

/// Nothing panics, and the clock is followed.
fn survives(steps: &[Step]) {
    let (mut gateway, mut judge) = (Gateway::new(), Judge::default());
    let mut now = Instant::from_micros(1_000_000);
    for step in steps {
        match step {
            Step::Open(who, format) => {
                judge.gone.extend(judge.open.remove(who).map(|_| *who));
                if gateway.open(now, *who, *format).is_ok() {
                    judge.open.insert(*who, *format);
                }
            }
            Step::Close(who) => {
                gateway.close(*who);
                judge.gone.extend(judge.open.remove(who).map(|_| *who));
            }
            Step::Hear(payload) => gateway.hear(now, payload),
            Step::Say(talker, sequence, end, opus) => {
                let mut payload = Vec::new();
                let talker = SessionId::from_wire(*talker);
                wire::VoiceFrame { talker, sequence: *sequence, end: *end, level: 9, opus }
                    .write(&mut payload);
                gateway.hear(now, &payload);
            }
            Step::Pcm(who, pcm) => gateway.pcm(now, *who, pcm),
            Step::Tone(who, samples) => {
                let tone = |i: usize| ((i as f32 / 20.0).sin() * 20_000.0) as i16;
                let pcm: Vec<u8> = (0..*samples).flat_map(|i| tone(i).to_le_bytes()).collect();
                gateway.pcm(now, *who, &pcm);
            }
            Step::Pass(us) | Step::Jump(us) => {
                now = now + Duration::from_micros(*us);
                let before = gateway.stats();
                judge.given.clear();
                gateway.handle_timeout(now, &mut judge);
                if gateway.stats().turns > before.turns {
                    judge.gone.clear();
                }
                judge_turns(&gateway, &judge, before, now);
            }
            Step::Report(who, report) => gateway.reported(now, *who, *report),
        }
        assert_eq!(gateway.stats().members, judge.open.len());
        let is_due = gateway.poll_timeout().is_some();
        assert!(is_due != judge.open.is_empty() || (is_due && !judge.gone.is_empty()));
    }
}

fn judge_turns(gateway: &Gateway, judge: &Judge, before: GatewayStats, now: Instant) {
    let turns = gateway.stats().turns - before.turns;
    assert!(turns <= MAX_LATE_TURNS);
    let is_at_the_end_of_time = now.as_micros() > u64::MAX - BLOCK_US;
    assert!(gateway.poll_timeout().is_none_or(|due| due > now) || is_at_the_end_of_time);
    for (session, format) in &judge.open {
        let given = judge.given.get(session).copied().unwrap_or(0);
        let due = turns * u64::from(format.rate_hz) / 100;
        assert!(given.abs_diff(due) <= 1, "{given} frames in {turns} turns at {format:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_nothing_panics_and_the_clock_is_followed(
        steps in proptest::collection::vec(any_step(), 0..80),
    ) {
        survives(&steps);
    }

    #[test]
    fn no_payload_harms(payloads in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..400), 1..20,
    )) {
        let mut room = Room::with(&[(FOO, CLASSIC)]);
        for (k, payload) in payloads.iter().enumerate() {
            room.gateway.hear(at(k as u64 * BLOCK_US), payload);
            room.run_to(k as u64 * BLOCK_US);
        }
        prop_assert!(room.gateway.stats().malformed <= payloads.len() as u64);
    }
}
