//! One builder store, two programs.

use std::path::Path;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::with_base;

use crate::harness::{Remote, context, unique};

fn buildx<const N: usize>(context: &TestContext, arguments: [&str; N]) -> Call {
    context.call("buildx", arguments)
}

fn names(call: Call) -> Vec<String> {
    let said = call.run().succeeds();
    said.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn a_builder_of_either_is_built_with_by_the_other() {
    let daemon = Daemon::shared();
    let source =
        |context: &TestContext| with_base(context, "source", &format!("RUN echo ran-{}\n", unique()));
    // Made by bkhost.
    let remote = Remote::at(daemon.clone());
    let folder = source(&remote.context);
    let built = |call: Call, folder: &Path| call.args(["--progress", "plain"]).arg(folder).run().succeeds();
    built(buildx(&remote.context, ["build"]), &folder).says("ran-");
    built(remote.context.bkhost(["build"]), &folder).says("CACHED");
    // Made by buildx.
    let context = context();
    let create = ["create", "--driver", "remote", "--name", "theirs", "--use"];
    buildx(&context, create).arg(daemon.address()).run().succeeds();
    let folder = source(&context);
    built(context.bkhost(["build"]), &folder)
        .says("ran-")
        .says("\"theirs\" instance using remote driver");
    built(buildx(&context, ["build"]), &folder).says("CACHED");
    context
        .bkhost(["inspect"])
        .run()
        .succeeds()
        .prints("theirs")
        .prints("running");
    context.bkhost(["rm", "theirs"]).run().succeeds();
    let left = names(buildx(&context, ["ls", "--format", "{{.Name}}"]));
    assert!(!left.contains(&"theirs".to_owned()), "{left:?}");
}

#[test]
fn what_one_removes_or_selects_the_other_sees() {
    let context = context();
    for name in ["one", "two"] {
        let create = [
            "create",
            "--driver",
            "remote",
            "--name",
            name,
            "unix:///nonexistent/s.sock",
        ];
        context.bkhost(create).run().succeeds();
    }
    buildx(&context, ["use", "two"]).run().succeeds();
    context.bkhost(["ls"]).run().succeeds().prints("two*");
    context.bkhost(["use", "one"]).run().succeeds();
    buildx(&context, ["ls"]).run().succeeds().prints("one*");
    buildx(&context, ["rm", "one"]).run().succeeds();
    let left = names(context.bkhost(["ls", "--format", "{{.Name}}"]));
    assert!(
        !left.contains(&"one".to_owned()) && left.contains(&"two".to_owned()),
        "{left:?}"
    );
}

#[test]
fn builders_of_all_drivers_of_buildx_are_listed() {
    let context = context();
    for (driver, options) in [
        ("docker-container", "image=moby/buildkit:v0.33.0,\"env.A=b,c\""),
        ("kubernetes", "replicas=2,namespace=builders"),
    ] {
        let create = [
            "create",
            "--driver",
            driver,
            "--name",
            driver,
            "--driver-opt",
            options,
        ];
        // The driver cannot be reached here; buildx keeps the record all the same or says that it does not.
        let _ = buildx(&context, create).run();
    }
    let create = [
        "create",
        "--driver",
        "remote",
        "--name",
        "remote",
        "unix:///nonexistent/s.sock",
    ];
    buildx(&context, create).run().succeeds();
    let theirs = names(buildx(
        &context,
        ["ls", "--format", "{{.Name}} {{.DriverEndpoint}}"],
    ));
    let ours = names(context.bkhost(["ls", "--format", "{{.Name}} {{.DriverEndpoint}}"]));
    for line in theirs
        .iter()
        .filter(|line| line.contains("container") || line.contains("kube") || line.contains("remote"))
    {
        assert!(ours.contains(line), "{line:?} is not among {ours:?}");
    }
    assert!(
        theirs.iter().any(|line| line.starts_with("remote ")),
        "{theirs:?}"
    );
}

#[test]
fn a_process_builder_disturbs_no_command_of_buildx() {
    let remote = Remote::new();
    let context = &remote.context;
    let create = ["create", "--driver", "process", "--name", "own"];
    context.bkhost(create).run().succeeds();
    let ours = names(context.bkhost(["ls", "--format", "{{.Name}}"]));
    assert!(ours.contains(&"own".to_owned()), "{ours:?}");
    for select in [["use", "own"], ["use", "b"]] {
        context.bkhost(select).run().succeeds();
        let theirs = names(buildx(context, ["ls", "--format", "{{.Name}}"]));
        assert!(
            theirs.contains(&"b".to_owned()) && !theirs.contains(&"own".to_owned()),
            "{theirs:?}"
        );
        buildx(context, ["ls"]).run().succeeds().says_no("own");
        buildx(context, ["inspect", "b"])
            .run()
            .succeeds()
            .prints("running");
    }
    buildx(context, ["du", "--builder", "b"]).run().succeeds();
    buildx(context, ["rm", "--all-inactive", "--force"])
        .run()
        .succeeds();
    let ours = names(context.bkhost(["ls", "--format", "{{.Name}}"]));
    assert!(ours.contains(&"own".to_owned()), "{ours:?}");
    context.bkhost(["rm", "own"]).run().succeeds();
}
