//! Which voice frames arrived where, which came twice, and how late.
//!
//! For each listener and talker 16 bytes are kept: the newest frame, which of the 64 up to it were seen, how many were. The
//! frames of a talker are numbered one by one for that; the number is what the wire calls the sequence.

use chinwag_proto::{
    SessionId,
    wire::voice::{Frames, VoiceFrame},
};

use crate::delays::Delays;

/// Bytes at the front of each frame: when it was sent, in nanoseconds of the real-time clock.
pub(crate) const TIME_BYTES: usize = 8;

/// One listener, one talker.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    /// Bit n is the frame n before the newest.
    seen: u64,
    /// The number of the newest, counted from 1; 0 when there is none.
    newest: u32,
    delivered: u32,
}

/// What became of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arrival {
    New,
    Double,
    /// So far behind that it is of no use, and was counted as lost.
    Old,
}

impl Pair {
    fn note(&mut self, number: u32) -> Arrival {
        if let Some(ahead) = number.checked_sub(self.newest).filter(|&ahead| ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = number;
        } else {
            let Some(bit) = 1u64.checked_shl(self.newest - number) else { return Arrival::Old };
            if self.seen & bit != 0 {
                return Arrival::Double;
            }
            self.seen |= bit;
        }
        self.delivered += 1;
        Arrival::New
    }
}

/// Finds a talker's number by its session: open addressing, for sessions are small numbers one after the other.
#[derive(Debug)]
struct Talkers {
    slots: Vec<Option<(SessionId, u32)>>,
}

impl Talkers {
    fn new(sessions: &[SessionId]) -> Self {
        let mut talkers = Self { slots: vec![None; (sessions.len() * 4).next_power_of_two()] };
        for (number, &session) in (0..).zip(sessions) {
            let free = talkers.path(session).find(|&at| talkers.slots.get(at) == Some(&None));
            if let Some(slot) = free.and_then(|at| talkers.slots.get_mut(at)) {
                *slot = Some((session, number));
            }
        }
        talkers
    }

    /// Where it may be, one place after the other.
    fn path(&self, session: SessionId) -> impl Iterator<Item = usize> + use<> {
        let (start, length) = (session.to_wire() as usize, self.slots.len());
        (0..length).map(move |step| start.wrapping_add(step) & (length - 1))
    }

    fn find(&self, session: SessionId) -> Option<u32> {
        for at in self.path(session) {
            let (found, number) = (*self.slots.get(at)?)?;
            if found == session {
                return Some(number);
            }
        }
        None
    }
}

/// What was counted in one run. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Tally {
    talkers: Talkers,
    rooms: usize,
    /// Talkers of one room, at most.
    width: usize,
    pairs: Vec<Pair>,
    /// The number of each talker's last frame before this run.
    base: u32,
    sent: Vec<u32>,
    pub(crate) counted: Counted,
    pub(crate) delays: Delays,
}

/// What needs no division by who it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counted {
    /// Each frame at each listener once.
    pub(crate) delivered: u64,
    /// What came once more.
    pub(crate) doubled: u64,
    /// What was left for so long that it counts as lost.
    pub(crate) too_old: u64,
    /// Frames of nobody in this run, of another room, or of a run before.
    pub(crate) strange: u64,
}

impl Tally {
    /// For listeners of whom number n is in room n modulo `rooms`, where the first of them, with these sessions, talk.
    /// `base` is the number of the last frame that any talker sent before.
    pub(crate) fn new(listeners: usize, rooms: usize, talkers: &[SessionId], base: u32) -> Self {
        let rooms = rooms.max(1);
        let width = talkers.len().div_ceil(rooms);
        Self {
            talkers: Talkers::new(talkers),
            rooms,
            width,
            pairs: vec![Pair::default(); listeners * width],
            base,
            sent: vec![0; talkers.len()],
            counted: Counted::default(),
            delays: Delays::default(),
        }
    }

    /// The number for a talker's next frame.
    pub(crate) fn next_number(&mut self, talker: usize) -> u32 {
        let Some(sent) = self.sent.get_mut(talker) else { return self.base };
        *sent += 1;
        self.base + *sent
    }

    /// A number that no frame of this run is above.
    pub(crate) fn last_number(&self) -> u32 {
        self.base + self.sent.iter().max().copied().unwrap_or(0)
    }

    /// A payload that a listener was sent, and when it came.
    pub(crate) fn take(&mut self, listener: usize, payload: &[u8], received_ns: u64) {
        for frame in Frames::parse(payload).into_iter().flatten() {
            self.take_frame(listener, frame, received_ns);
        }
    }

