//! A client's microphone and speaker: the production path of sound (gate, Opus, jitter buffer, mixer) on the world's
//! clock, with WAV files for devices.

use std::path::PathBuf;

use chinwag_audio::{
    self as audio, Instant,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    io::{Microphone, NullMicrophone, NullSpeaker, Speaker},
    playout::PlayoutStats,
    pump::Pump,
    report::ReceiverReport,
    wav_io::{WavMicrophone, WavSpeaker},
};
use chinwag_proto::wire::voice::{Frames, VoiceFrame};

/// What one client speaks and hears.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Voice {
    /// The WAV file that it speaks from the moment that it is in; none is silence.
    pub mic: Option<PathBuf>,
    /// The WAV file into which goes what it hears; none is nowhere.
    pub speaker: Option<PathBuf>,
    /// Frames of 10 ms instead of 20.
    pub short_frames: bool,
}

/// What became of one client's voice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoiceReport {
    /// When the first sample of its microphone was captured, in microseconds of simulated time.
    pub mic_started_us: Option<u64>,
    /// When the first sample of its speaker was played.
    pub speaker_started_us: Option<u64>,
    /// What its listening side counted.
    pub playout: PlayoutStats,
}

pub(crate) struct Sound {
    pump: Pump,
    is_started: bool,
}

impl Sound {
    /// Opens the files.
    pub(crate) fn open(voice: &Voice) -> Result<Self, String> {
        let mic: Box<dyn Microphone> = match &voice.mic {
            Some(path) => Box::new(WavMicrophone::open(path).map_err(|error| error.to_string())?),
            None => Box::new(NullMicrophone),
        };
        let speaker: Box<dyn Speaker> = match &voice.speaker {
            Some(path) => Box::new(WavSpeaker::create(path).map_err(|error| error.to_string())?),
            None => Box::new(NullSpeaker),
        };
        let frame = if voice.short_frames { FrameLength::Ms10 } else { FrameLength::Ms20 };
        let config = EncoderConfig { frame, ..EncoderConfig::default() };
        let capture = Capture::new(config, Gate::default()).map_err(|error| error.to_string())?;
        Ok(Self { pump: Pump::new(mic, speaker, capture), is_started: false })
    }

    /// The conversation has begun; true when it was not known before.
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        if !self.is_started {
            self.pump.start(now);
        }
        !std::mem::replace(&mut self.is_started, true)
    }

    /// How steady the path is.
    pub(crate) fn expect_spread(&mut self, spread: audio::Duration) {
        self.pump.playout().expect_spread(spread);
    }

    /// Takes what the network has brought.
    pub(crate) fn hear(&mut self, now: Instant, payload: &[u8]) {
        for (frame, copy) in Frames::parse(payload).into_iter().flat_map(Frames::with_copies) {
            let VoiceFrame { talker, sequence, end, level, opus } = frame;
            let frame = audio::VoiceFrame { talker: talker.to_wire(), sequence, end, copy, level, opus };
            self.pump.receive(now, frame);
        }
    }

    /// A turn of the pump: when the next one is.
    pub(crate) fn turn(&mut self, now: Instant, send: &mut dyn FnMut(&[audio::EncodedFrame<'_>])) -> Instant {
        self.pump.turn(now, send)
    }

    /// What talkers are to be told.
    pub(crate) fn reports(&mut self, now: Instant, tell: &mut dyn FnMut(u32, ReceiverReport)) {
        self.pump.reports(now, tell);
    }

    /// What listeners told.
    pub(crate) fn reported(&mut self, now: Instant, report: ReceiverReport) {
        self.pump.reported(now, report);
    }

    pub(crate) fn report(&mut self) -> VoiceReport {
        VoiceReport {
            mic_started_us: self.pump.mic_started().map(Instant::as_micros),
            speaker_started_us: self.pump.speaker_started().map(Instant::as_micros),
            playout: self.pump.playout().stats(),
        }
    }
}
