//! The gateway between classic and native members, measured in virtual time: `gateway SPEECH.wav DIR` writes what is heard to DIR, beside what was
//! said (for PESQ), and prints delays and the share of a core that fifty classic members take. Without arguments a made-up voice talks.

// An example may look at the clock: it measures CPU time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::path::Path;

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SAMPLE_RATE_HZ, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    compare::align,
    gateway::{Gateway, GatewayOut, PcmFormat},
    playout::Playout,
    resample::Resampler,
    sample,
    wav::{WavSink, WavSource},
};
use chinwag_proto::{ReceiverReport, SessionId, wire::voice};

const CHUNK: usize = 1024;
const FORMAT: PcmFormat = PcmFormat { rate_hz: 44_100, channels: 1 };
/// Sessions.
const NATIVE: u32 = 1;
const CLASSIC: [u32; 2] = [11, 12];
const LISTENER: u32 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let said = arguments.first().map_or_else(|| sample::voice(1, 12), |path| read(Path::new(path)));
    let folder = arguments.get(1).map(Path::new);
    for (what, name, way) in [
        ("classic to native", "to-native", Way::default()),
        ("chunks up to 40 ms late", "jitter", Way { jitter_us: 40_000, ..Way::default() }),
        ("one chunk in 2 s is 120 ms late", "stalls", Way { stall_us: 120_000, ..Way::default() }),
        ("a card 300 ppm too fast", "fast", Way { ppm: 300, ..Way::default() }),
        ("a card 300 ppm too slow", "slow", Way { ppm: -300, ..Way::default() }),
    ] {
        let [heard, _] = heard_of_classic(&[&said], CLASSIC[0], way);
        report(what, &said, &heard, folder, name);
    }
    report("native to classic", &said, &heard_by_classic(&said), folder, "to-classic");
    let mut other = said.clone();
    other.rotate_left(said.len() / 3);
    for (name, reference, session) in [("two-first", &said, CLASSIC[0]), ("two-second", &other, CLASSIC[1])] {
        let [heard, _] = heard_of_classic(&[&said, &other], session, Way::default());
        report(&format!("two classic at once, {name}"), reference, &heard, folder, name);
    }
    // As a third classic member hears them: both, as they are.
    let both: Vec<f32> = said.iter().zip(&other).map(|(one, other)| 0.5 * (one + other)).collect();
    let halves = [&said, &other].map(|said| said.iter().map(|sample| 0.5 * sample).collect::<Vec<_>>());
    let [_, heard] = heard_of_classic(&[&halves[0], &halves[1]], CLASSIC[0], Way::default());
    report("two classic at once, mixed for a third", &both, &heard, folder, "two-mixed");
    for (what, noise, talkers) in [
        ("silent", 0.0, 0),
        ("with room noise", 0.003, 0),
        ("one of them talks", 0.0, 1),
        ("all talk", 0.0, 50),
    ] {
        println!(
            "50 classic members, {what}, and one native talker: {:.1} % of a core",
            cpu_percent(noise, talkers)
        );
    }
}

fn report(what: &str, said: &[f32], heard: &[f32], folder: Option<&Path>, name: &str) {
    let found = align(said, heard);
    println!(
        "{what}: {:.0} ms late, alike by {:.3}, longest hole {} ms",
        found.offset_ms(),
        found.correlation,
        found.longest_hole_ms
    );
    if let Some(folder) = folder {
        write(&folder.join(format!("{name}-said.wav")), said);
        write(&folder.join(format!("{name}.wav")), heard);
    }
}

/// Takes everything that a gateway gives.
#[derive(Default)]
struct Ears {
    /// Hears this talker.
    playout: Option<(Playout, u32)>,
    now: Instant,
    pcm: Vec<u8>,
}

impl Ears {
    /// What the classic listener got, from the beginning.
    fn heard_by_classic(&self) -> Vec<f32> {
        // The first turn is 10 ms after it.
        let mut heard = vec![0.0; BLOCK];
        heard.extend(from_pcm(&self.pcm));
        heard
    }
}

impl GatewayOut for Ears {
    fn send(&mut self, session: u32, payload: &[u8]) {
        let Some((playout, talker)) = &mut self.playout else { return };
        if session != *talker {
            return;
        }
        for (frame, copy) in voice::Frames::parse(payload).unwrap().with_copies() {
            let voice::VoiceFrame { talker, sequence, end, level, opus } = frame;
            let talker = talker.to_wire();
            playout.receive(self.now, VoiceFrame { talker, sequence, end, copy, level, opus });
        }
    }

