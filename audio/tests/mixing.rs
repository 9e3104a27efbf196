//! What must hold of the mix, whatever is put into it.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    comfort::Comfort,
    limits::{MAX_VOLUME, TALKER_IDLE},
    mix::{KNEE, Mixer, Placing},
    playout::Playout,
    rms,
    sample::voice,
};
use proptest::prelude::*;

/// Sound of a size, with whatever floats there are in some of its samples.
fn block() -> impl Strategy<Value = Block> {
    let size = prop_oneof![8 => 0.0..1.0_f32, 2 => 0.0..40.0_f32, 1 => any::<f32>()];
    let odd = prop::collection::vec((0..BLOCK, any::<f32>()), 0..4);
    (size, odd, any::<u32>(), prop_oneof![4 => Just(false), 1 => Just(true)]).prop_map(
        |(size, odd, mut seed, spoil)| {
            let mut block = std::array::from_fn(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                size * ((seed >> 8) as f32 / (1 << 23) as f32 - 1.0)
            });
            odd.into_iter().filter(|_| spoil).for_each(|(at, sample)| block[at] = sample);
            block
        },
    )
}

#[derive(Clone, Debug)]
enum Event {
    Talk(usize, Box<Block>),
    Volume(usize, f32),
    Mute(usize, bool),
    Auto(usize, bool),
    Place(bool),
    GoAndComeBack(usize),
    Finish(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..5_usize;
    let volume = prop_oneof![4 => 0.0..5.0_f32, 1 => any::<f32>()];
    prop_oneof![
        12 => (who.clone(), block()).prop_map(|(who, block)| Event::Talk(who, Box::new(block))),
        2 => (who.clone(), volume).prop_map(|(who, volume)| Event::Volume(who, volume)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, on)| Event::Mute(who, on)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, on)| Event::Auto(who, on)),
        1 => any::<bool>().prop_map(Event::Place),
        1 => who.prop_map(Event::GoAndComeBack),
        8 => any::<bool>().prop_map(Event::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever is said and set, no sample leaves the range, and in the end silence is silence.
    #[test]
    fn the_mix_is_in_range_and_silent_when_all_are(events in prop::collection::vec(event(), 1..200)) {
        let mut mixer = Mixer::new();
        let mut strips: Vec<_> = (0..5).map(|_| mixer.strip(None)).collect();
        let mut comfort = Comfort::new();
        let mut out = [SILENCE; 2];
        for event in events {
            match event {
                Event::Talk(who, mut block) => {
                    strips[who].observe(&block);
                    comfort.observe(&block);
                    comfort.fill(&mut block, 0.5);
                    mixer.mix(&mut strips[who], &block);
                }
                Event::Volume(who, volume) => strips[who].set_volume(volume),
                Event::Mute(who, on) => strips[who].set_muted(on),
                Event::Auto(who, on) => strips[who].set_auto_level(on),
                Event::Place(spread) => {
                    mixer.finish_stereo(&mut out);
                    mixer.set_placing(if spread { Placing::Spread } else { Placing::Mono });
                }
                Event::GoAndComeBack(who) => {
                    let gone = strips.remove(who);
                    let known = gone.remember();
                    mixer.remove(gone);
                    strips.insert(who, mixer.strip(known));
                }
                Event::Finish(true) => mixer.finish_stereo(&mut out),
                Event::Finish(false) => mixer.finish(&mut out[0]),
            }
            prop_assert!(out.iter().flatten().all(|s| s.abs() <= 1.0));
        }
        mixer.finish_stereo(&mut out);
        strips.iter_mut().for_each(|strip| mixer.mix(strip, &SILENCE));
        mixer.finish_stereo(&mut out);
        prop_assert_eq!(out, [SILENCE; 2]);
    }

    /// More volume is never less sound, and none is none.
    #[test]
    fn loudness_follows_the_volume(
        said in block().prop_filter("finite", |block| block.iter().all(|s| s.abs() <= 1.0)),
        volumes in (0.0..=MAX_VOLUME, 0.0..=MAX_VOLUME),
        seats in 1..4_usize,
    ) {
        let heard = |volume: f32| {
            let mut mixer = Mixer::new();
            mixer.set_placing(Placing::Spread);
            let mut strips: Vec<_> = (0..seats).map(|_| mixer.strip(None)).collect();
            let strip = &mut strips[seats - 1];
            strip.set_volume(volume);
            let mut out = [SILENCE; 2];
            for _ in 0..5 {
                mixer.mix(strip, &said);
                mixer.finish_stereo(&mut out);
            }
            (rms(&out[0]), rms(&out[1]))
        };
        let (less, more) = (volumes.0.min(volumes.1), volumes.0.max(volumes.1));
        let ((left, right), (more_left, more_right)) = (heard(less), heard(more));
        // The limiter holds peaks, not power: what it bends may differ by a little.
        prop_assert!(more_left >= left * 0.99 && more_right >= right * 0.99);
        prop_assert_eq!(heard(0.0), (0.0, 0.0));
    }

    /// What is made up is never louder than −45 dBFS, nor than the quietest that was heard lately.
    #[test]
    fn comfort_noise_is_quiet(heard in prop::collection::vec(block(), 1..40)) {
        let mut comfort = Comfort::new();
        heard.iter().for_each(|block| comfort.observe(block));
        let quietest = heard.iter().map(|block| rms(block)).filter(|r| r.is_finite()).fold(f32::MAX, f32::min);
        prop_assert!(comfort.amplitude() <= (quietest * 1.001).min(0.005_624));
        let mut all = Vec::new();
        for _ in 0..50 {
            let mut block = SILENCE;
            comfort.fill(&mut block, 1.0);
            all.extend_from_slice(&block);
        }
        prop_assert!(all.iter().all(|s| s.is_finite()));
        // Noise is only on average as loud as it is, the more so the fewer frequencies it has.
        prop_assert!(rms(&all) <= comfort.amplitude() * 1.5, "{} for {}", rms(&all), comfort.amplitude());
    }
}

/// How much of `heard` is not `said`, in dB, each block scaled by itself: what a gain that moves slowly does is not
/// counted, what bends the sound is.
fn distortion_db(said: &[f32], heard: &[f32]) -> f32 {
    let (mut bent, mut whole) = (0.0, 0.0);
    for (said, heard) in said.chunks(BLOCK).zip(heard.chunks(BLOCK)) {
        let cross: f32 = said.iter().zip(heard).map(|(a, b)| a * b).sum();
        let own: f32 = said.iter().map(|a| a * a).sum();
        let scale = cross / own.max(1e-9);
        bent += said.iter().zip(heard).map(|(a, b)| (b - scale * a).powi(2)).sum::<f32>();
        whole += heard.iter().map(|b| b * b).sum::<f32>();
    }
    10.0 * (bent / whole.max(1e-9)).log10()
}

/// Two voices at full scale, and what is heard of them.
fn two_who_shout(is_auto: bool) -> (Vec<f32>, Vec<f32>) {
    let loud = |seed| voice(seed, 10).iter().map(|s| s / 0.6).collect::<Vec<_>>();
    let (a, b) = (loud(1), loud(2));
    let mut mixer = Mixer::new();
    let (mut first, mut second) = (mixer.strip(None), mixer.strip(None));
    first.set_auto_level(is_auto);
    second.set_auto_level(is_auto);
    let (mut heard, mut out) = (Vec::new(), SILENCE);
    for (a, b) in a.as_chunks::<BLOCK>().0.iter().zip(b.as_chunks().0) {
        first.observe(a);
        second.observe(b);
        mixer.mix(&mut first, a);
        mixer.mix(&mut second, b);
        mixer.finish(&mut out);
        heard.extend_from_slice(&out);
    }
    (a.iter().zip(&b).map(|(a, b)| a + b).collect(), heard)
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, s| peak.max(s.abs()))
}

