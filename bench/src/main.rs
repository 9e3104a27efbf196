//! The scenarios whose instructions `script/bench-instructions` counts: the same from run to run, whatever the time is.
//!
//!     chinwag-bench relay|joins|text
//!
//! Only what is called through [`chinwag_bench_counted`] counts. Each scenario says whether it did what it is named for: one that is refused by
//! the core would be cheap.

use std::process::ExitCode;

use chinwag_bench::{Open, ServerRig, VoiceRig};

/// `script/bench-instructions` knows it by this name.
// SAFETY: no other function of the program has this name, nor one of the libraries that it is linked with.
#[unsafe(no_mangle)]
#[inline(never)]
fn chinwag_bench_counted(scenario: &mut dyn FnMut()) {
    scenario();
}

fn main() -> ExitCode {
    let scenario = std::env::args().nth(1);
    match scenario.as_deref() {
        Some("relay") => relay(),
        Some("joins") => joins(),
        Some("text") => text(),
        _ => {
            eprintln!("chinwag-bench: which scenario? relay, joins, text");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// One talks for a second, 100 listen by datagram.
fn relay() {
    let mut rig = VoiceRig::new(1, 100, || (Open, Open));
    // Buffers grow.
    rig.talk(10);
    let before = rig.stats().datagrams_out;
    chinwag_bench_counted(&mut || rig.talk(100));
    assert_eq!(rig.stats().datagrams_out - before, 100 * 100);
}

/// 1000 come into one room, and go again.
fn joins() {
    let mut rig = ServerRig::new(1000);
    let mut most = 0;
    chinwag_bench_counted(&mut || {
        rig.join_all();
        most = rig.members();
        (0..1000).for_each(|index| rig.quit(index));
    });
    assert_eq!((most, rig.members()), (1000, 0));
}

/// 10 say 10 000 messages in turn, each as fast as it may.
fn text() {
    let mut rig = ServerRig::new(10);
    rig.join_all();
    let texts = rig.texts(10_000);
    chinwag_bench_counted(&mut || {
        for (number, text) in texts.iter().enumerate() {
            rig.receive(number % 10, text);
        }
    });
    assert_eq!((rig.stats().messages, rig.stats().pauses), (10_000, 0));
}
