//! What the full screen shows: rooms and what is said there, who is there, what is typed, how it stands. Things happen to it
//! (methods of this module) and keys are pressed ([`Model::press`]); [`crate::draw`] makes a picture of it. No clock, no IO: times are given.

use std::collections::BTreeMap;

use chinwag_proto::{
    SessionId,
    limits::{self, CLAIMS, MESSAGE_BYTES},
    text::escape,
};

use crate::{
    button::{Button, PushToTalk},
    complete::Completion,
    editor::{Editor, Entered},
    line::{Kind, Line},
    members::{Member, Person},
    mention::has_name,
    notify::{NOTIFICATION_PAUSE_MS, Notifier},
    overlay::Overlay,
    panes::Panes,
    press::Paste,
    room::{Room, RoomId},
    status::{Link, Status},
    theme::Theme,
};

/// Conversations of two that are over and can still be read.
pub const ENDED: usize = 16;
/// Rooms that are kept: all that one can be in, what can still be read, and one where it is told that there is none.
pub const ROOMS: usize = CLAIMS + ENDED + 1;
/// See the module.
#[derive(Debug)]
pub struct Model {
    pub(crate) rooms: Vec<Room>,
    /// Which of them is looked at; 0 also if there is none.
    pub(crate) current: usize,
    /// The one that he looked at before.
    before: Option<RoomId>,
    /// The one in which the user talks and listens.
    pub(crate) voice: Option<RoomId>,
    /// The user's name, as he has it.
    me: String,
    session: Option<SessionId>,
    pub(crate) status: Status,
    pub(crate) theme: Theme,
    pub(crate) editor: Editor,
    pub(crate) completion: Option<Completion>,
    pub(crate) overlay: Option<Overlay>,
    /// What is pasted, until its end has come.
    pub(crate) paste: Option<Paste>,
    /// What is looked for, in small letters, and the line where it was found last.
    pub(crate) search: Option<(String, u64)>,
    /// What was typed in each room and is not said yet, escaped, and how much more.
    pub(crate) pending: BTreeMap<RoomId, (Vec<String>, usize)>,
    /// The names of microphones and of speakers, as far as they are known.
    pub(crate) devices: [Vec<String>; 2],
    /// The names of the server's rooms, escaped, as far as they are known.
    pub(crate) listed: Vec<String>,
    rings: bool,
    owes_bell: bool,
    has_focus: bool,
    /// Whether, and how, notifications are shown.
    notifier: Option<Notifier>,
    /// One that is to be shown, as it is written.
    owes_notification: Option<String>,
    /// When the last one was.
    notified: Option<u64>,
    pub(crate) ptt: PushToTalk,
    pub(crate) now: u64,
    pub(crate) panes: Panes,
}

/// Something that was said.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// When: milliseconds of the wall clock where the user is.
    pub at: i64,
    /// Who.
    pub name: &'a str,
    /// What.
    pub text: &'a str,
    /// By the user.
    pub is_own: bool,
    /// Before the user came.
    pub is_history: bool,
    /// Its place in the room's numbering; 0 without one.
    pub place: u64,
}

/// Messages of a room that wait to be said and are shown; of more it is told how many.
pub const PENDING_SHOWN: usize = 3;

impl Model {
    /// Nobody, nowhere.
    pub fn new(theme: Theme) -> Self {
        Self {
            rooms: Vec::new(),
            current: 0,
            before: None,
            voice: None,
            me: String::new(),
            session: None,
            status: Status::default(),
            theme,
            editor: Editor::default(),
            completion: None,
            overlay: None,
            paste: None,
            search: None,
            pending: BTreeMap::new(),
            devices: [vec![], vec![]],
            listed: vec![],
            rings: false,
            owes_bell: false,
            has_focus: true,
            notifier: None,
            owes_notification: None,
            notified: None,
            ptt: PushToTalk::default(),
            now: 0,
            panes: Panes::default(),
        }
    }

