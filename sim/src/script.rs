//! What a world is told to do step by step: the same world is driven by chance alone, by a property test's bytes, or by a
//! fuzzer's.

use std::{fmt, str::FromStr};

use crate::{
    net::{Event, Fault},
    spec::Key,
    trace::Node,
};

/// The longest time between two steps, in microseconds.
const MAX_AFTER_US: u64 = 20_000_000;
/// Bytes of one step.
const STEP_BYTES: usize = 4;
/// Steps of one script.
const MAX_STEPS: usize = 256;
/// Keys that can be set: the first ones, so that a byte means what it always did.
const SET_KEYS: usize = Key::Classic as usize;

/// Something that is done to a world. Numbers of strangers wrap around, and those of clients and classic peers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Join(u32),
    Quit(u32),
    Say(u32),
    Talk(u32),
    Cut(u32),
    Reset(u32),
    Rebind(u32),
    Partition,
    Crash,
    Fall(u32),
    PauseServer,
    PauseClient(u32),
    JumpServer,
    JumpClient(u32),
    /// A peer that means harm does something.
    Harm(u32),
    /// The world is different from now on.
    Set(Key, u64),
}

/// One step of a script: so long after the step before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) after_us: u64,
    pub(crate) action: Action,
}

/// What is done to a world, step by step: any bytes, four for a step; what is over, and steps after the 256th, are left out.
/// Written in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script(Vec<u8>);

impl Script {
    /// The script that these bytes are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (steps, _) = bytes.as_chunks::<STEP_BYTES>();
        Self(steps.iter().take(MAX_STEPS).flatten().copied().collect())
    }

    /// True when nothing is done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The step with that number.
    pub(crate) fn step(&self, number: usize) -> Option<Step> {
        self.0.as_chunks().0.get(number).copied().map(Step::from_bytes)
    }

    /// How long all of it takes, in microseconds.
    pub(crate) fn takes_us(&self) -> u64 {
        (0..).map_while(|number| self.step(number)).map(|step| step.after_us).sum()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Script {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            u8::try_from(high? << 4 | low?).ok()
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|bytes| rest.is_empty() && bytes.len().is_multiple_of(STEP_BYTES));
        bytes
            .map(|bytes| Self::from_bytes(&bytes))
            .ok_or("a script is hexadecimal, eight digits for each step")
    }
}

impl Step {
    fn from_bytes([kind, who, wait, value]: [u8; STEP_BYTES]) -> Self {
        let client = u32::from(who);
        let action = match kind % 20 {
            0 => Action::Join(client),
            1 => Action::Quit(client),
            2..=4 => Action::Say(client),
            5 => Action::Talk(client),
            6 => Action::Cut(client),
            7 => Action::Reset(client),
            8 => Action::Rebind(client),
            9 => Action::Partition,
            10 => Action::Crash,
            11 => Action::Fall(client),
            12 => Action::PauseServer,
            13 => Action::PauseClient(client),
            14 => Action::JumpServer,
            15 => Action::JumpClient(client),
            16 => Action::Harm(client),
            _ => {
                let key = Key::ALL[usize::from(who) % SET_KEYS];
                Action::Set(key, key.of_byte(value))
            }
        };
        // Short and long waits alike.
        let after_us = u64::from(wait).pow(2) * MAX_AFTER_US / u64::from(u8::MAX).pow(2);
        Self { after_us, action }
    }
}

impl Action {
    /// Which classic peer is to do it, in its own way; none if it is a client's matter, or another's.
    pub(crate) fn classic(self, clients: u32, classics: u32) -> Option<u32> {
        let number = match self {
            Self::Join(number)
            | Self::Quit(number)
            | Self::Say(number)
            | Self::Talk(number)
            | Self::Cut(number)
            | Self::Reset(number)
            | Self::Rebind(number)
            | Self::Fall(number)
            | Self::PauseClient(number)
            | Self::JumpClient(number) => number,
            Self::Partition
            | Self::Crash
            | Self::PauseServer
            | Self::JumpServer
            | Self::Harm(_)
            | Self::Set(..) => return None,
        };
        (number % (clients + classics)).checked_sub(clients)
    }

    /// The event that does it; none for [`Action::Set`].
    pub(crate) fn event(self, clients: u32, strangers: u32) -> Option<Event> {
        let client = |number: u32| number % clients.max(1);
        let fault = match self {
            Self::Join(number) => return Some(Event::Join(client(number))),
            Self::Quit(number) => return Some(Event::Quit(client(number))),
            Self::Say(number) => return Some(Event::Say(client(number))),
            Self::Talk(number) => return Some(Event::Talk(client(number))),
            Self::Set(..) => return None,
            Self::Cut(number) => Fault::Cut(client(number)),
            Self::Reset(number) => Fault::Reset(client(number)),
            Self::Rebind(number) => Fault::Rebind(client(number)),
            Self::Partition => Fault::Partition,
            Self::Crash => Fault::Crash,
            Self::Fall(number) => Fault::Fall(client(number)),
            Self::PauseServer => Fault::Pause(Node::Server),
            Self::PauseClient(number) => Fault::Pause(Node::Client(client(number))),
            Self::JumpServer => Fault::Jump(Node::Server),
            Self::JumpClient(number) => Fault::Jump(Node::Client(client(number))),
            Self::Harm(number) => Fault::Harm(number.checked_rem(strangers)?),
        };
        Some(Event::Fault(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_as_they_are_written() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let script = Script::from_bytes(&bytes);
        assert_eq!((0..).map_while(|number| script.step(number)).count(), MAX_STEPS);
        assert_eq!(script.to_string().parse(), Ok(script));
        assert_eq!("".parse(), Ok(Script::default()));
        let step = "0600FF00".parse::<Script>().unwrap().step(0);
        assert_eq!(step, Some(Step { after_us: MAX_AFTER_US, action: Action::Cut(0) }));
    }

    #[test]
    fn what_is_no_script_is_refused() {
        for text in ["0", "000", "000000", "0000000x", "0000000000", "+1000000", "é00000"] {
            assert!(text.parse::<Script>().is_err(), "{text}");
        }
    }
}
