//! What a network does to what it carries, and how that is written: `delay=20,jitter=5,loss=2`.

use std::{fmt, str::FromStr};

use crate::random::MILLION;

/// The longest delay, and the longest delay with jitter, in milliseconds: with more, even a network without faults would
/// not let a client in before it gives up (four ways for TCP and TLS, two for the welcome, each of them once stalled).
const MAX_DELAY_MS: u64 = 800;
const MAX_WAY_MS: u64 = 1000;
/// The longest mean time between cuts, in seconds.
const MAX_CUT_S: u64 = 86_400;

/// One network, the same for every client's link. Times are one-way; probabilities are in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetSpec {
    /// Every packet takes at least so long, in microseconds.
    pub delay_us: u64,
    /// And up to so much more, by chance: datagrams overtake each other.
    pub jitter_us: u64,
    /// Datagrams that do not arrive.
    pub loss_ppm: u32,
    /// Datagrams that arrive twice.
    pub duplicate_ppm: u32,
    /// Datagrams that arrive with a bit flipped.
    pub corrupt_ppm: u32,
    /// TCP segments that are lost and sent again: what is behind them waits.
    pub stall_ppm: u32,
    /// Mean time between cuts of one client's link, in microseconds; 0: never.
    pub cut_every_us: u64,
}

impl Default for NetSpec {
    /// 20 ms each way and no faults.
    fn default() -> Self {
        Self {
            delay_us: 20_000,
            jitter_us: 0,
            loss_ppm: 0,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            stall_ppm: 0,
            cut_every_us: 0,
        }
    }
}

impl NetSpec {
    /// The same network after its faults are mended: only delay and jitter stay.
    pub(crate) fn healed(self) -> Self {
        Self { delay_us: self.delay_us, jitter_us: self.jitter_us, ..Self::default() }
    }
}

impl fmt::Display for NetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={},jitter={}", Thousandths(self.delay_us), Thousandths(self.jitter_us))?;
        let probabilities = [
            ("loss", self.loss_ppm),
            ("dup", self.duplicate_ppm),
            ("corrupt", self.corrupt_ppm),
            ("stall", self.stall_ppm),
        ];
        for (key, ppm) in probabilities.into_iter().filter(|(_, ppm)| *ppm > 0) {
            write!(f, ",{key}={}", Percent(ppm))?;
        }
        if self.cut_every_us > 0 {
            write!(f, ",cut={}", self.cut_every_us / 1_000_000)?;
        }
        Ok(())
    }
}

/// Microseconds shown as milliseconds.
pub(crate) struct Thousandths(pub(crate) u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 1000)?;
        match self.0 % 1000 {
            0 => Ok(()),
            rest => write!(f, "{}", format!(".{rest:03}").trim_end_matches('0')),
        }
    }
}

/// Why a text describes no network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetSpecError {
    /// A part that is not `KEY=VALUE`.
    NotAPair(String),
    /// A key that does not exist.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that do.
        known: &'static str,
    },
    /// A key that comes twice.
    Twice(String),
    /// Nobody could connect in time.
    TooSlow,
    /// A value that is no number in the key's range.
    Value {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What would be understood.
        expected: &'static str,
    },
}

impl fmt::Display for NetSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPair(part) => {
                write!(f, "`{part}` is not KEY=VALUE; write for example delay=20,jitter=5,loss=2")
            }
            Self::UnknownKey { key, known } => write!(f, "there is no `{key}`; there are {known}"),
            Self::Twice(key) => write!(f, "`{key}` is given twice"),
            Self::TooSlow => write!(
                f,
                "nobody could connect in time: delay may be {MAX_DELAY_MS} ms, with jitter {MAX_WAY_MS} ms"
            ),
            Self::Value { key, value, expected } => {
                write!(f, "`{key}` is {expected}, not `{value}`")
            }
        }
    }
}

impl std::error::Error for NetSpecError {}

impl FromStr for NetSpec {
    type Err = NetSpecError;

