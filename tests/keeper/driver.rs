//! The process driver as it is shipped, with a real buildkitd: sandbox, host functions, keeper, daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bkhost::connect::pipe::Pipe;
use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{Cancel, DialRequest, Drivers, Loss, Node, NodeConfig, Removal, State};
use bkhost::keeper::paths::{Surroundings, Variables};
use bkhost::progress::event::Sink;
use tokio::io::AsyncReadExt;

use crate::place::{LONG, kill};

/// The one daemon of a node, as the driver calls it.
const INSTANCE: &str = "local";

/// A builder of the process driver in a temporary folder.
struct Builder {
    dir: tempfile::TempDir,
    node: Arc<dyn Node>,
}

impl Builder {
    /// Rootless where the tests do not run as root.
    async fn new(idle: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = [("idle-timeout", idle)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = NodeConfig {
            builder: "b".to_owned(),
            node: "b0".to_owned(),
            options: BTreeMap::from(options),
            ..NodeConfig::default()
        };
        let catalog = Catalog::new(environment(dir.path()));
        let node = catalog.open("process", config).await.unwrap_or_else(|error| {
            panic!("{error} ({:?})", error.hint);
        });
        Self {
            dir,
            node: Arc::from(node),
        }
    }

    async fn dial(&self) -> Pipe {
        self.node.dial(INSTANCE, request()).await.unwrap()
    }

    async fn pid(&self) -> u32 {
        let instances = self.node.instances().await.unwrap();
        let (_, name) = instances[0].labels.iter().find(|(key, _)| key == "name").unwrap();
        name.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    async fn remove(self) {
        self.node.remove(request(), Removal::default()).await.unwrap();
        for name in ["run", "data"] {
            assert!(!self.dir.path().join(name).join("b0").exists());
        }
        assert!(!self.dir.path().join("run").exists());
        assert_eq!(self.node.status().await.unwrap().state, State::Inactive);
    }
}

fn environment(dir: &Path) -> HostEnvironment {
    let engines = Variables::of_process().cache_folder().unwrap().join("engines");
    HostEnvironment {
        executable: env!("CARGO_BIN_EXE_bkhost").into(),
        runtime_dir: dir.join("run"),
        data_dir: dir.join("data"),
        // Programs of our own lie in `bin` there.
        cache_dir: engines,
        path: "/usr/sbin:/usr/bin:/sbin:/bin".into(),
        user_id: Surroundings::of_process().uid,
        ..HostEnvironment::default()
    }
}

fn request() -> DialRequest {
    DialRequest {
        sink: Sink::discard(),
        deadline: (std::time::Instant::now() + LONG * 2).into(),
        cancel: Cancel::new(),
        purpose: "test",
    }
}

/// Reads what an HTTP/2 server says first: its settings.
async fn greeting(pipe: &mut Pipe) {
    let mut head = [0; 9];
    tokio::time::timeout(LONG, pipe.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head[3], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_get_one_daemon_that_is_stopped_started_and_removed() {
    let builder = Builder::new("10m").await;
    assert_eq!(builder.node.status().await.unwrap().state, State::Inactive);
    assert!(builder.node.endpoint().await.unwrap().starts_with("unix:///"));
    builder.node.stop(request()).await.unwrap();
    let traces = std::fs::read_dir(builder.dir.path()).unwrap().count();
    assert_eq!(traces, 0, "looking and stopping left something");
    let boots: Vec<_> = (0..8)
        .map(|_| {
            let node = builder.node.clone();
            tokio::spawn(async move { node.boot(request()).await })
        })
        .collect();
    for boot in boots {
        boot.await.unwrap().unwrap();
    }
    assert_eq!(builder.node.status().await.unwrap().state, State::Running);
    let first = builder.pid().await;
    greeting(&mut builder.dial().await).await;
    assert_eq!(builder.pid().await, first);

    builder.node.stop(request()).await.unwrap();
    let status = builder.node.status().await.unwrap();
    assert_eq!(
        (status.state, status.detail.as_str()),
        (State::Stopped, "was stopped")
    );
    greeting(&mut builder.dial().await).await;
    assert_ne!(builder.pid().await, first);
    builder.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_is_diagnosed() {
    let builder = Builder::new("10m").await;
    let mut pipe = builder.dial().await;
    let opened = SystemTime::now();
    greeting(&mut pipe).await;
    kill(builder.pid().await, rustix::process::Signal::KILL);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LONG, pipe.read_to_end(&mut rest))
        .await
        .unwrap();
    let loss = Loss {
        instance: INSTANCE.to_owned(),
        opened,
        lost: SystemTime::now(),
        how: "eof".to_owned(),
        exit_status: None,
        stderr_tail: String::new(),
        request: request(),
    };
    let finding = builder.node.diagnose(loss).await.unwrap().unwrap();
    assert_eq!(finding.word, "killed");
    assert!(finding.message.contains("SIGKILL"), "{}", finding.message);
    let log = finding.details.iter().find(|(key, _)| key == "log").unwrap();
    assert!(log.1.contains("buildkitd"), "{}", log.1);
    builder.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_stops_and_whoever_comes_then_gets_another() {
    let builder = Builder::new("300ms").await;
    // The connection holds its lease: the daemon stays for as long.
    let mut held = builder.dial().await;
    greeting(&mut held).await;
    let first = builder.pid().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(builder.pid().await, first);
    drop(held);
    for round in 0..20_u64 {
        // Around the moment in which it is stopped.
        tokio::time::sleep(Duration::from_millis(250 + round * 13)).await;
        greeting(&mut builder.dial().await).await;
    }
    let begun = std::time::Instant::now();
    while builder.node.status().await.unwrap().state != State::Stopped {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = builder.node.status().await.unwrap();
    assert_eq!(status.detail, "stopped for being idle");
    builder.remove().await;
}
