//! A server among peers who mean ill, and a client at a server that does: nobody else is to notice.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use chinwag_proto::{
    Instant, SessionId,
    client::{Client, ClientConfig, ClientEvent, EndReason},
    link::Link,
    wire::{
        chinwag1 as pb,
        control::{self, Body},
        frame::FrameReader,
        voice::VoiceFrame,
    },
};
use chinwag_transport_mio::{
    client::{ClientLoop, ClientOptions, Handler},
    descriptors,
    server::PENDING_PER_ADDRESS,
    trust::KnownHosts,
};
use rustls::{
    ClientConfig as TlsClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use self::common::{PATIENCE, RunningClient, RunningServer};

/// Believes everything.
#[derive(Debug)]
struct Gullible(CryptoProvider);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A peer that can send whatever it likes within TLS.
struct RawPeer(StreamOwned<ClientConnection, TcpStream>);

impl RawPeer {
    fn connect(to: SocketAddr, alpn: &[&[u8]]) -> Self {
        let provider = Arc::new(default_provider());
        let mut tls = TlsClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible(default_provider())))
            .with_no_client_auth();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let tls = ClientConnection::new(Arc::new(tls), "chinwag".try_into().unwrap()).unwrap();
        Self(StreamOwned::new(tls, connect_from(Ipv4Addr::LOCALHOST, to)))
    }

    fn say(&mut self, kind: pb::to_server::Kind) -> io::Result<()> {
        let mut bytes = vec![];
        control::write_to_server(&mut bytes, kind);
        self.0.write_all(&bytes)
    }

    /// Messages until the server closes.
    fn rest(&mut self) -> Vec<pb::to_client::Kind> {
        let mut bytes = vec![];
        // However it ends.
        let _ = self.0.read_to_end(&mut bytes);
        let (mut reader, mut messages) = (FrameReader::default(), vec![]);
        reader.push(&bytes);
        while let Some(body) = reader.next_frame(1 << 20).unwrap() {
            if let Body::Message(message) = control::decode_to_client(body).unwrap() {
                messages.push(message);
            }
        }
        messages
    }
}

fn hello(name: &str) -> pb::to_server::Kind {
    let (versions, name) = (vec![control::VERSION], name.to_owned());
    let rooms = vec![pb::Claim { key: 1, ..Default::default() }];
    pb::to_server::Kind::Hello(pb::Hello { versions, name, rooms, ..Default::default() })
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// True when the server closed this connection; waits until it did.
fn is_closed(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_address_cannot_keep_newcomers_out() {
    let folder = tempfile::tempdir().unwrap();
    // Both ends of every connection are in this process.
    descriptors::raise_limit();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    // As many as may wait to be let in; then some more, which are closed at once.
    let waiting: Vec<_> = (0..PENDING_PER_ADDRESS).map(|_| connect_from(elsewhere, server.address)).collect();
    for _ in 0..50 {
        assert!(is_closed(&mut connect_from(elsewhere, server.address)));
    }
    let foo = RunningClient::join(server.address, None, &folder.path().join("known_hosts"), "Foo");
    foo.until_event("welcome", |event| matches!(event, ClientEvent::Welcome { .. }));
    // The operator is told once, not fifty times.
    let told = server.until_observed("Lossy");
    assert!(told.contains("crowded: 50") && told.contains("127.0.0.2"), "{told}");
    // Who goes makes room.
    drop(waiting);
    for _ in 0..PENDING_PER_ADDRESS {
        server.until_observed("Lost");
    }
    let mut again = RawPeer::connect(server.address, &[control::ALPN]);
    again.say(hello("Again")).unwrap();
    server.until_observed("Again");
    assert_eq!(foo.quit(), EndReason::Quit);
    drop(again);
    server.stop();
}

#[test]
fn those_who_are_in_do_not_count_as_waiting() {
    let folder = tempfile::tempdir().unwrap();
    descriptors::raise_limit();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let here = Ipv4Addr::LOCALHOST;
    let waiting: Vec<_> = (1..PENDING_PER_ADDRESS).map(|_| connect_from(here, server.address)).collect();
    let members: Vec<_> = (0..3)
        .map(|number| {
            let mut peer = RawPeer::connect(server.address, &[control::ALPN]);
            peer.say(hello(&format!("m{number}"))).unwrap();
            server.until_observed(&format!("m{number}"));
            peer
        })
        .collect();
    let mut last = connect_from(here, server.address);
    assert!(is_closed(&mut connect_from(here, server.address)));
    last.set_nonblocking(true).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop((waiting, members, last));
    server.stop();
}

#[test]
fn connections_beyond_one_turn_are_accepted_without_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut waiting = vec![];
    let server = RunningServer::start_after(&folder.path().join("data"), 0, |address| {
        waiting.extend((0..200).map(|_| connect_from(Ipv4Addr::LOCALHOST, address)));
    });
    for _ in 0..200 {
        server.until_observed("Connected");
    }
    drop(waiting);
    server.stop();
}

#[test]
fn only_those_who_ask_for_the_protocol_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    for alpn in [&[][..], &[b"h2".as_slice()][..]] {
        let mut peer = RawPeer::connect(server.address, alpn);
        // The handshake may fail already.
        let _ = peer.say(hello("Foo"));
        assert_eq!(peer.rest(), []);
        server.until_observed("Lost");
    }
    server.stop();
}

