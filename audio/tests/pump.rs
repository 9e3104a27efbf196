//! The whole path under an explicit clock: a WAV microphone at one pump, a WAV speaker at another.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use chinwag_audio::{
    Duration, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    compare::{Alignment, align},
    io::{NullMicrophone, NullSpeaker},
    jitter::JitterStats,
    pump::Pump,
    sample::voice,
    wav::{WavSink, WavSource},
    wav_io::{WavMicrophone, WavSpeaker},
};
use common::{Chance, at};

/// On the way; the network is a wire.
const WIRE: Duration = Duration::from_micros(100);

fn write(path: &std::path::Path, samples: &[f32]) {
    let mut sink = WavSink::create(path).unwrap();
    for chunk in samples.chunks_exact(480) {
        sink.write(chunk.try_into().unwrap());
    }
    sink.flush();
}

fn read(path: &std::path::Path) -> Vec<f32> {
    let mut source = WavSource::open(path).unwrap();
    let (mut samples, mut block) = (Vec::new(), SILENCE);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    samples
}

/// A call of a talker and a listener whose threads wake up to `late_us` after they are due, and once, three seconds
/// on, the listener's `stall_us` too late. From the microphone's first sample to the speaker's, in time of the clock.
fn call(said: &[f32], frame: FrameLength, late_us: u64, stall_us: u64) -> (Alignment, JitterStats, usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mic, speaker) = (folder.path().join("said.wav"), folder.path().join("heard.wav"));
    write(&mic, said);
    let capture =
        || Capture::new(EncoderConfig { frame, ..EncoderConfig::default() }, Gate::default()).unwrap();
    let mic = WavMicrophone::open(&mic).unwrap();
    let mut talker = Pump::new(Box::new(mic), Box::new(NullSpeaker), capture());
    let heard = WavSpeaker::create(&speaker).unwrap();
    let mut listener = Pump::new(Box::new(NullMicrophone), Box::new(heard), capture());
    let mut chance = Chance(3);
    let mut under_way: Vec<(Instant, u32, bool, u8, Vec<u8>)> = Vec::new();
    let (mut talker_due, mut listener_due) = (at(0), at(3_700));
    talker.start(talker_due);
    listener.start(listener_due);
    let end = at(said.len() as u64 * 1000 / 48 + 500_000);
    let stall = at(3_000_000);
    let mut is_stalled = false;
    while talker_due.min(listener_due) < end {
        if talker_due <= listener_due {
            let now = talker_due;
            let due = talker.turn(now, &mut |f| {
                under_way.extend(f.iter().map(|f| (now + WIRE, f.sequence, f.end, f.level, f.opus.to_vec())));
            });
            talker_due = due + Duration::from_micros(chance.bits() % (late_us + 1));
        } else {
            let now = listener_due;
            let arrived = under_way.iter().take_while(|f| f.0 <= now).count();
            for (arrival, sequence, end, level, opus) in under_way.drain(..arrived) {
                listener.receive(
                    arrival,
                    VoiceFrame { talker: 1, sequence, end, copy: false, level, opus: &opus },
                );
            }
            let due = listener.turn(now, &mut |_| panic!("nobody talks here"));
            listener_due = due + Duration::from_micros(chance.bits() % (late_us + 1));
            if !is_stalled && listener_due > stall {
                is_stalled = true;
                listener_due = listener_due + Duration::from_micros(stall_us);
            }
        }
    }
    assert!(talker.mic_spent());
    let stats = listener.playout().stats().total;
    let between = listener.speaker_started().unwrap().since(talker.mic_started().unwrap());
    drop(listener);
    let mut heard = vec![0.0; between.as_micros() as usize * 48 / 1000];
    heard.extend(read(&speaker));
    // Where the second half is heard: by then the delay has settled. Holes are those of the whole.
    let (half, whole) = (said.len() / 2, align(said, &heard));
    let settled = align(&said[half..], &heard);
    let offset_samples = settled.offset_samples - half as i64;
    (Alignment { offset_samples, correlation: settled.correlation, ..whole }, stats, heard.len())
}

