//! Builders whose daemon bkhost keeps itself, as root.

use std::time::Duration;

use bkhost_test_support::context::TestContext;
use bkhost_test_support::processes::descendants;
use bkhost_test_support::source::{bare, with_base};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{build, context, eventually, live, unique};

const COPY: &str = "FROM scratch\nCOPY Dockerfile /\n";

/// Makes the builder `b` with a state folder below the test's own.
pub fn create(context: &TestContext, options: &[&str]) {
    let root = state_option(context);
    let mut call = context.bkhost(["create", "--driver", "process", "--name", "b", "--use"]);
    for option in [root.as_str()].iter().chain(options) {
        call = call.args(["--driver-opt", option]);
    }
    call.run().succeeds();
}

fn state_option(context: &TestContext) -> String {
    format!("root={}", context.path().join("state").display())
}

/// Ids of the daemons that were started from here. What a daemon starts has its command line for a moment, and is none.
pub fn daemons(context: &TestContext) -> Vec<u32> {
    let programs = ["/buildkitd ", "buildkitd --"];
    let is_daemon = |line: &str| {
        let first = line.split(' ').next().unwrap_or_default();
        first.ends_with("buildkitd") || (programs.iter().any(|program| line.starts_with(program)))
    };
    let running = context.running().into_iter();
    let found: Vec<u32> = running
        .filter(|(_, line)| is_daemon(line))
        .map(|(id, _)| id)
        .collect();
    let children: Vec<u32> = found.iter().flat_map(|id| descendants(*id)).collect();
    let is_there = |id: &u32| std::path::Path::new(&format!("/proc/{id}")).exists();
    found
        .into_iter()
        .filter(|id| !children.contains(id) && is_there(id))
        .collect()
}

#[test]
fn a_builder_of_root_lives_its_whole_life_and_leaves_nothing() {
    let context = context();
    let root = state_option(&context);
    live(&context, &["--driver", "process", "--driver-opt", &root]);
    assert!(!context.path().join("state").exists(), "the state folder stayed");
}

#[test]
fn stopped_is_stopped() {
    let context = context();
    create(&context, &[]);
    context
        .bkhost(["inspect", "--bootstrap"])
        .run()
        .succeeds()
        .prints("running");
    assert_eq!(daemons(&context).len(), 1);
    context.bkhost(["stop"]).run().succeeds();
    assert!(daemons(&context).is_empty());
    let status = ["ls", "--format", "{{.Name}} {{.Status}}"];
    let listed = context.bkhost(status).run().succeeds().stdout();
    // Another daemon may well run: that of the machine's own builder `local`.
    assert!(listed.contains("\nb0 stopped\n"), "{listed}");
    assert!(
        context.path().join("state").exists(),
        "stopping removed the state"
    );
    context.bkhost(["rm", "--keep-state", "b"]).run().succeeds();
    assert!(
        context.path().join("state").exists(),
        "`--keep-state` kept nothing"
    );
}

#[test]
fn sixteen_first_builds_at_once_share_one_daemon() {
    let context = context();
    create(&context, &[]);
    let folder = bare(&context, "source", COPY);
    let started: Vec<_> = (0..16)
        .map(|_| build(&context, &folder).limit(Duration::from_secs(120)).start())
        .collect();
    for running in started {
        running.wait().succeeds();
    }
    assert_eq!(daemons(&context).len(), 1, "{:?}", context.running());
    context.bkhost(["rm", "b"]).run().succeeds();
}

#[test]
fn a_daemon_killed_in_a_build_ends_it_with_its_signal_and_last_words() {
    let context = context();
    create(&context, &[]);
    kill_in_a_build(&context);
}

/// Kills the daemon of the builder `b` in the middle of a build, and looks at how that ends and what comes after it.
pub fn kill_in_a_build(context: &TestContext) {
    let mark = unique();
    let steps = format!("RUN echo begun-{mark} && sleep 100\n");
    let folder = with_base(context, "source", &steps);
    let mut running = build(context, &folder).start();
    running.until_said(&format!("begun-{mark}\n"));
    let daemon = daemons(context);
    assert_eq!(daemon.len(), 1);
    kill_process(Pid::from_raw(daemon[0] as i32).unwrap(), Signal::KILL).unwrap();
    let killed = std::time::Instant::now();
    let ended = running.wait();
    assert!(killed.elapsed() < Duration::from_secs(30), "{ended:?}");
    ended
        .fails(1)
        .says("ERROR: failed to build: failed to solve: the daemon of node `b0` was lost (killed): ")
        .says("SIGKILL")
        .says("level=");
    // What is left does not stand in the way of the next build.
    let folder = bare(context, "next", COPY);
    build(context, &folder).run().succeeds();
    context.bkhost(["rm", "b"]).run().succeeds();
}

#[test]
fn an_idle_daemon_stops_and_a_build_that_arrives_then_succeeds() {
    let context = context();
    create(&context, &["idle-timeout=1s"]);
    let folder = bare(&context, "source", COPY);
    build(&context, &folder).run().succeeds();
    eventually("the idle daemon stops", Duration::from_secs(30), || {
        daemons(&context).is_empty()
    });
    build(&context, &folder).run().succeeds();
    // Around the moment at which it is stopped, in steps that are small beside a stop.
    for wait in (600..1800).step_by(100) {
        std::thread::sleep(Duration::from_millis(wait));
        build(&context, &folder).run().succeeds();
    }
    context.bkhost(["rm", "b"]).run().succeeds();
}

#[test]
fn a_shell_that_collects_the_output_does_not_wait_for_the_daemon() {
    let context = context();
    create(&context, &[]);
    let folder = bare(&context, "source", COPY);
    let ended = build(&context, &folder).output();
    ended.succeeds();
    assert_eq!(
        daemons(&context).len(),
        1,
        "the daemon ended with its first client"
    );
    context.bkhost(["rm", "b"]).run().succeeds();
}

#[test]
fn a_daemon_that_cannot_start_shows_its_own_words() {
    let context = context();
    let root = state_option(&context);
    let create = [
        "create",
        "--driver",
        "process",
        "--name",
        "b",
        "--use",
        "--driver-opt",
    ];
    let flags = ["--buildkitd-flags", "--no-such-flag"];
    context.bkhost(create).arg(&root).args(flags).run().succeeds();
    let folder = bare(&context, "source", COPY);
    build(&context, &folder).run().fails(1).says("no-such-flag");
    context.bkhost(["rm", "b"]).run().succeeds();
}
