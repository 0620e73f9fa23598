//! What an installation has found and `uninstall` brings back, in a file beside the plugin.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{CommandError, Result};
use crate::fs::{self, PUBLIC_FILE};

/// Name of the file; no plugin to docker.
const FILE: &str = "bkhost-install.json";

/// What was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Record {
    /// What the alias `builder` stood for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether `config.json` was not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub config_was_missing: bool,
}

impl Record {
    /// The file in a folder of plugins.
    pub fn file(plugins: &Path) -> PathBuf {
        plugins.join(FILE)
    }

    /// Reads it, if it is there.
    pub fn load(plugins: &Path) -> Result<Option<Self>> {
        let path = Self::file(plugins);
        let Some(data) = fs::read_if_exists(&path)? else {
            return Ok(None);
        };
        serde_json::from_slice(&data).map(Some).map_err(|error| {
            let message = format!("`{}` is broken", path.display());
            CommandError::user(message)
                .with_source(error)
                .with_hint("It only says how docker was set up before: remove it and run the command again")
        })
    }

    /// Writes it.
    pub fn save(&self, plugins: &Path) -> Result<()> {
        let text = serde_json::to_string(self)
            .map_err(|error| CommandError::internal("Cannot write the record").with_source(error))?;
        Ok(fs::write_beside(
            &Self::file(plugins),
            format!("{text}\n").as_bytes(),
            PUBLIC_FILE,
        )?)
    }
}
