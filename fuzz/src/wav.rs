//! The WAV reader under bytes that claim to be a file: it refuses them with one line, or gives sound that is in range and
//! no longer than so few bytes can hold.

use std::io::Cursor;

use chinwag_audio::{BLOCK, SAMPLE_RATE_HZ, SILENCE, limits::SAMPLE_RATES_HZ, wav::WavSource};

/// Input: the file.
pub fn wav(data: &[u8]) {
    let mut source = match WavSource::new("fuzz.wav", Cursor::new(data)) {
        Ok(source) => source,
        Err(error) => return one_line(&error.to_string()),
    };
    // A byte is one sample at most, and that of the lowest rate lasts longest. The last block may be short.
    let longest = data.len() * (SAMPLE_RATE_HZ / SAMPLE_RATES_HZ.start()) as usize;
    let most = longest.div_ceil(BLOCK);
    let (mut blocks, mut block) = (0, SILENCE);
    while source.read(&mut block) {
        blocks += 1;
        assert!(blocks <= most, "more than {most} blocks from {} bytes", data.len());
        assert!(block.iter().all(|sample| (-1.0..=1.0).contains(sample)), "out of range");
    }
    if let Some(fault) = source.take_fault() {
        one_line(&fault.to_string());
    }
    assert!(!source.read(&mut block) && block == SILENCE, "it goes on after its end");
    assert_eq!(source.take_fault(), None, "told twice");
}

fn one_line(error: &str) {
    assert!(error.starts_with("fuzz.wav: ") && !error.contains('\n'), "{error}");
}
