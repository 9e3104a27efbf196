//! Which sound systems and devices there are, and which one is meant.

use cpal::{
    Device, Host, HostId, SupportedStreamConfigRange,
    traits::{DeviceTrait as _, HostTrait as _},
};

use super::{DeviceError, DeviceInfo, Direction, trouble};

/// A native PulseAudio (or PipeWire) server where one answers, else the system's usual way.
pub(super) fn host() -> Host {
    hush();
    #[cfg(target_os = "linux")]
    if let Ok(host) = cpal::host_from_id(HostId::PulseAudio) {
        return host;
    }
    cpal::default_host()
}

/// The same sound system again.
pub(super) fn host_again(id: HostId) -> Option<Host> {
    cpal::host_from_id(id).ok()
}

/// A PulseAudio server moves a stream elsewhere without a word; others tell what becomes of a device.
pub(super) fn must_be_watched(host: &Host) -> bool {
    host.id().name() == "PulseAudio"
}

/// ALSA writes about every device that it does not find to standard error, where the user reads; from now on not for what
/// this thread asks. What matters is in the answer.
pub(super) fn hush() {
    #[cfg(target_os = "linux")]
    // It takes the place of what was gathered before, and if it does not work there is noise.
    let _ = alsa::Output::local_error_handler();
}

/// Some of ALSA's plug-ins (JACK's) write there by themselves when each device is tried. Standard error leads nowhere while
/// `ask` runs: not for a time at which somebody else has something to say.
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

pub(super) fn default_device(host: &Host, direction: Direction) -> Option<Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

/// A device and what it may be called.
pub(super) struct Named {
    /// As it is listed: what a person knows it by, with the identifier where two have the same name.
    pub(super) name: String,
    /// As the sound system calls it.
    pub(super) id: String,
    pub(super) device: Device,
}

