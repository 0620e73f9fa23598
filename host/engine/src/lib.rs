//! The engine configuration shared by the host and the ahead-of-time compiler.
//!
//! Code that was compiled with one configuration loads only into an engine with the same one, so there is one function
//! that makes it, and everything that names compiled code derives its name from the same constants.

#[cfg(feature = "compile")]
pub mod compile;
#[cfg(feature = "compile")]
pub mod sections;

use std::time::Duration;

use wasmtime::{Config, Engine, ModuleVersionStrategy, Result};

/// The engine's full version. Compiled code carries it, because the engine by itself compares major versions only.
pub const ENGINE_VERSION: &str = "48.0.8";

/// Stack of a guest. Rust's own shadow stack (1 MiB) runs out first, so this only bounds other toolchains.
pub const GUEST_STACK: usize = 512 << 10;

/// Stack of the fibre that a guest and the host functions it calls run on; the difference to [`GUEST_STACK`] is for
/// host functions.
pub const FIBRE_STACK: usize = 1 << 20;

/// Time between two epoch ticks: how late another task may be because a guest is computing.
pub const TICK: Duration = Duration::from_millis(10);

/// Name of the custom section with a driver's manifest.
pub const MANIFEST_SECTION: &str = "bkhost:manifest";

/// Name of the custom section in which an SDK says what it is; for messages only, nothing depends on it.
pub const SDK_SECTION: &str = "bkhost:sdk";

/// Largest manifest.
pub const MANIFEST_LIMIT: usize = 64 << 10;

/// The target that drivers are compiled for: this architecture with no optional CPU feature, so that code compiled on
/// one machine loads on every other.
pub const GENERIC_TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// The configuration of every engine of this project.
pub fn engine_config() -> Result<Config> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // For debuggers only: the engine finds its frames by itself, and no unwinding passes a guest. Registering it costs
        // every command a walk through all of it.
        .native_unwind_info(false)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBRE_STACK)
        .module_version(ModuleVersionStrategy::Custom(code_version()))?;
    Ok(config)
}

/// What compiled code says it was compiled by; code that says something else is refused when it is loaded.
pub fn code_version() -> String {
    format!("bkhost-{ENGINE_VERSION}-epoch")
}

/// Names compiled code in a cache: different for every engine version, configuration, architecture and component.
/// `digest` is that of the component's file, without its algorithm.
pub fn cache_key(digest: &str) -> String {
    format!("{}-{GENERIC_TARGET}-{digest}", code_version())
}

/// Starts the thread that makes guests yield; it ends when the engine is dropped.
pub fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("bkhost-ticker".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_locked_one() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{ENGINE_VERSION}\"\n");
        assert!(lock.contains(&entry), "Cargo.lock has another wasmtime");
    }

    #[test]
    fn the_configuration_makes_an_engine() {
        let engine = Engine::new(&engine_config().unwrap()).unwrap();
        start_ticker(&engine).unwrap();
    }

    #[test]
    fn the_key_names_version_target_and_component() {
        let key = cache_key("abc");
        assert!(key.contains(ENGINE_VERSION) && key.contains(GENERIC_TARGET) && key.ends_with("-abc"));
    }
}
