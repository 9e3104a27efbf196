//! What the client remembers: servers, the name used there, and how loud others are.

use std::fs;

use crate::{
    common::{Place, Server, client},
    seat::Seat,
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
    foo.expect_error("you hear Baz at +12 dB now");
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
    foo.sees_part("servers and volumes that were remembered cannot be read");
    foo.sees_part("Welcome Foo!");
    leave(foo);
    assert_eq!(fs::read_to_string(place.path("state/chinwag/servers.damaged.json")).unwrap(), "{");
    let mut foo = Seat::client(&place, 200, &SILENT);
    foo.sees(&format!("  1  {} as Foo, just now", server.address()));
}
