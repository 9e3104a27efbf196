//! What a world's network does to what it carries, and what else goes wrong in it, as one list of numbers:
//! `delay=20,loss=2,crash=30`. One table says for each of them how it is written, what it may be, and how strong a swarm
//! makes it.

use std::{fmt, str::FromStr};

use chinwag_proto::Rng;

use crate::{
    random::{MILLION, between, chance},
    settings::{SpecError, decimal, settings, show},
};

/// The longest delay with jitter, in microseconds: with more, even a network without faults would not let a client in
/// before it gives up (four ways for TCP and TLS, two for the welcome, each of them once stalled).
const MAX_WAY_US: u64 = 1_000_000;

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $key:ident = $name:literal, $places:literal places, $low:literal to $high:literal,
       usual $usual:literal, swarm $weak:literal to $strong:literal, $expected:literal;)*) => {
        /// One thing that a [`Spec`] says. Times are one way, probabilities in millionths, for every link or node.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Key { $($(#[doc = $doc])+ $key,)* }

        impl Key {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$key,)*];
        }

        const TABLE: &[Entry] = &[$(Entry {
            name: $name, places: $places, low: $low, high: $high, usual: $usual, swarm: ($weak, $strong),
            expected: $expected,
        },)*];
    };
}

/// A line of the table. A value is written as a decimal number of so many places at most, and kept without its point.
struct Entry {
    name: &'static str,
    places: usize,
    low: u64,
    high: u64,
    usual: u64,
    /// What a swarm draws from.
    swarm: (u64, u64),
    expected: &'static str,
}

