//! The plain line mode before a person: a terminal that shows what is typed.

use crate::common::{Place, Program, Server};

/// One row less on the screen.
const ERASED: &str = "\x1b[1A\x1b[2K";
const SILENT: [&str; 4] = ["--mic", "none", "--speaker", "none"];
const FOO: [&str; 6] = ["--name", "Foo", "--mic", "none", "--speaker", "none"];

fn join(place: &Place, server: &Server) -> Program {
    let arguments = [&FOO[..], &[server.link.as_str()]].concat();
    let mut client = Program::start_in_terminal(40, &arguments, place);
    client.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    // It comes by itself, and would come in between.
    client.expect_part("here: ");
    client
}

#[test]
fn whoever_is_asked_may_answer_again_and_is_told_who_is_here() {
    let place = Place::new();
    let server = Server::start(&place);
    let _bar = server.join(&place, "Bar");
    let mut foo = Program::start_in_terminal(80, &SILENT, &place);
    foo.type_line("http://example.org");
    foo.expect_part("only chinwag:// links are understood");
    foo.type_line(&server.link);
    foo.type_line("");
    foo.expect_part("nothing was typed");
    foo.type_line("a:b");
    foo.expect_part("colon");
    foo.type_line("Foo");
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    foo.expect("here: Bar, Foo");

    let mut nobody = Program::start_in_terminal(80, &SILENT, &place);
    nobody.type_line(&server.link);
    nobody.type_line("{quit}");
    assert_eq!(nobody.exit_code(), 0);
    assert!(!nobody.output().iter().any(|line| line.contains("Welcome")), "{:?}", nobody.output());
}

#[test]
fn what_was_typed_gives_way_to_what_was_said() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    foo.type_line("short");
    foo.expect(&format!("{ERASED}Foo: short"));
    // Longer than a row.
    let long = "x".repeat(50);
    foo.type_line(&long);
    foo.expect(&format!("{ERASED}{ERASED}Foo: {long}"));
    // What others say is never erased: it may have come in the middle of the typed line.
    bar.type_line("did I break in?");
    foo.expect("Bar: did I break in?");
    foo.type_line(&long);
    foo.expect(&format!("{ERASED}Foo: {long}"));
    // Several lines at one go.
    foo.type_line("one\ntwo\nthree");
    foo.expect(&format!("{ERASED}{ERASED}{ERASED}Foo: one"));
    foo.expect("Foo: two");
    foo.expect("Foo: three");
    // A command, with its answer, stays.
    foo.type_line("/who");
    foo.expect("/who");
    foo.expect("here: Bar, Foo");
    // Ctrl-D in the middle of a line, and again: it is said, and was the last.
    foo.type_bytes(b"unfinished\x04\x04");
    foo.expect("unfinished\r\x1b[2KFoo: unfinished");
    assert_eq!(foo.exit_code(), 0);
    bar.expect("Foo: unfinished");
}

#[test]
fn while_the_connection_is_lost_lines_stay_and_troubles_are_told_once() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut foo = join(&place, &server);
    server.program.signal("KILL");
    server.program.wait();
    foo.expect_part("the connection is lost");
    foo.expect_part("connection refused");
    foo.type_line("meanwhile");
    foo.expect("meanwhile");
    foo.expect("what you type now is said when the connection is back");
    let _server = Server::start_at(&place, &address, &[]);
    foo.expect_part("back as Foo");
    foo.expect("Foo: meanwhile");
    foo.type_line("/quit");
    assert_eq!(foo.exit_code(), 0);
    for part in ["the connection is lost", "connection refused"] {
        let count = foo.output().iter().filter(|line| line.contains(part)).count();
        assert_eq!(count, 1, "{part}: {:#?}", foo.output());
    }
}
