//! One talker as a listener hears it: jitter buffer, decoder, the line of decoded sound in which the delay is
//! corrected, the noise behind it where nothing arrives, and the strip by which it is mixed.

use crate::codec::MAX_FRAME_SAMPLES;
use crate::comfort::Comfort;
use crate::jitter::{Correction, JitterBuffer, JitterStats, MAX_CONCEALED_BLOCKS, Pull};
use crate::mend::MendingDecoder;
use crate::mix::{Mixer, Strip};
use crate::report::ReceiverReport;
use crate::timescale::{Line, MOST_LAG, QUIET_RMS};
use crate::{BLOCK, BLOCK_US, Block, Duration, Instant, SAMPLE_RATE_HZ, SILENCE, VoiceFrame, rms};

/// Concealment is played in full for this many blocks and faded out over the next ones.
const FULL_CONCEALED_BLOCKS: u32 = 8;
/// Silent by this many blocks.
const FADED_BLOCKS: u32 = MAX_CONCEALED_BLOCKS;
/// Comfort noise goes on for so long after concealment …
const COMFORT_BLOCKS: u32 = 300;
/// … and fades out over the last of it.
const COMFORT_FADE_BLOCKS: u32 = 100;

/// What is 34 dB below the loudest of late is quiet; half of that is forgotten in 1.4 s.
const QUIET_SHARE: f32 = 0.02;
const LOUD_FADES: f32 = 0.995;
/// Quiet blocks in a row are counted up to here.
const MAX_QUIET_BLOCKS: u32 = 100;

pub(crate) struct Talker {
    jitter: JitterBuffer,
    decoder: MendingDecoder,
    pcm: [f32; MAX_FRAME_SAMPLES],
    line: Line,
    block: Block,
    /// Whether that block was quiet, and how loud it is of late.
    quiet_for: u32,
    loud: f32,
    pub(crate) strip: Strip,
    comfort: Comfort,
    /// Blocks of comfort noise that are still to come when the line is empty.
    comfort_left: u32,
    /// Concealed blocks in a row, and the gain at the end of the last block.
    concealed: u32,
    gain: f32,
    /// When something of this talker last arrived.
    pub(crate) heard: Instant,
    /// Whether the last block had sound of this talker.
    pub(crate) is_heard: bool,
}

impl Talker {
    pub(crate) fn new(decoder: MendingDecoder, strip: Strip, heard: Instant) -> Self {
        Self {
            jitter: JitterBuffer::new(),
            decoder,
            pcm: [0.0; MAX_FRAME_SAMPLES],
            line: Line::default(),
            block: SILENCE,
            quiet_for: 0,
            loud: 0.0,
            strip,
            comfort: Comfort::new(),
            comfort_left: 0,
            concealed: 0,
            gain: 1.0,
            heard,
            is_heard: false,
        }
    }

    pub(crate) fn receive(&mut self, now: Instant, frame: &VoiceFrame<'_>) {
        self.jitter.push(now, frame);
    }

    pub(crate) fn expect(&mut self, spread: Duration) {
        self.jitter.expect(spread);
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.is_heard && self.comfort_left == 0 && self.jitter.is_idle() && self.line.ahead() == 0
    }

    pub(crate) fn stats(&self) -> JitterStats {
        self.jitter.stats()
    }

    /// The next block of 10 ms to be decoded, and how many samples wait to be played before it.
    pub(crate) fn position(&self) -> Option<(u32, usize)> {
        Some((self.jitter.next_sequence()?, self.line.ahead()))
    }

    pub(crate) fn report(&mut self, now: Instant) -> Option<ReceiverReport> {
        self.jitter.report(now)
    }

    /// Mixes the next block, to be played from `now` on; nothing if it is silence.
    pub(crate) fn render(&mut self, now: Instant, mixer: &mut Mixer) {
        if !self.is_heard {
            // Before a spurt there is a pause.
            self.quiet_for = MAX_QUIET_BLOCKS;
        }
        self.correct(now);
        while self.line.ahead() < BLOCK {
            if !self.pull(now) {
                break;
            }
        }
        self.is_heard = self.line.ahead() > 0;
        self.line.take(&mut self.block);
        let level = rms(&self.block);
        self.loud = (self.loud * LOUD_FADES).max(level);
        let is_quiet = level < self.quiet_rms();
        self.quiet_for = if is_quiet { (self.quiet_for + 1).min(MAX_QUIET_BLOCKS) } else { 0 };
        let is_filled = !self.is_heard && self.comfort_left > 0;
        if is_filled {
            self.comfort_left -= 1;
            let gain = (self.comfort_left as f32 / COMFORT_FADE_BLOCKS as f32).min(1.0);
            self.comfort.fill(&mut self.block, gain);
        }
        if self.is_heard || is_filled {
            mixer.mix(&mut self.strip, &self.block);
        }
    }

