//! BuildKit wire protocol.
