//! What can go wrong between a command and its daemon.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::causes;
use crate::fs::FileError;

/// A failure to start, find, stop or remove a daemon.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder that must be private to the user is not.
    #[error("Folder `{path}` cannot be trusted: {why}", path = path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No folder is short enough for a socket.
    #[error("Socket path `{path}` is longer than {limit} bytes", path = path.display(), limit = super::paths::SOCKET_PATH_LIMIT)]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody held a lock for too long.
    #[error("Waited {waited:?} for the lock `{path}`", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A daemon of this node runs already.
    #[error("A daemon of this node is running already (process {pid})")]
    Running {
        /// Its process.
        pid: u32,
    },
    /// Another keeper uses the state folder.
    #[error("State folder `{path}` is in use by the daemon of another builder", path = path.display())]
    StateInUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The state folder is not one that this program made.
    #[error("State folder `{path}` was not made by bkhost and is not removed", path = path.display())]
    Unmarked {
        /// The state folder.
        path: PathBuf,
    },
    /// Something of a state folder could not be removed.
    #[error("Failed to remove state folder `{path}`: {why}", path = path.display())]
    NotRemoved {
        /// The state folder.
        path: PathBuf,
        /// What failed, in words.
        why: String,
    },
    /// The keeper itself failed to start or to answer.
    #[error("The keeper of the daemon failed: {why}")]
    Keeper {
        /// Its words.
        why: String,
    },
    /// The keeper or the daemon did not do in time what it was asked.
    #[error("The daemon (process {pid}) did not stop within {waited:?}")]
    NotStopped {
        /// The daemon's process.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A program is named that cannot be run.
    #[error("`{path}` cannot be run: {why}", path = path.display())]
    NotRunnable {
        /// The program as it was named.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name or path that a driver may not use.
    #[error("`{name}` is not allowed here: {why}")]
    NotAllowed {
        /// What was named.
        name: String,
        /// The rule.
        why: &'static str,
    },
}

impl KeeperError {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            // Root's folder is where it is, whatever the environment says.
            Self::Untrusted { path, .. } if path.starts_with("/run/bkhost") => Some(format!(
                "If nobody else has been in `{}`, `chown root` and `chmod 0700` it, or else remove it",
                path.display()
            )),
            Self::Untrusted { path, .. } => Some(format!(
                "Remove `{}`, or set `XDG_RUNTIME_DIR` to a folder that only you can enter",
                path.display()
            )),
            Self::TooLong { .. } => Some("Set `XDG_RUNTIME_DIR` to a folder with a shorter path".to_owned()),
            Self::StateInUse { .. } => {
                Some("Give the builder a state folder of its own with `--driver-opt root=PATH`".to_owned())
            }
            Self::Unmarked { path } => Some(format!(
                "Remove `{}` by hand if nothing else uses it",
                path.display()
            )),
            Self::NotRemoved { path, .. } => Some(format!(
                "Files of a rootless daemon belong to mapped users: run `rootlesskit rm -rf {}`",
                path.display()
            )),
            _ => None,
        }
    }

    /// Wraps a failure of the keeper.
    pub fn keeper(why: impl std::fmt::Display) -> Self {
        Self::Keeper { why: why.to_string() }
    }
}

/// A failure as the keeper tells it to the command that started it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// A daemon of this node runs already.
    Running(u32),
    /// Another keeper uses the state folder.
    StateInUse(PathBuf),
    /// Anything else, in words.
    Failed(String),
}

impl From<Refusal> for KeeperError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Running(pid) => Self::Running { pid },
            Refusal::StateInUse(path) => Self::StateInUse { path },
            Refusal::Failed(why) => Self::Keeper { why },
        }
    }
}

impl From<KeeperError> for Refusal {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Running { pid } => Self::Running(pid),
            KeeperError::StateInUse { path } => Self::StateInUse(path),
            other => Self::Failed(causes::one_line(&other)),
        }
    }
}
