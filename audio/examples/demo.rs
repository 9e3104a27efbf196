//! The demonstration's two voices: `demo make DIR` writes what Foo and Bar say, `demo show DIR` what each heard.

use std::{path::Path, process::ExitCode};

use chinwag_audio::{
    BLOCK, SAMPLE_RATE_HZ,
    compare::{align, align_parts},
    rms, sample,
    wav::{WavSink, WavSource},
};

const SECONDS: usize = 5;
const COLUMNS: usize = 72;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder] => make(Path::new(folder)),
        ["show", folder] => show(Path::new(folder)),
        _ => Err("usage: demo make|show DIR".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn make(folder: &Path) -> Result<()> {
    for (name, seed) in [("Foo", 1), ("Bar", 2)] {
        let mut sink = WavSink::create(folder.join(format!("{name}-said.wav")))?;
        for chunk in sample::voice(seed, SECONDS).chunks(BLOCK) {
            let mut block = [0.0; BLOCK];
            for (to, from) in block.iter_mut().zip(chunk) {
                *to = *from;
            }
            sink.write(&block);
        }
        sink.flush();
    }
    Ok(())
}

fn show(folder: &Path) -> Result<()> {
    for (listener, talker) in [("Foo", "Bar"), ("Bar", "Foo")] {
        let said = read(&folder.join(format!("{talker}-said.wav")))?;
        let heard = read(&folder.join(format!("{listener}-heard.wav")))?;
        let found = align(&said, &heard);
        println!("\nWhat {talker} said, and what {listener} heard of it:");
        println!("    {}", picture(&said, 0, said.len()));
        println!("    {}", picture(&heard, found.offset_samples, said.len()));
        // Second by second: the delay may move on the way, which nobody hears.
        let seconds = align_parts(&said, &heard, SAMPLE_RATE_HZ as usize);
        let alike =
            seconds.iter().map(|second| second.correlation).sum::<f32>() / seconds.len().max(1) as f32;
        println!("    alike by {:.0} %, longest gap {} ms", alike * 100.0, found.longest_hole_ms);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<f32>> {
    let mut source = WavSource::open(path)?;
    let (mut samples, mut block) = (Vec::new(), [0.0; BLOCK]);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    Ok(samples)
}

/// The loudness of `length` samples from `start` on, as a row of bars.
fn picture(samples: &[f32], start: i64, length: usize) -> String {
    let start = usize::try_from(start).unwrap_or(0);
    let samples = samples.get(start..).unwrap_or_default();
    let column = length.div_ceil(COLUMNS).max(SAMPLE_RATE_HZ as usize / 1000);
    let bars = samples.chunks(column).take(COLUMNS).map(|chunk| {
        let height = (rms(chunk) * 6.0).sqrt().min(1.0) * (BARS.len() - 1) as f32;
        BARS.get(height.round() as usize).copied().unwrap_or('█')
    });
    bars.collect()
}
