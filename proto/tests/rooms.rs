//! The server as a table: several rooms for one session, private ones, names, marks, topics.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use chinwag_proto::{
    Duration, Peer, RoomId, Seq,
    history::KeepError,
    limits,
    server::{Dialect, Input, Output},
    wire::{
        chinwag1::{self as pb, to_server::Kind},
        path::DatagramKind,
    },
};
use common::{
    ServerRig, assert_lines, claim, hello, hello_in, say, secs, server_output, session, to_server, voice,
    whisper,
};

const NOTHING: [&str; 0] = [];
/// What is between the first two who are alone.
const P0: u32 = 1 << 24;
const P1: u32 = P0 + 1;
const NOT_HERE: &str = "nobody of that name is here; try again when he is back";
const OVER: &str = "one of you left for good, or the server was started again; you can begin anew";

/// Foo, Bar, Baz as peers 1 to 3 and sessions s1.0 to s1.2 in the lobby.
fn three() -> ServerRig {
    three_at(ServerRig::new())
}

fn three_at(mut rig: ServerRig) -> ServerRig {
    for (peer, name) in [(1, "Foo"), (2, "Bar"), (3, "Baz")] {
        rig.join(peer, name);
    }
    rig
}

/// Those, and Foo and Bar have opened what is between them.
fn whispering() -> ServerRig {
    let mut rig = three();
    rig.send(1, join_with(7, "Bar"));
    rig
}

fn join(key: u32, room: &str) -> Kind {
    Kind::Join(claim(key, room))
}

fn join_with(key: u32, name: &str) -> Kind {
    Kind::Join(whisper(key, name))
}

fn part(room: u32) -> Kind {
    Kind::Part(pb::Part { room })
}

fn voice_in(room: u32) -> Kind {
    Kind::VoiceRoom(pb::VoiceRoom { room })
}

fn topic(room: u32, text: &str) -> Kind {
    Kind::Topic(pb::SetTopic { room, text: text.to_owned() })
}

fn name(name: &str) -> Kind {
    Kind::Name(pb::SetName { name: name.to_owned() })
}

fn marks(muted: bool, deafened: bool) -> Kind {
    Kind::Marks(pb::Marks { muted, deafened })
}

fn quit() -> Kind {
    Kind::Quit(pb::Quit {})
}

fn ask(room: u32, words: &str) -> Kind {
    Kind::History(pb::HistoryRequest { room, before: 0, limit: 9, words: words.into(), token: 4 })
}

fn talk(rig: &mut ServerRig, peer: u32) -> Vec<String> {
    rig.datagram(peer, DatagramKind::Voice, &voice(session(1, peer - 1), 7, &[1]))
}

/// Its connection is lost, and the others are told that it is gone.
fn lose_for_long(rig: &mut ServerRig, peer: u32) {
    rig.close(peer);
    for _ in 0..4 {
        rig.wait(limits::RESUME_GRACE / 4);
        (1..4).for_each(|peer| drop(rig.send(peer, Kind::Pong(pb::Ping { token: 0 }))));
    }
}

/// Comes back with these claims.
fn back(
    rig: &mut ServerRig,
    peer: u32,
    former: u32,
    claims: impl IntoIterator<Item = pb::Claim>,
) -> Vec<String> {
    let name = rig.welcome(former).name.clone();
    let hello = rig.hello_again_in(former, &name, claims);
    rig.accept(peer);
    rig.send(peer, Kind::Hello(hello))
}

// Several rooms.

#[test]
fn whoever_claims_several_rooms_is_told_of_each_in_turn() {
    let mut rig = three();
    rig.send(3, join(2, "den"));
    rig.accept(4);
    let rooms = [claim(5, "den"), claim(6, ""), claim(7, "a:b"), claim(8, "attic")];
    assert_lines(
        &rig.send(4, Kind::Hello(hello_in("Qux", rooms))),
        &[
            "event Joined r2 Qux=s1.3",
            "send 3: Joined r2 Qux=s1.3",
            "event Joined r1 Qux=s1.3",
            "send 1,2,3: Joined r1 Qux=s1.3@r2",
            "event Joined r3 Qux=s1.3",
            "open path 4: s1.3",
            "send 4: Welcome Qux=s1.3; Entered #5 den=2 at 0 [Baz=s1.2@r1 Qux=s1.3]; \
             Entered #6 lobby=1 at 0 [Foo=s1.0 Bar=s1.1 Baz=s1.2 Qux=s1.3@r2]; \
             NotEntered #7 that room cannot be: a name cannot have a colon in it; \
             Entered #8 attic=3 at 0 [Qux=s1.3@r2]",
        ],
    );
}

