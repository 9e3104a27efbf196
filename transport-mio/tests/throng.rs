//! Many clients on one loop against a server, over real sockets on loopback.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chinwag_proto::{
    client::{ClientConfig, ClientEvent, EndReason, PlaceId},
    link::Fingerprint,
    relay::VoicePath,
    wire::voice::{Frames, VoiceFrame},
};
use chinwag_transport_mio::{
    clock,
    throng::{Handler, Throng, ThrongOptions},
};

use self::common::{PATIENCE, RunningServer};

/// What the members were told.
#[derive(Default)]
struct Notes {
    events: Vec<(usize, ClientEvent)>,
    /// Member, Opus bytes, time.
    voice: Vec<(usize, Vec<u8>, u64)>,
    lost: Vec<String>,
}

impl Handler for Notes {
    fn event(&mut self, member: usize, event: ClientEvent) {
        self.events.push((member, event));
    }

    fn voice(&mut self, member: usize, payload: &[u8], received_ns: u64) {
        for frame in Frames::parse(payload).unwrap() {
            self.voice.push((member, frame.opus.to_vec(), received_ns));
        }
    }

    fn lost(&mut self, _member: usize, why: &str) {
        self.lost.push(why.to_owned());
    }
}

impl Notes {
    fn count(&self, wanted: impl Fn(&ClientEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }

    /// Who has heard anything.
    fn listeners(&self) -> BTreeSet<usize> {
        self.voice.iter().map(|(member, ..)| *member).collect()
    }
}

fn throng(server: &RunningServer, fingerprint: Option<Fingerprint>, look_every: Duration) -> Throng {
    let options = ThrongOptions { server: server.address, host: "localhost".into(), fingerprint, look_every };
    Throng::new(options).unwrap()
}

fn add(throng: &mut Throng, notes: &mut Notes) -> usize {
    let name = format!("Foo{}", throng.len());
    let config = ClientConfig { name, rooms: vec!["crowded".into()], software: "test".into(), history: 0 };
    throng.add(config, notes).unwrap()
}

/// Turns until `done`.
fn until(throng: &mut Throng, notes: &mut Notes, what: &str, done: impl Fn(&Throng, &Notes) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(throng, notes) {
        assert!(Instant::now() < deadline, "{what} never came: {:?} {:?}", notes.events, notes.lost);
        throng.turn(clock::now_ns() + 10_000_000, notes).unwrap();
    }
}

fn is_udp(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Path(VoicePath::Udp))
}

#[test]
fn members_hear_and_read_each_other_however_they_listen() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    for look_every in [Duration::ZERO, Duration::from_micros(300)] {
        let (mut throng, mut notes) = (throng(&server, None, look_every), Notes::default());
        for _ in 0..5 {
            add(&mut throng, &mut notes);
        }
        until(&mut throng, &mut notes, "UDP", |_, notes| notes.count(is_udp) == 5);
        throng.act(1, &mut notes, |client, _| client.say(PlaceId::FIRST, "hello").unwrap()).unwrap();
        let is_hello =
            |event: &ClientEvent| matches!(event, ClientEvent::Said { text, .. } if text == "hello");
        until(&mut throng, &mut notes, "hello", |_, notes| notes.count(is_hello) == 5);

        let before = clock::real_ns();
        let deadline = Instant::now() + PATIENCE;
        let mut sequence = 0;
        // A machine that is busy may lose a frame, but not all.
        while notes.listeners().len() < 4 {
            assert!(Instant::now() < deadline, "voice never came: {:?} {:?}", notes.voice, notes.lost);
            sequence += 1;
            throng.act(2, &mut notes, |client, now| {
                let talker = client.session().unwrap();
                client.send_voice(
                    now,
                    [VoiceFrame { talker, sequence, end: false, level: 0, opus: &[42; 99] }],
                );
            });
            let next_ns = clock::now_ns() + 20_000_000;
            while notes.listeners().len() < 4 && clock::now_ns() < next_ns {
                throng.turn(next_ns, &mut notes).unwrap();
            }
        }
        assert!(notes.listeners().into_iter().eq([0, 1, 3, 4]), "{:?}", notes.voice);
        assert!(notes.voice.iter().all(|(_, opus, _)| *opus == [42; 99]), "{:?}", notes.voice);
        let slack = 10_000_000;
        assert!(
            notes.voice.iter().all(|(.., time)| (before - slack..=clock::real_ns() + slack).contains(time))
        );
        if cfg!(target_os = "linux") {
            assert_eq!(throng.kernel_drops(), Some(0));
        }

        assert_eq!(notes.lost, [""; 0]);
        for member in 0..throng.len() {
            throng.act(member, &mut notes, |client, now| client.quit(now));
        }
        let has_quit = |event: &ClientEvent| *event == ClientEvent::Ended(EndReason::Quit);
        until(&mut throng, &mut notes, "the end", |_, notes| notes.count(has_quit) == 5);
        assert_eq!(throng.act(5, &mut notes, |_, _| ()), None, "there is no such member");
    }
    server.stop();
}

#[test]
fn members_come_back_when_the_server_starts_again_and_not_to_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let port = server.address.port();
    let (mut throng, mut notes) = (throng(&server, None, Duration::from_millis(1)), Notes::default());
    add(&mut throng, &mut notes);
    until(&mut throng, &mut notes, "UDP", |_, notes| notes.count(is_udp) == 1);
    server.stop();
    let is_lost = |event: &ClientEvent| matches!(event, ClientEvent::Reconnecting { .. });
    until(&mut throng, &mut notes, "the loss", |_, notes| notes.count(is_lost) == 1);
    let server = RunningServer::start(&folder.path().join("data"), port);
    until(&mut throng, &mut notes, "UDP", |_, notes| notes.count(is_udp) == 2);
    server.stop();
    // At the same place, with other keys: whom the first one trusted is trusted, nobody else.
    let server = RunningServer::start(&folder.path().join("other"), port);
    notes.lost.clear();
    until(&mut throng, &mut notes, "the refusal", |_, notes| {
        notes.lost.iter().any(|why| why.contains("another fingerprint"))
    });
    assert_eq!(notes.count(is_udp), 2);
    server.stop();
}

#[test]
fn a_server_with_another_fingerprint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    for (fingerprint, is_right) in [(Fingerprint::new([1; 32]), false), (server.fingerprint, true)] {
        let (mut throng, mut notes) = (throng(&server, Some(fingerprint), Duration::ZERO), Notes::default());
        add(&mut throng, &mut notes);
        until(&mut throng, &mut notes, "a verdict", |throng, notes| {
            throng.client(0).unwrap().is_in()
                || notes.count(|event| *event == ClientEvent::Ended(EndReason::Unreachable)) == 1
        });
        assert_eq!((throng.client(0).unwrap().is_in(), notes.lost.is_empty()), (is_right, is_right));
    }
    server.stop();
}
