//! A server that is killed in the midst of writing has kept all that it said it had.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use chinwag_history::{Retention, open};
use chinwag_proto::{Rng, history::UnixMillis};
use common::{ALL, Folder, Read as _, messages, room};

/// In the environment of the process that is killed: its file.
const VICTIM: &str = "CHINWAG_HISTORY_VICTIM";
const BATCH: u64 = 5;
/// Kept by the victim's tidying.
const KEPT: u64 = 500;

#[test]
#[ignore = "is the process that another test kills"]
fn victim() {
    let file = env::var_os(VICTIM).expect("only the other test starts this one");
    let retention = Retention { max_messages: Some(KEPT), ..ALL };
    let mut opened = open(Path::new(&file), retention).unwrap();
    if opened.rooms.is_empty() {
        opened.store.write(&[room(1)]).unwrap();
    }
    let mut last = opened.rooms.first().map_or(0, |room| room.last.to_wire());
    let mut out = std::io::stdout();
    loop {
        opened.store.write(&messages(1, last + 1..=last + BATCH)).unwrap();
        last += BATCH;
        opened.store.tidy(UnixMillis(0)).unwrap();
        writeln!(out, "kept {last}").unwrap();
    }
}

#[test]
fn what_was_kept_before_a_kill_is_there() {
    let (folder, mut rng) = (Folder::new(), Rng::from_number(1));
    let mut before = 0;
    for _ in 0..8 {
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VICTIM, folder.file())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
        let count = 1 + rng.below(150) as usize;
        // What runs tests says something of its own before the first.
        let number = |line: String| line.split_once("kept ")?.1.parse::<u64>().ok();
        assert_eq!(said.by_ref().filter_map(number).take(count).count(), count, "it has ended by itself");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // It went on until then.
        let told = said.filter_map(number).last().unwrap_or(before + count as u64 * BATCH);

        let opened = folder.open();
        let last = opened.rooms[0].last.to_wire();
        // The last batch may have been kept, but not yet told.
        assert!(last >= told && last <= told + BATCH && last % BATCH == 0, "{told} told, {last} there");
        let places = opened.store.reader().unwrap().places(1);
        let first = places[0];
        assert_eq!(places, (first..=last).collect::<Vec<_>>());
        assert!(places.len() as u64 >= KEPT.min(last) && places.len() as u64 <= KEPT + BATCH);
        assert_eq!(opened.store.reader().unwrap().find(1, "message"), places);
        before = last;
    }
}
