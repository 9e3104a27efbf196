//! `chinwag test-audio`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    thread,
};

use anyhow::Result;
use chinwag_audio::sound_check::{Levels, Phase, SoundCheck};
use chinwag_terminal::print;
use chinwag_transport_mio::clock;

use crate::voice;

/// The width of the meter.
const METER_COLUMNS: usize = 40;
/// What the meter's left end stands for.
const METER_FLOOR_DB: f32 = -60.0;
/// A meter that is drawn more often than this is not read better.
const METER_PAUSE_MS: u128 = 100;
/// Less than this, at its largest, is no sound.
const SILENT_DB: f32 = -60.0;
/// Speech below this is too quiet to be understood well, with all that can be done about it.
const QUIET_DB: f32 = -40.0;
/// So many samples at full scale are heard.
const CLIPPED_SAMPLES: usize = 10;

/// Records, plays back, measures, and says on standard output what came of it.
pub(crate) fn run(mic: &str, speaker: &str) -> Result<ExitCode> {
    let mut check = SoundCheck::new(voice::open_mic(mic)?, voice::open_speaker(speaker, false)?);
    let is_drawn = io::stdout().is_terminal();
    let mut phase = check.phase();
    let mut drawn = clock::now();
    let (mut has_recorded, mut is_measured) = (false, false);
    print("Speak now, for three seconds.")?;
    check.start(clock::now());
    loop {
        let due = check.turn(clock::now());
        if let Some(trouble) = check.take_trouble() {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "{trouble}");
        }
        let now = clock::now();
        if is_drawn && phase == Phase::Recording && now.since(drawn).as_millis() >= METER_PAUSE_MS {
            drawn = now;
            draw(&format!("\r{}", meter(check.level())))?;
        }
        if check.phase() != phase {
            if is_drawn && phase == Phase::Recording {
                draw("\r\x1b[K")?;
            }
            phase = check.phase();
            match phase {
                Phase::Recording => {}
                Phase::Playing => {
                    let levels = check.levels();
                    has_recorded = !levels.length.is_zero();
                    print(&recorded(&levels))?;
                    if has_recorded {
                        print("This is how you sound.")?;
                    }
                }
                Phase::Measuring => {
                    is_measured = has_recorded;
                    let what = if has_recorded { ", to measure the delay of your devices" } else { "" };
                    print(&format!("These are three chirps{what}."))?;
                }
                Phase::Done => break,
            }
        }
        thread::sleep(due.since(clock::now()));
    }
    if !is_measured {
        return Ok(ExitCode::SUCCESS);
    }
    print(&match check.round_trip() {
        Some(delay) => format!(
            "delay: {:.0} ms from the speaker to the microphone, the buffers of both included",
            delay.as_secs_f64() * 1000.0
        ),
        None => {
            "delay: the microphone did not hear the speaker; that is as it should be with headphones, and \
                 otherwise one of them is too quiet"
                .to_owned()
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn draw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Decibels below full scale.
fn dbfs(level: f32) -> f32 {
    20.0 * level.max(1e-6).log10()
}

fn meter(level: f32) -> String {
    let db = dbfs(level);
    let part = (1.0 - db / METER_FLOOR_DB).clamp(0.0, 1.0);
    let full = (part * METER_COLUMNS as f32).round() as usize;
    format!("[{}{}] {db:4.0} dBFS ", "#".repeat(full), "-".repeat(METER_COLUMNS - full))
}

fn recorded(levels: &Levels) -> String {
    let (peak, rms) = (dbfs(levels.peak), dbfs(levels.rms));
    let seconds = levels.length.as_secs_f64();
    let advice = if levels.length.is_zero() {
        return "recorded: nothing, there is no microphone".to_owned();
    } else if peak < SILENT_DB {
        "silence; is the microphone muted, or another one the right one (see chinwag devices)?"
    } else if levels.clipped >= CLIPPED_SAMPLES {
        "too loud, it is cut off; turn the microphone down"
    } else if rms < QUIET_DB {
        "too quiet; turn the microphone up, or come nearer"
    } else {
        "good"
    };
    format!("recorded: {seconds:.1} s, peak {peak:.0} dBFS, voice {rms:.0} dBFS: {advice}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn levels_come_with_advice() {
        let length = Duration::from_secs(3);
        let said = |peak, rms, clipped| recorded(&Levels { peak, rms, clipped, length });
        assert_eq!(said(0.5, 0.1, 0), "recorded: 3.0 s, peak -6 dBFS, voice -20 dBFS: good");
        assert!(said(0.0, 0.0, 0).contains("peak -120 dBFS") && said(0.0005, 0.0001, 0).contains("muted"));
        assert!(said(0.02, 0.005, 0).contains("too quiet"));
        assert!(said(1.0, 0.3, 500).contains("turn the microphone down"));
        assert!(recorded(&Levels::default()).contains("no microphone"));
    }

    #[test]
    fn the_meter_goes_from_end_to_end() {
        for (level, full) in [(0.0, 0), (0.001, 0), (0.031_6, 20), (1.0, METER_COLUMNS), (4.0, METER_COLUMNS)]
        {
            let meter = meter(level);
            assert_eq!(meter.matches('#').count(), full, "{level}");
            assert_eq!(meter.matches(['#', '-']).count() - meter.matches(" -").count(), METER_COLUMNS);
        }
    }
}
