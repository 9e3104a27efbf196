//! Push-to-talk on the full screen, and what else depends on how much a terminal tells of keys and focus.

use std::path::Path;

use crate::{
    common::{Place, Server},
    full::{join, says},
    history::stop,
    seat::{Kind, Seat},
};

/// F8 where keys are told apart: pressed, repeated, let go.
const DOWN: &str = "\x1b[19;1:1~";
const AGAIN: &str = "\x1b[19;1:2~";
const UP: &str = "\x1b[19;1:3~";

/// Foo, on the full screen, with something to say and these options.
pub(crate) fn talker(place: &Place, server: &Server, more: &[&str]) -> Seat {
    let voice = place.path("said.wav");
    if !voice.exists() {
        place.voice("said.wav", 7, 30);
    }
    let usual = ["--name", "Foo", "--speaker", "none", "--mic", voice.to_str().unwrap(), &server.link];
    let mut person = Seat::full(place, 80, 24, &[&usual, more].concat());
    person.sees_part("Welcome!");
    person
}

const PTT: [&str; 2] = ["--gate", "ptt"];

#[test]
fn where_keys_are_told_to_be_let_go_the_key_is_held() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = talker(&place, &server, &PTT);
    foo.sees_part("ptt off");
    foo.types(DOWN);
    foo.sees_part("● ");
    foo.sees_part("ptt talking");
    foo.types(&AGAIN.repeat(50));
    foo.types("x\x1b[120;1:3u");
    foo.sees_typed("> x|");
    foo.sees_part("ptt talking");
    foo.types(UP);
    foo.sees_part("ptt off");
    foo.sees_part("○ ");
    // At once, and without a line for each.
    foo.types(&[DOWN, UP, DOWN].concat());
    foo.sees_part("ptt talking");
    foo.types(UP);
    foo.sees_part("ptt off");
    assert!(!foo.rows().iter().any(|row| row.contains("heard")), "{:#?}", foo.rows());
    // What a window lost the focus for is let go elsewhere.
    foo.types(&[DOWN, "\x1b[O"].concat());
    foo.sees_part("you are no longer heard, since you went to another");
    foo.sees_part("ptt off");
}

#[test]
fn whoever_talks_nowhere_is_not_told_that_he_is_heard() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut foo = talker(&place, &server, &PTT);
    foo.enters("/join den");
    foo.sees_part("♪ in lobby");
    foo.enters("/voice");
    foo.sees_part("you talk and listen in den now");
    foo.types(DOWN);
    foo.sees_part("● ");
    foo.types(UP);
    foo.enters("/part");
    foo.sees_part("no voice");
    foo.enters("/clear");
    foo.until("an empty screen", |foo| !foo.rows().iter().any(|row| row.contains("nowhere")));
    foo.types(DOWN);
    foo.sees_part("you talk and listen nowhere now; /voice");
    foo.types(UP);
    assert!(!foo.rows().iter().any(|row| row.contains("talking") || row.contains('●')), "{:#?}", foo.rows());
    foo.enters("/voice");
    foo.sees_part("you talk and listen in lobby now");
    foo.types(DOWN);
    foo.sees_part("● ");
    // Nor while there is no connection.
    stop(&mut server);
    foo.sees_part("connection lost");
    foo.sees_part("○ ");
}

#[test]
fn elsewhere_the_key_begins_and_one_that_is_held_does_not_stop() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = talker(&place, &server, &PTT);
    foo.types(&"\x1b[19~".repeat(50));
    foo.types("x");
    foo.sees_typed("> x|");
    foo.sees_part("ptt talking");
    foo.enters("\x15/ptt");
    foo.sees_part("you are no longer heard");
    foo.sees_part("ptt off");
}

