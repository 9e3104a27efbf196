//! What is done to the microphone's sound: echo, noise, the gate, and what must never happen.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    compare::align,
    playout::Playout,
    process::{Processing, Processor},
    rms,
    sample::voice,
};
use common::Chance;
use proptest::prelude::*;

const RATE: usize = 48_000;
const ECHO: Processing = Processing { echo: true, ..Processing::none() };
const NOISE: Processing = Processing { noise: true, ..Processing::none() };
/// What echo cancellation delays by.
const LATE: usize = 240;

fn white(seed: u64, length: usize, rms: f32) -> Vec<f32> {
    let mut chance = Chance(seed);
    (0..length).map(|_| (chance.unit() as f32 * 2.0 - 1.0) * rms * 3.0_f32.sqrt()).collect()
}

/// What a microphone hears of a loudspeaker that distorts a little: after 30 ms, a room that rings for 60 ms, as loud as `loudness`.
fn echo(far: &[f32], delay: usize, loudness: f32) -> Vec<f32> {
    let mut chance = Chance(7);
    let mut room: Vec<f32> =
        (0..2880).map(|n| (chance.unit() as f32 - 0.5) * (-5.0 * n as f32 / 2880.0).exp()).collect();
    room[0] = 1.0;
    // Every eighth tap: rooms are sparse, and a test has no time.
    let taps: Vec<_> = room.iter().enumerate().filter(|(n, _)| n % 8 == 0).collect();
    let played: Vec<f32> = far.iter().map(|s| (1.5 * s).tanh() / 1.5).collect();
    let mut heard: Vec<f32> = (0..far.len())
        .map(|n| taps.iter().filter_map(|(k, tap)| Some(*tap * played.get(n.checked_sub(delay + k)?)?)).sum())
        .collect();
    let scale = loudness / rms(&heard);
    heard.iter_mut().for_each(|s| *s *= scale);
    heard
}

fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn db(ratio: f32) -> f32 {
    20.0 * ratio.log10()
}

/// What comes out, and how likely speech was in each block.
fn process(processing: Processing, far: &[f32], mic: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut processor = Processor::new(processing);
    let (mut out, mut speech) = (Vec::new(), Vec::new());
    for (far, mic) in far.chunks_exact(BLOCK).zip(mic.chunks_exact(BLOCK)) {
        let mut block: Block = mic.try_into().unwrap();
        speech.push(processor.process(&mut block, true).unwrap());
        out.extend_from_slice(&block);
        processor.hear(far.try_into().unwrap());
    }
    (out, speech)
}

/// How much of `out` is `near`, and how much is anything else: decibels between them, and of the former against `near`.
fn kept(near: &[f32], out: &[f32]) -> (f32, f32) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let scale = dot(near, out) / dot(near, near);
    let else_heard: f64 =
        near.iter().zip(out).map(|(n, o)| (f64::from(*o) - scale * f64::from(*n)).powi(2)).sum();
    let ratio = 10.0 * (scale * scale * dot(near, near) / else_heard.max(1e-12)).log10();
    (ratio as f32, 20.0 * scale.abs().max(1e-6).log10() as f32)
}

/// What a listener asks of double talk: the near voice is there, at about its level, well above the echo.
fn is_good_double_talk(near: &[f32], out: &[f32]) -> bool {
    let (ratio_db, level_db) = kept(near, out);
    ratio_db > 8.0 && level_db.abs() < 3.0
}

#[test]
fn an_echo_alone_is_gone_within_seconds_whatever_its_delay() {
    let far = voice(2, 10);
    for delay in [480, 1440, 9600] {
        let mic = echo(&far, delay, 0.05);
        let (out, _) = process(ECHO, &far, &mic);
        let gone = |from: usize, to: usize| {
            db(rms(&mic[from * RATE..to * RATE]) / rms(&out[from * RATE..to * RATE]))
        };
        assert!(gone(2, 4) > 12.0 && gone(6, 10) > 17.0, "{delay}: {} dB, {} dB", gone(2, 4), gone(6, 10));
    }
}

