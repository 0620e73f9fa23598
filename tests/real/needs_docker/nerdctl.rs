//! BuildKit in a container that the real nerdctl runs, in the containerd of an engine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Release};
use bkhost_test_support::source::with_base;
use bkhost_test_support::{provided, server};

use super::docker;
use crate::harness::{build, context, unique};

/// Puts nerdctl on the `PATH`, where it works beside the engine: it shares files with its containerd.
fn context_with_nerdctl(engine: &DockerEngine) -> TestContext {
    let mut context = context();
    let programs = provided::docker_programs(Release::Current);
    let state = context.path().join("nerdctl");
    fs::create_dir(&state).unwrap();
    let script = format!(
        "#!/bin/sh\nexec {} env HOME={} PATH={}:{} CONTAINERD_ADDRESS={} {}/nerdctl --data-root={}/data \"$@\"\n",
        engine.inside().join(" "),
        state.display(),
        programs.display(),
        server::path().display(),
        engine.containerd().display(),
        programs.display(),
        state.display(),
    );
    let command = context.write("bin/nerdctl", script);
    fs::set_permissions(&command, Permissions::from_mode(0o755)).unwrap();
    context.set("PATH", server::path_from(command.parent().unwrap()));
    context
}

fn nerdctl(context: &TestContext, arguments: &[&str]) -> String {
    let called = context.call("nerdctl", arguments).run();
    called.succeeds().stdout()
}

#[test]
fn a_container_is_reached_by_the_nerdctl_command() {
    let engine = DockerEngine::shared(Release::Current);
    let context = context_with_nerdctl(&engine);
    let archive = provided::image_archive("buildkit").display().to_string();
    nerdctl(&context, &["load", "--input", &archive]);
    let name = format!("reached-{}", unique());
    let named = format!("--name={name}");
    let run = [
        "run",
        "--detach",
        "--privileged",
        "--net=none",
        &named,
        BUILDKIT_IMAGE,
    ];
    nerdctl(&context, &run);
    let endpoint = format!("nerdctl-container://{name}");
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    let options = ["--driver-opt", "timeout=2s", &endpoint];
    context.bkhost(create).args(options).run().succeeds();
    let mark = unique();
    let source = with_base(
        &context,
        "source",
        &format!("RUN --network=none echo {mark} > /out\n"),
    );
    let out = context.work().join("out");
    let built = build(&context, &source).arg("--output").arg(&out).run();
    built.succeeds().says("remote driver");
    assert_eq!(fs::read_to_string(out.join("out")).unwrap(), format!("{mark}\n"));
    build(&context, &source).run().succeeds().says("CACHED");

    let sleep = with_base(
        &context,
        "sleep",
        &format!("RUN echo begun-{mark} && sleep 100\n"),
    );
    let mut running = build(&context, &sleep).start();
    running.until_said(&format!("begun-{mark}\n"));
    nerdctl(&context, &["kill", &name]);
    let lost = running.wait();
    assert!(lost.took.as_secs() < 30, "{lost:?}");
    lost.fails(1)
        .says(&format!(
            "was lost (exited): Nobody listens at `{endpoint}` any more"
        ))
        .says(&format!("`nerdctl logs {name}` shows its last words"));
    context.bkhost(["ls"]).run().succeeds().prints("inactive");
    nerdctl(&context, &["rm", "--volumes", &name]);
    let missing = build(&context, &source).run().fails(1);
    missing
        .says(&format!("`{endpoint}` cannot be reached"))
        .says("no such container")
        .says("hint: `nerdctl ps` shows the containers that run; `?namespace=NAME` names another namespace");
}

/// The engine's own containers are in its namespace, without names that nerdctl knows.
#[test]
fn the_namespace_of_the_endpoint_counts() {
    let engine = DockerEngine::shared(Release::Current);
    let mut context = context_with_nerdctl(&engine);
    context.set("DOCKER_HOST", engine.address());
    let id = docker(&context, ["run", "--detach", "--privileged", BUILDKIT_IMAGE]);
    let id = id.trim();
    let source = with_base(
        &context,
        "source",
        &format!("RUN --network=none echo {}\n", unique()),
    );
    let at = |endpoint: &str| build(&context, &source).env("BUILDKIT_HOST", endpoint).run();
    at(&format!("nerdctl-container://{id}?namespace=moby"))
        .succeeds()
        .says("remote driver");
    at(&format!("nerdctl-container://{id}"))
        .fails(1)
        .says("no such container");
    docker(&context, ["rm", "--force", "--volumes", id]);
}
