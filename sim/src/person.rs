//! What the user of one client does: says things of every size, talks in spurts, is silent.
//!
//! Every message and every voice frame names who made it and its number, so that checkers need no memory of it.

use chinwag_proto::{ReceiverReport, Rng, limits::MESSAGE_BYTES};

use crate::{
    random::{MILLION, between, chance},
    spec::{Key, Spec},
};

/// Messages of the largest size, in a million.
const LARGEST_PPM: u32 = 20_000;
/// After so long somebody starts the program again.
const BACK_US: (u64, u64) = (500_000, 5_000_000);
/// Between two messages, in microseconds.
const SAY_PAUSE_US: (u64, u64) = (100_000, 5_000_000);
/// Between two whims.
const WHIM_PAUSE_US: (u64, u64) = (50_000, 3_000_000);
/// A message that is followed at once by another.
const BURST_PPM: u32 = 150_000;
/// A message that is followed by so many of the largest size, faster than the server takes them.
const FLOOD_PPM: u32 = 30_000;
const FLOOD_MESSAGES: u32 = 100;
/// A talk spurt, and the silence after it.
const SPURT_US: (u64, u64) = (200_000, 4_000_000);
const SILENCE_US: (u64, u64) = (500_000, 8_000_000);
/// The unit of media time.
const BLOCK_US: u64 = 10_000;
/// Bytes of a fake Opus packet.
const OPUS_BYTES: (u64, u64) = (20, 160);
/// Bytes of length, talker and number at its beginning.
const STAMP_BYTES: usize = 13;
/// The first byte of an Opus packet of one frame of 10 or 20 ms (RFC 6716, 3.1: fullband CELT).
const TOC_10_MS: u8 = 30 << 3;
const TOC_20_MS: u8 = 31 << 3;
/// What messages are made of.
const WORDS: [&str; 6] = ["hello", "{quit}", "Grüße", "日本語", "👩‍👩‍👧", "\u{1b}[2J"];

/// The `number`-th message of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Message {
    pub(crate) client: u32,
    pub(crate) number: u64,
}

impl Message {
    /// Which message a text is, if it is one of ours, unchanged in length.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (client, number, bytes) = (number()?, number()?, number()?);
        (bytes == text.len() as u64).then_some(Self { client: u32::try_from(client).ok()?, number })
    }
}

/// A voice frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Speech {
    pub(crate) sequence: u32,
    pub(crate) end: bool,
    pub(crate) level: u8,
    pub(crate) opus: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Person {
    client: u32,
    rng: Rng,
    frame_us: u64,
    /// When the first frame was made.
    first_us: Option<u64>,
    /// The media time of the next one.
    next_block: u64,
    talks: bool,
    text_ppm: u32,
    restless_ppm: u32,
    messages: u64,
    frames: u64,
    spurt_until_us: u64,
    flood_left: u32,
    /// The chances of what it does beside talking, if it does.
    pub(crate) wander: Option<Rng>,
}

impl Person {
    pub(crate) fn new(client: u32, spec: &Spec, mut rng: Rng) -> Self {
        let frame_us = if chance(&mut rng, 500_000) { 10_000 } else { 20_000 };
        let talks = chance(&mut rng, spec.ppm(Key::Talk));
        let text_ppm = spec.ppm(Key::Text);
        let restless_ppm = spec.ppm(Key::Restless);
        let (messages, frames, spurt_until_us, flood_left) = (0, 0, 0, 0);
        Self {
            client,
            rng,
            frame_us,
            first_us: None,
            next_block: 0,
            talks,
            text_ppm,
            restless_ppm,
            messages,
            frames,
            spurt_until_us,
            flood_left,
            wander: None,
        }
    }

    /// When to follow a whim next.
    pub(crate) fn whim_pause(&mut self) -> u64 {
        self.wander.as_mut().map_or(u64::MAX, |rng| between(rng, WHIM_PAUSE_US.0, WHIM_PAUSE_US.1))
    }

    /// Whether this one ever talks.
    pub(crate) fn talks(&self) -> bool {
        self.talks
    }

    /// When to start the program again after it ended for some reason.
    pub(crate) fn comes_back_after(&mut self) -> u64 {
        between(&mut self.rng, BACK_US.0, BACK_US.1)
    }

    /// When to come back after leaving, if ever.
    pub(crate) fn returns_after(&mut self) -> Option<u64> {
        let after_us = between(&mut self.rng, BACK_US.0, 4 * BACK_US.1);
        chance(&mut self.rng, self.restless_ppm / 2).then_some(after_us)
    }

    /// When to join, in microseconds.
    pub(crate) fn joins_after(&mut self, spread_us: u64) -> u64 {
        between(&mut self.rng, 0, spread_us)
    }

    /// When to leave, if before the end of a run that takes `run_us`. The first client never does.
    pub(crate) fn leaves_after(&mut self, run_us: u64) -> Option<u64> {
        let leaves_us = between(&mut self.rng, run_us / 2, run_us);
        (chance(&mut self.rng, self.restless_ppm) && self.client > 0).then_some(leaves_us)
    }

