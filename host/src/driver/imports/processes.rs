//! A daemon on this machine that outlives the command.

/// A program that was found.
pub struct Program {}

/// A lock among all processes that use the node.
pub struct Lock {}

/// A sign that the daemon is in use.
pub struct Lease {}

/// How to start the daemon.
pub struct Launch {}

/// The node's daemon.
pub struct Daemon {}
