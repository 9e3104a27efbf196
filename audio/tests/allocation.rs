//! Talking and listening allocate nothing once they are under way. A binary of its own, for its allocator counts.

#![allow(clippy::unwrap_used)] // Tests; the lint's own exception does not reach their helpers.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use chinwag_audio::{
    BLOCK_US, Block, EncodedFrame, Instant, SILENCE, VoiceFrame,
    adapt::Sending,
    capture::{Capture, Gate},
    codec::{EncoderConfig, FrameLength},
    gateway::{Gateway, GatewayOut, PcmFormat},
    limits::MAX_COPIES,
    playout::Playout,
    process::{Processing, Processor},
    sample::voice,
};
use chinwag_proto::ReceiverReport;

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

const NO_COPIES: [u8; MAX_COPIES] = [0; MAX_COPIES];

/// How a run talks.
#[derive(Clone, Copy, Debug)]
struct Talk {
    frame: FrameLength,
    gate: Gate,
    processing: Processing,
    /// Copies of frames so far back.
    offsets: [u8; MAX_COPIES],
}

/// Talks and listens for the whole of `said`, losing and delaying some datagrams; allocations in its first and second half.
fn allocations(said: &[f32], talk: Talk) -> (u64, u64) {
    let Talk { frame, gate, processing, offsets } = talk;
    let config = EncoderConfig { frame, ..EncoderConfig::default() };
    let mut capture = Capture::new(config, gate).unwrap();
    capture.set_processing(processing);
    capture.set_sending(Sending { offsets, ..Sending::untroubled(&config) });
    let mut playout = Playout::new();
    let mut block = SILENCE;
    // One frame may be kept back, to be overtaken; its copies are lost.
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
            let mut receive = |datagram: &[EncodedFrame<'_>]| {
                for (index, &EncodedFrame { sequence, end, level, opus }) in datagram.iter().enumerate() {
                    let copy = index > 0;
                    playout.receive(now, VoiceFrame { talker: 1, sequence, end, copy, level, opus });
                }
            };
            match frames % 10 {
                3 => {}
                6 => {
                    kept[..f.opus.len()].copy_from_slice(f.opus);
                    (kept_length, kept_sequence) = (f.opus.len(), f.sequence);
                }
                7 => {
                    receive(datagram);
                    receive(&[EncodedFrame { sequence: kept_sequence, opus: &kept[..kept_length], ..f }]);
                }
                _ => receive(datagram),
            }
        });
        playout.render(now, &mut block);
        capture.hear(&block);
    }
    let stats = playout.stats().total;
    let made_good = match offsets {
        NO_COPIES => stats.fec_recovered.min(stats.concealed),
        _ => stats.copies_played,
    };
    assert!(made_good > 0 && stats.played > 0, "{talk:?}: {stats:?}");
    (at_half, ALLOCATIONS.with(Cell::get) - at_half)
}

#[test]
fn talk_under_way_allocates_nothing() {
    // Pauses are in it: spurts end and begin again.
    let mut said = voice(1, 4);
    said[40_000..90_000].fill(0.0);
    said.extend_from_within(..);
    for frame in [FrameLength::Ms10, FrameLength::Ms20] {
        let untreated = Talk { frame, gate: Gate::Level, processing: Processing::none(), offsets: NO_COPIES };
        let processing = Processing { echo: false, ..Processing::default() };
        for talk in [
            untreated,
            Talk { offsets: [1, 3, 0], ..untreated },
            Talk { gate: Gate::Voice, processing, ..untreated },
        ] {
            let (before, after) = allocations(&said, talk);
            assert!(before > 0, "the counter counts");
            assert_eq!(after, 0, "{talk:?}");
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

/// Counts what it is given, and keeps the last payload.
struct Sink {
    payloads: usize,
    pcm: usize,
    last: Vec<u8>,
}

impl GatewayOut for Sink {
    fn send(&mut self, session: u32, payload: &[u8]) {
        assert_eq!(session, 1);
        self.payloads += 1;
        self.last.clear();
        self.last.extend_from_slice(payload);
        // As if a native member said the same.
        self.last[..4].copy_from_slice(&9_u32.to_be_bytes());
    }

    fn play(&mut self, _session: u32, pcm: &[u8]) {
        self.pcm += pcm.len();
    }

    fn report(&mut self, _talker: u32, _report: ReceiverReport) {}
}

#[test]
fn a_gateway_under_way_allocates_nothing() {
    let format = PcmFormat { rate_hz: 48_000, channels: 1 };
    let mut said = voice(1, 3);
    said[40_000..90_000].fill(0.0);
    said.extend_from_within(..);
    let pcm: Vec<u8> = said.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    let mut gateway = Gateway::new();
    for (session, rate_hz) in [(1, 48_000), (2, 44_100), (3, 8_000), (4, 44_100)] {
        gateway.open(Instant::ZERO, session, PcmFormat { rate_hz, ..format }).unwrap();
    }
    let mut sink = Sink { payloads: 0, pcm: 0, last: Vec::with_capacity(2_000) };
    let mut at_half = 0;
    let chunks = pcm.chunks(2_048);
    let half = chunks.len() / 2;
    for (k, chunk) in chunks.enumerate() {
        if k == half {
            at_half = ALLOCATIONS.with(Cell::get);
        }
        let now = Instant::from_micros(k as u64 * 1_024_000 / 48);
        gateway.pcm(now, 1, chunk);
        gateway.handle_timeout(now, &mut sink);
        if !sink.last.is_empty() {
            gateway.hear(now, &sink.last);
            sink.last.clear();
        }
    }
    assert!(sink.payloads > 200 && sink.pcm > 0 && gateway.stats().natives.total.played > 50);
    assert_eq!(ALLOCATIONS.with(Cell::get), at_half);
}