    /// The user is in this room, by this name. What stands there stays. If there are too many, the oldest that he does not look at makes
    /// space, of those between two if there are such.
    pub fn enter(&mut self, room: RoomId, name: &str) {
        let name = escape(name).into_owned();
        if let Some(known) = self.room_mut(room) {
            known.name = name;
        } else {
            if self.rooms.len() == ROOMS {
                let others = self.rooms.iter().enumerate().filter(|(place, _)| *place != self.current);
                let oldest = others.min_by_key(|(_, room)| !room.is_private).map(|(_, room)| room.id);
                oldest.into_iter().for_each(|room| self.leave(room));
            }
            self.rooms.push(Room::new(room, name));
            self.arrange();
        }
    }

    /// The user is alone in this room with the one of this name.
    pub fn enter_private(&mut self, room: RoomId, name: &str) {
        self.enter(room, name);
        if let Some(room) = self.room_mut(room) {
            room.is_private = true;
        }
    }

    /// True when the room is there.
    pub fn has_room(&self, room: RoomId) -> bool {
        self.rooms.iter().any(|known| known.id == room)
    }

    /// The room that is looked at.
    pub fn current_room(&self) -> Option<RoomId> {
        self.rooms.get(self.current).map(|room| room.id)
    }

    /// Looks at a room.
    pub fn show_room(&mut self, room: RoomId) {
        if let Some(place) = self.rooms.iter().position(|known| known.id == room) {
            self.look_at(place);
        }
    }

    /// The room in which the user talks and listens.
    pub fn set_voice_room(&mut self, room: Option<RoomId>) {
        self.voice = room;
    }

    /// What a room is about.
    pub fn set_topic(&mut self, room: RoomId, topic: &str) {
        if let Some(room) = self.room_mut(room) {
            room.topic = escape(topic).into_owned();
        }
        self.arrange();
    }

    /// Somebody said what a room is about, or that it is about nothing any more.
    pub fn topic_changed(&mut self, room: RoomId, at: i64, by: &str, topic: &str) {
        let text = match topic {
            "" => format!("{by} says that this is about nothing any more"),
            topic => format!("{by} says that this is about: {topic}"),
        };
        if let Some(room) = self.room_mut(room) {
            room.talk.push(Line::new(at, Kind::Presence, "", &text));
        }
    }

    /// Somebody talks to the user alone.
    pub fn called(&mut self, room: RoomId, at: i64, name: &str) {
        let text = "talks to you alone";
        self.call_for_attention(name, text);
        let mut line = Line::new(at, Kind::Presence, "", &format!("{name} {text}"));
        line.is_mention = true;
        self.add(room, line);
    }

    /// The user is no more in this room; he looks at the one at which he looked before.
    pub fn leave(&mut self, room: RoomId) {
        let Some(place) = self.rooms.iter().position(|known| known.id == room) else { return };
        self.rooms.remove(place);
        if self.current == place {
            let before = self.rooms.iter().position(|known| Some(known.id) == self.before);
            self.current = before.unwrap_or_else(|| place.min(self.rooms.len().saturating_sub(1)));
            let next = self.rooms.get_mut(self.current);
            self.editor.put(next.map(|room| std::mem::take(&mut room.draft)).unwrap_or_default());
        } else if self.current > place {
            self.current -= 1;
        }
        self.see();
        self.arrange();
    }

    /// Who the user is.
    pub fn set_me(&mut self, session: SessionId, name: &str) {
        name.clone_into(&mut self.me);
        self.session = Some(session);
    }

