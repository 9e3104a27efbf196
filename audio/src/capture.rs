//! From microphone blocks to encoded frames: processing, a gate, Opus, and the sequence.

use crate::adapt::Sending;
use crate::codec::{CodecError, Encoder, EncoderConfig, MAX_FRAME_SAMPLES};
use crate::gate::{GateState, MAX_PRE_ROLL, Verdict};
use crate::process::{Level, Processing, Processor};
use crate::redundancy::Redundancy;
use crate::{BLOCK, Block, EncodedFrame, SILENCE, rfc6464_level, rms};

pub use crate::gate::Gate;

/// Counters of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Blocks of 10 ms taken.
    pub blocks: u64,
    /// Frames encoded and handed out.
    pub frames: u64,
    /// Their Opus bytes.
    pub bytes: u64,
    /// Copies of older frames handed out with them.
    pub copies: u64,
    /// Talk spurts begun.
    pub spurts: u64,
    /// Frames that libopus refused to encode, and changes that it refused to make.
    pub failed: u64,
}

/// Turns blocks of sound into frames to send.
pub struct Capture {
    encoder: Encoder,
    /// How it is sent from the next frame on.
    sending: Sending,
    redundancy: Redundancy,
    processor: Processor,
    gate: Gate,
    state: GateState,
    muted: bool,
    /// Media time of the next block.
    sequence: u32,
    /// The blocks before this one, oldest first, sent first when the gate opens: a soft onset is in them.
    pre_roll: [Block; MAX_PRE_ROLL],
    before: usize,
    is_pre_roll: bool,
    /// The frame being filled.
    frame: [f32; MAX_FRAME_SAMPLES],
    filled: usize,
    talking: bool,
    stats: CaptureStats,
}

impl Capture {
    /// A capture with its own encoder, that sends sound as it comes: see [`Capture::set_processing`].
    pub fn new(config: EncoderConfig, gate: Gate) -> Result<Self, CodecError> {
        Ok(Self {
            encoder: Encoder::new(config)?,
            sending: Sending::untroubled(&config),
            redundancy: Redundancy::new(),
            processor: Processor::new(Processing::none()),
            gate,
            state: GateState::default(),
            muted: false,
            sequence: 0,
            pre_roll: [SILENCE; MAX_PRE_ROLL],
            before: 0,
            is_pre_roll: false,
            frame: [0.0; MAX_FRAME_SAMPLES],
            filled: 0,
            talking: false,
            stats: CaptureStats::default(),
        })
    }

    /// The encoder.
    pub fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// How the next frames are sent.
    pub fn sending(&self) -> Sending {
        self.sending
    }

    /// Changes how the next frames are sent. Costs nothing when nothing changes.
    pub fn set_sending(&mut self, sending: Sending) {
        if std::mem::replace(&mut self.sending, sending) == sending {
            return;
        }
        self.redundancy.set(&sending.offsets);
        let Sending { bitrate_bps, expected_loss_percent, .. } = sending;
        let set = self.encoder.set_bitrate(bitrate_bps);
        let is_set = set.and_then(|()| self.encoder.set_expected_loss(expected_loss_percent));
        self.stats.failed += u64::from(is_set.is_err());
    }

    /// Muted, the sound is dropped (the time goes on) and a spurt under way is ended with the next block.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// What is done to the sound from now on, nothing at first.
    pub fn set_processing(&mut self, processing: Processing) {
        self.processor.set_processing(processing);
    }

    /// When to send from now on.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    /// Whether the button of [`Gate::PushToTalk`] is held.
    pub fn set_held(&mut self, is_held: bool) {
        self.state.set_held(is_held);
    }

    /// The speaker plays a block, which the microphone may hear: see [`Processor::hear`].
    pub fn hear(&mut self, far: &Block) {
        self.processor.hear(far);
    }

    /// How loud the last block was after processing, also when it was not sent.
    pub fn level(&self) -> Level {
        self.processor.level()
    }

    /// Whether a talk spurt is under way.
    pub fn is_talking(&self) -> bool {
        self.talking
    }

    /// Counters.
    pub fn stats(&self) -> CaptureStats {
        self.stats
    }

