//! The keeper process: detached from whoever started it, parent of one daemon from its start to its end.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::active::ActiveBuilds;
use super::control::{self, Stop, View};
use super::error::{KeeperError, Refusal};
use super::idle::Watch;
use super::launch::Launch;
use super::locks::{self, Lock};
use super::process::{Identity, Process};
use super::record::{End, Reason, Record, nanoseconds};
use super::site::KEEPER_LOCK;
use super::{exec, log, login, state};
use crate::fs::{FileError, LockMode};

/// How long an earlier keeper of the node may take to end.
const EARLIER_KEEPER: Duration = Duration::from_secs(10);
/// How long the starting command may take to send the launch.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest launch: its arguments and variables must fit an exec.
const LAUNCH_LIMIT: u64 = 4 << 20;
/// How often the log's size is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a daemon may take to end when the keeper itself is told to.
const GRACE: Duration = Duration::from_secs(10);
/// How long processes that the daemon left may take to die.
const SWEEP: Duration = Duration::from_secs(2);
/// How long commands may take to fetch the answer they wait for.
const ANSWERS: Duration = Duration::from_secs(1);
/// Lines of the log that are kept with the end.
const LAST_LINES: usize = 100;
/// Variables that speak of the process which started us, never of the daemon.
const NOT_INHERITED: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The keeper's one answer to the command that started it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The daemon's process runs.
    Started(Record),
    /// It does not.
    Refused(Refusal),
}

/// Runs the keeper; `args` name the runtime folder. Returns when the daemon has ended.
pub fn main(args: impl IntoIterator<Item = OsString>, active: ActiveBuilds) -> ExitCode {
    close_inherited();
    let Some(folder) = args.into_iter().next().map(PathBuf::from) else {
        return ExitCode::FAILURE;
    };
    // The daemon must be started by the main thread: its death is what the kernel takes for the parent's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (detach(), runtime) {
        (Ok(()), Ok(runtime)) => runtime.block_on(serve(&folder, active)),
        _ => ExitCode::FAILURE,
    }
}

/// Closes files that the starting command inherited from elsewhere: a lock of a script or the end of a pipe would be
/// held as long as the daemon lives.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The list has the folder's own file, which is closed already.
        let _ = nix::unistd::close(fd);
    }
}

fn detach() -> io::Result<()> {
    // Only the leader of a group cannot; it then has no terminal that could stop it either.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // What the daemon leaves behind becomes our child, so that it can be ended with it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

async fn serve(folder: &Path, active: ActiveBuilds) -> ExitCode {
    let Ok(mut starter) = starter() else {
        return ExitCode::FAILURE;
    };
    match begin(folder, &mut starter, active).await {
        Ok(keeping) => {
            tell(starter, &Reply::Started(keeping.record.clone())).await;
            keeping.run().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(starter, &Reply::Refused(error.into())).await;
            ExitCode::FAILURE
        }
    }
}

/// The socket to the command that started us, which is our stdin.
fn starter() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

async fn receive(starter: &mut UnixStream) -> Result<Launch, KeeperError> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(starter.take(LAUNCH_LIMIT));
    let read = limited.read_until(b'\n', &mut line);
    match tokio::time::timeout(HANDSHAKE, read).await {
        Ok(Ok(_)) => serde_json::from_slice(&line).map_err(KeeperError::keeper),
        Ok(Err(error)) => Err(KeeperError::keeper(error)),
        Err(_) => Err(KeeperError::keeper("it was not told what to start")),
    }
}

async fn tell(mut starter: UnixStream, reply: &Reply) {
    let Ok(mut line) = serde_json::to_vec(reply) else {
        return;
    };
    line.push(b'\n');
    // The command may be gone; the daemon stays for the next one.
    let _ = starter.write_all(&line).await;
}

