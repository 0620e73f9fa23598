//! The lock of the whole store, which buildx takes too.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fs::{FileError, FileLock, LockMode};

/// After this long the user is told what is being waited for.
const SILENT_WAIT: Duration = Duration::from_secs(2);
/// How often a taken lock is tried again before the user is told.
const RETRY: Duration = Duration::from_millis(20);

/// Takes the exclusive lock, waiting as long as it takes; `waiting` is called once after [`SILENT_WAIT`].
pub fn acquire(path: &Path, waiting: impl FnOnce(String)) -> Result<FileLock, FileError> {
    let told = Instant::now() + SILENT_WAIT;
    while Instant::now() < told {
        if let Some(lock) = FileLock::try_acquire(path, LockMode::Exclusive)? {
            return Ok(lock);
        }
        std::thread::sleep(RETRY);
    }
    waiting(format!(
        "Waiting for another process to finish with the builder store: `{}`",
        path.display()
    ));
    FileLock::acquire(path, LockMode::Exclusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_announced_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = acquire(&path, |_| panic!("The lock is free")).unwrap();
        let (sender, told) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || acquire(&path, |line| sender.send(line).unwrap()).map(drop)
        });
        let line = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(line.contains(".lock"), "{line}");
        drop(held);
        waiter.join().unwrap().unwrap();
    }
}
