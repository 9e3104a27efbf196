//! The sound thread: it turns the pump on time.

use std::sync::{
    Arc,
    mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
};

use anyhow::Context as _;
use chinwag_audio::{
    self as audio,
    capture::Capture,
    codec::{EncoderConfig, FrameLength},
    limits::{MAX_COPIES, MAX_DATAGRAM_OPUS_BYTES},
    mix::Placing,
    pump::Pump,
};
use chinwag_proto::{
    Instant, SessionId,
    limits::FRAMES_PER_DATAGRAM,
    wire::{
        path::PAYLOAD_BYTES,
        voice::{FRAME_HEADER_BYTES, Frames, VoiceFrame},
    },
};
use chinwag_transport_mio::{Waker, clock};

use super::{FromSound, Order, ToSound, VoiceChoices, VoiceReport, held::Held, open_devices};
use crate::meter::Meter;

/// The thread.
pub(super) fn run(
    choices: &VoiceChoices,
    inbox: &Receiver<ToSound>,
    outbox: &SyncSender<FromSound>,
) -> VoiceReport {
    let mut notices = Vec::new();
    let VoiceChoices { mic, speaker, is_stereo, .. } = choices;
    let opened = open_devices(mic, speaker, *is_stereo, &mut notices).and_then(|(mic, speaker)| {
        let frame = FrameLength::from_ms(choices.frame_ms).context("frames are 10 or 20 ms long")?;
        let bitrate_bps = choices.bitrate_bps;
        let config = EncoderConfig { frame, bitrate_bps, ..EncoderConfig::default() };
        let mut capture = Capture::new(config, choices.gate())?;
        capture.set_processing(choices.processing());
        let mut pump = Pump::new(mic, speaker, capture);
        pump.playout().set_placing(if choices.is_stereo { Placing::Spread } else { Placing::Mono });
        pump.playout().set_auto_level(choices.has_auto_level);
        Ok(pump)
    });
    let pump = match opened {
        Ok(pump) => pump,
        Err(error) => {
            // Whoever waits for this is there.
            let _ = outbox.send(FromSound::Opened(Err(error)));
            return VoiceReport::default();
        }
    };
    if outbox.send(FromSound::Opened(Ok(notices))).is_err() {
        return VoiceReport::default();
    }
    let meter = choices.is_metered.then(Meter::default);
    let mut sound = Sound {
        pump,
        outbox,
        waker: None,
        due: None,
        held: Held::new(choices.ptt_limit),
        let_go: None,
        is_spent: false,
        devices: [None, None],
        meter,
        dropped: 0,
    };
    loop {
        let message = match sound.due {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.since(clock::now())),
        };
        match message {
            Ok(ToSound::Start(now, waker)) => sound.start(now, waker),
            Ok(ToSound::Heard(now, payload)) => sound.hear(now, &payload),
            Ok(ToSound::Reported(now, report)) => sound.pump.reported(now, report),
            Ok(ToSound::Spread(spread)) => sound.pump.playout().expect_spread(spread),
            Ok(ToSound::Order(order)) => sound.order(order),
            Ok(ToSound::Mic(mic)) => sound.take_up(|pump, now| pump.set_mic(now, mic)),
            Ok(ToSound::Speaker(speaker)) => sound.take_up(|pump, now| pump.set_speaker(now, speaker)),
            Ok(ToSound::Stop) | Err(RecvTimeoutError::Disconnected) => return sound.report(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        sound.turn();
    }
}

// A datagram's worth of frames is one payload.
const _: () = assert!(
    MAX_DATAGRAM_OPUS_BYTES + (1 + MAX_COPIES) * FRAME_HEADER_BYTES <= PAYLOAD_BYTES
        && MAX_COPIES < FRAMES_PER_DATAGRAM
);

/// What was said as a voice payload; the client fills in who.
fn payload_of(frames: &[audio::EncodedFrame<'_>]) -> Vec<u8> {
    let bytes = frames.iter().map(|frame| FRAME_HEADER_BYTES + frame.opus.len()).sum();
    let mut payload = Vec::with_capacity(bytes);
    for &audio::EncodedFrame { sequence, end, level, opus } in frames {
        let talker = SessionId::from_wire(0);
        VoiceFrame { talker, sequence, end, level, opus }.write(&mut payload);
    }
    payload
}

struct Sound<'a> {
    pump: Pump,
    outbox: &'a SyncSender<FromSound>,
    waker: Option<Arc<Waker>>,
    /// The next turn, once there is a conversation.
    due: Option<Instant>,
    held: Held,
    /// Why push-to-talk was let go, until that is told.
    let_go: Option<String>,
    is_spent: bool,
    /// The devices that the network thread was told of.
    devices: [Option<String>; 2],
    meter: Option<Meter>,
    dropped: u64,
}

impl Sound<'_> {
    fn start(&mut self, now: Instant, waker: Arc<Waker>) {
        self.pump.start(now);
        self.waker = Some(waker);
        self.due = Some(now);
    }

    fn hear(&mut self, now: Instant, payload: &[u8]) {
        for (frame, copy) in Frames::parse(payload).into_iter().flat_map(Frames::with_copies) {
            let VoiceFrame { talker, sequence, end, level, opus } = frame;
            if let Some(meter) = self.meter.as_mut().filter(|_| !copy) {
                meter.hear(now, talker, level);
            }
            let frame = audio::VoiceFrame { talker: talker.to_wire(), sequence, end, copy, level, opus };
            self.pump.receive(now, frame);
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Mute(is_muted) => self.pump.capture().set_muted(is_muted),
            Order::Deafen(is_deafened) => self.pump.set_deafened(is_deafened),
            Order::Gate(gate) => self.pump.capture().set_gate(gate),
            Order::Hold(is_held) => {
                self.held.set(clock::now(), is_held);
                self.pump.capture().set_held(is_held);
            }
            Order::MuteOther(talker, is_muted) => {
                self.pump.playout().set_muted(talker.to_wire(), is_muted);
            }
            Order::Volume(talker, volume) => {
                self.pump.playout().set_volume(talker.to_wire(), volume);
            }
            Order::ForgetAll => self.pump.playout().forget_all(),
        }
    }

    /// Another device is not to wait until one more turn of those so far is due.
    fn take_up(&mut self, set: impl FnOnce(&mut Pump, Instant)) {
        let now = clock::now();
        set(&mut self.pump, now);
        self.due = self.due.map(|_| now);
    }

    fn turn(&mut self) {
        let now = clock::now();
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if let Some(why) = self.held.look(now) {
            self.pump.capture().set_held(false);
            self.let_go = Some(why);
        }
        let (outbox, mut dropped, mut has_news) = (self.outbox, 0, false);
        self.due = Some(self.pump.turn(now, &mut |frames| {
            let said = FromSound::Said(payload_of(frames));
            dropped += u64::from(outbox.try_send(said).is_err());
            has_news = true;
        }));
        self.dropped += dropped;
        self.pump.reports(now, &mut |talker, report| {
            // One that finds no room is made up for by the next one.
            has_news |= outbox.try_send(FromSound::Arrives(SessionId::from_wire(talker), report)).is_ok();
        });
        let devices = self.pump.devices();
        if self.devices.each_ref().map(Option::as_deref) != devices {
            let devices = devices.map(|device| device.map(str::to_owned));
            if outbox.try_send(FromSound::Devices(devices.clone())).is_ok() {
                (self.devices, has_news) = (devices, true);
            }
        }
        if let Some(trouble) = self.pump.take_trouble() {
            has_news |= outbox.try_send(FromSound::Trouble(trouble)).is_ok();
        }
        if let Some(why) = self.let_go.take() {
            match outbox.try_send(FromSound::LetGo(why)) {
                Err(TrySendError::Full(FromSound::LetGo(why))) => self.let_go = Some(why),
                _ => has_news = true,
            }
        }
        if self.pump.mic_spent() && !self.is_spent {
            // The network thread must learn this, also when it is busy.
            self.is_spent = outbox.try_send(FromSound::Spent).is_ok();
            has_news = true;
        }
        let (level, is_open) = (self.pump.capture().level(), self.pump.capture().is_talking());
        if let Some(levels) = self.meter.as_mut().and_then(|meter| meter.look(now, level, is_open)) {
            // One that finds no room is made up for by the next one.
            has_news |= outbox.try_send(FromSound::Levels(levels)).is_ok();
        }
        if let Some(waker) = self.waker.as_ref().filter(|_| has_news) {
            // A loop that cannot be woken has ended.
            let _ = waker.wake();
        }
    }

    fn report(mut self) -> VoiceReport {
        let (mic, speaker) = self.pump.device_stats();
        VoiceReport {
            mic,
            speaker,
            playout: self.pump.playout().stats(),
            capture: self.pump.capture().stats(),
            sending: Some(self.pump.adapter().sending()),
            adapted: self.pump.adapter().stats(),
            mic_started: self.pump.mic_started(),
            speaker_started: self.pump.speaker_started(),
            dropped_between_threads: self.dropped,
        }
    }
}
