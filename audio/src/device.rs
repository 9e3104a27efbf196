//! Sound cards, by cpal: a native PulseAudio (or PipeWire) server where one answers, else the system's usual way.
//!
//! The only module that is driven by a clock of its own, the card's. Between its callbacks and the pump there is a
//! lock-free ring each way; a callback neither allocates nor waits. A device that vanishes is a trouble to be told, and
//! silence from then on.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use cpal::{
    BufferSize, Device, ErrorKind, FromSample, Host, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    SupportedStreamConfig,
    traits::{DeviceTrait as _, HostTrait as _, StreamTrait as _},
};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    BLOCK, Block, Duration, Instant, SAMPLE_RATE_HZ,
    io::{MicRead, Microphone, Speaker},
    limits::DEVICE_RING_MS,
    resample::Resampler,
};

/// How often the rings are looked at.
const POLL: Duration = Duration::from_millis(4);
/// A server that does not answer for so long is not waited for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Buffers of this length are asked of a device; it may insist on its own.
const PERIODS_PER_SECOND: u32 = 100;
/// Sound kept ready beyond what the card takes at once, in samples at 48 kHz.
const RESERVE: usize = BLOCK;

/// Why a device cannot be used: one line that says what to do.
#[derive(Debug)]
pub struct DeviceError(String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It hears: a microphone.
    Input,
    /// It is heard: a speaker.
    Output,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "microphone",
            Self::Output => "speaker",
        })
    }
}

/// A device as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What it is for.
    pub direction: Direction,
    /// The name to choose it by.
    pub name: String,
    /// The one that is used when none is named.
    pub is_default: bool,
    /// The rates that it takes, in Hz: least and most.
    pub rates_hz: (u32, u32),
}

/// All devices, microphones first.
///
/// # Errors
/// When the sound system cannot be asked.
pub fn list() -> Result<Vec<DeviceInfo>, DeviceError> {
    quietly(list_all)
}

fn list_all() -> Result<Vec<DeviceInfo>, DeviceError> {
    let host = host();
    let mut found = Vec::new();
    for direction in [Direction::Input, Direction::Output] {
        let default = default_device(&host, direction).and_then(|device| name_of(&device));
        for device in devices(&host, direction)? {
            let (Some(name), Some(rates_hz)) = (name_of(&device), rates_of(&device, direction)) else {
                continue;
            };
            let is_default = default.as_ref() == Some(&name);
            found.push(DeviceInfo { direction, name, is_default, rates_hz });
        }
    }
    Ok(found)
}

/// Opens a microphone: by its name or an unambiguous part of it, or the default one.
///
/// # Errors
/// When there is no such device or it cannot be opened.
pub fn open_microphone(name: Option<&str>) -> Result<Box<dyn Microphone>, DeviceError> {
    quietly(|| Ok(Box::new(DeviceMicrophone::open(&find(Direction::Input, name)?)?) as Box<dyn Microphone>))
}

/// Opens a speaker, likewise.
///
/// # Errors
/// As [`open_microphone`].
pub fn open_speaker(name: Option<&str>) -> Result<Box<dyn Speaker>, DeviceError> {
    quietly(|| Ok(Box::new(DeviceSpeaker::open(&find(Direction::Output, name)?)?) as Box<dyn Speaker>))
}

/// ALSA and its plug-ins write about every device that they do not find, straight to standard error, where the user
/// reads. Standard error leads nowhere while `ask` runs; what matters is in its answer.
#[cfg(target_os = "linux")]
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    let aside = rustix::io::dup(rustix::stdio::stderr()).ok();
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").ok();
    if let (Some(_), Some(nowhere)) = (&aside, nowhere) {
        // If it does not work, there is noise.
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    let answer = ask();
    if let Some(aside) = aside {
        // It was open a moment ago.
        let _ = rustix::stdio::dup2_stderr(aside);
    }
    answer
}

#[cfg(not(target_os = "linux"))]
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    ask()
}

#[cfg(target_os = "linux")]
fn host() -> Host {
    cpal::host_from_id(cpal::HostId::PulseAudio).unwrap_or_else(|_| cpal::default_host())
}

#[cfg(not(target_os = "linux"))]
fn host() -> Host {
    cpal::default_host()
}

fn default_device(host: &Host, direction: Direction) -> Option<Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

fn devices(host: &Host, direction: Direction) -> Result<Vec<Device>, DeviceError> {
    let devices = match direction {
        Direction::Input => host.input_devices().map(Iterator::collect),
        Direction::Output => host.output_devices().map(Iterator::collect),
    };
    let devices: Vec<Device> = devices
        .map_err(|error| DeviceError(format!("the sound system cannot be asked for its devices: {error}")))?;
    Ok(devices.into_iter().filter(|device| !is_null(device)).collect())
}

/// ALSA lists a device that is none.
fn is_null(device: &Device) -> bool {
    device.id().is_ok_and(|id| id.id() == "null")
}

fn name_of(device: &Device) -> Option<String> {
    device.description().ok().map(|description| description.name().to_owned())
}

fn rates_of(device: &Device, direction: Direction) -> Option<(u32, u32)> {
    let ranges: Vec<_> = match direction {
        Direction::Input => device.supported_input_configs().ok()?.collect(),
        Direction::Output => device.supported_output_configs().ok()?.collect(),
    };
    let least = ranges.iter().map(|range| range.min_sample_rate()).min()?;
    let most = ranges.iter().map(|range| range.max_sample_rate()).max()?;
    Some((least, most))
}

