//! Which file of the store is where, and the modes and owner they get.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::owner::Owner;
use crate::fs::{self, FileError, PRIVATE_DIR, PRIVATE_FILE};

/// The folders of the store below its root.
///
/// Everything but `bkhost/` is shared with buildx. What buildx cannot load must not appear in `instances/`, and
/// temporary files must not appear in any folder that buildx lists, so both live below `bkhost/`.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    owner: Option<Owner>,
}

/// Hex digits of the hash that name a default-builder file.
const DEFAULT_HASH_DIGITS: usize = 20;

impl Layout {
    /// The layout below `root`; what is created gets `owner`, if there is one.
    pub fn new(root: impl Into<PathBuf>, owner: Option<Owner>) -> Self {
        Self {
            root: root.into(),
            owner,
        }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Instance files that buildx can load.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// Instance files of drivers that buildx does not know.
    pub fn own_instances(&self) -> PathBuf {
        self.own().join("instances")
    }

    /// Options that only bkhost knows, for builders in [`Layout::instances`].
    pub fn own_options(&self) -> PathBuf {
        self.own().join("options")
    }

    /// Where temporary files are made.
    pub fn staging(&self) -> PathBuf {
        self.own().join("tmp")
    }

    /// The selection of the current builder, as buildx sees it.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The selection of a builder that buildx cannot load.
    pub fn own_current(&self) -> PathBuf {
        self.own().join("current")
    }

    /// The default builder of a docker endpoint `key`.
    pub fn default_of(&self, key: &str) -> PathBuf {
        self.root.join("defaults").join(default_file(key))
    }

    /// The default builder of `key` when buildx cannot load it.
    pub fn own_default_of(&self, key: &str) -> PathBuf {
        self.own().join("defaults").join(default_file(key))
    }

    /// Time of last use of `builder`, spelled as in its record.
    pub fn activity(&self, builder: &str) -> PathBuf {
        self.root.join("activity").join(builder)
    }

    /// Local state of builds.
    pub fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// The lock of the whole store.
    pub fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    /// The identity of this client.
    pub fn node_id(&self) -> PathBuf {
        self.root.join(".buildNodeID")
    }

    /// The user's default buildkitd configuration for `create`.
    pub fn default_daemon_config(&self) -> PathBuf {
        self.root.join("buildkitd.default.toml")
    }

    /// The user's scoped registry configurations.
    pub fn scoped_configs(&self) -> PathBuf {
        self.root.join("config")
    }

    /// Key-value state that a driver keeps with a node; `builder` and `node` are lower case.
    pub fn driver_state(&self, builder: &str, node: &str) -> PathBuf {
        self.driver_states(builder).join(format!("{node}.json"))
    }

    /// The folder with the driver state of all nodes of a builder.
    pub fn driver_states(&self, builder: &str) -> PathBuf {
        self.own().join("state").join(builder)
    }

    fn own(&self) -> PathBuf {
        self.root.join("bkhost")
    }

    /// Whom the store belongs to, if that is not simply who uses it.
    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Creates `folder` and its missing parents, private to the owner. A folder of the store that is there already, and
    /// that root once made, is given to the owner.
    pub fn make_folder(&self, folder: &Path) -> Result<(), FileError> {
        fs::create_dir_all_for(folder, PRIVATE_DIR, self.owner)?;
        folder
            .ancestors()
            .take_while(|ancestor| ancestor.starts_with(&self.root))
            .try_for_each(|ancestor| self.give(ancestor))
    }

    /// Replaces a file of the store, making its folder if needed.
    pub fn write(&self, path: &Path, data: &[u8]) -> Result<(), FileError> {
        self.write_with_mode(path, data, PRIVATE_FILE)
    }

    /// Like [`Layout::write`] with another mode than 0600.
    pub fn write_with_mode(&self, path: &Path, data: &[u8], mode: u32) -> Result<(), FileError> {
        if let Some(parent) = path.parent() {
            self.make_folder(parent)?;
        }
        let staging = self.staging();
        self.make_folder(&staging)?;
        fs::write_atomic(path, &staging, data, mode)?;
        self.give(path)
    }

    /// Removes a file; one that does not exist is no error.
    pub fn remove_file(&self, path: &Path) -> Result<(), FileError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a folder with all it holds; one that does not exist is no error.
    pub fn remove_folder(&self, path: &Path) -> Result<(), FileError> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Gives a path to the user who called sudo, if the store is theirs.
    pub fn give(&self, path: &Path) -> Result<(), FileError> {
        match self.owner {
            Some(owner) => owner.give(path),
            None => Ok(()),
        }
    }
}

fn default_file(key: &str) -> String {
    let mut hash = hex(&Sha256::digest(key.as_bytes()));
    hash.truncate(DEFAULT_HASH_DIGITS);
    hash
}

/// Lower-case hex digits of `data`.
pub fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_file_is_named_by_the_hash_of_its_key() {
        let layout = Layout::new("/s", None);
        assert_eq!(
            layout.default_of("unix:///var/run/docker.sock"),
            Path::new("/s/defaults/13c4025c96f36e94b348"),
            "as buildx 0.37.1 names it"
        );
    }
}
