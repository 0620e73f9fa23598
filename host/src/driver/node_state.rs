//! The small memory that a driver keeps with a node, shared by all processes that use the builder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::fs::{self, FileError, FileLock, LockMode, Owner};

/// Keys of one node.
const KEYS: usize = 64;
/// Bytes of one key.
const KEY: usize = 64;
/// Bytes of one value.
const VALUE: usize = 16 << 10;
/// Version of the file's format.
const FORMAT: u32 = 1;

/// Why the memory of a node cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeStateError {
    /// The file or its lock.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what this program writes.
    #[error("The driver state in `{}` cannot be read", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is from a newer program.
    #[error("The driver state in `{}` has format {format}, which a newer bkhost wrote", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A rule of the contract.
    #[error("{0}")]
    Limit(String),
}

/// Where the state of one node is kept.
#[derive(Debug)]
pub(crate) enum NodeStore {
    /// In a file beside the builder's record.
    File(StateFile),
    /// Of a builder that is not stored: as long as the opened node lives.
    Memory(Mutex<BTreeMap<String, String>>),
}

/// The file of a node's state.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    owner: Option<Owner>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    format: u32,
    values: BTreeMap<String, String>,
}

impl NodeStore {
    /// The store of a node with this file, if it has one. What is created belongs to `owner`, if there is one.
    pub fn new(file: Option<&Path>, owner: Option<Owner>) -> Self {
        match file {
            Some(path) => Self::File(StateFile {
                path: path.to_owned(),
                owner,
            }),
            None => Self::Memory(Mutex::default()),
        }
    }

    /// The value of a key. Creates and changes nothing, so it works on a store that cannot be written.
    pub fn get(&self, key: &str) -> Result<Option<String>, NodeStateError> {
        match self {
            Self::File(file) => Ok(read(&file.path)?.remove(key)),
            Self::Memory(values) => Ok(lock(values).get(key).cloned()),
        }
    }

    /// Replaces the value if it still is `expected`; whether it was. Blocks the thread while another process does the
    /// same.
    pub fn swap(
        &self,
        key: &str,
        expected: Option<&str>,
        new: Option<String>,
    ) -> Result<bool, NodeStateError> {
        match self {
            Self::File(file) => file.swap(key, expected, new),
            Self::Memory(values) => swap_value(&mut lock(values), key, expected, new),
        }
    }
}

fn lock(values: &Mutex<BTreeMap<String, String>>) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateFile {
    fn swap(&self, key: &str, expected: Option<&str>, new: Option<String>) -> Result<bool, NodeStateError> {
        let path = &self.path;
        if let Some(parent) = path.parent() {
            fs::create_dir_all_for(parent, fs::PRIVATE_DIR, self.owner)?;
        }
        let lock = path.with_added_extension("lock");
        let _lock = FileLock::acquire(&lock, LockMode::Exclusive)?;
        self.give(&lock)?;
        let mut values = read(path)?;
        if !swap_value(&mut values, key, expected, new)? {
            return Ok(false);
        }
        let record = Record {
            format: FORMAT,
            values,
        };
        let data = serde_json::to_vec(&record).map_err(|source| NodeStateError::Broken {
            path: path.to_owned(),
            source,
        })?;
        fs::write_beside(path, &data, fs::PRIVATE_FILE)?;
        self.give(path)?;
        Ok(true)
    }

    fn give(&self, path: &Path) -> Result<(), FileError> {
        self.owner.map_or(Ok(()), |owner| owner.give(path))
    }
}

