//! Several rooms, what is between two alone, topics and names, before two full screens and plain lines.

use std::fs;

use crate::{
    common::{Place, Server},
    full::{FOO, join, says},
    history::{restart, stop, tool},
    seat::Seat,
};

/// True when a row of the list of rooms is that.
fn lists(seat: &Seat, room: &str) -> bool {
    seat.rows().iter().any(|row| row.split('│').next().unwrap().trim_end() == room)
}

/// True when somebody is in the room that is looked at, with these marks.
fn has_member(seat: &Seat, member: &str) -> bool {
    seat.rows().iter().any(|row| row.rsplit('│').next().unwrap().trim_start() == member)
}

/// True when that was said in the room that is looked at, beside the list of rooms.
fn has_said(seat: &Seat, line: &str) -> bool {
    seat.rows().iter().any(|row| {
        let talk = row.split('│').nth(1).unwrap_or_default();
        talk.get(6..).is_some_and(|said| said.trim_end() == line)
    })
}

#[test]
fn three_terminals_talk_in_several_rooms() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    foo.enters("/join the den");
    foo.until("two rooms", |foo| lists(foo, "1 lobby♪") && lists(foo, "2 the den"));
    foo.enters("hello den");
    foo.until("the line", |foo| has_said(foo, "Foo: hello den"));
    bar.type_line("in the lobby, Foo");
    bar.expect("Bar: in the lobby, Foo");
    foo.until("a mention", |foo| lists(foo, "1 lobby♪ 1 1!"));

    // Lines of other rooms say where they are from.
    bar.type_line("/join The Den");
    bar.expect_error("you are in the den now");
    bar.type_line("/topic tea and cake");
    foo.until("the topic", |foo| foo.rows()[0].contains("tea and cake"));
    // What is so already is told to whoever said so alone.
    bar.type_line("/topic tea and cake");
    bar.expect_error("the den is about: tea and cake (Bar)");
    bar.type_line("/join lobby");
    bar.expect_error("what you type is said in lobby now");
    bar.type_line("/topic -");
    bar.expect_error("nobody said what lobby is about; /topic TEXT does");
    foo.enters("/ME waves");
    bar.expect(":[the den] * Foo waves");
    // He is called otherwise from now on, and that is a mention.
    bar.type_line("/nick Barbara");
    bar.expect("Bar is called Barbara now.");
    foo.until("the name", |foo| has_said(foo, "Bar is called Barbara now") && has_member(foo, "Barbara -"));
    bar.type_line("/nick foo");
    bar.expect_error("that name is in use here");

    // The last room is not left; another one is, and its voice with it.
    bar.type_line("/part the den");
    bar.expect_error("you left the den; what you type is said in lobby");
    foo.until("who left", |foo| has_said(foo, "Barbara left"));
    bar.type_line("/part");
    bar.expect_error("this is the only room that you are in");
    foo.presses(b"\x1b1");
    foo.until("the lobby", |foo| has_said(foo, "Bar: in the lobby, Foo"));
    foo.enters("/part");
    foo.sees_part("you talk and listen nowhere now");
    foo.until("one room", |foo| {
        !lists(foo, "1 lobby♪")
            && foo.rows().iter().any(|row| row.contains("no voice") || row.contains("the den"))
    });
    foo.enters("/rooms");
    foo.sees_part("the den (1 here): tea and cake");
    foo.types("/join lob\t");
    foo.sees_typed("> /join lobby|");
    foo.types("\x15");
    foo.enters("/who");
    foo.sees_part("here: Foo");
}

