//! The server as a table: what goes in, and everything that comes out. Text: joining, saying, leaving, coming back.

mod common;

use chinwag_proto::{
    Duration, RoomId, Seq, limits,
    server::Input,
    wire::chinwag1::{self as pb, to_server::Kind},
};
use common::{ServerRig, assert_lines, claim, hello_in, say, secs, to_server};

/// Foo (peer 1) and Bar (peer 2) in the lobby, in which nothing was said.
fn two() -> ServerRig {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    rig.join(2, "Bar");
    rig
}

#[test]
fn whoever_joins_is_welcomed_and_the_others_are_told() {
    let mut rig = ServerRig::new();
    assert_lines(
        &rig.join(1, "  Foo "),
        &[
            "event Joined r1 Foo=s1.0",
            "open path 1: s1.0",
            "send 1: Welcome Foo=s1.0; Entered #1 lobby=1 at 0 [Foo=s1.0]",
        ],
    );
    assert_lines(
        &rig.join(2, "Bar"),
        &[
            "event Joined r1 Bar=s1.1",
            "send 1: Joined r1 Bar=s1.1",
            "open path 2: s1.1",
            "send 2: Welcome Bar=s1.1; Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1]",
        ],
    );
}

#[test]
fn a_name_in_use_is_refused_with_a_free_one() {
    let mut rig = two();
    rig.join(3, "Foo2");
    assert_lines(
        &rig.join(4, "fOO"),
        &[r#"send 4: Refused NameTaken "fOO3""#, "close 4: that name is in use here; fOO3 would be free"],
    );
    assert_eq!(rig.server.hub().members(), 3);
    assert_eq!(rig.close(4), [""; 0]);
}

#[test]
fn what_is_no_name_or_room_is_refused() {
    let mut rig = ServerRig::new();
    assert_lines(
        &rig.join(1, " "),
        &[r#"send 1: Refused NameInvalid """#, "close 1: a name needs at least one visible character"],
    );
    rig.accept(2);
    assert_lines(
        &rig.send(2, Kind::Hello(hello_in("Foo", [claim(1, "a:b")]))),
        &[
            r#"send 2: Refused RoomInvalid """#,
            "close 2: that room cannot be: a name cannot have a colon in it",
        ],
    );
    assert_eq!(rig.server.hub().rooms(), 0);
}

#[test]
fn a_message_is_acknowledged_then_sent_to_the_others_once() {
    let mut rig = two();
    rig.join(3, "Baz");
    assert_lines(
        &rig.send(1, say(1, 1, "hello")),
        &["send 1: Ack r1/1 #1", r#"send 2,3: Said r1/1 Foo=s1.0 #1 "hello""#],
    );
    assert_eq!(rig.server.stats().messages, 1);
}

#[test]
fn rooms_do_not_hear_each_other() {
    let mut rig = two();
    rig.accept(3);
    assert_lines(
        &rig.send(3, Kind::Hello(hello_in("Baz", [claim(1, "attic")]))),
        &[
            "event Joined r2 Baz=s1.2",
            "open path 3: s1.2",
            "send 3: Welcome Baz=s1.2; Entered #1 attic=2 at 0 [Baz=s1.2]",
        ],
    );
    assert_lines(&rig.send(3, say(2, 1, "alone")), &["send 3: Ack r2/1 #1"]);
    assert_lines(&rig.send(3, say(1, 2, "there")), &["send 3: Nack #2 you are not in that room"]);
}

#[test]
fn a_repeat_is_acknowledged_with_its_first_place_and_not_delivered_again() {
    let mut rig = two();
    rig.send(1, say(1, 1, "one"));
    rig.send(1, say(1, 2, "two"));
    assert_lines(&rig.send(1, say(1, 1, "one")), &["send 1: Ack r1/1 #1"]);
    assert_lines(&rig.send(1, say(1, 2, "two")), &["send 1: Ack r1/2 #2"]);
    assert_eq!(rig.server.stats().messages, 2);
}

#[test]
fn as_many_repeats_are_known_as_may_be_unacknowledged() {
    let mut rig = two();
    let last = limits::UNACKED_MESSAGES as u64 + 1;
    for id in 1..=last {
        rig.send(1, say(1, id, "x"));
    }
    assert_lines(&rig.send(1, say(1, 2, "x")), &["send 1: Ack r1/2 #2"]);
    assert_lines(
        &rig.send(1, say(1, 1, "x")),
        &[
            "send 1: Nack #1 it came too late, a later one of yours is there already; say it again if it still matters",
        ],
    );
}

#[test]
fn message_numbers_at_their_ends_do_no_harm() {
    let mut rig = two();
    let stale = |id: u64| {
        format!(
            "send 1: Nack #{id} it came too late, a later one of yours is there already; say it again if it still matters"
        )
    };
    assert_lines(&rig.send(1, say(1, 0, "zero")), &[&stale(0)]);
    let max = u64::MAX;
    assert_lines(
        &rig.send(1, say(1, max, "last")),
        &[&format!("send 1: Ack r1/1 #{max}"), &format!(r#"send 2: Said r1/1 Foo=s1.0 #{max} "last""#)],
    );
    assert_lines(&rig.send(1, say(1, max, "last")), &[&format!("send 1: Ack r1/1 #{max}")]);
    assert_lines(&rig.send(1, say(1, 5, "later")), &[&stale(5)]);
    assert_eq!(rig.server.hub().messages_after(RoomId::from_wire(1), Seq::from_wire(max)).count(), 0);
}

#[test]
fn what_is_no_message_is_rejected() {
    let mut rig = two();
    assert_lines(&rig.send(1, say(1, 1, " \n")), &["send 1: Nack #1 an empty message was not sent"]);
    let long = "x".repeat(limits::MESSAGE_BYTES + 1);
    assert_lines(
        &rig.send(1, say(1, 2, &long)),
        &["send 1: Nack #2 the message is longer than 4096 bytes; say it in several messages"],
    );
}

#[test]
fn whoever_quits_is_told_goodbye_and_announced_at_once() {
    let mut rig = two();
    let quit = [
        "event Left r1 Foo=s1.0 Quit",
        "send 2: Left r1 Foo=s1.0 Quit",
        "send 1: Closing Quit",
        "close 1: quit",
    ];
    assert_lines(&rig.send(1, Kind::Quit(pb::Quit {})), &quit);
    assert_eq!(rig.close(1), [""; 0]);
    assert_eq!((rig.server.hub().members(), rig.server.hub().gone()), (1, 0));
    assert_lines(
        &rig.resume(3, 1, 0),
        &[
            "event Joined r1 Foo=s2.0",
            "send 2: Joined r1 Foo=s2.0",
            "open path 3: s2.0",
            "send 3: Welcome Foo=s2.0; Entered #1 lobby=1 at 0 [Bar=s1.1 Foo=s2.0]",
        ],
    );
}

#[test]
fn what_stands_behind_a_quit_is_not_read() {
    let mut rig = two();
    let bytes = to_server([Kind::Quit(pb::Quit {}), say(1, 1, "ghost")]);
    assert_eq!(rig.receive(1, &bytes).len(), 4);
    assert_eq!(rig.server.stats().messages, 0);
}

#[test]
fn a_silent_peer_is_asked_then_announced_as_gone_after_15_s() {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    rig.wait(secs(1));
    rig.join(2, "Bar");
    rig.now = rig.now + secs(7);
    rig.send(2, Kind::Pong(pb::Ping { token: 0 }));
    assert_lines(&rig.wait(secs(1)), &["send 1: Ping"]);
    rig.send(2, Kind::Pong(pb::Ping { token: 0 }));
    assert_eq!(rig.wait(secs(5)), [""; 0], "asked once is enough");
    rig.now = rig.now + Duration::from_micros(999_999);
    assert_eq!(rig.timeout(), [""; 0], "not a moment earlier");
    assert_lines(
        &rig.wait(Duration::from_micros(1)),
        &[
            "event Left r1 Foo=s1.0 Lost",
            "send 2: Left r1 Foo=s1.0 Lost",
            "send 1: Closing Timeout",
            "close 1: silent for 15 s",
        ],
    );
}

#[test]
fn whoever_is_back_in_time_was_never_away() {
    let mut rig = two();
    rig.send(2, say(1, 1, "seen"));
    assert_eq!(rig.close(1), [""; 0]);
    rig.send(2, say(1, 2, "missed"));
    rig.wait(secs(5));
    assert_lines(
        &rig.resume(3, 1, 1),
        &[
            "event Resumed Foo",
            "open path 3: s1.0",
            r#"send 3: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 1 [Foo=s1.0 Bar=s1.1]; Said r1/2 Bar=s1.1 #2 "missed""#,
        ],
    );
    assert_lines(
        &rig.send(2, say(1, 3, "both")),
        &["send 2: Ack r1/3 #3", r#"send 3: Said r1/3 Bar=s1.1 #3 "both""#],
    );
}

#[test]
fn whoever_is_not_back_in_time_is_announced_and_may_still_come_back() {
    let mut rig = two();
    rig.close(1);
    rig.wait(limits::RESUME_GRACE - Duration::from_secs(2));
    rig.send(2, Kind::Pong(pb::Ping { token: 0 }));
    assert_lines(&rig.wait(secs(2)), &["event Left r1 Foo=s1.0 Lost", "send 2: Left r1 Foo=s1.0 Lost"]);
    assert_eq!((rig.server.hub().members(), rig.server.hub().gone()), (1, 1));
    assert_lines(
        &rig.resume(3, 1, 0),
        &[
            "event Joined r1 Foo=s1.0",
            "send 2: Joined r1 Foo=s1.0",
            "open path 3: s1.0",
            "send 3: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 0 [Bar=s1.1 Foo=s1.0]",
        ],
    );
    assert_eq!((rig.server.hub().members(), rig.server.hub().gone()), (2, 0));
}

#[test]
fn a_session_is_forgotten_after_an_hour_and_its_token_opens_nothing() {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    rig.close(1);
    rig.wait(limits::RESUME_GRACE + limits::RESUME_HOLD);
    assert_eq!((rig.server.hub().gone(), rig.server.poll_timeout()), (0, None));
    assert_lines(
        &rig.resume(2, 1, 1),
        &[
            "event Joined r1 Foo=s2.0",
            "open path 2: s2.0",
            "send 2: Welcome Foo=s2.0; Entered #1 lobby=1 at 0 [Foo=s2.0]",
        ],
    );
}

#[test]
fn a_hello_that_was_overtaken_by_a_later_one_takes_nothing_from_it() {
    let mut rig = two();
    rig.close(1);
    let hello = |rig: &ServerRig, attempt| {
        let resume = Some(pb::Resume { attempt, ..rig.resume_of(1) });
        Kind::Hello(pb::Hello { resume, ..rig.hello_again(1, 0, "Foo") })
    };
    let (early, late) = (hello(&rig, 2), hello(&rig, 3));
    rig.accept(3);
    rig.accept(4);
    let welcome = "send 4: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1]";
    let lines = rig.send(4, late);
    assert!(lines.iter().any(|line| line == welcome), "{lines:#?}");
    assert_lines(
        &rig.send(3, early),
        &["send 3: Refused Unknown \"\"", "close 3: the session goes on in a later connection"],
    );
    assert_lines(
        &rig.send(4, say(1, 1, "still here")),
        &["send 4: Ack r1/1 #1", r#"send 2: Said r1/1 Foo=s1.0 #1 "still here""#],
    );
}

#[test]
fn a_wrong_token_resumes_nothing() {
    let mut rig = two();
    rig.close(1);
    rig.accept(3);
    let mut hello = rig.hello_again(1, 2, "Foo");
    hello.resume.as_mut().unwrap().token[15] ^= 1;
    // The name of one who lost his connection goes to the newcomer, the session does not.
    assert_lines(
        &rig.send(3, Kind::Hello(hello)),
        &[
            "event Left r1 Foo=s1.0 Lost",
            "send 2: Left r1 Foo=s1.0 Lost",
            "event Joined r1 Foo=s1.2",
            "send 2: Joined r1 Foo=s1.2",
            "open path 3: s1.2",
            "send 3: Welcome Foo=s1.2; Entered #1 lobby=1 at 0 [Bar=s1.1 Foo=s1.2]",
        ],
    );
    // The former one may still resume, by another name.
    assert_lines(
        &rig.resume(4, 1, 0),
        &[r#"send 4: Refused NameTaken "Foo2""#, "close 4: that name is in use here; Foo2 would be free"],
    );
    assert_lines(
        &rig.resume_as(5, 1, 0, "Foo2"),
        &[
            "event Joined r1 Foo2=s1.0",
            "send 2,3: Joined r1 Foo2=s1.0",
            "open path 5: s1.0",
            "send 5: Welcome Foo2=s1.0 resumed; Entered #1 lobby=1 at 0 [Bar=s1.1 Foo=s1.2 Foo2=s1.0]",
        ],
    );
}

#[test]
fn a_refused_newcomer_takes_no_name_away() {
    let mut rig = two();
    rig.close(1);
    rig.accept(3);
    assert_lines(
        &rig.send(3, Kind::Hello(hello_in("Foo", [claim(1, "a:b")]))),
        &[
            r#"send 3: Refused RoomInvalid """#,
            "close 3: that room cannot be: a name cannot have a colon in it",
        ],
    );
    assert!(rig.resume(4, 1, 2)[0].starts_with("event Resumed"));
}

#[test]
fn a_session_on_a_second_connection_leaves_the_first() {
    let mut rig = two();
    assert_lines(
        &rig.resume(3, 1, 2),
        &[
            "send 1: Closing Replaced",
            "close 1: the session goes on in another connection",
            "event Resumed Foo",
            "open path 3: s1.0",
            "send 3: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1]",
        ],
    );
    // The end of the first connection is not the end of the session.
    assert_eq!(rig.close(1), [""; 0]);
    assert_lines(
        &rig.send(2, say(1, 1, "hi")),
        &["send 2: Ack r1/1 #1", r#"send 3: Said r1/1 Bar=s1.1 #1 "hi""#],
    );
}

#[test]
fn a_place_that_was_never_given_out_is_cut_to_the_last() {
    let mut rig = two();
    rig.close(1);
    let lines = rig.resume(3, 1, u64::MAX);
    assert_eq!(lines[2], "send 3: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1]");
}

#[test]
fn a_full_server_lets_nobody_in() {
    let mut rig = ServerRig::with_sessions(2);
    rig.join(1, "Foo");
    rig.join(2, "Bar");
    assert_lines(
        &rig.join(3, "Baz"),
        &[r#"send 3: Refused Full """#, "close 3: the server is full; try again later"],
    );
    rig.send(1, Kind::Quit(pb::Quit {}));
    assert_eq!(rig.join(4, "Baz").len(), 4);
}

#[test]
fn more_members_than_fit_into_one_frame_come_in_several() {
    let mut rig = ServerRig::new();
    let count = limits::MEMBERS_PER_FRAME as u32 + 1;
    for n in 0..count {
        rig.join(n, &format!("n{n}"));
    }
    let lines = rig.join(count, "last");
    let welcome = lines.last().unwrap();
    assert!(welcome.ends_with("; Members +2"), "{welcome}");
    assert_eq!(rig.entered_in(count, 1).members.len(), limits::MEMBERS_PER_FRAME);
}

#[test]
fn a_stopping_server_tells_everybody_and_lets_nobody_in() {
    let mut rig = two();
    rig.accept(3);
    assert_lines(
        &rig.input(Input::Shutdown),
        &[
            "send 1: Closing Shutdown",
            "close 1: the server is stopping",
            "send 2: Closing Shutdown",
            "close 2: the server is stopping",
            "send 3: Closing Shutdown",
            "close 3: the server is stopping",
        ],
    );
    assert_lines(&rig.accept(4), &["send 4: Closing Shutdown", "close 4: the server is stopping"]);
    assert_eq!(rig.input(Input::Shutdown), [""; 0]);
    assert_eq!(rig.server.poll_timeout(), None);
}

#[test]
fn the_default_room_has_a_place_though_others_take_all() {
    let mut rig = ServerRig::new();
    let in_room = |room: &str| Kind::Hello(hello_in("x", [claim(1, room)]));
    let mut refused = vec![];
    for n in 0..limits::ROOMS as u32 {
        rig.accept(n);
        let hello = hello_in(&format!("n{n}"), [claim(1, &format!("room {n}"))]);
        refused = rig.send(n, Kind::Hello(hello));
    }
    assert_eq!(refused[0], r#"send 255: Refused RoomsFull """#);
    assert_eq!(rig.join(1000, "Foo").len(), 3);
    assert_eq!(rig.server.hub().rooms(), limits::ROOMS);
    assert_eq!(rig.server.audit(), Ok(()));
    rig.accept(1001);
    assert_eq!(rig.send(1001, in_room("room 255"))[0], r#"send 1001: Refused RoomsFull """#);
    // A room that is empty gives way, but not the default one.
    rig.close(1000);
    rig.close(5);
    rig.wait(limits::RESUME_GRACE);
    rig.accept(1002);
    assert_eq!(rig.send(1002, in_room("room 255")).len(), 3);
    let back = rig.resume(1003, 1000, 1);
    assert!(back[2].ends_with(" resumed; Entered #1 lobby=256 at 0 [Foo=s2.255]"), "{back:?}");
}

#[test]
fn a_suggestion_is_free_though_small_numbers_are_taken() {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    for n in 2..10 {
        rig.join(n, &format!("Foo{n}"));
    }
    let refused = rig.join(10, "Foo");
    let (_, suggestion) = refused[1].trim_end_matches(" would be free").split_once("; ").unwrap();
    assert_eq!(rig.join(11, suggestion).len(), 4, "{suggestion}");
}

#[test]
fn of_those_who_are_gone_the_oldest_are_forgotten_first() {
    let mut rig = ServerRig::new();
    let total = limits::HELD_SESSIONS as u32 + 100;
    for peer in 0..total {
        rig.join(peer, &format!("n{peer}"));
        rig.close(peer);
        if peer % 100 == 99 || peer + 1 == total {
            rig.wait(limits::RESUME_GRACE);
        }
    }
    assert_eq!((rig.server.hub().members(), rig.server.hub().gone()), (0, limits::HELD_SESSIONS));
    assert_eq!(rig.server.audit(), Ok(()));
    let last = u64::MAX;
    assert!(rig.resume(total, 0, last)[0].starts_with("event Joined"));
    assert!(rig.resume(total + 1, 99, last).iter().any(|line| line.starts_with("event Joined")));
    assert!(rig.resume(total + 2, 100, last).iter().any(|line| line.contains(" resumed; Entered")));
}
