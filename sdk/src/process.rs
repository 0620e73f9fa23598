//! A daemon on this machine that outlives the command, started and watched by a keeper process of the host.
//!
//! A node has one such daemon at most; every function speaks of the opened node's own. Only programs that the manifest
//! names can be found.

use std::time::Duration;

use crate::time::nanoseconds;
use crate::{ByteStream, Connection, LogRequest, Pollable, Result, Step, host};
use host::processes as raw;

/// A program that was found.
#[derive(Debug)]
pub struct Program(raw::Program);

impl Program {
    /// Absolute path, to show.
    pub fn path(&self) -> String {
        self.0.path()
    }
}

/// Finds a program that the manifest names: the value of the driver option `option` if it is given and not empty, else
/// on PATH, else in the tool's own folder of programs. An empty `option` names none. Absent when it is nowhere.
pub fn find(name: &str, option: &str) -> Result<Option<Program>> {
    Ok(raw::find(name, option)?.map(Program))
}

/// Folder for the daemon's sockets, short enough for a socket path. Only named here: a lock, a lease and a file of a launch
/// create it.
pub fn runtime_folder() -> Result<String> {
    Ok(raw::runtime_folder()?)
}

/// Folder for the daemon's state: the value of the driver option `option` if given, else the host's default.
pub fn state_folder(option: &str) -> Result<String> {
    Ok(raw::state_folder(option)?)
}

/// A lock among all processes that use this node; released when dropped.
#[derive(Debug)]
pub struct Lock {
    _raw: raw::Lock,
}

/// Takes the lock with that name (letters, digits, `-`); `timed-out` when somebody holds it too long.
pub fn lock(name: &str, timeout: Duration) -> Result<Lock> {
    let raw = raw::acquire_lock(name, nanoseconds(timeout))?;
    Ok(Lock { _raw: raw })
}

/// A sign that the daemon is in use: while one is held by any process, it is not stopped for being idle.
#[derive(Debug)]
pub struct Lease(raw::Lease);

impl Lease {
    /// Ties it to a connection: it is held until the connection is closed, also after `dial` returned it.
    pub fn attach(self, connection: &Connection) {
        raw::attach_lease(self.0, connection.raw());
    }
}

/// Takes a lease. Take it before [`current`], so that the daemon found there stays.
pub fn lease(timeout: Duration) -> Result<Lease> {
    Ok(Lease(raw::take_lease(nanoseconds(timeout))?))
}

/// How to start the daemon.
#[derive(Debug)]
pub struct Launch(raw::Launch);

impl Launch {
    /// The keeper starts this program, and waits for it.
    pub fn new(program: &Program) -> Self {
        Self(raw::Launch::new(&program.0))
    }

