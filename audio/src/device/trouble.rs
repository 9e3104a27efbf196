//! What is wrong with a device, in one line for somebody who wants to talk: what happened, and what can be done.

use std::fmt;

use cpal::ErrorKind;

use super::Direction;

/// Why a device cannot be used: one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub(super) String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}

/// Where the right to hear or be heard is given.
const PERMISSION: &str = if cfg!(target_os = "linux") {
    "add this user to the group audio and log in again"
} else {
    "allow it in the system's privacy settings"
};

/// What cpal says when a device is opened.
#[allow(clippy::wildcard_enum_match_arm)] // cpal's list grows.
pub(super) fn refused(direction: Direction, error: &cpal::Error) -> DeviceError {
    DeviceError(match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => return none(direction),
        ErrorKind::DeviceBusy => {
            format!(
                "the {direction} is in use by another program (end that one, or choose another {direction})"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("the {direction} may not be used by this program ({PERMISSION})")
        }
        ErrorKind::UnsupportedOperation => format!("that device is no {direction} (choose another one)"),
        _ => return unusable(direction, error),
    })
}

/// There is none at all.
pub(super) fn none(direction: Direction) -> DeviceError {
    DeviceError(format!("there is no {direction} that can be used (plug one in, or start the sound server)"))
}

/// The sound system keeps silent.
pub(super) fn unanswered(direction: Direction) -> DeviceError {
    DeviceError(format!(
        "the sound system does not answer when asked for the {direction} (is the device suspended? restart the sound \
         server, or choose another {direction})"
    ))
}

pub(super) fn unusable(direction: Direction, error: impl fmt::Display) -> DeviceError {
    DeviceError(format!("the {direction} cannot be used: {error} (choose another one)"))
}

/// Why a stream ended that had been open; `None` for what needs nobody's attention: a gap in the sound, or a card that plays
/// on elsewhere.
#[allow(clippy::wildcard_enum_match_arm)] // As above.
pub(super) fn why_it_ended(error: &cpal::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => None,
        ErrorKind::DeviceNotAvailable => Some("it was unplugged or switched off".to_owned()),
        ErrorKind::HostUnavailable | ErrorKind::StreamInvalidated => {
            Some("the sound system has closed it".to_owned())
        }
        ErrorKind::PermissionDenied => Some(format!("it may not be used any more: {PERMISSION}")),
        _ => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_says_what_happened_and_what_to_do() {
        let said = |kind| refused(Direction::Input, &cpal::Error::new(kind)).to_string();
        for (kind, what, to_do) in [
            (ErrorKind::DeviceNotAvailable, "there is no microphone", "plug one in"),
            (ErrorKind::HostUnavailable, "there is no microphone", "start the sound server"),
            (ErrorKind::DeviceBusy, "in use by another program", "end that one"),
            (ErrorKind::PermissionDenied, "may not be used", PERMISSION),
            (ErrorKind::UnsupportedOperation, "is no microphone", "choose another one"),
            (ErrorKind::BackendError, "cannot be used: ", "choose another one"),
        ] {
            let said = said(kind);
            assert!(said.contains(what) && said.contains(to_do) && !said.contains('\n'), "{kind:?}: {said}");
        }
    }

    #[test]
    fn a_stream_that_goes_on_is_no_trouble() {
        let why = |kind| why_it_ended(&cpal::Error::new(kind));
        for kind in [ErrorKind::Xrun, ErrorKind::DeviceChanged, ErrorKind::RealtimeDenied] {
            assert_eq!(why(kind), None, "{kind:?}");
        }
        assert!(why(ErrorKind::DeviceNotAvailable).is_some_and(|why| why.contains("unplugged")));
        assert!(why(ErrorKind::StreamInvalidated).is_some_and(|why| why.contains("closed")));
    }
}
