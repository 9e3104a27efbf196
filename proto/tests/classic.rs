//! The classic dialect: what its peers are told, write by write, alone and beside native ones.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    Duration, Instant, Peer, ReceiverReport, Rng,
    limits::{CLASSIC_BYTES, CLASSIC_HOLD, CLASSIC_NAME_TIMEOUT, PENDING_NAMES},
    server::{Dialect, Input, Output, Server},
    wire::chinwag1::{self as pb, to_server::Kind},
};
use common::{hello, say, secs, server_output, to_server};
use proptest::{prelude::*, test_runner::Config};

const WHO: &str = "Type your name and press enter!";
const NOTHING: [&str; 0] = [];

/// A server, and what every classic peer was sent, a line for each write.
struct Rig {
    server: Server,
    now: Instant,
    classic: BTreeSet<Peer>,
    written: BTreeMap<Peer, Vec<String>>,
    closed: BTreeSet<Peer>,
    paused: BTreeSet<Peer>,
    /// What natives were sent, as lines.
    native: Vec<String>,
}

impl Rig {
    fn new() -> Self {
        let (server, now) = (Server::new(20, Rng::from_number(1)), Instant::from_micros(1_000_000));
        let (classic, written, closed, paused) = Default::default();
        Self { server, now, classic, written, closed, paused, native: vec![] }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match &output {
                Output::Send { bytes, to, .. } if to.iter().any(|peer| self.classic.contains(peer)) => {
                    let text = std::str::from_utf8(bytes).expect("text is whole").to_owned();
                    assert!(text.len() <= CLASSIC_BYTES && !text.is_empty(), "{text:?}");
                    assert!(!text.contains(char::is_control), "{text:?}");
                    for peer in *to {
                        assert!(
                            self.classic.contains(peer) && !self.closed.contains(peer),
                            "{peer:?}: {text}"
                        );
                        self.written.entry(*peer).or_default().push(text.clone());
                    }
                }
                Output::Close { peer, .. } if self.classic.contains(peer) => {
                    self.closed.insert(*peer);
                }
                Output::Pause { peer } => {
                    self.paused.insert(*peer);
                }
                Output::Unpause { peer } => {
                    self.paused.remove(peer);
                }
                Output::Send { .. }
                | Output::Relay(_)
                | Output::Overheard { .. }
                | Output::OpenPath { .. }
                | Output::Close { .. }
                | Output::Report { .. }
                | Output::Keep { .. }
                | Output::Read { .. }
                | Output::Unread { .. }
                | Output::Event(_) => {
                    self.native.push(server_output(&output));
                }
            }
        }
        self.server.audit().unwrap();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.server.poll_timeout().filter(|&due| due <= end) {
            assert!(due > self.now, "it would spin");
            self.now = due;
            self.server.handle_timeout(due);
            self.drain();
        }
        self.now = end;
    }

    fn connect(&mut self, peer: u32) {
        let peer = Peer::new(peer);
        self.classic.insert(peer);
        self.closed.remove(&peer);
        self.input(Input::Accepted { peer, dialect: Dialect::Classic });
    }

    /// One read gives these bytes.
    fn reads(&mut self, peer: u32, bytes: &[u8]) {
        self.input(Input::Received { peer: Peer::new(peer), bytes });
    }

    fn says(&mut self, peer: u32, text: &str) {
        self.reads(peer, text.as_bytes());
    }

    fn join(&mut self, peer: u32, name: &str) {
        self.connect(peer);
        self.says(peer, name);
        assert!(self.told(peer).last().is_some_and(|line| line.starts_with("Welcome ")));
    }

    /// What a peer was sent since this was asked last.
    fn told(&mut self, peer: u32) -> Vec<String> {
        self.written.remove(&Peer::new(peer)).unwrap_or_default()
    }

    fn is_closed(&self, peer: u32) -> bool {
        self.closed.contains(&Peer::new(peer))
    }

    fn native(&mut self, peer: u32, kind: Kind) {
        self.reads(peer, &to_server([kind]));
    }
}