    /// Takes 10 ms of sound and gives what is to be sent now: nothing or one datagram.
    /// A datagram is one or more frames: the new one first, then copies of older ones of this talker, newest first.
    pub fn push(&mut self, block: &Block, send: &mut dyn FnMut(&[EncodedFrame<'_>])) {
        self.stats.blocks += 1;
        let mut block = *block;
        // Also when muted: the room is learned all the same.
        let likely = self.processor.process(&mut block, self.gate.wants_speech()).unwrap_or(0.0);
        if self.muted {
            self.finish(send);
            self.sequence = self.sequence.wrapping_add(1);
            return;
        }
        let verdict = self.state.judge(self.gate, &block, likely, self.talking);
        if !self.talking {
            if verdict != Verdict::Talk {
                self.keep(&block);
                self.sequence = self.sequence.wrapping_add(1);
                return;
            }
            self.talking = true;
            self.stats.spurts += 1;
            self.send_pre_roll(send);
        }
        let end = verdict == Verdict::End;
        if self.fill(&block, end, send) && end {
            self.talking = false;
        }
    }

    /// Takes 10 ms in which there was no sound at all: a spurt under way ends, the time goes on. Far cheaper than a block of silence.
    pub fn pass(&mut self, send: &mut dyn FnMut(&[EncodedFrame<'_>])) {
        self.stats.blocks += 1;
        self.finish(send);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// So many blocks of 10 ms went by in which there was no microphone.
    pub fn skip(&mut self, blocks: u32) {
        self.sequence = self.sequence.wrapping_add(blocks);
    }

    /// Keeps a block that may turn out to be the beginning of a spurt.
    fn keep(&mut self, block: &Block) {
        let most = self.gate.pre_roll();
        if self.before >= most {
            self.pre_roll[..self.before].rotate_left(1 + self.before - most);
            self.before = most - 1;
        }
        self.pre_roll[self.before] = *block;
        self.before += 1;
    }

    /// The blocks before a spurt. Their time is over: whole frames of them go with the first frame that is on time.
    fn send_pre_roll(&mut self, send: &mut dyn FnMut(&[EncodedFrame<'_>])) {
        let before = std::mem::take(&mut self.before);
        self.sequence = self.sequence.wrapping_sub(before as u32);
        self.is_pre_roll = true;
        for at in 0..before {
            let block = self.pre_roll[at];
            self.fill(&block, false, send);
        }
        self.is_pre_roll = false;
    }

    /// Ends the spurt under way, if any: what is left goes out, filled up with silence, which also brings out the encoder's
    /// look-ahead, with the `end` mark.
    pub fn finish(&mut self, send: &mut dyn FnMut(&[EncodedFrame<'_>])) {
        self.before = 0;
        if !self.talking {
            return;
        }
        let at = self.sequence;
        while !self.fill(&SILENCE, true, send) {}
        // This silence is not the microphone's: its time has not passed.
        self.sequence = at;
        self.talking = false;
    }

    /// Adds a block to the frame; true if that completed it.
    fn fill(&mut self, block: &Block, end: bool, send: &mut dyn FnMut(&[EncodedFrame<'_>])) -> bool {
        if self.filled == 0 && self.encoder.frame() != self.sending.frame {
            self.encoder.set_frame(self.sending.frame);
            self.redundancy.forget();
        }
        self.frame[self.filled..self.filled + BLOCK].copy_from_slice(block);
        self.filled += BLOCK;
        self.sequence = self.sequence.wrapping_add(1);
        let blocks = self.encoder.frame().blocks();
        if self.filled < blocks * BLOCK {
            return false;
        }
        let samples = &self.frame[..self.filled];
        self.filled = 0;
        let level = rfc6464_level(rms(samples));
        let sequence = self.sequence.wrapping_sub(blocks as u32);
        match self.encoder.encode(samples) {
            Ok(opus) => {
                self.stats.frames += 1;
                self.stats.bytes += opus.len() as u64;
                let frame = EncodedFrame { sequence, end, level, opus };
                if self.is_pre_roll {
                    self.redundancy.hold(frame);
                } else {
                    self.stats.copies += self.redundancy.send(frame, send) as u64;
                }
            }
            Err(_) => self.stats.failed += 1,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::FrameLength;

    type Sent = Vec<(u32, bool, u8)>;

    fn capture(frame: FrameLength, gate: Gate) -> Capture {
        Capture::new(EncoderConfig { frame, ..EncoderConfig::default() }, gate).unwrap()
    }

    fn push(capture: &mut Capture, amplitude: f32, blocks: usize, sent: &mut Sent) {
        let block = std::array::from_fn(|i| amplitude * if i % 48 < 24 { 1.0 } else { -1.0 });
        for _ in 0..blocks {
            capture.push(&block, &mut |f| sent.extend(f.iter().rev().map(|f| (f.sequence, f.end, f.level))));
        }
    }

    #[test]
    fn a_spurt_has_a_pre_roll_a_hang_over_and_an_end() {
        let (mut capture, mut sent) = (capture(FrameLength::Ms10, Gate::Level), Sent::new());
        push(&mut capture, 0.0, 30, &mut sent);
        assert!(sent.is_empty());
        push(&mut capture, 0.1, 10, &mut sent);
        push(&mut capture, 0.0, 100, &mut sent);
        let sequences: Vec<u32> = sent.iter().map(|s| s.0).collect();
        assert_eq!(sequences, (29..90).collect::<Vec<_>>());
        assert_eq!(sent.iter().filter(|s| s.1).map(|s| s.0).collect::<Vec<_>>(), [89]);
        assert_eq!((sent[0].2, sent[1].2), (127, 20));
        assert!(!capture.is_talking());
        push(&mut capture, 0.001, 1, &mut sent);
        assert_eq!(sent.last().map(|s| s.0), Some(140), "−60 dBFS opens the gate; silence went on counting");
    }

    #[test]
    fn what_came_before_a_voice_goes_with_its_first_frame() {
        let said: Vec<f32> = [vec![0.0; 50 * BLOCK], crate::sample::voice(1, 1)].concat();
        for (frame, first) in [(FrameLength::Ms10, 3), (FrameLength::Ms20, 2)] {
            let mut capture = capture(frame, Gate::Voice);
            let mut datagrams: Vec<Vec<u32>> = Vec::new();
            for block in said.chunks_exact(BLOCK) {
                capture.push(block.try_into().unwrap(), &mut |datagram| {
                    datagrams.push(datagram.iter().map(|f| f.sequence).collect());
                });
            }
            let blocks = frame.blocks() as u32;
            let newest = datagrams[0][0];
            assert_eq!(datagrams[0], (0..first).map(|n| newest - n * blocks).collect::<Vec<_>>());
            assert!(datagrams.len() > 10 && datagrams[1..].iter().all(|d| d.len() == 1), "{datagrams:?}");
            assert_eq!(datagrams[1][0], newest + blocks);
        }
    }

    #[test]
    fn frames_of_20_ms_advance_by_two_and_end_on_a_whole_frame() {
        let (mut capture, mut sent) = (capture(FrameLength::Ms20, Gate::Level), Sent::new());
        push(&mut capture, 0.1, 3, &mut sent);
        capture.finish(&mut |f| sent.push((f[0].sequence, f[0].end, f[0].level)));
        capture.finish(&mut |_| panic!("ended twice"));
        assert_eq!(sent.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(), [(0, false), (2, true)]);
        push(&mut capture, 0.0, 1, &mut sent);
        push(&mut capture, 0.1, 1, &mut sent);
        assert_eq!(sent.last().map(|s| s.0), Some(3));
    }

    #[test]
    fn a_change_of_sending_begins_with_a_whole_frame_and_loses_no_time() {
        let (mut capture, mut sent) = (capture(FrameLength::Ms20, Gate::Open), Sent::new());
        let untroubled = Sending::untroubled(&EncoderConfig::default());
        let mut copies = Vec::new();
        for (frame, offsets) in [
            (FrameLength::Ms20, [0; 3]),
            (FrameLength::Ms10, [1, 3, 0]),
            (FrameLength::Ms60, [0; 3]),
            (FrameLength::Ms20, [2, 0, 0]),
        ] {
            capture.set_sending(Sending { frame, offsets, ..untroubled });
            let block = [0.1; BLOCK];
            for _ in 0..13 {
                capture.push(&block, &mut |datagram| {
                    sent.extend(datagram.iter().take(1).map(|f| (f.sequence, f.end, f.level)));
                    let blocks = crate::codec::packet_blocks(datagram[0].opus).unwrap();
                    copies.push((blocks, datagram.len() - 1));
                });
            }
        }
        let mut next = 0;
        for ((sequence, ..), (blocks, _)) in sent.iter().zip(&copies) {
            assert_eq!(*sequence, next, "{sent:?}");
            next += *blocks as u32;
        }
        assert_eq!(next, 52);
        let of =
            |length| copies.iter().filter(|(blocks, _)| *blocks == length).map(|c| c.1).collect::<Vec<_>>();
        assert_eq!(of(1)[..5], [0, 1, 1, 2, 2], "nothing of another length is copied");
        assert_eq!(of(6)[0], 0);
        assert_eq!(of(2).last(), Some(&1));
        assert_eq!(capture.stats().copies, copies.iter().map(|c| c.1 as u64).sum::<u64>());
    }

    #[test]
    fn an_open_gate_sends_silence_and_a_muted_one_nothing() {
        let (mut capture, mut sent) = (capture(FrameLength::Ms10, Gate::Open), Sent::new());
        push(&mut capture, 0.0, 100, &mut sent);
        assert_eq!(sent.len(), 100);
        capture.set_muted(true);
        push(&mut capture, 0.5, 10, &mut sent);
        assert_eq!(sent.len(), 101);
        assert_eq!(sent.last().map(|s| (s.0, s.1)), Some((100, true)));
        capture.set_muted(false);
        push(&mut capture, 0.5, 1, &mut sent);
        assert_eq!(sent.last().map(|s| s.0), Some(110));
    }
}
