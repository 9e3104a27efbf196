//! What the jitter buffer does on named arrival traces, block by block: a change of its behaviour shows as a change of these
//! tables.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

use chinwag_audio::{
    BLOCK_US, Instant, VoiceFrame,
    jitter::{Correction, JitterBuffer, Pull},
};

/// A hybrid packet of 10 ms with in-band FEC, and a CELT one without; neither is ever decoded here.
const WITH_FEC: [u8; 2] = [12 << 3, 0x40];
const WITHOUT: [u8; 2] = [18 << 3, 0];

/// A frame: its sequence, when it arrives in ms, whether it is a copy, whether it has FEC, whether it ends the spurt.
#[derive(Clone, Copy)]
struct Arrives {
    sequence: u32,
    ms: u64,
    copy: bool,
    fec: bool,
    end: bool,
}

fn on_time(sequence: u32) -> Arrives {
    Arrives { sequence, ms: 10 * u64::from(sequence), copy: false, fec: true, end: false }
}

/// What is done for each 10 ms from 5 ms on: F a frame, f one from FEC, c concealed, - nothing, l a late one for the decoder only; then < or > for a delay made
/// shorter or longer. In rows of 20 blocks, each with the delay and the target at its end.
fn played(mut arrivals: Vec<Arrives>, blocks: u64) -> String {
    arrivals.sort_by_key(|a| a.ms);
    let (mut buffer, mut queued_us, mut arrived, mut table) = (JitterBuffer::new(), 0_i64, 0, String::new());
    let at = |us: u64| Instant::from_micros(1_000_000 + us);
    for block in 0..blocks {
        let now_us = 5_000 + block * BLOCK_US;
        while let Some(a) = arrivals.get(arrived).filter(|a| a.ms * 1000 <= now_us) {
            let Arrives { sequence, ms, copy, fec, end } = *a;
            let opus = if fec { &WITH_FEC } else { &WITHOUT };
            buffer.push(at(ms * 1000), &VoiceFrame { talker: 1, sequence, end, copy, level: 30, opus });
            arrived += 1;
        }
        let jump = match buffer.correction(
            at(now_us),
            queued_us,
            (block % 50).saturating_sub(38) as i64 * BLOCK_US as i64,
        ) {
            Correction::Keep => 0,
            Correction::Shorten(by_us, _) => -by_us.min(10_000),
            Correction::Skip { most_us, .. } => -most_us.min(20_000),
            Correction::Lengthen(by_us, _) => by_us.min(10_000),
        };
        let mut mark = String::new();
        while queued_us < BLOCK_US as i64 - jump.min(0) {
            if jump < 0 && queued_us >= BLOCK_US as i64 && !buffer.is_ready() {
                break;
            }
            match buffer.pull(at(now_us)) {
                Pull::Late { .. } => {
                    mark.push('l');
                    continue;
                }
                Pull::Frame { .. } => mark.push('F'),
                Pull::Fec { .. } => mark.push('f'),
                Pull::Conceal => mark.push('c'),
                Pull::Silence => {
                    mark.push('-');
                    break;
                }
            }
            queued_us += BLOCK_US as i64;
        }
        if jump != 0 && queued_us + jump >= 0 {
            queued_us += jump;
            buffer.corrected(jump);
            mark.push(if jump < 0 { '<' } else { '>' });
        }
        queued_us = (queued_us - BLOCK_US as i64).max(0);
        table.push_str(if mark.is_empty() { "." } else { &mark });
        if block % 20 == 19 {
            let stats = buffer.stats();
            table.push_str(&format!("  {} ms of {}\n", stats.delay_ms, stats.target_ms));
        }
    }
    let s = buffer.stats();
    table.push_str(&format!(
        "played {} copies {} fec {} lost {} late {} concealed {}",
        s.played, s.copies_played, s.fec_recovered, s.lost, s.late, s.concealed
    ));
    table
}

#[test]
fn a_clean_path_and_the_end_of_a_spurt() {
    let mut trace: Vec<Arrives> = (0..60).map(on_time).collect();
    trace[59].end = true;
    insta::assert_snapshot!(played(trace, 80));
}

#[test]
fn single_losses_are_recovered_from_the_packet_behind() {
    let trace = (0..80).filter(|n| n % 13 != 7).map(on_time).collect();
    insta::assert_snapshot!(played(trace, 80));
}

#[test]
fn a_burst_without_redundancy_is_concealed_and_adds_no_delay() {
    let trace = (0..100).filter(|n| !(40..46).contains(n)).map(|n| Arrives { fec: false, ..on_time(n) });
    insta::assert_snapshot!(played(trace.collect(), 100));
}

#[test]
fn a_burst_is_bridged_by_copies_once_their_distance_is_known() {
    let sent = |n: u32| {
        let copy =
            n.checked_sub(4).map(|old| Arrives { sequence: old, copy: true, fec: false, ..on_time(n) });
        [Some(Arrives { fec: false, ..on_time(n) }), copy]
    };
    let trace = (0..160).filter(|n| n % 40 < 36).flat_map(sent).flatten().collect();
    insta::assert_snapshot!(played(trace, 160));
}

#[test]
fn copies_that_reach_farther_than_a_burst_are_waited_for_after_it() {
    let copied = |sent: u32, lost: fn(u32) -> bool| {
        let both = move |n: u32| {
            let old =
                n.checked_sub(6).map(|old| Arrives { sequence: old, copy: true, fec: false, ..on_time(n) });
            [Some(Arrives { fec: false, ..on_time(n) }), old]
        };
        played((0..sent).filter(|n| !lost(*n)).flat_map(both).flatten().collect(), u64::from(sent))
    };
    insta::assert_snapshot!(copied(100, |n| (30..33).contains(&n) || (60..64).contains(&n)));
    // Who loses nothing waits for nothing, whatever others are sent.
    let untroubled = copied(100, |_| false);
    assert!(untroubled.contains("  5 ms of 4\n") && untroubled.ends_with("concealed 0"), "{untroubled}");
}

#[test]
fn one_late_frame_moves_nothing() {
    let mut trace: Vec<Arrives> = (0..100).map(on_time).collect();
    trace[45].ms += 35;
    trace[46].ms += 25;
    trace[47].ms += 15;
    insta::assert_snapshot!(played(trace, 100));
}

#[test]
fn a_path_that_becomes_longer_is_followed_and_back_again() {
    let later = |n: u32| if (50..120).contains(&n) { 60 } else { 0 };
    let trace = (0..240).map(|n| Arrives { ms: on_time(n).ms + later(n), ..on_time(n) }).collect();
    insta::assert_snapshot!(played(trace, 240));
}

#[test]
fn frames_that_overtake_each_other_are_put_in_order() {
    let trace = (0..100).map(|n| Arrives { ms: on_time(n).ms + u64::from(n * 7 % 4) * 9, ..on_time(n) });
    insta::assert_snapshot!(played(trace.collect(), 100));
}
