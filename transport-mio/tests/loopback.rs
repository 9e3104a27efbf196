//! The two loops against each other over real sockets on loopback, in one process.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use chinwag_proto::{
    Instant,
    client::{Client, ClientConfig, ClientEvent, EndReason},
    link::{Fingerprint, Link},
    server::VoicePath,
    wire::voice::{Frames, VoiceFrame},
};
use chinwag_transport_mio::{
    client::{ClientError, ClientLoop, ClientOptions, Handler},
    identity::Identity,
    server::{ServerLoop, ServerOptions, StopHandle},
    trust::KnownHosts,
};

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct RunningServer {
    address: SocketAddr,
    fingerprint: Fingerprint,
    stop: StopHandle,
    thread: JoinHandle<()>,
}

impl RunningServer {
    fn start(data: &Path, port: u16) -> Self {
        let identity = Identity::load_or_make(data).unwrap();
        let fingerprint = identity.fingerprint();
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        let mut server = ServerLoop::bind(ServerOptions { listen, identity, max_clients: 100 }).unwrap();
        let (address, stop) = (server.addresses().next().unwrap(), server.stop_handle());
        let thread = thread::spawn(move || server.run(&mut |_| {}).unwrap());
        Self { address, fingerprint, stop, thread }
    }

    fn stop(self) {
        self.stop.stop().unwrap();
        self.thread.join().unwrap();
    }
}

#[derive(Debug)]
enum Seen {
    Event(ClientEvent),
    Voice(Vec<u8>),
}

enum Wish {
    Say(String),
    Talk(Vec<u8>),
    Quit,
}

struct Script {
    seen: Sender<Seen>,
    wishes: Receiver<Wish>,
}

impl Handler for Script {
    fn event(&mut self, _now: Instant, event: ClientEvent) {
        let _ = self.seen.send(Seen::Event(event));
    }

    fn voice(&mut self, _now: Instant, payload: &[u8]) {
        let _ = self.seen.send(Seen::Voice(payload.to_vec()));
    }

    fn notice(&mut self, _text: &str) {}

    fn tend(&mut self, now: Instant, client: &mut Client) {
        for wish in self.wishes.try_iter() {
            match wish {
                Wish::Say(text) => {
                    client.say(&text).unwrap();
                }
                Wish::Talk(opus) => {
                    let talker = client.session().unwrap();
                    let frame = VoiceFrame { talker, sequence: 7, end: false, level: 30, opus: &opus };
                    client.send_voice(now, &frame);
                }
                Wish::Quit => client.quit(now),
            }
        }
    }
}

struct RunningClient {
    seen: Receiver<Seen>,
    wishes: Sender<Wish>,
    waker: std::sync::Arc<chinwag_transport_mio::Waker>,
    thread: JoinHandle<Result<EndReason, ClientError>>,
}

impl RunningClient {
    fn join(address: SocketAddr, fingerprint: Option<Fingerprint>, known_hosts: &Path, name: &str) -> Self {
        let link = Link { host: address.ip().to_string(), port: address.port(), room: None, fingerprint };
        let config = ClientConfig { name: name.into(), room: String::new(), software: "test".into() };
        let known_hosts = KnownHosts::new(known_hosts);
        let mut client = ClientLoop::new(ClientOptions { link, known_hosts, config }).unwrap();
        let ((seen_by, seen), (wishes, wished)) = (channel(), channel());
        let waker = client.waker();
        let thread = thread::spawn(move || client.run(&mut Script { seen: seen_by, wishes: wished }));
        Self { seen, wishes, waker, thread }
    }

    fn wish(&self, wish: Wish) {
        self.wishes.send(wish).unwrap();
        self.waker.wake().unwrap();
    }

    fn until<T>(&self, what: &str, mut wanted: impl FnMut(Seen) -> Option<T>) -> T {
        loop {
            let seen = self.seen.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never saw: {what}"));
            if let Some(found) = wanted(seen) {
                return found;
            }
        }
    }

    fn until_event(&self, what: &str, mut wanted: impl FnMut(&ClientEvent) -> bool) {
        self.until(what, |seen| match seen {
            Seen::Event(event) => wanted(&event).then_some(()),
            Seen::Voice(_) => None,
        });
    }

    fn until_said(&self, text: &str) {
        self.until_event(text, |event| matches!(event, ClientEvent::Said { text: said, .. } if said == text));
    }

    fn quit(self) -> EndReason {
        self.wish(Wish::Quit);
        self.thread.join().unwrap().unwrap()
    }
}

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
