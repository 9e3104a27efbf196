//! Backups and exports, while a server runs and without one.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    fs,
    io::{self, Write},
};

use chinwag_history::{Fault, backup, export_json, open};
use chinwag_proto::history::UnixMillis;
use common::{ALL, Folder, Read as _, kept, message, messages, named_room, room, topic};

fn exported(folder: &Folder) -> (u64, String) {
    let mut out = vec![];
    let count = export_json(&folder.file(), &mut out).unwrap();
    (count, String::from_utf8(out).unwrap())
}

#[test]
fn a_backup_takes_the_place_of_its_history() {
    let folder = Folder::with(&[room(1), room(2)]);
    folder.open().store.write(&messages(1, 1..=500)).unwrap();
    let all = folder.open().store.reader().unwrap().all(1);
    let copy = Folder::new();
    backup(&folder.file(), &copy.file()).unwrap();
    let names: Vec<_> = fs::read_dir(copy.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["history.db"]);

    let kept = |name| {
        let connection = rusqlite::Connection::open(copy.file()).unwrap();
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(kept("auto_vacuum"), 2, "incremental");
    let mut opened = copy.open();
    assert_eq!(opened.rooms, folder.open().rooms);
    let mut reader = opened.store.reader().unwrap();
    assert_eq!((reader.all(1), reader.find(1, "message 77")), (all, vec![77]));
    opened.store.write(&messages(1, 501..=502)).unwrap();
    drop((reader, opened));
    assert_eq!(copy.open().store.reader().unwrap().places(1).len(), 502);
    assert_eq!(folder.open().store.reader().unwrap().places(1).len(), 500);
}

#[test]
fn a_backup_is_made_while_a_server_writes() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = folder.open();
    std::thread::scope(|scope| {
        let (copied, is_copied) = std::sync::mpsc::channel::<()>();
        let writer = scope.spawn(move || {
            let mut last = 0;
            while is_copied.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                opened.store.write(&messages(1, last + 1..=last + 5)).unwrap();
                last += 5;
            }
            (opened, last)
        });
        for number in 0..5 {
            let copy = folder.beside(&format!("copy {number}.db"));
            backup(&folder.file(), &copy).unwrap();
            let opened = open(&copy, ALL).unwrap();
            let seen = opened.store.reader().unwrap().places(1);
            assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
            assert_eq!(seen.len() % 5, 0);
        }
        drop(copied);
        let (opened, last) = writer.join().unwrap();
        assert_eq!(opened.store.reader().unwrap().places(1).len() as u64, last);
    });
}

#[test]
fn a_backup_writes_over_nothing() {
    let folder = Folder::with(&[room(1)]);
    fs::write(folder.beside("copy.db"), "precious").unwrap();
    let error = backup(&folder.file(), &folder.beside("copy.db")).unwrap_err();
    assert!(matches!(error.fault, Fault::Exists), "{error}");
    assert_eq!(fs::read(folder.beside("copy.db")).unwrap(), b"precious");
    assert!(matches!(backup(&folder.file(), &folder.file()).unwrap_err().fault, Fault::Exists));
}

#[test]
fn there_is_no_backup_of_nothing() {
    let folder = Folder::new();
    let error = backup(&folder.file(), &folder.beside("copy.db")).unwrap_err();
    assert!(error.to_string().contains("history.db: there is no such file"), "{error}");
    fs::write(folder.file(), "").unwrap();
    assert!(matches!(backup(&folder.file(), &folder.beside("copy.db")).unwrap_err().fault, Fault::Foreign));
    assert!(!folder.beside("copy.db").exists());
    let error = backup(&Folder::with(&[]).file(), &folder.beside("nowhere").join("copy.db")).unwrap_err();
    assert!(error.to_string().contains("there is no such file"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_backup_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::with(&[room(1)]);
    backup(&folder.file(), &folder.beside("copy.db")).unwrap();
    let mode = fs::metadata(folder.beside("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_export_is_a_line_of_json_for_each_message_and_topic() {
    let folder = Folder::with(&[named_room(2, "Zoë's"), named_room(1, "lobby")]);
    let mut odd = kept(1, 1, "\"\u{1b}\n\u{2028}\0é😀\\");
    odd.at = UnixMillis(1_700_000_000_042);
    let odd = chinwag_proto::history::Write::Message(odd);
    let writes = [message(2, 1, "a"), topic(2, "moles\u{1b}"), message(2, 2, "b"), odd];
    folder.open().store.write(&writes).unwrap();
    let (count, text) = exported(&folder);
    assert_eq!(count, 3);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "{\"room\":\"lobby\",\"seq\":1,\"time\":\"2023-11-14T22:13:20.042Z\",\"name\":\"Foo\",\"text\":\"\\\"\\u001b\\n\\u2028\\u0000é😀\\\\\"}",
            "{\"room\":\"Zoë's\",\"time\":\"1970-01-01T00:16:40.000Z\",\"name\":\"Foo\",\"topic\":\"moles\\u001b\"}",
            "{\"room\":\"Zoë's\",\"seq\":1,\"time\":\"1970-01-01T00:16:40.001Z\",\"name\":\"Foo\",\"text\":\"a\"}",
            "{\"room\":\"Zoë's\",\"seq\":2,\"time\":\"1970-01-01T00:16:40.002Z\",\"name\":\"Foo\",\"text\":\"b\"}",
        ]
    );
}

#[test]
fn an_export_has_all_messages_once_while_a_server_has_the_file() {
    let folder = Folder::with(&[room(1), room(2), room(3)]);
    let mut opened = folder.open();
    opened.store.write(&messages(1, 1..=2500)).unwrap();
    opened.store.write(&messages(3, 1..=1000)).unwrap();
    let (count, text) = exported(&folder);
    let seqs: Vec<_> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["room"].as_str().unwrap().to_owned(), line["seq"].as_u64().unwrap())
        })
        .collect();
    let all = |room: &'static str, last| (1..=last).map(move |seq| (room.to_owned(), seq));
    assert_eq!(seqs, all("room 1", 2500).chain(all("room 3", 1000)).collect::<Vec<_>>());
    assert_eq!(count, 3500);
}

/// Takes some bytes, then no more.
struct Broken(usize);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_tells_who_failed() {
    let folder = Folder::with(&[room(1)]);
    folder.open().store.write(&messages(1, 1..=10)).unwrap();
    for bytes in [0, 1, 100, 500] {
        assert_eq!(
            export_json(&folder.file(), &mut Broken(bytes)).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
    let error = export_json(&folder.beside("other.db"), &mut io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("other.db: there is no such file"), "{error}");
}
