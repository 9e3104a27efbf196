//! `chinwag classic` with the old group server and the old group client, as doubles that have their faults: what an old client
//! shows may be several messages in a row, if they came together.

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::Instant,
};

use chinwag_audio::{
    SAMPLE_RATE_HZ,
    compare::{align, align_parts},
    resample::Resampler,
    sample,
};

use crate::{
    common::{PATIENCE, Place, Program, client, old, samples},
    seat::Seat,
    voice::{RATE, wait_for_samples},
};

const SILENT: [&str; 4] = ["--mic", "none", "--speaker", "none"];
/// The old programs' rate.
pub(crate) const OLD_RATE_HZ: u32 = 44_100;
const SECONDS: usize = 3;

pub(crate) fn welcome(name: &str) -> String {
    format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit.")
}

struct OldServer {
    program: Program,
    text_port: String,
    voice_port: String,
}

impl OldServer {
    fn start(place: &Place, options: &[&str]) -> Self {
        let mut program = old("group_server.py", &[options, &["0", "0"]].concat(), place);
        let ports = program.expect_part("ports ");
        let mut ports = ports.split(' ').skip(1).map(str::to_owned);
        let (text_port, voice_port) = (ports.next().unwrap(), ports.next().unwrap());
        Self { program, text_port, voice_port }
    }

    /// Our client.
    fn client(&self, place: &Place, arguments: &[&str]) -> Program {
        let ports = ["--text-port", &self.text_port, "--voice-port", &self.voice_port];
        client(place, [&["classic", "127.0.0.1"], &ports[..], arguments].concat())
    }

    fn join(&self, place: &Place, name: &str, arguments: &[&str]) -> Program {
        let mut client = self.client(place, &[&["--name", name], arguments].concat());
        client.expect(&welcome(name));
        client
    }

    /// The old client.
    fn join_old(&self, place: &Place, name: &str, options: &[&str]) -> Program {
        join_old(place, (&self.text_port, &self.voice_port), name, options)
    }
}

/// The old client, at the server with these ports for text and voice.
pub(crate) fn join_old(place: &Place, ports: (&str, &str), name: &str, options: &[&str]) -> Program {
    let mut client = old("group_client.py", &[options, &["127.0.0.1", ports.0, ports.1]].concat(), place);
    client.expect("Type your name and press enter!");
    client.type_line(name);
    client.expect(&welcome(name));
    client
}

#[test]
fn old_and_new_read_each_other_and_leave_properly() {
    let place = Place::new();
    let mut server = OldServer::start(&place, &[]);
    server.program.expect("Waiting for connection...");
    let mut bar = server.join_old(&place, "Bar", &[]);
    let mut foo = server.client(&place, &SILENT);
    foo.expect("Type your name and press enter!");
    foo.type_line("Foo");
    foo.expect(&welcome("Foo"));
    bar.expect("Foo has joined the chat!");
    foo.type_line("Grüße, 好 😀");
    foo.expect("Foo: Grüße, 好 😀");
    bar.expect("Foo: Grüße, 好 😀");
    bar.type_line("hello");
    foo.expect("Bar: hello");
    bar.type_line("\u{1b}[2Jgone");
    foo.expect("Bar: \\u{1b}[2Jgone");
    foo.type_line(&"x".repeat(1025));
    foo.expect_error("longer than 1024 bytes");
    bar.type_line("{quit}");
    assert_eq!(bar.exit_code(), 0);
    foo.expect("Bar has left the chat.");
    let mut baz = server.join_old(&place, "Baz", &[]);
    // The old server tells of a newcomer before it counts him in.
    baz.type_line("I am in");
    foo.expect_part("Baz: I am in");
    foo.type_line("{quit}");
    assert_eq!(foo.exit_code(), 0);
    assert_eq!(foo.errors().lines().count(), 1, "{}", foo.errors());
    baz.expect_part("Foo has left the chat.");
}

#[test]
fn lines_that_are_piped_in_stay_apart_and_are_all_said() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let mut bar = server.join_old(&place, "Bar", &[]);
    let mut foo = server.client(&place, &SILENT);
    foo.type_bytes(b"Foo\none\n\ntwo\nthree");
    foo.end_input();
    assert_eq!(foo.exit_code(), 0);
    bar.expect_part("Foo has left the chat.");
    // The old client may still have read several at once; the old server did not.
    let said = bar.output()[2..].concat();
    assert_eq!(said, "Foo has joined the chat!Foo: oneFoo: twoFoo: threeFoo has left the chat.");
}

#[test]
fn without_anybody_to_ask_a_name_must_be_given() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let mut foo = server.client(&place, &SILENT);
    foo.end_input();
    assert_eq!(foo.exit_code(), 1);
    assert!(foo.errors().contains("--name"), "{}", foo.errors());
    let mut foo = server.client(&place, &[&["--name", "a:b"], &SILENT[..]].concat());
    assert_eq!(foo.exit_code(), 2);
    assert!(foo.errors().contains("colon"), "{}", foo.errors());
}

