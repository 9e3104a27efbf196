//! Sound cards, by cpal: a native PulseAudio (or PipeWire) server where one answers, else the system's usual way.
//!
//! The only module that is driven by a clock of its own, the card's. Between its callbacks and the pump there is a
//! lock-free ring each way; a callback neither allocates nor waits. A device that vanishes is a trouble to be told, and
//! silence from then on.

mod microphone;
mod speaker;
mod stream;

use std::fmt;

use cpal::{
    Device, ErrorKind, Host,
    traits::{DeviceTrait as _, HostTrait as _},
};

use crate::{
    Duration,
    io::{Microphone, Speaker},
};
use microphone::DeviceMicrophone;
use speaker::DeviceSpeaker;

/// How often the rings are looked at.
const POLL: Duration = Duration::from_millis(4);
/// Buffers of this length are asked of a device; it may insist on its own.
const PERIODS_PER_SECOND: u32 = 100;

/// Why a device cannot be used: one line that says what to do.
#[derive(Debug)]
pub struct DeviceError(String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}

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
    /// The one that is used when none is named.
    pub is_default: bool,
    /// The rates that it takes, in Hz: least and most.
    pub rates_hz: (u32, u32),
}

/// All devices, microphones first.
///
/// # Errors
/// When the sound system cannot be asked.
pub fn list() -> Result<Vec<DeviceInfo>, DeviceError> {
    quietly(list_all)
}

fn list_all() -> Result<Vec<DeviceInfo>, DeviceError> {
    let host = host();
    let mut found = Vec::new();
    for direction in [Direction::Input, Direction::Output] {
        let default = default_device(&host, direction).and_then(|device| device.id().ok());
        for Named { name, device, .. } in devices(&host, direction)? {
            let Some(rates_hz) = rates_of(&device, direction) else { continue };
            let is_default = default.is_some() && default == device.id().ok();
            found.push(DeviceInfo { direction, name, is_default, rates_hz });
        }
    }
    Ok(found)
}

/// Opens a microphone: by its name as listed, by the sound system's own name for it, or by a part of either that no other
/// has; or the default one.
///
/// # Errors
/// When there is no such device or it cannot be opened.
pub fn open_microphone(name: Option<&str>) -> Result<Box<dyn Microphone>, DeviceError> {
    quietly(|| Ok(Box::new(DeviceMicrophone::open(&find(Direction::Input, name)?)?) as Box<dyn Microphone>))
}

/// Opens a speaker, likewise.
///
/// # Errors
/// As [`open_microphone`].
pub fn open_speaker(name: Option<&str>) -> Result<Box<dyn Speaker>, DeviceError> {
    quietly(|| Ok(Box::new(DeviceSpeaker::open(&find(Direction::Output, name)?)?) as Box<dyn Speaker>))
}

/// ALSA and its plug-ins write about every device that they do not find, straight to standard error, where the user
/// reads. Standard error leads nowhere while `ask` runs; what matters is in its answer.
#[cfg(target_os = "linux")]
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    let aside = rustix::io::dup(rustix::stdio::stderr()).ok();
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").ok();
    if let (Some(_), Some(nowhere)) = (&aside, nowhere) {
        // If it does not work, there is noise.
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    let answer = ask();
    if let Some(aside) = aside {
        // It was open a moment ago.
        let _ = rustix::stdio::dup2_stderr(aside);
    }
    answer
}

#[cfg(not(target_os = "linux"))]
fn quietly<T>(ask: impl FnOnce() -> T) -> T {
    ask()
}

#[cfg(target_os = "linux")]
fn host() -> Host {
    cpal::host_from_id(cpal::HostId::PulseAudio).unwrap_or_else(|_| cpal::default_host())
}

#[cfg(not(target_os = "linux"))]
fn host() -> Host {
    cpal::default_host()
}

fn default_device(host: &Host, direction: Direction) -> Option<Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

/// A device and what it may be called.
struct Named {
    /// As it is listed: what a person knows it by, with the identifier where two have the same name.
    name: String,
    /// As the sound system calls it.
    id: String,
    device: Device,
}

