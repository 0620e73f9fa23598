//! What is known of a daemon, in one file that is replaced as a whole: its process, how it was started, how it ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::process::Identity;
use crate::fs::{FileError, PRIVATE_FILE, read_if_exists, write_beside};

/// Name of the file in the runtime folder.
pub const FILE: &str = "keeper.json";
/// Version of the format. Readers ignore keys they do not know.
const SCHEMA: u32 = 1;

/// A daemon, running or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    schema: u32,
    /// The daemon's process.
    pub process: Identity,
    /// Its socket, if it has one.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Words that tell two launches apart.
    #[serde(default)]
    pub fingerprint: String,
    /// Nanoseconds without use after which it is stopped; 0 means never.
    pub idle_timeout: u64,
    /// Nanoseconds since 1970.
    pub started_at: u64,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

impl Record {
    /// The record of a daemon that was just started.
    pub fn new(process: Identity, launch: &super::launch::Launch) -> Self {
        Self {
            schema: SCHEMA,
            process,
            socket: launch.socket.clone(),
            fingerprint: launch.fingerprint.clone(),
            idle_timeout: launch.idle_timeout,
            started_at: nanoseconds(SystemTime::now()),
            end: None,
        }
    }

    /// Reads the record of a runtime folder; `None` when there is none, or one that cannot be understood: it then
    /// tells nothing about any process.
    pub fn read(folder: &Path) -> Result<Option<Self>, FileError> {
        let data = read_if_exists(&folder.join(FILE))?;
        Ok(data.and_then(|data| serde_json::from_slice(&data).ok()))
    }

    /// Replaces the record.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        let path = folder.join(FILE);
        let data = serde_json::to_vec(self).map_err(|error| FileError::io("write", &path)(error.into()))?;
        write_beside(&path, &data, PRIVATE_FILE)
    }
}

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that killed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Nanoseconds since 1970; 0 when nobody saw it.
    pub ended_at: u64,
    /// Last lines of its log.
    #[serde(default)]
    pub log: String,
}

/// Why a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Stopped by the keeper: nobody used it.
    Idle,
    /// Stopped by a command, or by a signal to the keeper.
    Stopped,
    /// By itself, or by somebody else's signal.
    Exited,
    /// The keeper was killed, and the daemon ended with it.
    KeeperLost,
}

impl Reason {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::KeeperLost => "keeper-lost",
        }
    }
}

impl End {
    /// The end of a daemon whose keeper was killed: only its log is left.
    pub fn keeper_lost(log: String) -> Self {
        Self {
            reason: Reason::KeeperLost,
            exit_code: None,
            signal: None,
            ended_at: 0,
            log,
        }
    }

    /// The pairs that the contract documents.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = vec![("reason".to_owned(), self.reason.word().to_owned())];
        if let Some(code) = self.exit_code {
            pairs.push(("exit-code".to_owned(), code.to_string()));
        }
        if let Some(signal) = self.signal {
            pairs.push(("signal".to_owned(), signal.to_string()));
            pairs.push(("signal-name".to_owned(), signal_name(signal)));
        }
        if self.ended_at > 0 {
            pairs.push(("ended-at".to_owned(), self.ended_at.to_string()));
        }
        pairs
    }
}

/// `SIGKILL` for 9; numbers differ between architectures above 15, these do not.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// Nanoseconds since 1970.
pub fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos()
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::launch::Launch;

    #[test]
    fn a_record_is_read_back_and_garbage_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Record::read(dir.path()).unwrap().is_none());
        let me = Identity::of(std::process::id()).unwrap();
        let mut record = Record::new(me, &Launch::new("/bin/true"));
        record.end = Some(End {
            signal: Some(9),
            ..End::keeper_lost("last".to_owned())
        });
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(Record::read(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_signal_is_told_by_number_and_name() {
        let end = End {
            reason: Reason::Exited,
            signal: Some(9),
            ..End::keeper_lost(String::new())
        };
        let pairs = end.pairs();
        assert!(pairs.contains(&("signal".to_owned(), "9".to_owned())));
        assert!(pairs.contains(&("signal-name".to_owned(), "SIGKILL".to_owned())));
    }
}
