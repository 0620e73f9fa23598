//! The process's one engine with the linker that all components share, and the only place that turns bytes into
//! executable code.

use std::time::Duration;

use bkhost_engine::{engine_config, start_ticker};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::linker::linker;
use super::state::StoreData;

/// The engine and what components can import.
pub(crate) struct Runtime {
    /// The engine; its ticker runs until it is dropped.
    pub engine: Engine,
    /// Everything that is offered.
    pub linker: Linker<StoreData>,
    /// How long a guest may neither wait nor report progress.
    pub idle_limit: Duration,
}

impl Runtime {
    /// A new engine; costs a few microseconds and a thread.
    pub fn new(idle_limit: Duration) -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine_config()?)?;
        start_ticker(&engine).map_err(wasmtime::Error::new)?;
        let linker = linker(&engine)?;
        Ok(Self {
            engine,
            linker,
            idle_limit,
        })
    }

    /// Loads code that `bkhost-aot` compiled.
    ///
    /// The engine refuses code of another version, configuration or processor, but believes everything else: whoever
    /// can write `code` runs programs as this process. Callers pass what is embedded in this binary, or what a cache
    /// that only its owner can write has kept under a digest that was checked.
    #[expect(
        unsafe_code,
        reason = "loading compiled code is executing it; the callers' duty is documented"
    )]
    pub fn load(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: see the duty of callers above; the bytes are copied, so nobody can change them afterwards.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}
