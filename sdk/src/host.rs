//! The seam to the host: on WebAssembly the generated imports, elsewhere the scripted fake with the same signatures.
//!
//! It is a choice of modules and not a table of functions, so that the linker drops every import that a driver does not
//! use: a component may then run on a host that does not know the rest.

pub(crate) use crate::bindings::bkhost::host::types;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::bkhost::host::{
    cluster, config, connections, engine, log, processes, random, state, steps, streams, time,
};
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::wasi::io::poll;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::fake::{
    cluster, config, connections, engine, log, poll, processes, random, state, steps, streams, time,
};
