//! What can be typed: one file per command; arguments become plain request structs.

pub mod build;
pub mod commands;
pub mod env_vars;
pub mod flags;
pub mod platform_summary;
pub mod table;
pub mod template;
pub mod values;
