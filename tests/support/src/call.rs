//! One run of a program, which cannot hang a test: every run has a limit, and what it said is shown when it fails.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::terminal::Terminal;
use crate::user::OrdinaryUser;

/// How long a run may take when the test says nothing else.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A run that is being prepared.
#[must_use = "a call does nothing until it is started"]
pub struct Call {
    command: Command,
    words: String,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Call {
    /// A run of the program and arguments `words` in `folder`, with these variables and no others.
    pub(crate) fn new(
        words: &[OsString],
        variables: &BTreeMap<OsString, OsString>,
        folder: &Path,
        user: Option<&OrdinaryUser>,
    ) -> Self {
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .envs(variables)
            .current_dir(folder);
        if let Some(user) = user {
            user.apply(&mut command);
        }
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Self {
            command,
            words: words.join(" "),
            stdin: Vec::new(),
            limit: LIMIT,
        }
    }

    /// One more argument.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(' ');
        self.words.push_str(&word.as_ref().to_string_lossy());
        self.command.arg(word);
        self
    }

    /// More arguments.
    pub fn args<I>(self, words: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        words.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable for this run.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts in another folder.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What the program reads; nothing by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long the run may take; a minute by default.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs to the end.
    ///
    /// # Panics
    ///
    /// When it takes longer than the limit, with what it said.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(mut self) -> Running {
        // Files, because a daemon that holds a pipe open must not make the test wait for it.
        let files = tempfile::tempdir().unwrap();
        let file = |name| files.path().join(name);
        std::fs::write(file("stdin"), &self.stdin).unwrap();
        self.command
            .stdin(File::open(file("stdin")).unwrap())
            .stdout(File::create(file("stdout")).unwrap())
            .stderr(File::create(file("stderr")).unwrap())
            .process_group(0);
        let child = self.spawn();
        Running {
            child,
            words: self.words,
            start: Instant::now(),
            limit: self.limit,
            files,
        }
    }

    /// Runs it as a shell's `$(…)` does: to the end of its output, not only to its own end.
    ///
    /// # Panics
    ///
    /// When the output is not closed within the limit.
    pub fn output(mut self) -> Ended {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let child = self.spawn();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = receiver.recv_timeout(self.limit) else {
            panic!("`{}`: somebody still holds its output", self.words);
        };
        let output = output.unwrap();
        Ended {
            words: self.words,
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: start.elapsed(),
        }
    }

    /// Starts it with a connection as its standard input and output. The caller waits for it, or kills it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn on_connection(mut self, connection: UnixStream) -> Child {
        let other = connection.try_clone().unwrap();
        self.command
            .stdin(OwnedFd::from(connection))
            .stdout(OwnedFd::from(other))
            .stderr(Stdio::null());
        self.spawn()
    }

    /// Starts it on a terminal of this size.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn on_terminal(self, rows: u16, columns: u16) -> Terminal {
        Terminal::start(&self.command, self.words, self.limit, rows, columns)
    }

    fn spawn(&mut self) -> Child {
        self.command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", self.words))
    }
}

/// A run that is going on. It is killed, with its process group, when it is dropped.
#[must_use]
pub struct Running {
    child: Child,
    words: String,
    start: Instant,
    limit: Duration,
    files: tempfile::TempDir,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far on stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.read("stderr")).into_owned()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.read("stdout")).into_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.path().join(name)).unwrap_or_default()
    }

    /// Waits until stderr contains `text`.
    ///
    /// # Panics
    ///
    /// When the program ends first or takes too long.
    pub fn until_said(&mut self, text: &str) {
        while !self.stderr().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() || self.stderr().contains(text),
                "`{}` ended ({ended:?}) before it said {text:?}:\n{}",
                self.words,
                self.stderr()
            );
            self.check_limit();
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = pid(&self.child) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it takes longer than the limit, with what it said.
    pub fn wait(mut self) -> Ended {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return self.end(status);
            }
            self.check_limit();
            std::thread::sleep(POLL);
        }
    }

    fn end(&self, status: ExitStatus) -> Ended {
        Ended {
            words: self.words.clone(),
            status,
            stdout: self.read("stdout"),
            stderr: self.stderr(),
            took: self.start.elapsed(),
        }
    }

    fn check_limit(&mut self) {
        if self.start.elapsed() > self.limit {
            self.kill();
            panic!(
                "`{}` still ran after {:?}:\n{}",
                self.words,
                self.limit,
                self.stderr()
            );
        }
    }

    fn kill(&mut self) {
        if let Some(pid) = pid(&self.child) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// How a run ended and what it said.
#[must_use = "look at how it ended: `succeeds` or `fails`"]
#[derive(Debug)]
pub struct Ended {
    pub(crate) words: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ended {
    /// Expects exit code 0.
    ///
    /// # Panics
    ///
    /// When it is another, with what was said.
    pub fn succeeds(self) -> Said {
        self.fails(0)
    }

    /// Expects this exit code.
    ///
    /// # Panics
    ///
    /// When it is another, with what was said.
    pub fn fails(self, code: i32) -> Said {
        assert_eq!(
            self.status.code(),
            Some(code),
            "`{}` ended with {:?} (signal {:?}) after {:?}\nstdout: {}\nstderr: {}",
            self.words,
            self.status.code(),
            self.status.signal(),
            self.took,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        Said(self)
    }

    /// The exit code, if it was not killed.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// What a program said that ended as expected.
#[derive(Debug)]
pub struct Said(Ended);

impl Said {
    /// Standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Standard output as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    /// Standard error.
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.0.took
    }

    /// Expects `text` on stderr.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr().contains(text),
            "`{}` did not say {text:?}:\n{}",
            self.0.words,
            self.stderr()
        );
        self
    }

    /// Expects that stderr has no `text`.
    ///
    /// # Panics
    ///
    /// When it is there.
    pub fn says_no(self, text: &str) -> Self {
        assert!(
            !self.stderr().contains(text),
            "`{}` said {text:?}:\n{}",
            self.0.words,
            self.stderr()
        );
        self
    }

    /// Expects `text` on stdout.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout().contains(text),
            "`{}` did not print {text:?}:\n{}\nstderr: {}",
            self.0.words,
            self.stdout(),
            self.stderr()
        );
        self
    }
}
