//! WAV files in the place of a microphone and a speaker, on the clock of a sound card.

use std::path::Path;

use crate::{
    BLOCK_TIME, BLOCK_US, Block, Instant, SILENCE,
    io::{MicRead, Microphone, Speaker},
    limits::MAX_CATCH_UP_BLOCKS,
    wav::{WavError, WavSink, WavSource},
};

/// Blocks between rendering and hearing, as in a sound card that plays one block while the next is made.
const IN_FLIGHT_BLOCKS: u64 = 1;

/// A WAV file replayed in real time: its block *k* has been captured, and can be read, at *k* + 1 blocks after the start.
pub struct WavMicrophone {
    source: WavSource,
    started: Option<Instant>,
    blocks: u64,
    is_spent: bool,
}

impl WavMicrophone {
    /// Opens a file; it is replayed from [`Microphone::start`] on.
    ///
    /// # Errors
    /// When the file is no WAV that can be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WavError> {
        Ok(Self { source: WavSource::open(path)?, started: None, blocks: 0, is_spent: false })
    }
}

impl Microphone for WavMicrophone {
    fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    fn read(&mut self, now: Instant, block: &mut Block) -> MicRead {
        if self.is_spent {
            return MicRead::Spent;
        }
        if self.due(now).is_none_or(|due| due > now) {
            return MicRead::NotYet;
        }
        self.blocks += 1;
        self.is_spent = !self.source.read(block);
        if self.is_spent { MicRead::Spent } else { MicRead::Block }
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        let started = self.started.filter(|_| !self.is_spent)?;
        Some(after_blocks(started, self.blocks + 1))
    }

    fn started(&self) -> Option<Instant> {
        self.started
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.source.take_fault().map(|fault| fault.to_string())
    }
}

/// A WAV file that holds what was heard from the start on, silence included. A block rendered at a moment is heard one
/// block later; the length of the file follows the clock, whatever the machine does.
pub struct WavSpeaker {
    sink: WavSink,
    started: Option<Instant>,
    /// Blocks rendered.
    blocks: u64,
}

impl WavSpeaker {
    /// Creates the file; it is written from [`Speaker::start`] on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, WavError> {
        Ok(Self { sink: WavSink::create(path)?, started: None, blocks: 0 })
    }

    /// As [`Self::create`], with two channels.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create_stereo(path: impl AsRef<Path>) -> Result<Self, WavError> {
        Ok(Self { sink: WavSink::create_stereo(path)?, started: None, blocks: 0 })
    }
}

impl Speaker for WavSpeaker {
    fn start(&mut self, now: Instant) {
        if self.started.is_none() {
            self.started = Some(now);
            for _ in 0..IN_FLIGHT_BLOCKS {
                self.sink.write(&SILENCE);
            }
        }
    }

    fn ready(&mut self, now: Instant) -> usize {
        let Some(started) = self.started else { return 0 };
        let elapsed_us = now.as_micros().saturating_sub(started.as_micros());
        let wanted = (elapsed_us / BLOCK_US + 1).saturating_sub(self.blocks);
        // What a stalled machine did not play in time was silence.
        for _ in MAX_CATCH_UP_BLOCKS..wanted {
            self.write(&SILENCE);
        }
        usize::try_from(wanted.min(MAX_CATCH_UP_BLOCKS)).unwrap_or(0)
    }

    fn write(&mut self, block: &Block) {
        self.write_stereo(block, block);
    }

    fn write_stereo(&mut self, left: &Block, right: &Block) {
        self.sink.write_stereo(left, right);
        self.blocks += 1;
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        self.started.map(|started| after_blocks(started, self.blocks))
    }

    fn started(&self) -> Option<Instant> {
        self.started
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.sink.take_fault().map(|fault| fault.to_string())
    }
}

impl Drop for WavSpeaker {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

fn after_blocks(start: Instant, blocks: u64) -> Instant {
    start + BLOCK_TIME * u32::try_from(blocks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK, rms};

    fn at(ms: u64) -> Instant {
        Instant::from_micros(7_000_000 + ms * 1000)
    }

    #[test]
    fn a_file_is_replayed_in_real_time_and_then_spent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let mut sink = WavSink::create(&path).unwrap();
        for _ in 0..3 {
            sink.write(&[0.25; BLOCK]);
        }
        sink.flush();
        let mut mic = WavMicrophone::open(&path).unwrap();
        let mut block = SILENCE;
        assert_eq!((mic.read(at(500), &mut block), mic.due(at(500))), (MicRead::NotYet, None));
        mic.start(at(0));
        assert_eq!((mic.read(at(9), &mut block), mic.due(at(9))), (MicRead::NotYet, Some(at(10))));
        assert_eq!(mic.read(at(10), &mut block), MicRead::Block);
        assert!((rms(&block) - 0.25).abs() < 0.001);
        // Late, it gives what has gathered.
        assert_eq!(mic.read(at(35), &mut block), MicRead::Block);
        assert_eq!(mic.read(at(35), &mut block), MicRead::Block);
        assert_eq!(mic.read(at(35), &mut block), MicRead::NotYet);
        assert_eq!((mic.read(at(40), &mut block), mic.due(at(40))), (MicRead::Spent, None));
        assert_eq!(mic.started(), Some(at(0)));
    }

    #[test]
    fn a_written_file_follows_the_clock_with_one_block_in_flight() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let mut speaker = WavSpeaker::create(&path).unwrap();
        assert_eq!(speaker.ready(at(0)), 0);
        speaker.start(at(0));
        assert_eq!(speaker.ready(at(0)), 1);
        speaker.write(&[0.5; BLOCK]);
        assert_eq!((speaker.ready(at(9)), speaker.due(at(9))), (0, Some(at(10))));
        assert_eq!(speaker.ready(at(20)), 2);
        speaker.write(&[0.5; BLOCK]);
        speaker.write(&[0.5; BLOCK]);
        // A second later only the last blocks are asked for; silence fills the rest.
        assert_eq!(speaker.ready(at(1_020)) as u64, MAX_CATCH_UP_BLOCKS);
        for _ in 0..MAX_CATCH_UP_BLOCKS {
            speaker.write(&[0.5; BLOCK]);
        }
        drop(speaker);
        let mut source = WavSource::open(&path).unwrap();
        let (mut loud, mut block) = (vec![], SILENCE);
        while source.read(&mut block) {
            loud.push(rms(&block) > 0.4);
        }
        assert_eq!(loud.len(), 104);
        let at_end = 104 - MAX_CATCH_UP_BLOCKS as usize;
        for (index, loud) in loud.iter().enumerate() {
            assert_eq!(*loud, (1..=3).contains(&index) || index >= at_end, "block {index}");
        }
    }
}
