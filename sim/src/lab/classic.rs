//! The old way, for comparison: what the classic group chat's client did with voice. 16-bit PCM at 44.1 kHz in chunks of 1024
//! samples over TCP; the listener's sound card takes what has come by then, and silence for what has not. There is no jitter
//! buffer: what comes late is played late, and everything behind it as late, for ever.
//!
//! TCP is as deep as this needs: segments in order, and one that is lost holds up what is behind it until it is sent
//! again after a time-out (at least 200 ms and two round trips, doubled each time; fast retransmit and
//! congestion control are not simulated). A program whose socket is full loses what its microphone has meanwhile.

use std::collections::VecDeque;

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, SAMPLE_RATE_HZ, SILENCE, jitter::JitterStats, playout::PlayoutStats,
    resample::Resampler,
};

use super::{
    Lab, LabError, LabReport, TAIL_US, failed,
    path::Path,
    record::{Now, Recorder, TalkerCounts},
    talker::{Speech, captured_us},
};
use crate::{
    queue::EventQueue,
    random::{Domain, stream},
};

const RATE_HZ: u32 = 44_100;
/// Samples in a chunk, both ways: 23.2 ms.
const CHUNK: usize = 1024;
const CHUNK_US: u64 = media_us(CHUNK as u64);
/// What one segment carries: an Ethernet frame's 1500 bytes without IP and TCP.
const SEGMENT_SAMPLES: usize = 1460 / 2;
/// IP and TCP.
const HEADER_BYTES: u64 = 40;
/// What the socket holds until it has arrived; at the limit a chunk is lost at the microphone.
const SOCKET_SAMPLES: usize = 256 * 1024 / 2;
const LEAST_TIMEOUT_US: u64 = 200_000;
/// A connection on which a segment was lost so often in a row is given up.
const MAX_ATTEMPTS: u32 = 8;
/// The listener waits no longer than this for what was said.
const MAX_WAIT_US: u64 = 60_000_000;

enum Event {
    /// A chunk has been captured.
    Captured,
    Arrived(Segment),
    /// The listener's sound card wants a chunk.
    Play,
}

struct Segment {
    samples: Vec<i16>,
    /// When its first sample was captured.
    captured_us: u64,
}

pub(super) fn run(lab: &Lab) -> Result<LabReport, LabError> {
    let [mic] = &lab.mics[..] else { return Err(failed("the classic way has one talker")) };
    let phase_us = lab.phase_us.unwrap_or_else(|| stream(lab.seed, Domain::LabPhase, 0).below(CHUNK_US));
    let mut talker = Talker {
        speech: Speech::open(lab, mic)?,
        resampler: Resampler::new(SAMPLE_RATE_HZ, RATE_HZ, BLOCK).map_err(failed)?,
        ready: Vec::new(),
        is_spent: false,
        chunks: 0,
        drift_ppm: lab.drift_ppm,
    };
    let mut wire = Wire {
        path: Path::new(lab.net, lab.seed, 0, CHUNK_US),
        timeout_us: LEAST_TIMEOUT_US.max(4 * lab.net.delay_us),
        last_us: 0,
        on_the_way: 0,
        is_dead: false,
    };
    let mut listener = Listener::new(lab, phase_us)?;
    let mut queue = EventQueue::default();
    queue.push(talker.due_us(), Event::Captured);
    queue.push(phase_us, Event::Play);
    let (mut said_us, mut is_talking) = (0, true);
    while let Some((now_us, event)) = queue.pop() {
        match event {
            Event::Captured => match talker.chunk()? {
                Some((captured_us, samples)) => {
                    said_us = now_us;
                    wire.send(now_us, captured_us, &samples, &mut queue);
                    queue.push(talker.due_us(), Event::Captured);
                }
                None => is_talking = false,
            },
            Event::Arrived(segment) => {
                wire.on_the_way -= segment.samples.len();
                listener.take(segment);
            }
            Event::Play => {
                listener.play(now_us, is_talking, &wire)?;
                let is_over = wire.on_the_way == 0 && listener.waiting.is_empty();
                let quiet_us = now_us.saturating_sub(said_us);
                if !is_talking && ((is_over && quiet_us >= TAIL_US) || quiet_us >= MAX_WAIT_US) {
                    return listener.finish(said_us, now_us, talker.chunks, &wire);
                }
                listener.periods += 1;
                queue.push(phase_us + media_us(listener.periods * CHUNK as u64), Event::Play);
            }
        }
    }
    Err(failed("the listener went away"))
}

/// How long so many samples take.
const fn media_us(samples: u64) -> u64 {
    samples * 1_000_000 / RATE_HZ as u64
}

struct Talker {
    speech: Speech,
    resampler: Resampler,
    ready: Vec<f32>,
    is_spent: bool,
    /// Chunks handed out.
    chunks: u64,
    drift_ppm: i32,
}

impl Talker {
    /// When the next chunk has been captured whole.
    fn due_us(&self) -> u64 {
        captured_us(media_us((self.chunks + 1) * CHUNK as u64), self.drift_ppm)
    }

