//! The voice sockets of classic programs: raw PCM over TCP, in both directions, tied to nothing. Which text connection one
//! belongs to is told by where it comes from, and in which order: of those of one address the first voice socket belongs
//! to the first text connection, and so on.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use chinwag_proto::{Duration, Instant, Peer};
use mio::net::TcpStream;

use super::api::PcmPace;

/// Voice sockets of a server. One more is closed at once.
const MOST: usize = 512;
/// Those of one address that nobody claimed. One more is closed at once.
const MOST_UNCLAIMED: usize = 32;
/// A voice socket that belongs to no text connection is closed after so long.
const UNCLAIMED_FOR: Duration = Duration::from_secs(10);
/// PCM that waits for a slow reader, as time; the oldest is dropped.
const QUEUE: Duration = Duration::from_millis(200);
/// A sender may be ahead of real time by so much; then it is not read for a while.
const AHEAD: Duration = Duration::from_secs(1);

/// One voice socket.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) socket: TcpStream,
    from: SocketAddr,
    since: Instant,
    /// The text connection that it belongs to.
    pub(super) text: Option<Peer>,
    /// Whose voice it is, once he said who he is.
    pub(super) session: Option<u32>,
    /// PCM that waits, in whole frames but for the first, which may be partly written.
    waiting: VecDeque<u8>,
    /// When all that was read would have been spoken.
    spoken: Instant,
}

/// What reading came to.
#[derive(Debug)]
pub(super) enum Heard {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end, however.
    End,
}

/// The voice sockets, by slot.
#[derive(Debug)]
pub(super) struct Voices {
    slots: Vec<Option<Voice>>,
    pace: PcmPace,
    /// Sockets that are not read, being ahead of real time, and until when.
    paused: BTreeSet<(Instant, usize)>,
    /// Sockets that no text connection claimed yet, and when they are closed.
    unclaimed: BTreeSet<(Instant, usize)>,
    /// Bytes of PCM that slow readers did not get.
    dropped: u64,
}

impl Voices {
    pub(super) fn new(pace: PcmPace) -> Self {
        let (paused, unclaimed) = (BTreeSet::new(), BTreeSet::new());
        Self { slots: Vec::new(), pace, paused, unclaimed, dropped: 0 }
    }

    /// A free slot for one from there; `None` when there are too many.
    pub(super) fn reserve(&mut self, from: SocketAddr) -> Option<usize> {
        if self.all_unclaimed_from(from).count() >= MOST_UNCLAIMED {
            return None;
        }
        let free = self.slots.iter().position(Option::is_none);
        free.or_else(|| {
            (self.slots.len() < MOST).then(|| {
                self.slots.push(None);
                self.slots.len() - 1
            })
        })
    }

