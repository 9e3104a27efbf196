//! What a listener hears of a WAV over a bad network, in virtual time, for measuring by ear or by PESQ:
//! `network REF.wav HEARD.wav [delay=MS] [jitter=MS] [loss=PERCENT] [burst=FRAMES] [dup=PERCENT] [seed=N] [frame=10|20]
//! [rate=BPS] [expect=PERCENT] [gate=0|1] [drift=PPM]`. One line of figures on standard output.

#[path = "../tests/common/mod.rs"]
mod common;

use chinwag_audio::{
    BLOCK, Block, SILENCE,
    capture::Gate,
    codec::FrameLength,
    wav::{WavSink, WavSource},
};
use common::Call;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, heard, settings @ ..] = &arguments[..] else {
        return Err("usage: network REF.wav HEARD.wav [NAME=VALUE]...".into());
    };
    let mut source = WavSource::open(reference)?;
    let (mut speech, mut block): (Vec<f32>, Block) = (Vec::new(), SILENCE);
    while source.read(&mut block) {
        speech.extend_from_slice(&block);
    }
    let mut call = Call::of(&speech);
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or_else(|| format!("{setting}: no NAME=VALUE"))?;
        let value: f64 = value.parse()?;
        let network = &mut call.network;
        match name {
            "delay" => network.delay_ms = value,
            "jitter" => network.jitter_ms = value,
            "loss" => network.loss_percent = value,
            "burst" => network.burst = value,
            "dup" => network.duplicate_percent = value,
            "seed" => network.seed = value as u64,
            "drift" => call.drift_ppm = value,
            "step" => network.steps.push((4_000.0, 8_000.0, value)),
            "frame" => call.encoder.frame = FrameLength::from_ms(value as u32).ok_or("frame: 10 or 20")?,
            "rate" => call.encoder.bitrate_bps = value as u32,
            "expect" => call.encoder.expected_loss_percent = value as u8,
            "phase" => call.phase_us = value as u64,
            "complexity" => call.encoder.complexity = value as u8,
            "gate" => call.gate = if value > 0.0 { Gate::Level } else { Gate::Open },
            _ => return Err(format!("{name}: not known").into()),
        }
    }
    let result = call.run();
    let mut sink = WavSink::create(heard)?;
    for chunk in result.samples.chunks_exact(BLOCK) {
        let mut block = SILENCE;
        block.copy_from_slice(chunk);
        sink.write(&block);
    }
    sink.flush();
    let seconds = speech.len() as f64 / 48_000.0;
    let mean = result.delays_ms.iter().sum::<u32>() as f64 / result.delays_ms.len() as f64;
    let kbps = result.bytes as f64 * 8.0 / seconds / 1000.0;
    println!(
        "sent {} lost {} kb/s {kbps:.1} buffer mean {mean:.0} ms {:?}",
        result.sent, result.lost, result.stats
    );
    Ok(())
}
