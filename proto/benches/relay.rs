//! What relaying 10 ms of voice costs the core by how many talk and listen, with a seal that costs nothing: the rest of what a
//! server pays for it is `chinwag-transport-mio`'s.

use chinwag_bench::{Open, VoiceRig};
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench(args = [10, 100, 1000])]
fn one_talks(bencher: Bencher<'_, '_>, listeners: usize) {
    talk(bencher, 1, listeners);
}

/// Their frames share datagrams.
#[divan::bench(args = [10, 100, 1000])]
fn four_talk(bencher: Bencher<'_, '_>, listeners: usize) {
    talk(bencher, 4, listeners);
}

fn talk(bencher: Bencher<'_, '_>, talkers: usize, listeners: usize) {
    let mut rig = VoiceRig::new(talkers, listeners, || (Open, Open));
    bencher.bench_local(|| rig.talk(1));
    // What is dropped would be cheap.
    let stats = rig.stats();
    assert_eq!((stats.voice_over_rate, stats.voice_unsent), (0, 0));
}