#[test]
fn two_who_shout_at_once_are_limited_and_hardly_bent() {
    let (sum, heard) = two_who_shout(false);
    assert!(peak(&sum) > 1.3 && peak(&heard) <= 1.0);
    let clipped: Vec<f32> = sum.iter().map(|s| s.clamp(-1.0, 1.0)).collect();
    let (limited_db, clipped_db) = (distortion_db(&sum, &heard), distortion_db(&sum, &clipped));
    assert!(limited_db < clipped_db - 3.0, "{limited_db} dB; clipped {clipped_db} dB");
}

#[test]
fn automatic_levels_leave_the_limiter_next_to_nothing_to_do() {
    let at_the_knee = |is_auto| {
        let (_, heard) = two_who_shout(is_auto);
        let settled = &heard[240_000..];
        assert!(peak(&heard) <= 1.0);
        settled.as_chunks::<BLOCK>().0.iter().filter(|block| peak(*block) > KNEE * 0.99).count()
    };
    let (raw, auto) = (at_the_knee(false), at_the_knee(true));
    assert!(raw > 20 && auto <= 3, "{raw} blocks of 500, with automatic levels {auto}");
}

/// Talkers, a network that is none, and one who listens.
struct Call {
    captures: Vec<Capture>,
    playout: Playout,
    now: Instant,
}

impl Call {
    fn of(talkers: usize) -> Self {
        let capture = |_| Capture::new(EncoderConfig::default(), Gate::Level).unwrap();
        let captures = (0..talkers).map(capture).collect();
        Self { captures, playout: Playout::new(), now: Instant::from_micros(1_000_000) }
    }

    /// A block of each talker, and what is heard in both ears.
    fn turn(&mut self, said: &[Block]) -> [Block; 2] {
        for (talker, (capture, block)) in self.captures.iter_mut().zip(said).enumerate() {
            capture.push(block, &mut |frames| {
                for f in frames {
                    let (talker, sequence, end, level, opus) =
                        (talker as u32, f.sequence, f.end, f.level, f.opus);
                    let frame = VoiceFrame { talker, sequence, end, copy: false, level, opus };
                    self.playout.receive(self.now, frame);
                }
            });
        }
        self.listen()
    }

