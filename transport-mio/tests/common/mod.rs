//! Running servers and clients, each in a thread of its own.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use chinwag_proto::{
    Instant, ReceiverReport, SessionId,
    client::{Client, ClientConfig, ClientEvent, EndReason, PlaceId},
    link::{Fingerprint, Link},
    wire::voice::{Frames, VoiceFrame},
};
use chinwag_transport_mio::{
    client::{ClientError, ClientLoop, ClientOptions, Handler},
    identity::Identity,
    server::{OperatorHandle, Order, PcmPace, ServerLoop, ServerOptions, Service, VoiceGateway, VoiceOut},
    trust::KnownHosts,
};

/// Far more than anything here takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct RunningServer {
    pub(crate) address: SocketAddr,
    /// Where it speaks as the classic programs do.
    pub(crate) classic: SocketAddr,
    pub(crate) classic_voice: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
    /// What its operator is told, in Rust's own notation.
    observed: Receiver<String>,
    pub(crate) operator: OperatorHandle,
    thread: JoinHandle<()>,
}

impl RunningServer {
    pub(crate) fn start(data: &Path, port: u16) -> Self {
        Self::start_after(data, port, |_| {})
    }

    /// Does something while the server listens already and does not run yet.
    pub(crate) fn start_after(data: &Path, port: u16, before: impl FnOnce(SocketAddr)) -> Self {
        let identity = Identity::load_or_make(data).unwrap();
        let fingerprint = identity.fingerprint();
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        let classic_text = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let options = ServerOptions {
            listen,
            classic_voice: classic_text.clone(),
            classic_text,
            identity,
            max_clients: 100,
            voice_hold: Duration::ZERO,
            voice_threads: NonZeroUsize::MIN.saturating_add(1),
        };
        let mut server = ServerLoop::bind(options).unwrap();
        let gateway = Box::new(Passing::default());
        server.set_gateway(gateway, PcmPace { rate_hz: 44_100, frame_bytes: 2 });
        let services = [Service::Native, Service::ClassicText, Service::ClassicVoice];
        let [address, classic, classic_voice] =
            services.map(|service| server.addresses(service).next().unwrap());
        let operator = server.operator_handle();
        before(address);
        let (tell, observed) = channel();
        let thread = thread::spawn(move || {
            // A test that looks no more is no reason to stop.
            server.run(&mut |observation| drop(tell.send(format!("{observation:?}")))).unwrap();
        });
        Self { address, classic, classic_voice, fingerprint, observed, operator, thread }
    }

    /// Waits until the operator is told something with `what` in it.
    pub(crate) fn until_observed(&self, what: &str) -> String {
        loop {
            let observed = self.observed.recv_timeout(PATIENCE);
            let observed = observed.unwrap_or_else(|_| panic!("never observed: {what}"));
            if observed.contains(what) {
                return observed;
            }
        }
    }

    pub(crate) fn stop(self) {
        self.operator.give(Order::Stop).unwrap();
        self.thread.join().unwrap();
    }
}

#[derive(Debug)]
pub(crate) enum Seen {
    Event(ClientEvent),
    Voice(Vec<u8>),
}

pub(crate) enum Wish {
    Say(String),
    Talk(Vec<u8>),
    Report(SessionId, ReceiverReport),
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
                    client.say(PlaceId::FIRST, &text).unwrap();
                }
                Wish::Talk(opus) => {
                    let talker = client.session().unwrap();
                    let frame = VoiceFrame { talker, sequence: 7, end: false, level: 30, opus: &opus };
                    client.send_voice(now, [frame]);
                }
                Wish::Report(talker, report) => client.report_voice(talker, report),
                Wish::Quit => client.quit(now),
            }
        }
    }
}

pub(crate) struct RunningClient {
    seen: Receiver<Seen>,
    wishes: Sender<Wish>,
    waker: std::sync::Arc<chinwag_transport_mio::Waker>,
    pub(crate) thread: JoinHandle<Result<EndReason, ClientError>>,
}