#[test]
fn who_speaks_while_the_other_does_is_heard_and_the_echo_is_not() {
    // The far end speaks alone first, then both; as loud as each other at the microphone.
    let (far, speaks) = (voice(2, 14), voice(5, 7));
    let mut near = vec![0.0; 7 * RATE];
    near.extend_from_slice(&speaks);
    let mic = add(&near, &echo(&far, 1440, rms(&speaks)));
    let (out, _) = process(ECHO, &far, &mic);
    let both = 7 * RATE..near.len() - LATE;
    let (near, out) = (&near[both.clone()], &out[both.start + LATE..]);
    assert!(is_good_double_talk(near, out), "{:?}", kept(near, out));
    // Doing nothing, and being silent, are not enough.
    assert!(!is_good_double_talk(near, &mic[both]));
    assert!(!is_good_double_talk(near, &vec![0.0; near.len()]));
}

#[test]
fn a_headset_user_loses_nothing_to_what_the_others_say() {
    let (far, near) = (voice(2, 6), voice(5, 6));
    let (out, _) = process(ECHO, &far, &near);
    let (ratio_db, level_db) = kept(&near[RATE..near.len() - LATE], &out[RATE + LATE..]);
    assert!(ratio_db > 20.0 && level_db.abs() < 0.5, "{ratio_db} dB, {level_db} dB");
}

#[test]
fn a_far_end_that_stumbles_is_followed_again() {
    let far = voice(2, 24);
    let mic = echo(&far, 2400, 0.05);
    let mut processor = Processor::new(ECHO);
    let mut out = Vec::new();
    let blocks: Vec<Block> = far.chunks_exact(BLOCK).map(|b| b.try_into().unwrap()).collect();
    for (k, mic) in mic.chunks_exact(BLOCK).enumerate() {
        let mut block: Block = mic.try_into().unwrap();
        processor.process(&mut block, false);
        out.extend_from_slice(&block);
        match k {
            // Two come late and together; thirty are lost; a burst comes twice.
            500 | 501 => {}
            502 => (500..=502).for_each(|k| processor.hear(&blocks[k])),
            1000..1030 => {}
            1400 => (1380..=1400).for_each(|k| processor.hear(&blocks[k])),
            _ => processor.hear(&blocks[k]),
        }
    }
    for (from, to) in [(4, 5), (9, 10), (13, 14), (22, 24)] {
        let gone = db(rms(&mic[from * RATE..to * RATE]) / rms(&out[from * RATE..to * RATE]));
        assert!(gone > 10.0, "{from} s: {gone} dB");
    }
}

#[test]
fn noise_goes_down_and_speech_stays() {
    let said = voice(3, 8);
    let noise = white(1, said.len(), rms(&said) * 0.3);
    let silence = vec![0.0; said.len()];
    let (alone, _) = process(NOISE, &silence, &noise);
    let less = db(rms(&noise[2 * RATE..]) / rms(&alone[2 * RATE..]));
    assert!(less > 10.0, "{less} dB");
    let mic = add(&said, &noise);
    let (out, _) = process(NOISE, &silence, &mic);
    let (before, _) = kept(&said, &mic);
    let (after, level) = kept(&said[RATE..said.len() - LATE], &out[RATE + LATE..]);
    assert!(after > before + 3.0 && level.abs() < 2.0, "{before} to {after} dB, {level} dB");
}

#[test]
fn the_same_sound_gives_the_same_sound() {
    let (far, near) = (voice(2, 2), voice(5, 2));
    let mic = add(&near, &echo(&far, 1440, 0.05));
    assert_eq!(process(Processing::default(), &far, &mic), process(Processing::default(), &far, &mic));
}

/// Sequences sent of `sound` by a gate, the way there of the whole chain included.
fn sent(gate: Gate, processing: Processing, sound: &[f32]) -> Vec<u32> {
    let config = EncoderConfig { frame: FrameLength::Ms10, ..EncoderConfig::default() };
    let mut capture = Capture::new(config, gate).unwrap();
    capture.set_processing(processing);
    let mut sequences = Vec::new();
    for block in sound.chunks_exact(BLOCK) {
        capture.push(block.try_into().unwrap(), &mut |f| sequences.extend(f.iter().map(|f| f.sequence)));
    }
    sequences.sort_unstable();
    sequences.dedup();
    sequences
}

