//! All talkers together: a jitter buffer and a decoder for each, a level, volume and place for each, one mixed block
//! every 10 ms.
//!
//! Talkers come by their frames and go when they have been silent for long. Cost grows with those that talk.

use std::collections::BTreeMap;

use crate::jitter::JitterStats;
use crate::level::SpeechLevel;
use crate::limits::{MAX_LEVELS, MAX_TALKERS, MAX_VOLUME, MAX_VOLUMES, TALKER_IDLE};
use crate::mend::MendingDecoder;
use crate::mix::{Mixer, Placing};
use crate::report::ReceiverReport;
use crate::talker::Talker;
use crate::{Block, Duration, Instant, VoiceFrame};

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

/// What the listener has set for a talker.
#[derive(Clone, Copy)]
struct Setting {
    volume: f32,
    is_muted: bool,
}

/// See the module's words.
pub struct Playout {
    talkers: BTreeMap<u32, Talker>,
    settings: BTreeMap<u32, Setting>,
    /// Of talkers without a decoder, for when they talk again.
    levels: BTreeMap<u32, SpeechLevel>,
    has_auto_level: bool,
    /// What is known of the path before a talker's first frame.
    expected_spread: Duration,
    mixer: Mixer,
    gone: JitterStats,
    refused: u64,
    evicted: u64,
    rendered: u64,
}

impl Default for Playout {
    fn default() -> Self {
        Self::new()
    }
}

impl Playout {
    /// Nobody there yet; talkers will be brought to one level, in mono.
    pub fn new() -> Self {
        Self {
            talkers: BTreeMap::new(),
            settings: BTreeMap::new(),
            levels: BTreeMap::new(),
            has_auto_level: true,
            expected_spread: Duration::ZERO,
            mixer: Mixer::new(),
            gone: JitterStats::default(),
            refused: 0,
            evicted: 0,
            rendered: 0,
        }
    }

    /// Talkers who are not known yet are waited for as if their frames came with this spread: what the path's probes showed.
    pub fn expect_spread(&mut self, spread: Duration) {
        self.expected_spread = spread;
        self.talkers.values_mut().for_each(|talker| talker.expect(spread));
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
        self.mix(now);
        self.mixer.finish(out);
    }

    /// As [`Self::render`], left and right; the same in both unless [`Placing::Spread`] was set.
    pub fn render_stereo(&mut self, now: Instant, out: &mut [Block; 2]) {
        self.mix(now);
        self.mixer.finish_stereo(out);
    }

    /// As [`Self::render`] in mono, not limited: to be mixed with more.
    pub(crate) fn render_unlimited(&mut self, now: Instant, out: &mut Block) {
        self.mix(now);
        self.mixer.finish_unlimited(out);
    }

    fn mix(&mut self, now: Instant) {
        self.rendered += 1;
        let mut stale = None;
        for (id, talker) in &mut self.talkers {
            if talker.is_idle() {
                if now.since(talker.heard) > TALKER_IDLE {
                    stale = Some(*id);
                }
                continue;
            }
            talker.render(now, &mut self.mixer);
        }
        if let Some(id) = stale {
            self.remove(id);
        }
    }

    /// Sets a talker's volume: 1 is as it came (or as its automatic level makes it), at most [`MAX_VOLUME`]; remembered when the
    /// talker goes. False (and nothing set) for a NaN, or if [`MAX_VOLUMES`] talkers have settings already.
    pub fn set_volume(&mut self, talker: u32, volume: f32) -> bool {
        !volume.is_nan() && self.set(talker, |setting| setting.volume = volume.clamp(0.0, MAX_VOLUME))
    }

    /// Mutes a talker, or lets it be heard again at its volume. Remembered, and refused, as [`Self::set_volume`].
    pub fn set_muted(&mut self, talker: u32, is_muted: bool) -> bool {
        self.set(talker, |setting| setting.is_muted = is_muted)
    }

    /// Whether each talker is brought to one level (see [`crate::level`]). It is so at first.
    pub fn set_auto_level(&mut self, is_on: bool) {
        self.has_auto_level = is_on;
        self.talkers.values_mut().for_each(|talker| talker.strip.set_auto_level(is_on));
    }

    /// Where talkers are heard. To be called between two blocks.
    pub fn set_placing(&mut self, placing: Placing) {
        self.mixer.set_placing(placing);
    }

    /// Where talkers are heard.
    pub fn placing(&self) -> Placing {
        self.mixer.placing()
    }

    /// Forgets a talker that left, its volume and level too.
    pub fn forget(&mut self, talker: u32) {
        self.settings.remove(&talker);
        if self.talkers.contains_key(&talker) {
            self.remove(talker);
        }
        self.levels.remove(&talker);
    }

    /// Forgets everybody: whoever has one of these numbers from now on is somebody else.
    pub fn forget_all(&mut self) {
        while let Some(talker) = self.talkers.keys().next().copied() {
            self.remove(talker);
        }
        self.settings.clear();
        self.levels.clear();
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
        let Ok(decoder) = MendingDecoder::new() else { return false };
        let mut strip = self.mixer.strip(self.levels.remove(&id));
        strip.set_auto_level(self.has_auto_level);
        if let Some(setting) = self.settings.get(&id) {
            strip.set_volume(setting.volume);
            strip.set_muted(setting.is_muted);
        }
        let mut talker = Talker::new(decoder, strip, now);
        talker.expect(self.expected_spread);
        self.talkers.insert(id, talker);
        true
    }

    /// Changes a talker's setting, now and for later.
    fn set(&mut self, id: u32, change: impl FnOnce(&mut Setting)) -> bool {
        if self.settings.len() >= MAX_VOLUMES && !self.settings.contains_key(&id) {
            return false;
        }
        let setting = self.settings.entry(id).or_insert(Setting { volume: 1.0, is_muted: false });
        change(setting);
        if let Some(talker) = self.talkers.get_mut(&id) {
            talker.strip.set_volume(setting.volume);
            talker.strip.set_muted(setting.is_muted);
        }
        true
    }

    fn remove(&mut self, id: u32) {
        if let Some(talker) = self.talkers.remove(&id) {
            self.gone.add(&talker.stats());
            self.evicted += 1;
            if let Some(level) = talker.strip.remember() {
                if self.levels.len() >= MAX_LEVELS {
                    self.levels.pop_first();
                }
                self.levels.insert(id, level);
            }
            self.mixer.remove(talker.strip);
        }
    }
}