/// Foo and Bar, who are classic, and Baz, who is not.
fn three() -> Rig {
    let mut rig = Rig::new();
    rig.join(1, "Foo");
    rig.join(2, "Bar");
    rig.input(Input::Accepted { peer: Peer::new(3), dialect: Dialect::Native });
    rig.native(3, Kind::Hello(hello("Baz")));
    rig.told(1);
    rig.told(2);
    rig.native.clear();
    rig
}

#[test]
fn a_classic_room_reads_as_it_always_did() {
    let mut rig = Rig::new();
    rig.connect(1);
    assert_eq!(rig.told(1), [WHO]);
    rig.says(1, "Foo");
    assert_eq!(rig.told(1), ["Welcome Foo! If you ever want to quit, type {quit} to exit."]);
    rig.join(2, "Bar");
    assert_eq!(rig.told(1), ["Bar has joined the chat!"]);
    rig.says(1, "hello");
    assert_eq!([rig.told(1), rig.told(2)], [["Foo: hello"], ["Foo: hello"]]);
    rig.says(2, "{quit}");
    assert_eq!(rig.told(2), ["{quit}"]);
    assert_eq!(rig.told(1), ["Bar has left the chat."]);
    assert!(rig.is_closed(2) && !rig.is_closed(1));
}

#[test]
fn natives_and_classic_members_see_each_other() {
    let mut rig = three();
    rig.says(1, "from Foo");
    rig.native(3, say(1, 1, "from Baz"));
    assert_eq!(rig.told(1), ["Foo: from Foo", "Baz: from Baz"]);
    assert_eq!(rig.told(2), ["Foo: from Foo", "Baz: from Baz"]);
    let said = rig.native.join("\n");
    assert!(said.contains("from Foo") && !said.contains("from Baz") && said.contains("Ack"), "{said}");
    rig.native(3, Kind::Quit(Default::default()));
    assert_eq!(rig.told(1), ["Baz has left the chat."]);
}

#[test]
fn who_vanishes_is_announced_at_once_and_his_name_is_free() {
    let mut rig = three();
    rig.input(Input::Closed { peer: Peer::new(1) });
    assert_eq!(rig.told(2), ["Foo has left the chat."]);
    rig.join(4, "Foo");
    assert_eq!(rig.told(2), ["Foo has joined the chat!"]);
    assert_eq!(rig.server.hub().gone(), 0, "nobody can come back to a classic session");
}

#[test]
fn a_silent_member_stays() {
    let mut rig = three();
    rig.input(Input::Closed { peer: Peer::new(3) });
    rig.wait(secs(3600));
    assert_eq!(rig.told(1), ["Baz has left the chat."]);
    rig.says(1, "still here");
    assert_eq!(rig.told(2).last().unwrap(), "Foo: still here");
}

#[test]
fn a_name_that_cannot_be_is_asked_for_again() {
    let mut rig = three();
    rig.connect(4);
    rig.told(4);
    for (name, part) in [
        ("foo", "foo2 would be free"),
        (&*"\u{200b}".repeat(300), "server: "),
        ("server", "server: "),
        ("a:b", "server: "),
        (&*"x".repeat(CLASSIC_BYTES), "server: "),
    ] {
        rig.says(4, name);
        let told = rig.told(4);
        assert!(told.len() == 2 && told[0].contains(part) && told[1] == WHO, "{name}: {told:?}");
    }
    assert_eq!(rig.told(1), NOTHING);
    rig.says(4, " Qux \n");
    assert_eq!(rig.told(1), ["Qux has joined the chat!"]);
}

#[test]
fn names_are_waited_for_but_not_for_ever() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.wait(CLASSIC_NAME_TIMEOUT - secs(1));
    assert!(!rig.is_closed(1));
    rig.wait(secs(1));
    assert!(rig.is_closed(1) && rig.told(1).len() == 2);
    for peer in 0..=PENDING_NAMES as u32 {
        rig.connect(peer);
    }
    assert_eq!(rig.closed.len(), 1, "one too many is told so");
    // Natives have places of their own.
    rig.input(Input::Accepted { peer: Peer::new(500), dialect: Dialect::Native });
    rig.native(500, Kind::Hello(hello("Baz")));
    assert_eq!(rig.server.hub().members(), 1);
}

