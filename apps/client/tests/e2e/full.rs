//! The client that fills the screen, before a person.

use std::path::Path;

use crate::{
    common::{Place, Server},
    seat::{CTRL_C, CTRL_D, Kind, Seat},
};

pub(crate) const FOO: [&str; 6] = ["--name", "Foo", "--mic", "none", "--speaker", "none"];
const BAZ: [&str; 6] = ["--name", "Baz", "--mic", "none", "--speaker", "none"];

fn join_as(place: &Place, server: &Server, who: &[&str], columns: u16, rows: u16) -> Seat {
    let mut person = Seat::full(place, columns, rows, &[who, &[server.link.as_str()]].concat());
    person.sees_part("Welcome!");
    person.until("who is here", |person| {
        // Where there is a column for them.
        columns < 60 || person.rows().iter().any(|row| row.contains(" here"))
    });
    person.is_edited();
    person
}

pub(crate) fn join(place: &Place, server: &Server) -> Seat {
    join_as(place, server, &FOO, 80, 24)
}

/// A row of the conversation, from which the time is cut off.
pub(crate) fn says(seat: &Seat, part: &str) -> bool {
    seat.rows().iter().any(|row| {
        let row = row.split('│').next().unwrap().trim_end();
        row.get(6..).is_some_and(|row| row == part) && row.as_bytes()[2] == b':'
    })
}

#[test]
fn two_full_screens_and_plain_lines_talk_to_each_other() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    let mut baz = join_as(&place, &server, &BAZ, 120, 40);
    assert!(foo.screen().alternate_screen());
    foo.until("all of them", |foo| foo.rows().iter().any(|row| row.ends_with(" 3 here")));
    foo.until("who came", |foo| says(foo, "Baz joined"));
    foo.types("half a");
    foo.sees_typed("> half a|");
    bar.type_line("hello, Foo");
    for person in [&mut foo, &mut baz] {
        person.until("Bar's line", |person| says(person, "Bar: hello, Foo"));
    }
    foo.sees_typed("> half a|");
    foo.types(" line\r");
    foo.sees_typed("> |");
    bar.expect("Foo: half a line");
    for person in [&mut foo, &mut baz] {
        person.until("Foo's line", |person| says(person, "Foo: half a line"));
    }
    baz.types("fo\thello\r");
    bar.expect("Baz: Foo: hello");
    // Commands are answered, and not said.
    foo.enters("/who");
    foo.sees_part("here: Bar, ");
    foo.enters("/muet");
    foo.sees_part("did you mean /mute?");
    foo.enters("/mute Bar");
    foo.until("a mark", |foo| foo.rows().iter().any(|row| row.ends_with("│ Bar m")));
    foo.enters("//slash");
    bar.expect("Foo: /slash");
    foo.enters("/help");
    foo.sees_part("Help: Esc");
    foo.presses(b"\x1b");
    foo.until("no help", |foo| !foo.rows().iter().any(|row| row.contains("Help")));
    baz.enters("{quit}");
    assert_eq!(baz.ends().code(), Some(0));
    foo.until("who went", |foo| says(foo, "Baz left"));
    foo.presses(CTRL_D);
    assert_eq!(foo.ends().code(), Some(0));
    bar.expect("Foo has left the chat.");
    // Nothing of it is left on the screen that was there before.
    assert!(foo.rows().is_empty(), "{:?}", foo.rows());
}

#[test]
fn whoever_is_asked_answers_on_the_screen_that_is_there_before() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut foo = Seat::full(&place, 80, 24, &FOO[2..]);
    foo.sees_typed("Enter host: |");
    assert!(!foo.screen().alternate_screen());
    foo.enters(&server.link);
    foo.sees("Type your name and press enter!");
    // Typed ahead.
    foo.types("Foo\rhalf a line");
    foo.sees_part("Welcome!");
    foo.sees_typed("> half a line|");
    assert!(foo.screen().alternate_screen());
    foo.presses(CTRL_C);
    assert_eq!(foo.ends().code(), Some(0));
    foo.sees("Type your name and press enter!");
}

