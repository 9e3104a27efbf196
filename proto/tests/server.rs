//! The server as a table, beyond text: voice, rates, and peers that misbehave.

mod common;

use chinwag_proto::{
    Duration, Peer, limits,
    server::{Dialect, Input, Output},
    wire::{
        chinwag1::{self as pb, set_voice_path::Path, to_server::Kind},
        control, frame,
        path::{DatagramKind, PAYLOAD_BYTES},
    },
};
use common::{
    ServerRig, assert_lines, claim, hello, hello_in, millis, say, secs, server_output, session, to_server,
    voice,
};

const NOTHING: [&str; 0] = [];

/// Foo, Bar, Baz as peers 1 to 3 and sessions s1.0 to s1.2 in the lobby.
fn three() -> ServerRig {
    let mut rig = ServerRig::new();
    for (peer, name) in [(1, "Foo"), (2, "Bar"), (3, "Baz")] {
        rig.join(peer, name);
    }
    rig
}

fn path(path: Path) -> Kind {
    Kind::VoicePath(pb::SetVoicePath { path: path.into() })
}

fn datagram(rig: &mut ServerRig, peer: u32, kind: DatagramKind, payload: &[u8]) -> Vec<String> {
    rig.datagram(peer, kind, payload)
}

fn talk(rig: &mut ServerRig, peer: u32) -> Vec<String> {
    let payload = voice(session(1, peer - 1), 7, &[1, 2]);
    datagram(rig, peer, DatagramKind::Voice, &payload)
}

// Voice.

#[test]
fn voice_goes_to_all_listeners_but_the_talker_each_on_its_way() {
    let mut rig = three();
    rig.join(4, "Qux");
    assert_lines(&talk(&mut rig, 1), &["send voice 2,3,4: Voice s1.0 #7 [1, 2]"]);
    for peer in 1..=3 {
        assert_lines(&rig.send(peer, path(Path::Udp)), &NOTHING);
    }
    assert_lines(
        &talk(&mut rig, 1),
        &["send voice 4: Voice s1.0 #7 [1, 2]", "relay Voice 2,3: s1.0 #7 [1, 2]"],
    );
    rig.send(2, path(Path::Both));
    assert_lines(
        &talk(&mut rig, 1),
        &["send voice 4,2: Voice s1.0 #7 [1, 2]", "relay Voice 2,3: s1.0 #7 [1, 2]"],
    );
    rig.send(2, path(Path::Tcp));
    rig.send(4, path(Path::Udp));
    let mut bytes = vec![];
    control::write_voice(&mut bytes, &voice(session(1, 0), 7, &[1, 2]));
    assert_lines(
        &rig.receive(1, &bytes),
        &["send voice 2: Voice s1.0 #7 [1, 2]", "relay Voice 3,4: s1.0 #7 [1, 2]"],
    );
    let stats = rig.voice.relay.stats();
    assert_eq!((stats.voice_in, stats.voice_out), (4, 3 + 3 + 4 + 3));
}

#[test]
fn voice_reaches_nobody_who_left_and_nobody_elsewhere() {
    let mut rig = three();
    rig.send(2, Kind::Quit(pb::Quit {}));
    rig.accept(4);
    rig.send(4, Kind::Hello(hello_in("Qux", [claim(1, "attic")])));
    assert_lines(&talk(&mut rig, 1), &["send voice 3: Voice s1.0 #7 [1, 2]"]);
    rig.close(3);
    assert_lines(&talk(&mut rig, 1), &NOTHING);
}

#[test]
fn voice_that_is_forged_broken_or_too_large_is_dropped_and_counted() {
    let mut rig = three();
    let forged = [voice(session(1, 0), 1, &[1]), voice(session(1, 1), 1, &[1])].concat();
    let whole = voice(session(1, 0), 1, &[1]);
    let large = [voice(session(1, 0), 1, &[0; 900]), voice(session(1, 0), 2, &[0; 900])].concat();
    assert!(large.len() > PAYLOAD_BYTES);
    for payload in [&forged[..], &[], &whole[..whole.len() - 1], &large] {
        assert_lines(&datagram(&mut rig, 1, DatagramKind::Voice, payload), &NOTHING);
        rig.now = rig.now + millis(10);
        let mut bytes = vec![];
        control::write_voice(&mut bytes, payload);
        assert_lines(&rig.receive(1, &bytes), &NOTHING);
    }
    let stats = rig.voice.relay.stats();
    assert_eq!(
        (stats.voice_forged, stats.voice_malformed, stats.voice_out),
        (2, 5, 0),
        "what is too large for a datagram comes by none"
    );
}

