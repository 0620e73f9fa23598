//! Real Docker Engines, a current one and an old one.

mod engine;
mod needs_buildx;
mod needs_registry;

use std::path::Path;

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Release};
use bkhost_test_support::{processes, provided};

use crate::harness::context;

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
        drop(engine);
        assert!(!folder.exists(), "left by {release:?}");
        assert_eq!(processes::of(&folder), [], "left by {release:?}");
        let group = Path::new("/sys/fs/cgroup/memory/docker").join(id.trim());
        assert!(!group.exists(), "left by {release:?}");
    }
}
