//! Talking and listening allocate nothing once they are under way. A binary of its own, for its allocator counts.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use chinwag_audio::{
    BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    playout::Playout,
    process::{Processing, Processor},
    sample::voice,
};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness has others.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // After the thread's end there is nobody to count for.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Talks and listens for the whole of `said`, losing and delaying some frames; allocations in its second half.
fn allocations(said: &[f32], frame: FrameLength, gate: Gate, processing: Processing) -> (u64, u64) {
    let config = EncoderConfig { frame, ..EncoderConfig::default() };
    let mut capture = Capture::new(config, gate).unwrap();
    capture.set_processing(processing);
    let mut playout = Playout::new();
    let mut block = SILENCE;
    // One frame may be kept back, to overtake it.
    let (mut kept, mut kept_length, mut kept_sequence) = ([0_u8; 1000], 0, 0);
    let (mut at_half, mut frames) = (0, 0_u64);
    let half = said.len() / 480 / 2;
    for (k, chunk) in said.chunks_exact(480).enumerate() {
        if k == half {
            at_half = ALLOCATIONS.with(Cell::get);
        }
        let now = Instant::from_micros(k as u64 * BLOCK_US);
        capture.push(chunk.try_into().unwrap(), &mut |datagram| {
            let f = datagram[0];
            frames += 1;
            let mut receive = |sequence, opus: &[u8]| {
                playout.receive(
                    now,
                    VoiceFrame { talker: 1, sequence, end: f.end, copy: false, level: f.level, opus },
                );
            };
            match frames % 10 {
                3 => {}
                6 => {
                    kept[..f.opus.len()].copy_from_slice(f.opus);
                    (kept_length, kept_sequence) = (f.opus.len(), f.sequence);
                }
                7 => {
                    receive(f.sequence, f.opus);
                    receive(kept_sequence, &kept[..kept_length]);
                }
                _ => receive(f.sequence, f.opus),
            }
        });
        playout.render(now, &mut block);
        capture.hear(&block);
    }
    let stats = playout.stats().total;
    assert!(stats.fec_recovered > 0 && stats.concealed > 0 && stats.played > 0, "{stats:?}");
    (at_half, ALLOCATIONS.with(Cell::get) - at_half)
}

#[test]
fn talk_under_way_allocates_nothing() {
    // Pauses are in it: spurts end and begin again.
    let mut said = voice(1, 4);
    said[40_000..90_000].fill(0.0);
    said.extend_from_within(..);
    for frame in [FrameLength::Ms10, FrameLength::Ms20] {
        for (gate, processing) in [
            (Gate::Level, Processing::none()),
            (Gate::Voice, Processing { echo: false, ..Processing::default() }),
        ] {
            let (before, after) = allocations(&said, frame, gate, processing);
            assert!(before > 0, "the counter counts");
            assert_eq!(after, 0, "{frame:?} {gate:?}");
        }
    }
}

#[test]
fn taking_out_an_echo_allocates_nothing() {
    let far = voice(2, 2);
    let mut processor = Processor::new(Processing::default());
    let before = ALLOCATIONS.with(Cell::get);
    for chunk in far.chunks_exact(480) {
        let mut block: Block = std::array::from_fn(|i| chunk[i]);
        processor.hear(&block);
        processor.process(&mut block, true);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
}
