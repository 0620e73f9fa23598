//! What a bkhost driver is written with.
//!
//! A driver tells bkhost how one kind of BuildKit daemon is found, booted, reached, diagnosed and removed. It is a
//! WebAssembly component that reaches nothing but what this crate offers; what it may really reach is decided by its
//! manifest (`driver.toml`), the builder's configuration and the user.
//!
//! An author implements [`Driver`], names the type in [`export!`], and writes a `driver.toml` beside `Cargo.toml`:
//!
//! ```
//! use std::time::Duration;
//! use bkhost_driver::{Config, Connection, DialRequest, Driver, DriverInfo, Endpoint, Result, State, Status};
//!
//! struct Plain {
//!     path: String,
//! }
//!
//! impl Driver for Plain {
//!     fn describe() -> DriverInfo {
//!         DriverInfo::new("Connects to a socket", Endpoint::required(["unix"]))
//!     }
//!
//!     fn open(config: Config) -> Result<Self> {
//!         let endpoint = config.endpoint();
//!         let path = endpoint.strip_prefix("unix://").unwrap_or(&endpoint).to_owned();
//!         Ok(Self { path })
//!     }
//!
//!     fn status(&self) -> Result<Status> {
//!         Connection::open_unix(&self.path, Duration::from_secs(2))?;
//!         Ok(Status::new(State::Running))
//!     }
//!
//!     fn dial(&self, _instance: &str, request: &DialRequest) -> Result<Connection> {
//!         Connection::open_unix(&self.path, request.step.time_left_or(Duration::from_secs(10)))
//!     }
//! }
//! ```
//!
//! The standard library of a component has no clock, no sleep, no files and no sockets: `std::time::Instant::now` and
//! `std::thread::sleep` panic there. Use [`Instant`], [`sleep`] and [`Connection`].
//!
//! With the feature `testing` the crate brings a scripted host (`testing::Host`), so that a driver's logic runs under
//! plain `cargo test`.
#![deny(missing_docs)]

mod config;
mod connection;
mod driver;
mod error;
mod export;
mod info;
mod options;
mod poll;
mod request;
mod retry;
mod step;
mod time;

pub mod cluster;
pub mod engine;
pub mod log;
pub mod process;
pub mod random;

mod host;
#[cfg(not(target_arch = "wasm32"))]
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))]
mod fake;
#[cfg(all(any(test, feature = "testing"), not(target_arch = "wasm32")))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all, clippy::restriction, unused)]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["../wit/deps/io", "../wit/host", "../wit/driver"],
        world: "bkhost:driver/driver",
        pub_export_macro: true,
        generate_all,
    });
}

pub use config::{Config, Memory};
pub use connection::{ByteStream, Connection, Ssh, Tls};
pub use driver::Driver;
pub use error::{Error, ErrorKind, Result};
#[doc(hidden)]
pub use export::sdk_marker_bytes;
pub use export::{SDK_MARKER, SDK_MARKER_LENGTH};
pub use info::{DriverInfo, Endpoint, Finding, Instance, OptionInfo, Pair, State, Status};
pub use options::{Options, nearest, parse_bool, parse_bytes, parse_duration};
pub use poll::{Pollable, timer, wait_any};
pub use request::{DialRequest, LogRequest, Loss, Removal, STEP_KILLED, Worker};
pub use retry::Retry;
pub use step::Step;
pub use time::{Deadline, Instant, sleep, wall_clock};