/// Everything up to the running daemon.
async fn begin(
    folder: &Path,
    starter: &mut UnixStream,
    active: ActiveBuilds,
) -> Result<Keeping, KeeperError> {
    let launch = receive(starter).await?;
    let lock = become_keeper(folder).await?;
    let state = match &launch.state {
        Some(path) => state::hold(path)?,
        None => None,
    };
    let signals = Signals::new().map_err(KeeperError::keeper)?;
    let log = log::begin(folder)?;
    if let Some(socket) = &launch.socket {
        let _ = std::fs::remove_file(socket);
    }
    let listener = control::listen(folder)?;
    let (record, process) = start(folder, &launch, log)?;
    let (order, orders) = mpsc::channel(8);
    let (ended, end) = watch::channel(None);
    let answers = TaskTracker::new();
    let view = View {
        pid: record.process.pid,
        end,
        orders: order.clone(),
    };
    tokio::spawn(control::serve(listener, view, answers.clone()));
    let timeout = launch.idle().unwrap_or(Duration::MAX);
    let watch = Watch::new(folder, launch.socket.clone(), timeout, active);
    tokio::spawn(watch.needing(launch.programs.clone()).run(order));
    Ok(Keeping {
        folder: folder.to_owned(),
        record,
        process,
        signals,
        orders,
        ended,
        answers,
        stopping: None,
        lock,
        _state: state,
    })
}