#[test]
fn voice_over_its_rate_is_dropped_and_counted() {
    let mut rig = three();
    let mut heard = 0;
    for _ in 0..1000 {
        heard += talk(&mut rig, 1).len();
        rig.now = rig.now + millis(1);
    }
    let burst = limits::VOICE_BURST.as_millis() / limits::VOICE_DATAGRAM_COST.as_millis();
    let expected = 1000 / 4 + burst as usize;
    assert!((expected..=expected + 2).contains(&heard), "{heard}");
    assert_eq!(rig.voice.relay.stats().voice_over_rate, 1000 - heard as u64);
    assert_eq!(talk(&mut rig, 2).len(), 1, "others may talk");
}

#[test]
fn the_most_that_a_talker_sends_is_within_its_rate() {
    let mut rig = three();
    // Frames of 10 ms at 64 kb/s, three copies with each, for ten seconds.
    let payload = [7, 6, 5, 4].map(|n| voice(session(1, 0), n, &[1; 80])).concat();
    for _ in 0..1000 {
        assert_eq!(datagram(&mut rig, 1, DatagramKind::Voice, &payload).len(), 1);
        rig.now = rig.now + millis(10);
    }
    assert_eq!(rig.voice.relay.stats().voice_over_rate, 0);
}

// Reports.

fn report(rig: &mut ServerRig, peer: u32, talker: u32, lost_per_mille: u32) -> Vec<String> {
    let report = pb::VoiceReport { talker, lost_per_mille, queue_ms: 1 << 20, ..Default::default() };
    rig.send(peer, Kind::VoiceReport(report))
}

#[test]
fn a_talker_is_told_the_worst_that_listeners_report_and_not_too_often() {
    let mut rig = three();
    let foo = session(1, 0).to_wire();
    let told = |lost| format!("send voice 1: Report s1.0 lost {lost} unrecovered 0 burst 0 queue 65535");
    assert_eq!(report(&mut rig, 2, foo, 40), [told(40)]);
    rig.now = rig.now + millis(100);
    assert_lines(&report(&mut rig, 3, foo, 4_000_000_000), &NOTHING);
    rig.now = rig.now + limits::REPORT_INTERVAL;
    assert_eq!(report(&mut rig, 2, foo, 10), [told(1000)]);
    let stats = rig.server.stats();
    assert_eq!((stats.reports_in, stats.reports_out, stats.reports_dropped), (3, 2, 0));
}

#[test]
fn reports_on_oneself_on_other_rooms_and_on_nobody_are_dropped_and_counted() {
    let mut rig = three();
    rig.accept(4);
    rig.send(4, Kind::Hello(hello_in("Qux", [claim(1, "den")])));
    for (peer, talker) in
        [(1, session(1, 0)), (1, session(1, 3)), (4, session(1, 0)), (1, session(2, 1)), (1, session(0, 77))]
    {
        assert_lines(&report(&mut rig, peer, talker.to_wire(), 50), &NOTHING);
    }
    rig.close(2);
    assert_lines(&report(&mut rig, 1, session(1, 1).to_wire(), 50), &NOTHING);
    assert_eq!(rig.server.stats().reports_dropped, 6);
    rig.accept(5);
    let early = report(&mut rig, 5, session(1, 0).to_wire(), 50);
    assert!(early.last().unwrap().starts_with("close 5"), "{early:?}");
}

#[test]
fn reports_over_their_rate_are_dropped_and_counted() {
    let mut rig = three();
    for _ in 0..2000 {
        report(&mut rig, 2, session(1, 0).to_wire(), 50);
        rig.now = rig.now + millis(1);
    }
    let burst = limits::REPORT_BURST.as_millis() / limits::REPORT_COST.as_millis();
    let taken = 2000 - rig.server.stats().reports_dropped;
    let expected = 2000 / 5 + burst as u64;
    assert!((expected..=expected + 2).contains(&taken), "{taken}");
    assert!(rig.server.stats().reports_out <= 9);
}

