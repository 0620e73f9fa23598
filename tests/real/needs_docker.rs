//! Real Docker Engines, a current one and an old one.

mod altered;
mod choice;
mod container;
mod crowd;
mod drift;
mod engine;
mod gate;
mod inner;
mod load;
mod load_faults;
mod lost;
mod memory;
mod needs_buildx;
mod needs_buildx_contexts;
mod needs_registry;
mod nerdctl;
mod options;
mod own;
mod plugin;
mod reach;
mod unreachable;
mod walk_through;

use std::path::PathBuf;

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Release};
use bkhost_test_support::source::bare;
use bkhost_test_support::{control_groups, processes, provided};

use crate::harness::{build, context, unique};

/// An environment whose engine is this one.
fn context_at(engine: &DockerEngine) -> TestContext {
    let mut context = context();
    context.set("DOCKER_HOST", engine.address());
    context
}

/// Runs the docker command to a good end.
fn docker<const N: usize>(context: &TestContext, arguments: [&str; N]) -> String {
    let said = context.call(provided::docker(), arguments).run().succeeds();
    said.stdout()
}

#[test]
fn each_engine_is_of_its_time_and_runs_what_a_builder_needs() {
    let known = [
        (Release::Current, "2.", "overlayfs"),
        (Release::Old, "20.10.", "overlay2"),
    ];
    for (release, version, store) in known {
        let engine = DockerEngine::shared(release);
        let told = engine.get("/version");
        assert!(told["Version"].as_str().unwrap().starts_with(version), "{told}");
        assert_eq!(engine.get("/info")["Driver"], store);
        let context = context_at(&engine);
        // As builders' containers are: privileged, with an init process and a volume.
        let run = [
            "run",
            "--rm",
            "--privileged",
            "--init",
            "--volume=/var/lib/buildkit",
            BUILDKIT_IMAGE,
            "--version",
        ];
        let said = docker(&context, run);
        assert!(said.contains("buildkit"), "{release:?}: {said}");
    }
}

#[test]
fn an_engine_keeps_builders_over_a_restart_and_ends_with_everything_that_runs_in_it() {
    for release in [Release::Current, Release::Old] {
        let mut engine = DockerEngine::start(release);
        let context = context_at(&engine);
        let run = [
            "run",
            "--detach",
            "--privileged",
            "--restart=unless-stopped",
            "--name=kept",
            BUILDKIT_IMAGE,
        ];
        let id = docker(&context, run);
        assert_eq!(engine.container("kept").as_deref(), Some("running"));
        assert_eq!(engine.container("other"), None);
        docker(&context, ["exec", "kept", "touch", "/var/lib/buildkit/mark"]);
        engine.restart();
        assert_eq!(engine.container("kept").as_deref(), Some("running"));
        docker(&context, ["exec", "kept", "test", "-e", "/var/lib/buildkit/mark"]);
        let folder = engine.socket().parent().unwrap().to_owned();
        let groups = control_groups::of(id.trim());
        assert!(!groups.is_empty(), "no control group of {id}");
        drop(engine);
        assert!(!folder.exists(), "left by {release:?}");
        assert_eq!(processes::of(&folder), [], "left by {release:?}");
        assert_eq!(
            control_groups::of(id.trim()),
            Vec::<PathBuf>::new(),
            "left by {release:?}"
        );
    }
}

/// The helper program is the real docker, and what it speaks to a BuildKit in a real container.
#[test]
fn a_container_is_reached_by_the_docker_command() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let mut context = context_at(&engine);
        let folder = provided::docker().parent().unwrap().display().to_string();
        context.set("PATH", format!("{folder}:/usr/sbin:/usr/bin:/sbin:/bin"));
        let name = format!("reached-{}", unique());
        let named = format!("--name={name}");
        docker(
            &context,
            ["run", "--detach", "--privileged", &named, BUILDKIT_IMAGE],
        );
        let endpoint = format!("docker-container://{name}");
        let create = ["create", "--driver", "remote", "--name", "b", "--use"];
        context.bkhost(create).arg(&endpoint).run().succeeds();
        let source = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /here\n");
        let out = context.work().join("out");
        let built = build(&context, &source).arg("--output").arg(&out).run();
        built.succeeds().says("remote driver");
        assert!(out.join("here").is_file());
        build(&context, &source).run().succeeds().says("CACHED");
        let create = ["create", "--driver", "remote", "--name", "hurried", "--use"];
        let create = context.bkhost(create).args(["--driver-opt", "timeout=1s"]);
        create.arg(&endpoint).run().succeeds();
        // One that is not running may be on its way up; one that is not there is not waited for.
        docker(&context, ["stop", &name]);
        let stopped = build(&context, &source).run().fails(1);
        stopped
            .says("is not running")
            .says("the driver option `timeout` (1s)");
        docker(&context, ["rm", "--volumes", &name]);
        let missing = build(&context, &source).run().fails(1);
        missing
            .says(&format!("`{endpoint}` cannot be reached"))
            .says("No such container")
            .says("hint: ");
    }
}
