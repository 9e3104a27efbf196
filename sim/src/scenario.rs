//! What is simulated, and what came of it.

use std::fmt;

use chinwag_proto::hooks::{Limit, Mistake};

use crate::{
    check::Rule,
    random::{Domain, between, chance, stream},
    script::Script,
    sometimes::Tally,
    spec::{Key, Spec},
};

/// Clients of one world.
pub const MAX_CLIENTS: u32 = 64;
/// Rooms of one world.
pub const MAX_ROOMS: u32 = 16;
/// Rooms of one world whose server has few: one more is kept for the default room.
const FEW_ROOMS: u32 = 2;
/// Simulated seconds of one run.
pub const MAX_SECONDS: u32 = 86_400;
/// Worlds of a swarm with classic peers, in a million.
const CLASSIC_PPM: u32 = 450_000;
/// Worlds of a swarm in which people wander, in a million; in how many of these a limit of what one may have is small.
const WANDER_PPM: u32 = 350_000;
const FEW_EACH_PPM: u32 = 200_000;
/// Bytes of a world that say how large it is and what in it is small.
const HEAD_BYTES: usize = 6;
/// Simulated seconds of a world that is made of bytes: what its script would do later is left out.
const MAX_SCRIPT_SECONDS: u64 = 60;

/// One history, before it happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// All chance comes from it.
    pub seed: u64,
    /// How many clients join, 1 to [`MAX_CLIENTS`].
    pub clients: u32,
    /// Over how many rooms they are spread, 1 to [`MAX_ROOMS`].
    pub rooms: u32,
    /// For how long they talk, and faults last, 1 to [`MAX_SECONDS`]; then everything must come to rest.
    pub seconds: u32,
    /// The network of each of them, and what else goes wrong.
    pub spec: Spec,
    /// What is done besides.
    pub script: Script,
    /// A mistake that the core makes on purpose. Only in builds with debug assertions.
    pub mistake: Option<Mistake>,
}

impl Default for Scenario {
    fn default() -> Self {
        let spec = Spec::default();
        Self { seed: 0, clients: 4, rooms: 1, seconds: 30, spec, script: Script::default(), mistake: None }
    }
}

impl Scenario {
    /// The world of a swarm's seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = stream(seed, Domain::Swarm, 0);
        let most = match rng.below(10) {
            0..=5 => 5,
            6..=8 => 12,
            _ => u64::from(MAX_CLIENTS),
        };
        let clients = between(&mut rng, 2, most);
        let rooms = between(&mut rng, 1, 3);
        // As much happens in a large world in less time.
        let seconds = between(&mut rng, 5, (240 / clients).clamp(6, 40));
        let mut spec = Spec::random(&mut rng);
        // In some nothing fails: there nobody may be lost or refused, and in some of those voice must be perfect.
        let which = rng.below(16);
        let is_quiet = which == 1;
        match which {
            0 => {
                spec = Spec::default()
                    .with(Key::Delay, spec.get(Key::Delay))
                    .with(Key::Loss, spec.get(Key::Loss))
            }
            1 => {
                let delay = spec.get(Key::Delay);
                spec = Spec::default().with(Key::Delay, delay).with(Key::Text, 0).with(Key::Restless, 0);
            }
            _ => {}
        }
        let mut rng = stream(seed, Domain::Classics, 0);
        // Where voice must be perfect, and all is silent but that, nobody has a classic program.
        if chance(&mut rng, CLASSIC_PPM) && !is_quiet {
            spec = spec.with(Key::Classic, Key::Classic.draw(&mut rng));
        }
        let mut rng = stream(seed, Domain::Wanderers, 0);
        if chance(&mut rng, WANDER_PPM) && !is_quiet {
            spec = spec.with(Key::Wander, Key::Wander.draw(&mut rng));
            for limit in [Limit::RoomsEach, Limit::PrivateEach] {
                if chance(&mut rng, FEW_EACH_PPM) {
                    spec = spec.with(Key::Small, spec.get(Key::Small) | limit as u64);
                }
            }
        }
        if clients > 12 {
            spec = spec.with(Key::Talk, spec.get(Key::Talk) / 8);
        }
        let narrow = |number: u64| u32::try_from(number).unwrap_or(1);
        Self {
            seed,
            clients: narrow(clients),
            rooms: narrow(rooms),
            seconds: narrow(seconds),
            spec,
            ..Self::default()
        }
    }

    /// The world that any bytes are: some for its size, the rest a script. What is not there is zero.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut head = [0; HEAD_BYTES];
        let (given, script) = bytes.split_at(bytes.len().min(HEAD_BYTES));
        head[..given.len()].copy_from_slice(given);
        let [seed, clients, rooms, hostile, small, limits] = head;
        let script = Script::from_bytes(script);
        let seconds = (2 + script.takes_us() / 1_000_000).min(MAX_SCRIPT_SECONDS);
        let of = |byte: u8, low: u32, high: u32| low + u32::from(byte) % (high - low + 1);
        let spec = Spec::default()
            .with(Key::Hostile, of(hostile, 0, 2).into())
            .with(Key::Classic, of(hostile / 3, 0, 3).into())
            .with(Key::Small, (u64::from(small) << 4) | u64::from(limits % 16))
            .with(Key::Wander, if limits >= 128 { 1_000_000 } else { 0 })
            .with(Key::Text, 200_000)
            .with(Key::Talk, 300_000);
        Self {
            seed: seed.into(),
            clients: of(clients, 1, 6),
            rooms: of(rooms, 1, 3),
            seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            spec,
            script,
            mistake: None,
        }
    }

    /// The same with every number in its range.
    pub(crate) fn sane(&self) -> Self {
        let few = self.spec.get(Key::Small) & Limit::Rooms as u64 != 0;
        Self {
            clients: self.clients.clamp(1, MAX_CLIENTS),
            rooms: self.rooms.clamp(1, if few { FEW_ROOMS } else { MAX_ROOMS }),
            seconds: self.seconds.clamp(1, MAX_SECONDS),
            ..self.clone()
        }
    }

    /// Simpler worlds that might fail in the same way, the simplest first: with a kind of fault less, half the time,
    /// fewer clients, one room.
    pub fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        let mut push = |scenario: Self| {
            if scenario != *self {
                simpler.push(scenario);
            }
        };
        push(Self { seconds: (self.seconds / 2).max(1), ..self.clone() });
        for clients in [self.clients / 2, self.clients - 1] {
            push(Self { clients: clients.max(1), ..self.clone() });
        }
        push(Self { rooms: 1, ..self.clone() });
        let keys: Vec<Key> = self.spec.unusual().collect();
        for key in keys {
            push(Self { spec: self.spec.with(key, key.usual()), ..self.clone() });
        }
        simpler
    }
}

