//! What is said about devices, without one.

#[cfg(target_os = "linux")]
use crate::common::Program;
use crate::common::{Place, client, samples};

/// No sound system answers: no server, and no configuration by which ALSA would find a card.
#[cfg(target_os = "linux")]
fn without_sound(place: &Place, arguments: &[&str]) -> Program {
    let nowhere = place.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let env = format!("PULSE_SERVER=unix:{nowhere}");
    let config = format!("ALSA_CONFIG_PATH={nowhere}");
    let program = [env.as_str(), config.as_str(), env!("CARGO_BIN_EXE_chinwag")];
    Program::start("env".as_ref(), program.into_iter().chain(arguments.iter().copied()), place)
}

#[test]
fn a_file_can_take_the_place_of_a_device_in_a_test_of_sound() {
    let place = Place::new();
    let (said, heard) = (place.voice("said.wav", 1, 1), place.path("heard.wav"));
    let arguments = ["test-audio", "--mic", said.to_str().unwrap(), "--speaker", heard.to_str().unwrap()];
    let mut test = client(&place, arguments);
    test.expect("Speak now, for three seconds.");
    let levels = test.expect_part("recorded: ");
    assert!(levels.starts_with("recorded: 1.0 s, peak -4 dBFS") && levels.ends_with(": good"), "{levels}");
    test.expect("This is how you sound.");
    assert_eq!(test.exit_code(), 0, "{}", test.errors());
    // A file hears no chirps.
    assert_eq!(test.output().len(), 3, "{:?}", test.output());
    let found = chinwag_audio::compare::align(&samples(&said), &samples(&heard));
    assert!(found.correlation > 0.99, "{found:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_device_it_is_said_what_is_missing_and_what_to_do() {
    let place = Place::new();
    let mut list = without_sound(&place, &["devices"]);
    assert_eq!(list.exit_code(), 0, "{}", list.errors());
    assert_eq!(list.output(), ["no sound devices were found; --mic and --speaker also take WAV files"]);
    for (device, said) in [
        ("default", "there is no microphone that can be used (plug one in, or start the sound server)"),
        ("horn", "there is no microphone \"horn\", nor any other on this machine"),
    ] {
        let mut test = without_sound(&place, &["test-audio", "--mic", device, "--speaker", "none"]);
        assert_eq!(test.exit_code(), 1, "{device}");
        assert_eq!(test.errors(), format!("chinwag: {said}"));
        assert!(test.output().is_empty());
    }
}
