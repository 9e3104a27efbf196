//! What arrives of several talkers, and what a listener does, in any order and of any bytes: what is played is in range, talkers
//! and frames are bounded, every frame is accounted for. Frames are real ones, spoilt ones, and no frames at all.

use std::sync::OnceLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use chinwag_audio::{
    BLOCK, BLOCK_TIME, Block, Duration, Instant, SILENCE, VoiceFrame,
    codec::{Encoder, EncoderConfig, FrameLength, packet_blocks},
    limits::MAX_TALKERS,
    mix::Placing,
    playout::Playout,
    sample,
};

use crate::ear::Ear;

/// Talkers that speak in turn with their clocks; any others may call out.
const TALKERS: u32 = 4;
/// Blocks of all talkers that are rendered in one history; it ends there.
const MOST_BLOCKS: usize = 3_000;

/// Input: a list of [`Op`]s.
pub fn jitter(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut listener = Listener::new();
    while !u.is_empty() && listener.left > 0 {
        let Ok(op) = u.arbitrary::<Op>() else { break };
        listener.play(op);
    }
    listener.ear.finish(listener.now);
}

/// One thing that happens.
#[derive(Debug)]
enum Op {
    /// A real frame, so many blocks from where the talker is, maybe spoilt: this byte of it changed so.
    Frame {
        talker: u8,
        away: i8,
        packet: u8,
        marks: Marks,
        spoil: Option<(u8, u8)>,
    },
    /// Any frame.
    Raw {
        talker: u8,
        sequence: u32,
        marks: Marks,
        opus: Vec<u8>,
    },
    /// A talker's sequence goes elsewhere for good.
    Jump {
        talker: u8,
        by: u32,
    },
    /// So many others begin to talk at once.
    Crowd(u32),
    /// So many blocks are played.
    Render {
        blocks: u8,
        is_stereo: bool,
    },
    /// Nothing is played for so many milliseconds.
    Stall(u16),
    Volume {
        talker: u8,
        volume: f32,
    },
    Muted {
        talker: u8,
        is_muted: bool,
    },
    AutoLevel(bool),
    Placing(bool),
    Forget(u8),
    Spread(u16),
    Reports,
}

#[derive(Clone, Copy, Debug)]
struct Marks {
    end: bool,
    copy: bool,
    level: u8,
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let talker = u.arbitrary()?;
        Ok(match u.arbitrary::<u8>()? % 32 {
            0..=11 => {
                let away = match u.arbitrary::<u8>()? {
                    byte @ 0..=15 => byte as i8 - 8,
                    byte if byte < 240 => 0,
                    _ => u.arbitrary()?,
                };
                let spoil = if u.ratio(1u8, 8u8)? { Some(u.arbitrary()?) } else { None };
                Self::Frame { talker, away, packet: u.arbitrary()?, marks: u.arbitrary()?, spoil }
            }
            12..=14 => {
                let (sequence, marks) = (u.arbitrary()?, u.arbitrary()?);
                let length = usize::from(u.arbitrary::<u8>()?).min(u.len());
                // The one whom the ear hears, too, is met most often.
                let talker = if talker < 128 { talker } else { 0 };
                Self::Raw { talker, sequence, marks, opus: u.bytes(length)?.to_vec() }
            }
            15 => Self::Jump { talker, by: u.arbitrary()? },
            16 => Self::Crowd(match u.arbitrary::<u8>()? {
                // More than there is room for; making decoders takes time.
                byte @ 248.. => MAX_TALKERS as u32 + u32::from(byte - 248),
                byte => u32::from(byte % 4),
            }),
            17..=24 => Self::Render { blocks: talker % 32, is_stereo: u.ratio(1u8, 4u8)? },
            25 => Self::Stall(u.arbitrary()?),
            26 => Self::Volume { talker, volume: f32::from_bits(u.arbitrary()?) },
            27 => Self::Muted { talker, is_muted: u.arbitrary()? },
            28 if talker < 128 => Self::AutoLevel(u.arbitrary()?),
            28 => Self::Placing(u.arbitrary()?),
            29 => Self::Forget(talker),
            30 => Self::Spread(u.arbitrary()?),
            _ => Self::Reports,
        })
    }
}

impl<'a> Arbitrary<'a> for Marks {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let byte = u.arbitrary::<u8>()?;
        Ok(Self { end: byte & 7 == 7, copy: byte & 0x18 == 0x18, level: byte >> 1 })
    }
}

/// Real packets: some of each length, with in-band FEC and without.
fn packets() -> &'static [Vec<Vec<u8>>] {
    static PACKETS: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    PACKETS.get_or_init(|| {
        let said = sample::voice(1, 1);
        let kinds = [
            (FrameLength::Ms10, 5),
            (FrameLength::Ms10, 0),
            (FrameLength::Ms20, 5),
            (FrameLength::Ms40, 5),
            (FrameLength::Ms60, 5),
        ];
        let encoded = kinds.map(|(frame, expected_loss_percent)| {
            let config = EncoderConfig { frame, expected_loss_percent, ..EncoderConfig::default() };
            let mut encoder = Encoder::new(config).expect("no encoder");
            let encode = |samples| encoder.encode(samples).expect("no packet").to_vec();
            said.chunks_exact(frame.blocks() * BLOCK).map(encode).collect()
        });
        encoded.to_vec()
    })
}

