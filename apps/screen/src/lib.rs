//! What is typed at a terminal and what is seen there: keys, a line while it is typed, and the full screen, as a model and a picture
//! of it. No IO and no clock: whoever has a terminal hands over its bytes and writes what [`paint`] gives him.

#![forbid(unsafe_code)]

mod button;
pub mod commands;
mod complete;
mod draw;
mod draw_status;
mod draw_talk;
mod editor;
mod glyph;
mod key;
mod keys;
mod kitty;
mod line;
mod members;
mod mention;
mod model;
mod notify;
mod overlay;
mod paint;
mod panes;
mod pen;
mod press;
mod room;
mod status;
mod talk;
mod theme;
mod wrap;

pub use button::{Button, Talk};
pub use draw::draw;
pub use editor::{Editor, Entered, Outcome};
pub use key::Key;
pub use keys::Decoder;
pub use members::{LOUDEST, Person};
pub use model::{ENDED, Model, PENDING_SHOWN, ROOMS, Said};
pub use notify::{NOTIFICATION_CHARS, NOTIFICATION_PAUSE_MS, Notifier};
pub use overlay::PASTE_BYTES;
pub use paint::{ENTER, LEAVE, paint};
pub use press::Act;
pub use ratatui_core::{
    buffer::Buffer,
    layout::{Position, Rect},
};
pub use room::RoomId;
pub use status::{Gate, Link, Mic, Path, Status};
pub use talk::{SCROLLBACK_BYTES, SCROLLBACK_LINES};
pub use theme::Theme;