#[test]
fn what_a_read_cut_in_two_is_put_together() {
    let mut rig = three();
    rig.reads(1, "Gr\u{fc}".as_bytes().split_at(3).0);
    rig.reads(1, "\u{fc}".as_bytes().split_at(1).1);
    assert_eq!(rig.told(2), ["Foo: Gr\u{fc}"]);
    rig.reads(1, b"{qu");
    assert_eq!(rig.told(2), NOTHING);
    rig.reads(1, b"it}");
    assert_eq!(rig.told(2), ["Foo has left the chat."]);
    // Half of it and no more is a message, in time.
    rig.reads(2, b"{qui");
    rig.wait(CLASSIC_HOLD);
    assert_eq!(rig.told(2), ["Bar: {qui"]);
}

#[test]
fn lines_are_messages_and_nothing_is_none() {
    let mut rig = three();
    rig.says(1, "one\r\ntwo\n\n \nthree\n");
    assert_eq!(rig.told(2), ["Foo: one", "Foo: two", "Foo: three"]);
}

#[test]
fn what_is_forged_looks_forged_and_drives_no_terminal() {
    let mut rig = three();
    rig.native(3, say(1, 1, "hi\nBar: I am Bar\r\u{1b}[2J"));
    rig.says(1, "Bar has left the chat.");
    assert_eq!(rig.told(2), ["Baz: hi\\nBar: I am Bar\\r\\u{1b}[2J", "Foo: Bar has left the chat."]);
}

#[test]
fn long_messages_come_in_pieces_that_are_read_at_once() {
    let mut rig = three();
    let text = "\u{20ac}".repeat(1200);
    rig.native(3, say(1, 1, &text));
    let told = rig.told(1);
    assert_eq!((told.len(), told.concat()), (4, format!("Baz: {text}")));
}

#[test]
fn a_flood_is_slowed_and_nothing_of_it_is_lost() {
    let mut rig = three();
    let flood = "flood\n".repeat(6000);
    for portion in flood.as_bytes().chunks(1499) {
        while !rig.paused.is_empty() {
            rig.wait(common::millis(10));
        }
        rig.reads(1, portion);
    }
    rig.wait(secs(10));
    assert!(rig.server.stats().pauses > 1);
    assert_eq!(rig.told(2).iter().filter(|line| *line == "Foo: flood").count(), 6000);
}

#[test]
fn what_only_natives_understand_is_told_to_natives_only() {
    let mut rig = three();
    let talker = common::session(1, 0).to_wire();
    let lossy = pb::VoiceReport { talker, lost_per_mille: 9, ..Default::default() };
    rig.native.clear();
    rig.native(3, Kind::VoiceReport(lossy));
    // The gateway speaks for him.
    assert_eq!(rig.native, ["report s1.0 lost 9 unrecovered 0 burst 0 queue 0"]);
    rig.wait(secs(10));
    assert_eq!(rig.told(1), NOTHING);
}

#[test]
fn natives_are_told_how_they_arrive_at_the_gateway() {
    let mut rig = three();
    let report = ReceiverReport { lost_per_mille: 9, ..Default::default() };
    let baz = common::session(1, 2);
    rig.native.clear();
    rig.input(Input::Reported { talker: baz, report });
    assert_eq!(rig.native, ["send voice 3: Report s1.2 lost 9 unrecovered 0 burst 0 queue 0"]);
    rig.native(3, Kind::Quit(pb::Quit {}));
    rig.native.clear();
    rig.input(Input::Reported { talker: baz, report });
    assert_eq!(rig.native, NOTHING, "he has gone");
    let stats = rig.server.stats();
    assert_eq!((stats.reports_in, stats.reports_out, stats.reports_dropped), (2, 1, 1));
}