/// One of [`TALKERS`].
#[derive(Clone, Copy)]
struct Voice {
    sequence: u32,
    frames: usize,
}

struct Listener {
    playout: Playout,
    /// Hears the first talker, too.
    ear: Ear,
    now: Instant,
    voices: [Voice; TALKERS as usize],
    /// Frames that were received, were neither refused nor malformed.
    taken: u64,
    left: usize,
}

impl Listener {
    fn new() -> Self {
        // Close to where sequences wrap, each otherwise.
        let voices =
            std::array::from_fn(|n| Voice { sequence: 0_u32.wrapping_sub(20 * n as u32), frames: 0 });
        Self {
            playout: Playout::new(),
            ear: Ear::default(),
            now: Instant::from_micros(1),
            voices,
            taken: 0,
            left: MOST_BLOCKS,
        }
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Frame { talker, away, packet, marks, spoil } => {
                let talker = u32::from(talker) % TALKERS;
                let voice = &mut self.voices[talker as usize];
                let kind = &packets()[usize::from(packet) % packets().len()];
                let mut opus = kind[voice.frames % kind.len()].clone();
                let blocks = packet_blocks(&opus).unwrap_or(1) as u32;
                let sequence = voice.sequence.wrapping_add_signed(away.into());
                if !marks.copy {
                    voice.sequence = voice.sequence.wrapping_add(blocks);
                    voice.frames += 1;
                }
                if let Some((at, with)) = spoil {
                    let at = usize::from(at) % opus.len();
                    opus[at] ^= with;
                }
                self.receive(talker, sequence, marks, &opus);
            }
            Op::Raw { talker, sequence, marks, opus } => self.receive(talker.into(), sequence, marks, &opus),
            Op::Jump { talker, by } => {
                let voice = &mut self.voices[(u32::from(talker) % TALKERS) as usize];
                voice.sequence = voice.sequence.wrapping_add(by);
            }
            Op::Crowd(count) => {
                let marks = Marks { end: false, copy: false, level: 30 };
                let opus = &packets()[0][0];
                (0..count).for_each(|n| self.receive(1_000 + n, n, marks, opus));
            }
            Op::Render { blocks, is_stereo } => (0..=blocks).for_each(|_| self.render(is_stereo)),
            Op::Stall(ms) => self.now = self.now + Duration::from_millis(ms.into()),
            Op::Volume { talker, volume } => {
                assert!(self.playout.set_volume(talker.into(), volume) != volume.is_nan());
            }
            Op::Muted { talker, is_muted } => assert!(self.playout.set_muted(talker.into(), is_muted)),
            Op::AutoLevel(is_on) => self.playout.set_auto_level(is_on),
            Op::Placing(is_spread) => {
                self.playout.set_placing(if is_spread { Placing::Spread } else { Placing::Mono });
            }
            Op::Forget(talker) => {
                self.playout.forget(talker.into());
                assert!(!self.playout.is_heard(talker.into()));
            }
            Op::Spread(ms) => {
                let spread = Duration::from_millis(ms.into());
                self.playout.expect_spread(spread);
                self.ear.expect(spread);
            }
            Op::Reports => {
                self.playout.reports(self.now, &mut |_, report| {
                    assert_eq!(report, report.sane());
                    assert!(report.unrecovered_per_mille <= report.lost_per_mille, "{report:?}");
                });
                self.ear.report(self.now);
            }
        }
        self.judge();
    }

    fn receive(&mut self, talker: u32, sequence: u32, marks: Marks, opus: &[u8]) {
        let Marks { end, copy, level } = marks;
        let frame = VoiceFrame { talker, sequence, end, copy, level, opus };
        let refused = self.playout.stats().refused;
        self.playout.receive(self.now, frame);
        let is_refused = self.playout.stats().refused > refused;
        self.taken += u64::from(!is_refused && packet_blocks(opus).is_some());
        if talker == 0 {
            self.ear.push(self.now, &frame);
        }
    }

    fn render(&mut self, is_stereo: bool) {
        let mut sides: [Block; 2] = [SILENCE; 2];
        if is_stereo {
            self.playout.render_stereo(self.now, &mut sides);
        } else {
            self.playout.render(self.now, &mut sides[0]);
        }
        // Which no NaN is.
        assert!(sides.as_flattened().iter().all(|sample| (-1.0..=1.0).contains(sample)), "out of range");
        self.ear.step(self.now);
        self.now = self.now + BLOCK_TIME;
        self.left = self.left.saturating_sub(1 + self.playout.stats().talkers);
    }

    fn judge(&self) {
        let stats = self.playout.stats();
        assert!(stats.talkers <= MAX_TALKERS);
        assert_eq!(stats.total.received, self.taken, "a frame that nobody counted");
        for (_, stats) in self.playout.talkers() {
            assert!(stats.delay_ms < 60_000_000 && stats.target_ms <= 400, "{stats:?}");
        }
    }
}
