//! The adapter on paths of many kinds: datagrams of the right size at the right time, a bottleneck with a queue, loss by
//! Gilbert's model, and a listener that reports as a jitter buffer does.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

mod common;

use chinwag_audio::{
    Instant,
    adapt::{Adapter, CEILING_BPS, FLOOR_BPS, Sending},
    codec::{EncoderConfig, FrameLength},
    limits::MAX_REACH_FRAMES,
    report::ReceiverReport,
};
use common::{Network, Path, at};
use proptest::prelude::*;

/// A narrow place: bits a second, and the longest queue in milliseconds; what finds it full is lost.
#[derive(Clone, Copy, Debug)]
struct Bottleneck {
    bps: u32,
    queue_ms: f64,
}

#[derive(Clone, Debug)]
struct World {
    frame: FrameLength,
    network: Network,
    narrow: Option<Bottleneck>,
    /// The narrow place is there for these seconds.
    narrow_s: std::ops::Range<u64>,
    /// A longer way for these seconds, by milliseconds.
    detour: (std::ops::Range<u64>, f64),
}

impl World {
    fn new(frame: FrameLength) -> Self {
        Self { frame, network: Network::default(), narrow: None, narrow_s: 0..u64::MAX, detour: (0..0, 0.0) }
    }

    fn losing(mut self, loss_percent: f64, burst: f64, seed: u64) -> Self {
        self.network = Network { seed, loss_percent, burst, ..Network::default() };
        self
    }

    fn narrow(mut self, bps: u32, queue_ms: f64) -> Self {
        self.narrow = Some(Bottleneck { bps, queue_ms });
        self
    }
}

fn untroubled(frame: FrameLength) -> Sending {
    Sending::untroubled(&EncoderConfig { frame, ..EncoderConfig::default() })
}

/// What was sent in one second, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    sending: Option<Sending>,
    wire_bps: f64,
    loss: f64,
    unrecovered: f64,
    queue_ms: f64,
}

const REPORT_US: u64 = 500_000;
const FIRST_REPORT_US: u64 = 200_000;
const WAY_US: u64 = 50_000;

/// Talks for `seconds` and gives what each second was like.
fn talk(world: &World, seconds: u64) -> Vec<Second> {
    let mut adapter = Adapter::new(untroubled(world.frame));
    let mut path = Path::new(&world.network);
    let mut listener = Listener::default();
    let (mut busy_until, mut reports) = (0.0_f64, Vec::<(u64, ReceiverReport)>::new());
    let (mut now, mut log) = (0_u64, vec![Second::default(); seconds as usize]);
    let mut bits = 0.0;
    let mut from = (0, 0);
    while now < seconds * 1_000_000 {
        while let Some(&(_, report)) = reports.first().filter(|(due, _)| *due <= now) {
            adapter.report(at(now), report);
            reports.remove(0);
        }
        adapter.update(at(now), true);
        let sending = adapter.sending();
        let size = f64::from(sending.wire_bps()) * f64::from(sending.frame.ms()) / 1000.0;
        bits += size;
        let detour = if world.detour.0.contains(&(now / 1_000_000)) { world.detour.1 } else { 0.0 };
        let mut queue_ms = 0.0;
        let mut is_lost = path.arrivals(now).count() == 0;
        if let Some(narrow) = world.narrow.filter(|_| world.narrow_s.contains(&(now / 1_000_000))) {
            queue_ms = (busy_until - now as f64).max(0.0) / 1000.0;
            let own_ms = size / f64::from(narrow.bps) * 1000.0;
            if queue_ms + own_ms > narrow.queue_ms.max(2.0 * own_ms) {
                is_lost = true;
            } else {
                busy_until = busy_until.max(now as f64) + own_ms * 1000.0;
            }
        }
        listener.hear(is_lost, queue_ms + detour, &sending);
        if let Some(report) = listener.report(now, sending.frame.ms()) {
            reports.push((now + WAY_US, report));
        }
        let second = &mut log[(now / 1_000_000) as usize];
        now += u64::from(sending.frame.ms()) * 1000;
        if now / 1_000_000 > from.0 {
            let (lost, all) = (listener.lost - from.1, listener.heard.max(1));
            *second = Second {
                sending: Some(sending),
                wire_bps: bits,
                loss: lost as f64 / all as f64,
                unrecovered: listener.unrecovered as f64 / all as f64,
                queue_ms,
            };
            from = (now / 1_000_000, 0);
            (listener.lost, listener.heard, listener.unrecovered, bits) = (0, 0, 0, 0.0);
        }
    }
    log
}

