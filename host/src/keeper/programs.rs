//! Finding a program: where an option says, on PATH, or among the tool's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::error::KeeperError;
use super::paths::Surroundings;

/// Finds the program `name`.
///
/// `chosen` is the value of the option that names it: an absolute path, or a name to look up on PATH; then nothing else
/// is tried, and one that cannot be run is an error. Without it, `None` means that the program is nowhere.
pub fn find(
    name: &str,
    chosen: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Option<PathBuf>, KeeperError> {
    if let Some(chosen) = chosen.filter(|chosen| !chosen.is_empty()) {
        return find_chosen(Path::new(chosen), surroundings).map(Some);
    }
    let own = surroundings.programs.as_ref().map(|folder| folder.join(name));
    Ok(on_path(name, surroundings.path.as_ref()).or_else(|| own.filter(|path| runnable(path).is_ok())))
}

fn find_chosen(chosen: &Path, surroundings: &Surroundings) -> Result<PathBuf, KeeperError> {
    let refused = |why: String| KeeperError::NotRunnable {
        path: chosen.to_owned(),
        why,
    };
    if chosen.is_absolute() {
        return runnable(chosen).map(|()| chosen.to_owned()).map_err(refused);
    }
    match chosen.to_str() {
        Some(name) if !name.contains('/') => {
            on_path(name, surroundings.path.as_ref()).ok_or_else(|| refused("it is not on PATH".to_owned()))
        }
        _ => Err(refused(
            "the path is neither absolute nor a plain name".to_owned(),
        )),
    }
}

/// Finds a program on PATH.
pub fn on_path(name: &str, path: Option<&OsString>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        // A relative folder on PATH would mean another program in each working folder.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|candidate| runnable(candidate).is_ok())
}

/// Whether the user may run the file at `path`; otherwise why not.
fn runnable(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    rustix::fs::access(path, Access::EXEC_OK).map_err(|_| "it is not executable".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(folder: &Path, name: &str, mode: u32) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn option_before_path_before_own_folder() {
        let dir = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            programs: Some(dir.path().join("own")),
            path: Some(dir.path().join("path").into()),
            ..Surroundings::default()
        };
        assert_eq!(find("daemon", None, &surroundings).unwrap(), None);
        let own = program(&dir.path().join("own"), "daemon", 0o755);
        assert_eq!(find("daemon", None, &surroundings).unwrap(), Some(own));
        let listed = program(&dir.path().join("path"), "daemon", 0o755);
        assert_eq!(
            find("daemon", Some(""), &surroundings).unwrap(),
            Some(listed.clone())
        );
        assert_eq!(find("x", Some("daemon"), &surroundings).unwrap(), Some(listed));
        let chosen = program(dir.path(), "mine", 0o755);
        let named = chosen.to_str().unwrap();
        assert_eq!(
            find("daemon", Some(named), &surroundings).unwrap(),
            Some(chosen.clone())
        );
    }

    #[test]
    fn an_option_that_names_nothing_runnable_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let surroundings = Surroundings::default();
        let plain = program(dir.path(), "plain", 0o644);
        for (chosen, why) in [
            (plain.to_str().unwrap(), "not executable"),
            ("/nonexistent/daemon", "No such file"),
            (dir.path().to_str().unwrap(), "not a file"),
            ("sub/daemon", "neither absolute nor a plain name"),
            ("nowhere", "not on PATH"),
        ] {
            let error = find("daemon", Some(chosen), &surroundings).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
