//! A simulated world, and what is done to it.

use chinwag_sim::Scenario;

/// Whatever is done to a world, all that must hold does.
///
/// # Panics
///
/// When something does not hold, with the command that replays it.
pub fn world(bytes: &[u8]) {
    if let Err(failure) = chinwag_sim::run(&Scenario::from_bytes(bytes), None) {
        panic!("{failure}");
    }
}
