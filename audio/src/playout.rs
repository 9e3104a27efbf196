//! All talkers together: a jitter buffer and a decoder for each, a volume for each, one mixed block every 10 ms.
//!
//! Talkers come by their frames and go when they have been silent for long. Cost grows with those that talk.

use std::collections::BTreeMap;

use crate::codec::Decoder;
use crate::jitter::JitterStats;
use crate::limits::{MAX_TALKERS, MAX_VOLUME, MAX_VOLUMES, TALKER_IDLE};
use crate::mix::Mixer;
use crate::report::ReceiverReport;
use crate::talker::Talker;
use crate::{Block, Instant, VoiceFrame};

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
            talker.receive(now, &frame);
        }
    }

    /// The 10 ms to be played from `now` on. To be called once for each 10 ms.
    pub fn render(&mut self, now: Instant, out: &mut Block) {
        self.rendered += 1;
        let mut stale = None;
        for (id, talker) in &mut self.talkers {
            if talker.is_idle() {
                if now.since(talker.heard) > TALKER_IDLE {
                    stale = Some(*id);
                }
                continue;
            }
            if let Some(block) = talker.render(now) {
                self.mixer.add(block, self.volumes.get(id).copied().unwrap_or(1.0));
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
        self.talkers.get(&talker).is_some_and(|t| t.is_heard)
    }

    /// Where a talker's sound is: what is played behind the last block is so many samples before the frame of this
    /// sequence. Against the time of capture it is the delay. `None` before anything was played.
    pub fn position(&self, talker: u32) -> Option<(u32, usize)> {
        self.talkers.get(&talker)?.position()
    }

    /// Counters of all together.
    pub fn stats(&self) -> PlayoutStats {
        let mut total = self.gone;
        for talker in self.talkers.values() {
            let stats = talker.stats();
            total.add(&stats);
            if talker.is_heard {
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

    /// What each talker is to be told of how it arrives here, when that is due.
    pub fn reports(&mut self, now: Instant, tell: &mut dyn FnMut(u32, ReceiverReport)) {
        for (id, talker) in &mut self.talkers {
            if let Some(report) = talker.report(now) {
                tell(*id, report);
            }
        }
    }

    /// Counters of each talker that has a decoder now, by id.
    pub fn talkers(&self) -> impl Iterator<Item = (u32, JitterStats)> + '_ {
        self.talkers.iter().map(|(id, talker)| (*id, talker.stats()))
    }

    /// Makes a talker, in the place of the longest idle one if it must be.
    fn admit(&mut self, now: Instant, id: u32) -> bool {
        if self.talkers.len() >= MAX_TALKERS {
            let idle = self.talkers.iter().filter(|(_, t)| t.is_idle());
            let Some(oldest) = idle.min_by_key(|(_, t)| t.heard).map(|(id, _)| *id) else { return false };
            self.remove(oldest);
        }
        let Ok(decoder) = Decoder::new() else { return false };
        self.talkers.insert(id, Talker::new(decoder, now));
        true
    }

    fn remove(&mut self, id: u32) {
        if let Some(talker) = self.talkers.remove(&id) {
            self.gone.add(&talker.stats());
            self.evicted += 1;
        }
    }
}
