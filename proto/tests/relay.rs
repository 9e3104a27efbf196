//! The relay alone: which voice shares a datagram, what waits for how long, what is shed, and who comes first.
#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::collections::BTreeMap;

use chinwag_proto::{
    Duration, Instant, RoomId, SessionId,
    limits::{FRAMES_PER_DATAGRAM, PING_INTERVAL, VOICE_FRESH, VOICE_HOLD, VOICE_LATE, VOICE_LATE_FOR},
    relay::{Order, VoicePath},
    wire::{path::DatagramKind, voice::Frames},
};
use common::{Relayed, VoiceRig, millis, session, voice};

const START: Instant = Instant::from_micros(1_000_000);

fn room(number: u32) -> RoomId {
    RoomId::from_wire(number)
}

/// So many in room 1, who listen by datagram.
fn rig(members: u32) -> VoiceRig {
    let mut rig = VoiceRig::default();
    (0..members).for_each(|index| join(&mut rig, index, 1, VoicePath::Udp));
    rig
}

fn join(rig: &mut VoiceRig, index: u32, number: u32, path: VoicePath) {
    rig.open(START, session(1, index), Some(room(number)));
    rig.order(START, Order::Listen { session: session(1, index), path });
    assert_eq!(rig.take(), []);
}

/// Somebody says so many frames at once; nothing is due yet.
fn talk(rig: &mut VoiceRig, now: Instant, index: u32, frames: usize, opus: usize) {
    let frame = voice(session(1, index), 1, &vec![index as u8; opus]);
    rig.arrive(now, session(1, index), DatagramKind::Voice, &frame.repeat(frames), Duration::ZERO);
}

/// What each listener got: for each datagram who talks in it.
fn heard(rig: &mut VoiceRig) -> BTreeMap<SessionId, Vec<Vec<u32>>> {
    let mut heard = BTreeMap::<_, Vec<_>>::new();
    for what in rig.take() {
        let Relayed::Datagram { kind: DatagramKind::Voice, payload, to } = what else { continue };
        let talkers = Frames::parse(&payload).unwrap().map(|frame| frame.talker.to_wire() & 0xf_ffff);
        heard.entry(to).or_default().push(talkers.collect());
    }
    heard
}

fn of(heard: &BTreeMap<SessionId, Vec<Vec<u32>>>, index: u32) -> Vec<Vec<u32>> {
    heard.get(&session(1, index)).cloned().unwrap_or_default()
}

#[test]
fn voice_that_is_at_hand_at_once_shares_a_datagram_without_waiting() {
    let mut rig = rig(4);
    talk(&mut rig, START, 0, 1, 80);
    talk(&mut rig, START, 1, 2, 80);
    assert_eq!((rig.take(), rig.relay.poll_timeout()), (vec![], Some(START)));
    rig.due(START);
    let heard = heard(&mut rig);
    assert_eq!(of(&heard, 3), [[0, 1, 1]]);
    assert_eq!(of(&heard, 2), [[0, 1, 1]]);
    assert_eq!((of(&heard, 0), of(&heard, 1)), (vec![vec![1, 1]], vec![vec![0]]), "nobody hears himself");
    let stats = rig.relay.stats();
    assert_eq!((stats.voice_in, stats.voice_out, stats.datagrams_out), (2, 6, 4));
}

#[test]
fn a_talkers_second_payload_goes_into_the_next_datagram() {
    let mut rig = rig(3);
    for index in [0, 1, 0, 0] {
        talk(&mut rig, START, index, 1, 80);
    }
    rig.due(START);
    let heard = heard(&mut rig);
    assert_eq!(of(&heard, 2), [vec![0, 1], vec![0], vec![0]]);
    assert_eq!(of(&heard, 0), [[1]]);
}