fn swap_value(
    values: &mut BTreeMap<String, String>,
    key: &str,
    expected: Option<&str>,
    new: Option<String>,
) -> Result<bool, NodeStateError> {
    if values.get(key).map(String::as_str) != expected {
        return Ok(false);
    }
    let Some(new) = new else {
        values.remove(key);
        return Ok(true);
    };
    if key.len() > KEY {
        return Err(NodeStateError::Limit(format!(
            "A key of the driver's state has more than {KEY} bytes"
        )));
    }
    if new.len() > VALUE {
        return Err(NodeStateError::Limit(format!(
            "The value of `{key}` in the driver's state has more than {VALUE} bytes"
        )));
    }
    if values.len() >= KEYS && !values.contains_key(key) {
        return Err(NodeStateError::Limit(format!(
            "The driver's state has more than {KEYS} keys"
        )));
    }
    values.insert(key.to_owned(), new);
    Ok(true)
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, NodeStateError> {
    let Some(data) = fs::read_if_exists(path)? else {
        return Ok(BTreeMap::new());
    };
    let record: Record = serde_json::from_slice(&data).map_err(|source| NodeStateError::Broken {
        path: path.to_owned(),
        source,
    })?;
    if record.format > FORMAT {
        return Err(NodeStateError::Newer {
            path: path.to_owned(),
            format: record.format,
        });
    }
    Ok(record.values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_needs_the_value_that_was_read() {
        let dir = tempfile::tempdir().unwrap();
        for store in [
            NodeStore::new(None, None),
            NodeStore::new(Some(&dir.path().join("deeper/node.json")), None),
        ] {
            assert_eq!(store.get("k").unwrap(), None);
            assert!(store.swap("k", None, Some("1".to_owned())).unwrap());
            assert!(!store.swap("k", None, Some("2".to_owned())).unwrap());
            assert!(store.swap("k", Some("1"), Some("2".to_owned())).unwrap());
            assert_eq!(store.get("k").unwrap().as_deref(), Some("2"));
            assert!(store.swap("k", Some("2"), None).unwrap());
            assert_eq!(store.get("k").unwrap(), None);
        }
    }

    #[test]
    fn what_root_writes_for_a_user_is_theirs() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner::for_tests();
        let path = dir.path().join("state/b/node.json");
        let store = NodeStore::new(Some(&path), Some(owner));
        assert!(store.swap("k", None, Some("1".to_owned())).unwrap());
        let made = walkdir::WalkDir::new(dir.path().join("state"));
        let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
        assert_eq!(made.len(), 4);
        for entry in made {
            let metadata = entry.metadata().unwrap();
            assert_eq!(
                (metadata.uid(), metadata.gid()),
                (owner.uid, owner.gid),
                "{entry:?}"
            );
        }
    }

    #[test]
    fn reading_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = NodeStore::new(Some(&dir.path().join("node.json")), None);
        store.get("k").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.json");
        let count = || {
            // A store of its own, as another process has it: the lock is the file's.
            let store = NodeStore::new(Some(&path), None);
            for _ in 0..20 {
                loop {
                    let old = store.get("n").unwrap();
                    let next = old.as_deref().map_or(0, |n| n.parse::<u32>().unwrap()) + 1;
                    if store.swap("n", old.as_deref(), Some(next.to_string())).unwrap() {
                        break;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(count);
            }
        });
        assert_eq!(
            NodeStore::new(Some(&path), None).get("n").unwrap().as_deref(),
            Some("80")
        );
    }

    #[test]
    fn the_memory_is_small() {
        let store = NodeStore::new(None, None);
        let words = |key: &str, value: String| store.swap(key, None, Some(value)).unwrap_err().to_string();
        assert!(words(&"k".repeat(65), String::new()).contains("more than 64 bytes"));
        assert!(words("k", "v".repeat(VALUE + 1)).contains("more than 16384 bytes"));
        for n in 0..KEYS {
            assert!(store.swap(&n.to_string(), None, Some(String::new())).unwrap());
        }
        assert!(words("one-more", String::new()).contains("more than 64 keys"));
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.json");
        std::fs::write(&path, r#"{"format":2,"values":{}}"#).unwrap();
        let error = NodeStore::new(Some(&path), None).get("k").unwrap_err();
        assert!(error.to_string().contains("a newer bkhost wrote"));
    }
}
