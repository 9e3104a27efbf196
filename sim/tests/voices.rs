//! From a WAV file to a WAV file over a simulated network, through everything that production runs but sockets.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use chinwag_audio::{
    BLOCK,
    compare::{Alignment, align},
    sample,
    wav::{WavSink, WavSource},
};
use chinwag_sim::{Report, Scenario, Voice, VoiceReport, run_with_voices};

const SECONDS: usize = 6;

fn write_voice(path: &Path, seed: u64) {
    let mut sink = WavSink::create(path).unwrap();
    for chunk in sample::voice(seed, SECONDS).chunks_exact(BLOCK) {
        sink.write(chunk.try_into().unwrap());
    }
    sink.flush();
}

fn read(path: &Path) -> Vec<f32> {
    let mut source = WavSource::open(path).unwrap();
    let (mut samples, mut block) = (vec![], [0.0; BLOCK]);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    samples
}

/// How the second half is heard: the delay has settled by then.
fn settled(said: &[f32], heard: &[f32]) -> Alignment {
    let half = said.len() / 2;
    let found = align(&said[half..], heard);
    Alignment { offset_samples: found.offset_samples - half as i64, ..found }
}

/// One talks, one listens who joined before; what was heard, the bytes of that file, and the delay from mouth to ear.
fn talk(seed: u64, short_frames: bool, net: &str) -> (Alignment, Vec<u8>, f64, Report, [VoiceReport; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let (said, heard) = (folder.path().join("said.wav"), folder.path().join("heard.wav"));
    write_voice(&said, 5);
    let listener = Voice { speaker: Some(heard.clone()), short_frames, ..Voice::default() };
    let talker = Voice { mic: Some(said.clone()), short_frames, ..Voice::default() };
    let scenario = Scenario { seed, seconds: 20, spec: net.parse().unwrap(), ..Scenario::default() };
    let (report, voices) =
        run_with_voices(&scenario, &[listener, talker], None).unwrap_or_else(|failure| panic!("{failure}"));
    let found = settled(&read(&said), &read(&heard));
    let started_us = voices[0].speaker_started_us.unwrap() as f64 - voices[1].mic_started_us.unwrap() as f64;
    let mouth_to_ear_ms = found.offset_ms() + started_us / 1000.0;
    (found, fs::read(&heard).unwrap(), mouth_to_ear_ms, report, [voices[0], voices[1]])
}

const SEED: u64 = 3;

#[test]
fn speech_arrives_whole_and_soon() {
    // 20 ms to the server and 20 ms from it.
    for (short_frames, most_ms) in [(true, 40.0 + 45.0), (false, 40.0 + 65.0)] {
        let (found, _, mouth_to_ear_ms, _, [listener, _]) = talk(SEED, short_frames, "delay=20");
        assert!(found.correlation > 0.9 && found.longest_hole_ms == 0, "{found:?}");
        assert!((40.0..=most_ms).contains(&mouth_to_ear_ms), "{mouth_to_ear_ms}");
        assert_eq!((listener.playout.total.lost, listener.playout.total.concealed), (0, 0));
    }
}

#[test]
fn one_seed_is_one_sound() {
    let net = "delay=20,jitter=15,loss=5";
    let (_, first, _, report, _) = talk(SEED, false, net);
    let (_, again, _, same, _) = talk(SEED, false, net);
    assert!(first == again && report == same);
    let (_, other, ..) = talk(SEED + 100, false, net);
    assert!(first != other);
}

#[test]
fn lost_packets_leave_no_holes() {
    let (found, _, mouth_to_ear_ms, _, [listener, _]) = talk(SEED, false, "delay=20,loss=3");
    // Twice 3 %: on the way to the server and from it.
    assert!(listener.playout.total.lost > 5, "{listener:?}");
    let total = listener.playout.total;
    assert!(total.fec_recovered + total.copies_played > 0, "{listener:?}");
    assert!(found.correlation > 0.8 && found.longest_hole_ms == 0, "{found:?}");
    assert!(mouth_to_ear_ms < 130.0, "{mouth_to_ear_ms}");
}

#[test]
fn without_udp_speech_goes_by_tcp_and_is_whole() {
    let (found, _, _, report, _) = talk(SEED, false, "delay=20,loss=100");
    assert!(report.counts.voice_sent > 200);
    assert!(found.correlation > 0.9 && found.longest_hole_ms == 0, "{found:?}");
}
