//! What is forgotten when, and that it is gone then.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{fs, time::Duration};

use chinwag_history::{FREE_PAGES_KEPT, Retention, TIDY_BYTES, TIDY_MESSAGES, VACUUM_PAGES, WAL_BYTES, open};
use chinwag_proto::{
    Seq,
    history::{KeptMessage, UnixMillis, Write},
};
use chinwag_transport_mio::history::OpenedStore;
use common::{ALL, Folder, NONE, Read as _, kept, message, messages, room, tidy};
use rusqlite::Connection;

/// A clock of which nothing is old.
const EARLY: u64 = 0;

fn opened(folder: &Folder, retention: Retention) -> OpenedStore {
    open(&folder.file(), retention).unwrap()
}

/// Whether each room's count of bytes is that of its messages.
fn is_counted_right(folder: &Folder) -> bool {
    let sql = "SELECT count(*) FROM rooms WHERE bytes !=
        (SELECT coalesce(sum(octet_length(text)), 0) FROM messages WHERE n >> 40 = rooms.id)";
    let wrong: i64 = Connection::open(folder.file()).unwrap().query_row(sql, (), |row| row.get(0)).unwrap();
    wrong == 0
}

#[test]
fn without_limits_nothing_is_forgotten() {
    let folder = Folder::with(&[room(1), message(1, 1, "kept")]);
    let mut opened = folder.open();
    assert_eq!(tidy(&mut *opened.store, u64::MAX), []);
    assert_eq!(opened.store.reader().unwrap().places(1), [1]);
}

#[test]
fn messages_are_forgotten_by_number_room_by_room() {
    let folder = Folder::with(&[room(1), room(2), room(3)]);
    let mut opened = opened(&folder, Retention { max_messages: Some(4), ..ALL });
    opened.store.write(&messages(1, 1..=10)).unwrap();
    opened.store.write(&messages(2, 1..=4)).unwrap();
    opened.store.write(&messages(3, 1..=5)).unwrap();
    assert_eq!(tidy(&mut *opened.store, EARLY), [(1, 7), (3, 2)]);
    let mut reader = opened.store.reader().unwrap();
    for (room, places) in [(1, [7, 8, 9, 10]), (2, [1, 2, 3, 4]), (3, [2, 3, 4, 5])] {
        assert_eq!((reader.places(room), reader.find(room, "message")), (places.into(), places.into()));
    }
    assert!(is_counted_right(&folder));
}

#[test]
fn messages_are_forgotten_by_bytes() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_bytes: Some(10), ..ALL });
    let texts = ["12345", "é", "123", "12345"];
    let writes: Vec<_> = (1..).zip(texts).map(|(seq, text)| message(1, seq, text)).collect();
    opened.store.write(&writes).unwrap();
    assert_eq!(tidy(&mut *opened.store, EARLY), [(1, 2)]);
    opened.store.write(&[message(1, 5, &"x".repeat(11))]).unwrap();
    assert_eq!(tidy(&mut *opened.store, EARLY), [(1, 6)]);
    assert_eq!(opened.store.reader().unwrap().places(1), NONE);
    assert!(is_counted_right(&folder));
}

#[test]
fn messages_are_forgotten_by_age() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_age: Some(Duration::from_secs(10)), ..ALL });
    opened.store.write(&messages(1, 1..=10)).unwrap();
    let said = |seq| kept(1, seq, "").at.0;
    assert_eq!(tidy(&mut *opened.store, said(1) + 10_000), []);
    assert_eq!(tidy(&mut *opened.store, said(5) + 10_000), [(1, 5)]);
    assert_eq!(tidy(&mut *opened.store, said(5) + 10_000), []);
    assert_eq!(opened.store.reader().unwrap().places(1), [5, 6, 7, 8, 9, 10]);
    // A clock that was set back forgets nothing.
    assert_eq!(tidy(&mut *opened.store, EARLY), []);
    assert_eq!(tidy(&mut *opened.store, said(11) + 10_000), [(1, 11)]);
}

#[test]
fn a_clock_that_leaps_forgets_nothing_by_age_and_is_told() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let (folder, today) = (Folder::with(&[room(1), room(2)]), 20_000 * DAY);
    let retention = Retention { max_age: Some(Duration::from_secs(30 * DAY / 1000)), ..ALL };
    let said = |seq| Write::Message(KeptMessage { at: UnixMillis(today), ..kept(1, seq, "x") });
    let mut opened = opened(&folder, retention);
    opened.store.write(&[said(1), said(2)]).unwrap();
    assert_eq!(tidy(&mut *opened.store, today), []);
    let wrong = UnixMillis(today + 3650 * DAY);
    let told = opened.store.tidy(wrong).unwrap_err().to_string();
    assert!(told.contains("history.db: by this computer's clock 3650 days have gone by"), "{told}");
    assert_eq!(opened.store.tidy(wrong).unwrap(), None, "it is not told all the time");
    // What does not go by age is forgotten all the same.
    drop(opened);
    let mut opened = self::opened(&folder, Retention { max_messages: Some(1), ..retention });
    assert_eq!(opened.store.tidy(wrong).unwrap(), Some((common::id(1), Seq::from_wire(2))));
    // Nor does a restart help, or what was said meanwhile.
    opened.store.write(&[message(2, 1, "a")]).unwrap();
    drop(opened);
    let mut opened = self::opened(&folder, retention);
    opened.store.tidy(wrong).unwrap_err();
    assert_eq!(opened.store.reader().unwrap().places(1), [2]);
    // The clock was set right.
    assert_eq!(tidy(&mut *opened.store, today + DAY), [(2, 2)]);
    // A day is no leap.
    for day in 2..=30 {
        assert_eq!(tidy(&mut *opened.store, today + day * DAY), []);
    }
    assert_eq!(tidy(&mut *opened.store, today + 30 * DAY + 1), [(1, 3)]);
}

