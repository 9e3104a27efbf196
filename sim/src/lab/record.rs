//! What is heard, as a file and as figures: totals, distributions of delays, and a time line.

use std::{collections::BTreeMap, path::Path};

use chinwag_audio::{BLOCK, BLOCK_MS, Block, SILENCE, playout::PlayoutStats, rms, wav::WavSink};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{LabError, failed, path::PathCounts};

/// Blocks between two moments of the time line: 100 ms.
const MOMENT_BLOCKS: u64 = 10;
/// The level of silence, in dB under full scale.
const SILENT_DB: f32 = -100.0;

/// 100 ms of the time line. Counts are of these 100 ms; delays are as they were at their end, and null while nothing is heard of the
/// first talker.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Moment {
    /// Their end, in milliseconds since the first sample was captured.
    pub at_ms: u64,
    /// From mouth to ear.
    pub mouth_to_ear_ms: Option<f32>,
    /// The buffer's delay.
    pub delay_ms: Option<u32>,
    /// The delay that it aims at.
    pub target_ms: u32,
    /// Packets lost or dropped by the network.
    pub lost: u64,
    /// Frames that came after their turn.
    pub late: u64,
    /// Blocks of 10 ms made up (or left silent, by a listener who cannot make them up).
    pub concealed: u64,
    /// Frames recovered from those behind them.
    pub recovered: u64,
    /// What the talkers sent, headers counted, in kilobits a second.
    pub wire_kbps: f32,
    /// The first talker's Opus bits a second; 0 where nothing is encoded. What copies take comes on top.
    pub bitrate_bps: u32,
    /// The length of the first talker's frames.
    pub frame_ms: u32,
    /// Copies of older frames that go with each of them.
    pub copies: u32,
    /// Loudness of what was heard, in dB under full scale (RMS).
    pub level_db: f32,
}

/// A distribution of delays in milliseconds, over the blocks in which the first talker was heard.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What one block in twenty exceeds.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
}

/// Counters of all talkers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TalkerCounts {
    /// Frames handed out.
    pub frames: u64,
    /// Their codec's bytes.
    pub codec_bytes: u64,
    /// Copies of older frames that went with them.
    pub copies: u64,
    /// Talk spurts begun.
    pub spurts: u64,
    /// Reports that came from the listener.
    pub reports: u64,
    /// Changes of how is sent.
    pub changes: u64,
    /// Times that the rate was cut.
    pub cuts: u64,
    /// Cuts that were in vain.
    pub vain_cuts: u64,
    /// Raises of the rate that were taken back.
    pub failed_raises: u64,
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LabReport {
    /// How long talkers talked.
    pub said_s: f64,
    /// How much time went by.
    pub simulated_s: f64,
    /// What the talkers counted.
    pub talkers: TalkerCounts,
    /// All talkers' packets.
    pub network: PathCounts,
    /// What the talkers sent while they talked, headers counted, in kilobits a second.
    pub wire_kbps: f64,
    /// The buffer's delay, by its own word.
    pub buffer_ms: Spread,
    /// From mouth to ear, see [`super`].
    pub mouth_to_ear_ms: Spread,
    /// What the listener counted.
    #[serde(serialize_with = "playout")]
    pub playout: PlayoutStats,
    /// What happened when.
    pub moments: Vec<Moment>,
}

/// What is known after a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) mouth_to_ear_us: Option<u64>,
    pub(crate) delay_ms: Option<u32>,
    pub(crate) target_ms: u32,
    pub(crate) bitrate_bps: u32,
    pub(crate) frame_ms: u32,
    pub(crate) copies: u32,
    /// Totals since the beginning.
    pub(crate) network: PathCounts,
    pub(crate) late: u64,
    pub(crate) concealed: u64,
    pub(crate) recovered: u64,
}

/// Takes block after block.
pub(crate) struct Recorder {
    sink: Option<WavSink>,
    /// Samples that do not fill a block of the file yet.
    rest: Vec<f32>,
    blocks: u64,
    power: f32,
    before: Now,
    buffer_us: Histogram,
    mouth_to_ear_us: Histogram,
    moments: Vec<Moment>,
}

impl Recorder {
    /// The first block is heard `begin_us` after the first sample was captured.
    pub(crate) fn create(heard: Option<&Path>, begin_us: u64) -> Result<Self, LabError> {
        let lead = begin_us * BLOCK as u64 / u64::from(BLOCK_MS * 1000);
        let mut made = Self {
            sink: heard.map(WavSink::create).transpose().map_err(failed)?,
            rest: Vec::with_capacity(2 * BLOCK),
            blocks: 0,
            power: 0.0,
            before: Now::default(),
            buffer_us: Histogram::default(),
            mouth_to_ear_us: Histogram::default(),
            moments: Vec::new(),
        };
        for _ in 0..lead {
            made.write(&[0.0])?;
        }
        Ok(made)
    }

