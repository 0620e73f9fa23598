//! One file per command: its run function.

pub mod build;
