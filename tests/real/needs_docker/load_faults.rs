//! Loads that end badly: what is said, how soon, and that nothing is left of them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bkhost_test_support::call::{Call, Running};
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::source::with_base;
use rustix::process::Signal;

use super::gate::Gate;
use super::{context_at, docker};
use crate::harness::{Remote, throughout, unique};

/// What an engine does with a load.
#[derive(Clone, Copy)]
enum Manner {
    /// Says this after the first bytes, and closes.
    Says(&'static str),
    /// Reads the first bytes and nothing more.
    Holds,
}

/// An engine that answers questions and takes no image.
struct FakeEngine {
    folder: tempfile::TempDir,
}

impl FakeEngine {
    fn start(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("d.sock")).unwrap();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream, manner));
            }
        });
        Self { folder }
    }

    fn address(&self) -> String {
        format!("unix://{}/d.sock", self.folder.path().display())
    }
}

fn serve(mut stream: UnixStream, manner: Manner) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = match path {
            "/_ping" => "",
            path if path.ends_with("/version") => "{\"Version\":\"20.10.0\"}",
            path if path.ends_with("/info") => "{\"DriverStatus\":null}",
            path if path.contains("/images/load") => return load(stream, manner),
            path => panic!("nobody expects {path}"),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
}

fn load(mut stream: UnixStream, manner: Manner) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 4096])?;
    match manner {
        Manner::Says(words) => stream.write_all(words.as_bytes()),
        Manner::Holds => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
    }
}

/// A context whose image takes a while to be transferred.
fn large(context: &TestContext) -> PathBuf {
    let steps = format!(
        "RUN echo {} && dd if=/dev/urandom of=/large bs=1M count=150\n",
        unique()
    );
    with_base(context, "source", &steps)
}

/// A build on the daemon beside the engine: what is selected counts for another engine.
fn built(remote: &Remote, source: &Path) -> Call {
    remote.build(source).args(["--builder", "b"])
}

/// A build whose image is on its way into the engine.
fn loading(remote: &Remote, source: &Path, tag: &str) -> Running {
    let mut running = built(remote, source).args(["--load", "-t", tag]).start();
    running.until_said("importing to docker");
    running
}

#[test]
fn an_engines_refusal_is_the_builds_error() {
    let full = concat!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "{\"errorDetail\":{\"message\":\"write /var/lib/x: no space left on device\"},\"error\":\"\"}\n"
    );
    for (manner, code, words, hint) in [
        (
            Manner::Says(full),
            102,
            "did not load the image: write /var/lib/x: no space left on device",
            "`docker system df`",
        ),
        (
            Manner::Says(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 18\r\n\r\n{\"message\":\"boom\"}",
            ),
            1,
            "Error response from daemon: boom",
            "",
        ),
        (Manner::Says(""), 1, "the docker API at unix://", "loads it again"),
    ] {
        let engine = FakeEngine::start(manner);
        let mut remote = Remote::new();
        remote.context.set("DOCKER_HOST", engine.address());
        remote.context.write("id", "sha256:old");
        let source = large(&remote.context);
        let built = built(&remote, &source).args(["--load", "--iidfile", "id"]);
        let failed = built.args(["--metadata-file", "meta.json"]).run().fails(code);
        failed
            .says("ERROR: failed to build: failed to solve: ")
            .says(words)
            .says(hint);
        for file in ["id", "meta.json"] {
            assert!(
                !remote.context.work().join(file).exists(),
                "{file} of a failed build"
            );
        }
    }
}

#[test]
fn ctrl_c_does_not_wait_for_an_engine_that_takes_its_time() {
    let engine = FakeEngine::start(Manner::Holds);
    let mut remote = Remote::new();
    remote.context.set("DOCKER_HOST", engine.address());
    let source = large(&remote.context);
    let running = loading(&remote, &source, "app:1");
    std::thread::sleep(Duration::from_secs(1));
    let sent = Instant::now();
    running.signal(Signal::INT);
    running.wait().fails(130).says("context canceled");
    assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
}

#[test]
fn an_interrupted_load_leaves_nothing_in_the_engine() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start(release);
        let mut remote = Remote::new();
        // Nobody can tell otherwise how far a load has come when it is interrupted.
        let gate = Gate::open(&engine, remote.context.path().join("gate.sock"));
        gate.slow_down();
        remote.context.set("DOCKER_HOST", gate.address());
        let context = context_at(&engine);
        // In no order: some are of the same second.
        let images = || {
            let listed = docker(&context, ["images", "--all", "--quiet", "--no-trunc"]);
            listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let before = images();
        let source = large(&remote.context);
        let running = loading(&remote, &source, "app:half");
        running.signal(Signal::INT);
        running.wait().fails(130);
        // An engine that took it for whole would need a moment until it has it.
        throughout("nothing is kept of it", Duration::from_secs(3), || {
            images() == before
        });
        // And it can be loaded whole.
        let again = built(&remote, &source).args(["--load", "-t", "app:half"]);
        again.env("DOCKER_HOST", engine.address()).run().succeeds();
        let is_large = "[ $(wc -c < /large) = 157286400 ]";
        let run = ["run", "--rm", "--network=none", "app:half", "sh", "-c", is_large];
        docker(&context, run);
    }
}

#[test]
fn an_engine_that_dies_in_the_middle_ends_the_build_with_its_name() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::start(release);
        let mut remote = Remote::new();
        let gate = Gate::open(&engine, remote.context.path().join("gate.sock"));
        gate.slow_down();
        let address = gate.address();
        remote.context.set("DOCKER_HOST", &address);
        let source = large(&remote.context);
        let running = loading(&remote, &source, "app:1");
        let killed = Instant::now();
        drop(engine);
        let ended = running.wait().fails(1);
        assert!(
            killed.elapsed() < Duration::from_secs(30),
            "{:?}",
            killed.elapsed()
        );
        ended
            .says("ERROR: failed to build: failed to solve: ")
            .says(&format!("the docker API at {address}"))
            .says("loads it again");
    }
}
