//! Outputs and messages as text.

use chinwag_proto::{
    Peer, RoomId, Seq, SessionId,
    client::ClientOutput,
    history::Write,
    outbox::Class,
    relay::Order,
    server::{Output, ReadRequest, ServerEvent},
    wire::{
        chinwag1::{self as pb, to_client, to_server},
        control::{self, Body},
        frame::FrameReader,
        path::DatagramKind,
        voice::Frames,
    },
};

pub(crate) fn server_output(output: &Output<'_>) -> String {
    match output {
        Output::Send { bytes, class: Class::Control, to } => {
            let messages = bodies(bytes).iter().map(|body| from_server(body)).collect::<Vec<_>>().join("; ");
            format!("send {}: {messages}", peers(to))
        }
        Output::Send { bytes, class: Class::Voice, to } => {
            let messages = bodies(bytes).iter().map(|body| from_server(body)).collect::<Vec<_>>().join("; ");
            format!("send voice {}: {messages}", peers(to))
        }
        Output::Relay(Order::Listen { session, path }) => format!("listen {}: {path:?}", show(*session)),
        Output::Relay(Order::Move { session, room }) => {
            format!("move {} {}", show(*session), whereabouts(*room))
        }
        Output::Relay(Order::Leave { session }) => format!("leave {}", show(*session)),
        Output::Relay(Order::Talk { session, room, payload: said }) => {
            format!("talk {}@{}: {}", show(*session), whereabouts(*room), payload(said))
        }
        Output::Overheard { payload: said } => format!("overheard {}", payload(said)),
        Output::OpenPath { peer, session, .. } => format!("open path {}: {}", peer.index(), show(*session)),
        Output::Pause { peer } => format!("pause {}", peer.index()),
        Output::Unpause { peer } => format!("unpause {}", peer.index()),
        Output::Close { peer, cause } => format!("close {}: {cause}", peer.index()),
        Output::Report { talker, report: told } => {
            report(&control::report_to_wire(*talker, *told)).replace("Report", "report")
        }
        Output::Keep { run, write } => format!("keep {run}: {}", written(write)),
        Output::Read { ticket, what: ReadRequest::Page(what) } => {
            format!(
                "read {ticket}: r{} before {} limit {}",
                what.room.to_wire(),
                place(what.before),
                what.limit
            )
        }
        Output::Read { ticket, what: ReadRequest::Search(what) } => {
            let (room, before) = (what.room.to_wire(), place(what.before));
            format!("read {ticket}: {:?} in r{room} before {before} limit {}", what.words, what.limit)
        }
        Output::Unread { ticket } => format!("unread {ticket}"),
        Output::Event(event) => server_event(event),
    }
}

fn whereabouts(room: Option<RoomId>) -> String {
    room.map_or("nowhere".into(), |room| format!("r{}", id(room)))
}

fn written(write: &Write) -> String {
    match write {
        Write::Room(room) => format!("room {} {}", room.id.to_wire(), room.name),
        Write::Message(kept) => {
            let (room, seq, id) = (kept.room.to_wire(), kept.seq.to_wire(), kept.id.to_wire());
            format!("r{room}/{seq} {} #{id} {:?}", kept.name, kept.text)
        }
        Write::Topic(room, topic) => format!("topic r{} {} {:?}", id(*room), topic.by, topic.text),
        Write::Gone(room) => format!("gone {}", room.to_wire()),
    }
}

/// A place in a room, where the last there can be means the end.
fn place(seq: Seq) -> String {
    if seq == Seq::from_wire(u64::MAX) { "the end".to_owned() } else { seq.to_wire().to_string() }
}

fn server_event(event: &ServerEvent) -> String {
    match event {
        ServerEvent::Joined { room, member, name, .. } => {
            format!("event Joined r{} {name}={}", room.to_wire(), show(*member))
        }
        ServerEvent::Resumed { name } => format!("event Resumed {name}"),
        ServerEvent::Said { room, seq, member, name, text, .. } => {
            let (room, seq, member) = (room.to_wire(), seq.to_wire(), show(*member));
            format!("event Said r{room}/{seq} {name}={member} {text:?}")
        }
        ServerEvent::Renamed { member, former, name } => {
            format!("event Renamed {former} {name}={}", show(*member))
        }
        ServerEvent::Topic { room, topic, .. } => {
            format!("event Topic r{} {} {:?}", id(*room), topic.by, topic.text)
        }
        ServerEvent::Left { room, member, name, reason, .. } => {
            format!("event Left r{} {name}={} {reason:?}", room.to_wire(), show(*member))
        }
    }
}

/// A datagram of the relay.
pub(crate) fn relayed(kind: DatagramKind, bytes: &[u8], to: &[Peer]) -> String {
    format!("relay {kind:?} {}: {}", peers(to), payload(bytes))
}

