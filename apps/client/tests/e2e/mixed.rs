//! Old programs and new ones in one room, at our server: text and voice.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use chinwag_audio::sample;

use crate::{
    classic::{OLD_RATE_HZ, assert_heard, join_old, old_samples, wait_for_bytes, welcome, write_old_wav},
    common::{PATIENCE, Place, Program, Server, client, samples, server_binary},
    voice::{RATE, wait_for_samples},
};

const SECONDS: usize = 3;

/// A server for old and new, and its ports for old programs.
struct Both {
    server: Server,
    text_port: String,
    voice_port: String,
}

impl Both {
    fn start(place: &Place) -> Self {
        let data = place.path("server");
        let listen = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
        let classic = ["--classic-text", "127.0.0.1:0", "--classic-voice", "127.0.0.1:0"];
        let mut program = Program::start(&server_binary(), listen.iter().chain(&classic), place);
        let port = |line: String| line.split(' ').nth(2).unwrap().rsplit(':').next().unwrap().to_owned();
        let text_port = port(program.expect_part("for classic programs"));
        let voice_port = port(program.expect_part("for their voice"));
        Self { server: Server::from_program(program), text_port, voice_port }
    }

    /// The old client.
    fn join_old(&self, place: &Place, name: &str, options: &[&str]) -> Program {
        join_old(place, (&self.text_port, &self.voice_port), name, options)
    }

    /// Our client in the part of the old one.
    fn join_classic(&self, place: &Place, name: &str) -> Program {
        let ports = ["--text-port", &self.text_port, "--voice-port", &self.voice_port];
        let silent = ["--mic", "none", "--speaker", "none", "--name", name];
        let mut client = client(place, [&["classic", "127.0.0.1"], &ports[..], &silent].concat());
        client.expect(&welcome(name));
        client
    }
}

#[test]
fn old_and_new_are_in_one_room() {
    let place = Place::new();
    let mut both = Both::start(&place);
    let mut foo = both.server.join(&place, "Foo");
    let mut bar = both.join_old(&place, "Bar", &[]);
    foo.expect("Bar has joined the chat!");
    let mut baz = both.join_classic(&place, "Baz");
    for other in [&mut foo, &mut bar] {
        other.expect("Baz has joined the chat!");
    }
    for (speaker, name, text) in
        [(0, "Foo", "Grüße von Foo"), (1, "Bar", "hello from Bar"), (2, "Baz", "and from Baz")]
    {
        let all = [&mut foo, &mut bar, &mut baz];
        all[speaker].type_line(text);
        for everybody in all {
            everybody.expect(&format!("{name}: {text}"));
        }
    }
    bar.type_line("{quit}");
    bar.wait();
    for other in [&mut foo, &mut baz] {
        other.expect("Bar has left the chat.");
    }
    baz.signal("KILL");
    baz.wait();
    foo.expect("Baz has left the chat.");
    both.server.program.expect("Baz has left the chat. (connection lost)");
}

/// Reads until `text` has come.
fn read_until(socket: &mut TcpStream, text: &str) {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(text.as_bytes()) {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "no {text} in {}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
}

#[test]
fn whatever_old_sockets_send_the_others_read_on() {
    const WHO: &str = "Type your name and press enter!";
    const LINES: usize = 300;
    let place = Place::new();
    let mut both = Both::start(&place);
    let mut foo = both.server.join(&place, "Foo");
    let mut odd = TcpStream::connect(format!("127.0.0.1:{}", both.text_port)).unwrap();
    odd.set_read_timeout(Some(PATIENCE)).unwrap();
    read_until(&mut odd, WHO);
    for nothing in [[0; 1024], [b' '; 1024], [0xff; 1024]] {
        odd.write_all(&nothing).unwrap();
        // Of nothing but blanks there is nothing to say.
        if nothing[0] != b' ' {
            read_until(&mut odd, WHO);
        }
    }
    odd.write_all(b"Odd").unwrap();
    read_until(&mut odd, &welcome("Odd"));
    foo.expect("Odd has joined the chat!");
    // In the middle of a character.
    odd.write_all(b"Gr\xc3").unwrap();
    odd.write_all(b"\xbc\xc3\x9fe").unwrap();
    foo.expect("Odd: Grüße");
    let flood: String = (0..LINES).map(|n| format!("flood {n}\n")).collect();
    odd.write_all(flood.as_bytes()).unwrap();
    foo.type_line("still here");
    for n in 0..LINES {
        foo.expect_part(&format!("flood {n}"));
    }
    read_until(&mut odd, &format!("flood {}", LINES - 1));
    odd.write_all(b"{qu").unwrap();
    odd.write_all(b"it}").unwrap();
    read_until(&mut odd, "{quit}");
    let mut rest = String::new();
    odd.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "\n", "who sends lines gets lines");
    foo.expect("Odd has left the chat.");
    let mut half = TcpStream::connect(format!("127.0.0.1:{}", both.text_port)).unwrap();
    half.write_all("Half\n".as_bytes()).unwrap();
    foo.expect("Half has joined the chat!");
    // Gone in the middle of a character.
    half.write_all(b"\xf0\x9f").unwrap();
    drop(half);
    foo.expect("Half has left the chat.");
    both.server.program.expect("Half has left the chat. (connection lost)");
}

#[test]
fn old_and_new_hear_each_other_and_nobody_himself() {
    let place = Place::new();
    let both = Both::start(&place);
    let [old_says, old_hears, other_hears] = ["bar.wav", "bar.pcm", "baz.pcm"].map(|name| place.path(name));
    let (said, heard) = (place.voice("foo-said.wav", 1, SECONDS), place.path("foo-heard.wav"));
    let voice = sample::voice(2, SECONDS);
    write_old_wav(&old_says, &voice, 1);
    let mut baz = both.join_old(&place, "Baz", &["--heard", other_hears.to_str().unwrap()]);
    let sound = ["--name", "Foo", "--mic", said.to_str().unwrap(), "--speaker", heard.to_str().unwrap()];
    let mut foo = both.server.client(&place, &sound);
    foo.expect(&welcome("Foo"));
    baz.expect("Foo has joined the chat!");
    // Foo speaks as soon as he is in, and Baz hears it; then Bar comes, who speaks to both and hears Foo no more.
    let second = 2 * u64::from(OLD_RATE_HZ);
    wait_for_bytes(&other_hears, fs::metadata(&other_hears).unwrap().len() + (SECONDS as u64 + 1) * second);
    assert_heard(&samples(&said), &old_samples(&other_hears));
    let before = (samples(&heard).len(), old_samples(&other_hears).len());
    let bar_options = ["--say", old_says.to_str().unwrap(), "--heard", old_hears.to_str().unwrap()];
    let mut bar = both.join_old(&place, "Bar", &bar_options);
    bar.expect("all said");
    wait_for_samples(&heard, samples(&heard).len() + RATE);
    wait_for_bytes(&other_hears, fs::metadata(&other_hears).unwrap().len() + second);
    assert_heard(&voice, &samples(&heard)[before.0..]);
    assert_heard(&voice, &old_samples(&other_hears)[before.1..]);
    let own = chinwag_audio::rms(&old_samples(&old_hears));
    assert!(own < 0.001, "Bar hears himself: {own}");
    for program in [&mut foo, &mut bar, &mut baz] {
        program.type_line("{quit}");
    }
    assert_eq!(foo.exit_code(), 0, "{}", foo.errors());
}
