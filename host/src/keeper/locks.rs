//! Locks among commands and keepers, on files that may be removed while somebody waits for them.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::error::KeeperError;
use crate::fs::{FileError, LockMode, open_lock_file};

/// First and longest pause between two tries; a queue of the kernel could not be left at a timeout.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A held lock (`flock`). Released on drop, and by the kernel when the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// Whether taking and releasing it are marked in the file's time of change.
    marks_use: bool,
}

impl Lock {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its file is still what others find at its path; if not, they take another lock.
    pub fn is_found(&self) -> bool {
        is_still_there(&self.file, &self.path).unwrap_or(true)
    }

    /// The same lock, marking its file as used now and when it is released, so that a use which is shorter than the
    /// keeper's pause between two looks counts.
    pub fn marking_use(mut self) -> Self {
        self.marks_use = true;
        self.mark();
        self
    }

    fn mark(&self) {
        // A lease works without its mark; at worst the daemon stops a little early.
        let _ = self.file.set_modified(SystemTime::now());
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.marks_use {
            self.mark();
        }
    }
}

/// Takes the lock if it is free now; creates the file (mode 0600) if needed.
///
/// A file that was removed or replaced between opening and locking does not count: whoever holds the lock of a removed
/// file excludes nobody.
pub fn try_acquire(path: &Path, mode: LockMode) -> Result<Option<Lock>, FileError> {
    loop {
        let file = open_lock_file(path)?;
        let taken = match mode {
            LockMode::Shared => file.try_lock_shared(),
            LockMode::Exclusive => file.try_lock(),
        };
        match taken {
            Ok(()) if is_still_there(&file, path)? => {
                return Ok(Some(Lock {
                    file,
                    path: path.to_owned(),
                    marks_use: false,
                }));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(FileError::io("lock", path)(error)),
        }
    }
}

/// Takes the lock, waiting at most `timeout`.
pub async fn acquire(path: &Path, mode: LockMode, timeout: Duration) -> Result<Lock, KeeperError> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(lock) = try_acquire(path, mode)? {
            return Ok(lock);
        }
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(KeeperError::Locked {
                path: path.to_owned(),
                waited: timeout,
            });
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether somebody holds the lock exclusively; creates nothing.
pub fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// When the lock's file was last marked as used.
pub fn last_use(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn is_still_there(file: &File, path: &Path) -> Result<bool, FileError> {
    let held = file.metadata().map_err(FileError::io("read", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_at_the_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        let error = acquire(&path, LockMode::Shared, Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(matches!(error, KeeperError::Locked { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_lock_of_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let old = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        let waiter = {
            let path = path.clone();
            tokio::spawn(async move { acquire(&path, LockMode::Exclusive, Duration::from_secs(5)).await })
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        std::fs::remove_file(&path).unwrap();
        drop(old);
        let new = waiter.await.unwrap().unwrap();
        assert!(is_held(new.path()));
    }

    #[test]
    fn a_lease_marks_when_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lease = try_acquire(&path, LockMode::Shared)
            .unwrap()
            .unwrap()
            .marking_use();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        lease.file.set_modified(long_ago).unwrap();
        drop(lease);
        assert!(last_use(&path).unwrap() > long_ago);
    }
}
