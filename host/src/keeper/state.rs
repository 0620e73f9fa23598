//! The daemon's state folder: made with a mark, used by one daemon at a time, removed only with the mark.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::error::KeeperError;
use super::locks::{self, Lock};
use super::paths::{Owner, Surroundings};
use super::programs;
use crate::duration::shown;
use crate::fs::{
    FileError, LockMode, PRIVATE_DIR, PRIVATE_FILE, create_dir_all, read_if_exists, write_beside,
};

/// File that says who made the folder; without it nothing is removed.
const MARK: &str = ".bkhost-state";
/// Held by the keeper whose daemon uses the folder.
const LOCK: &str = ".bkhost-lock";
const SCHEMA: u32 = 1;
/// Program that enters a user namespace with all of a user's mapped ids.
const ROOTLESSKIT: &str = "rootlesskit";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    schema: u32,
    /// Digest of the builder and node that use it.
    owner: String,
    /// Programs the daemon was started with: one of them may be needed to remove what it left.
    #[serde(default)]
    programs: Vec<PathBuf>,
}

/// Makes the folder (mode 0700) with its mark. A folder that is there and not empty is used, but not marked: it is not
/// ours to remove. One that another builder left is taken over.
pub fn prepare(path: &Path, owner: &Owner) -> Result<(), KeeperError> {
    create_dir_all(path, PRIVATE_DIR)?;
    match read_mark(path)? {
        Some(mark) if mark.owner == owner.as_str() => Ok(()),
        Some(_) => {
            let _unused = hold_marked(path)?;
            write_mark(path, owner, Vec::new())
        }
        None if is_empty(path)? => write_mark(path, owner, Vec::new()),
        None => Ok(()),
    }
}

/// Notes the programs of a daemon that is about to use the folder.
pub fn note_programs(path: &Path, owner: &Owner, programs: &[PathBuf]) -> Result<(), KeeperError> {
    match read_mark(path)? {
        Some(mark) if mark.owner == owner.as_str() && mark.programs != programs => {
            write_mark(path, owner, programs.to_vec())
        }
        _ => Ok(()),
    }
}

/// Reserves the folder for one daemon; `None` for a folder without a mark, where the daemon's own lock must do.
pub fn hold(path: &Path) -> Result<Option<Lock>, KeeperError> {
    if read_mark(path)?.is_none() {
        return Ok(None);
    }
    hold_marked(path).map(Some)
}

fn hold_marked(path: &Path) -> Result<Lock, KeeperError> {
    locks::try_acquire(&path.join(LOCK), LockMode::Exclusive)?.ok_or_else(|| KeeperError::StateInUse {
        path: path.to_owned(),
    })
}

/// Removes the folder with all that is in it. One that is not there, or that another builder has taken over since, is
/// no error.
///
/// `scratch` is a private folder that may be used meanwhile.
pub async fn remove(
    path: &Path,
    owner: &Owner,
    surroundings: &Surroundings,
    scratch: &Path,
    timeout: Duration,
) -> Result<(), KeeperError> {
    let path = match std::fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::io("read", path)(error).into()),
    };
    let Some(mark) = read_mark(&path)? else {
        return Err(KeeperError::Unmarked { path });
    };
    if mark.owner != owner.as_str() {
        return Ok(());
    }
    let _held = hold_marked(&path)?;
    if surroundings.is_root() {
        unmount_below(&path).await;
    }
    remove_contents(&path, &mark, surroundings, scratch, timeout).await?;
    // The mark goes last, so that a removal that failed half-way can be repeated.
    for file in [LOCK, MARK] {
        let _ = std::fs::remove_file(path.join(file));
    }
    std::fs::remove_dir(&path).map_err(FileError::io("remove", &path))?;
    if let Some(parent) = path.parent().filter(|parent| parent.ends_with("bkhost")) {
        // Other nodes may have theirs in it.
        let _ = std::fs::remove_dir(parent);
    }
    Ok(())
}

async fn remove_contents(
    path: &Path,
    mark: &Mark,
    surroundings: &Surroundings,
    scratch: &Path,
    timeout: Duration,
) -> Result<(), KeeperError> {
    let entries = contents(path)?;
    let failure =
        tokio::task::spawn_blocking(move || entries.iter().find_map(|entry| remove_entry(entry).err()))
            .await
            .map_err(KeeperError::keeper)?;
    let Some(failure) = failure else {
        return Ok(());
    };
    let not_removed = |why: String| KeeperError::NotRemoved {
        path: path.to_owned(),
        why,
    };
    if surroundings.is_root() {
        return Err(not_removed(failure.to_string()));
    }
    let left = contents(path)?;
    let words = remove_mapped(&left, mark, surroundings, scratch, timeout).await;
    if contents(path)?.is_empty() {
        return Ok(());
    }
    Err(not_removed(words.unwrap_or_else(|| failure.to_string())))
}

/// Everything in the folder but what marks it.
fn contents(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(FileError::io("read", path))? {
        let entry = entry.map_err(FileError::io("read", path))?;
        if entry.file_name() != MARK && entry.file_name() != LOCK {
            entries.push(entry.path());
        }
    }
    Ok(entries)
}