    /// The next chunk and when its first sample was captured; the last one is filled up with silence.
    fn chunk(&mut self) -> Result<Option<(u64, Vec<i16>)>, LabError> {
        let mut block = SILENCE;
        while self.ready.len() < CHUNK && !self.is_spent {
            if self.speech.read(&mut block)? {
                self.resampler.push(&block, &mut self.ready);
            } else {
                self.resampler.finish(&mut self.ready);
                self.is_spent = true;
            }
        }
        if self.ready.is_empty() {
            return Ok(None);
        }
        let taken = self.ready.drain(..self.ready.len().min(CHUNK));
        let mut samples: Vec<i16> =
            taken.map(|s| (s.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16).collect();
        samples.resize(CHUNK, 0);
        let begin_us = captured_us(media_us(self.chunks * CHUNK as u64), self.drift_ppm);
        self.chunks += 1;
        Ok(Some((begin_us, samples)))
    }
}

/// A TCP connection from the talker to the listener.
struct Wire {
    path: Path,
    timeout_us: u64,
    /// When what was sent last arrives: nothing arrives before it any more.
    last_us: u64,
    /// Samples that were sent and have not arrived.
    on_the_way: usize,
    is_dead: bool,
}

impl Wire {
    fn send(&mut self, now_us: u64, captured_us: u64, samples: &[i16], queue: &mut EventQueue<Event>) {
        if self.is_dead || self.on_the_way + samples.len() > SOCKET_SAMPLES {
            self.path.drop_unsent();
            return;
        }
        for (index, part) in samples.chunks(SEGMENT_SAMPLES).enumerate() {
            let Some(at_us) = self.arrival(now_us, 2 * part.len() as u64 + HEADER_BYTES) else { return };
            self.last_us = self.last_us.max(at_us);
            self.on_the_way += part.len();
            let captured_us = captured_us + media_us((index * SEGMENT_SAMPLES) as u64);
            queue.push(self.last_us, Event::Arrived(Segment { samples: part.to_vec(), captured_us }));
        }
    }

    /// When a segment arrives, sent as often as it must be; `None` if the connection broke.
    fn arrival(&mut self, now_us: u64, bytes: u64) -> Option<u64> {
        let (mut at_us, mut timeout_us) = (now_us, self.timeout_us);
        for _ in 0..MAX_ATTEMPTS {
            if let Some(at_us) = self.path.attempt(at_us, bytes) {
                return Some(at_us);
            }
            at_us += timeout_us;
            timeout_us *= 2;
        }
        self.is_dead = true;
        None
    }
}

struct Listener {
    recorder: Recorder,
    waiting: VecDeque<Segment>,
    resampler: Resampler,
    /// Sound at 48 kHz that does not fill a block yet.
    ready: Vec<f32>,
    /// Sound card's chunks taken.
    periods: u64,
    /// When the next block of the record ends.
    block_end_us: u64,
    segments: u64,
    /// Samples of silence for which there should have been sound.
    missing: u64,
}

impl Listener {
    fn new(lab: &Lab, phase_us: u64) -> Result<Self, LabError> {
        // A chunk is heard when the one before it has been, as with one block in flight.
        let begin_us = phase_us + CHUNK_US;
        Ok(Self {
            recorder: Recorder::create(lab.heard.as_deref(), begin_us)?,
            waiting: VecDeque::new(),
            resampler: Resampler::new(RATE_HZ, SAMPLE_RATE_HZ, CHUNK).map_err(failed)?,
            ready: Vec::new(),
            periods: 0,
            block_end_us: begin_us + BLOCK_US,
            segments: 0,
            missing: 0,
        })
    }

    fn take(&mut self, segment: Segment) {
        self.segments += 1;
        self.waiting.push_back(segment);
    }

    /// The sound card takes a chunk.
    fn play(&mut self, now_us: u64, is_talking: bool, wire: &Wire) -> Result<(), LabError> {
        let queued: usize = self.waiting.iter().map(|segment| segment.samples.len()).sum();
        let begin_us = self.waiting.front().map(|segment| segment.captured_us);
        let mut chunk = [0.0_f32; CHUNK];
        let mut filled = 0;
        while let Some(segment) = self.waiting.front_mut().filter(|_| filled < CHUNK) {
            let count = segment.samples.len().min(CHUNK - filled);
            for (out, sample) in chunk[filled..].iter_mut().zip(segment.samples.drain(..count)) {
                *out = f32::from(sample) / f32::from(i16::MAX);
            }
            segment.captured_us += media_us(count as u64);
            filled += count;
            if segment.samples.is_empty() {
                self.waiting.pop_front();
            }
        }
        if self.segments > 0 && (is_talking || wire.on_the_way > 0) {
            self.missing += (CHUNK - filled) as u64;
        }
        let now = Now {
            mouth_to_ear_us: begin_us.map(|begin_us| (now_us + CHUNK_US).saturating_sub(begin_us)),
            delay_ms: begin_us.map(|_| (media_us(queued as u64) / 1000) as u32),
            target_ms: 0,
            network: wire.path.counts(),
            concealed: self.missing_blocks(),
            ..Now::default()
        };
        self.resampler.push(&chunk, &mut self.ready);
        while self.ready.len() >= BLOCK {
            let mut block: Block = SILENCE;
            block.copy_from_slice(&self.ready[..BLOCK]);
            self.ready.drain(..BLOCK);
            self.recorder.block(self.block_end_us, &block, now)?;
            self.block_end_us += BLOCK_US;
        }
        Ok(())
    }

    fn missing_blocks(&self) -> u64 {
        media_us(self.missing) / BLOCK_US
    }

    fn finish(self, said_us: u64, now_us: u64, chunks: u64, wire: &Wire) -> Result<LabReport, LabError> {
        let total = JitterStats {
            received: self.segments,
            concealed: self.missing_blocks(),
            ..JitterStats::default()
        };
        let playout = PlayoutStats { total, talkers: 1, rendered: self.periods, ..PlayoutStats::default() };
        let codec_bytes = chunks * CHUNK as u64 * 2;
        let talkers = TalkerCounts { frames: chunks, codec_bytes, ..TalkerCounts::default() };
        self.recorder.finish((said_us, now_us + CHUNK_US), talkers, wire.path.counts(), playout)
    }
}
