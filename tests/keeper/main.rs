//! The keeper as a process of its own, with `sh` and `sleep` as daemons.

mod place;

mod converge;
mod end;
mod idle;
mod real;
