//! Files that other processes read while we write: atomic replacement, locks, and errors that carry the path.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of files that only their owner may read.
pub const PRIVATE_FILE: u32 = 0o600;
/// Mode of folders that only their owner may enter.
pub const PRIVATE_DIR: u32 = 0o700;
/// Mode of files that a user asked for by name, such as a metadata file.
pub const PUBLIC_FILE: u32 = 0o644;

/// A failed file operation. The text names what was tried and where; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A system call failed.
    #[error("Failed to {action} `{path}`", path = path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `lock`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The destination of a write exists and is no regular file.
    #[error("Cannot write to `{path}`: it is {what}", path = path.display())]
    NotRegular {
        /// The destination.
        path: PathBuf,
        /// What it is, with its article: `a directory`.
        what: &'static str,
    },
}

impl FileError {
    /// Wraps the failure of a system call.
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        let Self::Io { source, path, .. } = self else {
            return None;
        };
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                "The disk of `{}` is full: free some space and try again",
                path.display()
            )),
            io::ErrorKind::PermissionDenied => {
                Some("Check the owner and mode of the path, or run as the user it belongs to".to_owned())
            }
            io::ErrorKind::NotADirectory => Some("A part of the path is no folder".to_owned()),
            io::ErrorKind::ReadOnlyFilesystem => Some("The file system is mounted read-only".to_owned()),
            _ => None,
        }
    }

    /// The kind of the system call's failure, if it was one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::NotRegular { .. } => None,
        }
    }
}

/// User and group that get what is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// One to give files to: somebody else where the tests run as root, who alone may give anything away.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        match rustix::process::geteuid() {
            root if root.is_root() => Self {
                uid: 12_345,
                gid: 12_346,
            },
            user => Self {
                uid: user.as_raw(),
                gid: rustix::process::getegid().as_raw(),
            },
        }
    }

    /// Gives `path` to this owner, unless it is theirs.
    pub fn give(self, path: &Path) -> Result<(), FileError> {
        let metadata = std::fs::symlink_metadata(path).map_err(FileError::io("read", path))?;
        if (metadata.uid(), metadata.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
            .map_err(FileError::io("change the owner of", path))
    }
}

/// Reads a whole file; `None` when it does not exist.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::io("read", path)(error)),
    }
}

/// Creates `path` and its missing parents with exactly `mode` each (the umask does not count). Existing folders are
/// left as they are.
pub fn create_dir_all(path: &Path, mode: u32) -> Result<(), FileError> {
    create_dir_all_for(path, mode, None)
}

/// Like [`create_dir_all`]; what is created is given to `owner`, if there is one.
pub fn create_dir_all_for(path: &Path, mode: u32, owner: Option<Owner>) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_all_for(parent, mode, owner)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(FileError::io("set the mode of", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) => Err(FileError::io("create folder", path)(error)),
    }?;
    owner.map_or(Ok(()), |owner| owner.give(path))
}

/// Replaces `path` by `data` with exactly `mode`, through a temporary file in `staging` on the same file system.
///
/// After a crash the file is either the old one or the new one, never a part; a left-over temporary file may stay in
/// `staging`. The data is synced before the rename; the rename itself is not, so a power failure may bring back the
/// old content.
pub fn write_atomic(path: &Path, staging: &Path, data: &[u8], mode: u32) -> Result<(), FileError> {
    refuse_special(path)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(staging)
        .map_err(FileError::io("create a temporary file in", staging))?;
    // Not the temporary file's own writer: its errors name a path that nobody knows.
    file.as_file_mut()
        .write_all(data)
        .map_err(FileError::io("write", path))?;
    file.as_file().sync_all().map_err(FileError::io("write", path))?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(FileError::io("set the mode of", path))?;
    file.persist(path)
        .map_err(|error| FileError::io("write", path)(error.error))?;
    Ok(())
}

/// Like [`write_atomic`] with the temporary file beside the destination, for files outside the store.
pub fn write_beside(path: &Path, data: &[u8], mode: u32) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    write_atomic(path, parent, data, mode)
}

/// Puts a symbolic link to `target` at `path`, in place of the file that may be there; at every moment one of them is.
pub fn replace_by_link(path: &Path, target: &Path) -> Result<(), FileError> {
    let link = named_beside(path, |name| std::os::unix::fs::symlink(target, name))?;
    link.persist(path)
        .map_err(|error| FileError::io("link", path)(error.error))
}

/// Gives the file at `path`, which may be a link, the name `aside` in the same folder as well, in place of what has that
/// name. Where a file can have one name only, it is moved.
pub fn keep_aside(path: &Path, aside: &Path) -> Result<(), FileError> {
    let Ok(second) = named_beside(aside, |name| std::fs::hard_link(path, name)) else {
        return rename(path, aside);
    };
    rename(&second, aside)
}

