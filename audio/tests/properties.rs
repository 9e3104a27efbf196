//! What must hold whatever arrives, in whatever order, made of whatever bytes.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use std::collections::BTreeMap;

use chinwag_audio::{
    BLOCK_US, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    jitter::{Correction, JitterBuffer, JitterStats, Pull},
    playout::Playout,
    rms,
    sample::voice,
};
use common::{Chance, Network, Path, at};
use proptest::prelude::*;

/// A packet that is none, but of a valid length in time, and that can be told from all others.
fn marked(blocks: u32, mark: u32) -> Vec<u8> {
    let toc = match blocks {
        1 => 18 << 3,
        2 => 19 << 3,
        4 => 2 << 3,
        _ => 3 << 3,
    };
    let mut packet = vec![toc];
    packet.extend_from_slice(&mark.to_be_bytes());
    packet
}

fn mark_of(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[1..5].try_into().unwrap())
}

/// A buffer, and how much decoded sound waits behind it: a listener without the sound.
#[derive(Default)]
struct Ear {
    buffer: JitterBuffer,
    queued_us: i64,
}

/// One period of a voice.
const PERIOD_US: i64 = 7_000;

impl Ear {
    fn push(&mut self, now_us: u64, sequence: u32, end: bool, level: u8, opus: &[u8]) {
        let frame = VoiceFrame { talker: 1, sequence, end, copy: false, level, opus };
        self.buffer.push(at(now_us), &frame);
    }

    /// Plays a block; `played` is told of the frames.
    fn step(&mut self, now_us: u64, played: &mut dyn FnMut(&[u8])) {
        match self.buffer.correction(at(now_us), self.queued_us, 0) {
            Correction::Keep => {}
            Correction::Shorten(by_us, _) => {
                let by_us = by_us.min(PERIOD_US);
                while self.queued_us < by_us + 5_000 && self.buffer.is_ready() {
                    self.pull(now_us, played);
                }
                if self.queued_us >= by_us + 5_000 {
                    self.queued_us -= by_us;
                    self.buffer.corrected(-by_us);
                }
            }
            Correction::Skip { most_us: by_us, .. } => {
                let by_us = by_us.min(PERIOD_US);
                self.queued_us -= by_us.min(self.queued_us);
                self.buffer.corrected(-by_us);
            }
            Correction::Lengthen(by_us, _) => {
                let by_us = by_us.min(PERIOD_US);
                self.queued_us += by_us;
                self.buffer.corrected(by_us);
            }
        }
        while self.queued_us < BLOCK_US as i64 && self.pull(now_us, played) {}
        self.queued_us = (self.queued_us - BLOCK_US as i64).max(0);
    }

