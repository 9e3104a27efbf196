//! A sound card's input as a microphone.

use cpal::{Device, Stream, traits::DeviceTrait as _};
use rtrb::{Consumer, RingBuffer};

use super::{
    DeviceError, Direction, PERIODS_PER_SECOND, POLL, refused,
    stream::{Troubles, capture_stream, ring_samples, with_some_buffer},
    unusable,
};
use crate::{
    BLOCK, Block, Duration, Instant, SAMPLE_RATE_HZ,
    io::{MicRead, Microphone},
    resample::Resampler,
};

/// A sound card's input.
pub(super) struct DeviceMicrophone {
    /// Sound flows as long as this is held.
    _stream: Stream,
    ring: Consumer<f32>,
    resampler: Resampler,
    taken: Vec<f32>,
    ready: Vec<f32>,
    is_begun: bool,
    started: Option<Instant>,
    troubles: Troubles,
}

impl DeviceMicrophone {
    pub(super) fn open(device: &Device) -> Result<Self, DeviceError> {
        let direction = Direction::Input;
        let config = device.default_input_config().map_err(|error| refused(direction, &error))?;
        let rate = config.sample_rate();
        let (mut producer, mut ring) = RingBuffer::new(1);
        let troubles = Troubles::default();
        let stream = with_some_buffer(direction, &config, |wanted| {
            // A second try needs a ring of its own: the first one went with its callback.
            (producer, ring) = RingBuffer::new(ring_samples(rate));
            let (unused, _) = RingBuffer::new(1);
            let producer = std::mem::replace(&mut producer, unused);
            capture_stream(device, wanted, config.sample_format(), producer, troubles.clone())
        })?;
        let chunk = (rate / PERIODS_PER_SECOND).max(1) as usize;
        let resampler =
            Resampler::new(rate, SAMPLE_RATE_HZ, chunk).map_err(|error| unusable(direction, error))?;
        let (taken, ready) = (Vec::new(), Vec::new());
        Ok(Self { _stream: stream, ring, resampler, taken, ready, is_begun: false, started: None, troubles })
    }
}

impl Microphone for DeviceMicrophone {
    fn start(&mut self, _now: Instant) {
        // What was captured before there was anybody to hear it is thrown away.
        let waiting = self.ring.slots();
        if let Ok(chunk) = self.ring.read_chunk(waiting) {
            chunk.commit_all();
        }
        self.is_begun = true;
    }

    fn read(&mut self, now: Instant, block: &mut Block) -> MicRead {
        if !self.is_begun {
            return MicRead::NotYet;
        }
        let waiting = self.ring.slots();
        if let Ok(chunk) = self.ring.read_chunk(waiting)
            && waiting > 0
        {
            self.taken.clear();
            self.taken.extend(chunk);
            self.resampler.push(&self.taken, &mut self.ready);
        }
        if self.ready.len() < BLOCK {
            return MicRead::NotYet;
        }
        let captured_us = self.ready.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ);
        self.started.get_or_insert(now - Duration::from_micros(captured_us));
        for (to, from) in block.iter_mut().zip(self.ready.drain(..BLOCK)) {
            *to = from;
        }
        MicRead::Block
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
