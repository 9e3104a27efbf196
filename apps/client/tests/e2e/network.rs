//! What a bad network does to the real programs, through the relay of `chinwag-sim`, which has the simulator's faults for
//! real sockets: each relay is one link.

use std::{collections::BTreeMap, path::Path};

use crate::{
    common::{Place, Program, Server, binary, client, number, samples, statistic},
    voice::{RATE, assert_heard, wait_for_samples},
};

/// A link to a server.
pub(crate) struct Relay {
    program: Program,
    /// By which one joins through it.
    pub(crate) link: String,
}

impl Relay {
    pub(crate) fn start(place: &Place, server: &Server, net: &str, seed: u64) -> Self {
        let (to, seed) = (server.address(), seed.to_string());
        let arguments = ["relay", "--listen", "127.0.0.1:0", "--to", &to, "--net", net, "--seed", &seed];
        let mut program = Program::start(&binary("chinwag-sim"), arguments, place);
        let first = program.expect_part("listening on ");
        let address = first.split([' ', ',']).nth(2).unwrap();
        let link = server.link.replace(&to, address);
        Self { program, link }
    }

    /// Has something done, and waits until it is.
    pub(crate) fn order(&mut self, order: &str) -> String {
        self.program.type_line(order);
        let verb = order.split(' ').next().unwrap();
        self.program.expect_part(&format!("{verb}: "))
    }

    /// Ends it; what it counted.
    pub(crate) fn quit(mut self) -> BTreeMap<String, u64> {
        self.program.type_line("quit");
        assert_eq!(self.program.exit_code(), 0, "{}", self.program.errors());
        let counts = self.program.output().iter().rev().take(2).flat_map(|line| line.split(' '));
        let counts = counts.map(|count| count.split_once('=').unwrap());
        counts.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
    }

    /// A client that only types.
    fn join(&self, place: &Place, name: &str) -> Program {
        let mut client = self.client(place, &["--name", name, "--mic", "none", "--speaker", "none"]);
        welcome(&mut client, name);
        client
    }

    fn client(&self, place: &Place, arguments: &[&str]) -> Program {
        client(place, arguments.iter().copied().chain([self.link.as_str()]))
    }

    /// A client that says what is in a file and hears nothing.
    fn talker(&self, place: &Place, name: &str, said: &Path, stats: &Path) -> Program {
        let [said, stats] = [said, stats].map(|path| path.to_str().unwrap());
        self.client(place, &["--name", name, "--mic", said, "--speaker", "none", "--stats", stats])
    }

    /// A client that says nothing and writes what it hears.
    fn listener(&self, place: &Place, name: &str, heard: &Path, stats: &Path) -> Program {
        let [heard, stats] = [heard, stats].map(|path| path.to_str().unwrap());
        self.client(place, &["--name", name, "--mic", "none", "--speaker", heard, "--stats", stats])
    }
}

