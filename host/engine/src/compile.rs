//! From a component's bytes to machine code for the generic CPU.

use wasmtime::Engine;

use crate::sections::{Sections, SectionsError};
use crate::{GENERIC_TARGET, engine_config};

/// Why a component could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is not a sound component, or its sections break a rule.
    #[error(transparent)]
    Sections(#[from] SectionsError),
    /// The compiler refused it.
    #[error("Cannot compile the component")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A compiled driver and what it says about itself.
pub struct Compiled {
    /// Machine code, to be loaded by an engine of the same configuration.
    pub code: Vec<u8>,
    /// Its sections, which the compiled form has lost.
    pub sections: Sections,
}

/// Compiles components; making one costs little, so use it for as many files as there are.
pub struct Compiler {
    engine: Engine,
}

impl Compiler {
    /// A compiler for [`GENERIC_TARGET`].
    pub fn new() -> Result<Self, CompileError> {
        let make = || {
            let mut config = engine_config()?;
            config.target(GENERIC_TARGET)?;
            Engine::new(&config)
        };
        let engine = make().map_err(engine_error)?;
        Ok(Self { engine })
    }

    /// Validates the whole of `component`, reads its sections and compiles it.
    pub fn compile(&self, component: &[u8]) -> Result<Compiled, CompileError> {
        let sections = Sections::read(component)?;
        let code = self
            .engine
            .precompile_component(component)
            .map_err(engine_error)?;
        Ok(Compiled { code, sections })
    }
}

fn engine_error(error: wasmtime::Error) -> CompileError {
    CompileError::Engine(error.into())
}
