//! A deterministic world for chinwag: one server and many clients, the production machines, in virtual time over a
//! network that delays, loses, reorders, repeats, corrupts, parts and cuts, while nodes crash and pause and peers mean harm. One
//! seed is one history.
//!
//! There are no ticks: the world jumps from event to event and wakes a machine exactly when it asked to be woken, so that
//! a deadline that is not announced, or a machine that spins, shows. Every run checks what must hold ([`Failure`] names
//! what did not). With [`run_with_voices`] people speak and hear WAV files through the production path of sound; else
//! their voice is made-up bytes. There is no real socket, no thread and no clock in here.
//!
//! ```
//! let scenario = chinwag_sim::Scenario { seed: 7, clients: 3, seconds: 5, ..Default::default() };
//! let report = chinwag_sim::run(&scenario, None).unwrap();
//! assert_eq!(report.trace, chinwag_sim::run(&scenario, None).unwrap().trace);
//! ```

#![forbid(unsafe_code)]

mod alarm;
mod check;
mod classic;
mod client;
mod clock;
mod ear;
mod heard;
pub mod lab;
mod net;
mod person;
mod queue;
mod random;
mod scenario;
mod script;
mod seal;
mod server;
mod settings;
mod sometimes;
mod sound;
mod spec;
mod stranger;
mod tcp;
mod trace;
mod world;

pub use check::Rule;
pub use net::way::{Arrival, Fate, Lost, Way};
pub use scenario::{Counts, Failure, MAX_CLIENTS, MAX_ROOMS, MAX_SECONDS, Report, Scenario};
pub use script::Script;
pub use settings::SpecError;
pub use sometimes::{Sometimes, Tally};
pub use sound::{Voice, VoiceReport};
pub use spec::{Key, Spec};
pub use world::{run, run_with_voices};
