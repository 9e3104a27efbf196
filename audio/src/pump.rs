//! One turn of sound: what the microphone has goes out as frames, what has come in goes to the speaker.
//!
//! Whoever drives it (a thread of the client, or the simulator) calls [`Pump::receive`] for each frame that arrives and
//! [`Pump::turn`] when it is due.

use crate::{
    BLOCK_TIME, Duration, EncodedFrame, Instant, SILENCE, VoiceFrame,
    adapt::Adapter,
    capture::Capture,
    io::{DeviceStats, MicRead, Microphone, Speaker},
    limits::MAX_BLOCKS_PER_TURN,
    mix::Placing,
    playout::Playout,
    report::{ReceiverReport, Told},
};

/// Without a microphone or speaker that asks for one, a turn is due after this.
const IDLE: Duration = Duration::from_millis(100);

/// A microphone, a speaker, and what is between them and the network.
pub struct Pump {
    mic: Box<dyn Microphone>,
    speaker: Box<dyn Speaker>,
    capture: Capture,
    adapter: Adapter,
    playout: Playout,
    told: Told,
    /// Since when nothing comes from the microphone any more.
    spent: Option<Instant>,
    is_deafened: bool,
    /// The time of the last block rendered.
    rendered: Instant,
    /// What microphones and speakers that were given up have counted, and when the first of them began.
    before: Before,
}

#[derive(Default)]
struct Before {
    mic: (DeviceStats, Option<Instant>),
    speaker: (DeviceStats, Option<Instant>),
}

impl Pump {
    /// Nothing moves before [`Pump::start`].
    pub fn new(mic: Box<dyn Microphone>, speaker: Box<dyn Speaker>, capture: Capture) -> Self {
        let adapter = Adapter::new(capture.sending());
        let (playout, told, spent, rendered) = (Playout::new(), Told::default(), None, Instant::ZERO);
        let (is_deafened, before) = (false, Before::default());
        Self { mic, speaker, capture, adapter, playout, told, spent, is_deafened, rendered, before }
    }

    /// Sound begins now.
    pub fn start(&mut self, now: Instant) {
        self.mic.start(now);
        self.speaker.start(now);
    }

    /// Another microphone takes the place of the one so far, from now on; media time goes on.
    pub fn set_mic(&mut self, now: Instant, mut mic: Box<dyn Microphone>) {
        mic.start(now);
        self.before.mic = (self.device_stats().0, self.mic_started());
        self.mic = mic;
        if let Some(spent) = self.spent.take() {
            let blocks = now.since(spent).as_micros() / BLOCK_TIME.as_micros();
            // One at least: what ended had an end.
            self.capture.skip(u32::try_from(blocks).unwrap_or(u32::MAX).max(1));
        }
    }

    /// Another speaker takes the place of the one so far, from now on.
    pub fn set_speaker(&mut self, now: Instant, mut speaker: Box<dyn Speaker>) {
        speaker.start(now);
        self.before.speaker = (self.device_stats().1, self.speaker_started());
        self.speaker = speaker;
    }

    /// The devices that are heard and played to just now: [`Microphone::device`].
    pub fn devices(&self) -> [Option<&str>; 2] {
        [self.mic.device(), self.speaker.device()]
    }

    /// A frame has arrived.
    pub fn receive(&mut self, now: Instant, frame: VoiceFrame<'_>) {
        self.playout.receive(now, frame);
    }

    /// Does what is due at `now` and says when the next turn is. `send` takes the datagrams that are to be sent, as
    /// [`Capture::push`] gives them.
    pub fn turn(&mut self, now: Instant, send: &mut dyn FnMut(&[EncodedFrame<'_>])) -> Instant {
        self.adapter.update(now, self.capture.is_talking());
        self.capture.set_sending(self.adapter.sending());
        let mut block = SILENCE;
        for _ in 0..MAX_BLOCKS_PER_TURN {
            match self.mic.read(now, &mut block) {
                MicRead::Block => self.capture.push(&block, send),
                MicRead::NotYet => break,
                MicRead::Spent => {
                    if self.spent.is_none() {
                        self.capture.finish(send);
                        self.spent = Some(now);
                    }
                    break;
                }
            }
        }
        let wanted = self.speaker.ready(now).min(MAX_BLOCKS_PER_TURN);
        for left in (0..wanted).rev() {
            // Of several blocks at once the last one is of this moment; the buffers count on 10 ms between two.
            let behind = BLOCK_TIME * u32::try_from(left).unwrap_or(0);
            let at = (now - behind).max(self.rendered);
            match self.playout.placing() {
                Placing::Mono => {
                    self.playout.render(at, &mut block);
                    if self.is_deafened {
                        block = SILENCE;
                    }
                    self.capture.hear(&block);
                    self.speaker.write(&block);
                }
                Placing::Spread => {
                    let mut ears = [SILENCE; 2];
                    self.playout.render_stereo(at, &mut ears);
                    if self.is_deafened {
                        ears = [SILENCE; 2];
                    }
                    let [left, right] = &ears;
                    // The microphone hears both.
                    self.capture.hear(&std::array::from_fn(|i| (left[i] + right[i]) / 2.0));
                    self.speaker.write_stereo(left, right);
                }
            }
            self.rendered = at;
        }
        let due = [self.mic.due(now), self.speaker.due(now)].into_iter().flatten().min();
        due.unwrap_or(now + IDLE)
    }

    /// Tells what talkers are to be told of how they arrive here: those with trouble, and once when it is over.
    pub fn reports(&mut self, now: Instant, tell: &mut dyn FnMut(u32, ReceiverReport)) {
        let told = &mut self.told;
        self.playout.reports(now, &mut |talker, report| {
            if told.is_news(talker, &report) {
                tell(talker, report);
            }
        });
    }

    /// Listeners have told how this talker arrives there, the worst of it.
    pub fn reported(&mut self, now: Instant, report: ReceiverReport) {
        self.adapter.report(now, report);
    }

    /// True when the microphone is spent and all of it was handed out.
    pub fn mic_spent(&self) -> bool {
        self.spent.is_some()
    }

    /// Deafened, nothing is heard; everything else goes on, so that what is said afterwards is heard at once.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.is_deafened = deafened;
    }

    /// What the user should know, once each.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.mic.take_trouble().or_else(|| self.speaker.take_trouble())
    }

    /// The listening side, for volumes and counters.
    pub fn playout(&mut self) -> &mut Playout {
        &mut self.playout
    }

    /// The talking side, for muting and counters.
    pub fn capture(&mut self) -> &mut Capture {
        &mut self.capture
    }

    /// How the talking side is adapted to what listeners report.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// When the first sample of the microphone was captured.
    pub fn mic_started(&self) -> Option<Instant> {
        self.before.mic.1.or(self.mic.started())
    }

    /// When the first sample of the speaker was played.
    pub fn speaker_started(&self) -> Option<Instant> {
        self.before.speaker.1.or(self.speaker.started())
    }

    /// Counters of the microphone and of the speaker.
    pub fn device_stats(&self) -> (DeviceStats, DeviceStats) {
        (self.before.mic.0 + self.mic.stats(), self.before.speaker.0 + self.speaker.stats())
    }
}