#[test]
fn a_character_that_the_network_cuts_in_two_is_put_together() {
    let place = Place::new();
    let server = OldServer::start(&place, &["--cut"]);
    let mut foo = server.join(&place, "Föö", &SILENT);
    for n in 0..20 {
        // It ends in the character that is cut.
        let line = format!("{n} 😀");
        foo.type_line(&line);
        foo.expect(&format!("Föö: {line}"));
    }
}

#[test]
fn what_is_typed_stays_whole_and_gives_way_to_what_comes_back() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let ports = ["--text-port", &server.text_port, "--voice-port", &server.voice_port];
    let arguments = [&["classic", "127.0.0.1"], &ports[..], &SILENT].concat();
    let mut bar = server.join_old(&place, "Bar", &[]);
    let mut foo = Seat::client(&place, 100, &arguments);
    foo.sees("Type your name and press enter!");
    foo.enters("a\u{202e}b");
    foo.sees_part("cannot be your name");
    // The name does not come back.
    foo.enters("Foo");
    foo.sees("Foo");
    foo.sees(&welcome("Foo"));
    foo.types("half a");
    foo.sees_typed("half a|");
    bar.expect_part("Foo has joined the chat!");
    bar.type_line("did I break in?");
    foo.sees("Bar: did I break in?");
    foo.sees_typed("half a|");
    foo.types(" line\r");
    bar.expect_part("Foo: half a line");
    foo.sees("Foo: half a line");
    let long = "x".repeat(1025);
    foo.enters(&long);
    foo.sees_part("longer than 1024 bytes");
    foo.enters("{quit}");
    assert_eq!(foo.ends().code(), Some(0));
    let rows = foo.rows();
    let rows = rows.iter().skip_while(|row| **row != "Bar: did I break in?").map(String::as_str);
    let whole = "x".repeat(100);
    let expected = ["Bar: did I break in?", "Foo: half a line"].into_iter();
    // What was not sent is still there.
    let expected = expected.chain([whole.as_str(); 10]).chain([&long[..25]]);
    let expected =
        expected.chain(["a message longer than 1024 bytes was not sent; say it in several messages"]);
    assert_eq!(rows.collect::<Vec<_>>(), expected.chain(["{quit}"]).collect::<Vec<_>>());
}

#[test]
fn ctrl_c_leaves_as_quitting_does() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let mut bar = server.join_old(&place, "Bar", &[]);
    let mut foo = server.join(&place, "Foo", &SILENT);
    foo.signal("INT");
    assert_eq!(foo.exit_code(), 0);
    bar.expect_part("Foo has left the chat.");
}

#[test]
fn a_server_that_vanishes_is_told_in_one_line() {
    let place = Place::new();
    let mut server = OldServer::start(&place, &[]);
    let mut foo = server.join(&place, "Foo", &SILENT);
    server.program.expect("voice OK");
    server.program.signal("KILL");
    assert_eq!(foo.exit_code(), 1);
    let errors = foo.errors();
    assert!(errors.starts_with("chinwag: the ") && errors.lines().count() == 1, "{errors}");

    // The same of one that was not there at all.
    let mut late = server.client(&place, &SILENT);
    assert_eq!(late.exit_code(), 1);
    assert!(late.errors().contains("no old server answers at 127.0.0.1"), "{}", late.errors());
}

#[test]
fn without_a_voice_port_text_goes_on() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    // Nobody listens there any more.
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let said = place.voice("said.wav", 1, 60);
    let arguments = ["--voice-port", &refuses, "--mic", said.to_str().unwrap(), "--speaker", "none"];
    let text = ["classic", "127.0.0.1", "--text-port", &server.text_port, "--name", "Foo"];
    let mut foo = client(&place, [&text[..], &arguments].concat());
    foo.expect_error("no voice, only text");
    foo.expect(&welcome("Foo"));
    foo.type_line("still here");
    foo.expect("Foo: still here");
    // The file that nobody hears is not waited for.
    foo.end_input();
    assert_eq!(foo.exit_code(), 0);
    assert_eq!(foo.errors().lines().count(), 1, "{}", foo.errors());
}

#[test]
fn voice_that_breaks_off_is_told_and_text_goes_on() {
    let place = Place::new();
    let (text, voice) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    let ports = ["--text-port", &port(&text), "--voice-port", &port(&voice)].map(str::to_owned);
    let arguments: Vec<_> =
        ["classic", "127.0.0.1"].into_iter().chain(ports.iter().map(String::as_str)).collect();
    let mut foo = client(&place, [&arguments[..], &SILENT].concat());
    let (mut text, _): (TcpStream, _) = text.accept().unwrap();
    drop(voice.accept().unwrap());
    foo.expect_error("voice has ended (the server has closed it); text goes on");
    text.write_all("a whole line".as_bytes()).unwrap();
    foo.expect("a whole line");
}

/// Sound at another rate.
fn converted(from_hz: u32, to_hz: u32, sound: &[f32]) -> Vec<f32> {
    let mut resampler = Resampler::new(from_hz, to_hz, 441).unwrap();
    let mut out = vec![];
    resampler.push(sound, &mut out);
    resampler.finish(&mut out);
    out
}

