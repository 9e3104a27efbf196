//! What a server keeps for those who are there and say nothing: counted by an allocator of this test's own. What the
//! cryptographic library takes from the system by itself is not in it.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use chinwag_proto::client::{ClientEvent, EndReason};
use chinwag_transport_mio::{
    identity::Identity,
    server::{Order, ServerLoop, ServerOptions, Service},
};

use self::common::{PATIENCE, RunningClient, Wish};

struct Counting;

thread_local! {
    static IS_SERVER: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that the server's thread took and did not give back.
static KEPT: AtomicUsize = AtomicUsize::new(0);

fn count(taken: usize, given_back: usize) {
    if IS_SERVER.get() {
        KEPT.fetch_add(taken.wrapping_sub(given_back), Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting touches no
// memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Most of it is what TLS reads into (4 KiB), and its state.
const EACH: usize = 7 * 1024;

/// Tables that stay, and buffers that are used again.
const OTHER: usize = 128 * 1024;

/// Waits until no more than so much is kept.
fn until_kept(most: usize, when: &str) {
    let start = Instant::now();
    while KEPT.load(Ordering::Relaxed) > most {
        assert!(start.elapsed() < PATIENCE, "{when}: {} bytes of {most}", KEPT.load(Ordering::Relaxed));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn whoever_is_idle_costs_little_whatever_went_on_before() {
    const CLIENTS: usize = 40;
    const MESSAGES: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_make(&folder.path().join("data")).unwrap();
    let fingerprint = Some(identity.fingerprint());
    let mut server = ServerLoop::bind(ServerOptions {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        classic_text: vec![],
        classic_voice: vec![],
        identity,
        max_clients: CLIENTS,
        voice_hold: std::time::Duration::ZERO,
        voice_threads: std::num::NonZeroUsize::MIN,
    })
    .unwrap();
    let address = server.addresses(Service::Native).next().unwrap();
    let operator = server.operator_handle();
    let server = thread::spawn(move || {
        IS_SERVER.set(true);
        server.run(&mut |_| {}).unwrap();
    });
    let known_hosts = folder.path().join("known_hosts");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| RunningClient::join(address, fingerprint, &known_hosts, &format!("m{n}")))
        .collect();
    for client in &clients {
        client.until_event("welcome", |event| matches!(event, ClientEvent::Welcome { .. }));
    }
    until_kept(OTHER + CLIENTS * EACH, "all are there");
    // All at once: each has most of this waiting for a moment.
    let text = "x".repeat(4000);
    for n in 0..MESSAGES {
        clients[n % CLIENTS].wish(Wish::Say(text.clone()));
    }
    clients[0].wish(Wish::Say("last".into()));
    for client in &clients {
        client.until_said("last");
    }
    // What was said is remembered.
    let log = MESSAGES * (text.len() + 200);
    until_kept(OTHER + CLIENTS * EACH + log, "all was said");
    for client in clients {
        assert_eq!(client.quit(), EndReason::Quit);
    }
    until_kept(OTHER + log, "all are gone");
    operator.give(Order::Stop).unwrap();
    server.join().unwrap();
}
