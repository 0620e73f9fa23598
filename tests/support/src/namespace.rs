//! A network with nothing in it but loopback, and mounts of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::server::Server;
use crate::space;

/// Folders of daemons that root's builders share on a machine.
const SHARED: [&str; 2] = ["/var/lib/bkhost", "/run/bkhost"];
/// Where an engine would be found.
const ENGINE: &str = "/run/docker.sock";

/// Network and mount namespaces that live as long as this.
pub struct Namespace {
    holder: Server,
    _folder: tempfile::TempDir,
}

impl Namespace {
    /// Makes a network without a way out. Root's shared folders are empty ones in it, and no engine is there.
    ///
    /// # Panics
    ///
    /// When namespaces cannot be made on this machine: it needs root and `ip`.
    pub fn without_network() -> Self {
        Self::make(&["--net"], "ip link set lo up &&")
    }

    /// The machine's own network, but with root's shared folders empty and no engine.
    ///
    /// # Panics
    ///
    /// When namespaces cannot be made on this machine: it needs root.
    pub fn with_network() -> Self {
        Self::make(&[], "")
    }

    fn make(kinds: &[&str], prepare: &str) -> Self {
        let folder = space::folder("bkn");
        let ready = folder.path().join("ready");
        let script = format!(
            "{prepare} {} : > {} && exec sleep 3600",
            mounts(folder.path()),
            ready.display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(kinds)
            .args(["sh", "-ec", &script]);
        let mut holder = Server::start(command, &folder.path().join("log"));
        holder.wait_until(|| ready.exists());
        Self {
            holder,
            _folder: folder,
        }
    }

    /// What to put before a program so that it runs inside, in `folder`. Not `ip netns exec`: that mounts `/sys` anew,
    /// and then no step can run where control groups have version 1.
    pub fn prefix(&self, folder: &Path) -> Vec<String> {
        let (target, folder) = (self.holder.pid().to_string(), folder.display().to_string());
        // Who enters other mounts stands at their root.
        let stand = ["sh", "-c", "cd \"$0\" && exec \"$@\"", &folder];
        let enter = ["nsenter", "--target", &target, "--net", "--mount", "--"];
        enter.into_iter().chain(stand).map(str::to_owned).collect()
    }
}

fn mounts(folder: &Path) -> String {
    let mut script = String::new();
    for shared in SHARED {
        // A mount needs a folder to lie on.
        fs::create_dir_all(shared)
            .unwrap_or_else(|error| panic!("this test needs root: cannot make `{shared}`: {error}"));
        let private = folder.join(shared.rsplit('/').nth(1).unwrap_or_default());
        fs::create_dir_all(&private).unwrap();
        // As they are on a machine that had a builder before.
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
        script.push_str(&format!("mount --bind {} {shared} &&", private.display()));
    }
    if Path::new(ENGINE).exists() {
        script.push_str(&format!("mount --bind /dev/null {ENGINE} &&"));
    }
    script
}
