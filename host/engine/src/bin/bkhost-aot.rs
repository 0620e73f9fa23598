//! Compiles components ahead of time.
fn main() {}
