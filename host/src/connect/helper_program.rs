//! A connection through a helper program: a child process whose stdin and stdout are the two directions.
//!
//! The argument lists are those of the connection helpers that BuildKit's own client has.

mod command;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

pub use self::command::HelperCommand;
use crate::keeper::exec;

/// How much of a helper's stderr is kept.
const STDERR_TAIL: usize = 4096;
/// How long a helper may take to end after its end of stream.
const EXIT_LIMIT: Duration = Duration::from_secs(10);
/// How long a helper has after SIGTERM.
const KILL_AFTER: Duration = Duration::from_secs(3);
/// Why there is no connection through a helper program, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// A value cannot be used.
    #[error("`{value}` cannot be a {what}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The program is not there.
    #[error("The program `{program}` is not on PATH")]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// It cannot be run.
    #[error("Failed to run `{program}`")]
    Run {
        /// Its path.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended.
    #[error("`{program}` ended with {status}{}", stderr_words(stderr))]
    Ended {
        /// Its name.
        program: &'static str,
        /// How it ended, in words.
        status: String,
        /// The last of its stderr.
        stderr: String,
    },
}

fn stderr_words(stderr: &str) -> String {
    match stderr.trim().lines().last() {
        Some(line) => format!(": {}", line.trim()),
        None => String::new(),
    }
}

/// What is known of the program behind a connection: a helper that has ended, or one that a Docker Engine runs. Shared
/// with the connection.
#[derive(Clone, Debug)]
pub struct LastWords {
    program: &'static str,
    words: Arc<watch::Sender<Words>>,
    teller: Teller,
}

/// Who learns how a program ended.
#[derive(Clone, Debug)]
enum Teller {
    /// It is a child of ours.
    Ourselves,
    /// It runs elsewhere, and its stream says only that it is over.
    Nobody,
    /// The same, behind a helper of ours that carries the stream and may fail by itself.
    Carrier(Box<LastWords>),
}

#[derive(Debug, Default)]
struct Words {
    stderr: Vec<u8>,
    exit_status: Option<i32>,
}

impl LastWords {
    /// Nothing yet of this program.
    pub(crate) fn of(program: &'static str) -> Self {
        Self {
            program,
            words: Arc::default(),
            teller: Teller::Ourselves,
        }
    }

    /// Nothing yet of this program, which an engine runs: nobody tells its exit status. `carrier` is what is known of the
    /// helper behind which the engine is.
    pub(crate) fn of_remote(program: &'static str, carrier: Option<Self>) -> Self {
        let carrier = carrier.map(|carrier| Teller::Carrier(Box::new(carrier)));
        Self {
            teller: carrier.unwrap_or(Teller::Nobody),
            ..Self::of(program)
        }
    }

    /// The carrier, if it failed: then the words are about that.
    fn failed_carrier(&self) -> Option<&Self> {
        match &self.teller {
            Teller::Carrier(carrier) if carrier.exit_status().is_some_and(|status| status != 0) => {
                Some(carrier)
            }
            _ => None,
        }
    }

    /// The program's name.
    pub fn program(&self) -> &'static str {
        self.failed_carrier().map_or(self.program, Self::program)
    }

    /// The last 4096 bytes it wrote to stderr; behind a carrier that failed, those of either.
    pub fn stderr(&self) -> String {
        let own = String::from_utf8_lossy(&self.words.borrow().stderr).into_owned();
        match self.failed_carrier() {
            Some(carrier) => own + &carrier.stderr(),
            None => own,
        }
    }

    /// Its exit status; 128 and the signal's number for one that was killed.
    pub fn exit_status(&self) -> Option<i32> {
        match &self.teller {
            Teller::Ourselves => self.words.borrow().exit_status,
            Teller::Nobody | Teller::Carrier(_) => self.failed_carrier()?.exit_status(),
        }
    }

    /// Waits until it has ended, at most `limit`: the connection is known to be gone a moment before that. A status that
    /// nobody tells is not waited for.
    pub async fn ended_within(&self, limit: Duration) -> Option<i32> {
        match &self.teller {
            Teller::Ourselves => {}
            Teller::Nobody => return None,
            Teller::Carrier(carrier) => {
                Box::pin(carrier.ended_within(limit)).await;
                return self.exit_status();
            }
        }
        let mut words = self.words.subscribe();
        let ended = words.wait_for(|words| words.exit_status.is_some());
        let _ = tokio::time::timeout(limit, ended).await;
        self.exit_status()
    }

    /// Adds what it wrote to stderr.
    pub(crate) fn add(&self, data: &[u8]) {
        self.words.send_modify(|words| {
            words.stderr.extend_from_slice(data);
            let surplus = words.stderr.len().saturating_sub(STDERR_TAIL);
            words.stderr.drain(..surplus);
        });
    }

    fn ended(&self, status: ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        let killed = status.signal().map(|signal| 128 + signal);
        self.words
            .send_modify(|words| words.exit_status = status.code().or(killed));
    }
}

