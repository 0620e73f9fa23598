//! Docker contexts as builders, and builders made of them, beside the real buildx.

use std::path::Path;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};

use super::{context_at, docker};

/// What a program says without what only bkhost has: hints, and the builder `local` of this machine.
fn common(call: Call) -> (Vec<String>, Vec<String>) {
    let ended = call.run().succeeds();
    let lines = |text: &str| -> Vec<String> {
        let common = text
            .lines()
            .filter(|line| !line.starts_with("hint: ") && !line.contains("\"Name\":\"local\""));
        common.map(str::to_owned).collect()
    };
    (lines(&ended.stdout()), lines(ended.stderr()))
}

fn both(context: &TestContext, arguments: &[&str]) {
    let ours = common(context.bkhost(arguments));
    let theirs = common(context.call("buildx", arguments));
    assert_eq!(ours, theirs, "{arguments:?}");
}

#[test]
fn contexts_are_shown_alike() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let mut context = context_at(&engine);
        let host = format!("host={}", engine.address());
        for (name, host) in [
            ("zeta", host.as_str()),
            ("dead", "host=unix:///nonexistent/d.sock"),
            ("Alpha", &host),
            ("refused", "host=tcp://127.0.0.1:1"),
            ("node10", &host),
            ("node2", &host),
        ] {
            docker(&context, ["context", "create", name, "--docker", host]);
        }
        both(&context, &["ls", "--format", "json"]);
        for name in ["default", "zeta", "dead", "refused"] {
            both(&context, &["inspect", name]);
        }
        // What a driver can do more than buildx knows has a name of ours, without capitals.
        let features = |call: Call| -> Vec<String> {
            let told = call.run().succeeds().stdout();
            let lines = told.lines().skip_while(|line| *line != "Features:").skip(1);
            let features = lines
                .take_while(|line| line.starts_with(' '))
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            features
                .filter(|line| !line.starts_with(|c: char| c.is_lowercase()))
                .collect()
        };
        let debug = ["--debug", "inspect", "default"];
        let ours = features(context.bkhost(debug));
        assert!(ours.len() >= 7, "{ours:?}");
        assert_eq!(ours, features(context.call("buildx", debug)));
        let table = |call: Call| call.run().succeeds();
        let (ours, theirs) = (
            table(context.bkhost(["ls"])),
            table(context.call("buildx", ["ls"])),
        );
        assert_eq!(ours.stderr(), theirs.stderr());
        let rows = |text: &str| -> Vec<String> {
            let rows = text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            rows.filter(|row| !row.contains("local")).collect()
        };
        assert_eq!(rows(&ours.stdout()), rows(&theirs.stdout()));
        context.set("DOCKER_CONTEXT", "zeta");
        context.unset("DOCKER_HOST");
        both(&context, &["inspect"]);
        let current = ["ls", "--format", "{{.Name}} {{.Builder.Current}}"];
        context.bkhost(current).run().succeeds().prints("zeta true\n");
        for refused in [
            ["use", "default"],
            ["use", "node2"],
            ["rm", "zeta"],
            ["use", "none"],
        ] {
            let words = |call: Call| call.run().fails(1).stderr().lines().next().map(str::to_owned);
            assert_eq!(
                words(context.bkhost(refused)),
                words(context.call("buildx", refused))
            );
        }
    }
}

/// The records that each program makes of the same commands.
struct Makers {
    context: TestContext,
}

impl Makers {
    fn store(&self, program: &str) -> std::path::PathBuf {
        self.context.work().join(program)
    }

    /// Runs a command with both, and compares what they say, first lines only, and what they store.
    fn run(&self, arguments: &[&str], name: &str) -> Option<String> {
        let ours = self
            .context
            .bkhost(arguments)
            .env("BUILDX_CONFIG", self.store("ours"))
            .run();
        let theirs = self
            .context
            .call("buildx", arguments)
            .env("BUILDX_CONFIG", self.store("theirs"))
            .run();
        let code = theirs.code().unwrap();
        let said = |ended: bkhost_test_support::call::Ended| {
            let said = if code == 0 {
                ended.succeeds()
            } else {
                ended.fails(code)
            };
            let first = said.stderr().lines().next().map(str::to_owned);
            (said.stdout(), first)
        };
        assert_eq!(said(ours), said(theirs), "{arguments:?}");
        let record = |program: &str| std::fs::read_to_string(instance(&self.store(program), name)).ok();
        let (ours, theirs) = (record("ours"), record("theirs"));
        assert_eq!(ours, theirs, "{arguments:?}");
        ours
    }
}

fn instance(store: &Path, name: &str) -> std::path::PathBuf {
    store.join("instances").join(name)
}

#[test]
fn builders_of_contexts_and_addresses_are_made_alike() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let context = context_at(&engine);
        let (address, host) = (engine.address(), format!("host={}", engine.address()));
        for name in ["other", "third"] {
            docker(&context, ["context", "create", name, "--docker", &host]);
        }
        let makers = Makers { context };
        let made = |arguments: &[&str]| makers.run(&[&["create", "--name", "b"], arguments].concat(), "b");
        let record = made(&[]).unwrap();
        assert!(
            record.contains(r#""Driver":"docker-container""#) && record.contains(&address),
            "{record}"
        );
        made(&["--append", "--platform", "linux/arm64,linux/riscv64", "other"]).unwrap();
        let record = made(&[
            "--append",
            "--node",
            "Third",
            "--platform",
            "linux/arm64",
            "third",
        ]);
        assert!(record.unwrap().contains(r#""Name":"third""#));
        made(&[]).unwrap();
        made(&["--append"]).unwrap();
        made(&["--append", "other"]).unwrap();
        made(&["--append", "--driver", "remote", "tcp://h:1"]).unwrap();
        made(&["--node", "none"]).unwrap();
        made(&["--node", "b1", "--driver-opt", "memory=1g"]).unwrap();
        made(&["--leave", "--node", "none"]).unwrap();
        made(&["--leave", "--node", "b0"]).unwrap();
        made(&["--leave", "--node", "b1"]).unwrap();
        made(&["--leave", "--node", "third"]).unwrap();
        let refused = |arguments: &[&str]| {
            let stored = makers.run(&[&["create", "--name", "c"], arguments].concat(), "c");
            assert_eq!(stored, None, "{arguments:?}");
        };
        refused(&["--driver", "docker"]);
        refused(&["--driver", "none"]);
        refused(&["--append"]);
        refused(&["foo://x"]);
        refused(&["unix:///nonexistent/d.sock", "--driver", "docker-container"]);
        for name in ["other", "default", "1x"] {
            makers.run(&["create", "--name", name], name);
        }
        makers.run(&["create", "--name", "d", "default"], "d").unwrap();
        makers.run(&["create", "--name", "e", "other"], "e").unwrap();
        makers
            .run(&["create", "--name", "f", "tcp://127.0.0.1:1"], "f")
            .unwrap();
    }
}
