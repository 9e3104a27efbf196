//! The chat of two: `chinwag duo` and `chinwag-server duo` with each other and with doubles of the old programs.

use crate::common::{Place, Program, client, old, server_binary};

/// A server and its port.
fn serve(place: &Place) -> (Program, String) {
    opened(Program::start(&server_binary(), ["duo", "127.0.0.1", "0"], place))
}

fn serve_old(place: &Place) -> (Program, String) {
    opened(old("duo_server.py", &["127.0.0.1", "0"], place))
}

fn opened(mut server: Program) -> (Program, String) {
    let line = server.expect_part("Server open with 127.0.0.1:");
    let port = line.rsplit(':').next().unwrap().to_owned();
    (server, port)
}

fn join(place: &Place, port: &str) -> Program {
    client(place, ["duo", "127.0.0.1", port])
}

fn join_old(place: &Place, port: &str) -> Program {
    old("duo_client.py", &["127.0.0.1", port], place)
}

/// Both ways, whoever they are.
fn talk(server: &mut Program, client: &mut Program) {
    server.expect_part("Client ('127.0.0.1', ");
    client.type_line("hello there");
    server.expect("");
    server.expect("<127.0.0.1> : hello there");
    server.type_line("Grüße, 好 😀");
    server.expect("I > Grüße, 好 😀");
    // An old client's prompt may stand in the same row.
    client.expect_part("From server : Grüße, 好 😀");
}

#[test]
fn new_and_new_talk_and_the_next_may_come() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    for _ in 0..3 {
        let mut client = join(&place, &port);
        talk(&mut server, &mut client);
        client.type_line("quit");
        assert_eq!(client.exit_code(), 0);
        server.expect_part(") has left");
    }
    server.type_line("quit");
    assert_eq!(server.exit_code(), 0, "{}", server.errors());
    assert_eq!(server.errors(), "");
}

#[test]
fn an_old_client_talks_to_the_new_server() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    let mut client = join_old(&place, &port);
    talk(&mut server, &mut client);
    client.type_line("quit");
    assert_eq!(client.exit_code(), 0);
    server.expect_part(") has left");
    // It is told as well when the server ends.
    let mut client = join_old(&place, &port);
    talk(&mut server, &mut client);
    server.type_line("quit");
    assert_eq!(server.exit_code(), 0);
    client.expect_part("Server closed");
}

#[test]
fn a_new_client_talks_to_the_old_server() {
    let place = Place::new();
    let (mut server, port) = serve_old(&place);
    let mut client = join(&place, &port);
    talk(&mut server, &mut client);
    server.type_line("quit");
    client.expect("Server closed");
    assert_eq!(client.exit_code(), 0);
}

#[test]
fn who_comes_second_is_told_that_the_line_is_busy() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    let mut first = join(&place, &port);
    talk(&mut server, &mut first);
    let mut second = join(&place, &port);
    second.expect("From server : The line is busy, please try again later.");
    second.expect("Server closed");
    assert_eq!(second.exit_code(), 0);
    let mut second = join_old(&place, &port);
    second.expect_part("Server closed");
    assert!(second.output().iter().any(|line| line.contains("busy")), "{:?}", second.output());
    server.expect_error("was told that the line is busy");
    first.type_line("undisturbed");
    server.expect("<127.0.0.1> : undisturbed");
}

#[test]
fn a_killed_peer_is_noticed_on_either_side() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    let mut client = join(&place, &port);
    talk(&mut server, &mut client);
    client.signal("KILL");
    server.expect_part("Client ('127.0.0.1', ");
    let mut client = join(&place, &port);
    talk(&mut server, &mut client);
    server.signal("KILL");
    client.expect("Server closed");
    client.exit_code();
}

#[test]
fn what_is_piped_in_is_said_in_order_on_both_sides() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    server.type_bytes(b"one\ntwo\nthree\n");
    server.end_input();
    let mut client = join_old(&place, &port);
    client.expect_part("three");
    let said = client.output().concat().replace("Send : ", "").replace("From server : ", "");
    assert_eq!(said, "onetwothree");
    client.end_input();
    assert_eq!(client.exit_code(), 0);
    // It goes on listening without an operator, and ends when it is told to.
    server.expect_part(") has left");
    let mut client = join(&place, &port);
    client.type_bytes(b"four\nfive");
    client.end_input();
    assert_eq!(client.exit_code(), 0);
    server.expect_part("five");
    let said = server.output().iter().filter_map(|line| line.strip_prefix("<127.0.0.1> : "));
    assert_eq!(said.collect::<String>(), "fourfive");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn what_the_other_side_writes_never_drives_the_terminal() {
    let place = Place::new();
    let (mut server, port) = serve(&place);
    let mut client = join(&place, &port);
    server.expect_part("Client (");
    client.type_bytes(b"\x1b[2J\x07\n");
    server.expect("<127.0.0.1> : \\u{1b}[2J\\u{7}");
    server.type_bytes(b"\x1b]0;owned\n");
    client.expect("From server : \\u{1b}]0;owned");
}
