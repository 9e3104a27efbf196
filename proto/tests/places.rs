//! The client in several rooms, and alone with others, as a table: what goes in, and everything that comes out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use chinwag_proto::{
    Rng, RoomId,
    client::{ClientInput, JoinError, PlaceId, SayError},
    hub::Marks,
    limits,
    wire::{
        chinwag1::{self as pb, refused, to_client::Kind},
        voice::VoiceFrame,
    },
};
use common::{
    ClientRig, assert_lines,
    client::{ENTERED, NOTHING, ack, frame_of, joined, left, member, pause, pinged},
};

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