#[test]
fn a_room_that_is_joined_later_is_like_any_other() {
    let mut rig = three();
    assert_lines(
        &rig.send(1, join(2, "Den")),
        &["event Joined r2 Foo=s1.0", "send 1: Entered #2 Den=2 at 0 [Foo=s1.0@r1]"],
    );
    assert_lines(
        &rig.send(2, join(9, "dEN")),
        &[
            "event Joined r2 Bar=s1.1",
            "send 1: Joined r2 Bar=s1.1@r1",
            "send 2: Entered #9 Den=2 at 0 [Foo=s1.0@r1 Bar=s1.1@r1]",
        ],
    );
    // Each room has its own numbers, its own listeners, and one order of its messages.
    assert_lines(
        &rig.send(1, say(2, 1, "a")),
        &["send 1: Ack r2/1 #1", r#"send 2: Said r2/1 Foo=s1.0 #1 "a""#],
    );
    assert_lines(
        &rig.send(1, say(1, 2, "b")),
        &["send 1: Ack r1/1 #2", r#"send 2,3: Said r1/1 Foo=s1.0 #2 "b""#],
    );
    assert_lines(
        &rig.send(2, say(2, 1, "c")),
        &["send 2: Ack r2/2 #1", r#"send 1: Said r2/2 Bar=s1.1 #1 "c""#],
    );
    assert_lines(&rig.send(3, say(2, 1, "d")), &["send 3: Nack #1 you are not in that room"]);
}

#[test]
fn a_room_that_one_is_in_is_entered_again_without_a_word_to_others() {
    let mut rig = three();
    assert_lines(
        &rig.send(1, join(2, "LOBBY")),
        &["send 1: Entered #2 lobby=1 at 0 [Foo=s1.0 Bar=s1.1 Baz=s1.2]"],
    );
    rig.accept(4);
    let lines = rig.send(4, Kind::Hello(hello_in("Qux", [claim(1, "den"), claim(2, "den")])));
    assert_lines(
        &lines,
        &[
            "event Joined r2 Qux=s1.3",
            "open path 4: s1.3",
            "send 4: Welcome Qux=s1.3; Entered #1 den=2 at 0 [Qux=s1.3]; Entered #2 den=2 at 0 []",
        ],
    );
    assert_eq!(rig.server.hub().rooms_of(session(1, 3)), [RoomId::from_wire(2)]);
}

#[test]
fn whoever_parts_hears_no_more_of_that_room_and_goes_on_in_the_others() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    assert_lines(&rig.send(1, part(2)), &["event Left r2 Foo=s1.0 Quit", "send 2: Left r2 Foo=s1.0 Quit"]);
    assert_lines(&rig.send(2, say(2, 1, "alone")), &["send 2: Ack r2/1 #1"]);
    assert_lines(&rig.send(1, say(2, 1, "x")), &["send 1: Nack #1 you are not in that room"]);
    assert_eq!(rig.send(1, say(1, 2, "still here")).len(), 2);
    for room in [2, 9, 0, P0, u32::MAX] {
        assert_lines(&rig.send(1, part(room)), &NOTHING);
    }
    // With its last member a room ends: the next of that name is another.
    rig.send(2, part(2));
    let lines = rig.send(1, join(3, "den"));
    assert_eq!(lines.last().unwrap(), "send 1: Entered #3 den=3 at 0 [Foo=s1.0@r1]");
}

#[test]
fn who_is_in_no_room_is_still_there() {
    let mut rig = three();
    rig.send(1, part(1));
    assert_lines(
        &rig.send(2, say(1, 1, "x")),
        &["send 2: Ack r1/1 #1", r#"send 3: Said r1/1 Bar=s1.1 #1 "x""#],
    );
    assert_eq!(rig.server.hub().members(), 3);
    assert!(rig.send(1, join(2, "")).last().unwrap().starts_with("send 1: Entered #2 lobby=1 at 1"));
    // One who claims none from the beginning, too.
    rig.accept(4);
    assert_lines(
        &rig.send(4, Kind::Hello(hello_in("Qux", []))),
        &["open path 4: s1.3", "send 4: Welcome Qux=s1.3"],
    );
    rig.close(4);
    assert_lines(
        &back(&mut rig, 5, 4, []),
        &["event Resumed Qux", "open path 5: s1.3", "send 5: Welcome Qux=s1.3 resumed"],
    );
}

#[test]
fn one_is_in_so_many_rooms_and_no_more() {
    let mut rig = three();
    for n in 2..=limits::ROOMS_EACH as u32 {
        assert_eq!(rig.send(1, join(n, &format!("room {n}"))).len(), 2);
        rig.now = rig.now + limits::CHANGE_COST;
    }
    let full = format!(
        "send 1: NotEntered #99 you are in {} rooms already; leave one of them first",
        limits::ROOMS_EACH
    );
    assert_lines(&rig.send(1, join(99, "one more")), &[&full]);
    assert_eq!(rig.server.hub().rooms(), limits::ROOMS_EACH);
    // One that he is in is none more, and what is between two is no room with a name.
    assert!(rig.send(1, join(98, "room 3"))[0].contains("Entered #98 room 3=3"));
    assert!(rig.send(1, join_with(97, "Bar")).last().unwrap().starts_with("send 1: Entered #97 p0"));
    rig.send(1, part(3));
    assert!(rig.send(1, join(99, "one more")).last().unwrap().contains("Entered #99 one more"));
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_claim_takes_no_place_from_the_one_before_it_when_rooms_are_full() {
    let mut rig = ServerRig::new();
    let claims = |from: u32| (from..from + limits::ROOMS_EACH as u32).map(|n| claim(n, &format!("room {n}")));
    let each = limits::ROOMS_EACH as u32;
    // One place is kept for the default room.
    for peer in 0..limits::ROOMS as u32 / each - 1 {
        rig.accept(peer);
        rig.send(peer, Kind::Hello(hello_in(&format!("n{peer}"), claims(1 + peer * each))));
    }
    let first = limits::ROOMS as u32 - each + 1;
    assert_eq!(rig.server.hub().rooms() as u32, first - 1);
    rig.accept(900);
    let lines = rig.send(900, Kind::Hello(hello_in("last", claims(first))));
    let told = lines.last().unwrap();
    assert_eq!(told.matches("Entered #").count() as u32, each);
    let full = format!(
        "NotEntered #{} the server has no place for another room; join one that exists",
        limits::ROOMS
    );
    assert_eq!((told.matches("NotEntered").count(), told.ends_with(&full)), (1, true), "{told}");
    assert_eq!(rig.server.audit(), Ok(()));
    // Rooms that are empty give way, one for each claim.
    for peer in [0, 1] {
        rig.close(peer);
    }
    rig.wait(limits::RESUME_GRACE);
    rig.accept(901);
    let lines = rig.send(901, Kind::Hello(hello_in("newer", claims(1000))));
    assert!(!lines.last().unwrap().contains("NotEntered"), "{lines:?}");
    assert_eq!(
        rig.server.hub().rooms_of(rig.server.hub().session_named("newer").unwrap()).len() as u32,
        each
    );
    assert_eq!(rig.server.audit(), Ok(()));
}

// Coming back.

#[test]
fn what_was_missed_in_each_room_follows_it() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    rig.send(2, say(1, 1, "seen"));
    rig.close(1);
    rig.send(2, say(2, 2, "a"));
    rig.send(2, say(1, 3, "b"));
    rig.send(2, say(2, 4, "c"));
    let claims = [rig.claim_again(1, 1, 1, 1), rig.claim_again(1, 2, 2, 0)];
    assert_lines(
        &back(&mut rig, 4, 1, claims),
        &[
            "event Resumed Foo",
            "open path 4: s1.0",
            "send 4: Welcome Foo=s1.0 resumed; \
             Entered #1 lobby=1 at 1 [Foo=s1.0 Bar=s1.1 Baz=s1.2]; Said r1/2 Bar=s1.1 #3 \"b\"; \
             Entered #2 den=2 at 0 [Foo=s1.0@r1 Bar=s1.1@r1]; Said r2/1 Bar=s1.1 #2 \"a\"; Said r2/2 Bar=s1.1 #4 \"c\"",
        ],
    );
}

#[test]
fn a_hello_is_the_whole_truth_of_rooms_voice_and_marks() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    rig.close(1);
    // A Part of the den, a Join of the attic and what he wants to be were lost on their way.
    let claims = [rig.claim_again(1, 1, 1, 0), claim(3, "attic")];
    let marks = Some(pb::Marks { muted: true, deafened: false });
    let hello = pb::Hello { voice: 3, marks, ..rig.hello_again_in(1, "Foo", claims) };
    rig.accept(4);
    assert_lines(
        &rig.send(4, Kind::Hello(hello)),
        &[
            "event Left r2 Foo=s1.0 Quit",
            "send 2: Left r2 Foo=s1.0 Quit",
            "event Joined r3 Foo=s1.0",
            "send 2,3: Changed Foo=s1.0@r3!muted",
            "event Resumed Foo",
            "open path 4: s1.0",
            "send 4: Welcome Foo=s1.0 resumed; \
             Entered #1 lobby=1 at 0 [Foo=s1.0@r3!muted Bar=s1.1 Baz=s1.2]; Entered #3 attic=3 at 0 [Foo=s1.0!muted]",
        ],
    );
    assert_lines(&talk(&mut rig, 4), &NOTHING);
}

#[test]
fn who_is_in_as_many_rooms_as_one_may_be_may_have_left_one_for_another() {
    let mut rig = three();
    for n in 2..=limits::ROOMS_EACH as u32 {
        rig.send(1, join(n, &format!("room {n}")));
        rig.now = rig.now + limits::CHANGE_COST;
    }
    rig.close(1);
    let claims: Vec<_> = (3..=limits::ROOMS_EACH as u32).map(|n| claim(n, &format!("ROOM {n}"))).collect();
    let claims = [&[claim(1, ""), claim(2, "another")], &claims[..]].concat();
    let lines = back(&mut rig, 4, 1, claims);
    assert!(!lines.last().unwrap().contains("NotEntered"), "{lines:?}");
    assert_eq!(rig.server.hub().rooms_of(session(1, 0)).len(), limits::ROOMS_EACH);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn who_was_gone_appears_in_all_of_his_rooms() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    lose_for_long(&mut rig, 1);
    let claims = [rig.claim_again(1, 1, 1, 0), rig.claim_again(1, 2, 2, 0)];
    assert_lines(
        &back(&mut rig, 4, 1, claims),
        &[
            "event Joined r1 Foo=s1.0",
            "send 2,3: Joined r1 Foo=s1.0",
            "event Joined r2 Foo=s1.0",
            "send 2: Joined r2 Foo=s1.0@r1",
            "open path 4: s1.0",
            "send 4: Welcome Foo=s1.0 resumed; Entered #1 lobby=1 at 0 [Bar=s1.1 Baz=s1.2 Foo=s1.0]; \
             Entered #2 den=2 at 0 [Bar=s1.1@r1 Foo=s1.0@r1]",
        ],
    );
}

#[test]
fn none_of_whose_claims_can_be_is_not_let_in_and_takes_no_place() {
    let mut rig = three();
    rig.accept(4);
    let claims = [whisper(1, "nobody"), claim(2, "a:b")];
    assert_lines(
        &rig.send(4, Kind::Hello(hello_in("Qux", claims))),
        &[r#"send 4: Refused Unknown """#, &format!("close 4: {NOT_HERE}")],
    );
    assert_eq!((rig.server.hub().members(), rig.server.audit()), (3, Ok(())));
    // But who was let in before is, wherever he is.
    rig.close(1);
    let lines = back(&mut rig, 5, 1, [whisper(1, "nobody")]);
    assert_eq!(lines.last().unwrap(), &format!("send 5: Welcome Foo=s1.0 resumed; NotEntered #1 {NOT_HERE}"));
}

#[test]
fn of_more_claims_than_there_may_be_the_last_do_not_count() {
    let mut rig = ServerRig::new();
    rig.accept(1);
    let claims = (1..=limits::CLAIMS as u32 + 5).map(|key| claim(key, "den"));
    let lines = rig.send(1, Kind::Hello(hello_in("Foo", claims)));
    assert_eq!(lines.last().unwrap().matches("Entered").count(), limits::CLAIMS);
}

#[test]
fn the_largest_hello_of_a_client_is_taken() {
    let mut rig = ServerRig::new();
    rig.accept(1);
    let long = "\u{1f600}".repeat(limits::NAME_CHARS);
    let claims = (0..limits::CLAIMS as u32).map(|n| {
        let (name, with) = if n < 16 { (long.clone(), String::new()) } else { (String::new(), long.clone()) };
        pb::Claim { key: u32::MAX - n, name, with, epoch: u64::MAX, last_seq: u64::MAX, room: u32::MAX }
    });
    let resume = Some(pb::Resume { session: u32::MAX, token: vec![7; 16], attempt: u64::MAX });
    let hello =
        pb::Hello { resume, author: vec![7; 16], software: "x".repeat(256), ..hello_in(&long, claims) };
    let bytes = to_server([Kind::Hello(hello)]);
    assert!(bytes.len() < limits::HELLO_BYTES, "{}", bytes.len());
    let lines = rig.receive(1, &bytes);
    assert!(lines.last().unwrap().starts_with("send 1: Welcome"), "{lines:?}");
}

#[test]
fn what_is_told_again_is_bounded_for_all_rooms_together() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    rig.close(1);
    let text = "x".repeat(limits::MESSAGE_BYTES);
    let count = limits::HISTORY_MESSAGES as u64;
    for id in 1..=count {
        for room in [1, 2] {
            rig.send(2, say(room, 2 * id + u64::from(room), &text));
            rig.now = rig.now + Duration::from_millis(40);
            rig.timeout();
        }
        rig.send(3, Kind::Pong(pb::Ping { token: 0 }));
    }
    let claims = [rig.claim_again(1, 1, 1, 0), rig.claim_again(1, 2, 2, 0)];
    let lines = back(&mut rig, 4, 1, claims);
    let told = lines.last().unwrap();
    // Each has its half; the place from which on it is told shows that there is a gap.
    assert_eq!(told.matches("Said").count() as u64, count);
    for room in ["lobby=1", "den=2"] {
        assert!(told.contains(&format!("{room} at {}", count / 2)), "{}", &told[..200]);
    }
    assert!(told.len() < limits::CONTROL_QUEUE_BYTES);
}

#[test]
fn the_operator_is_told_what_a_room_was_called_that_is_gone_when_he_reads_it() {
    let mut rig = three();
    rig.server.seat_operator();
    let all = [join(2, "den"), topic(2, "moles"), say(2, 1, "anybody?"), part(2)];
    rig.feed(Input::Received { peer: Peer::new(1), bytes: &to_server(all) });
    assert_eq!(rig.server.hub().name_of_room(RoomId::from_wire(2)), None);
    let (mut events, mut names) = (vec![], vec![]);
    while let Some(output) = rig.server.poll_output() {
        if let Output::Event(event) = &output {
            events.push(server_output(&output));
            names.push(event.room_name().unwrap().to_string());
        }
    }
    assert_lines(
        &events,
        &[
            "event Joined r2 Foo=s1.0",
            "event Topic r2 Foo \"moles\"",
            "event Said r2/1 Foo=s1.0 \"anybody?\"",
            "event Left r2 Foo=s1.0 Quit",
        ],
    );
    assert_eq!(names, ["den"; 4]);
}

// Voice.

#[test]
fn voice_goes_to_those_who_listen_in_the_same_room() {
    let mut rig = three();
    for peer in 1..=3 {
        rig.send(peer, join(2, "den"));
    }
    assert_lines(&talk(&mut rig, 1), &["send voice 2,3: Voice s1.0 #7 [1]"]);
    assert_lines(&rig.send(1, voice_in(2)), &["send 1,2,3: Changed Foo=s1.0@r2"]);
    assert_lines(&talk(&mut rig, 1), &NOTHING);
    assert_lines(&talk(&mut rig, 2), &["send voice 3: Voice s1.1 #7 [1]"]);
    rig.send(3, voice_in(2));
    assert_lines(&talk(&mut rig, 1), &["send voice 3: Voice s1.0 #7 [1]"]);
    assert_lines(&rig.send(3, voice_in(2)), &NOTHING);
    // To be in a room is not to be heard there; and nobody talks where he is not.
    assert_lines(&rig.send(3, voice_in(0)), &["send 1,2,3: Changed Baz=s1.2@nowhere"]);
    assert_lines(&talk(&mut rig, 3), &NOTHING);
    rig.send(2, part(2));
    assert_lines(&rig.send(2, voice_in(2)), &["send 1,2,3: Changed Bar=s1.1@nowhere"]);
    assert_lines(&talk(&mut rig, 1), &NOTHING);
}

#[test]
fn who_leaves_the_room_in_which_he_talks_talks_nowhere() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    assert_lines(
        &rig.send(1, part(1)),
        &[
            "event Left r1 Foo=s1.0 Quit",
            "send 2,3: Left r1 Foo=s1.0 Quit",
            "send 1,2: Changed Foo=s1.0@nowhere",
        ],
    );
    assert_lines(&talk(&mut rig, 1), &NOTHING);
    assert_lines(&talk(&mut rig, 2), &["send voice 3: Voice s1.1 #7 [1]"]);
}

#[test]
fn the_relay_is_told_before_the_others_are() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.feed(Input::Received { peer: Peer::new(1), bytes: &to_server([voice_in(2), part(2), voice_in(1)]) });
    let mut lines = vec![];
    while let Some(output) = rig.server.poll_output() {
        lines.push(server_output(&output));
    }
    assert_lines(
        &lines,
        &[
            "move s1.0 r2",
            "send 1,2,3: Changed Foo=s1.0@r2",
            "event Left r2 Foo=s1.0 Quit",
            "move s1.0 nowhere",
            "send 1,2,3: Changed Foo=s1.0@nowhere",
            "move s1.0 r1",
            "send 1,2,3: Changed Foo=s1.0@r1",
        ],
    );
}

