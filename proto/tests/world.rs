//! A server and its clients over a network that breaks: what everybody must see in the end.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use chinwag_proto::{
    Duration, Seq,
    client::{ClientEvent, EndReason, PlaceId},
    limits,
    relay::VoicePath,
    server::ServerEvent,
};
use common::{World, WorldConfig, millis, secs};
use proptest::prelude::*;

fn world(clients: usize) -> World {
    let mut world = World::new(&WorldConfig { seed: 1, clients, delay_ms: 30 });
    world.run(secs(2));
    assert!(world.nodes.iter().all(|node| node.client.is_in()));
    world
}

fn texts(world: &World, node: usize) -> Vec<&str> {
    world.nodes[node].said.iter().map(|(_, _, text)| text.as_str()).collect()
}

#[test]
fn what_is_said_is_seen_by_all_in_one_order() {
    let mut world = world(3);
    for n in 0..30 {
        world.say(n % 3, &format!("m{n}"));
        world.run(millis(7));
    }
    world.run(secs(1));
    assert_eq!(texts(&world, 0).len(), 30);
    assert_eq!(world.nodes[0].said, world.nodes[1].said);
    assert_eq!(world.nodes[0].said, world.nodes[2].said);
}

#[test]
fn voice_goes_by_udp_falls_back_to_tcp_and_returns() {
    let mut world = world(2);
    let mut sequence = 0;
    let mut talk = |world: &mut World, time: Duration| {
        let until = world.now + time;
        while world.now < until {
            world.talk(0, sequence);
            sequence += 2;
            world.run(millis(20));
        }
        sequence / 2
    };
    talk(&mut world, secs(3));
    assert_eq!(world.nodes[0].client.voice_path(), Some(VoicePath::Udp));
    let before = world.voice.relay.stats().voice_in;
    world.udp = false;
    talk(&mut world, secs(5));
    assert!(world.nodes.iter().all(|node| node.client.voice_path() == Some(VoicePath::Tcp)));
    world.udp = true;
    let said = talk(&mut world, secs(5));
    assert!(world.nodes.iter().all(|node| node.client.voice_path() == Some(VoicePath::Udp)));
    world.run(secs(1));
    let mut heard = world.nodes[1].heard.clone();
    heard.sort_unstable();
    heard.dedup();
    // The loss is what was on its way until the path became doubtful: at most a probe's interval and its patience.
    let patience = limits::PROBE_INTERVAL_ACTIVE + limits::PROBE_RETRY * 2;
    let lost = said as usize - heard.len();
    assert!(lost as u128 <= patience.as_millis() / 20, "{lost} of {said} lost");
    assert!(before > 0 && world.nodes[1].client.stats().tcp_received > 0);
}

#[test]
fn a_killed_client_is_announced_within_15_s_and_a_blink_is_not() {
    let mut world = world(3);
    world.cut(1, Some(millis(1)), Some(millis(1)));
    world.run(secs(20));
    let left = |world: &World| {
        world.server_events.iter().filter(|(_, event)| matches!(event, ServerEvent::Left { .. })).count()
    };
    assert_eq!(left(&world), 0);
    assert!(!world.nodes[0].events.iter().any(|event| matches!(event, ClientEvent::Left { .. })));
    // Nobody notices the end: the power is gone.
    world.cut(1, None, None);
    world.reachable = false;
    let killed = world.now;
    world.run(limits::SILENCE_TIMEOUT + millis(100));
    let &(when, _) = world.server_events.last().unwrap();
    assert_eq!(left(&world), 1);
    assert!(when.since(killed) <= limits::SILENCE_TIMEOUT, "{:?}", when.since(killed));
    assert!(matches!(world.nodes[0].events.last(), Some(ClientEvent::Left { .. })));
    world.reachable = true;
    world.run(secs(30));
    assert!(world.nodes[1].client.is_in(), "and it comes back");
    assert_eq!(world.nodes[0].client.members(PlaceId::FIRST).count(), 3);
}

#[test]
fn a_flood_is_slowed_and_arrives_whole() {
    let mut world = world(2);
    let text = "x".repeat(4000);
    let mut sent = 0;
    while sent < 600 {
        while sent < 600 && world.nodes[0].client.room_for_messages() > 0 {
            world.say(0, &format!("{sent} {text}"));
            sent += 1;
        }
        world.run(secs(1));
    }
    world.run(secs(60));
    assert!(world.server.stats().pauses > 0);
    assert_eq!(texts(&world, 1).len(), 600);
    assert_eq!(world.nodes[0].said, world.nodes[1].said);
}