#[test]
fn from_wav_to_wav_all_is_heard_within_the_promised_delay() {
    let said = voice(1, 3);
    for (frame, most_ms) in [(FrameLength::Ms10, 45.0), (FrameLength::Ms20, 65.0)] {
        let (found, stats, _) = call(&said, frame, 0, 0);
        assert!(found.offset_ms() > 20.0 && found.offset_ms() <= most_ms, "{frame:?}: {found:?}");
        assert!(found.correlation > 0.95 && found.longest_hole_ms == 0, "{frame:?}: {found:?}");
        assert_eq!((stats.concealed, stats.late, stats.received), (0, 0, stats.played), "{stats:?}");
    }
}

#[test]
fn threads_that_wake_late_are_not_heard() {
    let said = voice(2, 12);
    let (found, stats, _) = call(&said, FrameLength::Ms10, 4_000, 0);
    assert!(found.offset_ms() <= 50.0 && found.correlation > 0.95, "{found:?} {stats:?}");
    assert!(stats.concealed <= 3, "{stats:?}");
}

#[test]
fn a_listener_that_stalls_loses_that_moment_and_no_more() {
    let said = voice(3, 9);
    let (found, stats, length) = call(&said, FrameLength::Ms10, 0, 100_000);
    assert_eq!(stats.lost + stats.late, 0, "{stats:?}");
    assert!(found.longest_hole_ms <= 70, "{found:?}");
    // The file follows the clock, and the delay goes back to what it was.
    assert!(length >= said.len() + 20_000);
    assert!(found.offset_ms() <= 50.0, "{found:?} {stats:?}");
}

#[test]
fn another_microphone_and_another_speaker_take_over_in_mid_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, second) = (voice(4, 1), voice(5, 1));
    write(&path("first.wav"), &first);
    write(&path("second.wav"), &second);
    let mic = |name| Box::new(WavMicrophone::open(path(name)).unwrap());
    let speaker = |name| Box::new(WavSpeaker::create(path(name)).unwrap());
    let capture = Capture::new(EncoderConfig::default(), Gate::Open).unwrap();
    let mut pump = Pump::new(mic("first.wav"), speaker("near.wav"), capture);
    pump.start(at(0));
    let (mut due, mut sequences) = (at(0), Vec::new());
    let mut run = |pump: &mut Pump, until: u64| {
        while due < at(until) {
            let now = due;
            due = pump.turn(now, &mut |frames| sequences.push(frames[0].sequence));
        }
    };
    run(&mut pump, 500_000);
    pump.set_mic(at(500_000), mic("second.wav"));
    pump.set_speaker(at(500_000), speaker("far.wav"));
    run(&mut pump, 1_400_000);
    // What was spent is not, once there is another one.
    run(&mut pump, 1_700_000);
    assert!(pump.mic_spent());
    pump.set_mic(at(1_700_000), mic("first.wav"));
    assert!(!pump.mic_spent());
    run(&mut pump, 2_000_000);
    let began = [pump.mic_started(), pump.speaker_started()];
    assert_eq!(began, [Some(at(0)), Some(at(0))]);
    drop(pump);
    // 500 ms of the first, 1 s of the second, 200 ms of nothing, 300 ms of the first again.
    assert!(sequences.len().abs_diff(180) <= 3, "{}", sequences.len());
    let steps: Vec<_> =
        sequences.windows(2).map(|pair| pair[1] - pair[0]).filter(|&step| step != 1).collect();
    assert!(matches!(steps[..], [19..=21]), "{steps:?}");
    let lengths = ["near.wav", "far.wav"].map(|name| read(&path(name)).len() / 480);
    assert!(lengths[0].abs_diff(50) <= 2 && lengths[1].abs_diff(150) <= 2, "{lengths:?}");
}