#[test]
fn voice_of_a_connection_says_in_which_room_it_was_said() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    let said = |sequence| Kind::Voice(voice(session(1, 0), sequence, &[1]));
    let bytes = to_server([said(1), voice_in(2), said(2), voice_in(0), said(3)]);
    rig.feed(Input::Received { peer: Peer::new(1), bytes: &bytes });
    let mut lines = vec![];
    while let Some(output) = rig.server.poll_output() {
        if matches!(output, Output::Relay(_)) {
            lines.push(server_output(&output));
        }
    }
    assert_lines(
        &lines,
        &[
            "talk s1.0@r1: s1.0 #1 [1]",
            "move s1.0 r2",
            "talk s1.0@r2: s1.0 #2 [1]",
            "move s1.0 nowhere",
            "talk s1.0@nowhere: s1.0 #3 [1]",
        ],
    );
}

#[test]
fn who_talks_nowhere_gets_a_path_without_a_room() {
    let mut rig = three();
    let hello = pb::Hello { voice: 9, ..hello("Qux") };
    rig.feed(Input::Accepted { peer: Peer::new(4), dialect: Dialect::Native });
    rig.feed(Input::Received { peer: Peer::new(4), bytes: &to_server([Kind::Hello(hello)]) });
    let mut rooms = vec![];
    while let Some(output) = rig.server.poll_output() {
        if let Output::OpenPath { room, .. } = output {
            rooms.push(room);
        }
        rig.voice.obey(rig.now, &output);
    }
    assert_eq!(rooms, [None]);
    assert_lines(&talk(&mut rig, 1), &["send voice 2,3: Voice s1.0 #7 [1]"]);
}

