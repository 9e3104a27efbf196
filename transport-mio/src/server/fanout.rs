//! Sealing and sending, which is nearly all that voice costs: done by the relay's thread, and by helpers beside it where there are
//! processors for them.
//!
//! The relay's thread alone knows sessions, and gives each datagram its counter; what is left to do needs the datagram, its address and its seal
//! only. It waits in batches in one queue, from which all take the oldest: so the voice of one large room and that of many small
//! ones are shared out in the same way, and whoever is slow to wake up keeps nothing back. There is no lock, and batches are recycled.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use chinwag_proto::wire::path::{Draft, seal_in_place};
use crossbeam_queue::ArrayQueue;
use mio::net::UdpSocket;

use crate::{
    mmsg::{Outgoing, Sent},
    seal::AesSeal,
};

/// Datagrams that are sent together. More in one call would cost no less, and come later.
pub(super) const TOGETHER: usize = 16;
/// Batches that wait for a thread. When there are more the relay's sends the oldest, before it takes anything else.
const WAITING_BATCHES: usize = 64;
/// So many waiting batches are worth waking a helper; that costs as much as sending one.
const WORTH_WAKING: usize = 4;

/// Datagrams that are sent together by one socket.
#[derive(Debug, Default)]
pub(super) struct Batch {
    socket: usize,
    bytes: Vec<u8>,
    datagrams: Vec<(Range<usize>, SocketAddr, Arc<AesSeal>)>,
}

impl Batch {
    pub(super) fn new(socket: usize) -> Self {
        Self { socket, ..Self::default() }
    }

    pub(super) fn push(&mut self, to: SocketAddr, draft: Draft<'_, Arc<AesSeal>>) {
        let start = self.bytes.len();
        let seal = Arc::clone(draft.write(&mut self.bytes));
        self.datagrams.push((start..self.bytes.len(), to, seal));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.datagrams.len() >= TOGETHER
    }
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    sockets: Vec<UdpSocket>,
    waiting: ArrayQueue<Batch>,
    /// Empty ones, with room.
    recycled: ArrayQueue<Batch>,
    sent: AtomicU64,
    unsent: AtomicU64,
    is_over: AtomicBool,
}

/// One of those who seal and send.
#[derive(Debug)]
struct Sender {
    shared: Arc<Shared>,
    outgoing: Outgoing,
}

impl Sender {
    /// Seals and sends what waits.
    fn work_off(&mut self) {
        while let Some(batch) = self.shared.waiting.pop() {
            self.send(batch);
        }
    }

    /// Seals and sends. What the system does not take is dropped and counted: voice does not wait.
    fn send(&mut self, mut batch: Batch) {
        let Batch { socket, bytes, datagrams } = &mut batch;
        let Some(socket) = self.shared.sockets.get(*socket) else { return };
        for (range, _, seal) in &*datagrams {
            seal_in_place(seal, bytes.get_mut(range.clone()).unwrap_or_default());
        }
        let datagrams = datagrams.drain(..).map(|(range, to, _)| (range, to));
        let Sent { sent, unsent } = self.outgoing.send(socket, bytes, datagrams);
        self.shared.sent.fetch_add(sent, Ordering::Relaxed);
        self.shared.unsent.fetch_add(unsent, Ordering::Relaxed);
        bytes.clear();
        // There is room for all that there are.
        let _ = self.shared.recycled.push(batch);
    }

    /// A helper's life.
    fn help(mut self) {
        while !self.shared.is_over.load(Ordering::Acquire) {
            self.work_off();
            // Returns at once if it was unparked since it last came back from here: nothing is missed.
            thread::park();
        }
    }
}

/// The relay's end.
#[derive(Debug)]
pub(super) struct FanOut {
    own: Sender,
    helpers: Vec<JoinHandle<()>>,
}

