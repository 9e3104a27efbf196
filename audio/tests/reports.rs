//! What a listener reports of a path, from sound to sound.
#![allow(clippy::unwrap_used)]

use chinwag_audio::{
    BLOCK, BLOCK_US, Instant, SILENCE, VoiceFrame,
    adapt::Sending,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    playout::Playout,
    report::ReceiverReport,
    sample::voice,
};

const PATH_US: u64 = 30_000;

/// All reports of a talker who changes the length of its frames after each second, over a path that never changes.
fn reports(lengths: &[FrameLength]) -> Vec<ReceiverReport> {
    let mut capture = Capture::new(EncoderConfig::default(), Gate::Open).unwrap();
    let mut playout = Playout::new();
    let (mut reports, mut sent) = (Vec::new(), Vec::new());
    for (k, block) in voice(1, lengths.len()).chunks_exact(BLOCK).enumerate() {
        let now_us = 1_000_000 + k as u64 * BLOCK_US;
        capture.set_sending(Sending { frame: lengths[k / 100], ..capture.sending() });
        capture.push(block.try_into().unwrap(), &mut |frames| {
            let first = frames[0];
            sent.push((now_us + PATH_US, first.sequence, first.end, first.level, first.opus.to_vec()));
        });
        sent.retain(|(at_us, sequence, end, level, opus)| {
            let is_here = *at_us <= now_us;
            if is_here {
                let (sequence, end, level) = (*sequence, *end, *level);
                let frame = VoiceFrame { talker: 1, sequence, end, copy: false, level, opus };
                playout.receive(Instant::from_micros(now_us), frame);
            }
            !is_here
        });
        playout.render(Instant::from_micros(now_us), &mut SILENCE.clone());
        playout.reports(Instant::from_micros(now_us), &mut |_, report| reports.push(report));
    }
    reports
}

#[test]
fn longer_frames_are_not_taken_for_a_queue() {
    let reports = reports(&[FrameLength::Ms20, FrameLength::Ms60, FrameLength::Ms20, FrameLength::Ms40]);
    assert!(reports.len() >= 6, "{reports:?}");
    assert!(reports.iter().all(|report| report.queue_ms < 15), "{reports:?}");
}
