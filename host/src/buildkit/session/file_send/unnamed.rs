//! Files that are written and have no name yet: whether they are whole shows at the end of the solve.
//!
//! A daemon ends the stream of a failed export as it ends that of a good one, waits for our answer, and only then ends the
//! solve with its reason.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::NamedTempFile;

use super::with_path;

/// The exported files of one solve. Those that have no name vanish with it.
#[derive(Debug, Default)]
pub(in super::super) struct UnnamedFiles(Mutex<Vec<(NamedTempFile, PathBuf)>>);

impl UnnamedFiles {
    /// Gives every file its name, in the order in which they came.
    pub fn name(&self) -> io::Result<()> {
        let files = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (file, path) in files {
            let named = file.persist(&path);
            named.map_err(|error| with_path(&path)(error.error))?;
        }
        Ok(())
    }
}

/// Where files are handed in. It does not keep them: they go with their solve.
#[derive(Clone, Debug)]
pub(in super::super) struct Inbox(Weak<UnnamedFiles>);

impl Inbox {
    pub fn of(files: &Arc<UnnamedFiles>) -> Self {
        Self(Arc::downgrade(files))
    }

    /// Keeps `file`, which will be `path`.
    pub(super) fn add(&self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        let Some(files) = self.0.upgrade() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut files = files.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.push((file, path.to_owned()));
        Ok(())
    }
}
