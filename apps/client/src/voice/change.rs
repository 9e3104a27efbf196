//! Devices while a conversation goes on: which there are, and another one in the place of the one in use. A thread of its own does all
//! that may wait for a sound system; the old device is heard until the new one is open.
//!
//! Which there are is asked of another `chinwag`: ALSA's plug-ins write to standard error, where the screen is, and may hang or
//! crash.

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use chinwag_audio::{
    device::{self, DeviceInfo, Direction},
    io::{NullMicrophone, NullSpeaker},
};
use chinwag_transport_mio::Waker;

use super::{
    ToSound,
    open::{DEFAULT, NONE},
};
use crate::devices;

/// Wishes that wait; a person who has more is told to wait.
const WAITING_WISHES: usize = 4;
/// A sound system that does not tell its devices for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of an answer; a machine with thousands of devices has less.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// What the user wants of devices.
#[derive(Debug)]
pub(crate) enum Wish {
    /// To know which there are.
    List,
    /// To use another one, in the place of the one with this identifier.
    Use { direction: Direction, choice: String, in_use: Option<String> },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Answer {
    Listed(Vec<DeviceInfo>),
    /// It is used now; its name, if it has one.
    Used(Direction, Used),
    /// Nothing has changed, for this reason.
    Failed(String),
}

/// What is used now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Used {
    Default,
    Named(String),
    /// It was used already.
    Already(String),
    Nothing,
}

/// The thread, seen from the network's.
#[derive(Debug)]
pub(crate) struct Changer {
    wishes: SyncSender<Wish>,
    answers: Receiver<Answer>,
}

impl Changer {
    /// Begins to wait for wishes. What is opened goes to `to_sound`; `waker` is told of each answer.
    pub(super) fn start(to_sound: SyncSender<ToSound>, waker: Arc<Waker>) -> Result<Self> {
        let (wishes, inbox) = sync_channel(WAITING_WISHES);
        // As many as there are wishes.
        let (outbox, answers) = channel();
        thread::Builder::new()
            .name("devices".to_owned())
            .spawn(move || run(&inbox, &outbox, &to_sound, &waker))
            .context("no thread for devices could be started")?;
        Ok(Self { wishes, answers })
    }

