//! How loud everybody is, looked at a few times a second and told when it looks different.

use std::collections::BTreeMap;

use chinwag_audio::process::Level;
use chinwag_proto::{Duration, Instant, SessionId};
use chinwag_screen::LOUDEST;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// Somebody of whom nothing came for so long does not speak.
const HOLD: Duration = Duration::from_millis(300);
/// What is quieter is the least that is shown.
const FAINTEST_DB: f32 = -60.0;
/// Talkers who are shown.
const TALKERS: usize = 64;
/// The level of a frame in which there is nothing.
const SILENT: u8 = 127;

/// How loud everybody is, of [`LOUDEST`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Levels {
    /// The microphone.
    pub(crate) mic: u8,
    /// It is open: what is said is sent where the user talks.
    pub(crate) is_open: bool,
    /// The others who speak now.
    pub(crate) heard: Vec<(SessionId, u8)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// How loud a talker was, and when.
    talkers: BTreeMap<SessionId, (u8, Instant)>,
    told: Levels,
    due: Instant,
}

impl Meter {
    /// A frame came; its level is that of RFC 6464.
    pub(crate) fn hear(&mut self, now: Instant, talker: SessionId, level: u8) {
        if level < SILENT && (self.talkers.len() < TALKERS || self.talkers.contains_key(&talker)) {
            self.talkers.insert(talker, (level, now));
        }
    }

    /// How loud it is now, if that is to be told.
    pub(crate) fn look(&mut self, now: Instant, mic: Level, is_open: bool) -> Option<Levels> {
        if now < self.due {
            return None;
        }
        self.due = now + INTERVAL;
        self.talkers.retain(|_, (_, heard)| now.since(*heard) < HOLD);
        let heard =
            self.talkers.iter().map(|(talker, &(level, _))| (*talker, step(-f32::from(level)).max(1)));
        let levels = Levels { mic: step(20.0 * mic.rms.log10()), is_open, heard: heard.collect() };
        let is_news = levels != self.told;
        self.told.clone_from(&levels);
        is_news.then_some(levels)
    }
}

/// Decibels of full scale as a step of a meter.
fn step(db: f32) -> u8 {
    let part = (1.0 - db / FAINTEST_DB).clamp(0.0, 1.0);
    // What is no number is silence.
    (part * f32::from(LOUDEST)).ceil() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Level = Level { peak: 0.0, rms: 0.0 };

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn steps_go_from_silence_to_full_scale() {
        let steps = [f32::NEG_INFINITY, -100.0, -60.0, -50.0, -30.0, -7.0, 0.0, 6.0].map(step);
        assert_eq!(steps, [0, 0, 0, 2, 4, 8, 8, 8]);
        assert_eq!(step(f32::NAN), 0);
    }

    #[test]
    fn only_what_looks_different_is_told_and_not_too_often() {
        let mut meter = Meter::default();
        let foo = SessionId::from_wire(1);
        assert_eq!(meter.look(at(0), QUIET, false), None);
        meter.hear(at(1), foo, 30);
        assert_eq!(meter.look(at(2), QUIET, false), None);
        let levels = Levels { heard: vec![(foo, 4)], ..Levels::default() };
        assert_eq!(meter.look(at(100), QUIET, false), Some(levels));
        meter.hear(at(150), foo, 30);
        assert_eq!(meter.look(at(200), QUIET, false), None);
        // Silence is no voice.
        meter.hear(at(440), foo, SILENT);
        assert_eq!(meter.look(at(449), QUIET, false), None);
        assert_eq!(meter.look(at(450), QUIET, false), None);
        assert_eq!(meter.look(at(550), QUIET, false), Some(Levels::default()));
        let loud = Level { peak: 1.0, rms: 0.5 };
        let told = meter.look(at(700), loud, true).unwrap();
        assert!(told.is_open && told.mic == LOUDEST);
    }
}
