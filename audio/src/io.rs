//! Where sound comes from and goes to, as the pump sees it: blocks, on an explicit clock.

use std::ops::Add;

use crate::{Block, Instant};

/// What [`Microphone::read`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicRead {
    /// A block.
    Block,
    /// Nothing yet; [`Microphone::due`] says when.
    NotYet,
    /// Nothing more, ever.
    Spent,
}

/// What became of sound between a device and the pump. All zero where there is no device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Times that the device was opened: 1, and one more for each time that it came back or was changed.
    pub opened: u64,
    /// Times that playback broke off because nothing was ready.
    pub gaps: u64,
    /// Samples, at the device's rate, that were thrown away because the ring between device and pump was full.
    pub overflowed: u64,
    /// Blocks of silence in the place of a microphone that gave nothing; blocks that no speaker took.
    pub made_up: u64,
}

impl Add for DeviceStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            opened: self.opened + other.opened,
            gaps: self.gaps + other.gaps,
            overflowed: self.overflowed + other.overflowed,
            made_up: self.made_up + other.made_up,
        }
    }
}

/// A source of sound.
pub trait Microphone {
    /// Sound begins now.
    fn start(&mut self, now: Instant);

    /// The next block that was captured by `now`.
    fn read(&mut self, now: Instant, block: &mut Block) -> MicRead;

    /// When to read next; `None` when nothing more will come.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// When the first sample was captured.
    fn started(&self) -> Option<Instant>;

    /// Something that the user should know, once: a device that is gone, a file that broke off.
    fn take_trouble(&mut self) -> Option<String>;

    /// The sound system's own name for the device that is heard just now, if one is.
    fn device(&self) -> Option<&str> {
        None
    }

    /// Counters.
    fn stats(&self) -> DeviceStats {
        DeviceStats::default()
    }
}

/// A place where sound is heard.
pub trait Speaker {
    /// Sound begins now.
    fn start(&mut self, now: Instant);

    /// How many blocks it takes at `now`.
    fn ready(&mut self, now: Instant) -> usize;

    /// Takes a block.
    fn write(&mut self, block: &Block);

    /// Takes a block for each ear. A speaker that has but one channel plays their mean.
    fn write_stereo(&mut self, left: &Block, right: &Block) {
        self.write(&std::array::from_fn(|i| (left[i] + right[i]) * 0.5));
    }

    /// When it takes a block next; `None` when it takes none any more.
    fn due(&self, now: Instant) -> Option<Instant>;

    /// When the first sample was played.
    fn started(&self) -> Option<Instant>;

    /// As [`Microphone::take_trouble`].
    fn take_trouble(&mut self) -> Option<String>;

    /// As [`Microphone::device`].
    fn device(&self) -> Option<&str> {
        None
    }

    /// Counters.
    fn stats(&self) -> DeviceStats {
        DeviceStats::default()
    }
}

/// No microphone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullMicrophone;

impl Microphone for NullMicrophone {
    fn start(&mut self, _now: Instant) {}

    fn read(&mut self, _now: Instant, _block: &mut Block) -> MicRead {
        MicRead::Spent
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        None
    }

    fn started(&self) -> Option<Instant> {
        None
    }

    fn take_trouble(&mut self) -> Option<String> {
        None
    }
}

/// No speaker: nothing is rendered for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSpeaker;

impl Speaker for NullSpeaker {
    fn start(&mut self, _now: Instant) {}

    fn ready(&mut self, _now: Instant) -> usize {
        0
    }

    fn write(&mut self, _block: &Block) {}

    fn due(&self, _now: Instant) -> Option<Instant> {
        None
    }

    fn started(&self) -> Option<Instant> {
        None
    }

    fn take_trouble(&mut self) -> Option<String> {
        None
    }
}
