//! The plugin called by the real docker command, of today and of 2020, without an engine.

mod needs_buildx;

use bkhost_test_support::call::{Call, Said};
use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;

use crate::plugin::Docker;

const RELEASES: [Release; 2] = [Release::Current, Release::Old];

impl Docker {
    /// One with bkhost as its plugin.
    fn installed() -> Self {
        let docker = Self::new();
        docker.context.bkhost(["install"]).run().succeeds();
        docker
    }

    fn docker<const N: usize>(&self, release: Release, arguments: [&str; N]) -> Call {
        self.on_bare_machine(provided::docker_of(release)).args(arguments)
    }

    /// Selects the builder `ci` with these flags of docker's, and gives the key of the selection: the context's name, or
    /// the address of the engine.
    fn key(&self, release: Release, flags: &[&str]) -> String {
        let call = self.docker(release, []).args(flags).args(["buildx", "use", "ci"]);
        call.run().succeeds();
        let current = std::fs::read_to_string(self.context.store().join("current")).unwrap();
        let current: serde_json::Value = serde_json::from_str(&current).unwrap();
        current["Key"].as_str().unwrap().to_owned()
    }

    fn create(&self, release: Release, more: &[&str]) -> Said {
        let create = ["buildx", "create", "--name", "ci", "--driver", "remote"];
        self.docker(release, create).args(more).run().succeeds()
    }
}

#[test]
fn docker_lists_it_and_runs_it() {
    for release in RELEASES {
        let docker = Docker::installed();
        let info = docker.docker(release, ["info"]).run();
        let info = info
            .fails(1)
            .prints("buildx: Builders for BuildKit, wherever their daemons run (bkhost");
        info.prints("v0.37.1+bkhost.");
        let version = docker.docker(release, ["buildx", "version"]).run().succeeds();
        version.prints("github.com/bkhost/bkhost v0.37.1+bkhost.");
        let help = docker.docker(release, ["buildx", "--help"]).run().succeeds();
        help.prints("Usage: docker buildx [OPTIONS] [COMMAND]")
            .prints("docker buildx use ci");
        let help = docker.docker(release, ["help", "buildx"]).run().succeeds();
        help.prints("Usage: docker buildx [OPTIONS] [COMMAND]");
        // The alias.
        let version = docker.docker(release, ["builder", "version"]).run().succeeds();
        version.prints("github.com/bkhost/bkhost v0.37.1+bkhost.");
        let build = docker.docker(release, ["build", "."]).run().fails(1);
        // The words are buildx's, too; the hint is not.
        build
            .says("failed to connect to the docker API")
            .says("hint: Start the engine");
        let build = docker
            .docker(release, ["build", "."])
            .env("BUILDX_BUILDER", "local");
        build.run().fails(1).says("failed to read dockerfile");
    }
}

#[test]
fn dockers_own_flags_count() {
    for release in RELEASES {
        let docker = Docker::installed();
        let context = ["context", "create", "other", "--docker", "host=tcp://127.0.0.1:9"];
        docker.docker(release, context).run().succeeds();
        docker.create(release, &["tcp://127.0.0.1:9"]);
        assert_eq!(docker.key(release, &["--context", "other"]), "other");
        assert_eq!(docker.key(release, &["-c", "other"]), "other");
        assert_eq!(
            docker.key(release, &["--host", "tcp://127.0.0.1:7"]),
            "tcp://127.0.0.1:7"
        );
        for flags in [&[][..], &["--context", "default"]] {
            assert_eq!(docker.key(release, flags), "unix:///nonexistent/docker.sock");
        }
        // Another folder of docker's has no plugin and no builders; it is looked at as docker says.
        let elsewhere = docker.context.home().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(docker.folder().join("cli-plugins"), elsewhere.join("cli-plugins"))
            .unwrap();
        let call = docker.docker(release, ["--config", elsewhere.to_str().unwrap()]);
        let call = call
            .args(["buildx", "ls", "--format", "{{.Name}}"])
            .env("BUILDX_CONFIG", "");
        assert!(!call.run().succeeds().stdout().contains("ci"));
        // Ours, before the command and after it.
        for line in [["--builder", "ci", "inspect"], ["inspect", "--builder", "ci"]] {
            let inspected = docker.docker(release, ["buildx"]).args(line).run().succeeds();
            inspected.prints("Name:          ci\n");
        }
    }
}

#[test]
fn tls_files_of_dockers_flags_are_those_of_the_engine() {
    let docker = Docker::installed();
    let flags = [
        "--tlsverify",
        "--tlscacert=/nowhere/ca.pem",
        "-H",
        "tcp://127.0.0.1:7",
    ];
    let list = |more: &[&str]| {
        let call = docker.docker(Release::Current, flags).args(more);
        call.args(["buildx", "ls"]).run().succeeds()
    };
    list(&[]).says("WARNING: ").says("/nowhere/ca.pem");
    list(&["--log-level", "error"]).says_no("WARNING: ");
}

/// The old docker says it itself.
#[test]
fn a_context_that_does_not_exist_ends_the_list() {
    let docker = Docker::installed();
    let list = docker.docker(Release::Current, ["--context", "nobody", "buildx", "ls"]);
    let listed = list.run().fails(1).prints("default");
    listed.says(
        "ERROR: no builder \"nobody\" found\nhint: The docker context `nobody`, which `--context` names",
    );
}

#[test]
fn mistakes_end_as_a_plugins_do() {
    for release in RELEASES {
        let docker = Docker::installed();
        let refused = docker
            .docker(release, ["buildx", "ls", "--format"])
            .run()
            .fails(125);
        let usage = "flag needs an argument: --format\n\nUsage:  docker buildx ls [OPTIONS]\n\nRun 'docker buildx ls --help' for more information\n";
        assert_eq!(refused.stderr().trim_start(), usage);
        let refused = docker.docker(release, ["buildx", "ls", "x"]).run().fails(1);
        refused.says("ERROR: docker: 'docker buildx ls' requires 0 arguments\n\nUsage:  docker buildx ls");
        let refused = docker
            .docker(release, ["buildx", "inspect", "nobody"])
            .run()
            .fails(1);
        refused.says("ERROR: no builder \"nobody\" found\nhint: `docker buildx ls` lists");
        let refused = docker.docker(release, ["buildx", "du"]).run().fails(1);
        refused.says("bkhost has no command `du` yet");
    }
}

/// Only docker of today asks its plugins.
#[test]
fn completion_comes_through_docker() {
    let docker = Docker::installed();
    docker.create(Release::Current, &["tcp://127.0.0.1:9"]);
    let offered = |words: &[&str]| {
        let asked = docker
            .docker(Release::Current, ["__complete", "buildx"])
            .args(words);
        asked.run().succeeds().stdout()
    };
    assert_eq!(
        offered(&["insp"]),
        "inspect\tShow everything about a builder\n:4\n"
    );
    assert_eq!(offered(&["build", "--progress", "r"]), "rawjson\n:4\n");
    assert!(offered(&["inspect", ""]).starts_with("ci\tremote\n"));
    assert!(offered(&["build", ""]).ends_with(":0\n"));
}
