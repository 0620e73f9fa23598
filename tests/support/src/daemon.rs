//! A real `buildkitd` for tests, in a folder of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use rustix::process::Signal;

use crate::certificates::Certificates;
use crate::provided::program;
use crate::server::{Server, free_port, listens, path};
use crate::space;

/// A running daemon. It is stopped, and its folder removed, on drop.
pub struct Daemon {
    // Fields are dropped in this order.
    server: Server,
    mounts: Mounts,
    folder: tempfile::TempDir,
}

/// What may still be mounted below this folder when the daemon has ended.
struct Mounts(PathBuf);

impl Drop for Mounts {
    fn drop(&mut self) {
        space::unmount_below(&self.0);
    }
}

impl Daemon {
    /// Starts a daemon that listens on a unix socket.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A daemon that tests share: the one that another test uses at this moment, or a new one.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(daemon) = shared.upgrade() {
            return daemon;
        }
        let daemon = Arc::new(Self::start());
        *shared = Arc::downgrade(&daemon);
        daemon
    }

    /// Starts a daemon with more arguments.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut daemon = Self::launch(arguments);
        let socket = daemon.socket();
        daemon.server.wait_until(|| UnixStream::connect(&socket).is_ok());
        daemon
    }

    /// Starts a daemon that also listens on the loopback interface, with mutual TLS. Gives its `tcp://` address.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start_with_tls(certificates: &Certificates) -> (Self, String) {
        let port = free_port();
        let address = format!("tcp://127.0.0.1:{port}");
        let file = |name| certificates.file(name).display().to_string();
        let mut daemon = Self::launch(&[
            "--addr",
            &address,
            "--tlscacert",
            &file("ca.pem"),
            "--tlscert",
            &file("server.pem"),
            "--tlskey",
            &file("server-key.pem"),
        ]);
        daemon.server.wait_until(|| listens(port));
        (daemon, address)
    }

    fn launch(arguments: &[&str]) -> Self {
        let folder = space::folder("bkd");
        let mut command = Command::new(program("buildkitd"));
        command
            .arg("--root")
            .arg(folder.path().join("root"))
            .arg("--addr")
            .arg(address(folder.path()))
            // It looks for runc there, whatever it is told.
            .env("PATH", path())
            .args([
                "--oci-worker-binary=runc",
                "--oci-worker-net=host",
                "--containerd-worker=false",
            ])
            .args(arguments);
        Self {
            server: Server::start(command, &folder.path().join("log")),
            mounts: Mounts(folder.path().to_owned()),
            folder,
        }
    }

    /// Path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    /// Its address as `unix://…`.
    pub fn address(&self) -> String {
        address(self.folder.path())
    }

    /// A folder that lives as long as the daemon, for whatever a test needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Kills it without a warning, as a machine that goes away would.
    pub fn kill(&mut self) {
        self.server.kill();
        space::unmount_below(&self.mounts.0);
    }

    /// Stops it where it stands, so that it keeps its connections and says nothing, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.server
            .signal(if frozen { Signal::STOP } else { Signal::CONT });
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}/s.sock", folder.display())
}