/// Takes the keeper's lock. An earlier keeper that is on its way out is waited for; one whose daemon runs is not.
async fn become_keeper(folder: &Path) -> Result<Lock, KeeperError> {
    let deadline = Instant::now() + EARLIER_KEEPER;
    loop {
        let lock = locks::try_acquire(&folder.join(KEEPER_LOCK), LockMode::Exclusive)?;
        if let Some(record) = Record::read(folder)?
            && record.end.is_none()
            && let Ok(Some(process)) = record.process.open()
            && !process.has_ended()
        {
            return Err(KeeperError::Running {
                pid: record.process.pid,
            });
        }
        match lock {
            Some(lock) => return Ok(lock),
            None if Instant::now() >= deadline => {
                return Err(KeeperError::Locked {
                    path: folder.join(KEEPER_LOCK),
                    waited: EARLIER_KEEPER,
                });
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Starts the daemon and records it; one that cannot be recorded is ended again.
fn start(folder: &Path, launch: &Launch, log: File) -> Result<(Record, Process), KeeperError> {
    let mut child = command(launch, log)?
        .spawn()
        .map_err(FileError::io("run", &launch.program))?;
    note(folder, &child, launch).inspect_err(|_| {
        let _ = child.kill();
    })
}

fn command(launch: &Launch, log: File) -> Result<Command, KeeperError> {
    let second = log.try_clone().map_err(KeeperError::keeper)?;
    let mut command = exec::dying_with_parent(&launch.program);
    command
        .args(&launch.args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second)
        .process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    if let Some(path) = launch.path(std::env::var_os("PATH").as_deref()) {
        command.env("PATH", path);
    }
    let (uid, given) = (rustix::process::geteuid().as_raw(), std::env::var_os("USER"));
    if let Some(user) = login::user(uid, given.as_deref(), Path::new(login::ACCOUNTS)) {
        command.env("USER", user);
    }
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

fn note(folder: &Path, child: &Child, launch: &Launch) -> Result<(Record, Process), KeeperError> {
    let identity = Identity::of(child.id()).map_err(KeeperError::keeper)?;
    // Not reaped yet, so that even one that has ended can be opened.
    let process = identity.open().map_err(KeeperError::keeper)?;
    let process = process.ok_or_else(|| KeeperError::keeper("the daemon's process is gone"))?;
    let record = Record::new(identity, launch);
    record.write(folder)?;
    Ok((record, process))
}

/// Signals the keeper listens for.
struct Signals {
    child: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// One that tells the keeper to end.
    async fn told_to_end(term: &mut tokio::signal::unix::Signal, int: &mut tokio::signal::unix::Signal) {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}

/// A keeper with its running daemon.
struct Keeping {
    folder: PathBuf,
    record: Record,
    process: Process,
    signals: Signals,
    orders: mpsc::Receiver<Stop>,
    ended: watch::Sender<Option<End>>,
    answers: TaskTracker,
    stopping: Option<Stopping>,
    lock: Lock,
    _state: Option<Lock>,
}

/// A stop under way.
struct Stopping {
    reason: Reason,
    kill_at: Instant,
    hold: Option<Lock>,
}

impl Keeping {
    async fn run(mut self) {
        let status = self.watch().await;
        self.finish(status).await;
    }

    /// Until the daemon has ended.
    async fn watch(&mut self) -> WaitStatus {
        let mut tick = tokio::time::interval(TICK);
        loop {
            if let Some(status) = self.reap() {
                return status;
            }
            let kill_at = self.stopping.as_ref().map(|stopping| stopping.kill_at);
            tokio::select! {
                _ = self.signals.child.recv() => {}
                _ = self.signals.hup.recv() => {}
                () = Signals::told_to_end(&mut self.signals.term, &mut self.signals.int) => {
                    self.stop(Stop { reason: Reason::Stopped, grace: GRACE, hold: None });
                }
                Some(order) = self.orders.recv() => self.stop(order),
                () = sleep_until(kill_at) => self.kill(),
                _ = tick.tick() => self.look_around(),
            }
        }
    }

    fn look_around(&mut self) {
        // A log that cannot be cut now is tried again.
        let _ = log::keep_small(&self.folder);
        if !self.lock.is_found() && self.stopping.is_none() {
            // The runtime folder was removed, by a cleaner or at the user's last log-out: nobody finds this daemon any
            // more, while it keeps its state from the next one.
            self.stop(Stop {
                reason: Reason::Stopped,
                grace: GRACE,
                hold: None,
            });
        }
    }

    /// Collects children that have ended; the daemon's status if it is among them.
    fn reap(&self) -> Option<WaitStatus> {
        let mut status = None;
        while let Ok(Some((pid, ended))) = rustix::process::wait(WaitOptions::NOHANG) {
            if u32::try_from(pid.as_raw_nonzero().get()) == Ok(self.record.process.pid) {
                status = Some(ended);
            }
        }
        status
    }

    /// Begins to stop the daemon. A second order can only shorten the first one's grace.
    fn stop(&mut self, order: Stop) {
        let kill_at = Instant::now() + order.grace.min(Duration::from_secs(3600));
        match &mut self.stopping {
            Some(stopping) => {
                stopping.kill_at = stopping.kill_at.min(kill_at);
                stopping.hold = stopping.hold.take().or(order.hold);
            }
            None => {
                self.stopping = Some(Stopping {
                    reason: order.reason,
                    kill_at,
                    hold: order.hold,
                });
                let _ = self.process.signal(Signal::TERM);
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.process.signal(Signal::KILL);
        if let Some(stopping) = &mut self.stopping {
            // Again, should it take the kernel that long.
            stopping.kill_at = Instant::now() + TICK;
        }
    }

    /// Ends what the daemon left, records its end, answers who waits, and only then lets others go on.
    async fn finish(mut self, status: WaitStatus) {
        sweep().await;
        let stopping = self.stopping.take();
        let end = End {
            reason: stopping
                .as_ref()
                .map_or(Reason::Exited, |stopping| stopping.reason),
            exit_code: status.exit_status(),
            signal: status.terminating_signal(),
            ended_at: nanoseconds(std::time::SystemTime::now()),
            log: log::tail(&self.folder, LAST_LINES),
        };
        self.record.end = Some(end.clone());
        let _ = self.record.write(&self.folder);
        let _ = std::fs::remove_file(self.folder.join(control::SOCKET));
        if let Some(socket) = &self.record.socket {
            let _ = std::fs::remove_file(socket);
        }
        self.ended.send_replace(Some(end));
        drop(stopping);
        self.answers.close();
        let _ = tokio::time::timeout(ANSWERS, self.answers.wait()).await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Kills what is left of the daemon: as its subreaper, the keeper has become the parent. Children that are not reaped
/// keep their ids, so no other process can be hit.
async fn sweep() {
    let deadline = Instant::now() + SWEEP;
    loop {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let left = children();
        if left.is_empty() || Instant::now() >= deadline {
            return;
        }
        for pid in left {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ids of this process's children.
fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .collect::<Vec<_>>()
        })
        .collect()
}
