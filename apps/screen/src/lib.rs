//! What is typed at a terminal and what is seen there: keys, and a line while it is typed. No IO: whoever has a terminal hands over
//! its bytes.

#![forbid(unsafe_code)]

mod editor;
mod keys;

pub use editor::{Editor, Entered, Outcome};
pub use keys::{Decoder, Key};