pub(super) fn devices(host: &Host, direction: Direction) -> Result<Vec<Named>, DeviceError> {
    let devices = match direction {
        Direction::Input => host.input_devices().map(Iterator::collect),
        Direction::Output => host.output_devices().map(Iterator::collect),
    };
    let devices: Vec<Device> = devices
        .map_err(|error| DeviceError(format!("the sound system cannot be asked for its devices: {error}")))?;
    let named = devices.into_iter().filter(|device| !is_null(device)).filter_map(|device| {
        let name = name_of(&device)?;
        Some(Named { name, id: id_of(&device), device })
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

pub(super) fn name_of(device: &Device) -> Option<String> {
    Some(device.description().ok()?.name().to_owned())
}

pub(super) fn id_of(device: &Device) -> String {
    device.id().map(|id| id.id().to_owned()).unwrap_or_default()
}

/// ALSA lists a device that is none.
fn is_null(device: &Device) -> bool {
    device.id().is_ok_and(|id| id.id() == "null")
}

/// The ways in which it can be opened; none for one that is only a name, as ALSA's plug-ins without a server behind them.
pub(super) fn configs(device: &Device, direction: Direction) -> Vec<SupportedStreamConfigRange> {
    match direction {
        Direction::Input => device.supported_input_configs().map(Iterator::collect),
        Direction::Output => device.supported_output_configs().map(Iterator::collect),
    }
    .unwrap_or_default()
}

/// All devices that can be used, microphones first.
pub(super) fn list() -> Result<Vec<DeviceInfo>, DeviceError> {
    quietly(list_all)
}

fn list_all() -> Result<Vec<DeviceInfo>, DeviceError> {
    let host = host();
    let mut found = Vec::new();
    for direction in [Direction::Input, Direction::Output] {
        let default = default_device(&host, direction).map(|device| id_of(&device));
        for named in devices(&host, direction)? {
            found.extend(info(&host, direction, named, default.as_deref()));
        }
    }
    Ok(found)
}

fn info(host: &Host, direction: Direction, named: Named, default: Option<&str>) -> Option<DeviceInfo> {
    let Named { name, id, device } = named;
    let ranges = configs(&device, direction);
    let least = ranges.iter().map(|range| range.min_sample_rate()).min()?;
    let most = ranges.iter().map(|range| range.max_sample_rate()).max()?;
    let own = match direction {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    };
    let own = own.ok()?;
    Some(DeviceInfo {
        direction,
        name,
        host: host.id().name().to_owned(),
        is_default: default == Some(&id),
        id,
        rate_hz: own.sample_rate(),
        channels: own.channels(),
        rates_hz: (least, most),
    })
}

/// The device of this name as listed, of this name as the sound system calls it, or with this part of either that no
/// other has; or the default one.
pub(super) fn find(host: &Host, direction: Direction, name: Option<&str>) -> Result<Device, DeviceError> {
    let Some(name) = name else {
        return default_device(host, direction).ok_or_else(|| trouble::none(direction));
    };
    let mut named = devices(host, direction)?;
    let names: Vec<_> = named.iter().map(|named| (named.name.clone(), named.id.clone())).collect();
    // To be told are those that `list` lists.
    let is_listed = |at: usize| quietly(|| !configs(&named[at].device, direction).is_empty());
    let at = choose(direction, name, &names, is_listed)?;
    Ok(named.swap_remove(at).device)
}

/// The device of exactly this identifier.
pub(super) fn find_id(host: &Host, direction: Direction, id: &str) -> Option<Device> {
    let mut named = devices(host, direction).into_iter().flatten();
    named.find(|named| named.id == id).map(|named| named.device)
}

/// See [`super::choose`].
pub(super) fn choose_listed<'a>(
    devices: &'a [DeviceInfo],
    direction: Direction,
    wanted: &str,
) -> Result<&'a DeviceInfo, DeviceError> {
    let devices: Vec<_> = devices.iter().filter(|device| device.direction == direction).collect();
    let names: Vec<_> = devices.iter().map(|device| (device.name.clone(), device.id.clone())).collect();
    choose(direction, wanted, &names, |_| true).map(|at| devices[at])
}

/// The place of the device that `wanted` means among `names`, pairs of the listed name and the sound system's own.
fn choose(
    direction: Direction,
    wanted: &str,
    names: &[(String, String)],
    is_listed: impl Fn(usize) -> bool,
) -> Result<usize, DeviceError> {
    if let Some(at) = names.iter().position(|(name, id)| name == wanted || id == wanted) {
        return Ok(at);
    }
    let part = wanted.to_lowercase();
    let has_part =
        |(name, id): &(String, String)| [name, id].iter().any(|known| known.to_lowercase().contains(&part));
    let fitting: Vec<usize> = (0..names.len()).filter(|&at| has_part(&names[at])).collect();
    if let [at] = fitting[..] {
        return Ok(at);
    }
    let listed = (0..names.len()).filter(|&at| is_listed(at)).map(|at| format!("{:?}", names[at].0));
    let listed = listed.collect::<Vec<_>>().join(", ");
    Err(DeviceError(match (fitting.is_empty(), listed.is_empty()) {
        (false, _) => format!("several {direction}s have {wanted:?} in their names; there are: {listed}"),
        (true, true) => format!("there is no {direction} {wanted:?}, nor any other on this machine"),
        (true, false) => format!("there is no {direction} {wanted:?}; there are: {listed}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_chosen_by_name_identifier_or_a_part_that_is_its_own() {
        let names = [("Null Output (spk)", "spk"), ("Null Output (micfeed)", "micfeed"), ("Mic", "mic")]
            .map(|(name, id)| (name.to_owned(), id.to_owned()));
        let is_listed = |at| at != 2;
        let chosen =
            |wanted| choose(Direction::Output, wanted, &names, is_listed).map_err(|error| error.to_string());
        assert_eq!(chosen("Null Output (micfeed)"), Ok(1));
        assert_eq!(chosen("spk"), Ok(0));
        assert_eq!(chosen("mic"), Ok(2), "an exact name goes before a part of another");
        assert_eq!(chosen("FEED"), Ok(1));
        assert!(chosen("null").is_err_and(|e| e.starts_with("several speakers have \"null\"")));
        let error = chosen("horn").unwrap_err();
        assert!(error.ends_with("there are: \"Null Output (spk)\", \"Null Output (micfeed)\""), "{error}");
        let none = choose(Direction::Input, "x", &names, |_| false);
        assert!(none.is_err_and(|e| e.to_string().contains("nor any other")));
    }

    #[test]
    fn of_listed_devices_those_of_the_other_direction_are_not_meant() {
        let listed = |direction, name: &str| DeviceInfo {
            direction,
            name: name.to_owned(),
            id: name.to_lowercase(),
            host: "ALSA".to_owned(),
            is_default: false,
            rate_hz: 48_000,
            channels: 1,
            rates_hz: (48_000, 48_000),
        };
        let devices = [listed(Direction::Input, "Headset"), listed(Direction::Output, "Horn")];
        let chosen = |direction, wanted| {
            choose_listed(&devices, direction, wanted)
                .map(|device| device.id.clone())
                .map_err(|e| e.to_string())
        };
        assert_eq!(chosen(Direction::Input, "head").as_deref(), Ok("headset"));
        assert_eq!(chosen(Direction::Output, "Horn").as_deref(), Ok("horn"));
        let error = chosen(Direction::Input, "horn").unwrap_err();
        assert_eq!(error, "there is no microphone \"horn\"; there are: \"Headset\"");
    }
}
