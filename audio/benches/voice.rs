//! What voice costs at a client: coding 10 ms, keeping a minute in order, adding talkers up.

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    codec::{Decoder, Encoder, EncoderConfig, MAX_FRAME_SAMPLES},
    jitter::JitterBuffer,
    mix::{Mixer, Strip},
    sample::voice,
};
use chinwag_proto::Rng;
use divan::{Bencher, black_box};

/// Of speech, over and over.
const SECONDS: usize = 10;
const BLOCKS: usize = SECONDS * 100;

fn main() {
    divan::main();
}

#[divan::bench]
fn encode_10_ms(bencher: Bencher<'_, '_>) {
    let (said, mut encoder) = (said(1), encoder());
    let mut blocks = said.iter().cycle();
    bencher.bench_local(|| encoder.encode(next(&mut blocks)).expect("an encoded block").len());
}

#[divan::bench]
fn decode_10_ms(bencher: Bencher<'_, '_>) {
    let packets = packets();
    let mut packets = packets.iter().cycle();
    let mut decoder = Decoder::new().expect("a decoder");
    let mut out = [0.0; MAX_FRAME_SAMPLES];
    bencher.bench_local(|| decoder.decode(next(&mut packets), &mut out).expect("a decoded block"));
}

/// A minute of one talker, each frame up to 30 ms late by chance: all pushes and pulls.
#[divan::bench(sample_size = 1, sample_count = 100)]
fn jitter_buffer_for_a_minute(bencher: Bencher<'_, '_>) {
    const FRAMES: u64 = 6000;
    let packets = packets();
    let mut chance = Rng::from_number(1);
    let mut arrivals: Vec<(u64, u64)> =
        (0..FRAMES).map(|frame| (frame * BLOCK_US + chance.below(30_000), frame)).collect();
    arrivals.sort_unstable();
    let start = Instant::from_micros(1_000_000);
    let at = |us: u64| Instant::from_micros(start.as_micros() + us);
    bencher.bench_local(|| {
        let mut buffer = JitterBuffer::new();
        let mut arrivals = arrivals.iter().peekable();
        for block in 0..FRAMES {
            let now = block * BLOCK_US;
            while let Some(&(arrived, frame)) = arrivals.next_if(|(arrived, _)| *arrived <= now) {
                let opus = &packets[frame as usize % packets.len()];
                let (sequence, end, copy, level) = (frame as u32, false, false, 30);
                buffer.push(at(arrived), &VoiceFrame { talker: 1, sequence, end, copy, level, opus });
            }
            black_box(buffer.pull(at(now)));
        }
        buffer.stats()
    });
}

/// 10 ms of so many at once: their levels, their sum, the limiter.
#[divan::bench(args = [1, 4, 16])]
fn mix_10_ms(bencher: Bencher<'_, '_>, talkers: usize) {
    let said: Vec<Vec<Block>> = (1..=talkers as u64).map(said).collect();
    let mut mixer = Mixer::new();
    let mut strips: Vec<Strip> = (0..talkers).map(|_| mixer.strip(None)).collect();
    let (mut out, mut at) = (SILENCE, 0);
    bencher.bench_local(|| {
        at = (at + 1) % BLOCKS;
        for (strip, said) in strips.iter_mut().zip(&said) {
            strip.observe(&said[at]);
            mixer.mix(strip, &said[at]);
        }
        mixer.finish(&mut out);
        black_box(&out);
    });
}

fn said(seed: u64) -> Vec<Block> {
    voice(seed, SECONDS).as_chunks::<BLOCK>().0.to_vec()
}

fn encoder() -> Encoder {
    Encoder::new(EncoderConfig::default()).expect("an encoder")
}

fn packets() -> Vec<Vec<u8>> {
    let mut encoder = encoder();
    said(1).iter().map(|block| encoder.encode(block).expect("an encoded block").to_vec()).collect()
}

fn next<'a, T>(items: &mut impl Iterator<Item = &'a T>) -> &'a T {
    items.next().expect("it goes on and on")
}
