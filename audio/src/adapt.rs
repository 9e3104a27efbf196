//! How a talker sends, by what listeners report: bitrate, in-band FEC, frame length, and copies of older frames.
//!
//! Two questions are kept apart. *What would help?* Loss wants copies, near ones against single losses, farther ones
//! against bursts (RFC 2198's idea; see [`crate::redundancy`]); without loss the default is best. *What gets through?* All
//! that goes over the wire, headers included, stays below a ceiling. A queue that grows lowers it to what the growth says
//! that the path carries; so does loss that a queue, or its sheer amount, makes suspicious.
//!
//! Whether loss is the path's nature or our own doing can't be seen, but it can be tried: a path that is too narrow loses
//! in proportion to what is sent. So every raise (copies are one) and every cut is a trial. A raise after which loss grew
//! by at least half of what a bottleneck would have made of it is taken back, and the next one waits twice as long as the one before
//! (10 s, 20 s, ...): the talker never makes congestion worse for longer than a trial. A cut after which neither
//! loss nor queue fell was in vain and is taken back. Copies come at once and go slowly.
//!
//! A listener may lie. What it can gain is bounded: at worst the talker sends at [`FLOOR_BPS`], or at [`CEILING_BPS`].
//!
//! It has no clock and does nothing by itself: [`Adapter::report`] and [`Adapter::update`] are given the time.

use crate::codec::{EncoderConfig, FrameLength};
use crate::limits::MAX_COPIES;
use crate::report::ReceiverReport;
use crate::{Duration, Instant};

/// The most that goes over the wire, in bits a second: what the farthest copies at 10 ms take.
pub const CEILING_BPS: u32 = 270_000;
/// The least: 16 kb/s in frames of 60 ms.
pub const FLOOR_BPS: u32 = 25_200;

/// Bytes of a datagram beside its frames: IPv4 20, UDP 8, header 13, tag 16.
const DATAGRAM_BYTES: u32 = 57;
/// Bytes of a frame beside its Opus packet.
const FRAME_BYTES: u32 = 12;

/// With copies, the bitrate in percent: as good without FEC as 100 % are with it (see [`EncoderConfig`]).
const COPIED_PERCENT: u32 = 80;
/// With less than this for each copy there are none.
const LEAST_COPIED_BPS: u32 = 20_000;
/// Frames get longer before the bitrate falls below this, and at the end below [`LEAST_BPS`].
const LEAST_COMFORT_BPS: u32 = 24_000;
/// The lowest bitrate.
const LEAST_BPS: u32 = 16_000;

/// Loss from which copies are worth their bits, per mille; and of one report, what FEC did not recover and was heard.
const LOSS: f32 = 20.0;
const UNRECOVERED: f32 = 10.0;
/// Loss from which two near copies are wanted.
const MUCH_LOSS: f32 = 80.0;
/// Loss that is taken for congestion until a cut was in vain.
const SUSPICIOUS_LOSS: f32 = 250.0;
/// One pair of lost frames is no burst: the mean is taken together with two single losses, in thousandths of half a second for
/// each millisecond.
const PRIOR_RUNS: f32 = 2.0 * 1000.0 / 500.0;
/// Runs of loss that are longer than this, in frames, are bursts.
const BURST_FRAMES: f32 = 1.5;
/// Copies against bursts: the second one is so many milliseconds back, the first at most half of it. A listener waits for
/// them, so that this is delay.
const REACH_MS: u32 = 60;

/// A queue that grew by this much, in milliseconds, is a queue.
const QUEUE_MS: u16 = 40;
/// It grows by at least this much from report to report.
const GROWING_MS: u16 = 8;
/// What a cut leaves of what the path seems to carry, and how much more a raise tries.
const MARGIN: f32 = 0.9;
const RAISE: f32 = 1.1;

/// Loss is remembered for about this long.
const MEMORY: Duration = Duration::from_secs(4);
/// What is not needed any more is given up after this.
const RELEASE: Duration = Duration::from_secs(20);
/// Reports that arrive sooner after a change speak of the time before it.
const SETTLE: Duration = Duration::from_millis(700);
/// How long a change is tried.
const TRIAL: Duration = Duration::from_millis(2500);
/// The first pause after a raise that failed, and the longest.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(160);
/// After the first cut in vain, loss is not held to be congestion for so long; then twice as long, and so on.
const INNOCENCE: Duration = Duration::from_secs(30);
/// Whoever has nothing to report is silent: that is taken for a report of no loss after this, and as often.
const SILENCE: Duration = Duration::from_millis(1500);

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Opus's bitrate.
    pub bitrate_bps: u32,
    /// What in-band FEC is to cover; 0 is no FEC.
    pub expected_loss_percent: u8,
    /// Length of a frame.
    pub frame: FrameLength,
    /// Copies of older frames: distances back in frames, growing; 0 is none.
    pub offsets: [u8; MAX_COPIES],
}

