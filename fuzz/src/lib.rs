//! The bodies of the fuzz targets: each takes any bytes and panics when the core does what it must not.
//!
//! Nothing in here knows libFuzzer: an ordinary test replays the corpus through the same bodies.

#![forbid(unsafe_code)]

mod datagram;
mod frame;
mod ops;
mod server;

pub use datagram::{Toy, datagram};
pub use frame::frame;
pub use server::server;

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also its corpus's folder.
pub const TARGETS: [(&str, Body); 3] = [("frame", frame), ("datagram", datagram), ("server", server)];
