//! What a client counts of its datagrams.

use chinwag_proto::wire::path::OpenError;

/// What happened to datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramStats {
    /// Received and opened.
    pub received: u64,
    /// Handed to the system.
    pub sent: u64,
    /// Not sent: the system had no room, or no way to that address.
    pub unsent: u64,
    /// Voice that was to go by TCP and was dropped, since the connection was too slow for it.
    pub voice_dropped: u64,
    /// Dropped: no header of ours, or no such session.
    pub not_ours: u64,
    /// Dropped: their counter was used before, or too old.
    pub replayed: u64,
    /// Dropped: their seal did not verify.
    pub forged: u64,
}

impl DatagramStats {
    pub(crate) fn count(&mut self, error: OpenError) {
        match error {
            OpenError::NotOurs => self.not_ours += 1,
            OpenError::Replayed => self.replayed += 1,
            OpenError::Forged => self.forged += 1,
        }
    }

    /// Received datagrams that meant nothing.
    pub fn dropped(&self) -> u64 {
        self.not_ours + self.replayed + self.forged
    }
}
