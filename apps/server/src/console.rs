//! What the operator sees: connections, joins and leaves on standard output, the rest in the log.

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, UdpSocket},
};

use chinwag_proto::{
    hub::LeaveReason,
    link::{Fingerprint, Link},
    server::{CloseCause, ServerEvent, ServerStats},
};
use chinwag_transport_mio::server::{DatagramStats, Observation};

/// Lines on standard output, until nobody reads them any more.
#[derive(Debug)]
pub(crate) struct Console {
    is_open: bool,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { is_open: true }
    }

    /// Prints a line. When standard output is gone, the server serves on in silence.
    pub(crate) fn line(&mut self, text: &str) {
        if self.is_open {
            let mut out = io::stdout().lock();
            self.is_open = writeln!(out, "{text}").and_then(|()| out.flush()).is_ok();
        }
    }

    pub(crate) fn observe(&mut self, observation: &Observation<'_>) {
        match observation {
            Observation::Connected { from } => self.line(&format!("{} has connected.", plain(*from))),
            Observation::Event(ServerEvent::Joined { name }) => {
                self.line(&format!("{name} has joined the chat!"));
            }
            Observation::Event(ServerEvent::Resumed { name }) => self.line(&format!("{name} is back.")),
            Observation::Event(ServerEvent::Left { name, reason }) => {
                let how = match reason {
                    LeaveReason::Quit => "",
                    LeaveReason::Lost => " (connection lost)",
                    LeaveReason::Removed => " (removed)",
                };
                self.line(&format!("{name} has left the chat.{how}"));
            }
            Observation::Closed { from, cause } => {
                let from = plain(*from);
                match cause {
                    CloseCause::Quit | CloseCause::Shutdown | CloseCause::Replaced => {
                        tracing::debug!("{from} closed: {cause}");
                    }
                    CloseCause::Refused(_) | CloseCause::Version | CloseCause::Busy => {
                        tracing::info!("{from} not let in: {cause}");
                    }
                    CloseCause::Oversized(_)
                    | CloseCause::Undecodable
                    | CloseCause::OutOfOrder
                    | CloseCause::HelloTimeout
                    | CloseCause::Silent
                    | CloseCause::TooSlow => tracing::warn!("{from} dropped: {cause}"),
                }
            }
            Observation::Lost { from, error: Some(error) } => {
                tracing::info!("{} lost: {error}", plain(*from));
            }
            Observation::Lost { from, error: None } => tracing::debug!("{} ended", plain(*from)),
            Observation::Trouble(trouble) => tracing::error!("{trouble}"),
        }
    }

    /// The last line of the log: what was done and what was dropped.
    pub(crate) fn summary(&mut self, stats: &ServerStats, datagrams: &DatagramStats) {
        let ServerStats { messages, voice_in, voice_out, .. } = stats;
        let refused =
            stats.voice_malformed + stats.voice_forged + stats.voice_over_rate + stats.voice_homeless;
        tracing::info!(
            "stopped: {messages} messages, {voice_in} voice packets in, {voice_out} out, {refused} refused; \
             datagrams: {} opened, {} sent, {} unsent, {} not ours, {} replayed, {} forged; {} voice frames dropped for slow readers",
            datagrams.received,
            datagrams.sent,
            datagrams.unsent,
            datagrams.not_ours,
            datagrams.replayed,
            datagrams.forged,
            datagrams.voice_dropped,
        );
    }
}

/// An IPv4 address in IPv6 clothes, as a dual-stack socket reports it, without them.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A link for each address; for a wildcard address, one with the address by which others most likely reach this
/// machine.
pub(crate) fn links(
    addresses: impl Iterator<Item = SocketAddr>,
    fingerprint: Fingerprint,
) -> impl Iterator<Item = Link> {
    addresses.map(move |address| {
        let ip = if address.ip().is_unspecified() { outward_address() } else { address.ip() };
        let (host, port) = (ip.to_string(), address.port());
        Link { host, port, room: None, fingerprint: Some(fingerprint) }
    })
}

/// The source address that the system would use towards the Internet (nothing is sent); loopback without a route.
fn outward_address() -> IpAddr {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    // TEST-NET-1 (RFC 5737): an address that nobody has.
    let probe = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0))
        .and_then(|socket| socket.connect(("192.0.2.1", 9)).map(|()| socket))
        .and_then(|socket| socket.local_addr());
    probe.map_or(loopback, |address| address.ip())
}