/// A voice that begins anew after each pause of a second.
fn with_pauses(seed: u64) -> Vec<f32> {
    let mut said = vec![0.0; 2 * RATE];
    for part in voice(seed, 6).chunks_exact(RATE) {
        said.extend_from_slice(part);
        said.extend(vec![0.0; RATE]);
    }
    said
}

#[test]
fn the_gate_opens_for_a_voice_in_noise_and_stays_closed_in_the_noise_alone() {
    for seed in 1..=4 {
        let said = with_pauses(seed);
        let speaks: Vec<bool> = said.chunks_exact(BLOCK).map(|b| rms(b) > 0.02).collect();
        let active: Vec<f32> =
            said.chunks_exact(BLOCK).filter(|b| rms(b) > 0.02).flatten().copied().collect();
        let noise = white(seed, said.len(), rms(&active) * 0.178);
        for processing in [Processing::default(), Processing::none()] {
            let sequences = sent(Gate::Voice, processing, &add(&said, &noise));
            let missed = speaks
                .iter()
                .enumerate()
                .filter(|(k, speaks)| **speaks && sequences.binary_search(&(*k as u32)).is_err())
                .count();
            assert_eq!(missed, 0, "voice {seed}, {processing:?}");
            assert!(sequences.len() < speaks.len(), "pauses are pauses: {seed}, {processing:?}");
            assert_eq!(sent(Gate::Voice, processing, &noise), [0; 0], "noise {seed}, {processing:?}");
        }
    }
}

#[test]
fn an_echo_does_not_open_the_gate_once_it_is_known() {
    let far = voice(2, 12);
    let mic = add(&echo(&far, 1440, 0.05), &white(1, far.len(), 0.0003));
    let mut capture = Capture::new(EncoderConfig::default(), Gate::Voice).unwrap();
    capture.set_processing(Processing::default());
    let mut talks = 0;
    for (k, (far, mic)) in far.chunks_exact(BLOCK).zip(mic.chunks_exact(BLOCK)).enumerate() {
        capture.push(mic.try_into().unwrap(), &mut |_| {});
        capture.hear(far.try_into().unwrap());
        talks += u32::from(k >= 600 && capture.is_talking());
    }
    assert!(talks < 150, "{talks} of 600 blocks");
}

/// What a listener hears of `said` through a gate.
fn heard(gate: Gate, said: &[f32], noise: &[f32]) -> Vec<f32> {
    let config = EncoderConfig { frame: FrameLength::Ms10, ..EncoderConfig::default() };
    let mut capture = Capture::new(config, gate).unwrap();
    let mut playout = Playout::new();
    let mut heard = Vec::new();
    for (k, block) in add(said, noise).chunks_exact(BLOCK).enumerate() {
        let now = Instant::from_micros((k as u64 + 1) * BLOCK_US);
        capture.push(block.try_into().unwrap(), &mut |frames| {
            for (n, f) in frames.iter().enumerate() {
                let (sequence, end, level, opus) = (f.sequence, f.end, f.level, f.opus);
                playout.receive(now, VoiceFrame { talker: 1, sequence, end, copy: n > 0, level, opus });
            }
        });
        let mut block = SILENCE;
        playout.render(now, &mut block);
        heard.extend_from_slice(&block);
    }
    heard
}

#[test]
fn first_syllables_are_heard_whole_and_the_gate_adds_no_lasting_delay() {
    let said = with_pauses(6);
    let noise = white(2, said.len(), 0.0005);
    let (always, gated) = (heard(Gate::Open, &said, &noise), heard(Gate::Voice, &said, &noise));
    let usual_ms = align(&said, &always).offset_ms();
    let third = RATE / 3;
    let mut spurts = 0;
    for begin in (2 * RATE..said.len()).step_by(2 * RATE) {
        let end = begin + RATE;
        let Some(onset) = said[begin..end].iter().position(|s| s.abs() > 0.005) else { continue };
        let onset = begin + onset;
        // Where the heard part begins, against the said one.
        let late = |from: usize| {
            let found = align(&said[from..from + third], &gated[from..(from + 2 * third).min(gated.len())]);
            (found.correlation, found.offset_ms())
        };
        let (first, last) = (onset, end - third);
        if rms(&said[first..first + third]) < 0.05 || rms(&said[last..last + third]) < 0.05 {
            continue;
        }
        spurts += 1;
        let ((alike, first_ms), (_, last_ms)) = (late(first), late(last));
        let begins = first + (first_ms * 48.0) as usize;
        let whole = rms(&gated[begins..begins + RATE / 10]) / rms(&said[first..first + RATE / 10]);
        assert!(whole > 0.7, "{onset}: the first 100 ms are heard {} dB quieter", db(whole));
        assert!(
            alike > 0.7 && first_ms < usual_ms + 25.0,
            "{onset}: {alike}, {first_ms} ms, usually {usual_ms}"
        );
        assert!(last_ms < usual_ms + 6.0, "{onset}: still {last_ms} ms, usually {usual_ms}");
    }
    assert!(spurts >= 3);
}

