//! Files in which bytes are wrong: they are refused in clear words, or what can be read is read. Nothing panics.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::fs;

use chinwag_history::{Fault, backup, export_json, open};
use chinwag_proto::{
    Rng, Seq,
    history::{PageRequest, SearchRequest, UnixMillis},
};
use chinwag_transport_mio::history::OpenedStore;
use common::{Folder, id, message, messages, room};

/// Files that are damaged, each in another way.
const FILES: u64 = 160;

/// Words enough for an index of some pages.
fn populated() -> Folder {
    let folder = Folder::with(&[room(1), room(2)]);
    let mut opened = folder.open();
    opened.store.write(&messages(2, 1..=100)).unwrap();
    let mut rng = Rng::from_number(1);
    for batch in 0..20 {
        let writes = (batch * 15 + 1..=batch * 15 + 15).map(|seq| {
            let text: String = (0..20).map(|_| format!("w{} ", rng.below(500))).collect();
            message(1, seq, &text)
        });
        opened.store.write(&writes.collect::<Vec<_>>()).unwrap();
    }
    opened.store.write(&[message(1, 301, &"x".repeat(4096))]).unwrap();
    drop(opened);
    folder
}

/// Damages a page that nothing reads at the start.
fn spoil_the_index(folder: &Folder) {
    let sql = "SELECT pageno FROM dbstat WHERE name = 'words_data' AND pagetype = 'leaf' LIMIT 1";
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    let page: usize = connection.query_row(sql, (), |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = fs::read(folder.file()).unwrap();
    bytes[(page - 1) * 4096..][..2048].fill(0xff);
    fs::write(folder.file(), bytes).unwrap();
}

/// Does all that can be done to a history. Whether all went well.
fn use_all(mut opened: OpenedStore) -> bool {
    let mut well = true;
    let mut reader = opened.store.reader().unwrap();
    for room in 1..=2 {
        for before in [u64::MAX, 300, 150, 40] {
            well &= reader
                .page(&PageRequest { room: id(room), before: Seq::from_wire(before), limit: 100 })
                .is_ok();
            for words in ["w1 ", "w", "w1 w2", "message"] {
                let before = Seq::from_wire(before);
                let request = SearchRequest { room: id(room), words: words.into(), before, limit: 50 };
                well &= reader.search(&request).is_ok();
            }
        }
    }
    for room in opened.rooms.iter().map(|room| (room.room.id, room.last)).collect::<Vec<_>>() {
        let next = message(room.0.to_wire(), room.1.to_wire() + 1, "w1 w2 new");
        well &= opened.store.write(&[next]).is_ok();
    }
    // The clock is believed, since it is the first.
    well & opened.store.tidy(UnixMillis(u64::MAX)).is_ok()
}

#[test]
fn damage_is_refused_or_told_and_never_a_panic() {
    let whole = fs::read(populated().file()).unwrap();
    let (mut refused, mut told, mut unseen) = (0, 0, 0);
    for seed in 0..FILES {
        let folder = Folder::new();
        let (mut rng, mut bytes) = (Rng::from_number(seed), whole.clone());
        // A bit, a byte here and there, a sector of nothing, or the end.
        let at = rng.below(bytes.len() as u64) as usize;
        match seed % 4 {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => (0..40).for_each(|_| {
                let at = rng.below(whole.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }),
            2 => bytes[at / 512 * 512..][..512].fill(0),
            _ => bytes.truncate(at),
        }
        fs::write(folder.file(), bytes).unwrap();
        // A server that was closed properly does not look through the file, so that damage is found later, if ever.
        if seed % 8 < 4 {
            fs::write(folder.beside("history.db.lock"), "").unwrap();
        }
        let retention = chinwag_history::Retention { max_messages: Some(50), ..common::ALL };
        // Others look at it as it is, too.
        let _ = backup(&folder.file(), &folder.beside("copy.db"));
        let _ = export_json(&folder.file(), &mut std::io::sink());
        match open(&folder.file(), retention) {
            Err(error) => {
                let known = matches!(error.fault, Fault::Damaged(_) | Fault::Foreign | Fault::Newer { .. });
                assert!(known, "seed {seed}: {error}");
                refused += 1;
            }
            Ok(opened) => *(if use_all(opened) { &mut unseen } else { &mut told }) += 1,
        }
    }
    assert!(refused > FILES / 3 && told > 0 && unseen > 0, "{refused} refused, {told} told, {unseen} unseen");
}

#[test]
fn after_a_crash_the_whole_file_is_looked_through() {
    let folder = populated();
    spoil_the_index(&folder);
    drop(folder.open());
    fs::write(folder.beside("history.db.lock"), "in use").unwrap();
    assert!(folder.refusal().contains("history.db: it is damaged ("), "{}", folder.refusal());
    fs::remove_file(folder.beside("history.db.lock")).unwrap();
    assert!(folder.refusal().contains("history.db: it is damaged ("), "{}", folder.refusal());
}

#[test]
fn a_copy_is_not_made_of_what_is_damaged() {
    let folder = populated();
    spoil_the_index(&folder);
    let error = backup(&folder.file(), &folder.beside("copy.db")).unwrap_err();
    assert!(error.to_string().contains("history.db: it is damaged ("), "{error}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("copy")), "{left:?}");
}
