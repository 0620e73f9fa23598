//! Folders for daemons and tests, and how they are got rid of.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Free memory that is left to daemons, in bytes.
const MEMORY_NEEDED: u64 = 4 << 30;

/// A new folder with a short name, because the path of a socket may have 108 bytes.
///
/// # Panics
///
/// When it cannot be made.
pub fn folder(prefix: &str) -> TempDir {
    let parent = roomy_memory().unwrap_or_else(std::env::temp_dir);
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(parent)
        .unwrap()
}

/// A file system in memory with room for several daemons: theirs sync often, and removing what they leave takes minutes
/// on a busy disk. Containers have 64 MiB there, which is not enough.
fn roomy_memory() -> Option<PathBuf> {
    let folder = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(folder).ok()?;
    let enough = room.f_bavail * room.f_frsize >= MEMORY_NEEDED;
    enough.then(|| folder.to_owned())
}

/// A killed daemon leaves the file systems of its steps mounted, and what is mounted cannot be removed.
pub fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for mount in below.filter(|mount| Path::new(mount).starts_with(folder)) {
        let _ = Command::new("umount").arg("-l").arg(mount).status();
    }
}
