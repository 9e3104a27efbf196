//! What a listener tells a talker about the path between them.

/// How a talker's frames arrive at one listener, since the report before. Shares are of the time that was played. In the
/// manner of RTCP's receiver reports (RFC 3550 §6.4, RFC 3611), but about voice as it is played: what comes too late is
/// as lost as what does not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// What was lost, or came too late, in its own datagram, before any recovery; per mille.
    pub lost_per_mille: u16,
    /// What nothing recovered, and was concealed; per mille.
    pub unrecovered_per_mille: u16,
    /// Mean length of a run of lost frames, in milliseconds of media time; 0 without loss.
    pub burst_ms: u16,
    /// How much longer the path takes now, at least, than at its best: a queue that grows.
    pub queue_ms: u16,
}

impl ReceiverReport {
    /// The worst of two listeners: one of them is who the talker must reach.
    pub fn worst(self, other: Self) -> Self {
        Self {
            lost_per_mille: self.lost_per_mille.max(other.lost_per_mille),
            unrecovered_per_mille: self.unrecovered_per_mille.max(other.unrecovered_per_mille),
            burst_ms: self.burst_ms.max(other.burst_ms),
            queue_ms: self.queue_ms.max(other.queue_ms),
        }
    }

    /// The same with every field in its range: whoever made it may lie.
    pub fn sane(self) -> Self {
        Self {
            lost_per_mille: self.lost_per_mille.min(1000),
            unrecovered_per_mille: self.unrecovered_per_mille.min(1000),
            ..self
        }
    }
}
