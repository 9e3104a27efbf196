//! The real binary: one seed is one history in every process, and mistakes are explained.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chinwag-sim")).args(arguments).output().unwrap()
}

/// What `run` prints, without the time that it took.
fn history(seed: &str) -> String {
    let net = "delay=20,jitter=5,loss=2,dup=1,stall=1,cut=10";
    let output = sim(&["run", "--seed", seed, "--clients", "5", "--seconds", "20", "--net", net]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let (history, wall) = first.split_once(" wall_s=").unwrap();
    assert!(wall.parse::<f64>().is_ok(), "{wall}");
    format!("{history}\n{rest}")
}

#[test]
fn two_processes_with_one_seed_have_one_history_and_another_seed_has_another() {
    let once = history("7");
    assert_eq!(once, history("7"));
    let trace = |history: &str| history.split(' ').next().unwrap().to_owned();
    assert!(trace(&once).starts_with("trace="), "{once}");
    assert_ne!(trace(&once), trace(&history("8")));
}

#[test]
fn what_is_not_given_comes_from_the_seed() {
    let whole = sim(&["run", "--seed", "11"]);
    assert!(whole.status.success(), "{whole:?}");
    let scenario = chinwag_sim::Scenario::from_seed(11).to_string();
    let spelt = sim(&[&["run"][..], &scenario.split(' ').collect::<Vec<_>>()].concat());
    let history = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_once(" wall_s=").unwrap().0.to_owned()
    };
    assert_eq!(history(&whole), history(&spelt), "{scenario}");
}

#[test]
fn a_script_that_failed_is_replayed_by_what_the_failure_says() {
    if !cfg!(debug_assertions) {
        return; // Mistakes can be made in builds with debug assertions only; all test profiles have them.
    }
    // Somebody says something, and the server crashes.
    let scenario = chinwag_sim::Scenario::from_bytes(&[1, 1, 0, 0, 0, 0, 3, 0, 100, 0, 10, 0, 9, 0]);
    let mistake = chinwag_proto::hooks::Mistake::AckBeforeOrder;
    let failure =
        chinwag_sim::run(&chinwag_sim::Scenario { mistake: Some(mistake), ..scenario }, None).unwrap_err();
    let text = failure.to_string();
    let (_, command) = text.split_once("replay: chinwag-sim ").unwrap();
    let (arguments, _) = command.split_once(" --trace").unwrap();
    assert!(arguments.contains(" --script 030064000a000900"), "{arguments}");
    let replay = sim(&arguments.split(' ').collect::<Vec<_>>());
    let error = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert!(!replay.status.success() && error.contains(&text), "{text}\n{error}");
}

#[test]
fn a_swarm_makes_what_fails_small_and_says_how_to_see_it_again() {
    if !cfg!(debug_assertions) {
        return; // Mistakes can be made in builds with debug assertions only; all test profiles have them.
    }
    let found = sim(&["mistakes", "--only", "Runaway", "--seeds", "3", "--failures", "1", "--jobs", "1"]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.status.success() && text.contains("NoSpin"), "{found:?}");
    let none = sim(&["swarm", "--seeds", "3", "--jobs", "2"]);
    let text = String::from_utf8_lossy(&none.stdout).into_owned();
    assert!(none.status.success() && text.contains("worlds=3 "), "{none:?}");
    let replay = sim(&["run", "--seed", "1", "--clients", "2", "--seconds", "5", "--mistake", "Runaway"]);
    let error = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert_eq!(replay.status.code(), Some(1));
    assert!(error.contains("(NoSpin)") && error.contains("--mistake Runaway"), "{error}");
}

