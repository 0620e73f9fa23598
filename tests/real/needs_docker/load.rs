//! Results that are loaded into an engine, and run there by the real docker.

mod needs_buildx;

use std::path::PathBuf;
use std::sync::Arc;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::server::free_port;
use bkhost_test_support::source::{bare, with_base};
use bkhost_test_support::user::OrdinaryUser;
use serde_json::Value;

use super::{context_at, docker};
use crate::harness::{build, context_of, unique};

const RELEASES: [Release; 2] = [Release::Current, Release::Old];
/// What is said of a build whose result is lost.
const LOST: &str = "No output specified";

/// A shared engine, an environment with a builder `b` beside it, and something to build that says a word of its own when it
/// runs.
struct Bench {
    engine: Arc<DockerEngine>,
    _daemon: Arc<Daemon>,
    context: TestContext,
    source: PathBuf,
    word: String,
    tag: String,
}

impl Bench {
    fn new(release: Release) -> Self {
        Self::with(release, &[])
    }

    fn with(release: Release, options: &[&str]) -> Self {
        let engine = DockerEngine::shared(release);
        let daemon = Daemon::shared();
        let context = context_at(&engine);
        let create = ["create", "--driver", "remote", "--name", "b", "--use"];
        let create = context.bkhost(create).args(options);
        create.arg(daemon.address()).run().succeeds();
        let word = unique();
        let steps = format!("RUN echo {word} > /word\nCMD grep -qx \"$WORD\" /word\n");
        Self {
            source: with_base(&context, "source", &steps),
            tag: format!("app:{word}"),
            engine,
            _daemon: daemon,
            context,
            word,
        }
    }

    /// A build on `b`, unless another builder is named: what is selected counts for one engine.
    fn build(&self) -> Call {
        build(&self.context, &self.source).env("BUILDX_BUILDER", "b")
    }

    /// The image runs and is the one that was built; then it is removed.
    fn runs(&self, image: &str) {
        runs(&self.context, &self.word, image);
    }

    /// What the engine calls the image.
    fn id(&self, image: &str) -> String {
        let inspect = ["image", "inspect", "--format={{.Id}}", image];
        docker(&self.context, inspect).trim().to_owned()
    }

    fn has(&self, image: &str) -> bool {
        let known = docker(&self.context, ["images", "--quiet", image]);
        !known.trim().is_empty()
    }
}

/// The image knows its word, which the exit code tells: engines under load lose what a container prints that ends at once.
fn runs(context: &TestContext, word: &str, image: &str) {
    let word = format!("--env=WORD={word}");
    docker(context, ["run", "--rm", "--network=none", &word, image]);
    docker(context, ["rmi", "--force", image]);
}

#[test]
fn what_a_daemon_beside_the_engine_builds_is_loaded_and_runs() {
    for release in RELEASES {
        let bench = Bench::new(release);
        let files = ["--iidfile", "id", "--metadata-file", "meta.json"];
        let built = bench.build().args(["--load", "-t", &bench.tag]).args(files);
        let said = built.run().succeeds();
        said.says("importing to docker")
            .says("transferring image ")
            .says_no(LOST);
        let id = bench.context.read("id");
        assert_eq!(id, bench.id(&bench.tag), "{release:?}");
        let metadata: Value = serde_json::from_str(&bench.context.read("meta.json")).unwrap();
        // Where the engine goes by manifests, the configuration is nobody's name.
        let named = match release {
            Release::Current => "containerimage.digest",
            Release::Old => "containerimage.config.digest",
        };
        assert_eq!(metadata[named], id.as_str(), "{metadata}");
        let by_configuration = metadata.get("containerimage.config.digest").is_some();
        assert_eq!(by_configuration, release == Release::Old);
        bench.runs(&bench.tag);
    }
}

#[test]
fn without_a_tag_the_image_has_its_id() {
    for release in RELEASES {
        let bench = Bench::new(release);
        let id = bench.build().args(["--load", "--quiet"]).run().succeeds();
        bench.runs(id.stdout().trim());
    }
}

#[test]
fn a_named_context_is_the_target() {
    for release in RELEASES {
        let mut bench = Bench::new(release);
        let host = format!("host={}", bench.engine.address());
        docker(&bench.context, ["context", "create", "there", "--docker", &host]);
        bench.context.set("DOCKER_HOST", "unix:///nowhere.sock");
        let there = ["-o", "type=docker,context=there", "-t", &bench.tag];
        bench.build().args(there).run().succeeds();
        let unreached = bench.build().args(["--load", "-t", &bench.tag]).run().fails(1);
        unreached
            .says("failed to connect to the docker API at unix:///nowhere.sock")
            .says("hint: Start the engine")
            .says("hint: `--load` is for the engine of the active docker context")
            .says_no("load build context");
        let wrong = bench
            .build()
            .args(["-o", "type=docker,context=nope"])
            .run()
            .fails(1);
        wrong
            .says("unable to parse docker host `nope`")
            .says("`docker context ls`")
            .says_no("`--load`");
        bench.context.set("DOCKER_HOST", bench.engine.address());
        bench.runs(&bench.tag);
    }
}

#[test]
fn a_builder_that_loads_by_default_needs_no_flag() {
    for release in RELEASES {
        let bench = Bench::with(release, &["--driver-opt", "default-load=true"]);
        bench
            .build()
            .args(["-t", &bench.tag])
            .run()
            .succeeds()
            .says_no(LOST);
        bench.runs(&bench.tag);
        // Any other output is instead of it.
        let kept = bench.build().args(["-t", &bench.tag, "-o", "type=cacheonly"]);
        kept.run().succeeds().says_no("importing");
        let unwanted = bench.build().env("BUILDX_NO_DEFAULT_LOAD", "1");
        unwanted.run().succeeds().says_no("importing").says_no(LOST);
        let nowhere = bench.build().env("DOCKER_HOST", "unix:///nowhere.sock");
        let unreached = nowhere.run().fails(1);
        unreached
            .says("docker API at unix:///nowhere.sock")
            .says("`BUILDX_NO_DEFAULT_LOAD=1`")
            .says_no("`--load` is for");
        assert!(!bench.has(&bench.tag));
    }
    let bench = Bench::new(Release::Current);
    bench.build().run().succeeds().says(LOST);
}

