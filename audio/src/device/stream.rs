//! Streams of a card: built with small buffers, their callbacks at one end of a ring. A callback neither allocates nor
//! waits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cpal::{
    BufferSize, Device, ErrorKind, FromSample, I24, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    SupportedBufferSize, SupportedStreamConfig, SupportedStreamConfigRange, U24,
    traits::{DeviceTrait as _, StreamTrait as _},
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{DeviceError, Direction, keeper::Bell, trouble};
use crate::{
    Duration,
    limits::{DEVICE_RING_MS, LARGE_DEVICE_RING_MS, SAMPLE_RATES_HZ},
};

/// A server that does not answer for so long is not waited for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Buffers of these lengths are asked of a device, as far as it says that it has them, before it may choose its own.
const BUFFERS_MS: [u32; 3] = [10, 20, 50];
/// A larger period is forgotten after at most twice so many callbacks: a card that took much once, as at its start, shall not
/// be kept so full for good.
const PERIOD_CALLBACKS: u32 = 100;

/// What both ends of a ring know of it.
#[derive(Clone)]
pub(super) struct Meter {
    rate_hz: u32,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    callbacks: AtomicUsize,
    period: AtomicUsize,
    gaps: AtomicUsize,
    overflowed: AtomicUsize,
}

impl Meter {
    pub(super) fn new(rate_hz: u32) -> Self {
        Self { rate_hz, counts: Arc::default() }
    }

    /// How often the device called.
    pub(super) fn callbacks(&self) -> usize {
        self.counts.callbacks.load(Ordering::Relaxed)
    }

    /// How many samples of its own it moves at once: the most of late.
    pub(super) fn period_samples(&self) -> usize {
        self.counts.period.load(Ordering::Relaxed)
    }

    /// The same as a time.
    pub(super) fn period(&self) -> Duration {
        Duration::from_micros(self.period_samples() as u64 * 1_000_000 / u64::from(self.rate_hz.max(1)))
    }

    /// How often sound broke off for want of samples.
    pub(super) fn gaps(&self) -> usize {
        self.counts.gaps.load(Ordering::Relaxed)
    }

    /// Samples that found no room since this was last asked.
    pub(super) fn take_overflowed(&self) -> usize {
        self.counts.overflowed.swap(0, Ordering::Relaxed)
    }

