//! BuildKit's protocol as a client speaks it: solve, status, and the session services a daemon calls back.

pub mod session;
pub mod spec;