#[test]
fn push_to_talk_sends_while_held_and_a_moment_longer() {
    let config = EncoderConfig { frame: FrameLength::Ms10, ..EncoderConfig::default() };
    let mut capture = Capture::new(config, Gate::PushToTalk).unwrap();
    let mut sequences = Vec::new();
    let said = voice(1, 2);
    for (k, block) in said.chunks_exact(BLOCK).enumerate() {
        capture.set_held((50..100).contains(&k));
        capture.push(block.try_into().unwrap(), &mut |f| sequences.push((f[0].sequence, f[0].end)));
    }
    let from_to = (sequences[0].0, sequences[sequences.len() - 1].0);
    assert_eq!(from_to, (50, 119), "200 ms more");
    assert_eq!(sequences.iter().filter(|(_, end)| *end).count(), 1);
    assert!(capture.level().rms > 0.0 && capture.level().peak <= 1.0, "the meter goes on");
}

fn sample() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0_f32..1.0,
        1 => -1e30_f32..1e30,
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(f32::MIN_POSITIVE), Just(1e-42)],
    ]
}

/// What a step does: a block of the microphone or of the far end made of one sample and a tone, or a switch.
fn steps() -> impl Strategy<Value = Vec<(u8, f32, f32)>> {
    prop::collection::vec((0_u8..12, sample(), sample()), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_heard_comes_out_bounded_and_sequences_grow(steps in steps(), gate in 0_usize..4, ten in any::<bool>()) {
        let frame = if ten { FrameLength::Ms10 } else { FrameLength::Ms20 };
        let gate = [Gate::Level, Gate::Voice, Gate::Open, Gate::PushToTalk][gate];
        let mut capture = Capture::new(EncoderConfig { frame, ..EncoderConfig::default() }, gate).unwrap();
        let mut processor = Processor::new(Processing::default());
        let (mut last, mut blocks) = (None, 0_u32);
        for (what, a, b) in steps {
            let mut block: Block = std::array::from_fn(|i| match i % 3 { 0 => a, 1 => b, _ => a * (i as f32 * 0.1).sin() });
            match what {
                0..=5 => {
                    let mut grows = true;
                    capture.push(&block, &mut |frames| {
                        // A datagram's frames are of one spurt, newest first; datagrams come in order.
                        grows &= frames.windows(2).all(|f| f[0].sequence > f[1].sequence);
                        grows &= last.is_none_or(|last| frames[0].sequence > last);
                        last = Some(frames[0].sequence);
                    });
                    prop_assert!(grows);
                    blocks += 1;
                    let speech = processor.process(&mut block, true).unwrap();
                    prop_assert!((0.0..=1.0).contains(&speech));
                    prop_assert!(block.iter().all(|s| s.is_finite() && s.abs() <= 1.5));
                    let level = capture.level();
                    prop_assert!(level.peak <= 1.5 && level.rms <= level.peak);
                }
                6..=8 => {
                    capture.hear(&block);
                    processor.hear(&block);
                }
                9 => capture.set_processing(if a > 0.0 { Processing::default() } else { Processing::none() }),
                10 => capture.set_held(b > 0.0),
                _ => capture.set_muted(b > 0.5),
            }
        }
        // Every frame is of time that has passed, or fills up its spurt's last frame.
        prop_assert!(last.is_none_or(|last| last <= blocks));
    }
}
