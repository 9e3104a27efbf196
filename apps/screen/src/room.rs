//! A room: what is said there, who is there, and what the user has not seen.

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
    /// What is typed there, while the user looks elsewhere.
    pub(crate) draft: Entered,
    pub(crate) talk: Talk,
    pub(crate) members: Members,
    /// Lines that came while the user was not there.
    pub(crate) unread: usize,
    /// Of these, those with his name.
    pub(crate) mentions: usize,
}

impl Room {
    pub(crate) fn new(id: RoomId, name: String) -> Self {
        Self {
            id,
            name,
            is_private: false,
            topic: String::new(),
            draft: Entered::default(),
            talk: Talk::default(),
            members: Members::default(),
            unread: 0,
            mentions: 0,
        }
    }

    /// A line of the conversation. `is_watched`: the user sees it come.
    pub(crate) fn add(&mut self, line: Line, is_watched: bool) {
        if !is_watched && !line.is_history {
            self.talk.mark();
            self.unread += 1;
            self.mentions += usize::from(line.is_mention);
        }
        self.talk.push(line);
    }

    /// The user sees what is new.
    pub(crate) fn see(&mut self) {
        (self.unread, self.mentions) = (0, 0);
        self.talk.see_marker();
    }
}
