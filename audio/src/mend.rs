//! A decoder that forgets a gap when what was missing comes after all.
//!
//! What is concealed, or recovered from in-band FEC, leaves the decoder in another state than the encoder's, and all that
//! follows suffers for some frames: Opus predicts, SILK's long-term prediction most of all. But most of what is missing is only late, or comes by
//! a copy. So the decoder is remembered as it was before a gap, and the packets since; when one of those missing has come, all is
//! decoded again from there, unheard, and the sound goes over from the one state to the other. The idea is that of P. Gournay,
//! F. Rousseau and R. Lefebvre, "Improved packet loss recovery using late frames for prediction-based speech coders", ICASSP 2003.
//!
//! It costs a decoded block for each one replayed: at most [`MEND_BLOCKS`] and a packet for each frame that is played.

use crate::codec::{CodecError, Decoder, MAX_FRAME_SAMPLES, has_fec, packet_blocks};
use crate::limits::{MAX_OPUS_BYTES, MEND_BLOCKS};
use crate::{Block, SILENCE};

/// Samples over which the sound goes over to the mended state: 2.5 ms.
const CROSSFADE: usize = 120;

struct Kept {
    sequence: u32,
    length: usize,
    opus: [u8; MAX_OPUS_BYTES],
}

impl Kept {
    fn opus(&self) -> &[u8] {
        &self.opus[..self.length]
    }
}

/// See the module's words.
pub(crate) struct MendingDecoder {
    decoder: Decoder,
    /// As it was before the gap that begins with block `gap`, and, for a moment, before it was mended.
    before: Decoder,
    unmended: Decoder,
    gap: Option<u32>,
    /// The block after the last packet decoded.
    next: Option<u32>,
    /// What was decoded since the gap, and what came of it, in media order.
    kept: Vec<Kept>,
    /// Something came of it since it was last decoded.
    is_news: bool,
    scratch: Box<[f32; MAX_FRAME_SAMPLES]>,
}

impl MendingDecoder {
    /// Fails only if libopus does.
    pub(crate) fn new() -> Result<Self, CodecError> {
        Ok(Self {
            decoder: Decoder::new()?,
            before: Decoder::new()?,
            unmended: Decoder::new()?,
            gap: None,
            next: None,
            kept: Vec::with_capacity(MEND_BLOCKS),
            is_news: false,
            scratch: Box::new([0.0; MAX_FRAME_SAMPLES]),
        })
    }

    /// Decodes the packet whose first block is `sequence`, of which the first `skip` blocks are not wanted. Gives the number of blocks, and
    /// whether the decoder was put right before.
    pub(crate) fn decode(
        &mut self,
        sequence: u32,
        opus: &[u8],
        skip: usize,
        out: &mut [f32; MAX_FRAME_SAMPLES],
    ) -> Result<(usize, bool), CodecError> {
        let is_mended = self.mend(sequence);
        let blocks = self.decoder.decode(opus, out)?;
        if is_mended && self.unmended.decode(opus, &mut self.scratch).is_ok() {
            let begin = skip.min(blocks) * crate::BLOCK;
            let fade = out[begin..].iter_mut().zip(&self.scratch[begin..]).take(CROSSFADE);
            for (i, (mended, unmended)) in fade.enumerate() {
                let weight = (i as f32 + 0.5) / CROSSFADE as f32;
                *mended = unmended + (*mended - unmended) * weight;
            }
        }
        self.next = Some(sequence.wrapping_add(blocks as u32));
        if self.gap.is_some() {
            self.keep(sequence, opus);
        }
        Ok((blocks, is_mended))
    }

    /// Recovers the frame before `opus`.
    pub(crate) fn decode_fec(
        &mut self,
        opus: &[u8],
        out: &mut [f32; MAX_FRAME_SAMPLES],
    ) -> Result<usize, CodecError> {
        self.remember();
        self.decoder.decode_fec(opus, out)
    }

    /// Conceals a block.
    pub(crate) fn conceal(&mut self, out: &mut Block) -> Result<(), CodecError> {
        self.remember();
        self.decoder.conceal(out)
    }

    /// A packet has come whose turn is over.
    pub(crate) fn late(&mut self, sequence: u32, opus: &[u8]) {
        self.is_news |= self.gap.is_some() && self.keep(sequence, opus);
    }