/// One who reports.
#[derive(Default)]
struct Listener {
    /// Of this second.
    heard: u64,
    lost: u64,
    unrecovered: u64,
    /// Whether each of the last frames was lost, the newest last.
    past: std::collections::VecDeque<bool>,
    /// Of this report.
    window: [u32; 4],
    queue_ms: f64,
    last: u64,
    due: Option<u64>,
    had_news: bool,
}

impl Listener {
    fn hear(&mut self, is_lost: bool, queue_ms: f64, sending: &Sending) {
        let [all, lost, unrecovered, runs] = &mut self.window;
        *all += 1;
        *lost += u32::from(is_lost);
        *runs += u32::from(is_lost && self.past.back() != Some(&true));
        if !is_lost {
            self.queue_ms = if *all - *lost == 1 { queue_ms } else { self.queue_ms.min(queue_ms) };
        }
        self.heard += 1;
        self.lost += u64::from(is_lost);
        self.past.push_back(is_lost);
        if self.past.len() > 2 * MAX_REACH_FRAMES {
            self.past.pop_front();
        }
        // The oldest frame that could still be recovered: was it?
        let len = self.past.len();
        if len > MAX_REACH_FRAMES && self.past[len - 1 - MAX_REACH_FRAMES] {
            let came = |offset: u8| !self.past[len - 1 - MAX_REACH_FRAMES + usize::from(offset)];
            let by_copy = sending.offsets.iter().any(|&offset| offset > 0 && came(offset));
            let by_fec = sending.expected_loss_percent > 0 && sending.bitrate_bps >= 34_000 && came(1);
            let is_gone = !by_copy && !by_fec;
            *unrecovered += u32::from(is_gone);
            self.unrecovered += u64::from(is_gone);
        }
    }

    fn report(&mut self, now: u64, frame_ms: u32) -> Option<ReceiverReport> {
        let [all, lost, unrecovered, runs] = self.window;
        if lost > 0 && !self.had_news {
            self.due = Some(self.due.unwrap_or(now + FIRST_REPORT_US));
        }
        let is_due = now >= self.last + REPORT_US || self.due.is_some_and(|due| due <= now);
        if !is_due || all < 5 {
            return None;
        }
        self.last = now;
        self.due = None;
        self.window = [0; 4];
        let queue_ms = self.queue_ms as u16;
        let has_news = lost > 0 || queue_ms > 10;
        let is_told = has_news || std::mem::replace(&mut self.had_news, has_news);
        self.had_news = has_news;
        is_told.then_some(ReceiverReport {
            lost_per_mille: (lost * 1000 / all) as u16,
            unrecovered_per_mille: (unrecovered * 1000 / all) as u16,
            burst_ms: (lost * frame_ms).checked_div(runs).unwrap_or(0) as u16,
            queue_ms,
        })
    }
}

fn mean(log: &[Second], of: impl Fn(&Second) -> f64) -> f64 {
    log.iter().map(of).sum::<f64>() / log.len() as f64
}

const FRAMES: [FrameLength; 2] = [FrameLength::Ms10, FrameLength::Ms20];
/// Conversations long enough for raises to be tried again and again.
const SECONDS: u64 = 180;