pub(crate) fn welcome(client: &mut Program, name: &str) {
    client.expect(&format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit."));
}

fn leave(client: &mut Program) {
    client.type_line("{quit}");
    assert_eq!(client.exit_code(), 0, "{}", client.errors());
}

/// What was said, in the order in which it was seen.
pub(crate) fn talk(seen: &Program, names: &[&str]) -> Vec<String> {
    let is_said = |line: &&String| names.iter().any(|name| line.starts_with(&format!("{name}: ")));
    seen.output().iter().filter(is_said).cloned().collect()
}

#[test]
fn all_see_every_message_once_and_in_one_order_however_often_their_links_break() {
    const NAMES: [&str; 3] = ["Foo", "Bar", "Baz"];
    const ROUND: usize = 12;
    let place = Place::new();
    let server = Server::start(&place);
    let net = "delay=5,jitter=15,tail=1,stall=2,short=30,window=2";
    let mut relays: Vec<_> =
        (1..).zip(NAMES).map(|(seed, _)| Relay::start(&place, &server, net, seed)).collect();
    let mut people: Vec<_> = relays.iter().zip(NAMES).map(|(relay, name)| relay.join(&place, name)).collect();
    let mut said = vec![];
    for (round, order) in ["reset", "cut", "reset"].into_iter().enumerate() {
        // Each link breaks once, in the middle of what all say, and what is said at that moment is in danger.
        for (person, name) in people.iter_mut().zip(NAMES) {
            let lines: Vec<_> = (0..ROUND).map(|n| format!("{name} says {round}.{n}")).collect();
            person.type_bytes((lines.join("\n") + "\n").as_bytes());
            said.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
        }
        let next = (round + 1) % NAMES.len();
        people[round].expect_part(&format!("{} says {round}.0", NAMES[next]));
        let done = relays[round].order(order);
        assert!(done.contains(": 1 connections"), "{done}");
        people[round].expect_error(&format!("back as {}", NAMES[round]));
    }
    for (person, name) in people.iter_mut().zip(NAMES) {
        person.type_line("that was all");
        said.push(format!("{name}: that was all"));
    }
    for person in &mut people {
        for _ in NAMES {
            person.expect_part("that was all");
        }
    }
    let order = talk(&people[0], &NAMES);
    for person in &people {
        assert_eq!(talk(person, &NAMES), order);
        let gone = person.output().iter().filter(|line| line.contains("has left"));
        assert_eq!(gone.count(), 0, "{:?}", person.output());
    }
    let mut once = order;
    once.sort();
    said.sort();
    assert_eq!(once, said);
    for relay in relays {
        let counts = relay.quit();
        assert!(counts["connections"] >= 2, "{counts:?}");
    }
}

/// A server, and two people at it: Foo through a relay, Bar not.
fn foo_far_and_bar_near(place: &Place) -> (Server, Relay, Program, Program) {
    let server = Server::start(place);
    let relay = Relay::start(place, &server, "delay=5", 1);
    let mut far = relay.join(place, "Foo");
    let near = server.join(place, "Bar");
    far.expect("Bar has joined the chat!");
    (server, relay, far, near)
}

#[test]
fn a_short_partition_one_way_only_delays_what_is_said() {
    let place = Place::new();
    let (_server, mut relay, mut foo, mut bar) = foo_far_and_bar_near(&place);
    for (way, n) in [("down", 1), ("up", 2)] {
        relay.order(&format!("part 2000 {way}"));
        foo.type_line(&format!("to Bar {n}"));
        bar.type_line(&format!("to Foo {n}"));
        // The sender's own line comes with the acknowledgement.
        foo.expect_all([&format!("Foo: to Bar {n}"), &format!("Bar: to Foo {n}")]);
        bar.expect(&format!("Foo: to Bar {n}"));
    }
    assert!(!bar.output().iter().any(|line| line.contains("Foo has left")), "{:?}", bar.output());
    for person in [&mut foo, &mut bar] {
        leave(person);
        assert!(!person.errors().contains("the connection is lost"), "{}", person.errors());
    }
    assert_eq!(relay.quit()["connections"], 1);
}

#[test]
fn a_partition_longer_than_silence_may_last_ends_in_a_new_connection_and_nothing_is_lost() {
    let place = Place::new();
    let (_server, mut relay, mut foo, mut bar) = foo_far_and_bar_near(&place);
    relay.order("part 600000 down");
    // It arrives; that it did does not.
    foo.type_line("can you hear me?");
    bar.expect("Foo: can you hear me?");
    bar.type_line("yes");
    bar.expect("Bar: yes");
    foo.expect_error("the connection is lost");
    relay.order("heal");
    foo.expect_error("back as Foo");
    foo.type_line("now I can");
    bar.expect("Foo: now I can");
    foo.expect("Foo: now I can");
    for person in [&foo, &bar] {
        assert_eq!(talk(person, &["Foo", "Bar"]), ["Foo: can you hear me?", "Bar: yes", "Foo: now I can"]);
    }
    assert!(relay.quit()["connections"] >= 2);
}

#[test]
fn voice_over_a_bad_network_is_heard_and_what_was_lost_is_told() {
    const LONG: usize = 6;
    let place = Place::new();
    let mut server = Server::start(&place);
    let net = "delay=10,jitter=20,loss=5,reorder=2,dup=10,corrupt=5,truncate=1";
    let [up, down] = [1, 2].map(|seed| Relay::start(&place, &server, net, seed));
    let said = place.voice("said.wav", 7, LONG);
    let [heard, foo_stats, bar_stats] = ["heard.wav", "foo.json", "bar.json"].map(|name| place.path(name));
    let mut foo = down.listener(&place, "Foo", &heard, &foo_stats);
    welcome(&mut foo, "Foo");
    let mut bar = up.talker(&place, "Bar", &said, &bar_stats);
    welcome(&mut bar, "Bar");
    wait_for_samples(&heard, samples(&heard).len() + (LONG + 2) * RATE);
    leave(&mut bar);
    leave(&mut foo);
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0);

    assert_heard(&samples(&said), &samples(&heard));
    let sent = number(&bar_stats, "frames_sent");
    let lost = number(&foo_stats, "frames_lost");
    // On two links a ninth each; most of that comes in time as a copy, and the rest is made up.
    assert!(lost * 20 > sent && lost * 5 < sent * 2, "{lost} of {sent}");
    assert!(number(&foo_stats, "frames_recovered_by_copy") > 0);
    let made_up = number(&foo_stats, "blocks_concealed");
    assert!(made_up > 0 && made_up * 5 < sent, "{made_up} of {sent}");
    assert!(number(&foo_stats, "reports_sent") > 0 && number(&bar_stats, "reports_received") > 0);
    for path in [&foo_stats, &bar_stats] {
        assert_eq!(statistic(path, "path"), "udp");
        assert_eq!(number(path, "reconnects"), 0);
    }
    for relay in [up, down] {
        let counts = relay.quit();
        for name in ["lost", "doubled", "corrupted", "truncated"] {
            assert!(counts[name] > 0, "{name}: {counts:?}");
        }
    }
    // What came twice or damaged did not get past the server's seal.
    let log = server.program.errors();
    for what in ["replayed", "forged"] {
        assert!(log.contains(what) && !log.contains(&format!(" 0 {what}")), "{log}");
    }
}

