//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.
//!
//! `bad_guests`, `client`, `command`, `files`, `loss` and `solve` talk to a daemon through the library; all others run the program as a person
//! would. A name with `needs_` says what a machine must have for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "what tests share fails like a test"
)]

mod bad_guests;
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
mod needs_buildx_errors;
mod needs_buildx_store;
mod needs_docker;
mod needs_netns;
mod needs_podman;
mod needs_registry;
mod needs_rootless;
mod outputs;
mod process;
mod remote;
mod shown;
mod silence;
mod solve;
mod two_nodes;
mod unwritable;

#[allow(dead_code, reason = "the tests of drivers use all of it")]
#[path = "../driver/fixture.rs"]
mod fixture;
#[path = "../cli/scripted.rs"]
mod scripted;
#[path = "../cli/sealed.rs"]
mod sealed;