    /// A block is heard; it ends at `end_us`.
    pub(crate) fn block(&mut self, end_us: u64, block: &Block, now: Now) -> Result<(), LabError> {
        self.write(block)?;
        self.power += rms(block).powi(2) / MOMENT_BLOCKS as f32;
        self.mouth_to_ear_us.add(now.mouth_to_ear_us);
        self.buffer_us.add(now.delay_ms.map(|ms| u64::from(ms) * 1000));
        self.blocks += 1;
        if self.blocks.is_multiple_of(MOMENT_BLOCKS) {
            self.moments.push(self.moment(end_us, now));
            (self.before, self.power) = (now, 0.0);
        }
        Ok(())
    }

    /// Writes the rest of the file, and sums up.
    pub(crate) fn finish(
        mut self,
        (said_us, simulated_us): (u64, u64),
        talkers: TalkerCounts,
        network: PathCounts,
        playout: PlayoutStats,
    ) -> Result<LabReport, LabError> {
        if !self.rest.is_empty() {
            let missing = BLOCK - self.rest.len();
            self.write(&SILENCE[..missing])?;
        }
        if let Some(sink) = &mut self.sink {
            sink.flush();
            if let Some(fault) = sink.take_fault() {
                return Err(failed(fault));
            }
        }
        Ok(LabReport {
            said_s: said_us as f64 / 1e6,
            simulated_s: simulated_us as f64 / 1e6,
            talkers,
            network,
            wire_kbps: network.bytes as f64 * 8000.0 / said_us.max(1) as f64,
            buffer_ms: self.buffer_us.spread(),
            mouth_to_ear_ms: self.mouth_to_ear_us.spread(),
            playout,
            moments: self.moments,
        })
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), LabError> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        self.rest.extend_from_slice(samples);
        while let Some((block, _)) = self.rest.split_first_chunk::<BLOCK>() {
            sink.write(block);
            self.rest.drain(..BLOCK);
        }
        sink.take_fault().map_or(Ok(()), |fault| Err(failed(fault)))
    }

    fn moment(&self, end_us: u64, now: Now) -> Moment {
        let (then, ms) = (&self.before, MOMENT_BLOCKS * u64::from(BLOCK_MS));
        let gone = |counts: &PathCounts| counts.lost + counts.dropped;
        Moment {
            at_ms: end_us / 1000,
            mouth_to_ear_ms: now.mouth_to_ear_us.map(|us| us as f32 / 1000.0),
            delay_ms: now.delay_ms,
            target_ms: now.target_ms,
            lost: gone(&now.network) - gone(&then.network),
            late: now.late - then.late,
            concealed: now.concealed - then.concealed,
            recovered: now.recovered - then.recovered,
            wire_kbps: ((now.network.bytes - then.network.bytes) * 8) as f32 / ms as f32,
            bitrate_bps: now.bitrate_bps,
            frame_ms: now.frame_ms,
            copies: now.copies,
            level_db: (10.0 * self.power.log10()).max(SILENT_DB),
        }
    }
}

/// How often each delay came, in steps of 0.1 ms.
#[derive(Debug, Default)]
struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    fn add(&mut self, us: Option<u64>) {
        if let Some(us) = us {
            *self.0.entry(us / 100).or_default() += 1;
        }
    }

    fn spread(&self) -> Spread {
        let count: u64 = self.0.values().sum();
        let sum: u64 = self.0.iter().map(|(step, times)| step * times).sum();
        let at = |percent: u64| {
            let mut left = (count * percent).div_ceil(100).max(1);
            let step = self.0.iter().find(|(_, times)| {
                left = left.saturating_sub(**times);
                left == 0
            });
            step.map_or(0.0, |(step, _)| *step as f64 / 10.0)
        };
        Spread { mean: sum as f64 / 10.0 / count.max(1) as f64, p50: at(50), p95: at(95), max: at(100) }
    }
}

/// Every counter of the listener.
fn playout<S: Serializer>(stats: &PlayoutStats, serializer: S) -> Result<S::Ok, S::Error> {
    // Whole, so that a new counter cannot be forgotten.
    let PlayoutStats { total, talkers, refused, evicted, rendered } = *stats;
    let chinwag_audio::jitter::JitterStats {
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
    } = total;
    let counters = [
        ("received", received),
        ("played", played),
        ("late", late),
        ("mended", mended),
        ("duplicate", duplicate),
        ("lost", lost),
        ("fec_recovered", fec_recovered),
        ("concealed", concealed),
        ("bad", bad),
        ("overflow", overflow),
        ("jumped", jumped),
        ("resyncs", resyncs),
        ("copies_played", copies_played),
        ("redundant", redundant),
        ("shortened_us", shortened_us),
        ("stretched_us", stretched_us),
        ("talkers", talkers as u64),
        ("refused", refused),
        ("evicted", evicted),
        ("rendered", rendered),
    ];
    let mut object = serializer.serialize_struct("playout", counters.len())?;
    for (name, value) in counters {
        object.serialize_field(name, &value)?;
    }
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_told_by_rank() {
        let mut histogram = Histogram::default();
        for ms in 1..=100 {
            histogram.add(Some(ms * 1000));
        }
        histogram.add(None);
        assert_eq!(histogram.spread(), Spread { mean: 50.5, p50: 50.0, p95: 95.0, max: 100.0 });
        assert_eq!(Histogram::default().spread(), Spread::default());
    }
}
