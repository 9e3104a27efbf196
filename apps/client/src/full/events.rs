//! What the core tells, on the full screen. All that the screen knows of the protocol is here.

use std::collections::BTreeSet;

use chinwag_proto::{
    Instant, Seq, SessionId,
    client::{Client, ClientEvent, Member, Page, PlaceId},
    history::UnixMillis,
    relay::VoicePath,
};
use chinwag_screen::{Link, Model, Path, Person, RoomId, Said, Status};
use chinwag_transport_mio::clock;

use super::{FullScreen, State, unix_ms};

/// What is remembered of it from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who is in these rooms, and what they are about, is yet to be looked up.
    owes_members: BTreeSet<PlaceId>,
    /// What these say of themselves is yet to be looked up.
    owes_marks: BTreeSet<SessionId>,
    /// What waits to be said is yet to be looked up.
    owes_pending: bool,
    pending: usize,
}

/// The screen's number of a room.
pub(super) fn room(place: PlaceId) -> RoomId {
    RoomId(place.number())
}

/// The core's number of a room.
pub(super) fn place(room: RoomId) -> PlaceId {
    PlaceId::from_number(room.0)
}

impl FullScreen {
    /// Something has happened.
    pub(crate) fn event(&self, now: Instant, event: &ClientEvent) {
        let clock = |unix_ms: u64| self.0.wall_clock(i64::try_from(unix_ms).unwrap_or(i64::MAX));
        self.0.change(|state| happen(state, now, &clock, event));
    }

    /// A part of what was said before all that is here.
    pub(crate) fn past(&self, page: &Page) {
        let clock = |at: UnixMillis| self.0.wall_clock(i64::try_from(at.0).unwrap_or(i64::MAX));
        self.0.change(|state| state.model.put_before(room(page.place), said(page, &clock), page.more));
    }

    /// A part of what was missed before a message; so many are still missing before that.
    pub(crate) fn fill(&self, page: &Page, before: Seq, missing: u64) {
        let clock = |at: UnixMillis| self.0.wall_clock(i64::try_from(at.0).unwrap_or(i64::MAX));
        let place = last_before(before);
        self.0.change(|state| state.model.fill(room(page.place), place, said(page, &clock), missing));
    }

    /// What was said before may be asked for again.
    pub(crate) fn may_have_earlier(&self, place: PlaceId) {
        self.0.change(|state| state.model.set_has_earlier(room(place), true));
    }

    /// The user looks at a room.
    pub(crate) fn show(&self, place: PlaceId) {
        self.0.change(|state| state.model.show_room(room(place)));
    }

    /// The user looks at a room before the server has let him in.
    pub(crate) fn go_ahead(&self, place: PlaceId, name: &str) {
        self.0.change(|state| state.model.enter(room(place), name));
        self.show(place);
    }

    /// The user is alone with somebody, and looks at it.
    pub(crate) fn open_private(&self, place: PlaceId, name: &str) {
        self.reveal(place, name);
        self.show(place);
    }

    /// The user is alone with somebody, and sees it.
    pub(crate) fn reveal(&self, place: PlaceId, name: &str) {
        self.0.change(|state| {
            state.model.enter_private(room(place), name);
            state.events.owes_members.insert(place);
        });
    }

    /// Somebody talks to the user alone.
    pub(crate) fn called(&self, place: PlaceId, name: &str) {
        let at = self.0.wall_clock(unix_ms());
        self.0.change(|state| state.model.called(room(place), at, name));
    }

    /// The one whom the user is alone with is called so.
    pub(crate) fn rename(&self, place: PlaceId, name: &str) {
        self.0.change(|state| rename(&mut state.model, place, name));
    }

    /// The user is not in a room any more, or does not look at what is between him and somebody.
    pub(crate) fn leave(&self, place: PlaceId) {
        self.0.change(|state| state.model.leave(room(place)));
    }

    /// What was typed and not entered, and the last place that was read.
    pub(crate) fn bookmark(&self, place: PlaceId) -> (String, Seq) {
        let (state, room) = (self.0.lock(), room(place));
        (state.model.draft(room).to_owned(), Seq::from_wire(state.model.read(room)))
    }

    /// The room that is looked at.
    pub(crate) fn looks_at(&self) -> Option<PlaceId> {
        self.0.lock().model.current_room().map(place)
    }

    /// What was left the last time; see [`chinwag_screen::Model::set_read`].
    pub(crate) fn arrive(&self, place: PlaceId, draft: &str, read: Option<Seq>) {
        self.0.change(|state| {
            state.model.set_read(room(place), read.map(Seq::to_wire));
            state.model.set_draft(room(place), draft);
        });
    }

