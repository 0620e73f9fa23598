//! A node's daemon as a command sees it: running, or how it ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::KeeperError;
use super::process::Process;
use super::record::{End, Record};
use super::{locks, log, site};

/// How long a keeper may take to record the end of a daemon whose process is gone.
const RECORDING: Duration = Duration::from_secs(5);
/// Lines of the log that are told when no keeper saw the end.
const LAST_LINES: usize = 100;

/// A daemon, running or ended.
#[derive(Clone, Debug)]
pub struct Daemon {
    folder: PathBuf,
    record: Record,
    /// Open while it may be running; it cannot become another process.
    process: Option<Arc<Process>>,
}

impl Daemon {
    /// The daemon of a record.
    pub fn new(folder: &Path, record: Record) -> Result<Self, KeeperError> {
        let process = match record.end {
            Some(_) => None,
            None => record.process.open().map_err(KeeperError::keeper)?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            record,
            process: process.map(Arc::new),
        })
    }

    /// Whether its process runs.
    pub fn running(&self) -> bool {
        self.process().is_some_and(|process| !process.has_ended())
    }

    /// Its process, if it was running when this was made.
    pub fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }

    /// The runtime folder it belongs to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process id, to show.
    pub fn pid(&self) -> u32 {
        self.record.process.pid
    }

    /// When it was started, in nanoseconds since 1970.
    pub fn started_at(&self) -> u64 {
        self.record.started_at
    }

    /// Its socket; empty when it was started without one.
    pub fn socket(&self) -> &Path {
        self.record.socket.as_deref().unwrap_or(Path::new(""))
    }

    /// More facts: `fingerprint`, `idle-timeout` (nanoseconds), `log` (path).
    pub fn attributes(&self) -> Vec<(String, String)> {
        vec![
            ("fingerprint".to_owned(), self.record.fingerprint.clone()),
            ("idle-timeout".to_owned(), self.record.idle_timeout.to_string()),
            ("log".to_owned(), log::path(&self.folder).display().to_string()),
        ]
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        match &self.record.end {
            Some(end) if lines <= LAST_LINES && !end.log.is_empty() => tail_of(&end.log, lines),
            _ => log::tail(&self.folder, lines),
        }
    }

    /// Waits until its process has ended.
    pub async fn ended(&self) {
        let Some(process) = &self.process else {
            return;
        };
        if process.ended().await.is_err() {
            while !process.has_ended() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// How it ended, once it has: waits for the keeper to record it, and says so when the keeper is gone as well.
    pub async fn end(&self) -> Option<End> {
        if self.running() {
            return None;
        }
        if let Some(end) = &self.record.end {
            return Some(end.clone());
        }
        let begun = Instant::now();
        loop {
            // Asked first: a keeper that ends between the two questions has recorded the end.
            let kept = locks::is_held(&self.folder.join(site::KEEPER_LOCK));
            if let Some(end) = self.recorded_end() {
                return Some(end);
            }
            if !kept || begun.elapsed() > RECORDING {
                return Some(End::keeper_lost(log::tail(&self.folder, LAST_LINES)));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn recorded_end(&self) -> Option<End> {
        let record = Record::read(&self.folder).ok()??;
        (record.process == self.record.process).then_some(record.end)?
    }
}

fn tail_of(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let skipped = all.len().saturating_sub(lines);
    all.get(skipped..).unwrap_or_default().join("\n")
}
