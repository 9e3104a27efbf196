//! Streams of a card: built with small buffers, their callbacks at one end of a ring.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use cpal::{
    BufferSize, Device, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    SupportedStreamConfig,
    traits::{DeviceTrait as _, StreamTrait as _},
};
use rtrb::{Consumer, Producer};

use super::{DeviceError, Direction, PERIODS_PER_SECOND, refused};
use crate::limits::DEVICE_RING_MS;

/// A server that does not answer for so long is not waited for.
const OPEN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// What the error callback has to say: the first thing only, what follows is the same again.
#[derive(Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<Trouble>>);

#[derive(Default)]
struct Trouble {
    is_known: bool,
    untold: Option<String>,
}

impl Troubles {
    fn note(&self, direction: Direction, error: &cpal::Error) {
        // A gap in the sound, or a card that plays on elsewhere, needs nobody's attention.
        if matches!(error.kind(), ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied) {
            return;
        }
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !trouble.is_known {
            trouble.is_known = true;
            trouble.untold = Some(format!("the {direction} does not work any more: {error}"));
        }
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).untold.take()
    }
}

/// What a card's callback sees: how many samples of its own it takes at once (the most of late), and how often it found
/// too few.
#[derive(Clone, Default)]
pub(super) struct Period(Arc<(AtomicUsize, AtomicUsize)>);

/// A larger period is forgotten after at most twice so many callbacks: a card that took much once, as at its start, shall not
/// be kept so full for good.
const PERIOD_CALLBACKS: u32 = 100;

impl Period {
    pub(super) fn samples(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// How often sound broke off for want of samples.
    pub(super) fn gaps(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }

    fn note_gap(&self) {
        self.0.1.fetch_add(1, Ordering::Relaxed);
    }

    /// What a callback does with each size.
    fn watch(&self) -> impl FnMut(usize) + Send + use<> {
        let (shared, mut most, mut callbacks) = (Arc::clone(&self.0), 0, 0);
        move |samples: usize| {
            most = samples.max(most);
            callbacks += 1;
            if callbacks >= PERIOD_CALLBACKS {
                shared.0.store(most, Ordering::Relaxed);
                (most, callbacks) = (samples, 0);
            } else {
                shared.0.fetch_max(samples, Ordering::Relaxed);
            }
        }
    }
}

/// Builds a stream with small buffers, or else with those that the device insists on.
pub(super) fn with_some_buffer(
    direction: Direction,
    config: &SupportedStreamConfig,
    mut build: impl FnMut(StreamConfig) -> Result<Stream, cpal::Error>,
) -> Result<Stream, DeviceError> {
    let mut wanted = config.config();
    wanted.buffer_size = BufferSize::Fixed((wanted.sample_rate / PERIODS_PER_SECOND).max(1));
    let usual = StreamConfig { buffer_size: BufferSize::Default, ..wanted };
    let stream = build(wanted).or_else(|_| build(usual)).and_then(|stream| stream.play().map(|()| stream));
    stream.map_err(|error| refused(direction, &error))
}

pub(super) fn ring_samples(rate: u32) -> usize {
    rate as usize * DEVICE_RING_MS as usize / 1000
}

#[allow(clippy::wildcard_enum_match_arm)] // cpal's list grows; all that is not named is unknown.
pub(super) fn capture_stream(
    device: &Device,
    config: StreamConfig,
    format: SampleFormat,
    ring: Producer<f32>,
    troubles: Troubles,
) -> Result<Stream, cpal::Error> {
    fn build<T>(
        device: &Device,
        config: StreamConfig,
        mut ring: Producer<f32>,
        troubles: Troubles,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let channels = usize::from(config.channels.max(1));
        let hear = move |samples: &[T], _: &cpal::InputCallbackInfo| {
            for frame in samples.chunks_exact(channels) {
                let sum: f32 = frame.iter().map(|&sample| f32::from_sample(sample)).sum();
                // A pump that does not keep up misses what comes then.
                if ring.push(sum / channels as f32).is_err() {
                    return;
                }
            }
        };
        let fail = move |error: cpal::Error| troubles.note(Direction::Input, &error);
        device.build_input_stream(config, hear, fail, Some(OPEN_TIMEOUT))
    }
    match format {
        SampleFormat::F32 => build::<f32>(device, config, ring, troubles),
        SampleFormat::I16 => build::<i16>(device, config, ring, troubles),
        SampleFormat::I32 => build::<i32>(device, config, ring, troubles),
        SampleFormat::U8 => build::<u8>(device, config, ring, troubles),
        SampleFormat::U16 => build::<u16>(device, config, ring, troubles),
        _ => Err(unknown_format(format)),
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // As above.
pub(super) fn playback_stream(
    device: &Device,
    config: StreamConfig,
    format: SampleFormat,
    ring: Consumer<f32>,
    period: &Period,
    troubles: Troubles,
) -> Result<Stream, cpal::Error> {
    fn build<T>(
        device: &Device,
        config: StreamConfig,
        mut ring: Consumer<f32>,
        period: &Period,
        troubles: Troubles,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32>,
    {
        let channels = usize::from(config.channels.max(1));
        let (mut watch, period, mut flows) = (period.watch(), period.clone(), false);
        let play = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| {
            watch(samples.len() / channels);
            for frame in samples.chunks_mut(channels) {
                let sample = ring.pop().ok();
                if flows && sample.is_none() {
                    period.note_gap();
                }
                flows = sample.is_some();
                // Nothing there is silence.
                frame.fill(T::from_sample(sample.unwrap_or(0.0)));
            }
        };
        let fail = move |error: cpal::Error| troubles.note(Direction::Output, &error);
        device.build_output_stream(config, play, fail, Some(OPEN_TIMEOUT))
    }
    match format {
        SampleFormat::F32 => build::<f32>(device, config, ring, period, troubles),
        SampleFormat::I16 => build::<i16>(device, config, ring, period, troubles),
        SampleFormat::I32 => build::<i32>(device, config, ring, period, troubles),
        SampleFormat::U8 => build::<u8>(device, config, ring, period, troubles),
        SampleFormat::U16 => build::<u16>(device, config, ring, period, troubles),
        _ => Err(unknown_format(format)),
    }
}

/// cpal knows more formats than cards use by default.
fn unknown_format(format: SampleFormat) -> cpal::Error {
    cpal::Error::with_message(
        ErrorKind::UnsupportedConfig,
        format!("its sample format, {format}, is not known here"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_period_counts_at_once_and_is_forgotten() {
        let period = Period::default();
        let mut watch = period.watch();
        watch(4_800);
        assert_eq!(period.samples(), 4_800);
        (0..PERIOD_CALLBACKS * 2).for_each(|_| watch(480));
        assert_eq!(period.samples(), 480);
        watch(960);
        assert_eq!(period.samples(), 960);
    }

    #[test]
    fn a_device_that_is_gone_is_told_once() {
        let troubles = Troubles::default();
        let gone = cpal::Error::new(ErrorKind::DeviceNotAvailable);
        troubles.note(Direction::Output, &cpal::Error::new(ErrorKind::Xrun));
        assert_eq!(troubles.take(), None);
        troubles.note(Direction::Output, &gone);
        assert!(troubles.take().is_some_and(|line| line.starts_with("the speaker does not work any more")));
        troubles.note(Direction::Output, &gone);
        assert_eq!(troubles.take(), None);
    }
}
