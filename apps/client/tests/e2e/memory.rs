//! What the client remembers: servers, the name used there, and how loud others are.

use std::{fs, thread, time::Instant};

use crate::{
    common::{PATIENCE, Place, Server, client},
    full::{join, says},
    seat::{CTRL_C, Seat},
};

const SILENT: [&str; 4] = ["--mic", "none", "--speaker", "none"];

fn leave(mut person: Seat) {
    person.enters("/quit");
    assert_eq!(person.ends().code(), Some(0));
}

#[test]
fn servers_that_were_joined_are_offered_with_the_name_used_there() {
    let place = Place::new();
    let (first, second) = (Server::start(&place), Server::start(&Place::new()));
    let mut foo = Seat::client(&place, 200, &SILENT);
    foo.sees_typed("Enter host: |");
    foo.enters(&first.link);
    foo.sees("Type your name and press enter!");
    foo.enters("Foo");
    foo.sees_part("Welcome Foo!");
    leave(foo);
    let attic = second.link.replace('#', "/attic#");
    let mut bar = Seat::client(&place, 200, &[&SILENT[..], &["--name", "Bar", &attic]].concat());
    bar.sees_part("Welcome Bar!");
    leave(bar);

    // Nothing but Enter: the last one.
    let mut person = Seat::client(&place, 200, &SILENT);
    person.sees_typed("Enter host (or a number): |");
    person.sees(&format!("  1  {}/attic as Bar, just now", second.address()));
    person.sees(&format!("  2  {} as Foo, just now", first.address()));
    person.enters("");
    person.sees("Type your name and press enter! [Bar]");
    person.enters("");
    person.sees_part("Welcome Bar!");
    leave(person);

    // Another one, by another name.
    let mut person = Seat::client(&place, 200, &SILENT);
    person.enters("3");
    person.sees_part("there is no 3 in the list");
    person.enters("2");
    person.sees("Type your name and press enter! [Foo]");
    person.enters("Baz");
    person.sees_part("Welcome Baz!");
    leave(person);
    let mut person = Seat::client(&place, 200, &SILENT);
    person.sees(&format!("  1  {} as Baz, just now", first.address()));

    // A script is asked as ever, and leaves no trace.
    let mut script = client(&place, SILENT);
    script.type_line(&second.link);
    script.type_line("");
    assert_eq!(script.exit_code(), 1);
    let errors = script.errors();
    assert!(
        errors.contains("Enter host: ") && !errors.contains("as Baz") && !errors.contains('['),
        "{errors}"
    );
    let before = fs::read(place.path("state/chinwag/servers.json")).unwrap();
    drop(second.join(&place, "Robot"));
    assert_eq!(fs::read(place.path("state/chinwag/servers.json")).unwrap(), before);
}

#[test]
fn somebody_is_as_loud_as_he_was_made_the_last_time() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let baz = server.join(&place, "Baz");
    let mut foo = server.join(&place, "Foo");
    foo.type_line("/volume bar -6.5");
    foo.expect_error("you hear Bar at -6.5 dB now");
    foo.type_line("/volume Baz 99");
    foo.expect_error("you hear Baz at +12 dB now, the loudest there is");
    foo.type_line("/volume Baz 0");
    foo.expect_error("you hear Baz at +0 dB now");
    foo.type_line("/quit");
    assert_eq!(foo.exit_code(), 0);

    // He is here already.
    let mut foo = server.join(&place, "Foo");
    foo.expect_error("you hear Bar at -6.5 dB, as before");
    // He comes later.
    bar.type_line("/quit");
    foo.expect("Bar has left the chat.");
    drop(bar);
    let _bar = server.join(&place, "BAR");
    foo.expect_error("you hear BAR at -6.5 dB, as before");
    foo.type_line("/quit");
    assert_eq!(foo.exit_code(), 0);
    assert!(!foo.errors().contains("Baz at"), "{}", foo.errors());
    drop(baz);
}