#[test]
fn a_bell_rings_for_mentions_if_that_is_wanted() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    let rings = |foo: &Seat| foo.written().iter().filter(|&&byte| byte == 7).count();
    bar.type_line("foo: one");
    foo.until("a mention", |foo| says(foo, "Bar: foo: one"));
    foo.enters("/bell on");
    foo.sees_part("a bell rings when your name is said");
    bar.type_line("two");
    foo.until("no mention", |foo| says(foo, "Bar: two"));
    assert_eq!(rings(&foo), 0);
    bar.type_line("three, FOO?");
    foo.until("a mention", |foo| says(foo, "Bar: three, FOO?"));
    assert_eq!(rings(&foo), 1);
    foo.enters("/ignore bar");
    foo.sees_part("you do not see what bar says now");
    bar.type_line("four, foo");
    // All are told in one order.
    bar.expect("Bar: four, foo");
    // By another name and to Foo alone, too.
    bar.type_line("/nick Qux");
    bar.expect("Bar is called Qux now.");
    bar.type_line("four, foo");
    bar.expect("Qux: four, foo");
    bar.type_line("/msg Foo four");
    bar.expect(": you to Foo: four");
    foo.enters("I see nothing");
    foo.until("what comes after it", |foo| says(foo, "Foo: I see nothing"));
    assert!(!foo.rows().iter().any(|row| row.contains('@')), "{:#?}", foo.rows());
    foo.enters("/ignore");
    foo.sees_part("you do not see what these say: Qux");
    foo.enters("/ignore qux");
    foo.sees_part("you see what qux says again");
    bar.type_line("/nick Bar");
    bar.expect("Qux is called Bar now.");
    bar.type_line("five, foo");
    foo.until("a mention", |foo| says(foo, "Bar: five, foo"));
    assert!(!foo.rows().iter().any(|row| row.contains("four")));
    assert_eq!(rings(&foo), 2);
}

#[test]
fn it_fits_into_a_window_of_any_size() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    bar.type_line("one two three four five six seven eight nine ten");
    foo.until("the line", |foo| says(foo, "Bar: one two three four five six seven eight nine ten"));
    if cfg!(target_os = "linux") {
        foo.resizes_to(40, 10);
        foo.until("a narrow one", |foo| says(foo, "Bar: one two three four five six"));
        assert!(!foo.rows().iter().any(|row| row.contains('│')), "{:?}", foo.rows());
        foo.types("x");
        foo.sees_typed("> x|");
        for (columns, rows) in [(5, 3), (1, 1), (2, 50), (200, 2)] {
            foo.resizes_to(columns, rows);
            foo.types("y");
            bar.type_line("still here");
        }
        foo.resizes_to(200, 50);
        foo.until("a wide one", |foo| says(foo, "Bar: one two three four five six seven eight nine ten"));
        foo.sees_typed("> xyyyy|");
    }
    foo.enters("");
    foo.presses(CTRL_C);
    assert_eq!(foo.ends().code(), Some(0));
}

#[test]
fn what_is_looked_at_stays_while_messages_arrive() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    let say = |from: usize, to: usize| (from..to).map(|n| format!("line {n}\n")).collect::<String>();
    bar.type_bytes(say(0, 100).as_bytes());
    foo.until("the last line", |foo| says(foo, "Bar: line 99"));
    foo.presses(b"\x1b[5~");
    foo.sees_part("below");
    let seen: Vec<_> = foo.rows().into_iter().filter(|row| row.contains("Bar: line")).collect();
    assert_eq!(seen.len(), 22);
    bar.type_bytes(say(100, 200).as_bytes());
    bar.expect("Bar: line 199");
    foo.sees_part("↓ 121 below");
    let after: Vec<_> = foo.rows().into_iter().filter(|row| row.contains("Bar: line")).collect();
    assert_eq!(after, seen);
    // By the wheel, and back.
    foo.presses(b"\x1b[<65;1;1M");
    foo.sees_part("↓ 118 below");
    foo.enters("/search line 4");
    foo.until("an old line", |foo| says(foo, "Bar: line 49"));
    foo.presses(b"\x1b");
    foo.until("the last line", |foo| says(foo, "Bar: line 199"));
    foo.enters("/clear");
    foo.until("nothing", |foo| !foo.rows().iter().any(|row| row.contains("Bar: line")));
}

