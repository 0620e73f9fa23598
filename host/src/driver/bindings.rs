//! Generated from `wit/host`: the traits that `imports/` implements, and the types that cross.
//!
//! One set for all tracks; a track's own bindings refer to these types.

#[allow(
    missing_docs,
    clippy::all,
    unsafe_code,
    reason = "generated; the contract's documentation is in wit/"
)]
mod generated {
    wasmtime::component::bindgen!({
        inline: "
            package bkhost:bindings;
            world imports {
                import bkhost:host/types@0.1.0-rc.1;
                import bkhost:host/config@0.1.0-rc.1;
                import bkhost:host/state@0.1.0-rc.1;
                import bkhost:host/steps@0.1.0-rc.1;
                import bkhost:host/log@0.1.0-rc.1;
                import bkhost:host/time@0.1.0-rc.1;
                import bkhost:host/random@0.1.0-rc.1;
                import bkhost:host/connections@0.1.0-rc.1;
                import bkhost:host/streams@0.1.0-rc.1;
                import bkhost:host/requests@0.1.0-rc.1;
                import bkhost:host/engine@0.1.0-rc.1;
                import bkhost:host/cluster@0.1.0-rc.1;
                import bkhost:host/processes@0.1.0-rc.1;
            }
        ",
        path: ["../wit/deps/io", "../wit/host"],
        world: "bkhost:bindings/imports",
        imports: { default: async | trappable },
        trappable_error_type: {
            "bkhost:host/types.error" => crate::driver::imports::types::Failure,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "bkhost:host/config.node-config": crate::driver::imports::config::NodeView,
            "bkhost:host/state.node-state": crate::driver::imports::state::NodeState,
            "bkhost:host/steps.step": crate::driver::imports::steps::GuestStep,
            "bkhost:host/connections.connection": crate::driver::imports::connections::Connection,
            "bkhost:host/connections.tls-config": crate::driver::imports::connections::TlsConfig,
            "bkhost:host/streams.byte-stream": crate::driver::imports::streams::ByteStream,
            "bkhost:host/requests.dial-request": crate::driver::imports::requests::GuestDialRequest,
            "bkhost:host/requests.removal": crate::driver::imports::requests::GuestRemoval,
            "bkhost:host/requests.worker": crate::driver::imports::requests::GuestWorker,
            "bkhost:host/requests.loss": crate::driver::imports::requests::GuestLoss,
            "bkhost:host/requests.log-request": crate::driver::imports::requests::GuestLogRequest,
            "bkhost:host/processes.program": crate::driver::imports::processes::Program,
            "bkhost:host/processes.lock": crate::driver::imports::processes::Lock,
            "bkhost:host/processes.lease": crate::driver::imports::processes::Lease,
            "bkhost:host/processes.launch": crate::driver::imports::processes::Launch,
            "bkhost:host/processes.daemon": crate::driver::imports::processes::Daemon,
        },
    });
}

/// All interfaces, for a track's own bindings to refer to.
pub use generated::bkhost::host;
pub(crate) use generated::bkhost::host::{
    config, connections, engine, log, processes, random, requests, state, steps, streams, time, types,
};
