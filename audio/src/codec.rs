//! Opus (RFC 6716) by libopus: an encoder set up for talk, a decoder with in-band FEC and concealment.
//!
//! No frame allocates after construction. It does not know the network: who asks for FEC and when is the jitter
//! buffer's business.

use opusic_c as opus;
use opusic_c::sys;

use crate::limits::{MAX_FRAME_BLOCKS, MAX_OPUS_BYTES};
use crate::{BLOCK, BLOCK_MS, Block, SAMPLE_RATE_HZ};

/// Length of the frames that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLength {
    /// 10 ms: the lowest delay.
    Ms10,
    /// 20 ms: half the packets.
    Ms20,
    /// 40 ms: for a narrow path, where the headers of more packets would take more than the voice.
    Ms40,
    /// 60 ms: for a very narrow path.
    Ms60,
}

impl FrameLength {
    /// By milliseconds, among those that a user chooses from; None unless 10 or 20.
    pub fn from_ms(ms: u32) -> Option<Self> {
        match ms {
            10 => Some(Self::Ms10),
            20 => Some(Self::Ms20),
            _ => None,
        }
    }

    /// In blocks of 10 ms.
    pub fn blocks(self) -> usize {
        match self {
            Self::Ms10 => 1,
            Self::Ms20 => 2,
            Self::Ms40 => 4,
            Self::Ms60 => 6,
        }
    }

    /// In milliseconds.
    pub fn ms(self) -> u32 {
        self.blocks() as u32 * BLOCK_MS
    }
}

/// How to encode.
///
/// The defaults are chosen by measurement: PESQ-WB of recorded words, without loss / with 5 % of random loss (mean of four
/// seeds) through this crate's own buffer and decoder (`chinwag-sim voice`). FEC exists in SILK and hybrid
/// packets only; libopus keeps to those for talk when FEC is asked for. With an expected loss of 5 % it adds FEC only
/// above about 34 kb/s at 10 ms; asked for more loss it gives up sound for FEC.
///
/// | frames | bitrate | no FEC | expects 5 % | expects 10 % | expects 20 % |
/// | --- | --- | --- | --- | --- | --- |
/// | 10 ms | 32 kb/s | 4.39 / 3.42 | 4.33 / 3.40 (no FEC in it) | 4.11 / 3.89 | 3.99 / 3.84 |
/// | 10 ms | 40 kb/s | 4.47 / 3.45 | 4.36 / 4.09 | 4.31 / 4.08 | 4.23 / 4.09 |
/// | 10 ms | 48 kb/s | 4.51 / 3.45 | 4.44 / 4.20 | 4.43 / 4.23 | 4.37 / 4.24 |
/// | 10 ms | 64 kb/s | 4.54 / 3.48 | 4.52 / 4.33 | 4.51 / 4.34 | 4.49 / 4.34 |
/// | 10 ms | **80 kb/s** | 4.50 / 2.69 (CELT) | **4.54 / 4.27** | 4.53 / 4.27 | 4.52 / 4.27 |
/// | 20 ms | 32 kb/s | 4.43 / 2.93 | 4.34 / 3.93 | 4.28 / 3.94 | 4.25 / 3.88 |
/// | 20 ms | 40 kb/s | 4.49 / 2.93 | 4.44 / 4.05 | 4.41 / 4.05 | 4.38 / 4.09 |
/// | 20 ms | 48 kb/s | 4.52 / 2.95 | 4.49 / 4.17 | 4.47 / 4.16 | 4.46 / 4.18 |
///
/// Synthetic speech (espeak-ng) decides between 64 and 80 kb/s: 4.20 and 4.27 without loss, 3.71 and 3.87 with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Frame length.
    pub frame: FrameLength,
    /// Bits a second, 6 000 to 128 000 (clamped).
    pub bitrate_bps: u32,
    /// The loss that in-band FEC (RFC 6716 §2.1.7) is to cover, 0 (no FEC) to 100.
    pub expected_loss_percent: u8,
    /// libopus's complexity, 0 to 10. 9 costs about half of what 10 does and sounds the same for talk at 40 kb/s.
    pub complexity: u8,
    /// Discontinuous transmission; off, since the gate in front of the encoder ends a spurt properly.
    pub dtx: bool,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            frame: FrameLength::Ms10,
            bitrate_bps: 80_000,
            expected_loss_percent: 5,
            complexity: 9,
            dtx: false,
        }
    }
}

