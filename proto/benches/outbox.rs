//! What queueing for one connection costs: each text and each tunnelled voice frame is queued so for each of its readers.

use chinwag_proto::{
    limits::VOICE_QUEUE_BYTES,
    outbox::{Class, Outbox},
};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A reader who keeps up: 100 bytes in, 100 bytes out.
#[divan::bench]
fn through(bencher: Bencher<'_, '_>) {
    let mut outbox = Outbox::default();
    bencher.bench_local(|| {
        assert!(outbox.push(Class::Control, black_box(&[1; 100])).is_ok());
        let written = black_box(outbox.front()).map_or(0, <[u8]>::len);
        outbox.consume(written);
    });
}

/// A reader who takes nothing: each voice frame drops the oldest.
#[divan::bench]
fn voice_when_full(bencher: Bencher<'_, '_>) {
    let mut outbox = Outbox::default();
    let mut push = || assert!(outbox.push(Class::Voice, black_box(&[1; 100])).is_ok());
    (0..VOICE_QUEUE_BYTES / 100).for_each(|_| push());
    bencher.bench_local(push);
}
