//! BuildKit in a container of the real Podman.

use bkhost_test_support::docker::BUILDKIT_IMAGE;
use bkhost_test_support::podman::Podman;
use bkhost_test_support::server;
use bkhost_test_support::source::with_base;

use crate::harness::{build, context, unique};

/// A name in full: Podman does not guess which registry is meant.
fn image() -> String {
    format!("docker.io/{BUILDKIT_IMAGE}")
}

#[test]
fn a_container_is_reached_by_the_podman_command() {
    let podman = Podman::start();
    let mut context = context();
    context.set("PATH", server::path_from(podman.programs()));
    let run = ["run", "--detach", "--privileged", "--network=host", "--name=bk"];
    podman.run(&[&run[..], &[&image()]].concat());
    let endpoint = "podman-container://bk";
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    let options = ["--driver-opt", "timeout=2s", endpoint];
    context.bkhost(create).args(options).run().succeeds();
    let mark = unique();
    let source = with_base(&context, "source", &format!("RUN echo {mark} > /out\n"));
    let out = context.work().join("out");
    let built = build(&context, &source).arg("--output").arg(&out).run();
    built.succeeds().says("remote driver");
    assert_eq!(
        std::fs::read_to_string(out.join("out")).unwrap(),
        format!("{mark}\n")
    );
    build(&context, &source).run().succeeds().says("CACHED");

    let sleep = with_base(
        &context,
        "sleep",
        &format!("RUN echo begun-{mark} && sleep 100\n"),
    );
    let mut running = build(&context, &sleep).start();
    running.until_said(&format!("begun-{mark}\n"));
    podman.run(&["kill", "bk"]);
    let lost = running.wait();
    assert!(lost.took.as_secs() < 30, "{lost:?}");
    lost.fails(1)
        .says(&format!(
            "was lost (exited): Nobody listens at `{endpoint}` any more"
        ))
        .says("container state improper")
        .says("`podman logs bk` shows its last words");
    context.bkhost(["ls"]).run().succeeds().prints("inactive");
    let stopped = build(&context, &source).run().fails(1);
    stopped
        .says("container state improper")
        .says("hint: Check that the daemon runs there");
    podman.run(&["rm", "bk"]);
    let missing = build(&context, &source).run().fails(1);
    missing
        .says(&format!("`{endpoint}` cannot be reached"))
        .says("no such container")
        .says("hint: `podman ps` shows the containers that run");
    podman.run(&[
        "run",
        "--detach",
        "--network=host",
        "--name=bk",
        "docker.io/library/busybox",
        "sleep",
        "100",
    ]);
    let without = build(&context, &source).run().fails(1);
    without
        .says(&format!("`{endpoint}` cannot be reached"))
        .says("hint: Use an image that has `buildctl`");
}

/// Podman's service speaks the Docker Engine API and has no BuildKit: its docker context gets one in a container.
#[test]
fn podmans_service_is_an_engine_without_buildkit() {
    let podman = Podman::start();
    let (_service, socket) = podman.serve();
    let mut context = context();
    context.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let format = ["ls", "--format", "{{.Name}} {{.DriverEndpoint}} {{.Status}}"];
    let listed = context.bkhost(format).run().succeeds();
    listed
        .prints("default docker-container \n")
        .prints("default default inactive\n");
    // A machine for tests has no network for Podman's containers, so none is started.
    assert_eq!(
        context
            .bkhost(["create", "--name", "p"])
            .run()
            .succeeds()
            .stdout(),
        "p\n"
    );
    let inspected = context.bkhost(["inspect", "p"]).run().succeeds();
    inspected
        .prints("docker-container\n")
        .prints("Status:                inactive\n");
    let refused = context.bkhost(["rm", "default"]).run().fails(1);
    refused.says("context builder cannot be removed");
    context.bkhost(["rm", "p"]).run().succeeds();
}
