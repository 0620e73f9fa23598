//! Drivers through the real engine: guests that break the rules, and what the host makes of them.
//!
//! The guests are built by `cargo xtask drivers --fixtures`.

mod bounds;
mod connections;
mod fit;
mod fixture;
mod operations;
mod process;
mod shipped;
