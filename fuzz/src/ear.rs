//! A listener without the sound: a jitter buffer, and how much decoded sound would wait behind it.

use chinwag_audio::{
    BLOCK_TIME, BLOCK_US, Duration, Instant, VoiceFrame,
    jitter::{Correction, JitterBuffer, Pull},
    limits::{MAX_BUFFERED_FRAMES, MAX_FRAME_BLOCKS},
};

/// One period of a voice: by so much the delay is changed.
const PERIOD_US: i64 = 7_000;
/// Pulls for one block; more is spinning.
const MOST_PULLS: usize = 2 * MAX_BUFFERED_FRAMES + MAX_FRAME_BLOCKS;
/// Blocks after which nothing is left to be played.
const LAST_BLOCKS: u32 = 500;

#[derive(Default)]
pub(crate) struct Ear {
    buffer: JitterBuffer,
    queued_us: i64,
    /// Where the last frame that was played ended, and how often the buffer had begun anew by then.
    played: Option<(u32, u64)>,
    pushed: u64,
}

impl Ear {
    pub(crate) fn push(&mut self, now: Instant, frame: &VoiceFrame<'_>) {
        self.buffer.push(now, frame);
        self.pushed += 1;
        let stats = self.buffer.stats();
        assert_eq!(stats.received + stats.bad, self.pushed);
    }

    pub(crate) fn expect(&mut self, spread: Duration) {
        self.buffer.expect(spread);
    }

    pub(crate) fn report(&mut self, now: Instant) {
        if let Some(report) = self.buffer.report(now) {
            assert_eq!(report, report.sane());
        }
    }

    /// Plays a block.
    pub(crate) fn step(&mut self, now: Instant) {
        match self.buffer.correction(now, self.queued_us, 0) {
            Correction::Keep => {}
            Correction::Shorten(by_us, _) => {
                assert!(by_us > 0);
                let by_us = by_us.min(PERIOD_US);
                while self.queued_us < by_us + 5_000 && self.buffer.is_ready() {
                    self.pull(now);
                }
                if self.queued_us >= by_us + 5_000 {
                    self.queued_us -= by_us;
                    self.buffer.corrected(-by_us);
                }
            }
            Correction::Skip { most_us, .. } => {
                assert!(most_us > 0);
                let by_us = most_us.min(self.queued_us);
                self.queued_us -= by_us;
                self.buffer.corrected(-by_us);
            }
            Correction::Lengthen(by_us, _) => {
                assert!(by_us > 0);
                let by_us = by_us.min(PERIOD_US);
                self.queued_us += by_us;
                self.buffer.corrected(by_us);
            }
        }
        let mut pulls = 0;
        while self.queued_us < BLOCK_US as i64 && self.pull(now) {
            pulls += 1;
            assert!(pulls <= MOST_PULLS, "it spins");
        }
        self.queued_us = (self.queued_us - BLOCK_US as i64).max(0);
    }

    fn pull(&mut self, now: Instant) -> bool {
        let resyncs = self.buffer.stats().resyncs;
        let mut ends_at = None;
        let blocks = match self.buffer.pull(now) {
            Pull::Late { .. } => return true,
            Pull::Frame { sequence, blocks, skip, .. } => {
                assert!(skip < blocks, "{skip} of {blocks}");
                let begin = sequence.wrapping_add(skip);
                let is_behind = |(end, epoch)| epoch != resyncs || begin.wrapping_sub(end) as i32 >= 0;
                assert!(self.played.is_none_or(is_behind), "{begin} was played before: {:?}", self.played);
                ends_at = Some(sequence.wrapping_add(blocks));
                blocks - skip
            }
            Pull::Fec { blocks, skip, .. } => {
                assert!(skip < blocks, "{skip} of {blocks}");
                blocks - skip
            }
            Pull::Conceal => 1,
            Pull::Silence => return false,
        };
        if let Some(end) = ends_at {
            assert_eq!(self.buffer.next_sequence(), Some(end));
            self.played = Some((end, resyncs));
        }
        self.queued_us += i64::from(blocks) * BLOCK_US as i64;
        true
    }

    /// Plays what is left: then every frame has had one fate.
    pub(crate) fn finish(mut self, mut now: Instant) {
        let mut blocks = 0;
        while !self.buffer.is_idle() {
            self.step(now);
            now = now + BLOCK_TIME;
            blocks += 1;
            assert!(blocks < LAST_BLOCKS, "not empty after {blocks} blocks: {:?}", self.buffer.stats());
        }
        let stats = self.buffer.stats();
        let fates =
            stats.played + stats.late + stats.duplicate + stats.overflow + stats.jumped + stats.redundant;
        // What a resync throws away is in no counter of its own.
        assert!(fates <= stats.received, "{stats:?}");
        assert!(stats.resyncs > 0 || fates == stats.received, "{stats:?}");
    }
}
