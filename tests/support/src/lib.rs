//! What tests share.

pub mod provided;
