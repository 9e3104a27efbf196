//! Every limit of the crate, named, with what happens there.

/// Longest Opus packet taken, in bytes; a longer one is counted as bad and dropped.
pub const MAX_OPUS_BYTES: usize = 1000;
/// Longest frame taken, in blocks of 10 ms; a longer one is counted as bad and dropped.
pub const MAX_FRAME_BLOCKS: usize = 6;
/// Copies of older frames in one datagram; more are not set.
pub const MAX_COPIES: usize = 3;
/// How many frames a copy reaches back at most; one farther back is not set.
pub const MAX_REACH_FRAMES: usize = 12;
/// Opus bytes in one datagram, copies included; the oldest copies that do not fit are left out. With a header for each of four
/// frames this fits the 1171 bytes of a voice payload.
pub const MAX_DATAGRAM_OPUS_BYTES: usize = 1100;
/// How far back, in blocks of 10 ms, a frame that comes too late to be played still puts the decoder right; later ones are not decoded.
pub const MEND_BLOCKS: usize = 10;
/// Frames held for one talker; at the limit the oldest is dropped and counted as overflow.
pub const MAX_BUFFERED_FRAMES: usize = 100;
/// The deepest delay that the jitter buffer aims at.
pub const MAX_TARGET_US: i64 = 400_000;
/// The deepest that it aims at for what it was told of the path, before frames say what is needed.
pub const MAX_PRIOR_US: i64 = 85_000;
/// More delay than this above the target is cut at once: the oldest frames are dropped and counted as overflow.
pub const MAX_EXCESS_US: i64 = 300_000;
/// Talkers with a decoder at one time; at the limit the longest idle one makes room, and if nobody is idle the new
/// talker's frames are dropped and counted as refused.
pub const MAX_TALKERS: usize = 64;
/// A talker that was silent for this long gives up its decoder.
pub const TALKER_IDLE: crate::Duration = crate::Duration::from_secs(60);
/// Talkers with a volume or mute remembered (one that left may come back); at the limit a new one is refused.
pub const MAX_VOLUMES: usize = 1024;
/// Levels of speech remembered of talkers that are gone; at the limit one is forgotten, and that talker, if it comes back, begins
/// as an unknown one.
pub const MAX_LEVELS: usize = 1024;
/// The loudest volume: +12 dB.
pub const MAX_VOLUME: f32 = 4.0;
/// Sample rates accepted from a WAV file or a device.
pub const SAMPLE_RATES_HZ: core::ops::RangeInclusive<u32> = 4_000..=384_000;
/// Blocks that a pump moves each way in one turn; the rest waits for the next turn, which is then due at once.
pub const MAX_BLOCKS_PER_TURN: usize = 50;
/// Blocks that a clocked speaker asks for after a stall; what lies further back is silence.
pub const MAX_CATCH_UP_BLOCKS: u64 = 4;
/// Longest WAV file written (16-bit mono, a WAV can hold 12.4 h; a stereo one is half as long); sound after it is dropped and reported once.
pub const MAX_WAV_BLOCKS: u64 = 12 * 3600 * 100;
/// Sound held between a device and the pump, in milliseconds; beyond it, what a microphone captures is counted as overflowed
/// and silence takes its place, and what is rendered for a speaker is not heard.
pub const DEVICE_RING_MS: u32 = 200;
/// The same for a device that insists on buffers larger than 50 ms.
pub const LARGE_DEVICE_RING_MS: u32 = 2000;
/// Blocks of the far end that wait for the microphone's in the echo canceller; at the limit the microphone is not running, and
/// those that wait are dropped.
pub const MAX_FAR_BLOCKS: usize = 16;
/// Classic members of one room's gateway; one more is refused.
pub const MAX_CLASSIC: usize = 128;
/// Classic members who are encoded at one time; whoever begins to talk beyond that is not heard until another one stops, and
/// what was said is counted as crowded.
pub const MAX_CLASSIC_TALKERS: usize = 16;
/// Sample rates of a classic member.
pub const PCM_RATES_HZ: core::ops::RangeInclusive<u32> = 8_000..=96_000;
/// Channels of a classic member.
pub const MAX_PCM_CHANNELS: u16 = 8;
/// PCM that waits for its turn, of one classic member; beyond it, and beyond what the gateway itself is late, the oldest is dropped and counted.
pub const MAX_PCM_MS: u32 = 200;
/// Turns of 10 ms that a gateway catches up with when it is late; what lies further back is left out and counted.
pub const MAX_LATE_TURNS: u64 = 50;