#[test]
fn reports_are_taken_from_those_alone_who_hear() {
    let mut rig = three();
    rig.send(2, join(2, "den"));
    rig.send(2, voice_in(2));
    let report = |talker| {
        let talker = session(1, talker).to_wire();
        Kind::VoiceReport(pb::VoiceReport { talker, lost_per_mille: 50, ..Default::default() })
    };
    // Both are in the lobby, and Bar hears another room.
    assert_lines(&rig.send(2, report(0)), &NOTHING);
    assert_eq!(rig.send(3, report(0)).len(), 1);
    rig.send(1, voice_in(0));
    rig.send(3, voice_in(0));
    rig.now = rig.now + limits::REPORT_INTERVAL;
    assert_lines(&rig.send(3, report(0)), &NOTHING);
    assert_eq!(rig.server.stats().reports_dropped, 2);
}

// Names and marks.

#[test]
fn a_new_name_is_told_once_to_all_who_share_a_room() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(2, join(2, "den"));
    rig.accept(4);
    rig.send(4, Kind::Hello(hello_in("Qux", [claim(1, "elsewhere")])));
    assert_lines(
        &rig.send(1, name("  Fred ")),
        &["event Renamed Foo Fred=s1.0", "send 1,2,3: Changed Fred=s1.0@r1"],
    );
    assert_lines(
        &rig.send(1, say(1, 1, "x")),
        &["send 1: Ack r1/1 #1", r#"send 2,3: Said r1/1 Fred=s1.0 #1 "x""#],
    );
    // The former one is free.
    assert_eq!(rig.send(4, name("Foo")).len(), 2);
    assert_eq!(rig.server.hub().session_named("foo"), Some(session(1, 3)));
}

