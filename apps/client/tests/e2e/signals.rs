//! How the programs end when nobody typed that they should.

use std::path::Path;

use crate::common::{Place, Program, Server, samples, server_binary, statistic};

#[test]
fn a_closed_terminal_ends_client_and_server_cleanly() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let (heard, stats) = (place.path("heard.wav"), place.path("stats.json"));
    let files = [&heard, &stats].map(|path| path.to_str().unwrap());
    let arguments = ["--name", "Foo", "--mic", "none", "--speaker", files[0], "--stats", files[1]];
    let mut foo = server.client(&place, &arguments);
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    foo.signal("HUP");
    assert_eq!(foo.exit_code(), 0);
    bar.expect("Foo has left the chat.");
    // The WAV file is whole, the statistics are written.
    let _ = samples(&heard);
    assert_eq!(statistic(&stats, "reconnects"), 0);

    server.program.signal("HUP");
    assert_eq!(server.program.exit_code(), 0);
    bar.expect_error("the server is stopping");
}

#[test]
fn a_server_started_by_nohup_outlives_its_terminal() {
    let place = Place::new();
    let (program, data) = (server_binary(), place.path("server"));
    let arguments = [program.to_str().unwrap(), "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut server = Server::from_program(Program::start(Path::new("nohup"), arguments, &place));
    server.program.signal("HUP");
    let _foo = server.join(&place, "Foo");
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);
}

#[test]
fn when_nobody_reads_any_more_the_client_leaves_without_a_word() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let client = env!("CARGO_BIN_EXE_chinwag");
    let script = format!("'{client}' --name Foo --mic none --speaker none '{}' | head -1", server.link);
    let mut foo = Program::start(Path::new("sh"), ["-c", &script], &place);
    foo.expect("Welcome Foo! If you ever want to quit, type {quit} to exit.");
    let lines: Vec<String> = (0..500).map(|n| format!("line {n}\n")).collect();
    foo.type_bytes(lines.concat().as_bytes());
    assert_eq!(foo.exit_code(), 0);
    bar.expect("Foo has left the chat.");
    assert_eq!(foo.errors(), "");
}