keys! {
    /// Every packet takes at least so long, in microseconds.
    Delay = "delay", 3 places, 0 to 800_000, usual 20_000, swarm 0 to 250_000, "a time in milliseconds, 0 to 800";
    /// And up to so much more, by chance: datagrams overtake each other.
    Jitter = "jitter", 3 places, 0 to 1_000_000, usual 0, swarm 1_000 to 150_000, "a time in milliseconds, 0 to 1000";
    /// Packets that are later still, by anything up to a second, most by little (a Pareto distribution).
    Tail = "tail", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 100_000, "a percentage, 0 to 100";
    /// Datagrams that do not arrive.
    Loss = "loss", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 500_000, "a percentage, 0 to 100";
    /// Mean length of a burst of lost datagrams, in thousandths (Gilbert 1960, Elliott 1963).
    Burst = "burst", 3 places, 1_000 to 100_000, usual 1_000, swarm 1_500 to 20_000, "a mean number of datagrams, 1 to 100";
    /// Datagrams that arrive twice.
    Duplicate = "dup", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 300_000, "a percentage, 0 to 100";
    /// Datagrams that are held back behind those after them.
    Reorder = "reorder", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 300_000, "a percentage, 0 to 100";
    /// Datagrams that come once more, up to half a minute later.
    Replay = "replay", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 100_000, "a percentage, 0 to 100";
    /// Datagrams that arrive with a bit flipped.
    Corrupt = "corrupt", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 200_000, "a percentage, 0 to 100";
    /// Datagrams that lose their end.
    Truncate = "truncate", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 200_000, "a percentage, 0 to 100";
    /// What a link carries each way, in kilobits a second; 0 is no limit.
    Rate = "rate", 0 places, 0 to 1_000_000, usual 0, swarm 64 to 2_000, "kilobits a second, 0 (no limit) to 1000000";
    /// How long a datagram may wait for a link of limited rate, in milliseconds.
    Queue = "queue", 0 places, 0 to 10_000, usual 200, swarm 20 to 2_000, "milliseconds, 0 to 10000";
    /// Larger datagrams vanish, in bytes; 0 is no limit.
    Mtu = "mtu", 0 places, 0 to 65_535, usual 0, swarm 200 to 1_200, "bytes, 0 (no limit) to 65535";
    /// Links that let no datagram through.
    NoUdp = "noudp", 4 places, 0 to 1_000_000, usual 0, swarm 50_000 to 1_000_000, "a percentage of links, 0 to 100";
    /// TCP segments that are lost and sent again: what is behind them waits.
    Stall = "stall", 4 places, 0 to 1_000_000, usual 0, swarm 1_000 to 200_000, "a percentage, 0 to 100";
    /// Reads and writes of a stream that move a few bytes only.
    Short = "short", 4 places, 0 to 1_000_000, usual 0, swarm 10_000 to 900_000, "a percentage, 0 to 100";
    /// What one direction of a TCP connection holds, in KiB.
    Window = "window", 0 places, 1 to 1_024, usual 64, swarm 1 to 32, "KiB, 1 to 1024";
    /// Mean time between cuts of a link: every connection over it is dead, and the ends may not learn of it.
    Cut = "cut", 0 places, 0 to 86_400, usual 0, swarm 5 to 60, "seconds, 0 (never) to 86400";
    /// Mean time between resets of a link's connections.
    Reset = "reset", 0 places, 0 to 86_400, usual 0, swarm 5 to 60, "seconds, 0 (never) to 86400";
    /// Mean time between partitions: nothing passes, one way or both, to one, some or all clients; connections survive.
    Partition = "partition", 0 places, 0 to 86_400, usual 0, swarm 5 to 40, "seconds, 0 (never) to 86400";
    /// Mean time until a NAT gives a client's datagrams another address.
    Rebind = "rebind", 0 places, 0 to 86_400, usual 0, swarm 2 to 40, "seconds, 0 (never) to 86400";
    /// After so much silence a NAT forgets a client's address.
    Expire = "expire", 0 places, 0 to 86_400, usual 0, swarm 1 to 30, "seconds, 0 (never) to 86400";
    /// Mean time between crashes of the server.
    Crash = "crash", 0 places, 0 to 86_400, usual 0, swarm 10 to 60, "seconds, 0 (never) to 86400";
    /// Mean time between crashes of a client.
    Fall = "fall", 0 places, 0 to 86_400, usual 0, swarm 10 to 120, "seconds, 0 (never) to 86400";
    /// Mean time between pauses of a node, in which it does nothing.
    Pause = "pause", 0 places, 0 to 86_400, usual 0, swarm 5 to 60, "seconds, 0 (never) to 86400";
    /// Mean time between jumps of a node's clock.
    Jump = "jump", 0 places, 0 to 86_400, usual 0, swarm 5 to 60, "seconds, 0 (never) to 86400";
    /// How fast or slow clocks are at most, in millionths.
    Drift = "drift", 0 places, 0 to 100_000, usual 0, swarm 10 to 10_000, "millionths, 0 to 100000";
    /// Peers that mean harm.
    Hostile = "hostile", 0 places, 0 to 8, usual 0, swarm 1 to 4, "a number of peers, 0 to 8";
    /// People who come and go.
    Restless = "restless", 4 places, 0 to 1_000_000, usual 250_000, swarm 0 to 1_000_000, "a percentage, 0 to 100";
    /// Of the time in which people would say something: chatter.
    Text = "text", 4 places, 0 to 1_000_000, usual 1_000_000, swarm 0 to 500_000, "a percentage, 0 to 100";
    /// People who talk.
    Talk = "talk", 4 places, 0 to 1_000_000, usual 1_000_000, swarm 0 to 700_000, "a percentage, 0 to 100";
    /// Which limits of the core are small, a bit for each (`chinwag_proto::hooks::Limit`).
    Small = "small", 0 places, 0 to 16_383, usual 0, swarm 1 to 4_095, "a sum of bits, 0 to 16383";
    /// Clients that stay cut off at first when everything heals.
    Outcast = "outcast", 4 places, 0 to 1_000_000, usual 0, swarm 100_000 to 600_000, "a percentage, 0 to 100";
    /// Peers that have a classic program.
    Classic = "classic", 0 places, 0 to 16, usual 0, swarm 1 to 5, "a number of peers, 0 to 16";
    /// How long the relay lets voice wait for more of it, in microseconds.
    Hold = "hold", 3 places, 0 to 20_000, usual 0, swarm 500 to 20_000, "a time in milliseconds, 0 to 20";
    /// How many threads seal and send voice.
    Threads = "threads", 0 places, 1 to 16, usual 1, swarm 2 to 4, "a number of threads, 1 to 16";
    /// How long the server's disk takes at most to keep a batch of messages, in microseconds; 0: its history is in memory.
    Disk = "disk", 3 places, 0 to 10_000_000, usual 0, swarm 200 to 100_000, "milliseconds, 0 (no disk) to 10000";
    /// Mean time between times when that disk is full.
    Full = "full", 0 places, 0 to 86_400, usual 0, swarm 3 to 40, "seconds, 0 (never) to 86400";
    /// People who come into several rooms and leave them, talk now here and now there, whisper, and take other names.
    Wander = "wander", 4 places, 0 to 1_000_000, usual 0, swarm 200_000 to 1_000_000, "a percentage, 0 to 100";
}

