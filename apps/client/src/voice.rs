//! Sound beside the network: a thread of its own that turns the pump on time, and the channels to it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use chinwag_audio::{
    self as audio,
    adapt::{AdaptStats, Sending},
    capture::{Capture, CaptureStats, Gate},
    codec::{EncoderConfig, FrameLength},
    device,
    io::{DeviceStats, Microphone, NullMicrophone, NullSpeaker, Speaker},
    limits::{MAX_COPIES, MAX_DATAGRAM_OPUS_BYTES},
    mix::Placing,
    playout::PlayoutStats,
    process::Processing,
    pump::Pump,
    report::ReceiverReport,
    wav_io::{WavMicrophone, WavSpeaker},
};
use chinwag_proto::{
    Duration, Instant, SessionId,
    client::Client,
    limits::FRAMES_PER_DATAGRAM,
    wire::{
        path::PAYLOAD_BYTES,
        voice::{FRAME_HEADER_BYTES, Frames, VoiceFrame},
    },
};
use chinwag_transport_mio::{Waker, clock};

use crate::{
    arguments::{Settings, Switch},
    meter::{Levels, Meter},
};

/// Voice payloads that wait for the sound thread; more are dropped and counted.
const WAITING_PAYLOADS: usize = 256;
/// Frames that wait for the network thread; more are dropped and counted.
const WAITING_FRAMES: usize = 256;

enum ToSound {
    /// From now on there is a conversation.
    Start(Instant, Arc<Waker>),
    Heard(Instant, Vec<u8>),
    /// How one's own voice arrives.
    Reported(Instant, ReceiverReport),
    /// How steady the path is.
    Spread(Duration),
    Order(Order),
    Stop,
}

/// What the user wants of sound while it goes on.
enum Order {
    Mute(bool),
    Deafen(bool),
    Hold(bool),
    Gate(Gate),
    MuteOther(SessionId, bool),
    /// Of one talker: 1 as he comes.
    Volume(SessionId, f32),
    /// Talkers have other numbers from now on.
    ForgetAll,
}

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct VoiceChoices {
    mic: String,
    speaker: String,
    frame_ms: u32,
    bitrate_bps: u32,
    is_stereo: bool,
    has_auto_level: bool,
    gate: Option<Gate>,
    processing: Switch,
    /// What is done if anything is.
    wanted: Processing,
    /// Somebody looks at how loud it is.
    is_metered: bool,
}

impl VoiceChoices {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            mic: settings.mic.clone(),
            speaker: settings.speaker.clone(),
            frame_ms: settings.frame_ms,
            bitrate_bps: settings.bitrate * 1000,
            is_stereo: settings.stereo,
            has_auto_level: !settings.no_auto_level,
            gate: settings.gate,
            processing: settings.processing,
            wanted: Processing {
                echo: !settings.no_echo_cancel,
                noise: !settings.no_noise_suppression,
                gain: !settings.no_gain_control,
                ..Processing::default()
            },
            is_metered: false,
        }
    }

    /// Somebody looks at how loud everybody is.
    pub(crate) fn metered(self) -> Self {
        Self { is_metered: true, ..self }
    }

    fn gate(&self) -> Gate {
        self.gate.unwrap_or_else(|| self.by_itself())
    }

    /// Without push-to-talk. A WAV file is what is to be said, sample by sample; a device hears what there is.
    fn by_itself(&self) -> Gate {
        let usual = if is_wav(&self.mic) { Gate::Level } else { Gate::Voice };
        self.gate.filter(|gate| *gate != Gate::PushToTalk).unwrap_or(usual)
    }

    fn processing(&self) -> Processing {
        match self.processing {
            Switch::Off => Processing::none(),
            Switch::Auto if is_wav(&self.mic) => Processing::none(),
            Switch::Auto | Switch::On => self.wanted,
        }
    }
}

enum FromSound {
    /// Devices are open, or here is why not.
    Opened(Result<Vec<String>>),
    /// A voice payload in nobody's name yet.
    Said(Vec<u8>),
    /// How a talker's voice arrives.
    Arrives(SessionId, ReceiverReport),
    /// A WAV microphone has come to its end, and all of it was said before this.
    Spent,
    Trouble(String),
    /// How loud everybody is now.
    Levels(Levels),
}

/// What became of sound.
#[derive(Debug, Default)]
pub(crate) struct VoiceReport {
    pub(crate) playout: PlayoutStats,
    pub(crate) capture: CaptureStats,
    pub(crate) sending: Option<Sending>,
    pub(crate) adapted: AdaptStats,
    pub(crate) mic_started: Option<Instant>,
    pub(crate) speaker_started: Option<Instant>,
    pub(crate) mic: DeviceStats,
    pub(crate) speaker: DeviceStats,
    /// Payloads and frames that one thread was too slow to take from the other.
    pub(crate) dropped_between_threads: u64,
}

