//! A sound card's input as a microphone.

use cpal::{Device, Stream, SupportedStreamConfig};
use rtrb::Consumer;

use super::{
    DeviceError, Direction, POLL,
    cards::SystemCards,
    keeper::{Bell, keep},
    link::{Link, Metered},
    stream::{self, Meter},
    trouble::unusable,
};
use crate::{
    BLOCK, Block, Duration, Instant, SAMPLE_RATE_HZ, SILENCE,
    io::{DeviceStats, MicRead, Microphone},
    limits::DEVICE_RING_MS,
    resample::Resampler,
};

/// Lost sound is made up for by silence of this length at most at a time, in samples.
const MOST_LOST: usize = SAMPLE_RATE_HZ as usize;

/// Where a card's sound comes from.
pub(super) struct Capture {
    ring: Consumer<f32>,
    resampler: Resampler,
    meter: Meter,
    rate_hz: u32,
}

impl Metered for Capture {
    fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Capture {
    pub(super) fn new(ring: Consumer<f32>, meter: Meter, rate_hz: u32) -> Result<Self, DeviceError> {
        let chunk = (rate_hz / (1000 / crate::BLOCK_MS)).max(1) as usize;
        let resampler = Resampler::new(rate_hz, SAMPLE_RATE_HZ, chunk)
            .map_err(|error| unusable(Direction::Input, error))?;
        Ok(Self { ring, resampler, meter, rate_hz })
    }

    fn open(
        device: &Device,
        config: &SupportedStreamConfig,
        bell: &Bell,
    ) -> Result<(Stream, Self), DeviceError> {
        let (stream, ring, meter) = stream::capture(device, config, bell)?;
        Ok((stream, Self::new(ring, meter, config.sample_rate())?))
    }

    fn throw_away(&mut self) {
        let waiting = self.ring.slots();
        if let Ok(chunk) = self.ring.read_chunk(waiting) {
            chunk.commit_all();
        }
        self.meter.take_overflowed();
    }

    /// Appends what was captured, and silence for what was lost after it; gives the number of samples lost, at the
    /// device's rate.
    fn take(&mut self, raw: &mut Vec<f32>, ready: &mut Vec<f32>) -> usize {
        // Lost was what came when the ring was full, so that it belongs behind what is in it.
        let lost = self.meter.take_overflowed();
        let waiting = self.ring.slots();
        if let Ok(chunk) = self.ring.read_chunk(waiting)
            && waiting > 0
        {
            raw.clear();
            raw.extend(chunk);
            self.resampler.push(raw, ready);
        }
        let silence = lost as u64 * u64::from(SAMPLE_RATE_HZ) / u64::from(self.rate_hz);
        ready.resize(ready.len() + (silence as usize).min(MOST_LOST), 0.0);
        lost
    }
}

/// A sound card's input.
pub(super) struct DeviceMicrophone {
    link: Link<Capture>,
    raw: Vec<f32>,
    ready: Vec<f32>,
    is_begun: bool,
    started: Option<Instant>,
}

impl DeviceMicrophone {
    pub(super) fn open(name: Option<&str>) -> Result<Self, DeviceError> {
        let name = name.map(str::to_owned);
        let cards = move || SystemCards::new(Direction::Input, name, Capture::open);
        Ok(Self::new(Link::new(Direction::Input, keep(Direction::Input, cards)?)))
    }

    pub(super) fn new(link: Link<Capture>) -> Self {
        // Room for all that a ring holds, so that a late turn need not ask for memory.
        let room = (SAMPLE_RATE_HZ / 1000 * DEVICE_RING_MS) as usize * 2;
        let (raw, ready) = (Vec::with_capacity(room), Vec::with_capacity(room));
        Self { link, raw, ready, is_begun: false, started: None }
    }

    #[cfg(test)]
    pub(super) fn link(&self) -> &Link<Capture> {
        &self.link
    }
}

impl Microphone for DeviceMicrophone {
    fn start(&mut self, now: Instant) {
        self.link.start(now);
        // What was captured before there was anybody to hear it is thrown away.
        if let Some(capture) = self.link.flow() {
            capture.throw_away();
        }
        self.is_begun = true;
    }

    fn read(&mut self, now: Instant, block: &mut Block) -> MicRead {
        if !self.is_begun {
            return MicRead::NotYet;
        }
        let is_fresh = self.link.poll(now);
        let mut flows = false;
        if let Some(capture) = self.link.flow() {
            flows = true;
            if is_fresh {
                capture.throw_away();
            }
            let lost = capture.take(&mut self.raw, &mut self.ready);
            self.link.stats.overflowed += lost as u64;
        }
        if self.ready.len() >= BLOCK {
            let captured_us = self.ready.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ);
            self.started.get_or_insert(now - Duration::from_micros(captured_us));
            for (to, from) in block.iter_mut().zip(self.ready.drain(..BLOCK)) {
                *to = from;
            }
            self.link.took(now);
            return MicRead::Block;
        }
        if !flows && self.link.blocks_missing(now) > 0 {
            // Media time goes on, for whoever listens.
            *block = SILENCE;
            self.link.made_up();
            return MicRead::Block;
        }
        MicRead::NotYet
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