impl Sending {
    /// As configured, for a path without trouble.
    pub fn untroubled(config: &EncoderConfig) -> Self {
        let EncoderConfig { bitrate_bps, expected_loss_percent, frame, .. } = *config;
        Self { bitrate_bps, expected_loss_percent, frame, offsets: NO_COPIES }
    }

    /// Copies in a datagram.
    pub fn copies(&self) -> u32 {
        self.offsets.iter().filter(|&&offset| offset > 0).count() as u32
    }

    /// Bits a second on the wire, headers of IPv4 and UDP included.
    pub fn wire_bps(&self) -> u32 {
        headers_bps(self.frame, self.copies()) + self.bitrate_bps * (1 + self.copies())
    }
}

const NO_COPIES: [u8; MAX_COPIES] = [0; MAX_COPIES];

fn headers_bps(frame: FrameLength, copies: u32) -> u32 {
    (DATAGRAM_BYTES + FRAME_BYTES * (1 + copies)) * 8 * 1000 / frame.ms()
}

/// What the adapter decided, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdaptStats {
    /// Reports taken.
    pub reports: u64,
    /// Times that the rate was cut.
    pub cuts: u64,
    /// Cuts that were in vain.
    pub vain_cuts: u64,
    /// Raises that were taken back.
    pub failed_raises: u64,
    /// Changes of how it is sent.
    pub changes: u64,
}

/// What copies loss asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    /// One or two copies right behind.
    Near(u8),
    /// Copies so many milliseconds back, and at the end of the reach.
    Far(u32),
}

impl Wish {
    /// Which one serves for more.
    fn rank(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Near(copies) => u32::from(copies),
            Self::Far(ms) => 10 + ms,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    since: Instant,
    from: Sending,
    /// The ceiling before.
    ceiling: u32,
    loss_before: f32,
    queue_before: u16,
    /// Sum and number of the losses reported meanwhile.
    loss: f32,
    reports: f32,
}

/// See the module's words.
#[derive(Clone, Debug)]
pub struct Adapter {
    untroubled: Sending,
    sending: Sending,
    wish: Wish,
    /// When the wish was last as great as it is.
    wished: Instant,
    ceiling: u32,
    trial: Option<Trial>,
    next_raise: Instant,
    pause: Duration,
    /// Until then, loss up to so much is the path's own.
    innocent_until: Instant,
    innocent_loss: f32,
    innocence: Duration,
    updated: Instant,
    last_report: Option<Instant>,
    /// Smoothed, per mille.
    loss: f32,
    /// Lost time and runs of loss, fading together: their ratio is the mean run.
    lost: f32,
    runs: f32,
    queue_ms: u16,
    /// The queue that a cut has answered.
    answered_ms: u16,
    stats: AdaptStats,
}

impl Adapter {
    /// Sends as `untroubled` says until there is trouble.
    pub fn new(untroubled: Sending) -> Self {
        Self {
            untroubled,
            sending: untroubled,
            wish: Wish::Nothing,
            wished: Instant::ZERO,
            ceiling: CEILING_BPS,
            trial: None,
            next_raise: Instant::ZERO,
            pause: PAUSE,
            innocent_until: Instant::ZERO,
            innocent_loss: 0.0,
            innocence: INNOCENCE,
            updated: Instant::ZERO,
            last_report: None,
            loss: 0.0,
            lost: 0.0,
            runs: 0.0,
            queue_ms: 0,
            answered_ms: 0,
            stats: AdaptStats::default(),
        }
    }

    /// How to send now.
    pub fn sending(&self) -> Sending {
        self.sending
    }

    /// Counters.
    pub fn stats(&self) -> AdaptStats {
        self.stats
    }

    /// A report has come, perhaps from one who lies.
    pub fn report(&mut self, now: Instant, report: ReceiverReport) {
        self.stats.reports += 1;
        self.take(now, report.sane());
    }

