//! What the programs that sit in a terminal have in common: lines in and out, the row in which they are typed, and signals. No
//! protocol but that of the oldest programs, which have none: text over TCP, as it comes ([`plain`]).

mod crash;
mod events;
mod full;
mod keyboard;
mod modes;
pub mod plain;
mod row;
mod screen;
mod signals;
mod terminal;

pub use events::{attend_person, next_event};
pub use full::{Full, Painter};
pub use keyboard::{Keyboard, Typed, WAITING_LINES};
pub use screen::{Screen, print};
pub use terminal::{Output, Terminal};