    fn take_frame(&mut self, listener: usize, frame: VoiceFrame<'_>, received_ns: u64) {
        let talker = self.talkers.find(frame.talker).map(|number| number as usize);
        let number = frame.sequence.checked_sub(self.base).filter(|&number| number > 0);
        let sent_ns = frame.opus.first_chunk::<TIME_BYTES>().copied().map(u64::from_be_bytes);
        let (Some(talker), Some(number), Some(sent_ns)) = (talker, number, sent_ns) else {
            self.counted.strange += 1;
            return;
        };
        let is_sent = self.sent.get(talker).is_some_and(|&sent| number <= sent);
        let is_here = talker % self.rooms == listener % self.rooms && talker != listener;
        let pair = self.pairs.get_mut(listener * self.width + talker / self.rooms);
        let Some(pair) = pair.filter(|_| is_sent && is_here) else {
            self.counted.strange += 1;
            return;
        };
        match pair.note(number) {
            Arrival::New => {
                self.counted.delivered += 1;
                self.delays.record(received_ns.saturating_sub(sent_ns));
            }
            Arrival::Double => self.counted.doubled += 1,
            Arrival::Old => self.counted.too_old += 1,
        }
    }

    /// Frames that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.iter().map(|&sent| u64::from(sent)).sum()
    }

    /// How many of each talker's frames arrived at each listener who should have had them: expected, delivered.
    pub(crate) fn each(&self, listeners: usize) -> impl Iterator<Item = (u32, u32)> {
        self.sent.iter().enumerate().flat_map(move |(talker, &sent)| {
            let room = (talker % self.rooms..listeners).step_by(self.rooms);
            room.filter(move |&listener| listener != talker).map(move |listener| {
                let pair = self.pairs.get(listener * self.width + talker / self.rooms);
                (sent, pair.map_or(0, |pair| pair.delivered))
            })
        })
    }

    /// Deliveries that there should have been.
    pub(crate) fn expected(&self, listeners: usize) -> u64 {
        self.each(listeners).map(|(expected, _)| u64::from(expected)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u32) -> SessionId {
        SessionId::from_wire(number)
    }

    fn payload(frames: &[(u32, u32, u64)]) -> Vec<u8> {
        let mut bytes = vec![];
        for &(talker, sequence, sent_ns) in frames {
            let opus = sent_ns.to_be_bytes();
            VoiceFrame { talker: session(talker), sequence, end: false, level: 0, opus: &opus }
                .write(&mut bytes);
        }
        bytes
    }

    #[test]
    fn what_comes_again_is_told_from_what_is_new() {
        let mut pair = Pair::default();
        for (number, arrival) in [
            (1, Arrival::New),
            (1, Arrival::Double),
            (3, Arrival::New),
            (2, Arrival::New),
            (2, Arrival::Double),
            (66, Arrival::New),
            (3, Arrival::Double),
            (2, Arrival::Old),
            (65, Arrival::New),
            (500, Arrival::New),
            (499, Arrival::New),
            (66, Arrival::Old),
        ] {
            assert_eq!(pair.note(number), arrival, "{number}");
        }
        assert_eq!(pair.delivered, 7);
    }

    #[test]
    fn talkers_are_found_by_session_also_when_sessions_fall_together() {
        let sessions: Vec<_> = [5, 5 | 1 << 20, 5 | 2 << 20, 6, 15].map(session).to_vec();
        let talkers = Talkers::new(&sessions);
        for (number, &session) in (0..).zip(&sessions) {
            assert_eq!(talkers.find(session), Some(number));
        }
        assert_eq!(talkers.find(session(7)), None);
        assert_eq!(Talkers::new(&[]).find(session(7)), None);
    }

    #[test]
    fn frames_are_counted_one_by_one_wherever_they_share_a_payload() {
        // Listeners 0 to 4 in rooms 0 and 1; 0, 1 and 2 talk.
        let mut tally = Tally::new(5, 2, &[10, 11, 12].map(session), 100);
        for (talker, frames) in [(0, 2), (1, 1), (2, 1)] {
            for n in 1..=frames {
                assert_eq!(tally.next_number(talker), 100 + n);
            }
        }
        assert_eq!((tally.sent(), tally.last_number()), (4, 102));
        // Room 0 has 0, 2, 4; room 1 has 1, 3.
        assert_eq!(tally.expected(5), 2 * 2 + 1 + 2);
        tally.take(4, &payload(&[(10, 101, 5), (12, 101, 5)]), 10);
        tally.take(4, &payload(&[(10, 102, 5)]), 10);
        tally.take(4, &payload(&[(10, 102, 5)]), 10);
        tally.take(3, &payload(&[(11, 101, 5)]), 10);
        let counted = Counted { delivered: 4, doubled: 1, too_old: 0, strange: 0 };
        assert_eq!(tally.counted, counted);
        let each: Vec<_> = tally.each(5).collect();
        assert_eq!(each, [(2, 0), (2, 2), (1, 1), (1, 0), (1, 1)]);
    }

    #[test]
    fn what_belongs_to_nobody_here_is_counted_apart() {
        let mut tally = Tally::new(4, 2, &[10, 11].map(session), 100);
        tally.next_number(0);
        for (listener, frame) in [
            (2, (99, 101, 0)), // Another talker.
            (2, (10, 100, 0)), // A run before.
            (2, (10, 102, 0)), // Never sent.
            (3, (10, 101, 0)), // Another room.
            (0, (10, 101, 0)), // One's own voice.
        ] {
            tally.take(listener, &payload(&[frame]), 0);
        }
        assert_eq!((tally.counted.strange, tally.counted.delivered), (5, 0));
    }
}
