//! The `bkhost` program: parse, run, exit code.

fn main() {}
