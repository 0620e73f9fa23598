//! Daemons that stop where they stand: their connections stay open, and nothing comes any more.

use std::time::{Duration, Instant};

use bkhost_test_support::call::Running;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::{bare, with_base};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Remote, build, context, unique};
use crate::process::{create, daemons};

/// What a person may wait for the end is 30 s; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(45);

/// A build whose step has begun and does not end.
fn begun(remote: &bkhost_test_support::context::TestContext) -> Running {
    let mark = unique();
    let steps = format!("RUN echo begun-{mark} && sleep 100\n");
    let folder = with_base(remote, "source", &steps);
    let mut running = build(remote, &folder).limit(2 * LIMIT).start();
    running.until_said(&format!("begun-{mark}\n"));
    running
}

#[test]
fn a_build_on_a_daemon_that_went_silent_ends_by_itself() {
    let daemon = std::sync::Arc::new(Daemon::start());
    let remote = Remote::at(daemon.clone());
    let running = begun(&remote.context);
    daemon.freeze(true);
    let frozen = Instant::now();
    let ended = running.wait();
    assert!(frozen.elapsed() < LIMIT, "{:?}", frozen.elapsed());
    daemon.freeze(false);
    let address = daemon.address();
    ended
        .fails(1)
        .says("ERROR: failed to build: failed to solve: the daemon of node `b0` was lost (node-silent): ")
        .says(&format!("`{address}` does not answer any more"))
        .says("hint: ");
    // It was only silent.
    let folder = bare(&remote.context, "next", "FROM scratch\nCOPY Dockerfile /\n");
    remote.build(&folder).run().succeeds();
}

#[test]
fn a_build_on_a_silent_daemon_of_ones_own_ends_with_its_last_log_lines() {
    let context = context();
    create(&context, &[]);
    let running = begun(&context);
    let daemon = daemons(&context);
    assert_eq!(daemon.len(), 1);
    let signal = |signal| kill_process(Pid::from_raw(daemon[0] as i32).unwrap(), signal).unwrap();
    signal(Signal::STOP);
    let frozen = Instant::now();
    let ended = running.wait();
    assert!(frozen.elapsed() < LIMIT, "{:?}", frozen.elapsed());
    signal(Signal::CONT);
    ended
        .fails(1)
        .says("ERROR: failed to build: failed to solve: the daemon of node `b0` was lost (node-silent): ")
        .says("level=");
    let folder = bare(&context, "next", "FROM scratch\nCOPY Dockerfile /\n");
    build(&context, &folder).run().succeeds();
    context.bkhost(["rm", "b"]).run().succeeds();
    assert!(daemons(&context).is_empty());
}