/// What libopus said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError(&'static str);

impl From<opus::ErrorCode> for CodecError {
    fn from(code: opus::ErrorCode) -> Self {
        Self(code.message())
    }
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opus: {}", self.0)
    }
}

impl std::error::Error for CodecError {}

/// Length of a packet in blocks of 10 ms, from its TOC (RFC 6716 §3.1); None if it is no packet, or not of 10, 20, … 60 ms.
pub fn packet_blocks(packet: &[u8]) -> Option<usize> {
    if packet.is_empty() || packet.len() > MAX_OPUS_BYTES {
        return None;
    }
    let samples = opus::utils::get_nb_samples(packet, opus::SampleRate::Hz48000).ok()?;
    let blocks = samples / BLOCK;
    (samples % BLOCK == 0 && (1..=MAX_FRAME_BLOCKS).contains(&blocks)).then_some(blocks)
}

/// Whether a packet holds in-band FEC (a low bitrate copy, LBRR, of the frame before it; RFC 6716 §4.2.4). Told of
/// packets with one Opus frame, which is all that talkers here send; of others it is not known and denied.
pub fn has_fec(packet: &[u8]) -> bool {
    let [toc, first, ..] = *packet else { return false };
    // Configurations 0 to 11 are SILK, 12 to 15 hybrid, the others CELT, which has no FEC. Code 0: one frame.
    let (config, code) = (toc >> 3, toc & 3);
    // A SILK frame of 40 or 60 ms has a voice activity flag for each 20 ms in front of the FEC flag.
    let silk_frames = match config {
        0..=11 => u32::from(config & 3).max(1),
        12..=15 => 1,
        _ => return false,
    };
    code == 0 && (first >> (7 - silk_frames)) & 1 == 1
}

/// Most samples in one packet.
pub const MAX_FRAME_SAMPLES: usize = MAX_FRAME_BLOCKS * BLOCK;

/// Encodes 48 kHz mono.
pub struct Encoder {
    inner: opus::Encoder,
    frame: FrameLength,
    packet: [u8; MAX_OPUS_BYTES],
    clean: [f32; MAX_FRAME_SAMPLES],
    lookahead: usize,
}

impl Encoder {
    /// A new encoder; fails only if libopus does (no memory).
    pub fn new(config: EncoderConfig) -> Result<Self, CodecError> {
        let mut inner =
            opus::Encoder::new(opus::Channels::Mono, opus::SampleRate::Hz48000, opus::Application::Voip)?;
        inner.set_signal(opus::Signal::Voice)?;
        inner.set_complexity(config.complexity.min(10))?;
        inner.set_dtx(config.dtx)?;
        let lookahead = inner.get_look_ahead()? as usize;
        let mut made = Self {
            inner,
            frame: config.frame,
            packet: [0; MAX_OPUS_BYTES],
            clean: [0.0; MAX_FRAME_SAMPLES],
            lookahead,
        };
        made.set_bitrate(config.bitrate_bps)?;
        made.set_expected_loss(config.expected_loss_percent)?;
        Ok(made)
    }

    /// Changes the bitrate from the next frame on.
    pub fn set_bitrate(&mut self, bps: u32) -> Result<(), CodecError> {
        Ok(self.inner.set_bitrate(opus::Bitrate::Value(bps.clamp(6_000, 128_000)))?)
    }

