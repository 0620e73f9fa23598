//! Tests against real servers. They need the programs that `cargo xtask test` builds, and root where steps run.

mod build;
mod client;
mod loss;
mod solve;
