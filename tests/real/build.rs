//! What the tests of this folder share: a connection, a context, a build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bkhost::buildkit::client::Client;
use bkhost::buildkit::error::SolveError;
use bkhost::buildkit::solve::Cancel;
use bkhost::buildkit::spec::{
    Credential, ExportTarget, Exporter, RegistryCredentials, Secret, SessionSpec, SolveSpec, Solved,
    StandardOutput, random_id,
};
use bkhost::connect::pipe::Pipe;
use bkhost::progress::event::{Sink, Update, Vertex};
use bkhost_test_support::daemon::Daemon;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;

/// Connects to `daemon`.
pub async fn connect(daemon: &Daemon) -> Client {
    let stream = UnixStream::connect(daemon.socket()).await.unwrap();
    Client::connect(Pipe::new(stream), None).await.unwrap()
}

/// A context with a static busybox and this Dockerfile.
pub fn context(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let busybox = Path::new("/bin/busybox");
    assert!(
        busybox.is_file(),
        "`/bin/busybox` is missing: install Debian's `busybox-static`"
    );
    std::fs::copy(busybox, folder.path().join("busybox")).unwrap();
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    folder
}

/// A Dockerfile that runs `script` in a shell.
pub fn run(script: &str) -> String {
    format!("FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\nRUN {script}\n")
}

/// Nobody is logged in anywhere.
pub struct Nobody;

#[async_trait::async_trait]
impl RegistryCredentials for Nobody {
    async fn credentials(&self, _: &str) -> Result<Credential, String> {
        Ok(Credential::default())
    }

    fn seed_folder(&self) -> Option<PathBuf> {
        None
    }
}

/// A build of the Dockerfile in `context` without exporters.
pub fn spec(context: &Path) -> SolveSpec {
    let mounts = ["context", "dockerfile"].map(|name| (name.to_owned(), context.to_owned()));
    SolveSpec {
        reference: random_id(),
        frontend: "dockerfile.v0".into(),
        attributes: BTreeMap::from([("filename".to_owned(), "Dockerfile".to_owned())]),
        exporters: Vec::new(),
        cache_exports: Vec::new(),
        cache_imports: Vec::new(),
        entitlements: Vec::new(),
        internal: false,
        session: SessionSpec {
            shared_key: "tëst:node".into(),
            mounts: BTreeMap::from(mounts),
            secrets: BTreeMap::from([("token".to_owned(), Secret::Value("s3cret".into()))]),
            registry: Arc::new(Nobody),
            layouts: BTreeMap::new(),
            upload: None,
            output: StandardOutput::default(),
        },
    }
}

/// An exporter into `folder`.
pub fn to_folder(folder: &Path) -> Exporter {
    Exporter {
        kind: "local".into(),
        attributes: BTreeMap::new(),
        target: ExportTarget::Folder {
            path: folder.to_owned(),
            delete: false,
        },
    }
}

/// Everything that a build told.
#[derive(Debug, Default)]
pub struct Told {
    /// Last state of every vertex.
    pub vertexes: BTreeMap<String, Vertex>,
    /// All output.
    pub logs: String,
}

impl Told {
    /// The vertex whose name has `part`.
    pub fn vertex(&self, part: &str) -> &Vertex {
        let found = self.vertexes.values().find(|vertex| vertex.name.contains(part));
        found.unwrap_or_else(|| panic!("no vertex `{part}` in {self:#?}"))
    }

    /// What was told next.
    pub fn add(&mut self, update: Update) {
        for vertex in update.vertexes {
            self.vertexes.insert(vertex.digest.clone(), vertex);
        }
        for log in update.logs {
            self.logs.push_str(&String::from_utf8_lossy(&log.data));
        }
    }
}

/// Runs `spec` to its end.
pub async fn solve(client: &Client, spec: SolveSpec) -> (Result<Solved, SolveError>, Told) {
    let (running, updates) = start(client, spec, Cancel::new());
    let told = tokio::spawn(listen(updates));
    (running.await.unwrap(), told.await.unwrap())
}

/// Starts `spec`.
pub fn start(
    client: &Client,
    spec: SolveSpec,
    cancel: Cancel,
) -> (
    tokio::task::JoinHandle<Result<Solved, SolveError>>,
    Receiver<Update>,
) {
    let (sink, updates) = Sink::channel();
    let client = client.clone();
    let running = tokio::spawn(async move { client.solve(spec, sink, cancel).await });
    (running, updates)
}

/// Reads `updates` until there is output that has `word`.
pub async fn until_logged(updates: &mut Receiver<Update>, told: &mut Told, word: &str) {
    while !told.logs.contains(word) {
        let update = updates.recv().await;
        told.add(update.unwrap_or_else(|| panic!("the build ended without `{word}`: {told:#?}")));
    }
}

/// Reads `updates` to their end.
pub async fn listen(mut updates: Receiver<Update>) -> Told {
    let mut told = Told::default();
    while let Some(update) = updates.recv().await {
        told.add(update);
    }
    told
}