    /// Time has passed; `talking` says whether anything is sent. To be called before each frame or so.
    pub fn update(&mut self, now: Instant, talking: bool) {
        let passed = now.since(std::mem::replace(&mut self.updated, now));
        let last_report = self.last_report.get_or_insert(now);
        if !talking {
            // What is not sent proves nothing, and what was needed before a pause is needed after it.
            for time in [last_report, &mut self.wished, &mut self.next_raise] {
                *time = *time + passed;
            }
            if let Some(trial) = &mut self.trial {
                trial.since = trial.since + passed;
            }
        } else if now.since(*last_report) >= SILENCE {
            self.take(now, ReceiverReport::default());
        }
    }

    fn take(&mut self, now: Instant, report: ReceiverReport) {
        let since = self.last_report.replace(now).map_or(SILENCE, |last| now.since(last));
        let before_ms = self.queue_ms;
        self.remember(since, report);
        let lost = f32::from(report.lost_per_mille);
        // A path that has become longer at a stroke is no queue: that goes on growing.
        let is_long = report.queue_ms >= self.answered_ms.saturating_add(QUEUE_MS);
        let was_long =
            before_ms > self.answered_ms || (self.answered_ms > 0 && before_ms == self.answered_ms);
        let grown = is_long && was_long && report.queue_ms > before_ms.saturating_add(GROWING_MS);
        if is_long && !grown && before_ms > self.answered_ms.saturating_add(QUEUE_MS / 2) && lost < LOSS {
            self.answered_ms = report.queue_ms;
        }
        self.judge(now, lost, grown);
        if self.ceiling == CEILING_BPS && now.since(self.next_raise) > LONGEST_PAUSE {
            (self.pause, self.innocence) = (PAUSE, INNOCENCE);
        }
        let is_innocent = now < self.innocent_until && self.loss <= self.innocent_loss;
        let is_suspicious = self.loss >= SUSPICIOUS_LOSS || (self.loss >= LOSS && self.queue_ms >= QUEUE_MS);
        // A queue that stands and spills is a bottleneck, whatever is being tried.
        let spills = self.queue_ms >= QUEUE_MS && lost >= MUCH_LOSS;
        let is_settled = self.trial.is_none_or(|trial| spills && now.since(trial.since) >= SETTLE / 2);
        if grown || (is_suspicious && !is_innocent && is_settled) {
            self.cut(now, since, lost, grown);
        } else if !spills {
            self.wish_for(now, f32::from(report.unrecovered_per_mille));
            self.raise(now, lost);
        }
    }

    fn remember(&mut self, since: Duration, report: ReceiverReport) {
        let weight = (since.as_secs_f32() / MEMORY.as_secs_f32()).clamp(0.05, 0.5);
        let smooth = |old: &mut f32, new: u16| *old += (f32::from(new) - *old) * weight;
        smooth(&mut self.loss, report.lost_per_mille);
        self.lost *= 1.0 - weight;
        self.runs *= 1.0 - weight;
        if report.burst_ms > 0 {
            self.lost += f32::from(report.lost_per_mille);
            self.runs += f32::from(report.lost_per_mille) / f32::from(report.burst_ms);
        }
        self.queue_ms = report.queue_ms;
        self.answered_ms = self.answered_ms.min(report.queue_ms);
    }

    /// Mean length of a run of loss in milliseconds.
    fn burst_ms(&self) -> f32 {
        let frame_ms = self.sending.frame.ms() as f32;
        (self.lost + PRIOR_RUNS * frame_ms) / (self.runs + PRIOR_RUNS)
    }

