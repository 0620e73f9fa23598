//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.
//!
//! `client`, `loss` and `solve` talk to a daemon through the library; all others run the program as a person would. A
//! name with `needs_` says what a machine must have for it.

mod build;
mod client;
mod failures;
mod harness;
mod implicit;
mod inputs;
mod interrupt;
mod loss;
mod many_files;
mod needs_buildx;
mod needs_netns;
mod needs_registry;
mod needs_rootless;
mod outputs;
mod process;
mod remote;
mod shown;
mod solve;
