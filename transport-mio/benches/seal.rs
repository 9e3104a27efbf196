//! What the seal of the voice path costs: of one datagram, and beside all else that relaying takes.

#[path = "../src/seal.rs"]
mod seal;

use std::sync::Arc;

use chinwag_bench::VoiceRig;
use chinwag_proto::wire::path::{HEADER_BYTES, Seal as _, TAG_BYTES};
use divan::{Bencher, black_box};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, ServerName},
    version::TLS13,
};
use seal::{AesSeal, End};

/// One frame of 80 bytes of Opus, with its header.
const PAYLOAD_BYTES: usize = 92;
const NAME: &str = "chinwag";

fn main() {
    divan::main();
}

#[divan::bench]
fn seal_a_datagram(bencher: Bencher<'_, '_>) {
    let (server, _) = ends(&handshake());
    let (header, mut payload, mut counter) = ([1; HEADER_BYTES], [2; PAYLOAD_BYTES], 0);
    bencher.bench_local(|| {
        counter += 1;
        black_box(server.seal(counter, black_box(&header), &mut payload))
    });
}

#[divan::bench]
fn open_a_datagram(bencher: Bencher<'_, '_>) {
    let (server, client) = ends(&handshake());
    let (header, mut sealed) = ([1; HEADER_BYTES], [2; PAYLOAD_BYTES + TAG_BYTES]);
    let tag = client.seal(1, &header, &mut sealed[..PAYLOAD_BYTES]);
    sealed[PAYLOAD_BYTES..].copy_from_slice(&tag);
    bencher.bench_local(|| {
        let mut bytes = black_box(sealed);
        assert!(server.open(1, black_box(&header), &mut bytes));
    });
}

/// 10 ms of one talker to 100 listeners, all but the system's calls.
#[divan::bench]
fn one_talks_to_100(bencher: Bencher<'_, '_>) {
    let tls = handshake();
    let mut rig = VoiceRig::new(1, 100, || ends(&tls));
    bencher.bench_local(|| rig.talk(1));
    // What is dropped would be cheap.
    assert_eq!((rig.stats().forged, rig.stats().voice_over_rate), (0, 0));
}

/// Both ends' seals of one connection. Those of all members may be the same here: what one costs does not depend on it.
fn ends((server, client): &(Connection, Connection)) -> (AesSeal, AesSeal) {
    let seal = |tls, end| AesSeal::from_tls(tls, end).expect("the handshake is done");
    (seal(server, End::Server), seal(client, End::Client))
}

/// The server's and the client's end of a connection that goes over no network.
fn handshake() -> (Connection, Connection) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
        })
        .and_then(|config| ServerConnection::new(Arc::new(config)));
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .and_then(|config| {
            ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).expect("a name"))
        });
    let mut server = Connection::from(server.expect("a server"));
    let mut client = Connection::from(client.expect("a client"));
    while server.is_handshaking() || client.is_handshaking() {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
    (server, client)
}

fn pass(from: &mut Connection, to: &mut Connection) {
    let mut bytes = vec![];
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("memory takes all");
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).expect("memory gives all");
        to.process_new_packets().expect("both speak TLS 1.3");
    }
}
