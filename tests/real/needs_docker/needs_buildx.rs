//! Builders in containers of a real engine, shared with buildx: each lists, uses, changes and removes what the other made.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::source::with_base;

use super::{context_at, docker};
use crate::harness::unique;

/// An engine with three builders of buildx in one store. Their names are nobody else's.
struct Shop {
    engine: Arc<DockerEngine>,
    context: TestContext,
    /// Runs already.
    plain: String,
    /// Two nodes with options of every form; does not run.
    tuned: String,
}

impl Shop {
    fn open(release: Release) -> Self {
        let engine = DockerEngine::shared(release);
        let context = context_at(&engine);
        let host = format!("host={}", engine.address());
        docker(&context, ["context", "create", "other", "--docker", &host]);
        let shop = Self {
            plain: format!("plain-{}", unique()),
            tuned: format!("tuned-{}", unique()),
            engine,
            context,
        };
        shop.create(&["--name", &shop.plain, "--bootstrap"]);
        let options = "memory=512m,network=host,\"env.A=b,c\"";
        shop.create(&[
            "--name",
            &shop.tuned,
            "--platform=linux/amd64",
            "--buildkitd-flags=--debug",
            "--driver-opt",
            options,
        ]);
        shop.create(&[
            "--append",
            "--name",
            &shop.tuned,
            "--platform=linux/arm64",
            "other",
        ]);
        shop
    }

    fn create(&self, more: &[&str]) {
        let create = ["create", "--driver", "docker-container"];
        self.buildx(create).args(more).run().succeeds();
    }

    fn buildx<const N: usize>(&self, arguments: [&str; N]) -> Call {
        self.context.call("buildx", arguments)
    }

    fn bkhost<const N: usize>(&self, arguments: [&str; N]) -> Call {
        self.context.bkhost(arguments)
    }

    /// What buildx says of all its builders and their nodes.
    fn listing(&self) -> Vec<String> {
        let format = "{{.Name}} {{.DriverEndpoint}} {{.Status}}";
        let said = self.buildx(["ls", "--format", format]).run().succeeds();
        said.stdout().lines().map(str::to_owned).collect()
    }

    /// What buildx says without the builder of this name and its nodes.
    fn listing_without(&self, name: &str) -> Vec<String> {
        let others = |line: &String| !line.starts_with(name);
        self.listing().into_iter().filter(others).collect()
    }

    fn record(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.context.store().join("instances").join(name)).ok()
    }

    /// State of the container of a builder's first node.
    fn container(&self, name: &str) -> Option<String> {
        self.engine.container(&format!("buildx_buildkit_{name}0"))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // The engine goes on; what a test leaves in it would take room from the others.
        for node in [&self.plain, &self.tuned] {
            let remove = ["rm", "--force", "--volumes"];
            let name = format!("buildx_buildkit_{node}0");
            let docker = bkhost_test_support::provided::docker();
            // A call that takes too long panics: in a test that fails already, that would end all others.
            let removal = || self.context.call(docker, remove).arg(name).run().code();
            let _ = std::panic::catch_unwind(AssertUnwindSafe(removal));
        }
    }
}

#[test]
fn they_are_listed_and_inspected_alike() {
    for release in [Release::Current, Release::Old] {
        let shop = Shop::open(release);
        let records = [&shop.plain, &shop.tuned].map(|name| shop.record(name).unwrap());
        let before = shop.listing();
        assert!(
            before.contains(&format!(
                "{}0 unix://{} running",
                shop.plain,
                shop.engine.socket().display()
            )) && before.contains(&format!("{}1 other inactive", shop.tuned)),
            "{before:?}"
        );
        // Only bkhost has one more, which needs no engine.
        let format = ["ls", "--format", "{{.Name}} {{.DriverEndpoint}} {{.Status}}"];
        let ours = shop.bkhost(format).run().succeeds().stdout();
        let ours: Vec<&str> = ours.lines().filter(|line| !line.starts_with("local")).collect();
        assert_eq!(ours, before, "{release:?}");
        let inspected = shop.bkhost(["inspect", &shop.tuned]).run().succeeds();
        inspected
            .prints("Driver:        docker-container\n")
            .prints("env.A=\"b,c\"")
            .prints("inactive")
            .prints("linux/arm64*");
        let running = shop.bkhost(["inspect", &shop.plain]).run().succeeds();
        running
            .prints("running")
            .prints("BuildKit version:")
            .says_no("other settings");
        assert_eq!(
            [&shop.plain, &shop.tuned].map(|name| shop.record(name).unwrap()),
            records,
            "looking changed a record"
        );
    }
}