    /// Somebody is called otherwise. What is between him and the user is called so by [`Self::enter_private`].
    pub fn renamed(&mut self, at: i64, session: SessionId, former: &str, name: &str) {
        if self.session == Some(session) {
            name.clone_into(&mut self.me);
        }
        let text = format!("{} is called {} now", escape(former), escape(name));
        // Of himself he is told wherever he looks.
        let here = self.current_room().filter(|_| self.session == Some(session));
        let sees = |room: &&mut Room| room.members.has(session) || Some(room.id) == here;
        for room in self.rooms.iter_mut().filter(sees) {
            room.members.rename(session, name);
            room.talk.push(Line::new(at, Kind::Presence, "", &text));
        }
    }

    /// What somebody in a room says of himself.
    pub fn mark(&mut self, room: RoomId, person: Person<'_>) {
        let is_self = self.session == Some(person.session);
        if let Some(member) = self.room_mut(room).and_then(|room| room.members.get_mut(person.session)) {
            // Of the user it is known here what is so.
            let own = Person { is_silent: member.is_silent, is_deafened: member.is_deafened, ..person };
            member.mark(if is_self { own } else { person });
        }
    }

    /// Somebody said something.
    pub fn said(&mut self, room: RoomId, said: Said<'_>) {
        let Said { at, name, text, is_own, is_history, place } = said;
        let kind = if is_own { Kind::Own } else { Kind::Said };
        let mut line = Line::new(at, kind, name, text);
        (line.is_history, line.place) = (is_history, place);
        let is_private = self.rooms.iter().any(|known| known.id == room && known.is_private);
        // What he said himself, over a connection before this one.
        let is_self = is_own || name == self.me;
        line.is_mention = !is_self && (is_private || has_name(text, &self.me));
        if line.is_mention && !is_history {
            let who = if is_private { format!("{name} to you") } else { name.to_owned() };
            self.call_for_attention(&who, text);
        }
        self.add(room, line);
    }