fn devices(host: &Host, direction: Direction) -> Result<Vec<Named>, DeviceError> {
    let devices = match direction {
        Direction::Input => host.input_devices().map(Iterator::collect),
        Direction::Output => host.output_devices().map(Iterator::collect),
    };
    let devices: Vec<Device> = devices
        .map_err(|error| DeviceError(format!("the sound system cannot be asked for its devices: {error}")))?;
    let named = devices.into_iter().filter(|device| !is_null(device)).filter_map(|device| {
        let name = device.description().ok()?.name().to_owned();
        Some(Named { name, id: device.id().map(|id| id.id().to_owned()).unwrap_or_default(), device })
    });
    let mut named: Vec<Named> = named.collect();
    let names: Vec<String> = named.iter().map(|named| named.name.clone()).collect();
    for Named { name, id, .. } in &mut named {
        if names.iter().filter(|other| *other == name).count() > 1 && !id.is_empty() {
            *name = format!("{name} ({id})");
        }
    }
    Ok(named)
}

/// ALSA lists a device that is none.
fn is_null(device: &Device) -> bool {
    device.id().is_ok_and(|id| id.id() == "null")
}

fn rates_of(device: &Device, direction: Direction) -> Option<(u32, u32)> {
    let ranges: Vec<_> = match direction {
        Direction::Input => device.supported_input_configs().ok()?.collect(),
        Direction::Output => device.supported_output_configs().ok()?.collect(),
    };
    let least = ranges.iter().map(|range| range.min_sample_rate()).min()?;
    let most = ranges.iter().map(|range| range.max_sample_rate()).max()?;
    Some((least, most))
}

fn find(direction: Direction, name: Option<&str>) -> Result<Device, DeviceError> {
    let host = host();
    let Some(name) = name else {
        return default_device(&host, direction)
            .ok_or_else(|| DeviceError(format!("there is no {direction} on this machine")));
    };
    let mut named = devices(&host, direction)?;
    let names: Vec<_> = named.iter().map(|named| (named.name.clone(), named.id.clone())).collect();
    let at = choose(direction, name, &names)?;
    Ok(named.swap_remove(at).device)
}

/// The place of the device that `wanted` means among `names`, pairs of the listed name and the sound system's own.
fn choose(direction: Direction, wanted: &str, names: &[(String, String)]) -> Result<usize, DeviceError> {
    if let Some(at) = names.iter().position(|(name, id)| name == wanted || id == wanted) {
        return Ok(at);
    }
    let part = wanted.to_lowercase();
    let has_part =
        |(name, id): &(String, String)| [name, id].iter().any(|known| known.to_lowercase().contains(&part));
    let mut fitting = names.iter().enumerate().filter(|(_, known)| has_part(known)).map(|(at, _)| at);
    let all = names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    match (fitting.next(), fitting.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => {
            Err(DeviceError(format!("several {direction}s have {wanted:?} in their names; there are: {all}")))
        }
        (None, _) if all.is_empty() => {
            Err(DeviceError(format!("there is no {direction} {wanted:?}, nor any other on this machine")))
        }
        (None, _) => Err(DeviceError(format!("there is no {direction} {wanted:?}; there are: {all}"))),
    }
}

/// What cpal says, for somebody who wants to talk.
#[allow(clippy::wildcard_enum_match_arm)] // cpal's list grows.
fn refused(direction: Direction, error: &cpal::Error) -> DeviceError {
    DeviceError(match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => {
            format!("there is no {direction} that can be used")
        }
        ErrorKind::DeviceBusy => format!("the {direction} is in use by another program"),
        ErrorKind::PermissionDenied => {
            format!("the {direction} may not be used by this user (is he in the group audio?)")
        }
        _ => format!("the {direction} cannot be used: {error}"),
    })
}

fn unusable(direction: Direction, error: impl fmt::Display) -> DeviceError {
    DeviceError(format!("the {direction} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_chosen_by_name_identifier_or_a_part_that_is_its_own() {
        let names = [("Null Output (spk)", "spk"), ("Null Output (micfeed)", "micfeed"), ("Mic", "mic")]
            .map(|(name, id)| (name.to_owned(), id.to_owned()));
        let chosen = |wanted| choose(Direction::Output, wanted, &names).map_err(|error| error.to_string());
        assert_eq!(chosen("Null Output (micfeed)"), Ok(1));
        assert_eq!(chosen("spk"), Ok(0));
        assert_eq!(chosen("mic"), Ok(2), "an exact name goes before a part of another");
        assert_eq!(chosen("FEED"), Ok(1));
        assert!(chosen("null").is_err_and(|e| e.starts_with("several speakers have \"null\"")));
        assert!(chosen("horn").is_err_and(|e| e.contains("there are: \"Null Output (spk)\", ")));
        assert!(choose(Direction::Input, "x", &[]).is_err_and(|e| e.to_string().contains("nor any other")));
    }
}
