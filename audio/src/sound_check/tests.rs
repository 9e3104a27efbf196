use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use super::*;
use crate::{io::NullSpeaker, sample::voice};

/// A room in which the microphone hears what the speaker played some time ago, how loud, and a voice or noise.
struct Room {
    in_the_air: VecDeque<f32>,
    gain: f32,
    voice: Vec<f32>,
    heard: usize,
    seed: u32,
    noise: f32,
}

#[derive(Clone)]
struct End {
    room: Rc<RefCell<Room>>,
    blocks: u32,
    start: Instant,
}

impl End {
    fn next(&self) -> Instant {
        self.start + BLOCK_TIME * (self.blocks + 1)
    }
}

impl Microphone for End {
    fn start(&mut self, now: Instant) {
        self.start = now;
    }

    fn read(&mut self, now: Instant, block: &mut Block) -> MicRead {
        if now < self.next() {
            return MicRead::NotYet;
        }
        self.blocks += 1;
        let room = &mut *self.room.borrow_mut();
        for sample in block {
            room.seed = room.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (room.seed >> 8) as f32 / (1 << 23) as f32 - 1.0;
            let said = room.voice.get(room.heard).copied().unwrap_or(0.0);
            room.heard += 1;
            *sample = said + room.noise * noise - room.gain * room.in_the_air.pop_front().unwrap_or(0.0);
        }
        MicRead::Block
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        Some(self.next())
    }

    fn started(&self) -> Option<Instant> {
        None
    }

    fn take_trouble(&mut self) -> Option<String> {
        None
    }
}

impl Speaker for End {
    fn start(&mut self, now: Instant) {
        self.start = now;
    }

    fn ready(&mut self, now: Instant) -> usize {
        usize::from(now >= self.start + BLOCK_TIME * self.blocks)
    }

    fn write(&mut self, block: &Block) {
        self.blocks += 1;
        self.room.borrow_mut().in_the_air.extend(block);
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        Some(self.start + BLOCK_TIME * self.blocks)
    }

    fn started(&self) -> Option<Instant> {
        None
    }

    fn take_trouble(&mut self) -> Option<String> {
        None
    }
}

fn run(mut check: SoundCheck) -> (SoundCheck, Duration) {
    let start = Instant::from_micros(5_000_000);
    check.start(start);
    let mut now = start;
    while check.phase() != Phase::Done {
        now = check.turn(now);
        assert!(now.since(start) < Duration::from_secs(20), "it does not end");
    }
    (check, now.since(start))
}

/// A microphone that hears the speaker so many milliseconds later.
fn ends(delay_ms: usize, gain: f32, voice: Vec<f32>, noise: f32) -> (Box<End>, Box<End>) {
    let in_the_air = vec![0.0; delay_ms * 48].into();
    let room = Rc::new(RefCell::new(Room { in_the_air, gain, voice, heard: 0, seed: 1, noise }));
    let end = End { room, blocks: 0, start: Instant::ZERO };
    (Box::new(end.clone()), Box::new(end))
}

#[test]
fn the_way_from_the_speaker_to_the_microphone_is_measured_in_noise_too() {
    for (delay_ms, gain, noise) in [(0, 1.0, 0.0), (37, 0.1, 0.0), (123, 0.05, 0.01), (550, 0.3, 0.0)] {
        let (mic, speaker) = ends(delay_ms, gain, voice(1, 3), noise);
        let (check, _) = run(SoundCheck::new(mic, speaker));
        let found_ms = check.round_trip().map(|delay| delay.as_secs_f64() * 1000.0);
        let off_ms = found_ms.map(|found| (found - delay_ms as f64).abs());
        assert!(off_ms.is_some_and(|off| off < 0.2), "{delay_ms} ms at {gain}: {found_ms:?}");
    }
}

#[test]
fn what_was_not_heard_is_not_found() {
    for noise in [0.0, 0.1] {
        let (mic, speaker) = ends(50, 0.0, voice(1, 12), noise);
        let (check, took) = run(SoundCheck::new(mic, speaker));
        assert_eq!(check.round_trip(), None, "noise {noise}");
        assert!(took < Duration::from_secs(10));
    }
}

#[test]
fn the_recording_is_played_and_its_levels_are_those_of_the_voice() {
    let said = voice(1, 3);
    let (mic, speaker) = ends(0, 0.0, said.clone(), 0.0);
    let room = Rc::clone(&speaker.room);
    // Nobody takes it from the air.
    room.borrow_mut().gain = 0.0;
    let (check, _) = run(SoundCheck::new(mic, speaker));
    assert_eq!(check.recorded, said);
    let levels = check.levels();
    assert!((levels.peak - 0.6).abs() < 0.01 && (0.1..0.3).contains(&levels.rms), "{levels:?}");
    assert_eq!((levels.clipped, levels.length), (0, Duration::from_secs(3)));
}

#[test]
fn without_a_speaker_there_are_levels_all_the_same() {
    let (mic, _) = ends(0, 0.0, vec![1.0; 48_000 * 4], 0.0);
    let (check, took) = run(SoundCheck::new(mic, Box::new(NullSpeaker)));
    assert!(took < Duration::from_millis(3_100), "{took:?}");
    assert_eq!((check.levels().clipped, check.round_trip()), (144_000, None));
}

#[test]
fn a_file_that_ends_early_is_played_for_as_long_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (said, heard) = (folder.path().join("said.wav"), folder.path().join("heard.wav"));
    let mut sink = crate::wav::WavSink::create(&said).unwrap();
    (0..50).for_each(|_| sink.write(&[0.25; BLOCK]));
    drop(sink);
    let mic = Box::new(crate::wav_io::WavMicrophone::open(&said).unwrap());
    let speaker = Box::new(crate::wav_io::WavSpeaker::create(&heard).unwrap());
    let (check, _) = run(SoundCheck::new(mic, speaker));
    assert_eq!((check.levels().length, check.round_trip()), (Duration::from_millis(500), None));
    drop(check);
    let mut source = crate::wav::WavSource::open(&heard).unwrap();
    let (mut played, mut block) = (0, SILENCE);
    while source.read(&mut block) {
        played += usize::from((block[0] - 0.25).abs() < 0.01 && (block[BLOCK - 1] - 0.25).abs() < 0.01);
    }
    assert_eq!(played, 50);
}