    /// What was said in a room before all that is here, oldest first; whether there is more.
    pub fn put_before<'a>(&mut self, room: RoomId, said: impl IntoIterator<Item = Said<'a>>, has_more: bool) {
        let Self { rooms, me, current, has_focus, .. } = self;
        let known = rooms.iter_mut().enumerate().find(|(_, known)| known.id == room);
        let Some((index, room)) = known else { return };
        let lines = earlier(said, me, room.is_private);
        room.put_before(lines, has_more);
        if index == *current && *has_focus && room.talk.is_at_end() {
            room.see();
        }
    }

    /// From now on places in a room are of a new numbering, of which the user has read so much before, if it is known: what
    /// [`Self::put_before`] brings first is new from there on.
    pub fn set_read(&mut self, room: RoomId, read: Option<u64>) {
        if let Some(room) = self.room_mut(room) {
            room.set_read(read);
        }
    }

    /// The last place in a room that the user has seen; 0 if none.
    pub fn read(&self, room: RoomId) -> u64 {
        self.rooms.iter().find(|known| known.id == room).map_or(0, |room| room.read)
    }

    /// What was typed in a room and not entered.
    pub fn draft(&self, room: RoomId) -> &str {
        match self.rooms.iter().position(|known| known.id == room) {
            Some(place) if place == self.current => self.editor.text(),
            Some(place) => &self.rooms[place].draft.text,
            None => "",
        }
    }

    /// Goes on with what was typed in a room before. If something was typed meanwhile, that stays, and this can be called back.
    pub fn set_draft(&mut self, room: RoomId, text: &str) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let Some(place) = self.rooms.iter().position(|known| known.id == room) else { return };
        if text.is_empty() || text.len() > MESSAGE_BYTES {
            return;
        }
        let draft = Entered { text, is_cut: false };
        if place != self.current {
            self.rooms[place].draft = draft;
        } else if self.editor.text().is_empty() {
            self.editor.put(draft);
        } else {
            self.editor.remember(&draft);
        }
    }

    /// The microphones and speakers by which `/input` and `/output` are completed.
    pub fn set_devices(&mut self, inputs: Vec<String>, outputs: Vec<String>) {
        self.devices = [inputs, outputs];
    }

    /// The rooms by which `/join` is completed, beside those that the user is in: [`limits::ROOMS`] of them at most.
    pub fn set_listed<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.listed = names.take(limits::ROOMS).map(|name| escape(name).into_owned()).collect();
    }

    /// Whether there is something earlier than what is here, which is asked for by [`crate::Act::Earlier`].
    pub fn set_has_earlier(&mut self, room: RoomId, has_earlier: bool) {
        if let Some(room) = self.room_mut(room) {
            room.talk.set_has_earlier(has_earlier);
        }
    }

    /// Somebody means the user.
    fn call_for_attention(&mut self, who: &str, text: &str) {
        self.owes_bell |= self.rings;
        if let Some(notifier) = self.notifier.filter(|_| !self.has_focus) {
            self.owes_notification = Some(notifier.write(who, text));
        }
    }

    /// Somebody came.
    pub fn joined(&mut self, room: RoomId, at: i64, session: SessionId, name: &str) {
        if let Some(room) = self.room_mut(room) {
            room.members.add(session, name);
            room.talk.push_presence(at, name, true);
        }
    }

    /// Somebody went.
    pub fn left(&mut self, room: RoomId, at: i64, session: SessionId, name: &str) {
        if let Some(room) = self.room_mut(room) {
            room.members.remove(session);
            room.talk.push_presence(at, name, false);
        }
    }

    /// Who came and who went while the user was away, by their names.
    pub fn was_away(&mut self, room: RoomId, at: i64, joined: &[String], left: &[String]) {
        let Some(room) = self.room_mut(room) else { return };
        left.iter().for_each(|name| room.talk.push_presence(at, name, false));
        joined.iter().for_each(|name| room.talk.push_presence(at, name, true));
    }

    /// So many messages of the room were missed, up to this place.
    pub fn missed(&mut self, room: RoomId, at: i64, messages: u64, place: u64) {
        let mut line = Line::new(at, Kind::Missed, "", &missed(messages));
        line.place = place;
        self.add(room, line);
    }

    /// The last of what was missed up to this place that is not here yet, oldest first; so many are still missing before that.
    pub fn fill<'a>(
        &mut self,
        room: RoomId,
        place: u64,
        said: impl IntoIterator<Item = Said<'a>>,
        missing: u64,
    ) {
        let Self { rooms, me, current, has_focus, .. } = self;
        let known = rooms.iter_mut().enumerate().find(|(_, known)| known.id == room);
        let Some((index, room)) = known else { return };
        let is_watched = index == *current && *has_focus && room.talk.is_at_end();
        let lines = earlier(said, me, room.is_private);
        let text =
            if missing > 0 { missed(missing) } else { "missed while the connection was lost:".to_owned() };
        room.fill(place, lines, &text, is_watched);
    }

    /// Something from the program itself, line by line, in the room that is looked at. What others wrote in it must be escaped.
    pub fn notice(&mut self, at: i64, text: &str) {
        if self.rooms.is_empty() {
            // There must be somewhere to say that there is nothing yet.
            self.enter(RoomId(0), "");
        }
        if let Some(room) = self.rooms.get_mut(self.current) {
            for line in text.lines() {
                room.talk.push(Line::new(at, Kind::Notice, "", line));
            }
        }
    }

    /// Who is in a room now.
    pub fn set_members<'a>(&mut self, room: RoomId, members: impl Iterator<Item = impl Into<Person<'a>>>) {
        if let Some(room) = self.room_mut(room) {
            room.members.set(members);
        }
    }

    /// Who speaks now, and how loud, of [`crate::LOUDEST`]; all others do not.
    pub fn set_levels(&mut self, levels: &[(SessionId, u8)]) {
        self.rooms.iter_mut().for_each(|room| room.members.set_levels(levels));
    }

    /// The user does not hear somebody, or does.
    pub fn set_muted(&mut self, session: SessionId, is_muted: bool) {
        self.each(session, |member| member.is_muted = is_muted);
    }

    /// Somebody's voice arrives badly, or does not.
    pub fn set_poor(&mut self, session: SessionId, is_poor: bool) {
        self.each(session, |member| member.is_poor = is_poor);
    }

    fn each(&mut self, session: SessionId, change: impl Fn(&mut Member)) {
        self.rooms.iter_mut().filter_map(|room| room.members.get_mut(session)).for_each(change);
    }

    /// What the status line tells.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Changes what the status line tells, and the user's own marks among the members.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
        if let Some(session) = self.session {
            self.each(session, |member| {
                member.is_muted = status.is_muted;
                member.is_deafened = status.is_deafened;
            });
        }
    }

    /// What was typed and waits for the server.
    pub fn set_pending<'a>(&mut self, texts: impl Iterator<Item = (RoomId, &'a str)>) {
        self.pending.clear();
        for (room, text) in texts {
            let (shown, more) = self.pending.entry(room).or_default();
            if shown.len() < PENDING_SHOWN {
                shown.push(escape(text).into_owned());
            } else {
                *more += 1;
            }
        }
    }

    /// Empties the conversation that is looked at. What stood there can be asked for again as what is earlier.
    pub fn clear(&mut self) {
        if let Some(room) = self.rooms.get_mut(self.current) {
            room.talk.clear();
        }
        self.search = None;
    }

    /// Whether a bell is rung for mentions.
    pub fn rings(&self) -> bool {
        self.rings
    }

    /// See [`Self::rings`].
    pub fn set_rings(&mut self, rings: bool) {
        self.rings = rings;
    }

    /// Whether a bell is to be rung, told once.
    pub fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.owes_bell)
    }

    /// Whether, and how, the desktop shows a notification of what rings a bell, while the terminal is known not to have the focus.
    pub fn notifier(&self) -> Option<Notifier> {
        self.notifier
    }

    /// See [`Self::notifier`].
    pub fn set_notifier(&mut self, notifier: Option<Notifier>) {
        self.notifier = notifier;
    }

    /// A notification that is to be written to the terminal, told once; at most one in [`NOTIFICATION_PAUSE_MS`].
    pub fn take_notification(&mut self) -> Option<String> {
        let owed = self.owes_notification.take()?;
        let is_soon = self.notified.is_some_and(|last| self.now.saturating_sub(last) < NOTIFICATION_PAUSE_MS);
        if is_soon {
            return None;
        }
        self.notified = Some(self.now);
        Some(owed)
    }

    /// The key of push-to-talk.
    pub fn button(&self) -> Button {
        self.ptt.button
    }

    /// See [`Self::button`].
    pub fn set_button(&mut self, button: Button) {
        self.ptt.button = button;
    }

    pub(crate) fn ring(&mut self) {
        self.owes_bell = true;
    }

    /// Goes to the last line with these words in it; with no words, to the one before that was found last. False if there is none.
    pub fn find(&mut self, words: &str) -> bool {
        let (words, before) = match (words.to_lowercase(), self.search.take()) {
            (words, Some((last, found))) if words.is_empty() || words == last => (last, found),
            (words, _) => (words, u64::MAX),
        };
        let (columns, height) = self.panes.talk_size();
        let Some(room) = self.rooms.get_mut(self.current).filter(|_| !words.is_empty()) else { return false };
        let found = room.talk.find(&words, before);
        if let Some(line) = found {
            room.talk.show(line, columns, height);
        }
        // What was found last is still to be seen.
        self.search = Some((words, found.unwrap_or(before)));
        found.is_some()
    }

    /// Shows what can be typed, until it is put away.
    pub fn show_help(&mut self) {
        self.overlay = Some(Overlay::help());
    }

    /// It is so late, in milliseconds since any moment.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// When the picture changes though nothing happens.
    pub fn due(&self) -> Option<u64> {
        // The next whole second.
        match self.status.link {
            Link::Connecting | Link::In => None,
            Link::Silent { since } => Some(since + (self.now.saturating_sub(since) / 1000 + 1) * 1000),
            Link::Lost { retry_at } => {
                let left = retry_at.checked_sub(self.now).filter(|&left| left > 0)?;
                Some(retry_at - (left - 1) / 1000 * 1000)
            }
        }
    }

    /// Where the user talks and listens, if not in the room that he looks at.
    pub(crate) fn voice_elsewhere(&self) -> Option<String> {
        if self.status.mic.is_none() || self.rooms.is_empty() || self.voice == self.current_room() {
            return None;
        }
        let room = self.rooms.iter().find(|room| Some(room.id) == self.voice);
        Some(room.map_or_else(|| "no voice".to_owned(), |room| format!("♪ in {}", room.label())))
    }

    /// The screen has so many columns and rows.
    pub fn set_size(&mut self, columns: u16, rows: u16) {
        (self.panes.columns, self.panes.rows) = (columns, rows);
        self.arrange();
    }

    fn arrange(&mut self) {
        self.panes = self.panes_of(self.panes.columns, self.panes.rows);
    }

    pub(crate) fn panes_of(&self, columns: u16, rows: u16) -> Panes {
        let has_topic = self.rooms.get(self.current).is_some_and(|room| !room.topic.is_empty());
        Panes::of(columns, rows, self.rooms.len(), has_topic)
    }

    /// The user is there: he sees what is new in the room that he looks at.
    pub(crate) fn see(&mut self) {
        let has_focus = self.has_focus;
        if let Some(room) = self.rooms.get_mut(self.current)
            && has_focus
            && room.talk.is_at_end()
        {
            room.see();
        }
    }

    pub(crate) fn set_focus(&mut self, has_focus: bool) {
        self.has_focus = has_focus;
        if has_focus {
            self.see();
        } else {
            self.forget_marker();
        }
    }

    /// He leaves the room, or says something in it.
    pub(crate) fn forget_marker(&mut self) {
        if let Some(room) = self.rooms.get_mut(self.current) {
            room.talk.forget_marker();
        }
    }

    /// Looks at another room.
    pub(crate) fn look_at(&mut self, room: usize) {
        if room < self.rooms.len() && room != self.current {
            self.forget_marker();
            self.search = None;
            self.completion = None;
            let draft = self.editor.take();
            if let Some(left) = self.rooms.get_mut(self.current) {
                left.draft = draft;
                self.before = Some(left.id);
            }
            self.current = room;
            let draft = self.rooms.get_mut(room).map(|room| std::mem::take(&mut room.draft));
            self.editor.put(draft.unwrap_or_default());
            self.arrange();
            self.see();
        }
    }

    fn room_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.id == id)
    }

    fn add(&mut self, id: RoomId, line: Line) {
        let Some(place) = self.rooms.iter().position(|room| room.id == id) else { return };
        let Some(room) = self.rooms.get_mut(place) else { return };
        let is_watched =
            line.kind == Kind::Own || (place == self.current && self.has_focus && room.talk.is_at_end());
        if line.kind == Kind::Own {
            room.talk.forget_marker();
        }
        room.add(line, is_watched);
    }
}

fn missed(messages: u64) -> String {
    format!("{messages} messages were missed while the connection was lost")
}

/// Lines of what was said before.
fn earlier<'a>(said: impl IntoIterator<Item = Said<'a>>, me: &str, is_private: bool) -> Vec<Line> {
    let lines = said.into_iter().map(|Said { at, name, text, is_own, place, .. }| {
        let mut line = Line::new(at, if is_own { Kind::Own } else { Kind::Said }, name, text);
        (line.is_history, line.place) = (true, place);
        line.is_mention = !is_own && name != me && !is_private && has_name(text, me);
        line
    });
    lines.collect()
}
