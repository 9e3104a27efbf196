//! What the full screen shows: rooms and what is said there, who is there, what is typed, how it stands. Things happen to it
//! (methods of this module) and keys are pressed ([`Model::press`]); [`crate::draw`] makes a picture of it. No clock, no IO: times are given.

use std::collections::BTreeSet;

use chinwag_proto::{SessionId, limits::MESSAGE_BYTES, text::escape};

use crate::{
    complete::Completion,
    editor::{Editor, Entered},
    line::{Kind, Line},
    members::Member,
    mention::has_name,
    overlay::Overlay,
    panes::Panes,
    press::Paste,
    room::{Room, RoomId},
    status::{Link, Status},
    theme::Theme,
};

/// Rooms that are kept; what comes of others is not shown.
pub const ROOMS: usize = 64;
/// People whose messages are hidden.
pub const IGNORED: usize = 100;

/// See the module.
#[derive(Debug)]
pub struct Model {
    pub(crate) rooms: Vec<Room>,
    /// Which of them is looked at; 0 also if there is none.
    pub(crate) current: usize,
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
    /// What was typed and is not said yet, escaped; of more it is told how many.
    pub(crate) pending: Vec<String>,
    pub(crate) pending_more: usize,
    ignored: BTreeSet<String>,
    /// The names of microphones and of speakers, as far as they are known.
    pub(crate) devices: [Vec<String>; 2],
    rings: bool,
    owes_bell: bool,
    has_focus: bool,
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

/// Messages that wait to be said and are shown; of more it is told how many.
pub const PENDING_SHOWN: usize = 3;

impl Model {
    /// Nobody, nowhere.
    pub fn new(theme: Theme) -> Self {
        Self {
            rooms: Vec::new(),
            current: 0,
            me: String::new(),
            session: None,
            status: Status::default(),
            theme,
            editor: Editor::default(),
            completion: None,
            overlay: None,
            paste: None,
            search: None,
            pending: Vec::new(),
            pending_more: 0,
            ignored: BTreeSet::new(),
            devices: [vec![], vec![]],
            rings: false,
            owes_bell: false,
            has_focus: true,
            now: 0,
            panes: Panes::default(),
        }
    }

    /// The user is in this room, by this name. What stands there stays.
    pub fn enter(&mut self, room: RoomId, name: &str) {
        let name = escape(name).into_owned();
        if let Some(known) = self.room_mut(room) {
            known.name = name;
        } else if self.rooms.len() < ROOMS {
            self.rooms.push(Room::new(room, name));
            self.arrange();
        }
    }

    /// The user is no more in this room.
    pub fn leave(&mut self, room: RoomId) {
        let Some(place) = self.rooms.iter().position(|known| known.id == room) else { return };
        self.rooms.remove(place);
        if self.current == place {
            let last = self.rooms.len().saturating_sub(1);
            let next = self.rooms.get_mut(place.min(last));
            self.editor.put(next.map(|room| std::mem::take(&mut room.draft)).unwrap_or_default());
        }
        if self.current > place || self.current == self.rooms.len() {
            self.current = self.current.saturating_sub(1);
        }
        self.see();
        self.arrange();
    }

    /// Who the user is.
    pub fn set_me(&mut self, session: SessionId, name: &str) {
        name.clone_into(&mut self.me);
        self.session = Some(session);
    }

    /// Somebody said something.
    pub fn said(&mut self, room: RoomId, said: Said<'_>) {
        let Said { at, name, text, is_own, is_history, place } = said;
        if !is_own && self.ignored.contains(&name.to_lowercase()) {
            return;
        }
        let kind = if is_own { Kind::Own } else { Kind::Said };
        let mut line = Line::new(at, kind, name, text);
        (line.is_history, line.place) = (is_history, place);
        line.is_mention = !is_own && has_name(text, &self.me);
        self.owes_bell |= line.is_mention && !is_history && self.rings;
        self.add(room, line);
    }

