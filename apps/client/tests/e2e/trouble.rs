//! Wrong use, and peers that behave badly: one clear line for the one, no harm to others from the other.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::common::{Place, Program, Server, client, server_binary};

#[test]
fn wrong_use_is_told_in_a_line_that_helps() {
    let place = Place::new();
    fs::write(place.path("no.wav"), "this is not a WAV file").unwrap();
    let no_wav = place.path("no.wav");
    let no_wav = no_wav.to_str().unwrap();
    // Bound and not accepting; nobody else can listen there meanwhile.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = format!("127.0.0.1:{}", deaf.local_addr().unwrap().port());
    let silent = ["--name", "Foo", "--mic", "none", "--speaker", "none"];
    let silent = |more: &[&'static str]| [&silent[..], more].concat();
    for (arguments, code, part) in [
        (vec!["--frame-ms", "15", "host"], 2, "10 or 20"),
        (vec!["--no-such-option"], 2, "--no-such-option"),
        (vec!["--fingerprint", "12", "host"], 2, "64 hexadecimal digits"),
        (silent(&["http://example.org"]), 2, "chinwag://"),
        (silent(&["host:99999"]), 2, "1 to 65535"),
        (vec!["--name", "a:b", "--mic", "none", "--speaker", "none", "localhost"], 2, "colon"),
        (vec!["--name", "Foo", "--mic", "no-such-file.wav", "--speaker", "none", "h"], 1, "no-such-file.wav"),
        (vec!["--name", "Foo", "--mic", no_wav, "--speaker", "none", "h"], 1, "no.wav"),
        (
            vec!["--name", "Foo", "--mic", "none", "--speaker", "/no/such/folder/x.wav", "h"],
            1,
            "/no/such/folder",
        ),
        (silent(&["--stats", "/no/such/folder/x.json", "localhost"]), 1, "/no/such/folder/x.json"),
        ([&silent(&[])[..], &[nobody.as_str()]].concat(), 1, "connection refused"),
    ] {
        let mut foo = client(&place, &arguments);
        foo.end_input();
        assert_eq!(foo.exit_code(), code, "{arguments:?}: {}", foo.errors());
        assert!(foo.errors().contains(part), "{arguments:?}: {}", foo.errors());
        assert!(foo.output().is_empty(), "{arguments:?}: {:?}", foo.output());
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let place = Place::new();
    let server = Server::start(&place);
    let data = place.path("server");
    let data = data.to_str().unwrap();
    fs::write(place.path("a file"), "").unwrap();
    let no_folder = place.path("a file");
    let taken = server.address();
    for (arguments, code, part) in [
        (vec!["--listen", taken.as_str(), "--data", data], 1, "--listen"),
        (vec!["--listen", "127.0.0.1:0", "--data", no_folder.to_str().unwrap()], 1, "--data"),
        (
            vec!["--listen", "127.0.0.1:0", "--cert", "/no/cert.pem", "--key", "/no/key.pem"],
            1,
            "/no/cert.pem",
        ),
        (vec!["--listen", "24469"], 2, "such as 0.0.0.0:24469"),
        (vec!["--max-clients", "0"], 2, "--max-clients"),
    ] {
        let mut second = Program::start(&server_binary(), &arguments, &place);
        assert_eq!(second.exit_code(), code, "{arguments:?}: {}", second.errors());
        assert!(second.errors().contains(part), "{arguments:?}: {}", second.errors());
    }
}

#[test]
fn several_addresses_are_served() {
    let place = Place::new();
    let server = Server::start_at(&place, "127.0.0.1:0", &["--listen", "127.0.0.2:0"]);
    let second = server.program.output().iter().find(|line| line.contains("127.0.0.2")).unwrap().clone();
    let second = second.split([' ', ',']).nth(2).unwrap().to_owned();
    let mut foo = server.join(&place, "Foo");
    let mut bar = client(&place, ["--name", "Bar", "--mic", "none", "--speaker", "none", second.as_str()]);
    bar.expect_error("first time at 127.0.0.2");
    bar.type_line("from elsewhere");
    foo.expect("Bar: from elsewhere");
}

#[test]
fn a_server_that_is_none_is_told() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        // Until it gives up.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let mut foo = client(&place, ["--name", "Foo", "--mic", "none", "--speaker", "none", address.as_str()]);
    assert_eq!(foo.exit_code(), 1);
    assert!(foo.errors().contains("does not speak chinwag/1"), "{}", foo.errors());
    thread.join().unwrap();
}

#[test]
fn strangers_that_send_garbage_or_nothing_disturb_nobody() {
    let place = Place::new();
    let mut server = Server::start_at(&place, "127.0.0.1:0", &["--log", "debug"]);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    let address = server.address();

    let mut garbage = TcpStream::connect(&address).unwrap();
    garbage.write_all(&[0xa5; 100_000]).unwrap_or_default();
    let mut web = TcpStream::connect(&address).unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut silent = TcpStream::connect(&address).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..1500 {
        udp.send_to(&vec![1; length], &address).unwrap();
    }
    for connection in [&mut garbage, &mut web, &mut silent] {
        // Closed by the server, with or without a word; the silent one after its time is up.
        let _ = connection.read_to_end(&mut Vec::new());
    }
    server.program.expect_error("no hello within 10 s");
    foo.type_line("still here?");
    bar.expect("Foo: still here?");
    bar.type_line("sure");
    foo.expect("Bar: sure");
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);
    assert!(server.program.errors().contains(" not ours"), "{}", server.program.errors());
}

#[test]
fn one_who_does_not_read_holds_nobody_up() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    let stuck = server.join(&place, "Stuck");
    stuck.signal("STOP");
    let text = "z".repeat(4000);
    for n in 0..20 {
        foo.type_line(&format!("{n} {text}"));
    }
    bar.expect(&format!("Foo: 19 {text}"));
    stuck.signal("CONT");
    foo.type_line("{quit}");
    assert_eq!(foo.exit_code(), 0);
}
