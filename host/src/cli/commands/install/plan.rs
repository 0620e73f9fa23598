//! The steps of an installation and of its end: decided first, then said or done one by one.

use std::path::Path;

use super::PLUGIN;
use super::record::Record;
use super::site::{Holder, Site};
use crate::error::Result;
use crate::fs::{self, FileError};
use crate::ui::Ui;

/// Mode of docker's own folder, as docker makes it.
const DOCKER_FOLDER: u32 = 0o700;
/// Mode of the folder of plugins.
const PLUGINS_FOLDER: u32 = 0o755;
/// Mode of a copy of this program.
const PROGRAM: u32 = 0o755;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write down what is there.
    Record(Record),
    /// Keep the plugin that is there.
    Keep,
    /// Put this program in the plugin's place.
    Link,
    /// Put the kept plugin back.
    Restore,
    /// Take the plugin away.
    Remove,
    /// Have the alias `builder` stand for this.
    Alias(Option<String>),
    /// Remove what was written down.
    Forget,
}

/// Steps in their order. Each leaves docker with a plugin that works if there was one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub Vec<Step>);

/// What is missing of an installation.
pub fn of_install(site: &Site) -> Plan {
    let mut steps = Vec::new();
    let has_alias = site.alias.builder().as_deref() == Some(PLUGIN);
    let is_linked = site.holder == Holder::Ourselves;
    if site.record.is_none() && !(is_linked && has_alias) {
        steps.push(Step::Record(Record {
            alias: site.alias.builder(),
            config_was_missing: site.alias.is_missing(),
        }));
    }
    match site.holder {
        Holder::Other => steps.extend([Step::Keep, Step::Link]),
        Holder::Nobody | Holder::Relative => steps.push(Step::Link),
        Holder::Ourselves => {}
    }
    if !has_alias {
        steps.push(Step::Alias(Some(PLUGIN.to_owned())));
    }
    Plan(steps)
}

/// What brings back what was there before.
pub fn of_uninstall(site: &Site) -> Plan {
    let mut steps = Vec::new();
    match site.holder {
        Holder::Ourselves | Holder::Relative if site.has_kept() => steps.push(Step::Restore),
        Holder::Ourselves | Holder::Relative => steps.push(Step::Remove),
        Holder::Nobody if site.has_kept() => steps.push(Step::Restore),
        Holder::Nobody | Holder::Other => {}
    }
    let before = site.record.clone().unwrap_or_default().alias;
    // Without a sign of an installation the alias is the work of somebody else, such as `docker buildx install`.
    let is_installed = site.record.is_some() || matches!(site.holder, Holder::Ourselves | Holder::Relative);
    if is_installed && site.alias.builder().as_deref() == Some(PLUGIN) && before.as_deref() != Some(PLUGIN) {
        steps.push(Step::Alias(before));
    }
    if site.record.is_some() {
        steps.push(Step::Forget);
    }
    Plan(steps)
}

impl Plan {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does all steps and says each, or only says what would be done.
    pub fn carry_out(&self, ui: &Ui, site: &Site, dry_run: bool) -> Result<()> {
        for step in &self.0 {
            let words = step.words(site);
            if !dry_run {
                step.take(site)?;
            }
            if let Some((done, would, what)) = words {
                ui.say(format!("{} {what}", if dry_run { would } else { done }));
            }
        }
        Ok(())
    }
}

impl Step {
    /// How the step is said when it was done, and before; a step that only this program knows of is not said.
    fn words(&self, site: &Site) -> Option<(&'static str, &'static str, String)> {
        let (plugin, kept) = (site.plugin.display(), site.kept.display());
        let config = site.alias.path().display();
        Some(match self {
            Self::Record(_) | Self::Forget => return None,
            Self::Keep => ("Kept", "Would keep", format!("`{plugin}` as `{kept}`")),
            Self::Link => (
                "Linked",
                "Would link",
                format!("`{plugin}` to `{}`", site.program.display()),
            ),
            Self::Restore => ("Put", "Would put", format!("`{kept}` back as `{plugin}`")),
            Self::Remove => ("Removed", "Would remove", format!("`{plugin}`")),
            Self::Alias(Some(to)) => (
                "Set",
                "Would set",
                format!(
                    "the alias `builder` in `{config}` to `{to}`, for `docker build` and `docker builder`"
                ),
            ),
            Self::Alias(None) => (
                "Removed",
                "Would remove",
                format!("the alias `builder` from `{config}`"),
            ),
        })
    }

    fn take(&self, site: &Site) -> Result<()> {
        match self {
            Self::Record(record) => {
                record.save(site.plugins())?;
                give(site, &Record::file(site.plugins()))?;
            }
            Self::Keep => fs::keep_aside(&site.plugin, &site.kept)?,
            Self::Link => {
                link_or_copy(&site.plugin, &site.program, fs::replace_by_link)?;
                give(site, &site.plugin)?;
            }
            Self::Restore => fs::rename(&site.kept, &site.plugin)?,
            Self::Remove => fs::remove_file(&site.plugin)?,
            Self::Alias(to) => {
                let record = site.record.clone().unwrap_or_default();
                site.alias
                    .write(to.as_deref(), record.config_was_missing, site.owner)?;
            }
            Self::Forget => fs::remove_file(&Record::file(site.plugins()))?,
        }
        Ok(())
    }
}

/// Makes the folders in which an installation lies.
pub fn make_folders(site: &Site) -> Result<(), FileError> {
    fs::create_dir_all_for(&site.folder, DOCKER_FOLDER, site.owner)?;
    fs::create_dir_all_for(site.plugins(), PLUGINS_FOLDER, site.owner)
}

/// Some file systems have no links.
fn link_or_copy(
    plugin: &Path,
    program: &Path,
    link: impl FnOnce(&Path, &Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    if link(plugin, program).is_ok() {
        return Ok(());
    }
    let data = std::fs::read(program).map_err(FileError::io("read", program))?;
    if plugin.is_symlink() {
        // A copy takes the place of a file, and a link would be written through.
        fs::remove_file(plugin)?;
    }
    fs::write_beside(plugin, &data, PROGRAM)
}

fn give(site: &Site, path: &Path) -> Result<(), FileError> {
    site.owner.map_or(Ok(()), |owner| owner.give(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn where_links_fail_a_copy_takes_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("bkhost"), "program").unwrap();
        let no_links = |plugin: &Path, _: &Path| {
            let refused = std::io::Error::from_raw_os_error(1);
            Err(FileError::io("link", plugin)(refused))
        };
        std::os::unix::fs::symlink("elsewhere", at("link")).unwrap();
        for name in ["link", "new"] {
            link_or_copy(&at(name), &at("bkhost"), no_links).unwrap();
            assert_eq!(std::fs::read(at(name)).unwrap(), b"program");
            let mode = at(name).symlink_metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755);
        }
        link_or_copy(&at("new"), &at("bkhost"), fs::replace_by_link).unwrap();
        assert!(at("new").is_symlink());
    }
}
