//! Automatic level, on the listener's side, for each talker by itself: a shout and a whisper come out alike.
//!
//! The level of *speech* is measured, as ITU-T P.56 (active speech level) and EBU R128 (gated loudness) do it and in short
//! form: a block counts when it stands out of the talker's own background, and among those that count the ones far
//! below the loud ones do not. What is left are levels of the last few seconds of speech, in a histogram that forgets;
//! their mean gives the gain, which moves slowly and in speech only: pauses are not pumped up. A background is not
//! amplified beyond [`NOISE_CEILING_DB`].
//!
//! It only says which gain a talker should have; the [`crate::mix::Mixer`] applies it. The level that comes with
//! a frame (RFC 6464) is not looked at: it is the sender's word, and the sound itself is here.

use crate::Block;
use crate::floor::{Floor, power};

/// Active speech comes out at this level (dBFS, RMS): the peaks of most voices stay below the limiter's knee.
pub const TARGET_DB: f32 = -22.0;
/// The loudest are turned down by this much at most …
pub const LEAST_GAIN_DB: f32 = -18.0;
/// … and the quietest turned up by this much.
pub const MOST_GAIN_DB: f32 = 20.0;
/// The gain does not lift the talker's background above this.
pub const NOISE_CEILING_DB: f32 = -45.0;

/// Below this a block is no speech, whatever stands behind it.
const QUIETEST_SPEECH_DB: f32 = -60.0;
/// Below this a block is no background either: a muted microphone, the codec's own silence.
const SILENT_DB: f32 = -80.0;
/// Speech stands this much out of the background.
const ABOVE_FLOOR_DB: f32 = 9.0;
/// Levels this far below the loud ones (see [`LOUD_SHARE`]) do not count: the margin of P.56.
const MARGIN_DB: f32 = 15.9;
/// The loud ones: the loudest fifth of the time.
const LOUD_SHARE: f32 = 0.2;
/// Power is smoothed over about 30 ms, the time constant of P.56.
const SMOOTHING: f32 = 0.283;
/// The mean of levels in dB lies this much below the level of the mean power (measured on recorded and synthetic speech).
const MEAN_TO_POWER_DB: f32 = 1.5;

/// The histogram: bins of 1 dB, the first at −70 dBFS.
const BINS: usize = 72;
const FIRST_BIN_DB: f32 = -70.0;
/// What a block of speech leaves of the older ones: 1/e of them after 4 s of speech.
const FORGET: f32 = 1.0 - 1.0 / 400.0;
/// An unknown talker is taken for one at the target, for as much as this many blocks of speech: 100 ms.
const PRIOR_BLOCKS: f32 = 10.0;
/// A known one for one as loud as before.
const REMEMBERED_BLOCKS: f32 = 100.0;

/// Share of the way to the wanted gain that is gone in a block of speech (time constants of 1.5 s and 1 s) …
const UP: f32 = 0.006_7;
const DOWN: f32 = 0.01;
/// … but no more than this many dB: 8 dB a second up, 20 down.
const MOST_UP_DB: f32 = 0.08;
const MOST_DOWN_DB: f32 = 0.2;
/// Sound that would come out louder than this is turned down at 100 dB a second, known for speech or not.
const TOO_LOUD_DB: f32 = TARGET_DB + 14.0;
const TOO_LOUD_STEP_DB: f32 = 1.0;

/// What is remembered of a talker who is gone, for a good start when it comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeechLevel {
    /// Active speech level in dBFS.
    level_db: f32,
    gain_db: f32,
}

impl SpeechLevel {
    /// Active speech level in dBFS (RMS), roughly as P.56 has it.
    pub fn db(self) -> f32 {
        self.level_db
    }
}

/// Measures one talker and says its gain. See the module's words.
#[derive(Clone, Debug)]
pub struct AutoLevel {
    is_on: bool,
    /// Smoothed power.
    power: f32,
    floor: Floor,
    /// Speech, by its level; weights that sum up to `total`.
    histogram: [f32; BINS],
    total: f32,
    level_db: f32,
    gain_db: f32,
    /// `gain_db` as a factor.
    gain: f32,
    has_heard: bool,
}

impl Default for AutoLevel {
    fn default() -> Self {
        Self::new()
    }
}

impl AutoLevel {
    /// For a talker who is not known: its gain begins at 1.
    pub fn new() -> Self {
        Self::begin(TARGET_DB, 0.0, PRIOR_BLOCKS)
    }

