//! Which files are opened, and what is said of those that are not.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{fs, path::Path};

use chinwag_history::{Fault, open};
use common::{ALL, Folder, Read as _, message, room};
use rusqlite::Connection;

#[test]
fn a_history_has_one_server_at_a_time() {
    let folder = Folder::new();
    let opened = folder.open();
    assert!(folder.refusal().contains("history.db: another server is using it"), "{}", folder.refusal());
    drop(opened);
    folder.open();
}

#[test]
fn a_file_that_a_newer_program_wrote_is_refused_and_left_alone() {
    let folder = Folder::with(&[room(1)]);
    Connection::open(folder.file()).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let before = fs::read(folder.file()).unwrap();
    let error = open(&folder.file(), ALL).unwrap_err();
    assert!(matches!(error.fault, Fault::Newer { found: 1000, .. }), "{error}");
    assert!(error.to_string().contains("a newer chinwag wrote it"));
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let text: Box<dyn Fn(&Path)> = Box::new(|file| fs::write(file, "Dear diary\n".repeat(1000)).unwrap());
    let short: Box<dyn Fn(&Path)> = Box::new(|file| fs::write(file, "x").unwrap());
    let database: Box<dyn Fn(&Path)> = Box::new(|file| {
        Connection::open(file)
            .unwrap()
            .execute_batch("CREATE TABLE rooms (id); PRAGMA user_version = 1")
            .unwrap();
    });
    for make in [text, short, database] {
        let folder = Folder::new();
        make(&folder.file());
        let before = fs::read(folder.file()).unwrap();
        assert!(folder.refusal().contains("not a history of chinwag"), "{}", folder.refusal());
        assert_eq!(fs::read(folder.file()).unwrap(), before);
    }
}

#[test]
fn an_empty_file_becomes_a_history() {
    let folder = Folder::new();
    fs::write(folder.file(), "").unwrap();
    let mut opened = folder.open();
    assert!(opened.remarks[0].ends_with("was there with nothing in it; a new history is begun"));
    opened.store.write(&[room(1)]).unwrap();
    drop(opened);
    let opened = folder.open();
    assert_eq!((opened.rooms.len(), opened.remarks.len()), (1, 0));
}

#[test]
fn a_file_that_was_emptied_is_refused_and_one_that_was_taken_away_is_begun_anew() {
    let folder = Folder::with(&[room(1)]);
    fs::write(folder.file(), "").unwrap();
    assert!(folder.refusal().contains("history.db: there is nothing in it, where messages were kept"));
    assert!(folder.refusal().contains("with chinwag-server restore FILE, or remove it"));
    fs::remove_file(folder.file()).unwrap();
    let opened = folder.open();
    assert!(
        opened.remarks[0]
            .ends_with("is not there any more, where messages were kept; a new history is begun")
    );
    drop(opened);
    // As a crash leaves it that comes when that file is made.
    fs::write(folder.file(), "").unwrap();
    assert_eq!(folder.open().rooms.len(), 0);
}

#[test]
fn where_no_file_can_be_is_said() {
    let folder = Folder::new();
    let error = open(&folder.beside("nowhere").join("history.db"), ALL).unwrap_err().to_string();
    assert!(error.contains("nowhere/history.db: there is no such file or folder"), "{error}");
    fs::create_dir(folder.file()).unwrap();
    assert!(folder.refusal().contains("history.db: "), "{}", folder.refusal());
}

#[test]
fn odd_names_of_files_are_just_names() {
    let folder = Folder::new();
    for name in ["file:x?mode=memory", "a b'c\"%00", ":memory:", "é"] {
        open(&folder.beside(name), ALL).unwrap().store.write(&[room(1)]).unwrap();
        assert!(folder.beside(name).is_file());
        assert_eq!(open(&folder.beside(name), ALL).unwrap().rooms.len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn all_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mut opened = folder.open();
    opened.store.write(&[room(1)]).unwrap();
    let mut names = vec![];
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["history.db", "history.db-shm", "history.db-wal", "history.db.lock"]);
}

/// What SQL can do to a file, and what is said of it then.
#[test]
fn what_cannot_have_been_written_is_refused() {
    for (harm, said) in [
        ("UPDATE rooms SET name = 'a:b' WHERE id = 1", "cannot be a name"),
        ("UPDATE rooms SET name = ' padded ' WHERE id = 2", "cannot be a name"),
        ("UPDATE rooms SET name = 'ROOM 2' WHERE id = 1", "two rooms are called"),
        ("UPDATE rooms SET id = 1 << 30 WHERE id = 1", "cannot be a room"),
        ("UPDATE rooms SET id = -1 WHERE id = 1", "range"),
        ("UPDATE rooms SET last = 1 << 40", "cannot be a room"),
        ("UPDATE rooms SET last = -1", "range"),
        ("UPDATE rooms SET last = 4", "place 3 where 4 should be"),
        ("UPDATE rooms SET last = 2", "place 3 where 2 should be"),
        ("DELETE FROM messages WHERE (n & 255) = 2", "place 1 where 2 should be"),
        ("UPDATE messages SET name = char(27)", "cannot be a name"),
        ("UPDATE messages SET author = x'00'", "is damaged"),
        ("UPDATE messages SET text = CAST(x'ff' AS TEXT)", "is damaged"),
    ] {
        let folder =
            Folder::with(&[room(1), room(2), message(1, 1, "a"), message(1, 2, "b"), message(1, 3, "c")]);
        Connection::open(folder.file()).unwrap().execute_batch(harm).unwrap();
        let refusal = folder.refusal();
        assert!(
            refusal.contains("history.db: it is damaged (") && refusal.contains(said),
            "{harm}: {refusal}"
        );
        assert!(refusal.contains("with chinwag-server restore FILE"), "{refusal}");
    }
}

#[test]
fn a_history_can_be_moved() {
    let folder = Folder::with(&[room(1), message(1, 1, "a")]);
    let elsewhere = Folder::new();
    fs::rename(folder.file(), elsewhere.file()).unwrap();
    assert_eq!(elsewhere.open().store.reader().unwrap().places(1), [1]);
}