pub(crate) fn client_output(output: &ClientOutput<'_>) -> String {
    match output {
        ClientOutput::Connect => "connect".to_owned(),
        ClientOutput::Disconnect => "disconnect".to_owned(),
        ClientOutput::Send { bytes, class } => {
            let messages = bodies(bytes).iter().map(|body| from_client(body)).collect::<Vec<_>>().join("; ");
            let class = if *class == Class::Voice { "send voice" } else { "send" };
            format!("{class} {messages}")
        }
        ClientOutput::OpenPath { session } => format!("open path {}", show(*session)),
        ClientOutput::Datagram { kind, payload: bytes } => format!("datagram {kind:?} {}", payload(bytes)),
        ClientOutput::Voice { payload: bytes } => format!("hear {}", payload(bytes)),
        ClientOutput::Event(event) => {
            // Places are numbers, and Foo is most often the one whose client it is.
            let event = format!("event {event:?}").replace("SessionId(1048576)", "s1.0");
            let (parts, mut shown) = (event.split("PlaceId("), String::new());
            for (at, part) in parts.enumerate() {
                shown += &if at > 0 { part.replacen(')', "", 1) } else { part.to_owned() };
            }
            shown
        }
    }
}

fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut bodies = vec![];
    while let Some(body) = reader.next_frame(usize::MAX).unwrap() {
        bodies.push(body.to_vec());
    }
    assert_eq!(reader.buffered(), 0, "only whole frames are sent");
    bodies
}

fn peers(to: &[Peer]) -> String {
    to.iter().map(|peer| peer.index().to_string()).collect::<Vec<_>>().join(",")
}

fn show(session: SessionId) -> String {
    number(session.to_wire())
}

fn number(session: u32) -> String {
    format!("s{}.{}", session >> 20, session & 0xf_ffff)
}

fn payload(bytes: &[u8]) -> String {
    match Frames::parse(bytes) {
        Ok(frames) => frames
            .map(|frame| format!("{} #{} {:?}", show(frame.talker), frame.sequence, frame.opus))
            .collect::<Vec<_>>()
            .join(" + "),
        Err(_) => format!("{bytes:?}"),
    }
}

fn member(member: &Option<pb::Member>) -> String {
    let member = member.as_ref().unwrap();
    format!("{}={}", member.name, number(member.session))
}

/// What private rooms have is told by `p0`, `p1`, ...
fn id(room: RoomId) -> String {
    let number = room.to_wire();
    match room.is_private() {
        _ if room == RoomId::SOMEWHERE_PRIVATE => "p?".to_owned(),
        true => format!("p{}", number - (1 << 24)),
        false => number.to_string(),
    }
}

/// A room's number as part of a line: `r1`, `p0`.
fn of(room: u32) -> String {
    let room = RoomId::from_wire(room);
    if room.is_private() { id(room) } else { format!("r{}", id(room)) }
}

/// A member in a room, and where he talks if that is elsewhere.
fn member_in(room: u32, member: &pb::Member) -> String {
    let voice = match member.voice {
        voice if voice == room => String::new(),
        0 => "@nowhere".to_owned(),
        voice => format!("@{}", of(voice)),
    };
    format!("{}={}{voice}{}", member.name, number(member.session), marks(member.muted, member.deafened))
}

fn marks(muted: bool, deafened: bool) -> &'static str {
    match (muted, deafened) {
        (false, false) => "",
        (true, false) => "!muted",
        (false, true) => "!deafened",
        (true, true) => "!both",
    }
}