#[test]
fn the_operator_speaks_to_all_and_removes_one() {
    let mut rig = three();
    rig.server.seat_operator();
    rig.says(1, "hi");
    assert!(
        rig.native.iter().any(|line| line.starts_with("event Said") && line.contains("hi")),
        "{:?}",
        rig.native
    );
    rig.told(1);
    rig.told(2);
    rig.input(Input::Announce { text: "in five minutes\nthe server stops" });
    assert_eq!(rig.told(1), ["server: in five minutes\\nthe server stops"]);
    assert!(rig.native.concat().contains("in five minutes"), "{:?}", rig.native);
    rig.input(Input::Announce { text: " " });
    let foo = rig.server.hub().session_named(" foo").unwrap();
    assert_eq!((foo, rig.server.hub().session_named("server")), (common::session(1, 0), None));
    rig.input(Input::Remove { session: foo });
    assert!(rig.is_closed(1) && rig.told(1) == ["server: the operator removed you"]);
    assert_eq!(rig.told(2), ["server: in five minutes\\nthe server stops", "Foo has left the chat."]);
    rig.native.clear();
    rig.input(Input::Remove { session: common::session(1, 2) });
    assert!(rig.native.concat().contains("Removed"), "{:?}", rig.native);
    assert_eq!(rig.server.hub().members(), 1);
    // Nobody there has that session.
    rig.input(Input::Remove { session: common::session(1, 2) });
}

#[test]
fn a_flood_of_nothing_is_slowed_too() {
    let mut rig = three();
    let portion = "\n".repeat(16 * 1024);
    for _ in 0..100 {
        if rig.paused.is_empty() {
            rig.says(1, &portion);
        }
    }
    assert!(!rig.paused.is_empty());
    assert_eq!(rig.told(2), NOTHING);
}

#[test]
fn a_server_that_stops_says_so() {
    let mut rig = three();
    rig.input(Input::Shutdown);
    assert!(rig.told(1).last().is_some_and(|line| line.starts_with("server: ")) && rig.is_closed(1));
}

#[test]
fn who_does_not_read_is_closed_and_announced() {
    let mut rig = three();
    rig.input(Input::Overflowed { peer: Peer::new(1) });
    assert_eq!(rig.told(2), ["Foo has left the chat."]);
}

#[derive(Clone, Debug)]
enum Act {
    Connect(u32),
    Reads(u32, Vec<u8>),
    Says(u32, &'static str),
    Native(&'static str),
    Gone(u32),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let peer = || 10_u32..14;
    let text = prop::sample::select(vec![
        "Foo",
        "foo",
        "Bar",
        "{quit}",
        "{qu",
        "it}",
        "hi",
        "\n",
        "\u{20ac}",
        "\u{1b}[2J",
        "server",
        "  ",
    ]);
    prop_oneof![
        4 => peer().prop_map(Act::Connect),
        3 => (peer(), prop::collection::vec(any::<u8>(), 0..3000)).prop_map(|(peer, bytes)| Act::Reads(peer, bytes)),
        12 => (peer(), text.clone()).prop_map(|(peer, text)| Act::Says(peer, text)),
        2 => text.prop_map(Act::Native),
        2 => peer().prop_map(Act::Gone),
        2 => (0_u64..5_000).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    /// The rig checks that all that is written is whole and harmless, and the server of one mind.
    #[test]
    fn whatever_classic_peers_send_the_others_see_one_room(acts in prop::collection::vec(act(), 1..80)) {
        let mut rig = three();
        let (mut open, mut id) = (BTreeSet::new(), 0);
        for act in acts {
            open.retain(|&peer| !rig.is_closed(peer));
            match act {
                Act::Connect(peer) => if open.insert(peer) { rig.connect(peer) },
                Act::Reads(peer, bytes) => if open.contains(&peer) { rig.reads(peer, &bytes) },
                Act::Says(peer, text) => if open.contains(&peer) { rig.says(peer, text) },
                Act::Native(text) => { id += 1; rig.native(3, say(1, id, text)) },
                Act::Gone(peer) => if open.remove(&peer) { rig.input(Input::Closed { peer: Peer::new(peer) }) },
                Act::Wait(ms) => rig.wait(common::millis(ms)),
            }
        }
        // Two who were there all the time, and said nothing, saw the same.
        prop_assert_eq!(rig.told(1), rig.told(2));
    }
}
