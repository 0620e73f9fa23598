//! The docker client's `config.json` with its alias.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{CommandError, Result};
use crate::fs::{self, Owner, PRIVATE_FILE};
use crate::store::docker::aliases::{BrokenConfig, ConfigText};
use crate::store::docker::config;

/// The file as it is now.
#[derive(Debug)]
pub struct AliasFile {
    /// The file itself, also when the name is a link to it.
    path: PathBuf,
    /// Mode and owner, if it is there.
    known: Option<(u32, Owner)>,
    text: ConfigText,
}

impl AliasFile {
    /// Reads the file in the docker client's folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let name = folder.join(config::FILE);
        let path = std::fs::canonicalize(&name).unwrap_or(name);
        let data = fs::read_if_exists(&path)?;
        let known = std::fs::metadata(&path).ok().map(|metadata| {
            let owner = Owner {
                uid: metadata.uid(),
                gid: metadata.gid(),
            };
            (metadata.permissions().mode() & 0o7777, owner)
        });
        let text = ConfigText::parse(&data.unwrap_or_default()).map_err(|error| broken(&path, error))?;
        Ok(Self { path, known, text })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is none.
    pub fn is_missing(&self) -> bool {
        self.known.is_none()
    }

    /// What `builder` stands for.
    pub fn builder(&self) -> Option<String> {
        self.text.builder()
    }

    /// Writes it with `builder` standing for something, or for nothing; a file of which nothing is left goes, if that is
    /// wanted. `owner` gets a new file.
    pub fn write(&self, builder: Option<&str>, may_go: bool, owner: Option<Owner>) -> Result<()> {
        let changed = match builder {
            Some(plugin) => self.text.with_builder(plugin),
            None => self.text.without_builder(),
        };
        if builder.is_none() && may_go && changed.is_empty() {
            return Ok(fs::remove_file(&self.path)?);
        }
        // Nothing that docker cannot read ever takes the file's place.
        let written =
            ConfigText::parse(changed.text().as_bytes()).map_err(|error| broken(&self.path, error))?;
        if written.builder().as_deref() != builder {
            let message = format!("Cannot change the aliases in `{}`", self.path.display());
            return Err(CommandError::internal(message));
        }
        let (mode, owner) = match self.known {
            Some((mode, known)) => (mode, Some(known)),
            None => (PRIVATE_FILE, owner),
        };
        fs::write_beside(&self.path, changed.text().as_bytes(), mode)?;
        Ok(owner.map_or(Ok(()), |owner| owner.give(&self.path))?)
    }
}

fn broken(path: &Path, error: BrokenConfig) -> CommandError {
    CommandError::user(format!("Cannot read `{}`", path.display()))
        .with_source(error)
        .with_hint("Mend the file, which docker itself cannot use either; nothing was changed")
}
