//! What is said about devices, without one and with those of a sound server that has no hardware.

#[cfg(target_os = "linux")]
use crate::common::{PATIENCE, Program};
use crate::common::{Place, Server, client, samples};

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

#[test]
fn files_and_nothing_at_all_stay_what_they_are() {
    let place = Place::new();
    let server = Server::start(&place);
    let (said, heard) = (place.voice("said.wav", 1, 1), place.path("heard.wav"));
    let [said, heard] = [&said, &heard].map(|path| path.to_str().unwrap());
    let mut foo = server.client(&place, &["--name", "Foo", "--mic", said, "--speaker", heard]);
    foo.type_line("/input 1");
    foo.expect_error("your microphone is a file (--mic), and stays so in this conversation");
    foo.type_line("/output default");
    foo.expect_error("your speaker is a file (--speaker), and stays so in this conversation");
    let mut bar = server.join(&place, "Bar");
    bar.type_line("/input other.wav");
    bar.expect_error("a file can be your microphone only from the start: --mic FILE.wav");
    bar.type_line("/input");
    bar.expect_error("write /input with a number of /devices, a name or default");
    bar.type_line("/output none");
    bar.expect_error("you hear by no speaker now");
    for person in [&mut foo, &mut bar] {
        person.type_line("/quit");
        assert_eq!(person.exit_code(), 0, "{}", person.errors());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_device_there_is_none_to_go_to_and_the_conversation_goes_on() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo =
        without_sound(&place, &["--name", "Foo", "--mic", "none", "--speaker", "none", &server.link]);
    foo.type_line("/devices");
    foo.expect_error("no sound devices were found");
    for (line, said) in [
        (
            "/input default",
            "there is no microphone that can be used (plug one in, or start the sound server)",
        ),
        ("/output horn", "there is no speaker \"horn\", nor any other on this machine"),
        ("/input 1", "there is no microphone 1; /devices lists them"),
    ] {
        foo.type_line(line);
        foo.expect_error(&format!("{said}; nothing has changed"));
    }
    foo.type_line("still here");
    foo.expect("Foo: still here");
    foo.type_line("/quit");
    assert_eq!(foo.exit_code(), 0, "{}", foo.errors());
}

#[cfg(target_os = "linux")]
mod sound_server {
    use std::{
        fs,
        os::unix::net::UnixStream,
        path::Path,
        process::{Child, Command, Stdio},
        thread,
        time::Instant,
    };

    use super::*;
    use crate::seat::Seat;

    /// A private PulseAudio with two speakers and what they play as microphones. Ends with the test.
    struct SoundServer {
        child: Child,
        socket: String,
    }

    impl SoundServer {
        fn start(place: &Place) -> Self {
            let [run, state, script] = ["run", "pulse-state", "pulse.pa"].map(|name| place.path(name));
            [&run, &state].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
            let socket = run.join("pulse.sock");
            let speaker = |name: &str, description: &str| {
                format!(
                    "load-module module-null-sink sink_name={name} rate=48000 channels=1 \
                     sink_properties=device.description={description}\n"
                )
            };
            // Whoever finds the socket finds all.
            let text = speaker("tube", "Tube")
                + &speaker("horn", "Horn")
                + "set-default-sink tube\nset-default-source tube.monitor\n"
                + &format!(
                    "load-module module-native-protocol-unix socket={} auth-anonymous=1\n",
                    socket.display()
                );
            fs::write(&script, text).unwrap();
            let child = Command::new("pulseaudio")
                .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--realtime=no"])
                .args(["--high-priority=no", "-F"])
                .arg(script)
                .env("XDG_RUNTIME_DIR", &run)
                .env("PULSE_RUNTIME_PATH", &run)
                .env("PULSE_STATE_PATH", &state)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("pulseaudio: {error}; install it (script/test does)"));
            let server = Self { child, socket: format!("PULSE_SERVER=unix:{}", socket.display()) };
            let deadline = Instant::now() + PATIENCE;
            while UnixStream::connect(&socket).is_err() {
                assert!(Instant::now() < deadline, "the sound server does not start");
                thread::yield_now();
            }
            server
        }

        /// A client that has its devices.
        fn client(&self, place: &Place, link: &str, arguments: &[&str]) -> Program {
            let program = [self.socket.as_str(), env!("CARGO_BIN_EXE_chinwag"), "--plain"];
            Program::start("env".as_ref(), program.iter().chain(arguments).chain([&link]), place)
        }
    }

    impl Drop for SoundServer {
        fn drop(&mut self) {
            // It may have ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Waits until something is heard behind so many samples of a file; how many it has then.
    fn heard(path: &Path, from: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = samples(path);
            if samples.iter().skip(from).any(|sample| sample.abs() > 0.05) {
                return samples.len();
            }
            assert!(Instant::now() < deadline, "nothing is heard behind sample {from} of {}", samples.len());
            thread::yield_now();
        }
    }

    #[test]
    fn devices_are_listed_and_others_take_the_place_of_those_in_use() {
        let place = Place::new();
        let (sound, server) = (SoundServer::start(&place), Server::start(&place));
        let (said, heard_path) = (place.voice("said.wav", 1, 60), place.path("heard.wav"));
        // Bar speaks, Foo hears it by a speaker; who listens to that speaker tells it in another room.
        let attic = server.link.replace('#', "/attic#");
        let ear = ["--name", "Ear", "--mic", "none", "--speaker", heard_path.to_str().unwrap()];
        let mut ear = client(&place, ear.into_iter().chain([attic.as_str()]));
        ear.expect_part("Welcome Ear!");
        let mut qux = sound.client(
            &place,
            &attic,
            &[
                "--name",
                "Qux",
                "--mic",
                "horn.monitor",
                "--speaker",
                "none",
                "--gate",
                "level",
                "--processing",
                "off",
            ],
        );
        qux.expect_part("Welcome Qux!");
        let mut foo = sound.client(&place, &server.link, &["--name", "Foo", "--mic", "none"]);
        foo.expect_part("Welcome Foo!");
        let mut bar =
            server.client(&place, &["--name", "Bar", "--mic", said.to_str().unwrap(), "--speaker", "none"]);
        bar.expect_part("Welcome Bar!");

        foo.type_line("/devices");
        foo.expect_error("microphones, for /input (you use none):");
        foo.expect_error("  1  Monitor of Tube (default), PulseAudio, 48000 Hz mono");
        foo.expect_error("speakers, for /output:");
        foo.expect_error("  1  Tube (default, in use), PulseAudio, 48000 Hz mono");
        foo.expect_error("  2  Horn, PulseAudio, 48000 Hz mono");
        foo.type_line("/output 3");
        foo.expect_error("there is no speaker 3; /devices lists them; nothing has changed");
        foo.type_line("/output trumpet");
        foo.expect_error(
            "there is no speaker \"trumpet\"; there are: \"Tube\", \"Horn\"; nothing has changed",
        );
        foo.type_line("/output TUBE");
        foo.expect_error("you hear by \"Tube\" already");
        let silent_until = samples(&heard_path);
        assert!(silent_until.iter().all(|sample| sample.abs() <= 0.05), "the horn is silent");

        foo.type_line("/output 2");
        foo.expect_error("you hear by \"Horn\" now");
        heard(&heard_path, silent_until.len());
        foo.type_line("/devices");
        foo.expect_error("  2  Horn (in use), PulseAudio, 48000 Hz mono");
        // The listener goes where it is heard.
        foo.type_line("/output default");
        foo.expect_error("you hear by the default speaker now");
        qux.type_line("/input of tube");
        qux.expect_error("you speak into \"Monitor of Tube\" now");
        let from = samples(&heard_path).len();
        heard(&heard_path, from);
        // Who used none can use one.
        foo.type_line("/input 2");
        foo.expect_error("you speak into \"Monitor of Horn\" now");
        for person in [&mut foo, &mut qux] {
            person.type_line("/quit");
            assert_eq!(person.exit_code(), 0, "{}", person.errors());
            let errors = person.errors();
            assert!(!errors.contains("connection is lost") && !errors.contains(" is gone"), "{errors}");
        }
    }

    #[test]
    fn a_device_is_completed_on_the_full_screen() {
        let place = Place::new();
        let (sound, server) = (SoundServer::start(&place), Server::start(&place));
        let program = [sound.socket.as_str(), env!("CARGO_BIN_EXE_chinwag")];
        let arguments = ["--name", "Foo", "--mic", "none", "--speaker", "none", &server.link];
        let mut foo = Seat::full_of(&place, "env".as_ref(), &[&program[..], &arguments].concat());
        foo.sees_part("Welcome!");
        foo.enters("/devices");
        foo.sees_part("speakers, for /output (you use none):");
        foo.sees_part("2  Horn, PulseAudio");
        foo.types("/output ho\t");
        foo.sees_typed("> /output Horn|");
        foo.types("\r");
        foo.sees_part("you hear by \"Horn\" now");
        // On a busy machine the sound server may need a while until sound flows.
        let deadline = Instant::now() + PATIENCE;
        loop {
            foo.enters("/clear");
            foo.until("nothing", |foo| !foo.rows().iter().any(|row| row.contains("Horn")));
            foo.enters("/devices");
            if foo.sees_part("  2  Horn").contains("Horn (in use), PulseAudio") {
                break;
            }
            assert!(Instant::now() < deadline, "it is not in use: {:#?}", foo.rows());
        }
        assert!(foo.screen().alternate_screen());
    }
}
