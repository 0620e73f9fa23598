//! What tests share.

pub mod daemon;