    /// Something is missing.
    fn remember(&mut self) {
        if self.gap.is_none() && self.next.is_some() {
            self.before.copy_from(&self.decoder);
            self.gap = self.next;
            self.is_news = false;
            self.kept.clear();
        }
    }

    /// Keeps a packet that was decoded, or should have been, since the gap; false if it is kept already or out of reach, or there is no room.
    fn keep(&mut self, sequence: u32, opus: &[u8]) -> bool {
        let Some(gap) = self.gap else { return false };
        let place = sequence.wrapping_sub(gap) as usize;
        let at = self.kept.partition_point(|kept| (kept.sequence.wrapping_sub(gap) as usize) < place);
        let is_there = self.kept.get(at).is_some_and(|kept| kept.sequence == sequence);
        if place >= MEND_BLOCKS || is_there || opus.len() > MAX_OPUS_BYTES || self.kept.len() >= MEND_BLOCKS {
            return false;
        }
        let mut kept = Kept { sequence, length: opus.len(), opus: [0; MAX_OPUS_BYTES] };
        kept.opus[..opus.len()].copy_from_slice(opus);
        self.kept.insert(at, kept);
        true
    }

    /// Puts the decoder right for the packet of block `sequence`, if it can be better than it is.
    fn mend(&mut self, sequence: u32) -> bool {
        let Some(gap) = self.gap else { return false };
        let reach = sequence.wrapping_sub(gap) as usize;
        if reach > MEND_BLOCKS {
            self.gap = None;
            return false;
        }
        // What was waited for and then came was not missing.
        if !self.is_news && reach > 0 {
            return false;
        }
        self.is_news = false;
        self.unmended.copy_from(&self.decoder);
        self.decoder.copy_from(&self.before);
        let (mut place, mut is_whole) = (gap, true);
        for kept in &self.kept {
            let missing = kept.sequence.wrapping_sub(place) as usize;
            let (Some(blocks), true) = (packet_blocks(kept.opus()), missing < MEND_BLOCKS) else { continue };
            is_whole &= missing == 0;
            if missing == blocks && has_fec(kept.opus()) {
                self.decoder.decode_fec(kept.opus(), &mut self.scratch).ok();
            } else {
                conceal(&mut self.decoder, missing);
            }
            self.decoder.decode(kept.opus(), &mut self.scratch).ok();
            place = kept.sequence.wrapping_add(blocks as u32);
        }
        let missing = sequence.wrapping_sub(place) as usize;
        if (1..MEND_BLOCKS).contains(&missing) {
            conceal(&mut self.decoder, missing);
        }
        if is_whole && missing == 0 {
            self.gap = None;
        }
        true
    }
}

