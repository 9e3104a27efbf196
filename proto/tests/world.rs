//! A server and its clients over a network that breaks: what everybody must see in the end.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeSet;

use chinwag_proto::{
    Duration, RoomId, Seq,
    client::{ClientEvent, EndReason, PlaceId},
    hub::Marks,
    limits,
    relay::VoicePath,
    server::ServerEvent,
};
use common::{Node, Told, World, WorldConfig, millis, secs};
use proptest::{prelude::*, test_runner::TestCaseError};

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
    /// Which client does what in one of its places, or with one of a few names.
    Does(usize, Deed, usize),
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Join,
    Part,
    Whisper,
    Say,
    Topic,
    Name,
    Mute,
    VoiceIn,
}

/// Every message by its place.
fn places(said: &[(Seq, String, String)]) -> Vec<(Seq, &str)> {
    said.iter().map(|(seq, _, text)| (*seq, text.as_str())).collect()
}

fn deed() -> impl Strategy<Value = Deed> {
    use Deed::{Join, Mute, Name, Part, Say, Topic, VoiceIn, Whisper};
    prop_oneof![
        3 => prop::sample::select(vec![Join, Whisper]),
        8 => Just(Say),
        4 => prop::sample::select(vec![Part, Topic, Name, Mute, VoiceIn]),
    ]
}

/// What was said anywhere but in the lobby: by whom, in which place, whether he left that before he saw it.
#[derive(Debug)]
struct Spoken {
    node: usize,
    place: PlaceId,
    is_private: bool,
    has_parted: bool,
}

/// Texts are numbers with a letter before them, unlike those of the lobby.
fn spoken_text(at: usize) -> String {
    format!("x{at}")
}

fn does(world: &mut World, spoken: &mut Vec<Spoken>, node: usize, deed: Deed, which: usize) {
    let other = which % world.nodes.len();
    let places: Vec<_> = world.nodes[node].client.places().collect();
    // The lobby is left by nobody, so that all that is said there is seen by all.
    let place = places.get(1 + which % places.len().max(2).saturating_sub(1)).copied();
    match deed {
        Deed::Join => {
            let _ = world.with(node, |client| client.join(["den", "attic", "Den", "loft"][which]));
        }
        Deed::Whisper => {
            let name = world.nodes[other].client.name().unwrap_or("nobody").to_owned();
            let _ = world.with(node, |client| client.whisper(&name));
        }
        Deed::Part => {
            let Some(place) = place else { return };
            world.with(node, |client| client.part(place));
            let parted = spoken.iter_mut().filter(|spoken| (spoken.node, spoken.place) == (node, place));
            parted.for_each(|spoken| spoken.has_parted = !spoken.is_private);
        }
        Deed::Say => {
            let Some(place) = place else { return };
            let is_private = world.nodes[node].client.is_private(place);
            let text = spoken_text(spoken.len());
            world.with(node, |client| client.say(place, &text)).unwrap();
            spoken.push(Spoken { node, place, is_private, has_parted: false });
        }
        Deed::Topic => {
            let place = place.unwrap_or(PlaceId::FIRST);
            world.with(node, |client| client.set_topic(place, ["", "tea", "cake", "rain"][which]));
        }
        Deed::Name => world.with(node, |client| client.set_name(&format!("m{which}"))).unwrap(),
        Deed::Mute => {
            let marks = Marks { muted: which.is_multiple_of(2), deafened: which > 1 };
            world.with(node, |client| client.set_marks(marks));
        }
        Deed::VoiceIn => {
            let place = [None, Some(PlaceId::FIRST), place, place][which];
            world.with(node, |client| client.set_voice_place(place));
        }
    }
}

