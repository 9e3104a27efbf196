//! What the operator sees: connections, joins and leaves on standard output, the rest in the log.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use chinwag_proto::{
    hub::LeaveReason,
    limits,
    link::{Fingerprint, Link},
    name::Name,
    relay::RelayStats,
    server::{CloseCause, ServerEvent, ServerStats},
    text::escape,
};
use chinwag_transport_mio::server::{Losses, Observation, VoiceStats};

use crate::printer::{Kind, Printer, SUMMARY};

/// Lines on standard output and in the log.
#[derive(Clone, Debug)]
pub(crate) struct Console(Printer);

impl Console {
    pub(crate) fn new(out: Printer) -> Self {
        Self(out)
    }

    /// Prints a line of the start.
    pub(crate) fn line(&self, text: &str) {
        self.0.line(Kind::Start, text);
    }

    /// Prints what an operator wants to see; what he says himself only where he does not see it as he types it.
    pub(crate) fn observe(&self, observation: &Observation<'_>, sees_own_lines: bool) {
        match observation {
            Observation::Connected { from } => {
                self.0.line(Kind::Connection, &format!("{} has connected.", plain(*from)));
            }
            Observation::Event(event) => {
                if let Some((kind, line)) = told(event, sees_own_lines) {
                    self.0.line(kind, &line);
                }
            }
            Observation::Members(rooms) => {
                for (room, names) in rooms.iter().filter(|(_, names)| !names.is_empty()) {
                    self.0.line(Kind::Start, &format!("in {room}: {}", names.join(", ")));
                }
                if rooms.iter().all(|(_, names)| names.is_empty()) {
                    self.0.line(Kind::Start, "nobody is here");
                }
            }
            Observation::NobodyNamed(name) => {
                self.0.line(
                    Kind::Start,
                    &format!("nobody here is called {}; /who tells who is here", escape(name)),
                );
            }
            Observation::Closed { from, cause } => {
                let from = plain(*from);
                match cause {
                    CloseCause::Quit | CloseCause::Shutdown | CloseCause::Replaced | CloseCause::Removed => {
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
            Observation::Lossy(losses) => report(losses),
            Observation::CannotAccept(error) => {
                tracing::error!("cannot accept connections for the moment: {error}");
            }
            Observation::StoreFailed(error) => {
                tracing::error!("the history cannot be kept, and messages are refused: {error}");
            }
            Observation::HistoryTrouble(error) => {
                tracing::warn!("something of the history could not be read or forgotten: {error}");
            }
            Observation::StoreWorks => tracing::info!("the history is kept again"),
            Observation::CannotServe { from, error } => {
                tracing::error!("{} cannot be served: {error}", plain(*from));
            }
        }
    }

    /// The last line of the log: what was done and what was dropped.
    pub(crate) fn summary(&self, stats: &ServerStats, voice: &VoiceStats) {
        let ServerStats { messages, voice_homeless, not_kept, pages, pages_refused, store_pauses, .. } =
            stats;
        let VoiceStats { relay, sent, unsent, overflowed, handed_late, voice_dropped } = voice;
        let RelayStats { voice_in, voice_out, .. } = relay;
        let refused = voice.refused() + voice_homeless + relay.voice_over_rate;
        tracing::info!(
            target: SUMMARY,
            "stopped: {messages} messages, {voice_in} voice packets in, {voice_out} out, {refused} refused; \
             datagrams: {} opened, {sent} sent, {} unsent, {} not ours, {} replayed, {} forged, {overflowed} overflowed, \
             {} too late; {voice_dropped} voice frames dropped for slow readers; \
             history: {not_kept} messages not kept, {store_pauses} times somebody waited for the disk, {pages} pages and searches answered, \
             {pages_refused} refused",
            relay.received,
            unsent + relay.voice_unsent,
            relay.not_ours,
            relay.replayed,
            relay.forged,
            relay.stale + handed_late,
        );
    }
}

/// What was dropped or turned away since the last report.
fn report(losses: &Losses) {
    if losses.connections() > 0 {
        let Losses { crowded, beyond_table, accept_failures, queues_full, .. } = losses;
        let last = losses.last_crowded.filter(|_| *crowded > 0);
        let last = last.map(|from| format!(" (the last was {})", plain(from))).unwrap_or_default();
        tracing::warn!(
            target: SUMMARY,
            "turned away: {crowded} connections of crowded addresses{last}, {beyond_table} beyond the limit of all, \
             {queues_full} who read too slowly while memory was short; {accept_failures} times none could be accepted",
        );
    }
    if losses.history() > 0 {
        let Losses { not_kept, pages_refused, .. } = losses;
        tracing::warn!(
            target: SUMMARY,
            "history: {not_kept} messages not kept, which those who said them were told; {pages_refused} pages and searches refused",
        );
    }
    if losses.datagrams() > 0 {
        let Losses { not_ours, replayed, forged, unsent, voice_dropped, over_rate, voice_refused, .. } =
            losses;
        let Losses { overflowed, stale, .. } = losses;
        tracing::info!(
            target: SUMMARY,
            "dropped: datagrams {not_ours} not ours, {replayed} replayed, {forged} forged, {unsent} unsent, {overflowed} overflowed; \
             voice {stale} too late, {voice_dropped} for slow readers, {over_rate} too fast, {voice_refused} refused",
        );
    }
}

/// What the operator is told of an event.
fn told(event: &ServerEvent, sees_own_lines: bool) -> Option<(Kind, String)> {
    // The room that everybody is in first is not worth a word.
    let room = event.room_name().map(Name::as_str).filter(|room| *room != limits::DEFAULT_ROOM);
    let to = room.unwrap_or("the chat");
    Some(match event {
        ServerEvent::Joined { name, .. } => {
            let end = if room.is_some() { '.' } else { '!' };
            (Kind::Membership, format!("{name} has joined {to}{end}"))
        }
        ServerEvent::Left { name, reason, .. } => {
            let how = match reason {
                LeaveReason::Quit => "",
                LeaveReason::Lost => " (connection lost)",
                LeaveReason::Removed => " (removed)",
            };
            (Kind::Membership, format!("{name} has left {to}.{how}"))
        }
        ServerEvent::Resumed { name } => (Kind::Membership, format!("{name} is back.")),
        ServerEvent::Renamed { former, name, .. } => {
            (Kind::Change, format!("{former} is called {name} now."))
        }
        ServerEvent::Topic { topic, .. } => {
            let (room, by) = (room.unwrap_or(limits::DEFAULT_ROOM), &topic.by);
            let line = match &*topic.text {
                "" => format!("{by} has removed the topic of {room}."),
                text => format!("{by} has set the topic of {room}: {}", escape(text)),
            };
            (Kind::Change, line)
        }
        ServerEvent::Said { name, .. } if sees_own_lines && name.is_of_the_server() => return None,
        ServerEvent::Said { name, text, .. } => {
            let room = room.map(|room| format!("[{room}] ")).unwrap_or_default();
            (Kind::Said, format!("{room}{name}: {}", escape(text)))
        }
    })
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

#[cfg(test)]
mod tests {
    use chinwag_proto::{
        RoomId, Seq, SessionId,
        history::{Topic, UnixMillis},
    };

    use super::*;

    #[test]
    fn lines_say_in_which_room_it_was_unless_it_is_the_first_of_all() {
        let (room, member) = (RoomId::from_wire(2), SessionId::from_wire(1));
        let foo = || Name::new("Foo").unwrap();
        let line = |event| told(&event, false).unwrap().1;
        for (room_name, to, of, said) in
            [("den", "den", "den", "[den] "), (limits::DEFAULT_ROOM, "the chat", "lobby", "")]
        {
            let room_name = || Name::new(room_name).unwrap();
            let reason = LeaveReason::Lost;
            let left = ServerEvent::Left { room, room_name: room_name(), member, name: foo(), reason };
            assert_eq!(line(left), format!("Foo has left {to}. (connection lost)"));
            let joined = ServerEvent::Joined { room, room_name: room_name(), member, name: foo() };
            assert!(line(joined).starts_with(&format!("Foo has joined {to}")));
            let topic = Topic { text: "moles\u{1b}".into(), by: foo(), at: UnixMillis(0) };
            let about = told(&ServerEvent::Topic { room, room_name: room_name(), topic }, false);
            let (kind, about) = about.unwrap();
            assert_eq!(kind, Kind::Change);
            assert_eq!(about, format!("Foo has set the topic of {of}: moles{}", escape("\u{1b}")));
            let (seq, text) = (Seq::from_wire(1), "hello".into());
            let hello = ServerEvent::Said { room, room_name: room_name(), seq, member, name: foo(), text };
            assert_eq!(line(hello), format!("{said}Foo: hello"));
        }
        let renamed = ServerEvent::Renamed { member, former: foo(), name: Name::new("Bar").unwrap() };
        assert_eq!(told(&renamed, false), Some((Kind::Change, "Foo is called Bar now.".to_owned())));
    }
}