/// The sound thread, seen from the network thread.
#[derive(Debug)]
pub(crate) struct Voice {
    to_sound: SyncSender<ToSound>,
    from_sound: Receiver<FromSound>,
    thread: JoinHandle<VoiceReport>,
    troubles: Vec<String>,
    /// The microphone is a file that has not come to its end.
    is_speaking_file: bool,
    has_mic: bool,
    /// When the microphone is sent.
    gate: Gate,
    /// When it is, if it is not by push-to-talk.
    by_itself: Gate,
    is_muted: bool,
    is_deafened: bool,
    /// The button of push-to-talk is held.
    is_talking: bool,
    /// Whom the user does not want to hear.
    muted: BTreeSet<SessionId>,
    /// What the sound thread was told of the path.
    spread: Option<Duration>,
    /// What somebody may look at, since he did last.
    levels: Option<Levels>,
    /// In thousandths, what is lost of a talker's voice, or of the user's own.
    arrivals: Vec<(Option<SessionId>, u16)>,
    is_metered: bool,
    dropped: u64,
}

impl Voice {
    /// Opens what `--mic` and `--speaker` name. A missing default device is told in the notices that come with it, and done without.
    pub(crate) fn open(choices: VoiceChoices) -> Result<(Self, Vec<String>)> {
        let (to_sound, inbox) = sync_channel(WAITING_PAYLOADS);
        let (outbox, from_sound) = sync_channel(WAITING_FRAMES);
        let is_speaking_file = is_wav(&choices.mic);
        let (has_mic, is_metered) = (choices.mic != NONE, choices.is_metered);
        let (gate, by_itself) = (choices.gate(), choices.by_itself());
        // Sound is due every few milliseconds, whatever the network does.
        let thread = thread::Builder::new()
            .name("sound".to_owned())
            .spawn(move || run(&choices, &inbox, &outbox))
            .context("no thread for sound could be started")?;
        let notices = match from_sound.recv() {
            Ok(FromSound::Opened(result)) => result?,
            Ok(_) | Err(_) => anyhow::bail!("sound could not be started"),
        };
        let voice = Self {
            to_sound,
            from_sound,
            thread,
            troubles: Vec::new(),
            is_speaking_file,
            has_mic,
            gate,
            by_itself,
            is_muted: false,
            is_deafened: false,
            is_talking: false,
            muted: BTreeSet::new(),
            spread: None,
            levels: None,
            arrivals: Vec::new(),
            is_metered,
            dropped: 0,
        };
        Ok((voice, notices))
    }

    /// The conversation has begun.
    pub(crate) fn start(&mut self, now: Instant, waker: Arc<Waker>) {
        self.tell(ToSound::Start(now, waker));
    }

    /// Voice of others has come.
    pub(crate) fn hear(&mut self, now: Instant, payload: &[u8]) {
        self.tell(ToSound::Heard(now, payload.to_vec()));
    }

    /// Listeners tell how what the microphone says arrives.
    pub(crate) fn reported(&mut self, now: Instant, report: ReceiverReport) {
        if self.is_metered {
            self.arrivals.push((None, report.lost_per_mille));
        }
        self.tell(ToSound::Reported(now, report));
    }

    /// Sends what the microphone has said.
    pub(crate) fn talk(&mut self, now: Instant, client: &mut Client) {
        if client.session().is_none() {
            return;
        }
        let spread = client.stats().voice_spread;
        if let Some(new) = spread.filter(|_| spread != self.spread) {
            self.spread = spread;
            self.tell(ToSound::Spread(new));
        }
        for said in self.from_sound.try_iter() {
            match said {
                FromSound::Said(payload) => {
                    client.send_voice(now, Frames::parse(&payload).into_iter().flatten());
                }
                FromSound::Arrives(talker, report) => {
                    if self.is_metered {
                        self.arrivals.push((Some(talker), report.lost_per_mille));
                    }
                    client.report_voice(talker, report);
                }
                FromSound::Levels(levels) => self.levels = Some(levels),
                FromSound::Spent => self.is_speaking_file = false,
                FromSound::Trouble(trouble) => self.troubles.push(trouble),
                FromSound::Opened(_) => {}
            }
        }
    }

