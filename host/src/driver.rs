//! The WASM boundary: from a node's record to an opened node of a sandboxed driver.

pub mod node;
