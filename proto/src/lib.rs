//! The pure core of chinwag.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod time;

pub use time::{Duration, Instant};
