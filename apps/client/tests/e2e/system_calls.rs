//! What the system refuses: `strace` makes system calls of the real programs fail, now and then or for good.
//!
//! Only what a system may really do: a call that would block and is not ready would also say when it is, so that this is
//! no fault to be made for streams.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    common::{Place, Program, Server, number, server_binary, statistic},
    network::{Relay, talk, welcome},
    voice::Talker,
};

/// A program in which system calls fail as `faults` say (`CALL,...:error=NAME:when=FIRST..LAST+STEP`), and where all
/// that `strace` saw is written.
fn start(faults: &[&str], program: &Path, arguments: &[&str], place: &Place) -> (Program, PathBuf) {
    let trace = place.path("trace.txt");
    let check = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let check = check.unwrap_or_else(|error| panic!("strace: {error}; Debian's package `strace` has it"));
    let refused = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "strace may not be used here: {refused}");
    let mut all = vec!["-D", "-f", "-o", trace.to_str().unwrap()];
    for fault in faults {
        all.extend(["-e", fault]);
    }
    all.push(program.to_str().unwrap());
    all.extend(arguments);
    (Program::start(Path::new("strace"), all, place), trace)
}

/// A server in which system calls fail.
fn failing_server(place: &Place, faults: &[&str]) -> (Server, PathBuf) {
    let data = place.path("server");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let (program, trace) = start(faults, &server_binary(), &arguments, place);
    (Server::from_program(program), trace)
}

/// How often a system call was made, and how often it was made to fail.
fn calls(trace: &Path, call: &str) -> (usize, usize) {
    let text = fs::read_to_string(trace).unwrap();
    let (begun, resumed) = (format!(" {call}("), format!(" {call} resumed>"));
    let made = text.lines().filter(|line| line.contains(&begun)).count();
    let failed = text.lines().filter(|line| line.contains("(INJECTED)"));
    (made, failed.filter(|line| line.contains(&begun) || line.contains(&resumed)).count())
}

const NAMES: [&str; 3] = ["Foo", "Bar", "Baz"];

/// Three people talk for a while, line by line; then all of them have seen all, once and in the same order.
fn talk_it_over(server: &Server, place: &Place) {
    const ROUNDS: usize = 15;
    let mut people = NAMES.map(|name| server.join(place, name));
    for round in 0..ROUNDS {
        for (person, name) in people.iter_mut().zip(NAMES) {
            person.type_line(&format!("{name} says {round}"));
        }
        for person in &mut people {
            for _ in NAMES {
                person.expect_part(&format!(" says {round}"));
            }
        }
    }
    let order = talk(&people[0], &NAMES);
    assert_eq!(order.len(), ROUNDS * NAMES.len(), "{order:#?}");
    for person in &people {
        assert_eq!(talk(person, &NAMES), order);
    }
}

#[test]
fn calls_that_are_interrupted_are_made_again() {
    let place = Place::new();
    let faults = ["inject=recvfrom,sendto,recvmmsg,sendmmsg,writev,accept4,epoll_wait:error=EINTR:when=2+3"];
    let (server, trace) = failing_server(&place, &faults);
    talk_it_over(&server, &place);
    for call in ["recvfrom", "sendto", "recvmmsg", "sendmmsg", "writev", "accept4", "epoll_wait"] {
        assert!(calls(&trace, call).1 > 0, "{call}");
    }
}

#[test]
fn a_client_whose_calls_are_interrupted_misses_nothing() {
    let place = Place::new();
    let server = Server::start(&place);
    let faults = ["inject=recvfrom,sendto,writev,epoll_wait:error=EINTR:when=1+2"];
    let arguments = ["--name", "Foo", "--mic", "none", "--speaker", "none", &server.link];
    let (mut foo, trace) = start(&faults, Path::new(env!("CARGO_BIN_EXE_chinwag")), &arguments, &place);
    welcome(&mut foo, "Foo");
    let mut bar = server.join(&place, "Bar");
    let all: Vec<_> = (0..20).flat_map(|n| [format!("Bar: {n}"), format!("Foo: {n}")]).collect();
    for n in 0..20 {
        bar.type_line(&n.to_string());
        foo.expect(&format!("Bar: {n}"));
        foo.type_line(&n.to_string());
        bar.expect(&format!("Foo: {n}"));
    }
    foo.expect("Foo: 19");
    assert_eq!((talk(&foo, &NAMES), talk(&bar, &NAMES)), (all.clone(), all));
    for call in ["recvfrom", "sendto", "writev", "epoll_wait"] {
        assert!(calls(&trace, call).1 > 0, "{call}");
    }
}

/// Calls of a server fail in a conversation, so that some lose their connections; they come back.
fn cut_off_by(call: &str, how: &str) {
    let place = Place::new();
    let (server, trace) = failing_server(&place, &[&format!("inject={call}:{how}")]);
    talk_it_over(&server, &place);
    assert!(calls(&trace, call).1 > 0, "{call}:{how}");
}

#[test]
fn whoever_could_not_be_written_to_comes_back_and_nothing_is_lost_or_said_twice() {
    cut_off_by("sendto", "error=EPIPE:when=30..120+23");
}

