//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "what tests share fails like a test"
)]

mod build;
mod buildx_store;
mod client;
mod command;
mod files;
mod loss;
mod process_driver;
mod solve;

#[path = "../cli/sealed.rs"]
mod sealed;
#[path = "../cli/scripted.rs"]
mod scripted;
