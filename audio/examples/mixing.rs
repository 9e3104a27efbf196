//! The mixing side, measured. Without arguments, a table of what it costs (build it with `--release`). With
//! `level IN.wav OUT.wav [GAIN_DB] [NOISE_DB]`, the recording (looped to 20 s, with that gain and white noise in it) is put through a
//! talker's strip and the mixer; a line for each second tells the level of active speech before and after.

#![expect(clippy::disallowed_methods, reason = "what it costs is measured")]

use std::time::Instant;

use chinwag_audio::{
    BLOCK, Block, SILENCE,
    comfort::Comfort,
    mix::{Mixer, Placing, Strip},
    sample::voice,
    wav::{WavSink, WavSource},
};

const ROUNDS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => costs(),
        ["level", said, heard, numbers @ ..] if numbers.len() <= 2 => {
            let number = |at: usize, usual: f32| numbers.get(at).map_or(Ok(usual), |text| text.parse());
            level(said, heard, number(0, 0.0)?, number(1, -120.0)?)?;
        }
        _ => return Err("usage: mixing [level IN.wav OUT.wav [GAIN_DB] [NOISE_DB]]".into()),
    }
    Ok(())
}

/// Nanoseconds of a call, the least of ten runs: what else the machine does only adds.
fn nanoseconds(mut call: impl FnMut(usize)) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        (0..ROUNDS / 10).for_each(&mut call);
        least = least.min(start.elapsed().as_nanos() as f64 / (ROUNDS / 10) as f64);
    }
    least
}

fn costs() {
    let said = voice(1, 10);
    let blocks: Vec<Block> = said.as_chunks().0.to_vec();
    let block = |k: usize| &blocks[k % blocks.len()];
    println!("{:<52} {:>10} {:>14}", "what, for 10 ms", "ns", "ns per talker");
    for (placing, name) in [(Placing::Mono, "mono"), (Placing::Spread, "stereo")] {
        for (known, active) in [(64, 0), (1, 1), (64, 1), (4, 4), (16, 16), (64, 64)] {
            let mut mixer = Mixer::new();
            mixer.set_placing(placing);
            let mut strips: Vec<Strip> = (0..known).map(|_| mixer.strip(None)).collect();
            let mut out = [SILENCE; 2];
            let ns = nanoseconds(|k| {
                for (n, strip) in strips[..active].iter_mut().enumerate() {
                    let block = block(k + n * 31);
                    strip.observe(block);
                    mixer.mix(strip, block);
                }
                mixer.finish_stereo(&mut out);
            });
            let what = format!("level and mix, {name}, {known} known, {active} talking");
            let each = if active > 0 { format!("{:.0}", ns / active as f64) } else { "–".into() };
            println!("{what:<52} {ns:>10.0} {each:>14}");
        }
    }
    let mut comfort = Comfort::new();
    let quiet: Vec<Block> = blocks.iter().map(|block| block.map(|s| s * 0.01 + 0.001)).collect();
    let ns = nanoseconds(|k| comfort.observe(&quiet[k % quiet.len()]));
    println!("{:<52} {ns:>10.0}", "comfort noise: what is heard");
    let ns = nanoseconds(|_| comfort.observe(&[0.001; BLOCK]));
    println!("{:<52} {ns:>10.0}", "comfort noise: background that is learned from");
    let mut out = SILENCE;
    let ns = nanoseconds(|_| comfort.fill(&mut out, 0.0));
    println!("{:<52} {ns:>10.0}", "comfort noise: nothing to be filled");
    let ns = nanoseconds(|_| comfort.fill(&mut out, 1.0));
    println!("{:<52} {ns:>10.0}", "comfort noise: played");
    assert!(out.iter().any(|s| *s != 0.0), "something was computed");
}

fn level(said: &str, heard: &str, gain_db: f32, noise_db: f32) -> Result<(), Box<dyn std::error::Error>> {
    let mut source = WavSource::open(said)?;
    let (mut speech, mut block): (Vec<f32>, Block) = (Vec::new(), SILENCE);
    while source.read(&mut block) {
        speech.extend_from_slice(&block);
    }
    let (gain, noise) = (10.0_f32.powf(gain_db / 20.0), 10.0_f32.powf(noise_db / 20.0) * 1.732);
    let mut seed = 1_u32;
    let mut white = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut mixer = Mixer::new();
    let mut strip = mixer.strip(None);
    let mut sink = WavSink::create(heard)?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    println!("   s    in dBFS   out dBFS");
    for (k, chunk) in speech.as_chunks::<BLOCK>().0.iter().cycle().take(2_000).enumerate() {
        let block = chunk.map(|s| (s * gain + white() * noise).clamp(-1.0, 1.0));
        strip.observe(&block);
        mixer.mix(&mut strip, &block);
        let mut out = SILENCE;
        mixer.finish(&mut out);
        sink.write(&out);
        before.extend_from_slice(&block);
        after.extend_from_slice(&out);
        if (k + 1) % 100 == 0 {
            println!(
                "{:>4} {:>10.1} {:>10.1}",
                (k + 1) / 100,
                active_level_db(&before),
                active_level_db(&after)
            );
            // A word or two at a time, in the pace of the words.
            let keep = before.len().saturating_sub(2 * 48_000);
            before.drain(..keep);
            after.drain(..keep);
        }
    }
    sink.flush();
    Ok(())
}

/// Active speech level by ITU-T P.56, method B: the power of the time in which the envelope is above a threshold that lies 15.9 dB
/// below that very level.
fn active_level_db(samples: &[f32]) -> f32 {
    const MARGIN_DB: f32 = 15.9;
    const HANG_OVER: usize = 9_600;
    let keep = (-1.0_f32 / (48_000.0 * 0.03)).exp();
    let (mut first, mut second) = (0.0, 0.0);
    let envelope: Vec<f32> = samples
        .iter()
        .map(|s| {
            first = keep * first + (1.0 - keep) * s.abs();
            second = keep * second + (1.0 - keep) * first;
            second
        })
        .collect();
    let energy: f64 = samples.iter().map(|s| f64::from(s * s)).sum();
    for tenths in -900..0 {
        let threshold_db = tenths as f32 / 10.0;
        let threshold = 10.0_f32.powf(threshold_db / 20.0);
        let (mut active, mut hang) = (0_usize, 0);
        for size in &envelope {
            hang = if *size >= threshold { HANG_OVER } else { usize::saturating_sub(hang, 1) };
            active += usize::from(hang > 0);
        }
        if active > 0 {
            let level_db = 10.0 * (energy / active as f64).log10() as f32;
            if level_db - threshold_db <= MARGIN_DB {
                return level_db;
            }
        }
    }
    f32::NEG_INFINITY
}
