//! How everybody sounds, on the full screen: who speaks, how loud the microphone is, who is muted, what is lost.

use std::collections::BTreeSet;

use chinwag_proto::SessionId;
use chinwag_screen::{Mic, Status};

use super::FullScreen;
use crate::voice::Voice;

/// Voice of which more than that is lost, in thousandths, arrives badly.
const POOR_PER_MILLE: u16 = 50;

/// What is remembered of it from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// How loud his microphone is, and whether it is open.
    mic: (u8, bool),
    /// Whom the user does not hear.
    muted: BTreeSet<SessionId>,
    /// What is lost of his voice, by those who hear it, and what of theirs.
    own_lost: u16,
    lost: u16,
}

impl Heard {
    /// Nobody is marked as muted any more.
    pub(super) fn forget_marks(&mut self) {
        self.muted.clear();
    }
}

impl FullScreen {
    /// Looks up how it sounds; whether the server passes on what the user says.
    pub(crate) fn tend_voice(&self, voice: &mut Voice, is_passed_on: bool) {
        let (levels, arrivals) = (voice.take_levels(), voice.take_arrivals());
        let mut state = self.0.lock();
        let super::State { model, heard, is_changed, .. } = &mut *state;
        if let Some(levels) = &levels {
            model.set_levels(&levels.heard);
            heard.mic = (levels.mic, levels.is_open);
            *is_changed = true;
        }
        for (talker, lost) in arrivals {
            match talker {
                Some(talker) => {
                    heard.lost = lost;
                    model.set_poor(talker, lost > POOR_PER_MILLE);
                }
                None => heard.own_lost = lost,
            }
            *is_changed = true;
        }
        let known = model.status();
        let (level, is_open) = heard.mic;
        let mic = voice.gate().map(|gate| Mic { gate, is_sent: is_open && is_passed_on, level });
        let lost_per_mille = heard.lost.max(heard.own_lost);
        let (is_muted, is_deafened) = (voice.is_muted(), voice.is_deafened());
        let status = Status { mic, lost_per_mille, is_muted, is_deafened, ..known };
        if status != known {
            model.set_status(status);
            *is_changed = true;
        }
        if *voice.muted() != heard.muted {
            for &session in heard.muted.symmetric_difference(voice.muted()) {
                model.set_muted(session, voice.muted().contains(&session));
            }
            heard.muted.clone_from(voice.muted());
            *is_changed = true;
        }
        if *is_changed {
            self.0.changed.notify_one();
        }
    }
}
