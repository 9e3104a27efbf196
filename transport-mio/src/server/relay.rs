//! The relay's loop: the UDP sockets on one side, [`chinwag_proto::relay::Relay`] on the other, in a thread of its own, so
//! that nothing that connections want ever delays voice.
//!
//! A turn takes what is there, a system call's worth from each socket and as much voice of connections, passes on what it can, and
//! flushes; then comes the next. What the server's loop says of sessions comes before any datagram that arrived later. Nothing here
//! waits for the server's loop; that may wait for this one, which always moves on.
//!
//! What the relay drafts is sealed and sent by this thread and its helpers ([`super::fanout`]).

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use chinwag_proto::{
    Duration, Instant, RoomId, SessionId, limits,
    relay::{Arrival, Order, Relay, RelayStats, VoicePath},
};
use mio::{Events, Interest, Poll, Token, Waker, net::UdpSocket};

use super::{fanout::FanOut, outlet::Outlets};
use crate::{
    clock,
    mmsg::{Inbox, Sent, enable_times},
    seal::AesSeal,
};

/// The relay's waker; sockets have the tokens before it.
const WAKER: Token = Token(usize::MAX);
/// Datagrams taken from a socket in one call, and voice payloads of connections in one turn.
const TOGETHER: usize = 32;
/// What the server's loop has said of sessions and the relay's has not done; for more the server's loop waits.
const WAITING_ORDERS: usize = 4096;
/// Voice of connections that the relay has not taken; what comes beyond it, or waited too long in it, is dropped and counted.
const WAITING_TALKS: usize = 256;
/// What is handed back and not done; voice beyond it is dropped and counted.
const WAITING_BACK: usize = 1024;
/// While something happens, its counters are published so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What the server's loop says. See [`Order`]; what it lends is owned here.
#[derive(Debug)]
enum Said {
    Open { session: SessionId, room: Option<RoomId>, seal: Option<Arc<AesSeal>> },
    Listen { session: SessionId, path: VoicePath },
    Move { session: SessionId, room: Option<RoomId> },
    Leave { session: SessionId },
    Stop,
}

/// A voice payload of a connection, or of the gateway.
#[derive(Debug)]
struct Talk {
    session: SessionId,
    room: Option<RoomId>,
    payload: Box<[u8]>,
    since: Instant,
}

/// What the relay hands back.
#[derive(Debug)]
pub(super) enum HandedBack {
    /// Voice for these connections.
    Voice { payload: Box<[u8]>, to: Box<[SessionId]> },
    /// This one's peer was alive then.
    Alive(SessionId, Instant),
}

/// What became of voice and datagrams, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VoiceStats {
    /// What the relay counted.
    pub relay: RelayStats,
    /// Datagrams handed to the system.
    pub sent: u64,
    /// Datagrams that the system did not take: no room, or no way to that address.
    pub unsent: u64,
    /// Datagrams that the system dropped before they were received, since their queue was full; 0 where it does not say.
    pub overflowed: u64,
    /// Voice dropped between the server's loop and the relay's, since one of them had too much to do.
    pub handed_late: u64,
    /// Voice that was dropped since connections were too slow for it.
    pub voice_dropped: u64,
}

/// The server's loop's end.
#[derive(Debug)]
pub(super) struct RelayHandle {
    orders: SyncSender<Said>,
    talks: SyncSender<Talk>,
    back: Receiver<HandedBack>,
    waker: Arc<Waker>,
    /// Something was said since it was woken last.
    has_said: bool,
    /// Voice that found no room on its way.
    talk_dropped: u64,
    published: Arc<Mutex<VoiceStats>>,
    is_gone: bool,
}

impl RelayHandle {
    pub(super) fn open(&mut self, session: SessionId, room: Option<RoomId>, seal: Option<AesSeal>) {
        self.say(Said::Open { session, room, seal: seal.map(Arc::new) });
    }