    /// What was said in a room before all that is here, oldest first; whether there is more.
    pub fn put_before<'a>(&mut self, room: RoomId, said: impl IntoIterator<Item = Said<'a>>, has_more: bool) {
        let Self { rooms, ignored, me, current, has_focus, .. } = self;
        let known = rooms.iter_mut().enumerate().find(|(_, known)| known.id == room);
        let Some((index, room)) = known else { return };
        let shown =
            said.into_iter().filter(|said| said.is_own || !ignored.contains(&said.name.to_lowercase()));
        let lines = shown.map(|Said { at, name, text, is_own, place, .. }| {
            let mut line = Line::new(at, if is_own { Kind::Own } else { Kind::Said }, name, text);
            (line.is_history, line.place) = (true, place);
            line.is_mention = !is_own && has_name(text, me);
            line
        });
        room.put_before(lines.collect(), has_more);
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

    /// Whether there is something earlier than what is here, which is asked for by [`crate::Act::Earlier`].
    pub fn set_has_earlier(&mut self, room: RoomId, has_earlier: bool) {
        if let Some(room) = self.room_mut(room) {
            room.talk.set_has_earlier(has_earlier);
        }
    }

    /// Somebody said something to the user alone, or the user to somebody: `name` is who the other one is.
    pub fn whispered(&mut self, room: RoomId, said: Said<'_>) {
        let Said { at, name, text, is_own, is_history, place } = said;
        if !is_own && self.ignored.contains(&name.to_lowercase()) {
            return;
        }
        let who = if is_own { format!("you to {name}") } else { format!("{name} to you") };
        let mut line = Line::new(at, Kind::Private, &who, text);
        (line.is_history, line.place) = (is_history, place);
        line.is_mention = !is_own;
        self.owes_bell |= line.is_mention && !is_history && self.rings;
        self.add(room, line);
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

    /// So many messages of the room were missed.
    pub fn missed(&mut self, room: RoomId, at: i64, messages: u64) {
        let text = format!("{messages} messages were missed while the connection was lost");
        self.add(room, Line::new(at, Kind::Missed, "", &text));
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
    pub fn set_members<'a>(&mut self, room: RoomId, members: impl Iterator<Item = (SessionId, &'a str)>) {
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

    /// Somebody hears nobody, or does.
    pub fn set_deafened(&mut self, session: SessionId, is_deafened: bool) {
        self.each(session, |member| member.is_deafened = is_deafened);
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
            let is_muted = status.mic.is_some_and(|mic| mic.is_muted);
            self.each(session, |member| {
                member.is_muted = is_muted;
                member.is_deafened = status.is_deafened;
            });
        }
    }

    /// What was typed and waits for the server.
    pub fn set_pending<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        let mut texts = texts.map(|text| escape(text).into_owned());
        self.pending = texts.by_ref().take(PENDING_SHOWN).collect();
        self.pending_more = texts.count();
    }

    /// Empties the conversation that is looked at.
    pub fn clear(&mut self) {
        if let Some(room) = self.rooms.get_mut(self.current) {
            room.talk.clear();
        }
        self.search = None;
    }

    /// Hides what somebody says from now on, or no more; whether he is hidden now, if that could be kept.
    pub fn toggle_ignored(&mut self, name: &str) -> Option<bool> {
        let name = name.to_lowercase();
        if self.ignored.remove(&name) {
            return Some(false);
        }
        if self.ignored.len() == IGNORED {
            return None;
        }
        Some(self.ignored.insert(name))
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
        let Link::Lost { retry_at } = self.status.link else { return None };
        let left = retry_at.checked_sub(self.now).filter(|&left| left > 0)?;
        // The next whole second.
        Some(retry_at - (left - 1) / 1000 * 1000)
    }

    /// The screen has so many columns and rows.
    pub fn set_size(&mut self, columns: u16, rows: u16) {
        (self.panes.columns, self.panes.rows) = (columns, rows);
        self.arrange();
    }

    fn arrange(&mut self) {
        self.panes = Panes::of(self.panes.columns, self.panes.rows, self.rooms.len());
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
            let draft = self.editor.take();
            if let Some(left) = self.rooms.get_mut(self.current) {
                left.draft = draft;
            }
            self.current = room;
            self.editor.put(std::mem::take(&mut self.rooms[room].draft));
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