    fn play(&mut self, session: u32, pcm: &[u8]) {
        if session == LISTENER {
            self.pcm.extend_from_slice(pcm);
        }
    }

    fn report(&mut self, _talker: u32, _report: ReceiverReport) {}
}

/// How chunks of PCM come.
#[derive(Clone, Copy, Default)]
struct Way {
    /// Each is late by up to so much.
    jitter_us: u64,
    /// One in two seconds is so late, and so are those behind it.
    stall_us: u64,
    /// The card is so much too fast.
    ppm: i64,
}

impl Way {
    /// When chunk `k` comes; nothing overtakes.
    fn arrival_us(self, k: u64, before: u64) -> u64 {
        let captured = (k + 1) as i64 * CHUNK as i64 * 1_000_000 / i64::from(FORMAT.rate_hz);
        let captured = (captured - captured * self.ppm / 1_000_000) as u64;
        // A generator of small quality is enough.
        let chance = (k + 1).wrapping_mul(6_364_136_223_846_793_005).rotate_left(31) % 1_000;
        let stall_us = if k % 86 == 80 { self.stall_us } else { 0 };
        (captured + self.jitter_us * chance / 1_000 + stall_us).max(before)
    }
}

/// What a native listener hears of one talker, and a classic listener of all, from the moment at which the first sample is captured.
fn heard_of_classic(said: &[&[f32]], talker: u32, way: Way) -> [Vec<f32>; 2] {
    let (mut gateway, mut ears) = (Gateway::new(), Ears::default());
    let mut playout = Playout::new();
    playout.set_auto_level(false);
    ears.playout = Some((playout, talker));
    let pcm: Vec<Vec<u8>> = said.iter().map(|said| to_pcm(said)).collect();
    for session in &CLASSIC[..said.len()] {
        gateway.open(at(0), *session, FORMAT).unwrap();
    }
    gateway.open(at(0), LISTENER, FORMAT).unwrap();
    // Rendered 5 ms beside the gateway's turns, and heard a block later.
    let phase_us = 5_000;
    let mut heard = vec![0.0; BLOCK + BLOCK / 2];
    let mut chunks = 0;
    let mut chunk_us = way.arrival_us(0, 0);
    for k in 0..(said[0].len() / BLOCK + 60) as u64 {
        let now_us = phase_us + k * BLOCK_US;
        while chunk_us <= now_us {
            turn(&mut gateway, &mut ears, at(chunk_us));
            for (session, pcm) in CLASSIC.iter().zip(&pcm) {
                let from = (chunks as usize * 2 * CHUNK).min(pcm.len());
                gateway.pcm(at(chunk_us), *session, &pcm[from..(from + 2 * CHUNK).min(pcm.len())]);
            }
            chunks += 1;
            chunk_us = way.arrival_us(chunks, chunk_us);
        }
        turn(&mut gateway, &mut ears, at(now_us));
        let mut block = SILENCE;
        ears.playout.as_mut().unwrap().0.render(at(now_us), &mut block);
        heard.extend_from_slice(&block);
    }
    let stats = gateway.stats();
    println!(
        "    PCM: {} blocks missing, {} frames dropped; {:.0} ms put in, {:.0} ms cut",
        stats.pcm_missing,
        stats.pcm_dropped,
        stats.stretched as f64 / 48.0,
        stats.cut as f64 / 48.0
    );
    [heard, ears.heard_by_classic()]
}

/// Turns the gateway as often as is due by then.
fn turn(gateway: &mut Gateway, ears: &mut Ears, now: Instant) {
    while let Some(due) = gateway.poll_timeout().filter(|due| *due <= now) {
        ears.now = due;
        gateway.handle_timeout(due, ears);
    }
}

/// What a classic listener gets of a native talker, from the moment at which the first sample is captured.
fn heard_by_classic(said: &[f32]) -> Vec<f32> {
    let (mut gateway, mut ears) = (Gateway::new(), Ears::default());
    gateway.open(at(0), LISTENER, FORMAT).unwrap();
    let mut native = Native::new();
    for (k, block) in said.chunks_exact(BLOCK).chain([&SILENCE[..]; 60]).enumerate() {
        // Frames come 5 ms beside the turns.
        let now_us = 5_000 + (k as u64 + 1) * BLOCK_US;
        turn(&mut gateway, &mut ears, at(now_us));
        native.say(block.try_into().unwrap(), &mut |payload| gateway.hear(at(now_us), payload));
    }
    ears.heard_by_classic()
}

