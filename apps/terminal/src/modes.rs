//! The modes of the terminal while lines are edited here, and as they were.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::crash;

#[derive(Debug, Default)]
struct State {
    /// As they were; also while they are so.
    original: Option<Termios>,
    is_on: bool,
    /// They are not to be changed again.
    is_over: bool,
}

/// See the module.
///
/// Its lock is held for a moment only, and by nobody who could panic, so that they can be put back whatever happens.
#[derive(Debug, Default)]
pub(crate) struct Modes(Mutex<State>);

impl Modes {
    /// Leaves the editing to the program: keys come at once and are not shown. Ctrl-C and Ctrl-Z are signals still, and a line
    /// feed begins a row. False when the terminal does not let it, or when that is over. `last_words` are written where a fault of the
    /// program puts them back.
    pub(crate) fn set(&self, last_words: String) -> bool {
        let mut state = self.lock();
        if state.is_over {
            return false;
        }
        let Ok(mut modes) = tcgetattr(io::stdin()) else { return false };
        // After a stop, the shell may have had its own.
        if state.original.is_none() || modes.local_modes.contains(LocalModes::ICANON) {
            state.original = Some(modes.clone());
        }
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        modes.input_modes -= InputModes::IXON;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(io::stdin(), OptionalActions::Now, &modes).is_err() {
            return false;
        }
        state.is_on = true;
        if let Some(original) = state.original.clone() {
            crash::arm(original, last_words);
        }
        true
    }

    /// Puts them back as they were; for good if `is_over`. True if they were not.
    pub(crate) fn restore(&self, is_over: bool) -> bool {
        let mut state = self.lock();
        state.is_over |= is_over;
        let was_on = std::mem::take(&mut state.is_on);
        if was_on && let Some(original) = &state.original {
            // It may have gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, original);
            crash::disarm();
        }
        was_on
    }

    /// True while lines are edited here.
    pub(crate) fn are_set(&self) -> bool {
        self.lock().is_on
    }

    /// True once they were put back for good.
    pub(crate) fn are_over(&self) -> bool {
        self.lock().is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