impl RunningClient {
    pub(crate) fn join(
        address: SocketAddr,
        fingerprint: Option<Fingerprint>,
        known_hosts: &Path,
        name: &str,
    ) -> Self {
        let link = Link { host: address.ip().to_string(), port: address.port(), room: None, fingerprint };
        let config = ClientConfig {
            name: name.into(),
            rooms: vec![String::new()],
            software: "test".into(),
            history: 0,
        };
        let known_hosts = KnownHosts::new(known_hosts);
        let mut client = ClientLoop::new(ClientOptions { link, known_hosts, config }).unwrap();
        let ((seen_by, seen), (wishes, wished)) = (channel(), channel());
        let waker = client.waker();
        let thread = thread::spawn(move || client.run(&mut Script { seen: seen_by, wishes: wished }));
        Self { seen, wishes, waker, thread }
    }

    pub(crate) fn wish(&self, wish: Wish) {
        self.wishes.send(wish).unwrap();
        self.waker.wake().unwrap();
    }

    pub(crate) fn until<T>(&self, what: &str, mut wanted: impl FnMut(Seen) -> Option<T>) -> T {
        loop {
            let seen = self.seen.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never saw: {what}"));
            if let Some(found) = wanted(seen) {
                return found;
            }
        }
    }

    pub(crate) fn until_event(&self, what: &str, mut wanted: impl FnMut(&ClientEvent) -> bool) {
        self.until(what, |seen| match seen {
            Seen::Event(event) => wanted(&event).then_some(()),
            Seen::Voice(_) => None,
        });
    }

    pub(crate) fn until_said(&self, text: &str) {
        self.until_event(text, |event| matches!(event, ClientEvent::Said { text: said, .. } if said == text));
    }

    pub(crate) fn quit(self) -> EndReason {
        self.wish(Wish::Quit);
        self.thread.join().unwrap().unwrap()
    }
}

/// A gateway that makes no sound of anything: what a classic member sends is the packet that natives get, and the other way round.
#[derive(Debug, Default)]
struct Passing {
    open: Vec<u32>,
    said: Vec<(u32, Vec<u8>)>,
    heard: Vec<(u32, Vec<u8>)>,
    /// The native who was heard last, and what is to be reported of him: what natives report of a classic member.
    native: u32,
    reports: Vec<ReceiverReport>,
}

impl VoiceGateway for Passing {
    fn open(&mut self, _now: Instant, session: u32) -> bool {
        self.open.push(session);
        true
    }

    fn close(&mut self, session: u32) {
        self.open.retain(|&other| other != session);
    }

    fn hear(&mut self, _now: Instant, payload: &[u8]) {
        for frame in Frames::parse(payload).unwrap() {
            let talker = frame.talker.to_wire();
            self.native = if self.open.contains(&talker) { self.native } else { talker };
            self.heard.push((talker, frame.opus.to_vec()));
        }
    }

    fn reported(&mut self, _now: Instant, session: u32, report: ReceiverReport) {
        assert!(self.open.contains(&session));
        self.reports.push(report);
    }

    fn pcm(&mut self, _now: Instant, session: u32, bytes: &[u8]) {
        self.said.push((session, bytes.to_vec()));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.said.len() + self.heard.len() + self.reports.len() > 0).then_some(Instant::ZERO)
    }

    fn handle_timeout(&mut self, _now: Instant, out: &mut dyn VoiceOut) {
        for (session, opus) in self.said.drain(..) {
            let talker = SessionId::from_wire(session);
            let mut payload = Vec::new();
            VoiceFrame { talker, sequence: 1, end: false, level: 30, opus: &opus }.write(&mut payload);
            out.send(session, &payload);
        }
        self.reports.drain(..).for_each(|report| out.report(self.native, report));
        for (talker, pcm) in self.heard.drain(..) {
            self.open
                .iter()
                .filter(|&&session| session != talker)
                .for_each(|&session| out.play(session, &pcm));
        }
    }
}
