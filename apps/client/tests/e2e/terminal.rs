//! The programs before a person: the row in which is typed stays whole, and the terminal is left as it was found.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::Path,
};

use crate::{
    common::{Place, Program, Server, client, server_binary},
    seat::{CTRL_C, CTRL_D, CTRL_Z, ESCAPE, Kind, Seat},
};

const SILENT: [&str; 4] = ["--mic", "none", "--speaker", "none"];
const FOO: [&str; 6] = ["--name", "Foo", "--mic", "none", "--speaker", "none"];

fn join(place: &Place, server: &Server, columns: u16) -> Seat {
    let mut person = Seat::client(place, columns, &[&FOO[..], &[server.link.as_str()]].concat());
    person.sees_part("Welcome Foo!");
    // It comes by itself, and would come in between.
    person.sees_part("here: ");
    person.is_edited();
    person
}

/// The operator of a server with a console, and the server's link and classic port.
fn operate(place: &Place) -> (Seat, Server, String) {
    let data = place.path("server");
    let arguments = ["--listen", "127.0.0.1:0", "--classic-text", "127.0.0.1:0", "--console", "--data"];
    let arguments = [&arguments[..], &[data.to_str().unwrap()]].concat();
    let mut operator = Seat::take(place, 200, &server_binary(), &arguments);
    let link = operator.sees_part("friends join with: chinwag '");
    let classic = operator.sees_part("for classic programs");
    operator.sees("what you type is said to everybody; /help tells more");
    operator.is_edited();
    let link = link.split('\'').nth(1).unwrap().to_owned();
    // Nothing is started here: only what it can do with a link.
    let program = Program::start(Path::new("true"), [""; 0], place);
    (operator, Server { program, link }, classic.split(' ').nth(2).unwrap().to_owned())
}

#[test]
fn whoever_is_asked_may_answer_again_and_is_told_who_is_here() {
    let place = Place::new();
    let server = Server::start(&place);
    let _bar = server.join(&place, "Bar");
    let mut foo = Seat::client(&place, 200, &SILENT);
    foo.sees_typed("Enter host: |");
    foo.types("http://example.orgs\x7f");
    foo.sees_typed("Enter host: http://example.org|");
    foo.types("\r");
    foo.sees_part("only chinwag:// links are understood");
    foo.sees("Enter host: http://example.org");
    foo.enters(&server.link);
    foo.sees("Type your name and press enter!");
    foo.sees_typed("|");
    foo.enters("");
    foo.sees_part("nothing was typed");
    foo.enters("a:b");
    foo.sees_part("colon");
    foo.enters("Foo");
    foo.sees("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    foo.sees("-- here: Bar, Foo");
    // Answers are not what was said before.
    foo.types("\x1b[Ax");
    foo.sees_typed("x|");

    // To whom no server is known.
    let elsewhere = Place::new();
    let mut nobody = Seat::client(&elsewhere, 80, &SILENT);
    nobody.enters(&server.link);
    nobody.enters("{quit}");
    assert_eq!(nobody.ends().code(), Some(0));
    assert!(!nobody.rows().iter().any(|row| row.contains("Welcome")), "{:?}", nobody.rows());
    let mut nobody = Seat::client(&elsewhere, 80, &SILENT);
    nobody.sees_typed("Enter host: |");
    nobody.presses(CTRL_D);
    assert_eq!(nobody.ends().code(), Some(1));
    nobody.sees_part("no answer to \"Enter host:\"");
}

#[test]
fn what_comes_in_never_stands_in_what_is_typed() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server, 40);
    let begun = foo.rows();
    foo.types("half a");
    foo.sees_typed("half a|");
    bar.type_line("did I break in?");
    foo.sees("Bar: did I break in?");
    foo.sees_typed("half a|");
    foo.types(" lien\x1b[D\x1b[D\x1b[3~\x1b[Cn\x7f\x7f\x7fine");
    foo.sees_typed("half a line|");
    foo.types("\r");
    bar.expect("Foo: half a line");
    foo.sees("Foo: half a line");
    // Longer than a row: one row as it is typed, two when it is said.
    let long = "x".repeat(50);
    foo.types(&long);
    foo.until("a text that scrolls", |foo| foo.typing().starts_with("<xxx"));
    bar.type_line("now?");
    foo.sees("Bar: now?");
    foo.until("it again", |foo| foo.typing().starts_with("<xxx"));
    foo.types("\r");
    bar.expect(&format!("Foo: {long}"));
    // Several lines at one go, one by the history.
    foo.types("\x1b[200~one\rtwo\x1b[201~\r\x1b[A\x10!\r");
    bar.expect("Foo: one!");
    foo.sees("Foo: one!");
    // A command, with its answer, stays.
    foo.enters("/who");
    foo.until("who is here", |foo| {
        foo.rows().iter().filter(|row| row.contains("here: Bar, Foo")).count() == 2
    });
    foo.sees_typed("|");
    let (head, tail) = ("Foo: ".to_owned() + &long[..35], &long[35..]);
    let expected = [
        "Bar: did I break in?",
        "Foo: half a line",
        "Bar: now?",
        &head,
        tail,
        "Foo: one",
        "Foo: two",
        "Foo: one!",
        "/who",
        "-- here: Bar, Foo",
    ];
    assert_eq!(foo.rows()[begun.len()..], expected);
    // The end of input.
    foo.presses(CTRL_D);
    assert_eq!(foo.ends().code(), Some(0));
    assert_eq!(foo.rows()[begun.len()..], expected);
}