impl FanOut {
    /// Sends by these sockets, with so many helpers.
    pub(super) fn new(sockets: Vec<UdpSocket>, helpers: usize) -> io::Result<Self> {
        // Those that wait, those that somebody works on, and one for each socket that fills up.
        let batches = WAITING_BATCHES + helpers + 1 + sockets.len();
        let shared = Arc::new(Shared {
            sockets,
            waiting: ArrayQueue::new(WAITING_BATCHES),
            recycled: ArrayQueue::new(batches),
            sent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let sender = || Sender { shared: Arc::clone(&shared), outgoing: Outgoing::default() };
        let mut this = Self { own: sender(), helpers: Vec::with_capacity(helpers) };
        for _ in 0..helpers {
            let helper = sender();
            this.helpers.push(thread::Builder::new().name("voice".into()).spawn(|| helper.help())?);
        }
        Ok(this)
    }

    pub(super) fn sockets(&self) -> &[UdpSocket] {
        &self.own.shared.sockets
    }

    /// What became of all datagrams so far.
    pub(super) fn sent(&self) -> Sent {
        let Shared { sent, unsent, .. } = &*self.own.shared;
        Sent { sent: sent.load(Ordering::Relaxed), unsent: unsent.load(Ordering::Relaxed) }
    }

    /// Takes what is in a batch, soon to be sent.
    pub(super) fn give(&mut self, batch: &mut Batch) {
        let empty = self.own.shared.recycled.pop().unwrap_or_default();
        let socket = batch.socket;
        let full = std::mem::replace(batch, Batch { socket, ..empty });
        if self.helpers.is_empty() {
            self.own.send(full);
            return;
        }
        if let Some(oldest) = self.own.shared.waiting.force_push(full) {
            self.own.send(oldest);
        }
        // The first helper is worth it when there is enough for him, the second when there is enough for two.
        let worth = self.own.shared.waiting.len() / WORTH_WAKING;
        if let Some(last) = worth.checked_sub(1)
            && let Some(helper) = self.helpers.get(last.min(self.helpers.len() - 1))
        {
            helper.thread().unpark();
        }
    }

    /// Sends what nobody has begun to send.
    pub(super) fn finish(&mut self) {
        self.own.work_off();
    }

    /// For tests: takes somebody in who helps nobody.
    #[cfg(test)]
    pub(super) fn take_in(&mut self, helper: JoinHandle<()>) {
        self.helpers.push(helper);
    }

    /// True when a helper ended, which none does before [`FanOut::stop`] but one that panics.
    pub(super) fn has_failed(&self) -> bool {
        self.helpers.iter().any(JoinHandle::is_finished)
    }

    /// Sends what waits and lets the helpers end: after that, all that was given is counted.
    pub(super) fn stop(&mut self) {
        self.finish();
        self.own.shared.is_over.store(true, Ordering::Release);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // Whoever panicked has said so.
            let _ = helper.join();
        }
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::mpsc};

    use chinwag_proto::{
        SessionId,
        wire::path::{DatagramKind, SealedPath},
    };

    use super::*;
    use crate::counting::allocations;

    /// Sockets to send by and one that all is sent to, under one key.
    struct Rig {
        fan_out: FanOut,
        batches: Vec<Batch>,
        path: SealedPath<Arc<AesSeal>>,
        to: SocketAddr,
        receiver: std::net::UdpSocket,
        end: SealedPath<AesSeal>,
    }

    impl Rig {
        fn new(sockets: usize, helpers: usize) -> Self {
            let bound = (0..sockets).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
            let fan_out = FanOut::new(bound.collect(), helpers).unwrap();
            let receiver = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let (theirs, ours) = AesSeal::pair(5);
            Self {
                fan_out,
                batches: (0..sockets).map(Batch::new).collect(),
                path: SealedPath::new(SessionId::from_wire(7), Arc::new(ours)),
                to: receiver.local_addr().unwrap(),
                receiver,
                end: SealedPath::new(SessionId::from_wire(7), theirs),
            }
        }

        /// With helpers who only tell by their number that they were woken.
        fn with_idle_helpers(helpers: usize) -> (Self, mpsc::Receiver<usize>) {
            let mut rig = Self::new(1, 0);
            let (tell, woken) = mpsc::channel();
            for number in 0..helpers {
                let (tell, shared) = (tell.clone(), Arc::clone(&rig.fan_out.own.shared));
                rig.fan_out.take_in(thread::spawn(move || {
                    loop {
                        thread::park();
                        if shared.is_over.load(Ordering::Acquire) || tell.send(number).is_err() {
                            return;
                        }
                    }
                }));
            }
            (rig, woken)
        }

        /// Gives a batch of so many datagrams, all of which say `byte`.
        fn give(&mut self, socket: usize, byte: u8, count: usize) {
            let batch = &mut self.batches[socket];
            for _ in 0..count {
                batch.push(self.to, self.path.draft(DatagramKind::Voice, &[byte; 80]).unwrap());
            }
            self.fan_out.give(batch);
            assert!(batch.is_empty());
        }

        /// What has arrived and proved to be new and authentic, with its sender; loopback has delivered before the sending call returns.
        fn received(&mut self) -> Vec<(SocketAddr, u8)> {
            let (mut bytes, mut received) = ([0; 1500], vec![]);
            while let Ok((count, from)) = self.receiver.recv_from(&mut bytes) {
                let opened = self.end.open(from, &mut bytes[..count]).unwrap();
                assert_eq!(opened.payload.len(), 80);
                received.push((from, opened.payload[0]));
            }
            received
        }
    }

    #[test]
    fn all_that_is_given_is_sent_once_whoever_does_it() {
        // Few enough for the receiver's buffer, however late they are sent.
        const ROUNDS: u8 = 4;
        for helpers in [0, 1, 3] {
            let mut rig = Rig::new(2, helpers);
            assert_eq!(rig.fan_out.helpers.len(), helpers);
            let addresses: Vec<_> =
                rig.fan_out.sockets().iter().map(|socket| socket.local_addr().unwrap()).collect();
            let mut received = vec![];
            for round in 0..ROUNDS {
                (0..2).for_each(|socket| rig.give(socket, round, TOGETHER));
                received.extend(rig.received());
            }
            rig.fan_out.stop();
            received.extend(rig.received());
            received.sort_unstable();
            let expected = addresses.iter().flat_map(|&from| (0..ROUNDS).map(move |byte| (from, byte)));
            let mut expected: Vec<_> = expected.flat_map(|one| [one; TOGETHER]).collect();
            expected.sort_unstable();
            assert_eq!(received, expected, "{helpers} helpers");
            assert_eq!(rig.fan_out.sent(), Sent { sent: u64::from(ROUNDS) * 2 * TOGETHER as u64, unsent: 0 });
        }
    }

    #[test]
    fn a_helper_comes_when_enough_waits() {
        let mut rig = Rig::new(1, 1);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        // In the first round he may come since he has just been born, in later ones he must be woken.
        for round in 1..=50 {
            for byte in 0..WORTH_WAKING as u8 {
                rig.give(0, byte, 1);
            }
            // Nobody else sends anything.
            while rig.fan_out.sent().sent < (round * WORTH_WAKING) as u64 {
                assert!(std::time::Instant::now() < deadline, "round {round}");
                thread::yield_now();
            }
            assert_eq!(rig.received().len(), WORTH_WAKING);
        }
    }

    #[test]
    fn each_helper_is_woken_when_there_is_enough_for_all_before_him_too() {
        let (mut rig, woken) = Rig::with_idle_helpers(3);
        let patience = std::time::Duration::from_secs(30);
        // Who is woken more than once before he runs tells it once.
        for wanted in [0, 1, 2, 2] {
            (0..WORTH_WAKING - 1).for_each(|_| rig.give(0, 0, 1));
            rig.give(0, 0, 1);
            while woken.recv_timeout(patience).unwrap() != wanted {}
        }
        let (mut rig, woken) = Rig::with_idle_helpers(3);
        (0..WORTH_WAKING - 1).for_each(|_| rig.give(0, 0, 1));
        rig.fan_out.stop();
        assert_eq!(woken.try_iter().count(), 0, "too little for anybody");
        let (mut rig, woken) = Rig::with_idle_helpers(3);
        (0..2 * WORTH_WAKING).for_each(|_| rig.give(0, 0, 1));
        while woken.recv_timeout(patience).unwrap() != 1 {}
        rig.fan_out.stop();
        assert!(woken.try_iter().all(|number| number != 2), "too little for three");
    }

    #[test]
    fn no_helper_outlives_it() {
        let (rig, woken) = Rig::with_idle_helpers(2);
        drop(rig);
        let ended = woken.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn what_the_system_does_not_take_is_counted() {
        let mut rig = Rig::new(1, 0);
        rig.give(0, 1, 2);
        rig.to = (Ipv4Addr::LOCALHOST, 0).into();
        rig.give(0, 1, 3);
        assert_eq!(rig.fan_out.sent(), Sent { sent: 2, unsent: 3 });
    }

    #[test]
    fn what_finds_no_room_makes_the_oldest_go() {
        let (mut rig, _woken) = Rig::with_idle_helpers(1);
        let bytes = |received: Vec<(SocketAddr, u8)>| received.into_iter().map(|(_, byte)| byte);
        for byte in 0..WAITING_BATCHES as u8 {
            rig.give(0, byte, 1);
        }
        assert_eq!(rig.received(), []);
        rig.give(0, 100, 1);
        rig.give(0, 101, 1);
        assert!(bytes(rig.received()).eq([0, 1]));
        rig.fan_out.finish();
        assert!(bytes(rig.received()).eq((2..WAITING_BATCHES as u8).chain([100, 101])));
    }

    #[test]
    fn what_a_helper_does_allocates_nothing() {
        let (mut rig, _woken) = Rig::with_idle_helpers(1);
        let mut helper =
            Sender { shared: Arc::clone(&rig.fan_out.own.shared), outgoing: Outgoing::default() };
        for is_warm in [false, false, true, true] {
            let before = allocations();
            // More than there is room for: some of them are sent while they are given.
            (0..=WAITING_BATCHES as u8).for_each(|byte| rig.give(0, byte, 2));
            helper.work_off();
            let allocated = allocations() - before;
            assert!(allocated == 0 || !is_warm, "{allocated} allocations");
            assert_eq!(rig.received().len(), 2 * (WAITING_BATCHES + 1));
        }
    }
}