#[test]
fn probes_are_echoed_to_members_within_reason() {
    let mut rig = three();
    let mut probe = |peer, payload: &[u8]| datagram(&mut rig, peer, DatagramKind::Probe, payload);
    assert_lines(&probe(2, &[9; 8]), &["relay Echo 2: [9, 9, 9, 9, 9, 9, 9, 9]"]);
    assert_lines(&probe(2, &[9; 7]), &NOTHING);
    assert_lines(&probe(2, &[9; 1000]), &NOTHING);
    assert_lines(&probe(7, &[9; 8]), &NOTHING);
    let echoed = (0..1000).map(|_| probe(3, &[9; 8]).len()).sum::<usize>();
    assert!(echoed < 200, "{echoed} echoes at one moment");
    assert_lines(&datagram(&mut rig, 1, DatagramKind::Echo, &[9; 8]), &NOTHING);
}

#[test]
fn voice_of_those_who_are_in_no_room_is_dropped_and_counted() {
    let mut rig = three();
    rig.accept(4);
    let mut bytes = vec![];
    control::write_voice(&mut bytes, &voice(session(1, 0), 1, &[1]));
    assert_lines(&rig.receive(4, &bytes), &NOTHING);
    assert_eq!(rig.server.stats().voice_homeless, 1);
}

// Peers that send too much.

#[test]
fn a_peer_ahead_of_its_rate_is_paused_and_nothing_is_lost() {
    let mut rig = three();
    let count = 10_000u64;
    let flood = to_server((1..=count).map(|id| say(1, id, "x")));
    let mut lines = rig.receive(1, &flood);
    let pause = lines.iter().position(|line| line == "pause 1").unwrap();
    assert_eq!(pause, lines.len() - 1, "nothing is read behind the pause");
    assert!(pause < 10_000, "{pause}");
    assert_eq!(rig.server.audit(), Ok(()));
    // The others go on.
    assert_eq!(rig.send(2, say(1, 1, "calm")).len(), 2);
    for _ in 0..30 {
        lines.extend(rig.wait(secs(1)));
        assert_eq!(rig.server.audit(), Ok(()));
        rig.send(2, Kind::Pong(pb::Ping { token: 0 }));
        rig.send(3, Kind::Pong(pb::Ping { token: 0 }));
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("send 1: Ack")).count() as u64, count);
    let toggles: Vec<_> = lines.iter().filter(|line| line.ends_with("pause 1")).collect();
    assert_eq!(toggles.first().unwrap().as_str(), "pause 1");
    assert_eq!(toggles.last().unwrap().as_str(), "unpause 1");
    assert!(toggles.chunks(2).all(|pair| pair == ["pause 1", "unpause 1"]), "{toggles:?}");
    assert_eq!(rig.server.stats().pauses * 2, toggles.len() as u64);
}

#[test]
fn a_paused_peer_is_not_called_silent_but_a_dead_one_is() {
    let mut rig = ServerRig::new();
    rig.join(1, "Foo");
    rig.receive(1, &to_server((0..100_000).map(|_| Kind::Pong(pb::Ping { token: 1 }))));
    let lines = rig.wait(secs(40));
    assert!(!lines.iter().any(|line| line.starts_with("close")), "{lines:?}");
    let lines = rig.wait(secs(60));
    assert_eq!(lines.last().unwrap(), "close 1: silent for 15 s");
}

#[test]
fn a_reader_too_slow_is_closed_and_may_come_back() {
    let mut rig = three();
    assert_lines(
        &rig.input(Input::Overflowed { peer: Peer::new(1) }),
        &["send 1: Closing TooSlow", "close 1: too much is waiting to be read"],
    );
    assert_lines(&rig.input(Input::Overflowed { peer: Peer::new(1) }), &NOTHING);
    assert_lines(&rig.input(Input::Overflowed { peer: Peer::new(77) }), &NOTHING);
    assert_lines(&rig.input(Input::Closed { peer: Peer::new(77) }), &NOTHING);
    assert!(rig.resume(4, 1, 0)[0].starts_with("event Resumed"));
}

// Peers that make no sense.

