//! Everything about one node's daemon, as commands use it: locks, leases, start, stop, removal.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::control::{self, Answer, Request};
use super::daemon::Daemon;
use super::error::KeeperError;
use super::idle::USE_LOCK;
use super::launch::Launch;
use super::locks::{self, Lock};
use super::paths::{Owner, RuntimeFolder, SOCKET_PATH_LIMIT, Surroundings};
use super::record::Record;
use super::run::Reply;
use super::{KEEPER_MODE, exec, log, state};
use crate::fs::{FileError, LockMode, PRIVATE_DIR, PRIVATE_FILE, create_dir_all, write_beside};

/// Name of the lock that a keeper holds as long as it lives.
pub const KEEPER_LOCK: &str = "keeper.lock";
/// Folder for the daemon's files.
const CONFIG: &str = "config";
/// How long a keeper may take from its start to the daemon's: it may have to wait for an earlier keeper to end.
pub const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a daemon whose keeper was killed has for its own end, which the kernel has asked it for.
const ORPHAN_LIMIT: Duration = Duration::from_secs(5);
/// What a stop may take beyond its grace: the end is swept up and recorded.
const RECORDING: Duration = Duration::from_secs(10);

/// The place of one node's daemon. Touches nothing until it is asked to.
#[derive(Clone, Debug)]
pub struct Site {
    surroundings: Surroundings,
    owner: Owner,
    folder: RuntimeFolder,
    host: PathBuf,
}

impl Site {
    /// The place of `owner`'s daemon, with a runtime folder below `base`.
    pub fn new(surroundings: Surroundings, owner: Owner, base: &Path) -> Self {
        let folder = RuntimeFolder::below(base, &owner);
        Self {
            surroundings,
            owner,
            folder,
            host: PathBuf::from(exec::OWN_PROGRAM),
        }
    }

    /// The same place with another program that has the keeper's hidden mode.
    pub fn with_host_program(mut self, host: impl Into<PathBuf>) -> Self {
        self.host = host.into();
        self
    }

    /// The runtime folder, whether it exists or not.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the environment says.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Creates the runtime folder, checked for owner and mode.
    pub fn create_folder(&self) -> Result<&Path, KeeperError> {
        self.folder.create(self.surroundings.uid)?;
        Ok(self.folder.path())
    }

    /// Creates the state folder with its mark.
    pub fn create_state(&self, path: &Path) -> Result<(), KeeperError> {
        state::prepare(path, &self.owner)
    }

