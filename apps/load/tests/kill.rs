//! The real server is killed again and again in the midst of a flood of text: nothing that anybody was told is missing, nothing is there
//! twice, and everybody has the one order.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chinwag_proto::client::{ClientConfig, ClientEvent, PlaceId};
use chinwag_transport_mio::{
    clock,
    throng::{Handler, Throng, ThrongOptions},
};
use serde_json::Value;

const MEMBERS: usize = 6;
const MESSAGES_EACH: u64 = 1500;
/// It is killed when so many messages more were acknowledged than the last time.
const BETWEEN_KILLS: u64 = 1100;
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_server_that_is_killed_in_a_flood_loses_nothing_and_doubles_nothing() {
    let data = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut server = Server::start(data.path(), address);
    let options = ThrongOptions {
        server: address,
        host: "localhost".into(),
        fingerprint: None,
        look_every: Duration::ZERO,
    };
    let mut throng = Throng::new(options).unwrap();
    let mut book = Book::default();
    for member in 0..MEMBERS {
        let config = ClientConfig {
            name: format!("Foo{member}"),
            rooms: vec!["flood".into()],
            software: "test".into(),
            history: 0,
        };
        throng.add(config, &mut book).unwrap();
    }

    let deadline = Instant::now() + PATIENCE;
    let (mut said, mut kills) = ([0; MEMBERS], 0);
    while book.acknowledged.len() as u64 != MEMBERS as u64 * MESSAGES_EACH {
        assert!(Instant::now() < deadline, "{} acknowledged after {kills} kills", book.acknowledged.len());
        for (member, said) in said.iter_mut().enumerate() {
            throng.act(member, &mut book, |client, _| {
                while *said < MESSAGES_EACH && client.room_for_messages() > 0 {
                    client.say(PlaceId::FIRST, &text(member, *said)).unwrap();
                    *said += 1;
                }
            });
        }
        throng.turn(clock::now_ns() + 5_000_000, &mut book).unwrap();
        if book.acknowledged.len() as u64 >= (kills + 1) * BETWEEN_KILLS {
            kills += 1;
            server.kill();
            server = Server::start(data.path(), address);
        }
    }
    server.kill();

    assert!(kills >= 5, "{kills}");
    // Somebody came back each time, and went on in the same numbering.
    assert!(book.welcomes as u64 >= MEMBERS as u64 + kills, "{} welcomes", book.welcomes);
    let kept = export(data.path());
    let numbers: Vec<u64> = kept.keys().copied().collect();
    assert_eq!(numbers, (1..=MEMBERS as u64 * MESSAGES_EACH).collect::<Vec<_>>());
    for (seq, text) in &book.told {
        assert_eq!(kept.get(seq), Some(text), "what was told at {seq} is what is kept there");
    }
    for member in 0..MEMBERS {
        let prefix = format!("{member} ");
        let of_member: Vec<&String> = kept.values().filter(|text| text.starts_with(&prefix)).collect();
        let as_said: Vec<String> = (0..MESSAGES_EACH).map(|number| text(member, number)).collect();
        assert!(of_member.into_iter().eq(&as_said), "what {member} said, once each and in order");
    }
}

fn text(member: usize, number: u64) -> String {
    format!("{member} {number}")
}

/// A port that nobody has: it is to be the same each time.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Server(Child);

impl Server {
    /// Returns when it listens.
    fn start(data: &Path, address: SocketAddr) -> Self {
        let mut child = Command::new(program())
            .args(["--listen", &address.to_string(), "--log", "error", "--data"])
            .arg(data)
            // Not the settings of whoever runs this.
            .env("XDG_CONFIG_HOME", data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}; build the workspace first"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines.by_ref().map(Result::unwrap).any(|line| line.contains("chinwag://"));
        assert!(found, "it does not start");
        // What it prints is read as long as it runs, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_chinwag-load")).with_file_name("chinwag-server")
}

/// All messages by their places.
fn export(data: &Path) -> BTreeMap<u64, String> {
    let output = Command::new(program())
        .args(["export", "--json", "--data"])
        .arg(data)
        .env("XDG_CONFIG_HOME", data)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let messages = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    messages.map(|line| (line["seq"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned())).collect()
}

/// What the members were told.
#[derive(Default)]
struct Book {
    /// Each message by its place.
    told: BTreeMap<u64, String>,
    /// The place of the last message that each member was told.
    last: BTreeMap<usize, u64>,
    acknowledged: BTreeMap<String, u64>,
    welcomes: usize,
}

impl Handler for Book {
    fn event(&mut self, member: usize, event: ClientEvent) {
        match event {
            ClientEvent::Welcome { .. } => self.welcomes += 1,
            ClientEvent::Said { seq, text, own, .. } => {
                let seq = seq.to_wire();
                let known = self.told.entry(seq).or_insert_with(|| text.clone());
                assert_eq!(*known, text, "everybody is told the same at {seq}");
                // One's own that was missed is acknowledged later.
                let last = self.last.entry(member).or_default();
                assert!(seq > *last || own.is_some(), "{member} is told {seq} after {last}");
                *last = (*last).max(seq);
                if own.is_some() {
                    let former = self.acknowledged.insert(text, seq);
                    assert_eq!(former, None, "a message is acknowledged once");
                }
            }
            ClientEvent::NotSaid { text, why, .. } => panic!("{text} was refused: {why}"),
            ClientEvent::Ended(reason) => panic!("{member} has ended: {reason:?}"),
            ClientEvent::Refused { why, will_retry, .. } => assert!(will_retry, "{member} is refused: {why}"),
            ClientEvent::NotEntered { why, .. } | ClientEvent::NotDone { why } => panic!("{member}: {why}"),
            ClientEvent::Entered { .. }
            | ClientEvent::Changed { .. }
            | ClientEvent::Topic { .. }
            | ClientEvent::Rooms(_)
            | ClientEvent::Meanwhile { .. }
            | ClientEvent::Joined { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::History(_)
            | ClientEvent::Missed { .. }
            | ClientEvent::Reconnecting { .. }
            | ClientEvent::Path(_)
            | ClientEvent::Reported(_) => {}
        }
    }

    fn voice(&mut self, _member: usize, _payload: &[u8], _received_ns: u64) {}

    fn lost(&mut self, _member: usize, _why: &str) {}
}
