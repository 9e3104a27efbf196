//! The full screen: what it shows of what happens, what keys do, what no hostile text can do.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;
mod hostile;
mod keys;
mod paint;
mod picture;
