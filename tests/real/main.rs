//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.

mod build;
mod buildx_store;
mod client;
mod loss;
mod solve;

#[path = "../cli/sealed.rs"]
mod sealed;
#[path = "../cli/scripted.rs"]
mod scripted;