    /// What is quieter than this is quiet.
    fn quiet_rms(&self) -> f32 {
        QUIET_RMS.max(self.loud * QUIET_SHARE)
    }

    /// Jumps in the line when the delay is not as it should be.
    fn correct(&mut self, now: Instant) {
        let us = |samples: usize| samples as i64 * 1_000_000 / i64::from(SAMPLE_RATE_HZ);
        let samples = |us: i64| (us * i64::from(SAMPLE_RATE_HZ) / 1_000_000) as usize;
        match self.jitter.correction(now, us(self.line.ahead()), i64::from(self.quiet_for) * BLOCK_US as i64)
        {
            Correction::Keep => {}
            Correction::Shorten(by_us, likeness) => {
                // A jump needs to see where it lands.
                while self.line.ahead() < 2 * MOST_LAG && self.jitter.is_ready() && self.pull(now) {}
                let lost = self.line.shorten(samples(by_us), likeness);
                if lost > 0 {
                    self.jitter.corrected(-us(lost));
                }
            }
            Correction::Skip { most_us, quiet_us, left_us } => {
                while self.line.has_room(MAX_FRAME_SAMPLES) && self.jitter.is_ready() && self.pull(now) {}
                let quiet = self.line.quiet_ahead(self.quiet_rms());
                if quiet >= samples(quiet_us) {
                    let lost = self.line.skip(samples(most_us).min(quiet.saturating_sub(samples(left_us))));
                    if lost > 0 {
                        self.jitter.corrected(-us(lost));
                    }
                }
            }
            Correction::Lengthen(by_us, likeness) => {
                while self.line.ahead() < BLOCK && self.jitter.is_ready() && self.pull(now) {}
                let won = self.line.lengthen(samples(by_us), likeness);
                if won > 0 {
                    self.jitter.corrected(us(won));
                }
            }
        }
    }

    /// Decodes or conceals what comes next, and puts it in line; false if there is nothing.
    fn pull(&mut self, now: Instant) -> bool {
        let mut is_mended = false;
        let (decoded, blocks, skip) = match self.jitter.pull(now) {
            Pull::Frame { sequence, opus, blocks, skip } => {
                let decoded = self.decoder.decode(sequence, opus, skip as usize, &mut self.pcm);
                is_mended = decoded.is_ok_and(|(_, is_mended)| is_mended);
                (decoded.map(drop), blocks, skip)
            }
            Pull::Fec { opus, blocks, skip } => {
                (self.decoder.decode_fec(opus, &mut self.pcm).map(drop), blocks, skip)
            }
            Pull::Late { sequence, opus } => {
                self.decoder.late(sequence, opus);
                return true;
            }
            Pull::Conceal => {
                self.conceal();
                return true;
            }
            Pull::Silence => {
                // After concealment that faded out, speech fades in; a spurt that begins anew is not touched.
                if self.concealed > 0 {
                    self.gain = 0.0;
                }
                return false;
            }
        };
        match decoded {
            Ok(()) => {
                if is_mended {
                    self.jitter.note_mended();
                }
                (self.concealed, self.comfort_left) = (0, 0);
                let decoded = &mut self.pcm.as_chunks_mut().0[skip as usize..blocks as usize];
                for block in decoded {
                    self.strip.observe(block);
                    self.comfort.observe(block);
                    ramp(block, &mut self.gain, 1.0);
                    self.comfort.fill(block, 0.0);
                    self.line.push(block);
                }
            }
            Err(_) => {
                self.jitter.note_bad();
                (skip..blocks).for_each(|_| self.conceal());
            }
        }
        true
    }

    fn conceal(&mut self) {
        let mut block = SILENCE;
        if self.decoder.conceal(&mut block).is_err() {
            block = SILENCE;
        }
        self.concealed += 1;
        let left = FADED_BLOCKS.saturating_sub(self.concealed) as f32;
        let to = (left / (FADED_BLOCKS - FULL_CONCEALED_BLOCKS) as f32).min(1.0).min(self.gain);
        ramp(&mut block, &mut self.gain, to);
        self.comfort.fill(&mut block, 1.0 - to);
        self.comfort_left = COMFORT_BLOCKS;
        self.line.push(&block);
    }
}

/// From the gain as it was to `to` over a block, so that nothing clicks.
fn ramp(block: &mut Block, gain: &mut f32, to: f32) {
    if *gain != 1.0 || to != 1.0 {
        for (i, sample) in block.iter_mut().enumerate() {
            *sample *= *gain + (to - *gain) * (i + 1) as f32 / BLOCK as f32;
        }
        *gain = to;
    }
}
