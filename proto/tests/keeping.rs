//! The server as a table, beside a store: what is told when, what becomes of what could not be kept, and what a server that is
//! started again knows.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use chinwag_proto::{
    Peer, RoomId,
    history::{KeepError, UnixMillis, Write},
    limits::{self, UNACKED_MESSAGES},
    name::Name,
    server::{Dialect, Input, Output},
    wire::chinwag1::{self as pb, to_server::Kind},
};
use common::{ServerRig, assert_lines, claim, hello, hello_in, millis, say, secs, to_server};

const NOTHING: [&str; 0] = [];
const FULL: &str = "the server cannot keep it, its disk is full; try again later";

/// Foo (peer 1) and Bar (peer 2) in the lobby, of which nothing is kept yet.
fn two() -> ServerRig {
    let mut rig = ServerRig::lasting();
    rig.join(1, "Foo");
    rig.join(2, "Bar");
    rig
}

/// Those, and two messages that are kept: Foo's and Bar's.
fn after_two_messages() -> ServerRig {
    let mut rig = two();
    rig.send(1, say(1, 1, "one"));
    rig.send(2, say(1, 1, "two"));
    rig.keep_all();
    rig
}

fn quit() -> Kind {
    Kind::Quit(pb::Quit {})
}

fn join_room(rig: &mut ServerRig, peer: u32, name: &str, room: &str) -> Vec<String> {
    rig.accept(peer);
    rig.send(peer, Kind::Hello(hello_in(name, [claim(1, room)])))
}

/// That of somebody whose messages are known again by `author`.
fn known(author: u8, hello: pb::Hello) -> Kind {
    Kind::Hello(pb::Hello { author: vec![author; 16], ..hello })
}

fn join_known(rig: &mut ServerRig, peer: u32, name: &str, author: u8) -> Vec<String> {
    rig.accept(peer);
    rig.send(peer, known(author, hello(name)))
}

fn is_told(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

/// What everybody is sent, by peer, as text, which is no frame; and who is read no more, or again.
fn classic_lines(rig: &mut ServerRig) -> Vec<(u32, String)> {
    let mut lines = vec![];
    while let Some(output) = rig.server.poll_output() {
        match output {
            Output::Send { bytes, to, .. } => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                lines.extend(to.iter().map(|peer| (peer.index() as u32, text.clone())));
            }
            Output::Keep { run, write } => rig.unkept.push_back((run, write)),
            Output::Pause { peer } => lines.push((peer.index() as u32, "pause".into())),
            Output::Unpause { peer } => {
                lines.push((peer.index() as u32, "unpause".into()));
            }
            Output::Relay(_)
            | Output::OpenPath { .. }
            | Output::Overheard { .. }
            | Output::Close { .. }
            | Output::Report { .. }
            | Output::Read { .. }
            | Output::Unread { .. }
            | Output::Event(_) => {}
        }
    }
    lines
}

fn join_classic(rig: &mut ServerRig, peer: u32, name: &str) {
    rig.feed(Input::Accepted { peer: Peer::new(peer), dialect: Dialect::Classic });
    rig.feed(Input::Received { peer: Peer::new(peer), bytes: name.as_bytes() });
    classic_lines(rig);
}

// Told when it is kept.

