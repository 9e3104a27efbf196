//! The system's monotonic clock, as the core counts time.

use chinwag_proto::{Instant, history::UnixMillis};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Nanoseconds of `CLOCK_REALTIME`, for what has to be compared with another program's or the system's times. It may jump.
pub fn real_ns() -> u64 {
    read_ns(ClockId::Realtime)
}

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Now. The origin is that of `CLOCK_MONOTONIC`.
pub fn now() -> Instant {
    Instant::from_micros(now_ns() / 1000)
}

/// What the calendar says.
pub fn calendar() -> UnixMillis {
    UnixMillis(real_ns() / 1_000_000)
}

/// A seed of 32 bytes from the operating system.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed)
        .map_err(|_| std::io::Error::other("the operating system gave no randomness"))?;
    Ok(seed)
}