#[test]
fn whoever_never_says_hello_is_closed_after_10_s() {
    let mut rig = ServerRig::new();
    rig.accept(1);
    rig.now = rig.now + secs(9);
    // Life is no hello: neither pings nor half a frame buy time.
    assert_lines(&rig.send(1, Kind::Ping(pb::Ping { token: 5 })), &["send 1: Pong 5"]);
    assert_lines(&rig.receive(1, &[0, 0]), &NOTHING);
    assert_lines(&rig.wait(millis(999)), &NOTHING);
    assert_lines(&rig.wait(millis(1)), &["send 1: Closing Timeout", "close 1: no hello within 10 s"]);
    assert_eq!(rig.server.poll_timeout(), None);
}

#[test]
fn the_first_frame_may_not_be_large_and_none_may_be_huge() {
    let oversized = |limit: usize| {
        let announced = limit + 1;
        format!("close 1: a frame of {announced} bytes was announced, at most {limit} are allowed")
    };
    let announce = |limit: usize| u32::try_from(limit + 1).unwrap().to_be_bytes();
    let mut rig = ServerRig::new();
    rig.accept(1);
    assert_lines(
        &rig.receive(1, &announce(limits::HELLO_BYTES)),
        &["send 1: Closing ProtocolError", &oversized(limits::HELLO_BYTES)],
    );
    rig.join(1, "Foo");
    assert_lines(&rig.receive(1, &announce(limits::HELLO_BYTES)), &NOTHING);
    rig.join(2, "Bar");
    rig.close(1);
    rig.resume(1, 1, 2);
    assert_lines(
        &rig.receive(1, &announce(limits::FRAME_BYTES)),
        &["send 1: Closing ProtocolError", &oversized(limits::FRAME_BYTES)],
    );
}

#[test]
fn garbage_closes_the_peer_that_sent_it_and_nobody_else() {
    let mut rig = three();
    let mut garbage = vec![];
    frame::write(&mut garbage, |out| out.extend_from_slice(&[0xff; 9]));
    assert_lines(
        &rig.receive(1, &garbage),
        &["send 1: Closing ProtocolError", "close 1: what was received is not chinwag/1"],
    );
    assert_eq!(rig.send(2, say(1, 1, "still here")).len(), 2);
}

#[test]
fn a_message_out_of_place_closes_its_sender() {
    let out_of_place = ["send 4: Closing ProtocolError", "close 4: a message came where it has no place"];
    for kind in [say(1, 1, "too early"), path(Path::Udp)] {
        let mut rig = three();
        rig.accept(4);
        assert_lines(&rig.send(4, kind), &out_of_place);
    }
    let mut rig = three();
    rig.join(4, "Qux");
    assert_lines(&rig.send(4, Kind::Hello(hello("Qux"))), &out_of_place);
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    let mut rig = ServerRig::new();
    rig.accept(1);
    let refused = [
        r#"send 1: Refused Version """#,
        "close 1: this server speaks version 1 of the protocol and the client does not; update the older one",
    ];
    let versions = vec![2, 3];
    assert_lines(&rig.send(1, Kind::Hello(pb::Hello { versions, ..hello("Foo") })), &refused);
    rig.accept(1);
    let versions = vec![2, 1];
    assert_eq!(rig.send(1, Kind::Hello(pb::Hello { versions, ..hello("Foo") })).len(), 3);
}

#[test]
fn unknown_messages_are_skipped_and_counted() {
    let mut rig = three();
    assert_lines(&rig.receive(1, &[0, 0, 0, 4, 0x8a, 1, 1, 0, 0, 0, 0, 0]), &NOTHING);
    assert_eq!(rig.server.stats().unknown_messages, 2);
}

#[test]
fn so_many_may_wait_with_their_hello_and_one_more_is_closed() {
    let mut rig = ServerRig::new();
    let last = limits::PENDING_HELLOS as u32;
    for peer in 0..last {
        assert_lines(&rig.accept(peer), &NOTHING);
    }
    let busy = |n: u32| {
        [
            format!("send {n}: Closing Unknown"),
            format!("close {n}: too many connections at once; try again in a moment"),
        ]
    };
    assert_eq!(rig.accept(last), busy(last));
    assert_eq!(rig.server.audit(), Ok(()));
    rig.send(0, Kind::Hello(hello("Foo")));
    assert_lines(&rig.accept(last + 1), &NOTHING);
    assert_eq!(rig.accept(last + 2), busy(last + 2));
    rig.close(5);
    assert_lines(&rig.accept(5), &NOTHING);
}

