//! What a person sees: the command line in a sealed environment, with scripted drivers where a driver is needed and
//! as the real program where none is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod scripted;
mod sealed;

mod build;
mod contexts;
mod create;
mod engines;
mod listing;
mod needs_docker;
mod needs_shells;
mod plugin;
mod program;
mod reference;
mod removal;
mod selection;
mod sudo;
