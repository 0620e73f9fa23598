//! Reads the little that tasks need from Cargo's files: members of a workspace, names, locked versions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// A crate that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Name of its folder, which is the driver's name.
    pub name: String,
    /// File name of what the compiler makes.
    pub artifact: String,
}

impl Guest {
    /// File name of the guest's component or machine code.
    pub fn file(&self, extension: &str) -> String {
        format!("{}.{extension}", self.name)
    }
}

/// The members of a workspace that are built as `cdylib`, by name. No workspace, no members.
pub fn guests(workspace: &Path) -> Result<Vec<Guest>> {
    let Some(text) = read(&workspace.join("Cargo.toml"))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for folder in member_folders(workspace, &members(&text)) {
        let Some(text) = read(&folder.join("Cargo.toml"))? else {
            continue;
        };
        found.extend(guest(&folder, &text));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether there is a workspace with at least one member.
pub fn has_members(workspace: &Path) -> bool {
    let text = fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    member_folders(workspace, &members(&text))
        .iter()
        .any(|folder| folder.join("Cargo.toml").is_file())
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Failure::io("read", path, &cause)),
    }
}

fn guest(folder: &Path, manifest: &str) -> Option<Guest> {
    if !manifest.contains("\"cdylib\"") {
        return None;
    }
    let library = value(manifest, "lib", "name").or_else(|| value(manifest, "package", "name"))?;
    let name = folder.file_name()?.to_string_lossy().into_owned();
    Some(Guest {
        name,
        artifact: format!("{}.wasm", library.replace('-', "_")),
    })
}

fn member_folders(workspace: &Path, members: &[String]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for member in members {
        match member.strip_suffix('*') {
            Some(above) => folders.extend(folders_in(&workspace.join(above))),
            None => folders.push(workspace.join(member)),
        }
    }
    folders
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// The strings of the `members` array.
fn members(manifest: &str) -> Vec<String> {
    let Some((_, rest)) = manifest.split_once("members = [") else {
        return Vec::new();
    };
    let list = rest.split_once(']').map_or(rest, |(list, _)| list);
    let uncommented: Vec<&str> = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .collect();
    uncommented
        .join("\n")
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The string at `key` in the table `[table]`.
fn value(manifest: &str, table: &str, key: &str) -> Option<String> {
    let head = format!("[{table}]");
    let lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != head)
        .skip(1);
    let mut inside = lines.take_while(|line| !line.starts_with('['));
    inside.find_map(|line| {
        let (name, text) = line.split_once('=')?;
        (name.trim() == key).then(|| text.trim().trim_matches('"').to_owned())
    })
}

/// The version of a package in a lock file.
pub fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let line = lock.lines().skip_while(|line| *line != name).nth(1)?;
    Some(line.strip_prefix("version = ")?.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_called_like_its_folder() {
        let manifest = "[package]\nname = \"driver-remote\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n";
        let expected = Guest {
            name: "remote".into(),
            artifact: "driver_remote.wasm".into(),
        };
        assert_eq!(guest(Path::new("/x/remote"), manifest), Some(expected));
        let named = "[package]\nname = \"a\"\n[lib]\nname = \"b\"\ncrate-type = [\"cdylib\", \"rlib\"]\n";
        assert_eq!(
            guest(Path::new("/x/c"), named).map(|guest| guest.artifact),
            Some("b.wasm".into())
        );
        assert_eq!(
            guest(Path::new("/x/plain"), "[package]\nname = \"plain\"\n"),
            None
        );
    }

    #[test]
    fn members_may_be_many_lines_with_comments() {
        let text = "[workspace]\nmembers = [\n  \"a\", # \"not this\"\n  \"../b\",\n]\nexclude = [\"c\"]\n";
        assert_eq!(members(text), ["a", "../b"]);
        assert_eq!(members("[workspace]\n"), Vec::<String>::new());
    }

    #[test]
    fn a_locked_version_is_that_of_the_exact_name() {
        let lock = "[[package]]\nname = \"wasmtime-x\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"wasmtime\"\nversion = \"48.0.8\"\n";
        assert_eq!(locked_version(lock, "wasmtime").as_deref(), Some("48.0.8"));
        assert_eq!(locked_version(lock, "serde"), None);
    }
}
