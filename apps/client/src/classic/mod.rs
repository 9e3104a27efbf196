//! The dialects of the old Python programs, spoken to their servers as they are: text in the clear, each read a message, and
//! voice as bare samples.

pub(crate) mod duo;
pub(crate) mod group;
mod pcm;
mod voice;
