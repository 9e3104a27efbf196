//! Fixed seeds over different networks: every checker holds, and what the network is meant to cause is caused.
#![allow(clippy::unwrap_used)]

use chinwag_sim::{Counts, Report, Scenario, Sometimes};

fn scenario(seed: u64, clients: u32, seconds: u32, net: &str) -> Scenario {
    Scenario { seed, clients, seconds, spec: net.parse().unwrap(), ..Default::default() }
}

fn run(scenario: &Scenario) -> Report {
    chinwag_sim::run(scenario, None).unwrap_or_else(|failure| panic!("{failure}"))
}

fn counts(seed: u64, clients: u32, seconds: u32, net: &str) -> Counts {
    run(&scenario(seed, clients, seconds, net)).counts
}

#[test]
fn on_a_clean_network_everything_arrives_once() {
    let counts = counts(1, 5, 30, "delay=20");
    assert!(counts.texts > 20 && counts.voice_sent > 500, "{counts:?}");
    // Whoever joined a moment ago hears more than those who were counted when the frame was sent; whoever left, less.
    assert!(counts.voice_delivered * 100 >= counts.voice_expected * 99, "{counts:?}");
    assert_eq!((counts.voice_repeated, counts.datagrams_refused, counts.datagrams_homeless), (0, 0, 0));
    assert_eq!((counts.reconnects, counts.missed, counts.voice_unsent), (0, 0, 0));
}

#[test]
fn lost_datagrams_are_lost_voice_and_nothing_else() {
    let counts = counts(2, 4, 60, "delay=30,jitter=10,loss=10");
    let arrived = counts.voice_delivered * 100 / counts.voice_expected;
    // Twice 10 % is lost, less what goes both ways while a path is doubtful.
    assert!((75..95).contains(&arrived), "{arrived} %: {counts:?}");
    assert_eq!(counts.reconnects, 0);
    assert!(counts.datagrams_lost > 500 && counts.path_changes > 4, "{counts:?}");
}

#[test]
fn without_udp_voice_arrives_by_tcp() {
    let counts = counts(3, 4, 30, "delay=20,loss=100");
    // Probes that are tried again and again; what got through did so when the network was mended, and is no voice.
    assert!(counts.datagrams_lost > 50, "{counts:?}");
    assert!(counts.voice_sent > 500, "{counts:?}");
    assert!(counts.voice_delivered * 100 >= counts.voice_expected * 99, "{counts:?}");
    assert_eq!(counts.voice_by_tcp, counts.voice_delivered);
}

#[test]
fn doubled_reordered_and_corrupted_datagrams_are_refused_and_counted() {
    let counts = counts(4, 3, 60, "delay=20,jitter=80,dup=20,corrupt=3");
    assert!(counts.datagrams_corrupted > 100, "{counts:?}");
    // A doubled datagram is refused once, a corrupted one always; a doubled one of which one copy is corrupted, once.
    let bad = counts.datagrams_doubled + counts.datagrams_corrupted;
    assert!(counts.datagrams_refused <= bad && counts.datagrams_refused * 10 > bad * 9, "{counts:?}");
}

#[test]
fn cut_links_lose_no_text_and_everybody_comes_back() {
    for seed in 10..16 {
        let counts = counts(seed, 6, 60, "delay=50,jitter=20,loss=2,stall=3,cut=8");
        assert!(counts.cuts > 20 && counts.reconnects > 15, "seed {seed}: {counts:?}");
        assert_eq!(counts.missed, 0);
    }
}

#[test]
fn a_network_that_is_hardly_one_is_survived() {
    for seed in 20..24 {
        let counts = counts(seed, 4, 60, "delay=300,jitter=700,loss=40,dup=10,corrupt=2,stall=25,cut=15");
        assert!(counts.texts_delivered > 50 && counts.cuts > 3, "seed {seed}: {counts:?}");
    }
}

#[test]
fn who_floods_is_slowed_down_and_not_thrown_out() {
    let counts = counts(60, 4, 300, "delay=20,loss=1");
    assert!(counts.pauses > 3 && counts.texts > 600, "{counts:?}");
    assert_eq!(counts.reconnects, 0);
}

#[test]
fn rooms_do_not_hear_each_other() {
    let scenario = Scenario { rooms: 3, ..scenario(30, 9, 30, "delay=10,loss=1,cut=20") };
    let counts = run(&scenario).counts;
    // Three in a room: each frame is for two others at most (less whoever is away); across rooms it would be eight.
    assert!(counts.voice_delivered > 0 && counts.voice_delivered <= counts.voice_sent * 2, "{counts:?}");
}

#[test]
fn one_client_alone_has_a_history_too() {
    let counts = counts(40, 1, 20, "delay=0");
    assert_eq!((counts.texts_delivered, counts.voice_delivered), (0, 0));
    assert!(counts.texts > 0);
}

#[test]
fn a_trace_can_be_written_and_changes_nothing() {
    let scenario = scenario(50, 3, 10, "delay=20,jitter=5,loss=2");
    let mut lines = Vec::new();
    let with = chinwag_sim::run(&scenario, Some(&mut lines)).unwrap();
    assert_eq!(with, run(&scenario));
    let lines = String::from_utf8(lines).unwrap();
    for mark in ["connect", "welcome", "say", "said", "voice", "dropped", "ended"] {
        assert!(lines.lines().any(|line| line.split(' ').nth(2) == Some(mark)), "no {mark}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error() {
    struct Full;

    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let failure = chinwag_sim::run(&scenario(50, 1, 1, ""), Some(&mut Full)).unwrap_err();
    assert!(failure.what.contains("the disk is full"), "{failure}");
}

#[test]
fn classic_peers_and_clients_are_in_one_room_on_any_network() {
    for (seed, net) in [
        (70, "delay=20,classic=3"),
        (71, "delay=20,classic=3,short=80,window=1"),
        (72, "delay=100,jitter=50,stall=5,cut=10,reset=20,partition=15,crash=30,classic=4"),
    ] {
        let tally = run(&Scenario { rooms: 2, ..scenario(seed, 4, 60, net) }).tally;
        for what in [
            Sometimes::ClassicJoined,
            Sometimes::ClassicHeard,
            Sometimes::ClassicTold,
            Sometimes::ClassicQuit,
        ] {
            assert!(tally.of(what) > 0, "{net}: {what:?}");
        }
    }
}

#[test]
fn who_has_a_classic_program_takes_nothing_from_a_world_without() {
    let without = run(&scenario(1, 3, 10, "delay=20,cut=5"));
    assert!(
        Sometimes::ALL
            .iter()
            .all(|(what, _)| { !format!("{what:?}").starts_with("Classic") || without.tally.of(*what) == 0 })
    );
}