    /// Changes what FEC is to cover from the next frame on; 0 switches FEC off.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        let fec = if percent == 0 { opus::InbandFec::Off } else { opus::InbandFec::Mode1 };
        self.inner.set_inband_fec(fec)?;
        Ok(self.inner.set_packet_loss(percent.min(100))?)
    }

    /// Frame length.
    pub fn frame(&self) -> FrameLength {
        self.frame
    }

    /// Changes the length of frames from the next one on.
    pub fn set_frame(&mut self, frame: FrameLength) {
        self.frame = frame;
    }

    /// Delay of encoder and decoder together, in samples at 48 kHz: the real sound begins that much later.
    pub fn lookahead_samples(&self) -> usize {
        self.lookahead
    }

    /// Encodes a frame (`frame().blocks() * BLOCK` samples, else an error) to a packet of at most
    /// [`MAX_OPUS_BYTES`]. Samples out of range are clamped, a NaN is silence.
    pub fn encode(&mut self, samples: &[f32]) -> Result<&[u8], CodecError> {
        let length = self.frame.blocks() * BLOCK;
        if samples.len() != length {
            return Err(CodecError("a frame of the wrong length"));
        }
        for (clean, &sample) in self.clean.iter_mut().zip(samples) {
            *clean = if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) };
        }
        let bytes = self.inner.encode_float_to_slice(&self.clean[..length], &mut self.packet)?;
        Ok(&self.packet[..bytes])
    }
}

/// Decodes to 48 kHz mono. Its state can be copied ([`Decoder::copy_from`]), for which opusic-c has no way.
pub struct Decoder {
    /// libopus's `OpusDecoder`, which is "always continuous in memory and only a shallow copy is sufficient to copy it" (opus.h).
    state: Box<[u128]>,
}

impl Decoder {
    /// A new decoder; fails only if libopus does.
    pub fn new() -> Result<Self, CodecError> {
        // SAFETY: asks for a size and has no other effect.
        let bytes = unsafe { sys::opus_decoder_get_size(1) };
        let bytes =
            usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).ok_or(opus::ErrorCode::Internal)?;
        let mut state = vec![0_u128; bytes.div_ceil(size_of::<u128>())].into_boxed_slice();
        // SAFETY: the memory is as long as libopus asked for, aligned to 16 bytes, and lent for this call only.
        let code = unsafe { sys::opus_decoder_init(state.as_mut_ptr().cast(), SAMPLE_RATE_HZ as i32, 1) };
        check(code)?;
        Ok(Self { state })
    }

    /// Becomes what `other` is. Allocates nothing.
    pub fn copy_from(&mut self, other: &Self) {
        self.state.copy_from_slice(&other.state);
    }

    /// Decodes a packet into `out` and gives the number of blocks. A packet that is none changes nothing.
    pub fn decode(&mut self, packet: &[u8], out: &mut [f32; MAX_FRAME_SAMPLES]) -> Result<usize, CodecError> {
        let blocks = packet_blocks(packet).ok_or(CodecError("not a packet of 10 to 60 ms"))?;
        let samples = self.run(packet, out, false)?;
        if samples == blocks * BLOCK { Ok(blocks) } else { Err(CodecError("a packet of another length")) }
    }

    /// Recovers the frame *before* `packet` from its in-band FEC (RFC 6716 §2.1.7), as long as the packet's own; if there is no FEC in
    /// it, libopus conceals.
    pub fn decode_fec(
        &mut self,
        packet: &[u8],
        out: &mut [f32; MAX_FRAME_SAMPLES],
    ) -> Result<usize, CodecError> {
        let blocks = packet_blocks(packet).ok_or(CodecError("not a packet of 10 to 60 ms"))?;
        self.run(packet, &mut out[..blocks * BLOCK], true)?;
        Ok(blocks)
    }

    /// Conceals a lost block (libopus's packet loss concealment).
    pub fn conceal(&mut self, out: &mut Block) -> Result<(), CodecError> {
        self.run(&[], out, false).map(drop)
    }

    /// The samples written to the beginning of `out`.
    fn run(&mut self, packet: &[u8], out: &mut [f32], is_fec: bool) -> Result<usize, CodecError> {
        let bytes = if packet.is_empty() { std::ptr::null() } else { packet.as_ptr() };
        let (length, room) =
            (packet.len().min(MAX_OPUS_BYTES) as i32, out.len().min(MAX_FRAME_SAMPLES) as i32);
        let state = self.state.as_mut_ptr().cast();
        // SAFETY: the state was initialised by `new` or copied from one that was; packet and `out` are as long as is said.
        let code =
            unsafe { sys::opus_decode_float(state, bytes, length, out.as_mut_ptr(), room, is_fec.into()) };
        let samples = check(code)?.min(out.len());
        sane(&mut out[..samples]);
        Ok(samples)
    }
}