    /// What the trial under way has shown.
    fn judge(&mut self, now: Instant, lost: f32, grown: bool) {
        let Some(trial) = &mut self.trial else { return };
        let age = now.since(trial.since);
        if age < SETTLE {
            return;
        }
        trial.loss += lost;
        trial.reports += 1.0;
        let (trial, after) = (*trial, trial.loss / trial.reports);
        let (from, to) = (trial.from.wire_bps() as f32, self.sending.wire_bps() as f32);
        // What a bottleneck that is full would lose of what is sent now, if it lost what it did of what was sent before.
        let predicted = (1000.0 - (1000.0 - trial.loss_before) * from / to).max(0.0);
        let halfway = (trial.loss_before + predicted) / 2.0;
        if to > from {
            // Loss where there was none needs no comparison; a verdict on few frames wants to be clear.
            let bearable = match trial.loss_before < LOSS / 4.0 {
                true => halfway.min(LOSS),
                false if age < TRIAL => (halfway + predicted) / 2.0,
                false => halfway,
            };
            let is_worse = after > bearable && trial.reports >= 2.0;
            if is_worse && !grown {
                self.stats.failed_raises += 1;
                self.put_off(now);
                // Loss that was there before may have been our doing, too.
                let margin = if trial.loss_before >= LOSS { MARGIN } else { 1.0 };
                self.ceiling = ((from * margin) as u32).max(FLOOR_BPS);
                self.trial = None;
                self.wish = Wish::Nothing;
            } else if age >= TRIAL {
                self.trial = None;
            }
        } else if age >= TRIAL {
            self.trial = None;
            let has_drained =
                self.queue_ms.saturating_add(QUEUE_MS / 2) <= trial.queue_before || self.queue_ms < QUEUE_MS;
            let is_same = match trial.loss_before >= LOSS {
                // More loss than before is no verdict: the path had not shown all of its narrowness yet.
                true => after > halfway && after < trial.loss_before + SUSPICIOUS_LOSS / 2.0,
                false => !has_drained && after < LOSS,
            };
            // A queue that has grown since is a bottleneck's, whatever the loss.
            if is_same && self.queue_ms < self.answered_ms.saturating_add(QUEUE_MS) {
                self.stats.vain_cuts += 1;
                self.innocent_until = now + self.innocence;
                self.innocent_loss = trial.loss_before.max(after) * 1.5;
                self.innocence = (self.innocence * 2).min(LONGEST_PAUSE);
                self.ceiling = trial.ceiling;
                self.next_raise = now;
            }
        }
    }

    /// Sends no more than the path seems to carry.
    fn cut(&mut self, now: Instant, since: Duration, lost: f32, grown: bool) {
        let wire = self.sending.wire_bps();
        // Too much by a share of x makes a queue that grows by x seconds in each second.
        let seconds = since.as_secs_f32().clamp(0.2, 1.0);
        let growth = f32::from(self.queue_ms.saturating_sub(self.answered_ms)) / 1000.0 / seconds;
        let by_queue = if grown { 1.0 / (1.0 + growth) } else { 1.0 };
        let loss_before = self.loss.max(lost);
        let by_loss = 1.0 - loss_before / 1000.0;
        let share = by_queue.min(by_loss).max(0.4) * MARGIN;
        let fresh = Trial {
            since: now,
            from: self.sending,
            ceiling: self.ceiling,
            loss_before,
            queue_before: self.queue_ms,
            loss: 0.0,
            reports: 0.0,
        };
        // Cuts in a row are one, and so are their trials.
        let is_cut = |trial: &Trial| trial.from.wire_bps() > wire;
        let trial = match self.trial.filter(is_cut) {
            Some(trial) => Trial { since: now, loss: 0.0, reports: 0.0, ..trial },
            None => fresh,
        };
        self.stats.cuts += 1;
        self.put_off(now);
        self.answered_ms = self.queue_ms;
        self.wish = Wish::Nothing;
        self.ceiling = ((wire as f32 * share) as u32).clamp(FLOOR_BPS, CEILING_BPS);
        if self.apply() {
            self.trial = Some(trial);
        }
    }

