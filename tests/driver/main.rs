//! Drivers through the real engine: guests that break the rules, and what the host makes of them.
//!
//! The guests are built by `cargo xtask drivers --fixtures`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test has to say no more than where"
)]

mod altered;
mod bounds;
mod built_in;
mod connections;
mod contract;
mod engine;
mod fit;
mod fixture;
mod operations;
mod process;
#[path = "../cli/sealed.rs"]
mod sealed;
mod shipped;