#[test]
fn a_flood_leaves_every_line_and_what_is_typed_whole() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server, 40);
    let lines: Vec<String> = (0..200).map(|n| format!("line {n}\n")).collect();
    bar.type_bytes(lines.concat().as_bytes());
    for c in "typed meanwhile".chars() {
        foo.types(&c.to_string());
        bar.expect_part("Bar: ");
    }
    foo.sees("Bar: line 199");
    foo.sees_typed("typed meanwhile|");
    let rows = foo.rows();
    let said: Vec<_> = rows.iter().filter_map(|row| row.strip_prefix("Bar: line ")).collect();
    assert_eq!(said, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
    foo.types("\r");
    bar.expect("Foo: typed meanwhile");
    foo.enters("/quit");
    assert_eq!(foo.ends().code(), Some(0));
}

#[test]
fn while_the_connection_is_lost_lines_stay_and_troubles_are_told_once() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut foo = join(&place, &server, 100);
    foo.types("mean");
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("the connection is lost");
    foo.sees_part("connection refused");
    foo.enters("while");
    foo.sees("meanwhile");
    foo.sees("-- what you type now is said when the connection is back");
    let _server = Server::start_at(&place, &address, &[]);
    foo.sees_part("back as Foo");
    foo.sees("Foo: meanwhile");
    foo.enters("/quit");
    assert_eq!(foo.ends().code(), Some(0));
    for part in ["the connection is lost", "connection refused"] {
        let count = foo.rows().iter().filter(|row| row.contains(part)).count();
        assert_eq!(count, 1, "{part}: {:#?}", foo.rows());
    }
}