    /// For one who was here before: its gain begins where it was.
    pub fn remembering(known: SpeechLevel) -> Self {
        Self::begin(known.level_db, known.gain_db, REMEMBERED_BLOCKS)
    }

    fn begin(level_db: f32, gain_db: f32, weight: f32) -> Self {
        let mut histogram = [0.0; BINS];
        histogram[bin(level_db - MEAN_TO_POWER_DB)] = weight;
        Self {
            is_on: true,
            power: 0.0,
            floor: Floor::new(),
            histogram,
            total: weight,
            level_db,
            gain_db,
            gain: from_db(gain_db),
            has_heard: false,
        }
    }

    /// Off, the gain is exactly 1; the measuring goes on.
    pub fn set_on(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// The factor for the talker's samples now. It changes in [`Self::observe`] only; whoever applies it goes from one to the next over a
    /// block.
    pub fn gain(&self) -> f32 {
        if self.is_on { self.gain } else { 1.0 }
    }

    /// What to remember when the talker goes; `None` if it never spoke.
    pub fn remember(&self) -> Option<SpeechLevel> {
        self.has_heard.then_some(SpeechLevel { level_db: self.level_db, gain_db: self.gain_db })
    }

    /// Takes a block as it was decoded from a frame that arrived. Not for concealed sound: its fading says nothing about
    /// the talker.
    pub fn observe(&mut self, block: &Block) {
        let power = power(block);
        let block_db = to_db(power);
        // NaN, and what overflows, too.
        if !power.is_finite() || block_db < SILENT_DB {
            return;
        }
        self.floor.push(power);
        self.power += SMOOTHING * (power - self.power);
        let floor_db = self.floor.power().map_or(SILENT_DB, to_db);
        let heard_db = to_db(self.power);
        let mut step = 0.0;
        if heard_db > QUIETEST_SPEECH_DB.max(floor_db + ABOVE_FLOOR_DB) {
            self.count(heard_db);
            let quiet_enough = (NOISE_CEILING_DB - floor_db).max(0.0);
            let wanted = (TARGET_DB - self.level_db).clamp(LEAST_GAIN_DB, MOST_GAIN_DB).min(quiet_enough);
            let away = wanted - self.gain_db;
            step = if away > 0.0 { (away * UP).min(MOST_UP_DB) } else { (away * DOWN).max(-MOST_DOWN_DB) };
        }
        if heard_db + self.gain_db > TOO_LOUD_DB {
            step = -TOO_LOUD_STEP_DB;
        }
        if step != 0.0 {
            self.gain_db = (self.gain_db + step).clamp(LEAST_GAIN_DB, MOST_GAIN_DB);
            self.gain = from_db(self.gain_db);
        }
    }

    /// Takes a block of speech into the level.
    fn count(&mut self, db: f32) {
        self.has_heard = true;
        for weight in &mut self.histogram {
            // What is as good as forgotten must not become a denormal number, which is slow.
            *weight = if *weight > 1e-6 { *weight * FORGET } else { 0.0 };
        }
        self.histogram[bin(db)] += 1.0;
        self.total = self.total * FORGET + 1.0;
        let mut loud = 0;
        let mut above = 0.0;
        for (index, weight) in self.histogram.iter().enumerate().rev() {
            above += weight;
            if above >= self.total * LOUD_SHARE {
                loud = index;
                break;
            }
        }
        let least = loud.saturating_sub(MARGIN_DB as usize);
        let (mut weights, mut sum) = (0.0, 0.0);
        for (index, weight) in self.histogram.iter().enumerate().skip(least) {
            weights += weight;
            sum += weight * (index as f32 + 0.5);
        }
        if weights > 0.0 {
            self.level_db = FIRST_BIN_DB + sum / weights + MEAN_TO_POWER_DB;
        }
    }
}

fn bin(db: f32) -> usize {
    // A NaN would go to the first one.
    ((db - FIRST_BIN_DB) as usize).min(BINS - 1)
}

fn to_db(power: f32) -> f32 {
    10.0 * power.max(1e-12).log10()
}

fn from_db(db: f32) -> f32 {
    if db == 0.0 { 1.0 } else { 10.0_f32.powf(db / 20.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK, SILENCE, sample::voice};

    /// Blocks of a voice whose loud sounds are at about −17 dBFS, times this, over a background.
    fn said(seconds: usize, gain_db: f32, noise_db: f32) -> Vec<Block> {
        let (gain, noise, mut seed) = (from_db(gain_db), from_db(noise_db) * 1.732, 9_u32);
        let mut white = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise * ((seed >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        let voice = voice(3, seconds);
        voice.as_chunks::<BLOCK>().0.iter().map(|block| block.map(|s| s * gain + white())).collect()
    }

    fn after(blocks: &[Block]) -> AutoLevel {
        let mut level = AutoLevel::new();
        blocks.iter().for_each(|block| level.observe(block));
        level
    }

    #[test]
    fn a_shout_and_a_whisper_come_out_alike() {
        let level_db = |gain_db: f32| after(&said(20, gain_db, -90.0)).remember().unwrap().db();
        let plain_db = level_db(0.0);
        for gain_db in [-24.0, -12.0, -6.0, 6.0, 10.0] {
            let level = after(&said(20, gain_db, -90.0));
            let measured_db = level.remember().unwrap().db();
            assert!((measured_db - plain_db - gain_db).abs() < 1.5, "{gain_db}: measured {measured_db}");
            let out_db = measured_db + to_db(level.gain().powi(2));
            let reachable_db = TARGET_DB.min(measured_db + MOST_GAIN_DB);
            assert!((out_db - reachable_db).abs() < 1.5, "{gain_db}: {measured_db} came out at {out_db}");
        }
    }

    #[test]
    fn the_gain_is_slow_and_stands_still_in_pauses() {
        let speech = said(20, -6.0, -60.0);
        let mut level = AutoLevel::new();
        let mut gains = vec![];
        for block in speech.iter().chain(&said(5, -90.0, -60.0)).chain(&[SILENCE; 500]) {
            level.observe(block);
            gains.push(to_db(level.gain().powi(2)));
        }
        let fastest = gains.windows(100).map(|w| (w[99] - w[0]).abs()).fold(0.0, f32::max);
        assert!((0.1..3.0).contains(&fastest), "{fastest} dB in a second");
        // The smoothed power has to come down first.
        let of_pause = &gains[speech.len() + 30..];
        assert!(of_pause.iter().all(|gain| *gain == of_pause[0]));
    }

    #[test]
    fn a_background_is_not_lifted_over_the_ceiling() {
        for (noise_db, most_db) in [(-42.0, 0.0), (-55.0, 13.0)] {
            let gain_db = to_db(after(&said(20, -18.0, noise_db)).gain().powi(2));
            assert!(gain_db <= most_db, "{noise_db}: {gain_db}");
            assert_eq!(after(&said(20, -120.0, noise_db)).gain(), 1.0, "{noise_db}, alone");
        }
    }

    #[test]
    fn off_is_exactly_one_and_on_again_is_what_was_measured() {
        let mut level = AutoLevel::new();
        let speech = said(10, -15.0, -90.0);
        level.set_on(false);
        for block in &speech {
            level.observe(block);
            assert_eq!(level.gain(), 1.0);
        }
        level.set_on(true);
        assert_eq!(level.gain(), after(&speech).gain());
    }

    #[test]
    fn who_comes_back_begins_where_it_was() {
        assert_eq!(AutoLevel::new().remember(), None);
        let before = after(&said(20, -15.0, -90.0));
        let mut again = AutoLevel::remembering(before.remember().unwrap());
        assert_eq!(again.gain(), before.gain());
        said(3, -15.0, -90.0).iter().for_each(|block| again.observe(block));
        let changed_db = to_db((again.gain() / before.gain()).powi(2));
        assert!(changed_db.abs() < 1.5, "{changed_db} dB");
    }

    #[test]
    fn a_whisperer_who_shouts_is_turned_down_at_once() {
        let mut level = after(&said(20, -24.0, -90.0));
        assert!(level.gain() > from_db(12.0));
        let shout: Block = std::array::from_fn(|i| if i % 200 < 100 { 0.7 } else { -0.7 });
        (0..30).for_each(|_| level.observe(&shout));
        assert!(level.gain() < from_db(-4.0), "{}", level.gain());
    }

    #[test]
    fn nothing_that_is_heard_takes_the_gain_out_of_bounds() {
        let mut level = AutoLevel::new();
        let odd = [f32::NAN, f32::INFINITY, f32::MAX, 2.0, 1e-4, 1e-30, 0.0, -0.9];
        for k in 0..3000_usize {
            let size = odd[k % 7 * k % odd.len()];
            level.observe(&std::array::from_fn(|i| if i % 9 < 4 { size } else { -size }));
            let gain = level.gain();
            assert!((from_db(LEAST_GAIN_DB) * 0.99..=from_db(MOST_GAIN_DB) * 1.01).contains(&gain), "{gain}");
        }
        assert!(level.remember().is_some_and(|known| known.db().is_finite()));
    }
}
