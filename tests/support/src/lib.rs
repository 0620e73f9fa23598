//! What tests share.

pub mod daemon;
pub mod provided;
