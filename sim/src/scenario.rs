//! What is simulated, and what came of it.

use std::fmt;

use crate::netspec::NetSpec;

/// Clients of one world.
pub const MAX_CLIENTS: u32 = 64;
/// Rooms of one world.
pub const MAX_ROOMS: u32 = 16;
/// Simulated seconds of one run.
pub const MAX_SECONDS: u32 = 86_400;

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
    /// The network of each of them.
    pub net: NetSpec,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { seed: 0, clients: 4, rooms: 1, seconds: 30, net: NetSpec::default() }
    }
}

impl fmt::Display for Scenario {
    /// The arguments that replay it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, clients, rooms, seconds, net } = self;
        write!(f, "--seed {seed} --clients {clients} --rooms {rooms} --seconds {seconds} --net {net}")
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
    /// Datagrams that it corrupted.
    pub datagrams_corrupted: u64,
    /// Datagrams that a seal or a replay window refused.
    pub datagrams_refused: u64,
    /// Datagrams for a client whose address was not known.
    pub datagrams_homeless: u64,
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
}

/// What did not hold, when, and how to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The history.
    pub scenario: Scenario,
    /// When it was noticed, in microseconds.
    pub at_us: u64,
    /// What should have been and was not.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, at_us, what } = self;
        write!(f, "at {at_us} us: {what}\nreplay: chinwag-sim run {scenario} --trace failure.txt")
    }
}

impl std::error::Error for Failure {}
