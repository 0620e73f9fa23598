//! A host for BuildKit builders whose drivers are sandboxed WASM components.
//!
//! The modules stand in the order in which a build passes them:
//!
//! ```text
//! typed text → request → builder record → driver node → connection → channel → assignments → solve + session → events → results
//!   cli          cli        store           driver        driver      connect     plan          buildkit       progress   output
//! ```
//!
//! `docker` speaks the Docker Engine API for the drivers that need it. Nothing later in this chain knows anything earlier in it.

pub mod cli;
pub mod store;
pub mod docker;
pub mod driver;
pub mod acquire;
pub mod connect;
pub mod plan;
pub mod buildkit;
pub mod progress;
pub mod output;

pub mod causes;
pub mod duration;
pub mod error;
pub mod fs;
pub mod git;
pub mod nearest;
pub mod platform;
pub mod keeper;
pub mod ui;

#[cfg(test)]
mod boundaries;
