//! Relaying a voice datagram allocates nothing, however many listen: counted by an allocator of this test's own.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering},
};

use chinwag_proto::{
    Peer,
    server::{Input, Output},
    wire::{chinwag1 as pb, path::DatagramKind},
};
use common::{ServerRig, millis, session, voice};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting touches no
// memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Relays so many datagrams; returns how often memory was allocated meanwhile.
fn relay(rig: &mut ServerRig, datagrams: usize, payload: &[u8], listeners: usize) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..datagrams {
        rig.now = rig.now + millis(10);
        let input = Input::Datagram { peer: Peer::new(0), kind: DatagramKind::Voice, payload };
        rig.server.handle_input(rig.now, input);
        let mut reached = 0;
        while let Some(output) = rig.server.poll_output() {
            match output {
                Output::Relay { frame, to, .. } => {
                    assert_eq!(frame, payload);
                    reached += to.len();
                }
                Output::Send { to, .. } => reached += to.len(),
                Output::OpenPath { .. }
                | Output::Pause { .. }
                | Output::Unpause { .. }
                | Output::Close { .. }
                | Output::Report { .. }
                | Output::Event(_) => panic!("only voice was to be done"),
            }
        }
        assert_eq!(reached, listeners);
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn relaying_voice_to_a_hundred_listeners_allocates_nothing() {
    let mut rig = ServerRig::new();
    for peer in 0..=100 {
        rig.join(peer, &format!("n{peer}"));
        // One in ten listens by TCP, one both ways.
        let path =
            [pb::set_voice_path::Path::Udp, pb::set_voice_path::Path::Tcp][usize::from(peer % 10 == 9)];
        let path = if peer == 50 { pb::set_voice_path::Path::Both } else { path };
        rig.send(peer, pb::to_server::Kind::VoicePath(pb::SetVoicePath { path: path.into() }));
    }
    let payload = voice(session(1, 0), 1, &[9; 120]);
    assert!(relay(&mut rig, 10, &payload, 101) < 20, "buffers grow once");
    assert_eq!(relay(&mut rig, 1000, &payload, 101), 0);
    // The count works: what allocates is seen.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    std::hint::black_box(vec![1u8; 10]);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1);
}
