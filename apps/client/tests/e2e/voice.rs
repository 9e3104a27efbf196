//! Voice from a WAV at one client to a WAV at the other, through the real programs.

use std::{
    path::{Path, PathBuf},
    thread,
};

use chinwag_audio::compare::{align, align_parts};

use crate::{
    common::{PATIENCE, Place, Program, Server, client, number, samples, statistic},
    network::Relay,
};

pub(crate) const RATE: usize = chinwag_audio::SAMPLE_RATE_HZ as usize;
const SECONDS: usize = 3;
/// Opus at the default bitrate keeps the waveform of a made-up voice well above this.
const ALIKE: f32 = 0.85;

pub(crate) struct Talker {
    pub(crate) program: Program,
    said: PathBuf,
    heard: PathBuf,
    pub(crate) stats: PathBuf,
}

impl Talker {
    pub(crate) fn join(place: &Place, server: &str, name: &str, seed: u64) -> Self {
        let said = place.voice(&format!("{name}-said.wav"), seed, SECONDS);
        let heard = place.path(&format!("{name}-heard.wav"));
        let stats = place.path(&format!("{name}.json"));
        let [mic, speaker, file] = [&said, &heard, &stats].map(|path| path.to_str().unwrap().to_owned());
        let arguments = ["--name", name, "--mic", &mic, "--speaker", &speaker, "--stats", &file, server];
        Self { program: client(place, arguments), said, heard, stats }
    }

    /// Waits until all that the other one says is said and heard, and both leave.
    pub(crate) fn hears_out(&mut self, other: &mut Self) {
        wait_for_seconds(&self.heard, SECONDS + 2);
        wait_for_seconds(&other.heard, SECONDS + 2);
        self.leave();
        other.leave();
    }

    fn leave(&mut self) {
        self.program.type_line("{quit}");
        assert_eq!(self.program.exit_code(), 0, "{}", self.program.errors());
    }
}

/// What was said is in what was heard, half a second by half a second: on a busy machine the jitter buffer moves its
/// delay, which falls into few of them.
pub(crate) fn assert_heard(said: &[f32], heard: &[f32]) {
    let parts = align_parts(said, heard, RATE / 2);
    let alike = parts.iter().filter(|part| part.correlation > ALIKE).count();
    assert!(alike * 3 >= parts.len() * 2 && alike > 1, "{parts:?}");
    assert!(parts.iter().all(|part| part.longest_hole_ms <= 40), "{parts:?}");
}

/// Waits until a client's WAV has at least this much in it.
fn wait_for_seconds(path: &Path, seconds: usize) {
    wait_for_samples(path, seconds * RATE);
}

pub(crate) fn wait_for_samples(path: &Path, length: usize) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while samples(path).len() < length {
        assert!(std::time::Instant::now() < deadline, "{} does not grow", path.display());
        thread::yield_now();
    }
}

#[test]
fn two_people_hear_each_other_whole() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = Talker::join(&place, &server.link, "Foo", 1);
    foo.program.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    let mut bar = Talker::join(&place, &server.link, "Bar", 2);
    foo.program.expect("Bar has joined the chat!");
    foo.hears_out(&mut bar);
    assert_heard(&samples(&bar.said), &samples(&foo.heard));
    for talker in [&foo, &bar] {
        assert_eq!(statistic(&talker.stats, "path"), "udp");
        let number = |name| number(&talker.stats, name);
        assert!(number("frames_sent") >= 100);
        assert!(number("mic_started_ns") > 0 && number("speaker_started_ns") > 0);
        assert_eq!(number("frames_lost"), 0);
    }
    assert!(number(&foo.stats, "frames_received") >= 100);
}

#[test]
fn a_talker_whose_file_and_input_end_leaves_by_himself_when_all_is_said() {
    let place = Place::new();
    let server = Server::start(&place);
    let heard = place.path("heard.wav");
    let mut foo =
        server.client(&place, &["--name", "Foo", "--mic", "none", "--speaker", heard.to_str().unwrap()]);
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    let mut bar = Talker::join(&place, &server.link, "Bar", 3);
    bar.program.end_input();
    foo.expect("Bar has joined the chat!");
    assert_eq!(bar.program.exit_code(), 0);
    foo.expect("Bar has left the chat.");
    // What was on its way is heard, too.
    wait_for_samples(&heard, samples(&heard).len() + RATE / 2);
    // Killed, its file is whole all the same.
    foo.signal("KILL");
    foo.wait();
    assert_heard(&samples(&bar.said), &samples(&heard));
}

#[test]
fn where_udp_does_not_get_through_voice_arrives_by_tcp() {
    let place = Place::new();
    let server = Server::start(&place);
    let relay = Relay::start(&place, &server, "delay=0,noudp=100", 1);
    let mut foo = Talker::join(&place, &relay.link, "Foo", 4);
    foo.program.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    let mut bar = Talker::join(&place, &relay.link, "Bar", 5);
    foo.program.expect("Bar has joined the chat!");
    foo.hears_out(&mut bar);
    assert_heard(&samples(&bar.said), &samples(&foo.heard));
    assert_eq!(statistic(&foo.stats, "path"), "tcp");
    assert_eq!(statistic(&bar.stats, "path"), "tcp");
}