fn remove_entry(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

/// Removes files of mapped users, as root of a user namespace in which they are mapped. Returns the words of a failure.
async fn remove_mapped(
    entries: &[PathBuf],
    mark: &Mark,
    surroundings: &Surroundings,
    scratch: &Path,
    timeout: Duration,
) -> Option<String> {
    let mut words = None;
    for mut command in namespaces(mark, surroundings, scratch) {
        command.args(["rm", "-rf", "--"]).args(entries);
        command.stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(timeout, command.output()).await {
            Ok(Ok(output)) if output.status.success() => return None,
            Ok(Ok(output)) => {
                let text = String::from_utf8_lossy(&output.stderr);
                words = Some(text.trim().lines().last().unwrap_or_default().to_owned());
            }
            Ok(Err(error)) => words = words.or(Some(error.to_string())),
            Err(_) => words = Some(format!("it took longer than {}", shown(timeout))),
        }
    }
    words
}

/// Ways to become root of a namespace with the user's mapped ids: what the daemon was started with, then util-linux.
fn namespaces(mark: &Mark, surroundings: &Surroundings, scratch: &Path) -> Vec<Command> {
    let noted = mark
        .programs
        .iter()
        .find(|program| program.ends_with(ROOTLESSKIT))
        .cloned();
    let kit = noted.or_else(|| programs::find(ROOTLESSKIT, None, surroundings).ok().flatten());
    let mut commands = Vec::new();
    if let Some(kit) = kit {
        let mut command = Command::new(kit);
        command.arg("--net=host");
        command.arg(format!("--state-dir={}", scratch.join("removal").display()));
        commands.push(command);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--map-auto", "--"]);
    commands.push(command);
    commands
}

/// Unmounts what a killed daemon left mounted below the folder, so that it can be removed.
async fn unmount_below(path: &Path) {
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else {
        return;
    };
    for mount in mounts_below(&table, path).iter().rev() {
        let mut command = Command::new("umount");
        command.arg("-l").arg("--").arg(mount);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // What stays mounted shows as a failed removal.
        let _ = command.status().await;
    }
}

/// Mount points below `path`, in order of mounting.
fn mounts_below(table: &str, path: &Path) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)))
        .filter(|point| point.starts_with(path) && point != path)
        .collect()
}

/// The kernel writes space, tab, newline and backslash as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn read_mark(path: &Path) -> Result<Option<Mark>, FileError> {
    let data = read_if_exists(&path.join(MARK))?;
    Ok(data.and_then(|data| serde_json::from_slice(&data).ok()))
}

fn write_mark(path: &Path, owner: &Owner, programs: Vec<PathBuf>) -> Result<(), KeeperError> {
    let mark = Mark {
        schema: SCHEMA,
        owner: owner.as_str().to_owned(),
        programs,
    };
    let data = serde_json::to_vec(&mark).map_err(KeeperError::keeper)?;
    Ok(write_beside(&path.join(MARK), &data, PRIVATE_FILE)?)
}

fn is_empty(path: &Path) -> Result<bool, FileError> {
    let mut entries = std::fs::read_dir(path).map_err(FileError::io("read", path))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(node: &str) -> Owner {
        Owner::of(&Path::new("/var/lib/bkhost").join(node))
    }

    async fn remove_it(path: &Path, owner: &Owner, scratch: &Path) -> Result<(), KeeperError> {
        let surroundings = Surroundings::of_process();
        remove(path, owner, &surroundings, scratch, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn what_was_made_here_is_removed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bkhost/node0");
        prepare(&path, &owner("a")).unwrap();
        note_programs(&path, &owner("a"), &["/bin/daemon".into()]).unwrap();
        prepare(&path, &owner("a")).unwrap();
        assert_eq!(
            read_mark(&path).unwrap().unwrap().programs,
            [Path::new("/bin/daemon")]
        );
        std::fs::create_dir(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/file"), b"").unwrap();
        std::os::unix::fs::symlink("/", path.join("link")).unwrap();
        remove_it(&path, &owner("a"), dir.path()).await.unwrap();
        assert!(!dir.path().join("bkhost").exists());
        remove_it(&path, &owner("a"), dir.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_without_the_mark_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("precious"), b"").unwrap();
        prepare(&path, &owner("a")).unwrap();
        assert!(hold(&path).unwrap().is_none());
        let error = remove_it(&path, &owner("a"), dir.path()).await.unwrap_err();
        assert!(matches!(error, KeeperError::Unmarked { .. }), "{error}");
        assert!(path.join("precious").exists());
    }

    #[tokio::test]
    async fn a_folder_in_use_is_neither_taken_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node0");
        prepare(&path, &owner("a")).unwrap();
        let held = hold(&path).unwrap().unwrap();
        let error = prepare(&path, &owner("b")).unwrap_err();
        assert!(matches!(error, KeeperError::StateInUse { .. }), "{error}");
        let error = remove_it(&path, &owner("a"), dir.path()).await.unwrap_err();
        assert!(matches!(error, KeeperError::StateInUse { .. }), "{error}");
        drop(held);
        prepare(&path, &owner("b")).unwrap();
        remove_it(&path, &owner("a"), dir.path()).await.unwrap();
        assert!(path.exists(), "it belongs to the other builder now");
    }

    #[test]
    fn mounts_below_are_found_by_whole_names() {
        let table = "1 0 0:1 / /s rw - t t rw\n2 0 0:1 / /s/a\\040b rw - t t rw\n3 0 0:1 / /sx rw - t t rw\n";
        assert_eq!(mounts_below(table, Path::new("/s")), [Path::new("/s/a b")]);
    }
}
