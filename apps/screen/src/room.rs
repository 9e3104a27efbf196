//! A room: what is said there, who is there, and what the user has not seen.

use std::borrow::Cow;

use crate::{editor::Entered, line::Line, members::Members, talk::Talk};

/// A number by which whoever feeds the model knows a room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RoomId(pub u32);

/// See the module.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// As it is shown: escaped.
    pub(crate) name: String,
    /// It is between the user and somebody else alone.
    pub(crate) is_private: bool,
    /// What it is about, as it is shown: escaped.
    pub(crate) topic: String,
    pub(crate) talk: Talk,
    pub(crate) members: Members,
    /// Lines that came while the user was not there.
    pub(crate) unread: usize,
    /// Of these, those with his name.
    pub(crate) mentions: usize,
    /// What was typed there and not entered, while another room is looked at.
    pub(crate) draft: Entered,
    /// The last place that the user has seen, and the last that there is.
    pub(crate) read: u64,
    newest: u64,
    /// What he had read the last time, until what was said since is known.
    read_before: Option<u64>,
}

impl Room {
    pub(crate) fn new(id: RoomId, name: String) -> Self {
        Self {
            id,
            name,
            is_private: false,
            topic: String::new(),
            talk: Talk::default(),
            members: Members::default(),
            unread: 0,
            mentions: 0,
            draft: Entered::default(),
            read: 0,
            newest: 0,
            read_before: None,
        }
    }

    /// What it is called where rooms and conversations of two stand beside each other: these begin with `@`. A room whose name begins so has
    /// a backslash before it, and so has one whose name begins with such a backslash, so that two names stay two.
    pub(crate) fn label(&self) -> Cow<'_, str> {
        match self.is_private {
            true => format!("@{}", self.name).into(),
            false if self.name.starts_with(['@', '\\']) => format!("\\{}", self.name).into(),
            false => self.name.as_str().into(),
        }
    }

    /// A line of the conversation. `is_watched`: the user sees it come.
    pub(crate) fn add(&mut self, line: Line, is_watched: bool) {
        self.newest = self.newest.max(line.place);
        if is_watched {
            self.read = self.read.max(line.place);
        } else if !line.is_history {
            self.talk.mark();
            self.unread += 1;
            self.mentions += usize::from(line.is_mention);
        }
        self.talk.push(line);
    }

    /// Places are of a new numbering, of which the user has read so much the last time.
    pub(crate) fn set_read(&mut self, read: Option<u64>) {
        self.talk.forget_places();
        (self.read, self.newest, self.read_before) = (read.unwrap_or_default(), 0, read);
    }

    /// What was said before all that is here.
    pub(crate) fn put_before(&mut self, lines: Vec<Line>, has_more: bool) {
        let newest = lines.iter().map(|line| line.place).max();
        self.newest = self.newest.max(newest.unwrap_or_default());
        if let Some(read) = self.read_before.take() {
            let news = lines.iter().filter(|line| line.place > read);
            let (unread, mentions) = news.fold((0, 0), |(unread, mentions), line| {
                (unread + 1, mentions + usize::from(line.is_mention))
            });
            self.unread += unread;
            self.mentions += mentions;
            self.talk.set_read(Some(read).filter(|_| unread > 0));
        }
        self.talk.put_before(lines, has_more);
    }

    /// What was missed, up to this place.
    pub(crate) fn fill(&mut self, place: u64, lines: Vec<Line>, text: &str, is_watched: bool) {
        let (count, mentions) = self.talk.fill(place, lines, text);
        if count > 0 && !is_watched {
            self.unread += count;
            self.mentions += mentions;
            self.talk.mark_gap(place);
        }
    }

    /// The user sees what is new.
    pub(crate) fn see(&mut self) {
        (self.unread, self.mentions) = (0, 0);
        self.read = self.read.max(self.newest);
        self.talk.see_marker();
    }
}
