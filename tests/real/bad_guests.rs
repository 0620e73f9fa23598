//! Guests that break every rule at once, in the process of a build that goes on.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bkhost::buildkit::client::Client;
use bkhost::buildkit::solve::Cancel;
use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{DriverError, Drivers, NodeConfig};
use bkhost::error::CommandError;
use bkhost_test_support::daemon::Daemon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::build::{Told, context, spec, start, to_folder};
use crate::fixture::{catalog, config, logged, request};

/// A guest: its file, what it is told to do, and the words it ends with.
struct Bad(&'static str, &'static str, Words);

enum Words {
    All(&'static str),
    Ends(&'static str),
    /// As long as a text may be, with a note of what was cut.
    Cut(&'static str),
}

const BAD: [Bad; 9] = [
    Bad(
        "misbehaving",
        "loop",
        Words::All(
            "Driver `misbehaving` 0.3.0 was stopped in `status`: it computed for more than 5 s without waiting for \
             anything",
        ),
    ),
    Bad(
        "misbehaving",
        "allocate",
        Words::All(
            "Driver `misbehaving` 0.3.0 was stopped in `status`: it wanted more than 64 MiB of memory",
        ),
    ),
    Bad("misbehaving", "panic", Words::Ends(": index out of everything")),
    Bad(
        "unknown-import",
        "",
        Words::All(
            "Driver `unknown-import` (`unknown-import.wasm`) speaks bkhost:driver@0.1.0-rc.1 and imports what this \
             bkhost does not offer: `bkhost:beyond/teleport@1.0.0` (`aim`, `beam`); this bkhost supports \
             bkhost:driver@0.1.0-rc.1",
        ),
    ),
    Bad(
        "wrong-track",
        "",
        Words::All(
            "Driver `wrong-track` (`wrong-track.wasm`, built with bkhost-driver 0.9.0) speaks bkhost:driver@0.9.0; \
             this bkhost supports bkhost:driver@0.1.0-rc.1",
        ),
    ),
    Bad("misbehaving", "long-error", Words::Cut("xxxx")),
    Bad(
        "misbehaving",
        "longest-error",
        Words::All(
            "Driver `misbehaving` 0.3.0 was stopped in `status`: it handed over more than 20 MiB in one call",
        ),
    ),
    Bad(
        "misbehaving",
        "endless-log",
        Words::All(
            "Driver `misbehaving` 0.3.0 was stopped in `status`: it computed for more than 5 s without waiting for \
             anything",
        ),
    ),
    Bad(
        "misbehaving",
        "forbidden",
        Words::All(
            "`open-unix` of `/etc/shadow` is not granted: the builder's endpoint is `unix:///run/nowhere.sock`",
        ),
    ),
];

/// Bytes that one of them may have printed: a message and a hint of 4 KiB each, and the words around them.
const SHOWN: usize = (2 * 4 + 1) << 10;
/// Log lines that are kept in one second, and those that may be under way when it ends.
const LINES: (usize, usize) = (1000, 100);
/// MiB by which this process may grow. Three of the guests fill their memory of 64 MiB, two hand over as much as
/// can be copied in one call (20 MiB); the rest is for the other guests, the build, and what the allocator keeps.
const GROWTH: u64 = 3 * 64 + 2 * 20 + 64;
/// Signs of life of the step, one every tenth of a second, while two guests compute for 5 s each: far fewer than there
/// are, because the machine may be busy.
const SIGNS: usize = 10;
/// Nothing here may take longer; two rounds take a quarter of it.
const LIMIT: Duration = Duration::from_secs(120);
/// Says that the test has a process for itself.
const ALONE: &str = "BKHOST_TEST_ALONE";

#[test]
fn all_of_them_end_while_a_build_goes_on() {
    if !alone("bad_guests::all_of_them_end_while_a_build_goes_on") {
        return;
    }
    // One thread, so that a guest that never yields would stop the build.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let whole = async { tokio::time::timeout(LIMIT, build_beside_bad_guests()).await };
    runtime.block_on(whole).unwrap();
}

async fn build_beside_bad_guests() {
    let daemon = Daemon::start();
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = source(gate.local_addr().unwrap().port());
    let output = daemon.folder().join("out");
    let mut spec = spec(source.path());
    spec.exporters = vec![to_folder(&output)];
    let client = connect_by_driver(&daemon).await;
    let before = memory("VmRSS:");
    let (running, mut updates) = start(&client, spec, Cancel::new());
    let told = Arc::new(Mutex::new(Told::default()));
    let signs = || told.lock().unwrap().logs.matches("sign of life").count();
    let listener = Arc::clone(&told);
    tokio::spawn(async move {
        while let Some(update) = updates.recv().await {
            listener.lock().unwrap().add(update);
        }
    });

    // The context is sent meanwhile.
    drive_all().await;
    let mut waiting = asked(&gate).await;
    let heard = signs();
    // The step runs meanwhile.
    drive_all().await;
    assert!(!running.is_finished(), "the build did not go on");
    let heard = signs() - heard;
    assert!(heard >= SIGNS, "{heard} signs of life");
    let growth = memory("VmHWM:").saturating_sub(before);
    assert!(growth < GROWTH, "grew by {growth} MiB");

    let answer = b"HTTP/1.0 200 OK\r\n\r\nall of them have ended\n";
    waiting.write_all(answer).await.unwrap();
    waiting.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
    let kept = |name: &str| std::fs::read(output.join(name)).unwrap();
    assert_eq!(kept("word"), b"all of them have ended\n");
    assert!(kept("data") == data(), "the context came out changed");
}

/// A context of some size, and a step that says that it lives until it gets an answer from this port.
fn source(port: u16) -> tempfile::TempDir {
    let steps = format!(
        "FROM scratch AS steps\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\nCOPY busybox /bin/wget\n\
         RUN (while sleep 0.1; do echo sign of life; done) & wget -q -O /word http://127.0.0.1:{port}/\n\
         FROM scratch\nCOPY data /\nCOPY --from=steps /word /\n"
    );
    let source = context(&steps);
    std::fs::write(source.path().join("data"), data()).unwrap();
    source
}

fn data() -> Vec<u8> {
    (0..8u32 << 20).map(|index| (index % 251) as u8).collect()
}

/// Connects as a build does: the shipped driver boots and dials.
async fn connect_by_driver(daemon: &Daemon) -> Client {
    let config = NodeConfig {
        builder: "b".into(),
        node: "b0".into(),
        endpoint: daemon.address(),
        ..NodeConfig::default()
    };
    let drivers = Catalog::new(HostEnvironment::default());
    let node = drivers.open("remote", config).await.unwrap();
    node.boot(request()).await.unwrap();
    let instance = node.instances().await.unwrap().remove(0).id;
    let pipe = node.dial(&instance, request()).await.unwrap();
    Client::connect(pipe, None).await.unwrap()
}

/// Waits until the step asks for its answer.
async fn asked(gate: &TcpListener) -> TcpStream {
    let (mut stream, _) = gate.accept().await.unwrap();
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        question.push(stream.read_u8().await.unwrap());
    }
    stream
}

/// Runs all guests at once, and looks at how each of them ends.
async fn drive_all() {
    let (lines, _guard) = logged();
    let began = Instant::now();
    let ends = futures::future::join_all(BAD.iter().map(end_of)).await;
    let seconds = began.elapsed().as_secs() as usize + 1;
    for (Bad(name, behaviour, words), error) in BAD.iter().zip(ends) {
        assert_eq!(error.driver, *name);
        let message = &error.message;
        let is_so = match words {
            Words::All(all) => message == all,
            Words::Ends(end) => message.ends_with(end),
            Words::Cut(begin) => message.starts_with(begin) && message.ends_with("more bytes)"),
        };
        assert!(is_so, "{name} {behaviour}: {message}");
        let shown = shown(error);
        assert!(shown <= SHOWN, "{name} {behaviour}: {shown} bytes");
    }
    let lines = lines.lock().unwrap();
    assert!(
        lines.iter().any(|line| line.contains("and again")),
        "nothing was logged"
    );
    assert!(
        lines.len() <= seconds * LINES.0 + LINES.1,
        "{} lines in {seconds} s",
        lines.len()
    );
}

async fn end_of(Bad(name, behaviour, _): &Bad) -> DriverError {
    match catalog(name).open(name, config(behaviour)).await {
        Ok(node) => node.status().await.unwrap_err(),
        Err(error) => error,
    }
}

/// How many bytes a command prints that ends with this.
fn shown(error: DriverError) -> usize {
    let error = CommandError::from(error);
    let around = error.preface().iter().chain(error.hints());
    error.line().len() + around.map(String::len).sum::<usize>()
}

/// This much of the process's memory, in MiB.
fn memory(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() >> 10
}

/// Whether this process runs nothing but this test; if not, runs it in one that does. What a process has in memory
/// would otherwise be that of all tests at this moment.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
