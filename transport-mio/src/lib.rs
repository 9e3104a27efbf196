//! Drives the chinwag core with real sockets: one mio loop for a server, one for a client, one for a
//! throng of clients.
//!
//! TCP with TLS 1.3 for control, sealed UDP for voice, timers, wake-ups, trust in certificates. There is no protocol
//! logic here: what to send to whom, and when, is the core's matter; and nothing here knows audio or a screen.

pub mod client;
pub mod clock;
#[cfg(test)]
mod counting;
pub mod descriptors;
mod heap;
pub mod history;
pub mod identity;
pub mod mmsg;
mod seal;
pub mod server;
pub mod signals;
mod stream;
pub mod throng;
pub mod trust;

pub use mio::Waker;
