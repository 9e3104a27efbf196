//! Microphones and speakers in words, and `chinwag devices`.

use std::process::ExitCode;

use anyhow::Result;
use chinwag_audio::device::{self, DeviceInfo, Direction};
use chinwag_proto::text::escape;
use serde::{Deserialize, Serialize};

use chinwag_terminal::print;

/// A device as another program reads it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// It is a microphone, or else a speaker.
    is_microphone: bool,
    name: String,
    id: String,
    host: String,
    is_default: bool,
    rate_hz: u32,
    channels: u16,
    rates_hz: (u32, u32),
}

impl From<DeviceInfo> for Entry {
    fn from(found: DeviceInfo) -> Self {
        let DeviceInfo { direction, name, id, host, is_default, rate_hz, channels, rates_hz } = found;
        let is_microphone = direction == Direction::Input;
        Self { is_microphone, name, id, host, is_default, rate_hz, channels, rates_hz }
    }
}

impl From<Entry> for DeviceInfo {
    fn from(entry: Entry) -> Self {
        let Entry { is_microphone, name, id, host, is_default, rate_hz, channels, rates_hz } = entry;
        let direction = if is_microphone { Direction::Input } else { Direction::Output };
        Self { direction, name, id, host, is_default, rate_hz, channels, rates_hz }
    }
}

/// Lists microphones and speakers on standard output: a line for each, or all as JSON.
pub(crate) fn list(is_json: bool) -> Result<ExitCode> {
    let devices = device::list()?;
    if is_json {
        let entries: Vec<Entry> = devices.into_iter().map(Entry::from).collect();
        print(&serde_json::to_string(&entries)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if devices.is_empty() {
        print("no sound devices were found; --mic and --speaker also take WAV files")?;
    }
    for found in devices {
        let direction = found.direction.to_string();
        let (least, most) = found.rates_hz;
        let others = if least == most { String::new() } else { format!(" (takes {least} to {most} Hz)") };
        print(&format!("{direction:<10}  {}{others}", describe(&found, false)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What [`list`] wrote as JSON.
pub(crate) fn read(json: &[u8]) -> Result<Vec<DeviceInfo>> {
    let entries: Vec<Entry> = serde_json::from_slice(json)?;
    Ok(entries.into_iter().map(DeviceInfo::from).collect())
}

/// The devices of a direction with their numbers, a line for each; the one with that identifier is in use.
pub(crate) fn numbered(devices: &[DeviceInfo], direction: Direction, in_use: Option<&str>) -> Vec<String> {
    let devices = devices.iter().filter(|found| found.direction == direction);
    let line = |(at, found): (usize, &DeviceInfo)| {
        format!("{:3}  {}", at + 1, describe(found, in_use == Some(found.id.as_str())))
    };
    devices.enumerate().map(line).collect()
}

/// Safe to print.
fn describe(found: &DeviceInfo, is_used: bool) -> String {
    let DeviceInfo { name, host, is_default, rate_hz, channels, .. } = found;
    let mark = match (is_default, is_used) {
        (true, true) => " (default, in use)",
        (true, false) => " (default)",
        (false, true) => " (in use)",
        (false, false) => "",
    };
    let channels = match channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more} channels"),
    };
    format!("{}{mark}, {host}, {rate_hz} Hz {channels}", escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn horn() -> DeviceInfo {
        DeviceInfo {
            direction: Direction::Output,
            name: "Horn \u{1b}[2J".to_owned(),
            id: "horn".to_owned(),
            host: "ALSA".to_owned(),
            is_default: true,
            rate_hz: 44_100,
            channels: 2,
            rates_hz: (8_000, 48_000),
        }
    }

    fn mic() -> DeviceInfo {
        DeviceInfo {
            direction: Direction::Input,
            name: "Mic".to_owned(),
            id: "mic".to_owned(),
            is_default: false,
            channels: 6,
            rates_hz: (44_100, 44_100),
            ..horn()
        }
    }

    #[test]
    fn a_device_is_a_line_and_its_name_cannot_drive_the_terminal() {
        let expected = "Horn \\u{1b}[2J (default), ALSA, 44100 Hz stereo";
        assert_eq!(describe(&horn(), false), expected);
        assert_eq!(describe(&mic(), false), "Mic, ALSA, 44100 Hz 6 channels");
    }

    #[test]
    fn devices_have_numbers_by_direction_and_the_one_in_use_is_marked() {
        let devices = [mic(), DeviceInfo { id: "other".to_owned(), ..mic() }, horn()];
        assert_eq!(
            numbered(&devices, Direction::Input, Some("other")),
            ["  1  Mic, ALSA, 44100 Hz 6 channels", "  2  Mic (in use), ALSA, 44100 Hz 6 channels"]
        );
        let speakers = numbered(&devices, Direction::Output, Some("horn"));
        assert!(speakers.len() == 1 && speakers[0].contains(" (default, in use), "), "{speakers:?}");
        assert!(numbered(&devices[..2], Direction::Output, Some("mic")).is_empty());
    }

    #[test]
    fn what_is_written_for_a_program_is_read_again() {
        let entries = [Entry::from(mic()), Entry::from(horn())];
        assert_eq!(read(&serde_json::to_vec(&entries).unwrap()).unwrap(), [mic(), horn()]);
        assert!(read(b"").is_err());
    }
}
