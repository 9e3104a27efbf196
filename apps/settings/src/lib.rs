//! What a program is told by its flags, the environment and a file, in that order of precedence.
//!
//! The table of settings is the `clap` struct of a program's flags: `--max-clients` is `max_clients` in the file and
//! `CHINWAG_SERVER_MAX_CLIENTS` in the environment, with the same meaning, range and default. A switch `--no-stereo` is the
//! setting `stereo` the other way round. So a new flag is a new setting; where it has no default, the table
//! is told an example of what it could be, too.
//!
//! What is not here: which settings there are, and what they do.

mod example;
mod file;
mod number;
mod problem;
mod settle;
mod table;

pub use crate::{
    file::File,
    number::whole,
    problem::Problems,
    settle::{Refusal, Settled, settle, settle_from},
    table::Table,
};
