//! Named networks, and what a listener must hear over each.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use chinwag_audio::{codec::FrameLength, compare::align, sample::voice};
use common::{Call, Heard, Network, likeness};

fn over<'a>(speech: &'a [f32], frame: FrameLength, network: Network) -> Call<'a> {
    let mut call = Call { network, ..Call::of(speech) };
    call.encoder.frame = frame;
    call
}

/// How alike said and heard are when shifts (a delay that changes) are forgiven.
fn alike(said: &[f32], heard: &Heard) -> f32 {
    likeness(said, &heard.samples, align(said, &heard.samples).offset_samples, 20)
}

#[test]
fn over_a_clean_network_nothing_is_made_up_and_the_delay_is_as_promised() {
    let said = voice(1, 4);
    for (frame, most_ms) in [(FrameLength::Ms10, 45.0), (FrameLength::Ms20, 65.0)] {
        // However the listener's clock stands to the talker's.
        for phase_us in [0, 1_000, 5_000, 8_000, 9_900] {
            let heard = Call { phase_us, ..over(&said, frame, Network::default()) }.run();
            let stats = heard.stats;
            let made_up = stats.concealed + stats.lost + stats.late + stats.mended + stats.stretched_us;
            assert_eq!((made_up, stats.received), (0, stats.played), "{frame:?} {phase_us}: {stats:?}");
            // What was waited for at the start, in case a frame must be recovered, is given back.
            assert!(stats.shortened_us <= 10_000 * frame.blocks() as u64, "{frame:?} {phase_us}: {stats:?}");
            let found = align(&said, &heard.samples);
            assert!(found.offset_ms() <= most_ms, "{frame:?}, phase {phase_us}: {found:?}");
            assert!(found.correlation > 0.95, "{frame:?}: {found:?}");
            assert_eq!(found.longest_hole_ms, 0);
        }
    }
}

#[test]
fn in_band_fec_recovers_most_of_what_is_lost_and_is_heard_to() {
    let said = voice(2, 8);
    for (frame, most_ms) in [(FrameLength::Ms10, 75.0), (FrameLength::Ms20, 85.0)] {
        let network = Network { delay_ms: 20.0, loss_percent: 5.0, seed: 7, ..Network::default() };
        let call = over(&said, frame, network);
        let heard = call.run();
        let stats = heard.stats;
        assert!(heard.lost * 100 > heard.sent * 3, "the network must lose: {} of {}", heard.lost, heard.sent);
        assert!(stats.fec_recovered * 100 >= stats.lost * 60, "{frame:?}: {stats:?}");
        assert!(align(&said, &heard.samples).offset_ms() <= most_ms, "{frame:?}");
        let mut without = call.clone();
        without.encoder.expected_loss_percent = 0;
        let without = without.run();
        assert_eq!(without.stats.fec_recovered, 0, "no packet has FEC: {:?}", without.stats);
        let (with, without) = (alike(&said, &heard), alike(&said, &without));
        assert!(with > 0.93 && with > without + 0.02, "{frame:?}: {with} with FEC, {without} without");
    }
}

#[test]
fn what_comes_too_late_puts_the_decoder_right() {
    let said = voice(6, 20);
    for frame in [FrameLength::Ms10, FrameLength::Ms20] {
        let network = Network { delay_ms: 20.0, jitter_ms: 12.0, seed: 4, ..Network::default() };
        let mut call = over(&said, frame, network);
        call.encoder.expected_loss_percent = 0;
        let stats = call.run().stats;
        assert!(stats.late >= 4, "the network must be late: {stats:?}");
        assert!(
            stats.mended * 2 >= stats.late && stats.mended <= stats.late + stats.concealed,
            "{frame:?}: {stats:?}"
        );
        // What never comes is of no use.
        call.network = Network { delay_ms: 20.0, loss_percent: 5.0, ..Network::default() };
        assert_eq!(call.run().stats.mended, 0, "{frame:?}");
    }
}

#[test]
fn twenty_percent_of_loss_is_still_a_voice() {
    let said = voice(3, 8);
    let network = Network { delay_ms: 20.0, loss_percent: 20.0, seed: 3, ..Network::default() };
    let heard = over(&said, FrameLength::Ms10, network).run();
    assert!(alike(&said, &heard) > 0.8, "{} {:?}", alike(&said, &heard), heard.stats);
    assert!(align(&said, &heard.samples).longest_hole_ms <= 30);
}

#[test]
fn bursts_of_loss_are_concealed_and_add_no_delay() {
    let said = voice(4, 8);
    let network = Network { delay_ms: 20.0, loss_percent: 10.0, burst: 4.0, seed: 5, ..Network::default() };
    let heard = over(&said, FrameLength::Ms20, network).run();
    assert!(alike(&said, &heard) > 0.7, "{} {:?}", alike(&said, &heard), heard.stats);
    let last = heard.delays_ms[heard.delays_ms.len() - 100];
    assert!(last <= 40, "the delay ends at {last} ms: {:?}", heard.stats);
}

