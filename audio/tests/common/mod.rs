//! A call in virtual time: talkers' captures, a network by a seeded generator, and one listener's playout.
//!
//! The heard sound begins at the moment at which the microphones' first sample is captured, so that the offset of the
//! speech in it is the delay from mouth to ear. A block rendered at a moment is heard one block later, as from a
//! sound card with one block in flight.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test binary uses a part of it.

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    jitter::JitterStats,
    playout::Playout,
};

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 <= x < 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn percent(&mut self, percent: f64) -> bool {
        self.unit() * 100.0 < percent
    }
}

/// What happens to frames on their way.
#[derive(Clone, Debug)]
pub struct Network {
    pub seed: u64,
    pub delay_ms: f64,
    /// Mean of an exponential delay, for each frame apart: overtaking happens.
    pub jitter_ms: f64,
    pub loss_percent: f64,
    /// Mean length of a burst of loss (Gilbert's model); 1 is independent loss.
    pub burst: f64,
    pub duplicate_percent: f64,
    /// From, until (ms after the start), and the delay that is added.
    pub steps: Vec<(f64, f64, f64)>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            seed: 1,
            delay_ms: 0.1,
            jitter_ms: 0.0,
            loss_percent: 0.0,
            burst: 1.0,
            duplicate_percent: 0.0,
            steps: Vec::new(),
        }
    }
}

/// The network's state: gives the arrivals of one frame.
pub struct Path {
    network: Network,
    chance: Chance,
    is_losing: bool,
    pub lost: u64,
}

impl Path {
    pub fn new(network: &Network) -> Self {
        Self { network: network.clone(), chance: Chance(network.seed), is_losing: false, lost: 0 }
    }

    /// When a frame sent at `sent_us` arrives: never, once or twice.
    pub fn arrivals(&mut self, sent_us: u64) -> impl Iterator<Item = u64> + use<> {
        let n = &self.network;
        let loss = n.loss_percent / 100.0;
        // Left with probability 1/burst, entered so often that the share of lost frames is `loss`.
        let turn = self.chance.unit();
        self.is_losing = if n.burst <= 1.0 {
            turn < loss
        } else if self.is_losing {
            turn >= 1.0 / n.burst
        } else {
            turn < loss / (1.0 - loss) / n.burst
        };
        let extra: f64 =
            n.steps.iter().filter(|s| (s.0..s.1).contains(&(sent_us as f64 / 1000.0))).map(|s| s.2).sum();
        let copies = 1 + usize::from(self.chance.percent(n.duplicate_percent));
        let times: [f64; 2] = std::array::from_fn(|_| {
            let jitter = -n.jitter_ms * (1.0 - self.chance.unit()).ln();
            n.delay_ms + extra + jitter
        });
        self.lost += u64::from(self.is_losing);
        let copies = if self.is_losing { 0 } else { copies };
        times.into_iter().take(copies).map(move |ms| sent_us + (ms * 1000.0) as u64)
    }
}

/// A call: who says what, and how it is carried.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub talkers: Vec<&'a [f32]>,
    pub encoder: EncoderConfig,
    pub gate: Gate,
    pub network: Network,
    /// How much faster than true the talkers' sound cards are.
    pub drift_ppm: f64,
    /// When the listener's first block is rendered.
    pub phase_us: u64,
}

impl<'a> Call<'a> {
    pub fn of(speech: &'a [f32]) -> Self {
        Self {
            talkers: vec![speech],
            encoder: EncoderConfig::default(),
            gate: Gate::Level,
            network: Network::default(),
            drift_ppm: 0.0,
            phase_us: 5_000,
        }
    }
}

/// What came of it.
pub struct Heard {
    pub samples: Vec<f32>,
    pub stats: JitterStats,
    /// The buffer's delay, after each block.
    pub delays_ms: Vec<u32>,
    pub sent: u64,
    pub lost: u64,
    pub bytes: u64,
}

struct Arrival {
    at_us: u64,
    talker: u32,
    sequence: u32,
    end: bool,
    copy: bool,
    level: u8,
    opus: Vec<u8>,
}

/// Silence is heard for this long after the last word.
const TAIL_BLOCKS: usize = 60;

