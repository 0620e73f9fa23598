//! Podman for tests. There is no service: its command does everything, here in namespaces that end with the test binary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::control_groups;
use crate::docker::{PRIVATE, entering};
use crate::processes::{descendants, exists};
use crate::provided;
use crate::server::{self, Server};
use crate::space;

/// Longest wait for all processes to end.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The control group of the containers' watchers, which nobody removes.
const CONMON: &str = "conmon";

/// Holds the namespaces. What the command leaves running has this as parent.
const HOLD: &str = r#"
ip link set lo up
: > "$PRIVATE/ready"
exec sleep 3600
"#;

/// Where Podman keeps images and containers: nothing is shared with another one.
pub struct Podman {
    // Fields are dropped in this order.
    holder: Server,
    folder: tempfile::TempDir,
}

impl Podman {
    /// Makes a Podman that has the image [`BUILDKIT_IMAGE`](crate::docker::BUILDKIT_IMAGE) and `busybox`.
    ///
    /// # Panics
    ///
    /// When namespaces cannot be made, which needs root, or images cannot be loaded.
    pub fn start() -> Self {
        let folder = space::folder("bkp");
        let private = folder.path().join("private");
        fs::create_dir(&private).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-ec", &format!("{PRIVATE}{HOLD}")])
            .env("PRIVATE", &private)
            .env("PLACES", "etc run var");
        let mut holder = Server::start(command, &folder.path().join("log"));
        holder.wait_until(|| private.join("ready").exists());
        let podman = Self { holder, folder };
        podman.configure();
        for name in ["busybox", "buildkit"] {
            let archive = provided::image_archive(name).display().to_string();
            podman.run(&["load", "--quiet", "--input", &archive]);
        }
        podman
    }

    /// The folder of its command, for a `PATH`.
    pub fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// Runs the command to a good end and gives what it printed.
    ///
    /// # Panics
    ///
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "`podman {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Serves the Docker Engine API at the socket that is returned, as long as the server lives.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn serve(&self) -> (Server, PathBuf) {
        let socket = self.folder.path().join("podman.sock");
        let address = format!("unix://{}", socket.display());
        let service = self.command(&["system", "service", "--time=0", &address]);
        let mut service = Server::start(service, &self.folder.path().join("service-log"));
        service.wait_until(|| socket.exists());
        (service, socket)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs().join("podman"));
        command.args(arguments);
        command
    }

    fn configure(&self) {
        let (folder, programs) = (self.folder.path(), provided::podman());
        let write = |name: &str, content: String| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        };
        write("containers.conf", settings(&programs));
        write("storage.conf", storage(folder));
        let trust = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
        write("home/.config/containers/policy.json", trust.to_owned());
        let command = write("bin/podman", self.wrapper(&programs));
        fs::set_permissions(command, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The real command, in the namespaces. It would insist on a docker configuration that the environment names.
    fn wrapper(&self, programs: &Path) -> String {
        let children = descendants(self.holder.pid());
        let first = children.first().expect("namespaces have a first process");
        let enter = entering(*first, &["--net", "--mount", "--pid"]).join(" ");
        let (folder, programs) = (self.folder.path().display(), programs.display());
        format!(
            "#!/bin/sh\nexec {enter} env -u DOCKER_CONFIG HOME={folder}/home PATH={} LD_LIBRARY_PATH={programs}/lib \\\n\
             CONTAINERS_CONF={folder}/containers.conf CONTAINERS_STORAGE_CONF={folder}/storage.conf \\\n\
             {programs}/podman \"$@\"\n",
            server::path().display()
        )
    }
}

/// Without systemd, without a network of its own making, and with limits that a test machine allows.
fn settings(programs: &Path) -> String {
    format!(
        "[containers]\nlog_driver = \"k8s-file\"\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1024:4096\"]\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         lock_type = \"file\"\nruntime = \"runc\"\nconmon_path = [\"{}\"]\n[engine.runtimes]\nrunc = [\"{}\"]\n",
        programs.join("conmon").display(),
        provided::program("runc").display()
    )
}

fn storage(folder: &Path) -> String {
    let folder = folder.display();
    format!("[storage]\ndriver = \"overlay\"\ngraphroot = \"{folder}/storage\"\nrunroot = \"{folder}/run\"\n")
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self
            .command(&["rm", "--force", "--all", "--volumes", "--time=0"])
            .output();
        let children = descendants(self.holder.pid());
        self.holder.kill();
        let start = Instant::now();
        while children.iter().any(|child| exists(*child)) && start.elapsed() < LIMIT {
            std::thread::sleep(POLL);
        }
        control_groups::remove(&[CONMON.to_owned()]);
        space::unmount_below(self.folder.path());
    }
}