struct Native {
    capture: Capture,
    payload: Vec<u8>,
}

impl Native {
    fn new() -> Self {
        let capture = Capture::new(EncoderConfig::default(), Gate::Voice).unwrap();
        Self { capture, payload: Vec::new() }
    }

    fn say(&mut self, block: &Block, send: &mut dyn FnMut(&[u8])) {
        let payload = &mut self.payload;
        self.capture.push(block, &mut |frames| {
            payload.clear();
            for f in frames {
                let (talker, opus) = (SessionId::from_wire(NATIVE), f.opus);
                voice::VoiceFrame { talker, sequence: f.sequence, end: f.end, level: f.level, opus }
                    .write(payload);
            }
            send(payload);
        });
    }
}

/// The share of a core that fifty classic members cost, each of whom sends PCM all the time, while one native talks, and so many of them.
fn cpu_percent(noise: f32, talkers: usize) -> f64 {
    const SECONDS: usize = 20;
    let (mut gateway, mut ears, mut native) = (Gateway::new(), Ears::default(), Native::new());
    let started = cpu_time();
    for n in 0..50 {
        gateway.open(at(0), LISTENER + n, FORMAT).unwrap();
    }
    println!("    to let one in: {:.2} ms", (cpu_time() - started) * 1e3 / 50.0);
    let said = sample::voice(3, SECONDS);
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as f32 / u32::MAX as f32 - 0.5) * 2.0
    };
    let pcm: Vec<u8> =
        (0..441 * 100).flat_map(|_| ((random() * noise * 32_768.0) as i16).to_le_bytes()).collect();
    let speech = to_pcm(&sample::voice(4, SECONDS));
    let mut spent = 0.0;
    for (k, block) in said.chunks_exact(BLOCK).enumerate() {
        let mut payloads = Vec::new();
        native.say(block.try_into().unwrap(), &mut |payload| payloads.push(payload.to_vec()));
        let now = at((k as u64 + 1) * BLOCK_US);
        let started = cpu_time();
        payloads.iter().for_each(|payload| gateway.hear(now, payload));
        for n in 0..50 {
            let (pcm, from) = if n < talkers { (&speech, k * 882) } else { (&pcm, (k + n) % 99 * 882) };
            gateway.pcm(now, LISTENER + n as u32, &pcm[from..from + 882]);
        }
        gateway.handle_timeout(now, &mut ears);
        spent += cpu_time() - started;
        ears.pcm.clear();
    }
    spent / SECONDS as f64 * 100.0
}

/// Seconds of CPU that this process has taken.
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn at(us: u64) -> Instant {
    Instant::from_micros(7_000_000 + us)
}

fn to_pcm(said: &[f32]) -> Vec<u8> {
    let mut converted = Vec::new();
    let mut resampler = Resampler::new(SAMPLE_RATE_HZ, FORMAT.rate_hz, BLOCK).unwrap();
    resampler.push(said, &mut converted);
    resampler.finish(&mut converted);
    converted.iter().flat_map(|s| ((s * 32_767.0).round() as i16).to_le_bytes()).collect()
}

fn from_pcm(pcm: &[u8]) -> Vec<f32> {
    let samples: Vec<f32> =
        pcm.as_chunks().0.iter().map(|&s| f32::from(i16::from_le_bytes(s)) / 32_768.0).collect();
    let mut converted = Vec::new();
    let mut resampler = Resampler::new(FORMAT.rate_hz, SAMPLE_RATE_HZ, 441).unwrap();
    resampler.push(&samples, &mut converted);
    resampler.finish(&mut converted);
    converted
}

fn read(path: &Path) -> Vec<f32> {
    let mut source = WavSource::open(path).unwrap();
    let (mut samples, mut block) = (Vec::new(), SILENCE);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    samples
}

fn write(path: &Path, samples: &[f32]) {
    let mut sink = WavSink::create(path).unwrap();
    for chunk in samples.chunks_exact(BLOCK) {
        sink.write(chunk.try_into().unwrap());
    }
    sink.flush();
}
