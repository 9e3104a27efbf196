//! Relaying a voice datagram allocates nothing, however many listen: counted by an allocator of this test's own.
#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
};

use chinwag_proto::{
    Duration, Instant, RoomId, SessionId,
    limits::DATAGRAM_BYTES,
    relay::{Arrival, Egress, Order, Relay, VoicePath},
    wire::{
        path::{DatagramKind, Draft, HEADER_BYTES, Seal, SealedPath, TAG_BYTES},
        voice::FRAME_HEADER_BYTES,
    },
};
use common::{Open, millis, session, voice};

struct Counting;

thread_local! {
    /// Of this thread, since others of the test's process allocate when they like.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn counted() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting touches no
// memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what it is given, in one buffer.
#[derive(Default)]
struct Sink {
    buffer: Vec<u8>,
    datagrams: usize,
    bytes: usize,
    tunnelled: usize,
}

impl<S: Seal> Egress<S> for Sink {
    fn datagram(&mut self, _socket: usize, _to: SocketAddr, draft: Draft<'_, S>) {
        self.buffer.clear();
        draft.write_sealed(&mut self.buffer);
        self.datagrams += 1;
        self.bytes += self.buffer.len();
    }

    fn tunnel(&mut self, _payload: &[u8], to: impl Iterator<Item = SessionId>) -> bool {
        self.tunnelled += to.count();
        true
    }

    fn alive(&mut self, _now: Instant, _session: SessionId) {}
}

struct Rig {
    relay: Relay<Open>,
    now: Instant,
    /// The talkers' ends.
    talkers: Vec<SealedPath<Open>>,
}

impl Rig {
    /// A room of so many, the first of whom talk; every tenth listens by TCP, one both ways.
    fn new(members: u32, talkers: usize) -> Self {
        let mut rig = Self { relay: Relay::default(), now: Instant::from_micros(1_000_000), talkers: vec![] };
        for index in 0..members {
            let session = session(1, index);
            rig.relay.open(session, Some(RoomId::from_wire(1)), Some(Open));
            let mut end = SealedPath::new(session, Open);
            rig.send(&mut end, DatagramKind::Echo, &[], &mut Sink::default());
            let path = match index {
                50 => VoicePath::Both,
                _ if index % 10 == 9 => VoicePath::Tcp,
                _ => VoicePath::Udp,
            };
            rig.relay.obey(rig.now, Order::Listen { session, path }, &mut Sink::default());
            if rig.talkers.len() < talkers {
                rig.talkers.push(end);
            }
        }
        rig
    }

    fn send(&mut self, end: &mut SealedPath<Open>, kind: DatagramKind, payload: &[u8], sink: &mut Sink) {
        sink.buffer.clear();
        assert!(end.seal(kind, payload, &mut sink.buffer));
        let mut bytes = [0; DATAGRAM_BYTES];
        let bytes = &mut bytes[..sink.buffer.len()];
        bytes.copy_from_slice(&sink.buffer);
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let arrival = Arrival { socket: 0, from, waited: Duration::ZERO, bytes };
        self.relay.handle_datagram(self.now, arrival, sink).unwrap();
    }

    /// All talkers say something, so many times; returns what came of it and how often memory was allocated meanwhile.
    fn relay(&mut self, times: usize) -> (Sink, u64) {
        let mut sink = Sink { buffer: Vec::with_capacity(DATAGRAM_BYTES), ..Sink::default() };
        let mut talkers = std::mem::take(&mut self.talkers);
        let mut payloads = vec![];
        for end in &talkers {
            payloads.push(voice(end.session(), 1, &[9; 120]));
        }
        let before = counted();
        for _ in 0..times {
            self.now = self.now + millis(10);
            for (end, payload) in talkers.iter_mut().zip(&payloads) {
                self.send(end, DatagramKind::Voice, payload, &mut sink);
            }
            self.relay.handle_timeout(self.now, &mut sink);
        }
        let allocations = counted() - before;
        self.talkers = talkers;
        (sink, allocations)
    }
}

#[test]
fn relaying_voice_to_a_hundred_listeners_allocates_nothing() {
    // 100 listen, 10 of them by TCP only and one both ways: 90 datagrams and 11 frames for each that is said.
    let mut rig = Rig::new(101, 1);
    assert!(rig.relay(10).1 < 20, "buffers grow once");
    let (sink, allocations) = rig.relay(1000);
    assert_eq!((sink.datagrams, sink.tunnelled, allocations), (90_000, 11_000, 0));
    let frame = FRAME_HEADER_BYTES + 120;
    assert_eq!(sink.bytes, 90_000 * (HEADER_BYTES + frame + TAG_BYTES));
    // The count works: what allocates is seen.
    let before = counted();
    std::hint::black_box(vec![1u8; 10]);
    assert_eq!(counted() - before, 1);

    // Five talk at once, who are among those that listen by UDP: each listener gets one datagram, with all but what is his own.
    let mut rig = Rig::new(101, 5);
    rig.relay(10);
    let (sink, allocations) = rig.relay(1000);
    assert_eq!((sink.datagrams, sink.tunnelled, allocations), (91_000, 55_000, 0));
    assert_eq!(sink.bytes, 91_000 * (HEADER_BYTES + TAG_BYTES) + (86_000 * 5 + 5_000 * 4) * frame);
}
