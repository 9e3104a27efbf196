//! A program that fills the whole screen: what the terminal asks of it, and how it tells the terminal that something has changed.

use std::{fmt, sync::Arc};

use crate::terminal::Shared;

/// What has the whole screen to itself.
pub trait Full: fmt::Debug + Send + Sync {
    /// What is to be written so that a screen of this size shows what it should: what has changed since the last time, or all of it
    /// if `afresh`.
    fn paint(&self, columns: u16, rows: u16, afresh: bool) -> String;

    /// Lines that somebody wanted to print.
    fn print(&self, text: &str);
}

/// Brings the screen up to date.
#[derive(Clone, Debug)]
pub struct Painter(pub(crate) Arc<Shared>);

impl Painter {
    /// Writes what has changed, or everything if `afresh`; false while the terminal is not the program's. Waits as long as it takes
    /// nothing.
    pub fn paint(&self, afresh: bool) -> bool {
        self.0.paint(afresh)
    }
}