/// Moves a file to another name on the same file system, in place of what has that name.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::rename(from, to).map_err(FileError::io("move", from))?;
    // Two names of one file both stay.
    remove_file(from)
}

/// Removes a file or a link; one that is not there is removed already.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A new name in the folder of `path`, which `make` fills; it is gone when it is not given a lasting one.
fn named_beside(
    path: &Path,
    make: impl FnMut(&Path) -> io::Result<()>,
) -> Result<tempfile::TempPath, FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".tmp-").make_in(folder, make);
    made.map(tempfile::NamedTempFile::into_temp_path)
        .map_err(FileError::io("write", path))
}

fn refuse_special(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a named pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device file"
    };
    Err(FileError::NotRegular {
        path: path.to_owned(),
        what,
    })
}

/// An advisory whole-file lock (`flock`), released on drop or when the process ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// Whether others may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

impl FileLock {
    /// Takes the lock if it is free; `None` when somebody else has it. Creates the file (mode 0600) if needed.
    pub fn try_acquire(path: &Path, mode: LockMode) -> Result<Option<Self>, FileError> {
        let file = open_lock_file(path)?;
        let taken = match mode {
            LockMode::Shared => file.try_lock_shared(),
            LockMode::Exclusive => file.try_lock(),
        };
        match taken {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(FileError::io("lock", path)(error)),
        }
    }

    /// Takes the lock, waiting as long as it takes; blocks the thread. Creates the file (mode 0600) if needed.
    pub fn acquire(path: &Path, mode: LockMode) -> Result<Self, FileError> {
        let file = open_lock_file(path)?;
        match mode {
            LockMode::Shared => file.lock_shared(),
            LockMode::Exclusive => file.lock(),
        }
        .map_err(FileError::io("lock", path))?;
        Ok(Self { file })
    }

    /// Whether the file that is locked is the one at `path`.
    fn is_of(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(there)) = (self.file.metadata(), std::fs::symlink_metadata(path)) else {
            return false;
        };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino())
    }
}

/// An exclusive lock in a folder where nothing of it may stay: its file is there only while somebody has it.
#[derive(Debug)]
pub struct PassingLock {
    path: PathBuf,
    _lock: FileLock,
}

impl PassingLock {
    /// Takes the lock if it is free; `None` when somebody else has it or has just given it up. `owner` gets the file.
    pub fn try_acquire(path: &Path, owner: Option<Owner>) -> Result<Option<Self>, FileError> {
        let lock = FileLock::try_acquire(path, LockMode::Exclusive)?;
        // Who had it before has removed the file that was opened here, and another may be there already.
        let Some(lock) = lock.filter(|lock| lock.is_of(path)) else {
            return Ok(None);
        };
        let taken = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        owner.map_or(Ok(()), |owner| owner.give(path))?;
        Ok(Some(taken))
    }
}

impl Drop for PassingLock {
    fn drop(&mut self) {
        // A file that stays is a lock that is free.
        let _ = remove_file(&self.path);
    }
}

/// Opens the file of a lock, and creates it (mode 0600) if needed.
pub(crate) fn open_lock_file(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path)
        .map_err(FileError::io("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_keeps_the_exact_mode_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_beside(&path, b"one", PUBLIC_FILE).unwrap();
        write_beside(&path, b"two", PRIVATE_FILE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn special_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        let error = write_beside(&link, b"", PUBLIC_FILE).unwrap_err();
        assert!(matches!(
            error,
            FileError::NotRegular {
                what: "a symbolic link",
                ..
            }
        ));
    }

    #[test]
    fn a_link_takes_the_place_of_a_file_that_keeps_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "first").unwrap();
        std::fs::write(at("aside"), "older").unwrap();
        for _ in 0..2 {
            keep_aside(&at("file"), &at("aside")).unwrap();
        }
        replace_by_link(&at("file"), Path::new("/target")).unwrap();
        assert_eq!(std::fs::read_link(at("file")).unwrap(), Path::new("/target"));
        // A link that leads nowhere is kept as it is.
        keep_aside(&at("file"), &at("link")).unwrap();
        assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("/target"));
        rename(&at("aside"), &at("file")).unwrap();
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "first");
        remove_file(&at("link")).unwrap();
        remove_file(&at("link")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_exclusive_lock_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::acquire(&path, LockMode::Exclusive).unwrap();
        assert!(FileLock::try_acquire(&path, LockMode::Shared).unwrap().is_none());
        drop(held);
        assert!(
            FileLock::try_acquire(&path, LockMode::Exclusive)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_passing_lock_excludes_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let take = || PassingLock::try_acquire(&path, Some(Owner::for_tests())).unwrap();
        // Somebody who has opened the file before it went gets another one.
        let opened = open_lock_file(&path).unwrap();
        let held = take().unwrap();
        assert!(take().is_none());
        drop(held);
        assert!(!path.exists());
        opened.lock().unwrap();
        assert!(!FileLock { file: opened }.is_of(&path));
        assert!(take().is_some());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
