//! Where a benchmark runs: a folder in memory with a daemon, a builder store and a build context of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::bench::measure::Subject;
use crate::failure::{Failure, Result};
use crate::inputs;
use crate::place::Place;
use crate::process;

/// The folder and the daemon; both end with it.
pub struct Arena {
    folder: PathBuf,
    engines: PathBuf,
    /// Where our own programs are.
    own: PathBuf,
    daemon: Child,
}

const BOOT_LIMIT: Duration = Duration::from_secs(30);

impl Arena {
    /// Makes the folder and starts the daemon.
    pub fn open(place: &Place, own: PathBuf) -> Result<Self> {
        let folder = PathBuf::from(format!("/dev/shm/bkhost-bench-{}", std::process::id()));
        let kind = process::output(Command::new("stat").args(["--file-system", "--format=%T", "/dev/shm"]))?;
        if kind != "tmpfs" {
            return Err(Failure::new(format!("`/dev/shm` is {kind} and not in memory")));
        }
        write_context(&folder.join("context"))?;
        let started = start(&folder, &place.engines());
        let daemon = started.inspect_err(|_| {
            // Nothing else knows the folder yet, and it takes memory.
            let _ = inputs::remove(&folder);
        })?;
        let arena = Self {
            folder,
            engines: place.engines(),
            own,
            daemon,
        };
        arena.wait_until_ready()?;
        Ok(arena)
    }

    fn wait_until_ready(&self) -> Result {
        let end = Instant::now() + BOOT_LIMIT;
        while Instant::now() < end {
            if process::output(&mut self.command(&["buildctl", "--addr", "{address}", "debug", "workers"]))
                .is_ok()
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(Failure::new(format!("buildkitd did not start:\n{log}")))
    }

    /// Makes builders in the store that both clients read: `b1`, `b2` and so on.
    pub fn make_builders(&self, number: usize) -> Result {
        for index in 1..=number {
            let name = format!("b{index}");
            process::run_quietly(&mut self.command(&[
                "buildx",
                "create",
                "--name",
                &name,
                "--driver",
                "remote",
                "{address}",
            ]))?;
        }
        Ok(())
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("s.sock")
    }

    /// A program of this run with its arguments.
    pub fn subject(&self, words: &[&str]) -> Subject {
        let (program, arguments) = self.resolve(words);
        Subject {
            program,
            arguments,
            environment: self.environment(),
            note: self.folder.join("memory"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let (program, arguments) = self.resolve(words);
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment());
        command
    }

    fn resolve(&self, words: &[&str]) -> (PathBuf, Vec<String>) {
        let (name, rest) = words.split_first().unwrap_or((&"", &[]));
        let folder = if name.starts_with("bkhost") {
            &self.own
        } else {
            &self.engines
        };
        let program = folder.join(name);
        let context = self.folder.join("context").display().to_string();
        let filled = rest.iter().map(|word| {
            word.replace("{address}", &address(&self.folder))
                .replace("{socket}", &self.socket().display().to_string())
                .replace("{context}", &context)
        });
        (program, filled.collect())
    }

    /// Nothing of the user's settings counts.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("HOME", self.folder.join("home").into()),
            ("XDG_CACHE_HOME", self.folder.join("cache").into()),
            ("BUILDX_CONFIG", self.folder.join("store").into()),
            ("DOCKER_CONFIG", self.folder.join("docker").into()),
            ("BUILDX_BUILDER", OsString::new()),
            ("BUILDKIT_HOST", OsString::new()),
        ]
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Asked to stop, the daemon takes its mounts with it; killed, it leaves them.
        let asked = process::run_quietly(Command::new("kill").arg(self.daemon.id().to_string()));
        if asked.is_err() {
            let _ = self.daemon.kill();
        }
        let _ = self.daemon.wait();
        if let Err(failure) = inputs::remove(&self.folder) {
            eprintln!("{failure}");
        }
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("s.sock").display())
}

fn write_context(context: &Path) -> Result {
    inputs::write(&context.join("Dockerfile"), b"FROM scratch\nCOPY file /file\n")?;
    inputs::write(&context.join("file"), b"content\n")
}

fn start(folder: &Path, engines: &Path) -> Result<Child> {
    let log = folder.join("log");
    let output = fs::File::create(&log).map_err(|cause| Failure::io("write", &log, &cause))?;
    let errors = output
        .try_clone()
        .map_err(|cause| Failure::io("write", &log, &cause))?;
    let mut daemon = Command::new(engines.join("buildkitd"));
    daemon
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--addr")
        .arg(address(folder));
    daemon.args(["--oci-worker-net", "host", "--containerd-worker=false"]);
    // buildkitd looks for runc on PATH, whatever else it is told.
    daemon
        .env("PATH", path_with(engines))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    daemon
        .spawn()
        .map_err(|cause| Failure::new(format!("Cannot start buildkitd: {cause}")))
}

fn path_with(first: &Path) -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(env::split_paths(&rest));
    env::join_paths(folders).unwrap_or(rest)
}