/// Id of the container of a builder's first node.
fn id(shop: &Shop, name: &str) -> String {
    let container = shop
        .engine
        .get(&format!("/containers/buildx_buildkit_{name}0/json"));
    container["Id"].as_str().unwrap().to_owned()
}

#[test]
fn what_one_made_the_other_builds_in_stops_boots_and_removes() {
    for release in [Release::Current, Release::Old] {
        let shop = Shop::open(release);
        let ours = format!("ours-{}", unique());
        let create = ["create", "--driver", "docker-container", "--bootstrap", "--name"];
        shop.bkhost(create).arg(&ours).run().succeeds();
        let step = format!("RUN echo {}\n", unique());
        let folder = with_base(&shop.context, "source", &step);
        let build = |program: &str, builder: &str| {
            let build = ["build", "--progress=plain", "--builder", builder];
            let call = match program {
                "buildx" => shop.buildx(build),
                _ => shop.bkhost(build),
            };
            call.arg(&folder).run().succeeds()
        };
        for (name, maker, other) in [(&shop.plain, "buildx", "bkhost"), (&ours, "bkhost", "buildx")] {
            let first = id(&shop, name);
            build(maker, name).says_no("CACHED");
            build(other, name).says("CACHED");
            let stop = ["stop", name.as_str()];
            match other {
                "buildx" => shop.buildx(stop).run().succeeds(),
                _ => shop.bkhost(stop).run().succeeds(),
            };
            assert_eq!(shop.container(name).as_deref(), Some("exited"), "{name}");
            build(other, name).says("CACHED");
            build(maker, name).says("CACHED");
            assert_eq!(id(&shop, name), first, "{name} was made anew");
        }
        shop.bkhost(["rm", &shop.plain]).run().succeeds();
        shop.buildx(["rm", &ours]).run().succeeds();
        for name in [&shop.plain, &ours] {
            assert_eq!((shop.container(name), shop.record(name)), (None, None));
            let volumes = shop.engine.get("/volumes").to_string();
            assert!(!volumes.contains(&format!("{name}0_state")), "{volumes}");
        }
    }
}

#[test]
fn what_bkhost_selects_buildx_uses_and_the_reverse() {
    let shop = Shop::open(Release::Current);
    for name in [&shop.tuned, &shop.plain] {
        shop.bkhost(["use", name]).run().succeeds();
        let inspected = shop.buildx(["inspect"]).run().succeeds();
        inspected.prints(&format!("Name:          {name}\n"));
        shop.buildx(["ls"]).run().succeeds().prints(&format!("{name}*"));
    }
    shop.buildx(["inspect", &shop.tuned])
        .run()
        .succeeds()
        .prints("env.A=\"b,c\"")
        .prints("--debug")
        .prints("linux/arm64*");
    shop.buildx(["use", &shop.tuned]).run().succeeds();
    shop.bkhost(["ls"])
        .run()
        .succeeds()
        .prints(&format!("{}*", shop.tuned));
    shop.bkhost(["inspect"])
        .run()
        .succeeds()
        .prints(&format!("Name:          {}\n", shop.tuned));
    // A context is not selected by either, but told how.
    let words = "run `docker context use other` to switch to context other";
    shop.bkhost(["use", "other"]).run().fails(1).says(words);
    shop.buildx(["use", "other"]).run().fails(1).says(words);
    shop.buildx(["ls"])
        .run()
        .succeeds()
        .prints(&format!("{}*", shop.tuned));
}