#[test]
fn a_name_of_another_or_that_is_none_is_not_taken() {
    let mut rig = three();
    assert_lines(
        &rig.send(1, name("BAR")),
        &["send 1: NotDone that name is in use here; BAR2 would be free"],
    );
    assert_lines(&rig.send(1, name(" ")), &["send 1: NotDone a name needs at least one visible character"]);
    // One's own, otherwise spelt, is one's own.
    assert_lines(
        &rig.send(1, name("fOO")),
        &["event Renamed Foo fOO=s1.0", "send 1,2,3: Changed fOO=s1.0@r1"],
    );
    assert_lines(&rig.send(1, name("fOO")), &["send 1,2,3: Changed fOO=s1.0@r1"]);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn the_name_of_one_whose_connection_is_lost_can_be_taken() {
    let mut rig = three();
    rig.close(2);
    assert_lines(
        &rig.send(1, name("Bar")),
        &[
            "event Left r1 Bar=s1.1 Lost",
            "send 1,3: Left r1 Bar=s1.1 Lost",
            "event Renamed Foo Bar=s1.0",
            "send 1,3: Changed Bar=s1.0@r1",
        ],
    );
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_name_that_was_lost_on_its_way_is_taken_with_the_hello_if_it_is_free() {
    for (wanted, expected) in [("Fred", "Fred"), ("Bar", "Foo"), (" ", "Foo")] {
        let mut rig = three();
        rig.close(1);
        let lines = rig.resume_as(4, 1, 0, wanted);
        let changed = format!("send 2,3: Changed {expected}=s1.0@r1");
        assert_eq!(lines.contains(&changed), expected != "Foo", "{lines:?}");
        assert!(
            lines.last().unwrap().starts_with(&format!("send 4: Welcome {expected}=s1.0 resumed")),
            "{lines:?}"
        );
        assert_eq!(rig.server.audit(), Ok(()));
    }
}

#[test]
fn marks_are_told_when_they_change_and_to_newcomers() {
    let mut rig = three();
    assert_lines(&rig.send(1, marks(true, false)), &["send 1,2,3: Changed Foo=s1.0@r1!muted"]);
    assert_lines(&rig.send(1, marks(true, false)), &NOTHING);
    assert_lines(&rig.send(1, marks(true, true)), &["send 1,2,3: Changed Foo=s1.0@r1!both"]);
    rig.accept(4);
    let hello = pb::Hello { marks: Some(pb::Marks { muted: false, deafened: true }), ..hello("Qux") };
    let lines = rig.send(4, Kind::Hello(hello));
    assert_eq!(lines[1], "send 1,2,3: Joined r1 Qux=s1.3!deafened");
    assert!(lines[3].ends_with("[Foo=s1.0!both Bar=s1.1 Baz=s1.2 Qux=s1.3!deafened]"), "{lines:?}");
    // Marks are for others to know: the relay does as before.
    assert_eq!(talk(&mut rig, 1).len(), 1);
}

#[test]
fn what_many_are_told_of_costs_its_author() {
    for kind in [
        join(2, "den"),
        part(7),
        voice_in(0),
        topic(1, "x"),
        name("Fred"),
        marks(true, true),
        Kind::ListRooms(pb::ListRooms {}),
    ] {
        let mut rig = three();
        let many = limits::CONTROL_BURST.as_millis() / limits::CHANGE_COST.as_millis() + 2;
        let lines = rig.receive(1, &to_server(vec![kind.clone(); many as usize]));
        assert_eq!(lines.last().unwrap(), "pause 1", "{kind:?}");
        assert_eq!(rig.server.audit(), Ok(()));
    }
}

#[test]
fn nobody_changes_anything_before_his_hello() {
    for kind in [
        join(2, "den"),
        part(1),
        voice_in(1),
        topic(1, "x"),
        name("Fred"),
        marks(true, true),
        Kind::ListRooms(pb::ListRooms {}),
    ] {
        let mut rig = three();
        rig.accept(4);
        assert_lines(
            &rig.send(4, kind),
            &["send 4: Closing ProtocolError", "close 4: a message came where it has no place"],
        );
    }
}

// Topics.

#[test]
fn a_topic_is_told_to_all_in_the_room_and_to_newcomers() {
    let mut rig = three();
    rig.send(3, join(2, "den"));
    rig.send(3, part(1));
    assert_lines(
        &rig.send(1, topic(1, " tea at five \t")),
        &[r#"event Topic r1 Foo "tea at five""#, r#"send 1,2: Topic r1 "tea at five" by Foo"#],
    );
    let lines = rig.send(3, join(3, ""));
    assert!(lines.last().unwrap().ends_with(r#" about "tea at five" by Foo"#), "{lines:?}");
    // It says who said so even when he is called otherwise.
    rig.send(1, name("Fred"));
    assert_lines(
        &rig.send(2, topic(1, "")),
        &[r#"event Topic r1 Bar """#, r#"send 1,2,3: Topic r1 "" by Bar"#],
    );
    assert!(!rig.send(3, join(4, "")).concat().contains("about"));
}

#[test]
fn a_topic_that_all_know_is_neither_told_nor_kept() {
    let mut rig = three();
    assert_lines(&rig.send(1, topic(1, " ")), &NOTHING);
    rig.send(1, topic(1, "tea"));
    assert_lines(&rig.send(2, topic(1, "tea ")), &NOTHING);
    // Where topics are kept, the newest may not be known yet, nor ever be.
    let mut rig = three_at(ServerRig::lasting());
    assert_lines(&rig.send(1, topic(1, "")), &NOTHING);
    rig.send(1, topic(1, "tea"));
    assert_eq!(rig.send(1, topic(1, "")).len(), 1);
    rig.keep_all();
    assert_lines(&rig.send(1, topic(1, "")), &NOTHING);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn what_is_no_topic_or_elsewhere_is_refused() {
    let mut rig = whispering();
    rig.send(2, join(2, "den"));
    let long = "x".repeat(limits::TOPIC_BYTES + 1);
    for (room, text, why) in [
        (2, "x", "you are not in that room"),
        (9, "x", "you are not in that room"),
        (P0, "x", "you are not in that room"),
        (1, "two\nlines", "a topic has one line"),
        (1, &long, "a topic has at most 400 bytes; say it in fewer words"),
    ] {
        assert_lines(&rig.send(1, topic(room, text)), &[&format!("send 1: NotDone {why}")]);
    }
    assert_eq!(rig.send(1, topic(1, &long[1..])).len(), 2);
}

#[test]
fn a_topic_is_kept_before_it_is_told() {
    let mut rig = three_at(ServerRig::lasting());
    assert_lines(&rig.send(1, topic(1, "tea")), &["keep 0: room 1 lobby", r#"keep 0: topic r1 Foo "tea""#]);
    assert!(!rig.send(2, join(2, "")).concat().contains("about"), "nobody knows it yet");
    assert_lines(&rig.keep(1), &NOTHING);
    assert_lines(&rig.keep(1), &[r#"event Topic r1 Foo "tea""#, r#"send 1,2,3: Topic r1 "tea" by Foo"#]);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_topic_that_cannot_be_kept_is_told_to_nobody_and_its_author_is_told_so() {
    let mut rig = three_at(ServerRig::lasting());
    rig.send(1, topic(1, "tea"));
    rig.keep_all();
    rig.send(1, topic(1, "coffee"));
    assert_eq!(
        rig.refuse(KeepError::Full),
        ["send 1: NotDone the server cannot keep it, its disk is full; try again later"]
    );
    assert!(rig.send(2, join(2, "")).concat().contains(r#"about "tea""#));
    rig.send(1, topic(1, "coffee"));
    assert_eq!(rig.keep_all().len(), 2);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_room_with_a_topic_stays_and_is_there_after_a_restart() {
    let mut rig = three_at(ServerRig::lasting());
    rig.send(1, join(2, "den"));
    rig.send(1, topic(2, "tea"));
    rig.send(1, say(2, 1, "too old soon"));
    rig.keep_all();
    rig.send(1, part(2));
    assert_lines(&rig.expire(2, 2), &NOTHING);
    assert_eq!(rig.server.hub().rooms(), 2);
    let mut rig = rig.restart(9);
    assert_lines(&rig.drain(), &NOTHING);
    rig.join(4, "Foo");
    let lines = rig.send(4, join(2, "den"));
    assert_eq!(lines.last().unwrap(), r#"send 4: Entered #2 den=2 at 1 [Foo=s1.0@r3] about "tea" by Foo"#);
    // Without a topic, and nothing in it, it goes with its last member.
    assert_lines(&rig.send(4, topic(2, "  ")), &[r#"keep 0: topic r2 Foo """#]);
    rig.keep_all();
    assert_lines(&rig.send(4, part(2)), &["event Left r2 Foo=s1.0 Quit", "keep 0: gone 2"]);
    rig.keep_all();
    assert_eq!((rig.shelf.rooms().count(), rig.server.audit()), (0, Ok(())));
}

#[test]
fn a_topic_that_waits_keeps_its_room_though_its_author_leaves_at_once() {
    for leaves in [part(2), quit()] {
        for is_kept in [true, false] {
            let mut rig = three_at(ServerRig::lasting());
            rig.send(1, join(2, "den"));
            rig.receive(1, &to_server([topic(2, "tea"), leaves.clone()]));
            assert_eq!((rig.server.hub().rooms(), rig.server.audit()), (2, Ok(())));
            if is_kept {
                rig.keep_all();
                assert!(rig.send(2, join(2, "den")).concat().contains(r#"about "tea""#));
            } else {
                rig.refuse(KeepError::Failed);
                assert_eq!((rig.server.hub().rooms(), rig.unkept.len()), (1, 0));
            }
            assert_eq!(rig.server.audit(), Ok(()));
        }
    }
}

#[test]
fn in_memory_alone_a_topic_ends_with_its_room() {
    let mut rig = three();
    rig.send(1, join(2, "den"));
    rig.send(1, topic(2, "tea"));
    rig.send(1, part(2));
    assert_eq!(rig.server.hub().rooms(), 1);
    assert!(!rig.send(1, join(2, "den")).concat().contains("about"));
}

// The list of rooms.

#[test]
fn all_rooms_with_a_name_are_listed_in_as_many_frames_as_that_takes() {
    let list = Kind::ListRooms(pb::ListRooms {});
    let mut rig = whispering();
    rig.send(3, join(2, "den"));
    rig.send(3, topic(2, "tea"));
    assert_lines(&rig.send(2, list.clone()), &[r#"send 2: Rooms [lobby 3, den 1 "tea"]"#]);
    // One who is away is counted for as long as the others see him.
    rig.close(3);
    assert!(rig.send(2, list.clone())[0].contains("den 1"));
    rig.wait(limits::RESUME_GRACE);
    assert!(rig.send(2, list.clone())[0].contains("lobby 2, den 0"));

    let mut rig = ServerRig::new();
    let claims = |from: u32| (from..from + 16).map(|n| claim(n, &format!("{n}")));
    for peer in 0..4 {
        rig.accept(peer);
        rig.send(peer, Kind::Hello(hello_in(&format!("n{peer}"), claims(1 + 16 * peer))));
    }
    let lines = rig.send(0, list.clone());
    assert_eq!((lines.len(), lines[0].matches("Rooms").count()), (1, 2));
    assert!(lines[0].ends_with("] more; Rooms []"), "{lines:?}");
    rig.join(9, "Foo");
    let lines = rig.send(9, list);
    assert!(lines[0].ends_with("] more; Rooms [lobby 1]"), "{lines:?}");
}

// What is between two.

#[test]
fn what_is_between_two_is_opened_by_one_and_told_to_the_other_alone() {
    let mut rig = three();
    rig.server.seat_operator();
    assert_lines(
        &rig.send(1, join_with(7, "bAR")),
        &[
            "send 2: Entered #0 p0 at 0 [Bar=s1.1@r1 Foo=s1.0@r1] with s1.0",
            "send 1: Entered #7 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.1",
        ],
    );
    assert_lines(
        &rig.send(1, say(P0, 1, "psst")),
        &["send 1: Ack p0/1 #1", r#"send 2: Said p0/1 Foo=s1.0 #1 "psst""#],
    );
    assert_lines(
        &rig.send(2, say(P0, 1, "yes?")),
        &["send 2: Ack p0/2 #1", r#"send 1: Said p0/2 Bar=s1.1 #1 "yes?""#],
    );
    // A third neither speaks nor reads there, whatever he sends.
    assert_eq!(rig.send(3, say(P0, 1, "hello")), [format!("send 3: Nack #1 {NOT_HERE}")]);
    assert_lines(&rig.send(3, ask(P0, "")), &["send 3: History p0 #4 [] you are not in that room"]);
    assert_lines(&rig.send(3, voice_in(P0)), &["send 1,2,3: Changed Baz=s1.2@nowhere"]);
    let epoch = rig.room(1).epoch;
    let stolen = pb::Claim { epoch, room: P0, ..whisper(5, "Bar") };
    assert_eq!(rig.send(3, Kind::Join(stolen)), [format!("send 3: NotEntered #5 {OVER}")]);
    // It is no room of the server.
    assert_eq!((rig.server.hub().rooms(), rig.server.hub().room_names().count()), (1, 1));
    assert_lines(&rig.send(1, part(P0)), &NOTHING);
    assert_eq!(rig.send(1, say(P0, 2, "still")).len(), 2);
}

#[test]
fn both_who_open_it_at_once_are_in_the_same() {
    let mut rig = whispering();
    rig.send(1, say(P0, 1, "first"));
    assert_lines(
        &rig.send(2, join_with(4, "Foo")),
        &[r#"send 2: Entered #4 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.0; Said p0/1 Foo=s1.0 #1 "first""#],
    );
    assert_eq!(rig.send(1, join_with(8, "bar")).len(), 1);
    // With another it is another.
    assert!(rig.send(1, join_with(9, "Baz"))[1].starts_with("send 1: Entered #9 p1"));
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn nobody_is_alone_with_himself_with_nobody_or_with_a_classic_program() {
    let mut rig = three();
    rig.feed(Input::Accepted { peer: Peer::new(9), dialect: Dialect::Classic });
    rig.feed(Input::Received { peer: Peer::new(9), bytes: b"Old" });
    while rig.server.poll_output().is_some() {}
    for (with, why) in [
        ("foo", "that is your own name"),
        ("Nobody", NOT_HERE),
        ("a:b", NOT_HERE),
        ("Old", "the program that he uses takes no private messages"),
    ] {
        assert_eq!(rig.send(1, join_with(5, with)), [format!("send 1: NotEntered #5 {why}")]);
    }
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn what_is_said_to_one_who_is_away_for_a_moment_is_told_when_he_is_back() {
    let mut rig = whispering();
    rig.close(2);
    assert_lines(&rig.send(1, say(P0, 1, "there?")), &["send 1: Ack p0/1 #1"]);
    let lobby = rig.claim_again(2, 1, 1, 0);
    let private = rig.claim_again(2, 5, P0, 0);
    let lines = back(&mut rig, 4, 2, [lobby, private]);
    assert_eq!(
        lines.last().unwrap(),
        "send 4: Welcome Bar=s1.1 resumed; Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1 Baz=s1.2]; \
         Entered #5 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.0; Said p0/1 Foo=s1.0 #1 \"there?\""
    );
    assert_lines(
        &rig.send(1, say(P0, 2, "ah")),
        &["send 1: Ack p0/2 #2", r#"send 4: Said p0/2 Foo=s1.0 #2 "ah""#],
    );
}

#[test]
fn what_was_opened_while_one_was_away_is_told_in_full_whether_he_asks_for_it_or_not() {
    for (asks, key) in [(false, 0), (true, 5)] {
        let mut rig = three();
        rig.close(2);
        assert_lines(
            &rig.send(1, join_with(7, "Bar")),
            &["send 1: Entered #7 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.1"],
        );
        rig.send(1, say(P0, 1, "there?"));
        let mut claims = vec![rig.claim_again(2, 1, 1, 0)];
        claims.extend(asks.then(|| whisper(key, "Foo")));
        let lines = back(&mut rig, 4, 2, claims);
        let told = format!(
            "; Entered #{key} p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.0; Said p0/1 Foo=s1.0 #1 \"there?\""
        );
        assert!(lines.last().unwrap().ends_with(&told), "{lines:?}");
    }
}

#[test]
fn nothing_is_said_to_one_who_is_gone_and_all_goes_on_when_he_is_back() {
    let mut rig = whispering();
    rig.send(1, say(P0, 1, "before"));
    lose_for_long(&mut rig, 2);
    assert_eq!(rig.send(1, say(P0, 2, "x")), [format!("send 1: Nack #2 {NOT_HERE}")]);
    assert_eq!(rig.send(1, join_with(8, "Bar")), [format!("send 1: NotEntered #8 {NOT_HERE}")]);
    // It is the one of this session that is still there, and its number says so.
    let again = rig.claim_again(1, 9, P0, 1);
    assert_lines(&rig.send(1, Kind::Join(again)), &["send 1: Entered #9 p0 at 1 [Foo=s1.0@r1] with s1.1"]);
    let claims = [rig.claim_again(2, 1, 1, 0), rig.claim_again(2, 5, P0, 1)];
    assert_lines(
        &back(&mut rig, 4, 2, claims),
        &[
            "event Joined r1 Bar=s1.1",
            "send 1,3: Joined r1 Bar=s1.1",
            "send 1: Entered #0 p0 at 1 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.1",
            "open path 4: s1.1",
            "send 4: Welcome Bar=s1.1 resumed; Entered #1 lobby=1 at 0 [Foo=s1.0 Baz=s1.2 Bar=s1.1]; \
             Entered #5 p0 at 1 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.0",
        ],
    );
    assert_eq!(rig.send(1, say(P0, 3, "ah")).len(), 2);
}

#[test]
fn who_comes_back_to_one_who_is_gone_is_told_of_it_when_he_is_back_as_well() {
    let mut rig = whispering();
    lose_for_long(&mut rig, 2);
    rig.close(1);
    // He does not ask for it, and nobody is there.
    let lobby = rig.claim_again(1, 1, 1, 0);
    let lines = back(&mut rig, 4, 1, [lobby]);
    assert!(!lines.concat().contains("p0"), "{lines:?}");
    let lobby = rig.claim_again(2, 1, 1, 0);
    let lines = back(&mut rig, 5, 2, [lobby]);
    assert_eq!(lines[2], "send 4: Entered #0 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.1");
    assert!(lines[4].ends_with("; Entered #0 p0 at 0 [Foo=s1.0@r1 Bar=s1.1@r1] with s1.0"), "{lines:?}");
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn it_ends_with_one_of_the_two() {
    let mut rig = whispering();
    rig.send(1, say(P0, 1, "before"));
    rig.send(1, voice_in(P0));
    assert_lines(
        &rig.send(2, quit()),
        &[
            "event Left r1 Bar=s1.1 Quit",
            "send 1,3: Left r1 Bar=s1.1 Quit",
            "send 1: Left p0 Bar=s1.1 Quit",
            "send 1,3: Changed Foo=s1.0@nowhere",
            "send 2: Closing Quit",
            "close 2: quit",
        ],
    );
    assert_eq!(rig.send(1, say(P0, 2, "x")), [format!("send 1: Nack #2 {NOT_HERE}")]);
    assert_lines(&rig.send(1, say(P0, 1, "before")), &["send 1: Ack p0/1 #1"]);
    let again = rig.claim_again(1, 9, P0, 1);
    // Another of that name is another.
    rig.join(4, "Bar");
    assert_eq!(rig.send(1, Kind::Join(again)), [format!("send 1: NotEntered #9 {OVER}")]);
    assert!(rig.send(1, join_with(10, "Bar"))[1].starts_with("send 1: Entered #10 p1 at 0"));
    // The session is forgotten after an hour.
    rig.close(4);
    rig.wait(limits::RESUME_GRACE);
    assert!(rig.server.hub().epoch_of(RoomId::from_wire(P1)).is_some());
    for _ in 0..limits::RESUME_HOLD.as_secs() / 10 {
        rig.send(1, Kind::Pong(pb::Ping { token: 0 }));
        rig.wait(secs(10));
    }
    assert_eq!(rig.server.hub().epoch_of(RoomId::from_wire(P1)), None);
    assert_eq!(rig.server.hub().rooms_of(session(1, 0)), [RoomId::from_wire(1)]);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn when_both_are_gone_nobody_is_told_of_what_becomes_of_them() {
    let mut rig = whispering();
    rig.send(1, voice_in(P0));
    rig.send(2, voice_in(P0));
    lose_for_long(&mut rig, 2);
    rig.close(1);
    for _ in 0..(limits::RESUME_HOLD.as_secs() + 20) / 10 {
        rig.send(3, Kind::Pong(pb::Ping { token: 0 }));
        let lines = rig.wait(secs(10));
        assert!(!lines.concat().contains("Changed"), "{lines:?}");
    }
    assert_eq!((rig.server.hub().gone(), rig.server.audit()), (0, Ok(())));
}

#[test]
fn after_a_restart_of_the_server_it_is_not_there_and_nothing_of_it_was_kept() {
    let mut rig = three_at(ServerRig::lasting());
    rig.send(1, join_with(7, "Bar"));
    assert_eq!(rig.send(1, say(P0, 1, "psst")).len(), 2, "it waits for no store");
    rig.send(1, say(1, 2, "aloud"));
    rig.keep_all();
    assert_eq!(rig.shelf.rooms().collect::<Vec<_>>(), [RoomId::from_wire(1)]);
    // Pages of it are from memory alone, what is searched for, too.
    for words in ["", "psst"] {
        assert_lines(&rig.send(2, ask(P0, words)), &[r#"send 2: History p0 #4 [1 Foo=s1.0 "psst"]"#]);
    }
    let claims = [rig.claim_again(1, 1, 1, 0), rig.claim_again(1, 7, P0, 1)];
    let hello = rig.hello_again_in(1, "Foo", claims);
    let mut rig = rig.restart(9);
    rig.join(2, "Bar");
    rig.accept(1);
    let lines = rig.send(1, Kind::Hello(hello));
    assert!(lines.last().unwrap().ends_with(&format!("; NotEntered #7 {OVER}")), "{lines:?}");
    assert!(rig.send(1, join_with(8, "Bar"))[1].contains("Entered #8 p0 at 0"));
    rig.server.audit().unwrap();
}

#[test]
fn one_has_so_many_and_so_has_the_other() {
    let mut rig = ServerRig::new();
    let most = limits::PRIVATE_EACH as u32;
    for n in 0..most + 2 {
        rig.join(n, &format!("n{n}"));
    }
    for n in 1..=most {
        assert_eq!(rig.send(0, join_with(n, &format!("n{n}"))).len(), 2);
        rig.now = rig.now + limits::CHANGE_COST;
    }
    let full = "there are too many private conversations; try again later";
    assert_eq!(
        rig.send(0, join_with(99, &format!("n{}", most + 1))),
        [format!("send 0: NotEntered #99 {full}")]
    );
    assert_eq!(rig.send(most + 1, join_with(1, "n0")), [format!("send {}: NotEntered #1 {full}", most + 1)]);
    assert_eq!(rig.server.audit(), Ok(()));
    // What he has he has; and with one who quits there is room again.
    assert_eq!(rig.send(0, join_with(98, "n5")).len(), 1);
    rig.send(5, quit());
    assert_eq!(rig.send(most + 1, join_with(1, "n0")).len(), 2);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn two_may_talk_there_and_nobody_hears_them() {
    let mut rig = whispering();
    rig.send(1, voice_in(P0));
    assert_lines(&talk(&mut rig, 1), &NOTHING);
    // In which conversation it is, only they are told.
    assert_lines(
        &rig.send(2, voice_in(P0)),
        &["send 3: Changed Bar=s1.1@p?", "send 1,2: Changed Bar=s1.1@p0"],
    );
    assert_lines(&talk(&mut rig, 1), &["send voice 2: Voice s1.0 #7 [1]"]);
    assert_lines(&talk(&mut rig, 3), &NOTHING);
    let welcome = rig.join(4, "Qux").pop().unwrap();
    assert!(welcome.ends_with("[Foo=s1.0@p? Bar=s1.1@p? Baz=s1.2 Qux=s1.3]"), "{welcome}");
}

/// 0 is alone with as many as one may be: with 1 it spoke, 2 it asked, the others only asked it. One is left over.
fn crowded() -> (ServerRig, u32) {
    let mut rig = ServerRig::new();
    let most = limits::PRIVATE_EACH as u32;
    (0..most + 2).for_each(|n| drop(rig.join(n, &format!("n{n}"))));
    rig.send(1, join_with(9, "n0"));
    rig.send(0, say(P0, 1, "hi"));
    rig.send(0, join_with(9, "n2"));
    (3..=most).for_each(|n| drop(rig.send(n, join_with(9, "n0"))));
    (rig, most)
}

#[test]
fn strangers_take_the_places_of_strangers() {
    let (mut rig, most) = crowded();
    let newcomer = most + 1;
    // First of those who are gone.
    rig.close(5);
    rig.wait(limits::RESUME_GRACE);
    let lines = rig.send(newcomer, join_with(9, "n0"));
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("Entered")), "{lines:?}");
    assert_eq!(rig.server.audit(), Ok(()));
    // Then the oldest of those who were never answered; both are told.
    rig.join(99, "newer");
    let lines = rig.send(99, join_with(9, "n0"));
    assert_lines(&lines[..2], &["send 0: Left p2 n3=s1.3 Quit", "send 3: Left p2 n0=s1.0 Quit"]);
    assert!(lines.len() == 4 && lines[2].starts_with("send 0: Entered #0"), "{lines:?}");
    assert_eq!(rig.server.audit(), Ok(()));
    assert_lines(&rig.send(3, say(P0 + 2, 1, "there?")), &[&format!("send 3: Nack #1 {NOT_HERE}")]);
    // What it has begun or answered stays.
    assert_eq!(rig.send(1, say(P0, 1, "hi")).len(), 2);
    assert_eq!(rig.send(2, say(P0 + 1, 1, "hi")).len(), 2);
    // It has places for those to whom it wants to talk, as long as it has answered no more.
    let lines = rig.send(0, join_with(8, "n5"));
    assert_lines(&lines, &[&format!("send 0: NotEntered #8 {NOT_HERE}")]);
    rig.join(98, "friend");
    let lines = rig.send(0, join_with(8, "friend"));
    assert!(lines[0].contains("Left p3 n4") && lines.len() == 4, "{lines:?}");
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_call_is_not_cut_off_by_strangers() {
    let (mut rig, most) = crowded();
    // n3 has said nothing, and n4 is only listened to.
    rig.send(0, voice_in(P0 + 2));
    rig.send(0, voice_in(1));
    rig.send(4, voice_in(P0 + 3));
    let lines = rig.send(most + 1, join_with(9, "n0"));
    assert!(lines[0].starts_with("send 0: Left p4 n5"), "{lines:?}");
    // It ends with one of them, and the voice with it.
    rig.send(0, voice_in(P0 + 2));
    let lines = rig.send(3, quit());
    assert!(
        lines.contains(&"send 0: Changed n0=s1.0@nowhere".to_owned())
            || lines.iter().any(|line| line.contains("Changed n0=s1.0@nowhere")),
        "{lines:?}"
    );
    assert_eq!(rig.server.audit(), Ok(()));
}

/// Foo in as many rooms as one may be in, each full of `text`; then lost, and back in all of them. Bytes that it is told.
fn welcomed_to_full_rooms(text: &str, others: u32) -> (ServerRig, usize) {
    let mut rig = ServerRig::new();
    let name = |n: u32| "\u{1f600}".repeat(26) + &n.to_string();
    let claims: Vec<_> = (1..=limits::ROOMS_EACH as u32).map(|n| claim(n, &format!("room {n}"))).collect();
    for peer in 0..=others {
        rig.accept(peer);
        rig.send(peer, Kind::Hello(hello_in(&name(peer), claims.clone())));
    }
    let mut id = 0;
    for room in 1..=limits::ROOMS_EACH as u32 {
        for _ in 0..limits::HISTORY_MESSAGES {
            id += 1;
            rig.now = rig.now + Duration::from_millis(50);
            // What the others are told is of no matter here.
            rig.feed(Input::Received { peer: Peer::new(1), bytes: &to_server([say(room, id, text)]) });
            while rig.server.poll_output().is_some() {}
        }
    }
    let again = claims.iter().map(|claim| rig.claim_again(0, claim.key, claim.key, 0));
    let rooms = again.collect();
    let hello = pb::Hello { rooms, resume: Some(rig.resume_of(0)), ..hello(&name(0)) };
    rig.close(0);
    rig.accept(others + 1);
    let bytes = to_server([Kind::Hello(hello)]);
    rig.feed(Input::Received { peer: Peer::new(others + 1), bytes: &bytes });
    let mut told = 0;
    while let Some(output) = rig.server.poll_output() {
        if let Output::Send { bytes, to, .. } = output
            && to.contains(&Peer::new(others + 1))
        {
            told += bytes.len();
        }
    }
    assert_eq!(rig.server.audit(), Ok(()));
    (rig, told)
}

#[test]
fn the_largest_welcome_fits_the_queue() {
    for (text, others) in [("x".repeat(limits::MESSAGE_BYTES), 1), ("x".to_owned(), 1)] {
        let (_, told) = welcomed_to_full_rooms(&text, others);
        assert!((2_000_000..limits::WELCOME_BYTES).contains(&told), "{told}");
    }
}

#[test]
fn one_who_is_refused_has_taken_nobodys_name() {
    let mut rig = three();
    rig.close(2);
    rig.accept(4);
    let lines = rig.send(4, Kind::Hello(hello_in("Bar", [whisper(1, "nobody")])));
    assert!(lines.len() == 2 && lines[1].contains(NOT_HERE), "{lines:?}");
}

#[test]
fn nobody_makes_all_rooms() {
    let mut rig = three();
    let made = |rig: &mut ServerRig, n: u32| {
        rig.now = rig.now + limits::CHANGE_COST * 3;
        let lines = rig.send(1, join(n, &format!("room {n}")));
        let room = rig.server.hub().room_names().last().map(|(room, _)| room.to_wire());
        let is_made = lines.iter().any(|line| line.contains(" Entered"));
        if is_made {
            rig.send(1, Kind::Topic(pb::SetTopic { room: room.unwrap(), text: "mine".into() }));
            rig.send(1, part(room.unwrap()));
        }
        is_made
    };
    let most = 2 * limits::ROOMS_EACH as u32;
    // The lobby was the first.
    assert!((1..most).all(|n| made(&mut rig, n)));
    let lines = rig.send(1, join(1, "one more"));
    assert!(lines.concat().contains("you made many rooms in a short time"), "{lines:?}");
    // One that there is, he may go into.
    rig.send(2, join(1, "theirs"));
    assert!(rig.send(1, join(1, "theirs")).concat().contains(" Entered"));
    for _ in 0..3 {
        rig.now = rig.now + limits::ROOM_COST / 3;
        rig.send(1, Kind::Pong(pb::Ping { token: 1 }));
    }
    assert!(made(&mut rig, 200) && !made(&mut rig, 201));
}

#[test]
fn those_who_are_alone_see_each_others_names() {
    let mut rig = whispering();
    rig.send(1, part(1));
    assert_lines(
        &rig.send(1, name("Fred")),
        &["event Renamed Foo Fred=s1.0", "send 1,2: Changed Fred=s1.0@nowhere"],
    );
    assert!(rig.send(2, join_with(5, "Fred"))[0].starts_with("send 2: Entered #5 p0"));
    // What the server says to all is said in rooms, and not between two.
    let lines = rig.input(Input::Announce { text: "hear" });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(rig.server.hub().messages_after(RoomId::from_wire(P0), Seq::ZERO).count(), 0);
}

#[test]
fn a_few_bytes_do_not_have_a_history_written_many_times() {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    let text = "x".repeat(4096);
    for id in 1..=100 {
        rig.send(1, say(1, id, &text));
        rig.wait(Duration::from_millis(50));
    }
    let claims = (1..=64).map(|key| pb::Claim { key, epoch: 7, ..Default::default() });
    let greeting = pb::Hello { rooms: claims.collect(), ..hello("Bar") };
    rig.accept(2);
    let lines = rig.send(2, Kind::Hello(greeting));
    let told: usize = lines.iter().map(|line| line.matches("Said ").count()).sum();
    assert_eq!(told, 100, "each message once");
    // And who asks for it again and again waits.
    let again = pb::Claim { key: 9, epoch: 7, ..Default::default() };
    let asked = (0..20).map(|_| Kind::Join(again.clone()));
    let bytes: Vec<u8> = asked.flat_map(|kind| to_server([kind])).collect();
    let lines = rig.receive(2, &bytes);
    let told: usize = lines.iter().map(|line| line.matches("Said ").count()).sum();
    assert!(told <= 600 && lines.iter().any(|line| line == "pause 2"), "{told}");
}