    /// A voice socket came, for which there was a free slot.
    pub(super) fn insert(&mut self, now: Instant, slot: usize, socket: TcpStream, from: SocketAddr) {
        // What the system cannot do is no reason to fail.
        let _ = socket.set_nodelay(true);
        let voice = Voice {
            socket,
            from,
            since: now,
            text: None,
            session: None,
            waiting: VecDeque::new(),
            spoken: now,
        };
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(voice);
            self.unclaimed.insert((now + UNCLAIMED_FOR, slot));
        }
    }

    /// The text connection `peer` claims a voice socket.
    pub(super) fn claim(&mut self, slot: usize, peer: Peer) {
        let Some(voice) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        voice.text = Some(peer);
        self.unclaimed.remove(&(voice.since + UNCLAIMED_FOR, slot));
    }

    /// The first voice socket from there that nobody claimed.
    pub(super) fn unclaimed_from(&self, from: SocketAddr) -> Option<usize> {
        self.all_unclaimed_from(from).next()
    }

    fn all_unclaimed_from(&self, from: SocketAddr) -> impl Iterator<Item = usize> {
        let from_there = move |slot: usize| self.get(slot).is_some_and(|voice| voice.from.ip() == from.ip());
        self.unclaimed.iter().map(|&(_, slot)| slot).filter(move |&slot| from_there(slot))
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Voice> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Voice> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Voice> {
        let voice = self.slots.get_mut(slot)?.take()?;
        self.unclaimed.remove(&(voice.since + UNCLAIMED_FOR, slot));
        self.paused.retain(|&(_, paused)| paused != slot);
        Some(voice)
    }

    /// Reads once, unless the sender is ahead of real time.
    pub(super) fn read(&mut self, now: Instant, slot: usize, buffer: &mut [u8]) -> Heard {
        let Self { slots, pace, paused, .. } = self;
        let Some(voice) = slots.get_mut(slot).and_then(Option::as_mut) else { return Heard::Nothing };
        if voice.spoken.since(now) > AHEAD {
            paused.insert((voice.spoken - AHEAD, slot));
            return Heard::Nothing;
        }
        loop {
            match voice.socket.read(buffer) {
                Ok(0) => return Heard::End,
                Ok(count) => {
                    voice.spoken = voice.spoken.max(now) + pace.time_of(count);
                    return Heard::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::End,
            }
        }
    }

    /// Writes PCM behind what waits; what is too much for a slow reader is dropped, oldest first. False when the socket failed.
    pub(super) fn play(&mut self, slot: usize, pcm: &[u8]) -> bool {
        let Self { slots, pace, dropped, .. } = self;
        let Some(voice) = slots.get_mut(slot).and_then(Option::as_mut) else { return true };
        voice.waiting.extend(pcm);
        let is_well = voice.flush();
        let most = pace.bytes_of(QUEUE);
        let over = voice.waiting.len().saturating_sub(most).next_multiple_of(pace.frame_bytes);
        if over > 0 {
            // A frame that is partly written goes on.
            let first = voice.waiting.len() % pace.frame_bytes;
            let last = (first + over).min(voice.waiting.len());
            voice.waiting.drain(first..last);
            *dropped += (last - first) as u64;
        }
        is_well
    }

    /// The socket takes more. False when it failed.
    pub(super) fn flush(&mut self, slot: usize) -> bool {
        self.get_mut(slot).is_none_or(Voice::flush)
    }

    /// When something is to be done.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, usize)>| set.first().map(|&(due, _)| due);
        first(&self.paused).into_iter().chain(first(&self.unclaimed)).min()
    }

    /// A socket that is read again.
    pub(super) fn pop_paused(&mut self, now: Instant) -> Option<usize> {
        let &(due, slot) = self.paused.first().filter(|(due, _)| *due <= now)?;
        self.paused.remove(&(due, slot));
        Some(slot)
    }

    /// A socket that nobody claimed in time.
    pub(super) fn overdue(&self, now: Instant) -> Option<usize> {
        self.unclaimed.first().filter(|(due, _)| *due <= now).map(|&(_, slot)| slot)
    }

    /// Bytes of PCM that slow readers did not get.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Voice {
    /// From where it came.
    pub(super) fn from(&self) -> SocketAddr {
        self.from
    }

    fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match self.socket.write(front) {
                Ok(0) => return false,
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);
    const PACE: PcmPace = PcmPace { rate_hz: 8000, frame_bytes: 4 };

    fn from(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    /// A voice socket in slot 0, from 10.0.0.1, and the other end of it.
    fn one() -> (Voices, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut voices = Voices::new(PACE);
        let slot = voices.reserve(from(1, 1)).unwrap();
        voices.insert(NOW, slot, TcpStream::from_std(socket), from(1, 1));
        (voices, peer)
    }

    #[test]
    fn what_is_less_than_a_frame_counts_too() {
        assert_eq!(PACE.time_of(1) * 4, PACE.time_of(4));
        assert_eq!(PACE.time_of(PACE.bytes_of(Duration::from_secs(3))), Duration::from_secs(3));
    }

    #[test]
    fn a_voice_is_claimed_from_its_own_address_or_closed() {
        let (mut voices, _peer) = one();
        assert_eq!((voices.unclaimed_from(from(2, 9)), voices.unclaimed_from(from(1, 9))), (None, Some(0)));
        let due = NOW + UNCLAIMED_FOR;
        assert_eq!((voices.overdue(due - Duration::from_micros(1)), voices.overdue(due)), (None, Some(0)));
        assert_eq!(voices.poll_timeout(), Some(due));
        voices.claim(0, Peer::new(3));
        assert_eq!((voices.overdue(due), voices.unclaimed_from(from(1, 9))), (None, None));
        assert_eq!(voices.poll_timeout(), None);
        assert_eq!(voices.remove(0).unwrap().text, Some(Peer::new(3)));
        assert_eq!(voices.reserve(from(1, 2)), Some(0));
    }

    #[test]
    fn who_speaks_faster_than_real_time_is_not_read_for_a_while() {
        let (mut voices, mut peer) = one();
        let second = PACE.bytes_of(Duration::from_secs(1));
        peer.write_all(&vec![0; 3 * second]).unwrap();
        let (mut read, mut buffer) = (0, vec![0; 1000]);
        let mut now = NOW;
        while read < 3 * second {
            match voices.read(now, 0, &mut buffer) {
                Heard::Bytes(count) => read += count,
                Heard::Nothing => {
                    let Some(due) = voices.paused.first().map(|&(due, _)| due) else { continue };
                    assert!(due > now && read > second - 1000, "{read}");
                    now = due;
                    assert_eq!(voices.pop_paused(now), Some(0));
                }
                Heard::End => panic!("it ended"),
            }
        }
        assert!(now.since(NOW) > Duration::from_millis(1800), "{now:?}");
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_in_whole_frames() {
        let (mut voices, mut peer) = one();
        let block: Vec<u8> =
            (0..PACE.bytes_of(Duration::from_millis(10)) / 4).flat_map(|n| [n as u8; 4]).collect();
        while voices.dropped() == 0 {
            assert!(voices.play(0, &block));
        }
        for _ in 0..100 {
            assert!(voices.play(0, &block));
        }
        let waiting = voices.get(0).unwrap().waiting.len();
        assert!(waiting <= PACE.bytes_of(QUEUE) && voices.dropped() % 4 == 0, "{waiting}");
        drop(voices);
        let mut all = vec![];
        peer.read_to_end(&mut all).unwrap();
        let (frames, _) = all.as_chunks::<4>();
        assert!(frames.iter().all(|frame| frame.iter().all(|byte| byte == &frame[0])));
    }
}
