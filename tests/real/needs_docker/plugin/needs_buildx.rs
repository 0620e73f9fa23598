//! What bkhost lacks, done by the real buildx on a builder of both.

use std::time::{Duration, Instant};

use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;
use bkhost_test_support::source::with_base;
use rustix::process::Signal;

use super::{RELEASES, docker, endless};
use crate::harness::Remote;

/// The same as [`super::installed`], where buildx was docker's plugin before.
fn replaced() -> Remote {
    let mut remote = Remote::new();
    remote
        .context
        .set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let plugins = remote.context.home().join(".docker/cli-plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::copy(provided::program("buildx"), plugins.join("docker-buildx")).unwrap();
    remote.context.bkhost(["install"]).run().succeeds();
    remote.context.bkhost(["use", "--global", "b"]).run().succeeds();
    remote
}

#[test]
fn its_commands_and_flags_work_on_the_selected_builder() {
    for release in RELEASES {
        let remote = replaced();
        let folder = with_base(&remote.context, "source", "RUN true\n");
        docker(&remote, release, ["buildx", "build"])
            .arg(&folder)
            .run()
            .succeeds();
        docker(&remote, release, ["buildx", "du"])
            .run()
            .succeeds()
            .prints("Total:");
        let checked = docker(&remote, release, ["build", "--check"]).arg(&folder).run();
        checked.succeeds().prints("Check complete");
        let targets = docker(&remote, release, ["buildx", "build", "--call=targets"]).arg(&folder);
        targets.run().succeeds().prints("base");
        // A failure has buildx's own exit code.
        let failing = "FROM scratch\nfrom x\n";
        let failing = remote.context.write("failing/Dockerfile", failing);
        let checked = docker(&remote, release, ["build", "--check"]).arg(failing.parent().unwrap());
        checked.run().fails(1);
    }
}

#[test]
fn a_signal_to_docker_ends_its_build_too() {
    let remote = replaced();
    let (folder, begun) = endless(&remote);
    let build = ["build", "--progress=plain", "--resource=memory=1g"];
    let mut build = docker(&remote, Release::Current, build).arg(&folder).start();
    build.until_said(&begun);
    let sent = Instant::now();
    build.signal(Signal::INT);
    build.wait().fails(130).says("CANCELED");
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
}
