//! A sound card's output as a speaker. It sets the pace: as much is rendered as the card takes.

use cpal::{Device, Stream, traits::DeviceTrait as _};
use rtrb::{Producer, RingBuffer};

use super::{
    DeviceError, Direction, PERIODS_PER_SECOND, POLL, refused,
    stream::{Period, Troubles, playback_stream, ring_samples, with_some_buffer},
    unusable,
};
use crate::{BLOCK, Block, Duration, Instant, SAMPLE_RATE_HZ, io::Speaker, resample::Resampler};

/// Sound kept ready beyond what the card takes at once.
const RESERVE_BLOCKS: usize = 1;
/// The most of it: each gap in the sound, if it is not one of a row, adds a block …
const MAX_RESERVE_BLOCKS: usize = 4;
const ROW: Duration = Duration::from_secs(1);
/// … and as long without any takes one back.
const CALM: Duration = Duration::from_secs(30);

/// A sound card's output.
pub(super) struct DeviceSpeaker {
    /// Sound flows as long as this is held.
    _stream: Stream,
    ring: Producer<f32>,
    resampler: Resampler,
    converted: Vec<f32>,
    rate: u32,
    period: Period,
    reserve: Reserve,
    started: Option<Instant>,
    troubles: Troubles,
}

impl DeviceSpeaker {
    pub(super) fn open(device: &Device) -> Result<Self, DeviceError> {
        let direction = Direction::Output;
        let config = device.default_output_config().map_err(|error| refused(direction, &error))?;
        let rate = config.sample_rate();
        let (mut ring, mut consumer) = RingBuffer::new(1);
        let (troubles, period) = (Troubles::default(), Period::default());
        let stream = with_some_buffer(direction, &config, |wanted| {
            // A second try needs a ring of its own: the first one went with its callback.
            (ring, consumer) = RingBuffer::new(ring_samples(rate));
            let (_, unused) = RingBuffer::new(1);
            let consumer = std::mem::replace(&mut consumer, unused);
            let format = config.sample_format();
            playback_stream(device, wanted, format, consumer, &period, troubles.clone())
        })?;
        let resampler =
            Resampler::new(SAMPLE_RATE_HZ, rate, BLOCK).map_err(|error| unusable(direction, error))?;
        let converted = Vec::new();
        Ok(Self {
            _stream: stream,
            ring,
            resampler,
            converted,
            rate,
            period,
            reserve: Reserve::default(),
            started: None,
            troubles,
        })
    }

    /// Samples of the device in a block.
    fn block_samples(&self) -> usize {
        (self.rate / PERIODS_PER_SECOND).max(1) as usize
    }
}

impl Speaker for DeviceSpeaker {
    fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    fn ready(&mut self, now: Instant) -> usize {
        if self.started.is_none() {
            return 0;
        }
        let reserve = self.reserve.blocks(now, self.period.gaps()) * self.block_samples();
        let capacity = self.ring.buffer().capacity();
        let queued = capacity - self.ring.slots();
        let wanted = (self.period.samples() + reserve).min(capacity);
        wanted.saturating_sub(queued).div_ceil(self.block_samples())
    }

    fn write(&mut self, block: &Block) {
        self.converted.clear();
        self.resampler.push(block, &mut self.converted);
        for &sample in &self.converted {
            // A card that takes nothing has no room: what is not heard now is not heard later either.
            if self.ring.push(sample).is_err() {
                return;
            }
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        Some(now + POLL)
    }

    fn started(&self) -> Option<Instant> {
        self.started
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.troubles.take()
    }
}

/// How much is kept ready, by the gaps there were.
struct Reserve {
    blocks: usize,
    gaps: usize,
    changed: Instant,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { blocks: RESERVE_BLOCKS, gaps: 0, changed: Instant::ZERO }
    }
}

impl Reserve {
    /// In blocks, when there were `gaps` so far.
    fn blocks(&mut self, now: Instant, gaps: usize) -> usize {
        let is_new = gaps != self.gaps;
        self.gaps = gaps;
        let since = now.since(self.changed);
        if is_new && since >= ROW {
            self.blocks = (self.blocks + 1).min(MAX_RESERVE_BLOCKS);
            self.changed = now;
        } else if is_new {
            self.changed = now;
        } else if since >= CALM {
            self.blocks = (self.blocks - 1).max(RESERVE_BLOCKS);
            self.changed = now;
        }
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_add_to_the_reserve_and_calm_takes_it_back() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut reserve = Reserve::default();
        assert_eq!(reserve.blocks(at(5), 0), RESERVE_BLOCKS);
        assert_eq!(reserve.blocks(at(10), 1), RESERVE_BLOCKS + 1);
        assert_eq!(reserve.blocks(at(10), 9), RESERVE_BLOCKS + 1, "a row of gaps is one");
        for s in 20..60 {
            reserve.blocks(at(s), s as usize);
        }
        assert_eq!(reserve.blocks(at(60), 59), MAX_RESERVE_BLOCKS);
        assert_eq!(reserve.blocks(at(90), 59), MAX_RESERVE_BLOCKS - 1);
        for s in 91..500 {
            reserve.blocks(at(s), 59);
        }
        assert_eq!(reserve.blocks(at(500), 59), RESERVE_BLOCKS);
    }
}
