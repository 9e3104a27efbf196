//! How lists of `KEY=VALUE,...` are read and written, and what is said of those that are none.

use std::fmt;

use crate::random::MILLION;

/// The longest time of a way, in milliseconds.
const MAX_WAY_MS: u64 = 1000;

/// `value`, kept without its point, as a decimal number of `places` places.
pub(crate) fn show(value: u64, places: usize) -> String {
    let unit = 10_u64.pow(u32::try_from(places).unwrap_or(0));
    let (whole, rest) = (value / unit, value % unit);
    let text = format!("{whole}.{rest:0places$}");
    if rest > 0 { text.trim_end_matches('0').to_owned() } else { whole.to_string() }
}

/// Why a text describes no network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpecError {
    /// A part that is not `KEY=VALUE`.
    NotAPair(String),
    /// A key that does not exist.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that do.
        known: String,
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

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPair(part) => {
                write!(f, "`{part}` is not KEY=VALUE; write for example delay=20,jitter=5,loss=2")
            }
            Self::UnknownKey { key, known } => write!(f, "there is no `{key}`; there are {known}"),
            Self::Twice(key) => write!(f, "`{key}` is given twice"),
            Self::TooSlow => write!(
                f,
                "nobody could connect in time: delay may be at most 800 ms, with jitter {MAX_WAY_MS} ms"
            ),
            Self::Value { key, value, expected } => {
                write!(f, "`{key}` is {expected}, not `{value}`")
            }
        }
    }
}

impl std::error::Error for SpecError {}

/// One `KEY=VALUE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Setting<'_> {
    /// The value does not mean what it should.
    pub(crate) fn wrong(&self, expected: &'static str) -> SpecError {
        SpecError::Value { key: self.key.to_owned(), value: self.value.to_owned(), expected }
    }

    /// There is no such key.
    pub(crate) fn unknown(&self, known: &str) -> SpecError {
        SpecError::UnknownKey { key: self.key.to_owned(), known: known.to_owned() }
    }

    /// A time in milliseconds, as microseconds.
    pub(crate) fn us(&self) -> Result<u64, SpecError> {
        decimal(self.value, 3)
            .filter(|&us| us <= MAX_WAY_MS * 1000)
            .ok_or_else(|| self.wrong("a time in milliseconds, 0 to 1000"))
    }

    /// A percentage, in millionths.
    pub(crate) fn ppm(&self) -> Result<u32, SpecError> {
        decimal(self.value, 4)
            .and_then(|ppm| u32::try_from(ppm).ok())
            .filter(|&ppm| ppm <= MILLION)
            .ok_or_else(|| self.wrong("a percentage, 0 to 100"))
    }
}

/// The parts of `KEY=VALUE,...`, each key once.
pub(crate) fn settings(text: &str) -> Result<Vec<Setting<'_>>, SpecError> {
    let mut all: Vec<Setting<'_>> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| SpecError::NotAPair(part.to_owned()))?;
        let (key, value) = (key.trim(), value.trim());
        if all.iter().any(|setting| setting.key == key) {
            return Err(SpecError::Twice(key.to_owned()));
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
