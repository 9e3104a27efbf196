//! The lab's call by production's code: `Capture` to `Playout`.

use chinwag_audio::{
    BLOCK_US, Duration, EncodedFrame, Instant, SAMPLE_RATE_HZ, SILENCE, VoiceFrame,
    adapt::{AdaptStats, Adapter},
    capture::Capture,
    codec::Encoder,
    playout::Playout,
    report::{ReceiverReport, Told},
};

use chinwag_proto::{
    client::spread_of,
    limits::{FIRST_PROBES, PROBE_INTERVAL_FIRST},
};

use super::{
    Lab, LabError, LabReport, TAIL_US, failed,
    path::{Path, PathCounts},
    record::{Now, Recorder, TalkerCounts},
    talker::{Speech, captured_us},
};
use crate::{
    queue::EventQueue,
    random::{Domain, stream},
};

/// What a packet has besides voice frames: IP and UDP, then the clear header and the tag of a sealed datagram.
const PACKET_BYTES: u64 = 28 + 13 + 16;
/// What a frame has besides its Opus bytes.
const FRAME_BYTES: u64 = 12;
/// Virtual time begins here: far from zero, so that no difference of times hides behind a bound.
const BEGIN_US: u64 = 7_000_000;

enum Event {
    /// A talker's next block has been captured.
    Captured(usize),
    Arrived(Datagram),
    /// What the listener reported has reached the talker.
    Reported(usize, ReceiverReport),
    /// The listener's next block is due.
    Render,
}

struct Datagram {
    talker: usize,
    /// The new frame first, copies of older ones behind it.
    frames: Vec<Frame>,
}

struct Frame {
    sequence: u32,
    end: bool,
    level: u8,
    opus: Vec<u8>,
}

struct Talker {
    speech: Speech,
    capture: Capture,
    /// None: it sends the same whatever is reported.
    adapter: Option<Adapter>,
    path: Path,
}

/// A talker's frames on their way to the listener.
struct Link<'a> {
    queue: &'a mut EventQueue<Event>,
    path: &'a mut Path,
    talker: usize,
    now_us: u64,
}

impl Link<'_> {
    fn send(&mut self, frames: &[EncodedFrame<'_>]) {
        let payload: u64 = frames.iter().map(|frame| frame.opus.len() as u64 + FRAME_BYTES).sum();
        for at_us in self.path.send(self.now_us, payload + PACKET_BYTES) {
            let own = |frame: &EncodedFrame<'_>| {
                let EncodedFrame { sequence, end, level, opus } = *frame;
                Frame { sequence, end, level, opus: opus.to_vec() }
            };
            let frames = frames.iter().map(own).collect();
            self.queue.push(at_us, Event::Arrived(Datagram { talker: self.talker, frames }));
        }
    }
}

pub(super) fn run(lab: &Lab) -> Result<LabReport, LabError> {
    let phase_us = lab.phase_us.unwrap_or_else(|| stream(lab.seed, Domain::LabPhase, 0).below(BLOCK_US));
    let mut world = World::new(lab, phase_us)?;
    let mut queue = EventQueue::default();
    for (index, talker) in world.talkers.iter().enumerate() {
        queue.push(talker.speech.due_us(), Event::Captured(index));
    }
    queue.push(phase_us, Event::Render);
    let (mut said_us, mut talking) = (0, world.talkers.len());
    let quiet_us = TAIL_US + lab.net.delay_us + lab.net.step_us;
    while let Some((now_us, event)) = queue.pop() {
        match event {
            Event::Captured(index) => match world.capture(index, now_us, &mut queue)? {
                Some(due_us) => {
                    said_us = now_us;
                    queue.push(due_us, Event::Captured(index));
                }
                None => talking -= 1,
            },
            Event::Arrived(datagram) => world.receive(now_us, &datagram),
            Event::Reported(index, report) => world.reported(index, now_us, report),
            Event::Render => {
                world.render(now_us)?;
                world.report(now_us, lab.net.least_us(now_us), &mut queue);
                if talking == 0 && now_us >= said_us + quiet_us {
                    return world.finish(said_us, now_us);
                }
                queue.push(now_us + BLOCK_US, Event::Render);
            }
        }
    }
    Err(failed("the listener went away"))
}

