//! The real programs over loopback, from the outside. The server and the simulator, which has the relay, must be built
//! beside the client: `cargo build --workspace`, or any cargo command for the whole workspace. The old programs are doubles in
//! Python (`script/classic`).

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod classic;
mod common;
mod ctl;
mod devices;
mod duo;
mod full;
mod full_end;
mod history;
mod memory;
mod mixed;
mod network;
mod ptt;
mod rooms;
mod seat;
mod settings;
mod signals;
#[cfg(target_os = "linux")]
mod system_calls;
mod terminal;
mod text;
mod trouble;
mod voice;