#[test]
fn it_stops_by_itself() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = talker(&place, &server, &[&PTT[..], &["--ptt-seconds", "1"]].concat());
    // Held still, it does not begin again.
    for keys in [DOWN, &[AGAIN, UP, DOWN].concat(), "/ptt\r"] {
        foo.enters("/clear");
        foo.until("an empty screen", |foo| !foo.rows().iter().any(|row| row.contains("heard")));
        foo.types(keys);
        foo.sees_part("you are no longer heard: push-to-talk stops by itself");
        foo.sees_part("ptt off");
    }
}

#[test]
fn a_key_is_chosen_and_remembered_unless_the_settings_name_another() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = talker(&place, &server, &[]);
    foo.types(DOWN);
    foo.sees_part("push-to-talk is off; /vad or --gate ptt switches it on");
    foo.types(UP);
    foo.enters("/ptt Ctrl-A");
    foo.sees_part("F1 to F12");
    foo.enters("/ptt ctrl-t");
    foo.sees_part("you talk by Ctrl-T now");
    foo.sees_part("ptt off");
    foo.types("\x14");
    foo.sees_part("ptt talking");
    foo.enters("/quit");
    foo.ends();
    let mut foo = talker(&place, &server, &PTT);
    foo.types("\x1b[19~\x14");
    foo.sees_part("ptt talking");
    foo.enters("/quit");
    foo.ends();
    let mut foo = talker(&place, &server, &["--gate", "ptt", "--ptt-key", "F5"]);
    foo.types("\x14x");
    foo.sees_typed("> x|");
    foo.sees_part("ptt off");
    foo.types("\x1b[[E");
    foo.sees_part("ptt talking");
}

#[test]
fn keys_that_are_signals_are_so_where_the_terminal_does_not_make_them() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = join(&place, &server);
    foo.types("abc\x1b[97;5ux\x1b[101;5uy\x1b[127u\x1b[119;5u\x1b[121;5u");
    foo.sees_typed("> xabc|");
    foo.types("\x1b[99;5u");
    assert_eq!(foo.ends().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_is_stopped_by_such_a_key_goes_on_and_asks_for_keys_once() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut shell = Seat::take_of_kind(Kind::xterm(80, 24), &place, Path::new("sh"), &["-i"]);
    shell.enters("PS1='ready> '");
    shell.until("the shell", |shell| shell.typing().ends_with("ready> |"));
    let program = env!("CARGO_BIN_EXE_chinwag");
    shell.enters(&format!("'{program}' --name Foo --mic none --speaker none '{}'", server.link));
    shell.sees_part("Welcome!");
    shell.is_edited();
    for _ in 0..2 {
        shell.types("\x1b[122;5u");
        shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
        shell.enters("fg");
        shell.sees_part("Welcome!");
        shell.is_edited();
    }
    shell.enters("/quit");
    shell.until("the shell", |shell| shell.typing() == "ready> |" && shell.is_ordinary());
    shell.enters("exit");
    shell.ends();
}

#[test]
fn a_desktop_is_told_of_mentions_while_the_window_has_not_the_focus() {
    const BEGIN: &str = "\x1b]9;chinwag: ";
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    foo.enters("/notify on");
    foo.sees_part("your desktop is told when your name is said");
    bar.type_line("Foo: one");
    foo.until("a mention", |foo| says(foo, "Bar: Foo: one"));
    foo.types("\x1b[O");
    foo.types("x");
    foo.sees_typed("> x|");
    bar.type_line("food");
    foo.until("no mention", |foo| says(foo, "Bar: food"));
    assert_eq!(foo.count(BEGIN), 0);
    bar.type_line("Foo: tw\u{9c}o\u{1b}\\\u{7}; ");
    foo.until("a notification", |foo| foo.count(&format!("{BEGIN}Bar: Foo: tw\\u{{9c}}o")) == 1);
    // A terminal that takes nothing in for it shows nothing of it.
    foo.until("a mention", |foo| foo.rows().iter().any(|row| row.contains("Bar: Foo: tw")));
    assert_eq!(foo.count(BEGIN), 1);
    assert_eq!(foo.count("\x07"), 0);
}