#[test]
fn a_datagram_takes_as_much_as_fits_and_no_more() {
    // (frames of each talker, bytes of each frame, talkers in the datagrams)
    for (frames, opus, datagrams) in [
        (1, 80, vec![12, 8]),
        (1, 8, vec![16, 4]),
        (5, 1, vec![3, 3, 3, 3, 3, 3, 2]),
        (1, 1000, vec![1; 20]),
        (FRAMES_PER_DATAGRAM, 1, vec![1; 20]),
    ] {
        let mut rig = rig(21);
        (0..20).for_each(|index| talk(&mut rig, START, index, frames, opus));
        rig.due(START);
        let heard = heard(&mut rig);
        let counts: Vec<_> = of(&heard, 20).iter().map(|talkers| talkers.len() / frames).collect();
        assert_eq!(counts, datagrams, "{frames} of {opus} bytes");
        for index in 0..20 {
            let mut talkers = of(&heard, index).concat();
            talkers.dedup();
            assert_eq!(talkers, (0..20).filter(|&other| other != index).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_operator_may_let_voice_wait_for_more_of_it() {
    let mut rig = rig(4);
    rig.relay.set_hold(millis(2));
    talk(&mut rig, START, 0, 1, 80);
    let later = START + millis(1);
    rig.due(later);
    talk(&mut rig, later, 1, 1, 80);
    assert_eq!((rig.take(), rig.relay.poll_timeout()), (vec![], Some(START + millis(2))));
    rig.due(START + millis(2));
    assert_eq!(of(&heard(&mut rig), 3), [[0, 1]]);
    assert_eq!(rig.relay.poll_timeout(), None);
    // What waits is bounded, whatever is asked for.
    rig.relay.set_hold(Duration::from_secs(60));
    talk(&mut rig, later, 2, 1, 80);
    assert_eq!(rig.relay.poll_timeout(), Some(later + VOICE_HOLD));
}

#[test]
fn rooms_share_nothing_and_who_leaves_gets_nothing() {
    let mut rig = rig(2);
    (2..4).for_each(|index| join(&mut rig, index, 2, VoicePath::Udp));
    (0..4).for_each(|index| talk(&mut rig, START, index, 1, 80));
    rig.order(START, Order::Leave { session: session(1, 3) });
    rig.due(START);
    let heard = heard(&mut rig);
    assert_eq!((of(&heard, 0), of(&heard, 1)), (vec![vec![1]], vec![vec![0]]));
    assert_eq!((of(&heard, 2), of(&heard, 3)), (vec![vec![3]], vec![]), "what he said is still heard");
    rig.order(START, Order::Leave { session: session(1, 2) });
    talk(&mut rig, START, 2, 1, 80);
    rig.due(START);
    assert_eq!((rig.take(), rig.relay.stats().not_ours), (vec![], 1));
}

#[test]
fn everybody_is_first_in_his_turn() {
    let mut rig = rig(5);
    let mut first = BTreeMap::<_, u32>::new();
    for n in 0..40 {
        let now = START + millis(20 * n);
        talk(&mut rig, now, 4, 1, 80);
        rig.due(now);
        let whose = rig.take().into_iter().find_map(|what| match what {
            Relayed::Datagram { to, .. } => Some(to),
            Relayed::Tunnel { .. } | Relayed::Alive(_) => None,
        });
        *first.entry(whose.unwrap()).or_default() += 1;
    }
    // The talker's own turn falls to whoever is behind him.
    assert_eq!(first.into_values().collect::<Vec<_>>(), [16, 8, 8, 8]);
}

#[test]
fn voice_is_shed_when_it_has_been_late_for_a_while_until_it_is_fresh_again() {
    let mut rig = rig(2);
    let mut now = START;
    let mut passes = |kind, waited, after| {
        now = now + after;
        let before = rig.relay.stats();
        let payload = if kind == DatagramKind::Voice { voice(session(1, 0), 1, &[1]) } else { vec![1; 8] };
        rig.arrive(now, session(1, 0), kind, &payload, waited);
        rig.due(now);
        let after = rig.relay.stats();
        assert_eq!(after.stale - before.stale + after.received - before.received, 1);
        after.received > before.received
    };
    let (late, fresh) = (VOICE_LATE + millis(1), VOICE_FRESH);
    // (how long it waited, how long after the one before it is taken, whether voice passes)
    for (waited, after, does_pass) in [
        // A server that stood still for a moment.
        (late * 5, millis(0), true),
        (late * 3, millis(1), true),
        (VOICE_LATE, millis(1), true),
        // One that is asked too much.
        (late, millis(1), true),
        (late, VOICE_LATE_FOR - millis(1), true),
        (late, millis(1), false),
        (VOICE_LATE, millis(1), false),
        (fresh + millis(1), millis(1), false),
        (fresh, millis(1), true),
        (fresh + millis(1), millis(1), true),
        (late, millis(1), true),
        (late, VOICE_LATE_FOR, false),
    ] {
        assert_eq!(passes(DatagramKind::Voice, waited, after), does_pass, "{waited:?} {after:?}");
    }
    assert!(passes(DatagramKind::Probe, late, millis(1)), "probes are answered whatever happens");
}

#[test]
fn a_peer_that_sends_datagrams_is_told_to_be_alive_now_and_then() {
    let mut rig = rig(2);
    let mut told = vec![];
    for n in 0..60 {
        let now = START + millis(250 * n);
        rig.datagram(now, session(1, 0), DatagramKind::Probe, &[1; 8]);
        if rig.take().contains(&Relayed::Alive(session(1, 0))) {
            told.push(now);
        }
    }
    assert_eq!(told, [START + PING_INTERVAL, START + PING_INTERVAL * 2]);
}
