//! Where a benchmark runs: a folder in memory with a server, a builder store and a build context of its own.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::bench::measure::Subject;
use crate::bench::server::Kind;
use crate::failure::{Failure, Result};
use crate::inputs;
use crate::place::{self, Place};
use crate::process;

/// The folder and the server; both end with it.
pub struct Arena {
    kind: Kind,
    folder: PathBuf,
    place: Place,
    /// Where our own programs are.
    own: PathBuf,
    server: Child,
}

/// Bytes of a large image.
const LARGE: u64 = 500_000_000;
/// Longest wait for a server that was asked to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const BOOT_LIMIT: Duration = Duration::from_secs(30);

impl Arena {
    /// Makes the folder and starts the server.
    pub fn open(place: &Place, own: PathBuf, kind: Kind) -> Result<Self> {
        let folder = PathBuf::from(format!(
            "/dev/shm/bkhost-bench-{}-{}",
            std::process::id(),
            kind.name()
        ));
        let file_system =
            process::output(Command::new("stat").args(["--file-system", "--format=%T", "/dev/shm"]))?;
        if file_system != "tmpfs" {
            return Err(Failure::new(format!(
                "`/dev/shm` is {file_system} and not in memory"
            )));
        }
        write_context(&folder.join("context"))?;
        let started = kind.start(&folder, place);
        let server = started.inspect_err(|_| {
            // Nothing else knows the folder yet, and it takes memory.
            let _ = inputs::remove(&folder);
        })?;
        let arena = Self {
            kind,
            folder,
            place: place.clone(),
            own,
            server,
        };
        arena.wait_until_ready()?;
        arena.kind.fill(&arena.folder, &arena.place)?;
        Ok(arena)
    }

    fn wait_until_ready(&self) -> Result {
        let end = Instant::now() + BOOT_LIMIT;
        while Instant::now() < end {
            if self.kind.is_ready(&self.folder, &self.place) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(Failure::new(format!(
            "{} did not start:\n{log}",
            self.kind.name()
        )))
    }

    /// Makes builders in the store that both clients read, and boots them: `b1`, `b2` and so on.
    pub fn make_builders(&self, number: usize) -> Result {
        for index in 1..=number {
            let name = format!("b{index}");
            let mut words = vec!["buildx", "create", "--bootstrap", "--name", &name, "--driver"];
            words.extend(self.kind.driver());
            process::run_quietly(&mut self.command(&words))?;
        }
        Ok(())
    }

    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.kind.socket(&self.folder)
    }

    /// A program of this run with its arguments.
    pub fn subject(&self, words: &[&str]) -> Subject {
        let (program, arguments) = self.resolve(words);
        Subject {
            program,
            arguments,
            environment: self.environment(),
            note: self.folder.join("memory"),
            before: Vec::new(),
            is_long: false,
        }
    }

    /// Runs a program to a good end.
    pub fn run(&self, words: &[&str]) -> Result {
        process::run_quietly(&mut self.command(words))
    }

    /// Writes a context whose image is large and cannot be compressed.
    pub fn write_large(&self) -> Result {
        let folder = self.folder.join("large");
        inputs::write(&folder.join("Dockerfile"), b"FROM scratch\nCOPY noise /noise\n")?;
        let path = folder.join("noise");
        let failed = |cause: io::Error| Failure::io("write", &path, &cause);
        let noise = fs::File::open("/dev/urandom").map_err(failed)?;
        let mut file = fs::File::create(&path).map_err(failed)?;
        io::copy(&mut noise.take(LARGE), &mut file).map_err(failed)?;
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let (program, arguments) = self.resolve(words);
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment());
        command
    }

    /// A program's file and its arguments.
    pub fn resolve(&self, words: &[&str]) -> (PathBuf, Vec<String>) {
        let (name, rest) = words.split_first().unwrap_or((&"", &[]));
        let folder = match *name {
            "docker" => self.place.engines().join(place::DOCKER),
            own if own.starts_with("bkhost") => self.own.clone(),
            _ => self.place.engines(),
        };
        let program = folder.join(name);
        let path = |name: &str| self.folder.join(name).display().to_string();
        let filled = rest.iter().map(|word| {
            word.replace("{address}", &self.address())
                .replace("{socket}", &self.socket().display().to_string())
                .replace("{context}", &path("context"))
                .replace("{large}", &path("large"))
                .replace("{archive}", &path("large.tar"))
        });
        (program, filled.collect())
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Nothing of the user's settings counts.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let engine = match self.kind {
            Kind::Buildkit => OsString::new(),
            Kind::Docker => self.address().into(),
        };
        vec![
            ("DOCKER_HOST", engine),
            ("DOCKER_CONTEXT", OsString::new()),
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
        // Asked to stop, a server takes its mounts and containers with it; killed, it leaves them.
        let asked = process::run_quietly(Command::new("kill").arg(self.kind.pid(&self.folder, &self.server)));
        let limit = if asked.is_ok() { STOP_LIMIT } else { Duration::ZERO };
        if process::end_within(&mut self.server, limit).is_none() {
            eprintln!("{} did not stop and was killed", self.kind.name());
        }
        if let Err(failure) = inputs::remove(&self.folder) {
            eprintln!("{failure}");
        }
    }
}

fn write_context(context: &Path) -> Result {
    inputs::write(&context.join("Dockerfile"), b"FROM scratch\nCOPY file /file\n")?;
    inputs::write(&context.join("file"), b"content\n")
}