    /// The next raise waits, longer from failure to failure; cuts in a row are one.
    fn put_off(&mut self, now: Instant) {
        if now < self.next_raise {
            self.next_raise = self.next_raise.max(now + PAUSE);
            return;
        }
        self.next_raise = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// What would help now; more at once, less only after a while.
    fn wish_for(&mut self, now: Instant, unrecovered: f32) {
        let burst = self.burst_ms() / self.sending.frame.ms() as f32;
        let is_needed = self.loss >= LOSS || unrecovered >= UNRECOVERED;
        let wish = match is_needed {
            false => Wish::Nothing,
            true if burst > BURST_FRAMES => Wish::Far((self.burst_ms().ceil() as u32).min(REACH_MS / 2)),
            true => Wish::Near(if self.loss >= MUCH_LOSS { 2 } else { 1 }),
        };
        if wish.rank() >= self.wish.rank() || now.since(self.wished) >= RELEASE {
            (self.wish, self.wished) = (wish, now);
        }
    }

    /// Sends what is wished for, as a trial if that is more; with a ceiling, a little more than it allows.
    fn raise(&mut self, now: Instant, lost: f32) {
        let ceiling = self.ceiling;
        if self.trial.is_none() && now >= self.next_raise && ceiling < CEILING_BPS {
            let wanted = self.plan(CEILING_BPS).wire_bps();
            let next = (ceiling as f32 * RAISE) as u32;
            self.ceiling = if next >= wanted { CEILING_BPS } else { next };
        }
        let from = self.sending;
        let is_change = self.apply();
        if is_change && self.sending.wire_bps() > from.wire_bps() {
            let fresh = Trial {
                since: now,
                from,
                ceiling,
                loss_before: self.loss.max(lost),
                queue_before: self.queue_ms,
                loss: 0.0,
                reports: 0.0,
            };
            // Raised once more before the verdict, it is compared with what was before the first raise.
            let from_before = |trial: &Trial| trial.from.wire_bps() <= from.wire_bps();
            self.trial = Some(match self.trial.filter(from_before) {
                Some(trial) => Trial { since: now, loss: 0.0, reports: 0.0, ..trial },
                None => fresh,
            });
        }
    }

    /// Sends by the wish and the ceiling; true if that is a change.
    fn apply(&mut self) -> bool {
        let plan = self.plan(self.ceiling);
        let is_change = plan != self.sending;
        self.sending = plan;
        self.stats.changes += u64::from(is_change);
        is_change
    }

    /// The best within a ceiling.
    fn plan(&self, ceiling: u32) -> Sending {
        let copied = match self.wish {
            Wish::Nothing => None,
            Wish::Near(copies) => {
                let offsets = if copies > 1 { [1, 2, 0] } else { [1, 0, 0] };
                let frame = self.untroubled.frame;
                self.with_copies(ceiling, frame, offsets)
                    .or_else(|| self.with_copies(ceiling, frame, [1, 0, 0]))
            }
            Wish::Far(ms) => {
                let offsets = |frame| far_offsets(frame, ms);
                let (short, frame) = (FrameLength::Ms10, self.untroubled.frame);
                self.with_copies(ceiling, short, offsets(short))
                    .or_else(|| self.with_copies(ceiling, frame, offsets(frame)))
            }
        };
        copied.unwrap_or_else(|| self.without_copies(ceiling))
    }

    fn with_copies(&self, ceiling: u32, frame: FrameLength, offsets: [u8; MAX_COPIES]) -> Option<Sending> {
        let most = self.untroubled.bitrate_bps * COPIED_PERCENT / 100;
        let mut sending = Sending { bitrate_bps: most, expected_loss_percent: 0, frame, offsets };
        let left = ceiling.checked_sub(headers_bps(frame, sending.copies()))?;
        sending.bitrate_bps = most.min(left / (1 + sending.copies()));
        (sending.bitrate_bps >= LEAST_COPIED_BPS.min(most)).then_some(sending)
    }

    fn without_copies(&self, ceiling: u32) -> Sending {
        use FrameLength::{Ms20, Ms40, Ms60};
        let mut sending = self.untroubled;
        sending.expected_loss_percent = match self.loss {
            loss if self.wish == Wish::Nothing && loss < LOSS => sending.expected_loss_percent,
            loss if loss < MUCH_LOSS => 10,
            _ => 20,
        };
        let most = sending.bitrate_bps;
        for frame in [sending.frame, Ms20, Ms40, Ms60] {
            sending.frame = if frame.ms() > sending.frame.ms() { frame } else { sending.frame };
            let left = ceiling.saturating_sub(headers_bps(sending.frame, 0));
            sending.bitrate_bps = left.max(LEAST_BPS).min(most);
            let least = if frame == Ms40 { LEAST_BPS } else { LEAST_COMFORT_BPS };
            if left >= least {
                break;
            }
        }
        sending
    }
}

/// Copies so many milliseconds back and at the end of the reach; only there when frames are so long that these are much
/// the same.
fn far_offsets(frame: FrameLength, ms: u32) -> [u8; MAX_COPIES] {
    let last = (REACH_MS / frame.ms()).max(1) as u8;
    let first = ms.div_ceil(frame.ms()) as u8;
    if first < last - 1 { [first, last, 0] } else { [last, 0, 0] }
}