struct World {
    talkers: Vec<Talker>,
    playout: Playout,
    told: Told,
    recorder: Recorder,
    drift_ppm: i32,
    lookahead_us: u64,
}

impl World {
    fn new(lab: &Lab, phase_us: u64) -> Result<Self, LabError> {
        if !(1..=super::MAX_TALKERS).contains(&lab.mics.len()) {
            return Err(failed(format_args!("1 to {} can talk", super::MAX_TALKERS)));
        }
        let frame_us = lab.encoder.frame.blocks() as u64 * BLOCK_US;
        let talker = |(file, index)| {
            let mut capture = Capture::new(lab.encoder, lab.gate).map_err(failed)?;
            let mut sending = capture.sending();
            sending.offsets.iter_mut().zip(&lab.copies).for_each(|(to, from)| *to = *from);
            capture.set_sending(sending);
            Ok(Talker {
                speech: Speech::open(lab, file)?,
                adapter: (!lab.is_fixed).then(|| Adapter::new(capture.sending())),
                capture,
                path: Path::new(lab.net, lab.seed, index, frame_us),
            })
        };
        let mut playout = Playout::new();
        playout.expect_spread(probed_spread(lab));
        let lookahead = Encoder::new(lab.encoder).map_err(failed)?.lookahead_samples() as u64;
        Ok(Self {
            talkers: lab.mics.iter().zip(0..).map(talker).collect::<Result<_, _>>()?,
            playout,
            told: Told::default(),
            recorder: Recorder::create(lab.heard.as_deref(), phase_us + BLOCK_US)?,
            drift_ppm: lab.drift_ppm,
            lookahead_us: lookahead * 1_000_000 / u64::from(SAMPLE_RATE_HZ),
        })
    }

    /// Takes a talker's block and sends what is to be sent. When the next one is due; `None` after the last one.
    fn capture(
        &mut self,
        index: usize,
        now_us: u64,
        queue: &mut EventQueue<Event>,
    ) -> Result<Option<u64>, LabError> {
        let Talker { speech, capture, adapter, path } = &mut self.talkers[index];
        if let Some(adapter) = adapter {
            adapter.update(at(now_us), capture.is_talking());
            capture.set_sending(adapter.sending());
        }
        let mut link = Link { queue, path, talker: index, now_us };
        let mut block = SILENCE;
        if speech.read(&mut block)? {
            capture.push(&block, &mut |frames| link.send(frames));
            return Ok(Some(speech.due_us()));
        }
        capture.finish(&mut |frames| link.send(frames));
        Ok(None)
    }

    fn receive(&mut self, now_us: u64, datagram: &Datagram) {
        for (index, Frame { sequence, end, level, opus }) in datagram.frames.iter().enumerate() {
            let frame = VoiceFrame {
                talker: datagram.talker as u32,
                sequence: *sequence,
                end: *end,
                copy: index > 0,
                level: *level,
                opus,
            };
            self.playout.receive(at(now_us), frame);
        }
    }

    /// Sends the talkers what they are to know: by TCP, which takes as long as the network at its best.
    fn report(&mut self, now_us: u64, delay_us: u64, queue: &mut EventQueue<Event>) {
        let told = &mut self.told;
        self.playout.reports(at(now_us), &mut |talker, report| {
            if told.is_news(talker, &report) {
                queue.push(now_us + delay_us, Event::Reported(talker as usize, report));
            }
        });
    }

    fn reported(&mut self, index: usize, now_us: u64, report: ReceiverReport) {
        if let Some(adapter) = self.talkers.get_mut(index).and_then(|talker| talker.adapter.as_mut()) {
            adapter.report(at(now_us), report);
        }
    }

