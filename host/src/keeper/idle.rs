//! When a daemon is stopped for want of use.
//!
//! A user of the daemon holds `use.lock` shared. The keeper stops the daemon only while it holds that lock alone, and
//! keeps it until the end is recorded: who comes meanwhile waits for the lock, finds an ended daemon, and starts another.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::active::ActiveBuilds;
use super::control::Stop;
use super::locks::{self, Lock};
use super::record::Reason;
use crate::fs::LockMode;

/// Name of the lock in the runtime folder.
pub const USE_LOCK: &str = "use.lock";
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Shortest pause between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// How long the daemon may take to say whether builds run; a build that arrives waits as long.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often in a row the daemon may fail to say it before it counts as unused: nobody holds a lease on it.
const UNANSWERED_LIMIT: u32 = 3;
/// How long an idle daemon may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Watches the use of one daemon.
#[derive(Debug)]
pub struct Watch {
    lock: PathBuf,
    socket: Option<PathBuf>,
    timeout: Duration,
    programs: Vec<PathBuf>,
    active: ActiveBuilds,
    last_use: SystemTime,
    unanswered: u32,
}

impl Watch {
    /// A watch that begins now.
    pub fn new(folder: &Path, socket: Option<PathBuf>, timeout: Duration, active: ActiveBuilds) -> Self {
        Self {
            lock: folder.join(USE_LOCK),
            socket,
            timeout,
            programs: Vec::new(),
            active,
            last_use: SystemTime::now(),
            unanswered: 0,
        }
    }

    /// The same watch of a daemon that needs these programs: it is of no more use when one is gone, by an update or with a
    /// checkout, and stopped as soon as nobody uses it. The next build starts one that works.
    pub fn needing(self, programs: Vec<PathBuf>) -> Self {
        Self { programs, ..self }
    }

    /// Orders the stop once the daemon is idle, and ends.
    pub async fn run(mut self, orders: mpsc::Sender<Stop>) {
        let pause = (self.timeout / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            tokio::time::sleep(pause).await;
            if let Some(lock) = self.look().await {
                let order = Stop {
                    reason: Reason::Idle,
                    grace: GRACE,
                    hold: Some(lock),
                };
                let _ = orders.send(order).await;
                return;
            }
        }
    }

    /// One look: the lock, held alone, when the daemon must be stopped.
    async fn look(&mut self) -> Option<Lock> {
        // A file system that cannot lock must not end in a daemon that is stopped under a build.
        let Some(lock) = locks::try_acquire(&self.lock, LockMode::Exclusive).ok()? else {
            self.last_use = SystemTime::now();
            return None;
        };
        if let Some(marked) = locks::last_use(&self.lock) {
            self.last_use = self.last_use.max(marked);
        }
        let unused = SystemTime::now()
            .duration_since(self.last_use)
            .unwrap_or_default();
        let is_whole = || self.programs.iter().all(|path| path.try_exists().unwrap_or(true));
        if (unused < self.timeout && is_whole()) || self.is_building().await {
            return None;
        }
        Some(lock)
    }

    async fn is_building(&mut self) -> bool {
        let Some(socket) = self.socket.clone() else {
            return false;
        };
        match tokio::time::timeout(ANSWER_LIMIT, self.active.count(socket)).await {
            Ok(Some(0)) => false,
            Ok(Some(_)) => {
                self.unanswered = 0;
                self.last_use = SystemTime::now();
                true
            }
            Ok(None) | Err(_) => {
                self.unanswered += 1;
                self.unanswered < UNANSWERED_LIMIT
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn watch(folder: &Path, active: ActiveBuilds) -> Watch {
        let mut watch = Watch::new(folder, Some(folder.join("s")), Duration::from_secs(60), active);
        watch.last_use = SystemTime::UNIX_EPOCH;
        locks::try_acquire(&watch.lock, LockMode::Shared).unwrap();
        let file = std::fs::File::options().write(true).open(&watch.lock).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        watch
    }

    #[tokio::test]
    async fn an_unused_daemon_is_stopped_under_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(dir.path(), ActiveBuilds::leases_only());
        let held = watch.look().await.unwrap();
        assert!(locks::is_held(held.path()));
    }

    #[tokio::test]
    async fn a_daemon_that_misses_a_program_need_not_be_idle_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("runc");
        std::fs::write(&program, "").unwrap();
        let mut watch = watch(dir.path(), ActiveBuilds::leases_only()).needing(vec![program.clone()]);
        watch.last_use = SystemTime::now();
        assert!(watch.look().await.is_none());
        std::fs::remove_file(&program).unwrap();
        let lease = locks::try_acquire(&watch.lock, LockMode::Shared).unwrap();
        assert!(watch.look().await.is_none(), "somebody uses it");
        drop(lease);
        assert!(watch.look().await.is_some());
    }

    #[tokio::test]
    async fn a_lease_counts_also_after_it_was_released() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(dir.path(), ActiveBuilds::leases_only());
        let lease = locks::try_acquire(&watch.lock, LockMode::Shared)
            .unwrap()
            .unwrap();
        assert!(watch.look().await.is_none());
        watch.last_use = SystemTime::UNIX_EPOCH;
        drop(lease.marking_use());
        assert!(watch.look().await.is_none());
    }

    #[tokio::test]
    async fn a_build_without_a_lease_counts() {
        let dir = tempfile::tempdir().unwrap();
        let builds = Arc::new(AtomicUsize::new(1));
        let seen = builds.clone();
        let active = ActiveBuilds::new(move |_| std::future::ready(Some(seen.load(Ordering::SeqCst))));
        let mut watch = watch(dir.path(), active);
        assert!(watch.look().await.is_none());
        builds.store(0, Ordering::SeqCst);
        assert!(watch.look().await.is_none(), "the build ended just now");
        watch.last_use = SystemTime::UNIX_EPOCH;
        assert!(watch.look().await.is_some());
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_answer_is_asked_again_before_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(dir.path(), ActiveBuilds::new(|_| std::future::ready(None)));
        assert!(watch.look().await.is_none());
        assert!(watch.look().await.is_none());
        assert!(watch.look().await.is_some());
    }
}
