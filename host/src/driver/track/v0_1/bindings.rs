//! Generated from `wit/driver`: the required world, and one world for each optional interface to probe for.

/// Generates the bindings of one world; imported types are those of the host's own bindings.
macro_rules! world {
    ($module:ident, $world:literal) => {
        #[allow(
            missing_docs,
            dead_code,
            clippy::all,
            unsafe_code,
            reason = "generated; the contract's documentation is in wit/"
        )]
        pub(crate) mod $module {
            wasmtime::component::bindgen!({
                path: ["../wit/deps/io", "../wit/host", "../wit/driver"],
                world: $world,
                imports: { default: async | trappable },
                exports: { default: async },
                with: {
                    "bkhost:host": crate::driver::bindings::host,
                    "wasi:io": wasmtime_wasi::p2::bindings::io,
                },
            });
        }
    };
}

world!(node_only, "bkhost:driver/node-only");
world!(diagnose, "bkhost:driver/with-diagnose");
world!(logs, "bkhost:driver/with-logs");
world!(scale, "bkhost:driver/with-scale");
