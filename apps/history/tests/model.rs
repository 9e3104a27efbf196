//! Any order of writing, forgetting, reading and starting anew does what a simple model does.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{collections::BTreeMap, time::Duration};

use chinwag_history::{Retention, open};
use chinwag_proto::{
    Seq,
    history::{KeptMessage, PageRequest, SearchRequest, UnixMillis, Write},
    limits::HISTORY_MESSAGES,
};
use chinwag_transport_mio::history::OpenedStore;
use common::{Folder, id, kept, room, tidy};
use proptest::{collection::vec, prelude::*, test_runner::Config};

#[derive(Clone, Debug)]
enum Step {
    /// Messages: in which room, how many words, after how long.
    Write(Vec<(u32, usize, u64)>),
    /// A batch with a message out of its order at the end.
    WriteWrongly(u32, u64),
    Tidy(u64),
    Page(u32, u64, usize),
    Search(u32, u64, usize, usize),
    Reopen(Retention),
}

const WORDS: [&str; 6] = ["apple", "apply", "Äpfel", "banana", "cherry", "berry"];

fn retention() -> impl Strategy<Value = Retention> {
    (
        proptest::option::of((0_u64..5_000).prop_map(Duration::from_millis)),
        proptest::option::of(0_u64..40),
        proptest::option::of(0_u64..400),
    )
        .prop_map(|(max_age, max_messages, max_bytes)| Retention {
            max_age,
            max_messages,
            max_bytes,
            max_total: None,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let room = || 0_u32..3;
    prop_oneof![
        6 => vec((room(), 0_usize..6, 0_u64..100), 0..20).prop_map(Step::Write),
        1 => (room(), 0_u64..3).prop_map(|(room, off)| Step::WriteWrongly(room, off)),
        2 => (0_u64..3_000).prop_map(Step::Tidy),
        3 => (room(), 0_u64..80, 0_usize..30).prop_map(|(room, before, limit)| Step::Page(room, before, limit)),
        3 => (room(), 0_u64..80, 0_usize..30, 0..WORDS.len())
            .prop_map(|(room, before, limit, word)| Step::Search(room, before, limit, word)),
        1 => retention().prop_map(Step::Reopen),
    ]
}

struct Model {
    folder: Folder,
    opened: Option<OpenedStore>,
    retention: Retention,
    now: u64,
    rooms: BTreeMap<u32, (u64, Vec<KeptMessage>)>,
}

impl Model {
    fn new(retention: Retention) -> Self {
        let folder = Folder::with(&[room(0), room(1), room(2)]);
        let rooms = (0..3).map(|room| (room, (0, vec![]))).collect();
        let mut model = Self { folder, opened: None, retention, now: 10_000, rooms };
        model.reopen(retention);
        model
    }

    fn reopen(&mut self, retention: Retention) {
        self.opened = None;
        self.retention = retention;
        let opened = open(&self.folder.file(), retention).unwrap();
        for restored in &opened.rooms {
            let (last, messages) = &self.rooms[&restored.room.id.to_wire()];
            assert_eq!(restored.last.to_wire(), *last);
            assert_eq!(restored.messages, messages[messages.len().saturating_sub(HISTORY_MESSAGES)..]);
            let accepted: Vec<_> = messages.iter().map(|said| (said.author, said.id, said.seq)).collect();
            assert_eq!(restored.accepted, accepted);
        }
        assert_eq!(opened.rooms.len(), self.rooms.len());
        self.opened = Some(opened);
    }

    fn next(&mut self, room: u32, words: usize) -> KeptMessage {
        let last = &mut self.rooms.get_mut(&room).unwrap().0;
        *last += 1;
        let text: Vec<_> =
            (0..words).map(|word| WORDS[(*last as usize + word * word) % WORDS.len()]).collect();
        KeptMessage { at: UnixMillis(self.now), ..kept(room, *last, &text.join(" ")) }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(said) => {
                let batch: Vec<_> = said
                    .into_iter()
                    .map(|(room, words, after)| {
                        self.now += after;
                        self.next(room, words)
                    })
                    .collect();
                self.store().write(&batch.iter().cloned().map(Write::Message).collect::<Vec<_>>()).unwrap();
                for message in batch {
                    self.rooms.get_mut(&message.room.to_wire()).unwrap().1.push(message);
                }
            }
            Step::WriteWrongly(room, off) => {
                let next = self.rooms[&room].0 + 1;
                let wrong = next + if off == 0 { 0 } else { off + 1 };
                let batch = [kept(room, next, "apple"), kept(room, wrong, "apple")].map(Write::Message);
                self.store().write(&batch).unwrap_err();
            }
            Step::Tidy(after) => {
                self.now += after;
                let now = self.now;
                let forgotten = tidy(self.store(), now);
                assert!(forgotten.is_sorted());
                let forgotten: BTreeMap<u32, u64> = forgotten.into_iter().collect();
                let expected = self.rooms.iter_mut().filter_map(|(room, (last, messages))| {
                    let due = due(&self.retention, now, messages);
                    messages.drain(..due);
                    let first = messages.first().map_or(*last + 1, |first| first.seq.to_wire());
                    (due > 0).then_some((*room, first))
                });
                let expected: BTreeMap<u32, u64> = expected.collect();
                assert_eq!(forgotten, expected);
            }
            Step::Page(room, before, limit) => {
                let request = PageRequest { room: id(room), before: Seq::from_wire(before), limit };
                let page = self.store().reader().unwrap().page(&request).unwrap();
                assert_eq!(page, self.latest(room, before, limit, |_| true));
            }
            Step::Search(room, before, limit, word) => {
                let (word, before) = (WORDS[word], Seq::from_wire(before));
                let request = SearchRequest { room: id(room), words: word.into(), before, limit };
                let found = self.store().reader().unwrap().search(&request).unwrap();
                assert_eq!(found, self.latest(room, before.to_wire(), limit, |text| text.contains(word)));
            }
            Step::Reopen(retention) => self.reopen(retention),
        }
    }

    fn store(&mut self) -> &mut dyn chinwag_transport_mio::history::Store {
        &mut *self.opened.as_mut().unwrap().store
    }

    fn latest(&self, room: u32, before: u64, limit: usize, fits: impl Fn(&str) -> bool) -> Vec<KeptMessage> {
        let fitting =
            self.rooms[&room].1.iter().filter(|said| said.seq.to_wire() < before && fits(&said.text));
        let fitting: Vec<_> = fitting.cloned().collect();
        fitting[fitting.len().saturating_sub(limit)..].to_vec()
    }
}

/// How many of a room's messages are to be forgotten.
fn due(retention: &Retention, now: u64, messages: &[KeptMessage]) -> usize {
    let bytes_from = |from: usize| messages[from..].iter().map(|said| said.text.len() as u64).sum::<u64>();
    (0..messages.len())
        .take_while(|&first| {
            let too_old =
                retention.max_age.is_some_and(|age| messages[first].at.0 + (age.as_millis() as u64) < now);
            let too_many = retention.max_messages.is_some_and(|most| (messages.len() - first) as u64 > most);
            too_old || too_many || retention.max_bytes.is_some_and(|most| bytes_from(first) > most)
        })
        .count()
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]
    #[test]
    fn a_history_does_what_the_model_does(retention in retention(), steps in vec(step(), 1..40)) {
        let mut model = Model::new(retention);
        for step in steps {
            model.take(step);
        }
        // As after a crash, so that the whole file is looked through, the index of words included.
        model.opened = None;
        std::fs::remove_file(model.folder.beside("history.db.lock")).unwrap();
        model.reopen(retention);
    }
}
