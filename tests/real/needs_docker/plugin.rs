//! bkhost as docker's plugin, at work on a real daemon: builds, interruptions, what is handed to buildx.

mod needs_buildx;

use std::time::{Duration, Instant};

use bkhost_test_support::call::Call;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::provided;
use bkhost_test_support::source::{bare, with_base};
use bkhost_test_support::terminal::INTERRUPT;
use rustix::process::Signal;

use super::context_at;
use crate::harness::{Remote, unique};

const RELEASES: [Release; 2] = [Release::Current, Release::Old];

/// A selected builder at a daemon, and bkhost as docker's plugin; there is no engine.
fn installed() -> Remote {
    let mut remote = Remote::new();
    remote
        .context
        .set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    remote.context.bkhost(["install"]).run().succeeds();
    remote.context.bkhost(["use", "--global", "b"]).run().succeeds();
    remote
}

fn docker<const N: usize>(remote: &Remote, release: Release, arguments: [&str; N]) -> Call {
    remote.context.call(provided::docker_of(release), arguments)
}

/// The ways to say it.
const BUILDS: [&[&str]; 4] = [
    &["buildx", "build"],
    &["build"],
    &["image", "build"],
    &["builder", "build"],
];

#[test]
fn every_way_to_build_is_a_build_of_bkhost() {
    for release in RELEASES {
        let remote = installed();
        let mark = unique();
        let step = format!("RUN echo {mark} > /out\nFROM scratch\nCOPY --from=base /out /\n");
        let folder = with_base(&remote.context, "source", &step);
        for (number, words) in BUILDS.iter().enumerate() {
            let out = format!("out-{number}");
            let call = docker(&remote, release, [])
                .args(*words)
                .args(["-o", &out])
                .arg(&folder);
            call.run()
                .succeeds()
                .says("building with \"b\" instance using remote driver");
            assert_eq!(remote.context.read(&format!("{out}/out")), format!("{mark}\n"));
        }
        let failing = with_base(&remote.context, "failing", "RUN exit 3\n");
        let failed = docker(&remote, release, ["build"]).arg(&failing).run();
        failed.fails(1).says("exit code: 3");
        let named = docker(&remote, release, ["build", "--builder", "nobody"])
            .arg(&folder)
            .run();
        named.fails(1).says("no builder \"nobody\" found");
        let named = docker(&remote, release, ["build"])
            .arg(&folder)
            .env("BUILDX_BUILDER", "b");
        named.run().succeeds().says("CACHED");
    }
}

#[test]
fn dockers_debug_is_that_of_the_build() {
    for release in RELEASES {
        let remote = installed();
        let folder = with_base(&remote.context, "source", "RUN true\n");
        // No folder can be made of it.
        std::fs::write(remote.context.store().join("refs"), "").unwrap();
        let build = |flags: &[&str]| {
            let call = docker(&remote, release, []).args(flags).arg("build").arg(&folder);
            call.run().succeeds()
        };
        let words = "the local state of the build is not kept";
        build(&[]).says_no(words);
        build(&["--debug"]).says(words);
        build(&["--log-level", "debug"]).says(words);
    }
}

/// With the engine that docker names, by its variable and by its own flag.
#[test]
fn without_a_builder_it_builds_on_dockers_engine() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let mut context = context_at(&engine);
        // What becomes of the result is another matter.
        context.set("BUILDX_NO_DEFAULT_LOAD", "1");
        context.bkhost(["install"]).run().succeeds();
        let source = bare(&context, "source", "FROM scratch\nLABEL a=b\n");
        let docker = provided::docker_of(release);
        let build = context.call(&docker, ["build"]).arg(&source).run().succeeds();
        build.says("building with \"default\" instance using docker driver");
        let host = format!("host={}", engine.address());
        let create = ["context", "create", "there", "--docker", &host];
        context.call(&docker, create).run().succeeds();
        context.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let build = context.call(&docker, ["--context", "there", "buildx", "build"]);
        let build = build.arg(&source).run().succeeds();
        build.says("building with \"there\" instance using docker driver");
        let list = ["--context", "there", "buildx", "ls"];
        context.call(&docker, list).run().succeeds().prints("there*");
    }
}

/// A step that tells that it has begun, and does not end.
fn endless(remote: &Remote) -> (std::path::PathBuf, String) {
    let mark = unique();
    let folder = with_base(
        &remote.context,
        "source",
        &format!("RUN echo begun-{mark}; sleep 1000\n"),
    );
    (folder, format!("begun-{mark}\n"))
}

/// Docker tells its plugin by the socket: the signal went to docker alone.
#[test]
fn a_signal_to_docker_ends_the_build() {
    for signal in [Signal::INT, Signal::TERM] {
        let remote = installed();
        let (folder, begun) = endless(&remote);
        let build = docker(&remote, Release::Current, ["build", "--progress=plain"]).arg(&folder);
        let mut build = build.start();
        build.until_said(&begun);
        let sent = Instant::now();
        build.signal(signal);
        build.wait().fails(130).says("CANCELED");
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
    }
}

#[test]
fn a_typed_interrupt_ends_the_build_in_good_order() {
    for release in RELEASES {
        let remote = installed();
        let (folder, begun) = endless(&remote);
        let build = docker(&remote, release, ["buildx", "build"]).arg(&folder);
        let mut terminal = build.on_terminal(30, 100);
        terminal.until_shown(&format!("# {}", begun.trim()));
        let typed = Instant::now();
        terminal.types(INTERRUPT);
        let ended = terminal.wait();
        assert!(typed.elapsed() < Duration::from_secs(3), "{:?}", typed.elapsed());
        ended.fails(130).says("CANCELED");
        terminal.is_sane();
    }
}

/// The terminal tells both, and docker tells its plugin as well, because its output is no terminal.
#[test]
fn an_interrupt_that_comes_twice_counts_once() {
    let remote = installed();
    let (folder, begun) = endless(&remote);
    let script = "trap : INT; \"$@\" > out";
    let build = remote.context.call("sh", ["-c", script, "sh"]);
    let build = build.arg(provided::docker()).arg("build").arg(&folder);
    let mut terminal = build.on_terminal(30, 100);
    terminal.until_shown(&format!("# {}", begun.trim()));
    terminal.types(INTERRUPT);
    terminal
        .wait()
        .fails(130)
        .says("CANCELED")
        .says("context canceled");
    terminal.is_sane();
}
