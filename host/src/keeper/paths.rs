//! Which folder is where: sockets and locks, the daemon's state, programs of our own.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::KeeperError;
use crate::fs::{FileError, PRIVATE_DIR};

/// Longest path of a unix socket: `sun_path` has 108 bytes with the closing zero.
pub const SOCKET_PATH_LIMIT: usize = 107;
/// Longest name of a socket in a runtime folder.
pub const SOCKET_NAME_LIMIT: usize = 24;
/// Bytes of the digest in the name of a runtime folder.
const HASH_BYTES: usize = 8;

/// Variables of the environment that say where folders are.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub data: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub cache: Option<PathBuf>,
}

impl Variables {
    /// Those of this process. Paths that are not absolute are ignored, as the XDG rules ask.
    pub fn of_process() -> Self {
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Self {
            home: folder("HOME").or_else(home_of_user),
            runtime: folder("XDG_RUNTIME_DIR"),
            data: folder("XDG_DATA_HOME"),
            cache: folder("XDG_CACHE_HOME"),
        }
    }

    /// Folder of what can be made again: `$XDG_CACHE_HOME/bkhost`.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        Some(self.or_home(&self.cache, ".cache")?.join("bkhost"))
    }

    /// Folder of the state of daemons, one folder for each node: `/var/lib/bkhost` as root, `$XDG_DATA_HOME/bkhost`
    /// otherwise.
    pub fn data_folder(&self, uid: u32) -> Option<PathBuf> {
        if uid == 0 {
            return Some(PathBuf::from("/var/lib/bkhost"));
        }
        Some(self.or_home(&self.data, ".local/share")?.join("bkhost"))
    }

    /// Folder below which runtime folders are made: `/run/bkhost` as root, `$XDG_RUNTIME_DIR/bkhost` or a private folder
    /// in `/tmp` otherwise.
    ///
    /// Commands of one user must agree on it, whether they come from a login or from a timer: without
    /// `XDG_RUNTIME_DIR`, what a login would have set it to is tried before `/tmp`.
    pub fn runtime_folder(&self, uid: u32) -> PathBuf {
        if uid == 0 {
            return PathBuf::from("/run/bkhost");
        }
        let login = PathBuf::from(format!("/run/user/{uid}"));
        for base in self.runtime.iter().chain([&login]) {
            let folder = base.join("bkhost");
            // A folder of another user is what `su` leaves in the environment.
            if check_private(base, uid).is_ok() && fits_sockets(&folder) {
                return folder;
            }
        }
        PathBuf::from(format!("/tmp/bkhost-{uid}"))
    }

    fn or_home(&self, folder: &Option<PathBuf>, default: &str) -> Option<PathBuf> {
        folder
            .clone()
            .or_else(|| self.home.as_ref().map(|home| home.join(default)))
    }
}

/// The user's home as the machine knows it, for a process without `HOME`, as services and containers have it.
fn home_of_user() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// Whether a socket in a runtime folder below `base` has a path that is short enough.
fn fits_sockets(base: &Path) -> bool {
    base.as_os_str().len() + 1 + 2 * HASH_BYTES + 1 + SOCKET_NAME_LIMIT <= SOCKET_PATH_LIMIT
}

/// The user, and where their programs are.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Effective user id.
    pub uid: u32,
    /// `PATH`.
    pub path: Option<OsString>,
    /// Folder of programs that this tool put there itself.
    pub programs: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let cache = Variables::of_process().cache_folder();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            path: std::env::var_os("PATH"),
            programs: cache.map(|cache| cache.join("bin")),
        }
    }

    /// Whether the user is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// Whose daemon it is: that of one state folder, as a digest that is safe in names.
///
/// There can be one daemon on a state folder only, so builders that name the same one, in whatever store, meet at the
/// same daemon instead of at its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// The owner of the daemon on the state folder at `state`.
    pub fn of(state: &Path) -> Self {
        // `/state/` and `/state/.` are the same folder.
        let plain: PathBuf = state.components().collect();
        let digest = Sha256::digest(plain.as_os_str().as_encoded_bytes());
        let name = digest
            .iter()
            .take(HASH_BYTES)
            .fold(String::new(), |mut name, byte| {
                use std::fmt::Write;
                // Writing to a string cannot fail.
                let _ = write!(name, "{byte:02x}");
                name
            });
        Self(name)
    }

    /// The digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A folder for sockets, locks and records, private to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFolder {
    base: PathBuf,
    path: PathBuf,
}

