//! `bkhost build` as a user types it, on a real daemon behind a driver that only opens its socket.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bkhost::cli::commands::build::{BuildArgs, ChosenBuilder, Ground, run_on};
use bkhost::cli::env_vars::Environment;
use bkhost::connect::pipe::Pipe;
use bkhost::driver::node::{
    Cancel, DialRequest, DriverError, DriverErrorKind, DriverInfo, DriverResult, Drivers, EndpointInfo,
    Finding, Instance, LogRequest, Loss, Node, NodeConfig, Removal, State, Status, WorkerFacts,
};
use bkhost::error::CommandError;
use bkhost::store::Store;
use bkhost::store::layout::Layout;
use bkhost::ui::Ui;
use bkhost_test_support::daemon::Daemon;
use clap::{Args as _, Command, FromArgMatches as _};
use tokio::net::UnixStream;

use crate::build::{Nobody, context, run};

/// A driver of unix sockets.
struct Sockets;

struct SocketNode(DriverInfo, PathBuf);

#[async_trait]
impl Drivers for Sockets {
    fn names(&self) -> Vec<String> {
        vec!["remote".into()]
    }

    async fn info(&self, driver: &str) -> DriverResult<DriverInfo> {
        Ok(DriverInfo {
            name: driver.into(),
            endpoint: EndpointInfo {
                kind: "required".into(),
                schemes: vec!["unix".into()],
                variable: Some("BUILDKIT_HOST".into()),
            },
            ..DriverInfo::default()
        })
    }

    async fn imports(&self, _driver: &str) -> DriverResult<BTreeMap<String, Vec<String>>> {
        Ok(BTreeMap::new())
    }

    async fn open(&self, driver: &str, config: NodeConfig) -> DriverResult<Box<dyn Node>> {
        let path = config.endpoint.strip_prefix("unix://").unwrap().into();
        Ok(Box::new(SocketNode(self.info(driver).await?, path)))
    }
}

impl SocketNode {
    fn status_now(&self) -> Status {
        Status {
            state: if self.1.exists() {
                State::Running
            } else {
                State::Inactive
            },
            detail: String::new(),
            attributes: Vec::new(),
        }
    }
}

#[async_trait]
impl Node for SocketNode {
    fn info(&self) -> &DriverInfo {
        &self.0
    }

    async fn endpoint(&self) -> DriverResult<String> {
        Ok(format!("unix://{}", self.1.display()))
    }

    async fn status(&self) -> DriverResult<Status> {
        Ok(self.status_now())
    }

    async fn boot(&self, _: DialRequest) -> DriverResult<()> {
        Err(DriverError {
            kind: DriverErrorKind::NotFound,
            driver: "remote".into(),
            message: format!("There is no socket `{}`", self.1.display()),
            hint: Some("Start buildkitd".into()),
            details: Vec::new(),
        })
    }

    async fn instances(&self) -> DriverResult<Vec<Instance>> {
        Ok(vec![Instance {
            id: "only".into(),
            state: self.status_now().state,
            labels: Vec::new(),
        }])
    }

    async fn placement(&self) -> DriverResult<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    async fn dial(&self, _: &str, _: DialRequest) -> DriverResult<Pipe> {
        Ok(Pipe::new(UnixStream::connect(&self.1).await.unwrap()))
    }