#[test]
fn mistakes_are_usage_errors_that_say_what_is_wrong() {
    for (arguments, part) in [
        (&["run"][..], "--seed"),
        (&["run", "--seed", "x"], "invalid digit"),
        (&["run", "--seed", "1", "--clients", "0"], "1..=64"),
        (&["run", "--seed", "1", "--clients", "65"], "1..=64"),
        (&["run", "--seed", "1", "--seconds", "0"], "1..=86400"),
        (&["run", "--seed", "1", "--net", "loss=200"], "a percentage, 0 to 100, not `200`"),
        (&["run", "--seed", "1", "--net", "lag=1"], "there is no `lag`; there are delay, jitter, tail"),
        (&["run", "--seed", "1", "--script", "06"], "a script is hexadecimal, eight digits for each step"),
        (
            &["run", "--seed", "1", "--mistake", "Nothing"],
            "there is no such mistake; there are NewestCounterTwice",
        ),
        (&["swarm"], "--seeds"),
        (&["voice"], "--mic"),
        (&["voice", "--mic", "x.wav", "--net", "stall=1"], "there is no `stall`; there are delay, jitter"),
        (&["voice", "--mic", "x.wav", "--net", "burst=0"], "a mean number of packets, 1 to 100, not `0`"),
        (&["voice", "--mic", "x.wav", "--frame-ms", "15"], "10 or 20 ms"),
        (&["voice", "--mic", "x.wav", "--drift-ppm", "20000"], "-10000..=10000"),
        (&["voice", "--mic", "x.wav", "--seconds", "0"], "1..=14400"),
        (&["voice", "--mic", "x.wav", "--baseline", "mumble"], "possible values: classic"),
        (&["voice", "--mic", "x.wav", "--baseline", "classic", "--talkers", "y.wav"], "cannot be used with"),
    ] {
        let output = sim(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn two_processes_hear_the_same_of_one_seed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut sink = chinwag_audio::wav::WavSink::create(path("said.wav")).unwrap();
    for chunk in chinwag_audio::sample::voice(1, 2).chunks_exact(chinwag_audio::BLOCK) {
        sink.write(chunk.try_into().unwrap());
    }
    sink.flush();
    let hear = |run: &str| {
        let [heard, stats, plot] = ["wav", "json", "svg"].map(|kind| path(&format!("{run}.{kind}")));
        let net = "delay=20,jitter=15,loss=5,burst=2,reorder=1,dup=1,rate=64,step=100@0.5-1";
        let output = sim(&[
            "voice",
            "--mic",
            &path("said.wav"),
            "--heard",
            &heard,
            "--stats",
            &stats,
            "--plot",
            &plot,
            "--net",
            net,
            "--seed",
            "9",
            "--frame-ms",
            "10",
            "--drift-ppm",
            "-50",
            "--gate",
            "open",
            "--bitrate",
            "32000",
        ]);
        assert!(output.status.success(), "{output:?}");
        let line = String::from_utf8(output.stdout).unwrap();
        let figures = line.split_once(" wall_s=").unwrap().0.to_owned();
        (figures, [heard, stats, plot].map(|file| std::fs::read(file).unwrap()))
    };
    let once = hear("a");
    assert!(once.0.starts_with("sent=") && once.0.contains(" mouth_to_ear_p95_ms="), "{}", once.0);
    assert!(once.1.iter().all(|file| file.len() > 1_000));
    assert!(once == hear("b"));
}

#[test]
fn a_voice_that_cannot_be_read_is_named() {
    let output = sim(&["voice", "--mic", "/nowhere/said.wav"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/said.wav: can't be opened"));
}

#[test]
fn a_trace_file_that_cannot_be_made_is_named() {
    let output = sim(&["run", "--seed", "1", "--seconds", "1", "--trace", "/nowhere/trace.txt"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write /nowhere/trace.txt"));
}

#[test]
fn a_trace_has_a_line_for_each_thing_that_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.txt");
    let world =
        ["run", "--seed", "1", "--clients", "4", "--rooms", "1", "--seconds", "5", "--net", "delay=20"];
    let output = sim(&[&world[..], &["--trace", path.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    let lines = std::fs::read_to_string(path).unwrap();
    let times: Vec<u64> =
        lines.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.len() > 100 && times.is_sorted());
    assert!(lines.ends_with('\n'));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let arguments = ["run", "--seed", "1", "--seconds", "1", "--net", "delay=20"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_chinwag-sim"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