#[test]
fn an_operators_row_is_his_own_whatever_is_logged() {
    let place = Place::new();
    let (mut operator, server, classic) = operate(&place);
    operator.types("hello ev");
    let mut bar = server.join(&place, "Bar");
    operator.sees("Bar has joined the chat!");
    operator.sees_typed("hello ev|");
    bar.type_line("hello operator");
    operator.sees("Bar: hello operator");
    // One who talks nonsense is in the log, which is another stream.
    let mut stranger = TcpStream::connect(server.address()).unwrap();
    stranger.write_all(b"no TLS at all, and nothing else").unwrap();
    operator.until("a line of the log", |operator| {
        operator.rows().iter().any(|row| row.contains("INFO") || row.contains("WARN"))
    });
    drop(TcpStream::connect(classic).unwrap());
    operator.sees_typed("hello ev|");
    operator.enters("erybody");
    bar.expect("server: hello everybody");
    operator.sees("server: hello everybody");
    operator.enters("/who");
    operator.sees("in lobby: Bar");
    operator.sees("/who");
    let rows = operator.rows();
    let odd = rows.iter().filter(|row| row.contains("hello ev") && *row != "server: hello everybody");
    assert_eq!(odd.count(), 0, "{rows:#?}");
    // Without a keyboard it serves on, with an ordinary terminal.
    operator.presses(CTRL_D);
    operator.is_left_ordinary();
    bar.type_line("still there?");
    operator.sees("Bar: still there?");
    operator.presses(CTRL_C);
    assert_eq!(operator.ends().code(), Some(0));
    bar.expect_error("the server is stopping");
}

#[test]
fn an_operators_quit_leaves_an_ordinary_terminal() {
    let place = Place::new();
    let (mut operator, server, _) = operate(&place);
    let mut bar = server.join(&place, "Bar");
    operator.sees("Bar has joined the chat!");
    operator.enters("quit");
    assert_eq!(operator.ends().code(), Some(0));
    operator.sees_part("stopped: 0 messages");
    bar.expect_error("the server is stopping");
}

#[test]
fn both_sides_of_a_chat_of_two_keep_their_rows() {
    let place = Place::new();
    let mut server = Seat::take(&place, 60, &server_binary(), &["duo", "127.0.0.1", "0"]);
    let port = server.sees_part("Server open with 127.0.0.1:").rsplit(':').next().unwrap().to_owned();
    // Nothing of what cannot be sent goes away.
    server.enters("too early");
    server.sees("nobody is here yet; that was not sent");
    server.sees("too early");
    let mut foo = Seat::client(&place, 60, &["duo", "127.0.0.1", &port]);
    foo.sees_typed("Send : |");
    server.sees_part("Client (");
    foo.types("half a");
    server.types("from the oth");
    foo.sees_typed("Send : half a|");
    server.sees_typed("from the oth|");
    server.types("er side\r");
    foo.sees("From server : from the other side");
    foo.sees_typed("Send : half a|");
    server.types("an ans");
    foo.types(" line\r");
    server.sees("<127.0.0.1> : half a line");
    server.sees_typed("an ans|");
    server.types("wer\r");
    foo.sees("From server : an answer");
    foo.sees_typed("Send : |");
    server.sees("I > an answer");
    let rows = server.rows();
    let address = rows.iter().position(|row| row.starts_with("Client (")).unwrap();
    assert_eq!(
        rows[address + 1..],
        ["I > from the other side", "<127.0.0.1> : half a line", "I > an answer"]
    );
    assert_eq!(foo.rows()[..2], ["From server : from the other side", "Send : half a line"]);
    server.enters("quit");
    assert_eq!(server.ends().code(), Some(0));
    foo.sees("Server closed");
    assert_eq!(foo.ends().code(), Some(0));
}

#[test]
fn a_wide_text_is_typed_in_a_narrow_window_that_changes() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server, 80);
    let text = "Grüße, 好好好 😀 ".repeat(3) + "und so weiter";
    foo.types(&text);
    foo.sees_typed(&(text.clone() + "|"));
    if cfg!(target_os = "linux") {
        foo.resizes(20);
        foo.until("a text that scrolls", |foo| {
            foo.typing().starts_with('<') && foo.typing().ends_with(" so weiter|")
        });
        foo.types("\x01");
        foo.until("its beginning", |foo| foo.typing().starts_with("|Grüße, 好好"));
    }
    foo.types("\r");
    bar.expect(&format!("Foo: {text}"));
}