    /// False when too much is wanted already.
    pub(super) fn wish(&self, wish: Wish) -> bool {
        !matches!(self.wishes.try_send(wish), Err(TrySendError::Full(_)))
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

fn run(wishes: &Receiver<Wish>, answers: &Sender<Answer>, to_sound: &SyncSender<ToSound>, waker: &Waker) {
    // Numbers are those of the list that the user has seen.
    let mut listed = Vec::new();
    for wish in wishes {
        let answer = match wish {
            Wish::List => list().map(|devices| {
                listed.clone_from(&devices);
                Answer::Listed(devices)
            }),
            Wish::Use { direction, choice, in_use } => {
                change(&mut listed, direction, &choice, in_use.as_deref(), to_sound)
                    .map(|used| Answer::Used(direction, used))
            }
        };
        let answer = answer.unwrap_or_else(|why| Answer::Failed(format!("{why:#}")));
        // A loop that cannot be woken has ended.
        if answers.send(answer).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

/// Opens another device and hands it to the sound thread.
fn change(
    listed: &mut Vec<DeviceInfo>,
    direction: Direction,
    choice: &str,
    in_use: Option<&str>,
    to_sound: &SyncSender<ToSound>,
) -> Result<Used> {
    let (name, used) = match choice {
        DEFAULT => (None, Used::Default),
        NONE => (None, Used::Nothing),
        choice => {
            let number = choice.parse::<usize>().ok();
            if number.is_none() || listed.is_empty() {
                *listed = list()?;
            }
            let chosen = chosen(listed, direction, choice, number)?;
            if in_use == Some(chosen.id.as_str()) {
                return Ok(Used::Already(chosen.name.clone()));
            }
            (Some(chosen.name.as_str()), Used::Named(chosen.name.clone()))
        }
    };
    let opened = match (direction, used == Used::Nothing) {
        (Direction::Input, true) => ToSound::Mic(Box::new(NullMicrophone)),
        (Direction::Input, false) => ToSound::Mic(device::open_microphone(name)?),
        (Direction::Output, true) => ToSound::Speaker(Box::new(NullSpeaker)),
        (Direction::Output, false) => ToSound::Speaker(device::open_speaker(name)?),
    };
    to_sound.send(opened).map_err(|_| anyhow!("sound has ended"))?;
    Ok(used)
}

/// The device that is meant: a name goes before a number.
fn chosen<'a>(
    listed: &'a [DeviceInfo],
    direction: Direction,
    choice: &str,
    number: Option<usize>,
) -> Result<&'a DeviceInfo> {
    let mut devices = listed.iter().filter(|found| found.direction == direction);
    let Some(number) = number.filter(|_| devices.clone().all(|found| found.name != choice)) else {
        return Ok(device::choose(listed, direction, choice)?);
    };
    let found = number.checked_sub(1).and_then(|at| devices.nth(at));
    found.with_context(|| format!("there is no {direction} {number}; /devices lists them"))
}

/// Asks which devices there are.
fn list() -> Result<Vec<DeviceInfo>> {
    // This very program, also when another version has been put in its place.
    let program = match cfg!(target_os = "linux") {
        true => "/proc/self/exe".into(),
        false => std::env::current_exe()?,
    };
    let mut command = Command::new(program);
    command.args(["devices", "--json"]);
    let written = ask(&mut command, PATIENCE).context("the devices cannot be listed")?;
    devices::read(&written).context("the devices cannot be listed")
}

/// What a program writes before it ends well, which it must soon.
fn ask(command: &mut Command, patience: Duration) -> Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let streams = (child.stdout.take(), child.stderr.take());
    let (sender, answer) = channel();
    let reader = move || {
        let (Some(stdout), Some(stderr)) = streams else { return };
        let read = |stream: &mut dyn Read| {
            let mut bytes = Vec::new();
            stream.take(ANSWER_BYTES).read_to_end(&mut bytes).map(|_| bytes)
        };
        let (mut stdout, mut stderr) = (stdout, stderr);
        // Whoever asked may have given up.
        let _ = sender.send(read(&mut stdout).and_then(|written| Ok((written, read(&mut stderr)?))));
    };
    let read = thread::Builder::new().spawn(reader).map(|_| answer.recv_timeout(patience));
    if !matches!(read, Ok(Ok(Ok(_)))) {
        // It may have ended meanwhile.
        let _ = child.kill();
    }
    let status = child.wait()?;
    match read? {
        Ok(read) => {
            let (written, errors) = read?;
            if !status.success() {
                let errors = String::from_utf8_lossy(&errors);
                bail!(
                    "{}",
                    errors.lines().last().unwrap_or("no reason was given").trim_start_matches("chinwag: ")
                );
            }
            Ok(written)
        }
        Err(_) => bail!("the sound system does not answer (restart the sound server)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(direction: Direction, name: &str) -> DeviceInfo {
        DeviceInfo {
            direction,
            name: name.to_owned(),
            id: name.to_lowercase(),
            host: "ALSA".to_owned(),
            is_default: false,
            rate_hz: 48_000,
            channels: 1,
            rates_hz: (48_000, 48_000),
        }
    }

    #[test]
    fn a_device_is_chosen_by_its_number_or_its_name() {
        let listed = [("Mic", 0), ("2", 0), ("Horn", 1), ("Headset", 1)]
            .map(|(name, to)| device([Direction::Input, Direction::Output][to], name));
        let chosen = |direction, choice: &str| {
            chosen(&listed, direction, choice, choice.parse().ok())
                .map(|found| found.name.clone())
                .map_err(|error| error.to_string())
        };
        assert_eq!(chosen(Direction::Input, "1").as_deref(), Ok("Mic"));
        assert_eq!(chosen(Direction::Output, "2").as_deref(), Ok("Headset"));
        assert_eq!(chosen(Direction::Input, "2").as_deref(), Ok("2"));
        assert_eq!(chosen(Direction::Output, "head").as_deref(), Ok("Headset"));
        for none in ["0", "3"] {
            let error = chosen(Direction::Output, none).unwrap_err();
            assert_eq!(error, format!("there is no speaker {none}; /devices lists them"));
        }
        assert!(chosen(Direction::Input, "horn").unwrap_err().contains("there is no microphone \"horn\""));
    }

    #[cfg(unix)]
    #[test]
    fn a_sound_system_that_fails_or_hangs_is_told() {
        let ask = |script: &str, patience| {
            let mut command = Command::new("sh");
            ask(command.args(["-c", script]), patience).map_err(|error| error.to_string())
        };
        assert_eq!(ask("echo noise >&2; echo all", PATIENCE), Ok(b"all\n".to_vec()));
        let failed = ask("echo noise >&2; echo 'chinwag: it is broken' >&2; exit 1", PATIENCE);
        assert_eq!(failed, Err("it is broken".to_owned()));
        let hung = ask("exec sleep 1000", Duration::ZERO);
        assert!(hung.unwrap_err().contains("does not answer"));
    }
}
