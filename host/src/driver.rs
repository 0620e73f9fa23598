//! The WASM boundary: from a node's record to an opened node of a sandboxed driver.

pub(crate) mod bindings;
pub mod catalog;
pub mod deadline;
pub(crate) mod engine;
pub mod environment;
pub(crate) mod grants;
pub(crate) mod imports;
pub mod job_facts;
pub(crate) mod limits;
pub(crate) mod linker;
pub mod load;
pub mod manifest;
pub mod node;
pub(crate) mod node_state;
pub(crate) mod operation;
pub(crate) mod state;
pub(crate) mod track;
