//! What can be typed: one file per command; arguments become plain request structs.

pub mod build;
pub mod commands;