#[test]
fn a_load_is_one_of_several_results() {
    for release in RELEASES {
        let bench = Bench::new(release);
        let outputs = ["-o", "type=docker", "-o", "type=oci,dest=oci.tar", "-o", "out"];
        bench
            .build()
            .args(["-t", &bench.tag])
            .args(outputs)
            .run()
            .succeeds();
        assert!(bench.context.read("out/word").contains(&bench.word));
        assert!(bench.context.work().join("oci.tar").is_file());
        bench.runs(&bench.tag);
        let file = bench
            .build()
            .args(["-t", &bench.tag, "-o", "type=docker,dest=-"])
            .run()
            .succeeds();
        let archive = bench.context.write("docker.tar", file.bytes());
        docker(&bench.context, ["load", "--input", archive.to_str().unwrap()]);
        bench.runs(&bench.tag);
    }
}

#[test]
fn several_platforms_and_attestations_go_where_there_is_room_for_them() {
    const PLATFORMS: [&str; 2] = ["--platform", "linux/amd64,linux/arm64"];
    let bench = Bench::new(Release::Current);
    let source = bare(&bench.context, "bare", "FROM scratch\nCOPY Dockerfile /\n");
    let both = build(&bench.context, &source).args(PLATFORMS);
    both.args(["--load", "--provenance=true", "-t", &bench.tag])
        .run()
        .succeeds();
    assert!(bench.has(&bench.tag));
    docker(&bench.context, ["rmi", "--force", &bench.tag]);

    let bench = Bench::new(Release::Old);
    for more in [&PLATFORMS[..], &["--provenance=true"]] {
        let refused = bench.build().args(["--load", "-t", &bench.tag]).args(more).run();
        refused
            .fails(1)
            .says(
                "ERROR: failed to build: docker exporter does not currently support exporting manifest lists",
            )
            .says("hint: ")
            // Before anything was uploaded.
            .says_no("load build");
    }
}

#[test]
fn an_engines_own_daemon_keeps_what_it_builds() {
    for release in RELEASES {
        let bench = Bench::new(release);
        for more in [&[][..], &["--load"], &["-o", "type=image"]] {
            let built = bench.build().args(["--builder", "default", "-t", &bench.tag]);
            let built = built.args(["--iidfile", "id"]).args(more).run().succeeds();
            built.says_no("importing").says_no(LOST);
            assert_eq!(
                bench.context.read("id"),
                bench.id(&bench.tag),
                "{release:?} {more:?}"
            );
            bench.runs(&bench.tag);
        }
        // An image of the engine is a base without any registry.
        let based = bare(&bench.context, "based", "FROM busybox\nRUN echo > /made\n");
        let built = build(&bench.context, &based).args(["--builder", "default"]);
        built.run().succeeds();
    }
}

#[test]
fn what_a_classic_store_cannot_do_is_refused_before_anything_is_uploaded() {
    let bench = Bench::new(Release::Old);
    for (arguments, words) in [
        (
            &["--platform", "linux/amd64,linux/arm64"][..],
            "Multi-platform build is not supported for the docker driver.",
        ),
        (
            &["-o", "type=oci,dest=x"],
            "OCI exporter is not supported for the docker driver.",
        ),
        (
            &["-o", "type=docker,dest=x"],
            "Docker exporter is not supported for the docker driver.",
        ),
        (
            &["--cache-to", "type=registry,ref=r/x"],
            "Cache export is not supported for the docker driver.",
        ),
        (
            &["--sbom=true"],
            "Attestation is not supported for the docker driver.",
        ),
    ] {
        let refused = bench.build().args(["--builder", "default"]).args(arguments);
        refused
            .run()
            .fails(1)
            .says(&format!("ERROR: failed to build: {words}\n"))
            .says("turn on the containerd image store")
            .says("`bkhost create --driver docker-container --use`")
            .says_no("load build");
    }
}

#[test]
fn another_engine_than_the_builders_own_gets_an_archive() {
    let bench = Bench::new(Release::Current);
    let other = DockerEngine::shared(Release::Old);
    let host = format!("host={}", other.address());
    docker(&bench.context, ["context", "create", "other", "--docker", &host]);
    let there = ["--builder", "default", "-o", "type=docker,context=other"];
    let built = bench.build().args(there).args(["-t", &bench.tag]);
    built.run().succeeds().says("importing to docker");
    assert!(!bench.has(&bench.tag));
    let mut context = bench.context;
    context.set("DOCKER_HOST", other.address());
    runs(&context, &bench.word, &bench.tag);
}

#[test]
fn a_socket_that_a_user_may_not_use_is_found_out_before_the_build() {
    let address = format!("tcp://127.0.0.1:{}", free_port());
    let _daemon = Daemon::start_with(&["--addr", &address]);
    let mut context = context_of(&OrdinaryUser::new());
    let create = ["create", "--driver", "remote", "--name", "b", &address];
    context.bkhost(create).run().succeeds();
    let source = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        context.set("DOCKER_HOST", engine.address());
        let build = build(&context, &source).args(["--builder", "b", "--load"]);
        build
            .run()
            .fails(1)
            .says("permission denied while trying to connect to the docker API at ")
            .says("usermod -aG docker")
            .says_no("load build");
    }
}
