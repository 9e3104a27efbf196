//! Bytes on the wire, both ways, and nothing else: no state of a conversation, no rights.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all)] // Generated from the schema, where its documentation is.
pub mod chinwag1;
pub mod control;
pub mod frame;
pub mod path;
pub mod replay;
pub mod voice;
