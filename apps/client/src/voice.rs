//! Sound beside the network, seen from the network's thread: what the user wants of it, and the channels to the thread that does it
//! ([`sound`]).

mod change;
mod devices;
mod held;
mod open;
mod sound;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use chinwag_audio::{
    adapt::{AdaptStats, Sending},
    capture::{CaptureStats, Gate},
    io::{DeviceStats, Microphone, Speaker},
    playout::PlayoutStats,
    process::Processing,
    report::ReceiverReport,
};
use chinwag_proto::{Duration, Instant, SessionId, client::Client, wire::voice::Frames};
use chinwag_transport_mio::Waker;

use self::{change::Changer, devices::Use};
pub(crate) use self::{
    devices::DeviceNews,
    open::{NONE, is_wav, open_devices, open_mic, open_speaker},
};
use crate::{
    arguments::{Settings, Switch},
    meter::Levels,
    switch::{Answer, Hand, To, What},
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
    /// Another device in the place of the one so far.
    Mic(Box<dyn Microphone + Send>),
    Speaker(Box<dyn Speaker + Send>),
    Stop,
}

/// What is told to one who is heard nowhere.
pub(crate) const NOWHERE: &str = "you talk and listen nowhere now; /voice in a room does so there";

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
    /// Push-to-talk lasts no longer.
    ptt_limit: Duration,
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
            ptt_limit: Duration::from_secs(settings.ptt_seconds.into()),
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
    /// Push-to-talk was let go, and why.
    LetGo(String),
    /// How loud everybody is now.
    Levels(Levels),
    /// The sound system's names of the microphone and the speaker that are in use.
    Devices([Option<String>; 2]),
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
    /// What was asked for of microphone and speaker.
    uses: [Use; 2],
    /// Those that are in use.
    devices: [Option<String>; 2],
    /// Once something was wanted of devices.
    changer: Option<Changer>,
    /// When the microphone is sent.
    gate: Gate,
    /// When it is, if it is not by push-to-talk.
    by_itself: Gate,
    /// The user talks and listens somewhere.
    has_room: bool,
    is_muted: bool,
    is_deafened: bool,
    /// Who holds the button of push-to-talk, if anybody does.
    holder: Option<Hand>,
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
        let uses = [&choices.mic, &choices.speaker].map(|choice| Use::of(choice));
        let is_metered = choices.is_metered;
        let (gate, by_itself) = (choices.gate(), choices.by_itself());
        // Sound is due every few milliseconds, whatever the network does.
        let thread = thread::Builder::new()
            .name("sound".to_owned())
            .spawn(move || sound::run(&choices, &inbox, &outbox))
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
            uses,
            devices: [None, None],
            changer: None,
            gate,
            by_itself,
            has_room: true,
            is_muted: false,
            is_deafened: false,
            holder: None,
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

    /// Whether the user talks and listens somewhere.
    pub(crate) fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
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
        let mut let_go = None;
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
                FromSound::Devices(devices) => self.devices = devices,
                FromSound::Spent => self.is_speaking_file = false,
                FromSound::Trouble(trouble) => self.troubles.push(trouble),
                FromSound::LetGo(why) => let_go = Some(why),
                FromSound::Opened(_) => {}
            }
        }
        if let Some(why) = let_go {
            if self.holder.is_some() {
                self.troubles.push(why);
            }
            // It may be held again meanwhile: what is shown and what is so must not differ.
            self.hold(None);
        }
    }

    /// Switches something on or off; tells how it is now, or why it cannot be.
    pub(crate) fn switch(&mut self, what: What, to: To, hand: Hand) -> Answer {
        let is_on = to.from(self.is_on(what));
        match what {
            What::Ptt => self.switch_talk(is_on, hand),
            What::Mute => Ok(self.set_mute(is_on)),
            What::Deafen => Ok(self.set_deafen(is_on)),
        }
    }

    /// Whether it is on.
    pub(crate) fn is_on(&self, what: What) -> bool {
        match what {
            What::Ptt => self.holder.is_some(),
            What::Mute => self.is_muted,
            What::Deafen => self.is_deafened,
        }
    }

    /// Mutes the microphone, or no more.
    fn set_mute(&mut self, is_muted: bool) -> &'static str {
        self.is_muted = is_muted;
        self.order(Order::Mute(is_muted));
        match (is_muted, self.is_push_to_talk() && self.holder.is_none()) {
            (false, _) if !self.has_room => NOWHERE,
            (true, _) => "nobody hears you now; /mute again ends that",
            (false, false) => "you are heard again",
            (false, true) => "you are no longer muted; /ptt begins to talk",
        }
    }

    /// Silences everybody, or no more.
    fn set_deafen(&mut self, is_deafened: bool) -> &'static str {
        self.is_deafened = is_deafened;
        self.order(Order::Deafen(is_deafened));
        if is_deafened {
            "you hear nobody now, but are heard as before; /deafen again ends that"
        } else {
            "you hear the others again"
        }
    }

    /// Presses the button of push-to-talk, or lets it go.
    fn switch_talk(&mut self, is_on: bool, hand: Hand) -> Answer {
        if self.uses[0] == Use::Nothing {
            return Err("you have no microphone; --mic gives you one");
        }
        if !self.is_push_to_talk() {
            return Err("push-to-talk is off; /vad or --gate ptt switches it on");
        }
        if is_on && !self.has_room {
            return Err(NOWHERE);
        }
        // Whoever holds it already does not hold it for longer.
        if is_on != self.holder.is_some() {
            self.hold(Some(hand).filter(|_| is_on));
        }
        Ok(match (is_on, self.is_muted) {
            (true, false) => "you are heard now; /ptt again ends that",
            (true, true) => "nobody hears you, since you are muted; /mute ends that",
            (false, false) => "you are no longer heard",
            (false, true) => "you no longer talk, and are still muted",
        })
    }

    /// Nobody sits at the terminal any more: true if he talked by push-to-talk.
    pub(crate) fn leave_seat(&mut self) -> bool {
        let held = self.holder == Some(Hand::Seat);
        if held {
            self.hold(None);
        }
        held
    }

    fn hold(&mut self, holder: Option<Hand>) {
        self.holder = holder;
        self.order(Order::Hold(holder.is_some()));
    }

    fn is_push_to_talk(&self) -> bool {
        self.gate == Gate::PushToTalk
    }

    /// Push-to-talk from now on.
    pub(crate) fn use_push_to_talk(&mut self) {
        if !self.is_push_to_talk() {
            self.toggle_activity();
        }
    }

    /// Goes from push-to-talk to what the voice itself does, or back; tells which.
    pub(crate) fn toggle_activity(&mut self) -> &'static str {
        self.hold(None);
        self.gate = if self.is_push_to_talk() { self.by_itself } else { Gate::PushToTalk };
        self.order(Order::Gate(self.gate));
        match (self.is_push_to_talk(), self.has_room) {
            (true, true) => "you are heard by push-to-talk now: /ptt begins to talk; /vad again ends that",
            (false, true) => "you are heard when you speak now; /vad again goes back to push-to-talk",
            (true, false) => "push-to-talk it is, when you talk somewhere: /voice in a room does so there",
            (false, false) => "your voice it is, when you talk somewhere: /voice in a room does so there",
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

    /// Everybody has another number from now on: what was set for the old ones is not for those who have them now. True when anybody
    /// was muted.
    pub(crate) fn forget_all(&mut self) -> bool {
        self.order(Order::ForgetAll);
        !std::mem::take(&mut self.muted).is_empty()
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
        (self.uses[0] != Use::Nothing).then_some(match self.gate {
            Gate::Voice => chinwag_screen::Gate::Voice,
            Gate::Level => chinwag_screen::Gate::Level,
            Gate::Open => chinwag_screen::Gate::Open,
            Gate::PushToTalk => chinwag_screen::Gate::PushToTalk { is_held: self.holder.is_some() },
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
