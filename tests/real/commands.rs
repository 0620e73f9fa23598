//! The commands around builds, on real daemons.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use bkhost_test_support::context::TestContext;
use bkhost_test_support::source::bare;
use serde_json::Value;

use crate::harness::{Remote, build, context};

const COPY: &str = "FROM scratch\nCOPY Dockerfile /\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Makes the builder `p`, whose daemon bkhost keeps.
fn process_builder(context: &TestContext, more: &[&str]) {
    let root = format!("root={}", context.path().join("state").display());
    let create = [
        "create",
        "--driver",
        "process",
        "--name",
        "p",
        "--use",
        "--driver-opt",
    ];
    context.bkhost(create).arg(root).args(more).run().succeeds();
}

#[test]
fn a_listed_builder_tells_its_version_and_platforms() {
    let remote = Remote::new();
    let listed = remote.context.bkhost(["ls", "--format", "json"]).run().succeeds();
    let lines: Vec<Value> = listed.stdout().lines().map(json).collect();
    let builder = lines.iter().find(|builder| builder["Name"] == "b").unwrap();
    assert_eq!(
        (&builder["Driver"], &builder["Current"]),
        (&"remote".into(), &true.into())
    );
    let node = &builder["Nodes"][0];
    assert_eq!(
        (&node["Name"], &node["Status"]),
        (&"b0".into(), &"running".into())
    );
    assert_eq!(node["Endpoint"], remote.daemon.address());
    assert!(node["Version"].as_str().unwrap().starts_with('v'), "{node}");
    let platforms = node["Platforms"].as_array().unwrap();
    assert!(
        platforms.iter().any(|platform| platform == "linux/amd64"),
        "{node}"
    );
    let template = [
        "inspect",
        "--format",
        "{{range .Nodes}}{{.Status}} {{.Version}}{{end}}",
    ];
    let version = node["Version"].as_str().unwrap();
    remote
        .context
        .bkhost(template)
        .run()
        .succeeds()
        .prints(&format!("running {version}"));
}

#[test]
fn another_program_speaks_to_the_daemon_through_this_one() {
    let remote = Remote::new();
    let socket = remote.context.work().join("s.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let address = format!("unix://{}", socket.display());
    let buildctl = [
        "--addr",
        &address,
        "debug",
        "workers",
        "--format",
        "{{range .}}{{.ID}}{{end}}",
    ];
    let asking = remote
        .context
        .call("buildctl", buildctl)
        .limit(Duration::from_secs(20))
        .start();
    let (connection, _) = listener.accept().unwrap();
    let mut tunnel = remote.context.bkhost(["dial-stdio"]).on_connection(connection);
    let answer = asking.wait().succeeds();
    assert!(answer.stdout().trim().len() > 8, "{}", answer.stdout());
    // The other side has gone: so does this one.
    let start = std::time::Instant::now();
    while tunnel.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the tunnel outlives its client"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_log_of_a_daemon_is_shown_while_it_runs() {
    let context = context();
    context.write("buildkitd.toml", "debug = true\n");
    process_builder(&context, &["--buildkitd-config", "buildkitd.toml"]);
    let folder = bare(&context, "source", COPY);
    build(&context, &folder).run().succeeds();
    let log = context.bkhost(["logs"]).run().succeeds();
    log.prints("running server on").prints("level=debug");
    let last = context.bkhost(["logs", "--tail", "2"]).run().succeeds();
    assert_eq!(last.stdout().lines().count(), 2, "{}", last.stdout());
    context
        .bkhost(["inspect"])
        .run()
        .succeeds()
        .prints("File#buildkitd.toml:")
        .prints(" > debug = true");
    context.bkhost(["stop"]).run().succeeds();
    let none = context.bkhost(["logs"]).run().fails(1);
    none.says("No daemon").says("hint: ");
    context.bkhost(["rm", "p"]).run().succeeds();
}

#[test]
fn what_would_be_destroyed_can_be_seen_first() {
    let context = context();
    process_builder(&context, &["--bootstrap"]);
    let running = || !context.running().is_empty();
    let stop = context.bkhost(["stop", "--dry-run"]).run().succeeds();
    assert!(stop.stdout().contains('p') || stop.stderr().contains('p'));
    let remove = context.bkhost(["rm", "--dry-run", "p"]).run().succeeds();
    assert!(!remove.stdout().is_empty() || !remove.stderr().is_empty());
    assert!(
        running() && context.path().join("state").exists(),
        "a dry run did something"
    );
    context.bkhost(["ls"]).run().succeeds().prints("p*");
    context.bkhost(["rm", "--keep-daemon", "p"]).run().succeeds();
    assert!(running(), "the daemon was to be kept");
    // The same builder again finds it.
    process_builder(&context, &[]);
    context.bkhost(["inspect"]).run().succeeds().prints("running");
    context.bkhost(["rm", "p"]).run().succeeds();
    assert!(!running() && !context.path().join("state").exists());
}

#[test]
fn a_builder_is_chosen_by_flag_then_by_environment_then_by_selection() {
    let remote = Remote::new();
    let create = [
        "create",
        "--driver",
        "remote",
        "--name",
        "other",
        "unix:///nonexistent/s.sock",
    ];
    remote.context.bkhost(create).run().succeeds();
    let inspect = || remote.context.bkhost(["inspect"]);
    inspect().run().succeeds().prints("Name:          b\n");
    inspect()
        .env("BUILDX_BUILDER", "other")
        .run()
        .succeeds()
        .prints("Name:          other\n");
    let both = inspect().env("BUILDX_BUILDER", "other").args(["--builder", "b"]);
    both.run().succeeds().prints("Name:          b\n");
}

#[test]
fn idle_builders_are_removed_together() {
    let remote = Remote::new();
    let create = [
        "create",
        "--driver",
        "remote",
        "--name",
        "gone",
        "unix:///nonexistent/s.sock",
    ];
    remote.context.bkhost(create).run().succeeds();
    let removal = ["rm", "--all-inactive"];
    let asked = remote.context.bkhost(removal).stdin("n\n").run().succeeds();
    asked.prints("Are you sure you want to continue? [y/N]");
    let names = ["ls", "--format", "{{.Name}}"];
    remote.context.bkhost(names).run().succeeds().prints("gone");
    remote
        .context
        .bkhost(removal)
        .arg("--force")
        .run()
        .succeeds()
        .says("gone removed");
    let left = remote.context.bkhost(names).run().succeeds().stdout();
    assert!(
        left.lines().any(|name| name == "b") && !left.contains("gone"),
        "{left}"
    );
}
