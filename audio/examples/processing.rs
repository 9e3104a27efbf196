//! What processing of the microphone's sound is worth, and costs: `cargo run --release -p chinwag-audio --example
//! processing [NEAR.wav FAR.wav [FOLDER]]`.
//!
//! Without files two made-up voices speak. With a folder, what comes out is written there, for measures such as PESQ;
//! `near.wav` is what it is to be compared with.

#![allow(clippy::unwrap_used)] // A demonstration; what fails is said.

use std::path::Path;

use chinwag_audio::{
    BLOCK, Block, SILENCE,
    capture::{Capture, Gate},
    codec::EncoderConfig,
    compare::align,
    process::{Processing, Processor},
    rms,
    sample::voice,
    wav::{WavSink, WavSource},
};

const RATE: usize = 48_000;
const SECONDS: usize = 14;
const ALL: Processing = Processing { high_pass: true, echo: true, noise: true, gain: true };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (near, far) = match &arguments[..] {
        [near, far, ..] => (read(near), read(far)),
        _ => (voice(5, SECONDS), voice(2, SECONDS)),
    };
    let folder = arguments.get(2).map(Path::new);
    // The far end for twice as long: first alone.
    let far: Vec<f32> = far.iter().copied().cycle().take(2 * SECONDS * RATE).collect();
    let mut said = vec![0.0; SECONDS * RATE];
    said.extend(near.iter().copied().cycle().take(SECONDS * RATE));
    let both = SECONDS * RATE..2 * SECONDS * RATE;
    let floor = noise(1, far.len(), 2e-4);
    write(folder, "near", &said[both.clone()]);

    println!("echo of a far voice, 30 ms and a room of 60 ms away, loudspeaker distorting");
    let mic = add(&echo(&far, 0.05), &floor);
    let out = run(ALL, &far, &mic);
    write(folder, "echo-alone", &out);
    for (from, to) in [(1, 2), (3, 5), (10, 14)] {
        let seconds = from * RATE..to * RATE;
        let less = db(rms(&mic[seconds.clone()]) / rms(&out[seconds]));
        println!("  echo alone, after {from} s: less by {less:.0} dB");
    }
    for (name, louder_db) in [("as loud as", 0.0_f32), ("6 dB below", -6.0)] {
        let loud = rms(&said[both.clone()]) * 10.0_f32.powf(louder_db / 20.0);
        let mic = add(&add(&said, &echo(&far, loud)), &floor);
        let processing = Processing { echo: true, ..Processing::none() };
        let out = run(processing, &far, &mic);
        write(folder, &format!("both{louder_db}"), &out[both.clone()]);
        let (before, after) =
            (ratio(&said[both.clone()], &mic[both.clone()]), ratio(&said[both.clone()], &out[both.clone()]));
        println!("  both speak, echo {name} the near voice: near to all else {before:.1} → {after:.1} dB");
    }

    println!("noise");
    let quiet = vec![0.0; SECONDS * RATE];
    let speech = &said[both];
    let babble = (10..16).map(|seed| voice(seed, SECONDS)).reduce(|a, b| add(&a, &b)).unwrap();
    for (name, raw) in [("white", noise(2, speech.len(), 1.0)), ("babble", babble)] {
        for snr_db in [5.0_f32, 10.0] {
            let scale = rms(speech) / rms(&raw) * 10.0_f32.powf(-snr_db / 20.0);
            let noise: Vec<f32> = raw.iter().map(|s| s * scale).collect();
            let only = Processing { noise: true, ..Processing::none() };
            let out = run(only, &quiet, &add(speech, &noise));
            write(folder, &format!("{name}{snr_db}"), &out);
            let alone = run(only, &quiet, &noise);
            println!(
                "  {name} at {snr_db} dB: alone less by {:.1} dB; speech to all else {:.1} → {:.1} dB",
                db(rms(&noise[RATE..]) / rms(&alone[RATE..])),
                ratio(speech, &add(speech, &noise)),
                ratio(speech, &out)
            );
        }
    }

    println!("cost of 10 ms on this thread, and delay");
    let none = Processing::none();
    let mic = add(&said, &add(&echo(&far, 0.03), &floor));
    for (name, processing) in [
        ("high-pass", Processing { high_pass: true, ..none }),
        ("echo", Processing { echo: true, ..none }),
        ("noise", Processing { noise: true, ..none }),
        ("gain", Processing { gain: true, ..none }),
        ("all", ALL),
    ] {
        let mut processor = Processor::new(processing);
        let us = cost_us(&far, &mic, |far, block| {
            let mut block = *block;
            processor.hear(far);
            processor.process(&mut block, false);
            std::hint::black_box(&block);
        });
        let clean = run(processing, &quiet, speech);
        println!("  {name}: {us:.0} µs, {:.1} ms", align(speech, &clean).offset_ms());
    }
    let mut capture = Capture::new(EncoderConfig::default(), Gate::Open).unwrap();
    let us = cost_us(&far, &mic, |_, block| capture.push(block, &mut |_| {}));
    println!("  Opus alone: {us:.0} µs");
    let mut capture = Capture::new(EncoderConfig::default(), Gate::Voice).unwrap();
    capture.set_processing(ALL);
    let us = cost_us(&far, &mic, |far, block| {
        capture.hear(far);
        capture.push(block, &mut |_| {});
    });
    println!("  the whole capture side: {us:.0} µs ({:.1} % of a core)", us / 100.0);
}

