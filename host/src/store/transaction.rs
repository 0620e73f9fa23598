//! A change of the store under its lock.

use std::path::{Path, PathBuf};

use super::record::BuilderRecord;
use super::{Revision, Store, StoreError, lock, name, options, shared};
use crate::fs::FileLock;

/// The right to change the store; dropping it releases the lock.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) store: &'a Store,
    _lock: FileLock,
}

impl<'a> Transaction<'a> {
    pub(super) async fn begin(store: &'a Store, waiting: impl FnOnce(String)) -> Result<Self, StoreError> {
        let (path, is_new) = lock_file(store)?;
        let lock = lock::acquire(&path, waiting).await?;
        Self::with(store, lock, &path, is_new)
    }

    pub(super) fn try_begin(store: &'a Store) -> Result<Option<Self>, StoreError> {
        let (path, is_new) = lock_file(store)?;
        let lock = lock::try_acquire(&path)?;
        lock.map(|lock| Self::with(store, lock, &path, is_new))
            .transpose()
    }

    fn with(store: &'a Store, lock: FileLock, path: &Path, is_new: bool) -> Result<Self, StoreError> {
        if is_new {
            store.layout.give(path)?;
        }
        Ok(Self { store, _lock: lock })
    }

    /// Stores a builder, whatever was there before, and stamps its activity.
    pub fn save(&self, record: &BuilderRecord) -> Result<Revision, StoreError> {
        let file = name::validate(&record.name)?;
        let layout = &self.store.layout;
        let is_shared = shared::is_shared(&record.driver);
        let (instance, own) = if is_shared {
            options::split(record)
        } else {
            (record.clone(), options::OwnOptions::default())
        };
        let text = instance.encode().map_err(|source| StoreError::Encode {
            name: record.name.clone(),
            source,
        })?;
        let revision = Revision::of(text.as_bytes());
        let folder = if is_shared {
            layout.instances()
        } else {
            layout.own_instances()
        };
        layout.write(&folder.join(&file), text.as_bytes())?;
        if !is_shared {
            layout.remove_file(&layout.instances().join(&file))?;
        }
        options::write(layout, &file, revision, &own)?;
        self.store.touch(&record.name)?;
        Ok(revision)
    }

    /// Like [`Transaction::save`], but refuses when the stored state is not `seen` any more.
    pub fn save_over(&self, seen: Revision, record: &BuilderRecord) -> Result<Revision, StoreError> {
        self.check(seen, &record.name)?;
        self.save(record)
    }

    /// Refuses when the stored state of builder `name` is not `seen` any more.
    pub fn check(&self, seen: Revision, name: &str) -> Result<(), StoreError> {
        if self.store.revision(name)? == seen {
            return Ok(());
        }
        Err(StoreError::Changed {
            name: name.to_owned(),
        })
    }

    /// Removes a builder with its activity, local state, own options and driver state. The selection is not touched:
    /// one that leads nowhere is tolerated everywhere. A builder that was hidden by this one is seen again: its daemon
    /// may still run.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let file = name::validate(name)?;
        let spelled = match self.store.load(name) {
            Ok(Some(stored)) => stored.record.name,
            _ => name.to_owned(),
        };
        let layout = &self.store.layout;
        for spelling in [spelled.as_str(), file.as_str()] {
            layout.remove_file(&layout.activity(spelling))?;
            self.store.remove_local_states(spelling, None)?;
        }
        layout.remove_file(&layout.own_options().join(&file))?;
        let (visible, hidden) = (layout.instances().join(&file), layout.own_instances().join(&file));
        if visible.exists() && hidden.exists() {
            return Ok(layout.remove_file(&visible)?);
        }
        layout.remove_folder(&layout.driver_states(&file))?;
        layout.remove_file(&visible)?;
        layout.remove_file(&hidden)?;
        Ok(())
    }

    /// Removes the traces of one node of a builder that is kept.
    pub fn remove_node_traces(&self, builder: &str, node: &str) -> Result<(), StoreError> {
        let layout = &self.store.layout;
        self.store.remove_local_states(builder, Some(node))?;
        let file = builder.to_ascii_lowercase();
        layout.remove_file(&layout.driver_state(&file, node))?;
        Ok(())
    }
}

/// The lock file, and whether it has to be made.
fn lock_file(store: &Store) -> Result<(PathBuf, bool), StoreError> {
    store.layout.make_folder(store.layout.root())?;
    let path = store.layout.lock();
    let is_new = !path.exists();
    Ok((path, is_new))
}