#[test]
fn a_handle_that_is_given_out_again_ends_what_it_stood_for() {
    let mut rig = three();
    rig.accept(1);
    rig.accept(1);
    assert_lines(&rig.wait(secs(5)), &NOTHING);
    rig.send(2, Kind::Pong(pb::Ping { token: 0 }));
    rig.send(3, Kind::Pong(pb::Ping { token: 0 }));
    assert_lines(&rig.wait(secs(3)), &["event Left r1 Foo=s1.0 Lost", "send 2,3: Left r1 Foo=s1.0 Lost"]);
    assert_lines(&rig.wait(secs(2)), &["send 1: Closing Timeout", "close 1: no hello within 10 s"]);
    assert_eq!(rig.server.peer_of(session(1, 0)), None);
}

/// What the server wants done; nobody does it.
fn outputs(rig: &mut ServerRig) -> Vec<String> {
    std::iter::from_fn(|| rig.server.poll_output().as_ref().map(server_output)).collect()
}

#[test]
fn undrained_output_comes_out_whole_and_in_order() {
    let inputs = |rig: &mut ServerRig, drain: &mut dyn FnMut(&mut ServerRig)| {
        for peer in 1..=3 {
            rig.feed(Input::Accepted { peer: Peer::new(peer), dialect: Dialect::Native });
            drain(rig);
            let bytes = to_server([Kind::Hello(hello(&format!("n{peer}"))), say(1, 1, "a"), say(1, 2, "b")]);
            rig.feed(Input::Received { peer: Peer::new(peer), bytes: &bytes });
            drain(rig);
        }
        let mut bytes = vec![];
        control::write_voice(&mut bytes, &voice(session(1, 0), 1, &[1]));
        rig.feed(Input::Received { peer: Peer::new(1), bytes: &bytes });
        drain(rig);
        rig.feed(Input::Voice { payload: &voice(session(1, 0), 1, &[1]), to: &[session(1, 1)] });
        drain(rig);
        rig.feed(Input::Closed { peer: Peer::new(2) });
        rig.now = rig.now + secs(8);
        rig.server.handle_timeout(rig.now);
        drain(rig);
        rig.feed(Input::Shutdown);
        drain(rig);
    };
    let (mut one, mut all) = (vec![], ServerRig::new());
    inputs(&mut ServerRig::new(), &mut |rig| one.extend(outputs(rig)));
    inputs(&mut all, &mut |_| {});
    assert_eq!(outputs(&mut all), one);
    assert!(one.len() > 25);
}

#[test]
fn outputs_that_wait_are_due_at_once() {
    let mut rig = three();
    assert!(rig.server.poll_timeout() > Some(rig.now));
    rig.feed(Input::Overflowed { peer: Peer::new(1) });
    assert!(rig.server.poll_timeout() <= Some(rig.now));
    rig.drain();
    assert!(rig.server.poll_timeout() > Some(rig.now));
}

#[test]
fn whatever_the_history_a_welcome_fits_into_a_queue() {
    let mut rig = ServerRig::new();
    rig.join(1, &"\u{1f600}".repeat(32));
    rig.join(2, "late");
    rig.close(2);
    let text = "x".repeat(limits::MESSAGE_BYTES);
    for id in 1..=limits::HISTORY_MESSAGES as u64 {
        rig.send(1, say(1, id, &text));
        rig.now = rig.now + Duration::from_millis(40);
        rig.timeout();
    }
    let hello = rig.hello_again(2, 0, "late");
    rig.accept(3);
    let bytes = to_server([Kind::Hello(hello)]);
    rig.feed(Input::Received { peer: Peer::new(3), bytes: &bytes });
    let mut sent = 0;
    while let Some(output) = rig.server.poll_output() {
        if let Output::Send { bytes, to, .. } = output
            && to.contains(&Peer::new(3))
        {
            sent += bytes.len();
        }
    }
    assert!(sent > limits::HISTORY_MESSAGES * limits::MESSAGE_BYTES);
    // What is not in this welcome: the names around as many small messages as there may be, and the members.
    let rest = (limits::HISTORY_MESSAGES + limits::SESSIONS) * 170;
    assert!(sent + rest < limits::CONTROL_QUEUE_BYTES - 1024 * 1024, "{sent} + {rest}");
}
