//! Host functions: one file for each interface of `bkhost:host`, written once for all tracks.

pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod engine;
pub(crate) mod log;
pub(crate) mod pollables;
pub(crate) mod processes;
pub(crate) mod random;
mod read_ahead;
pub(crate) mod requests;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod time;
pub(crate) mod types;
