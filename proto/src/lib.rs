//! The pure core of chinwag: wire codec, hub, server machine and client machine.
//!
//! There is no IO in here, no clock, no thread, no system randomness: a driver hands in bytes, time and a seed and
//! carries out what the machines answer. The same code runs behind real sockets and in the simulator.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod audit;
pub mod client;
pub mod history;
pub mod hooks;
pub mod hub;
mod ids;
pub mod limits;
pub mod link;
pub mod name;
pub mod outbox;
mod outqueue;
pub mod pacer;
mod rate;
pub mod relay;
mod report;
mod rng;
pub mod server;
pub mod text;
mod time;
pub mod wire;

pub use ids::{MessageId, Peer, RoomId, Seq, SessionId};
pub use report::ReceiverReport;
pub use rng::Rng;
pub use time::{Duration, Instant};
