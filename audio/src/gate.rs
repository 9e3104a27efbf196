//! When to send: a gate in front of the encoder.

use crate::{Block, rms};

/// A block at least this loud opens [`Gate::Level`], and nothing quieter is speech: −65 dBFS (RMS).
pub(crate) const OPEN_RMS: f32 = 0.000_562_341;
/// A block in which speech is this likely opens [`Gate::Voice`] …
const OPENS: f32 = 0.38;
/// … and so does one in which it is this likely together with the one before it, on the average.
const OPENS_TOGETHER: f32 = 0.32;
/// What keeps it open.
const STAYS: f32 = 0.27;
/// With so many blocks of it, it was speech, and not a click.
const CERTAIN_BLOCKS: u32 = 8;
/// Open for this many blocks after the last sound: 500 ms …
const HANG_OVER_BLOCKS: u32 = 50;
/// … or 150 ms if it was no more than a click …
const CLICK_BLOCKS: u32 = 15;
/// … or 200 ms after the button was let go.
const TAIL_BLOCKS: u32 = 20;
/// Blocks before the first that are sent with it, at most.
pub(crate) const MAX_PRE_ROLL: usize = 2;

/// When to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// When there is sound at all: only true silence is not sent.
    #[default]
    Level,
    /// When there is a voice. It opens at the first suspicion, so that no syllable loses its beginning, and closes sooner when it was only a
    /// click.
    Voice,
    /// Always.
    Open,
    /// While a button is held, and shortly after.
    PushToTalk,
}

impl Gate {
    /// Whether it needs to know how likely there is speech.
    pub(crate) fn wants_speech(self) -> bool {
        self == Self::Voice
    }

    /// Blocks before the first that are sent with it: more for voice, since it is certain only after a soft onset. A listener hears
    /// them later by as much as they are late, until its buffer has caught up; so they are few, and the gate quick.
    pub(crate) fn pre_roll(self) -> usize {
        match self {
            Self::Voice => MAX_PRE_ROLL,
            Self::Level | Self::Open | Self::PushToTalk => 1,
        }
    }
}

/// What a block means for a talk spurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Begin one, or go on.
    Talk,
    /// Not a reason to begin one, but one under way goes on.
    HangOver,
    /// A spurt under way ends with this block.
    End,
}

/// The state of a gate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GateState {
    is_held: bool,
    /// How likely speech was in the block before.
    before: f32,
    /// Blocks of speech in this spurt, and blocks since the last sound.
    speech_for: u32,
    quiet_for: u32,
    hang_over: u32,
}

impl GateState {
    pub(crate) fn set_held(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Judges a block, in which there is speech as likely as that.
    pub(crate) fn judge(&mut self, gate: Gate, block: &Block, likely: f32, is_talking: bool) -> Verdict {
        let together = (likely + self.before) / 2.0;
        self.before = likely;
        if !is_talking {
            (self.speech_for, self.quiet_for) = (0, 0);
        }
        let is_loud = rms(block) >= OPEN_RMS;
        let (opens, stays, hang_over) = match gate {
            Gate::Open => (true, true, HANG_OVER_BLOCKS),
            Gate::Level => (is_loud, is_loud, HANG_OVER_BLOCKS),
            Gate::PushToTalk => (self.is_held, self.is_held, TAIL_BLOCKS),
            Gate::Voice => {
                let stays = is_loud && together >= STAYS;
                self.speech_for = self.speech_for.saturating_add(u32::from(stays));
                let hang_over =
                    if self.speech_for >= CERTAIN_BLOCKS { HANG_OVER_BLOCKS } else { CLICK_BLOCKS };
                (is_loud && (likely >= OPENS || together >= OPENS_TOGETHER), stays, hang_over)
            }
        };
        if opens || (is_talking && stays) {
            (self.quiet_for, self.hang_over) = (0, hang_over);
            return Verdict::Talk;
        }
        self.quiet_for = self.quiet_for.saturating_add(1);
        if self.quiet_for >= self.hang_over { Verdict::End } else { Verdict::HangOver }
    }
}
