//! What takes the place of a history, by the command for it and without.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{fs, path::Path};

use chinwag_history::{Fault, backup, open, restore};
use common::{ALL, Folder, Read as _, message, messages, room};

fn names(folder: &Folder) -> Vec<String> {
    let files = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn places(file: &Path) -> Vec<u64> {
    let opened = open(file, ALL).unwrap();
    assert_eq!(opened.remarks.len(), 0);
    opened.store.reader().unwrap().places(1)
}

/// A folder as a server leaves it that is killed when it had these messages, with a log that is not empty; its backup has the first two.
fn crashed(last: u64) -> Folder {
    let (folder, running) = (Folder::new(), Folder::new());
    let mut opened = running.open();
    opened.store.write(&[room(1)]).unwrap();
    opened.store.write(&messages(1, 1..=2)).unwrap();
    backup(&running.file(), &folder.beside("backup.db")).unwrap();
    for seq in 3..=last {
        opened.store.write(&[message(1, seq, "later")]).unwrap();
    }
    for name in ["history.db", "history.db-wal", "history.db-shm", "history.db.lock"] {
        fs::copy(running.beside(name), folder.beside(name)).unwrap();
    }
    assert!(fs::metadata(folder.beside("history.db-wal")).unwrap().len() > 0);
    folder
}

#[test]
fn a_backup_is_restored_and_what_was_there_is_kept_whole() {
    let folder = crashed(40);
    let aside = restore(&folder.file(), &folder.beside("backup.db")).unwrap().unwrap();
    assert_eq!(names(&folder), ["backup.db", "history.db", "history.db.lock", "history.db.old-1"]);
    assert_eq!(places(&folder.file()), [1, 2]);
    assert_eq!(places(&aside), (1..=40).collect::<Vec<_>>());
    // And back again, also without the lock of the server.
    fs::remove_file(folder.beside("history.db.lock")).unwrap();
    let second = restore(&folder.file(), &aside).unwrap().unwrap();
    assert_eq!(second, folder.beside("history.db.old-2"));
    assert_eq!(places(&folder.file()), (1..=40).collect::<Vec<_>>());
    assert_eq!(places(&second), [1, 2]);
}

#[test]
fn a_backup_is_restored_where_there_is_nothing_or_something_damaged() {
    let source = crashed(3);
    let folder = Folder::new();
    assert_eq!(restore(&folder.file(), &source.beside("backup.db")).unwrap(), None);
    assert_eq!(places(&folder.file()), [1, 2]);
    for harm in [b"not a database".to_vec(), vec![], vec![7; 100_000]] {
        let folder = crashed(30);
        fs::write(folder.file(), &harm).unwrap();
        let log = fs::read(folder.beside("history.db-wal")).unwrap();
        let aside = restore(&folder.file(), &folder.beside("backup.db")).unwrap().unwrap();
        assert!(fs::read(&aside).unwrap() == harm);
        assert!(fs::read(folder.beside("history.db.old-1-wal")).unwrap() == log);
        assert_eq!(places(&folder.file()), [1, 2]);
    }
}

#[test]
fn nothing_is_restored_while_a_server_runs_or_from_what_is_no_backup() {
    let folder = crashed(5);
    let opened = folder.open();
    let error = restore(&folder.file(), &folder.beside("backup.db")).unwrap_err();
    assert!(matches!(error.fault, Fault::InUse), "{error}");
    drop(opened);
    fs::write(folder.beside("text"), "Dear diary\n".repeat(1000)).unwrap();
    let before = fs::read(folder.file()).unwrap();
    let mut damaged = fs::read(folder.beside("backup.db")).unwrap();
    damaged[8192..9000].fill(0xff);
    fs::write(folder.beside("damaged"), damaged).unwrap();
    for (from, said) in [
        ("text", "text: it is not a history of chinwag"),
        ("nothing", "nothing: there is no such file"),
        ("damaged", "damaged: it is damaged ("),
        ("history.db", "history.db: refused: it is the history itself"),
    ] {
        let error = restore(&folder.file(), &folder.beside(from)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(fs::read(folder.file()).unwrap() == before);
    }
    let left = ["backup.db", "damaged", "history.db", "history.db.lock", "text"];
    assert_eq!(names(&folder), left);
    assert_eq!(places(&folder.file()), [1, 2, 3, 4, 5]);
}

fn log(folder: &Folder, name: &str) -> Vec<u8> {
    fs::read(folder.beside(name)).unwrap()
}

#[test]
fn a_log_that_somebody_reads_when_the_server_ends_does_not_spoil_a_copy_either() {
    let folder = Folder::with(&[room(1)]);
    let mut opened = folder.open();
    opened.store.write(&messages(1, 1..=5)).unwrap();
    let copy = folder.beside("backup.db");
    backup(&folder.file(), &copy).unwrap();
    let reader = rusqlite::Connection::open(folder.file()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    opened.store.write(&messages(1, 6..=1500)).unwrap();
    drop(opened);
    // As if that one were killed, the last that has the log open.
    let elsewhere = Folder::new();
    for name in ["history.db", "history.db-wal", "history.db.lock"] {
        fs::copy(folder.beside(name), elsewhere.beside(name)).unwrap();
    }
    let left = log(&elsewhere, "history.db-wal");
    assert!(!left.is_empty(), "all is in the file already");
    fs::copy(&copy, elsewhere.file()).unwrap();
    assert_eq!(elsewhere.open().store.reader().unwrap().places(1), [1, 2, 3, 4, 5]);
    assert!(log(&elsewhere, "history.db.old-1-wal") == left, "nothing is thrown away");
    drop(reader);
    assert_eq!(folder.open().store.reader().unwrap().places(1).len(), 1500);
}

#[test]
fn a_log_that_was_left_beside_a_copy_does_not_spoil_it() {
    let folder = crashed(40);
    let left = log(&folder, "history.db-wal");
    fs::copy(folder.beside("backup.db"), folder.file()).unwrap();
    let opened = folder.open();
    assert_eq!(opened.store.reader().unwrap().places(1), [1, 2]);
    let aside = folder.beside("history.db.old-1-wal");
    assert!(opened.remarks[0].contains(aside.to_str().unwrap()), "{:?}", opened.remarks);
    assert!(log(&folder, "history.db.old-1-wal") == left, "nothing is thrown away");
    drop(opened);
    assert_eq!(places(&folder.file()), [1, 2]);

    // Nor when somebody does so and restores after that, or took the history away and left the log.
    let folder = crashed(40);
    fs::copy(folder.beside("backup.db"), folder.file()).unwrap();
    let aside = restore(&folder.file(), &folder.beside("backup.db")).unwrap().unwrap();
    assert!(fs::read(&aside).unwrap() == fs::read(folder.beside("backup.db")).unwrap());
    assert_eq!(places(&folder.file()), [1, 2]);
    let folder = crashed(40);
    let left = log(&folder, "history.db-wal");
    fs::remove_file(folder.file()).unwrap();
    let opened = folder.open();
    assert_eq!((opened.rooms.len(), opened.remarks.len()), (0, 2), "of the file and of the log");
    assert!(log(&folder, "history.db.old-1-wal") == left);
}

#[test]
fn a_log_is_its_own_historys_whenever_a_server_crashed() {
    let running = Folder::new();
    let mut opened = running.open();
    let mut last = 0;
    for start in 0..3 {
        for _ in 0..40 {
            if last == 0 {
                opened.store.write(&[room(1)]).unwrap();
            }
            opened.store.write(&[message(1, last + 1, &"x".repeat(50 << start))]).unwrap();
            last += 1;
            let machine = Folder::new();
            for name in ["history.db", "history.db-wal", "history.db.lock"] {
                fs::copy(running.beside(name), machine.beside(name)).unwrap();
            }
            assert_eq!(places(&machine.file()), (1..=last).collect::<Vec<_>>());
        }
        drop(opened);
        opened = running.open();
    }
}