    fn render(&mut self, now_us: u64) -> Result<(), LabError> {
        let mut block = SILENCE;
        self.playout.render(at(now_us), &mut block);
        let total = self.playout.stats().total;
        let first = self.playout.talkers().find(|(id, _)| *id == 0).map(|(_, stats)| stats);
        let heard = first.filter(|_| self.playout.is_heard(0));
        let sending = self.talkers[0].capture.sending();
        let now = Now {
            mouth_to_ear_us: heard.and_then(|_| self.mouth_to_ear_us(now_us)),
            delay_ms: heard.map(|stats| stats.delay_ms),
            target_ms: first.map_or(0, |stats| stats.target_ms),
            bitrate_bps: sending.bitrate_bps,
            frame_ms: sending.frame.ms(),
            copies: sending.copies(),
            network: self.network(),
            late: total.late,
            concealed: total.concealed,
            recovered: total.fec_recovered,
        };
        self.recorder.block(now_us + 2 * BLOCK_US, &block, now)
    }

    /// Tells the talkers how their frames arrive, over a connection of which nothing gets lost.
    /// How long ago that was said which is heard at the end of a block that is rendered now: the media time of the sample behind
    /// it is known, and so when that was captured. It is heard when the block has been played, which begins one block later,
    /// and what is heard in it lags by the codec's look-ahead.
    fn mouth_to_ear_us(&self, now_us: u64) -> Option<u64> {
        let (sequence, samples) = self.playout.position(0)?;
        let waiting_us = samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ);
        let media_us = (u64::from(sequence) * BLOCK_US).checked_sub(waiting_us)?;
        let heard_us = now_us + 2 * BLOCK_US + self.lookahead_us;
        Some(heard_us.saturating_sub(captured_us(media_us, self.drift_ppm)))
    }

    fn network(&self) -> PathCounts {
        let mut network = PathCounts::default();
        self.talkers.iter().for_each(|talker| network.add(&talker.path.counts()));
        network
    }

    fn finish(self, said_us: u64, now_us: u64) -> Result<LabReport, LabError> {
        let mut counts = TalkerCounts::default();
        for Talker { capture, adapter, .. } in &self.talkers {
            let (said, adapted) =
                (capture.stats(), adapter.as_ref().map_or_else(AdaptStats::default, Adapter::stats));
            counts.frames += said.frames;
            counts.codec_bytes += said.bytes;
            counts.copies += said.copies;
            counts.spurts += said.spurts;
            counts.reports += adapted.reports;
            counts.changes += adapted.changes;
            counts.cuts += adapted.cuts;
            counts.vain_cuts += adapted.vain_cuts;
            counts.failed_raises += adapted.failed_raises;
        }
        let (network, playout) = (self.network(), self.playout.stats());
        self.recorder.finish((said_us, now_us + BLOCK_US), counts, network, playout)
    }
}

/// What the listener's client learned of its path before anybody talked: its first probes met the same network each way.
fn probed_spread(lab: &Lab) -> Duration {
    let way = |index| Path::new(lab.net, lab.seed, u32::MAX - index, BLOCK_US);
    let (mut there, mut back) = (way(0), way(1));
    let rtts: Vec<Duration> = (0..FIRST_PROBES as u64)
        .filter_map(|n| {
            let sent_us = n * PROBE_INTERVAL_FIRST.as_millis() as u64 * 1000;
            let echoed_us = there.send(sent_us, PACKET_BYTES).next()?;
            Some(Duration::from_micros(back.send(echoed_us, PACKET_BYTES).next()? - sent_us))
        })
        .collect();
    spread_of(rtts.iter().copied()).unwrap_or_default()
}

/// Virtual time as machines see it.
fn at(us: u64) -> Instant {
    Instant::from_micros(BEGIN_US + us)
}
