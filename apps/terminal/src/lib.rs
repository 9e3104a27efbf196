//! What the programs that sit in a terminal have in common: plain lines in and out, and signals. No protocol but that of the
//! oldest programs, which have none: text over TCP, as it comes ([`plain`]).

mod keyboard;
pub mod plain;
mod screen;
mod signals;
mod terminal;

pub use keyboard::{Keyboard, Typed, WAITING_LINES};
pub use screen::{Screen, print};
pub use signals::on_signal;
pub use terminal::{Cause, Terminal};