#[test]
fn who_talks_nonsense_is_told_what_was_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let server = RunningServer::start(&folder.path().join("data"), 0);
    let say = pb::to_server::Kind::Say(pb::Say { room: 0, id: 1, text: "early".into() });
    let mut early = vec![];
    control::write_to_server(&mut early, say);
    for (bytes, cause) in [
        (&[0x7f, 0xff, 0xff, 0xff][..], "Oversized"),
        (&[0, 0, 0, 3, 0xff, 0xff, 0xff][..], "Undecodable"),
        (&early, "OutOfOrder"),
    ] {
        let mut peer = RawPeer::connect(server.address, &[control::ALPN]);
        peer.0.write_all(bytes).unwrap();
        server.until_observed(cause);
        let told = peer.rest();
        assert!(matches!(told[..], [pb::to_client::Kind::Closing(_)]), "{cause}: {told:?}");
    }
    server.stop();
}

/// A server of the test's own making, for one client: it answers the hello and then sends `flood` for as long as it is
/// read, and reads nothing itself.
fn flooding_server(flood: Vec<u8>) -> (SocketAddr, thread::JoinHandle<()>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["flood".into()]).unwrap().self_signed(&pair).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![control::ALPN.to_vec()];
    let tls = Arc::new(tls);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), socket);
        // The hello, or its beginning.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let welcome = pb::Welcome { version: 1, session: 1, name: "Foo".into(), ..Default::default() };
        let mut bytes = vec![];
        control::write_to_client(&mut bytes, pb::to_client::Kind::Welcome(welcome));
        stream.write_all(&bytes).unwrap();
        // Until the client goes.
        while stream.write_all(&flood).is_ok() {}
    });
    (address, thread)
}

/// Quits once it had enough turns.
#[derive(Default)]
struct Patient {
    heard_in_turn: u64,
    most_heard_in_turn: u64,
    turns_with_voice: u64,
    reconnecting: bool,
}

impl Handler for Patient {
    fn event(&mut self, _now: Instant, event: ClientEvent) {
        self.reconnecting |= matches!(event, ClientEvent::Reconnecting { .. });
    }

    fn voice(&mut self, _now: Instant, _payload: &[u8]) {
        self.heard_in_turn += 1;
    }

    fn notice(&mut self, _text: &str) {}

    fn tend(&mut self, now: Instant, client: &mut Client) {
        self.turns_with_voice += u64::from(self.heard_in_turn > 0);
        self.most_heard_in_turn = self.most_heard_in_turn.max(self.heard_in_turn);
        self.heard_in_turn = 0;
        if self.turns_with_voice > 50 || self.reconnecting {
            client.quit(now);
        }
    }
}

fn client_at(address: SocketAddr, known_hosts: KnownHosts) -> ClientLoop {
    let (host, port) = (IpAddr::to_string(&address.ip()), address.port());
    let link = Link { host, port, room: None, fingerprint: None };
    let config =
        ClientConfig { name: "Foo".into(), rooms: vec![String::new()], software: "test".into(), history: 0 };
    ClientLoop::new(ClientOptions { link, known_hosts, config }).unwrap()
}

#[test]
fn a_user_can_leave_a_server_that_never_stops_talking() {
    let folder = tempfile::tempdir().unwrap();
    let mut flood = vec![];
    let talker = SessionId::from_wire(2);
    let frame = VoiceFrame { talker, sequence: 1, end: false, level: 30, opus: &[7; 100] };
    let mut payload = vec![];
    assert!(frame.write(&mut payload));
    for _ in 0..1000 {
        control::write_voice(&mut flood, &payload);
    }
    let a_frame = flood.len() / 1000;
    let (address, server) = flooding_server(flood);
    let mut patient = Patient::default();
    let end = client_at(address, KnownHosts::new(folder.path().join("known"))).run(&mut patient).unwrap();
    assert_eq!(end, EndReason::Quit);
    // What a turn reads is bounded, however much there is: else nobody would know when the user has his turn.
    let at_most = (128 + 16) * 1024 / a_frame;
    assert!(patient.most_heard_in_turn <= at_most as u64, "{} {at_most}", patient.most_heard_in_turn);
    server.join().unwrap();
}

#[test]
fn a_server_that_asks_and_never_reads_loses_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let mut flood = vec![];
    for token in 0..2000 {
        control::write_to_client(&mut flood, pb::to_client::Kind::Ping(pb::Ping { token }));
    }
    let (address, server) = flooding_server(flood);
    let mut patient = Patient::default();
    client_at(address, KnownHosts::new(folder.path().join("known"))).run(&mut patient).unwrap();
    // The answers piled up to their limit, and not beyond.
    assert!(patient.reconnecting);
    server.join().unwrap();
}
