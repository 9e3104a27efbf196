//! The client as a table: what goes in, and everything that comes out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeSet;

use chinwag_proto::{
    Duration, Instant, ReceiverReport, Rng, RoomId, Seq,
    client::{ClientEvent, ClientInput, ClientOutput, JoinError, Page, PageLine, PlaceId, SayError},
    history::UnixMillis,
    hub::Marks,
    limits,
    text::MessageError,
    wire::{
        chinwag1::{self as pb, closing, refused, to_client::Kind},
        control, frame,
        path::{DatagramKind, PROBE_BYTES},
        voice::VoiceFrame,
    },
};
use common::{ClientRig, assert_lines, client_output, millis, secs, session, to_client, voice};

const NOTHING: [&str; 0] = [];
const WELCOME: &str = r#"event Welcome { session: s1.0, name: "Foo", resumed: false, again: false }"#;
const ENTERED: &str =
    r#"event Entered { place: 1, name: "lobby", is_private: false, again: false, continues: false }"#;
const UNREACHABLE: &str = "event Ended(Unreachable)";

fn said(seq: u64, session: u32, id: u64, text: &str) -> Kind {
    let name = if session == 1 << 20 { "Foo" } else { "Bar" };
    Kind::Said(pb::Said { room: 1, seq, session, name: name.into(), id, text: text.into(), at_ms: seq })
}

fn ack(seq: u64, id: u64) -> Kind {
    Kind::Ack(pb::Ack { room: 1, seq, id, at_ms: seq })
}

fn closing(reason: closing::Reason) -> Kind {
    Kind::Closing(pb::Closing { reason: reason.into(), text: "so long".into() })
}

fn member(session: u32, name: &str) -> pb::Member {
    pb::Member { session, name: name.into(), ..Default::default() }
}

fn names(rig: &ClientRig) -> Vec<String> {
    rig.client.members(PlaceId::FIRST).map(|(_, member)| member.name.clone()).collect()
}

fn joined(session: u32, name: &str) -> Kind {
    Kind::Joined(pb::Joined { room: 1, member: Some(member(session, name)) })
}

fn left(session: u32, name: &str) -> Kind {
    let reason = pb::left::Reason::Lost.into();
    Kind::Left(pb::Left { room: 1, member: Some(member(session, name)), reason })
}

/// Waits out the pause before the next try.
fn pause(rig: &mut ClientRig) -> Vec<String> {
    let due = rig.client.poll_timeout().unwrap();
    rig.wait(due.since(rig.now))
}

/// Connects again after a loss, resumed at `last_seq`; the lines from the connection on.
fn back(rig: &mut ClientRig, last_seq: u64, more: Vec<Kind>) -> Vec<String> {
    assert_lines(&pause(rig), &["connect"]);
    let mut lines = rig.input(ClientInput::Connected);
    let welcome = pb::Welcome { resumed: true, ..ClientRig::welcome() };
    let mut lobby = ClientRig::lobby();
    lobby.room.as_mut().unwrap().last_seq = last_seq;
    lines.extend(rig.receive([vec![Kind::Welcome(welcome), Kind::Entered(lobby)], more].concat()));
    lines
}

fn frame_of(opus: &[u8]) -> VoiceFrame<'_> {
    VoiceFrame { talker: session(0, 0), sequence: 5, end: false, level: 9, opus }
}

