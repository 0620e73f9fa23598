//! Builders on disk: the same folder, files and lock as buildx, so that what one makes the other uses.
//!
//! Reading changes nothing and works on a read-only store. Changes go through a [`Transaction`], which holds the
//! store's lock and must not live across a call to a driver.

pub mod activity;
pub mod daemon_config;
pub mod docker;
mod go_json;
pub mod layout;
pub mod local_state;
mod lock;
pub mod name;
pub mod options;
pub mod owner;
pub mod record;
pub mod selection;
pub mod shared;
mod toml_form;
pub mod transaction;
pub mod update;
mod words;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fs::{self, FileError};
pub use go_json::encode as encode_json;
use layout::Layout;
use name::InvalidName;
use record::{BuilderRecord, RecordError};
pub use transaction::Transaction;

/// A store that cannot be used as wanted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that no builder can have.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// An instance file that cannot be understood.
    #[error("Cannot read builder `{name}` from `{path}`", path = path.display())]
    Broken {
        /// File name of the builder.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// An instance file that cannot be read at all.
    #[error("Cannot read builder `{name}`")]
    Unreadable {
        /// File name of the builder.
        name: String,
        /// The file, and why not.
        #[source]
        source: FileError,
    },
    /// A record that cannot be written.
    #[error("Cannot encode builder `{name}`")]
    Encode {
        /// Name of the builder.
        name: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Another process changed the builder in the meantime.
    #[error("Builder `{name}` was changed by another process in the meantime")]
    Changed {
        /// Name of the builder.
        name: String,
    },
}

/// The content of an instance file at one moment, to notice changes by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(Option<[u8; 32]>);

impl Revision {
    /// There is no such file.
    pub const ABSENT: Self = Self(None);

    fn of(data: &[u8]) -> Self {
        Self(Some(Sha256::digest(data).into()))
    }

    fn hex(self) -> String {
        self.0.map(|digest| layout::hex(&digest)).unwrap_or_default()
    }
}

/// A builder as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The record, with the options that only bkhost knows.
    pub record: BuilderRecord,
    /// Which state of the file this is.
    pub revision: Revision,
    /// What the user should be told about it.
    pub warnings: Vec<String>,
}

/// All that the store holds, and what could not be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// Builders, sorted by name in byte order.
    pub builders: Vec<Stored>,
    /// Entries that were left alone.
    pub broken: Vec<StoreError>,
    /// What the user should be told about single builders or entries.
    pub warnings: Vec<String>,
}