#[test]
fn whoever_is_ignored_is_so_the_next_time_too() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut baz = server.join(&place, "Baz");
    let silent = ["--name", "Foo", "--mic", "none", "--speaker", "none", server.link.as_str()];
    let mut foo = Seat::client(&place, 100, &silent);
    foo.sees_part("Welcome Foo!");
    foo.enters("/ignore");
    foo.sees_part("you see what everybody says");
    foo.enters("/ignore BAR");
    foo.sees_part("you do not see what BAR says now");
    bar.type_line("secret one");
    bar.expect("Bar: secret one");
    // By another name, and after the connection was lost.
    bar.type_line("/nick Qux");
    foo.sees("Bar is called Qux now.");
    server.program.signal("KILL");
    server.program.wait();
    let address = server.address();
    let _server = Server::start_at(&place, &address, &[]);
    foo.sees_part("back as Foo");
    bar.expect_error("back as Qux");
    baz.expect_error("back as Baz");
    bar.type_line("/nick Bar");
    bar.expect("Qux is called Bar now.");
    bar.type_line("secret two");
    bar.type_line("/msg Foo secret three");
    bar.expect(": you to Foo: secret three");
    baz.type_line("one");
    foo.sees("Baz: one");
    assert!(!foo.rows().iter().any(|row| row.contains(": secret")), "{:#?}", foo.rows());
    leave(foo);

    let mut foo = Seat::client(&place, 100, &silent);
    foo.sees_part("Baz: one");
    bar.type_line("secret four");
    bar.expect("Bar: secret four");
    baz.type_line("two");
    foo.sees("Baz: two");
    foo.enters("/search secret");
    foo.sees_part("only those whom you ignore said \"secret\"");
    foo.enters("/ignore");
    foo.sees_part("you do not see what these say: Bar");
    assert!(!foo.rows().iter().any(|row| row.contains(": secret")), "{:#?}", foo.rows());
    foo.enters("/ignore bar");
    foo.sees_part("you see what bar says again");
    bar.type_line("five");
    foo.sees("Bar: five");
    leave(foo);
    let mut foo = Seat::client(&place, 100, &silent);
    foo.sees_part("Bar: secret four");
    leave(foo);
}

#[test]
fn a_new_server_at_the_same_place_finds_people_as_loud_as_they_were() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let _bar = server.join(&place, "Bar");
    let mut foo = server.join(&place, "Foo");
    foo.type_line("/volume Bar -3");
    foo.expect_error("you hear Bar at -3 dB now");
    server.program.signal("KILL");
    server.program.wait();
    let _server = Server::start_at(&place, &address, &[]);
    foo.expect_error("back as Foo");
    foo.expect_error("you hear Bar at -3 dB, as before");
}

#[test]
fn a_damaged_memory_is_moved_aside_and_keeps_nobody_out() {
    let place = Place::new();
    let server = Server::start(&place);
    fs::create_dir_all(place.path("state/chinwag")).unwrap();
    fs::write(place.path("state/chinwag/servers.json"), "{").unwrap();
    let mut foo = Seat::client(&place, 400, &[&SILENT[..], &["--name", "Foo", &server.link]].concat());
    foo.sees_part("servers, volumes and lines that were remembered cannot be read");
    foo.sees_part("Welcome Foo!");
    leave(foo);
    assert_eq!(fs::read_to_string(place.path("state/chinwag/servers.damaged.json")).unwrap(), "{");
    let mut foo = Seat::client(&place, 200, &SILENT);
    foo.sees(&format!("  1  {} as Foo, just now", server.address()));
}

/// What is remembered of the lobby of the only server.
fn lobby(place: &Place) -> serde_json::Value {
    let memory = fs::read(place.path("state/chinwag/servers.json")).unwrap();
    let memory: serde_json::Value = serde_json::from_slice(&memory).unwrap();
    memory["places"][0]["rooms"][0].clone()
}

#[test]
fn a_line_that_was_begun_is_there_again() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = join(&place, &server);
    foo.types("half a \"line");
    foo.sees_typed("> half a \"line|");
    foo.signal("TERM");
    foo.ends();
    // In the other mode, too, and from there back.
    let plain = [&SILENT[..], &["--name", "Foo", &server.link]].concat();
    let mut foo = Seat::client(&place, 80, &plain);
    foo.sees_part("Welcome Foo!");
    foo.sees_typed("half a \"line|");
    foo.types(" and more");
    foo.sees_typed("half a \"line and more|");
    foo.presses(CTRL_C);
    foo.ends();
    let mut foo = join(&place, &server);
    foo.sees_typed("> half a \"line and more|");
    foo.types("!\r");
    foo.until("what was begun", |foo| says(foo, "Foo: half a \"line and more!"));
    leave(foo);
    // What was said is no draft any more.
    let mut foo = join(&place, &server);
    foo.until("what was said", |foo| says(foo, "Foo: half a \"line and more!"));
    foo.sees_typed("> |");
    leave(foo);
    assert_eq!(lobby(&place)["draft"], serde_json::Value::Null);
}

#[test]
fn what_was_said_in_other_rooms_says_where_it_is_from() {
    let place = Place::new();
    let server = Server::start(&place);
    let plain = [&SILENT[..], &["--name", "Foo", &server.link]].concat();
    let mut foo = Seat::client(&place, 80, &plain);
    foo.sees_part("Welcome Foo!");
    foo.enters("up here");
    foo.sees("Foo: up here");
    foo.enters("/join den");
    foo.sees_part("you are in den now");
    foo.enters("down there");
    foo.sees("Foo: down there");
    leave(foo);
    let mut foo = Seat::client(&place, 80, &plain);
    assert_eq!(&foo.sees_part("up here")[18..], " :[lobby] Foo: up here");
    assert_eq!(&foo.sees_part("down there")[18..], " Foo: down there");
}

