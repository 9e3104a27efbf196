//! The voice lab: talkers, a network for each, and one listener, in virtual time; what is heard goes to a WAV file.
//!
//! The sender (gate, Opus), the buffer, the decoder and the mixer are production's own; only the network and the clocks
//! are simulated. The network is applied once, from talker to listener: its delay is that of the whole way, servers included.
//!
//! The heard file begins at the instant at which the microphones' first sample is captured, so that the offset of the speech
//! in it is the delay from mouth to ear: a block is sent when it is captured whole, and a block rendered at some moment
//! is heard one block later, as from a sound card with one block in flight. One seed is one history, bit for bit (on one
//! machine: logarithms are the platform's).

mod classic;
mod path;
mod plot;
mod record;
mod spec;
mod talker;
mod voice;

use std::path::PathBuf;

use chinwag_audio::{capture::Gate, codec::EncoderConfig};

pub use path::PathCounts;
pub use plot::svg;
pub use record::{LabReport, Moment, Spread, TalkerCounts};
pub use spec::LabNet;

/// The longest run, in seconds.
pub const MAX_LAB_SECONDS: u32 = 4 * 3600;
/// The most that the talkers' clocks may run faster or slower.
pub const MAX_DRIFT_PPM: i32 = 10_000;
/// Talkers at one time, at most.
pub const MAX_TALKERS: usize = 64;

/// The listener listens on for this long after the last word, the network's delay besides.
const TAIL_US: u64 = 600_000;

/// Something else to carry voice with, for comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Baseline {
    /// PCM in large chunks over TCP and no jitter buffer, as the classic group chat has it.
    Classic,
}

/// One run of the lab.
#[derive(Clone, Debug)]
pub struct Lab {
    /// What the talkers say, a WAV file for each, all from the same instant on. What is told of delays is of the first one.
    pub mics: Vec<PathBuf>,
    /// Where the WAV file of what is heard goes; none is nowhere.
    pub heard: Option<PathBuf>,
    /// The way from each talker to the listener.
    pub net: LabNet,
    /// What all chance comes from.
    pub seed: u64,
    /// How much faster than true the talkers' clocks run, in millionths.
    pub drift_ppm: i32,
    /// When the listener's first block is rendered; none: a time of 0 to 10 ms, by the seed.
    pub phase_us: Option<u64>,
    /// How long they talk: files are said again and again, or cut; none: each is said once.
    pub seconds: Option<u32>,
    /// How talkers encode where nothing is reported.
    pub encoder: EncoderConfig,
    /// They send the same whatever the listener reports. Reports take the network's delay, and none is lost.
    pub is_fixed: bool,
    /// Copies of older frames that go with each frame from the start on, by their distances in frames.
    pub copies: Vec<u8>,
    /// When they send.
    pub gate: Gate,
    /// Another way than production's; it has one talker, who neither encodes nor gates.
    pub baseline: Option<Baseline>,
}

/// Why there is no result: one line for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabError(String);

impl std::fmt::Display for LabError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LabError {}

fn failed(error: impl std::fmt::Display) -> LabError {
    LabError(error.to_string())
}

impl Lab {
    /// Talkers of these files over this network; all else as in production.
    pub fn new(mics: Vec<PathBuf>, net: LabNet) -> Self {
        Self {
            mics,
            heard: None,
            net,
            seed: 1,
            drift_ppm: 0,
            phase_us: None,
            seconds: None,
            encoder: EncoderConfig::default(),
            is_fixed: false,
            copies: Vec::new(),
            gate: Gate::default(),
            baseline: None,
        }
    }

    /// Runs it to the end of what is said and heard.
    ///
    /// # Errors
    /// When a file cannot be read or written, there is no talker, or libopus fails.
    pub fn run(&self) -> Result<LabReport, LabError> {
        match self.baseline {
            None => voice::run(self),
            Some(Baseline::Classic) => classic::run(self),
        }
    }
}