    /// When to say something next.
    pub(crate) fn say_pause(&mut self) -> u64 {
        if self.flood_left > 0 || chance(&mut self.rng, BURST_PPM) {
            0
        } else {
            let pause_us = between(&mut self.rng, SAY_PAUSE_US.0, SAY_PAUSE_US.1);
            pause_us * u64::from(MILLION) / u64::from(self.text_ppm.max(1))
        }
    }

    /// The next message.
    pub(crate) fn text(&mut self) -> (Message, String) {
        self.messages += 1;
        let message = Message { client: self.client, number: self.messages };
        let is_largest = chance(&mut self.rng, LARGEST_PPM) || self.flood_left > 0;
        self.flood_left = match self.flood_left {
            0 if chance(&mut self.rng, FLOOD_PPM) => FLOOD_MESSAGES,
            left => left.saturating_sub(1),
        };
        let words = self.rng.below(20);
        let mut words: String =
            (0..words).map(|_| WORDS[self.rng.below(WORDS.len() as u64) as usize]).collect();
        if is_largest {
            words = "x".repeat(MESSAGE_BYTES);
        }
        let head = |bytes: usize| format!("{} {} {bytes:04} ", message.client, message.number);
        while words.len() + head(0).len() > MESSAGE_BYTES {
            words.pop();
        }
        let head = head(head(0).len() + words.len());
        (message, head + &words)
    }

    /// How many of the frames before it a frame carries once more.
    pub(crate) fn copies(&self) -> usize {
        self.client as usize % 3
    }

    /// Something to report of another's voice, after some of one's own frames.
    pub(crate) fn report(&self) -> Option<ReceiverReport> {
        let lost_per_mille = (self.frames % 1200) as u16;
        let report = ReceiverReport { lost_per_mille, ..ReceiverReport::default() };
        self.frames.is_multiple_of(10).then_some(report)
    }

    /// True within a talk spurt.
    pub(crate) fn is_talking(&self, now_us: u64) -> bool {
        now_us < self.spurt_until_us
    }

    /// When to begin to talk.
    pub(crate) fn silence(&mut self) -> u64 {
        between(&mut self.rng, SILENCE_US.0, SILENCE_US.1) / BLOCK_US * BLOCK_US
    }

    /// The next frame, and after how long there is another one.
    pub(crate) fn speech(&mut self, now_us: u64) -> (Speech, u64) {
        let first_us = *self.first_us.get_or_insert(now_us);
        if self.spurt_until_us < now_us {
            // Media time, in units of 10 ms: by the clock where a spurt begins, by what was said within it.
            let by_clock = (now_us + BLOCK_US / 2 - first_us) / BLOCK_US;
            self.next_block = self.next_block.max(by_clock);
            self.spurt_until_us = now_us + between(&mut self.rng, SPURT_US.0, SPURT_US.1);
        }
        self.frames += 1;
        let end = now_us + self.frame_us > self.spurt_until_us;
        let bytes = between(&mut self.rng, OPUS_BYTES.0, OPUS_BYTES.1) as usize;
        let mut opus = Vec::with_capacity(bytes);
        opus.push(if self.frame_us == 10_000 { TOC_10_MS } else { TOC_20_MS });
        opus.extend(self.client.to_be_bytes());
        opus.extend(self.frames.to_be_bytes());
        opus.resize(bytes, filler(self.frames));
        let level = self.rng.below(128) as u8;
        let sequence = self.next_block as u32;
        self.next_block += self.frame_us / BLOCK_US;
        let pause = if end { self.silence() } else { self.frame_us };
        (Speech { sequence, end, level, opus }, pause)
    }
}

fn filler(number: u64) -> u8 {
    (number.wrapping_mul(37) >> 3) as u8
}

/// Talker and number of a frame that [`Person::speech`] made; `None` when it is not one, or was changed.
pub(crate) fn parse_speech(opus: &[u8]) -> Option<(u32, u64)> {
    let (stamp, rest) = opus.split_first_chunk::<STAMP_BYTES>()?;
    let &[_, c0, c1, c2, c3, n0, n1, n2, n3, n4, n5, n6, n7] = stamp;
    let number = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let is_whole = rest.iter().all(|&byte| byte == filler(number));
    is_whole.then_some((u32::from_be_bytes([c0, c1, c2, c3]), number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_proto::text::check_message;

    #[test]
    fn what_is_said_names_itself_and_may_be_said() {
        let mut person = Person::new(3, &Spec::default(), Rng::from_number(1));
        let mut longest = 0;
        for number in 1..2000 {
            let (message, text) = person.text();
            assert_eq!(message, Message { client: 3, number });
            assert_eq!(Message::parse(&text), Some(message), "{text}");
            assert_eq!(Message::parse(&format!("{text}x")), None);
            assert_eq!(check_message(&text), Ok(()));
            longest = longest.max(text.len());
        }
        assert_eq!(longest, MESSAGE_BYTES);
    }

    #[test]
    fn a_changed_voice_frame_is_seen() {
        let mut person = Person::new(3, &Spec::default(), Rng::from_number(1));
        let (mut speech, _) = person.speech(0);
        assert_eq!(parse_speech(&speech.opus), Some((3, 1)));
        *speech.opus.last_mut().unwrap() ^= 1;
        assert_eq!(parse_speech(&speech.opus), None);
    }
}
