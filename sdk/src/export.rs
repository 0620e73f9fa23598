//! Makes a component of a driver.

/// Name and version of this crate, as they stand in the section `bkhost:sdk` of every component made with it. For
/// diagnosis only: no host decides anything by it.
pub const SDK_MARKER: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// Length of [`SDK_MARKER`] in bytes.
pub const SDK_MARKER_LENGTH: usize = SDK_MARKER.len();

/// Makes the component: exports a type that implements [`Driver`](crate::Driver), and puts `driver.toml`, which lies
/// beside the crate's `Cargo.toml`, into it.
///
/// Once a crate, with the name of a type in scope. The crate may `forbid(unsafe_code)`.
///
/// ```text
/// bkhost_driver::export!(Remote);
/// ```
#[macro_export]
macro_rules! export {
    ($driver:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::guest::Adapter<$driver>;
    $crate::bindings::export!(Exported with_types_in $crate::bindings);

            #[used]
            #[unsafe(link_section = "bkhost:manifest")]
            static MANIFEST: [u8; include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/driver.toml")).len()] =
                *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/driver.toml"));

            #[used]
            #[unsafe(link_section = "bkhost:sdk")]
            static SDK: [u8; $crate::SDK_MARKER_LENGTH] = $crate::sdk_marker_bytes();
        };

        // Elsewhere nothing is exported, but what would not compile as a component does not compile here either.
        #[cfg(not(target_arch = "wasm32"))]
        const _: (fn() -> $crate::DriverInfo, &[u8]) = (
            <$driver as $crate::Driver>::describe,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/driver.toml")),
        );
    };
}

/// [`SDK_MARKER`] as an array, which a section needs.
#[doc(hidden)]
pub const fn sdk_marker_bytes() -> [u8; SDK_MARKER_LENGTH] {
    match SDK_MARKER.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => [0; SDK_MARKER_LENGTH],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_names_crate_and_version() {
        assert_eq!(sdk_marker_bytes(), SDK_MARKER.as_bytes());
        assert!(SDK_MARKER.starts_with("bkhost-driver "));
    }
}
