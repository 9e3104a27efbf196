//! Rooms as the operator sees and removes them.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::fs;

use chinwag_history::{Fault, export_json, remove_room, rooms};
use chinwag_transport_mio::history::OpenedStore;
use common::{ALL, Folder, NONE, Read as _, message, messages, named_room, room, tidy, topic};

fn told(folder: &Folder) -> Vec<String> {
    let rooms = rooms(&folder.file()).unwrap();
    let told = rooms.into_iter().map(|room| {
        let times = room.times.map(|(first, last)| format!(", from {} to {}", first.0, last.0));
        let (name, times) = (&room.name, times.unwrap_or_default());
        format!("{name}: {} messages of {} bytes{times}", room.messages, room.text_bytes)
    });
    told.collect()
}

/// What each room is about.
fn topics(opened: &OpenedStore) -> Vec<Option<&str>> {
    opened.rooms.iter().map(|room| room.topic.as_ref().map(|topic| &*topic.text)).collect()
}

#[test]
fn rooms_are_told_while_a_server_has_them() {
    let folder = Folder::with(&[room(1), named_room(2, "Zoë's"), room(3)]);
    let mut opened =
        chinwag_history::open(&folder.file(), chinwag_history::Retention { max_messages: Some(2), ..ALL })
            .unwrap();
    opened.store.write(&messages(1, 1..=5)).unwrap();
    opened.store.write(&[message(2, 1, "é")]).unwrap();
    tidy(&mut *opened.store, 0);
    assert_eq!(
        told(&folder),
        [
            "room 1: 2 messages of 18 bytes, from 1000004 to 1000005",
            "Zoë's: 1 messages of 2 bytes, from 1000001 to 1000001",
            "room 3: 0 messages of 0 bytes"
        ]
    );
    assert!(matches!(rooms(&folder.beside("other.db")).unwrap_err().fault, Fault::Missing));
}

#[test]
fn a_room_is_removed_with_its_words_and_nothing_else() {
    let folder = Folder::with(&[room(1), named_room(2, "Zoë's"), room(3)]);
    let holds = |words: &str| {
        let bytes = fs::read(folder.file()).unwrap();
        bytes.windows(words.len()).any(|part| part == words.as_bytes())
    };
    let mut opened = folder.open();
    opened.store.write(&messages(1, 1..=100)).unwrap();
    let secret = (1..=2000).map(|seq| message(2, seq, &format!("Qwertyuiop! {}", "plugh ".repeat(20))));
    opened.store.write(&secret.collect::<Vec<_>>()).unwrap();
    opened.store.write(&messages(3, 1..=100)).unwrap();
    opened.store.write(&[topic(2, "Xyzzy and where it leads"), topic(3, "all else")]).unwrap();
    let error = remove_room(&folder.file(), "zoë's").unwrap_err();
    assert!(matches!(error.fault, Fault::InUse), "{error}");
    drop(opened);
    let size = fs::metadata(folder.file()).unwrap().len();
    assert!(holds("Qwertyuiop!") && holds("wertyuiop") && holds("Xyzzy"));
    let removed = remove_room(&folder.file(), "ZOË'S").unwrap();
    assert_eq!((removed.name.as_str(), removed.messages), ("Zoë's", 2000));
    assert!(!holds("Qwertyuiop!") && !holds("wertyuiop") && !holds("plugh") && !holds("Xyzzy"));
    assert!(fs::metadata(folder.file()).unwrap().len() < size / 3);
    for gone in ["Zoë's", "", "a:b\u{1b}"] {
        let error = remove_room(&folder.file(), gone).unwrap_err();
        assert!(matches!(&error.fault, Fault::NoRoom(name) if name == gone), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }

    let mut opened = folder.open();
    assert_eq!(topics(&opened), [None, Some("all else")]);
    let mut reader = opened.store.reader().unwrap();
    let all: Vec<_> = (1..=100).collect();
    for (room, left) in [(1, &all), (3, &all), (2, &vec![])] {
        assert_eq!((reader.places(room), reader.find(room, "message")), (left.clone(), left.clone()));
    }
    assert_eq!(reader.find(2, "plugh"), NONE);
    // Its place is free, and its name.
    opened.store.write(&[named_room(2, "Zoë's"), message(2, 1, "new")]).unwrap();
    assert_eq!(reader.find(2, "new"), [1]);
    assert_eq!(tidy(&mut *opened.store, 0), []);
    drop((reader, opened));
    assert_eq!(topics(&folder.open()), [None, None, Some("all else")]);
    assert_eq!(export_json(&folder.file(), &mut std::io::sink()).unwrap(), 201);
    // Words are whole: as after a crash, all of them are looked through.
    fs::remove_file(folder.beside("history.db.lock")).unwrap();
    drop(folder.open());
}