#[test]
fn a_client_connects_greets_and_is_in() {
    let mut rig = ClientRig::new();
    assert_lines(&rig.drain(), &["connect"]);
    assert_lines(&rig.input(ClientInput::Connected), &[r#"send Hello "Foo" in #1 "" voice"#]);
    assert_lines(&rig.receive(ClientRig::let_in()), &["open path s1.0", WELCOME, ENTERED]);
    assert_lines(&rig.timeout(), &["send Ping", "datagram Probe [0, 0, 0, 0, 0, 0, 0, 1]"]);
    let members = names(&rig);
    assert_eq!(
        (members, rig.client.session()),
        (vec!["Foo".to_owned(), "Bar".to_owned()], Some(session(1, 0)))
    );
}

#[test]
fn what_is_said_is_shown_when_it_is_acknowledged_in_its_place() {
    let mut rig = ClientRig::welcomed();
    assert_lines(&rig.say("one"), &[r#"send Say r1 #1 "one""#]);
    assert_lines(&rig.say("two"), &[r#"send Say r1 #2 "two""#]);
    assert_eq!(rig.client.unacknowledged(), 2);
    assert_lines(
        &rig.receive([ack(3, 1), said(4, (1 << 20) + 1, 1, "hi"), ack(5, 2)]),
        &[
            r#"event Said { place: 1, seq: Seq(3), name: "Foo", text: "one", at: UnixMillis(3), own: Some(MessageId(1)) }"#,
            r#"event Said { place: 1, seq: Seq(4), name: "Bar", text: "hi", at: UnixMillis(4), own: None }"#,
            r#"event Said { place: 1, seq: Seq(5), name: "Foo", text: "two", at: UnixMillis(5), own: Some(MessageId(2)) }"#,
        ],
    );
    assert_lines(&rig.receive([ack(3, 1), said(4, (1 << 20) + 1, 1, "hi")]), &NOTHING);
    assert_eq!(rig.client.unacknowledged(), 0);
}

#[test]
fn no_more_is_sent_than_the_server_remembers_and_no_more_is_kept_than_the_limit() {
    let mut rig = ClientRig::welcomed();
    for n in 0..limits::OUTGOING_MESSAGES {
        let sent = rig.say("x");
        assert_eq!(sent.len(), usize::from(n < limits::UNACKED_MESSAGES));
    }
    assert_eq!(rig.client.say(PlaceId::FIRST, "x"), Err(SayError::Full));
    assert_eq!(rig.client.room_for_messages(), 0);
    let lines = rig.receive([ack(3, 1)]);
    assert_eq!(lines[1..], [format!(r#"send Say r1 #{} "x""#, limits::UNACKED_MESSAGES + 1)]);
    assert_eq!(rig.client.say(PlaceId::FIRST, " "), Err(SayError::Message(MessageError::Empty)));
    // Whoever quits leaves nothing unsaid.
    let lines = rig.quit();
    assert_eq!(lines.len(), limits::OUTGOING_MESSAGES - limits::UNACKED_MESSAGES);
    assert_eq!(lines.last().unwrap(), "send Quit");
    assert_eq!(rig.client.say(PlaceId::FIRST, "x"), Err(SayError::Ended));
}

#[test]
fn a_message_that_is_not_accepted_is_given_back() {
    let mut rig = ClientRig::welcomed();
    rig.say("one");
    let nack = |id| Kind::Nack(pb::Nack { id, text: "no".into() });
    assert_lines(
        &rig.receive([nack(1), nack(1), nack(7)]),
        &[r#"event NotSaid { place: 1, id: MessageId(1), text: "one", why: "no" }"#],
    );
}

#[test]
fn comings_and_goings_are_told_and_kept() {
    let mut rig = ClientRig::welcomed();
    assert_lines(
        &rig.receive([joined(77, "Baz"), left((1 << 20) + 1, "Bar")]),
        &[
            r#"event Joined { place: 1, session: SessionId(77), name: "Baz" }"#,
            r#"event Left { place: 1, session: SessionId(1048577), name: "Bar", reason: Lost }"#,
        ],
    );
    let members = names(&rig);
    assert_eq!(members, ["Baz", "Foo"]);
}

#[test]
fn a_lost_connection_is_resumed_and_what_was_missed_is_told_once() {
    let mut rig = ClientRig::welcomed();
    rig.say("accepted, but who knows");
    rig.say("lost on the way");
    rig.receive([said(3, (1 << 20) + 1, 1, "seen")]);
    let lines = rig.input(ClientInput::Disconnected);
    assert!(lines.len() == 1 && lines[0].starts_with("event Reconnecting { why: None"), "{lines:?}");
    assert_lines(&rig.say("said meanwhile"), &NOTHING);
    let replay = vec![
        said(3, (1 << 20) + 1, 1, "seen"),
        said(4, 1 << 20, 1, "accepted, but who knows"),
        said(5, (1 << 20) + 1, 2, "missed"),
        ack(4, 1),
        ack(6, 2),
    ];
    assert_lines(
        &back(&mut rig, 3, replay),
        &[
            r#"send Hello "Foo" in #1 "lobby" at r1/3 voice resume s1.0"#,
            "open path s1.0",
            &WELCOME.replace("false", "true"),
            &ENTERED.replace("again: false, continues: false", "again: true, continues: true"),
            r#"send Say r1 #1 "accepted, but who knows""#,
            r#"send Say r1 #2 "lost on the way""#,
            r#"send Say r1 #3 "said meanwhile""#,
            r#"event Said { place: 1, seq: Seq(4), name: "Foo", text: "accepted, but who knows", at: UnixMillis(4), own: Some(MessageId(1)) }"#,
            r#"event Said { place: 1, seq: Seq(5), name: "Bar", text: "missed", at: UnixMillis(5), own: None }"#,
            r#"event Said { place: 1, seq: Seq(6), name: "Foo", text: "lost on the way", at: UnixMillis(6), own: Some(MessageId(2)) }"#,
        ],
    );
    assert_eq!((rig.client.unacknowledged(), rig.client.stats().reconnects), (1, 1));
}

/// Comes back after a loss, to these members; what is told of them.
fn back_among(rig: &mut ClientRig, frames: &[&[(u32, &str)]]) -> Vec<String> {
    let list = |members: &[(u32, &str)]| members.iter().map(|&(s, name)| member(s, name)).collect::<Vec<_>>();
    rig.input(ClientInput::Disconnected);
    pause(rig);
    rig.input(ClientInput::Connected);
    let member_count = frames.iter().map(|frame| frame.len() as u32).sum();
    let lobby = pb::Entered { members: list(frames[0]), member_count, ..ClientRig::lobby() };
    let mut lines = rig.receive([Kind::Welcome(ClientRig::welcome()), Kind::Entered(lobby)]);
    for frame in &frames[1..] {
        assert!(!lines.concat().contains("Meanwhile"), "not all are known yet: {lines:?}");
        lines.extend(rig.receive([Kind::Members(pb::Members { room: 1, members: list(frame) })]));
    }
    lines.retain(|line| line.contains("Meanwhile"));
    lines
}

#[test]
fn who_came_and_left_meanwhile_is_told_by_name() {
    let (foo, bar) = ((1 << 20, "Foo"), ((1 << 20) + 1, "Bar"));
    let meanwhile =
        |joined, left| format!("event Meanwhile {{ place: 1, joined: [{joined}], left: [{left}] }}");
    for (frames, expected) in [
        (&[&[foo, bar][..]][..], None),
        // Another session of the same person is nobody's coming or going.
        (&[&[foo, (9, "Bar")]], None),
        (&[&[foo]], Some(meanwhile("", r#""Bar""#))),
        (&[&[foo, bar, (7, "Baz")]], Some(meanwhile(r#""Baz""#, ""))),
        (&[&[foo], &[(7, "Baz")], &[(8, "Qux")]], Some(meanwhile(r#""Baz", "Qux""#, r#""Bar""#))),
        (&[&[foo], &[bar]], None),
    ] {
        let mut rig = ClientRig::welcomed();
        let told = back_among(&mut rig, frames);
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{frames:?}");
    }
}

#[test]
fn who_was_here_counts_from_the_last_time_that_all_were_known() {
    let foo = (1 << 20, "Foo");
    let mut rig = ClientRig::welcomed();
    rig.receive([joined(7, "Baz")]);
    // The connection is lost again before the list is whole.
    rig.input(ClientInput::Disconnected);
    pause(&mut rig);
    rig.input(ClientInput::Connected);
    let lobby = pb::Entered { members: vec![member(foo.0, foo.1)], member_count: 3, ..ClientRig::lobby() };
    let lines = rig.receive([Kind::Welcome(ClientRig::welcome()), Kind::Entered(lobby)]);
    assert!(!lines.concat().contains("Meanwhile"), "{lines:?}");
    let told = back_among(&mut rig, &[&[foo, (8, "Qux")]]);
    assert_eq!(told, [r#"event Meanwhile { place: 1, joined: ["Qux"], left: ["Bar", "Baz"] }"#]);
    // And then from there.
    assert_eq!(back_among(&mut rig, &[&[foo, (8, "Qux")]]), [""; 0]);
}

#[test]
fn ones_own_new_name_is_no_newcomer() {
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    pause(&mut rig);
    rig.input(ClientInput::Connected);
    // The server does not know yet that the former session is over.
    let members = [(1 << 20, "Foo"), (8, "Foo2"), ((1 << 20) + 1, "Bar")];
    let members = members.map(|(session, name)| member(session, name)).to_vec();
    let name = "Foo2".to_owned();
    let welcome = pb::Welcome { session: 8, name, ..ClientRig::welcome() };
    let lobby = pb::Entered { members, member_count: 3, ..ClientRig::lobby() };
    let lines = rig.receive([Kind::Welcome(welcome), Kind::Entered(lobby)]);
    assert!(rig.client.is_in() && !lines.concat().contains("Meanwhile"), "{lines:?}");
}

#[test]
fn a_first_welcome_tells_of_nobody_meanwhile() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    let lines = rig.receive(ClientRig::let_in());
    assert!(!lines.concat().contains("Meanwhile"), "{lines:?}");
}

// The history.

#[test]
fn a_client_asks_for_what_came_before_its_first_welcome() {
    let mut rig = ClientRig::with_history(20);
    rig.input(ClientInput::Connected);
    let lines = rig.receive(ClientRig::let_in());
    assert_eq!(lines.last().unwrap(), "send History r1 #1 before 3 limit 20");
    rig.input(ClientInput::Disconnected);
    let lines = back(&mut rig, 2, vec![]);
    assert!(!lines.concat().contains("History"), "what came meanwhile is told anyway: {lines:?}");
    let mut rig = ClientRig::welcomed();
    assert!(!rig.drain().concat().contains("History"));
}

#[test]
fn questions_have_numbers_of_their_own_and_need_a_connection() {
    let mut rig = ClientRig::welcomed();
    for (before, limit, words, token, line) in [
        (None, 5, "", 1, "send History r1 #1 before 0 limit 5"),
        (Some(7), usize::MAX, "a b", 2, r#"send History r1 #2 before 7 limit 4294967295 "a b""#),
    ] {
        assert_eq!(
            rig.client.ask_history(PlaceId::FIRST, before.map(Seq::from_wire), limit, words),
            Some(token)
        );
        assert_lines(&rig.drain(), &[line]);
    }
    rig.input(ClientInput::Disconnected);
    assert_eq!(rig.client.ask_history(PlaceId::FIRST, None, 5, ""), None);
    assert_lines(&rig.drain(), &NOTHING);
}

#[test]
fn pages_are_told_with_their_numbers_whatever_was_asked_and_move_no_place() {
    let mut rig = ClientRig::welcomed();
    let token = rig.client.ask_history(PlaceId::FIRST, None, 5, "").unwrap();
    rig.drain();
    let page = |token, seq| {
        let said = pb::Said { seq, name: "Bar".into(), text: "old".into(), at_ms: 4, ..Default::default() };
        Kind::History(pb::HistoryPage {
            room: 1,
            token,
            messages: vec![said],
            more: true,
            ..Default::default()
        })
    };
    let line = |seq| {
        let (seq, at, name, text) = (Seq::from_wire(seq), UnixMillis(4), "Bar".into(), "old".into());
        PageLine { seq, at, name, text }
    };
    let shown = |page| client_output(&ClientOutput::Event(ClientEvent::History(page)));
    let told = |token, seq| {
        let (place, lines) = (PlaceId::FIRST, vec![line(seq)]);
        shown(Page { place, token, lines, more: true, error: None })
    };
    // One that nobody asked for is told as well: whoever asks knows his numbers.
    assert_eq!(rig.receive([page(77, 9)]), [told(77, 9)]);
    assert_eq!(rig.receive([page(token, 1), page(token, 1)]), [told(token, 1), told(token, 1)]);
    let error = pb::HistoryPage { room: 1, token, error: "it cannot".into(), ..Default::default() };
    let failed = Page { token, error: Some("it cannot".into()), ..Page::default() };
    assert_eq!(rig.receive([Kind::History(error)]), [shown(failed)]);
    // What is told in its turn is not taken for seen, though a page had it.
    assert!(rig.receive([said(3, (1 << 20) + 1, 1, "next")])[0].contains("next"));
}

#[test]
fn a_page_that_comes_when_the_question_is_forgotten_does_no_harm() {
    let page = || Kind::History(pb::HistoryPage { room: 1, token: 1, ..Default::default() });
    // Before a welcome, and behind the goodbye of one who was never in.
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(&rig.receive([page()]), &NOTHING);
    rig.quit();
    assert_lines(&rig.receive([page()]), &NOTHING);
    // After the connection by which it was asked.
    let mut rig = ClientRig::welcomed();
    rig.client.ask_history(PlaceId::FIRST, None, 5, "");
    rig.input(ClientInput::Disconnected);
    let lines = back(&mut rig, 2, vec![page()]);
    assert!(lines.last().unwrap().starts_with("event History"), "{lines:?}");
}

#[test]
fn ones_own_message_that_is_told_after_a_restart_is_its_acknowledgement() {
    let mut rig = ClientRig::welcomed();
    rig.say("kept");
    rig.say("not kept");
    rig.input(ClientInput::Disconnected);
    pause(&mut rig);
    rig.input(ClientInput::Connected);
    // Another session, of a server that knows the client's key.
    let own = (5 << 20) + 4;
    let welcome = pb::Welcome { session: own, ..ClientRig::welcome() };
    let kept = pb::Said { name: "Foo".into(), ..said_by(own, 3, 1, "kept") };
    let lines = rig.receive([
        Kind::Welcome(welcome),
        Kind::Entered(ClientRig::lobby()),
        Kind::Said(kept),
        ack(3, 1),
        ack(4, 2),
    ]);
    let told: Vec<_> = lines.iter().filter(|line| line.starts_with("event Said")).collect();
    assert_eq!(
        told,
        [
            r#"event Said { place: 1, seq: Seq(3), name: "Foo", text: "kept", at: UnixMillis(3), own: Some(MessageId(1)) }"#,
            r#"event Said { place: 1, seq: Seq(4), name: "Foo", text: "not kept", at: UnixMillis(4), own: Some(MessageId(2)) }"#,
        ]
    );
}

fn said_by(session: u32, seq: u64, id: u64, text: &str) -> pb::Said {
    pb::Said { room: 1, seq, session, id, text: text.into(), at_ms: seq, ..Default::default() }
}

#[test]
fn a_gap_is_told() {
    let mut rig = ClientRig::welcomed();
    assert_lines(
        &rig.receive([said(9, (1 << 20) + 1, 1, "later")]),
        &[
            "event Missed { place: 1, messages: 6, before: Seq(9) }",
            r#"event Said { place: 1, seq: Seq(9), name: "Bar", text: "later", at: UnixMillis(9), own: None }"#,
        ],
    );
    rig.input(ClientInput::Disconnected);
    let lines = back(&mut rig, 12, vec![]);
    assert_eq!(lines.last().unwrap(), "event Missed { place: 1, messages: 3, before: Seq(13) }");

    // The session was forgotten, the room was not.
    for (epoch, expected) in
        [(9, "event Missed { place: 1, messages: 3, before: Seq(16) }"), (10, "event Entered")]
    {
        rig.input(ClientInput::Disconnected);
        pause(&mut rig);
        rig.input(ClientInput::Connected);
        let mut lobby = ClientRig::lobby();
        let room = lobby.room.as_mut().unwrap();
        (room.epoch, room.last_seq) = (epoch, 15);
        let lines = rig.receive([Kind::Welcome(ClientRig::welcome()), Kind::Entered(lobby)]);
        assert!(lines.last().unwrap().starts_with(expected), "{lines:?}");
    }
}

#[test]
fn an_acknowledgement_of_a_room_that_is_gone_moves_no_place_in_this_one() {
    let mut rig = ClientRig::welcomed();
    rig.say("said in another room, or so the server says");
    let elsewhere = Kind::Ack(pb::Ack { room: 7, seq: 90, id: 1, at_ms: 5 });
    let lines = rig.receive([elsewhere, said(3, (1 << 20) + 1, 1, "next")]);
    assert!(lines.len() == 2 && lines[0].contains("own: Some(MessageId(1))"), "{lines:?}");
    assert_lines(
        &lines[1..],
        &[r#"event Said { place: 1, seq: Seq(3), name: "Bar", text: "next", at: UnixMillis(3), own: None }"#],
    );
    assert_eq!(rig.client.unacknowledged(), 0);
}

#[test]
fn numbers_at_their_ends_do_no_harm() {
    let mut rig = ClientRig::welcomed();
    let lines = rig.receive([
        said(u64::MAX, 7, u64::MAX, "a"),
        said(u64::MAX, 7, u64::MAX, "b"),
        ack(u64::MAX, u64::MAX),
    ]);
    assert_eq!(lines.iter().filter(|line| line.contains("Said")).count(), 1, "even the last place is one's");
    rig.receive([said(0, 0, 0, "c"), joined(u32::MAX, "d")]);
    rig.input(ClientInput::Disconnected);
    back(&mut rig, 0, vec![said(1, 7, 1, "e")]);
    assert!(rig.client.is_in());
}

#[test]
fn pauses_between_tries_grow_to_a_limit_and_a_good_connection_begins_anew() {
    let mut rig = ClientRig::welcomed();
    rig.wait(limits::RECONNECT_STABLE);
    let mut pauses = vec![];
    rig.input(ClientInput::Disconnected);
    for _ in 0..12 {
        let start = rig.now;
        let due = rig.client.poll_timeout().unwrap();
        pauses.push(due.since(start));
        assert_lines(&rig.wait(due.since(start)), &["connect"]);
        rig.input(ClientInput::Disconnected);
    }
    for (n, pause) in pauses.iter().enumerate() {
        let longest = (limits::RECONNECT_MIN * 2u32.pow(n.min(10) as u32)).min(limits::RECONNECT_MAX);
        assert!(*pause <= longest && *pause >= longest / 2, "{n}: {pause:?}");
    }
    // A server that lets in and throws out at once does not count as a good one.
    for stays in [millis(10), limits::RECONNECT_STABLE] {
        back(&mut rig, 2, vec![]);
        rig.wait(stays);
        rig.receive([Kind::Pong(pb::Ping { token: 0 })]);
        rig.input(ClientInput::Disconnected);
        let pause = rig.client.poll_timeout().unwrap().since(rig.now);
        assert_eq!(pause <= limits::RECONNECT_MIN, stays == limits::RECONNECT_STABLE, "{pause:?}");
    }
}

#[test]
fn whoever_wants_another_connection_has_one_at_once_and_loses_nothing() {
    let mut rig = ClientRig::welcomed();
    rig.say("on its way");
    let reconnecting = format!("event Reconnecting {{ why: None, pause: {:?} }}", Duration::ZERO);
    assert_lines(&rig.reconnect(), &["disconnect", &reconnecting, "connect"]);
    // While it is made, there is nothing more to do.
    assert_lines(&rig.reconnect(), &NOTHING);
    assert_lines(&rig.say("said meanwhile"), &NOTHING);
    assert_lines(
        &rig.input(ClientInput::Connected),
        &[r##"send Hello "Foo" in #1 "lobby" at r1/2 voice resume s1.0"##],
    );
    assert_lines(&rig.reconnect(), &NOTHING);
    let welcome = pb::Welcome { resumed: true, ..ClientRig::welcome() };
    let lines = rig.receive([Kind::Welcome(welcome), Kind::Entered(ClientRig::lobby())]);
    let said = [r#"send Say r1 #1 "on its way""#, r#"send Say r1 #2 "said meanwhile""#];
    assert_lines(&lines[lines.len() - 2..], &said);
    let numbering = rig.client.numbering(PlaceId::FIRST);
    assert_eq!((rig.client.unacknowledged(), numbering), (2, Some((9, Seq::from_wire(2)))));
}

#[test]
fn whoever_wants_another_connection_does_not_wait_for_the_end_of_the_pause() {
    let mut rig = ClientRig::welcomed();
    for _ in 0..10 {
        rig.input(ClientInput::Disconnected);
        let lines = rig.reconnect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("event Reconnecting") && lines[1] == "connect",
            "{lines:?}"
        );
    }
    // The next pause is short again.
    rig.input(ClientInput::Disconnected);
    let pause = rig.client.poll_timeout().unwrap().since(rig.now);
    assert!(pause <= limits::RECONNECT_MIN, "{pause:?}");
    rig.quit();
    assert_lines(&rig.reconnect(), &NOTHING);
    let mut rig = ClientRig::new();
    rig.drain();
    assert_lines(&rig.reconnect(), &NOTHING);
    assert_eq!(rig.client.numbering(PlaceId::FIRST), None);
}

#[test]
fn a_first_connection_that_fails_ends_it() {
    let mut rig = ClientRig::new();
    rig.drain();
    assert_lines(&rig.input(ClientInput::Disconnected), &[UNREACHABLE]);
    let mut rig = ClientRig::new();
    rig.drain();
    assert_lines(&rig.wait(limits::CONNECT_TIMEOUT), &["disconnect", UNREACHABLE]);
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(&rig.wait(limits::CONNECT_TIMEOUT), &["disconnect", UNREACHABLE]);
    assert_eq!((rig.client.poll_timeout(), rig.client.has_ended()), (None, true));
}

#[test]
fn a_server_that_closes_before_the_welcome_is_quoted() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(&rig.receive([closing(closing::Reason::Shutdown)]), &NOTHING);
    assert_lines(
        &rig.input(ClientInput::Disconnected),
        &[r#"event Refused { why: "so long", suggestion: None, will_retry: false }"#, "event Ended(Refused)"],
    );
}

#[test]
fn a_refused_newcomer_is_told_why_and_what_would_be_free() {
    let refuse = |suggestion: &str| {
        let reason = refused::Reason::NameTaken.into();
        Kind::Refused(pb::Refused { reason, text: "taken".into(), suggestion: suggestion.into() })
    };
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(
        &rig.receive([vec![refuse("Foo2")], ClientRig::let_in().to_vec()].concat()),
        &[
            r#"event Refused { why: "taken", suggestion: Some("Foo2"), will_retry: false }"#,
            "disconnect",
            "event Ended(Refused)",
        ],
    );
    // Whoever was here before goes on by the other name, unless it is none.
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    rig.wait(secs(1));
    rig.input(ClientInput::Connected);
    let lines = rig.receive([refuse("Foo2")]);
    assert_eq!(lines[0], r#"event Refused { why: "taken", suggestion: Some("Foo2"), will_retry: true }"#);
    assert_eq!((lines[1].as_str(), lines.len()), ("disconnect", 3));
    rig.wait(secs(5));
    assert_lines(
        &rig.input(ClientInput::Connected),
        &[r#"send Hello "Foo2" in #1 "lobby" at r1/2 voice resume s1.0"#],
    );
    let lines = rig.receive([refuse(&"x".repeat(60_000))]);
    assert_eq!(lines[0], r#"event Refused { why: "taken", suggestion: None, will_retry: false }"#);
    assert!(rig.client.has_ended());
}

#[test]
fn a_server_that_is_full_for_the_moment_does_not_end_a_conversation() {
    let full = || {
        let reason = refused::Reason::Full.into();
        Kind::Refused(pb::Refused { reason, text: "full".into(), suggestion: String::new() })
    };
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    rig.wait(secs(1));
    rig.input(ClientInput::Connected);
    let lines = rig.receive([full()]);
    assert_eq!(lines[0], r#"event Refused { why: "full", suggestion: None, will_retry: true }"#);
    assert!(!rig.client.has_ended());
    rig.wait(secs(5));
    assert_lines(
        &rig.input(ClientInput::Connected),
        &[r#"send Hello "Foo" in #1 "lobby" at r1/2 voice resume s1.0"#],
    );
    // A newcomer has nothing to lose.
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    rig.receive([full()]);
    assert!(rig.client.has_ended());
}

#[test]
fn quitting_ends_it_from_everywhere() {
    let ended = "event Ended(Quit)";
    let mut rig = ClientRig::new();
    assert_lines(&rig.quit(), &["connect", "disconnect", ended]);
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    // Behind the Hello goes a goodbye, so that nobody is told of one who is lost.
    assert_lines(&rig.quit(), &["send Quit"]);
    assert_lines(&rig.input(ClientInput::Disconnected), &[ended]);
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    assert_lines(&rig.quit(), &["disconnect", ended]);

    let mut rig = ClientRig::welcomed();
    rig.say("last words");
    assert_lines(&rig.quit(), &["send Quit"]);
    assert_lines(&rig.quit(), &NOTHING);
    let last = r#"event Said { place: 1, seq: Seq(3), name: "Foo", text: "last words", at: UnixMillis(3), own: Some(MessageId(1)) }"#;
    assert_lines(&rig.receive([ack(3, 1), closing(closing::Reason::Quit)]), &[last]);
    assert_lines(&rig.input(ClientInput::Disconnected), &[ended]);
    for input in [ClientInput::Connected, ClientInput::Disconnected, ClientInput::Received { bytes: &[0; 9] }]
    {
        assert_lines(&rig.input(input), &NOTHING);
    }

    let mut rig = ClientRig::welcomed();
    rig.quit();
    assert_lines(&rig.wait(limits::QUIT_TIMEOUT), &["disconnect", ended]);
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn who_is_replaced_or_removed_does_not_come_back_by_itself() {
    for (reason, ended) in [
        (closing::Reason::Replaced, "event Ended(Replaced)"),
        (closing::Reason::Removed, "event Ended(Removed)"),
    ] {
        let mut rig = ClientRig::welcomed();
        assert_lines(&rig.receive([closing(reason)]), &["disconnect", ended]);
        assert_eq!(rig.client.poll_timeout(), None);
    }
}

#[test]
fn a_silent_server_is_left_after_15_s() {
    let mut rig = ClientRig::welcomed();
    // Between pings and probes, so that nothing else is due when the time is up.
    rig.wait(millis(2_500));
    rig.receive([Kind::Pong(pb::Ping { token: 0 })]);
    let lines = rig.wait(limits::SILENCE_TIMEOUT - millis(1));
    assert!(!lines.contains(&"disconnect".to_owned()));
    let lines = rig.wait(millis(1));
    let at = lines.iter().position(|line| line == "disconnect").unwrap();
    assert!(lines[at + 1].contains("silent"), "{lines:?}");
    assert!(!rig.client.is_in());
}

/// The tokens of the pings among what it sends now.
fn pinged(rig: &mut ClientRig) -> Vec<u64> {
    let mut tokens = vec![];
    while let Some(output) = rig.client.poll_output() {
        if let ClientOutput::Send { bytes, .. } = output
            && let Ok(control::Body::Message(pb::to_server::Kind::Ping(ping))) =
                control::decode_to_server(&bytes[frame::HEADER_BYTES..])
        {
            tokens.push(ping.token);
        }
    }
    tokens
}

#[test]
fn pings_are_answered_and_measured() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(&rig.receive([Kind::Ping(pb::Ping { token: 4 })]), &["send Pong 4"]);
    rig.receive(ClientRig::let_in());
    rig.client.handle_timeout(rig.now);
    let token = pinged(&mut rig).pop().unwrap();
    rig.now = rig.now + millis(20);
    rig.receive([Kind::Pong(pb::Ping { token: token ^ 1 })]);
    assert_eq!(rig.client.stats().control_rtt, None);
    rig.receive([Kind::Pong(pb::Ping { token })]);
    assert_eq!(rig.client.stats().control_rtt, Some(millis(20)));
}

/// Answers all pings and probes for so long, 10 ms after they came; when they came.
fn answered(rig: &mut ClientRig, time: Duration) -> (Vec<Instant>, Vec<Instant>) {
    let (end, mut pings, mut probes) = (rig.now + time, vec![], vec![]);
    while rig.now < end {
        rig.now = rig.client.poll_timeout().unwrap().max(rig.now);
        rig.client.handle_timeout(rig.now);
        let (mut pongs, mut echoes) = (vec![], vec![]);
        while let Some(output) = rig.client.poll_output() {
            match output {
                ClientOutput::Send { bytes, .. } => {
                    let body = control::decode_to_server(&bytes[frame::HEADER_BYTES..]);
                    if let Ok(control::Body::Message(pb::to_server::Kind::Ping(ping))) = body {
                        pings.push(rig.now);
                        pongs.push(Kind::Pong(ping));
                    }
                }
                ClientOutput::Datagram { payload, .. } => {
                    probes.push(rig.now);
                    echoes.push(payload.to_vec());
                }
                ClientOutput::Connect
                | ClientOutput::Disconnect
                | ClientOutput::OpenPath { .. }
                | ClientOutput::Voice { .. }
                | ClientOutput::Event(_) => {}
            }
        }
        assert!(!pongs.is_empty() || !echoes.is_empty(), "it is woken for nothing");
        rig.now = rig.now + millis(10);
        assert_eq!(rig.client.silent_since(rig.now), None);
        rig.receive(pongs);
        for payload in &echoes {
            rig.input(ClientInput::Datagram { kind: DatagramKind::Echo, payload });
        }
    }
    (pings, probes)
}

#[test]
fn those_who_come_at_once_do_not_ping_at_once_ever_after() {
    let mut phases = BTreeSet::new();
    for seed in 0..100 {
        let mut rig = ClientRig::of(Rng::from_number(seed));
        rig.input(ClientInput::Connected);
        rig.receive(ClientRig::let_in());
        let (pings, probes) = answered(&mut rig, secs(60));
        let pauses: Vec<_> = pings.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!(pauses[0] <= limits::PING_INTERVAL);
        assert!(pauses[1..].iter().all(|&pause| pause == limits::PING_INTERVAL), "{pauses:?}");
        // What only keeps the path open goes with every second of them, and never later than it must.
        let seldom = &probes[limits::FIRST_PROBES..];
        assert!(seldom.iter().all(|probe| pings.contains(probe)), "{pings:?} {probes:?}");
        // Counted from when the one before was answered.
        let longest = limits::PROBE_INTERVAL_IDLE + millis(10);
        let kept_open = probes.windows(2).all(|pair| pair[1].since(pair[0]) <= longest);
        assert!(kept_open, "{probes:?}");
        assert!(probes.len() <= limits::FIRST_PROBES + 5, "{probes:?}");
        phases.insert(pauses[0].as_micros() / 500_000);
    }
    assert_eq!(phases.len(), 14, "half seconds in which somebody pings: {phases:?}");
}

#[test]
fn a_server_that_owes_an_answer_and_says_nothing_is_silent() {
    let mut rig = ClientRig::welcomed();
    answered(&mut rig, secs(60));
    rig.receive([joined(9, "Baz")]);
    let heard = rig.now;
    let mut asked = None;
    while rig.client.silent_since(rig.now).is_none() {
        rig.now = rig.client.poll_timeout().unwrap().max(rig.now);
        // Whoever looks before the machine does what is due sees it already, and still sees it then.
        let is_silent = rig.client.silent_since(rig.now).is_some();
        let lines = rig.timeout();
        assert_eq!(rig.client.silent_since(rig.now).is_some(), is_silent);
        asked = asked.or_else(|| lines.concat().contains("Ping").then_some(rig.now));
        assert!(rig.client.poll_timeout().unwrap() > rig.now);
    }
    let asked = asked.unwrap();
    assert_eq!(rig.now, (asked + limits::ANSWER_LATE).max(heard + limits::SILENCE_TOLD));
    // The next ping is no news, but any word is.
    rig.now = rig.now + millis(5500);
    rig.timeout();
    assert_eq!(rig.client.silent_since(rig.now), Some(heard));
    rig.receive([left(9, "Baz")]);
    assert_eq!(rig.client.silent_since(rig.now), None);
    // What is not connected is not silent.
    rig.wait(limits::SILENCE_TIMEOUT);
    assert!(!rig.client.is_in());
    assert_eq!(rig.client.silent_since(rig.now), None);
}

#[test]
fn voice_moves_to_udp_when_a_probe_is_answered() {
    let mut rig = ClientRig::welcomed();
    let talk = |rig: &mut ClientRig| {
        rig.client.send_voice(rig.now, [frame_of(&[1, 2])]);
        rig.drain()
    };
    assert_lines(&talk(&mut rig), &["send voice Voice s1.0 #5 [1, 2]"]);
    rig.now = rig.now + millis(30);
    let echo = 1u64.to_be_bytes();
    assert_eq!(echo.len(), PROBE_BYTES);
    let echo = ClientInput::Datagram { kind: DatagramKind::Echo, payload: &echo };
    assert_lines(&rig.input(echo), &["send VoicePath Udp", "event Path(Udp)"]);
    assert_lines(&rig.input(echo), &NOTHING);
    assert_eq!(rig.client.stats().voice_rtt, Some(millis(30)));
    assert_lines(&talk(&mut rig), &["datagram Voice s1.0 #5 [1, 2]"]);
    let lines = rig.wait(secs(4));
    let switches: Vec<_> = lines.iter().filter(|line| line.contains("Path(")).collect();
    assert_eq!(switches, ["event Path(Both)", "event Path(Tcp)"]);
    let stats = rig.client.stats();
    assert_eq!((stats.frames_sent, stats.frames_unsent), (2, 0));
}

#[test]
fn copies_go_with_the_frame_that_they_are_sent_with_as_long_as_there_is_room() {
    let mut rig = ClientRig::welcomed();
    let frames = [[5].as_slice(), &[4; 2], &[3]].map(frame_of);
    rig.client.send_voice(rig.now, frames);
    assert_lines(&rig.drain(), &["send voice Voice s1.0 #5 [5] + s1.0 #5 [4, 4] + s1.0 #5 [3]"]);
    let (large, small) = ([1; 600], [2; 100]);
    rig.client.send_voice(rig.now, [&large[..], &small, &large, &small].map(frame_of));
    let lines = rig.drain();
    assert_eq!(lines[0].matches("#5").count(), 2, "what comes after the one left out is older: {lines:?}");
    rig.client.send_voice(rig.now, [frame_of(&[1]); limits::FRAMES_PER_DATAGRAM + 3]);
    assert_eq!(rig.drain()[0].matches("#5").count(), limits::FRAMES_PER_DATAGRAM);
    let stats = rig.client.stats();
    assert_eq!((stats.frames_sent, stats.frames_unsent), (3, 0));
    assert_eq!((stats.copies_sent, stats.copies_unsent), (2 + 1 + 15, 2 + 3));
}

#[test]
fn reports_go_to_the_server_and_come_from_it() {
    let report = ReceiverReport { lost_per_mille: 50, burst_ms: 30, ..ReceiverReport::default() };
    let mut rig = ClientRig::new();
    rig.drain();
    rig.client.report_voice(session(1, 1), report);
    assert_lines(&rig.drain(), &NOTHING);
    let mut rig = ClientRig::welcomed();
    rig.client.report_voice(session(1, 1), report);
    assert_lines(&rig.drain(), &["send voice Report s1.1 lost 50 unrecovered 0 burst 30 queue 0"]);
    let told = pb::VoiceReport { unrecovered_per_mille: 5000, ..Default::default() };
    let lines = rig.receive([Kind::VoiceReport(told)]);
    let sane = ReceiverReport { unrecovered_per_mille: 1000, ..Default::default() };
    assert_eq!(lines, [format!("event {:?}", ClientEvent::Reported(sane))]);
    let stats = rig.client.stats();
    assert_eq!((stats.reports_sent, stats.reports_received), (1, 1));
}

#[test]
fn voice_without_a_connection_or_too_large_is_counted_as_unsent() {
    let mut rig = ClientRig::new();
    rig.drain();
    rig.client.send_voice(rig.now, [frame_of(&[1])]);
    assert_lines(&rig.drain(), &NOTHING);
    let mut rig = ClientRig::welcomed();
    rig.client.send_voice(rig.now, [frame_of(&[0; limits::OPUS_BYTES + 1])]);
    assert_eq!((rig.client.stats().frames_sent, rig.client.stats().frames_unsent), (0, 1));
    assert_lines(&rig.drain(), &NOTHING);
}

#[test]
fn voice_of_others_is_heard_by_either_way_if_it_is_whole() {
    let mut rig = ClientRig::welcomed();
    let payload = voice(session(1, 1), 3, &[7]);
    let datagram = |payload| ClientInput::Datagram { kind: DatagramKind::Voice, payload };
    assert_lines(&rig.input(datagram(&payload)), &["hear s1.1 #3 [7]"]);
    assert_lines(&rig.receive([Kind::Voice(payload.clone())]), &["hear s1.1 #3 [7]"]);
    assert_lines(&rig.input(datagram(&payload[1..])), &NOTHING);
    let stats = rig.client.stats();
    assert_eq!((stats.udp_received, stats.tcp_received, stats.malformed), (2, 1, 1));
}

// Servers that make no sense.

#[test]
fn garbage_ends_a_first_try_and_makes_a_later_one() {
    for bytes in [&[0xff; 64][..], &[0, 0, 0, 2, 0xff, 0xff]] {
        let mut rig = ClientRig::new();
        rig.input(ClientInput::Connected);
        assert_lines(&rig.input(ClientInput::Received { bytes }), &["disconnect", "event Ended(Protocol)"]);
        let mut rig = ClientRig::welcomed();
        let lines = rig.input(ClientInput::Received { bytes });
        assert_eq!((lines.len(), lines[0].as_str()), (2, "disconnect"));
        assert!(lines[1].contains("is not chinwag/1"));
    }
}

#[test]
fn a_welcome_is_taken_once_and_nothing_of_the_room_before_it() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    assert_lines(&rig.receive([said(50, 9, 1, "early"), joined(9, "early"), ack(52, 1)]), &NOTHING);
    assert_eq!(rig.client.members(PlaceId::FIRST).count(), 0);
    rig.receive(ClientRig::let_in());
    assert_lines(&rig.receive(ClientRig::let_in()), &NOTHING);
    rig.input(ClientInput::Disconnected);
    rig.wait(secs(1));
    rig.input(ClientInput::Connected);
    assert_lines(&rig.receive([said(50, 9, 1, "early")]), &NOTHING);
    let welcome = pb::Welcome { resumed: true, ..ClientRig::welcome() };
    let lines = rig.receive([
        Kind::Welcome(welcome),
        Kind::Entered(ClientRig::lobby()),
        said(3, 9, 1, "in its place"),
    ]);
    assert!(
        lines.last().unwrap().contains("in its place") && !lines.concat().contains("Missed"),
        "{lines:?}"
    );
}

#[test]
fn what_a_server_makes_a_client_keep_is_bounded() {
    let long = || "x".repeat(limits::NAME_BYTES + 1);
    let mut welcomes = vec![ClientRig::welcome(); 2];
    welcomes[0].name = long();
    welcomes[1].resume_token = vec![0; limits::RESUME_TOKEN_BYTES + 1];
    for welcome in welcomes {
        let mut rig = ClientRig::new();
        rig.input(ClientInput::Connected);
        assert_lines(&rig.receive([Kind::Welcome(welcome)]), &["disconnect", "event Ended(Protocol)"]);
    }
    let mut rooms = vec![ClientRig::lobby(); 3];
    rooms[0].room.as_mut().unwrap().name = long();
    rooms[1].members.push(member(9, &long()));
    rooms[2].room = None;
    for room in rooms {
        let mut rig = ClientRig::new();
        rig.input(ClientInput::Connected);
        rig.receive([Kind::Welcome(ClientRig::welcome())]);
        assert_eq!(rig.receive([Kind::Entered(room)])[0], "disconnect");
        assert!(!rig.client.is_in());
    }
    let mut rig = ClientRig::welcomed();
    assert_eq!(rig.receive([joined(9, &long())])[0], "disconnect");

    let mut rig = ClientRig::welcomed();
    let mut session = 0;
    while rig.client.is_in() {
        let members = (0..1000).map(|n| member(session + n, "x")).collect();
        session += 1000;
        let bytes = to_client([Kind::Members(pb::Members { room: 1, members })]);
        rig.input(ClientInput::Received { bytes: &bytes });
        assert!(session as usize <= limits::MEMBERS + 1000);
    }
    assert!(rig.client.members(PlaceId::FIRST).count() <= limits::MEMBERS);
    let mut rig = ClientRig::welcomed();
    for session in 3..=limits::MEMBERS as u32 + 3 {
        rig.receive([joined(session, "x")]);
    }
    assert!(!rig.client.is_in());
    assert!(rig.client.members(PlaceId::FIRST).count() <= limits::MEMBERS);
}

#[test]
fn a_full_room_is_no_nonsense() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    rig.receive(ClientRig::let_in());
    let members: Vec<_> = (0..limits::SESSIONS as u32 - 2).map(|session| member(session, "x")).collect();
    for chunk in members.chunks(limits::MEMBERS_PER_FRAME) {
        rig.receive([Kind::Members(pb::Members { room: 1, members: chunk.to_vec() })]);
    }
    assert!(rig.client.is_in());
    assert_eq!(rig.client.members(PlaceId::FIRST).count(), limits::SESSIONS);
}

#[test]
fn undrained_output_comes_out_whole_and_in_order() {
    let run = |drain: &mut dyn FnMut(&mut ClientRig)| {
        let mut rig = ClientRig::new();
        drain(&mut rig);
        let [welcome, lobby] = ClientRig::let_in();
        let bytes = to_client([welcome, lobby, said(3, 9, 1, "hi"), said(9, 9, 2, "ho")]);
        for input in [
            ClientInput::Connected,
            ClientInput::Received { bytes: &bytes },
            ClientInput::Datagram { kind: DatagramKind::Voice, payload: &voice(session(1, 1), 3, &[7]) },
            ClientInput::Disconnected,
        ] {
            rig.client.handle_input(rig.now, input);
            drain(&mut rig);
            let _ = rig.client.say(PlaceId::FIRST, "mine");
            drain(&mut rig);
            rig.client.handle_timeout(rig.now);
            drain(&mut rig);
        }
        assert!(rig.client.poll_timeout().is_some());
        rig.client.quit(rig.now);
        rig
    };
    let mut one = vec![];
    let mut last = run(&mut |rig| one.extend(rig.drain()));
    one.extend(last.drain());
    let mut all = run(&mut |_| {});
    assert_eq!(all.client.poll_timeout(), Some(Instant::ZERO));
    assert_eq!(all.drain(), one);
    let ended = ClientEvent::Ended(chinwag_proto::client::EndReason::Quit);
    assert_eq!(one.last().unwrap(), &format!("event {ended:?}"));
}

// Several rooms.

/// The second place, and so on.
fn place(rig: &ClientRig, at: usize) -> PlaceId {
    rig.client.places().nth(at).unwrap()
}

const FOO: (u32, &str) = (1 << 20, "Foo");
const BAR: (u32, &str) = ((1 << 20) + 1, "Bar");

/// The answer to a claim: room `id`, with Foo in it and these.
fn entered(key: u32, id: u32, name: &str, others: &[(u32, &str)]) -> Kind {
    Kind::Entered(ClientRig::entered(key, id, name, 0, &[&[FOO], others].concat()))
}

const P0: u32 = 1 << 24;

/// What is between Foo and Bar, who is there.
fn whispered(key: u32, last_seq: u64) -> pb::Entered {
    let entered = ClientRig::entered(key, P0, "", last_seq, &[FOO, BAR]);
    pb::Entered { with: BAR.0, ..entered }
}

/// The same, and Bar is not there.
fn deserted(key: u32, last_seq: u64) -> pb::Entered {
    let members = ClientRig::entered(key, P0, "", last_seq, &[FOO]).members;
    pb::Entered { members, member_count: 1, ..whispered(key, last_seq) }
}

fn said_in(room: u32, seq: u64, text: &str) -> Kind {
    let (session, name) = BAR;
    Kind::Said(pb::Said { room, seq, session, name: name.into(), id: 1, text: text.into(), at_ms: seq })
}

fn ack_in(room: u32, seq: u64, id: u64) -> Kind {
    Kind::Ack(pb::Ack { room, seq, id, at_ms: seq })
}

/// What is between Foo and n, the session n + 5.
fn opened_by(key: u32, n: u32) -> Kind {
    let name = format!("n{n}");
    let members = [FOO, (n + 5, name.as_str())];
    Kind::Entered(pb::Entered { with: n + 5, ..ClientRig::entered(key, P0 + n, "", 0, &members) })
}

fn not_entered(key: u32) -> Kind {
    Kind::NotEntered(pb::NotEntered { key, text: "no".into() })
}

/// Its connection is lost and made again; the Hello.
fn reconnect(rig: &mut ClientRig) -> Vec<String> {
    rig.input(ClientInput::Disconnected);
    pause(rig);
    rig.input(ClientInput::Connected)
}

fn welcome_back() -> Kind {
    Kind::Welcome(pb::Welcome { resumed: true, ..ClientRig::welcome() })
}

#[test]
fn a_client_asks_for_all_of_its_rooms_and_talks_in_the_first() {
    let mut rig = ClientRig::in_rooms(Rng::from_number(2), 0, &["", "den"]);
    assert_lines(&rig.input(ClientInput::Connected)[1..], &[r#"send Hello "Foo" in #1 "" voice, #2 "den""#]);
    rig.receive([Kind::Welcome(ClientRig::welcome())]);
    assert_lines(
        &rig.receive([Kind::Entered(ClientRig::lobby()), entered(2, 5, "Den", &[])]),
        &[
            ENTERED,
            r#"event Entered { place: 2, name: "Den", is_private: false, again: false, continues: false }"#,
        ],
    );
    let den = place(&rig, 1);
    assert_eq!((rig.client.place_name(den), rig.client.voice_place()), (Some("Den"), Some(PlaceId::FIRST)));
    assert_lines(&rig.say_in(den, "hi"), &[r#"send Say r5 #1 "hi""#]);
    assert_lines(
        &rig.receive([said_in(5, 1, "yo"), said_in(1, 3, "oh"), said_in(7, 1, "where?"), ack_in(5, 2, 1)]),
        &[
            r#"event Said { place: 2, seq: Seq(1), name: "Bar", text: "yo", at: UnixMillis(1), own: None }"#,
            r#"event Said { place: 1, seq: Seq(3), name: "Bar", text: "oh", at: UnixMillis(3), own: None }"#,
            r#"event Said { place: 2, seq: Seq(2), name: "Foo", text: "hi", at: UnixMillis(2), own: Some(MessageId(1)) }"#,
        ],
    );
    assert_lines(
        &reconnect(&mut rig),
        &[r#"send Hello "Foo" in #1 "lobby" at r1/3 voice, #2 "Den" at r5/2 resume s1.0"#],
    );
}

#[test]
fn a_room_is_joined_and_left_and_joined_again() {
    let mut rig = ClientRig::welcomed();
    let den = rig.client.join(" den ").unwrap();
    assert_lines(&rig.drain(), &[r#"send Join #2 "den""#]);
    assert_eq!(rig.client.join("DEN"), Ok(den));
    assert_lines(&rig.drain(), &NOTHING);
    rig.client.set_voice_place(Some(den));
    assert_lines(&rig.drain(), &NOTHING);
    let lines = rig.receive([entered(2, 5, "den", &[])]);
    assert_lines(&lines[1..], &["send VoiceRoom r5", "send Ping"]);
    assert_eq!(rig.client.place_of(RoomId::from_wire(5)), Some(den));
    rig.client.part(den);
    assert_lines(&rig.drain(), &["send VoiceRoom r0", "send Ping", "send Part r5"]);
    assert_eq!((rig.client.places().count(), rig.client.voice_place()), (1, None));
    assert_eq!(rig.client.say(den, "x"), Err(SayError::NotInRoom));
    assert_lines(&rig.receive([said_in(5, 1, "too late")]), &NOTHING);
    let again = rig.client.join("den").unwrap();
    assert_ne!(again, den);
    assert_lines(&rig.drain(), &[r#"send Join #3 "den""#]);
    // Without a connection it is a matter of the next Hello.
    rig.input(ClientInput::Disconnected);
    rig.client.part(again);
    rig.client.join("attic").unwrap();
    pause(&mut rig);
    assert_lines(
        &rig.input(ClientInput::Connected),
        &[r#"send Hello "Foo" in #1 "lobby" at r1/2, #4 "attic" resume s1.0"#],
    );
    // What is asked for behind the Hello follows when it is answered.
    rig.client.join("loft").unwrap();
    assert_lines(&rig.drain(), &NOTHING);
    assert_eq!(rig.receive([welcome_back()])[2..], [r#"send Join #5 "loft""#]);
}

#[test]
fn a_room_that_is_left_before_it_is_entered_is_left_when_it_is_and_then_entered_again_if_that_is_wanted() {
    for wants in [false, true] {
        let mut rig = ClientRig::welcomed();
        let den = rig.client.join("Den").unwrap();
        rig.client.part(den);
        if wants {
            rig.client.join("den").unwrap();
        }
        rig.drain();
        let lines = rig.receive([entered(2, 5, "Den", &[])]);
        if !wants {
            assert_lines(&lines, &["send Part r5"]);
            continue;
        }
        // First one, then the other, or the server would take both for one.
        assert_lines(&lines, &["send Part r5", r#"send Join #3 "den""#]);
        assert!(rig.receive([entered(3, 5, "Den", &[])])[0].starts_with("event Entered { place: 3"));
        assert_eq!(rig.say_in(place(&rig, 1), "hi"), [r#"send Say r5 #1 "hi""#]);
    }
}

#[test]
fn what_is_said_where_one_is_not_yet_waits_and_all_later_waits_behind_it() {
    let mut rig = ClientRig::welcomed();
    let den = rig.client.join("den").unwrap();
    rig.drain();
    assert_lines(&rig.say("before"), &[r#"send Say r1 #1 "before""#]);
    assert_lines(&rig.say_in(den, "early"), &NOTHING);
    assert_lines(&rig.say("behind"), &NOTHING);
    let lines = rig.receive([entered(2, 5, "den", &[])]);
    assert_lines(&lines[1..], &[r#"send Say r5 #2 "early""#, r#"send Say r1 #3 "behind""#]);
}

#[test]
fn what_was_said_where_one_is_not_let_in_is_given_back_and_the_rest_goes_on() {
    let mut rig = ClientRig::welcomed();
    let den = rig.client.join("den").unwrap();
    rig.client.set_voice_place(Some(den));
    rig.drain();
    rig.say_in(den, "early");
    rig.say("behind");
    rig.say_in(den, "more");
    assert_lines(
        &rig.receive([not_entered(2)]),
        &[
            r#"event NotSaid { place: 2, id: MessageId(1), text: "early", why: "no" }"#,
            r#"event NotSaid { place: 2, id: MessageId(3), text: "more", why: "no" }"#,
            r#"event NotEntered { place: 2, name: "den", is_private: false, why: "no" }"#,
            r#"send Say r1 #2 "behind""#,
        ],
    );
    // The voice stays where it was.
    assert_eq!((rig.client.places().count(), rig.client.voice_place()), (1, Some(PlaceId::FIRST)));
    // One that nobody asked for.
    assert_lines(&rig.receive([not_entered(2), not_entered(77), not_entered(0)]), &NOTHING);
}

#[test]
fn whoever_parts_leaves_nothing_unsaid_over_a_lost_connection_too() {
    let mut rig = ClientRig::in_rooms(Rng::from_number(2), 0, &["", "den"]);
    rig.input(ClientInput::Connected);
    rig.receive([Kind::Welcome(ClientRig::welcome())]);
    rig.receive([Kind::Entered(ClientRig::lobby()), entered(2, 5, "den", &[])]);
    let den = place(&rig, 1);
    rig.say_in(den, "last words");
    rig.client.part(den);
    assert_lines(&rig.drain(), &NOTHING);
    assert_eq!((rig.client.places().count(), rig.client.say(den, "more")), (1, Err(SayError::NotInRoom)));
    // The user hears no more of it.
    assert_lines(&rig.receive([said_in(5, 1, "x")]), &NOTHING);
    assert_lines(
        &reconnect(&mut rig),
        &[r#"send Hello "Foo" in #1 "lobby" at r1/2 voice, #2 "den" at r5/1 resume s1.0"#],
    );
    let lines = rig.receive([welcome_back(), Kind::Entered(ClientRig::lobby()), entered(2, 5, "den", &[])]);
    assert_eq!(lines.last().unwrap(), r#"send Say r5 #1 "last words""#);
    assert!(!lines.concat().contains("place: 2"), "{lines:?}");
    assert_lines(&rig.receive([ack_in(5, 2, 1)]), &["send Part r5"]);
    assert_eq!(rig.client.unacknowledged(), 0);
    assert_lines(&reconnect(&mut rig), &[r#"send Hello "Foo" in #1 "lobby" at r1/2 voice resume s1.0"#]);
}

#[test]
fn whoever_comes_again_before_the_last_word_is_acknowledged_comes_after_he_left() {
    let mut rig = ClientRig::welcomed();
    rig.say("hi");
    rig.client.part(PlaceId::FIRST);
    // Another place: he was told nothing of what was said in the one that he left.
    assert_eq!(rig.client.join("Lobby"), Ok(PlaceId::from_number(2)));
    assert_lines(&rig.drain(), &["send VoiceRoom r0", "send Ping"]);
    let lines = rig.receive([ack(3, 1)]);
    assert_lines(&lines, &["send Part r1", r#"send Join #2 "Lobby""#]);
    assert_eq!(rig.client.places().count(), 1);
}

#[test]
fn what_a_server_takes_for_one_room_becomes_one_place() {
    let mut rig = ClientRig::in_rooms(Rng::from_number(2), 0, &["", "lobby", "den"]);
    rig.input(ClientInput::Connected);
    let [one, two] = [place(&rig, 0), place(&rig, 1)];
    rig.say_in(two, "a");
    rig.say_in(one, "b");
    rig.client.set_voice_place(Some(two));
    assert_lines(&rig.drain(), &NOTHING);
    rig.receive([Kind::Welcome(ClientRig::welcome())]);
    rig.receive([Kind::Entered(ClientRig::lobby())]);
    assert_lines(
        &rig.receive([Kind::Entered(ClientRig::entered(2, 1, "lobby", 2, &[FOO, BAR]))]),
        &[
            r#"event NotEntered { place: 2, name: "lobby", is_private: false, why: "you are in that room already" }"#,
            r#"send Say r1 #1 "a""#,
            r#"send Say r1 #2 "b""#,
        ],
    );
    assert_eq!((rig.client.voice_place(), rig.client.places().count()), (Some(one), 2));
    let texts: Vec<_> = rig.client.unacknowledged_texts().collect();
    assert_eq!(texts, [(one, "a"), (one, "b")]);
}

#[test]
fn one_is_in_so_many_rooms_as_a_server_allows() {
    let mut rig = ClientRig::welcomed();
    for n in 1..limits::ROOMS_EACH {
        rig.client.join(&format!("room {n}")).unwrap();
    }
    assert_eq!(rig.client.join("one more"), Err(JoinError::TooManyRooms));
    assert!(rig.client.join("ROOM 3").is_ok() && rig.client.whisper("Bar").is_ok());
    assert!(matches!(rig.client.join("a:b"), Err(JoinError::Name(_))));
    rig.client.part(PlaceId::FIRST);
    assert!(rig.client.join("one more").is_ok());
    rig.drain();
    assert_eq!(rig.client.audit(), Ok(()));
}

#[test]
fn a_place_that_is_new_after_a_loss_tells_of_nobody_meanwhile() {
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    rig.client.join("den").unwrap();
    pause(&mut rig);
    rig.input(ClientInput::Connected);
    let lobby = Kind::Entered(ClientRig::entered(1, 1, "lobby", 2, &[FOO]));
    let lines = rig.receive([welcome_back(), lobby, entered(2, 5, "den", &[BAR])]);
    let meanwhile: Vec<_> = lines.iter().filter(|line| line.contains("Meanwhile")).collect();
    assert_eq!(meanwhile, [r#"event Meanwhile { place: 1, joined: [], left: ["Bar"] }"#]);
}

// What is between two.

/// One that is in the lobby and alone with Bar, as its second place.
fn whispering() -> (ClientRig, PlaceId) {
    let mut rig = ClientRig::welcomed();
    let bar = rig.client.whisper("bar").unwrap();
    rig.drain();
    rig.receive([Kind::Entered(whispered(2, 0))]);
    (rig, bar)
}

#[test]
fn what_is_between_two_has_the_others_name() {
    let mut rig = ClientRig::welcomed();
    let bar = rig.client.whisper("bar").unwrap();
    assert_lines(&rig.drain(), &[r#"send Join #2 with "bar""#]);
    assert_lines(&rig.say_in(bar, "psst"), &NOTHING);
    assert_lines(
        &rig.receive([Kind::Entered(whispered(2, 0))]),
        &[
            r#"event Entered { place: 2, name: "Bar", is_private: true, again: false, continues: false }"#,
            r#"send Say p0 #1 "psst""#,
        ],
    );
    assert_eq!((rig.client.is_private(bar), rig.client.whisper("BAR")), (true, Ok(bar)));
    // It is not left, and asked for by its number.
    rig.client.part(bar);
    assert_lines(
        &reconnect(&mut rig),
        &[r#"send Hello "Foo" in #1 "lobby" at r1/2 voice, #2 with "Bar" at p0/0 resume s1.0"#],
    );
}

#[test]
fn what_another_opens_is_a_new_place_or_the_one_that_was_asked_for() {
    let mut rig = ClientRig::welcomed();
    assert_lines(
        &rig.receive([Kind::Entered(whispered(0, 0)), said_in(P0, 1, "hi")]),
        &[
            r#"event Entered { place: 2, name: "Bar", is_private: true, again: false, continues: false }"#,
            r#"event Said { place: 2, seq: Seq(1), name: "Bar", text: "hi", at: UnixMillis(1), own: None }"#,
        ],
    );
    // Both open it at once: Bar's comes first, then the answer, with what was said.
    let mut rig = ClientRig::welcomed();
    let bar = rig.client.whisper("bar").unwrap();
    rig.drain();
    let lines = rig.receive([
        Kind::Entered(whispered(0, 0)),
        said_in(P0, 1, "hi"),
        Kind::Entered(whispered(2, 0)),
        said_in(P0, 1, "hi"),
        said_in(P0, 2, "you"),
    ]);
    assert_lines(
        &lines,
        &[
            r#"event Entered { place: 2, name: "Bar", is_private: true, again: false, continues: false }"#,
            r#"event Said { place: 2, seq: Seq(1), name: "Bar", text: "hi", at: UnixMillis(1), own: None }"#,
            r#"event Said { place: 2, seq: Seq(2), name: "Bar", text: "you", at: UnixMillis(2), own: None }"#,
        ],
    );
    assert_eq!(rig.client.places().collect::<Vec<_>>(), [PlaceId::FIRST, bar]);
}

#[test]
fn one_who_is_back_is_told_as_one_who_joined() {
    let (mut rig, bar) = whispering();
    let gone =
        pb::Left { room: P0, member: Some(member(BAR.0, "Bar")), reason: pb::left::Reason::Lost.into() };
    rig.receive([said_in(P0, 1, "bye"), Kind::Left(gone)]);
    // By another name, since somebody has his.
    let mut back = whispered(0, 1);
    back.members[1].name = "Bar2".into();
    assert_lines(
        &rig.receive([Kind::Entered(back), said_in(P0, 1, "bye"), said_in(P0, 2, "hi")]),
        &[
            r#"event Joined { place: 2, session: SessionId(1048577), name: "Bar2" }"#,
            r#"event Said { place: 2, seq: Seq(2), name: "Bar", text: "hi", at: UnixMillis(2), own: None }"#,
        ],
    );
    assert_eq!(rig.client.place_name(bar), Some("Bar2"));
}

#[test]
fn a_place_keeps_its_name_while_the_other_is_not_there() {
    let (mut rig, bar) = whispering();
    reconnect(&mut rig);
    let lines =
        rig.receive([welcome_back(), Kind::Entered(ClientRig::lobby()), Kind::Entered(deserted(2, 0))]);
    assert!(
        lines.contains(&r#"event Meanwhile { place: 2, joined: [], left: ["Bar"] }"#.to_owned()),
        "{lines:?}"
    );
    assert_eq!((rig.client.place_name(bar), rig.client.members(bar).count()), (Some("Bar"), 1));
}

#[test]
fn one_who_went_away_is_asked_for_anew_whoever_he_is_now() {
    let bar = (BAR.0 + 7, "Bar");
    let left = || {
        let reason = pb::left::Reason::Quit.into();
        Kind::Left(pb::Left { room: P0, member: Some(member(BAR.0, "Bar")), reason })
    };
    let (mut rig, place) = whispering();
    rig.receive([said_in(P0, 1, "bye"), left()]);
    assert_eq!(rig.client.whisper("Bar"), Ok(place));
    assert_lines(&rig.drain(), &[r#"send Join #2 with "Bar""#]);
    assert_lines(&rig.say_in(place, "anew"), &NOTHING);
    let other = ClientRig::entered(2, P0 + 1, "", 0, &[FOO, bar]);
    let mut other = pb::Entered { with: bar.0, ..other };
    other.room.as_mut().unwrap().epoch = 10;
    assert_lines(
        &rig.receive([Kind::Entered(other)]),
        &[
            r#"event Entered { place: 2, name: "Bar", is_private: true, again: false, continues: false }"#,
            r#"send Say p1 #1 "anew""#,
        ],
    );
    // It is the same one, who is back: nothing is told twice.
    let (mut rig, _) = whispering();
    rig.receive([said_in(P0, 1, "bye"), left()]);
    rig.client.whisper("Bar").unwrap();
    rig.drain();
    assert_lines(
        &rig.receive([Kind::Entered(whispered(2, 0)), said_in(P0, 1, "bye"), said_in(P0, 2, "hi")]),
        &[
            r#"event Entered { place: 2, name: "Bar", is_private: true, again: false, continues: true }"#,
            r#"event Said { place: 2, seq: Seq(2), name: "Bar", text: "hi", at: UnixMillis(2), own: None }"#,
        ],
    );
    // He is not back, and comes later.
    let (mut rig, place) = whispering();
    rig.receive([left()]);
    rig.client.whisper("Bar").unwrap();
    rig.say_in(place, "psst");
    assert_lines(
        &rig.receive([not_entered(2)]),
        &[
            r#"event NotSaid { place: 2, id: MessageId(1), text: "psst", why: "no" }"#,
            r#"event NotEntered { place: 2, name: "Bar", is_private: true, why: "no" }"#,
        ],
    );
    let lines = rig.receive([Kind::Entered(whispered(0, 0)), said_in(P0, 1, "hi")]);
    assert!(
        lines[0].starts_with(r#"event Entered { place: 3, name: "Bar""#) && lines[1].contains("hi"),
        "{lines:?}"
    );
}

#[test]
fn places_whose_other_is_gone_make_room_for_others() {
    let mut rig = ClientRig::welcomed();
    let most = limits::PRIVATE_EACH as u32;
    for n in 0..most {
        assert_eq!(rig.receive([opened_by(0, n)]).len(), 1);
    }
    for n in 0..most {
        let place = rig.client.whisper(&format!("n{n}")).unwrap();
        rig.client.say(place, "hi").unwrap();
        rig.receive([ack_in(P0 + n, 1, u64::from(n) + 1)]);
    }
    assert_eq!(rig.client.whisper("nobody"), Err(JoinError::TooManyPrivate));
    assert_lines(&rig.receive([opened_by(0, most)]), &NOTHING);
    let reason = pb::left::Reason::Quit.into();
    let left = |n: u32| Kind::Left(pb::Left { room: P0 + n, member: Some(member(n + 5, "x")), reason });
    rig.receive([left(4), left(9)]);
    let lines = rig.receive([opened_by(0, most)]);
    assert!(
        lines[0].starts_with(r#"event NotEntered { place: 6, name: "n4", is_private: true"#),
        "{lines:?}"
    );
    assert!(lines[1].starts_with(r#"event Entered { place: 50, name: "n48""#), "{lines:?}");
    assert!(rig.client.whisper("nobody").is_ok());
    assert_eq!(rig.client.places().filter(|place| rig.client.is_private(*place)).count() as u32, most);
    rig.drain();
    assert_eq!(rig.client.audit(), Ok(()));
}

#[test]
fn places_that_were_never_answered_make_room_for_one_who_is_asked() {
    let mut rig = ClientRig::welcomed();
    let most = limits::PRIVATE_EACH as u32;
    rig.receive((0..most).map(|n| opened_by(0, n)));
    let asked = rig.client.whisper("friend").unwrap();
    assert_eq!(rig.drain().len(), 1);
    assert_eq!(rig.client.whisper("another"), Err(JoinError::TooManyPrivate), "one after the other");
    // The server ends one of those that were there.
    let reason = pb::left::Reason::Quit.into();
    let left = Kind::Left(pb::Left { room: P0 + 7, member: Some(member(12, "n7")), reason });
    let lines = rig.receive([left, opened_by(asked.number(), most)]);
    assert!(lines[1].starts_with(r#"event NotEntered { place: 9, name: "n7""#), "{lines:?}");
    assert!(lines[2].starts_with(r#"event Entered { place: 50"#), "{lines:?}");
    let count = |rig: &ClientRig| rig.client.places().filter(|place| rig.client.is_private(*place)).count();
    assert_eq!((count(&rig) as u32, rig.client.audit()), (most, Ok(())));
    // Or it does not, and the connection is lost meanwhile: no more are claimed than it takes.
    rig.client.whisper("another").unwrap();
    rig.receive([Kind::Left(pb::Left { room: P0 + 8, member: Some(member(13, "n8")), reason })]);
    rig.drain();
    assert_eq!(count(&rig) as u32, most);
}

#[test]
fn what_another_began_is_not_undone_by_the_answer_to_what_one_asked_for() {
    let mut rig = ClientRig::welcomed();
    let bar = rig.client.whisper("Bar").unwrap();
    rig.drain();
    // He has another name when the claim is looked at.
    rig.receive([Kind::Entered(whispered(0, 0)), changed(member(BAR.0, "Fred"))]);
    assert_lines(&rig.receive([not_entered(2)]), &NOTHING);
    assert_eq!(rig.say_in(bar, "hi"), [r#"send Say p0 #1 "hi""#]);
}

#[test]
fn the_voice_goes_with_a_place_to_another_room() {
    let (mut rig, bar) = whispering();
    rig.client.set_voice_place(Some(bar));
    assert_lines(&rig.drain(), &["send VoiceRoom p0", "send Ping"]);
    // Both began it at the same time.
    let opened = |room: u32, with: u32| {
        let entered = ClientRig::entered(0, room, "", 0, &[FOO, (with, "Bar")]);
        Kind::Entered(pb::Entered { with, ..entered })
    };
    let left =
        |room: u32, with: u32| Kind::Left(pb::Left { room, member: Some(member(with, "Bar")), reason: 2 });
    let lines = rig.receive([left(P0, BAR.0), opened(P0 + 1, BAR.0)]);
    assert_lines(&lines[lines.len() - 2..], &["send VoiceRoom p1", "send Ping"]);
    // Bar is another one now: whoever takes a name is not given the voice that was for another.
    let lines = rig.receive([left(P0 + 1, BAR.0), opened(P0 + 2, BAR.0 + 7)]);
    assert_lines(&lines[lines.len() - 2..], &["send VoiceRoom r0", "send Ping"]);
    assert_eq!(rig.client.voice_place(), None);
}

#[test]
fn one_of_a_name_that_was_left_is_asked_for_when_that_one_is_refused() {
    let mut rig = ClientRig::welcomed();
    let first = rig.client.join("den").unwrap();
    rig.client.part(first);
    let second = rig.client.join("den").unwrap();
    assert_lines(&rig.drain(), &[r#"send Join #2 "den""#]);
    rig.client.say(second, "hello").unwrap();
    assert_lines(&rig.receive([not_entered(first.number())]), &[r#"send Join #3 "den""#]);
    assert_lines(&rig.receive([entered(3, 5, "den", &[])])[1..], &[r#"send Say r5 #1 "hello""#]);
}

#[test]
fn what_waits_for_one_is_not_said_to_another_of_his_name() {
    let (mut rig, bar) = whispering();
    rig.receive([Kind::Left(pb::Left { room: P0, member: Some(member(BAR.0, "Bar")), reason: 2 })]);
    rig.input(ClientInput::Disconnected);
    rig.client.say(bar, "my secret").unwrap();
    rig.client.whisper("Bar").unwrap();
    let lines = rig.drain();
    assert!(
        lines.len() == 1 && lines[0].contains(r#"NotSaid { place: 2, id: MessageId(1), text: "my secret""#),
        "{lines:?}"
    );
}

#[test]
fn no_more_is_claimed_than_a_server_takes() {
    let names: Vec<String> = (0..limits::ROOMS_EACH).map(|n| format!("room {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = ClientRig::in_rooms(Rng::from_number(2), 0, &names);
    rig.input(ClientInput::Connected);
    let most = limits::PRIVATE_EACH as u32;
    rig.receive([Kind::Welcome(ClientRig::welcome())].into_iter().chain((0..most).map(|n| opened_by(0, n))));
    let friend = rig.client.whisper("friend").unwrap();
    rig.client.say(friend, "hi").unwrap();
    rig.drain();
    rig.input(ClientInput::Disconnected);
    pause(&mut rig);
    let lines = rig.input(ClientInput::Connected);
    assert!(
        lines[0].contains("NotSaid") && lines[1].contains(r#"NotEntered { place: 65, name: "friend""#),
        "{lines:?}"
    );
    assert_eq!(lines[2].matches(" #").count(), limits::CLAIMS, "{lines:?}");
}

#[test]
fn who_was_answered_is_given_up_after_strangers() {
    let mut rig = ClientRig::welcomed();
    let most = limits::PRIVATE_EACH as u32;
    rig.receive((0..most).map(|n| opened_by(0, n)));
    let friend = rig.client.whisper("n0").unwrap();
    rig.client.set_voice_place(Some(friend));
    let left = |n: u32| Kind::Left(pb::Left { room: P0 + n, member: Some(member(n + 5, "x")), reason: 2 });
    // He is away for a while, and the server ends what a stranger began.
    let lines = rig.receive([left(0), left(1), opened_by(0, most)]);
    assert!(lines.iter().any(|line| line.contains(r#"NotEntered { place: 3, name: "n1""#)), "{lines:?}");
    assert_eq!(rig.client.voice_place(), Some(friend));
}

// Names, marks, topics, lists.

fn changed(member: pb::Member) -> Kind {
    Kind::Changed(member)
}

#[test]
fn who_is_called_or_heard_otherwise_is_so_in_all_places() {
    let (mut rig, bar) = whispering();
    let member = pb::Member { voice: 1, muted: true, ..member(BAR.0, "Barbara") };
    let lines = rig.receive([changed(member.clone()), changed(member)]);
    assert!(lines[0].starts_with(r#"event Changed { session: SessionId(1048577), former: Some("Bar"), member: Member { name: "Barbara", marks: Marks { muted: true, deafened: false }, voice: Some(RoomId(1)) }"#), "{lines:?}");
    assert!(lines[1].contains("former: None"), "{lines:?}");
    for place in rig.client.places() {
        let other = rig.client.members(place).find(|(session, _)| session.to_wire() == BAR.0).unwrap().1;
        assert_eq!((other.name.as_str(), other.marks.muted), ("Barbara", true));
    }
    assert_eq!(rig.client.place_name(bar), Some("Barbara"));
    let long = pb::Member { name: "x".repeat(limits::NAME_BYTES + 1), ..Default::default() };
    assert_eq!(rig.receive([changed(long)])[0], "disconnect");
}

#[test]
fn a_name_is_asked_for_until_it_is_confirmed_or_refused() {
    let mut rig = ClientRig::welcomed();
    assert!(matches!(rig.client.set_name("a:b"), Err(JoinError::Name(_))));
    rig.client.set_name(" Fred ").unwrap();
    assert_lines(&rig.drain(), &[r#"send Name "Fred""#]);
    assert_eq!(rig.client.name(), Some("Foo"));
    // News of another change is none of it.
    rig.receive([changed(pb::Member { muted: true, ..member(FOO.0, "Foo") })]);
    assert!(reconnect(&mut rig)[0].starts_with(r#"send Hello "Fred" in"#));
    let welcome = pb::Welcome { name: "Fred".into(), resumed: true, ..ClientRig::welcome() };
    rig.receive([Kind::Welcome(welcome), Kind::Entered(ClientRig::lobby())]);
    assert_eq!(rig.client.name(), Some("Fred"));
    // Confirmed.
    rig.client.set_name("Frida").unwrap();
    let lines = rig.receive([changed(member(FOO.0, "Frida"))]);
    assert!(
        lines[1].contains(r#"former: Some("Foo")"#) || lines[1].contains(r#"former: Some("Fred")"#),
        "{lines:?}"
    );
    assert_eq!(rig.client.name(), Some("Frida"));
    // Refused.
    rig.client.set_name("Bar").unwrap();
    let refused = |name: &str| Kind::NotDone(pb::NotDone { text: "taken".into(), name: name.into() });
    // What something else is, or an earlier name, is none of it.
    rig.receive([refused(""), refused("Baz")]);
    rig.input(ClientInput::Disconnected);
    pause(&mut rig);
    assert!(rig.input(ClientInput::Connected)[0].starts_with(r#"send Hello "Bar" in"#));
    let welcome = pb::Welcome { name: "Frida".into(), resumed: true, ..ClientRig::welcome() };
    rig.receive([Kind::Welcome(welcome), Kind::Entered(ClientRig::lobby())]);
    rig.client.set_name("Bar").unwrap();
    assert_eq!(rig.receive([refused("Bar")]), [r#"send Name "Bar""#, r#"event NotDone { why: "taken" }"#]);
    assert!(reconnect(&mut rig)[0].starts_with(r#"send Hello "Frida" in"#));
}

#[test]
fn what_is_wanted_between_hello_and_welcome_is_asked_for_after_it() {
    let mut rig = ClientRig::new();
    rig.input(ClientInput::Connected);
    rig.client.set_name("Fred").unwrap();
    rig.client.set_marks(Marks { muted: true, deafened: false });
    assert_lines(&rig.drain(), &NOTHING);
    let lines = rig.receive(ClientRig::let_in());
    let asked: Vec<_> = lines.iter().filter(|line| line.starts_with("send")).collect();
    assert_eq!(asked, ["send Marks !muted", r#"send Name "Fred""#]);
    // Not lost with the connection, either.
    let lines = reconnect(&mut rig);
    assert!(lines[0].starts_with(r#"send Hello "Fred"!muted in"#), "{lines:?}");
}

#[test]
fn nobody_talks_before_the_server_has_said_where() {
    let mut rig = ClientRig::welcomed();
    let talk = |rig: &mut ClientRig| {
        rig.client.send_voice(rig.now, [frame_of(&[1, 2])]);
        rig.drain().len()
    };
    let den = rig.client.join("den").unwrap();
    rig.receive([Kind::Entered(ClientRig::entered(2, 2, "den", 0, &[FOO]))]);
    let at = |room| changed(pb::Member { voice: room, ..member(FOO.0, "Foo") });
    rig.receive([at(1)]);
    assert_eq!(talk(&mut rig), 1);
    rig.client.set_voice_place(Some(den));
    let tokens = pinged(&mut rig);
    assert_eq!((talk(&mut rig), rig.client.stats().frames_unsent), (0, 1));
    rig.receive([at(2), Kind::Pong(pb::Ping { token: tokens[0] })]);
    assert_eq!((talk(&mut rig), rig.client.heard_in()), (1, Some(RoomId::from_wire(2))));
    // He goes to and fro: that he is in the den he was told of the time before.
    rig.client.set_voice_place(Some(PlaceId::FIRST));
    rig.client.set_voice_place(Some(den));
    let tokens = pinged(&mut rig);
    assert_eq!(talk(&mut rig), 0);
    rig.receive([at(1), Kind::Pong(pb::Ping { token: tokens[0] }), at(2)]);
    assert_eq!(talk(&mut rig), 0);
    rig.receive([Kind::Pong(pb::Ping { token: tokens[1] })]);
    assert_eq!(talk(&mut rig), 1);
    // What the server has done of its own it has told.
    rig.receive([at(0)]);
    assert_eq!((talk(&mut rig), rig.client.heard_in()), (0, None));
}

#[test]
fn what_was_said_in_one_room_is_not_repeated_in_another() {
    let mut rig = ClientRig::welcomed();
    let talk = |rig: &mut ClientRig, sequences: &[u32]| {
        let frames = sequences.iter().map(|&sequence| VoiceFrame { sequence, ..frame_of(&[1]) });
        rig.client.send_voice(rig.now, frames);
        rig.drain().concat()
    };
    let den = rig.client.join("den").unwrap();
    rig.receive([Kind::Entered(ClientRig::entered(2, 2, "den", 0, &[FOO]))]);
    let at = |room| changed(pb::Member { voice: room, ..member(FOO.0, "Foo") });
    rig.receive([at(1)]);
    assert_eq!(talk(&mut rig, &[1, 0, u32::MAX]), "send voice Voice s1.0 #1 [1]");
    assert_eq!(talk(&mut rig, &[2, 1, 0]), "send voice Voice s1.0 #2 [1] + s1.0 #1 [1]");
    rig.client.set_voice_place(Some(den));
    let token = pinged(&mut rig)[0];
    // Said for the den already.
    assert_eq!(talk(&mut rig, &[3, 2, 1]), "");
    rig.receive([at(2), Kind::Pong(pb::Ping { token })]);
    assert_eq!(talk(&mut rig, &[4, 3, 2]), "send voice Voice s1.0 #4 [1] + s1.0 #3 [1]");
    // A microphone that is opened again counts from the beginning.
    assert_eq!(talk(&mut rig, &[1]), "send voice Voice s1.0 #1 [1]");
    assert_eq!(talk(&mut rig, &[2, 1]), "send voice Voice s1.0 #2 [1] + s1.0 #1 [1]");
}

#[test]
fn a_name_that_is_wanted_without_a_connection_gives_way_to_a_free_one() {
    let mut rig = ClientRig::welcomed();
    rig.input(ClientInput::Disconnected);
    rig.client.set_name("Bar").unwrap();
    assert_lines(&rig.drain(), &NOTHING);
    pause(&mut rig);
    assert!(rig.input(ClientInput::Connected)[0].starts_with(r#"send Hello "Bar" in"#));
    let reason = refused::Reason::NameTaken.into();
    rig.receive([Kind::Refused(pb::Refused { reason, text: "taken".into(), suggestion: "Bar2".into() })]);
    pause(&mut rig);
    assert!(rig.input(ClientInput::Connected)[0].starts_with(r#"send Hello "Bar2" in"#));
}

#[test]
fn marks_are_told_when_they_change_and_with_each_hello() {
    let mut rig = ClientRig::welcomed();
    let muted = Marks { muted: true, deafened: false };
    rig.client.set_marks(muted);
    rig.client.set_marks(muted);
    assert_lines(&rig.drain(), &["send Marks !muted"]);
    rig.input(ClientInput::Disconnected);
    rig.client.set_marks(Marks { muted: true, deafened: true });
    assert_lines(&rig.drain(), &NOTHING);
    pause(&mut rig);
    assert!(rig.input(ClientInput::Connected)[0].starts_with(r#"send Hello "Foo"!both in"#));
}

#[test]
fn topics_are_told_and_kept_and_those_that_changed_meanwhile_are_told_as_well() {
    let topic = |text: &str| pb::Topic { room: 1, text: text.into(), by: "Bar".into(), at_ms: 7 };
    let told = |text: &str| {
        format!(
            r#"event Topic {{ place: 1, topic: RoomTopic {{ text: "{text}", by: "Bar", at: UnixMillis(7) }} }}"#
        )
    };
    let mut rig = ClientRig::welcomed();
    assert!(rig.client.set_topic(PlaceId::FIRST, "tea"));
    assert_lines(&rig.drain(), &[r#"send Topic r1 "tea""#]);
    assert_eq!(rig.receive([Kind::Topic(topic("tea"))]), [told("tea")]);
    assert_eq!(rig.client.topic(PlaceId::FIRST).unwrap().text, "tea");
    for (now, expected) in
        [(Some("tea"), None), (Some("cake"), Some(told("cake"))), (None, Some(String::new()))]
    {
        reconnect(&mut rig);
        assert!(!rig.client.set_topic(PlaceId::FIRST, "x"));
        let lobby = pb::Entered { topic: now.map(topic), ..ClientRig::lobby() };
        let lines = rig.receive([welcome_back(), Kind::Entered(lobby)]);
        let topics: Vec<_> = lines.iter().filter(|line| line.starts_with("event Topic")).collect();
        assert_eq!(topics.len(), usize::from(expected.is_some()), "{lines:?}");
        let expected = expected.unwrap_or_default();
        assert!(expected.is_empty() || *topics[0] == expected, "{lines:?}");
        assert_eq!(rig.client.topic(PlaceId::FIRST).map(|topic| topic.text.as_str()), now);
    }
    // A room that is entered for the first time has its topic without an event of its own.
    let den = rig.client.join("den").unwrap();
    rig.drain();
    let entered = pb::Entered { topic: Some(topic("tea")), ..ClientRig::entered(2, 5, "den", 0, &[FOO]) };
    assert_eq!(rig.receive([Kind::Entered(entered)]).len(), 1);
    assert_eq!(rig.client.topic(den).unwrap().text, "tea");
}

#[test]
fn the_list_of_rooms_is_told_when_it_is_whole_and_is_bounded() {
    let list = |names: &[&str], more| {
        let room = |name: &&str| pb::ListedRoom { name: (*name).to_owned(), members: 2, topic: "t".into() };
        Kind::Rooms(pb::RoomList { rooms: names.iter().map(room).collect(), more })
    };
    let mut rig = ClientRig::welcomed();
    assert!(rig.client.ask_rooms());
    assert_lines(&rig.drain(), &["send ListRooms"]);
    assert_lines(&rig.receive([list(&["a", "b"], true)]), &NOTHING);
    let room = |name: &str| format!(r#"ListedRoom {{ name: "{name}", members: 2, topic: "t" }}"#);
    assert_eq!(
        rig.receive([list(&["c"], false)]),
        [format!("event Rooms([{}, {}, {}])", room("a"), room("b"), room("c"))]
    );
    // Half of a list is not the beginning of the next.
    rig.receive([list(&["old"], true)]);
    reconnect(&mut rig);
    assert!(!rig.client.ask_rooms());
    rig.receive([welcome_back()]);
    assert!(rig.client.ask_rooms());
    rig.drain();
    assert_eq!(rig.receive([list(&["new"], false)]), [format!("event Rooms([{}])", room("new"))]);
    for _ in 0..20 {
        rig.receive([list(&["x"; 100], true)]);
        assert_eq!(rig.client.audit(), Ok(()));
    }
    let lines = rig.receive([list(&[], false)]);
    assert_eq!(lines[0].matches("ListedRoom").count(), limits::ROOMS);
}

// Servers that make no sense of rooms.

#[test]
fn rooms_that_nobody_asked_for_are_left_and_nothing_grows() {
    let mut rig = ClientRig::welcomed();
    for key in (2..2000).chain([0, u32::MAX]) {
        assert_eq!(
            rig.receive([entered(key, key, "x", &[])]),
            [format!("send Part r{key}")].map(|line| {
                // What is between two has another name.
                line.replace(&format!("r{}", u32::MAX), "p?")
            })
        );
    }
    assert_eq!(rig.client.places().count(), 1);
    // What is between two cannot be left, so that there are only so many.
    for n in 0..2000 {
        let name = format!("n{n}");
        let members = [FOO, (n + 5, name.as_str())];
        rig.receive([Kind::Entered(pb::Entered {
            with: n + 5,
            ..ClientRig::entered(n, P0 + n, "", 0, &members)
        })]);
        assert_eq!(rig.client.audit(), Ok(()));
    }
    assert_eq!(rig.client.places().count(), 1 + limits::PRIVATE_EACH);
}

#[test]
fn a_room_that_is_entered_without_end_is_one_room() {
    let mut rig = ClientRig::welcomed();
    for n in 0..500 {
        let lobby = ClientRig::entered(1, n, &format!("room {n}"), u64::from(n), &[FOO, (n + 2, "x")]);
        rig.receive([Kind::Entered(lobby)]);
        assert_eq!((rig.client.members(PlaceId::FIRST).count(), rig.client.audit()), (2, Ok(())));
    }
    assert_eq!(rig.client.places().count(), 1);
}

#[test]
fn a_number_that_is_a_room_with_a_name_is_nobodys_alone() {
    let mut rig = ClientRig::welcomed();
    let stolen = pb::Entered { with: BAR.0, ..ClientRig::entered(0, 1, "", 0, &[FOO, BAR]) };
    assert_lines(&rig.receive([Kind::Entered(stolen)]), &NOTHING);
    assert_eq!(rig.client.place_of(RoomId::from_wire(1)), Some(PlaceId::FIRST));
    // Nor does one with whom one is to be alone have a name that is too long, or none, or one's own.
    for name in ["", "Foo", &"x".repeat(limits::NAME_BYTES + 1)] {
        let mut rig = ClientRig::welcomed();
        let members = [FOO, (BAR.0, name)];
        let opened = ClientRig::entered(0, P0, "", 0, &members);
        rig.receive([Kind::Entered(pb::Entered { with: BAR.0, ..opened })]);
        assert_eq!(rig.client.audit(), Ok(()));
        assert_eq!(rig.client.is_in(), name.len() <= limits::NAME_BYTES);
    }
}

#[test]
fn topics_of_any_size_are_bounded_by_their_frames() {
    let mut rig = ClientRig::welcomed();
    let text = "x".repeat(limits::FRAME_BYTES - 64);
    rig.receive([Kind::Topic(pb::Topic { room: 1, text, ..Default::default() })]);
    assert_eq!(rig.client.audit(), Ok(()));
    assert!(rig.client.topic(PlaceId::FIRST).unwrap().text.len() > limits::TOPIC_BYTES);
    assert_lines(&rig.receive([Kind::Topic(pb::Topic { room: 9, ..Default::default() })]), &NOTHING);
}

#[test]
fn what_comes_for_rooms_that_are_not_entered_on_this_connection_is_not_of_them() {
    let mut rig = ClientRig::welcomed();
    reconnect(&mut rig);
    let lines = rig.receive([welcome_back(), said_in(1, 3, "early"), joined(7, "Baz"), left(BAR.0, "Bar")]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let lines = rig.receive([Kind::Entered(ClientRig::lobby()), said_in(1, 3, "in its place")]);
    assert!(lines[1].contains("in its place"), "{lines:?}");
}

#[test]
fn of_two_places_of_one_name_that_were_left_the_later_waits_for_the_earlier() {
    let mut rig = ClientRig::welcomed();
    rig.say("in the first");
    rig.client.part(PlaceId::FIRST);
    let second = rig.client.join("lobby").unwrap();
    rig.client.say(second, "in the second").unwrap();
    rig.client.part(second);
    assert_lines(&rig.drain(), &["send VoiceRoom r0", "send Ping"]);
    assert_lines(&rig.receive([ack(3, 1)]), &["send Part r1", r#"send Join #2 "lobby""#]);
    let lines = rig.receive([entered(2, 1, "lobby", &[])]);
    assert_lines(&lines, &[r#"send Say r1 #2 "in the second""#]);
    assert_lines(&rig.receive([ack(4, 2)]), &["send Part r1"]);
    assert_eq!((rig.client.unacknowledged(), rig.client.audit()), (0, Ok(())));
}
