//! The bodies of the fuzz targets: each takes any bytes and panics when the core, the sound or the screen does what it must not.
//!
//! Nothing in here knows libFuzzer: an ordinary test replays the corpus through the same bodies.

#![forbid(unsafe_code)]

mod client;
mod client_ops;
mod datagram;
mod ear;
mod frame;
mod jitter;
mod ops;
mod screen;
mod server;
mod shelf;
mod wav;
mod world;

pub use client::client;
pub use datagram::{Toy, datagram};
pub use frame::frame;
pub use jitter::jitter;
pub use screen::screen;
pub use server::server;
pub use wav::wav;
pub use world::world;

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also its corpus's folder.
pub const TARGETS: [(&str, Body); 8] = [
    ("frame", frame),
    ("datagram", datagram),
    ("server", server),
    ("client", client),
    ("wav", wav),
    ("jitter", jitter),
    ("screen", screen),
    ("world", world),
];
