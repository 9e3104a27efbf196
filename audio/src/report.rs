//! What a listener tells a talker about the path between them, so that the talker can send what gets through
//! ([`crate::adapt`]). In the manner of RTCP's receiver reports (RFC 3550 §6.4, RFC 3611), but about voice as it is
//! played: a frame that comes too late is as lost as one that does not come.

/// How a talker's frames arrive at one listener, since the report before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Frames whose own datagram was lost or came too late, per mille, before any recovery.
    pub lost_per_mille: u16,
    /// Frames that nothing recovered, per mille: concealed.
    pub unrecovered_per_mille: u16,
    /// Mean length of a run of lost frames, in milliseconds of media time; 0 without loss.
    pub burst_ms: u16,
    /// How much longer the path takes now, at least, than at its best: a queue that grows.
    pub queue_ms: u16,
    /// The spread of arrivals, in milliseconds: what the jitter buffer waits for.
    pub jitter_ms: u16,
}

impl ReceiverReport {
    /// The same with every field in its range.
    pub fn sane(self) -> Self {
        Self {
            lost_per_mille: self.lost_per_mille.min(1000),
            unrecovered_per_mille: self.unrecovered_per_mille.min(1000),
            ..self
        }
    }

    /// The worst of two listeners: one of them is who the talker must reach.
    pub fn worst(self, other: Self) -> Self {
        Self {
            lost_per_mille: self.lost_per_mille.max(other.lost_per_mille),
            unrecovered_per_mille: self.unrecovered_per_mille.max(other.unrecovered_per_mille),
            burst_ms: self.burst_ms.max(other.burst_ms),
            queue_ms: self.queue_ms.max(other.queue_ms),
            jitter_ms: self.jitter_ms.max(other.jitter_ms),
        }
    }
}