#[test]
fn whoever_could_not_be_read_from_comes_back_and_nothing_is_lost_or_said_twice() {
    cut_off_by("recvfrom", "error=ECONNRESET:when=60..240+41");
}

#[test]
fn a_server_out_of_file_descriptors_serves_on_does_not_spin_and_accepts_again() {
    let place = Place::new();
    // Foo's and Bar's connections are accepted at two calls each: one gets it, one finds no more. Baz waits.
    let faults = ["trace=accept4,epoll_wait", "inject=accept4:error=EMFILE:when=5..12"];
    let (mut server, trace) = failing_server(&place, &faults);
    let [mut foo, mut bar] = ["Foo", "Bar"].map(|name| server.join(&place, name));
    let mut baz = server.client(&place, &["--name", "Baz", "--mic", "none", "--speaker", "none"]);
    server.program.expect_error("cannot accept connections for the moment");
    foo.type_line("still here?");
    bar.expect("Foo: still here?");
    bar.type_line("yes");
    foo.expect("Bar: yes");
    welcome(&mut baz, "Baz");
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);
    let (accepts, failed) = calls(&trace, "accept4");
    assert_eq!(failed, 8);
    assert!(accepts < 30, "{accepts}");
    // Eight pauses, and what little was said.
    let (turns, _) = calls(&trace, "epoll_wait");
    assert!(turns < 300, "{turns}");
    let log = server.program.errors();
    assert_eq!(log.matches("cannot accept").count(), 1, "{log}");
}

#[test]
fn whoever_cannot_be_watched_is_turned_away_and_all_others_are_served() {
    let place = Place::new();
    // The server watches seven things by itself and for Foo and Bar; it has no room for the next.
    let faults = ["trace=epoll_ctl", "inject=epoll_ctl:error=ENOSPC:when=8"];
    let (mut server, trace) = failing_server(&place, &faults);
    let [mut foo, mut bar] = ["Foo", "Bar"].map(|name| server.join(&place, name));
    let mut baz = server.client(&place, &["--name", "Baz", "--mic", "none", "--speaker", "none"]);
    server.program.expect_error("cannot be served");
    assert_eq!(baz.exit_code(), 1);
    assert_eq!(calls(&trace, "epoll_ctl").1, 1);
    let _baz = server.join(&place, "Baz");
    foo.type_line("all here?");
    bar.expect("Foo: all here?");
}

#[test]
fn datagrams_that_the_system_does_not_take_are_lost_and_counted_and_no_more() {
    let place = Place::new();
    let faults = ["inject=sendmmsg:error=ENOBUFS:when=20..300+4"];
    let (mut server, trace) = failing_server(&place, &faults);
    let [mut foo, mut bar] = [("Foo", 1), ("Bar", 2)].map(|(name, seed)| {
        let mut talker = Talker::join(&place, &server.link, name, seed);
        welcome(&mut talker.program, name);
        talker
    });
    foo.hears_out(&mut bar);
    for talker in [&foo, &bar] {
        assert_eq!(statistic(&talker.stats, "path"), "udp");
        assert_eq!(statistic(&talker.stats, "reconnects"), 0);
    }
    // A quarter is lost, and much of that comes again as a copy.
    let (sent, made_up) = (number(&bar.stats, "frames_sent"), number(&foo.stats, "blocks_concealed"));
    assert!(made_up * 3 < sent, "{made_up} of {sent}");
    assert!(calls(&trace, "sendmmsg").1 > 20);
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);
    let log = server.program.errors();
    assert!(!log.contains(" 0 unsent"), "{log}");
}

#[test]
fn where_the_system_forbids_datagrams_voice_goes_by_tcp() {
    let place = Place::new();
    // As a firewall does it that lets nothing out by UDP.
    let (server, _) = failing_server(&place, &["inject=sendmmsg:error=EPERM"]);
    let [mut foo, mut bar] = [("Foo", 3), ("Bar", 4)].map(|(name, seed)| {
        let mut talker = Talker::join(&place, &server.link, name, seed);
        welcome(&mut talker.program, name);
        talker
    });
    foo.hears_out(&mut bar);
    for talker in [&foo, &bar] {
        assert_eq!(statistic(&talker.stats, "path"), "tcp");
        assert_eq!(statistic(&talker.stats, "reconnects"), 0);
    }
}

#[test]
fn a_client_without_any_way_to_the_server_tries_until_there_is_one() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut relay = Relay::start(&place, &server, "delay=0", 1);
    let mut bar = server.join(&place, "Bar");
    // The first two are of the first connection: TCP and UDP.
    let faults = ["inject=connect:error=ENETUNREACH:when=3..4"];
    let arguments = ["--name", "Foo", "--mic", "none", "--speaker", "none", &relay.link];
    let (mut foo, trace) = start(&faults, Path::new(env!("CARGO_BIN_EXE_chinwag")), &arguments, &place);
    welcome(&mut foo, "Foo");
    relay.order("reset");
    foo.expect_error("the connection is lost");
    foo.type_line("anybody there?");
    foo.expect_error("back as Foo");
    foo.expect("Foo: anybody there?");
    bar.expect("Foo: anybody there?");
    assert_eq!(calls(&trace, "connect"), (6, 2));
}
