//! Both ends of a ring under a virtual clock: the card's callbacks at the card's pace, the sound thread's turns at the
//! system's.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::mpsc::{Receiver, SyncSender},
};

use rtrb::{Consumer, Producer, RingBuffer};

use super::{
    Direction, POLL,
    keeper::{Kept, News, Open, Told},
    link::{Link, Metered},
    microphone::{Capture, DeviceMicrophone},
    speaker::{DeviceSpeaker, Playback},
    stream::{self, Meter},
};
use crate::{
    BLOCK, BLOCK_US, Block, Instant, SAMPLE_RATE_HZ, SILENCE,
    io::{MicRead, Microphone as _, Speaker as _},
    limits::DEVICE_RING_MS,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // After the thread's end there is nobody to count for.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const START_US: u64 = 60_000_000;

/// A card of some rate that is off by some ppm, its callback every 10 ms by its own clock.
struct Card<C> {
    callback: C,
    period: usize,
    rate_hz: f64,
    /// Callbacks since the rig's start, by the system's clock in µs.
    next_us: f64,
}

impl<C: FnMut(usize)> Card<C> {
    fn new(rate_hz: u32, ppm: f64, callback: C) -> Self {
        let rate = f64::from(rate_hz) * (1.0 + ppm / 1e6);
        Self { callback, period: rate_hz as usize / 100, rate_hz: rate, next_us: 0.0 }
    }

    fn run(&mut self, until_us: u64) {
        while self.next_us <= until_us as f64 {
            (self.callback)(self.period);
            self.next_us += self.period as f64 * 1e6 / self.rate_hz;
        }
    }
}

/// A capture callback that hears 0.5 all the time, in stereo.
fn hearing(ring: Producer<f32>, meter: &Meter) -> impl FnMut(usize) + use<> {
    let mut hear = stream::hear::<f32>(2, ring, meter);
    let sound = vec![0.5; 2 * 4_800];
    move |samples| hear(&sound[..2 * samples])
}

fn playing(ring: Consumer<stream::Ears>, meter: &Meter) -> impl FnMut(usize) + use<> {
    let mut play = stream::play::<f32>(2, ring, meter);
    let mut sound = vec![0.0; 2 * 4_800];
    move |samples| play(&mut sound[..2 * samples])
}

fn ring<T>(rate_hz: u32) -> (Producer<T>, Consumer<T>) {
    RingBuffer::new((rate_hz / 1000 * DEVICE_RING_MS) as usize)
}

/// What a test says for a keeper.
struct Hand<F> {
    news: SyncSender<News<F>>,
    remarks: Receiver<Told>,
}

impl<F: Metered> Hand<F> {
    fn link(direction: Direction) -> (Self, Link<F>) {
        let (kept, news, remarks) = Kept::by_hand();
        (Self { news, remarks }, Link::new(direction, kept))
    }

    fn open(&self, link: &Link<F>, flow: F, name: &str) {
        let open = Open { flow, name: name.to_owned(), id: name.to_lowercase(), bell: link.bell(1) };
        assert!(self.news.try_send(News::Open(open)).is_ok());
    }

    fn gone(&self) {
        assert!(self.news.try_send(News::Gone("unplugged".to_owned())).is_ok());
    }
}

/// Turns at the pace of the sound thread.
struct Turns {
    now_us: u64,
}

impl Turns {
    fn now(&self) -> Instant {
        Instant::from_micros(START_US + self.now_us)
    }

    fn run(&mut self, ms: u64, mut turn: impl FnMut(u64, Instant)) {
        let end_us = self.now_us + ms * 1000;
        while self.now_us < end_us {
            self.now_us += POLL.as_micros() as u64;
            turn(self.now_us, self.now());
        }
    }
}

type AnyCard = Card<Box<dyn FnMut(usize)>>;

/// A microphone with a card behind it, which a test can stop.
struct MicRig {
    hand: Hand<Capture>,
    mic: DeviceMicrophone,
    card: Option<AnyCard>,
    turns: Turns,
    blocks: u64,
    silent: u64,
    lines: Vec<String>,
}

impl MicRig {
    fn new(rate_hz: u32, ppm: f64) -> Self {
        let (hand, link) = Hand::link(Direction::Input);
        let mic = DeviceMicrophone::new(link);
        let turns = Turns { now_us: 0 };
        let mut rig = Self { hand, mic, card: None, turns, blocks: 0, silent: 0, lines: vec![] };
        rig.plug_in(rate_hz, ppm, "it");
        rig.mic.start(rig.turns.now());
        rig
    }

    fn plug_in(&mut self, rate_hz: u32, ppm: f64, name: &str) {
        let ((producer, consumer), meter) = (ring(rate_hz), Meter::new(rate_hz));
        let mut card = Card::new(rate_hz, ppm, Box::new(hearing(producer, &meter)) as Box<dyn FnMut(usize)>);
        card.next_us = self.turns.now_us as f64 + 10_000.0;
        self.card = Some(card);
        self.hand.open(self.mic.link(), Capture::new(consumer, meter, rate_hz).unwrap(), name);
    }

    fn run(&mut self, ms: u64) {
        let Self { mic, card, turns, blocks, silent, lines, .. } = self;
        turns.run(ms, |now_us, now| {
            card.iter_mut().for_each(|card| card.run(now_us));
            let mut block = SILENCE;
            while mic.read(now, &mut block) == MicRead::Block {
                *blocks += 1;
                *silent += u64::from(block == SILENCE);
            }
            lines.extend(mic.take_trouble());
        });
    }
}

/// A speaker, likewise.
struct SpeakerRig {
    hand: Hand<Playback>,
    speaker: DeviceSpeaker,
    card: Option<AnyCard>,
    turns: Turns,
    blocks: u64,
    most_waiting: usize,
    lines: Vec<String>,
}

impl SpeakerRig {
    fn new(rate_hz: u32, ppm: f64) -> Self {
        let (hand, link) = Hand::link(Direction::Output);
        let speaker = DeviceSpeaker::new(link);
        let turns = Turns { now_us: 0 };
        let mut rig = Self { hand, speaker, card: None, turns, blocks: 0, most_waiting: 0, lines: vec![] };
        rig.plug_in(rate_hz, ppm, "it");
        rig.speaker.start(rig.turns.now());
        rig
    }

    fn plug_in(&mut self, rate_hz: u32, ppm: f64, name: &str) {
        let ((producer, consumer), meter) = (ring(rate_hz), Meter::new(rate_hz));
        let mut card = Card::new(rate_hz, ppm, Box::new(playing(consumer, &meter)) as Box<dyn FnMut(usize)>);
        card.next_us = self.turns.now_us as f64 + 10_000.0;
        self.card = Some(card);
        self.hand.open(self.speaker.link(), Playback::new(producer, meter, rate_hz).unwrap(), name);
    }

    fn run(&mut self, ms: u64) {
        let Self { speaker, card, turns, blocks, most_waiting, lines, .. } = self;
        turns.run(ms, |now_us, now| {
            card.iter_mut().for_each(|card| card.run(now_us));
            for _ in 0..speaker.ready(now) {
                *blocks += 1;
                let block: Block = [0.5; BLOCK];
                speaker.write(&block);
            }
            *most_waiting = (*most_waiting).max(speaker.waiting());
            lines.extend(speaker.take_trouble());
        });
    }
}

/// Far more than cards are off by: in a minute, three rings full.
const DRIFTS_PPM: [f64; 2] = [10_000.0, -10_000.0];
const MINUTE_MS: u64 = 60_000;

#[test]
fn a_microphone_of_another_pace_neither_loses_nor_gathers_sound() {
    for (ppm, rate_hz) in DRIFTS_PPM.into_iter().zip([48_000, 16_000]) {
        let mut rig = MicRig::new(rate_hz, ppm);
        rig.run(MINUTE_MS);
        let captured = (MINUTE_MS * 1000) as f64 * (1.0 + ppm / 1e6) / BLOCK_US as f64;
        assert!((rig.blocks as f64 - captured).abs() < 5.0, "{ppm} ppm: {} of {captured}", rig.blocks);
        let stats = rig.mic.stats();
        assert_eq!((stats.overflowed, stats.made_up, stats.opened, rig.silent), (0, 0, 1, 0), "{ppm} ppm");
    }
}

#[test]
fn a_speaker_of_another_pace_neither_breaks_off_nor_gathers_delay() {
    for (ppm, rate_hz) in DRIFTS_PPM.into_iter().zip([48_000, 44_100]) {
        let mut rig = SpeakerRig::new(rate_hz, ppm);
        rig.run(MINUTE_MS);
        let played = (MINUTE_MS * 1000) as f64 * (1.0 + ppm / 1e6) / BLOCK_US as f64;
        assert!((rig.blocks as f64 - played).abs() < 8.0, "{ppm} ppm: {} of {played}", rig.blocks);
        let stats = rig.speaker.stats();
        assert_eq!((stats.overflowed, stats.made_up, stats.opened), (0, 0, 1), "{ppm} ppm");
        assert!(stats.gaps <= 2, "{ppm} ppm: {stats:?}");
        assert!(rig.most_waiting <= 6 * rate_hz as usize / 100, "{ppm} ppm: {}", rig.most_waiting);
    }
}

#[test]
fn a_microphone_that_is_gone_is_silence_of_the_same_length_and_two_lines() {
    let mut rig = MicRig::new(48_000, 0.0);
    rig.run(5_000);
    rig.card = None;
    rig.hand.gone();
    rig.run(20_000);
    assert_eq!(rig.lines, ["the microphone \"it\" is gone (unplugged); trying again"]);
    // A keeper that finds it unusable again before it gave anything says no more than that.
    rig.plug_in(44_100, 0.0, "it");
    rig.card = None;
    rig.hand.gone();
    rig.run(1_000);
    rig.plug_in(44_100, 0.0, "it");
    rig.run(5_000);
    assert_eq!(rig.lines[1..], ["the microphone is back: \"it\""]);
    assert!(rig.blocks.abs_diff(3_100) <= 6, "{} blocks in 31 s", rig.blocks);
    assert!(rig.silent.abs_diff(2_100) <= 6, "{} of them silent", rig.silent);
    let stats = rig.mic.stats();
    assert_eq!((stats.made_up, stats.opened), (rig.silent, 3));
}

#[test]
fn a_speaker_that_is_gone_takes_as_much_as_before() {
    let mut rig = SpeakerRig::new(48_000, 0.0);
    rig.run(5_000);
    assert_eq!(rig.speaker.device(), Some("it"));
    rig.card = None;
    rig.hand.gone();
    rig.run(20_000);
    assert_eq!(rig.speaker.device(), None);
    rig.plug_in(48_000, 0.0, "it");
    rig.run(5_000);
    assert!(rig.blocks.abs_diff(3_000) <= 8, "{} blocks in 30 s", rig.blocks);
    let stats = rig.speaker.stats();
    assert!(stats.made_up.abs_diff(2_000) <= 4 && stats.opened == 2, "{stats:?}");
    assert_eq!(rig.lines.len(), 2, "{:?}", rig.lines);
}

#[test]
fn another_default_device_is_told_and_is_no_break() {
    let mut rig = SpeakerRig::new(48_000, 0.0);
    rig.run(1_000);
    rig.plug_in(44_100, 0.0, "other");
    rig.run(1_000);
    assert_eq!(rig.lines, ["the speaker is \"other\" now"]);
    assert_eq!(rig.speaker.device(), Some("other"));
    assert_eq!(rig.speaker.stats().made_up, 0);
}

#[test]
fn a_device_that_gives_no_sign_of_life_counts_as_gone() {
    let (mut mic, mut speaker) = (MicRig::new(48_000, 0.0), SpeakerRig::new(48_000, 0.0));
    mic.run(1_000);
    speaker.run(1_000);
    let (mic_card, speaker_card) = (mic.card.take(), speaker.card.take());
    mic.run(2_000);
    speaker.run(2_000);
    assert!(mic.silent.abs_diff(200) < 4, "silence fills in: {}", mic.silent);
    assert!(speaker.blocks.abs_diff(300) < 60, "rendering goes on: {}", speaker.blocks);
    assert!(mic.lines.is_empty() && mic.hand.remarks.try_recv().is_err());
    // It only stood still: what waited in it is old, the rest is heard.
    mic.card = mic_card;
    speaker.card = speaker_card;
    let (before, silent) = (mic.blocks, mic.silent);
    mic.card.iter_mut().for_each(|card| card.next_us = 3e6);
    mic.run(1_000);
    assert!(mic.blocks.abs_diff(before + 100) < 4 && mic.silent - silent < 4, "{}", mic.blocks - before);
    mic.card = None;
    mic.run(5_000);
    assert!(matches!(mic.hand.remarks.try_recv(), Ok(Told::Failed(1, _))));
    assert_eq!(mic.lines.len(), 1, "{:?}", mic.lines);
    assert!(mic.lines[0].contains("no sign of life"));
}

#[test]
fn a_sound_thread_that_stood_still_loses_sound_but_not_its_place_in_time() {
    let mut rig = MicRig::new(48_000, 0.0);
    rig.run(1_000);
    // A second in which the card goes on and nobody takes anything.
    rig.turns.now_us += 1_000_000;
    rig.run(1_000);
    assert!(rig.blocks.abs_diff(300) <= 3, "{} blocks in 3 s", rig.blocks);
    assert!(rig.silent.abs_diff(80) <= 3, "{} of them silent: all but a ring's content", rig.silent);
    let lost_ms = rig.mic.stats().overflowed / u64::from(SAMPLE_RATE_HZ / 1000);
    assert!(lost_ms.abs_diff(800) <= 20, "{lost_ms} ms lost");
}

#[test]
fn sound_under_way_asks_for_no_memory() {
    for rate_hz in [48_000, 44_100, 16_000] {
        let (mut mic, mut speaker) = (MicRig::new(rate_hz, 300.0), SpeakerRig::new(rate_hz, -300.0));
        mic.run(2_000);
        speaker.run(2_000);
        let before = ALLOCATIONS.get();
        assert!(before > 0, "the counter counts");
        mic.run(2_000);
        speaker.run(2_000);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{rate_hz} Hz");
    }
}
