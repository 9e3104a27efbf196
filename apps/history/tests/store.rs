//! What is written is read, also after a new start; what would break the numbering is refused.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use chinwag_proto::{
    MessageId, Seq,
    history::{AuthorKey, PageRequest, UnixMillis, Write},
    limits::{ACCEPTED_AT_START, HISTORY_MESSAGES, HISTORY_SHARE_BYTES, MESSAGE_COST},
    name::Name,
};
use chinwag_transport_mio::history::StoreError;
use common::{ALL, Folder, NONE, Read as _, id, kept, message, messages, named_room, room, seqs};

#[test]
fn what_was_written_is_read_as_it_was() {
    let folder = Folder::new();
    let mut opened = folder.open();
    assert_eq!(opened.rooms, []);
    let mut odd = kept(7, 2, "\0\u{1b}[2J e\u{301} 😀 \u{202e}\r\n'); DROP TABLE messages; --");
    (odd.at, odd.author, odd.id) = (UnixMillis(u64::MAX), AuthorKey([0; 16]), MessageId::from_wire(u64::MAX));
    odd.name = Name::kept("server").unwrap();
    let said = [kept(7, 1, "hello"), odd, kept(7, 3, &"x".repeat(4096))];
    let [first, second, third] = said.clone().map(Write::Message);
    opened.store.write(&[room(7), first]).unwrap();
    let mut reader = opened.store.reader().unwrap();
    assert_eq!(reader.all(7), said[..1]);
    opened.store.write(&[second, third]).unwrap();
    assert_eq!(reader.all(7), said);
    drop((reader, opened));

    let opened = folder.open();
    let [restored] = &opened.rooms[..] else { panic!("one room was written") };
    assert_eq!(Write::Room(restored.room.clone()), room(7));
    assert_eq!((restored.last, &restored.messages[..]), (Seq::from_wire(3), &said[..]));
    let accepted: Vec<_> = said.iter().map(|said| (said.author, said.id, said.seq)).collect();
    assert_eq!(restored.accepted, accepted);
    assert_eq!(opened.store.reader().unwrap().all(7), said);
}

#[test]
fn pages_go_back_to_the_beginning_of_their_room_and_no_further() {
    let folder = Folder::with(&[room(0), room(1), room(2)]);
    let mut opened = folder.open();
    for number in 0..3 {
        opened.store.write(&messages(number, 1..=10)).unwrap();
    }
    let mut reader = opened.store.reader().unwrap();
    let mut page = |number, before, limit| {
        let request = PageRequest { room: id(number), before: Seq::from_wire(before), limit };
        let page = reader.page(&request).unwrap();
        assert!(page.iter().all(|message| message.room == id(number)));
        seqs(&page)
    };
    for number in 0..3 {
        assert_eq!(page(number, u64::MAX, 4), [7, 8, 9, 10]);
        assert_eq!(page(number, 7, 4), [3, 4, 5, 6]);
        assert_eq!(page(number, 3, 4), [1, 2]);
        for (before, limit) in [(1, 4), (0, 4), (9, 0)] {
            assert_eq!(page(number, before, limit), NONE);
        }
    }
    assert_eq!(page(3, u64::MAX, 4), NONE);
    assert_eq!(page(u32::MAX, u64::MAX, 4), NONE);
}

#[test]
fn what_would_break_the_numbering_is_refused_with_its_whole_batch() {
    let folder = Folder::with(&[named_room(1, "Lobby"), message(1, 1, "first")]);
    let mut opened = folder.open();
    for wrong in [
        message(1, 1, "again"),
        message(1, 4, "a hole"),
        message(1, 0, "no place"),
        message(2, 1, "no such room"),
        message(u32::MAX, 1, "no such room"),
        named_room(1, "another name"),
        named_room(2, "lOBBY"),
        named_room(u32::MAX, "too large a number"),
    ] {
        let batch = [message(1, 2, "unheard"), room(3), message(3, 1, "unheard"), wrong];
        let Err(StoreError::Failed(why)) = opened.store.write(&batch) else { panic!("{:?}", batch[3]) };
        assert!(why.contains("history.db") && why.contains("refused"), "{why}");
    }
    let mut reader = opened.store.reader().unwrap();
    assert_eq!((reader.places(1), reader.find(1, "unheard"), reader.places(3)), (vec![1], vec![], vec![]));
    opened.store.write(&[message(1, 2, "second"), room(3), message(3, 1, "heard")]).unwrap();
    assert_eq!((reader.places(1), reader.find(3, "heard")), (vec![1, 2], vec![1]));
}

#[test]
fn rooms_may_take_turns_in_a_batch() {
    let folder = Folder::with(&[room(2), room(1)]);
    let mut opened = folder.open();
    let turns: Vec<_> = (1..=50).flat_map(|seq| [2, 1].map(|room| message(room, seq, "turn"))).collect();
    opened.store.write(&turns).unwrap();
    opened.store.write(&[]).unwrap();
    let mut reader = opened.store.reader().unwrap();
    for number in [1, 2] {
        assert_eq!(reader.find(number, "turn"), (1..=50).collect::<Vec<_>>());
    }
}

#[test]
fn the_start_brings_back_so_many_messages_and_knows_more_of_who_said_them() {
    let last = ACCEPTED_AT_START as u64 + 10;
    let folder = Folder::with(&[room(1)]);
    folder.open().store.write(&messages(1, 1..=last)).unwrap();
    let opened = folder.open();
    let [restored] = &opened.rooms[..] else { panic!("one room was written") };
    let from = last - HISTORY_MESSAGES as u64 + 1;
    assert_eq!(seqs(&restored.messages), (from..=last).collect::<Vec<_>>());
    let accepted: Vec<_> = restored.accepted.iter().map(|(.., seq)| seq.to_wire()).collect();
    assert_eq!(accepted, (11..=last).collect::<Vec<_>>());
}

#[test]
fn the_start_brings_back_so_many_bytes_without_a_gap() {
    let long = "x".repeat(4096);
    let mut writes = vec![room(1)];
    writes.extend((1..=300).map(|seq| message(1, seq, &long)));
    writes.push(message(1, 301, "short"));
    let folder = Folder::with(&writes);
    let opened = folder.open();
    let fit = (HISTORY_SHARE_BYTES - MESSAGE_COST - 5) as u64 / (4096 + MESSAGE_COST as u64);
    assert_eq!(seqs(&opened.rooms[0].messages), (302 - fit - 1..=301).collect::<Vec<_>>());
    assert_eq!(opened.rooms[0].accepted.len(), 301);
}

#[test]
fn readers_see_batches_whole_while_they_are_written() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for batch in 0..100 {
                opened.store.write(&messages(1, batch * 7 + 1..=batch * 7 + 7)).unwrap();
            }
            done.send(opened).unwrap();
        });
        loop {
            let ended = is_done.try_recv().is_ok();
            let (seen, found) = (reader.places(1), reader.find(1, "message"));
            assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
            assert!(seen.len() % 7 == 0 && found.len() % 7 == 0 && found.len() >= seen.len());
            if ended {
                assert_eq!(found.len(), 700);
                break;
            }
        }
    });
    assert_eq!(chinwag_history::open(&folder.file(), ALL).unwrap().rooms[0].last, Seq::from_wire(700));
}