/// What must hold of all that was said anywhere but in the lobby.
fn judge_spoken(world: &World, spoken: &[Spoken]) -> Result<(), TestCaseError> {
    for (spoken, at) in spoken.iter().zip(0..) {
        let text = spoken_text(at);
        // What is between two is told in full where its place is a new one, since the other was gone for long.
        for (at, node) in world.nodes.iter().enumerate() {
            let told = node.told.iter().filter(|told| told.text == text);
            let places: Vec<_> = told.map(|told| told.place).collect();
            let is_once = places.len() <= 1 || spoken.is_private && places.is_sorted_by(|a, b| a < b);
            prop_assert!(is_once, "{} is told twice to {}: {:?} {:?}", text, at, places, spoken);
        }
        let is_told = |node: &Node| node.told.iter().any(|told| told.text == text);
        let author = &world.nodes[spoken.node];
        let given_back =
            |event: &&ClientEvent| matches!(event, ClientEvent::NotSaid { text: back, .. } if *back == text);
        let fates = usize::from(is_told(author)) + author.events.iter().filter(given_back).count();
        let is_right = fates == 1 || fates == 0 && spoken.has_parted;
        prop_assert!(is_right, "{} is said and given back {} times: {:?}", text, fates, spoken);
        // Told once more, in full, it is nothing that is acknowledged.
        let first = author.told.iter().find(|told| told.text == text);
        prop_assert!(
            first.is_none_or(|told| told.is_own),
            "{} is not known to be one's own: {:?}",
            text,
            spoken
        );
        // Nobody but one other sees what is between two, and nobody in a room with a name.
        let mut told = world.nodes.iter().flat_map(|node| &node.told).filter(|told| told.text == text);
        prop_assert!(told.all(|told| told.is_private == spoken.is_private), "{}: {:?}", text, spoken);
        let listeners = world.nodes.iter().filter(|node| is_told(node)).count();
        prop_assert!(!spoken.is_private || listeners <= 2, "{} is told to a third: {:?}", text, spoken);
    }
    for (a, b) in
        world.nodes.iter().enumerate().flat_map(|(at, a)| world.nodes[..at].iter().map(move |b| (a, b)))
    {
        for room in ["den", "attic", "loft"] {
            let texts = |node: &Node| -> Vec<String> {
                let is_it = |told: &&Told| !told.is_private && told.room.to_lowercase() == room;
                node.told.iter().filter(is_it).map(|told| told.text.clone()).collect()
            };
            let (a, b) = (texts(a), texts(b));
            let common = |of: &[String], with: &[String]| -> Vec<String> {
                of.iter().filter(|text| with.contains(text)).cloned().collect()
            };
            prop_assert_eq!(common(&a, &b), common(&b, &a), "one order in the {}", room);
        }
    }
    Ok(())
}

/// When all is calm, each client knows what the server does.
fn judge_views(world: &World) -> Result<(), TestCaseError> {
    let hub = world.server.hub();
    for (at, node) in world.nodes.iter().enumerate() {
        let client = &node.client;
        let session = client.session().unwrap();
        prop_assert_eq!(client.name(), hub.name_of(session).map(|name| name.as_str()), "client {}", at);
        let named: BTreeSet<_> =
            hub.rooms_of(session).iter().filter(|room| !room.is_private()).copied().collect();
        let mut found = BTreeSet::new();
        for place in client.places() {
            prop_assert!(client.is_entered(place), "client {} is not in {:?}", at, client.place_name(place));
            let room =
                hub.rooms_of(session).iter().find(|room| client.place_of(**room) == Some(place)).copied();
            let Some(room) = room else {
                // Of what is between two, one may have been forgotten.
                prop_assert!(client.is_private(place), "client {}: {:?}", at, client.place_name(place));
                prop_assert_eq!(client.members(place).count(), 1);
                continue;
            };
            found.extend(Some(room).filter(|room| !room.is_private()));
            // Only of his own conversations he may know where it is that somebody talks.
            let seen = |voice: RoomId| match voice.is_private() && hub.rooms_of(session).contains(&voice) {
                true if voice != room => RoomId::SOMEWHERE_PRIVATE,
                _ => voice,
            };
            let told: Vec<_> = client
                .members(place)
                .map(|(id, member)| (id, member.name.clone(), member.marks, member.voice.map(seen)))
                .collect();
            let mut known: Vec<_> = hub
                .members_of(room)
                .map(|person| (person.session, person.name.as_str().to_owned(), person.marks, person.voice))
                .collect();
            known.sort_by_key(|(session, ..)| *session);
            prop_assert_eq!(told, known, "client {} in {:?}", at, room);
            let topic = hub.topic_of(room).map(|topic| topic.text.to_string());
            prop_assert_eq!(
                client.topic(place).map(|topic| topic.text.clone()),
                topic,
                "client {} in {:?}",
                at,
                room
            );
            let (epoch, last) = client.numbering(place).unwrap();
            prop_assert!(hub.numberings().any(|of| of == (room, epoch, last)), "client {} in {:?}", at, room);
        }
        prop_assert_eq!(found, named, "client {} is where the server has it", at);
        // Whatever is between two who are both there is known to both.
        let private = hub.rooms_of(session).iter().filter(|room| room.is_private());
        for room in private.filter(|room| hub.members_of(**room).count() == 2) {
            prop_assert!(client.place_of(*room).is_some(), "client {} does not know {:?}", at, room);
        }
        let voice = client.voice_place();
        prop_assert_eq!(
            hub.voice_room(session).and_then(|room| client.place_of(room)),
            voice,
            "client {}",
            at
        );
    }
    Ok(())
}

