//! The two loops against each other over real sockets on loopback, in one process.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::{Ipv4Addr, SocketAddr};

use chinwag_proto::{
    client::{ClientEvent, EndReason},
    link::Fingerprint,
    relay::VoicePath,
    wire::voice::Frames,
};
use chinwag_transport_mio::{client::ClientError, trust::KnownHosts};

use self::common::{RunningClient, RunningServer, Seen, Wish};

#[test]
fn text_and_sealed_voice_go_from_one_client_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let known = folder.path().join("known_hosts");
    let foo = RunningClient::join(server.address, Some(server.fingerprint), &known, "Foo");
    foo.until_event("UDP", |event| matches!(event, ClientEvent::Path(VoicePath::Udp)));
    let bar = RunningClient::join(server.address, None, &known, "Bar");
    bar.until_event("UDP", |event| matches!(event, ClientEvent::Path(VoicePath::Udp)));
    foo.until_event("Bar", |event| matches!(event, ClientEvent::Joined { name, .. } if name == "Bar"));
    foo.wish(Wish::Say("hello".into()));
    bar.until_said("hello");
    foo.until_said("hello");

    // A message behind it shows that the server knows Bar's choice of path by now.
    bar.wish(Wish::Say("ready".into()));
    foo.until_said("ready");
    foo.wish(Wish::Talk(vec![42; 99]));
    let payload = bar.until("voice", |seen| match seen {
        Seen::Voice(payload) => Some(payload),
        Seen::Event(_) => None,
    });
    let frames: Vec<_> = Frames::parse(&payload).unwrap().collect();
    assert_eq!((frames.len(), frames[0].sequence, frames[0].opus), (1, 7, &[42; 99][..]));

    assert_eq!(foo.quit(), EndReason::Quit);
    bar.until_event("Foo left", |event| matches!(event, ClientEvent::Left { name, .. } if name == "Foo"));
    assert_eq!(bar.quit(), EndReason::Quit);
    server.stop();
}

#[test]
fn clients_come_back_when_the_server_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = RunningServer::start(&data, 0);
    let (address, known) = (server.address, folder.path().join("known_hosts"));
    let foo = RunningClient::join(address, None, &known, "Foo");
    foo.until_event("welcome", |event| matches!(event, ClientEvent::Welcome { .. }));
    server.stop();
    foo.until_event("reconnecting", |event| matches!(event, ClientEvent::Reconnecting { .. }));
    foo.wish(Wish::Say("said meanwhile".into()));
    let server = RunningServer::start(&data, address.port());
    foo.until_event("back", |event| matches!(event, ClientEvent::Welcome { again: true, .. }));
    foo.until_said("said meanwhile");
    assert_eq!(foo.quit(), EndReason::Quit);
    server.stop();
}

#[test]
fn another_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let known = folder.path().join("known_hosts");
    let stranger = Some(Fingerprint::new([7; 32]));
    let foo = RunningClient::join(server.address, stranger, &known, "Foo");
    let error = foo.thread.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { known_hosts: None, .. }), "{error}");

    KnownHosts::new(&known).set(&server.address.to_string(), Fingerprint::new([8; 32])).unwrap();
    let foo = RunningClient::join(server.address, None, &known, "Foo");
    let error = foo.thread.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { known_hosts: Some(_), .. }), "{error}");

    // Given in advance, the right one is accepted and remembered.
    let foo = RunningClient::join(server.address, Some(server.fingerprint), &known, "Foo");
    foo.until_event("welcome", |event| matches!(event, ClientEvent::Welcome { .. }));
    assert_eq!(foo.quit(), EndReason::Quit);
    let remembered = KnownHosts::new(&known).get(&server.address.to_string()).unwrap();
    assert_eq!(remembered, Some(server.fingerprint));
    server.stop();
}

#[test]
fn nobody_there_is_an_end_and_not_a_loop() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and not listening: nobody else can have this port meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let foo = RunningClient::join(address, None, &folder.path().join("known_hosts"), "Foo");
    assert_eq!(foo.thread.join().unwrap().unwrap(), EndReason::Unreachable);
}
