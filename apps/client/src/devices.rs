//! `chinwag devices`.

use std::process::ExitCode;

use anyhow::Result;
use chinwag_audio::device;
use chinwag_proto::text::escape;

use crate::screen;

/// Lists microphones and speakers on standard output.
pub(crate) fn list() -> Result<ExitCode> {
    let devices = device::list()?;
    if devices.is_empty() {
        screen::print("no sound devices were found; --mic and --speaker also take WAV files")?;
    }
    for found in devices {
        let mark = if found.is_default { " (default)" } else { "" };
        let (least, most) = found.rates_hz;
        let rates = if least == most { format!("{most} Hz") } else { format!("{least} to {most} Hz") };
        let (direction, name) = (found.direction.to_string(), found.name);
        screen::print(&format!("{direction:<10}  {}{mark}, {rates}", escape(&name)))?;
    }
    Ok(ExitCode::SUCCESS)
}