#[test]
fn what_is_between_two_is_nobody_elses() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut baz = server.join(&place, "Baz");
    let mut foo = join(&place, &server);
    bar.expect("Foo has joined the chat!");
    bar.type_line("/msg Foo psst, Foo");
    bar.expect(": you to Foo: psst, Foo");
    foo.until("the other", |foo| lists(foo, "2 @Bar 1 1!"));
    foo.presses(b"\x1b2");
    foo.until("what he said", |foo| has_said(foo, "Bar: psst, Foo"));
    foo.types("a secret ans");
    foo.presses(b"\x1b1");
    foo.sees_typed("> |");
    foo.presses(b"\x1b2");
    foo.sees_typed("> a secret ans|");
    foo.enters("wer");
    bar.expect(": Foo to you: a secret answer");
    // Nobody is alone with one who is not there.
    bar.type_line("/msg Nobody hello");
    bar.expect_error("not said: hello: nobody of that name is here");
    // He looks at where he was before.
    for (line, why) in
        [("/msg Nobody hello", "not said: hello"), ("/msg Nobody", "there is no conversation with Nobody")]
    {
        foo.enters(line);
        foo.sees_part(why);
        foo.until("no tab", |foo| !foo.rows().iter().any(|row| row.contains("@Nobody")));
        assert!(lists(&foo, "2 @Bar"), "{:#?}", foo.rows());
    }
    baz.type_line("aloud");
    bar.expect("Baz: aloud");
    // It ends with the server, and can be begun anew.
    restart(&place, &mut server, &[]);
    foo.sees_part("there is no conversation with Bar");
    bar.expect_error("there is no conversation with Foo now");
    bar.type_line("/msg Foo once more");
    bar.expect(": you to Foo: once more");
    foo.until("a new one", |foo| lists(foo, "3 @Bar 1 1!"));

    // A line of his was not said.
    for (person, code) in [(&mut bar, 1), (&mut baz, 0)] {
        person.type_line("{quit}");
        assert_eq!(person.exit_code(), code);
    }
    let leaks = |text: &str| text.contains("psst") || text.contains("a secret answer");
    assert!(!baz.output().iter().any(|line| leaks(line)), "{:?}", baz.output());
    assert!(!server.program.output().iter().any(|line| leaks(line)), "{:?}", server.program.output());
    for file in fs::read_dir(place.path("server")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!leaks(&String::from_utf8_lossy(&bytes)), "{}", path.display());
    }
}

#[test]
fn whoever_comes_back_is_in_his_rooms() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    foo.enters("/join den");
    foo.until("the den", |foo| lists(foo, "2 den"));
    foo.enters("/voice");
    foo.until("the voice", |foo| lists(foo, "2 den♪"));
    bar.type_line("/join den");
    bar.expect_error("you are in den now");
    foo.until("Bar", |foo| has_said(foo, "Bar joined"));

    // What is typed while the server is away goes where it was typed.
    let address = server.address();
    server.program.signal("KILL");
    server.program.wait();
    foo.sees_part("the connection is lost");
    foo.enters("for the den");
    foo.presses(b"\x1b1");
    foo.enters("for the lobby");
    server = Server::start_at(&place, &address, &[]);
    bar.expect_all(["Foo: for the den", ":[lobby] Foo: for the lobby"]);
    foo.until("the line", |foo| has_said(foo, "Foo: for the lobby"));
    assert!(lists(&foo, "2 den♪"), "{:#?}", foo.rows());

    // Another day.
    foo.presses(b"\x1b2");
    foo.until("the den", |foo| has_said(foo, "Foo: for the den"));
    foo.enters("/quit");
    assert_eq!(foo.ends().code(), Some(0));
    bar.type_line("meanwhile");
    bar.expect("Bar: meanwhile");
    let arguments = [&FOO[..], &[server.link.as_str()]].concat();
    let mut foo = Seat::full(&place, 80, 24, &arguments);
    foo.until("both rooms", |foo| lists(foo, "1 lobby") && lists(foo, "2 den♪"));
    foo.until("what is new", |foo| has_said(foo, "Bar: meanwhile"));
    assert!(foo.rows().iter().any(|row| row.contains("── new")), "{:#?}", foo.rows());
    // Who says where he wants to be is there alone.
    foo.enters("/quit");
    foo.ends();
    let attic = server.link.replacen('#', "/attic#", 1);
    let mut foo = Seat::full(&place, 80, 24, &[&FOO[..], &[attic.as_str()]].concat());
    foo.sees_part("Welcome!");
    foo.until("the attic", |foo| foo.rows().iter().any(|row| row.trim_start().starts_with("attic")));
    assert!(!lists(&foo, "1 lobby"));
    assert!(!says(&foo, "Bar: meanwhile"));
}

