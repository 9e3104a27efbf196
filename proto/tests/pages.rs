//! Pages and searches of a room's history as a table: from memory, from the store, and what is refused.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use chinwag_proto::{
    MessageId, Peer, RoomId, Seq,
    history::{AuthorKey, KeptMessage, UnixMillis},
    limits::{self, MESSAGE_BYTES, PAGE_BYTES, PAGE_MESSAGES, READS, READS_EACH, SEARCH_BYTES},
    name::Name,
    server::{Input, Output},
    wire::{
        chinwag1::{self as pb, to_client, to_server::Kind},
        control::{self, Body},
        frame::FrameReader,
    },
};
use common::{ServerRig, assert_lines, claim, hello_in, say, secs};

const NOTHING: [&str; 0] = [];

/// Asks for `limit` messages before a place in the lobby, or for those with `words`, under the number 9.
fn ask(before: u64, limit: u32, words: &str) -> Kind {
    Kind::History(pb::HistoryRequest { room: 1, before, limit, words: words.to_owned(), token: 9 })
}

/// Foo alone in the lobby, who has said these.
fn after(mut rig: ServerRig, texts: &[&str]) -> ServerRig {
    rig.join(1, "Foo");
    for (text, id) in texts.iter().zip(1..) {
        rig.send(1, say(1, id, text));
    }
    if !rig.unkept.is_empty() {
        rig.keep_all();
    }
    rig
}

/// A server that was started again with a store of so many messages, the last of which it remembers; Foo is there as peer 1.
fn restarted(messages: u64, remembered: usize) -> ServerRig {
    let mut rig = ServerRig::lasting();
    rig.join(1, "Foo");
    for id in 1..=messages {
        rig.send(1, say(1, id, &format!("m{id}")));
        rig.keep_all();
        rig.now = rig.now + secs(1);
    }
    let mut rig = rig.restart(remembered);
    rig.join(1, "Foo");
    rig
}

/// The page in these outputs.
fn page(rig: &mut ServerRig) -> (pb::HistoryPage, usize) {
    let mut page = None;
    while let Some(output) = rig.server.poll_output() {
        if let Output::Send { bytes, .. } = output {
            let mut reader = FrameReader::default();
            reader.push(bytes);
            let body = reader.next_frame(limits::FRAME_BYTES).expect("a page fits a frame").unwrap();
            if let Ok(Body::Message(to_client::Kind::History(found))) = control::decode_to_client(body) {
                page = Some((found, bytes.len()));
            }
        }
    }
    page.expect("a page")
}

fn places(page: &pb::HistoryPage) -> Vec<u64> {
    page.messages.iter().map(|said| said.seq).collect()
}

#[test]
fn without_a_store_pages_and_searches_come_from_memory() {
    let mut rig = after(ServerRig::new(), &["a fox", "a dog", "Foxes and DOGS", "neither"]);
    let foo = |n: u64, text: &str| format!("{n} Foo=s1.0 {text:?}");
    let [fox, dog, both, neither] =
        [foo(1, "a fox"), foo(2, "a dog"), foo(3, "Foxes and DOGS"), foo(4, "neither")];
    for (request, expected) in [
        (ask(0, 10, ""), format!("[{fox}; {dog}; {both}; {neither}]")),
        (ask(0, 4, ""), format!("[{fox}; {dog}; {both}; {neither}]")),
        (ask(0, 2, ""), format!("[{both}; {neither}] more")),
        (ask(3, 1, ""), format!("[{dog}] more")),
        (ask(2, 1, ""), format!("[{fox}]")),
        (ask(1, 9, ""), "[]".to_owned()),
        (ask(u64::MAX, 0, ""), format!("[{neither}] more")),
        (ask(0, u32::MAX, "fox"), format!("[{fox}; {both}]")),
        (ask(0, 1, "FOX"), format!("[{both}] more")),
        (ask(0, 9, "dog fox"), format!("[{both}]")),
        (ask(3, 9, " dog "), format!("[{dog}]")),
        (ask(0, 9, "cat"), "[]".to_owned()),
    ] {
        assert_eq!(
            rig.send(1, request.clone()),
            [format!("send 1: History r1 #9 {expected}")],
            "{request:?}"
        );
    }
    assert_eq!(rig.server.stats().pages, 12);
}

