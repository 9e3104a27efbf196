//! Sound cards, by cpal: a native PulseAudio (or PipeWire) server where one answers, else the system's usual way.
//!
//! The only module that is driven by a clock of its own, the card's. A device has three places: its callback (`stream`), at
//! one end of a lock-free ring, which neither allocates nor waits; the sound thread (`microphone` and `speaker`, and the
//! `link` that both have) at the other end, which does not wait either; and a thread that opens the device and keeps it
//! open (`keeper`), which may. A device that vanishes is silence, and a line to be told, until it is back; the default
//! device is followed.
//!
//! Two clocks that drift apart need nothing here: the ring of a microphone is emptied at each turn, so that what is
//! captured goes out at the microphone's pace, and a speaker asks for as much as it takes. What is between the paces of a
//! talker's microphone and a listener's speaker is the jitter buffer's business.

mod cards;
mod find;
#[expect(
    clippy::disallowed_methods,
    reason = "devices are real, and so is their time; the simulator has none"
)]
mod keeper;
mod link;
mod microphone;
mod speaker;
mod stream;
#[cfg(test)]
mod tests;
mod trouble;

use std::fmt;

use crate::{
    Duration,
    io::{Microphone, Speaker},
};
pub use trouble::DeviceError;

/// How often the rings are looked at.
const POLL: Duration = Duration::from_millis(4);

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It hears: a microphone.
    Input,
    /// It is heard: a speaker.
    Output,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "microphone",
            Self::Output => "speaker",
        })
    }
}

/// A device as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What it is for.
    pub direction: Direction,
    /// The name to choose it by.
    pub name: String,
    /// The sound system's own name for it, which stays the same.
    pub id: String,
    /// The sound system that has it.
    pub host: String,
    /// The one that is used when none is named.
    pub is_default: bool,
    /// The rate at which it is used, in Hz.
    pub rate_hz: u32,
    /// The channels that it is used with; what is heard on several is mixed into one.
    pub channels: u16,
    /// The rates that it takes, in Hz: least and most.
    pub rates_hz: (u32, u32),
}

/// All devices, microphones first.
///
/// # Errors
/// When the sound system cannot be asked.
pub fn list() -> Result<Vec<DeviceInfo>, DeviceError> {
    find::list()
}

/// The one of these devices that `wanted` means: its name, the sound system's own name for it, or a part of either that no other has.
///
/// # Errors
/// When there is none, or several; it says which there are.
pub fn choose<'a>(
    devices: &'a [DeviceInfo],
    direction: Direction,
    wanted: &str,
) -> Result<&'a DeviceInfo, DeviceError> {
    find::choose_listed(devices, direction, wanted)
}

/// Opens a microphone: by its name as listed, by the sound system's own name for it, or by a part of either that no other
/// has; or the default one. When it vanishes it gives silence until it is back; the default one is followed.
///
/// # Errors
/// When there is no such device or it cannot be opened.
pub fn open_microphone(name: Option<&str>) -> Result<Box<dyn Microphone + Send>, DeviceError> {
    Ok(Box::new(microphone::DeviceMicrophone::open(name)?))
}

/// Opens a speaker, likewise.
///
/// # Errors
/// As [`open_microphone`].
pub fn open_speaker(name: Option<&str>) -> Result<Box<dyn Speaker + Send>, DeviceError> {
    Ok(Box::new(speaker::DeviceSpeaker::open(name)?))
}
