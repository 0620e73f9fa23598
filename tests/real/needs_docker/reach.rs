//! BuildKit in a container, reached by the real docker command: what is told where that fails, and in the middle of a build.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Release};
use bkhost_test_support::source::{bare, with_base};
use bkhost_test_support::user::OrdinaryUser;
use bkhost_test_support::{provided, server};

use super::{context_at, docker};
use crate::harness::{build, context_of, unique};

const RELEASES: [Release; 2] = [Release::Current, Release::Old];

/// BuildKit in a container of an engine, and an environment with the docker command on its `PATH`.
struct Reached {
    engine: Arc<DockerEngine>,
    context: TestContext,
    name: String,
}

impl Reached {
    fn new(release: Release) -> Self {
        let engine = DockerEngine::shared(release);
        let mut context = context_at(&engine);
        let programs = provided::docker().parent().unwrap().to_owned();
        context.set("PATH", server::path_from(programs));
        let reached = Self {
            engine,
            context,
            name: format!("reached-{}", unique()),
        };
        let named = format!("--name={}", reached.name);
        let run = ["run", "--detach", "--privileged", &named, BUILDKIT_IMAGE];
        docker(&reached.context, run);
        reached
    }

    fn endpoint(&self) -> String {
        format!("docker-container://{}", self.name)
    }

    /// Selects a builder at the container.
    fn create(&self) {
        let create = ["create", "--driver", "remote", "--name", "b", "--use"];
        self.context.bkhost(create).arg(self.endpoint()).run().succeeds();
    }

    fn source(&self) -> PathBuf {
        bare(&self.context, "source", "FROM scratch\nCOPY Dockerfile /here\n")
    }

    /// What a build at an endpoint says that cannot be reached.
    fn refusal(&self, endpoint: &str) -> bkhost_test_support::call::Said {
        let call = build(&self.context, &self.source()).env("BUILDKIT_HOST", endpoint);
        let said = call.run().fails(1);
        assert!(said.took() < Duration::from_secs(10), "{said:?}");
        said.says(&format!("`{endpoint}` cannot be reached: "))
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let remove = ["rm", "--force", "--volumes", &self.name];
        let _ = self.context.call(provided::docker(), remove).run();
    }
}

#[test]
fn the_context_of_the_endpoint_counts() {
    for release in RELEASES {
        let mut reached = Reached::new(release);
        let host = format!("host={}", reached.engine.address());
        docker(&reached.context, ["context", "create", "far", "--docker", &host]);
        reached
            .context
            .set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let endpoint = format!("{}?context=far", reached.endpoint());
        let built = build(&reached.context, &reached.source()).env("BUILDKIT_HOST", &endpoint);
        built.run().succeeds().says("remote driver");
        let create = ["create", "--driver", "remote", "--name", "b"];
        reached.context.bkhost(create).arg(&endpoint).run().succeeds();
        let listed = reached.context.bkhost(["ls"]).run().succeeds();
        listed.prints(&endpoint).prints("running");
        reached
            .refusal(&format!("{}?context=farther", reached.endpoint()))
            .says("context \"farther\": context not found")
            .says("hint: `docker context ls` shows the contexts there are");
        reached
            .refusal(&reached.endpoint())
            .says("/nonexistent/docker.sock")
            .says("hint: Start the Docker Engine, or name the context of another one with `?context=NAME`");
        reached.context.set("DOCKER_HOST", reached.engine.address());
    }
}

#[test]
fn what_stands_in_the_way_is_told_with_what_helps() {
    for release in RELEASES {
        let reached = Reached::new(release);
        reached
            .refusal("docker-container://nobody-has-this-name")
            .says("No such container: nobody-has-this-name")
            .says("hint: `docker ps` shows the containers that run");
        let plain = format!("plain-{}", unique());
        let named = format!("--name={plain}");
        docker(
            &reached.context,
            ["run", "--detach", &named, "busybox", "sleep", "100"],
        );
        reached
            .refusal(&format!("docker-container://{plain}"))
            .says("\"buildctl\": executable file not found in $PATH")
            .says("hint: Use an image that has `buildctl`, such as `moby/buildkit`");
        docker(&reached.context, ["rm", "--force", &plain]);
        docker(&reached.context, ["pause", &reached.name]);
        reached
            .refusal(&reached.endpoint())
            .says("is paused")
            .says("hint: `docker unpause` lets the container go on");
        docker(&reached.context, ["unpause", &reached.name]);
        let without = build(&reached.context, &reached.source())
            .env("BUILDKIT_HOST", reached.endpoint())
            .env("PATH", "/nonexistent");
        without
            .run()
            .fails(1)
            .says("The program `docker` is not on PATH")
            .says("hint: Install `docker` or put its folder on PATH. `docker-container://` is reached by `docker exec`");
    }
}

#[test]
fn a_user_who_may_not_use_the_engine_is_told_so() {
    let user = OrdinaryUser::new();
    for release in RELEASES {
        let reached = Reached::new(release);
        let mut context = context_of(&user);
        user.lend(&provided::docker(), &context.path().join("bin"));
        context.set("DOCKER_HOST", reached.engine.address());
        let source = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /here\n");
        let refused = build(&context, &source).env("BUILDKIT_HOST", reached.endpoint());
        let refused = refused.run().fails(1);
        assert!(refused.took() < Duration::from_secs(10), "{refused:?}");
        refused
            .says(&format!("`{}` cannot be reached: ", reached.endpoint()))
            .says("permission denied")
            .says("hint: Run as a user who may use the Docker Engine");
    }
}

/// Begins a build, does this to its container, and gives what is said at the end.
fn lost(reached: &Reached, disturb: &[&str]) -> bkhost_test_support::call::Said {
    reached.create();
    let mark = unique();
    let steps = format!("RUN echo begun-{mark} && sleep 100\n");
    let source = with_base(&reached.context, "sleep", &steps);
    let mut running = build(&reached.context, &source).start();
    running.until_said(&format!("begun-{mark}\n"));
    let disturb = reached.context.call(provided::docker(), disturb);
    disturb.arg(&reached.name).run().succeeds();
    let disturbed = Instant::now();
    let ended = running.wait();
    assert!(disturbed.elapsed() < Duration::from_secs(30), "{ended:?}");
    ended.fails(1)
}

#[test]
fn a_container_that_ends_in_a_build_ends_the_build_with_its_cause() {
    for release in RELEASES {
        let reached = Reached::new(release);
        lost(&reached, &["kill"])
            .says("failed to solve: the daemon of node `b0` was lost (exited): ")
            .says(&format!("Nobody listens at `{}` any more", reached.endpoint()))
            .says("is not running")
            .says(&format!(
                "hint: The daemon ended or was stopped; `docker logs {}` shows its last words",
                reached.name
            ));
        let reached = Reached::new(release);
        lost(&reached, &["rm", "--force"])
            .says("was lost (exited): ")
            .says("No such container");
    }
}

#[test]
fn a_container_that_is_paused_in_a_build_ends_the_build_with_the_way_out() {
    let reached = Reached::new(Release::Current);
    let told = lost(&reached, &["pause"]);
    docker(&reached.context, ["unpause", &reached.name]);
    told.says("is paused")
        .says("hint: `docker unpause` lets the container go on");
}
