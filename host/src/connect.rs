//! From a byte stream that a driver opened to a gRPC channel that is known to be alive.

pub mod helper_program;
pub mod pipe;
pub mod tls;