/// What libopus answered: a number, or one of its errors.
fn check(code: i32) -> Result<usize, CodecError> {
    usize::try_from(code).map_err(|_| opus::ErrorCode::from(code).into())
}

/// A hostile packet may decode to anything; a loud but finite sound is the limiter's business.
fn sane(samples: &mut [f32]) {
    for sample in samples {
        *sample = if sample.is_nan() { 0.0 } else { sample.clamp(-2.0, 2.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_comes_back_after_the_lookahead() {
        for frame in [FrameLength::Ms10, FrameLength::Ms20] {
            let mut encoder = Encoder::new(EncoderConfig { frame, ..EncoderConfig::default() }).unwrap();
            let mut decoder = Decoder::new().unwrap();
            assert_eq!(encoder.lookahead_samples(), 312, "6.5 ms");
            let said = crate::sample::voice(1, 2);
            let mut heard = Vec::new();
            let mut out = [0.0; MAX_FRAME_SAMPLES];
            for chunk in said.chunks_exact(frame.blocks() * BLOCK) {
                let packet = encoder.encode(chunk).unwrap();
                assert_eq!(packet_blocks(packet), Some(frame.blocks()));
                let blocks = decoder.decode(packet, &mut out).unwrap();
                heard.extend_from_slice(&out[..blocks * BLOCK]);
            }
            let found = crate::compare::align(&said, &heard);
            assert!((found.offset_samples - 312).abs() < 24, "{frame:?}: {found:?}");
            assert!(found.correlation > 0.9, "{frame:?}: {found:?}");
        }
    }

    #[test]
    fn fec_is_in_what_the_defaults_send_and_in_nothing_else() {
        let with_fec = |frame, expected_loss_percent, bitrate_bps| {
            let config =
                EncoderConfig { frame, expected_loss_percent, bitrate_bps, ..EncoderConfig::default() };
            let mut encoder = Encoder::new(config).unwrap();
            let said = crate::sample::voice(1, 2);
            let frames = said.chunks_exact(frame.blocks() * BLOCK);
            let count = frames.len();
            frames.filter(|samples| has_fec(encoder.encode(samples).unwrap())).count() * 100 / count
        };
        for frame in [FrameLength::Ms10, FrameLength::Ms20] {
            let EncoderConfig { expected_loss_percent, bitrate_bps, .. } = EncoderConfig::default();
            let percent = with_fec(frame, expected_loss_percent, bitrate_bps);
            assert!(percent > 60, "{frame:?}: {percent} %");
            assert_eq!(with_fec(frame, 0, bitrate_bps), 0, "{frame:?}: switched off");
        }
        let percent = with_fec(FrameLength::Ms10, 5, 32_000);
        assert!(percent < 10, "no room for it: {percent} %");
        // Empty, without a body, CELT, and two frames in one packet.
        for packet in [&[][..], &[0], &[18 << 3, 0xff], &[1, 0xff]] {
            assert!(!has_fec(packet), "{packet:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_and_harms_nothing() {
        let mut decoder = Decoder::new().unwrap();
        let mut out = [0.0; MAX_FRAME_SAMPLES];
        let too_long = [0xff_u8; MAX_OPUS_BYTES + 1];
        // TOC 0xff: code 3 without a count; 0xe0: 2.5 ms.
        for packet in [&[][..], &[0xff], &[0xe0, 1, 2], &too_long] {
            assert_eq!(packet_blocks(packet), None);
            assert!(decoder.decode(packet, &mut out).is_err());
            assert!(decoder.decode_fec(packet, &mut out).is_err());
        }
        let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
        assert!(encoder.encode(&[0.0; 100]).is_err());
        let loud = [f32::NAN, f32::INFINITY, -9.0, 1.0].repeat(BLOCK / 4);
        let packet = encoder.encode(&loud).unwrap();
        assert_eq!(decoder.decode(packet, &mut out).unwrap(), 1);
        assert!(out[..BLOCK].iter().all(|s| s.is_finite()));
    }
}