#[test]
fn jitter_is_waited_for_as_long_as_it_must_be() {
    let said = voice(5, 8);
    let network = Network { jitter_ms: 30.0, seed: 2, ..Network::default() };
    let heard = over(&said, FrameLength::Ms10, network).run();
    let stats = heard.stats;
    // After a second the delay fits: the rest is in time but for the distribution's tail.
    assert!(stats.late * 100 <= stats.received * 8, "{stats:?}");
    assert!(alike(&said, &heard) > 0.85, "{} {stats:?}", alike(&said, &heard));
    assert!(align(&said, &heard.samples).offset_ms() <= 160.0);
}

#[test]
fn a_path_that_grows_longer_and_shorter_again_is_followed_both_ways() {
    let said = voice(6, 16);
    for frame in [FrameLength::Ms10, FrameLength::Ms20] {
        let network = Network { steps: vec![(4_000.0, 8_000.0, 100.0)], ..Network::default() };
        let heard = over(&said, frame, network).run();
        let stats = heard.stats;
        assert_eq!(stats.lost, 0, "nothing was: {stats:?}");
        // One dry spell of 100 ms; what was waiting is then played.
        assert!(stats.concealed <= 14, "{stats:?}");
        let part = |from_s: usize, to_s: usize| {
            let said = &said[from_s * 48_000..to_s * 48_000];
            let heard = &heard.samples[from_s * 48_000..((to_s * 48_000) + 24_000).min(heard.samples.len())];
            align(said, heard)
        };
        let (before, during, after) = (part(2, 4), part(6, 8), part(14, 16));
        assert!(during.offset_ms() > before.offset_ms() + 80.0, "{frame:?}: {before:?} {during:?}");
        assert!((after.offset_ms() - before.offset_ms()).abs() <= 12.0, "{frame:?}: {before:?} {after:?}");
        assert!(after.correlation > 0.95, "{frame:?}: {after:?}");
    }
}

#[test]
fn a_path_that_stalls_is_concealed_and_made_up_for() {
    // 100 ms in which nothing arrives, and then all of it: as when the receiving thread had to wait.
    let said = voice(7, 20);
    let steps = (0..20).map(|k| {
        let from = 4_000.0 + 5.0 * f64::from(k);
        (from, from + 5.0, 100.0 - 5.0 * f64::from(k))
    });
    let network = Network { steps: steps.collect(), ..Network::default() };
    let heard = over(&said, FrameLength::Ms10, network).run();
    assert_eq!((heard.stats.lost, heard.stats.late, heard.stats.overflow), (0, 0, 0), "{:?}", heard.stats);
    let (early, end) = (heard.delays_ms[300], heard.delays_ms[1_950]);
    assert!(end <= early + 10, "from {early} to {end} ms");
}

#[test]
fn what_arrives_twice_is_played_once() {
    let said = voice(8, 4);
    let clean = over(&said, FrameLength::Ms10, Network { delay_ms: 5.0, ..Network::default() }).run();
    let network = Network { delay_ms: 5.0, duplicate_percent: 100.0, ..Network::default() };
    let twice = over(&said, FrameLength::Ms10, network).run();
    assert_eq!(twice.samples, clean.samples);
    assert_eq!((twice.stats.duplicate, twice.stats.played), (clean.sent, clean.sent));
}

#[test]
fn two_talkers_at_once_are_both_heard_as_each_alone() {
    // Soft enough for the limiter to have nothing to do.
    let soft = |seed| voice(seed, 6).iter().map(|s| s * 0.5).collect::<Vec<_>>();
    let (a, b) = (soft(9), soft(10));
    let network = Network { delay_ms: 20.0, jitter_ms: 3.0, loss_percent: 2.0, ..Network::default() };
    let both = Call { talkers: vec![&a, &b], network: network.clone(), ..Call::of(&a) }.run();
    // The second talker's path has a seed of its own.
    let alone_a = over(&a, FrameLength::Ms10, network.clone()).run();
    let alone_b = over(&b, FrameLength::Ms10, Network { seed: network.seed + 1000, ..network }).run();
    for (said, heard) in [(&a, &alone_a), (&b, &alone_b)] {
        assert!(alike(said, heard) > 0.9);
    }
    let worst = both.samples.iter().zip(alone_a.samples.iter().zip(&alone_b.samples));
    let worst = worst.map(|(sum, (a, b))| (sum - (a + b)).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "the sum is off by {worst}");
}

#[test]
fn the_same_seed_gives_the_same_sound() {
    let said = voice(11, 3);
    let network = Network {
        jitter_ms: 20.0,
        loss_percent: 5.0,
        burst: 2.0,
        duplicate_percent: 2.0,
        ..Network::default()
    };
    let call = over(&said, FrameLength::Ms20, network);
    let (once, again) = (call.run(), call.run());
    assert_eq!(once.samples, again.samples);
    assert_eq!(once.stats, again.stats);
}