fn find(direction: Direction, name: Option<&str>) -> Result<Device, DeviceError> {
    let host = host();
    let Some(name) = name else {
        return default_device(&host, direction)
            .ok_or_else(|| DeviceError(format!("there is no {direction} on this machine")));
    };
    let mut named: Vec<_> = devices(&host, direction)?
        .into_iter()
        .filter_map(|device| Some((name_of(&device)?, device)))
        .collect();
    if let Some(at) = named.iter().position(|(found, _)| found == name) {
        return Ok(named.swap_remove(at).1);
    }
    let all = named.iter().map(|(found, _)| format!("{found:?}")).collect::<Vec<_>>().join(", ");
    let part = name.to_lowercase();
    named.retain(|(found, _)| found.to_lowercase().contains(&part));
    match (named.pop(), named.is_empty()) {
        (Some((_, device)), true) => Ok(device),
        (Some(_), false) => {
            Err(DeviceError(format!("several {direction}s have {name:?} in their names; there are: {all}")))
        }
        (None, _) if all.is_empty() => {
            Err(DeviceError(format!("there is no {direction} {name:?}, nor any other on this machine")))
        }
        (None, _) => Err(DeviceError(format!("there is no {direction} {name:?}; there are: {all}"))),
    }
}

/// What the error callback has to say.
#[derive(Clone, Default)]
struct Troubles(Arc<Mutex<Option<String>>>);

impl Troubles {
    fn note(&self, direction: Direction, error: &cpal::Error) {
        // A gap in the sound, or a card that plays on elsewhere, needs nobody's attention.
        if !matches!(error.kind(), ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied) {
            let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = Some(format!("the {direction} does not work any more: {error}"));
        }
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Builds a stream with small buffers, or else with those that the device insists on.
fn with_some_buffer(
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

/// What cpal says, for somebody who wants to talk.
#[allow(clippy::wildcard_enum_match_arm)] // cpal's list grows.
fn refused(direction: Direction, error: &cpal::Error) -> DeviceError {
    DeviceError(match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => {
            format!("there is no {direction} that can be used")
        }
        ErrorKind::DeviceBusy => format!("the {direction} is in use by another program"),
        ErrorKind::PermissionDenied => {
            format!("the {direction} may not be used by this user (is he in the group audio?)")
        }
        _ => format!("the {direction} cannot be used: {error}"),
    })
}

fn unusable(direction: Direction, error: impl fmt::Display) -> DeviceError {
    DeviceError(format!("the {direction} cannot be used: {error}"))
}

fn ring_samples(rate: u32) -> usize {
    rate as usize * DEVICE_RING_MS as usize / 1000
}

/// A sound card's input.
struct DeviceMicrophone {
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
    fn open(device: &Device) -> Result<Self, DeviceError> {
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

/// A sound card's output.
struct DeviceSpeaker {
    /// Sound flows as long as this is held.
    _stream: Stream,
    ring: Producer<f32>,
    resampler: Resampler,
    converted: Vec<f32>,
    rate: u32,
    /// The most that the card took at once so far, in its own samples.
    period: Arc<AtomicUsize>,
    started: Option<Instant>,
    troubles: Troubles,
}

impl DeviceSpeaker {
    fn open(device: &Device) -> Result<Self, DeviceError> {
        let direction = Direction::Output;
        let config = device.default_output_config().map_err(|error| refused(direction, &error))?;
        let rate = config.sample_rate();
        let (mut ring, mut consumer) = RingBuffer::new(1);
        let (troubles, period) = (Troubles::default(), Arc::new(AtomicUsize::new(0)));
        let stream = with_some_buffer(direction, &config, |wanted| {
            // As above: each try has its own ring.
            (ring, consumer) = RingBuffer::new(ring_samples(rate));
            let (_, unused) = RingBuffer::new(1);
            let consumer = std::mem::replace(&mut consumer, unused);
            let (period, format) = (Arc::clone(&period), config.sample_format());
            playback_stream(device, wanted, format, consumer, period, troubles.clone())
        })?;
        let resampler =
            Resampler::new(SAMPLE_RATE_HZ, rate, BLOCK).map_err(|error| unusable(direction, error))?;
        let converted = Vec::new();
        Ok(Self { _stream: stream, ring, resampler, converted, rate, period, started: None, troubles })
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

    fn ready(&mut self, _now: Instant) -> usize {
        if self.started.is_none() {
            return 0;
        }
        let capacity = self.ring.buffer().capacity();
        let queued = capacity - self.ring.slots();
        let reserve = RESERVE * self.rate as usize / SAMPLE_RATE_HZ as usize;
        let wanted = (self.period.load(Ordering::Relaxed) + reserve).min(capacity);
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

#[allow(clippy::wildcard_enum_match_arm)] // cpal's list grows; all that is not named is unknown.
fn capture_stream(
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
fn playback_stream(
    device: &Device,
    config: StreamConfig,
    format: SampleFormat,
    ring: Consumer<f32>,
    period: Arc<AtomicUsize>,
    troubles: Troubles,
) -> Result<Stream, cpal::Error> {
    fn build<T>(
        device: &Device,
        config: StreamConfig,
        mut ring: Consumer<f32>,
        period: Arc<AtomicUsize>,
        troubles: Troubles,
    ) -> Result<Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32>,
    {
        let channels = usize::from(config.channels.max(1));
        let play = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| {
            period.fetch_max(samples.len() / channels, Ordering::Relaxed);
            for frame in samples.chunks_mut(channels) {
                // Nothing there is silence.
                let sample = T::from_sample(ring.pop().unwrap_or(0.0));
                frame.fill(sample);
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
