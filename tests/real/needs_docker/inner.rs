//! The driver `docker`: the BuildKit inside an engine, which is a builder for every docker context.

use bkhost_test_support::docker::Release;
use bkhost_test_support::source::{bare, with_base};

use super::docker;
use super::gate::Gate;
use super::own::{Own, RELEASES};
use crate::harness::unique;

#[test]
fn it_builds_for_every_context() {
    for release in RELEASES {
        let mut own = Own::new(release);
        let gate = Gate::open(&own.engine, own.context.path().join("engine.sock"));
        own.context.set("DOCKER_HOST", gate.address());
        let host = format!("host={}", own.engine.address());
        docker(&own.context, ["context", "create", "away", "--docker", &host]);
        own.context.write("word", "opensesame\n");
        let step = format!(
            "RUN --mount=type=secret,id=word echo {} && sed s/^/got-/ /run/secrets/word > /out\n\
             FROM scratch\nCOPY --from=base /out /\n",
            unique()
        );
        let folder = with_base(&own.context, "source", &step);
        let build = |builder: &str| {
            let secret = ["--secret", "id=word,src=word", "--output", "result"];
            own.build(&folder).args(["--builder", builder]).args(secret)
        };
        build("default").run().succeeds().says("docker driver");
        assert_eq!(own.context.read("result/out"), "got-opensesame\n");
        build("default").run().succeeds().says("CACHED");
        // The session goes over the daemon's connection.
        let seen = gate.seen();
        assert!(!seen.iter().any(|line| line.contains("/session")), "{seen:?}");
        let way = match release {
            Release::Current => "PRI * HTTP/2.0",
            Release::Old => "POST /grpc ",
        };
        assert!(seen.iter().any(|line| line.contains(way)), "{seen:?}");
        let version = match release {
            Release::Current => "BuildKit version: v0.33.0\n",
            Release::Old => "BuildKit version: v0.8+unknown\n",
        };
        for name in ["default", "away"] {
            let shown = own.context.bkhost(["inspect", name]).run().succeeds();
            shown
                .prints("docker\n")
                .prints("running")
                .prints(version)
                .prints("linux/amd64");
        }
        own.context.unset("DOCKER_HOST");
        own.context.set("DOCKER_CONTEXT", "away");
        let build = own.build(&folder).args(["--builder", "away"]);
        let build = build.args(["--secret", "id=word,src=word", "--output", "result"]);
        build.run().succeeds().says("CACHED");
    }
}

#[test]
fn the_machine_of_the_engine_has_a_name_where_the_engine_tells_its_address() {
    let words = "unable to derive the IP value for host-gateway";
    for release in RELEASES {
        let own = Own::new(release);
        let step = format!("RUN echo {} && grep gateway.example /etc/hosts\n", unique());
        let folder = with_base(&own.context, "source", &step);
        let build = |builder: &str| {
            let build = own
                .build(&folder)
                .args(["--builder", builder, "-o", "type=local,dest=out"]);
            build.args(["--add-host", "gateway.example:host-gateway"]).run()
        };
        match release {
            Release::Current => {
                let built = build("default").succeeds();
                let address = built
                    .stderr()
                    .lines()
                    .find(|line| line.ends_with("\tgateway.example"));
                assert!(
                    address.is_some_and(|line| line.contains("172.")),
                    "{}",
                    built.stderr()
                );
            }
            Release::Old => {
                let refused = build("default").fails(1);
                refused.says(&format!("{words}: host-gateway IP not found"));
            }
        }
        own.create(&[]);
        let refused = build("b").fails(1);
        refused.says(&format!(
            "{words}: host-gateway is not supported by the docker-container driver"
        ));
    }
}

#[test]
fn what_a_classic_image_store_cannot_do_is_said_before_anything_is_uploaded() {
    let own = Own::new(Release::Old);
    let folder = bare(&own.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    for (options, feature) in [
        (
            ["--platform=linux/amd64,linux/arm64", "--output=out"],
            "Multi-platform build",
        ),
        (
            [
                "--cache-to=type=registry,ref=registry.invalid/cache",
                "--output=out",
            ],
            "Cache export",
        ),
        (
            ["--output=type=oci,dest=image.tar", "--progress=plain"],
            "OCI exporter",
        ),
    ] {
        let refused = own
            .build(&folder)
            .args(["--builder", "default"])
            .args(options)
            .run()
            .fails(1);
        refused
            .says(&format!("{feature} is not supported for the docker driver"))
            .says("Switch to a different driver")
            .says_no("load build");
    }
}

#[test]
fn it_can_neither_be_stopped_nor_removed_nor_made() {
    let own = Own::new(Release::Current);
    own.context.bkhost(["stop", "default"]).run().succeeds();
    let removal = own.context.bkhost(["rm", "default"]).run().fails(1);
    removal.says("run `docker context rm default` to remove this context");
    let creation = own
        .context
        .bkhost(["create", "--driver", "docker"])
        .run()
        .fails(1);
    creation.says("additional instances of driver \"docker\" cannot be created");
    let file = own.context.write("buildkitd.toml", "debug = true\n");
    let create = own
        .context
        .bkhost(["create", "--driver", "docker", "--buildkitd-config"]);
    assert_eq!(create.arg(file).run().code(), Some(1));
}