#[test]
fn quitting_and_stopping_end_everybody_well() {
    let mut world = world(3);
    world.say(0, "bye");
    world.quit(0);
    world.run(secs(1));
    assert_eq!(texts(&world, 1), ["bye"]);
    assert_eq!(texts(&world, 0), ["bye"]);
    assert_eq!(world.nodes[0].events.last(), Some(&ClientEvent::Ended(EndReason::Quit)));
    assert_eq!(world.nodes[1].client.members(PlaceId::FIRST).count(), 2);
}

#[test]
fn a_server_that_is_started_again_loses_nothing_that_was_acknowledged() {
    let mut world = World::lasting(&WorldConfig { seed: 3, clients: 3, delay_ms: 30 });
    world.run(secs(2));
    for n in 0..60 {
        world.say(n % 3, &format!("m{n}"));
        world.run(millis(n as u64 % 7 * 10));
        if n % 20 == 19 {
            world.restart();
        }
    }
    world.run(secs(60));
    assert_eq!(texts(&world, 0).len(), 60);
    let mut events = world.nodes.iter().flat_map(|node| &node.events);
    assert!(!events.any(|event| matches!(event, ClientEvent::Missed { .. })));
    for node in &world.nodes {
        assert_eq!(places(&node.said), places(&world.nodes[0].said));
        assert_eq!((node.client.unacknowledged(), node.client.stats().reconnects), (0, 3));
        assert_eq!(node.client.members(PlaceId::FIRST).count(), 3);
    }
}

#[test]
fn what_a_store_refuses_is_given_back_and_nobody_else_sees_it() {
    let mut world = World::lasting(&WorldConfig { seed: 4, clients: 2, delay_ms: 30 });
    world.run(secs(2));
    world.say(0, "before");
    world.run(secs(1));
    world.store.as_mut().unwrap().is_broken = true;
    world.say(0, "during");
    world.run(secs(1));
    world.store.as_mut().unwrap().is_broken = false;
    world.say(0, "after");
    world.run(secs(1));
    let refused =
        |event: &&ClientEvent| matches!(event, ClientEvent::NotSaid { text, .. } if text == "during");
    assert_eq!(world.nodes[0].events.iter().filter(refused).count(), 1);
    assert_eq!((texts(&world, 0), texts(&world, 1)), (vec!["before", "after"], vec!["before", "after"]));
    assert!(!world.nodes[1].events.iter().any(|event| matches!(event, ClientEvent::Missed { .. })));
}

#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    Wait(u64),
    /// Which connection, and after how many milliseconds the client and the server notice, if they do.
    Cut(usize, Option<u64>, Option<u64>),
    Add,
    Reachable(bool),
    Udp(bool),
    /// Only where there is a store.
    Restart,
    Broken(bool),
}

