//! What commands ask a living keeper: one line of JSON each way, on a socket of the runtime folder.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::error::KeeperError;
use super::record::{End, Reason};
use crate::duration::shown;
use crate::fs::FileError;

/// Name of the socket in the runtime folder.
pub const SOCKET: &str = "control.sock";
/// Longest line of either side: an end carries 64 KiB of log.
const LINE_LIMIT: u64 = 1 << 20;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question of a command.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Answered at once.
    Status,
    /// Stops the daemon: SIGTERM, and SIGKILL after so many milliseconds. Answered with its end.
    Stop(u64),
    /// Answered with the daemon's end, whenever that comes.
    Wait,
}

/// The keeper's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The daemon runs.
    Running {
        /// Its process.
        pid: u32,
    },
    /// The daemon has ended so.
    Ended(End),
}

/// An order to the keeper's main loop.
#[derive(Debug)]
pub struct Stop {
    /// What is recorded as the reason.
    pub reason: Reason,
    /// How long it may take to end by itself.
    pub grace: Duration,
    /// Released when the end is recorded.
    pub hold: Option<super::locks::Lock>,
}

/// What the control socket knows of the daemon.
#[derive(Clone, Debug)]
pub struct View {
    /// The daemon's process.
    pub pid: u32,
    /// How it ended, once it has.
    pub end: watch::Receiver<Option<End>>,
    /// Where orders go.
    pub orders: mpsc::Sender<Stop>,
}

/// Listens in `folder`; a socket that a killed keeper left is replaced.
pub fn listen(folder: &Path) -> Result<UnixListener, FileError> {
    let path = folder.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(FileError::io("listen on", &path))?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(crate::fs::PRIVATE_FILE);
    std::fs::set_permissions(&path, private).map_err(FileError::io("set the mode of", &path))?;
    Ok(listener)
}

/// Serves for ever; `answers` tells when all questions are answered.
pub async fn serve(listener: UnixListener, view: View, answers: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                answers.spawn(answer_one(stream, view.clone()));
            }
            // Out of files, perhaps: the daemon matters more than the question.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer_one(mut stream: UnixStream, view: View) {
    if !is_trusted(&stream) {
        return;
    }
    let Ok(Some(request)) = tokio::time::timeout(PATIENCE, read_line(&mut stream)).await else {
        return;
    };
    let answer = respond(request, view).await;
    let _ = write_line(&mut stream, &answer).await;
}

/// The same user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let me = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == me || peer.uid() == 0)
}

async fn respond(request: Request, mut view: View) -> Answer {
    match request {
        Request::Status => {
            if let Some(end) = view.end.borrow().clone() {
                return Answer::Ended(end);
            }
            return Answer::Running { pid: view.pid };
        }
        Request::Stop(grace) => {
            let order = Stop {
                reason: Reason::Stopped,
                grace: Duration::from_millis(grace),
                hold: None,
            };
            // A keeper that is past its loop has an end to tell.
            let _ = view.orders.send(order).await;
        }
        Request::Wait => {}
    }
    match view.end.wait_for(Option::is_some).await.map(|end| end.clone()) {
        Ok(Some(end)) => Answer::Ended(end),
        _ => Answer::Running { pid: view.pid },
    }
}

/// Asks the keeper of `folder`; `None` when none listens.
pub async fn ask(folder: &Path, request: Request, timeout: Duration) -> Result<Option<Answer>, KeeperError> {
    let path = folder.join(SOCKET);
    match tokio::time::timeout(timeout, ask_at(&path, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(KeeperError::keeper(format!(
            "it did not answer within {}",
            shown(timeout)
        ))),
    }
}

async fn ask_at(path: &Path, request: Request) -> Result<Option<Answer>, KeeperError> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(FileError::io("connect to", path)(error).into()),
    };
    if write_line(&mut stream, &request).await.is_err() {
        return Ok(None);
    }
    // A keeper that ends without an answer is as good as none.
    Ok(read_line(&mut stream).await)
}

fn is_nobody(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

async fn read_line<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> Option<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_LIMIT))
        .read_until(b'\n', &mut line)
        .await
        .ok()?;
    serde_json::from_slice(&line).ok()
}

async fn write_line<T: Serialize>(stream: &mut UnixStream, value: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}
