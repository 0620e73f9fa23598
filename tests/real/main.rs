//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.
//!
//! `client`, `command`, `files`, `loss` and `solve` talk to a daemon through the library; all others run the program as a person
//! would. A name with `needs_` says what a machine must have for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "what tests share fails like a test"
)]

mod build;
mod client;
mod command;
mod commands;
mod failures;
mod files;
mod harness;
mod implicit;
mod inputs;
mod interrupt;
mod loss;
mod many_files;
mod needs_buildx;
mod needs_buildx_store;
mod needs_docker;
mod needs_netns;
mod needs_registry;
mod needs_rootless;
mod outputs;
mod process;
mod remote;
mod shown;
mod solve;
mod two_nodes;
mod unwritable;

#[path = "../cli/scripted.rs"]
mod scripted;
#[path = "../cli/sealed.rs"]
mod sealed;
