//! What became of one talker's frames.

/// Counters of one talker; all but the two delays only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Frames that arrived, good ones of any fate.
    pub received: u64,
    /// Frames played.
    pub played: u64,
    /// Frames that came after their turn.
    pub late: u64,
    /// Times that late frames put the decoder right.
    pub mended: u64,
    /// Frames that came again.
    pub duplicate: u64,
    /// Frames that were not there at their turn (by the length of their neighbours); late ones among them.
    pub lost: u64,
    /// Lost frames recovered from in-band FEC, in whole or in part; a packet without FEC recovers nothing.
    pub fec_recovered: u64,
    /// Blocks of 10 ms concealed.
    pub concealed: u64,
    /// Frames that are no Opus of 10 to 60 ms, or did not decode.
    pub bad: u64,
    /// Frames dropped because too many waited, or waited too long.
    pub overflow: u64,
    /// Frames dropped as the first of a jump of the sequence.
    pub jumped: u64,
    /// Jumps followed.
    pub resyncs: u64,
    /// Frames of which only a copy was there in time.
    pub copies_played: u64,
    /// Copies of frames that were there, and frames that came after their copies.
    pub redundant: u64,
    /// Time left out to lower the delay, in microseconds.
    pub shortened_us: u64,
    /// Time put in to raise the delay (by jumping back, in a gap, or when dry), in microseconds.
    pub stretched_us: u64,
    /// Delay of this buffer now, in ms over the quickest recent frame.
    pub delay_ms: u32,
    /// The delay that it aims at.
    pub target_ms: u32,
}

impl JitterStats {
    /// Adds another talker's counters; the two delays, which are no counters, stay as they are.
    pub fn add(&mut self, other: &Self) {
        // Whole, so that a new counter cannot be forgotten.
        let Self {
            received,
            played,
            late,
            mended,
            duplicate,
            lost,
            fec_recovered,
            concealed,
            bad,
            overflow,
            jumped,
            resyncs,
            copies_played,
            redundant,
            shortened_us,
            stretched_us,
            delay_ms: _,
            target_ms: _,
        } = *other;
        self.received += received;
        self.played += played;
        self.late += late;
        self.mended += mended;
        self.duplicate += duplicate;
        self.lost += lost;
        self.fec_recovered += fec_recovered;
        self.concealed += concealed;
        self.bad += bad;
        self.overflow += overflow;
        self.jumped += jumped;
        self.resyncs += resyncs;
        self.copies_played += copies_played;
        self.redundant += redundant;
        self.shortened_us += shortened_us;
        self.stretched_us += stretched_us;
    }
}