/// Every message by its place.
fn places(said: &[(Seq, String, String)]) -> Vec<(Seq, &str)> {
    said.iter().map(|(seq, _, text)| (*seq, text.as_str())).collect()
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let notice = || prop_oneof![3 => (0u64..3000).prop_map(Some), 1 => Just(None)];
    let act = prop_oneof![
        12 => (0usize..5).prop_map(Act::Say),
        6 => (0u64..200).prop_map(Act::Wait),
        1 => (0u64..20_000).prop_map(Act::Wait),
        4 => (0usize..5, notice(), notice()).prop_map(|(node, client, server)| Act::Cut(node, client, server)),
        1 => Just(Act::Add),
        1 => any::<bool>().prop_map(Act::Reachable),
        1 => any::<bool>().prop_map(Act::Udp),
        1 => Just(Act::Restart),
        1 => any::<bool>().prop_map(Act::Broken),
    ];
    prop::collection::vec(act, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_one_order_and_nothing_acknowledged_is_lost_or_doubled(
        seed in any::<u32>(), acts in acts()
    ) {
        let mut world = World::new(&WorldConfig { seed: seed.into(), clients: 3, delay_ms: 80 });
        world.run(secs(2));
        let start = world.now;
        let mut sent = 0;
        for act in acts {
            match act {
                Act::Say(node) => {
                    let node = node % world.nodes.len();
                    world.say(node, &format!("{sent}"));
                    sent += 1;
                }
                Act::Wait(ms) => world.run(millis(ms)),
                Act::Cut(node, client, server) => {
                    let node = node % world.nodes.len();
                    world.cut(node, client.map(millis), server.map(millis));
                }
                // Its first connection is not broken: it would end.
                Act::Add => {
                    if world.nodes.len() < 5 {
                        world.reachable = true;
                        world.add();
                        world.run(millis(500));
                    }
                }
                Act::Reachable(reachable) => world.reachable = reachable,
                Act::Udp(udp) => world.udp = udp,
                Act::Restart | Act::Broken(_) => {}
            }
        }
        // Faults are over: everybody must find back.
        (world.reachable, world.udp) = (true, true);
        world.run(secs(120));

        let order = world.nodes.iter().map(|node| &node.said).max_by_key(|said| said.len()).unwrap().clone();
        for (at, node) in world.nodes.iter().enumerate() {
            prop_assert!(node.client.is_in(), "client {} is not back: {:?}", at, node.events.last());
            prop_assert_eq!(node.client.unacknowledged(), 0);
            prop_assert!(order.ends_with(&node.said), "client {} saw another order", at);
            prop_assert!(node.said.is_sorted_by(|(a, ..), (b, ..)| a < b));
            let missed = node.events.iter().any(|event| matches!(event, ClientEvent::Missed { .. }));
            prop_assert!(!missed, "client {} missed events that the server remembers", at);
            prop_assert_eq!(node.client.members(PlaceId::FIRST).count(), world.nodes.len());
        }
        // The first three were there from the beginning: they saw everything.
        for node in world.nodes.iter().take(3) {
            prop_assert_eq!(node.said.len(), sent);
        }
        let mut all: Vec<usize> = order.iter().map(|(_, _, text)| text.parse().unwrap()).collect();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..sent), "each message exactly once");
        for node in &world.nodes {
            let name = node.client.members(PlaceId::FIRST).find(|(id, _)| Some(*id) == node.client.session()).unwrap().1.name.as_str();
            let own: Vec<usize> = order.iter().filter(|(_, who, _)| who == name).map(|(_, _, text)| text.parse().unwrap()).collect();
            prop_assert!(own.is_sorted(), "each sender's messages keep their order");
        }
        let seconds = world.now.since(start).as_secs() + 2;
        let per_second = world.timeouts / seconds / world.nodes.len() as u64;
        prop_assert!(per_second <= 10, "{} wake-ups a second for each client", per_second);
    }

    #[test]
    fn beside_a_store_nothing_acknowledged_is_lost_or_doubled_over_restarts_and_refusals(
        seed in any::<u32>(), acts in acts()
    ) {
        let mut world = World::lasting(&WorldConfig { seed: seed.into(), clients: 3, delay_ms: 80 });
        world.run(secs(2));
        // A room of which nothing is kept is another one after a restart.
        world.say(0, "0");
        world.run(secs(1));
        let mut sent = 1;
        for act in acts {
            match act {
                Act::Say(node) => {
                    let node = node % world.nodes.len();
                    world.say(node, &format!("{sent}"));
                    sent += 1;
                }
                Act::Wait(ms) => world.run(millis(ms)),
                Act::Cut(node, client, server) => {
                    let node = node % world.nodes.len();
                    world.cut(node, client.map(millis), server.map(millis));
                }
                Act::Add | Act::Udp(_) => {}
                Act::Reachable(reachable) => world.reachable = reachable,
                Act::Restart => world.restart(),
                Act::Broken(is_broken) => world.store.as_mut().unwrap().is_broken = is_broken,
            }
        }
        world.reachable = true;
        world.store.as_mut().unwrap().is_broken = false;
        world.run(secs(120));

        let order = places(&world.nodes[0].said);
        let mut fates: Vec<usize> = order.iter().map(|(_, text)| text.parse().unwrap()).collect();
        for (at, node) in world.nodes.iter().enumerate() {
            prop_assert!(node.client.is_in(), "client {} is not back: {:?}", at, node.events.last());
            prop_assert_eq!(node.client.unacknowledged(), 0);
            prop_assert_eq!(places(&node.said), order.clone(), "client {} saw another order", at);
            prop_assert!(node.said.is_sorted_by(|(a, ..), (b, ..)| a < b));
            let missed = node.events.iter().any(|event| matches!(event, ClientEvent::Missed { .. }));
            prop_assert!(!missed, "client {} missed what the server remembers", at);
            for event in &node.events {
                if let ClientEvent::NotSaid { text, .. } = event {
                    fates.push(text.parse().unwrap());
                }
            }
        }
        fates.sort_unstable();
        prop_assert!(fates.into_iter().eq(0..sent), "each message was said once, or given back once");
        // What everybody saw is what is kept.
        let shelf = &world.store.as_ref().unwrap().shelf;
        let kept = shelf.rooms().flat_map(|room| shelf.messages(room));
        let kept: Vec<(Seq, &str)> = kept.map(|kept| (kept.seq, &*kept.text)).collect();
        prop_assert_eq!(kept, order);
    }
}