    /// Looks up what no event tells.
    pub(crate) fn tend(&self, client: &Client) {
        let mut state = self.0.lock();
        let State { model, events, heard, is_changed, .. } = &mut *state;
        for place in std::mem::take(&mut events.owes_members) {
            let people = client.members(place).map(|(session, member)| Person {
                is_elsewhere: is_elsewhere(client, place, member),
                ..person(session, member)
            });
            model.set_members(room(place), people);
            model.set_topic(room(place), client.topic(place).map_or("", |topic| &topic.text));
            // With the marks that they had.
            model.set_status(model.status());
            heard.forget_marks();
            *is_changed = true;
        }
        for session in std::mem::take(&mut events.owes_marks) {
            mark(model, client, session);
            *is_changed = true;
        }
        model.set_voice_room(client.voice_place().map(room));
        let pending = client.unacknowledged();
        if std::mem::replace(&mut events.pending, pending) != pending
            || std::mem::take(&mut events.owes_pending)
        {
            model.set_pending(client.unacknowledged_texts().map(|(place, text)| (room(place), text)));
            *is_changed = true;
        }
        let (known, stats) = (model.status(), client.stats());
        let silent_since = client.silent_since(clock::now());
        let link = match silent_since {
            Some(since) => Link::Silent { since: since.as_micros() / 1000 },
            None if client.is_in() => Link::In,
            None => known.link,
        };
        // What it was says nothing of a server that is silent.
        let rtt = stats.voice_rtt.or(stats.control_rtt).filter(|_| link == Link::In);
        let path = match stats.voice_path {
            VoicePath::Udp => Path::Udp,
            VoicePath::Tcp => Path::Tcp,
            VoicePath::Both => Path::Both,
        };
        let status = Status {
            link,
            rtt_ms: rtt.map(|rtt| u32::try_from(rtt.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)),
            path: client.is_in().then_some(path),
            ..known
        };
        if status != known {
            model.set_status(status);
            *is_changed = true;
        }
        if *is_changed {
            self.0.changed.notify_one();
        }
    }
}

/// The messages of a page.
fn said<'a>(page: &'a Page, clock: &dyn Fn(UnixMillis) -> i64) -> Vec<Said<'a>> {
    let lines = page.lines.iter().map(|line| Said {
        at: clock(line.at),
        name: &line.name,
        text: &line.text,
        is_own: false,
        is_history: true,
        place: line.seq.to_wire(),
    });
    lines.collect()
}

fn last_before(seq: Seq) -> u64 {
    seq.to_wire().saturating_sub(1)
}

fn person(session: SessionId, member: &Member) -> Person<'_> {
    Person {
        is_silent: member.marks.muted,
        is_deafened: member.marks.deafened,
        ..Person::from((session, member.name.as_str()))
    }
}

/// True when somebody does not talk and listen in this room of his.
fn is_elsewhere(client: &Client, place: PlaceId, member: &Member) -> bool {
    member.voice.and_then(|room| client.place_of(room)) != Some(place)
}

/// What somebody says of himself, wherever he is seen.
fn mark(model: &mut Model, client: &Client, session: SessionId) {
    for place in client.places() {
        if let Some(member) = client.member(place, session) {
            let is_elsewhere = is_elsewhere(client, place, member);
            model.mark(room(place), Person { is_elsewhere, ..person(session, member) });
        }
    }
}

/// What is between the user and somebody is called so, if it is shown.
fn rename(model: &mut Model, place: PlaceId, name: &str) {
    if model.has_room(room(place)) {
        model.enter_private(room(place), name);
    }
}

fn happen(state: &mut State, now: Instant, clock: &dyn Fn(u64) -> i64, event: &ClientEvent) {
    let State { model, events, last_words, .. } = state;
    let at = clock(u64::try_from(unix_ms()).unwrap_or_default());
    let now_shown = at;
    match event {
        ClientEvent::Welcome { session, name, .. } => {
            model.set_me(*session, name);
            model.set_status(Status { link: Link::In, ..model.status() });
            last_words.clear();
        }
        ClientEvent::Entered { place, name, is_private, .. } => {
            if *is_private {
                rename(model, *place, name);
            } else {
                model.enter(room(*place), name);
            }
            events.owes_members.insert(*place);
        }
        ClientEvent::NotEntered { place, is_private, .. } => {
            // What was said between two stays to be read.
            if *is_private {
                events.owes_members.insert(*place);
            } else {
                model.leave(room(*place));
            }
        }
        ClientEvent::Changed { session, former, member } => {
            if let Some(former) = former {
                model.renamed(at, *session, former, &member.name);
            }
            events.owes_marks.insert(*session);
        }
        ClientEvent::Topic { place, topic } => {
            model.set_topic(room(*place), &topic.text);
            model.topic_changed(room(*place), at, &topic.by, &topic.text);
        }
        ClientEvent::Joined { place, session, name } => {
            model.joined(room(*place), at, *session, name);
            events.owes_marks.insert(*session);
        }
        ClientEvent::Left { place, session, name, .. } => model.left(room(*place), at, *session, name),
        ClientEvent::Said { place, seq, name, text, own, at } => {
            events.owes_pending |= own.is_some();
            // A server that does not remember when says nothing.
            let at = if at.0 == 0 { now_shown } else { clock(at.0) };
            let (is_own, seq) = (own.is_some(), seq.to_wire());
            model.said(room(*place), Said { at, name, text, is_own, is_history: false, place: seq });
        }
        ClientEvent::Meanwhile { place, joined, left } => {
            model.was_away(room(*place), at, joined, left);
            events.owes_members.insert(*place);
        }
        ClientEvent::NotSaid { .. } => events.owes_pending = true,
        ClientEvent::Missed { place, messages, before } => {
            model.missed(room(*place), at, *messages, last_before(*before));
        }
        ClientEvent::Reconnecting { pause, .. } => {
            let retry_at = (now + *pause).as_micros() / 1000;
            model.set_status(Status { link: Link::Lost { retry_at }, ..model.status() });
            model.set_levels(&[]);
        }
        // These are told in another way, or are about sound.
        ClientEvent::History(_)
        | ClientEvent::Rooms(_)
        | ClientEvent::NotDone { .. }
        | ClientEvent::Refused { .. }
        | ClientEvent::Path(_)
        | ClientEvent::Reported(_)
        | ClientEvent::Ended(_) => {}
    }
}
