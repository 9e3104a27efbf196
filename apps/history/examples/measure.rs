//! How fast a history is: `cargo run --release -p chinwag-history --example measure -- FOLDER [MESSAGES]`.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chinwag_history::{Retention, backup, export_json, open};
use chinwag_proto::{
    MessageId, Rng, RoomId, Seq,
    history::{AuthorKey, KeptMessage, KeptRoom, PageRequest, SearchRequest, UnixMillis, Write},
    name::Name,
};
use chinwag_transport_mio::history::{Store, StoreReader};

/// Messages that are written at once.
const BATCH: u64 = 200;
/// Different words; the n-th is said about 1/n as often as the first, as in languages.
const WORDS: u64 = 50_000;
/// How often each thing is measured.
const TIMES: usize = 15;
/// Messages that are forgotten.
const TIDIED: u64 = 10_000;
/// Messages of a page.
const PAGE: usize = 50;
const ROOM: RoomId = RoomId::from_wire(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder: PathBuf = arguments.next().ok_or("give a folder")?.into();
    let messages = match arguments.next() {
        Some(number) => number.to_str().ok_or("that is no number")?.parse()?,
        None => 1_000_000,
    };
    let file = folder.join("measure.db");
    let mut opened = open(&file, Retention::default())?;
    let mut last = opened.rooms.first().map_or(0, |room| room.last.to_wire());
    if opened.rooms.is_empty() {
        let room =
            KeptRoom { id: ROOM, name: Name::new("lobby").map_err(|error| error.to_string())?, epoch: 1 };
        opened.store.write(&[Write::Room(room)])?;
    }
    fill(&mut *opened.store, &mut last, messages)?;
    let mut single = vec![];
    let mut rng = Rng::from_number(1);
    for _ in 0..TIMES * 20 {
        last += 1;
        let batch = [message(&mut rng, last)?];
        let begun = Instant::now();
        opened.store.write(&batch)?;
        single.push(begun.elapsed());
    }
    show("one message, durably", &mut single);

    let mut reader = opened.store.reader()?;
    let whole = Seq::from_wire(last + 1);
    page("the last page", &mut *reader, whole)?;
    page("a page in the middle", &mut *reader, Seq::from_wire(last / 2))?;
    let beginning = |letters| word(1).chars().take(letters).collect::<String>();
    for (what, words) in [
        ("the commonest word", format!("{} ", word(1))),
        ("a common word", format!("{} ", word(20))),
        ("a rare word", format!("{} ", word(WORDS - 7))),
        ("a word that nobody said", "nobody".into()),
        ("a beginning of 1 letter", beginning(1)),
        ("a beginning of 2 letters", beginning(2)),
        ("a beginning of 3 letters", beginning(3)),
        ("a beginning of 4 letters", beginning(4)),
        ("two common words", format!("{} {} ", word(3), word(4))),
        ("two words that meet seldom", format!("{} {} ", word(1), word(WORDS - 7))),
        ("a common word and a beginning", format!("{} {}", word(5), beginning(2))),
        ("common words that never meet", format!("{0}-{0}-{0}-{0} {1}-{1}-{1}", word(1), word(2))),
    ] {
        search(what, &words, &mut *reader, whole)?;
    }
    drop((reader, opened));

    let mut times = vec![];
    for _ in 0..TIMES {
        let begun = Instant::now();
        let opened = open(&file, Retention::default())?;
        times.push(begun.elapsed());
        drop(opened);
    }
    show("opening after a clean end", &mut times);
    let mut times = vec![];
    for _ in 0..3 {
        std::fs::remove_file(folder.join("measure.db.lock"))?;
        let begun = Instant::now();
        let opened = open(&file, Retention::default())?;
        times.push(begun.elapsed());
        drop(opened);
    }
    show("opening after a crash", &mut times);
    println!("{:40} {} MiB", "the file", std::fs::metadata(&file)?.len() >> 20);
    let copy = folder.join("measure.copy");
    let begun = Instant::now();
    backup(&file, &copy)?;
    println!("{:40} {:?}", "a backup", begun.elapsed());
    std::fs::remove_file(copy)?;
    let begun = Instant::now();
    let count = export_json(&file, &mut std::io::sink())?;
    println!("{:40} {:?}", format!("an export of {count}"), begun.elapsed());
    tidy(&file, last)
}