impl Key {
    fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What it is when nothing is said of it.
    pub fn usual(self) -> u64 {
        self.entry().usual
    }

    /// What a byte says of it: nothing unusual, as much as can be, or anything that a swarm might draw.
    pub(crate) fn of_byte(self, byte: u8) -> u64 {
        let Entry { high, usual, swarm: (weak, strong), .. } = self.entry();
        match byte {
            0 => *usual,
            u8::MAX => *high,
            _ => weak + (strong - weak) * u64::from(byte - 1) / 253,
        }
    }

    /// True for what a swarm draws by chances of its own, since it came when the others had theirs.
    fn is_drawn_apart(self) -> bool {
        matches!(self, Self::Classic | Self::Wander)
    }

    /// What a swarm says of it, if it is not as usual.
    pub(crate) fn draw(self, rng: &mut Rng) -> u64 {
        let (weak, strong) = self.entry().swarm;
        let most = between(rng, weak, strong);
        between(rng, weak, most)
    }

    /// True for what stays when everything heals: the plain network, and what is no fault.
    fn survives_healing(self) -> bool {
        use Key::{Delay, Disk, Drift, Jitter, Queue, Restless, Small, Talk, Text};
        matches!(self, Delay | Disk | Jitter | Drift | Queue | Restless | Small | Talk | Text)
    }

    /// True for what breaks connections, or what lets somebody be refused.
    fn breaks_connections(self) -> bool {
        use Key::{Crash, Cut, Fall, Hostile, Jump, Outcast, Partition, Pause, Reset, Small};
        matches!(self, Crash | Cut | Fall | Hostile | Jump | Outcast | Partition | Pause | Reset | Small)
    }
}

/// One world's conditions. See [`Key`] for what they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec([u64; TABLE.len()]);

impl Default for Spec {
    /// 20 ms each way and no faults.
    fn default() -> Self {
        let mut values = [0; TABLE.len()];
        for (value, entry) in values.iter_mut().zip(TABLE) {
            *value = entry.usual;
        }
        Self(values)
    }
}

impl Spec {
    /// What it says of `key`.
    pub fn get(&self, key: Key) -> u64 {
        self.0[key as usize]
    }

    /// The same as probability in millionths.
    pub(crate) fn ppm(&self, key: Key) -> u32 {
        u32::try_from(self.get(key)).unwrap_or(MILLION)
    }

    /// The same in microseconds, for what is given in seconds.
    pub(crate) fn seconds_us(&self, key: Key) -> u64 {
        self.get(key) * 1_000_000
    }

    /// The same conditions but for `key`. A value out of range is taken as the nearest that is in it.
    #[must_use]
    pub fn with(mut self, key: Key, value: u64) -> Self {
        let Entry { low, high, .. } = key.entry();
        self.0[key as usize] = value.clamp(*low, *high);
        self.0[Key::Jitter as usize] = self.get(Key::Jitter).min(MAX_WAY_US - self.get(Key::Delay));
        self
    }

