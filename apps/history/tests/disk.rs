//! Disks that are full, or cannot be written to. Each test runs its other half in a namespace where it may mount a small one; where
//! the system gives nobody such a namespace, it says that it was left out.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use chinwag_history::{Fault, backup, open};
use chinwag_transport_mio::history::StoreError;
use common::{ALL, Folder, Read as _, message, room};

/// In the environment of the other half: the folder where the disk is mounted.
const MOUNTED: &str = "CHINWAG_HISTORY_MOUNTED";

/// Runs a test of this file where these commands of a shell were run; `$1` is a folder.
fn with_disk(test: &str, commands: &str) {
    let folder = Folder::new();
    let mount = ["-Urm", "sh", "-c", "mount -t tmpfs none \"$1\"", "sh"];
    let can = Command::new("unshare").args(mount).arg(folder.path()).output();
    if !can.as_ref().is_ok_and(|can| can.status.success()) {
        eprintln!("LEFT OUT: no disk can be mounted here: {can:?}");
        return;
    }
    let script = format!("set -e; {commands}; exec \"$2\" --exact {test} --ignored --nocapture");
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script, "sh"])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .env(MOUNTED, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn mounted() -> PathBuf {
    env::var_os(MOUNTED).expect("only the other half starts this one").into()
}

#[test]
fn a_full_disk_is_told_and_overcome() {
    with_disk("on_a_small_disk", "mount -t tmpfs -o size=1500k none \"$1\"");
}

#[test]
#[ignore = "runs on a small disk, in the other half"]
fn on_a_small_disk() {
    let folder = mounted();
    for blocks in 1..40 {
        // What else is on the disk: each time it is full at another moment.
        fs::write(folder.join("ballast"), vec![0; 300_000 + blocks * 4096]).unwrap();
        let file = folder.join("history.db");
        fill_and_free(&file, || fs::remove_file(folder.join("ballast")).unwrap());
        for file in fs::read_dir(&folder).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

fn fill_and_free(file: &Path, free: impl FnOnce()) {
    let long = "x".repeat(2000);
    let batch = |first: u64| (first..first + 3).map(|seq| message(1, seq, &long)).collect::<Vec<_>>();
    let mut opened = open(file, ALL).unwrap();
    opened.store.write(&[room(1)]).unwrap();
    let mut reader = opened.store.reader().unwrap();
    let mut last = 0;
    let error = loop {
        match opened.store.write(&batch(last + 1)) {
            Ok(()) => last += 3,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    let all: Vec<_> = (1..=last).collect();
    for _ in 0..3 {
        assert!(matches!(opened.store.write(&batch(last + 1)), Err(StoreError::Full)));
        assert_eq!(reader.places(1), all);
    }
    assert_eq!(reader.find(1, "x"), all);
    let error = backup(file, &file.with_extension("copy")).unwrap_err();
    assert!(matches!(error.fault, Fault::Full), "{error}");
    assert!(!file.with_extension("copy").exists());

    free();
    opened.store.write(&batch(last + 1)).unwrap();
    assert_eq!(reader.places(1), (1..=last + 3).collect::<Vec<_>>());
    drop((reader, opened));
    let opened = open(file, ALL).unwrap();
    assert_eq!(opened.rooms[0].last.to_wire(), last + 3);
    assert_eq!(opened.store.reader().unwrap().find(1, "x").len() as u64, last + 3);
}

#[test]
fn a_disk_that_cannot_be_written_to_is_told() {
    with_disk("on_a_disk_for_reading", "mount -t tmpfs none \"$1\"");
}

#[test]
#[ignore = "runs on a disk of its own, in the other half"]
fn on_a_disk_for_reading() {
    let folder = mounted();
    let mount = |arguments: &[&str], at: &Path| {
        assert!(Command::new("mount").args(arguments).arg(at).status().unwrap().success());
    };
    let file = folder.join("history.db");
    open(&file, ALL).unwrap().store.write(&[room(1), message(1, 1, "hello")]).unwrap();
    // The file alone.
    mount(&["--bind", file.to_str().unwrap()], &file);
    mount(&["-o", "remount,bind,ro"], &file);
    let refusal = || open(&file, ALL).map(|_| ()).unwrap_err().to_string();
    assert!(refusal().contains("history.db: it cannot be written to"), "{}", refusal());
    assert!(Command::new("umount").arg(&file).status().unwrap().success());
    assert_eq!(open(&file, ALL).unwrap().store.reader().unwrap().places(1), [1]);
    // The whole disk.
    mount(&["-o", "remount,ro"], &folder);
    assert!(refusal().contains("history.db: it cannot be written to"), "{}", refusal());
}