    async fn abilities(&self, _: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    async fn stop(&self, _: DialRequest) -> DriverResult<()> {
        Ok(())
    }

    async fn remove(&self, _: DialRequest, _: Removal) -> DriverResult<()> {
        Ok(())
    }

    async fn diagnose(&self, loss: Loss) -> DriverResult<Option<Finding>> {
        Ok(Some(Finding {
            word: "exited".into(),
            message: format!("it ended ({})", loss.how),
            hint: None,
            details: vec![("log".into(), "last words".into())],
        }))
    }

    async fn logs(&self, _: &str, _: LogRequest) -> DriverResult<Option<Pipe>> {
        Ok(None)
    }
}

/// What was written to one of the two streams.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A machine with one builder, at the socket of a daemon.
struct Machine {
    folder: tempfile::TempDir,
    nodes: Vec<NodeConfig>,
    cancel: Cancel,
    out: Written,
    err: Written,
}

impl Machine {
    fn with(addresses: &[&str]) -> Self {
        let nodes = addresses.iter().enumerate().map(|(index, address)| NodeConfig {
            builder: "b".into(),
            node: format!("b{index}"),
            endpoint: (*address).into(),
            ..NodeConfig::default()
        });
        Self {
            nodes: nodes.collect(),
            folder: tempfile::tempdir().unwrap(),
            cancel: Cancel::new(),
            out: Written::default(),
            err: Written::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `bkhost build` with these words.
    async fn build(&self, words: &[&str]) -> Result<(), CommandError> {
        let command = BuildArgs::augment_args(Command::new("build"));
        let matches = command
            .try_get_matches_from([&["build"], words].concat())
            .unwrap();
        let args = BuildArgs::from_arg_matches(&matches).unwrap();
        let ui = Ui::new(
            Box::new(self.out.clone()),
            Box::new(self.err.clone()),
            false,
            false,
            false,
        );
        let environment = Environment::of([], self.folder.path());
        let store = Store::new(Layout::new(self.path("store"), None));
        let ground = Ground {
            environment: &environment,
            ui: &ui,
            drivers: &Sockets,
            store: &store,
            engines: Arc::default(),
            registry: Arc::new(Nobody),
            proxies: BTreeMap::new(),
            stdout_is_terminal: false,
            cancel: self.cancel.clone(),
        };
        let builder = ChosenBuilder {
            name: "b".into(),
            driver: "remote".into(),
            nodes: self.nodes.clone(),
            note: None,
        };
        run_on(&ground, &builder, args).await
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_leaves_files_metadata_and_a_record() {
    let daemon = Daemon::start();
    let machine = Machine::with(&[&daemon.address()]);
    let source = context(&format!(
        "{}FROM scratch\nCOPY --from=0 /made /\n",
        run("echo hello > /made")
    ));
    let (out, metadata) = (machine.path("out"), machine.path("m.json"));
    let words = [
        "-o",
        text(&out),
        "--metadata-file",
        text(&metadata),
        text(source.path()),
    ];
    machine.build(&words).await.unwrap();
    assert_eq!(std::fs::read_to_string(out.join("made")).unwrap(), "hello\n");
    let shown = machine.err.text();
    assert!(
        shown.starts_with("#0 building with \"b\" instance using remote driver\n\n#1 "),
        "{shown}"
    );
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap();
    let address = written["buildx.build.ref"].as_str().unwrap();
    assert!(machine.path("store/refs").join(address).is_file(), "{address}");
    let provenance = &written["buildx.build.provenance"];
    assert_eq!(provenance["buildType"], "https://mobyproject.org/buildkit@v1");
    assert!(provenance.get("metadata").is_none());

    machine.build(&words).await.unwrap();
    assert!(machine.err.text().contains(" CACHED\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_shows_its_lines() {
    let daemon = Daemon::start();
    let machine = Machine::with(&[&daemon.address()]);
    let source = context("FROM scratch\nCOPY busybox /bin/sh\nRUN echo before; exit 3\n");
    let error = machine
        .build(&["--progress=plain", text(source.path())])
        .await
        .unwrap_err();
    assert_eq!(
        error.line(),
        "failed to build: failed to solve: process \"/bin/sh -c echo before; exit 3\" did not complete successfully: exit code: 3"
    );
    assert_eq!(error.exit_code(), 1);
    assert!(
        error.preface()[0].contains("   3 | >>> RUN echo before; exit 3"),
        "{:?}",
        error.preface()
    );
    let shown = machine.err.text();
    assert!(
        shown.contains("------\n > [2/2] RUN echo before; exit 3:\n"),
        "{shown}"
    );
    // Of what was not built there is nothing to keep.
    assert!(!shown.contains("No output specified"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_prints_the_id_that_the_file_gets() {
    let daemon = Daemon::start();
    let machine = Machine::with(&[&daemon.address()]);
    let source = context("FROM scratch\nCOPY busybox /\n");
    let (id, archive) = (machine.path("id"), machine.path("a.tar"));
    let output = format!("type=oci,dest={}", archive.display());
    let words = [
        "-q",
        "-t",
        "a:1",
        "-o",
        &output,
        "--iidfile",
        text(&id),
        text(source.path()),
    ];
    machine.build(&words).await.unwrap();
    let id = std::fs::read_to_string(&id).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(machine.out.text(), format!("{id}\n"));
    assert_eq!(machine.err.text(), "");
    assert!(archive.is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_reach_the_steps() {
    let daemon = Daemon::start();
    let machine = Machine::with(&[&daemon.address()]);
    let secret = machine.path("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let source = context(
        "FROM scratch AS base\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\nCOPY busybox /bin/grep\nCOPY busybox /bin/mkdir\nARG WHO\n\
         RUN --mount=type=secret,id=token mkdir /got && echo $WHO > /got/who && cat /run/secrets/token > /got/secret && ulimit -n > /got/files && grep named /etc/hosts > /got/hosts\n\
         FROM scratch AS wanted\nCOPY --from=base /got /\nFROM base AS never\nRUN exit 9\n",
    );
    let out = machine.path("out");
    let secret = format!("id=token,src={}", secret.display());
    machine
        .build(&[
            "--target=wanted",
            "--build-arg=WHO=me",
            "--secret",
            &secret,
            "--ulimit=nofile=99:99",
            "--add-host=named:1.2.3.4",
            "--network=none",
            "--no-cache",
            "-o",
            text(&out),
            text(source.path()),
        ])
        .await
        .unwrap();
    let got = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(
        (got("who").as_str(), got("secret").as_str(), got("files").as_str()),
        ("me\n", "s3cret", "99\n")
    );
    assert!(got("hosts").starts_with("1.2.3.4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_of_one_node_are_one_build_and_strangers_are_said() {
    let daemon = Daemon::start();
    let machine = Machine::with(&[&daemon.address()]);
    let source = context("FROM scratch\nARG TARGETARCH\nCOPY busybox /for-$TARGETARCH\n");
    let out = machine.path("out");
    let platforms = "--platform=linux/riscv64,linux/s390x";
    machine
        .build(&[platforms, "-o", text(&out), text(source.path())])
        .await
        .unwrap();
    assert!(out.join("linux_riscv64/for-riscv64").is_file() && out.join("linux_s390x/for-s390x").is_file());
    let shown = machine.err.text();
    assert!(
        shown.contains("[internal] no node lists linux/riscv64, linux/s390x: `b0` builds"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_of_two_nodes_are_refused_before_anything_boots() {
    let mut machine = Machine::with(&["unix:///no/such/a", "unix:///no/such/b"]);
    machine.nodes[0].platforms = vec!["linux/amd64".into()];
    machine.nodes[1].platforms = vec!["linux/arm64".into()];
    let source = context("FROM scratch\n");
    let error = machine
        .build(&["--platform=linux/amd64,linux/arm64", text(source.path())])
        .await
        .unwrap_err();
    assert_eq!(
        error.line(),
        "failed to build: Platforms linux/amd64, linux/arm64 need more than one node: `b0` builds linux/amd64; `b1` builds linux/arm64"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_node_builds_what_its_worker_lists() {
    let (first, second) = (
        Daemon::start(),
        Daemon::start_with(&["--oci-worker-platform=linux/s390x"]),
    );
    let machine = Machine::with(&[&first.address(), &second.address()]);
    let source = context("FROM scratch\nCOPY busybox /\n");
    let metadata = machine.path("m.json");
    let words = [
        "--platform=linux/s390x",
        "--metadata-file",
        text(&metadata),
        text(source.path()),
    ];
    machine.build(&words).await.unwrap();
    assert!(std::fs::read_to_string(&metadata).unwrap().contains("\"b/b1/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_cannot_boot_has_the_last_word() {
    let machine = Machine::with(&["unix:///no/such"]);
    let source = context("FROM scratch\n");
    let error = machine.build(&[text(source.path())]).await.unwrap_err();
    assert_eq!(error.line(), "failed to build: There is no socket `/no/such`");
    assert_eq!(error.hints(), ["Start buildkitd"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_soon() {
    let daemon = Daemon::start();
    let machine = Arc::new(Machine::with(&[&daemon.address()]));
    let source = context(&format!(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\nRUN {}\n",
        "echo up; sleep 60"
    ));
    let running = {
        let (machine, source) = (Arc::clone(&machine), source.path().to_owned());
        tokio::spawn(async move { machine.build(&["--progress=plain", text(&source)]).await })
    };
    wait_for(&machine, "up\n").await;
    let start = Instant::now();
    machine.cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(error.exit_code(), 130);
    assert_eq!(
        error.line(),
        "failed to build: failed to solve: Canceled: context canceled"
    );
    assert!(
        machine.err.text().contains(" CANCELED\n"),
        "{}",
        machine.err.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_daemon_ends_the_build_with_its_last_words() {
    let mut daemon = Daemon::start();
    let machine = Arc::new(Machine::with(&[&daemon.address()]));
    let source =
        context("FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\nRUN echo up; sleep 60\n");
    let running = {
        let (machine, source) = (Arc::clone(&machine), source.path().to_owned());
        tokio::spawn(async move { machine.build(&["--progress=plain", text(&source)]).await })
    };
    wait_for(&machine, "up\n").await;
    daemon.kill();
    let error = tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(
        error.line().starts_with(
            "failed to build: failed to solve: the daemon of node `b0` was lost (exited): it ended ("
        ),
        "{}",
        error.line()
    );
    assert_eq!(error.preface(), ["log: last words"]);
}

/// Waits until `part` is shown at the end of a line of output.
async fn wait_for(machine: &Machine, part: &str) {
    let shown = async {
        while !machine.err.text().contains(&format!(" {part}")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(60), shown).await;
    assert!(limit.is_ok(), "`{part}` was not shown:\n{}", machine.err.text());
}
