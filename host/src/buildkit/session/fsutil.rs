//! Trees of files over a stream of packets, in both directions (fsutil's protocol).
//!
//! The sender lists entries in path order; the receiver asks for the content of those it wants. Both sides must read
//! whatever they write, or they wait for each other for ever.

pub mod entry;
pub mod follow;
pub mod pattern;
pub mod receive;
pub mod send;
pub mod tree;
pub mod walk;
