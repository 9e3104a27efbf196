//! The committed corpus of every fuzz target, through the targets' bodies.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

/// Fewer files than that are not the corpus, but what is left of it.
const AT_LEAST: usize = 10;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn replay(target: &str) {
    let (_, body) = chinwag_fuzz::TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let inputs = inputs(target);
    assert!(inputs.len() >= AT_LEAST, "the corpus of {target} has {} files", inputs.len());
    for (path, bytes) in inputs {
        // Shown when the body panics.
        println!("{}", path.display());
        body(&bytes);
    }
}

#[test]
fn the_corpus_of_the_frame_codec_is_replayed() {
    replay("frame");
}

#[test]
fn the_corpus_of_datagrams_is_replayed() {
    replay("datagram");
}

#[test]
fn the_corpus_of_the_server_is_replayed() {
    replay("server");
}

#[test]
fn the_corpus_of_the_client_is_replayed() {
    replay("client");
}

#[test]
fn the_corpus_of_wav_files_is_replayed() {
    replay("wav");
}

#[test]
fn the_corpus_of_the_jitter_buffer_is_replayed() {
    replay("jitter");
}

#[test]
fn the_corpus_of_the_screen_is_replayed() {
    replay("screen");
}

#[test]
fn the_corpus_of_worlds_is_replayed() {
    replay("world");
}

#[test]
fn no_target_is_forgotten() {
    let targets = chinwag_fuzz::TARGETS.map(|(name, _)| name);
    assert_eq!(targets, ["frame", "datagram", "server", "client", "wav", "jitter", "screen", "world"]);
}
