//! All talkers together: a jitter buffer and a decoder for each, a volume for each, one mixed block every 10 ms.
//!
//! Talkers come by their frames and go when they have been silent for long. Cost grows with those that talk.

use std::collections::BTreeMap;

use crate::codec::{Decoder, MAX_FRAME_SAMPLES};
use crate::jitter::{JitterBuffer, JitterStats, Play};
use crate::limits::{MAX_TALKERS, MAX_VOLUME, MAX_VOLUMES, TALKER_IDLE};
use crate::mix::Mixer;
use crate::{BLOCK, Block, Instant, SILENCE, VoiceFrame};

/// Concealment is played in full for this many blocks and faded out over the next ones.
const FULL_CONCEALED_BLOCKS: u32 = 8;
/// Silent by this many blocks.
const FADED_BLOCKS: u32 = crate::jitter::MAX_CONCEALED_BLOCKS;

/// Counters of a playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// All talkers, those that are gone included; the two delays are the largest of those who talk now.
    pub total: JitterStats,
    /// Talkers with a decoder now.
    pub talkers: usize,
    /// Frames of new talkers dropped since there was no room.
    pub refused: u64,
    /// Talkers removed after long silence, or to make room.
    pub evicted: u64,
    /// Blocks rendered.
    pub rendered: u64,
}

/// See the module's words.
#[derive(Default)]
pub struct Playout {
    talkers: BTreeMap<u32, Talker>,
    volumes: BTreeMap<u32, f32>,
    mixer: Mixer,
    gone: JitterStats,
    refused: u64,
    evicted: u64,
    rendered: u64,
}

impl Playout {
    /// Nobody there yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A frame arrived.
    pub fn receive(&mut self, now: Instant, frame: VoiceFrame<'_>) {
        if !self.talkers.contains_key(&frame.talker) && !self.admit(now, frame.talker) {
            self.refused += 1;
            return;
        }
        if let Some(talker) = self.talkers.get_mut(&frame.talker) {
            talker.heard = now;
            talker.jitter.push(now, frame.sequence, frame.end, frame.level, frame.opus);
        }
    }

    /// The 10 ms to be played from `now` on. To be called once for each 10 ms.
    pub fn render(&mut self, now: Instant, out: &mut Block) {
        self.rendered += 1;
        let mut stale = None;
        for (id, talker) in &mut self.talkers {
            if talker.jitter.is_idle() {
                if now.since(talker.heard) > TALKER_IDLE {
                    stale = Some(*id);
                }
                talker.active = false;
                continue;
            }
            talker.active = talker.render(now);
            if talker.active {
                self.mixer.add(&talker.block, self.volumes.get(id).copied().unwrap_or(1.0));
            }
        }
        if let Some(id) = stale {
            self.remove(id);
        }
        self.mixer.finish(out);
    }

    /// Sets a talker's volume: 0 is mute, 1 as it came, at most [`MAX_VOLUME`]; remembered when the talker goes. False (and nothing
    /// set) for a NaN, or if [`MAX_VOLUMES`] are set already.
    pub fn set_volume(&mut self, talker: u32, volume: f32) -> bool {
        if volume.is_nan() || (self.volumes.len() >= MAX_VOLUMES && !self.volumes.contains_key(&talker)) {
            return false;
        }
        self.volumes.insert(talker, volume.clamp(0.0, MAX_VOLUME));
        true
    }

    /// Forgets a talker that left, its volume too.
    pub fn forget(&mut self, talker: u32) {
        self.volumes.remove(&talker);
        if self.talkers.contains_key(&talker) {
            self.remove(talker);
        }
    }

    /// Whether a talker was heard in the last block.
    pub fn is_heard(&self, talker: u32) -> bool {
        self.talkers.get(&talker).is_some_and(|t| t.active)
    }

    /// Counters of all together.
    pub fn stats(&self) -> PlayoutStats {
        let mut total = self.gone;
        for talker in self.talkers.values() {
            let stats = talker.jitter.stats();
            total.add(&stats);
            if talker.active {
                total.delay_ms = total.delay_ms.max(stats.delay_ms);
                total.target_ms = total.target_ms.max(stats.target_ms);
            }
        }
        PlayoutStats {
            total,
            talkers: self.talkers.len(),
            refused: self.refused,
            evicted: self.evicted,
            rendered: self.rendered,
        }
    }

