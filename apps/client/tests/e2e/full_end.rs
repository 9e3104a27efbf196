//! How the client that fills the screen ends, stops, and loses its connection.

use std::{os::unix::process::ExitStatusExt as _, path::Path};

use crate::{
    common::{Place, Server},
    full::{FOO, join, says},
    seat::{CTRL_Z, Kind, Seat},
};

/// An exit code, or the signal that ended it.
type End = (Option<i32>, Option<i32>);

const IN_ORDER: End = (Some(0), None);

const fn killed_by(signal: i32) -> End {
    (None, Some(signal))
}

/// What a program can be sent, and how it ends: in order, or as if it did not attend to it.
const ENDS: &[(&str, End)] = &[
    ("TERM", IN_ORDER),
    ("HUP", IN_ORDER),
    ("INT", IN_ORDER),
    ("USR1", IN_ORDER),
    ("USR2", IN_ORDER),
    ("ALRM", IN_ORDER),
    ("VTALRM", IN_ORDER),
    ("PROF", IN_ORDER),
    ("XCPU", IN_ORDER),
    ("XFSZ", IN_ORDER),
    #[cfg(target_os = "linux")]
    ("POLL", IN_ORDER),
    #[cfg(target_os = "linux")]
    ("PWR", IN_ORDER),
    #[cfg(target_os = "linux")]
    ("STKFLT", IN_ORDER),
    ("QUIT", killed_by(libc::SIGQUIT)),
    ("ABRT", killed_by(libc::SIGABRT)),
    ("BUS", killed_by(libc::SIGBUS)),
    ("FPE", killed_by(libc::SIGFPE)),
    ("ILL", killed_by(libc::SIGILL)),
    ("SEGV", killed_by(libc::SIGSEGV)),
    ("SYS", killed_by(libc::SIGSYS)),
    ("TRAP", killed_by(libc::SIGTRAP)),
];

#[test]
fn whatever_ends_it_leaves_the_screen_that_was_there_before() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut typed = String::new();
    for (signal, end) in ENDS {
        let mut foo = join(&place, &server);
        // What was begun is there again.
        foo.sees_typed(&format!("> {typed}|"));
        if *end == IN_ORDER {
            let more = signal.to_lowercase();
            foo.types(&more);
            typed.push_str(&more);
            foo.sees_typed(&format!("> {typed}|"));
        }
        foo.signal(signal);
        let status = foo.ends();
        assert_eq!((status.code(), status.signal()), *end, "{signal}");
        assert!(foo.rows().is_empty(), "{signal}: {:?}", foo.rows());
    }
    // What it was for is told there: somebody has the name.
    let _foo = server.join(&place, "Foo");
    let mut second = Seat::full(&place, 80, 24, &[&FOO[..], &[server.link.as_str()]].concat());
    assert_eq!(second.ends().code(), Some(1));
    second.sees_part("the server did not let you in");
    second.sees_part("choose another name");
    // Nobody is there.
    let mut third = Seat::full(&place, 80, 24, &[&FOO[..], &["127.0.0.1:1"]].concat());
    assert_eq!(third.ends().code(), Some(1));
    third.sees_part("127.0.0.1:1");
}

#[test]
fn a_server_that_says_nothing_any_more_is_told_of_before_the_connection_is_given_up() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = join(&place, &server);
    foo.sees_part(" ms ");
    server.program.signal("STOP");
    let status = foo.sees_part("server silent for ");
    assert!(!status.contains(" ms "), "{status:?}");
    server.program.signal("CONT");
    foo.until("all is well", |foo| {
        let rows = foo.rows();
        let is_silent = rows.iter().any(|row| row.contains("silent") || row.contains("connection lost"));
        !is_silent && rows.iter().any(|row| row.contains(" ms "))
    });
}

#[test]
fn a_lost_connection_counts_down_to_the_next_try() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut foo = join(&place, &server);
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("connection lost");
    // Pauses grow, and each second is seen.
    foo.sees_part("next try in 2 s");
    foo.sees_part("next try in 1 s");
    foo.enters("meanwhile");
    foo.sees_part("… meanwhile");
    foo.sees_part("what you type now is said when the connection is back");
    let _server = Server::start_at(&place, &address, &[]);
    foo.sees_part("back as Foo");
    foo.until("what was typed", |foo| says(foo, "Foo: meanwhile"));
    foo.until("all is well", |foo| {
        !foo.rows().iter().any(|row| row.contains("… meanwhile") || row.contains("connection lost,"))
    });
}

#[test]
fn whoever_wants_another_connection_has_one_at_once_and_loses_nothing() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    for n in 0..5 {
        foo.types(&format!("before {n}\r/reconnect\rafter {n}\r"));
        bar.type_line(&format!("Bar {n}"));
    }
    for n in 0..5 {
        for line in [format!("Foo: before {n}"), format!("Foo: after {n}"), format!("Bar: Bar {n}")] {
            foo.until(&line, |foo| says(foo, &line));
        }
    }
    foo.sees_part("back as Foo; nothing was missed but voice");
    assert!(!foo.rows().iter().any(|row| row.contains("connection is lost")), "{:?}", foo.rows());
    bar.expect("Foo: after 4");
    let told = bar.output().iter().filter(|line| line.contains("Foo: ") || line.contains("has left"));
    assert_eq!(told.count(), 10, "{:?}", bar.output());
    // In a pause between two tries it is not waited for.
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("next try in 4 s");
    let _server = Server::start_at(&place, &address, &[]);
    foo.enters("/reconnect");
    foo.sees_part("trying again now");
    foo.enters("there again");
    foo.until("what was typed", |foo| says(foo, "Foo: there again"));
}

/// Not only when something else happens, such as the next try.
#[test]
fn what_a_command_changes_is_seen_at_once() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut foo = join(&place, &server);
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("next try in 4 s");
    foo.enters("/deafen");
    let status = foo.sees_part("deafened");
    let is_the_same_wait = (0..=4).any(|s| status.contains(&format!("next try in {s} s")));
    assert!(is_the_same_wait, "{status:?}");
}

#[test]
fn lines_that_were_not_said_are_told_at_the_end() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut foo = join(&place, &server);
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("connection lost");
    foo.enters("never said");
    foo.sees_part("… never said");
    foo.enters("/quit");
    foo.ends();
    foo.sees("1 of your lines may not have reached the server:");
    foo.sees("never said");
}

#[cfg(target_os = "linux")]
#[test]
fn a_shell_has_its_screen_while_the_program_is_stopped() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut shell = Seat::take_of_kind(Kind::xterm(80, 24), &place, Path::new("sh"), &["-i"]);
    let (program, link) = (env!("CARGO_BIN_EXE_chinwag"), &server.link);
    shell.enters("PS1='ready> '");
    shell.until("the shell", |shell| shell.typing().ends_with("ready> |"));
    shell.enters(&format!("'{program}' {} '{link}'", FOO.join(" ")));
    shell.sees_part("Welcome!");
    shell.is_edited();
    shell.types("one");
    shell.sees_typed("> one|");
    shell.presses(CTRL_Z);
    shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
    bar.type_line("are you there?");
    bar.expect("Bar: are you there?");
    shell.enters("fg");
    shell.sees_typed("> one|");
    shell.is_edited();
    assert!(shell.screen().alternate_screen());
    shell.until("what was said", |shell| says(shell, "Bar: are you there?"));
    shell.types(", whole\r");
    bar.expect("Foo: one, whole");
    shell.enters("/quit");
    shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
    shell.enters("exit");
    shell.ends();
}
