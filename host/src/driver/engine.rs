//! The process's one engine with the linker that all components share, and the only place that turns bytes into
//! executable code.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bkhost_engine::{engine_config, start_ticker};
use rustix::mm::{MprotectFlags, mprotect};
use wasmtime::component::{Component, Linker};
use wasmtime::{CustomCodeMemory, Engine};

use super::linker::linker;
use super::state::StoreData;

/// Code that `bkhost-aot` compiled.
pub(crate) enum Code {
    /// In this program's own file.
    Embedded(&'static Embedded),
    /// From a place that only the user can write.
    Read(Vec<u8>),
}

/// Bytes on pages of their own, so that code among them can be made executable where it is.
#[repr(C, align(4096))]
pub(crate) struct Embedded<B: ?Sized = [u8]>(pub B);

/// Whether embedded code is executed where it is. Elsewhere than here, processors have to be told of new code, which the
/// engine does for the memory that it makes itself.
const IN_PLACE: bool = cfg!(target_arch = "x86_64");

/// Where embedded code is in use: addresses of its bytes.
static IN_USE: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());

fn in_use() -> MutexGuard<'static, Vec<Range<usize>>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Embedded {
    /// Takes the bytes for one component, unless another has them: it changes the rights of their pages, and traps are
    /// found by address. They are free again when the component's memory is given back.
    fn take(&'static self) -> bool {
        if !IN_PLACE {
            return false;
        }
        let start = self.0.as_ptr().addr();
        let mut in_use = in_use();
        let free = in_use.iter().all(|bytes| bytes.start != start);
        if free {
            in_use.push(start..start.saturating_add(self.0.len()));
        }
        free
    }
}

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
        let mut config = engine_config()?;
        if IN_PLACE {
            config.with_custom_code_memory(Some(Arc::new(WhereItIs)));
        }
        let engine = Engine::new(&config)?;
        start_ticker(&engine).map_err(wasmtime::Error::new)?;
        let linker = linker(&engine)?;
        Ok(Self {
            engine,
            linker,
            idle_limit,
        })
    }

    /// Loads code.
    ///
    /// The engine refuses code of another version, configuration or processor, but believes everything else: whoever
    /// can write it runs programs as this process. Callers pass what is embedded in this program, or what a cache that
    /// only its owner can write has kept under a digest that was checked.
    #[expect(
        unsafe_code,
        reason = "loading compiled code is executing it; the callers' duty is documented"
    )]
    pub fn load(&self, code: &Code) -> wasmtime::Result<Component> {
        let bytes = match code {
            Code::Embedded(code) if code.take() => {
                // SAFETY: see the duty of callers above; the bytes live as long as the process, which maps them without
                // the right to write, and no other component is made of them.
                return unsafe { Component::deserialize_raw(&self.engine, NonNull::from_ref(&code.0)) };
            }
            Code::Embedded(code) => &code.0,
            Code::Read(code) => code,
        };
        // SAFETY: see the duty of callers above; the bytes are copied, so nobody can change them afterwards.
        unsafe { Component::deserialize(&self.engine, bytes) }
    }
}

/// Makes code executable where it is. Embedded code is not copied then: a driver of half a megabyte would cost each
/// command as much time as two guests.
struct WhereItIs;

impl WhereItIs {
    #[expect(unsafe_code, reason = "loading compiled code is making it executable")]
    fn protect(start: *const u8, length: usize, flags: MprotectFlags) -> wasmtime::Result<()> {
        // SAFETY: the engine passes whole pages with nothing but code, and gives them back when no code of them runs.
        unsafe { mprotect(start.cast_mut().cast(), length, flags) }.map_err(wasmtime::Error::new)
    }
}

impl CustomCodeMemory for WhereItIs {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        Self::protect(start, length, MprotectFlags::READ | MprotectFlags::EXEC)
    }

    fn unpublish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        Self::protect(start, length, MprotectFlags::READ)?;
        in_use().retain(|bytes| !bytes.contains(&start.addr()));
        Ok(())
    }
}