impl Call<'_> {
    pub fn run(&self) -> Heard {
        let mut arrivals = Vec::new();
        let (mut sent, mut lost, mut bytes, mut blocks) = (0, 0, 0, 0);
        for (talker, speech) in self.talkers.iter().enumerate() {
            let network = Network { seed: self.network.seed + talker as u64 * 1000, ..self.network.clone() };
            let mut path = Path::new(&network);
            let mut capture = Capture::new(self.encoder, self.gate).unwrap();
            let block_us = BLOCK_US as f64 * (1.0 - self.drift_ppm * 1e-6);
            let count = speech.len().div_ceil(BLOCK);
            blocks = blocks.max(count);
            for k in 0..=count {
                let now_us = ((k + 1) as f64 * block_us) as u64;
                let mut send = |frames: &[chinwag_audio::EncodedFrame<'_>]| {
                    for at_us in path.arrivals(now_us) {
                        arrivals.extend(frames.iter().enumerate().map(|(index, f)| Arrival {
                            at_us,
                            talker: talker as u32,
                            sequence: f.sequence,
                            end: f.end,
                            copy: index > 0,
                            level: f.level,
                            opus: f.opus.to_vec(),
                        }));
                    }
                };
                match speech.chunks(BLOCK).nth(k) {
                    Some(chunk) => {
                        let mut block: Block = SILENCE;
                        block[..chunk.len()].copy_from_slice(chunk);
                        capture.push(&block, &mut send);
                    }
                    None => capture.finish(&mut send),
                }
            }
            sent += capture.stats().frames;
            bytes += capture.stats().bytes;
            lost += path.lost;
        }
        arrivals.sort_by_key(|a| a.at_us);
        self.listen(&arrivals, blocks + TAIL_BLOCKS, (sent, lost, bytes))
    }

    fn listen(&self, arrivals: &[Arrival], blocks: usize, (sent, lost, bytes): (u64, u64, u64)) -> Heard {
        let mut playout = Playout::new();
        let mut samples = vec![0.0; ((self.phase_us + BLOCK_US) * 48 / 1000) as usize];
        let (mut delays_ms, mut arrived, mut block) = (Vec::new(), 0, SILENCE);
        for k in 0..blocks {
            let now_us = self.phase_us + k as u64 * BLOCK_US;
            while let Some(a) = arrivals.get(arrived).filter(|a| a.at_us <= now_us) {
                let Arrival { talker, sequence, end, copy, level, ref opus, .. } = *a;
                playout.receive(at(a.at_us), VoiceFrame { talker, sequence, end, copy, level, opus });
                arrived += 1;
            }
            playout.render(at(now_us), &mut block);
            assert!(block.iter().all(|s| s.abs() <= 1.0), "out of range in block {k}");
            samples.extend_from_slice(&block);
            delays_ms.push(playout.stats().total.delay_ms);
        }
        Heard { samples, stats: playout.stats().total, delays_ms, sent, lost, bytes }
    }
}

/// Virtual time starts somewhere.
pub fn at(us: u64) -> Instant {
    Instant::from_micros(7_000_000 + us)
}

/// Correlation without regard to short shifts: the mean over half seconds that speak, each aligned for itself within ±`reach_ms`
/// of the given offset. What a changing delay moves is not held against it.
pub fn likeness(said: &[f32], heard: &[f32], offset: i64, reach_ms: i64) -> f32 {
    let mut all = Vec::new();
    for (k, part) in said.chunks_exact(24_000).enumerate() {
        if chinwag_audio::rms(part) < 0.01 {
            continue;
        }
        let start = k as i64 * 24_000 + offset - reach_ms * 48;
        let get = |n: i64| usize::try_from(n).ok().and_then(|n| heard.get(n)).copied().unwrap_or(0.0);
        let window: Vec<f32> = (start..start + 24_000 + 2 * reach_ms * 48).map(get).collect();
        let best = (0..2 * reach_ms as usize * 48)
            .step_by(8)
            .map(|lag| correlation(part, &window[lag..lag + 24_000]))
            .fold(0.0, f32::max);
        all.push(best);
    }
    all.iter().sum::<f32>() / all.len().max(1) as f32
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-9)
}