#[test]
fn without_trouble_nothing_changes() {
    for frame in FRAMES {
        let log = talk(&World::new(frame), SECONDS);
        assert!(log.iter().all(|s| s.sending == Some(untroubled(frame))), "{frame:?}");
    }
}

#[test]
fn loss_is_answered_with_copies_that_stay_while_it_lasts_and_go_when_it_is_over() {
    for (frame, seed) in FRAMES.into_iter().flat_map(|frame| (1..6).map(move |seed| (frame, seed))) {
        for (loss, burst, within_s, unrecovered, farthest) in
            [(5.0, 1.0, 4, 0.008, 2), (10.0, 3.0, 3, 0.025, 6), (30.0, 1.0, 20, 0.1, 1)]
        {
            let case = format!("{frame:?} {loss} % in bursts of {burst}, seed {seed}");
            let log = talk(&World::new(frame).losing(loss, burst, seed), SECONDS);
            let later = &log[within_s..];
            let with_copies = mean(later, |s| f64::from(u8::from(s.sending.unwrap().copies() > 0)));
            assert!(with_copies >= if loss < 20.0 { 0.95 } else { 0.7 }, "{case}: {with_copies}");
            let gone = mean(later, |s| s.unrecovered);
            assert!(gone < unrecovered, "{case}: {gone}");
            let reach = later.iter().flat_map(|s| s.sending.unwrap().offsets).max().unwrap();
            assert!(reach >= farthest || loss < 10.0, "{case}: {reach}");
        }
    }
}

#[test]
fn a_narrow_path_is_not_filled_beyond_what_it_carries() {
    for (frame, bps) in FRAMES.into_iter().flat_map(|f| [32_000, 64_000, 90_000].map(|bps| (f, bps))) {
        for (queue_ms, loss) in [(0.0, 0.0), (100.0, 0.0), (500.0, 0.0), (200.0, 5.0)] {
            let case = format!("{frame:?} {bps} b/s, queue {queue_ms} ms, {loss} % besides");
            let world = World::new(frame).losing(loss, 1.0, 1).narrow(bps, queue_ms);
            let log = talk(&world, SECONDS);
            // Within ten seconds, and from then on but for short trials.
            let later = &log[10..];
            let (wire, lost) = (mean(later, |s| s.wire_bps), mean(later, |s| s.loss) - loss / 100.0);
            assert!(wire < f64::from(bps), "{case}: {wire}");
            let wanted = untroubled(frame).wire_bps().min(bps);
            assert!(wire > 0.7 * f64::from(wanted), "{case}: {wire}");
            assert!(lost < 0.03, "{case}: {lost}");
            let queue = mean(later, |s| s.queue_ms);
            assert!(queue < 40.0, "{case}: {queue}");
            let above = mean(later, |s| f64::from(u8::from(s.wire_bps > f64::from(bps) * 1.02)));
            assert!(above < 0.15, "{case}: above what it carries for {above} of the time");
        }
    }
}

#[test]
fn congestion_that_passes_is_forgotten_in_a_minute() {
    for frame in FRAMES {
        let mut world = World::new(frame).narrow(50_000, 200.0);
        world.narrow_s = 20..40;
        let log = talk(&world, 120);
        let usual = Some(untroubled(frame));
        assert_eq!(log[19].sending, usual);
        assert!(log[24..39].iter().all(|s| s.wire_bps < 55_000.0), "{frame:?}: {:?}", &log[20..40]);
        assert!(log[100..].iter().all(|s| s.sending == usual), "{frame:?}: {:?}", &log[60..]);
    }
}

#[test]
fn a_longer_way_is_no_congestion() {
    for frame in FRAMES {
        let mut world = World::new(frame);
        world.detour = (20..60, 100.0);
        let log = talk(&world, 80);
        let usual = Some(untroubled(frame));
        let doubtful = log.iter().filter(|s| s.sending != usual).count();
        assert!(doubtful <= 4, "{frame:?}: {doubtful} s");
    }
}

