//! The power goes at any moment: what was said to be kept is there, batches are there wholly or not at all, and in order.
//!
//! A machine without power is copied files: what was synced is whole; what was written after that has any of its sectors, or others.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{fs, path::Path};

use chinwag_history::open;
use chinwag_proto::{Rng, history::Write};
use common::{ALL, Folder, Read as _, message, room};
use rusqlite::Connection;

/// What a disk writes at once.
const SECTOR: usize = 512;
const BATCHES: usize = 40;

/// Batches of all sizes, in two rooms, some with messages of several pages.
fn batches(rng: &mut Rng) -> Vec<Vec<Write>> {
    let mut last = [0; 2];
    let mut batch = |number: usize| -> Vec<Write> {
        let size = 1 + rng.below(if number.is_multiple_of(8) { 100 } else { 6 });
        (0..size)
            .map(|_| {
                let room = rng.below(2);
                last[room as usize] += 1;
                let text = format!("b{number} {}", "x".repeat(rng.below(200) as usize * (1 + number % 12)));
                message(1 + room as u32, last[room as usize], &text[..text.len().min(4096)])
            })
            .collect()
    };
    (0..BATCHES).map(&mut batch).collect()
}

/// How many batches are in a file after the power was cut. All of them must be whole, and nothing else be there.
fn whole_batches(file: &Path, batches: &[Vec<Write>], case: &str) -> usize {
    let mut opened = open(file, ALL).unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut reader = opened.store.reader().unwrap();
    let mut there: Vec<_> = [1, 2].into_iter().flat_map(|room| reader.all(room)).collect();
    let mut whole = 0;
    for batch in batches {
        if there.is_empty() {
            break;
        }
        for write in batch {
            let Write::Message(message) = write else { panic!("all are messages") };
            let place = there.iter().position(|other| other == message);
            there.remove(place.unwrap_or_else(|| panic!("{case}: batch {whole} is torn")));
        }
        whole += 1;
    }
    assert_eq!(there, [], "{case}");
    for (number, batch) in batches.iter().enumerate() {
        let found: usize = [1, 2].map(|room| reader.find(room, &format!("b{number} ")).len()).iter().sum();
        let said = if number < whole { batch.len() } else { 0 };
        assert_eq!(found, said, "{case}: the words of batch {number}");
    }
    // And it goes on.
    if let Some(next) = batches.get(whole) {
        opened.store.write(next).unwrap();
    }
    whole
}

#[test]
fn what_was_kept_before_the_cut_is_there_and_nothing_is_half_there() {
    let mut rng = Rng::from_number(1);
    let batches = batches(&mut rng);
    let folder = Folder::with(&[room(1), room(2)]);
    let mut opened = folder.open();
    let database = fs::read(folder.file()).unwrap();
    let log = || fs::read(folder.beside("history.db-wal")).unwrap();
    // How long the log was when each write had returned.
    let kept: Vec<usize> = batches
        .iter()
        .map(|batch| {
            opened.store.write(batch).unwrap();
            log().len()
        })
        .collect();
    let log = log();
    assert_eq!(fs::read(folder.file()).unwrap(), database, "all is in the log still");
    assert!(kept.is_sorted_by(|one, next| one < next));

    let mut cuts: Vec<usize> = (0..120).map(|_| rng.below(log.len() as u64 + 1) as usize).collect();
    cuts.extend(kept.iter().flat_map(|&length| [length - 1, length, (length + 1).min(log.len())]));
    let mut torn = 0;
    for (number, cut) in cuts.into_iter().enumerate() {
        let expected = kept.partition_point(|&length| length <= cut);
        let synced = expected.checked_sub(1).map_or(0, |last| kept[last]);
        let mut after = log[..cut].to_vec();
        let kind = number % 4;
        for sector in after[synced..].chunks_mut(SECTOR).filter(|_| kind > 0) {
            if rng.below(3) == 0 {
                sector.fill_with(|| if kind == 1 { 0 } else { rng.next_u64() as u8 });
                torn += 1;
            }
        }
        let machine = Folder::new();
        fs::write(machine.file(), &database).unwrap();
        fs::write(machine.beside("history.db-wal"), &after).unwrap();
        let case = format!("cut at {cut} of {}, kind {kind}", log.len());
        assert_eq!(whole_batches(&machine.file(), &batches, &case), expected, "{case}");
    }
    assert!(torn > 100, "{torn}");
}