#[test]
fn all_rooms_together_have_a_bound_and_the_oldest_messages_go_first() {
    const HOUR: u64 = 60 * 60 * 1000;
    let folder = Folder::with(&[room(1), room(2), room(3), room(4)]);
    let said = |room, seq, hour: u64| {
        Write::Message(KeptMessage { at: UnixMillis(hour * HOUR), ..kept(room, seq, "x") })
    };
    // The last is from the future.
    let writes =
        [(1, 1, 5), (1, 2, 6), (1, 3, 90), (2, 1, 1), (2, 2, 2), (2, 3, 80), (3, 1, 10), (4, 1, 900)];
    let writes: Vec<_> = writes.iter().map(|&(room, seq, hour)| said(room, seq, hour)).collect();
    folder.open().store.write(&writes).unwrap();
    let each = chinwag_history::rooms(&folder.file()).unwrap()[3].disk_bytes;
    let left = |messages| {
        let mut opened = opened(&folder, Retention { max_total: Some(messages * each), ..ALL });
        tidy(&mut *opened.store, 100 * HOUR)
    };
    assert_eq!(left(8), []);
    assert_eq!(left(7), [(4, 2)]);
    assert_eq!(left(4), [(2, 3), (1, 2)]);
    assert_eq!(left(1), [(1, 3), (3, 2), (2, 4)]);
    assert_eq!(left(0), [(1, 4)]);
    assert!(is_counted_right(&folder));
}

#[test]
fn rooms_that_take_turns_are_forgotten_in_whole_steps() {
    let folder = Folder::with(&[room(1), room(2)]);
    let mut opened = opened(&folder, Retention { max_total: Some(0), ..ALL });
    let mut writes = messages(1, 1..=2 * TIDY_MESSAGES);
    writes.extend(messages(2, 1..=2 * TIDY_MESSAGES));
    opened.store.write(&writes).unwrap();
    assert_eq!(tidy(&mut *opened.store, u64::MAX / 2).len(), 4);
    assert_eq!(opened.store.reader().unwrap().places(1), NONE);
}

#[test]
fn what_messages_take_on_the_disk_is_about_what_is_thought() {
    let mut rng = chinwag_proto::Rng::from_number(1);
    for (words, count) in [(1, 40_000), (8, 20_000), (40, 8_000)] {
        let folder = Folder::with(&[room(1)]);
        let mut opened = folder.open();
        let writes: Vec<_> = (1..=count)
            .map(|seq| {
                let text: String = (0..words).map(|_| format!("w{} ", rng.below(5000))).collect();
                message(1, seq, &text)
            })
            .collect();
        for batch in writes.chunks(500) {
            opened.store.write(batch).unwrap();
        }
        drop(opened);
        let thought = chinwag_history::rooms(&folder.file()).unwrap()[0].disk_bytes;
        let taken = fs::metadata(folder.file()).unwrap().len();
        eprintln!("{words} words: {taken} taken, {thought} thought, {} each", taken / count);
        assert!(
            taken < thought * 3 / 2 && taken > thought / 3,
            "{words} words: {taken} taken, {thought} thought"
        );
    }
}

#[test]
fn a_clock_that_was_wrong_for_a_while_neither_forgets_early_nor_keeps_for_ever() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_age: Some(Duration::from_secs(10)), ..ALL });
    let at = [100_000, 0, 101_000, 9_000_000, 102_000, 103_000];
    let writes: Vec<_> = (1..)
        .zip(at)
        .map(|(seq, at)| Write::Message(KeptMessage { at: UnixMillis(at), ..kept(1, seq, "x") }))
        .collect();
    opened.store.write(&writes).unwrap();
    assert_eq!(tidy(&mut *opened.store, 110_000), [], "the second only seems to be old");
    assert_eq!(tidy(&mut *opened.store, 110_500), [(1, 3)]);
    assert_eq!(tidy(&mut *opened.store, 112_500), [(1, 6)], "the fourth is not from the future");
}