#[test]
fn several_lines_that_are_pasted_are_said_when_that_is_confirmed() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    let paste = "\x1b[200~one\r/quit\r{quit}\rtwo\x1b[2J\x1b[201~";
    foo.types(paste);
    foo.sees_part("Say these 4 lines?");
    foo.presses(b"\x1b");
    foo.until("no question", |foo| !foo.rows().iter().any(|row| row.contains("Say these")));
    foo.types(paste);
    foo.sees_part("Say these 4 lines?");
    foo.types("\r");
    for line in ["one", "/quit", "{quit}", "two"] {
        bar.expect(&format!("Foo: {line}"));
    }
    // One line can be looked at first.
    foo.types("\x1b[200~three\x1b[201~");
    foo.sees_typed("> three|");
    foo.types("\r");
    bar.expect("Foo: three");
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_nobody() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let kind = Kind { is_looked_at: false, ..Kind::xterm(200, 50) };
    let arguments = [&FOO[..], &[server.link.as_str()]].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag"));
    let mut foo = Seat::take_of_kind(kind, &place, program, &arguments);
    bar.expect("Foo has joined the chat!");
    // Far more than waits in a terminal, and in many pictures.
    for n in 0..1000 {
        let line = format!("{n:<50}").repeat(3);
        bar.type_line(&line);
        bar.expect(&format!("Bar: {line}"));
    }
    foo.enters("I see nothing");
    bar.expect("Foo: I see nothing");
    foo.signal("TERM");
    bar.expect("Foo has left the chat.");
}

#[test]
fn colours_are_used_unless_nobody_wants_them() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let arguments = [&FOO[..], &[server.link.as_str()]].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag"));
    for has_colours in [false, true] {
        let kind = Kind { has_colours, ..Kind::xterm(80, 24) };
        let mut foo = Seat::take_of_kind(kind, &place, program, &arguments);
        foo.sees_part("Welcome!");
        bar.type_line("hello Foo");
        foo.until("the line", |foo| says(foo, "Bar: hello Foo"));
        foo.enters("/quit");
        foo.ends();
        let written = String::from_utf8_lossy(foo.written()).into_owned();
        let codes = written.split("\x1b[").skip(1).filter_map(|sequence| {
            let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            sequence[end..].starts_with('m').then(|| sequence[..end].to_owned())
        });
        let numbers: Vec<u8> = codes
            .flat_map(|code| code.split(';').filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
            .collect();
        let is_colour = |n: &u8| matches!(n, 30..=49 | 90..=107);
        assert_eq!(numbers.iter().any(is_colour), has_colours, "{numbers:?}");
        assert!(!numbers.is_empty());
    }
}

#[test]
fn hostile_text_does_not_drive_the_terminal() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    bar.type_line("\u{1b}[?1049l\u{1b}[2J\u{9b}31m \u{202e}desrever");
    foo.sees_part("\\u{202e}desrever");
    assert!(foo.screen().alternate_screen());
    bar.type_line(&"👩\u{200d}👧".repeat(300));
    bar.type_line("שלום עולם");
    bar.type_line(&("e".to_owned() + &"\u{301}".repeat(1500)));
    bar.type_line("after all that");
    foo.until("the last line", |foo| says(foo, "Bar: after all that"));
    assert!(foo.rows().iter().any(|row| row.contains("שלום עולם")), "{:?}", foo.rows());
    foo.sees_typed("> |");
}

/// Whoever speaks is seen to: his level comes with his voice.
#[test]
fn whoever_speaks_is_seen() {
    let place = Place::new();
    let server = Server::start(&place);
    let voice = place.voice("said.wav", 7, 8);
    let mut foo = join(&place, &server);
    let mut bar =
        server.client(&place, &["--name", "Bar", "--mic", voice.to_str().unwrap(), "--speaker", "none"]);
    let is_speaking = |foo: &Seat| {
        foo.rows()
            .iter()
            .any(|row| row.ends_with("Bar") && row.contains(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']))
    };
    foo.until("Bar speaking", is_speaking);
    bar.end_input();
    assert_eq!(bar.exit_code(), 0);
    foo.until("silence", |foo| !is_speaking(foo));
    // And one's own microphone.
    let mut baz = Seat::full(
        &place,
        80,
        24,
        &["--name", "Baz", "--mic", voice.to_str().unwrap(), "--speaker", "none", &server.link],
    );
    baz.until("its level", |baz| baz.rows().iter().any(|row| row.contains("● level  █")));
    baz.enters("/mute");
    baz.until("muted", |baz| baz.rows().iter().any(|row| row.ends_with("│ Baz m")));
}