#[test]
fn what_is_pasted_never_drives_the_terminal() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server, 80);
    foo.types("\x1b[200~a\x1b[2J\x1b]0;owned\x07\x04b\u{9b}c\u{202e}\x1b[201~");
    foo.sees_typed("a]0;ownedbc\\u{202e}|");
    foo.types("\r");
    bar.expect("Foo: a]0;ownedbc\\u{202e}");
    foo.sees_part("Welcome Foo!");
    // Far too much.
    foo.types(&format!("\x1b[200~{}\x1b[201~", "x".repeat(5000)));
    foo.types("\r");
    foo.sees_part("a line longer than 4096 bytes was not sent");
    foo.enters("short");
    bar.expect("Foo: short");
}

#[test]
fn a_terminal_that_cannot_erase_gets_plain_lines() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let arguments = [&FOO[..], &[server.link.as_str()]].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag"));
    for kind in ["dumb", ""] {
        let mut foo =
            Seat::take_of_kind(Kind { name: kind, ..Kind::xterm(80, 24) }, &place, program, &arguments);
        foo.sees_part("here: Bar, Foo");
        assert!(foo.is_ordinary());
        foo.enters("hello");
        foo.sees("hello");
        foo.sees("Foo: hello");
        bar.type_line("bye");
        foo.sees("Bar: bye");
        foo.enters("/quit");
        assert_eq!(foo.ends().code(), Some(0));
        assert!(!foo.written().contains(&ESCAPE), "{:?}", foo.rows());
    }
}

/// Foo, who has said `one`, and an old server that has read it.
fn one_is_said(place: &Place) -> (Seat, TcpStream) {
    let (text, voice) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    let ports = ["--text-port", &port(&text), "--voice-port", &port(&voice)];
    let mut person = Seat::client(place, 80, &[&["classic", "127.0.0.1"], &ports[..], &FOO].concat());
    let (mut server, _) = text.accept().unwrap();
    let mut told = [0; 100];
    for (line, answer) in [("Type your name and press enter!", "Foo"), ("Welcome Foo!", "one")] {
        server.write_all(line.as_bytes()).unwrap();
        person.sees(line);
        if answer != "Foo" {
            person.enters(answer);
        }
        let count = server.read(&mut told).unwrap();
        assert_eq!(told[..count], *answer.as_bytes());
    }
    (person, server)
}

#[test]
fn lines_of_which_nothing_came_are_shown_when_it_ends() {
    let place = Place::new();
    let (mut foo, server) = one_is_said(&place);
    foo.enters("two");
    foo.enters("three");
    foo.types("half");
    foo.sees_typed("half|");
    drop(server);
    foo.sees("may not have reached the server: Foo: one");
    foo.sees("not sent: two");
    foo.sees("not sent: three");
    assert_eq!(foo.ends().code(), Some(1));
}

#[test]
fn what_comes_back_while_he_leaves_has_arrived() {
    let place = Place::new();
    let (mut foo, mut server) = one_is_said(&place);
    foo.presses(CTRL_C);
    let mut quit = [0; 6];
    server.read_exact(&mut quit).unwrap();
    assert_eq!(quit, *b"{quit}");
    server.write_all(b"Foo: one").unwrap();
    foo.sees("Foo: one");
    drop(server);
    assert_eq!(foo.ends().code(), Some(0));
    assert!(foo.rows().iter().all(|row| !row.contains("may not have")), "{:?}", foo.rows());
}