    /// Reads `KEY=VALUE,...`; what is not named is as in [`NetSpec::default`].
    fn from_str(text: &str) -> Result<Self, NetSpecError> {
        let mut spec = Self::default();
        for setting in settings(text)? {
            let Setting { key, value } = setting;
            match key {
                "delay" => spec.delay_us = setting.us()?,
                "jitter" => spec.jitter_us = setting.us()?,
                "loss" => spec.loss_ppm = setting.ppm()?,
                "dup" => spec.duplicate_ppm = setting.ppm()?,
                "corrupt" => spec.corrupt_ppm = setting.ppm()?,
                "stall" => spec.stall_ppm = setting.ppm()?,
                "cut" => {
                    let seconds = decimal(value, 0).filter(|&s| s <= MAX_CUT_S);
                    let expected =
                        "the mean time between cuts of one link in whole seconds, 0 (never) to 86400";
                    spec.cut_every_us = seconds.ok_or_else(|| setting.wrong(expected))? * 1_000_000;
                }
                _ => {
                    return Err(setting.unknown("delay, jitter, loss, dup, corrupt, stall and cut"));
                }
            }
        }
        if spec.delay_us > MAX_DELAY_MS * 1000 || spec.delay_us + spec.jitter_us > MAX_WAY_MS * 1000 {
            return Err(NetSpecError::TooSlow);
        }
        Ok(spec)
    }
}

/// Millionths shown as a percentage.
pub(crate) struct Percent(pub(crate) u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        write!(f, "{whole}")?;
        if rest > 0 { f.write_str(format!(".{rest:04}").trim_end_matches('0')) } else { Ok(()) }
    }
}

/// One `KEY=VALUE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Setting<'_> {
    /// The value does not mean what it should.
    pub(crate) fn wrong(&self, expected: &'static str) -> NetSpecError {
        NetSpecError::Value { key: self.key.to_owned(), value: self.value.to_owned(), expected }
    }

    /// There is no such key.
    pub(crate) fn unknown(&self, known: &'static str) -> NetSpecError {
        NetSpecError::UnknownKey { key: self.key.to_owned(), known }
    }

    /// A time in milliseconds, as microseconds.
    pub(crate) fn us(&self) -> Result<u64, NetSpecError> {
        decimal(self.value, 3)
            .filter(|&us| us <= MAX_WAY_MS * 1000)
            .ok_or_else(|| self.wrong("a time in milliseconds, 0 to 1000"))
    }

    /// A percentage, in millionths.
    pub(crate) fn ppm(&self) -> Result<u32, NetSpecError> {
        decimal(self.value, 4)
            .and_then(|ppm| u32::try_from(ppm).ok())
            .filter(|&ppm| ppm <= MILLION)
            .ok_or_else(|| self.wrong("a percentage, 0 to 100"))
    }
}

/// The parts of `KEY=VALUE,...`, each key once.
pub(crate) fn settings(text: &str) -> Result<Vec<Setting<'_>>, NetSpecError> {
    let mut all: Vec<Setting<'_>> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| NetSpecError::NotAPair(part.to_owned()))?;
        let (key, value) = (key.trim(), value.trim());
        if all.iter().any(|setting| setting.key == key) {
            return Err(NetSpecError::Twice(key.to_owned()));
        }
        all.push(Setting { key, value });
    }
    Ok(all)
}

/// A decimal number times 10^`places`, exactly; `None` when it has more places, or is none.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let has_point = whole.len() < text.len();
    if whole.is_empty()
        || !is_digits(whole)
        || !is_digits(fraction)
        || fraction.len() > places
        || (has_point && fraction.is_empty())
    {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for (text, shown) in [
            ("", "delay=20,jitter=0"),
            ("delay=20,jitter=5,loss=2", "delay=20,jitter=5,loss=2"),
            (" loss = 100 , delay=0.5", "delay=0.5,jitter=0,loss=100"),
            (
                "cut=30,dup=0.25,corrupt=0.0001,stall=10",
                "delay=20,jitter=0,dup=0.25,corrupt=0.0001,stall=10,cut=30",
            ),
        ] {
            let spec: NetSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), shown);
            assert_eq!(shown.parse(), Ok(spec));
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for (text, part) in [
            ("delay", "`delay` is not KEY=VALUE"),
            ("lag=3", "there is no `lag`"),
            ("loss=101", "`loss` is a percentage, 0 to 100, not `101`"),
            ("loss=-1", "not `-1`"),
            ("loss=2%", "not `2%`"),
            ("loss=", "not ``"),
            ("delay=1001", "0 to 1000, not `1001`"),
            ("delay=801", "nobody could connect in time"),
            ("delay=400,jitter=601", "with jitter 1000 ms"),
            ("delay=1.", "not `1.`"),
            ("delay=99999999999999999999999", "a time in milliseconds"),
            ("cut=1.5", "whole seconds"),
            ("delay=1,delay=2", "`delay` is given twice"),
        ] {
            let error = text.parse::<NetSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
