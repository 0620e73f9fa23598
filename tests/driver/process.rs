//! The driver `process` with the real engine, keeper and buildkitd; rootless where the tests do not run as root.

use std::path::Path;

use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{Drivers, Node, NodeConfig, Removal, State};
use bkhost::keeper::paths::{Surroundings, Variables};
use tokio::io::AsyncReadExt;

use crate::fixture::request;
use crate::shipped::shipped_in;

/// A machine of its own below `base`, with the servers that the tasks installed.
fn catalog(base: &Path) -> Catalog {
    let engines = Variables::of_process()
        .cache_folder()
        .unwrap()
        .join("engines/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(engines).chain(std::env::split_paths(&path));
    let environment = HostEnvironment {
        executable: env!("CARGO_BIN_EXE_bkhost").into(),
        runtime_dir: base.join("run"),
        cache_dir: base.join("cache"),
        data_dir: base.join("data"),
        path: std::env::join_paths(folders).unwrap(),
        user_id: Surroundings::of_process().uid,
        ..HostEnvironment::default()
    };
    shipped_in(environment, "process")
}

async fn open(catalog: &Catalog, base: &Path, idle_timeout: &str) -> Box<dyn Node> {
    let options = [
        ("root".to_owned(), base.join("state").display().to_string()),
        ("idle-timeout".to_owned(), idle_timeout.to_owned()),
    ];
    let config = NodeConfig {
        builder: "b".to_owned(),
        node: "b0".to_owned(),
        options: options.into(),
        ..NodeConfig::default()
    };
    catalog.open("process", config).await.unwrap()
}

/// Dials and reads the head of the frame that a server sends first: SETTINGS.
async fn greet(node: &dyn Node) {
    let mut pipe = node.dial("local", request()).await.unwrap();
    let mut head = [0; 9];
    pipe.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0, 0, 6, 4, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn one_daemon_serves_everybody_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    let node = open(&catalog, dir.path(), "10m").await;
    assert_eq!(node.status().await.unwrap().state, State::Inactive);

    let boots = (0..4).map(|_| node.boot(request()));
    for boot in futures::future::join_all(boots).await {
        boot.unwrap();
    }
    let running = node.status().await.unwrap();
    assert_eq!((running.state, running.attributes), (State::Running, vec![]));
    assert_eq!(node.instances().await.unwrap().len(), 1);
    greet(node.as_ref()).await;

    let changed = open(&catalog, dir.path(), "1h").await.status().await.unwrap();
    assert_eq!(
        changed.attributes,
        [("drift".to_owned(), "idle-timeout".to_owned())]
    );
    assert_eq!(changed.detail, running.detail);

    node.stop(request()).await.unwrap();
    assert_eq!(node.status().await.unwrap().state, State::Stopped);
    // Whoever comes in the moment in which a daemon stops gets another one.
    greet(node.as_ref()).await;
    node.remove(request(), Removal::default()).await.unwrap();
    assert_eq!(node.status().await.unwrap().state, State::Inactive);
    assert!(!dir.path().join("state").exists());
}
