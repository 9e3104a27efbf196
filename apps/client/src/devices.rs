//! `chinwag devices`.

use std::process::ExitCode;

use anyhow::Result;
use chinwag_audio::device::{self, DeviceInfo};
use chinwag_proto::text::escape;

use chinwag_terminal::print;

/// Lists microphones and speakers on standard output.
pub(crate) fn list() -> Result<ExitCode> {
    let devices = device::list()?;
    if devices.is_empty() {
        print("no sound devices were found; --mic and --speaker also take WAV files")?;
    }
    for found in devices {
        print(&line(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(found: &DeviceInfo) -> String {
    let DeviceInfo { direction, name, host, is_default, rate_hz, channels, rates_hz: (least, most) } = found;
    let mark = if *is_default { " (default)" } else { "" };
    let channels = match channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more} channels"),
    };
    let others = if least == most { String::new() } else { format!(" (takes {least} to {most} Hz)") };
    let direction = direction.to_string();
    format!("{direction:<10}  {}{mark}, {host}, {rate_hz} Hz {channels}{others}", escape(name))
}

#[cfg(test)]
mod tests {
    use chinwag_audio::device::Direction;

    use super::*;

    #[test]
    fn a_device_is_a_line_and_its_name_cannot_drive_the_terminal() {
        let mut found = DeviceInfo {
            direction: Direction::Output,
            name: "Horn \u{1b}[2J".to_owned(),
            host: "ALSA",
            is_default: true,
            rate_hz: 44_100,
            channels: 2,
            rates_hz: (8_000, 48_000),
        };
        let expected =
            "speaker     Horn \\u{1b}[2J (default), ALSA, 44100 Hz stereo (takes 8000 to 48000 Hz)";
        assert_eq!(line(&found), expected);
        found =
            DeviceInfo { direction: Direction::Input, name: "Mic".to_owned(), is_default: false, ..found };
        found = DeviceInfo { channels: 6, rates_hz: (44_100, 44_100), ..found };
        assert_eq!(line(&found), "microphone  Mic, ALSA, 44100 Hz 6 channels");
    }
}
