//! BuildKit's protocol as a client speaks it: solve, status, and the session services a daemon calls back.

pub mod client;
pub mod convert;
pub mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod gateway;
pub mod history;
pub mod session;
pub mod solve;
pub mod spec;
pub mod worker;