/// The store of builders.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// The store at this layout; nothing is read or made yet.
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The builder `name` in any letter case; `None` when there is no such file or the name cannot be one.
    pub fn load(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        let Ok(file) = name::validate(name) else {
            return Ok(None);
        };
        for folder in [self.layout.instances(), self.layout.own_instances()] {
            if let Some(stored) = self.read(&folder, &file)? {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Whether a builder of this name is stored, broken or not.
    pub fn contains(&self, name: &str) -> bool {
        name::validate(name).is_ok_and(|file| {
            [self.layout.instances(), self.layout.own_instances()]
                .iter()
                .any(|folder| folder.join(&file).symlink_metadata().is_ok())
        })
    }

    /// Everything that is stored. Entries that cannot be read are reported, never deleted.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        self.list_folder(&self.layout.instances(), &mut listing)?;
        self.list_folder(&self.layout.own_instances(), &mut listing)?;
        listing
            .builders
            .sort_by(|a, b| a.record.name.as_bytes().cmp(b.record.name.as_bytes()));
        Ok(listing)
    }

    fn list_folder(&self, folder: &Path, listing: &mut Listing) -> Result<(), StoreError> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(FileError::io("read", folder)(error).into()),
        };
        let shadowing: Vec<String> = listing
            .builders
            .iter()
            .map(|stored| stored.record.name.to_ascii_lowercase())
            .collect();
        let mut files: Vec<String> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        files.sort_unstable();
        for file in files {
            if shadowing.contains(&file) {
                listing.warnings.push(format!(
                    "Builder `{file}` in `{}` is hidden by one of the same name that buildx made",
                    folder.display()
                ));
                continue;
            }
            if let Some(warning) = foreign(folder, &file) {
                listing.warnings.push(warning);
                continue;
            }
            match self.read(folder, &file) {
                Ok(Some(stored)) => {
                    listing.warnings.extend(stored.warnings.iter().cloned());
                    listing.builders.push(stored);
                }
                Ok(None) => {}
                Err(error) => listing.broken.push(error),
            }
        }
        Ok(())
    }

    fn read(&self, folder: &Path, file: &str) -> Result<Option<Stored>, StoreError> {
        let path = folder.join(file);
        let read = fs::read_if_exists(&path).map_err(|source| StoreError::Unreadable {
            name: file.to_owned(),
            source,
        });
        let Some(data) = read? else {
            return Ok(None);
        };
        let revision = Revision::of(&data);
        let mut record = BuilderRecord::decode(&data).map_err(|source| StoreError::Broken {
            name: file.to_owned(),
            path,
            source,
        })?;
        let mut warnings = Vec::new();
        // Names become paths, so a file may not claim one that is not its own.
        if !record.name.eq_ignore_ascii_case(file) {
            warnings.push(format!(
                "Builder file `{file}` claims the name `{}`: it is called `{file}`",
                record.name
            ));
            record.name = file.to_owned();
        }
        if folder == self.layout.instances() {
            warnings.extend(options::add_own(&self.layout, file, revision, &mut record)?);
        }
        Ok(Some(Stored {
            record,
            revision,
            warnings,
        }))
    }

    fn revision(&self, name: &str) -> Result<Revision, StoreError> {
        let file = name::validate(name)?;
        for folder in [self.layout.instances(), self.layout.own_instances()] {
            if let Some(data) = fs::read_if_exists(&folder.join(&file))? {
                return Ok(Revision::of(&data));
            }
        }
        Ok(Revision::ABSENT)
    }

    /// Takes the lock; `waiting` is called once, with a line for the user, when somebody else holds it for long.
    pub async fn transaction(&self, waiting: impl FnOnce(String)) -> Result<Transaction<'_>, StoreError> {
        Transaction::begin(self, waiting).await
    }

    /// Takes the lock if it is free.
    pub fn try_transaction(&self) -> Result<Option<Transaction<'_>>, StoreError> {
        Transaction::try_begin(self)
    }

    /// The identity of this client: 16 hex digits, made at the first call. Without a place to keep it (a read-only
    /// store) it lasts as long as the process.
    pub fn client_id(&self) -> Result<String, StoreError> {
        let path = self.layout.node_id();
        if let Some(data) = fs::read_if_exists(&path)? {
            let id = String::from_utf8_lossy(&data).trim().to_owned();
            if !id.is_empty() {
                return Ok(id);
            }
        }
        let id = layout::hex(&rand::random::<[u8; 8]>());
        match self.layout.write(&path, id.as_bytes()) {
            Err(error) if !is_read_only(&error) => Err(error.into()),
            _ => Ok(id),
        }
    }
}

/// What to tell about an entry that is no builder, because no name leads to it: names are looked up in lower case.
fn foreign(folder: &Path, file: &str) -> Option<String> {
    let path = folder.join(file);
    match name::validate(file) {
        Ok(looked_up) if looked_up == file => None,
        Ok(looked_up) if !folder.join(&looked_up).exists() => Some(format!(
            "`{}` is no builder, because its name is not in lower case: rename it to `{looked_up}`, or remove it",
            path.display()
        )),
        _ => Some(format!(
            "`{}` is no builder: remove it if nothing needs it",
            path.display()
        )),
    }
}

