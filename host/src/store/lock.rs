//! The lock of the whole store, which buildx takes too.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fs::{FileError, FileLock, LockMode};

/// After this long the user is told what is being waited for.
const SILENT_WAIT: Duration = Duration::from_secs(2);
/// How often a taken lock is tried again. Waiting inside the system call would leave the user without Ctrl-C.
const RETRY: Duration = Duration::from_millis(20);

/// Takes the exclusive lock if it is free.
pub fn try_acquire(path: &Path) -> Result<Option<FileLock>, FileError> {
    FileLock::try_acquire(path, LockMode::Exclusive)
}

/// Takes the exclusive lock, waiting as long as it takes; `waiting` is called once after [`SILENT_WAIT`].
pub async fn acquire(path: &Path, waiting: impl FnOnce(String)) -> Result<FileLock, FileError> {
    let started = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        if let Some(lock) = try_acquire(path)? {
            return Ok(lock);
        }
        if let Some(tell) = waiting.take_if(|_| started.elapsed() >= SILENT_WAIT) {
            tell(format!(
                "Waiting for another process to finish with the builder store: `{}`",
                path.display()
            ));
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_wait_is_announced_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = acquire(&path, |_| panic!("The lock is free")).await.unwrap();
        let (sender, told) = tokio::sync::oneshot::channel();
        let waiter = tokio::spawn({
            let path = path.clone();
            async move { acquire(&path, |line| sender.send(line).unwrap()).await.map(drop) }
        });
        let line = told.await.unwrap();
        assert!(line.contains(".lock"), "{line}");
        assert!(try_acquire(&path).unwrap().is_none());
        drop(held);
        waiter.await.unwrap().unwrap();
    }
}