    /// Mutes the microphone, or no more; tells which.
    pub(crate) fn toggle_mute(&mut self) -> &'static str {
        self.is_muted = !self.is_muted;
        self.order(Order::Mute(self.is_muted));
        match (self.is_muted, self.is_push_to_talk() && !self.is_talking) {
            (true, _) => "nobody hears you now; /mute again ends that",
            (false, false) => "you are heard again",
            (false, true) => "you are no longer muted; /ptt begins to talk",
        }
    }

    /// Silences everybody, or no more; tells which.
    pub(crate) fn toggle_deafen(&mut self) -> &'static str {
        self.is_deafened = !self.is_deafened;
        self.order(Order::Deafen(self.is_deafened));
        if self.is_deafened {
            "you hear nobody now, but are heard as before; /deafen again ends that"
        } else {
            "you hear the others again"
        }
    }

    /// Presses the button of push-to-talk, or lets it go; tells which.
    pub(crate) fn toggle_talk(&mut self) -> &'static str {
        if !self.is_push_to_talk() {
            return "/ptt is for push-to-talk, which --gate ptt switches on";
        }
        self.is_talking = !self.is_talking;
        self.order(Order::Hold(self.is_talking));
        match (self.is_talking, self.is_muted) {
            (true, false) => "you are heard now; /ptt again ends that",
            (true, true) => "nobody hears you, since you are muted; /mute ends that",
            (false, false) => "you are no longer heard",
            (false, true) => "you no longer talk, and are still muted",
        }
    }

    fn is_push_to_talk(&self) -> bool {
        self.gate == Gate::PushToTalk
    }

    /// Goes from push-to-talk to what the voice itself does, or back; tells which.
    pub(crate) fn toggle_activity(&mut self) -> &'static str {
        self.is_talking = false;
        self.order(Order::Hold(false));
        self.gate = if self.is_push_to_talk() { self.by_itself } else { Gate::PushToTalk };
        self.order(Order::Gate(self.gate));
        if self.is_push_to_talk() {
            "you are heard by push-to-talk now: /ptt begins to talk; /vad again ends that"
        } else {
            "you are heard when you speak now; /vad again goes back to push-to-talk"
        }
    }

    /// Silences one of the others, or no more; true if he is silent now.
    pub(crate) fn toggle_other(&mut self, session: SessionId) -> bool {
        let is_muted = self.muted.insert(session) || !self.muted.remove(&session);
        self.order(Order::MuteOther(session, is_muted));
        is_muted
    }

    /// Makes one of the others louder by so many decibels, and heard if he was not.
    pub(crate) fn set_volume(&mut self, session: SessionId, db: f32) {
        if self.muted.remove(&session) {
            self.order(Order::MuteOther(session, false));
        }
        self.order(Order::Volume(session, 10.0_f32.powf(db / 20.0)));
    }

    /// Somebody left; whoever has his number next is somebody else.
    pub(crate) fn forget(&mut self, session: SessionId) {
        self.muted.remove(&session);
    }

    /// Everybody has another number from now on: what was set for the old ones is not for those who have them now.
    pub(crate) fn forget_all(&mut self) {
        self.muted.clear();
        self.order(Order::ForgetAll);
    }

    /// How loud everybody is, if that has changed.
    pub(crate) fn take_levels(&mut self) -> Option<Levels> {
        self.levels.take()
    }

    /// How voice arrives, since this was asked last: of whom, or the user's own, and what is lost of it in thousandths.
    pub(crate) fn take_arrivals(&mut self) -> Vec<(Option<SessionId>, u16)> {
        std::mem::take(&mut self.arrivals)
    }

    /// Whom the user does not hear.
    pub(crate) fn muted(&self) -> &BTreeSet<SessionId> {
        &self.muted
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.is_muted
    }

    pub(crate) fn is_deafened(&self) -> bool {
        self.is_deafened
    }

    /// When the microphone is sent, if there is one.
    pub(crate) fn gate(&self) -> Option<chinwag_screen::Gate> {
        self.has_mic.then_some(match self.gate {
            Gate::Voice => chinwag_screen::Gate::Voice,
            Gate::Level => chinwag_screen::Gate::Level,
            Gate::Open => chinwag_screen::Gate::Open,
            Gate::PushToTalk => chinwag_screen::Gate::PushToTalk { is_held: self.is_talking },
        })
    }

    /// True when nothing more will come from the microphone, unless it is a person's.
    pub(crate) fn has_said_all(&self) -> bool {
        !self.is_speaking_file
    }

    /// What the user should know, once each.
    pub(crate) fn troubles(&mut self) -> Vec<String> {
        std::mem::take(&mut self.troubles)
    }

    /// Stops sound.
    pub(crate) fn finish(self) -> VoiceReport {
        let Self { to_sound, from_sound, thread, dropped, .. } = self;
        // Its last frames have nowhere to go, and must not keep it from hearing that it is over.
        drop(from_sound);
        let _ = to_sound.send(ToSound::Stop);
        let mut report = thread.join().unwrap_or_default();
        report.dropped_between_threads += dropped;
        report
    }

    /// The user wants this; waits for a sound thread that is behind.
    fn order(&mut self, order: Order) {
        // One that has failed has said so.
        let _ = self.to_sound.send(ToSound::Order(order));
    }

    fn tell(&mut self, message: ToSound) {
        // A sound thread that has failed has said so; a slow one loses voice, not the conversation.
        if let Err(TrySendError::Full(_)) = self.to_sound.try_send(message) {
            self.dropped += 1;
        }
    }
}

