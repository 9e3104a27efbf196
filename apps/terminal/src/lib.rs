//! What the programs that sit in a terminal have in common: plain lines in and out, and signals. No protocol but that of the
//! oldest programs, which have none: text over TCP, as it comes ([`plain`]).

mod events;
mod keyboard;
pub mod plain;
mod screen;
mod signals;
mod terminal;

pub use events::{attend_person, next_event};
pub use keyboard::{Keyboard, Typed, WAITING_LINES};
pub use screen::{Screen, print};
pub use terminal::{Cause, Terminal};
