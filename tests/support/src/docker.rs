//! A real Docker Engine for tests, current or old, which leaves no trace on the machine.
//!
//! Each has namespaces of its own: its mounts; its processes, so that killing one process ends containers and all, also
//! when the test binary is killed; and most have a network with their own bridge and no way out.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::control_groups;
use crate::processes::{descendants, exists, send};
use crate::provided;
use crate::server::{self, Server};
use crate::space;

/// Name of the image that builders are started from, which every engine here has.
pub const BUILDKIT_IMAGE: &str = "moby/buildkit:buildx-stable-1";

/// Longest wait for one answer, and for all processes to end.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Engines write to fixed places, too: those writes stay in the engine's folder.
pub(crate) const PRIVATE: &str = include_str!("../../engines/docker/private.sh");
/// Becomes the engine.
const ENTER: &str = include_str!("../../engines/docker/enter.sh");

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// With the containerd image store and a current BuildKit inside.
    Current,
    /// 20.10: a classic image store, BuildKit 0.8.
    Old,
}

/// What an engine and its containers are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A network of its own with the usual bridge, and nothing else.
    Own,
    /// The machine's, where a test's registry listens. There is no bridge: containers have this network, when they are
    /// started with `--network host`, or none. Only the loopback interface is used.
    Host,
}

/// A running engine with the images `busybox` and [`BUILDKIT_IMAGE`]. It ends with all its containers, and its folder
/// goes, on drop.
pub struct DockerEngine {
    release: Release,
    network: Network,
    // Fields are dropped in this order.
    server: Server,
    folder: tempfile::TempDir,
}

impl DockerEngine {
    /// Starts an engine with a network of its own.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log: it needs root.
    pub fn start(release: Release) -> Self {
        Self::start_on(release, Network::Own)
    }

    /// Starts an engine on this network.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log: it needs root.
    pub fn start_on(release: Release, network: Network) -> Self {
        let folder = space::folder("bke");
        // Who may use the engine is up to its socket.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let server = launch(release, network, folder.path());
        let mut engine = Self {
            release,
            network,
            server,
            folder,
        };
        engine.wait_until_up();
        for name in ["busybox", "buildkit"] {
            engine.load(&provided::image_archive(name));
        }
        engine
    }