    fn listen(&mut self) -> [Block; 2] {
        let mut out = [SILENCE; 2];
        self.playout.render_stereo(self.now, &mut out);
        self.now = self.now + chinwag_audio::Duration::from_micros(BLOCK_US);
        out
    }

    /// All that `said` is, times a gain, by one talker, the others silent; the mean levels heard left and right in its last part.
    fn say(&mut self, talker: usize, said: &[f32], gain: f32) -> (f32, f32) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for chunk in said.as_chunks::<BLOCK>().0 {
            let mut blocks = vec![SILENCE; self.captures.len()];
            blocks[talker] = chunk.map(|s| s * gain);
            let heard = self.turn(&blocks);
            left.extend_from_slice(&heard[0]);
            right.extend_from_slice(&heard[1]);
        }
        let from = left.len() * 3 / 4;
        (rms(&left[from..]), rms(&right[from..]))
    }
}

#[test]
fn a_shout_and_a_whisper_are_heard_alike_and_mute_and_volume_are_heeded() {
    let said = voice(3, 12);
    let mut call = Call::of(2);
    let ((shout, _), (whisper, _)) = (call.say(0, &said, 1.2), call.say(1, &said, 0.12));
    assert!((0.75..1.3).contains(&(shout / whisper)), "20 dB apart, they came out at {shout} and {whisper}");
    assert!(call.playout.set_muted(0, true) && call.playout.set_volume(1, 0.5));
    assert_eq!(call.say(0, &said[..96_000], 1.0), (0.0, 0.0));
    let (half, _) = call.say(1, &said, 0.12);
    assert!((0.4..0.6).contains(&(half / whisper)), "{half} of {whisper}");
    call.playout.set_auto_level(false);
    assert!(call.playout.set_volume(1, 1.0));
    let (as_it_came, _) = call.say(1, &said, 0.12);
    let from = said.len() * 3 / 4;
    assert!((0.8..1.25).contains(&(as_it_came / (0.12 * rms(&said[from..])))), "{as_it_came}");
}

#[test]
fn who_comes_back_after_long_silence_is_heard_at_its_level_at_once() {
    let said = voice(3, 12);
    let mut call = Call::of(1);
    let (before, _) = call.say(0, &said, 0.1);
    while call.playout.stats().talkers > 0 {
        call.turn(&[SILENCE]);
        assert!(call.now < Instant::from_micros(20_000_000) + TALKER_IDLE);
    }
    // The last quarter alone, from its first syllable.
    let part = &said[said.len() * 3 / 4..];
    let mut back = Vec::new();
    for chunk in part.as_chunks::<BLOCK>().0 {
        back.extend_from_slice(&call.turn(&[chunk.map(|s| s * 0.1)])[0]);
    }
    assert!((0.8..1.25).contains(&(rms(&back) / before)), "{} after {before}", rms(&back));
    call.playout.forget(0);
    let (first, _) = call.say(0, &said[..48_000], 0.1);
    assert!(first < before * 0.5, "forgotten, it begins as an unknown one: {first}");
}

#[test]
fn talkers_are_heard_from_their_places() {
    let said = voice(3, 3);
    let mut call = Call::of(2);
    call.playout.set_placing(Placing::Spread);
    let (left, right) = call.say(0, &said, 0.3);
    assert_eq!(left, right, "one alone is in the middle");
    call.say(1, &said, 0.3);
    let ((left, right), (other_left, other_right)) = (call.say(0, &said, 0.3), call.say(1, &said, 0.3));
    assert!(
        left > right * 1.5 && other_right > other_left * 1.5,
        "{left} {right} {other_left} {other_right}"
    );
    call.playout.set_placing(Placing::Mono);
    let (left, right) = call.say(1, &said, 0.3);
    assert_eq!(left, right);
}

#[test]
fn a_broken_line_sounds_like_the_background_for_a_while_and_a_finished_one_is_silent() {
    let mut seed = 5_u32;
    let mut noisy = |block: &Block| {
        block.map(|s| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            s * 0.3 + 0.003 * ((seed >> 8) as f32 / (1 << 23) as f32 - 1.0)
        })
    };
    let blocks: Vec<Block> = voice(3, 4).as_chunks().0.iter().map(&mut noisy).collect();
    for is_finished in [false, true] {
        let mut call = Call::of(1);
        call.playout.set_auto_level(false);
        blocks.iter().for_each(|block| _ = call.turn(std::slice::from_ref(block)));
        if is_finished {
            // The gate closes by itself, and says so.
            (0..100).for_each(|_| _ = call.turn(&[SILENCE]));
            assert!(!call.captures[0].is_talking());
        }
        let heard: Vec<f32> = (0..600).map(|_| rms(&call.listen()[0])).collect();
        let (soon, late) = (&heard[50..200], &heard[500..]);
        if is_finished {
            assert!(heard.iter().all(|level| *level == 0.0));
        } else {
            assert!(soon.iter().all(|level| (0.000_3..0.003).contains(level)), "{soon:?}");
            assert!(late.iter().all(|level| *level == 0.0));
        }
    }
}
