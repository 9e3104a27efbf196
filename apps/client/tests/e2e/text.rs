//! Text between the real programs over loopback.

use crate::common::{Place, Server, client};

#[test]
fn two_people_see_exactly_what_was_promised() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    foo.expect("Bar has joined the chat!");
    bar.type_line("Hello, I am Bar!");
    foo.expect("Bar: Hello, I am Bar!");
    bar.expect("Bar: Hello, I am Bar!");
    foo.type_line("//slashed");
    bar.expect("Foo: /slashed");
    bar.type_line("{quit}");
    assert_eq!(bar.exit_code(), 0);
    foo.expect("Bar has left the chat.");
    foo.type_line("/quit");
    assert_eq!(foo.exit_code(), 0);
    assert_eq!(
        foo.output(),
        [
            "Welcome Foo! If you ever want to quit, type {quit} to exit.",
            "Bar has joined the chat!",
            "Bar: Hello, I am Bar!",
            "Foo: /slashed",
            "Bar has left the chat.",
        ]
    );
    assert_eq!(
        bar.output(),
        [
            "Welcome Bar! If you ever want to quit, type {quit} to exit.",
            "Bar: Hello, I am Bar!",
            "Foo: /slashed",
        ]
    );
}

#[test]
fn the_operator_sees_who_comes_and_goes_and_a_stop_is_told() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    server.program.expect_part("has connected.");
    server.program.expect("Foo has joined the chat!");
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);
    let output = server.program.output();
    assert_eq!(output[0], "the history is empty");
    assert_eq!(output[1], "Waiting for connection...");
    assert!(output[2].contains(&server.address()), "{output:?}");
    assert!(output[3].starts_with("fingerprint "), "{output:?}");
    foo.expect_error("the server is stopping");
}

#[test]
fn with_no_arguments_it_asks() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = client(&place, ["--mic", "none", "--speaker", "none"]);
    foo.type_line(&server.link);
    foo.expect_error("Type your name and press enter!");
    foo.type_line("Foo");
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    foo.type_line("{quit}");
    assert_eq!(foo.exit_code(), 0);
    assert!(foo.errors().contains("Enter host: "), "{}", foo.errors());
}

#[test]
fn at_the_end_of_input_everything_said_is_there_first() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    let lines: Vec<String> = (0..3000).map(|n| format!("line {n}")).collect();
    bar.type_bytes((lines.join("\n") + "\nno line break at the end").as_bytes());
    bar.end_input();
    assert_eq!(bar.exit_code(), 0);
    foo.expect("Bar has left the chat.");
    let heard: Vec<_> = foo.output().iter().filter_map(|line| line.strip_prefix("Bar: ")).collect();
    let said: Vec<_> = lines.iter().map(String::as_str).chain(["no line break at the end"]).collect();
    assert_eq!(heard, said);
}

#[test]
fn a_second_foo_is_refused_with_a_suggestion() {
    let place = Place::new();
    let server = Server::start(&place);
    let _foo = server.join(&place, "Foo");
    let mut second = server.client(&place, &["--name", "fOO", "--mic", "none", "--speaker", "none"]);
    assert_eq!(second.exit_code(), 1);
    assert!(second.errors().contains("fOO2"), "{}", second.errors());
    assert!(second.output().is_empty());
}

#[test]
fn a_killed_client_is_announced_as_gone_and_can_come_back_at_once() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let bar = server.join(&place, "Bar");
    bar.signal("KILL");
    let killed = std::time::Instant::now();
    foo.expect("Bar has left the chat.");
    assert!(killed.elapsed().as_secs() <= 15);

    // Started again before anybody noticed, it gets its name all the same.
    let bar = server.join(&place, "Bar");
    bar.signal("KILL");
    let mut bar = server.join(&place, "Bar");
    bar.type_line("back");
    foo.expect("Bar: back");
}

