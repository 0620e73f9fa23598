//! What is there before something is installed or uninstalled: this program, the plugin's file, the alias.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::{AliasFile, folders};
use crate::cli::env_vars::{self, Environment};
use crate::cli::plugin::metadata::{Metadata, VENDOR};
use crate::cli::settings::{self, Context};
use crate::error::{CommandError, Result};
use crate::fs::Owner;
use crate::keeper::programs;
use crate::store::docker::plugins::{self, PluginFolders, is_same_program};

/// Whose the file is that docker would call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's: there is none.
    Nobody,
    /// It leads to this very program.
    Ourselves,
    /// It is this program in another version, or a link to where it was.
    Relative,
    /// Another program's.
    Other,
}

/// The place of an installation.
#[derive(Debug)]
pub struct Site {
    /// This program, by the name that an update keeps.
    pub program: PathBuf,
    /// The folder of the docker client.
    pub folder: PathBuf,
    /// The plugin's file in the user's own folder.
    pub plugin: PathBuf,
    /// Whose it is.
    pub holder: Holder,
    /// Where an earlier plugin is kept, whether it is there or not.
    pub kept: PathBuf,
    /// What an earlier installation has found.
    pub record: Option<Record>,
    /// The docker client's configuration.
    pub alias: AliasFile,
    /// Who gets what is made.
    pub owner: Option<Owner>,
    folders: PluginFolders,
}

impl Site {
    /// Looks at everything; changes nothing.
    pub async fn find(context: &Context<'_>) -> Result<Self> {
        let environment = context.environment;
        let folder = settings::docker_folder(environment);
        let folders = folders(context);
        let ourselves = std::env::current_exe().map_err(|error| {
            CommandError::internal("Cannot find this program's own file").with_source(error)
        })?;
        let plugin = folders.own().join(plugins::FILE);
        Ok(Self {
            program: lasting_name(&ourselves, environment),
            holder: holder(&plugin, &ourselves).await,
            kept: folders.own().join(plugins::KEPT),
            record: Record::load(folders.own())?,
            alias: AliasFile::load(&folder)?,
            owner: settings::owner_below(environment, &folder),
            folder,
            plugin,
            folders,
        })
    }

    /// The folder of plugins.
    pub fn plugins(&self) -> &Path {
        self.folders.own()
    }

    /// Whether an earlier plugin is kept.
    pub fn has_kept(&self) -> bool {
        self.kept.symlink_metadata().is_ok()
    }

    /// The plugin that will get what this program does not have, whether it is moved aside yet or not.
    pub fn next(&self) -> Option<PathBuf> {
        // What is replaced by this program gets nothing.
        let replaced = (self.holder == Holder::Relative).then(|| self.plugin.clone());
        let search = self.folders.search(&self.program, replaced.as_slice());
        search.next().map(Path::to_owned)
    }

    /// Another plugin that docker finds before the user's own folder.
    pub fn shadowing(&self) -> Option<PathBuf> {
        let first = self.folders.in_use()?;
        let is_other = first != self.plugin && !is_same_program(&first, &self.program);
        (is_other && self.folders.is_before_own(&first)).then_some(first)
    }
}

/// The name on `PATH` that leads to this program, if there is one: an update may put the file itself elsewhere.
fn lasting_name(ourselves: &Path, environment: &Environment) -> PathBuf {
    let path = environment.get(env_vars::PATH).map(OsString::from);
    let found = programs::on_path(env!("CARGO_PKG_NAME"), path.as_ref());
    found
        .filter(|found| found.is_absolute() && is_same_program(found, ourselves))
        .unwrap_or_else(|| ourselves.to_owned())
}

async fn holder(plugin: &Path, ourselves: &Path) -> Holder {
    if plugin.symlink_metadata().is_err() {
        return Holder::Nobody;
    }
    if is_same_program(plugin, ourselves) {
        return Holder::Ourselves;
    }
    let target = std::fs::read_link(plugin).unwrap_or_default();
    let is_lost = !plugin.exists()
        && target
            .file_name()
            .is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    let is_relative = is_lost
        || Metadata::ask(plugin)
            .await
            .is_some_and(|metadata| metadata.vendor == VENDOR);
    if is_relative {
        Holder::Relative
    } else {
        Holder::Other
    }
}
