//! What a scenario is told to do step by step: the same world is driven by chance alone, by a property test's operations, or
//! by a fuzzer's bytes.

use crate::{
    net::{Event, Fault},
    spec::Key,
    trace::Node,
};

/// The longest time between two steps, in milliseconds.
const MAX_AFTER_MS: u64 = 20_000;
/// Bytes of one step.
const STEP_BYTES: usize = 4;
/// Steps of one script.
const MAX_STEPS: usize = 256;

/// Something that is done to a world. Numbers of clients wrap around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A person starts the program, who is not in it.
    Join(u32),
    /// A person leaves.
    Quit(u32),
    /// A person says something.
    Say(u32),
    /// A person sends a voice frame.
    Talk(u32),
    /// A client's link breaks, and all connections over it.
    Cut(u32),
    /// A client's connections are reset.
    Reset(u32),
    /// A client gets another address.
    Rebind(u32),
    /// Nothing passes for a while.
    Partition,
    /// The server crashes.
    Crash,
    /// A client crashes.
    Fall(u32),
    /// The server does nothing for a while.
    PauseServer,
    /// A client does nothing for a while.
    PauseClient(u32),
    /// The server's clock jumps.
    JumpServer,
    /// A client's clock jumps.
    JumpClient(u32),
    /// A peer that means harm does something.
    Harm(u32),
    /// The world is different from now on.
    Set(Key, u64),
}

/// One step of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// So many milliseconds after the step before.
    pub after_ms: u64,
    /// What is done.
    pub action: Action,
}

impl Step {
    /// The script that any bytes are: four for a step, what is too much is left out.
    pub fn all_from_bytes(bytes: &[u8]) -> Vec<Self> {
        let (steps, _) = bytes.as_chunks::<STEP_BYTES>();
        steps.iter().take(MAX_STEPS).map(|&step| Self::from_bytes(step)).collect()
    }

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
                let key = Key::ALL[usize::from(who) % Key::ALL.len()];
                // Spread over the whole range, the ends included.
                Action::Set(key, key.fit(u64::from(value) * 0x0101_0101))
            }
        };
        // Short and long waits alike.
        Self { after_ms: u64::from(wait).pow(2) * 20_000 / 65_025, action }
    }

    pub(crate) fn after_us(&self) -> u64 {
        self.after_ms.min(MAX_AFTER_MS) * 1000
    }
}

impl Action {
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