impl fmt::Display for Scenario {
    /// The arguments that replay it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, clients, rooms, seconds, spec, script, mistake } = self;
        write!(f, "--seed {seed} --clients {clients} --rooms {rooms} --seconds {seconds} --net {spec}")?;
        if !script.is_empty() {
            write!(f, " --script {script}")?;
        }
        mistake.map_or(Ok(()), |mistake| write!(f, " --mistake {mistake:?}"))
    }
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages that people said.
    pub texts: u64,
    /// Messages as others saw them, one for each reader.
    pub texts_delivered: u64,
    /// Voice frames that talkers sent.
    pub voice_sent: u64,
    /// The same frames, one for each member who was in the talker's room then.
    pub voice_expected: u64,
    /// Voice frames that reached a listener, each counted once for each.
    pub voice_delivered: u64,
    /// Of those, the ones that came on the control connection first.
    pub voice_by_tcp: u64,
    /// Frames that came again: by the other way, or by a doubtful path.
    pub voice_repeated: u64,
    /// Reports that reached talkers.
    pub reports: u64,
    /// Frames so late that nobody remembers whether they came before.
    pub voice_ancient: u64,
    /// Voice frames that outboxes dropped, of connections that are gone.
    pub voice_dropped: u64,
    /// Voice frames that a client could not send for want of a connection.
    pub voice_unsent: u64,
    /// Datagrams handed to the network.
    pub datagrams: u64,
    /// Datagrams that it lost.
    pub datagrams_lost: u64,
    /// Datagrams that it doubled.
    pub datagrams_doubled: u64,
    /// Datagrams that it will bring again, much later.
    pub datagrams_replayed: u64,
    /// Datagrams that it corrupted.
    pub datagrams_corrupted: u64,
    /// Datagrams that a seal or a replay window refused.
    pub datagrams_refused: u64,
    /// Datagrams for a client whose address was not known.
    pub datagrams_homeless: u64,
    /// Datagrams to an address at which nobody was any more.
    pub datagrams_astray: u64,
    /// Payloads that did not fit into a datagram.
    pub datagrams_too_large: u64,
    /// Links that were cut.
    pub cuts: u64,
    /// Clients that came back.
    pub reconnects: u64,
    /// Times that voice changed its way.
    pub path_changes: u64,
    /// Connections that the server paused.
    pub pauses: u64,
    /// Frames that jitter buffers gave for playing, and those that they concealed.
    pub frames_played: u64,
    /// See [`Counts::frames_played`].
    pub frames_concealed: u64,
    /// Events of a room that the server no longer remembered for somebody.
    pub missed: u64,
}

/// What came of a history in which everything held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The hash of everything that happened, in order.
    pub trace: u64,
    /// How many events there were.
    pub events: u64,
    /// When the last of them was, in microseconds.
    pub simulated_us: u64,
    /// What was counted.
    pub counts: Counts,
    /// What happened that is worth to be looked for.
    pub tally: Tally,
}

/// What did not hold, when, and how to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The history.
    pub scenario: Scenario,
    /// When it was noticed, in microseconds.
    pub at_us: u64,
    /// What must hold and did not.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, at_us, rule, what } = self;
        write!(f, "at {at_us} us: {what} ({rule:?})\nreplay: chinwag-sim run {scenario} --trace failure.txt")
    }
}

impl std::error::Error for Failure {}
