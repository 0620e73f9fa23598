//! Whether a task's inputs have changed since it last ran: a digest over files and words, kept in a stamp file.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// Collects what a result depends on.
#[derive(Debug, Default)]
pub struct Inputs {
    hasher: DefaultHasher,
}

impl Inputs {
    /// Adds a word, such as a version or a flag.
    pub fn word(mut self, word: &str) -> Self {
        word.hash(&mut self.hasher);
        self
    }

    /// Adds a file's content, or its absence.
    pub fn file(mut self, path: &Path) -> Self {
        fs::read(path).ok().hash(&mut self.hasher);
        self
    }

    /// Adds every file below a folder with its name, without `target` folders and hidden files.
    pub fn folder(mut self, folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(folder, &mut files)?;
        files.sort();
        for file in files {
            file.strip_prefix(folder).unwrap_or(&file).hash(&mut self.hasher);
            self = self.file(&file);
        }
        Ok(self)
    }

    /// The digest of everything added so far. It tells a change, and is no protection against anybody.
    pub fn digest(&self) -> String {
        format!("{:016x}", self.hasher.finish())
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Failure::io("read", folder, &cause)),
    };
    for entry in entries {
        let entry = entry.map_err(|cause| Failure::io("read", folder, &cause))?;
        let name = entry.file_name();
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry
            .file_type()
            .map_err(|cause| Failure::io("read", &entry.path(), &cause))?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Whether the stamp holds this digest.
pub fn is_current(stamp: &Path, digest: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|kept| kept == digest)
}

/// Writes the stamp.
pub fn keep(stamp: &Path, digest: &str) -> Result {
    write(stamp, digest.as_bytes())
}

/// Writes a file in one piece, with the folders above it.
pub fn write(path: &Path, content: &[u8]) -> Result {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    let fresh = path.with_added_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, content).map_err(|cause| Failure::io("write", &fresh, &cause))?;
    fs::rename(&fresh, path).map_err(|cause| Failure::io("write", path, &cause))
}

/// Makes a folder with those above it.
pub fn make_folder(folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(|cause| Failure::io("make", folder, &cause))
}

/// Removes a file or a whole folder; one that is not there is fine.
pub fn remove(path: &Path) -> Result {
    let gone = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    gone.map_err(|cause| Failure::io("remove", path, &cause))
}

/// Holds others off while a shared folder is filled: an advisory lock on `<folder>/.lock`, until it is dropped.
pub fn lock(folder: &Path) -> Result<fs::File> {
    make_folder(folder)?;
    let path = folder.join(".lock");
    let file = fs::File::create(&path).map_err(|cause| Failure::io("open", &path, &cause))?;
    file.lock().map_err(|cause| Failure::io("lock", &path, &cause))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_changed_moved_or_new_file_changes_the_digest() {
        let folder = scratch("inputs");
        let digest = || Inputs::default().folder(&folder).unwrap().digest();
        fs::write(folder.join("a"), "1").unwrap();
        let first = digest();
        assert_eq!(first, digest());
        fs::write(folder.join("a"), "2").unwrap();
        assert_ne!(first, digest());
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        fs::write(folder.join("b"), "1").unwrap();
        assert_ne!(first, digest());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn build_results_and_hidden_files_are_no_inputs() {
        let folder = scratch("outputs");
        let digest = || Inputs::default().folder(&folder).unwrap().digest();
        let first = digest();
        fs::create_dir(folder.join("target")).unwrap();
        fs::write(folder.join("target/x"), "x").unwrap();
        fs::write(folder.join(".hidden"), "x").unwrap();
        assert_eq!(first, digest());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_stamp_is_current_only_for_its_digest() {
        let folder = scratch("stamp");
        let stamp = folder.join("deep/stamp");
        assert!(!is_current(&stamp, "a"));
        keep(&stamp, "a").unwrap();
        assert!(is_current(&stamp, "a"));
        assert!(!is_current(&stamp, "b"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
