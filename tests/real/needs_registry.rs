//! Images and caches in a real registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::registry::{PASSWORD, Registry, USER};
use bkhost_test_support::source::{bare, with_base};
use serde_json::Value;
use std::sync::Arc;

use crate::harness::{Remote, unique};

const SOURCE: &str = "FROM scratch\nCOPY Dockerfile /copied\n";

#[test]
fn a_pushed_image_has_the_digest_that_was_told_and_its_provenance() {
    let (remote, registry) = (Remote::new(), Registry::start());
    let folder = bare(&remote.context, "source", SOURCE);
    let flags = [
        "--push",
        "--metadata-file",
        "meta.json",
        "-t",
        &registry.reference("app:1"),
        "-t",
        &registry.reference("app:2"),
    ];
    remote.build(&folder).args(flags).run().succeeds();
    let metadata: Value = serde_json::from_str(&remote.context.read("meta.json")).unwrap();
    let told = metadata["containerimage.digest"].as_str().unwrap();
    for tag in ["1", "2"] {
        assert_eq!(registry.manifest("app", tag).digest, told);
    }
    let index = registry.manifest("app", "1").body;
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{index}");
    let attestation = registry
        .manifest("app", entries[1]["digest"].as_str().unwrap())
        .body;
    let predicate = &attestation["layers"][0]["annotations"]["in-toto.io/predicate-type"];
    assert!(
        predicate
            .as_str()
            .unwrap()
            .starts_with("https://slsa.dev/provenance/"),
        "{attestation}"
    );
    let statement = registry.blob("app", attestation["layers"][0]["digest"].as_str().unwrap());
    assert!(statement["predicate"].is_object(), "{statement}");
}

#[test]
fn a_pushed_image_without_provenance_is_one_manifest() {
    let (remote, registry) = (Remote::new(), Registry::start());
    let folder = bare(&remote.context, "source", SOURCE);
    let name = format!("type=image,name={},push=true", registry.reference("app:1"));
    remote
        .build(&folder)
        .args(["--provenance=false", "--output", &name])
        .run()
        .succeeds();
    assert!(registry.manifest("app", "1").body["layers"].is_array());
}

#[test]
fn an_image_in_the_registry_can_be_built_on() {
    let (remote, registry) = (Remote::new(), Registry::start());
    let folder = bare(&remote.context, "source", SOURCE);
    remote
        .build(&folder)
        .args(["--push", "-t", &registry.reference("base:1")])
        .run()
        .succeeds();
    let next = format!(
        "FROM {} AS base\nCOPY Dockerfile /next\n",
        registry.reference("base:1")
    );
    let folder = bare(&remote.context, "next", &next);
    remote
        .build(&folder)
        .args(["--pull", "-o", "out"])
        .run()
        .succeeds();
    assert_eq!(remote.context.read("out/copied"), SOURCE);
}

#[test]
fn a_cache_travels_between_daemons_through_the_registry() {
    let registry = Registry::start();
    let cache = registry.reference("cache:1");
    let to = format!("type=registry,ref={cache},mode=max");
    travels(&registry, &["--cache-to", &to], &["--cache-from", &cache]);
}

#[test]
fn a_cache_travels_between_daemons_inside_the_image() {
    let registry = Registry::start();
    let image = registry.reference("app:1");
    let push = ["--push", "-t", &image, "--cache-to", "type=inline"];
    travels(&registry, &push, &["--cache-from", &image]);
}

fn travels(_registry: &Registry, give: &[&str], take: &[&str]) {
    let steps = format!("RUN echo made-{} > /made\n", unique());
    let make = |daemon| {
        let remote = Remote::at(daemon);
        let folder = with_base(&remote.context, "source", &steps);
        (remote, folder)
    };
    let (first, folder) = make(Arc::new(Daemon::start()));
    first.build(&folder).args(give).run().succeeds();
    let (second, folder) = make(Arc::new(Daemon::start()));
    // The archive is sent again, but the step is not run again.
    let built = second
        .build(&folder)
        .args(take)
        .args(["-o", "out"])
        .run()
        .succeeds();
    built.says("CACHED").says("importing cache manifest");
    assert!(second.context.read("out/made").starts_with("made-"));
}

#[test]
fn a_push_that_is_refused_says_why() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", SOURCE);
    let port = bkhost_test_support::server::free_port();
    let flags = ["--push", "-t", &format!("127.0.0.1:{port}/app:1")];
    let failed = remote.build(&folder).args(flags).run().fails(1);
    failed.says("failed to push").says("connection refused");
}

#[test]
fn credentials_of_the_docker_configuration_are_used_and_missing_ones_are_told() {
    let (remote, registry) = (Remote::new(), Registry::start_with_password());
    let folder = bare(&remote.context, "source", SOURCE);
    let image = registry.reference("app:1");
    let flags = ["--push", "-t", &image];
    let refused = remote.build(&folder).args(flags).run().fails(1);
    refused.says("401 Unauthorized");
    let host = registry.reference("");
    let words = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let settings = serde_json::json!({"auths": {host.trim_end_matches('/'): {"auth": words}}});
    let file = remote.context.home().join(".docker/config.json");
    std::fs::write(file, settings.to_string()).unwrap();
    remote
        .build(&folder)
        .args(flags)
        .run()
        .succeeds()
        .says("pushing manifest")
        .says_no(PASSWORD);
}