#[test]
fn removing_one_leaves_the_other_builders() {
    for release in [Release::Current, Release::Old] {
        let shop = Shop::open(release);
        shop.bkhost(["use", &shop.plain]).run().succeeds();
        let others = shop.listing_without(&shop.tuned);
        shop.bkhost(["rm", &shop.tuned])
            .run()
            .succeeds()
            .says(&format!("{} removed", shop.tuned));
        assert_eq!(shop.record(&shop.tuned), None);
        assert_eq!(shop.listing(), others);
        // The selected one, whose daemon runs.
        let others = shop.listing_without(&shop.plain);
        let forget = ["rm", "--keep-daemon", &shop.plain];
        shop.bkhost(forget)
            .run()
            .succeeds()
            .says(&format!("{} removed", shop.plain));
        assert_eq!(shop.record(&shop.plain), None);
        assert_eq!(shop.listing(), others);
        shop.buildx(["inspect"])
            .run()
            .succeeds()
            .prints("Driver: docker\n");
        assert_eq!(shop.container(&shop.plain).as_deref(), Some("running"));
        // It is there for a builder of the same name.
        shop.create(&["--name", &shop.plain]);
        shop.buildx(["inspect", &shop.plain])
            .run()
            .succeeds()
            .prints("running");
        shop.buildx(["rm", &shop.plain]).run().succeeds();
        assert_eq!(shop.container(&shop.plain), None);
    }
}

#[test]
fn contexts_are_listed_like_buildx_lists_them_and_cannot_be_removed() {
    let shop = Shop::open(Release::Current);
    let contexts = |call: Call| -> Vec<String> {
        let said = call.run().succeeds();
        let names = said.stdout();
        let of_contexts = |line: &&str| line.ends_with(" docker");
        names.lines().filter(of_contexts).map(str::to_owned).collect()
    };
    let format = ["ls", "--format", "{{.Name}} {{.DriverEndpoint}}"];
    let ours = contexts(shop.bkhost(format));
    assert_eq!(ours, ["default docker", "other docker"]);
    assert_eq!(ours, contexts(shop.buildx(format)));
    for name in ["default", "other"] {
        shop.bkhost(["inspect", name])
            .run()
            .succeeds()
            .prints("Driver: docker\n")
            .prints("running");
        let words = format!("run `docker context rm {name}` to remove this context");
        shop.bkhost(["rm", name]).run().fails(1).says(&words);
        shop.buildx(["rm", name]).run().fails(1).says(&words);
    }
    docker(&shop.context, ["context", "rm", "other"]);
    assert_eq!(contexts(shop.bkhost(format)), ["default docker"]);
}

#[test]
fn nodes_that_one_appends_the_other_uses() {
    let shop = Shop::open(Release::Current);
    let host = format!("host={}", shop.engine.address());
    docker(&shop.context, ["context", "create", "third", "--docker", &host]);
    for (program, endpoint) in [("bkhost", "other"), ("buildx", "third")] {
        let append = ["create", "--append", "--name", &shop.plain, endpoint];
        match program {
            "buildx" => shop.buildx(append).run().succeeds(),
            _ => shop.bkhost(append).run().succeeds(),
        };
    }
    let nodes = shop.listing();
    let appended = ["1 other inactive", "2 third inactive"].map(|node| format!("{}{node}", shop.plain));
    assert!(appended.iter().all(|node| nodes.contains(node)), "{nodes:?}");
    let leave = ["create", "--leave", "--name", &shop.plain, "--node"];
    let node = |number: u32| format!("{}{number}", shop.plain);
    shop.bkhost(leave).arg(node(2)).run().succeeds();
    shop.buildx(leave).arg(node(1)).run().succeeds();
    let left = shop.listing();
    assert!(!appended.iter().any(|node| left.contains(node)), "{left:?}");
}
