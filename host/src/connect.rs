//! From a byte stream that a driver opened to a gRPC channel that is known to be alive.

pub mod backoff;
pub mod channel;
pub mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod liveness;
pub mod peer;
pub mod helper_program;
pub mod pipe;
pub mod tcp;
pub mod tls;
