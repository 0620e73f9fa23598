//! The keeper as a process of its own, with `sh` and `sleep` as daemons.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, also in the functions that tests share"
)]

mod place;

mod converge;
mod driver;
mod end;
mod helper;
mod idle;
mod real;
