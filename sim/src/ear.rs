//! A client's ear without sound: the jitter buffers of all who talk, pulled every 10 ms while there is something to hear.

use std::collections::BTreeMap;

use chinwag_audio::{
    self as audio, Instant,
    jitter::{JitterBuffer, Pull},
};
use chinwag_proto::wire::voice::Frames;

/// Between two pulls.
pub(crate) const BLOCK_US: u64 = audio::BLOCK_US;
/// Talkers that are remembered; one more, and those who are silent are forgotten.
const TALKERS: usize = 256;

#[derive(Debug, Default)]
struct Line {
    buffer: JitterBuffer,
    /// Blocks of the last frame that are yet to be played.
    left: u32,
}

/// What the ear does next with one talker's voice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sound<'a> {
    /// A frame of a session.
    Frame(u32, &'a [u8]),
    Concealed,
}

#[derive(Debug, Default)]
pub(crate) struct Ear {
    lines: BTreeMap<u32, Line>,
    is_listening: bool,
    /// When it is pulled next.
    due_us: u64,
}

impl Ear {
    /// Sessions have other numbers from now on.
    pub(crate) fn forget_all(&mut self) {
        self.lines.clear();
    }

    /// Takes a payload; true when the ear has to be pulled from `world_us` on.
    pub(crate) fn hear(&mut self, world_us: u64, now: Instant, payload: &[u8]) -> bool {
        for (frame, copy) in Frames::parse(payload).into_iter().flat_map(Frames::with_copies) {
            let talker = frame.talker.to_wire();
            if self.lines.len() >= TALKERS && !self.lines.contains_key(&talker) {
                self.lines.retain(|_, line| line.left > 0 || !line.buffer.is_idle());
            }
            let (sequence, end, level, opus) = (frame.sequence, frame.end, frame.level, frame.opus);
            let frame = audio::VoiceFrame { talker, sequence, end, copy, level, opus };
            self.lines.entry(talker).or_default().buffer.push(now, &frame);
        }
        if !self.is_listening {
            self.due_us = world_us;
        }
        !std::mem::replace(&mut self.is_listening, true)
    }

    /// Plays 10 ms; false when there is nothing to hear any more, or it is not the time (a pull that an earlier ear planned).
    pub(crate) fn pull(&mut self, world_us: u64, now: Instant, play: &mut impl FnMut(Sound<'_>)) -> bool {
        if !self.is_listening || world_us < self.due_us {
            return false;
        }
        self.due_us = world_us + BLOCK_US;
        for (&talker, line) in &mut self.lines {
            while line.left == 0 {
                line.left = match line.buffer.pull(now) {
                    Pull::Frame { opus, blocks, skip, .. } => {
                        play(Sound::Frame(talker, opus));
                        blocks.saturating_sub(skip)
                    }
                    Pull::Fec { blocks, skip, .. } => blocks.saturating_sub(skip),
                    Pull::Late { .. } => continue,
                    Pull::Conceal => {
                        play(Sound::Concealed);
                        1
                    }
                    Pull::Silence => break,
                };
            }
            line.left = line.left.saturating_sub(1);
        }
        // Who is silent is remembered: what comes late or twice is of an earlier spurt.
        self.is_listening = self.lines.values().any(|line| line.left > 0 || !line.buffer.is_idle());
        self.is_listening
    }
}
