//! What the core tells, on the full screen. All that the screen knows of the protocol is here.

use chinwag_proto::{
    Instant, Seq,
    client::{Client, ClientEvent, Page},
    history::UnixMillis,
    relay::VoicePath,
};
use chinwag_screen::{Link, Path, RoomId, Said, Status};

use super::{FullScreen, State, unix_ms};

/// There is one room for each session so far.
const ROOM: RoomId = RoomId(0);

/// What is remembered of it from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who is here is yet to be looked up.
    owes_members: bool,
    /// What waits to be said is yet to be looked up.
    owes_pending: bool,
    pending: usize,
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
        let said = page.lines.iter().map(|line| Said {
            at: clock(line.at),
            name: &line.name,
            text: &line.text,
            is_own: false,
            is_history: true,
            place: line.seq.to_wire(),
        });
        self.0.change(|state| state.model.put_before(ROOM, said, page.more));
    }

    /// What was said before may be asked for again.
    pub(crate) fn may_have_earlier(&self) {
        self.0.change(|state| state.model.set_has_earlier(ROOM, true));
    }

    /// What was typed and not entered, and the last place that was read.
    pub(crate) fn bookmark(&self) -> (String, Seq) {
        let state = self.0.lock();
        (state.model.draft(ROOM).to_owned(), Seq::from_wire(state.model.read(ROOM)))
    }

    /// What was left the last time; see [`chinwag_screen::Model::set_read`].
    pub(crate) fn arrive(&self, draft: &str, read: Option<Seq>) {
        self.0.change(|state| {
            state.model.set_read(ROOM, read.map(Seq::to_wire));
            state.model.set_draft(ROOM, draft);
        });
    }

    /// Looks up what no event tells.
    pub(crate) fn tend(&self, client: &Client) {
        let mut state = self.0.lock();
        let State { model, events, heard, is_changed, .. } = &mut *state;
        if std::mem::take(&mut events.owes_members) {
            model.set_members(ROOM, client.members());
            // With the marks that they had.
            model.set_status(model.status());
            heard.forget_marks();
            *is_changed = true;
        }
        let pending = client.unacknowledged();
        if std::mem::replace(&mut events.pending, pending) != pending
            || std::mem::take(&mut events.owes_pending)
        {
            model.set_pending(client.unacknowledged_texts());
            *is_changed = true;
        }
        let (known, stats) = (model.status(), client.stats());
        let rtt = stats.voice_rtt.or(stats.control_rtt).filter(|_| client.is_in());
        let path = match stats.voice_path {
            VoicePath::Udp => Path::Udp,
            VoicePath::Tcp => Path::Tcp,
            VoicePath::Both => Path::Both,
        };
        let status = Status {
            link: if client.is_in() { Link::In } else { known.link },
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

fn happen(state: &mut State, now: Instant, clock: &dyn Fn(u64) -> i64, event: &ClientEvent) {
    let State { model, events, last_words, .. } = state;
    let at = clock(u64::try_from(unix_ms()).unwrap_or_default());
    let now_shown = at;
    match event {
        ClientEvent::Welcome { session, name, room, .. } => {
            model.enter(ROOM, room);
            model.set_me(*session, name);
            model.set_status(Status { link: Link::In, ..model.status() });
            events.owes_members = true;
            last_words.clear();
        }
        ClientEvent::Joined { session, name, .. } => model.joined(ROOM, at, *session, name),
        ClientEvent::Left { session, name, .. } => model.left(ROOM, at, *session, name),
        ClientEvent::Said { seq, name, text, own, at } => {
            events.owes_pending |= own.is_some();
            // A server that does not remember when says nothing.
            let at = if at.0 == 0 { now_shown } else { clock(at.0) };
            let (is_own, place) = (own.is_some(), seq.to_wire());
            model.said(ROOM, Said { at, name, text, is_own, is_history: false, place });
        }
        ClientEvent::Meanwhile { joined, left } => {
            model.was_away(ROOM, at, joined, left);
            events.owes_members = true;
        }
        ClientEvent::NotSaid { .. } => events.owes_pending = true,
        ClientEvent::Missed { messages } => model.missed(ROOM, at, *messages),
        ClientEvent::Reconnecting { pause, .. } => {
            let retry_at = (now + *pause).as_micros() / 1000;
            model.set_status(Status { link: Link::Lost { retry_at }, ..model.status() });
            model.set_levels(&[]);
        }
        // These are told in another way, or are about sound.
        ClientEvent::History(_)
        | ClientEvent::Refused { .. }
        | ClientEvent::Path(_)
        | ClientEvent::Reported(_)
        | ClientEvent::Ended(_) => {}
    }
}
