//! Chance: one stream of numbers for each (domain, index), all from the run's seed, so that one more draw in one place
//! changes nothing elsewhere. Probabilities are integers, in millionths.

use chinwag_proto::Rng;

/// A million: the denominator of every probability.
pub(crate) const MILLION: u32 = 1_000_000;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Domain {
    /// The server's own randomness; the index is how often it was started again.
    Server = 1,
    /// A client's own randomness; the index is the client's, and how often it was started again.
    Client = 2,
    /// What a client's user does.
    Person = 3,
    /// Datagrams from a client.
    UdpUp = 4,
    /// Datagrams to a client.
    UdpDown = 5,
    /// The byte stream from a client.
    TcpUp = 6,
    /// The byte stream to a client.
    TcpDown = 7,
    /// When a client's link is cut, and who learns of it when.
    Cuts = 8,
    /// The voice lab: which of a talker's packets are lost.
    LabLoss = 9,
    /// How late they are.
    LabJitter = 10,
    /// Which are held back behind others, and for how long.
    LabReorder = 11,
    /// Which come twice.
    LabDuplicate = 12,
    /// How the listener's clock stands to the talkers'.
    LabPhase = 13,
    /// When and for whom the network is parted.
    Partitions = 14,
    /// How fast a node's clock goes.
    Node = 15,
    /// When a client falls, and for how long.
    Falls = 16,
    /// When the server crashes, and for how long.
    Crashes = 17,
    /// What a peer does that means harm.
    Stranger = 18,
    /// What a NAT does.
    Nat = 19,
    /// What a swarm's world is like.
    Swarm = 20,
    /// Who is left out when everything heals.
    Outcasts = 21,
    /// When a node pauses, or its clock jumps, and for how long.
    Pauses = 22,
    /// What a classic peer does.
    Classic = 23,
    /// How many of them a swarm's world has.
    Classics = 24,
    /// How fast the server's disk is, and when it is full.
    Disk = 25,
    /// What people do beside talking.
    Wander = 26,
    /// Whether they do in a swarm's world.
    Wanderers = 27,
}

/// A time until the next of things that are so far apart on the mean: from a millisecond to twice the mean.
pub(crate) fn pause_us(rng: &mut Rng, mean_us: u64) -> u64 {
    between(rng, 1_000, 2 * mean_us)
}

/// The stream of a domain's `index` in the run of `seed`.
pub(crate) fn stream(seed: u64, domain: Domain, index: u32) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8] = domain as u8;
    bytes[9..13].copy_from_slice(&index.to_le_bytes());
    Rng::from_seed(bytes)
}

/// True in `ppm` of a million cases. Draws once, whatever the probability.
pub(crate) fn chance(rng: &mut Rng, ppm: u32) -> bool {
    rng.below(u64::from(MILLION)) < u64::from(ppm)
}

/// A number from `low` to `high`, both included.
pub(crate) fn between(rng: &mut Rng, low: u64, high: u64) -> u64 {
    low + rng.below(high.saturating_sub(low) + 1)
}
