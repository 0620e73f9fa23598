//! A real `buildkitd` for one test, in a folder of its own.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a daemon to listen. Two cores shared with other tests need it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a daemon to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The program `name` that `cargo xtask test` builds, from `BKHOST_TEST_ENGINES` or the user's cache.
///
/// # Panics
///
/// When it is not there.
pub fn program(name: &str) -> PathBuf {
    let path = engines().join(name);
    assert!(
        path.is_file(),
        "`{}` is missing: run `cargo xtask test`",
        path.display()
    );
    path
}

fn engines() -> PathBuf {
    if let Some(folder) = std::env::var_os("BKHOST_TEST_ENGINES") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    cache
        .unwrap_or_else(|| home().join(".cache"))
        .join("bkhost/engines/bin")
}

/// A running daemon. It is stopped, and its folder removed, on drop.
pub struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
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

    /// Starts a daemon with more arguments.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start_with(arguments: &[&str]) -> Self {
        // Short, because the path of a socket may have 108 bytes.
        let folder = tempfile::Builder::new().prefix("bkd").tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program("buildkitd"))
            .arg("--root")
            .arg(folder.path().join("root"))
            .arg("--addr")
            .arg(address(folder.path()))
            // It looks for runc there, whatever it is told.
            .env("PATH", path_with(&engines()))
            .args([
                "--oci-worker-binary=runc",
                "--oci-worker-net=host",
                "--containerd-worker=false",
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { child, folder };
        daemon.wait_until_it_listens();
        daemon
    }

    fn wait_until_it_listens(&mut self) {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < START_LIMIT,
                "buildkitd did not start ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
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
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a warning, as a machine that goes away would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it where it stands, so that it keeps its connections and says nothing, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks it to end, and waits.
    fn stop(&mut self) {
        self.signal(Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > STOP_LIMIT {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.freeze(false);
        if std::thread::panicking() {
            eprintln!("log of buildkitd:\n{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

fn path_with(first: &Path) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = [first.to_owned()].into_iter().chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).unwrap()
}

fn address(folder: &Path) -> String {
    format!("unix://{}/s.sock", folder.display())
}