pub(crate) fn is_wav(choice: &str) -> bool {
    Path::new(choice).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"))
}

/// What `--mic` and `--speaker` say besides the name of a device or file.
const DEFAULT: &str = "default";
pub(crate) const NONE: &str = "none";

/// Opens what `--mic` names.
pub(crate) fn open_mic(choice: &str) -> Result<Box<dyn Microphone>> {
    Ok(match choice {
        NONE => Box::new(NullMicrophone),
        choice if is_wav(choice) => Box::new(WavMicrophone::open(choice)?),
        choice => device::open_microphone(device_name(choice))?,
    })
}

/// Opens what `--speaker` names.
pub(crate) fn open_speaker(choice: &str, is_stereo: bool) -> Result<Box<dyn Speaker>> {
    Ok(match choice {
        NONE => Box::new(NullSpeaker),
        choice if is_wav(choice) && is_stereo => Box::new(WavSpeaker::create_stereo(choice)?),
        choice if is_wav(choice) => Box::new(WavSpeaker::create(choice)?),
        choice => device::open_speaker(device_name(choice))?,
    })
}

/// Without the default device there is a notice that ends in `so`, and none in its place.
fn or_none<T: ?Sized>(
    opened: Result<Box<T>>,
    choice: &str,
    none: Box<T>,
    so: &str,
    notices: &mut Vec<String>,
) -> Result<Box<T>> {
    opened.or_else(|error| {
        if choice != DEFAULT {
            return Err(error);
        }
        notices.push(format!("{error}: {so}"));
        Ok(none)
    })
}

/// Opens both. A missing default device is told in `notices` and done without.
pub(crate) fn open_devices(
    mic: &str,
    speaker: &str,
    is_stereo: bool,
    notices: &mut Vec<String>,
) -> Result<(Box<dyn Microphone>, Box<dyn Speaker>)> {
    let (unheard, deaf) = ("nobody will hear you", "you will not hear the others");
    let opened_mic = or_none(open_mic(mic), mic, Box::new(NullMicrophone), unheard, notices)?;
    let opened = open_speaker(speaker, is_stereo);
    Ok((opened_mic, or_none(opened, speaker, Box::new(NullSpeaker), deaf, notices)?))
}

fn device_name(choice: &str) -> Option<&str> {
    Some(choice).filter(|choice| *choice != DEFAULT)
}

/// The sound thread.
fn run(choices: &VoiceChoices, inbox: &Receiver<ToSound>, outbox: &SyncSender<FromSound>) -> VoiceReport {
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
    let mut sound = Sound { pump, outbox, waker: None, due: None, is_spent: false, meter, dropped: 0 };
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
    is_spent: bool,
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
            Order::Hold(is_held) => self.pump.capture().set_held(is_held),
            Order::MuteOther(talker, is_muted) => {
                self.pump.playout().set_muted(talker.to_wire(), is_muted);
            }
            Order::Volume(talker, volume) => {
                self.pump.playout().set_volume(talker.to_wire(), volume);
            }
            Order::ForgetAll => self.pump.playout().forget_all(),
        }
    }

    fn turn(&mut self) {
        let now = clock::now();
        if self.due.is_none_or(|due| due > now) {
            return;
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
        if let Some(trouble) = self.pump.take_trouble() {
            has_news |= outbox.try_send(FromSound::Trouble(trouble)).is_ok();
        }
        if self.pump.mic_spent() && !self.is_spent {
            // The network thread must learn this, also when it is busy.
            self.is_spent = outbox.try_send(FromSound::Spent).is_ok();
            has_news = true;
        }
        let (level, is_sent) = (self.pump.capture().level(), self.pump.capture().is_talking());
        if let Some(levels) = self.meter.as_mut().and_then(|meter| meter.look(now, level, is_sent)) {
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
