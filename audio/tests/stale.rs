//! What a stalled connection held back for seconds comes all at once, behind what is newer.

use chinwag_audio::{
    BLOCK_US, Instant, VoiceFrame,
    jitter::{JitterBuffer, Pull},
};

const OPUS: [u8; 2] = [30 << 3, 0];

fn push(buffer: &mut JitterBuffer, at_us: u64, sequence: u32) {
    let frame = VoiceFrame { talker: 1, sequence, end: false, copy: false, level: 30, opus: &OPUS };
    buffer.push(Instant::from_micros(at_us), &frame);
}

/// Sequences that are played, a frame each 10 ms, with a pile of frames `old` behind frame 1 000.
fn played_with(old: std::ops::Range<u32>) -> (Vec<u32>, JitterBuffer) {
    let (mut buffer, mut played) = (JitterBuffer::new(), Vec::new());
    for sequence in 0..1500_u32 {
        let at_us = 50_000 + u64::from(sequence) * BLOCK_US;
        if !old.contains(&sequence) {
            push(&mut buffer, at_us, sequence);
        }
        if sequence == 1_000 {
            old.clone().for_each(|sequence| push(&mut buffer, at_us, sequence));
        }
        while let Pull::Late { .. } = match buffer.pull(Instant::from_micros(at_us + BLOCK_US / 2)) {
            Pull::Frame { sequence, .. } => {
                played.push(sequence);
                Pull::Silence
            }
            late @ Pull::Late { .. } => late,
            Pull::Fec { .. } | Pull::Conceal | Pull::Silence => Pull::Silence,
        } {}
    }
    (played, buffer)
}

#[test]
fn what_was_held_back_for_seconds_is_not_played_behind_what_is_newer() {
    for old in [300..700, 100..790, 0..400] {
        let (played, buffer) = played_with(old.clone());
        assert!(played.is_sorted(), "{old:?}");
        assert!(played.iter().all(|sequence| !old.contains(sequence)), "{old:?}");
        assert!(played.last() >= Some(&1497), "{old:?}");
        let stats = buffer.stats();
        assert_eq!((stats.resyncs, stats.jumped), (0, 0), "{old:?}: {stats:?}");
        assert!(stats.delay_ms < 30 && stats.target_ms < 30, "the path is as quick as ever: {stats:?}");
    }
}

#[test]
fn a_talker_who_begins_anew_after_a_long_silence_is_heard() {
    let mut buffer = JitterBuffer::new();
    push(&mut buffer, 0, 1_000_000);
    let again_us = 60_000_000;
    let mut played = 0;
    for sequence in 0..50 {
        let at_us = again_us + u64::from(sequence) * BLOCK_US;
        push(&mut buffer, at_us, sequence);
        played += u32::from(matches!(buffer.pull(Instant::from_micros(at_us)), Pull::Frame { .. }));
    }
    assert!(played > 40, "{played}");
    assert_eq!(buffer.stats().resyncs, 1);
}