#[test]
fn whatever_ends_a_client_leaves_an_ordinary_terminal_and_what_was_begun() {
    let place = Place::new();
    let server = Server::start(&place);
    for signal in ["TERM", "HUP", "INT"] {
        let mut foo = join(&place, &server, 80);
        // What was begun is there again.
        if signal == "TERM" {
            foo.types("unfinished");
        }
        foo.sees_typed("unfinished|");
        foo.signal(signal);
        assert_eq!(foo.ends().code(), Some(0), "{signal}");
        assert_eq!(foo.rows().last().unwrap(), "unfinished");
    }
    // Nobody attends to this one.
    let mut foo = join(&place, &server, 80);
    foo.signal("QUIT");
    assert_eq!(foo.ends().signal(), Some(3));
    // Nor to these while questions are asked.
    let elsewhere = Place::new();
    for (signal, number) in [
        ("INT", libc::SIGINT),
        ("TERM", libc::SIGTERM),
        ("HUP", libc::SIGHUP),
        ("USR1", libc::SIGUSR1),
        ("ABRT", libc::SIGABRT),
        ("SEGV", libc::SIGSEGV),
    ] {
        let mut nobody = Seat::client(&elsewhere, 80, &SILENT);
        nobody.sees_typed("Enter host: |");
        nobody.signal(signal);
        assert_eq!(nobody.ends().signal(), Some(number));
    }
    // Somebody has the name.
    let _foo = server.join(&place, "Foo");
    let mut second = Seat::client(&place, 80, &SILENT);
    second.enters(&server.link);
    second.enters("Foo");
    assert_eq!(second.ends().code(), Some(1));
    second.sees_part("choose another name");
    // Nobody is there.
    let mut third = Seat::client(&place, 80, &SILENT);
    third.enters("127.0.0.1:1");
    third.enters("Foo");
    assert_eq!(third.ends().code(), Some(1));
}

#[test]
fn the_end_of_a_chat_of_two_leaves_an_ordinary_terminal() {
    let place = Place::new();
    let mut server = Program::start(&server_binary(), ["duo", "127.0.0.1", "0"], &place);
    let port = server.expect_part("Server open").rsplit(':').next().unwrap().to_owned();
    let mut foo = Seat::client(&place, 60, &["duo", "127.0.0.1", &port]);
    foo.types("unfinished");
    foo.sees_typed("Send : unfinished|");
    server.signal("TERM");
    foo.ends();
    foo.sees("Server closed");
    foo.sees("Send : unfinished");
    let mut operator = Seat::take(&place, 60, &server_binary(), &["duo", "127.0.0.1", "0"]);
    let port = operator.sees_part("Server open").rsplit(':').next().unwrap().to_owned();
    let mut bar = client(&place, ["duo", "127.0.0.1", &port]);
    operator.sees_part("Client (");
    operator.signal("TERM");
    assert_eq!(operator.ends().code(), Some(0));
    bar.expect("Server closed");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_and_ctrl_z_does_nothing_where_nobody_could_let_it_go_on() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server, 80);
    foo.presses(CTRL_Z);
    foo.enters("not stopped");
    bar.expect("Foo: not stopped");
    foo.presses(CTRL_C);
    assert_eq!(foo.ends().code(), Some(0));
    bar.expect("Foo has left the chat.");
    let elsewhere = Place::new();
    let mut nobody = Seat::client(&elsewhere, 80, &SILENT);
    nobody.sees_typed("Enter host: |");
    nobody.presses(CTRL_C);
    assert_eq!(nobody.ends().signal(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_shell_has_an_ordinary_terminal_while_the_program_is_stopped() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut shell = Seat::take(&place, 80, Path::new("sh"), &["-i"]);
    let (program, link) = (env!("CARGO_BIN_EXE_chinwag"), &server.link);
    // No shell that edits lines by itself.
    shell.enters("PS1='ready> '");
    shell.until("the shell", |shell| shell.typing().ends_with("ready> |"));
    shell.enters(&format!("'{program}' --plain {} '{link}'", FOO.join(" ")));
    shell.sees_part("here: Bar, Foo");
    shell.is_edited();
    for word in ["one", "two"] {
        shell.types(word);
        shell.sees_typed(&format!("{word}|"));
        shell.presses(CTRL_Z);
        shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
        bar.type_line("are you there?");
        bar.expect("Bar: are you there?");
        shell.enters("fg");
        shell.sees_typed(&format!("{word}|"));
        shell.is_edited();
        shell.types(", whole\r");
        bar.expect(&format!("Foo: {word}, whole"));
    }
    shell.sees("Bar: are you there?");
    shell.enters("/quit");
    shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
    shell.enters("exit");
    shell.ends();
}
