//! What a bkhost driver is written with.

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all, unused)]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["../wit/deps/io", "../wit/host", "../wit/driver"],
        world: "bkhost:driver/driver",
        pub_export_macro: true,
        generate_all,
    });
}
