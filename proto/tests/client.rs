//! The client as a table: what goes in, and everything that comes out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeSet;

use chinwag_proto::{
    Duration, Instant, ReceiverReport, Rng, Seq,
    client::{ClientEvent, ClientInput, ClientOutput, Page, PageLine, PlaceId, SayError},
    history::UnixMillis,
    limits,
    text::MessageError,
    wire::{
        chinwag1::{self as pb, closing, refused, to_client::Kind},
        control, frame,
        path::{DatagramKind, PROBE_BYTES},
    },
};
use common::{
    ClientRig, assert_lines,
    client::{ENTERED, NOTHING, UNREACHABLE, WELCOME, ack, frame_of, joined, left, member, pause, pinged},
    client_output, millis, secs, session, to_client, voice,
};

fn said(seq: u64, session: u32, id: u64, text: &str) -> Kind {
    let name = if session == 1 << 20 { "Foo" } else { "Bar" };
    Kind::Said(pb::Said { room: 1, seq, session, name: name.into(), id, text: text.into(), at_ms: seq })
}

fn closing(reason: closing::Reason) -> Kind {
    Kind::Closing(pb::Closing { reason: reason.into(), text: "so long".into() })
}

fn names(rig: &ClientRig) -> Vec<String> {
    rig.client.members(PlaceId::FIRST).map(|(_, member)| member.name.clone()).collect()
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
