//! Where on the screen is what.

use ratatui_core::layout::Rect;

/// Columns of the rooms.
const ROOM_COLUMNS: u16 = 18;
/// Columns of the members.
const MEMBER_COLUMNS: u16 = 20;
/// The conversation is at least so wide beside others.
const TALK_COLUMNS: u16 = 40;
/// Narrower than that, there is no room for times.
const TIMED_COLUMNS: u16 = 30;
/// With fewer rows, there is none for the topic.
const TOPIC_ROWS: u16 = 12;
/// A time, and a blank behind it.
pub(crate) const TIME_COLUMNS: u16 = 6;

/// See the module. What has no room is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Panes {
    /// Of all.
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    pub(crate) rooms: Rect,
    /// What the room is about.
    pub(crate) topic: Rect,
    pub(crate) talk: Rect,
    pub(crate) members: Rect,
    pub(crate) status: Rect,
    pub(crate) input: Rect,
}

impl Panes {
    /// The members first, then the rooms, if there is more than one, then all for the conversation; the line that is typed stays as
    /// long as there is a row.
    pub(crate) fn of(columns: u16, rows: u16, rooms: usize, has_topic: bool) -> Self {
        let height = rows.saturating_sub(2);
        let (mut left, mut right) = (0, columns);
        let mut members = Rect::default();
        if columns >= TALK_COLUMNS + MEMBER_COLUMNS {
            right = columns - MEMBER_COLUMNS;
            members = Rect::new(right, 0, MEMBER_COLUMNS, height);
        }
        let mut room_list = Rect::default();
        if rooms > 1 && right >= TALK_COLUMNS + ROOM_COLUMNS {
            left = ROOM_COLUMNS;
            room_list = Rect::new(0, 0, ROOM_COLUMNS, height);
        }
        let (mut status, mut input) = (Rect::default(), Rect::default());
        if rows > 0 {
            input = Rect::new(0, rows - 1, columns, 1);
        }
        if rows > 1 {
            status = Rect::new(0, rows - 2, columns, 1);
        }
        let topic_rows = u16::from(has_topic && rows >= TOPIC_ROWS);
        let topic = Rect::new(left, 0, right - left, topic_rows);
        let talk = Rect::new(left, topic_rows, right - left, height - topic_rows);
        Self { columns, rows, rooms: room_list, topic, talk, members, status, input }
    }

    /// Rows of what lies over the conversation, below its title.
    pub(crate) fn overlay_rows(&self) -> usize {
        usize::from(self.rows.saturating_sub(3))
    }

    pub(crate) fn has_times(&self) -> bool {
        self.talk.width >= TIMED_COLUMNS
    }

    /// Columns and rows of what is said.
    pub(crate) fn talk_size(&self) -> (usize, usize) {
        let times = if self.has_times() { TIME_COLUMNS } else { 0 };
        (usize::from(self.talk.width - times), usize::from(self.talk.height))
    }
}