const LOSSY: ReceiverReport =
    ReceiverReport { lost_per_mille: 60, unrecovered_per_mille: 30, burst_ms: 20, queue_ms: 0 };

#[test]
fn the_first_report_of_what_was_heard_acts_at_once_and_a_pause_in_talk_forgets_nothing() {
    let mut adapter = Adapter::new(untroubled(FrameLength::Ms20));
    adapter.update(at(0), true);
    adapter.report(at(200_000), LOSSY);
    let copied = adapter.sending();
    assert_eq!((copied.copies(), copied.expected_loss_percent), (1, 0));
    // Listeners have nothing to tell of silence.
    let mut now = 200_000;
    while now < 60_000_000 {
        now += 10_000;
        adapter.update(at(now), false);
    }
    assert_eq!(adapter.sending(), copied);
    // All is well in what is said from then on: copies go, but not at once.
    let mut gone = None;
    let resumed = now;
    while gone.is_none() && now < resumed + 60_000_000 {
        now += 10_000;
        adapter.update(at(now), true);
        gone = (adapter.sending() != copied).then_some(now - resumed);
    }
    assert!((19_000_000..26_000_000).contains(&gone.unwrap()), "{gone:?}");
    assert_eq!(adapter.sending(), untroubled(FrameLength::Ms20));
}

#[test]
fn a_liar_moves_the_rate_between_its_bounds_and_no_further() {
    let congested = ReceiverReport { queue_ms: u16::MAX, ..LOSSY };
    let mut adapter = Adapter::new(untroubled(FrameLength::Ms10));
    for second in 0..60 {
        let queue_ms = second as u16 * 1000;
        adapter.report(at(second * 1_000_000), ReceiverReport { queue_ms, ..congested });
    }
    assert_eq!(adapter.sending().wire_bps(), FLOOR_BPS);
    let mut adapter = Adapter::new(untroubled(FrameLength::Ms10));
    for half in 0..60 {
        adapter.report(at(half * 500_000), ReceiverReport { burst_ms: 60_000, ..LOSSY });
    }
    assert!((CEILING_BPS - 10_000..=CEILING_BPS).contains(&adapter.sending().wire_bps()));
}

proptest! {
    #[test]
    fn whatever_is_reported_what_is_sent_is_within_bounds(
        steps in prop::collection::vec(
            (0_u64..3_000_000, any::<bool>(), prop::option::of(prop_oneof![
                any::<[u16; 4]>(),
                [0_u16..300, 0_u16..100, 0_u16..200, 0_u16..300],
            ])),
            1..300,
        ),
        frame in prop::sample::select(&FRAMES),
    ) {
        let mut adapter = Adapter::new(untroubled(frame));
        let mut now = 0;
        for (passed, talking, report) in steps {
            now += passed;
            adapter.update(at(now), talking);
            if let Some([lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms]) = report {
                let report =
                    ReceiverReport { lost_per_mille, unrecovered_per_mille, burst_ms, queue_ms };
                // Now and then from the past: a clock that stands still.
                adapter.report(if lost_per_mille % 7 == 0 { Instant::ZERO } else { at(now) }, report);
            }
            let sending = adapter.sending();
            let wire = sending.wire_bps();
            prop_assert!((FLOOR_BPS..=CEILING_BPS).contains(&wire), "{sending:?}: {wire}");
            prop_assert!((16_000..=EncoderConfig::default().bitrate_bps).contains(&sending.bitrate_bps), "{sending:?}");
            let offsets: Vec<u8> = sending.offsets.into_iter().take_while(|&offset| offset > 0).collect();
            prop_assert!(offsets.is_sorted_by(|a, b| a < b), "{sending:?}");
            prop_assert!(offsets.iter().all(|&offset| usize::from(offset) <= MAX_REACH_FRAMES), "{sending:?}");
            prop_assert_eq!(offsets.len() as u32, sending.copies());
        }
    }
}
