//! How much is lost of late, and whether it pays to wait for in-band FEC.
//!
//! The FEC of a lost frame lies in the packet behind it, so that a buffer must be a frame deep to use it. That much
//! delay is asked for while frames are lost and packets carry FEC, and given back when they no longer are.

/// One, in fixed point.
const WHOLE: u32 = 1 << 16;
/// The share of lost frames is smoothed over about this many.
const FRAMES: u32 = 64;
/// Waiting begins above 2 % of loss: two frames lost close to each other …
const WORTHWHILE: u32 = WHOLE / 50;
/// … and ends below 0.5 %.
const NO_LONGER: u32 = WHOLE / 200;
/// Packets without FEC in a row after which none is hoped for. It is only in packets that follow active speech.
const HOPE_PACKETS: u32 = 100;

#[derive(Debug, Default)]
pub(super) struct Loss {
    /// In [`WHOLE`]ths.
    share: u32,
    /// Blocks lost in all.
    blocks: u64,
    waits: bool,
    seen_fec: bool,
    without_fec: u32,
}

impl Loss {
    pub(super) fn arrived(&mut self, has_fec: bool) {
        self.seen_fec |= has_fec;
        self.without_fec = if has_fec { 0 } else { self.without_fec.saturating_add(1) };
    }

    pub(super) fn played(&mut self) {
        self.share -= self.share / FRAMES;
        self.waits &= self.share > NO_LONGER;
    }

    /// `blocks` blocks of frames of `frame_blocks` were lost.
    pub(super) fn lost(&mut self, blocks: u32, frame_blocks: u32) {
        self.blocks += u64::from(blocks);
        // A long hole says no more than a short one.
        for _ in 0..blocks.min(8) {
            self.share += (WHOLE - self.share) / FRAMES / frame_blocks.max(1);
        }
        self.waits |= self.share > WORTHWHILE;
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether to be deep enough for FEC.
    pub(super) fn waits_for_fec(&self) -> bool {
        self.waits && self.seen_fec && self.without_fec < HOPE_PACKETS
    }
}
