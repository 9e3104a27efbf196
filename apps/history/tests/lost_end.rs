//! What was kept is missing, since the log is damaged or cut off: that is never taken for its end.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::fs;

use chinwag_history::{Fault, Retention, backup, open, remove_room, restore, restore_readable};
use chinwag_proto::{Rng, history::Write};
use common::{ALL, Folder, Read as _, id, message, messages, room, tidy};

const FILES: [&str; 3] = ["history.db", "history.db-wal", "history.db.lock"];
const BATCHES: u64 = 30;

/// All files of a history, as they are at this moment.
#[derive(Clone)]
struct Files([Vec<u8>; 3]);

impl Files {
    fn of(folder: &Folder) -> Self {
        Self(FILES.map(|name| fs::read(folder.beside(name)).unwrap()))
    }

    fn folder(&self) -> Folder {
        let folder = Folder::new();
        for (name, bytes) in FILES.iter().zip(&self.0) {
            fs::write(folder.beside(name), bytes).unwrap();
        }
        folder
    }

    fn log(&mut self) -> &mut Vec<u8> {
        &mut self.0[1]
    }
}

/// What is there while a server runs that has kept these batches of one message each: before the last of them, and after it.
fn crashed() -> (Files, Files) {
    let folder = Folder::with(&[room(1)]);
    let mut opened = folder.open();
    for seq in 1..BATCHES {
        opened.store.write(&[message(1, seq, &format!("message {seq}"))]).unwrap();
    }
    let before = Files::of(&folder);
    opened.store.write(&[message(1, BATCHES, "the last")]).unwrap();
    let after = Files::of(&folder);
    assert_eq!(before.0[0], after.0[0], "all is in the log still");
    (before, after)
}

fn places(folder: &Folder) -> Vec<u64> {
    folder.open().store.reader().unwrap().places(1)
}

/// Whether a history is refused since something is missing. Then it is as it was, else all is there.
fn is_refused(files: &Files, case: &str) -> bool {
    let folder = files.folder();
    match open(&folder.file(), ALL) {
        Ok(opened) => {
            let places = opened.store.reader().unwrap().places(1);
            assert_eq!(places, (1..=BATCHES).collect::<Vec<_>>(), "{case}: some are missing");
            false
        }
        Err(error) => {
            assert!(matches!(error.fault, Fault::Incomplete { .. }), "{case}: {error}");
            for (name, before) in FILES.iter().zip(&files.0).take(2) {
                assert!(fs::read(folder.beside(name)).unwrap() == *before, "{case}: {name} was changed");
            }
            assert!(folder.refusal().contains("are missing"), "{case}: it is refused once alone");
            true
        }
    }
}

#[test]
fn a_log_that_is_damaged_or_cut_off_anywhere_is_refused_unless_nothing_is_missing() {
    let (_, files) = crashed();
    let (length, mut rng) = (files.0[1].len() as u64, Rng::from_number(1));
    let mut refused = 0;
    for case in 0..150 {
        let mut damaged = files.clone();
        // The header of the log, too.
        let at = (if case < 10 { rng.below(32) } else { rng.below(length - 3) }) as usize;
        damaged.log()[at..at + 3].iter_mut().for_each(|byte| *byte ^= 0x55);
        refused += u32::from(is_refused(&damaged, &format!("3 bytes are damaged at {at}")));
    }
    assert!(refused > 140, "{refused}");
    for case in 0..50 {
        let at = if case == 0 { 0 } else { rng.below(length) } as usize;
        let mut cut = files.clone();
        cut.log().truncate(at);
        assert!(is_refused(&cut, &format!("it is cut off at {at}")));
    }
    assert!(!is_refused(&files, "nothing is damaged"));
}

#[test]
fn a_log_that_is_damaged_when_it_was_put_into_the_file_is_refused_unless_nothing_is_missing() {
    let (_, files) = crashed();
    let folder = files.folder();
    // As SQLite does by itself now and then; the log stays.
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(passive)").unwrap();
    let files = Files::of(&folder);
    let (length, mut rng) = (files.0[1].len() as u64, Rng::from_number(2));
    for case in 0..60 {
        let mut damaged = files.clone();
        let at = rng.below(length) as usize;
        if case % 2 == 0 {
            damaged.log()[at] ^= 1
        } else {
            damaged.log().truncate(at)
        }
        is_refused(&damaged, &format!("damaged or cut off at {at}"));
    }
}

#[test]
fn a_log_that_is_torn_where_nothing_was_acknowledged_is_no_reason_to_refuse() {
    let (before, after) = crashed();
    let (kept, end) = (before.0[1].len(), after.0[1].len());
    for at in (kept..end).step_by(400) {
        let mut torn = before.clone();
        *torn.log() = after.0[1][..at].to_vec();
        assert_eq!(places(&torn.folder()), (1..BATCHES).collect::<Vec<_>>(), "cut off at {at}");
        // It was kept, but not told any more.
        *torn.log() = after.0[1].clone();
        assert_eq!(places(&torn.folder()), (1..=BATCHES).collect::<Vec<_>>());
        torn.log()[at] ^= 1;
        assert_eq!(places(&torn.folder()), (1..BATCHES).collect::<Vec<_>>(), "damaged at {at}");
    }
}

