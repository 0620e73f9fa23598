//! An engine on the network of a registry.

use std::sync::Arc;

use bkhost_test_support::docker::{BUILDKIT_IMAGE, DockerEngine, Network, Release};
use bkhost_test_support::provided;
use bkhost_test_support::registry::{PASSWORD, Registry, USER};

use bkhost::docker::EngineSettings;
use bkhost::driver::node::{DialRequest, DriverErrorKind};
use bkhost::progress::event::Sink;
use bkhost::store::docker::DockerEnvironment;

use super::engine::open;
use bkhost_test_support::source::bare;

use super::own::Own;
use super::{context_at, docker};
use crate::fixture::{collect, request};
use crate::harness::{build, unique};

#[test]
fn it_pushes_there_and_pulls_from_there_and_from_nowhere_else() {
    let registry = Registry::start();
    let image = registry.reference("busybox:1");
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start_on(release, Network::Host);
        let context = context_at(&engine);
        docker(&context, ["tag", "busybox", &image]);
        docker(&context, ["push", "--quiet", &image]);
        assert!(registry.manifest("busybox", "1").body["layers"].is_array());
        docker(&context, ["rmi", &image]);
        let run = ["run", "--rm", "--pull=always", "--network=host", &image];
        let said = context.call(provided::docker(), run).args(["echo", "pulled"]);
        said.run().succeeds().prints("pulled");
        let elsewhere = context.call(provided::docker(), ["pull", BUILDKIT_IMAGE]);
        elsewhere.run().fails(1).says("127.0.0.1:1");
    }
}

/// The classic store pushes by the engine, the other one by the engine's BuildKit; nobody sees a difference.
#[test]
fn an_engines_own_daemon_pushes_what_it_builds() {
    let (open, closed) = (Registry::start(), Registry::start_with_password());
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start_on(release, Network::Host);
        let context = context_at(&engine);
        let source = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
        let push = |image: &str| {
            let words = ["--builder", "default", "--push", "-t", image];
            build(&context, &source).args(words)
        };
        let repository = format!("pushed-{}", unique());
        let name = format!("{repository}:1");
        let image = open.reference(&name);
        let said = push(&image)
            .args(["--metadata-file", "meta.json"])
            .run()
            .succeeds();
        if release == Release::Old {
            said.says(&format!("pushing {image} with docker"));
        }
        let metadata: serde_json::Value = serde_json::from_str(&context.read("meta.json")).unwrap();
        let found = open.manifest(&repository, "1");
        assert_eq!(
            metadata["containerimage.digest"],
            found.digest.as_str(),
            "{metadata}"
        );

        let image = closed.reference(&name);
        let stranger = push(&image).run().fails(1);
        stranger.says("ERROR: failed to build: ").says("`docker login");
        let host = image.split('/').next().unwrap();
        let login = ["login", "--username", USER, "--password", PASSWORD, host];
        docker(&context, login);
        push(&image).run().succeeds();
    }
}

#[tokio::test]
async fn a_driver_pulls_with_the_users_credentials_and_shows_bytes() {
    let registry = Registry::start_with_password();
    let image = registry.reference("buildkit:1");
    let host = image.split('/').next().unwrap();
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start_on(release, Network::Host);
        let context = context_at(&engine);
        docker(
            &context,
            ["login", "--username", USER, "--password", PASSWORD, host],
        );
        docker(&context, ["tag", BUILDKIT_IMAGE, &image]);
        docker(&context, ["push", "--quiet", &image]);
        // Its layers go with the last image that has them. They are large enough to be seen coming.
        docker(&context, ["rmi", "--force", &image, BUILDKIT_IMAGE]);
        let settings = |folder| EngineSettings {
            docker: DockerEnvironment {
                folder,
                ..DockerEnvironment::default()
            },
            ..EngineSettings::default()
        };
        let address = engine.address();
        let stranger = open(settings(context.work()), &address, "n", &image).await;
        let error = stranger.boot(request()).await.unwrap_err();
        assert_ne!(error.kind, DriverErrorKind::Defect, "{release:?}");
        let words = [
            "no basic auth credentials",
            "authorization failed",
            "unauthorized",
        ];
        assert!(
            words.iter().any(|word| error.message.contains(word)),
            "{release:?}: {error}"
        );

        let (sink, updates) = Sink::channel();
        let watcher = tokio::spawn(collect(updates));
        let user = open(settings(context.home().join(".docker")), &address, "n", &image).await;
        user.boot(DialRequest { sink, ..request() }).await.unwrap();
        drop(user);
        docker(&context, ["image", "inspect", &image]);
        let all = watcher.await.unwrap();
        let shown = all.statuses.iter().map(|status| (status.current, status.total));
        let last = shown.max_by_key(|(current, _)| *current).unwrap();
        assert!(last.0 > 0 && last.0 == last.1, "{release:?}: {last:?}");
    }
}

/// The builder's container needs the machine's network: there is no other here.
fn with_image(own: &Own, image: &str) {
    own.create(&["--driver-opt", &format!("image={image},network=host")]);
}

#[test]
fn a_builders_image_is_pulled_pinned_and_used_where_the_registry_is_down() {
    for release in [Release::Current, Release::Old] {
        let registry = Registry::start();
        let own = Own::on(Arc::new(DockerEngine::start_on(release, Network::Host)));
        let image = registry.reference("buildkit:1");
        docker(&own.context, ["tag", BUILDKIT_IMAGE, &image]);
        docker(&own.context, ["push", "--quiet", &image]);
        docker(&own.context, ["rmi", "--force", &image, BUILDKIT_IMAGE]);

        // Its layers are seen coming, in bytes.
        with_image(&own, &image);
        let booted = own
            .context
            .bkhost(["inspect", "--bootstrap", "b"])
            .run()
            .succeeds();
        let shown = booted.stderr().to_owned();
        assert!(shown.contains("MB / "), "{release:?}: {shown}");
        own.build(&own.quick()).run().succeeds().says("finished");
        let first = own.id();

        // By its digest, which says all that a name would.
        let digest = registry.manifest("buildkit", "1").digest;
        let pinned = format!("{}@{digest}", registry.reference("buildkit"));
        own.context.bkhost(["rm", "--keep-state", "b"]).run().succeeds();
        with_image(&own, &pinned);
        own.boot();
        assert_eq!(own.inspect()["Config"]["Image"], pinned.as_str(), "{release:?}");
        assert_ne!(own.id(), first);
        own.context.bkhost(["rm", "--keep-state", "b"]).run().succeeds();

        // One that the registry does not have.
        let missing = registry.reference("buildkit:2");
        with_image(&own, &missing);
        let failed = own.build(&own.quick()).run().fails(1);
        failed
            .says(&format!("The image `{missing}` cannot be pulled"))
            .says("driver option `image`");
        own.context.bkhost(["rm", "--keep-state", "b"]).run().succeeds();

        // Without the registry the engine's own image does.
        drop(registry);
        with_image(&own, &image);
        let built = own.build(&own.quick()).run().succeeds();
        built.says("finished").says(&format!("using local image {image}"));
        own.context.bkhost(["rm", "b"]).run().succeeds();
    }
}