    /// Takes the lock `name` among commands.
    pub async fn lock(&self, name: &str, timeout: Duration) -> Result<Lock, KeeperError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            return Err(KeeperError::NotAllowed {
                name: name.to_owned(),
                why: "names of locks have letters, digits and `-`",
            });
        }
        self.acquire(&format!("lock-{name}"), LockMode::Exclusive, timeout)
            .await
    }

    /// Takes a lease: while it is held, the daemon is not stopped for being idle. Waits while one is being stopped.
    pub async fn lease(&self, timeout: Duration) -> Result<Lock, KeeperError> {
        let lock = self.acquire(USE_LOCK, LockMode::Shared, timeout).await?;
        Ok(lock.marking_use())
    }

    async fn acquire(&self, name: &str, mode: LockMode, timeout: Duration) -> Result<Lock, KeeperError> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let path = self.create_folder()?.join(name);
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match locks::acquire(&path, mode, left).await {
                // Somebody removed the folder meanwhile.
                Err(KeeperError::File(error))
                    if error.io_kind() == Some(std::io::ErrorKind::NotFound) && !left.is_zero() => {}
                other => return other,
            }
        }
    }

    /// Writes a file for the daemon into its folder of configuration and returns its path.
    pub fn write_config(&self, name: &str, content: &[u8]) -> Result<PathBuf, KeeperError> {
        let is_clean = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !name.split('/').all(is_clean) || name.contains('\0') {
            return Err(KeeperError::NotAllowed {
                name: name.to_owned(),
                why: "names of files are relative and clean",
            });
        }
        let path = self.create_folder()?.join(CONFIG).join(name);
        if let Some(parent) = path.parent() {
            create_dir_all(parent, PRIVATE_DIR)?;
        }
        write_beside(&path, content, PRIVATE_FILE)?;
        Ok(path)
    }

    /// Checks a socket that the daemon will listen on: below the runtime folder, and short enough.
    pub fn check_socket(&self, path: &Path) -> Result<(), KeeperError> {
        if path.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(KeeperError::TooLong {
                path: path.to_owned(),
            });
        }
        if path.parent() == Some(self.folder()) {
            return Ok(());
        }
        Err(KeeperError::NotAllowed {
            name: path.display().to_string(),
            why: "the daemon's socket lies in the runtime folder",
        })
    }

    /// Starts a daemon under a new keeper; returns once its process runs. `Running` when there is one already.
    pub async fn start(&self, launch: &Launch) -> Result<Daemon, KeeperError> {
        self.create_folder()?;
        if let Some(state) = &launch.state {
            state::note_programs(state, &self.owner, &launch.programs)?;
        }
        match tokio::time::timeout(START_LIMIT, self.spawn_keeper(launch)).await {
            Ok(Ok(Reply::Started(record))) => Daemon::new(self.folder(), record),
            Ok(Ok(Reply::Refused(refusal))) => Err(refusal.into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(KeeperError::keeper(format!(
                "it did not start within {START_LIMIT:?}"
            ))),
        }
    }

    /// Launch and reply go over a socket that is the keeper's stdin; its stdout and stderr lead nowhere.
    async fn spawn_keeper(&self, launch: &Launch) -> Result<Reply, KeeperError> {
        let (near, far) = std::os::unix::net::UnixStream::pair().map_err(KeeperError::keeper)?;
        let mut command = Command::new(&self.host);
        command
            .arg(KEEPER_MODE)
            .arg(self.folder())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(FileError::io("run", &self.host))?;
        // The far end must be closed here, or the keeper's death would not be seen.
        drop(command);
        near.set_nonblocking(true).map_err(KeeperError::keeper)?;
        let mut near = UnixStream::from_std(near).map_err(KeeperError::keeper)?;
        let reply = exchange(&mut near, launch).await;
        // It outlives this command; the runtime reaps it if it ends before.
        drop(child);
        reply
    }

    /// The node's daemon, running or ended; `None` when none was started or nothing is left of it.
    pub async fn current(&self) -> Result<Option<Daemon>, KeeperError> {
        if !self.folder.check(self.surroundings.uid)? {
            return Ok(None);
        }
        let Some(record) = Record::read(self.folder())? else {
            return Ok(None);
        };
        let daemon = Daemon::new(self.folder(), record)?;
        if let Some(process) = daemon.process()
            && !self.is_kept()
        {
            process.ends_within(ORPHAN_LIMIT).await;
        }
        Ok(Some(daemon))
    }

    /// Whether a keeper lives.
    fn is_kept(&self) -> bool {
        locks::is_held(&self.folder().join(KEEPER_LOCK))
    }

    /// Stops the daemon: SIGTERM, SIGKILL after `grace`. Returns when its process has ended and its end is recorded.
    pub async fn stop(&self, grace: Duration) -> Result<(), KeeperError> {
        let Some(daemon) = self.current().await? else {
            return Ok(());
        };
        if !daemon.running() {
            return Ok(());
        }
        let milliseconds = grace.as_millis().try_into().unwrap_or(u64::MAX);
        let asked = control::ask(
            self.folder(),
            Request::Stop(milliseconds),
            grace.saturating_add(RECORDING),
        )
        .await;
        match asked {
            Ok(Some(Answer::Ended(_))) => Ok(()),
            _ => stop_orphan(&daemon, grace).await,
        }
    }

    /// Removes all traces of the daemon: what runs, the runtime folder and, if given, the state folder.
    pub async fn remove(&self, state_folder: Option<&Path>, timeout: Duration) -> Result<(), KeeperError> {
        self.stop(timeout.min(RECORDING)).await?;
        if self.folder.check(self.surroundings.uid)? {
            // The keeper may still be on its way out; the lock goes with the folder.
            let _alone = self.acquire(KEEPER_LOCK, LockMode::Exclusive, timeout).await?;
            if let Some(path) = state_folder {
                state::remove(path, &self.owner, &self.surroundings, self.folder(), timeout).await?;
            }
            return Ok(self.folder.remove()?);
        }
        let Some(path) = state_folder else {
            return Ok(());
        };
        let scratch = self.create_folder()?;
        let removed = state::remove(path, &self.owner, &self.surroundings, scratch, timeout).await;
        self.folder.remove()?;
        removed
    }

    /// The files of the daemon's log, oldest first.
    pub fn log_files(&self) -> Vec<PathBuf> {
        log::files(self.folder())
    }
}

async fn exchange(stream: &mut UnixStream, launch: &Launch) -> Result<Reply, KeeperError> {
    let mut line = serde_json::to_vec(launch).map_err(KeeperError::keeper)?;
    line.push(b'\n');
    let gone = |_| KeeperError::keeper("it ended before it started the daemon");
    stream.write_all(&line).await.map_err(gone)?;
    let mut reply = Vec::new();
    BufReader::new(stream)
        .read_until(b'\n', &mut reply)
        .await
        .map_err(gone)?;
    serde_json::from_slice(&reply).map_err(|_| KeeperError::keeper("it ended before it started the daemon"))
}

/// Stops a daemon whose keeper does not answer, through the open process.
async fn stop_orphan(daemon: &Daemon, grace: Duration) -> Result<(), KeeperError> {
    let Some(process) = daemon.process() else {
        return Ok(());
    };
    process.signal(Signal::TERM).map_err(KeeperError::keeper)?;
    if process.ends_within(grace).await {
        return Ok(());
    }
    process.signal(Signal::KILL).map_err(KeeperError::keeper)?;
    if process.ends_within(RECORDING).await {
        return Ok(());
    }
    Err(KeeperError::NotStopped {
        pid: daemon.pid(),
        waited: grace.saturating_add(RECORDING),
    })
}