impl RuntimeFolder {
    /// The folder of `owner` below `base`, which is private to the user as well.
    pub fn below(base: impl Into<PathBuf>, owner: &Owner) -> Self {
        let base = base.into();
        let path = base.join(owner.as_str());
        Self { base, path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it with mode 0700 and checks that it and its parent belong to the user alone.
    pub fn create(&self, uid: u32) -> Result<(), KeeperError> {
        if !fits_sockets(&self.base) {
            return Err(KeeperError::TooLong {
                path: self.path.clone(),
            });
        }
        for folder in [&self.base, &self.path] {
            create_private(folder)?;
            check_private(folder, uid)?;
        }
        Ok(())
    }

    /// Whether it is there and can be trusted; an untrusted one is an error.
    pub fn check(&self, uid: u32) -> Result<bool, KeeperError> {
        for folder in [&self.base, &self.path] {
            if std::fs::symlink_metadata(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                return Ok(false);
            }
            check_private(folder, uid)?;
        }
        Ok(true)
    }

    /// Removes the folder itself, and the folder of all of them if that was the last.
    pub fn remove(&self) -> Result<(), FileError> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::io("remove", &self.path)(error));
            }
            _ => {}
        }
        // Others may be in it.
        let _ = std::fs::remove_dir(&self.base);
        Ok(())
    }
}

fn create_private(folder: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(PRIVATE_DIR).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(FileError::io("create folder", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Checks that `folder` is a folder (no link to one) that only the user `uid` can enter.
fn check_private(folder: &Path, uid: u32) -> Result<(), KeeperError> {
    let metadata = std::fs::symlink_metadata(folder).map_err(FileError::io("read", folder))?;
    let why = if !metadata.is_dir() {
        "it is not a folder".to_owned()
    } else if metadata.uid() != uid {
        format!("it belongs to user {}, not to user {uid}", metadata.uid())
    } else if metadata.mode() & 0o077 != 0 {
        format!("its mode is {:04o}, not 0700", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(KeeperError::Untrusted {
        path: folder.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn owner() -> Owner {
        Owner::of(Path::new("/var/lib/bkhost/node0"))
    }

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn state_folders_have_runtime_folders_of_their_own() {
        let (one, other) = (owner(), Owner::of(Path::new("/var/lib/bkhost/node1")));
        assert_eq!(one.as_str().len(), 16);
        assert_eq!(one, Owner::of(Path::new("/var/lib/bkhost/./node0/")));
        assert_ne!(one, other);
    }

    #[test]
    fn a_runtime_folder_is_private_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("b");
        let folder = RuntimeFolder::below(&base, &owner());
        assert!(!folder.check(uid()).unwrap());
        folder.create(uid()).unwrap();
        folder.create(uid()).unwrap();
        assert!(folder.check(uid()).unwrap());
        let mode = std::fs::metadata(folder.path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        folder.remove().unwrap();
        assert!(!base.exists());
    }

    #[test]
    fn a_folder_that_others_can_enter_or_own_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("b");
        let folder = RuntimeFolder::below(&base, &owner());
        folder.create(uid()).unwrap();
        let error = folder.create(uid() + 1).unwrap_err();
        assert!(error.to_string().contains("belongs to user"), "{error}");
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = folder.check(uid()).unwrap_err();
        assert!(error.to_string().contains("mode is 0755"), "{error}");
    }

    #[test]
    fn a_link_to_a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("b");
        std::os::unix::fs::symlink(dir.path(), &base).unwrap();
        let error = RuntimeFolder::below(&base, &owner()).create(uid()).unwrap_err();
        assert!(matches!(error, KeeperError::Untrusted { .. }), "{error}");
    }

    #[test]
    fn sockets_fit_or_the_folder_moves_to_tmp() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(100));
        create_private(&long).unwrap();
        let error = RuntimeFolder::below(&long, &owner()).create(uid()).unwrap_err();
        assert!(matches!(error, KeeperError::TooLong { .. }), "{error}");
        assert!(fits_sockets(Path::new("/run/user/1000/bkhost")));
        assert!(!fits_sockets(&long));
        // A folder that is not private to this user: root's, or nobody's.
        let variables = Variables {
            runtime: Some(PathBuf::from("/usr")),
            ..Variables::default()
        };
        let nobody = 4_000_000;
        assert_eq!(variables.runtime_folder(nobody), Path::new("/tmp/bkhost-4000000"));
        assert_eq!(variables.runtime_folder(0), Path::new("/run/bkhost"));
    }

    #[test]
    fn defaults_follow_user_and_variables() {
        let user = Variables {
            home: Some("/home/u".into()),
            ..Variables::default()
        };
        assert_eq!(user.data_folder(0).unwrap(), Path::new("/var/lib/bkhost"));
        assert_eq!(
            user.data_folder(1000).unwrap(),
            Path::new("/home/u/.local/share/bkhost")
        );
        assert_eq!(user.cache_folder().unwrap(), Path::new("/home/u/.cache/bkhost"));
    }
}