    /// An engine that tests share: the one that another test uses at this moment, or a new one. Who shares it gives
    /// builders names that nobody else uses.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn shared(release: Release) -> Arc<Self> {
        static SHARED: Mutex<[Weak<DockerEngine>; 2]> = Mutex::new([Weak::new(), Weak::new()]);
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = &mut shared[release as usize];
        if let Some(engine) = place.upgrade() {
            return engine;
        }
        let engine = Arc::new(Self::start(release));
        *place = Arc::downgrade(&engine);
        engine
    }

    /// Path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Its address as `unix://…`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Stops it as a service manager does and starts it again: containers stop, and come back by their restart policy.
    ///
    /// # Panics
    ///
    /// When it does not end or does not start again, with its log.
    pub fn restart(&mut self) {
        let children = descendants(self.server.pid());
        let first = *children.first().expect("an engine has a first process");
        send(first, Signal::TERM);
        let start = Instant::now();
        while self.server.ended().is_none() {
            assert!(start.elapsed() < LIMIT, "the engine did not end:\n{}", self.log());
            std::thread::sleep(POLL);
        }
        self.server = launch(self.release, self.network, self.folder.path());
        self.wait_until_up();
    }

    /// Kills it with everything that runs in it. Its socket stays, and nobody listens.
    pub fn kill(&mut self) {
        let children = descendants(self.server.pid());
        self.server.kill();
        let start = Instant::now();
        while children.iter().any(|child| exists(*child)) && start.elapsed() < LIMIT {
            std::thread::sleep(POLL);
        }
    }

    /// Asks its API.
    ///
    /// # Panics
    ///
    /// When the answer is not 200 with JSON.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET {path}: {error}: {body}"))
    }

    /// What to put before a program so that it runs in the engine's network, where ports are published.
    pub fn network(&self) -> Vec<String> {
        self.enter(&["--net"])
    }

    /// What to put before a program so that it runs where the engine does. Its containerd is at
    /// [`containerd`](Self::containerd) there.
    pub fn inside(&self) -> Vec<String> {
        self.enter(&["--net", "--mount", "--pid"])
    }

    /// Socket of the engine's containerd.
    pub fn containerd(&self) -> PathBuf {
        self.folder.path().join("exec/containerd/containerd.sock")
    }

    fn enter(&self, namespaces: &[&str]) -> Vec<String> {
        let children = descendants(self.server.pid());
        let first = children.first().expect("an engine has a first process");
        entering(*first, namespaces)
    }

    /// State of the container of this name (`running`, `exited` …), if there is one.
    pub fn container(&self, name: &str) -> Option<String> {
        let (status, body) = self.ask("GET", &format!("/containers/{name}/json"), None);
        let found: Value = serde_json::from_str(&body).unwrap_or_default();
        let state = found["State"]["Status"].as_str().map(str::to_owned);
        assert!(status == 404 || state.is_some(), "{status}: {body}");
        state
    }

    fn load(&self, archive: &Path) {
        let (status, said) = self.ask("POST", "/images/load?quiet=1", Some(archive));
        assert!(
            status == 200 && said.contains("Loaded image"),
            "loading `{}`: {status}: {said}",
            archive.display()
        );
    }

    fn wait_until_up(&mut self) {
        let socket = self.socket();
        self.server
            .wait_until(|| ask(&socket, "GET", "/_ping", None).is_ok_and(|(status, _)| status == 200));
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Path>) -> (u16, String) {
        ask(&self.socket(), method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        self.kill();
        control_groups::remove(&containers(self.folder.path()));
    }
}

fn launch(release: Release, network: Network, folder: &Path) -> Server {
    let programs = provided::docker_programs(release);
    let mut command = Command::new("unshare");
    if network == Network::Own {
        command.arg("--net");
    }
    command
        .args(["--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-ec", &format!("{PRIVATE}{ENTER}"), "dockerd"]);
    if network == Network::Host {
        // Neither rules nor a bridge are left on the machine, and images come from it alone.
        command
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .env("NETWORK", "host")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", "127.0.0.1,localhost");
    }
    command
        .arg("--host")
        .arg(format!("unix://{}/docker.sock", folder.display()))
        .env("FOLDER", folder)
        .env("PRIVATE", folder.join("private"))
        .env("PATH", path(release, &programs))
        .env("LD_LIBRARY_PATH", programs.join("lib"));
    Server::start(command, &folder.join("log"))
}

/// The beginning of a command that runs in namespaces of this process.
pub(crate) fn entering(process: u32, namespaces: &[&str]) -> Vec<String> {
    let target = process.to_string();
    let enter = ["nsenter", "--target", &target];
    let words = enter.into_iter().chain(namespaces.iter().copied()).chain(["--"]);
    words.map(str::to_owned).collect()
}

/// The old engine has its own of everything, and must not find the pinned runc.
fn path(release: Release, programs: &Path) -> std::ffi::OsString {
    let others = server::path();
    let skipped = usize::from(release == Release::Old);
    let others = std::env::split_paths(&others).skip(skipped);
    std::env::join_paths([programs.to_owned()].into_iter().chain(others)).unwrap()
}

/// Ids of the containers that an engine with this folder knows.
fn containers(folder: &Path) -> Vec<String> {
    let known = std::fs::read_dir(folder.join("root/containers"));
    known
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// One request on a connection of its own: status and body of the answer.
fn ask(socket: &Path, method: &str, path: &str, body: Option<&Path>) -> std::io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let body = body.map(std::fs::read).transpose()?.unwrap_or_default();
    // Without chunks and without keep-alive: the answer ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let broken = || std::io::Error::other(format!("no answer of HTTP: {head}"));
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}