#[test]
fn a_refusal_says_what_is_there_and_what_to_do() {
    let (_, mut files) = crashed();
    let length = files.0[1].len();
    files.log().truncate(length / 2);
    let refusal = files.folder().refusal();
    for part in [
        "history.db: of what was kept in it",
        "the last of them of 1970-01-01T00:16:40.0",
        "Nothing was changed",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert!(
        refusal.contains("chinwag-server restore FILE") && refusal.contains("restore --readable"),
        "{refusal}"
    );
    // There is nothing to read.
    files.log().clear();
    let refusal = files.folder().refusal();
    assert!(refusal.contains("the last 29 or more") || refusal.contains("the last 30 or more"), "{refusal}");
}

#[test]
fn it_goes_on_with_what_can_be_read_and_what_was_there_is_kept() {
    let (_, mut files) = crashed();
    let middle = files.0[1].len() / 2;
    files.log()[middle] ^= 1;
    let folder = files.folder();
    let aside = restore_readable(&folder.file()).unwrap().unwrap();
    assert_eq!(aside, folder.beside("history.db.old-1"));
    for (name, before) in ["history.db.old-1", "history.db.old-1-wal"].iter().zip(&files.0) {
        assert!(fs::read(folder.beside(name)).unwrap() == *before, "{name}");
    }
    let mut opened = folder.open();
    let last = opened.rooms[0].last.to_wire();
    assert!((1..BATCHES).contains(&last) && opened.remarks.is_empty());
    opened.store.write(&messages(1, last + 1..=last + 20)).unwrap();
    let mut again = Files::of(&folder);
    drop(opened);
    assert_eq!(places(&folder), (1..=last + 20).collect::<Vec<_>>());
    // It is watched as any other.
    again.log().clear();
    assert!(again.folder().refusal().contains("are missing"));
    assert!(matches!(restore_readable(&Folder::new().file()).unwrap_err().fault, Fault::Missing));
}

#[test]
fn a_backup_takes_the_place_of_what_was_refused_which_is_kept_as_it_was() {
    let (_, mut files) = crashed();
    let source = files.folder();
    backup(&source.file(), &source.beside("backup.db")).unwrap();
    let middle = files.0[1].len() / 2;
    files.log()[middle] ^= 1;
    let folder = files.folder();
    restore(&folder.file(), &source.beside("backup.db")).unwrap().unwrap();
    assert_eq!(places(&folder), (1..=BATCHES).collect::<Vec<_>>());
    assert!(fs::read(folder.beside("history.db.old-1-wal")).unwrap() == files.0[1]);
}

#[test]
fn what_is_lost_after_a_clean_end_is_known_too() {
    let folder = Folder::with(&[room(1)]);
    let older = fs::read(folder.file()).unwrap();
    folder.open().store.write(&messages(1, 1..=5)).unwrap();
    fs::write(folder.file(), older).unwrap();
    assert!(folder.refusal().contains("the last 5 or more are missing"), "{}", folder.refusal());
}

/// Whatever makes a history less, or another one: it is opened after a crash.
#[test]
fn nothing_else_keeps_a_history_from_being_opened() {
    let crash_after = |change: &dyn Fn(&Folder)| {
        let (_, files) = crashed();
        let folder = files.folder();
        change(&folder);
        let opened = folder.open();
        Files::of(&folder).folder().open();
        drop(opened);
        folder.open();
    };
    let forget = |folder: &Folder| {
        let mut opened = open(&folder.file(), Retention { max_messages: Some(0), ..ALL }).unwrap();
        tidy(&mut *opened.store, 0);
        opened.store.write(&[Write::Gone(id(1))]).unwrap();
        Files::of(folder).folder().open();
    };
    crash_after(&forget);
    crash_after(&|folder| drop(remove_room(&folder.file(), "room 1").unwrap()));
    crash_after(&|folder| drop(restore_readable(&folder.file()).unwrap()));
    crash_after(&|folder| {
        // An older backup, by the command and by hand.
        let older = Folder::with(&[room(1)]);
        backup(&older.file(), &older.beside("backup.db")).unwrap();
        restore(&folder.file(), &older.beside("backup.db")).unwrap();
        folder.open().store.write(&messages(1, 1..=3)).unwrap();
        fs::copy(older.beside("backup.db"), folder.file()).unwrap();
    });
    // A mark that is gone, torn, or an older program's.
    crash_after(&|folder| fs::remove_file(folder.beside("history.db.lock")).unwrap());
    for note in
        ["", "in use", "in use, or not closed properly; the history is number 0000000007\n", "\u{0}\u{0}"]
    {
        crash_after(&|folder| fs::write(folder.beside("history.db.lock"), note).unwrap());
    }
    crash_after(&|folder| {
        let mut bytes = fs::read(folder.beside("history.db.lock")).unwrap();
        let at = bytes.len() - 3;
        bytes[at] = b'9';
        fs::write(folder.beside("history.db.lock"), bytes).unwrap();
    });
    crash_after(&|folder| fs::remove_file(folder.file()).unwrap());
}
