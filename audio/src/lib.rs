//! Voice for chinwag: from a microphone to encoded frames, and from frames that arrive late, twice or never to a
//! speaker.
//!
//! Everything but [`device`] is driven by an explicit clock ([`Instant`] comes in as an argument): no thread, no
//! clock, no randomness, so that a simulator runs the very same code. The crate knows no sockets and, but for [`gateway`], no protocol:
//! a [`VoiceFrame`] comes in, an [`EncodedFrame`] goes out, and whoever drives the [`pump::Pump`] carries them.
//!
//! Sound inside the crate is 48 kHz mono `f32` in −1..=1, in blocks of [`BLOCK`] samples (10 ms).

pub mod adapt;
pub mod capture;
pub mod codec;
pub mod comfort;
pub mod compare;
#[cfg(feature = "devices")]
pub mod device;
mod floor;
mod gate;
pub mod gateway;
pub mod io;
pub mod jitter;
pub mod level;
mod limiter;
pub mod limits;
mod mend;
pub mod mix;
pub mod playout;
pub mod process;
pub mod pump;
pub mod redundancy;
pub mod report;
pub mod resample;
pub mod sample;
pub mod sound_check;
mod talker;
pub mod timescale;
pub mod wav;
pub mod wav_io;

pub use chinwag_proto::{Duration, Instant};

/// Samples a second, everywhere inside this crate.
pub const SAMPLE_RATE_HZ: u32 = 48_000;
/// Samples in a block.
pub const BLOCK: usize = 480;
/// Length of a block in milliseconds: the unit of a frame's sequence.
pub const BLOCK_MS: u32 = 10;
/// Length of a block in microseconds.
pub const BLOCK_US: u64 = 10_000;
/// Length of a block.
pub const BLOCK_TIME: Duration = Duration::from_micros(BLOCK_US);

/// 10 ms of 48 kHz mono sound.
pub type Block = [f32; BLOCK];

/// No sound.
pub const SILENCE: Block = [0.0; BLOCK];

/// A voice frame of one talker, as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceFrame<'a> {
    /// Who talks; an id that the driver chooses.
    pub talker: u32,
    /// Media time of the frame's first sample, in units of 10 ms since the talker's start; wraps, and goes on in the
    /// silence between talk spurts.
    pub sequence: u32,
    /// The last frame of a talk spurt: nothing is missing after it.
    pub end: bool,
    /// Sent before, and attached to a newer frame in case it was lost: not the first frame of its talker in the payload.
    /// When it arrives says nothing of the path.
    pub copy: bool,
    /// Loudness by RFC 6464: −dBov, 0 loudest, 127 silence.
    pub level: u8,
    /// One Opus packet (RFC 6716) of 10 to 60 ms.
    pub opus: &'a [u8],
}

/// A voice frame to be sent. Fields as in [`VoiceFrame`]. Several that are sent together are a new one and copies of older
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedFrame<'a> {
    /// Media time of the first sample in units of 10 ms.
    pub sequence: u32,
    /// The last frame of a talk spurt.
    pub end: bool,
    /// Loudness by RFC 6464.
    pub level: u8,
    /// One Opus packet.
    pub opus: &'a [u8],
}

/// Root mean square of some samples; 0 for none.
pub fn rms(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
}

/// The level of RFC 6464 §3 for a root mean square: −dBov, 0 (overload) to 127 (silence).
pub fn rfc6464_level(rms: f32) -> u8 {
    if rms.is_nan() || rms <= 0.0 {
        return 127;
    }
    (-20.0 * rms.log10()).round().clamp(0.0, 127.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_is_minus_dbov() {
        for (rms, level) in
            [(1.0, 0), (2.0, 0), (0.1, 20), (0.001, 60), (0.0, 127), (1e-9, 127), (f32::NAN, 127)]
        {
            assert_eq!(rfc6464_level(rms), level, "rms {rms}");
        }
    }
}
