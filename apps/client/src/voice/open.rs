//! The microphone and the speaker that were asked for.

use std::path::Path;

use anyhow::Result;
use chinwag_audio::{
    device,
    io::{Microphone, NullMicrophone, NullSpeaker, Speaker},
    wav_io::{WavMicrophone, WavSpeaker},
};

pub(crate) fn is_wav(choice: &str) -> bool {
    Path::new(choice).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"))
}

/// What `--mic` and `--speaker` say besides the name of a device or file.
pub(super) const DEFAULT: &str = "default";
pub(crate) const NONE: &str = "none";

/// Opens what `--mic` names.
pub(crate) fn open_mic(choice: &str) -> Result<Box<dyn Microphone>> {
    Ok(match choice {
        NONE => Box::new(NullMicrophone),
        choice if is_wav(choice) => Box::new(WavMicrophone::open(choice)?),
        choice => device::open_microphone(device_name(choice))?,
    })
}

/// Opens what `--speaker` names.
pub(crate) fn open_speaker(choice: &str, is_stereo: bool) -> Result<Box<dyn Speaker>> {
    Ok(match choice {
        NONE => Box::new(NullSpeaker),
        choice if is_wav(choice) && is_stereo => Box::new(WavSpeaker::create_stereo(choice)?),
        choice if is_wav(choice) => Box::new(WavSpeaker::create(choice)?),
        choice => device::open_speaker(device_name(choice))?,
    })
}

/// Without the default device there is a notice that ends in `so`, and none in its place.
fn or_none<T: ?Sized>(
    opened: Result<Box<T>>,
    choice: &str,
    none: Box<T>,
    so: &str,
    notices: &mut Vec<String>,
) -> Result<Box<T>> {
    opened.or_else(|error| {
        if choice != DEFAULT {
            return Err(error);
        }
        notices.push(format!("{error}: {so}"));
        Ok(none)
    })
}

/// Opens both. A missing default device is told in `notices` and done without.
pub(crate) fn open_devices(
    mic: &str,
    speaker: &str,
    is_stereo: bool,
    notices: &mut Vec<String>,
) -> Result<(Box<dyn Microphone>, Box<dyn Speaker>)> {
    let (unheard, deaf) = ("nobody will hear you", "you will not hear the others");
    let opened_mic = or_none(open_mic(mic), mic, Box::new(NullMicrophone), unheard, notices)?;
    let opened = open_speaker(speaker, is_stereo);
    Ok((opened_mic, or_none(opened, speaker, Box::new(NullSpeaker), deaf, notices)?))
}

fn device_name(choice: &str) -> Option<&str> {
    Some(choice).filter(|choice| *choice != DEFAULT)
}