#[test]
fn a_message_is_told_to_nobody_before_it_is_kept() {
    let mut rig = two();
    rig.server.seat_operator();
    assert_lines(&rig.send(1, say(1, 1, "hi")), &["keep 0: room 1 lobby", r#"keep 0: r1/1 Foo #1 "hi""#]);
    assert_lines(&rig.keep(1), &NOTHING);
    assert_eq!(rig.server.stats().messages, 0);
    assert_lines(
        &rig.keep(1),
        &["send 1: Ack r1/1 #1", r#"event Said r1/1 Foo=s1.0 "hi""#, r#"send 2: Said r1/1 Foo=s1.0 #1 "hi""#],
    );
    assert_eq!(rig.server.stats().messages, 1);
}

#[test]
fn who_joins_while_a_message_waits_is_told_of_it_when_it_is_kept() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    let lines = rig.join(3, "Baz");
    assert!(is_told(&lines, "Entered #1 lobby=1 at 0 [Foo=s1.0 Bar=s1.1 Baz=s1.2]"), "{lines:?}");
    assert!(is_told(&rig.keep_all(), r#"send 2,3: Said r1/1 Foo=s1.0 #1 "hi""#));
}

#[test]
fn what_is_said_in_several_rooms_is_kept_in_the_order_in_which_it_was_said() {
    let mut rig = two();
    join_room(&mut rig, 3, "Baz", "den");
    rig.send(1, say(1, 1, "a"));
    rig.send(3, say(2, 1, "b"));
    rig.send(2, say(1, 1, "c"));
    let written: Vec<_> = rig.unkept.iter().map(|(_, write)| write.clone()).collect();
    let places: Vec<_> = written
        .iter()
        .map(|write| match write {
            Write::Room(room) => (room.id.to_wire(), 0),
            Write::Message(kept) => (kept.room.to_wire(), kept.seq.to_wire()),
            Write::Topic(..) | Write::Gone(_) => unreachable!("no room is about anything, none is gone"),
        })
        .collect();
    assert_eq!(places, [(1, 0), (1, 1), (2, 0), (2, 1), (1, 2)]);
    let told = rig.keep_all();
    let acks: Vec<_> = told.iter().filter(|line| line.contains("Ack")).map(String::as_str).collect();
    assert_eq!(acks, ["send 1: Ack r1/1 #1", "send 3: Ack r2/1 #1", "send 2: Ack r1/2 #1"]);
}

#[test]
fn the_time_of_a_message_is_when_it_was_said_and_not_when_it_was_kept() {
    let mut rig = two();
    rig.server.set_calendar(rig.now, UnixMillis(1_000_000));
    rig.now = rig.now + millis(234);
    rig.send(1, say(1, 1, "hi"));
    rig.now = rig.now + secs(5);
    rig.keep_all();
    assert_eq!(rig.shelf.messages(RoomId::from_wire(1))[0].at, UnixMillis(1_000_234));
}

#[test]
fn a_repeat_while_it_waits_is_acknowledged_once() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    assert_lines(&rig.send(1, say(1, 1, "hi")), &NOTHING);
    let told = rig.keep_all();
    assert_eq!(told.iter().filter(|line| line.contains("Ack")).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|line| line.contains("Said")).count(), 1, "{told:?}");
    assert_lines(&rig.send(1, say(1, 1, "hi")), &["send 1: Ack r1/1 #1"]);
}

#[test]
fn what_the_operator_says_waits_as_everything_does() {
    let mut rig = two();
    let lines = rig.input(Input::Announce { text: "soon" });
    assert_lines(&lines, &["keep 0: room 1 lobby", r#"keep 0: r1/1 server #0 "soon""#]);
    assert_lines(&rig.keep_all(), &[r#"send 1,2: Said r1/1 server=s0.0 #0 "soon""#]);
    rig.input(Input::Announce { text: "now" });
    assert_lines(&rig.refuse(KeepError::Failed), &NOTHING);
    assert_eq!(rig.server.audit(), Ok(()));
}

// What could not be kept.

#[test]
fn what_could_not_be_kept_is_given_back_and_stays_refused_when_it_is_repeated() {
    let mut rig = after_two_messages();
    rig.send(1, say(1, 2, "three"));
    rig.send(2, say(1, 2, "four"));
    rig.send(1, say(1, 3, "five"));
    assert_lines(
        &rig.refuse(KeepError::Full),
        &[
            &format!("send 1: Nack #2 {FULL}"),
            &format!("send 2: Nack #2 {FULL}"),
            &format!("send 1: Nack #3 {FULL}"),
        ],
    );
    assert_eq!(rig.server.stats().not_kept, 3);
    // It may have been on its way again when its refusal came: whoever was told of that must not find it said.
    assert_lines(&rig.send(1, say(1, 2, "three")), &[&format!("send 1: Nack #2 {FULL}")]);
    // The numbers go on without a hole; the shelf checks that.
    assert_lines(&rig.send(1, say(1, 4, "six")), &[r#"keep 1: r1/3 Foo #4 "six""#]);
    assert_lines(&rig.send(1, say(1, 3, "five")), &[&format!("send 1: Nack #3 {FULL}")]);
    assert_lines(&rig.keep_all(), &["send 1: Ack r1/3 #4", r#"send 2: Said r1/3 Foo=s1.0 #4 "six""#]);
}

#[test]
fn a_room_that_could_not_be_kept_is_written_again_with_the_next_message() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    rig.refuse(KeepError::Failed);
    assert_lines(&rig.send(1, say(1, 2, "ho")), &["keep 1: room 1 lobby", r#"keep 1: r1/1 Foo #2 "ho""#]);
    assert!(is_told(&rig.keep_all(), "Ack r1/1 #2"));
}

#[test]
fn answers_of_an_old_run_are_ignored() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    rig.refuse(KeepError::Full);
    rig.send(1, say(1, 2, "ho"));
    assert_lines(&rig.input(Input::Kept { run: 0, count: 2 }), &NOTHING);
    assert_lines(&rig.input(Input::NotKept { run: 0, why: KeepError::Full }), &NOTHING);
    assert_lines(&rig.input(Input::Kept { run: 9, count: usize::MAX }), &NOTHING);
    assert!(is_told(&rig.keep_all(), "Ack r1/1 #2"));
}

#[test]
fn an_answer_to_more_than_was_asked_for_does_no_harm() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    assert!(is_told(&rig.input(Input::Kept { run: 0, count: usize::MAX }), "Ack r1/1 #1"));
    assert_eq!(rig.server.audit(), Ok(()));
}

// Leaving.

#[test]
fn a_quit_waits_until_all_that_was_said_before_is_kept() {
    let mut rig = two();
    let bytes = to_server([say(1, 1, "bye"), quit(), say(1, 2, "ghost")]);
    let lines = rig.receive(1, &bytes);
    assert_lines(&lines, &["pause 1", "keep 0: room 1 lobby", r#"keep 0: r1/1 Foo #1 "bye""#]);
    assert_eq!(rig.server.audit(), Ok(()));
    assert_lines(
        &rig.keep_all(),
        &[
            "send 1: Ack r1/1 #1",
            r#"send 2: Said r1/1 Foo=s1.0 #1 "bye""#,
            "event Left r1 Foo=s1.0 Quit",
            "send 2: Left r1 Foo=s1.0 Quit",
            "send 1: Closing Quit",
            "close 1: quit",
        ],
    );
    assert_eq!(rig.shelf.messages(RoomId::from_wire(1)).len(), 1);
}

#[test]
fn who_quits_is_told_what_could_not_be_kept_before_he_goes() {
    let mut rig = two();
    rig.receive(1, &to_server([say(1, 1, "bye"), quit()]));
    let lines = rig.refuse(KeepError::Full);
    assert_eq!(lines[0], format!("send 1: Nack #1 {FULL}"));
    assert_eq!(lines.last().unwrap(), "close 1: quit");
}

#[test]
fn who_quits_does_so_though_the_connection_ends_before_it_is_kept() {
    for answer in [|rig: &mut ServerRig| rig.keep_all(), |rig: &mut ServerRig| rig.refuse(KeepError::Full)] {
        let mut rig = two();
        rig.receive(1, &to_server([say(1, 1, "bye"), quit()]));
        assert_lines(&rig.close(1), &["event Left r1 Foo=s1.0 Quit", "send 2: Left r1 Foo=s1.0 Quit"]);
        assert_eq!((rig.server.hub().members(), rig.server.hub().gone()), (1, 0));
        let is_kept = is_told(&answer(&mut rig), "send 2: Said r1/1 Foo=s1.0 #1");
        assert_eq!(is_kept, rig.shelf.messages(RoomId::from_wire(1)).len() == 1);
        assert_eq!(rig.server.audit(), Ok(()));
    }
}

#[test]
fn who_is_lost_while_he_waits_may_come_back_and_is_told_what_became_of_it() {
    let mut rig = two();
    rig.send(1, say(1, 1, "hi"));
    rig.close(1);
    rig.resume(3, 1, 0);
    assert_lines(&rig.send(3, say(1, 1, "hi")), &NOTHING);
    assert_lines(&rig.keep_all(), &["send 3: Ack r1/1 #1", r#"send 2: Said r1/1 Foo=s1.0 #1 "hi""#]);
}

#[test]
fn who_comes_back_as_another_while_he_waits_is_told_of_it_as_his_own() {
    let mut rig = two();
    join_known(&mut rig, 3, "Baz", 7);
    rig.send(3, say(1, 1, "hi"));
    rig.send(3, say(1, 2, "there"));
    // His session was forgotten, or he cannot prove that it is his.
    rig.send(3, quit());
    rig.close(3);
    join_known(&mut rig, 4, "Qux", 7);
    assert_lines(&rig.send(4, say(1, 1, "hi")), &NOTHING);
    rig.keep(1);
    let lines = rig.keep(1);
    assert!(
        is_told(&lines, "send 4: Ack r1/1 #1") && is_told(&lines, "send 1,2: Said r1/1 Baz=s"),
        "{lines:?}"
    );
    // Also what could not be kept.
    assert_lines(&rig.refuse(KeepError::Full), &[&format!("send 4: Nack #2 {FULL}")]);
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn who_comes_back_again_and_again_while_the_store_is_slow_waits_once() {
    let mut rig = two();
    rig.receive(1, &to_server((1..=64).map(|id| say(1, id, "x"))));
    for _ in 0..3 {
        rig.close(1);
        assert_eq!(rig.resume(1, 1, 0).last().unwrap(), "pause 1");
        assert_eq!(rig.server.audit(), Ok(()));
    }
    let lines = rig.keep_all();
    assert_eq!(lines.iter().filter(|line| *line == "unpause 1").count(), 1, "{lines:?}");
}

// Pausing.

#[test]
fn a_peer_is_paused_when_so_much_of_it_waits_and_read_again_after_the_answer() {
    for answer in [|rig: &mut ServerRig| rig.keep_all(), |rig: &mut ServerRig| rig.refuse(KeepError::Full)] {
        let mut rig = two();
        let last = UNACKED_MESSAGES as u64 + 2;
        let lines = rig.receive(1, &to_server((1..=last).map(|id| say(1, id, "x"))));
        assert_eq!(lines.iter().filter(|line| line.starts_with("keep")).count(), UNACKED_MESSAGES + 1);
        assert!(is_told(&lines, "pause 1"));
        // The others go on, and a peer that is not read is not silent.
        assert_eq!(rig.send(2, say(1, 1, "calm")).len(), 1);
        rig.now = rig.now + limits::SILENCE_TIMEOUT;
        rig.send(2, Kind::Ping(pb::Ping { token: 0 }));
        assert!(!is_told(&rig.timeout(), "close"));
        let lines = answer(&mut rig);
        assert!(is_told(&lines, "unpause 1") && is_told(&lines, &format!("#{last} \"x\"")), "{lines:?}");
        let stats = rig.server.stats();
        assert_eq!((stats.pauses, stats.store_pauses), (0, 1));
        assert_eq!(rig.server.audit(), Ok(()));
    }
}

#[test]
fn who_has_something_waiting_is_paused_when_all_together_have_too_much() {
    let mut rig = ServerRig::lasting();
    let text = "x".repeat(limits::MESSAGE_BYTES);
    let peers = 16;
    // So many that the last round is too much.
    let each = limits::KEEPING_BYTES / (peers * (limits::MESSAGE_BYTES + limits::MESSAGE_COST)) + 1;
    assert!(each < UNACKED_MESSAGES);
    let peers = peers as u32;
    (0..=peers).for_each(|peer| drop(rig.join(peer, &format!("n{peer}"))));
    for id in 1..=each as u64 {
        (0..peers).for_each(|peer| drop(rig.send(peer, say(1, id, &text))));
        rig.now = rig.now + secs(1);
        rig.send(peers, Kind::Pong(pb::Ping { token: 0 }));
        rig.timeout();
    }
    assert_eq!(rig.server.audit(), Ok(()));
    // Whoever says more is not read from after that, and the last peer, of whom nothing waits, may say one thing.
    assert_lines(&rig.send(0, Kind::Ping(pb::Ping { token: 5 })), &["pause 0"]);
    let last = rig.receive(peers, &to_server([say(1, 1, "mine"), Kind::Ping(pb::Ping { token: 6 })]));
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!(last[0], format!("pause {peers}"));
    let lines = rig.keep(each);
    assert!(is_told(&lines, "unpause 0") && is_told(&lines, "send 0: Pong 5"), "{:?}", lines.last());
    assert!(is_told(&lines, &format!("send {peers}: Pong 6")));
}

// The classic dialect.

#[test]
fn a_classic_sender_sees_his_own_line_when_it_is_kept() {
    let mut rig = ServerRig::lasting();
    join_classic(&mut rig, 1, "Foo");
    join_classic(&mut rig, 2, "Bar");
    rig.feed(Input::Received { peer: Peer::new(1), bytes: b"hello" });
    assert_eq!(classic_lines(&mut rig), []);
    rig.feed(Input::Kept { run: 0, count: 2 });
    let line = "Foo: hello".to_owned();
    assert_eq!(classic_lines(&mut rig), [(1, line.clone()), (2, line)]);
}

#[test]
fn a_classic_sender_is_told_by_a_remark_what_could_not_be_kept() {
    let mut rig = ServerRig::lasting();
    join_classic(&mut rig, 1, "Foo");
    rig.feed(Input::Received { peer: Peer::new(1), bytes: b"hello" });
    rig.feed(Input::NotKept { run: 0, why: KeepError::Full });
    assert_eq!(classic_lines(&mut rig), [(1, format!("server: {FULL}"))]);
    // What he says next is another message.
    rig.feed(Input::Received { peer: Peer::new(1), bytes: b"again" });
    rig.feed(Input::Kept { run: 1, count: 2 });
    assert_eq!(classic_lines(&mut rig), [(1, "Foo: again".to_owned())]);
}

#[test]
fn a_classic_flood_is_paused_for_the_store_and_goes_on_after_its_answer() {
    let mut rig = ServerRig::lasting();
    join_classic(&mut rig, 1, "Foo");
    let flood = "x\n".repeat(UNACKED_MESSAGES + 3);
    rig.feed(Input::Received { peer: Peer::new(1), bytes: flood.as_bytes() });
    assert_eq!(classic_lines(&mut rig), [(1, "pause".to_owned())]);
    rig.feed(Input::Kept { run: 0, count: UNACKED_MESSAGES + 1 });
    let lines = classic_lines(&mut rig);
    assert_eq!(lines.len(), UNACKED_MESSAGES + 1, "{lines:?}");
    assert_eq!(lines.last().unwrap().1, "unpause");
    rig.feed(Input::Kept { run: 0, count: 3 });
    assert_eq!(classic_lines(&mut rig).len(), 3);
}

#[test]
fn a_classic_goodbye_waits_for_what_was_said_before_it() {
    let mut rig = ServerRig::lasting();
    join_classic(&mut rig, 1, "Foo");
    rig.feed(Input::Received { peer: Peer::new(1), bytes: b"bye\n{quit}\n" });
    assert_eq!(classic_lines(&mut rig), [(1, "pause".to_owned())]);
    rig.feed(Input::Kept { run: 0, count: 2 });
    assert_eq!(classic_lines(&mut rig), [(1, "Foo: bye".to_owned()), (1, "{quit}".to_owned())]);
}

// Started again.

#[test]
fn a_server_that_is_started_again_goes_on_with_numbers_and_numberings() {
    let rig = after_two_messages();
    let epoch = rig.room(1).epoch;
    let mut rig = rig.restart(usize::MAX);
    rig.join(3, "Foo");
    let room = rig.room(3).clone();
    assert_eq!((room.id, room.epoch, room.last_seq), (1, epoch, 2));
    assert_lines(&rig.send(3, say(1, 1, "three")), &[r#"keep 0: r1/3 Foo #1 "three""#]);
    rig.keep_all();
    // Another room has another number.
    assert!(is_told(&join_room(&mut rig, 4, "Baz", "den"), "den=2 at 0"));
}

#[test]
fn who_comes_back_after_a_restart_is_told_what_he_missed_and_no_more() {
    for (most, seen, expected) in [
        (usize::MAX, 0, r#"at 0 [Foo=s1.0]; Said r1/1 Foo=s0.0 #1 "one"; Said r1/2 Bar=s0.0 #1 "two""#),
        (usize::MAX, 1, r#"at 1 [Foo=s1.0]; Said r1/2 Bar=s0.0 #1 "two""#),
        (usize::MAX, 2, "at 2 [Foo=s1.0]"),
        (usize::MAX, 99, "at 2 [Foo=s1.0]"),
        // A gap, which the client sees by the numbers.
        (1, 0, r#"at 0 [Foo=s1.0]; Said r1/2 Bar=s0.0 #1 "two""#),
        (0, 0, "at 0 [Foo=s1.0]"),
    ] {
        let mut rig = after_two_messages().restart(most);
        let lines = rig.resume(3, 1, seen);
        assert_eq!(
            lines.last().unwrap(),
            &format!("send 3: Welcome Foo=s1.0; Entered #1 lobby=1 {expected}"),
            "{most}"
        );
    }
}

#[test]
fn all_of_another_numbering_is_told() {
    let mut rig = after_two_messages();
    let mut hello = rig.hello_again(1, 0, "Foo");
    hello.rooms[0].epoch ^= 1;
    rig = rig.restart(usize::MAX);
    rig.accept(3);
    let lines = rig.send(3, Kind::Hello(hello));
    let both = r#"Said r1/1 Foo=s0.0 #1 "one"; Said r1/2 Bar=s0.0 #1 "two""#;
    assert_eq!(
        lines.last().unwrap(),
        &format!("send 3: Welcome Foo=s1.0; Entered #1 lobby=1 at 0 [Foo=s1.0]; {both}")
    );
}

#[test]
fn ones_own_message_is_told_as_ones_own_after_a_restart_and_counts_once() {
    for most in [usize::MAX, 0] {
        let mut rig = ServerRig::lasting();
        join_known(&mut rig, 1, "Foo", 7);
        join_known(&mut rig, 2, "Bar", 8);
        rig.send(1, say(1, 1, "mine"));
        let again = known(7, rig.hello_again(1, 0, "Foo"));
        // It is kept, but the acknowledgement is lost with the server.
        rig.keep_all();
        let mut rig = rig.restart(most);
        rig.join(2, "Bar");
        rig.accept(3);
        let lines = rig.send(3, again);
        let own = r#"; Said r1/1 Foo=s1.1 #1 "mine""#;
        assert_eq!(lines.last().unwrap().contains(own), most > 0, "{lines:?}");
        let ack = rig.send(3, say(1, 1, "mine"));
        assert_lines(&ack, &["send 3: Ack r1/1 #1"]);
        assert_lines(&rig.send(3, say(1, 2, "more")), &[r#"keep 0: r1/2 Foo #2 "more""#]);
    }
}

#[test]
fn what_a_store_gives_back_is_known_with_its_authors_though_it_names_none_besides() {
    let mut rig = ServerRig::lasting();
    join_known(&mut rig, 1, "Foo", 7);
    rig.send(1, say(1, 1, "mine"));
    rig.keep_all();
    let mut rooms = rig.shelf.restored(usize::MAX);
    rooms[0].accepted.clear();
    let mut rig = ServerRig::new();
    rig.server.restore(rooms);
    join_known(&mut rig, 3, "Foo", 7);
    assert_lines(&rig.send(3, say(1, 1, "mine")), &["send 3: Ack r1/1 #1"]);
}

#[test]
fn what_was_said_again_in_another_session_counts_once_without_a_store_too() {
    let mut rig = ServerRig::new();
    join_known(&mut rig, 1, "Foo", 7);
    rig.join(2, "Bar");
    rig.send(1, say(1, 1, "mine"));
    rig.send(1, quit());
    join_known(&mut rig, 3, "Foo", 7);
    assert_lines(&rig.send(3, say(1, 1, "mine")), &["send 3: Ack r1/1 #1"]);
    // Others have numbers of their own.
    assert_eq!(rig.send(2, say(1, 1, "theirs")).len(), 2);
}

#[test]
fn who_sends_no_key_or_the_servers_says_nothing_again() {
    for author in [vec![], vec![0; 16], vec![7; 15]] {
        let mut rig = ServerRig::lasting();
        let hello = |name: &str| Kind::Hello(pb::Hello { author: author.clone(), ..hello(name) });
        rig.accept(1);
        rig.send(1, hello("Foo"));
        rig.send(1, say(1, 1, "one"));
        rig.input(Input::Announce { text: "from the server" });
        rig.keep_all();
        rig.send(1, quit());
        rig.accept(2);
        let lines = rig.send(2, hello("Foo"));
        assert!(is_told(&lines, "at 2 [Foo=s2.0]"), "{lines:?}");
        assert_lines(&rig.send(2, say(1, 1, "one")), &[r#"keep 0: r1/3 Foo #1 "one""#]);
        rig.keep_all();
        assert_eq!(rig.restart(9).server.audit(), Ok(()));
    }
}

// Rooms.

#[test]
fn what_expired_is_not_remembered_and_an_empty_room_goes() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    for (id, text) in [(1, "one"), (2, "two")] {
        rig.send(1, say(1, id, text));
    }
    rig.keep_all();
    let epoch = rig.room(1).epoch;
    assert_lines(&rig.expire(1, 2), &NOTHING);
    assert_eq!(rig.server.hub().first_remembered(RoomId::from_wire(1)).unwrap().to_wire(), 2);
    assert_lines(&rig.expire(1, 3), &NOTHING);
    // Foo is there, and might come back: until then the room stays.
    rig.close(1);
    rig.wait(limits::RESUME_GRACE);
    assert_eq!(rig.server.hub().rooms(), 1);
    assert_lines(&rig.wait(limits::RESUME_HOLD), &["keep 0: gone 1"]);
    assert_eq!((rig.server.hub().rooms(), rig.server.audit()), (0, Ok(())));
    rig.keep_all();
    assert_eq!(rig.shelf.rooms().count(), 0);
    let lines = join_room(&mut rig, 2, "Foo", "den");
    assert!(is_told(&lines, "den=2 at 0"), "{lines:?}");
    assert_ne!(rig.room(2).epoch, epoch);
}

#[test]
fn a_room_that_nobody_belongs_to_goes_as_soon_as_all_of_it_expired() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.join(2, "Bar");
    rig.send(1, say(1, 1, "one"));
    rig.send(2, say(2, 1, "two"));
    rig.keep_all();
    rig.send(1, quit());
    rig.send(2, quit());
    assert_eq!(rig.server.hub().rooms(), 2, "what is kept stays");
    assert_lines(&rig.expire(1, 2), &["keep 0: gone 1"]);
    assert_lines(&rig.expire(2, 2), &NOTHING);
    assert_eq!(rig.server.hub().rooms(), 1, "the default room is always there");
}

#[test]
fn what_is_said_anew_in_a_room_keeps_it() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.send(1, say(1, 1, "one"));
    rig.keep_all();
    rig.send(1, say(1, 2, "two"));
    rig.expire(1, 2);
    rig.keep_all();
    rig.send(1, quit());
    assert_eq!((rig.server.hub().rooms(), rig.shelf.rooms().count()), (1, 1));
}

#[test]
fn a_store_that_could_not_be_told_of_a_rooms_end_is_told_again_before_the_next_of_its_name() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.send(1, say(1, 1, "one"));
    rig.keep_all();
    rig.send(1, quit());
    rig.expire(1, 2);
    assert_lines(&rig.refuse(KeepError::Full), &NOTHING);
    join_room(&mut rig, 2, "Foo", "den");
    assert_lines(
        &rig.send(2, say(2, 1, "anew")),
        &["keep 1: gone 1", "keep 1: room 2 den", r#"keep 1: r2/1 Foo #1 "anew""#],
    );
    rig.keep_all();
    assert_eq!(rig.shelf.rooms().collect::<Vec<_>>(), [RoomId::from_wire(2)]);
}

#[test]
fn a_room_is_let_go_though_its_first_message_was_refused() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.send(1, say(1, 1, "one"));
    rig.keep(1);
    rig.refuse(KeepError::Full);
    assert!(is_told(&rig.send(1, quit()), "keep 1: gone 1"));
    rig.keep_all();
    assert_eq!((rig.server.hub().rooms(), rig.shelf.rooms().count()), (0, 0));
    // A store that ended between the two has a room of which there is nothing.
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.send(1, say(1, 1, "one"));
    rig.keep(1);
    let mut rig = rig.restart(9);
    assert_lines(&rig.drain(), &["keep 0: gone 1"]);
    assert_eq!((rig.server.hub().rooms(), rig.server.audit()), (0, Ok(())));
}

#[test]
fn rooms_that_are_kept_do_not_give_way_but_blank_ones_do() {
    let mut rig = ServerRig::lasting();
    let others = limits::ROOMS as u32 - 1;
    for n in 0..others {
        join_room(&mut rig, n, &format!("n{n}"), &format!("room {n}"));
        // In all but the first something is said.
        if n > 0 {
            rig.send(n, say(n + 1, 1, "x"));
            rig.keep_all();
        }
        rig.close(n);
    }
    rig.wait(limits::RESUME_GRACE);
    assert!(join_room(&mut rig, 1000, "Foo", "one more").last().unwrap().contains("one more=256"));
    let refused = join_room(&mut rig, 1001, "Bar", "too many");
    assert_eq!(refused[0], r#"send 1001: Refused RoomsFull """#);
    assert!(is_told(&join_room(&mut rig, 1002, "Bar", "room 7"), "Entered #1 room 7=8 at 1 [Bar=s2.256]"));
    assert_eq!(rig.join(1003, "Baz").len(), 3, "the default room has its place");
    // When the history of one is over there is room for another.
    rig.expire(20, 2);
    assert_eq!(join_room(&mut rig, 1004, "Qux", "in its place")[0], "event Joined r258 Qux=s1.258");
    rig.keep_all();
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn the_numbers_of_rooms_begin_anew_behind_the_last_and_none_is_given_out_twice() {
    let mut rig = ServerRig::lasting();
    join_room(&mut rig, 1, "Foo", "den");
    rig.send(1, say(1, 1, "x"));
    rig.keep_all();
    let last = limits::LAST_ROOM;
    for (restored, new, newer) in [(last, 2, 3), (last - 1, last, 2)] {
        let den = rig.shelf.restored(1).remove(0);
        let mut attic = den.clone();
        (attic.room.id, attic.room.name) = (RoomId::from_wire(restored), Name::new("attic").unwrap());
        let mut rig = ServerRig::new();
        rig.server.restore([den, attic]);
        for (peer, id) in [(2, new), (3, newer)] {
            let lines = join_room(&mut rig, peer, &format!("n{peer}"), &format!("room {peer}"));
            assert!(is_told(&lines, &format!("room {peer}={id} at 0")), "{restored}: {lines:?}");
        }
        assert_eq!(rig.server.audit(), Ok(()));
    }
}
