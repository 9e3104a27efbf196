//! A sound card's output as a speaker. It sets the pace: as much is rendered as the card takes.

use cpal::{Device, Stream, SupportedStreamConfig};
use rtrb::Producer;

use super::{
    DeviceError, Direction, POLL,
    cards::SystemCards,
    keeper::{Bell, keep},
    link::{Link, Metered},
    stream::{self, Ears, Meter},
    trouble::unusable,
};
use crate::{
    BLOCK, BLOCK_MS, Block, Duration, Instant, SAMPLE_RATE_HZ,
    io::{DeviceStats, Speaker},
    limits::{MAX_BLOCKS_PER_TURN, MAX_CATCH_UP_BLOCKS},
    resample::Resampler,
};

/// Sound kept ready beyond what the card takes at once.
const RESERVE_BLOCKS: usize = 1;
/// The most of it: each gap in the sound, if it is not one of a row, adds a block …
const MAX_RESERVE_BLOCKS: usize = 4;
const ROW: Duration = Duration::from_secs(1);
/// … and as long without any takes one back.
const CALM: Duration = Duration::from_secs(30);

/// Where a card's sound goes to.
pub(super) struct Playback {
    ring: Producer<Ears>,
    resamplers: [Resampler; 2],
    converted: [Vec<f32>; 2],
    /// Left and right were told apart once: both are converted from then on, since a resampler has a memory.
    is_stereo: bool,
    meter: Meter,
    rate_hz: u32,
    reserve: Reserve,
}

impl Metered for Playback {
    fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Playback {
    pub(super) fn new(ring: Producer<Ears>, meter: Meter, rate_hz: u32) -> Result<Self, DeviceError> {
        let resampler = || {
            Resampler::new(SAMPLE_RATE_HZ, rate_hz, BLOCK).map_err(|error| unusable(Direction::Output, error))
        };
        let (resamplers, converted) = ([resampler()?, resampler()?], [Vec::new(), Vec::new()]);
        Ok(Self {
            ring,
            resamplers,
            converted,
            is_stereo: false,
            meter,
            rate_hz,
            reserve: Reserve::default(),
        })
    }

    fn open(
        device: &Device,
        config: &SupportedStreamConfig,
        bell: &Bell,
    ) -> Result<(Stream, Self), DeviceError> {
        let (stream, ring, meter) = stream::playback(device, config, bell)?;
        Ok((stream, Self::new(ring, meter, config.sample_rate())?))
    }

    /// How many blocks it takes.
    fn ready(&mut self, now: Instant) -> usize {
        let block_samples = (self.rate_hz / (1000 / BLOCK_MS)).max(1) as usize;
        let reserve = self.reserve.blocks(now, self.meter.gaps()) * block_samples;
        let capacity = self.ring.buffer().capacity();
        let queued = capacity - self.ring.slots();
        let wanted = (self.meter.period_samples() + reserve).min(capacity);
        wanted.saturating_sub(queued).div_ceil(block_samples)
    }

    /// Takes a block for all, or one for each ear, and gives the number of samples that had no room.
    fn write(&mut self, left: &Block, right: Option<&Block>) -> usize {
        self.is_stereo |= right.is_some();
        let channels = if self.is_stereo { 2 } else { 1 };
        let blocks = [left, right.unwrap_or(left)];
        for ((resampler, converted), block) in
            self.resamplers.iter_mut().zip(&mut self.converted).zip(blocks).take(channels)
        {
            converted.clear();
            resampler.push(block, converted);
        }
        let (left, right) = (&self.converted[0], &self.converted[channels - 1]);
        let room = self.ring.slots().min(left.len());
        for (&left, &right) in left.iter().zip(right).take(room) {
            // There is room, as was asked.
            let _ = self.ring.push([left, right]);
        }
        left.len() - room
    }
}

/// A sound card's output.
pub(super) struct DeviceSpeaker {
    link: Link<Playback>,
    started: Option<Instant>,
}

impl DeviceSpeaker {
    pub(super) fn open(name: Option<&str>) -> Result<Self, DeviceError> {
        let name = name.map(str::to_owned);
        let cards = move || SystemCards::new(Direction::Output, name, Playback::open);
        Ok(Self::new(Link::new(Direction::Output, keep(Direction::Output, cards)?)))
    }

    pub(super) fn new(link: Link<Playback>) -> Self {
        Self { link, started: None }
    }

    #[cfg(test)]
    pub(super) fn link(&self) -> &Link<Playback> {
        &self.link
    }

    fn play(&mut self, left: &Block, right: Option<&Block>) {
        match self.link.flow() {
            // A card that takes nothing has no room: what is not heard now is not heard later either.
            Some(playback) => {
                let lost = playback.write(left, right);
                self.link.stats.overflowed += lost as u64;
            }
            None => self.link.made_up(),
        }
    }

    /// Samples that wait for the card.
    #[cfg(test)]
    pub(super) fn waiting(&mut self) -> usize {
        self.link.flow().map_or(0, |playback| playback.ring.buffer().capacity() - playback.ring.slots())
    }
}

impl Speaker for DeviceSpeaker {
    fn start(&mut self, now: Instant) {
        self.link.start(now);
        self.started.get_or_insert(now);
    }

    fn ready(&mut self, now: Instant) -> usize {
        if self.started.is_none() {
            return 0;
        }
        self.link.poll(now);
        if let Some(playback) = self.link.flow() {
            let wanted = playback.ready(now).min(MAX_BLOCKS_PER_TURN);
            self.link.took(now);
            return wanted;
        }
        // What nobody hears is rendered all the same, and goes by, so that it is no older when somebody hears again.
        let missed = self.link.blocks_missing(now);
        for _ in MAX_CATCH_UP_BLOCKS as usize..missed {
            self.link.made_up();
        }
        missed.min(MAX_CATCH_UP_BLOCKS as usize)
    }

    fn write(&mut self, block: &Block) {
        self.play(block, None);
    }

    fn write_stereo(&mut self, left: &Block, right: &Block) {
        self.play(left, Some(right));
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        Some(now + POLL)
    }

    fn started(&self) -> Option<Instant> {
        self.started
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.link.take_line()
    }

    fn device(&self) -> Option<&str> {
        self.link.device()
    }

    fn stats(&self) -> DeviceStats {
        self.link.stats()
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
