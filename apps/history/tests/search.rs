//! What is found by which words.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use chinwag_proto::{
    Rng, Seq,
    history::{SearchRequest, Write},
};
use common::{Folder, NONE, Read as _, id, kept, message, room, seqs};

fn with(texts: &[&str]) -> Folder {
    let mut writes = vec![room(1)];
    writes.extend((1..).zip(texts).map(|(seq, text)| message(1, seq, text)));
    Folder::with(&writes)
}

#[test]
fn all_words_must_be_there_and_the_last_may_be_a_beginning() {
    let folder = with(&["the quick brown fox", "a quick answer", "The Brown Bear quickly", "qu"]);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    for (words, found) in [
        ("quick", &[1, 2, 3][..]),
        ("quick ", &[1, 2]),
        ("brown qui", &[1, 3]),
        ("qui brown", &[]),
        ("BROWN the", &[1, 3]),
        ("q", &[1, 2, 3, 4]),
        ("quickl", &[3]),
        ("quicker", &[]),
        ("ick", &[]),
    ] {
        assert_eq!(reader.find(1, words), found, "{words:?}");
    }
}

#[test]
fn the_latest_are_found_first_and_the_rest_by_asking_again() {
    let texts: Vec<_> = (1..=20).map(|seq| if seq % 2 == 0 { "even" } else { "odd" }).collect();
    let folder = with(&texts);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    let mut search = |before, limit| {
        let (room, words) = (id(1), "even".into());
        seqs(&reader.search(&SearchRequest { room, words, before: Seq::from_wire(before), limit }).unwrap())
    };
    assert_eq!(search(u64::MAX, 3), [16, 18, 20]);
    assert_eq!(search(16, 3), [10, 12, 14]);
    assert_eq!(search(5, 3), [2, 4]);
    assert_eq!(search(2, 3), NONE);
    assert_eq!(search(0, 3), NONE);
    assert_eq!(search(20, 0), NONE);
}

#[test]
fn rooms_are_searched_apart() {
    let folder = Folder::with(&[room(1), room(2), message(2, 1, "secret"), message(1, 1, "open")]);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    assert_eq!((reader.find(1, "secret"), reader.find(2, "secret")), (vec![], vec![1]));
    assert_eq!((reader.find(0, "secret"), reader.find(u32::MAX, "secret")), (vec![], vec![]));
}

#[test]
fn case_accents_and_composition_do_not_count() {
    let folder =
        with(&["Zoë", "zoe\u{308}", "ΣΊΣΥΦΟΣ", "Čeština", "don't", "你好世界", "안녕하세요", "été\0fin"]);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    for (words, found) in [
        ("zoe", &[1, 2][..]),
        ("ZOE\u{308}", &[1, 2]),
        ("σίσυφοσ", &[3]),
        ("cestina", &[4]),
        ("don't ", &[5]),
        ("DON", &[5]),
        // A run of Chinese is one word, so that it is found by how it begins.
        ("你好", &[6]),
        ("안녕", &[7]),
        ("fin", &[8]),
        ("ete", &[8]),
    ] {
        assert_eq!(reader.find(1, words), found, "{words:?}");
    }
}

#[test]
fn odd_input_finds_nothing_or_what_it_says_and_never_fails() {
    let folder = with(&["a OR b", "NEAR text:x \"quoted\"", "C++ & c*", "😀 smile"]);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    let many = "a b ".repeat(1024);
    for (words, found) in [
        ("", &[][..]),
        ("   \t\u{3000}", &[]),
        ("\0", &[]),
        ("\"", &[]),
        ("\"\"\"", &[]),
        ("*", &[]),
        ("- + ^ ( ) { } : , . ; '", &[]),
        ("😀", &[]),
        ("😀 smile", &[4]),
        ("smile 😀", &[4]),
        ("OR", &[1]),
        ("a NOT b", &[]),
        ("near", &[2]),
        ("NEAR(text, 2)", &[]),
        ("text:x", &[2]),
        ("\"quoted\"", &[2]),
        ("quoted\"", &[2]),
        ("c++ ", &[3]),
        ("c*", &[3]),
        ("b\0a", &[1]),
        ("{text}:x OR", &[]),
        (&many, &[1]),
        (&"x".repeat(4096), &[]),
        (&"\"".repeat(4096), &[]),
        (&"😀".repeat(1024), &[]),
        (&"a ".repeat(4096), &[]),
    ] {
        assert_eq!(reader.find(1, words), found, "{words:?}");
    }
}

#[test]
fn no_string_of_signs_is_a_query_that_fails() {
    let folder = with(&["a"]);
    let opened = folder.open();
    let mut reader = opened.store.reader().unwrap();
    let signs: Vec<char> =
        "aA0 \t\0\"'*^:(){}+-.,/\\é\u{301}中😀\u{10ffff}\u{feff}ORANDNEAR".chars().collect();
    let mut rng = Rng::from_number(7);
    for _ in 0..3000 {
        let words: String =
            (0..rng.below(24)).map(|_| signs[rng.below(signs.len() as u64) as usize]).collect();
        reader.find(1, &words);
    }
}

#[test]
fn every_message_is_found_by_each_of_its_words() {
    let mut rng = Rng::from_number(3);
    let word = |rng: &mut Rng| format!("w{}", rng.below(40));
    let texts: Vec<String> =
        (0..200).map(|_| (0..1 + rng.below(5)).map(|_| word(&mut rng) + " ").collect()).collect();
    let folder = Folder::with(&[room(1)]);
    let mut opened = folder.open();
    for (seq, text) in (1..).zip(&texts) {
        opened.store.write(&[Write::Message(kept(1, seq, text))]).unwrap();
    }
    let mut reader = opened.store.reader().unwrap();
    for _ in 0..60 {
        let (one, other) = (word(&mut rng), word(&mut rng));
        let expected: Vec<u64> = (1..)
            .zip(&texts)
            .filter(|(_, text)| {
                let mut words = text.split_whitespace();
                words.clone().any(|word| word == one) && words.any(|word| word.starts_with(&other))
            })
            .map(|(seq, _)| seq)
            .collect();
        assert_eq!(reader.find(1, &format!("{one} {other}")), expected);
    }
}