#[test]
fn udp_that_breaks_off_in_a_conversation_is_replaced_and_taken_up_again() {
    const LONG: usize = 8;
    let place = Place::new();
    let server = Server::start(&place);
    let mut relay = Relay::start(&place, &server, "delay=0", 1);
    let through = relay.link.clone();
    let (said, heard) = (place.voice("said.wav", 6, LONG), place.path("heard.wav"));
    let listens = ["--name", "Foo", "--mic", "none", "--speaker", heard.to_str().unwrap(), &through];
    let mut foo = client(&place, listens);
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    let talks = ["--name", "Bar", "--mic", said.to_str().unwrap(), "--speaker", "none", &through];
    let mut bar = client(&place, talks);
    bar.expect("Welcome Bar! If you ever want to quit, type {quit} to exit.");
    wait_for_samples(&heard, samples(&heard).len() + 2 * RATE);
    relay.order("net delay=0,noudp=100");
    for person in [&mut foo, &mut bar] {
        person.expect_error("voice goes by TCP now");
    }
    let by_tcp = samples(&heard).len();
    wait_for_samples(&heard, by_tcp + RATE);
    relay.order("net delay=0");
    for person in [&mut foo, &mut bar] {
        person.expect_error("voice goes by UDP again");
    }
    wait_for_samples(&heard, (LONG + 3) * RATE);
    for person in [&mut foo, &mut bar] {
        person.type_line("{quit}");
        assert_eq!(person.exit_code(), 0);
    }
    // All but what was sent before the loss of the path was noticed.
    let (said, heard) = (samples(&said), samples(&heard));
    let begin = usize::try_from(align(&said, &heard).offset_samples).unwrap();
    assert_heard(&said[by_tcp - begin..], &heard);
}

/// How loud the last second of a client's WAV is, once it is that much longer than it was.
fn loudness_after(path: &Path, length: usize, seconds: usize) -> f32 {
    wait_for_samples(path, length + seconds * RATE);
    let heard = samples(path);
    chinwag_audio::rms(&heard[heard.len() - RATE..])
}

#[test]
fn who_mutes_himself_is_not_heard_and_who_deafens_himself_does_not_hear() {
    let place = Place::new();
    let server = Server::start(&place);
    let said = place.voice("said.wav", 1, 40);
    let heard = place.path("heard.wav");
    let (said, spoken) = (said.to_str().unwrap(), heard.to_str().unwrap());
    let mut bar = client(&place, ["--name", "Bar", "--mic", "none", "--speaker", spoken, &server.link]);
    bar.expect("Welcome Bar! If you ever want to quit, type {quit} to exit.");
    let mut foo = client(&place, ["--name", "Foo", "--mic", said, "--speaker", "none", &server.link]);
    bar.expect("Foo has joined the chat!");
    let length = |path: &Path| samples(path).len();
    assert!(loudness_after(&heard, length(&heard), 3) > 0.02, "heard");
    foo.type_line("/mute");
    foo.expect_error("nobody hears you now; /mute again ends that");
    assert!(loudness_after(&heard, length(&heard), 2) < 0.005, "muted");
    foo.type_line("/mute");
    foo.expect_error("you are heard again");
    assert!(loudness_after(&heard, length(&heard), 2) > 0.02, "heard again");
    for (command, told, told_again) in [
        (
            "/deafen",
            "you hear nobody now, but are heard as before; /deafen again ends that",
            "you hear the others again",
        ),
        ("/mute foo", "you do not hear Foo now; /mute Foo again ends that", "you hear Foo again"),
    ] {
        bar.type_line(command);
        bar.expect_error(told);
        assert!(loudness_after(&heard, length(&heard), 2) < 0.005, "{command}");
        bar.type_line(command);
        bar.expect_error(told_again);
        assert!(loudness_after(&heard, length(&heard), 2) > 0.02, "{command} again");
    }
    for (command, told, is_heard) in [
        ("/vad", "you are heard by push-to-talk now: /ptt begins to talk; /vad again ends that", false),
        ("/ptt", "you are heard now; /ptt again ends that", true),
        ("/ptt", "you are no longer heard", false),
        ("/vad", "you are heard when you speak now; /vad again goes back to push-to-talk", true),
    ] {
        foo.type_line(command);
        foo.expect_error(told);
        let loudness = loudness_after(&heard, length(&heard), 2);
        assert!(if is_heard { loudness > 0.02 } else { loudness < 0.005 }, "{told}: {loudness}");
    }
    bar.type_line("/volume Foo -60");
    bar.expect_error("you hear Foo at -60 dB now");
    assert!(loudness_after(&heard, length(&heard), 2) < 0.005, "quiet");
    bar.type_line("/mute Baz");
    bar.expect_error("there is no Baz here besides you; here: Bar, Foo");
    bar.type_line("/ptt");
    bar.expect_error("you have no microphone; --mic gives you one");
    for program in [&mut foo, &mut bar] {
        program.type_line("{quit}");
        assert_eq!(program.exit_code(), 0, "{}", program.errors());
    }
}