async fn listen(mut stderr: ChildStderr, last: LastWords) {
    let mut data = vec![0; STDERR_TAIL];
    while let Ok(read) = stderr.read(&mut data).await {
        match data.get(..read) {
            Some(part) if !part.is_empty() => last.add(part),
            _ => return,
        }
    }
}

impl HelperCommand {
    /// Starts the program at `path` in a session of its own. `host` is this program, which makes the session.
    pub fn start(&self, path: &Path, host: &Path) -> Result<HelperProgram, HelperError> {
        let mut command = Command::from(exec::in_new_session(host, path));
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let run = |source| HelperError::Run {
            program: path.to_owned(),
            source,
        };
        let mut child = command.spawn().map_err(run)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(run(io::ErrorKind::BrokenPipe.into()));
        };
        let last = LastWords::of(self.program);
        let listening = tokio::spawn(listen(stderr, last.clone()));
        Ok(HelperProgram {
            program: self.program,
            stdin: Some(stdin),
            stdout,
            life: Life::Running(child, listening),
            last,
        })
    }
}

/// A running helper program as a stream. Dropping it ends the program: its pipes are closed,
/// then SIGTERM, then SIGKILL; at once SIGKILL for one that has closed its output and does not end.
pub struct HelperProgram {
    program: &'static str,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    life: Life,
    last: LastWords,
}

enum Life {
    Running(Child, tokio::task::JoinHandle<()>),
    Ending(BoxFuture<'static, io::Result<()>>),
    Ended,
}

impl HelperProgram {
    /// What is known of it once it has ended.
    pub fn last_words(&self) -> LastWords {
        self.last.clone()
    }

    /// At the end of its output: how it ended.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Life::Running(..) = self.life
            && let Life::Running(child, listening) = std::mem::replace(&mut self.life, Life::Ended)
        {
            self.stdin = None;
            self.life = Life::Ending(Box::pin(end(self.program, child, listening, self.last.clone())));
        }
        let Life::Ending(ending) = &mut self.life else {
            return Poll::Ready(Ok(()));
        };
        let ended = ready!(ending.as_mut().poll(cx));
        self.life = Life::Ended;
        Poll::Ready(ended)
    }
}

async fn end(
    program: &'static str,
    mut child: Child,
    listening: tokio::task::JoinHandle<()>,
    last: LastWords,
) -> io::Result<()> {
    let status = tokio::time::timeout(EXIT_LIMIT, child.wait()).await;
    let _ = tokio::time::timeout(Duration::from_millis(200), listening).await;
    let words = match status {
        Ok(Ok(status)) => {
            last.ended(status);
            if status.success() {
                return Ok(());
            }
            status.to_string()
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => format!("no exit within {EXIT_LIMIT:?} of its end of stream"),
    };
    Err(io::Error::other(HelperError::Ended {
        program,
        status: words,
        stderr: last.stderr(),
    }))
}

impl Drop for HelperProgram {
    fn drop(&mut self) {
        self.stdin = None;
        let Life::Running(child, _) = std::mem::replace(&mut self.life, Life::Ended) else {
            return;
        };
        // Without a runtime the child is killed as it is dropped.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(terminate(child, self.last.clone()));
        }
    }
}

async fn terminate(mut child: Child, last: LastWords) {
    // Not waited for yet, so the id is still its own.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if let Ok(Ok(status)) = tokio::time::timeout(KILL_AFTER, child.wait()).await {
        last.ended(status);
    }
}

impl AsyncRead for HelperProgram {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Life::Running(..) = self.life {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stdout).poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_end(cx)
    }
}

impl AsyncWrite for HelperProgram {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