    pub(super) fn order(&mut self, now: Instant, order: Order<'_>) {
        match order {
            Order::Listen { session, path } => self.say(Said::Listen { session, path }),
            Order::Move { session, room } => self.say(Said::Move { session, room }),
            Order::Leave { session } => self.say(Said::Leave { session }),
            Order::Talk { session, room, payload } => {
                // Voice does not wait.
                let talk = Talk { session, room, payload: payload.into(), since: now };
                self.talk_dropped += u64::from(self.talks.try_send(talk).is_err());
                self.has_said = true;
            }
        }
    }

    /// Says something, and waits for room if there is none.
    fn say(&mut self, said: Said) {
        self.has_said = true;
        if let Err(TrySendError::Full(said)) = self.orders.try_send(said) {
            self.wake();
            self.is_gone |= self.orders.send(said).is_err();
            // The relay may have gone to sleep again between making room and this.
            self.has_said = true;
        }
    }

    /// Lets the relay know, once for all that was said since it was woken last.
    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.has_said) {
            self.is_gone |= self.waker.wake().is_err();
        }
    }

    /// What was handed back, oldest first.
    pub(super) fn handed_back(&mut self) -> Option<HandedBack> {
        match self.back.try_recv() {
            Ok(back) => Some(back),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_gone = true;
                None
            }
        }
    }

    /// True when the relay ended, which it does not but when it fails.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// What it published last, a moment ago.
    pub(super) fn stats(&self) -> VoiceStats {
        let mut stats = *self.published.lock().unwrap_or_else(PoisonError::into_inner);
        stats.handed_late += self.talk_dropped;
        stats
    }

    /// Lets the relay stop.
    pub(super) fn stop(&mut self) {
        self.say(Said::Stop);
        self.wake();
    }
}

/// The relay with its sockets.
#[derive(Debug)]
pub(super) struct RelayLoop {
    poll: Poll,
    relay: Relay<Arc<AesSeal>>,
    outlets: Outlets,
    /// Which of the sockets may have more datagrams.
    ready: Vec<bool>,
    inbox: Inbox,
    orders: Receiver<Said>,
    talks: Receiver<Talk>,
    /// There may be more of them than one turn took.
    has_talks: bool,
    /// Those that had waited too long.
    talks_shed: u64,
    /// Wakes the server's loop.
    server: Arc<Waker>,
    published: Arc<Mutex<VoiceStats>>,
    next_look: Option<Instant>,
    is_stopping: bool,
}

