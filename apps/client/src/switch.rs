//! What is switched on and off while a conversation goes on, other than by what is typed: by the key of push-to-talk, and by other
//! programs (`chinwag ctl`). None of it waits for what is to be said.

use std::{
    fmt,
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use chinwag_screen::{Talk, commands::Mode};
use clap::ValueEnum;

use crate::{face::Face, voice::Voice};

/// Switches that wait for the conversation; whoever has another one waits, or is told.
pub(crate) const WAITING_SWITCHES: usize = 16;

/// What can be switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum What {
    /// Talking, by push-to-talk
    Ptt,
    /// Being heard by nobody
    Mute,
    /// Hearing nobody
    Deafen,
}

impl What {
    /// How it is with it.
    fn state(self, is_on: bool) -> &'static str {
        match (self, is_on) {
            (Self::Ptt, true) => "talking",
            (Self::Ptt, false) => "not talking",
            (Self::Mute, true) => "muted",
            (Self::Mute, false) => "not muted",
            (Self::Deafen, true) => "deafened",
            (Self::Deafen, false) => "not deafened",
        }
    }
}

/// To what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum To {
    /// On, also if it is
    On,
    /// Off, also if it is
    Off,
    /// The other way round
    Toggle,
}

impl To {
    /// Whether it is on then.
    pub(crate) fn from(self, is_on: bool) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Toggle => !is_on,
        }
    }
}

/// From where something is switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hand {
    /// The terminal.
    Seat,
    /// Another program.
    Program,
}

/// What another program is told: how it is now, or why nothing was done.
pub(crate) type Answer = Result<&'static str, &'static str>;

/// See the module.
#[derive(Debug)]
pub(crate) enum Switch {
    /// The key was pressed, or was let go.
    Key(Talk),
    /// Another program wants it, and an answer until then.
    Program(What, To, SyncSender<Answer>, Instant),
}

impl Switch {
    /// What another program wants, and waits for so long.
    pub(crate) fn by_program(what: What, to: To, answer: SyncSender<Answer>, patience: Duration) -> Self {
        Self::Program(what, to, answer, Instant::now() + patience)
    }

    /// Does it, and tells what the user does not see by himself.
    pub(crate) fn carry_out(self, voice: &mut Voice, face: &mut Face) {
        match self {
            Self::Key(Talk::Begin) => press(To::On, voice, face),
            Self::Key(Talk::Toggle) => press(To::Toggle, voice, face),
            // Without push-to-talk there is nothing to end.
            Self::Key(Talk::End) => drop(voice.switch(What::Ptt, To::Off, Hand::Seat)),
            Self::Key(Talk::Away) => {
                if voice.leave_seat() {
                    face.notice("you are no longer heard, since you went to another window");
                }
            }
            // It was told that nothing came of it.
            Self::Program(.., until) if until < Instant::now() => {}
            Self::Program(what, to, answer, _) => {
                let was_on = voice.is_on(what);
                let told = voice.switch(what, to, Hand::Program);
                let is_on = voice.is_on(what);
                // The status line has what happens all the time.
                let is_seen = what == What::Ptt && face.mode() == Mode::Full;
                if let Ok(told) = told
                    && was_on != is_on
                    && !is_seen
                {
                    face.notice(told);
                }
                // Whoever asked may have gone.
                let _ = answer.try_send(told.map(|_| what.state(is_on)));
            }
        }
    }
}

/// The status line shows what comes of it, unless nothing does.
fn press(to: To, voice: &mut Voice, face: &mut Face) {
    if let Err(why) = voice.switch(What::Ptt, to, Hand::Seat) {
        face.notice(why);
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().unwrap_or_default().get_name())
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().unwrap_or_default().get_name())
    }
}