fn fill(store: &mut dyn Store, last: &mut u64, messages: u64) -> Result<(), Box<dyn Error>> {
    let mut rng = Rng::from_number(*last);
    let (mut times, begun, first) = (vec![], Instant::now(), *last);
    while *last < messages {
        let mut batch = vec![];
        for _ in 0..BATCH {
            *last += 1;
            batch.push(message(&mut rng, *last)?);
        }
        let begun = Instant::now();
        store.write(&batch)?;
        times.push(begun.elapsed());
    }
    if !times.is_empty() {
        let rate = (*last - first) as f64 / begun.elapsed().as_secs_f64();
        println!("{:40} {rate:.0} a second", "messages, in batches of 200");
        show("a batch of 200", &mut times);
    }
    Ok(())
}

fn message(rng: &mut Rng, seq: u64) -> Result<Write, Box<dyn Error>> {
    let mut text = String::new();
    for _ in 0..3 + rng.below(14) {
        // A power of the number of words between 0 and 1 is one by Zipf's law.
        let exponent = rng.below(1 << 32) as f64 / f64::from(u32::MAX);
        text += &word((WORDS as f64).powf(exponent) as u64);
        text.push(' ');
    }
    Ok(Write::Message(KeptMessage {
        room: ROOM,
        seq: Seq::from_wire(seq),
        at: UnixMillis(1_700_000_000_000 + seq * 1000),
        author: AuthorKey([rng.below(50) as u8; 16]),
        id: MessageId::from_wire(seq),
        name: Name::new("Foo").map_err(|error| error.to_string())?,
        text: text.into(),
    }))
}

/// The n-th word: of 4 letters or more, the first of any kind.
fn word(number: u64) -> String {
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = 4 + rest % 5;
    (0..length)
        .map(|_| {
            let letter = b'a' + (rest % 26) as u8;
            rest /= 26;
            char::from(letter)
        })
        .collect()
}

fn page(what: &str, reader: &mut dyn StoreReader, before: Seq) -> Result<(), Box<dyn Error>> {
    let mut times = vec![];
    for _ in 0..TIMES {
        let begun = Instant::now();
        let page = reader.page(&PageRequest { room: ROOM, before, limit: PAGE })?;
        times.push(begun.elapsed());
        assert_eq!(page.len(), PAGE);
    }
    show(what, &mut times);
    Ok(())
}

fn search(what: &str, words: &str, reader: &mut dyn StoreReader, before: Seq) -> Result<(), Box<dyn Error>> {
    let (mut times, mut found) = (vec![], 0);
    for _ in 0..TIMES {
        let request = SearchRequest { room: ROOM, words: words.into(), before, limit: PAGE };
        let begun = Instant::now();
        match reader.search(&request) {
            Ok(messages) => found = messages.len(),
            // On a busy machine some do.
            Err(error) => println!("{what}: {error}"),
        }
        times.push(begun.elapsed());
    }
    show(&format!("{what}: {found} found"), &mut times);
    Ok(())
}

fn tidy(file: &Path, last: u64) -> Result<(), Box<dyn Error>> {
    let retention = Retention { max_messages: Some(last - TIDIED), ..Retention::default() };
    let mut opened = open(file, retention)?;
    let mut times = vec![];
    loop {
        let begun = Instant::now();
        let forgotten = opened.store.tidy(UnixMillis(0))?;
        times.push(begun.elapsed());
        if forgotten.is_none() {
            break;
        }
    }
    show("a step of forgetting", &mut times);
    Ok(())
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what:40} median {:?}, 99 of 100 {:?}, longest {:?}", at(50), at(99), at(100));
}
