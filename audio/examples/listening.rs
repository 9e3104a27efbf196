//! What listening costs: the CPU time of a listener's side (jitter buffers, decoders, levels, mixer) for some talkers at
//! once. `cargo run --release -p chinwag-audio --example listening [TALKERS]`

#![expect(clippy::disallowed_methods, reason = "what it costs is measured")]

use chinwag_audio::{
    BLOCK, BLOCK_US, Block, Instant, SILENCE, VoiceFrame,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    playout::Playout,
    sample::voice,
};

/// Seconds that they talk.
const SECONDS: usize = 30;

struct Sent {
    talker: u32,
    sequence: u32,
    end: bool,
    level: u8,
    opus: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let talkers: u32 = std::env::args().nth(1).map_or(Ok(4), |count| count.parse())?;
    let mut blocks: Vec<Vec<Sent>> = (0..SECONDS * 100).map(|_| Vec::new()).collect();
    for talker in 0..talkers {
        let mut capture = Capture::new(EncoderConfig::default(), Gate::Open)?;
        for (chunk, sent) in voice(u64::from(talker) + 1, SECONDS).chunks_exact(BLOCK).zip(&mut blocks) {
            let block: &Block = chunk.try_into()?;
            capture.push(block, &mut |datagram| {
                for frame in datagram {
                    let (opus, level) = (frame.opus.to_vec(), frame.level);
                    sent.push(Sent { talker, sequence: frame.sequence, end: frame.end, level, opus });
                }
            });
        }
    }
    let (mut playout, mut out) = (Playout::new(), SILENCE);
    let began = std::time::Instant::now();
    for (index, sent) in blocks.iter().enumerate() {
        let now = Instant::from_micros(1_000_000 + index as u64 * BLOCK_US);
        for Sent { talker, sequence, end, level, opus } in sent {
            let frame = VoiceFrame {
                talker: *talker,
                sequence: *sequence,
                end: *end,
                copy: false,
                level: *level,
                opus,
            };
            playout.receive(now, frame);
        }
        playout.render(now, &mut out);
    }
    // Nothing waits in here: on a machine with a core to spare this is CPU time.
    let us = began.elapsed().as_micros() as f64 / blocks.len() as f64;
    let percent = us / BLOCK_US as f64 * 100.0;
    println!("{talkers} talkers: {us:.0} µs for 10 ms, {percent:.2} % of a core");
    Ok(())
}