#[test]
fn a_cut_while_the_log_is_put_into_the_file_loses_nothing() {
    let mut rng = Rng::from_number(2);
    let batches = batches(&mut rng);
    let folder = Folder::with(&[room(1), room(2)]);
    let mut opened = folder.open();
    for batch in &batches {
        opened.store.write(batch).unwrap();
    }
    let (before, log) =
        (fs::read(folder.file()).unwrap(), fs::read(folder.beside("history.db-wal")).unwrap());
    Connection::open(folder.file()).unwrap().execute_batch("PRAGMA wal_checkpoint(passive)").unwrap();
    let after = fs::read(folder.file()).unwrap();
    assert!(before.len() < after.len(), "{} {} {}", before.len(), after.len(), log.len());
    for case in 0..40 {
        // Some of the new sectors are there, in any order, and some of the new length.
        let length = before.len() + rng.below((after.len() - before.len()) as u64 + 1) as usize;
        let mut database = before.clone();
        database.resize(length, 0);
        for (sector, new) in database.chunks_mut(SECTOR).zip(after.chunks(SECTOR)) {
            if rng.below(40) <= case {
                sector.copy_from_slice(&new[..sector.len()]);
            }
        }
        let machine = Folder::new();
        fs::write(machine.file(), &database).unwrap();
        fs::write(machine.beside("history.db-wal"), &log).unwrap();
        assert_eq!(whole_batches(&machine.file(), &batches, &format!("case {case}")), BATCHES);
    }
}

#[test]
fn a_log_that_was_begun_anew_holds_nothing_of_the_old_one() {
    let mut rng = Rng::from_number(3);
    let batches = batches(&mut rng);
    let folder = Folder::with(&[room(1), room(2)]);
    let mut opened = folder.open();
    let half = BATCHES / 2;
    for batch in &batches[..half] {
        opened.store.write(batch).unwrap();
    }
    // What SQLite does by itself when the log is long enough.
    Connection::open(folder.file()).unwrap().execute_batch("PRAGMA wal_checkpoint(restart)").unwrap();
    let database = fs::read(folder.file()).unwrap();
    let old_log = fs::read(folder.beside("history.db-wal")).unwrap();
    for (number, batch) in batches.iter().enumerate().skip(half) {
        opened.store.write(batch).unwrap();
        let log = fs::read(folder.beside("history.db-wal")).unwrap();
        assert!(log.len() >= old_log.len());
        let machine = Folder::new();
        fs::write(machine.file(), &database).unwrap();
        fs::write(machine.beside("history.db-wal"), &log).unwrap();
        assert_eq!(whole_batches(&machine.file(), &batches, &format!("batch {number}")), number + 1);
    }
}

#[test]
fn a_cut_while_the_history_is_begun_leaves_one_that_can_be_begun_again() {
    let folder = Folder::new();
    let opened = folder.open();
    let (begun, log) = (fs::read(folder.file()).unwrap(), fs::read(folder.beside("history.db-wal")).unwrap());
    drop(opened);
    // As the file is before anything of the log is put into it.
    let empty = Connection::open(folder.beside("empty.db")).unwrap();
    empty.execute_batch("PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal").unwrap();
    let database = fs::read(folder.beside("empty.db")).unwrap();
    assert!(database.len() < begun.len() && log.len() > begun.len());
    let cuts = (0..=log.len()).step_by(SECTOR).chain([1, log.len()]);
    for (cut, database) in cuts.flat_map(|cut| [(cut, &database), (cut, &begun)]) {
        let machine = Folder::new();
        fs::write(machine.file(), database).unwrap();
        fs::write(machine.beside("history.db-wal"), &log[..cut]).unwrap();
        let mut opened = open(&machine.file(), ALL).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        opened.store.write(&[room(1), message(1, 1, "hello")]).unwrap();
        assert_eq!(opened.store.reader().unwrap().find(1, "hello"), [1]);
    }
}