/// All talk: who hears whom is who is in the same room with his voice.
fn judge_voice(world: &mut World) -> Result<(), TestCaseError> {
    const FIRST: u32 = 1_000_000;
    for node in 0..world.nodes.len() {
        world.talk(node, FIRST + node as u32);
    }
    world.run(secs(2));
    let hub = world.server.hub();
    let room = |node: &Node| node.client.session().and_then(|session| hub.voice_room(session));
    for (listener, node) in world.nodes.iter().enumerate() {
        let heard: BTreeSet<u32> = node.heard.iter().copied().filter(|sequence| *sequence >= FIRST).collect();
        let talkers = world.nodes.iter().enumerate().filter(|(talker, other)| {
            *talker != listener && room(other).is_some() && room(other) == room(node)
        });
        let expected: BTreeSet<u32> = talkers.map(|(talker, _)| FIRST + talker as u32).collect();
        prop_assert_eq!(heard, expected, "client {} hears those in {:?}", listener, room(node));
    }
    Ok(())
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
        8 => (0usize..5, deed(), 0usize..4).prop_map(|(node, deed, which)| Act::Does(node, deed, which)),
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
        let (mut authors, mut spoken) = (vec![], vec![]);
        for act in acts {
            match act {
                Act::Say(node) => {
                    let node = node % world.nodes.len();
                    world.say(node, &format!("{}", authors.len()));
                    authors.push(node);
                }
                Act::Does(node, deed, which) => {
                    let node = node % world.nodes.len();
                    does(&mut world, &mut spoken, node, deed, which);
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

        judge_spoken(&world, &spoken)?;
        judge_views(&world)?;
        judge_voice(&mut world)?;
        let sent = authors.len();
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
        for author in 0..world.nodes.len() {
            let texts = order.iter().map(|(_, _, text)| text.parse::<usize>().unwrap());
            let own: Vec<usize> = texts.filter(|at| authors[*at] == author).collect();
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
        let (mut sent, mut spoken) = (1, vec![]);
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
                Act::Does(node, deed, which) => {
                    let node = node % world.nodes.len();
                    does(&mut world, &mut spoken, node, deed, which);
                }
                Act::Reachable(reachable) => world.reachable = reachable,
                Act::Restart => world.restart(),
                Act::Broken(is_broken) => world.store.as_mut().unwrap().is_broken = is_broken,
            }
        }
        world.reachable = true;
        world.store.as_mut().unwrap().is_broken = false;
        world.run(secs(120));

        judge_spoken(&world, &spoken)?;
        judge_views(&world)?;
        judge_voice(&mut world)?;

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
                    // Of other rooms is judged already.
                    fates.extend(text.parse::<usize>());
                }
            }
        }
        fates.sort_unstable();
        prop_assert!(fates.into_iter().eq(0..sent), "each message was said once, or given back once");
        // What everybody saw is what is kept.
        let shelf = &world.store.as_ref().unwrap().shelf;
        let kept = shelf.rooms().flat_map(|room| shelf.messages(room));
        let kept = kept.filter(|kept| !kept.text.starts_with('x'));
        let kept: Vec<(Seq, &str)> = kept.map(|kept| (kept.seq, &*kept.text)).collect();
        prop_assert_eq!(kept, order);
    }
}
