//! What components can import: everything else is denied by not being there.

use wasmtime::Engine;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random as wasi_random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::bindings::{
    config, connections, engine, log, processes, random, requests, state, steps, streams, time, types,
};
use super::imports::log::StdioLog;
use super::state::{Call, Imports, StoreData};

/// The linker that all components share.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<StoreData>> {
    let mut linker = Linker::new(engine);
    add_contract(&mut linker)?;
    add_wasi(&mut linker)?;
    Ok(linker)
}

/// `bkhost:host`, as far as this program offers it. `cluster` comes with the driver that needs it; a component that imports
/// it is told so before it runs.
fn add_contract(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    config::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    state::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    steps::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    log::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    time::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    random::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    streams::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    connections::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    engine::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    processes::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    requests::add_to_linker::<_, Imports>(linker, StoreData::view)
}

/// Names the table of handles for the linker.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// What other toolchains' standard libraries cannot do without: clocks, randomness, standard streams that go to the
/// log, an environment and a file system with nothing in them. No sockets.
fn add_wasi(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    io::poll::add_to_linker::<_, Imports>(linker, StoreData::view)?;
    io::error::add_to_linker::<_, Table>(linker, StoreData::table)?;
    io::streams::add_to_linker::<_, Table>(linker, StoreData::table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, StoreData::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, StoreData::clocks)?;
    wasi_random::random::add_to_linker::<_, WasiRandom>(linker, StoreData::random)?;
    wasi_random::insecure::add_to_linker::<_, WasiRandom>(linker, StoreData::random)?;
    wasi_random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, StoreData::random)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, StoreData::cli)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, StoreData::filesystem)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, StoreData::filesystem)
}

/// The WASI context of one operation. A fresh one has no file, no variable, no argument and no address; only where
/// standard output goes is said.
pub(crate) fn wasi_context(call: &std::sync::Arc<Call>) -> WasiCtx {
    use super::bindings::log::Level;
    WasiCtxBuilder::new()
        .stdout(StdioLog::new(std::sync::Arc::clone(call), Level::Debug))
        .stderr(StdioLog::new(std::sync::Arc::clone(call), Level::Info))
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}