#[test]
fn many_messages_from_the_future_go_in_steps_too() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_age: Some(Duration::from_secs(10)), ..ALL });
    let future = 3 * TIDY_MESSAGES;
    let writes: Vec<_> = (1..=future + 2)
        .map(|seq| {
            let at = if seq <= future { 9_000_000 } else { 100_000 + seq };
            Write::Message(KeptMessage { at: UnixMillis(at), ..kept(1, seq, "x") })
        })
        .collect();
    opened.store.write(&writes).unwrap();
    let old = 110_000 + future + 1;
    assert_eq!(tidy(&mut *opened.store, old), []);
    let steps = [TIDY_MESSAGES + 1, 2 * TIDY_MESSAGES + 1, future + 1, future + 2].map(|place| (1, place));
    assert_eq!(tidy(&mut *opened.store, old + 1), steps);
    assert!(is_counted_right(&folder));
}

#[test]
fn much_is_forgotten_in_steps() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_messages: Some(1), ..ALL });
    let last = 2 * TIDY_MESSAGES + 2;
    opened.store.write(&messages(1, 1..=last)).unwrap();
    let steps = [TIDY_MESSAGES + 1, 2 * TIDY_MESSAGES + 1, last].map(|place| (1, place));
    assert_eq!(tidy(&mut *opened.store, EARLY), steps);
}

#[test]
fn long_messages_are_forgotten_in_smaller_steps() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_messages: Some(0), ..ALL });
    let long = "x".repeat(TIDY_BYTES as usize / 2 - 1);
    opened.store.write(&[1, 2, 3, 4].map(|seq| message(1, seq, &long))).unwrap();
    assert_eq!(tidy(&mut *opened.store, EARLY), [(1, 4), (1, 5)]);
}

#[test]
fn the_numbering_goes_on_when_all_is_forgotten() {
    let folder = Folder::with(&[room(1)]);
    folder.open().store.write(&messages(1, 1..=9)).unwrap();
    assert_eq!(
        tidy(&mut *opened(&folder, Retention { max_messages: Some(0), ..ALL }).store, EARLY),
        [(1, 10)]
    );
    let mut opened = folder.open();
    assert_eq!((opened.rooms[0].last, opened.rooms[0].messages.len()), (Seq::from_wire(9), 0));
    assert_eq!(opened.rooms[0].accepted, []);
    opened.store.write(&[message(1, 1, "again")]).unwrap_err();
    opened.store.write(&messages(1, 10..=11)).unwrap();
    assert_eq!(opened.store.reader().unwrap().places(1), [10, 11]);
    drop(opened);
    assert_eq!(folder.open().rooms[0].last, Seq::from_wire(11));
}

#[test]
fn what_is_forgotten_leaves_the_file_with_its_words() {
    let folder = Folder::with(&[room(1)]);
    let holds = |words: &str| {
        let bytes = fs::read(folder.file()).unwrap();
        bytes.windows(words.len()).any(|part| part == words.as_bytes())
    };
    let mut opened = folder.open();
    for seq in 1..=300 {
        let text = if seq == 123 { "Qwertyuiop!" } else { "plugh" };
        opened.store.write(&[message(1, seq, text)]).unwrap();
    }
    drop(opened);
    // As it was said, and as the index has it, where a word may begin as the one before it does.
    assert!(holds("Qwertyuiop!") && holds("wertyuiop") && holds("plugh"));

    let mut opened = self::opened(&folder, Retention { max_messages: Some(10), ..ALL });
    assert_eq!(tidy(&mut *opened.store, EARLY).last(), Some(&(1, 291)));
    let mut reader = opened.store.reader().unwrap();
    assert_eq!((reader.find(1, "plugh").len(), reader.find(1, "qwertyuiop")), (10, NONE.into()));
    drop((reader, opened));
    assert!(!holds("Qwertyuiop!") && !holds("wertyuiop") && holds("plugh"));
}

#[test]
fn file_and_log_give_their_place_back() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = opened(&folder, Retention { max_messages: Some(1), ..ALL });
    let (long, size) = ("x".repeat(4000), || fs::metadata(folder.file()).unwrap().len());
    let log = || fs::metadata(folder.beside("history.db-wal")).unwrap().len();
    let mut reader = opened.store.reader().unwrap();
    // Who reads all the while keeps the log from being begun anew.
    let outsider = Connection::open(folder.file()).unwrap();
    outsider.execute_batch("BEGIN; SELECT count(*) FROM rooms").unwrap();
    let last = 3 * FREE_PAGES_KEPT;
    for seq in 1..=last {
        opened.store.write(&[message(1, seq, &long)]).unwrap();
    }
    opened.store.tidy(UnixMillis(EARLY)).unwrap();
    assert!(log() > WAL_BYTES);
    outsider.execute_batch("COMMIT").unwrap();
    opened.store.tidy(UnixMillis(EARLY)).unwrap();
    assert!(log() <= WAL_BYTES, "{}", log());
    let full = size();
    tidy(&mut *opened.store, EARLY);
    assert_eq!(reader.places(1), [last]);
    for _ in 0..=last / VACUUM_PAGES {
        opened.store.tidy(UnixMillis(EARLY)).unwrap();
        assert!(log() <= WAL_BYTES, "{}", log());
    }
    drop((reader, outsider, opened));
    assert!(full > last * 4096 && size() < (FREE_PAGES_KEPT + 64) * 4096, "{full} {}", size());
}