#[test]
fn what_was_begun_outlives_a_program_that_is_killed() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = join(&place, &server);
    foo.types("half a line");
    await_kept(&place, "half a line");
    // Also what comes after a pause, though nothing else happens.
    foo.types(" and more");
    await_kept(&place, "half a line and more");
    foo.signal("KILL");
    drop(foo);
    let mut foo = join(&place, &server);
    foo.sees_typed("> half a line and more|");
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = join(&place, &server);
    foo.enters("/join den");
    foo.until("the room", |foo| foo.rows().iter().any(|row| row.starts_with(" den ")));
    foo.types("half a line");
    await_kept(&place, "half a line");
    foo.enters("\x15/part den");
    foo.until("the lobby", |foo| foo.rows().iter().any(|row| row.starts_with(" lobby ")));
    foo.enters("/join den");
    foo.until("the room", |foo| foo.rows().iter().any(|row| row.starts_with(" den ")));
    foo.enters("all of it");
    foo.sees_part("Foo: all of it");
}

/// Waits until this is remembered as what was begun.
fn await_kept(place: &Place, draft: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_kept(place, draft) {
        assert!(Instant::now() < deadline, "{draft} is not kept");
        thread::yield_now();
    }
}

fn is_kept(place: &Place, draft: &str) -> bool {
    let memory = fs::read_to_string(place.path("state/chinwag/servers.json")).unwrap_or_default();
    memory.contains(&format!("\"draft\": \"{draft}\""))
}

/// The rows above and below the rule before what is new.
fn around_rule(seat: &Seat) -> Option<(String, String)> {
    let rows = seat.rows();
    let rule = rows.iter().position(|row| row.contains("── new"))?;
    Some((rows.get(rule.checked_sub(1)?)?.clone(), rows.get(rule + 1)?.clone()))
}

#[test]
fn what_was_said_since_one_left_is_below_a_rule() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    for line in ["one", "two"] {
        bar.type_line(line);
        foo.until("a line", |foo| says(foo, &format!("Bar: {line}")));
    }
    foo.presses(b"\x1b[O");
    bar.type_line("three, which nobody looks at");
    foo.until("a line", |foo| says(foo, "Bar: three, which nobody looks at"));
    leave(foo);
    bar.type_line("four");
    bar.expect("Bar: four");

    let mut foo = join(&place, &server);
    foo.until("a rule", |foo| {
        around_rule(foo)
            .is_some_and(|(above, below)| above.contains("Bar: two") && below.contains("Bar: three"))
    });
    foo.until("the last line", |foo| says(foo, "Bar: four"));
    foo.enters("I see");
    foo.until("no rule", |foo| says(foo, "Foo: I see") && around_rule(foo).is_none());
    leave(foo);
    // Nothing is new, wherever it is looked at.
    let mut foo = join(&place, &server);
    foo.until("the past", |foo| says(foo, "Foo: I see"));
    assert_eq!(around_rule(&foo), None);
    leave(foo);
    bar.type_line("five");
    bar.expect("Bar: five");
    let plain = [&SILENT[..], &["--name", "Foo", &server.link]].concat();
    let mut foo = Seat::client(&place, 80, &plain);
    foo.sees_part("Bar: five");
    let rows = foo.rows();
    let rule = rows.iter().position(|row| row == "-- new since you were here:").unwrap();
    assert!(rows[rule - 1].contains("Foo: I see") && rows[rule + 1].contains("Bar: five"), "{rows:#?}");
    leave(foo);
}

#[test]
fn another_history_at_the_same_place_has_nothing_that_was_read() {
    let place = Place::new();
    let mut server = Server::start_at(&place, "127.0.0.1:0", &["--history", "memory"]);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    bar.type_line("one");
    foo.until("a line", |foo| says(foo, "Bar: one"));
    leave(foo);
    let read = lobby(&place);
    assert_eq!(read["read"], 1);
    server.program.signal("TERM");
    server.program.wait();
    drop(bar);
    let server = Server::start_at(&place, &server.address(), &["--history", "memory"]);
    let mut bar = server.join(&place, "Bar");
    for line in ["two", "three"] {
        bar.type_line(line);
        bar.expect(&format!("Bar: {line}"));
    }
    let mut foo = join(&place, &server);
    foo.until("the past", |foo| says(foo, "Bar: three"));
    assert_eq!(around_rule(&foo), None);
    leave(foo);
    assert_ne!(lobby(&place)["epoch"], read["epoch"]);
}

#[test]
fn a_script_leaves_no_trace_of_where_it_was() {
    let place = Place::new();
    let server = Server::start(&place);
    leave(join(&place, &server));
    let before = fs::read(place.path("state/chinwag/servers.json")).unwrap();
    let mut robot = server.join(&place, "Robot");
    robot.type_line("hello");
    robot.expect("Robot: hello");
    robot.type_bytes(b"half a line");
    robot.signal("TERM");
    assert_eq!(robot.exit_code(), 0);
    assert_eq!(fs::read(place.path("state/chinwag/servers.json")).unwrap(), before);
}