fn from_server(body: &[u8]) -> String {
    use to_client::Kind;
    let message = match control::decode_to_client(body).unwrap() {
        Body::Voice(bytes) => return format!("Voice {}", payload(bytes)),
        Body::Message(message) => message,
        Body::Unknown => return "?".to_owned(),
    };
    match message {
        Kind::Welcome(welcome) => {
            assert_eq!(welcome.resume_token.len(), 16);
            let resumed = if welcome.resumed { " resumed" } else { "" };
            format!("Welcome {}={}{resumed}", welcome.name, number(welcome.session))
        }
        Kind::Entered(entered) => {
            let room = entered.room.unwrap();
            let names: Vec<_> = entered.members.iter().map(|member| member_in(room.id, member)).collect();
            assert!(entered.member_count as usize >= names.len());
            let with =
                if entered.with > 0 { format!(" with {}", number(entered.with)) } else { String::new() };
            let topic = entered.topic.map(|topic| format!(" about {:?} by {}", topic.text, topic.by));
            let (key, last, names) = (entered.key, room.last_seq, names.join(" "));
            let place = if entered.with > 0 { of(room.id) } else { format!("{}={}", room.name, room.id) };
            format!("Entered #{key} {place} at {last} [{names}]{with}{}", topic.unwrap_or_default())
        }
        Kind::NotEntered(not) => format!("NotEntered #{} {}", not.key, not.text),
        Kind::Changed(member) => {
            let voice = if member.voice == 0 { "nowhere".to_owned() } else { of(member.voice) };
            let marks = marks(member.muted, member.deafened);
            format!("Changed {}={}@{voice}{marks}", member.name, number(member.session))
        }
        Kind::Topic(topic) => format!("Topic {} {:?} by {}", of(topic.room), topic.text, topic.by),
        Kind::Rooms(list) => {
            let room = |room: &pb::ListedRoom| {
                let topic = if room.topic.is_empty() { String::new() } else { format!(" {:?}", room.topic) };
                format!("{} {}{topic}", room.name, room.members)
            };
            let rooms: Vec<_> = list.rooms.iter().map(room).collect();
            format!("Rooms [{}]{}", rooms.join(", "), if list.more { " more" } else { "" })
        }
        Kind::NotDone(not) => format!("NotDone {}", not.text),
        Kind::Members(members) => format!("Members +{}", members.members.len()),
        Kind::Refused(refused) => format!("Refused {:?} {:?}", refused.reason(), refused.suggestion),
        Kind::Said(s) => {
            format!("Said {}/{} {}={} #{} {:?}", of(s.room), s.seq, s.name, number(s.session), s.id, s.text)
        }
        Kind::Joined(joined) => {
            let member = member_in(joined.room, joined.member.as_ref().unwrap());
            format!("Joined {} {member}", of(joined.room))
        }
        Kind::Left(left) => format!("Left {} {} {:?}", of(left.room), member(&left.member), left.reason()),
        Kind::Ack(ack) => format!("Ack {}/{} #{}", of(ack.room), ack.seq, ack.id),
        Kind::Nack(nack) => format!("Nack #{} {}", nack.id, nack.text),
        Kind::Ping(_) => "Ping".to_owned(),
        Kind::Pong(pong) => format!("Pong {}", pong.token),
        Kind::Closing(closing) => format!("Closing {:?}", closing.reason()),
        Kind::VoiceReport(r) => report(&r),
        Kind::History(page) => {
            let said = |s: &pb::Said| format!("{} {}={} {:?}", s.seq, s.name, number(s.session), s.text);
            let messages: Vec<_> = page.messages.iter().map(said).collect();
            let more = if page.more { " more" } else { "" };
            let error = if page.error.is_empty() { String::new() } else { format!(" {}", page.error) };
            format!("History {} #{} [{}]{more}{error}", of(page.room), page.token, messages.join("; "))
        }
        Kind::Voice(bytes) => format!("Voice {}", payload(&bytes)),
    }
}

fn report(r: &pb::VoiceReport) -> String {
    let (talker, r) = control::report_from_wire(r);
    let shares = format!("lost {} unrecovered {}", r.lost_per_mille, r.unrecovered_per_mille);
    format!("Report {} {shares} burst {} queue {}", show(talker), r.burst_ms, r.queue_ms)
}

fn from_client(body: &[u8]) -> String {
    use to_server::Kind;
    let message = match control::decode_to_server(body).unwrap() {
        Body::Voice(bytes) => return format!("Voice {}", payload(bytes)),
        Body::Message(message) => message,
        Body::Unknown => return "?".to_owned(),
    };
    match message {
        Kind::Hello(hello) => {
            let resume = hello.resume.map(|resume| format!(" resume {}", number(resume.session)));
            let rooms: Vec<_> = hello.rooms.iter().map(|claim| claimed(claim, hello.voice)).collect();
            let marks = hello.marks.map_or("", |given| marks(given.muted, given.deafened));
            format!("Hello {:?}{marks} in {}{}", hello.name, rooms.join(", "), resume.unwrap_or_default())
        }
        Kind::Join(claim) => format!("Join {}", claimed(&claim, 0)),
        Kind::Part(part) => format!("Part {}", of(part.room)),
        Kind::VoiceRoom(voice) => format!("VoiceRoom {}", of(voice.room)),
        Kind::Topic(topic) => format!("Topic {} {:?}", of(topic.room), topic.text),
        Kind::Name(name) => format!("Name {:?}", name.name),
        Kind::Marks(given) => format!("Marks {}", marks(given.muted, given.deafened)),
        Kind::ListRooms(_) => "ListRooms".to_owned(),
        Kind::Say(say) => format!("Say {} #{} {:?}", of(say.room), say.id, say.text),
        Kind::Ping(_) => "Ping".to_owned(),
        Kind::Pong(pong) => format!("Pong {}", pong.token),
        Kind::Quit(_) => "Quit".to_owned(),
        Kind::VoicePath(path) => format!("VoicePath {:?}", path.path()),
        Kind::VoiceReport(r) => report(&r),
        Kind::History(ask) => {
            let words = if ask.words.is_empty() { String::new() } else { format!(" {:?}", ask.words) };
            format!(
                "History {} #{} before {} limit {}{words}",
                of(ask.room),
                ask.token,
                ask.before,
                ask.limit
            )
        }
        Kind::Voice(bytes) => format!("Voice {}", payload(&bytes)),
    }
}

/// A claim: what it is called, how far it was seen, and whether one talks there.
fn claimed(claim: &pb::Claim, voice: u32) -> String {
    let name =
        if claim.with.is_empty() { format!("{:?}", claim.name) } else { format!("with {:?}", claim.with) };
    let seen =
        if claim.epoch == 0 { String::new() } else { format!(" at {}/{}", of(claim.room), claim.last_seq) };
    let voice = if voice > 0 && claim.key == voice { " voice" } else { "" };
    format!("#{} {name}{seen}{voice}", claim.key)
}