    /// Counters of each talker that has a decoder now, by id.
    pub fn talkers(&self) -> impl Iterator<Item = (u32, JitterStats)> + '_ {
        self.talkers.iter().map(|(id, talker)| (*id, talker.jitter.stats()))
    }

    /// Makes a talker, in the place of the longest idle one if it must be.
    fn admit(&mut self, now: Instant, id: u32) -> bool {
        if self.talkers.len() >= MAX_TALKERS {
            let idle = self.talkers.iter().filter(|(_, t)| t.jitter.is_idle());
            let Some(oldest) = idle.min_by_key(|(_, t)| t.heard).map(|(id, _)| *id) else { return false };
            self.remove(oldest);
        }
        let Ok(decoder) = Decoder::new() else { return false };
        self.talkers.insert(id, Talker::new(decoder, now));
        true
    }

    fn remove(&mut self, id: u32) {
        if let Some(talker) = self.talkers.remove(&id) {
            self.gone.add(&talker.jitter.stats());
            self.evicted += 1;
        }
    }
}

/// One talker: buffer, decoder, and what is decoded but not yet played.
struct Talker {
    jitter: JitterBuffer,
    decoder: Decoder,
    pcm: [f32; MAX_FRAME_SAMPLES],
    /// The next block of `pcm` to be played.
    at: usize,
    block: Block,
    /// Concealed blocks in a row, and the gain at the end of the last block.
    concealed: u32,
    gain: f32,
    heard: Instant,
    active: bool,
}

impl Talker {
    fn new(decoder: Decoder, heard: Instant) -> Self {
        Self {
            jitter: JitterBuffer::new(),
            decoder,
            pcm: [0.0; MAX_FRAME_SAMPLES],
            at: 0,
            block: SILENCE,
            concealed: 0,
            gain: 1.0,
            heard,
            active: false,
        }
    }

    /// Fills `block`; false if it is silence.
    fn render(&mut self, now: Instant) -> bool {
        let shorter = self.jitter.wants_shorter(now);
        let mut sounds = self.step(now);
        if shorter {
            let first = self.block;
            sounds |= self.step(now);
            for (i, (out, before)) in self.block.iter_mut().zip(&first).enumerate() {
                let weight = (i + 1) as f32 / BLOCK as f32;
                *out = before + (*out - before) * weight;
            }
        }
        sounds
    }

    /// One block as the buffer wants it.
    fn step(&mut self, now: Instant) -> bool {
        let decoded = match self.jitter.step(now) {
            Play::Frame { opus, skip, .. } => Some((self.decoder.decode(opus, &mut self.pcm), skip)),
            Play::Fec { opus, skip, .. } => Some((self.decoder.decode_fec(opus, &mut self.pcm), skip)),
            Play::Rest => Some((Ok(self.at + 1), self.at as u32)),
            Play::Conceal => None,
            Play::Silence => {
                self.block = SILENCE;
                // After concealment that faded out, speech fades in; a spurt that begins anew is not touched.
                if self.concealed > 0 {
                    self.gain = 0.0;
                }
                return false;
            }
        };
        match decoded {
            Some((Ok(_), skip)) => {
                let from = (skip as usize * BLOCK).min(MAX_FRAME_SAMPLES - BLOCK);
                self.block.copy_from_slice(&self.pcm[from..from + BLOCK]);
                self.at = skip as usize + 1;
                self.concealed = 0;
                self.ramp(1.0);
            }
            Some((Err(_), _)) => {
                self.jitter.note_bad();
                // Its other blocks, if any, are silence.
                self.pcm.fill(0.0);
                self.at = 1;
                self.conceal();
            }
            None => self.conceal(),
        }
        true
    }

    fn conceal(&mut self) {
        if self.decoder.conceal(&mut self.block).is_err() {
            self.block = SILENCE;
        }
        self.concealed += 1;
        let left = FADED_BLOCKS.saturating_sub(self.concealed) as f32;
        let to = (left / (FADED_BLOCKS - FULL_CONCEALED_BLOCKS) as f32).min(1.0);
        self.ramp(to.min(self.gain));
    }

    /// From the gain as it was to `to` over the block, so that nothing clicks.
    fn ramp(&mut self, to: f32) {
        if self.gain == 1.0 && to == 1.0 {
            return;
        }
        for (i, sample) in self.block.iter_mut().enumerate() {
            *sample *= self.gain + (to - self.gain) * (i + 1) as f32 / BLOCK as f32;
        }
        self.gain = to;
    }
}
