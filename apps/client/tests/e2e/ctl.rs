//! `chinwag ctl`, from another process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

use crate::{
    common::{PATIENCE, Place, Program, Server, client},
    ptt::talker,
};

/// What `chinwag ctl` says, and whether it succeeds.
fn ctl(place: &Place, arguments: &[&str]) -> (String, bool) {
    let mut ctl = client(place, ["ctl"].iter().chain(arguments));
    let code = ctl.exit_code();
    assert!(matches!(code, 0 | 1), "{}", ctl.errors());
    let said = if code == 0 { ctl.output().join("\n") } else { ctl.errors() };
    (said, code == 0)
}

fn sockets(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("run/chinwag")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_hot_key_begins_and_stops_to_talk_and_that_is_seen() {
    let place = Place::new();
    let server = Server::start(&place);
    assert_eq!(
        ctl(&place, &["ptt", "on"]),
        ("chinwag: no chinwag of yours is in a conversation here".into(), false)
    );
    let mut foo = talker(&place, &server, &["--gate", "ptt"]);
    for (to, answer, seen) in [
        ("toggle", "talking", "ptt talking"),
        ("on", "talking", "ptt talking"),
        ("off", "not talking", "ptt off"),
        ("toggle", "talking", "ptt talking"),
        ("toggle", "not talking", "ptt off"),
    ] {
        assert_eq!(ctl(&place, &["ptt", to]), (answer.to_owned(), true));
        foo.sees_part(seen);
    }
    // Of these there is a line, too.
    assert_eq!(ctl(&place, &["mute", "toggle"]), ("muted".to_owned(), true));
    foo.sees_part("nobody hears you now");
    assert_eq!(ctl(&place, &["mute", "off"]), ("not muted".to_owned(), true));
    assert_eq!(ctl(&place, &["deafen", "on"]), ("deafened".to_owned(), true));
    foo.sees_part("deafened");
    // Who talks by a hot-key is in another window.
    assert_eq!(ctl(&place, &["ptt", "on"]).0, "talking");
    foo.types("\x1b[Ox");
    foo.sees_typed("> x|");
    foo.sees_part("ptt talking");
    let [socket] = &sockets(&place)[..] else { panic!("one socket") };
    assert_eq!(fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    foo.enters("\x15/quit");
    foo.ends();
    assert_eq!(sockets(&place), [""; 0].map(PathBuf::from));
    assert!(!ctl(&place, &["ptt", "on"]).1);
}

#[test]
fn of_several_one_is_chosen_and_the_dead_are_forgotten() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    let (told, is_done) = ctl(&place, &["mute", "on"]);
    assert!(!is_done && told.contains("several of your chinwags"), "{told}");
    for (person, name) in [(&foo, "Foo"), (&bar, "Bar")] {
        let line = format!("--pid {}   {name} at {}", person.pid(), server.address());
        assert!(told.contains(&line), "{told}");
    }
    let pid = foo.pid().to_string();
    assert_eq!(ctl(&place, &["--pid", &pid, "mute", "on"]), ("muted".to_owned(), true));
    foo.expect_error("nobody hears you now");
    let (told, is_done) = ctl(&place, &["--pid", "1", "mute", "on"]);
    assert!(!is_done && told.contains("process 1 is no chinwag"), "{told}");
    // It has no time to tidy up.
    foo.signal("KILL");
    foo.wait();
    assert_eq!(sockets(&place).len(), 2);
    assert_eq!(ctl(&place, &["deafen", "toggle"]), ("deafened".to_owned(), true));
    bar.expect_error("you hear nobody now");
    assert_eq!(sockets(&place).len(), 1);
    for signal in ["TERM", "HUP"] {
        bar.signal(signal);
        bar.wait();
        assert!(sockets(&place).is_empty(), "{signal}");
        bar = server.join(&place, "Bar");
    }
}

#[test]
fn why_nothing_is_done_is_told() {
    let place = Place::new();
    let server = Server::start(&place);
    let voice = place.voice("said.wav", 7, 30);
    let _foo = server.join(&place, "Foo");
    assert_eq!(
        ctl(&place, &["ptt", "on"]),
        ("chinwag: you have no microphone; --mic gives you one".into(), false)
    );
    drop(_foo);
    let mut bar =
        server.client(&place, &["--name", "Bar", "--mic", voice.to_str().unwrap(), "--speaker", "none"]);
    bar.expect_part("Welcome");
    let (told, is_done) = ctl(&place, &["ptt", "toggle"]);
    assert!(!is_done && told.contains("push-to-talk is off"), "{told}");
    // In plain lines there is no other place to see it.
    bar.type_line("/vad");
    bar.expect_error("you are heard by push-to-talk now");
    assert_eq!(ctl(&place, &["ptt", "toggle"]), ("talking".to_owned(), true));
    bar.expect_error("you are heard now");
    let mut wrong = client(&place, ["ctl", "ptt", "maybe"]);
    assert_eq!(wrong.exit_code(), 2);
    assert!(wrong.errors().contains("toggle"), "{}", wrong.errors());
}

#[test]
fn whoever_holds_a_socket_or_writes_nonsense_holds_up_nobody() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let [socket] = &sockets(&place)[..] else { panic!("one socket") };
    let connect = || {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let answer = |request: &[u8]| {
        let mut stream = connect();
        // It may have hung up before it has all.
        let _ = stream.write_all(request);
        let mut line = String::new();
        // As well by a reset.
        let _ = BufReader::new(stream).read_line(&mut line);
        line
    };
    let silent = connect();
    foo.type_line("not held up");
    foo.expect("Foo: not held up");
    for (request, answered) in [
        (&b"who\n"[..], format!("ok Foo at {}\n", server.address())),
        (b"mute on\nmute off\n", "ok muted\n".to_owned()),
        (b"nonsense\n", "no it does not know what that is; it may be of another version\n".to_owned()),
        (b"ptt\n", "no it does not know what that is; it may be of another version\n".to_owned()),
        (b"\xff\n", String::new()),
        (&[b'x'; 100_000], String::new()),
        (b"half a line", String::new()),
    ] {
        assert_eq!(answer(request), answered, "{:?}", &request[..request.len().min(20)]);
    }
    drop(silent);
    assert_eq!(ctl(&place, &["mute", "off"]), ("not muted".to_owned(), true));
    foo.type_line("still here");
    foo.expect("Foo: still here");
}

#[test]
fn without_a_runtime_folder_there_is_one_in_the_temporary_directory() {
    let place = Place::new();
    let server = Server::start(&place);
    let temporary = format!("TMPDIR={}", place.path("").display());
    let start = |arguments: &[&str]| {
        let chinwag = ["-u", "XDG_RUNTIME_DIR", &temporary, env!("CARGO_BIN_EXE_chinwag")];
        Program::start(Path::new("env"), [&chinwag, arguments].concat(), &place)
    };
    let usual = ["--name", "Foo", "--mic", "none", "--speaker", "none", &server.link];
    let mut foo = start(&usual);
    foo.expect_part("Welcome");
    let mut ctl = start(&["ctl", "mute", "on"]);
    assert_eq!(ctl.exit_code(), 0, "{}", ctl.errors());
    foo.expect_error("nobody hears you now");
    let is_folder = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("chinwag-");
    let folder =
        fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path()).find(is_folder).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    foo.type_line("{quit}");
    assert_eq!(foo.exit_code(), 0);
    // Somebody else may put something there.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut foo = start(&usual);
    foo.expect_error("`chinwag ctl` cannot be used");
    foo.expect_part("Welcome");
    let mut ctl = start(&["ctl", "mute", "on"]);
    assert_eq!(ctl.exit_code(), 1);
    assert!(ctl.errors().contains("nobody else can enter (mode 700)"), "{}", ctl.errors());
}