impl RelayLoop {
    /// A relay for these sockets, with so many helpers to send by them, which wakes the server's loop by `server`.
    pub(super) fn new(
        mut sockets: Vec<UdpSocket>,
        helpers: usize,
        hold: Duration,
        server: Arc<Waker>,
    ) -> io::Result<(Self, RelayHandle)> {
        let poll = Poll::new()?;
        for (index, socket) in sockets.iter_mut().enumerate() {
            poll.registry().register(socket, Token(index), Interest::READABLE)?;
            // Without them nothing is shed; what comes too late then is late.
            let _ = enable_times(&*socket);
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (orders, said) = sync_channel(WAITING_ORDERS);
        let (talks, talked) = sync_channel(WAITING_TALKS);
        let (hand, back) = sync_channel(WAITING_BACK);
        let published = Arc::new(Mutex::new(VoiceStats::default()));
        let mut relay = Relay::default();
        relay.set_hold(hold);
        let this = Self {
            poll,
            relay,
            ready: vec![false; sockets.len()],
            outlets: Outlets::new(FanOut::new(sockets, helpers)?, hand),
            inbox: Inbox::new(TOGETHER),
            orders: said,
            talks: talked,
            has_talks: false,
            talks_shed: 0,
            server,
            published: Arc::clone(&published),
            next_look: None,
            is_stopping: false,
        };
        let handle = RelayHandle {
            orders,
            talks,
            back,
            waker,
            has_said: false,
            talk_dropped: 0,
            published,
            is_gone: false,
        };
        Ok((this, handle))
    }

    /// Runs in a thread of its own until it is told to stop.
    pub(super) fn start(self) -> io::Result<JoinHandle<io::Result<()>>> {
        thread::Builder::new().name("relay".into()).spawn(move || {
            // The server's loop is to learn of the end at once, however that comes: it sees it by what is dropped before.
            let _wakes = WakesAtEnd(Arc::clone(&self.server));
            let mut this = self;
            this.run()
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        while !self.is_stopping {
            match self.poll.poll(&mut events, self.patience(clock::now())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if let Some(ready) = self.ready.get_mut(event.token().0) {
                    *ready = true;
                }
            }
            let now = clock::now();
            self.turn(now);
            if now >= *self.next_look.get_or_insert(now + LOOK_INTERVAL) {
                if self.outlets.fan_out.has_failed() {
                    return Err(io::Error::other("a thread that sends voice has failed"));
                }
                self.publish();
                // As long as nothing happens there is nothing to look at.
                self.next_look = None;
            }
        }
        self.outlets.fan_out.stop();
        self.publish();
        Ok(())
    }

    fn patience(&self, now: Instant) -> Option<Duration> {
        if self.has_talks || self.ready.contains(&true) {
            return Some(Duration::ZERO);
        }
        let due = self.relay.poll_timeout().into_iter().chain(self.next_look).min()?;
        // The system counts in milliseconds: rounding up avoids a turn that comes too early to do anything.
        let millis = due.since(now).as_micros().div_ceil(1000);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    fn turn(&mut self, now: Instant) {
        for index in 0..self.ready.len() {
            if self.ready.get(index) == Some(&true) {
                self.receive(now, index);
            }
        }
        self.obey(now);
        self.take_talks(now);
        self.relay.handle_timeout(now, &mut self.outlets);
        self.outlets.flush();
        if std::mem::take(&mut self.outlets.is_urgent) {
            // If it cannot be woken it is gone, and says so itself.
            let _ = self.server.wake();
        }
    }

    /// Takes a call's worth of datagrams.
    fn receive(&mut self, now: Instant, index: usize) {
        let sockets = self.outlets.fan_out.sockets();
        let (Some(socket), Some(ready)) = (sockets.get(index), self.ready.get_mut(index)) else { return };
        match self.inbox.receive(socket) {
            Ok(count) => *ready = count >= TOGETHER,
            // There was nothing, or the system cannot give it now: what comes next is told.
            Err(_) => {
                *ready = false;
                return;
            }
        }
        // Whoever was let in before he sent these is known before they are opened.
        self.obey(now);
        let real_ns = clock::real_ns();
        for datagram in self.inbox.datagrams() {
            let waited = datagram.time_ns.map_or(0, |time_ns| real_ns.saturating_sub(time_ns));
            let waited = Duration::from_nanos(waited);
            let arrival = Arrival { socket: index, from: datagram.from, waited, bytes: datagram.bytes };
            // It is counted by the relay.
            let _ = self.relay.handle_datagram(now, arrival, &mut self.outlets);
        }
    }

    /// Does what the server's loop said of sessions, all that it has said by now.
    fn obey(&mut self, now: Instant) {
        for _ in 0..WAITING_ORDERS {
            let order = match self.orders.try_recv() {
                Ok(Said::Open { session, room, seal }) => {
                    self.relay.open(session, room, seal);
                    continue;
                }
                Ok(Said::Listen { session, path }) => Order::Listen { session, path },
                Ok(Said::Move { session, room }) => Order::Move { session, room },
                Ok(Said::Leave { session }) => Order::Leave { session },
                Err(TryRecvError::Empty) => return,
                // Whoever would say so is gone.
                Ok(Said::Stop) | Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    return;
                }
            };
            self.relay.obey(now, order, &mut self.outlets);
        }
    }

    /// Takes voice of connections, no more in a turn than of a socket.
    fn take_talks(&mut self, now: Instant) {
        self.has_talks = false;
        for _ in 0..TOGETHER {
            let Ok(Talk { session, room, payload, since }) = self.talks.try_recv() else { return };
            if now.since(since) > limits::VOICE_LATE {
                self.talks_shed += 1;
            } else {
                let order = Order::Talk { session, room, payload: &payload };
                self.relay.obey(now, order, &mut self.outlets);
            }
        }
        self.has_talks = true;
    }

    /// Lets the server's loop see the counters.
    fn publish(&mut self) {
        let Sent { sent, unsent } = self.outlets.fan_out.sent();
        let stats = VoiceStats {
            relay: self.relay.stats(),
            sent,
            unsent,
            overflowed: self.outlets.drops(),
            handed_late: self.talks_shed + self.outlets.tunnel_dropped,
            voice_dropped: 0,
        };
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let has_lost_more = stats.dropped() > published.dropped();
        *published = stats;
        drop(published);
        if has_lost_more {
            let _ = self.server.wake();
        }
    }
}

/// Wakes a loop when it is dropped.
struct WakesAtEnd(Arc<Waker>);

impl Drop for WakesAtEnd {
    fn drop(&mut self) {
        // If it cannot be woken, it is gone itself.
        let _ = self.0.wake();
    }
}

impl VoiceStats {
    /// What was lost, in whatever way.
    fn dropped(&self) -> u64 {
        let RelayStats { not_ours, replayed, forged, stale, voice_unsent, .. } = self.relay;
        let refused = self.refused() + self.relay.voice_over_rate + self.relay.probes_dropped;
        let datagrams = not_ours + replayed + forged + stale + voice_unsent;
        refused + datagrams + self.unsent + self.overflowed + self.handed_late + self.voice_dropped
    }

    /// Voice that was no voice, in another's name, or from nobody's room.
    pub fn refused(&self) -> u64 {
        let RelayStats { voice_malformed, voice_forged, voice_homeless, .. } = self.relay;
        voice_malformed + voice_forged + voice_homeless
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use chinwag_proto::wire::{
        path::{DatagramKind, SealedPath},
        voice::{Frames, VoiceFrame},
    };

    use super::*;
    use crate::counting::allocations;

    /// A relay whose turns the test takes, and the clients of one room.
    struct Rig {
        relay: RelayLoop,
        handle: RelayHandle,
        address: SocketAddr,
        clients: Vec<(std::net::UdpSocket, SealedPath<AesSeal>)>,
        /// Keeps the server's waker alive.
        _server: Poll,
    }

    fn session(index: usize) -> SessionId {
        SessionId::from_wire(1 << 20 | index as u32)
    }

    impl Rig {
        fn new(clients: usize) -> Self {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = socket.local_addr().unwrap();
            let server = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(server.registry(), Token(0)).unwrap());
            let (relay, handle) = RelayLoop::new(vec![socket], 0, Duration::ZERO, waker).unwrap();
            let mut rig = Self { relay, handle, address, clients: vec![], _server: server };
            for index in 0..clients {
                let (mine, theirs) = AesSeal::pair(index as u8);
                let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                rig.handle.open(session(index), Some(RoomId::from_wire(1)), Some(theirs));
                rig.order(Order::Listen { session: session(index), path: VoicePath::Udp });
                rig.clients.push((socket, SealedPath::new(session(index), mine)));
                rig.send(index, DatagramKind::Probe, &[7; 8]);
                rig.turn(clock::now());
                assert_eq!(rig.receive(index), Some((DatagramKind::Echo, vec![7; 8])));
            }
            rig
        }

        fn order(&mut self, order: Order<'_>) {
            self.handle.order(clock::now(), order);
        }

        fn send(&mut self, index: usize, kind: DatagramKind, payload: &[u8]) {
            let (socket, path) = &mut self.clients[index];
            let mut bytes = vec![];
            assert!(path.seal(kind, payload, &mut bytes));
            socket.send_to(&bytes, self.address).unwrap();
        }

        fn talk(&mut self, index: usize) {
            let (talker, mut payload) = (session(index), vec![]);
            let frame = VoiceFrame { talker, sequence: 1, end: false, level: 30, opus: &[index as u8; 80] };
            assert!(frame.write(&mut payload));
            self.send(index, DatagramKind::Voice, &payload);
        }

        /// What came first to a client: loopback has delivered before the sending call returns.
        fn receive(&mut self, index: usize) -> Option<(DatagramKind, Vec<u8>)> {
            let (socket, path) = &mut self.clients[index];
            socket.set_nonblocking(true).unwrap();
            let mut bytes = [0; 1500];
            let (count, from) = socket.recv_from(&mut bytes).ok()?;
            let opened = path.open(from, &mut bytes[..count]).unwrap();
            Some((opened.kind, opened.payload.to_vec()))
        }

        /// Turns until nothing waits; returns how often they allocated.
        fn turn(&mut self, now: Instant) -> u64 {
            self.relay.ready.fill(true);
            let before = allocations();
            self.relay.turn(now);
            while self.relay.has_talks || self.relay.ready.contains(&true) {
                self.relay.turn(now);
            }
            allocations() - before
        }
    }

    #[test]
    fn from_socket_to_socket_a_frame_allocates_nothing() {
        let mut rig = Rig::new(100);
        // Buffers grow once, for the most that there is.
        for (talkers, is_warm) in [(40, false), (1, true), (4, true), (40, true)] {
            (0..talkers).for_each(|index| rig.talk(index));
            let allocated = rig.turn(clock::now());
            let heard = |rig: &mut Rig, index| {
                let mut heard = vec![];
                while let Some((DatagramKind::Voice, payload)) = rig.receive(index) {
                    heard.extend(Frames::parse(&payload).unwrap().map(|frame| frame.opus[0]));
                }
                heard
            };
            for index in 0..100 {
                let others: Vec<_> = (0..talkers).filter(|&n| n != index).map(|n| n as u8).collect();
                assert_eq!(heard(&mut rig, index), others);
            }
            assert!(allocated == 0 || !is_warm, "{talkers} talkers: {allocated} allocations");
        }
        // The count works.
        let before = allocations();
        std::hint::black_box(vec![1u8; 10]);
        assert_eq!(allocations() - before, 1);
    }

    #[test]
    fn it_ends_when_a_helper_has_failed() {
        let mut rig = Rig::new(1);
        rig.relay.outlets.fan_out.take_in(thread::spawn(|| {}));
        while !rig.relay.outlets.fan_out.has_failed() {
            thread::yield_now();
        }
        rig.relay.next_look = Some(clock::now());
        rig.handle.stop();
        assert!(rig.relay.run().is_err());
    }

    #[test]
    fn what_was_said_before_a_datagram_came_is_done_before_it() {
        let mut rig = Rig::new(2);
        rig.order(Order::Leave { session: session(1) });
        rig.talk(0);
        rig.turn(clock::now());
        assert_eq!(rig.receive(1), None);
        let (mine, theirs) = AesSeal::pair(77);
        rig.clients[1].1 = SealedPath::new(session(1), mine);
        rig.handle.open(session(1), Some(RoomId::from_wire(1)), Some(theirs));
        rig.send(1, DatagramKind::Probe, &[8; 8]);
        rig.turn(clock::now());
        assert_eq!(rig.receive(1), Some((DatagramKind::Echo, vec![8; 8])));
    }

    #[test]
    fn voice_of_a_connection_is_heard_in_the_room_in_which_it_was_said() {
        let mut rig = Rig::new(3);
        let (lobby, den) = (Some(RoomId::from_wire(1)), Some(RoomId::from_wire(2)));
        rig.order(Order::Move { session: session(2), room: den });
        rig.turn(clock::now());
        let payload = |sequence| {
            let mut payload = vec![];
            let frame = VoiceFrame { talker: session(0), sequence, end: false, level: 30, opus: &[1] };
            assert!(frame.write(&mut payload));
            payload
        };
        // The relay does all that is said of sessions before any voice.
        rig.order(Order::Talk { session: session(0), room: lobby, payload: &payload(1) });
        rig.order(Order::Move { session: session(0), room: den });
        rig.turn(clock::now());
        assert_eq!(rig.receive(1), Some((DatagramKind::Voice, payload(1))));
        assert_eq!(rig.receive(2), None);
        // It has looked at what is said of sessions, and then both come.
        rig.order(Order::Move { session: session(0), room: lobby });
        rig.order(Order::Talk { session: session(0), room: lobby, payload: &payload(2) });
        rig.relay.take_talks(clock::now());
        rig.turn(clock::now());
        assert_eq!(rig.receive(1), Some((DatagramKind::Voice, payload(2))));
        assert_eq!(rig.receive(2), None);
    }

    #[test]
    fn what_waited_for_room_wakes_the_relay_once_more() {
        let Rig { mut relay, mut handle, _server, .. } = Rig::new(1);
        for _ in 0..WAITING_ORDERS {
            handle.order(clock::now(), Order::Listen { session: session(0), path: VoicePath::Tcp });
        }
        let mut events = Events::with_capacity(4);
        let mut until_woken = |relay: &mut RelayLoop| {
            events.clear();
            while !events.iter().any(|event| event.token() == WAKER) {
                relay.poll.poll(&mut events, None).unwrap();
            }
        };
        handle.wake();
        until_woken(&mut relay);
        let waiting = thread::spawn(move || {
            handle.order(clock::now(), Order::Leave { session: session(0) });
            handle
        });
        // It found no room, and says so before it waits.
        until_woken(&mut relay);
        while relay.relay.seated().count() > 0 {
            relay.turn(clock::now());
            thread::yield_now();
        }
        assert!(waiting.join().unwrap().has_said);
    }

    #[test]
    fn voice_that_finds_no_room_on_its_way_is_dropped_and_all_else_is_not() {
        let mut rig = Rig::new(2);
        rig.order(Order::Listen { session: session(1), path: VoicePath::Tcp });
        let (talker, mut payload) = (session(0), vec![]);
        let frame = VoiceFrame { talker, sequence: 1, end: false, level: 30, opus: &[1] };
        assert!(frame.write(&mut payload));
        // More voice than there is room for, to the relay and, as much as its rate allows, back.
        let now = clock::now();
        let talk = Order::Talk { session: talker, room: Some(RoomId::from_wire(1)), payload: &payload };
        rig.handle.order(now - limits::VOICE_LATE * 2, talk);
        for _ in 0..WAITING_TALKS + 9 {
            rig.handle.order(now, talk);
        }
        assert_eq!(rig.handle.talk_dropped, 10);
        rig.turn(now);
        let back = std::iter::from_fn(|| rig.handle.handed_back());
        let (voice, alive): (Vec<_>, Vec<_>) =
            back.partition(|back| matches!(back, HandedBack::Voice { to, .. } if **to == [session(1)]));
        assert!(voice.len() >= 100 && alive.len() == 2, "{} {}", voice.len(), alive.len());
        rig.relay.publish();
        let stats = rig.handle.stats();
        assert_eq!(stats.handed_late, 11, "with the one that came too late");
        assert_eq!(stats.relay.voice_in, WAITING_TALKS as u64 - 1);
        assert_eq!(stats.relay.voice_over_rate + voice.len() as u64, stats.relay.voice_in);
    }
}
