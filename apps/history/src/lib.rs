//! Keeps a server's messages in one SQLite file, durably: what [`Store::write`](chinwag_transport_mio::history::Store::write)
//! took outlives a crash of the program and of the machine. Beside it: pages and search of the past ([`StoreReader`]), forgetting
//! what is too old or too much ([`Retention`]), a [`backup`] and an [`export_json`] that work while a server runs, [`restore`] and
//! [`remove_room`] for when none does.
//!
//! It does not decide what is kept, or who may read it: that is the core's matter. It does not encrypt. One server has a file at a
//! time; a file is on a local disk, since SQLite's write-ahead log needs memory that all its users share.
//!
//! [`StoreReader`]: chinwag_transport_mio::history::StoreReader
#![forbid(unsafe_code)]

mod backup;
mod clock;
mod error;
mod export;
mod file;
mod lock;
mod place;
mod query;
mod reader;
mod replace;
mod restore;
mod retention;
mod rooms;
mod rows;
mod schema;
mod store;

pub use backup::backup;
pub use clock::CLOCK_TRIAL;
pub use error::{Error, Fault};
pub use export::{export_json, rfc_3339};
pub use lock::missing;
pub use reader::{SEARCH_PLACES, SEARCH_TIME};
pub use replace::{restore, restore_readable};
pub use retention::{FREE_PAGES_KEPT, Retention, TIDY_BYTES, TIDY_MESSAGES, VACUUM_PAGES};
pub use rooms::{RoomSummary, remove_room, rooms};
pub use store::{WAL_BYTES, open};
