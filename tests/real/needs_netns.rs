//! A machine without a network: whatever is missing cannot be fetched.

use std::fs;

use bkhost_test_support::namespace::Namespace;
use bkhost_test_support::source::with_base;

use crate::harness::{build, context};

#[test]
fn a_first_build_needs_no_network_and_compiles_nothing() {
    let namespace = Namespace::without_network();
    let context = context().inside(&namespace);
    let devices = context.call("ip", ["-brief", "link"]).run().succeeds().stdout();
    assert_eq!(devices.lines().count(), 1, "more than loopback: {devices}");
    let step = "RUN --network=none echo built offline\n";
    let folder = with_base(&context, "source", &format!("RUN echo hello offline\n{step}"));
    let built = build(&context, &folder)
        .args(["--output", "out"])
        .run()
        .succeeds();
    built.says("hello offline").says("built offline");
    assert!(context.work().join("out/bin/busybox").exists());
    let cache = context.home().join(".cache/bkhost");
    let cached: Vec<_> = fs::read_dir(&cache).into_iter().flatten().flatten().collect();
    assert!(cached.is_empty(), "something was fetched or compiled: {cached:?}");
    context.bkhost(["rm", "local", "--with-state"]).run().succeeds();
}