fn conceal(decoder: &mut Decoder, blocks: usize) {
    let mut unheard = SILENCE;
    (0..blocks).for_each(|_| {
        decoder.conceal(&mut unheard).ok();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK;
    use crate::codec::{Encoder, EncoderConfig, FrameLength};

    fn packets(frame: FrameLength) -> Vec<Vec<u8>> {
        let config = EncoderConfig { frame, expected_loss_percent: 0, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config).unwrap();
        let said = crate::sample::voice(1, 2);
        said.chunks_exact(frame.blocks() * BLOCK)
            .map(|samples| encoder.encode(samples).unwrap().to_vec())
            .collect()
    }

    /// What becomes of a packet.
    #[derive(Clone, Copy, PartialEq)]
    enum Fate {
        OnTime,
        /// Concealed, and there before the turn of the packet so many behind it; 0 is before its own turn, which waits.
        Late(usize),
        Lost,
    }

    /// Decodes from packet 40 to 100, sequences wrapping around on the way. The sound of each packet that is played, and how often the
    /// decoder was put right.
    fn played(packets: &[Vec<u8>], fate: impl Fn(usize) -> Fate) -> (Vec<Vec<f32>>, usize) {
        let mut decoder = MendingDecoder::new().unwrap();
        let mut out = [0.0; MAX_FRAME_SAMPLES];
        let (mut heard, mut mended) = (Vec::new(), 0);
        let blocks = packet_blocks(&packets[0]).unwrap();
        let sequence = |n: usize| ((n * blocks) as u32).wrapping_sub(60);
        for (n, packet) in packets.iter().enumerate().take(100) {
            for behind in 1..=n.min(12) {
                if fate(n - behind) == Fate::Late(behind) {
                    decoder.late(sequence(n - behind), &packets[n - behind]);
                }
            }
            if fate(n) != Fate::OnTime {
                let mut block = SILENCE;
                (0..blocks).for_each(|_| decoder.conceal(&mut block).unwrap());
            }
            if matches!(fate(n), Fate::OnTime | Fate::Late(0)) {
                let (decoded, is_mended) = decoder.decode(sequence(n), packet, 0, &mut out).unwrap();
                assert_eq!(decoded, blocks);
                mended += usize::from(is_mended);
            } else {
                out.fill(f32::NAN);
            }
            heard.push(out[..blocks * BLOCK].to_vec());
        }
        (heard, mended)
    }

    #[test]
    fn what_follows_a_late_packet_is_what_was_said() {
        for frame in [FrameLength::Ms10, FrameLength::Ms20] {
            let packets = packets(frame);
            let (right, _) = played(&packets, |_| Fate::OnTime);
            for late in 0..=4 {
                let (heard, mended) =
                    played(&packets, |n| if n == 60 { Fate::Late(late) } else { Fate::OnTime });
                assert_eq!(mended, 1, "{frame:?}: {late} behind");
                let put_right = 60 + late;
                assert_eq!(heard[put_right][CROSSFADE..], right[put_right][CROSSFADE..], "{frame:?}: {late}");
                assert_eq!(heard[put_right + 1..], right[put_right + 1..], "{frame:?}: {late} behind");
            }
            let (lost, mended) = played(&packets, |n| if n == 60 { Fate::Lost } else { Fate::OnTime });
            assert_eq!(mended, 0);
            assert_ne!(lost[61..], right[61..], "a loss is heard in what follows");
        }
    }

    #[test]
    fn of_two_gaps_each_is_closed_by_its_packet() {
        let packets = packets(FrameLength::Ms10);
        let (right, _) = played(&packets, |_| Fate::OnTime);
        let fate = |n| match n {
            60 => Fate::Late(6),
            61 => Fate::Late(1),
            63 => Fate::Late(2),
            _ => Fate::OnTime,
        };
        let (heard, mended) = played(&packets, fate);
        assert_eq!(mended, 3);
        assert_eq!(heard[67..], right[67..]);
        // One of them never comes: better for the other one, but not right.
        let (heard, mended) = played(&packets, |n| if n == 60 { Fate::Lost } else { fate(n) });
        assert_eq!(mended, 2);
        assert_ne!(heard[67..], right[67..]);
    }

    #[test]
    fn what_comes_later_than_is_remembered_changes_nothing() {
        let packets = packets(FrameLength::Ms10);
        let lost = |n| if n == 60 { Fate::Lost } else { Fate::OnTime };
        let late = |n| if n == 60 { Fate::Late(MEND_BLOCKS + 1) } else { Fate::OnTime };
        let difference = |(heard, mended): (Vec<Vec<f32>>, usize)| (heard[61..].to_vec(), mended);
        assert_eq!(difference(played(&packets, lost)), difference(played(&packets, late)));
    }

    #[test]
    fn whatever_comes_late_is_survived() {
        let packets = packets(FrameLength::Ms10);
        let mut decoder = MendingDecoder::new().unwrap();
        let mut out = [0.0; MAX_FRAME_SAMPLES];
        let mut block = SILENCE;
        let long = [0xff; MAX_OPUS_BYTES + 1];
        let garbage: [&[u8]; 5] = [&[], &[0xff], &[0xff; 300], &[3 << 3; 90], &long];
        decoder.late(0, &packets[0]);
        decoder.conceal(&mut block).unwrap();
        for n in 0..80_u32 {
            if n % 3 == 0 {
                decoder.conceal(&mut block).unwrap();
            }
            for back in 0..14 {
                decoder.late(n.wrapping_sub(back), garbage[(n + back) as usize % garbage.len()]);
                decoder.late(n.wrapping_sub(back) ^ 0x8000_0000, &packets[n as usize]);
            }
            decoder.decode_fec(&packets[n as usize], &mut out).unwrap();
            decoder.decode(n, &packets[n as usize], n as usize % 2, &mut out).unwrap();
            assert!(out.iter().all(|s| s.is_finite()));
            assert!(decoder.kept.len() <= MEND_BLOCKS);
        }
    }
}