#[test]
fn voice_goes_on_when_a_nat_gives_its_datagrams_another_address() {
    const LONG: usize = 8;
    let place = Place::new();
    let server = Server::start(&place);
    let [mut up, mut down] = [1, 2].map(|seed| Relay::start(&place, &server, "delay=5", seed));
    let said = place.voice("said.wav", 8, LONG);
    let [heard, foo_stats, bar_stats] = ["heard.wav", "foo.json", "bar.json"].map(|name| place.path(name));
    let mut foo = down.listener(&place, "Foo", &heard, &foo_stats);
    welcome(&mut foo, "Foo");
    let mut bar = up.talker(&place, "Bar", &said, &bar_stats);
    welcome(&mut bar, "Bar");
    let begin = samples(&heard).len();
    wait_for_samples(&heard, begin + 2 * RATE);
    assert_eq!(up.order("rebind"), "rebind: 1 addresses");
    wait_for_samples(&heard, begin + 4 * RATE);
    // Whoever only listens is found at his new address when he probes the next time.
    assert_eq!(down.order("rebind"), "rebind: 1 addresses");
    wait_for_samples(&heard, begin + (LONG + 1) * RATE);
    leave(&mut bar);
    leave(&mut foo);
    let (said, heard) = (samples(&said), samples(&heard));
    assert_heard(&said[..7 * RATE / 2], &heard);
    assert_heard(&said[(LONG - 2) * RATE..], &heard);
    for path in [&foo_stats, &bar_stats] {
        assert_eq!(statistic(path, "path"), "udp");
        assert_eq!(number(path, "reconnects"), 0);
    }
    for program in [&foo, &bar] {
        assert!(!program.errors().contains("voice goes by TCP"), "{}", program.errors());
    }
    for relay in [up, down] {
        assert_eq!(relay.quit()["rebinds"], 1);
    }
}