#[test]
fn after_a_restart_of_the_server_clients_come_back_and_nothing_is_said_twice() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    foo.type_line("before");
    bar.expect("Foo: before");
    foo.expect("Foo: before");
    server.program.signal("KILL");
    server.program.wait();
    foo.expect_error("the connection is lost");
    foo.type_line("meanwhile");
    let _server = Server::start_at(&place, &address, &[]);
    foo.expect_error("back as Foo");
    bar.expect_error("back as Bar");
    foo.expect("Foo: meanwhile");
    // Bar may have come back after it was said; what is said now reaches him.
    foo.type_line("after");
    bar.expect("Foo: after");
    foo.expect("Foo: after");
    for line in ["Foo: before", "Foo: meanwhile", "Foo: after"] {
        let count = |seen: &[String]| seen.iter().filter(|seen| *seen == line).count();
        assert_eq!(count(foo.output()), 1, "{:?}", foo.output());
        assert!(count(bar.output()) <= 1, "{:?}", bar.output());
    }
}

#[test]
fn a_changed_certificate_is_refused_loudly() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    drop(server.join(&place, "Foo"));
    server.program.signal("INT");
    assert_eq!(server.program.exit_code(), 0);
    std::fs::remove_dir_all(place.path("server")).unwrap();
    let server = Server::start_at(&place, &address, &[]);
    let silent = ["--name", "Foo", "--mic", "none", "--speaker", "none"];
    let mut foo = client(&place, silent.into_iter().chain([address.as_str()]));
    assert_eq!(foo.exit_code(), 1);
    let errors = foo.errors();
    assert!(errors.contains("IS NOT THE ONE YOU KNOW") && errors.contains("known_hosts"), "{errors}");

    // A link is proof enough, and is remembered.
    drop(server.join(&place, "Foo"));
    let mut bar = client(
        &place,
        ["--name", "Bar", "--mic", "none", "--speaker", "none"].into_iter().chain([address.as_str()]),
    );
    bar.expect("Welcome Bar! If you ever want to quit, type {quit} to exit.");

    // A link with another fingerprint is not.
    let wrong = format!("chinwag://{address}#{}", "ab".repeat(32));
    let mut baz = client(&place, silent.into_iter().chain([wrong.as_str()]));
    assert_eq!(baz.exit_code(), 1);
    assert!(baz.errors().contains("another fingerprint"), "{}", baz.errors());
}

#[test]
fn what_others_write_never_drives_the_terminal() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let mut bar = server.join(&place, "Bar");
    bar.type_bytes(b"\x1b[2J\x1b]0;owned\x07 \xc2\x9b31m \xe2\x80\xae\n");
    foo.expect("Bar: \\u{1b}[2J\\u{1b}]0;owned\\u{7} \\u{9b}31m \\u{202e}");
    bar.type_bytes(b"\xff\xfe\n");
    bar.expect_error("not UTF-8");
    bar.type_line(&"x".repeat(5000));
    bar.expect_error("longer than 4096 bytes");
    bar.type_line(&"y".repeat(4096));
    foo.expect(&format!("Bar: {}", "y".repeat(4096)));
    let mut evil = server.client(&place, &["--name", "a\x1b[2Jb", "--mic", "none", "--speaker", "none"]);
    assert_eq!(evil.exit_code(), 2);
    assert!(evil.errors().contains("U+001B") && !evil.errors().contains('\x1b'), "{}", evil.errors());
}

#[test]
fn rooms_do_not_hear_each_other() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    let attic = server.link.replace('#', "/attic#");
    let silent = ["--mic", "none", "--speaker", "none"];
    let mut bar = client(&place, ["--name", "Bar"].into_iter().chain(silent).chain([attic.as_str()]));
    bar.expect("Welcome Bar! If you ever want to quit, type {quit} to exit.");
    let mut baz = client(&place, ["--name", "Baz"].into_iter().chain(silent).chain([attic.as_str()]));
    bar.expect("Baz has joined the chat!");
    baz.type_line("up here");
    bar.expect("Baz: up here");
    foo.type_line("down here");
    foo.expect("Foo: down here");
    assert_eq!(foo.output().len(), 2, "{:?}", foo.output());
}