fn run(processing: Processing, far: &[f32], mic: &[f32]) -> Vec<f32> {
    let mut processor = Processor::new(processing);
    let mut out = Vec::with_capacity(mic.len());
    for (far, mic) in blocks(far).zip(blocks(mic)) {
        let mut block = mic;
        processor.process(&mut block, true);
        out.extend_from_slice(&block);
        processor.hear(&far);
    }
    out
}

fn blocks(samples: &[f32]) -> impl Iterator<Item = Block> + '_ {
    samples.chunks_exact(BLOCK).map(|chunk| std::array::from_fn(|i| chunk[i]))
}

/// Mean time of the processor, in the second half.
fn cost_us(far: &[f32], mic: &[f32], mut each: impl FnMut(&Block, &Block)) -> f64 {
    let half = mic.len() / BLOCK / 2;
    let mut begun = 0.0;
    for (k, (far, mic)) in blocks(far).zip(blocks(mic)).enumerate() {
        if k == half {
            begun = thread_time_us();
        }
        each(&far, &mic);
    }
    (thread_time_us() - begun) / half as f64
}

#[cfg(target_os = "linux")]
fn thread_time_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods)] // A demonstration may look at the clock.
fn thread_time_us() -> f64 {
    use std::sync::OnceLock;
    static BEGUN: OnceLock<std::time::Instant> = OnceLock::new();
    BEGUN.get_or_init(std::time::Instant::now).elapsed().as_secs_f64() * 1e6
}

/// White noise of this root mean square.
fn noise(seed: u64, length: usize, rms: f32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * rms * 3.0_f32.sqrt()
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// `far` as a microphone hears it.
fn echo(far: &[f32], loudness: f32) -> Vec<f32> {
    let mut room = noise(7, 2880, 0.3);
    room.iter_mut().enumerate().for_each(|(n, tap)| *tap *= (-5.0 * n as f32 / 2880.0).exp());
    room[0] = 1.0;
    let played: Vec<f32> = far.iter().map(|s| (1.5 * s).tanh() / 1.5).collect();
    let mut heard = vec![0.0; far.len()];
    for (n, sample) in played.iter().enumerate() {
        for (out, tap) in heard.iter_mut().skip(n + 1440).zip(&room) {
            *out += sample * tap;
        }
    }
    let scale = loudness / rms(&heard);
    heard.iter_mut().for_each(|s| *s *= scale);
    heard
}

fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn db(ratio: f32) -> f32 {
    20.0 * ratio.log10()
}

/// How much louder `near` is in `out` than anything else is (scale-invariant signal-to-distortion ratio), in dB.
fn ratio(near: &[f32], out: &[f32]) -> f64 {
    let late = align(near, out).offset_samples.clamp(0, BLOCK as i64) as usize;
    let (near, out) = (&near[..near.len() - late], &out[late..]);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let scale = dot(near, out) / dot(near, near);
    let rest: f64 = near.iter().zip(out).map(|(n, o)| (f64::from(*o) - scale * f64::from(*n)).powi(2)).sum();
    10.0 * (scale * scale * dot(near, near) / rest.max(1e-12)).log10()
}

fn read(path: &str) -> Vec<f32> {
    let mut source = WavSource::open(path).unwrap_or_else(|error| panic!("{error}"));
    let (mut samples, mut block) = (Vec::new(), SILENCE);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    samples
}

fn write(folder: Option<&Path>, name: &str, samples: &[f32]) {
    let Some(folder) = folder else { return };
    let mut sink = WavSink::create(folder.join(format!("{name}.wav"))).unwrap();
    blocks(samples).for_each(|block| sink.write(&block));
    sink.flush();
}
