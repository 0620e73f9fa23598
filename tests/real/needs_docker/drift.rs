//! What runs otherwise than configured is shown, and renewed by one command with its cache kept.

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::source::with_base;

use super::{context_at, docker};
use crate::harness::{build, unique};

/// A setting of the container, as the engine tells it.
fn told(context: &TestContext, container: &str, setting: &str) -> String {
    let format = format!("--format={{{{{setting}}}}}");
    docker(context, ["inspect", &format, container]).trim().to_owned()
}

#[test]
fn a_container_that_differs_is_shown_and_renewed_with_its_cache() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let context = context_at(&engine);
        let node = format!("n{}", unique());
        let container = format!("buildx_buildkit_{node}");
        let create = |more: &[&str]| {
            let create = context.bkhost(["create", "--name", "b", "--node", &node]);
            create.args(more).run().succeeds()
        };
        create(&[
            "--use",
            "--driver",
            "docker-container",
            "--driver-opt",
            "memory=800m",
        ]);
        let source = with_base(&context, "source", "RUN echo made by a step\n");
        build(&context, &source).run().succeeds().says("made by a step");
        let id = told(&context, &container, ".Id");
        context
            .bkhost(["renew", "b"])
            .run()
            .succeeds()
            .says("b runs as configured");
        assert_eq!(told(&context, &container, ".Id"), id, "nothing was touched");

        let config = context.work().join("buildkitd.toml");
        std::fs::write(&config, "debug = true\n").unwrap();
        create(&[
            "--append",
            "--driver-opt",
            "memory=700m,env.COLOUR=blue",
            "--buildkitd-config",
            config.to_str().unwrap(),
        ]);
        let listed = context.bkhost(["ls"]).run().succeeds();
        let words = format!("b ({node}) runs with other settings than configured: ");
        listed.prints("running").says(&words).says("`bkhost renew b`");
        let shown = context.bkhost(["inspect", "b"]).run().succeeds().stdout();
        let drift = shown
            .lines()
            .find(|line| line.starts_with("Drift:"))
            .unwrap_or(&shown);
        for setting in ["memory", "env", "files", "`bkhost renew b`"] {
            assert!(drift.contains(setting), "{drift}");
        }
        let json = context
            .bkhost(["inspect", "b", "--format", "json"])
            .run()
            .succeeds()
            .stdout();
        assert!(json.contains("\"Drift\":\""), "{json}");
        let planned = context.bkhost(["renew", "--dry-run", "b"]).run().succeeds();
        planned.says(&format!("Would renew b ({node}): "));
        assert_eq!(told(&context, &container, ".Id"), id, "only said");

        // A running container keeps its settings until it is told.
        build(&context, &source).run().succeeds().says("CACHED");
        context
            .bkhost(["renew", "b"])
            .run()
            .succeeds()
            .says("renewing the container");
        assert_ne!(told(&context, &container, ".Id"), id);
        assert_eq!(
            told(&context, &container, ".HostConfig.Memory"),
            (700 << 20).to_string()
        );
        let read = docker(
            &context,
            ["exec", &container, "cat", "/etc/buildkit/buildkitd.toml"],
        );
        assert!(read.contains("debug = true"), "{read}");
        build(&context, &source).run().succeeds().says("CACHED");
        let settled = context.bkhost(["ls"]).run().succeeds();
        settled.says_no("other settings");
        context.bkhost(["rm", "b"]).run().succeeds();
    }
}