#[test]
fn what_is_between_two_is_called_as_they_are() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut people = ["Bar", "Qux", "Baz"].map(|name| server.join(&place, name));
    let [bar, qux, baz] = &mut people;
    let mut foo = join(&place, &server);
    bar.expect("Foo has joined the chat!");
    for (person, number, tab) in [(&mut *bar, 2, "2 @Bar 1 1!"), (&mut *qux, 3, "3 @Qux 1 1!")] {
        for other in ["Foo", "Baz"] {
            person.type_line(&format!("/msg {other} it is I"));
            person.expect(&format!(": you to {other}: it is I"));
        }
        foo.until("the tab", |foo| lists(foo, tab));
        foo.presses(format!("\x1b{number}").as_bytes());
        foo.presses(b"\x1b1");
    }
    baz.expect_all([": Bar to you: it is I", ": Qux to you: it is I"]);
    // They change names.
    bar.type_line("/nick Third");
    bar.expect("Bar is called Third now.");
    qux.type_line("/nick Bar");
    qux.expect("Qux is called Bar now.");
    bar.type_line("/nick Qux");
    baz.expect("Third is called Qux now.");
    foo.until("the new names", |foo| lists(foo, "2 @Qux") && lists(foo, "3 @Bar"));
    baz.type_line("/msg Qux you?");
    bar.expect(": Baz to you: you?");
    // Whoever leaves a conversation is not heard there any more.
    baz.type_line("/voice Qux");
    baz.expect_error("you talk to Qux alone now");
    baz.type_line("/part Qux");
    baz.expect_error("you talk and listen nowhere now");
    baz.expect_error("you left Qux");
    // Somebody else gets the name of one who is gone, and changes his.
    qux.type_line("{quit}");
    assert_eq!(qux.exit_code(), 0);
    baz.expect("Bar has left the chat.");
    let mut other = server.join(&place, "Bar");
    other.type_line("/nick Other");
    baz.expect("Bar is called Other now.");
    baz.type_line("/part Bar");
    baz.expect_error("you left Bar");
    foo.until("the same", |foo| has_said(foo, "Bar is called Other now"));
    assert!(lists(&foo, "3 @Bar"), "{:#?}", foo.rows());
}

#[test]
fn what_is_typed_right_after_a_join_is_said_there() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    bar.type_line("/join den");
    bar.expect_error("you are in den now");
    let mut foo = server.join(&place, "Foo");
    foo.type_line("/join den\none\n/part\ntwo");
    bar.expect("Foo: one");
    bar.expect(":[lobby] Foo: two");
    // As many rooms as one makes at once, and one more.
    for n in 0..32 {
        foo.type_line(&format!("/join room {n}"));
        foo.expect_error(&format!("you are in room {n} now"));
        foo.type_line("/part");
    }
    foo.type_line("/join secrets\nfor nobody else\n");
    foo.expect_error("not said: for nobody else: you made many rooms");
    foo.expect_error("you are not in secrets");
    foo.type_line("three");
    bar.expect(":[lobby] Foo: three");
    assert!(!bar.output().iter().any(|line| line.contains("nobody else")), "{:?}", bar.output());
    // A script can tell.
    foo.end_input();
    assert_eq!(foo.exit_code(), 1);
}

#[test]
fn whoever_is_called_alone_is_told_and_can_answer() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = join(&place, &server);
    bar.expect("Foo has joined the chat!");
    bar.type_line("/msg Foo");
    bar.expect_error("what you type is said to Foo alone now");
    bar.type_line("/voice Foo");
    bar.expect_error("you talk to Foo alone now");
    foo.sees_part("Bar talks to you alone now");
    foo.until("a call", |foo| lists(foo, "2 @Bar 1 1!"));
    foo.enters("/voice Bar");
    bar.expect_error("Foo hears you now, and talks to you alone");
    bar.type_line("/voice lobby");
    foo.sees_part("Bar does not talk to you alone any");
    bar.expect_error("you talk and listen in lobby now");
    // Whoever is called by one whom he ignores is not.
    foo.enters("/ignore Bar");
    foo.sees_part("you do not see what Bar says");
    bar.type_line("/voice Foo");
    bar.expect_error("you and Foo hear each other now");
    bar.type_line("/voice lobby");
    bar.type_line("hello");
    foo.enters("/ignore Bar");
    foo.sees_part("you see what Bar says again");
    bar.type_line("once more");
    foo.until("what comes after it, alone", |foo| lists(foo, "2 @Bar♪ 2 2!"));
}

#[test]
fn whoever_is_back_is_told_of_each_room_what_he_may_have_missed() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    for (room, line) in [("lobby", "in the lobby"), ("den", "in the den"), ("attic", "in the attic")] {
        if room != "lobby" {
            bar.type_line(&format!("/join {room}"));
            bar.expect_error(&format!("you are in {room} now"));
        }
        bar.type_line(line);
        bar.expect(&format!("Bar: {line}"));
    }
    let mut baz = server.join(&place, "Baz");
    baz.type_line("/mute Bar");
    baz.expect_error("you do not hear Bar now");
    // One of the rooms is begun anew, and it is not the first.
    let address = server.address();
    stop(&mut server);
    let data = place.path("server");
    let mut removed = tool(&["remove-room", "den", "--data", data.to_str().unwrap()], &place);
    assert_eq!(removed.exit_code(), 0, "{}", removed.errors());
    let _server = Server::start_at(&place, &address, &[]);
    let back = bar.expect_error("back as Bar");
    assert_eq!(back, "-- back as Bar; what was said meanwhile in den may have been missed");
    let back = baz.expect_error("back as Baz");
    assert_eq!(back, "-- back as Baz; nothing was missed but voice; nobody whom you muted is muted now");
}