    /// Adds one argument.
    pub fn arg(&self, value: impl AsRef<str>) -> &Self {
        self.0.arg(value.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<str>>(&self, values: impl IntoIterator<Item = S>) -> &Self {
        for value in values {
            self.arg(value);
        }
        self
    }

    /// Adds the path of another program as an argument.
    pub fn program_arg(&self, program: &Program) -> &Self {
        self.0.program_arg(&program.0);
        self
    }

    /// Sets a variable; the rest of the environment is the user's.
    pub fn env(&self, name: &str, value: &str) -> &Self {
        self.0.env(name, value);
        self
    }

    /// Puts the folder of a program first on the daemon's PATH.
    pub fn path_of(&self, program: &Program) -> &Self {
        self.0.path_of(&program.0);
        self
    }

    /// Writes a file into the daemon's folder of configuration and returns its path. Names are clean relative slash
    /// paths.
    pub fn file(&self, name: &str, content: &[u8]) -> Result<String> {
        Ok(self.0.file(name, content)?)
    }

    /// The socket that the daemon will listen on, below the runtime folder.
    pub fn socket(&self, path: &str) -> &Self {
        self.0.socket(path);
        self
    }

    /// A folder that must exist before the start; made with mode 0700.
    pub fn create_folder(&self, path: &str) -> Result<()> {
        Ok(self.0.create_folder(path)?)
    }

    /// Stops the daemon after this long without use; zero means never.
    pub fn idle_timeout(&self, timeout: Duration) -> &Self {
        self.0.idle_timeout(nanoseconds(timeout));
        self
    }

    /// Words that tell two launches apart; a running daemon shows them as attribute `fingerprint`.
    pub fn fingerprint(&self, value: &str) -> &Self {
        self.0.fingerprint(value);
        self
    }

    /// Starts the daemon and returns once its process runs; it may not listen yet. `conflict` when one is running
    /// already: hold a [`lock`].
    pub fn start(self, step: &Step<'_>) -> Result<Daemon> {
        Ok(Daemon(raw::start(self.0, step.raw())?))
    }
}

/// The node's daemon, running or ended.
#[derive(Debug)]
pub struct Daemon(raw::Daemon);

impl Daemon {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.0.running()
    }

    /// Its process id, to show.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// When it was started, since 1970.
    pub fn started_at(&self) -> Duration {
        Duration::from_nanos(self.0.started_at())
    }

    /// Its socket.
    pub fn socket(&self) -> String {
        self.0.socket()
    }

    /// More facts: `fingerprint`, `idle-timeout`, `log` (path).
    pub fn attributes(&self) -> Vec<(String, String)> {
        pairs(self.0.attributes())
    }

    /// One of these facts.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let found = self.attributes().into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value)
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.0.end().map(|facts| End { facts: pairs(facts) })
    }

    /// Becomes ready when its process ends.
    pub fn ended(&self) -> Pollable {
        Pollable::new(self.0.ended())
    }

    /// The last lines of its log, at most 64 KiB.
    pub fn log_tail(&self, lines: u32) -> String {
        self.0.log_tail(lines)
    }
}

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    facts: Vec<(String, String)>,
}

impl End {
    /// One fact: `exit-code` or `signal`, `signal-name`, `reason`, `ended-at`.
    pub fn fact(&self, name: &str) -> Option<&str> {
        let found = self.facts.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Why: `idle`, `stopped`, `exited`, `keeper-lost`, or another word.
    pub fn reason(&self) -> &str {
        self.fact("reason").unwrap_or("exited")
    }

    /// In words: `was killed by SIGKILL`, `exited with code 1`.
    pub fn words(&self) -> String {
        let signal = self.fact("signal-name").map(str::to_owned);
        let signal = signal.or_else(|| self.fact("signal").map(|number| format!("signal {number}")));
        match (signal, self.fact("exit-code")) {
            (Some(signal), _) => format!("was killed by {signal}"),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "ended".to_owned(),
        }
    }

    /// All facts.
    pub fn facts(&self) -> &[(String, String)] {
        &self.facts
    }
}

/// The node's daemon as the keeper knows it; absent when none was started or nothing is left of it.
pub fn current() -> Result<Option<Daemon>> {
    Ok(raw::current()?.map(Daemon))
}

/// Stops the daemon: SIGTERM, SIGKILL after `timeout`. Done when its process has ended; none is no error.
pub fn stop(timeout: Duration) -> Result<()> {
    Ok(raw::stop(nanoseconds(timeout))?)
}

/// Removes what the daemon left in the runtime folder and, unless `keep_state`, the state folder, which must be the one
/// that [`state_folder`] named.
pub fn remove(state_folder: &str, keep_state: bool, timeout: Duration) -> Result<()> {
    Ok(raw::remove(state_folder, keep_state, nanoseconds(timeout))?)
}

/// The daemon's log.
pub fn open_log(request: &LogRequest) -> Result<ByteStream> {
    Ok(ByteStream::new(raw::open_log(request.follow, request.tail)?))
}

fn pairs(list: Vec<host::types::Pair>) -> Vec<(String, String)> {
    list.into_iter().map(|pair| (pair.key, pair.value)).collect()
}
