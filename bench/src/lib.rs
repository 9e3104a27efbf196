//! Rigs that put load on the core's machines in virtual time: for the program beside this library, whose instructions
//! `script/bench-instructions` counts, and for the benches of other crates.
//!
//! A package of its own, since the tools that other packages test with ask for features of the core's dependencies that no
//! program has: what is counted here is what is shipped.

mod relay;
mod server;

pub use relay::{Open, VoiceRig};
pub use server::ServerRig;