/// Sound (48 kHz) as a WAV file of the old programs' rate, 16 bits, so many channels.
pub(crate) fn write_old_wav(path: &Path, sound: &[f32], channels: u16) {
    let samples = converted(SAMPLE_RATE_HZ, OLD_RATE_HZ, sound);
    let frame_bytes = 2 * channels;
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes().repeat(channels.into()))
        .collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut wav = vec![];
    wav.extend(b"RIFF");
    wav.extend((36 + length).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1_u16, channels].into_iter().flat_map(u16::to_le_bytes));
    wav.extend([OLD_RATE_HZ, OLD_RATE_HZ * u32::from(frame_bytes)].into_iter().flat_map(u32::to_le_bytes));
    wav.extend([frame_bytes, 16].into_iter().flat_map(u16::to_le_bytes));
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(data);
    fs::write(path, wav).unwrap();
}

/// What an old client wrote, of one channel, at 48 kHz.
pub(crate) fn old_samples(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let (pairs, _) = bytes.as_chunks::<2>();
    let samples: Vec<f32> =
        pairs.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0).collect();
    converted(OLD_RATE_HZ, SAMPLE_RATE_HZ, &samples)
}

pub(crate) fn wait_for_bytes(path: &Path, length: u64) {
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(path).map_or(0, |file| file.len()) < length {
        assert!(Instant::now() < deadline, "{} does not grow", path.display());
        thread::yield_now();
    }
}

/// Half a second by half a second: where the machine was late there is a gap, which moves all behind it.
pub(crate) fn assert_heard(said: &[f32], heard: &[f32]) {
    let parts = align_parts(said, heard, RATE / 2);
    let alike = parts.iter().filter(|part| part.correlation > 0.95).count();
    assert!(alike * 3 >= parts.len() * 2 && alike > 1, "{parts:?}");
    let (said, heard) = (chinwag_audio::rms(said), chinwag_audio::rms(heard));
    assert!(heard > said * 0.4 && heard < said * 1.1, "{said} was said, {heard} heard");
}

#[test]
fn what_is_said_arrives_at_an_old_client_and_comes_back_from_the_old_server() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let (said, echo, heard) =
        (place.voice("said.wav", 1, SECONDS), place.path("echo.wav"), place.path("heard.pcm"));
    let mut bar = server.join_old(&place, "Bar", &["--heard", heard.to_str().unwrap()]);
    let sound = ["--mic", said.to_str().unwrap(), "--speaker", echo.to_str().unwrap()];
    let mut foo = server.join(&place, "Foo", &sound);
    wait_for_bytes(&echo, 2 * (SECONDS as u64 + 1) * RATE as u64);
    // All is said, so that this is the end.
    foo.end_input();
    assert_eq!(foo.exit_code(), 0, "{}", foo.errors());
    bar.expect_part("Foo has left the chat.");
    wait_for_bytes(&heard, 2 * u64::from(OLD_RATE_HZ) * SECONDS as u64);
    let (said, heard) = (samples(&said), old_samples(&heard));
    // Nothing was played in real time: every sample is there.
    let found = align(&said, &heard);
    assert!(
        found.correlation > 0.99 && found.offset_samples.abs() < 100 && found.longest_hole_ms == 0,
        "{found:?}"
    );
    assert_heard(&said, &samples(&echo));
}

#[test]
fn a_file_that_ends_with_the_input_is_said_to_its_end() {
    let place = Place::new();
    let server = OldServer::start(&place, &[]);
    let (said, heard) = (place.voice("said.wav", 2, 2), place.path("heard.pcm"));
    let mut bar = server.join_old(&place, "Bar", &["--heard", heard.to_str().unwrap()]);
    let mut foo = server.join(&place, "Foo", &["--mic", said.to_str().unwrap(), "--speaker", "none"]);
    foo.end_input();
    assert_eq!(foo.exit_code(), 0, "{}", foo.errors());
    bar.expect_part("Foo has left the chat.");
    wait_for_bytes(&heard, 2 * u64::from(OLD_RATE_HZ) * 2);
    let found = align(&samples(&said), &old_samples(&heard));
    assert!(found.correlation > 0.99 && found.longest_hole_ms == 0, "{found:?}");
}

#[test]
fn what_an_old_client_says_is_heard() {
    for channels in [1, 2] {
        let place = Place::new();
        let server = OldServer::start(&place, &[]);
        let (said, heard) = (place.path("said.wav"), place.path("heard.wav"));
        let voice = sample::voice(3, SECONDS);
        write_old_wav(&said, &voice, channels);
        let sound =
            ["--channels", &channels.to_string(), "--mic", "none", "--speaker", heard.to_str().unwrap()];
        let mut foo = server.join(&place, "Foo", &sound);
        let mut bar = server.join_old(&place, "Bar", &["--say", said.to_str().unwrap()]);
        foo.expect("Bar has joined the chat!");
        bar.expect("all said");
        wait_for_samples(&heard, samples(&heard).len() + RATE);
        foo.type_line("{quit}");
        assert_eq!(foo.exit_code(), 0, "{}", foo.errors());
        assert_heard(&voice, &samples(&heard));
    }
}