    /// What a swarm tries: each fault off in half of the cases, else of any strength, most often a small one.
    #[must_use]
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut spec = Self::default();
        for &key in Key::ALL.iter().filter(|key| !key.is_drawn_apart()) {
            let (weak, strong) = key.entry().swarm;
            // All draws are made, whatever they decide, so that one more key does not shift the others.
            let is_on = chance(rng, MILLION / 2);
            let most = between(rng, weak, strong);
            // Bits have no strength.
            let value = between(rng, weak, if key == Key::Small { strong } else { most });
            if is_on || key == Key::Delay {
                spec = spec.with(key, value);
            }
        }
        spec
    }

    /// The same network after its faults are mended.
    #[must_use]
    pub(crate) fn healed(self) -> Self {
        let mut healed = Self::default();
        for &key in Key::ALL.iter().filter(|key| key.survives_healing()) {
            healed = healed.with(key, self.get(key));
        }
        healed
    }

    /// The keys that are not as usual.
    pub fn unusual(&self) -> impl Iterator<Item = Key> + '_ {
        Key::ALL.iter().copied().filter(|&key| self.get(key) != key.usual())
    }

    /// True when connections may break, or somebody be refused, without that being anybody's mistake.
    pub(crate) fn may_break(&self) -> bool {
        self.unusual().any(Key::breaks_connections) || self.get(Key::Stall) > 0 || self.get(Key::Rate) > 0
    }

    /// Chance that a burst of loss begins with a datagram: so that the share of lost ones is [`Key::Loss`], as far as
    /// bursts of this length can lose so much.
    pub(crate) fn enter_ppm(&self) -> u64 {
        let (loss, whole) = (self.get(Key::Loss), u64::from(MILLION));
        (loss * whole * 1000).checked_div((whole - loss) * self.get(Key::Burst)).unwrap_or(whole).min(whole)
    }

    /// Chance that a datagram in a burst of loss is the first one after it.
    pub(crate) fn leave_ppm(&self) -> u64 {
        if self.ppm(Key::Loss) == MILLION { 0 } else { u64::from(MILLION) * 1000 / self.get(Key::Burst) }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in Key::ALL
            .iter()
            .copied()
            .filter(|&key| key == Key::Delay || self.get(key) != key.usual())
            .enumerate()
        {
            let Entry { name, places, .. } = key.entry();
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={}", show(self.get(key), *places))?;
        }
        Ok(())
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    /// Reads `KEY=VALUE,...`; what is not named is as in [`Spec::default`].
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        for setting in settings(text)? {
            let key = Key::ALL.iter().copied().find(|key| key.name() == setting.key);
            let key = key.ok_or_else(|| setting.unknown(&names()))?;
            let Entry { places, low, high, expected, .. } = key.entry();
            let value = decimal(setting.value, *places).filter(|value| (*low..=*high).contains(value));
            spec.0[key as usize] = value.ok_or_else(|| setting.wrong(expected))?;
        }
        if spec.get(Key::Delay) + spec.get(Key::Jitter) > MAX_WAY_US {
            return Err(SpecError::TooSlow);
        }
        Ok(spec)
    }
}

/// All names, for whoever mistook one.
fn names() -> String {
    let names: Vec<_> = Key::ALL.iter().map(|key| key.name()).collect();
    let (last, rest) = names.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
    format!("{} and {last}", rest.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_written() {
        for (text, shown) in [
            ("", "delay=20"),
            ("delay=20,jitter=5,loss=2", "delay=20,jitter=5,loss=2"),
            (" loss = 100 , delay=0.5", "delay=0.5,loss=100"),
            ("cut=30,dup=0.25,corrupt=0.0001,stall=10", "delay=20,dup=0.25,corrupt=0.0001,stall=10,cut=30"),
            ("burst=2.5,window=1,text=0", "delay=20,burst=2.5,window=1,text=0"),
        ] {
            let spec: Spec = text.parse().unwrap();
            assert_eq!(spec.to_string(), shown);
            assert_eq!(shown.parse(), Ok(spec));
        }
    }

    #[test]
    fn what_are_no_conditions_is_named() {
        for (text, part) in [
            ("delay", "`delay` is not KEY=VALUE"),
            ("lag=3", "there is no `lag`; there are delay, jitter, tail"),
            ("loss=101", "`loss` is a percentage, 0 to 100, not `101`"),
            ("loss=-1", "not `-1`"),
            ("loss=2%", "not `2%`"),
            ("loss=", "not ``"),
            ("delay=801", "0 to 800, not `801`"),
            ("delay=400,jitter=601", "with jitter 1000 ms"),
            ("delay=1.", "not `1.`"),
            ("delay=99999999999999999999999", "a time in milliseconds"),
            ("cut=1.5", "seconds, 0 (never) to 86400, not `1.5`"),
            ("window=0", "KiB, 1 to 1024"),
            ("delay=1,delay=2", "`delay` is given twice"),
        ] {
            let error = text.parse::<Spec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_swarm_has_every_fault_off_in_half_of_its_worlds_and_is_read_back() {
        let mut on = vec![0; Key::ALL.len()];
        for number in 0..1000 {
            let spec = Spec::random(&mut Rng::from_number(number));
            assert_eq!(spec.to_string().parse(), Ok(spec), "{spec}");
            for key in spec.unusual() {
                on[key as usize] += 1;
            }
        }
        for &key in Key::ALL.iter().filter(|&&key| key != Key::Delay && !key.is_drawn_apart()) {
            assert!((400..600).contains(&on[key as usize]), "{} is on in {}", key.name(), on[key as usize]);
        }
    }

    #[test]
    fn nothing_that_is_healed_breaks_a_connection() {
        for number in 0..200 {
            let healed = Spec::random(&mut Rng::from_number(number)).healed().with(Key::Small, 0);
            assert!(!healed.may_break(), "{healed}");
        }
    }
}