#[test]
fn beside_a_store_pages_come_from_memory_as_far_as_that_reaches() {
    let mut rig = restarted(6, 3);
    assert_lines(
        &rig.send(1, ask(0, 3, "")),
        &[r#"send 1: History r1 #9 [4 Foo=s0.0 "m4"; 5 Foo=s0.0 "m5"; 6 Foo=s0.0 "m6"] more"#],
    );
    assert_lines(&rig.send(1, ask(0, 4, "")), &["read 1: r1 before the end limit 5"]);
    assert_lines(
        &rig.answer(),
        &[
            r#"send 1: History r1 #9 [3 Foo=s0.0 "m3"; 4 Foo=s0.0 "m4"; 5 Foo=s0.0 "m5"; 6 Foo=s0.0 "m6"] more"#,
        ],
    );
    // What reaches back to the beginning needs no store.
    let mut rig = restarted(2, 2);
    assert_lines(
        &rig.send(1, ask(0, 9, "")),
        &[r#"send 1: History r1 #9 [1 Foo=s0.0 "m1"; 2 Foo=s0.0 "m2"]"#],
    );
}

#[test]
fn a_page_of_the_store_tells_whether_there_are_more() {
    for (before, limit, expected) in [
        (4, 2, r#"[2 Foo=s0.0 "m2"; 3 Foo=s0.0 "m3"] more"#),
        (4, 3, r#"[1 Foo=s0.0 "m1"; 2 Foo=s0.0 "m2"; 3 Foo=s0.0 "m3"]"#),
        (4, 4, r#"[1 Foo=s0.0 "m1"; 2 Foo=s0.0 "m2"; 3 Foo=s0.0 "m3"]"#),
        (1, 4, "[]"),
    ] {
        let mut rig = restarted(4, 1);
        assert_eq!(
            rig.send(1, ask(before, limit, "")),
            [format!("read 1: r1 before {before} limit {}", limit + 1)]
        );
        assert_eq!(rig.answer(), [format!("send 1: History r1 #9 {expected}")]);
    }
}

#[test]
fn searches_beside_a_store_are_the_stores() {
    let mut rig = after(ServerRig::lasting(), &["a fox", "a dog"]);
    assert_lines(&rig.send(1, ask(2, 5, "fox")), &[r#"read 1: "fox" in r1 before 2 limit 6"#]);
    assert_lines(&rig.answer(), &[r#"send 1: History r1 #9 [1 Foo=s0.0 "a fox"]"#]);
}

#[test]
fn what_expired_is_in_no_page() {
    let mut rig = after(ServerRig::lasting(), &["a", "b", "c"]);
    rig.expire(1, 3);
    assert_lines(&rig.send(1, ask(0, 5, "")), &["read 1: r1 before the end limit 6"]);
    assert_lines(&rig.answer(), &[r#"send 1: History r1 #9 [3 Foo=s0.0 "c"]"#]);
}

#[test]
fn what_waits_to_be_kept_is_in_no_page() {
    let mut rig = after(ServerRig::lasting(), &["kept"]);
    rig.send(1, say(1, 2, "not kept"));
    assert_lines(&rig.send(1, ask(0, 5, "")), &[r#"send 1: History r1 #9 [1 Foo=s1.0 "kept"]"#]);
}

#[test]
fn questions_that_cannot_be_answered_are_refused() {
    let refused = |why: &str| format!("send 1: History r1 #9 [] {why}");
    let mut rig = after(ServerRig::lasting(), &["a"]);
    let elsewhere = Kind::History(pb::HistoryRequest { room: 2, token: 9, ..Default::default() });
    assert_lines(&rig.send(1, elsewhere), &["send 1: History r2 #9 [] you are not in that room"]);
    let long = "x".repeat(SEARCH_BYTES + 1);
    assert_eq!(rig.send(1, ask(0, 1, &long)), [refused("that is too much to search for")]);
    assert_eq!(rig.send(1, ask(0, 1, &long[1..])).len(), 1);
    let ticket = rig.questions.pop_front().unwrap().0;
    let lines = rig.input(Input::Read { ticket, found: None });
    assert_eq!(
        lines,
        [refused("the server could not read so much; look for rarer words, or try again later")]
    );
    // Nobody asked for that, or it was answered already.
    for ticket in [ticket, 77] {
        assert_lines(&rig.input(Input::Read { ticket, found: Some(&[]) }), &NOTHING);
    }
    assert_eq!((rig.server.stats().pages, rig.server.stats().pages_refused), (0, 3));
}

#[test]
fn so_many_questions_may_wait_of_one_and_of_all() {
    let busy = "the server reads too much at once; try again";
    let mut rig = ServerRig::lasting();
    let peers = (READS / READS_EACH) as u32;
    (0..=peers).for_each(|peer| drop(rig.join(peer, &format!("n{peer}"))));
    for peer in 0..peers {
        for _ in 0..READS_EACH {
            assert!(rig.send(peer, ask(0, 1, "x"))[0].starts_with("read "));
        }
        if peer == 0 {
            assert_eq!(rig.send(0, ask(0, 1, "x")), [format!("send 0: History r1 #9 [] {busy}")]);
        }
    }
    assert_eq!(rig.send(peers, ask(0, 1, "x")), [format!("send {peers}: History r1 #9 [] {busy}")]);
    rig.answer();
    assert!(rig.send(peers, ask(0, 1, "x"))[0].starts_with("read "));
}

#[test]
fn an_answer_goes_to_nobody_when_the_asker_is_gone_and_frees_a_place() {
    let mut rig = after(ServerRig::lasting(), &["a"]);
    for _ in 0..READS_EACH {
        rig.send(1, ask(0, 1, "a"));
    }
    rig.close(1);
    (0..READS_EACH).for_each(|_| assert_lines(&rig.answer(), &NOTHING));
    rig.resume(2, 1, 1);
    assert!(rig.send(2, ask(0, 1, "a"))[0].starts_with("read "));
}

#[test]
fn what_was_asked_by_a_connection_that_is_gone_is_given_up_and_keeps_its_place_until_it_is_answered() {
    let busy = "send 2: History r1 #9 [] the server reads too much at once; try again";
    let mut rig = after(ServerRig::lasting(), &["a"]);
    rig.join(3, "Bar");
    rig.send(3, ask(0, 1, "a"));
    (1..READS_EACH).for_each(|_| drop(rig.send(1, ask(0, 1, "a"))));
    // One that is answered is not given up.
    rig.questions.rotate_left(1);
    rig.answer();
    (0..2).for_each(|_| drop(rig.send(1, ask(0, 1, "a"))));
    assert_lines(&rig.close(1), &["unread 3", "unread 4", "unread 5", "unread 6"]);
    assert_eq!(rig.server.audit(), Ok(()));
    rig.resume(2, 1, 1);
    assert_lines(&rig.send(2, ask(0, 1, "a")), &[busy]);
    // The store had begun with one of them, and leaves another.
    assert_lines(&rig.input(Input::Read { ticket: 3, found: Some(&[]) }), &NOTHING);
    assert_lines(&rig.input(Input::Read { ticket: 4, found: None }), &NOTHING);
    assert_eq!(rig.send(2, ask(0, 1, "a")), [r#"read 7: "a" in r1 before the end limit 2"#]);
    assert_eq!(rig.send(2, ask(0, 1, "a")), [r#"read 8: "a" in r1 before the end limit 2"#]);
    assert_lines(&rig.send(2, ask(0, 1, "a")), &[busy]);
    // What is given up once is not given up again, and a place is free once.
    assert_lines(&rig.input(Input::Read { ticket: 4, found: Some(&[]) }), &NOTHING);
    assert_lines(&rig.send(2, ask(0, 1, "a")), &[busy]);
    assert_lines(&rig.send(2, Kind::Quit(pb::Quit {}))[..2], &["unread 7", "unread 8"]);
}

#[test]
fn who_asks_before_he_is_in_is_closed_and_who_asks_too_much_is_paused() {
    let mut rig = ServerRig::new();
    rig.accept(1);
    assert_eq!(rig.send(1, ask(0, 1, "")).last().unwrap(), "close 1: a message came where it has no place");
    rig.join(2, "Foo");
    let lines: Vec<_> = (0..200).flat_map(|_| rig.send(2, ask(0, 1, ""))).collect();
    let pages = lines.iter().position(|line| line == "pause 2").unwrap();
    let cost = limits::HISTORY_COST + limits::CONTROL_FRAME_COST;
    assert!(pages as u128 <= limits::CONTROL_BURST.as_micros() / cost.as_micros() + 1, "{pages}");
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn the_largest_question_is_within_what_a_peer_may_owe() {
    let mut rig = after(ServerRig::new(), &["a"]);
    // As near to the burst as can be, then the dearest frame there is.
    let cost = limits::HISTORY_COST + limits::CONTROL_FRAME_COST;
    for _ in 0..limits::CONTROL_BURST.as_micros() / cost.as_micros() {
        assert_eq!(rig.send(1, ask(0, 1, "")).len(), 1, "it is not paused yet");
    }
    rig.send(1, ask(0, 1, &"x".repeat(limits::FRAME_BYTES - 30)));
    assert_eq!(rig.server.audit(), Ok(()));
}

#[test]
fn a_page_is_cut_where_it_has_enough_bytes() {
    let long = "x".repeat(MESSAGE_BYTES);
    let fit = PAGE_BYTES / MESSAGE_BYTES;
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    for id in 1..=fit as u64 + 2 {
        rig.send(1, say(1, id, &long));
        rig.now = rig.now + secs(1);
    }
    rig.feed(Input::Received { peer: Peer::new(1), bytes: &common::to_server([ask(0, 200, "")]) });
    let (found, _) = page(&mut rig);
    assert_eq!((found.messages.len(), found.more), (fit, true));
    // The next page begins where this one ends.
    rig.feed(Input::Received {
        peer: Peer::new(1),
        bytes: &common::to_server([ask(places(&found)[0], 200, "")]),
    });
    let (found, _) = page(&mut rig);
    assert_eq!((places(&found), found.more), (vec![1, 2], false));
}

#[test]
fn the_largest_page_fits_a_frame() {
    // Names of four bytes a character; texts of as many bytes as a page takes, in as many messages as it has.
    let name = Name::new(&"\u{1f600}".repeat(limits::NAME_CHARS)).unwrap();
    assert_eq!(name.as_str().len(), 128);
    let text: Arc<str> = "x".repeat(PAGE_BYTES / PAGE_MESSAGES).into();
    let found: Vec<_> = (0..=PAGE_MESSAGES as u64)
        .map(|n| KeptMessage {
            room: RoomId::from_wire(limits::LAST_ROOM),
            seq: Seq::from_wire(u64::MAX - 1000 + n),
            at: UnixMillis(u64::MAX),
            author: AuthorKey([9; 16]),
            id: MessageId::from_wire(u64::MAX),
            name: name.clone(),
            text: text.clone(),
        })
        .collect();
    let mut rig = after(ServerRig::lasting(), &["a"]);
    rig.send(1, ask(0, u32::MAX, "x"));
    let (ticket, _) = rig.questions.pop_front().unwrap();
    rig.feed(Input::Read { ticket, found: Some(&found) });
    let (page, bytes) = page(&mut rig);
    assert_eq!((page.messages.len(), page.more), (PAGE_MESSAGES, true));
    assert_eq!(page.messages.last().unwrap().seq, u64::MAX - 1000 + PAGE_MESSAGES as u64);
    assert!(bytes > limits::FRAME_BYTES / 2, "{bytes} bytes are not the worst case");
}

#[test]
fn a_question_is_answered_for_the_room_that_one_is_in() {
    let mut rig = after(ServerRig::lasting(), &["in the lobby"]);
    rig.accept(2);
    rig.send(2, Kind::Hello(hello_in("Bar", [claim(1, "den")])));
    let den = Kind::History(pb::HistoryRequest { room: 2, limit: 5, token: 3, ..Default::default() });
    assert_lines(&rig.send(2, den), &["send 2: History r2 #3 []"]);
    assert_lines(&rig.send(2, ask(0, 5, "")), &["send 2: History r1 #9 [] you are not in that room"]);
}