    /// What a callback does with each size.
    fn watch(&self) -> impl FnMut(usize) + Send + use<> {
        let (counts, mut most, mut callbacks) = (Arc::clone(&self.counts), 0, 0);
        move |samples: usize| {
            most = samples.max(most);
            callbacks += 1;
            if callbacks >= PERIOD_CALLBACKS {
                counts.period.store(most, Ordering::Relaxed);
                (most, callbacks) = (samples, 0);
            } else {
                counts.period.fetch_max(samples, Ordering::Relaxed);
            }
            counts.callbacks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A capture callback: any format and channels to mono samples in a ring.
pub(super) fn hear<T>(
    channels: u16,
    mut ring: Producer<f32>,
    meter: &Meter,
) -> impl FnMut(&[T]) + Send + use<T>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(channels.max(1));
    let (mut watch, counts) = (meter.watch(), Arc::clone(&meter.counts));
    move |samples| {
        let mut frames = samples.chunks_exact(channels);
        watch(frames.len());
        while ring.slots() > 0
            && let Some(frame) = frames.next()
        {
            let mean = frame.iter().map(|&sample| f32::from_sample(sample)).sum::<f32>() / channels as f32;
            // A driver that gives no numbers shall not make a filter's memory unusable.
            let _ = ring.push(if mean.is_finite() { mean } else { 0.0 });
        }
        counts.overflowed.fetch_add(frames.len(), Ordering::Relaxed);
    }
}

/// A sample for the left and one for the right.
pub(super) type Ears = [f32; 2];

/// A playback callback: samples for both ears from a ring to any format; silence where there are none.
pub(super) fn play<T>(
    channels: u16,
    mut ring: Consumer<Ears>,
    meter: &Meter,
) -> impl FnMut(&mut [T]) + Send + use<T>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(channels.max(1));
    let (mut watch, counts, mut flows) = (meter.watch(), Arc::clone(&meter.counts), false);
    move |samples| {
        watch(samples.len() / channels);
        for frame in samples.chunks_mut(channels) {
            let ears = ring.pop().ok();
            if flows && ears.is_none() {
                counts.gaps.fetch_add(1, Ordering::Relaxed);
            }
            flows = ears.is_some();
            let [left, right] = ears.unwrap_or_default();
            // More than two get the middle, which is the same where nothing is to the left or right.
            frame.fill(T::from_sample((left + right) * 0.5));
            if let [first, second, ..] = frame {
                (*first, *second) = (T::from_sample(left), T::from_sample(right));
            }
        }
    }
}

/// Runs `$build::<T>` for the sample type of a format.
macro_rules! by_format {
    ($format:expr, $build:ident($($argument:expr),*)) => {
        match $format {
            SampleFormat::F32 => $build::<f32>($($argument),*),
            SampleFormat::F64 => $build::<f64>($($argument),*),
            SampleFormat::I16 => $build::<i16>($($argument),*),
            SampleFormat::I24 => $build::<I24>($($argument),*),
            SampleFormat::I32 => $build::<i32>($($argument),*),
            SampleFormat::U8 => $build::<u8>($($argument),*),
            SampleFormat::U16 => $build::<u16>($($argument),*),
            SampleFormat::U24 => $build::<U24>($($argument),*),
            // `is_known` left out all others.
            _ => Err(cpal::Error::new(ErrorKind::UnsupportedConfig)),
        }
    };
}

/// The formats above.
fn is_known(format: SampleFormat) -> bool {
    use SampleFormat::{F32, F64, I16, I24, I32, U8, U16, U24};
    matches!(format, F32 | F64 | I16 | I24 | I32 | U8 | U16 | U24)
}

/// How a device is opened: as it is by default, or else in the way nearest to ours that it has.
pub(super) fn config_of(device: &Device, direction: Direction) -> Result<SupportedStreamConfig, DeviceError> {
    let by_default = match direction {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    };
    let by_default = by_default.map_err(|error| trouble::refused(direction, &error))?;
    if is_usable(&by_default) {
        return Ok(by_default);
    }
    let has_fitting = |range: &SupportedStreamConfigRange| {
        let rate = crate::SAMPLE_RATE_HZ.clamp(range.min_sample_rate(), range.max_sample_rate());
        Some(range.with_sample_rate(rate)).filter(is_usable)
    };
    super::find::configs(device, direction)
        .iter()
        .filter_map(has_fitting)
        .min_by_key(|config| (config.sample_rate().abs_diff(crate::SAMPLE_RATE_HZ), config.channels()))
        .ok_or_else(|| trouble::unusable(direction, "it has no format or rate that is known here"))
}

fn is_usable(config: &SupportedStreamConfig) -> bool {
    is_known(config.sample_format())
        && SAMPLE_RATES_HZ.contains(&config.sample_rate())
        && config.channels() > 0
}

/// A stream that captures, and the other end of its ring.
pub(super) fn capture(
    device: &Device,
    config: &SupportedStreamConfig,
    bell: &Bell,
) -> Result<(Stream, Consumer<f32>, Meter), DeviceError> {
    fn build<T>(
        device: &Device,
        config: StreamConfig,
        ring: Producer<f32>,
        meter: &Meter,
        bell: Bell,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample + 'static,
        f32: FromSample<T>,
    {
        let mut hear = hear::<T>(config.channels, ring, meter);
        let on_data = move |samples: &[T], _: &cpal::InputCallbackInfo| hear(samples);
        device.build_input_stream(config, on_data, on_error(bell), Some(OPEN_TIMEOUT))
    }
    with_some_buffer(Direction::Input, config, |wanted, ring_samples| {
        let (producer, consumer) = RingBuffer::new(ring_samples);
        let meter = Meter::new(wanted.sample_rate);
        let stream =
            by_format!(config.sample_format(), build(device, wanted, producer, &meter, bell.clone()))?;
        Ok((stream, consumer, meter))
    })
}

/// A stream that plays, and the other end of its ring.
pub(super) fn playback(
    device: &Device,
    config: &SupportedStreamConfig,
    bell: &Bell,
) -> Result<(Stream, Producer<Ears>, Meter), DeviceError> {
    fn build<T>(
        device: &Device,
        config: StreamConfig,
        ring: Consumer<Ears>,
        meter: &Meter,
        bell: Bell,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32> + 'static,
    {
        let mut play = play::<T>(config.channels, ring, meter);
        let on_data = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| play(samples);
        device.build_output_stream(config, on_data, on_error(bell), Some(OPEN_TIMEOUT))
    }
    with_some_buffer(Direction::Output, config, |wanted, ring_samples| {
        let (producer, consumer) = RingBuffer::new(ring_samples);
        let meter = Meter::new(wanted.sample_rate);
        let stream =
            by_format!(config.sample_format(), build(device, wanted, consumer, &meter, bell.clone()))?;
        Ok((stream, producer, meter))
    })
}

fn on_error(bell: Bell) -> impl FnMut(cpal::Error) + Send {
    move |error| {
        if let Some(why) = trouble::why_it_ended(&error) {
            bell.failed(why);
        }
    }
}

/// Builds and starts a stream with small buffers, or else with those that the device insists on. `build` gets the
/// configuration and the size of the ring that goes with it; each try has a ring of its own, since one that failed took
/// its end with it.
fn with_some_buffer<E>(
    direction: Direction,
    config: &SupportedStreamConfig,
    build: impl Fn(StreamConfig, usize) -> Result<(Stream, E, Meter), cpal::Error>,
) -> Result<(Stream, E, Meter), DeviceError> {
    let rate = config.sample_rate();
    let mut last = None;
    for buffer_size in buffer_sizes(config.buffer_size(), rate) {
        let wanted = StreamConfig { buffer_size, ..config.config() };
        let built = build(wanted, samples_of(ring_ms(buffer_size, rate), rate) as usize);
        match built.and_then(|built| built.0.play().map(|()| built)) {
            Ok(built) => return Ok(built),
            // Other buffers do not help against these.
            Err(error) if is_final(&error) => return Err(trouble::refused(direction, &error)),
            Err(error) => last = Some(error),
        }
    }
    // The device's own size was tried in any case.
    let error = last.unwrap_or_else(|| ErrorKind::UnsupportedConfig.into());
    Err(trouble::refused(direction, &error))
}

fn is_final(error: &cpal::Error) -> bool {
    use ErrorKind::{DeviceBusy, DeviceNotAvailable, HostUnavailable, PermissionDenied};
    matches!(error.kind(), DeviceNotAvailable | HostUnavailable | DeviceBusy | PermissionDenied)
}

/// The sizes to be asked for, in turn; the device's own at last.
fn buffer_sizes(supported: &SupportedBufferSize, rate: u32) -> Vec<BufferSize> {
    let (least, most) = match *supported {
        SupportedBufferSize::Range { min, max } if min <= max => (min.max(1), max.max(1)),
        SupportedBufferSize::Range { .. } | SupportedBufferSize::Unknown => (1, u32::MAX),
    };
    let mut sizes = BUFFERS_MS.map(|ms| BufferSize::Fixed(samples_of(ms, rate).clamp(least, most))).to_vec();
    sizes.dedup();
    sizes.push(BufferSize::Default);
    sizes
}

fn ring_ms(size: BufferSize, rate: u32) -> u32 {
    let longest = BUFFERS_MS.into_iter().max().map_or(0, |ms| samples_of(ms, rate));
    match size {
        BufferSize::Fixed(size) if size <= longest => DEVICE_RING_MS,
        BufferSize::Fixed(_) | BufferSize::Default => LARGE_DEVICE_RING_MS,
    }
}

fn samples_of(ms: u32, rate: u32) -> u32 {
    (u64::from(rate) * u64::from(ms) / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_period_counts_at_once_and_is_forgotten() {
        let meter = Meter::new(48_000);
        let mut watch = meter.watch();
        watch(4_800);
        assert_eq!((meter.period_samples(), meter.period()), (4_800, Duration::from_millis(100)));
        (0..PERIOD_CALLBACKS * 2).for_each(|_| watch(480));
        assert_eq!(meter.period_samples(), 480);
        watch(960);
        assert_eq!((meter.period_samples(), meter.callbacks()), (960, 202));
    }

    #[test]
    fn channels_become_one_and_one_becomes_all() {
        let meter = Meter::new(48_000);
        let (producer, mut heard) = RingBuffer::new(8);
        let mut hear = hear::<i16>(2, producer, &meter);
        // The last frame is not whole.
        hear(&[i16::MIN, 0, 16_384, 16_384, 5]);
        assert_eq!((heard.pop(), heard.pop(), heard.pop().ok()), (Ok(-0.5), Ok(0.5), None));
        let (mut to_play, consumer) = RingBuffer::new(8);
        let mut play = play::<u8>(3, consumer, &meter);
        let mut taken = [7; 9];
        to_play.push([0.5; 2]).unwrap();
        to_play.push([0.5, -0.5]).unwrap();
        play(&mut taken);
        assert_eq!(taken, [192, 192, 192, 192, 64, 128, 128, 128, 128]);
        assert_eq!(meter.gaps(), 1, "where sound broke off, not where it was missing on");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_what_is_no_number_is_silence() {
        let meter = Meter::new(48_000);
        let (producer, mut heard) = RingBuffer::new(3);
        let mut hear = hear::<f32>(1, producer, &meter);
        hear(&[f32::NAN, 0.25, f32::INFINITY, 0.5, 0.5]);
        assert_eq!((heard.pop(), heard.pop(), heard.pop()), (Ok(0.0), Ok(0.25), Ok(0.0)));
        assert_eq!((meter.take_overflowed(), meter.take_overflowed()), (2, 0));
    }

    #[test]
    fn small_buffers_are_asked_for_first_as_far_as_the_device_has_them() {
        use BufferSize::{Default, Fixed};
        let sizes = |min, max| buffer_sizes(&SupportedBufferSize::Range { min, max }, 48_000);
        assert_eq!(sizes(1, 1 << 22), [Fixed(480), Fixed(960), Fixed(2_400), Default]);
        assert_eq!(sizes(512, 8_192), [Fixed(512), Fixed(960), Fixed(2_400), Default]);
        assert_eq!(sizes(64, 256), [Fixed(256), Default]);
        assert_eq!(sizes(4_096, 8_192), [Fixed(4_096), Default]);
        assert_eq!(sizes(9, 3), sizes(1, u32::MAX), "a range that is none");
        assert_eq!(buffer_sizes(&SupportedBufferSize::Unknown, 44_100)[0], Fixed(441));
        assert_eq!(ring_ms(Fixed(480), 48_000), DEVICE_RING_MS);
        assert_eq!(ring_ms(Fixed(4_096), 48_000), LARGE_DEVICE_RING_MS);
        assert_eq!(ring_ms(Default, 48_000), LARGE_DEVICE_RING_MS);
    }
}