/// Whether a write failed because the store may not be written at all.
fn is_read_only(error: &FileError) -> bool {
    matches!(
        error.io_kind(),
        Some(std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::NodeRecord;
    use std::collections::BTreeMap;

    pub(super) fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Layout::new(dir.path().join("buildx"), None));
        (dir, store)
    }

    fn save(store: &Store, record: &BuilderRecord) {
        store.try_transaction().unwrap().unwrap().save(record).unwrap();
    }

    #[test]
    fn reading_an_empty_store_makes_nothing() {
        let (_dir, store) = store();
        assert!(store.list().unwrap().builders.is_empty());
        assert!(store.load("x").unwrap().is_none());
        assert!(!store.layout().root().exists());
    }

    #[test]
    fn foreign_drivers_stay_out_of_the_shared_folder() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("Ours", "process"));
        save(&store, &BuilderRecord::new("theirs", "remote"));
        assert!(store.layout().instances().join("theirs").exists());
        assert!(!store.layout().instances().join("ours").exists());
        assert_eq!(store.load("OURS").unwrap().unwrap().record.name, "Ours");
        let names: Vec<_> = store
            .list()
            .unwrap()
            .builders
            .into_iter()
            .map(|b| b.record.name)
            .collect();
        assert_eq!(names, ["Ours", "theirs"]);
    }

    #[test]
    fn no_temporary_file_is_left_where_buildx_lists() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("a", "remote"));
        let files = std::fs::read_dir(store.layout().instances()).unwrap().count();
        assert_eq!(files, 1);
        assert_eq!(std::fs::read_dir(store.layout().staging()).unwrap().count(), 0);
    }

    #[test]
    fn broken_entries_are_reported_and_kept() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("good", "remote"));
        let folder = store.layout().instances();
        std::fs::write(folder.join("empty"), "").unwrap();
        std::fs::write(folder.join("half"), "{\"Name\":").unwrap();
        std::fs::write(folder.join(".tmp-x"), "").unwrap();
        std::fs::create_dir(folder.join("folder")).unwrap();
        let listing = store.list().unwrap();
        assert_eq!(listing.builders.len(), 1);
        assert_eq!(listing.broken.len(), 3);
        assert_eq!(listing.warnings.len(), 1);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 5);
        let error = store.load("empty").unwrap_err();
        assert!(error.to_string().contains("Cannot read builder `empty`"));
    }

    #[test]
    fn a_file_that_no_name_leads_to_is_no_builder() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("Both", "remote"));
        let folder = store.layout().instances();
        std::fs::copy(folder.join("both"), folder.join("BOTH")).unwrap();
        std::fs::rename(folder.join("both"), folder.join("Alone")).unwrap();
        std::fs::copy(folder.join("BOTH"), folder.join("both")).unwrap();
        let mut listing = store.list().unwrap();
        assert_eq!((listing.builders.len(), listing.broken.len()), (1, 0));
        assert!(store.load("ALONE").unwrap().is_none() && !store.contains("Alone"));
        listing.warnings.sort();
        let [alone, both] = &listing.warnings[..] else {
            panic!("{:?}", listing.warnings);
        };
        assert!(alone.ends_with("rename it to `alone`, or remove it"), "{alone}");
        assert!(
            both.ends_with("BOTH` is no builder: remove it if nothing needs it"),
            "{both}"
        );

        std::fs::rename(folder.join("Alone"), folder.join("alone")).unwrap();
        assert!(store.load("ALONE").unwrap().is_some());
    }

    #[test]
    fn options_that_only_we_know_come_back_until_buildx_changes_the_builder() {
        let (_dir, store) = store();
        let mut record = BuilderRecord::new("k", "kubernetes");
        record.nodes = Some(vec![NodeRecord {
            name: "k0".into(),
            driver_opts: Some(BTreeMap::from([
                ("replicas".into(), "2".into()),
                ("loadbalance".into(), "sticky:team".into()),
            ])),
            ..NodeRecord::default()
        }]);
        save(&store, &record);
        let file = store.layout().instances().join("k");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("sticky"), "{text}");
        assert_eq!(store.load("k").unwrap().unwrap().record, record);

        std::fs::write(&file, text.replace("\"2\"", "\"3\"")).unwrap();
        let stored = store.load("k").unwrap().unwrap();
        assert_eq!(stored.warnings.len(), 1);
        assert_eq!(stored.record.nodes()[0].driver_opts.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn a_change_by_others_is_noticed() {
        let (_dir, store) = store();
        let record = BuilderRecord::new("a", "remote");
        save(&store, &record);
        let seen = store.load("a").unwrap().unwrap().revision;
        let mut other = record.clone();
        other.nodes = Some(Vec::new());
        save(&store, &other);
        let transaction = store.try_transaction().unwrap().unwrap();
        let refused = transaction.save_over(seen, &record);
        assert!(matches!(refused, Err(StoreError::Changed { .. })));
        let refused = transaction.save_over(Revision::ABSENT, &record);
        assert!(matches!(refused, Err(StoreError::Changed { .. })));
    }

    #[test]
    fn removal_takes_activity_state_and_options_along() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("Big", "remote"));
        store
            .write_local_state("Big", "big0", "r", &local_state::LocalState::default())
            .unwrap();
        assert!(store.layout().activity("Big").exists());
        store.try_transaction().unwrap().unwrap().remove("big").unwrap();
        assert!(!store.contains("big"));
        assert!(!store.layout().activity("Big").exists());
        assert!(!store.layout().refs().join("Big").exists());
    }

    #[test]
    fn a_builder_that_another_program_hides_outlives_the_other() {
        let (_dir, store) = store();
        save(&store, &BuilderRecord::new("twin", "process"));
        let state = store.layout().driver_state("twin", "twin0");
        std::fs::create_dir_all(state.parent().unwrap()).unwrap();
        std::fs::write(&state, "{}").unwrap();
        std::fs::create_dir_all(store.layout().instances()).unwrap();
        let theirs = r#"{"Name":"twin","Driver":"remote","Nodes":null}"#;
        std::fs::write(store.layout().instances().join("twin"), theirs).unwrap();
        let driver = |store: &Store| store.load("twin").unwrap().map(|stored| stored.record.driver);
        assert_eq!(driver(&store).as_deref(), Some("remote"));
        save(&store, &store.load("twin").unwrap().unwrap().record);
        store.try_transaction().unwrap().unwrap().remove("twin").unwrap();
        assert_eq!(driver(&store).as_deref(), Some("process"));
        assert!(state.exists());
        store.try_transaction().unwrap().unwrap().remove("twin").unwrap();
        assert!(driver(&store).is_none() && !state.exists());
    }

    #[test]
    fn a_name_inside_a_file_leads_nowhere_else() {
        let (dir, store) = store();
        save(&store, &BuilderRecord::new("a", "remote"));
        let outside = dir.path().join("precious");
        std::fs::write(&outside, "").unwrap();
        let text = r#"{"Name":"../../precious","Driver":"remote","Nodes":null}"#;
        std::fs::write(store.layout().instances().join("a"), text).unwrap();
        let stored = store.load("a").unwrap().unwrap();
        assert_eq!((stored.record.name.as_str(), stored.warnings.len()), ("a", 1));
        store.try_transaction().unwrap().unwrap().remove("a").unwrap();
        assert!(outside.exists() && !store.contains("a"));
    }

    fn select(store: &Store, name: &str, key: &str, default: bool, shared: bool) {
        let selection = selection::Selection {
            key: key.to_owned(),
            name: name.to_owned(),
            global: false,
        };
        let transaction = store.try_transaction().unwrap().unwrap();
        transaction.select(&selection, default, shared).unwrap();
    }

    /// Paths below `root` that are not the owner's, and how many there are in all.
    fn strange(root: &Path, owner: owner::Owner) -> (Vec<PathBuf>, usize) {
        use std::os::unix::fs::MetadataExt as _;
        let all: Vec<_> = walkdir::WalkDir::new(root)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let count = all.len();
        let strange = all.into_iter().filter(|entry| {
            let metadata = entry.metadata().unwrap();
            (metadata.uid(), metadata.gid()) != (owner.uid, owner.gid)
        });
        (strange.map(walkdir::DirEntry::into_path).collect(), count)
    }

    #[test]
    fn what_root_makes_for_a_user_is_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let owner = owner::Owner::for_tests();
        let home = dir.path().join("home");
        let store = Store::new(Layout::new(home.join(".docker/buildx"), Some(owner)));
        let mut shared = BuilderRecord::new("Shared", "kubernetes");
        let options = BTreeMap::from([("loadbalance".into(), "sticky:team".into())]);
        shared.nodes = Some(vec![NodeRecord {
            name: "shared0".into(),
            driver_opts: Some(options),
            ..NodeRecord::default()
        }]);
        save(&store, &shared);
        save(&store, &BuilderRecord::new("own", "process"));
        select(&store, "Shared", "one", true, true);
        select(&store, "own", "two", true, false);
        store.client_id().unwrap();
        store
            .write_local_state("Shared", "shared0", "r", &local_state::LocalState::default())
            .unwrap();
        let layout = store.layout();
        for made in [
            layout.lock(),
            layout.instances().join("shared"),
            layout.own_instances().join("own"),
            layout.own_options().join("shared"),
            layout.current(),
            layout.own_current(),
            layout.default_of("one"),
            layout.own_default_of("two"),
            layout.activity("Shared"),
            layout.node_id(),
            layout.refs().join("Shared/shared0/r"),
        ] {
            assert!(made.is_file(), "{}", made.display());
        }
        let (others, count) = strange(&home, owner);
        assert!(others.is_empty() && count > 20, "{others:?} of {count}");
    }

    #[test]
    fn a_folder_that_root_made_in_a_users_store_becomes_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let owner = owner::Owner::for_tests();
        let root = dir.path().join("buildx");
        std::fs::create_dir_all(root.join("instances")).unwrap();
        let store = Store::new(Layout::new(&root, Some(owner)));
        save(&store, &BuilderRecord::new("a", "remote"));
        assert_eq!(strange(&root, owner).0, Vec::<PathBuf>::new());
    }

    #[test]
    fn the_client_identity_is_kept() {
        let (_dir, store) = store();
        let id = store.client_id().unwrap();
        assert_eq!(id.len(), 16);
        assert_eq!(store.client_id().unwrap(), id);
    }
}