    fn pull(&mut self, now_us: u64, played: &mut dyn FnMut(&[u8])) -> bool {
        let blocks = match self.buffer.pull(at(now_us)) {
            Pull::Late { .. } => return true,
            Pull::Frame { opus, blocks, skip, .. } => {
                played(opus);
                assert!(skip < blocks, "{skip} of {blocks}");
                blocks - skip
            }
            Pull::Fec { blocks, skip, .. } => {
                assert!(skip < blocks, "{skip} of {blocks}");
                blocks - skip
            }
            Pull::Conceal => 1,
            Pull::Silence => return false,
        };
        self.queued_us += i64::from(blocks) * BLOCK_US as i64;
        true
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A frame this far from where a talker in step would be, and so long.
    Frame { away: i32, blocks: u32, end: bool, level: u8 },
    /// The sequence goes elsewhere for good.
    Jump(u32),
    /// The last frame again.
    Again,
    /// Blocks are played.
    Steps(u8),
    /// Nothing is played for so long: a stalled thread.
    Stall(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let away = prop_oneof![6 => Just(0), 3 => -8..8_i32, 1 => -300..300_i32, 1 => any::<i32>()];
    let blocks = prop_oneof![8 => Just(1_u32), 4 => Just(2), 1 => Just(4), 1 => Just(6)];
    let frame = (away, blocks, any::<bool>(), any::<u8>())
        .prop_map(|(away, blocks, end, level)| Event::Frame { away, blocks, end: end && level < 20, level });
    prop_oneof![
        20 => frame,
        1 => prop_oneof![Just(1 << 31), any::<u32>()].prop_map(Event::Jump),
        2 => Just(Event::Again),
        12 => (1..3_u8).prop_map(Event::Steps),
        1 => (0..2_000_000_u32).prop_map(Event::Stall),
    ]
}

fn cases(count: u32) -> ProptestConfig {
    // A failure prints its smallest input; it then becomes a test with a name.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(500))]

    /// Whatever arrives: no frame is played twice, all that was taken is accounted for, and soon after the last frame
    /// the buffer is empty, so that neither memory nor delay can have grown.
    #[test]
    fn no_frame_is_played_twice_and_nothing_piles_up(
        start in any::<u32>(),
        events in prop::collection::vec(event(), 1..400),
    ) {
        let mut ear = Ear::default();
        let (mut now_us, mut sequence, mut mark) = (0_u64, start, 0_u32);
        let mut last = None;
        let mut played = BTreeMap::new();
        let mut step = |ear: &mut Ear, now_us: u64, resyncs: u64| {
            ear.step(now_us, &mut |opus| *played.entry((mark_of(opus), resyncs)).or_insert(0) += 1);
        };
        for event in events {
            match event {
                Event::Frame { away, blocks, end, level } => {
                    mark += 1;
                    let at_sequence = sequence.wrapping_add(away as u32);
                    let packet = marked(blocks, mark);
                    ear.push(now_us, at_sequence, end, level, &packet);
                    last = Some((at_sequence, end, level, packet));
                    sequence = sequence.wrapping_add(blocks);
                }
                Event::Jump(to) => sequence = sequence.wrapping_add(to),
                Event::Again => if let Some((at_sequence, end, level, packet)) = &last {
                    ear.push(now_us, *at_sequence, *end, *level, packet);
                },
                Event::Steps(count) => for _ in 0..count {
                    let resyncs = ear.buffer.stats().resyncs;
                    step(&mut ear, now_us, resyncs);
                    now_us += BLOCK_US;
                },
                Event::Stall(us) => now_us += u64::from(us),
            }
            prop_assert!(ear.buffer.stats().target_ms <= 400);
        }
        let resyncs = ear.buffer.stats().resyncs;
        let mut drained = 0;
        while !ear.buffer.is_idle() {
            step(&mut ear, now_us, resyncs);
            now_us += BLOCK_US;
            drained += 1;
            prop_assert!(drained < 500, "not empty after {drained} blocks: {:?}", ear.buffer.stats());
        }
        prop_assert!(played.values().all(|times| *times == 1), "{played:?}");
        let stats = ear.buffer.stats();
        let fates = stats.played + stats.late + stats.duplicate + stats.overflow + stats.jumped
            + stats.redundant;
        // What a resync throws away is in no counter of its own.
        prop_assert!(fates <= stats.received, "{stats:?}");
        prop_assert!(stats.resyncs > 0 || fates == stats.received, "{stats:?}");
    }

}

proptest! {
    #![proptest_config(cases(120))]

    /// Garbage in the place of Opus: no panic, nothing out of range, soon after no more than comfort noise, and then silence.
    #[test]
    fn garbage_is_never_out_of_range_and_soon_over(
        frames in prop::collection::vec(
            (0..4_u32, 0..3_u32, any::<bool>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)),
            1..120,
        ),
    ) {
        let mut playout = Playout::new();
        let (mut now_us, mut block) = (0, SILENCE);
        for (index, (talker, ahead, end, level, opus)) in frames.iter().enumerate() {
            let sequence = index as u32 + ahead;
            let frame = VoiceFrame { talker: *talker, sequence, end: *end, copy: false, level: *level, opus };
            playout.receive(at(now_us), frame);
            playout.render(at(now_us), &mut block);
            prop_assert!(block.iter().all(|s| s.abs() <= 1.0));
            now_us += BLOCK_US;
        }
        for left in (0..500).rev() {
            playout.render(at(now_us), &mut block);
            prop_assert!(block.iter().all(|s| s.abs() <= 1.0));
            let most = if left > 370 { 1.0 } else if left > 20 { 0.02 } else { 0.0 };
            prop_assert!(rms(&block) <= most, "still heard: {}", rms(&block));
            now_us += BLOCK_US;
        }
    }
}

proptest! {
    #![proptest_config(cases(12))]

    /// Silence over any network is silence.
    #[test]
    fn silence_in_is_silence_out(
        seed in any::<u64>(),
        jitter_ms in 0.0..60.0_f64,
        loss_percent in 0.0..60.0_f64,
        burst in 1.0..6.0_f64,
    ) {
        let network = Network { seed: seed >> 1, jitter_ms, loss_percent, burst, ..Network::default() };
        let silence = vec![0.0; 2 * 48_000];
        let call = common::Call { gate: Gate::Open, network, ..common::Call::of(&silence) };
        let heard = call.run();
        prop_assert!(heard.sent >= 200);
        let loudest = heard.samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        prop_assert!(loudest < 1e-4, "{loudest}");
    }
}

/// Frames with their bytes spoilt, as no seal would let through: the same voice goes on after them.
#[test]
fn a_voice_recovers_from_spoilt_frames() {
    let said = voice(21, 6);
    let mut capture = Capture::new(EncoderConfig::default(), Gate::Open).unwrap();
    let (mut playout, mut chance) = (Playout::new(), Chance(5));
    let (mut heard, mut block) = (vec![0.0; 480], SILENCE);
    for (k, chunk) in said.chunks_exact(480).enumerate() {
        let now = at((k as u64 + 1) * BLOCK_US);
        let spoil = (100..200).contains(&k);
        capture.push(chunk.try_into().unwrap(), &mut |datagram| {
            let f = datagram[0];
            let mut opus = f.opus.to_vec();
            if spoil {
                opus.iter_mut().skip(1).for_each(|b| *b = chance.bits() as u8);
            }
            let frame = VoiceFrame {
                talker: 1,
                sequence: f.sequence,
                end: f.end,
                copy: false,
                level: f.level,
                opus: &opus,
            };
            playout.receive(now, frame);
        });
        playout.render(now, &mut block);
        assert!(block.iter().all(|s| s.abs() <= 1.0));
        heard.extend_from_slice(&block);
    }
    let tail = chinwag_audio::compare::align(&said[3 * 48_000..], &heard[3 * 48_000..]);
    assert!(tail.correlation > 0.9, "{tail:?}");
}

/// Steps through an hour with a buffer and marked packets; the delay's least and greatest after the first minute.
fn hour(drift_ppm: f64, network: &Network) -> (u32, u32, JitterStats) {
    let mut ear = Ear::default();
    let mut path = Path::new(network);
    let mut under_way: Vec<(u64, u32)> = Vec::new();
    let (mut least, mut greatest, mut sent) = (u32::MAX, 0, 0_u32);
    let sent_at = |n: u32| (f64::from(n + 1) * BLOCK_US as f64 * (1.0 - drift_ppm * 1e-6)) as u64;
    for k in 0..360_000_u64 {
        let now_us = 5_000 + k * BLOCK_US;
        while sent_at(sent) <= now_us {
            under_way.extend(path.arrivals(sent_at(sent)).map(|arrival| (arrival, sent)));
            sent += 1;
        }
        under_way.sort_unstable();
        let arrived = under_way.partition_point(|(arrival, _)| *arrival <= now_us);
        for (arrival, n) in under_way.drain(..arrived) {
            // A pause between words every second.
            let level = if n % 100 < 20 { 70 } else { 25 };
            ear.push(arrival, n, false, level, &marked(1, n));
        }
        ear.step(now_us, &mut |_| {});
        if k > 6_000 && k % 10 == 0 {
            let delay_ms = ear.buffer.stats().delay_ms;
            (least, greatest) = (least.min(delay_ms), greatest.max(delay_ms));
        }
    }
    (least, greatest, ear.buffer.stats())
}

#[test]
fn an_hour_of_a_drifting_clock_neither_grows_the_delay_nor_runs_dry() {
    for drift_ppm in [-300.0, 300.0] {
        let (_, greatest, stats) = hour(drift_ppm, &Network { delay_ms: 20.0, ..Network::default() });
        assert!(greatest <= 40, "{drift_ppm}: up to {greatest} ms, {stats:?}");
        // 300 ppm of an hour are 1.08 s, left out or put in; nothing else is done to the sound.
        let changed_ms = (stats.shortened_us + stats.stretched_us) / 1000;
        assert!((1_000..=1_160).contains(&changed_ms), "{drift_ppm}: {stats:?}");
        assert_eq!((stats.lost, stats.late, stats.overflow), (0, 0, 0), "{drift_ppm}: {stats:?}");
    }
}

#[test]
fn an_hour_of_jitter_and_drift_stays_in_bounds() {
    for drift_ppm in [-300.0, 300.0] {
        let network = Network { delay_ms: 20.0, jitter_ms: 8.0, loss_percent: 1.0, ..Network::default() };
        let (_, greatest, stats) = hour(drift_ppm, &network);
        assert!(greatest <= 120, "{drift_ppm}: up to {greatest} ms, {stats:?}");
        assert!(stats.lost * 100 <= stats.received * 8, "{drift_ppm}: {stats:?}");
        assert_eq!((stats.overflow, stats.resyncs), (0, 0), "{drift_ppm}: {stats:?}");
    }
}

#[test]
fn a_talker_ten_times_too_fast_is_bounded_in_delay_and_memory() {
    let mut ear = Ear::default();
    let mut sequence = 0;
    for k in 0..3_000_u64 {
        for _ in 0..10 {
            ear.push(k * BLOCK_US, sequence, false, 30, &marked(1, sequence));
            sequence += 1;
        }
        ear.step(k * BLOCK_US, &mut |_| {});
    }
    let stats = ear.buffer.stats();
    assert!(stats.overflow + stats.jumped > 20_000, "{stats:?}");
    let mut left = 0;
    while !ear.buffer.is_idle() {
        ear.step(30_000_000 + left * BLOCK_US, &mut |_| {});
        left += 1;
        assert!(left < 150, "{stats:?}");
    }
}
