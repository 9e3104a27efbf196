//! A deterministic world for chinwag: one server and many clients, the production machines, in virtual time over a
//! network that delays, loses, reorders, repeats, corrupts and cuts. One seed is one history.
//!
//! There are no ticks: the world jumps from event to event and wakes a machine exactly when it asked to be woken, so that
//! a deadline that is not announced, or a machine that spins, shows. Every run checks what must hold ([`Failure`] names
//! what did not). With [`run_with_voices`] people speak and hear WAV files through the production path of sound; else
//! their voice is made-up bytes. There is no real socket, no thread and no clock in here; servers do not crash and networks do
//! not partition yet.
//!
//! ```
//! let scenario = chinwag_sim::Scenario { seed: 7, clients: 3, seconds: 5, ..Default::default() };
//! let report = chinwag_sim::run(&scenario, None).unwrap();
//! assert_eq!(report.trace, chinwag_sim::run(&scenario, None).unwrap().trace);
//! ```

#![forbid(unsafe_code)]

mod check;
mod client;
mod heard;
pub mod lab;
mod net;
mod netspec;
mod person;
mod queue;
mod random;
mod scenario;
mod seal;
mod server;
mod sound;
mod tcp;
mod trace;
mod world;

pub use netspec::{NetSpec, NetSpecError};
pub use scenario::{Counts, Failure, MAX_CLIENTS, MAX_ROOMS, MAX_SECONDS, Report, Scenario};
pub use sound::{Voice, VoiceReport};
pub use world::{run, run_with_voices};
